//! Memory stays within what was allowed, however long the blob is: counted, from sources that lend nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod counting;
mod twin;

use std::io;

use common::{Stored, shuffled};
use counting::measured;
use floe_erasure::{
    Assembler, Axis, CheckedProof, Evidence, Options, PairIndex, ReadAt, RootVector, SliverHashes, SliverId, WriteAt,
    find_inconsistency, recover_primary, recover_sliver, recovery_symbol, verify_fragment, verify_primary,
};

/// A source like a file: it has to be read.
struct Unlent<'a>(&'a [u8]);

impl ReadAt for Unlent<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

struct Nowhere;

impl WriteAt for Nowhere {
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
}

const MEMORY: usize = 1 << 20;
/// Beside what was allowed: a chunk of each of `n` symbols on its way through code and hash, and what they leave.
const BESIDE: usize = 1 << 20;

fn options() -> Options<'static> {
    Options { memory_bytes_max: MEMORY, ..Options::default() }
}

fn within<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (result, memory) = measured(work);
    assert!(memory < MEMORY + BESIDE, "{what} took {memory} bytes");
    result
}

#[test]
fn a_long_blob_is_read_checked_and_rebuilt_in_little_memory() {
    // A sliver is 4 MB, and the other 7 MB.
    let stored = Stored::new(10, 28 << 20);
    let (blob, layout) = (stored.blob, stored.layout);
    let fragments: Vec<Vec<u8>> = (0..10).map(|pair| stored.fragment(pair)).collect();
    let primaries: Vec<Unlent<'_>> = fragments.iter().map(|fragment| Unlent(fragment)).collect();
    let start = layout.primary_bytes() as usize;
    let secondaries: Vec<Unlent<'_>> = fragments.iter().map(|fragment| Unlent(&fragment[start..])).collect();

    within("verifying", || {
        let (pair, proof) = (PairIndex(1), stored.proof(1));
        verify_fragment(&blob, &layout, pair, &proof, &primaries[1], &options()).unwrap();
    });
    for (axis, slivers) in [(Axis::Primary, &primaries), (Axis::Secondary, &secondaries)] {
        within("reading", || {
            let mut assembler = Assembler::new(&blob, &layout);
            // No systematic one, as far as that goes.
            let order: Vec<u16> = if axis == Axis::Primary { (0..10).rev().collect() } else { (0..10).collect() };
            for pair in order {
                let sliver = SliverId { pair: PairIndex(pair), axis };
                let source = Unlent(slivers[usize::from(pair)].0);
                assembler.offer(sliver, &stored.proof(pair), source, &options()).unwrap();
            }
            assembler.write_ready(&mut io::sink(), &options()).unwrap();
            assert!(assembler.is_done());
        });
    }
    let proofs: Vec<CheckedProof> = (0..4).map(|pair| stored.checked_proof(pair)).collect();
    let vector = RootVector::from_proofs(&proofs).unwrap();
    for axis in [Axis::Primary, Axis::Secondary] {
        let target = SliverId { pair: PairIndex(5), axis };
        let symbols: Vec<Vec<u8>> = shuffled(10, 1)
            .into_iter()
            .map(|helper| {
                let mut symbol = Vec::with_capacity(layout.symbol_bytes() as usize);
                within("helping", || {
                    let ends = (&primaries[usize::from(helper)] as &dyn ReadAt, &mut symbol as &mut dyn io::Write);
                    recovery_symbol(&layout, PairIndex(helper), target, ends, &options()).unwrap();
                });
                symbol
            })
            .collect();
        let symbols: Vec<Unlent<'_>> = symbols.iter().map(|symbol| Unlent(symbol)).collect();
        let helpers = shuffled(10, 1).into_iter().map(PairIndex);
        let symbols: Vec<(PairIndex, &dyn ReadAt)> =
            helpers.zip(&symbols).map(|(helper, symbol)| (helper, symbol as &dyn ReadAt)).collect();
        within("rebuilding", || recover_sliver(&vector, target, &symbols, &Nowhere, &options()).unwrap());
    }
    let checked: Vec<_> = (6..10)
        .map(|pair| {
            let (source, proof) = (&primaries[usize::from(pair)], stored.proof(pair));
            let checked = verify_primary(&blob, &layout, PairIndex(pair), &proof, source, &options()).unwrap();
            (checked, source as &dyn ReadAt)
        })
        .collect();
    within("rebuilding from lines", || {
        recover_primary(&vector, PairIndex(0), &checked, &Nowhere, &options()).unwrap();
    });
    within("hashing", || {
        SliverHashes::of(&layout, PairIndex(0), Axis::Secondary, &secondaries[0], &options()).unwrap();
    });
    within("judging", || {
        let evidence = Evidence::extension(Axis::Primary, &proofs[1]);
        assert!(!evidence.verify(&primaries[1], &options()).unwrap_err().is_undecided());
    });
    within("searching", || {
        let slivers: Vec<(CheckedProof, &dyn ReadAt)> =
            (6..10).map(|pair| (stored.checked_proof(pair), &primaries[usize::from(pair)] as &dyn ReadAt)).collect();
        let found = find_inconsistency(Axis::Primary, &slivers, &mut io::sink(), &options());
        assert!(found.unwrap().is_none());
    });
}
