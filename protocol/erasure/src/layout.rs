//! Sizes and shapes: everything about an encoding that follows from `n` and the blob's length alone.
//!
//! ```text
//!              c columns            n columns
//!           +-----------------+-----------+
//!   p rows  | source, row by  | rows      |     p = n - 2f      f = (n-1)/3, rounded down
//!           | row, then zeros | extended  |     c = n - f
//!           +-----------------+-----------+
//!           | columns         | both: only|     primary sliver i   = row i,    its first c symbols
//!   n rows  | extended        | hashed    |     secondary sliver j = column j, its first p symbols
//!           +-----------------+-----------+     pair i = primary i with secondary n-1-i
//! ```
//!
//! The symbol size is the smallest even number of bytes, at least 2, with `p * c` symbols holding the
//! blob: elements of GF(2^16) have two bytes. A symbol may be as long as the blob needs.
//!
//! # Source
//! Red Stuff, Walrus (arXiv 2505.05370), section 3. We differ in the symbol size, which has no upper
//! limit here, so that a small committee can hold a large blob in one piece.

use reed_solomon_simd::ReedSolomonEncoder;
use serde::{Deserialize, Serialize};

use crate::id::PairIndex;

/// Fewest shards the code is defined for: one faulty shard needs four.
pub const SHARDS_MIN: u16 = 4;

/// The shape of one blob's encoding. Made by [`Layout::new`], so always consistent.
///
/// All sizes are in bytes. Two layouts are equal when shards and length are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    shards: u16,
    length: u64,
    symbol_bytes: u64,
}

/// Why there is no layout for these numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The number of shards is below four, or above what a code over GF(2^16) can serve.
    #[error("no code for {shards} shards")]
    Shards {
        /// What was asked for.
        shards: u16,
    },
    /// The encoding would have more bytes than can be counted.
    #[error("a blob of {length} bytes is too long for {shards} shards")]
    Length {
        /// What was asked for.
        shards: u16,
        /// What was asked for.
        length: u64,
    },
}

/// One of the two kinds of sliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Axis {
    /// Rows: `c` symbols, any `p` slivers give the blob.
    Primary,
    /// Columns: `p` symbols, any `c` slivers give the blob.
    Secondary,
}

impl Axis {
    /// The other of the two.
    pub fn other(self) -> Self {
        match self {
            Self::Primary => Self::Secondary,
            Self::Secondary => Self::Primary,
        }
    }
}

impl std::fmt::Display for Axis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        })
    }
}

/// One sliver of a blob: whose, and which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SliverId {
    /// The pair it is of.
    pub pair: PairIndex,
    /// Which of that pair's two.
    pub axis: Axis,
}

impl std::fmt::Display for SliverId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the {} sliver of pair {}", self.axis, self.pair)
    }
}

impl Layout {
    /// The layout of a blob of `length` bytes in a network of `shards` shards.
    ///
    /// # Errors
    /// No code for that many shards (fewer than four, or more than GF(2^16) allows: up to 49,152 all do,
    /// above only some), or an encoding beyond 2^63 bytes.
    pub fn new(shards: u16, length: u64) -> Result<Self, LayoutError> {
        let n = usize::from(shards);
        let mut layout = Self { shards, length, symbol_bytes: 2 };
        if shards < SHARDS_MIN
            || !ReedSolomonEncoder::supports(usize::from(layout.rows()), n - usize::from(layout.rows()))
            || !ReedSolomonEncoder::supports(usize::from(layout.columns()), n - usize::from(layout.columns()))
        {
            return Err(LayoutError::Shards { shards });
        }
        let symbols = u64::from(layout.rows()) * u64::from(layout.columns());
        let too_long = LayoutError::Length { shards, length };
        // Symbols of any sliver, of all slivers and of the whole extended matrix are counted in u64.
        let symbol_bytes = length.div_ceil(symbols).max(2).checked_next_multiple_of(2).ok_or(too_long.clone())?;
        let across = u64::from(shards) * u64::from(shards);
        if symbol_bytes.checked_mul(across).is_none_or(|bytes| bytes > i64::MAX as u64) {
            return Err(too_long);
        }
        layout.symbol_bytes = symbol_bytes;
        Ok(layout)
    }

    /// `n`, the number of shards, and of sliver pairs.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// `f`, the number of shards whose holders may do as they please.
    pub fn faulty(&self) -> u16 {
        self.shards.saturating_sub(1) / 3
    }

    /// `p = n - 2f`: source rows; symbols of a secondary sliver; primary slivers that give the blob.
    pub fn rows(&self) -> u16 {
        self.shards - 2 * self.faulty()
    }

    /// `c = n - f`: source columns; symbols of a primary sliver; secondary slivers that give the blob.
    pub fn columns(&self) -> u16 {
        self.shards - self.faulty()
    }

    /// Bytes of one symbol: even, at least 2.
    pub fn symbol_bytes(&self) -> u64 {
        self.symbol_bytes
    }

    /// Bytes of the blob itself, without padding.
    pub fn blob_bytes(&self) -> u64 {
        self.length
    }

    /// Bytes of one primary sliver: `c` symbols.
    pub fn primary_bytes(&self) -> u64 {
        u64::from(self.columns()) * self.symbol_bytes
    }

    /// Bytes of one secondary sliver: `p` symbols.
    pub fn secondary_bytes(&self) -> u64 {
        u64::from(self.rows()) * self.symbol_bytes
    }

    /// Bytes of both slivers of a pair: what a shard keeps of this blob, without the proof.
    pub fn fragment_bytes(&self) -> u64 {
        self.primary_bytes() + self.secondary_bytes()
    }

    /// Bytes of all `n` fragments.
    pub fn encoded_bytes(&self) -> u64 {
        u64::from(self.shards) * self.fragment_bytes()
    }

    /// Bytes of one piece of the coded vector of sliver roots: the smallest even number with `p` pieces
    /// holding the `64n` bytes of the vector. At most [`PIECE_BYTES_MAX`].
    pub fn piece_bytes(&self) -> usize {
        (64 * usize::from(self.shards)).div_ceil(usize::from(self.rows())).next_multiple_of(2)
    }

    /// Bytes of a sliver of `axis`.
    pub fn sliver_bytes(&self, axis: Axis) -> u64 {
        self.sliver_symbols(axis) as u64 * self.symbol_bytes
    }

    /// Symbols stored in a sliver of `axis`. Its extension has the rest up to `n`.
    pub(crate) fn sliver_symbols(&self, axis: Axis) -> usize {
        match axis {
            Axis::Primary => usize::from(self.columns()),
            Axis::Secondary => usize::from(self.rows()),
        }
    }

    /// Slivers of `axis` that give the blob: `p` primary or `c` secondary ones.
    pub(crate) fn lines(&self, axis: Axis) -> usize {
        self.sliver_symbols(axis.other())
    }

    /// The pair that has the sliver of `axis` with this index, which must be below `n`.
    pub(crate) fn pair_with(&self, axis: Axis, sliver: u16) -> PairIndex {
        // The rotation of secondaries is its own inverse.
        PairIndex(self.sliver_of(axis, PairIndex(sliver)))
    }

    /// The sliver of `axis` in `pair`, which must be below `n`.
    pub(crate) fn sliver_of(&self, axis: Axis, pair: PairIndex) -> u16 {
        match axis {
            Axis::Primary => pair.0,
            Axis::Secondary => self.shards - 1 - pair.0,
        }
    }

    /// How many bytes at the start of a sliver's `symbol` are the blob's; those after are padding. All of
    /// them when the sliver is not systematic: its bytes are sums, of which nothing is known.
    pub(crate) fn symbol_content_bytes(&self, axis: Axis, sliver: u16, symbol: usize) -> u64 {
        let (row, column) = match axis {
            Axis::Primary if sliver < self.rows() => (u64::from(sliver), symbol as u64),
            Axis::Secondary if sliver < self.columns() => (symbol as u64, u64::from(sliver)),
            Axis::Primary | Axis::Secondary => return self.symbol_bytes,
        };
        let offset = self.symbol_offset(row, column);
        self.length.saturating_sub(offset).min(self.symbol_bytes)
    }

    /// Where in the blob the source symbol of `row` and `column` begins.
    #[must_use]
    pub fn symbol_offset(&self, row: u64, column: u64) -> u64 {
        (row * u64::from(self.columns()) + column) * self.symbol_bytes
    }
}

/// Most bytes of a piece for any number of shards: `64n / p` is below 192 and highest for large `n`.
pub const PIECE_BYTES_MAX: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_is_the_smallest_even_size_that_fits() {
        for shards in (4..200).chain([1000, 4096, 49_152]) {
            for length in [0, 1, 2, 3, 1000, 65_536, 1_048_583, 1 << 40] {
                let layout = Layout::new(shards, length).unwrap();
                let symbols = u64::from(layout.rows()) * u64::from(layout.columns());
                let size = layout.symbol_bytes();
                assert!(size >= 2 && size.is_multiple_of(2));
                assert!(symbols * size >= length);
                assert!(size == 2 || symbols * (size - 2) < length);
            }
        }
    }

    #[test]
    fn pieces_are_bounded_for_every_number_of_shards() {
        for shards in SHARDS_MIN..=u16::MAX {
            let Ok(layout) = Layout::new(shards, 0) else {
                assert!(shards > 49_152, "{shards} shards must be served");
                continue;
            };
            assert!(layout.piece_bytes() <= PIECE_BYTES_MAX, "{shards}");
            assert!(layout.piece_bytes() * usize::from(layout.rows()) >= 64 * usize::from(shards));
        }
    }

    #[test]
    fn absurd_numbers_are_refused() {
        for shards in 0..SHARDS_MIN {
            assert_eq!(Layout::new(shards, 1), Err(LayoutError::Shards { shards }));
        }
        assert_eq!(Layout::new(u16::MAX, 1), Err(LayoutError::Shards { shards: u16::MAX }));
        for length in [u64::MAX, u64::MAX - 1, 1 << 62] {
            assert_eq!(Layout::new(4, length), Err(LayoutError::Length { shards: 4, length }));
        }
    }
}
