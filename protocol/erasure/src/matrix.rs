//! Multiplying by a fixed element of GF(2^16) as matrices over bits.
//!
//! It is linear in the bits of the other factor: a 16x16 matrix, cut in four of 8x8 by the low and high bytes of an element:
//!
//! ```text
//!   low  of the product  =  A low  ^  B high
//!   high of the product  =  C low  ^  D high
//! ```
//!
//! It is linear in the fixed element as well. So matrices are not looked up in a table of all elements (2 MiB) but are
//! the sum of four entries of one of 2 KiB, one for each nibble of the element. Those of the transforms' own constants are
//! kept as far as they are used.

use std::sync::OnceLock;

use reed_solomon_simd::engine::tables::{self, Skew};
use reed_solomon_simd::engine::{GF_BITS, GF_MODULUS};

/// The four matrices of a multiplication, in the order `A`, `D`, `B`, `C` of the head. A row is a byte, the
/// first row the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(32))]
pub(crate) struct Matrix(pub(crate) [u64; 4]);

impl Matrix {
    pub(crate) const ZERO: Self = Self([0; 4]);

    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index] ^ other.0[index]))
    }

    /// From the products of an element with every bit: `columns[bit]`.
    fn new(columns: &[u16; GF_BITS]) -> Self {
        // `rows[i]` has bit `j` where bit `j` of the factor flips bit `i` of the product.
        let rows: [u16; GF_BITS] = std::array::from_fn(|i| {
            columns.iter().enumerate().fold(0, |row, (j, column)| row | (column >> i & 1) << j)
        });
        let part = |first_row: usize, shift: u16| {
            let row = |row: &u16| (row >> shift) as u8;
            u64::from_be_bytes(std::array::from_fn(|i| row(&rows[first_row + i])))
        };
        Self([part(0, 0), part(8, 8), part(0, 8), part(8, 0)])
    }
}

/// Entries for the four nibbles of an element, and the matrices of the transforms' constants.
pub(crate) struct Tables {
    nibbles: [[Matrix; 16]; 4],
    skew: &'static Skew,
    /// By the power of two of the index: those of one power are made when the first is used.
    skews: [OnceLock<Vec<Matrix>>; GF_BITS],
}

impl Tables {
    pub(crate) fn new() -> Self {
        let exp_log = tables::get_exp_log();
        let nibble = |nibble: usize| {
            std::array::from_fn(|value| {
                let element = value << (4 * nibble);
                let column = |bit: usize| tables::mul(1 << bit, exp_log.log[element], &exp_log.exp, &exp_log.log);
                if element == 0 { Matrix::ZERO } else { Matrix::new(&std::array::from_fn(column)) }
            })
        };
        Self {
            nibbles: std::array::from_fn(nibble),
            skew: tables::get_skew(),
            skews: [const { OnceLock::new() }; GF_BITS],
        }
    }

    /// The matrix of multiplying by `element`.
    pub(crate) fn matrix(&self, element: u16) -> Matrix {
        let entry = |nibble: usize| self.nibbles[nibble][usize::from(element >> (4 * nibble) & 15)];
        entry(0).plus(entry(1)).plus(entry(2)).plus(entry(3))
    }

    /// The matrix of the constant at `index` of the skew table; `None` where the constant is zero.
    pub(crate) fn skew(&self, index: usize) -> Option<&Matrix> {
        let power = (index + 1).ilog2() as usize;
        let first = (1 << power) - 1;
        let matrices = self.skews[power].get_or_init(|| {
            let exp = &tables::get_exp_log().exp;
            let constants = &self.skew[first..(2 * first + 1).min(self.skew.len())];
            let matrix = |log: &u16| {
                if *log == GF_MODULUS { Matrix::ZERO } else { self.matrix(exp[usize::from(*log)]) }
            };
            constants.iter().map(matrix).collect()
        });
        (self.skew[index] != GF_MODULUS).then(|| &matrices[index - first])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_multiply_as_the_tables_do() {
        let (tables, exp_log) = (Tables::new(), tables::get_exp_log());
        let row =
            |matrix: u64, i: usize, byte: u8| u16::from((matrix.to_be_bytes()[i] & byte).count_ones() % 2 == 1) << i;
        for element in (0..=u16::MAX).step_by(331).chain([1, 2, 255, 256, u16::MAX]) {
            let Matrix([a, d, b, c]) = tables.matrix(element);
            for other in (0..=u16::MAX).step_by(1009) {
                let [low, high] = other.to_le_bytes();
                let product = (0..8).fold(0, |product, i| {
                    let low_bit = row(a, i, low) ^ row(b, i, high);
                    let high_bit = row(c, i, low) ^ row(d, i, high);
                    product | low_bit | high_bit << 8
                });
                let log = exp_log.log[usize::from(element)];
                let expected = if element == 0 { 0 } else { tables::mul(other, log, &exp_log.exp, &exp_log.log) };
                assert_eq!(product, expected, "{element} times {other}");
            }
        }
    }
}
