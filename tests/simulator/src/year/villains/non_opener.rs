//! Does all it should and never opens its report.

use super::{Opening, Villain};
use floe_ledger::synthetic::Spoken;
use floe_types::MemberIndex;

/// One that keeps its report to itself.
pub struct NonOpener;

impl Villain for NonOpener {
    fn reports(&mut self, _me: MemberIndex, _spoken: &mut Spoken) -> Opening {
        Opening::Withheld
    }
}
