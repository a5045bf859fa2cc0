//! Every encoding against a frozen hash. Changing one is a decision: it makes another network.

use super::fixture::*;
use crate::challenges::{Aim, Answer, Beacon, OutcomePath, Slot};
use crate::coverage::Run;
use crate::*;
use floe_erasure::{Axis, EvidenceKind, PairIndex, SliverId};
use floe_types::bls::{BlsSignature, PublicKey};
use floe_types::double_vote::{Said, VoteStep};
use floe_types::keys::Signature;
use floe_types::{DoubleVote, Epoch, Frost, RegistrationNumber, SequenceNumber, VoteKey, codec};

fn digest(bytes: &[u8]) -> String {
    Root(codec::hash("floe 1 conformance", bytes)).to_string()[..16].to_owned()
}

fn join() -> Join {
    Join {
        node: node(3),
        name: "new".into(),
        account: user(2),
        vote_key: VoteKey([6; 32]),
        bls_key: PublicKey([8; 48]),
        possession: BlsSignature([5; 96]),
        addresses: vec!["/ip4/127.0.0.1/tcp/9".into()],
        domain: "isp:a".into(),
        capacity_bytes: 1 << 40,
        stake: Frost(1_000),
        by_node: Signature([1; 64]),
        by_vote_key: Signature([2; 64]),
        by_bls_key: BlsSignature([3; 96]),
    }
}

fn double_vote() -> DoubleVote {
    let said = |value| Said { value, valid_round: None, signature: Signature([9; 64]) };
    let (first, second) = (said(Some([1; 32])), said(None));
    DoubleVote { key: VoteKey([6; 32]), step: VoteStep::Precommit, height: 300, round: 2, first, second }
}

fn inconsistency(kind: EvidenceKind, axis: Option<Axis>) -> Inconsistency {
    let sliver = axis.map(|axis| SliverId { pair: PairIndex(3), axis });
    let (members, signature) = (members([0, 4, 6]), BlsSignature([5; 96]));
    Inconsistency { term: 2, blob: blob(1), kind, sliver, members, signature }
}

fn actions() -> Vec<(&'static str, Action, &'static str)> {
    let run = |first, last| Run { first: SequenceNumber(first), last: SequenceNumber(last) };
    let mut attributes =
        Attributes { content_type: Some("image/jpeg".into()), name: Some("a.jpg".into()), ..Attributes::default() };
    attributes.tags.insert("k".into(), "v".into());
    vec![
        ("transfer", Action::Transfer { to: user(2), amount: Frost(7) }, "0428e197aae432ef 42158e662590ce2b"),
        (
            "register",
            Action::Register {
                blob: blob(1),
                length: LENGTH,
                first: Epoch(3),
                last: Epoch(18),
                price_max: Frost(688_000),
                persistence: Persistence::Permanent,
                attributes,
            },
            "33a6585e2a808b67 af3cc7b276caea64",
        ),
        (
            "certify",
            Action::Certify {
                blob: blob(1),
                registration: RegistrationNumber(300),
                version: 1,
                members: members([0, 1, 2, 4, 6]),
                signature: BlsSignature([5; 96]),
            },
            "8449a61549b0c83c 2248ef1acf4249ff",
        ),
        (
            "attest",
            Action::Attest { member: node(3), shards: seats(3), runs: vec![run(0, 9), run(11, 4_000)] },
            "3cb03ed189152d13 c6a05dbed21c1642",
        ),
        (
            "extend",
            Action::Extend { registration: RegistrationNumber(300), last: Epoch(40), price_max: Frost(1_000) },
            "e1fda1f411f8cec3 15b4cf778c7faf9d",
        ),
        ("delete", Action::Delete { registration: RegistrationNumber(300) }, "9f59e31f02a60b9a 1afd785a785c8499"),
        (
            "renew",
            Action::Renew { registration: RegistrationNumber(300), budget: Frost(1_000) },
            "a2dbaa812d5f94dc 8a4784bef2130354",
        ),
        ("offer", Action::Offer { member: node(3), price: Frost(1_000) }, "ba687e47cf8f9f62 6dfa998a5f4f9fe1"),
        (
            "withdraw",
            Action::Withdraw { member: node(3), shards: seats(3), runs: vec![run(7, 9), run(11, 11)] },
            "03e281479def439c c975c411a5deacb5",
        ),
        ("report", Action::Report(Box::new(report())), "b512a961385229a2 d3ec78facbf03a19"),
        (
            "commit",
            Action::Commit { member: node(3), epoch: Epoch(9), root: Root([8; 32]) },
            "82ef8fbdf2c9ca87 b1389c204ff8ff0c",
        ),
        ("support", Action::Support { member: node(3), version: 2 }, "00ab4f9c048333aa 8b8bc5c561947e12"),
        ("join", Action::Join(Box::new(join())), "db9d52c257abaae1 c226e7a44086b273"),
        (
            "stake, more",
            Action::Stake { node: node(3), change: StakeChange::Add(Frost(9)) },
            "c3d67701c8c08910 6c6e889e47dcdd62",
        ),
        (
            "stake, less",
            Action::Stake { node: node(3), change: StakeChange::Withdraw(Frost(9)) },
            "6f0d382aa907b35b 9d1cf2645ca8d800",
        ),
        ("leave", Action::Leave { node: node(3) }, "c5af81bb5255bd30 08d38495751fdeef"),
        (
            "describe",
            Action::Describe(Description {
                node: node(3),
                addresses: vec!["/ip4/127.0.0.1/tcp/9".into()],
                domain: "isp:a city:b".into(),
                capacity_bytes: 1 << 40,
            }),
            "b99aa96726fe3472 d4db9be2286da756",
        ),
        (
            "vote key",
            Action::VoteKey(Announcement { node: node(3), term: 4, key: VoteKey([6; 32]), proof: Signature([7; 64]) }),
            "6cd1d295dd0800d7 0c7e9a9b72599fca",
        ),
        ("evidence", Action::Evidence(Box::new(double_vote())), "653a861dad48c2ea 3a961e33911d80ae"),
        (
            "invalid, of a sliver",
            Action::Invalid(Box::new(inconsistency(EvidenceKind::Row, Some(Axis::Primary)))),
            "93ce7308212c0ea5 e3972d19603583de",
        ),
        (
            "invalid, of the roots",
            Action::Invalid(Box::new(inconsistency(EvidenceKind::Roots, None))),
            "1ef59607439dc1ee 56c97e8c959f7bfe",
        ),
    ]
}

fn report() -> Report {
    let answer = Answer { opening: vec![2; 64], signature: Signature([4; 64]) };
    let aim = Aim { slot: Slot(2), target: floe_types::MemberIndex(5), at: 1 };
    let tag = challenges::QuestionTag([6; 16]);
    let accuser = floe_types::MemberIndex(4);
    Report {
        member: node(3),
        epoch: Epoch(9),
        seed: BlsSignature([5; 96]),
        held: [Some(members([0, 6])), None, Some(members([])), None, None, Some(members(ALL))],
        passed: vec![6, 0, 1, 0, 6, 2, 300],
        accusations: vec![reports::Accusation { aim }],
        reasks: vec![
            reports::ReAsk { slot: Slot(1), accuser, tag, said: reports::Said::Missing },
            reports::ReAsk { slot: Slot(4), accuser, tag, said: reports::Said::Shown },
        ],
        shown: vec![reports::Shown { at: 1, answer, path: OutcomePath(vec![Root([7; 32]); 2]) }],
    }
}

/// What is signed and hashed about challenges, in a network and an epoch of its own.
#[test]
fn seeds_questions_and_answers_have_their_frozen_encoding() {
    let network = floe_types::NetworkId([3; 32]);
    let beacon = Beacon { epoch: Epoch(9), hash: [1; 32], end: 4, drawing: challenges::Drawing::Firm };
    let sample = challenges::Sample {
        number: floe_types::SequenceNumber(3),
        blob: blob(1),
        length: LENGTH,
        shard: floe_types::ShardIndex(2),
        axis: Axis::Secondary,
        symbol: 7,
        chunk: 300,
    };
    let aim = Aim { slot: Slot(2), target: floe_types::MemberIndex(5), at: 1 };
    let slip = |question| challenges::Slip::drawn(Epoch(9), &aim, (node(3), node(5)), question);
    let (chunk, presence) = (challenges::Question::Chunk(sample), challenges::Question::Presence);
    let signed = |question| challenges::answer_message(&network, &slip(question), b"part");
    let seed = challenges::Seed::make(&network, &beacon, &bls(3));
    let times = challenges::Timetable::of(&params(), floe_types::BlockTime(START));
    let mut outcomes = challenges::Outcomes::new(7);
    outcomes.enter(&aim, &report().shown[0].answer);
    let held = report().held;
    let named = reports::drawn(&floe_types::BlockId([9; 32]), floe_types::MemberIndex(3), &held);
    let found = [
        ("beacon", digest(&codec::encode(&beacon)), "42e78a7e00fbf14d"),
        ("seed message", digest(&challenges::seed_message(&network, &beacon)), "00c25cd958c8d189"),
        ("moment", digest(&challenges::asked_at(&seed, &times, &aim).0.to_be_bytes()), "72b0447adaad0c89"),
        ("slip", digest(&codec::encode(&slip(chunk))), "0a644de46e7a1efc"),
        ("answer to a chunk", digest(&signed(chunk)), "73053e14982f34b2"),
        ("answer to presence", digest(&signed(presence)), "926f6d26ef5a24a9"),
        ("tag", digest(&chunk.tag().0), "e508569a01bdc0f3"),
        ("outcomes", digest(&outcomes.root().0), "8bc347a9254dc396"),
        ("drawn", digest(&codec::encode(&named)), "89c1c99fe6237f76"),
    ];
    let wrong: Vec<_> = found.into_iter().filter(|(_, found, frozen)| found != frozen).collect();
    assert_eq!(wrong, vec![], "(name, found, frozen)");
}

#[test]
fn transactions_have_their_frozen_encoding() {
    let world = World::new();
    let found: Vec<_> = actions()
        .into_iter()
        .map(|(name, action, frozen)| {
            let mut transaction = world.sign(&key(1), 5, FEE, action).transaction;
            transaction.network = floe_types::NetworkId([3; 32]);
            let signed = transaction.sign(&key(1));
            (name, digest(&signed.encode()), digest(&signed.id().0), frozen)
        })
        .collect();
    let wrong: Vec<_> =
        found.into_iter().filter(|(_, encoding, id, frozen)| format!("{encoding} {id}") != *frozen).collect();
    assert_eq!(wrong, vec![], "(name, encoding, id, frozen)");
}

#[test]
fn headers_confirmations_and_records_have_their_frozen_encoding() {
    let mut world = World::new();
    world.store(blob(1), 2, &ALL);
    world.end_epoch(&ALL);
    let genesis = begin(&genesis()).unwrap();
    let plain = &world.blocks[0];
    let boundary = world.blocks.last().unwrap();
    let confirmation = confirmation_message(&floe_types::NetworkId([3; 32]), 1, RegistrationNumber(9), &blob(1), 1);
    let shown = inconsistency(EvidenceKind::Extension, Some(Axis::Secondary));
    let statement = shown.statement(floe_types::NetworkId([3; 32]));
    let found = [
        ("genesis state", digest(&genesis.encode()), "2eb89a744691a698"),
        ("block", digest(&plain.encode()), "2ec293e8ab623c15"),
        ("boundary header", digest(&codec::encode(&boundary.header)), "7c11c7f0cfcbe60e"),
        ("block id", digest(&boundary.id().0), "54f79d42c929468c"),
        ("confirmation", digest(&confirmation), "f652fe5b82753c89"),
        ("statement", digest(&statement.message()), "d8b6d4c9b32d0ef0"),
        ("state", digest(&views::head(&world.state).unwrap().state_root.0), "5981535eafcc7a54"),
    ];
    let wrong: Vec<_> = found.into_iter().filter(|(_, found, frozen)| found != frozen).collect();
    assert_eq!(wrong, vec![], "(name, found, frozen)");
}
