//! The world of a run: nodes, network, time, and what happens next.
//!
//! One event at a time is taken from the queue and given to whoever it is for. This file only says what goes where.

/// The ledger as a node's data path sees it: answers out of the newest state on its own disk.
macro_rules! live_view {
    ($live:expr, $state:expr, $context:expr) => {
        floe_machines::ledger_view::LedgerAt::new(
            &$state,
            &$context,
            $live.coordinator.head().epoch,
            $live.coordinator.committee(),
        )
    };
}

mod calm;
mod challenges;
mod committees;
mod coordination;
pub(crate) mod gateway;
mod gossip;
mod handover;
pub(crate) mod holder;
mod operators;
mod process;
mod quorum;
mod reading;
pub(crate) mod repair;
pub(crate) mod requests;
mod snapshots;
mod streams;
mod terms;
mod workload;

use crate::chance::{Chance, Stream};
use crate::identity::{self, GENESIS_MILLIS};
use crate::laws::{Laws, Violation};
use crate::mutant::Mutant;
use crate::network::Network;
use crate::node::Node;
use crate::plan::{Plan, Villain};
use crate::queue::Queue;
use crate::report::{Outcome, Stats};
use crate::scenario::Scenario;
use crate::trace::{Detail, Trace};
use bytes::Bytes;
use floe_ledger::{Context, MemoryState};
use floe_machines::coordinator::{Timer, Topic};
use floe_types::laws::Law;
use floe_types::{Genesis, NodeId};
use std::collections::BTreeSet;

/// What a run is asked to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// Length of the storm in epochs.
    pub epochs: u64,
    /// A defect, to see whether it is caught.
    pub mutant: Option<Mutant>,
    /// The laws that are watched.
    pub laws: Vec<Law>,
    /// How much is remembered in words.
    pub detail: Detail,
    /// What the run is for.
    pub scenario: Scenario,
}

/// The usual length of a storm.
pub const EPOCHS_DEFAULT: u64 = 8;

impl Options {
    /// A run of `seed` as it is usually made.
    #[must_use]
    pub fn of(seed: u64) -> Options {
        let (laws, detail) = (Law::ALL.to_vec(), Detail::Hash);
        Options { seed, epochs: EPOCHS_DEFAULT, mutant: None, laws, detail, scenario: Scenario::Mixed }
    }

    /// A run that hunts `mutant` with the checker of its law and no other.
    #[must_use]
    pub fn hunting(seed: u64, mutant: Mutant) -> Options {
        let scenario = mutant.scenario();
        Options { mutant: Some(mutant), laws: vec![mutant.law()], scenario, ..Options::of(seed) }
    }
}

/// Runs one seed from beginning to end.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    let mut world = World::new(options);
    world.begin();
    while world.violation.is_none() && !world.is_over {
        let Some((now, event)) = world.queue.take_next() else {
            world.violated(Violation::stuck("nothing is left to happen"));
            break;
        };
        world.now = now;
        world.stats.events += 1;
        world.happen(event);
    }
    world.finish()
}

/// What is about to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A node rises, for the first time or again.
    Rise { node: usize },
    /// A gossip or direct message arrives.
    Message { to: usize, from: usize, topic: Topic, id: [u8; 16], bytes: Bytes },
    /// A request or an answer to one arrives.
    Request(requests::RequestEvent),
    /// A timer of the coordinator runs out.
    Timer { node: usize, life: u64, timer: Timer, serial: u64 },
    /// One machine of a node tells another.
    Local { node: usize, life: u64, local: Local },
    /// Something about a stream of fragments.
    Stream(streams::StreamEvent),
    /// What a member says of a slot arrives.
    Observation { to: usize, bytes: Bytes },
    /// Challenges look at the clock.
    ChallengeTick { node: usize, life: u64 },
    /// Custody or gateway look at the clock.
    DataTick { node: usize, life: u64 },
    /// A fault of the plan.
    Fault(process::Fault),
    /// Somebody wants something.
    Work(workload::Work),
    /// An operator does something.
    Deed(operators::Deed),
    /// The reads after a term are looked at.
    TermWatch,
    /// A timer of an arriving snapshot runs out.
    ArrivingTimer { node: usize, life: u64, serial: u64 },
    /// The storm is over.
    CalmBegins,
    /// The calm is looked at.
    Watch,
}

/// What one machine of a node tells another, through what would be a mailbox.
#[derive(Debug)]
pub(crate) enum Local {
    /// To the coordinator: submit this.
    Submit { purpose: gateway::Purpose, action: floe_ledger::Action },
    /// To the coordinator: this is to be said to the ledger.
    Duty { action: floe_ledger::Action },
    /// To the coordinator: pass this on.
    Relay { transaction: Box<floe_ledger::SignedTransaction> },
    /// To custody and gateway: a block is durable here.
    Committed(coordination::BlockNews),
    /// To the gateway: what became of a submission.
    Told { purpose: gateway::Purpose, news: gateway::SubmissionNews },
    /// To the gateway: a blob is encoded.
    Encoded { upload: gateway::UploadId },
}

/// Everything.
pub(crate) struct World {
    pub plan: Plan,
    pub mutant: Option<Mutant>,
    pub context: Context,
    pub now: u64,
    pub queue: Queue<Event>,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub laws: Laws,
    pub trace: Trace,
    pub stats: Stats,
    pub violation: Option<Violation>,
    pub is_over: bool,
    pub process_luck: Chance,
    pub work_luck: Chance,
    pub villain_luck: Chance,
    pub requests: requests::Requests,
    pub streams: streams::Streams,
    pub workload: workload::Workload,
    pub committees: committees::Committees,
    pub term_reads: terms::TermReads,
    pub quorum: quorum::QuorumTrial,
    /// The state with which the network began.
    pub beginning: MemoryState,
    pub genesis: Genesis,
    pub calm: Option<calm::Calm>,
    pub is_calm: bool,
    pub next_serial: u64,
}

impl World {
    fn new(options: &Options) -> World {
        let mut plan = Plan::of(options.scenario, options.seed, options.epochs);
        if let Some(mutant) = options.mutant {
            mutant.adjust(&mut plan);
        }
        let genesis = identity::genesis(&plan);
        let (seed, weather) = (options.seed, plan.weather);
        let mut world = World {
            mutant: options.mutant,
            context: Context::of(&genesis),
            now: GENESIS_MILLIS,
            queue: Queue::default(),
            nodes: Vec::new(),
            network: Network::new(seed, weather),
            laws: Laws::new(&options.laws, &plan, &genesis),
            trace: Trace::new(options.detail, GENESIS_MILLIS),
            stats: Stats::default(),
            violation: None,
            is_over: false,
            process_luck: Chance::new(seed, Stream::Process),
            work_luck: Chance::new(seed, Stream::Workload),
            villain_luck: Chance::new(seed, Stream::Villains),
            requests: requests::Requests::default(),
            streams: streams::Streams::default(),
            workload: workload::Workload::default(),
            committees: committees::Committees::default(),
            term_reads: terms::TermReads::default(),
            quorum: quorum::QuorumTrial::default(),
            beginning: process::begun(&genesis),
            calm: None,
            is_calm: false,
            next_serial: 0,
            plan,
            genesis,
        };
        world.populate();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            let at = self.now + self.process_luck.below(200);
            self.queue.plan(at, Event::Rise { node });
        }
        self.plan_faults();
        self.plan_work();
        self.plan_deeds();
        let calm_at = self.now + self.plan.storm_epochs * self.plan.epoch_millis;
        self.queue.plan(calm_at, Event::CalmBegins);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Rise { node } => self.rise(node),
            Event::Message { to, from, topic, id, bytes } => self.message_arrives(to, from, topic, id, bytes),
            Event::Request(event) => self.request_happens(event),
            Event::Timer { node, life, timer, serial } => self.timer_fires((node, life), timer, serial),
            Event::Local { node, life, local } => {
                if self.lives(node, life) {
                    self.local(node, local);
                }
            }
            Event::Observation { to, bytes } => self.observation_arrives(to, bytes),
            Event::ChallengeTick { node, life } => self.challenge_tick(node, life),
            Event::Stream(event) => self.stream_happens(event),
            Event::DataTick { node, life } => self.data_tick(node, life),
            Event::Fault(fault) => self.fault(fault),
            Event::Work(work) => self.work(work),
            Event::Deed(deed) => self.deed(deed),
            Event::ArrivingTimer { node, life, serial } => self.arriving_timer((node, life), serial),
            Event::TermWatch => self.look_at_term_reads(),
            Event::CalmBegins => self.calm_begins(),
            Event::Watch => self.watch(),
        }
    }

    fn local(&mut self, node: usize, local: Local) {
        match local {
            Local::Submit { purpose, action } => self.submit(node, purpose, action),
            Local::Duty { action } => self.duty(node, action),
            Local::Relay { transaction } => self.relay(node, *transaction),
            Local::Committed(news) => {
                self.custody_hears(node, &news);
                self.gateway_hears(node, &news);
                self.challenge_step(node, floe_machines::challenges::Input::Advanced);
            }
            Local::Told { purpose, news } => self.gateway_told(node, purpose, news),
            Local::Encoded { upload } => self.encoded(node, upload),
        }
    }

    /// Tells another machine of the same node, at once but not now.
    pub fn tell(&mut self, node: usize, local: Local) {
        let life = self.nodes[node].life;
        self.queue.plan(self.now, Event::Local { node, life, local });
    }

    /// Whether node is up and still in this life.
    pub fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].live.is_some()
    }

    /// A number that was not used before in this run.
    pub fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// The node that `asker` reaches by this name: of an equivocator's two mouths, the one that speaks to it.
    pub fn reach(&self, asker: usize, id: &NodeId) -> Option<usize> {
        let who = identity::node_of(id)?;
        let named = self.nodes.iter().filter(|node| node.who == who);
        named.filter(|node| node.is_in_touch_with(asker)).map(|node| node.index).next()
    }

    /// The first law broken ends the run.
    pub fn violated(&mut self, violation: Violation) {
        let words = violation.to_string();
        self.trace.say(self.now, || format!("VIOLATION {words}"));
        self.violation.get_or_insert(violation);
    }

    /// Carries a checker's finding.
    pub fn judge(&mut self, finding: Result<(), Violation>) {
        if let Err(violation) = finding {
            self.violated(violation);
        }
    }

    /// Nodes that keep the protocol and are up.
    pub fn honest_up(&self) -> Vec<usize> {
        self.nodes.iter().filter(|node| node.is_honest() && node.is_up()).map(|node| node.index).collect()
    }

    /// Nodes through which clients store and read: honest in everything, up.
    pub fn gateways(&self) -> Vec<usize> {
        let mut nodes = self.honest_up();
        let villains: BTreeSet<usize> = self.plan.villains.iter().map(|villain| villain.node()).collect();
        nodes.retain(|node| !villains.contains(node) || self.is_silent_later(*node));
        nodes
    }

    fn is_silent_later(&self, node: usize) -> bool {
        self.plan.villains.iter().any(|villain| matches!(villain, Villain::Silent { node: it, .. } if *it == node))
    }

    fn finish(mut self) -> Outcome {
        if self.violation.is_none() {
            let finding = self.laws.at_the_end(&self.nodes);
            self.judge(finding);
        }
        self.count_at_the_end();
        Outcome {
            seed: self.plan.seed,
            plan: self.plan,
            violation: self.violation,
            stats: self.stats,
            digest: self.trace.digest(),
            tail: self.trace.into_tail(),
        }
    }

    fn count_at_the_end(&mut self) {
        self.stats.seeds = 1;
        self.stats.virtual_millis = self.now - GENESIS_MILLIS;
        let (heights, epochs) = self.laws.heights_and_epochs();
        (self.stats.heights, self.stats.epochs) = (heights, epochs);
        self.stats.punished = self.laws.punished();
        self.stats.planned = self.laws.planned();
        self.stats.repair_frost = self.laws.paid_for_repair();
        let counts = self.network.counts;
        self.stats.messages = counts.sent;
        self.stats.lost += counts.lost;
        self.stats.cut += counts.cut;
        self.stats.doubled += counts.doubled;
        self.stats.held += counts.held;
        for class in &self.plan.classes {
            *self.stats.classes.entry(*class).or_insert(0) += 1;
        }
    }
}
