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
    /// What the leaf of each pair is made of: primary root, secondary root, piece, path.
    pub pair_leaves: Vec<Vec<u8>>,
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
    Uploader::new(matrix, length).commit()
}

/// Somebody who commits to anything: what its rows say need not be what its columns say, and every root and piece may be
/// another one than it should be.
#[derive(Clone)]
pub struct Uploader {
    pub length: u64,
    /// All `n` symbols of every primary sliver.
    pub rows: Vec<Vec<Vec<u8>>>,
    /// All `n` symbols of every secondary sliver.
    pub columns: Vec<Vec<Vec<u8>>>,
    /// Sliver, stored (0) or extension (1): another root than that of the symbols.
    pub other_primary_roots: Vec<(usize, usize, Hash)>,
    pub other_secondary_roots: Vec<(usize, usize, Hash)>,
    /// Byte of the vector of roots (beyond it: of its padding) that is another before it is coded.
    pub other_vector: Vec<usize>,
    /// Pair and byte of a piece that is another after coding.
    pub other_pieces: Vec<(usize, usize)>,
}

impl Uploader {
    /// One who commits to a matrix as it is.
    pub fn new(matrix: &[Vec<Vec<u8>>], length: u64) -> Self {
        let n = matrix.len();
        let columns = (0..n).map(|j| matrix.iter().map(|row| row[j].clone()).collect()).collect();
        Self {
            length,
            rows: matrix.to_vec(),
            columns,
            other_primary_roots: Vec::new(),
            other_secondary_roots: Vec::new(),
            other_vector: Vec::new(),
            other_pieces: Vec::new(),
        }
    }

    /// The two roots of each primary, or secondary, sliver.
    fn roots(slivers: &[Vec<Vec<u8>>], stored: usize, others: &[(usize, usize, Hash)]) -> Vec<[Hash; 2]> {
        let roots =
            |symbols: &Vec<Vec<u8>>| [symbol_tree_root(&symbols[..stored]), symbol_tree_root(&symbols[stored..])];
        let mut roots: Vec<[Hash; 2]> = slivers.iter().map(roots).collect();
        for (sliver, which, root) in others {
            roots[*sliver][*which] = *root;
        }
        roots
    }

    pub fn commit(&self) -> Twin {
        let n = self.rows.len();
        let f = (n - 1) / 3;
        let (p, c) = (n - 2 * f, n - f);
        let primaries = Self::roots(&self.rows, c, &self.other_primary_roots);
        let secondaries = Self::roots(&self.columns, p, &self.other_secondary_roots);
        let joined = |key: &[u8; 32], roots: &[[Hash; 2]]| -> Vec<Hash> {
            roots.iter().map(|[stored, extension]| keyed(key, &[stored, extension])).collect()
        };
        let primary_roots = joined(b"floe erasure 1: primary sliver  ", &primaries);
        let secondary_roots = joined(b"floe erasure 1: secondary sliver", &secondaries);
        let mut vector = [primary_roots.concat(), secondary_roots.concat()].concat();
        let piece_bytes = (64 * n).div_ceil(p).next_multiple_of(2);
        vector.resize(p * piece_bytes, 0);
        for byte in &self.other_vector {
            let length = vector.len();
            vector[byte % length] ^= 1;
        }
        let mut pieces = extended(&vector.chunks(piece_bytes).map(<[u8]>::to_vec).collect::<Vec<_>>(), n);
        for (pair, byte) in &self.other_pieces {
            pieces[*pair][byte % piece_bytes] ^= 1;
        }
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
            &[&[1], &(n as u16).to_le_bytes(), &self.length.to_le_bytes(), &root, &[0; 32]],
        );
        let fragments =
            (0..n).map(|i| [self.rows[i][..c].concat(), self.columns[n - 1 - i][..p].concat()].concat()).collect();
        let paths: Vec<Vec<u8>> = (0..n).map(|i| merkle_path(node, &leaves, i).concat()).collect();
        let proofs = (0..n)
            .map(|i| {
                let roots = [primaries[i].concat(), secondaries[n - 1 - i].concat()].concat();
                [roots, vec![piece_bytes as u8], pieces[i].clone(), paths[i].clone()].concat()
            })
            .collect();
        let pair_leaves = (0..n)
            .map(|i| {
                [primary_roots[i].to_vec(), secondary_roots[n - 1 - i].to_vec(), pieces[i].clone(), paths[i].clone()]
            })
            .map(|parts| parts.concat())
            .collect();
        Twin { blob, fragments, proofs, pair_leaves }
    }

    /// The head of evidence that the symbols of the slivers of the other axis in `helpers` (pairs, in order) decode to
    /// another sliver than `target`'s of `axis` (0 primary, 1 secondary), and its body.
    pub fn line_evidence(&self, axis: usize, target: usize, helpers: &[usize]) -> (Vec<u8>, Vec<u8>) {
        let n = self.rows.len();
        let f = (n - 1) / 3;
        let twin = self.commit();
        let mut head = vec![if axis == 1 { 2 } else { 3 }];
        head.extend((target as u16).to_le_bytes());
        head.extend(&twin.pair_leaves[target]);
        let mut body = Vec::new();
        for pair in helpers {
            // A secondary target needs a symbol of every helper's primary sliver, and the other way round.
            let (symbols, stored, symbol) = match axis {
                1 => (&self.rows[*pair], n - f, n - 1 - target),
                _ => (&self.columns[n - 1 - pair], n - 2 * f, target),
            };
            let (tree, leaf) =
                if symbol < stored { (&symbols[..stored], symbol) } else { (&symbols[stored..], symbol - stored) };
            let hashes: Vec<Hash> = tree.iter().map(|symbol| *blake3::hash(symbol).as_bytes()).collect();
            let (proof, leaf_bytes) = (&twin.proofs[*pair], &twin.pair_leaves[*pair]);
            head.extend((*pair as u16).to_le_bytes());
            // The roots of the helper's sliver, the root of its other one, piece and path.
            let (own, other) = if axis == 1 { (0..64, 32..64) } else { (64..128, 0..32) };
            head.extend(&proof[own]);
            head.extend(&leaf_bytes[other]);
            head.extend(&leaf_bytes[64..]);
            head.extend(merkle_path(b"floe erasure 1: symbol tree node", &hashes, leaf).concat());
            body.extend(&symbols[symbol]);
        }
        (head, body)
    }
}

/// The siblings of the chunk that `at` is in, lowest first, in the BLAKE3 tree over `bytes`, which begin at `offset` of
/// their symbol.
fn chunk_path(bytes: &[u8], offset: u64, at: u64) -> Vec<Hash> {
    use blake3::hazmat::{HasherExt, left_subtree_len};
    if bytes.len() <= 1024 {
        return Vec::new();
    }
    let node =
        |bytes: &[u8], offset: u64| blake3::Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root();
    let (left, right) = bytes.split_at(left_subtree_len(bytes.len() as u64) as usize);
    let middle = offset + left.len() as u64;
    let (mut path, sibling) = if at < middle {
        (chunk_path(left, offset, at), node(right, middle))
    } else {
        (chunk_path(right, middle, at), node(left, offset))
    };
    path.push(sibling);
    path
}

impl Twin {
    /// The opening of a chunk of a stored symbol: proof, way within the symbol, way to the sliver's root, chunk.
    pub fn chunk_opening(&self, pair: usize, stored: &[Vec<u8>], symbol: usize, chunk: usize) -> Vec<u8> {
        let hashes: Vec<Hash> = stored.iter().map(|symbol| *blake3::hash(symbol).as_bytes()).collect();
        let inside = chunk_path(&stored[symbol], 0, 1024 * chunk as u64).concat();
        let across = merkle_path(b"floe erasure 1: symbol tree node", &hashes, symbol).concat();
        let bytes = stored[symbol].chunks(1024).nth(chunk).unwrap().to_vec();
        [self.proofs[pair].clone(), inside, across, bytes].concat()
    }
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
