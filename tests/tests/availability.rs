//! A newcomer's five minutes: a node is gone and nothing is rebuilt, a second one is gone and as little as will do is, too
//! many are gone and decisions wait while reads do not, and what nobody pays for is forgotten. And a disk that rots.
//!
//! Tests here run one after the other: seven nodes share the machine's cores with nobody else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use floe_api::model::{BlobStatus, Facts, Verdict};
use floe_tests::{Devnet, wait_until};
use floe_types::Epoch;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn epoch_of(devnet: &Devnet, node: u16) -> u64 {
    devnet.client(node).network().map_or(0, |network| network.epoch.0)
}

fn status(devnet: &Devnet, id: &str) -> Option<BlobStatus> {
    devnet.client(1).blob_status(id).ok()
}

/// Verdict and held fragments of the newest decision.
fn verdict(devnet: &Devnet, id: &str) -> Option<(Verdict, u16)> {
    let status = status(devnet, id)?;
    Some((status.standing?.verdict, status.ruler?.held))
}

/// Waits for a verdict, longer than for anything else: it takes epochs.
fn decided(devnet: &Devnet, id: &str, what: &str, wanted: impl Fn(Verdict, u16) -> bool) {
    let began = Instant::now();
    while !verdict(devnet, id).is_some_and(|(verdict, held)| wanted(verdict, held)) {
        let said = devnet.floe(&["explain", id]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(began.elapsed() < Duration::from_secs(120), "waited in vain until {what}:\n{said}\n{}", devnet.logs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A counter, summed over the nodes that answer.
fn summed(devnet: &Devnet, nodes: u16, name: &str) -> f64 {
    let of = |node: u16| {
        let text = devnet.client(node).metrics().unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>()
    };
    (1..=nodes).map(of).sum()
}

/// Everything about an epoch that a node has on its ledger after it.
fn state_root(devnet: &Devnet, node: u16, epoch: u64) -> Option<String> {
    devnet.client(node).epoch(Some(Epoch(epoch))).ok()?.state_root
}

fn explained(devnet: &Devnet, what: &str) -> String {
    devnet.floe_ok(&["explain", what])
}

#[test]
fn one_node_gone_costs_nothing_a_second_costs_four_fragments_and_too_many_only_time() {
    let _alone = alone();
    let devnet = Devnet::up(7, "5s");
    let photo = devnet.file("photo.jpg", 10 << 20, 11);
    let id = devnet.store(1, &photo, 36);
    decided(&devnet, &id, "it is intact", |verdict, held| verdict == Verdict::Intact && held == 28);
    assert!(explained(&devnet, &id).contains("every shard is covered and its holder answered"));

    // One is gone: tolerated, and after two more epochs still nothing has moved.
    devnet.floe_ok(&["devnet", "kill", "node-7"]);
    decided(&devnet, &id, "one absence is tolerated", |verdict, held| verdict == Verdict::Tolerated && held == 24);
    let tolerated_in = epoch_of(&devnet, 1);
    wait_until("two more epochs have ended", || epoch_of(&devnet, 1) > tolerated_in + 1);
    assert_eq!(verdict(&devnet, &id), Some((Verdict::Tolerated, 24)));
    assert_eq!(summed(&devnet, 6, "floe_repair_bytes_total"), 0.0, "nothing was moved");
    let said = explained(&devnet, &id);
    assert!(said.contains("node-7") && said.contains("silent") && said.contains("not repaired, on purpose"), "{said}");
    assert!(devnet.floe_ok(&["repair", "status"]).contains("nothing is to be rebuilt"));

    // A second is gone: repair, of the first one's fragments, and no more of them than will do.
    devnet.floe_ok(&["devnet", "kill", "node-6"]);
    decided(&devnet, &id, "repair begins", |verdict, _| verdict == Verdict::Repairing);
    let said = devnet.floe_ok(&["repair", "status"]);
    assert!(said.contains("node-7 is silent") && said.contains("stand-in"), "{said}");
    decided(&devnet, &id, "it is tolerated again", |verdict, held| verdict == Verdict::Tolerated && held >= 24);
    let (_, held) = verdict(&devnet, &id).unwrap();
    assert!((24..=28).contains(&held), "{held} are held");
    let moved = summed(&devnet, 5, "floe_repair_bytes_total");
    let pair = f64::from(10 << 20) * 4.27 / 28.0;
    assert!(moved <= 8.0 * pair * 1.6, "{moved} bytes moved, a pair has {pair}");

    // It comes back: its fragments are as good as ever, and nothing moves.
    devnet.floe_ok(&["devnet", "start", "node-6"]);
    decided(&devnet, &id, "all fragments are held", |verdict, held| {
        verdict == Verdict::Intact || held == 28 || held >= 27
    });
    assert_eq!(summed(&devnet, 6, "floe_repair_bytes_total"), moved, "a return moves nothing");

    // Too many at once: decisions wait, reads do not, and one screen says so.
    devnet.floe_ok(&["devnet", "kill", "node-4", "node-5"]);
    wait_until("the network says that it cannot decide", || {
        let health = devnet.floe(&["health"]);
        health.status.code() == Some(2) && String::from_utf8_lossy(&health.stdout).contains("COMMITTEE_NO_QUORUM")
    });
    devnet.read_back(1, &id, &photo);
    assert!(explained(&devnet, "network").contains("CANNOT DECIDE"));
    devnet.floe_ok(&["devnet", "start", "node-4", "node-5"]);
    let stood_in = epoch_of(&devnet, 1);
    wait_until("decisions go on", || epoch_of(&devnet, 1) > stood_in);
    decided(&devnet, &id, "it is well again", |verdict, held| {
        (verdict == Verdict::Intact || verdict == Verdict::Tolerated) && held >= 24
    });
    devnet.read_back(2, &id, &photo);

    // Every node decided the same, plan and all.
    let last = epoch_of(&devnet, 1) - 1;
    for node in 2..=6 {
        wait_until("the node has caught up", || epoch_of(&devnet, node) > last);
        for epoch in 1..=last {
            let first = state_root(&devnet, 1, epoch);
            assert!(first.is_some() && state_root(&devnet, node, epoch) == first, "epoch {epoch} on node-{node}");
        }
    }

    // And it is forgotten when nobody pays.
    let ends = status(&devnet, &id).unwrap().term.last_epoch.0;
    let began = Instant::now();
    while epoch_of(&devnet, 1) <= ends {
        assert!(began.elapsed() < Duration::from_secs(240), "the term does not end");
        std::thread::sleep(Duration::from_millis(500));
    }
    let read = devnet.floe(&["read", &id, "-o", "late.jpg"]);
    assert_eq!(read.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&read.stderr).contains("BLOB_FORGOTTEN"));
}

#[test]
fn a_store_that_rots_is_noticed_withdrawn_and_healed() {
    let _alone = alone();
    let devnet = Devnet::up(7, "4s");
    let file = devnet.file("kept", 6 << 20, 3);
    let id = devnet.store(1, &file, 100);
    decided(&devnet, &id, "it is intact", |verdict, held| verdict == Verdict::Intact && held == 28);

    // One byte in every four kibibytes of what node-3 has on its disk.
    devnet.floe_ok(&["devnet", "kill", "node-3"]);
    devnet.floe_ok(&["devnet", "start", "node-3"]);
    wait_until("node-3 is back", || devnet.client(3).ready().is_ok());
    devnet.floe_ok(&["devnet", "kill", "node-3"]);
    let mut flipped = 0u64;
    for entry in std::fs::read_dir(devnet.path().join("devnet/node-3/data")).unwrap().flatten() {
        if entry.path().extension().is_none_or(|end| end != "blob") {
            continue;
        }
        let file = std::fs::File::options().read(true).write(true).open(entry.path()).unwrap();
        let length = file.metadata().unwrap().len();
        for at in (4_096..length.saturating_sub(4_096)).step_by(4_096) {
            let mut byte = [0u8];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped > 100, "{flipped} bytes were flipped");
    devnet.floe_ok(&["devnet", "start", "node-3"]);
    wait_until("node-3 is back", || devnet.client(3).ready().is_ok());

    // Whoever meets it first, a reader, a challenger or the node itself: it withdraws.
    wait_until("the damage is noticed", || {
        devnet.read_back(2, &id, &file);
        summed(&devnet, 7, "floe_store_corrupt_fragments_total") >= 1.0
    });
    decided(&devnet, &id, "what is lost is known to be", |_, held| held < 28);
    decided(&devnet, &id, "it is healed", |verdict, held| verdict == Verdict::Intact && held == 28);
    devnet.read_back(3, &id, &file);
    let explanation = devnet.client(1).explain_node(Some(devnet.client(3).node().unwrap().node)).unwrap();
    let Facts::Node(facts) = explanation.facts else { panic!("a node is explained by a node's facts") };
    assert!(facts.reliability > 0.8, "honesty costs no seat");
}
