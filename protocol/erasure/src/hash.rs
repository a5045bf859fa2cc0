//! BLAKE3, many inputs at a time.
//!
//! A symbol's hash is its plain BLAKE3 hash, so that a chunk of it can be opened with BLAKE3's own tree.
//! One call per symbol would use one lane of the machine's sixteen; what is fast is hashing the same chunk
//! of many symbols at once, which all have one length and hence one tree shape. BLAKE3 has that kernel in
//! its undocumented `platform` module, for whole blocks at the start of a chunk. What else there is, a short last block and
//! a chunk that comes in parts, is done by [`crate::lanes`] on x86-64 and lane by lane elsewhere.
//!
//! Every other kind of node is keyed BLAKE3 under a key of its own: no node can pass for another kind.
//! An inner node of a Merkle tree is 64 bytes under a key, one compression.

use blake3::IncrementCounter;
use blake3::platform::{Platform, le_bytes_from_words_32, words_from_le_bytes_32};

#[cfg(target_arch = "x86_64")]
use crate::lanes::{Run, Wide};

/// Bytes of a hash.
pub(crate) const HASH_BYTES: usize = 32;
/// A hash, root or chaining value.
pub(crate) type Hash = [u8; HASH_BYTES];

/// Bytes of a BLAKE3 block and of a BLAKE3 chunk.
pub(crate) const BLOCK_BYTES: usize = blake3::BLOCK_LEN;
pub(crate) const CHUNK_BYTES: usize = blake3::CHUNK_LEN;

/// Most inputs of one call of the kernel: the widest machine has sixteen lanes.
const LANES: usize = 16;
/// Nodes that are gathered for one call.
const NODES: usize = 4 * LANES;

/// BLAKE3's initial chaining value and flags, from its specification, section 2.
pub(crate) const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const PARENT: u8 = 4;
const ROOT: u8 = 8;
const KEYED_HASH: u8 = 16;
/// Flags of a node: a keyed input of one block.
const NODE: u8 = KEYED_HASH | CHUNK_START | CHUNK_END | ROOT;

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
        if let Some((block, bytes)) = one_block(parts) {
            // Most are inner nodes, and a hasher takes longer to set up than they take.
            let mut words = words_from_le_bytes_32(self.key());
            Platform::detect().compress_in_place(&mut words, &block, bytes, 0, NODE);
            return le_bytes_from_words_32(&words);
        }
        let mut hasher = blake3::Hasher::new_keyed(self.key());
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// The parts, one after the other, and how many bytes that is, if it is no more than a block.
fn one_block(parts: &[&[u8]]) -> Option<([u8; BLOCK_BYTES], u8)> {
    let (mut block, mut end) = ([0; BLOCK_BYTES], 0);
    for part in parts {
        block.get_mut(end..)?.get_mut(..part.len())?.copy_from_slice(part);
        end += part.len();
    }
    Some((block, end as u8))
}

/// The kernel for this machine, chosen at run time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    #[cfg(target_arch = "x86_64")]
    wide: Option<Wide>,
    platform: Platform,
}

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

/// A part of a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkPart {
    pub(crate) place: ChunkPlace,
    /// Where it begins in the chunk, in bytes: at a block.
    pub(crate) start: usize,
    /// Whether the chunk ends with it. Else it ends with a block.
    pub(crate) ends: bool,
}

impl Kernel {
    pub(crate) fn detect() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            wide: Wide::detect(),
            platform: Platform::detect(),
        }
    }

    /// All kernels that this machine has, for tests.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let platform = Platform::detect();
        #[cfg(target_arch = "x86_64")]
        {
            let wide = Wide::all().map(Some).chain([None]);
            wide.map(|wide| Self { wide, platform }).collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self { platform }]
    }

    /// Chaining values of chunks of equal length (1 to 1,024 bytes) that stand at the same place.
    pub(crate) fn chunks(self, inputs: &[&[u8]], place: ChunkPlace, out: &mut [Hash]) {
        self.chunk_parts(inputs, ChunkPart { place, start: 0, ends: true }, out);
    }

    /// Adds the next part of one chunk of each input to the chaining value of what came before it. The parts are of
    /// one length, at least a byte.
    pub(crate) fn chunk_parts(self, inputs: &[&[u8]], part: ChunkPart, states: &mut [Hash]) {
        debug_assert!(part.start + inputs.first().map_or(0, |input| input.len()) <= CHUNK_BYTES);
        if inputs.is_empty() {
            return;
        }
        let first = if part.start == 0 { CHUNK_START } else { 0 };
        let last = if part.ends { part.place.end_flags() } else { 0 };
        // Whole blocks of new chunks are what BLAKE3's kernel takes: a tenth faster than ours where lanes are full. What is
        // left it takes in powers of two, one after the other, which is slower unless there is only one.
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = self.wide {
            let theirs = if part.start > 0 || !inputs[0].len().is_multiple_of(BLOCK_BYTES) {
                0
            } else if (inputs.len() % wide.lanes()).count_ones() > 1 {
                inputs.len() - inputs.len() % wide.lanes()
            } else {
                inputs.len()
            };
            for (inputs, states) in inputs[..theirs].chunks(LANES).zip(states.chunks_mut(LANES)) {
                self.narrow_parts(inputs, part, (first, last), states);
            }
            if theirs < inputs.len() {
                let key = (part.start == 0).then_some(&IV);
                let run = Run { key, counter: part.place.index, first, last };
                wide.compress(&inputs[theirs..], &mut states[theirs..], run);
            }
            return;
        }
        for (inputs, states) in inputs.chunks(LANES).zip(states.chunks_mut(LANES)) {
            self.narrow_parts(inputs, part, (first, last), states);
        }
    }

    /// The hashes of inputs of `bytes` bytes, 1 to 8. An input is a number, its bytes in little-endian order and
    /// none beyond.
    pub(crate) fn shorts(self, inputs: &[u64], bytes: usize, out: &mut [Hash]) {
        const FLAGS: u8 = CHUNK_START | CHUNK_END | ROOT;
        #[cfg(target_arch = "x86_64")]
        if self.wide.is_some_and(|wide| wide.compress_short(inputs, bytes, out, (&IV, FLAGS))) {
            return;
        }
        for (inputs, out) in inputs.chunks(LANES).zip(out.chunks_mut(LANES)) {
            let mut copies = [[0; 8]; LANES];
            copies.iter_mut().zip(inputs).for_each(|(copy, input)| *copy = input.to_le_bytes());
            let mut slices: [&[u8]; LANES] = [&[]; LANES];
            slices.iter_mut().zip(&copies).for_each(|(slice, copy)| *slice = &copy[..bytes]);
            self.chunks(&slices[..inputs.len()], ChunkPlace { index: 0, only: true }, out);
        }
    }

    /// [`Kernel::chunk_parts`] without lanes of our own: whole blocks of a new chunk side by side, the rest one by one.
    fn narrow_parts(self, inputs: &[&[u8]], part: ChunkPart, (first, last): (u8, u8), states: &mut [Hash]) {
        let length = inputs.first().map_or(0, |input| input.len());
        let whole = if part.start == 0 { length / BLOCK_BYTES } else { 0 };
        let rest = whole * BLOCK_BYTES;
        let counter = part.place.index;
        let end = if rest == length { last } else { 0 };
        macro_rules! blocks {
            ($($count:literal)*) => {
                match whole {
                    0 => {}
                    $($count => self.lanes::<{ $count * BLOCK_BYTES }>(inputs, counter, end, states),)*
                    _ => unreachable!("a chunk has at most sixteen blocks"),
                }
            };
        }
        blocks!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
        for (input, state) in inputs.iter().zip(states) {
            let mut words = if part.start == 0 && whole == 0 { IV } else { words_from_le_bytes_32(state) };
            let blocks = (length - rest).div_ceil(BLOCK_BYTES);
            for (index, bytes) in input[rest..].chunks(BLOCK_BYTES).enumerate() {
                let mut block = [0; BLOCK_BYTES];
                block[..bytes.len()].copy_from_slice(bytes);
                let first = if whole == 0 && index == 0 { first } else { 0 };
                let last = if index + 1 == blocks { last } else { 0 };
                self.platform.compress_in_place(&mut words, &block, bytes.len() as u8, counter, first | last);
            }
            *state = le_bytes_from_words_32(&words);
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
        self.platform.hash_many(lanes, &IV, counter, IncrementCounter::No, 0, CHUNK_START, end, out);
    }

    /// BLAKE3's own parents: `left[i]` becomes the parent of `left[i]` and `right[i]`.
    pub(crate) fn parents(self, left: &mut [Hash], right: &[Hash], root: bool) {
        let flags = if root { PARENT | ROOT } else { PARENT };
        self.joined(left, right, &IV, flags);
    }

    /// Nodes of Merkle trees under the key of `domain`: `left[i]` becomes the node over `left[i]` and
    /// `right[i]`.
    pub(crate) fn nodes(self, domain: Domain, left: &mut [Hash], right: &[Hash]) {
        self.joined(left, right, &words_from_le_bytes_32(domain.key()), NODE);
    }

    fn joined(self, left: &mut [Hash], right: &[Hash], key: &[u32; 8], flags: u8) {
        let mut nodes = [[0; BLOCK_BYTES]; NODES];
        for (left, right) in left.chunks_mut(NODES).zip(right.chunks(NODES)) {
            for ((node, left), right) in nodes.iter_mut().zip(left.iter()).zip(right) {
                node[..HASH_BYTES].copy_from_slice(left);
                node[HASH_BYTES..].copy_from_slice(right);
            }
            let count = left.len();
            self.blocks(&nodes[..count], key, flags, left);
        }
    }

    /// One level of one Merkle tree in place: `level[2i]` and `level[2i+1]` become `level[i]`, an odd last
    /// one moves up as it is. Returns how many there are now.
    pub(crate) fn level(self, domain: Domain, level: &mut [Hash]) -> usize {
        let key = words_from_le_bytes_32(domain.key());
        let pairs = level.len() / 2;
        let mut nodes = [[0; BLOCK_BYTES]; NODES];
        for start in (0..pairs).step_by(NODES) {
            let end = pairs.min(start + NODES);
            for (node, pair) in nodes.iter_mut().zip(level[2 * start..2 * end].chunks_exact(2)) {
                node.copy_from_slice(pair.as_flattened());
            }
            self.blocks(&nodes[..end - start], &key, NODE, &mut level[start..end]);
        }
        if level.len() % 2 == 1 {
            level[pairs] = level[level.len() - 1];
        }
        level.len().div_ceil(2)
    }

    /// Nodes of Merkle trees under the key of `domain`, each over the two hashes of a pair, which are read where they are.
    /// `put` gets them in order.
    pub(crate) fn node_pairs<'a>(
        self,
        domain: Domain,
        pairs: impl Iterator<Item = &'a [Hash; 2]>,
        put: impl FnMut(&Hash),
    ) {
        let key = words_from_le_bytes_32(domain.key());
        let (mut nodes, mut put, mut pairs) = ([[0; HASH_BYTES]; LANES], put, pairs.peekable());
        while pairs.peek().is_some() {
            let mut lanes = [&[0; BLOCK_BYTES]; LANES];
            let mut count = 0;
            // Two hashes are a block.
            for (lane, block) in
                lanes.iter_mut().zip(pairs.by_ref().filter_map(|pair| pair.as_flattened().first_chunk()))
            {
                *lane = block;
                count += 1;
            }
            self.lane_blocks(&lanes[..count], &key, NODE, &mut nodes[..count]);
            nodes[..count].iter().for_each(&mut put);
        }
    }

    /// One compression for each block.
    fn blocks(self, blocks: &[[u8; BLOCK_BYTES]], key: &[u32; 8], flags: u8, out: &mut [Hash]) {
        for (blocks, out) in blocks.chunks(LANES).zip(out.chunks_mut(LANES)) {
            let mut lanes = [&[0; BLOCK_BYTES]; LANES];
            lanes.iter_mut().zip(blocks).for_each(|(lane, block)| *lane = block);
            self.lane_blocks(&lanes[..blocks.len()], key, flags, out);
        }
    }

    /// The same for at most [`LANES`] blocks, wherever each is.
    fn lane_blocks(self, blocks: &[&[u8; BLOCK_BYTES]], key: &[u32; 8], flags: u8, out: &mut [Hash]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = self.wide.filter(|wide| (blocks.len() % wide.lanes()).count_ones() > 1) {
            let mut lanes: [&[u8]; LANES] = [&[]; LANES];
            lanes.iter_mut().zip(blocks).for_each(|(lane, block)| *lane = *block);
            let run = Run { key: Some(key), counter: 0, first: flags, last: 0 };
            return wide.compress(&lanes[..blocks.len()], out, run);
        }
        self.platform.hash_many(blocks, key, 0, IncrementCounter::No, flags, 0, 0, out.as_flattened_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_every_length_hash_as_blake3() {
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES).map(|i| (i * 31 % 251) as u8).collect();
        for kernel in Kernel::all() {
            for length in 1..=CHUNK_BYTES {
                let count = 1 + length % 19;
                let inputs: Vec<&[u8]> = (0..count).map(|i| &bytes[i..i + length]).collect();
                let mut out = vec![[0; 32]; count];
                kernel.chunks(&inputs, ChunkPlace { index: 0, only: true }, &mut out);
                for (input, out) in inputs.iter().zip(&out) {
                    assert_eq!(blake3::hash(input).as_bytes(), out, "{length}");
                }
            }
        }
    }

    #[test]
    fn short_inputs_hash_as_blake3() {
        for kernel in Kernel::all() {
            for bytes in 1..=8 {
                for count in [1, 2, 15, 16, 17, 50] {
                    let inputs: Vec<u64> = (1..=count)
                        .map(|i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64) >> (64 - 8 * bytes))
                        .collect();
                    let mut out = vec![[0; 32]; inputs.len()];
                    kernel.shorts(&inputs, bytes as usize, &mut out);
                    for (input, out) in inputs.iter().zip(&out) {
                        assert_eq!(blake3::hash(&input.to_le_bytes()[..bytes as usize]).as_bytes(), out, "{bytes}");
                    }
                }
            }
        }
    }

    #[test]
    fn chunk_in_parts_is_the_chunk() {
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES).map(|i| (i * 31 % 251) as u8).collect();
        let place = ChunkPlace { index: 0, only: true };
        for kernel in Kernel::all() {
            for (split, length) in [(64, 70), (128, 1018), (960, 1024), (512, 576)] {
                let mut states = [[0; 32]; 21];
                let inputs: Vec<&[u8]> = (0..21).map(|i| &bytes[i..i + length]).collect();
                let parts = |from: usize, to: usize| inputs.iter().map(|input| &input[from..to]).collect::<Vec<_>>();
                kernel.chunk_parts(&parts(0, split), ChunkPart { place, start: 0, ends: false }, &mut states);
                kernel.chunk_parts(&parts(split, length), ChunkPart { place, start: split, ends: true }, &mut states);
                for (input, state) in inputs.iter().zip(&states) {
                    assert_eq!(blake3::hash(input).as_bytes(), state);
                }
            }
        }
    }

    #[test]
    fn hashes_of_every_length_are_keyed_blake3() {
        let bytes = [7; 200];
        for length in 0..bytes.len() {
            let expected = *blake3::keyed_hash(Domain::Pair.key(), &bytes[..length]).as_bytes();
            assert_eq!(Domain::Pair.hash(&[&bytes[..length]]), expected);
            let (head, tail) = bytes[..length].split_at(length / 3);
            assert_eq!(Domain::Pair.hash(&[head, &[], tail]), expected, "{length}");
        }
    }

    #[test]
    fn nodes_are_keyed_hashes() {
        for kernel in Kernel::all() {
            let mut level: Vec<Hash> = (0..241).map(|i| [i; 32]).collect();
            let (mut left, right) = (level[..120].to_vec(), level[120..240].to_vec());
            let expected = Domain::SymbolNode.hash(&[&left[119], &right[119]]);
            kernel.nodes(Domain::SymbolNode, &mut left, &right);
            assert_eq!(left[119], expected);
            let expected = Domain::SymbolNode.hash(&[&level[238], &level[239]]);
            assert_eq!(kernel.level(Domain::SymbolNode, &mut level), 121);
            assert_eq!(level[119..121], [expected, [240; 32]]);
        }
    }
}
