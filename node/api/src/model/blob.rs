//! One blob as the network sees it: phase, paid term, verdict, ruler.

use super::{Amount, Margin, Ruler, Time};
use floe_types::params::ATTRIBUTES_BYTES_MAX;
use floe_types::{AccountId, BlobId, Epoch, RegistrationNumber, SequenceNumber};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What consensus decided about a blob for an epoch, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Certified; the first boundary since has not come yet.
    Pending,
    /// Every shard is covered and its holder answered.
    Intact,
    /// Some are absent and nothing is done about it, on purpose.
    Tolerated,
    /// Some of it is being rebuilt.
    Repairing,
    /// Fewer than the read line answered; holders may return.
    Unavailable,
    /// Fewer than the read line are covered at all.
    Lost,
    /// The paid term has ended.
    Forgotten,
    /// The epoch ended without enough reports to decide.
    Undecided,
    /// Its encoding is inconsistent: the network has dropped it.
    Invalid,
}

impl Verdict {
    /// The word as headers and labels spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pending => "pending",
            Verdict::Intact => "intact",
            Verdict::Tolerated => "tolerated",
            Verdict::Repairing => "repairing",
            Verdict::Unavailable => "unavailable",
            Verdict::Lost => "lost",
            Verdict::Forgotten => "forgotten",
            Verdict::Undecided => "undecided",
            Verdict::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whether a newer verdict is due and could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Freshness {
    /// It is of the newest epoch that could have ended.
    Current,
    /// The boundary is overdue: there is no newer decision.
    NoNewerDecision,
}

/// A decided verdict with its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastVerdict {
    /// The verdict, never `pending` or `undecided`.
    pub verdict: Verdict,
    /// The epoch it is about.
    pub epoch: Epoch,
    /// When that epoch's boundary block was made.
    pub decided_at: Time,
}

/// The verdicts on a blob, by change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictsView {
    /// The blob.
    pub blob_id: BlobId,
    /// The lines of its ruler.
    pub lines: super::Lines,
    /// Newest first.
    pub changes: Vec<VerdictChange>,
}

/// From this epoch on, until that of the next change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictChange {
    /// The epoch.
    pub epoch: Epoch,
    /// When it ended.
    pub decided_at: Time,
    /// The verdict.
    pub verdict: Verdict,
    /// Covered shards whose holder answered.
    pub held: u16,
    /// Covered shards whose holder did not.
    pub absent: u16,
    /// Shards that nobody attested.
    pub uncovered: u16,
}

/// The newest verdict, never without its date: an old one is never shown bare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The verdict of the newest boundary since certification.
    pub verdict: Verdict,
    /// The epoch it is about; absent while pending.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epoch: Option<Epoch>,
    /// When it was decided; absent while pending.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decided_at: Option<Time>,
    /// Whether a newer one is overdue.
    pub freshness: Freshness,
    /// While pending: about when the first verdict comes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_about: Option<Time>,
    /// When undecided or forgotten: the last one that was decided about the defended blob.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<LastVerdict>,
}

impl Standing {
    /// The value of the `floe-verdict` header.
    #[must_use]
    pub fn header(&self) -> String {
        let mut text = match (self.verdict, self.freshness) {
            (Verdict::Pending, _) => "pending".to_owned(),
            (verdict, Freshness::Current) => verdict.word().to_owned(),
            (verdict, Freshness::NoNewerDecision) => format!("undecided; last={verdict}"),
        };
        if let (Verdict::Pending, Some(first)) = (self.verdict, self.first_about) {
            text.push_str(&format!("; first=\"{first}\""));
        }
        if let Some(epoch) = self.epoch {
            text.push_str(&format!("; epoch={epoch}"));
        }
        if let (Freshness::NoNewerDecision, Some(at)) = (self.freshness, self.decided_at) {
            text.push_str(&format!("; decided=\"{at}\""));
        }
        if let Some(last) = &self.last {
            text.push_str(&format!("; last={}; last-epoch={}", last.verdict, last.epoch));
        }
        text
    }
}

/// How far a blob's registration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BlobPhase {
    /// Paid for; not yet certified.
    Registered,
    /// Certified and within its paid term: challenged, judged, defended.
    Defended,
    /// Past its paid term.
    Forgotten,
}

/// The epochs a blob is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaidTerm {
    /// The first paid epoch: that of registration.
    pub first_epoch: Epoch,
    /// The last paid epoch, inclusive.
    pub last_epoch: Epoch,
    /// When the last paid epoch ends: about, while it lies ahead; exact, once it has ended.
    pub ends_about: Time,
}

/// What the sender said about the bytes; committed in the registration, 1 KiB at most in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attributes {
    /// Media type, given back as `content-type`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content_type: Option<String>,
    /// Name of the file it came from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file_name: Option<String>,
    /// Anything else, by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub tags: BTreeMap<String, String>,
}

/// Attributes that the ledger would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// All keys and values together are too long.
    #[error("attributes take {found} bytes, at most {max} are kept")]
    TooLong {
        /// Bytes given.
        found: usize,
        /// Bytes kept.
        max: usize,
    },
    /// A control character, which could split a header or a line.
    #[error("attribute {key} holds a control character")]
    Control {
        /// Which one.
        key: String,
    },
}

const CONTENT_TYPE_KEY: &str = "content-type";
const FILE_NAME_KEY: &str = "file-name";

impl Attributes {
    /// Keys and values as the ledger keeps them, ascending by key.
    #[must_use]
    pub fn pairs(&self) -> BTreeMap<String, String> {
        let mut pairs = self.tags.clone();
        let named = [(CONTENT_TYPE_KEY, &self.content_type), (FILE_NAME_KEY, &self.file_name)];
        for (key, value) in named {
            if let Some(value) = value {
                pairs.insert(key.to_owned(), value.clone());
            }
        }
        pairs
    }

    /// The attributes kept as `pairs`.
    #[must_use]
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Attributes {
        let mut tags: BTreeMap<String, String> = pairs.into_iter().collect();
        let (content_type, file_name) = (tags.remove(CONTENT_TYPE_KEY), tags.remove(FILE_NAME_KEY));
        Attributes { content_type, file_name, tags }
    }

    /// Checks length and characters.
    ///
    /// # Errors
    /// [`AttributesError`] with the first thing wrong.
    pub fn check(&self) -> Result<(), AttributesError> {
        let pairs = self.pairs();
        let found: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        if found > ATTRIBUTES_BYTES_MAX {
            return Err(AttributesError::TooLong { found, max: ATTRIBUTES_BYTES_MAX });
        }
        let bad = |text: &str| text.chars().any(char::is_control);
        match pairs.iter().find(|(key, value)| bad(key) || bad(value)) {
            Some((key, _)) => Err(AttributesError::Control { key: key.escape_debug().take(64).collect() }),
            None => Ok(()),
        }
    }
}

/// What the headers of a read say: enough for `HEAD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobHead {
    /// The blob.
    pub blob_id: BlobId,
    /// Its length in bytes.
    pub length: u64,
    /// What its sender said about it.
    pub attributes: Attributes,
    /// The newest verdict.
    pub standing: Standing,
    /// What it is paid for; of several registrations, that which ends last.
    pub term: PaidTerm,
}

/// Everything `floe status <id>` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobStatus {
    /// The blob.
    pub blob_id: BlobId,
    /// Its length in bytes.
    pub length: u64,
    /// Bytes of all its fragments, all shards.
    pub encoded_bytes: u64,
    /// How far it has come.
    pub phase: BlobPhase,
    /// What its sender said about it.
    pub attributes: Attributes,
    /// Whose registration it is.
    pub owner: AccountId,
    /// The registration that ends last.
    pub registration: RegistrationNumber,
    /// Its place in the order of certification.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sequence: Option<SequenceNumber>,
    /// When it was certified.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certified_epoch: Option<Epoch>,
    /// What it is paid for.
    pub term: PaidTerm,
    /// The newest verdict; absent until certified.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub standing: Option<Standing>,
    /// Where the newest decided verdict puts it on the ruler; absent until decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ruler: Option<Ruler>,
    /// The margin of that ruler.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub margin: Option<Margin>,
    /// Of a blob that is tolerated with silent holders, the epoch in which repair begins if nothing changes. None: not before
    /// one of them is excluded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repair_begins: Option<Epoch>,
    /// Shards whose holder attests the fragment now. Not part of any verdict: what this node knows since the last decision.
    pub attested: u16,
    /// The lines of the blob's ruler, for one that has none yet.
    pub lines: super::Lines,
    /// The current epoch.
    pub epoch: Epoch,
    /// About when the current epoch ends; in the past when the boundary is overdue.
    pub next_boundary_about: Time,
}

/// A line of `floe list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobSummary {
    /// The blob.
    pub blob_id: BlobId,
    /// Its length in bytes.
    pub length: u64,
    /// Its place in the order of certification: the cursor of the list.
    pub sequence: SequenceNumber,
    /// Name of the file it came from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file_name: Option<String>,
    /// What it is paid for.
    pub term: PaidTerm,
    /// The newest verdict.
    pub standing: Standing,
    /// Shards held by the newest decided verdict.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<u16>,
}

/// A page of certified blobs, in order of certification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobList {
    /// The blobs of this page.
    pub blobs: Vec<BlobSummary>,
    /// Certified blobs in all, forgotten ones included.
    pub total: u64,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<SequenceNumber>,
    /// Price of one encoded MiB for one epoch, for the reader's sums.
    pub price: Amount,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_verdict_is_never_shown_bare() {
        let intact = Standing {
            verdict: Verdict::Intact,
            epoch: Some(Epoch(41)),
            decided_at: Some(Time(1_795_183_365_000)),
            freshness: Freshness::Current,
            first_about: None,
            last: None,
        };
        assert_eq!(intact.header(), "intact; epoch=41");
        let stale = Standing { freshness: Freshness::NoNewerDecision, ..intact };
        assert_eq!(stale.header(), "undecided; last=intact; epoch=41; decided=\"2026-11-20T14:02:45Z\"");
        let last = LastVerdict { verdict: Verdict::Intact, epoch: Epoch(40), decided_at: Time(0) };
        let undecided = Standing { verdict: Verdict::Undecided, last: Some(last), ..intact };
        assert_eq!(undecided.header(), "undecided; epoch=41; last=intact; last-epoch=40");
        let pending = Standing {
            verdict: Verdict::Pending,
            epoch: None,
            decided_at: None,
            first_about: Some(Time(1_795_183_365_000)),
            ..intact
        };
        assert_eq!(pending.header(), "pending; first=\"2026-11-20T14:02:45Z\"");
    }

    #[test]
    fn attributes_survive_as_pairs_and_are_bounded() {
        let attributes = Attributes {
            content_type: Some("image/jpeg".to_owned()),
            file_name: Some("photo.jpg".to_owned()),
            tags: BTreeMap::from([("album".to_owned(), "2026".to_owned())]),
        };
        assert_eq!(Attributes::from_pairs(attributes.pairs()), attributes);
        assert_eq!(attributes.check(), Ok(()));
        let long = Attributes { file_name: Some("x".repeat(ATTRIBUTES_BYTES_MAX)), ..Attributes::default() };
        assert!(matches!(long.check(), Err(AttributesError::TooLong { .. })));
        let split = Attributes { content_type: Some("a\r\nb".to_owned()), ..Attributes::default() };
        assert!(matches!(split.check(), Err(AttributesError::Control { .. })));
    }
}
