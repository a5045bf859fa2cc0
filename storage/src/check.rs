//! What was signed for against what is there.
//!
//! A node that confirmed a fragment and no longer has it must not find out by being challenged. So after each start
//! every confirmation is looked at; what to do about a gap (withdraw, ask for recovery) is for custody to decide.

use crate::store::Store;
use floe_machines::fragments::{ConfirmationRecord, FragmentRecord, FragmentStore, StoreError};
use floe_types::{BlobId, PairIndex, RegistrationNumber};

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// That each fragment has its record. About 10 us for each.
    Records,
    /// That each byte reads back as it was written. As fast as the disk reads.
    Bytes,
}

/// Why a confirmed fragment does not count as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Nothing is known of it.
    Absent,
    /// Its bytes fail their checksum from here on.
    Damaged {
        /// The first byte that cannot be trusted.
        offset: u64,
    },
}

/// A confirmed fragment that does not count as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingFragment {
    /// The registration it was confirmed for.
    pub registration: RegistrationNumber,
    /// The blob.
    pub blob: BlobId,
    /// The pair.
    pub pair: PairIndex,
    /// What is wrong.
    pub gap: Gap,
}

/// What one call of [`Store::check_confirmations`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfirmationCheck {
    /// Confirmations looked at.
    pub checked: usize,
    /// Where to go on; `None` when all have been looked at.
    pub next: Option<RegistrationNumber>,
    /// What is not there.
    pub missing: Vec<MissingFragment>,
}

impl Store {
    /// Looks at up to `limit` confirmations with registrations after `after`.
    ///
    /// # Errors
    /// What the disk says. A gap is no error.
    pub fn check_confirmations(
        &self,
        after: Option<RegistrationNumber>,
        limit: usize,
        thoroughness: Thoroughness,
    ) -> Result<ConfirmationCheck, StoreError> {
        let confirmations = self.confirmations_after(after, limit)?;
        let mut check = ConfirmationCheck { checked: confirmations.len(), ..ConfirmationCheck::default() };
        for confirmation in &confirmations {
            self.check_one(confirmation, thoroughness, &mut check.missing)?;
        }
        if confirmations.len() >= limit {
            check.next = confirmations.last().map(|last| last.registration);
        }
        Ok(check)
    }

    fn check_one(
        &self,
        confirmation: &ConfirmationRecord,
        thoroughness: Thoroughness,
        missing: &mut Vec<MissingFragment>,
    ) -> Result<(), StoreError> {
        let ConfirmationRecord { blob, registration, .. } = *confirmation;
        for pair in &confirmation.pairs {
            let gap = match (self.record(&blob, *pair)?, thoroughness) {
                (None, _) => Some(Gap::Absent),
                (Some(_), Thoroughness::Records) => None,
                (Some(record), Thoroughness::Bytes) => self.verify(&record)?,
            };
            if let Some(gap) = gap {
                missing.push(MissingFragment { registration, blob, pair: *pair, gap });
            }
        }
        Ok(())
    }

    /// Reads a fragment from end to end; `None` when every byte is as it was written.
    ///
    /// # Errors
    /// What the disk says.
    pub fn verify(&self, record: &FragmentRecord) -> Result<Option<Gap>, StoreError> {
        let Some(stored) = self.inner.stored(&record.key)? else { return Ok(Some(Gap::Absent)) };
        let mut buffer = vec![0u8; crate::chunk::CHUNK_BYTES];
        let mut offset = 0u64;
        while offset < stored.bytes {
            let rest = usize::try_from(stored.bytes - offset).unwrap_or(buffer.len());
            let length = rest.min(buffer.len());
            let (part, _) = buffer.split_at_mut(length);
            match self.read_at(record, part, offset) {
                Ok(()) => offset = offset.saturating_add(length as u64),
                Err(StoreError::Damaged { offset, .. }) => return Ok(Some(Gap::Damaged { offset })),
                // Dropped while it was read.
                Err(StoreError::Absent { .. }) => return Ok(Some(Gap::Absent)),
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }
}
