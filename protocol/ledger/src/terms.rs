//! Terms of storage: registering, extending, deleting, renewing, and what each will cost before it is done.
//!
//! What a quote says and what execution takes come out of the same functions here, so that a quote is honoured to the unit
//! as long as the epoch and the price in force stay what they were.
//!
//! | action | costs | refused when |
//! | --- | --- | --- |
//! | `Register` | every epoch from the running one to the last | it would be over, too far ahead, too long, too dear, no room |
//! | `Extend` | every epoch after the registration's last | the registration is over or waits, or is no longer for it |
//! | `Delete` | nothing; epochs after the next one come back | another's, permanent, ends by then anyway |
//! | `Renew` | what is set aside, beyond what already is | another's, over |
//!
//! **Room.** Each shard keeps one fragment of every blob that is defended or may yet be certified. A registration is refused
//! when what a shard would then have to keep, times a member's seats, passes the capacity which that member declared.
//!
//! **Renewal.** At the boundary with which a registration with a budget would end, it is renewed at the price then in force for
//! as many epochs as the budget pays, at most a term. When it does not pay one, the rest goes back to the owner. That costs
//! what would have ended, whatever is stored.

use crate::actions::Acting;
use crate::blobs::{self, Moved};
use crate::event::{Event, Standing};
use crate::fund;
use crate::money::{self, Pot, Price};
use crate::prices;
use crate::records::{Defence, Registration, RegistrationStatus, SequenceRecord};
use crate::refusal::{Halt, Refusal};
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::{Table, number_at};
use crate::transaction::{Attributes, Persistence};
use floe_types::{AccountId, BlobId, Committee, Epoch, Frost, Params, RegistrationNumber, SequenceNumber};

/// What a `Register` asks for.
pub(crate) struct Ask<'a> {
    pub blob: BlobId,
    pub length: u64,
    pub first: Epoch,
    pub last: Epoch,
    pub price_max: Frost,
    pub persistence: Persistence,
    pub attributes: &'a Attributes,
}

/// Where terms are spoken of: the parameters, the running epoch and the price in force.
#[derive(Clone, Copy)]
pub(crate) struct Market<'a> {
    pub params: &'a Params,
    pub now: Epoch,
    pub price: Frost,
}

impl Market<'_> {
    /// The last epoch that may be paid for: the running one is the first of `paid_ahead_max`.
    fn horizon(&self) -> Result<Epoch, Refusal> {
        let end = self.now.checked_add(self.params.paid_ahead_max).ok_or(Refusal::Overflow)?;
        Ok(Epoch(end.0.saturating_sub(1)))
    }

    /// What keeping a blob from `first` (or from the running epoch, if that is later) to `last` costs now.
    pub(crate) fn register(&self, length: u64, first: Epoch, last: Epoch) -> Result<(Epoch, Price), Refusal> {
        if first > self.now {
            return Err(Refusal::FirstEpoch { found: first, current: self.now });
        }
        if last < self.now {
            return Err(Refusal::TermOver { last, current: self.now });
        }
        let max = self.horizon()?;
        if last > max {
            return Err(Refusal::TooFarAhead { last, max });
        }
        Ok((self.now, money::price(self.params, self.price, length, self.now, last)?))
    }

    /// What moving the last epoch of `registration` to `last` costs now.
    pub(crate) fn extend(&self, registration: &Registration, last: Epoch) -> Result<Price, Refusal> {
        self.counting(registration)?;
        let number = registration.number;
        if last <= registration.last {
            return Err(Refusal::NotLonger { registration: number, last: registration.last });
        }
        let max = self.horizon()?;
        if last > max {
            return Err(Refusal::TooFarAhead { last, max });
        }
        money::price(self.params, self.price, registration.length, registration.last.next(), last)
    }

    /// What ending `registration` early brings back to its owner, and the last epoch in which it counts then.
    pub(crate) fn delete(&self, registration: &Registration) -> Result<(Frost, Epoch), Refusal> {
        self.counting(registration)?;
        let number = registration.number;
        if registration.persistence == Persistence::Permanent {
            return Err(Refusal::Permanent { registration: number });
        }
        let end = self.now.next();
        if registration.last <= end {
            return Err(Refusal::EndsAnyway { registration: number, last: registration.last });
        }
        Ok((fund::beyond(registration, end), end))
    }

    /// Refuses what does not count, or no more.
    fn counting(&self, registration: &Registration) -> Result<(), Refusal> {
        let (number, last, current) = (registration.number, registration.last, self.now);
        match registration.status {
            RegistrationStatus::Certified { .. } if last >= current => Ok(()),
            RegistrationStatus::Certified { .. } => Err(Refusal::Ended { registration: number, last, current }),
            _ => Err(Refusal::NotCounting { registration: number }),
        }
    }
}

/// Bytes that each shard may be given: what the member with the least capacity for a seat has for one.
pub(crate) fn seat_bytes(committee: &Committee) -> u64 {
    let seats = |member: &floe_types::Member| member.capacity_bytes.checked_div(member.shards.len() as u64);
    committee.members().iter().filter_map(seats).min().unwrap_or(0)
}

/// Of that, what is left.
pub(crate) fn room(state: &dyn StateRead, seat_bytes: u64) -> Result<u64, StateError> {
    let load = blobs::load(state)?;
    Ok(seat_bytes.saturating_sub(load.defended.saturating_add(load.pending)))
}

pub(crate) fn budget(state: &dyn StateRead, number: RegistrationNumber) -> Result<Frost, StateError> {
    Ok(Table::Budgets.load(state, &Table::Budgets.number(number.0))?.unwrap_or_default())
}

/// Files a registration's budget under the epoch it ends with. `before` is under which it was, with what.
fn file_budget(overlay: &mut Overlay<'_>, registration: &Registration, before: (Epoch, Frost), budget: Frost) {
    if (before.1, budget) == (Frost::ZERO, Frost::ZERO) {
        return;
    }
    let number = registration.number.0;
    if before.1 > Frost::ZERO {
        overlay.delete(Table::Renewals.numbers(before.0.0, number));
    }
    match budget {
        Frost::ZERO => overlay.delete(Table::Budgets.number(number)),
        budget => {
            Table::Budgets.store(overlay, Table::Budgets.number(number), &budget);
            overlay.put(Table::Renewals.numbers(registration.last.0, number), Vec::new());
        }
    }
}

fn within(price: Frost, max: Frost) -> Result<(), Refusal> {
    if price > max { Err(Refusal::TooDear { price, max }) } else { Ok(()) }
}

impl Acting<'_, '_, '_> {
    fn market(&self) -> Market<'_> {
        Market { params: &self.scene.context.params, now: self.scene.epoch, price: self.scene.price }
    }

    /// A registration that the sender names.
    fn found(&self, number: RegistrationNumber) -> Result<Registration, Halt> {
        Ok(blobs::registration(self.overlay, number)?.ok_or(Refusal::NoRegistration { registration: number })?)
    }

    /// One that the sender owns.
    fn owned(&self, number: RegistrationNumber) -> Result<Registration, Halt> {
        let found = self.found(number)?;
        match found.owner == self.sender {
            true => Ok(found),
            false => Err(Refusal::NotOwner { registration: number }.into()),
        }
    }

    pub(crate) fn register(&mut self, ask: &Ask<'_>) -> Result<Vec<Event>, Halt> {
        let (params, now) = (&self.scene.context.params, self.scene.epoch);
        let (first, price) = self.market().register(ask.length, ask.first, ask.last)?;
        within(price.total, ask.price_max)?;
        if blobs::record(self.overlay, &ask.blob)?.is_some_and(|record| record.defence == Defence::Invalid) {
            return Err(Refusal::BlobInvalid { blob: ask.blob }.into());
        }
        let defended = blobs::defended(self.overlay, &ask.blob)?;
        match defended.as_ref() {
            Some((_, life)) if life.length != ask.length => {
                let (kept, found) = (life.length, ask.length);
                return Err(Refusal::LengthMismatch { blob: ask.blob, kept, found }.into());
            }
            Some(_) => {}
            None => {
                let needed = blobs::fragment_bytes(params.shards, ask.length);
                let left = room(self.overlay, self.scene.seat_bytes)?;
                if needed > left {
                    return Err(Refusal::NoCapacity { needed, left }.into());
                }
            }
        }
        money::debit(self.overlay, &self.sender, price.total, Pot::Pending)?;
        let mut counters = blobs::counters(self.overlay)?;
        let number = RegistrationNumber(counters.next_registration);
        counters.next_registration = counters.next_registration.checked_add(1).ok_or(Refusal::Overflow)?;
        blobs::put_counters(self.overlay, &counters);
        let deadline = now.checked_add(params.certify_within).ok_or(Refusal::Overflow)?.min(ask.last);
        let mut registration = Registration {
            number,
            blob: ask.blob,
            owner: self.sender,
            length: ask.length,
            first,
            last: ask.last,
            rate: price.rate,
            later: Vec::new(),
            deadline,
            attributes: ask.attributes.clone(),
            persistence: ask.persistence,
            status: RegistrationStatus::Pending,
            previous: None,
        };
        blobs::enlist(self.overlay, params, &mut registration)?;
        let standing = match &defended {
            Some((sequence, _)) => Standing::Counts { sequence: *sequence },
            None => Standing::Pending { deadline: registration.deadline },
        };
        let mut events = vec![self.registered(&registration, standing)];
        if let Some(life) = defended {
            events.push(self.join(&mut registration, life)?);
        }
        Ok(events)
    }

    fn registered(&self, registration: &Registration, standing: Standing) -> Event {
        Event::Registered {
            transaction: self.transaction,
            registration: registration.number,
            blob: registration.blob,
            owner: registration.owner,
            length: registration.length,
            first: registration.first,
            last: registration.last,
            price: registration.price(),
            standing,
        }
    }

    /// Lets a registration of a defended blob count.
    pub(crate) fn join(
        &mut self,
        registration: &mut Registration,
        life: (SequenceNumber, SequenceRecord),
    ) -> Result<Event, Halt> {
        let sequence = life.0;
        let (from, to) = blobs::join(self.overlay, &self.scene.context.params, registration, life, self.scene.epoch)?;
        let (transaction, blob) = (self.transaction, registration.blob);
        let (registration, price) = (registration.number, Frost::ZERO);
        Ok(Event::Extended { transaction, registration, blob, sequence, from, to, price })
    }

    pub(crate) fn extend(
        &mut self,
        number: RegistrationNumber,
        last: Epoch,
        price_max: Frost,
    ) -> Result<Vec<Event>, Halt> {
        let mut registration = self.found(number)?;
        let price = self.market().extend(&registration, last)?;
        within(price.total, price_max)?;
        money::debit(self.overlay, &self.sender, price.total, Pot::Buckets)?;
        let (params, now) = (&self.scene.context.params, self.scene.epoch);
        let Moved { sequence, from, to } = prolong(self.overlay, params, &mut registration, (last, price.rate), now)?;
        let (transaction, blob) = (self.transaction, registration.blob);
        let price = price.total;
        Ok(vec![Event::Extended { transaction, registration: number, blob, sequence, from, to, price }])
    }

    pub(crate) fn delete(&mut self, number: RegistrationNumber) -> Result<Vec<Event>, Halt> {
        let mut registration = self.owned(number)?;
        let (unspent, last) = self.market().delete(&registration)?;
        fund::cut(self.overlay, &registration, last)?;
        money::credit(self.overlay, &self.sender, unspent, Pot::Buckets)?;
        let aside = budget(self.overlay, number)?;
        money::credit(self.overlay, &self.sender, aside, Pot::Budgets)?;
        let before = registration.last;
        file_budget(self.overlay, &registration, (before, aside), Frost::ZERO);
        registration.shorten(last);
        registration.status = RegistrationStatus::Deleted { epoch: self.scene.epoch };
        let moved = blobs::moved(self.overlay, &self.scene.context.params, &registration, before)?;
        let defended_until = moved.to;
        let refund = unspent.checked_add(aside).ok_or(Refusal::Overflow)?;
        let (transaction, blob) = (self.transaction, registration.blob);
        Ok(vec![Event::Deleted { transaction, registration: number, blob, last, defended_until, refund }])
    }

    pub(crate) fn renew(&mut self, number: RegistrationNumber, wanted: Frost) -> Result<Vec<Event>, Halt> {
        let registration = self.owned(number)?;
        self.market().counting(&registration)?;
        let held = budget(self.overlay, number)?;
        match (wanted.checked_sub(held), held.checked_sub(wanted)) {
            (Some(Frost::ZERO), _) => return Err(Refusal::Unchanged.into()),
            (Some(more), _) => money::debit(self.overlay, &self.sender, more, Pot::Budgets)?,
            (None, less) => money::credit(self.overlay, &self.sender, less.unwrap_or_default(), Pot::Budgets)?,
        }
        file_budget(self.overlay, &registration, (registration.last, held), wanted);
        Ok(vec![Event::BudgetSet { transaction: self.transaction, registration: number, budget: wanted }])
    }
}

/// Ends a registration of an inconsistent blob with `now`: what it paid for later goes to the reserve, what was set aside for
/// renewals to its owner. Gives what the reserve got.
pub(crate) fn void(overlay: &mut Overlay<'_>, number: RegistrationNumber, now: Epoch) -> Result<Frost, StateError> {
    let mut registration = blobs::named(overlay, number)?;
    let unspent = fund::beyond(&registration, now);
    fund::cut(overlay, &registration, now)?;
    money::shift(overlay, Pot::Buckets, Pot::Reserve, unspent)?;
    let aside = budget(overlay, number)?;
    money::credit(overlay, &registration.owner, aside, Pot::Budgets)?;
    let before = registration.last;
    file_budget(overlay, &registration, (before, aside), Frost::ZERO);
    registration.shorten(before.min(now));
    registration.status = RegistrationStatus::Deleted { epoch: now };
    blobs::put_registration(overlay, &registration);
    Ok(unspent)
}

/// Makes a counting registration last until `last` at `rate`, which is in [`Pot::Buckets`] already.
fn prolong(
    overlay: &mut Overlay<'_>,
    params: &Params,
    registration: &mut Registration,
    (last, rate): (Epoch, Frost),
    now: Epoch,
) -> Result<Moved, Halt> {
    let (before, number, same) = (registration.last, registration.number, registration.last_rate() == rate);
    let too_many = |count| Refusal::TooManyRates { registration: number, count };
    let piece = registration.prolong(last, rate, now).map_err(too_many)?;
    // As the registration has it: epochs of one rate end once.
    match same {
        true => fund::lengthen(overlay, rate, before, last)?,
        false => fund::spread(overlay, &piece, now)?,
    }
    let aside = budget(overlay, number)?;
    file_budget(overlay, registration, (before, aside), aside);
    blobs::moved(overlay, params, registration, before)
}

/// Renews what has a budget and would end with `ended`. The prices are those of the epoch that begins.
pub(crate) fn renew_all(overlay: &mut Overlay<'_>, params: &Params, ended: Epoch) -> Result<Vec<Event>, StateError> {
    let price = prices::prices(overlay)?.current;
    let mut events = Vec::new();
    for (key, _) in Table::Renewals.all(overlay, &ended.0.to_be_bytes())? {
        let mut registration = blobs::named(overlay, RegistrationNumber(number_at(Table::Renewals, &key, 8)?))?;
        let (number, blob, owner) = (registration.number, registration.blob, registration.owner);
        let held = budget(overlay, number)?;
        let rate = money::price(params, price, registration.length, ended.next(), ended.next()).map(|price| price.rate);
        let term = params.term_epochs.0.min(params.paid_ahead_max.0);
        let epochs = rate.as_ref().map_or(0, |rate| held.0.checked_div(rate.0).unwrap_or(0)).min(term);
        let cost = rate.ok().and_then(|rate| Some((rate, rate.checked_mul(epochs)?))).filter(|_| epochs > 0);
        let record = blobs::record(overlay, &blob)?;
        let cost = cost.filter(|_| record.is_none_or(|record| record.defence != Defence::Invalid));
        let Some((rate, cost)) = cost else {
            money::credit(overlay, &owner, held, Pot::Budgets)?;
            file_budget(overlay, &registration, (ended, held), Frost::ZERO);
            events.push(Event::BudgetReturned { registration: number, blob, owner, amount: held });
            continue;
        };
        money::shift(overlay, Pot::Budgets, Pot::Buckets, cost)?;
        let left = Frost(held.0.saturating_sub(cost.0));
        file_budget(overlay, &registration, (ended, held), left);
        let to = Epoch(ended.0.saturating_add(epochs));
        // Rates of the past are forgotten on the way: one that ends now has none still to come, so this is not refused.
        match prolong(overlay, params, &mut registration, (to, rate), ended) {
            Ok(_) => {
                let (registration, from, price) = (number, ended, cost);
                events.push(Event::Renewed { registration, blob, owner, from, to, price, left });
            }
            Err(Halt::State(error)) => return Err(error),
            Err(Halt::Refused(_)) => return Err(Table::Renewals.damaged("an ending registration has later rates")),
        }
    }
    Ok(events)
}

/// A way of spending or getting back, to be priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deal {
    /// Registering so many bytes from the running epoch to `last`.
    Register {
        /// The blob's length in bytes.
        length: u64,
        /// The last paid epoch.
        last: Epoch,
    },
    /// Extending a registration to `last`.
    Extend {
        /// The registration.
        registration: RegistrationNumber,
        /// The last paid epoch then.
        last: Epoch,
    },
    /// Ending a registration early.
    Delete {
        /// The registration.
        registration: RegistrationNumber,
    },
}

/// What a [`Deal`] comes to when it is executed in the running epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Taken from the sender, beside the fee.
    pub price: Frost,
    /// Of that, for one epoch.
    pub rate: Frost,
    /// Given back to the owner, the rest of a renewal budget included.
    pub refund: Frost,
    /// The first epoch that is paid with it; of a deletion, the first that is not paid any more.
    pub first: Epoch,
    /// The last paid epoch of the registration then.
    pub last: Epoch,
    /// Encoded bytes on all shards together.
    pub encoded_bytes: u64,
    /// Who gets a refund.
    pub owner: Option<AccountId>,
}

/// Prices `deal` by the rules that execution follows.
pub(crate) fn quote(state: &dyn StateRead, market: &Market<'_>, deal: Deal) -> Result<Quote, Halt> {
    let encoded = |length| money::layout(market.params, length).map_or(0, |layout| layout.encoded_bytes());
    let found = |number| -> Result<Registration, Halt> {
        Ok(blobs::registration(state, number)?.ok_or(Refusal::NoRegistration { registration: number })?)
    };
    match deal {
        Deal::Register { length, last } => {
            let (first, Price { rate, total }) = market.register(length, market.now, last)?;
            let (encoded_bytes, refund) = (encoded(length), Frost::ZERO);
            Ok(Quote { price: total, rate, refund, first, last, encoded_bytes, owner: None })
        }
        Deal::Extend { registration, last } => {
            let found = found(registration)?;
            let Price { rate, total } = market.extend(&found, last)?;
            let (first, refund, encoded_bytes) = (found.last.next(), Frost::ZERO, encoded(found.length));
            Ok(Quote { price: total, rate, refund, first, last, encoded_bytes, owner: Some(found.owner) })
        }
        Deal::Delete { registration } => {
            let found = found(registration)?;
            let (unspent, last) = market.delete(&found)?;
            let refund = unspent.checked_add(budget(state, registration)?).ok_or(Refusal::Overflow)?;
            let (first, encoded_bytes, owner) = (last.next(), encoded(found.length), Some(found.owner));
            Ok(Quote { price: Frost::ZERO, rate: Frost::ZERO, refund, first, last, encoded_bytes, owner })
        }
    }
}
