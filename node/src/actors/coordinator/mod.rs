//! The shell round [`floe_machines::coordinator::Coordinator`].
//!
//! It lives on a thread of its own, where nothing else runs: votes wait for nothing but the journal. Journal entries are
//! gathered and written with one sync before the next message leaves, not one by one: what only others said need not be
//! durable until this node says something that rests on it.
//!
//! A commit is written with one sync, then answered at once; after it the events of the block go out to whoever listens.

mod actor;
mod ingress;

pub use actor::start;
pub use ingress::{Committed, CoordinatorHandle, CoordinatorParts, Live, Submission, SubmitFailure};

/// Messages that wait for the coordinator: consensus alone is at most a few times the committee's size a height.
pub const MAILBOX_MAX: usize = 4_096;

/// Committed blocks that a slow listener may be behind before it misses some, and then looks into the state instead.
pub const COMMITTED_MAX: usize = 1_024;
