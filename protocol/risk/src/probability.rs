//! Probabilities in Q63: `2^63` is one. Every operation rounds so that the result is an upper bound.
//!
//! A risk that is shown may be a little too large, never too small, and it is the same number on every machine: no
//! floats, products through 128 bits rounded up, sums that stop at one. The complement is exact, so that a chain of
//! products and sums over `p` and `1 - p` stays an upper bound of what it stands for.
//!
//! # Laws
//! - **I20** A fixed-point risk is never below the exact one.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A probability in Q63, from zero to one inclusive.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Probability(u64);

/// One in Q63.
pub(crate) const UNIT: u64 = 1 << 63;

impl Probability {
    /// Never.
    pub const ZERO: Probability = Probability(0);
    /// For certain.
    pub const ONE: Probability = Probability(UNIT);

    /// The probability with these bits in Q63; one for anything larger.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Probability {
        if bits > UNIT { Probability::ONE } else { Probability(bits) }
    }

    /// Its bits in Q63.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// `part / whole` rounded up; one when `whole` is zero or the smaller.
    #[must_use]
    pub fn ratio_up(part: u64, whole: u64) -> Probability {
        if part >= whole {
            return Probability::ONE;
        }
        // `part < whole < 2^64`, so the quotient is below 2^63 before it is rounded.
        Probability((u128::from(part) << 63).div_ceil(u128::from(whole)) as u64)
    }

    /// `part / whole` rounded down: for bounds, where smaller is the safe side. One when `whole` is the smaller.
    #[must_use]
    pub fn ratio_down(part: u128, whole: u128) -> Probability {
        // Both are shifted until the product fits; the divisor is rounded up, the dividend down.
        let shift = (64 - part.leading_zeros().min(64)).max(64 - whole.leading_zeros().min(64));
        let (part, whole) = (part >> shift, (whole >> shift) + u128::from(whole & ((1 << shift) - 1) != 0));
        if whole == 0 || part >= whole { Probability::ONE } else { Probability(((part << 63) / whole) as u64) }
    }

    /// `1 - p`, exactly.
    #[must_use]
    pub const fn complement(self) -> Probability {
        Probability(UNIT - self.0)
    }

    /// The product, rounded up.
    #[must_use]
    pub const fn times_up(self, other: Probability) -> Probability {
        // At most 2^126 before the shift.
        Probability(((self.0 as u128 * other.0 as u128 + (UNIT as u128 - 1)) >> 63) as u64)
    }

    /// The sum, at most one.
    #[must_use]
    pub const fn plus(self, other: Probability) -> Probability {
        // At most 2^64 - 0 only when both are one: the sum of two values up to 2^63 may be 2^64.
        Probability::from_bits(self.0.saturating_add(other.0))
    }

    /// `factor` times as much, at most one.
    #[must_use]
    pub const fn scaled(self, factor: u64) -> Probability {
        Probability::from_bits(self.0.saturating_mul(factor))
    }

    /// A part of it, rounded down; zero for a divisor of zero.
    #[must_use]
    pub fn divided_down(self, divisor: u64) -> Probability {
        Probability(self.0.checked_div(divisor).unwrap_or(0))
    }

    /// How many thousandths of `bound` it is, rounded up, at most `u64::MAX`; a bound of zero counts as the least there is.
    #[must_use]
    pub fn thousandths_of(self, bound: Probability) -> u64 {
        let thousandths = (u128::from(self.0) * 1_000).div_ceil(u128::from(bound.0.max(1)));
        u64::try_from(thousandths).unwrap_or(u64::MAX)
    }

    /// `e^-(part/whole)`, never above the true value and at most 2^-55 below it. A `whole` of zero gives zero.
    ///
    /// The whole part of the exponent is a power of `1/e`, the rest a series of twenty-four terms.
    #[must_use]
    pub fn exp_negative_down(part: u64, whole: u64) -> Probability {
        if whole == 0 {
            return Probability::ZERO;
        }
        // Beyond 44 the value is below 2^-63.
        let (turns, rest) = (part / whole, part % whole);
        if turns > 44 {
            return Probability::ZERO;
        }
        let mut value = series(rest, whole);
        let inverse_e = series(1, 1);
        for _ in 0..turns {
            value = ((u128::from(value) * u128::from(inverse_e)) >> 63) as u64;
        }
        Probability(value)
    }
}

/// `e^-x` for `x = part/whole` at most one, rounded towards zero by more than all that was rounded on the way.
fn series(part: u64, whole: u64) -> u64 {
    /// Each of the terms is wrong by at most one unit of the last place, accumulated by the next.
    const SLACK: u64 = 64;
    let x = (u128::from(part) << 63) / u128::from(whole);
    let (mut above, mut below, mut term) = (0u128, 0u128, u128::from(UNIT));
    for index in 0..24u128 {
        if index % 2 == 0 {
            above += term
        } else {
            below += term
        }
        term = ((term * x) >> 63) / (index + 1);
    }
    u64::try_from(above.saturating_sub(below)).unwrap_or(UNIT).saturating_sub(SLACK).min(UNIT)
}

impl fmt::Debug for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Three digits and a power of ten, rounded up as all is: `3.42e-4`.
impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let (mut value, mut exponent) = (u128::from(self.0), 0);
        // Digits before the point: scaled so that 100 <= digits <= 1000 of a hundredth.
        while value * 100 < u128::from(UNIT) * 100 {
            value *= 10;
            exponent += 1;
        }
        let mut digits = (value * 100).div_ceil(u128::from(UNIT));
        if digits >= 1_000 {
            digits = digits.div_ceil(10);
            exponent -= 1;
        }
        write!(f, "{}.{:02}e{}", digits / 100, digits % 100, -exponent)
    }
}

impl<'de> Deserialize<'de> for Probability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Probability, D::Error> {
        let bits = u64::deserialize(deserializer)?;
        if bits > UNIT {
            return Err(serde::de::Error::custom("a probability is at most one"));
        }
        Ok(Probability(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(p: Probability) -> f64 {
        p.bits() as f64 / UNIT as f64
    }

    #[test]
    fn products_and_ratios_are_rounded_up() {
        let third = Probability::ratio_up(1, 3);
        assert_eq!(third.bits(), UNIT / 3 + 1);
        assert!(u128::from(third.times_up(third).bits()) * 9 >= u128::from(UNIT));
        assert_eq!(Probability::from_bits(1).times_up(Probability::from_bits(1)).bits(), 1, "never down to nothing");
    }

    #[test]
    fn sums_stop_at_one() {
        assert_eq!(Probability::ONE.plus(Probability::ONE), Probability::ONE);
        assert_eq!(Probability::ratio_up(2, 3).plus(Probability::ratio_up(1, 3)), Probability::ONE);
        assert_eq!(Probability::ratio_up(5, 0), Probability::ONE);
        assert_eq!(Probability::ratio_up(u64::MAX - 1, u64::MAX).plus(Probability::ZERO).bits(), UNIT);
    }

    #[test]
    fn bounds_are_rounded_down() {
        let bound = Probability::ratio_down(6, 8_766_000_000_000);
        assert!(u128::from(bound.bits()) * 8_766_000_000_000 <= 6 << 63);
        assert!((real(bound) / (6.0 / 8.766e12) - 1.0).abs() < 1e-6);
        assert!((real(Probability::ratio_down(6_000_000_000_000_000_000_000, 10_u128.pow(22))) - 0.6).abs() < 1e-9);
    }

    #[test]
    fn exponentials_are_never_above_and_close() {
        for (part, whole) in [(0, 1), (1, 1), (1, 2), (1, 8), (7, 36), (168, 36), (88, 2), (90, 2), (3, 0)] {
            let value = real(Probability::exp_negative_down(part, whole));
            let exact = if whole == 0 { 0.0 } else { (-(part as f64) / whole as f64).exp() };
            assert!(value <= exact * (1.0 + 1e-15) && exact - value < 4e-16, "{part}/{whole}");
        }
    }

    #[test]
    fn it_is_shown_with_three_digits() {
        let shown = [(1, 1), (342, 1_000_000), (1, 3), (9_996, 100_000)].map(|(p, w)| Probability::ratio_up(p, w));
        assert_eq!(shown.map(|p| p.to_string()), ["1.00e0", "3.43e-4", "3.34e-1", "1.00e-1"]);
    }
}
