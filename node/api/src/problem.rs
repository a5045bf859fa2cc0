//! Every refusal, as one document (RFC 9457): code, status, words for people, facts for programs.
//!
//! A [`Code`] never changes meaning. It fixes the class of problem, which is the exit code of `floe`, and the HTTP
//! status. What is inside a node is never shown: an internal error carries the request id under which it was logged.

use crate::model::{Amount, Ruler, Time};
use floe_types::{BlobId, Epoch};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The class of a problem: how a program that called `floe` should go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitCode {
    /// Done.
    Done,
    /// Failed in a way that no other class names.
    Failed,
    /// Usage or configuration.
    Usage,
    /// Not found.
    NotFound,
    /// Temporarily unavailable: retry.
    Unavailable,
    /// Gone: forgotten.
    Gone,
    /// Bytes, a proof or a key do not verify.
    Verification,
    /// Not allowed.
    NotAllowed,
    /// Not enough WAL, or a quota or capacity is used up.
    NotEnough,
    /// Conflicts with what is there.
    Conflict,
    /// Timed out with unknown outcome.
    OutcomeUnknown,
    /// Interrupted by the user.
    Interrupted,
}

impl ExitCode {
    /// Every class.
    pub const ALL: [ExitCode; 12] = [
        ExitCode::Done,
        ExitCode::Failed,
        ExitCode::Usage,
        ExitCode::NotFound,
        ExitCode::Unavailable,
        ExitCode::Gone,
        ExitCode::Verification,
        ExitCode::NotAllowed,
        ExitCode::NotEnough,
        ExitCode::Conflict,
        ExitCode::OutcomeUnknown,
        ExitCode::Interrupted,
    ];

    /// The process exit code.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            ExitCode::Done => 0,
            ExitCode::Failed => 1,
            ExitCode::Usage => 2,
            ExitCode::NotFound => 3,
            ExitCode::Unavailable => 4,
            ExitCode::Gone => 5,
            ExitCode::Verification => 6,
            ExitCode::NotAllowed => 7,
            ExitCode::NotEnough => 8,
            ExitCode::Conflict => 9,
            ExitCode::OutcomeUnknown => 10,
            ExitCode::Interrupted => 130,
        }
    }
}

/// What the table of [`codes`] says of a code.
struct Facts {
    word: &'static str,
    class: ExitCode,
    status: u16,
    title: &'static str,
    envelope: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $word:literal, $class:ident, $status:literal, $envelope:literal, $title:literal;)*) => {
        /// What went wrong. Stable for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            fn facts(self) -> Facts {
                match self {
                    $(Code::$name => Facts {
                        word: $word, class: ExitCode::$class, status: $status, title: $title, envelope: $envelope,
                    },)*
                }
            }
        }
    };
}

codes! {
    /// A request that is malformed: an unknown parameter, a value out of range.
    BadRequest, "BAD_REQUEST", Usage, 400, "INVALID_ARGUMENT", "The request is malformed";
    /// A text that is no blob id, nor the beginning of one.
    BlobIdMalformed, "BLOB_ID_MALFORMED", Usage, 400, "INVALID_ARGUMENT", "Not a blob id";
    /// A beginning that several known blobs share.
    BlobIdAmbiguous, "BLOB_ID_AMBIGUOUS", Usage, 400, "INVALID_ARGUMENT", "Several blobs begin like this";
    /// A route that exists, asked with another method.
    MethodNotAllowed, "METHOD_NOT_ALLOWED", Usage, 405, "INVALID_ARGUMENT", "This route has no such method";
    /// The body or its announced length is above the limit.
    BlobTooLarge, "BLOB_TOO_LARGE", Usage, 413, "INVALID_ARGUMENT", "The blob is too large";
    /// A range of which the blob has no byte.
    RangeNotSatisfiable, "RANGE_NOT_SATISFIABLE", Usage, 416, "OUT_OF_RANGE", "The blob has no such bytes";
    /// A body with a content coding, which would hide its length.
    UnsupportedEncoding, "UNSUPPORTED_ENCODING", Usage, 415, "INVALID_ARGUMENT", "Compressed bodies are not taken";
    /// A configuration, key file or genesis that cannot be used.
    Configuration, "CONFIGURATION", Usage, 400, "INVALID_ARGUMENT", "The configuration cannot be used";
    /// A file of the user that cannot be read or written.
    FileUnusable, "FILE_UNUSABLE", Usage, 400, "INVALID_ARGUMENT", "The file cannot be used";
    /// No such route.
    RouteUnknown, "ROUTE_UNKNOWN", NotFound, 404, "NOT_FOUND", "No such page";
    /// Nobody ever registered this blob.
    BlobUnknown, "BLOB_UNKNOWN", NotFound, 404, "NOT_FOUND", "The network does not know this blob";
    /// An epoch that has not come, or whose record is gone.
    EpochUnknown, "EPOCH_UNKNOWN", NotFound, 404, "NOT_FOUND", "No record of this epoch";
    /// A part of the past that this node does not keep.
    HistoryMissing, "HISTORY_MISSING", NotFound, 404, "NOT_FOUND", "This node does not keep that part of the past";
    /// An account that never held anything.
    AccountUnknown, "ACCOUNT_UNKNOWN", NotFound, 404, "NOT_FOUND", "The network does not know this account";
    /// A node that is neither a candidate nor has a seat.
    NodeUnknown, "NODE_UNKNOWN", NotFound, 404, "NOT_FOUND", "The network does not know this node";
    /// A number that no registration has.
    RegistrationUnknown, "REGISTRATION_UNKNOWN", NotFound, 404, "NOT_FOUND", "The network has no such registration";
    /// No devnet in the directory.
    DevnetUnknown, "DEVNET_UNKNOWN", NotFound, 404, "NOT_FOUND", "There is no devnet here";
    /// Registered, not certified yet.
    BlobNotCertified, "BLOB_NOT_CERTIFIED", Unavailable, 404, "FAILED_PRECONDITION", "The blob is not certified yet";
    /// Fewer fragments than the read line answer.
    BlobUnavailable, "BLOB_UNAVAILABLE", Unavailable, 503, "UNAVAILABLE", "Not enough shards answer";
    /// Fewer seats than the decide line answer.
    CommitteeNoQuorum, "COMMITTEE_NO_QUORUM", Unavailable, 503, "UNAVAILABLE", "The network cannot decide";
    /// The node is starting, syncing or stopping.
    NodeNotReady, "NODE_NOT_READY", Unavailable, 503, "UNAVAILABLE", "The node is not ready";
    /// As much is being done as may be done at once.
    Overloaded, "OVERLOADED", Unavailable, 503, "UNAVAILABLE", "The node is busy";
    /// The client was too slow.
    RequestTimeout, "REQUEST_TIMEOUT", Unavailable, 408, "UNAVAILABLE", "The request came too slowly";
    /// Nobody listens at the URL.
    NodeUnreachable, "NODE_UNREACHABLE", Unavailable, 503, "UNAVAILABLE", "The node cannot be reached";
    /// Past its paid term.
    BlobForgotten, "BLOB_FORGOTTEN", Gone, 410, "NOT_FOUND", "The network no longer keeps this blob";
    /// Ended by its owner before its time.
    BlobDeleted, "BLOB_DELETED", Gone, 410, "NOT_FOUND", "The blob's owner deleted it";
    /// Members showed that it is encoded inconsistently: nobody keeps it, and every reader is told the same.
    BlobInvalid, "BLOB_INVALID", Gone, 410, "NOT_FOUND", "The blob was encoded inconsistently";
    /// What was read does not give the id that was asked for.
    VerificationFailed, "VERIFICATION_FAILED", Verification, 502, "DATA_LOSS", "The bytes do not verify";
    /// An audit that does not prove what it says.
    ProofInvalid, "PROOF_INVALID", Verification, 422, "DATA_LOSS", "The proof is not valid";
    /// A write to a listener that takes none.
    WritesNotAllowed, "WRITES_NOT_ALLOWED", NotAllowed, 403, "PERMISSION_DENIED", "This listener takes no writes";
    /// The paying account holds too little.
    InsufficientWal, "INSUFFICIENT_WAL", NotEnough, 402, "RESOURCE_EXHAUSTED", "Not enough WAL";
    /// The disk reserve or a declared capacity is reached.
    Capacity, "CAPACITY", NotEnough, 507, "RESOURCE_EXHAUSTED", "No room left";
    /// It conflicts with what is there.
    Conflict, "CONFLICT", Conflict, 409, "ABORTED", "It conflicts with what is there";
    /// A transaction that the ledger refuses, or that no pool takes.
    TransactionRefused, "TRANSACTION_REFUSED", Conflict, 409, "FAILED_PRECONDITION", "The ledger refuses the transaction";
    /// It may or may not have happened.
    OutcomeUnknown, "OUTCOME_UNKNOWN", OutcomeUnknown, 504, "DEADLINE_EXCEEDED", "The outcome is not known";
    /// Our bug, or a failure of this node's own disk.
    Internal, "INTERNAL", Failed, 500, "INTERNAL", "The node failed";
    /// The user interrupted.
    Interrupted, "INTERRUPTED", Interrupted, 499, "CANCELLED", "Interrupted";
}

impl Code {
    /// The stable spelling.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.facts().word
    }

    /// The class, which is the exit code.
    #[must_use]
    pub fn class(self) -> ExitCode {
        self.facts().class
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        self.facts().status
    }

    /// A title for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.facts().title
    }

    /// Whether the same request may succeed later without anybody changing it.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self.class(), ExitCode::Unavailable | ExitCode::OutcomeUnknown)
    }

    /// The code spelled `word`, in capitals with `_` or in lower case with `-`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Code> {
        let word = word.to_ascii_uppercase().replace('-', "_");
        Code::ALL.iter().copied().find(|code| code.word() == word)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A refusal with its facts. Its JSON is the problem document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// One sentence with the numbers, for people.
    pub detail: String,
    /// Facts for programs.
    pub facts: Box<ProblemFacts>,
}

/// Facts of a problem; what does not apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProblemFacts {
    /// After how long a retry makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Under which name the node logged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_id: Option<BlobId>,
    /// Blobs that begin as asked, the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<BlobId>,
    /// Where the blob stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ruler: Option<Ruler>,
    /// The parameter, header, field or file that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The limit that was passed, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// What is missing to pay, in FROST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Amount>,
    /// The last paid epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_epoch: Option<Epoch>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// The last verdict about the blob while it was defended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_verdict: Option<crate::model::Verdict>,
    /// Seats that answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answering_shards: Option<u16>,
    /// Seats that are needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_shards: Option<u16>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without facts beyond its sentence.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), facts: Box::default() }
    }

    /// A malformed request, naming the parameter, header or field.
    #[must_use]
    pub fn bad_request(name: &str, detail: impl Into<String>) -> Problem {
        let name: String = name.escape_debug().take(64).collect();
        Problem::new(Code::BadRequest, detail).with(|facts| facts.name = Some(name))
    }

    /// The problem with facts filled in by `fill`.
    #[must_use]
    pub fn with(mut self, fill: impl FnOnce(&mut ProblemFacts)) -> Problem {
        fill(&mut self.facts);
        self
    }

    /// The problem with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Problem {
        let hint = hint.into();
        self.with(|facts| facts.hint = Some(hint))
    }

    /// The problem with a time after which a retry makes sense, rounded up to seconds, at least one.
    #[must_use]
    pub fn retry_after(self, after: std::time::Duration) -> Problem {
        let seconds = after.as_millis().div_ceil(1_000).max(1);
        self.with(|facts| facts.retry_after_seconds = u64::try_from(seconds).ok())
    }
}

/// The document on the wire.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
    code: Code,
    retryable: bool,
    #[serde(flatten)]
    facts: ProblemFacts,
    error: Envelope,
}

/// The member that Walrus clients read.
#[derive(Serialize, Deserialize)]
struct Envelope {
    status: String,
    code: u16,
    message: String,
    details: Vec<EnvelopeDetail>,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeDetail {
    reason: String,
    domain: String,
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let facts = self.code.facts();
        let detail = EnvelopeDetail { reason: facts.word.to_owned(), domain: "floe".to_owned() };
        let document = Document {
            kind: format!("/problems/{}", facts.word.to_ascii_lowercase().replace('_', "-")),
            title: facts.title.to_owned(),
            status: facts.status,
            detail: self.detail.clone(),
            code: self.code,
            retryable: self.code.is_retryable(),
            facts: (*self.facts).clone(),
            error: Envelope {
                status: facts.envelope.to_owned(),
                code: facts.status,
                message: self.detail.clone(),
                details: vec![detail],
            },
        };
        document.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Problem {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Problem, D::Error> {
        let document = Document::deserialize(deserializer)?;
        Ok(Problem { code: document.code, detail: document.detail, facts: Box::new(document.facts) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Lines;
    use std::collections::BTreeSet;

    #[test]
    fn codes_and_exit_codes_map_both_ways() {
        let numbers: BTreeSet<u8> = ExitCode::ALL.iter().map(|class| class.number()).collect();
        assert_eq!(numbers, (0..=10).chain([130]).collect());
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len(), "no two codes are spelled alike");
        let used: BTreeSet<ExitCode> = Code::ALL.iter().map(|code| code.class()).collect();
        let wanted: BTreeSet<ExitCode> = ExitCode::ALL.into_iter().filter(|class| *class != ExitCode::Done).collect();
        assert_eq!(used, wanted, "every class has a code, no code means done");
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code}");
            assert_eq!(Code::parse(code.word()), Some(*code));
            assert_eq!(Code::parse(&code.word().to_ascii_lowercase().replace('_', "-")), Some(*code));
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.word()));
        }
    }

    #[test]
    fn the_document_is_that_of_the_contract() {
        let problem = Problem::new(Code::BlobUnavailable, "9 of 28 shards answered; 10 are needed")
            .retry_after(std::time::Duration::from_millis(14_001))
            .with(|facts| facts.ruler = Some(Ruler::new(9, 19, Lines::of(28))));
        let json = serde_json::to_value(&problem).unwrap();
        let wanted = serde_json::json!({
            "type": "/problems/blob-unavailable", "title": "Not enough shards answer", "status": 503,
            "detail": "9 of 28 shards answered; 10 are needed", "code": "BLOB_UNAVAILABLE", "retryable": true,
            "retryAfterSeconds": 15, "ruler": {"held":9,"absent":19,"uncovered":0,"read":10,"decide":19,"total":28},
            "error": {"status": "UNAVAILABLE", "code": 503, "message": "9 of 28 shards answered; 10 are needed",
                      "details": [{"reason": "BLOB_UNAVAILABLE", "domain": "floe"}]}
        });
        assert_eq!(json, wanted);
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }

    #[test]
    fn what_came_from_outside_is_escaped_and_cut() {
        let problem = Problem::bad_request(&"\u{1b}[31m".repeat(50), "unknown parameter");
        let name = problem.facts.name.unwrap();
        assert!(name.len() <= 64 && name.chars().all(|c| !c.is_control()), "{name:?}");
    }
}
