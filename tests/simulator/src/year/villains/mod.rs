//! Those who behave badly, one a file.
//!
//! A villain has a member's node. It decides whether it is there, what it replies, what it says of slots, what it reports and what
//! it declares to the ledger; everything else about it is as about anybody. Two are no nodes: a [`grinder`] proposes blocks, a
//! [`minimal_uploader`] stores blobs.

pub mod clique;
pub mod copier;
pub mod fetcher;
pub mod flapper;
pub mod framer;
pub mod grinder;
pub mod late;
pub mod minimal_uploader;
pub mod non_opener;
pub mod partial;
pub mod selective;
pub mod shielder;
pub mod withdrawer;
pub mod wrong_symbol;

use floe_ledger::MemberSet;
use floe_ledger::challenges::{Aim, Question, Slot};
use floe_ledger::synthetic::Spoken;
use floe_types::{Epoch, MemberIndex, SequenceNumber, ShardIndex};

/// A question as it comes to a villain.
pub struct Challenge<'a> {
    /// In which epoch.
    pub epoch: Epoch,
    /// In which slot.
    pub slot: Slot,
    /// Who asks.
    pub asker: MemberIndex,
    /// What.
    pub question: &'a Question,
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What was asked for, in time.
    Shown,
    /// What was asked for, after the soft deadline.
    Late,
    /// That it is not held.
    Denied,
    /// Bytes that do not lead to the blob.
    SomethingElse,
    /// Nothing.
    Nothing,
}

/// Whether a report is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is.
    Opened,
    /// It was committed to and is not.
    Withheld,
}

/// What is said of coverage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// Fragments are held.
    Held,
    /// They are not held any more.
    Lost,
}

/// What a villain pays for what it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes that it was asked for.
    pub challenged: u64,
    /// Bytes that it had to move for them.
    pub moved: u64,
}

/// One who has a node and behaves badly. What is not said otherwise is done as everybody does it.
pub trait Villain {
    /// Whether it is there. Asked once for each slot, in their order.
    fn is_up(&mut self, _epoch: Epoch, _slot: Slot) -> bool {
        true
    }

    /// Whether it could give this fragment for a repair or to a reader, if it were asked.
    fn gives(&self, _shard: ShardIndex, _number: SequenceNumber) -> bool {
        true
    }

    /// What it replies.
    fn answer(&mut self, _asked: &Challenge<'_>) -> Reply {
        Reply::Shown
    }

    /// Whether it asks the others.
    fn asks(&self) -> bool {
        true
    }

    /// Changes what it tells the others after a slot of who passed and who was late.
    fn observes(&mut self, _passed: &mut MemberSet, _late: &mut MemberSet) {}

    /// One of its questions of this slot that it says it could not get, whatever it got.
    fn slanders(&mut self, _slot: Slot, _members: usize) -> Option<Aim> {
        None
    }

    /// Changes its report.
    fn reports(&mut self, _me: MemberIndex, _spoken: &mut Spoken) -> Opening {
        Opening::Opened
    }

    /// What it declares near the end of an epoch in which it was accused so often, of blobs below `blobs`.
    fn declares(&mut self, _epoch: Epoch, _accused: usize, _blobs: u64) -> Vec<(Declared, Vec<SequenceNumber>)> {
        Vec::new()
    }

    /// Whether it rebuilds what it may and attests what it has.
    fn works(&self) -> bool {
        true
    }

    /// What it paid so far.
    fn cost(&self) -> Cost {
        Cost::default()
    }
}

/// Whether something with this name is among `ppm` of a million, by `salt`.
fn among(ppm: u64, salt: u64, name: &impl serde::Serialize) -> bool {
    let hash = blake3::hash(&floe_types::codec::encode(&(salt, name)));
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) % 1_000_000 < ppm
}
