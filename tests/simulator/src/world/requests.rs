//! Status requests, block requests and challenges: bytes there, bytes back, or a failure in good time.

use super::{Event, World};
use crate::identity::node_id;
use bytes::Bytes;
use floe_machines::challenges::{self, AskId};
use floe_machines::coordinator::Input;
use floe_machines::snapshot;
use floe_machines::wire::sync;
use floe_types::NodeId;
use std::collections::BTreeSet;

/// When a status request that was not answered has failed.
const STATUS_MILLIS_MAX: u64 = 2_000;
/// When a block request that was not answered has failed.
const BLOCKS_MILLIS_MAX: u64 = 4_000;

/// Requests that wait for their answer.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    open: BTreeSet<u64>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// For its status.
    Status { nonce: u64 },
    /// For decided blocks.
    Blocks,
    /// For something of a snapshot.
    Snapshot,
    /// To show something.
    Challenge { ask: AskId },
}

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    number: u64,
    asker: usize,
    life: u64,
    /// Whom, by name.
    of: NodeId,
    question: Question,
}

impl Request {
    /// Who asks.
    pub fn asker(&self) -> usize {
        self.asker
    }
}

/// What happens to a request.
#[derive(Debug)]
pub(crate) enum RequestEvent {
    /// It arrives.
    Asked { to: usize, request: Request, bytes: Bytes },
    /// Its answer arrives.
    Answered { request: Request, bytes: Bytes },
    /// It has waited too long, or there was nobody.
    Failed { request: Request },
}

impl World {
    /// Asks the node with this name.
    pub(super) fn ask(&mut self, asker: usize, of: NodeId, question: Question, bytes: Bytes) {
        let (number, life) = (self.serial(), self.nodes[asker].life);
        let patience = match question {
            Question::Status { .. } => STATUS_MILLIS_MAX,
            Question::Blocks | Question::Snapshot => BLOCKS_MILLIS_MAX,
            Question::Challenge { .. } => self.context.params.hard_millis + 1,
        };
        let request = Request { number, asker, life, of, question };
        self.requests.open.insert(number);
        let bytes = self.damaged(asker, &bytes).unwrap_or(bytes);
        if let Some(to) = self.reach(asker, &of) {
            for after in self.network.carry(asker, to) {
                let event = RequestEvent::Asked { to, request: request.clone(), bytes: bytes.clone() };
                self.queue.plan(self.now + after, Event::Request(event));
            }
        }
        self.queue.plan(self.now + patience, Event::Request(RequestEvent::Failed { request }));
    }

    pub(super) fn request_happens(&mut self, event: RequestEvent) {
        match event {
            RequestEvent::Asked { to, request, bytes } => self.asked(to, request, &bytes),
            RequestEvent::Answered { request, bytes } => {
                if self.requests.open.remove(&request.number) && self.waits(&request) {
                    let (from, asker) = (request.of, request.asker);
                    self.trace.mix(self.now, 3, asker, &bytes);
                    let input = match request.question {
                        Question::Status { .. } => Input::StatusAnswered { from, bytes },
                        Question::Blocks => Input::BlocksFetched { from, bytes },
                        Question::Snapshot => {
                            return self.arriving_step(asker, snapshot::Input::Answered { from, bytes });
                        }
                        Question::Challenge { ask } => {
                            return self.challenge_step(asker, challenges::Input::Answered { ask, bytes });
                        }
                    };
                    self.coordinate(asker, input);
                }
            }
            RequestEvent::Failed { request } => {
                if self.requests.open.remove(&request.number) && self.waits(&request) {
                    let (from, asker) = (request.of, request.asker);
                    self.trace.mix(self.now, 4, asker, &from.0);
                    let input = match request.question {
                        Question::Status { nonce } => Input::StatusFailed { from, nonce },
                        Question::Blocks => Input::BlocksFailed { from },
                        Question::Snapshot => return self.arriving_step(asker, snapshot::Input::Failed { from }),
                        Question::Challenge { ask } => {
                            return self.challenge_step(asker, challenges::Input::Failed { ask });
                        }
                    };
                    self.coordinate(asker, input);
                }
            }
        }
    }

    /// Whether whoever asked is still there to hear the answer.
    fn waits(&self, request: &Request) -> bool {
        let it = &self.nodes[request.asker];
        match request.question {
            Question::Snapshot => it.life == request.life && it.arriving.is_some(),
            _ => self.lives(request.asker, request.life),
        }
    }

    fn asked(&mut self, to: usize, request: Request, bytes: &[u8]) {
        let node = &mut self.nodes[to];
        let Some(live) = node.live.as_mut() else {
            // Nobody listens: the asker learns it as soon as the connection is refused.
            self.queue.plan(self.now + 1, Event::Request(RequestEvent::Failed { request }));
            return;
        };
        if let Question::Challenge { .. } = request.question {
            if !self.is_deaf(request.asker) {
                self.challenged(to, request, bytes);
            }
            return;
        }
        let answer = match request.question {
            Question::Challenge { .. } => None,
            Question::Status { .. } => live.coordinator.answer_status(bytes),
            Question::Blocks | Question::Snapshot => sync::serve(&node.disk, &self.context.network, bytes),
        };
        let Some(answer) = answer.filter(|_| !self.is_deaf(request.asker)) else { return };
        self.answer_request((to, request), answer.into(), 0);
    }

    /// Sends the answer to a request, so many milliseconds from now.
    pub(super) fn answer_request(&mut self, (to, request): (usize, Request), answer: Bytes, wait: u64) {
        let asker = request.asker;
        let bytes = self.damaged(to, &answer).unwrap_or(answer);
        debug_assert_eq!(node_id(self.nodes[to].who), request.of);
        for after in self.network.carry(to, asker) {
            let event = RequestEvent::Answered { request: request.clone(), bytes: bytes.clone() };
            self.queue.plan(self.now + wait + after, Event::Request(event));
        }
    }
}
