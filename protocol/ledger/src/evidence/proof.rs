//! What an audit file holds, and how a node makes one from its state.
//!
//! ```text
//!  encoding   | proof, canonical | check sum 16 |
//!
//!  proof      version, network, blob, epoch asked
//!             [start]           a trusted boundary and its committee; none: genesis
//!             terms             a header for each change of committee since
//!             [decided]         the boundary that ended the epoch; none when it is one of the others
//!             anchor            the newest block of whoever made the proof
//!             by id             the blob in the map by id, under the anchor
//!             lives             newest first, under the anchor, down to the one the epoch is about
//!             [judged]          the segment in its map and the verdict in its list, under the decided boundary
//! ```

use super::chain::{Certificates, StartHeader, TermLink};
use super::kept::{self, List};
use super::list::ListProof;
use super::roll::{self, Roll};
use super::sealed::Sealed;
use super::segments;
use crate::boundary;
use crate::coverage::Run;
use crate::merkle::{Map, MapProof};
use crate::pages;
use crate::records::{BlobRecord, SequenceRecord};
use crate::rows::RowSet;
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use crate::verdict::VerdictRecord;
use floe_types::codec::{self, DecodeError};
use floe_types::{BlobId, Epoch, Height, NetworkId, SequenceNumber};
use serde::{Deserialize, Serialize};

/// The version of audit files.
pub const AUDIT_VERSION: u32 = 2;
/// The longest audit file: 400 epochs of the largest committees with a change in every other epoch.
pub const AUDIT_BYTES_MAX: usize = 64 << 20;
/// The most changes of committee in one.
pub const TERMS_MAX: usize = 8192;
/// The most lives of a blob in one.
pub const LIVES_MAX: usize = 256;
/// Bytes of the check sum at the end of a file. It finds damage; what finds forgery is the proof.
const CHECK_BYTES: usize = 16;

/// A blob's entry in the map by id, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ById {
    /// The path.
    pub proof: MapProof,
    /// What is there.
    pub record: Option<BlobRecord>,
}

/// A life of the blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its number.
    pub number: SequenceNumber,
    /// The path.
    pub proof: MapProof,
    /// What is there.
    pub record: SequenceRecord,
}

/// The class that the blob was in, and the verdict on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Shows that the numbers of `run` are one segment, covered by the rows of the verdict's class and by `past` ones.
    pub segment: MapProof,
    /// Numbers that the same rows cover; up to the largest number there is when the newest blob is among them.
    pub run: Run,
    /// Shows the verdict with `past` in the list of verdicts.
    pub verdict: ListProof,
    /// The verdict.
    pub record: VerdictRecord,
    /// Past rows that coverage still named there.
    pub past: RowSet,
}

impl Judged {
    /// What the map of segments must hold at the last number of the run.
    pub(super) fn segment_value(&self) -> Vec<u8> {
        codec::encode(&(self.run.first.0, self.record.class.union(&self.past)))
    }
}

/// Everything that answers *was this blob available in this epoch, and who says so*. Unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditProof {
    /// [`AUDIT_VERSION`].
    pub version: u32,
    /// The network.
    pub network: NetworkId,
    /// The blob asked about.
    pub blob: BlobId,
    /// The epoch asked about.
    pub epoch: Epoch,
    /// The trusted boundary; none for genesis.
    pub start: Option<StartHeader>,
    /// Changes of committee since, oldest first.
    pub terms: Vec<TermLink>,
    /// The boundary that ended the epoch; none when it is one of the terms' or the anchor.
    pub decided: Option<Sealed>,
    /// The block under which the blob is shown.
    pub anchor: Sealed,
    /// The blob by its id.
    pub by_id: ById,
    /// Its lives.
    pub lives: Vec<Life>,
    /// What was judged; none when there was nothing to judge.
    pub judged: Option<Judged>,
}

impl AuditProof {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = codec::encode(self);
        let check = check_sum(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// The proof in a file. The check sum is compared by whoever verifies, last of all, so that what is wrong is named.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are too many or not the canonical encoding of a proof.
    pub fn decode(bytes: &[u8]) -> Result<AuditProof, DecodeError> {
        let body = bytes.len().saturating_sub(CHECK_BYTES);
        codec::decode(bytes.get(..body).unwrap_or_default(), AUDIT_BYTES_MAX)
    }
}

fn check_sum(body: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = codec::hash("floe 1 ledger: audit file", body);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash[..CHECK_BYTES]);
    check
}

/// Whether the file's check sum fits its bytes.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<CHECK_BYTES>().is_some_and(|(body, check)| check_sum(body) == *check)
}

/// Decided blocks' headers, wherever they are kept.
pub trait Headers {
    /// The header at `height`: of every boundary block there is, and of the newest block.
    ///
    /// # Errors
    /// [`StateError`] when the medium fails.
    fn sealed(&self, height: Height) -> Result<Option<Sealed>, StateError>;
}

/// From where the auditor wants to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Genesis.
    Genesis,
    /// The boundary that ended this epoch, which must be remembered.
    Boundary(Epoch),
}

/// What an auditor asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// About which blob.
    pub blob: BlobId,
    /// About which epoch.
    pub epoch: Epoch,
    /// From where it is to be checked.
    pub from: Origin,
}

/// Why no proof can be made here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The epoch has not ended.
    #[error("epoch {epoch} is not over; epoch {running} is running")]
    NotOver {
        /// The epoch asked about.
        epoch: Epoch,
        /// The one that is running.
        running: Epoch,
    },
    /// The epoch, or the boundary to begin with, is no longer remembered, or never was.
    #[error("nothing is kept of epoch {epoch}; the oldest kept is {oldest}")]
    NotKept {
        /// The epoch asked about.
        epoch: Epoch,
        /// The oldest that is kept.
        oldest: Epoch,
    },
    /// The boundary to begin with must come before the epoch.
    #[error("the boundary of epoch {start} cannot vouch for epoch {epoch}")]
    StartTooLate {
        /// The boundary.
        start: Epoch,
        /// The epoch asked about.
        epoch: Epoch,
    },
    /// A decided header is not kept by this node: it has joined from a snapshot and not fetched it, or is damaged.
    #[error("the header at height {height} is not kept by this node; ask another one")]
    HeaderMissing {
        /// The height.
        height: Height,
    },
    /// The blob has had too many lives, or the committee changed too often.
    #[error("{what}: {found}, at most {max} fit a proof; begin with a later boundary")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many fit.
        max: usize,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
}

struct Source<'a> {
    state: &'a dyn StateRead,
    headers: &'a dyn Headers,
    certificates: &'a dyn Certificates,
}

impl Source<'_> {
    fn sealed(&self, height: Height) -> Result<Sealed, AuditError> {
        self.headers.sealed(height)?.ok_or(AuditError::HeaderMissing { height })
    }

    fn roll_in(&self, epoch: Epoch) -> Result<Roll, AuditError> {
        let found = roll::term_in(self.state, epoch)?;
        let missing = || Table::Rolls.damaged("no committee is written down for an epoch");
        Ok(found.ok_or_else(missing)?.1.roll)
    }

    fn start(&self, from: Origin, epoch: Epoch) -> Result<(Epoch, Option<StartHeader>), AuditError> {
        let Origin::Boundary(start) = from else { return Ok((Epoch(1), None)) };
        if start >= epoch {
            return Err(AuditError::StartTooLate { start, epoch });
        }
        let record = self.boundary(start)?;
        let sealed = self.sealed(record)?;
        let opened = sealed.open().map_err(|_| AuditError::HeaderMissing { height: record })?;
        let term = roll::term_in(self.state, start.next())?;
        let (_, term) = term.ok_or_else(|| Table::Rolls.damaged("no committee is written down for an epoch"))?;
        Ok((start.next(), Some(StartHeader { header: opened.header, roll: term.roll, rest: term.rest })))
    }

    /// The height of the boundary block that ended `epoch`.
    fn boundary(&self, epoch: Epoch) -> Result<Height, AuditError> {
        if let Some(record) = boundary::epoch_record(self.state, epoch)? {
            return Ok(record.height);
        }
        let oldest = Table::Epochs.page(self.state, &[], &[], 1)?;
        let oldest = oldest.first().and_then(|(key, _)| crate::tables::number_at(Table::Epochs, key, 0).ok());
        Err(AuditError::NotKept { epoch, oldest: Epoch(oldest.unwrap_or(epoch.0)) })
    }

    fn terms(&self, after: Epoch, asked: Epoch) -> Result<Vec<TermLink>, AuditError> {
        let records = roll::terms_after(self.state, after)?;
        if records.len() > TERMS_MAX {
            return Err(AuditError::TooMany { what: "changes of committee", found: records.len(), max: TERMS_MAX });
        }
        let link = |(first, record): (Epoch, roll::TermRecord)| match Epoch(first.0.saturating_sub(1)) == asked {
            // Who signed the boundary that is asked about is part of the answer; of others a quorum will do.
            true => Ok(TermLink { sealed: self.sealed(record.height)?, roll: record.roll, rest: record.rest }),
            false => self.link(first, record),
        };
        records.into_iter().map(link).collect()
    }

    /// The link to the term that begins with `first`, its certificate cut to a quorum.
    fn link(&self, first: Epoch, record: roll::TermRecord) -> Result<TermLink, AuditError> {
        let mut sealed = self.sealed(record.height)?;
        let before = self.roll_in(Epoch(first.0.saturating_sub(1)))?;
        sealed.certificate = self.certificates.least(&before, &sealed.certificate);
        Ok(TermLink { sealed, roll: record.roll, rest: record.rest })
    }

    /// The blob's lives from the newest down to the first that had begun by the end of `epoch`.
    fn lives(&self, newest: Option<SequenceNumber>, epoch: Epoch) -> Result<Vec<Life>, AuditError> {
        let mut lives = Vec::new();
        let mut next = newest;
        while let Some(number) = next {
            if lives.len() >= LIVES_MAX {
                return Err(AuditError::TooMany { what: "lives of the blob", found: lives.len() + 1, max: LIVES_MAX });
            }
            let record = crate::blobs::life(self.state, number)?;
            let record = record.ok_or_else(|| Table::Sequence.damaged("a blob names a life that is missing"))?;
            let proof = pages::prove(self.state, Map::BySequence, &number.0.to_be_bytes())?;
            next = if record.certified <= epoch { None } else { record.previous };
            lives.push(Life { number, proof, record });
        }
        Ok(lives)
    }

    fn judged(&self, number: SequenceNumber, epoch: Epoch) -> Result<Judged, AuditError> {
        let damaged = |reason: &str| AuditError::State(Table::Lists.damaged(reason));
        let record = boundary::epoch_record(self.state, epoch)?.ok_or_else(|| damaged("an epoch is not remembered"))?;
        let shown = segments::show(self.state, epoch, number)?;
        if shown.root != record.boundary.classes_root {
            return Err(damaged("the segments of an epoch are not those that its boundary names"));
        }
        let verdicts = kept::leaves(self.state, epoch, List::Verdicts)?;
        for (place, leaf) in (0u64..).zip(&verdicts) {
            let (record, past): (VerdictRecord, RowSet) = Table::Lists.parse(leaf)?;
            if record.class.union(&past) == shown.rows {
                let verdict = ListProof::of(&verdicts, place);
                let verdict = verdict.ok_or_else(|| damaged("a list is shorter than its items"))?;
                return Ok(Judged { segment: shown.proof, run: shown.run, verdict, record, past });
            }
        }
        Err(damaged("a class has no verdict"))
    }
}

/// Changes of committee with first epochs above `after`, oldest first, for somebody who follows the chain of terms: as many
/// as fit `bytes_max` bytes, and one when there is one.
///
/// # Errors
/// [`AuditError`].
pub fn links(
    after: Epoch,
    bytes_max: usize,
    state: &dyn StateRead,
    headers: &dyn Headers,
    certificates: &dyn Certificates,
) -> Result<Vec<TermLink>, AuditError> {
    let source = Source { state, headers, certificates };
    let mut links = Vec::new();
    let mut bytes = 0;
    for (first, record) in roll::terms_after(state, after)? {
        let link = source.link(first, record)?;
        bytes += codec::encode(&link).len();
        if bytes > bytes_max && !links.is_empty() {
            break;
        }
        links.push(link);
    }
    Ok(links)
}

/// Makes the proof that answers `question`, from `state` and the headers of the same node. The newest header must be that of
/// the block after which `state` stands.
///
/// # Errors
/// [`AuditError`] with why there is none.
pub fn audit(
    question: &Question,
    network: NetworkId,
    state: &dyn StateRead,
    headers: &dyn Headers,
    certificates: &dyn Certificates,
) -> Result<AuditProof, AuditError> {
    let Question { blob, epoch, from } = *question;
    let source = Source { state, headers, certificates };
    let head = crate::views::head(state)?;
    if epoch >= head.epoch {
        return Err(AuditError::NotOver { epoch, running: head.epoch });
    }
    let ended_at = source.boundary(epoch)?;
    let (first, start) = source.start(from, epoch)?;
    let terms = source.terms(first, epoch)?;
    let is_term = roll::term_in(state, epoch.next())?.is_some_and(|(first, _)| first == epoch.next());
    let decided = match ended_at == head.height || is_term {
        true => None,
        false => Some(source.sealed(ended_at)?),
    };
    let record = crate::blobs::record(state, &blob)?;
    let lives = source.lives(record.as_ref().and_then(|record| record.sequence), epoch)?;
    let asked = lives.last().filter(|life| life.record.certified <= epoch && epoch <= life.record.last);
    let judged = asked.map(|life| source.judged(life.number, epoch)).transpose()?;
    let by_id = ById { proof: pages::prove(state, Map::ById, &blob.0)?, record };
    let anchor = source.sealed(head.height)?;
    let version = AUDIT_VERSION;
    Ok(AuditProof { version, network, blob, epoch, start, terms, decided, anchor, by_id, lives, judged })
}
