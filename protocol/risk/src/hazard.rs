//! How likely a node is to be lost within the horizon, and a domain: learned rates, multipliers and the table of silences.
//!
//! * **Answering**: `H * lambda * m(R)`. The rate is the mean of a Gamma posterior, departures seen and one more over
//!   node-epochs seen and those of the prior; `m` is 1, 2, 4 or 8 as the node's reliability falls.
//! * **Silent** for `d` epochs: the chance that this silence is final, `G[d] = q / (q + (1 - q) S(d))`, where `S` is the
//!   share of passing silences that last as long, and the rate of departure on top.
//! * **A domain**: `H * (0.1 + shocks) / (prior + domain-epochs)`, for all its nodes at once.
//!
//! The linear `H * rate` is above `1 - e^(-H rate)`: an upper bound, as all else. Reality departs from the model where
//! outages are longer in one place than in another; the prior is pessimistic and only time moves it down, so that members
//! cannot lower it by what they do.

use crate::params::{Params, Silences};
use crate::probability::{Probability, UNIT};
use crate::reliability::Reliability;
use floe_types::EpochCount;
use serde::{Deserialize, Serialize};

/// What the network has seen of departures and of lost domains since genesis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experience {
    /// Nodes that left without notice or lost their disks.
    pub departures: u64,
    /// Epochs, one for each member in each.
    pub node_epochs: u64,
    /// Domains that were lost: at least half their nodes, two or more, departed with the same onset. A disaster that spares
    /// some is counted as a whole one, which errs on the safe side.
    pub shocks: u64,
    /// Epochs, one for each domain in each.
    pub domain_epochs: u64,
}

/// What is known of a node's presence at a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It answered in the epoch decided last.
    Answering,
    /// It was absent in so many decided epochs in a row, at least one.
    Silent(EpochCount),
    /// Nothing is expected of it: excluded, convicted, or nobody asks it any more.
    Gone,
}

impl Presence {
    /// Of a node with this silence age.
    #[must_use]
    pub fn of_age(age: EpochCount) -> Presence {
        if age.0 == 0 { Presence::Answering } else { Presence::Silent(age) }
    }
}

/// Everything that gives a probability, computed once for a boundary.
#[derive(Clone, Debug)]
pub struct Hazard {
    departure: Probability,
    shock: Probability,
    final_at: Vec<Probability>,
}

impl Hazard {
    /// The hazard after `experience`.
    #[must_use]
    pub fn new(params: &Params, experience: &Experience) -> Hazard {
        let horizon = params.horizon.0;
        let seen = |count: u64, more: u64| horizon.saturating_mul(count.saturating_add(more));
        let epochs = params.departure_prior.0.saturating_add(experience.node_epochs);
        let domains = params.shock_prior.0.saturating_add(experience.domain_epochs).saturating_mul(10);
        Hazard {
            departure: Probability::ratio_up(seen(experience.departures, 1), epochs),
            shock: Probability::ratio_up(seen(experience.shocks.saturating_mul(10), 1), domains),
            final_at: final_table(&params.silences, params.hours_per_epoch),
        }
    }

    /// The probability that a node of this presence and reliability is lost within the horizon.
    #[must_use]
    pub fn of_node(&self, presence: Presence, reliability: Reliability) -> Probability {
        match presence {
            Presence::Answering => self.departure.scaled(multiplier(reliability)),
            Presence::Silent(age) => self.final_after(age).plus(self.departure),
            Presence::Gone => Probability::ONE,
        }
    }

    /// The probability that a domain is lost whole within the horizon.
    #[must_use]
    pub fn of_domain(&self) -> Probability {
        self.shock
    }

    /// `G[d]`: the probability that a silence of this age is final.
    #[must_use]
    pub fn final_after(&self, age: EpochCount) -> Probability {
        let at = usize::try_from(age.0).unwrap_or(usize::MAX).min(self.final_at.len().saturating_sub(1));
        self.final_at.get(at).copied().unwrap_or(Probability::ONE)
    }

    /// The age from which a longer silence says no more.
    #[must_use]
    pub fn ages(&self) -> u64 {
        self.final_at.len().saturating_sub(1) as u64
    }
}

/// How much likelier than the average a node of this reliability is to leave.
fn multiplier(reliability: Reliability) -> u64 {
    // 99, 97 and 95 hundredths of 2^32, rounded up.
    const STEPS: [(u64, u64); 3] = [(4_252_017_624, 1), (4_166_118_278, 2), (4_080_218_932, 4)];
    let step = STEPS.iter().find(|(least, _)| reliability.bits() >= *least);
    step.map_or(8, |(_, factor)| *factor)
}

/// `G[0..=table]`, rounded up.
fn final_table(silences: &Silences, hours_per_epoch: u64) -> Vec<Probability> {
    let (million, last) = (1_000_000u64, silences.final_ppm.min(1_000_000));
    let share = |epochs: u64| {
        let hours = epochs.saturating_mul(hours_per_epoch);
        // A smaller share of passing silences makes the final ones likelier: rounded down.
        let lasting = silences.kinds.iter().fold(0u128, |sum, (part, mean)| {
            sum + u128::from(*part) * u128::from(Probability::exp_negative_down(hours, *mean).bits())
        });
        // In parts per million of Q63 squared, shifted so that the quotient fits: dividend up, divisor down.
        let passing = (lasting / u128::from(million)) * u128::from(million - last);
        let ended = u128::from(last) * u128::from(UNIT);
        let shift = 22;
        let dividend = ended.div_ceil(1 << shift);
        let divisor = (ended + passing) >> shift;
        let share = (dividend << 63).div_ceil(divisor.max(1));
        Probability::from_bits(u64::try_from(share).unwrap_or(u64::MAX))
    };
    (0..=silences.table_epochs.0).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(p: Probability) -> f64 {
        p.bits() as f64 / UNIT as f64
    }

    #[test]
    fn the_table_of_silences_is_the_closed_form_rounded_up() {
        for hours in [1, 6] {
            let params = Params::of_hours(hours);
            let hazard = Hazard::new(&params, &Experience::default());
            let mut before = 0.0;
            for age in 0..=params.silences.table_epochs.0 {
                let hour = (age * hours) as f64;
                let lasting = 0.7 * (-hour / 2.0).exp() + 0.25 * (-hour / 8.0).exp() + 0.05 * (-hour / 36.0).exp();
                let exact = 0.06 / (0.06 + 0.94 * lasting);
                let ours = real(hazard.final_after(EpochCount(age)));
                assert!(ours >= exact * (1.0 - 1e-14) && ours <= exact + 1e-10, "{age}: {ours} {exact}");
                assert!(ours >= before);
                before = ours;
            }
        }
    }

    #[test]
    fn the_table_has_the_percentages_of_the_document() {
        let hazard = Hazard::new(&Params::standard(), &Experience::default());
        let ages = [1, 2, 4, 6, 12, 24, 36, 48, 72, 120, 168];
        let percent = ages.map(|age| (real(hazard.final_after(EpochCount(age))) * 100.0).round() as u64);
        assert_eq!(percent, [8, 11, 18, 25, 41, 63, 75, 82, 90, 97, 99]);
        let devnet = Hazard::new(&Params::devnet(), &Experience::default());
        let percent =
            [1, 2, 3, 4, 5, 6, 8, 12].map(|age| (real(devnet.final_after(EpochCount(age))) * 100.0).round() as u64);
        assert_eq!(percent, [25, 41, 53, 63, 70, 75, 82, 90]);
    }

    #[test]
    fn a_network_learns_and_starts_pessimistic() {
        let params = Params::standard();
        let fresh = Hazard::new(&params, &Experience::default());
        assert!((real(fresh.of_node(Presence::Answering, Reliability::FULL)) - 6.0 / 2160.0).abs() < 1e-12);
        assert!((real(fresh.of_domain()) - 6e-5).abs() < 1e-12);
        let experience = Experience { departures: 3, node_epochs: 100_000, shocks: 1, domain_epochs: 50_000 };
        let old = Hazard::new(&params, &experience);
        assert!((real(old.of_node(Presence::Answering, Reliability::FULL)) - 24.0 / 102_160.0).abs() < 1e-12);
        assert!((real(old.of_domain()) - 6.0 * 1.1 / 60_000.0).abs() < 1e-12);
    }

    #[test]
    fn a_worse_record_is_likelier_to_leave() {
        let hazard = Hazard::new(&Params::standard(), &Experience::default());
        let base = hazard.of_node(Presence::Answering, Reliability::FULL).bits();
        let of = |percent: u64| {
            let reliability = Reliability::from_bits(((percent << 32) / 100) + 1);
            hazard.of_node(Presence::Answering, reliability).bits() / base
        };
        assert_eq!([100, 99, 98, 97, 96, 95, 94, 10].map(of), [1, 1, 2, 2, 4, 4, 8, 8]);
        assert_eq!(hazard.of_node(Presence::Gone, Reliability::FULL), Probability::ONE);
        assert_eq!(Presence::of_age(EpochCount(0)), Presence::Answering);
    }

    #[test]
    fn numbers_without_end_give_a_probability() {
        let most =
            Experience { departures: u64::MAX, node_epochs: u64::MAX, shocks: u64::MAX, domain_epochs: u64::MAX };
        let hazard = Hazard::new(&Params::standard(), &most);
        assert!(hazard.of_node(Presence::Answering, Reliability::FULL) <= Probability::ONE);
        assert!(hazard.final_after(EpochCount(u64::MAX)) < Probability::ONE);
    }
}
