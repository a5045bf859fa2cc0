//! What challenges cost: bytes on the wire, time beyond reading, and an epoch of them. `cargo bench -p floe-machines`
//!
//! Everything is real: encodings, openings of a blob that was encoded, signatures of ed25519 and BLS, the draw over a state of a
//! hundred thousand blobs, and blocks of commitments and reports that the ledger executes. Only bytes come from memory. Each
//! figure stands beside what was promised at a hundred members; the program fails when one is missed.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a benchmark")]

use floe_erasure::{Axis, Layout, MemorySink, Options, chunk_count, encode, nth_chunk};
use floe_ledger::challenges::{
    ANSWER_BYTES_MAX, Aim, Question, Questions, Sample, Seed, Slip, Slot, Timetable, beacon,
};
use floe_ledger::reports::{Report, SHOWN_MAX};
use floe_ledger::transaction::{SignedTransaction, Transaction};
use floe_ledger::{
    Action, CheckedTransaction, Context, MemberSet, MemoryState, Root, RowId, RowSet, build_block, execute_decided,
    memo, synthetic, views,
};
use floe_machines::challenges::{KeptHashes, SliverKey, show};
use floe_machines::fragments::{
    ConfirmationRecord, FragmentKey, FragmentRecord, FragmentStore, StagedFragment, StoreError,
};
use floe_machines::wire::challenge::{Observation, Reply, Request, SignedObservation};
use floe_types::keys::SecretKey;
use floe_types::params::{SLOTS, challenges_per_slot};
use floe_types::{
    AccountId, BlobId, BlockTime, Epoch, Frost, MemberIndex, NetworkId, NodeId, PairIndex, RegistrationNumber,
    SequenceNumber, ShardIndex,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Time that this thread was on a core, where the system says so: other programs are not measured.
struct Clock {
    began: Instant,
    worked: Option<Duration>,
}

impl Clock {
    fn start() -> Clock {
        Clock { worked: worked(), began: Instant::now() }
    }

    fn elapsed(&self) -> Duration {
        match worked().zip(self.worked) {
            Some((now, before)) => now - before,
            None => self.began.elapsed(),
        }
    }
}

fn worked() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// The least of some runs: the others were disturbed.
fn best(run: impl Fn() -> Duration) -> Duration {
    (0..7).map(|_| run()).min().unwrap_or_default()
}

/// One blob's fragments in memory.
struct Shelf {
    blob: BlobId,
    length: u64,
    proofs: Vec<Vec<u8>>,
    fragments: Vec<Vec<u8>>,
}

impl Shelf {
    fn of(shards: u16, length: u64) -> Shelf {
        let source: Vec<u8> = (0..length).map(|at| ((at * 2_654_435_761) >> 7) as u8).collect();
        let layout = Layout::new(shards, length).unwrap();
        let sink = MemorySink::new(layout.encoded_bytes() as usize);
        let encoded = encode(&source, length, shards, &sink, &Options::default()).unwrap();
        let pairs = (0..shards).map(PairIndex);
        let proofs = pairs.clone().map(|pair| encoded.proof(pair).encode()).collect();
        let copy = |pair| sink.copy(encoded.fragment_offset(pair), layout.fragment_bytes() as usize).unwrap();
        let fragments = pairs.map(copy).collect();
        Shelf { blob: encoded.blob_id(), length, proofs, fragments }
    }
}

fn unused<T>() -> Result<T, StoreError> {
    Err(StoreError::Io("only read".to_owned()))
}

impl FragmentStore for Shelf {
    fn record(&self, blob: &BlobId, pair: PairIndex) -> Result<Option<FragmentRecord>, StoreError> {
        Ok(Some(FragmentRecord {
            key: FragmentKey { group: Epoch(50), blob: *blob, pair },
            registration: RegistrationNumber(1),
            blob_bytes: self.length,
            proof: self.proofs[usize::from(pair.0)].clone(),
        }))
    }

    fn read_at(&self, record: &FragmentRecord, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let bytes = &self.fragments[usize::from(record.key.pair.0)];
        buffer.copy_from_slice(&bytes[offset as usize..offset as usize + buffer.len()]);
        Ok(())
    }

    fn stage(&self, _: FragmentKey, _: u64) -> Result<Box<dyn StagedFragment>, StoreError> {
        unused()
    }

    fn keep(&self, _: Vec<(FragmentRecord, Box<dyn StagedFragment>)>) -> Result<(), StoreError> {
        unused()
    }

    fn records_after(&self, _: Option<FragmentKey>, _: usize) -> Result<Vec<FragmentRecord>, StoreError> {
        unused()
    }

    fn keep_confirmation(&self, _: &ConfirmationRecord) -> Result<(), StoreError> {
        unused()
    }

    fn confirmations_after(
        &self,
        _: Option<RegistrationNumber>,
        _: usize,
    ) -> Result<Vec<ConfirmationRecord>, StoreError> {
        unused()
    }

    fn discard(&self, _: &FragmentKey) -> Result<(), StoreError> {
        unused()
    }

    fn drop_groups(&self, _: Epoch) -> Result<u64, StoreError> {
        unused()
    }
}

/// What a node keeps of slivers that it was asked about before: reading them is not what is measured.
#[derive(Default)]
struct Hashes(RefCell<BTreeMap<SliverKey, floe_erasure::SliverHashes>>);

impl KeptHashes for Hashes {
    fn hashes(&self, _: &Layout, sliver: &SliverKey) -> Option<floe_erasure::SliverHashes> {
        self.0.borrow().get(sliver).cloned()
    }

    fn keep(&self, sliver: &SliverKey, (_, hashes): (&Layout, &floe_erasure::SliverHashes)) {
        self.0.borrow_mut().insert(*sliver, hashes.clone());
    }
}

/// The figures, and whether all are as promised.
struct Figures(bool);

impl Figures {
    fn say(&mut self, what: &str, found: String, good: bool) {
        println!("{} {what}: {found}", if good { "met   " } else { "MISSED" });
        self.0 &= good;
    }
}

/// What one challenge costs.
struct Cost {
    bytes_mean: f64,
    bytes_max: usize,
    each: Duration,
    /// Of that, checking the answer.
    check: Duration,
}

fn key(at: u8) -> SecretKey {
    SecretKey::from_bytes([at; 32])
}

/// A question about each of some places of `shelf`, evenly over both slivers of a shard.
fn questions(shelf: &Shelf, shards: u16) -> Vec<Slip> {
    let layout = Layout::new(shards, shelf.length).unwrap();
    let ends = (NodeId(key(1).public()), NodeId(key(2).public()));
    let mut slips = Vec::new();
    for axis in [Axis::Primary, Axis::Secondary] {
        let count = chunk_count(&layout, axis);
        for at in (0..count).step_by((count as usize / 200).max(1)) {
            let place = nth_chunk(&layout, axis, at).unwrap();
            let sample = Sample {
                number: SequenceNumber(at),
                blob: shelf.blob,
                length: shelf.length,
                shard: ShardIndex(3),
                axis,
                symbol: place.symbol,
                chunk: place.part,
            };
            let aim = Aim { slot: Slot(2), target: MemberIndex(7), at: 0 };
            slips.push(Slip::drawn(Epoch(77), &aim, ends, Question::Chunk(sample)));
        }
    }
    slips
}

/// One challenge from the slip to the checked answer, on both sides.
fn exchange(network: &NetworkId, shards: u16, slip: &Slip, (shelf, kept): (&Shelf, &Hashes)) -> usize {
    let request = Request::of(*network, slip).encode();
    let asked = Request::decode(&request).unwrap().slip(slip.challenger, slip.target);
    let reply = show(network, shards, &asked, (shelf, kept), &key(2)).encode();
    let Reply::Shown(answer) = Reply::decode(&reply).unwrap() else { panic!("it is there") };
    answer.check(network, shards, slip).unwrap();
    request.len() + reply.len()
}

fn challenge(network: &NetworkId, shards: u16, length: u64) -> Cost {
    let (shelf, kept) = (Shelf::of(shards, length), Hashes::default());
    let slips = questions(&shelf, shards);
    // Once over all of them, so that what is kept is.
    let bytes: Vec<usize> = slips.iter().map(|slip| exchange(network, shards, slip, (&shelf, &kept))).collect();
    let each = best(|| {
        let began = Clock::start();
        slips.iter().for_each(|slip| {
            black_box(exchange(network, shards, slip, (&shelf, &kept)));
        });
        began.elapsed() / slips.len() as u32
    });
    let shown: Vec<_> = slips.iter().map(|slip| show(network, shards, slip, (&shelf, &kept), &key(2))).collect();
    let check = best(|| {
        let began = Clock::start();
        for (slip, reply) in slips.iter().zip(&shown) {
            let Reply::Shown(answer) = reply else { panic!("it is there") };
            black_box(answer).check(network, shards, slip).unwrap();
        }
        began.elapsed() / slips.len() as u32
    });
    let bytes_max = *bytes.iter().max().unwrap();
    Cost { bytes_mean: bytes.iter().sum::<usize>() as f64 / bytes.len() as f64, bytes_max, each, check }
}

/// A network of a hundred with a hundred thousand blobs, in its second epoch.
fn hundred() -> (Context, MemoryState) {
    let genesis = synthetic::genesis(100, 100, 1);
    let (context, mut state) = synthetic::founded(&genesis).unwrap();
    let all: RowSet = (0..100).map(RowId).collect();
    synthetic::store(&mut state, &context, 100_000, |_| all.clone(), |_| Epoch(999)).unwrap();
    let time = BlockTime(genesis.time.0 + context.params.epoch_millis);
    let executed = build_block(&state, &context, genesis.members[0].node, time, vec![]).unwrap();
    state.apply(&executed.changes);
    (context, state)
}

fn draws(context: &Context, state: &MemoryState) -> Duration {
    let committee = views::committee(state).unwrap();
    let seed = Seed::make(&context.network, &beacon(state).unwrap(), &synthetic::confirmation_key(0));
    let questions = Questions::of(state, &committee).unwrap();
    let aims: Vec<Aim> = (1..100)
        .flat_map(|target| Slot::all().map(move |slot| Aim { slot, target: MemberIndex(target), at: 0 }))
        .collect();
    best(|| {
        let began = Clock::start();
        for aim in &aims {
            assert!(matches!(black_box(questions.draw(&seed, aim).unwrap()), Question::Chunk(_)));
        }
        began.elapsed() / aims.len() as u32
    })
}

fn checked(signed: &SignedTransaction, network: &NetworkId) -> CheckedTransaction {
    signed.clone().check(network).unwrap()
}

/// Executes the reports of all hundred in blocks: every seed is checked. Gives how long that took.
fn reports(context: &Context, state: &MemoryState) -> Duration {
    let mut state = state.clone();
    let (params, network) = (&context.params, context.network);
    let times = Timetable::of(params, views::head(&state).unwrap().epoch_began);
    let committee = views::committee(&state).unwrap();
    let proposer = committee.members()[0].node;
    let epoch = views::head(&state).unwrap().epoch;
    let sign = |at: usize, action: Action| {
        let key = synthetic::member_key(at);
        let (sender, nonce, fee) = (AccountId(key.public()), 0, Frost::ZERO);
        Transaction { network, sender, nonce, fee, action }.sign(&key)
    };
    let node = |at: usize| committee.members()[at].node;
    let commits = (0..100).map(|at| sign(at, Action::Commit { member: node(at), epoch, root: Root([1; 32]) }));
    let commits = commits.map(|signed| checked(&signed, &network)).collect();
    let step = |time: BlockTime, said: Vec<CheckedTransaction>, state: &mut MemoryState| {
        let executed = build_block(state, context, proposer, time, said).unwrap();
        assert_eq!(executed.refused, vec![]);
        state.apply(&executed.changes);
    };
    step(times.closing(), commits, &mut state);
    step(times.middle(), Vec::new(), &mut state);
    // Nothing is claimed, so that nothing has to be shown: answers are counted beside this.
    let drawn = beacon(&state).unwrap();
    let report = |at: usize| Report {
        member: node(at),
        epoch,
        seed: *Seed::make(&network, &drawn, &synthetic::confirmation_key(at)).signature(),
        held: std::array::from_fn(|_| Some(MemberSet::new())),
        passed: vec![0; 100],
        accusations: Vec::new(),
        reasks: Vec::new(),
        shown: Vec::new(),
    };
    let said = (0..100).map(|at| sign(at, Action::Report(Box::new(report(at)))));
    let said = said.map(|signed| checked(&signed, &network)).collect();
    let time = BlockTime(times.middle().0 + 1_000);
    let block = build_block(&state, context, proposer, time, said).unwrap();
    assert_eq!(block.refused, vec![]);
    // As who hears of it first: with nothing known of its transactions.
    let fresh = Context { memo: memo::Memo::default(), ..context.clone() };
    // Committees decode their keys once.
    let warm = execute_decided(&state, &fresh, block.block.clone()).unwrap();
    assert_eq!(warm.id, block.id);
    best(|| {
        let block = block.block.clone();
        let began = Clock::start();
        black_box(execute_decided(&state, &fresh, block).unwrap());
        began.elapsed()
    })
}

/// The seeds alone, with keys that have to be decoded each time.
fn seeds(context: &Context, state: &MemoryState) -> Duration {
    let drawn = beacon(state).unwrap();
    let made: Vec<Seed> =
        (0..100).map(|at| Seed::make(&context.network, &drawn, &synthetic::confirmation_key(at))).collect();
    let committee = views::committee(state).unwrap();
    best(|| {
        let began = Clock::start();
        for (member, seed) in committee.members().iter().zip(&made) {
            black_box(Seed::opened(&context.network, &drawn, &member.bls_key, *seed.signature()).unwrap());
        }
        began.elapsed()
    })
}

/// What a member says after a slot: its bytes, and the time to check it.
fn observation(network: NetworkId) -> (usize, Duration) {
    let member = NodeId(key(3).public());
    let passed = MemberSet::below(100);
    let said =
        Observation { network, epoch: Epoch(7), slot: Slot(1), member, passed, late: MemberSet::new(), accused: None };
    let bytes = said.sign(&key(3)).encode();
    let check = best(|| {
        let began = Clock::start();
        (0..100).for_each(|_| drop(black_box(SignedObservation::decode(&bytes).unwrap().check().unwrap())));
        began.elapsed() / 100
    });
    (bytes.len(), check)
}

fn main() {
    let mut figures = Figures(true);
    let network = NetworkId([5; 32]);
    let (mut worst, mut answers) = (Duration::ZERO, Duration::ZERO);
    let mut mean = 0.0;
    for (shards, length) in [(31, 1 << 20), (100, 64 << 10), (100, 1 << 20), (100, 32 << 20)] {
        let Cost { bytes_mean, bytes_max, each, check } = challenge(&network, shards, length);
        println!(
            "       {shards} shards, {} KiB: {bytes_mean:.0} bytes in the mean, {bytes_max} at most, {:.0} us",
            length >> 10,
            each.as_secs_f64() * 1e6
        );
        if shards == 100 {
            worst = worst.max(each);
            answers = answers.max(check * (100 * SHOWN_MAX as u32));
            mean = if length == 32 << 20 { bytes_mean } else { mean };
        }
        figures.say("a challenge on the wire, at most 4 KiB", format!("{bytes_max} bytes"), bytes_max <= 4 << 10);
    }
    let longest = floe_erasure::ChunkOpening::max_bytes(&Layout::new(1_024, 4 << 30).unwrap());
    let good = longest + 64 + 16 <= ANSWER_BYTES_MAX;
    figures.say("the longest answer of the largest network", format!("{} bytes", longest + 64), good);
    let (context, state) = hundred();
    let draw = draws(&context, &state);
    println!("       drawing a question among 100,000 blobs: {:.0} us", draw.as_secs_f64() * 1e6);
    let whole = worst + draw;
    figures.say(
        "a challenge asked and answered, at most 200 us beyond reading",
        format!("{:.0} us", whole.as_secs_f64() * 1e6),
        whole <= Duration::from_micros(200),
    );
    let members = 100usize;
    let asked = members * (members - 1) * usize::from(SLOTS) * usize::from(challenges_per_slot(members));
    let all = asked as f64 * mean / f64::from(1 << 20);
    figures.say(
        "an epoch's challenges at 100 members, at most 120 MiB and 1.2 a member",
        format!("{asked} challenges, {all:.1} MiB, {:.2} a member", all / members as f64),
        all <= 120.0,
    );
    let (bytes, check) = observation(network);
    println!("       an observation: {bytes} bytes, {:.0} us to check", check.as_secs_f64() * 1e6);
    // A member asks so many, answers so many, and hears everybody after every slot.
    let mine = (asked / members) as u32;
    let epoch = whole * mine + check * (members as u32 * u32::from(SLOTS));
    let share = epoch.as_secs_f64() / 3_600.0;
    figures.say(
        "a member's epoch of challenges, at most 1 % of a core",
        format!("{:.0} ms, {:.4} %", epoch.as_secs_f64() * 1e3, share * 100.0),
        share <= 0.01,
    );
    let (seeds, executed) = (seeds(&context, &state), reports(&context, &state));
    println!("       100 seeds with their keys: {:.0} ms", seeds.as_secs_f64() * 1e3);
    // The answers that reports show, and the signatures of a hundred transactions, which are as long to check as an observation.
    let whole = executed + answers + check * 100;
    figures.say(
        "100 reports: seeds, 400 answers that are shown, transactions; at most 100 ms",
        format!(
            "{:.0} + {:.0} + {:.0} ms",
            executed.as_secs_f64() * 1e3,
            answers.as_secs_f64() * 1e3,
            check.as_secs_f64() * 1e5
        ),
        whole <= Duration::from_millis(100),
    );
    assert!(figures.0, "a figure is missed");
}
