//! A holder alone: tables of what is refused, then a driver with a store in memory, random orders and failures.

use super::*;
use crate::ledger_view::Lapse;
use crate::testing::{Chance, Ledger, bls_key, node};
use crate::wire::fragment::{ReadAxis, ReadRange, Right, SymbolPart, SymbolRequest};
use floe_erasure::{Layout, pair_of};
use floe_ledger::repairs::TicketNumber;
use floe_types::{MemberIndex, SequenceNumber};
use std::collections::BTreeSet;

const ME: u8 = 1;
const PEER: u8 = 2;

fn blob(seed: u8) -> BlobId {
    BlobId([seed; 32])
}

/// A proof of the right length; that it proves nothing is for those who verify.
fn proof(shards: u16, blob_bytes: u64) -> Vec<u8> {
    let layout = Layout::new(shards, blob_bytes).unwrap();
    let mut proof = vec![0; 4 * 32];
    proof.push(u8::try_from(layout.piece_bytes()).unwrap());
    proof.resize(proof.len() + layout.piece_bytes(), 0);
    proof
}

fn offer(registration: RegistrationNumber, blob: BlobId, shard: u16) -> Offer {
    Offer { registration, blob, blob_bytes: 1_000, shard: ShardIndex(shard), proof: proof(28, 1_000) }
}

fn setting() -> (Custody, Ledger, RegistrationNumber) {
    let mut ledger = Ledger::new(7, 28);
    let number = ledger.register(blob(9), 1_000, 10);
    (Custody::new(node(ME), Config::default()), ledger, number)
}

fn offered(stream: u64, offer: Offer) -> Input {
    Input::StoreOffered { stream: StreamId(stream), peer: node(PEER), offer, held: None }
}

fn received(stream: u64) -> Input {
    Input::Received { stream: StreamId(stream), outcome: Ok(()) }
}

fn answers(effects: &[Effect]) -> Vec<(u64, &Answer)> {
    let answer = |effect| match effect {
        &Effect::Answer { stream, ref answer } => Some((stream.0, answer)),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

fn key(ledger: &Ledger, shard: u16, group: u64) -> FragmentKey {
    let pair = pair_of(&blob(9), ShardIndex(shard), ledger.committee.shards());
    FragmentKey { group: Epoch(group), blob: blob(9), pair }
}

#[test]
fn an_offer_is_judged_before_its_bytes() {
    let (_, ledger, number) = setting();
    let good = offer(number, blob(9), 0);
    let lapsed = |epoch, edit: &dyn Fn(&mut Ledger)| {
        let (mut custody, mut ledger, _) = setting();
        ledger.epoch = Epoch(epoch);
        edit(&mut ledger);
        custody.step(0, &ledger, offered(1, good.clone()))
    };
    let certify = |ledger: &mut Ledger| {
        ledger.certify(number, &[MemberIndex(1)]);
    };
    let judged = |offer: Offer| setting().0.step(0, &ledger, offered(1, offer));
    let late = Refusal::Lapsed { number, lapse: Lapse::NotCertified { certify_by: Epoch(2) } };
    let expired = Refusal::Lapsed { number, lapse: Lapse::Expired { last: Epoch(10) } };
    let cases = [
        ("another blob", judged(Offer { blob: blob(8), ..good.clone() }), Refusal::OtherBlob { number }),
        ("another length", judged(Offer { blob_bytes: 999, ..good.clone() }), Refusal::OtherBlob { number }),
        (
            "another's shard",
            judged(Offer { shard: ShardIndex(4), ..good.clone() }),
            Refusal::NotMyShard { shard: ShardIndex(4), term: 1 },
        ),
        (
            "a shard beyond n",
            judged(Offer { shard: ShardIndex(28), ..good.clone() }),
            Refusal::NotMyShard { shard: ShardIndex(28), term: 1 },
        ),
        ("no proof", judged(Offer { proof: vec![], ..good.clone() }), Refusal::BadFragment),
        ("a proof too long", judged(Offer { proof: vec![0; 5_000], ..good.clone() }), Refusal::BadFragment),
        ("not certified in time", lapsed(3, &|_| ()), late),
        ("paid term over", lapsed(11, &certify), expired),
    ];
    for (name, effects, reason) in cases {
        let refused = Answer::Refused { reason, retry_after_millis: None };
        assert_eq!(effects, [Effect::Answer { stream: StreamId(1), answer: refused }], "{name}");
    }
    let bytes = Layout::new(28, 1_000).unwrap().fragment_bytes();
    let receive = Effect::Receive { stream: StreamId(1), key: key(&ledger, 0, 10), bytes };
    assert_eq!(judged(good.clone()), std::slice::from_ref(&receive));
    assert_eq!(lapsed(3, &certify), [receive], "after its certificate a registration takes fragments to its end");
}

#[test]
fn what_is_held_to_the_end_is_stored_already_and_what_is_not_is_taken_again() {
    let (mut custody, ledger, number) = setting();
    let with = |group| Input::StoreOffered {
        stream: StreamId(group),
        peer: node(PEER),
        offer: offer(number, blob(9), 0),
        held: Some(key(&ledger, 0, group)),
    };
    assert_eq!(answers(&custody.step(0, &ledger, with(10))), [(10, &Answer::Stored)]);
    assert!(matches!(custody.step(0, &ledger, with(9))[..], [Effect::Receive { .. }]));
}

#[test]
fn an_offer_waits_for_the_ledger_to_know_its_registration() {
    let (mut custody, mut ledger, _) = setting();
    let early = offer(RegistrationNumber(2), blob(8), 0);
    assert_eq!(custody.step(0, &ledger, offered(1, early.clone())), []);
    assert_eq!(custody.wake_at(), Some(2_000));
    ledger.register(blob(8), 1_000, 10);
    assert!(matches!(custody.step(100, &ledger, Input::LedgerAdvanced)[..], [Effect::Receive { .. }]));

    let never = offer(RegistrationNumber(3), blob(7), 0);
    assert_eq!(custody.step(200, &ledger, offered(2, never)), []);
    let unknown = Refusal::UnknownRegistration { number: RegistrationNumber(3), epoch: Epoch(1) };
    let expected = Answer::Refused { reason: unknown, retry_after_millis: Some(250) };
    assert_eq!(answers(&custody.step(2_200, &ledger, Input::Tick)), [(2, &expected)]);
}

#[test]
fn shards_of_one_blob_share_one_durable_step() {
    let (mut custody, ledger, number) = setting();
    for shard in 0..4 {
        custody.step(0, &ledger, offered(u64::from(shard), offer(number, blob(9), shard)));
    }
    for stream in 0..3 {
        assert_eq!(custody.step(1, &ledger, received(stream)), [], "siblings are still coming");
    }
    let all = (0..4).map(StreamId).collect::<Vec<_>>();
    assert_eq!(custody.step(2, &ledger, received(3)), [Effect::Keep { keep: KeepId(0), streams: all }]);
    let effects = custody.step(9, &ledger, Input::KeepDone { keep: KeepId(0), outcome: Ok(()) });
    assert_eq!(answers(&effects), (0..4).map(|stream| (stream, &Answer::Stored)).collect::<Vec<_>>());
    assert_eq!((custody.arrivals(), custody.staged_bytes()), (0, 0));
}

#[test]
fn a_verified_fragment_does_not_wait_long_for_slow_siblings() {
    let (mut custody, ledger, number) = setting();
    for shard in 0..2 {
        custody.step(0, &ledger, offered(u64::from(shard), offer(number, blob(9), shard)));
    }
    assert_eq!(custody.step(1, &ledger, received(0)), []);
    assert_eq!(custody.wake_at(), Some(6));
    let keep = Effect::Keep { keep: KeepId(0), streams: vec![StreamId(0)] };
    assert_eq!(custody.step(6, &ledger, Input::Tick), [keep]);
}

#[test]
fn a_failed_store_is_told_and_forgets_nothing_else() {
    let (mut custody, ledger, number) = setting();
    custody.step(0, &ledger, offered(1, offer(number, blob(9), 0)));
    let full = StoreFailure::Full { needed_bytes: 7 };
    let input = Input::Received { stream: StreamId(1), outcome: Err(ReceiveFailure::Store(full)) };
    let refused = Answer::Refused { reason: Refusal::NoRoom { needed_bytes: 7 }, retry_after_millis: Some(10_000) };
    assert_eq!(answers(&custody.step(1, &ledger, input)), [(1, &refused)]);

    custody.step(2, &ledger, offered(2, offer(number, blob(9), 0)));
    custody.step(3, &ledger, received(2));
    let input = Input::KeepDone { keep: KeepId(0), outcome: Err(StoreFailure::Io) };
    let refused = Answer::Refused { reason: Refusal::StoreFailed, retry_after_millis: Some(10_000) };
    assert_eq!(answers(&custody.step(4, &ledger, input)), [(2, &refused)]);
    assert_eq!(custody.staged_bytes(), 0);
}

#[test]
fn a_slow_sender_is_ended_and_a_gone_one_forgotten() {
    let (mut custody, ledger, number) = setting();
    custody.step(0, &ledger, offered(1, offer(number, blob(9), 0)));
    custody.step(0, &ledger, offered(2, offer(number, blob(9), 1)));
    custody.step(1, &ledger, Input::Gone { stream: StreamId(2) });
    assert_eq!(custody.arrivals(), 1);
    let refused = Answer::Refused { reason: Refusal::Incomplete, retry_after_millis: Some(250) };
    assert_eq!(answers(&custody.step(5_000, &ledger, Input::Tick)), [(1, &refused)]);
    assert_eq!((custody.arrivals(), custody.wake_at()), (0, None));
    assert_eq!(custody.step(5_001, &ledger, received(1)), [], "an answered exchange is over");
}

#[test]
fn limits_are_answered_busy() {
    let (_, mut ledger, _) = setting();
    let bytes = Layout::new(28, 1_000).unwrap().fragment_bytes();
    for (name, config, fit) in [
        ("arrivals", Config { arrivals_max: 2, ..Config::default() }, 2),
        ("per peer", Config { arrivals_per_peer_max: 3, ..Config::default() }, 3),
        ("bytes", Config { staged_bytes_max: 2 * bytes, ..Config::default() }, 2),
        ("one is always let in", Config { staged_bytes_max: 1, ..Config::default() }, 1),
    ] {
        let mut custody = Custody::new(node(ME), config);
        for stream in 0..5u8 {
            let number = ledger.register(blob(100 + stream), 1_000, 10);
            let effects = custody.step(0, &ledger, offered(u64::from(stream), offer(number, blob(100 + stream), 0)));
            let busy = Answer::Busy { retry_after_millis: 250 };
            match u64::from(stream) < fit {
                true => assert!(matches!(effects[..], [Effect::Receive { .. }]), "{name} {stream}"),
                false => assert_eq!(answers(&effects), [(u64::from(stream), &busy)], "{name} {stream}"),
            }
        }
    }
}

fn confirm(stream: u64, number: RegistrationNumber, held: Vec<FragmentKey>) -> Input {
    Input::ConfirmAsked { stream: StreamId(stream), registration: number, blob: blob(9), held }
}

#[test]
fn a_confirmation_needs_every_own_fragment_and_a_durable_record() {
    let (mut custody, ledger, number) = setting();
    let held = |shards: std::ops::Range<u16>, group| shards.map(|shard| key(&ledger, shard, group)).collect::<Vec<_>>();
    for (name, have) in [("none", vec![]), ("three", held(1..4, 10)), ("too short a term", held(0..4, 9))] {
        let effects = custody.step(0, &ledger, confirm(1, number, have));
        let refused = |reason: &Refusal| matches!(reason, Refusal::Missing { missing } if !missing.is_empty());
        assert!(matches!(answers(&effects)[..], [(1, Answer::Refused { reason, .. })] if refused(reason)), "{name}");
    }
    let effects = custody.step(0, &ledger, confirm(2, number, held(0..4, 10)));
    let [Effect::KeepConfirmation { stream: StreamId(2), record }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((record.registration, record.pairs.len(), record.group), (number, 4, Epoch(10)));
    let effects = custody.step(1, &ledger, Input::ConfirmationKept { stream: StreamId(2), outcome: Ok(()) });
    let [Effect::Sign { confirmation, .. }] = &effects[..] else { panic!("{effects:?}") };
    let message = confirmation.statement().message();
    assert_eq!(bls_key(ME).public().verify(&message, &confirmation.sign(&bls_key(ME))), Ok(()));
    let again = Input::ConfirmationKept { stream: StreamId(2), outcome: Ok(()) };
    assert_eq!(custody.step(2, &ledger, again), [], "one record, one signature");
}

#[test]
fn a_confirmation_that_could_not_be_recorded_is_not_signed() {
    let (mut custody, ledger, number) = setting();
    let held = (0..4).map(|shard| key(&ledger, shard, 10)).collect();
    custody.step(0, &ledger, confirm(1, number, held));
    let input = Input::ConfirmationKept { stream: StreamId(1), outcome: Err(StoreFailure::Io) };
    let refused = Answer::Refused { reason: Refusal::StoreFailed, retry_after_millis: Some(10_000) };
    assert_eq!(answers(&custody.step(1, &ledger, input)), [(1, &refused)]);
}

#[test]
fn the_last_read_slots_are_for_members() {
    let (_, ledger, _) = setting();
    let config = Config { reads_max: 4, reads_reserved: 2, reads_per_peer_max: 3, ..Config::default() };
    let mut custody = Custody::new(node(ME), config);
    let read = |stream, peer, held| Input::ReadAsked {
        stream: StreamId(stream),
        peer: node(peer),
        blob: blob(9),
        shard: ShardIndex(0),
        axis: ReadAxis::Primary,
        range: ReadRange::Whole,
        held,
    };
    let stranger = 200;
    let served = |effects: Vec<Effect>| matches!(effects[..], [Effect::Serve { .. }]);
    assert!(!served(custody.step(0, &ledger, read(0, stranger, None))), "not held");
    assert!(served(custody.step(0, &ledger, read(1, stranger, Some(1_000)))));
    assert!(served(custody.step(0, &ledger, read(2, 201, Some(1_000)))));
    assert!(!served(custody.step(0, &ledger, read(3, stranger, Some(1_000)))), "no slot for strangers is left");
    assert!(served(custody.step(0, &ledger, read(4, PEER, Some(1_000)))));
    assert!(served(custody.step(0, &ledger, read(5, PEER, Some(1_000)))));
    assert!(!served(custody.step(0, &ledger, read(6, 3, Some(1_000)))), "all slots are taken");
    custody.step(1, &ledger, Input::ReadDone { stream: StreamId(4) });
    assert!(served(custody.step(1, &ledger, read(7, 3, Some(1_000)))));
    let closed = custody.step(60_000, &ledger, Input::Tick);
    assert_eq!((closed.len(), custody.reads_in_flight()), (4, 0));
}

#[test]
fn what_is_held_and_not_covered_is_attested_in_runs() {
    let mut ledger = Ledger::new(7, 28);
    let mut custody = Custody::new(node(ME), Config::default());
    let mut lookups = Vec::new();
    for seed in 1..=6 {
        let number = ledger.register(blob(seed), 1_000, 10);
        // This node's row covers the fourth already.
        let members = if seed == 4 { [MemberIndex(0), MemberIndex(1)] } else { [MemberIndex(1), MemberIndex(2)] };
        ledger.certify(number, &members);
        lookups.extend(custody.step(0, &ledger, Input::BlobCertified { blob: blob(seed) }));
    }
    assert_eq!(lookups.len(), 5);
    for effect in lookups {
        let Effect::LookUp { blob: of, pairs } = effect else { panic!("{effect:?}") };
        // One fragment of the sixth is missing.
        let there = if of == blob(6) { &pairs[1..] } else { &pairs[..] };
        let held = there.iter().map(|pair| FragmentKey { group: Epoch(10), blob: of, pair: *pair }).collect();
        assert_eq!(custody.step(10, &ledger, Input::LookedUp { blob: of, held }), []);
    }
    assert_eq!(custody.wake_at(), Some(510));
    let run = |first, last| floe_ledger::Run { first: SequenceNumber(first), last: SequenceNumber(last) };
    let (shards, runs) = (seats(&ledger.committee, &node(ME)), vec![run(0, 2), run(4, 4)]);
    assert_eq!(custody.step(510, &ledger, Input::Tick), [Effect::Attest { shards, runs }]);
    assert_eq!(custody.step(511, &ledger, Input::BlobCertified { blob: blob(1) }), [], "said in this epoch");
    ledger.epoch = Epoch(2);
    let again = custody.step(600, &ledger, Input::EpochBegan);
    assert_eq!(again.len(), 5, "what is still uncovered is looked up again in the next epoch");
}

#[test]
fn a_sweep_goes_on_page_by_page_and_stays_within_its_bounds() {
    let mut ledger = Ledger::new(7, 28);
    for seed in 1..=40 {
        let number = ledger.register(blob(seed), 1_000, 10);
        ledger.certify(number, &[MemberIndex(1)]);
    }
    let config = Config { lookups_max: 8, sweep_max: 24, ..Config::default() };
    let mut custody = Custody::new(node(ME), config);
    let mut asked: Vec<Vec<Effect>> = vec![custody.step(0, &ledger, Input::Started)];
    while let Some(page) = asked.last().filter(|page| !page.is_empty()).cloned() {
        assert!(page.len() <= 8);
        let mut next = Vec::new();
        for effect in page {
            let Effect::LookUp { blob, .. } = effect else { panic!("{effect:?}") };
            next.extend(custody.step(0, &ledger, Input::LookedUp { blob, held: vec![] }));
        }
        asked.push(next);
    }
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 8, 0]);
    let Effect::LookUp { blob: first, .. } = custody.step(0, &ledger, Input::EpochBegan)[0].clone() else { panic!() };
    assert_eq!(ledger.blobs[&first].sequence, SequenceNumber(24), "the next epoch goes on where the last ended");
}

#[test]
fn groups_go_when_their_epoch_and_the_reserve_have_passed() {
    let (mut custody, mut ledger, _) = setting();
    for (epoch, expected) in [(24, None), (25, None), (26, Some(1)), (26, None), (40, Some(15))] {
        ledger.epoch = Epoch(epoch);
        let effects = custody.step(0, &ledger, Input::EpochBegan);
        let list = expected.map(|_| Effect::ListRecords { after: None, limit: 4 });
        assert_eq!(effects, list.into_iter().collect::<Vec<_>>());
        let dropped = custody.step(0, &ledger, Input::Listed { keys: Ok(vec![]) });
        let drop = expected.map(|up_to| Effect::DropGroups { up_to: Epoch(up_to) });
        assert_eq!(dropped, drop.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn when_room_is_scarce_what_is_forgotten_goes_at_once_and_nothing_else() {
    let (mut custody, mut ledger, _) = setting();
    ledger.epoch = Epoch(12);
    assert_eq!(custody.step(0, &ledger, Input::EpochBegan), vec![], "there is time");
    assert_eq!(custody.step(0, &ledger, Input::Room(Room::Ample)), vec![]);
    let list = Effect::ListRecords { after: None, limit: 4 };
    assert_eq!(custody.step(0, &ledger, Input::Room(Room::Scarce)), vec![list.clone()]);
    assert_eq!(custody.step(0, &ledger, Input::Room(Room::Scarce)), vec![], "one walk at a time");
    let dropped = custody.step(0, &ledger, Input::Listed { keys: Ok(vec![]) });
    assert_eq!(dropped, vec![Effect::DropGroups { up_to: Epoch(11) }], "the running epoch's is still paid for");
    ledger.epoch = Epoch(13);
    assert_eq!(custody.step(0, &ledger, Input::EpochBegan), vec![list], "as long as room is scarce");
}

#[test]
fn what_was_extended_is_refiled_before_its_group_goes() {
    let (_, mut ledger, number) = setting();
    let mut custody = Custody::new(node(ME), Config { refile_page: 2, ..Config::default() });
    ledger.certify(number, &[MemberIndex(0)]);
    ledger.blobs.get_mut(&blob(9)).unwrap().last_paid = Epoch(50);
    ledger.epoch = Epoch(35);
    let forgotten = FragmentKey { group: Epoch(3), blob: blob(8), pair: PairIndex(0) };
    let (first, second) = (key(&ledger, 0, 10), key(&ledger, 1, 10));
    let refile = |key| Effect::Refile { key, group: Epoch(50) };
    let refiled = |key, outcome| Input::Refiled { key, outcome };
    let listed = |keys: &[FragmentKey]| Input::Listed { keys: Ok(keys.to_vec()) };
    let list = |after| Effect::ListRecords { after, limit: 2 };

    assert_eq!(custody.step(0, &ledger, Input::EpochBegan), [list(None)]);
    assert_eq!(custody.step(0, &ledger, listed(&[forgotten, first])), [refile(first)]);
    assert_eq!(custody.step(0, &ledger, refiled(first, Err(StoreFailure::Io))), [], "nothing is dropped");

    ledger.epoch = Epoch(36);
    assert_eq!(custody.step(0, &ledger, Input::EpochBegan), [list(None)]);
    let unread = Input::Listed { keys: Err(StoreFailure::Io) };
    assert_eq!(custody.step(0, &ledger, unread), [], "nothing is dropped unread");
    assert_eq!(custody.step(0, &ledger, Input::EpochBegan), [list(None)]);
    assert_eq!(custody.step(0, &ledger, listed(&[forgotten, first])), [refile(first)]);
    assert_eq!(custody.step(0, &ledger, refiled(first, Ok(()))), [list(Some(first))]);
    assert_eq!(custody.step(0, &ledger, listed(&[second, key(&ledger, 0, 50)])), [refile(second)]);
    let dropped = custody.step(0, &ledger, refiled(second, Ok(())));
    assert_eq!(dropped, [Effect::DropGroups { up_to: Epoch(11) }]);
}

#[test]
fn a_start_names_what_was_promised_and_is_gone() {
    let pairs: Vec<_> = (0..4).map(PairIndex).collect();
    let group = Epoch(10);
    let confirmation = ConfirmationRecord { blob: blob(9), registration: RegistrationNumber(1), pairs, group };
    let held = |pairs: &[u16], group| {
        pairs.iter().map(|pair| FragmentKey { group, blob: blob(9), pair: PairIndex(*pair) }).collect::<Vec<_>>()
    };
    assert_eq!(lost_pairs(&confirmation, &held(&[0, 1, 2, 3], group)), []);
    assert_eq!(lost_pairs(&confirmation, &held(&[0, 3], Epoch(11))), [PairIndex(1), PairIndex(2)]);
    assert_eq!(lost_pairs(&confirmation, &held(&[0, 1, 2, 3], Epoch(9))).len(), 4);
}

/// A store that is a set of keys and forgets what is not durable in a crash; the shell of one holder.
struct Shell {
    custody: Custody,
    ledger: Ledger,
    now: u64,
    durable: BTreeSet<FragmentKey>,
    recorded: BTreeSet<RegistrationNumber>,
    /// Effects not yet carried out.
    open: Vec<Effect>,
    answered: BTreeMap<StreamId, usize>,
    receiving: BTreeMap<StreamId, FragmentKey>,
    signed: usize,
    attested: BTreeSet<SequenceNumber>,
}

impl Shell {
    fn new(seed: u64) -> Shell {
        let config = Config { arrivals_max: 6, reads_max: 5, reads_reserved: 1, ..Config::default() };
        Shell {
            custody: Custody::new(node(ME), config),
            ledger: Ledger::new(7, 28),
            now: seed,
            durable: BTreeSet::new(),
            recorded: BTreeSet::new(),
            open: Vec::new(),
            answered: BTreeMap::new(),
            receiving: BTreeMap::new(),
            signed: 0,
            attested: BTreeSet::new(),
        }
    }

    fn step(&mut self, input: Input) {
        let effects = self.custody.step(self.now, &self.ledger, input);
        assert!(self.custody.arrivals() <= 6 && self.custody.reads_in_flight() <= 5, "CU-2");
        for effect in effects {
            match effect {
                Effect::Answer { stream, .. } | Effect::Close { stream } => self.end(stream),
                Effect::Sign { stream, confirmation } => {
                    let statement = confirmation.statement();
                    assert!(self.recorded.contains(&statement.registration), "CU-1: signed before its record");
                    let last = self.ledger.registrations[&statement.registration].last;
                    let own = own_pairs(&self.ledger.committee, &node(ME), &statement.blob).unwrap();
                    let keys: Vec<_> = self.durable.iter().filter(|key| key.blob == statement.blob).copied().collect();
                    assert_eq!(missing(&own, &keys, last), [], "CU-1: signed before its fragments");
                    self.signed += 1;
                    self.end(stream);
                }
                Effect::Attest { shards, runs } => {
                    assert_eq!(shards, seats(&self.ledger.committee, &node(ME)));
                    for number in runs.iter().flat_map(|run| run.first.0..=run.last.0) {
                        self.attested.insert(SequenceNumber(number));
                    }
                }
                other => self.open.push(other),
            }
        }
    }

    fn end(&mut self, stream: StreamId) {
        *self.answered.entry(stream).or_default() += 1;
        assert_eq!(self.answered[&stream], 1, "CU-4: {stream:?} was answered twice");
    }

    /// Carries out one open effect, or not, by chance.
    fn act(&mut self, chance: &mut Chance) {
        let fails = chance.in_hundred(15);
        match chance.take(&mut self.open) {
            Some(Effect::Receive { stream, key, .. }) => {
                self.receiving.insert(stream, key);
                let failures = [ReceiveFailure::Cut, ReceiveFailure::Bad, ReceiveFailure::Store(StoreFailure::Io)];
                let failure = failures[chance.below(3) as usize];
                self.step(Input::Received { stream, outcome: if fails { Err(failure) } else { Ok(()) } });
            }
            Some(Effect::Keep { keep, streams }) => {
                if !fails {
                    self.durable.extend(streams.iter().map(|stream| self.receiving[stream]));
                }
                self.step(Input::KeepDone { keep, outcome: if fails { Err(StoreFailure::Io) } else { Ok(()) } });
            }
            Some(Effect::KeepConfirmation { stream, record }) => {
                if !fails {
                    self.recorded.insert(record.registration);
                }
                let outcome = if fails { Err(StoreFailure::Io) } else { Ok(()) };
                self.step(Input::ConfirmationKept { stream, outcome });
            }
            Some(Effect::Serve { stream, .. }) => self.step(Input::ReadDone { stream }),
            Some(Effect::LookUp { blob, pairs }) => {
                let held = self.held(&blob).into_iter().filter(|key| pairs.contains(&key.pair)).collect();
                self.step(Input::LookedUp { blob, held });
            }
            _ => {}
        }
    }

    fn held(&self, blob: &BlobId) -> Vec<FragmentKey> {
        self.durable.iter().filter(|key| key.blob == *blob).copied().collect()
    }
}

#[test]
fn the_laws_hold_in_any_order_of_events() {
    let mut signed = 0;
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let mut shell = Shell::new(seed);
        let numbers: Vec<_> = (1..=3).map(|seed| (shell.ledger.register(blob(seed), 1_000, 5), blob(seed))).collect();
        for stream in 0..120 {
            let (number, of) = numbers[chance.below(3) as usize];
            let (stream, peer) = (StreamId(stream), node(2 + chance.below(3) as u8));
            match chance.below(10) {
                0..=4 => {
                    let offer = offer(number, of, chance.below(5) as u16);
                    let pair = pair_of(&of, offer.shard, 28);
                    let held = shell.held(&of).into_iter().find(|key| key.pair == pair);
                    shell.step(Input::StoreOffered { stream, peer, offer, held });
                }
                5..=6 => {
                    let held = shell.held(&of);
                    shell.step(Input::ConfirmAsked { stream, registration: number, blob: of, held });
                }
                7 => {
                    let (shard, axis, held) = (ShardIndex(0), ReadAxis::Pair, Some(1_000));
                    let range = ReadRange::Whole;
                    shell.step(Input::ReadAsked { stream, peer, blob: of, shard, axis, range, held });
                }
                8 => shell.step(Input::Gone { stream: StreamId(chance.below(stream.0 + 1)) }),
                _ if shell.ledger.blob(&of).is_none() => {
                    shell.ledger.certify(number, &[MemberIndex(1), MemberIndex(2)]);
                    shell.step(Input::BlobCertified { blob: of });
                }
                _ => shell.step(Input::EpochBegan),
            }
            for _ in 0..chance.below(4) {
                shell.act(&mut chance);
            }
            shell.now += chance.below(20);
            shell.step(Input::Tick);
        }
        while !shell.open.is_empty() {
            shell.act(&mut chance);
        }
        shell.now += 10_000;
        shell.step(Input::Tick);
        assert_eq!((shell.custody.staged_bytes(), shell.custody.reads_in_flight()), (0, 0), "seed {seed}");
        for number in &shell.attested {
            let (of, facts) = shell.ledger.blobs.iter().find(|(_, facts)| facts.sequence == *number).unwrap();
            let own = own_pairs(&shell.ledger.committee, &node(ME), of).unwrap();
            assert_eq!(missing(&own, &shell.held(of), facts.last_paid), [], "CU-5, seed {seed}");
        }
        signed += shell.signed;
    }
    assert!(signed > 100, "the driver must get somewhere: {signed} signatures");
}

#[test]
fn what_was_found_for_seats_that_are_gone_is_not_attested_for_those_that_came() {
    let mut ledger = Ledger::new(7, 28);
    let mut custody = Custody::new(node(ME), Config::default());
    let number = ledger.register(blob(1), 1_000, 10);
    ledger.certify(number, &[MemberIndex(1), MemberIndex(2)]);
    let lookups = custody.step(0, &ledger, Input::BlobCertified { blob: blob(1) });
    let [Effect::LookUp { pairs, .. }] = &lookups[..] else { panic!("{lookups:?}") };
    let held = pairs.iter().map(|pair| FragmentKey { group: Epoch(10), blob: blob(1), pair: *pair }).collect();
    assert_eq!(custody.step(1, &ledger, Input::LookedUp { blob: blob(1), held }), []);
    assert!(custody.wake_at().is_some());
    // A term begins in which this node has other seats.
    ledger.committee = crate::testing::committee(4, 28, 2);
    assert_eq!(custody.step(10_000, &ledger, Input::Tick), []);
}

fn symbol_asked(stream: u64, peer: u8, right: Right, held: Option<u64>) -> Input {
    let request = SymbolRequest {
        blob: blob(9),
        shard: ShardIndex(0),
        target: ShardIndex(1),
        axis: floe_erasure::Axis::Secondary,
        part: SymbolPart::Bytes,
        right,
    };
    Input::SymbolAsked { stream: StreamId(stream), peer: node(peer), request, held }
}

#[test]
fn a_symbol_is_given_only_under_a_right_that_the_ledger_shows() {
    let (mut custody, mut ledger, _) = setting();
    let (ticket, other) = (Right::Ticket { number: TicketNumber(4) }, Right::Ticket { number: TicketNumber(5) });
    ledger.rights.insert((node(PEER), blob(9), ShardIndex(1), ticket));
    let refused = Answer::Refused {
        reason: Refusal::NoRight { target: ShardIndex(1), epoch: Epoch(1) },
        retry_after_millis: Some(1_000),
    };
    // Discard and refetch: who threw its fragment away is a member with a seat, and has no right.
    for (stream, peer, right) in
        [(1, PEER, other), (2, PEER, Right::Trickle), (3, PEER, Right::Standing), (4, 3, ticket)]
    {
        let effects = custody.step(0, &ledger, symbol_asked(stream, peer, right, Some(1_000)));
        assert_eq!(answers(&effects), [(stream, &refused)], "{peer} {right:?}");
    }
    let effects = custody.step(0, &ledger, symbol_asked(5, PEER, ticket, Some(1_000)));
    let [Effect::Help { stream: StreamId(5), pair, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(pair, pair_of(&blob(9), ShardIndex(0), 28));
    let not_held = Answer::Refused { reason: Refusal::NotHeld, retry_after_millis: None };
    let effects = custody.step(0, &ledger, symbol_asked(6, PEER, ticket, None));
    assert_eq!(answers(&effects), [(6, &not_held)]);
}

#[test]
fn symbols_take_places_of_reads_and_give_them_back() {
    let (_, mut ledger, _) = setting();
    let config = Config { reads_per_peer_max: 2, ..Config::default() };
    let mut custody = Custody::new(node(ME), config);
    ledger.rights.insert((node(PEER), blob(9), ShardIndex(1), Right::Trickle));
    let ask = |stream| symbol_asked(stream, PEER, Right::Trickle, Some(1_000));
    assert!(matches!(custody.step(0, &ledger, ask(1))[..], [Effect::Help { .. }]));
    assert!(matches!(custody.step(0, &ledger, ask(2))[..], [Effect::Help { .. }]));
    let busy = Answer::Busy { retry_after_millis: 250 };
    assert_eq!(answers(&custody.step(0, &ledger, ask(3))), [(3, &busy)]);
    custody.step(0, &ledger, Input::ReadDone { stream: StreamId(1) });
    assert!(matches!(custody.step(0, &ledger, ask(4))[..], [Effect::Help { .. }]));
    assert_eq!(custody.reads_in_flight(), 2);
}
