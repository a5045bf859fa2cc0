//! I7: every FROST is somewhere, once.
//!
//! After every block the state is scanned, entry by entry: accounts, stakes, what registrations that wait have paid, what certified
//! ones still owe to each later epoch. The reserve, the fees and the running bucket are taken from where they stand,
//! because nothing else says what they should be; the sum of all must be what genesis gave out.

use super::Violation;
use crate::node::Node;
use floe_ledger::candidates::{Candidate, Unbonding};
use floe_ledger::records::{Account, Registration, RegistrationStatus, Totals};
use floe_ledger::{Block, MemoryState};
use floe_types::laws::Law;
use floe_types::{Frost, Genesis};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Tags of tables, as the ledger's own list gives them.
const ACCOUNTS: u8 = 2;
const TOTALS: u8 = 3;
const FUND: u8 = 4;
const REGISTRATIONS: u8 = 8;
const BUDGETS: u8 = 34;
const CANDIDATES: u8 = 42;
const UNBONDING: u8 = 44;

/// The fund's entry: what is in the running bucket, and what comes into each.
#[derive(Deserialize)]
struct Fund {
    current: Frost,
    _recurring: Frost,
}

/// The checker.
#[derive(Debug)]
pub(super) struct Conservation {
    supply: u128,
}

fn entries<T: DeserializeOwned>(state: &MemoryState, tag: u8) -> Result<Vec<T>, Violation> {
    let of_table = state.entries().filter(|(key, _)| key.first() == Some(&tag));
    let parse = |(_, value): (&[u8], &[u8])| {
        postcard::from_bytes(value)
            .map_err(|error| Violation::of(Law::I7, format!("an entry of table {tag} does not decode: {error}")))
    };
    of_table.map(parse).collect()
}

impl Conservation {
    pub(super) fn new(genesis: &Genesis) -> Conservation {
        let held = genesis.accounts.iter().map(|entry| u128::from(entry.balance.0)).sum::<u128>();
        let bonded = genesis.members.iter().map(|member| u128::from(genesis.stake_of(member).0)).sum::<u128>();
        Conservation { supply: held + bonded }
    }

    pub(super) fn committed(&self, node: &Node, block: &Block) -> Result<(), Violation> {
        let state = &node.disk.state;
        let accounts: u128 =
            entries::<Account>(state, ACCOUNTS)?.iter().map(|account| u128::from(account.balance.0)).sum();
        let (mut pending, mut later) = (0u128, 0u128);
        let now = block.header.epoch.0;
        for registration in entries::<Registration>(state, REGISTRATIONS)? {
            for piece in registration.pieces() {
                let (rate, end) = (u128::from(piece.rate.0), piece.to.0 + 1);
                match registration.status {
                    RegistrationStatus::Pending => pending += rate * u128::from(end - piece.from.0),
                    RegistrationStatus::Certified { .. } | RegistrationStatus::Deleted { .. } => {
                        later += rate * u128::from(end.saturating_sub(piece.from.0.max(now + 1)));
                    }
                    RegistrationStatus::Lapsed => {}
                }
            }
        }
        let current: u128 = entries::<Fund>(state, FUND)?.iter().map(|fund| u128::from(fund.current.0)).sum();
        let totals: Totals = entries(state, TOTALS)?.into_iter().next().unwrap_or_default();
        let (reserve, fees) = (u128::from(totals.reserve.0), u128::from(totals.fees.0));
        let budgets: u128 = entries::<Frost>(state, BUDGETS)?.iter().map(|budget| u128::from(budget.0)).sum();
        let standing = entries::<Candidate>(state, CANDIDATES)?.iter().map(|one| u128::from(one.stake.0)).sum::<u128>();
        let unbonding =
            entries::<Unbonding>(state, UNBONDING)?.iter().map(|one| u128::from(one.amount.0)).sum::<u128>();
        let stakes = standing + unbonding;
        let found = accounts + stakes + pending + current + later + budgets + reserve + fees;
        if found == self.supply && u128::from(totals.supply.0) == self.supply {
            return Ok(());
        }
        let words = format!(
            "node {} at height {}: accounts {accounts} + stakes {stakes} + pending {pending} + running bucket {current} + later buckets \
             {later} + budgets {budgets} + reserve {reserve} + fees {fees} = {found}, the supply is {}",
            node.who, block.header.height, self.supply
        );
        Err(Violation::of(Law::I7, words))
    }
}
