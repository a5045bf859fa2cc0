//! Chance by seed: the only source of luck in a run.
//!
//! Each concern draws from a stream of its own, so that one more draw in the network does not change the workload, and a
//! shorter run has the same beginning as a longer one. Integers only: the same numbers on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream of chance is for.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum Stream {
    /// Size of the network, faults and how strong they are.
    Plan = 1,
    /// Delays, losses, doubles.
    Network = 2,
    /// Who falls when, and what its disk still has.
    Process = 3,
    /// Stores, reads, transfers.
    Workload = 4,
    /// What villains do.
    Villains = 5,
    /// What the checkers sample.
    Laws = 6,
}

/// A stream of chance.
#[derive(Debug, Clone)]
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream of `seed` for one concern.
    #[must_use]
    pub fn new(seed: u64, stream: Stream) -> Chance {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream as u64);
        Chance(generator)
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of a 64-bit product is far below anything a run could show.
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// An index of a list of `length` things, which has at least one.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True `per_mille` times of a thousand.
    pub fn in_thousand(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// True every second time.
    pub fn coin(&mut self) -> bool {
        self.in_thousand(500)
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// This many bytes of noise.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Puts `items` in a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_are_apart_and_repeat() {
        let draw = |seed, stream| Chance::new(seed, stream).bytes(16);
        assert_eq!(draw(7, Stream::Plan), draw(7, Stream::Plan));
        assert_ne!(draw(7, Stream::Plan), draw(7, Stream::Network));
        assert_ne!(draw(7, Stream::Plan), draw(8, Stream::Plan));
    }

    #[test]
    fn bounds_are_kept() {
        let mut chance = Chance::new(1, Stream::Plan);
        assert_eq!(chance.below(0), 0);
        assert!((0..1_000).all(|_| (3..=5).contains(&chance.between(3, 5))));
        assert!((0..1_000).all(|_| !chance.in_thousand(0)));
    }
}
