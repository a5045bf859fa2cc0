//! A network of seven nodes with four shards each, three users with money, and a clock that tests turn.

use crate::challenges::{Seed, Timetable};
use crate::*;
use floe_types::bls::{BlsSecretKey, BlsSignature, aggregate};
use floe_types::committee::{Member, deal};
use floe_types::genesis::{Genesis, GenesisAccount, PROTOCOL_VERSION};
use floe_types::keys::SecretKey;
use floe_types::params::{SLOTS, challenges_per_slot};
use floe_types::{
    AccountId, BlobId, BlockTime, Epoch, Frost, MemberIndex, NodeId, Params, RegistrationNumber, ShardIndex, VoteKey,
};

pub const NODES: usize = 7;
pub const START: u64 = 1_700_000_000_000;
pub const EPOCH: u64 = 10_000;
/// Bytes of the blobs in tests: 43 encoded mebibytes in a network of 28 shards.
pub const LENGTH: u64 = 10 << 20;
pub const FEE: Frost = Frost(5_000);
pub const RICH: Frost = Frost(1_000_000_000_000);

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

pub fn user(seed: u8) -> AccountId {
    AccountId(key(seed).public())
}

/// The secret of node `at`'s confirmations. Nodes are named so that their place in the committee is `at`.
pub fn bls(at: usize) -> BlsSecretKey {
    BlsSecretKey::from_seed([at as u8 + 1; 32])
}

pub fn node(at: usize) -> NodeId {
    NodeId([at as u8 + 1; 32])
}

/// The key of node `at`'s account.
pub fn node_key(at: usize) -> SecretKey {
    key(100 + at as u8)
}

pub fn params() -> Params {
    Params { fee_per_byte: Frost(1), closing_millis: 2_000, ..Params::devnet(28, EPOCH) }
}

pub fn genesis() -> Genesis {
    genesis_of(deal(28, NODES))
}

/// Seats dealt so that thresholds are met and missed by a single shard: 9, 1, 9, 1, 3, 3, 2 of 28, with `f` = 9.
pub fn uneven() -> Genesis {
    let mut next = 0..28u16;
    genesis_of([9, 1, 9, 1, 3, 3, 2].map(|seats| next.by_ref().take(seats).map(ShardIndex).collect()).to_vec())
}

fn genesis_of(seats: Vec<Vec<ShardIndex>>) -> Genesis {
    let member = |(at, shards): (usize, Vec<_>)| Member {
        node: node(at),
        name: format!("node-{}", at + 1),
        account: AccountId(node_key(at).public()),
        vote_key: VoteKey([at as u8 + 200; 32]),
        bls_key: bls(at).public(),
        possession: bls(at).prove_possession(),
        addresses: vec!["/ip4/127.0.0.1/tcp/1".to_owned()],
        domain: String::new(),
        capacity_bytes: 1 << 40,
        shards,
    };
    let members = seats.into_iter().enumerate().map(member).collect();
    let nodes = (0..NODES).map(|at| AccountId(node_key(at).public()));
    let mut accounts: Vec<_> = (1..=3).map(user).chain(nodes).collect();
    accounts.sort();
    let accounts = accounts.into_iter().map(|account| GenesisAccount { account, balance: RICH }).collect();
    Genesis {
        version: PROTOCOL_VERSION,
        name: "test".into(),
        time: BlockTime(START),
        params: params(),
        accounts,
        members,
        parent: None,
    }
}

pub fn blob(seed: u8) -> BlobId {
    BlobId([seed; 32])
}

/// The seats of node `at` in the even committee.
pub fn seats(at: usize) -> ShardSet {
    deal(28, NODES).into_iter().nth(at).into_iter().flatten().collect()
}

/// The first `count` rows of the first committee: those of the first shards.
pub fn rows_below(count: u32) -> RowSet {
    (0..count).map(RowId).collect()
}

pub fn members(places: impl IntoIterator<Item = usize>) -> MemberSet {
    places.into_iter().map(|at| MemberIndex(at as u16)).collect()
}

/// A ledger that tests drive. Every block it makes is also checked on a second state and executed there.
#[derive(Clone)]
pub struct World {
    pub context: Context,
    pub state: MemoryState,
    twin: MemoryState,
    pub now: BlockTime,
    pub blocks: Vec<Block>,
}

impl World {
    pub fn new() -> World {
        World::of(&genesis())
    }

    pub fn of(genesis: &Genesis) -> World {
        let mut state = MemoryState::new();
        state.apply(&begin(genesis).unwrap());
        World::at(Context::of(genesis), state, BlockTime(START))
    }

    /// A world that begins with `state`. Its blobs are names that nobody encoded, so that reports show nothing of them.
    pub fn at(mut context: Context, state: MemoryState, now: BlockTime) -> World {
        context.answers = crate::execute::Answers::Waived;
        World { context, twin: state.clone(), state, now, blocks: Vec::new() }
    }

    pub fn epoch(&self) -> Epoch {
        views::head(&self.state).unwrap().epoch
    }

    pub fn sign(&self, key: &SecretKey, nonce: u64, fee: Frost, action: Action) -> SignedTransaction {
        let (network, sender) = (self.context.network, AccountId(key.public()));
        Transaction { network, sender, nonce, fee, action }.sign(key)
    }

    /// A transaction with the sender's next nonce and a sufficient fee; a report with neither.
    pub fn by(&self, key: &SecretKey, action: Action) -> CheckedTransaction {
        let nonce = views::account(&self.state, &AccountId(key.public())).unwrap().nonce;
        let (nonce, fee) = if action.is_report() { (0, Frost::ZERO) } else { (nonce, FEE) };
        self.sign(key, nonce, fee, action).check(&self.context.network).unwrap()
    }

    /// Builds a block a moment later without keeping it.
    pub fn build(&self, candidates: Vec<CheckedTransaction>) -> Executed {
        let proposer = views::committee(&self.state).unwrap().members()[0].node;
        build_block(&self.state, &self.context, proposer, BlockTime(self.now.0 + 10), candidates).unwrap()
    }

    /// Makes a block, checks it on the twin, and applies it to both.
    pub fn block(&mut self, candidates: Vec<CheckedTransaction>) -> Executed {
        let built = self.build(candidates);
        self.now = built.block.header.time;
        let decoded = Block::decode(&built.block.encode()).unwrap();
        let checked = check_block(&self.twin, &self.context, decoded, self.now).unwrap();
        assert_eq!((&checked.changes, checked.id, &checked.events), (&built.changes, built.id, &built.events));
        self.state.apply(&built.changes);
        self.twin.apply(&checked.changes);
        conservation(&self.state).unwrap();
        self.blocks.push(built.block.clone());
        built
    }

    /// Executes one action, which must apply.
    pub fn act(&mut self, key: &SecretKey, action: Action) -> Vec<Event> {
        let executed = self.block(vec![self.by(key, action)]);
        assert_eq!(executed.refused, vec![]);
        executed.events
    }

    /// Why an action does not apply, in a block a moment later.
    pub fn refusal(&self, key: &SecretKey, action: Action) -> Refusal {
        let executed = self.build(vec![self.by(key, action)]);
        executed.refused.into_iter().next().expect("the action applies").1
    }

    pub fn register_action(&self, blob: BlobId, epochs: u64) -> Action {
        let first = self.epoch();
        Action::Register {
            blob,
            length: LENGTH,
            first,
            last: Epoch(first.0 + epochs - 1),
            price_max: RICH,
            persistence: Persistence::Permanent,
            attributes: Attributes::default(),
        }
    }

    /// Registers as user 1; gives the number.
    pub fn register(&mut self, blob: BlobId, epochs: u64) -> RegistrationNumber {
        let action = self.register_action(blob, epochs);
        self.act(&key(1), action)
            .into_iter()
            .find_map(|event| match event {
                Event::Registered { registration, .. } => Some(registration),
                _ => None,
            })
            .unwrap()
    }

    pub fn confirm(&self, blob: BlobId, number: RegistrationNumber, places: &[usize]) -> BlsSignature {
        let term = views::committee(&self.state).unwrap().term();
        let message = confirmation_message(&self.context.network, term, number, &blob, 1);
        let signatures: Vec<_> = places.iter().map(|at| bls(*at).sign(&message)).collect();
        aggregate(&signatures).unwrap()
    }

    pub fn certify_action(&self, blob: BlobId, registration: RegistrationNumber, places: &[usize]) -> Action {
        let signature = self.confirm(blob, registration, places);
        Action::Certify { blob, registration, version: 1, members: members(places.iter().copied()), signature }
    }

    /// Registers and certifies.
    pub fn store(&mut self, blob: BlobId, epochs: u64, places: &[usize]) -> RegistrationNumber {
        let number = self.register(blob, epochs);
        let action = self.certify_action(blob, number, places);
        self.act(&key(1), action);
        number
    }

    /// What the member with this key would say, when it saw `answered` hold in every slot.
    pub fn report_of(&self, member: NodeId, bls: &BlsSecretKey, answered: &MemberSet) -> Report {
        let beacon = challenges::beacon(&self.state).unwrap();
        let members = views::committee(&self.state).unwrap().members().len();
        let all = challenges_per_slot(members) * u16::from(SLOTS);
        let passed = |at| if answered.contains(MemberIndex(at as u16)) { all } else { 0 };
        Report {
            member,
            epoch: self.epoch(),
            seed: *Seed::make(&self.context.network, &beacon, bls).signature(),
            held: std::array::from_fn(|_| Some(answered.clone())),
            passed: (0..members).map(passed).collect(),
            accusations: Vec::new(),
            reasks: Vec::new(),
            shown: Vec::new(),
        }
    }

    pub fn report_action(&self, reporter: usize, answered: impl IntoIterator<Item = usize>) -> Action {
        Action::Report(Box::new(self.report_of(node(reporter), &bls(reporter), &members(answered))))
    }

    pub fn commit_action(&self, reporter: usize) -> Action {
        Action::Commit { member: node(reporter), epoch: self.epoch(), root: Root([reporter as u8; 32]) }
    }

    /// Moves the clock into the closing of the running epoch.
    pub fn enter_closing(&mut self) {
        let head = views::head(&self.state).unwrap();
        self.now = self.now.max(head.closing_begins(&self.context.params));
    }

    /// Moves the clock to the middle of the closing, and makes the block that is the draw.
    pub fn draw(&mut self) {
        let head = views::head(&self.state).unwrap();
        self.now = self.now.max(Timetable::of(&self.context.params, head.epoch_began).middle());
        self.block(Vec::new());
    }

    /// The closing of the running epoch: what these commit to, the draw, what they report.
    pub fn close(&mut self, commits: Vec<CheckedTransaction>, reports: Vec<CheckedTransaction>) {
        if reports.is_empty() {
            return;
        }
        self.enter_closing();
        assert_eq!(self.block(commits).refused, vec![]);
        self.draw();
        assert_eq!(self.block(reports).refused, vec![]);
    }

    /// The closing in which all `present` nodes report each other as present.
    pub fn report(&mut self, present: &[usize]) {
        let commits = present.iter().map(|at| self.by(&node_key(*at), self.commit_action(*at))).collect();
        let reports =
            present.iter().map(|at| self.by(&node_key(*at), self.report_action(*at, present.iter().copied())));
        let reports = reports.collect();
        self.close(commits, reports);
    }

    /// Ends the epoch: all `present` nodes report each other as present, then the boundary block.
    pub fn end_epoch(&mut self, present: &[usize]) -> EpochRecord {
        self.report(present);
        self.boundary(Vec::new());
        let ended = Epoch(self.epoch().0 - 1);
        views::epoch_record(&self.state, ended).unwrap().unwrap()
    }

    /// Makes the boundary block, with these candidates behind the boundary.
    pub fn boundary(&mut self, candidates: Vec<CheckedTransaction>) -> Executed {
        let head = views::head(&self.state).unwrap();
        self.now = self.now.max(head.epoch_ends(&self.context.params));
        let executed = self.block(candidates);
        assert!(executed.block.header.boundary.is_some());
        executed
    }

    /// Changes the state on both nodes as no block does: for what no transaction can bring about yet.
    pub fn meddle(&mut self, changes: &ChangeSet) {
        self.state.apply(changes);
        self.twin.apply(changes);
    }

    pub fn verdict(&self, blob: BlobId, epoch: u64) -> Option<Verdict> {
        views::verdict(&self.state, &blob, Epoch(epoch)).unwrap().map(|record| record.verdict)
    }
}

pub const ALL: [usize; NODES] = [0, 1, 2, 3, 4, 5, 6];
