//! The actors of a node, one per concern. Each is a thin shell round a machine of `floe-machines`: it owns a mailbox of
//! stated length, turns the world into inputs and carries out the effects.
//!
//! | actor | owns | mailbox when full |
//! | --- | --- | --- |
//! | [`challenger`] | questions to the others and from them, what is reported of an epoch | a question is declined, an observation dropped |
//! | [`coordinator`] | consensus, ledger, own transactions, attendance | status requests go unanswered, own work waits; gossip comes in queues of the network |
//! | [`network`] | the events of the swarm: says where each goes | the swarm's own queues drop and count |
//! | [`fragments`] | the fragment store: arrivals, confirmations, reads | a stream is answered busy |
//! | [`repairer`] | fragments that this node fetches for shards that came to it | never more is told than it asked for |
//! | [`rebuilder`] | fragments that this node rebuilds from the others' symbols | never more is told than it asked for |
//! | [`scrubber`] | reading the store through, withdrawing what is gone | suspects wait for the pass |
//! | [`gateway`] | uploads and reads of this node's clients | a client is answered 503 |

pub mod challenger;
pub mod coordinator;
pub mod fragments;
pub mod gateway;
pub mod network;
pub mod newcomer;
mod pipe;
pub mod rebuilder;
pub mod repairer;
pub mod scrubber;
mod unnamed;
mod wake;
mod workers;
