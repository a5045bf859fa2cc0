//! What storage costs, who says so, and what is set aside to go on.

use super::internal;
use super::look::Look;
use floe_api::model::{Amount, OfferView, PricesView, RegistrationPhase, RegistrationView, StoreQuote, Unit};
use floe_api::service::StoreAsk;
use floe_api::{Code, Problem};
use floe_ledger::views;
use floe_ledger::{Deal, Registration, RegistrationStatus};
use floe_types::{Epoch, Frost, RegistrationNumber};

/// What is priced at least: less than this costs as much.
const PRICED_BYTES: u64 = 1 << 20;

impl Look<'_> {
    /// What a store would cost. The ledger takes exactly this from whoever registers it in the running epoch.
    ///
    /// # Errors
    /// [`Code::BlobTooLarge`], [`Code::BadRequest`] for too many epochs, [`Code::TransactionRefused`] with the ledger's reason, [`Code::Internal`].
    pub fn store_quote(&self, ask: StoreAsk) -> Result<StoreQuote, Problem> {
        let limit = self.context.params.blob_bytes_max;
        if ask.length > limit {
            let detail = format!("{} bytes, the largest blob of this network has {limit}", ask.length);
            return Err(Problem::new(Code::BlobTooLarge, detail).with(|facts| facts.limit_bytes = Some(limit)));
        }
        let ahead = self.context.params.paid_ahead_max.0;
        if ask.epochs.0 > ahead {
            let detail = format!("at most {ahead} epochs may be paid for at once");
            return Err(Problem::bad_request("epochs", detail));
        }
        let last = Epoch(self.head.epoch.0.saturating_add(ask.epochs.0.saturating_sub(1)));
        let quote = self.deal(Deal::Register { length: ask.length, last })?;
        Ok(StoreQuote {
            encoded_bytes: quote.encoded_bytes,
            cost: Amount(quote.price),
            rate: Amount(quote.rate),
            unit: Unit::Frost,
            first_epoch: quote.first,
            last_epoch: quote.last,
            expires_at: self.begin_of(quote.last.next()),
            hints: self.hints(quote.encoded_bytes)?,
        })
    }

    fn hints(&self, encoded_bytes: u64) -> Result<Vec<String>, Problem> {
        let mut hints = Vec::new();
        if encoded_bytes < PRICED_BYTES {
            hints.push(format!(
                "{PRICED_BYTES} encoded bytes are priced at least: several small files cost less as one"
            ));
        }
        let prices = views::prices(self.state).map_err(internal)?;
        if prices.next != prices.current {
            let from = self.next_term();
            hints.push(format!(
                "who registers from epoch {from} on pays {} FROST where it is {}",
                prices.next, prices.current
            ));
        }
        Ok(hints)
    }

    fn next_term(&self) -> Epoch {
        let params = &self.context.params;
        params.term_ends(params.term_of(self.head.epoch)).next()
    }

    /// The ledger's answer to `deal`.
    pub(super) fn deal(&self, deal: Deal) -> Result<floe_ledger::Quote, Problem> {
        let quote = views::quote(self.state, &self.context.params, deal).map_err(internal)?;
        quote.map_err(|refusal| Problem::new(Code::TransactionRefused, refusal.to_string()))
    }

    /// The prices, and what moves them.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn prices_view(&self) -> Result<PricesView, Problem> {
        let prices = views::prices(self.state).map_err(internal)?;
        let mut offers = Vec::new();
        for member in self.committee.members() {
            let offer = views::offer(self.state, &member.node).map_err(internal)?.map(Amount);
            let shards = u16::try_from(member.shards.len()).unwrap_or(u16::MAX);
            offers.push(OfferView { name: member.name.clone(), node: member.node, shards, offer });
        }
        offers.sort_by(|one, two| (one.offer, &one.name).cmp(&(two.offer, &two.name)));
        let next_from = self.next_term();
        Ok(PricesView {
            current: Amount(prices.current),
            next: Amount(prices.next),
            next_from,
            next_about: self.begin_of(next_from),
            unit: Unit::Frost,
            offers,
        })
    }

    /// A registration with what is set aside for it.
    ///
    /// # Errors
    /// [`Code::RegistrationUnknown`], [`Code::Internal`].
    pub fn registration_view(&self, number: RegistrationNumber) -> Result<RegistrationView, Problem> {
        let found = views::registration(self.state, number).map_err(internal)?;
        let found = found.ok_or_else(|| {
            Problem::new(Code::RegistrationUnknown, format!("no registration has the number {number}"))
        })?;
        let budget = views::budget(self.state, number).map_err(internal)?;
        let one = Deal::Register { length: found.length, last: self.head.epoch };
        let epoch_cost = self.deal(one).map_or(Frost::ZERO, |quote| quote.price);
        Ok(RegistrationView {
            registration: number,
            blob_id: found.blob,
            owner: found.owner,
            phase: self.phase_of(&found),
            first_epoch: found.first,
            last_epoch: found.last,
            ends_about: self.end_of(found.last)?,
            budget: Amount(budget),
            epoch_cost: Amount(epoch_cost),
        })
    }

    fn phase_of(&self, registration: &Registration) -> RegistrationPhase {
        match registration.status {
            RegistrationStatus::Pending => RegistrationPhase::Pending,
            RegistrationStatus::Certified { .. } if registration.last < self.head.epoch => RegistrationPhase::Over,
            RegistrationStatus::Certified { .. } => RegistrationPhase::Counts,
            RegistrationStatus::Lapsed => RegistrationPhase::Lapsed,
            RegistrationStatus::Deleted { .. } => RegistrationPhase::Deleted,
        }
    }
}
