//! What the ledger costs as it grows: speed of blocks, bytes of state, time of a boundary, from 10^3 blobs up.
//!
//! `cargo run --release -p floe-ledger --features synthetic --example curve -- 1000000`
//!
//! Every figure is time of this thread on a processor, which a busy machine spoils less than a clock does; on two threads that
//! share a core it is still up to twice what an idle machine shows. The best of a few runs is printed. The first argument is
//! the largest number of blobs; 10^7 takes about 10 GB of memory. A second one names the only part that is wanted: `sizes`, `withdrawn`,
//! `speed`, `questions` or `certificates`; a third one the only kind of block.
#![allow(clippy::unwrap_used, reason = "a command that prints figures")]

use floe_ledger::challenges::{self, Aim, Question, Questions, Seed, Slot};
use floe_ledger::synthetic::{self, BLOB_BYTES};
use floe_ledger::*;
use floe_types::bls::aggregate;
use floe_types::keys::SecretKey;
use floe_types::params::BLOCK_BYTES_MAX;
use floe_types::{AccountId, BlockTime, Epoch, Frost, MemberIndex, NodeId, RegistrationNumber, SequenceNumber};

/// As the node has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Nanoseconds this thread has had of a processor.
fn processor_nanos() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

/// Seconds that one of `runs` takes on average: the best of a few rounds of at least a tenth of a second each, because the
/// system counts in ticks of a few milliseconds.
fn best<T>(rounds: usize, mut work: impl FnMut() -> T) -> f64 {
    let mut round = |_| {
        let (began, mut runs) = (processor_nanos(), 0u32);
        loop {
            std::hint::black_box(work());
            runs += 1;
            let took = processor_nanos() - began;
            if took > 100_000_000 {
                return took as f64 / 1e9 / f64::from(runs);
            }
        }
    };
    (0..rounds).map(&mut round).fold(f64::MAX, f64::min)
}

const USERS: usize = 2_000;
const FEE: Frost = Frost(10_000);

struct Bench {
    context: Context,
    state: MemoryState,
    proposer: NodeId,
}

impl Bench {
    fn new(shards: u16, members: usize) -> Bench {
        let genesis = synthetic::genesis(shards, members, USERS);
        let (context, state) = synthetic::founded(&genesis).unwrap();
        Bench { context, state, proposer: genesis.members[0].node }
    }

    /// The block that ends the running epoch and does nothing else.
    fn boundary(&self) -> Executed {
        let head = views::head(&self.state).unwrap();
        let time = head.epoch_ends(&self.context.params);
        build_block(&self.state, &self.context, self.proposer, time, vec![]).unwrap()
    }

    fn sign(&self, key: &SecretKey, nonce: u64, action: Action) -> CheckedTransaction {
        let (network, sender) = (self.context.network, AccountId(key.public()));
        let signed = Transaction { network, sender, nonce, fee: FEE, action }.sign(key);
        signed.check(&self.context.network).unwrap()
    }

    /// Fills blocks with what `action` makes for each number, and tells how many a second are checked as somebody else's,
    /// with every signature verified and when all are known already.
    fn blocks(&self, name: &str, count: usize, key: impl Fn(usize) -> SecretKey, action: impl Fn(usize) -> Action) {
        if std::env::args().nth(3).is_some_and(|wanted| wanted != name) {
            return;
        }
        let mut nonces = std::collections::BTreeMap::new();
        let sign = |at: usize| {
            let key = key(at);
            let account = AccountId(key.public());
            let next = nonces.entry(account).or_insert_with(|| views::account(&self.state, &account).unwrap().nonce);
            *next += 1;
            self.sign(&key, *next - 1, action(at))
        };
        let all: Vec<_> = (0..count).map(sign).collect();
        let now = BlockTime(views::head(&self.state).unwrap().time.0 + 1);
        let built = build_block(&self.state, &self.context, self.proposer, now, all).unwrap();
        assert_eq!(built.refused, vec![]);
        let bytes = built.block.encode();
        let count = built.block.transactions.len();
        let check = |memo: &memo::Memo| {
            let context = Context { memo: memo.clone(), ..self.context.clone() };
            let block = Block::decode(&bytes).unwrap();
            execute_decided(&self.state, &context, block).unwrap()
        };
        let fresh = best(3, || check(&memo::Memo::default()));
        let memo = memo::Memo::default();
        check(&memo);
        let known = best(3, || check(&memo));
        let rate = |took: f64| count as f64 / took;
        println!("{name:>16}: {count:5} in a block, {:>7.0} a second, {:>7.0} when known", rate(fresh), rate(known));
        assert!(bytes.len() <= BLOCK_BYTES_MAX);
    }
}

fn run(first: u64, last: u64) -> Run {
    Run { first: SequenceNumber(first), last: SequenceNumber(last) }
}

/// Blocks on a state with `count` blobs, a tenth of which one member lacks.
fn speed(count: u64) {
    let mut bench = Bench::new(100, 25);
    let all: RowSet = (0..100).map(RowId).collect();
    let lacking: RowSet = (4..100).map(RowId).collect();
    let covering = |at: u64| if at.is_multiple_of(10) { lacking.clone() } else { all.clone() };
    synthetic::store(&mut bench.state, &bench.context, count, covering, |_| Epoch(9)).unwrap();
    println!("blocks on {count} blobs, 25 members:");
    let user = |at: usize| synthetic::user(at % USERS);
    let to = |at: usize| AccountId(synthetic::user(at % 977).public());
    bench.blocks("transfers", 8_000, user, |at| Action::Transfer { to: to(at), amount: Frost(1) });
    bench.blocks("registrations", 8_000, user, |at| Action::Register {
        blob: synthetic::blob(1 << 40 | at as u64),
        length: BLOB_BYTES,
        first: Epoch(1),
        last: Epoch(9),
        price_max: Frost(u64::MAX),
        persistence: Persistence::Permanent,
        attributes: Attributes::default(),
    });
    bench.blocks("extensions", 8_000, user, |at| Action::Extend {
        registration: RegistrationNumber(1 + (at as u64 * 7_919) % count),
        last: Epoch(10 + at as u64 / count),
        price_max: Frost(u64::MAX),
    });
    let committee = views::committee(&bench.state).unwrap();
    let member = committee.members()[0].node;
    let shards: ShardSet = committee.members()[0].shards.iter().copied().collect();
    let attested = (count as usize / 10).min(8_000);
    bench.blocks(
        "attestations",
        attested,
        |_| synthetic::member_key(0),
        |at| Action::Attest { member, shards: shards.clone(), runs: vec![run(at as u64 * 10, at as u64 * 10)] },
    );
}

fn certificates(members: usize) {
    const COUNT: u64 = 256;
    let mut bench = Bench::new(1_000, members);
    let register = |at: u64| {
        bench.sign(
            &synthetic::user(0),
            at,
            Action::Register {
                blob: synthetic::blob(at),
                length: BLOB_BYTES,
                first: Epoch(1),
                last: Epoch(9),
                price_max: Frost(u64::MAX),
                persistence: Persistence::Permanent,
                attributes: Attributes::default(),
            },
        )
    };
    let now = BlockTime(views::head(&bench.state).unwrap().time.0 + 1);
    let registered = (0..COUNT).map(register).collect();
    let built = build_block(&bench.state, &bench.context, bench.proposer, now, registered).unwrap();
    bench.state.apply(&built.changes);
    let signers = members - members / 4;
    let certify = |at: usize| {
        let (registration, blob) = (RegistrationNumber(at as u64 + 1), synthetic::blob(at as u64));
        let message = confirmation_message(&bench.context.network, 1, registration, &blob, 1);
        let signatures: Vec<_> = (0..signers).map(|at| synthetic::confirmation_key(at).sign(&message)).collect();
        let signed: MemberSet = (0..signers as u16).map(MemberIndex).collect();
        let signature = aggregate(&signatures).unwrap();
        Action::Certify { blob, registration, version: 1, members: signed, signature }
    };
    print!("{members:4} members, ");
    // The first figure includes decoding the committee's keys, which is done once a term.
    bench.blocks("certificates", 256, |_| synthetic::user(0), certify);
}

/// The state's bytes for a blob, and what a boundary costs.
fn sizes(count: u64) {
    for (name, gaps) in [("healthy", false), ("1 % with gaps", true)] {
        if gaps && count > 1_000_000 {
            continue;
        }
        let mut bench = Bench::new(1_000, 100);
        let before: usize = bench.state.entries().map(|(key, value)| key.len() + value.len()).sum();
        let all: RowSet = (0..1_000).map(RowId).collect();
        let covering = |at: u64| {
            let noise = at.wrapping_mul(0xd134_2543_de82_ef95) >> 20;
            // A gap of its own: three rows that no other blob lacks together.
            let gap = (0..3).map(|part| RowId(((noise >> (10 * part)) % 1_000) as u32)).collect();
            if gaps && at % 100 == 7 { all.difference(&gap) } else { all.clone() }
        };
        let began = processor_nanos();
        synthetic::store(&mut bench.state, &bench.context, count, covering, |_| Epoch(9)).unwrap();
        let build = (processor_nanos() - began).max(1) as f64 / 1e9;
        let after: usize = bench.state.entries().map(|(key, value)| key.len() + value.len()).sum();
        let mut tables: std::collections::BTreeMap<u8, usize> = std::collections::BTreeMap::new();
        for (key, value) in bench.state.entries() {
            *tables.entry(key[0]).or_default() += key.len() + value.len();
        }
        // The first boundary has no epoch before it to compare with. From the second on all is as it will be.
        for _ in 0..2 {
            synthetic::attend(&mut bench.state, 0).unwrap();
            let built = bench.boundary();
            bench.state.apply(&built.changes);
        }
        synthetic::attend(&mut bench.state, 0).unwrap();
        let mut classes = 0;
        let took = best(3, || classes = bench.boundary().block.header.boundary.unwrap().tally.classes);
        println!(
            "{count:>9} blobs {name:>14}: {:>4} bytes a blob, boundary {:>8.2} ms, {classes:>6} classes, stored at {:>6.0} a second",
            (after - before) as u64 / count,
            took * 1e3,
            count as f64 / build
        );
        if count == 100_000 && !gaps {
            let part = |(table, bytes): (&u8, &usize)| format!("{table}: {}", *bytes as u64 / count);
            println!(
                "          by table: {}",
                tables.iter().filter(|(_, bytes)| **bytes > 100_000).map(part).collect::<Vec<_>>().join(", ")
            );
        }
    }
}

/// One member withdraws every second of `count` blobs: the boundary that makes it count, and those after it.
fn withdrawn(count: u64) {
    const RUNS: u64 = 256;
    let mut bench = Bench::new(1_000, 100);
    let all: RowSet = (0..1_000).map(RowId).collect();
    synthetic::store(&mut bench.state, &bench.context, count, |_| all.clone(), |_| Epoch(9)).unwrap();
    let committee = views::committee(&bench.state).unwrap();
    let member = &committee.members()[0];
    let (node, shards): (_, ShardSet) = (member.node, member.shards.iter().copied().collect());
    let key = synthetic::member_key(0);
    let withdraw = |nonce: u64| {
        let numbers = (nonce * RUNS..count / 2).take(RUNS as usize);
        let runs = numbers.map(|at| run(2 * at, 2 * at)).collect();
        let action = Action::Withdraw { member: node, shards: shards.clone(), runs };
        let (network, sender) = (bench.context.network, AccountId(key.public()));
        let fee = Frost(100_000_000);
        Transaction { network, sender, nonce, fee, action }.sign(&key).check(&bench.context.network).unwrap()
    };
    let all: Vec<_> = (0..(count / 2).div_ceil(RUNS)).map(withdraw).collect();
    for candidates in all.chunks(100) {
        let now = BlockTime(views::head(&bench.state).unwrap().time.0 + 1);
        let built = build_block(&bench.state, &bench.context, bench.proposer, now, candidates.to_vec()).unwrap();
        assert_eq!((built.refused.len(), built.block.transactions.len()), (0, candidates.len()));
        bench.state.apply(&built.changes);
    }
    print!("{count:>9} blobs, every second withdrawn:");
    for _ in 0..4 {
        let head = views::head(&bench.state).unwrap();
        let boundary = BlockTime(head.epoch_began.0 + bench.context.params.epoch_millis);
        let began = processor_nanos();
        let built = build_block(&bench.state, &bench.context, bench.proposer, boundary, vec![]).unwrap();
        print!(" {:.2} ms", (processor_nanos() - began) as f64 / 1e6);
        bench.state.apply(&built.changes);
    }
    println!();
}

/// What it costs to draw a question about a member that covers all, a tenth and a hundredth of `count` blobs.
fn questions(count: u64) {
    let mut bench = Bench::new(1_000, 100);
    // Ten rows a member.
    let rows = |least: u32| (least..1_000).map(RowId).collect::<RowSet>();
    let (all, tenth, rest) = (rows(0), rows(10), rows(20));
    let covering = |at: u64| match at {
        at if at.is_multiple_of(100) => all.clone(),
        at if at.is_multiple_of(10) => tenth.clone(),
        _ => rest.clone(),
    };
    synthetic::store(&mut bench.state, &bench.context, count, covering, |_| Epoch(9)).unwrap();
    let boundary = BlockTime(views::head(&bench.state).unwrap().time.0 + bench.context.params.epoch_millis);
    let built = build_block(&bench.state, &bench.context, bench.proposer, boundary, vec![]).unwrap();
    bench.state.apply(&built.changes);
    let committee = views::committee(&bench.state).unwrap();
    let beacon = challenges::beacon(&bench.state).unwrap();
    let seed = Seed::make(&bench.context.network, &beacon, &synthetic::confirmation_key(9));
    let made = best(3, || Questions::of(&bench.state, &committee).unwrap());
    print!("{count:>9} blobs: questions of an epoch {:.0} us;", made * 1e6);
    let questions = Questions::of(&bench.state, &committee).unwrap();
    for (target, covers) in [(50, "all"), (1, "a tenth"), (0, "a hundredth")] {
        let mut at = 0u16;
        let mut draw = || {
            at = at.wrapping_add(1);
            let aim = Aim { slot: Slot((at % 6) as u8), target: MemberIndex(target), at };
            questions.draw(&seed, &aim).unwrap()
        };
        let took = best(3, &mut draw);
        let chunks = (0..1_000).filter(|_| draw() != Question::Presence).count();
        print!(" covering {covers} {:.1} us, {chunks} in 1,000 for bytes;", took * 1e6);
    }
    println!();
}

fn main() {
    let most = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let sizes_of = [1_000, 10_000, 100_000, 1_000_000, 10_000_000].into_iter().filter(|count| *count <= most);
    let all: Vec<u64> = sizes_of.collect();
    let part = std::env::args().nth(2);
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    let within = |most: u64| all.iter().copied().filter(move |count| *count <= most);
    if wanted("sizes") {
        within(u64::MAX).for_each(sizes);
    }
    if wanted("withdrawn") {
        within(1_000_000).for_each(withdrawn);
    }
    if wanted("speed") {
        within(1_000_000).for_each(speed);
    }
    if wanted("questions") {
        within(1_000_000).for_each(questions);
    }
    if wanted("certificates") {
        [7, 100].into_iter().for_each(certificates);
    }
}
