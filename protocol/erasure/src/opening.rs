//! Parts of symbols that prove themselves: what a challenge asks for and what a range is read by.
//!
//! ```text
//!   part --BLAKE3's own tree--> symbol hash --path--> stored or extension root --FragmentProof--> BlobId
//!         `inside`                           `across`
//! ```
//!
//! A symbol's hash is its plain BLAKE3 hash, whose tree has a leaf for each KiB. Any aligned run of a power of two of
//! those chunks is a subtree, so it can be checked without the rest of the symbol, as in verified streaming. Three
//! grains are used: a chunk (a challenge), a unit of 64 KiB (what is read at a time), the whole symbol.
//!
//! Every length here follows from the layout and the place: none is taken from outside.
//!
//! # Source
//! BLAKE3 specification, section 2.1, and `blake3::hazmat`; the Bao format for paths within one input.

use std::ops::Range;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};

use crate::error::OpeningError;
use crate::hash::{CHUNK_BYTES, Domain, HASH_BYTES, Hash};
use crate::id::{BlobId, PairIndex};
use crate::io::ReadAt;
use crate::layout::{Axis, Layout};
use crate::leaves::SliverHashes;
use crate::merkle;
use crate::proof::{CheckedProof, SliverRoots};

/// Bytes of a [`Grain::Unit`]: what a range is read by, and what a stranger is served at a time.
pub const UNIT_BYTES: u64 = 64 << 10;
/// Bytes that are read at a time while the rest of a symbol is hashed.
const READ_BYTES: usize = 1 << 17;

/// How large the parts are into which a symbol is cut. The last part of a symbol may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grain {
    /// 1 KiB: a chunk of BLAKE3.
    Chunk,
    /// 64 KiB: [`UNIT_BYTES`].
    Unit,
    /// The symbol in one piece.
    Symbol,
}

impl Grain {
    /// Bytes of a part of a symbol of this layout, but for the last one of the symbol.
    pub fn part_bytes(self, layout: &Layout) -> u64 {
        match self {
            Self::Chunk => (CHUNK_BYTES as u64).min(layout.symbol_bytes()),
            Self::Unit => UNIT_BYTES.min(layout.symbol_bytes()),
            Self::Symbol => layout.symbol_bytes(),
        }
    }

    /// How many parts a symbol of this layout has: at least one.
    pub fn parts(self, layout: &Layout) -> u64 {
        layout.symbol_bytes().div_ceil(self.part_bytes(layout))
    }
}

/// Which bytes of a sliver pair: one part of one symbol of one of its slivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Of which of the two slivers.
    pub axis: Axis,
    /// Which symbol, below `n`. From the number of stored symbols on (`c` in a primary sliver, `p` in a secondary one)
    /// it is one of the extension, which the holder computes.
    pub symbol: u16,
    /// How the symbol is cut.
    pub grain: Grain,
    /// Which part of the symbol, from 0.
    pub part: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.grain {
            Grain::Chunk => write!(formatter, "chunk {} of ", self.part)?,
            Grain::Unit => write!(formatter, "unit {} of ", self.part)?,
            Grain::Symbol => {}
        }
        write!(formatter, "symbol {} of the {} sliver", self.symbol, self.axis)
    }
}

impl Place {
    /// A chunk of a symbol.
    pub fn chunk(axis: Axis, symbol: u16, chunk: u64) -> Self {
        Self { axis, symbol, grain: Grain::Chunk, part: chunk }
    }

    /// A whole symbol.
    pub fn symbol(axis: Axis, symbol: u16) -> Self {
        Self { axis, symbol, grain: Grain::Symbol, part: 0 }
    }

    /// Whether a layout has such a place.
    pub fn exists(&self, layout: &Layout) -> bool {
        self.symbol < layout.shards() && self.part < self.grain.parts(layout)
    }

    /// Whether the symbol is stored, not one of the extension.
    pub fn is_stored(&self, layout: &Layout) -> bool {
        usize::from(self.symbol) < layout.sliver_symbols(self.axis)
    }

    /// Its bytes within the symbol. Empty when there is no such place.
    pub fn range(&self, layout: &Layout) -> Range<u64> {
        let bytes = self.grain.part_bytes(layout);
        let end = layout.symbol_bytes();
        let start = self.part.saturating_mul(bytes).min(end);
        start..start.saturating_add(bytes).min(end)
    }

    /// Where its bytes begin in the sliver that stores the symbol.
    pub(crate) fn offset(&self, layout: &Layout) -> u64 {
        u64::from(self.symbol) * layout.symbol_bytes() + self.range(layout).start
    }

    /// Hashes within the symbol, and from the symbol to its sliver's root.
    fn path_lengths(&self, layout: &Layout) -> (usize, usize) {
        let (leaf, leaves) = self.leaf(layout);
        (inside_length(self.part, self.grain.parts(layout)), merkle::path_length(leaf, leaves))
    }

    /// Bytes of the opening of this place.
    pub fn opening_bytes(&self, layout: &Layout) -> usize {
        let (inside, across) = self.path_lengths(layout);
        (inside + across) * HASH_BYTES
    }

    /// Where the symbol is in its tree, and how many leaves that tree has.
    fn leaf(&self, layout: &Layout) -> (usize, usize) {
        let (symbol, stored) = (usize::from(self.symbol), layout.sliver_symbols(self.axis));
        match symbol.checked_sub(stored) {
            None => (symbol, stored),
            Some(beyond) => (beyond, usize::from(layout.shards()) - stored),
        }
    }
}

/// The way from a part of a symbol to the root of its sliver. Both lengths follow from layout and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Subtrees of the symbol beside the part and its ancestors, lowest first.
    inside: Vec<Hash>,
    /// From the symbol's hash up.
    across: Vec<Hash>,
}

impl Opening {
    /// The opening of a whole symbol.
    pub(crate) fn of_symbol(hashes: &SliverHashes, symbol: u16) -> Self {
        Self { inside: Vec::new(), across: hashes.path(symbol) }
    }

    /// The hashes one after the other: those within the symbol, then those to the root.
    pub fn encode(&self) -> Vec<u8> {
        [self.inside.as_flattened(), self.across.as_flattened()].concat()
    }

    /// Reads the opening of `place`. The length is compared before any memory is given.
    ///
    /// # Errors
    /// [`OpeningError::Place`] when the layout has none such, [`OpeningError::Length`].
    pub fn decode(bytes: &[u8], layout: &Layout, place: &Place) -> Result<Self, OpeningError> {
        if !place.exists(layout) {
            return Err(OpeningError::Place { place: *place });
        }
        let (inside, across) = place.path_lengths(layout);
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() || hashes.len() != inside + across {
            return Err(OpeningError::Length { expected: (inside + across) * HASH_BYTES, actual: bytes.len() });
        }
        let (inside, across) = hashes.split_at(inside);
        Ok(Self { inside: inside.to_vec(), across: across.to_vec() })
    }

    /// The hash of the symbol to which a part of the right length leads.
    pub(crate) fn symbol_of(&self, layout: &Layout, place: &Place, bytes: &[u8]) -> Option<Hash> {
        let parts = place.grain.parts(layout);
        let leaf = subtree(bytes, place.range(layout).start, parts == 1);
        inside_root(leaf, place.part, parts, &self.inside)
    }

    /// Whether a symbol of this hash leads to the root that a sliver with these roots has for it.
    pub(crate) fn leads(&self, layout: &Layout, place: &Place, symbol: Hash, roots: &SliverRoots) -> bool {
        let (leaf, leaves) = place.leaf(layout);
        let root = if place.is_stored(layout) { roots.stored } else { roots.extension };
        merkle::root_of_path(Domain::SymbolNode, symbol, leaf, leaves, &self.across) == Some(root)
    }
}

/// A part of a symbol that was checked against its blob's id. Made by [`CheckedProof::check_part`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPart {
    blob: BlobId,
    layout: Layout,
    pair: PairIndex,
    place: Place,
    bytes: Vec<u8>,
}

impl CheckedPart {
    /// The blob it is of.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// The layout of that blob.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The pair it is of.
    pub fn pair(&self) -> PairIndex {
        self.pair
    }

    /// Which part of which symbol of which sliver.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl CheckedProof {
    /// Checks a part of a symbol of this pair: its length, its way within the symbol, and the symbol's way to the
    /// sliver's root.
    ///
    /// # Errors
    /// [`OpeningError`]: whoever sent this proof with these bytes is wrong.
    pub fn check_part(&self, place: Place, bytes: Vec<u8>, opening: &Opening) -> Result<CheckedPart, OpeningError> {
        let layout = self.layout();
        if !place.exists(&layout) {
            return Err(OpeningError::Place { place });
        }
        let range = place.range(&layout);
        let expected = range.end - range.start;
        if bytes.len() as u64 != expected {
            return Err(OpeningError::Bytes { expected, actual: bytes.len() as u64 });
        }
        let symbol = opening.symbol_of(&layout, &place, &bytes);
        let roots = self.roots(place.axis);
        if !symbol.is_some_and(|symbol| opening.leads(&layout, &place, symbol, &roots)) {
            return Err(OpeningError::Wrong { pair: self.pair(), place });
        }
        Ok(CheckedPart { blob: self.blob(), layout, pair: self.pair(), place, bytes })
    }
}

impl CheckedProof {
    /// Checks a whole symbol of this pair, stored or of the extension, that is read from `symbol` in pieces: the same as
    /// [`CheckedProof::check_part`] for who has not the memory for it.
    ///
    /// # Errors
    /// [`OpeningError::Place`] unless `place` is a whole symbol, [`OpeningError::Read`], [`OpeningError::Wrong`].
    pub fn check_symbol(&self, place: Place, symbol: &dyn ReadAt, opening: &Opening) -> Result<(), OpeningError> {
        let layout = self.layout();
        if place.grain != Grain::Symbol || !place.exists(&layout) {
            return Err(OpeningError::Place { place });
        }
        let whole = Symbol { sliver: symbol, offset: 0, units: &[] };
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; layout.symbol_bytes().min(READ_BYTES as u64) as usize];
        let mut at = 0;
        while at < layout.symbol_bytes() {
            let part = &mut buffer[..(layout.symbol_bytes() - at).min(READ_BYTES as u64) as usize];
            whole.read(part, at)?;
            hasher.update(part);
            at += part.len() as u64;
        }
        let hash = *hasher.finalize().as_bytes();
        if !opening.inside.is_empty() || !opening.leads(&layout, &place, hash, &self.roots(place.axis)) {
            return Err(OpeningError::Wrong { pair: self.pair(), place });
        }
        Ok(())
    }
}

impl SliverHashes {
    /// Opens a part of a stored symbol of `sliver`, whose hashes these are, reading that symbol only; with the hashes of
    /// units ([`SliverHashes::with_units`]) only the unit that the part is in. For a whole symbol, also of the extension, see [`SliverHashes::open_symbol`].
    ///
    /// Returns the part's bytes and its opening.
    ///
    /// # Errors
    /// [`OpeningError::Place`] when there is no such stored part of this sliver, [`OpeningError::Read`].
    pub fn open_part(
        &self,
        layout: &Layout,
        place: Place,
        sliver: &dyn ReadAt,
    ) -> Result<(Vec<u8>, Opening), OpeningError> {
        if place.axis != self.axis() || !place.exists(layout) || !place.is_stored(layout) {
            return Err(OpeningError::Place { place });
        }
        let offset = u64::from(place.symbol) * layout.symbol_bytes();
        let symbol = Symbol { sliver, offset, units: self.units_of(place.symbol) };
        let range = place.range(layout);
        // A whole symbol is asked for by whoever has room for it.
        let mut bytes = vec![0; (range.end - range.start) as usize];
        symbol.read(&mut bytes, range.start)?;
        let inside = symbol.siblings(layout, &place)?;
        Ok((bytes, Opening { inside, across: self.path(place.symbol) }))
    }

    /// The opening of a whole symbol, stored or of the extension. `None` when `symbol` is not below `n`.
    pub fn open_symbol(&self, layout: &Layout, symbol: u16) -> Option<Opening> {
        (symbol < layout.shards()).then(|| Opening::of_symbol(self, symbol))
    }
}

/// A stored symbol within its sliver.
struct Symbol<'a> {
    sliver: &'a dyn ReadAt,
    offset: u64,
    /// The chaining values of its units, or nothing.
    units: &'a [Hash],
}

impl Symbol<'_> {
    fn read(&self, buffer: &mut [u8], start: u64) -> Result<(), OpeningError> {
        let (offset, bytes) = (self.offset + start, buffer.len());
        self.sliver.read_exact_at(buffer, offset).map_err(|source| OpeningError::Read { offset, bytes, source })
    }

    /// The subtrees beside `place` and its ancestors, lowest first: each is read and hashed once, or joined from units that
    /// are known.
    fn siblings(&self, layout: &Layout, place: &Place) -> Result<Vec<Hash>, OpeningError> {
        let (part_bytes, parts) = (place.grain.part_bytes(layout), place.grain.parts(layout));
        let mut siblings = Vec::new();
        let mut depth = 0;
        while parts.div_ceil(1 << depth) > 1 {
            let sibling = (place.part >> depth) ^ 1;
            if sibling < parts.div_ceil(1 << depth) {
                let start = (sibling << depth) * part_bytes;
                let end = layout.symbol_bytes().min(start + (part_bytes << depth));
                let units = if part_bytes << depth < UNIT_BYTES {
                    None
                } else {
                    self.units.get((start / UNIT_BYTES) as usize..end.div_ceil(UNIT_BYTES) as usize)
                };
                siblings.push(match units {
                    Some(units) => joined(units),
                    None => self.subtree(start..end)?,
                });
            }
            depth += 1;
        }
        Ok(siblings)
    }

    /// The chaining value of the subtree over `range`, which is aligned and not all of the symbol.
    fn subtree(&self, range: Range<u64>) -> Result<Hash, OpeningError> {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(range.start);
        let mut buffer = vec![0; (range.end - range.start).min(READ_BYTES as u64) as usize];
        let mut at = range.start;
        while at < range.end {
            let part = &mut buffer[..(range.end - at).min(READ_BYTES as u64) as usize];
            self.read(part, at)?;
            hasher.update(part);
            at += part.len() as u64;
        }
        Ok(hasher.finalize_non_root())
    }
}

/// The chaining value of the subtree over neighbouring `units`, of which there is one, and which is not all of the symbol.
fn joined(units: &[Hash]) -> Hash {
    let mut level = units.to_vec();
    while level.len() > 1 {
        let join = |pair: &[Hash]| match pair {
            [left, right] => merge_subtrees_non_root(left, right, Mode::Hash),
            // The odd last one moves up.
            odd => odd[0],
        };
        level = level.chunks(2).map(join).collect();
    }
    level[0]
}

/// The chaining value of an aligned part that begins at `start` of its symbol, or the symbol's hash when it is all.
pub(crate) fn subtree(bytes: &[u8], start: u64, whole: bool) -> Hash {
    if whole {
        return *blake3::hash(bytes).as_bytes();
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(start);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// How many siblings a part has on its way to the symbol's hash. BLAKE3's trees have the shape of ours: the left side
/// is the largest power of two of chunks that leaves something for the right.
fn inside_length(mut part: u64, mut parts: u64) -> usize {
    let mut length = 0;
    while parts > 1 {
        length += usize::from(part ^ 1 < parts);
        part /= 2;
        parts = parts.div_ceil(2);
    }
    length
}

/// The hash of the symbol to which the subtree of `part` of `parts` leads. `None` when the path has not the length it
/// must have.
fn inside_root(leaf: Hash, mut part: u64, mut parts: u64, path: &[Hash]) -> Option<Hash> {
    if path.len() != inside_length(part, parts) {
        return None;
    }
    let (mut hash, mut path) = (leaf, path.iter());
    while parts > 1 {
        if part ^ 1 < parts {
            let sibling = path.next()?;
            let (left, right) = if part.is_multiple_of(2) { (&hash, sibling) } else { (sibling, &hash) };
            // Two left: this is the last join, which BLAKE3 marks as the root.
            hash = match parts {
                2 => *merge_subtrees_root(left, right, Mode::Hash).as_bytes(),
                _ => merge_subtrees_non_root(left, right, Mode::Hash),
            };
        }
        part /= 2;
        parts = parts.div_ceil(2);
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_every_grain_lead_to_the_hash_of_the_symbol() {
        for symbol_bytes in [2_u64, 1022, 1024, 1026, 5000, 65_536, 65_538, 200_002, 1 << 20] {
            let layout = Layout::new(4, symbol_bytes * 6).unwrap();
            assert_eq!(layout.symbol_bytes(), symbol_bytes);
            let symbol: Vec<u8> = (0..symbol_bytes).map(|i| (i * i / 11 % 253) as u8).collect();
            let hash = *blake3::hash(&symbol).as_bytes();
            for grain in [Grain::Chunk, Grain::Unit, Grain::Symbol] {
                let parts = grain.parts(&layout);
                for part in (0..parts).filter(|part| parts < 100 || part % 97 == 0 || part + 1 == parts) {
                    let place = Place { axis: Axis::Primary, symbol: 0, grain, part };
                    let read = Symbol { sliver: &symbol, offset: 0, units: &[] };
                    let path = read.siblings(&layout, &place).unwrap();
                    let range = place.range(&layout);
                    let bytes = &symbol[range.start as usize..range.end as usize];
                    let leaf = subtree(bytes, range.start, parts == 1);
                    assert_eq!(inside_root(leaf, part, parts, &path), Some(hash), "{symbol_bytes} {grain:?} {part}");
                    let longer: Vec<Hash> = path.iter().copied().chain([[0; 32]]).collect();
                    assert_eq!(inside_root(leaf, part, parts, &longer), None);
                }
            }
        }
    }
}
