//! Challenges and reports with real keys and real blobs: what honest members show, and what becomes of those who cannot.

use super::fixture::*;
use crate::challenges::{
    Aim, Answer, AnswerError, Drawing, Outcomes, Question, Questions, Sample, Seed, Slip, Slot, Timetable, Unread,
    asked_at, beacon,
};
use crate::execute::Answers;
use crate::reports::{self, Accusation, ReAsk, Said, Shown, drawn};
use crate::*;
use floe_erasure::{Axis, Encoded, Layout, MemorySink, Options, Part, SliverHashes, encode, open_chunk, pair_of};
use floe_types::keys::SecretKey;
use floe_types::params::challenges_per_slot;
use floe_types::{
    BlobId, BlockTime, Epoch, Frost, MemberIndex, NodeId, RegistrationNumber, SequenceNumber, ShardIndex,
};
use std::collections::BTreeMap;

/// The identities of the nodes, so that node `at` is member `at`.
pub fn identities() -> Vec<SecretKey> {
    let mut keys: Vec<_> = (0..NODES).map(|at| SecretKey::from_bytes([at as u8 + 40; 32])).collect();
    keys.sort_by_key(SecretKey::public);
    keys
}

/// A world whose nodes have identities and whose blobs have bytes: reports must show what the draw names.
pub struct Proving {
    pub world: World,
    pub identities: Vec<SecretKey>,
    blobs: BTreeMap<BlobId, (Encoded, MemorySink)>,
}

impl Proving {
    pub fn new() -> Proving {
        let identities = identities();
        let mut genesis = genesis();
        for (member, key) in genesis.members.iter_mut().zip(&identities) {
            member.node = NodeId(key.public());
        }
        let mut world = World::of(&genesis);
        world.context.answers = Answers::Shown;
        Proving { world, identities, blobs: BTreeMap::new() }
    }

    pub fn node(&self, at: usize) -> NodeId {
        NodeId(self.identities[at].public())
    }

    fn network(&self) -> floe_types::NetworkId {
        self.world.context.network
    }

    /// Encodes a blob of so many bytes and registers it.
    fn register(&mut self, length: u64, epochs: u64) -> (BlobId, RegistrationNumber) {
        let bytes: Vec<u8> = (0..length).map(|at| (at * at / 5 + length) as u8).collect();
        let layout = Layout::new(28, length).unwrap();
        let sink = MemorySink::new(layout.encoded_bytes() as usize);
        let encoded = encode(&bytes, length, 28, &sink, &Options::default()).unwrap();
        let blob = encoded.blob_id();
        self.blobs.insert(blob, (encoded, sink));
        let Action::Register { first, last, price_max, persistence, attributes, .. } =
            self.world.register_action(blob, epochs)
        else {
            unreachable!()
        };
        let action = Action::Register { blob, length, first, last, price_max, persistence, attributes };
        let events = self.world.act(&key(1), action);
        let number = events.into_iter().find_map(|event| match event {
            Event::Registered { registration, .. } => Some(registration),
            _ => None,
        });
        (blob, number.unwrap())
    }

    /// Stores a blob of so many bytes with the nodes at these places.
    pub fn store(&mut self, length: u64, places: &[usize]) -> BlobId {
        let (blob, number) = self.register(length, 20);
        let action = self.world.certify_action(blob, number, places);
        self.world.act(&key(1), action);
        blob
    }

    pub fn seed(&self, at: usize) -> Seed {
        Seed::make(&self.network(), &beacon(&self.world.state).unwrap(), &bls(at))
    }

    pub fn question(&self, seed: &Seed, aim: &Aim) -> Question {
        let committee = views::committee(&self.world.state).unwrap();
        Questions::of(&self.world.state, &committee).unwrap().draw(seed, aim).unwrap()
    }

    /// The slip of a question of member `at`.
    pub fn slip(&self, at: usize, aim: &Aim, question: Question) -> Slip {
        let ends = (self.node(at), self.node(usize::from(aim.target.0)));
        Slip::drawn(self.world.epoch(), aim, ends, question)
    }

    /// What the holder of the blob's fragment answers to `slip`, signed by `key`.
    pub fn answer(&self, slip: &Slip, key: &SecretKey) -> Answer {
        let Question::Chunk(sample) = slip.question else { return Answer::present(&self.network(), slip, key) };
        let (encoded, sink) = &self.blobs[&sample.blob];
        let (layout, pair) = (encoded.layout(), pair_of(&sample.blob, sample.shard, 28));
        let fragment = sink.copy(encoded.fragment_offset(pair), layout.fragment_bytes() as usize).unwrap();
        let start = if sample.axis == Axis::Primary { 0 } else { layout.primary_bytes() };
        let sliver = Part::new(&fragment, start);
        let hashes = SliverHashes::of(&layout, pair, sample.axis, &sliver, &Options::default()).unwrap();
        let opening = open_chunk(&layout, &encoded.proof(pair), sample.place(), &hashes, &fragment).unwrap();
        Answer::show(&self.network(), slip, &opening, key)
    }

    /// What member `at` gets of those at `places`, who all answer.
    pub fn gathered(&self, at: usize, places: &[usize]) -> (Outcomes, BTreeMap<Aim, Answer>) {
        let (seed, mut outcomes, mut answers) = (self.seed(at), Outcomes::new(NODES), BTreeMap::new());
        for aim in places.iter().filter(|target| **target != at).flat_map(|target| aims(*target)) {
            let slip = self.slip(at, &aim, self.question(&seed, &aim));
            let answer = self.answer(&slip, &self.identities[usize::from(aim.target.0)]);
            outcomes.enter(&aim, &answer);
            answers.insert(aim, answer);
        }
        (outcomes, answers)
    }

    pub fn commit(&self, at: usize, root: Root) -> Action {
        Action::Commit { member: self.node(at), epoch: self.world.epoch(), root }
    }

    /// The report of member `at` that saw those at `places` hold, with nothing shown.
    pub fn bare(&self, at: usize, places: &[usize]) -> Report {
        self.world.report_of(self.node(at), &bls(at), &members(places.iter().copied()))
    }

    /// Shows what the draw names of `report`.
    pub fn show(&self, at: usize, report: &mut Report, (outcomes, answers): &(Outcomes, BTreeMap<Aim, Answer>)) {
        let draw = reports::draw(&self.world.state, &self.world.context.params).unwrap().unwrap();
        let show = |(slot, target)| {
            let aim = Aim { slot, target, at: 1 };
            Shown { at: 1, answer: answers[&aim].clone(), path: outcomes.path(&aim).unwrap() }
        };
        report.shown = drawn(&draw, MemberIndex(at as u16), &report.held).into_iter().map(show).collect();
    }

    fn refusal(&self, at: usize, report: &Report) -> Refusal {
        self.world.refusal(&node_key(at), Action::Report(Box::new(report.clone())))
    }
}

/// All questions to one target.
fn aims(target: usize) -> impl Iterator<Item = Aim> {
    let target = MemberIndex(target as u16);
    Slot::all().flat_map(move |slot| (0..challenges_per_slot(NODES)).map(move |at| Aim { slot, target, at }))
}

/// Three blobs, in an epoch in which they are asked about.
fn proving() -> Proving {
    let mut net = Proving::new();
    for length in [100, 5_000, 90_000] {
        net.store(length, &ALL);
    }
    net.world.boundary(Vec::new());
    net
}

#[test]
fn members_that_show_what_the_draw_names_are_believed() {
    let mut net = proving();
    let gathered: Vec<_> = ALL.iter().map(|at| net.gathered(*at, &ALL)).collect();
    net.world.enter_closing();
    let commits = ALL.map(|at| net.world.by(&node_key(at), net.commit(at, gathered[at].0.root())));
    assert_eq!(net.world.block(commits.to_vec()).refused, vec![]);
    net.world.draw();
    let reports = ALL.map(|at| {
        let mut report = net.bare(at, &ALL);
        net.show(at, &mut report, &gathered[at]);
        assert_eq!(report.shown.len(), reports::SHOWN_MAX);
        net.world.by(&node_key(at), Action::Report(Box::new(report)))
    });
    let bytes = reports.iter().map(|report| report.bytes()).max().unwrap();
    assert!(bytes < 9_000, "{bytes} bytes");
    assert_eq!(net.world.block(reports.to_vec()).refused, vec![]);
    net.world.boundary(Vec::new());
    let record = views::epoch_record(&net.world.state, Epoch(2)).unwrap().unwrap();
    assert_eq!((record.boundary.answered.clone(), record.boundary.decision), (members(ALL), Decision::Decided));
    assert_eq!(record.boundary.tally.verdicts[&Verdict::Intact].blobs, 3);
    let attendance = reports::attendance(&net.world.state, Epoch(2)).unwrap().unwrap();
    for member in &attendance.members {
        assert_eq!((member.held, member.good, member.missing), (63, 6 * 18, 0));
        assert_eq!(member.service, Some(floe_risk::reliability::Reliability::FULL));
    }
    assert_eq!((attendance.slots, attendance.held(MemberIndex(3))), (63, 6));
}

#[test]
fn a_report_is_void_when_anything_it_shows_is_wrong() {
    let mut net = proving();
    let gathered = net.gathered(0, &ALL);
    net.world.enter_closing();
    let commit = net.commit(0, gathered.0.root());
    net.world.act(&node_key(0), commit);
    net.world.draw();
    let mut good = net.bare(0, &ALL);
    net.show(0, &mut good, &gathered);
    let draw = reports::draw(&net.world.state, &net.world.context.params).unwrap().unwrap();
    let (slot, target) = drawn(&draw, MemberIndex(0), &good.held)[0];
    let other = Refusal::OtherOutcome { slot, target: target.0 };
    type Change = fn(&mut Report);
    let cases: [(Change, Refusal); 12] = [
        (|report| report.shown.truncate(3), Refusal::NotShown { found: 3, expected: 4 }),
        (|report| report.shown.clear(), Refusal::NotShown { found: 0, expected: 4 }),
        (|report| report.shown[0].at = (report.shown[0].at + 1) % 3, other.clone()),
        (|report| report.shown[0].at = 3, other.clone()),
        (|report| report.shown[0].answer.opening[40] ^= 1, other.clone()),
        (|report| report.shown[0].path.0[1].0[0] ^= 1, other.clone()),
        (|report| report.shown[0].path.0.truncate(2), other.clone()),
        (|report| report.seed.0[50] ^= 1, Refusal::BadSeed),
        (
            |report| report.passed.truncate(6),
            Refusal::BadReport { why: "it counts passes of more or fewer members than there are" },
        ),
        (|report| report.passed[3] = 19, Refusal::BadReport { why: "it counts more passes than questions" }),
        (|report| report.held[2] = Some(members([7])), Refusal::MembersBeyond { members: 7 }),
        (|report| report.epoch = Epoch(3), Refusal::OtherEpoch { found: Epoch(3), current: Epoch(2) }),
    ];
    for (at, (change, refusal)) in cases.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(net.refusal(0, &bad), refusal, "case {at}");
    }
    net.world.act(&node_key(0), Action::Report(Box::new(good.clone())));
    assert_eq!(net.refusal(0, &good), Refusal::AlreadyReported);
}

/// The villain claims that a member held which it never asked, and makes up the answers.
#[test]
fn a_slanderers_friend_that_makes_up_answers_is_void() {
    let mut net = proving();
    let (mut outcomes, mut answers) = net.gathered(0, &[1, 2, 3, 4, 5]);
    // Member 6 is away: its friend signs for it with a key of its own.
    let seed = net.seed(0);
    for aim in aims(6) {
        let slip = net.slip(0, &aim, net.question(&seed, &aim));
        let answer = net.answer(&slip, &net.identities[0]);
        outcomes.enter(&aim, &answer);
        answers.insert(aim, answer);
    }
    net.world.enter_closing();
    let commit = net.commit(0, outcomes.root());
    net.world.act(&node_key(0), commit);
    net.world.draw();
    let mut report = net.bare(0, &[6]);
    net.show(0, &mut report, &(outcomes, answers));
    assert!(matches!(net.refusal(0, &report), Refusal::BadAnswer { target: 6, why: AnswerError::Signature, .. }));
    net.world.boundary(Vec::new());
    let record = views::epoch_record(&net.world.state, Epoch(2)).unwrap().unwrap();
    assert!(record.boundary.reporters.is_empty());
}

/// The villain keeps the chunks of one blob and has a friend that asks for those only.
#[test]
fn an_answer_to_a_question_that_was_not_drawn_shows_nothing() {
    let mut net = proving();
    let (mut outcomes, mut answers) = net.gathered(0, &[1, 2, 3, 4, 5]);
    let seed = net.seed(0);
    let easy = net.question(&seed, &Aim { slot: Slot(0), target: MemberIndex(6), at: 0 });
    for aim in aims(6) {
        let slip = net.slip(0, &aim, easy);
        let answer = net.answer(&slip, &net.identities[6]);
        assert_eq!(answer.check(&net.world.context.network, 28, &slip), Ok(()));
        outcomes.enter(&aim, &answer);
        answers.insert(aim, answer);
    }
    net.world.enter_closing();
    let commit = net.commit(0, outcomes.root());
    net.world.act(&node_key(0), commit);
    net.world.draw();
    let mut report = net.bare(0, &[6]);
    net.show(0, &mut report, &(outcomes, answers));
    assert!(matches!(net.refusal(0, &report), Refusal::BadAnswer { target: 6, why: AnswerError::Signature, .. }));
}

#[test]
fn an_answer_is_of_one_question_by_one_node_to_one_other() {
    let net = proving();
    let seed = net.seed(0);
    let aim = aims(3).find(|aim| matches!(net.question(&seed, aim), Question::Chunk(_))).unwrap();
    let slip = net.slip(0, &aim, net.question(&seed, &aim));
    let answer = net.answer(&slip, &net.identities[3]);
    let network = net.world.context.network;
    assert_eq!(answer.check(&network, 28, &slip), Ok(()));
    let again = challenges::Occasion::Again { accuser: MemberIndex(1) };
    let others = [
        Slip { epoch: Epoch(3), ..slip },
        Slip { slot: Slot(5 - aim.slot.0), ..slip },
        Slip { challenger: net.node(1), ..slip },
        Slip { target: net.node(1), ..slip },
        Slip { occasion: challenges::Occasion::Drawn { at: 7 }, ..slip },
        Slip { occasion: again, ..slip },
        Slip { question: Question::Presence, ..slip },
    ];
    for other in others {
        assert_eq!(answer.check(&network, 28, &other), Err(AnswerError::Signature), "{other:?}");
    }
    assert_eq!(answer.check(&floe_types::NetworkId([1; 32]), 28, &slip), Err(AnswerError::Signature));
    // Signed, and not the bytes.
    let Question::Chunk(sample) = slip.question else { unreachable!() };
    let layout = Layout::new(28, sample.length).unwrap();
    let encoded = &net.blobs[&sample.blob].0;
    let pair = pair_of(&sample.blob, sample.shard, 28);
    let shorter = floe_erasure::ChunkOpening::decode(&answer.opening[1..], &layout, pair, &sample.place());
    assert!(shorter.is_err() && encoded.layout() == layout);
    let presence = Slip { question: Question::Presence, ..slip };
    let mut chatty = Answer::present(&network, &presence, &net.identities[3]);
    assert_eq!(chatty.check(&network, 28, &presence), Ok(()));
    chatty.opening = vec![1];
    assert_eq!(chatty.check(&network, 28, &presence), Err(AnswerError::Signature));
    let elsewhere = Slip { question: Question::Chunk(Sample { symbol: sample.symbol ^ 1, ..sample }), ..slip };
    let mut moved = answer.clone();
    moved.signature = net.identities[3].sign(&challenges::answer_message(&network, &elsewhere, &moved.opening));
    assert!(matches!(moved.check(&network, 28, &elsewhere), Err(AnswerError::Opening { .. })));
}

#[test]
fn the_closing_has_two_halves_and_a_block_between_them() {
    let mut net = proving();
    let params = net.world.context.params.clone();
    let times = Timetable::of(&params, views::head(&net.world.state).unwrap().epoch_began);
    let commit = |net: &Proving, at: usize| net.commit(at, Root([9; 32]));
    let refused = |net: &Proving, action| net.world.refusal(&node_key(1), action);
    assert_eq!(refused(&net, commit(&net, 1)), Refusal::NotClosing { from: times.closing() });
    assert_eq!(net.refusal(1, &net.bare(1, &ALL)), Refusal::NoDraw);
    assert_eq!(reports::draw_due(&net.world.state, &params), Ok(None));
    net.world.now = BlockTime(times.closing().0 - 11);
    assert_eq!(refused(&net, commit(&net, 1)), Refusal::NotClosing { from: times.closing() });
    net.world.enter_closing();
    assert_eq!(refused(&net, commit(&net, 2)), Refusal::NotMember);
    let other = Action::Commit { member: net.node(1), epoch: Epoch(1), root: Root([9; 32]) };
    assert_eq!(refused(&net, other), Refusal::OtherEpoch { found: Epoch(1), current: Epoch(2) });
    net.world.act(&node_key(1), commit(&net, 1));
    assert_eq!(refused(&net, commit(&net, 1)), Refusal::AlreadyCommitted);
    assert_eq!(reports::draw_due(&net.world.state, &params), Ok(Some(times.middle())));
    assert_eq!(net.refusal(1, &net.bare(1, &ALL)), Refusal::NoDraw);
    // The last millisecond before the middle, and the middle.
    net.world.now = BlockTime(times.middle().0 - 11);
    net.world.act(&node_key(0), commit(&net, 0));
    assert_eq!(reports::draw(&net.world.state, &params), Ok(None));
    assert_eq!(net.world.refusal(&node_key(2), commit(&net, 2)), Refusal::CommitmentsOver { until: times.middle() });
    net.world.block(Vec::new());
    let draw = views::head(&net.world.state).unwrap().block;
    assert_eq!(reports::draw(&net.world.state, &params), Ok(Some(draw)));
    assert_eq!(reports::draw_due(&net.world.state, &params), Ok(None));
    net.world.block(Vec::new());
    net.world.block(Vec::new());
    assert_eq!(reports::draw(&net.world.state, &params), Ok(Some(draw)));
    assert_eq!(net.refusal(2, &net.bare(2, &ALL)), Refusal::NotCommitted);
    assert_eq!(net.refusal(2, &net.bare(1, &ALL)), Refusal::NotMember);
    // A commitment costs neither fee nor nonce.
    let account = views::account(&net.world.state, &floe_types::AccountId(node_key(1).public())).unwrap();
    assert_eq!((account.balance, account.nonce), (RICH, 0));
    net.world.boundary(Vec::new());
    assert_eq!(reports::draw(&net.world.state, &params), Ok(None));
    assert_eq!(reports::commitment(&net.world.state, MemberIndex(1)), Ok(None));
    let late = net.refusal(1, &Report { epoch: Epoch(2), ..net.bare(1, &ALL) });
    assert_eq!(late, Refusal::OtherEpoch { found: Epoch(2), current: Epoch(3) });
}

#[test]
fn a_seed_of_another_member_or_epoch_is_refused() {
    let mut net = proving();
    let old = net.bare(0, &ALL).seed;
    net.world.boundary(Vec::new());
    net.world.enter_closing();
    let commit = net.commit(0, Root([1; 32]));
    net.world.act(&node_key(0), commit);
    net.world.draw();
    let nothing = Report { held: std::array::from_fn(|_| Some(members([]))), ..net.bare(0, &[]) };
    for seed in [old, net.bare(1, &ALL).seed] {
        assert_eq!(net.refusal(0, &Report { seed, ..nothing.clone() }), Refusal::BadSeed);
    }
    // Who saw nobody has nothing to show.
    net.world.act(&node_key(0), Action::Report(Box::new(nothing)));
}

#[test]
fn reports_out_of_shape_are_no_transactions() {
    let net = proving();
    let good = net.bare(0, &ALL);
    let aim = |slot| Aim { slot: Slot(slot), target: MemberIndex(1), at: 0 };
    let tag = Question::Presence.tag();
    let again = |slot, accuser| ReAsk { slot: Slot(slot), accuser: MemberIndex(accuser), tag, said: Said::Shown };
    let accuse = |slots: &[u8]| slots.iter().map(|slot| Accusation { aim: aim(*slot) }).collect::<Vec<_>>();
    let bad = [
        Report { held: std::array::from_fn(|_| None), ..good.clone() },
        Report { accusations: accuse(&[6]), ..good.clone() },
        Report { accusations: accuse(&[1, 1]), ..good.clone() },
        Report { accusations: accuse(&[2, 1]), ..good.clone() },
        Report { reasks: vec![again(5, 1)], ..good.clone() },
        Report { reasks: vec![again(0, 2), again(0, 1)], ..good.clone() },
        Report { reasks: vec![again(0, 1), again(0, 1)], ..good.clone() },
        Report { reasks: (0..513).map(|accuser| again(0, accuser)).collect(), ..good.clone() },
        Report { shown: vec![shown_of(0); 5], ..good.clone() },
    ];
    for (at, report) in bad.into_iter().enumerate() {
        let signed = net.world.sign(&node_key(0), 0, Frost::ZERO, Action::Report(Box::new(report)));
        let refused = signed.check(&net.world.context.network);
        assert!(matches!(refused, Err(TransactionError::Shape { .. })), "case {at}");
    }
    for (nonce, fee) in [(1, Frost::ZERO), (0, Frost(1))] {
        for action in [net.commit(0, Root([1; 32])), Action::Report(Box::new(good.clone()))] {
            let signed = net.world.sign(&node_key(0), nonce, fee, action);
            assert!(matches!(signed.check(&net.world.context.network), Err(TransactionError::Shape { .. })));
        }
    }
}

fn shown_of(bytes: usize) -> Shown {
    let answer = Answer { opening: vec![1; bytes], signature: floe_types::keys::Signature([2; 64]) };
    Shown { at: 1_000, answer, path: challenges::OutcomePath(vec![Root([3; 32]); 14]) }
}

#[test]
fn the_longest_report_of_the_largest_committee_is_a_transaction() {
    let layout = Layout::new(1024, 1 << 40).unwrap();
    let longest = floe_erasure::ChunkOpening::max_bytes(&layout);
    let answer = shown_of(longest).answer;
    assert!(floe_types::codec::encode(&answer).len() <= challenges::ANSWER_BYTES_MAX);
    let all = MemberSet::below(1024);
    let reask = |at: u16| ReAsk {
        slot: Slot((at / 128) as u8),
        accuser: MemberIndex(600 + at % 128),
        tag: Question::Presence.tag(),
        said: Said::Missing,
    };
    let report = Report {
        member: node(0),
        epoch: Epoch(u64::MAX),
        seed: floe_types::bls::BlsSignature([1; 96]),
        held: std::array::from_fn(|_| Some(all.clone())),
        passed: vec![300; 1024],
        accusations: Slot::all()
            .map(|slot| Accusation { aim: Aim { slot, target: MemberIndex(999), at: 999 } })
            .collect(),
        reasks: (0..reports::REASKS_MAX as u16).map(reask).collect(),
        shown: vec![shown_of(longest); reports::SHOWN_MAX],
    };
    let world = World::new();
    let signed = world.sign(&key(1), 0, Frost::ZERO, Action::Report(Box::new(report)));
    assert!(signed.encode().len() <= floe_types::params::TRANSACTION_BYTES_MAX, "{}", signed.encode().len());
    assert!(signed.check(&world.context.network).is_ok());
    assert_eq!(challenges::leaves(1024), 6 * 1024);
}

#[test]
fn questions_fall_on_bytes_evenly_and_on_nothing_that_is_not_covered() {
    let mut net = Proving::new();
    // Member 6 misses the largest one.
    let lengths = [3_000u64, 40_000, 100_000, 200_000];
    for length in lengths {
        net.store(length, if length == 200_000 { &ALL[..6] } else { &ALL });
    }
    net.world.boundary(Vec::new());
    let committee = views::committee(&net.world.state).unwrap();
    let questions = Questions::of(&net.world.state, &committee).unwrap();
    let bytes = lengths.map(|length| Layout::new(28, length).unwrap().fragment_bytes());
    for (target, covered) in [(2usize, 4usize), (6, 3)] {
        let (mut of_blob, mut of_shard, mut primary) = ([0u32; 4], BTreeMap::<u16, u32>::new(), 0u32);
        let draws = 6_000u32;
        for at in 0..draws {
            // Any bytes are as good a seed as a signature.
            let beacon = challenges::Beacon { epoch: Epoch(at.into()), ..*questions.beacon() };
            let seed = Seed::make(&net.network(), &beacon, &bls(0));
            let aim = Aim { slot: Slot((at % 6) as u8), target: MemberIndex(target as u16), at: 0 };
            let Question::Chunk(sample) = questions.draw(&seed, &aim).unwrap() else { panic!("it covers most") };
            assert!(questions.is_due(&Question::Chunk(sample), aim.target).unwrap());
            let layout = Layout::new(28, sample.length).unwrap();
            assert!(sample.place().exists(&layout) && sample.place().is_stored(&layout));
            of_blob[sample.number.0 as usize] += 1;
            *of_shard.entry(sample.shard.0).or_default() += 1;
            primary += u32::from(sample.axis == Axis::Primary);
        }
        let whole: u64 = bytes[..covered].iter().sum();
        for (found, bytes) in of_blob.iter().zip(bytes).take(covered) {
            let expected = f64::from(draws) * bytes as f64 / whole as f64;
            assert!((f64::from(*found) - expected).abs() < 5.0 * expected.sqrt() + 1.0, "{of_blob:?} {expected}");
        }
        assert!(of_blob[covered..].iter().all(|found| *found == 0));
        let seats: Vec<u16> = seats(target).iter().map(|shard| shard.0).collect();
        assert_eq!(of_shard.keys().copied().collect::<Vec<_>>(), seats);
        assert!(of_shard.values().all(|found| (1_300..1_700).contains(found)), "{of_shard:?}");
        // 19 stored symbols in a primary sliver, 10 in a secondary one.
        let share = f64::from(primary) / f64::from(draws);
        assert!((share - 19.0 / 29.0).abs() < 0.03, "{share}");
    }
}

#[test]
fn a_node_that_covers_nothing_is_asked_for_its_presence() {
    let mut net = Proving::new();
    net.store(5_000, &ALL[..6]);
    net.world.boundary(Vec::new());
    let seed = net.seed(0);
    assert!(aims(6).all(|aim| net.question(&seed, &aim) == Question::Presence));
    assert!(aims(5).all(|aim| net.question(&seed, &aim) != Question::Presence));
    // An empty network asks nobody for anything else.
    let empty = Proving::new();
    assert!(aims(5).all(|aim| empty.question(&empty.seed(0), &aim) == Question::Presence));
}

#[test]
fn equal_questions_are_drawn_at_any_block_of_the_epoch() {
    let mut net = Proving::new();
    for length in [100, 5_000, 90_000] {
        net.store(length, &ALL[..5]);
    }
    net.world.boundary(Vec::new());
    let all = |net: &Proving| {
        let seed = net.seed(0);
        let times = Timetable::of(&net.world.context.params, views::head(&net.world.state).unwrap().epoch_began);
        let aims = (1..NODES).flat_map(aims);
        aims.map(|aim| (net.question(&seed, &aim), asked_at(&seed, &times, &aim))).collect::<Vec<_>>()
    };
    let first = all(&net);
    assert!(first.iter().any(|(question, _)| *question != Question::Presence));
    net.store(70_000, &ALL);
    let run = Run { first: SequenceNumber(0), last: SequenceNumber(2) };
    for (at, withdrawn) in [(5usize, false), (2, true)] {
        let (member, shards, runs) = (net.node(at), seats(at), vec![run]);
        let action = match withdrawn {
            false => Action::Attest { member, shards, runs },
            true => Action::Withdraw { member, shards, runs },
        };
        net.world.act(&node_key(at), action);
    }
    let longer = Action::Extend { registration: RegistrationNumber(1), last: Epoch(30), price_max: RICH };
    net.world.act(&key(1), longer);
    assert_eq!(all(&net), first);
    net.world.boundary(Vec::new());
    assert_ne!(all(&net), first);
    // Members ask at times of their own, and each question in its slot.
    let times = Timetable::of(&net.world.context.params, views::head(&net.world.state).unwrap().epoch_began);
    for (seed, aim) in aims(3).flat_map(|aim| [(net.seed(0), aim), (net.seed(1), aim)]) {
        let at = asked_at(&seed, &times, &aim);
        assert!(at >= times.begins(aim.slot) && at <= times.last_question(aim.slot));
    }
    assert_ne!(
        net.question(&net.seed(0), &aims(3).next().unwrap()),
        net.question(&net.seed(1), &aims(3).next().unwrap())
    );
}

#[test]
fn a_blob_found_invalid_makes_the_epochs_questions_uncheckable_and_no_more() {
    let mut net = proving();
    let gathered = net.gathered(0, &ALL);
    let late = net.store(2_000, &ALL);
    let shown = super::invalid::shown(&net.world, late, &ALL);
    net.world.act(&key(1), Action::Invalid(Box::new(shown)));
    assert_eq!(beacon(&net.world.state).unwrap().drawing, Drawing::Firm, "nobody was asked about it");
    let first = views::sequence(&net.world.state, SequenceNumber(2)).unwrap().unwrap().blob;
    let shown = super::invalid::shown(&net.world, first, &ALL);
    net.world.act(&key(1), Action::Invalid(Box::new(shown)));
    assert_eq!(beacon(&net.world.state).unwrap().drawing, Drawing::Spoiled);
    net.world.enter_closing();
    let commit = net.commit(0, gathered.0.root());
    net.world.act(&node_key(0), commit);
    net.world.draw();
    let mut report = net.bare(0, &ALL);
    net.show(0, &mut report, &gathered);
    report.accusations = vec![Accusation { aim: Aim { slot: Slot(1), target: MemberIndex(3), at: 0 } }];
    let mut bad = report.clone();
    bad.shown[0].answer.opening.push(0);
    assert!(matches!(net.refusal(0, &bad), Refusal::OtherOutcome { .. }));
    net.world.act(&node_key(0), Action::Report(Box::new(report)));
    let opened = reports::opened(&net.world.state).unwrap();
    assert_eq!(opened[&MemberIndex(0)].accused, vec![]);
    net.world.boundary(Vec::new());
    assert_eq!(beacon(&net.world.state).unwrap().drawing, Drawing::Firm);
}

#[test]
fn a_beacon_follows_from_the_block_before_it_and_from_the_seeds_that_were_opened() {
    let net = proving();
    let hash = |reporters: &[usize], blocks: usize| {
        let mut world = World::new();
        (0..blocks).for_each(|_| drop(world.block(Vec::new())));
        world.end_epoch(reporters);
        beacon(&world.state).unwrap().hash
    };
    let hashes = [hash(&[], 0), hash(&[], 1), hash(&[0], 0), hash(&[1], 0), hash(&[0, 1], 0)];
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!((distinct.len(), hash(&[0], 0)), (5, hashes[2]));
    let found = beacon(&net.world.state).unwrap();
    assert_eq!((found.epoch, found.end, found.drawing), (Epoch(2), 3, Drawing::Firm));
}

#[test]
fn what_one_could_not_get_is_decided_by_those_that_asked_again() {
    // Member 6 lost a sample and has 1 for a friend; 0 and 1 frame member 5. In each case 8 of 28 shards lie, and f is 9.
    let mut net = proving();
    net.world.context.answers = Answers::Waived;
    let lost = Aim { slot: Slot(1), target: MemberIndex(6), at: 0 };
    let framed = Aim { slot: Slot(2), target: MemberIndex(5), at: 1 };
    let tag = |net: &Proving, at, aim: &Aim| net.question(&net.seed(at), aim).tag();
    let (lost_tag, framed_tag) = (tag(&net, 2, &lost), tag(&net, 0, &framed));
    assert_ne!(lost_tag, framed_tag);
    net.world.enter_closing();
    let commits = ALL.map(|at| net.world.by(&node_key(at), net.commit(at, Root([1; 32]))));
    net.world.block(commits.to_vec());
    net.world.draw();
    let again = |aim: &Aim, accuser: u16, tag, said| ReAsk { slot: aim.slot, accuser: MemberIndex(accuser), tag, said };
    let reports = ALL.map(|at| {
        let mut report = net.bare(at, &ALL);
        match at {
            0 => report.accusations = vec![Accusation { aim: framed }],
            2 => report.accusations = vec![Accusation { aim: lost }],
            _ => {}
        }
        let honestly = if at == 1 { Said::Shown } else { Said::Missing };
        let of_framed = if at < 2 { Said::Missing } else { Said::Shown };
        if at != 2 && at != 6 {
            report.reasks.push(again(&lost, 2, lost_tag, honestly));
        }
        if at != 0 && at != 5 {
            report.reasks.push(again(&framed, 0, framed_tag, of_framed));
        }
        net.world.by(&node_key(at), Action::Report(Box::new(report)))
    });
    assert_eq!(net.world.block(reports.to_vec()).refused, vec![]);
    net.world.boundary(Vec::new());
    let attendance = reports::attendance(&net.world.state, Epoch(2)).unwrap().unwrap();
    let found = attendance.members.iter().map(|member| (member.missing, member.refuted)).collect::<Vec<_>>();
    assert_eq!(found, [(0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 1), (1, 0)]);
}

#[test]
fn a_sample_that_the_accuser_chose_itself_counts_for_nothing() {
    let mut net = proving();
    net.world.context.answers = Answers::Waived;
    let aim = Aim { slot: Slot(1), target: MemberIndex(6), at: 0 };
    // All others asked for what the accuser told them: a chunk of which it knows that it is lost.
    let chosen = net.question(&net.seed(3), &aim).tag();
    net.world.enter_closing();
    let commits = ALL.map(|at| net.world.by(&node_key(at), net.commit(at, Root([1; 32]))));
    net.world.block(commits.to_vec());
    net.world.draw();
    let reports = ALL[..6].iter().map(|at| {
        let mut report = net.bare(*at, &ALL);
        match at {
            0 => report.accusations = vec![Accusation { aim }],
            _ => {
                report.reasks =
                    vec![ReAsk { slot: aim.slot, accuser: MemberIndex(0), tag: chosen, said: Said::Missing }]
            }
        }
        net.world.by(&node_key(*at), Action::Report(Box::new(report)))
    });
    let reports = reports.collect();
    assert_eq!(net.world.block(reports).refused, vec![]);
    net.world.boundary(Vec::new());
    let attendance = reports::attendance(&net.world.state, Epoch(2)).unwrap().unwrap();
    assert_eq!((attendance.members[6].missing, attendance.members[6].refuted), (0, 0));
}

#[test]
fn what_must_be_answered_when_asked_again_is_what_is_covered() {
    let mut net = Proving::new();
    net.store(5_000, &ALL);
    net.store(9_000, &ALL[..6]);
    net.world.boundary(Vec::new());
    let new = net.store(7_000, &ALL);
    let committee = views::committee(&net.world.state).unwrap();
    let questions = Questions::of(&net.world.state, &committee).unwrap();
    let due = |sample: Sample, target: u16| questions.is_due(&Question::Chunk(sample), MemberIndex(target)).unwrap();
    let life = |number: u64| views::sequence(&net.world.state, SequenceNumber(number)).unwrap().unwrap();
    let of = |number: u64, shard: u16| Sample {
        number: SequenceNumber(number),
        blob: life(number).blob,
        length: life(number).length,
        shard: ShardIndex(shard),
        axis: Axis::Primary,
        symbol: 3,
        chunk: 0,
    };
    assert!(due(of(0, 24), 6) && due(of(1, 20), 5) && questions.is_due(&Question::Presence, MemberIndex(6)).unwrap());
    assert_eq!(life(2).blob, new);
    let bad = [
        (of(1, 24), 6),
        (of(0, 23), 6),
        (of(0, 28), 6),
        (of(0, 24), 7),
        (of(2, 24), 6),
        (Sample { blob: new, ..of(0, 24) }, 6),
        (Sample { length: 4_999, ..of(0, 24) }, 6),
        (Sample { symbol: 19, ..of(0, 24) }, 6),
        (Sample { chunk: 1 << 40, ..of(0, 24) }, 6),
        (Sample { number: SequenceNumber(9), ..of(0, 24) }, 6),
    ];
    for (sample, target) in bad {
        assert!(!due(sample, target), "{sample:?}");
    }
}

#[test]
fn what_a_reader_could_not_get_is_a_chunk_of_it_that_only_the_seed_gives() {
    let mut net = Proving::new();
    let old = net.store(300_000, &ALL[..6]);
    net.world.boundary(Vec::new());
    let new = net.store(7_000, &ALL);
    let committee = views::committee(&net.world.state).unwrap();
    let questions = Questions::of(&net.world.state, &committee).unwrap();
    let (seed, other, slot) = (net.seed(0), net.seed(1), Slot(2));
    let all = Unread { blob: old, shard: ShardIndex(20), axis: Axis::Primary, unit: None };
    let asked =
        |seed, target: u16, what: &Unread| questions.of_reader(seed, (slot, MemberIndex(target)), what).unwrap();
    let Some(Question::Chunk(sample)) = asked(&seed, 5, &all) else { panic!("nothing is asked") };
    assert_eq!((sample.blob, sample.shard, sample.axis), (old, ShardIndex(20), Axis::Primary));
    assert!(questions.is_due(&Question::Chunk(sample), MemberIndex(5)).unwrap());
    // Another seed, another chunk; the same seed, the same.
    assert_eq!(asked(&seed, 5, &all), Some(Question::Chunk(sample)));
    let elsewhere = (0..6).filter(|slot| {
        let of = |seed| questions.of_reader(seed, (Slot(*slot), MemberIndex(5)), &all).unwrap();
        of(&seed) != of(&other)
    });
    assert!(elsewhere.count() >= 4);
    let unit = Unread { axis: Axis::Secondary, unit: Some((7, 0)), ..all };
    let Some(Question::Chunk(sample)) = asked(&seed, 5, &unit) else { panic!("nothing is asked") };
    assert_eq!((sample.axis, sample.symbol), (Axis::Secondary, 7));
    assert!(sample.chunk < 2, "symbols of 1.6 KB");
    for (target, what) in [
        (6, Unread { shard: ShardIndex(24), ..all }),
        (5, Unread { shard: ShardIndex(24), ..all }),
        (5, Unread { blob: new, ..all }),
        (5, Unread { blob: blob(9), ..all }),
        (5, Unread { unit: Some((7, 3)), ..all }),
        (5, Unread { unit: Some((19, 0)), ..all }),
        (9, all),
    ] {
        assert_eq!(asked(&seed, target, &what), None, "{target} {what:?}");
    }
}
