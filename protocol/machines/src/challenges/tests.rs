//! Challengers of a whole committee in one thread, with fragments on shelves and a ledger that they all share: what honest ones
//! come to, and what villains get out of it.

use super::*;
use crate::fragments::{ConfirmationRecord, FragmentKey, FragmentRecord, FragmentStore, StagedFragment, StoreError};
use crate::wire::challenge::{Denial, Observation, Reply, Request, SignedObservation};
use bytes::Bytes;
use floe_erasure::{MemorySink, Options, encode, pair_of};
use floe_ledger::challenges::{Occasion, Slip, Slot, Timetable};
use floe_ledger::reports::Report;
use floe_ledger::transaction::{Attributes, ENCODING_VERSION, Persistence, confirmation_message};
use floe_ledger::{Action, BoundaryHeader, Context, Decision, MemberSet, MemoryState, Refusal, Transaction, views};
use floe_types::bls::{BlsSecretKey, aggregate};
use floe_types::committee::deal;
use floe_types::genesis::{GenesisAccount, PROTOCOL_VERSION};
use floe_types::keys::SecretKey;
use floe_types::{
    AccountId, BlobId, BlockTime, Epoch, Frost, Genesis, Member, MemberIndex, NodeId, PairIndex, Params,
    RegistrationNumber, VoteKey,
};
use std::collections::{BTreeMap, BTreeSet};

mod readers;

const START: u64 = 1_700_000_000_000;
/// How long a message takes.
const TRAVEL: u64 = 5;

/// Fragments in memory.
#[derive(Default)]
struct Shelf(BTreeMap<(BlobId, PairIndex), (FragmentRecord, Vec<u8>)>);

fn not_for_tests<T>() -> Result<T, StoreError> {
    Err(StoreError::Io("a shelf is only read".to_owned()))
}

impl FragmentStore for Shelf {
    fn stage(&self, _key: FragmentKey, _bytes: u64) -> Result<Box<dyn StagedFragment>, StoreError> {
        not_for_tests()
    }

    fn keep(&self, _fragments: Vec<(FragmentRecord, Box<dyn StagedFragment>)>) -> Result<(), StoreError> {
        not_for_tests()
    }

    fn record(&self, blob: &BlobId, pair: PairIndex) -> Result<Option<FragmentRecord>, StoreError> {
        Ok(self.0.get(&(*blob, pair)).map(|(record, _)| record.clone()))
    }

    fn read_at(&self, record: &FragmentRecord, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let FragmentKey { blob, pair, .. } = record.key;
        let (_, bytes) = self.0.get(&(blob, pair)).ok_or(StoreError::Absent { blob, pair })?;
        let (from, length) = (offset as usize, bytes.len() as u64);
        let beyond = StoreError::Beyond { offset, end: offset + buffer.len() as u64, length };
        buffer.copy_from_slice(bytes.get(from..from + buffer.len()).ok_or(beyond)?);
        Ok(())
    }

    fn records_after(&self, _: Option<FragmentKey>, _: usize) -> Result<Vec<FragmentRecord>, StoreError> {
        not_for_tests()
    }

    fn keep_confirmation(&self, _: &ConfirmationRecord) -> Result<(), StoreError> {
        not_for_tests()
    }

    fn confirmations_after(
        &self,
        _: Option<RegistrationNumber>,
        _: usize,
    ) -> Result<Vec<ConfirmationRecord>, StoreError> {
        not_for_tests()
    }

    fn discard(&self, _: &FragmentKey) -> Result<(), StoreError> {
        not_for_tests()
    }

    fn drop_groups(&self, _: Epoch) -> Result<u64, StoreError> {
        not_for_tests()
    }
}

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Honest,
    /// It is not there.
    Absent,
    /// It keeps nothing and gets what it is asked for elsewhere, which takes so long.
    Fetcher {
        millis: u64,
    },
    /// It has everything and takes so long.
    Late {
        millis: u64,
    },
    /// It answers these members only, and the others not at all.
    Selective {
        served: u16,
    },
    /// It says nothing where it has nothing, and answers otherwise.
    Mute,
    /// It shows what it is asked for, but not what a reader of the asker could not get.
    Unreadable,
    /// It says that nobody passed.
    Framer,
    /// It says that this member passed.
    Shielder {
        of: u16,
    },
    /// It commits and never opens.
    NonOpener,
}

struct Node {
    machine: Challenger,
    shelf: Shelf,
    conduct: Conduct,
    kept: Option<Vec<u8>>,
    duties: Vec<Action>,
    blamed: u32,
    exchanges: BTreeMap<ExchangeId, (usize, AskId)>,
}

enum Event {
    Request { from: usize, ask: AskId, to: usize, bytes: Bytes },
    Reply { to: usize, ask: AskId, bytes: Bytes },
    Failed { to: usize, ask: AskId },
    Observation { to: usize, bytes: Bytes },
}

struct Net {
    context: Context,
    state: MemoryState,
    now: u64,
    nodes: Vec<Node>,
    ids: Vec<NodeId>,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    refused: Vec<Refusal>,
    nonce: u64,
    judged: Vec<crate::coordinator::Judgement>,
}

fn account(place: usize) -> SecretKey {
    SecretKey::from_bytes([place as u8 + 50; 32])
}

fn node_key(place: usize) -> SecretKey {
    SecretKey::from_bytes([place as u8 + 100; 32])
}

fn bls_key(place: usize) -> BlsSecretKey {
    BlsSecretKey::from_seed([place as u8 + 1; 32])
}

fn genesis(nodes: usize, shards: u16) -> Genesis {
    let dealt = deal(shards, nodes);
    let member = |place: usize| Member {
        node: NodeId(node_key(place).public()),
        name: format!("node-{place}"),
        account: AccountId(account(place).public()),
        vote_key: VoteKey(SecretKey::from_bytes([place as u8 + 150; 32]).public()),
        bls_key: bls_key(place).public(),
        possession: bls_key(place).prove_possession(),
        addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        domain: String::new(),
        capacity_bytes: 1 << 40,
        shards: dealt[place].clone(),
    };
    let balance = Frost(1 << 50);
    let account = |place: usize| GenesisAccount { account: AccountId(account(place).public()), balance };
    let mut accounts: Vec<_> = (0..nodes).map(account).collect();
    accounts.sort_by_key(|entry| entry.account);
    Genesis {
        version: PROTOCOL_VERSION,
        name: "test".to_owned(),
        time: BlockTime(START),
        params: Params::devnet(shards, 15_000),
        accounts,
        members: (0..nodes).map(member).collect(),
        parent: None,
    }
}

impl Net {
    /// A network of so many members with one shard each, whose places are in the order of the committee, and one blob that
    /// everybody holds; in the second epoch, in which it is asked about.
    fn new(members: usize) -> Net {
        let genesis = genesis(members, members as u16);
        let mut state = MemoryState::new();
        state.apply(&floe_ledger::begin(&genesis).unwrap());
        let committee = views::committee(&state).unwrap();
        let ids: Vec<NodeId> = committee.members().iter().map(|member| member.node).collect();
        let context = Context::of(&genesis);
        let node = |id: &NodeId| {
            let secret = (0..members).find(|place| node_key(*place).public() == id.0).unwrap();
            let identity = Identity { node: *id, network_key: node_key(secret), confirmation_key: bls_key(secret) };
            Node {
                machine: Challenger::new(Config::default(), (context.network, context.params.clone()), identity),
                shelf: Shelf::default(),
                conduct: Conduct::Honest,
                kept: None,
                duties: Vec::new(),
                blamed: 0,
                exchanges: BTreeMap::new(),
            }
        };
        let nodes = ids.iter().map(node).collect();
        let (events, refused, judged) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut net = Net { context, state, now: START, nodes, ids, events, serial: 0, refused, nonce: 0, judged };
        net.store(60_000);
        net.now = START + net.context.params.epoch_millis;
        net.block();
        for place in 0..members {
            net.step(place, Input::Started { kept: None });
        }
        net
    }

    /// Whose secrets the member at `place` has.
    fn secret(&self, place: usize) -> usize {
        (0..self.ids.len()).find(|secret| node_key(*secret).public() == self.ids[place].0).unwrap()
    }

    /// A blob of so many bytes, registered, certified by all and on every shelf.
    fn store(&mut self, length: usize) -> BlobId {
        let shards = self.ids.len() as u16;
        let source: Vec<u8> = (0..length).map(|at| (at * at / 7 % 251) as u8).collect();
        let layout = floe_types::Layout::new(shards, length as u64).unwrap();
        let sink = MemorySink::new(layout.encoded_bytes() as usize);
        let encoded = encode(&source, length as u64, shards, &sink, &Options::default()).unwrap();
        let blob = encoded.blob_id();
        self.now += 10;
        self.submit(Action::Register {
            blob,
            length: length as u64,
            first: Epoch(1),
            last: Epoch(50),
            price_max: Frost(u64::MAX),
            persistence: Persistence::Permanent,
            attributes: Attributes::default(),
        });
        let registration = RegistrationNumber(1);
        let message = confirmation_message(&self.context.network, 1, registration, &blob, ENCODING_VERSION);
        let signatures: Vec<_> = (0..self.ids.len()).map(|place| bls_key(self.secret(place)).sign(&message)).collect();
        let signature = aggregate(&signatures).unwrap();
        let members = MemberSet::below(shards);
        self.now += 10;
        self.submit(Action::Certify { blob, registration, version: ENCODING_VERSION, members, signature });
        let committee = views::committee(&self.state).unwrap();
        for (node, member) in self.nodes.iter_mut().zip(committee.members()) {
            for shard in &member.shards {
                let pair = pair_of(&blob, *shard, shards);
                let bytes = sink.copy(encoded.fragment_offset(pair), layout.fragment_bytes() as usize).unwrap();
                let record = FragmentRecord {
                    key: FragmentKey { group: Epoch(50), blob, pair },
                    registration,
                    blob_bytes: length as u64,
                    proof: encoded.proof(pair).encode(),
                };
                node.shelf.0.insert((blob, pair), (record, bytes));
            }
        }
        blob
    }

    fn submit(&mut self, action: Action) {
        let key = account(0);
        let transaction = Transaction {
            network: self.context.network,
            sender: AccountId(key.public()),
            nonce: self.nonce,
            fee: Frost::ZERO,
            action,
        };
        self.nonce += 1;
        let checked = transaction.sign(&key).check(&self.context.network).unwrap();
        let executed =
            floe_ledger::build_block(&self.state, &self.context, self.ids[0], BlockTime(self.now), vec![checked]);
        let executed = executed.unwrap();
        assert_eq!(executed.refused, []);
        self.state.apply(&executed.changes);
    }

    /// A block now, of all duties that wait; then everybody hears of it.
    fn block(&mut self) -> Option<BoundaryHeader> {
        let mut candidates = Vec::new();
        for place in 0..self.nodes.len() {
            let key = account(self.secret(place));
            for action in std::mem::take(&mut self.nodes[place].duties) {
                let (network, sender) = (self.context.network, AccountId(key.public()));
                let said = Transaction { network, sender, nonce: 0, fee: Frost::ZERO, action };
                candidates.push(said.sign(&key).check(&self.context.network).unwrap());
            }
        }
        let executed =
            floe_ledger::build_block(&self.state, &self.context, self.ids[0], BlockTime(self.now), candidates);
        let executed = executed.unwrap();
        self.refused.extend(executed.refused.into_iter().map(|(_, refusal)| refusal));
        self.state.apply(&executed.changes);
        for place in 0..self.nodes.len() {
            if self.nodes[place].conduct != Conduct::Absent && self.nodes[place].machine.board().is_some() {
                self.step(place, Input::Advanced);
            }
        }
        executed.block.header.boundary
    }

    fn later(&mut self, after: u64, event: Event) {
        self.serial += 1;
        self.events.insert((self.now + after, self.serial), event);
    }

    fn step(&mut self, place: usize, input: Input) {
        if self.nodes[place].conduct == Conduct::Absent {
            return;
        }
        let effects = self.nodes[place].machine.step(self.now, &self.state, input).unwrap();
        for effect in effects {
            self.carry_out(place, effect);
        }
    }

    fn carry_out(&mut self, place: usize, effect: Effect) {
        match effect {
            Effect::Ask { ask, to, bytes } => {
                let to = self.ids.iter().position(|id| *id == to).unwrap();
                self.later(TRAVEL, Event::Request { from: place, ask, to, bytes });
            }
            Effect::Publish { bytes } => {
                let bytes = self.lie(place, bytes);
                for to in (0..self.nodes.len()).filter(|to| *to != place) {
                    self.later(TRAVEL, Event::Observation { to, bytes: bytes.clone() });
                }
            }
            Effect::Judge { judgement, .. } => self.judged.push(judgement),
            Effect::Open { exchange, slip } => self.open(place, exchange, &slip),
            Effect::Reply { exchange, bytes } => self.reply(place, exchange, bytes),
            Effect::Keep { bytes, .. } => self.nodes[place].kept = Some(bytes),
            Effect::Duty { action } => {
                // Said again until it is in a block; a pool takes it once.
                let action = self.twist(place, action).filter(|action| !self.nodes[place].duties.contains(action));
                self.nodes[place].duties.extend(action);
            }
            Effect::Blame { .. } => self.nodes[place].blamed += 1,
        }
    }

    /// What a liar says of a slot.
    fn lie(&self, place: usize, bytes: Bytes) -> Bytes {
        let said = SignedObservation::decode(&bytes).unwrap().observation;
        let said = match self.nodes[place].conduct {
            Conduct::Framer => Observation { passed: MemberSet::new(), late: MemberSet::new(), ..said },
            Conduct::Shielder { of } => {
                let mut passed = said.passed.clone();
                passed.insert(MemberIndex(of));
                Observation { passed, ..said }
            }
            _ => return bytes,
        };
        Bytes::from(said.sign(&node_key(self.secret(place))).encode())
    }

    /// What a liar says to the ledger.
    fn twist(&self, place: usize, action: Action) -> Option<Action> {
        let Action::Report(report) = action else { return Some(action) };
        let mut report: Report = *report;
        match self.nodes[place].conduct {
            Conduct::NonOpener => return None,
            Conduct::Framer => {
                report.held.iter_mut().flatten().for_each(|held| *held = MemberSet::new());
                report.passed.iter_mut().for_each(|passed| *passed = 0);
                report.shown.clear();
            }
            Conduct::Shielder { of } => {
                report.held.iter_mut().flatten().for_each(|held| held.insert(MemberIndex(of)));
            }
            _ => {}
        }
        Some(Action::Report(Box::new(report)))
    }

    fn open(&mut self, place: usize, exchange: ExchangeId, slip: &Slip) {
        let (network, shards) = (self.context.network, self.context.params.shards);
        let key = node_key(self.secret(place));
        let challenger = self.ids.iter().position(|id| *id == slip.challenger).unwrap();
        let of_reader = slip.occasion == Occasion::Again { accuser: self.index(challenger) };
        if self.nodes[place].conduct == Conduct::Unreadable && of_reader {
            self.reply(place, exchange, Bytes::from(Reply::No(Denial::NotHeld).encode()));
            return self.step(place, Input::Opened { exchange });
        }
        let reply = show(&network, shards, slip, (&self.nodes[place].shelf, &NoHashes), &key);
        self.reply(place, exchange, Bytes::from(reply.encode()));
        self.step(place, Input::Opened { exchange });
    }

    fn reply(&mut self, place: usize, exchange: ExchangeId, bytes: Bytes) {
        let (to, ask) = self.nodes[place].exchanges.remove(&exchange).unwrap();
        let mute = matches!(Reply::decode(&bytes), Ok(Reply::No(Denial::NotHeld)));
        let takes = match self.nodes[place].conduct {
            Conduct::Fetcher { millis } | Conduct::Late { millis } => millis,
            Conduct::Mute if mute => return,
            Conduct::Selective { served } if to >= usize::from(served) => return,
            _ => 0,
        };
        self.later(TRAVEL + takes, Event::Reply { to, ask, bytes });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request { from, ask, to, .. } if self.nodes[to].conduct == Conduct::Absent => {
                self.later(TRAVEL, Event::Failed { to: from, ask });
            }
            Event::Request { from, ask, to, bytes } => {
                self.serial += 1;
                let (exchange, peer) = (ExchangeId(self.serial), self.ids[from]);
                self.nodes[to].exchanges.insert(exchange, (from, ask));
                self.step(to, Input::Asked { exchange, peer, bytes });
            }
            Event::Reply { to, ask, bytes } => self.step(to, Input::Answered { ask, bytes }),
            Event::Failed { to, ask } => self.step(to, Input::Failed { ask }),
            Event::Observation { to, bytes } => {
                self.serial += 1;
                self.step(to, Input::Observed { token: ObservationToken(self.serial), bytes });
            }
        }
    }

    fn run_until(&mut self, until: u64) {
        loop {
            let up = |place: &usize| self.nodes[*place].conduct != Conduct::Absent;
            let wakes = (0..self.nodes.len()).filter(up);
            let wake = wakes.filter_map(|place| Some((self.nodes[place].machine.wake_at()?, place))).min();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            match (event, wake) {
                (Some(at), _) if at <= until && wake.is_none_or(|(wake, _)| at <= wake) => {
                    self.now = self.now.max(at);
                    let (_, event) = self.events.pop_first().unwrap();
                    self.happen(event);
                }
                (_, Some((at, place))) if at <= until => {
                    assert!(at > self.now || self.nodes[place].machine.wake_at() == Some(at));
                    self.now = self.now.max(at);
                    self.step(place, Input::Tick);
                    let again = self.nodes[place].machine.wake_at();
                    assert!(again.is_none_or(|again| again > self.now), "a machine that is never at rest");
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn times(&self) -> Timetable {
        Timetable::of(&self.context.params, views::head(&self.state).unwrap().epoch_began)
    }

    /// Runs the epoch to its end: commitments, the draw, reports, the boundary.
    fn epoch(&mut self) -> BoundaryHeader {
        let (times, half) = (self.times(), self.context.params.closing_millis / 2);
        self.run_until(times.closing().0 + half / 2);
        self.block();
        self.run_until(times.middle().0);
        self.block();
        self.run_until(times.middle().0 + half / 2);
        self.block();
        self.run_until(times.end().0);
        self.block().unwrap()
    }

    fn index(&self, place: usize) -> MemberIndex {
        MemberIndex(place as u16)
    }
}

fn members(indices: impl IntoIterator<Item = u16>) -> MemberSet {
    indices.into_iter().map(MemberIndex).collect()
}

#[test]
fn an_honest_committee_decides_with_everybody_there() {
    let mut net = Net::new(4);
    let header = net.epoch();
    assert_eq!(net.refused, []);
    assert_eq!((header.ended, header.decision), (Epoch(2), Decision::Decided));
    assert_eq!((&header.reporters, &header.answered), (&MemberSet::below(4), &MemberSet::below(4)));
    for node in &net.nodes {
        // Three others, five questions each in six slots.
        assert_eq!(node.machine.counts(), Counts { passed: 90, ..Counts::default() });
        let board = node.machine.previous_board().unwrap();
        let standings = (0..4).flat_map(|target| board.standings(MemberIndex(target)));
        assert!(standings.into_iter().all(|standing| standing == Standing::Held));
        assert_eq!((node.blamed, node.machine.answering()), (0, 0));
    }
    let all = net.judged.iter().all(|judged| *judged == crate::coordinator::Judgement::Accept);
    assert!(all && net.judged.len() == 4 * 3 * 6);
}

#[test]
fn the_questions_of_an_epoch_are_about_bytes() {
    let mut net = Net::new(4);
    net.run_until(net.times().closing().0);
    let kept = &net.nodes[0].machine.round.as_ref().unwrap().got;
    let chunks = kept.values().filter_map(Got::answer).filter(|answer| !answer.opening.is_empty()).count();
    assert_eq!(chunks, 90, "everybody covers the only blob: no question of presence");
}

#[test]
fn who_is_away_is_absent_and_nobody_accuses_it() {
    let mut net = Net::new(4);
    net.nodes[2].conduct = Conduct::Absent;
    let header = net.epoch();
    assert_eq!((header.decision, header.answered), (Decision::Decided, members([0, 1, 3])));
    assert_eq!(header.reporters, members([0, 1, 3]));
    assert!(net.nodes[0].machine.counts().silent >= 24);
    assert_eq!(net.nodes[0].machine.previous_board().unwrap().standing(Slot(3), MemberIndex(2)), Standing::Missed);
}

#[test]
fn a_node_without_its_fragments_is_absent_and_accused_in_every_slot_but_the_last() {
    let mut net = Net::new(7);
    net.nodes[3].shelf = Shelf::default();
    net.run_until(net.times().closing().0);
    for place in [0, 1, 6] {
        let machine = &net.nodes[place].machine;
        assert_eq!(machine.accusations().len(), 5);
        // Six others accuse, one of them is this one; five are asked again in each of five slots.
        let counts = machine.counts();
        assert_eq!((counts.shown_again, counts.missed_again), (0, 25), "{counts:?}");
    }
    let header = net.epoch();
    assert_eq!(header.answered, members([0, 1, 2, 4, 5, 6]));
    assert_eq!(net.refused, []);
}

#[test]
fn who_keeps_half_of_it_and_is_silent_about_the_rest_is_accused_all_the_same() {
    let mut net = Net::new(4);
    net.nodes[1].conduct = Conduct::Mute;
    // A second blob of which it keeps nothing.
    let mut half = Net::new(4);
    half.nodes[1].conduct = Conduct::Mute;
    let blob = half.nodes[1].shelf.0.keys().next().unwrap().0;
    drop(net);
    // Its secondary sliver is damaged: questions about it lead nowhere and are refused.
    let layout = floe_types::Layout::new(4, 60_000).unwrap();
    for ((of, _), (_, bytes)) in &mut half.nodes[1].shelf.0 {
        assert_eq!(*of, blob);
        bytes.truncate(layout.primary_bytes() as usize);
    }
    half.run_until(half.times().closing().0);
    let machine = &half.nodes[0].machine;
    assert!(!machine.accusations().is_empty());
    let counts = machine.counts();
    assert!(counts.silent > 0 && counts.missed_again > 0, "{counts:?}");
    let reasks = machine.reasks();
    assert!(reasks.iter().any(|said| said.said == floe_ledger::reports::Said::Missing), "it was there: {reasks:?}");
    let header = half.epoch();
    assert_eq!(
        header.answered,
        MemberSet::below(4),
        "it holds as long as it shows anything; its gauge is another matter"
    );
}

#[test]
fn a_fetcher_is_late_and_beyond_the_hard_deadline_not_there() {
    for (millis, late, answered) in [(600, 30, MemberSet::below(4)), (1_600, 0, members([0, 1, 3]))] {
        let mut net = Net::new(4);
        net.nodes[2].conduct = Conduct::Fetcher { millis };
        let header = net.epoch();
        assert_eq!(net.nodes[0].machine.counts().late, late, "{millis}");
        assert_eq!(header.answered, answered, "{millis}");
        let standing = net.nodes[0].machine.previous_board().unwrap().standing(Slot(1), MemberIndex(2));
        assert_eq!(standing, if late > 0 { Standing::Slow } else { Standing::Missed });
    }
}

#[test]
fn who_is_late_holds_and_shows_it_when_the_draw_names_it() {
    let mut net = Net::new(4);
    (0..4).for_each(|place| net.nodes[place].conduct = Conduct::Late { millis: 900 });
    let header = net.epoch();
    assert_eq!((header.answered, net.refused.len()), (MemberSet::below(4), 0));
}

#[test]
fn who_serves_few_is_absent_and_who_serves_enough_is_not() {
    // f = 2: itself and two others are enough, itself and one are not.
    for (served, is_there) in [(1, false), (2, true)] {
        let mut net = Net::new(7);
        net.nodes[6].conduct = Conduct::Selective { served };
        let header = net.epoch();
        assert_eq!(header.answered.contains(MemberIndex(6)), is_there, "{served}");
    }
}

#[test]
fn f_framers_make_nobody_absent() {
    let mut net = Net::new(7);
    (0..2).for_each(|place| net.nodes[place].conduct = Conduct::Framer);
    let header = net.epoch();
    assert_eq!((&header.reporters, &header.answered), (&MemberSet::below(7), &MemberSet::below(7)));
    let board = net.nodes[6].machine.previous_board().unwrap();
    assert_eq!(board.standing(Slot(0), MemberIndex(5)), Standing::Held);
}

#[test]
fn a_shielder_cannot_show_what_it_claims_and_its_report_is_void() {
    let mut net = Net::new(4);
    net.nodes[3].conduct = Conduct::Absent;
    net.nodes[0].conduct = Conduct::Shielder { of: 3 };
    let mut void = 0;
    for _ in 0..6 {
        let header = net.epoch();
        assert!(!header.answered.contains(MemberIndex(3)), "one voucher with its target is not f + 1");
        void += usize::from(!header.reporters.contains(MemberIndex(0)));
        assert!(header.reporters.contains(MemberIndex(1)));
    }
    assert!(void >= 3, "a third of its claims is false: four shown are right once in five");
}

#[test]
fn who_does_not_open_is_no_reporter_and_costs_the_others_nothing() {
    let mut net = Net::new(4);
    net.nodes[0].conduct = Conduct::NonOpener;
    let header = net.epoch();
    assert_eq!((&header.reporters, header.decision), (&members([1, 2, 3]), Decision::Decided));
    assert_eq!(header.answered, MemberSet::below(4));
}

#[test]
fn who_falls_in_the_closing_says_the_same_again() {
    let mut net = Net::new(4);
    let (times, half) = (net.times(), net.context.params.closing_millis / 2);
    net.run_until(times.closing().0 + half / 2);
    let first = net.nodes[0].duties.clone();
    assert!(matches!(first[..], [Action::Commit { .. }, ..]));
    net.restart(0);
    net.run_until(net.now + 1);
    assert_eq!(net.nodes[0].duties, first, "the same commitment and no other");
    net.block();
    net.run_until(times.middle().0);
    net.block();
    net.run_until(net.now + 10);
    let report = net.nodes[0].duties.last().cloned();
    assert!(matches!(report, Some(Action::Report(_))));
    net.restart(0);
    net.run_until(net.now + 1);
    assert_eq!(net.nodes[0].duties, Vec::from_iter(report), "the same report and no other");
    net.run_until(times.middle().0 + half / 2);
    net.block();
    net.run_until(times.end().0);
    let header = net.block().unwrap();
    assert_eq!(header.reporters, MemberSet::below(4));
}

#[test]
fn a_life_that_begins_in_the_closing_with_nothing_kept_says_nothing() {
    let mut net = Net::new(4);
    net.run_until(net.times().closing().0 + 10);
    net.nodes[0].kept = None;
    net.restart(0);
    let header = net.epoch();
    assert_eq!(header.reporters, members([1, 2, 3]));
}

#[test]
fn slots_before_a_start_are_not_reported_on() {
    let mut net = Net::new(4);
    let begins = net.times().begins(Slot(2)).0;
    net.run_until(begins - 300);
    net.restart(0);
    net.run_until(net.times().closing().0);
    let held = net.nodes[0].machine.round.as_ref().unwrap().held();
    let said: Vec<bool> = held.iter().map(Option::is_some).collect();
    assert_eq!(said, [false, false, true, true, true, true]);
    let header = net.epoch();
    assert_eq!((header.answered, header.decision), (MemberSet::below(4), Decision::Decided));
}

impl Net {
    /// The node loses all it had in memory and begins anew with what it kept.
    fn restart(&mut self, place: usize) {
        let secret = self.secret(place);
        let identity =
            Identity { node: self.ids[place], network_key: node_key(secret), confirmation_key: bls_key(secret) };
        let context = (self.context.network, self.context.params.clone());
        self.nodes[place].machine = Challenger::new(Config::default(), context, identity);
        self.nodes[place].exchanges.clear();
        let kept = self.nodes[place].kept.clone();
        self.step(place, Input::Started { kept });
    }

    fn ask(&mut self, place: usize, peer: NodeId, bytes: Vec<u8>) -> Vec<Effect> {
        self.serial += 1;
        let input = Input::Asked { exchange: ExchangeId(self.serial), peer, bytes: Bytes::from(bytes) };
        self.nodes[place].machine.step(self.now, &self.state, input).unwrap()
    }
}

fn denial(effects: &[Effect]) -> Option<Denial> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply { bytes, .. } => match Reply::decode(bytes) {
            Ok(Reply::No(denial)) => Some(denial),
            _ => None,
        },
        _ => None,
    })
}

#[test]
fn members_are_answered_within_limits_and_nobody_else() {
    let mut net = Net::new(4);
    let (peer, target) = (net.ids[1], net.ids[0]);
    let sample = floe_ledger::challenges::Question::Chunk(floe_ledger::challenges::Sample {
        number: floe_types::SequenceNumber(0),
        blob: net.nodes[0].shelf.0.keys().next().unwrap().0,
        length: 60_000,
        shard: floe_types::ShardIndex(0),
        axis: floe_erasure::Axis::Primary,
        symbol: 0,
        chunk: 0,
    });
    let slip = Slip {
        epoch: Epoch(2),
        slot: Slot(0),
        challenger: peer,
        target,
        occasion: floe_ledger::challenges::Occasion::Drawn { at: 0 },
        question: sample,
    };
    let good = Request::of(net.context.network, &slip);
    assert_eq!(denial(&net.ask(0, peer, vec![7; 300])), Some(Denial::Malformed));
    assert_eq!(denial(&net.ask(0, NodeId([9; 32]), good.encode())), Some(Denial::NotMember));
    let far = Request { epoch: Epoch(4), ..good };
    assert_eq!(denial(&net.ask(0, peer, far.encode())), Some(Denial::OtherEpoch { epoch: Epoch(2) }));
    let open = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Open { .. }));
    for epoch in [1, 2, 3] {
        assert!(open(&net.ask(0, peer, Request { epoch: Epoch(epoch), ..good }.encode())), "heads differ");
    }
    // Two slots of four questions and one of each member's: twelve, of which eight at a time.
    let more: Vec<_> = (0..12).map(|_| denial(&net.ask(0, peer, good.encode()))).collect();
    assert_eq!(more.iter().filter(|denial| denial.is_none()).count(), 5);
    assert_eq!(more.last(), Some(&Some(Denial::Busy)));
    let exchanges: Vec<_> = (0..=net.serial).map(ExchangeId).collect();
    exchanges.into_iter().for_each(|exchange| net.step(0, Input::Opened { exchange }));
    assert_eq!(denial(&net.ask(0, peer, good.encode())), Some(Denial::Busy), "it has asked enough for now");
    net.now += net.context.params.slot_millis();
    assert_eq!(denial(&net.ask(0, peer, good.encode())), None);
}

#[test]
fn words_about_a_slot_are_taken_once_from_members_and_in_their_time() {
    use crate::coordinator::Judgement;
    let mut net = Net::new(4);
    let (network, member) = (net.context.network, net.ids[1]);
    let said = |slot| Observation {
        network,
        epoch: Epoch(2),
        slot: Slot(slot),
        member,
        passed: members([0, 2, 3]),
        late: MemberSet::new(),
        accused: None,
    };
    let key = node_key(net.secret(1));
    let hear = |net: &mut Net, bytes: Vec<u8>| {
        net.judged.clear();
        net.step(0, Input::Observed { token: ObservationToken(1), bytes: Bytes::from(bytes) });
        net.judged[0]
    };
    assert_eq!(hear(&mut net, vec![1; 40]), Judgement::Reject);
    assert_eq!(hear(&mut net, said(3).sign(&key).encode()), Judgement::Ignore, "that slot has not begun");
    let forged = said(0).sign(&account(1)).encode();
    assert_eq!(hear(&mut net, forged), Judgement::Reject);
    let stranger = Observation { member: NodeId(account(1).public()), ..said(0) };
    assert_eq!(hear(&mut net, stranger.sign(&account(1)).encode()), Judgement::Ignore);
    let beyond = Observation { passed: members([9]), ..said(0) };
    assert_eq!(hear(&mut net, beyond.sign(&key).encode()), Judgement::Reject);
    assert_eq!(hear(&mut net, said(0).sign(&key).encode()), Judgement::Accept);
    assert_eq!(hear(&mut net, said(0).sign(&key).encode()), Judgement::Ignore);
    let other = Observation { epoch: Epoch(3), ..said(0) };
    assert_eq!(hear(&mut net, other.sign(&key).encode()), Judgement::Ignore);
    let index = net.index(1);
    assert!(net.nodes[0].machine.board().unwrap().has_spoken(index, Slot(0)));
}

#[test]
fn what_was_kept_for_another_epoch_or_is_none_is_not_gone_on_from() {
    let mut net = Net::new(4);
    net.epoch();
    let old = net.nodes[0].kept.clone();
    assert!(old.is_some());
    for kept in [old, Some(vec![9; 100]), None] {
        net.nodes[0].kept = kept;
        net.restart(0);
        assert!(!net.nodes[0].machine.has_closed());
    }
    let epochs: BTreeSet<Epoch> = net.nodes.iter().map(|node| node.machine.board().unwrap().epoch()).collect();
    assert_eq!(epochs, BTreeSet::from([Epoch(3)]));
}
