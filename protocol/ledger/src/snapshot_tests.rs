//! Snapshots of small worlds: cut, checked, damaged, restored, and lived on from.

use super::*;
use crate::tests::fixture::*;
use crate::{ChangeSet, Context, MemoryState, Verdict, views};
use floe_types::{BlobId, Epoch};

fn cut(state: &MemoryState) -> Vec<Chunk> {
    let mut cutter = Cutter::default();
    std::iter::from_fn(|| cutter.cut(state).unwrap()).collect()
}

fn restore(context: &Context, header: &BlockHeader, chunks: &[Chunk]) -> Result<MemoryState, RestoreError> {
    let mut state = MemoryState::new();
    let mut total = Sum::default();
    for chunk in chunks {
        let entries = open(&chunk.bytes, &chunk.sum).unwrap();
        state.apply(&ChangeSet(entries.into_iter().map(|(key, value)| (key, Some(value))).collect()));
        total.plus(&chunk.sum);
    }
    let mut derived = ChangeSet::new();
    let mut put = |key, value| {
        derived.0.insert(key, Some(value));
        Ok(())
    };
    derive(&state, &context.network, header, &total, &mut put)?;
    state.apply(&derived);
    Ok(state)
}

/// A world of many blobs, right after a boundary block that has a transaction.
fn busy(blobs: u64) -> World {
    let mut world = World::new();
    for seed in 0..blobs {
        let id = BlobId([seed as u8 + 1; 32]);
        world.store(id, 1 + seed % 4, if seed % 3 == 0 { &ALL } else { &[0, 1, 2, 3, 4] });
    }
    world.end_epoch(&ALL);
    world.register(BlobId([255; 32]), 3);
    let head = views::head(&world.state).unwrap();
    world.now = head.epoch_ends(&world.context.params);
    let transfer = world.by(&key(2), crate::Action::Transfer { to: user(3), amount: floe_types::Frost(5) });
    world.block(vec![transfer]);
    world
}

#[test]
fn a_restored_state_is_the_state_to_the_byte_and_goes_on_as_it_would_have() {
    let mut world = busy(12);
    let header = world.blocks.last().unwrap().header.clone();
    let mut restored = restore(&world.context, &header, &cut(&world.state)).unwrap();
    assert!(restored == world.state);
    for seed in 200..203 {
        world.store(BlobId([seed; 32]), 2, &ALL);
        world.end_epoch(&ALL);
    }
    let later = world.blocks.iter().filter(|block| block.header.height > header.height).cloned();
    for block in later {
        let executed = crate::execute_decided(&restored, &world.context, block).unwrap();
        restored.apply(&executed.changes);
    }
    assert!(restored == world.state);
    let verdict = views::verdict(&restored, &BlobId([201; 32]), Epoch(4)).unwrap().unwrap();
    assert_eq!(verdict.verdict, Verdict::Intact);
}

#[test]
fn equal_states_are_cut_alike_and_chunks_keep_their_length() {
    let mut state = MemoryState::new();
    let entries = (0..3_000u64).map(|at| (Table::Owners.number(at), Some(vec![at as u8; 900])));
    state.apply(&ChangeSet(entries.chain([(Table::Merkle.number(4), Some(vec![1]))]).collect()));
    let chunks = cut(&state);
    assert_eq!(chunks, cut(&state.clone()));
    assert!(chunks.len() > 4);
    let found: usize = chunks.iter().map(|chunk| open(&chunk.bytes, &chunk.sum).unwrap().len()).sum();
    assert_eq!(found, 3_000);
    assert!(chunks.iter().all(|chunk| chunk.bytes.len() <= CHUNK_BYTES_MAX));
}

#[test]
fn a_chunk_that_was_touched_anywhere_is_refused() {
    let world = busy(3);
    let chunks = cut(&world.state);
    let Chunk { bytes, sum } = &chunks[0];
    for at in (0..bytes.len()).step_by(7) {
        let mut touched = bytes.clone();
        touched[at] ^= 1 << (at % 8);
        assert!(open(&touched, sum).is_err(), "byte {at}");
    }
    assert_eq!(open(bytes, &Sum::default()), Err(ChunkError::OtherSum));
    let twice = codec::encode(&vec![(Bytes::new(&[2]), Bytes::new(&[])), (Bytes::new(&[2]), Bytes::new(&[]))]);
    assert_eq!(open(&twice, sum), Err(ChunkError::Entries));
    let head = codec::encode(&vec![(Bytes::new(&[Table::Head as u8]), Bytes::new(&[]))]);
    assert_eq!(open(&head, sum), Err(ChunkError::Entries));
    let long = vec![0; CHUNK_BYTES_MAX + 1];
    assert!(matches!(open(&long, sum), Err(ChunkError::Decode(DecodeError::TooLong { .. }))));
}

#[test]
fn entries_that_are_missing_or_of_another_block_give_no_state() {
    let world = busy(3);
    let header = world.blocks.last().unwrap().header.clone();
    let earlier = world.blocks[world.blocks.len() - 2].header.clone();
    let chunks = cut(&world.state);
    let wrong = RestoreError::OtherRoot { which: "of the state" };
    assert_eq!(restore(&world.context, &header, &chunks[1..]).unwrap_err(), wrong);
    assert_eq!(restore(&world.context, &earlier, &chunks).unwrap_err(), wrong);
    let lying = BlockHeader { blobs_by_id_root: merkle::EMPTY, ..header };
    let wrong = RestoreError::OtherRoot { which: "of blobs by id" };
    assert_eq!(restore(&world.context, &lying, &chunks).unwrap_err(), wrong);
}

#[test]
fn an_empty_network_has_a_snapshot_too() {
    let mut world = World::new();
    world.boundary(vec![]);
    let header = world.blocks[0].header.clone();
    assert!(is_due(&header, 1) && !is_due(&header, 2) && !is_due(&header, 0));
    assert!(restore(&world.context, &header, &cut(&world.state)).unwrap() == world.state);
    assert_eq!(sum_of(&world.state).unwrap().root(&world.context.network), header.state_root);
}

#[test]
fn an_outline_knows_its_parts() {
    let world = busy(1);
    let block = world.blocks.last().unwrap();
    let sealed = Sealed::of(&block.encode(), &[]).unwrap();
    let outline = Outline { sealed, chunks: 513, bytes: 9 };
    assert_eq!(outline.parts(), 3);
    assert_eq!([0, 1, 2, 3].map(|part| outline.sums_in(part)), [256, 256, 1, 0]);
    assert_eq!(height_of(&outline), Some(block.header.height));
    let longest = Part { sums: vec![Sum::default(); PART_CHUNKS] };
    assert_eq!(Part::decode(&codec::encode(&longest)), Ok(longest));
}
