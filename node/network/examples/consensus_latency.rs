//! How fast votes travel: a committee in one process that only plays the rhythm of consensus.
//!
//! ```text
//!   cargo run --release -p floe-network --example consensus_latency -- [members] [heights] [value bytes]
//! ```
//!
//! Per height: the proposer publishes a value, everybody answers with a prevote, and with a precommit when prevotes of
//! more than two thirds are in; a height is decided when as many precommits are. No signatures, no disk: what remains
//! is what the network costs. Once directly, once by gossip.

#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use floe_network::{Config, Event, LanDiscovery, Limits, MemberAddress, MemoryPeerBook, Network, Topic};
use floe_types::NetworkId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PROPOSAL: u8 = 0;
const PREVOTE: u8 = 1;
const PRECOMMIT: u8 = 2;

/// One member of the pretended consensus.
struct Member {
    index: usize,
    members: usize,
    value_bytes: usize,
    network: Network,
    height: u64,
    proposed: bool,
    votes: BTreeMap<(u64, u8), usize>,
    decided: Vec<Instant>,
}

impl Member {
    fn quorum(&self) -> usize {
        self.members * 2 / 3 + 1
    }

    fn send(&self, kind: u8, height: u64, padding: usize) {
        let mut message = vec![0; 9 + padding];
        message[0] = kind;
        message[1..9].copy_from_slice(&height.to_le_bytes());
        self.network.try_publish(Topic::Consensus, message).unwrap();
    }

    fn start_height(&mut self) {
        self.proposed = false;
        if self.height as usize % self.members == self.index {
            self.send(PROPOSAL, self.height, self.value_bytes);
            self.count(PROPOSAL, self.height);
        } else if self.votes.contains_key(&(self.height, PROPOSAL)) {
            self.step(PROPOSAL);
        }
    }

    /// Counts a message, own ones included.
    fn count(&mut self, kind: u8, height: u64) {
        *self.votes.entry((height, kind)).or_default() += 1;
        if height == self.height {
            self.step(kind);
        }
    }

    fn step(&mut self, kind: u8) {
        let count = self.votes.get(&(self.height, kind)).copied().unwrap_or_default();
        match kind {
            PROPOSAL if !self.proposed => {
                self.proposed = true;
                self.send(PREVOTE, self.height, 100);
                self.count(PREVOTE, self.height);
            }
            PREVOTE if count == self.quorum() => {
                self.send(PRECOMMIT, self.height, 100);
                self.count(PRECOMMIT, self.height);
            }
            PRECOMMIT if count >= self.quorum() => {
                self.decided.push(Instant::now());
                let height = self.height;
                self.votes.retain(|(of, _), _| *of > height);
                self.height += 1;
                self.start_height();
                for kind in [PREVOTE, PRECOMMIT] {
                    if self.votes.get(&(self.height, kind)).is_some_and(|count| *count >= self.quorum()) {
                        self.step(kind);
                    }
                }
            }
            _ => {}
        }
    }
}

fn start(seed: usize, limits: &Limits) -> (Network, floe_network::Events) {
    Network::start(Config {
        identity_secret: [u8::try_from(seed + 1).unwrap(); 32],
        network: NetworkId([9; 32]),
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        bootstrap: Vec::new(),
        lan_discovery: LanDiscovery::Off,
        limits: limits.clone(),
        peer_book: Box::new(MemoryPeerBook::default()),
    })
    .unwrap()
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn run(name: &str, members: usize, heights: usize, value_bytes: usize, limits: Limits) {
    let started: Vec<_> = (0..members).map(|seed| start(seed, &limits)).collect();
    let addresses: Vec<MemberAddress> = started
        .iter()
        .map(|(network, _)| MemberAddress { node: network.node(), addresses: network.listen_addresses().to_vec() })
        .collect();
    let began = Instant::now();
    for (network, _) in &started {
        network.set_members(addresses.clone());
    }
    for (network, _) in &started {
        let mut peers = network.watch_peers();
        peers.wait_for(|peers| peers.iter().filter(|peer| peer.connected).count() == members - 1).await.unwrap();
    }
    println!("{name}: all connected after {:?}", began.elapsed());
    // Streams and meshes settle.
    tokio::time::sleep(Duration::from_secs(3)).await;

    let (cpu_before, networks) = (cpu(), started.iter().map(|(network, _)| network.clone()).collect::<Vec<_>>());
    let mut tasks = Vec::new();
    for (index, (network, mut events)) in started.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            let mut member = Member {
                index,
                members,
                value_bytes,
                network,
                height: 0,
                proposed: false,
                votes: BTreeMap::new(),
                decided: vec![Instant::now()],
            };
            member.start_height();
            while member.decided.len() <= heights {
                let next = tokio::time::timeout(Duration::from_secs(10), events.recv());
                let Ok(Some(event)) = next.await else {
                    let counters = member.network.counters().values();
                    panic!("member {index} is stuck at height {}: {counters:?}", member.height);
                };
                if let Event::Gossip { bytes, verdict, .. } = event {
                    let bytes: Bytes = bytes;
                    let (kind, height) = (bytes[0], u64::from_le_bytes(bytes[1..9].try_into().unwrap()));
                    verdict.accept();
                    if height >= member.height {
                        member.count(kind, height);
                    }
                }
            }
            // Others may still need what this one has sent.
            tokio::time::sleep(Duration::from_millis(500)).await;
            member.decided
        }));
    }
    let mut decided = Vec::new();
    for task in tasks {
        decided.push(task.await.unwrap());
    }
    let spent = cpu().saturating_sub(cpu_before);
    report(name, &decided, heights, spent);
    for network in networks {
        network.shutdown().await;
    }
}

fn report(name: &str, decided: &[Vec<Instant>], heights: usize, cpu: Duration) {
    let first = &decided[0];
    let mut gaps: Vec<Duration> = first.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort();
    let whole = first[heights] - first[0];
    println!(
        "{name}: {:.0} heights/s, p50 {:?}, p95 {:?}, CPU {:.0} us per decision and node",
        heights as f64 / whole.as_secs_f64(),
        gaps[gaps.len() / 2],
        gaps[gaps.len() * 95 / 100],
        cpu.as_secs_f64() * 1e6 / (heights * decided.len()) as f64,
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let members = arguments.next().unwrap_or(7);
    let heights = arguments.next().unwrap_or(1000);
    let value_bytes = arguments.next().unwrap_or(256);
    println!("{members} members, {heights} heights, values of {value_bytes} bytes");
    run("direct", members, heights, value_bytes, Limits::default()).await;
    let mut limits = Limits::default();
    limits.messages.direct_members_max = 0;
    run("gossip", members, heights, value_bytes, limits).await;
}
