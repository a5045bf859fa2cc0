//! Takes up a height where a crash left it, from the journal.
//!
//! 1. Every entry is decoded and checked: heights, signatures, hashes of values.
//! 2. The library is shown what the own key has signed, and the guard remembers it.
//! 3. The height begins again and the entries are its inputs, in order. The library derives the same statements and
//!    reuses the recorded signatures; one that differs is an error. What is in the journal is not journaled
//!    again, but it is published again, for nobody knows what left the node before it fell.
//! 4. If it is then this node's turn and the journal has no proposal of it, a value is asked for.
//!
//! # Laws
//! - **I15** See the `guard` module; here it holds across a crash.

use std::collections::BTreeSet;

use arc_malachitebft_core_consensus as library;
use arc_malachitebft_core_types as core;

use crate::admission::core_validity;
use crate::context;
use crate::host::{self, CoreInput};
use crate::journal::{JournalEntry, Record, ValueRecord};
use crate::machine::{Machine, Run};
use crate::{Config, Effect, Error, Height, ValidatorSet, ValueId};

impl Machine {
    /// Begins `height` as [`crate::Input::StartHeight`] does, but with what the journal holds of it.
    ///
    /// Only as the first act of a machine. Entries of lower heights are left-overs and are passed over; one of a
    /// higher height is an error. Without entries this is the same as starting the height.
    pub fn start_replayed(
        &mut self,
        height: Height,
        validators: ValidatorSet,
        entries: Vec<JournalEntry>,
    ) -> Result<Vec<Effect>, Error> {
        if self.is_stopped() {
            return Err(Error::Stopped);
        }
        if self.height().is_some() {
            return Err(Error::AlreadyStarted);
        }
        let result = self.replay(height, validators, entries);
        self.settle(result)
    }

    fn replay(
        &mut self,
        height: Height,
        validators: ValidatorSet,
        entries: Vec<JournalEntry>,
    ) -> Result<Vec<Effect>, Error> {
        let records = read(height, &validators, &entries, self.config())?;
        let inputs: Vec<_> = records.iter().map(|record| core_input(height, record)).collect();

        let run = self.enter(height, validators);
        let known = entries.into_iter().filter(|entry| entry.height == height).map(|entry| entry.bytes);
        run.host.replaying = Some(known.collect());
        run.recall(&records);
        run.state.index_wal_entries(&inputs);
        run.begin()?;
        for (record, input) in records.iter().zip(inputs) {
            run.prepare(record);
            run.feed(input)?;
        }
        run.state.reset_entries_index();
        run.host.replaying = None;
        run.shrink_values(None);

        let round = run.round();
        if run.is_waiting_for_value(height, round) {
            run.host.effects.push(Effect::BuildValue { height, round });
        }
        Ok(run.take_effects())
    }
}

impl Run {
    /// Remembers all that the own key has signed, before anything can be signed again.
    fn recall(&mut self, records: &[Record]) {
        let own = self.host.own_key();
        for record in records {
            match record {
                Record::Vote(vote) if Some(vote.key) == own => self.host.guard.remember(vote.statement()),
                Record::Proposal(proposal) if Some(proposal.key) == own => {
                    self.host.guard.remember(proposal.statement());
                }
                _ => {}
            }
        }
    }

    /// Puts in place what the library will ask for when it takes this record.
    fn prepare(&mut self, record: &Record) {
        match record {
            Record::Proposal(proposal) => self.note_proposal(proposal),
            Record::Value(value) => {
                if let Some(bytes) = &value.bytes {
                    self.host.values.keep(value.value, bytes.clone(), value.verdict, value.round);
                } else if let Some(bytes) = self.host.values.get(&value.value).map(|kept| kept.bytes.clone()) {
                    self.host.values.keep(value.value, bytes, value.verdict, value.round);
                }
                self.host.values.mark_journaled(&value.value);
            }
            Record::Vote(_) | Record::Polka(_) | Record::Timer { .. } => {}
        }
    }
}

/// Decodes and checks the entries of this height.
fn read(
    height: Height,
    validators: &ValidatorSet,
    entries: &[JournalEntry],
    config: &Config,
) -> Result<Vec<Record>, Error> {
    let mut records = Vec::with_capacity(entries.len());
    let mut values = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.height < height {
            continue;
        }
        let record = Record::decode(entry, config).map_err(|_| Error::JournalMalformed { index })?;
        let sound = entry.height == height
            && match &record {
                Record::Vote(vote) => vote.height == height && vote.is_signed(&config.network),
                Record::Proposal(proposal) => proposal.height == height && proposal.is_signed(&config.network),
                Record::Polka(polka) => polka.height == height && polka.verify(&config.network, validators).is_ok(),
                Record::Value(value) => is_sound(value, &mut values),
                Record::Timer { .. } => true,
            };
        if !sound {
            return Err(Error::JournalCorrupt { index });
        }
        records.push(record);
    }
    Ok(records)
}

/// A value's bytes are its own, and stand in its first record.
fn is_sound(value: &ValueRecord, known: &mut BTreeSet<ValueId>) -> bool {
    match &value.bytes {
        Some(bytes) => {
            known.insert(value.value);
            ValueId::of(bytes) == value.value
        }
        None => known.contains(&value.value),
    }
}

fn core_input(height: Height, record: &Record) -> CoreInput {
    match record {
        Record::Vote(vote) => CoreInput::Vote(context::core_vote(vote)),
        Record::Proposal(proposal) => CoreInput::Proposal(context::core_proposal(proposal)),
        Record::Polka(polka) => CoreInput::PolkaCertificate(context::core_polka(polka)),
        Record::Timer { kind, round } => {
            let kind = host::core_timer(*kind);
            CoreInput::TimeoutElapsed(core::Timeout::new(context::core_round(*round), kind))
        }
        Record::Value(value) => {
            let proposed = library::ProposedValue {
                height,
                round: context::core_round(value.round),
                valid_round: value.valid_round.map_or(core::Round::Nil, context::core_round),
                proposer: value.proposer,
                value: value.value,
                validity: core_validity(value.verdict),
            };
            CoreInput::ProposedValue(proposed, core::ValueOrigin::Consensus)
        }
    }
}
