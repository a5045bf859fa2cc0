//! From a configuration to a running thread, or to an error that says what to do.

use super::{Crowds, Freshness, Inlets, Task, View};
use crate::behaviour::{self, WireNames};
use crate::book::{Book, PeerBookStore, PeerRecord};
use crate::config::Config;
use crate::counters::{NetworkCounters, add};
use crate::dialer::{Dialer, Reason};
use crate::direct::Direct;
use crate::error::StartError;
use crate::event::{EventSender, Events, FeedbackSender};
use crate::handle::{Asking, Shared, Stopped};
use crate::identity;
use crate::standing::Standing;
use crate::stream::Crowd;
use floe_types::NodeId;
use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How long the system may take to tell us what we listen on.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// An address as configured and as read.
struct Listen {
    text: String,
    address: Multiaddr,
}

/// What the thread is given.
struct Parts {
    config: Config,
    names: WireNames,
    listen: Vec<Listen>,
    bootstrap: Vec<(NodeId, Multiaddr)>,
    records: Vec<PeerRecord>,
    events: EventSender,
    feedback: FeedbackSender,
    direct: Arc<Direct>,
    counters: Arc<NetworkCounters>,
    view: View,
    inlets: Inlets,
}

/// Starts the thread and waits until it listens.
pub(crate) fn start(mut config: Config) -> Result<(Shared, Events), StartError> {
    let listen = config.listen.iter().map(|text| listen_address(text)).collect::<Result<Vec<_>, _>>()?;
    let bootstrap = config.bootstrap.iter().map(|text| bootstrap_address(text)).collect::<Result<Vec<_>, _>>()?;
    for listen in &listen {
        check_free(listen)?;
    }
    let records = config.peer_book.load().map_err(|error| StartError::PeerBook { reason: error.to_string() })?;

    let limits = config.limits.clone();
    let counters = Arc::new(NetworkCounters::default());
    let direct = Arc::new(Direct::new(limits.messages.clone(), Arc::clone(&counters)));
    let (events, events_receiver) = EventSender::new(&limits.queues, Arc::clone(&counters));
    let (commands, commands_receiver) = mpsc::channel(limits.queues.commands.max(1));
    // Room for a verdict on everything that waits for one, and for as many commands again.
    let verdicts = limits.queues.consensus_events.saturating_add(limits.queues.transaction_events);
    let (feedback, feedback_receiver) = mpsc::channel(verdicts.saturating_add(limits.queues.commands).max(1));
    let (members, members_receiver) = watch::channel(Arc::new(Vec::new()));
    let (peers, peers_receiver) = watch::channel(Arc::new(Vec::new()));
    let (listening, listening_receiver) = watch::channel(Arc::new(Vec::new()));
    let (stopped, stopped_receiver) = watch::channel(Stopped::NotYet);
    let names = WireNames::new(&config.network);
    let shared = Shared {
        own: identity::node_id_of(&config.identity_secret),
        names: names.clone(),
        commands,
        members,
        peers: peers_receiver,
        listening: listening_receiver,
        stopped: stopped_receiver,
        direct: Arc::clone(&direct),
        crowd: Crowd::new(limits.streams.per_peer_max, limits.streams.total_max),
        asking: Asking::new(limits.requests.in_flight_max),
        counters: Arc::clone(&counters),
        limits,
    };
    let parts = Parts {
        names,
        listen,
        bootstrap,
        records,
        events,
        feedback: FeedbackSender { sender: feedback, counters: Arc::clone(&counters) },
        direct,
        counters,
        view: View { peers, listening, freshness: Freshness::Stale },
        inlets: Inlets { commands: commands_receiver, feedback: feedback_receiver, members: members_receiver },
        config,
    };
    spawn(parts, stopped)?;
    Ok((shared, events_receiver))
}

/// Spawns the thread and waits for its word that it listens.
fn spawn(parts: Parts, stopped: watch::Sender<Stopped>) -> Result<(), StartError> {
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let thread = move || {
        thread_main(parts, &ready);
        stopped.send_replace(Stopped::Yes);
    };
    std::thread::Builder::new()
        .name("network".to_owned())
        .spawn(thread)
        .map_err(|error| StartError::Setup { reason: format!("no thread: {error}") })?;
    is_ready
        .recv()
        .unwrap_or_else(|_| Err(StartError::Setup { reason: "the network thread ended while starting".to_owned() }))
}

/// The whole life of the thread. The book's writer outlives the swarm, so that the last book is saved.
fn thread_main(mut parts: Parts, ready: &std::sync::mpsc::SyncSender<Result<(), StartError>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(StartError::Setup { reason: error.to_string() }));
            return;
        }
    };
    let nobody: Box<dyn PeerBookStore> = Box::new(crate::book::MemoryPeerBook::default());
    let store = std::mem::replace(&mut parts.config.peer_book, nobody);
    let (book_writer, writer) = match spawn_book_writer(store, Arc::clone(&parts.counters)) {
        Ok(spawned) => spawned,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let listen = std::mem::take(&mut parts.listen);
        match Task::new(parts, book_writer) {
            Ok((mut task, inlets)) => match task.listen(listen).await {
                Ok(()) => {
                    let _ = ready.send(Ok(()));
                    task.run(inlets).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            },
            Err(error) => drop(ready.send(Err(error))),
        }
    });
    // Ends the tasks of connections and streams, and with them the sockets.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if writer.join().is_err() {
        tracing::error!("the peer book's writer panicked");
    }
}

/// A thread that writes what it is given, one book after the other, until the sender is gone.
#[allow(clippy::type_complexity)]
fn spawn_book_writer(
    mut store: Box<dyn PeerBookStore>,
    counters: Arc<NetworkCounters>,
) -> Result<(std::sync::mpsc::SyncSender<Vec<PeerRecord>>, std::thread::JoinHandle<()>), StartError> {
    let (sender, books) = std::sync::mpsc::sync_channel::<Vec<PeerRecord>>(1);
    let write = move || {
        for records in books {
            if let Err(error) = store.save(&records) {
                add(&counters.book_saves_failed, 1);
                tracing::warn!(%error, peers = records.len(), "the peer book was not saved");
            }
        }
    };
    let thread = std::thread::Builder::new()
        .name("peer-book".to_owned())
        .spawn(write)
        .map_err(|error| StartError::Setup { reason: format!("no thread: {error}") })?;
    Ok((sender, thread))
}

impl Task {
    fn new(
        parts: Parts,
        book_writer: std::sync::mpsc::SyncSender<Vec<PeerRecord>>,
    ) -> Result<(Self, Inlets), StartError> {
        let Parts { config, names, bootstrap, records, events, feedback, direct, counters, view, inlets, .. } = parts;
        let own = identity::node_id_of(&config.identity_secret);
        let swarm = behaviour::swarm(&config, identity::keypair(&config.identity_secret), &names)?;
        let limits = config.limits.clone();
        let now = Instant::now();
        let mut dialer = Dialer::new(own, &limits.connections);
        for (node, address) in bootstrap {
            dialer.want(node, Reason::Bootstrap, vec![address], now);
        }
        let mut task = Self {
            own,
            swarm,
            events,
            feedback_sender: feedback,
            counters,
            direct,
            crowds: Crowds::new(&limits),
            peers: BTreeMap::new(),
            members: BTreeSet::new(),
            strangers_to_us: BTreeMap::new(),
            dialer,
            standing: Standing::new(limits.standing.clone()),
            book: Book::new(own, limits.book.clone(), records),
            book_tried: BTreeMap::new(),
            book_saved: now,
            book_writer,
            view,
            names,
            limits,
        };
        task.subscribe()?;
        Ok((task, inlets))
    }

    /// Listens on every address, or says which one cannot be had.
    async fn listen(&mut self, listen: Vec<Listen>) -> Result<(), StartError> {
        let mut waiting = BTreeMap::new();
        for Listen { text, address } in listen {
            match self.swarm.listen_on(address) {
                Ok(id) => waiting.insert(id.to_string(), text),
                Err(error) => return Err(StartError::Listen { address: text, reason: error.to_string() }),
            };
        }
        let listening = async {
            while !waiting.is_empty() {
                let event = self.swarm.select_next_some().await;
                match &event {
                    SwarmEvent::NewListenAddr { listener_id, .. } => {
                        waiting.remove(&listener_id.to_string());
                    }
                    SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                        if let Some(address) = waiting.remove(&listener_id.to_string()) {
                            let reason = format!("{reason:?}");
                            return Err(StartError::Listen { address, reason });
                        }
                    }
                    _ => {}
                }
                self.on_swarm_event(event);
            }
            Ok(())
        };
        match tokio::time::timeout(LISTEN_TIMEOUT, listening).await {
            Ok(result) => result?,
            Err(_) => {
                let address = waiting.into_values().next().unwrap_or_default();
                let reason = "the system names no address to listen on".to_owned();
                return Err(StartError::Listen { address, reason });
            }
        }
        self.show();
        Ok(())
    }
}

/// Reads an address to listen on: an IP address and a TCP port, or a UDP port with QUIC.
fn listen_address(text: &str) -> Result<Listen, StartError> {
    let bad = |reason: String| StartError::BadAddress { address: text.to_owned(), reason };
    let address: Multiaddr = text.parse().map_err(|error| bad(format!("{error}")))?;
    socket_of(&address).ok_or_else(|| bad("neither IP and TCP port nor IP, UDP port and quic-v1".to_owned()))?;
    Ok(Listen { text: text.to_owned(), address })
}

/// Reads an address that names its peer.
fn bootstrap_address(text: &str) -> Result<(NodeId, Multiaddr), StartError> {
    let bad = |reason: &str| StartError::BadAddress { address: text.to_owned(), reason: reason.to_owned() };
    let mut address: Multiaddr = text.parse().map_err(|error| bad(&format!("{error}")))?;
    match address.pop() {
        Some(Protocol::P2p(peer)) => {
            let node = identity::node_of(&peer).ok_or_else(|| bad("the peer id is not that of an ed25519 key"))?;
            Ok((node, address))
        }
        _ => Err(bad("it does not end in /p2p/<peer id>")),
    }
}

/// Which kind of socket an address is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    Tcp(SocketAddr),
    Udp(SocketAddr),
}

fn socket_of(address: &Multiaddr) -> Option<Socket> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match (parts.next()?, parts.next(), parts.next()) {
        (Protocol::Tcp(port), None, None) => Some(Socket::Tcp(SocketAddr::new(ip, port))),
        (Protocol::Udp(port), Some(Protocol::QuicV1), None) => Some(Socket::Udp(SocketAddr::new(ip, port))),
        _ => None,
    }
}

/// Finds out whether a port is free. The swarm's own sockets share ports on purpose (so that dials can come from the
/// listening port), which also lets a second process listen there and take half of our connections.
fn check_free(listen: &Listen) -> Result<(), StartError> {
    let bound = match socket_of(&listen.address) {
        Some(Socket::Tcp(address)) if address.port() != 0 => TcpListener::bind(address).map(drop),
        Some(Socket::Udp(address)) if address.port() != 0 => UdpSocket::bind(address).map(drop),
        _ => Ok(()),
    };
    bound.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => StartError::AddressInUse { address: listen.text.clone() },
        _ => StartError::Listen { address: listen.text.clone(), reason: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_needs_an_address_and_a_port() {
        for good in ["/ip4/0.0.0.0/tcp/7100", "/ip6/::/udp/7100/quic-v1", "/ip4/127.0.0.1/tcp/0"] {
            assert!(listen_address(good).is_ok(), "{good}");
        }
        for bad in ["", "7100", "/ip4/0.0.0.0", "/dns/example.org/tcp/1", "/ip4/0.0.0.0/udp/7100", "/ip4/1/tcp/1"] {
            assert!(matches!(listen_address(bad), Err(StartError::BadAddress { .. })), "{bad}");
        }
    }

    #[test]
    fn a_bootstrap_address_names_its_peer() {
        let node = identity::node_id_of(&[1; 32]);
        let peer = identity::peer_of(&node).unwrap();
        let read = bootstrap_address(&format!("/dns/example.org/tcp/7100/p2p/{peer}")).unwrap();
        assert_eq!(read, (node, "/dns/example.org/tcp/7100".parse().unwrap()));
        assert!(matches!(bootstrap_address("/ip4/127.0.0.1/tcp/1"), Err(StartError::BadAddress { .. })));
    }
}
