//! Who comes and goes, who accuses, and whole years.

use super::{BLOBS, Figure, figure};
use crate::year::truth::Truth;
use crate::year::villains::Villain;
use crate::year::villains::flapper::{Away, Flapper};
use crate::year::villains::framer::Framer;
use crate::year::villains::late::Late;
use crate::year::villains::non_opener::NonOpener;
use crate::year::villains::partial::Partial;
use crate::year::villains::selective::Selective;
use crate::year::villains::shielder::Shielder;
use crate::year::villains::withdrawer::Flapping;
use crate::year::villains::wrong_symbol::WrongSymbol;
use crate::year::world::{Land, Weather, World};
use floe_types::{EpochCount, MemberIndex};

/// `f` framers for so many epochs of mild weather.
#[must_use]
pub fn framed(members: usize, epochs: u64) -> Vec<Figure> {
    let land = Land::whole(members, BLOBS);
    let framers = (0..land.faulty()).map(|at| (at, Box::<Framer>::default() as Box<dyn Villain>));
    let mut world = World::begin(&land, Weather::Mild, 1, framers.collect());
    let mut truth = Truth::default();
    let mut missing = 0u64;
    for _ in 0..epochs {
        let past = world.epoch();
        let honest = (land.faulty()..members).filter(|at| world.people[*at].rotten.is_empty());
        missing +=
            honest.filter_map(|at| past.of(&world.people[at].node)).map(|seen| u64::from(seen.missing)).sum::<u64>();
        truth.look(&world, &past);
    }
    let words = format!(
        "{} false absences in {} node-slots of honest members, {missing} false losses; {} of {epochs} epochs not decided; {}",
        truth.false_absences,
        truth.node_slots,
        truth.undecided,
        truth.words(),
    );
    vec![figure(
        format!("{members} members, {} framers", land.faulty()),
        words,
        Some(truth.false_absences == 0 && truth.broken_count == 0),
    )]
}

/// Those who come and go, and those who go once.
#[must_use]
pub fn absences(members: usize) -> Vec<Figure> {
    let land = Land::whole(members, BLOBS);
    let mut figures = Vec::new();
    // There, away, and by which day it must be excluded; zero for never.
    let cases = [(11, 1, 0), (1, 11, 7), (11, 11, 16), (12, 12, 16), (16, 8, 45), (72, 24, 45), (0, 1, 7)];
    for (on, off, until) in cases {
        let villain: Box<dyn Villain> = Box::new(Flapper { on, off });
        let mut world = World::begin(&land, Weather::Fair, 1, vec![(1, villain)]);
        let mut truth = Truth::default();
        let days = if until == 0 { 45 } else { until + 3 };
        let mut excluded = None;
        let mut lowest = 1.0f64;
        for epoch in 1..=days * 24 {
            world.live(EpochCount(1), &mut truth);
            excluded = excluded.or(truth.excluded.first().map(|_| epoch));
            if excluded.is_some() {
                break;
            }
            let average = world.standing(1).map_or(1.0, |one| one.reliability.bits() as f64 / (1u64 << 32) as f64);
            lowest = lowest.min(average);
        }
        let words = match excluded {
            Some(epoch) => format!("excluded on day {:.1}", epoch as f64 / 24.0),
            None => format!("not excluded in {days} days, reliability at least {lowest:.3}"),
        };
        let met = match until {
            0 => excluded.is_none() && lowest < 0.95,
            until => excluded.is_some_and(|epoch| epoch <= until * 24),
        };
        let words = format!("{words}; {} fragments rebuilt; {}", world.rebuilt, truth.words());
        figures.push(figure(
            format!("{members} members, one there for {on} and away for {off}"),
            words,
            Some(met && truth.broken.is_empty()),
        ));
    }
    for epochs in [6, 12, 24, 48, 72] {
        let villain: Box<dyn Villain> = Box::new(Away { from: 30, epochs });
        let mut world = World::begin(&land, Weather::Fair, 1, vec![(1, villain)]);
        let mut truth = Truth::default();
        world.live(EpochCount(30 + epochs + 60), &mut truth);
        let excluded = !truth.excluded.is_empty();
        truth.bears_absence(epochs, world.rebuilt, excluded);
        let words = format!(
            "{} tickets, {} fragments rebuilt, excluded {excluded}; {}",
            truth.tickets,
            world.rebuilt,
            truth.words()
        );
        figures.push(figure(
            format!("{members} members, one away for {epochs} epochs"),
            words,
            Some(truth.broken.is_empty()),
        ));
    }
    figures
}

/// A year of mild weather with as many villains as are borne.
#[must_use]
pub fn year(members: usize, epochs: u64, seed: u64) -> Vec<Figure> {
    let land = Land::found((members, 1), 5.min(members / 2), 96, |_, _| true);
    let all: [fn(u64) -> Box<dyn Villain>; 10] = [
        |_| Box::<Framer>::default(),
        |salt| Partial::of(50_000, salt),
        |_| Box::new(Flapper { on: 11, off: 1 }),
        |_| Box::new(Late),
        |_| Box::new(NonOpener),
        |_| Box::new(Selective { served: 4 }),
        |_| Box::new(WrongSymbol),
        |_| Box::new(Flapping),
        |_| Box::new(Flapper { on: 1, off: 11 }),
        |_| Box::new(Shielder { of: MemberIndex(0) }),
    ];
    let chosen = (0..land.faulty()).map(|at| (at, all[(at + seed as usize) % all.len()](seed)));
    let mut world = World::begin(&land, Weather::Mild, seed, chosen.collect());
    let mut truth = Truth::default();
    let began = std::time::Instant::now();
    world.live(EpochCount(epochs), &mut truth);
    let honest = truth.excluded.iter().filter(|(_, node, _)| world.people[world.place(node)].is_honest());
    let honest: Vec<_> = honest.map(|(epoch, _, cause)| format!("{cause} in {epoch}")).collect();
    let words = format!(
        "{} node-slots, {} false absences, {} epochs not decided; {} tickets for {} fragments, {} rebuilt; never fewer than {} \
         shards truly held (p = {}); {} exclusions, of honest ones {honest:?}; {:.1} ms an epoch; {}",
        truth.node_slots,
        truth.false_absences,
        truth.undecided,
        truth.tickets,
        truth.planned,
        world.rebuilt,
        truth.thinnest.unwrap_or(0),
        world.readable(),
        truth.excluded.len(),
        began.elapsed().as_secs_f64() * 1_000.0 / epochs as f64,
        truth.words(),
    );
    vec![figure(
        format!("{members} members, {} villains, {epochs} epochs, seed {seed}", land.faulty()),
        words,
        Some(truth.broken_count == 0),
    )]
}
