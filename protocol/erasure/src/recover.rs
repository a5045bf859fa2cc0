//! Rebuilds a sliver, and from two slivers a fragment with its proof: byte for byte what was lost.
//!
//! ```text
//!   1. the vector of sliver roots, from the pieces of any p fragments               RootVector::from_proofs
//!   2. one bare symbol from each helper:  p for a secondary sliver, c for a primary one       recovery_symbol
//!   3. decode, extend, hash, compare with the committed root                        Recovery::attempt
//!   4. only on mismatch: every helper's symbol is opened; who cannot is named       Recovery::prove
//!   5. both slivers: the fragment and its proof                                     recovered_fragment
//! ```
//!
//! The secondary sliver first: it needs fewer helpers, and then gives one of the symbols for the primary. When fewer
//! than `c` can help, a primary is computed from `p` whole ones ([`recover_primary`]), at the price of a blob.
//!
//! A helper's symbol for the lost sliver lies in its own sliver of the *other* axis: row and column meet in it. When all
//! symbols are proven and the root is still another one, they are the evidence that the blob is inconsistent.
//!
//! Whom to ask, when, and what to do with whoever cannot prove is the caller's.
//!
//! # Source
//! Walrus (arXiv 2505.05370), recovery. We differ in asking for proofs only after a mismatch.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use crate::decode::choose;
use crate::error::{DecodeError, RecoveryError};
use crate::evidence::{Claim, Evidence, LineOpening, symbol_for};
use crate::id::{BlobId, PairIndex};
use crate::io::{Part, ReadAt, WriteAt};
use crate::layout::{Axis, Layout, SliverId};
use crate::leaves::SliverHashes;
use crate::opening::{Opening, Place};
use crate::options::Options;
use crate::proof::{CheckedProof, FragmentProof, SliverRoots};
use crate::rebuild::{self, RebuildError, Rebuilt};
use crate::roots::{RootVector, SliverProof, sliver_root};
use crate::verify::{CheckedFragment, CheckedPrimary};

/// A sliver that was rebuilt and has the committed root, extension and padding included. Made here only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSliver {
    blob: BlobId,
    layout: Layout,
    sliver: SliverId,
    hashes: SliverHashes,
}

impl RecoveredSliver {
    /// The blob it is of.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// Which sliver it is.
    pub fn sliver(&self) -> SliverId {
        self.sliver
    }

    /// Its two roots.
    pub fn roots(&self) -> SliverRoots {
        self.hashes.roots()
    }

    /// The hashes of its symbols.
    pub fn hashes(&self) -> &SliverHashes {
        &self.hashes
    }
}

/// The symbol that a helper gives for `target`: of its sliver of the other axis. The same for every helper. `None` when
/// there is no such pair.
pub fn recovery_place(layout: &Layout, target: SliverId) -> Option<Place> {
    (target.pair.0 < layout.shards()).then(|| symbol_for(layout, target))
}

/// Makes the symbol that the holder of `own` gives to whoever rebuilds `target`, and writes it to `sink` in order:
/// [`Layout::symbol_bytes`]. A stored symbol is copied, one of the extension is computed from all stored ones.
///
/// `fragment` is the holder's: primary sliver, then secondary. For the opening, which only a mismatch calls for, see
/// [`SliverHashes::open_symbol`] with [`recovery_place`].
///
/// # Errors
/// [`RecoveryError::Helper`], [`RecoveryError::Read`], [`RecoveryError::Write`] or [`RecoveryError::Cancelled`].
pub fn recovery_symbol(
    layout: &Layout,
    own: PairIndex,
    target: SliverId,
    (fragment, sink): (&dyn ReadAt, &mut dyn Write),
    options: &Options<'_>,
) -> Result<(), RecoveryError> {
    if let Some(pair) = [own, target.pair].into_iter().find(|pair| pair.0 >= layout.shards()) {
        return Err(RecoveryError::Helper { helper: pair });
    }
    let place = symbol_for(layout, target);
    let start = match place.axis {
        Axis::Primary => 0,
        Axis::Secondary => layout.primary_bytes(),
    };
    let sliver = Part::new(fragment, start);
    rebuild::symbol_of(layout, place, &sliver, sink, options).map_err(|error| recovery_error(error, |_| own))
}

/// Rebuilds `target` from one bare symbol of each of its helpers and compares its root with the committed one. `out`
/// gets its bytes, which are of no use unless this returns it.
///
/// `p` different helpers are needed for a secondary sliver, `c` for a primary one; more, and repeated ones, are ignored.
/// The holder of the target may be among them with its other sliver.
///
/// # Errors
/// [`RecoveryError::Mismatch`] when some symbol was wrong, or the blob is inconsistent: openings tell
/// ([`Recovery`] asks for them). Otherwise what [`RecoveryError`] says.
pub fn recover_sliver(
    vector: &RootVector,
    target: SliverId,
    symbols: &[(PairIndex, &dyn ReadAt)],
    out: &dyn WriteAt,
    options: &Options<'_>,
) -> Result<RecoveredSliver, RecoveryError> {
    let layout = vector.layout();
    if let Some((helper, _)) = symbols.iter().find(|(helper, _)| helper.0 >= layout.shards()) {
        return Err(RecoveryError::Helper { helper: *helper });
    }
    // By place in the target's codeword: its source symbols first, which take no arithmetic.
    let mut helpers = symbols.to_vec();
    helpers.sort_by_key(|(helper, _)| layout.sliver_of(target.axis.other(), *helper));
    helpers.dedup_by_key(|(helper, _)| *helper);
    let needed = layout.sliver_symbols(target.axis);
    if helpers.len() < needed {
        return Err(RecoveryError::TooFew { needed, given: helpers.len() });
    }
    helpers.truncate(needed);
    let rebuilt = rebuild::from_symbols(&layout, target, &helpers, Some(out), options)
        .map_err(|error| recovery_error(error, |position| helpers[position].0))?;
    compare(vector, target, rebuilt)
}

/// Rebuilds the primary sliver of `pair` from `p` whole primary slivers: when fewer than `c` helpers are there. Moves as
/// many bytes as the blob has.
///
/// # Errors
/// As [`recover_sliver`]. After a mismatch the `p` slivers themselves are what
/// [`find_inconsistency`](crate::find_inconsistency) makes evidence of.
pub fn recover_primary(
    vector: &RootVector,
    pair: PairIndex,
    slivers: &[(CheckedPrimary, &dyn ReadAt)],
    out: &dyn WriteAt,
    options: &Options<'_>,
) -> Result<RecoveredSliver, RecoveryError> {
    let layout = vector.layout();
    if let Some((other, _)) = slivers.iter().find(|(checked, _)| checked.blob() != vector.blob()) {
        return Err(RecoveryError::Mixed { pair: other.pair() });
    }
    if pair.0 >= layout.shards() {
        return Err(RecoveryError::Helper { helper: pair });
    }
    let facts = |checked: &CheckedPrimary| (checked.blob(), checked.layout(), checked.pair());
    let lines = choose(&layout, Axis::Primary, slivers.iter().map(|(checked, source)| (facts(checked), *source)));
    let lines = lines.map_err(|error| match error {
        DecodeError::Mixed { pair } => RecoveryError::Mixed { pair },
        // The only other one.
        _ => RecoveryError::TooFew { needed: layout.lines(Axis::Primary), given: slivers.len() },
    })?;
    let rebuilt = rebuild::from_lines(&layout, pair, &lines, Some(out), options)
        .map_err(|error| recovery_error(error, |position| lines[position].pair))?;
    compare(vector, SliverId { pair, axis: Axis::Primary }, rebuilt)
}

fn compare(vector: &RootVector, target: SliverId, rebuilt: Rebuilt) -> Result<RecoveredSliver, RecoveryError> {
    let committed = vector.root(target).ok_or(RecoveryError::Helper { helper: target.pair })?;
    if sliver_root(target.axis, &rebuilt.hashes.roots()) != committed {
        return Err(RecoveryError::Mismatch { target });
    }
    if !rebuilt.padding_is_zero {
        return Err(RecoveryError::Padding { target });
    }
    Ok(RecoveredSliver { blob: vector.blob(), layout: vector.layout(), sliver: target, hashes: rebuilt.hashes })
}

fn recovery_error(error: RebuildError, pair: impl Fn(usize) -> PairIndex) -> RecoveryError {
    match error {
        RebuildError::Read { position, source } => RecoveryError::Read { pair: pair(position), source },
        RebuildError::Write { offset, source } => RecoveryError::Write { offset, source },
        RebuildError::Cancelled => RecoveryError::Cancelled,
    }
}

/// The proof of a fragment both slivers of which were rebuilt, which may then be signed for: all that
/// [`verify_fragment`](crate::verify_fragment) would check has been.
///
/// `None` when the two are not the slivers of one pair of the vector's blob.
pub fn recovered_fragment(
    vector: &RootVector,
    primary: &RecoveredSliver,
    secondary: &RecoveredSliver,
) -> Option<(FragmentProof, CheckedFragment)> {
    let pair = primary.sliver.pair;
    let axes = (primary.sliver.axis, secondary.sliver.axis) == (Axis::Primary, Axis::Secondary);
    if !axes || secondary.sliver.pair != pair || primary.blob != vector.blob() || secondary.blob != vector.blob() {
        return None;
    }
    let proof = vector.proof(pair, primary.roots(), secondary.roots())?;
    let checked = CheckedFragment::of(&vector.blob(), &vector.layout(), pair, &proof);
    Some((proof, checked))
}

/// How an attempt to rebuild a sliver ended.
#[derive(Debug)]
pub enum Attempt {
    /// So many more helpers are needed.
    Short {
        /// How many.
        missing: usize,
    },
    /// Here it is, with its bytes.
    Recovered {
        /// What was checked.
        sliver: RecoveredSliver,
        /// The sliver.
        bytes: Vec<u8>,
    },
    /// What came out is not what is committed to: those helpers are to open their symbols.
    ProofsWanted {
        /// Who has not yet.
        helpers: Vec<PairIndex>,
    },
    /// The blob is inconsistent.
    Inconsistent {
        /// The head of the evidence.
        evidence: Evidence,
        /// Its body.
        body: Vec<u8>,
    },
}

/// The recovery of one sliver, in memory: bare symbols first, openings only after a mismatch.
///
/// Holds as many symbols as are needed and not one more; with its result that is twice the sliver. A sliver that is too
/// large for that is rebuilt by [`recover_sliver`].
#[derive(Debug)]
pub struct Recovery {
    vector: Arc<RootVector>,
    target: SliverId,
    helpers: BTreeMap<PairIndex, Helper>,
    unproven: BTreeSet<PairIndex>,
    proofs_wanted: bool,
    received_bytes: u64,
}

/// What one helper gave.
#[derive(Debug)]
struct Helper {
    symbol: Vec<u8>,
    proven: Option<(SliverProof, Opening)>,
}

impl Recovery {
    /// The recovery of `target`.
    ///
    /// # Errors
    /// [`RecoveryError::Helper`] when there is no such pair.
    pub fn new(vector: Arc<RootVector>, target: SliverId) -> Result<Self, RecoveryError> {
        if target.pair.0 >= vector.layout().shards() {
            return Err(RecoveryError::Helper { helper: target.pair });
        }
        Ok(Self {
            vector,
            target,
            helpers: BTreeMap::new(),
            unproven: BTreeSet::new(),
            proofs_wanted: false,
            received_bytes: 0,
        })
    }

    /// The recovery of the primary sliver of a pair whose secondary one has been rebuilt and is `bytes`: that gives one of
    /// the symbols, so that one helper less is needed. It is not counted among what was received.
    ///
    /// # Errors
    /// [`RecoveryError::Mixed`] when it is a primary sliver or of another blob, [`RecoveryError::Read`] when `bytes` are too
    /// few to be it. That they are it is not checked again.
    pub fn after_secondary(
        vector: Arc<RootVector>,
        secondary: &RecoveredSliver,
        bytes: &[u8],
    ) -> Result<Self, RecoveryError> {
        let (pair, layout) = (secondary.sliver.pair, vector.layout());
        if secondary.blob != vector.blob() || secondary.sliver.axis != Axis::Secondary {
            return Err(RecoveryError::Mixed { pair });
        }
        let mut recovery = Self::new(vector, SliverId { pair, axis: Axis::Primary })?;
        let (place, mut symbol) = (recovery.wanted(), Vec::new());
        rebuild::symbol_of(&layout, place, &bytes, &mut symbol, &Options::default())
            .map_err(|error| recovery_error(error, |_| pair))?;
        let leaf = recovery.vector.leaf(pair).ok_or(RecoveryError::Helper { helper: pair })?;
        let proof = SliverProof { roots: secondary.roots(), leaf };
        let opening = Opening::of_symbol(&secondary.hashes, place.symbol);
        recovery.helpers.insert(pair, Helper { symbol, proven: Some((proof, opening)) });
        Ok(recovery)
    }

    /// What to ask every helper for.
    pub fn wanted(&self) -> Place {
        symbol_for(&self.vector.layout(), self.target)
    }

    /// How many more helpers are needed.
    pub fn missing(&self) -> usize {
        self.vector.layout().sliver_symbols(self.target.axis) - self.helpers.len()
    }

    /// Bytes that came in: symbols, proofs and openings.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Helpers whose symbol was found not to be theirs, or that did not open it: as good as silent.
    pub fn unproven(&self) -> impl Iterator<Item = PairIndex> {
        self.unproven.iter().copied()
    }

    /// Takes the bare symbol of a helper.
    ///
    /// # Errors
    /// [`RecoveryError::Helper`] for one that does not exist, has given a symbol, or could not prove one before;
    /// [`RecoveryError::Symbol`] for another length; [`RecoveryError::Enough`]. Nothing is kept then.
    pub fn offer(&mut self, helper: PairIndex, symbol: Vec<u8>) -> Result<(), RecoveryError> {
        let layout = self.vector.layout();
        let known = self.helpers.contains_key(&helper) || self.unproven.contains(&helper);
        if known || helper.0 >= layout.shards() {
            return Err(RecoveryError::Helper { helper });
        }
        if symbol.len() as u64 != layout.symbol_bytes() {
            let (expected, actual) = (layout.symbol_bytes(), symbol.len() as u64);
            return Err(RecoveryError::Symbol { helper, expected, actual });
        }
        if self.missing() == 0 {
            return Err(RecoveryError::Enough);
        }
        self.received_bytes += layout.symbol_bytes();
        self.helpers.insert(helper, Helper { symbol, proven: None });
        Ok(())
    }

    /// Takes the proof of a helper's fragment and the opening of the symbol that it gave.
    ///
    /// # Errors
    /// [`RecoveryError::Helper`] when it gave none; [`RecoveryError::Unproven`]: the symbol is dropped and the helper
    /// is not listened to any more.
    pub fn prove(&mut self, helper: PairIndex, proof: FragmentProof, opening: Opening) -> Result<(), RecoveryError> {
        let (blob, layout, place) = (self.vector.blob(), self.vector.layout(), self.wanted());
        let Some(held) = self.helpers.get_mut(&helper) else {
            return Err(RecoveryError::Helper { helper });
        };
        self.received_bytes += FragmentProof::bytes_of(&layout, helper) as u64;
        self.received_bytes += place.opening_bytes(&layout) as u64;
        let hash = *blake3::hash(&held.symbol).as_bytes();
        let proof = proof.check(&blob, &layout, helper).ok();
        let leads = |proof: &CheckedProof| opening.leads(&layout, &place, hash, &proof.roots(place.axis));
        let Some(proof) = proof.filter(leads) else {
            self.drop_helper(helper);
            return Err(RecoveryError::Unproven { helper });
        };
        held.proven = Some((SliverProof::of(&proof, place.axis), opening));
        Ok(())
    }

    /// Gives up on a helper: it went silent, or does not open its symbol.
    pub fn drop_helper(&mut self, helper: PairIndex) {
        if self.helpers.remove(&helper).is_some() {
            self.unproven.insert(helper);
        }
    }

    /// Tries with what there is.
    ///
    /// # Errors
    /// [`RecoveryError::Cancelled`].
    pub fn attempt(&mut self, options: &Options<'_>) -> Result<Attempt, RecoveryError> {
        let missing = self.missing();
        if missing > 0 {
            return Ok(Attempt::Short { missing });
        }
        let unproven: Vec<PairIndex> = self.waiting().collect();
        if self.proofs_wanted && !unproven.is_empty() {
            return Ok(Attempt::ProofsWanted { helpers: unproven });
        }
        let layout = self.vector.layout();
        // As long as the symbols that are held.
        let out = crate::io::MemorySink::new(layout.sliver_bytes(self.target.axis) as usize);
        let symbols: Vec<(PairIndex, &dyn ReadAt)> =
            self.helpers.iter().map(|(pair, helper)| (*pair, &helper.symbol as &dyn ReadAt)).collect();
        let rebuilt = rebuild::from_symbols(&layout, self.target, &symbols, Some(&out), options)
            .map_err(|error| recovery_error(error, |position| symbols[position].0))?;
        let hashes = rebuilt.hashes.clone();
        match compare(&self.vector, self.target, rebuilt) {
            Ok(sliver) => Ok(Attempt::Recovered { sliver, bytes: out.into_bytes() }),
            Err(RecoveryError::Mismatch { .. }) => Ok(self.mismatch(unproven)),
            Err(RecoveryError::Padding { .. }) => self.padding(&hashes, &out.into_bytes()),
            Err(error) => Err(error),
        }
    }

    fn waiting(&self) -> impl Iterator<Item = PairIndex> {
        self.helpers.iter().filter(|(_, helper)| helper.proven.is_none()).map(|(pair, _)| *pair)
    }

    fn mismatch(&mut self, unproven: Vec<PairIndex>) -> Attempt {
        self.proofs_wanted = true;
        if !unproven.is_empty() {
            return Attempt::ProofsWanted { helpers: unproven };
        }
        let (blob, layout) = (self.vector.blob(), self.vector.layout());
        let leaf = self.vector.leaf(self.target.pair).expect("`new` has seen that there is such a pair");
        let (mut openings, mut body) = (Vec::new(), Vec::new());
        for (pair, helper) in &self.helpers {
            // None is unproven here.
            if let Some((proof, opening)) = &helper.proven {
                openings.push(LineOpening { pair: *pair, proof: proof.clone(), opening: opening.clone() });
                body.extend_from_slice(&helper.symbol);
            }
        }
        let claim = Claim::Line { target: self.target, leaf, openings };
        Attempt::Inconsistent { evidence: Evidence { blob, layout, claim }, body }
    }

    /// The sliver is the committed one and is not zero after the blob's end.
    fn padding(&self, hashes: &SliverHashes, bytes: &[u8]) -> Result<Attempt, RecoveryError> {
        let (blob, layout, target) = (self.vector.blob(), self.vector.layout(), self.target);
        let leaf = self.vector.leaf(target.pair).expect("`new` has seen that there is such a pair");
        let proof = SliverProof { roots: hashes.roots(), leaf };
        match Evidence::padding_of((&blob, &layout), target, proof, hashes, &bytes) {
            Ok(Some((evidence, body))) => Ok(Attempt::Inconsistent { evidence, body }),
            // Neither happens: the bytes are in memory, and it was seen that they are not zero.
            Ok(None) | Err(_) => Err(RecoveryError::Padding { target }),
        }
    }
}
