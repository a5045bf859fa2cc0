//! The machine's state and its one verb. This file says what goes where, and asks what is due.

use super::again::Outcome;
use super::answering::Answering;
use super::closing::Closing;
use super::interface::{AskId, Config, Effect, Error, Identity, Input};
use super::round::{Counts, Got, Open, Purpose, Round, ends};
use super::scoreboard::Scoreboard;
use crate::wire::challenge::{Denial, Observation, Reply, Request};
use bytes::Bytes;
use floe_ledger::challenges::{Aim, Question, Questions, Seed, Slip, Slot, Timetable, Unread, beacon};
use floe_ledger::{StateRead, views};
use floe_types::{BlockTime, Committee, NetworkId, NodeId, Params};
use std::collections::BTreeMap;

/// What a step works on besides the machine itself.
pub(super) struct Step<'a> {
    pub now: u64,
    pub state: &'a dyn StateRead,
    pub out: Vec<Effect>,
}

/// The running epoch as every node sees it, member or not.
#[derive(Debug)]
pub(super) struct Watch {
    pub committee: Committee,
    pub times: Timetable,
    pub board: Scoreboard,
}

/// The machine of challenges of one node.
pub struct Challenger {
    pub(super) config: Config,
    pub(super) network: NetworkId,
    pub(super) params: Params,
    pub(super) identity: Identity,
    pub(super) watch: Option<Watch>,
    /// The epoch of asking, while this node is a member.
    pub(super) round: Option<Round>,
    pub(super) closing: Closing,
    pub(super) answering: Answering,
    pub(super) next_ask: u64,
    pub(super) counts: Counts,
    /// What readers could not get when no slot was to come any more in the epoch: one of each member.
    pub(super) unread: BTreeMap<NodeId, Unread>,
    /// The scoreboard of the epoch before.
    previous: Option<Scoreboard>,
}

impl Challenger {
    /// A machine that has seen nothing yet.
    #[must_use]
    pub fn new(config: Config, (network, params): (NetworkId, Params), identity: Identity) -> Challenger {
        Challenger {
            config,
            network,
            params,
            identity,
            watch: None,
            round: None,
            closing: Closing::default(),
            answering: Answering::default(),
            next_ask: 0,
            counts: Counts::default(),
            unread: BTreeMap::new(),
            previous: None,
        }
    }

    /// Takes one input at unix time `now` in milliseconds, with the state of the newest block, and answers with what must be done.
    ///
    /// # Errors
    /// [`Error`] when the state cannot be read; what was due is due again.
    pub fn step(&mut self, now: u64, state: &dyn StateRead, input: Input) -> Result<Vec<Effect>, Error> {
        let mut step = Step { now, state, out: Vec::new() };
        match input {
            Input::Started { kept } => {
                self.look(&step)?;
                self.restore(&step, kept);
            }
            Input::Advanced => self.look(&step)?,
            Input::Answered { ask, bytes } => self.answered(&mut step, ask, &bytes),
            Input::Failed { ask } => self.failed(ask),
            Input::Observed { token, bytes } => self.observed(&mut step, token, &bytes)?,
            Input::Asked { exchange, peer, bytes } => self.asked(&mut step, exchange, peer, &bytes),
            Input::Opened { exchange } => self.answering.done(exchange),
            Input::Unread { holder, what } => self.unread(&step, holder, what),
            Input::Tick => {}
        }
        self.expire(now);
        self.observe(&mut step);
        self.ask_due(&mut step)?;
        self.ask_again(&mut step);
        self.ask_for_readers(&mut step)?;
        self.close(&mut step)?;
        Ok(step.out)
    }

    /// When to step with [`Input::Tick`] at the latest, in unix milliseconds.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let round = self.round.as_ref().and_then(|round| {
            // A full house waits for the first to leave.
            let is_full = round.open.len() >= self.config.asks_max;
            let hard = self.params.hard_millis;
            if is_full { round.open.values().map(|open| open.asked_at + hard + 1).min() } else { round.wake_at(hard) }
        });
        [round, self.closing_wakes_at()].into_iter().flatten().min()
    }

    /// The live view of the running epoch.
    #[must_use]
    pub fn board(&self) -> Option<&Scoreboard> {
        self.watch.as_ref().map(|watch| &watch.board)
    }

    /// That of the epoch before, as it stood when it ended.
    #[must_use]
    pub fn previous_board(&self) -> Option<&Scoreboard> {
        self.previous.as_ref()
    }

    /// What questions came to since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Questions of others being answered now.
    #[must_use]
    pub fn answering(&self) -> usize {
        self.answering.count()
    }

    /// Takes note of the newest block: a new epoch begins a new round.
    fn look(&mut self, step: &Step<'_>) -> Result<(), Error> {
        let head = views::head(step.state)?;
        if self.watch.as_ref().is_some_and(|watch| watch.board.epoch() == head.epoch) {
            self.closing.hurry(step.now);
            return Ok(());
        }
        let committee = views::committee(step.state)?;
        let times = Timetable::of(&self.params, head.epoch_began);
        let round = match committee.index_of(&self.identity.node) {
            Some(me) => {
                let seed = Seed::make(&self.network, &beacon(step.state)?, &self.identity.confirmation_key);
                Some(Round::new(head.epoch, times, (me, committee.members().len()), seed, step.now))
            }
            None => None,
        };
        let board = Scoreboard::new(head.epoch, &committee);
        self.previous = self.watch.take().map(|watch| watch.board);
        self.watch = Some(Watch { committee, times, board });
        self.round = round;
        self.closing = Closing::default();
        for (holder, what) in std::mem::take(&mut self.unread) {
            self.unread(step, holder, what);
        }
        Ok(())
    }

    /// Asks what is due, as far as there is room.
    fn ask_due(&mut self, step: &mut Step<'_>) -> Result<(), Error> {
        let (Some(watch), Some(round)) = (&self.watch, self.round.as_mut()) else { return Ok(()) };
        if round.waiting.first().is_none_or(|(at, _)| *at > step.now) || round.open.len() >= self.config.asks_max {
            return Ok(());
        }
        let questions = Questions::of(step.state, &watch.committee)?;
        while round.open.len() < self.config.asks_max {
            let Some(aim) = round.next_due(step.now) else { break };
            let Some(target) = watch.committee.member(aim.target).map(|member| member.node) else { continue };
            let question = questions.draw(&round.seed, &aim)?;
            let slip = Slip::drawn(round.epoch, &aim, (self.identity.node, target), question);
            let ask = AskId(self.next_ask);
            self.next_ask += 1;
            round.note_asked(aim.slot);
            round.open.insert(ask, Open { purpose: Purpose::Own(aim), slip, asked_at: step.now });
            let bytes = Bytes::from(Request::of(self.network, &slip).encode());
            step.out.push(Effect::Ask { ask, to: target, bytes });
        }
        Ok(())
    }

    fn answered(&mut self, step: &mut Step<'_>, ask: AskId, bytes: &[u8]) {
        let Some(round) = self.round.as_mut() else { return };
        let Some(open) = round.open.remove(&ask) else { return };
        let took = step.now.saturating_sub(open.asked_at);
        if took > self.params.hard_millis {
            return self.settle(&open, Got::Silent(open.slip.question));
        }
        let blame = |cause| Effect::Blame { node: open.slip.target, cause };
        let got = match Reply::decode(bytes) {
            Ok(Reply::Shown(answer)) => match answer.check(&self.network, self.params.shards, &open.slip) {
                Ok(()) if took <= self.params.soft_millis => Got::Passed(answer),
                Ok(()) => Got::Late(answer),
                Err(_) => {
                    step.out.push(blame("showed something else than it was asked for"));
                    Got::Missed(open.slip.question)
                }
            },
            Ok(Reply::No(Denial::NotHeld)) => Got::Missed(open.slip.question),
            // It is there, and says nothing of the bytes.
            Ok(Reply::No(_)) => Got::Silent(open.slip.question),
            Err(_) => {
                step.out.push(blame("answered a challenge with something else"));
                Got::Silent(open.slip.question)
            }
        };
        self.settle(&open, got);
    }

    fn failed(&mut self, ask: AskId) {
        if let Some(open) = self.round.as_mut().and_then(|round| round.open.remove(&ask)) {
            self.settle(&open, Got::Silent(open.slip.question));
        }
    }

    /// Gives up what is under way beyond the hard deadline.
    fn expire(&mut self, now: u64) {
        let Some(round) = self.round.as_mut() else { return };
        let over = |open: &Open| now.saturating_sub(open.asked_at) > self.params.hard_millis;
        let asks: Vec<AskId> = round.open.iter().filter(|(_, open)| over(open)).map(|(ask, _)| *ask).collect();
        asks.into_iter().for_each(|ask| self.failed(ask));
    }

    fn settle(&mut self, open: &Open, got: Got) {
        let Some(round) = self.round.as_mut() else { return };
        match open.purpose {
            Purpose::Own(aim) => {
                let count = match &got {
                    Got::Passed(_) => &mut self.counts.passed,
                    Got::Late(_) => &mut self.counts.late,
                    Got::Missed(_) => &mut self.counts.missed,
                    Got::Silent(_) => &mut self.counts.silent,
                };
                *count = count.saturating_add(1);
                round.settle(aim, got);
            }
            Purpose::OfReader(slot, target) => {
                let shown = got.answer().is_some();
                let count = if shown { &mut self.counts.shown_to_reader } else { &mut self.counts.missed_by_reader };
                *count = count.saturating_add(1);
                round.of_readers.insert((slot, target), got);
            }
            Purpose::Again(slot, accuser) => {
                let outcome = Outcome::of(&got);
                let shown = outcome == Outcome::Shown;
                let count = if shown { &mut self.counts.shown_again } else { &mut self.counts.missed_again };
                *count = count.saturating_add(1);
                if let Some(again) = round.again.get_mut(&(slot, accuser)) {
                    again.outcome = outcome;
                }
            }
        }
    }

    /// Says what was seen in slots that are over.
    fn observe(&mut self, step: &mut Step<'_>) {
        let (Some(watch), Some(round)) = (self.watch.as_mut(), self.round.as_mut()) else { return };
        while Slot(round.to_observe).exists() && ends(&watch.times, Slot(round.to_observe)) <= step.now {
            let slot = Slot(round.to_observe);
            round.to_observe += 1;
            if !round.is_reported(slot) {
                continue;
            }
            let (passed, late) = round.seen(slot);
            let drawn = round.accusation(slot);
            round.accused.extend(drawn.map(|accused| (slot, accused)));
            // What a seed gives goes first: it can be reported.
            let accused = drawn.or_else(|| round.accusation_of_reader(slot));
            watch.board.say(round.me, slot, (&passed, &late));
            let (network, epoch, member) = (self.network, round.epoch, self.identity.node);
            let observation = Observation { network, epoch, slot, member, passed, late, accused };
            let signed = observation.sign(&self.identity.network_key);
            step.out.push(Effect::Publish { bytes: Bytes::from(signed.encode()) });
        }
    }

    /// When this node's next question of the running epoch is asked, and of whom. For tests and screens.
    #[must_use]
    pub fn next_question(&self) -> Option<(BlockTime, Aim)> {
        self.round.as_ref()?.waiting.first().map(|(at, aim)| (BlockTime(*at), *aim))
    }

    /// Samples that this node could not get in the running epoch, by slot.
    #[must_use]
    pub fn accusations(&self) -> Vec<(Slot, Question)> {
        let accused = self.round.iter().flat_map(|round| &round.accused);
        accused.map(|(slot, accused)| (*slot, accused.question)).collect()
    }
}
