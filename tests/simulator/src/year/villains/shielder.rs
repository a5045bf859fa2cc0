//! Says of its friend that it passed, whether it did or not, and was shown whatever others were not.

use super::{Opening, Villain};
use floe_ledger::MemberSet;
use floe_ledger::reports::{ReAsk, Said};
use floe_ledger::synthetic::Spoken;
use floe_types::MemberIndex;

/// One that vouches.
pub struct Shielder {
    /// For whom.
    pub of: MemberIndex,
}

impl Villain for Shielder {
    fn observes(&mut self, passed: &mut MemberSet, _late: &mut MemberSet) {
        passed.insert(self.of);
    }

    fn reports(&mut self, _me: MemberIndex, spoken: &mut Spoken) -> Opening {
        spoken.held.iter_mut().flatten().for_each(|held| held.insert(self.of));
        let shown = |reask: &ReAsk| ReAsk { said: Said::Shown, ..*reask };
        spoken.reasks = spoken.reasks.iter().map(shown).collect();
        Opening::Opened
    }
}
