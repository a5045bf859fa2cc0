//! Who finds whom: bootstrap, members, the peer book, ports that are taken, networks that are not ours.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use floe_network::{Event, MemberAddress, Network, RequestError, Role, StartError};
use floe_types::NetworkId;
use std::time::{Duration, Instant};

#[tokio::test]
async fn three_nodes_find_each_other_through_one_bootstrap_peer() {
    let a = start(1);
    let bootstrap = vec![a.address()];
    let b = start_with(2, Settings { bootstrap: bootstrap.clone(), ..Settings::default() });
    let c = start_with(3, Settings { bootstrap, ..Settings::default() });
    a.wait_connected(&[id(2), id(3)]).await;
    b.wait_connected(&[id(1), id(3)]).await;
    c.wait_connected(&[id(1), id(2)]).await;
}

#[tokio::test]
async fn nodes_meet_over_quic_too() {
    let listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()];
    let a = start_with(1, Settings { listen: listen.clone(), ..Settings::default() });
    let b = start_with(2, Settings { listen, bootstrap: vec![a.address()], ..Settings::default() });
    b.wait_connected(&[id(1)]).await;
    a.wait_connected(&[id(2)]).await;
}

#[tokio::test]
async fn connecting_and_leaving_are_told() {
    let mut a = start(1);
    let b = start_with(2, Settings { bootstrap: vec![a.address()], ..Settings::default() });
    let came = a.next(|event| if let Event::Connected(node) = event { Some(node) } else { None }).await;
    assert_eq!(came, id(2));
    b.network.shutdown().await;
    let left = a.next(|event| if let Event::Disconnected(node) = event { Some(node) } else { None }).await;
    assert_eq!(left, id(2));
}

#[tokio::test]
async fn a_member_that_comes_up_is_connected_quickly() {
    let nodes = common::committee(&[1, 2, 3], &Default::default()).await;
    let members: Vec<MemberAddress> = nodes.iter().map(Node::member).collect();
    let [a, b, c] = <[Node; 3]>::try_from(nodes).ok().unwrap();
    let address = c.network.listen_addresses().first().cloned().unwrap();
    c.network.shutdown().await;
    a.wait_gone(id(3)).await;
    b.wait_gone(id(3)).await;
    // Long enough for the others to have failed a few times and to wait between tries.
    until("the others try", || a.network.counters().values().dials_failed >= 2).await;
    let listen = vec![address.split("/p2p/").next().unwrap().to_owned()];
    let came_up = Instant::now();
    let c = start_with(3, Settings { listen, ..Settings::default() });
    c.network.set_members(members);
    c.wait_connected(&[id(1), id(2)]).await;
    a.wait_connected(&[id(3)]).await;
    b.wait_connected(&[id(3)]).await;
    let took = came_up.elapsed();
    eprintln!("connected {took:?} after coming up");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let peers = a.network.peers();
    assert!(peers.iter().all(|peer| peer.role == Role::Member && peer.agent.starts_with("floe/")), "{peers:?}");
}

#[tokio::test]
async fn a_restart_needs_nothing_but_the_peer_book() {
    let a = start(1);
    let b = start_with(2, Settings { bootstrap: vec![a.address()], ..Settings::default() });
    b.wait_connected(&[id(1)]).await;
    let book = b.book.clone();
    b.network.shutdown().await;
    a.wait_gone(id(2)).await;
    assert!(book.records().iter().any(|record| record.node == id(1) && record.last_seen > 0), "{:?}", book.records());

    let b = start_with(2, Settings { book, ..Settings::default() });
    b.wait_connected(&[id(1)]).await;
    a.wait_connected(&[id(2)]).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let a = start(1);
    let address = a.address().split("/p2p/").next().unwrap().to_owned();
    let settings = Settings { listen: vec![address.clone()], ..Settings::default() };
    match Network::start(config(2, settings)) {
        Err(StartError::AddressInUse { address: named }) => assert_eq!(named, address),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn a_port_is_free_again_after_shutdown() {
    let a = start(1);
    let listen = vec![a.address().split("/p2p/").next().unwrap().to_owned()];
    a.network.shutdown().await;
    a.network.shutdown().await;
    let again = start_with(1, Settings { listen, ..Settings::default() });
    again.network.shutdown().await;
}

#[tokio::test]
async fn a_bad_address_is_named() {
    for bad in ["", "127.0.0.1:7100", "/ip4/127.0.0.1/tcp/99999"] {
        let settings = Settings { listen: vec![bad.to_owned()], ..Settings::default() };
        match Network::start(config(1, settings)) {
            Err(StartError::BadAddress { address, .. }) => assert_eq!(address, bad),
            other => panic!("{bad}: {:?}", other.err()),
        }
    }
}

#[tokio::test]
async fn a_node_of_another_network_is_refused_by_name() {
    let theirs = start_with(1, Settings { network: NetworkId([8; 32]), ..Settings::default() });
    let ours = start_with(2, Settings { bootstrap: vec![theirs.address()], ..Settings::default() });
    until("both notice", || {
        [&theirs, &ours].iter().all(|node| node.network.counters().values().other_network_peers > 0)
    })
    .await;
    match ours.network.request_status(id(1), "hello").await {
        Err(RequestError::OtherNetwork { theirs, ours }) => {
            assert_eq!(theirs, "/floe/0808080808080808/1");
            assert_eq!(ours, "/floe/0707070707070707/1");
        }
        other => panic!("{other:?}"),
    }
    assert!(ours.network.peers().is_empty());
}
