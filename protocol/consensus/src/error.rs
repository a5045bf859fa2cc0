//! Why a step of the machine fails.

use thiserror::Error;

use crate::{Height, Round, Step};

/// Why a step failed.
///
/// The first group is a caller's mistake: nothing has changed and the machine goes on. After one of the second
/// group the machine refuses everything with [`Error::Stopped`]: the caller carries out nothing more, stops
/// the process and starts again from the journal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A height must be above the one before it.
    #[error("height {height} is not above the current height {current}")]
    HeightNotAbove {
        /// The height asked for.
        height: Height,
        /// The height the machine is at.
        current: Height,
    },
    /// A journal can be replayed only by a machine that has done nothing yet.
    #[error("the machine has already begun a height")]
    AlreadyStarted,
    /// The caller built a value that no node would accept.
    #[error("the value built has {length} bytes, at most {max} are allowed")]
    ValueTooLong {
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The caller built a value that its own check refuses.
    #[error("the value built for height {height} is invalid by our own check")]
    OwnValueInvalid {
        /// The height it was built for.
        height: Height,
    },

    /// An entry of the journal does not decode.
    #[error("journal entry {index} does not decode")]
    JournalMalformed {
        /// Its place, from 0.
        index: usize,
    },
    /// An entry of the journal decodes, but a signature, a value or its height is wrong.
    #[error("journal entry {index} is corrupt")]
    JournalCorrupt {
        /// Its place, from 0.
        index: usize,
    },
    /// Replaying the journal leads to another message than the one that was signed. Going on could sign twice.
    #[error("replay of height {height} round {round} derives another {step:?} than was signed")]
    ReplayDiverged {
        /// The height.
        height: Height,
        /// The round.
        round: Round,
        /// Which act differs.
        step: Step,
    },
    /// This node's key has already signed something else for the same act: the journal was lost, or another
    /// process uses the key.
    #[error("the key has signed another {step:?} for height {height} round {round}")]
    WouldEquivocate {
        /// The height.
        height: Height,
        /// The round.
        round: Round,
        /// Which act it would be.
        step: Step,
    },
    /// The consensus library failed or panicked: a bug.
    #[error("the consensus core failed: {reason}")]
    Core {
        /// What it said.
        reason: String,
    },
    /// An earlier error has stopped this machine.
    #[error("the machine was stopped by an earlier error")]
    Stopped,
}

impl Error {
    /// Whether the machine can no longer be trusted after this error.
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::HeightNotAbove { .. }
                | Self::AlreadyStarted
                | Self::ValueTooLong { .. }
                | Self::OwnValueInvalid { .. }
        )
    }
}
