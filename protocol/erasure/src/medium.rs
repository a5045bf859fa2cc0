//! Where the blob comes from and where its slivers go, stripe by stripe.
//!
//! A stripe of one symbol is a small run of bytes somewhere in the blob or in a sliver. When a stripe is the
//! whole symbol its neighbours follow directly, and all of them are read at once. A blob that lies in memory is not
//! read at all: its rows are used where they are, but for the last ones, which have padding.

use std::io;

use crate::error::EncodeError;
use crate::id::PairIndex;
use crate::io::{ReadAt, WriteAt};
use crate::layout::Layout;
use crate::stripe::Stripe;
use crate::tile::RowView;

/// The two ends of an encoding.
#[derive(Clone, Copy)]
pub(crate) struct Medium<'a> {
    layout: Layout,
    source: &'a dyn ReadAt,
    /// All of the blob, if it is in memory.
    blob: Option<&'a [u8]>,
    /// Nothing when only the id is asked for.
    sink: Option<&'a dyn WriteAt>,
}

/// Where in the sink the fragment of `pair` begins.
pub(crate) fn fragment_offset(layout: &Layout, pair: PairIndex) -> u64 {
    u64::from(pair.0) * layout.fragment_bytes()
}

/// Indices below `n` fit: `n` is a `u16`.
pub(crate) fn pair_index(index: usize) -> PairIndex {
    PairIndex(index as u16)
}

impl<'a> Medium<'a> {
    /// From the beginning of `source` to `sink`.
    pub(crate) fn new(layout: Layout, source: &'a dyn ReadAt, sink: Option<&'a dyn WriteAt>) -> Self {
        let blob = usize::try_from(layout.blob_bytes()).ok().and_then(|length| source.borrow_at(0, length));
        Self { layout, source, blob, sink }
    }

    /// The layout.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether slivers are kept.
    pub(crate) fn keeps(&self) -> bool {
        self.sink.is_some()
    }

    /// How many of the first rows are used where they are.
    pub(crate) fn rows_in_place(&self) -> usize {
        // Below `p`, unless the blob has no padding.
        self.blob.map_or(0, |blob| (blob.len() as u64 / self.layout.primary_bytes()) as usize)
    }

    /// The stripe of a row that is used where it is.
    pub(crate) fn row(&self, row: usize, stripe: Stripe) -> RowView<'a> {
        let bytes = self.layout.primary_bytes() as usize;
        let part = self.blob.and_then(|blob| blob.get(row * bytes..(row + 1) * bytes));
        let part = part.and_then(|row| row.get(stripe.start as usize..));
        RowView { bytes: part.unwrap_or(&[]), stride: self.layout.symbol_bytes() as usize }
    }

    /// Reads the stripe of a row, symbol after symbol.
    pub(crate) fn read_row(&self, row: usize, stripe: Stripe, into: &mut [u8]) -> Result<(), EncodeError> {
        let offset = self.layout.symbol_offset(row as u64, 0) + stripe.start;
        if stripe.bytes as u64 == self.layout.symbol_bytes() {
            return self.read(into, offset);
        }
        for (index, symbol) in into.chunks_mut(stripe.bytes).enumerate() {
            self.read(symbol, offset + index as u64 * self.layout.symbol_bytes())?;
        }
        Ok(())
    }

    /// Reads a part of the blob, which is zero after its end.
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), EncodeError> {
        let content = self.layout.blob_bytes().saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (content, padding) = buffer.split_at_mut(content);
        padding.fill(0);
        if content.is_empty() {
            return Ok(());
        }
        let bytes = content.len();
        self.source.read_exact_at(content, offset).map_err(|source| EncodeError::Read { offset, bytes, source })
    }

    /// Writes the stripe of all symbols of the primary sliver `row`.
    pub(crate) fn write_primary(&self, stripe: Stripe, row: usize, view: &RowView<'_>) -> Result<(), EncodeError> {
        let (columns, offset) = (usize::from(self.layout.columns()), fragment_offset(&self.layout, pair_index(row)));
        if view.stride == stripe.bytes && stripe.bytes as u64 == self.layout.symbol_bytes() {
            return self.write_whole(&view.bytes[..columns * stripe.bytes], offset);
        }
        let symbols = (0..columns).map(|column| view.symbol(column, 0..stripe.bytes));
        self.write_symbols(stripe, symbols, offset)
    }

    /// Writes bytes that follow each other, `offset` bytes from the sink's beginning.
    pub(crate) fn write_whole(&self, bytes: &[u8], offset: u64) -> Result<(), EncodeError> {
        let error = |source: io::Error| EncodeError::Write { offset, bytes: bytes.len(), source };
        self.sink.map_or(Ok(()), |sink| sink.write_all_at(bytes, offset).map_err(error))
    }

    /// Writes the stripe of all symbols of a sliver that begins at `offset` in the sink.
    pub(crate) fn write_symbols<'b>(
        &self,
        stripe: Stripe,
        symbols: impl Iterator<Item = &'b [u8]>,
        offset: u64,
    ) -> Result<(), EncodeError> {
        let Some(sink) = self.sink else {
            return Ok(());
        };
        let symbols: Vec<&[u8]> = symbols.collect();
        let offset = offset + stripe.start;
        let error = |source: io::Error| EncodeError::Write { offset, bytes: symbols.len() * stripe.bytes, source };
        sink.write_strided_at(&symbols, offset, self.layout.symbol_bytes()).map_err(error)
    }
}
