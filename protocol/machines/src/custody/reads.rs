//! Serving slivers within limits: slots and bytes, for each peer and in all, the last slots for members.

use super::{Custody, Effect, StreamId};
use crate::ledger_view::LedgerView;
use crate::wire::fragment::{Answer, ReadAxis, ReadRange, Refusal};
use floe_erasure::{Layout, pair_of};
use floe_types::{BlobId, NodeId, ShardIndex};
use std::collections::BTreeMap;

/// A request for a sliver.
pub(super) struct Asked {
    pub peer: NodeId,
    pub blob: BlobId,
    pub shard: ShardIndex,
    pub axis: ReadAxis,
    pub range: ReadRange,
    pub held: Option<u64>,
}

#[derive(Debug)]
struct Reading {
    peer: NodeId,
    bytes: u64,
    deadline: u64,
}

/// Slivers on their way out.
#[derive(Debug, Default)]
pub(super) struct Reads {
    serving: BTreeMap<StreamId, Reading>,
}

impl Reads {
    pub(super) fn count(&self) -> usize {
        self.serving.len()
    }

    pub(super) fn done(&mut self, stream: StreamId) {
        self.serving.remove(&stream);
    }

    pub(super) fn wake_at(&self) -> Option<u64> {
        self.serving.values().map(|reading| reading.deadline).min()
    }

    /// Ends what has been too slow.
    pub(super) fn expire(&mut self, now: u64, effects: &mut Vec<Effect>) {
        self.serving.retain(|stream, reading| {
            let in_time = now < reading.deadline;
            if !in_time {
                effects.push(Effect::Close { stream: *stream });
            }
            in_time
        });
    }
}

impl Custody {
    pub(super) fn read_asked(
        &mut self,
        now: u64,
        view: &dyn LedgerView,
        stream: StreamId,
        asked: Asked,
        effects: &mut Vec<Effect>,
    ) {
        let shards = view.committee().shards();
        let layout = asked.held.and_then(|length| Layout::new(shards, length).ok());
        let Some(layout) = layout.filter(|_| asked.shard.0 < shards) else {
            let answer = Answer::Refused { reason: Refusal::NotHeld, retry_after_millis: None };
            return effects.push(Effect::Answer { stream, answer });
        };
        let pair = pair_of(&asked.blob, asked.shard, shards);
        let (blob, span) = (asked.blob, asked.axis.span(&layout));
        let serve = match (asked.range, asked.axis.axis()) {
            (ReadRange::Whole, _) => Some((span.end - span.start, Effect::Serve { stream, blob, pair, span })),
            (ReadRange::Units(run), Some(axis)) => {
                run.answer_bytes(&layout, axis).map(|bytes| (bytes, Effect::ServeUnits { stream, axis, run }))
            }
            (ReadRange::Units(_), None) => None,
        };
        let Some((bytes, serve)) = serve else {
            let answer = Answer::Refused { reason: Refusal::Malformed, retry_after_millis: None };
            return effects.push(Effect::Answer { stream, answer });
        };
        if !self.begin_read((now, view), stream, asked.peer, bytes) {
            let answer = Answer::Busy { retry_after_millis: self.config.busy_retry_millis };
            return effects.push(Effect::Answer { stream, answer });
        }
        effects.push(serve);
    }

    /// Takes a place for something that is read for a peer; false when there is none.
    pub(super) fn begin_read(
        &mut self,
        (now, view): (u64, &dyn LedgerView),
        stream: StreamId,
        peer: NodeId,
        bytes: u64,
    ) -> bool {
        let has_room = self.has_read_room(view, &peer, bytes);
        if has_room {
            let deadline = self.config.deadline(now, bytes);
            self.reads.serving.insert(stream, Reading { peer, bytes, deadline });
        }
        has_room
    }

    fn has_read_room(&self, view: &dyn LedgerView, peer: &NodeId, bytes: u64) -> bool {
        let config = &self.config;
        let of_peer = || self.reads.serving.values().filter(|reading| reading.peer == *peer);
        let sum = |total: u64, reading: &Reading| total.saturating_add(reading.bytes);
        let (all_bytes, peer_bytes) = (self.reads.serving.values().fold(0, sum), of_peer().fold(0, sum));
        let fits = |used: u64, max: u64| used == 0 || used.saturating_add(bytes) <= max;
        let reserved = match view.committee().index_of(peer) {
            Some(_) => 0,
            None => config.reads_reserved,
        };
        self.reads.serving.len() < config.reads_max.saturating_sub(reserved)
            && of_peer().count() < config.reads_per_peer_max
            && fits(all_bytes, config.read_bytes_max)
            && fits(peer_bytes, config.read_bytes_per_peer_max)
    }
}
