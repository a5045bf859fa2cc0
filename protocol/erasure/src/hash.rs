//! BLAKE3, many inputs at a time.
//!
//! A symbol's hash is its plain BLAKE3 hash, so that a chunk of it can be opened with BLAKE3's own tree.
//! One call per symbol would use one lane of the machine's sixteen; what is fast is hashing the same chunk
//! of many symbols at once, which all have one length and hence one tree shape. BLAKE3 has that kernel in
//! its undocumented `platform` module. It wants whole blocks of 64 bytes, so a chunk's last, short block is
//! added lane by lane.
//!
//! Every other kind of node is keyed BLAKE3 under a key of its own: no node can pass for another kind.
//! An inner node of a Merkle tree is 64 bytes under a key, one compression.

use blake3::IncrementCounter;
use blake3::platform::{Platform, le_bytes_from_words_32, words_from_le_bytes_32};

/// Bytes of a hash.
pub(crate) const HASH_BYTES: usize = 32;
/// A hash, root or chaining value.
pub(crate) type Hash = [u8; HASH_BYTES];

/// Bytes of a BLAKE3 block and of a BLAKE3 chunk.
pub(crate) const BLOCK_BYTES: usize = blake3::BLOCK_LEN;
pub(crate) const CHUNK_BYTES: usize = blake3::CHUNK_LEN;

/// Most inputs of one call of the kernel: the widest machine has sixteen lanes.
const LANES: usize = 16;

/// BLAKE3's initial chaining value and flags, from its specification, section 2.
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const PARENT: u8 = 4;
const ROOT: u8 = 8;
const KEYED_HASH: u8 = 16;

/// What a keyed hash is of. The keys are 32 readable bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Inner node of a tree over symbols.
    SymbolNode,
    /// The root of a primary sliver: stored tree, then extension tree.
    PrimarySliver,
    /// The root of a secondary sliver: stored tree, then extension tree.
    SecondarySliver,
    /// A piece of the coded vector of sliver roots.
    Piece,
    /// A pair: primary root, secondary root, piece.
    Pair,
    /// Inner node of the tree over pairs.
    PairNode,
    /// The blob id.
    Blob,
}

impl Domain {
    /// The key of this kind of node. Changing one changes every blob id.
    pub(crate) const fn key(self) -> &'static Hash {
        match self {
            Self::SymbolNode => b"floe erasure 1: symbol tree node",
            Self::PrimarySliver => b"floe erasure 1: primary sliver  ",
            Self::SecondarySliver => b"floe erasure 1: secondary sliver",
            Self::Piece => b"floe erasure 1: piece of roots  ",
            Self::Pair => b"floe erasure 1: sliver pair     ",
            Self::PairNode => b"floe erasure 1: pair tree node  ",
            Self::Blob => b"floe erasure 1: blob id         ",
        }
    }

    /// The hash of `parts`, one after the other.
    pub(crate) fn hash(self, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(self.key());
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// The kernel for this machine, chosen at run time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel(Platform);

/// Where a chunk stands in its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkPlace {
    /// Its number within the input, from 0.
    pub(crate) index: u64,
    /// Whether it is the only one, so that its chaining value is the hash.
    pub(crate) only: bool,
}

impl ChunkPlace {
    fn end_flags(self) -> u8 {
        if self.only { CHUNK_END | ROOT } else { CHUNK_END }
    }
}

impl Kernel {
    pub(crate) fn detect() -> Self {
        Self(Platform::detect())
    }

    /// Chaining values of chunks of equal length (1 to 1,024 bytes) that stand at the same place.
    pub(crate) fn chunks(self, inputs: &[&[u8]], place: ChunkPlace, out: &mut [Hash]) {
        for (inputs, out) in inputs.chunks(LANES).zip(out.chunks_mut(LANES)) {
            self.chunks_lanes(inputs, place, out);
        }
    }

    fn chunks_lanes(self, inputs: &[&[u8]], place: ChunkPlace, out: &mut [Hash]) {
        let length = inputs.first().map_or(0, |input| input.len());
        debug_assert!((1..=CHUNK_BYTES).contains(&length) && inputs.iter().all(|input| input.len() == length));
        // The short last block, if any, is for the single lanes.
        let tail = length % BLOCK_BYTES;
        let whole = length / BLOCK_BYTES;
        let end = if tail == 0 { place.end_flags() } else { 0 };
        macro_rules! blocks {
            ($($count:literal)*) => {
                match whole {
                    0 => {}
                    $($count => self.lanes::<{ $count * BLOCK_BYTES }>(inputs, place.index, end, out),)*
                    _ => unreachable!("a chunk has at most sixteen blocks"),
                }
            };
        }
        blocks!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
        if tail == 0 {
            return;
        }
        let start = if whole == 0 { CHUNK_START } else { 0 };
        let flags = start | place.end_flags();
        for (input, out) in inputs.iter().zip(out) {
            let mut state = if whole == 0 { IV } else { words_from_le_bytes_32(out) };
            let mut block = [0; BLOCK_BYTES];
            block[..tail].copy_from_slice(&input[length - tail..]);
            self.0.compress_in_place(&mut state, &block, tail as u8, place.index, flags);
            *out = le_bytes_from_words_32(&state);
        }
    }

    /// The first `N` bytes of each input as the start of a chunk. At most [`LANES`] inputs.
    fn lanes<const N: usize>(self, inputs: &[&[u8]], counter: u64, end: u8, out: &mut [Hash]) {
        let mut lanes = [&[0; N]; LANES];
        let mut count = 0;
        for (lane, input) in lanes.iter_mut().zip(inputs) {
            if let Some(head) = input.first_chunk::<N>() {
                *lane = head;
                count += 1;
            }
        }
        let out = out.as_flattened_mut();
        let lanes = &lanes[..count];
        self.0.hash_many(lanes, &IV, counter, IncrementCounter::No, 0, CHUNK_START, end, out);
    }

    /// Adds a part of one chunk to the chaining value of what came before it: the slow way, for stripes
    /// narrower than a chunk. `part` begins `start` bytes into the chunk, at a block; it must end at a block
    /// unless the chunk `ends` with it.
    pub(crate) fn chunk_part(self, state: &mut Hash, part: &[u8], start: usize, ends: bool, place: ChunkPlace) {
        let mut words = if start == 0 { IV } else { words_from_le_bytes_32(state) };
        let last = part.len().div_ceil(BLOCK_BYTES) - 1;
        for (index, bytes) in part.chunks(BLOCK_BYTES).enumerate() {
            let first_flag = if start == 0 && index == 0 { CHUNK_START } else { 0 };
            let last_flags = if ends && index == last { place.end_flags() } else { 0 };
            let mut block = [0; BLOCK_BYTES];
            block[..bytes.len()].copy_from_slice(bytes);
            self.0.compress_in_place(&mut words, &block, bytes.len() as u8, place.index, first_flag | last_flags);
        }
        *state = le_bytes_from_words_32(&words);
    }

    /// BLAKE3's own parents: `left[i]` becomes the parent of `left[i]` and `right[i]`.
    pub(crate) fn parents(self, left: &mut [Hash], right: &[Hash], root: bool) {
        let flags = if root { PARENT | ROOT } else { PARENT };
        let mut nodes = [[0; BLOCK_BYTES]; LANES];
        for (left, right) in left.chunks_mut(LANES).zip(right.chunks(LANES)) {
            for ((node, left), right) in nodes.iter_mut().zip(left.iter()).zip(right) {
                node[..HASH_BYTES].copy_from_slice(left);
                node[HASH_BYTES..].copy_from_slice(right);
            }
            self.blocks(&nodes[..left.len()], &IV, flags, 0, left);
        }
    }

    /// Nodes of Merkle trees under the key of `domain`: `left[i]` becomes the node over `left[i]` and
    /// `right[i]`.
    pub(crate) fn nodes(self, domain: Domain, left: &mut [Hash], right: &[Hash]) {
        let key = words_from_le_bytes_32(domain.key());
        let mut nodes = [[0; BLOCK_BYTES]; LANES];
        for (left, right) in left.chunks_mut(LANES).zip(right.chunks(LANES)) {
            for ((node, left), right) in nodes.iter_mut().zip(left.iter()).zip(right) {
                node[..HASH_BYTES].copy_from_slice(left);
                node[HASH_BYTES..].copy_from_slice(right);
            }
            self.blocks(&nodes[..left.len()], &key, KEYED_HASH, CHUNK_START | CHUNK_END | ROOT, left);
        }
    }

    /// One level of one Merkle tree in place: `level[2i]` and `level[2i+1]` become `level[i]`, an odd last
    /// one moves up as it is. Returns how many there are now.
    pub(crate) fn level(self, domain: Domain, level: &mut [Hash]) -> usize {
        let key = words_from_le_bytes_32(domain.key());
        let pairs = level.len() / 2;
        let mut nodes = [[0; BLOCK_BYTES]; LANES];
        for start in (0..pairs).step_by(LANES) {
            let end = pairs.min(start + LANES);
            for (node, pair) in nodes.iter_mut().zip(level[2 * start..2 * end].chunks_exact(2)) {
                node.copy_from_slice(pair.as_flattened());
            }
            let nodes = &nodes[..end - start];
            self.blocks(nodes, &key, KEYED_HASH, CHUNK_START | CHUNK_END | ROOT, &mut level[start..end]);
        }
        if level.len() % 2 == 1 {
            level[pairs] = level[level.len() - 1];
        }
        level.len().div_ceil(2)
    }

    /// One compression for each of at most [`LANES`] blocks.
    fn blocks(self, blocks: &[[u8; BLOCK_BYTES]], key: &[u32; 8], flags: u8, ends: u8, out: &mut [Hash]) {
        let mut lanes = [&[0; BLOCK_BYTES]; LANES];
        for (lane, block) in lanes.iter_mut().zip(blocks) {
            *lane = block;
        }
        let lanes = &lanes[..blocks.len()];
        self.0.hash_many(lanes, key, 0, IncrementCounter::No, flags, ends, 0, out.as_flattened_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_every_length_hash_as_blake3() {
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES).map(|i| (i * 31 % 251) as u8).collect();
        let kernel = Kernel::detect();
        for length in 1..=CHUNK_BYTES {
            let inputs: Vec<&[u8]> = (0..19).map(|i| &bytes[i..i + length]).collect();
            let mut out = vec![[0; 32]; 19];
            kernel.chunks(&inputs, ChunkPlace { index: 0, only: true }, &mut out);
            for (input, out) in inputs.iter().zip(&out) {
                assert_eq!(blake3::hash(input).as_bytes(), out, "{length}");
            }
        }
    }

    #[test]
    fn chunk_in_parts_is_the_chunk() {
        let bytes: Vec<u8> = (0..CHUNK_BYTES - 6).map(|i| (i * 31 % 251) as u8).collect();
        let kernel = Kernel::detect();
        let place = ChunkPlace { index: 0, only: true };
        for split in [64, 128, 960] {
            let mut state = [0; 32];
            kernel.chunk_part(&mut state, &bytes[..split], 0, false, place);
            kernel.chunk_part(&mut state, &bytes[split..], split, true, place);
            assert_eq!(blake3::hash(&bytes).as_bytes(), &state);
        }
    }

    #[test]
    fn nodes_are_keyed_hashes() {
        let kernel = Kernel::detect();
        let mut level: Vec<Hash> = (0..41).map(|i| [i; 32]).collect();
        let (mut left, right) = (level[..20].to_vec(), level[20..40].to_vec());
        let expected = Domain::SymbolNode.hash(&[&left[19], &right[19]]);
        kernel.nodes(Domain::SymbolNode, &mut left, &right);
        assert_eq!(left[19], expected);
        let expected = Domain::SymbolNode.hash(&[&level[38], &level[39]]);
        assert_eq!(kernel.level(Domain::SymbolNode, &mut level), 21);
        assert_eq!(level[19..21], [expected, [40; 32]]);
    }
}
