//! One look at the ledger and the live view: blobs, with what was decided about them and when.

use super::internal;
use crate::actors::coordinator::Live;
use floe_api::model::{
    Amount, Attributes, BlobHead, BlobList, BlobPhase, BlobStatus, BlobSummary, Freshness, LastVerdict, Lines, Margin,
    PaidTerm, Ruler, Standing, Time, Verdict,
};
use floe_api::service::{BlobRef, Page, Undefended};
use floe_api::{Code, Problem};
use floe_ledger::views::{self, BlobView, PrefixMatch};
use floe_ledger::{Context, Head, StateRead, VerdictRecord};
use floe_types::{BlobId, Committee, Epoch, Frost, Layout, NodeId, SequenceNumber};
use std::sync::Arc;

/// Epochs that are looked back through for the last verdict that was decided.
const LOOK_BACK_EPOCHS: u64 = 64;

/// A snapshot of the ledger, with this node's live view beside it.
pub struct Look<'a> {
    /// The ledger.
    pub state: &'a dyn StateRead,
    /// Network and parameters.
    pub context: &'a Context,
    /// The newest block.
    pub head: Head,
    /// The committee in office.
    pub committee: Committee,
    /// What this node sees now.
    pub live: Arc<Live>,
    /// This node.
    pub node: NodeId,
    /// When it was looked.
    pub now: Time,
}

/// What comes next for a blob.
pub(super) struct Outlook {
    /// The lines of its ruler.
    pub lines: Lines,
    /// When repair begins if nothing changes.
    pub begins: Option<Epoch>,
}

/// The ledger's verdict in the model's words.
#[must_use]
pub fn verdict_word(verdict: floe_ledger::Verdict) -> Verdict {
    match verdict {
        floe_ledger::Verdict::Intact => Verdict::Intact,
        floe_ledger::Verdict::Tolerated => Verdict::Tolerated,
        floe_ledger::Verdict::Repairing => Verdict::Repairing,
        floe_ledger::Verdict::Unavailable => Verdict::Unavailable,
        floe_ledger::Verdict::Lost => Verdict::Lost,
        floe_ledger::Verdict::Forgotten => Verdict::Forgotten,
        floe_ledger::Verdict::Undecided => Verdict::Undecided,
        floe_ledger::Verdict::Invalid => Verdict::Invalid,
    }
}

fn attributes(of: &floe_ledger::Attributes) -> Attributes {
    Attributes { content_type: of.content_type.clone(), file_name: of.name.clone(), tags: of.tags.clone() }
}

impl<'a> Look<'a> {
    /// Looks at `state` now.
    ///
    /// # Errors
    /// [`Code::Internal`] when the state cannot be read.
    pub fn new(
        state: &'a dyn StateRead,
        context: &'a Context,
        node: NodeId,
        live: Arc<Live>,
    ) -> Result<Look<'a>, Problem> {
        let head = views::head(state).map_err(internal)?;
        let committee = views::committee(state).map_err(internal)?;
        Ok(Look { state, context, head, committee, live, node, now: Time::now() })
    }

    /// The price of one encoded mebibyte for one epoch that is in force.
    ///
    /// # Errors
    /// [`Code::Internal`] when the state cannot be read.
    pub fn price(&self) -> Result<Frost, Problem> {
        Ok(views::prices(self.state).map_err(internal)?.current)
    }

    /// The ruler's lines.
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines::of(self.committee.shards())
    }

    /// When the epoch under way is due to end.
    #[must_use]
    pub fn boundary_about(&self) -> Time {
        self.head.epoch_ends(&self.context.params).into()
    }

    /// How long past its time the epoch's end is, in milliseconds.
    #[must_use]
    pub fn overdue_millis(&self) -> u64 {
        self.now.millis_since(self.boundary_about())
    }

    /// Whether a decision that should be there is not.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        let params = &self.context.params;
        let late = self.overdue_millis() > (params.epoch_millis / 10).max(1_500);
        if late || self.answering().shards < params.quorum() { Freshness::NoNewerDecision } else { Freshness::Current }
    }

    /// When `epoch` ends or ended.
    pub(super) fn end_of(&self, epoch: Epoch) -> Result<Time, Problem> {
        if epoch >= self.head.epoch {
            let epochs = epoch.0 - self.head.epoch.0 + 1;
            let millis = self.context.params.epoch_millis.saturating_mul(epochs);
            return Ok(self.head.epoch_began.plus_millis(millis).into());
        }
        let record = views::epoch_record(self.state, epoch).map_err(internal)?;
        Ok(record.map_or(self.head.epoch_began, |record| record.ended).into())
    }

    /// A paid term with its clock times.
    ///
    /// # Errors
    /// [`Code::Internal`] when the state cannot be read.
    pub fn term(&self, first: Epoch, last: Epoch) -> Result<PaidTerm, Problem> {
        Ok(PaidTerm { first_epoch: first, last_epoch: last, ends_about: self.end_of(last)? })
    }

    /// The standing of a blob before its first boundary.
    #[must_use]
    pub fn pending(&self) -> Standing {
        Standing {
            verdict: Verdict::Pending,
            epoch: None,
            decided_at: None,
            freshness: self.freshness(),
            first_about: Some(self.boundary_about()),
            last: None,
        }
    }

    pub(super) fn find(&self, blob: &BlobId) -> Result<BlobView, Problem> {
        let found = views::blob(self.state, blob).map_err(internal)?;
        found.ok_or_else(|| {
            Problem::new(Code::BlobUnknown, format!("no blob {blob} was ever registered in this network"))
                .with(|facts| facts.blob_id = Some(*blob))
        })
    }

    pub(super) fn resolve(&self, blob: &BlobRef) -> Result<BlobId, Problem> {
        let prefix = match blob {
            BlobRef::Id(id) => return Ok(*id),
            BlobRef::Prefix(prefix) => prefix,
        };
        match views::blob_by_prefix(self.state, prefix).map_err(internal)? {
            PrefixMatch::One(id) => Ok(id),
            PrefixMatch::None => Err(Problem::new(Code::BlobUnknown, format!("no known blob begins with {prefix}"))),
            PrefixMatch::Several(ids) => Err(Problem::new(
                Code::BlobIdAmbiguous,
                format!("several blobs begin with {prefix}; give more of the id"),
            )
            .with(|facts| facts.candidates = ids)),
        }
    }

    fn verdict_in(&self, blob: &BlobId, epoch: Epoch) -> Result<Option<VerdictRecord>, Problem> {
        views::verdict(self.state, blob, epoch).map_err(internal)
    }

    /// The newest decided verdict up to `epoch`, for showing beside an undecided one.
    fn last_decided(&self, blob: &BlobId, epoch: Epoch) -> Result<Option<LastVerdict>, Problem> {
        for back in 0..LOOK_BACK_EPOCHS.min(epoch.0) {
            let epoch = Epoch(epoch.0 - back);
            let Some(record) = self.verdict_in(blob, epoch)? else { return Ok(None) };
            if record.verdict != floe_ledger::Verdict::Undecided {
                let decided_at = self.end_of(epoch)?;
                return Ok(Some(LastVerdict { verdict: verdict_word(record.verdict), epoch, decided_at }));
            }
        }
        Ok(None)
    }

    /// What was last decided about a certified blob, with the numbers behind it.
    pub(super) fn standing(&self, view: &BlobView) -> Result<(Option<Standing>, Option<VerdictRecord>), Problem> {
        let before = Epoch(self.head.epoch.0.saturating_sub(1));
        match view.status {
            views::BlobStatus::Registered | views::BlobStatus::Lapsed => Ok((None, None)),
            views::BlobStatus::Certified { epoch, .. } if epoch >= self.head.epoch => Ok((Some(self.pending()), None)),
            views::BlobStatus::Certified { .. } => {
                let Some(record) = self.verdict_in(&view.blob, before)? else {
                    return Ok((Some(self.pending()), None));
                };
                let undecided = record.verdict == floe_ledger::Verdict::Undecided;
                let last = if undecided { self.last_decided(&view.blob, before)? } else { None };
                let standing = Standing {
                    verdict: verdict_word(record.verdict),
                    epoch: Some(before),
                    decided_at: Some(self.end_of(before)?),
                    freshness: self.freshness(),
                    first_about: None,
                    last,
                };
                Ok((Some(standing), Some(record)))
            }
            views::BlobStatus::Forgotten { last, cause, .. } => {
                let standing = Standing {
                    verdict: match cause {
                        floe_ledger::Defence::Invalid => Verdict::Invalid,
                        _ => Verdict::Forgotten,
                    },
                    epoch: Some(last.next()),
                    decided_at: Some(self.end_of(last)?),
                    freshness: Freshness::Current,
                    first_about: None,
                    last: self.last_decided(&view.blob, last)?,
                };
                Ok((Some(standing), None))
            }
        }
    }

    /// What the headers of a read say.
    ///
    /// # Errors
    /// The problem with which the read is refused: unknown, not certified, forgotten.
    pub fn blob_head(&self, blob: &BlobId, undefended: Undefended) -> Result<BlobHead, Problem> {
        let view = self.find(blob)?;
        let (standing, _) = self.standing(&view)?;
        let term = self.term(view.first, view.last)?;
        match view.status {
            views::BlobStatus::Registered | views::BlobStatus::Lapsed => {
                let detail = format!("blob {blob} is registered and not certified: its upload has not finished");
                return Err(Problem::new(Code::BlobNotCertified, detail)
                    .with(|facts| facts.blob_id = Some(*blob))
                    .retry_after(std::time::Duration::from_secs(1)));
            }
            views::BlobStatus::Forgotten { last, cause: floe_ledger::Defence::Invalid, .. } => {
                let detail = format!(
                    "blob {blob} was encoded inconsistently, as members with more than a third of the shards found in epoch {}",
                    last.next()
                );
                return Err(Problem::new(Code::BlobInvalid, detail)
                    .with(|facts| facts.blob_id = Some(*blob))
                    .hint(format!("proof: floe audit {blob} --epoch {} -o FILE", last.next())));
            }
            views::BlobStatus::Forgotten { last, cause, .. } if undefended == Undefended::Refuse => {
                let (code, words) = match cause {
                    floe_ledger::Defence::Deleted => (Code::BlobDeleted, "was deleted by its owner and kept"),
                    _ => (Code::BlobForgotten, "was paid"),
                };
                let ended = self.end_of(last)?;
                let last_verdict = standing.and_then(|standing| standing.last).map(|last| last.verdict);
                return Err(Problem::new(code, format!("blob {blob} {words} through epoch {last}"))
                    .with(|facts| {
                        facts.blob_id = Some(*blob);
                        facts.last_epoch = Some(last);
                        facts.ended_at = Some(ended);
                        facts.last_verdict = last_verdict;
                    })
                    .hint("pieces stay until a node needs the space: ask for undefended bytes"));
            }
            views::BlobStatus::Forgotten { .. } | views::BlobStatus::Certified { .. } => {}
        }
        let standing = standing.unwrap_or_else(|| self.pending());
        Ok(BlobHead { blob_id: *blob, length: view.length, attributes: attributes(&view.attributes), standing, term })
    }

    /// Everything about one blob.
    ///
    /// # Errors
    /// Unknown, ambiguous, or [`Code::Internal`].
    pub fn blob_status(&self, blob: &BlobRef) -> Result<BlobStatus, Problem> {
        let view = self.find(&self.resolve(blob)?)?;
        let (standing, record) = self.standing(&view)?;
        let outlook = self.outlook(&view, record.as_ref())?;
        let record = self.shown(&view.blob, record)?;
        let layout = Layout::new(self.committee.shards(), view.length).map_err(internal)?;
        let (phase, sequence, certified_epoch) = match view.status {
            views::BlobStatus::Registered | views::BlobStatus::Lapsed => (BlobPhase::Registered, None, None),
            views::BlobStatus::Certified { sequence, epoch } => (BlobPhase::Defended, Some(sequence), Some(epoch)),
            views::BlobStatus::Forgotten { sequence, .. } => (BlobPhase::Forgotten, Some(sequence), None),
        };
        Ok(BlobStatus {
            blob_id: view.blob,
            length: view.length,
            encoded_bytes: layout.encoded_bytes(),
            phase,
            attributes: attributes(&view.attributes),
            owner: view.owner,
            registration: view.registrations.last().map(|one| one.number).unwrap_or_default(),
            sequence,
            certified_epoch,
            term: self.term(view.first, view.last)?,
            standing,
            ruler: record.as_ref().map(|record| Ruler::new(record.held, record.absent, outlook.lines)),
            margin: record.as_ref().map(|record| self.margin(record)).transpose()?,
            repair_begins: outlook.begins,
            attested: view.covered.len(),
            lines: outlook.lines,
            epoch: self.head.epoch,
            next_boundary_about: self.boundary_about(),
        })
    }

    /// The lines of a blob's ruler as it would be judged now, and when repair of it begins if nothing changes.
    pub(super) fn outlook(&self, view: &BlobView, record: Option<&VerdictRecord>) -> Result<Outlook, Problem> {
        let views::BlobStatus::Certified { sequence, .. } = view.status else {
            return Ok(Outlook { lines: self.lines(), begins: None });
        };
        let ruler = views::ruler(self.state, &self.context.params, sequence).map_err(internal)?;
        // What the boundary said of a bound that is passed goes before what follows from silences alone.
        let rises = ruler.and_then(|ruler| ruler.begins_in).filter(|wait| wait.0 > 0);
        let rises = rises.map(|wait| Epoch(self.head.epoch.0.saturating_add(wait.0)));
        let tolerated = record.filter(|record| record.verdict == floe_ledger::Verdict::Tolerated);
        let begins = tolerated.and_then(|record| record.risk.starts.or(rises));
        Ok(Outlook { lines: self.lines_with(ruler.as_ref()), begins })
    }

    fn lines_with(&self, ruler: Option<&floe_ledger::Ruler>) -> Lines {
        let line = ruler.and_then(|ruler| ruler.repair).map(|line| u16::try_from(line).unwrap_or(u16::MAX));
        self.lines().with_repair(line)
    }

    /// The record whose ruler is shown: of an undecided epoch, in which nobody knows who answered, that of the last decision.
    pub(super) fn shown(&self, blob: &BlobId, record: Option<VerdictRecord>) -> Result<Option<VerdictRecord>, Problem> {
        let Some(undecided) = record.as_ref().filter(|record| record.verdict == floe_ledger::Verdict::Undecided) else {
            return Ok(record);
        };
        match self.last_decided(blob, undecided.epoch)? {
            Some(last) => self.verdict_in(blob, last.epoch),
            None => Ok(None),
        }
    }

    /// The margins of a verdict's record.
    pub(super) fn margin(&self, record: &VerdictRecord) -> Result<Margin, Problem> {
        let margin = margin_of(record);
        let domains = views::domain_margin(self.state, &self.context.params, record).map_err(internal)?;
        Ok(domains.map_or(margin, |found| margin.with_domains(found.domains, found.of_domains)))
    }

    /// The ruler of the defended blobs that could lose least, and their margin, in the epoch that was decided last.
    pub(super) fn thinnest_now(&self) -> Result<Option<(Ruler, Margin)>, Problem> {
        let Some((record, margin)) = self.thinnest_class()? else { return Ok(None) };
        let ruler = views::ruler_of(self.state, &self.context.params, &record.class).map_err(internal)?;
        Ok(Some((Ruler::new(record.held, record.absent, self.lines_with(ruler.as_ref())), margin)))
    }

    /// What was decided about those blobs, and their margin.
    pub(super) fn thinnest_class(&self) -> Result<Option<(VerdictRecord, Margin)>, Problem> {
        let thinnest = views::thinnest(self.state, &self.context.params).map_err(internal)?;
        Ok(thinnest.map(|class| {
            let margin = margin_of(&class.record).with_domains(class.domains.domains, class.domains.of_domains);
            (class.record, margin)
        }))
    }

    /// A page of certified blobs.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn list(&self, page: Page) -> Result<BlobList, Problem> {
        let from = page.after.map_or(SequenceNumber(0), |after| SequenceNumber(after.0.saturating_add(1)));
        let limit = usize::from(page.limit);
        let mut found = views::blobs(self.state, None, from, limit + 1).map_err(internal)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(number, _)| *number);
        let mut blobs = Vec::with_capacity(found.len());
        for (sequence, view) in found {
            let (standing, record) = self.standing(&view)?;
            blobs.push(BlobSummary {
                blob_id: view.blob,
                length: view.length,
                sequence,
                file_name: view.attributes.name.clone(),
                term: self.term(view.first, view.last)?,
                standing: standing.unwrap_or_else(|| self.pending()),
                held: record.map(|record| record.held),
            });
        }
        let total = views::next_sequence(self.state).map_err(internal)?.0;
        Ok(BlobList { blobs, total, next, price: Amount(self.price()?) })
    }
}

/// The margins of a verdict's record, in shards and nodes.
fn margin_of(record: &VerdictRecord) -> Margin {
    let VerdictRecord { margin_shards, margin_nodes, nodes, .. } = *record;
    Margin { shards: margin_shards, nodes: margin_nodes, of_nodes: nodes, domains: None, of_domains: None }
}
