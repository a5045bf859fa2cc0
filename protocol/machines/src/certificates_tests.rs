//! Audits with real votes over a chain in which the committee changes every 24 epochs: size, time, and a flip in every byte.

use super::*;
use floe_consensus::{Round, Signature};
use floe_ledger::digest::Expander;
use floe_ledger::evidence::{
    Answer, AuditProof, EvidenceError, Headers, Origin, Part, Question, Sealed, Trust, audit, verify,
};
use floe_ledger::{
    Action, Attributes, Block, ChangeSet, Context, Executed, MemoryState, Persistence, StateError, StateRead,
    Transaction, views,
};
use floe_types::bls::{BlsSecretKey, aggregate};
use floe_types::committee::deal;
use floe_types::genesis::{GenesisAccount, PROTOCOL_VERSION};
use floe_types::keys::SecretKey;
use floe_types::{
    AccountId, BlobId, BlockTime, Committee, Epoch, EpochCount, Frost, Genesis, Member, NodeId, Params,
    RegistrationNumber, VoteKey, codec,
};
use std::collections::BTreeMap;

const EPOCH: u64 = 10_000;
const SHARDS: u16 = 100;

fn bls(at: usize) -> BlsSecretKey {
    BlsSecretKey::from_seed([at as u8 + 1; 32])
}

/// The vote key of member `at` in term `term`: a fresh one for each, as the protocol has it.
fn vote_key(at: usize, term: u64) -> SecretKey {
    let mut seed = [at as u8 + 1; 32];
    seed[..8].copy_from_slice(&term.to_be_bytes());
    SecretKey::from_bytes(seed)
}

fn members(count: usize, term: u64) -> Vec<Member> {
    let dealt = deal(SHARDS, count);
    let member = |at: usize| Member {
        node: NodeId([at as u8 + 1; 32]),
        name: format!("operator-{at}"),
        account: AccountId([at as u8 + 1; 32]),
        vote_key: VoteKey(vote_key(at, term).public()),
        bls_key: bls(at).public(),
        possession: bls(at).prove_possession(),
        addresses: vec![format!("/ip4/203.0.113.{at}/tcp/7000"), format!("/ip4/203.0.113.{at}/udp/7000/quic-v1")],
        domain: "isp:example city:Lyon".to_owned(),
        capacity_bytes: 6 << 40,
        // Some seats move in every term.
        shards: dealt[(at + term as usize) % count].clone(),
    };
    (0..count).map(member).collect()
}

pub(crate) fn genesis(count: usize) -> Genesis {
    Genesis {
        version: PROTOCOL_VERSION,
        name: "audit".into(),
        time: BlockTime(1_000_000),
        params: Params {
            fee_per_byte: Frost(0),
            term_epochs: EpochCount(3),
            election_epochs: EpochCount(1),
            ..Params::devnet(SHARDS, EPOCH)
        },
        accounts: vec![GenesisAccount {
            account: AccountId(SecretKey::from_bytes([1; 32]).public()),
            balance: Frost(1 << 50),
        }],
        members: members(count, 0),
        parent: None,
    }
}

/// A real precommit: the bytes are those that `floe_consensus::signing` draws.
fn precommit(network: &NetworkId, height: Height, value: &[u8; 32], key: &SecretKey) -> Signature {
    let mut bytes = b"floe-consensus-v1".to_vec();
    bytes.extend_from_slice(&network.0);
    bytes.push(2);
    bytes.extend_from_slice(&height.0.to_be_bytes());
    bytes.extend_from_slice(&0u32.to_be_bytes());
    bytes.push(1);
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(&[0; 5]);
    Signature(key.sign(&bytes).0)
}

pub(crate) struct Chain {
    pub genesis: Genesis,
    pub context: Context,
    pub state: MemoryState,
    now: BlockTime,
    count: usize,
    term: u64,
    nonce: u64,
    pub headers: BTreeMap<Height, Sealed>,
}

impl Headers for Chain {
    fn sealed(&self, height: Height) -> Result<Option<Sealed>, StateError> {
        Ok(self.headers.get(&height).cloned())
    }
}

impl Chain {
    /// A chain from a genesis whose members are those of [`genesis`].
    pub(crate) fn of(genesis: Genesis, count: usize) -> Chain {
        let mut state = MemoryState::new();
        state.apply(&floe_ledger::begin(&genesis).unwrap());
        let context = Context::of(&genesis);
        let now = genesis.time;
        Chain { genesis, context, state, now, count, term: 0, nonce: 0, headers: BTreeMap::new() }
    }

    /// Keeps a block that all members of term `term` signed.
    fn keep(&mut self, executed: &Executed, term: u64) {
        let Block { header, .. } = &executed.block;
        let bytes = executed.block.encode();
        let value = *blake3_of(&bytes);
        let (network, height) = (self.context.network, header.height);
        let mut signatures: Vec<_> = (0..self.count)
            .map(|at| {
                let key = vote_key(at, term);
                (ValidatorKey(key.public()), precommit(&network, height, &value, &key))
            })
            .collect();
        signatures.sort_by_key(|(key, _)| *key);
        let height = floe_consensus::Height(height.0);
        let certificate = Certificate { height, round: Round(0), value_id: ValueId(value), signatures };
        self.headers.insert(header.height, Sealed::of(&bytes, &certificate.encode()).unwrap());
        self.state.apply(&executed.changes);
    }

    fn act(&mut self, action: Action) {
        let key = SecretKey::from_bytes([1; 32]);
        let (network, sender) = (self.context.network, AccountId(key.public()));
        let transaction = Transaction { network, sender, nonce: self.nonce, fee: Frost::ZERO, action };
        self.nonce += 1;
        let signed = transaction.sign(&key).check(&network).unwrap();
        self.now = BlockTime(self.now.0 + 10);
        let built = self.build(vec![signed]);
        assert_eq!(built.refused, vec![]);
        self.keep(&built, self.term);
    }

    fn build(&self, candidates: Vec<floe_ledger::CheckedTransaction>) -> Executed {
        floe_ledger::build_block(&self.state, &self.context, NodeId([1; 32]), self.now, candidates).unwrap()
    }

    pub(crate) fn store(&mut self, blob: BlobId, last: u64) {
        let first = views::head(&self.state).unwrap().epoch;
        let (length, last, price_max) = (1 << 20, Epoch(last), Frost(1 << 49));
        let attributes = Attributes::default();
        self.act(Action::Register {
            blob,
            length,
            first,
            last,
            price_max,
            persistence: Persistence::Permanent,
            attributes,
        });
        let term = views::committee(&self.state).unwrap().term();
        let registration = RegistrationNumber(1);
        let message = floe_ledger::confirmation_message(&self.context.network, term, registration, &blob, 1);
        let signatures: Vec<_> = (0..self.count).map(|at| bls(at).sign(&message)).collect();
        let members = (0..self.count).map(|at| MemberIndex(at as u16)).collect();
        let signature = aggregate(&signatures).unwrap();
        self.act(Action::Certify { blob, registration, version: 1, members, signature });
    }

    /// Ends the epoch; with `change`, the next one has another committee, whose members have fresh keys.
    pub(crate) fn end_epoch(&mut self, change: bool) {
        let before = self.term;
        if change {
            self.term += 1;
            let committee = Committee::new(self.term + 1, SHARDS, members(self.count, self.term)).unwrap();
            // The next committee's table: as if an election had chosen these, whatever stakes say.
            let (key, value) = (vec![45], codec::encode(&committee));
            let (mut sum, mut expander) = (floe_ledger::snapshot::sum_of(&self.state).unwrap(), Expander::default());
            if let Some(elected) = self.state.get(&key).unwrap() {
                expander.take(&mut sum, &key, &elected);
            }
            expander.put(&mut sum, &key, &value);
            self.state.apply(&ChangeSet([(key, Some(value)), (vec![52], Some(sum.to_bytes()))].into()));
        }
        self.now = views::head(&self.state).unwrap().epoch_ends(&self.context.params);
        let built = self.build(vec![]);
        self.keep(&built, before);
    }

    fn audit(&self, epoch: u64) -> AuditProof {
        let question = Question { blob: BlobId([7; 32]), epoch: Epoch(epoch), from: Origin::Genesis };
        audit(&question, self.context.network, &self.state, self, &self.certificates()).unwrap()
    }

    pub(crate) fn certificates(&self) -> CommitCertificates {
        CommitCertificates::of(self.context.network)
    }
}

fn blake3_of(bytes: &[u8]) -> Box<[u8; 32]> {
    Box::new(ValueId::of(bytes).0)
}

/// A chain of `epochs` epochs, of which the committee changes after every `term`th.
fn chain(members: usize, epochs: u64, term: u64) -> Chain {
    let mut genesis = genesis(members);
    genesis.params.term_epochs = EpochCount(term);
    let mut chain = Chain::of(genesis, members);
    chain.store(BlobId([7; 32]), 5_000);
    for epoch in 1..=epochs {
        chain.end_epoch(epoch % term == 0);
    }
    chain
}

#[test]
fn an_audit_of_400_epochs_at_31_members_stays_below_200_kb() {
    let chain = chain(31, 400, 24);
    let bytes = chain.audit(398).encode();
    assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
    let audit = verify(&bytes, Trust::Genesis(&chain.genesis), &chain.certificates()).unwrap();
    assert_eq!(audit.terms, 16);
    assert!(matches!(audit.answer, Answer::Judged { .. }));
    assert_eq!(audit.decided.signed.shards, SHARDS);
    let rounds = 5u32;
    let began = std::time::Instant::now();
    for _ in 0..rounds {
        assert!(verify(&bytes, Trust::Genesis(&chain.genesis), &chain.certificates()).is_ok());
    }
    println!(
        "audit over 400 epochs, 16 changes of 31 members: {} bytes, verified in {:?}",
        bytes.len(),
        began.elapsed() / rounds
    );
}

#[test]
fn a_flip_in_every_byte_of_a_file_with_real_votes_is_found() {
    let chain = chain(4, 7, 3);
    let bytes = chain.audit(4).encode();
    let mut named = BTreeMap::new();
    for at in 0..bytes.len() {
        let mut touched = bytes.clone();
        touched[at] ^= 1 << (at % 8);
        match verify(&touched, Trust::Genesis(&chain.genesis), &chain.certificates()).unwrap_err() {
            EvidenceError::Tampered { part, reason } => *named.entry(format!("{part}: {reason}")).or_insert(0) += 1,
            other => *named.entry(other.to_string()).or_insert(0) += 1,
        }
    }
    assert!(named.keys().any(|said| said.starts_with("term header 2: signature of operator-")), "{named:#?}");
}

#[test]
fn a_boundary_at_which_the_committee_changed_is_shown_once_and_by_the_committee_before() {
    let chain = chain(4, 7, 3);
    for epoch in 1..=7 {
        let proof = chain.audit(epoch);
        assert_eq!(proof.decided.is_none(), [3, 6, 7].contains(&epoch), "epoch {epoch}");
        let audit = verify(&proof.encode(), Trust::Genesis(&chain.genesis), &chain.certificates()).unwrap();
        assert_eq!((audit.boundary.ended, audit.decided.silent.shards), (Epoch(epoch), 0));
    }
}

#[test]
fn keys_of_another_term_and_votes_of_another_network_prove_nothing() {
    let chain = chain(4, 7, 3);
    let proof = chain.audit(4);
    let opened = proof.decided.as_ref().unwrap().open().unwrap();
    let with = |network: &NetworkId, term: u64| {
        let height = opened.header.height;
        let sign = |at: usize| {
            let key = vote_key(at, term);
            (ValidatorKey(key.public()), precommit(network, height, &opened.value, &key))
        };
        let mut signatures: Vec<_> = (0..4).map(sign).collect();
        signatures.sort_by_key(|(key, _)| *key);
        let height = floe_consensus::Height(height.0);
        let certificate = Certificate { height, round: Round(0), value_id: ValueId(opened.value), signatures };
        let mut touched = proof.clone();
        touched.decided.as_mut().unwrap().certificate = certificate.encode();
        verify(&touched.encode(), Trust::Genesis(&chain.genesis), &chain.certificates())
    };
    assert!(with(&chain.context.network, 1).is_ok());
    for (network, term) in [(chain.context.network, 0), (chain.context.network, 2), (NetworkId([3; 32]), 1)] {
        let refused = with(&network, term).unwrap_err();
        assert!(matches!(refused, EvidenceError::Tampered { part: Part::Decided, .. }), "{refused}");
    }
}

#[test]
fn a_certificate_is_cut_to_what_it_needs_and_still_proves_it() {
    let chain = chain(7, 1, 9);
    let state: &dyn StateRead = &chain.state;
    let head = views::head(state).unwrap();
    let sealed = &chain.headers[&head.height];
    let roll = Roll::of(&views::committee(state).unwrap());
    let value = sealed.open().unwrap().value;
    let certificates = chain.certificates();
    let least = certificates.least(&roll, &sealed.certificate);
    let signers = certificates.check(&roll, head.height, &value, &least).unwrap();
    assert!(least.len() < sealed.certificate.len());
    assert_eq!(roll.holding(&signers).shards, 72);
}
