//! This node: what it does, what it has at stake, what it has to keep and how much of that is here.

use super::look::Look;
use super::{NodeService, internal};
use floe_api::Problem;
use floe_api::model::{Amount, DutiesView, NodePhase, NodeView, SnapshotView, StakeView, StoreBytes};
use floe_ledger::RowKind;
use floe_ledger::candidates::{Candidate, Standing};
use floe_ledger::views;
use floe_machines::snapshot::Progress;
use floe_types::{Layout, SequenceNumber};

/// How much of what is missing is counted: blobs on a page, and pages over all shards together. A node that gathers a
/// million blobs is asked every second how far it is.
const GAPS_A_PAGE: usize = 128;
const PAGES_MAX: usize = 64;

impl NodeService {
    /// Everything about this node.
    pub(super) fn node_view(&self, look: &Look<'_>) -> Result<NodeView, Problem> {
        let peers = self.shared.network.peers();
        let statistics = self.shared.store.statistics().map_err(internal)?;
        let member = look.committee.members().iter().find(|member| member.node == self.shared.node);
        let reclaimable = statistics.groups.iter().filter(|(group, _)| *group < look.head.epoch);
        let reclaimable = reclaimable.fold(0, |sum: u64, (_, totals)| sum.saturating_add(totals.bytes));
        let heights = look.live.members.iter().map(|(_, seen)| seen.height);
        let addresses = self.shared.network.listen_addresses();
        let own = addresses.first().and_then(|address| address.rsplit("/p2p/").next()).unwrap_or_default();
        let candidate = views::candidate(look.state, &self.shared.node).map_err(internal)?;
        let stake = candidate.as_ref().map(|candidate| look.stake_view(candidate)).transpose()?;
        let leaves = candidate.as_ref().is_some_and(|one| matches!(one.standing, Standing::Leaving { .. }));
        let snapshot = self.snapshot.borrow().as_ref().and_then(arriving);
        let name = member.map(|member| member.name.clone()).or(candidate.map(|candidate| candidate.name));
        Ok(NodeView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network_name: self.genesis.name.clone(),
            network: self.shared.context.network,
            node: self.shared.node,
            peer: own.to_owned(),
            name: name.unwrap_or_else(|| self.shared.node.short()),
            account: self.account,
            phase: match member {
                _ if look.live.behind || snapshot.is_some() => NodePhase::Syncing,
                _ if leaves => NodePhase::Leaving,
                Some(_) => NodePhase::Member,
                None if stake.is_some() => NodePhase::Candidate,
                None => NodePhase::Observer,
            },
            started: self.started,
            height: look.head.height,
            epoch: look.head.epoch,
            height_seen: heights.fold(look.head.height, std::cmp::Ord::max),
            shards: member.map_or(0, |member| member.shards.len() as u16),
            peers: peers.iter().filter(|peer| peer.connected).count() as u32,
            fragments: statistics.kept.count,
            snapshot,
            stake,
            duties: look.duties()?,
            store: StoreBytes {
                live: statistics.kept.bytes.saturating_sub(reclaimable),
                reclaimable,
                free: statistics.disk.free,
                reserve: statistics.reserve_bytes,
            },
            addresses: addresses.to_vec(),
        })
    }
}

/// A snapshot whose outline is known.
fn arriving(progress: &Progress) -> Option<SnapshotView> {
    let (signed_members, signed_shards) = progress.signed;
    Some(SnapshotView {
        height: progress.height?,
        chunks_kept: progress.kept,
        chunks: progress.chunks,
        bytes: progress.bytes,
        signed_members,
        signed_shards,
    })
}

impl Look<'_> {
    /// How this node stands with its stake, which is that of `candidate`.
    fn stake_view(&self, candidate: &Candidate) -> Result<StakeView, Problem> {
        let params = &self.context.params;
        let elects_with = views::next_election(self.state, params).map_err(internal)?;
        let next = views::next_committee(self.state).map_err(internal)?;
        let seats_next = next.map(|next| {
            let member = next.index_of(&self.node).and_then(|index| next.member(index));
            member.map_or(0, |member| member.shards.len() as u16)
        });
        let leaves = matches!(candidate.standing, Standing::Leaving { .. });
        let for_good = leaves.then(|| self.can_stop(self.node)).transpose()?.map(|view| view.for_good);
        Ok(StakeView {
            stake: Amount(candidate.stake),
            owed: Amount(views::owed(self.state, &self.node).map_err(internal)?),
            candidacy: super::committee::candidacy(candidate.standing),
            elects_with,
            elects_about: self.begin_of(elects_with.next()),
            seats_next,
            for_good,
        })
    }

    /// What this node has to keep by the ledger, and what of it it does not attest; none when it has nothing to keep.
    fn duties(&self) -> Result<Option<DutiesView>, Problem> {
        let rows = views::rows_of(self.state, &self.node).map_err(internal)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let load = views::load(self.state).map_err(internal)?;
        let mut pages = PAGES_MAX;
        let mut duties = DutiesView { counted: true, ..DutiesView::default() };
        for (id, row) in rows {
            let (count, covered) = match row.kind {
                RowKind::Former => {
                    duties.former += 1;
                    continue;
                }
                RowKind::Seat => (&mut duties.seats, &mut duties.seats_covered),
                RowKind::Incoming => (&mut duties.incoming, &mut duties.incoming_covered),
                RowKind::StandIn => {
                    duties.standing_in += 1;
                    continue;
                }
            };
            *count += 1;
            let missing = self.missing_of(id, &mut pages)?;
            *covered += u16::from(missing.counted && missing.fragments == 0);
            duties.bytes = duties.bytes.saturating_add(load.defended);
            duties.missing_bytes = duties.missing_bytes.saturating_add(missing.bytes);
            duties.missing_fragments = duties.missing_fragments.saturating_add(missing.fragments);
            duties.counted &= missing.counted;
        }
        Ok(Some(duties))
    }

    /// Counts what the row `id` does not cover, as long as there are `pages` left.
    fn missing_of(&self, id: floe_ledger::RowId, pages: &mut usize) -> Result<Missing, Problem> {
        let mut missing = Missing { fragments: 0, bytes: 0, counted: false };
        let mut from = Some(SequenceNumber(0));
        while let Some(at) = from.filter(|_| *pages > 0) {
            *pages -= 1;
            let page = views::gaps(self.state, id, at, GAPS_A_PAGE).map_err(internal)?;
            for gap in &page.gaps {
                let layout = Layout::new(self.committee.shards(), gap.length).map_err(internal)?;
                missing.fragments += 1;
                missing.bytes = missing.bytes.saturating_add(layout.fragment_bytes());
            }
            from = page.next;
        }
        missing.counted = from.is_none();
        Ok(missing)
    }
}

/// What a row does not cover.
struct Missing {
    fragments: u64,
    bytes: u64,
    /// Whether that is all.
    counted: bool,
}
