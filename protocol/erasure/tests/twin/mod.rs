//! The slow, readable twin: the whole matrix in memory, one symbol at a time, straight from the layout. It
//! shares nothing with the crate but the code and the hash it stands on.

#![allow(dead_code)] // Each test file uses a part of it.

pub type Hash = [u8; 32];

/// Everything an encoding has.
pub struct Twin {
    pub blob: Hash,
    /// Primary bytes, then secondary bytes, by pair.
    pub fragments: Vec<Vec<u8>>,
    /// Encoded proofs by pair.
    pub proofs: Vec<Vec<u8>>,
}

pub fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> Hash {
    *blake3::keyed_hash(key, &parts.concat()).as_bytes()
}

pub fn merkle_root(key: &[u8; 32], leaves: &[Hash]) -> Hash {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    keyed(key, &[&merkle_root(key, left), &merkle_root(key, right)])
}

fn merkle_path(key: &[u8; 32], leaves: &[Hash], leaf: usize) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let half = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(half);
    let (mut path, sibling) = if leaf < half {
        (merkle_path(key, left, leaf), merkle_root(key, right))
    } else {
        (merkle_path(key, right, leaf - half), merkle_root(key, left))
    };
    path.push(sibling);
    path
}

pub fn symbol_tree_root(symbols: &[Vec<u8>]) -> Hash {
    let leaves: Vec<Hash> = symbols.iter().map(|symbol| *blake3::hash(symbol).as_bytes()).collect();
    merkle_root(b"floe erasure 1: symbol tree node", &leaves)
}

/// All `n` symbols of the codeword that begins with `source`.
pub fn extended(source: &[Vec<u8>], n: usize) -> Vec<Vec<u8>> {
    let parity = reed_solomon_simd::encode(source.len(), n - source.len(), source).unwrap();
    source.iter().cloned().chain(parity).collect()
}

/// The `n x n` matrix of a blob, row by row, from its `p x c` source symbols.
pub fn matrix(source: &[Vec<Vec<u8>>], n: usize) -> Vec<Vec<Vec<u8>>> {
    let columns: Vec<Vec<Vec<u8>>> = (0..source[0].len())
        .map(|j| extended(&source.iter().map(|row| row[j].clone()).collect::<Vec<_>>(), n))
        .collect();
    (0..n).map(|i| extended(&columns.iter().map(|column| column[i].clone()).collect::<Vec<_>>(), n)).collect()
}

/// The source symbols of a blob.
pub fn source(bytes: &[u8], n: usize) -> Vec<Vec<Vec<u8>>> {
    let f = (n - 1) / 3;
    let (p, c) = (n - 2 * f, n - f);
    let mut size = 2;
    while size * p * c < bytes.len() {
        size += 2;
    }
    let mut padded = bytes.to_vec();
    padded.resize(p * c * size, 0);
    padded.chunks(c * size).map(|row| row.chunks(size).map(<[u8]>::to_vec).collect()).collect()
}

/// Encodes a blob.
pub fn encode(bytes: &[u8], n: usize) -> Twin {
    commit(&matrix(&source(bytes, n), n), bytes.len() as u64)
}

/// Commits to whatever matrix there is, consistent or not.
pub fn commit(matrix: &[Vec<Vec<u8>>], length: u64) -> Twin {
    let n = matrix.len();
    let f = (n - 1) / 3;
    let (p, c) = (n - 2 * f, n - f);
    let column = |j: usize| matrix.iter().map(|row| row[j].clone()).collect::<Vec<_>>();
    let primaries: Vec<[Hash; 2]> =
        matrix.iter().map(|row| [symbol_tree_root(&row[..c]), symbol_tree_root(&row[c..])]).collect();
    let secondaries: Vec<[Hash; 2]> =
        (0..n).map(|j| [symbol_tree_root(&column(j)[..p]), symbol_tree_root(&column(j)[p..])]).collect();
    commit_to_roots(matrix, length, &primaries, &secondaries)
}

/// The same with whatever roots there are: stored and extension of each sliver.
pub fn commit_to_roots(
    matrix: &[Vec<Vec<u8>>],
    length: u64,
    primaries: &[[Hash; 2]],
    secondaries: &[[Hash; 2]],
) -> Twin {
    let n = matrix.len();
    let f = (n - 1) / 3;
    let (p, c) = (n - 2 * f, n - f);
    let joined = |key: &[u8; 32], roots: &[[Hash; 2]]| -> Vec<Hash> {
        roots.iter().map(|[stored, extension]| keyed(key, &[stored, extension])).collect()
    };
    let primary_roots = joined(b"floe erasure 1: primary sliver  ", primaries);
    let secondary_roots = joined(b"floe erasure 1: secondary sliver", secondaries);
    let mut vector = [primary_roots.concat(), secondary_roots.concat()].concat();
    let piece_bytes = (64 * n).div_ceil(p).next_multiple_of(2);
    vector.resize(p * piece_bytes, 0);
    let pieces = extended(&vector.chunks(piece_bytes).map(<[u8]>::to_vec).collect::<Vec<_>>(), n);
    let leaves: Vec<Hash> = (0..n)
        .map(|i| {
            let piece = keyed(b"floe erasure 1: piece of roots  ", &[&pieces[i]]);
            let parts: [&[u8]; 3] = [&primary_roots[i], &secondary_roots[n - 1 - i], &piece];
            keyed(b"floe erasure 1: sliver pair     ", &parts)
        })
        .collect();
    let node = b"floe erasure 1: pair tree node  ";
    let root = merkle_root(node, &leaves);
    let blob = keyed(
        b"floe erasure 1: blob id         ",
        &[&[1], &(n as u16).to_le_bytes(), &length.to_le_bytes(), &root, &[0; 32]],
    );
    let fragments = (0..n)
        .map(|i| {
            let secondary: Vec<u8> = matrix[..p].iter().flat_map(|row| row[n - 1 - i].clone()).collect();
            [matrix[i][..c].concat(), secondary].concat()
        })
        .collect();
    let proofs = (0..n)
        .map(|i| {
            let roots = [primaries[i].concat(), secondaries[n - 1 - i].concat()].concat();
            let path = merkle_path(node, &leaves, i).concat();
            [roots, vec![piece_bytes as u8], pieces[i].clone(), path].concat()
        })
        .collect();
    Twin { blob, fragments, proofs }
}

/// Bytes by formula: what the frozen vectors are made of too. A 64-bit linear congruential generator
/// (Knuth's MMIX constants) seeded with the length, of which every step gives its top byte.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut state = length as u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(step).collect()
}
