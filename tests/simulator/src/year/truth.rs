//! What is true, held against what was decided.
//!
//! The model knows what is on every shelf, who was there in which slot and who was shown what. From that this module works out
//! what a boundary may have decided, without a function of the ledger's or the risk's: only records are read.
//!
//! | law | what is looked at |
//! | --- | --- |
//! | I3 | every epoch, every defended blob: at least `p` of its shards truly on shelves |
//! | I5 | every slot: an honest member that was there and showed honest ones, with its own, `f + 1` shards, held |
//! | I6 | every slot: a member that showed nobody honest anything did not |
//! | I8 | every ticket: no blob that is not paid for any more, and no verdict about one |
//! | I9 | every ticket: nobody who answered held the shard, and who held it was silent for as long as patience lasts |
//! | I10 | an absence of at most twelve epochs of one member, with the others there: nothing is rebuilt; of 72: no exclusion |
//! | I12 | who is there half of the time or less is excluded in 16 days, three quarters of it in 45 |
//! | I13 | every boundary: no fragment twice, and what is capped within the cap |

use super::world::{Past, World};
use floe_ledger::repairs::Haste;
use floe_ledger::{Decision, Defence, Event, views};
use floe_types::laws::Law;
use floe_types::params::SLOTS;
use floe_types::{Epoch, MemberIndex, NodeId, SequenceNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Hours that a silent fragment is waited for, and in which who is away for good must be gone.
const PATIENCE: u64 = 12;
/// A day.
const DAY: u64 = 24;
/// Broken laws that are written down; the rest is counted.
const WRITTEN_MAX: usize = 20;

/// What was seen of one node.
#[derive(Clone, Debug, Default)]
struct Watched {
    /// Epochs in a row in which it was absent or did not report, as the headers say.
    silent: u64,
    /// Slots in which it was there, of those of the epochs in which it was a member.
    there: u64,
    slots: u64,
    excluded: Option<Epoch>,
}

/// The checker.
#[derive(Debug, Default)]
pub struct Truth {
    watched: BTreeMap<NodeId, Watched>,
    /// Slots of honest members that were there and showed enough.
    pub node_slots: u64,
    /// Of these, ones in which it was decided that they did not hold.
    pub false_absences: u64,
    /// Slots of members that showed nobody honest anything.
    pub idle_slots: u64,
    /// Epochs.
    pub epochs: u64,
    /// Epochs that were not decided.
    pub undecided: u64,
    /// Tickets and fragments that boundaries planned.
    pub tickets: u64,
    /// Fragments that they came to.
    pub planned: u64,
    /// The fewest shards of a defended blob that were truly held.
    pub thinnest: Option<usize>,
    /// The most classes of an epoch.
    pub classes_max: u64,
    /// Nodes excluded, when and why.
    pub excluded: Vec<(Epoch, NodeId, String)>,
    /// What was found.
    pub broken: Vec<(Law, String)>,
    /// Which laws.
    pub laws: BTreeSet<Law>,
    /// How often.
    pub broken_count: u64,
}

impl Truth {
    fn note(&mut self, law: Law, words: String) {
        self.broken_count += 1;
        self.laws.insert(law);
        if self.broken.len() < WRITTEN_MAX {
            self.broken.push((law, words));
        }
    }

    /// Looks at an epoch that has just ended.
    pub fn look(&mut self, world: &World, past: &Past) {
        self.epochs += 1;
        self.undecided += u64::from(past.header.decision == Decision::Undecided);
        self.classes_max = self.classes_max.max(past.header.tally.classes);
        self.slots(world, past);
        self.ages(past);
        self.held(world, past.epoch);
        self.plans(world, past);
    }

    /// I5 and I6.
    fn slots(&mut self, world: &World, past: &Past) {
        let faulty = u32::from(world.context.params.faulty());
        for (at, member) in past.committee.members().iter().enumerate() {
            let honest = world.people[world.place(&member.node)].is_honest();
            let seen = &past.attendance.members[at];
            for slot in 0..usize::from(SLOTS) {
                let decided = past.attendance.slots & (1 << slot) != 0;
                let held = seen.held & (1 << slot) != 0;
                // Who was there to report on it at the end.
                let shown: u32 = past.shown[at][slot];
                let enough = shown + member.shards.len() as u32 > faulty;
                if honest && past.up[at][slot] && enough && decided {
                    self.node_slots += 1;
                    // What somebody was shown that is gone by the closing is not reported.
                    if !held && self.reported(world, past, at, slot) > faulty {
                        self.false_absences += 1;
                        let words = format!("member {at} was there in slot {slot} of {} and is absent", past.epoch);
                        self.note(Law::I5, words);
                    }
                }
                if shown == 0 && decided {
                    self.idle_slots += 1;
                    if held {
                        let words = format!("member {at} showed nobody anything in slot {slot} of {}", past.epoch);
                        self.note(Law::I6, words);
                    }
                }
            }
        }
    }

    /// Shards of the honest members that were there in the slot and whose report counts, with its own.
    fn reported(&self, world: &World, past: &Past, target: usize, slot: usize) -> u32 {
        let members = past.committee.members();
        let counts = |at: &usize| {
            let index = MemberIndex(*at as u16);
            let honest = world.people[world.place(&members[*at].node)].is_honest();
            *at != target && honest && past.up[*at][slot] && past.header.reporters.contains(index)
        };
        let others: u32 = (0..members.len()).filter(counts).map(|at| members[at].shards.len() as u32).sum();
        others + members[target].shards.len() as u32
    }

    /// How long who is silent, and I12.
    fn ages(&mut self, past: &Past) {
        for event in &past.events {
            if let Event::Excluded { node, epoch, cause, .. } = event {
                let (there, of) = self.watched.get(node).map_or((0, 0), |one| (one.there, one.slots));
                self.excluded.push((*epoch, *node, format!("{cause:?} after {there} of {of} slots")));
                self.watched.entry(*node).or_default().excluded = Some(*epoch);
            }
        }
        let decided = past.header.decision == Decision::Decided;
        for (at, member) in past.committee.members().iter().enumerate() {
            let index = MemberIndex(at as u16);
            let watched = self.watched.entry(member.node).or_default();
            let (spoke, answered) = (past.header.reporters.contains(index), past.header.answered.contains(index));
            watched.silent = match (decided, spoke) {
                (true, true) if answered => 0,
                (false, true) => watched.silent,
                _ => watched.silent + 1,
            };
            watched.there += past.up[at].iter().filter(|up| **up).count() as u64;
            watched.slots += u64::from(SLOTS);
            let (there, slots, excluded) = (watched.there, watched.slots, watched.excluded);
            let epochs = slots / u64::from(SLOTS);
            // From its own first day: a node that begins to be away later is looked at from then on by figures.
            let due = [(50, 16), (75, 45)]
                .into_iter()
                .find(|(share, days)| there * 100 <= slots * share && epochs == days * DAY && excluded.is_none());
            if let Some((share, days)) = due {
                let words =
                    format!("{} was there at most {share} % of {days} days and is no less a member", member.name);
                self.note(Law::I12, words);
            }
        }
    }

    /// I3.
    fn held(&mut self, world: &World, epoch: Epoch) {
        for number in (0..world.blobs).map(SequenceNumber) {
            let life = views::sequence(&world.state, number).ok().flatten();
            if life.is_none_or(|life| life.defence != Defence::Defended) {
                continue;
            }
            let mut shards = BTreeSet::new();
            for person in &world.people {
                let gives = |shard| person.villain.as_ref().is_none_or(|villain| villain.gives(shard, number));
                let all = (0..world.context.params.shards).map(ShardIndex);
                shards.extend(all.filter(|shard| person.shelf.has(*shard, number) && gives(*shard)));
            }
            let held = shards.len();
            self.thinnest = Some(self.thinnest.map_or(held, |least| least.min(held)));
            if held < world.readable() {
                self.note(Law::I3, format!("{held} shards of number {number} are left in {epoch}"));
            }
        }
    }

    /// I8, I9 and I13.
    fn plans(&mut self, world: &World, past: &Past) {
        let tickets = views::tickets(&world.state).expect("a state in memory");
        let issued = past.epoch.next();
        self.tickets += tickets.iter().filter(|ticket| ticket.issued == issued).count() as u64;
        if tickets.is_empty() {
            return;
        }
        let constants = views::risk_constants(&world.context.params);
        let rows = views::rows(&world.state).expect("a state in memory");
        let (mut planned, mut capped, mut defended) = (BTreeSet::new(), 0u64, 0u64);
        for number in (0..world.blobs).map(SequenceNumber) {
            let life = views::sequence(&world.state, number).ok().flatten();
            let is_paid = life.as_ref().is_some_and(|life| life.last > past.epoch);
            defended += u64::from(is_paid);
            for ticket in tickets.iter().filter(|ticket| ticket.scope.contains(&constants, number)) {
                if !is_paid {
                    continue;
                }
                if !planned.insert((ticket.shard, number)) {
                    self.note(Law::I13, format!("shard {} of {number} is planned twice", ticket.shard));
                }
                capped += u64::from(ticket.haste == Haste::Capped);
                let record = life.as_ref().and_then(|life| views::verdict(&world.state, &life.blob, past.epoch).ok());
                let Some(record) = record.flatten().filter(|_| ticket.issued == issued) else { continue };
                let of_shard = rows.iter().filter(|(id, row)| row.shard == ticket.shard && record.class.contains(*id));
                let ages: Vec<u64> = of_shard.map(|(_, row)| self.age(&row.holder)).collect();
                let edge = world.readable() as u64 + u64::from(world.context.params.faulty()) / 2;
                let young = ages.iter().any(|age| *age < PATIENCE);
                if ages.contains(&0) || (young && u64::from(record.held) > edge) {
                    let words = format!("shard {} of {number} is planned in {issued} at ages {ages:?}", ticket.shard);
                    self.note(Law::I9, words);
                }
            }
        }
        self.planned += planned.len() as u64;
        for ticket in tickets.iter().filter(|ticket| ticket.issued == issued) {
            let dead = |number: &SequenceNumber| {
                let life = views::sequence(&world.state, *number).ok().flatten();
                ticket.scope.contains(&constants, *number) && life.is_none_or(|life| life.last < issued)
            };
            let named =
                (0..world.blobs).map(SequenceNumber).filter(|number| ticket.scope.contains(&constants, *number));
            if named.clone().count() > 0 && named.clone().all(|number| dead(&number)) {
                self.note(Law::I8, format!("ticket {} is about nothing that is paid for", ticket.number));
            }
        }
        let cap = (defended / 4).max(u64::from(world.context.params.shards));
        if capped > cap {
            self.note(Law::I13, format!("{capped} fragments are planned within a cap of {cap}"));
        }
    }

    /// How long a holder was silent; for ever when it is excluded.
    fn age(&self, node: &NodeId) -> u64 {
        match self.watched.get(node) {
            Some(watched) if watched.excluded.is_none() => watched.silent,
            _ => u64::MAX,
        }
    }

    /// I10: what a single absence of `epochs` may cost.
    pub fn bears_absence(&mut self, epochs: u64, rebuilt: u64, excluded: bool) {
        if epochs <= PATIENCE && rebuilt > 0 {
            self.note(Law::I10, format!("{rebuilt} fragments are rebuilt for an absence of {epochs}"));
        }
        if epochs <= 3 * DAY && excluded {
            self.note(Law::I10, format!("an absence of {epochs} excludes"));
        }
    }

    /// What is broken, in words.
    #[must_use]
    pub fn words(&self) -> String {
        if self.broken.is_empty() {
            return "no law broken".to_owned();
        }
        let lines = self.broken.iter().map(|(law, words)| format!("{law:?} ({}): {words}", law.statement()));
        lines.collect::<Vec<_>>().join("\n")
    }
}
