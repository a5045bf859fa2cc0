//! The network of a year: its people, its state, and the passing of time.

use super::asking::{self, Asking};
use super::truth::Truth;
use super::villains::{Declared, Villain};
use super::work;
use crate::chance::{Chance, Stream};
use crate::mutant::Mutant;
use floe_ledger::challenges::Slot;
use floe_ledger::repairs::{Batch, Entry, Haste, Scope, Why};
use floe_ledger::synthetic;
use floe_ledger::{
    Action, Attendance, BoundaryHeader, ChangeSet, Context, Event, MemoryState, RowId, RowKind, RowSet, Run, ShardSet,
    TicketNumber, Transaction, views,
};
use floe_types::bls::BlsSecretKey;
use floe_types::keys::SecretKey;
use floe_types::params::SLOTS;
use floe_types::{
    AccountId, BlockTime, Committee, Epoch, EpochCount, Frost, MemberIndex, NodeId, SequenceNumber, ShardIndex,
};
use std::collections::{BTreeMap, BTreeSet};

/// What honest nodes suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// An outage in five days: most of minutes, one in twenty of a day; a twentieth of a disk rots twice a year.
    Mild,
}

/// A network before its year begins: costly to found, cheap to begin again from.
#[derive(Clone)]
pub struct Land {
    context: Context,
    state: MemoryState,
    nodes: Vec<NodeId>,
    blobs: u64,
}

impl Land {
    /// `members` of `seats` shards each in `domains` failure domains, 0 for one each, and `blobs` that everybody covers but those
    /// rows that `covers` leaves out. Every fourth blob is paid for a part of the year only.
    ///
    /// # Panics
    /// When there can be no such network.
    #[must_use]
    pub fn found(
        (members, seats): (usize, usize),
        domains: usize,
        blobs: u64,
        covers: impl Fn(u64, u16) -> bool,
    ) -> Land {
        let shards = u16::try_from(members * seats).expect("a committee is smaller");
        let mut genesis = synthetic::genesis(shards, members, 1);
        for (at, member) in genesis.members.iter_mut().enumerate().filter(|_| domains > 0) {
            member.domain = format!("house-{}", at % domains);
        }
        let (context, mut state) = synthetic::founded(&genesis).expect("a network is founded");
        let covering = |blob: u64| {
            let rows: RowSet = (0..shards).filter(|row| covers(blob, *row)).map(|row| RowId(row.into())).collect();
            rows
        };
        let last = |blob: u64| if blob % 4 == 3 { Epoch(20 + blob / 4 * 97 % 8_000) } else { Epoch(8_765) };
        synthetic::store(&mut state, &context, blobs, covering, last).expect("blobs are stored");
        let nodes = genesis.members.iter().map(|member| member.node).collect();
        Land { context, state, nodes, blobs }
    }

    /// The same with everything covered.
    #[must_use]
    pub fn whole(members: usize, blobs: u64) -> Land {
        Land::found((members, 1), 0, blobs, |_, _| true)
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> usize {
        self.nodes.len()
    }

    /// Shards that may be faulty.
    #[must_use]
    pub fn faulty(&self) -> usize {
        usize::from(self.context.params.faulty())
    }
}

/// What a node truly has.
#[derive(Clone, Debug, Default)]
pub struct Shelf(BTreeMap<ShardIndex, BTreeSet<u64>>);

impl Shelf {
    /// Whether this fragment is on it.
    #[must_use]
    pub fn has(&self, shard: ShardIndex, number: SequenceNumber) -> bool {
        self.0.get(&shard).is_some_and(|kept| kept.contains(&number.0))
    }

    /// Puts a fragment on it.
    pub fn put(&mut self, shard: ShardIndex, number: SequenceNumber) {
        self.0.entry(shard).or_default().insert(number.0);
    }

    /// Takes a fragment off it.
    pub fn take(&mut self, shard: ShardIndex, number: SequenceNumber) {
        if let Some(kept) = self.0.get_mut(&shard) {
            kept.remove(&number.0);
        }
    }

    /// What is on it of one shard.
    pub fn of(&self, shard: ShardIndex) -> impl Iterator<Item = SequenceNumber> + '_ {
        self.0.get(&shard).into_iter().flatten().map(|number| SequenceNumber(*number))
    }

    /// All of it.
    pub fn all(&self) -> impl Iterator<Item = (ShardIndex, SequenceNumber)> + '_ {
        self.0.iter().flat_map(|(shard, kept)| kept.iter().map(|number| (*shard, SequenceNumber(*number))))
    }
}

/// Somebody with a node.
pub struct Person {
    /// The node.
    pub node: NodeId,
    pub(super) key: SecretKey,
    pub(super) bls: BlsSecretKey,
    /// What it truly has.
    pub shelf: Shelf,
    /// How it misbehaves, if it does.
    pub villain: Option<Box<dyn Villain>>,
    /// Until which slot of its life it is away, counted from the first of the year.
    away_until: u64,
    /// What rotted and was not noticed yet, and when a scrub will come by.
    pub(super) rotten: BTreeMap<(ShardIndex, SequenceNumber), u64>,
    nonce: u64,
}

impl Person {
    /// Whether it does what it should, as far as it can.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.villain.is_none()
    }
}

/// What an epoch came to.
pub struct Past {
    /// Which.
    pub epoch: Epoch,
    /// Who was in office.
    pub committee: Committee,
    /// Its boundary.
    pub header: BoundaryHeader,
    /// What its reports came to.
    pub attendance: Attendance,
    /// What happened at the boundary and in the epoch's blocks.
    pub events: Vec<Event>,
    /// Who was there, by member and slot.
    pub up: Vec<[bool; SLOTS as usize]>,
    /// By member and slot, the shards of honest members that were shown something.
    pub shown: Vec<[u32; SLOTS as usize]>,
    /// By member, how many questions it denied or answered with something else.
    pub denied: Vec<u32>,
    /// Fragments that were rebuilt after the boundary.
    pub rebuilt: u64,
}

impl Past {
    /// How a node fared; none when it was no member.
    #[must_use]
    pub fn of(&self, node: &NodeId) -> Option<floe_ledger::MemberAttendance> {
        self.attendance.members.get(usize::from(self.committee.index_of(node)?.0)).copied()
    }

    /// Whether a member answered.
    #[must_use]
    pub fn answered(&self, node: &NodeId) -> bool {
        self.committee.index_of(node).is_some_and(|index| self.header.answered.contains(index))
    }
}

/// A defect of the model, which the checker of one law must see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// None.
    #[default]
    None,
    /// What is on honest shelves is lost, and nobody notices.
    LoseQuietly,
    /// No report has seen the last member.
    OverlookOne,
    /// Every report has seen everybody, also those of members that were not there.
    VouchForAll,
    /// There are tickets for blobs that are not paid for any more.
    PlanForTheDead,
    /// The planner takes an epoch for a quarter of a day.
    Impatience,
    /// Every batch of tickets is there twice.
    PlanTwice,
}

/// A network and its year.
pub struct World {
    /// What the ledger's functions need.
    pub context: Context,
    /// The state of the newest block.
    pub state: MemoryState,
    /// By place; the node of a place is the member of it as long as the committee is the first.
    pub people: Vec<Person>,
    /// One past the newest blob.
    pub blobs: u64,
    /// Fragments rebuilt so far.
    pub rebuilt: u64,
    /// What is wrong with the model.
    pub flaw: Flaw,
    weather: Weather,
    pub(super) chance: Chance,
    due: Vec<(usize, Action)>,
}

impl World {
    /// Begins a year in `land` with these villains.
    ///
    /// # Panics
    /// When the state of the land cannot be read.
    #[must_use]
    pub fn begin(land: &Land, weather: Weather, seed: u64, villains: Vec<(usize, Box<dyn Villain>)>) -> World {
        let Land { context, state, nodes, blobs } = land.clone();
        let person = |(at, node): (usize, &NodeId)| Person {
            node: *node,
            key: synthetic::member_key(at),
            bls: synthetic::confirmation_key(at),
            shelf: Shelf::default(),
            villain: None,
            away_until: 0,
            rotten: BTreeMap::new(),
            nonce: 0,
        };
        let mut people: Vec<Person> = nodes.iter().enumerate().map(person).collect();
        for (_, row) in views::rows(&state).expect("a state in memory").iter() {
            let owner = people.iter_mut().find(|person| person.node == row.holder);
            let covered = views::row_coverage(&state, row_of(&state, &row.holder, row.shard)).expect("it is there");
            if let Some(owner) = owner {
                let numbers = covered.iter().flat_map(|run| run.first.0..=run.last.0);
                numbers.for_each(|number| owner.shelf.put(row.shard, SequenceNumber(number)));
            }
        }
        for (at, villain) in villains {
            people[at].villain = Some(villain);
        }
        let chance = Chance::new(seed, Stream::Villains);
        World { context, state, people, blobs, rebuilt: 0, flaw: Flaw::None, weather, chance, due: Vec::new() }
    }

    /// The running epoch.
    #[must_use]
    pub fn now(&self) -> Epoch {
        self.head().epoch
    }

    pub(super) fn head(&self) -> floe_ledger::Head {
        views::head(&self.state).expect("a state in memory")
    }

    /// Shards that give a blob back.
    #[must_use]
    pub fn readable(&self) -> usize {
        usize::from(self.context.params.readable())
    }

    /// How all nodes stand.
    #[must_use]
    pub fn standing(&self, at: usize) -> Option<views::NodeStanding> {
        views::node_standing(&self.state, &self.context.params, &self.people[at].node).expect("a state in memory")
    }

    /// Hands in what a person says, for the next block.
    pub fn say(&mut self, person: usize, action: Action) {
        self.due.push((person, action));
    }

    /// Says that `person` holds, or no longer holds, these fragments of its shard.
    pub(super) fn declare(&mut self, person: usize, shard: ShardIndex, numbers: &[SequenceNumber], said: Declared) {
        const RUNS_AT_ONCE: usize = 256;
        let mut runs: Vec<Run> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some(run) if run.last.0 + 1 == number.0 => run.last = *number,
                _ => runs.push(Run { first: *number, last: *number }),
            }
        }
        for runs in runs.chunks(RUNS_AT_ONCE) {
            let (member, shards, runs) = (self.people[person].node, ShardSet::from_iter([shard]), runs.to_vec());
            let action = match said {
                Declared::Held => Action::Attest { member, shards, runs },
                Declared::Lost => Action::Withdraw { member, shards, runs },
            };
            self.say(person, action);
        }
    }

    /// A block with what is due, `after` milliseconds into the epoch.
    fn block(&mut self, after: u64) -> (Option<BoundaryHeader>, Vec<Event>) {
        let head = self.head();
        let time = BlockTime(head.epoch_began.plus_millis(after).0.max(head.time.0 + 1));
        let mut said = Vec::new();
        for (at, action) in std::mem::take(&mut self.due) {
            let person = &mut self.people[at];
            let (network, sender) = (self.context.network, AccountId(person.key.public()));
            let fee = Frost(1 << 20);
            let transaction = Transaction { network, sender, nonce: person.nonce, fee, action };
            let checked = transaction.sign(&person.key).check(&self.context.network).expect("it is well formed");
            person.nonce += 1;
            said.push(checked);
        }
        let proposer = self.people[0].node;
        let executed = floe_ledger::build_block(&self.state, &self.context, proposer, time, said).expect("a block");
        let mut changes = executed.changes;
        match self.flaw {
            Flaw::PlanTwice => Mutant::plan_again(&mut changes),
            Flaw::PlanForTheDead => plan_for_the_dead(executed.block.header.epoch, &mut changes),
            _ => {}
        }
        self.state.apply(&changes);
        // What does not apply took no nonce.
        for person in &mut self.people {
            let account = views::account(&self.state, &AccountId(person.key.public()));
            person.nonce = account.expect("a state in memory").nonce;
        }
        (executed.block.header.boundary, executed.events)
    }

    /// Whether `person` is there in a slot of the running epoch. Slots are asked about in their order.
    fn is_up(&mut self, person: usize, epoch: Epoch, slot: Slot) -> bool {
        let at = epoch.0 * u64::from(SLOTS) + u64::from(slot.0);
        let weather = self.weather;
        let whoever = &mut self.people[person];
        if let Some(villain) = &mut whoever.villain {
            return villain.is_up(epoch, slot);
        }
        if weather == Weather::Fair {
            return true;
        }
        // One outage in five days of 144 slots; lengths as in the traces of the risk document.
        if at >= whoever.away_until && self.chance.below(720) == 0 {
            let mean = match self.chance.below(100) {
                0..80 => 2,
                80..95 => 24,
                _ => 144,
            };
            whoever.away_until = at + 1 + exponential(&mut self.chance, mean);
        }
        at >= whoever.away_until
    }

    /// Disks rot, and scrubs come by.
    fn rot(&mut self, epoch: Epoch) {
        const SCRUB: u64 = 168;
        for at in 0..self.people.len() {
            if self.weather == Weather::Mild && self.people[at].is_honest() && self.chance.below(180 * 24) == 0 {
                let all: Vec<_> = self.people[at].shelf.all().collect();
                for (shard, number) in all {
                    if self.chance.below(20) == 0 {
                        let noticed = epoch.0 + self.chance.below(SCRUB);
                        self.people[at].shelf.take(shard, number);
                        self.people[at].rotten.insert((shard, number), noticed);
                    }
                }
            }
        }
        if self.flaw == Flaw::LoseQuietly {
            self.people
                .iter_mut()
                .filter(|person| person.is_honest())
                .for_each(|person| person.shelf = Shelf::default());
        }
        work::scrub(self, epoch);
    }

    /// Makes something wrong with the model.
    pub fn spoil(&mut self, flaw: Flaw) {
        self.flaw = flaw;
        if flaw == Flaw::Impatience {
            self.context.params.hours_per_epoch = 6;
        }
    }

    /// Lives an epoch.
    ///
    /// # Panics
    /// When a state in memory cannot be read.
    pub fn epoch(&mut self) -> Past {
        let (epoch, slot_millis) = (self.now(), self.context.params.slot_millis());
        let committee = views::committee(&self.state).expect("a state in memory");
        self.rot(epoch);
        let mut events = Vec::new();
        if !self.due.is_empty() {
            events.extend(self.block(1_000).1);
        }
        let places: Vec<usize> = committee.members().iter().map(|member| self.place(&member.node)).collect();
        let mut up = vec![[false; SLOTS as usize]; places.len()];
        for slot in Slot::all() {
            for (member, person) in places.iter().enumerate() {
                up[member][usize::from(slot.0)] = self.is_up(*person, epoch, slot);
            }
        }
        let asking = Asking { epoch, committee: &committee, places: &places, up: &up };
        let asked = asking::ask(self, &asking);
        for (member, person) in places.iter().enumerate() {
            let accused = asked.accused_of(MemberIndex(member as u16));
            let Some(villain) = &mut self.people[*person].villain else { continue };
            for (said, numbers) in villain.declares(epoch, accused, self.blobs) {
                let shards = committee.members()[member].shards.clone();
                shards.into_iter().for_each(|shard| self.declare(*person, shard, &numbers, said));
            }
        }
        if !self.due.is_empty() {
            events.extend(self.block(slot_millis * 5 + slot_millis / 2).1);
        }
        asking::report(self, &asking, &asked);
        let (header, more) = self.block(self.context.params.epoch_millis);
        events.extend(more);
        let header = header.expect("an epoch's length has passed");
        let attendance = floe_ledger::reports::attendance(&self.state, epoch).ok().flatten();
        let rebuilt = work::work(self, &header);
        self.rebuilt += rebuilt;
        let attendance = attendance.expect("it was just decided");
        Past { epoch, committee, header, attendance, events, up, shown: asked.shown, denied: asked.denied, rebuilt }
    }

    /// Lives so many epochs, looked at by `truth`.
    pub fn live(&mut self, epochs: EpochCount, truth: &mut Truth) {
        for _ in 0..epochs.0 {
            let past = self.epoch();
            truth.look(self, &past);
        }
    }

    /// Whose node this is.
    ///
    /// # Panics
    /// When it is nobody's: nobody joins.
    #[must_use]
    pub fn place(&self, node: &NodeId) -> usize {
        self.people.iter().position(|person| person.node == *node).expect("nobody joins")
    }
}

fn row_of(state: &MemoryState, node: &NodeId, shard: ShardIndex) -> RowId {
    views::rows(state).ok().and_then(|rows| rows.find(shard, node)).expect("a row of the land")
}

/// Adds tickets of `epoch` for a blob whose term was over long before, one for each turn of the rotation.
fn plan_for_the_dead(epoch: Epoch, changes: &mut ChangeSet) {
    /// The tag of the table of tickets, as the ledger's own list gives it.
    const TICKETS: u8 = 70;
    /// The first blob that is not paid for all year.
    const DEAD: SequenceNumber = SequenceNumber(3);
    let target = NodeId([0; 32]);
    for rotation in 0..16 {
        let first = TicketNumber(1 << 40 | u64::from(rotation));
        let scope = Scope { runs: vec![Run { first: DEAD, last: DEAD }], rotation };
        let entry =
            Entry { shard: ShardIndex(0), target, kind: RowKind::Seat, why: Why::Missing, since: epoch, owes: None };
        let entries = vec![entry];
        let batch = Batch { first, issued: epoch, until: epoch, haste: Haste::Capped, scope, blobs: 1, entries };
        let key = [&[TICKETS][..], &first.0.to_be_bytes()].concat();
        changes.0.insert(key, Some(floe_types::codec::encode(&batch)));
    }
}

/// A length of this mean, in whole slots, from zero.
fn exponential(chance: &mut Chance, mean: u64) -> u64 {
    let share = (chance.below(1 << 40) as f64 + 0.5) / (1u64 << 40) as f64;
    (-(mean as f64) * share.ln()) as u64
}
