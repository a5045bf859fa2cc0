//! What was sent, received, dropped and refused. Read by the recorder that feeds the metrics; nothing decides by it.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Running counts since the start of the network. All but `connections` only grow.
        #[derive(Debug, Default)]
        pub struct NetworkCounters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// The counts at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct CounterValues {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl NetworkCounters {
            /// The counts now; each is read by itself.
            #[must_use]
            pub fn values(&self) -> CounterValues {
                CounterValues { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl CounterValues {
            /// Name and value of each count, in the order of declaration.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Established connections now.
    connections,
    /// Connections ever established.
    connections_opened,
    /// Incoming connections refused or broken before they were established: limits, bans, bad handshakes.
    connections_refused,
    /// Dials that failed.
    dials_failed,
    /// Consensus messages sent to one peer each, bytes with framing.
    consensus_bytes_out,
    /// Consensus bytes received directly, with framing.
    consensus_bytes_in,
    /// Consensus messages sent to one peer each.
    consensus_messages_out,
    /// Consensus messages received directly, duplicates included.
    consensus_messages_in,
    /// Consensus messages passed on to peers that their sender does not reach.
    consensus_relayed,
    /// Consensus messages dropped for a slow peer, oldest first.
    consensus_dropped_out,
    /// Bytes published by gossip, counted once whatever the number of peers.
    gossip_bytes_out,
    /// Bytes received by gossip, duplicates not included.
    gossip_bytes_in,
    /// Events dropped because the consensus queue was full.
    consensus_events_dropped,
    /// Events dropped because the transaction queue was full.
    transaction_events_dropped,
    /// Batches of observations dropped because the node was busy.
    observation_events_dropped,
    /// Requests refused because the request queue was full.
    request_events_dropped,
    /// Verdicts and answers lost because the network's queue was full.
    commands_dropped,
    /// Messages that the node rejected.
    messages_rejected,
    /// Frames that are no message of the protocol.
    bad_frames,
    /// Request bytes received and answer bytes received.
    request_bytes_in,
    /// Request bytes sent and answer bytes sent.
    request_bytes_out,
    /// Requests refused because too many were being served.
    requests_refused,
    /// Fragment streams refused because too many were open.
    streams_refused,
    /// Fragment bytes read from streams.
    fragment_bytes_in,
    /// Fragment bytes written to streams.
    fragment_bytes_out,
    /// Peers banned.
    peers_banned,
    /// Connections closed because the peer belongs to another network.
    other_network_peers,
    /// Saves of the peer book that failed.
    book_saves_failed,
}

/// Adds to a count.
pub(crate) fn add(counter: &AtomicU64, amount: usize) {
    // A length fits 64 bits on every machine we build for.
    counter.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}
