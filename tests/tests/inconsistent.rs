//! An uploader who commits to rows of one blob and columns of another, over real sockets: every holder signs, for each sliver alone
//! is as it should be. The first reader finds it, the members judge the evidence, and from then on everybody is told the same.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../protocol/erasure/tests/twin/mod.rs"]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod twin;

use floe_api::Code;
use floe_api::model::TransactionOutcome;
use floe_api::service::Undefended;
use floe_erasure::pair_of;
use floe_ledger::transaction::ENCODING_VERSION;
use floe_ledger::{Action, Attributes, MemberSet, Persistence, Transaction};
use floe_machines::wire::fragment::{
    Answer, Ask, LENGTH_BYTES, Request, StoreRequest, decode_answer, frame_request, header_bytes,
};
use floe_network::{FragmentStream, LanDiscovery, MemberAddress, MemoryPeerBook, Network};
use floe_node::keys::KeyFile;
use floe_tests::{Devnet, alone, code, wait_until};
use floe_types::bls::{BlsSignature, aggregate};
use floe_types::keys::SecretKey;
use floe_types::{
    AccountId, BlobId, Committee, Frost, Genesis, MemberIndex, NetworkId, RegistrationNumber, ShardIndex,
};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::time::Duration;

const LENGTH: usize = 40_000;

/// Rows of one blob, columns of another: its id, fragments and proofs.
fn cheated(shards: usize) -> twin::Twin {
    let matrix = |bytes: &[u8]| twin::matrix(&twin::source(bytes, shards), shards);
    let mut other = twin::bytes(LENGTH);
    other[LENGTH / 2] ^= 1;
    let mut uploader = twin::Uploader::new(&matrix(&twin::bytes(LENGTH)), LENGTH as u64);
    uploader.columns = twin::Uploader::new(&matrix(&other), LENGTH as u64).columns;
    uploader.commit()
}

/// The villain: an account, and a node of nobody's.
struct Villain<'a> {
    devnet: &'a Devnet,
    id: NetworkId,
    account: SecretKey,
    network: Network,
    committee: Committee,
}

impl<'a> Villain<'a> {
    async fn new(devnet: &'a Devnet) -> Villain<'a> {
        let genesis: Genesis = serde_json::from_str(&devnet.client(1).genesis().unwrap()).unwrap();
        let key = KeyFile::read(&devnet.path().join("devnet/node-1/keys/account.key")).unwrap();
        let id = genesis.network();
        let (network, mut events) = Network::start(floe_network::Config {
            identity_secret: [66; 32],
            network: id,
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: Vec::new(),
            lan_discovery: LanDiscovery::Off,
            limits: floe_network::Limits::default(),
            peer_book: Box::new(MemoryPeerBook::default()),
        })
        .unwrap();
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let member =
            |member: &floe_types::Member| MemberAddress { node: member.node, addresses: member.addresses.clone() };
        network.set_members(genesis.members.iter().map(member).collect());
        let account = SecretKey::from_bytes(key.secret_bytes());
        let committee = genesis.committee().unwrap();
        let villain = Villain { devnet, id, account, network, committee };
        let mut peers = villain.network.watch_peers();
        let everybody = |peers: &std::sync::Arc<Vec<floe_network::PeerView>>| {
            let is_there = |node| peers.iter().any(|peer| peer.node == node && peer.connected);
            villain.committee.members().iter().all(|member| is_there(member.node))
        };
        tokio::time::timeout(Duration::from_secs(60), peers.wait_for(everybody)).await.unwrap().unwrap();
        villain
    }

    /// Puts a transaction on the ledger.
    fn send(&self, action: Action) {
        let sender = AccountId(self.account.public());
        // The devnet's own node may use the account meanwhile.
        for _ in 0..20 {
            let client = self.devnet.client(1);
            let nonce = client.account(Some(sender)).unwrap().nonce;
            let fee = Frost(1_000_000);
            let transaction = Transaction { network: self.id, sender, nonce, fee, action: action.clone() };
            match client.submit(&transaction.sign(&self.account).encode()) {
                Ok(answer) => {
                    return assert!(matches!(answer.outcome, TransactionOutcome::Included { .. }), "{answer:?}");
                }
                Err(problem) if problem.code == Code::Conflict => std::thread::sleep(Duration::from_millis(200)),
                Err(problem) => panic!("{problem:?}"),
            }
        }
        panic!("no nonce is free");
    }

    async fn ask(&self, member: MemberIndex, ask: Ask) -> FragmentStream {
        let node = self.committee.member(member).unwrap().node;
        let mut stream = self.network.open_fragment_stream(node).await.unwrap();
        stream.write_all(&frame_request(&Request { network: self.id, ask })).await.unwrap();
        stream
    }

    /// Stores the fragments of `twin` with every member; who confirmed and how they signed.
    async fn store(&self, registration: RegistrationNumber, twin: &twin::Twin) -> (MemberSet, BlsSignature) {
        let (blob, blob_bytes, shards) = (BlobId(twin.blob), LENGTH as u64, self.committee.shards());
        for shard in (0..shards).map(ShardIndex) {
            let pair = usize::from(pair_of(&blob, shard, shards).0);
            let proof = twin.proofs[pair].clone();
            let offer = StoreRequest { registration, blob, blob_bytes, shard, proof };
            let mut stream = self.ask(self.committee.holder(shard).unwrap(), Ask::Store(offer)).await;
            stream.write_all(&twin.fragments[pair]).await.unwrap();
            stream.flush().await.unwrap();
            assert_eq!(heard(&mut stream).await, Answer::Stored, "{shard}: each sliver alone is as it should be");
        }
        let (mut members, mut signatures) = (MemberSet::new(), Vec::new());
        for at in (0u16..).map(MemberIndex).take(self.committee.members().len()) {
            let mut stream = self.ask(at, Ask::Confirm { registration, blob }).await;
            stream.flush().await.unwrap();
            let Answer::Confirmation { signature } = heard(&mut stream).await else { panic!("{at:?} does not sign") };
            members.insert(at);
            signatures.push(signature);
        }
        (members, aggregate(&signatures).unwrap())
    }
}

async fn heard(stream: &mut FragmentStream) -> Answer {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await.unwrap();
    let mut header = vec![0; header_bytes(length).unwrap()];
    stream.read_exact(&mut header).await.unwrap();
    decode_answer(&header).unwrap()
}

#[test]
fn a_cheated_encoding_ends_as_invalid_and_every_reader_is_told_so() {
    let _alone = alone();
    let devnet = Devnet::up(4, "6s");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let blob = runtime.block_on(async {
        let villain = Villain::new(&devnet).await;
        let twin = cheated(usize::from(villain.committee.shards()));
        let blob = BlobId(twin.blob);
        let epoch = devnet.client(1).network().unwrap().epoch;
        let last = floe_types::Epoch(epoch.0 + 30);
        let (persistence, attributes) = (Persistence::Permanent, Attributes::default());
        let price_max = Frost(100_000_000);
        let length = LENGTH as u64;
        villain.send(Action::Register { blob, length, first: epoch, last, price_max, persistence, attributes });
        let registration = devnet.client(1).blob_status(&blob.to_string()).unwrap().registration;
        let (members, signature) = villain.store(registration, &twin).await;
        villain.send(Action::Certify { blob, registration, version: ENCODING_VERSION, members, signature });
        villain.network.shutdown().await;
        blob
    });

    // The first reader gets no wrong byte, and the network is shown why.
    let id = blob.to_string();
    let to = devnet.path().join("cheated").display().to_string();
    let read = |node: u16| code(&devnet, &["read", &id, "-o", &to, "--url", &devnet.url(node)]);
    let (first, said) = read(2);
    assert!(matches!(first, Some(5 | 6)), "{first:?}: {said}");
    let invalid =
        |node: u16| devnet.client(node).read(blob, Undefended::Refuse, None).err().map(|problem| problem.code);
    wait_until("the blob is invalid everywhere", || (1..=4).all(|node| invalid(node) == Some(Code::BlobInvalid)));
    let (gone, said) = read(3);
    assert_eq!(gone, Some(5), "{said}");
    assert!(said.contains("BLOB_INVALID") && said.contains("floe audit"), "{said}");
    let status = devnet.floe_ok(&["status", &id, "--url", &devnet.url(4)]);
    assert!(status.to_lowercase().contains("invalid"), "{status}");
    // The uploader's bytes are not served as undefended ones either.
    assert!(devnet.client(1).read(blob, Undefended::Allow, None).is_err());
}
