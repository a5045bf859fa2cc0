//! Stripes: the same range of bytes of every symbol, as much of each as memory allows.
//!
//! A stripe is the whole symbol, or whole BLAKE3 chunks of it, or, where even that is too much, a part of a
//! chunk that divides it. So no stripe but the last ends within a block, and no piece of a stripe crosses
//! a chunk.

use crate::hash::CHUNK_BYTES;

/// Fewest bytes of a stripe that is not the last: two blocks. Each is read and written on its own, and narrower ones would
/// take longer to find than to copy.
const STRIPE_BYTES_MIN: usize = 128;

/// How symbols of one length are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stripes {
    symbol_bytes: u64,
    bytes: usize,
}

/// One stripe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stripe {
    /// Where it begins in every symbol.
    pub(crate) start: u64,
    /// How many bytes of every symbol it has.
    pub(crate) bytes: usize,
}

impl Stripes {
    /// The widest stripes with which `symbols` of them fit into `memory_bytes`, though never less than
    /// [`STRIPE_BYTES_MIN`].
    pub(crate) fn new(symbol_bytes: u64, symbols: usize, memory_bytes: usize) -> Self {
        let fits = (memory_bytes / symbols.max(1)).max(STRIPE_BYTES_MIN);
        let bytes = if symbol_bytes <= fits as u64 {
            symbol_bytes as usize
        } else if fits >= CHUNK_BYTES {
            fits / CHUNK_BYTES * CHUNK_BYTES
        } else {
            // The largest power of two that fits divides a chunk.
            1 << fits.ilog2()
        };
        Self { symbol_bytes, bytes: bytes.min(usize::try_from(symbol_bytes).unwrap_or(usize::MAX)) }
    }

    /// Bytes of the widest stripe.
    pub(crate) fn bytes(self) -> usize {
        self.bytes
    }

    /// All stripes, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = Stripe> {
        let starts = (0..self.symbol_bytes).step_by(self.bytes);
        starts.map(move |start| {
            let bytes = (self.symbol_bytes - start).min(self.bytes as u64) as usize;
            Stripe { start, bytes }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::BLOCK_BYTES;

    #[test]
    fn stripes_cover_the_symbol_and_keep_to_blocks_and_chunks() {
        for symbol_bytes in [2, 64, 66, 1000, 1024, 1026, 5000, 70_000] {
            for memory in [0, 100, 640, 6400, 10_240, 100_000, 10_000_000] {
                let stripes = Stripes::new(symbol_bytes, 10, memory);
                let mut end = 0;
                for stripe in stripes.iter() {
                    assert_eq!(stripe.start, end);
                    end += stripe.bytes as u64;
                    let whole = stripe.bytes.is_multiple_of(CHUNK_BYTES) || CHUNK_BYTES.is_multiple_of(stripe.bytes);
                    assert!(whole && stripe.bytes >= BLOCK_BYTES || end == symbol_bytes);
                    assert!(10 * stripe.bytes <= memory.max(10 * STRIPE_BYTES_MIN));
                }
                assert_eq!(end, symbol_bytes);
            }
        }
    }
}
