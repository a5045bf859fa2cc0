//! What a node need not compute twice: signatures that were verified, keys that were decoded.
//!
//! A memo belongs to a [`crate::Context`] and is shared by its clones. It only ever spares work: every answer with it is the
//! answer without it, which is why all memos are equal. Both parts are bounded.

use floe_types::TransactionId;
use floe_types::bls::SignersMemo;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most ids in one generation of [`Verified`]: above what a full pool holds.
const GENERATION_MAX: usize = 32 << 10;

/// Ids of transactions whose signature was verified. An id is the hash of the signed bytes, so that it stands for them.
///
/// Two generations: when the newer is full the older is forgotten. What was forgotten is verified again.
#[derive(Debug, Default)]
struct Verified {
    newer: BTreeSet<TransactionId>,
    older: BTreeSet<TransactionId>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// The keys of the last two committees that were asked for, decoded.
    pub(crate) signers: SignersMemo,
    verified: Arc<Mutex<Verified>>,
}

impl PartialEq for Memo {
    fn eq(&self, _: &Memo) -> bool {
        true
    }
}

impl Eq for Memo {}

impl Memo {
    fn verified(&self) -> MutexGuard<'_, Verified> {
        // A set in which a panic left one id more or less is as good as any.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the signature of the transaction with this id was verified here, as far as is remembered.
    pub(crate) fn knows(&self, id: &TransactionId) -> bool {
        let verified = self.verified();
        verified.newer.contains(id) || verified.older.contains(id)
    }

    /// Remembers that it was.
    pub(crate) fn remember(&self, id: TransactionId) {
        let mut verified = self.verified();
        if verified.newer.len() >= GENERATION_MAX {
            verified.older = std::mem::take(&mut verified.newer);
        }
        verified.newer.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_forgets_the_oldest_and_never_grows_beyond_two_generations() {
        let memo = Memo::default();
        let id = |at: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&at.to_be_bytes());
            TransactionId(bytes)
        };
        for at in 0..3 * GENERATION_MAX {
            memo.remember(id(at));
        }
        assert!(memo.knows(&id(3 * GENERATION_MAX - 1)) && memo.knows(&id(GENERATION_MAX)));
        assert!(!memo.knows(&id(0)));
        let verified = memo.verified();
        assert!(verified.newer.len() + verified.older.len() <= 2 * GENERATION_MAX);
    }
}
