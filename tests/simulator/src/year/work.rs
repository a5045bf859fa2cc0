//! What nodes do with what was decided: withdraw what rotted, rebuild what they have a right to, attest what they have.
//!
//! A fragment can be rebuilt when `p` shards of its blob are truly held by somebody who is there; a row that is handed over is copied
//! from whoever covers it and has it.

use super::villains::Declared;
use super::world::World;
use floe_ledger::{BoundaryHeader, RowKind, views};
use floe_types::{Epoch, NodeId, SequenceNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Gaps that are looked at in one go.
const PAGE: usize = 256;

/// Withdraws what a scrub or a question has found.
pub(super) fn scrub(world: &mut World, epoch: Epoch) {
    for at in 0..world.people.len() {
        let found = world.people[at].rotten.iter().filter(|(_, noticed)| **noticed <= epoch.0);
        let found: Vec<(ShardIndex, SequenceNumber)> = found.map(|(key, _)| *key).collect();
        let mut by_shard: BTreeMap<ShardIndex, Vec<SequenceNumber>> = BTreeMap::new();
        for (shard, number) in found {
            world.people[at].rotten.remove(&(shard, number));
            if is_defended(world, number) && covers(world, at, shard, number) {
                by_shard.entry(shard).or_default().push(number);
            }
        }
        by_shard.into_iter().for_each(|(shard, numbers)| world.declare(at, shard, &numbers, Declared::Lost));
    }
}

fn is_defended(world: &World, number: SequenceNumber) -> bool {
    let life = views::sequence(&world.state, number).ok().flatten();
    life.is_some_and(|life| life.defence == floe_ledger::Defence::Defended)
}

fn covers(world: &World, at: usize, shard: ShardIndex, number: SequenceNumber) -> bool {
    let row = views::rows(&world.state).ok().and_then(|rows| rows.find(shard, &world.people[at].node));
    let runs = row.and_then(|row| views::row_coverage(&world.state, row).ok()).unwrap_or_default();
    runs.iter().any(|run| run.contains(number))
}

/// Shards of a blob that are truly held by nodes that are there.
fn sources(world: &World, here: &[bool], number: SequenceNumber) -> usize {
    let mut shards = BTreeSet::new();
    for (person, _) in world.people.iter().zip(here).filter(|(_, here)| **here) {
        let keeps = |shard: &ShardIndex| person.villain.as_ref().is_none_or(|villain| villain.gives(*shard, number));
        let shards_of = (0..world.context.params.shards).map(ShardIndex);
        shards.extend(shards_of.filter(|shard| person.shelf.has(*shard, number) && keeps(shard)));
    }
    shards.len()
}

/// Does all of it for the epoch that has just begun. Gives how much was rebuilt.
pub(super) fn work(world: &mut World, header: &BoundaryHeader) -> u64 {
    let rows = views::rows(&world.state).expect("a state in memory");
    let tickets = views::tickets(&world.state).expect("a state in memory");
    let records = views::class_verdicts(&world.state, header.ended).expect("a state in memory");
    let quiet = tickets.is_empty()
        && rows.iter().all(|(_, row)| row.kind == RowKind::Seat)
        && records.iter().all(|record| record.uncovered == 0);
    if quiet && world.people.iter().all(|person| person.rotten.is_empty()) {
        return 0;
    }
    let here: Vec<bool> = world.people.iter().map(|person| is_here(world, header, &person.node)).collect();
    let mut rebuilt = 0;
    let params = world.context.params.clone();
    for at in (0..world.people.len()).filter(|at| here[*at]) {
        let node = world.people[at].node;
        if world.people[at].villain.as_ref().is_some_and(|villain| !villain.works()) {
            continue;
        }
        let mut wanted: BTreeSet<(ShardIndex, SequenceNumber)> = BTreeSet::new();
        for ticket in tickets.iter().filter(|ticket| ticket.target == node) {
            let mut from = Some(SequenceNumber(0));
            while let Some(at) = from {
                let page = views::ticket_work(&world.state, &params, ticket, at, PAGE).expect("a state in memory");
                wanted.extend(page.gaps.iter().map(|gap| (ticket.shard, gap.sequence)));
                from = page.next;
            }
        }
        for (id, row) in rows.of(&node).filter(|(_, row)| row.kind == RowKind::Seat) {
            let mut from = Some(SequenceNumber(0));
            while let Some(at) = from {
                let page = views::refills(&world.state, &params, id, at, PAGE).expect("a state in memory");
                wanted.extend(page.refills.iter().map(|refill| (row.shard, refill.gap.sequence)));
                from = page.next;
            }
        }
        for (shard, number) in wanted {
            if world.people[at].shelf.has(shard, number) {
                // It has it: it attests, and nothing is sent.
                continue;
            }
            if sources(world, &here, number) >= world.readable() {
                world.people[at].shelf.put(shard, number);
                rebuilt += 1;
            }
        }
        hand_over(world, at, &here);
        attest(world, at);
    }
    rebuilt
}

/// Whether who held in the last slots is taken to be there at the beginning of the next.
fn is_here(world: &World, header: &BoundaryHeader, node: &NodeId) -> bool {
    let Ok(Some(committee)) = views::committee_of(&world.state, header.term) else { return false };
    let before = views::epoch_record(&world.state, header.ended).ok().flatten();
    let term = before.map_or(header.term, |record| record.term);
    let office = views::committee_of(&world.state, term).ok().flatten().unwrap_or(committee);
    office.index_of(node).is_none_or(|index| header.answered.contains(index))
}

/// Copies what comes to a person from whoever covers it, has it and is there.
fn hand_over(world: &mut World, at: usize, here: &[bool]) {
    let rows = views::rows(&world.state).expect("a state in memory");
    let node = world.people[at].node;
    for (id, row) in rows.of(&node).filter(|(_, row)| matches!(row.kind, RowKind::Seat | RowKind::Incoming)) {
        let others = rows.iter().filter(|(_, other)| other.shard == row.shard && other.holder != node);
        let others: Vec<usize> = others.map(|(_, other)| world.place(&other.holder)).collect();
        if others.is_empty() {
            continue;
        }
        let mut from = Some(SequenceNumber(0));
        while let Some(next) = from {
            let page = views::gaps(&world.state, id, next, PAGE).expect("a state in memory");
            from = page.next;
            for gap in page.gaps {
                let gives = |other: &usize| here[*other] && world.people[*other].shelf.has(row.shard, gap.sequence);
                if others.iter().any(gives) {
                    world.people[at].shelf.put(row.shard, gap.sequence);
                }
            }
        }
    }
}

/// Attests what is on the shelf and not covered. A seat to come is not spoken for.
fn attest(world: &mut World, at: usize) {
    let node = world.people[at].node;
    let rows = views::rows_of(&world.state, &node).expect("a state in memory");
    for (id, row) in rows.into_iter().filter(|(_, row)| matches!(row.kind, RowKind::Seat | RowKind::StandIn)) {
        let (mut numbers, mut from) = (Vec::new(), Some(SequenceNumber(0)));
        while let Some(next) = from {
            let page = views::gaps(&world.state, id, next, PAGE).expect("a state in memory");
            from = page.next;
            let has = |number: SequenceNumber| world.people[at].shelf.has(row.shard, number);
            numbers.extend(page.gaps.iter().map(|gap| gap.sequence).filter(|number| has(*number)));
        }
        if !numbers.is_empty() {
            world.declare(at, row.shard, &numbers, Declared::Held);
        }
    }
}
