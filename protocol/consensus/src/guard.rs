//! The last door before this node's key: one statement per height, round and step, whatever else goes wrong.
//!
//! The library and the journal already see to it that nothing is signed twice. This module does not trust
//! them. It remembers every statement of the own key at the current height, whether signed in this life,
//! read from the journal, or seen coming back from the network after the journal was lost.
//!
//! # Laws
//! - **I15** No key signs two different statements for the same height, round and step.

use std::collections::BTreeMap;

use crate::signing::Statement;
use crate::{Error, Height, Round, Step};

/// What the own key has signed at one height.
pub(crate) struct Guard {
    height: Height,
    signed: BTreeMap<(Round, Step), Statement>,
}

impl Guard {
    pub fn new(height: Height) -> Self {
        Self { height, signed: BTreeMap::new() }
    }

    /// Remembers a statement that bears the own key's true signature. The first of its kind stands.
    pub fn remember(&mut self, statement: Statement) {
        if statement.height == self.height {
            self.signed.entry((statement.round, statement.step)).or_insert(statement);
        }
    }

    /// Allows the signing of a statement and remembers it, or refuses.
    pub fn permit(&mut self, statement: Statement) -> Result<(), Error> {
        let refused = Error::WouldEquivocate { height: statement.height, round: statement.round, step: statement.step };
        if statement.height != self.height {
            return Err(refused);
        }
        let first = self.signed.entry((statement.round, statement.step)).or_insert(statement);
        if *first == statement { Ok(()) } else { Err(refused) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ValueId;

    fn prevote(round: u32, value: Option<&[u8]>) -> Statement {
        Statement {
            step: Step::Prevote,
            height: Height(5),
            round: Round(round),
            value: value.map(ValueId::of),
            valid_round: None,
        }
    }

    #[test]
    fn a_second_statement_is_refused_and_the_same_one_is_not() {
        let mut guard = Guard::new(Height(5));
        assert!(guard.permit(prevote(0, Some(b"a"))).is_ok());
        assert!(guard.permit(prevote(0, Some(b"a"))).is_ok());
        assert!(guard.permit(prevote(1, None)).is_ok());
        assert!(guard.permit(prevote(0, None)).is_err());

        guard.remember(prevote(2, None));
        guard.remember(prevote(2, Some(b"a")));
        assert!(guard.permit(prevote(2, Some(b"a"))).is_err());
        assert!(guard.permit(prevote(2, None)).is_ok());
    }

    #[test]
    fn another_height_is_refused() {
        assert!(Guard::new(Height(6)).permit(prevote(0, None)).is_err());
    }
}
