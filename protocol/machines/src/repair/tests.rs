//! Rebuilding with real codes: helpers that help, lack, stall, lie in each way that there is, and too few of them.

use super::*;
use crate::custody::{Offer, give_symbol, open_symbol, verify_staged};
use crate::fragments::{ConfirmationRecord, FragmentKey, FragmentRecord, FragmentStore, StagedFragment, StoreError};
use crate::testing::node;
use crate::wire::fragment::{SymbolPart, SymbolRequest};
use floe_erasure::{Encoded, Layout, MemorySink, Options, encode, pair_of};
use floe_ledger::repairs::TicketNumber;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

const ME: u8 = 200;

/// A store in memory.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<FragmentKey, (FragmentRecord, Vec<u8>)>>);

/// Announced bytes, and those that came.
struct Staging(u64, Vec<u8>);

impl StagedFragment for Staging {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.1.extend_from_slice(bytes);
        assert!(self.1.len() as u64 <= self.0);
        Ok(())
    }
    fn staged_bytes(&self) -> u64 {
        self.1.len() as u64
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        buffer.copy_from_slice(&self.1[offset as usize..offset as usize + buffer.len()]);
        Ok(())
    }
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
        self
    }
}

impl FragmentStore for Shelf {
    fn stage(&self, _: FragmentKey, bytes: u64) -> Result<Box<dyn StagedFragment>, StoreError> {
        Ok(Box::new(Staging(bytes, Vec::new())))
    }
    fn keep(&self, fragments: Vec<(FragmentRecord, Box<dyn StagedFragment>)>) -> Result<(), StoreError> {
        for (record, staged) in fragments {
            let staging = staged.into_any().downcast::<Staging>().unwrap();
            self.0.lock().unwrap().insert(record.key, (record, staging.1));
        }
        Ok(())
    }
    fn record(&self, blob: &BlobId, pair: PairIndex) -> Result<Option<FragmentRecord>, StoreError> {
        let kept = self.0.lock().unwrap();
        Ok(kept.values().map(|kept| &kept.0).find(|one| one.key.blob == *blob && one.key.pair == pair).cloned())
    }
    fn read_at(&self, record: &FragmentRecord, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let bytes = &self.0.lock().unwrap()[&record.key].1;
        buffer.copy_from_slice(&bytes[offset as usize..offset as usize + buffer.len()]);
        Ok(())
    }
    fn records_after(&self, _: Option<FragmentKey>, _: usize) -> Result<Vec<FragmentRecord>, StoreError> {
        Ok(Vec::new())
    }
    fn keep_confirmation(&self, _: &ConfirmationRecord) -> Result<(), StoreError> {
        Ok(())
    }
    fn confirmations_after(
        &self,
        _: Option<RegistrationNumber>,
        _: usize,
    ) -> Result<Vec<ConfirmationRecord>, StoreError> {
        Ok(Vec::new())
    }
    fn discard(&self, _: &FragmentKey) -> Result<(), StoreError> {
        Ok(())
    }
    fn drop_groups(&self, _: Epoch) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// A blob as its holders have it.
struct Stored {
    encoded: Encoded,
    layout: Layout,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(shards: u16, length: usize, salt: u8) -> Stored {
        let source: Vec<u8> = (0..length).map(|at| (at * at / 7 % 251) as u8 ^ salt).collect();
        let layout = Layout::new(shards, length as u64).unwrap();
        let sink = MemorySink::new(layout.encoded_bytes() as usize);
        let encoded = encode(&source, length as u64, shards, &sink, &Options::default()).unwrap();
        Stored { encoded, layout, bytes: sink.into_bytes() }
    }

    fn blob(&self) -> BlobId {
        self.encoded.blob_id()
    }

    fn fragment(&self, shard: ShardIndex) -> (FragmentRecord, Vec<u8>) {
        let pair = pair_of(&self.blob(), shard, self.layout.shards());
        let at = self.encoded.fragment_offset(pair) as usize;
        let bytes = self.bytes[at..at + self.layout.fragment_bytes() as usize].to_vec();
        let key = FragmentKey { group: Epoch(9), blob: self.blob(), pair };
        let (registration, blob_bytes) = (RegistrationNumber(1), self.layout.blob_bytes());
        let proof = self.encoded.proof(pair).encode();
        (FragmentRecord { key, registration, blob_bytes, proof }, bytes)
    }

    /// The fragment of `shard` is missing at this node; all others are at nodes of their own, named by their shard plus one.
    fn rebuild(&self, number: u64, shard: u16, helpers: impl IntoIterator<Item = u16>) -> Rebuild {
        Rebuild {
            sequence: SequenceNumber(number),
            registration: RegistrationNumber(1),
            blob: self.blob(),
            blob_bytes: self.layout.blob_bytes(),
            shards: self.layout.shards(),
            shard: ShardIndex(shard),
            group: Epoch(9),
            right: Right::Ticket { number: TicketNumber(1) },
            holders: Vec::new(),
            helpers: helpers
                .into_iter()
                .filter(|helper| *helper != shard)
                .map(|helper| Helper { shard: ShardIndex(helper), node: node(helper as u8 + 1) })
                .collect(),
        }
    }
}

/// What a helper does when it is asked for something the so-manieth time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Helps,
    /// Another symbol than its own, and the opening of its own.
    Lies,
    /// Another symbol than its own, and no opening.
    LiesAndHides,
    /// The proof of another fragment.
    WrongProof,
    Fails(Trouble),
}

/// Nodes and this one; time passes only when nothing else can happen.
struct World {
    machine: Repair,
    now: u64,
    blobs: Vec<Stored>,
    missing: VecDeque<Rebuild>,
    held: Vec<(ShardIndex, SequenceNumber)>,
    conduct: fn(u8, &Wanted, usize) -> Conduct,
    store: Shelf,
    benches: BTreeMap<JobId, Bench>,
    asked: Vec<(u8, Wanted)>,
    named: Vec<NodeId>,
    attested: Vec<(ShardSet, Vec<Run>)>,
    ended: Vec<Tally>,
    most: (usize, usize, usize),
}

impl World {
    fn new(blobs: Vec<Stored>, missing: Vec<Rebuild>, conduct: fn(u8, &Wanted, usize) -> Conduct) -> World {
        let config = Config { page: 4, fetches_max: 6, ..Config::default() };
        World {
            machine: Repair::new(node(ME), config),
            now: 0,
            blobs,
            missing: missing.into(),
            held: Vec::new(),
            conduct,
            store: Shelf::default(),
            benches: BTreeMap::new(),
            asked: Vec::new(),
            named: Vec::new(),
            attested: Vec::new(),
            ended: Vec::new(),
            most: (0, 0, 0),
        }
    }

    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let effects = self.machine.step(self.now, input);
            for effect in effects {
                if let Effect::Fetch { fetch, job, from, wanted, rebuild } = effect {
                    let outcome = self.fetch(job, from, wanted, &rebuild);
                    inputs.push_back(Input::Fetched { fetch, outcome });
                } else {
                    inputs.extend(self.does(effect));
                }
            }
            let (most, machine) = (&mut self.most, &self.machine);
            *most = (most.0.max(machine.fetches()), most.1.max(machine.jobs()), most.2.max(self.benches.len()));
        }
    }

    fn does(&mut self, effect: Effect) -> Option<Input> {
        let options = Options { memory_bytes_max: 1 << 20, ..Options::default() };
        match effect {
            Effect::Look { from, limit } => {
                // Places are not looked at: what was handed out is found no more.
                let rebuilds: Vec<Rebuild> = (0..limit).filter_map(|_| self.missing.pop_front()).collect();
                let next = (!self.missing.is_empty()).then_some(from);
                return Some(Input::Looked(Work { rebuilds, held: std::mem::take(&mut self.held), next }));
            }
            Effect::Prepare { job, rebuild } => {
                let layout = Layout::new(rebuild.shards, rebuild.blob_bytes).unwrap();
                let scratch = MemorySink::new(Bench::scratch_bytes(&layout) as usize);
                self.benches.insert(job, Bench::new(rebuild, Arc::new(scratch)).unwrap());
                return Some(Input::Prepared { job, outcome: Ok(Ready::Bench) });
            }
            Effect::Widen { job } => {
                let bench = self.benches.get_mut(&job).unwrap();
                let scratch = MemorySink::new(Bench::wide_bytes(&bench.layout()) as usize);
                bench.widen(Arc::new(scratch)).unwrap();
                return Some(Input::Prepared { job, outcome: Ok(Ready::Bench) });
            }
            Effect::Attempt { job } => {
                let attempt = self.benches.get_mut(&job).unwrap().attempt(&options);
                return Some(Input::Attempted { job, outcome: Attempted::from(&attempt) });
            }
            Effect::Keep { job } => {
                self.benches[&job].keep(&self.store, &options).unwrap();
                return Some(Input::Kept { job, outcome: Ok(()) });
            }
            Effect::Forget { job, pair } => self.benches.get_mut(&job).unwrap().forget(pair),
            Effect::Close { job } => assert!(self.benches.remove(&job).is_some()),
            Effect::Attest { shards, runs } => self.attested.push((shards, runs)),
            Effect::Misbehaved { node } => self.named.push(node),
            Effect::PassEnded(tally) => self.ended.push(tally),
            Effect::Inconsistent { .. } | Effect::Fetch { .. } => panic!("{effect:?}"),
        }
        None
    }

    fn fetch(&mut self, job: JobId, from: NodeId, wanted: Wanted, rebuild: &Rebuild) -> Result<(), Trouble> {
        let seed = from.0[0];
        let times = self.asked.iter().filter(|asked| asked.0 == seed).count();
        self.asked.push((seed, wanted));
        let conduct = (self.conduct)(seed, &wanted, times);
        if let Conduct::Fails(trouble) = conduct {
            return Err(trouble);
        }
        let stored = self.blobs.iter().find(|stored| stored.blob() == rebuild.blob).unwrap();
        let bench = self.benches.get_mut(&job);
        let of_wanted = |shard| stored.fragment(shard);
        let request = |shard, axis, part| {
            let (blob, target, right) = (rebuild.blob, rebuild.shard, rebuild.right);
            SymbolRequest { blob, shard, target, axis, part, right }
        };
        let (shards, options) = (rebuild.shards, Options::default());
        let lies = matches!(conduct, Conduct::Lies | Conduct::LiesAndHides);
        match wanted {
            Wanted::Whole => {
                let (record, bytes) = of_wanted(rebuild.shard);
                let mut staged = self.store.stage(record.key, bytes.len() as u64).unwrap();
                staged.append(&bytes).unwrap();
                let Rebuild { registration, blob, blob_bytes, shard, .. } = *rebuild;
                let offer = Offer { registration, blob, blob_bytes, shard, proof: record.proof.clone() };
                verify_staged(staged.as_ref(), &offer, shards, &options).unwrap();
                self.store.keep(vec![(record, staged)]).unwrap();
                Ok(())
            }
            Wanted::Symbol { shard, axis, slot } => {
                let (record, bytes) = of_wanted(shard);
                let mut symbol = Vec::new();
                let request = request(shard, axis, SymbolPart::Bytes);
                give_symbol(&request, (&record, &bytes), shards, &mut symbol, &options).unwrap();
                symbol[0] ^= u8::from(lies);
                let bench = bench.unwrap();
                let mut writer = bench.slot(slot);
                std::io::Write::write_all(&mut writer, &symbol).unwrap();
                assert_eq!(writer.left(), 0);
                let shown = if conduct == Conduct::WrongProof { rebuild.shard } else { shard };
                bench.took_symbol(shard, (axis, slot), &of_wanted(shown).0.proof).map_err(|error| error.trouble())
            }
            Wanted::Opening { .. } if conduct == Conduct::LiesAndHides => Err(Trouble::NotThere),
            Wanted::Opening { shard, axis } => {
                let (record, bytes) = of_wanted(shard);
                let request = request(shard, axis, SymbolPart::Opening);
                let opening = open_symbol(&request, (&record, &bytes), shards, &options).unwrap();
                bench.unwrap().open(shard, &record.proof, &opening).map_err(|error| error.trouble())
            }
            Wanted::Line { shard, slot } => {
                let (record, mut bytes) = of_wanted(shard);
                bytes.truncate(stored.layout.primary_bytes() as usize);
                bytes[0] ^= u8::from(lies);
                let bench = bench.unwrap();
                std::io::Write::write_all(&mut bench.slot(slot), &bytes).unwrap();
                bench.took_line(shard, slot, &record.proof, &options).map_err(|error| error.trouble())
            }
        }
    }

    fn run(&mut self, until: u64) {
        while let Some(at) = self.machine.wake_at().filter(|at| *at <= until) {
            assert!(at >= self.now, "time does not go back");
            self.now = at.max(self.now);
            self.step(Input::Tick);
        }
        self.now = until;
    }

    fn begin(&mut self) {
        self.step(Input::Begin);
        self.run(self.now + 120_000);
        assert!(self.benches.is_empty(), "every bench is closed");
    }

    /// Whether the store has exactly what an uploader would have sent.
    fn has(&self, rebuild: &Rebuild) -> bool {
        let stored = self.blobs.iter().find(|stored| stored.blob() == rebuild.blob).unwrap();
        let (record, bytes) = stored.fragment(rebuild.shard);
        let kept = self.store.0.lock().unwrap();
        kept.get(&record.key).is_some_and(|(found, kept)| found.proof == record.proof && *kept == bytes)
    }
}

fn helps(_: u8, _: &Wanted, _: usize) -> Conduct {
    Conduct::Helps
}

#[test]
fn a_fragment_is_rebuilt_byte_for_byte_from_as_many_bytes_as_it_has() {
    for (shards, length) in [(4, 0), (4, 11), (7, 3_000), (10, 100_003), (28, 40_001)] {
        for shard in [0, shards / 2, shards - 1] {
            let stored = Stored::new(shards, length, 0);
            let fragment = stored.layout.fragment_bytes();
            let rebuild = stored.rebuild(5, shard, 0..shards);
            let mut world = World::new(vec![stored], vec![rebuild.clone()], helps);
            world.begin();
            assert!(world.has(&rebuild), "{shards} shards, {length} bytes, shard {shard}");
            let [tally] = world.ended[..] else { panic!("{:?}", world.ended) };
            assert_eq!((tally.rebuilt, tally.fetched, tally.left), (1, 0, 0));
            assert!(tally.moved_bytes < fragment, "one symbol is its own secondary sliver's");
            let run = Run { first: SequenceNumber(5), last: SequenceNumber(5) };
            assert_eq!(world.attested, [(ShardSet::from_iter([ShardIndex(shard)]), vec![run])]);
            assert_eq!(world.machine.wake_at(), None, "nothing is left to wait for");
        }
    }
}

#[test]
fn who_covers_the_shard_itself_is_asked_first_and_nothing_is_computed() {
    let stored = Stored::new(7, 3_000, 0);
    let mut rebuild = stored.rebuild(5, 3, 0..7);
    rebuild.holders = vec![node(90), node(91)];
    let silent = |seed: u8, _: &Wanted, _: usize| match seed {
        90 => Conduct::Fails(Trouble::Broken),
        _ => Conduct::Helps,
    };
    let mut world = World::new(vec![stored], vec![rebuild.clone()], silent);
    world.begin();
    assert!(world.has(&rebuild));
    assert_eq!(world.asked.iter().map(|asked| asked.0).collect::<Vec<_>>(), [90, 91]);
    assert_eq!((world.ended[0].fetched, world.ended[0].rebuilt, world.most.2), (1, 0, 0));
    assert_eq!(world.attested.len(), 1);
}

#[test]
fn when_nobody_gives_the_whole_it_is_rebuilt() {
    let stored = Stored::new(7, 3_000, 0);
    let mut rebuild = stored.rebuild(5, 3, 0..7);
    rebuild.holders = vec![node(90)];
    let silent = |_: u8, wanted: &Wanted, _: usize| match wanted {
        Wanted::Whole => Conduct::Fails(Trouble::Broken),
        _ => Conduct::Helps,
    };
    let mut world = World::new(vec![stored], vec![rebuild.clone()], silent);
    world.begin();
    assert!(world.has(&rebuild));
    assert_eq!(world.asked.iter().filter(|asked| asked.0 == 90).count(), 1, "each holder once");
}

#[test]
fn a_helper_that_lies_is_named_by_its_own_opening_and_others_help() {
    for liar in [1, 2] {
        // n = 10: four give the secondary, six more the primary; nine can.
        let stored = Stored::new(10, 50_000, 0);
        let rebuild = stored.rebuild(5, 3, 0..10);
        let lies = match liar {
            1 => |seed: u8, _: &Wanted, _: usize| if seed == 1 { Conduct::Lies } else { Conduct::Helps },
            _ => |seed: u8, _: &Wanted, _: usize| if seed == 2 { Conduct::Lies } else { Conduct::Helps },
        };
        let mut world = World::new(vec![stored], vec![rebuild.clone()], lies);
        world.begin();
        assert!(world.has(&rebuild), "no wrong byte is ever kept");
        assert_eq!(world.named, [node(liar)]);
        let opened = world.asked.iter().filter(|asked| matches!(asked.1, Wanted::Opening { .. })).count();
        assert_eq!(opened, 4, "all four that went into the mismatch, once");
        let of_liar = world.asked.iter().filter(|asked| asked.0 == liar).count();
        assert_eq!(of_liar, 2, "its symbol, its opening, and nothing more");
    }
}

#[test]
fn a_helper_that_lies_about_the_primary_only_is_found_too() {
    let stored = Stored::new(10, 50_000, 0);
    let rebuild = stored.rebuild(5, 3, 0..10);
    let lies = |seed: u8, wanted: &Wanted, _: usize| match wanted {
        Wanted::Symbol { axis: Axis::Primary, .. } if seed == 6 || seed == 7 => Conduct::Lies,
        _ => Conduct::Helps,
    };
    let mut world = World::new(vec![stored], vec![rebuild.clone()], lies);
    world.begin();
    assert!(world.has(&rebuild));
    assert!(world.named.iter().all(|named| [node(6), node(7)].contains(named)) && !world.named.is_empty());
}

#[test]
fn who_does_not_open_its_symbol_counts_as_silent_and_is_not_named() {
    let stored = Stored::new(10, 50_000, 0);
    let rebuild = stored.rebuild(5, 3, 0..10);
    let hides = |seed: u8, _: &Wanted, _: usize| if seed == 1 { Conduct::LiesAndHides } else { Conduct::Helps };
    let mut world = World::new(vec![stored], vec![rebuild.clone()], hides);
    world.begin();
    assert!(world.has(&rebuild));
    assert!(world.named.is_empty(), "nothing was shown to be wrong");
}

#[test]
fn a_proof_of_another_fragment_is_wrong_at_once() {
    let stored = Stored::new(10, 50_000, 0);
    let rebuild = stored.rebuild(5, 3, 0..10);
    let wrong = |seed: u8, _: &Wanted, _: usize| if seed == 1 { Conduct::WrongProof } else { Conduct::Helps };
    let mut world = World::new(vec![stored], vec![rebuild.clone()], wrong);
    world.begin();
    assert!(world.has(&rebuild));
    assert_eq!(world.named, [node(1)]);
    assert!(!world.asked.iter().any(|asked| matches!(asked.1, Wanted::Opening { .. })));
}

#[test]
fn with_too_few_for_the_primary_whole_slivers_are_fetched_and_the_budget_counts_them() {
    // n = 10: p = 4, c = 7. Five can help: one of them lies about its sliver.
    let stored = Stored::new(10, 50_000, 0);
    let (layout, rebuild) = (stored.layout, stored.rebuild(5, 9, 0..5));
    let lies = |seed: u8, wanted: &Wanted, _: usize| match wanted {
        Wanted::Line { .. } if seed == 1 => Conduct::Lies,
        _ => Conduct::Helps,
    };
    let mut world = World::new(vec![stored], vec![rebuild.clone()], lies);
    world.begin();
    assert!(world.has(&rebuild));
    assert_eq!(world.named, [node(1)]);
    let moved = world.ended[0].moved_bytes;
    assert!(moved >= layout.blob_bytes() && moved <= 2 * layout.blob_bytes(), "{moved}");
}

#[test]
fn with_fewer_than_p_nothing_can_be_made_and_it_is_tried_again_when_it_may_come() {
    let stored = Stored::new(10, 5_000, 0);
    let rebuild = stored.rebuild(5, 9, 0..4);
    let down = |seed: u8, _: &Wanted, _: usize| {
        if seed == 1 { Conduct::Fails(Trouble::Broken) } else { Conduct::Helps }
    };
    let mut world = World::new(vec![stored], vec![rebuild.clone()], down);
    world.step(Input::Begin);
    world.run(9_000);
    assert!(!world.has(&rebuild) && world.benches.is_empty());
    assert_eq!((world.ended[0].left, world.asked.iter().filter(|asked| asked.0 == 1).count()), (1, 3));
    assert!(world.machine.wake_at().is_some(), "another pass is due");
    world.conduct = helps;
    world.missing.push_back(rebuild.clone());
    world.run(60_000);
    assert!(world.has(&rebuild));

    // Nobody has anything: there is nothing to hope for before the next epoch.
    let stored = Stored::new(10, 5_000, 0);
    let rebuild = stored.rebuild(5, 9, 0..3);
    let mut world = World::new(vec![stored], vec![rebuild], helps);
    world.begin();
    assert_eq!((world.asked.len(), world.machine.wake_at()), (0, None), "what cannot suffice is not begun");
}

#[test]
fn a_busy_helper_is_asked_again_and_whose_ledger_is_behind_catches_up() {
    let stored = Stored::new(4, 5_000, 0);
    let rebuild = stored.rebuild(5, 3, 0..4);
    let behind = |seed: u8, _: &Wanted, times: usize| match times {
        0 if seed == 1 => Conduct::Fails(Trouble::Later { after_millis: 500 }),
        _ => Conduct::Helps,
    };
    let mut world = World::new(vec![stored], vec![rebuild.clone()], behind);
    world.begin();
    assert!(world.has(&rebuild));
}

#[test]
fn what_is_here_already_costs_the_line_nothing() {
    let stored = Stored::new(4, 5_000, 0);
    let mut rebuild = stored.rebuild(5, 3, 0..4);
    rebuild.helpers.iter_mut().for_each(|helper| helper.node = node(ME));
    let mut world = World::new(vec![stored], vec![rebuild.clone()], helps);
    world.begin();
    assert!(world.has(&rebuild));
    assert_eq!(world.ended[0].moved_bytes, 0);
}

#[test]
fn limits_hold_and_neighbours_are_attested_as_runs() {
    let blobs: Vec<Stored> = (0..12).map(|salt| Stored::new(7, 4_000, salt)).collect();
    let all: Vec<Rebuild> = (0..).zip(&blobs).map(|(number, stored)| stored.rebuild(number, 3, 0..7)).collect();
    let fragment = blobs[0].layout.fragment_bytes();
    let mut world = World::new(blobs, all.clone(), helps);
    world.machine = Repair::new(
        node(ME),
        Config {
            page: 4,
            fetches_max: 3,
            bytes_per_second: fragment,
            attest_debounce_millis: 60_000,
            ..Config::default()
        },
    );
    world.step(Input::Begin);
    world.run(5_900);
    let done = all.iter().filter(|rebuild| world.has(rebuild)).count();
    assert!((4..=8).contains(&done), "a fragment a second, and a little less: {done}");
    world.run(120_000);
    assert!(all.iter().all(|rebuild| world.has(rebuild)));
    assert!(world.most.0 <= 3 && world.most.1 <= 2, "{:?}", world.most);
    let run = Run { first: SequenceNumber(0), last: SequenceNumber(11) };
    assert_eq!(world.attested, [(ShardSet::from_iter([ShardIndex(3)]), vec![run])]);
}

#[test]
fn an_epoch_begins_anew_with_what_waits_and_goes_on_with_what_runs() {
    let stored = Stored::new(7, 4_000, 0);
    let (first, second) = (stored.rebuild(0, 3, 0..7), stored.rebuild(0, 4, 0..7));
    let mut machine = Repair::new(node(ME), Config { jobs_max: 1, page: 4, ..Config::default() });
    let look = Effect::Look { from: Place::START, limit: 4 };
    assert_eq!(machine.step(0, Input::Begin), std::slice::from_ref(&look));
    assert!(machine.step(0, Input::Begin).is_empty(), "a page is being read");
    let work = |rebuilds: &[&Rebuild]| {
        let rebuilds = rebuilds.iter().map(|rebuild| (*rebuild).clone()).collect();
        Input::Looked(Work { rebuilds, held: Vec::new(), next: None })
    };
    assert_eq!(machine.step(0, work(&[&first])), std::slice::from_ref(&look), "it was of the epoch before: read again");
    let effects = machine.step(0, work(&[&first, &second]));
    assert!(matches!(&effects[..], [Effect::Prepare { rebuild, .. }] if *rebuild == first));
    assert_eq!(machine.step(1, Input::Begin), [look]);
    assert!(machine.step(1, work(&[&first])).is_empty(), "the first runs, the second is not asked for any more");
    assert_eq!(machine.jobs(), 1);
}

#[test]
fn what_is_held_and_not_covered_is_attested_once_an_epoch() {
    let mut world = World::new(Vec::new(), Vec::new(), helps);
    let held = vec![
        (ShardIndex(1), SequenceNumber(4)),
        (ShardIndex(1), SequenceNumber(6)),
        (ShardIndex(2), SequenceNumber(4)),
    ];
    world.held = held.clone();
    world.begin();
    let run = |number| Run { first: SequenceNumber(number), last: SequenceNumber(number) };
    let shard = |shard| ShardSet::from_iter([ShardIndex(shard)]);
    let said = [(shard(1), vec![run(4), run(6)]), (shard(2), vec![run(4)])];
    assert_eq!(world.attested, said);
    world.held = held;
    world.begin();
    assert_eq!(world.attested.len(), 4, "what is still not covered is said again in the next epoch");
}

#[test]
fn a_blob_that_is_shown_to_be_inconsistent_is_left() {
    let stored = Stored::new(4, 100, 0);
    let mut machine = Repair::new(node(ME), Config::default());
    machine.step(0, Input::Begin);
    let rebuild = Rebuild { helpers: Vec::new(), ..stored.rebuild(0, 3, 0..4) };
    let mut rebuild = rebuild;
    rebuild.helpers = (0..3).map(|shard| Helper { shard: ShardIndex(shard), node: node(ME) }).collect();
    let mut effects = machine.step(0, Input::Looked(Work { rebuilds: vec![rebuild], held: Vec::new(), next: None }));
    let mut left = Vec::new();
    while let Some(effect) = effects.pop() {
        let input = match effect {
            Effect::Prepare { job, .. } => Input::Prepared { job, outcome: Ok(Ready::Bench) },
            Effect::Fetch { fetch, .. } => Input::Fetched { fetch, outcome: Ok(()) },
            Effect::Attempt { job } => Input::Attempted { job, outcome: Attempted::Inconsistent },
            other => {
                left.push(other);
                continue;
            }
        };
        effects.extend(machine.step(0, input));
    }
    assert!(left.contains(&Effect::Inconsistent { blob: stored.blob() }));
    assert_eq!((machine.jobs(), machine.wake_at()), (0, None));
}

#[test]
fn memory_for_a_large_blob_is_that_of_a_small_one() {
    // The scratch is a file in a node; what the bench itself has does not depend on the length.
    let layout = Layout::new(10, 10 << 30).unwrap();
    assert!(Bench::scratch_bytes(&layout) < layout.blob_bytes());
    assert!(Bench::wide_bytes(&layout) < 2 * layout.blob_bytes());
}

#[test]
fn whatever_helpers_do_every_job_ends_and_nothing_wrong_is_kept() {
    for seed in 0..40u8 {
        let stored = Stored::new(10, 2_000 + usize::from(seed), seed);
        let rebuild = stored.rebuild(5, 3, 0..10);
        let conducts: [fn(u8, &Wanted, usize) -> Conduct; 2] =
            [|seed, wanted, times| wild(seed, wanted, times, 3), |seed, wanted, times| wild(seed, wanted, times, 7)];
        let mut world = World::new(vec![stored], vec![rebuild.clone()], conducts[usize::from(seed % 2)]);
        world.missing[0].helpers.rotate_left(usize::from(seed) % 9);
        world.step(Input::Begin);
        world.run(8_000);
        assert!(world.benches.is_empty() && world.machine.jobs() == 0, "seed {seed}");
        let key = world.blobs[0].fragment(ShardIndex(3)).0.key;
        let is_kept = world.store.0.lock().unwrap().contains_key(&key);
        assert_eq!(is_kept, world.has(&rebuild), "seed {seed}");
    }
}

/// Some helpers are honest, the others do something else every time.
fn wild(seed: u8, wanted: &Wanted, times: usize, salt: usize) -> Conduct {
    if usize::from(seed) % salt == 1 {
        return Conduct::Helps;
    }
    let opening = usize::from(matches!(wanted, Wanted::Opening { .. }));
    match (usize::from(seed) * 31 + times * salt + opening) % 7 {
        0 => Conduct::Lies,
        1 => Conduct::LiesAndHides,
        2 => Conduct::WrongProof,
        3 => Conduct::Fails(Trouble::Broken),
        4 => Conduct::Fails(Trouble::Later { after_millis: 50 }),
        5 => Conduct::Fails(Trouble::NotThere),
        _ => Conduct::Helps,
    }
}

#[test]
fn what_was_delivered_meanwhile_is_attested_and_not_fetched() {
    let stored = Stored::new(7, 4_000, 0);
    let mut machine = Repair::new(node(ME), Config { attest_debounce_millis: 0, ..Config::default() });
    machine.step(0, Input::Begin);
    let rebuilds = vec![stored.rebuild(8, 3, 0..7)];
    let effects = machine.step(0, Input::Looked(Work { rebuilds, held: Vec::new(), next: None }));
    let [Effect::Prepare { job, .. }] = effects[..] else { panic!("{effects:?}") };
    let effects = machine.step(0, Input::Prepared { job, outcome: Ok(Ready::Held) });
    let run = Run { first: SequenceNumber(8), last: SequenceNumber(8) };
    assert_eq!(effects, [Effect::Attest { shards: ShardSet::from_iter([ShardIndex(3)]), runs: vec![run] }]);
    assert_eq!(machine.jobs(), 0);
}
