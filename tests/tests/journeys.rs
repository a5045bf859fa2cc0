//! Journeys of those who come later: an operator who joins, an owner who goes on paying, an auditor, a node that is new, a
//! node whose disk is gone.
//!
//! Tests here run one after the other: seven nodes share the machine's cores with nobody else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use floe_tests::{Devnet, alone, code, counted, epoch_of, wait_until};
use std::path::Path;

/// Asks a node for a proof, and checks it as somebody would who has nothing but the file and the genesis.
fn audit(devnet: &Devnet, id: &str, epoch: u64, file: &str) -> String {
    devnet.floe_ok(&["audit", id, "--epoch", &epoch.to_string(), "-o", file]);
    let (done, said) = code(devnet, &["verify", file, "--genesis", "devnet/genesis.json"]);
    assert_eq!(done, Some(0), "{said}");
    assert!(said.contains("VALID"), "{said}");
    said
}

#[test]
fn an_auditor_gets_answers_that_hold_without_a_network_and_names_what_was_tampered_with() {
    let _alone = alone();
    let devnet = Devnet::up(7, "3s");
    wait_until("an epoch without the blob has ended", || epoch_of(&devnet, 1) >= 2);
    let stored_in = epoch_of(&devnet, 1);
    let file = devnet.file("asked-about", 20_000, 5);
    let id = devnet.store(1, &file, 3);
    let first = devnet.client(1).blob_status(&id).unwrap().certified_epoch.unwrap().0;
    assert!(first >= stored_in);
    let last = devnet.client(1).blob_status(&id).unwrap().term.last_epoch.0;
    wait_until("it is forgotten, and an epoch more has ended", || epoch_of(&devnet, 1) > last + 2);

    let paid = audit(&devnet, &id, first + 1, "paid.proof");
    assert!(paid.contains("YES. Verdict INTACT: 28 of 28"), "{paid}");
    assert!(audit(&devnet, &id, first - 1, "before.proof").contains("not certified before epoch"), "before");
    assert!(audit(&devnet, &id, last + 1, "after.proof").contains("forgotten after it"), "after its term");
    let unknown = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(audit(&devnet, unknown, first, "never.proof").contains("Nobody had registered"), "never");
    let history = devnet.floe_ok(&["audit", &id, "--epochs", &format!("{first}..{}", last + 1)]);
    assert!(history.contains("INTACT") && history.contains("FORGOTTEN"), "{history}");
    assert_eq!(code(&devnet, &["audit", &id, "--epoch", "99999", "-o", "x"]).0, Some(3), "not over");
    assert!(!devnet.path().join("x").exists());

    // From a boundary that the auditor trusts.
    let (epoch, from) = ((first + 1).to_string(), (first - 1).to_string());
    let said = devnet.floe_ok(&["audit", &id, "--epoch", &epoch, "--from", &from, "-o", "short.proof"]);
    let block = said.rsplit("--boundary ").next().unwrap().trim();
    let short = ["verify", "short.proof", "--genesis", "devnet/genesis.json"];
    assert_eq!(code(&devnet, &[&short[..], &["--boundary", block]].concat()).0, Some(0), "{said}");
    assert_eq!(code(&devnet, &short).0, Some(6), "genesis is not where it begins");
    let other = "ab".repeat(32);
    assert_eq!(code(&devnet, &[&short[..], &["--boundary", &other]].concat()).0, Some(6), "another boundary");

    // Nothing in the file can be changed, nor the genesis.
    let bytes = std::fs::read(devnet.path().join("paid.proof")).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut tampered = bytes.clone();
        tampered[at] ^= 0x10;
        std::fs::write(devnet.path().join("tampered.proof"), tampered).unwrap();
        let (done, said) = code(&devnet, &["verify", "tampered.proof", "--genesis", "devnet/genesis.json"]);
        assert_eq!(done, Some(6), "byte {at}: {said}");
        assert!(said.contains("INVALID: "), "byte {at}: {said}");
    }
    std::fs::write(devnet.path().join("cut.proof"), &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(code(&devnet, &["verify", "cut.proof", "--genesis", "devnet/genesis.json"]).0, Some(6));
    let genesis = std::fs::read_to_string(devnet.path().join("devnet/genesis.json")).unwrap();
    let name = devnet.client(1).network().unwrap().name;
    std::fs::write(devnet.path().join("other.json"), genesis.replace(&name, "another")).unwrap();
    let (done, said) = code(&devnet, &["verify", "paid.proof", "--genesis", "other.json"]);
    assert_eq!(done, Some(6), "{said}");
    assert!(said.contains("network"), "{said}");
}

#[test]
fn a_new_node_starts_from_a_snapshot_and_says_what_the_others_say() {
    let _alone = alone();
    let devnet = Devnet::up(4, "2s");
    let file = devnet.file("old", 30_000, 6);
    let id = devnet.store(1, &file, 400);
    // A snapshot is taken at the end of a term, of which an epoch takes part in each.
    let height = |node: u16| devnet.client(node).node().map_or(0, |view| view.height.0);
    wait_until("a snapshot of a later epoch is there", || epoch_of(&devnet, 1) >= 6);
    let newcomer = devnet.newcomer_with(5, |text| text.replace("snapshot_ahead = 10000", "snapshot_ahead = 3"));
    let log = || std::fs::read_to_string(newcomer.home().join("node.log")).unwrap();
    wait_until("it has started from a snapshot", || log().matches("ready").count() >= 2);
    assert!(log().contains("a snapshot is arriving"), "{}", log());
    wait_until("it has caught up", || devnet.client(5).ready().is_ok() && height(5) + 2 >= height(1));
    devnet.read_back(5, &id, &file);
    let decided = epoch_of(&devnet, 5) - 1;
    let root = |node: u16| {
        let view = devnet.client(node).epoch(Some(floe_types::Epoch(decided))).unwrap();
        (view.block, view.decision.map(|decision| decision.verdict_root))
    };
    wait_until("the others know that epoch too", || (1..=5).all(|node| epoch_of(&devnet, node) > decided));
    assert!((2..=5).all(|node| root(node) == root(1)), "all say the same of epoch {decided}");
    let audited = ["audit", &id, "--epoch", &decided.to_string(), "-o", "new.proof", "--url", &devnet.url(5)];
    devnet.floe_ok(&audited);
}

#[test]
fn a_member_whose_disk_is_gone_comes_back_with_its_key_and_signs_nothing_twice() {
    let _alone = alone();
    let devnet = Devnet::up(4, "3s");
    let file = devnet.file("kept", 30_000, 7);
    let id = devnet.store(1, &file, 400);
    for round in 0..3 {
        devnet.floe_ok(&["devnet", "kill", "node-4"]);
        let data = devnet.path().join("devnet/node-4/data");
        let copy = devnet.path().join("copy");
        match round {
            // An empty directory, a copy that is out of date, and the empty one again.
            1 => {
                devnet.floe_ok(&["devnet", "start", "node-4"]);
                wait_until("it is back", || devnet.client(4).ready().is_ok());
                devnet.floe_ok(&["devnet", "kill", "node-4"]);
                copied(&data, &copy);
                devnet.floe_ok(&["devnet", "start", "node-4"]);
                let epoch = epoch_of(&devnet, 1);
                wait_until("the copy is old", || epoch_of(&devnet, 1) >= epoch + 2);
                devnet.floe_ok(&["devnet", "kill", "node-4"]);
                std::fs::remove_dir_all(&data).unwrap();
                copied(&copy, &data);
            }
            _ => std::fs::remove_dir_all(&data).unwrap(),
        }
        devnet.floe_ok(&["devnet", "start", "node-4"]);
        wait_until("it has caught up", || devnet.client(4).ready().is_ok());
        let epoch = epoch_of(&devnet, 4);
        wait_until("it goes on", || epoch_of(&devnet, 4) >= epoch + 2);
    }
    // It votes again: without it and one more nothing would be decided.
    devnet.floe_ok(&["devnet", "kill", "node-3"]);
    let epoch = epoch_of(&devnet, 4);
    wait_until("it is needed and votes", || epoch_of(&devnet, 4) > epoch);
    devnet.read_back(1, &id, &file);
    for node in [1, 2, 4] {
        let twice = counted(&devnet, node, "floe_consensus_equivocations_total");
        assert!(twice.abs() < f64::EPSILON, "node-{node} saw {twice} votes signed twice");
    }
}

#[test]
fn an_operator_joins_is_paid_does_maintenance_and_leaves() {
    let _alone = alone();
    let devnet = Devnet::up_with(7, "3s", &["--wal", "100"]);
    let kept = devnet.file("kept", 300_000, 11);
    let id = devnet.store(1, &kept, 400);
    for seed in 0..8 {
        devnet.store(2, &devnet.file(&format!("more-{seed}"), 50_000, 20 + seed), 400);
    }

    // server$ floe node init, floe node run; floe node status --watch
    let mut newcomer = devnet.newcomer(8);
    let url = devnet.url(8);
    let watched = devnet.watch(&["node", "status", "--watch", "--url", &url]);
    watched.wait_for(&["OBSERVER", "not in the committee", "Missing: stake.", "floe committee join"]);
    // laptop$ floe committee join
    let (owner, candidacy) = devnet.candidacy(&newcomer, "5WAL");
    let said = devnet.floe_ok(&["committee", "join", &candidacy, "--key", &owner]);
    assert!(said.contains("considered with the end of epoch") && said.contains("would arrive"), "{said}");
    watched.wait_for(&["CANDIDATE", "at stake", "considered at the boundary to epoch"]);
    // It gathers what it is to hold, then holds it.
    watched.wait_for(&["being handed over"]);
    watched.wait_for(&["MEMBER", "covered", "all duties met"]);
    devnet.read_back(8, &id, &kept);
    // The first pay, in the node's own account, as this node and another remember it.
    let account = devnet.client(8).node().unwrap().account.to_string();
    let history = |url: &str| devnet.floe_ok(&["account", "history", &account, "--url", url]);
    wait_until("it is paid", || history(&url).contains("earned in epoch"));
    wait_until("another node says so too", || history(&devnet.url(1)).contains("earned in epoch"));

    // Maintenance: it may be stopped for a while, keeps its seats meanwhile and goes on where it was.
    let (may, said) = code(&devnet, &["node", "can-stop", "--url", &url]);
    assert_eq!(may, Some(0), "{said}");
    assert!(said.contains("for a while   yes") && said.contains("not yet"), "{said}");
    newcomer.kill();
    std::thread::sleep(std::time::Duration::from_secs(1));
    newcomer.start();
    wait_until("it is back", || devnet.client(8).ready().is_ok());
    let status = devnet.floe_ok(&["node", "status", "--url", &url]);
    assert!(status.starts_with("MEMBER"), "{status}");

    // laptop$ floe committee leave
    let node = devnet.client(8).node().unwrap().node.to_string();
    let said = devnet.floe_ok(&["committee", "leave", "--node", &node, "--key", &owner]);
    assert!(said.contains("notice given") && said.contains("not yet, at the earliest in epoch"), "{said}");
    watched.wait_for(&["LEAVING", "still responsible until epoch"]);
    let safe = || code(&devnet, &["node", "can-stop", "--url", &url]).1.contains("for good      SAFE TO SWITCH OFF");
    wait_until("it may be switched off", safe);
    let is_safe = |said: &str| said.contains("SAFE TO SWITCH OFF") || said.contains("safe to switch off");
    wait_until("its status says so", || is_safe(&devnet.floe_ok(&["node", "status", "--url", &url])));
    newcomer.kill();
    let owned = || devnet.floe_ok(&["account", "history", &account_of(&devnet, &candidacy)]);
    assert!(owned().contains("at stake: 5,000,000 µWAL"), "{}", owned());
    wait_until("the stake is back", || owned().contains("stake came back"));
    devnet.read_back(1, &id, &kept);
}

/// The owner that a candidacy names.
fn account_of(devnet: &Devnet, candidacy: &str) -> String {
    let text = std::fs::read_to_string(devnet.path().join(candidacy)).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file["owner"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_quoted_is_paid_and_a_budget_goes_on_paying() {
    let _alone = alone();
    let devnet = Devnet::up(4, "3s");
    let key = "devnet/node-1/keys/account.key";
    let (file, path) = (devnet.file("paid", 200_000, 8), devnet.path().join("paid").display().to_string());
    let quoted = devnet.floe_ok(&["quote", &path, "--epochs", "3", "--json"]);
    let quoted: serde_json::Value = serde_json::from_str(&quoted).unwrap();
    let id = devnet.store(1, &file, 3);
    let latest = |limit: &str| {
        let said = devnet.floe_ok(&["account", "history", "--limit", limit, "--json"]);
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    let all = latest("100");
    let entries = all["entries"].as_array().unwrap();
    let registered = entries.iter().find(|entry| entry["what"] == "registered").unwrap();
    assert_eq!(registered["price"], quoted["cost"]);
    assert_eq!(registered["blobId"].as_str(), Some(id.as_str()));
    let first = latest("1");
    assert_eq!(first["entries"].as_array().unwrap().len(), 1);
    let next = first["next"].as_str().unwrap().to_owned();
    let said = devnet.floe_ok(&["account", "history", "--after", &next, "--limit", "1"]);
    assert!(said.split_whitespace().all(|word| word != next), "the page goes on behind {next}: {said}");

    let last = |id: &str| devnet.client(1).blob_status(id).unwrap().term.last_epoch.0;
    let (paid, number) = (last(&id), devnet.client(1).blob_status(&id).unwrap().registration.to_string());
    assert!(devnet.floe_ok(&["renew", &id]).contains("nothing is set aside"));
    let said = devnet.floe_ok(&["renew", &id, "--budget", "0.001WAL", "--key", key]);
    assert!(said.contains("a term at a time") && said.contains("in the block of height"), "{said}");
    wait_until("it is paid for again", || last(&id) > paid);
    let too_much = ["renew", &id, "--budget", "18446744073WAL", "--key", key];
    assert_eq!(code(&devnet, &too_much).0, Some(8));
    let said = devnet.floe_ok(&["renew", "--registration", &number, "--off", "--key", key]);
    assert!(said.contains("nothing is set aside"), "{said}");
    assert!(devnet.floe_ok(&["account", "history"]).contains("set aside for renewals"));

    let node = devnet.client(1).node().unwrap().node.to_string();
    let offer = ["committee", "offer", "--node", &node, "--price", "900FROST", "--key", key];
    let said = devnet.floe_ok(&offer);
    assert!(said.contains("would serve for 0.9 µWAL"), "{said}");
    assert!(devnet.floe_ok(&["price"]).contains("0.9 µWAL"));

    let wrong: [(&[&str], i32); 11] = [
        (&["quote", "no-such-file"], 2),
        (&["quote", ".", "--epochs", "2"], 2),
        (&["quote", "--size", "1PiB"], 2),
        (&["quote", "--size", "5", "--epochs", "8767"], 2),
        (&["renew", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"], 3),
        (&["renew", "--registration", "999999"], 3),
        (&["renew", &id, "--budget", "5", "--key", key], 2),
        (&["renew", &id, "--off", "--key", key], 9),
        (&["account", "history", "zz"], 2),
        (&["committee", "offer", "--node", &node, "--price", "0FROST", "--key", key], 2),
        (&["committee", "offer", "--node", &node, "--price", "5WAL", "--key", "devnet/node-2/keys/account.key"], 9),
    ];
    for (words, wanted) in wrong {
        let (found, said) = code(&devnet, words);
        assert_eq!(found, Some(wanted), "{words:?}: {said}");
    }
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
