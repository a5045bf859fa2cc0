//! Says where the requests of other nodes go: status to the coordinator, blocks to the block server, challenges to the
//! challenger, fragment streams to the fragments actor. Votes and transactions do not come by here: the coordinator reads those queues itself.

use super::challenger::ChallengerHandle;
use super::coordinator::CoordinatorHandle;
use super::fragments::FragmentsHandle;
use crate::run::Shared;
use actix::{Actor, ActorContext, Context, StreamHandler};
use floe_ledger::evidence::TermLink;
use floe_ledger::snapshot::Outline;
use floe_ledger::{StateError, StateRead, views};
use floe_machines::wire::sync::{self, DecidedBlock, DecidedBlocks, Served};
use floe_network::{Event, MemberAddress, Reply};
use floe_storage::{StorageError, Store};
use floe_types::{Committee, Epoch, Height, NetworkId, NodeId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Block requests served at a time; one more goes unanswered, and the asker tries another node.
pub const BLOCK_REQUESTS_MAX: usize = 8;

/// The routing actor.
pub struct NetworkActor {
    network: NetworkId,
    store: Store,
    coordinator: CoordinatorHandle,
    fragments: FragmentsHandle,
    challenger: ChallengerHandle,
    serving: Arc<Semaphore>,
}

/// Starts routing what comes in by `requests`.
pub fn start(
    shared: &Shared,
    (fragments, challenger): (FragmentsHandle, ChallengerHandle),
    mut requests: mpsc::Receiver<Event>,
) {
    let (network, store, coordinator) = (shared.context.network, shared.store.clone(), shared.coordinator.clone());
    NetworkActor::create(move |context| {
        let requests = futures::stream::poll_fn(move |task| requests.poll_recv(task));
        <NetworkActor as StreamHandler<Event>>::add_stream(requests, context);
        let serving = Arc::new(Semaphore::new(BLOCK_REQUESTS_MAX));
        NetworkActor { network, store, coordinator, fragments, challenger, serving }
    });
}

impl Actor for NetworkActor {
    type Context = Context<Self>;
}

impl StreamHandler<Event> for NetworkActor {
    fn handle(&mut self, event: Event, _context: &mut Context<Self>) {
        match event {
            Event::StatusRequest { bytes, reply, from: _ } => self.coordinator.status_asked(bytes, reply),
            Event::BlocksRequest { bytes, reply, from: _ } => self.serve_blocks(&bytes, reply),
            Event::ChallengeRequest { bytes, reply, from } => self.challenger.asked(from, bytes, reply),
            Event::FragmentStream { from, stream } => self.fragments.serve(from, stream),
            Event::Gossip { .. } | Event::Connected(_) | Event::Disconnected(_) | Event::Listening(_) => {}
        }
    }

    fn finished(&mut self, context: &mut Context<Self>) {
        context.stop();
    }
}

/// Who is to be kept connected, and where: the committee in office and, once it is chosen, the next one, so that its
/// members know each other when their term begins. Addresses are those that nodes said most lately.
///
/// # Errors
/// [`StateError`].
pub fn members(state: &dyn StateRead) -> Result<Vec<MemberAddress>, StateError> {
    let next = views::next_committee(state)?;
    let mut found: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
    for member in views::committee(state)?.members().iter().chain(next.iter().flat_map(Committee::members)) {
        if let Entry::Vacant(place) = found.entry(member.node) {
            let said = views::addresses(state, &member.node)?;
            place.insert(said.unwrap_or_else(|| member.addresses.clone()));
        }
    }
    Ok(found.into_iter().map(|(node, addresses)| MemberAddress { node, addresses }).collect())
}

struct Blocks(Store);

/// What was read; nothing, and a line in the log, when the disk failed.
fn read<T>(what: &'static str, result: Result<Option<T>, StorageError>) -> Option<T> {
    result.unwrap_or_else(|error| {
        tracing::error!(what, %error, "what another node asked for cannot be read");
        None
    })
}

impl DecidedBlocks for Blocks {
    fn decided(&self, height: Height) -> Option<DecidedBlock> {
        let stored = read("block", self.0.block(height))?;
        Some(DecidedBlock { block: stored.block, certificate: stored.certificate })
    }

    fn oldest(&self) -> Height {
        read("oldest height", self.0.oldest_height().map(Some)).unwrap_or(Height(1))
    }
}

impl Served for Blocks {
    fn terms(&self, after: Epoch, bytes_max: usize) -> Vec<TermLink> {
        self.0.terms(after, bytes_max)
    }

    fn outline(&self) -> Option<Outline> {
        read("snapshot", self.0.snapshot_outline())
    }

    fn part(&self, height: Height, index: u32) -> Option<Vec<u8>> {
        read("part of a snapshot", self.0.snapshot_part(height, index))
    }

    fn chunk(&self, height: Height, index: u32) -> Option<Vec<u8>> {
        read("chunk of a snapshot", self.0.snapshot_chunk(height, index))
    }
}

impl NetworkActor {
    fn serve_blocks(&self, bytes: &[u8], reply: Reply) {
        // Busy: no answer, the asker goes on to another node.
        let Ok(permit) = self.serving.clone().try_acquire_owned() else { return };
        let (blocks, network, bytes) = (Blocks(self.store.clone()), self.network, bytes.to_vec());
        tokio::task::spawn_blocking(move || {
            match sync::serve(&blocks, &network, &bytes) {
                // The asker may be gone by now.
                Some(answer) => drop(reply.send(answer)),
                None => reply.reject(),
            }
            drop(permit);
        });
    }
}
