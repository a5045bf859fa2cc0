//! Proposes the block from which a beacon is made, and tries many of them for the one that asks it least for what it lacks.
//!
//! It knows the questions of its friends only: those of the others follow from their signatures, which nobody can make for them.

use super::among;
use floe_ledger::MemoryState;
use floe_ledger::challenges::{Aim, Beacon, Question, Questions, Seed, Slot, beacon};
use floe_types::bls::BlsSecretKey;
use floe_types::codec;
use floe_types::params::challenges_per_slot;
use floe_types::{Committee, MemberIndex, NetworkId};

/// A proposer that lacks a share of its bytes.
pub struct Grinder<'a> {
    /// The network.
    pub network: NetworkId,
    /// The state whose blobs are asked about.
    pub state: &'a MemoryState,
    /// Who is in office.
    pub committee: &'a Committee,
    /// Which member it is.
    pub me: MemberIndex,
    /// What it lacks, in parts of a million.
    pub ppm: u64,
    /// Which.
    pub salt: u64,
}

impl Grinder<'_> {
    /// The beacon of try `at`.
    ///
    /// # Panics
    /// When a state in memory cannot be read.
    #[must_use]
    pub fn beacon(&self, at: u64) -> Beacon {
        let firm = beacon(self.state).expect("a state in memory");
        Beacon { hash: *blake3::hash(&codec::encode(&(self.salt, at))).as_bytes(), ..firm }
    }

    /// How often the holders of `keys` would ask, with this beacon, for what it lacks.
    ///
    /// # Panics
    /// When a state in memory cannot be read.
    #[must_use]
    pub fn hits(&self, beacon: &Beacon, keys: &[BlsSecretKey]) -> usize {
        let questions = Questions::of(self.state, self.committee).expect("a state in memory");
        let asks = challenges_per_slot(self.committee.members().len());
        let mut hits = 0;
        for key in keys {
            let seed = Seed::make(&self.network, beacon, key);
            for aim in Slot::all().flat_map(|slot| (0..asks).map(move |at| (slot, at))) {
                let aim = Aim { slot: aim.0, target: self.me, at: aim.1 };
                let question = questions.draw(&seed, &aim).expect("a state in memory");
                let Question::Chunk(sample) = question else { continue };
                hits += usize::from(among(self.ppm, self.salt, &sample));
            }
        }
        hits
    }

    /// The beacon of `tries` with the fewest hits among its friends.
    #[must_use]
    pub fn choose(&self, from: u64, tries: u64, friends: &[BlsSecretKey]) -> Beacon {
        let all = (from..from + tries).map(|at| self.beacon(at));
        all.min_by_key(|beacon| self.hits(beacon, friends)).unwrap_or_else(|| self.beacon(from))
    }
}
