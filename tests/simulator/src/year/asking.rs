//! An epoch's questions and answers, by the challenger's own rules, and the reports that come of them.

use super::villains::{Challenge, Opening, Reply};
use super::world::{Flaw, Person, World};
use floe_ledger::MemberSet;
use floe_ledger::challenges::{Aim, Answer, Question, QuestionTag, Questions, Seed, Slot, Timetable};
use floe_ledger::reports::{REASKS_MAX, ReAsk, drawn};
use floe_ledger::synthetic::{self, Spoken};
use floe_machines::challenges::{Got, Outcome, Round, Scoreboard};
use floe_types::keys::Signature;
use floe_types::params::{SLOTS, challenges_per_slot};
use floe_types::{BlockId, Committee, Epoch, MemberIndex};
use std::collections::BTreeMap;

/// What an epoch of asking is about.
pub(super) struct Asking<'a> {
    pub epoch: Epoch,
    pub committee: &'a Committee,
    /// Whose node each member is.
    pub places: &'a [usize],
    pub up: &'a [[bool; SLOTS as usize]],
}

/// A sample that somebody could not get.
#[derive(Clone, Copy)]
struct Accused {
    slot: Slot,
    accuser: MemberIndex,
    aim: Aim,
    question: Question,
}

/// Of whom it was asked again, what, and what came of it.
type Came = (MemberIndex, QuestionTag, Outcome);

/// What came of it.
pub(super) struct Asked {
    rounds: Vec<Round>,
    board: Scoreboard,
    accused: Vec<Accused>,
    /// By who asked again: what came of it.
    again: Vec<BTreeMap<(Slot, MemberIndex), Came>>,
    /// By member and slot, the shards of honest members that were shown something.
    pub shown: Vec<[u32; SLOTS as usize]>,
    /// By member, how many of the others' own questions it denied or answered with something else.
    pub denied: Vec<u32>,
}

impl Asked {
    /// How many samples `member` was accused of.
    pub(super) fn accused_of(&self, member: MemberIndex) -> usize {
        self.accused.iter().filter(|accused| accused.aim.target == member).count()
    }
}

/// Nobody looks into an answer here.
fn answer() -> Answer {
    Answer { opening: Vec::new(), signature: Signature([0; 64]) }
}

/// What `target` replies to a question of `asker`.
fn reply(target: &mut Person, is_up: bool, asked: &Challenge<'_>) -> Got {
    let question = *asked.question;
    if !is_up {
        return Got::Silent(question);
    }
    let reply = match (&mut target.villain, &question) {
        (Some(villain), _) => villain.answer(asked),
        (None, Question::Chunk(sample)) if !target.shelf.has(sample.shard, sample.number) => {
            // Who meets damage reads the rest at once.
            target.rotten.values_mut().for_each(|noticed| *noticed = 0);
            Reply::Denied
        }
        (None, _) => Reply::Shown,
    };
    match reply {
        Reply::Shown => Got::Passed(answer()),
        Reply::Late => Got::Late(answer()),
        Reply::Denied | Reply::SomethingElse => Got::Missed(question),
        Reply::Nothing => Got::Silent(question),
    }
}

/// Lives the six slots.
pub(super) fn ask(world: &mut World, asking: &Asking<'_>) -> Asked {
    let Asking { epoch, committee, places, up } = *asking;
    let members = committee.members().len();
    let World { context, state, people, .. } = world;
    let questions = Questions::of(&*state, committee).expect("a state in memory");
    let began = floe_ledger::views::head(&*state).expect("a state in memory").epoch_began;
    let times = Timetable::of(&context.params, began);
    let round = |at: usize| {
        let seed = Seed::make(&context.network, questions.beacon(), &people[places[at]].bls);
        Round::new(epoch, times, (MemberIndex(at as u16), members), seed, began.0)
    };
    let mut asked = Asked {
        rounds: (0..members).map(round).collect(),
        board: Scoreboard::new(epoch, committee),
        accused: Vec::new(),
        again: vec![BTreeMap::new(); members],
        shown: vec![[0; SLOTS as usize]; members],
        denied: vec![0; members],
    };
    let weight = |at: usize| committee.members()[at].shards.len() as u32;
    let asks = challenges_per_slot(members);
    for slot in Slot::all() {
        let now = usize::from(slot.0);
        for me in (0..members).filter(|me| up[*me][now]) {
            let honest = people[places[me]].is_honest();
            if people[places[me]].villain.as_ref().is_some_and(|villain| !villain.asks()) {
                continue;
            }
            for target in (0..members).filter(|target| *target != me) {
                let mut shown = false;
                for at in 0..asks {
                    let aim = Aim { slot, target: MemberIndex(target as u16), at };
                    asked.rounds[me].note_asked(slot);
                    let person = &mut people[places[target]];
                    // Whoever has everything shows it, whatever it is.
                    let is_plain = up[target][now] && person.is_honest() && person.rotten.is_empty();
                    let question = match is_plain {
                        true => Question::Presence,
                        false => questions.draw(asked.rounds[me].seed(), &aim).expect("a state in memory"),
                    };
                    let asker = MemberIndex(me as u16);
                    let asked_of = Challenge { epoch, slot, asker, question: &question };
                    let got = reply(person, up[target][now], &asked_of);
                    shown |= got.answer().is_some();
                    asked.denied[target] += u32::from(matches!(got, Got::Missed(_)));
                    asked.rounds[me].settle(aim, got);
                }
                asked.shown[target][now] += if honest && shown { weight(me) } else { 0 };
            }
        }
        let before = slot.0.checked_sub(1).map(Slot);
        let due: Vec<Accused> = asked.accused.iter().filter(|one| Some(one.slot) == before).copied().collect();
        for accused in due {
            let target = usize::from(accused.aim.target.0);
            let others = (0..members).filter(|me| *me != target && *me != usize::from(accused.accuser.0));
            for me in others.filter(|me| up[*me][now]) {
                let asker = MemberIndex(me as u16);
                let asked_of = Challenge { epoch, slot, asker, question: &accused.question };
                let got = reply(&mut people[places[target]], up[target][now], &asked_of);
                let came = (accused.aim.target, accused.question.tag(), Outcome::of(&got));
                asked.again[me].insert((accused.slot, accused.accuser), came);
            }
        }
        for me in (0..members).filter(|me| up[*me][now]) {
            let index = MemberIndex(me as u16);
            let (mut passed, mut late) = asked.rounds[me].seen(slot);
            let mut accusation = asked.rounds[me].accusation(slot).map(|accused| (accused.aim, accused.question));
            if let Some(villain) = &mut people[places[me]].villain {
                villain.observes(&mut passed, &mut late);
                let slander =
                    villain.slanders(slot, members).filter(|aim| aim.target != index && slot.next().is_some());
                if let Some(aim) = slander {
                    let question = questions.draw(asked.rounds[me].seed(), &aim).expect("a state in memory");
                    accusation = Some((aim, question));
                }
            }
            asked.board.say(index, slot, (&passed, &late));
            let accused = accusation.filter(|(_, question)| matches!(question, Question::Chunk(_)));
            asked.accused.extend(accused.map(|(aim, question)| Accused { slot, accuser: index, aim, question }));
        }
    }
    asked
}

/// Lets members report what they saw, and liars what they like.
pub(super) fn report(world: &mut World, asking: &Asking<'_>, asked: &Asked) {
    // Nobody knows it before the middle of the closing.
    let draw = BlockId(*blake3::hash(&floe_types::codec::encode(&(asking.epoch, world.head().block))).as_bytes());
    let (mut said, closing) = (Vec::new(), usize::from(SLOTS) - 1);
    let (flaw, members) = (world.flaw, asking.places.len());
    let speaks = |me: &usize| asking.up[*me][closing] || flaw == Flaw::VouchForAll;
    for (me, place) in asking.places.iter().enumerate().filter(|(me, _)| speaks(me)) {
        let (index, round) = (MemberIndex(me as u16), &asked.rounds[me]);
        let reask = |(key, came): (&(Slot, MemberIndex), &Came)| {
            let ((slot, accuser), (target, tag, outcome)) = (*key, *came);
            let was_there = slot.next().is_some_and(|slot| asked.board.standing(slot, target).is_held());
            outcome.said(was_there).map(|said| ReAsk { slot, accuser, tag, said })
        };
        let mine = asked.accused.iter().filter(|accused| accused.accuser == index);
        let mut spoken = Spoken {
            held: round.held(),
            passed: round.passed(),
            accused: mine.map(|accused| (accused.aim, accused.question.tag())).collect(),
            reasks: asked.again[me].iter().filter_map(reask).take(REASKS_MAX).collect(),
        };
        let opening = match &mut world.people[*place].villain {
            Some(villain) => villain.reports(index, &mut spoken),
            None => Opening::Opened,
        };
        match flaw {
            Flaw::OverlookOne => {
                let last = MemberIndex(members as u16 - 1);
                spoken.held.iter_mut().flatten().for_each(|held| held.remove(last));
            }
            Flaw::VouchForAll => {
                let all = Some(MemberSet::below(members as u16));
                said.push((index, Spoken { held: std::array::from_fn(|_| all.clone()), ..spoken }));
                continue;
            }
            _ => {}
        }
        if opening == Opening::Opened
            && spoken.held.iter().any(Option::is_some)
            && can_show(round, index, &spoken, &draw)
        {
            said.push((index, spoken));
        }
    }
    for (index, spoken) in said {
        synthetic::report(&mut world.state, index, spoken);
    }
}

/// Whether every pass that the draw names is one.
fn can_show(round: &Round, me: MemberIndex, spoken: &Spoken, draw: &BlockId) -> bool {
    let shown = |slot: Slot, target: MemberIndex| {
        round.of_slot(slot).any(|(aim, got)| aim.target == target && got.answer().is_some())
    };
    drawn(draw, me, &spoken.held).into_iter().all(|(slot, target)| shown(slot, target))
}
