//! Finds what is wrong with a blob whose id does not follow from its bytes, and makes the evidence.
//!
//! Whoever decoded a blob and derived another id has slivers enough of one axis, each checked against the blob, with
//! their proofs. That is all it takes. In this order, for primaries (for secondaries with the axes exchanged):
//!
//! 1. Every sliver at hand extends to its extension root, and is zero after the blob's end. Else *extension*, *padding*.
//! 2. The pieces at hand decode to a vector with this blob id. Else *roots*. From here on every root is known.
//! 3. The rows at hand are codewords, so they determine one consistent matrix. A column of it that has not the committed
//!    root: its symbols are opened in the rows at hand. *Column.*
//! 4. All columns of that matrix are the committed ones. A row that is not: its symbols are opened in the columns. *Row.*
//! 5. All rows and columns are committed to. The source has a byte that is not zero after the blob's end. *Padding.*
//! 6. Else rows, columns, pieces, length and padding are those of the bytes, and so is the id: nothing is wrong.
//!
//! Hence two readers that derive the id never disagree, and when one fails everybody can be shown why. Memory stays
//! bounded: the matrix is decoded where it is looked at, and encoded again for its roots.

use std::io::{self, Write};

use crate::code::Code;
use crate::decode::{Chosen, choose};
use crate::encode::{Encoded, encode};
use crate::error::{DecodeError, EncodeError, EvidenceError, InconsistencyError, RootsError, WrongSliver};
use crate::evidence::{Claim, Evidence, LineOpening, symbol_for};
use crate::id::{BlobId, PairIndex};
use crate::io::{ReadAt, WriteAt};
use crate::layout::{Axis, Layout, SliverId};
use crate::leaves::SliverHashes;
use crate::opening::Opening;
use crate::options::Options;
use crate::proof::{CheckedProof, SliverRoots};
use crate::rebuild::{self, RebuildError};
use crate::roots::{RootVector, SliverProof, sliver_root};
use crate::sliver;
use crate::solve::{SolveScratch, Solver};

/// Bytes that are copied or decoded at a time.
const COPY_BYTES: u64 = 1 << 17;

/// Makes evidence against a blob from at least `p` of its primary slivers, or `c` of its secondary ones, with the proofs
/// of their fragments; more, and repeated ones, are ignored. The evidence's body goes to `body`.
///
/// `None` when the blob is consistent: then its id follows from its bytes. That takes as long as an encoding and a
/// verification of each sliver; memory as [`Options`] says.
///
/// # Errors
/// [`InconsistencyError`]: among others, a sliver that is not the one its proof speaks of is named.
pub fn find_inconsistency(
    axis: Axis,
    slivers: &[(CheckedProof, &dyn ReadAt)],
    body: &mut dyn Write,
    options: &Options<'_>,
) -> Result<Option<Evidence>, InconsistencyError> {
    let Some((first, _)) = slivers.first() else {
        return Err(InconsistencyError::TooFew { needed: 1, given: 0 });
    };
    let (blob, layout) = (first.blob(), first.layout());
    let facts = |proof: &CheckedProof| (proof.blob(), proof.layout(), proof.pair());
    let chosen = choose(&layout, axis, slivers.iter().map(|(proof, source)| (facts(proof), *source)))?;
    for sliver in &chosen {
        let proof = slivers.iter().find(|(proof, _)| proof.pair() == sliver.pair);
        let proof = &proof.expect("it was chosen from these").0;
        if let Some(evidence) = of_one_sliver(axis, proof, sliver.source, body, options)? {
            return Ok(Some(evidence));
        }
    }
    let vector = match RootVector::from_proofs(slivers.iter().map(|(proof, _)| proof)) {
        Ok(vector) => vector,
        Err(RootsError::Inconsistent { evidence }) => return Ok(Some(*evidence)),
        Err(RootsError::TooFew { needed, given }) => return Err(InconsistencyError::TooFew { needed, given }),
        Err(RootsError::Mixed { pair }) => return Err(InconsistencyError::Mixed { pair }),
    };
    let matrix = Matrix::new(&layout, axis, &chosen);
    let padded = u64::from(layout.rows()) * layout.primary_bytes();
    // The same matrix, all of it content: so padding is as the slivers have it, not as it should be.
    let encoded = encode(&matrix, padded, layout.shards(), &Nowhere, options)?;
    let trial = Trial { blob, layout, vector, encoded, matrix: &matrix, options };
    if let Some(target) = trial.first_other(axis.other()) {
        return trial.line(target, Helpers::Held(&chosen), body).map(Some);
    }
    if let Some(target) = trial.first_other(axis) {
        return trial.line(target, Helpers::Systematic, body).map(Some);
    }
    trial.padding(body)
}

/// What is wrong with a sliver alone.
fn of_one_sliver(
    axis: Axis,
    proof: &CheckedProof,
    source: &dyn ReadAt,
    body: &mut dyn Write,
    options: &Options<'_>,
) -> Result<Option<Evidence>, InconsistencyError> {
    let (layout, pair) = (proof.layout(), proof.pair());
    let wrong = |error| InconsistencyError::Sliver(WrongSliver { sliver: SliverId { pair, axis }, error });
    let whole = sliver::check_whole(&layout, pair, axis, (source, 0), options).map_err(wrong)?;
    if whole.roots.stored != proof.roots(axis).stored {
        return Err(wrong(crate::error::FragmentError::Sliver { pair, axis }));
    }
    if whole.roots.extension != proof.roots(axis).extension {
        copy(source, layout.sliver_bytes(axis), body)?;
        return Ok(Some(Evidence::extension(axis, proof)));
    }
    if whole.padding_is_zero {
        return Ok(None);
    }
    let hashes = SliverHashes::new(&layout, axis, whole.hashes);
    with_body(Evidence::padding(proof, &hashes, source)?, body)
}

/// Writes the body of evidence that has it in memory.
fn with_body(found: Option<(Evidence, Vec<u8>)>, body: &mut dyn Write) -> Result<Option<Evidence>, InconsistencyError> {
    let Some((evidence, bytes)) = found else {
        return Ok(None);
    };
    body.write_all(&bytes).map_err(|source| InconsistencyError::Write { source })?;
    Ok(Some(evidence))
}

fn copy(source: &dyn ReadAt, bytes: u64, body: &mut dyn Write) -> Result<(), InconsistencyError> {
    let (mut buffer, mut offset) = (Vec::new(), 0);
    while offset < bytes {
        let count = (bytes - offset).min(COPY_BYTES);
        let part = rebuild::read(source, &mut buffer, offset, count as usize);
        let part = part.map_err(|source| InconsistencyError::Read { source })?;
        body.write_all(part).map_err(|source| InconsistencyError::Write { source })?;
        offset += count;
    }
    Ok(())
}

/// Where the slivers come from in which the symbols of a line are opened.
#[derive(Clone, Copy)]
enum Helpers<'a> {
    /// Those at hand.
    Held(&'a [Chosen<'a>]),
    /// The first of the matrix, which are known to be the committed ones.
    Systematic,
}

/// A blob whose vector of roots is known, and the one consistent matrix that its slivers at hand determine.
struct Trial<'a> {
    blob: BlobId,
    layout: Layout,
    vector: RootVector,
    /// The encoding of that matrix.
    encoded: Encoded,
    matrix: &'a Matrix<'a>,
    options: &'a Options<'a>,
}

impl Trial<'_> {
    fn roots(&self, sliver: SliverId) -> SliverRoots {
        self.encoded.proof(sliver.pair).roots(sliver.axis)
    }

    /// The first sliver of `axis` that the blob commits to otherwise than the matrix has it.
    fn first_other(&self, axis: Axis) -> Option<SliverId> {
        let slivers = (0..self.layout.shards()).map(|pair| SliverId { pair: PairIndex(pair), axis });
        let differs = |sliver: &SliverId| self.vector.root(*sliver) != Some(sliver_root(axis, &self.roots(*sliver)));
        slivers.into_iter().find(differs)
    }

    fn proof(&self, sliver: SliverId) -> SliverProof {
        let leaf = self.vector.leaf(sliver.pair).expect("pairs here are those of the layout");
        SliverProof { roots: self.roots(sliver), leaf }
    }

    /// Evidence that the symbols of `target`, opened in slivers of the other axis, have another root than is committed.
    fn line(
        &self,
        target: SliverId,
        helpers: Helpers<'_>,
        body: &mut dyn Write,
    ) -> Result<Evidence, InconsistencyError> {
        let (layout, place) = (&self.layout, symbol_for(&self.layout, target));
        let mut pairs: Vec<PairIndex> = match helpers {
            Helpers::Held(held) => held.iter().map(|sliver| sliver.pair).collect(),
            // As many as a codeword of the target has source symbols: a u16.
            Helpers::Systematic => {
                (0..layout.sliver_symbols(target.axis) as u16).map(|line| layout.pair_with(place.axis, line)).collect()
            }
        };
        pairs.sort_unstable();
        let mut openings = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let sliver = SliverId { pair, axis: place.axis };
            let computed = MatrixSliver { matrix: self.matrix, sliver };
            let source = match helpers {
                Helpers::Held(held) => held.iter().find(|held| held.pair == pair).map(|held| held.source),
                Helpers::Systematic => None,
            };
            let source = source.unwrap_or(&computed);
            let hashes = SliverHashes::of(layout, pair, place.axis, source, self.options);
            let hashes = hashes.map_err(|error| InconsistencyError::Sliver(WrongSliver { sliver, error }))?;
            let opening = Opening::of_symbol(&hashes, place.symbol);
            openings.push(LineOpening { pair, proof: self.proof(sliver), opening });
            rebuild::symbol_of(layout, place, source, body, self.options)?;
        }
        let leaf = self.vector.leaf(target.pair).expect("pairs here are those of the layout");
        let claim = Claim::Line { target, leaf, openings };
        Ok(Evidence { blob: self.blob, layout: self.layout, claim })
    }

    /// Evidence that the source is not zero after the blob's end, if so: all rows are the committed ones.
    fn padding(&self, body: &mut dyn Write) -> Result<Option<Evidence>, InconsistencyError> {
        let layout = &self.layout;
        // Rows before the blob's end have no padding.
        let first = layout.blob_bytes() / layout.primary_bytes();
        for row in first..u64::from(layout.rows()) {
            // A row is below n, a u16.
            let sliver = SliverId { pair: PairIndex(row as u16), axis: Axis::Primary };
            let source = MatrixSliver { matrix: self.matrix, sliver };
            let hashes = SliverHashes::of(layout, sliver.pair, sliver.axis, &source, self.options);
            let hashes = hashes.map_err(|error| InconsistencyError::Sliver(WrongSliver { sliver, error }))?;
            let target = (&self.blob, layout);
            let found = Evidence::padding_of(target, sliver, self.proof(sliver), &hashes, &source)?;
            if found.is_some() {
                return with_body(found, body);
            }
        }
        Ok(None)
    }
}

/// The `p x c` source symbols that some slivers determine, padding as it is, decoded where they are read.
struct Matrix<'a> {
    layout: &'a Layout,
    axis: Axis,
    chosen: &'a [Chosen<'a>],
    /// By source line.
    lines: Vec<Line>,
    /// Source lines that are computed, and what computes all of them at once.
    missing: Vec<usize>,
    all: Solver,
}

/// Where a source line comes from.
enum Line {
    /// It is the sliver at this position.
    Held(usize),
    /// It is computed from all.
    Solved(Solver),
}

impl<'a> Matrix<'a> {
    fn new(layout: &'a Layout, axis: Axis, chosen: &'a [Chosen<'a>]) -> Self {
        let known: Vec<usize> = chosen.iter().map(|sliver| sliver.line).collect();
        let code = Code::new(known.len(), usize::from(layout.shards()));
        let solver = |lines: &[usize]| {
            let solver = Solver::new(&code, &known, lines);
            solver.expect("`choose` left as many different lines as the code needs")
        };
        let line = |line| known.binary_search(&line).map_or_else(|_| Line::Solved(solver(&[line])), Line::Held);
        let missing: Vec<usize> = (0..known.len()).filter(|line| known.binary_search(line).is_err()).collect();
        let all = solver(&missing);
        Self { layout, axis, chosen, lines: (0..known.len()).map(line).collect(), missing, all }
    }

    /// Fills `buffer` from `offset` on of the source row, or column, that is the sliver of `axis` with this index.
    fn read_sliver(&self, axis: Axis, sliver: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let size = self.layout.symbol_bytes();
        let (mut rest, mut at) = (buffer, offset);
        while !rest.is_empty() {
            let (part, later) = rest.split_at_mut(self.run(axis, at, rest.len() as u64) as usize);
            let count = part.len() as u64;
            if axis == self.axis {
                self.read_along(sliver, at, part)?;
            } else if count > size {
                self.read_across(sliver, at / size, part)?;
            } else {
                self.read_along(at / size, sliver * size + at % size, part)?;
            }
            at += count;
            rest = later;
        }
        Ok(())
    }

    /// How much is read at a time: several whole symbols, or a part of one.
    fn run(&self, axis: Axis, at: u64, wanted: u64) -> u64 {
        let (size, most) = (self.layout.symbol_bytes(), wanted.min(COPY_BYTES));
        let across = size.saturating_mul(self.lines.len() as u64);
        let several = at.is_multiple_of(size) && (axis == self.axis || across <= COPY_BYTES);
        let one = (size - at % size).min(most);
        if several { one.max(most / size * size) } else { one }
    }

    /// Reads a part of a line: of one symbol, or several whole ones.
    fn read_along(&self, line: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let size = self.layout.symbol_bytes();
        let line = usize::try_from(line).ok().and_then(|line| self.lines.get(line));
        let solver = match line.ok_or(io::ErrorKind::UnexpectedEof)? {
            Line::Held(position) => return self.chosen[*position].source.read_exact_at(buffer, offset),
            Line::Solved(solver) => solver,
        };
        // Elements lie within blocks of 64 bytes of a symbol: whole ones are solved.
        let within = offset % size;
        let skipped = (within % 64) as usize;
        let count = match skipped as u64 + buffer.len() as u64 {
            bytes if bytes > size => bytes,
            bytes => bytes.next_multiple_of(64).min(size - (within - skipped as u64)),
        } as usize;
        let mut solved = vec![0; count];
        let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); self.chosen.len()];
        let parts = self.parts(&mut buffers, offset - skipped as u64, count)?;
        let unit = count.min(usize::try_from(size).unwrap_or(usize::MAX));
        solver.solve(unit, &parts, &mut [&mut solved], &mut SolveScratch::default());
        buffer.copy_from_slice(&solved[skipped..][..buffer.len()]);
        Ok(())
    }

    /// Reads whole symbols that stand at the same place of neighbouring lines, the first of which is `first`.
    fn read_across(&self, place: u64, first: u64, buffer: &mut [u8]) -> io::Result<()> {
        // Several of them fit into a buffer.
        let size = self.layout.symbol_bytes() as usize;
        let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); self.chosen.len()];
        let parts = self.parts(&mut buffers, place * self.layout.symbol_bytes(), size)?;
        let mut solved = vec![0; size * self.missing.len()];
        let mut wanted: Vec<&mut [u8]> = solved.chunks_mut(size).collect();
        self.all.solve(size, &parts, &mut wanted, &mut SolveScratch::default());
        let lines = self.lines.iter().enumerate().skip(usize::try_from(first).unwrap_or(usize::MAX));
        for (symbol, (index, line)) in buffer.chunks_mut(size).zip(lines) {
            symbol.copy_from_slice(match line {
                Line::Held(position) => parts[*position],
                // Missing lines stand in order.
                Line::Solved(_) => &solved[self.missing.partition_point(|missing| *missing < index) * size..][..size],
            });
        }
        Ok(())
    }

    /// `count` bytes from `offset` on of every sliver at hand.
    fn parts<'b>(&'b self, buffers: &'b mut [Vec<u8>], offset: u64, count: usize) -> io::Result<Vec<&'b [u8]>> {
        let sources = self.chosen.iter().zip(buffers);
        sources.map(|(sliver, buffer)| rebuild::read(sliver.source, buffer, offset, count)).collect()
    }
}

impl ReadAt for Matrix<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let row_bytes = self.layout.primary_bytes();
        let (mut rest, mut at) = (buffer, offset);
        while !rest.is_empty() {
            let count = (row_bytes - at % row_bytes).min(rest.len() as u64);
            let (part, later) = rest.split_at_mut(count as usize);
            self.read_sliver(Axis::Primary, at / row_bytes, at % row_bytes, part)?;
            at += count;
            rest = later;
        }
        Ok(())
    }
}

/// A systematic sliver of a matrix.
struct MatrixSliver<'a> {
    matrix: &'a Matrix<'a>,
    sliver: SliverId,
}

impl ReadAt for MatrixSliver<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let line = self.matrix.layout.sliver_of(self.sliver.axis, self.sliver.pair);
        self.matrix.read_sliver(self.sliver.axis, u64::from(line), offset, buffer)
    }
}

/// A sink for slivers of which only the roots are wanted.
struct Nowhere;

impl WriteAt for Nowhere {
    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }
}

impl From<DecodeError> for InconsistencyError {
    /// Of an error of choosing slivers.
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooFew { needed, given } => Self::TooFew { needed, given },
            DecodeError::Mixed { pair } => Self::Mixed { pair },
            DecodeError::Read { source, .. } | DecodeError::Write { source, .. } => Self::Read { source },
            DecodeError::Cancelled => Self::Cancelled,
        }
    }
}

impl From<EncodeError> for InconsistencyError {
    /// Of an error of encoding a matrix whose layout is known, to nowhere.
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Read { source, .. } | EncodeError::Write { source, .. } => Self::Read { source },
            EncodeError::Layout(_) | EncodeError::Cancelled => Self::Cancelled,
        }
    }
}

impl From<RebuildError> for InconsistencyError {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Read { source, .. } => Self::Read { source },
            RebuildError::Write { source, .. } => Self::Write { source },
            RebuildError::Cancelled => Self::Cancelled,
        }
    }
}

impl From<EvidenceError> for InconsistencyError {
    /// Of an error of looking for padding: only reading can fail there.
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Read { source } => Self::Read { source },
            _ => Self::Cancelled,
        }
    }
}
