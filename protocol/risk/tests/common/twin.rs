//! Slow readable twins, in floats and by enumeration. They never call what they check.
#![allow(dead_code)]

use floe_risk::Probability;
use floe_risk::loss::Load;

/// Chance with a seed.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From one to `2^-bits`, evenly over magnitudes.
    pub fn probability(&mut self, bits: u64) -> Probability {
        let shift = self.below(bits + 1);
        Probability::from_bits((self.next() >> 1) >> shift)
    }
}

pub fn real(p: Probability) -> f64 {
    p.bits() as f64 / 2f64.powi(63)
}

/// One minus a probability: its bits are exact, so that nothing cancels.
fn rest(p: Probability) -> f64 {
    real(p.complement())
}

/// Lost weight's distribution as a plain convolution in floats: entry `x` is the chance that exactly `x` is lost.
pub fn distribution(loads: &[Load], shocks: &[Probability]) -> Vec<f64> {
    let most = loads.iter().map(|load| load.domain).max().map_or(0, |most| most + 1);
    let mut total = vec![1.0];
    for domain in 0..most {
        let mut inside = vec![1.0];
        for load in loads.iter().filter(|load| load.domain == domain) {
            let weight = usize::from(load.weight);
            let mut next = vec![0.0; inside.len() + weight];
            for (lost, chance) in inside.iter().enumerate() {
                next[lost] += chance * rest(load.loss);
                next[lost + weight] += chance * real(load.loss);
            }
            inside = next;
        }
        let shock = shocks.get(usize::from(domain)).copied().unwrap_or_default();
        inside.iter_mut().for_each(|chance| *chance *= rest(shock));
        *inside.last_mut().unwrap() += real(shock);
        let mut next = vec![0.0; total.len() + inside.len() - 1];
        for (one, left) in total.iter().enumerate() {
            for (other, right) in inside.iter().enumerate() {
                next[one + other] += left * right;
            }
        }
        total = next;
    }
    total
}

pub fn tail(loads: &[Load], shocks: &[Probability], from: u32) -> f64 {
    distribution(loads, shocks).iter().skip(from as usize).rev().sum()
}

/// The same by going through every outcome of every node and every domain.
pub fn enumerated(loads: &[Load], shocks: &[Probability], from: u32) -> f64 {
    let mut sum = 0.0;
    for shaken in 0..1u32 << shocks.len() {
        for lost in 0..1u32 << loads.len() {
            let mut chance = 1.0;
            for (domain, shock) in shocks.iter().enumerate() {
                chance *= if shaken >> domain & 1 == 1 { real(*shock) } else { rest(*shock) };
            }
            let mut weight = 0;
            for (at, load) in loads.iter().enumerate() {
                let gone = lost >> at & 1 == 1;
                chance *= if gone { real(load.loss) } else { rest(load.loss) };
                if gone || shaken >> load.domain & 1 == 1 {
                    weight += u32::from(load.weight);
                }
            }
            if weight >= from {
                sum += chance;
            }
        }
    }
    sum
}
