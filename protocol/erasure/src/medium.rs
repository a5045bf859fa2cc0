//! Where the blob comes from and where its slivers go, stripe by stripe.
//!
//! A stripe of one symbol is a small run of bytes somewhere in the blob or in a sliver. When a stripe is the
//! whole symbol its neighbours follow directly, and all of them are read or written at once.

use std::io;

use crate::error::EncodeError;
use crate::id::PairIndex;
use crate::io::{ReadAt, WriteAt};
use crate::layout::Layout;
use crate::stripe::Stripe;
use crate::tile::Geometry;

/// The two ends of an encoding.
#[derive(Clone, Copy)]
pub(crate) struct Medium<'a> {
    pub(crate) layout: Layout,
    pub(crate) source: &'a dyn ReadAt,
    /// Nothing when only the id is asked for.
    pub(crate) sink: Option<&'a dyn WriteAt>,
}

/// Where in the sink the fragment of `pair` begins.
pub(crate) fn fragment_offset(layout: &Layout, pair: PairIndex) -> u64 {
    u64::from(pair.0) * layout.fragment_bytes()
}

/// Indices below `n` fit: `n` is a `u16`.
pub(crate) fn pair_index(index: usize) -> PairIndex {
    PairIndex(index as u16)
}

impl Medium<'_> {
    /// Reads the source symbols of some columns, the first of which is `first`.
    pub(crate) fn read_columns(
        &self,
        geometry: &Geometry,
        stripe: Stripe,
        first: usize,
        columns: &mut [u8],
        run: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let width = stripe.bytes;
        let column_bytes = geometry.n * width;
        for row in 0..geometry.p {
            let offset = self.layout.symbol_offset(row as u64, first as u64) + stripe.start;
            let place = row * width..(row + 1) * width;
            if width as u64 == self.layout.symbol_bytes() {
                // Symbols of a row are neighbours in the blob: one read for all of them.
                run.resize(columns.len() / column_bytes * width, 0);
                self.read(run, offset)?;
                for (column, symbol) in columns.chunks_mut(column_bytes).zip(run.chunks(width)) {
                    column[place.clone()].copy_from_slice(symbol);
                }
            } else {
                for (index, column) in columns.chunks_mut(column_bytes).enumerate() {
                    self.read(&mut column[place.clone()], offset + index as u64 * self.layout.symbol_bytes())?;
                }
            }
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
    pub(crate) fn write_primary(
        &self,
        geometry: &Geometry,
        stripe: Stripe,
        columns: &[u8],
        row: usize,
        run: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let symbols = columns.chunks(geometry.n * stripe.bytes);
        let symbols = symbols.map(|column| &column[row * stripe.bytes..(row + 1) * stripe.bytes]);
        self.write_symbols(stripe, symbols, fragment_offset(&self.layout, pair_index(row)), run)
    }

    /// Writes the stripe of all symbols of a sliver that begins at `offset` in the sink.
    pub(crate) fn write_symbols<'b>(
        &self,
        stripe: Stripe,
        symbols: impl Iterator<Item = &'b [u8]>,
        offset: u64,
        run: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let Some(sink) = self.sink else {
            return Ok(());
        };
        let write = |bytes: &[u8], offset: u64| {
            let error = |source: io::Error| EncodeError::Write { offset, bytes: bytes.len(), source };
            sink.write_all_at(bytes, offset).map_err(error)
        };
        if stripe.bytes as u64 == self.layout.symbol_bytes() {
            // Whole symbols are neighbours in the sliver: one write for all of them.
            run.clear();
            symbols.for_each(|symbol| run.extend_from_slice(symbol));
            return write(run, offset);
        }
        let mut offset = offset + stripe.start;
        for symbol in symbols {
            write(symbol, offset)?;
            offset += self.layout.symbol_bytes();
        }
        Ok(())
    }
}
