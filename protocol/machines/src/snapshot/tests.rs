//! A new node and five peers, some of whom lie; the clock stands still unless nothing else moves.

use super::*;
use crate::certificates::tests::{Chain, genesis};
use crate::wire::sync::{self, DecidedBlock, DecidedBlocks, Served};
use bytes::Bytes;
use floe_ledger::digest::Sum;
use floe_ledger::evidence::{Sealed, links};
use floe_ledger::snapshot::{self, Cutter};
use floe_ledger::{ChangeSet, MemoryState, StateRead, views};
use floe_types::genesis::GenesisAccount;
use floe_types::{AccountId, BlobId, Epoch, Frost, Genesis, NetworkId, NodeId, codec};
use std::collections::{BTreeMap, VecDeque};

/// How a peer lies or fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ways {
    Honest,
    Silent,
    Empty,
    /// Says that there are no more terms after genesis.
    OldTerms,
    /// Gives terms with another committee in them.
    FalseTerms,
    /// Its header was touched.
    FalseHeader,
    /// Its sums do not add up.
    FalseSums,
    /// Its sums add up, but two are false.
    FalsePair,
    /// Its chunks are false.
    FalseChunks,
    /// Answers with noise.
    Noise,
    /// Loses its snapshot after two chunks.
    Forgets,
    /// Its header was touched, and it does not answer when it is asked for the terms that would explain it.
    Sulks,
}

#[derive(Clone)]
struct Peer {
    ways: Ways,
    chain_links: Vec<TermLink>,
    outline: Outline,
    parts: Vec<Part>,
    chunks: Vec<Vec<u8>>,
    served: std::cell::Cell<u32>,
}

impl DecidedBlocks for Peer {
    fn decided(&self, _height: Height) -> Option<DecidedBlock> {
        None
    }
}

impl Served for Peer {
    fn terms(&self, after: Epoch, _bytes_max: usize) -> Vec<TermLink> {
        let newer = |link: &&TermLink| link.sealed.open().unwrap().header.boundary.unwrap().ended >= after;
        let mut links: Vec<_> = self.chain_links.iter().filter(newer).take(2).cloned().collect();
        match self.ways {
            Ways::OldTerms => return Vec::new(),
            Ways::FalseTerms => links.iter_mut().for_each(|link| link.roll.voters[0].vote_key.0[3] ^= 1),
            _ => {}
        }
        links
    }

    fn outline(&self) -> Option<Outline> {
        let mut outline = self.outline.clone();
        match self.ways {
            Ways::Empty => return None,
            Ways::FalseHeader | Ways::Sulks => outline.sealed.prefix[70] ^= 1,
            _ => {}
        }
        Some(outline)
    }

    fn part(&self, _height: Height, index: u32) -> Option<Vec<u8>> {
        let mut part = self.parts.get(index as usize)?.clone();
        let mut delta = Sum::default();
        floe_ledger::digest::Expander::default().put(&mut delta, b"delta", b"");
        match self.ways {
            Ways::FalseSums => part.sums[1].plus(&delta),
            Ways::FalsePair => {
                part.sums[1].plus(&delta);
                floe_ledger::digest::Expander::default().take(&mut part.sums[2], b"delta", b"");
            }
            _ => {}
        }
        Some(codec::encode(&part))
    }

    fn chunk(&self, _height: Height, index: u32) -> Option<Vec<u8>> {
        self.served.set(self.served.get() + 1);
        let mut chunk = self.chunks.get(index as usize)?.clone();
        match self.ways {
            Ways::FalseChunks => chunk[100] ^= 1,
            Ways::Forgets if self.served.get() > 2 => return None,
            _ => {}
        }
        Some(chunk)
    }
}

fn node(place: usize) -> NodeId {
    NodeId([place as u8 + 50; 32])
}

/// A chain with a state of several chunks and two changes of committee before its last boundary.
fn chain() -> Chain {
    let mut genesis: Genesis = genesis(4);
    let filler = |at: u32| {
        let mut account = [200; 32];
        account[..4].copy_from_slice(&at.to_be_bytes());
        GenesisAccount { account: AccountId(account), balance: Frost(5) }
    };
    genesis.accounts.extend((0..40_000).map(filler));
    genesis.accounts.sort_by_key(|entry| entry.account);
    let mut chain = Chain::of(genesis, 4);
    chain.store(BlobId([7; 32]), 5_000);
    for epoch in 1..=7 {
        chain.end_epoch(epoch % 3 == 0);
    }
    chain
}

fn peer(chain: &Chain, ways: Ways) -> Peer {
    let mut cutter = Cutter::default();
    let cut: Vec<_> = std::iter::from_fn(|| cutter.cut(&chain.state).unwrap()).collect();
    let head = views::head(&chain.state).unwrap();
    let sealed: Sealed = chain.headers[&head.height].clone();
    let bytes = cut.iter().map(|chunk| chunk.bytes.len() as u64).sum();
    let outline = Outline { sealed, chunks: cut.len() as u32, bytes };
    let sums = cut.iter().map(|chunk| chunk.sum.clone()).collect();
    let chain_links = links(Epoch(1), 1 << 30, &chain.state, chain, &chain.certificates()).unwrap();
    assert_eq!(chain_links.len(), 2);
    Peer {
        ways,
        chain_links,
        outline,
        parts: vec![Part { sums }],
        chunks: cut.into_iter().map(|chunk| chunk.bytes).collect(),
        served: Default::default(),
    }
}

fn is_about_terms(bytes: &[u8]) -> bool {
    let request: Result<sync::Request, _> = codec::decode(bytes, sync::REQUEST_BYTES_MAX);
    request.is_ok_and(|request| matches!(request.ask, sync::Ask::Terms { .. }))
}

#[derive(Default)]
struct Run {
    outline: Option<Outline>,
    parts: Vec<Part>,
    chunks: BTreeMap<u32, Bytes>,
    complete: Option<Vec<TermLink>>,
    network: Option<NetworkId>,
    blamed: Vec<(usize, &'static str)>,
    nothing: u32,
    asked: u32,
}

impl Run {
    /// Runs until all is kept, or `until` in milliseconds, or `chunks_max` chunks are kept.
    fn go(&mut self, genesis: &Genesis, peers: &[Peer], resumed: Option<Resumed>, chunks_max: usize) {
        self.network = Some(genesis.network());
        let mut machine = SnapshotSync::new(Config::default(), genesis, Height(0), resumed);
        let mut queue = VecDeque::from([Input::Peers((0..peers.len()).map(node).collect())]);
        let mut now = 0;
        while self.complete.is_none() && now < 120_000 && self.chunks.len() < chunks_max {
            let input = queue.pop_front().unwrap_or_else(|| {
                now += 1_000;
                Input::TimerFired
            });
            for effect in machine.step(now, input) {
                self.carry_out(peers, effect, &mut queue);
            }
        }
    }

    fn carry_out(&mut self, peers: &[Peer], effect: Effect, queue: &mut VecDeque<Input>) {
        match effect {
            Effect::Ask { to, bytes } => {
                self.asked += 1;
                let peer = &peers[usize::from(to.0[0]) - 50];
                let answer = match peer.ways {
                    Ways::Silent => None,
                    Ways::Sulks if is_about_terms(&bytes) => None,
                    Ways::Noise => Some(vec![255; 40]),
                    _ => sync::serve(peer, &self.network.unwrap(), &bytes),
                };
                let answered = |bytes: Vec<u8>| Input::Answered { from: to, bytes: Bytes::from(bytes) };
                queue.extend(answer.map(answered));
            }
            Effect::Begin { outline, parts, kept } => {
                self.chunks.retain(|index, _| kept.contains(index));
                (self.outline, self.parts) = (Some(*outline), parts);
            }
            Effect::Keep { index, bytes } => assert!(self.chunks.insert(index, bytes).is_none(), "kept twice"),
            Effect::Complete { terms, .. } => self.complete = Some(terms),
            Effect::NothingOffered => self.nothing += 1,
            Effect::Blame { node, cause } => self.blamed.push((usize::from(node.0[0]) - 50, cause)),
            Effect::SetTimer { .. } => {}
        }
    }

    /// What the chunks give, as storage restores it.
    fn restored(&self, chain: &Chain) -> MemoryState {
        let mut state = MemoryState::new();
        let (mut total, sums) = (Sum::default(), &self.parts[0].sums);
        for (index, bytes) in &self.chunks {
            let entries = snapshot::open(bytes, &sums[*index as usize]).unwrap();
            state.apply(&ChangeSet(entries.into_iter().map(|(key, value)| (key, Some(value))).collect()));
            total.plus(&sums[*index as usize]);
        }
        let header = self.outline.as_ref().unwrap().sealed.open().unwrap().header;
        let mut derived = ChangeSet::new();
        let mut put = |key, value| {
            derived.0.insert(key, Some(value));
            Ok(())
        };
        snapshot::derive(&state, &chain.context.network, &header, &total, &mut put).unwrap();
        state.apply(&derived);
        state
    }
}

/// The chain that most tests share: making it costs more than a run.
fn shared() -> &'static Chain {
    static CHAIN: std::sync::OnceLock<Chain> = std::sync::OnceLock::new();
    CHAIN.get_or_init(chain)
}

fn run(ways: &[Ways]) -> (&'static Chain, Run) {
    let honest = peer(shared(), Ways::Honest);
    let peers: Vec<_> = ways.iter().map(|ways| Peer { ways: *ways, ..honest.clone() }).collect();
    let mut run = Run::default();
    run.go(&shared().genesis, &peers, None, usize::MAX);
    (shared(), run)
}

#[test]
fn a_new_node_gets_the_state_from_genesis_and_peers_alone() {
    let (chain, run) = run(&[Ways::Honest; 5]);
    assert!(run.restored(chain) == chain.state);
    assert_eq!((run.complete.unwrap().len(), run.blamed.len(), run.nothing), (2, 0, 0));
    assert!(run.chunks.len() >= 3, "{} chunks", run.chunks.len());
}

#[test]
fn one_honest_peer_among_liars_of_every_kind_is_enough() {
    use Ways::{
        Empty, FalseChunks, FalseHeader, FalsePair, FalseSums, FalseTerms, Forgets, Honest, Noise, OldTerms, Silent,
    };
    let kinds = [Silent, Empty, OldTerms, FalseTerms, FalseHeader, FalseSums, FalsePair, FalseChunks, Noise, Forgets];
    for kind in kinds {
        for honest in [0, 2, 4] {
            let mut ways = [kind; 5];
            ways[honest] = Honest;
            let (chain, run) = run(&ways);
            assert!(run.complete.is_some(), "{kind:?} with {honest} honest: {:?}", run.blamed);
            assert!(run.restored(chain) == chain.state, "{kind:?}");
            assert!(run.blamed.iter().all(|(place, _)| *place != honest), "{kind:?}: {:?}", run.blamed);
            assert!(run.asked < 200, "{kind:?}: {} requests", run.asked);
        }
    }
}

#[test]
fn a_peer_that_offers_what_does_not_check_and_says_no_more_holds_nobody_up() {
    for ways in [[Ways::Sulks, Ways::Honest, Ways::Honest], [Ways::Honest, Ways::Honest, Ways::Sulks]] {
        let (chain, run) = run(&ways);
        assert!(run.complete.is_some(), "{ways:?}: {} requests, {:?}", run.asked, run.blamed);
        assert!(run.restored(chain) == chain.state);
        assert!(run.asked < 200, "{} requests", run.asked);
    }
}

#[test]
fn each_liar_is_named_with_what_it_did() {
    let cases = [
        (Ways::FalseTerms, "gave a change of committee that the one before did not sign"),
        (Ways::FalseHeader, "offered a snapshot that no committee signed"),
        (Ways::FalseSums, "gave sums that do not add up to the signed root"),
        (Ways::FalsePair, "gave sums that its own chunks do not fit"),
    ];
    for (kind, expected) in cases {
        let (_, run) = run(&[kind, Ways::Honest, Ways::Honest, Ways::Honest]);
        assert_eq!(run.blamed, vec![(0, expected)], "{kind:?}");
    }
    let (_, run) = run(&[Ways::Honest, Ways::FalseChunks, Ways::Honest, Ways::Honest]);
    assert_eq!(run.blamed, vec![(1, "gave a chunk that is not of its snapshot")]);
}

#[test]
fn a_node_that_was_stopped_goes_on_with_the_chunks_it_kept() {
    let chain = shared();
    let peers: Vec<_> = (0..3).map(|_| peer(chain, Ways::Honest)).collect();
    let mut first = Run::default();
    first.go(&chain.genesis, &peers, None, 2);
    assert_eq!((first.chunks.len(), first.complete.is_some()), (2, false));
    let kept = first.chunks.keys().copied().collect();
    let resumed = Resumed { outline: first.outline.clone().unwrap(), parts: first.parts.clone(), kept };
    first.go(&chain.genesis, &peers, Some(resumed.clone()), usize::MAX);
    assert!(first.restored(chain) == chain.state);

    // What is kept of a snapshot that nobody offers any more is let go of.
    let mut later = self::chain();
    later.end_epoch(false);
    let peers: Vec<_> = (0..3).map(|_| peer(&later, Ways::Honest)).collect();
    let mut second = Run { chunks: first.chunks.clone(), ..Run::default() };
    second.go(&later.genesis, &peers, Some(resumed), usize::MAX);
    assert!(second.restored(&later) == later.state);
}

#[test]
fn when_nobody_has_a_snapshot_it_is_said_and_asked_for_again() {
    let (chain, run) = run(&[Ways::Empty; 4]);
    assert!(run.complete.is_none() && run.nothing > 5 && run.asked < 200, "{} {}", run.nothing, run.asked);
    let height = views::head(&chain.state).unwrap().height;
    let peers = [peer(chain, Ways::Honest)];
    let mut machine = SnapshotSync::new(Config::default(), &chain.genesis, height, None);
    let mut run = Run { network: Some(chain.genesis.network()), ..Run::default() };
    let mut queue = VecDeque::from([Input::Peers(vec![node(0)])]);
    while let Some(input) = queue.pop_front() {
        for effect in machine.step(0, input) {
            run.carry_out(&peers, effect, &mut queue);
        }
    }
    assert_eq!((run.nothing, run.chunks.len()), (1, 0), "what is not above our own height is of no use");
}

#[test]
fn answers_that_nobody_waits_for_are_dropped() {
    let chain = shared();
    let mut machine = SnapshotSync::new(Config::default(), &chain.genesis, Height(0), None);
    let noise = Input::Answered { from: node(1), bytes: Bytes::from_static(b"noise") };
    assert_eq!(machine.step(0, noise.clone()), vec![Effect::SetTimer { after_millis: 1_000 }]);
    machine.step(0, Input::Peers(vec![node(0)]));
    assert_eq!(machine.step(0, noise), vec![Effect::SetTimer { after_millis: 1_000 }]);
    assert_eq!(machine.progress(), Progress::default());
    let _: &dyn StateRead = &chain.state;
}
