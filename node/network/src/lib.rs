//! How a node reaches the others: the only place that says libp2p.
//!
//! One swarm task runs on a thread of its own with its own runtime, so that bulk work elsewhere in the node never
//! delays a vote. Others hold a [`Network`] (commands, bounded) and read [`Events`] (bounded, consensus first).
//!
//! ```text
//!   callers ──publish, request, open──▶ Network ──▶ [network thread: swarm, connections, streams] ──▶ peers
//!   callers ◀──Events: consensus | requests | transactions────────┘
//! ```
//!
//! | module | what it does |
//! | --- | --- |
//! | [`config`] | what one operator may choose, and every limit with its reason |
//! | [`event`] | what the network tells the node, and how the node answers |
//! | [`handle`] | what the node asks of the network |
//! | [`stream`] | fragment streams: bulk with back pressure, a stall limit and a place in a bounded crowd |
//! | [`book`] | the peer book: whom we met where, so that a restart needs no bootstrap peer |
//! | [`error`] | how each of it can fail, with the facts |
//! | [`counters`] | what was sent, received, dropped and refused |
//!
//! # Laws
//! - Every queue has a capacity; a full queue drops and counts, it never makes the swarm wait.
//! - A length is checked before memory is given for it, and memory grows only with bytes that arrived.
//! - Nothing is relayed before the node has accepted it.
//! - Members always find a connection slot; strangers share a bounded number.
//!
//! # Not here
//! What a message means. The network knows topics, sizes and senders; whether a vote is a vote is for its readers.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod book;
pub mod config;
pub mod counters;
pub mod error;
pub mod event;
pub mod handle;
pub mod stream;

mod behaviour;
mod dialer;
mod direct;
mod frame;
mod identity;
mod request;
mod standing;
mod streams;
mod task;

pub use book::{MemoryPeerBook, PeerBookStore, PeerRecord};
pub use config::{Config, LanDiscovery, Limits, Topic};
pub use counters::{CounterValues, NetworkCounters};
pub use error::{OpenError, PublishError, ReplyError, RequestError, StartError};
pub use event::{Event, Events, GossipVerdict, Lanes, Reply};
pub use handle::{MemberAddress, Network, Offence, PeerView, Role};
pub use identity::node_id_of;
pub use stream::FragmentStream;
