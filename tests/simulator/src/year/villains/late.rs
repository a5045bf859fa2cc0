//! Has everything and shows it after the soft deadline.

use super::{Challenge, Reply, Villain};

/// One that takes its time.
pub struct Late;

impl Villain for Late {
    fn answer(&mut self, _asked: &Challenge<'_>) -> Reply {
        Reply::Late
    }
}
