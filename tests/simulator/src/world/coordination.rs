//! The shell round a node's coordinator: inputs in, effects carried out in order, as the node's actor does it.
//!
//! Journal entries are gathered and written with one sync before the next message leaves. A commit is one batch, synced
//! with the journal's next entry, answered at once. Between any two effects the node may fall.

use super::requests::Question;
use super::{Event, Local, World};
use crate::disk::Sync;
use crate::laws::Violation;
use crate::mutant::Mutant;
use crate::plan::FaultClass;
use bytes::Bytes;
use floe_consensus::Message;
use floe_ledger::{Event as LedgerEvent, SignedTransaction};
use floe_machines::coordinator::{Commit, Effect, Input, Memory, Timer, Topic};
use floe_machines::wire::sync::DecidedBlock;
use floe_types::{BlobId, RegistrationNumber, TransactionId};
use std::collections::VecDeque;

/// What a block means for the data path of the node that wrote it.
#[derive(Debug, Default)]
pub(crate) struct BlockNews {
    /// Whether it began an epoch.
    pub epoch_began: Option<floe_types::Epoch>,
    /// Blobs it certified.
    pub certified: Vec<BlobId>,
    /// Registrations it made, by the transaction that asked.
    pub registered: Vec<(TransactionId, RegistrationNumber)>,
}

/// A message in words.
pub(super) fn words(topic: Topic, bytes: &[u8]) -> String {
    match topic {
        Topic::Consensus => Message::decode(bytes, usize::MAX).map_or("noise".to_owned(), |message| {
            let key = |key: floe_consensus::ValidatorKey| format!("key {:02x}{:02x}", key.0[0], key.0[1]);
            let sender = message.sender().map_or("many".to_owned(), key);
            format!("{:?} by {sender} at {}/{}", message.kind(), message.height(), message.round())
        }),
        Topic::Transactions => SignedTransaction::decode(bytes).map_or("noise".to_owned(), |signed| {
            let action = format!("{:?}", signed.transaction.action);
            format!("transaction {} {}", signed.id().short(), action.split([' ', '{']).next().unwrap_or_default())
        }),
    }
}

impl World {
    /// Steps the node's coordinator, and again with whatever follows from its effects inside the node.
    pub(super) fn coordinate(&mut self, node: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(next) = inputs.pop_front() {
            let (now, it) = (self.nodes[node].clock(self.now), &mut self.nodes[node]);
            let Some(live) = it.live.as_mut() else { return };
            match live.coordinator.step(now, &it.disk.state, next) {
                Ok(effects) => {
                    for effect in effects {
                        if self.violation.is_some() || self.falls_now(node) {
                            return;
                        }
                        match self.carry_out(node, effect) {
                            // Nothing is stepped between a commit and its answer.
                            Some(Input::Committed) => inputs.push_front(Input::Committed),
                            Some(answer) => inputs.push_back(answer),
                            None => {}
                        }
                    }
                }
                Err(error) => return self.stopped(node, &error.to_string()),
            }
        }
    }

    /// The machine cannot go on. A villain may find out what it did; an honest node must never come to that.
    pub(super) fn stopped(&mut self, node: usize, reason: &str) {
        self.trace.say(self.now, || format!("{node} stops: {reason}"));
        if self.nodes[node].is_honest() {
            let who = self.nodes[node].who;
            self.violated(Violation::stopped(who, reason));
        } else {
            self.nodes[node].disk.forget_journal();
            self.fall(node, 500);
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Journal(entry) => {
                self.nodes[node].live.as_mut()?.journal.push(entry);
            }
            Effect::Publish { topic, bytes } => {
                self.write_journal(node);
                self.says(node, topic, &bytes);
                self.publish(node, topic, &bytes);
            }
            Effect::Judge { token: _, judgement } => self.judged(node, judgement),
            Effect::SetTimer { timer, after_millis } => {
                let serial = self.serial();
                let live = self.nodes[node].live.as_mut()?;
                live.timers.insert(timer, serial);
                let life = self.nodes[node].life;
                self.queue.plan(self.now + after_millis, Event::Timer { node, life, timer, serial });
            }
            Effect::CancelTimer(timer) => {
                self.nodes[node].live.as_mut()?.timers.remove(&timer);
            }
            Effect::CancelConsensusTimers => {
                self.nodes[node].live.as_mut()?.timers.retain(|timer, _| *timer == Timer::Wake);
            }
            Effect::Commit(commit) => {
                self.commit(node, *commit);
                return Some(Input::Committed);
            }
            Effect::AskStatus { to, nonce, bytes } => self.ask(node, to, Question::Status { nonce }, bytes),
            Effect::FetchBlocks { from, bytes } => {
                self.stats.catch_ups += 1;
                self.ask(node, from, Question::Blocks, bytes);
            }
            Effect::Submitted { ticket, result } => self.submitted(node, ticket, result),
            Effect::Settled { ticket, outcome } => self.settled(node, ticket, outcome),
            Effect::MakeVoteKey { term } => return Some(self.make_vote_key(node, term)),
            Effect::KeepVoteKeys { keys } => {
                if self.mutant != Some(Mutant::KeepPastKeys) {
                    self.nodes[node].secrets.retain(|public, _| keys.iter().any(|key| key.0 == *public));
                }
            }
            Effect::FarBehind { height } => {
                self.trace.say(self.now, || format!("{node} is far behind height {height}"));
                self.far_behind(node);
            }
            Effect::MemoryLost { below } => {
                self.trace.say(self.now, || format!("{node} may have forgotten votes below height {below}"));
                self.nodes[node].disk.memory = Memory::LostBelow(below);
            }
            Effect::MemoryWhole => {
                self.trace.say(self.now, || format!("{node} has nothing to remember any more"));
                self.nodes[node].disk.memory = Memory::Kept;
            }
            Effect::Blame { node: blamed, cause } => {
                self.stats.blames += 1;
                self.trace.say(self.now, || format!("{node} blames {}: {cause}", blamed.short()));
            }
        }
        None
    }

    /// A fresh secret for votes, kept at once. The two mouths of an equivocator make the same one.
    fn make_vote_key(&mut self, node: usize, term: u64) -> Input {
        let it = &mut self.nodes[node];
        it.keys_made += 1;
        let time = if it.is_honest() { it.keys_made } else { 0 };
        let secret = crate::identity::made_secret(it.who, term, time);
        let key = crate::identity::vote_key(secret);
        it.secrets.insert(key.0, secret);
        self.laws.key_made(it.who, key);
        self.stats.vote_keys += 1;
        self.trace.say(self.now, || format!("{node} makes key {:02x}{:02x} for term {term}", key.0[0], key.0[1]));
        Input::VoteKeyMade { term, secret }
    }

    /// Writes what was gathered for the journal, synced. Nothing gathered, nothing synced: as the actor does it.
    fn write_journal(&mut self, node: usize) {
        let sync = if self.mutant == Some(Mutant::PublishBeforeSync) { Sync::Never } else { Sync::Now };
        let it = &mut self.nodes[node];
        if let Some(live) = it.live.as_mut() {
            let entries = std::mem::take(&mut live.journal);
            if !entries.is_empty() {
                it.disk.append_journal(entries, sync);
            }
        }
    }

    /// What an honest node says is written down: it may never say otherwise.
    fn says(&mut self, node: usize, topic: Topic, bytes: &Bytes) {
        self.trace.mix(self.now, 5, node, bytes);
        self.trace.say(self.now, || format!("{node} says: {}", words(topic, bytes)));
        if self.nodes[node].is_honest() {
            let who = self.nodes[node].who;
            let finding = self.laws.said(who, topic, bytes);
            self.judge(finding);
        }
    }

    pub(super) fn timer_fires(&mut self, (node, life): (usize, u64), timer: Timer, serial: u64) {
        if !self.lives(node, life) {
            return;
        }
        let Some(live) = self.nodes[node].live.as_mut() else { return };
        if live.timers.get(&timer) != Some(&serial) {
            return;
        }
        live.timers.remove(&timer);
        self.trace.mix(self.now, 6, node, &serial.to_be_bytes());
        if timer != Timer::Wake {
            self.trace.say(self.now, || format!("{node} waited long enough: {timer:?}"));
        }
        self.coordinate(node, Input::TimerFired(timer));
    }

    /// One batch: block, certificate, changes, end of the journal. Then the laws look at it.
    fn commit(&mut self, node: usize, mut commit: Commit) {
        self.meddle(node, &mut commit);
        if commit.round > 0
            && let Ok(head) = floe_ledger::views::head(&self.nodes[node].disk.state)
        {
            self.rounds_passed(head.epoch, &commit.block);
        }
        let it = &mut self.nodes[node];
        if let Some(live) = it.live.as_mut() {
            live.journal.retain(|entry| entry.height.0 > commit.height.0);
        }
        let decided = DecidedBlock { block: commit.block.to_vec(), certificate: commit.certificate.clone() };
        it.disk.commit(commit.height, decided, &commit.changes);
        self.stats.commits += 1;
        self.stats.rounds += u64::from(commit.round);
        self.stats.equivocations += commit.equivocations.len() as u64;
        self.trace.mix(self.now, 7, node, &commit.block);
        let (height, round, count) = (commit.height, commit.round, commit.transactions);
        let offences = commit.equivocations.len();
        self.trace.say(self.now, || {
            format!("{node} commits {height} of round {round} with {count} transactions, has seen {offences} offences")
        });
        if self.nodes[node].is_honest() {
            let finding = self.laws.committed(&self.nodes[node], &commit);
            self.judge(finding);
        }
        let news_of_epoch = commit.events.iter().any(|event| matches!(event, LedgerEvent::EpochEnded { .. }));
        if news_of_epoch && self.plan.has(FaultClass::Snapshots) {
            self.nodes[node].disk.offer_snapshot(commit.height);
        }
        if news_of_epoch && self.nodes[node].is_honest() {
            self.count_heads(&commit.block);
        }
        self.look_at_committees(node, &commit);
        let news = news(&commit);
        self.tell(node, Local::Committed(news));
    }

    /// Mutants that change what is written.
    fn meddle(&mut self, node: usize, commit: &mut Commit) {
        const TAMPERED_HEIGHT: u64 = 5;
        let Some(mutant) = self.mutant else { return };
        let its_turn = match mutant {
            Mutant::CreditTwice => commit.height.0 == TAMPERED_HEIGHT,
            Mutant::TamperWithState => commit.height.0 == TAMPERED_HEIGHT && node == 0,
            Mutant::KeepOtherVerdicts => node == 0,
            Mutant::PlanTwice | Mutant::ForgiveDebts => true,
            Mutant::TurnAllSeats => commit.events.iter().any(|event| matches!(event, LedgerEvent::TermBegan { .. })),
            Mutant::ForgiveInAdvance if commit.height.0 == 1 => {
                for villain in &self.plan.villains {
                    let key = crate::identity::vote_key(crate::identity::first_secret(villain.node()));
                    Mutant::forgive(&key.0, &mut commit.changes);
                }
                false
            }
            _ => false,
        };
        if its_turn {
            mutant.meddle(&self.nodes[node].disk.state, &mut commit.changes);
        }
    }
}

fn news(commit: &Commit) -> BlockNews {
    let mut news = BlockNews::default();
    for event in &commit.events {
        match event {
            LedgerEvent::Registered { transaction, registration, .. } => {
                news.registered.push((*transaction, *registration));
            }
            LedgerEvent::Certified { blob, .. } => news.certified.push(*blob),
            LedgerEvent::EpochEnded { epoch, .. } => news.epoch_began = Some(epoch.next()),
            _ => {}
        }
    }
    news
}
