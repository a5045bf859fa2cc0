//! Fragment streams under load, and floods of connections.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use floe_network::{Event, FragmentStream, Limits, OpenError};
use floe_types::NodeId;
use futures::{AsyncReadExt, AsyncWriteExt};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;

fn fragment(event: Event) -> Option<(NodeId, FragmentStream)> {
    match event {
        Event::FragmentStream { from, stream } => Some((from, stream)),
        _ => None,
    }
}

async fn pair(limits: &Limits) -> (Node, Node) {
    let mut nodes = committee(&[1, 2], limits).await;
    let b = nodes.remove(1);
    (nodes.remove(0), b)
}

#[tokio::test]
async fn eight_mebibytes_wait_for_a_slow_reader() {
    let (a, mut b) = pair(&Limits::default()).await;
    let mut writer = a.network.open_fragment_stream(id(2)).await.unwrap();
    let (from, mut reader) = b.next(fragment).await;
    assert_eq!(from, id(1));
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let writing = tokio::spawn(async move {
        for chunk in 0..128u8 {
            writer.write_all(&vec![chunk; 64 * 1024]).await.unwrap();
            count.fetch_add(64 * 1024, Ordering::SeqCst);
        }
        writer.close().await.unwrap();
        writer
    });
    // Nobody reads. What the writer got rid of settles, far below what it has.
    let mut before = usize::MAX;
    while before != written.load(Ordering::SeqCst) {
        before = written.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!("{} KiB are under way to a reader that does not read", before / 1024);
    assert!(before <= 2 * MIB, "{before}");

    let mut total = 0;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = reader.read(&mut chunk).await.unwrap();
        if read == 0 {
            break;
        }
        for (offset, byte) in chunk.iter().take(read).enumerate() {
            assert_eq!(usize::from(*byte), (total + offset) / (64 * 1024));
        }
        total += read;
    }
    assert_eq!(total, 8 * MIB);
    drop(writing.await.unwrap());
    assert_eq!(b.network.counters().values().fragment_bytes_in, 8 * MIB as u64);
}

#[tokio::test]
async fn a_silent_partner_is_given_up() {
    let mut limits = Limits::default();
    limits.streams.grace = Duration::from_millis(200);
    let (a, mut b) = pair(&limits).await;
    let mut asker = a.network.open_fragment_stream(id(2)).await.unwrap();
    asker.write_all(b"please").await.unwrap();
    asker.flush().await.unwrap();
    let (_, mut silent) = b.next(fragment).await;
    let mut question = [0; 6];
    silent.read_exact(&mut question).await.unwrap();
    let error = asker.read(&mut question).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_burst_of_streams_all_arrive_and_places_are_bounded() {
    let mut limits = Limits::default();
    limits.streams.open_timeout = Duration::from_millis(500);
    let (a, mut b) = pair(&limits).await;
    let opening = (0..32).map(|_| a.network.open_fragment_stream(id(2)));
    let opened: Vec<FragmentStream> = futures::future::try_join_all(opening).await.unwrap();
    let mut arrived = Vec::new();
    for _ in 0..32 {
        arrived.push(b.next(fragment).await.1);
    }
    let waited = Duration::from_millis(500);
    let refused = a.network.open_fragment_stream(id(2)).await;
    assert_eq!(refused.err(), Some(OpenError::Timeout { waited }));
    drop((opened, arrived));
    a.network.open_fragment_stream(id(2)).await.unwrap();
    let nowhere = a.network.open_fragment_stream(id(9)).await;
    assert_eq!(nowhere.err(), Some(OpenError::NotConnected { node: id(9) }));
}

#[tokio::test]
async fn a_hundred_strangers_share_a_few_slots_and_members_have_their_own() {
    let mut limits = Limits::default();
    limits.connections.established_in_base = 10;
    limits.connections.established_base = 10;
    let node = start_with(1, Settings { limits, ..Settings::default() });
    let mut flood = Vec::new();
    for seed in 100..200u8 {
        let mut villain = Villain::new(seed);
        let address = node.address();
        flood.push(tokio::spawn(async move {
            villain.connect(&address).await;
            villain.run().await
        }));
    }
    until("most are refused", || {
        let counters = node.network.counters().values();
        counters.connections_opened >= 10 && counters.connections_opened + counters.connections_refused >= 90
    })
    .await;
    let counters = node.network.counters().values();
    assert!(counters.connections <= 10, "{counters:?}");

    let member = start(2);
    node.network.set_members(vec![node.member(), member.member()]);
    node.wait_connected(&[id(2)]).await;
    // It comes in too, not only out.
    let visitor = start_with(3, Settings { bootstrap: vec![node.address()], ..Settings::default() });
    node.network.set_members(vec![node.member(), member.member(), visitor.member()]);
    visitor.wait_connected(&[id(1)]).await;
    for task in flood {
        task.abort();
    }
}
