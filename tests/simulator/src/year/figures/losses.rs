//! How soon is it found that something is missing.

use super::{BLOBS, Figure, figure};
use crate::year::villains::partial::Partial;
use crate::year::world::{Land, Weather, World};

/// When what was lost was found: epochs of asking until then, none when it was not.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The first question about it.
    pub seen: Vec<Option<u64>>,
    /// The first sample that was decided missing.
    pub decided: Vec<Option<u64>>,
    /// The first trip of the gauge.
    pub tripped: Vec<Option<u64>>,
    /// The exclusion.
    pub excluded: Vec<Option<u64>>,
}

/// The share of `found` within `epochs`, in percent.
#[must_use]
pub fn within(found: &[Option<u64>], epochs: u64) -> f64 {
    let good = found.iter().filter(|one| one.is_some_and(|one| one <= epochs)).count();
    100.0 * good as f64 / found.len().max(1) as f64
}

/// The epoch by which this percentage was found.
fn quantile(found: &[Option<u64>], percent: usize) -> String {
    let mut all: Vec<u64> = found.iter().map(|one| one.unwrap_or(u64::MAX)).collect();
    all.sort_unstable();
    let at = (all.len() * percent).div_ceil(100).max(1) - 1;
    match all.get(at) {
        Some(&u64::MAX) | None => "-".to_owned(),
        Some(epoch) => epoch.to_string(),
    }
}

/// Members that lack `ppm` of their bytes, `at_once` of them in each of `runs` worlds, for at most `epochs`.
#[must_use]
pub fn partial(land: &Land, ppm: u64, (runs, at_once): (u64, usize), epochs: u64) -> Found {
    let mut found = Found::default();
    for run in 0..runs {
        let villains = (0..at_once).map(|at| (at, Partial::of(ppm, run * 1_000 + at as u64)));
        let mut world = World::begin(land, Weather::Fair, run, villains.collect());
        // In the first epoch nothing is asked for: there was no blob before it.
        world.epoch();
        let mut of: Vec<[Option<u64>; 4]> = vec![[None; 4]; at_once];
        for epoch in 1..=epochs {
            let past = world.epoch();
            for (at, found) in of.iter_mut().enumerate() {
                let node = world.people[at].node;
                let member = past.committee.index_of(&node).map(|index| usize::from(index.0));
                let seen = member.is_some_and(|member| past.denied[member] > 0);
                let decided = past.of(&node).is_some_and(|seen| seen.missing > 0);
                let standing = world.standing(at);
                let tripped = standing.as_ref().is_some_and(|standing| standing.tripped.is_some());
                let excluded = standing.is_some_and(|standing| standing.excluded.is_some());
                for (found, now) in found.iter_mut().zip([seen, decided, tripped, excluded]) {
                    *found = found.or(now.then_some(epoch));
                }
            }
            if of.iter().all(|found| found.iter().all(Option::is_some)) {
                break;
            }
        }
        found.seen.extend(of.iter().map(|found| found[0]));
        found.decided.extend(of.iter().map(|found| found[1]));
        found.tripped.extend(of.iter().map(|found| found[2]));
        found.excluded.extend(of.iter().map(|found| found[3]));
    }
    found
}

/// How soon what is missing is seen, trips a gauge and convicts.
#[must_use]
pub fn losses(sizes: &[usize], runs: u64) -> Vec<Figure> {
    let mut figures = Vec::new();
    for members in sizes {
        let land = Land::whole(*members, BLOBS);
        for (ppm, runs, epochs) in [
            (500_000, runs / 8, 8),
            (100_000, runs / 8, 12),
            (50_000, runs, 12),
            (10_000, runs, 16),
            (1_000, runs / 16, 80),
        ] {
            // Who asks accuses of one sample a slot: several that lack much would hide each other.
            let at_once = if ppm > 10_000 { 1 } else { land.faulty().min(4) };
            let found = partial(&land, ppm, ((runs / at_once as u64).max(4), at_once), epochs);
            let met = match ppm {
                10_000 => Some(within(&found.seen, 8) >= 99.0),
                50_000 => Some(within(&found.tripped, 6) >= 99.0),
                _ => None,
            };
            let words = format!(
                "seen after {} epochs in the median, {} at 99 %, {:.1} % within 8; decided missing {:.1} % within 8; gauge tripped \
                 after {}, {}, {:.1} % within 6; convicted after {} ({} nodes)",
                quantile(&found.seen, 50),
                quantile(&found.seen, 99),
                within(&found.seen, 8),
                within(&found.decided, 8),
                quantile(&found.tripped, 50),
                quantile(&found.tripped, 99),
                within(&found.tripped, 6),
                quantile(&found.excluded, 50),
                found.seen.len(),
            );
            figures.push(figure(format!("{members} members, {} % missing", ppm as f64 / 10_000.0), words, met));
        }
    }
    figures
}
