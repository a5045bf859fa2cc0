//! What is said: consensus directly and by gossip, transactions, verdicts, requests.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bytes::Bytes;
use common::*;
use floe_network::{Event, GossipVerdict, Limits, PublishError, Reply, ReplyError, RequestError, Topic};
use floe_types::NodeId;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::gossipsub::IdentTopic;
use libp2p::{PeerId, StreamProtocol};
use std::time::Duration;

fn gossip(event: Event) -> Option<(Topic, NodeId, Bytes, GossipVerdict)> {
    match event {
        Event::Gossip { topic, from, bytes, verdict } => Some((topic, from, bytes, verdict)),
        _ => None,
    }
}

fn status(event: Event) -> Option<(NodeId, Bytes, Reply)> {
    match event {
        Event::StatusRequest { from, bytes, reply } => Some((from, bytes, reply)),
        _ => None,
    }
}

fn blocks(event: Event) -> Option<(NodeId, Bytes, Reply)> {
    match event {
        Event::BlocksRequest { from, bytes, reply } => Some((from, bytes, reply)),
        _ => None,
    }
}

fn challenge(event: Event) -> Option<(NodeId, Bytes, Reply)> {
    match event {
        Event::ChallengeRequest { from, bytes, reply } => Some((from, bytes, reply)),
        _ => None,
    }
}

/// Publishes until somebody listens.
async fn publish(node: &Node, topic: Topic, text: &str) {
    let publishing = async {
        loop {
            match node.network.publish(topic, text.to_owned()).await {
                Ok(()) => return,
                Err(PublishError::NoPeers) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, publishing).await.expect("somebody listens");
}

/// Publishes on a topic until the given node has heard it once: the first tries may be too early for its ears. Each
/// try has its own text, because gossip does not repeat itself.
async fn heard(from: &Node, to: &mut Node, topic: Topic, text: &str) {
    let hearing = async {
        for attempt in 0.. {
            publish(from, topic, &format!("{text} {attempt}")).await;
            let next = to.next(|event| gossip(event).filter(|(_, _, bytes, _)| bytes.starts_with(text.as_bytes())));
            if let Ok((of, _, _, verdict)) = tokio::time::timeout(Duration::from_millis(200), next).await {
                assert_eq!(of, topic);
                verdict.accept();
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, hearing).await.expect("it is heard");
}

#[tokio::test]
async fn whatever_is_said_to_all_reaches_every_member() {
    let mut nodes = committee(&[1, 2, 3], &Limits::default()).await;
    let a = nodes.remove(0);
    for node in &mut nodes {
        heard(&a, node, Topic::Consensus, "a vote").await;
        heard(&a, node, Topic::Transactions, "a transaction").await;
        heard(&a, node, Topic::Observations, "what was seen in a slot").await;
    }
    let counters = a.network.counters().values();
    assert!(counters.consensus_messages_out >= 1, "{counters:?}");
}

#[tokio::test]
async fn a_large_committee_hears_consensus_by_gossip() {
    let mut limits = Limits::default();
    limits.messages.direct_members_max = 0;
    let mut nodes = committee(&[1, 2, 3], &limits).await;
    let a = nodes.remove(0);
    for node in &mut nodes {
        heard(&a, node, Topic::Consensus, "a vote").await;
    }
    assert_eq!(a.network.counters().values().consensus_messages_out, 0);
}

#[tokio::test]
async fn a_repeated_vote_is_heard_again() {
    let mut nodes = committee(&[1, 2], &Limits::default()).await;
    let mut b = nodes.remove(1);
    let a = nodes.remove(0);
    for _ in 0..3 {
        publish(&a, Topic::Consensus, "a vote").await;
    }
    for _ in 0..3 {
        let (_, _, bytes, verdict) = b.next(gossip).await;
        assert_eq!(bytes, "a vote");
        verdict.accept();
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_here() {
    let a = start(1);
    let limits = Limits::default().messages;
    let limits = [
        (Topic::Consensus, limits.consensus_bytes_max),
        (Topic::Transactions, limits.transaction_bytes_max),
        (Topic::Observations, limits.observations_bytes_max),
    ];
    for (topic, limit) in limits {
        let result = a.network.publish(topic, vec![0; limit + 1]).await;
        assert_eq!(result, Err(PublishError::TooLarge { bytes: limit + 1, limit }));
        assert_eq!(a.network.publish(topic, vec![0; limit]).await, Err(PublishError::NoPeers));
    }
}

#[tokio::test]
async fn the_longest_proposal_arrives_whole() {
    let mut nodes = committee(&[1, 2], &Limits::default()).await;
    let mut b = nodes.remove(1);
    let a = nodes.remove(0);
    heard(&a, &mut b, Topic::Consensus, "ready").await;
    let proposal = Bytes::from(vec![42; Limits::default().messages.consensus_bytes_max]);
    a.network.publish(Topic::Consensus, proposal.clone()).await.unwrap();
    let arrived = b.next(|event| gossip(event).filter(|(_, _, bytes, _)| bytes.len() > 100)).await;
    assert_eq!(arrived.2, proposal);
}

/// A frame of the votes protocol with a message.
fn vote_frame(nonce: u64, message: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(message.len() + 9).unwrap().to_le_bytes().to_vec();
    frame.push(0);
    frame.extend(nonce.to_le_bytes());
    frame.extend(message);
    frame
}

/// A villain connected to a node, and a control to make it speak.
async fn villain_at(node: &Node, seed: u8) -> (libp2p_stream::Control, PeerId, tokio::task::JoinHandle<()>) {
    let mut villain = Villain::new(seed);
    let peer = villain.connect(&node.address()).await;
    let control = villain.control();
    let running = villain.run();
    node.wait_connected(&[id(seed)]).await;
    (control, peer, running)
}

async fn open(control: &mut libp2p_stream::Control, peer: PeerId, protocol: &str) -> libp2p::Stream {
    let name = StreamProtocol::try_from_owned(format!("/floe/{TAG}/{protocol}")).unwrap();
    tokio::time::timeout(PATIENCE, control.open_stream(peer, name)).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_rejected_goes_no_further_and_ten_cost_the_connection() {
    let mut nodes = committee(&[1, 2], &Limits::default()).await;
    let mut c = nodes.remove(1);
    let mut b = nodes.remove(0);
    heard(&b, &mut c, Topic::Consensus, "ready").await;
    let (mut control, peer, _running) = villain_at(&b, 66).await;
    let mut stream = open(&mut control, peer, "votes/1").await;

    stream.write_all(&vote_frame(1, b"bad")).await.unwrap();
    stream.write_all(&vote_frame(2, b"good")).await.unwrap();
    stream.flush().await.unwrap();
    for _ in 0..2 {
        let (_, from, bytes, verdict) = b.next(gossip).await;
        assert_eq!(from, id(66));
        if bytes == "bad" { verdict.reject() } else { verdict.accept() }
    }
    // Streams keep their order: had "bad" been passed on, it would be here first.
    let (_, from, bytes, _) =
        c.next(|event| gossip(event).filter(|(_, _, bytes, _)| !bytes.starts_with(b"ready"))).await;
    assert_eq!((from, bytes), (id(1), Bytes::from("good")));

    for nonce in 3..=11 {
        assert_eq!(b.network.counters().values().peers_banned, 0, "before {nonce}");
        stream.write_all(&vote_frame(nonce, b"bad")).await.unwrap();
        stream.flush().await.unwrap();
        b.next(gossip).await.3.reject();
        let rejected = nonce - 1;
        until("noted", || b.network.counters().values().messages_rejected == rejected).await;
    }
    b.wait_gone(id(66)).await;
    assert_eq!(b.network.counters().values().peers_banned, 1);
    let mut again = Villain::new(66);
    let address = b.address();
    let refused = tokio::spawn(async move {
        again.connect(&address).await;
        // The node drops a banned peer once it knows who it is.
        while let Some(event) = again.swarm.next().await {
            if matches!(event, libp2p::swarm::SwarmEvent::ConnectionClosed { .. }) {
                return;
            }
        }
    });
    let _ = tokio::time::timeout(PATIENCE, refused).await.expect("the ban holds");
    assert!(b.network.peers().iter().all(|peer| peer.node != id(66)));
}

/// The next frame of a votes stream.
async fn frame_from(stream: &mut libp2p::Stream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.unwrap();
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut body).await.unwrap();
    body
}

/// The next message of a votes stream.
async fn vote_from(stream: &mut libp2p::Stream) -> Vec<u8> {
    loop {
        let mut body = frame_from(stream).await;
        if body.first() == Some(&0) {
            return body.split_off(9);
        }
    }
}

#[tokio::test]
async fn an_observer_with_one_connection_hears_everybody() {
    let mut nodes = committee(&[1, 2, 3], &Limits::default()).await;
    let c = nodes.remove(2);
    let mut b = nodes.remove(1);
    heard(&c, &mut b, Topic::Consensus, "ready").await;

    let mut observer = Villain::new(66);
    let name = StreamProtocol::try_from_owned(format!("/floe/{TAG}/votes/1")).unwrap();
    let mut incoming = observer.control().accept(name).unwrap();
    observer.connect(&b.address()).await;
    let _running = observer.run();
    let (_, mut stream) = tokio::time::timeout(PATIENCE, incoming.next()).await.unwrap().unwrap();
    // The first frame says whom b reaches: from then on messages come too.
    assert_eq!(tokio::time::timeout(PATIENCE, frame_from(&mut stream)).await.unwrap().first(), Some(&1));

    publish(&c, Topic::Consensus, "a vote of c").await;
    let (_, from, _, verdict) = b.next(|event| gossip(event).filter(|(_, _, bytes, _)| bytes == "a vote of c")).await;
    assert_eq!(from, id(3));
    verdict.accept();
    let heard = tokio::time::timeout(PATIENCE, vote_from(&mut stream)).await.unwrap();
    assert_eq!(heard, b"a vote of c");
    assert!(b.network.counters().values().consensus_relayed >= 1);
}

#[tokio::test]
async fn gossip_that_is_rejected_goes_no_further() {
    let mut nodes = committee(&[1, 2], &Limits::default()).await;
    let mut c = nodes.remove(1);
    let mut b = nodes.remove(0);
    heard(&b, &mut c, Topic::Transactions, "ready").await;
    let mut villain = Villain::new(66);
    let topic = IdentTopic::new(format!("floe/{TAG}/tx"));
    villain.swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
    villain.connect(&b.address()).await;
    let (say, mut to_say) = tokio::sync::mpsc::channel::<&'static [u8]>(8);
    tokio::spawn(async move {
        let mut waiting: Option<&'static [u8]> = None;
        loop {
            if let Some(text) = waiting
                && villain.swarm.behaviour_mut().gossip.publish(topic.clone(), text).is_ok()
            {
                waiting = None;
            }
            tokio::select! {
                Some(text) = to_say.recv(), if waiting.is_none() => waiting = Some(text),
                _ = villain.swarm.select_next_some() => {}
                () = tokio::time::sleep(Duration::from_millis(5)), if waiting.is_some() => {}
            }
        }
    });
    say.send(b"bad").await.unwrap();
    say.send(b"good").await.unwrap();
    for _ in 0..2 {
        let (_, from, bytes, verdict) = b.next(gossip).await;
        assert_eq!(from, id(66));
        if bytes == "bad" { verdict.reject() } else { verdict.accept() }
    }
    let (_, from, bytes, _) =
        c.next(|event| gossip(event).filter(|(_, _, bytes, _)| !bytes.starts_with(b"ready"))).await;
    assert_eq!((from, bytes), (id(1), Bytes::from("good")));
}

#[tokio::test]
async fn requests_are_answered_and_declined() {
    let mut nodes = committee(&[1, 2], &Limits::default()).await;
    let mut b = nodes.remove(1);
    let a = nodes.remove(0);

    let asking = a.network.clone();
    let asked = tokio::spawn(async move { asking.request_status(id(2), "how are you").await });
    let (from, bytes, reply) = b.next(status).await;
    assert_eq!((from, bytes), (id(1), Bytes::from("how are you")));
    reply.send("well").unwrap();
    assert_eq!(asked.await.unwrap(), Ok(Bytes::from("well")));

    let asking = a.network.clone();
    let asked = tokio::spawn(async move { asking.request_blocks(id(2), "").await });
    let (_, bytes, reply) = b.next(blocks).await;
    assert_eq!(bytes, "");
    let longest = vec![1; reply.limit()];
    reply.send(longest.clone()).unwrap();
    assert_eq!(asked.await.unwrap(), Ok(Bytes::from(longest)));

    let asking = a.network.clone();
    let asked = tokio::spawn(async move { asking.request_blocks(id(2), "all").await });
    drop(b.next(blocks).await.2);
    assert_eq!(asked.await.unwrap(), Err(RequestError::Refused));

    let asking = a.network.clone();
    let asked = tokio::spawn(async move { asking.request_challenge(id(2), "chunk 7 of symbol 3").await });
    let (from, bytes, reply) = b.next(challenge).await;
    assert_eq!((from, bytes), (id(1), Bytes::from("chunk 7 of symbol 3")));
    let longest = vec![3; reply.limit()];
    assert_eq!(longest.len(), 4 << 10, "an answer is small, whatever is stored");
    reply.send(longest.clone()).unwrap();
    assert_eq!(asked.await.unwrap(), Ok(Bytes::from(longest)));

    assert_eq!(a.network.request_status(id(9), "x").await, Err(RequestError::NotConnected { node: id(9) }));
}

#[tokio::test]
async fn lengths_are_refused_on_both_sides() {
    let mut generous = Limits::default();
    generous.requests.request_bytes_max = 1 << 20;
    generous.requests.status_answer_bytes_max = 1 << 20;
    let mut a = start_with(1, Settings { limits: generous, ..Settings::default() });
    let mut b = start_with(2, Settings { bootstrap: vec![a.address()], ..Settings::default() });
    b.wait_connected(&[id(1)]).await;
    a.wait_connected(&[id(2)]).await;
    let limit = 64 * 1024;

    // We do not send what nobody takes.
    let result = b.network.request_status(id(1), vec![0; limit + 1]).await;
    assert_eq!(result, Err(RequestError::TooLarge { bytes: limit + 1, limit }));
    // A request that is too long for the other side is cut off there.
    let result = a.network.request_status(id(2), vec![0; limit + 1]).await;
    assert!(matches!(result, Err(RequestError::Refused | RequestError::Failed { .. })), "{result:?}");
    until("noted", || b.network.counters().values().bad_frames == 1).await;
    // An answer that is too long is not sent ...
    let asking = a.network.clone();
    let asked = tokio::spawn(async move { asking.request_status(id(2), "x").await });
    let reply = b.next(status).await.2;
    let refused = reply.send(vec![0; limit + 1]);
    assert_eq!(refused, Err(ReplyError::TooLarge { bytes: limit + 1, limit }));
    assert_eq!(asked.await.unwrap(), Err(RequestError::Refused));
    // ... and not taken.
    let asking = b.network.clone();
    let asked = tokio::spawn(async move { asking.request_status(id(1), "x").await });
    a.next(status).await.2.send(vec![0; limit + 1]).unwrap();
    assert_eq!(asked.await.unwrap(), Err(RequestError::TooLarge { bytes: limit + 1, limit }));
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_not_waited_for() {
    let mut limits = Limits::default();
    limits.requests.status_timeout = Duration::from_millis(200);
    let mut nodes = committee(&[1, 2], &limits).await;
    let mut b = nodes.remove(1);
    let a = nodes.remove(0);
    let waited = Duration::from_millis(200);
    assert_eq!(a.network.request_status(id(2), "x").await, Err(RequestError::Timeout { waited }));
    let reply = b.next(status).await.2;
    // The asker is gone; whether this side knows it yet is a matter of timing, and harmless.
    let _ = reply.send("late");
}

#[tokio::test]
async fn garbage_on_every_protocol_leaves_the_node_alive() {
    let mut limits = Limits::default();
    limits.standing.points_max = u32::MAX;
    let mut nodes = committee(&[1, 2], &limits).await;
    let mut c = nodes.remove(1);
    let b = nodes.remove(0);
    let (mut control, peer, _running) = villain_at(&b, 66).await;
    let lies: [&[u8]; 7] = [
        b"",
        b"\x00",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x80 and some",
        b"\x05\x00\x00\x00\x07what",
        b"\x21\x00\x00\x00\x01not ids",
    ];
    for protocol in ["votes/1", "status/1", "sync/1", "fragment/1", "kad/1", "gossip/1.1.0"] {
        for lie in lies {
            let name = StreamProtocol::try_from_owned(format!("/floe/{TAG}/{protocol}")).unwrap();
            // Gossip takes five streams from a peer and then no more.
            let Ok(mut stream) = control.open_stream(peer, name).await else { continue };
            // The node may hang up at any point.
            let _ = stream.write_all(lie).await;
            let _ = stream.close().await;
        }
    }
    // Streams that are opened and left.
    let mut left = Vec::new();
    for _ in 0..100 {
        left.push(open(&mut control, peer, "fragment/1").await);
    }
    until("lies are counted", || b.network.counters().values().bad_frames >= 6).await;
    heard(&b, &mut c, Topic::Consensus, "still here").await;
    let counters = b.network.counters().values();
    assert!(counters.streams_refused > 0, "{counters:?}");
}

#[tokio::test]
async fn a_lying_length_four_times_costs_the_connection() {
    let b = start(1);
    let (mut control, peer, _running) = villain_at(&b, 66).await;
    for lies in 1..=4 {
        let mut stream = open(&mut control, peer, "votes/1").await;
        let _ = stream.write_all(b"\xff\xff\xff\xff").await;
        let _ = stream.flush().await;
        until("noted", || b.network.counters().values().bad_frames == lies).await;
    }
    b.wait_gone(id(66)).await;
}
