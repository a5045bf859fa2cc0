//! Answers the HTTP surface: reads of the ledger and of the live view here, stores and reads of blobs by the gateway.
//!
//! Ledger reads see one snapshot each, on a blocking thread, so that a page never mixes two heights.

mod account;
mod audit;
mod check;
mod committee;
mod explain;
mod health;
mod look;
mod network;
mod node;
mod price;
mod transactions;

pub use look::{Look, verdict_word};

use crate::actors::gateway::GatewayHandle;
use crate::run::Shared;
use crate::telemetry::{Scrape, StoreFigures};
use floe_api::model::{
    AccountView, BlobHead, BlobList, BlobStatus, CanStopView, CandidatesView, CheckView, CommitteeView, EpochView,
    Explanation, Health, HistoryView, NetworkView, NodeView, PreviewView, PricesView, QuoteView, Receipt,
    RegistrationView, RepairView, StoreQuote, Time, TransactionAnswer, VerdictsView,
};
use floe_api::service::{
    Answer, AuditAsk, BlobRef, Explained, HistoryPage, Page, Proposal, QuoteAsk, ReadStream, Served, StoreAsk,
    StoreRequest, Undefended,
};
use floe_api::{Code, Problem, Service};
use floe_machines::snapshot::Progress;
use floe_network::Role;
use floe_types::keys::SecretKey;
use floe_types::{AccountId, BlobId, Epoch, Genesis, NodeId, RegistrationNumber};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a read waits for the certificate of a blob that is registered: whoever stored it through another node may
/// have the certificate a block before this node.
const CERTIFICATE_WAIT: Duration = Duration::from_secs(1);

/// What the service needs.
pub struct ServiceParts {
    /// Store, network, coordinator.
    pub shared: Shared,
    /// Stores and reads.
    pub gateway: GatewayHandle,
    /// Names and the committee's founding.
    pub genesis: Genesis,
    /// This node's account.
    pub account: SecretKey,
    /// How far a snapshot on its way in is.
    pub snapshot: watch::Receiver<Option<Progress>>,
}

/// The node, as its HTTP surface sees it.
#[derive(Clone)]
pub struct NodeService {
    shared: Shared,
    gateway: GatewayHandle,
    genesis: Arc<Genesis>,
    account: AccountId,
    snapshot: watch::Receiver<Option<Progress>>,
    started: Time,
}

impl NodeService {
    /// A service over the node's parts.
    #[must_use]
    pub fn new(parts: ServiceParts) -> NodeService {
        NodeService {
            shared: parts.shared,
            gateway: parts.gateway,
            genesis: Arc::new(parts.genesis),
            account: AccountId(parts.account.public()),
            snapshot: parts.snapshot,
            started: Time::now(),
        }
    }

    /// Looks at one snapshot of the ledger, on a blocking thread.
    fn look<T: Send + 'static>(&self, at: impl FnOnce(&Look<'_>) -> Result<T, Problem> + Send + 'static) -> Answer<T> {
        let service = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let snapshot = service.shared.store.snapshot();
            let live = service.shared.coordinator.live();
            at(&Look::new(&snapshot, &service.shared.context, service.shared.node, live)?)
        });
        Box::pin(
            async move { looked.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the node is stopping"))) },
        )
    }

    fn scrape(&self, look: &Look<'_>) -> Result<String, Problem> {
        let statistics = self.shared.store.statistics().map_err(internal)?;
        let peers = self.shared.network.peers();
        let connected = |role: Role| peers.iter().filter(|peer| peer.connected && peer.role == role).count() as i64;
        let account = floe_ledger::views::account(look.state, &self.account).map_err(internal)?;
        let scrape = Scrape {
            look,
            store: StoreFigures::of(&statistics),
            peers: [("member", connected(Role::Member)), ("other", connected(Role::Other))],
            transport: self.shared.network.counters().values().named(),
            balance: account.balance,
            node: self.shared.node,
            network_name: &self.genesis.name,
        };
        scrape.text(&self.shared.metrics).map_err(internal)
    }
}

/// What is inside is not shown: it goes to the log.
pub(crate) fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a request failed");
    Problem::new(Code::Internal, "the node could not read its own data; its log says more")
}

impl Service for NodeService {
    fn store(&self, request: StoreRequest) -> Answer<Receipt> {
        self.gateway.store(request)
    }

    fn head(&self, blob: BlobId, undefended: Undefended) -> Answer<BlobHead> {
        let service = self.clone();
        Box::pin(async move {
            let mut committed = service.shared.coordinator.committed();
            let deadline = tokio::time::Instant::now() + CERTIFICATE_WAIT;
            loop {
                let head = service.look(move |look| look.blob_head(&blob, undefended)).await;
                let waits = matches!(&head, Err(problem) if problem.code == Code::BlobNotCertified);
                if !waits || tokio::time::timeout_at(deadline, committed.recv()).await.is_err() {
                    return head;
                }
            }
        })
    }

    fn read(&self, blob: BlobId, undefended: Undefended, range: Option<Range<u64>>) -> Answer<ReadStream> {
        let head = self.head(blob, undefended);
        let gateway = self.gateway.clone();
        Box::pin(async move {
            let head = head.await?;
            if let Some(range) = range.as_ref().filter(|range| range.start > range.end || range.end > head.length) {
                let detail = format!("bytes {} to {} of a blob of {} bytes", range.start, range.end, head.length);
                return Err(Problem::new(Code::RangeNotSatisfiable, detail));
            }
            gateway.read(head, range).await
        })
    }

    fn blob_status(&self, blob: BlobRef) -> Answer<BlobStatus> {
        self.look(move |look| look.blob_status(&blob))
    }

    fn audit(&self, ask: AuditAsk) -> Answer<Vec<u8>> {
        let store = self.shared.store.clone();
        self.look(move |look| look.audit(&ask, &store))
    }

    fn verdicts(&self, blob: BlobRef) -> Answer<VerdictsView> {
        self.look(move |look| look.verdicts(&blob))
    }

    fn explain(&self, what: Explained) -> Answer<Explanation> {
        let (name, own) = (self.genesis.name.clone(), self.shared.node);
        self.look(move |look| match what {
            Explained::Network => look.explain_network(&name),
            Explained::Node(node) => look.explain_node(&node.unwrap_or(own)),
            Explained::Blob(blob) => look.explain_blob(&blob),
        })
    }

    fn repair(&self) -> Answer<RepairView> {
        let metrics = self.shared.metrics.clone();
        self.look(move |look| {
            let of = |outcome| metrics.repair_fragments.with_label_values(&[outcome]).get();
            let (rebuilt_here, bytes_here) = (of("rebuilt") + of("fetched"), metrics.repair_bytes.get());
            Ok(RepairView { rebuilt_here, bytes_here, ..look.repair_view()? })
        })
    }

    fn check(&self, blob: BlobRef) -> Answer<CheckView> {
        let service = self.clone();
        Box::pin(async move {
            let checking = service.look(move |look| look.checking(&blob)).await?;
            service.ask_holders(checking).await
        })
    }

    fn genesis(&self) -> Answer<String> {
        let text = serde_json::to_string_pretty(&*self.genesis).map_err(internal);
        Box::pin(std::future::ready(text))
    }

    fn list(&self, page: Page) -> Answer<BlobList> {
        self.look(move |look| look.list(page))
    }

    fn network(&self) -> Answer<NetworkView> {
        let name = self.genesis.name.clone();
        self.look(move |look| look.network(name))
    }

    fn committee(&self) -> Answer<CommitteeView> {
        let peers = self.shared.network.peers();
        self.look(move |look| look.committee_view(&peers))
    }

    fn quote(&self, registration: RegistrationNumber, ask: QuoteAsk) -> Answer<QuoteView> {
        self.look(move |look| look.quote(registration, ask))
    }

    fn store_quote(&self, ask: StoreAsk) -> Answer<StoreQuote> {
        self.look(move |look| look.store_quote(ask))
    }

    fn prices(&self) -> Answer<PricesView> {
        self.look(|look| look.prices_view())
    }

    fn registration(&self, registration: RegistrationNumber) -> Answer<RegistrationView> {
        self.look(move |look| look.registration_view(registration))
    }

    fn candidates(&self) -> Answer<CandidatesView> {
        self.look(|look| look.candidates_view())
    }

    fn preview(&self, proposal: Proposal) -> Answer<PreviewView> {
        self.look(move |look| look.preview(proposal))
    }

    fn can_stop(&self, node: Option<NodeId>) -> Answer<CanStopView> {
        let own = self.shared.node;
        self.look(move |look| look.can_stop(node.unwrap_or(own)))
    }

    fn epoch(&self, epoch: Option<Epoch>) -> Answer<EpochView> {
        let store = self.shared.store.clone();
        self.look(move |look| look.epoch_view(epoch, &store))
    }

    fn account(&self, account: Option<AccountId>) -> Answer<AccountView> {
        let own = self.account;
        self.look(move |look| look.account(account.unwrap_or(own)))
    }

    fn history(&self, account: Option<AccountId>, page: HistoryPage) -> Answer<HistoryView> {
        let (store, own) = (self.shared.store.clone(), self.account);
        self.look(move |_| account::history(&store, account.unwrap_or(own), page))
    }

    fn submit(&self, signed: Vec<u8>) -> Answer<TransactionAnswer> {
        Box::pin(transactions::submit(self.shared.coordinator.clone(), signed))
    }

    fn node(&self) -> Answer<NodeView> {
        let service = self.clone();
        self.look(move |look| service.node_view(look))
    }

    fn health(&self) -> Answer<Health> {
        let service = self.clone();
        self.look(move |look| {
            let statistics = service.shared.store.statistics().map_err(internal)?;
            let account = floe_ledger::views::account(look.state, &service.account).map_err(internal)?;
            Ok(look.health(&statistics, account.balance))
        })
    }

    fn ready(&self) -> Answer<()> {
        self.look(|look| {
            if look.head.height.0 == 0 {
                return Err(Problem::new(Code::NodeNotReady, "the network has not decided its first block yet"));
            }
            if look.live.behind {
                return Err(Problem::new(Code::NodeNotReady, "this node is catching up with the others"));
            }
            Ok(())
        })
    }

    fn served(&self, served: &Served<'_>) {
        let metrics = &self.shared.metrics;
        let status = served.status.to_string();
        metrics.http_requests.with_label_values(&[served.route, served.method, &status]).inc();
        metrics.http_seconds.with_label_values(&[served.route]).observe(served.took.as_secs_f64());
    }

    fn metrics(&self) -> Answer<String> {
        let service = self.clone();
        self.look(move |look| service.scrape(look))
    }
}
