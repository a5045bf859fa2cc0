//! Giving recovery symbols: who may have one, and what is read for it.
//!
//! A symbol is given under a right that this node's own ledger shows, and under no other: else a node that threw its
//! fragments away could fetch what it needs for an answer. A right is a ticket of the last plan, the trickle's turn, or a
//! standing right to what an uploader did not deliver; the ledger says which hold.
//!
//! A symbol counts against the same limits as a sliver that is read. What counts are the bytes that are read for it: of a
//! stored symbol its own, of one of the extension the whole sliver that it is computed from. An opening is a few hundred
//! bytes on the wire and one pass over a sliver for the holder, so it counts as that sliver.

use super::{Custody, Effect, StreamId};
use crate::fragments::{FragmentRecord, FragmentStore};
use crate::ledger_view::LedgerView;
use crate::wire::fragment::{Answer, Refusal, SymbolPart, SymbolRequest};
use floe_erasure::{
    FragmentError, Layout, LayoutError, Options, Part, Place, ReadAt, RecoveryError, SliverHashes, SliverId, pair_of,
    recovery_place, recovery_symbol,
};
use floe_types::{NodeId, PairIndex};
use std::io::{self, Write};

/// A fragment in a store, as a source of bytes: the primary sliver, then the secondary one.
pub struct KeptFragment<'a> {
    store: &'a dyn FragmentStore,
    record: &'a FragmentRecord,
}

impl<'a> KeptFragment<'a> {
    /// The fragment of `record` in `store`.
    #[must_use]
    pub fn new(store: &'a dyn FragmentStore, record: &'a FragmentRecord) -> KeptFragment<'a> {
        KeptFragment { store, record }
    }
}

impl ReadAt for KeptFragment<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        Ok(self.store.read_at(self.record, buffer, offset)?)
    }
}

/// Why a symbol was not made.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// There is no layout for a blob of this length.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// There is no such shard.
    #[error("there is no shard {target}")]
    Target {
        /// The shard to be rebuilt.
        target: floe_types::ShardIndex,
    },
    /// The fragment could not be read, or the symbol not be written.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The fragment could not be hashed.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
}

/// What a request is about, once the sizes are known.
struct Asked {
    layout: Layout,
    target: SliverId,
    place: Place,
}

impl Asked {
    fn of(request: &SymbolRequest, blob_bytes: u64, shards: u16) -> Result<Asked, SymbolError> {
        let layout = Layout::new(shards, blob_bytes)?;
        let missing = SymbolError::Target { target: request.target };
        if request.target.0 >= shards {
            return Err(missing);
        }
        let target = SliverId { pair: pair_of(&request.blob, request.target, shards), axis: request.axis };
        let place = recovery_place(&layout, target).ok_or(missing)?;
        Ok(Asked { layout, target, place })
    }

    /// Bytes that the holder reads for it.
    fn cost_bytes(&self, part: SymbolPart) -> u64 {
        match part {
            SymbolPart::Bytes if self.place.is_stored(&self.layout) => self.layout.symbol_bytes(),
            SymbolPart::Bytes | SymbolPart::Opening => self.layout.sliver_bytes(self.place.axis),
        }
    }
}

/// Makes the symbol of `request` out of this node's fragment of `record` and writes it to `sink`, in bounded memory.
///
/// # Errors
/// [`SymbolError`]. What was written then is not the symbol.
pub fn give_symbol(
    request: &SymbolRequest,
    (record, fragment): (&FragmentRecord, &dyn ReadAt),
    shards: u16,
    sink: &mut dyn Write,
    options: &Options<'_>,
) -> Result<(), SymbolError> {
    let asked = Asked::of(request, record.blob_bytes, shards)?;
    Ok(recovery_symbol(&asked.layout, record.key.pair, asked.target, (fragment, sink), options)?)
}

/// Opens the symbol of `request`: one pass over the sliver that it is of.
///
/// # Errors
/// [`SymbolError`].
pub fn open_symbol(
    request: &SymbolRequest,
    (record, fragment): (&FragmentRecord, &dyn ReadAt),
    shards: u16,
    options: &Options<'_>,
) -> Result<Vec<u8>, SymbolError> {
    let Asked { layout, place, .. } = Asked::of(request, record.blob_bytes, shards)?;
    let start = match place.axis {
        floe_erasure::Axis::Primary => 0,
        floe_erasure::Axis::Secondary => layout.primary_bytes(),
    };
    let sliver = Part::new(fragment, start);
    let hashes = SliverHashes::of(&layout, record.key.pair, place.axis, &sliver, options)?;
    let opening = hashes.open_symbol(&layout, place.symbol);
    Ok(opening.ok_or(SymbolError::Target { target: request.target })?.encode())
}

impl Custody {
    /// Gives a symbol when the ledger says that the asker may have it, and there is room.
    pub(super) fn symbol_asked(
        &mut self,
        (now, view): (u64, &dyn LedgerView),
        stream: StreamId,
        (peer, request): (NodeId, SymbolRequest),
        held: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        let shards = view.committee().shards();
        let refused = |reason, retry_after_millis| Answer::Refused { reason, retry_after_millis };
        if request.target.0 >= shards || request.shard.0 >= shards || request.target == request.shard {
            return effects.push(Effect::Answer { stream, answer: refused(Refusal::Malformed, None) });
        }
        if !view.allows(&peer, &request.blob, request.target, request.right) {
            let reason = Refusal::NoRight { target: request.target, epoch: view.epoch() };
            let answer = refused(reason, Some(self.config.right_retry_millis));
            return effects.push(Effect::Answer { stream, answer });
        }
        let asked = held.and_then(|bytes| Asked::of(&request, bytes, shards).ok());
        let Some(asked) = asked else {
            return effects.push(Effect::Answer { stream, answer: refused(Refusal::NotHeld, None) });
        };
        let bytes = asked.cost_bytes(request.part);
        if !self.begin_read((now, view), stream, peer, bytes) {
            let answer = Answer::Busy { retry_after_millis: self.config.busy_retry_millis };
            return effects.push(Effect::Answer { stream, answer });
        }
        let pair: PairIndex = pair_of(&request.blob, request.shard, shards);
        effects.push(Effect::Help { stream, pair, request });
    }
}
