//! What a validator must remember of an undecided height, so that after a crash it signs nothing twice.
//!
//! The journal holds, in order, every input that the state of a height depends on: votes, proposals, polka
//! certificates, values with their verdicts, and timers that ran out. Replaying them leads to the same state
//! and the same signatures. A value's bytes stand in the first entry that speaks of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ballot::{SignedProposal, SignedVote};
use crate::certificate::PolkaCertificate;
use crate::codec::{self, DecodeError};
use crate::message::{Content, Message};
use crate::{Config, Height, Round, TimerKind, ValidatorKey, ValueId, Verdict};

/// One entry of the journal, to be kept in order and handed back whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The height it belongs to; it is needed until that height's decision is stored.
    pub height: Height,
    /// Its content, at most [`Config::message_bytes_max`] long.
    pub bytes: Bytes,
}

impl JournalEntry {
    /// The vote in it, its own node's or another's, as the message that brought it.
    pub fn vote(&self) -> Option<Message> {
        match codec::decode(&self.bytes, self.bytes.len()) {
            Ok(Record::Vote(vote)) => Some(Message(Content::Vote(vote))),
            _ => None,
        }
    }
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    Vote(SignedVote),
    Proposal(SignedProposal),
    Polka(PolkaCertificate),
    Value(ValueRecord),
    Timer { kind: TimerKind, round: Round },
}

/// That a value was proposed, and what this node thought of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ValueRecord {
    pub round: Round,
    pub valid_round: Option<Round>,
    pub proposer: ValidatorKey,
    pub value: ValueId,
    pub verdict: Verdict,
    /// `None` if an earlier entry of the height has them.
    pub bytes: Option<Bytes>,
}

impl Record {
    pub fn encode(&self, height: Height) -> JournalEntry {
        JournalEntry { height, bytes: codec::encode(self).into() }
    }

    pub fn decode(entry: &JournalEntry, config: &Config) -> Result<Self, DecodeError> {
        codec::decode(&entry.bytes, config.message_bytes_max())
    }
}
