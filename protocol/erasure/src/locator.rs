//! Where a codeword has holes: the logarithms from which all factors of a decoding follow.
//!
//! A codeword is the values of a polynomial at points numbered `0..N`, `N` a power of two, and the difference of
//! points `i` and `j` is the element `i ^ j`. Which places a code gives its symbols, and at which it is
//! zero or unknown to all, says [`Places`]. Then with `E` the unknown places and
//!
//! ```text
//!   L(x) = product of (x - e) over all e in E          L'(e) = the same without the factor of e itself
//! ```
//!
//! an unknown value is `f(w) = 1 / L'(w) * sum over all known i of  L(i) * f(i) / (w - i)`, and the
//! transform that decodes all at once multiplies by `L(i)` before and by `1 / L'(w)` after. Only differences of
//! the logarithms of `L` matter, so the product over the known places, turned upside down, does as well: the two
//! together run over all points and are constant. Whichever of the two has as many places as the code's smaller
//! power of two is taken.
//!
//! A sum of logarithms over a set, for every point, is a convolution over exclusive or. For few points it is added up,
//! for many it is two Walsh transforms of `N` points and not of all 65,536.
//!
//! # Source
//! Lin, Chung, Han (FOCS 2014), section 5; the transforms as in Leopard. A test compares with the product.

use std::sync::OnceLock;

use reed_solomon_simd::engine::tables;

/// The order of the field's multiplicative group: logarithms are counted modulo this.
const ORDER: u32 = 65_535;
/// Most points, as a power of two.
const POINTS_LOG_MAX: usize = 16;
/// Additions that cost as much as a butterfly of a Walsh transform.
const SUM_WORTH: usize = 3;

/// For `queries`, in order: the sum of `log(q ^ e)` over all `e != q` in `set`, modulo 65,535. All are below
/// `points`, a power of two up to 65,536.
pub(crate) fn log_products(points: usize, set: &[usize], queries: &[usize]) -> Vec<u16> {
    let butterflies = 2 * points * points.ilog2() as usize;
    if set.len() * queries.len() <= SUM_WORTH * butterflies {
        let log = &tables::get_exp_log().log;
        let sum = |query: &usize| -> u32 {
            // At most 65,536 logarithms up to 65,535 do not overflow. What stands for that of zero is 65,535, which
            // leaves the sum as it is.
            set.iter().map(|element| u32::from(log[element ^ query])).sum()
        };
        return queries.iter().map(|query| (sum(query) % ORDER) as u16).collect();
    }
    let mut sums = vec![0_i32; points];
    for element in set {
        sums[*element] = 1;
    }
    walsh(&mut sums);
    // Twice the transform multiplies by the number of points, whose inverse is a power of two as well.
    let shift = (POINTS_LOG_MAX - points.ilog2() as usize) % POINTS_LOG_MAX;
    for (sum, log) in sums.iter_mut().zip(log_walsh(points)) {
        let product = u32::from(reduced(*sum)) * u32::from(*log);
        *sum = i32::from(folded(u64::from(folded(u64::from(product))) << shift));
    }
    walsh(&mut sums);
    queries.iter().map(|query| reduced(sums[*query])).collect()
}

/// The Walsh transform of the logarithms of the elements below `points`, that of zero taken as zero.
fn log_walsh(points: usize) -> &'static [u16] {
    static TABLES: [OnceLock<Vec<u16>>; POINTS_LOG_MAX + 1] = [const { OnceLock::new() }; POINTS_LOG_MAX + 1];
    TABLES[points.ilog2() as usize].get_or_init(|| {
        let log = &tables::get_exp_log().log[..points];
        let mut sums: Vec<i32> = log.iter().map(|log| i32::from(*log)).collect();
        sums[0] = 0;
        walsh(&mut sums);
        sums.into_iter().map(reduced).collect()
    })
}

/// Layers after which values that began below 2^16 have to be reduced again.
const LAYERS: usize = 14;

/// The Walsh transform in place, modulo 65,535; values below 2^16 on entry, any sign after.
fn walsh(values: &mut [i32]) {
    let mut half = 1;
    let mut layers = 0;
    while half < values.len() {
        if layers == LAYERS {
            values.iter_mut().for_each(|value| *value = i32::from(reduced(*value)));
            layers = 0;
        }
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                // At most fourteen doublings of sixteen bits.
                (*low, *high) = (low.wrapping_add(*high), low.wrapping_sub(*high));
            }
        }
        half *= 2;
        layers += 1;
    }
}

fn reduced(value: i32) -> u16 {
    value.rem_euclid(ORDER as i32) as u16
}

/// A number below 2^48 modulo 65,535.
fn folded(value: u64) -> u16 {
    (value % u64::from(ORDER)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_and_sums_agree() {
        let log = &tables::get_exp_log().log;
        for points in [2_usize, 16, 256, 2048, 65_536] {
            let set: Vec<usize> = (0..points).filter(|i| i * i % 7 < 3).collect();
            let queries: Vec<usize> = (0..points).step_by(points.div_ceil(3000)).collect();
            let expected: Vec<u16> = queries
                .iter()
                .map(|q| {
                    let sum: u64 = set.iter().filter(|e| *e != q).map(|e| u64::from(log[e ^ q])).sum();
                    (sum % u64::from(ORDER)) as u16
                })
                .collect();
            assert_eq!(log_products(points, &set, &queries), expected, "{points} points");
        }
    }
}
