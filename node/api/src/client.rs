//! The blocking client of the command line: one method a route, every failure a [`Problem`].
//!
//! What the node refuses comes back as it was refused. What the transport refuses gets a code of its own:
//! `NODE_UNREACHABLE` when nothing can have happened, `OUTCOME_UNKNOWN` when a store's body had been sent whole and the
//! answer did not come. Documents are read up to 1 MiB, blobs are handed on as they arrive.
//!
//! Plain HTTP only: a node listens on loopback or behind a proxy of its operator.

use crate::model::{
    AccountView, BlobList, BlobStatus, CanStopView, CandidatesView, CheckView, CommitteeView, EpochView, Explanation,
    Health, HistoryView, NetworkView, NodeView, PreviewView, PricesView, QuoteView, RegistrationView, RepairView,
    StoreAnswer, StoreLine, StoreProgress, StoreQuote, TransactionAnswer, VerdictsView,
};
use crate::problem::{Code, Problem};
use crate::service::{Existing, HistoryPage, Page, Persistence, Proposal, Provenance, QuoteAsk, StoreAsk, Undefended};
use floe_types::{AccountId, BlobId, Epoch, EpochCount, NodeId, RegistrationNumber};
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder, SendBody};

/// The longest document in bytes.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// The longest audit file, or genesis, in bytes.
const AUDIT_BYTES_MAX: u64 = 64 << 20;
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a document may take: above the node's own limit, so that the node's answer is seen.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a transaction may take to be in a block: above the time for which a node watches one.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a blob's next piece may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the next line about a store may take: above every wait inside a node.
const STORE_LINE_TIMEOUT: Duration = Duration::from_secs(300);

/// A client of one node.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    timeout: Option<Duration>,
}

/// What to store, and how.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Length in bytes; `None` when it is not known, as from a pipe.
    pub length: Option<u64>,
    /// Epochs to pay for.
    pub epochs: EpochCount,
    /// Name of the file, kept with the blob.
    pub file_name: Option<String>,
    /// Media type, kept with the blob.
    pub content_type: Option<String>,
    /// Whether it may be ended early.
    pub persistence: Persistence,
    /// What to do when it is there already.
    pub existing: Existing,
}

/// How far a store has come, as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This many bytes have gone to the node.
    Uploaded {
        /// Bytes so far.
        bytes: u64,
    },
    /// What the node told.
    Node(StoreProgress),
}

/// A part of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From one byte to another, both in it, the first being 0; as far as there are so many.
    FromTo {
        /// The first byte.
        first: u64,
        /// The last byte, not before the first.
        last: u64,
    },
    /// From this byte to the end.
    From {
        /// The first byte.
        first: u64,
    },
    /// The last bytes.
    Last {
        /// How many.
        bytes: u64,
    },
}

impl Part {
    /// As the header `Range` says it.
    fn header(self) -> String {
        match self {
            Part::FromTo { first, last } => format!("bytes={first}-{last}"),
            Part::From { first } => format!("bytes={first}-"),
            Part::Last { bytes } => format!("bytes=-{bytes}"),
        }
    }
}

impl std::str::FromStr for Part {
    type Err = String;

    /// `10-19`, `10-` or `-10`, as after the `bytes=` of the header.
    fn from_str(text: &str) -> Result<Part, String> {
        let refused = || format!("{text:?} is not a range of bytes; write it like 0-1023, 1024- or -512");
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u64>().map_err(|_| refused()),
            false => Err(refused()),
        };
        match text.split_once('-').ok_or_else(refused)? {
            ("", bytes) => Ok(Part::Last { bytes: number(bytes)? }),
            (first, "") => Ok(Part::From { first: number(first)? }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last { Err(refused()) } else { Ok(Part::FromTo { first, last }) }
            }
        }
    }
}

/// A blob on its way here.
pub struct Download {
    /// Its length in bytes, or that of the part.
    pub length: u64,
    /// What a part rests on; none for a whole blob, which is confirmed.
    pub provenance: Option<Provenance>,
    reader: ureq::BodyReader<'static>,
}

impl Client {
    /// A client of the node at `url`. `timeout` bounds every call as a whole; without it documents have 20 s and
    /// transfers take as long as bytes go on flowing.
    ///
    /// # Errors
    /// [`Code::BadRequest`] when the URL is not one of plain HTTP.
    pub fn new(url: &str, timeout: Option<Duration>) -> Result<Client, Problem> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed: Result<ureq::http::Uri, _> = base.parse();
        let plain = parsed.is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some());
        if !plain {
            let detail = format!("{url} is not a node's address; it looks like http://127.0.0.1:7101");
            return Err(Problem::bad_request("url", detail));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .user_agent(concat!("floe/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(timeout);
        Ok(Client { agent: config.build().into(), base, timeout })
    }

    /// The address it talks to, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Everything about one blob, named in full or by its first four or more characters.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn blob_status(&self, blob: &str) -> Result<BlobStatus, Problem> {
        self.document(&format!("/v1/blobs/{}/status", path_part(blob)))
    }

    /// An audit file about a blob in an epoch; `from` names the boundary that is trusted, genesis without it.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn audit(&self, blob: &str, epoch: Epoch, from: Option<Epoch>) -> Result<Vec<u8>, Problem> {
        let from = from.map_or_else(String::new, |from| format!("&from={from}"));
        let request = self.agent.get(format!("{}/v1/blobs/{}/audit?epoch={epoch}{from}", self.base, path_part(blob)));
        let request = request.config().timeout_per_read(Some(PIECE_TIMEOUT)).build();
        let response = refused(request.call().map_err(|error| self.transport(&error))?)?;
        let limited = response.into_body().into_with_config().limit(AUDIT_BYTES_MAX).read_to_vec();
        limited.map_err(|error| self.transport(&error))
    }

    /// The verdicts on a blob by change, newest first.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn verdicts(&self, blob: &str) -> Result<VerdictsView, Problem> {
        self.document(&format!("/v1/blobs/{}/verdicts", path_part(blob)))
    }

    /// Why a blob's verdict is what it is.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn explain_blob(&self, blob: &str) -> Result<Explanation, Problem> {
        self.document(&format!("/v1/explain/blobs/{}", path_part(blob)))
    }

    /// Why a node stands as it does; the one at this address for `None`.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn explain_node(&self, node: Option<NodeId>) -> Result<Explanation, Problem> {
        let named = node.map_or_else(|| "me".to_owned(), |node| node.to_string());
        self.document(&format!("/v1/explain/nodes/{named}"))
    }

    /// Why the network is as it is.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn explain_network(&self) -> Result<Explanation, Problem> {
        self.document("/v1/explain")
    }

    /// What is being rebuilt.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn repair(&self) -> Result<RepairView, Problem> {
        self.document("/v1/repair")
    }

    /// Asks a blob's holders now for a random chunk each.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn check(&self, blob: &str) -> Result<CheckView, Problem> {
        self.document(&format!("/v1/blobs/{}/check", path_part(blob)))
    }

    /// The genesis document as this node has it.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn genesis(&self) -> Result<String, Problem> {
        let request: RequestBuilder<_> = self.agent.get(format!("{}/v1/genesis", self.base));
        let request = request.config().timeout_per_read(Some(PIECE_TIMEOUT)).build();
        let response = refused(request.call().map_err(|error| self.transport(&error))?)?;
        let limited = response.into_body().into_with_config().limit(AUDIT_BYTES_MAX).read_to_string();
        limited.map_err(|error| self.transport(&error))
    }

    /// A page of certified blobs.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn list(&self, page: Page) -> Result<BlobList, Problem> {
        let after = page.after.map_or_else(String::new, |after| format!("&after={after}"));
        self.document(&format!("/v1/blobs?limit={}{after}", page.limit))
    }

    /// The network.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn network(&self) -> Result<NetworkView, Problem> {
        self.document("/v1/network")
    }

    /// The committee.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn committee(&self) -> Result<CommitteeView, Problem> {
        self.document("/v1/committee")
    }

    /// Who stands for seats.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn candidates(&self) -> Result<CandidatesView, Problem> {
        self.document("/v1/committee/candidates")
    }

    /// What a candidacy would come to.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn preview(&self, proposal: &Proposal) -> Result<PreviewView, Problem> {
        let Proposal { node, stake, capacity_bytes, domain } = proposal;
        let query = format!("node={node}&stake={}&capacity={capacity_bytes}&domain={}", stake.0, path_part(domain));
        self.document(&format!("/v1/committee/preview?{query}"))
    }

    /// What changing a registration would cost or bring back.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn quote(&self, registration: RegistrationNumber, ask: QuoteAsk) -> Result<QuoteView, Problem> {
        let query = match ask {
            QuoteAsk::Extend { last } => format!("last={last}"),
            QuoteAsk::Delete => "delete".to_owned(),
        };
        self.document(&format!("/v1/registrations/{registration}/quote?{query}"))
    }

    /// What a store would cost.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn store_quote(&self, ask: StoreAsk) -> Result<StoreQuote, Problem> {
        self.document(&format!("/v1/quote?size={}&epochs={}", ask.length, ask.epochs))
    }

    /// The prices, and what moves them.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn prices(&self) -> Result<PricesView, Problem> {
        self.document("/v1/price")
    }

    /// A registration with what is set aside for it.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn registration(&self, registration: RegistrationNumber) -> Result<RegistrationView, Problem> {
        self.document(&format!("/v1/registrations/{registration}"))
    }

    /// Whether a node may be stopped; the one at this address for `None`.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn can_stop(&self, node: Option<NodeId>) -> Result<CanStopView, Problem> {
        let named = node.map_or_else(|| "me".to_owned(), |node| node.to_string());
        self.document(&format!("/v1/nodes/{named}/can-stop"))
    }

    /// An epoch's record; the newest that was decided for `None`.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn epoch(&self, epoch: Option<Epoch>) -> Result<EpochView, Problem> {
        match epoch {
            Some(epoch) => self.document(&format!("/v1/epochs/{epoch}")),
            None => self.document("/v1/epochs"),
        }
    }

    /// An account; the node's own for `None`.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn account(&self, account: Option<AccountId>) -> Result<AccountView, Problem> {
        match account {
            Some(account) => self.document(&format!("/v1/accounts/{account}")),
            None => self.document("/v1/accounts/me"),
        }
    }

    /// What happened to an account, newest first; to the node's own for `None`.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn history(&self, account: Option<AccountId>, page: HistoryPage) -> Result<HistoryView, Problem> {
        let named = account.map_or_else(|| "me".to_owned(), |account| account.to_string());
        let after = page.after.map_or_else(String::new, |after| format!("&after={after}"));
        self.document(&format!("/v1/accounts/{named}/history?limit={}{after}", page.limit))
    }

    /// Hands in a signed transaction and waits for a block that has it, as long as the node watches.
    ///
    /// # Errors
    /// The node's refusal or the transport's; [`Code::OutcomeUnknown`] when it was sent and no answer came.
    pub fn submit(&self, signed: &[u8]) -> Result<TransactionAnswer, Problem> {
        let request = self.agent.post(format!("{}/v1/transactions", self.base));
        let timeout = Some(self.timeout.unwrap_or(SUBMIT_TIMEOUT));
        let sent = request.config().timeout_global(timeout).build().send(signed);
        let response = refused(sent.map_err(|error| match error {
            ureq::Error::Timeout(_) => outcome_unknown(&self.transport(&error)),
            error => self.transport(&error),
        })?)?;
        let limited = response.into_body().into_with_config().limit(DOCUMENT_BYTES_MAX).read_to_string();
        let text = limited.map_err(|error| outcome_unknown(&self.transport(&error)))?;
        serde_json::from_str(&text).map_err(|error| outcome_unknown(&not_ours(&self.base, &error)))
    }

    /// The node.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn node(&self) -> Result<NodeView, Problem> {
        self.document("/v1/node")
    }

    /// All checks.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn health(&self) -> Result<Health, Problem> {
        self.document("/v1/health")
    }

    /// Whether the node can serve.
    ///
    /// # Errors
    /// The reason why not.
    pub fn ready(&self) -> Result<(), Problem> {
        self.text("/readyz").map(|_| ())
    }

    /// All metrics in the Prometheus text form.
    ///
    /// # Errors
    /// The node's refusal or the transport's.
    pub fn metrics(&self) -> Result<String, Problem> {
        self.text("/metrics")
    }

    /// Stores what `body` gives, telling `told` how far it has come.
    ///
    /// # Errors
    /// The node's refusal or the transport's; [`Code::OutcomeUnknown`] when the body was sent and no answer came.
    pub fn store(
        &self,
        upload: &Upload,
        body: &mut dyn Read,
        told: &mut dyn FnMut(Step),
    ) -> Result<StoreAnswer, Problem> {
        let mut counted = Counted { body, sent: 0, told };
        let response = self.put(upload, &mut counted);
        let whole = upload.length.is_none_or(|length| counted.sent >= length);
        let unknown = |problem: Problem| if whole { outcome_unknown(&problem) } else { problem };
        let response = response.map_err(|error| unknown(self.transport(&error)))?;
        let response = refused(response)?;
        let mut lines = BufReader::new(response.into_body().into_reader());
        loop {
            let mut line = String::new();
            let read = (&mut lines).take(DOCUMENT_BYTES_MAX).read_line(&mut line);
            match read {
                Err(error) => return Err(outcome_unknown(&self.broken(&error))),
                Ok(0) => return Err(outcome_unknown(&Problem::new(Code::OutcomeUnknown, "the connection ended"))),
                Ok(_) => {}
            }
            match serde_json::from_str(&line) {
                Ok(StoreLine::Progress(progress)) => told(Step::Node(progress)),
                Ok(StoreLine::Result(answer)) => return Ok(*answer),
                Ok(StoreLine::Problem(problem)) => return Err(*problem),
                Err(error) => return Err(outcome_unknown(&not_ours(&self.base, &error))),
            }
        }
    }

    fn put(&self, upload: &Upload, body: &mut dyn Read) -> Result<Response<Body>, ureq::Error> {
        let mut url = format!("{}/v1/blobs?epochs={}", self.base, upload.epochs);
        if upload.persistence == Persistence::Permanent {
            url.push_str("&permanent=true");
        }
        if upload.existing == Existing::RegisterAgain {
            url.push_str("&force=true");
        }
        let mut request = self.agent.put(url).header("accept", "application/x-ndjson");
        if let Some(length) = upload.length {
            request = request.header("content-length", length.to_string());
        }
        if let Some(kind) = &upload.content_type {
            request = request.header("content-type", kind);
        }
        if let Some(name) = &upload.file_name {
            request = request.header("floe-file-name", path_part(name));
        }
        let per_line = request.config().timeout_per_read(Some(STORE_LINE_TIMEOUT)).build();
        per_line.send(SendBody::from_reader(body))
    }

    /// Reads a blob named in full, or of it what `part` names.
    ///
    /// # Errors
    /// The node's refusal or the transport's. A read that breaks off later fails in [`Download`]'s reader.
    pub fn read(&self, blob: BlobId, undefended: Undefended, part: Option<Part>) -> Result<Download, Problem> {
        let query = if undefended == Undefended::Allow { "?undefended=allow" } else { "" };
        let mut request = self.agent.get(format!("{}/v1/blobs/{blob}{query}", self.base));
        if let Some(part) = part {
            request = request.header("range", part.header());
        }
        let request = request.config().timeout_per_read(Some(PIECE_TIMEOUT)).build();
        let response = refused(request.call().map_err(|error| self.transport(&error))?)?;
        let length = response.body().content_length();
        let length = length.ok_or_else(|| Problem::new(Code::Internal, "the node did not say how long the blob is"))?;
        if part.is_some() && response.status().as_u16() != 206 {
            let detail = format!("{} sent the whole blob where a part was asked for", self.base);
            return Err(Problem::new(Code::Internal, detail));
        }
        let provenance = response.headers().get("floe-range").map(|value| match value.as_bytes() {
            b"proven" => Provenance::Proven,
            _ => Provenance::Derived,
        });
        Ok(Download { length, provenance, reader: response.into_body().into_reader() })
    }

    fn document<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        let text = self.text(path)?;
        serde_json::from_str(&text).map_err(|error| not_ours(&self.base, &error))
    }

    fn text(&self, path: &str) -> Result<String, Problem> {
        let request: RequestBuilder<_> = self.agent.get(format!("{}{path}", self.base));
        let timeout = Some(self.timeout.unwrap_or(DOCUMENT_TIMEOUT));
        let request = request.config().timeout_global(timeout).build();
        let response = refused(request.call().map_err(|error| self.transport(&error))?)?;
        let limited = response.into_body().into_with_config().limit(DOCUMENT_BYTES_MAX).read_to_string();
        limited.map_err(|error| self.transport(&error))
    }

    /// A failure of the transport.
    fn transport(&self, error: &ureq::Error) -> Problem {
        let detail = match error {
            ureq::Error::Timeout(_) => format!("{} did not answer in time", self.base),
            ureq::Error::HostNotFound => format!("there is no host of the name in {}", self.base),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                format!("nobody listens at {}", self.base)
            }
            other => format!("{}: {other}", self.base),
        };
        Problem::new(Code::NodeUnreachable, detail).hint("start a node, or name a running one with --url or FLOE_URL")
    }

    fn broken(&self, error: &io::Error) -> Problem {
        Problem::new(Code::NodeUnreachable, format!("{}: {error}", self.base))
    }
}

impl Read for Download {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }
}

/// A body that counts what has been taken of it.
struct Counted<'a> {
    body: &'a mut dyn Read,
    sent: u64,
    told: &'a mut dyn FnMut(Step),
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(into)?;
        self.sent = self.sent.saturating_add(read as u64);
        (self.told)(Step::Uploaded { bytes: self.sent });
        Ok(read)
    }
}

/// The answer, or the problem in it.
fn refused(response: Response<Body>) -> Result<Response<Body>, Problem> {
    let status = response.status().as_u16();
    if response.status().is_success() {
        return Ok(response);
    }
    let body = response.into_body().into_with_config().limit(DOCUMENT_BYTES_MAX).read_to_string().unwrap_or_default();
    Err(serde_json::from_str(&body).unwrap_or_else(|_| {
        let code = match status {
            408 => Code::RequestTimeout,
            404 => Code::RouteUnknown,
            503 => Code::NodeNotReady,
            _ => Code::Internal,
        };
        Problem::new(code, format!("the server answered {status} without a problem document"))
    }))
}

fn not_ours(base: &str, error: &serde_json::Error) -> Problem {
    let detail = format!("{base} does not answer as a floe node of this version: {error}");
    Problem::new(Code::Internal, detail)
}

fn outcome_unknown(problem: &Problem) -> Problem {
    let detail = format!("the blob was sent, but whether it is stored is not known: {}", problem.detail);
    Problem::new(Code::OutcomeUnknown, detail)
        .hint("run floe list to see whether it was certified; storing it again is safe")
}

/// Text as it may stand in a path or header: everything but letters, digits and `-_.~` percent-encoded.
fn path_part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
