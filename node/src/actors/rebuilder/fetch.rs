//! One fetch: what was wanted is asked of a holder and put where it belongs.

use super::Parts;
use super::actor::SharedBench;
use crate::actors::pipe::{BoxedPipe, CHUNK_BYTES, PipeError, read_header, write_frame};
use floe_erasure::{Axis, Layout, Options};
use floe_machines::handover::{Gap, Trouble as WholeTrouble};
use floe_machines::repair::{Bench, BenchError, Rebuild, Slot, SlotWriter, Trouble, Wanted};
use floe_machines::wire::fragment::{
    Answer, Ask, ReadAxis, ReadRange, Request, SymbolPart, SymbolRequest, decode_answer, frame_request,
};
use floe_network::Offence;
use floe_types::{NodeId, ShardIndex};
use futures::AsyncReadExt;
use std::io::{self, Write};
use std::sync::PoisonError;
use std::time::Duration;

/// How long a holder may take for its answer, and for each part of what follows.
const PATIENCE: Duration = Duration::from_secs(20);

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
    parts.whole.fetch(from, gap).await.map_err(|trouble| match trouble {
        WholeTrouble::Wrong => Trouble::Wrong,
        WholeTrouble::NotThere => Trouble::NotThere,
        WholeTrouble::Later { after_millis } => Trouble::Later { after_millis },
        WholeTrouble::Broken => Trouble::Broken,
        WholeTrouble::NoRoom => Trouble::NoRoom,
    })
}

/// What a fetch from one holder needs.
struct Exchange<'a> {
    parts: &'a Parts,
    from: NodeId,
    rebuild: Rebuild,
    bench: SharedBench,
}

impl Exchange<'_> {
    async fn ask(&self, ask: Ask) -> Result<(BoxedPipe, Answer), Trouble> {
        let exchange = async {
            let opened = self.parts.fragments.open(self.from).await;
            let mut pipe = opened.map_err(|error| PipeError::Io(io::Error::other(error.to_string())))?;
            let request = Request { network: self.parts.shared.context.network, ask };
            write_frame(&mut pipe, &frame_request(&request)).await?;
            let answer = read_header(&mut pipe).await.and_then(|header| Ok(decode_answer(&header)?))?;
            Ok::<_, PipeError>((pipe, answer))
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(asked)) => Ok(asked),
            Ok(Err(error)) => {
                if let PipeError::Header(_) = &error {
                    self.parts.shared.network.report(self.from, Offence::Garbage);
                }
                tracing::debug!(from = %self.from.short(), %error, "nothing came for a rebuild");
                Err(Trouble::Broken)
            }
            Err(_) => Err(Trouble::Broken),
        }
    }

    async fn ask_symbol(&self, shard: ShardIndex, axis: Axis, part: SymbolPart) -> Result<Symbol, Trouble> {
        let Rebuild { blob, shard: target, right, .. } = self.rebuild;
        let request = SymbolRequest { blob, shard, target, axis, part, right };
        let (pipe, answer) = self.ask(Ask::Symbol(request)).await?;
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
        let (mut pipe, answer) = self.ask(ask).await?;
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
            let length = usize::try_from(writer.left()).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let mut chunk = vec![0u8; length];
            let read = tokio::time::timeout(PATIENCE, pipe.read_exact(&mut chunk)).await;
            read.map_err(|_| Trouble::Broken)?.map_err(|_| Trouble::Broken)?;
            self.parts.shared.metrics.repair_bytes.inc_by(length as u64);
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
