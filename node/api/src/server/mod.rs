//! The HTTP server of a node: routes, limits and documents over a [`Service`].
//!
//! ```text
//! connection ─ limits (count, header time) ─ route ─ query checked by name ─ Service ─ document or stream
//!                                              └ PUT: spooled to a file, then Service::store
//! ```
//!
//! # Laws
//! - Memory does not grow with a blob: uploads go to a file in pieces, reads are polled as fast as the client takes them.
//! - Every refusal is a problem document. An upload is refused before it is read when its announced length says so.
//! - Writes are taken only by a loopback listener and only under a loopback name, so that no page in a browser and nobody
//!   on the network spends the node's WAL: there are no tokens yet. Transactions that carry their own signature spend their
//!   signer's and are taken everywhere.
//! - Everything has a limit in [`Config`], and each limit its answer: 503 with a time for what is busy, 408 for what is
//!   slow, 413 and 507 for what does not fit.

mod admission;
mod query;
mod read;
mod respond;
mod spool;
mod store;
mod transactions;
mod views;

use crate::problem::{Code, Problem};
use crate::service::{Served, Service};
use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{App, Error as WebError, HttpRequest, HttpResponse, HttpServer, web};
use admission::Admission;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one operator may choose about the HTTP surface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen. Writes are taken only when the address is a loopback one.
    pub listen: SocketAddr,
    /// Where uploads are spooled; created when absent, emptied of old spools at start. On the disk of the data directory.
    pub spool_directory: PathBuf,
    /// The largest body in bytes: the network's parameter.
    pub blob_bytes_max: u64,
    /// Bytes kept free on the disk; an upload that would touch them is refused with 507.
    pub disk_reserve_bytes: u64,
    /// Uploads at once: each holds a file and up to 2 MiB of memory. More are refused with 503.
    pub uploads_max: usize,
    /// Streamed reads at once. More are refused with 503.
    pub reads_max: usize,
    /// Connections at once; more wait in the listen queue.
    pub connections_max: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long an upload may take beyond what its length takes at [`BODY_RATE_MIN`].
    pub body_grace: Duration,
    /// How long a reader may take for one piece of a blob before its read is given up.
    pub reader_stall: Duration,
    /// How long a document may take.
    pub answer_timeout: Duration,
}

/// The slowest upload that is borne, in bytes a second: a client below it holds a slot and gives nothing for it.
pub const BODY_RATE_MIN: u64 = 16 << 10;
/// Threads that serve HTTP. Two: one stalled service call must not silence `/livez`.
const WORKERS: usize = 2;
/// How long an orderly stop waits for requests under way.
const STOP_SECONDS: u64 = 5;

impl Config {
    /// The defaults, with what has none.
    #[must_use]
    pub fn new(listen: SocketAddr, spool_directory: PathBuf, blob_bytes_max: u64) -> Config {
        Config {
            listen,
            spool_directory,
            blob_bytes_max,
            disk_reserve_bytes: 1 << 30,
            uploads_max: 16,
            reads_max: 64,
            connections_max: 512,
            header_timeout: Duration::from_secs(5),
            body_grace: Duration::from_secs(5),
            reader_stall: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(10),
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else listens there.
    #[error("http port {port} of {host} is in use; stop what listens there or set another http address")]
    PortInUse {
        /// The port.
        port: u16,
        /// The address.
        host: IpAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// The spool directory cannot be used.
    #[error("cannot use the spool directory {directory}: {source}")]
    Spool {
        /// The directory.
        directory: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// What every handler sees.
struct Shared {
    service: Arc<dyn Service>,
    config: Config,
    admission: Admission,
}

/// A server that listens. [`Running::server`] is to be spawned; it ends when stopped through its handle.
pub struct Running {
    /// The future that serves; its `handle()` stops it.
    pub server: Server,
    /// Where it listens: the port is a real one, also when 0 was asked for.
    pub address: SocketAddr,
}

/// Binds the address and prepares the spool directory. Must be called inside an actix or tokio runtime.
///
/// # Errors
/// [`Error`] when the address or the directory cannot be used. Nothing is left behind then.
pub fn bind(config: Config, service: Arc<dyn Service>) -> Result<Running, Error> {
    spool::prepare(&config.spool_directory)
        .map_err(|source| Error::Spool { directory: config.spool_directory.clone(), source })?;
    let listen = config.listen;
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => Error::PortInUse { port: listen.port(), host: listen.ip() },
        _ => Error::Listen { listen, source },
    };
    let listener = TcpListener::bind(listen).map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let (header_timeout, connections) = (config.header_timeout, config.connections_max.div_ceil(WORKERS).max(1));
    let admission = Admission::new(config.uploads_max, config.reads_max);
    let shared = web::Data::new(Shared { service, config, admission });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .wrap(actix_web::middleware::from_fn(observe))
            .configure(routes)
            .default_service(web::to(no_such_route))
    })
    .workers(WORKERS)
    .max_connections(connections)
    .client_request_timeout(header_timeout)
    .client_disconnect_timeout(Duration::from_secs(2))
    .keep_alive(Duration::from_secs(60))
    .tcp_nodelay(true)
    .shutdown_timeout(STOP_SECONDS)
    .disable_signals()
    .listen(listener)
    .map_err(fail)?
    .run();
    Ok(Running { server, address })
}

fn routes(app: &mut web::ServiceConfig) {
    let get = |path: &str| web::resource(path).default_service(web::to(wrong_method));
    app.service(get("/v1/blobs").route(web::put().to(store::put)).route(web::get().to(views::list)))
        .service(get("/v1/blobs/{id}").route(web::get().to(read::get)).route(web::head().to(read::head)))
        .service(get("/v1/blobs/{id}/status").route(web::get().to(views::blob_status)))
        .service(get("/v1/blobs/{id}/audit").route(web::get().to(views::audit)))
        .service(get("/v1/blobs/{id}/verdicts").route(web::get().to(views::verdicts)))
        .service(get("/v1/blobs/{id}/check").route(web::get().to(views::check)))
        .service(get("/v1/explain").route(web::get().to(views::explain_network)))
        .service(get("/v1/explain/blobs/{id}").route(web::get().to(views::explain_blob)))
        .service(get("/v1/explain/nodes/{node}").route(web::get().to(views::explain_node)))
        .service(get("/v1/repair").route(web::get().to(views::repair)))
        .service(get("/v1/genesis").route(web::get().to(views::genesis)))
        .service(get("/v1/network").route(web::get().to(views::network)))
        .service(get("/v1/committee").route(web::get().to(views::committee)))
        .service(get("/v1/committee/candidates").route(web::get().to(views::candidates)))
        .service(get("/v1/committee/preview").route(web::get().to(views::preview)))
        .service(get("/v1/quote").route(web::get().to(views::store_quote)))
        .service(get("/v1/price").route(web::get().to(views::prices)))
        .service(get("/v1/registrations/{number}").route(web::get().to(views::registration)))
        .service(get("/v1/registrations/{number}/quote").route(web::get().to(views::quote)))
        .service(get("/v1/nodes/{node}/can-stop").route(web::get().to(views::can_stop)))
        .service(get("/v1/epochs").route(web::get().to(views::newest_epoch)))
        .service(get("/v1/epochs/{epoch}").route(web::get().to(views::epoch)))
        .service(get("/v1/accounts/{account}").route(web::get().to(views::account)))
        .service(get("/v1/accounts/{account}/history").route(web::get().to(views::history)))
        .service(get("/v1/transactions").route(web::post().to(transactions::post)))
        .service(get("/v1/node").route(web::get().to(views::node)))
        .service(get("/v1/health").route(web::get().to(views::health)))
        .service(get("/healthz").route(web::get().to(views::healthz)))
        .service(get("/livez").route(web::get().to(views::livez)))
        .service(get("/status").route(web::get().to(views::livez)))
        .service(get("/readyz").route(web::get().to(views::readyz)))
        .service(get("/metrics").route(web::get().to(views::metrics)))
        .service(get("/problems/{code}").route(web::get().to(views::problem_page)));
}

async fn no_such_route(request: HttpRequest) -> HttpResponse {
    let path: String = request.path().escape_debug().take(64).collect();
    respond::refuse(&Problem::new(Code::RouteUnknown, format!("there is no page {path}")))
}

async fn wrong_method(request: HttpRequest) -> HttpResponse {
    let method: String = request.method().as_str().chars().take(16).collect();
    respond::refuse(&Problem::new(Code::MethodNotAllowed, format!("{method} is not a method of this route")))
}

/// Tells the service of every answered request and gives each its id.
async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, WebError> {
    let began = Instant::now();
    let route = request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    let method = method_word(request.method());
    let shared = request.app_data::<web::Data<Shared>>().cloned();
    let response = next.call(request).await?;
    if let Some(shared) = shared {
        let status = response.status().as_u16();
        let served = Served { route: &route, method, status, took: began.elapsed() };
        shared.service.served(&served);
        tracing::debug!(route = %route, method, status, took = ?served.took, "request answered");
    }
    Ok(response)
}

fn method_word(method: &actix_web::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        _ => "OTHER",
    }
}

impl Shared {
    /// Waits for a document, as long as one may take.
    async fn answer<T>(&self, answer: crate::service::Answer<T>) -> Result<T, Problem> {
        match tokio::time::timeout(self.config.answer_timeout, answer).await {
            Ok(result) => result,
            Err(_) => {
                let seconds = self.config.answer_timeout.as_secs();
                let detail = format!("the node did not answer its HTTP surface within {seconds} s");
                Err(Problem::new(Code::Overloaded, detail).retry_after(self.config.answer_timeout))
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
