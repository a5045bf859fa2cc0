//! Checks an audit file offline: from what is trusted to one answer, or to the part that was tampered with.

use super::chain::{Certificates, Checked, TermChain, Trust};
use super::proof::{AUDIT_BYTES_MAX, AUDIT_VERSION, AuditProof, LIVES_MAX, TERMS_MAX, is_whole};
use super::{EvidenceError, Part};
use crate::block::BoundaryHeader;
use crate::coverage::Run;
use crate::merkle::{MapProof, Presence, Root, value_hash};
use crate::records::{BlobRecord, Defence, SequenceRecord};
use crate::verdict::VerdictRecord;
use floe_types::{BlobId, BlockId, BlockTime, Epoch, Height, NetworkId, SequenceNumber, codec};
use serde::Serialize;

/// What a proof answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The blob was defended, and this was decided about it. The verdict is `undecided` when the epoch was.
    Judged {
        /// Its number.
        number: SequenceNumber,
        /// What is known of that life.
        life: SequenceRecord,
        /// Numbers that were judged together; up to the largest number there is when the newest blob was among them.
        run: Run,
        /// The verdict.
        record: VerdictRecord,
    },
    /// Its paid term was over before the epoch.
    Forgotten {
        /// The number it had.
        number: SequenceNumber,
        /// What is known of that life; its last paid epoch is before the one asked about.
        life: SequenceRecord,
    },
    /// Its encoding was shown to be inconsistent in the epoch or before: it was dropped.
    Invalid {
        /// The number it had.
        number: SequenceNumber,
        /// What is known of that life; its last epoch is before the one asked about.
        life: SequenceRecord,
    },
    /// It was registered by the time of the anchor, and not certified by the end of the epoch.
    NotCertified {
        /// What is known of it at the anchor.
        record: BlobRecord,
        /// The epoch in which it was certified first after that, if it was.
        certified: Option<Epoch>,
    },
    /// Nobody had registered it by the time of the anchor, which is not before the end of the epoch.
    NeverRegistered,
}

/// A checked audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The network.
    pub network: NetworkId,
    /// The blob asked about.
    pub blob: BlobId,
    /// The epoch asked about.
    pub epoch: Epoch,
    /// The answer.
    pub answer: Answer,
    /// The boundary that ended the epoch, and who signed it.
    pub decided: Checked,
    /// What that boundary says of the epoch.
    pub boundary: BoundaryHeader,
    /// Height, epoch and time of the block under which the blob was shown.
    pub anchor: (Height, Epoch, BlockTime),
    /// The boundary that was trusted; none: genesis.
    pub start: Option<Epoch>,
    /// Changes of committee on the way.
    pub terms: u64,
    /// Where the network goes on from another one, when the genesis that is trusted says so: before it that one's evidence
    /// holds. [`TermChain::seam`] checks who signed there.
    pub seam: Option<Seam>,
}

/// The end of the network before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seam {
    /// That network.
    pub network: NetworkId,
    /// Its newest signed boundary.
    pub block: BlockId,
    /// The last epoch that it decided.
    pub ended: Epoch,
}

/// Checks the file `bytes` against what is trusted.
///
/// # Errors
/// [`EvidenceError`] that names the part which is wrong.
pub fn verify(bytes: &[u8], trust: Trust<'_>, certificates: &dyn Certificates) -> Result<Audit, EvidenceError> {
    let (found, max) = (bytes.len(), AUDIT_BYTES_MAX);
    if found > max {
        return Err(EvidenceError::TooLong { found, max });
    }
    let proof = AuditProof::decode(bytes).map_err(|error| EvidenceError::Malformed { reason: error.to_string() })?;
    if proof.version != AUDIT_VERSION {
        return Err(EvidenceError::Version { found: proof.version, ours: AUDIT_VERSION });
    }
    if proof.network != trust.network() {
        return Err(EvidenceError::OtherNetwork { found: proof.network, expected: trust.network() });
    }
    let audit = check(proof, trust, certificates)?;
    // Everything that the answer rests on is proven by now. This finds a flip in what the question alone says.
    if is_whole(bytes) { Ok(audit) } else { Err(Part::Question.wrong("the check sum does not fit the file")) }
}

fn check(proof: AuditProof, trust: Trust<'_>, certificates: &dyn Certificates) -> Result<Audit, EvidenceError> {
    if proof.terms.len() > TERMS_MAX || proof.lives.len() > LIVES_MAX {
        return Err(EvidenceError::Malformed { reason: "more terms or lives than a proof may have".into() });
    }
    let mut chain = match (trust, &proof.start) {
        (Trust::Genesis(genesis), None) => TermChain::from_genesis(genesis),
        (Trust::Boundary { network, block }, Some(start)) => TermChain::from_boundary(network, block, start)?,
        (Trust::Genesis(_), Some(_)) => return Err(Part::Start.wrong("it begins with a boundary, genesis is trusted")),
        (Trust::Boundary { .. }, None) => {
            return Err(Part::Start.wrong("it begins with genesis, a boundary is trusted"));
        }
    };
    let mut decided = None;
    let ends = |checked: &Checked| ended(checked) == Some(proof.epoch);
    for link in &proof.terms {
        let checked = chain.extend(certificates, link)?;
        decided = decided.or(Some(checked).filter(ends));
    }
    let anchor = chain.check(certificates, &proof.anchor, Part::Anchor)?;
    chain.agrees(&anchor.header, Part::Anchor)?;
    if anchor.header.epoch <= proof.epoch {
        return Err(Part::Anchor.wrong("it stands in an epoch that does not come after the one asked about"));
    }
    decided = decided.or(Some(anchor.clone()).filter(ends));
    let decided = match (&proof.decided, decided) {
        (Some(sealed), None) => chain.check(certificates, sealed, Part::Decided)?,
        (None, Some(found)) => found,
        (Some(_), Some(_)) => return Err(Part::Decided.wrong("it is shown twice")),
        (None, None) => return Err(Part::Decided.wrong("the boundary that ended the epoch is missing")),
    };
    chain.agrees(&decided.header, Part::Decided)?;
    let boundary = decided.header.boundary.clone().filter(|boundary| boundary.ended == proof.epoch);
    let boundary = boundary.ok_or_else(|| Part::Decided.wrong("it is not the boundary of the epoch asked about"))?;
    let answer = answer(&proof, &anchor, &boundary)?;
    Ok(Audit {
        network: proof.network,
        blob: proof.blob,
        epoch: proof.epoch,
        answer,
        decided,
        boundary,
        anchor: (anchor.header.height, anchor.header.epoch, anchor.header.time),
        start: proof.start.and_then(|start| start.header.boundary).map(|boundary| boundary.ended),
        terms: proof.terms.len() as u64,
        seam: match trust {
            Trust::Genesis(genesis) => genesis.parent.as_ref().map(|parent| Seam {
                network: parent.network,
                block: parent.block,
                ended: parent.ended,
            }),
            Trust::Boundary { .. } => None,
        },
    })
}

fn ended(checked: &Checked) -> Option<Epoch> {
    checked.header.boundary.as_ref().map(|boundary| boundary.ended)
}

/// Whether the map with `root` holds exactly `record` at `key`.
fn holds<T: Serialize>(
    proof: &MapProof,
    (root, key): (&Root, &[u8]),
    record: Option<&T>,
    part: Part,
) -> Result<(), EvidenceError> {
    let found = proof.verify(root, key).map_err(|error| part.wrong(error))?;
    match (found, record) {
        (Presence::Absent, None) => Ok(()),
        (Presence::Present { value, .. }, Some(record)) if value == value_hash(&codec::encode(record)) => Ok(()),
        _ => Err(part.wrong("the map says something else")),
    }
}

fn answer(proof: &AuditProof, anchor: &Checked, boundary: &BoundaryHeader) -> Result<Answer, EvidenceError> {
    let header = &anchor.header;
    let by_id = (&header.blobs_by_id_root, proof.blob.0.as_slice());
    holds(&proof.by_id.proof, by_id, proof.by_id.record.as_ref(), Part::Blob)?;
    check_lives(proof, &header.blobs_by_sequence_root)?;
    let asked = proof.lives.last().filter(|life| life.record.certified <= proof.epoch);
    let answer = match (&proof.by_id.record, asked) {
        (None, _) => Answer::NeverRegistered,
        (Some(record), None) => {
            let certified = proof.lives.last().map(|life| life.record.certified);
            Answer::NotCertified { record: record.clone(), certified }
        }
        (Some(_), Some(life)) if life.record.last < proof.epoch && life.record.defence == Defence::Invalid => {
            Answer::Invalid { number: life.number, life: life.record.clone() }
        }
        (Some(_), Some(life)) if life.record.last < proof.epoch => {
            Answer::Forgotten { number: life.number, life: life.record.clone() }
        }
        (Some(_), Some(life)) => return judged(proof, (life.number, &life.record), boundary),
    };
    match proof.judged {
        None => Ok(answer),
        Some(_) => Err(Part::Verdict.wrong("there was nothing to judge")),
    }
}

/// The lives follow one another from the newest down, and stop where the epoch is reached and not before.
fn check_lives(proof: &AuditProof, root: &Root) -> Result<(), EvidenceError> {
    let mut next = proof.by_id.record.as_ref().and_then(|record| record.sequence);
    for life in &proof.lives {
        let part = Part::Life { number: life.number };
        if next != Some(life.number) {
            return Err(part.wrong("it is not the life that comes next"));
        }
        holds(&life.proof, (root, &life.number.0.to_be_bytes()), Some(&life.record), part)?;
        if life.record.blob != proof.blob {
            return Err(part.wrong("it is of another blob"));
        }
        next = if life.record.certified <= proof.epoch { None } else { life.record.previous };
    }
    match next {
        None => Ok(()),
        Some(number) => Err(Part::Life { number }.wrong("it is missing")),
    }
}

fn judged(
    proof: &AuditProof,
    (number, life): (SequenceNumber, &SequenceRecord),
    boundary: &BoundaryHeader,
) -> Result<Answer, EvidenceError> {
    let judged = proof.judged.as_ref().ok_or_else(|| Part::Verdict.wrong("it is missing"))?;
    // The segment says run and rows; they are the verdict's class and the past rows shown with it.
    let key = judged.run.last.0.to_be_bytes();
    let found = judged.segment.verify(&boundary.classes_root, &key).map_err(|error| Part::Class.wrong(error))?;
    if !matches!(found, Presence::Present { value, .. } if value == value_hash(&judged.segment_value())) {
        return Err(Part::Class.wrong("the map says something else"));
    }
    if !judged.run.contains(number) {
        return Err(Part::Class.wrong("the segment is not the one that the blob's number is in"));
    }
    let leaf = codec::encode(&(&judged.record, &judged.past));
    judged.verdict.verify(&boundary.verdict_root, &leaf).map_err(|error| Part::Verdict.wrong(error))?;
    if judged.record.epoch != proof.epoch {
        return Err(Part::Verdict.wrong("it is of another epoch"));
    }
    Ok(Answer::Judged { number, life: life.clone(), run: judged.run, record: judged.record.clone() })
}
