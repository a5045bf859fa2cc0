//! Health: what is wrong, for whom, and what to do. Codes never change meaning.

use super::Time;
use serde::{Deserialize, Serialize};

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Axis {
    /// Blobs.
    Data,
    /// Committee.
    Decisions,
    /// This process.
    Node,
}

/// How bad it is. The order is that of [`Health::worst`]: unknown ranks above a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthState {
    /// As it should be; tolerated absence is this, with a note.
    Ok,
    /// Less than it should be, nothing is broken.
    Warn,
    /// Could not be found out.
    Unknown,
    /// Broken.
    Error,
}

impl HealthState {
    /// Exit code of `floe health`, by the convention of monitoring plugins.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            HealthState::Ok => 0,
            HealthState::Warn => 1,
            HealthState::Error => 2,
            HealthState::Unknown => 3,
        }
    }

    /// The word on screens.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            HealthState::Ok => "OK",
            HealthState::Warn => "WARN",
            HealthState::Unknown => "UNKNOWN",
            HealthState::Error => "ERROR",
        }
    }
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckCode {
    /// A defended blob is lost.
    BlobsLost,
    /// A blob's verdict is unavailable.
    BlobsUnavailable,
    /// Few more nodes may go before a blob cannot be read.
    MarginLow,
    /// One more large member away and nothing is decided.
    QuorumThin,
    /// Too few seats answer to decide.
    CommitteeNoQuorum,
    /// The boundary is late.
    EpochOverdue,
    /// Many seats did not answer.
    MembersAbsent,
    /// This node lags behind the others' blocks.
    NodeBehind,
    /// The disk is nearly full.
    DiskNearlyFull,
    /// Stores are refused to keep the reserve free.
    DiskReserve,
    /// Few seats are connected.
    PeersLow,
    /// Its account holds little.
    AccountLow,
    /// The network is about to go on to rules that this node's program does not know.
    UpdateDue,
}

impl CheckCode {
    /// What it is about.
    #[must_use]
    pub fn axis(self) -> Axis {
        match self {
            CheckCode::BlobsLost | CheckCode::BlobsUnavailable | CheckCode::MarginLow => Axis::Data,
            CheckCode::QuorumThin
            | CheckCode::CommitteeNoQuorum
            | CheckCode::EpochOverdue
            | CheckCode::MembersAbsent => Axis::Decisions,
            CheckCode::NodeBehind
            | CheckCode::DiskNearlyFull
            | CheckCode::DiskReserve
            | CheckCode::PeersLow
            | CheckCode::AccountLow
            | CheckCode::UpdateDue => Axis::Node,
        }
    }
}

/// One check that is not OK, or OK with a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What it is.
    pub code: CheckCode,
    /// What it is about.
    pub axis: Axis,
    /// How bad.
    pub state: HealthState,
    /// Since when this node has seen it so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Time>,
    /// One line with the numbers.
    pub summary: String,
    /// What it means for users.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub effect: Option<String>,
    /// What is still known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub known: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// Everything `floe health` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The worst of all checks.
    pub state: HealthState,
    /// One line: the worst check's meaning.
    pub summary: String,
    /// The checks with something to say, worst first.
    pub checks: Vec<Check>,
}

impl Health {
    /// The health that `checks` add up to, sorted worst first; `well` is the line when nothing is wrong.
    #[must_use]
    pub fn worst(mut checks: Vec<Check>, well: &str) -> Health {
        checks.sort_by_key(|check| std::cmp::Reverse(check.state));
        match checks.first() {
            Some(worst) if worst.state != HealthState::Ok => {
                Health { state: worst.state, summary: worst.summary.clone(), checks }
            }
            _ => Health { state: HealthState::Ok, summary: well.to_owned(), checks },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_ranks_above_a_warning_and_below_an_error() {
        let check = |state, summary: &str| Check {
            code: CheckCode::PeersLow,
            axis: CheckCode::PeersLow.axis(),
            state,
            since: None,
            summary: summary.to_owned(),
            effect: None,
            known: None,
            next: None,
        };
        let two = vec![check(HealthState::Warn, "w"), check(HealthState::Unknown, "u")];
        assert_eq!(Health::worst(two, "well").summary, "u");
        let two = vec![check(HealthState::Unknown, "u"), check(HealthState::Error, "e")];
        assert_eq!(Health::worst(two, "well").state, HealthState::Error);
        let noted = Health::worst(vec![check(HealthState::Ok, "note")], "well");
        assert_eq!((noted.state, noted.summary.as_str()), (HealthState::Ok, "well"));
    }

    #[test]
    fn codes_are_spelled_as_in_the_catalogue() {
        let text = serde_json::to_string(&CheckCode::CommitteeNoQuorum).unwrap();
        assert_eq!(text, "\"COMMITTEE_NO_QUORUM\"");
    }
}
