//! The machine: one validator, or observer, deciding one height after another.
//!
//! ```text
//!               StartHeight              quorum of precommits
//!   (nothing) ─────────────▶ voting ──────────────────────────▶ decided ──┐
//!                  ▲            │ the decided value's bytes are gone      │
//!                  │            ▼                        Synced           │
//!                  │      value missing ──────────────────▶ decided ──────┤
//!                  └──────────────────────────────────────────────────────┘
//! ```
//!
//! Each step takes one input and returns what to do, in order. The machine holds at most one height; what others
//! say of later ones is put by in the backlog. `Synced` decides from any undecided state, without the library:
//! a verified certificate and a valid value leave nothing to vote on.
//!
//! # Laws
//! - **CO-6** Equal inputs and equal verdicts give equal effects: no clock, no chance, no unordered collection.
//! - **CO-7** A message by a key outside the validator set costs no signature check.
//! - **CO-8** After a fatal error nothing more is signed.
//!
//! # Not here
//! How messages, proposals above all, are let in is in `admission`; how a journal is replayed in `replay`;
//! what the library asks for in `host`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use arc_malachitebft_core_consensus as library;
use arc_malachitebft_core_types as core;
use bytes::Bytes;

use crate::backlog::{Backlog, Room};
use crate::context::{self, Floe};
use crate::guard::Guard;
use crate::host::{self, CoreEvidence, CoreInput, CoreState, Decision, Host};
use crate::message::Content;
use crate::values::Values;
use crate::{
    Certificate, CheckValue, Config, DropReason, Effect, Error, Height, Input, Message, ROUNDS_AHEAD_MAX, Round,
    SyncFault, Timer, ValidatorKey, ValidatorSet, ValueId, Verdict, VoteSigningKey,
};

/// A validator's or observer's part in consensus. See the crate's head for how to drive it.
pub struct Machine {
    config: Config,
    /// All but the one that the height under way is signed with.
    keys: Vec<VoteSigningKey>,
    run: Option<Run>,
    backlog: Backlog,
    stopped: bool,
}

/// One height under way.
pub(crate) struct Run {
    pub state: CoreState,
    pub host: Host,
    pub phase: Phase,
    /// The proposals let in: per round, by value and valid round.
    pub proposals: BTreeMap<Round, BTreeSet<(ValueId, Option<Round>)>>,
}

/// How far a height is.
pub(crate) enum Phase {
    Voting,
    /// Decided by votes, but the value's bytes had to give way; catch-up brings them.
    ValueMissing(Decision),
    Decided,
}

impl Machine {
    /// A machine that has not begun. Every height is signed with the key that is in its validator set; where none is,
    /// the machine observes: it decides with the others and signs nothing.
    pub fn new(config: Config, keys: impl IntoIterator<Item = VoteSigningKey>) -> Self {
        Self { config, keys: keys.into_iter().collect(), run: None, backlog: Backlog::default(), stopped: false }
    }

    /// Gives the machine a key for heights that have not begun.
    pub fn add_key(&mut self, key: VoteSigningKey) {
        if !self.public_keys().contains(&key.public()) {
            self.keys.push(key);
        }
    }

    /// Destroys the keys for which `keep` says no. The one of the height under way goes with the next height.
    pub fn retain_keys(&mut self, keep: impl Fn(&ValidatorKey) -> bool) {
        self.keys.retain(|key| keep(&key.public()));
    }

    /// The public halves of its keys, that of the height under way included.
    pub fn public_keys(&self) -> Vec<ValidatorKey> {
        let signing = self.run.as_ref().and_then(|run| run.host.signing_key.as_ref());
        self.keys.iter().chain(signing).map(VoteSigningKey::public).collect()
    }

    /// Takes one input and returns what to do, in order. After a fatal error every step fails.
    pub fn step(&mut self, input: Input, check: &mut dyn CheckValue) -> Result<Vec<Effect>, Error> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        let result = match input {
            Input::StartHeight { height, validators } => self.start_height(height, validators, check),
            Input::Message(message) => self.take_message(message, check),
            Input::TimerFired(timer) => self.take_timer(timer),
            Input::ValueBuilt { height, round, value } => self.take_built(height, round, value, check),
            Input::Synced { height, value, certificate } => Ok(self.take_synced(height, value, certificate, check)),
        };
        self.settle(result)
    }

    /// The height under way, or the last one decided.
    pub fn height(&self) -> Option<Height> {
        self.run.as_ref().map(|run| run.host.height)
    }

    /// The round under way.
    pub fn round(&self) -> Option<Round> {
        self.run.as_ref().map(Run::round)
    }

    /// Who votes at the current height.
    pub fn validators(&self) -> Option<&ValidatorSet> {
        self.run.as_ref().map(|run| &run.host.validators)
    }

    /// Whether the current height is decided, so that the next may begin.
    pub fn is_decided(&self) -> bool {
        self.run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Decided))
    }

    /// Ends a step: collects its effects, or stops the machine for good.
    pub(crate) fn settle(&mut self, result: Result<Vec<Effect>, Error>) -> Result<Vec<Effect>, Error> {
        if let Some(run) = &mut self.run {
            run.host.assured.clear();
        }
        result.inspect_err(|error| self.stopped |= error.is_fatal())
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Replaces the current height by a fresh one, not yet begun.
    pub(crate) fn enter(&mut self, height: Height, validators: ValidatorSet) -> &mut Run {
        self.keys.extend(self.run.take().and_then(|run| run.host.signing_key));
        let at = self.keys.iter().position(|key| validators.contains(&key.public()));
        let signing_key = at.map(|at| self.keys.swap_remove(at));
        let run = Run::new(self.config.clone(), signing_key, height, validators);
        self.run.insert(run)
    }

    fn start_height(
        &mut self,
        height: Height,
        validators: ValidatorSet,
        check: &mut dyn CheckValue,
    ) -> Result<Vec<Effect>, Error> {
        if let Some(current) = self.height().filter(|current| height <= *current) {
            return Err(Error::HeightNotAbove { height, current });
        }
        let early = self.backlog.take(height);
        let run = self.enter(height, validators);
        run.begin()?;
        for message in early {
            if !matches!(run.phase, Phase::Voting) {
                break;
            }
            run.admit_assured(message, check)?;
        }
        Ok(run.take_effects())
    }

    fn take_message(&mut self, message: Message, check: &mut dyn CheckValue) -> Result<Vec<Effect>, Error> {
        let Some(run) = &mut self.run else {
            return Ok(vec![Effect::Dropped(DropReason::Stale)]);
        };
        match message.height().cmp(&run.host.height) {
            Ordering::Less => Ok(vec![Effect::Dropped(DropReason::Stale)]),
            Ordering::Equal => {
                run.admit(message, check)?;
                Ok(run.take_effects())
            }
            Ordering::Greater => Ok(self.put_by(message)),
        }
    }

    /// Looks at a message for a later height: is it a member's, and is there room?
    fn put_by(&mut self, message: Message) -> Vec<Effect> {
        let drop = |reason| vec![Effect::Dropped(reason)];
        let Some(run) = &self.run else { return drop(DropReason::Stale) };
        let Some(sender) = message.sender() else { return drop(DropReason::FarAhead) };
        // The set of that height is not known yet; that of this one is the best guess.
        if !run.host.validators.contains(&sender) {
            return drop(DropReason::Stranger);
        }
        match self.backlog.room(&sender, &message, &self.config) {
            Room::Known => return vec![],
            Room::Full => return drop(DropReason::Full),
            Room::Free => {}
        }
        if !message.is_signed(&self.config.network) {
            return drop(DropReason::BadSignature);
        }

        let height = message.height();
        let far = height.0 - run.host.height.0 > self.config.heights_ahead_max;
        let reason = match &message.0 {
            _ if far || message.round().0 > ROUNDS_AHEAD_MAX => Some(DropReason::FarAhead),
            Content::Proposal(proposal, value) => run.proposal_fault(proposal, value),
            _ => None,
        };
        match reason {
            Some(reason) => vec![Effect::Behind { height }, Effect::Dropped(reason)],
            None => {
                self.backlog.put(sender, message);
                vec![Effect::Behind { height }]
            }
        }
    }

    fn take_timer(&mut self, timer: Timer) -> Result<Vec<Effect>, Error> {
        let Some(run) = self.run.as_mut().filter(|run| run.host.height == timer.height) else {
            return Ok(vec![]);
        };
        let kind = host::core_timer(timer.kind);
        run.feed(CoreInput::TimeoutElapsed(core::Timeout::new(context::core_round(timer.round), kind)))?;
        Ok(run.take_effects())
    }

    fn take_built(
        &mut self,
        height: Height,
        round: Round,
        value: Bytes,
        check: &mut dyn CheckValue,
    ) -> Result<Vec<Effect>, Error> {
        let Some(run) = self.run.as_mut().filter(|run| run.is_waiting_for_value(height, round)) else {
            return Ok(vec![]);
        };
        let max = self.config.value_bytes_max;
        if value.len() > max {
            return Err(Error::ValueTooLong { length: value.len(), max });
        }
        if check.check(height, &value) == Verdict::Invalid {
            return Err(Error::OwnValueInvalid { height });
        }

        // What somebody may be bound to comes before what is new.
        let (id, value) = run.once_prevoted().unwrap_or_else(|| (ValueId::of(&value), value));
        run.host.building = None;
        run.host.values.keep(id, value, Verdict::Valid, round);
        run.shrink_values(Some(id));
        run.feed(CoreInput::Propose(library::LocallyProposedValue::new(height, context::core_round(round), id)))?;
        Ok(run.take_effects())
    }

    fn take_synced(
        &mut self,
        height: Height,
        value: Bytes,
        certificate: Certificate,
        check: &mut dyn CheckValue,
    ) -> Vec<Effect> {
        let refused = |fault| vec![Effect::SyncRefused { height, fault }];
        let run = match &mut self.run {
            Some(run) if run.host.height == height && !matches!(run.phase, Phase::Decided) => run,
            _ => return refused(SyncFault::NotWanted),
        };
        if certificate.height != height
            || value.len() > self.config.value_bytes_max
            || certificate.value_id != ValueId::of(&value)
        {
            return refused(SyncFault::Mismatch);
        }
        if let Err(error) = certificate.verify(&self.config.network, &run.host.validators) {
            return refused(SyncFault::Certificate(error));
        }
        if check.check(height, &value) == Verdict::Invalid {
            return refused(SyncFault::InvalidValue);
        }
        run.decide(value, certificate);
        run.take_effects()
    }
}

impl Run {
    fn new(config: Config, signing_key: Option<VoteSigningKey>, height: Height, validators: ValidatorSet) -> Self {
        let params = library::Params {
            // An observer has no address; `enabled` says so, and the library then signs and asks for nothing.
            address: signing_key.as_ref().map_or(ValidatorKey([0; 32]), VoteSigningKey::public),
            threshold_params: library::ThresholdParams::default(),
            value_payload: library::ValuePayload::ProposalAndParts,
            enabled: signing_key.is_some(),
        };
        // The library's own queue for later heights stays empty: the backlog stands in its place.
        let state = CoreState::new(Floe, height, validators.clone(), params, 0, 0);
        let host = Host {
            config,
            signing_key,
            height,
            validators,
            values: Values::default(),
            guard: Guard::new(height),
            effects: Vec::new(),
            decision: None,
            building: None,
            replaying: None,
            assured: Vec::new(),
        };
        Self { state, host, phase: Phase::Voting, proposals: BTreeMap::new() }
    }

    /// Begins round 0.
    pub fn begin(&mut self) -> Result<(), Error> {
        // No target time: with one the library would read the clock.
        self.feed(CoreInput::StartHeight(
            self.host.height,
            self.host.validators.clone(),
            false,
            None,
            core::VoteExtensionPolicy::Disabled,
        ))
    }

    /// Gives the library one input, unless the height is over.
    pub fn feed(&mut self, input: CoreInput) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Voting) {
            return Ok(());
        }
        host::run(&mut self.state, &mut self.host, input)?;
        if let Some(decision) = self.host.decision.take() {
            match self.host.values.get(&decision.certificate.value_id) {
                Some(kept) => {
                    let value = kept.bytes.clone();
                    self.announce(value, decision);
                }
                None => {
                    self.phase = Phase::ValueMissing(decision);
                    let height = Height(self.host.height.0.saturating_add(1));
                    self.host.effects.extend([Effect::CancelAllTimers, Effect::Behind { height }]);
                }
            }
        }
        Ok(())
    }

    /// Ends the height by a decision that others proved.
    fn decide(&mut self, value: Bytes, certificate: Certificate) {
        let equivocations = match mem::replace(&mut self.phase, Phase::Decided) {
            Phase::ValueMissing(decision) => decision.equivocations,
            _ => host::equivocations(&CoreEvidence {
                votes: self.state.driver.take_vote_evidence(),
                proposals: self.state.driver.take_proposal_evidence(),
            }),
        };
        self.announce(value, Decision { certificate, equivocations });
    }

    fn announce(&mut self, value: Bytes, decision: Decision) {
        self.phase = Phase::Decided;
        let Decision { certificate, equivocations } = decision;
        let (height, round) = (certificate.height, certificate.round);
        self.host.effects.push(Effect::CancelAllTimers);
        self.host.effects.push(Effect::Decided { height, round, value, certificate, equivocations });
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        mem::take(&mut self.host.effects)
    }

    pub fn round(&self) -> Round {
        context::our_round(self.state.round())
    }

    /// Whether this node proposes in this round and has not done so yet.
    pub fn is_waiting_for_value(&self, height: Height, round: Round) -> bool {
        matches!(self.phase, Phase::Voting)
            && self.host.height == height
            && self.host.building == Some(round)
            && self.round() == round
            && self.state.driver.step_is_propose()
    }

    /// Makes room among the values, sparing `fresh` and the one that may be proposed again.
    pub fn shrink_values(&mut self, fresh: Option<ValueId>) {
        let valid = self.state.driver.valid_value().map(|valid| valid.value);
        let max = self.host.config.values_max.max(8);
        self.host.values.shrink(max, &[fresh, valid]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageKind, Validator};

    fn key_of(who: u8) -> VoteSigningKey {
        VoteSigningKey::from_secret([who + 1; 32])
    }

    fn valid(_: Height, _: &[u8]) -> Verdict {
        Verdict::Valid
    }

    fn started(signing_key: Option<VoteSigningKey>) -> Machine {
        let validators = (0..4).map(|who| Validator { key: key_of(who).public(), power: 1 }).collect();
        let validators = ValidatorSet::new(validators).unwrap();
        let mut machine = Machine::new(Config::new([0; 32]), signing_key);
        machine.step(Input::StartHeight { height: Height(1), validators }, &mut valid).unwrap();
        machine
    }

    /// All that four validators say until they have decided height 1, and the decision.
    fn talk() -> (Vec<Message>, Bytes, Certificate) {
        let mut machines: Vec<_> = (0..4).map(|who| started(Some(key_of(who)))).collect();
        let mut said: Vec<Message> = vec![];
        for machine in &mut machines {
            let built = Input::ValueBuilt { height: Height(1), round: Round(0), value: "value".into() };
            said.extend(published(machine.step(built, &mut valid).unwrap()));
        }
        let mut heard = 0;
        let mut decision = None;
        while heard < said.len() {
            for machine in &mut machines {
                let effects = machine.step(Input::Message(said[heard].clone()), &mut valid).unwrap();
                if let Some(Effect::Decided { value, certificate, .. }) = effects.last() {
                    decision = Some((value.clone(), certificate.clone()));
                }
                said.extend(published(effects));
            }
            heard += 1;
        }
        let (value, certificate) = decision.unwrap();
        (said, value, certificate)
    }

    fn published(effects: Vec<Effect>) -> Vec<Message> {
        let messages = effects.into_iter().filter_map(|effect| match effect {
            Effect::Publish(message) => Some(message),
            _ => None,
        });
        messages.collect()
    }

    #[test]
    fn a_decision_whose_value_gave_way_waits_for_catch_up() {
        let (said, value, certificate) = talk();
        let mut observer = started(None);
        let mut last = vec![];
        for message in said {
            if message.kind() == MessageKind::Precommit {
                observer.run.as_mut().unwrap().host.values = Values::default();
            }
            let effects = observer.step(Input::Message(message), &mut valid).unwrap();
            if effects.contains(&Effect::CancelAllTimers) {
                last = effects;
            }
        }
        assert_eq!(last, [Effect::CancelAllTimers, Effect::Behind { height: Height(2) }]);
        assert!(!observer.is_decided());

        let synced = Input::Synced { height: Height(1), value, certificate };
        let effects = observer.step(synced, &mut valid).unwrap();
        assert!(matches!(effects.last(), Some(Effect::Decided { .. })));
        assert!(observer.is_decided());
    }

    #[test]
    fn messages_that_came_before_the_height_decide_it_at_its_start() {
        let (said, ..) = talk();
        let mut early = started(None);
        let run = early.run.as_mut().unwrap();
        run.host.height = Height(0);
        for message in said {
            early.step(Input::Message(message), &mut valid).unwrap();
        }
        let validators = early.validators().unwrap().clone();
        let effects = early.step(Input::StartHeight { height: Height(1), validators }, &mut valid).unwrap();
        assert!(matches!(effects.last(), Some(Effect::Decided { .. })), "{effects:?}");
    }

    #[test]
    fn a_panic_of_the_library_is_an_error_and_stops_the_machine() {
        let (said, ..) = talk();
        let mut observer = started(None);
        for message in said {
            observer.step(Input::Message(message), &mut valid).unwrap();
        }
        // The library asserts that it has a target time when this timer runs out; it has none.
        let run = observer.run.as_mut().unwrap();
        run.phase = Phase::Voting;
        let kind = core::TimeoutKind::FinalizeHeight(std::time::Duration::ZERO);
        let timeout = core::Timeout::new(context::core_round(Round(0)), kind);
        let error = run.feed(CoreInput::TimeoutElapsed(timeout)).unwrap_err();
        assert!(matches!(&error, Error::Core { .. }), "{error}");
        assert!(observer.settle(Err(error)).is_err());
        let timer = Timer { height: Height(1), round: Round(0), kind: crate::TimerKind::Propose };
        assert_eq!(observer.step(Input::TimerFired(timer), &mut valid), Err(Error::Stopped));
    }

    #[test]
    fn a_height_is_signed_with_the_key_that_is_in_its_set() {
        let votes_as = |machine: &Machine| {
            machine.run.as_ref().and_then(|run| run.host.signing_key.as_ref()).map(VoteSigningKey::public)
        };
        let set = |who: [u8; 4]| {
            ValidatorSet::new(who.map(|who| Validator { key: key_of(who).public(), power: 1 }).to_vec()).unwrap()
        };
        let mut machine = Machine::new(Config::new([0; 32]), [key_of(0), key_of(7)]);
        let start = |machine: &mut Machine, height, who| {
            let validators = set(who);
            machine.step(Input::StartHeight { height: Height(height), validators }, &mut valid).unwrap();
        };
        start(&mut machine, 1, [0, 1, 2, 3]);
        assert_eq!(votes_as(&machine), Some(key_of(0).public()));
        start(&mut machine, 2, [1, 2, 3, 7]);
        assert_eq!(votes_as(&machine), Some(key_of(7).public()));
        machine.retain_keys(|key| *key == key_of(7).public());
        assert_eq!(machine.public_keys(), [key_of(7).public()]);
        machine.add_key(key_of(8));
        machine.add_key(key_of(8));
        start(&mut machine, 3, [1, 2, 3, 4]);
        assert_eq!(votes_as(&machine), None, "it observes");
        start(&mut machine, 4, [1, 2, 3, 8]);
        assert_eq!(votes_as(&machine), Some(key_of(8).public()));
        assert_eq!(machine.public_keys().len(), 2);
    }
}
