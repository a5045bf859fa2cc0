//! A small world of validators in virtual time: one thread, one seed, a network that delays and loses, a journal
//! whose unsynced tail is lost in a crash.
//!
//! Every message is encoded and decoded on its way. Every published message goes into one log, which knows at once
//! if a key has said two things. The world is the machine's caller, and obeys the rules of its effects.

#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use floe_consensus::{
    Certificate, Config, Effect, Equivocation, Error, Height, Input, JournalEntry, Machine, Message, MessageKind,
    NetworkId, Round, Timeouts, Timer, Validator, ValidatorKey, ValidatorSet, Verdict, VoteSigningKey,
};

pub const NETWORK: NetworkId = [7; 32];
pub const FIRST: Height = Height(1);

/// xorshift64*: enough luck for a test, and the same everywhere.
pub struct Luck(u64);

impl Luck {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}

pub fn signing_key(who: usize) -> VoteSigningKey {
    VoteSigningKey::from_secret([who as u8 + 1; 32])
}

pub fn key(who: usize) -> ValidatorKey {
    signing_key(who).public()
}

/// Validators `who` with power 1 each.
pub fn set_of(who: impl IntoIterator<Item = usize>) -> ValidatorSet {
    let validators = who.into_iter().map(|who| Validator { key: key(who), power: 1 });
    ValidatorSet::new(validators.collect()).unwrap()
}

pub fn config() -> Config {
    let mut config = Config::new(NETWORK);
    config.timeouts = Timeouts {
        propose: Duration::from_millis(500),
        prevote: Duration::from_millis(200),
        precommit: Duration::from_millis(200),
        rebroadcast: Duration::from_millis(700),
        growth_per_round: Duration::from_millis(100),
        max: Duration::from_secs(10),
    };
    config.value_bytes_max = 4096;
    config
}

/// A value is valid unless it says that it is bad.
pub fn verdict(value: &[u8]) -> Verdict {
    if value.starts_with(b"bad") { Verdict::Invalid } else { Verdict::Valid }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Honest,
    /// Hears and says nothing.
    Silent,
    /// Builds values that everyone else refuses.
    ProposesBad,
}

#[derive(Clone)]
pub struct Decision {
    pub round: Round,
    pub value: Bytes,
    pub certificate: Certificate,
    pub equivocations: Vec<Equivocation>,
}

pub struct Node {
    /// Whose key it has. Two nodes with one key are an equivocator with two mouths.
    pub who: usize,
    pub observer: bool,
    pub conduct: Conduct,
    /// Whom its messages reach; `None` is everybody.
    pub audience: Option<Vec<usize>>,
    pub machine: Machine,
    pub up: bool,
    pub lives: u64,
    pub synced: Vec<JournalEntry>,
    pub unsynced: Vec<JournalEntry>,
    pub decisions: BTreeMap<Height, Decision>,
    timers: BTreeMap<Timer, u64>,
    /// Effects carried out, and the one before which it falls.
    pub effects_done: u64,
    pub falls_at: Option<u64>,
    pub catch_ups: u64,
    pub misbehaviour_seen: u64,
}

enum Event {
    Deliver { to: usize, bytes: Vec<u8> },
    Timer { node: usize, timer: Timer, serial: u64 },
    Build { node: usize, height: Height, round: Round },
    Start { node: usize, height: Height },
    Synced { node: usize, height: Height, value: Bytes, certificate: Vec<u8> },
    LookAround { node: usize },
    Rise { node: usize },
}

pub struct World {
    pub now: u64,
    serial: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub luck: Luck,
    pub nodes: Vec<Node>,
    pub sets: Box<dyn Fn(Height) -> ValidatorSet>,
    pub loss_percent: u64,
    /// Everything that honest keys have said.
    said: BTreeMap<(ValidatorKey, Height, Round, MessageKind), Vec<u8>>,
    pub trace: blake3::Hasher,
    pub published: u64,
    pub target: Height,
}

impl World {
    pub fn new(seed: u64, validators: usize) -> Self {
        let mut world = Self {
            now: 0,
            serial: 0,
            queue: BTreeMap::new(),
            luck: Luck::new(seed),
            nodes: Vec::new(),
            sets: Box::new(move |_| set_of(0..validators)),
            loss_percent: 0,
            said: BTreeMap::new(),
            trace: blake3::Hasher::new(),
            published: 0,
            target: Height(u64::MAX),
        };
        for who in 0..validators {
            world.add(who, false);
        }
        world
    }

    pub fn add(&mut self, who: usize, observer: bool) -> usize {
        self.nodes.push(Node {
            who,
            observer,
            conduct: Conduct::Honest,
            audience: None,
            machine: Machine::new(config(), (!observer).then(|| signing_key(who))),
            up: true,
            lives: 0,
            synced: Vec::new(),
            unsynced: Vec::new(),
            decisions: BTreeMap::new(),
            timers: BTreeMap::new(),
            effects_done: 0,
            falls_at: None,
            catch_ups: 0,
            misbehaviour_seen: 0,
        });
        self.nodes.len() - 1
    }

    /// Lets everybody who acts decide all heights up to `target`; panics when time runs out.
    pub fn run_to(&mut self, target: Height) {
        self.target = target;
        for node in 0..self.nodes.len() {
            self.after(0, Event::Start { node, height: FIRST });
            let when = 100_000 + self.luck.below(100_000);
            self.after(when, Event::LookAround { node });
        }
        while !self.is_done() {
            let Some(((now, _), event)) = self.queue.pop_first() else { panic!("nothing left to happen") };
            self.now = now;
            assert!(now < 3_600_000_000, "no decision in an hour: {:?}", self.heights());
            self.happen(event);
        }
        self.check_agreement();
    }

    fn is_done(&self) -> bool {
        let acting = self.nodes.iter().filter(|node| node.conduct != Conduct::Silent);
        acting.into_iter().all(|node| node.up && node.decisions.contains_key(&self.target))
    }

    pub fn heights(&self) -> Vec<Option<Height>> {
        self.nodes.iter().map(|node| node.machine.height()).collect()
    }

    /// No two nodes decided differently, and every decision proves itself.
    fn check_agreement(&self) {
        for height in (FIRST.0..=self.target.0).map(Height) {
            let decisions: Vec<_> = self.nodes.iter().filter_map(|node| node.decisions.get(&height)).collect();
            for decision in &decisions {
                assert_eq!(decision.value, decisions[0].value, "height {height}");
                decision.certificate.verify(&NETWORK, &(self.sets)(height)).unwrap();
                assert!(decision.equivocations.iter().all(|evidence| evidence.verify(&NETWORK)));
            }
        }
    }

    fn after(&mut self, micros: u64, event: Event) {
        self.serial += 1;
        self.queue.insert((self.now + micros, self.serial), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, bytes } => {
                let message = Message::decode(&bytes, config().message_bytes_max()).unwrap();
                self.step(to, Input::Message(message));
            }
            Event::Timer { node, timer, serial } => {
                if self.nodes[node].timers.get(&timer) == Some(&serial) {
                    self.nodes[node].timers.remove(&timer);
                    self.step(node, Input::TimerFired(timer));
                }
            }
            Event::Build { node, height, round } => {
                let builder = &self.nodes[node];
                let honest = if builder.conduct == Conduct::ProposesBad { "bad" } else { "good" };
                let value = format!("{honest} {height} {round} by {node} in life {}", builder.lives);
                self.step(node, Input::ValueBuilt { height, round, value: value.into() });
            }
            Event::Start { node, height } => {
                if self.nodes[node].up && self.nodes[node].machine.height() < Some(height) {
                    let validators = (self.sets)(height);
                    self.step(node, Input::StartHeight { height, validators });
                }
            }
            Event::Synced { node, height, value, certificate } => {
                let certificate = Certificate::decode(&certificate, 1 << 20).unwrap();
                self.step(node, Input::Synced { height, value, certificate });
            }
            Event::LookAround { node } => {
                self.look_around(node);
                self.after(100_000, Event::LookAround { node });
            }
            Event::Rise { node } => self.rise(node),
        }
    }

    /// Catch-up: whoever sees that another has decided its height asks it.
    fn look_around(&mut self, node: usize) {
        let Some(height) = self.nodes[node].machine.height() else { return };
        if !self.nodes[node].up || self.nodes[node].machine.is_decided() {
            return;
        }
        let known = self.nodes.iter().find_map(|other| other.decisions.get(&height).cloned());
        if let Some(decision) = known {
            self.nodes[node].catch_ups += 1;
            let certificate = decision.certificate.encode();
            self.after(20_000, Event::Synced { node, height, value: decision.value, certificate });
        }
    }

    pub fn step(&mut self, index: usize, input: Input) {
        let node = &mut self.nodes[index];
        if !node.up || node.conduct == Conduct::Silent {
            return;
        }
        let gullible = node.conduct == Conduct::ProposesBad;
        let mut check = |_, value: &[u8]| if gullible { Verdict::Valid } else { verdict(value) };
        match node.machine.step(input, &mut check) {
            Ok(effects) => self.carry_out(index, effects),
            // A twin hears its other half and may find out.
            Err(Error::WouldEquivocate { .. } | Error::Stopped) if node.audience.is_some() => {}
            Err(error) => panic!("node {index} at {}: {error}", self.now),
        }
    }

    fn carry_out(&mut self, index: usize, effects: Vec<Effect>) {
        let decided = effects.iter().position(|effect| matches!(effect, Effect::Decided { .. }));
        assert!(decided.is_none_or(|place| place + 1 == effects.len()), "the decision is not the last effect");
        for effect in effects {
            self.trace.update(&self.now.to_le_bytes());
            self.trace.update(&[index as u8]);
            match &effect {
                Effect::Publish(message) => self.trace.update(&message.encode()),
                Effect::Journal(entry) => self.trace.update(&entry.bytes),
                other => self.trace.update(format!("{other:?}").as_bytes()),
            };
            let node = &mut self.nodes[index];
            node.effects_done += 1;
            if node.falls_at == Some(node.effects_done) {
                return self.fall(index);
            }
            self.do_one(index, effect);
        }
    }

    fn do_one(&mut self, index: usize, effect: Effect) {
        let node = &mut self.nodes[index];
        match effect {
            Effect::Journal(entry) => node.unsynced.push(entry),
            Effect::Publish(message) => {
                node.synced.append(&mut node.unsynced);
                self.publish(index, message);
            }
            Effect::SetTimer { timer, after } => {
                node.timers.insert(timer, self.serial + 1);
                let serial = self.serial + 1;
                self.after(after.as_micros() as u64, Event::Timer { node: index, timer, serial });
            }
            Effect::CancelTimer(timer) => {
                node.timers.remove(&timer);
            }
            Effect::CancelAllTimers => node.timers.clear(),
            Effect::BuildValue { height, round } => self.after(2_000, Event::Build { node: index, height, round }),
            Effect::Decided { height, round, value, certificate, equivocations } => {
                assert_eq!(node.machine.height(), Some(height));
                let decision = Decision { round, value, certificate, equivocations };
                assert!(node.decisions.insert(height, decision).is_none(), "height {height} decided twice");
                node.unsynced.clear();
                node.synced.clear();
                let next = Height(height.0 + 1);
                self.after(1_000, Event::Start { node: index, height: next });
            }
            Effect::Misbehaved { .. } => node.misbehaviour_seen += 1,
            Effect::Behind { height } => assert!(Some(height) > node.machine.height()),
            Effect::SyncRefused { .. } | Effect::Dropped(_) => {}
        }
    }

    fn publish(&mut self, from: usize, message: Message) {
        self.published += 1;
        let bytes = message.encode();
        let twins: BTreeSet<_> = self.nodes.iter().filter(|n| n.audience.is_some()).map(|n| key(n.who)).collect();
        if let Some(sender) = message.sender().filter(|sender| !twins.contains(sender)) {
            let act = (sender, message.height(), message.round(), message.kind());
            let first = self.said.entry(act).or_insert_with(|| bytes.clone());
            assert_eq!(*first, bytes, "two statements by {sender}: {message:?}");
        }
        for to in 0..self.nodes.len() {
            let heard = self.nodes[from].audience.as_ref().is_none_or(|audience| audience.contains(&to));
            let own = self.nodes[to].who == self.nodes[from].who;
            if own || !heard || self.luck.below(100) < self.loss_percent {
                continue;
            }
            let delay = 5_000 + self.luck.below(25_000);
            self.after(delay, Event::Deliver { to, bytes: bytes.clone() });
        }
    }

    /// A crash: what is not synced may be lost, from some point on.
    pub fn fall(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.up = false;
        node.timers.clear();
        let kept = self.luck.below(node.unsynced.len() as u64 + 1) as usize;
        let kept: Vec<_> = node.unsynced.drain(..).take(kept).collect();
        node.synced.extend(kept);
        let down_for = 1_000 + self.luck.below(300_000);
        self.after(down_for, Event::Rise { node: index });
    }

    fn rise(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.up = true;
        node.lives += 1;
        node.machine = Machine::new(config(), (!node.observer).then(|| signing_key(node.who)));
        let height = node.decisions.last_key_value().map_or(FIRST, |(height, _)| Height(height.0 + 1));
        let validators = (self.sets)(height);
        let effects = node.machine.start_replayed(height, validators, node.synced.clone()).unwrap();
        self.carry_out(index, effects);
    }
}
