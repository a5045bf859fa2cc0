//! Fills the gauges from one look at the node and renders everything as Prometheus text.

use super::Metrics;
use crate::service::Look;
use floe_ledger::{Verdict, views};
use floe_storage::{Statistics, Writes};
use floe_types::{Frost, MemberIndex, NodeId};
use prometheus::{Encoder, TextEncoder};

/// The store's own figures.
pub struct StoreFigures {
    bytes: Vec<(&'static str, u64)>,
    fragments: u64,
    database: Vec<(&'static str, u64)>,
}

impl StoreFigures {
    /// Out of the store's statistics.
    #[must_use]
    pub fn of(statistics: &Statistics) -> StoreFigures {
        let tables = statistics.table_bytes.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
        let (stopped, rate) = match statistics.writes {
            Writes::Free => (0, 0),
            Writes::Slowed { bytes_per_second } => (0, bytes_per_second),
            Writes::Stopped => (1, 0),
        };
        StoreFigures {
            bytes: vec![
                ("live", statistics.kept.bytes),
                ("reserved", statistics.reserve_bytes),
                ("ledger", tables),
                ("free", statistics.disk.free),
                ("cap", statistics.disk.capacity),
            ],
            fragments: statistics.kept.count,
            database: vec![
                ("buffer_bytes", statistics.buffer_bytes),
                ("cache_bytes", statistics.cache_bytes),
                ("pending_compaction_bytes", statistics.pending_compaction_bytes),
                ("blob_file_bytes", statistics.blob_files.bytes),
                ("blob_garbage_bytes", statistics.blob_files.garbage),
                ("writes_stopped", stopped),
                ("delayed_write_bytes_per_second", rate),
                ("background_errors", statistics.background_errors),
                ("journal_entries", statistics.journal_entries),
                ("log_mark_failures", statistics.mark_failures),
            ],
        }
    }
}

/// Everything a scrape shows that is not counted as it happens.
pub struct Scrape<'a> {
    /// Ledger and live view.
    pub look: &'a Look<'a>,
    /// The disk.
    pub store: StoreFigures,
    /// Connected peers by role.
    pub peers: [(&'static str, i64); 2],
    /// What the network counted.
    pub transport: Vec<(&'static str, u64)>,
    /// This node's balance.
    pub balance: Frost,
    /// This node.
    pub node: NodeId,
    /// The network's name.
    pub network_name: &'a str,
}

impl Scrape<'_> {
    /// Everything as text.
    ///
    /// # Errors
    /// The state's or the encoder's words.
    pub fn text(&self, metrics: &Metrics) -> Result<String, Box<dyn std::error::Error>> {
        self.fill_own(metrics);
        self.fill_live(metrics);
        self.fill_network(metrics)?;
        let mut text = Vec::new();
        TextEncoder::new().encode(&metrics.registry.gather(), &mut text)?;
        Ok(String::from_utf8(text)?)
    }

    fn fill_own(&self, metrics: &Metrics) {
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.node_info.with_label_values(&[self.network_name, &self.node.short()]).set(1);
        for (class, bytes) in &self.store.bytes {
            metrics.store_bytes.with_label_values(&[class]).set(*bytes as i64);
        }
        metrics.store_fragments.set(self.store.fragments as i64);
        for (property, value) in &self.store.database {
            metrics.rocksdb.with_label_values(&[property]).set(*value as i64);
        }
        for (role, count) in self.peers {
            metrics.peers.with_label_values(&[role]).set(count);
        }
        for (kind, count) in &self.transport {
            metrics.transport.with_label_values(&[kind]).set(*count as i64);
        }
        metrics.account_frost.set(self.balance.0 as i64);
    }

    fn fill_live(&self, metrics: &Metrics) {
        let look = self.look;
        metrics.consensus_height.set(look.head.height.0 as i64);
        metrics.consensus_waiting.set(look.live.waiting_transactions as i64);
        metrics.live_answering.set(i64::from(look.answering().shards));
        metrics.live_largest.set(i64::from(look.largest_answering()));
        for (node, seen) in &look.live.members {
            metrics.live_absent.with_label_values(&[&node.short()]).set(i64::from(!seen.answering));
        }
    }

    fn fill_network(&self, metrics: &Metrics) -> Result<(), Box<dyn std::error::Error>> {
        let (look, params) = (self.look, &self.look.context.params);
        let seconds = |millis: u64| millis as f64 / 1e3;
        // The ruler of the thinnest blobs is computed once an epoch: it costs an evaluation a member.
        let turned = metrics.network_epoch.get() != look.head.epoch.0 as i64;
        if turned {
            self.fill_ruler(metrics)?;
        }
        metrics.network_epoch.set(look.head.epoch.0 as i64);
        metrics.network_epoch_start.set(seconds(look.head.epoch_began.0));
        metrics.network_epoch_end.set(seconds(look.head.epoch_ends(params).0));
        let lines = [("read", params.readable()), ("decide", params.quorum()), ("total", params.shards)];
        for (line, shards) in lines {
            metrics.network_lines.with_label_values(&[line]).set(i64::from(shards));
        }
        let totals = views::totals(look.state)?;
        let buckets = [
            ("accounts", totals.accounts),
            ("stakes", totals.stakes),
            ("fund", totals.buckets),
            ("pending", totals.pending),
            ("reserve", totals.reserve),
            ("fees", totals.fees),
        ];
        for (bucket, amount) in buckets {
            metrics.network_wal.with_label_values(&[bucket]).set(amount.0 as f64 / 1e9);
        }
        let owed = views::owed(look.state, &self.node)?;
        metrics.debt.set(owed.0 as f64 / 1e9);
        let record = views::latest_decided(look.state)?;
        for verdict in Verdict::ALL {
            let tally = record.as_ref().map(|record| &record.boundary.tally);
            let weight = match verdict {
                Verdict::Invalid => tally.map(|tally| tally.invalid),
                _ => tally.and_then(|tally| tally.verdicts.get(&verdict)).copied(),
            };
            let weight = weight.unwrap_or_default();
            metrics.network_blobs.with_label_values(&[verdict.name()]).set(weight.blobs as i64);
            metrics.network_blob_bytes.with_label_values(&[verdict.name()]).set(weight.bytes as i64);
        }
        let Some(record) = record else { return Ok(()) };
        metrics.network_decided.set(seconds(record.ended.0));
        let then = views::committee_of(look.state, params.term_of(record.epoch))?;
        let members = then.as_ref().unwrap_or(&look.committee).members();
        let took_part = |at: usize| record.boundary.answered.contains(MemberIndex(at as u16));
        let present = (0..members.len()).filter(|at| took_part(*at)).count();
        metrics.network_members.with_label_values(&["answered"]).set(present as i64);
        metrics.network_members.with_label_values(&["absent"]).set((members.len() - present) as i64);
        let held: usize =
            members.iter().enumerate().filter(|(at, _)| took_part(*at)).map(|(_, m)| m.shards.len()).sum();
        metrics.network_shards.with_label_values(&["answered"]).set(held as i64);
        metrics.network_shards.with_label_values(&["absent"]).set(i64::from(params.shards) - held as i64);
        if let Some(thinnest) = &record.boundary.tally.thinnest {
            metrics.network_margin_shards.set(i64::from(thinnest.margin_shards));
            metrics.network_margin_nodes.set(i64::from(thinnest.margin_nodes));
        }
        Ok(())
    }

    /// The line at which repair of the thinnest blobs would begin, and their margin in failure domains.
    fn fill_ruler(&self, metrics: &Metrics) -> Result<(), Box<dyn std::error::Error>> {
        let (state, params) = (self.look.state, &self.look.context.params);
        let Some(class) = views::thinnest(state, params)? else { return Ok(()) };
        metrics.network_margin_domains.set(i64::from(class.domains.domains));
        match views::ruler_of(state, params, &class.record.class)?.and_then(|ruler| ruler.repair) {
            Some(line) => metrics.network_lines.with_label_values(&["repair"]).set(i64::from(line)),
            // No line above what a read needs: none is shown.
            None => drop(metrics.network_lines.remove_label_values(&["repair"])),
        }
        Ok(())
    }
}
