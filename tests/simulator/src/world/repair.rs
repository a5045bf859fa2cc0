//! The shell round a node's repair: work read off the ledger, symbols fetched on streams, benches in memory, what was rebuilt
//! kept and attested.

use super::gateway::{Answered, Purpose};
use super::{Event, Local, World};
use crate::mutant::Mutant;
use crate::node::Role;
use floe_erasure::{Layout, MemorySink, Options, pair_of};
use floe_ledger::repairs::TicketNumber;
use floe_ledger::{Action, RowId, RowKind, views};
use floe_machines::custody::{KeptFragment, Offer, StreamId, give_symbol, open_symbol, verify_staged};
use floe_machines::fragments::{FragmentKey, FragmentRecord, FragmentStore};
use floe_machines::repair::{
    Attempted, Bench, Config, Effect, FetchId, Helper, Input, JobId, Place, Ready, Rebuild, Repair, Trouble, Wanted,
    Work, work,
};
use floe_machines::wire::fragment::{
    self, Answer, Ask, ReadAxis, ReadRange, Refusal, Right, SymbolPart, SymbolRequest,
};
use floe_types::laws::Law;
use floe_types::{NodeId, PairIndex, SequenceNumber};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::Arc;

/// Fragments that a mutant asks for without a right, in a page.
const STOLEN_MAX: usize = 4;
/// How long a fetch waits for its answer, in milliseconds.
const PATIENCE_MILLIS: u64 = 3_000;

/// A node's repair while it is up.
pub(crate) struct Repairing {
    machine: Repair,
    benches: BTreeMap<JobId, Bench>,
}

impl Repairing {
    /// One with nothing to do: limits as in production, waits short enough for a run to see their end.
    pub(crate) fn new(me: NodeId) -> Repairing {
        let config =
            Config { pass_millis: 1_500, broken_millis: 300, attest_debounce_millis: 200, ..Config::default() };
        Repairing { machine: Repair::new(me, config), benches: BTreeMap::new() }
    }

    /// When it is next to look at the clock.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        self.machine.wake_at()
    }
}

/// What a stream was opened for.
#[derive(Clone, Debug)]
pub(crate) struct Fetching {
    fetch: FetchId,
    job: JobId,
    wanted: Wanted,
    rebuild: Rebuild,
}

impl Fetching {
    fn ask(&self) -> Ask {
        let Rebuild { blob, shard: target, right, .. } = self.rebuild;
        let read = |shard, axis| Ask::Read { blob, shard, axis, range: ReadRange::Whole };
        let symbol = |shard, axis, part| Ask::Symbol(SymbolRequest { blob, shard, target, axis, part, right });
        match self.wanted {
            Wanted::Whole => read(target, ReadAxis::Pair),
            Wanted::Line { shard, .. } => read(shard, ReadAxis::Primary),
            Wanted::Symbol { shard, axis, .. } => symbol(shard, axis, SymbolPart::Bytes),
            Wanted::Opening { shard, axis } => symbol(shard, axis, SymbolPart::Opening),
        }
    }
}

impl World {
    /// An epoch began, or the node rose: there may be something to rebuild.
    pub(super) fn repair_begins(&mut self, node: usize) {
        if self.nodes[node].role != Role::Lazy {
            self.repair_step(node, Input::Begin);
        }
    }

    pub(super) fn repair_step(&mut self, node: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(live) = self.nodes[node].live.as_mut() else { return };
            for effect in live.repair.machine.step(self.now, input) {
                if self.falls_now(node) {
                    return;
                }
                inputs.extend(self.repair_does(node, effect));
            }
        }
        self.plan_data_tick(node);
    }

    pub(super) fn repair_tick(&mut self, node: usize) {
        let due = self.nodes[node].live.as_ref().and_then(|live| live.repair.wake_at());
        if due.is_some_and(|at| at <= self.now) {
            self.repair_step(node, Input::Tick);
        }
    }

    fn repair_does(&mut self, node: usize, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Look { from, limit } => {
                let it = &self.nodes[node];
                let (sources, params) = ((&it.disk.state as _, &it.disk.fragments as _), &self.context.params);
                let found = work(sources, params, &it.id(), from, limit).unwrap_or_default();
                return Some(Input::Looked(self.and_more(node, from, found)));
            }
            Effect::Prepare { job, rebuild } => return Some(self.prepare(node, job, rebuild)),
            Effect::Widen { job } => {
                let outcome = self.with_bench(node, job, |bench| {
                    let scratch = MemorySink::new(Bench::wide_bytes(&bench.layout()) as usize);
                    bench.widen(Arc::new(scratch)).map_err(|error| error.trouble())?;
                    Ok(Ready::Bench)
                });
                return Some(Input::Prepared { job, outcome });
            }
            Effect::Fetch { fetch, job, from, wanted, rebuild } => {
                return self.fetch_for_repair(node, from, Fetching { fetch, job, wanted, rebuild });
            }
            Effect::Attempt { job } => {
                let attempt = |bench: &mut Bench| Ok(Attempted::from(&bench.attempt(&Options::default())));
                let outcome = self.with_bench(node, job, attempt).unwrap_or(Attempted::Failed);
                self.stats.mismatches += u64::from(outcome == Attempted::Mismatch);
                return Some(Input::Attempted { job, outcome });
            }
            Effect::Keep { job } => {
                let store = self.nodes[node].disk.fragments.clone();
                let keep = |bench: &mut Bench| bench.keep(&store, &Options::default()).map_err(|error| error.trouble());
                return Some(Input::Kept { job, outcome: self.with_bench(node, job, keep) });
            }
            Effect::Forget { job, pair } => {
                let _ = self.with_bench(node, job, |bench| {
                    bench.forget(pair);
                    Ok(())
                });
            }
            Effect::Close { job } => {
                if let Some(live) = self.nodes[node].live.as_mut() {
                    live.repair.benches.remove(&job);
                }
            }
            Effect::Attest { shards, runs } => {
                let action = Action::Attest { member: self.nodes[node].id(), shards, runs };
                self.stats.attestations += 1;
                self.tell(node, Local::Submit { purpose: Purpose::Attest, action });
            }
            Effect::Misbehaved { .. } | Effect::Inconsistent { .. } | Effect::PassEnded(_) => {
                self.repair_tells(node, &effect);
            }
        }
        None
    }

    /// What a node would log; nobody honest is to be found in it.
    fn repair_tells(&mut self, node: usize, effect: &Effect) {
        self.trace.say(self.now, || format!("{node} repairs: {effect:?}"));
        match effect {
            Effect::Misbehaved { node: liar } => {
                self.stats.blames += 1;
                let finding = self.laws_of_blame(liar);
                self.judge(finding);
            }
            Effect::Inconsistent { blob } => {
                let words = format!("node {node} takes {blob} for inconsistent, which was made honestly");
                let finding = self.laws.broken(Law::I4, words);
                self.judge(finding);
            }
            Effect::PassEnded(tally) => {
                self.stats.rebuilt += tally.rebuilt;
                self.stats.handed_over += tally.fetched;
                self.stats.repair_bytes += tally.moved_bytes;
            }
            _ => {}
        }
    }

    /// What a mutant adds to what it may rebuild: gaps of its seats to which it has no right, or what it has.
    fn and_more(&self, node: usize, from: Place, mut found: Work) -> Work {
        let is_blind = self.mutant == Some(Mutant::RebuildWhatIsHere);
        if !(is_blind || self.mutant == Some(Mutant::HelpAnybody)) || from != Place::START {
            return found;
        }
        let it = &self.nodes[node];
        let (state, shards, id) = (&it.disk.state, self.context.params.shards, it.id());
        let rows = views::rows_of(state, &id).unwrap_or_default();
        // A row that there is not covers nothing.
        let row_of = |row| if is_blind { RowId(u32::MAX) } else { row };
        for (row, of) in rows.into_iter().filter(|(_, of)| of.kind == RowKind::Seat) {
            let page = views::gaps(state, row_of(row), SequenceNumber(0), STOLEN_MAX).unwrap_or_default();
            for gap in page.gaps {
                let covering = views::holders(state, &gap.blob).unwrap_or_default();
                let others = covering.iter().filter(|holder| holder.shard != of.shard);
                let helper = |holder: &views::Holder| Helper { shard: holder.shard, node: holder.node };
                let life = views::sequence(state, gap.sequence).ok().flatten();
                found.rebuilds.extend(life.map(|life| Rebuild {
                    sequence: gap.sequence,
                    registration: life.registration,
                    blob: gap.blob,
                    blob_bytes: gap.length,
                    shards,
                    shard: of.shard,
                    group: gap.last,
                    right: Right::Ticket { number: TicketNumber(u64::MAX) },
                    holders: Vec::new(),
                    helpers: others.map(helper).collect(),
                }));
            }
        }
        found
    }

    /// Nobody is named for wrong bytes but who sends some.
    fn laws_of_blame(&self, named: &NodeId) -> Result<(), crate::laws::Violation> {
        let honest = |node: &&crate::node::Node| node.id() == *named && node.role == Role::Honest;
        match self.nodes.iter().find(honest) {
            Some(node) => {
                let words = format!("honest node {} is blamed for a wrong symbol", node.index);
                self.laws.broken(Law::I4, words)
            }
            None => Ok(()),
        }
    }

    fn with_bench<T>(
        &mut self,
        node: usize,
        job: JobId,
        what: impl FnOnce(&mut Bench) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let bench = self.nodes[node].live.as_mut().and_then(|live| live.repair.benches.get_mut(&job));
        bench.map_or(Err(Trouble::NoRoom), what)
    }

    fn prepare(&mut self, node: usize, job: JobId, rebuild: Rebuild) -> Input {
        if self.has(node, &rebuild) {
            return Input::Prepared { job, outcome: Ok(Ready::Held) };
        }
        self.rebuild_begins(node, &rebuild);
        let made = Layout::new(rebuild.shards, rebuild.blob_bytes).ok().and_then(|layout| {
            let scratch = MemorySink::new(Bench::scratch_bytes(&layout) as usize);
            Bench::new(rebuild, Arc::new(scratch)).ok()
        });
        let live = self.nodes[node].live.as_mut();
        let outcome = match made.zip(live) {
            Some((bench, live)) => {
                live.repair.benches.insert(job, bench);
                Ok(Ready::Bench)
            }
            None => Err(Trouble::NoRoom),
        };
        Input::Prepared { job, outcome }
    }

    /// Whether the fragment is here by now. A mutant does not look.
    fn has(&self, node: usize, rebuild: &Rebuild) -> bool {
        self.mutant != Some(Mutant::RebuildWhatIsHere) && self.holds(node, rebuild)
    }

    fn holds(&self, node: usize, rebuild: &Rebuild) -> bool {
        let pair = pair_of(&rebuild.blob, rebuild.shard, rebuild.shards);
        let record = self.nodes[node].disk.fragments.record(&rebuild.blob, pair).ok().flatten();
        record.is_some_and(|record| record.key.group >= rebuild.group)
    }

    /// Opens a stream, or looks into this node's own store.
    fn fetch_for_repair(&mut self, node: usize, from: NodeId, fetching: Fetching) -> Option<Input> {
        if from == self.nodes[node].id() {
            let (fetch, outcome) = (fetching.fetch, self.fetch_at_home(node, &fetching));
            return Some(Input::Fetched { fetch, outcome });
        }
        if fetching.wanted == Wanted::Whole && self.has(node, &fetching.rebuild) {
            return Some(Input::Fetched { fetch: fetching.fetch, outcome: Ok(()) });
        }
        self.stats.fetches += 1;
        let ask = fetching.ask();
        let stream = self.open_rebuild(node, &from, ask, fetching);
        // A cut link shows as silence.
        let ends = super::streams::StreamEvent::EndsForAsker { stream };
        self.queue.plan(self.now + PATIENCE_MILLIS, Event::Stream(ends));
        None
    }

    fn fetch_at_home(&mut self, node: usize, fetching: &Fetching) -> Result<(), Trouble> {
        let shards = self.context.params.shards;
        let store = self.nodes[node].disk.fragments.clone();
        let (shard, axis) = match fetching.wanted {
            Wanted::Symbol { shard, .. } | Wanted::Opening { shard, .. } => (shard, ReadAxis::Pair),
            Wanted::Line { shard, .. } => (shard, ReadAxis::Primary),
            Wanted::Whole => return Err(Trouble::NotThere),
        };
        let blob = fetching.rebuild.blob;
        let record = store.record(&blob, pair_of(&blob, shard, shards)).ok().flatten();
        let record = record.ok_or(Trouble::NotThere)?;
        let blob_bytes = record.blob_bytes;
        let (mut body, mut opening) = (Vec::new(), Vec::new());
        let kept = KeptFragment::new(&store, &record);
        match fetching.ask() {
            Ask::Symbol(request) if request.part == SymbolPart::Opening => {
                let opened = open_symbol(&request, (&record, &kept), shards, &Options::default());
                opening = opened.map_err(|_| Trouble::NoRoom)?;
            }
            Ask::Symbol(request) => {
                let given = give_symbol(&request, (&record, &kept), shards, &mut body, &Options::default());
                given.map_err(|_| Trouble::NoRoom)?;
            }
            _ => {
                let layout = Layout::new(shards, blob_bytes).map_err(|_| Trouble::NoRoom)?;
                let span = axis.span(&layout);
                body = vec![0; (span.end - span.start) as usize];
                store.read_at(&record, &mut body, span.start).map_err(|_| Trouble::NoRoom)?;
            }
        }
        let answer = Answer::Symbol { blob_bytes, proof: record.proof, opening };
        self.take_for_repair(node, fetching, Answered { answer, body, whole: true })
    }

    /// A fetch has its answer, or has ended without one.
    pub(super) fn fetched_for_repair(&mut self, node: usize, fetching: Fetching, answered: Option<Answered>) {
        let outcome = match answered {
            Some(answered) => self.take_for_repair(node, &fetching, answered),
            None => Err(Trouble::Broken),
        };
        self.repair_step(node, Input::Fetched { fetch: fetching.fetch, outcome });
    }

    fn take_for_repair(&mut self, node: usize, fetching: &Fetching, answered: Answered) -> Result<(), Trouble> {
        let Answered { answer, body, whole } = answered;
        let (blob_bytes, proof, opening) = match answer {
            Answer::Sliver { blob_bytes, proof } => (blob_bytes, proof, Vec::new()),
            Answer::Symbol { blob_bytes, proof, opening } => (blob_bytes, proof, opening),
            other => return Err(Trouble::of_answer(&other)),
        };
        if blob_bytes != fetching.rebuild.blob_bytes {
            return Err(Trouble::Wrong);
        }
        let (node_bench, job) = (node, fetching.job);
        let write = |bench: &mut Bench, slot| {
            let mut writer = bench.slot(slot);
            let length = body.len().min(writer.left() as usize);
            writer.write_all(body.get(..length).unwrap_or_default()).map_err(|_| Trouble::NoRoom)?;
            if writer.left() == 0 { Ok(()) } else { Err(Trouble::Broken) }
        };
        match fetching.wanted {
            Wanted::Whole if !whole => Err(Trouble::Broken),
            Wanted::Whole => self.keep_whole(node, &fetching.rebuild, &proof, &body),
            Wanted::Opening { shard, .. } => self.with_bench(node_bench, job, |bench| {
                bench.open(shard, &proof, &opening).map_err(|error| error.trouble())
            }),
            Wanted::Symbol { shard, axis, slot } => self.with_bench(node_bench, job, |bench| {
                write(bench, slot)?;
                bench.took_symbol(shard, (axis, slot), &proof).map_err(|error| error.trouble())
            }),
            Wanted::Line { shard, slot } => self.with_bench(node_bench, job, |bench| {
                write(bench, slot)?;
                bench.took_line(shard, slot, &proof, &Options::default()).map_err(|error| error.trouble())
            }),
        }
    }

    fn keep_whole(&mut self, node: usize, rebuild: &Rebuild, proof: &[u8], body: &[u8]) -> Result<(), Trouble> {
        let Rebuild { registration, blob, blob_bytes, shard, shards, group, .. } = *rebuild;
        let key = FragmentKey { group, blob, pair: pair_of(&blob, shard, shards) };
        let layout = Layout::new(shards, blob_bytes).map_err(|_| Trouble::NoRoom)?;
        let body = body.get(..layout.fragment_bytes() as usize).ok_or(Trouble::Broken)?;
        let store = &self.nodes[node].disk.fragments;
        let mut staged = store.stage(key, body.len() as u64).map_err(|_| Trouble::NoRoom)?;
        staged.append(body).map_err(|_| Trouble::NoRoom)?;
        let offer = Offer { registration, blob, blob_bytes, shard, proof: proof.to_vec() };
        verify_staged(staged.as_ref(), &offer, shards, &Options::default())?;
        let record = FragmentRecord { key, registration, blob_bytes, proof: offer.proof };
        store.keep(vec![(record, staged)]).map_err(|_| Trouble::NoRoom)
    }

    /// Gives a recovery symbol, or its opening; a corrupter damages it on the way.
    pub(super) fn help(&mut self, node: usize, stream: StreamId, (pair, request): (PairIndex, SymbolRequest)) {
        if let Some(asker) = self.asker_of(stream) {
            let finding = self.laws.symbol_given(&self.nodes[node], &asker, &request);
            self.judge(finding);
        }
        let shards = self.context.params.shards;
        let store = self.nodes[node].disk.fragments.clone();
        let failed = |_| Answer::Refused { reason: Refusal::StoreFailed, retry_after_millis: None };
        let record = store.record(&request.blob, pair).ok().flatten();
        let Some(record) = record else {
            return self.reply(node, stream, fragment::frame_answer(&failed(())));
        };
        let kept = KeptFragment::new(&store, &record);
        let (source, options) = ((&record, &kept as _), Options::default());
        let mut symbol = Vec::new();
        let made = match request.part {
            SymbolPart::Bytes => give_symbol(&request, source, shards, &mut symbol, &options).map(|()| Vec::new()),
            SymbolPart::Opening => open_symbol(&request, source, shards, &options),
        };
        self.stats.symbols += 1;
        let answer = match made {
            Ok(opening) => Answer::Symbol { blob_bytes: record.blob_bytes, proof: record.proof.clone(), opening },
            Err(_) => failed(()),
        };
        if self.nodes[node].role == Role::Corrupter && self.villain_luck.coin() && !symbol.is_empty() {
            self.stats.corrupted += 1;
            let at = self.villain_luck.index(symbol.len());
            symbol[at] ^= 1 << self.villain_luck.below(8);
        }
        let mut answer = fragment::frame_answer(&answer);
        answer.extend(symbol);
        self.reply(node, stream, answer);
    }

    /// A fragment is about to be rebuilt: the laws look whether it may be.
    fn rebuild_begins(&mut self, node: usize, rebuild: &Rebuild) {
        let sequence = rebuild.sequence;
        self.trace.say(self.now, || {
            format!("{node} rebuilds shard {} of number {sequence} by {:?}", rebuild.shard, rebuild.right)
        });
        if self.holds(node, rebuild) {
            let words = format!("node {node} rebuilds shard {} of number {sequence}, which it has", rebuild.shard);
            let finding = self.laws.broken(Law::I11, words);
            self.judge(finding);
        }
    }
}
