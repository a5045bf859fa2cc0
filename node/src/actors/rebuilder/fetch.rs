//! One fetch: what was wanted is asked of a holder and put where it belongs.

use super::Parts;
use super::actor::SharedBench;
use crate::actors::pipe::BoxedPipe;
use crate::actors::repairer::chunk;
use floe_erasure::{Axis, Layout, Options};
use floe_machines::handover::Gap;
use floe_machines::repair::{Bench, BenchError, Rebuild, Slot, SlotWriter, Trouble, Wanted};
use floe_machines::wire::fragment::{Answer, Ask, ReadAxis, ReadRange, SymbolPart, SymbolRequest};
use floe_types::{NodeId, ShardIndex};
use std::io::{self, Write};
use std::sync::PoisonError;

/// What is fetched, and the bench it is for; none for a whole fragment, which is fetched before there is a bench.
pub(super) struct Fetch {
    pub from: NodeId,
    pub wanted: Wanted,
    pub rebuild: Rebuild,
    pub bench: Option<SharedBench>,
}

/// Fetches it.
pub(super) async fn run(parts: &Parts, fetch: Fetch) -> Result<(), Trouble> {
    let Fetch { from, wanted, rebuild, bench } = fetch;
    if wanted == Wanted::Whole {
        return whole(parts, from, rebuild).await;
    }
    // Closed meanwhile: nobody waits for it.
    let Some(bench) = bench else { return Err(Trouble::Broken) };
    let exchange = Exchange { parts, from, rebuild, bench };
    match wanted {
        Wanted::Whole => Ok(()),
        Wanted::Symbol { shard, axis, slot } => exchange.symbol(shard, axis, slot).await,
        Wanted::Opening { shard, axis } => exchange.opening(shard, axis).await,
        Wanted::Line { shard, slot } => exchange.line(shard, slot).await,
    }
}

async fn whole(parts: &Parts, from: NodeId, rebuild: Rebuild) -> Result<(), Trouble> {
    let layout = Layout::new(rebuild.shards, rebuild.blob_bytes).map_err(|_| Trouble::NotThere)?;
    let gap = Gap {
        sequence: rebuild.sequence,
        registration: rebuild.registration,
        blob: rebuild.blob,
        blob_bytes: rebuild.blob_bytes,
        shard: rebuild.shard,
        group: rebuild.group,
        bytes: layout.fragment_bytes(),
        sources: Vec::new(),
    };
    parts.shared.metrics.repair_bytes.inc_by(gap.bytes);
    parts.holders.fetch(from, gap).await
}

/// What a fetch from one holder needs.
struct Exchange<'a> {
    parts: &'a Parts,
    from: NodeId,
    rebuild: Rebuild,
    bench: SharedBench,
}

impl Exchange<'_> {
    async fn ask_symbol(&self, shard: ShardIndex, axis: Axis, part: SymbolPart) -> Result<Symbol, Trouble> {
        let Rebuild { blob, shard: target, right, .. } = self.rebuild;
        let request = SymbolRequest { blob, shard, target, axis, part, right };
        let (pipe, answer) = self.parts.holders.ask(self.from, Ask::Symbol(request)).await?;
        match answer {
            Answer::Symbol { blob_bytes, proof, opening } if blob_bytes == self.rebuild.blob_bytes => {
                Ok(Symbol { pipe, proof, opening })
            }
            answer => Err(Trouble::of_answer(&answer)),
        }
    }

    async fn symbol(self, shard: ShardIndex, axis: Axis, slot: Slot) -> Result<(), Trouble> {
        let Symbol { mut pipe, proof, .. } = self.ask_symbol(shard, axis, SymbolPart::Bytes).await?;
        self.pour(&mut pipe, slot).await?;
        self.at_bench(move |bench| bench.took_symbol(shard, (axis, slot), &proof)).await
    }

    async fn opening(self, shard: ShardIndex, axis: Axis) -> Result<(), Trouble> {
        let Symbol { proof, opening, .. } = self.ask_symbol(shard, axis, SymbolPart::Opening).await?;
        self.at_bench(move |bench| bench.open(shard, &proof, &opening)).await
    }

    async fn line(self, shard: ShardIndex, slot: Slot) -> Result<(), Trouble> {
        let ask = Ask::Read { blob: self.rebuild.blob, shard, axis: ReadAxis::Primary, range: ReadRange::Whole };
        let (mut pipe, answer) = self.parts.holders.ask(self.from, ask).await?;
        let proof = match answer {
            Answer::Sliver { blob_bytes, proof } if blob_bytes == self.rebuild.blob_bytes => proof,
            answer => return Err(Trouble::of_answer(&answer)),
        };
        self.pour(&mut pipe, slot).await?;
        self.at_bench(move |bench| bench.took_line(shard, slot, &proof, &Options::default())).await
    }

    /// Writes what comes into a slot, a chunk at a time.
    async fn pour(&self, pipe: &mut BoxedPipe, slot: Slot) -> Result<(), Trouble> {
        let mut writer = self.bench.lock().unwrap_or_else(PoisonError::into_inner).slot(slot);
        while writer.left() > 0 {
            let chunk = chunk(pipe, writer.left()).await?;
            self.parts.shared.metrics.repair_bytes.inc_by(chunk.len() as u64);
            let job = move || -> io::Result<SlotWriter> {
                writer.write_all(&chunk)?;
                Ok(writer)
            };
            let written = self.parts.workers.run(job).await.map_err(|_| Trouble::Broken)?;
            writer = written.map_err(|error| {
                tracing::warn!(%error, "the scratch of a rebuild cannot be written");
                Trouble::NoRoom
            })?;
        }
        Ok(())
    }

    async fn at_bench(
        self,
        work: impl FnOnce(&mut Bench) -> Result<(), BenchError> + Send + 'static,
    ) -> Result<(), Trouble> {
        let bench = self.bench;
        let job = move || work(&mut bench.lock().unwrap_or_else(PoisonError::into_inner));
        let done = self.parts.workers.run(job).await.map_err(|_| Trouble::Broken)?;
        done.map_err(|error| {
            tracing::debug!(from = %self.from.short(), %error, "what came for a rebuild was not taken");
            error.trouble()
        })
    }
}

/// A symbol on its way, or its opening.
struct Symbol {
    pipe: BoxedPipe,
    proof: Vec<u8>,
    opening: Vec<u8>,
}
