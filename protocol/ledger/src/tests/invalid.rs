//! Inconsistent encodings: who may say so, what it costs to be wrong, what becomes of the blob.

use super::evidence::answer;
use super::fixture::*;
use crate::evidence::Answer;
use crate::*;
use floe_erasure::{Axis, EvidenceKind, PairIndex, SliverId};
use floe_types::bls::aggregate;
use floe_types::{BlobId, Epoch, Frost, SequenceNumber};

const SLIVER: SliverId = SliverId { pair: PairIndex(3), axis: Axis::Primary };

pub fn shown(world: &World, blob: BlobId, places: &[usize]) -> Inconsistency {
    let term = views::committee(&world.state).unwrap().term();
    let (kind, sliver) = (EvidenceKind::Extension, Some(SLIVER));
    let statement = InconsistencyStatement { network: world.context.network, term, blob, kind, sliver };
    let signatures: Vec<_> = places.iter().map(|at| bls(*at).sign(&statement.message())).collect();
    let signature = aggregate(&signatures).unwrap();
    Inconsistency { term, blob, kind, sliver, members: members(places.iter().copied()), signature }
}

fn says(shown: Inconsistency) -> Action {
    Action::Invalid(Box::new(shown))
}

fn balance(world: &World, seed: u8) -> Frost {
    views::account(&world.state, &user(seed)).unwrap().balance
}

fn reserve(world: &World) -> u64 {
    views::totals(&world.state).unwrap().reserve.0
}

#[test]
fn members_with_more_than_f_shards_make_a_blob_leave_every_duty() {
    let mut world = World::new();
    world.store(blob(1), 6, &ALL);
    world.store(blob(2), 6, &ALL);
    world.end_epoch(&ALL);
    let (before, had, kept) = (world.clone(), balance(&world, 2), reserve(&world));
    // Three of seven nodes hold 12 of 28 shards; 10 are needed.
    let events = world.act(&key(2), says(shown(&world, blob(1), &[0, 4, 6])));
    // Epochs 3 to 6 of 43 encoded mebibytes were paid and are not due yet.
    let unspent = 4 * 43 * params().price.0;
    assert!(matches!(
        events.as_slice(),
        [Event::BlobInvalid { sequence: Some(SequenceNumber(0)), sliver: Some(SLIVER), reserve, .. }]
            if reserve.0 == unspent
    ));
    assert_eq!(balance(&world, 2).0, had.0 - FEE.0, "the bond came back");
    assert_eq!((reserve(&world), balance(&world, 1)), (kept + unspent, balance(&before, 1)));
    super::classes::check(&world.state);
    let view = views::blob(&world.state, &blob(1)).unwrap().unwrap();
    assert!(matches!(view.status, views::BlobStatus::Forgotten { last: Epoch(1), cause: Defence::Invalid, .. }));
    assert_eq!(views::invalid(&world.state, &blob(1)).unwrap().unwrap().epoch, Epoch(2));
    assert_eq!(views::invalid(&world.state, &blob(2)).unwrap(), None);
    assert!(views::load(&world.state).unwrap().defended < views::load(&before.state).unwrap().defended);

    let record = world.end_epoch(&ALL);
    assert_eq!((record.boundary.tally.invalid.blobs, record.boundary.tally.verdicts[&Verdict::Intact].blobs), (1, 1));
    let transitions = evidence::kept::leaves(&world.state, Epoch(2), evidence::List::Transitions).unwrap();
    let transition: verdict::Transition = floe_types::codec::decode(&transitions[0], 256).unwrap();
    assert_eq!((transition.from, transition.to), (Verdict::Intact, Verdict::Invalid));
    assert_eq!(
        (transition.cause, transition.subject),
        (verdict::Cause::Encoding, verdict::Subject::Blob(SequenceNumber(0)))
    );
    let verdicts = [1, 2].map(|epoch| world.verdict(blob(1), epoch).unwrap());
    assert_eq!(verdicts, [Verdict::Intact, Verdict::Invalid]);
    assert!(matches!(answer(&world, blob(1), 1), Answer::Judged { .. }));
    assert!(matches!(answer(&world, blob(1), 2), Answer::Invalid { .. }));
    // What was shown before stays true.
    assert!(matches!(answer(&before, blob(1), 1), Answer::Judged { .. }));
    for _ in 0..6 {
        world.end_epoch(&ALL);
        super::classes::check(&world.state);
    }
    assert_eq!(world.verdict(blob(1), 7), Some(Verdict::Invalid), "it is never forgotten instead");
}

#[test]
fn nothing_of_an_invalid_blob_is_taken_again() {
    let mut world = World::new();
    let number = world.store(blob(1), 6, &ALL);
    let waiting = world.register(blob(2), 6);
    world.act(&key(2), says(shown(&world, blob(1), &[0, 4, 6])));
    let had = balance(&world, 1);
    world.act(&key(2), says(shown(&world, blob(2), &[0, 4, 6])));
    assert_eq!(world.refusal(&key(1), world.register_action(blob(1), 3)), Refusal::BlobInvalid { blob: blob(1) });
    let certify = world.certify_action(blob(2), waiting, &ALL);
    assert_eq!(world.refusal(&key(1), certify), Refusal::BlobInvalid { blob: blob(2) });
    let extend = Action::Extend { registration: number, last: Epoch(9), price_max: RICH };
    assert_eq!(world.refusal(&key(1), extend), Refusal::NotCounting { registration: number });
    let renew = Action::Renew { registration: number, budget: Frost(9) };
    assert_eq!(world.refusal(&key(1), renew), Refusal::NotCounting { registration: number });
    // What was never certified was never spent: it lapses and comes back.
    world.end_epoch(&ALL);
    world.end_epoch(&ALL);
    assert_eq!(balance(&world, 1).0, had.0 + 6 * 43 * params().price.0);
}

#[test]
fn too_few_members_lose_the_bond_and_change_nothing() {
    let mut world = World::new();
    world.store(blob(1), 6, &ALL);
    world.store(blob(2), 6, &ALL);
    let good = shown(&world, blob(1), &[0, 4, 6]);
    let bond = params().invalid_bond;
    let other = SliverId { pair: PairIndex(4), axis: Axis::Primary };
    let wrong = [
        // Eight shards are below ten, whoever signs.
        shown(&world, blob(1), &[0, 4]),
        Inconsistency { members: MemberSet::new(), ..good.clone() },
        Inconsistency { blob: blob(2), ..good.clone() },
        Inconsistency { kind: EvidenceKind::Padding, ..good.clone() },
        Inconsistency { sliver: Some(other), ..good.clone() },
        Inconsistency { members: members([0, 4, 5]), ..good.clone() },
        Inconsistency { members: members([0, 4, 5, 6]), ..good.clone() },
        Inconsistency { members: members([0, 4, 7]), ..good.clone() },
        Inconsistency { signature: bls(0).sign(b"confirmation"), ..good.clone() },
    ];
    for wrong in wrong {
        let (had, kept) = (balance(&world, 2), reserve(&world));
        let events = world.act(&key(2), says(wrong));
        assert!(matches!(events.as_slice(), [Event::BondLost { lost, .. }] if *lost == bond), "{events:?}");
        assert_eq!((balance(&world, 2).0, reserve(&world)), (had.0 - FEE.0 - bond.0, kept + bond.0));
    }
    // A confirmation of storage is not a statement about the encoding.
    let number = world.register(blob(3), 2);
    let signature = world.confirm(blob(3), number, &[0, 4, 6]);
    let events = world.act(&key(2), says(Inconsistency { blob: blob(3), signature, ..good }));
    assert!(matches!(events.as_slice(), [Event::BondLost { .. }]));
    let status = |seed| views::blob(&world.state, &blob(seed)).unwrap().unwrap().status;
    assert!([1, 2].into_iter().all(|seed| matches!(status(seed), views::BlobStatus::Certified { .. })));
}

#[test]
fn what_is_nobodys_fault_is_refused_and_costs_nothing() {
    let mut world = World::new();
    world.store(blob(1), 20, &ALL);
    let good = shown(&world, blob(1), &[0, 4, 6]);
    let refused = |world: &World, shown: Inconsistency| world.refusal(&key(2), says(shown));
    assert_eq!(refused(&world, Inconsistency { blob: blob(9), ..good.clone() }), Refusal::NoBlob { blob: blob(9) });
    let beyond = SliverId { pair: PairIndex(28), axis: Axis::Primary };
    let beyond = Inconsistency { sliver: Some(beyond), ..good.clone() };
    assert_eq!(refused(&world, beyond), Refusal::NoSliver { pair: 28, shards: 28 });
    let later = Inconsistency { term: 2, ..good.clone() };
    assert_eq!(refused(&world, later), Refusal::OtherTerm { found: 2, least: 1, most: 1 });
    // In the first epoch of a term those of the term before still count, after it they do not.
    for _ in 0..4 {
        world.end_epoch(&ALL);
    }
    assert!(
        world.clone().act(&key(2), says(good.clone())).iter().any(|event| matches!(event, Event::BlobInvalid { .. }))
    );
    world.end_epoch(&ALL);
    assert_eq!(refused(&world, good), Refusal::OtherTerm { found: 1, least: 2, most: 2 });
    let again = shown(&world, blob(1), &[0, 4, 6]);
    world.act(&key(2), says(again.clone()));
    assert_eq!(refused(&world, again.clone()), Refusal::BlobInvalid { blob: blob(1) });
    // Who has not the bond is told so.
    let rest = balance(&world, 3).0 - params().invalid_bond.0 - FEE.0;
    world.store(blob(2), 2, &ALL);
    world.act(&key(3), Action::Transfer { to: user(1), amount: Frost(rest) });
    let poor = world.refusal(&key(3), says(shown(&world, blob(2), &[0, 4, 6])));
    assert!(matches!(poor, Refusal::Insufficient { .. }), "{poor}");
}

#[test]
fn kinds_and_slivers_that_do_not_belong_together_are_malformed() {
    let world = World::new();
    let good = shown(&world, blob(1), &[0, 4, 6]);
    let secondary = SliverId { pair: PairIndex(3), axis: Axis::Secondary };
    let cases = [
        (EvidenceKind::Extension, None),
        (EvidenceKind::Padding, None),
        (EvidenceKind::Roots, Some(SLIVER)),
        (EvidenceKind::Column, Some(SLIVER)),
        (EvidenceKind::Row, Some(secondary)),
        (EvidenceKind::Row, None),
    ];
    for (kind, sliver) in cases {
        let signed = world.sign(&key(1), 0, FEE, says(Inconsistency { kind, sliver, ..good.clone() }));
        let refused = signed.check(&world.context.network).unwrap_err();
        assert!(matches!(refused, TransactionError::Shape { .. }), "{kind} of {sliver:?}: {refused}");
    }
}

#[test]
fn every_registration_ends_with_an_invalid_blob_and_budgets_go_home() {
    let mut world = World::new();
    let first = world.store(blob(1), 6, &ALL);
    world.act(&key(1), Action::Renew { registration: first, budget: Frost(1_000_000) });
    for seed in [2, 3] {
        let Action::Register { blob, length, first, price_max, persistence, attributes, .. } =
            world.register_action(blob(1), 6)
        else {
            unreachable!()
        };
        let last = Epoch(3 + u64::from(seed));
        world.act(&key(seed), Action::Register { blob, length, first, last, price_max, persistence, attributes });
    }
    let (had, kept) = (balance(&world, 1), reserve(&world));
    world.act(&key(2), says(shown(&world, blob(1), &[0, 4, 6])));
    assert_eq!(balance(&world, 1).0, had.0 + 1_000_000);
    // Five, four and five epochs to come.
    assert_eq!(reserve(&world), kept + (5 + 4 + 5) * 43 * params().price.0);
    for _ in 0..7 {
        world.end_epoch(&ALL);
    }
    let totals = views::totals(&world.state).unwrap();
    assert_eq!((totals.buckets, totals.budgets), (Frost(0), Frost(0)));
}
