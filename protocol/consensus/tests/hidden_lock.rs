//! One validator saw a value accepted and nobody else did; then exactly a quorum is left, so that nothing is decided without it.
//!
//! It used to be waited for until it was its turn to propose. A network of seven that had lost two members in the middle of
//! a height stood for up to ten rounds, each longer than the last.

#![allow(clippy::unwrap_used, clippy::panic)]

mod sim;

use bytes::Bytes;
use floe_consensus::{Effect, Height, Input, Machine, Message, MessageKind, Round, Timer, TimerKind, Verdict};
use sim::{FIRST, config, key, set_of, signing_key, verdict};

fn valid(_: Height, value: &[u8]) -> Verdict {
    verdict(value)
}

/// Who proposes in the first height's `round`, of four.
fn proposer(round: u32) -> usize {
    let turn = set_of(0..4).proposer(FIRST, Round(round)).key;
    (0..4).find(|who| key(*who) == turn).unwrap()
}

/// Four machines; what one says reaches whom the test lets it reach.
struct Net {
    machines: Vec<Machine>,
    decided: Vec<Option<(Round, Bytes)>>,
}

impl Net {
    /// All have begun; the first proposer's words come with it.
    fn begun() -> (Net, Vec<Message>) {
        let machines = (0..4).map(|who| Machine::new(config(), Some(signing_key(who)))).collect();
        let mut net = Net { machines, decided: vec![None; 4] };
        let start = || Input::StartHeight { height: FIRST, validators: set_of(0..4) };
        let said = (0..4).flat_map(|who| net.step(who, start())).collect();
        (net, said)
    }

    /// Steps a machine, builds what it asks for, and answers with all that it says.
    fn step(&mut self, who: usize, input: Input) -> Vec<Message> {
        let (mut inputs, mut said) = (vec![input], vec![]);
        while let Some(input) = inputs.pop() {
            for effect in self.machines[who].step(input, &mut valid).unwrap() {
                match effect {
                    Effect::Publish(message) => said.push(message),
                    Effect::BuildValue { height, round } => {
                        let value = format!("of {who} in {}", round.0).into();
                        inputs.push(Input::ValueBuilt { height, round, value });
                    }
                    Effect::Decided { round, value, .. } => self.decided[who] = Some((round, value)),
                    _ => {}
                }
            }
        }
        said
    }

    fn hears(&mut self, who: usize, messages: &[Message]) -> Vec<Message> {
        messages.iter().flat_map(|message| self.step(who, Input::Message(message.clone()))).collect()
    }

    fn waited(&mut self, who: usize, round: u32, kind: TimerKind) -> Vec<Message> {
        self.step(who, Input::TimerFired(Timer { height: FIRST, round: Round(round), kind }))
    }

    /// What `who` say is heard by all of them, and what follows from that, until nobody says anything more.
    fn talk(&mut self, who: &[usize], mut said: Vec<Message>) -> Vec<Message> {
        let mut all = vec![];
        while !said.is_empty() {
            let more = who.iter().flat_map(|who| self.hears(*who, &said)).collect();
            all.extend(std::mem::replace(&mut said, more));
        }
        all
    }

    /// A round of `who` to its end: whoever waits for something has waited long enough.
    fn whole_round(&mut self, who: &[usize], round: u32, begun: Vec<Message>) -> Vec<Message> {
        let mut all = self.talk(who, begun);
        for kind in [TimerKind::Propose, TimerKind::Prevote] {
            let said = who.iter().flat_map(|who| self.waited(*who, round, kind)).collect();
            all.extend(self.talk(who, said));
        }
        all
    }
}

fn of_kind(messages: &[Message], kind: MessageKind) -> Vec<Message> {
    messages.iter().filter(|message| message.kind() == kind).cloned().collect()
}

/// The first proposer falls when one validator, the last in turn, has heard it and itself, and another the proposal alone:
/// the former is locked, on a value of which nobody else that is left knows that it was accepted.
fn one_is_locked() -> (Net, [usize; 3], Vec<Message>) {
    let (fallen, second, third, locked) = (proposer(0), proposer(1), proposer(2), proposer(3));
    let left = [second, third, locked];
    let (mut net, said) = Net::begun();
    let proposal = of_kind(&said, MessageKind::Proposal);
    let last_words = net.hears(fallen, &proposal).into_iter().chain(said).collect::<Vec<_>>();

    let of_second = net.hears(second, &proposal);
    let mut of_locked = net.hears(locked, &last_words);
    let of_third = net.waited(third, 0, TimerKind::Propose);
    of_locked.extend(net.hears(locked, &of_second));
    let mut said = [of_second, of_third, of_locked].concat();
    assert_eq!(of_kind(&said, MessageKind::Precommit).len(), 1, "one has seen the quorum");
    said = net.talk(&left, said);
    for who in [second, third] {
        said.extend(net.waited(who, 0, TimerKind::Prevote));
    }
    let said = net.talk(&left, said);
    assert!(net.decided.iter().all(Option::is_none), "two of three that are left precommit nothing");
    (net, left, said)
}

#[test]
fn what_somebody_is_locked_on_is_proposed_by_the_next_who_has_heard_of_it() {
    let (mut net, left, _) = one_is_locked();
    let begun = left.iter().flat_map(|who| net.waited(*who, 0, TimerKind::Precommit)).collect();
    let said = net.whole_round(&left, 1, begun);
    let of_old = |message: &&Message| message.round() == Round(0);
    let proposals = of_kind(&said, MessageKind::Proposal);
    assert!(proposals.iter().any(|proposal| of_old(&proposal)), "who is locked shows on what");
    assert!(of_kind(&said, MessageKind::PolkaCertificate).iter().any(|polka| of_old(&polka)), "and why");

    let begun = left.iter().flat_map(|who| net.waited(*who, 1, TimerKind::Precommit)).collect();
    net.whole_round(&left, 2, begun);
    let value = Bytes::from(format!("of {} in 0", proposer(0)));
    for who in left {
        assert_eq!(net.decided[who], Some((Round(2), value.clone())), "before it is the locked one's turn");
    }
}

#[test]
fn a_lock_that_nobody_contradicts_is_not_shown() {
    let (mut net, left, said) = one_is_locked();
    assert!(of_kind(&said, MessageKind::PolkaCertificate).is_empty());
    let locked = left[2];
    net.waited(locked, 0, TimerKind::Precommit);
    let said = net.waited(locked, 1, TimerKind::Rebroadcast);
    assert!(of_kind(&said, MessageKind::PolkaCertificate).is_empty());
}
