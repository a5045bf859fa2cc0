//! Has everything and shows it to the first few members only.

use super::{Challenge, Reply, Villain};

/// One that serves so many.
pub struct Selective {
    /// Members below this are answered.
    pub served: u16,
}

impl Villain for Selective {
    fn answer(&mut self, asked: &Challenge<'_>) -> Reply {
        if asked.asker.0 < self.served { Reply::Shown } else { Reply::Nothing }
    }
}
