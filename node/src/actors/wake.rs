//! What the shells round machines have in common: one timer that follows what the machine wants, channels that end in the
//! actor, and work whose result comes back as a message.

use actix::fut::wrap_future;
use actix::{Actor, AsyncContext, Context, Handler, Message, SpawnHandle};
use std::time::Duration;
use tokio::sync::mpsc;

/// The one timer of an actor, at the time that its machine wants to be woken.
#[derive(Default)]
pub(super) struct Wake {
    set: Option<(u64, SpawnHandle)>,
}

impl Wake {
    /// Moves the timer to `wanted`, by the clock whose time is `now`, both in milliseconds; removes it for `None`. When it is
    /// time, `ring` steps the machine; it begins with [`Wake::rang`].
    pub(super) fn follow<A>(
        &mut self,
        wanted: Option<u64>,
        now: u64,
        context: &mut Context<A>,
        ring: impl FnOnce(&mut A, &mut Context<A>) + 'static,
    ) where
        A: Actor<Context = Context<A>>,
    {
        if wanted == self.set.as_ref().map(|(at, _)| *at) {
            return;
        }
        if let Some((_, handle)) = self.set.take() {
            context.cancel_future(handle);
        }
        if let Some(at) = wanted {
            let after = Duration::from_millis(at.saturating_sub(now).max(1));
            self.set = Some((at, context.run_later(after, ring)));
        }
    }

    /// The timer has rung: there is none.
    pub(super) fn rang(&mut self) {
        self.set = None;
    }
}

/// Waits until `wanted`, by the clock whose time is `now`, both in milliseconds; for `None` forever.
pub(super) async fn due(wanted: Option<u64>, now: u64) {
    match wanted {
        Some(at) => tokio::time::sleep(Duration::from_millis(at.saturating_sub(now).max(1))).await,
        None => std::future::pending().await,
    }
}

/// Sends the actor what comes on `receiver`, until one of them is gone.
pub(super) fn forward<A, T, M>(
    context: &mut Context<A>,
    mut receiver: mpsc::Receiver<T>,
    tell: impl Fn(T) -> M + 'static,
) where
    A: Actor<Context = Context<A>> + Handler<M>,
    T: 'static,
    M: Message<Result = ()> + Send + 'static,
{
    let address = context.address();
    actix::spawn(async move {
        while let Some(item) = receiver.recv().await {
            if address.send(tell(item)).await.is_err() {
                return;
            }
        }
    });
}

/// Spawns `work` beside the actor; what it gives is sent to the actor.
pub(super) fn then_tell<A, M>(context: &mut Context<A>, work: impl Future<Output = Option<M>> + 'static)
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message<Result = ()> + Send + 'static,
{
    let address = context.address();
    context.spawn(wrap_future(async move {
        if let Some(message) = work.await {
            // Closed: the node is stopping.
            let _ = address.send(message).await;
        }
    }));
}
