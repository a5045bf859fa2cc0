//! `PUT /v1/blobs`: the Walrus publisher's route, with attributes from two headers and progress as lines when asked for.
//!
//! The body's `Content-Type` and the header `floe-file-name` (percent-encoded) become attributes of the registration; no
//! other header does. With `Accept: application/x-ndjson` the answer is a stream of [`StoreLine`]s: steps as they happen,
//! then the result or the problem, under status 200 because the status was sent before the end was known.

use super::{Shared, respond, spool};
use crate::model::{Attributes, Receipt, StoreAnswer, StoreLine, StoreProgress};
use crate::problem::{Code, Problem};
use crate::service::{Answer, Existing, Persistence, ProgressSink, StoreRequest};
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use floe_types::EpochCount;
use std::convert::Infallible;
use std::net::IpAddr;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// The parameters of the Walrus publisher; those that Floe has no use for are accepted as it documents them.
const PARAMETERS: [&str; 8] =
    ["epochs", "deletable", "permanent", "force", "reuse_resources", "send_object_to", "encoding_type", "share"];
/// The header that names the file.
const FILE_NAME: &str = "floe-file-name";
/// The media type of the progress form.
const LINES: &str = "application/x-ndjson";
/// Steps kept for a client that reads slowly; more are dropped, newer ones say more.
const STEPS: usize = 16;

/// What the head of a store asks for.
struct Asked {
    epochs: EpochCount,
    persistence: Persistence,
    existing: Existing,
    attributes: Attributes,
    announced: Option<u64>,
}

pub(super) async fn put(request: HttpRequest, mut body: web::Payload, shared: web::Data<Shared>) -> HttpResponse {
    let lines = wants_lines(request.headers());
    match accept(&request, &mut body, &shared).await {
        Err(problem) => {
            spool::drain(&mut body).await;
            respond::refuse(&problem)
        }
        Ok((store, slot)) if lines => progress_form(store, slot, &shared),
        Ok((store, _slot)) => respond::document(shared.service.store(store).await.map(StoreAnswer::from)),
    }
}

async fn accept(
    request: &HttpRequest,
    body: &mut web::Payload,
    shared: &Shared,
) -> Result<(StoreRequest, OwnedSemaphorePermit), Problem> {
    may_write(request, shared)?;
    let asked = asked(request)?;
    let slot = shared.admission.upload()?;
    shared.answer(shared.service.ready()).await?;
    let body = spool::receive(&shared.config, asked.announced, body).await?;
    let store = StoreRequest {
        body,
        epochs: asked.epochs,
        attributes: asked.attributes,
        persistence: asked.persistence,
        existing: asked.existing,
        progress: ProgressSink::none(),
    };
    Ok((store, slot))
}

/// Writes spend this node's WAL: only this machine may ask for them, and no page of a browser under a borrowed name.
fn may_write(request: &HttpRequest, shared: &Shared) -> Result<(), Problem> {
    let listen = shared.config.listen;
    if !listen.ip().is_loopback() {
        let detail =
            format!("stores are taken only by a node whose http address is a loopback one; this one is {listen}");
        return Err(Problem::new(Code::WritesNotAllowed, detail)
            .hint("set http.listen to 127.0.0.1 and store from that machine"));
    }
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if named.is_some_and(is_loopback_name) {
        return Ok(());
    }
    Err(Problem::new(Code::WritesNotAllowed, "stores are taken only under the name localhost or a loopback address"))
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn asked(request: &HttpRequest) -> Result<Asked, Problem> {
    let query = super::query::Query::parse(request.query_string(), &PARAMETERS)?;
    let refuse = |name: &str, why: &str| Err(Problem::bad_request(name, why));
    if query.text("share").is_some() {
        return refuse("share", "Floe has no shared objects: anyone with the id can read a blob");
    }
    if query.text("send_object_to").is_some() {
        return refuse("send_object_to", "this node registers blobs for its own account only");
    }
    if query.text("encoding_type").is_some_and(|kind| kind != "RS2") {
        return refuse("encoding_type", "encoding_type must be RS2");
    }
    query.switch("reuse_resources")?;
    let epochs = query.value::<u64>("epochs", "a whole number of epochs from 1")?.unwrap_or(1);
    if epochs == 0 {
        return refuse("epochs", "epochs must be a whole number of epochs from 1");
    }
    let persistence = match (query.switch("deletable")?, query.switch("permanent")?) {
        (true, true) => return refuse("permanent", "a blob is deletable or permanent, not both"),
        (_, true) => Persistence::Permanent,
        (_, false) => Persistence::Deletable,
    };
    let existing = if query.switch("force")? { Existing::RegisterAgain } else { Existing::Reuse };
    let headers = request.headers();
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Problem::new(Code::UnsupportedEncoding, "send the bytes as they are, without Content-Encoding"));
    }
    let attributes = attributes(headers)?;
    let announced = announced(headers)?;
    Ok(Asked { epochs: EpochCount(epochs), persistence, existing, attributes, announced })
}

fn announced(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let read = |value: &header::HeaderValue| value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match headers.get(header::CONTENT_LENGTH).map(read) {
        Some(None) => Err(Problem::bad_request("content-length", "content-length must be a whole number of bytes")),
        Some(length) => Ok(length),
        None => Ok(None),
    }
}

fn attributes(headers: &HeaderMap) -> Result<Attributes, Problem> {
    let text = |name: &str| -> Result<Option<String>, Problem> {
        let read = |value: &header::HeaderValue| {
            let text = value.to_str().map(str::to_owned);
            text.map_err(|_| Problem::bad_request(name, format!("{name} must be plain text")))
        };
        headers.get(name).map(read).transpose()
    };
    let file_name = match text(FILE_NAME)? {
        Some(coded) => Some(
            percent_decoded(&coded)
                .ok_or_else(|| Problem::bad_request(FILE_NAME, "floe-file-name must be percent-encoded UTF-8"))?,
        ),
        None => None,
    };
    let content_type = text(header::CONTENT_TYPE.as_str())?.filter(|kind| !kind.is_empty());
    let attributes = Attributes { content_type, file_name, ..Attributes::default() };
    attributes.check().map_err(|error| Problem::bad_request("attributes", error.to_string()))?;
    Ok(attributes)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let mut one = [0u8];
                hex::decode_to_slice(digits, &mut one).ok()?;
                one[0]
            }
            plain => plain,
        };
        bytes.push(plain);
    }
    String::from_utf8(bytes).ok()
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.split(',').any(|kind| kind.trim() == LINES))
}

/// A store whose progress is being told.
struct Told {
    steps: mpsc::Receiver<StoreProgress>,
    store: Telling,
    _slot: OwnedSemaphorePermit,
}

/// Where the telling is.
enum Telling {
    /// The store runs.
    Running(Answer<Receipt>),
    /// It is over; its last steps and then this line are still to be told.
    Ending(StoreLine),
    /// All is told.
    Over,
}

impl Told {
    /// The next line; none after the result or problem, whoever still holds the sink.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Told)> {
        if let Telling::Running(store) = &mut self.store {
            let result = tokio::select! {
                biased;
                Some(step) = self.steps.recv() => return Some((line(&StoreLine::Progress(step)), self)),
                result = store => result,
            };
            self.store = Telling::Ending(match result {
                Ok(receipt) => StoreLine::Result(Box::new(receipt.into())),
                Err(problem) => StoreLine::Problem(Box::new(problem)),
            });
        }
        match (self.steps.try_recv(), std::mem::replace(&mut self.store, Telling::Over)) {
            (_, Telling::Over | Telling::Running(_)) => None,
            (Ok(step), ending) => {
                self.store = ending;
                Some((line(&StoreLine::Progress(step)), self))
            }
            (Err(_), Telling::Ending(end)) => Some((line(&end), self)),
        }
    }
}

fn line(line: &StoreLine) -> Result<Bytes, Infallible> {
    let mut text = respond::json(line);
    text.push(b'\n');
    Ok(Bytes::from(text))
}

/// Answers with lines. The client's leaving drops the stream and with it the store's future; the service decides what
/// goes on.
fn progress_form(mut store: StoreRequest, slot: OwnedSemaphorePermit, shared: &Shared) -> HttpResponse {
    let (sender, steps) = mpsc::channel(STEPS);
    store.progress = ProgressSink::to(sender);
    let told = Told { steps, store: Telling::Running(shared.service.store(store)), _slot: slot };
    let lines = futures::stream::unfold(told, Told::next);
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).content_type(LINES).streaming(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback_names() {
        for good in ["localhost", "LOCALHOST:7101", "127.0.0.1:7101", "127.8.8.8", "[::1]:7101", "[::1]"] {
            assert!(is_loopback_name(good), "{good}");
        }
        for bad in ["", "evil.example:7101", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1", "[::2]:1", ":7101"]
        {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }

    #[test]
    fn file_names_come_percent_encoded() {
        assert_eq!(percent_decoded("caf%C3%A9 1.jpg").as_deref(), Some("café 1.jpg"));
        for bad in ["%", "%1", "%zz", "%ff"] {
            assert_eq!(percent_decoded(bad), None, "{bad}");
        }
    }
}
