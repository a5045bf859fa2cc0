//! One read of a range: only the units that it needs, each verified against the blob id.
//!
//! ```text
//! range --cut--> segments (neighbouring units of one row) --a window of them at a time--> Span machine --> exchanges
//!                                                              bytes in order <-- RangeReader <--´
//! ```
//!
//! - A segment is a run of units in one row: one request to its holder, or `p` requests when it must be decoded. Segments
//!   are as long as a window of them, decoded, fits into [`MEMORY_BYTES`], and at least a unit.
//! - Where units and their openings would be as many bytes as the blob's rows, the whole blob is read instead and its id
//!   confirmed: the range is proven, and cheaper. So it is with a blob of a few KiB.
//! - What a range of up to [`HELD_BYTES_MAX`] rests on is known before its first byte goes. A longer one is sent as it comes and
//!   called *derived*, because a holder may be gone before its end.

use super::ingress::{BodySender, Wanted};
use super::outbound;
use super::read;
use super::{Parts, problems};
use crate::actors::pipe::CHUNK_BYTES;
use crate::actors::wake;
use bytes::Bytes;
use floe_api::Problem;
use floe_api::model::BlobHead;
use floe_api::service::Provenance;
use floe_erasure::{Axis, CheckedPart, Grain, Layout, Need, RangePlan, RangeReader};
use floe_ledger::challenges::Unread;
use floe_machines::download::span::{Direct, Effect, Input, Span, Way};
use floe_machines::download::{Candidate, Trouble};
use floe_machines::wire::units::{RUN_BYTES_MAX, RUN_UNITS_MAX, UnitRun, unit_bytes};
use floe_types::BlobId;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Bytes of units that one range read holds, unless one segment alone needs more to be decoded.
const MEMORY_BYTES: u64 = 32 << 20;
/// Segments that are read at the same time.
const WINDOW_MAX: u64 = 4;
/// A range of up to so many bytes is answered when all of it is here.
const HELD_BYTES_MAX: u64 = 1 << 20;
/// News that wait for a segment: each exchange waits for its own to be taken.
const NEWS_MAX: usize = 64;

/// Things that exchanges tell a segment.
enum News {
    Moved(Way),
    Ended(Way, Result<Vec<CheckedPart>, Trouble>),
}

/// Neighbouring units of one row, and the bytes of the range that they have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    first: Need,
    run: UnitRun,
    bytes: Range<u64>,
}

/// What every segment of a read needs.
#[derive(Clone)]
struct Reading {
    parts: Arc<Parts>,
    blob: BlobId,
    layout: Layout,
}

/// Reads the bytes of `wanted` into `body`.
pub(super) async fn run(parts: Arc<Parts>, head: BlobHead, wanted: Wanted, body: BodySender) {
    let Wanted { bytes: range, told } = wanted;
    let layout = Layout::new(parts.ledger.committee().shards(), head.length);
    let plan = layout.map_err(|error| error.to_string()).and_then(|layout| {
        RangePlan::new(&layout, range.clone()).map(|plan| (layout, plan)).map_err(|error| error.to_string())
    });
    let (layout, plan) = match plan {
        Ok(plan) => plan,
        Err(error) => return drop(body.send(Err(problems::internal("reading a range", &error))).await),
    };
    if costs_more_than_all(&plan, &layout) {
        // The asker may have left.
        let _ = told.send(Provenance::Proven);
        return read::run(parts, head, range, body).await;
    }
    let begun = Instant::now();
    let metrics = Arc::clone(&parts.shared.metrics);
    let gone = body.clone();
    let reading = Reading { parts, blob: head.blob_id, layout };
    let result = tokio::select! {
        result = send(reading, &plan, told, body) => result,
        () = gone.closed() => Sent { bytes: 0, outcome: "abandoned" },
    };
    if result.outcome == "complete" {
        metrics.read_seconds.observe(begun.elapsed().as_secs_f64());
    }
    metrics.reads.with_label_values(&[result.outcome]).inc();
    metrics.gateway_bytes.with_label_values(&["out"]).inc_by(result.bytes);
}

/// How a read went.
struct Sent {
    bytes: u64,
    outcome: &'static str,
}

/// Whether the units of `plan` with their openings are at least as many bytes as the rows of the blob.
fn costs_more_than_all(plan: &RangePlan, layout: &Layout) -> bool {
    let Some(first) = plan.needs().next() else { return true };
    let (_, place) = first.in_row();
    let each = Grain::Unit.part_bytes(layout).saturating_add(place.opening_bytes(layout) as u64);
    plan.len().saturating_mul(each) >= layout.primary_bytes().saturating_mul(u64::from(layout.rows()))
}

/// Bytes of units and openings of a segment at most, and how many segments at a time.
fn sizes(layout: &Layout) -> (u64, usize) {
    let ways = u64::from(layout.rows()) + 2;
    let bytes = (MEMORY_BYTES / ways / WINDOW_MAX).min(RUN_BYTES_MAX);
    // At least a unit: with many rows the window is narrower instead.
    let unit = Grain::Unit.part_bytes(layout) * ways;
    let window = (MEMORY_BYTES / unit.max(1)).clamp(1, WINDOW_MAX);
    (bytes, usize::try_from(window).unwrap_or(1))
}

/// The segments of `plan`, in order.
fn segments(plan: &RangePlan, layout: Layout) -> impl Iterator<Item = Segment> + use<> {
    let (range, bytes_max) = (plan.range(), sizes(&layout).0);
    let mut needs = plan.needs().peekable();
    let cost = move |need: &Need| unit_bytes(&need.in_row().1, &layout);
    let start = move |need: &Need| {
        layout.symbol_offset(u64::from(need.row), u64::from(need.column)) + need.in_row().1.range(&layout).start
    };
    std::iter::from_fn(move || {
        let first = needs.next()?;
        let (mut last, mut count, mut bytes) = (first, 1u16, cost(&first));
        while let Some(next) = needs.next_if(|next| {
            next.row == first.row && count < RUN_UNITS_MAX && bytes.saturating_add(cost(next)) <= bytes_max
        }) {
            (last, count, bytes) = (next, count + 1, bytes + cost(&next));
        }
        let within = last.in_row().1.range(&layout);
        let end = start(&last) + (within.end - within.start);
        let number = u64::from(first.column) * Grain::Unit.parts(&layout) + first.unit;
        let bytes = start(&first).max(range.start)..end.min(range.end);
        Some(Segment { first, run: UnitRun { first: number, count }, bytes })
    })
}

/// Reads the segments and sends them in order.
async fn send(
    reading: Reading,
    plan: &RangePlan,
    told: tokio::sync::oneshot::Sender<Provenance>,
    body: BodySender,
) -> Sent {
    let range = plan.range();
    let window = sizes(&reading.layout).1;
    let tasks = segments(plan, reading.layout).map(|segment| reading.clone().segment(segment));
    let mut read = futures::stream::iter(tasks).buffered(window);
    let mut told = Some(told);
    let mut held = Vec::new();
    let mut proven = Provenance::Proven;
    let mut sent = Sent { bytes: 0, outcome: "failed" };
    let is_held = range.end - range.start <= HELD_BYTES_MAX;
    if !is_held && let Some(told) = told.take() {
        let _ = told.send(Provenance::Derived);
    }
    while let Some(segment) = read.next().await {
        let (bytes, provenance) = match segment {
            Ok(segment) => segment,
            Err(problem) => {
                // The client may have left.
                let _ = body.send(Err(problem)).await;
                return sent;
            }
        };
        if provenance == floe_erasure::Provenance::Derived {
            proven = Provenance::Derived;
        }
        held.push(Bytes::from(bytes));
        if is_held {
            continue;
        }
        if !send_all(&body, &mut held, &mut sent.bytes).await {
            return Sent { outcome: "abandoned", ..sent };
        }
    }
    if let Some(told) = told.take() {
        let _ = told.send(proven);
    }
    sent.outcome = if send_all(&body, &mut held, &mut sent.bytes).await { "complete" } else { "abandoned" };
    sent
}

/// Sends what is held. False when the client has left.
async fn send_all(body: &BodySender, held: &mut Vec<Bytes>, sent: &mut u64) -> bool {
    for mut bytes in held.drain(..) {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            let length = piece.len() as u64;
            if body.send(Ok(piece)).await.is_err() {
                return false;
            }
            *sent += length;
        }
    }
    true
}

impl Reading {
    /// Reads one segment: its bytes, and how they came about.
    async fn segment(self, segment: Segment) -> Result<(Vec<u8>, floe_erasure::Provenance), Problem> {
        let (machine, columns) = self.machine(&segment);
        let mut gathering = Gathering {
            reading: &self,
            segment: &segment,
            columns,
            tasks: JoinSet::new(),
            exchanges: BTreeMap::new(),
            parts: BTreeMap::new(),
        };
        let parts = gathering.gather(machine).await?;
        let (blob, layout) = (self.blob, self.layout);
        let job = move || {
            let plan = RangePlan::new(&layout, segment.bytes).ok()?;
            let held: u64 = parts.iter().map(|part| part.bytes().len() as u64).sum();
            let mut reader = RangeReader::new(&blob, plan, held);
            for part in parts {
                reader.offer(part).ok()?;
            }
            let mut bytes = Vec::new();
            while let Some(next) = reader.next_bytes() {
                bytes.extend(next);
            }
            reader.waiting_for().is_none().then(|| (bytes, reader.provenance()))
        };
        let put = self.parts.coding.run(job).await.map_err(|_| problems::stopping())?;
        put.ok_or_else(|| problems::internal("putting a range together", &"a verified unit is of no use"))
    }

    /// The machine of a segment, and the run that each of its direct ways is asked for.
    fn machine(&self, segment: &Segment) -> (Span, Vec<(Axis, UnitRun)>) {
        let (layout, first) = (&self.layout, segment.first);
        let candidates = read::candidates(&self.parts, &self.blob, layout);
        let of = |wanted| candidates.iter().filter(move |candidate: &&Candidate| candidate.pair == wanted).copied();
        let row = first.in_row().0;
        let mut direct: Vec<Direct> = of(row).map(|candidate| Direct { axis: Axis::Primary, candidate }).collect();
        let mut runs = vec![(Axis::Primary, segment.run); direct.len()];
        // Units of one symbol are in one column, too.
        let parts = Grain::Unit.parts(layout);
        if first.unit + u64::from(segment.run.count) <= parts {
            let run = UnitRun { first: u64::from(first.row) * parts + first.unit, count: segment.run.count };
            direct.extend(of(first.in_column(layout).0).map(|candidate| Direct { axis: Axis::Secondary, candidate }));
            runs.resize(direct.len(), (Axis::Secondary, run));
        }
        let others = candidates.iter().filter(|candidate| candidate.pair != row).copied().collect();
        let bytes = segment.run.answer_bytes(layout, Axis::Primary).unwrap_or(0);
        let config = self.parts.config.download.clone();
        (Span::new(config, layout.rows(), bytes, direct, others), runs)
    }
}

/// A segment that is being read.
struct Gathering<'a> {
    reading: &'a Reading,
    segment: &'a Segment,
    columns: Vec<(Axis, UnitRun)>,
    tasks: JoinSet<()>,
    exchanges: BTreeMap<Way, AbortHandle>,
    parts: BTreeMap<Way, Vec<CheckedPart>>,
}

impl Gathering<'_> {
    /// Runs the machine until there is enough.
    async fn gather(&mut self, mut machine: Span) -> Result<Vec<CheckedPart>, Problem> {
        let (news, mut heard) = mpsc::channel(NEWS_MAX);
        let begun = Instant::now();
        let now = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut input = Input::Started;
        loop {
            for effect in machine.step(now(), input) {
                match effect {
                    Effect::Ask { way, member, shard, pair, axis } => {
                        let Reading { blob, layout, .. } = *self.reading;
                        self.ask(way, outbound::Wanted { blob, layout, member, shard, pair }, axis, news.clone());
                    }
                    Effect::Cancel { way } => {
                        if let Some(exchange) = self.exchanges.remove(&way) {
                            exchange.abort();
                        }
                    }
                    Effect::Misbehaved { member, shard } => {
                        outbound::misbehaved(&self.reading.parts, &self.reading.blob, (member, shard));
                    }
                    Effect::Stalled { member, shard, axis } => {
                        let what = Unread { blob: self.reading.blob, shard, axis, unit: None };
                        self.reading.parts.unread(member, what);
                    }
                    Effect::Ready { ways } => {
                        return Ok(ways.iter().filter_map(|way| self.parts.remove(way)).flatten().collect());
                    }
                    Effect::Failed { failure } => return Err(problems::unavailable(self.reading.blob, failure)),
                }
            }
            input = tokio::select! {
                // What came while the client took its time counts before that time does.
                biased;
                // Never closed: this holds a sender.
                Some(news) = heard.recv() => self.hear(news),
                () = wake::due(machine.wake_at(), now()) => Input::Tick,
            };
        }
    }

    fn hear(&mut self, news: News) -> Input {
        match news {
            News::Moved(way) => Input::Moved { way },
            News::Ended(way, ended) => {
                self.exchanges.remove(&way);
                match ended {
                    Ok(parts) => {
                        self.parts.insert(way, parts);
                        Input::Verified { way }
                    }
                    Err(trouble) => Input::Failed { way, trouble },
                }
            }
        }
    }

    fn ask(&mut self, way: Way, wanted: outbound::Wanted, axis: Axis, news: mpsc::Sender<News>) {
        let run = match way {
            Way::Direct(number) => self.columns.get(number).copied(),
            Way::OtherRow(_) => None,
        };
        let (run, parts) = (run.unwrap_or((axis, self.segment.run)), Arc::clone(&self.reading.parts));
        let exchange = async move {
            // Full: other news are on their way, which say that something moves as well.
            let moved = || drop(news.try_send(News::Moved(way)));
            let ended = outbound::read_units(&parts, wanted, run, moved).await;
            let _ = news.send(News::Ended(way, ended)).await;
        };
        self.exchanges.insert(way, self.tasks.spawn_local(exchange));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_the_range_in_order_each_within_one_row_and_its_bounds() {
        for (length, range) in [
            (16 << 20, 0..16 << 20),
            (16 << 20, 7_000_001..7_001_025),
            (300_001, 5..300_000),
            (5_000_000_000, 999_999_999..1_100_000_001),
        ] {
            let layout = Layout::new(28, length).unwrap();
            let plan = RangePlan::new(&layout, range.clone()).unwrap();
            let (mut at, mut units) = (range.start, 0);
            for segment in segments(&plan, layout) {
                assert_eq!(segment.bytes.start, at);
                assert!(segment.bytes.end > at);
                assert!(segment.run.answer_bytes(&layout, Axis::Primary).unwrap() <= RUN_BYTES_MAX);
                at = segment.bytes.end;
                units += u64::from(segment.run.count);
                assert_eq!(RangePlan::new(&layout, segment.bytes).unwrap().len(), u64::from(segment.run.count));
            }
            assert_eq!((at, units), (range.end, plan.len()));
        }
    }

    #[test]
    fn a_range_that_would_move_more_than_the_blob_is_read_as_the_blob() {
        let costs = |length: u64, range: Range<u64>| {
            let layout = Layout::new(28, length).unwrap();
            costs_more_than_all(&RangePlan::new(&layout, range).unwrap(), &layout)
        };
        assert!(costs(1_000, 0..1_000) && costs(1_000, 10..500) && costs(16 << 20, 0..16 << 20));
        assert!(costs(16 << 20, 5..5), "an empty range");
        assert!(!costs(16 << 20, 0..1_024) && !costs(1_000, 0..10));
    }
}
