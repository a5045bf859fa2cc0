//! One node of a run: what it keeps through a fall and what it does not.

use crate::disk::Disk;
use crate::identity;
use crate::world::gateway::Gateway;
use crate::world::holder::Serving;
use crate::world::repair::Repairing;
use crate::world::requests::Request;
use bytes::Bytes;
use floe_consensus::JournalEntry;
use floe_machines::challenges::{Challenger, ExchangeId};
use floe_machines::coordinator::{Coordinator, Timer, Topic};
use floe_machines::custody::{Custody, StreamId};
use floe_machines::handover::Handover;
use floe_machines::snapshot::SnapshotSync;
use floe_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// A node's conduct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Keeps the protocol.
    Honest,
    /// One of the two mouths of an equivocator: it speaks to and hears these nodes only.
    Mouth {
        /// Which.
        audience: BTreeSet<usize>,
    },
    /// Keeps the protocol, but what leaves it is damaged now and then.
    Corrupter,
    /// Leaves for good at some moment.
    Silent,
    /// Hears no transactions of others.
    Censor,
    /// Confirms and attests everything and stores nothing.
    Lazy,
    /// Has everything and shows it only after the soft deadline.
    Slow,
    /// Shows what it has to some members only.
    Selective,
    /// Says of everybody that nobody was there.
    Framer,
    /// Commits to its report and never opens it.
    NonOpener,
}

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not yet set up.
    NotYet,
    /// There to stay, up or down.
    Here,
    /// Switched off for good.
    Gone,
}

/// Secrets of vote keys by their public halves. They are kept apart from the disk: a node may lose the one and have the other.
pub type Secrets = BTreeMap<[u8; 32], [u8; 32]>;

/// A node.
pub struct Node {
    /// Its place among the run's nodes. The second mouth of an equivocator has one of its own.
    pub index: usize,
    /// Whose keys it has: its place in the committee.
    pub who: usize,
    /// Its conduct.
    pub role: Role,
    /// What it keeps.
    pub disk: Disk,
    /// What it has while it is up.
    pub live: Option<Live>,
    /// Counts falls, so that what was meant for an earlier life is not taken for this one.
    pub life: u64,
    /// Whether it is there.
    pub presence: Presence,
    /// Its secrets for votes.
    pub secrets: Secrets,
    /// Vote keys it has ever made, so that no two are equal.
    pub keys_made: u64,
    /// A copy of its disk and secrets that somebody put aside.
    pub copy: Option<Box<(Disk, Secrets)>>,
    /// Its disk was lost or is an old one: it may not have what it has attested.
    pub is_poorer: bool,
    /// What it has in place of a life while a snapshot arrives.
    pub arriving: Option<Box<Arriving>>,
    /// How far its clock is off.
    pub clock_offset: i64,
    /// Effects until it falls, when a fall is on its way.
    pub falls_after: Option<u64>,
}

/// A snapshot that is being fetched.
pub struct Arriving {
    /// The machine that fetches it.
    pub machine: SnapshotSync,
    /// The number of the event that its timer waits for.
    pub timer: u64,
    /// Rounds in which nobody offered anything.
    pub nothing: u32,
}

/// What a node loses when it falls.
pub struct Live {
    /// The coordinating machine.
    pub coordinator: Coordinator,
    /// Entries not yet written: they must be before the next publish.
    pub journal: Vec<JournalEntry>,
    /// The number of the event that each timer waits for.
    pub timers: BTreeMap<Timer, u64>,
    /// What gossip remembers having seen, and until when.
    pub seen: BTreeMap<[u8; 16], u64>,
    /// Gossip that waits for the coordinator's judgement.
    pub judging: Option<Heard>,
    /// The holder's machine.
    pub custody: Custody,
    /// What fills the shards that come to it.
    pub handover: Handover,
    /// What rebuilds what it has a right to.
    pub repair: Repairing,
    /// Exchanges this node serves.
    pub serving: BTreeMap<StreamId, Serving>,
    /// What this node stores and reads for its clients.
    pub gateway: Gateway,
    /// What it asks others to show, and what it shows.
    pub challenger: Challenger,
    /// Questions of others on their way to an answer.
    pub exchanges: BTreeMap<ExchangeId, Request>,
    /// When challenges are next to look at the clock.
    pub challenge_tick_at: Option<u64>,
    /// When the data path is next to look at the clock.
    pub tick_at: Option<u64>,
}

/// A gossip message that came in.
#[derive(Clone, Debug)]
pub struct Heard {
    /// On which topic.
    pub topic: Topic,
    /// Its name.
    pub id: [u8; 16],
    /// Its bytes.
    pub bytes: Bytes,
    /// Who passed it on.
    pub from: usize,
}

impl Node {
    /// Its name.
    pub fn id(&self) -> NodeId {
        identity::node_id(self.who)
    }

    /// Whether laws hold for it: it keeps the protocol as far as consensus and ledger go.
    pub fn is_honest(&self) -> bool {
        !matches!(self.role, Role::Mouth { .. })
    }

    /// Whether what it says of its fragments is true.
    pub fn stores(&self) -> bool {
        self.is_honest() && self.role != Role::Lazy
    }

    /// Who has seats as far as it knows, with how many and under which vote key: for the trace.
    pub fn seats_and_keys(&self) -> String {
        let Ok(committee) = floe_ledger::views::committee(&self.disk.state) else { return "nobody".to_owned() };
        let member = |member: &floe_types::Member| {
            let key = member.vote_key.0;
            format!("{} {} by {:02x}{:02x}", member.node.short(), member.shards.len(), key[0], key[1])
        };
        committee.members().iter().map(member).collect::<Vec<_>>().join(", ")
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.live.is_some()
    }

    /// Whether this node speaks to, and hears, node `other`.
    pub fn is_in_touch_with(&self, other: usize) -> bool {
        match &self.role {
            Role::Mouth { audience } => audience.contains(&other),
            _ => true,
        }
    }

    /// Its clock at virtual time `now`.
    pub fn clock(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.clock_offset)
    }
}
