//! Four coordinators in one thread with a perfect network: what a quiet network does, and what wakes it.

use super::{
    Config, Coordinator, Effect, GossipToken, Identity, Input, Judgement, Memory, Outcome, SAFE_DISTANCE, SubmitError,
    Ticket, Timer, Topic, WATCH_MILLIS,
};
use crate::challenges::{self, Challenger};
use crate::wire::sync::{self, DecidedBlock, DecidedBlocks, Served};
use bytes::Bytes;
use floe_consensus::{JournalEntry, Message, MessageKind, VoteSigningKey};
use floe_ledger::challenges::Timetable;
use floe_ledger::{
    Action, Context, Decision, MemoryState, MempoolError, Refusal, SignedTransaction, StateRead, Transaction, views,
};
use floe_types::bls::BlsSecretKey;
use floe_types::committee::deal;
use floe_types::genesis::{GenesisAccount, PROTOCOL_VERSION};
use floe_types::keys::SecretKey;
use floe_types::{AccountId, BlockTime, Epoch, Frost, Genesis, Height, Member, NodeId, Params, VoteKey};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const START: u64 = 1_700_000_000_000;

struct Node {
    machine: Coordinator,
    challenger: Challenger,
    kept: Option<Vec<u8>>,
    state: MemoryState,
    blocks: BTreeMap<Height, DecidedBlock>,
    journal: Vec<JournalEntry>,
    timers: BTreeMap<Timer, u64>,
    settled: Vec<(Ticket, Outcome)>,
    not_taken: Vec<SubmitError>,
    up: bool,
    far_behind: u32,
    whole: u32,
    lost_below: Option<Height>,
}

/// The blocks that a node gives.
struct Kept<'a> {
    blocks: &'a BTreeMap<Height, DecidedBlock>,
    oldest: Height,
}

impl Served for Kept<'_> {}

impl DecidedBlocks for Kept<'_> {
    fn decided(&self, height: Height) -> Option<DecidedBlock> {
        (height >= self.oldest).then(|| self.blocks.get(&height).cloned()).flatten()
    }

    fn oldest(&self) -> Height {
        self.oldest
    }
}

struct World {
    versions_known: u32,
    fresh_vote_keys: bool,
    /// What each node has durably of secrets for votes.
    vote_secrets: Vec<Vec<[u8; 32]>>,
    made: u8,
    now: u64,
    nodes: Vec<Node>,
    ids: Vec<NodeId>,
    queue: VecDeque<(usize, Input)>,
    /// What challengers are told next.
    told: VecDeque<(usize, challenges::Input)>,
    /// Who asked what in each exchange.
    exchanges: BTreeMap<challenges::ExchangeId, (usize, challenges::AskId)>,
    genesis: Genesis,
    refused: usize,
    /// Whether no message of consensus arrives.
    is_hushed: bool,
    /// What was signed at a height, round and step, by whom: nothing else may be (I15).
    signed: BTreeMap<(floe_consensus::ValidatorKey, u64, u32, MessageKind), Bytes>,
    memory: Memory,
    /// The oldest block that a node still gives.
    oldest: Height,
}

fn account(place: usize) -> SecretKey {
    SecretKey::from_bytes([place as u8 + 50; 32])
}

fn genesis(nodes: usize, epoch_millis: u64) -> Genesis {
    let shards = deal(28, nodes);
    let member = |place: usize| {
        let bls = BlsSecretKey::from_seed([place as u8 + 1; 32]);
        Member {
            node: NodeId(SecretKey::from_bytes([place as u8 + 100; 32]).public()),
            name: format!("node-{place}"),
            account: AccountId(account(place).public()),
            vote_key: VoteKey(SecretKey::from_bytes([place as u8 + 150; 32]).public()),
            bls_key: bls.public(),
            possession: bls.prove_possession(),
            addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
            domain: String::new(),
            capacity_bytes: 1 << 30,
            shards: shards[place].clone(),
        }
    };
    let mut accounts: Vec<_> = (0..nodes)
        .map(|place| GenesisAccount { account: AccountId(account(place).public()), balance: Frost(1_000_000) })
        .collect();
    accounts.sort_by_key(|entry| entry.account);
    Genesis {
        version: PROTOCOL_VERSION,
        name: "test".to_owned(),
        time: BlockTime(START),
        params: Params::devnet(28, epoch_millis),
        accounts,
        members: (0..nodes).map(member).collect(),
        parent: None,
    }
}

impl World {
    fn new(nodes: usize, epoch_millis: u64) -> World {
        World::with_memory(nodes, epoch_millis, Memory::Certain)
    }

    fn with_memory(nodes: usize, epoch_millis: u64, memory: Memory) -> World {
        let genesis = genesis(nodes, epoch_millis);
        let mut state = MemoryState::new();
        state.apply(&floe_ledger::begin(&genesis).unwrap());
        let ids = genesis.members.iter().map(|member| member.node).collect();
        let vote_secrets = (0..nodes).map(|place| vec![[place as u8 + 150; 32]]).collect();
        let mut world = World {
            versions_known: 1,
            fresh_vote_keys: false,
            vote_secrets,
            made: 0,
            now: START,
            nodes: Vec::new(),
            ids,
            queue: VecDeque::new(),
            told: VecDeque::new(),
            exchanges: BTreeMap::new(),
            genesis,
            refused: 0,
            is_hushed: false,
            signed: BTreeMap::new(),
            memory,
            oldest: Height(1),
        };
        for place in 0..nodes {
            let machine = world.machine(place, &state);
            let (blocks, timers) = (BTreeMap::new(), BTreeMap::new());
            let (journal, settled, not_taken) = (Vec::new(), Vec::new(), Vec::new());
            let challenger = world.challenger(place);
            world.nodes.push(Node {
                machine,
                challenger,
                kept: None,
                state: state.clone(),
                blocks,
                journal,
                timers,
                settled,
                not_taken,
                up: true,
                far_behind: 0,
                whole: 0,
                lost_below: None,
            });
            world.queue.push_back((place, Input::Started { journal: Vec::new() }));
            world.told.push_back((place, challenges::Input::Started { kept: None }));
        }
        world
    }

    fn challenger(&self, place: usize) -> Challenger {
        let identity = challenges::Identity {
            node: self.ids[place],
            network_key: SecretKey::from_bytes([place as u8 + 100; 32]),
            confirmation_key: BlsSecretKey::from_seed([place as u8 + 1; 32]),
        };
        let of = (self.genesis.network(), self.genesis.params.clone());
        Challenger::new(challenges::Config::default(), of, identity)
    }

    fn challenge(&mut self, place: usize, input: challenges::Input) {
        if !self.nodes[place].up {
            return;
        }
        let node = &mut self.nodes[place];
        for effect in node.challenger.step(self.now, &node.state, input).unwrap() {
            self.challenge_does(place, effect);
        }
    }

    fn challenge_does(&mut self, place: usize, effect: challenges::Effect) {
        use challenges::Effect as Does;
        match effect {
            Does::Ask { ask, to, bytes } => {
                let to = self.place(to);
                if !self.nodes[to].up {
                    return self.told.push_back((place, challenges::Input::Failed { ask }));
                }
                let exchange = challenges::ExchangeId(self.exchanges.len() as u64);
                self.exchanges.insert(exchange, (place, ask));
                let peer = self.ids[place];
                self.told.push_back((to, challenges::Input::Asked { exchange, peer, bytes }));
            }
            Does::Reply { exchange, bytes } => {
                let (asker, ask) = self.exchanges[&exchange];
                self.told.push_back((asker, challenges::Input::Answered { ask, bytes }));
            }
            Does::Publish { bytes } => {
                let token = challenges::ObservationToken(0);
                let others = (0..self.nodes.len()).filter(|other| *other != place);
                let heard = others.map(|other| (other, challenges::Input::Observed { token, bytes: bytes.clone() }));
                self.told.extend(heard.collect::<Vec<_>>());
            }
            Does::Duty { action } => self.queue.push_back((place, Input::Duty { action })),
            Does::Keep { bytes, .. } => self.nodes[place].kept = Some(bytes),
            Does::Judge { judgement, .. } => self.refused += usize::from(judgement == Judgement::Reject),
            Does::Open { .. } => panic!("no blob is stored here"),
            Does::Blame { cause, .. } => panic!("nobody misbehaves here: {cause}"),
        }
    }

    fn machine(&self, place: usize, state: &dyn StateRead) -> Coordinator {
        let identity = Identity {
            node: self.ids[place],
            vote_keys: self.vote_secrets[place].iter().map(|secret| VoteSigningKey::from_secret(*secret)).collect(),
            account: account(place),
        };
        let context = Context { versions_known: self.versions_known, ..Context::of(&self.genesis) };
        let defaults = Config::for_params(&self.genesis.params);
        let config = Config { fresh_vote_keys: self.fresh_vote_keys, far_behind_heights: 20, ..defaults };
        Coordinator::guarded(config, context, identity, self.memory, state).unwrap()
    }

    fn place(&self, node: NodeId) -> usize {
        self.ids.iter().position(|id| *id == node).unwrap()
    }

    fn step(&mut self, place: usize, input: Input) {
        if !self.nodes[place].up {
            return;
        }
        let node = &mut self.nodes[place];
        let effects = node.machine.step(self.now, &node.state, input).unwrap();
        let mut committed = false;
        for effect in effects {
            assert!(!committed || !matches!(effect, Effect::Commit(_)), "one commit a step");
            committed |= matches!(effect, Effect::Commit(_));
            self.carry_out(place, effect);
        }
        if committed {
            self.step(place, Input::Committed);
            self.told.push_back((place, challenges::Input::Advanced));
        }
    }

    fn carry_out(&mut self, place: usize, effect: Effect) {
        match effect {
            Effect::Journal(entry) => self.nodes[place].journal.push(entry),
            Effect::Publish { topic, bytes } => {
                self.sign(topic, &bytes);
                if self.is_hushed && topic == Topic::Consensus {
                    return;
                }
                for other in (0..self.nodes.len()).filter(|other| *other != place) {
                    let (token, bytes) = (GossipToken(0), bytes.clone());
                    let input = match topic {
                        Topic::Consensus => Input::ConsensusMessage { token, bytes },
                        Topic::Transactions => Input::TransactionMessage { token, bytes },
                    };
                    self.queue.push_back((other, input));
                }
            }
            Effect::Judge { judgement, .. } => self.refused += usize::from(judgement == Judgement::Reject),
            Effect::SetTimer { timer, after_millis } => {
                self.nodes[place].timers.insert(timer, self.now + after_millis);
            }
            Effect::CancelTimer(timer) => drop(self.nodes[place].timers.remove(&timer)),
            Effect::CancelConsensusTimers => self.nodes[place].timers.retain(|timer, _| *timer == Timer::Wake),
            Effect::Commit(commit) => {
                let node = &mut self.nodes[place];
                node.state.apply(&commit.changes);
                let block = DecidedBlock { block: commit.block.to_vec(), certificate: commit.certificate };
                node.blocks.insert(commit.height, block);
                node.journal.clear();
            }
            Effect::AskStatus { to, nonce, bytes } => {
                let other = self.place(to);
                let from = self.ids[other];
                let answer = self.nodes[other].up.then(|| self.nodes[other].machine.answer_status(&bytes)).flatten();
                let input = match answer {
                    Some(bytes) => Input::StatusAnswered { from, bytes: Bytes::from(bytes) },
                    None => Input::StatusFailed { from, nonce },
                };
                self.queue.push_back((place, input));
            }
            Effect::FetchBlocks { from, bytes } => {
                let other = &self.nodes[self.place(from)];
                let input = if other.up {
                    let kept = Kept { blocks: &other.blocks, oldest: self.oldest };
                    let answer = sync::serve(&kept, &self.genesis.network(), &bytes).unwrap();
                    Input::BlocksFetched { from, bytes: Bytes::from(answer) }
                } else {
                    Input::BlocksFailed { from }
                };
                self.queue.push_back((place, input));
            }
            Effect::Submitted { result, .. } => self.nodes[place].not_taken.extend(result.err()),
            Effect::Settled { ticket, outcome } => self.nodes[place].settled.push((ticket, outcome)),
            Effect::MakeVoteKey { term } => {
                self.made += 1;
                let secret = [self.made; 32];
                self.vote_secrets[place].push(secret);
                self.queue.push_back((place, Input::VoteKeyMade { term, secret }));
            }
            Effect::KeepVoteKeys { keys } => {
                let is_kept = |secret: &[u8; 32]| keys.contains(&VoteKey(SecretKey::from_bytes(*secret).public()));
                self.vote_secrets[place].retain(is_kept);
            }
            Effect::FarBehind { .. } => self.nodes[place].far_behind += 1,
            Effect::MemoryLost { below } => self.nodes[place].lost_below = Some(below),
            Effect::MemoryWhole => self.nodes[place].whole += 1,
            Effect::Blame { cause, .. } => panic!("nobody misbehaves here: {cause}"),
        }
    }

    fn sign(&mut self, topic: Topic, bytes: &Bytes) {
        let message = (topic == Topic::Consensus).then(|| Message::decode(bytes, 2 << 20).unwrap());
        let Some(message) = message else { return };
        let Some(key) = message.sender() else { return };
        let place = (key, message.height().0, message.round().0, message.kind());
        let first = self.signed.entry(place).or_insert_with(|| bytes.clone());
        assert_eq!(first, bytes, "signed twice: {place:?}");
    }

    /// The heights at which node `place` has signed something.
    fn voted(&self, place: usize) -> BTreeSet<u64> {
        let own = VoteSigningKey::from_secret([place as u8 + 150; 32]).public();
        self.signed.keys().filter(|(key, ..)| *key == own).map(|(_, height, ..)| *height).collect()
    }

    fn run_until(&mut self, until: u64) {
        loop {
            while !self.queue.is_empty() || !self.told.is_empty() {
                while let Some((place, input)) = self.queue.pop_front() {
                    self.step(place, input);
                }
                if let Some((place, input)) = self.told.pop_front() {
                    self.challenge(place, input);
                }
            }
            let due = (0..self.nodes.len()).filter(|place| self.nodes[*place].up);
            let next = due
                .flat_map(|place| self.nodes[place].timers.iter().map(move |(timer, at)| (*at, place, *timer)))
                .min();
            let up = (0..self.nodes.len()).filter(|place| self.nodes[*place].up);
            let wake = up.filter_map(|place| Some((self.nodes[place].challenger.wake_at()?, place))).min();
            match next {
                _ if wake.is_some_and(|(at, _)| at <= until && next.is_none_or(|(next, ..)| at <= next)) => {
                    let Some((at, place)) = wake else { break };
                    self.now = self.now.max(at);
                    self.challenge(place, challenges::Input::Tick);
                }
                Some((at, place, timer)) if at <= until => {
                    self.now = self.now.max(at);
                    self.nodes[place].timers.remove(&timer);
                    self.step(place, Input::TimerFired(timer));
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn heights(&self) -> BTreeSet<u64> {
        self.nodes.iter().filter(|node| node.up).map(|node| node.machine.head().height.0).collect()
    }
}

#[test]
fn an_idle_network_decides_epochs_on_time_and_little_else() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 30_500);
    let head = world.nodes[0].machine.head().clone();
    assert_eq!(world.heights().len(), 1);
    assert_eq!(head.epoch, Epoch(11), "ten boundaries in thirty seconds");
    assert_eq!(world.refused, 0);
    // A first block; in each epoch four commitments, the draw, four reports and a boundary, at worst in a block each.
    assert!(head.height.0 <= 1 + 10 * 10, "{} blocks", head.height);
    for epoch in 2..=10 {
        let record = views::epoch_record(&world.nodes[0].state, Epoch(epoch)).unwrap().unwrap();
        assert_eq!(record.boundary.decision, Decision::Decided, "epoch {epoch}");
        assert_eq!(record.boundary.answered.len(), 4, "epoch {epoch}");
        assert!(record.ended.millis_since(record.began) < 3_200, "epoch {epoch} was late");
    }
    let states: BTreeSet<_> = world.nodes.iter().map(|node| format!("{:?}", node.machine.head().state_root)).collect();
    assert_eq!(states.len(), 1);
}

#[test]
fn commitments_that_came_in_time_find_a_block_though_none_was_decided_in_their_half() {
    let mut world = World::new(4, 60_000);
    world.run_until(START + 61_000);
    let epoch = world.nodes[0].machine.head().epoch;
    let times = Timetable::of(&world.genesis.params, views::head(&world.nodes[0].state).unwrap().epoch_began);
    let height = world.nodes[0].machine.head().height;
    world.run_until(times.closing().0 - 1);
    world.is_hushed = true;
    world.run_until(times.middle().0 + 20);
    world.is_hushed = false;
    world.run_until(times.end().0 + 8_000);
    assert!(world.nodes[0].machine.head().height > height);
    let record = views::epoch_record(&world.nodes[0].state, epoch).unwrap().unwrap();
    assert_eq!((record.boundary.decision, record.boundary.answered.len()), (Decision::Decided, 4));
}

#[test]
fn a_transaction_wakes_the_network_and_is_settled() {
    let mut world = World::new(4, 60_000);
    world.run_until(START + 1_000);
    let before = world.nodes[0].machine.head().height;
    let to = AccountId([9; 32]);
    for ticket in 0..3 {
        let action = Action::Transfer { to, amount: Frost(10) };
        world.queue.push_back((2, Input::Submit { ticket: Ticket(ticket), action }));
    }
    world.run_until(START + 1_001);
    assert_eq!(views::account(&world.nodes[1].state, &to).unwrap().balance, Frost(30));
    assert_eq!(world.nodes[2].settled.len(), 3);
    assert_eq!(world.nodes[2].not_taken, []);
    assert!(world.nodes[1].machine.head().height.0 <= before.0 + 3);
    let height = world.nodes[1].machine.head().height;
    world.run_until(START + 20_000);
    assert_eq!(world.nodes[1].machine.head().height, height, "nothing to decide, nothing decided");
}

#[test]
fn a_node_that_was_away_catches_up_and_is_reported_absent() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 3_100);
    world.nodes[3].up = false;
    world.run_until(START + 12_000);
    let record = views::latest_decided(&world.nodes[0].state).unwrap().unwrap();
    assert_eq!(record.boundary.answered.len(), 3);
    // It comes back as a new process would: from its state and its journal.
    let machine = world.machine(3, &world.nodes[3].state.clone());
    let node = &mut world.nodes[3];
    (node.machine, node.up) = (machine, true);
    node.timers.clear();
    let journal = node.journal.clone();
    world.queue.push_back((3, Input::Started { journal }));
    world.run_until(START + 14_500);
    assert_eq!(world.heights().len(), 1, "{:?}", world.heights());
    world.run_until(START + 21_500);
    let record = views::latest_decided(&world.nodes[3].state).unwrap().unwrap();
    assert_eq!(record.boundary.answered.len(), 4);
}

#[test]
fn without_a_quorum_nothing_is_decided_and_with_one_it_goes_on() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 3_100);
    let height = world.nodes[0].machine.head().height;
    for away in [2, 3] {
        world.nodes[away].up = false;
    }
    world.run_until(START + 20_000);
    assert_eq!(world.nodes[0].machine.head().height, height);
    let machine = world.machine(2, &world.nodes[2].state.clone());
    let node = &mut world.nodes[2];
    (node.machine, node.up) = (machine, true);
    let journal = node.journal.clone();
    world.queue.push_back((2, Input::Started { journal }));
    world.run_until(START + 40_000);
    assert_eq!(world.heights().len(), 1);
    assert!(world.nodes[0].machine.head().epoch > Epoch(4));
}

#[test]
fn garbage_is_rejected_and_changes_nothing() {
    let mut world = World::new(4, 60_000);
    world.run_until(START + 500);
    let head = world.nodes[0].machine.head().clone();
    for length in [0usize, 1, 40, 500] {
        let bytes = Bytes::from(vec![0xa5; length]);
        let token = GossipToken(1);
        world.queue.push_back((0, Input::ConsensusMessage { token, bytes: bytes.clone() }));
        world.queue.push_back((0, Input::TransactionMessage { token, bytes }));
    }
    world.run_until(START + 600);
    assert_eq!(world.refused, 8);
    assert_eq!(world.nodes[0].machine.head().height, head.height);
}

#[test]
fn an_action_the_ledger_comes_to_refuse_does_not_hold_up_those_behind_it() {
    let mut world = World::new(4, 60_000);
    world.run_until(START + 500);
    let action = |amount| Action::Transfer { to: AccountId([9; 32]), amount: Frost(amount) };
    // Together more than the account has: each alone passes the pool, the second is refused by the ledger for ever.
    let all = [600_000, 600_000, 5];
    for (ticket, amount) in all.into_iter().enumerate() {
        world.queue.push_back((1, Input::Submit { ticket: Ticket(ticket as u64), action: action(amount) }));
    }
    world.run_until(START + 55_000);
    let nonce = views::account(&world.nodes[0].state, &AccountId(account(1).public())).unwrap().nonce;
    assert!(nonce >= 1);
}

impl World {
    /// The node loses all it had in memory and begins anew.
    fn restart(&mut self, place: usize) {
        let machine = self.machine(place, &self.nodes[place].state);
        self.nodes[place].machine = machine;
        self.nodes[place].timers.clear();
        let journal = self.nodes[place].journal.clone();
        self.step(place, Input::Started { journal });
        self.nodes[place].challenger = self.challenger(place);
        let kept = self.nodes[place].kept.clone();
        self.challenge(place, challenges::Input::Started { kept });
    }

    fn balance(&self, seed: u8) -> Frost {
        views::account(&self.nodes[1].state, &AccountId([seed; 32])).unwrap().balance
    }
}

/// Two transactions of one account with one nonce: the second, of a later life, is told what became of it and not of the
/// first. Found by seed 763 of the simulator: a store waited for ever for a registration that was said to be in a block.
#[test]
fn what_an_earlier_life_sent_may_use_the_nonce_and_then_the_later_is_refused() {
    let mut world = World::new(4, 60_000);
    world.run_until(START + 500);
    [2, 3].iter().for_each(|place| world.nodes[*place].up = false);
    for (ticket, to) in [(1, 7), (2, 9)] {
        let action = Action::Transfer { to: AccountId([to; 32]), amount: Frost(10) };
        world.queue.push_back((1, Input::Submit { ticket: Ticket(ticket), action }));
        world.run_until(world.now + 100);
        if ticket == 1 {
            world.restart(1);
        }
    }
    // Without it the others decide what they have: the first.
    [(1, false), (2, true), (3, true)].iter().for_each(|(place, up)| world.nodes[*place].up = *up);
    world.run_until(START + 30_000);
    world.nodes[1].up = true;
    world.run_until(START + 50_000);
    let settled = world.nodes[1].settled.as_slice();
    assert!(matches!(settled, [(Ticket(2), Outcome::Refused { .. })]), "{settled:?}");
    assert_eq!((world.balance(7), world.balance(9)), (Frost(10), Frost(0)));
}

/// Found by seed 83 of the simulator: each took a second and a block of its own, and what came behind them waited.
#[test]
fn registrations_that_an_epoch_overtook_are_freed_from_all_at_once() {
    const REGISTRATIONS: u64 = 20;
    let mut world = World::new(4, 10_000);
    world.run_until(START + 8_000);
    let resting = [2, 3];
    resting.iter().for_each(|place| world.nodes[*place].up = false);
    for ticket in 0..REGISTRATIONS {
        let (blob, attributes) = (floe_types::BlobId([ticket as u8; 32]), floe_ledger::Attributes::default());
        let (first, last, price_max) = (Epoch(1), Epoch(1), Frost(u64::MAX));
        let persistence = floe_ledger::Persistence::Permanent;
        let action = Action::Register { blob, length: 1, first, last, price_max, persistence, attributes };
        world.queue.push_back((1, Input::Submit { ticket: Ticket(ticket), action }));
    }
    let action = Action::Transfer { to: AccountId([9; 32]), amount: Frost(5) };
    world.queue.push_back((1, Input::Submit { ticket: Ticket(REGISTRATIONS), action }));
    world.run_until(START + 12_000);
    resting.iter().for_each(|place| world.nodes[*place].up = true);
    while world.nodes[1].machine.head().epoch == Epoch(1) {
        world.run_until(world.now + 10);
    }
    world.run_until(world.now + 500);
    let late = |(_, outcome): &&(Ticket, Outcome)| matches!(outcome, Outcome::Refused { .. });
    assert_eq!(world.nodes[1].settled.iter().filter(late).count() as u64, REGISTRATIONS);
    assert_eq!(world.balance(9), Frost(5));
}

impl World {
    /// A transfer that somebody outside signs.
    fn signed(&self, key: &SecretKey, nonce: u64, amount: u64) -> SignedTransaction {
        let (network, sender) = (self.genesis.network(), AccountId(key.public()));
        let action = Action::Transfer { to: AccountId([9; 32]), amount: Frost(amount) };
        Transaction { network, sender, nonce, fee: Frost(0), action }.sign(key)
    }

    fn hand_in(&mut self, place: usize, ticket: u64, transaction: SignedTransaction) {
        let transaction = Box::new(transaction);
        self.step(place, Input::Relay { ticket: Ticket(ticket), transaction });
    }
}

#[test]
fn what_is_handed_in_is_settled_or_refused_with_the_ledgers_reason() {
    let mut world = World::new(4, 60_000);
    world.run_until(START + 500);
    let key = account(3);
    world.hand_in(0, 1, world.signed(&key, 1, 20));
    world.hand_in(0, 2, world.signed(&key, 0, 10));
    world.run_until(START + 1_000);
    assert_eq!(world.nodes[0].not_taken, []);
    let mut settled = world.nodes[0].settled.clone();
    settled.sort_by_key(|(ticket, _)| *ticket);
    assert!(
        matches!(settled.as_slice(), [(Ticket(1), Outcome::Included { .. }), (Ticket(2), Outcome::Included { .. })]),
        "{settled:?}"
    );
    assert_eq!(world.balance(9), Frost(30));

    // What the ledger refuses is refused before it is sent; what is used or forged is not taken.
    let forged = SignedTransaction { signature: world.signed(&key, 2, 6).signature, ..world.signed(&key, 2, 5) };
    world.hand_in(0, 3, world.signed(&key, 2, u64::MAX));
    world.hand_in(0, 4, world.signed(&key, 0, 10));
    world.hand_in(0, 5, forged);
    let refused = world.nodes[0].not_taken.as_slice();
    assert!(
        matches!(
            refused,
            [
                SubmitError::Refused(Refusal::Insufficient { .. } | Refusal::Overflow),
                SubmitError::NotTaken(MempoolError::Stale { .. }),
                SubmitError::NotTaken(MempoolError::Wrong(_))
            ]
        ),
        "{refused:?}"
    );
    assert_eq!(world.nodes[0].machine.waiting_transactions(), 0);
}

#[test]
fn what_is_handed_in_and_waits_for_another_is_not_watched_for_ever() {
    let mut world = World::new(4, 60_000);
    world.run_until(START + 500);
    let key = account(3);
    world.hand_in(0, 1, world.signed(&key, 1, 20));
    world.run_until(START + 500 + WATCH_MILLIS + 1_000);
    assert_eq!(world.nodes[0].settled, [(Ticket(1), Outcome::Waiting)]);
}

#[test]
fn programs_that_know_a_later_version_bring_it_into_force_by_themselves() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 4_000);
    world.versions_known = 2;
    (0..4).for_each(|place| world.restart(place));
    world.run_until(START + 31_000);
    for node in &world.nodes {
        assert_eq!(views::protocol(&node.state).unwrap().active, 2);
    }
    assert_eq!(world.heights().len(), 1);
    let nonce = |place| views::account(&world.nodes[0].state, &AccountId(account(place).public())).unwrap().nonce;
    assert_eq!((0..4).map(nonce).collect::<Vec<_>>(), [1; 4], "each says it once");
}

#[test]
fn each_term_is_signed_with_keys_of_its_own_and_those_before_are_destroyed() {
    let mut world = World::new(4, 3_000);
    world.fresh_vote_keys = true;
    // Machines that make keys, in the place of those that were to be started.
    world.queue.clear();
    (0..4).for_each(|place| world.restart(place));
    let keys = |world: &World| {
        let committee = views::committee(&world.nodes[0].state).unwrap();
        committee.members().iter().map(|member| member.vote_key).collect::<BTreeSet<_>>()
    };
    let first = keys(&world);
    world.run_until(START + 31_500);
    let head = world.nodes[0].machine.head().clone();
    assert!(head.epoch >= Epoch(10), "ten epochs without a stop: {}", head.epoch);
    assert_eq!(world.heights().len(), 1);
    let now = keys(&world);
    assert_eq!((now.len(), now.intersection(&first).count()), (4, 0));
    for place in 0..4 {
        let kept = &world.vote_secrets[place];
        assert!(kept.len() <= 3, "what is in use, chosen and announced: {}", kept.len());
        assert!(!kept.contains(&[place as u8 + 150; 32]), "the first term's is gone");
    }
    // A node that comes back with what it has kept votes on; without it it observes, and is back with the next term's.
    world.restart(1);
    world.run_until(START + 34_500);
    assert_eq!(world.heights().len(), 1);
    assert!(!world.nodes[1].machine.is_behind());
}

impl World {
    /// Node `place` comes back with this state and journal, as a new process.
    fn come_back(&mut self, place: usize, state: MemoryState, journal: Vec<JournalEntry>, memory: Memory) {
        let before = std::mem::replace(&mut self.memory, memory);
        let machine = self.machine(place, &state);
        self.memory = before;
        let node = &mut self.nodes[place];
        (node.machine, node.state, node.journal, node.up) = (machine, state, journal.clone(), true);
        node.timers.clear();
        self.queue.push_back((place, Input::Started { journal }));
    }

    fn fresh(&self) -> MemoryState {
        let mut state = MemoryState::new();
        state.apply(&floe_ledger::begin(&self.genesis).unwrap());
        state
    }
}

#[test]
fn a_network_of_empty_directories_begins_and_says_that_memory_is_whole() {
    let mut world = World::with_memory(4, 3_000, Memory::Lost);
    world.run_until(START + 10_000);
    assert!(world.nodes[0].machine.head().epoch >= Epoch(4));
    assert_eq!(world.nodes.iter().map(|node| node.whole).collect::<Vec<_>>(), [1; 4]);
}

#[test]
fn a_network_begins_without_those_that_may_be_missing() {
    let mut world = World::with_memory(4, 3_000, Memory::Lost);
    world.nodes[2].up = false;
    world.run_until(START + 10_000);
    assert!(world.nodes[0].machine.head().epoch >= Epoch(3));
}

#[test]
fn a_node_with_an_empty_directory_votes_again_only_a_safe_distance_beyond_all_it_may_have_signed() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 10_100);
    world.nodes[3].up = false;
    let (voted, height) = (world.voted(3), world.nodes[0].machine.head().height.0);
    assert!(!voted.is_empty());
    let state = world.fresh();
    world.come_back(3, state, Vec::new(), Memory::Lost);
    world.run_until(START + 30_000);
    assert_eq!(world.heights().len(), 1, "it has caught up: {:?}", world.heights());
    let again: Vec<_> = world.voted(3).difference(&voted).copied().collect();
    assert!(again.iter().all(|at| *at > height + SAFE_DISTANCE), "{again:?} after {height}");
    assert!(!again.is_empty(), "it votes again");
    assert_eq!((world.nodes[3].whole, world.nodes[3].machine.votes_from()), (1, None));
}

#[test]
fn a_newcomer_that_is_started_again_and_again_still_gets_to_its_distance() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 10_100);
    world.nodes[3].up = false;
    let (voted, height) = (world.voted(3), world.nodes[0].machine.head().height.0);
    let state = world.fresh();
    world.come_back(3, state, Vec::new(), Memory::Lost);
    world.run_until(START + 12_000);
    let noted = world.nodes[3].lost_below.expect("others have said how far they are");
    assert!(noted.0 > height + SAFE_DISTANCE);
    while world.nodes[0].machine.head().height < noted.next() {
        let (state, journal) = (world.nodes[3].state.clone(), world.nodes[3].journal.clone());
        world.come_back(3, state, journal, Memory::LostBelow(noted));
        world.run_until(world.now + 2_000);
    }
    world.run_until(world.now + 4_000);
    let again: Vec<_> = world.voted(3).difference(&voted).copied().collect();
    assert!(again.iter().all(|at| *at >= noted.0), "{again:?} though noted {noted}");
    assert!(again.iter().any(|at| *at <= noted.0 + 2), "{again:?}, and not later and later: {noted}");
}

#[test]
fn a_node_that_begins_anew_destroys_no_key_on_the_word_of_a_ledger_of_long_ago() {
    let mut world = World::new(4, 3_000);
    world.fresh_vote_keys = true;
    world.queue.clear();
    (0..4).for_each(|place| world.restart(place));
    world.run_until(START + 31_500);
    let state = world.fresh();
    world.come_back(3, state, Vec::new(), Memory::Lost);
    world.run_until(START + 37_500);
    let committee = views::committee(&world.nodes[0].state).unwrap();
    let index = committee.index_of(&world.ids[3]).unwrap();
    let key = committee.member(index).unwrap().vote_key;
    let kept = |secret: &[u8; 32]| VoteKey(SecretKey::from_bytes(*secret).public()) == key;
    assert!(world.vote_secrets[3].iter().any(kept), "the key in office is still there");
    // It is needed and votes.
    world.nodes[2].up = false;
    let before = world.nodes[0].machine.head().epoch;
    world.run_until(START + 60_000);
    assert!(world.nodes[0].machine.head().epoch.0 > before.0 + 4, "{before}");
}

#[test]
fn an_older_copy_of_a_directory_is_found_out_by_the_votes_that_others_heard() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 4_000);
    let (state, journal) = (world.nodes[3].state.clone(), world.nodes[3].journal.clone());
    let copied_at = world.nodes[3].machine.head().height.0;
    world.run_until(START + 16_000);
    let (voted, height) = (world.voted(3), world.nodes[0].machine.head().height.0);
    assert!(voted.iter().any(|at| *at > copied_at + 1));
    world.come_back(3, state, journal, Memory::Kept);
    world.run_until(START + 16_200);
    assert!(world.nodes[3].machine.votes_from().is_some_and(|from| from.0 > height), "it knows that it must not vote");
    world.run_until(START + 40_000);
    let again: Vec<_> = world.voted(3).difference(&voted).copied().collect();
    assert!(again.iter().all(|at| *at > height + SAFE_DISTANCE), "{again:?} after {height}");
    assert!(!again.is_empty() && world.nodes[3].machine.votes_from().is_none());
}

#[test]
fn a_directory_that_is_whole_votes_again_as_soon_as_one_honest_member_has_answered() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 4_000);
    let (state, journal) = (world.nodes[3].state.clone(), world.nodes[3].journal.clone());
    let voted = world.voted(3);
    world.come_back(3, state, journal, Memory::Kept);
    world.run_until(START + 6_500);
    assert!(world.voted(3).len() > voted.len());
    assert!(!world.nodes[3].machine.is_asking());
}

#[test]
fn a_node_far_behind_or_behind_what_others_keep_asks_for_a_snapshot_once() {
    let mut world = World::new(4, 3_000);
    world.run_until(START + 3_500);
    world.nodes[3].up = false;
    let state = world.nodes[3].state.clone();
    world.run_until(START + 40_000);
    assert!(world.nodes[0].machine.head().height.0 > 30);
    world.come_back(3, state, Vec::new(), Memory::Certain);
    world.run_until(START + 45_000);
    assert_eq!((world.nodes[3].far_behind, world.heights().len()), (1, 1), "blocks are taken all the same");

    world.nodes[3].up = false;
    let state = world.nodes[3].state.clone();
    world.run_until(START + 49_000);
    world.oldest = world.nodes[0].machine.head().height;
    let before = world.nodes[3].far_behind;
    world.come_back(3, state, Vec::new(), Memory::Certain);
    world.run_until(START + 49_900);
    assert_eq!(world.nodes[3].far_behind - before, 1, "the blocks that come next are gone");
}

#[test]
fn a_duty_handed_over_again_is_sent_again_and_waits_once() {
    let mut world = World::new(4, 60_000);
    world.run_until(START + 100);
    let (member, epoch) = (world.ids[0], Epoch(1));
    let commit = |byte: u8| Action::Commit { member, epoch, root: floe_ledger::Root([byte; 32]) };
    let mut say = |action: Action| {
        let node = &mut world.nodes[0];
        let effects = node.machine.step(START + 100, &node.state, Input::Duty { action }).unwrap();
        let sent = |effect: &Effect| matches!(effect, Effect::Publish { topic: Topic::Transactions, .. });
        (effects.iter().filter(|effect| sent(effect)).count(), node.machine.waiting_transactions())
    };
    assert_eq!(say(commit(1)), (1, 1));
    assert_eq!(say(commit(1)), (1, 1));
    assert_eq!(say(commit(2)), (0, 1), "another word of the same member is not taken");
    assert_eq!(say(Action::Transfer { to: AccountId([9; 32]), amount: Frost(1) }), (0, 1), "that is no duty");
}
