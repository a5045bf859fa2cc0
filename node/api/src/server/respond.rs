//! Documents and refusals as HTTP answers.

use crate::problem::{Code, Problem};
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// A fresh id for one refusal, unique within this process: what a person quotes and the log is searched for.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:08x}-{:06x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A problem as an answer. Internal ones are logged with the id under which the client sees them.
pub(super) fn refuse(problem: &Problem) -> HttpResponse {
    let id = request_id();
    let mut shown = problem.clone();
    if problem.code == Code::Internal {
        tracing::error!(request = %id, detail = %problem.detail, "a request failed inside this node");
        shown.detail = "the node failed; its log has the reason under this request id".to_owned();
    }
    shown.facts.request_id = Some(id);
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(seconds) = shown.facts.retry_after_seconds {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    response.content_type("application/problem+json").body(json(&shown))
}

/// A document, or why there is none.
pub(super) fn document<T: Serialize>(result: Result<T, Problem>) -> HttpResponse {
    match result {
        Ok(document) => with_json(HttpResponse::Ok(), &document),
        Err(problem) => refuse(&problem),
    }
}

/// A document under a status of its own.
pub(super) fn with_json<T: Serialize>(mut response: HttpResponseBuilder, document: &T) -> HttpResponse {
    response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("application/json")
        .body(json(document))
}

/// A file.
pub(super) fn bytes(bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("application/octet-stream")
        .body(bytes)
}

/// A document that is JSON already.
pub(super) fn text_as_json(text: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("application/json")
        .body(text)
}

/// The JSON of a document of this crate.
pub(super) fn json<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have text keys and finite numbers only")
}
