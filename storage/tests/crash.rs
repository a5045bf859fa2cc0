//! Death in the middle of everything: of the process, for real, and of the machine, by cutting the log where a loss of
//! power may cut it.
//!
//! What a call acknowledged is there afterwards, whole. What was never acknowledged may be there or not, whole. Nothing
//! else is.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{IDENTITY, bytes, config, confirmation, copy, files, keep, key, open, read, record};
use floe_ledger::{ChangeSet, StateRead};
use floe_machines::fragments::FragmentStore;
use floe_storage::{OpenError, Store, Thoroughness};
use floe_types::Height;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const CHILD: &str = "FLOE_STORAGE_CRASHES";
/// Bytes of a fragment: two chunks and a part.
const LENGTH: usize = 700_000;

fn height_changes(height: u64) -> ChangeSet {
    ChangeSet([(b"height".to_vec(), Some(height.to_be_bytes().to_vec()))].into_iter().collect())
}

/// The process that is killed: works as a node does and says on its output what has returned.
#[test]
fn child_works_until_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let store = open(Path::new(&directory));
    let mut out = std::io::stdout();
    let mut say = |line: String| out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
    let begun = store.last_height().unwrap_or_else(|| {
        store.commit_genesis(&height_changes(0)).unwrap();
        Height(0)
    });
    say("\nbegun".to_owned());
    for height in begun.0 + 1.. {
        let votes = store.journal_entries(Height(height)).unwrap().len() as u64;
        for vote in votes..votes + 4 {
            store.journal_append(&[(Height(height), &vote.to_be_bytes())]).unwrap();
            say(format!("vote {height} {vote}"));
        }
        let number = u32::try_from(height).unwrap();
        // One fragment is always arriving and never kept.
        let mut never = store.stage(key(2, number), 1 << 20).unwrap();
        never.append(&bytes(number, LENGTH)).unwrap();
        keep(&store, key(1, number), &bytes(number, LENGTH));
        store.keep_confirmation(&confirmation(number, 1)).unwrap();
        say(format!("kept {number}"));
        store.commit_block(Height(height), &[1; 500], &[2; 100], &height_changes(height)).unwrap();
        say(format!("block {height}"));
        if height % 7 == 0 {
            store.flush().unwrap();
        }
    }
}

/// What the child said had returned.
#[derive(Default, Debug)]
struct Acknowledged {
    block: u64,
    kept: u32,
    vote: Option<(u64, u64)>,
}

fn note(acknowledged: &mut Acknowledged, line: &str) {
    let mut words = line.split(' ');
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    match line.split(' ').next() {
        Some("vote") => {
            number();
            acknowledged.vote = number().zip(number());
        }
        Some("kept") => {
            number();
            acknowledged.kept = u32::try_from(number().unwrap()).unwrap();
        }
        Some("block") => {
            number();
            acknowledged.block = number().unwrap();
        }
        _ => {}
    }
}

fn check(directory: &Path, acknowledged: &Acknowledged) {
    let store = open(directory);
    let last = store.last_height().expect("genesis is there").0;
    assert!(last == acknowledged.block || last == acknowledged.block + 1, "{last} after {acknowledged:?}");
    assert_eq!(store.get(b"height").unwrap(), Some(last.to_be_bytes().to_vec()), "state and block are one step");
    assert_eq!(store.blocks(Height(1), usize::MAX, usize::MAX).unwrap().len() as u64, last);
    if let Some((height, vote)) = acknowledged.vote.filter(|(height, _)| *height > last) {
        let entries = store.journal_entries(Height(height)).unwrap();
        assert!(entries.len() as u64 > vote, "vote {vote} of {height} is gone");
        for (index, entry) in (0u64..).zip(entries) {
            assert_eq!(entry, index.to_be_bytes());
        }
    }
    assert!(store.journal_entries(Height(last)).unwrap().is_empty());
    for number in 1..=acknowledged.kept {
        assert_eq!(read(&store, key(1, number), LENGTH), bytes(number, LENGTH), "fragment {number}");
    }
    let confirmed = store.check_confirmations(None, 10_000, Thoroughness::Records).unwrap();
    assert!(confirmed.checked as u64 >= u64::from(acknowledged.kept) && confirmed.missing.is_empty(), "{confirmed:?}");
    let records = store.records_after(None, 10_000).unwrap();
    assert!(records.iter().all(|record| record.key.group.0 == 1), "what was never kept is not listed");
    drop(store);
    assert_eq!(open(directory).opening().abandoned, 0, "what was arriving was removed by the first opening");
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for round in 0..9u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_works_until_killed", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("begun") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the child has not begun");
        }
        std::thread::sleep(Duration::from_millis(3 + 19 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in output.lines() {
            note(&mut acknowledged, &line.unwrap());
        }
        check(directory.path(), &acknowledged);
    }
    assert!(acknowledged.block > 0, "{acknowledged:?}");
}

fn log_length(directory: &Path) -> u64 {
    files(directory, ".log").pop().unwrap().metadata().unwrap().len()
}

fn cut(directory: &Path, length: u64) {
    let log = files(directory, ".log").pop().unwrap();
    std::fs::OpenOptions::new().write(true).open(log).unwrap().set_len(length).unwrap();
}

/// A store in which a fragment is kept, and after it another is arriving and a third kept; answers the length of the log
/// after each `keep`, and copies the directory as a loss of power would find it at the latest.
fn three_fragments(found: &Path) -> (u64, u64) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit_genesis(&height_changes(0)).unwrap();
    keep(&store, key(1, 1), &bytes(1, LENGTH));
    let first = log_length(directory.path());
    let mut arriving = store.stage(key(1, 2), LENGTH as u64).unwrap();
    arriving.append(&bytes(2, LENGTH)).unwrap();
    let mut staged = store.stage(key(1, 3), LENGTH as u64).unwrap();
    staged.append(&bytes(3, LENGTH)).unwrap();
    copy(directory.path(), found);
    let unsynced = log_length(directory.path());
    store.keep(vec![(record(key(1, 3)), staged)]).unwrap();
    assert!(first < unsynced);
    (first, unsynced)
}

#[test]
fn a_loss_of_power_takes_at_most_what_was_not_synced() {
    let found = tempfile::tempdir().unwrap();
    let (synced, end) = three_fragments(found.path());
    for step in 0..=10 {
        let directory = tempfile::tempdir().unwrap();
        copy(found.path(), directory.path());
        cut(directory.path(), synced + (end - synced) * step / 10);
        let store = open(directory.path());
        assert_eq!(read(&store, key(1, 1), LENGTH), bytes(1, LENGTH), "kept before the cut at step {step}");
        assert_eq!(store.records_after(None, 9).unwrap().len(), 1, "nothing half kept at step {step}");
        assert!(store.opening().abandoned <= 2);
        assert_eq!(store.opening().fragment_bytes, LENGTH as u64);
        // The same fragments can arrive again.
        keep(&store, key(1, 2), &bytes(2, LENGTH));
        assert_eq!(read(&store, key(1, 2), LENGTH), bytes(2, LENGTH));
    }
}

#[test]
fn a_record_that_is_there_has_all_its_chunks_wherever_the_log_is_cut() {
    let whole = tempfile::tempdir().unwrap();
    let store = open(whole.path());
    let begin = log_length(whole.path());
    for number in 1..=4 {
        keep(&store, key(1, number), &bytes(number, LENGTH));
    }
    drop(store);
    let end = log_length(whole.path());
    // The mark would refuse these openings, rightly; here it is taken away to see what the database alone would give.
    std::fs::remove_file(whole.path().join("acknowledged")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..=16 {
        let directory = tempfile::tempdir().unwrap();
        copy(whole.path(), directory.path());
        cut(directory.path(), begin + (end - begin) * step / 16);
        let store = open(directory.path());
        let records = store.records_after(None, 9).unwrap();
        for record in &records {
            assert_eq!(store.verify(record).unwrap(), None, "step {step}");
        }
        seen.insert(records.len());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_cut_below_what_was_synced_is_refused() {
    let found = tempfile::tempdir().unwrap();
    let (synced, _) = three_fragments(found.path());
    cut(found.path(), synced - 1);
    let error = Store::open(found.path(), IDENTITY, config()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::LostWrites { .. }), "{error}");
}

#[test]
fn damage_inside_the_log_is_refused_and_not_skipped() {
    let found = tempfile::tempdir().unwrap();
    let (synced, _) = three_fragments(found.path());
    let log = files(found.path(), ".log").pop().unwrap();
    let mut content = std::fs::read(&log).unwrap();
    content[usize::try_from(synced / 2).unwrap()] ^= 1;
    std::fs::write(&log, content).unwrap();
    let error = Store::open(found.path(), IDENTITY, config()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::LostWrites { .. } | OpenError::Corrupt { .. }), "{error}");
}
