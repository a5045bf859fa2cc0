//! Admits stores and reads and starts a task for each.

use super::ingress::{Read, Stop, Store};
use super::spool::Spool;
use super::{Parts, problems, range, read, store};
use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler};
use floe_machines::upload::UploadRecord;
use std::sync::Arc;

/// The gateway's switchboard.
pub(super) struct GatewayActor {
    parts: Arc<Parts>,
    unfinished: Vec<(UploadRecord, Spool)>,
    stores: usize,
    reads: usize,
}

impl GatewayActor {
    pub(super) fn new(parts: Arc<Parts>, unfinished: Vec<(UploadRecord, Spool)>) -> GatewayActor {
        GatewayActor { parts, unfinished, stores: 0, reads: 0 }
    }
}

impl Actor for GatewayActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        for (record, spool) in std::mem::take(&mut self.unfinished) {
            tracing::info!(blob = %record.blob, "going on with an interrupted upload");
            context.spawn(wrap_future(store::resume(Arc::clone(&self.parts), record, spool)));
        }
    }
}

impl Handler<Store> for GatewayActor {
    type Result = ();

    fn handle(&mut self, Store { request, reply }: Store, context: &mut Context<Self>) {
        if self.stores >= self.parts.config.stores_max {
            let _ = reply.send(Err(problems::overloaded("stores")));
            return;
        }
        self.stores += 1;
        let (task, answered) = store::run(Arc::clone(&self.parts), request, reply);
        context.spawn(wrap_future::<_, Self>(task));
        // The place is free again when the client has its answer; what is done after that has its own bound.
        let free = wrap_future::<_, Self>(answered).map(|_, actor, _| actor.stores -= 1);
        context.spawn(free);
    }
}

impl Handler<Read> for GatewayActor {
    type Result = ();

    fn handle(&mut self, Read { head, range, body }: Read, context: &mut Context<Self>) {
        if self.reads >= self.parts.config.reads_max {
            let _ = body.try_send(Err(problems::overloaded("reads")));
            return;
        }
        self.reads += 1;
        let parts = Arc::clone(&self.parts);
        let task = async move {
            match range {
                None => {
                    let whole = 0..head.length;
                    read::run(parts, head, whole, body).await;
                }
                Some(wanted) => range::run(parts, head, wanted, body).await,
            }
        };
        context.spawn(wrap_future::<_, Self>(task).map(|(), actor, _| actor.reads -= 1));
    }
}

impl Handler<Stop> for GatewayActor {
    type Result = ();

    fn handle(&mut self, _stop: Stop, context: &mut Context<Self>) {
        context.stop();
    }
}
