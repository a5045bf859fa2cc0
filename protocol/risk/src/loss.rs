//! The probability that so much weight is lost at once: both tails of one distribution.
//!
//! A node that holds `w` shards of a blob takes all of them with it; a failure domain takes all of its nodes with it.
//!
//! ```text
//! for each domain g   cur = [1]
//!   for each node j     cur[x] = cur[x] (1 - p_j) + cur[x - w_j] p_j        what passes t goes to the tail
//!                     cur = cur (1 - s_g), and all of g with s_g            the shock
//!                     tot = tot * cur                                       convolved; what passes t goes to the tail
//! loss   = tail                                                             lost weight >= t
//! margin = tail + tot[t'] + ... + tot[t - 1]                                lost weight >= t' <= t
//! ```
//!
//! Every cell is rounded up once, from a sum of exact products in 128 bits; the tail is added up on its own and never taken
//! as one minus the rest. Cells are probabilities of one distribution, so that their sum passes one by no more than the
//! units of rounding and no sum of products passes `2^127`.
//!
//! # Laws
//! - **I20** The result is never below the exact probability.
//!
//! # Not here
//! Where the probabilities come from ([`crate::hazard`]) and which weight matters ([`crate::planner`]).

use crate::probability::{Probability, UNIT};

/// What one node holds of a blob, and how likely it is to lose it within the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The failure domain, an index into the shocks.
    pub domain: u16,
    /// Shards that are lost with the node.
    pub weight: u16,
    /// The probability that the node is lost, apart from its domain's shock.
    pub loss: Probability,
}

/// Lost weights from which on something is lost. The margin's is the smaller or equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Lost shards with which the blob is gone.
    pub loss: u32,
    /// Lost shards with which the Byzantine margin is gone.
    pub margin: u32,
}

/// Two risks of one blob over one horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Risks {
    /// Fewer than `p` shards survive.
    pub loss: Probability,
    /// Fewer than `p + b` shards survive. Never below `loss`.
    pub margin: Probability,
}

/// Memory for evaluations: grows to the largest and is used again, so that a thousand evaluations allocate once.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    loads: Vec<Load>,
    total: Vec<u64>,
    next: Vec<u64>,
    domain: Vec<u64>,
}

impl Scratch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Forgets the loads of the evaluation before.
    pub fn clear(&mut self) {
        self.loads.clear();
    }

    /// Adds what a node holds. A weight of zero adds nothing.
    pub fn add(&mut self, load: Load) {
        if load.weight > 0 {
            self.loads.push(load);
        }
    }

    /// Both tails of the weight lost among what was added, with these shocks by domain; a domain beyond them has none.
    #[must_use]
    pub fn tails(&mut self, shocks: &[Probability], at: Thresholds) -> Risks {
        if at.loss == 0 {
            return Risks { loss: Probability::ONE, margin: Probability::ONE };
        }
        let loss = self.distribute(shocks, at.loss);
        let margin_at = at.margin.min(at.loss) as usize;
        if margin_at == 0 {
            return Risks { loss, margin: Probability::ONE };
        }
        let between = self.total.iter().skip(margin_at).fold(0u64, |sum, cell| sum.saturating_add(*cell));
        Risks { loss, margin: loss.plus(Probability::from_bits(between)) }
    }

    /// Every tail: entry `t` is the probability that at least `t` are lost, up to one more than all there is.
    ///
    /// It bounds the risk of any blob that is held in part by the same nodes with the same or smaller weights.
    #[must_use]
    pub fn all_tails(&mut self, shocks: &[Probability]) -> Vec<Probability> {
        let weight: u32 = self.loads.iter().map(|load| u32::from(load.weight)).sum();
        let mut sum = self.distribute(shocks, weight + 1);
        let mut tails = vec![sum];
        for cell in self.total.iter().rev() {
            sum = sum.plus(Probability::from_bits(*cell));
            tails.push(sum);
        }
        // Cells that stayed out of the table are zero: the same tail for every larger threshold.
        tails.resize(weight as usize + 2, sum);
        tails.reverse();
        tails
    }

    /// Leaves the distribution below `cap` in `total` and returns the tail from `cap` on.
    fn distribute(&mut self, shocks: &[Probability], cap: u32) -> Probability {
        if !self.loads.is_sorted_by_key(|load| load.domain) {
            self.loads.sort_unstable_by_key(|load| load.domain);
        }
        let Scratch { loads, total, next, domain } = self;
        let cap = cap as usize;
        total.clear();
        total.push(UNIT);
        let mut tail = 0u64;
        for group in loads.chunk_by(|one, other| one.domain == other.domain) {
            let shock =
                group.first().and_then(|load| shocks.get(usize::from(load.domain))).copied().unwrap_or_default();
            if let [alone] = group {
                // A node that shares its domain with nobody is lost with it or by itself.
                let loss = alone.loss.plus(shock.times_up(alone.loss.complement()));
                tail = tail.saturating_add(one_node(total, Load { loss, ..*alone }, cap));
                continue;
            }
            let inside = one_domain(domain, group, shock, cap);
            tail = convolve(total, domain, next, Tail { sum: tail, inside, cap });
            std::mem::swap(total, next);
        }
        Probability::from_bits(tail)
    }
}

/// Rounds a sum of products up to Q63.
fn up(sum: u128) -> u64 {
    // Products of two parts of distributions: at most 2^126 and rounding, so that the quotient fits.
    debug_assert!(sum < 1 << 127);
    (sum.wrapping_add(u128::from(UNIT - 1)) >> 63) as u64
}

/// Adds a node to a distribution below `cap`; returns what passes it.
fn one_node(cells: &mut Vec<u64>, load: Load, cap: usize) -> u64 {
    let (lost, kept) = (u128::from(load.loss.bits()), u128::from(load.loss.complement().bits()));
    let step = usize::from(load.weight);
    let passing = cells.iter().skip(cap.saturating_sub(step)).fold(0u64, |sum, cell| sum.saturating_add(*cell));
    cells.resize((cells.len() + step).min(cap), 0);
    for at in (step..cells.len()).rev() {
        // Both cells are part of one distribution: the sum of products is at most 2^126 and rounding.
        let stays = u128::from(cells[at]).wrapping_mul(kept);
        cells[at] = up(stays.wrapping_add(u128::from(cells[at - step]).wrapping_mul(lost)));
    }
    for cell in cells.iter_mut().take(step) {
        *cell = up(u128::from(*cell).wrapping_mul(kept));
    }
    up(u128::from(passing) * lost)
}

/// The distribution of what `group` loses, below `cap` into `cells`; returns its tail.
fn one_domain(cells: &mut Vec<u64>, group: &[Load], shock: Probability, cap: usize) -> u64 {
    cells.clear();
    cells.push(UNIT);
    let mut tail = 0u64;
    let mut weight = 0usize;
    for load in group {
        weight += usize::from(load.weight);
        tail = tail.saturating_add(one_node(cells, *load, cap));
    }
    if shock > Probability::ZERO {
        let calm = u128::from(shock.complement().bits());
        for cell in cells.iter_mut() {
            *cell = up(u128::from(*cell) * calm);
        }
        tail = up(u128::from(tail) * calm);
        match cells.get_mut(weight) {
            Some(cell) => *cell = cell.saturating_add(shock.bits()),
            None => tail = tail.saturating_add(shock.bits()),
        }
    }
    tail
}

/// What has passed the cap so far, what passes it within the domain that is added, and the cap.
#[derive(Clone, Copy)]
struct Tail {
    sum: u64,
    inside: u64,
    cap: usize,
}

/// `total * domain` below the cap into `next`; returns the new tail.
fn convolve(total: &[u64], domain: &[u64], next: &mut Vec<u64>, tail: Tail) -> u64 {
    let all = total.iter().fold(0u64, |sum, cell| sum.saturating_add(*cell));
    let mut sum = tail.sum.saturating_add(up(u128::from(tail.inside) * u128::from(all)));
    let mut beyond = 0u64;
    let mut from = total.len();
    for (lost, probability) in domain.iter().enumerate() {
        while from > tail.cap.saturating_sub(lost) {
            from -= 1;
            beyond = beyond.saturating_add(total[from]);
        }
        sum = sum.saturating_add(up(u128::from(beyond) * u128::from(*probability)));
    }
    let length = (total.len() + domain.len() - 1).min(tail.cap);
    next.clear();
    next.resize(length, 0);
    for (at, cell) in next.iter_mut().enumerate() {
        let first = (at + 1).saturating_sub(total.len());
        let last = at.min(domain.len() - 1);
        // Cells of both sum to one and rounding: the sum of products stays below 2^127.
        let pairs = domain[first..=last].iter().zip(total[at - last..=at - first].iter().rev());
        let products =
            pairs.fold(0u128, |sum, (one, other)| sum.wrapping_add(u128::from(*one).wrapping_mul(u128::from(*other))));
        *cell = up(products);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(domain: u16, weight: u16, percent: u64) -> Load {
        Load { domain, weight, loss: Probability::ratio_up(percent, 100) }
    }

    fn near(p: Probability, exact: f64) -> bool {
        let value = p.bits() as f64 / UNIT as f64;
        value >= exact * (1.0 - 1e-12) && value <= exact * (1.0 + 1e-9) + 1e-17
    }

    #[test]
    fn two_coins_give_the_tails_of_the_textbook() {
        let mut scratch = Scratch::new();
        [load(0, 1, 50), load(1, 1, 50)].into_iter().for_each(|load| scratch.add(load));
        let risks = scratch.tails(&[], Thresholds { loss: 2, margin: 1 });
        assert!(near(risks.loss, 0.25) && near(risks.margin, 0.75), "{risks:?}");
    }

    #[test]
    fn a_shock_takes_a_whole_domain() {
        let mut scratch = Scratch::new();
        [load(0, 2, 0), load(0, 3, 0), load(1, 1, 10)].into_iter().for_each(|load| scratch.add(load));
        let risks = scratch.tails(&[Probability::ratio_up(1, 10)], Thresholds { loss: 6, margin: 5 });
        assert!(near(risks.loss, 0.01) && near(risks.margin, 0.1), "{risks:?}");
    }

    #[test]
    fn nothing_can_lose_more_than_there_is() {
        let mut scratch = Scratch::new();
        scratch.add(load(0, 3, 99));
        assert_eq!(scratch.tails(&[], Thresholds { loss: 4, margin: 4 }).margin, Probability::ZERO);
        assert_eq!(scratch.tails(&[], Thresholds { loss: 0, margin: 0 }).loss, Probability::ONE);
        assert_eq!(scratch.tails(&[], Thresholds { loss: 4, margin: 0 }).margin, Probability::ONE);
    }

    #[test]
    fn all_tails_agree_with_each_one() {
        let mut scratch = Scratch::new();
        let loads = [load(0, 2, 30), load(0, 1, 20), load(1, 1, 40), load(2, 3, 5)];
        loads.into_iter().for_each(|load| scratch.add(load));
        let shocks = [Probability::ratio_up(1, 100); 3];
        let tails = scratch.all_tails(&shocks);
        assert_eq!(tails.len(), 9);
        for (at, tail) in tails.iter().enumerate() {
            let one = scratch.tails(&shocks, Thresholds { loss: at as u32, margin: at as u32 }).loss;
            assert!(one.bits().abs_diff(tail.bits()) < 64, "{at}: {one} {tail}");
        }
    }

    #[test]
    fn the_order_of_loads_does_not_matter() {
        let loads = [load(2, 1, 10), load(0, 2, 20), load(2, 1, 30), load(1, 1, 40)];
        let shocks = [Probability::ratio_up(1, 50); 3];
        let mut risks = Vec::new();
        for turn in 0..loads.len() {
            let mut scratch = Scratch::new();
            loads.iter().cycle().skip(turn).take(4).for_each(|load| scratch.add(*load));
            risks.push(scratch.tails(&shocks, Thresholds { loss: 3, margin: 2 }));
        }
        assert!(risks.windows(2).all(|pair| pair[0].loss.bits().abs_diff(pair[1].loss.bits()) < 16));
    }
}
