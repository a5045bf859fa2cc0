//! A node from its configuration to its end: opens, wires, serves, stops in order.
//!
//! # Start
//! 1. Configuration, genesis, keys, store: every mistake in them is found before a port is opened.
//! 2. The ledger at the head of the store; genesis when it is new.
//! 3. The swarm, the coordinator on its thread, fragments, gateway, then HTTP: who asks finds somebody who answers.
//!
//! # Stop
//! On SIGTERM or SIGINT: no new client work, requests under way are answered, the coordinator writes what it holds, the
//! swarm closes. A coordinator that cannot go on ends the process with an error; a restart replays the journal.

use crate::actors::coordinator::{self, CoordinatorHandle, CoordinatorParts};
use crate::actors::{challenger, fragments, gateway, network, newcomer, rebuilder, repairer, scrubber};
use crate::config::{ConfigError, NodeConfig};
use crate::history::History;
use crate::keys::{NodeKeys, VoteKeyFiles};
use crate::peer_book::StoredPeerBook;
use crate::service::{NodeService, ServiceParts};
use crate::telemetry::Metrics;
use floe_consensus::VoteSigningKey;
use floe_ledger::Context;
use floe_machines::coordinator::{Config as CoordinatorConfig, Coordinator, Identity};
use floe_machines::fragments::FragmentKey;
use floe_network::{LanDiscovery, Network};
use floe_storage::{OpenError, StorageError, Store};
use floe_types::{Genesis, NetworkId, NodeId};
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Why a node did not start, or ended other than asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration, the genesis or a key.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store, later.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The network.
    #[error(transparent)]
    Network(#[from] floe_network::StartError),
    /// The HTTP surface.
    #[error(transparent)]
    Http(#[from] floe_api::server::Error),
    /// The ledger in the data directory.
    #[error(transparent)]
    Ledger(#[from] floe_machines::coordinator::Error),
    /// The genesis founds no ledger.
    #[error("genesis: {0}")]
    Genesis(#[from] floe_types::genesis::GenesisError),
    /// A successor's ledger is not in the data directory yet.
    #[error("this network goes on from {parent}, whose state is not here: floe node succeed puts it here")]
    NotSucceeded {
        /// The network before.
        parent: NetworkId,
    },
    /// Metrics cannot be registered, or the system refuses a signal handler or a thread.
    #[error("{0}")]
    System(String),
    /// The coordinator cannot go on.
    #[error("stopped: {reason}")]
    Halted {
        /// Its words.
        reason: String,
    },
}

/// Runs a node until it is told to stop. Blocks; makes its own runtime.
///
/// # Errors
/// [`RunError`] when it cannot start, or had to stop by itself.
pub fn run(config: &NodeConfig) -> Result<(), RunError> {
    let genesis = config.genesis()?;
    let keys = config.keys(genesis.network())?;
    exit_on_panic();
    match actix::System::new().block_on(run_until_stopped(config, genesis, keys))? {
        Ended::Stopped => Ok(()),
        Ended::StartAgain => Err(start_again()),
    }
}

/// How a node ended that was well.
enum Ended {
    /// It was told to stop.
    Stopped,
    /// It has a snapshot that only an opening store can put in place.
    StartAgain,
}

/// Puts a new start of this program in the place of this one: the same process for whoever watches it, and nothing left
/// in it that could hold the old state. Answers only when the system refuses.
fn start_again() -> RunError {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    // The file may have been replaced by a newer one meanwhile: then this process's own image is what is left of it.
    let own = std::env::current_exe().ok().filter(|path| path.exists());
    let program = own.unwrap_or_else(|| "/proc/self/exe".into());
    let error = std::process::Command::new(program).arg0(name).args(words).exec();
    RunError::System(format!(
        "the node has a snapshot and must start again, which the system refuses: {error}; start it"
    ))
}

/// A panic on any thread ends the process: what it held may be half done, and a restart replays the journal. Without
/// this an actor would die silently and its callers wait.
fn exit_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        // Not `abort`: no core file is wanted, the message is on stderr.
        std::process::exit(70);
    }));
}

async fn run_until_stopped(config: &NodeConfig, genesis: Genesis, keys: NodeKeys) -> Result<Ended, RunError> {
    let system = |error: std::io::Error| RunError::System(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let context = Context::of(&genesis);
    let node = NodeId(keys.identity.public());
    let store = open_store(config, &genesis, node)?;
    let metrics = Arc::new(Metrics::new().map_err(|error| RunError::System(error.to_string()))?);
    let (failed, mut failures) = mpsc::channel(1);

    let (network, events) = start_network(config, &genesis, &keys, &store)?;
    let lanes = events.into_lanes();
    let vote_keys = VoteKeyFiles::new(&config.keys, genesis.network());
    let vote_secrets = vote_keys.load().map_err(ConfigError::from)?;
    let identity = Identity {
        node,
        vote_keys: vote_secrets.into_iter().map(VoteSigningKey::from_secret).collect(),
        account: keys.account.clone(),
    };
    let coordinator_config = CoordinatorConfig {
        far_behind_heights: config.history.snapshot_ahead,
        ..CoordinatorConfig::for_params(&context.params)
    };
    let machine = Coordinator::guarded(coordinator_config, context.clone(), identity, store.memory()?, &store)?;
    let (coordinator, coordinator_arbiter) = coordinator::start(CoordinatorParts {
        machine,
        store: store.clone(),
        network: network.clone(),
        consensus: lanes.consensus,
        transactions: lanes.transactions,
        vote_keys,
        failed,
        history: History::new(store.clone(), &context.params, &config.history),
        account: keys.account_id(),
        metrics: metrics.clone(),
    })?;
    let (suspects, suspected) = mpsc::channel(scrubber::SUSPECTS_WAITING_MAX);
    let (unread, met) = mpsc::channel(challenger::UNREAD_WAITING_MAX);
    let shared = Shared { context, node, store, network, coordinator, metrics, suspects, unread };
    let fragments = fragments::start(&shared, keys.confirmation.clone(), config.fragments())?;
    let gateway = gateway::start(&shared, config.data.join("spool"), fragments.clone())?;
    repairer::start(&shared, fragments.clone())?;
    rebuilder::start(&shared, fragments.clone(), config.data.join("scratch"))?;
    scrubber::start(&shared, suspected)?;
    let challenging = floe_machines::challenges::Identity {
        node,
        network_key: keys.identity.clone(),
        confirmation_key: keys.confirmation.clone(),
    };
    let challenger = challenger::start(&shared, challenging, (lanes.observations, met))?;
    network::start(&shared, (fragments, challenger), lanes.requests);
    let newcomer::News { mut arrived, progress } = newcomer::start(&shared, &genesis, config.history.snapshot_ahead);

    let (gateway_handle, account) = (gateway.clone(), keys.account);
    let parts = ServiceParts { shared: shared.clone(), gateway: gateway_handle, genesis, account, snapshot: progress };
    let service = Arc::new(NodeService::new(parts));
    let server = floe_api::server::bind(config.http_server(shared.context.params.blob_bytes_max), service)?;
    let serving = server.server.handle();
    tracing::info!(node = %shared.node.short(), http = %server.address, "ready");
    let mut serve = actix::spawn(server.server);
    // Nobody to tell is fine: most nodes do not run under systemd.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(Ended::Stopped),
        _ = interrupt.recv() => Ok(Ended::Stopped),
        Some(()) = arrived.recv() => Ok(Ended::StartAgain),
        reason = failures.recv() => Err(RunError::Halted { reason: reason.unwrap_or_default() }),
        ended = &mut serve => Err(RunError::Halted { reason: format!("the HTTP server ended: {ended:?}") }),
    };
    tracing::info!("stopping");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    serving.stop(true).await;
    gateway.stop().await;
    shared.coordinator.stop().await;
    shared.network.shutdown().await;
    coordinator_arbiter.stop();
    let _ = tokio::task::spawn_blocking(move || coordinator_arbiter.join()).await;
    outcome
}

/// What most parts of a node need. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// Network id and parameters.
    pub context: Context,
    /// This node.
    pub node: NodeId,
    /// Everything kept.
    pub store: Store,
    /// Peers.
    pub network: Network,
    /// Consensus and ledger.
    pub coordinator: CoordinatorHandle,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Fragments that could not be read because of damage: the scrubber looks at them. A full queue loses one to the pass.
    pub suspects: mpsc::Sender<FragmentKey>,
    /// What holders did not give readers of this node: the challenger asks for it. What does not fit is dropped.
    pub unread: mpsc::Sender<challenger::Unreadable>,
}

fn coordinator_error(error: floe_ledger::StateError) -> RunError {
    RunError::Ledger(error.into())
}

fn open_store(config: &NodeConfig, genesis: &Genesis, node: NodeId) -> Result<Store, RunError> {
    let identity = floe_storage::Identity { network: genesis.network(), node };
    let store = Store::open(&config.data, identity, config.storage.clone())?;
    if store.last_height().is_none() {
        if let Some(parent) = &genesis.parent {
            return Err(RunError::NotSucceeded { parent: parent.network });
        }
        store.commit_genesis(&floe_ledger::begin(genesis)?)?;
    }
    Ok(store)
}

fn start_network(
    config: &NodeConfig,
    genesis: &Genesis,
    keys: &NodeKeys,
    store: &Store,
) -> Result<(Network, floe_network::Events), RunError> {
    let (network, events) = Network::start(floe_network::Config {
        identity_secret: keys.identity.to_bytes(),
        network: genesis.network(),
        listen: config.network.listen.clone(),
        bootstrap: config.network.bootstrap.clone(),
        lan_discovery: if config.network.mdns { LanDiscovery::On } else { LanDiscovery::Off },
        limits: floe_network::Limits::default(),
        peer_book: Box::new(StoredPeerBook(store.clone())),
    })?;
    network.set_members(network::members(&store.snapshot()).map_err(coordinator_error)?);
    Ok((network, events))
}
