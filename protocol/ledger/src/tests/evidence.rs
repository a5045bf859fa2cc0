//! Audits from outside: real blocks, certificates of a stand-in (consensus is not known here), every answer, and a flip of
//! every bit.

use super::fixture::*;
use crate::evidence::{
    Answer, AuditError, AuditProof, CertificateFault, Certificates, EvidenceError, Headers, Origin, Part, Question,
    Roll, Sealed, TermLink, Trust, audit, verify,
};
use crate::*;
use floe_types::committee::deal;
use floe_types::{BlobId, Committee, Epoch, Genesis, Height, MemberIndex, SequenceNumber, VoteKey, codec};
use std::collections::BTreeMap;

/// Certificates whose signatures are hashes with the vote key: what is true of them is true of real ones.
pub struct StandIn;

type Signatures = Vec<(u16, [u8; 32])>;

fn signature(key: &VoteKey, height: Height, value: &[u8; 32]) -> [u8; 32] {
    codec::hash("floe tests: stand-in signature", &[key.0.as_slice(), &height.0.to_be_bytes(), value].concat())
}

impl StandIn {
    pub fn sign(roll: &Roll, places: &[usize], height: Height, value: &[u8; 32]) -> Vec<u8> {
        let sign = |at: &usize| (*at as u16, signature(&roll.voters[*at].vote_key, height, value));
        codec::encode(&places.iter().map(sign).collect::<Signatures>())
    }
}

impl Certificates for StandIn {
    fn check(
        &self,
        roll: &Roll,
        height: Height,
        value: &[u8; 32],
        bytes: &[u8],
    ) -> Result<MemberSet, CertificateFault> {
        let malformed = |error: codec::DecodeError| CertificateFault::Malformed { reason: error.to_string() };
        let signatures: Signatures = codec::decode(bytes, 1 << 16).map_err(malformed)?;
        let mut signers = MemberSet::new();
        let mut found = 0;
        for (at, signed) in signatures {
            let stranger = || CertificateFault::Stranger { key: at.to_string() };
            let voter = roll.voters.get(usize::from(at)).ok_or_else(stranger)?;
            if signed != signature(&voter.vote_key, height, value) {
                return Err(CertificateFault::Signature { member: voter.name.clone() });
            }
            if signers.contains(MemberIndex(at)) {
                return Err(CertificateFault::Twice { member: voter.name.clone() });
            }
            signers.insert(MemberIndex(at));
            found += voter.shards.len() as u64;
        }
        let needed = u64::from(roll.quorum());
        if found < needed { Err(CertificateFault::TooFew { found, needed }) } else { Ok(signers) }
    }

    fn least(&self, _roll: &Roll, certificate: &[u8]) -> Vec<u8> {
        certificate.to_vec()
    }
}

/// The headers of all blocks of a world, signed by five of seven.
struct Kept(BTreeMap<Height, Sealed>);

impl Headers for Kept {
    fn sealed(&self, height: Height) -> Result<Option<Sealed>, StateError> {
        Ok(self.0.get(&height).cloned())
    }
}

const SIGNERS: [usize; 5] = [0, 1, 3, 5, 6];

fn sealed(roll: &Roll, block: &Block) -> Sealed {
    let bytes = block.encode();
    let value = *blake3::hash(&bytes).as_bytes();
    Sealed::of(&bytes, &StandIn::sign(roll, &SIGNERS, block.header.height, &value)).unwrap()
}

fn kept(world: &World) -> Kept {
    let roll = Roll::of(&views::committee(&world.state).unwrap());
    Kept(world.blocks.iter().map(|block| (block.header.height, sealed(&roll, block))).collect())
}

pub fn ask(world: &World, blob: BlobId, epoch: u64) -> Result<AuditProof, AuditError> {
    let question = Question { blob, epoch: Epoch(epoch), from: Origin::Genesis };
    audit(&question, world.context.network, &world.state, &kept(world), &StandIn)
}

pub fn answer(world: &World, blob: BlobId, epoch: u64) -> Answer {
    let bytes = ask(world, blob, epoch).unwrap().encode();
    verify(&bytes, Trust::Genesis(&genesis()), &StandIn).unwrap().answer
}

/// A world in which blob 1 lives twice, blob 2 is thin and long, blob 3 is registered late, and one epoch is undecided.
fn eventful() -> World {
    let mut world = World::new();
    world.store(blob(1), 2, &ALL);
    world.store(blob(2), 9, &[0, 1, 2, 3, 4]);
    world.end_epoch(&ALL);
    world.end_epoch(&[0, 1, 2, 3, 4, 5]);
    world.boundary(vec![]);
    world.store(blob(1), 5, &ALL);
    world.end_epoch(&ALL);
    world.register(blob(3), 5);
    world.end_epoch(&ALL);
    let number = views::blob(&world.state, &blob(3)).unwrap().unwrap().registrations[0].number;
    let certify = world.certify_action(blob(3), number, &ALL);
    world.act(&key(1), certify);
    world
}

#[test]
fn every_kind_of_answer_is_proven_as_the_ledger_gives_it() {
    let world = eventful();
    for seed in [1, 2, 3, 9] {
        for epoch in 1..=5 {
            let known = views::verdict(&world.state, &blob(seed), Epoch(epoch)).unwrap();
            let proven = answer(&world, blob(seed), epoch);
            match (&proven, known) {
                (Answer::Judged { record, .. }, Some(known)) => assert_eq!(*record, known),
                (Answer::Forgotten { life, .. }, Some(known)) => {
                    assert_eq!(known.verdict, Verdict::Forgotten);
                    assert!(life.last.0 < epoch);
                }
                (Answer::NotCertified { .. } | Answer::NeverRegistered, None) => {}
                (proven, known) => panic!("blob {seed} in epoch {epoch}: {proven:?}, ledger: {known:?}"),
            }
        }
    }
    let verdicts = |seed| -> Vec<_> {
        let of = |epoch| match answer(&world, blob(seed), epoch) {
            Answer::Judged { record, number, .. } => format!("{} {}", record.verdict, number.0),
            Answer::Forgotten { number, .. } => format!("forgotten {}", number.0),
            Answer::NotCertified { certified, .. } => format!("not until {certified:?}"),
            Answer::NeverRegistered => "never".to_owned(),
            Answer::Invalid { number, .. } => format!("invalid {}", number.0),
        };
        (1..=5).map(of).collect()
    };
    assert_eq!(verdicts(1), ["intact 0", "tolerated 0", "forgotten 0", "intact 2", "intact 2"]);
    assert_eq!(verdicts(2), ["repairing 1", "repairing 1", "undecided 1", "repairing 1", "repairing 1"]);
    assert_eq!(verdicts(3)[0], "not until Some(Epoch(6))");
    assert_eq!(verdicts(9), ["never"; 5]);
}

#[test]
fn an_audit_names_who_signed_and_who_did_not() {
    let world = eventful();
    let bytes = ask(&world, blob(2), 2).unwrap().encode();
    let audit = verify(&bytes, Trust::Genesis(&genesis()), &StandIn).unwrap();
    assert_eq!((audit.decided.signed.shards, audit.decided.needed), (20, 19));
    let silent: Vec<_> = audit.decided.silent.members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(silent, ["node-3", "node-5"]);
    assert_eq!((audit.boundary.ended, audit.terms, audit.start), (Epoch(2), 0, None));
}

#[test]
fn a_flip_of_any_bit_of_a_file_is_found_and_named() {
    let (world, genesis) = (eventful(), genesis());
    for (seed, epoch) in [(1, 2), (1, 3), (3, 4), (9, 4)] {
        let bytes = ask(&world, blob(seed), epoch).unwrap().encode();
        assert!(verify(&bytes, Trust::Genesis(&genesis), &StandIn).is_ok());
        let mut parts = std::collections::BTreeSet::new();
        for bit in 0..bytes.len() * 8 {
            let mut touched = bytes.clone();
            touched[bit / 8] ^= 1 << (bit % 8);
            let error = verify(&touched, Trust::Genesis(&genesis), &StandIn).unwrap_err();
            if let EvidenceError::Tampered { part, .. } = error {
                parts.insert(part.to_string());
            }
        }
        let named = ["newest block", "boundary of the epoch", "entry of the blob", "question"];
        assert!(named.iter().all(|part| parts.contains(*part)), "{parts:?}");
        for end in 0..bytes.len() {
            assert!(verify(&bytes[..end], Trust::Genesis(&genesis), &StandIn).is_err(), "cut at {end}");
        }
    }
}

#[test]
fn parts_of_other_true_proofs_do_not_fit() {
    let world = eventful();
    let good = ask(&world, blob(1), 4).unwrap();
    let other = ask(&world, blob(2), 4).unwrap();
    let earlier = ask(&world, blob(1), 2).unwrap();
    let never = ask(&world, blob(9), 4).unwrap();
    let cases: Vec<(&str, AuditProof, Part)> = vec![
        ("another blob's entry", AuditProof { by_id: other.by_id.clone(), ..good.clone() }, Part::Blob),
        ("absence of another", AuditProof { by_id: never.by_id.clone(), ..good.clone() }, Part::Blob),
        (
            "another blob's life",
            AuditProof { lives: other.lives.clone(), ..good.clone() },
            Part::Life { number: SequenceNumber(1) },
        ),
        (
            "no life",
            AuditProof { lives: vec![], judged: None, ..good.clone() },
            Part::Life { number: SequenceNumber(2) },
        ),
        (
            "an older life as well",
            AuditProof { lives: earlier.lives.clone(), ..good.clone() },
            Part::Life { number: SequenceNumber(0) },
        ),
        (
            "an older life only",
            AuditProof { lives: earlier.lives[1..].to_vec(), ..good.clone() },
            Part::Life { number: SequenceNumber(0) },
        ),
        (
            "the newest life only",
            AuditProof { lives: earlier.lives[..1].to_vec(), ..earlier.clone() },
            Part::Life { number: SequenceNumber(0) },
        ),
        ("another's class", AuditProof { judged: other.judged.clone(), ..good.clone() }, Part::Class),
        ("another epoch's class", AuditProof { judged: earlier.judged.clone(), ..good.clone() }, Part::Class),
        ("another epoch's boundary", AuditProof { decided: earlier.decided.clone(), ..good.clone() }, Part::Decided),
        ("no boundary", AuditProof { decided: None, ..good.clone() }, Part::Decided),
        ("no verdict", AuditProof { judged: None, ..good.clone() }, Part::Verdict),
        ("a verdict on nothing", AuditProof { judged: other.judged.clone(), ..never.clone() }, Part::Verdict),
        ("an older anchor", AuditProof { anchor: earlier.decided.clone().unwrap(), ..good.clone() }, Part::Anchor),
        (
            "a longer verdict",
            {
                let mut touched = good.clone();
                touched.judged.as_mut().unwrap().record.held += 1;
                touched
            },
            Part::Verdict,
        ),
    ];
    for (name, proof, expected) in cases {
        match verify(&proof.encode(), Trust::Genesis(&genesis()), &StandIn) {
            Err(EvidenceError::Tampered { part, .. }) => assert_eq!(part, expected, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn another_genesis_and_other_certificates_are_refused() {
    let world = eventful();
    let good = ask(&world, blob(1), 4).unwrap();
    let other = Genesis { name: "other".into(), ..genesis() };
    let refused = verify(&good.encode(), Trust::Genesis(&other), &StandIn);
    assert!(matches!(refused, Err(EvidenceError::OtherNetwork { .. })));
    let roll = Roll::of(&views::committee(&world.state).unwrap());
    let opened = good.anchor.open().unwrap();
    let height = opened.header.height;
    let with = |certificate: Vec<u8>| {
        let anchor = Sealed { certificate, ..good.anchor.clone() };
        verify(&AuditProof { anchor, ..good.clone() }.encode(), Trust::Genesis(&genesis()), &StandIn)
    };
    let cases = [
        ("four signers", StandIn::sign(&roll, &[0, 1, 2, 3], height, &opened.value)),
        ("a signer twice", StandIn::sign(&roll, &[0, 1, 2, 3, 3], height, &opened.value)),
        ("another height", StandIn::sign(&roll, &SIGNERS, height.next(), &opened.value)),
        ("another block", StandIn::sign(&roll, &SIGNERS, height, &[7; 32])),
        ("no signer", codec::encode(&Signatures::new())),
        ("nothing", vec![]),
    ];
    for (name, certificate) in cases {
        let refused = with(certificate);
        assert!(matches!(refused, Err(EvidenceError::Tampered { part: Part::Anchor, .. })), "{name}: {refused:?}");
    }
}

#[test]
fn an_audit_from_a_boundary_trusts_that_boundary_alone() {
    let world = eventful();
    let from = |start| {
        let question = Question { blob: blob(1), epoch: Epoch(4), from: Origin::Boundary(Epoch(start)) };
        audit(&question, world.context.network, &world.state, &kept(&world), &StandIn)
    };
    let proof = from(2).unwrap();
    let block = |ended| {
        let of = |block: &&Block| block.header.boundary.as_ref().is_some_and(|boundary| boundary.ended == Epoch(ended));
        world.blocks.iter().find(of).unwrap().id()
    };
    let network = world.context.network;
    let trust = |ended| Trust::Boundary { network, block: block(ended) };
    let audit = verify(&proof.encode(), trust(2), &StandIn).unwrap();
    assert_eq!(audit.start, Some(Epoch(2)));
    for wrong in [trust(1), trust(3), Trust::Genesis(&genesis())] {
        let refused = verify(&proof.encode(), wrong, &StandIn);
        assert!(matches!(refused, Err(EvidenceError::Tampered { part: Part::Start, .. })), "{refused:?}");
    }
    let mut usurped = proof.clone();
    usurped.start.as_mut().unwrap().roll.voters[0].vote_key = VoteKey([9; 32]);
    let refused = verify(&usurped.encode(), trust(2), &StandIn);
    assert!(matches!(refused, Err(EvidenceError::Tampered { part: Part::Start, .. })));
    let late = AuditError::StartTooLate { start: Epoch(4), epoch: Epoch(4) };
    assert_eq!(from(4).unwrap_err(), late);
}

#[test]
fn what_is_not_over_or_not_kept_is_said_to_be_so() {
    let world = eventful();
    let running = AuditError::NotOver { epoch: Epoch(6), running: Epoch(6) };
    assert_eq!(ask(&world, blob(1), 6).unwrap_err(), running);
    let none = AuditError::NotKept { epoch: Epoch(0), oldest: Epoch(1) };
    assert_eq!(ask(&world, blob(1), 0).unwrap_err(), none);
    let question = Question { blob: blob(1), epoch: Epoch(2), from: Origin::Genesis };
    let missing = audit(&question, world.context.network, &world.state, &Kept(BTreeMap::new()), &StandIn);
    assert!(matches!(missing, Err(AuditError::HeaderMissing { .. })));
}

/// A chain of `changes` committees from genesis that comes back to the one of genesis, and the epochs of the changes.
///
/// Headers are real ones with another epoch and another committee in them: elections are not needed to judge a chain.
fn cycle(world: &World, changes: u64) -> (Vec<TermLink>, Vec<Committee>) {
    let genesis = views::committee(&world.state).unwrap();
    let template = world.blocks.iter().find(|block| block.header.boundary.is_some()).unwrap();
    let committee = |at: u64| {
        if at.is_multiple_of(changes) {
            return genesis.clone();
        }
        let dealt = deal(28, NODES);
        let mut members = genesis.members().to_vec();
        for (place, member) in members.iter_mut().enumerate() {
            member.shards = dealt[(place + at as usize) % NODES].clone();
            member.vote_key = VoteKey([(at * 10 + place as u64) as u8; 32]);
        }
        Committee::new(1, 28, members).unwrap()
    };
    let committees: Vec<_> = (0..=changes).map(committee).collect();
    let link = |at: usize| {
        let mut block = template.clone();
        block.header.height = Height(at as u64);
        let boundary = block.header.boundary.as_mut().unwrap();
        boundary.ended = Epoch(at as u64 * 10);
        boundary.term = committees[at].term();
        boundary.committee_root = evidence::committee_root(&committees[at]);
        let sealed = sealed(&Roll::of(&committees[at - 1]), &block);
        let rest = evidence::roll::rest_root(&committees[at]);
        TermLink { sealed, roll: Roll::of(&committees[at]), rest }
    };
    ((1..=changes as usize).map(link).collect(), committees)
}

#[test]
fn a_chain_of_committees_leads_on_and_a_link_left_out_is_noticed() {
    let world = eventful();
    let (links, committees) = cycle(&world, 5);
    let genesis = genesis();
    let mut chain = evidence::TermChain::from_genesis(&genesis);
    for (at, link) in links.iter().enumerate() {
        assert!(chain.extend(&StandIn, link).is_ok());
        assert_eq!(chain.roll_in(Epoch(at as u64 * 10 + 10)), Some(&Roll::of(&committees[at])));
        assert_eq!(chain.roll_in(Epoch(at as u64 * 10 + 11)), Some(&Roll::of(&committees[at + 1])));
    }
    for out in 0..4 {
        let mut chain = evidence::TermChain::from_genesis(&genesis);
        let results: Vec<_> = links
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != out)
            .map(|(_, link)| chain.extend(&StandIn, link))
            .collect();
        let wrong = results[out].as_ref().unwrap_err();
        let EvidenceError::Tampered { part, .. } = wrong else { panic!("{wrong}") };
        assert_eq!(*part, Part::Term { number: out as u64 + 1 });
    }
    let mut chain = evidence::TermChain::from_genesis(&genesis);
    assert!(chain.extend(&StandIn, &links[0]).is_ok());
    assert!(chain.extend(&StandIn, &links[0]).is_err(), "a link twice");
    let mut usurped = links[1].clone();
    usurped.roll.voters[2].vote_key = VoteKey([77; 32]);
    assert!(chain.extend(&StandIn, &usurped).is_err());
    let mut usurped = links[1].clone();
    usurped.rest.0[3] ^= 1;
    assert!(chain.extend(&StandIn, &usurped).is_err());
}

#[test]
fn an_audit_over_changed_committees_is_checked_link_by_link() {
    // The chain comes back to the committee of genesis before the epoch asked about; its epochs are 0, 0.. so that the
    // real blocks of the world follow it: links stand in epochs below those of the world.
    let mut world = eventful();
    for _ in 0..8 {
        world.end_epoch(&ALL);
    }
    let (mut links, _) = cycle(&world, 1);
    let mut proof = ask(&world, blob(2), 9).unwrap();
    assert!(proof.terms.is_empty());
    // A link from the committee of genesis to itself is true and harmless.
    links.truncate(1);
    let template = world.blocks.iter().find(|block| block.header.boundary.is_some()).unwrap();
    let roll = Roll::of(&views::committee(&world.state).unwrap());
    links[0].sealed = sealed(&roll, template);
    proof.terms = links;
    let audit = verify(&proof.encode(), Trust::Genesis(&genesis()), &StandIn).unwrap();
    assert_eq!(audit.terms, 1);
    // A change that the boundary of the epoch does not know of is found.
    let (changed, _) = cycle(&world, 3);
    proof.terms = vec![TermLink { sealed: changed[0].sealed.clone(), ..changed[0].clone() }];
    let refused = verify(&proof.encode(), Trust::Genesis(&genesis()), &StandIn).unwrap_err();
    assert!(matches!(refused, EvidenceError::Tampered { part: Part::Anchor | Part::Decided, .. }), "{refused}");
}

#[test]
fn lists_are_dropped_with_their_epoch() {
    let mut world = World::new();
    world.store(blob(1), 1000, &ALL);
    for _ in 0..boundary::HISTORY_EPOCHS + 3 {
        world.boundary(vec![]);
    }
    let kept = |epoch| evidence::kept::leaves(&world.state, Epoch(epoch), evidence::List::Verdicts).unwrap().len();
    assert_eq!((kept(2), kept(3), kept(4), kept(403)), (0, 0, 1, 1));
    assert!(matches!(ask(&world, blob(1), 2), Err(AuditError::NotKept { oldest: Epoch(4), .. })));
    assert!(matches!(answer(&world, blob(1), 4), Answer::Judged { .. }));
    let begins = |epochs| views::history_begins(&world.state, epochs).unwrap();
    // Every block but the first two is a boundary, so the one that ended epoch `e` is at height `e + 2`.
    assert_eq!((begins(1), begins(10), begins(399)), (Some(Height(404)), Some(Height(395)), Some(Height(6))));
    assert_eq!((begins(400), begins(4_000)), (None, None));
}
