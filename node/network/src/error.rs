//! How the network can fail. Each variant carries the facts, so that whoever reads it knows what to do next.

use floe_types::NodeId;
use std::time::Duration;

/// Why the network did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listening or bootstrap address that cannot be read.
    #[error("address {address:?} cannot be used: {reason}; expected for example /ip4/0.0.0.0/tcp/7100")]
    BadAddress {
        /// The text as configured.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process listens there.
    #[error("{address} is in use: stop the other process or choose another port")]
    AddressInUse {
        /// The address as configured.
        address: String,
    },
    /// The system refused to listen there.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address as configured.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The peer book could not be read. An unreadable book is not an empty one: the operator decides.
    #[error("the peer book cannot be read: {reason}")]
    PeerBook {
        /// What the store said.
        reason: String,
    },
    /// A thread, a runtime or a transport could not be made.
    #[error("the network cannot be set up: {reason}")]
    Setup {
        /// What failed.
        reason: String,
    },
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The queue to the network is full; try later or drop.
    #[error("the publishing queue is full")]
    Full,
    /// Nobody who listens is connected. Not a fault: a node that starts alone sees it until it has company.
    #[error("no connected peer listens to this topic")]
    NoPeers,
    /// The message is longer than the topic allows.
    #[error("message of {bytes} bytes is longer than the {limit} allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The topic's limit, in bytes.
        limit: usize,
    },
    /// The network has been shut down.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection to the node.
    #[error("not connected to {node}")]
    NotConnected {
        /// Whom we asked for.
        node: NodeId,
    },
    /// The connection closed before the answer was complete.
    #[error("the connection closed before the answer was complete")]
    ConnectionLost,
    /// No answer in time. It is not known whether the request was handled.
    #[error("no answer within {waited:?}")]
    Timeout {
        /// How long we waited.
        waited: Duration,
    },
    /// Request or answer is longer than the protocol allows. `bytes` is what was announced or offered.
    #[error("{bytes} bytes are more than the {limit} allowed")]
    TooLarge {
        /// The offered length.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The stream ended where the answer should have been: the node declined (busy, or the request was not to its
    /// liking), or it stopped just then.
    #[error("the node declined to answer")]
    Refused,
    /// The node does not speak this protocol of this network: most likely it belongs to another network.
    #[error("the node does not speak {protocol}: does it belong to another network?")]
    NotSupported {
        /// The protocol that was offered.
        protocol: String,
    },
    /// The node said that it belongs to another network.
    #[error("the node belongs to another network: it speaks {theirs:?}, we speak {ours:?}")]
    OtherNetwork {
        /// What it announced.
        theirs: String,
        /// What we announce.
        ours: String,
    },
    /// Too many of our own requests are in flight.
    #[error("{limit} requests are already in flight")]
    Busy {
        /// How many may be.
        limit: usize,
    },
    /// The stream failed.
    #[error("the exchange failed: {reason}")]
    Failed {
        /// What the transport said.
        reason: String,
    },
    /// The network has been shut down.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a fragment stream was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no connection to the node.
    #[error("not connected to {node}")]
    NotConnected {
        /// Whom we asked for.
        node: NodeId,
    },
    /// No free place (or no stream) in time.
    #[error("no stream within {waited:?}")]
    Timeout {
        /// How long we waited.
        waited: Duration,
    },
    /// The node does not speak this protocol of this network.
    #[error("the node does not speak {protocol}: does it belong to another network?")]
    NotSupported {
        /// The protocol that was offered.
        protocol: String,
    },
    /// The node said that it belongs to another network.
    #[error("the node belongs to another network: it speaks {theirs:?}, we speak {ours:?}")]
    OtherNetwork {
        /// What it announced.
        theirs: String,
        /// What we announce.
        ours: String,
    },
    /// The connection failed meanwhile.
    #[error("the stream could not be opened: {reason}")]
    Failed {
        /// What the transport said.
        reason: String,
    },
    /// The network has been shut down.
    #[error("the network has stopped")]
    Stopped,
}

/// Why an answer was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The answer is longer than the protocol allows; the asker is told that we declined.
    #[error("answer of {bytes} bytes is longer than the {limit} allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The asker is gone, or has waited long enough.
    #[error("the asker no longer waits")]
    Gone,
}
