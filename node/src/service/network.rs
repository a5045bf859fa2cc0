//! The network as decided and as seen from here: epochs, committee, accounts.

use super::internal;
use super::look::{Look, verdict_word};
use floe_api::model::{
    AccountView, Amount, Answering, BlobCount, CommitteeView, Connection, Deciding, Decision, EpochView, Margin,
    MemberEpoch, MemberView, NetworkView, QuorumLoss, Time, Verdict, VerdictRecord,
};
use floe_api::{Code, Problem};
use floe_ledger::{EpochRecord, views};
use floe_network::PeerView;
use floe_storage::Store;
use floe_types::{AccountId, Committee, Epoch, MemberIndex, NodeId};
use std::collections::BTreeSet;

/// Epochs that are looked back through for how long a member has been silent.
const SILENCE_EPOCHS_MAX: u64 = 400;
/// The longest certificate that is taken apart for showing who signed.
const CERTIFICATE_BYTES_MAX: usize = 128 << 10;

impl Look<'_> {
    fn shards_of(&self, node: &NodeId) -> u16 {
        let index = self.committee.index_of(node).and_then(|index| self.committee.member(index));
        index.map_or(0, |member| member.shards.len() as u16)
    }

    /// What answers this node now, itself included.
    #[must_use]
    pub fn answering(&self) -> Answering {
        let own = self.shards_of(&self.node);
        let others = self.live.members.iter().filter(|(_, seen)| seen.answering);
        let start = Answering { shards: own, members: u16::from(own > 0) };
        others.fold(start, |sum, (node, _)| Answering {
            shards: sum.shards + self.shards_of(node),
            members: sum.members + 1,
        })
    }

    /// Shards of the largest member that answers now.
    #[must_use]
    pub fn largest_answering(&self) -> u16 {
        let others = self.live.members.iter().filter(|(_, seen)| seen.answering).map(|(node, _)| self.shards_of(node));
        others.chain([self.shards_of(&self.node)]).max().unwrap_or(0)
    }

    /// Whether decisions can be made, as seen from here.
    #[must_use]
    pub fn deciding(&self) -> Deciding {
        let answering = self.answering();
        let quorum = self.committee.quorum();
        if answering.shards >= quorum {
            return Deciding { answering, no_quorum: None };
        }
        // The quorum went with the member whose last answer, counting back, would still have made it.
        let silent = self.live.members.iter().filter(|(_, seen)| !seen.answering);
        let mut silent: Vec<_> =
            silent.map(|(node, seen)| (seen.answered_at.unwrap_or(0), self.shards_of(node))).collect();
        silent.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        let mut shards = answering.shards;
        let lost = silent.into_iter().find(|(_, held)| {
            shards += held;
            shards >= quorum
        });
        let since = lost.map(|(at, _)| at).filter(|at| *at > 0).map_or(Time::from(self.head.time), Time);
        Deciding { answering, no_quorum: Some(QuorumLoss { since }) }
    }

    fn decision(&self, record: &EpochRecord) -> Option<Decision> {
        record.is_decided().then(|| Decision {
            epoch: record.epoch,
            at: record.ended.into(),
            height: record.height,
            verdict_root: hex::encode(record.boundary.verdict_root.0),
        })
    }

    /// The newest epoch that was decided.
    pub(super) fn latest_decided(&self) -> Result<Option<EpochRecord>, Problem> {
        views::latest_decided(self.state).map_err(internal)
    }

    /// The least margin of a defended blob, with its domains.
    pub(super) fn least_margin(&self, record: &EpochRecord) -> Option<Margin> {
        let now = self.thinnest_class().ok().flatten().map(|(_, margin)| margin);
        now.or_else(|| self.thinnest(record))
    }

    pub(super) fn thinnest(&self, record: &EpochRecord) -> Option<Margin> {
        record.boundary.tally.thinnest.as_ref().map(|thinnest| Margin {
            shards: thinnest.margin_shards,
            nodes: thinnest.margin_nodes,
            of_nodes: thinnest.nodes,
            domains: None,
            of_domains: None,
        })
    }

    /// The network.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn network(&self, name: String) -> Result<NetworkView, Problem> {
        let decided = self.latest_decided()?;
        let count = |(verdict, weight): (&floe_ledger::Verdict, &floe_ledger::Weight)| BlobCount {
            verdict: verdict_word(*verdict),
            blobs: weight.blobs,
            bytes: u64::try_from(weight.bytes).unwrap_or(u64::MAX),
        };
        let params = &self.context.params;
        let thinnest = self.thinnest_now()?;
        let known = || decided.as_ref().and_then(|record| self.thinnest(record));
        Ok(NetworkView {
            name,
            network: self.context.network,
            epoch: self.head.epoch,
            epoch_began: self.head.epoch_began.into(),
            next_boundary_about: self.boundary_about(),
            epoch_millis: params.epoch_millis,
            height: self.head.height,
            block_time: self.head.time.into(),
            state_root: hex::encode(self.head.state_root.0),
            members: self.committee.members().len() as u16,
            lines: self.lines(),
            decided: decided.as_ref().and_then(|record| self.decision(record)),
            blobs: decided
                .as_ref()
                .map(|record| record.boundary.tally.verdicts.iter().map(count).collect())
                .unwrap_or_default(),
            ruler: thinnest.map(|(ruler, _)| ruler),
            margin_min: thinnest.map(|(_, margin)| margin).or_else(known),
            deciding: self.deciding(),
            blob_bytes_max: params.blob_bytes_max,
            price: Amount(self.price()?),
            fee_per_byte: Amount(params.fee_per_byte),
            supply: Amount(views::totals(self.state).map_err(internal)?.supply),
        })
    }

    /// The committee of `epoch`; none when that is longer ago than is remembered.
    pub(super) fn committee_in(&self, epoch: Epoch) -> Result<Option<Committee>, Problem> {
        views::committee_of(self.state, self.context.params.term_of(epoch)).map_err(internal)
    }

    /// For each member, decided epochs in a row in which it did not take part, the newest first. What it did before it had
    /// a seat does not count.
    fn silences(&self) -> Result<Vec<u64>, Problem> {
        let members = self.committee.members();
        let mut silences = vec![0u64; members.len()];
        let mut counting: Vec<(usize, NodeId)> = members.iter().map(|member| member.node).enumerate().collect();
        let mut then: Option<Committee> = None;
        for back in 1..=SILENCE_EPOCHS_MAX.min(self.head.epoch.0.saturating_sub(1)) {
            if counting.is_empty() {
                break;
            }
            let epoch = Epoch(self.head.epoch.0 - back);
            let Some(record) = views::epoch_record(self.state, epoch).map_err(internal)? else { break };
            if !record.is_decided() {
                continue;
            }
            let term = self.context.params.term_of(epoch);
            if then.as_ref().is_none_or(|committee| committee.term() != term) {
                then = self.committee_in(epoch)?;
            }
            let Some(committee) = &then else { break };
            let was_absent =
                |node: &NodeId| committee.index_of(node).is_some_and(|index| !record.boundary.answered.contains(index));
            counting.retain(|(_, node)| was_absent(node));
            for (at, _) in &counting {
                if let Some(silence) = silences.get_mut(*at) {
                    *silence += 1;
                }
            }
        }
        Ok(silences)
    }

    /// The committee.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn committee_view(&self, peers: &[PeerView]) -> Result<CommitteeView, Problem> {
        let silences = self.silences()?;
        let connection = |node: &NodeId| {
            let seen = self.live.members.iter().find(|(other, _)| other == node).map(|(_, seen)| seen);
            match seen {
                _ if *node == self.node => Connection::Itself,
                Some(seen) if seen.answering => Connection::Answering,
                _ if peers.iter().any(|peer| peer.node == *node && peer.connected) => Connection::Silent,
                _ => Connection::Disconnected,
            }
        };
        let members = self.committee.members().iter().zip(silences).map(|(member, silent_epochs)| MemberView {
            name: member.name.clone(),
            node: member.node,
            account: member.account,
            vote_key: member.vote_key,
            addresses: member.addresses.clone(),
            domain: member.domain.clone(),
            capacity_bytes: member.capacity_bytes,
            shards: member.shards.clone(),
            silent_epochs,
            connection: connection(&member.node),
        });
        Ok(CommitteeView {
            term: self.committee.term(),
            epoch: self.head.epoch,
            lines: self.lines(),
            faulty: self.committee.faulty(),
            members: members.collect(),
            deciding: self.deciding(),
        })
    }

    /// An epoch: the newest that ended, when none is named.
    ///
    /// # Errors
    /// [`Code::EpochUnknown`], [`Code::Internal`].
    pub fn epoch_view(&self, epoch: Option<Epoch>, store: &Store) -> Result<EpochView, Problem> {
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => self.latest_decided()?.map_or(Epoch(self.head.epoch.0.saturating_sub(1)), |record| record.epoch),
        };
        let unknown = |detail: String| Problem::new(Code::EpochUnknown, detail);
        if epoch.0 == 0 {
            return Err(unknown("no epoch has ended yet".to_owned()));
        }
        if epoch >= self.head.epoch {
            return Err(unknown(format!("epoch {epoch} has not ended; epoch {} is under way", self.head.epoch)));
        }
        let record = views::epoch_record(self.state, epoch).map_err(internal)?;
        let record = record.ok_or_else(|| unknown(format!("epoch {epoch} is longer ago than this node remembers")))?;
        let signers = signers(store, &record)?;
        let committee = self.committee_in(epoch)?.unwrap_or_else(|| self.committee.clone());
        let members = committee.members().iter().enumerate().map(|(at, member)| MemberEpoch {
            name: member.name.clone(),
            node: member.node,
            shards: member.shards.len() as u16,
            answered: record.is_decided().then(|| record.boundary.answered.contains(MemberIndex(at as u16))),
            reported: record.boundary.reporters.contains(MemberIndex(at as u16)),
            signed: signers.contains(&member.vote_key.0),
        });
        let members: Vec<MemberEpoch> = members.collect();
        let boundary = store.block(record.height).map_err(internal)?;
        let header = boundary.and_then(|stored| floe_ledger::Block::decode(&stored.block).ok());
        let verdicts = record.boundary.tally.verdicts.iter();
        Ok(EpochView {
            epoch,
            began: record.began.into(),
            ended_about: record.ended.into(),
            decision: self.decision(&record),
            block: header.as_ref().map(floe_ledger::Block::id),
            state_root: header.as_ref().map(|block| hex::encode(block.header.state_root.0)),
            signed_shards: Some(members.iter().filter(|member| member.signed).map(|member| member.shards).sum()),
            lines: self.lines(),
            verdicts: verdicts.map(|(verdict, weight)| self.verdict_count(&record, *verdict, weight)).collect(),
            members,
        })
    }

    fn verdict_count(
        &self,
        record: &EpochRecord,
        verdict: floe_ledger::Verdict,
        weight: &floe_ledger::Weight,
    ) -> VerdictRecord {
        // The header keeps the thinnest class only; it is the worst verdict that was given.
        let worst = record.boundary.tally.verdicts.keys().next_back() == Some(&verdict);
        VerdictRecord {
            verdict: verdict_word(verdict),
            blobs: weight.blobs,
            bytes: u64::try_from(weight.bytes).unwrap_or(u64::MAX),
            ruler: None,
            margin: self.thinnest(record).filter(|_| worst && verdict_word(verdict) != Verdict::Lost),
        }
    }

    /// An account.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn account(&self, account: AccountId) -> Result<AccountView, Problem> {
        let found = views::account(self.state, &account).map_err(internal)?;
        let member = self.committee.members().iter().find(|member| member.account == account);
        Ok(AccountView {
            account,
            member: member.map(|member| member.name.clone()),
            balance: Amount(found.balance),
            nonce: found.nonce,
            height: self.head.height,
        })
    }
}

/// The vote keys that signed the boundary block's certificate.
fn signers(store: &Store, record: &EpochRecord) -> Result<BTreeSet<[u8; 32]>, Problem> {
    let Some(stored) = store.block(record.height).map_err(internal)? else { return Ok(BTreeSet::new()) };
    let certificate =
        floe_consensus::Certificate::decode(&stored.certificate, CERTIFICATE_BYTES_MAX).map_err(internal)?;
    Ok(certificate.signatures.iter().map(|(key, _)| key.0).collect())
}
