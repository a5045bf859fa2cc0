//! What goes into the machine and what comes out.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Certificate, CertificateError, Equivocation, Height, JournalEntry, Message, Round, ValidatorKey, ValidatorSet,
    ValueId,
};

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin this height with these validators. It must be above the current height; an undecided one is
    /// abandoned, and nothing of it is signed any more.
    StartHeight {
        /// The height.
        height: Height,
        /// Who votes at it.
        validators: ValidatorSet,
    },
    /// A message came from the network. Its signatures are unchecked.
    Message(Message),
    /// A timer that was set has run out. One of another height or round is ignored.
    TimerFired(Timer),
    /// The answer to [`Effect::BuildValue`]. One that comes too late is ignored.
    ValueBuilt {
        /// The height asked for.
        height: Height,
        /// The round asked for.
        round: Round,
        /// The value.
        value: Bytes,
    },
    /// Somebody says that the current height was decided so, with proof.
    Synced {
        /// The height.
        height: Height,
        /// The decided value.
        value: Bytes,
        /// The proof.
        certificate: Certificate,
    },
}

/// What the caller must do, in the order given. Doing any of them twice is harmless.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Keep this entry. It must be durable before any later [`Effect::Publish`], of this step or another, is
    /// carried out; entries of one step may be written together at its first publish.
    Journal(JournalEntry),
    /// Send this message to all other validators.
    Publish(Message),
    /// Answer with [`Input::TimerFired`] after this time. A timer that is set already starts anew.
    SetTimer {
        /// Which timer.
        timer: Timer,
        /// How long from now.
        after: Duration,
    },
    /// Forget this timer, if it is set.
    CancelTimer(Timer),
    /// Forget all timers.
    CancelAllTimers,
    /// This node proposes: build a value and answer with [`Input::ValueBuilt`] well within the propose timeout.
    BuildValue {
        /// The height it is for.
        height: Height,
        /// The round it is for.
        round: Round,
    },
    /// The height is decided. The last effect of its height: store value and certificate, then drop the journal's
    /// entries of the height, then start the next height when there is a reason to.
    Decided {
        /// The height.
        height: Height,
        /// The round whose precommits decided it.
        round: Round,
        /// The value.
        value: Bytes,
        /// The proof, already verified.
        certificate: Certificate,
        /// Who was caught signing two things at this height.
        equivocations: Vec<Equivocation>,
    },
    /// Others are, or may be, at this height, above ours. Start it if ours is decided and this is the next; else
    /// fetch the decision of our height and hand it in as [`Input::Synced`].
    Behind {
        /// The height that a member signed a message for, or at least the next one.
        height: Height,
    },
    /// What was handed in as [`Input::Synced`] decides nothing.
    SyncRefused {
        /// The height it was said to decide.
        height: Height,
        /// What is wrong with it, and so who is to blame.
        fault: SyncFault,
    },
    /// A validator provably did what it should not. Equivocations come with the decision instead.
    Misbehaved {
        /// Who.
        key: ValidatorKey,
        /// What.
        what: Misbehaviour,
    },
    /// A message was not used. For the transport's opinion of who passed it on, and for counting.
    Dropped(DropReason),
}

/// Names one timer. At most one of each kind and round is set at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    /// The height that set it.
    pub height: Height,
    /// The round that set it.
    pub round: Round,
    /// What it is waiting for.
    pub kind: TimerKind,
}

/// What a timer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TimerKind {
    /// The round's proposal.
    Propose,
    /// A majority among the prevotes.
    Prevote,
    /// A majority among the precommits.
    Precommit,
    /// The time to repeat the last votes. It sets itself again.
    Rebroadcast,
}

/// Why a synced decision was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFault {
    /// It is not for the height under way. Nobody's fault.
    NotWanted,
    /// The certificate is for another height or another value: whoever gave it is wrong.
    Mismatch,
    /// The certificate proves nothing: whoever gave it is wrong.
    Certificate(CertificateError),
    /// A quorum decided a value that our own check refuses: this node is wrong, or more than a third are.
    InvalidValue,
}

/// What a validator provably did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It signed a proposal whose value this node finds invalid. No ground for punishment where validity depends
    /// on a clock.
    ProposedInvalid {
        /// The height.
        height: Height,
        /// The round.
        round: Round,
        /// The value.
        value_id: ValueId,
    },
}

/// Why a message was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Of a height that is over, or before the first began. Nobody's fault.
    Stale,
    /// Of a height or round too far ahead to keep. Nobody's fault.
    FarAhead,
    /// No room to put it by, or more of its kind than one sender needs.
    Full,
    /// Signed, as it says, by somebody who is no validator. Whoever passed it on may only lag.
    Stranger,
    /// A proposal by a validator whose turn it is not, or built on a later round. Whoever passed it on may lag.
    OutOfTurn,
    /// The signature is false. Whoever passed it on is to blame, not the named signer.
    BadSignature,
    /// A proposal's value is too long or not the one signed for. Whoever passed it on is to blame.
    WrongValue,
    /// A polka or round certificate that proves nothing. Whoever passed it on is to blame.
    BadCertificate,
}
