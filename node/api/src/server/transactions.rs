//! `POST /v1/transactions`: a transaction that was signed elsewhere, as its canonical encoding.
//!
//! It spends its signer's WAL and nobody else's, so every listener takes it. The body is bounded before it is read, and
//! the transaction is checked by the ledger's rules before it goes anywhere.

use super::query::Query;
use super::{Shared, respond};
use crate::problem::{Code, Problem};
use actix_web::{HttpRequest, HttpResponse, web};
use floe_types::params::TRANSACTION_BYTES_MAX;
use futures::StreamExt;

pub(super) async fn post(request: HttpRequest, mut body: web::Payload, shared: web::Data<Shared>) -> HttpResponse {
    match receive(&request, &mut body, &shared).await {
        // How long it is watched is for the service to bound.
        Ok(signed) => respond::document(shared.service.submit(signed).await),
        Err(problem) => respond::refuse(&problem),
    }
}

async fn receive(request: &HttpRequest, body: &mut web::Payload, shared: &Shared) -> Result<Vec<u8>, Problem> {
    Query::parse(request.query_string(), &[])?;
    let gathered = async {
        let mut signed = Vec::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Problem::bad_request("body", format!("it broke off: {error}")))?;
            if signed.len() + piece.len() > TRANSACTION_BYTES_MAX {
                let detail = format!("a transaction has at most {TRANSACTION_BYTES_MAX} bytes");
                return Err(Problem::bad_request("body", detail));
            }
            signed.extend_from_slice(&piece);
        }
        Ok(signed)
    };
    let slow = |_| Err(Problem::new(Code::RequestTimeout, "the transaction did not come in time"));
    tokio::time::timeout(shared.config.body_grace, gathered).await.unwrap_or_else(slow)
}
