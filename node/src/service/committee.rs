//! Candidates, what a candidacy would come to, and whether a node may be stopped.

use super::internal;
use super::look::Look;
use floe_api::model::{
    Amount, CanStopView, Candidacy, CandidateView, CandidatesView, CrowdedDomain, ForGood, PreviewView, QuoteView, Time,
};
use floe_api::service::{Proposal, QuoteAsk};
use floe_api::{Code, Problem};
use floe_ledger::Deal;
use floe_ledger::candidates::Standing;
use floe_ledger::views::{self, CanStop, Obstacle};
use floe_types::{Epoch, NodeId, RegistrationNumber};

impl Look<'_> {
    /// About when `epoch` begins: exact for the running one and those before it that are remembered.
    pub(super) fn begin_of(&self, epoch: Epoch) -> Time {
        let ahead = epoch.0.saturating_sub(self.head.epoch.0);
        let millis = self.context.params.epoch_millis.saturating_mul(ahead);
        self.head.epoch_began.plus_millis(millis).into()
    }

    /// All candidates.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn candidates_view(&self) -> Result<CandidatesView, Problem> {
        let params = &self.context.params;
        let found = views::candidates(self.state, params).map_err(internal)?;
        let mut candidates: Vec<CandidateView> = found.into_iter().map(candidate).collect();
        candidates.sort_by(|one, two| (two.seats, &one.name).cmp(&(one.seats, &two.name)));
        let elects_with = views::next_election(self.state, params).map_err(internal)?;
        let crowded = views::crowded_domains(self.state, params).map_err(internal)?;
        Ok(CandidatesView {
            term: self.committee.term(),
            epoch: self.head.epoch,
            elects_with,
            elects_about: self.begin_of(elects_with.next()),
            stake_min: Amount(params.stake_min),
            candidates,
            crowded: crowded.into_iter().map(|(domain, shards)| CrowdedDomain { domain, shards }).collect(),
        })
    }

    /// What a candidacy would come to.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn preview(&self, proposal: Proposal) -> Result<PreviewView, Problem> {
        let Proposal { node, stake, capacity_bytes, domain } = proposal;
        let proposal = views::Proposal { node, stake, capacity_bytes, domain };
        let preview = views::preview(self.state, &self.context.params, &proposal).map_err(internal)?;
        Ok(PreviewView {
            elected_with: preview.elected_with,
            elected_about: self.begin_of(preview.elected_with.next()),
            serves_from: preview.serves_from,
            serves_about: self.begin_of(preview.serves_from),
            seats: preview.seats,
            share: preview.share,
            shards: self.committee.shards(),
            arriving_bytes: preview.arriving_bytes,
            bound: preview.bound.to_string(),
        })
    }

    /// What changing a registration would cost or bring back.
    ///
    /// # Errors
    /// [`Code::TransactionRefused`] with the ledger's reason when it would be refused, [`Code::Internal`].
    pub fn quote(&self, registration: RegistrationNumber, ask: QuoteAsk) -> Result<QuoteView, Problem> {
        let deal = match ask {
            QuoteAsk::Extend { last } => Deal::Extend { registration, last },
            QuoteAsk::Delete => Deal::Delete { registration },
        };
        let quote = self.deal(deal)?;
        Ok(QuoteView {
            price: Amount(quote.price),
            rate: Amount(quote.rate),
            refund: Amount(quote.refund),
            first_epoch: quote.first,
            last_epoch: quote.last,
            ends_about: self.begin_of(quote.last.next()),
            encoded_bytes: quote.encoded_bytes,
        })
    }

    /// Whether `node` may be stopped, for a while or for good.
    ///
    /// # Errors
    /// [`Code::NodeUnknown`] when the ledger does not know it, [`Code::Internal`].
    pub fn can_stop(&self, node: NodeId) -> Result<CanStopView, Problem> {
        let params = &self.context.params;
        let member = self.committee.index_of(&node).and_then(|index| self.committee.member(index));
        // This node may ask when the ledger has forgotten it: then nothing rests on it. Another id may be a slip of the hand.
        let is_known = member.is_some() || views::addresses(self.state, &node).map_err(internal)?.is_some();
        if !is_known && node != self.node {
            let detail =
                format!("no candidate or member is node {node}: nothing rests on it, if that is what you meant");
            return Err(Problem::new(Code::NodeUnknown, detail));
        }
        let answer = views::can_stop(self.state, params, &node).map_err(internal)?;
        let for_good = match answer {
            CanStop::Now => ForGood::Now,
            CanStop::From { epoch } => ForGood::From { epoch, about: self.begin_of(epoch) },
            CanStop::NotYet { why, earliest } => {
                let why = why.iter().map(obstacle).collect();
                ForGood::NotYet { why, earliest, about: self.begin_of(earliest) }
            }
        };
        let seats = member.map_or(0, |member| member.shards.len() as u16);
        let answering = self.answering().shards;
        let seen = self.live.members.iter().any(|(other, seen)| *other == node && seen.answering);
        let counted = seen || node == self.node;
        let answering_without = answering.saturating_sub(if counted { seats } else { 0 });
        let needed = self.committee.quorum();
        let for_a_while = answering_without >= needed;
        Ok(CanStopView { node, seats, answering, answering_without, needed, for_a_while, for_good })
    }
}

/// The ledger's standing in the model's words.
pub(super) fn candidacy(standing: Standing) -> Candidacy {
    match standing {
        Standing::Standing => Candidacy::Standing,
        Standing::Leaving { since } => Candidacy::Leaving { since },
        Standing::Excluded { since, until } => Candidacy::Excluded { since, until_term: until },
    }
}

fn candidate(found: views::CandidateView) -> CandidateView {
    CandidateView {
        name: found.candidate.name,
        node: found.candidate.node,
        owner: found.candidate.owner,
        account: found.candidate.account,
        domain: found.candidate.domain,
        addresses: found.candidate.addresses,
        capacity_bytes: found.candidate.capacity_bytes,
        stake: Amount(found.candidate.stake),
        candidacy: candidacy(found.candidate.standing),
        seats: found.seats,
        seats_next: found.seats_next,
        share: found.share,
        incoming: found.incoming,
        former: found.former,
        bound: found.bound.to_string(),
    }
}

fn obstacle(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::NoNotice { seats } => {
            format!("it has {seats} seats and did not give notice: floe committee leave")
        }
        Obstacle::Seats { seats, going: 0 } => format!("its {seats} seats are to go to others at a coming election"),
        Obstacle::Seats { seats, going } => {
            format!("{going} of its {seats} seats go to others when this term ends")
        }
        Obstacle::Incoming { seats } => format!("it is chosen for {seats} more seats in the next term"),
        Obstacle::Needed { shards, blobs, deadline } => format!(
            "others still fetch from it: fragments of up to {blobs} blobs in {shards} shards, until epoch {deadline} at most"
        ),
    }
}
