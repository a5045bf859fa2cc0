//! Symbols of at most eight bytes, handled as numbers.
//!
//! At `n` = 1000 a blob below 1.7 MB has no longer ones, and millions of them are copied from rows to columns and back: as
//! slices, copying one takes as long as hashing it. A number has the symbol's bytes in
//! little-endian order and zeros above them; in blocks it lies as [`crate::code`] says, its first half among the low
//! bytes, its second among the high ones.

use crate::code::Block;

/// Bytes of the longest piece that is handled as a number.
pub(crate) const NUMBER_BYTES_MAX: usize = 8;

/// What of a number is the first `bytes` bytes, at most eight.
fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes)
}

/// Packs pieces of twice `HALF` bytes. Each is written four bytes wide: what it writes beyond its own is zeros, and is
/// where the next one goes.
#[inline]
pub(crate) fn put_short<const HALF: usize>(symbol: &mut [Block], words: usize, piece: impl Fn(usize) -> u64) {
    let slots = 32 / HALF;
    for (index, block) in symbol.iter_mut().enumerate() {
        let first = index * slots;
        let (mut low, mut high) = ([0; 36], [0; 36]);
        for slot in 0..slots.min(words.saturating_sub(first)) {
            let piece = piece(first + slot);
            let (head, tail) = (piece & mask(HALF), piece >> (8 * HALF) & mask(HALF));
            low[slot * HALF..][..4].copy_from_slice(&(head as u32).to_le_bytes());
            high[slot * HALF..][..4].copy_from_slice(&(tail as u32).to_le_bytes());
        }
        block[..32].copy_from_slice(&low[..32]);
        block[32..].copy_from_slice(&high[..32]);
    }
}

/// The opposite of [`put_short`].
#[inline]
pub(crate) fn take_short<const HALF: usize>(symbol: &[Block], words: usize, mut take: impl FnMut(usize, u64)) {
    let slots = 32 / HALF;
    for (index, block) in symbol.iter().enumerate() {
        let first = index * slots;
        let mut bytes = [0; 68];
        bytes[..64].copy_from_slice(block);
        let part = |start: usize| {
            let mut part = [0; 4];
            part.copy_from_slice(&bytes[start..start + 4]);
            u64::from(u32::from_le_bytes(part)) & mask(HALF)
        };
        for slot in 0..slots.min(words.saturating_sub(first)) {
            take(first + slot, part(slot * HALF) | part(32 + slot * HALF) << (8 * HALF));
        }
    }
}

/// The piece of `bytes` bytes, at most eight, at the beginning of `from`, as a number.
#[inline]
pub(crate) fn short(from: &[u8], bytes: usize) -> u64 {
    let whole = from.first_chunk::<8>().copied().unwrap_or_else(|| {
        let mut last = [0; 8];
        last[..bytes].copy_from_slice(&from[..bytes]);
        last
    });
    u64::from_le_bytes(whole) & mask(bytes)
}

/// Writes pieces of `bytes` bytes, at most eight, one after the other: all that `into` has room for.
pub(crate) fn write_shorts(into: &mut [u8], bytes: usize, pieces: &[u64]) {
    debug_assert_eq!(into.len(), pieces.len() * bytes);
    for (index, piece) in pieces.iter().enumerate() {
        // What is written too much is where the next one goes.
        let into = &mut into[index * bytes..];
        match into.first_chunk_mut::<8>() {
            Some(into) => *into = piece.to_le_bytes(),
            None => into[..bytes].copy_from_slice(&piece.to_le_bytes()[..bytes]),
        }
    }
}
