//! Asks nobody and reports what others will have seen: that everybody was there.

use super::{Opening, Villain};
use floe_ledger::MemberSet;
use floe_ledger::synthetic::Spoken;
use floe_types::MemberIndex;

/// One that copies.
pub struct Copier;

impl Villain for Copier {
    fn asks(&self) -> bool {
        false
    }

    fn reports(&mut self, _me: MemberIndex, spoken: &mut Spoken) -> Opening {
        let all = MemberSet::below(spoken.passed.len() as u16);
        spoken.held.iter_mut().for_each(|held| *held = Some(all.clone()));
        Opening::Opened
    }
}
