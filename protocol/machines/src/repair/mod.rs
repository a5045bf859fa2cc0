//! Rebuilding fragments: each one that this node has a right to is made again from the symbols of others, verified, kept and
//! attested.
//!
//! A right is what the ledger says: a *ticket* of the last plan, the *standing* right to what an uploader did not deliver, or
//! the *trickle*'s turn. A pass goes over all of them, urgent tickets first, page by page, and needs no memory of the one
//! before: what is kept and attested is not found again. An epoch's beginning forgets what waits and begins anew, because
//! tickets end with it.
//!
//! ```text
//! Begin --> Look --(Looked)--> waiting --> job:
//!   Whole      somebody covers this very shard: its fragment is fetched as it is        --> kept
//!   Prepare    a scratch for what comes
//!   Gathering  one bare symbol from each of p helpers, then Attempt: the secondary sliver
//!   Gathering  c - 1 more (the secondary gives one), then Attempt: the primary sliver
//!   Lines      fewer than that can help: p whole primary slivers, as much as the blob, then Attempt
//!   Proving    an attempt came to something else than the blob commits to: every helper opens the symbol that it gave;
//!              who does not counts as not having answered, and others are asked
//!   Keep       both slivers as one fragment, verified as an uploaded one is --> kept, attested
//! ```
//!
//! A helper is a row that covers another shard of the blob; this node's own fragments help first and cost nothing.
//!
//! # Laws
//! - **RE-1** No fragment is rebuilt twice at a time, and never more than [`Config`] allows in all: jobs, scratch, fetches,
//!   fetches of one node, bytes on their way, bytes a second. Memory does not depend on the length of a blob.
//! - **RE-2** Every job ends, whatever helpers do: each is asked for each thing at most [`Config::attempts_max`] times.
//! - **RE-3** Only what is here and durable is attested, and what is here is not fetched.
//! - **RE-4** A helper is named for wrong bytes only when they are shown to be wrong: a proof, an opening or a whole sliver
//!   that does not lead to the blob.
//!
//! # Not here
//! Arithmetic and bytes are the shell's, with a [`Bench`] for each job; what is to be rebuilt is read off the ledger by
//! [`work`]. Whether a blob is worth repairing was decided at the boundary. Evidence that a blob is inconsistent is not
//! brought from here: readers find it with whole slivers.
//!
//! # Source
//! Walrus (arXiv 2505.05370), recovery. Decisions 037 and 038.

mod attest;
mod bench;
mod config;
mod job;
mod machine;
#[cfg(test)]
mod tests;
mod work;

pub use bench::{Attempt, Bench, BenchError, Scratch, SlotWriter};
pub use config::Config;
use floe_erasure::Axis;
use floe_ledger::{Run, ShardSet};
use floe_types::{BlobId, Epoch, NodeId, PairIndex, RegistrationNumber, SequenceNumber, ShardIndex};
pub use machine::Repair;
pub use work::{Place, Work, work};

pub use crate::handover::Trouble;
use crate::wire::fragment::Right;

/// A node that covers a shard of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Helper {
    /// The shard.
    pub shard: ShardIndex,
    /// The node.
    pub node: NodeId,
}

/// A fragment that this node may rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// The blob's number.
    pub sequence: SequenceNumber,
    /// The registration under which it was certified.
    pub registration: RegistrationNumber,
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes.
    pub blob_bytes: u64,
    /// `n` of the network.
    pub shards: u16,
    /// The shard whose fragment is missing here.
    pub shard: ShardIndex,
    /// The last paid epoch: the group under which the fragment is filed.
    pub group: Epoch,
    /// Why it may be rebuilt.
    pub right: Right,
    /// Who covers this very shard, the best first. May be empty.
    pub holders: Vec<NodeId>,
    /// Who covers other shards of the blob, the best first.
    pub helpers: Vec<Helper>,
}

/// A fragment being rebuilt, numbered by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A fetch under way, numbered by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// Where in a job's scratch something lies, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// What is fetched of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The whole fragment that is missing here: stage it, verify it with [`crate::custody::verify_staged`], keep it.
    Whole,
    /// The symbol that the fragment of `shard` gives for the sliver of `axis`: write it with [`Bench::slot`], then
    /// [`Bench::took_symbol`].
    Symbol {
        /// Whose fragment.
        shard: ShardIndex,
        /// Which sliver is rebuilt.
        axis: Axis,
        /// Where its bytes go.
        slot: Slot,
    },
    /// The opening of a symbol that was given: [`Bench::open`].
    Opening {
        /// Whose fragment.
        shard: ShardIndex,
        /// Which sliver is rebuilt.
        axis: Axis,
    },
    /// The whole primary sliver of `shard`: write it with [`Bench::slot`], then [`Bench::took_line`].
    Line {
        /// Whose fragment.
        shard: ShardIndex,
        /// Where its bytes go.
        slot: Slot,
    },
}

/// What the shell found when it was to prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// There is a bench.
    Bench,
    /// The fragment is here: somebody delivered it.
    Held,
}

/// How an attempt to rebuild a sliver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// It is what the blob commits to.
    Recovered,
    /// It is not, and not every symbol that went in is proven.
    Mismatch,
    /// It is not although all that went in is proven: the blob is inconsistent.
    Inconsistent,
    /// This node's disk failed.
    Failed,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The node has started, or an epoch began.
    Begin,
    /// Answers [`Effect::Look`].
    Looked(Work),
    /// Answers [`Effect::Prepare`] and [`Effect::Widen`].
    Prepared {
        /// Which job.
        job: JobId,
        /// Whether there is a scratch.
        outcome: Result<Ready, Trouble>,
    },
    /// Answers [`Effect::Fetch`]: what was wanted is in its place, or is not.
    Fetched {
        /// Which.
        fetch: FetchId,
        /// How it went.
        outcome: Result<(), Trouble>,
    },
    /// Answers [`Effect::Attempt`].
    Attempted {
        /// Which job.
        job: JobId,
        /// How it went.
        outcome: Attempted,
    },
    /// Answers [`Effect::Keep`]: the fragment is verified and durable, or is not.
    Kept {
        /// Which job.
        job: JobId,
        /// How it went.
        outcome: Result<(), Trouble>,
    },
    /// Time passed; see [`Repair::wake_at`].
    Tick,
}

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Look into the ledger and the store with [`work`]. Answered by [`Input::Looked`]. Safe twice.
    Look {
        /// From here on.
        from: Place,
        /// At most so many fragments.
        limit: usize,
    },
    /// Look into the store once more, because a look is old by now; when the fragment is not there, make a [`Bench`] with a
    /// scratch of [`Bench::scratch_bytes`]. Answered by [`Input::Prepared`].
    Prepare {
        /// For which job.
        job: JobId,
        /// What is rebuilt.
        rebuild: Rebuild,
    },
    /// Give the bench a scratch of [`Bench::wide_bytes`] with [`Bench::widen`]. Answered by [`Input::Prepared`].
    Widen {
        /// For which job.
        job: JobId,
    },
    /// Fetch something. Answered by [`Input::Fetched`]. From this node itself: out of its store. A whole fragment that is in
    /// the store by now is there.
    Fetch {
        /// Which fetch.
        fetch: FetchId,
        /// For which job. A whole fragment is fetched before there is a bench.
        job: JobId,
        /// From whom.
        from: NodeId,
        /// What.
        wanted: Wanted,
        /// For what.
        rebuild: Rebuild,
    },
    /// Try with what there is: [`Bench::attempt`]. Answered by [`Input::Attempted`].
    Attempt {
        /// Which job.
        job: JobId,
    },
    /// A helper did not open its symbol: [`Bench::forget`].
    Forget {
        /// Which job.
        job: JobId,
        /// Whose symbol.
        pair: PairIndex,
    },
    /// Verify the fragment and make it durable: [`Bench::keep`]. Answered by [`Input::Kept`].
    Keep {
        /// Which job.
        job: JobId,
    },
    /// Drop the bench and its scratch. What is still fetched for it is dropped when it comes.
    Close {
        /// Which job.
        job: JobId,
    },
    /// Submit an attestation. Safe twice: the ledger takes what it knows as no change.
    Attest {
        /// One shard of which this node has a row.
        shards: ShardSet,
        /// Ascending, apart.
        runs: Vec<Run>,
    },
    /// A node sent bytes that are not what the blob id commits to.
    Misbehaved {
        /// Who.
        node: NodeId,
    },
    /// All that went in is proven and does not fit together: whoever made the blob is to blame. For logs.
    Inconsistent {
        /// Which blob.
        blob: BlobId,
    },
    /// A pass is over. For logs and screens.
    PassEnded(Tally),
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Fragments that were fetched whole.
    pub fetched: u64,
    /// Fragments that were rebuilt.
    pub rebuilt: u64,
    /// Bytes that were asked for, wanted in the end or not, this node's own left out.
    pub moved_bytes: u64,
    /// Fragments that are left.
    pub left: u64,
}
