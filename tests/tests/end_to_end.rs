//! Real processes, real sockets, real disks, real signals: what a person can do by hand, done by a test.
//!
//! Tests here run one after the other: seven nodes share the machine's cores with nobody else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use floe_api::model::ForGood;
use floe_tests::{Devnet, alone, counted, epoch_of, metric, wait_until};
use floe_types::Epoch;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The verdict root of `epoch` as `node` shows it; none when it was not decided.
fn verdict_root(devnet: &Devnet, node: u16, epoch: u64) -> Option<String> {
    let view = devnet.client(node).epoch(Some(Epoch(epoch))).ok()?;
    view.decision.map(|decision| decision.verdict_root)
}

#[test]
fn a_file_comes_back_with_two_of_seven_nodes_killed_and_all_agree_on_every_verdict() {
    let _alone = alone();
    let began = Instant::now();
    let devnet = Devnet::up(7, "3s");
    assert!(began.elapsed() < Duration::from_secs(10), "ready after {:?}", began.elapsed());
    let file = devnet.file("photo", 10 << 20, 1);
    let id = devnet.store(1, &file, 20);
    devnet.read_back(3, &id, &file);

    let stored_in = epoch_of(&devnet, 1);
    wait_until("the first verdict", || epoch_of(&devnet, 1) > stored_in);
    let status = devnet.client(5).blob_status(&id).unwrap();
    assert_eq!(status.attested, 28);

    devnet.floe_ok(&["devnet", "kill", "node-7", "node-6"]);
    devnet.read_back(1, &id, &file);
    // An epoch for which too few reports came in time is undecided: the next one says it.
    wait_until("two nodes of four shards are absent", || {
        let ruler = devnet.client(1).blob_status(&id).ok().and_then(|status| status.ruler);
        ruler.is_some_and(|ruler| (ruler.held, ruler.absent, ruler.uncovered) == (20, 8, 0))
    });
    // Their last answers may have counted for the epoch they died in: then the first verdict that misses them comes when
    // patience is over, and rebuilding has begun.
    let said = devnet.floe_ok(&["status", &id]);
    assert!(said.contains("TOLERATED") || said.contains("REPAIRING"), "{said}");

    devnet.floe_ok(&["devnet", "start", "node-7", "node-6"]);
    let last = epoch_of(&devnet, 1);
    wait_until("the returned nodes have caught up", || (6..=7).all(|node| epoch_of(&devnet, node) > last));
    for epoch in 1..=last {
        let first = verdict_root(&devnet, 1, epoch);
        for node in 2..=7 {
            assert_eq!(verdict_root(&devnet, node, epoch), first, "epoch {epoch} on node-{node}");
        }
    }
    devnet.read_back(7, &id, &file);
}

#[test]
fn with_three_killed_nothing_is_decided_reads_work_and_one_return_is_enough() {
    let _alone = alone();
    let devnet = Devnet::up(7, "3s");
    let file = devnet.file("document", 300_001, 2);
    let id = devnet.store(2, &file, 40);
    devnet.floe_ok(&["devnet", "kill", "node-5", "node-6", "node-7"]);
    wait_until("the loss of the quorum shows", || devnet.floe(&["health"]).status.code() == Some(2));
    let height = devnet.client(1).network().unwrap().height;
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(devnet.client(1).network().unwrap().height, height, "nothing is decided");
    let said = devnet.floe_ok(&["status"]);
    assert!(said.contains("cannot decide"), "{said}");
    devnet.read_back(1, &id, &file);
    let refused = devnet.floe(&["store", &file.display().to_string(), "--epochs", "3"]);
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));

    devnet.floe_ok(&["devnet", "start", "node-6"]);
    wait_until("decisions resume", || devnet.client(1).network().unwrap().height > height);
    devnet.read_back(6, &id, &file);
}

#[test]
fn killing_all_seven_at_once_ten_times_during_stores_loses_nothing_certified() {
    let _alone = alone();
    let devnet = Devnet::up(7, "3s");
    let certified = Mutex::new(Vec::new());
    let counter = AtomicU64::new(0);
    let all = ["devnet", "kill", "node-1", "node-2", "node-3", "node-4", "node-5", "node-6", "node-7"];
    let mut height = 0;
    for round in 0..10 {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for worker in 1..=3u16 {
                let (devnet, certified, counter, stop) = (&devnet, &certified, &counter, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let seed = counter.fetch_add(1, Ordering::Relaxed);
                        let bytes = [0, 1, 1_000, 70_001, 400_000][seed as usize % 5];
                        let file = devnet.file(&format!("file-{seed}"), bytes + 8, 1_000 + seed);
                        let (text, url) = (file.display().to_string(), devnet.url(worker));
                        let output = devnet.floe(&["store", &text, "--epochs", "400", "--url", &url]);
                        if output.status.success() {
                            let said = String::from_utf8_lossy(&output.stdout).into_owned();
                            let id = said.lines().last().unwrap().trim().to_owned();
                            certified.lock().unwrap().push((id, file));
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(1_200 + 90 * round));
            devnet.floe_ok(&all);
            stop.store(true, Ordering::Relaxed);
        });
        let mut start = all;
        start[1] = "start";
        devnet.floe_ok(&start);
        wait_until("heights resume", || devnet.client(4).network().is_ok_and(|network| network.height.0 > height));
        height = devnet.client(4).network().unwrap().height.0;
    }
    let certified = certified.into_inner().unwrap();
    assert!(certified.len() >= 10, "only {} stores were certified", certified.len());
    for (place, (id, file)) in certified.iter().enumerate() {
        devnet.read_back(1 + (place % 7) as u16, id, file);
    }
    for node in 1..=7 {
        let text = devnet.client(node).metrics().unwrap();
        assert_eq!(metric(&text, "floe_consensus_equivocations_total"), 0.0, "node-{node} saw a vote signed twice");
    }
}

#[test]
fn wrong_input_is_answered_with_what_to_do() {
    let _alone = alone();
    let devnet = Devnet::up(4, "3s");
    let code = |arguments: &[&str]| {
        let output = devnet.floe(arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let unknown = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(code(&["read", unknown, "-o", "nothing"]).0, Some(3));
    assert!(!devnet.path().join("nothing").exists());
    assert_eq!(code(&["status", unknown]).0, Some(3));
    assert_eq!(code(&["read", "not an id!", "-o", "nothing"]).0, Some(2));
    assert_eq!(code(&["store", "no-such-file", "--epochs", "2"]).0, Some(2));
    assert_eq!(code(&["store", ".", "--epochs", "2"]).0, Some(2), "a directory is no file");
    let file = devnet.file("small", 100, 3).display().to_string();
    assert_eq!(code(&["store", &file, "--epochs", "0"]).0, Some(2));
    let (far, said) = code(&["store", &file, "--epochs", "8767"]);
    assert_eq!(far, Some(2), "{said}");
    assert_eq!(code(&["epoch", "show", "9999"]).0, Some(3));
    assert_eq!(code(&["status", "--url", "http://127.0.0.1:1"]).0, Some(4));

    // A second process on one data directory, and a second devnet on the same ports.
    let (second, said) = code(&["node", "run", "--config", "devnet/node-1/floe.toml"]);
    assert_eq!(second, Some(2), "{said}");
    assert!(said.contains("process") || said.contains("in use"), "{said}");
    let (again, said) = code(&["devnet", "up", "--nodes", "4", "--epoch", "3s"]);
    assert_eq!(again, Some(9), "{said}");

    // A key of another network, and a key that others may read.
    let other = devnet.path().join("other.key");
    let key = devnet.path().join("devnet/node-1/keys/vote.key");
    devnet.floe_ok(&["devnet", "kill", "node-1"]);
    std::fs::copy(&key, &other).unwrap();
    let text = std::fs::read_to_string(&key).unwrap();
    let network = devnet.client(2).network().unwrap().network.to_string();
    std::fs::write(&key, text.replace(&network, &"ab".repeat(32))).unwrap();
    let (foreign, said) = code(&["node", "run", "--config", "devnet/node-1/floe.toml"]);
    assert_eq!(foreign, Some(2), "{said}");
    assert!(said.contains("network"), "{said}");
    std::fs::copy(&other, &key).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (exposed, said) = code(&["node", "run", "--config", "devnet/node-1/floe.toml"]);
    assert_eq!(exposed, Some(2), "{said}");
    assert!(said.contains("chmod 600"), "{said}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    devnet.floe_ok(&["devnet", "start", "node-1"]);
    wait_until("node-1 is back", || devnet.client(1).ready().is_ok());
}

#[test]
fn a_blob_that_nobody_pays_for_is_forgotten_and_says_so() {
    let _alone = alone();
    let devnet = Devnet::up(4, "3s");
    let file = devnet.file("short", 3_000_000, 4);
    // One operator lets go of what is forgotten at the next boundary, the others keep it for a while.
    let config = devnet.path().join("devnet/node-2/floe.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("keep_epochs = 24", "keep_epochs = 0");
    std::fs::write(&config, text).unwrap();
    devnet.floe_ok(&["devnet", "kill", "node-2"]);
    devnet.floe_ok(&["devnet", "start", "node-2"]);
    wait_until("node-2 is back", || devnet.client(2).ready().is_ok());
    let id = devnet.store(1, &file, 3);
    let on_disk = |node: u16| devnet.client(node).node().unwrap().store;
    // A store is done when enough holders have theirs; the others' come a moment later.
    wait_until("its share of the file is there", || on_disk(2).live > 1_000_000);
    devnet.read_back(2, &id, &file);
    let forgotten = || devnet.floe(&["read", &id, "-o", "late", "--url", &devnet.url(3)]).status.code() == Some(5);
    wait_until("the paid term has ended", forgotten);
    let output = devnet.floe(&["read", &id, "-o", "late"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("BLOB_FORGOTTEN") && said.contains("--undefended"), "{said}");
    wait_until("the disk of who lets go shows it", || (on_disk(2).live, on_disk(2).reclaimable) == (0, 0));
    wait_until("the files are gone too", || {
        let files = std::fs::read_dir(devnet.path().join("devnet/node-2/data")).unwrap().flatten();
        let blobs = files.filter(|file| file.path().extension().is_some_and(|end| end == "blob"));
        blobs.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>() < 500_000
    });
    assert!(on_disk(1).reclaimable > 1_000_000, "the others keep it");
    let undefended = ["read", &id, "-o", "late", "--undefended", "--url", &devnet.url(3)];
    devnet.floe_ok(&undefended);
    assert!(std::fs::read(devnet.path().join("late")).unwrap() == std::fs::read(&file).unwrap());
}

/// What a node answers to a request in HTTP's own words: status, headers in small letters, body.
fn http(devnet: &Devnet, node: u16, method: &str, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let url = devnet.url(node);
    let mut stream = TcpStream::connect(url.trim_start_matches("http://").trim_end_matches('/')).unwrap();
    let ask = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

#[test]
fn a_range_moves_its_units_and_a_holder_that_is_gone_is_what_its_readers_ask_for_next() {
    let _alone = alone();
    let devnet = Devnet::up(4, "3s");
    let file = devnet.file("film", 6_000_000, 7);
    let bytes = std::fs::read(&file).unwrap();
    let id = devnet.store(1, &file, 60);
    let path = format!("/v1/blobs/{id}");
    // Fragments that come after the certificate are served too: all that is sent is counted from here.
    wait_until("all shards are attested", || {
        devnet.client(1).blob_status(&id).is_ok_and(|status| status.attested == 28)
    });
    let served =
        || (1..=4).map(|node| counted(&devnet, node, "floe_fragment_bytes_total{direction=\"out\"}")).sum::<f64>();
    let (status, head, _) = http(&devnet, 1, "HEAD", &path, "");
    assert_eq!(status, 200);
    assert!(head.contains("accept-ranges: bytes") && head.contains("content-length: 6000000"), "{head}");

    let before = served();
    let (status, head, body) = http(&devnet, 1, "GET", &path, "range: bytes=3000000-3000999\r\n");
    assert_eq!((status, body.len()), (206, 1_000));
    assert!(
        body == bytes[3_000_000..3_001_000] && head.contains("content-range: bytes 3000000-3000999/6000000"),
        "{head}"
    );
    assert!(head.contains("floe-range: proven"), "{head}");
    let moved = served() - before;
    assert!((1_000.0..150_000.0).contains(&moved), "{moved} bytes for a thousand: two symbols of 32 KiB at most");
    for (range, wanted) in [("0-0", 0..1), ("-500", 5_999_500..6_000_000), ("1000000-1999999", 1_000_000..2_000_000)] {
        let (status, _, body) = http(&devnet, 2, "GET", &path, &format!("range: bytes={range}\r\n"));
        assert!(status == 206 && body == bytes[wanted], "{range}: {status}, {} bytes", body.len());
    }
    let (status, head, body) = http(&devnet, 2, "GET", &path, "range: bytes=6000000-\r\n");
    assert!(status == 416 && head.contains("content-range: bytes */6000000"), "{status} {head}");
    assert!(String::from_utf8_lossy(&body).contains("RANGE_NOT_SATISFIABLE"));
    devnet.floe_ok(&["read", &id, "--range", "4000000-4000099", "-o", "part"]);
    assert!(std::fs::read(devnet.path().join("part")).unwrap() == bytes[4_000_000..4_000_100]);
    assert_eq!(devnet.floe(&["read", &id, "--range", "9-3", "-o", "none"]).status.code(), Some(2));
    assert_eq!(devnet.floe(&["read", &id, "--range", "6000000-", "-o", "none"]).status.code(), Some(2));

    // Rows lose their holder: their columns' holders have the bytes, or ten other rows. Which of a node's seven fragments are
    // rows of the file itself goes by the blob's id, and a node may have none: then the next one is killed.
    let rows = || {
        let answers = (0..10).map(|row| {
            let from = row * 600_000 + 5_000;
            let range = format!("range: bytes={from}-{}\r\n", from + 999);
            let (status, head, body) = http(&devnet, 1, "GET", &path, &range);
            assert!(status == 206 && body == bytes[from..from + 1_000], "row {row}: {status} {head}");
            head.contains("floe-range: derived")
        });
        answers.filter(|derived| *derived).count()
    };
    let mut gone = 4;
    loop {
        devnet.floe_ok(&["devnet", "kill", &format!("node-{gone}")]);
        if rows() > 0 {
            break;
        }
        devnet.floe_ok(&["devnet", "start", &format!("node-{gone}")]);
        wait_until("it is back", || devnet.client(gone).ready().is_ok());
        gone -= 1;
        assert!(gone > 1, "somebody else has rows of the file");
    }
    let missed = || counted(&devnet, 1, "floe_challenges_sent_total{outcome=\"missed_by_reader\"}");
    // What fails in the last slot of an epoch has no next slot, so it is read until something failed in another.
    wait_until("node-1 has asked for what its reader could not get", || {
        rows();
        missed() >= 1.0
    });
    devnet.floe_ok(&["devnet", "start", &format!("node-{gone}")]);
    wait_until("it is back", || devnet.client(gone).ready().is_ok());
    devnet.read_back(gone, &id, &file);
}

fn seats(devnet: &Devnet, name: &str) -> usize {
    let committee = devnet.client(1).committee().unwrap();
    committee.members.iter().find(|member| member.name == name).map_or(0, |member| member.shards.len())
}

#[test]
fn two_nodes_join_earn_hand_over_and_leave_while_a_client_stores_and_reads_without_one_failure() {
    let _alone = alone();
    let devnet = Devnet::up_with(7, "3s", &["--wal", "100"]);
    let stop = AtomicBool::new(false);
    let stored: Mutex<Vec<(String, std::path::PathBuf)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        // Every store and every read must do: the harness panics on the first that does not.
        scope.spawn(|| {
            for seed in 0u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let file = devnet.file(&format!("file-{seed}"), [10, 5_000, 300_000][seed as usize % 3], 7_000 + seed);
                let id = devnet.store(1 + (seed % 7) as u16, &file, 400);
                let all = {
                    let mut all = stored.lock().unwrap();
                    all.push((id, file));
                    all.clone()
                };
                let (id, file) = &all[(seed as usize * 7) % all.len()];
                devnet.read_back(1 + ((seed + 3) % 7) as u16, id, file);
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        let finished = Finished(&stop);
        let mut newcomers = [devnet.newcomer(8), devnet.newcomer(9)];
        let keys: Vec<String> = newcomers.iter().map(|newcomer| devnet.bring_in(newcomer, "5WAL")).collect();
        wait_until("both have seats", || seats(&devnet, "node-8") > 0 && seats(&devnet, "node-9") > 0);
        let moved = epoch_of(&devnet, 1);
        let covered = |id: &str| devnet.client(8).blob_status(id).unwrap().attested;
        let before = stored.lock().unwrap().clone();
        wait_until("what moved is attested by who has it now", || {
            let complete = metric(&devnet.client(8).metrics().unwrap(), "floe_handover_bytes_total") > 0.0;
            complete && before.iter().all(|(id, _)| covered(id) == 28)
        });
        let account = |number| devnet.client(number).account(None).unwrap().balance.0.0;
        let earned = account(8);
        wait_until("a newcomer is paid", || account(8) > earned || epoch_of(&devnet, 1) > moved + 8);
        assert!(account(8) > earned, "a newcomer earns");
        let own = devnet.client(8).node().unwrap().account.to_string();
        devnet.floe_ok(&["account", "send", &own, "1WAL", "--key", "devnet/node-1/keys/account.key"]);

        // They read and store as well as any.
        let file = devnet.file("by-the-newcomer", 50_000, 99);
        let id = devnet.store(8, &file, 400);
        devnet.read_back(9, &id, &file);

        let node = devnet.client(8).node().unwrap().node.to_string();
        devnet.floe_ok(&["committee", "leave", "--node", &node, "--key", &keys[0]]);
        // Before it is done, another node knows it too, and says why not.
        let asked = devnet.client(1).can_stop(Some(node.parse().unwrap())).unwrap();
        assert!(matches!(asked.for_good, ForGood::NotYet { .. }), "{asked:?}");
        let may_stop = || matches!(devnet.client(8).can_stop(None).unwrap().for_good, ForGood::Now);
        wait_until("the leaver may be switched off", may_stop);
        assert_eq!(seats(&devnet, "node-8"), 0);
        newcomers[0].kill();
        std::thread::sleep(Duration::from_secs(4));
        drop(finished);
    });
    let stored = stored.into_inner().unwrap();
    assert!(stored.len() >= 20, "only {} stores", stored.len());
    for (place, (id, file)) in stored.iter().enumerate() {
        devnet.read_back(1 + (place % 7) as u16, id, file);
    }
    for node in 1..=7 {
        let text = devnet.client(node).metrics().unwrap();
        assert_eq!(metric(&text, "floe_consensus_equivocations_total"), 0.0, "node-{node} saw a vote signed twice");
    }
}

/// Ends the client's loop however the test ends, so that a failure is not waited for.
struct Finished<'a>(&'a AtomicBool);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
