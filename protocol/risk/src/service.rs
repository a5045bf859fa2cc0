//! The service score: the lower weighted median over reporters of the pass ratio. For pay, never for presence.
//!
//! Members with less than half of the reporting shards cannot move it beyond what honest ones saw: the median lies
//! between an honest quarter from below and one from above. The mean would move by their share.

use crate::reliability::Reliability;

/// What one member saw of a target in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Shards of the reporter.
    pub weight: u16,
    /// Challenges it made.
    pub asked: u32,
    /// Challenges that passed, of those.
    pub passed: u32,
}

/// The score of a target: none when nobody asked it anything. `seen` is put in order in place.
#[must_use]
pub fn score(seen: &mut [Seen]) -> Option<Reliability> {
    let ratio = |one: &Seen| Reliability::ratio(one.passed, one.asked);
    let counts = |one: &Seen| if one.asked == 0 { 0 } else { u64::from(one.weight) };
    seen.sort_unstable_by_key(ratio);
    let total: u64 = seen.iter().map(counts).sum();
    let mut below = 0;
    for one in seen.iter() {
        below += counts(one);
        if counts(one) > 0 && below * 2 >= total {
            return Some(ratio(one));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(weight: u16, asked: u32, passed: u32) -> Seen {
        Seen { weight, asked, passed }
    }

    #[test]
    fn the_lower_of_two_middle_ones_counts() {
        let mut two = [seen(1, 4, 4), seen(1, 4, 1)];
        assert_eq!(score(&mut two), Some(Reliability::ratio(1, 4)));
        let mut three = [seen(1, 4, 4), seen(1, 4, 1), seen(1, 4, 2)];
        assert_eq!(score(&mut three), Some(Reliability::ratio(1, 2)));
    }

    #[test]
    fn reporters_count_by_their_shards() {
        let mut weighted = [seen(5, 4, 3), seen(1, 4, 0), seen(1, 4, 0), seen(2, 4, 4)];
        assert_eq!(score(&mut weighted), Some(Reliability::ratio(3, 4)));
    }

    #[test]
    fn f_liars_move_it_no_further_than_honest_reporters_do() {
        for lie in [0, 4] {
            let mut reports: Vec<Seen> = (0..20).map(|at| seen(1, 4, 3 + at % 2)).collect();
            reports.extend((0..10).map(|_| seen(1, 4, lie)));
            let median = score(&mut reports).unwrap();
            assert!(median >= Reliability::ratio(3, 4), "{lie}");
        }
    }

    #[test]
    fn who_asked_nothing_says_nothing() {
        assert_eq!(score(&mut []), None);
        assert_eq!(score(&mut [seen(9, 0, 0)]), None);
        assert_eq!(score(&mut [seen(9, 0, 0), seen(1, 2, 1)]), Some(Reliability::ratio(1, 2)));
        assert_eq!(score(&mut [seen(9, 1, 7)]), Some(Reliability::FULL), "more passes than challenges are all of them");
    }
}
