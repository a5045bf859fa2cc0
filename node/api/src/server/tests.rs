//! The server over a small node in memory, met as clients meet it: through sockets.

use super::*;
use crate::client::{Client, Step, Upload};
use crate::model::*;
use crate::service::*;
use bytes::Bytes;
use floe_types::{
    AccountId, BlobId, Epoch, EpochCount, Frost, Height, NetworkId, NodeId, RegistrationNumber, SequenceNumber,
    TransactionId,
};
use futures::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::Mutex;

const LIMIT: u64 = 4 << 20;

/// A node that keeps blobs in memory and answers as its blobs' first letters say.
#[derive(Default)]
struct Memory {
    blobs: Mutex<BTreeMap<BlobId, (Vec<u8>, Attributes)>>,
    served: Mutex<Vec<(String, &'static str, u16)>>,
    spools_seen: Mutex<Vec<PathBuf>>,
    refuse: Mutex<Option<Problem>>,
    break_after: Mutex<Option<usize>>,
}

fn id_of(bytes: &[u8]) -> BlobId {
    let mut id = [0u8; 32];
    for (at, byte) in bytes.iter().enumerate() {
        id[at % 32] = id[at % 32].wrapping_mul(31).wrapping_add(*byte);
    }
    BlobId(id)
}

fn term() -> PaidTerm {
    PaidTerm { first_epoch: Epoch(3), last_epoch: Epoch(18), ends_about: Time(1_795_183_365_000) }
}

fn intact() -> Standing {
    Standing {
        verdict: Verdict::Intact,
        epoch: Some(Epoch(41)),
        decided_at: Some(Time(1_795_183_365_000)),
        freshness: Freshness::Current,
        first_about: None,
        last: None,
    }
}

impl Memory {
    fn found(&self, blob: BlobId) -> Result<BlobHead, Problem> {
        if let Some(problem) = self.refuse.lock().unwrap().clone() {
            return Err(problem);
        }
        let blobs = self.blobs.lock().unwrap();
        let unknown = || Problem::new(Code::BlobUnknown, "nobody registered this blob");
        let (bytes, attributes) = blobs.get(&blob).ok_or_else(unknown)?;
        let (length, attributes) = (bytes.len() as u64, attributes.clone());
        Ok(BlobHead { blob_id: blob, length, attributes, standing: intact(), term: term() })
    }

    fn status(&self, blob: BlobId) -> Result<BlobStatus, Problem> {
        let head = self.found(blob)?;
        Ok(BlobStatus {
            blob_id: blob,
            length: head.length,
            encoded_bytes: head.length * 4,
            phase: BlobPhase::Defended,
            attributes: head.attributes,
            owner: AccountId([1; 32]),
            registration: RegistrationNumber(1),
            sequence: Some(SequenceNumber(0)),
            certified_epoch: Some(Epoch(3)),
            term: term(),
            standing: Some(intact()),
            ruler: Some(Ruler::new(24, 4, Lines::of(28))),
            margin: Some(Margin::of(&[4; 6], 10)),
            repair_begins: None,
            attested: 28,
            lines: Lines::of(28),
            epoch: Epoch(42),
            next_boundary_about: Time(1_795_183_380_000),
        })
    }
}

fn now<T: 'static>(result: Result<T, Problem>) -> Answer<T> {
    std::future::ready(result).boxed_local()
}

/// The node, shared with the test that looks into it.
struct Shelf(Arc<Memory>);

impl Service for Shelf {
    fn store(&self, request: StoreRequest) -> Answer<Receipt> {
        let memory = self.0.clone();
        async move {
            let bytes = std::fs::read(request.body.path()).unwrap();
            assert_eq!(bytes.len() as u64, request.body.length());
            memory.spools_seen.lock().unwrap().push(request.body.path().to_owned());
            request.progress.tell(StoreProgress::Registered);
            request.progress.tell(StoreProgress::Sending { shards: 28, total: 28 });
            let blob = id_of(&bytes);
            let last = Epoch(2 + request.epochs.0);
            let before = memory.blobs.lock().unwrap().insert(blob, (bytes, request.attributes));
            let event = if before.is_some() { Event::AlreadyCertified } else { Event::Created };
            let length = memory.found(blob)?.length;
            Ok(Receipt {
                event,
                blob_id: blob,
                length,
                registration: RegistrationNumber(7),
                transaction: TransactionId([9; 32]),
                registered_epoch: Epoch(3),
                certified_epoch: Epoch(3),
                deletable: request.persistence == Persistence::Deletable,
                floe: FloeStored {
                    acknowledged_shards: 28,
                    total_shards: 28,
                    encoded_bytes: 45_000_000,
                    term: PaidTerm { last_epoch: last, ..term() },
                    now: Time(1_795_183_360_000),
                    standing: Standing { verdict: Verdict::Pending, epoch: None, decided_at: None, ..intact() },
                    price: Frost(1_000).into(),
                    paid: Frost(688_000).into(),
                    balance: Frost(999_312_000).into(),
                    millis: 900,
                },
            })
        }
        .boxed_local()
    }

    fn head(&self, blob: BlobId, _: Undefended) -> Answer<BlobHead> {
        now(self.0.found(blob))
    }

    fn read(&self, blob: BlobId, undefended: Undefended, range: Option<Range<u64>>) -> Answer<ReadStream> {
        let result = self.0.found(blob).and_then(|head| {
            if undefended == Undefended::Refuse && head.length == 4 {
                return Err(Problem::new(Code::BlobForgotten, "past its term"));
            }
            let mut bytes = self.0.blobs.lock().unwrap()[&blob].0.clone();
            let provenance =
                range.as_ref().map(|range| if range.start == 0 { Provenance::Derived } else { Provenance::Proven });
            if let Some(range) = range {
                bytes = bytes[range.start as usize..range.end as usize].to_vec();
            }
            let mut pieces: Vec<_> = bytes.chunks(64 << 10).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            if let Some(after) = *self.0.break_after.lock().unwrap() {
                pieces.truncate(after);
                pieces.push(Err(Problem::new(Code::BlobUnavailable, "holders went away")));
            }
            Ok(ReadStream { head, provenance, body: futures::stream::iter(pieces).boxed_local() })
        });
        now(result)
    }

    fn blob_status(&self, blob: BlobRef) -> Answer<BlobStatus> {
        let id = match blob {
            BlobRef::Id(id) => Ok(id),
            BlobRef::Prefix(prefix) => {
                let blobs = self.0.blobs.lock().unwrap();
                let found: Vec<BlobId> =
                    blobs.keys().copied().filter(|id| id.to_string().starts_with(&prefix)).collect();
                match found[..] {
                    [] => Err(Problem::new(Code::BlobUnknown, "no known blob begins like this")),
                    [id] => Ok(id),
                    _ => Err(Problem::new(Code::BlobIdAmbiguous, "several do").with(|facts| facts.candidates = found)),
                }
            }
        };
        now(id.and_then(|id| self.0.status(id)))
    }

    fn audit(&self, ask: AuditAsk) -> Answer<Vec<u8>> {
        now(Ok(format!("{} {:?}", ask.epoch, ask.from.map(|from| from.0)).into_bytes()))
    }

    fn verdicts(&self, _blob: BlobRef) -> Answer<VerdictsView> {
        now(Ok(VerdictsView { blob_id: BlobId([7; 32]), lines: Lines::of(28), changes: Vec::new() }))
    }

    fn explain(&self, what: Explained) -> Answer<Explanation> {
        let title = match what {
            Explained::Network => "the network".to_owned(),
            Explained::Node(node) => format!("node {node:?}"),
            Explained::Blob(blob) => format!("blob {blob:?}"),
        };
        let facts = NetworkFacts {
            members: Vec::new(),
            answering_now: 28,
            needed: 19,
            planned: PlannedView::default(),
            ruler: None,
            thinnest: None,
        };
        now(Ok(Explanation {
            title,
            lines: vec![Sentence { label: "because".to_owned(), text: "all is well".to_owned() }],
            epoch: Epoch(4),
            decided: Some(Epoch(3)),
            decided_at: None,
            next_boundary_about: Time::now(),
            facts: Facts::Network(Box::new(facts)),
        }))
    }

    fn repair(&self) -> Answer<RepairView> {
        now(Ok(RepairView {
            epoch: Epoch(4),
            planned: PlannedView::default(),
            paid: Amount::default(),
            repaid: Amount::default(),
            reserve: Amount::default(),
            tickets: Vec::new(),
            total: 0,
            rebuilt_here: 0,
            bytes_here: 0,
        }))
    }

    fn check(&self, _blob: BlobRef) -> Answer<CheckView> {
        now(Ok(CheckView {
            blob_id: BlobId([7; 32]),
            at: Time::now(),
            correct: 28,
            wrong: 0,
            silent: 0,
            uncovered: 0,
            holders: Vec::new(),
        }))
    }

    fn genesis(&self) -> Answer<String> {
        now(Ok("{}".to_owned()))
    }

    fn list(&self, page: Page) -> Answer<BlobList> {
        assert!(page.limit <= PAGE_MAX);
        let (blobs, total, next) = (Vec::new(), 0, None);
        now(Ok(BlobList { blobs, total, next, price: Frost(1_000).into() }))
    }

    fn network(&self) -> Answer<NetworkView> {
        futures::future::pending().boxed_local()
    }

    fn committee(&self) -> Answer<CommitteeView> {
        now(Err(Problem::new(Code::Internal, "secret detail of the inside")))
    }

    fn epoch(&self, epoch: Option<Epoch>) -> Answer<EpochView> {
        let unknown = format!("epoch {epoch:?} has not come");
        now(Err(Problem::new(Code::EpochUnknown, unknown)))
    }

    fn account(&self, account: Option<AccountId>) -> Answer<AccountView> {
        let account = account.unwrap_or_default();
        let balance = Amount(Frost(u64::MAX));
        now(Ok(AccountView { account, member: None, balance, nonce: 0, height: Height(1) }))
    }

    fn store_quote(&self, ask: StoreAsk) -> Answer<StoreQuote> {
        let (rate, cost) = (Amount(Frost(3)), Amount(Frost(3 * ask.epochs.0)));
        let (first_epoch, last_epoch) = (Epoch(42), Epoch(41 + ask.epochs.0));
        let (unit, hints, expires_at) = (Unit::Frost, Vec::new(), Time(5));
        let encoded_bytes = ask.length * 4;
        now(Ok(StoreQuote { encoded_bytes, cost, rate, unit, first_epoch, last_epoch, expires_at, hints }))
    }

    fn prices(&self) -> Answer<PricesView> {
        let (current, next, next_from, next_about) = (Amount(Frost(10)), Amount(Frost(11)), Epoch(5), Time(5));
        now(Ok(PricesView { current, next, next_from, next_about, unit: Unit::Frost, offers: Vec::new() }))
    }

    fn registration(&self, registration: RegistrationNumber) -> Answer<RegistrationView> {
        if registration.0 > 9 {
            return now(Err(Problem::new(Code::RegistrationUnknown, "none")));
        }
        now(Ok(RegistrationView {
            registration,
            blob_id: BlobId([7; 32]),
            owner: AccountId([3; 32]),
            phase: RegistrationPhase::Counts,
            first_epoch: Epoch(1),
            last_epoch: Epoch(9),
            ends_about: Time(5),
            budget: Amount(Frost(0)),
            epoch_cost: Amount(Frost(2)),
        }))
    }

    fn history(&self, account: Option<AccountId>, page: HistoryPage) -> Answer<HistoryView> {
        // One entry, just before the place that was asked for; its amount is the limit.
        let height = page.after.map_or(9, |after| after.height.0 - 1);
        let place = HistoryPlace { height: Height(height), index: 2 };
        let deed = Deed::StakeReleased { amount: Amount(Frost(page.limit.into())) };
        let entry = HistoryEntry { place, time: Time(5), transaction: None, fee: Amount(Frost(0)), deed };
        let account = account.unwrap_or_default();
        now(Ok(HistoryView { account, entries: vec![entry], next: Some(place), since: Height(1) }))
    }

    fn candidates(&self) -> Answer<CandidatesView> {
        let (elects_about, stake_min) = (Time(5), Amount(Frost(1)));
        let (candidates, crowded) = (Vec::new(), Vec::new());
        let (term, epoch, elects_with) = (1, Epoch(3), Epoch(4));
        now(Ok(CandidatesView { term, epoch, elects_with, elects_about, stake_min, candidates, crowded }))
    }

    fn preview(&self, proposal: Proposal) -> Answer<PreviewView> {
        now(Ok(PreviewView {
            elected_with: Epoch(4),
            elected_about: Time(4),
            serves_from: Epoch(5),
            serves_about: Time(5),
            seats: 1,
            share: 2,
            shards: 28,
            arriving_bytes: proposal.capacity_bytes,
            bound: proposal.domain,
        }))
    }

    fn can_stop(&self, node: Option<NodeId>) -> Answer<CanStopView> {
        let node = node.unwrap_or(NodeId([8; 32]));
        let (seats, answering, answering_without, needed) = (4, 28, 24, 19);
        let (for_a_while, for_good) = (true, ForGood::Now);
        now(Ok(CanStopView { node, seats, answering, answering_without, needed, for_a_while, for_good }))
    }

    fn quote(&self, _registration: RegistrationNumber, ask: QuoteAsk) -> Answer<QuoteView> {
        let (price, refund) = match ask {
            QuoteAsk::Extend { last } => (Amount(Frost(last.0)), Amount(Frost(0))),
            QuoteAsk::Delete => (Amount(Frost(0)), Amount(Frost(9))),
        };
        let (first_epoch, last_epoch, ends_about) = (Epoch(3), Epoch(4), Time(5));
        let rate = Amount(Frost(1));
        now(Ok(QuoteView { price, rate, refund, first_epoch, last_epoch, ends_about, encoded_bytes: 7 }))
    }

    fn submit(&self, signed: Vec<u8>) -> Answer<TransactionAnswer> {
        now(match signed.len() {
            0 => Err(Problem::new(Code::TransactionRefused, "not a transaction")),
            length => {
                let outcome = TransactionOutcome::Included { height: Height(length as u64) };
                Ok(TransactionAnswer { transaction: TransactionId([7; 32]), outcome })
            }
        })
    }

    fn node(&self) -> Answer<NodeView> {
        now(Ok(NodeView {
            version: "0".to_owned(),
            network_name: "test".to_owned(),
            network: NetworkId([2; 32]),
            node: NodeId([3; 32]),
            peer: "peer".to_owned(),
            name: "node-1".to_owned(),
            account: AccountId([1; 32]),
            phase: NodePhase::Member,
            snapshot: None,
            stake: None,
            duties: None,
            started: Time(0),
            height: Height(1),
            epoch: Epoch(1),
            height_seen: Height(1),
            shards: 4,
            peers: 6,
            fragments: 0,
            store: StoreBytes { live: 0, reclaimable: 0, free: 1, reserve: 1 },
            addresses: Vec::new(),
        }))
    }

    fn health(&self) -> Answer<Health> {
        let lost = Check {
            code: CheckCode::CommitteeNoQuorum,
            axis: Axis::Decisions,
            state: HealthState::Error,
            since: None,
            summary: "16 of 28 seats answer, 19 needed".to_owned(),
            effect: None,
            known: None,
            next: None,
        };
        now(Ok(Health::worst(vec![lost], "well")))
    }

    fn ready(&self) -> Answer<()> {
        now(Ok(()))
    }

    fn metrics(&self) -> Answer<String> {
        now(Ok("floe_build_info 1\n".to_owned()))
    }

    fn served(&self, served: &Served<'_>) {
        self.0.served.lock().unwrap().push((served.route.to_owned(), served.method, served.status));
    }
}

/// A server on a thread of its own, stopped when dropped.
struct Rig {
    memory: Arc<Memory>,
    address: SocketAddr,
    handle: actix_web::dev::ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
    directory: tempfile::TempDir,
}

impl Rig {
    fn start(adjust: impl FnOnce(&mut Config)) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::new("127.0.0.1:0".parse().unwrap(), directory.path().join("spool"), LIMIT);
        config.disk_reserve_bytes = 0;
        adjust(&mut config);
        let memory = Arc::new(Memory::default());
        let service: Arc<dyn Service> = Arc::new(Shelf(memory.clone()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let running = bind(config, service).unwrap();
                sender.send((running.address, running.server.handle())).unwrap();
                running.server.await.unwrap();
            });
        });
        let (address, handle) = receiver.recv().unwrap();
        Rig { memory, address, handle, thread: Some(thread), directory }
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address), None).unwrap()
    }

    /// Sends `head` as it stands plus `body` and gives all that comes back.
    fn raw(&self, head: &str, body: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        // The server may refuse before it has read all.
        let _ = socket.write_all(body);
        let mut text = Vec::new();
        let _ = socket.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.raw(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"), b"")
    }

    fn put(&self, query: &str, headers: &str, body: &[u8]) -> String {
        let length = body.len();
        let head = format!(
            "PUT /v1/blobs{query} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
        );
        self.raw(&head, body)
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("spool")).unwrap().count()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The stop is sent at once; waiting for it needs no runtime of ours.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn upload(length: Option<u64>) -> Upload {
    Upload {
        length,
        epochs: EpochCount(16),
        file_name: Some("café 1.jpg".to_owned()),
        content_type: Some("image/jpeg".to_owned()),
        persistence: Persistence::Permanent,
        existing: Existing::Reuse,
    }
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

fn problem_of(answer: &str) -> Problem {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn a_blob_goes_in_and_comes_out_with_its_verdict() {
    let rig = Rig::start(|_| {});
    let client = rig.client();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at * 7 % 251) as u8).collect();
    let mut steps = Vec::new();
    let answer =
        client.store(&upload(Some(bytes.len() as u64)), &mut &bytes[..], &mut |step| steps.push(step)).unwrap();
    let StoreAnswer::NewlyCreated(new) = &answer else { panic!("{answer:?}") };
    assert_eq!((new.blob_object.size, new.blob_object.storage.end_epoch), (3_000_000, Epoch(19)));
    assert!(!new.blob_object.deletable);
    assert!(steps.contains(&Step::Uploaded { bytes: 3_000_000 }));
    assert!(steps.contains(&Step::Node(StoreProgress::Sending { shards: 28, total: 28 })));
    assert_eq!(rig.spooled(), 0, "the spool file is removed");

    let id = answer.blob_id();
    let mut back = Vec::new();
    let mut download = client.read(id, Undefended::Refuse, None).unwrap();
    assert_eq!(download.length, 3_000_000);
    download.read_to_end(&mut back).unwrap();
    assert_eq!(back, bytes);

    let again = client.store(&upload(None), &mut &bytes[..], &mut |_| {}).unwrap();
    let StoreAnswer::AlreadyCertified(old) = again else { panic!("{again:?}") };
    assert_eq!((old.event.event_seq.as_str(), old.end_epoch), ("0", Epoch(19)));

    let head = rig.raw(&format!("HEAD /v1/blobs/{id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), b"");
    let wanted = [
        "HTTP/1.1 200 OK",
        "content-length: 3000000",
        "content-type: image/jpeg",
        "cache-control: public, max-age=86400, immutable",
        "x-content-type-options: nosniff",
        "content-security-policy: sandbox",
        "floe-verdict: intact; epoch=41",
        "floe-paid-through: 18; about=\"2026-11-20T14:02:45Z\"",
    ];
    for line in wanted.iter().map(|line| (*line).to_owned()).chain([format!("etag: \"{id}\"")]) {
        assert!(head.contains(&line), "{line} is missing in {head}");
    }
    assert!(head.ends_with("\r\n\r\n"), "no body");
    assert!(head.contains("accept-ranges: bytes"));
    for tag in [format!("\"{id}\""), format!("W/\"x\", \"{id}\""), "*".to_owned()] {
        let ask =
            format!("GET /v1/blobs/{id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nif-none-match: {tag}\r\n\r\n");
        let same = rig.raw(&ask, b"");
        assert_eq!(status_of(&same), 304, "{tag}");
        assert!(same.ends_with("\r\n\r\n"));
    }
    let status = client.blob_status(&id.to_string()[..6]).unwrap();
    assert_eq!(status.attributes.file_name.as_deref(), Some("café 1.jpg"));
    let routes = rig.memory.served.lock().unwrap();
    assert!(routes.contains(&("/v1/blobs/{id}".to_owned(), "HEAD", 200)), "{routes:?}");
}

#[test]
fn a_part_is_given_in_every_form_and_refused_with_the_length() {
    let rig = Rig::start(|_| {});
    let bytes: Vec<u8> = (0..1_000u32).map(|at| b'a' + (at % 23) as u8).collect();
    rig.put("", "", &bytes);
    let id = id_of(&bytes);
    let ask = |headers: &str| {
        rig.raw(&format!("GET /v1/blobs/{id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"), b"")
    };
    let text = |range: Range<usize>| String::from_utf8(bytes[range].to_vec()).unwrap();
    for (form, range) in [
        ("bytes=10-19", 10..20),
        ("bytes=0-0", 0..1),
        ("bytes=990-", 990..1_000),
        ("bytes=-7", 993..1_000),
        ("bytes=-5000", 0..1_000),
        ("bytes=999-123456789", 999..1_000),
    ] {
        let answer = ask(&format!("range: {form}\r\n"));
        assert_eq!(status_of(&answer), 206, "{form}");
        let lines = [
            format!("content-range: bytes {}-{}/1000", range.start, range.end - 1),
            format!("content-length: {}", range.len()),
            format!("etag: \"{id}\""),
            format!("floe-range: {}", if range.start == 0 { "derived" } else { "proven" }),
        ];
        assert!(lines.iter().all(|line| answer.contains(line)), "{form}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{}", text(range))), "{form}");
    }
    // Answered by the whole.
    for form in ["bytes=0-1,5-6", "bytes=9-3", "bytes=x-3", "lines=1-2", "bytes 1-2"] {
        let answer = ask(&format!("range: {form}\r\n"));
        assert_eq!(status_of(&answer), 200, "{form}");
        assert!(!answer.contains("floe-range") && answer.ends_with(&text(0..1_000)), "{form}");
    }
    for form in ["bytes=1000-", "bytes=1000-2000", "bytes=-0"] {
        let answer = ask(&format!("range: {form}\r\n"));
        assert_eq!((status_of(&answer), problem_of(&answer).code), (416, Code::RangeNotSatisfiable), "{form}");
        assert!(answer.contains("content-range: bytes */1000"), "{answer}");
    }
    for (named, status) in [
        (format!("\"{id}\""), 206),
        (format!("W/\"{id}\""), 200),
        ("\"another\"".to_owned(), 200),
        ("Fri, 20 Nov 2026 14:00:00 GMT".to_owned(), 200),
    ] {
        assert_eq!(status_of(&ask(&format!("range: bytes=5-6\r\nif-range: {named}\r\n"))), status, "{named}");
    }
    assert_eq!(status_of(&ask(&format!("range: bytes=5-6\r\nif-none-match: \"{id}\"\r\n"))), 304);
    let mut part = Vec::new();
    let mut download = rig.client().read(id, Undefended::Refuse, Some("3-9".parse().unwrap())).unwrap();
    assert_eq!((download.length, download.provenance), (7, Some(Provenance::Proven)));
    download.read_to_end(&mut part).unwrap();
    assert_eq!(part, bytes[3..10]);
    let Err(beyond) = rig.client().read(id, Undefended::Refuse, Some("1000-".parse().unwrap())) else {
        panic!("given")
    };
    assert_eq!(beyond.code, Code::RangeNotSatisfiable);
    for wrong in ["", "-", "5", "a-b", "9-3", "+1-2", "1-2-3", "1-99999999999999999999"] {
        assert!(wrong.parse::<crate::client::Part>().is_err(), "{wrong}");
    }
}

#[test]
fn the_plain_form_is_the_walrus_document() {
    let rig = Rig::start(|_| {});
    let answer = rig.put("?epochs=5&deletable=true&encoding_type=RS2&reuse_resources=true", "", b"hello");
    assert_eq!(status_of(&answer), 200, "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let document: serde_json::Value = serde_json::from_str(body).unwrap();
    let new = &document["newlyCreated"];
    let id = format!("0x{:064x}", 7);
    assert_eq!(
        new["blobObject"],
        serde_json::json!({
            "id": id, "registeredEpoch": 3, "blobId": id_of(b"hello").to_string(), "size": 5, "encodingType": "RS2",
            "certifiedEpoch": 3, "deletable": true,
            "storage": {"id": id, "startEpoch": 3, "endEpoch": 8, "storageSize": 45_000_000},
        })
    );
    let operation = serde_json::json!({"registerFromScratch": {"encodedLength": 45_000_000, "epochsAhead": 5}});
    assert_eq!(new["resourceOperation"], operation);
    assert_eq!(new["cost"], 688_000);
    assert_eq!(new["floe"]["lastEpoch"], 7);
    assert_eq!(new["floe"]["endsAbout"], "2026-11-20T14:02:45Z");
    assert_eq!(new["floe"]["standing"]["verdict"], "pending");
}

#[test]
fn bad_requests_are_refused_by_name() {
    let rig = Rig::start(|_| {});
    let cases = [
        ("?epoch=3", "epoch"),
        ("?epochs=0", "epochs"),
        ("?epochs=-1", "epochs"),
        ("?epochs=1e3", "epochs"),
        ("?epochs=99999999999999999999", "epochs"),
        ("?epochs=1&epochs=2", "epochs"),
        ("?deletable=true&permanent=true", "permanent"),
        ("?deletable=perhaps", "deletable"),
        ("?encoding_type=RedStuff", "encoding_type"),
        ("?share=true", "share"),
        ("?send_object_to=0x1", "send_object_to"),
    ];
    for (query, name) in cases {
        let answer = rig.put(query, "", b"x");
        assert_eq!(status_of(&answer), 400, "{query}: {answer}");
        let problem = problem_of(&answer);
        assert_eq!((problem.code, problem.facts.name.as_deref()), (Code::BadRequest, Some(name)), "{query}");
    }
    assert_eq!(status_of(&rig.put("", "content-encoding: gzip\r\n", b"x")), 415);
    let long = format!("floe-file-name: {}\r\n", "a".repeat(1_025));
    assert_eq!(problem_of(&rig.put("", &long, b"x")).facts.name.as_deref(), Some("attributes"));
    assert_eq!(problem_of(&rig.put("", "floe-file-name: %zz\r\n", b"x")).facts.name.as_deref(), Some("floe-file-name"));
    assert!(rig.memory.blobs.lock().unwrap().is_empty());
    for path in ["/v1/blobs?limit=0", "/v1/blobs?limit=1001", "/v1/blobs?after=x", "/v1/node?verbose=1", "/v1/epochs/x"]
    {
        assert_eq!(status_of(&rig.get(path)), 400, "{path}");
    }
    for path in ["/v1/blobs/short", "/v1/blobs/abc/status", "/v1/blobs/ab%2fcd/status", "/v1/accounts/12"] {
        assert_eq!(status_of(&rig.get(path)), 400, "{path}");
    }
}

#[test]
fn every_refusal_has_its_status_and_code() {
    let rig = Rig::start(|_| {});
    let id = id_of(b"none");
    assert_eq!(problem_of(&rig.get(&format!("/v1/blobs/{id}"))).code, Code::BlobUnknown);
    assert_eq!(problem_of(&rig.get("/v1/blobs/aaaa/status")).code, Code::BlobUnknown);
    assert_eq!(problem_of(&rig.get("/v1/epochs/9")).code, Code::EpochUnknown);
    assert_eq!(problem_of(&rig.get("/nowhere")).code, Code::RouteUnknown);
    let wrong = rig.raw("POST /v1/blobs HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", b"");
    assert_eq!((status_of(&wrong), problem_of(&wrong).code), (405, Code::MethodNotAllowed));
    rig.put("", "", b"four");
    let gone = rig.get(&format!("/v1/blobs/{}", id_of(b"four")));
    assert_eq!((status_of(&gone), problem_of(&gone).code), (410, Code::BlobForgotten));
    let undefended = rig.get(&format!("/v1/blobs/{}?undefended=allow", id_of(b"four")));
    assert!(undefended.ends_with("\r\n\r\nfour") && undefended.contains("cache-control: no-store"));
    let refusal = Problem::new(Code::BlobUnavailable, "9 of 28 shards answered").retry_after(Duration::from_secs(15));
    *rig.memory.refuse.lock().unwrap() = Some(refusal.clone());
    let unavailable = rig.get(&format!("/v1/blobs/{id}"));
    assert_eq!(status_of(&unavailable), 503);
    assert!(unavailable.contains("retry-after: 15") && unavailable.contains("cache-control: no-store"));
    assert!(unavailable.contains("application/problem+json"));
    let Err(seen) = rig.client().read(id, Undefended::Refuse, None) else { panic!("was given") };
    assert_eq!((seen.code, seen.detail.as_str()), (refusal.code, "9 of 28 shards answered"));
    // With the progress form the problem comes as the last line.
    let late = rig.client().store(&upload(Some(1)), &mut &b"x"[..], &mut |_| {}).unwrap_err();
    assert_eq!(late, refusal);
    let inside = rig.get("/v1/committee");
    assert!(status_of(&inside) == 500 && !inside.contains("secret"), "{inside}");
    assert!(problem_of(&inside).facts.request_id.is_some());
}

#[test]
fn uploads_are_bounded_in_bytes_before_and_while_they_are_read() {
    let rig = Rig::start(|_| {});
    let head = format!(
        "PUT /v1/blobs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        LIMIT + 1
    );
    let announced = rig.raw(&head, b"");
    assert!(announced.contains("413 Payload Too Large"), "{announced}");
    assert!(announced.contains(&format!("\"limitBytes\":{LIMIT}")));
    let chunked =
        "PUT /v1/blobs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut body = Vec::new();
    for _ in 0..=LIMIT >> 20 {
        body.extend_from_slice(b"100000\r\n");
        body.extend_from_slice(&vec![7u8; 1 << 20]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(status_of(&rig.raw(chunked, &body)), 413);
    assert_eq!(status_of(&rig.raw(chunked, b"5\r\nhello\r\n0\r\n\r\n")), 200);
    let mut socket = TcpStream::connect(rig.address).unwrap();
    socket.write_all(b"PUT /v1/blobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nhalf").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let _ = socket.read_to_end(&mut Vec::new());
    assert_eq!(rig.memory.blobs.lock().unwrap().len(), 1, "a half sent body is not stored");
    let empty = rig.client().store(&upload(Some(0)), &mut &b""[..], &mut |_| {}).unwrap();
    assert_eq!(empty.blob_id(), id_of(b""));
    assert_eq!(rig.spooled(), 0);
}

#[test]
fn requests_that_two_parsers_would_read_differently_are_refused() {
    let rig = Rig::start(|_| {});
    let both = "PUT /v1/blobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(status_of(&rig.raw(both, b"0\r\n\r\n")), 400);
    let twice = "PUT /v1/blobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(status_of(&rig.raw(twice, b"four")), 400);
    let huge = format!("GET /livez HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "a".repeat(300 << 10));
    let answer = rig.raw(&huge, b"");
    assert!(answer.is_empty() || (400..500).contains(&status_of(&answer)), "{answer}");
    assert!(rig.memory.blobs.lock().unwrap().is_empty());
}

#[test]
fn slow_heads_and_slow_bodies_are_cut_off() {
    let rig = Rig::start(|config| config.header_timeout = Duration::from_millis(200));
    assert_eq!(status_of(&rig.raw("PUT /v1/blobs HTTP/1.1\r\nhost: loc", b"")), 408);
    let rig = Rig::start(|config| config.body_grace = Duration::from_millis(200));
    let head = "PUT /v1/blobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\nconnection: close\r\n\r\n";
    let slow = rig.raw(head, b"one");
    assert_eq!((status_of(&slow), problem_of(&slow).code), (408, Code::RequestTimeout));
    assert_eq!(rig.spooled(), 0);
}

#[test]
fn what_is_busy_or_full_says_so() {
    let rig = Rig::start(|config| {
        config.uploads_max = 0;
        config.reads_max = 0;
        config.answer_timeout = Duration::from_millis(100);
    });
    let busy = rig.put("", "", b"x");
    assert_eq!((status_of(&busy), problem_of(&busy).code), (503, Code::Overloaded));
    assert_eq!(problem_of(&rig.get(&format!("/v1/blobs/{}", id_of(b"x")))).code, Code::Overloaded);
    assert_eq!(problem_of(&rig.get("/v1/network")).code, Code::Overloaded, "a document that does not come");
    let rig = Rig::start(|config| config.disk_reserve_bytes = 1 << 60);
    let full = rig.put("", "", b"x");
    assert_eq!((status_of(&full), problem_of(&full).code), (507, Code::Capacity));
    assert_eq!(rig.spooled(), 0);
}

#[test]
fn writes_are_taken_under_names_of_this_machine_only() {
    let rig = Rig::start(|_| {});
    let head = "PUT /v1/blobs HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 1\r\nconnection: close\r\n\r\n";
    let answer = rig.raw(head, b"x");
    assert_eq!((status_of(&answer), problem_of(&answer).code), (403, Code::WritesNotAllowed));
    let rig = Rig::start(|config| config.listen = "0.0.0.0:0".parse().unwrap());
    let answer = rig.put("", "", b"x");
    assert_eq!((status_of(&answer), problem_of(&answer).code), (403, Code::WritesNotAllowed));
    assert_eq!(status_of(&rig.get("/livez")), 200, "reads are open");
}

#[test]
fn a_read_that_breaks_off_is_not_taken_for_the_whole() {
    let rig = Rig::start(|_| {});
    let bytes = vec![5u8; 1 << 20];
    let id = rig.client().store(&upload(None), &mut &bytes[..], &mut |_| {}).unwrap().blob_id();
    *rig.memory.break_after.lock().unwrap() = Some(3);
    let mut download = rig.client().read(id, Undefended::Refuse, None).unwrap();
    let mut back = Vec::new();
    assert!(download.read_to_end(&mut back).is_err());
    assert!(back.len() < bytes.len());
}

#[test]
fn probes_answer_with_their_statuses() {
    let rig = Rig::start(|_| {});
    for (path, status) in [("/livez", 200), ("/status", 200), ("/readyz", 200), ("/healthz", 503), ("/v1/health", 200)]
    {
        assert_eq!(status_of(&rig.get(path)), status, "{path}");
    }
    assert!(rig.get("/metrics").ends_with("floe_build_info 1\n"));
    assert!(rig.get("/problems/blob-unavailable").contains("exit code    4"));
    assert_eq!(status_of(&rig.get("/problems/none")), 404);
    assert!(rig.get("/v1/accounts/me").contains("\"balance\":\"18446744073709551615\""));
    assert_eq!(rig.client().node().unwrap().name, "node-1");
    let routes = rig.memory.served.lock().unwrap();
    assert!(routes.contains(&("/healthz".to_owned(), "GET", 503)), "{routes:?}");
}

#[test]
fn a_taken_port_is_named() {
    let rig = Rig::start(|_| {});
    let spool = rig.directory.path().join("other");
    let config = Config::new(rig.address, spool, LIMIT);
    let service: Arc<dyn Service> = Arc::new(Shelf(rig.memory.clone()));
    let error = match bind(config, service) {
        Ok(_) => panic!("bound twice"),
        Err(error) => error,
    };
    assert!(matches!(error, Error::PortInUse { .. }));
    assert!(error.to_string().contains(&rig.address.port().to_string()));
}

#[test]
fn what_a_crash_left_in_the_spool_is_removed_at_start_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("1-0.upload"), b"old").unwrap();
    std::fs::write(directory.path().join("notes.txt"), b"mine").unwrap();
    spool::prepare(directory.path()).unwrap();
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
}

#[test]
fn a_node_that_is_not_there_is_unreachable_not_unknown() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(&format!("http://{closed}/"), None).unwrap();
    let problem = client.node().unwrap_err();
    assert_eq!(problem.code, Code::NodeUnreachable, "{problem}");
    let problem = client.store(&upload(Some(1)), &mut &b"x"[..], &mut |_| {}).unwrap_err();
    assert_eq!(problem.code, Code::NodeUnreachable, "{problem}");
    for bad in ["https://x", "127.0.0.1:7101", "http://", "unix:/x", ""] {
        assert!(Client::new(bad, None).is_err(), "{bad}");
    }
}

#[test]
fn a_signed_transaction_is_handed_in_within_its_limit() {
    let rig = Rig::start(|_| {});
    let client = Client::new(&format!("http://{}", rig.address), None).unwrap();
    let answer = client.submit(&[5; 300]).unwrap();
    assert_eq!(answer.outcome, TransactionOutcome::Included { height: Height(300) });
    assert_eq!(client.submit(&[]).unwrap_err().code, Code::TransactionRefused);
    assert_eq!(
        client.submit(&vec![5; 32 << 10]).unwrap().outcome,
        TransactionOutcome::Included { height: Height(32 << 10) }
    );
    assert_eq!(client.submit(&vec![5; (32 << 10) + 1]).unwrap_err().code, Code::BadRequest);
    assert!(rig.get("/v1/transactions").starts_with("HTTP/1.1 405"));
}

#[test]
fn a_candidacy_is_previewed_with_its_words_as_they_were_typed() {
    let rig = Rig::start(|_| {});
    let client = Client::new(&format!("http://{}", rig.address), None).unwrap();
    let domain = "isp:example city:Lyon & more=?".to_owned();
    let proposal = Proposal { node: NodeId([7; 32]), stake: Frost(5), capacity_bytes: 1 << 40, domain: domain.clone() };
    let preview = client.preview(&proposal).unwrap();
    assert_eq!((preview.arriving_bytes, preview.bound), (1 << 40, domain));
    assert_eq!(client.can_stop(None).unwrap().node, NodeId([8; 32]));
    assert_eq!(client.can_stop(Some(NodeId([7; 32]))).unwrap().node, NodeId([7; 32]));
    assert_eq!(client.candidates().unwrap().elects_with, Epoch(4));
    assert!(rig.get("/v1/committee/preview?stake=5").starts_with("HTTP/1.1 400"));
    assert!(rig.get("/v1/nodes/zz/can-stop").starts_with("HTTP/1.1 400"));
}

#[test]
fn a_change_of_a_registration_is_quoted() {
    let rig = Rig::start(|_| {});
    let client = Client::new(&format!("http://{}", rig.address), None).unwrap();
    let number = RegistrationNumber(3);
    assert_eq!(client.quote(number, QuoteAsk::Extend { last: Epoch(12) }).unwrap().price, Amount(Frost(12)));
    assert_eq!(client.quote(number, QuoteAsk::Delete).unwrap().refund, Amount(Frost(9)));
    for wrong in
        ["/v1/registrations/3/quote", "/v1/registrations/x/quote?delete", "/v1/registrations/3/quote?delete&last=4"]
    {
        assert!(rig.get(wrong).starts_with("HTTP/1.1 400"), "{wrong}");
    }
}

#[test]
fn an_audit_is_a_file_about_one_epoch() {
    let rig = Rig::start(|_| {});
    let client = Client::new(&format!("http://{}", rig.address), None).unwrap();
    let blob = BlobId([7; 32]).to_string();
    assert_eq!(client.audit(&blob, Epoch(40), None).unwrap(), b"40 None");
    assert_eq!(client.audit(&blob, Epoch(40), Some(Epoch(12))).unwrap(), b"40 Some(12)");
    assert_eq!(client.verdicts(&blob).unwrap().lines.total, 28);
    assert_eq!(client.genesis().unwrap(), "{}");
    for wrong in ["audit", "audit?epoch=x", "audit?epoch=1&from=y", "audit?epoch=1&more=2", "verdicts?epoch=1"] {
        assert!(rig.get(&format!("/v1/blobs/{blob}/{wrong}")).starts_with("HTTP/1.1 400"), "{wrong}");
    }
}

#[test]
fn a_history_goes_on_where_the_last_page_ended() {
    let rig = Rig::start(|_| {});
    let client = Client::new(&format!("http://{}", rig.address), None).unwrap();
    let first = client.history(None, HistoryPage { after: None, limit: 7 }).unwrap();
    assert_eq!(first.entries[0].deed, Deed::StakeReleased { amount: Amount(Frost(7)) });
    let account = AccountId([3; 32]);
    let second = client.history(Some(account), HistoryPage { after: first.next, limit: 1 }).unwrap();
    assert_eq!((second.account, second.entries[0].place.to_string()), (account, "8-2".to_owned()));
    for wrong in ["me/history?limit=0", "me/history?limit=1001", "me/history?after=8", "zz/history", "me/history?to=1"]
    {
        assert!(rig.get(&format!("/v1/accounts/{wrong}")).starts_with("HTTP/1.1 400"), "{wrong}");
    }
}

#[test]
fn what_a_store_would_cost_is_said_in_the_words_of_the_contract() {
    let rig = Rig::start(|_| {});
    let client = Client::new(&format!("http://{}", rig.address), None).unwrap();
    let quote = client.store_quote(StoreAsk { length: 100, epochs: EpochCount(30) }).unwrap();
    let wanted = r#"{"encodedBytes":400,"cost":90,"rate":3,"unit":"FROST","firstEpoch":42,"lastEpoch":71,"expiresAt":"1970-01-01T00:00:00.005Z","hints":[]}"#;
    assert_eq!(serde_json::to_string(&quote).unwrap(), wanted);
    assert!(rig.get("/v1/quote?size=100&epochs=30").ends_with(wanted));
    assert_eq!(client.prices().unwrap().next, Amount(Frost(11)));
    assert_eq!(client.registration(RegistrationNumber(9)).unwrap().last_epoch, Epoch(9));
    assert_eq!(client.registration(RegistrationNumber(10)).unwrap_err().code, Code::RegistrationUnknown);
    for wrong in
        ["quote", "quote?size=-1", "quote?size=1&epochs=0", "quote?size=1&term=2", "price?epoch=1", "registrations/x"]
    {
        assert!(rig.get(&format!("/v1/{wrong}")).starts_with("HTTP/1.1 400"), "{wrong}");
    }
}
