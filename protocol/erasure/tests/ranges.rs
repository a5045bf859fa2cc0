//! Ranges from only what they need: opened in their rows, read from columns, or decoded, and told apart.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod twin;

use std::collections::BTreeMap;

use common::{Stored, shuffled};
use floe_erasure::{
    Axis, CheckedPart, Grain, Need, PairIndex, Place, Provenance, RangeError, RangePlan, RangeReader, SliverHashes,
    SliverId,
};
use proptest::prelude::*;

/// Holders that open what they are asked for.
struct Holders<'a> {
    stored: &'a Stored,
    hashes: BTreeMap<SliverId, (SliverHashes, Vec<u8>)>,
}

impl<'a> Holders<'a> {
    fn new(stored: &'a Stored) -> Self {
        Self { stored, hashes: BTreeMap::new() }
    }

    fn open(&mut self, (pair, place): (PairIndex, Place)) -> CheckedPart {
        let (stored, sliver) = (self.stored, SliverId { pair, axis: place.axis });
        let (hashes, bytes) =
            self.hashes.entry(sliver).or_insert_with(|| (stored.hashes(sliver), stored.sliver(sliver)));
        let (part, opening) = hashes.open_part(&stored.layout, place, bytes).unwrap();
        stored.checked_proof(pair.0).check_part(place, part, &opening).unwrap()
    }
}

/// Where a unit is to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Row,
    Column,
    Others,
}

fn read(stored: &Stored, start: u64, end: u64, way: impl Fn(&Need) -> Way) -> (Vec<u8>, RangeReader) {
    let mut holders = Holders::new(stored);
    let plan = RangePlan::new(&stored.layout, start..end).unwrap();
    assert_eq!(plan.needs().count() as u64, plan.len());
    let mut reader = RangeReader::new(&stored.blob, plan, 0);
    let mut out = Vec::new();
    while let Some(need) = reader.waiting_for() {
        if let Some(bytes) = reader.next_bytes() {
            out.extend(bytes);
            continue;
        }
        match way(&need) {
            Way::Row => reader.offer(holders.open(need.in_row())).unwrap(),
            Way::Column => reader.offer(holders.open(need.in_column(&stored.layout))).unwrap(),
            Way::Others => {
                let others = shuffled(stored.layout.shards(), need.unit).into_iter().filter(|row| *row != need.row);
                for other in others {
                    reader.offer(holders.open(need.in_other_row(PairIndex(other)))).unwrap();
                    // Units that were there for another row count too, so that it may be fewer than p.
                    if let Some(bytes) = reader.next_bytes() {
                        out.extend(bytes);
                        break;
                    }
                }
            }
        }
    }
    assert!(reader.next_bytes().is_none());
    (out, reader)
}

fn ranges(length: usize) -> Vec<(u64, u64)> {
    let length = length as u64;
    let points = [0, 1, length / 3, length / 2 + 1, length.saturating_sub(1), length];
    points.iter().flat_map(|a| points.map(|b| (*a, b))).filter(|(a, b)| a <= b && *b <= length).collect()
}

#[test]
fn ranges_come_from_rows_columns_and_others() {
    for (n, length) in [(4, 0), (4, 11), (7, 3000), (10, 77), (10, 28 * 70_001), (28, 40_001)] {
        let stored = Stored::new(n, length);
        for (start, end) in ranges(length) {
            for way in [Way::Row, Way::Column, Way::Others] {
                let (bytes, reader) = read(&stored, start, end, |_| way);
                assert!(bytes == stored.bytes[start as usize..end as usize], "{n} {length} {start} {end} {way:?}");
                let proven = way == Way::Row || start == end;
                assert_eq!(reader.provenance() == Provenance::Proven, proven);
                assert_eq!(reader.held_bytes(), 0);
            }
        }
    }
}

#[test]
fn a_small_range_of_a_large_blob_moves_a_unit() {
    let stored = Stored::new(4, 6 << 20);
    let (bytes, reader) = read(&stored, (3 << 20) + 5, (3 << 20) + 105, |_| Way::Row);
    assert!(bytes == stored.bytes[(3 << 20) + 5..(3 << 20) + 105]);
    assert_eq!(reader.received_bytes(), 64 << 10);
}

#[test]
fn only_what_the_rest_of_the_range_can_use_is_taken_and_only_as_much_as_fits() {
    let stored = Stored::new(10, 28 * 100);
    let other = Stored::new(10, 28 * 100 + 1);
    let mut holders = Holders::new(&stored);
    let layout = stored.layout;
    // The first three symbols of the first row.
    let plan = RangePlan::new(&layout, 50..250).unwrap();
    let needs: Vec<Need> = plan.needs().collect();
    assert_eq!(needs.len(), 3);
    let mut reader = RangeReader::new(&stored.blob, plan, 100);
    let unit = |row, column| Need { row, column, unit: 0 };
    let useless = |result| matches!(result, Err(RangeError::Useless { .. }));
    assert!(useless(reader.offer(holders.open(unit(0, 5).in_row()))));
    assert!(useless(reader.offer(holders.open(unit(1, 0).in_column(&layout)))));
    assert!(useless(reader.offer(holders.open((PairIndex(0), Place::symbol(Axis::Secondary, 0))))));
    let mixed = Holders::new(&other).open(unit(0, 0).in_row());
    assert_eq!(reader.offer(mixed), Err(RangeError::Mixed { pair: PairIndex(0) }));
    // A whole symbol is a unit here.
    reader.offer(holders.open((PairIndex(0), Place::symbol(Axis::Primary, 2)))).unwrap();
    assert_eq!(reader.offer(holders.open(unit(0, 1).in_row())), Err(RangeError::Full));
    // The same again takes no room, and what comes next is always taken.
    for _ in 0..2 {
        reader.offer(holders.open(unit(0, 0).in_row())).unwrap();
    }
    assert_eq!((reader.held_bytes(), reader.received_bytes()), (200, 200));
    assert!(reader.next_bytes().unwrap() == stored.bytes[50..100]);
    assert!(useless(reader.offer(holders.open(unit(0, 0).in_row()))));
    reader.offer(holders.open(unit(0, 1).in_row())).unwrap();
    assert!(reader.next_bytes().unwrap() == stored.bytes[100..200]);
    assert!(reader.next_bytes().unwrap() == stored.bytes[200..250]);
    assert_eq!(reader.waiting_for(), None);

    for (start, end) in [(0, 2801), (5, 4), (u64::MAX, u64::MAX)] {
        let plan = RangePlan::new(&layout, std::ops::Range { start, end });
        assert!(matches!(plan, Err(RangeError::Range { .. })));
    }
    assert_eq!(Grain::Unit.part_bytes(&layout), 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_range_by_any_way(n in 4_u16..32, length in 1_usize..20_000, seed in any::<u64>(), from in 0.0..1.0, to in 0.0..1.0) {
        let stored = Stored::new(n, length);
        let (a, b) = ((length as f64 * from) as u64, (length as f64 * to) as u64);
        let (start, end) = (a.min(b), a.max(b));
        let ways = [Way::Row, Way::Column, Way::Others];
        let way = |need: &Need| ways[((seed ^ (u64::from(need.row) * 31) ^ (u64::from(need.column) * 17)) % 3) as usize];
        let (bytes, reader) = read(&stored, start, end, way);
        prop_assert!(bytes == stored.bytes[start as usize..end as usize]);
        let plan = RangePlan::new(&stored.layout, start..end).unwrap();
        let derived = plan.needs().any(|need| way(&need) != Way::Row);
        prop_assert!(derived || reader.provenance() == Provenance::Proven);
    }
}
