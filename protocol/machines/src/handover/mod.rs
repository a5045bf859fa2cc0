//! Filling the shards that came to this node: each missing fragment is fetched from a node that covers it, verified, kept.
//!
//! A *pass* goes over everything the ledger says is missing here, shard after shard in the order of certification, page by page. What is
//! missing is asked of the ledger and of nothing else, so a pass needs no memory of the one before: a crash, a restart or
//! a change of seats begins a new one, and what is kept by then is not missing any more.
//!
//! ```text
//! Begin --> Look --(Looked)--> gaps wait --> Fetch --(Fetched)--> next source | done | failed
//!             ^                   |                                  nothing waits, no further page:
//!             +---- few wait -----+                                  PassEnded, again after a while when some failed
//! ```
//!
//! A gap is fetched from its sources in the order in which they were given: whoever hands the shard over comes first. One
//! that has sent wrong bytes is not asked again in the pass. A gap that no source can fill stays a gap: the ledger knows,
//! and rebuilding it from other shards is not this machine's business.
//!
//! # Laws
//! - **HO-1** No fragment is fetched twice at a time, and never more than [`Config`] allows in all, of one node, in bytes,
//!   and in bytes a second.
//! - **HO-2** Every pass ends, whatever sources do: each gap asks each source at most [`Config::attempts_max`] times.
//! - **HO-3** A pass in which something failed for the moment is followed by another; one that found nothing missing is
//!   not, until there is a reason.
//!
//! # Not here
//! Verifying is the shell's, with [`crate::custody::verify_staged`]; attesting what came is custody's.

mod config;
mod gaps;
#[cfg(test)]
mod tests;

use crate::custody::{Offer, ReceiveFailure};
use crate::download;
use crate::fragments::FragmentKey;
use crate::wire::fragment::Answer;
pub use config::Config;
use floe_erasure::pair_of;
use floe_types::{BlobId, Epoch, NodeId, RegistrationNumber, SequenceNumber, ShardIndex};
pub use gaps::gaps;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where a look over the ledger is: shard after shard, and by number within each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The shard.
    pub shard: ShardIndex,
    /// The number.
    pub sequence: SequenceNumber,
}

impl Place {
    /// Where every look begins.
    pub const START: Place = Place { shard: ShardIndex(0), sequence: SequenceNumber(0) };
}

/// A fragment that is missing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The blob's number.
    pub sequence: SequenceNumber,
    /// The registration under which it was certified.
    pub registration: RegistrationNumber,
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes.
    pub blob_bytes: u64,
    /// The shard of this node whose fragment is missing.
    pub shard: ShardIndex,
    /// The last paid epoch: the group under which the fragment is filed.
    pub group: Epoch,
    /// Bytes of the fragment.
    pub bytes: u64,
    /// Who covers this shard of the blob, the best first. May be empty.
    pub sources: Vec<NodeId>,
}

/// A fetch under way, numbered by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

impl Gap {
    /// Under which key its fragment is filed, in a network of `shards` shards.
    #[must_use]
    pub fn key(&self, shards: u16) -> FragmentKey {
        FragmentKey { group: self.group, blob: self.blob, pair: pair_of(&self.blob, self.shard, shards) }
    }

    /// What a source offers with its fragment's `proof`, for [`crate::custody::verify_staged`].
    #[must_use]
    pub fn offer(&self, proof: Vec<u8>) -> Offer {
        let Gap { registration, blob, blob_bytes, shard, .. } = *self;
        Offer { registration, blob, blob_bytes, shard, proof }
    }

    /// The proof in a source's answer, after which the bytes come.
    ///
    /// # Errors
    /// [`Trouble`] with why there is none.
    pub fn proof_in(&self, answer: Answer) -> Result<Vec<u8>, Trouble> {
        match answer {
            Answer::Sliver { blob_bytes, proof } if blob_bytes == self.blob_bytes => Ok(proof),
            other => Err(Trouble::of_answer(&other)),
        }
    }
}

/// Why something that was asked of a holder did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The bytes or the proof are not what the blob commits to.
    Wrong,
    /// The holder does not have it, or will not give it.
    NotThere,
    /// The holder is busy, or its ledger does not show the asker's right.
    Later {
        /// When to ask again.
        after_millis: u32,
    },
    /// No connection, or it broke.
    Broken,
    /// This node has no room, or its store failed: nobody else's fault.
    NoRoom,
}

impl Trouble {
    /// What an answer that is not what was asked for comes to.
    #[must_use]
    pub fn of_answer(answer: &Answer) -> Trouble {
        match download::Trouble::of_answer(answer) {
            download::Trouble::Wrong => Trouble::Wrong,
            download::Trouble::NotThere => Trouble::NotThere,
            download::Trouble::Later { after_millis } => Trouble::Later { after_millis },
            download::Trouble::Broken => Trouble::Broken,
        }
    }
}

impl From<ReceiveFailure> for Trouble {
    fn from(failure: ReceiveFailure) -> Trouble {
        match failure {
            ReceiveFailure::Cut => Trouble::Broken,
            ReceiveFailure::Bad => Trouble::Wrong,
            // The uploader's doing, not the holder's.
            ReceiveFailure::Inconsistent => Trouble::NotThere,
            ReceiveFailure::Store(_) => Trouble::NoRoom,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The node has started, an epoch began, or seats moved.
    Begin,
    /// Answers [`Effect::Look`].
    Looked {
        /// What is missing, at most as many as asked for.
        gaps: Vec<Gap>,
        /// Where the next page begins; none when there is none.
        next: Option<Place>,
    },
    /// Answers [`Effect::Fetch`]: the fragment is verified and durable, or is not.
    Fetched {
        /// Which.
        fetch: FetchId,
        /// How it went.
        outcome: Result<(), Trouble>,
    },
    /// Time passed; see [`Handover::wake_at`].
    Tick,
}

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Look into the ledger for what is missing here. Answered by [`Input::Looked`]. Safe twice.
    Look {
        /// From here on.
        from: Place,
        /// At most so many.
        limit: usize,
    },
    /// Fetch, verify and keep a fragment. Answered by [`Input::Fetched`]. Safe twice.
    Fetch {
        /// Which fetch.
        fetch: FetchId,
        /// From whom.
        from: NodeId,
        /// What.
        gap: Gap,
    },
    /// A source sent bytes that are not what the blob id commits to.
    Misbehaved {
        /// Who.
        node: NodeId,
    },
    /// A pass is over. For logs and screens.
    PassEnded {
        /// Fragments that came.
        fetched: u64,
        /// Bytes of them.
        bytes: u64,
        /// Gaps that are left.
        left: u64,
    },
}

#[derive(Debug)]
struct Waiting {
    gap: Gap,
    /// The next source to ask, counted on over all rounds.
    asked: usize,
    /// Not before.
    from: u64,
}

#[derive(Debug)]
struct Fetching {
    waiting: Waiting,
    node: NodeId,
}

/// How far the look over the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    /// The next page begins here.
    From(Place),
    /// A page is being read.
    Asked,
    /// There is no further page.
    Over,
}

#[derive(Debug, Default)]
struct Tally {
    fetched: u64,
    bytes: u64,
    left: u64,
    /// Some of the gaps that are left might be filled later.
    may_come: bool,
}

/// The state of a node's hand-over. Nothing in it needs to survive a restart.
#[derive(Debug)]
pub struct Handover {
    config: Config,
    looking: Looking,
    waiting: VecDeque<Waiting>,
    fetching: BTreeMap<FetchId, Fetching>,
    /// Nodes that sent wrong bytes in this pass.
    liars: BTreeSet<NodeId>,
    tally: Tally,
    /// There was a reason for another pass while this one was under way.
    is_wanted_again: bool,
    next_pass_at: Option<u64>,
    next_fetch: u64,
    /// Before this time the bandwidth is used up.
    open_at: u64,
}

impl Handover {
    /// A machine with nothing to do.
    #[must_use]
    pub fn new(config: Config) -> Handover {
        Handover {
            config,
            looking: Looking::Over,
            waiting: VecDeque::new(),
            fetching: BTreeMap::new(),
            liars: BTreeSet::new(),
            tally: Tally::default(),
            is_wanted_again: false,
            next_pass_at: None,
            next_fetch: 0,
            open_at: 0,
        }
    }

    /// Takes one input at `now` (milliseconds of a clock that never goes back) and says what to do.
    pub fn step(&mut self, now: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Begin if self.is_under_way() => self.is_wanted_again = true,
            Input::Begin => self.begin(),
            Input::Looked { gaps, next } => self.looked(gaps, next),
            Input::Fetched { fetch, outcome } => self.fetched(now, fetch, outcome, &mut effects),
            Input::Tick => {}
        }
        if self.next_pass_at.is_some_and(|at| at <= now) && !self.is_under_way() {
            self.begin();
        }
        self.go_on(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is next due; none when nothing waits for time to pass.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let free = self.fetching.len() < self.config.fetches_max;
        let first = self.waiting.iter().map(|waiting| waiting.from.max(self.open_at)).min().filter(|_| free);
        [first, self.next_pass_at].into_iter().flatten().min()
    }

    /// Fetches under way.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.fetching.len()
    }

    fn is_under_way(&self) -> bool {
        self.looking != Looking::Over || !self.waiting.is_empty() || !self.fetching.is_empty()
    }

    fn begin(&mut self) {
        self.looking = Looking::From(Place::START);
        self.liars.clear();
        self.tally = Tally::default();
        self.is_wanted_again = false;
        self.next_pass_at = None;
    }

    fn looked(&mut self, gaps: Vec<Gap>, next: Option<Place>) {
        if self.looking != Looking::Asked {
            return;
        }
        self.looking = next.map_or(Looking::Over, Looking::From);
        self.waiting.extend(gaps.into_iter().map(|gap| Waiting { gap, asked: 0, from: 0 }));
    }

    fn fetched(&mut self, now: u64, fetch: FetchId, outcome: Result<(), Trouble>, effects: &mut Vec<Effect>) {
        let Some(Fetching { mut waiting, node }) = self.fetching.remove(&fetch) else { return };
        let wait = match outcome {
            Ok(()) => {
                self.tally.fetched += 1;
                self.tally.bytes = self.tally.bytes.saturating_add(waiting.gap.bytes);
                return;
            }
            Err(Trouble::Wrong) => {
                self.liars.insert(node);
                effects.push(Effect::Misbehaved { node });
                0
            }
            Err(Trouble::NotThere) => 0,
            Err(Trouble::Later { after_millis }) => {
                u64::from(after_millis.min(crate::wire::fragment::RETRY_MILLIS_MAX))
            }
            Err(Trouble::Broken) => self.config.broken_millis,
            Err(Trouble::NoRoom) => return self.leave(true),
        };
        waiting.from = now.saturating_add(wait);
        self.waiting.push_back(waiting);
    }

    /// A gap stays a gap.
    fn leave(&mut self, may_come: bool) {
        self.tally.left += 1;
        self.tally.may_come |= may_come;
    }

    fn go_on(&mut self, now: u64, effects: &mut Vec<Effect>) {
        if let Looking::From(from) = self.looking
            && self.waiting.len() < self.config.page / 2
        {
            self.looking = Looking::Asked;
            effects.push(Effect::Look { from, limit: self.config.page });
        }
        while now >= self.open_at && self.fetch_one(now, effects) {}
        if !self.is_under_way() && self.next_pass_at.is_none() && self.tally_is_open() {
            self.end_pass(now, effects);
        }
    }

    /// Whether a pass has been under way whose end was not told.
    fn tally_is_open(&self) -> bool {
        self.is_wanted_again || self.tally.fetched > 0 || self.tally.left > 0
    }

    fn end_pass(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let Tally { fetched, bytes, left, may_come } = std::mem::take(&mut self.tally);
        effects.push(Effect::PassEnded { fetched, bytes, left });
        if self.is_wanted_again {
            self.next_pass_at = Some(now);
        } else if may_come {
            self.next_pass_at = Some(now.saturating_add(self.config.pass_millis));
        }
    }

    /// Begins one fetch. False when none can begin.
    fn fetch_one(&mut self, now: u64, effects: &mut Vec<Effect>) -> bool {
        let config = &self.config;
        let in_flight = self.fetching.values().fold(0u64, |sum, one| sum.saturating_add(one.waiting.gap.bytes));
        if self.fetching.len() >= config.fetches_max || in_flight >= config.bytes_in_flight_max {
            return false;
        }
        for place in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.get_mut(place) else { break };
            if waiting.from > now {
                continue;
            }
            let Some((asked, node)) = next_source(waiting, &self.liars, config.attempts_max) else {
                let may_come = !waiting.gap.sources.is_empty();
                self.waiting.remove(place);
                self.leave(may_come);
                return true;
            };
            let with = self.fetching.values().filter(|fetching| fetching.node == node).count();
            if with >= config.fetches_per_node_max {
                continue;
            }
            waiting.asked = asked + 1;
            let Some(waiting) = self.waiting.remove(place) else { break };
            let (fetch, gap) = (FetchId(self.next_fetch), waiting.gap.clone());
            self.next_fetch += 1;
            let cost = gap.bytes.saturating_mul(1_000) / config.bytes_per_second.max(1);
            self.open_at = self.open_at.max(now).saturating_add(cost);
            self.fetching.insert(fetch, Fetching { waiting, node });
            effects.push(Effect::Fetch { fetch, from: node, gap });
            return self.open_at <= now;
        }
        false
    }
}

/// The next source of a gap that is worth asking, and its place in the count of those asked.
fn next_source(waiting: &Waiting, liars: &BTreeSet<NodeId>, attempts_max: usize) -> Option<(usize, NodeId)> {
    let sources = &waiting.gap.sources;
    let end = sources.len().saturating_mul(attempts_max);
    let source = |asked: usize| Some((asked, *sources.get(asked % sources.len().max(1))?));
    (waiting.asked..end).filter_map(source).find(|(_, node)| !liars.contains(node))
}
