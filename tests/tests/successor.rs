//! A network of seven loses three for good, more than `f` shards: the four that are left go on by the commands that their operators
//! would type, with real processes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use floe_tests::{Devnet, code, epoch_of, wait_until};
use std::time::Duration;

const LEFT: [u16; 4] = [1, 2, 3, 4];

fn config(node: u16) -> String {
    format!("devnet/node-{node}/floe.toml")
}

/// Runs a command that must fail with a code and say why.
fn refused(devnet: &Devnet, words: &[&str], (wanted, said): (i32, &str)) {
    let (found, all) = code(devnet, words);
    assert_eq!(found, Some(wanted), "{words:?}: {all}");
    assert!(all.contains(said), "{words:?}: {all}");
}

#[test]
fn four_of_seven_go_on_after_three_are_gone_for_good() {
    let devnet = Devnet::up(7, "6s");
    let kept = devnet.file("kept", 300_000, 41);
    let id = devnet.store(1, &kept, 2_000);
    // A term passes, so that there is a snapshot and some of the boundaries have blocks behind them.
    wait_until("a term has passed", || epoch_of(&devnet, 1) >= 6);
    let old = epoch_of(&devnet, 1) - 2;
    devnet.floe_ok(&["audit", &id, "--epoch", &old.to_string(), "-o", "old.proof", "--url", &devnet.url(1)]);

    // Two of seven are eight of 28 shards, f is nine: it goes on.
    devnet.floe_ok(&["devnet", "kill", "node-7", "node-6"]);
    let then = epoch_of(&devnet, 1);
    wait_until("it goes on with five", || epoch_of(&devnet, 1) > then + 1);
    // Unless the machine is slow, the last block is none that ends an epoch: what it moved is not in the successor.
    let account = devnet.client(2).node().unwrap().account.to_string();
    let receiver = |node| devnet.client(node).account(Some(account.parse().unwrap())).unwrap().balance.0.0;
    let before = receiver(1);
    let url = devnet.url(1);
    devnet.floe_ok(&["account", "send", &account, "0.5WAL", "--key", "devnet/node-1/keys/account.key", "--url", &url]);
    devnet.floe_ok(&["devnet", "kill", "node-5"]);
    assert!(receiver(1) >= before + 500_000_000);
    std::thread::sleep(Duration::from_secs(3));
    let stopped = devnet.client(1).network().unwrap().height.0;
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(devnet.client(1).network().unwrap().height.0, stopped, "more than f shards are silent");
    devnet.read_back(1, &id, &kept);
    let last = epoch_of(&devnet, 1);
    refused(&devnet, &["genesis", "survivor", "--config", &config(1)], (2, "in use"));

    // What was left is stopped, for good.
    devnet.floe_ok(&["devnet", "down"]);
    for node in LEFT {
        let file = format!("survivor-{node}.json");
        let said = devnet.floe_ok(&["genesis", "survivor", "--config", &config(node), "-o", &file]);
        assert!(said.contains("boundary   height"), "{said}");
    }
    let boundary = |node: &u16| {
        let text = std::fs::read_to_string(devnet.path().join(format!("survivor-{node}.json"))).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["boundary"].as_u64().unwrap()
    };
    let maker = *LEFT.iter().max_by_key(|node| boundary(node)).unwrap();
    let maker_config = config(maker);
    let make = ["genesis", "successor", "--config", &maker_config, "--name", "second"];
    let three = ["--survivor", "survivor-1.json", "--survivor", "survivor-2.json", "--survivor", "survivor-3.json"];
    refused(&devnet, &[&make[..], &three[..]].concat(), (2, "find no place"));
    let four = ["--survivor", "survivor-4.json", "-o", "second.json", "--state", "second.state"];
    let said = devnet.floe_ok(&[&make[..], &three[..], &four[..]].concat());
    assert!(said.contains("12 of 28 moved"), "{said}");
    assert!(devnet.floe_ok(&["genesis", "show", "second.json"]).contains("goes on    from network"));

    // Whoever stands at the same boundary makes the same of their own data; a meddled one is found.
    let other = *LEFT.iter().find(|node| **node != maker && boundary(node) == boundary(&maker)).unwrap();
    let compared = devnet.floe_ok(&["genesis", "successor", "--config", &config(other), "--compare", "second.json"]);
    assert!(compared.starts_with("the same"), "{compared}");
    let text = std::fs::read_to_string(devnet.path().join("second.json")).unwrap();
    let mut genesis: floe_types::Genesis = serde_json::from_str(&text).unwrap();
    genesis.parent.as_mut().unwrap().begins_with[3] ^= 1;
    std::fs::write(devnet.path().join("meddled.json"), serde_json::to_string(&genesis).unwrap()).unwrap();
    let meddled = ["node", "succeed", "--config", &maker_config, "--genesis", "meddled.json", "--yes"];
    let key = std::fs::read(devnet.path().join("devnet/node-1/keys/identity.key")).unwrap();
    refused(&devnet, &meddled, (2, "the genesis names"));
    assert_eq!(std::fs::read(devnet.path().join("devnet/node-1/keys/identity.key")).unwrap(), key);
    let mut torn = std::fs::read(devnet.path().join("second.state")).unwrap();
    let middle = torn.len() / 2;
    torn[middle] ^= 1;
    std::fs::write(devnet.path().join("torn.state"), torn).unwrap();
    for node in LEFT {
        let config = config(node);
        let succeed = ["node", "succeed", "--config", &config, "--genesis", "second.json", "--yes"];
        if node == 4 {
            // As one that was behind: with the file, and its fragments as they are.
            devnet.floe_ok(&[&succeed[..], &["--state", "second.state"]].concat());
        } else {
            devnet.floe_ok(&succeed);
        }
        // Twice is as good as once.
        devnet.floe_ok(&succeed);
    }
    devnet.floe_ok(&["devnet", "start", "node-1", "node-2", "node-3", "node-4"]);
    wait_until("the successor decides", || epoch_of(&devnet, 1) > last + 2);
    for node in LEFT {
        devnet.read_back(node, &id, &kept);
    }
    if stopped > boundary(&maker) {
        assert!(receiver(1) < before + 500_000_000, "it earned a little, and nobody sent it anything");
    }
    let new = devnet.file("new", 250_000, 42);
    let stored = devnet.store(2, &new, 50);
    devnet.read_back(3, &stored, &new);

    // Old evidence stays valid under the old genesis; new evidence says where it begins.
    devnet.floe_ok(&["verify", "old.proof", "--genesis", "devnet/genesis.json"]);
    refused(&devnet, &["verify", "old.proof", "--genesis", "second.json"], (6, "of network"));
    let judged = devnet.client(1).blob_status(&stored).unwrap().term.first_epoch.0;
    wait_until("its first epoch is decided", || epoch_of(&devnet, 1) > judged + 1);
    let ask = ["audit", &id, "--epoch", &judged.to_string(), "-o", "new.proof", "--url", &devnet.url(1)];
    let said = devnet.floe_ok(&ask);
    assert!(said.contains("YES") && said.contains("seam       this network goes on from"), "{said}");
    let said = devnet.floe_ok(&["verify", "new.proof", "--genesis", "second.json"]);
    assert!(said.contains("this network goes on from"), "{said}");

    // A node that was not there before joins by the same two files.
    let mut newcomer = devnet.prepare(8, "second.json", |text| text);
    let config = newcomer.config();
    let run = devnet.floe(&["node", "run", "--config", &config]);
    assert_eq!(run.status.code(), Some(2));
    let succeed = ["node", "succeed", "--config", &config, "--genesis", "second.json", "--yes", "--state"];
    refused(&devnet, &[&succeed[..], &["old.proof"]].concat(), (2, "not a state file"));
    refused(&devnet, &[&succeed[..], &["torn.state"]].concat(), (2, "torn.state"));
    devnet.floe_ok(&[&succeed[..], &["second.state"]].concat());
    newcomer.start();
    wait_until("the newcomer is ready", || devnet.client(8).ready().is_ok());
    wait_until("it has caught up", || epoch_of(&devnet, 8) >= epoch_of(&devnet, 1));
    devnet.read_back(8, &stored, &new);
}
