//! The routes that show one document each.

use super::query::Query;
use super::{Shared, respond};
use crate::model::HealthState;
use crate::problem::{Code, Problem};
use crate::service::{
    AuditAsk, BlobRef, Explained, HistoryPage, PAGE_MAX, PREFIX_MIN, Page, Proposal, QuoteAsk, StoreAsk,
};
use actix_web::{HttpRequest, HttpResponse, web};
use floe_types::{AccountId, BlobId, Epoch, EpochCount, Frost, NodeId, RegistrationNumber, SequenceNumber};

/// Blobs on a page when nobody says how many.
const PAGE_DEFAULT: u16 = 100;
/// Characters of a blob id.
const ID_CHARACTERS: usize = 43;

type State = web::Data<Shared>;

pub(super) async fn list(request: HttpRequest, shared: State) -> HttpResponse {
    let page = || {
        let query = Query::parse(request.query_string(), &["after", "limit"])?;
        let after = query.value("after", "the number of a blob")?.map(SequenceNumber);
        Ok(Page { after, limit: page_limit(&query)? })
    };
    match page() {
        Ok(page) => respond::document(shared.answer(shared.service.list(page)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

/// `?limit=`, or the default.
fn page_limit(query: &Query) -> Result<u16, Problem> {
    let limit = query.value("limit", "a number of entries")?.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad_request("limit", format!("limit must be from 1 to {PAGE_MAX}")));
    }
    Ok(limit)
}

pub(super) async fn blob_status(request: HttpRequest, id: web::Path<String>, shared: State) -> HttpResponse {
    match plain(&request).and_then(|()| blob_ref(&id)) {
        Ok(blob) => respond::document(shared.answer(shared.service.blob_status(blob)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn audit(request: HttpRequest, id: web::Path<String>, shared: State) -> HttpResponse {
    let ask = || {
        let query = Query::parse(request.query_string(), &["epoch", "from"])?;
        let epoch = query.value("epoch", "an epoch")?.map(Epoch);
        let epoch = epoch.ok_or_else(|| Problem::bad_request("epoch", "say which epoch the audit is about"))?;
        let from = query.value("from", "an epoch")?.map(Epoch);
        Ok(AuditAsk { blob: blob_ref(&id)?, epoch, from })
    };
    let made = match ask() {
        Ok(ask) => shared.answer(shared.service.audit(ask)).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(bytes) => respond::bytes(bytes),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn verdicts(request: HttpRequest, id: web::Path<String>, shared: State) -> HttpResponse {
    match plain(&request).and_then(|()| blob_ref(&id)) {
        Ok(blob) => respond::document(shared.answer(shared.service.verdicts(blob)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn genesis(request: HttpRequest, shared: State) -> HttpResponse {
    let found = match plain(&request) {
        Ok(()) => shared.answer(shared.service.genesis()).await,
        Err(problem) => Err(problem),
    };
    match found {
        Ok(text) => respond::text_as_json(text),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn explain_network(request: HttpRequest, shared: State) -> HttpResponse {
    explain(&request, Ok(Explained::Network), shared).await
}

pub(super) async fn explain_blob(request: HttpRequest, id: web::Path<String>, shared: State) -> HttpResponse {
    explain(&request, blob_ref(&id).map(Explained::Blob), shared).await
}

pub(super) async fn explain_node(request: HttpRequest, node: web::Path<String>, shared: State) -> HttpResponse {
    explain(&request, named_node(&node).map(Explained::Node), shared).await
}

async fn explain(request: &HttpRequest, what: Result<Explained, Problem>, shared: State) -> HttpResponse {
    match plain(request).and(what) {
        Ok(what) => respond::document(shared.answer(shared.service.explain(what)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn repair(request: HttpRequest, shared: State) -> HttpResponse {
    match plain(&request) {
        Ok(()) => respond::document(shared.answer(shared.service.repair()).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn check(request: HttpRequest, id: web::Path<String>, shared: State) -> HttpResponse {
    match plain(&request).and_then(|()| blob_ref(&id)) {
        Ok(blob) => respond::document(shared.answer(shared.service.check(blob)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

/// A blob named in full or by its beginning.
fn blob_ref(text: &str) -> Result<BlobRef, Problem> {
    if text.len() >= ID_CHARACTERS {
        return super::read::full_id(text).map(BlobRef::Id);
    }
    let spelled = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if spelled && text.len() >= PREFIX_MIN {
        return Ok(BlobRef::Prefix(text.to_owned()));
    }
    let shown: String = text.escape_debug().take(64).collect();
    let detail = format!("{shown} is not a blob id nor its first {PREFIX_MIN} or more characters");
    Err(Problem::new(Code::BlobIdMalformed, detail))
}

pub(super) async fn network(request: HttpRequest, shared: State) -> HttpResponse {
    match plain(&request) {
        Ok(()) => respond::document(shared.answer(shared.service.network()).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn committee(request: HttpRequest, shared: State) -> HttpResponse {
    match plain(&request) {
        Ok(()) => respond::document(shared.answer(shared.service.committee()).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn candidates(request: HttpRequest, shared: State) -> HttpResponse {
    match plain(&request) {
        Ok(()) => respond::document(shared.answer(shared.service.candidates()).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn preview(request: HttpRequest, shared: State) -> HttpResponse {
    let proposal = || {
        let query = Query::parse(request.query_string(), &["node", "stake", "capacity", "domain"])?;
        let missing = |name: &'static str| move || Problem::bad_request(name, format!("{name} is needed"));
        Ok(Proposal {
            node: query.value("node", "a node of 64 hexadecimal digits")?.ok_or_else(missing("node"))?,
            stake: Frost(query.value("stake", "an amount in FROST")?.ok_or_else(missing("stake"))?),
            capacity_bytes: query.value("capacity", "a number of bytes")?.ok_or_else(missing("capacity"))?,
            domain: query.value("domain", "a text")?.unwrap_or_default(),
        })
    };
    match proposal() {
        Ok(proposal) => respond::document(shared.answer(shared.service.preview(proposal)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn store_quote(request: HttpRequest, shared: State) -> HttpResponse {
    let ask = || {
        let query = Query::parse(request.query_string(), &["size", "epochs"])?;
        let length = query.value("size", "a number of bytes")?;
        let length = length.ok_or_else(|| Problem::bad_request("size", "say how many bytes the blob has"))?;
        let epochs = query.value("epochs", "a number of epochs from 1")?.unwrap_or(1);
        if epochs == 0 {
            return Err(Problem::bad_request("epochs", "epochs must be a number of epochs from 1"));
        }
        Ok(StoreAsk { length, epochs: EpochCount(epochs) })
    };
    match ask() {
        Ok(ask) => respond::document(shared.answer(shared.service.store_quote(ask)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn prices(request: HttpRequest, shared: State) -> HttpResponse {
    match plain(&request) {
        Ok(()) => respond::document(shared.answer(shared.service.prices()).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn registration(request: HttpRequest, number: web::Path<String>, shared: State) -> HttpResponse {
    match plain(&request).and_then(|()| registration_number(&number)) {
        Ok(number) => respond::document(shared.answer(shared.service.registration(number)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

fn registration_number(text: &str) -> Result<RegistrationNumber, Problem> {
    let refused = |_| Problem::bad_request("registration", "a registration is a whole number");
    text.parse().map(RegistrationNumber).map_err(refused)
}

/// `?last=E` for an extension, `?delete` for an early end.
pub(super) async fn quote(request: HttpRequest, number: web::Path<String>, shared: State) -> HttpResponse {
    let asked = || {
        let query = Query::parse(request.query_string(), &["last", "delete"])?;
        let number = registration_number(&number)?;
        match (query.value("last", "an epoch")?, query.switch("delete")?) {
            (Some(last), false) => Ok((number, QuoteAsk::Extend { last: Epoch(last) })),
            (None, true) => Ok((number, QuoteAsk::Delete)),
            _ => Err(Problem::bad_request("last", "either last or delete is needed")),
        }
    };
    match asked() {
        Ok((number, ask)) => respond::document(shared.answer(shared.service.quote(number, ask)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

/// A node by its id, or this one.
fn named_node(text: &str) -> Result<Option<NodeId>, Problem> {
    match text {
        "me" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Problem::bad_request("node", "a node is 64 hexadecimal digits, or me for this one")),
    }
}

pub(super) async fn can_stop(request: HttpRequest, node: web::Path<String>, shared: State) -> HttpResponse {
    match plain(&request).and_then(|()| named_node(&node)) {
        Ok(named) => respond::document(shared.answer(shared.service.can_stop(named)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn newest_epoch(request: HttpRequest, shared: State) -> HttpResponse {
    match plain(&request) {
        Ok(()) => respond::document(shared.answer(shared.service.epoch(None)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn epoch(request: HttpRequest, epoch: web::Path<String>, shared: State) -> HttpResponse {
    let number = plain(&request).and_then(|()| {
        epoch.parse::<Epoch>().map_err(|_| Problem::bad_request("epoch", "an epoch is a whole number from 1"))
    });
    match number {
        Ok(number) => respond::document(shared.answer(shared.service.epoch(Some(number))).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn account(request: HttpRequest, account: web::Path<String>, shared: State) -> HttpResponse {
    match plain(&request).and_then(|()| account_named(&account)) {
        Ok(named) => respond::document(shared.answer(shared.service.account(named)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

/// An account in digits, or none for `me`.
fn account_named(text: &str) -> Result<Option<AccountId>, Problem> {
    if text == "me" {
        return Ok(None);
    }
    let refused = |_| Problem::bad_request("account", "an account is 64 hexadecimal digits, or me for this node's own");
    text.parse().map(Some).map_err(refused)
}

pub(super) async fn history(request: HttpRequest, account: web::Path<String>, shared: State) -> HttpResponse {
    let asked = || {
        let query = Query::parse(request.query_string(), &["after", "limit"])?;
        let after = query.value("after", "the place of an entry, such as 8112-3")?;
        Ok((account_named(&account)?, HistoryPage { after, limit: page_limit(&query)? }))
    };
    match asked() {
        Ok((named, page)) => respond::document(shared.answer(shared.service.history(named, page)).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn node(request: HttpRequest, shared: State) -> HttpResponse {
    match plain(&request) {
        Ok(()) => respond::document(shared.answer(shared.service.node()).await),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn health(request: HttpRequest, shared: State) -> HttpResponse {
    match plain(&request) {
        Ok(()) => respond::document(shared.answer(shared.service.health()).await),
        Err(problem) => respond::refuse(&problem),
    }
}

/// For probes: 200 while nothing is broken, 503 otherwise, the document in both cases.
pub(super) async fn healthz(shared: State) -> HttpResponse {
    match shared.answer(shared.service.health()).await {
        Ok(health) if matches!(health.state, HealthState::Ok | HealthState::Warn) => respond::document(Ok(health)),
        Ok(health) => respond::with_json(HttpResponse::ServiceUnavailable(), &health),
        Err(problem) => respond::refuse(&problem),
    }
}

/// For probes: 200 while the process answers at all.
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// For probes and load balancers: 200 while this node can serve.
pub(super) async fn readyz(shared: State) -> HttpResponse {
    match shared.answer(shared.service.ready()).await {
        Ok(()) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"),
        Err(problem) => respond::refuse(&problem),
    }
}

pub(super) async fn metrics(shared: State) -> HttpResponse {
    match shared.answer(shared.service.metrics()).await {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
        Err(problem) => respond::refuse(&problem),
    }
}

/// What a problem's `type` leads to: the code explained, offline.
pub(super) async fn problem_page(code: web::Path<String>) -> HttpResponse {
    let Some(code) = Code::parse(&code) else {
        return respond::refuse(&Problem::new(Code::RouteUnknown, "there is no such problem code"));
    };
    let retry = if code.is_retryable() { "yes" } else { "not without a change" };
    let text = format!(
        "{}\n\n{}\n\nhttp status  {}\nexit code    {}\nretry        {retry}\n",
        code.word(),
        code.title(),
        code.status(),
        code.class().number(),
    );
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text)
}

/// A route without parameters: any is refused by name.
fn plain(request: &HttpRequest) -> Result<(), Problem> {
    Query::parse(request.query_string(), &[]).map(|_| ())
}

impl From<BlobId> for BlobRef {
    fn from(id: BlobId) -> BlobRef {
        BlobRef::Id(id)
    }
}
