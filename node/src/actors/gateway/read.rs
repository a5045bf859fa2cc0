//! One read: carries out the effects of a download's machine, then puts the blob together and confirms its id.

use super::feed::{Allowed, feed, withheld};
use super::ingress::BodySender;
use super::outbound::{self, Wanted};
use super::slivers::{self, Place, Source, Taken, Verified};
use super::{Parts, accuse, problems};
use crate::actors::wake;
use floe_api::Problem;
use floe_api::model::BlobHead;
use floe_erasure::{Axis, Layout, pair_of};
use floe_ledger::challenges::Unread;
use floe_machines::download::{Candidate, Download, Effect, Input, Trouble};
use floe_machines::ledger_view::LedgerView;
use floe_types::{BlobId, NodeId, PairIndex, ShardIndex};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Things that exchanges tell a read.
enum News {
    Moved(PairIndex),
    Ended(PairIndex, Result<Taken, Trouble>),
}

/// News that wait for a read: each exchange waits for its own to be taken.
const NEWS_MAX: usize = 64;

/// Stops work on the coding threads when the read is over, however it ended.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Reading {
    parts: Arc<Parts>,
    blob: BlobId,
    layout: Layout,
    place: Place,
    verified: Verified,
    exchanges: BTreeMap<PairIndex, AbortHandle>,
    tasks: JoinSet<()>,
    news: mpsc::Sender<News>,
    allow: watch::Sender<Allowed>,
    /// Where what the client gets ends.
    end: u64,
    /// Its last bytes, withheld until the id is confirmed.
    withheld: u64,
}

/// Reads the blob of `head` into `body`, as far as it is in `range`. All of it is read and confirmed in any case.
pub(super) async fn run(parts: Arc<Parts>, head: BlobHead, range: Range<u64>, body: BodySender) {
    let begun = Instant::now();
    let metrics = Arc::clone(&parts.shared.metrics);
    let (allow, allowed) = watch::channel(Allowed::Nothing);
    let first = {
        let metrics = Arc::clone(&metrics);
        move || metrics.read_seconds.observe(begun.elapsed().as_secs_f64())
    };
    let gone = body.clone();
    let feeding = feed(parts.files.clone(), range.clone(), allowed, body.clone(), first);
    let reading = async {
        let result = tokio::select! {
            result = read(Arc::clone(&parts), &head, &range, &allow) => result,
            () = gone.closed() => return "abandoned",
        };
        match result {
            Ok(source) => {
                allow.send_replace(Allowed::UpTo { bytes: head.length, source });
                "complete"
            }
            Err(problem) => {
                // Where there are no bytes the feeder cannot tell.
                if range.is_empty() {
                    let _ = body.send(Err(problem.clone())).await;
                }
                allow.send_replace(Allowed::Failed(problem));
                "failed"
            }
        }
    };
    let (mut outcome, sent) = tokio::join!(reading, feeding);
    if outcome == "complete" && sent < range.end - range.start {
        outcome = "abandoned";
    }
    metrics.reads.with_label_values(&[outcome]).inc();
    metrics.gateway_bytes.with_label_values(&["out"]).inc_by(sent);
}

/// Gathers slivers, puts the blob together, confirms its id.
async fn read(
    parts: Arc<Parts>,
    head: &BlobHead,
    range: &Range<u64>,
    allow: &watch::Sender<Allowed>,
) -> Result<Source, Problem> {
    let blob = head.blob_id;
    let committee = parts.ledger.committee();
    let layout = Layout::new(committee.shards(), head.length).map_err(|error| problems::internal("reading", &error))?;
    let place = Place::new(&parts, &layout).map_err(|error| problems::internal("the spool", &error))?;
    let (news, mut heard) = mpsc::channel(NEWS_MAX);
    let mut reading = Reading {
        blob,
        layout,
        place,
        verified: Verified::new(),
        exchanges: BTreeMap::new(),
        tasks: JoinSet::new(),
        news,
        allow: allow.clone(),
        end: range.end,
        withheld: withheld(range.end - range.start),
        parts,
    };
    let candidates = candidates(&reading.parts, &blob, &layout);
    let machine =
        Download::new(reading.parts.config.download.clone(), layout.rows(), layout.primary_bytes(), candidates);
    reading.gather(machine, &mut heard).await?;
    reading.confirm().await
}

/// Who covers which sliver, as the ledger says.
pub(super) fn candidates(parts: &Parts, blob: &BlobId, layout: &Layout) -> Vec<Candidate> {
    let covering = parts.ledger.look(|view| {
        let facts = view.blob(blob);
        let rows = facts.map(|facts| facts.coverage).unwrap_or_default();
        rows.iter().map(|row| (row.shard, row.node)).collect::<Vec<(ShardIndex, NodeId)>>()
    });
    let speeds = parts.speeds.lock().unwrap_or_else(PoisonError::into_inner);
    let candidate = |(shard, member)| {
        let pair = pair_of(blob, shard, layout.shards());
        Candidate { pair, shard, member, speed: speeds.speed(&member) }
    };
    covering.into_iter().map(candidate).collect()
}

impl Reading {
    /// Runs the machine until there are enough slivers.
    async fn gather(&mut self, mut machine: Download, heard: &mut mpsc::Receiver<News>) -> Result<(), Problem> {
        let begun = Instant::now();
        let now = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut input = Input::Started;
        loop {
            for effect in machine.step(now(), input) {
                match effect {
                    Effect::Ask { member, shard, pair } => self.ask(member, shard, pair),
                    Effect::Cancel { pair } => {
                        if let Some(exchange) = self.exchanges.remove(&pair) {
                            exchange.abort();
                        }
                    }
                    Effect::Misbehaved { member, shard } => {
                        outbound::misbehaved(&self.parts, &self.blob, (member, shard));
                    }
                    Effect::Stalled { member, shard } => {
                        let what = Unread { blob: self.blob, shard, axis: Axis::Primary, unit: None };
                        self.parts.unread(member, what);
                    }
                    Effect::Prefix { rows } => self.allow_prefix(rows),
                    Effect::Ready { pairs } => {
                        self.verified.retain(|pair, _| pairs.contains(pair));
                        return Ok(());
                    }
                    Effect::Failed { failure } => return Err(problems::unavailable(self.blob, failure)),
                }
            }
            input = tokio::select! {
                // Never closed: this holds a sender.
                Some(news) = heard.recv() => self.hear(news),
                () = wake::due(machine.wake_at(), now()) => Input::Tick,
            };
        }
    }

    fn hear(&mut self, news: News) -> Input {
        match news {
            News::Moved(pair) => Input::Moved { pair },
            News::Ended(pair, Ok(taken)) => {
                self.exchanges.remove(&pair);
                self.verified.insert(pair, taken);
                Input::Verified { pair }
            }
            News::Ended(pair, Err(trouble)) => {
                self.exchanges.remove(&pair);
                Input::Failed { pair, trouble }
            }
        }
    }

    fn ask(&mut self, member: NodeId, shard: ShardIndex, pair: PairIndex) {
        let wanted = Wanted { blob: self.blob, layout: self.layout, member, shard, pair };
        let (parts, news, sink) = (Arc::clone(&self.parts), self.news.clone(), self.place.sink(&self.layout, pair));
        let exchange = async move {
            // Full: other news are on their way, which say that something moves as well.
            let moved = || drop(news.try_send(News::Moved(pair)));
            let ended = outbound::read(&parts, wanted, sink, moved).await;
            let _ = news.send(News::Ended(pair, ended)).await;
        };
        self.exchanges.insert(pair, self.tasks.spawn_local(exchange));
    }

    /// Lets the client have what the first systematic slivers hold, but the end of the blob.
    fn allow_prefix(&self, rows: u16) {
        let bytes = (u64::from(rows) * self.layout.primary_bytes()).min(self.confirmed_from());
        if bytes > 0 {
            let source = slivers::rows(&self.verified, &self.layout, rows);
            self.allow.send_replace(Allowed::UpTo { bytes, source });
        }
    }

    /// Where the part begins that is sent only after the id is confirmed.
    fn confirmed_from(&self) -> u64 {
        self.end - self.withheld
    }

    /// Puts the blob together, lets the client have all but its end, and confirms the id over the very same bytes.
    async fn confirm(self) -> Result<Source, Problem> {
        let cancel = CancelOnDrop(Arc::new(AtomicBool::new(false)));
        let (layout, into, flag) =
            (self.layout, slivers::decoded_path(&self.parts, &self.place), Arc::clone(&cancel.0));
        let bytes = self.confirmed_from();
        let verified = Arc::new(self.verified);
        let from = Arc::clone(&verified);
        let assembled = self.parts.coding.run(move || slivers::assemble(&from, &layout, into, &flag)).await;
        let source = assembled.map_err(|_| problems::stopping())?;
        let source = source.map_err(|error| problems::internal("decoding", &error))?;
        if bytes > 0 {
            self.allow.send_replace(Allowed::UpTo { bytes, source: source.clone() });
        }
        let (flag, from) = (Arc::clone(&cancel.0), source.clone());
        let derived = self.parts.coding.run(move || slivers::derive(&from, &layout, &flag)).await;
        let derived = derived.map_err(|_| problems::stopping())?;
        let derived = derived.map_err(|error| problems::internal("deriving the blob id", &error))?;
        if derived == self.blob {
            return Ok(source);
        }
        // Whoever reads after this is told by the ledger; this reader is told that it has wrong bytes.
        accuse::start(&self.parts, verified);
        Err(problems::inconsistent(self.blob))
    }
}
