//! What those get out of it who do not do as they should.

use super::{BLOBS, Figure, figure};
use crate::year::truth::Truth;
use crate::year::villains::clique::Clique;
use crate::year::villains::copier::Copier;
use crate::year::villains::fetcher::{self, Fetcher};
use crate::year::villains::flapper::Flapper;
use crate::year::villains::grinder::Grinder;
use crate::year::villains::late::Late;
use crate::year::villains::non_opener::NonOpener;
use crate::year::villains::selective::Selective;
use crate::year::villains::shielder::Shielder;
use crate::year::villains::withdrawer::{AfterAsked, EverySecond, Flapping};
use crate::year::villains::wrong_symbol::WrongSymbol;
use crate::year::villains::{Cost, Villain, minimal_uploader};
use crate::year::world::{Land, Weather, World};
use floe_erasure::{Axis, Layout, chunk_count, nth_chunk};
use floe_ledger::challenges::Sample;
use floe_ledger::{Right, views};
use floe_types::{BlobId, EpochCount, MemberIndex, SequenceNumber, ShardIndex};

/// Who answers only some.
#[must_use]
pub fn selective(members: usize) -> Vec<Figure> {
    let land = Land::whole(members, BLOBS);
    let faulty = land.faulty() as u16;
    let mut figures = Vec::new();
    for served in [faulty - 1, faulty, faulty + 1, members as u16 / 2, members as u16 / 2 + 1] {
        let last = members - 1;
        let villain: Box<dyn Villain> = Box::new(Selective { served });
        let mut world = World::begin(&land, Weather::Fair, 1, vec![(last, villain)]);
        (0..3).for_each(|_| drop(world.epoch()));
        let past = world.epoch();
        let seen = past.of(&world.people[last].node).unwrap_or_default();
        let share = seen.service.map_or(0.0, |share| share.bits() as f64 / (1u64 << 32) as f64);
        let is_there = past.answered(&world.people[last].node);
        let words = format!(
            "{}, service {:.0} %, missing {}",
            if is_there { "holds" } else { "absent" },
            100.0 * share,
            seen.missing
        );
        // With its own seat it is one of the `f + 1` that vouch for it.
        let met = match served {
            _ if served < faulty => Some(!is_there),
            _ if served == faulty => Some(share == 0.0),
            _ => None,
        };
        figures.push(figure(format!("{members} members, answers {served} others (f = {faulty})"), words, met));
    }
    figures
}

/// What a fetcher moves for what it is asked.
#[must_use]
pub fn fetched(members: usize) -> Vec<Figure> {
    let mut figures = Vec::new();
    for length in [16u64 << 10, 256 << 10, 1 << 20, 16 << 20, 256 << 20] {
        let layout = Layout::new(members as u16, length).expect("there is such a blob");
        let mut all = Cost::default();
        let (first, second) = (chunk_count(&layout, Axis::Primary), chunk_count(&layout, Axis::Secondary));
        let step = (first / 64).max(1) as usize;
        let places = (0..first).step_by(step).map(|at| (Axis::Primary, at));
        let places = places.chain((0..second).step_by(step).map(|at| (Axis::Secondary, at)));
        for place in places.filter_map(|(axis, at)| nth_chunk(&layout, axis, at)) {
            let sample = Sample {
                number: SequenceNumber(0),
                blob: BlobId([0; 32]),
                length,
                shard: ShardIndex(0),
                axis: place.axis,
                symbol: place.symbol,
                chunk: place.part,
            };
            let cost = fetcher::cost(members as u16, &sample);
            all.challenged += cost.challenged;
            all.moved += cost.moved;
        }
        let times = all.moved as f64 / all.challenged as f64;
        let words = format!("{times:.0} times what it is asked for ({} byte symbols)", layout.symbol_bytes());
        let met = (length >= 16 << 20).then_some(times >= 60.0);
        figures.push(figure(format!("{members} members, blobs of {} KiB", length >> 10), words, met));
    }
    let land = Land::whole(members, BLOBS);
    let villain = Fetcher::of(members as u16, 1 << 40);
    let slow = Fetcher::of(members as u16, 0);
    let mut world = World::begin(&land, Weather::Fair, 1, vec![(0, villain), (1, slow)]);
    (0..3).for_each(|_| drop(world.epoch()));
    let past = world.epoch();
    let cost = world.people[0].villain.as_ref().map(|villain| villain.cost()).unwrap_or_default();
    let share = |at: usize| {
        let service = past.of(&world.people[at].node).and_then(|seen| seen.service);
        service.map_or(0.0, |share| 100.0 * share.bits() as f64 / (1u64 << 32) as f64)
    };
    let node = world.people[0].node;
    let params = &world.context.params;
    let own = past.committee.members()[0].shards[0];
    let tickets = views::tickets(&world.state).expect("in memory");
    let tickets = tickets.iter().map(|ticket| Right::Ticket { number: ticket.number });
    let granted = [Right::Standing, Right::Trickle].into_iter().chain(tickets).filter(|right| {
        (0..BLOBS).any(|number| {
            let what = (own, SequenceNumber(number));
            views::grants(&world.state, params, &node, what, *right).expect("in memory")
        })
    });
    let rights = granted.count();
    figures.push(figure(
        format!("{members} members, one that fetches"),
        format!(
            "{} KiB an epoch for {} KiB; rights to symbols: {rights}; service {:.0} % when it is quick, {:.0} % when it is late",
            cost.moved / 3 / 1_024,
            cost.challenged / 3 / 1_024,
            share(0),
            share(1)
        ),
        Some(rights == 0 && share(1) == 0.0),
    ));
    figures
}

/// Those who withdraw.
#[must_use]
pub fn withdrawn(members: usize, epochs: u64) -> Vec<Figure> {
    let land = Land::whole(members, 256);
    let mut figures = Vec::new();
    let mut world = World::begin(&land, Weather::Fair, 1, vec![(0, AfterAsked::of(200_000, 7))]);
    world.epoch();
    let past = world.epoch();
    let seen = past.of(&world.people[0].node).unwrap_or_default();
    let level = world.standing(0).map_or(0, |standing| standing.integrity);
    let tripped = world.standing(0).is_some_and(|standing| standing.tripped.is_some());
    let mut after = 0;
    for _ in 0..4 {
        let past = world.epoch();
        after += u64::from(past.of(&world.people[0].node).unwrap_or_default().missing);
    }
    figures.push(figure(
        "withdraws when it is asked",
        format!(
            "{} samples of that epoch decided missing, gauge at {level}, tripped {tripped}; {after} later",
            seen.missing
        ),
        Some(seen.missing > 0 && (tripped || level > 0)),
    ));
    for (name, flapping) in [("withdraws every second blob", false), ("withdraws and attests it again, for ever", true)]
    {
        let villain =
            |_| -> Box<dyn Villain> { if flapping { Box::new(Flapping) } else { Box::<EverySecond>::default() } };
        let villains = (0..land.faulty()).map(|at| (at, villain(at)));
        let mut world = World::begin(&land, Weather::Fair, 1, villains.collect());
        let mut truth = Truth::default();
        let (mut rebuilt, mut worst) = (0, 0);
        for _ in 0..epochs {
            let past = world.epoch();
            truth.look(&world, &past);
            rebuilt += past.rebuilt;
            worst = worst.max(past.rebuilt);
        }
        let words = format!(
            "{} members of {members}: {} tickets, {rebuilt} fragments rebuilt in {epochs} epochs, {worst} in the worst; \
             at most {} classes; {}",
            land.faulty(),
            truth.tickets,
            truth.classes_max,
            truth.words(),
        );
        // Once each is what they ask for; a storm would be more. Who flaps keeps what it has: nothing is rebuilt for it.
        let withdrawn = if flapping { 0 } else { land.faulty() as u64 * 128 };
        let storm = rebuilt > withdrawn;
        figures.push(figure(name, words, Some(!storm && truth.broken_count == 0)));
    }
    figures
}

/// Everybody else: what each gets out of it.
#[must_use]
pub fn others(members: usize) -> Vec<Figure> {
    type Made = (&'static str, fn(usize) -> Box<dyn Villain>, usize);
    let land = Land::whole(members, BLOBS);
    let faulty = land.faulty();
    let made: [Made; 5] = [
        ("late", |_| Box::new(Late), 1),
        ("wrong symbol", |_| Box::new(WrongSymbol), 1),
        ("copier", |_| Box::new(Copier), 1),
        ("non-opener", |_| Box::new(NonOpener), 1),
        ("f - 1 shielders of one that is gone", |_| Box::new(Shielder { of: MemberIndex(0) }), faulty - 1),
    ];
    let mut figures = Vec::new();
    for (name, make, count) in made {
        let mut villains: Vec<(usize, Box<dyn Villain>)> = (1..=count).map(|at| (at, make(at))).collect();
        if name.contains("shielders") {
            villains.push((0, Box::new(Flapper { on: 0, off: 1 })));
        }
        let subject = if name.contains("shielders") { 0 } else { 1 };
        let mut world = World::begin(&land, Weather::Fair, 1, villains);
        let mut truth = Truth::default();
        let (mut answered, mut reported, mut missing, mut served) = (0u32, 0u32, 0u32, 0f64);
        world.epoch();
        let epochs = 24;
        for _ in 0..epochs {
            let past = world.epoch();
            truth.look(&world, &past);
            let node = world.people[subject].node;
            answered += u32::from(past.answered(&node));
            let seen = past.of(&node).unwrap_or_default();
            missing += u32::from(seen.missing);
            served += seen.service.map_or(0.0, |share| share.bits() as f64 / (1u64 << 32) as f64);
            let speaker = past.committee.index_of(&world.people[1].node);
            reported += u32::from(speaker.is_some_and(|index| past.header.reporters.contains(index)));
        }
        let excluded = world.standing(subject).and_then(|standing| standing.excluded);
        let words = format!(
            "of {epochs} epochs answered {answered}, its report (a villain's) counted in {reported}; service {:.0} %, \
             {missing} samples missing, excluded {}; {}",
            100.0 * served / f64::from(epochs),
            excluded.map_or("no".to_owned(), |(epoch, cause)| format!("in {epoch} for {cause:?}")),
            truth.words(),
        );
        let met = match name {
            "late" => served == 0.0 && answered == epochs,
            "wrong symbol" => answered == 0 && missing > 0,
            "copier" => reported == 0,
            "non-opener" => reported == 0,
            _ => answered == 0,
        };
        figures.push(figure(format!("{members} members, {name}"), words, Some(met && truth.broken.is_empty())));
    }
    figures
}

/// One copy among `f`, away together: what is lost, and whether they are found out.
#[must_use]
pub fn cliques(members: usize, days: u64) -> Vec<Figure> {
    let land = Land::whole(members, BLOBS);
    let clique = |_| -> Box<dyn Villain> { Box::new(Clique { every: 120, salt: 3 }) };
    let count = land.faulty().min(5);
    let villains = (0..count).map(|at| (at, clique(at)));
    let mut world = World::begin(&land, Weather::Fair, 1, villains.collect());
    let mut truth = Truth::default();
    let mut found = None;
    for epoch in 1..=days * 24 {
        world.live(EpochCount(1), &mut truth);
        if epoch % 24 == 0 && found.is_none() {
            let pairs = views::suspected(&world.state).expect("in memory");
            found = (pairs.len() >= count - 1).then_some(epoch / 24);
        }
    }
    let words = format!(
        "{} found to be away together; at least {} of {members} shards truly held (p = {}); {}",
        found.map_or("not".to_owned(), |day| format!("on day {day}")),
        truth.thinnest.unwrap_or(0),
        world.readable(),
        truth.words(),
    );
    vec![figure(
        format!("{members} members, a clique of {count}"),
        words,
        Some(found.is_some() && truth.broken.is_empty()),
    )]
}

/// A proposer that tries many beacons.
#[must_use]
pub fn ground(members: usize, (tries, rounds): (u64, u64)) -> Vec<Figure> {
    let land = Land::whole(members, BLOBS);
    let mut world = World::begin(&land, Weather::Fair, 1, Vec::new());
    world.epoch();
    let committee = views::committee(&world.state).expect("in memory");
    let keys: Vec<_> = world.people.iter().map(|person| person.bls.clone()).collect();
    let (friends, honest) = (&keys[1..land.faulty()], &keys[land.faulty()..]);
    let (mut blind, mut chosen, mut friendly) = (0usize, 0usize, 0usize);
    for round in 0..rounds {
        let (state, committee) = (&world.state, &committee);
        let network = world.context.network;
        let grinder = Grinder { network, state, committee, me: MemberIndex(0), ppm: 100_000, salt: round };
        blind += grinder.hits(&grinder.beacon(u64::MAX - round), honest);
        let beacon = grinder.choose(0, tries, friends);
        chosen += grinder.hits(&beacon, honest);
        friendly += grinder.hits(&beacon, friends);
    }
    let words = format!(
        "10 % missing, {tries} tries in each of {rounds} epochs: the others ask for it {chosen} times, {blind} times without \
         trying; its friends {friendly} times"
    );
    // Three standard deviations of a count.
    let far = (chosen as f64 - blind as f64).abs() > 3.0 * ((chosen + blind) as f64).sqrt();
    vec![figure(format!("{members} members, one grinds"), words, Some(!far && chosen > 0))]
}

/// Blobs that nobody has in whole.
#[must_use]
pub fn minimal(members: usize) -> Vec<Figure> {
    let faulty = (members - 1) / 3;
    let covers = |blob, row| minimal_uploader::covers(members as u16, faulty as u16, blob, row);
    let land = Land::found((members, 1), 0, BLOBS, covers);
    let mut world = World::begin(&land, Weather::Mild, 1, Vec::new());
    let mut truth = Truth::default();
    let mut intact = None;
    for epoch in 1..=96 {
        let past = world.epoch();
        truth.look(&world, &past);
        let records = views::class_verdicts(&world.state, past.epoch).expect("in memory");
        if intact.is_none() && records.iter().all(|record| record.uncovered == 0) {
            intact = Some(epoch);
        }
    }
    let words = format!(
        "all {faulty} missing shards of each blob covered after {} epochs, {} fragments made by their seats' holders, {} tickets; \
         never fewer than {} held; {}",
        intact.map_or("no".to_owned(), |epoch: u64| epoch.to_string()),
        world.rebuilt,
        truth.tickets,
        truth.thinnest.unwrap_or(0),
        truth.words(),
    );
    vec![figure(
        format!("{members} members, exactly n - f shards given"),
        words,
        Some(intact.is_some() && truth.broken.is_empty()),
    )]
}
