//! Figures, not checks: how fast blocks are made and checked, and what a boundary costs with many blobs.
//!
//! `cargo test --release -p floe-ledger -- --ignored --nocapture measure`

use super::fixture::*;
use crate::*;
use floe_types::{BlobId, BlockTime, Epoch, Frost, RegistrationNumber, ShardIndex};
use std::time::Instant;

fn timed<T>(name: &str, count: u64, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    let took = began.elapsed();
    println!("{name:48} {took:>12.2?}   {:>10.0} a second", count as f64 / took.as_secs_f64());
    result
}

#[test]
#[ignore = "prints figures"]
fn measure_transfers() {
    const COUNT: u64 = 5_000;
    let world = World::new();
    let transfer = |nonce| {
        let action = Action::Transfer { to: user(9), amount: Frost(1) };
        world.sign(&key(1), nonce, FEE, action)
    };
    let signed: Vec<_> = (0..COUNT).map(transfer).collect();
    let mut pool = Mempool::new(MempoolLimits { per_sender: COUNT, ..MempoolLimits::default() });
    timed("transfers into the pool, verified", COUNT, || {
        for signed in signed {
            pool.add(&world.state, &world.context, signed).unwrap();
        }
    });
    let candidates = pool.candidates(&world.state, &world.context, world.now, 1 << 20).unwrap();
    let block = timed("a block of them built", COUNT, || world.build(candidates)).block;
    assert_eq!(block.transactions.len() as u64, COUNT);
    timed("a foreign block of them checked", COUNT, || {
        execute_decided(&world.state, &world.context, block).unwrap();
    });
}

#[test]
#[ignore = "prints figures"]
fn measure_certificates() {
    const COUNT: u64 = 256;
    let mut world = World::new();
    let id = |at: u64| BlobId([at as u8; 32]);
    let register = |at| world.sign(&key(1), at, FEE, world.register_action(id(at), 2));
    let registrations: Vec<_> = (0..COUNT).map(|at| register(at).check(&world.context.network).unwrap()).collect();
    timed("registrations executed, twice, by two nodes", COUNT, || world.block(registrations));
    let certify = |at: u64| {
        let action = world.certify_action(id(at), RegistrationNumber(at + 1), &ALL);
        world.sign(&key(1), COUNT + at, FEE, action).check(&world.context.network).unwrap()
    };
    let certificates: Vec<_> = (0..COUNT).map(certify).collect();
    timed("certificates of seven members executed once", COUNT, || world.build(certificates));
}

/// What the state root costs: the sum renewed over the changes of one block, against the whole of checking that block.
#[test]
#[ignore = "prints figures"]
fn measure_state_root() {
    const COUNT: u64 = 2_000;
    let world = World::new();
    let receiver = |at: u64| {
        let mut account = [9; 32];
        account[..8].copy_from_slice(&at.to_be_bytes());
        floe_types::AccountId(account)
    };
    let transfer = |at| Action::Transfer { to: receiver(at), amount: Frost(1) };
    let register =
        |at: u64| world.register_action(BlobId([at as u8, (at >> 8) as u8].repeat(16).try_into().unwrap()), 2);
    let actions: [(&str, &dyn Fn(u64) -> Action); 2] =
        [("transfers to as many receivers", &transfer), ("registrations", &register)];
    for (name, action) in actions {
        let sign = |at| world.sign(&key(1), at, FEE, action(at)).check(&world.context.network).unwrap();
        let built = world.build((0..COUNT).map(sign).collect());
        assert_eq!(built.block.transactions.len() as u64, COUNT);
        let whole = Instant::now();
        execute_decided(&world.state, &world.context, built.block.clone()).unwrap();
        let whole = whole.elapsed();
        let mut overlay = Overlay::new(&world.state);
        overlay.merge(built.changes.clone());
        let root = Instant::now();
        digest::renew(&mut overlay, &world.context.network).unwrap();
        let root = root.elapsed();
        let entries = built.changes.0.keys().filter(|key| digest::is_counted(key)).count();
        println!(
            "{COUNT} {name}: {whole:.1?}, of which the state root {root:.1?} for {entries} entries, {:.1} us a transaction: {:.1} %",
            root.as_secs_f64() * 1e6 / COUNT as f64,
            100.0 * root.as_secs_f64() / whole.as_secs_f64()
        );
    }
}

/// A state with `count` defended blobs, number `at` covered by `covering(at)`.
fn stored(count: u64, covering: impl Fn(u64) -> ShardSet) -> World {
    let mut world = World::new();
    let mut overlay = Overlay::new(&world.state);
    for at in 0..count {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let mut registration = Registration {
            number: RegistrationNumber(at + 1),
            blob: BlobId(id),
            owner: user(1),
            length: LENGTH,
            first: Epoch(1),
            last: Epoch(if at % 100 == 0 { 1 } else { 9 }),
            rate: Frost(1),
            deadline: Epoch(2),
            attributes: Attributes::default(),
            status: RegistrationStatus::Pending,
        };
        assert!(money::debit(&mut overlay, &user(1), registration.price(), money::Pot::Pending).is_ok());
        blobs::enlist(&mut overlay, &registration).unwrap();
        blobs::defend(&mut overlay, &mut registration, &covering(at), Epoch(1)).unwrap();
    }
    let changes = overlay.into_changes();
    world.state.apply(&changes);
    world
}

#[test]
#[ignore = "prints figures"]
fn measure_boundaries_with_100k_blobs() {
    const COUNT: u64 = 100_000;
    let scattered = |at: u64| {
        // Each of the 28 shards misses one blob in eight: nearly every blob is a segment and many are a class.
        let noise = at.wrapping_mul(0xd134_2543_de82_ef95) ^ at.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(31);
        (0..28u16).filter(|shard| (noise >> (2 * shard)) & 7 != 0).map(ShardIndex).collect::<ShardSet>()
    };
    let healthy =
        timed("blobs registered and certified, no signatures", COUNT, || stored(COUNT, |_| ShardSet::below(28)));
    let scattered = stored(COUNT, scattered);
    for (name, world) in [("healthy", healthy), ("scattered", scattered)] {
        let time = BlockTime(START + EPOCH);
        let name = format!("boundary, 100,000 blobs {name}, 1,000 expire");
        let built = timed(&name, 1, || build_block(&world.state, &world.context, node(0), time, vec![]).unwrap());
        println!(
            "    {} classes, {} changes",
            built.block.header.boundary.unwrap().tally.classes,
            built.changes.0.len()
        );
    }
}

#[test]
#[ignore = "prints figures"]
fn measure_a_snapshot_of_100k_blobs() {
    const COUNT: u64 = 100_000;
    let world = stored(COUNT, |_| ShardSet::below(28));
    let mut cutter = snapshot::Cutter::default();
    let chunks: Vec<_> =
        timed("a state cut into chunks", COUNT, || std::iter::from_fn(|| cutter.cut(&world.state).unwrap()).collect());
    let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
    println!("    {} chunks, {} bytes a blob", chunks.len(), bytes as u64 / COUNT);
    let mut total = digest::Sum::default();
    let mut restored = MemoryState::new();
    timed("chunks checked", COUNT, || {
        for chunk in &chunks {
            let entries = snapshot::open(&chunk.bytes, &chunk.sum).unwrap();
            restored.apply(&ChangeSet(entries.into_iter().map(|(key, value)| (key, Some(value))).collect()));
            total.plus(&chunk.sum);
        }
    });
    let mut other = World::new();
    other.boundary(vec![]);
    let header = BlockHeader {
        state_root: total.root(&world.context.network),
        blobs_by_sequence_root: merkle::root(&world.state, merkle::Map::BySequence).unwrap().0,
        blobs_by_id_root: merkle::root(&world.state, merkle::Map::ById).unwrap().0,
        ..other.blocks[0].header.clone()
    };
    let mut entries = 0u64;
    let mut put = |_, _| {
        entries += 1;
        Ok(())
    };
    timed("maps built again", COUNT, || {
        snapshot::derive(&restored, &world.context.network, &header, &total, &mut put).unwrap();
    });
    println!("    {entries} entries that did not travel");
}
