//! The price of storage: members' standing offers, and how they move it.
//!
//! A member says for which price it would serve ([`crate::Action::Offer`]) and stands by that until it says otherwise; one
//! that never said is taken to offer the price as it stands. At the boundary that ends a term the price that was found a
//! term ago comes into force, and the next one is found: the lower median of the offers, by shards held, at most a tenth
//! away from the one before (at least one FROST, so that small prices can move too). Everybody thus knows a term ahead what
//! the next term costs.
//!
//! ```text
//! term        k - 1            |        k            |      k + 1
//! in force    p(k-1)           |       p(k)          |     p(k+1)
//! known       p(k)             |       p(k+1)        |
//!                 offers of term k-1 give p(k+1) ────┘
//! ```

use crate::records::Prices;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use floe_types::{Committee, Epoch, Frost, NodeId, Params};

/// The price moves by at most its part of this size in a term.
const STEP: u64 = 10;

pub(crate) fn prices(state: &dyn StateRead) -> Result<Prices, StateError> {
    Table::Prices.must(state, &Table::Prices.key(&[]))
}

pub(crate) fn put_prices(overlay: &mut Overlay<'_>, prices: &Prices) {
    Table::Prices.store(overlay, Table::Prices.key(&[]), prices);
}

pub(crate) fn offer(state: &dyn StateRead, node: &NodeId) -> Result<Option<Frost>, StateError> {
    Table::Offers.load(state, &Table::Offers.key(&[&node.0]))
}

pub(crate) fn put_offer(overlay: &mut Overlay<'_>, node: &NodeId, price: Frost) {
    Table::Offers.store(overlay, Table::Offers.key(&[&node.0]), &price);
}

/// The least offer at which offers up to it have at least half the shards; none when nobody has a shard.
fn lower_median(mut offers: Vec<(Frost, u64)>) -> Option<Frost> {
    offers.sort_unstable();
    let all: u64 = offers.iter().map(|(_, shards)| shards).sum();
    let mut below = 0;
    offers.into_iter().find_map(|(price, shards)| {
        below += shards;
        (shards > 0 && below * 2 >= all).then_some(price)
    })
}

/// `asked`, or as near to it as one term may move the price from `last`. Never zero.
fn towards(last: Frost, asked: Frost) -> Frost {
    let step = (last.0 / STEP).max(1);
    let (least, most) = (last.0.saturating_sub(step).max(1), last.0.saturating_add(step));
    Frost(asked.0.clamp(least, most))
}

/// Moves the prices when `ended` is the last epoch of a term.
pub(crate) fn turn(
    overlay: &mut Overlay<'_>,
    params: &Params,
    committee: &Committee,
    ended: Epoch,
) -> Result<(), StateError> {
    if !params.ends_term(ended) {
        return Ok(());
    }
    let last = prices(overlay)?.next;
    let mut offers = Vec::with_capacity(committee.members().len());
    for member in committee.members() {
        offers.push((offer(overlay, &member.node)?.unwrap_or(last), member.shards.len() as u64));
    }
    let next = towards(last, lower_median(offers).unwrap_or(last));
    put_prices(overlay, &Prices { current: last, next });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_by_shards_and_the_lower_of_two() {
        let median = |offers: &[(u64, u64)]| {
            lower_median(offers.iter().map(|(price, shards)| (Frost(*price), *shards)).collect())
        };
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[(5, 0)]), None);
        assert_eq!(median(&[(10, 1), (20, 1)]), Some(Frost(10)));
        assert_eq!(median(&[(20, 1), (10, 1), (30, 1)]), Some(Frost(20)));
        assert_eq!(median(&[(10, 13), (20, 15)]), Some(Frost(20)));
        assert_eq!(median(&[(10, 14), (20, 14)]), Some(Frost(10)));
        assert_eq!(median(&[(1, 0), (20, 14), (30, 14)]), Some(Frost(20)));
    }

    #[test]
    fn a_term_moves_the_price_by_a_tenth_at_most_and_never_to_nothing() {
        let cases = [(1_000, 5_000, 1_100), (1_000, 1, 900), (1_000, 1_050, 1_050), (5, 100, 6), (1, 1, 1), (1, 9, 2)];
        for (last, asked, found) in cases {
            assert_eq!(towards(Frost(last), Frost(asked)), Frost(found), "{last} {asked}");
        }
        assert_eq!(towards(Frost(u64::MAX), Frost(u64::MAX)), Frost(u64::MAX));
    }
}
