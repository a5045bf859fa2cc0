//! `GET` and `HEAD /v1/blobs/{id}`: bytes with the verdict beside them.
//!
//! A blob's bytes never change, so its id is its ETag and caches may keep it. It is served as an untrusted document:
//! sandboxed, its type never guessed. The body is copied through a task that gives up on a reader that stalls, so that
//! a stalled reader holds a socket and nothing else. An error in mid-stream breaks the connection: the announced length
//! is then not reached, and no client takes the part for the whole.
//!
//! `Range` asks for a part: one range of bytes, in any of its three forms, is answered by 206 and `floe-range`, which says
//! what the part rests on ([`Provenance`]). Several ranges, another unit, what is malformed, and a part of what `If-Range`
//! does not name are answered by the whole, as RFC 9110 (13.1.5, 14.2) lets a server do.

use super::{Shared, respond};
use crate::model::BlobHead;
use crate::problem::{Code, Problem};
use crate::service::{Provenance, Undefended};
use actix_web::body::SizedStream;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use floe_types::BlobId;
use futures::StreamExt;
use futures::stream::LocalBoxStream;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

const PARAMETERS: [&str; 3] = ["undefended", "strict_consistency_check", "skip_consistency_check"];

/// A read in mid-stream that could not go on. Its words are for the server's log: the client sees a broken connection.
#[derive(Debug, thiserror::Error)]
#[error("the read was given up: {detail}")]
struct GivenUp {
    detail: String,
}

pub(super) async fn get(request: HttpRequest, id: web::Path<String>, shared: web::Data<Shared>) -> HttpResponse {
    match stream(&request, &id, &shared).await {
        Ok(response) => response,
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn head(request: HttpRequest, id: web::Path<String>, shared: web::Data<Shared>) -> HttpResponse {
    let answer = async {
        let (blob, undefended) = asked(&request, &id)?;
        let head = shared.answer(shared.service.head(blob, undefended)).await?;
        if unchanged(&request, blob) {
            return Ok(not_modified(&head, undefended));
        }
        let nothing = futures::stream::empty::<Result<Bytes, GivenUp>>();
        Ok(headed(HttpResponse::Ok(), &head, undefended).body(SizedStream::new(head.length, nothing)))
    };
    answer.await.unwrap_or_else(|problem: Problem| respond::refuse(&problem))
}

async fn stream(request: &HttpRequest, id: &str, shared: &Shared) -> Result<HttpResponse, Problem> {
    let (blob, undefended) = asked(request, id)?;
    if unchanged(request, blob) {
        let head = shared.answer(shared.service.head(blob, undefended)).await?;
        return Ok(not_modified(&head, undefended));
    }
    let range = match wanted_part(request, blob) {
        None => None,
        Some(spec) => {
            let length = shared.answer(shared.service.head(blob, undefended)).await?.length;
            match spec.to_satisfiable_range(length) {
                Some((first, last)) => Some(first..last + 1),
                None => return Ok(not_satisfiable(length)),
            }
        }
    };
    let slot = shared.admission.read()?;
    let read = shared.service.read(blob, undefended, range.clone()).await?;
    let length = read.head.length;
    let body = paced(read.body, slot, shared.config.reader_stall);
    let Some(range) = range else {
        return Ok(headed(HttpResponse::Ok(), &read.head, undefended).body(SizedStream::new(length, body)));
    };
    let provenance = read.provenance.unwrap_or(Provenance::Derived);
    let mut response = headed(HttpResponse::PartialContent(), &read.head, undefended);
    response
        .insert_header((header::CONTENT_RANGE, format!("bytes {}-{}/{length}", range.start, range.end - 1)))
        .insert_header(("floe-range", provenance.header()));
    Ok(response.body(SizedStream::new(range.end - range.start, body)))
}

/// The one range of bytes that is asked for; none when the whole is to be sent.
fn wanted_part(request: &HttpRequest, blob: BlobId) -> Option<header::ByteRangeSpec> {
    let header::Range::Bytes(specs) = request.get_header::<header::Range>()? else { return None };
    let [spec] = &specs[..] else { return None };
    if matches!(spec, header::ByteRangeSpec::FromTo(first, last) if first > last) {
        return None;
    }
    let ours = header::EntityTag::new_strong(blob.to_string());
    let named = match request.headers().contains_key(header::IF_RANGE) {
        false => true,
        // A date is not one of ours: there is none to compare it with.
        true => match request.get_header::<header::IfRange>() {
            Some(header::IfRange::EntityTag(tag)) => tag.strong_eq(&ours),
            Some(header::IfRange::Date(_)) | None => false,
        },
    };
    named.then(|| spec.clone())
}

fn not_satisfiable(length: u64) -> HttpResponse {
    let detail = format!("the blob has {length} bytes, none of them in that range");
    let mut response = respond::refuse(&Problem::new(Code::RangeNotSatisfiable, detail));
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

fn asked(request: &HttpRequest, id: &str) -> Result<(BlobId, Undefended), Problem> {
    let query = super::query::Query::parse(request.query_string(), &PARAMETERS)?;
    query.switch("strict_consistency_check")?;
    query.switch("skip_consistency_check")?;
    let undefended = match query.text("undefended") {
        None => Undefended::Refuse,
        Some("allow") => Undefended::Allow,
        Some(_) => return Err(Problem::bad_request("undefended", "undefended must be allow")),
    };
    Ok((full_id(id)?, undefended))
}

/// A blob id in full.
pub(super) fn full_id(text: &str) -> Result<BlobId, Problem> {
    text.parse().map_err(|_| {
        let shown: String = text.escape_debug().take(64).collect();
        Problem::new(Code::BlobIdMalformed, format!("{shown} is not a blob id: 43 characters of A-Z a-z 0-9 - _"))
    })
}

fn unchanged(request: &HttpRequest, blob: BlobId) -> bool {
    let ours = header::EntityTag::new_strong(blob.to_string());
    match request.get_header::<header::IfNoneMatch>() {
        Some(header::IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Some(header::IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&ours)),
        None => false,
    }
}

fn not_modified(head: &BlobHead, undefended: Undefended) -> HttpResponse {
    headed(HttpResponse::NotModified(), head, undefended).finish()
}

fn headed(mut response: HttpResponseBuilder, head: &BlobHead, undefended: Undefended) -> HttpResponseBuilder {
    let kind = head.attributes.content_type.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok());
    let kind = kind.unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"));
    let cache = match undefended {
        Undefended::Refuse => "public, max-age=86400, immutable",
        Undefended::Allow => "no-store",
    };
    let paid = format!("{}; about=\"{}\"", head.term.last_epoch, head.term.ends_about);
    response
        .insert_header((header::CONTENT_TYPE, kind))
        .insert_header((header::ETAG, format!("\"{}\"", head.blob_id)))
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox"))
        .insert_header(("floe-verdict", head.standing.header()))
        .insert_header(("floe-paid-through", paid));
    response
}

/// Copies `body` to the client, one piece ahead, for as long as the client takes pieces.
fn paced(
    mut body: LocalBoxStream<'static, Result<Bytes, Problem>>,
    slot: OwnedSemaphorePermit,
    stall: Duration,
) -> impl futures::Stream<Item = Result<Bytes, GivenUp>> {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, GivenUp>>(1);
    actix_web::rt::spawn(async move {
        let _slot = slot;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|problem| {
                tracing::warn!(%problem, "a read broke off in mid-stream");
                GivenUp { detail: problem.to_string() }
            });
            let last = piece.is_err();
            match tokio::time::timeout(stall, sender.send(piece)).await {
                Ok(Ok(())) if !last => {}
                Ok(_) => return,
                Err(_) => {
                    tracing::info!(?stall, "a reader stalled; its read was given up");
                    return;
                }
            }
        }
    });
    futures::stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) },
    )
}
