//! Hashes of many symbols of one length, all fed at the same pace.
//!
//! Symbols of one length have BLAKE3 trees of one shape, so the usual stack of subtrees becomes a stack of
//! rows of subtrees, and every step is one batch over all symbols. A stripe may be narrower than a chunk
//! where memory demands it; then each symbol's chaining value is kept from stripe to stripe.
//!
//! # Source
//! BLAKE3 specification, sections 2.4 and 5.1.2 (the lazy merge that leaves the root for the end).

use crate::hash::{BLOCK_BYTES, CHUNK_BYTES, ChunkPart, ChunkPlace, Hash, Kernel};

/// The state of hashing `count` symbols of `symbol_bytes` bytes.
#[derive(Debug)]
pub(crate) struct SymbolHashes {
    symbol_bytes: u64,
    /// How much of every symbol has been hashed.
    done_bytes: u64,
    /// Chaining values of the chunk at hand.
    chunk: Vec<Hash>,
    /// Roots of finished subtrees, the largest first.
    stack: Vec<Vec<Hash>>,
    /// Memory of merged rows, for the next ones.
    spare: Vec<Vec<Hash>>,
}

impl SymbolHashes {
    pub(crate) fn new(count: usize, symbol_bytes: u64) -> Self {
        Self { symbol_bytes, done_bytes: 0, chunk: vec![[0; 32]; count], stack: Vec::new(), spare: Vec::new() }
    }

    /// Bytes of memory for each symbol, at most.
    pub(crate) fn state_bytes(symbol_bytes: u64) -> usize {
        let chunks = symbol_bytes.div_ceil(CHUNK_BYTES as u64);
        // The chunk at hand, a level for each bit of the count, and one row in exchange.
        size_of::<Hash>() * (2 + (u64::BITS - chunks.leading_zeros()) as usize)
    }

    /// Adds the next bytes of every symbol: as many for each, within one chunk, whole blocks unless they end
    /// the symbol.
    pub(crate) fn update(&mut self, kernel: Kernel, inputs: &[&[u8]]) {
        debug_assert_eq!(inputs.len(), self.chunk.len());
        self.add(kernel, 0, inputs);
        self.advance(kernel, inputs.first().map_or(0, |input| input.len()));
    }

    /// The same for some symbols, the first of which is `first`. When the bytes of all have been added,
    /// [`SymbolHashes::advance`] must follow.
    pub(crate) fn add(&mut self, kernel: Kernel, first: usize, inputs: &[&[u8]]) {
        let bytes = inputs.first().map_or(0, |input| input.len());
        let start = (self.done_bytes % CHUNK_BYTES as u64) as usize;
        let ends = self.ends(start, bytes);
        debug_assert!(self.done_bytes + bytes as u64 <= self.symbol_bytes && start + bytes <= CHUNK_BYTES);
        debug_assert!(ends || bytes.is_multiple_of(BLOCK_BYTES));
        let part = ChunkPart { place: self.place(), start, ends };
        kernel.chunk_parts(inputs, part, &mut self.chunk[first..first + inputs.len()]);
    }

    /// The same for whole symbols of at most eight bytes, as [`Kernel::shorts`] takes them.
    pub(crate) fn add_shorts(&mut self, kernel: Kernel, first: usize, inputs: &[u64]) {
        let bytes = self.symbol_bytes as usize;
        kernel.shorts(inputs, bytes, &mut self.chunk[first..first + inputs.len()]);
    }

    /// Begins anew with `count` other symbols of the same length.
    pub(crate) fn restart(&mut self, count: usize) {
        self.done_bytes = 0;
        self.spare.append(&mut self.stack);
        self.spare.iter_mut().chain([&mut self.chunk]).for_each(|row| row.resize(count, [0; 32]));
    }

    /// Says that `bytes` bytes of every symbol have been added.
    pub(crate) fn advance(&mut self, kernel: Kernel, bytes: usize) {
        let start = (self.done_bytes % CHUNK_BYTES as u64) as usize;
        let (place, ends) = (self.place(), self.ends(start, bytes));
        self.done_bytes += bytes as u64;
        if ends && !place.only {
            self.push(kernel, place.index);
        }
    }

    /// Where the chunk at hand stands.
    fn place(&self) -> ChunkPlace {
        ChunkPlace { index: self.done_bytes / CHUNK_BYTES as u64, only: self.symbol_bytes <= CHUNK_BYTES as u64 }
    }

    /// Whether the chunk at hand, of which `start` bytes are done, ends with the next `bytes`.
    fn ends(&self, start: usize, bytes: usize) -> bool {
        self.done_bytes + bytes as u64 == self.symbol_bytes || start + bytes == CHUNK_BYTES
    }

    /// Puts the finished chunk, before which there were `chunks`, on the stack. What it completes is joined only
    /// when the next one comes, because the last join of all is the root and looks different.
    fn push(&mut self, kernel: Kernel, chunks: u64) {
        while self.stack.len() > chunks.count_ones() as usize {
            self.merge(kernel, false);
        }
        let spare = self.spare.pop().unwrap_or_else(|| vec![[0; 32]; self.chunk.len()]);
        self.stack.push(std::mem::replace(&mut self.chunk, spare));
    }

    fn merge(&mut self, kernel: Kernel, root: bool) {
        if let Some(right) = self.stack.pop() {
            if let Some(left) = self.stack.last_mut() {
                kernel.parents(left, &right, root);
            }
            self.spare.push(right);
        }
    }

    /// The hashes, after [`SymbolHashes::finish`].
    pub(crate) fn finished(&self) -> &[Hash] {
        self.stack.first().unwrap_or(&self.chunk)
    }

    /// The hashes, when all bytes of all symbols have been added.
    pub(crate) fn finish(&mut self, kernel: Kernel) -> &mut [Hash] {
        debug_assert_eq!(self.done_bytes, self.symbol_bytes);
        while self.stack.len() > 1 {
            let root = self.stack.len() == 2;
            self.merge(kernel, root);
        }
        self.stack.first_mut().unwrap_or(&mut self.chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_any_length_in_any_stripes_hash_as_blake3() {
        let kernel = Kernel::detect();
        let bytes: Vec<u8> = (0..20_000_usize).map(|i| (i * i / 7 % 253) as u8).collect();
        for length in [2, 62, 64, 66, 1022, 1024, 1026, 2048, 3072, 3074, 8192, 9000, 16_386] {
            let mut hashes = SymbolHashes::new(5, length as u64);
            for (stripe, count) in [(64, 5), (128, 7), (512, 2), (1024, 5)] {
                let symbols: Vec<&[u8]> = (0..count).map(|i| &bytes[i * 3..i * 3 + length]).collect();
                hashes.restart(count);
                for start in (0..length).step_by(stripe) {
                    let end = length.min(start + stripe);
                    let inputs: Vec<&[u8]> = symbols.iter().map(|symbol| &symbol[start..end]).collect();
                    hashes.update(kernel, &inputs);
                }
                for (symbol, hash) in symbols.iter().zip(hashes.finish(kernel)) {
                    assert_eq!(blake3::hash(symbol).as_bytes(), hash, "{length} bytes by {stripe}");
                }
            }
        }
    }
}
