//! Every metric family: its field, type, name, help and labels.

use floe_ledger::Event;
use floe_machines::coordinator::Commit;
use floe_types::units::FROST_PER_WAL;
use floe_types::{AccountId, Frost};
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};
use std::sync::Mutex;
use std::time::Instant;

/// Buckets of every duration, in seconds.
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

trait Family: Sized {
    fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self>;
}

macro_rules! plain {
    ($($kind:ty),*) => {$(
        impl Family for $kind {
            fn make(name: &str, help: &str, _labels: &[&str]) -> prometheus::Result<Self> {
                <$kind>::with_opts(Opts::new(name, help))
            }
        }
    )*};
}

macro_rules! labelled {
    ($($kind:ty),*) => {$(
        impl Family for $kind {
            fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
                <$kind>::new(Opts::new(name, help), labels)
            }
        }
    )*};
}

plain!(IntCounter, IntGauge, Gauge);
labelled!(CounterVec, IntCounterVec, IntGaugeVec, GaugeVec);

impl Family for Histogram {
    fn make(name: &str, help: &str, _labels: &[&str]) -> prometheus::Result<Self> {
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))
    }
}

impl Family for HistogramVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)
    }
}

macro_rules! catalogue {
    ($($field:ident: $kind:ty = $name:literal, $help:literal $(, [$($label:literal),+])?;)*) => {
        /// All families of this node.
        pub struct Metrics {
            pub(crate) registry: Registry,
            last_block: Mutex<Option<Instant>>,
            $(
                #[doc = $help]
                pub $field: $kind,
            )*
        }

        /// The names of all families, for tests that compare boards with them.
        pub const NAMES: &[&str] = &[$($name),*];

        impl Metrics {
            /// All families, registered, at zero.
            ///
            /// # Errors
            /// What the library finds wrong with a name, which a test would have found before.
            pub fn new() -> prometheus::Result<Metrics> {
                let registry = Registry::new();
                registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
                $(
                    let $field = <$kind as Family>::make($name, $help, &[$($($label),+)?])?;
                    registry.register(Box::new($field.clone()))?;
                )*
                let metrics = Metrics { registry, last_block: Mutex::new(None), $($field),* };
                metrics.show_known_labels();
                Ok(metrics)
            }
        }
    };
}

catalogue! {
    build_info: IntGaugeVec = "floe_build_info", "Version of this program, always 1.", ["version"];
    node_info: IntGaugeVec = "floe_node_info", "Network and node this process is, always 1.", ["network", "node"];
    network_epoch: IntGauge = "floe_network_epoch", "The epoch under way.";
    network_epoch_start: Gauge = "floe_network_epoch_start_timestamp_seconds", "Block time at which the epoch began.";
    network_epoch_end: Gauge = "floe_network_epoch_end_expected_timestamp_seconds", "Block time from which the epoch may end.";
    network_decided: Gauge = "floe_network_decided_timestamp_seconds", "Block time of the newest boundary that decided.";
    network_blobs: IntGaugeVec = "floe_network_blobs", "Blobs by the verdict of the newest boundary.", ["verdict"];
    network_blob_bytes: IntGaugeVec = "floe_network_blob_bytes", "Bytes of blobs by the verdict of the newest boundary.", ["verdict"];
    network_margin_shards: IntGauge = "floe_network_margin_min_shards", "Shards that may still go before the thinnest blob cannot be read.";
    network_margin_nodes: IntGauge = "floe_network_margin_min_nodes", "Largest members that may still go before the thinnest blob cannot be read.";
    network_margin_domains: IntGauge = "floe_network_margin_min_domains", "Largest failure domains that may still go before the thinnest blob cannot be read.";
    network_lines: IntGaugeVec = "floe_network_line_shards", "Lines of the ruler in shards.", ["line"];
    network_shards: IntGaugeVec = "floe_network_shards", "Seats by whether their member took part in the epoch last decided.", ["state"];
    network_members: IntGaugeVec = "floe_network_members", "Members by whether they took part in the epoch last decided.", ["state"];
    network_wal: GaugeVec = "floe_network_wal", "Where all WAL is.", ["bucket"];
    live_answering: IntGauge = "floe_live_answering_shards", "Shards of members that answer this node now, its own included.";
    live_largest: IntGauge = "floe_live_largest_member_shards", "Shards of the largest member that answers now.";
    live_absent: IntGaugeVec = "floe_live_member_absent", "Whether a member does not answer this node now.", ["node"];
    consensus_height: IntGauge = "floe_consensus_height", "Height of the newest block.";
    consensus_rounds: IntCounter = "floe_consensus_rounds_total", "Rounds that decisions took.";
    consensus_interval: Histogram = "floe_consensus_block_interval_seconds", "Time between two decisions.";
    consensus_transactions: IntCounter = "floe_consensus_block_transactions_total", "Transactions in decided blocks.";
    consensus_equivocations: IntCounter = "floe_consensus_equivocations_total", "Members caught signing two things for one step.";
    consensus_waiting: IntGauge = "floe_consensus_waiting_transactions", "Transactions waiting here for a block.";
    store_bytes: IntGaugeVec = "floe_store_bytes", "Bytes of this node's disk by use.", ["class"];
    store_fragments: IntGauge = "floe_store_fragments", "Fragments kept here.";
    store_confirmations_broken: IntGauge = "floe_store_broken_confirmations", "Confirmations whose fragments were not there at the last start.";
    store_corrupt: IntCounter = "floe_store_corrupt_fragments_total", "Fragments that were damaged on this node's disk.";
    store_scrubbed: Gauge = "floe_store_scrub_last_completed_timestamp_seconds", "When the store was last read through; 0 until it was.";
    rocksdb: IntGaugeVec = "floe_rocksdb_property", "Properties of the database, by name.", ["property"];
    peers: IntGaugeVec = "floe_peers", "Connected peers.", ["role"];
    transport: IntGaugeVec = "floe_transport_events", "What the network has counted since the start, by kind.", ["kind"];
    fragments_received: IntCounterVec = "floe_fragments_received_total", "Fragments offered to this node, by outcome.", ["outcome"];
    fragments_served: IntCounterVec = "floe_fragments_served_total", "Slivers asked of this node, by outcome.", ["outcome"];
    fragment_bytes: IntCounterVec = "floe_fragment_bytes_total", "Bytes of fragments by direction.", ["direction"];
    handover_bytes: IntCounter = "floe_handover_bytes_total", "Bytes of fragments fetched for shards that came to this node.";
    handover_left: IntGauge = "floe_handover_left_fragments", "Fragments of this node's shards that the last look over the ledger left missing.";
    challenges_sent: IntCounterVec = "floe_challenges_sent_total", "Questions of this node to other members, by what came of them.", ["outcome"];
    challenges_received: IntCounter = "floe_challenges_received_total", "Questions of other members to this node.";
    repair_fragments: IntCounterVec = "floe_repair_fragments_total", "Fragments that this node made again for a right it had, by how.", ["outcome"];
    repair_bytes: IntCounter = "floe_repair_bytes_total", "Bytes that came to this node for rebuilding.";
    repair_left: IntGauge = "floe_repair_left_fragments", "Fragments that this node may rebuild and that the last pass left.";
    stores: IntCounterVec = "floe_gateway_stores_total", "Stores by this gateway's clients, by outcome.", ["outcome"];
    store_seconds: Histogram = "floe_gateway_store_duration_seconds", "Time from a spooled body to its certificate.";
    reads: IntCounterVec = "floe_gateway_reads_total", "Reads by this gateway's clients, by outcome.", ["outcome"];
    read_seconds: Histogram = "floe_gateway_read_first_byte_seconds", "Time to the first verified byte of a read.";
    gateway_bytes: IntCounterVec = "floe_gateway_bytes_total", "Bytes of blobs to and from this gateway's clients.", ["direction"];
    http_requests: IntCounterVec = "floe_http_requests_total", "HTTP requests answered.", ["route", "method", "code"];
    http_seconds: HistogramVec = "floe_http_request_duration_seconds", "Time from a request's head to its answer's.", ["route"];
    earned: CounterVec = "floe_node_earned_wal_total", "What this node earned, by what for.", ["reason"];
    debt: Gauge = "floe_node_debt_wal", "What this node owes the repair reserve.";
    account_frost: IntGauge = "floe_account_frost", "Balance of this node's account in FROST.";
}

/// Labels of counters, from the first scrape on: a counter that appears with its first event hides that event from rates.
const KNOWN_LABELS: &[(&str, &[&str])] = &[
    ("floe_fragments_received_total", &["stored", "busy", "refused"]),
    ("floe_fragments_served_total", &["served", "helped", "not_held"]),
    ("floe_fragment_bytes_total", &["in", "out"]),
    (
        "floe_challenges_sent_total",
        &["passed", "late", "missed", "silent", "shown_again", "missed_again", "shown_to_reader", "missed_by_reader"],
    ),
    ("floe_repair_fragments_total", &["fetched", "rebuilt"]),
    ("floe_gateway_stores_total", &["certified", "existing", "failed"]),
    ("floe_gateway_reads_total", &["complete", "failed", "abandoned"]),
    ("floe_gateway_bytes_total", &["in", "out"]),
];

impl Metrics {
    /// Shows every known label at zero.
    fn show_known_labels(&self) {
        for reason in ["storage", "fees", "repair"] {
            self.earned.with_label_values(&[reason]).inc_by(0.0);
        }
        let counters = [
            &self.fragments_received,
            &self.fragments_served,
            &self.fragment_bytes,
            &self.stores,
            &self.reads,
            &self.gateway_bytes,
        ];
        for (counter, (_, labels)) in counters.into_iter().zip(KNOWN_LABELS) {
            for label in *labels {
                counter.with_label_values(&[label]).inc_by(0);
            }
        }
    }

    /// Counts a decision, and what `account`, this node's, earned with it.
    pub fn committed(&self, commit: &Commit, account: &AccountId) {
        let earned = |reason: &str, amount: Frost| {
            self.earned.with_label_values(&[reason]).inc_by(amount.0 as f64 / FROST_PER_WAL as f64);
        };
        for event in &commit.events {
            match event {
                Event::Earned { account: one, storage, fees, .. } if one == account => {
                    earned("storage", *storage);
                    earned("fees", *fees);
                }
                Event::RepairPaid { account: one, amount, .. } if one == account => earned("repair", *amount),
                _ => {}
            }
        }
        self.consensus_height.set(commit.height.0 as i64);
        self.consensus_rounds.inc_by(u64::from(commit.round) + 1);
        self.consensus_transactions.inc_by(commit.transactions as u64);
        self.consensus_equivocations.inc_by(commit.equivocations.len() as u64);
        // A poisoned lock means that the holder panicked, which ends the process anyway.
        if let Ok(mut last) = self.last_block.lock() {
            let now = Instant::now();
            if let Some(before) = last.replace(now) {
                self.consensus_interval.observe(now.duration_since(before).as_secs_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_registers_under_a_name_of_ours() {
        let metrics = Metrics::new().unwrap();
        assert!(NAMES.iter().all(|name| name.starts_with("floe_")));
        assert!(metrics.registry.gather().len() > 10);
    }
}
