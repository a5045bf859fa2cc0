//! Epochs: participation, verdicts, money, forgetting, history.

use super::fixture::*;
use crate::views::{BlobStatus, PrefixMatch};
use crate::*;
use floe_types::{BlobId, Epoch, Frost, RegistrationNumber, SequenceNumber, ShardIndex};

fn status(world: &World, id: BlobId) -> BlobStatus {
    views::blob(&world.state, &id).unwrap().unwrap().status
}

#[test]
fn a_blob_is_judged_at_the_boundary_of_the_epoch_of_its_certificate() {
    let mut world = World::new();
    world.end_epoch(&ALL);
    world.store(blob(1), 4, &ALL);
    assert_eq!(world.verdict(blob(1), 2), None);
    let record = world.end_epoch(&ALL);
    assert_eq!(record.boundary.tally.verdicts[&Verdict::Intact].blobs, 1);
    assert_eq!(world.verdict(blob(1), 1), None);
    assert_eq!(world.verdict(blob(1), 2), Some(Verdict::Intact));
    let found = views::verdict(&world.state, &blob(1), Epoch(2)).unwrap().unwrap();
    // The transcript: 28 held, margin 18 = any 4 of 7 nodes.
    assert_eq!((found.held, found.margin_shards, found.margin_nodes, found.nodes), (28, 18, 4, 7));
}

#[test]
fn verdicts_follow_who_answered() {
    let mut world = World::new();
    world.store(blob(1), 20, &ALL);
    world.store(blob(2), 20, &[0, 1, 2, 3, 4]);
    let cases: [(&[usize], Verdict, u16, Verdict, u16); 5] = [
        (&ALL, Verdict::Intact, 28, Verdict::Repairing, 20),
        (&[0, 1, 2, 3, 4, 5], Verdict::Tolerated, 24, Verdict::Repairing, 20),
        (&[2, 3, 4, 5, 6], Verdict::Tolerated, 20, Verdict::Repairing, 12),
        (&[0, 1, 2, 3], Verdict::Undecided, 16, Verdict::Undecided, 16),
        (&[], Verdict::Undecided, 0, Verdict::Undecided, 0),
    ];
    for (at, (present, first, first_held, second, second_held)) in cases.into_iter().enumerate() {
        let epoch = Epoch(at as u64 + 1);
        world.end_epoch(present);
        let found = |id| views::verdict(&world.state, &id, epoch).unwrap().unwrap();
        let (one, two) = (found(blob(1)), found(blob(2)));
        assert_eq!((one.verdict, one.held), (first, first_held), "{epoch:?}");
        assert_eq!((two.verdict, two.held, two.uncovered), (second, second_held, 8), "{epoch:?}");
        assert_eq!(one.held + one.absent + one.uncovered, 28);
    }
    let decided = views::latest_decided(&world.state).unwrap().unwrap();
    assert_eq!(decided.epoch, Epoch(3));
}

#[test]
fn a_member_answered_when_others_with_more_than_f_shards_say_so() {
    let committee = genesis().committee().unwrap();
    let say = |reports: &[(usize, &[usize])]| {
        let reports =
            reports.iter().map(|(at, said)| (floe_types::MemberIndex(*at as u16), members(said.iter().copied())));
        Participation::of(&committee, &reports.collect())
    };
    // f = 9: two nodes are 8 shards, three are 12.
    let two = say(&[(0, &[6]), (1, &[6]), (2, &[]), (3, &[]), (4, &[])]);
    assert_eq!((two.answered, two.decision), (members([]), Decision::Decided));
    let with_itself = say(&[(0, &[6]), (1, &[6]), (6, &[6]), (3, &[]), (4, &[])]);
    assert_eq!(with_itself.answered, members([]));
    let three = say(&[(0, &[6]), (1, &[6]), (2, &[6])]);
    assert_eq!((three.answered, three.decision), (members([6]), Decision::Undecided));
}

#[test]
fn participation_turns_at_a_single_shard() {
    let committee = uneven().committee().unwrap();
    let say = |reporters: &[usize]| {
        let reports = reporters.iter().map(|at| (floe_types::MemberIndex(*at as u16), members([6])));
        Participation::of(&committee, &reports.collect())
    };
    // 9 shards are f, 10 are f + 1; 18 are below n - f, 19 are it.
    assert_eq!(say(&[0]).answered, members([]));
    assert_eq!(say(&[0, 1]).answered, members([6]));
    assert_eq!(say(&[0, 2]).decision, Decision::Undecided);
    assert_eq!(say(&[0, 2, 3]).decision, Decision::Decided);
}

#[test]
fn too_few_answers_are_unavailable_and_too_little_coverage_is_lost() {
    let committee = genesis().committee().unwrap();
    let participation = |answered: &[usize], decision| Participation {
        reporters: members(ALL),
        answered: members(answered.iter().copied()),
        decision,
    };
    let world = World::new();
    let judged = |answered: &[usize], decision, covered: u32| {
        let rows = rows::as_of(&world.state, Epoch(1)).unwrap();
        let participation = participation(answered, decision);
        verdict::Judge::new(&committee, &participation, Epoch(1), rows).verdict(&rows_below(covered)).verdict
    };
    use Decision::{Decided, Undecided};
    assert_eq!(judged(&[0, 1], Decided, 28), Verdict::Unavailable);
    assert_eq!(judged(&[0, 1, 2], Decided, 28), Verdict::Tolerated);
    assert_eq!(judged(&[0, 1, 2], Decided, 9), Verdict::Lost);
    assert_eq!(judged(&[0, 1, 2], Decided, 10), Verdict::Tolerated);
    assert_eq!(judged(&[0, 1], Decided, 10), Verdict::Unavailable);
    assert_eq!(judged(&[], Undecided, 9), Verdict::Lost);
    assert_eq!(judged(&ALL, Undecided, 28), Verdict::Undecided);
}

#[test]
fn an_attestation_is_seen_at_once_and_judged_from_the_next_epoch_on() {
    let mut world = World::new();
    world.store(blob(1), 9, &[0, 1, 2, 3, 4]);
    let number = SequenceNumber(0);
    for at in [5, 6] {
        let runs = vec![Run { first: number, last: number }];
        world.act(&node_key(at), Action::Attest { member: node(at), shards: seats(at), runs });
    }
    let view = views::blob(&world.state, &blob(1)).unwrap().unwrap();
    assert_eq!(view.covered, ShardSet::below(28));
    assert_eq!(views::coverage(&world.state, ShardIndex(27)).unwrap(), vec![Run { first: number, last: number }]);
    world.end_epoch(&ALL);
    world.end_epoch(&ALL);
    assert_eq!(
        (world.verdict(blob(1), 1), world.verdict(blob(1), 2)),
        (Some(Verdict::Repairing), Some(Verdict::Intact))
    );
    let history = views::verdict_history(&world.state, &blob(1), 9).unwrap();
    let changes: Vec<_> = history.iter().map(|record| (record.epoch.0, record.verdict)).collect();
    assert_eq!(changes, vec![(2, Verdict::Intact), (1, Verdict::Repairing)]);
}

#[test]
fn a_registration_that_is_not_certified_in_time_is_paid_back_less_its_fee() {
    let mut world = World::new();
    let number = world.register(blob(1), 9);
    assert_eq!(status(&world, blob(1)), BlobStatus::Registered);
    let price = Frost(9 * 43 * 1_000);
    assert_eq!(views::totals(&world.state).unwrap().pending, price);
    world.end_epoch(&ALL);
    world.end_epoch(&ALL);
    let account = views::account(&world.state, &user(1)).unwrap();
    assert_eq!(account.balance, Frost(RICH.0 - FEE.0));
    assert_eq!(status(&world, blob(1)), BlobStatus::Lapsed);
    assert_eq!(views::registration(&world.state, number).unwrap().unwrap().status, RegistrationStatus::Lapsed);
    assert_eq!(views::pending(&world.state, 9).unwrap(), vec![]);
}

#[test]
fn a_registration_for_one_epoch_lapses_with_it() {
    let mut world = World::new();
    let number = world.register(blob(1), 1);
    let events = world.boundary(vec![]).events;
    let refund = Frost(43_000);
    assert!(events.contains(&Event::RegistrationLapsed {
        registration: number,
        blob: blob(1),
        owner: user(1),
        refund
    }));
}

#[test]
fn the_price_is_spread_over_its_epochs_and_each_ones_share_is_paid_out() {
    let mut world = World::new();
    let rate = 43_000;
    let number = world.register(blob(1), 4);
    world.end_epoch(&ALL);
    let action = world.certify_action(blob(1), number, &ALL);
    world.act(&key(1), action);
    // Epoch 1 was paid while the blob waited: its share is in the running bucket.
    let buckets = |world: &World| {
        (1..=6).map(|epoch| views::bucket(&world.state, Epoch(epoch)).unwrap().0 / rate).collect::<Vec<_>>()
    };
    assert_eq!(buckets(&world), vec![0, 2, 1, 1, 0, 0]);
    world.end_epoch(&ALL);
    assert_eq!(buckets(&world), vec![0, 0, 1, 1, 0, 0]);
    let paid = |world: &World| views::latest_decided(&world.state).unwrap().unwrap().boundary.payout;
    // All took part and all is covered: seven equal shares, and less than a FROST for each is left.
    let first = paid(&world);
    assert_eq!((first.bucket, first.storage), (Frost(2 * rate), Frost(2 * rate / 7 * 7)));
    // An undecided epoch's bucket is added to the next.
    world.end_epoch(&[]);
    assert_eq!(buckets(&world), vec![0, 0, 0, 2, 0, 0]);
    world.end_epoch(&ALL);
    let totals = views::totals(&world.state).unwrap();
    assert_eq!((paid(&world).bucket, totals.buckets), (Frost(2 * rate), Frost::ZERO));
}

#[test]
fn a_blob_is_forgotten_with_its_last_paid_epoch_and_its_old_certificate_revives_nothing() {
    let mut world = World::new();
    let number = world.store(blob(1), 2, &ALL);
    let old = world.certify_action(blob(1), number, &ALL);
    world.end_epoch(&ALL);
    world.end_epoch(&ALL);
    assert_eq!(
        status(&world, blob(1)),
        BlobStatus::Forgotten { sequence: SequenceNumber(0), last: Epoch(2), cause: Defence::Forgotten }
    );
    world.end_epoch(&ALL);
    let verdicts: Vec<_> = (1..=4).map(|epoch| world.verdict(blob(1), epoch)).collect();
    assert_eq!(verdicts, vec![Some(Verdict::Intact), Some(Verdict::Intact), Some(Verdict::Forgotten), None]);
    assert_eq!(world.refusal(&key(1), old.clone()), Refusal::AlreadyCertified { registration: number });

    // Registered again it waits for a new certificate, under a new number.
    let again = world.register(blob(1), 3);
    assert_eq!(status(&world, blob(1)), BlobStatus::Registered);
    let Action::Certify { signature, members, .. } = old else { unreachable!() };
    let replayed = Action::Certify { blob: blob(1), registration: again, version: 1, members, signature };
    assert_eq!(world.refusal(&key(1), replayed), Refusal::BadCertificate);
    let action = world.certify_action(blob(1), again, &ALL);
    world.act(&key(1), action);
    assert_eq!(status(&world, blob(1)), BlobStatus::Certified { sequence: SequenceNumber(1), epoch: Epoch(4) });
    world.end_epoch(&ALL);
    let verdicts: Vec<_> = (2..=4).map(|epoch| world.verdict(blob(1), epoch)).collect();
    assert_eq!(verdicts, vec![Some(Verdict::Intact), Some(Verdict::Forgotten), Some(Verdict::Intact)]);
    let listed = views::blobs(&world.state, None, SequenceNumber(0), 9).unwrap();
    assert_eq!(listed.iter().map(|(number, _)| number.0).collect::<Vec<_>>(), vec![1]);
}

#[test]
fn a_registration_of_a_defended_blob_counts_at_once_and_makes_it_last_longer() {
    let mut world = World::new();
    world.store(blob(1), 2, &ALL);
    let (shorter, longer) = (world.register_action(blob(1), 1), world.register_action(blob(1), 5));
    world.act(&key(2), shorter);
    let events = world.act(&key(2), longer);
    assert!(matches!(events[0], Event::Registered { standing: Standing::Counts { .. }, .. }));
    assert!(matches!(events[1], Event::Extended { from: Epoch(2), to: Epoch(5), .. }));
    let view = views::blob(&world.state, &blob(1)).unwrap().unwrap();
    assert_eq!((view.last, view.registrations_count, view.owner), (Epoch(5), 3, user(1)));
    for owner in [1, 2] {
        assert_eq!(views::blobs(&world.state, Some(&user(owner)), SequenceNumber(0), 9).unwrap().len(), 1);
    }
    for _ in 1..=5 {
        assert!(matches!(status(&world, blob(1)), BlobStatus::Certified { .. }));
        world.end_epoch(&ALL);
    }
    assert!(matches!(status(&world, blob(1)), BlobStatus::Forgotten { .. }));
    let buckets = (1..=5).map(|epoch| views::epoch_record(&world.state, Epoch(epoch)).unwrap().unwrap());
    assert_eq!(buckets.map(|record| record.boundary.payout.bucket.0).sum::<u64>(), 8 * 43_000);
}

#[test]
fn two_registrations_that_waited_together_are_one_defence() {
    let mut world = World::new();
    let first = world.register(blob(1), 2);
    let other = world.register_action(blob(1), 4);
    world.act(&key(2), other);
    let second = RegistrationNumber(first.0 + 1);
    for (number, places) in [(first, &ALL[..5]), (second, &ALL[1..])] {
        let action = world.certify_action(blob(1), number, places);
        world.act(&key(3), action);
    }
    let view = views::blob(&world.state, &blob(1)).unwrap().unwrap();
    assert_eq!((view.last, view.covered), (Epoch(4), ShardSet::below(28)));
    assert_eq!(views::next_sequence(&world.state).unwrap(), SequenceNumber(1));
    world.end_epoch(&ALL);
    // Judged by the first certificate in its epoch, by both from the next on.
    world.end_epoch(&ALL);
    assert_eq!(
        (world.verdict(blob(1), 1), world.verdict(blob(1), 2)),
        (Some(Verdict::Tolerated), Some(Verdict::Intact))
    );
}

#[test]
fn a_boundary_shows_what_it_forgot_and_proofs_fit_its_roots() {
    let mut world = World::new();
    world.store(blob(1), 1, &ALL);
    world.store(blob(2), 5, &ALL);
    let events = world.boundary(vec![]).events;
    let forgotten = Event::BlobForgotten {
        blob: blob(1),
        sequence: SequenceNumber(0),
        last: Epoch(1),
        defence: Defence::Forgotten,
    };
    assert!(events.contains(&forgotten));
    let header = &world.blocks.last().unwrap().header;
    let boundary = header.boundary.as_ref().unwrap();
    assert_eq!(
        boundary.tally.forgotten,
        Weight { blobs: 1, bytes: u128::from(LENGTH), fragment_bytes: blobs::fragment_bytes(28, LENGTH) }
    );
    for number in [0, 1] {
        let number = SequenceNumber(number);
        let record = views::sequence(&world.state, number).unwrap().unwrap();
        let proof = views::prove_sequence(&world.state, number).unwrap();
        let found = proof.verify(&header.blobs_by_sequence_root, &number.0.to_be_bytes()).unwrap();
        let Presence::Present { value, weight } = found else { panic!() };
        assert_eq!(value, merkle::value_hash(&floe_types::codec::encode(&record)));
        assert_eq!(weight.blobs, u64::from(record.defence == Defence::Defended));
    }
    let never = views::prove_blob(&world.state, &blob(9)).unwrap();
    assert_eq!(never.verify(&header.blobs_by_id_root, &blob(9).0), Ok(Presence::Absent));
    assert!(matches!(never.verify(&header.blobs_by_id_root, &blob(1).0), Err(_) | Ok(Presence::Present { .. })));
}

#[test]
fn ten_thousand_healthy_blobs_are_one_class_and_a_boundary_reads_one_segment() {
    let world = World::new();
    let mut overlay = Overlay::new(&world.state);
    let now = Epoch(1);
    for at in 0..10_000u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let mut registration = Registration {
            number: RegistrationNumber(at + 1),
            blob: BlobId(id),
            owner: user(1),
            length: LENGTH,
            first: now,
            last: Epoch(9),
            rate: Frost(1),
            deadline: Epoch(2),
            attributes: Attributes::default(),
            status: RegistrationStatus::Pending,
            later: Vec::new(),
            persistence: Persistence::Permanent,
            previous: None,
        };
        assert!(money::debit(&mut overlay, &user(1), registration.price(), money::Pot::Pending).is_ok());
        blobs::enlist(&mut overlay, &world.context.params, &mut registration).unwrap();
        blobs::defend(&mut overlay, &world.context.params, &mut registration, &rows_below(28), now).unwrap();
    }
    pages::flush(&mut overlay).unwrap();
    let changes = overlay.into_changes();
    let mut world = world;
    world.state.apply(&changes);
    conservation(&world.state).unwrap();
    let time = floe_types::BlockTime(START + EPOCH);
    let executed = build_block(&world.state, &world.context, node(0), time, vec![]).unwrap();
    let boundary = executed.block.header.boundary.unwrap();
    assert_eq!(boundary.tally.classes, 1);
    assert_eq!(boundary.tally.verdicts[&Verdict::Undecided].blobs, 10_000);
    // The boundary's changes are a handful and one gauge a member, whatever is stored.
    assert!(executed.changes.0.len() < 12 + NODES, "{} changes", executed.changes.0.len());
}

#[test]
fn history_is_kept_for_four_hundred_epochs() {
    let mut world = World::new();
    world.store(blob(1), 1_000, &ALL);
    for _ in 0..402 {
        world.boundary(vec![]);
    }
    let known = |epoch| views::epoch_record(&world.state, Epoch(epoch)).unwrap().is_some();
    assert_eq!((known(2), known(3), known(402), known(403)), (false, true, true, false));
    assert_eq!((world.verdict(blob(1), 2), world.verdict(blob(1), 3)), (None, Some(Verdict::Undecided)));
}

#[test]
fn an_id_is_found_by_a_prefix_that_only_it_has() {
    let mut world = World::new();
    let ids: Vec<BlobId> = (0..6u8).map(|at| BlobId([at * 40; 32])).collect();
    for id in &ids {
        world.register(*id, 1);
    }
    let mut close = ids[3];
    close.0[31] ^= 4;
    world.register(close, 1);
    let find = |text: &str| views::blob_by_prefix(&world.state, text).unwrap();
    for id in ids.iter().filter(|id| **id != ids[3]) {
        let text = id.to_string();
        for length in [3, 20, 43] {
            assert_eq!(find(&text[..length]), PrefixMatch::One(*id), "{}", &text[..length]);
        }
    }
    assert_eq!(find(&ids[3].to_string()), PrefixMatch::One(ids[3]));
    assert!(matches!(find(&ids[3].to_string()[..42]), PrefixMatch::Several(found) if found.len() == 2));
    for nothing in ["", "zzzz", "a b", "ä", &"A".repeat(44)] {
        assert_eq!(find(nothing), PrefixMatch::None, "{nothing}");
    }
}
