//! What the HTTP server needs from a node: one trait, answered over channels to the node's actors.
//!
//! Futures are boxed and live on the server's own threads; they need not be `Send`. The service itself is shared between
//! threads. Every call answers or refuses with a [`Problem`]; the server sets no deadline on a store beyond the client's
//! patience, so the service bounds its own waits. Dropping a future or a body stream means the client has left: the
//! service stops what it did only for that client. A store that has been registered goes on in any case.

use crate::model::{
    AccountView, Attributes, BlobHead, BlobList, BlobStatus, CanStopView, CandidatesView, CheckView, CommitteeView,
    EpochView, Explanation, Health, HistoryPlace, HistoryView, NetworkView, NodeView, PreviewView, PricesView,
    QuoteView, Receipt, RegistrationView, RepairView, StoreProgress, StoreQuote, TransactionAnswer, VerdictsView,
};
use crate::problem::Problem;
use bytes::Bytes;
use floe_types::{AccountId, BlobId, Epoch, EpochCount, Frost, NodeId, RegistrationNumber, SequenceNumber};
use futures::future::LocalBoxFuture;
use futures::stream::LocalBoxStream;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a call gives: a future on the server's thread.
pub type Answer<T> = LocalBoxFuture<'static, Result<T, Problem>>;

/// A node, as its HTTP surface sees it.
pub trait Service: Send + Sync + 'static {
    /// Stores a spooled body: encodes, registers, sends, certifies. Answers once certified.
    fn store(&self, request: StoreRequest) -> Answer<Receipt>;

    /// What the headers of a read say, without reading.
    fn head(&self, blob: BlobId, undefended: Undefended) -> Answer<BlobHead>;

    /// Reads a blob, or only the bytes of `range`, which must lie within it. Answers when the first bytes are verified or
    /// cannot be had.
    fn read(&self, blob: BlobId, undefended: Undefended, range: Option<Range<u64>>) -> Answer<ReadStream>;

    /// Everything about one blob, named in full or by a beginning that only one known blob has.
    fn blob_status(&self, blob: BlobRef) -> Answer<BlobStatus>;

    /// An audit file: what anyone can check offline about a blob in an epoch.
    fn audit(&self, ask: AuditAsk) -> Answer<Vec<u8>>;

    /// The verdicts on a blob by change, newest first.
    fn verdicts(&self, blob: BlobRef) -> Answer<VerdictsView>;

    /// Why something is as it is.
    fn explain(&self, what: Explained) -> Answer<Explanation>;

    /// What is being rebuilt.
    fn repair(&self) -> Answer<RepairView>;

    /// Asks a blob's holders now for a random chunk each.
    fn check(&self, blob: BlobRef) -> Answer<CheckView>;

    /// The network's genesis document, as JSON.
    fn genesis(&self) -> Answer<String>;

    /// A page of certified blobs.
    fn list(&self, page: Page) -> Answer<BlobList>;

    /// The network: epoch, newest decision, what answers now.
    fn network(&self) -> Answer<NetworkView>;

    /// The committee.
    fn committee(&self) -> Answer<CommitteeView>;

    /// Who stands for seats.
    fn candidates(&self) -> Answer<CandidatesView>;

    /// What a candidacy would come to.
    fn preview(&self, proposal: Proposal) -> Answer<PreviewView>;

    /// Whether a node may be stopped; this node for `None`.
    fn can_stop(&self, node: Option<NodeId>) -> Answer<CanStopView>;

    /// What changing a registration would cost or bring back.
    fn quote(&self, registration: RegistrationNumber, ask: QuoteAsk) -> Answer<QuoteView>;

    /// What a store would cost.
    fn store_quote(&self, ask: StoreAsk) -> Answer<StoreQuote>;

    /// The prices, and what moves them.
    fn prices(&self) -> Answer<PricesView>;

    /// A registration with what is set aside for it.
    fn registration(&self, registration: RegistrationNumber) -> Answer<RegistrationView>;

    /// An epoch's record; the newest that was decided for `None`.
    fn epoch(&self, epoch: Option<Epoch>) -> Answer<EpochView>;

    /// An account; this node's own for `None`.
    fn account(&self, account: Option<AccountId>) -> Answer<AccountView>;

    /// What happened to an account, newest first; to this node's own for `None`.
    fn history(&self, account: Option<AccountId>, page: HistoryPage) -> Answer<HistoryView>;

    /// Takes a transaction that was signed elsewhere, given as its canonical encoding, unchecked. Answers when it is in a
    /// block, or after a while that it still waits.
    fn submit(&self, signed: Vec<u8>) -> Answer<TransactionAnswer>;

    /// This node.
    fn node(&self) -> Answer<NodeView>;

    /// All checks.
    fn health(&self) -> Answer<Health>;

    /// Whether this node can serve: `Ok` or the reason why not. Must answer quickly.
    fn ready(&self) -> Answer<()>;

    /// All metrics in the Prometheus text form.
    fn metrics(&self) -> Answer<String>;

    /// A request has been answered; called for every one, for counters. Must return at once.
    fn served(&self, served: &Served<'_>);
}

/// A request that has been answered: its head has been sent, a streamed body may follow.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// The route's template, such as `/v1/blobs/{id}`; `unknown` for a path that is no route. Never the path itself.
    pub route: &'a str,
    /// The method, in capitals; `OTHER` for one that no route has.
    pub method: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// From the request's head to the answer's.
    pub took: std::time::Duration,
}

/// A blob, named in full or by its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobRef {
    /// In full.
    Id(BlobId),
    /// By the first characters of its text, at least [`PREFIX_MIN`].
    Prefix(String),
}

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explained {
    /// The network as a whole.
    Network,
    /// A node; this one for `None`.
    Node(Option<NodeId>),
    /// A blob.
    Blob(BlobRef),
}

/// What an auditor asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditAsk {
    /// About which blob.
    pub blob: BlobRef,
    /// About which epoch.
    pub epoch: Epoch,
    /// The epoch whose boundary is trusted; genesis for `None`.
    pub from: Option<Epoch>,
}

/// The shortest beginning that names a blob: shorter ones are refused before they are looked up.
pub const PREFIX_MIN: usize = 4;

/// Whether fragments of a forgotten blob may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undefended {
    /// Only blobs that the network defends.
    Refuse,
    /// Whatever is still there.
    Allow,
}

/// What is to be done with a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteAsk {
    /// Make it last.
    Extend {
        /// Until the end of this epoch.
        last: Epoch,
    },
    /// End it early.
    Delete,
}

/// A store that is thought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreAsk {
    /// The blob's length in bytes.
    pub length: u64,
    /// Epochs to pay for, from 1; the first is the running one.
    pub epochs: EpochCount,
}

/// A candidacy that is thought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The node; one that is a candidate is taken as if it said the rest.
    pub node: NodeId,
    /// What would be bonded in all.
    pub stake: Frost,
    /// Bytes it would have room for.
    pub capacity_bytes: u64,
    /// What fails together with it.
    pub domain: String,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only blobs after this one in the order of certification.
    pub after: Option<SequenceNumber>,
    /// The most blobs, from 1 to [`PAGE_MAX`].
    pub limit: u16,
}

/// Which part of an account's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// Only what was before the entry at this place.
    pub after: Option<HistoryPlace>,
    /// The most entries, from 1 to [`PAGE_MAX`].
    pub limit: u16,
}

/// The most blobs, or entries of a history, on a page: 1,000 lines are about 500 KiB, below the limit for JSON.
pub const PAGE_MAX: u16 = 1_000;

/// Whether a blob's owner may end it early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// The owner may end it.
    Deletable,
    /// Kept until its term ends.
    Permanent,
}

/// What to do with a blob that is certified already, for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Pay nothing and say so.
    Reuse,
    /// Register it again.
    RegisterAgain,
}

/// A store.
#[derive(Debug)]
pub struct StoreRequest {
    /// The bytes, in a file that is removed when this is dropped.
    pub body: Spooled,
    /// Epochs to pay for, from 1; the first is that of registration.
    pub epochs: EpochCount,
    /// What the sender says about the bytes; checked.
    pub attributes: Attributes,
    /// Whether it may be ended early.
    pub persistence: Persistence,
    /// What to do when it is there already.
    pub existing: Existing,
    /// Where to tell progress.
    pub progress: ProgressSink,
}

/// Bytes of an upload in a file of this node, removed when dropped.
#[derive(Debug)]
pub struct Spooled {
    path: PathBuf,
    length: u64,
}

impl Spooled {
    /// Takes charge of the file at `path`, which holds `length` bytes.
    #[must_use]
    pub fn new(path: PathBuf, length: u64) -> Spooled {
        Spooled { path, length }
    }

    /// The same file, now known to hold `length` bytes.
    #[must_use]
    pub(crate) fn holding(mut self, length: u64) -> Spooled {
        self.length = length;
        self
    }

    /// Where the bytes are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many there are.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "could not remove a spooled upload");
        }
    }
}

/// Where a store tells how far it has come. Telling never waits: what the reader has no room for is dropped.
#[derive(Clone, Debug, Default)]
pub struct ProgressSink(Option<tokio::sync::mpsc::Sender<StoreProgress>>);

impl ProgressSink {
    /// A sink that nobody reads.
    #[must_use]
    pub fn none() -> ProgressSink {
        ProgressSink(None)
    }

    /// A sink into `sender`.
    #[must_use]
    pub fn to(sender: tokio::sync::mpsc::Sender<StoreProgress>) -> ProgressSink {
        ProgressSink(Some(sender))
    }

    /// Tells one step.
    pub fn tell(&self, progress: StoreProgress) {
        if let Some(sender) = &self.0 {
            // Full or closed: the next step says more than this one.
            let _ = sender.try_send(progress);
        }
    }
}

/// What the bytes of a range rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Each was opened in its own row, or the id of the whole blob was derived: two readers never disagree on them.
    Proven,
    /// Some were read from a column or decoded, or may be yet: right if the blob is encoded consistently, which a reader of
    /// ranges cannot know.
    Derived,
}

impl Provenance {
    /// As headers say it.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Provenance::Proven => "proven",
            Provenance::Derived => "derived",
        }
    }
}

/// A blob on its way to a reader.
pub struct ReadStream {
    /// What the headers say.
    pub head: BlobHead,
    /// With a range: how its bytes came about.
    pub provenance: Option<Provenance>,
    /// Verified bytes in order, `head.length` or those of the range in all. An error ends the connection, so that no reader takes a part for
    /// the whole. Polled only as fast as the client takes bytes.
    pub body: LocalBoxStream<'static, Result<Bytes, Problem>>,
}
