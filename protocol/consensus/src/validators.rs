//! Who votes at a height, with what power, and who proposes in which round.
//!
//! # The proposer
//! Lay the validators' powers end to end on a ring of `total power` places, in the order of their keys, and
//! walk the ring in equal strides, one per round and height: the validator whose stretch holds place
//! `(height + round) * stride mod total` proposes. The stride is coprime to the total, so that every place is
//! visited once in `total` steps and each validator proposes exactly in proportion to its power; it is close to
//! the golden section of the ring, so that the turns of one validator lie far apart and two rounds of a height
//! have different proposers, unless one of them has more than about a third of the power.
//!
//! # Laws
//! - **CO-2** The proposer is a function of set, height and round.
//! - **CO-3** In any `total power` consecutive heights, a validator proposes round 0 as often as its power.

use std::sync::Arc;

use ed25519_consensus::VerificationKey;
use thiserror::Error;

use crate::{Height, Round, ValidatorKey};

/// The most validators in a set. Certificates carry one signature of each at most, which bounds every
/// message; ten times the largest committee meant (100 storage nodes). Vote counting is quadratic in it.
pub const VALIDATORS_MAX: usize = 1000;

/// Voting power must stay below this in total, since thresholds are computed as three times the power.
pub const TOTAL_POWER_LIMIT: u64 = u64::MAX / 3;

/// One voter and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validator {
    /// The key that its votes are signed with.
    pub key: ValidatorKey,
    /// Its voting power, above zero.
    pub power: u64,
}

/// The voters of one height: not empty, sorted by key, no key twice. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ValidatorSet(Arc<Seats>);

#[derive(Debug)]
struct Seats {
    validators: Vec<Validator>,
    /// In the order of `validators`; `None` for a key that is no curve point, which can sign nothing.
    verification: Vec<Option<VerificationKey>>,
    /// The running sum of power up to and with each validator.
    power_until: Vec<u64>,
    total_power: u64,
    stride: u64,
}

/// Why validators do not make a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ValidatorSetError {
    /// Without a validator nothing could ever be decided.
    #[error("a validator set must not be empty")]
    Empty,
    /// More than [`VALIDATORS_MAX`].
    #[error("{count} validators, at most {VALIDATORS_MAX} are allowed")]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// A key appears twice.
    #[error("validator {key} appears twice")]
    Duplicate {
        /// The key.
        key: ValidatorKey,
    },
    /// A validator has no power.
    #[error("validator {key} has no voting power")]
    Powerless {
        /// The key.
        key: ValidatorKey,
    },
    /// The total reaches [`TOTAL_POWER_LIMIT`].
    #[error("total voting power must stay below {TOTAL_POWER_LIMIT}")]
    TooPowerful,
}

impl ValidatorSet {
    /// Sorts the validators by key and checks them.
    pub fn new(mut validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        if validators.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if validators.len() > VALIDATORS_MAX {
            return Err(ValidatorSetError::TooMany { count: validators.len() });
        }
        validators.sort_by_key(|validator| validator.key);
        if let Some(pair) = validators.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(ValidatorSetError::Duplicate { key: pair[0].key });
        }

        let mut total_power = 0u64;
        let mut power_until = Vec::with_capacity(validators.len());
        for Validator { key, power } in &validators {
            if *power == 0 {
                return Err(ValidatorSetError::Powerless { key: *key });
            }
            total_power = total_power
                .checked_add(*power)
                .filter(|total| *total < TOTAL_POWER_LIMIT)
                .ok_or(ValidatorSetError::TooPowerful)?;
            power_until.push(total_power);
        }

        Ok(Self(Arc::new(Seats {
            verification: validators.iter().map(|v| v.key.decompress()).collect(),
            validators,
            power_until,
            total_power,
            stride: stride_for(total_power),
        })))
    }

    /// The validators in the order of their keys.
    pub fn validators(&self) -> &[Validator] {
        &self.0.validators
    }

    /// The sum of all power.
    pub fn total_power(&self) -> u64 {
        self.0.total_power
    }

    /// The least power that is more than two thirds of the total.
    pub fn quorum_power(&self) -> u64 {
        self.0.total_power * 2 / 3 + 1
    }

    /// Whether this power is more than two thirds of the total.
    pub fn is_quorum(&self, power: u64) -> bool {
        power >= self.quorum_power()
    }

    /// Whether this power is more than one third, so that it holds an honest validator.
    pub(crate) fn is_honest(&self, power: u64) -> bool {
        power > self.0.total_power / 3
    }

    /// The power of a validator, `None` for a stranger.
    pub fn power_of(&self, key: &ValidatorKey) -> Option<u64> {
        self.get(key).map(|validator| validator.power)
    }

    /// Whether the key may vote.
    pub fn contains(&self, key: &ValidatorKey) -> bool {
        self.get(key).is_some()
    }

    /// Who proposes in this round of this height.
    pub fn proposer(&self, height: Height, round: Round) -> &Validator {
        let total = u128::from(self.0.total_power);
        let turn = (u128::from(height.0) + u128::from(round.0)) % total;
        // Below `total`, which is a `u64`; both factors are below it too, so the product fits `u128`.
        let place = (turn * u128::from(self.0.stride) % total) as u64;
        let index = self.0.power_until.partition_point(|until| *until <= place);
        &self.0.validators[index]
    }

    pub(crate) fn get(&self, key: &ValidatorKey) -> Option<&Validator> {
        self.index_of(key).map(|index| &self.0.validators[index])
    }

    pub(crate) fn verification_key(&self, key: &ValidatorKey) -> Option<&VerificationKey> {
        self.index_of(key).and_then(|index| self.0.verification[index].as_ref())
    }

    fn index_of(&self, key: &ValidatorKey) -> Option<usize> {
        self.0.validators.binary_search_by_key(key, |validator| validator.key).ok()
    }
}

impl PartialEq for ValidatorSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.validators == other.0.validators
    }
}

impl Eq for ValidatorSet {}

/// The first number from the golden section of the ring upwards that is coprime to the total.
fn stride_for(total_power: u64) -> u64 {
    // Six digits of the section are enough to spread turns; below the total, so it fits `u64`.
    let golden = (u128::from(total_power) * 618_034 / 1_000_000) as u64;
    (golden.max(1)..).find(|stride| gcd(*stride, total_power) == 1).unwrap_or(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(powers: &[u64]) -> ValidatorSet {
        let validators = powers
            .iter()
            .enumerate()
            .map(|(index, power)| Validator { key: ValidatorKey([index as u8 + 1; 32]), power: *power });
        ValidatorSet::new(validators.collect()).unwrap()
    }

    #[test]
    fn turns_are_in_proportion_to_power() {
        for powers in [&[1][..], &[1, 1], &[1, 1, 1, 1], &[5, 1, 3], &[334, 333, 333], &[7, 91]] {
            let set = set(powers);
            let mut turns = vec![0; powers.len()];
            for height in 1000..1000 + set.total_power() {
                let proposer = set.proposer(Height(height), Round(0)).key;
                turns[usize::from(proposer.0[0]) - 1] += 1;
            }
            assert_eq!(turns, powers);
        }
    }

    #[test]
    fn neighbouring_rounds_have_different_proposers_in_an_even_set() {
        let set = set(&[25, 25, 25, 25]);
        for turn in 0..200 {
            let here = set.proposer(Height(7), Round(turn)).key;
            assert_ne!(here, set.proposer(Height(7), Round(turn + 1)).key);
        }
    }

    #[test]
    fn extreme_heights_and_powers_have_a_proposer() {
        let set = set(&[TOTAL_POWER_LIMIT / 2, TOTAL_POWER_LIMIT / 2]);
        set.proposer(Height(u64::MAX), Round(u32::MAX));
        assert!(!set.is_quorum(TOTAL_POWER_LIMIT / 2));
        assert!(set.is_quorum(set.total_power()));
    }

    #[test]
    fn quorum_is_more_than_two_thirds_and_honest_more_than_one() {
        for total in 1..100u64 {
            let set = set(&[total]);
            for power in 0..=total {
                assert_eq!(set.is_quorum(power), 3 * power > 2 * total);
                assert_eq!(set.is_honest(power), 3 * power > total);
            }
        }
    }

    #[test]
    fn unfit_sets_are_refused() {
        let validator = |byte, power| Validator { key: ValidatorKey([byte; 32]), power };
        let key = ValidatorKey([1; 32]);
        let table = [
            (vec![], ValidatorSetError::Empty),
            (vec![validator(1, 0)], ValidatorSetError::Powerless { key }),
            (vec![validator(1, 1), validator(2, 1), validator(1, 2)], ValidatorSetError::Duplicate { key }),
            (vec![validator(1, TOTAL_POWER_LIMIT)], ValidatorSetError::TooPowerful),
            (vec![validator(1, u64::MAX), validator(2, u64::MAX)], ValidatorSetError::TooPowerful),
        ];
        for (validators, error) in table {
            assert_eq!(ValidatorSet::new(validators).unwrap_err(), error);
        }
    }
}
