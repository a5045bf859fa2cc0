//! What is about to happen, in order of time; what is due at one moment happens in the order it was planned.

use std::collections::BTreeMap;

/// The queue of a run.
#[derive(Debug)]
pub struct Queue<T> {
    events: BTreeMap<(u64, u64), T>,
    planned: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { events: BTreeMap::new(), planned: 0 }
    }
}

impl<T> Queue<T> {
    /// Plans an event at virtual time `at` (milliseconds).
    pub fn plan(&mut self, at: u64, event: T) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }

    /// The next event with its time.
    pub fn take_next(&mut self) -> Option<(u64, T)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// Events ever planned.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.planned
    }
}
