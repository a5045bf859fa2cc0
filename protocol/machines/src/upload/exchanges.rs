//! One exchange with one holder, tried again until it is done, refused for good or no longer wanted.

use super::{Config, Outcome};
use crate::wire::fragment::{RETRY_MILLIS_MAX, Refusal};

/// How far an exchange is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// To be tried from then on.
    Due { at: u64 },
    /// Under way; given up then.
    Open { deadline: u64 },
    /// As asked.
    Done,
    /// The holder never will.
    Refused(Refusal),
}

/// An exchange and its history.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub stage: Stage,
    /// What it is, for the jitter.
    what: u64,
    attempts: u32,
    /// Whether the last try broke, rather than being put off by a holder that is there.
    pub broke: bool,
}

impl Exchange {
    pub(super) fn new(what: u64) -> Exchange {
        Exchange { stage: Stage::Due { at: 0 }, what, attempts: 0, broke: false }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open { .. })
    }

    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        matches!(self.stage, Stage::Due { at } if at <= now)
    }

    pub(super) fn open(&mut self, now: u64, bytes: u64, config: &Config) {
        let moving = (bytes / config.transfer_rate_min.max(1)).saturating_mul(1_000);
        let deadline = now.saturating_add(config.transfer_millis_min).saturating_add(moving);
        self.stage = Stage::Open { deadline };
    }

    /// Takes the end of an open exchange. Gives what it brought.
    pub(super) fn end<T>(&mut self, now: u64, outcome: Outcome<T>, seed: u64, config: &Config) -> Option<T> {
        if !self.is_open() {
            return None;
        }
        let (asked, broke) = match outcome {
            Outcome::Done(value) => {
                self.stage = Stage::Done;
                return Some(value);
            }
            Outcome::Refused { reason, .. } if !reason.may_pass() => {
                self.stage = Stage::Refused(reason);
                return None;
            }
            Outcome::Refused { retry_after_millis, .. } => (retry_after_millis, false),
            Outcome::Busy { retry_after_millis } => (Some(retry_after_millis), false),
            Outcome::Broken => (None, true),
        };
        let asked = u64::from(asked.unwrap_or(0).min(RETRY_MILLIS_MAX));
        let wait = config.backoff(seed, self.what, self.attempts).max(asked);
        self.attempts = self.attempts.saturating_add(1);
        self.broke = broke;
        self.stage = Stage::Due { at: now.saturating_add(wait) };
        None
    }

    /// When time matters next.
    pub(super) fn wake_at(&self) -> Option<u64> {
        match self.stage {
            Stage::Due { at } => Some(at),
            Stage::Open { deadline } => Some(deadline),
            Stage::Done | Stage::Refused(_) => None,
        }
    }
}
