//! Keeps the house: arrows between crates, libraries where they belong, purity of what decides.
//!
//! The compiler refuses a missing dependency; this refuses one that should not be there.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Crate, folder, which of our crates it may depend on.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("floe-erasure", "protocol/erasure", &[]),
    ("floe-consensus", "protocol/consensus", &[]),
    ("floe-types", "protocol/types", &["floe-erasure"]),
    ("floe-risk", "protocol/risk", &["floe-types"]),
    ("floe-ledger", "protocol/ledger", &["floe-types", "floe-erasure", "floe-risk"]),
    ("floe-machines", "protocol/machines", &["floe-types", "floe-erasure", "floe-ledger", "floe-consensus"]),
    ("floe-storage", "storage", &["floe-types", "floe-erasure", "floe-ledger", "floe-consensus", "floe-machines"]),
    ("floe-network", "node/network", &["floe-types"]),
    ("floe-api", "node/api", &["floe-types"]),
    (
        "floe-simulator",
        "tests/simulator",
        &["floe-types", "floe-erasure", "floe-ledger", "floe-consensus", "floe-machines"],
    ),
];

/// Library (by the beginning of its name), and the only folders that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("rocksdb", &["storage"]),
    ("libp2p", &["node/network"]),
    ("actix-web", &["node/api"]),
    ("arc-malachitebft", &["protocol/consensus"]),
    ("reed-solomon-simd", &["protocol/erasure"]),
    ("blst", &["protocol/types"]),
    ("tokio", &["node", "node/network", "node/api", "tests"]),
    ("actix", &["node", "node/api"]),
];

fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let section = table.get("dependencies").and_then(|section| section.as_table());
    section.map(|section| section.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn arrows_go_one_way() {
    for (name, folder, allowed) in ARROWS {
        let ours: Vec<_> = dependencies(folder).into_iter().filter(|dep| dep.starts_with("floe-")).collect();
        for dependency in ours {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn libraries_are_named_only_at_home() {
    let mut folders: Vec<&str> = ARROWS.iter().map(|(_, folder, _)| *folder).collect();
    folders.extend(["node", "tests"]);
    for folder in folders {
        for dependency in dependencies(folder) {
            for (library, homes) in HOMES {
                let family = dependency == *library || dependency.starts_with(&format!("{library}-"));
                if family && *library != "actix" || dependency == *library {
                    assert!(homes.contains(&folder), "{folder} names {dependency}, which belongs to {homes:?}");
                }
            }
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What nothing in `protocol` may say outside its tests: a clock, a socket, a task, chance, an order that is not one.
const IMPURE: &[&str] = &[
    "SystemTime",
    "Instant::now",
    "std::net",
    "tokio::",
    "async fn",
    "thread_rng",
    "getrandom",
    "HashMap",
    "HashSet",
    "std::env::var",
];

#[test]
fn what_decides_is_pure() {
    let mut found = Vec::new();
    for folder in ["types", "risk", "ledger", "consensus", "machines", "erasure"] {
        sources(&root().join("protocol").join(folder).join("src"), &mut found);
    }
    assert!(found.len() > 40);
    let mut sins: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        // Tests stand at the end of a file or in files of their own.
        let inside = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if inside.contains("test") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let said: Vec<_> = IMPURE.iter().copied().filter(|word| code.contains(word)).collect();
        if !said.is_empty() {
            sins.insert(path.display().to_string(), said);
        }
    }
    assert!(sins.is_empty(), "impure: {sins:#?}");
}

#[test]
fn files_of_substance_have_a_head() {
    let mut found = Vec::new();
    for folder in ["protocol", "storage", "node", "tests"] {
        sources(&root().join(folder), &mut found);
    }
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        if text.lines().count() > 80 {
            assert!(text.starts_with("//!"), "{} has no head", path.display());
        }
    }
}

#[test]
fn dashboards_and_alerts_name_only_metrics_that_exist() {
    let known: BTreeSet<&str> = floe_node::telemetry::NAMES.iter().copied().collect();
    let mut checked = 0;
    for folder in ["dashboards", "deploy"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let Some("json" | "yml" | "yaml") = path.extension().and_then(|extension| extension.to_str()) else {
                continue;
            };
            let text = std::fs::read_to_string(&path).unwrap();
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            for word in words.filter(|word| word.starts_with("floe_")) {
                let base = word.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
                assert!(known.contains(word) || known.contains(base), "{} names {word}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 0, "no board names a metric");
}
