//! Says that nobody was there, and every slot that somebody else could not show what it was asked for.

use super::{Opening, Villain};
use floe_ledger::MemberSet;
use floe_ledger::challenges::{Aim, Slot};
use floe_ledger::reports::{ReAsk, Said};
use floe_ledger::synthetic::Spoken;
use floe_types::MemberIndex;

/// One that accuses.
#[derive(Default)]
pub struct Framer {
    turn: usize,
}

impl Villain for Framer {
    fn observes(&mut self, passed: &mut MemberSet, late: &mut MemberSet) {
        (*passed, *late) = (MemberSet::new(), MemberSet::new());
    }

    fn slanders(&mut self, slot: Slot, members: usize) -> Option<Aim> {
        self.turn += 1;
        Some(Aim { slot, target: MemberIndex((members - 1 - self.turn % members) as u16), at: 0 })
    }

    fn reports(&mut self, _me: MemberIndex, spoken: &mut Spoken) -> Opening {
        spoken.held.iter_mut().flatten().for_each(|held| *held = MemberSet::new());
        spoken.passed.iter_mut().for_each(|passed| *passed = 0);
        let missing = |reask: &ReAsk| ReAsk { said: Said::Missing, ..*reask };
        spoken.reasks = spoken.reasks.iter().map(missing).collect();
        Opening::Opened
    }
}
