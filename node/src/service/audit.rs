//! Audits, and the verdicts on a blob by change.

use super::internal;
use super::look::{Look, verdict_word};
use floe_api::model::{VerdictChange, VerdictsView};
use floe_api::service::{AuditAsk, BlobRef};
use floe_api::{Code, Problem};
use floe_ledger::evidence::{self, AuditError, Headers, Origin, Question};
use floe_ledger::views;
use floe_machines::certificates::CommitCertificates;

/// The most changes shown. A blob that changes more often has no history worth reading.
const CHANGES_MAX: usize = 100;

impl Look<'_> {
    /// The audit file that answers `ask`.
    ///
    /// # Errors
    /// Unknown beginnings of ids, epochs that are not over or no longer kept, a start that comes too late.
    pub fn audit(&self, ask: &AuditAsk, headers: &dyn Headers) -> Result<Vec<u8>, Problem> {
        let from = ask.from.map_or(Origin::Genesis, Origin::Boundary);
        // One that nobody ever registered is answered too.
        let blob = match &ask.blob {
            BlobRef::Id(blob) => *blob,
            BlobRef::Prefix(_) => self.resolve(&ask.blob)?,
        };
        let question = Question { blob, epoch: ask.epoch, from };
        let network = self.context.network;
        let certificates = CommitCertificates::of(network);
        let proof = evidence::audit(&question, network, self.state, headers, &certificates);
        Ok(proof.map_err(refused)?.encode())
    }

    /// The verdicts on a blob by change, newest first.
    ///
    /// # Errors
    /// Unknown, ambiguous, or [`Code::Internal`].
    pub fn verdicts(&self, blob: &BlobRef) -> Result<VerdictsView, Problem> {
        let view = self.find(&self.resolve(blob)?)?;
        let records = views::verdict_history(self.state, &view.blob, CHANGES_MAX).map_err(internal)?;
        let change = |record: &floe_ledger::VerdictRecord| {
            Ok(VerdictChange {
                epoch: record.epoch,
                decided_at: self.end_of(record.epoch)?,
                verdict: verdict_word(record.verdict),
                held: record.held,
                absent: record.absent,
                uncovered: record.uncovered,
            })
        };
        let changes = records.iter().map(change).collect::<Result<_, Problem>>()?;
        Ok(VerdictsView { blob_id: view.blob, lines: self.lines(), changes })
    }
}

fn refused(error: AuditError) -> Problem {
    let words = error.to_string();
    match error {
        AuditError::NotOver { .. } => Problem::new(Code::EpochUnknown, words).hint("wait until the epoch has ended"),
        AuditError::NotKept { .. } => {
            Problem::new(Code::EpochUnknown, words).hint("verdicts are remembered for 400 epochs")
        }
        AuditError::StartTooLate { .. } => {
            Problem::bad_request("from", words).hint("trust the boundary of an epoch before the one asked about")
        }
        AuditError::HeaderMissing { .. } => {
            Problem::new(Code::HistoryMissing, words).hint("a node that has run since then has it")
        }
        AuditError::TooMany { .. } => Problem::bad_request("from", words).hint("trust a later boundary: from"),
        AuditError::State(error) => internal(error),
    }
}
