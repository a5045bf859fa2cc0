//! What is kept about classes and segments against what coverage says.

use super::fixture::*;
use crate::coverage::segments;
use crate::evidence::segments::show;
use crate::merkle::{Leaf, Map, value_hash};
use crate::pages::{self, Builder};
use crate::tables::{Table, number_at};
use crate::*;
use floe_types::{Epoch, Frost, SequenceNumber};
use std::collections::BTreeMap;

/// Recomputes the weights of classes and the map of segments, of now and of every epoch that is remembered.
pub fn check(state: &dyn StateRead) {
    let end = views::next_sequence(state).unwrap().0;
    let judged = segments(state, Table::Judged, end).unwrap();
    assert!(judged.windows(2).all(|pair| pair[0].rows != pair[1].rows), "neighbours are one segment");
    let mut slow: BTreeMap<RowSet, Weight> = BTreeMap::new();
    for segment in &judged {
        for number in segment.run.first.0..=segment.run.last.0 {
            let life = blobs::life(state, SequenceNumber(number)).unwrap().unwrap();
            let sum = slow.entry(segment.rows.clone()).or_default();
            *sum = sum.plus(blobs::weight(views::committee(state).unwrap().shards(), &life));
        }
    }
    slow.retain(|_, weight| weight.blobs > 0);
    assert_eq!(classes::all(state).unwrap(), slow);

    let mut builder = Builder::new(Map::Segments);
    let mut built = BTreeMap::new();
    let mut put = |key, value| {
        built.insert(key, value);
        Ok(())
    };
    for (key, value) in Table::Judged.all(state, &[]).unwrap() {
        let leaf = Leaf { key, value: value_hash(&value), weight: Weight::default() };
        builder.add(leaf, &mut put).unwrap();
    }
    assert_eq!(builder.finish(&mut put).unwrap(), pages::root(state, Map::Segments).unwrap().0);
    let kept = Table::Merkle.all(state, &[Map::Segments as u8]).unwrap();
    let top = Table::MerkleRoots.all(state, &[Map::Segments as u8]).unwrap();
    let kept = kept.into_iter().map(|(key, value)| (Table::Merkle.key(&[&key]), value));
    let kept = kept.chain(top.into_iter().map(|(key, value)| (Table::MerkleRoots.key(&[&key]), value)));
    assert_eq!(built, kept.collect());

    for (key, _) in Table::Epochs.all(state, &[]).unwrap() {
        let epoch = Epoch(number_at(Table::Epochs, &key, 0).unwrap());
        let named = views::epoch_record(state, epoch).unwrap().unwrap().boundary.classes_root;
        for number in 0..end {
            let life = blobs::life(state, SequenceNumber(number)).unwrap().unwrap();
            if life.certified <= epoch {
                let shown = show(state, epoch, SequenceNumber(number)).unwrap();
                assert_eq!(shown.root, named, "epoch {epoch}");
                assert!(shown.proof.verify(&named, &shown.run.last.0.to_be_bytes()).is_ok());
            }
        }
    }
}

#[test]
fn a_member_that_withdraws_every_second_blob_makes_one_more_class() {
    let mut world = World::new();
    for at in 0..40 {
        world.store(blob(at), 1000, &ALL);
    }
    world.end_epoch(&ALL);
    let runs = (0..20).map(|at| Run { first: SequenceNumber(2 * at), last: SequenceNumber(2 * at) }).collect();
    let withdraw = Action::Withdraw { member: node(3), shards: seats(3), runs };
    let withdraw = world.sign(&node_key(3), 0, Frost(1_000_000), withdraw).check(&world.context.network).unwrap();
    assert_eq!(world.block(vec![withdraw]).refused, vec![]);
    for _ in 0..3 {
        world.end_epoch(&ALL);
        check(&world.state);
    }
    let record = views::epoch_record(&world.state, Epoch(world.epoch().0 - 1)).unwrap().unwrap();
    assert_eq!(record.boundary.tally.classes, 2);
    assert_eq!(segments(&world.state, Table::Judged, 40).unwrap().len(), 40);
    assert_eq!(evidence::kept::leaves(&world.state, record.epoch, evidence::List::Verdicts).unwrap().len(), 2);
}
