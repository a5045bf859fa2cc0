//! What is counted, declared once: name, help and labels stand in [`catalogue`]; a test compares dashboards with it.
//!
//! Three scopes, kept apart by name: `floe_network_*` is what was decided, equal on every node; `floe_live_*` is what
//! this node sees of the others since; everything else is this node's own and may be summed.

mod catalogue;
mod scrape;

pub use catalogue::{Metrics, NAMES};
pub use scrape::{Scrape, StoreFigures};

use std::io::IsTerminal;

/// Ours from `info` up; of others' libraries only what an operator would want read aloud. The consensus core's `info` is a
/// line a vote; what is published twice on purpose is a warning of gossip's.
const QUIET: &str =
    "warn,libp2p_gossipsub=error,floe=info,floe_node=info,floe_network=info,floe_api=info,floe_storage=info";

/// Sets up the process's log on stderr: `info` unless `FLOE_LOG` says otherwise, as JSON when `FLOE_LOG_FORMAT=json`.
pub fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FLOE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(QUIET));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let set = match std::env::var("FLOE_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().try_init(),
        _ => builder.try_init(),
    };
    // A second start in one process, as in tests, keeps the first log.
    drop(set);
}
