//! Work spread over threads that are started once a call and kept until its end.
//!
//! ```text
//!   Team::with      starts the helpers          a few times ten microseconds each
//!   Team::run_all   wakes them for one step     and returns when every task of it was run
//! ```
//!
//! Tasks are handed out one by one, so a thread that the machine holds up holds up nothing else, and one
//! that cannot be started only leaves its share to the others. An encoding has three steps for every stripe: threads that
//! were started for each would take longer to start than a short step takes.
//!
//! # Unsafe
//! One lifetime is taken off: that of the step's work, which helpers see for as long as the step lasts and no longer.
//! [`Helpers::run`] has the proof.

#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What every thread does in a step, told its number.
type Step<'a> = dyn Fn(usize) + Sync + 'a;

/// How often a helper looks for the next step before it sleeps: some microseconds, about what waking it takes. Steps follow
/// each other closely.
const LOOKS: usize = 200;

/// Threads, each with a worker of its own. The caller's thread is one of them.
pub(crate) struct Team<'t, W> {
    workers: Vec<Mutex<W>>,
    helpers: &'t Helpers,
}

impl<W: Send> Team<'_, W> {
    /// Gives `body` a team of as many threads as there are workers, at least one.
    ///
    /// # Panics
    /// When a task did.
    pub(crate) fn with<R>(
        threads: NonZeroUsize,
        worker: impl Fn() -> W,
        body: impl FnOnce(&mut Team<'_, W>) -> R,
    ) -> R {
        let workers = (0..threads.get()).map(|_| Mutex::new(worker())).collect();
        let helpers = Helpers::default();
        thread::scope(|scope| {
            for number in 1..threads.get() {
                // Without the thread its worker stays idle.
                helpers.lock().count += 1;
                let helpers = &helpers;
                let helper = move || helpers.help(number);
                if thread::Builder::new().spawn_scoped(scope, helper).is_err() {
                    helpers.lock().count -= 1;
                    break;
                }
            }
            // Sends the helpers home, also when `body` panics: else the scope would wait for ever.
            let _dismissal = Dismissal(&helpers);
            body(&mut Team { workers, helpers: &helpers })
        })
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Runs `run` on every task, each time with one of the workers, of which every thread has its own.
    ///
    /// # Errors
    /// The first one of any task. Tasks that were not begun then are not run.
    pub(crate) fn run_all<T: Send, E: Send>(
        &mut self,
        tasks: impl Iterator<Item = T> + Send,
        run: impl Fn(&mut W, T) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        if let [worker] = self.workers.as_mut_slice() {
            let (worker, mut tasks) = (worker.get_mut().unwrap_or_else(PoisonError::into_inner), tasks);
            return tasks.try_for_each(|task| run(worker, task));
        }
        // `None` once a task has failed.
        let tasks = Mutex::new(Some(tasks));
        let failure = Mutex::new(None);
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(Iterator::next);
        self.helpers.run(&|number| {
            // Nobody else has this number: the lock is only what lets a thread change its worker.
            let mut worker = self.workers[number].lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(task) = next() {
                if let Err(error) = run(&mut worker, task) {
                    *tasks.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// The threads beside the caller's, and what they are to do.
#[derive(Default)]
struct Helpers {
    state: Mutex<State>,
    /// Told of a new step, and of the end.
    news: Condvar,
    /// Told when the last helper is done with a step.
    done: Condvar,
    /// How many steps there were: what helpers look at before they sleep. Nothing else hangs on it.
    steps: AtomicU64,
}

#[derive(Default)]
struct State {
    step: Option<&'static Step<'static>>,
    steps: u64,
    /// Helpers that live.
    count: usize,
    /// Helpers that are not done with the step.
    busy: usize,
    over: bool,
}

impl Helpers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `step` once on every thread, and returns when all are done.
    fn run(&self, step: &Step<'_>) {
        // SAFETY: helpers take the step out of the state, and count as busy from before it is put there until they have
        // dropped it. `AllDone` waits, on return as on panic, until none is busy, and takes the step out again. So
        // no copy of the reference outlives this call, which the step itself does.
        let step: &'static Step<'static> = unsafe { std::mem::transmute::<&Step<'_>, &'static Step<'static>>(step) };
        let mut state = self.lock();
        state.step = Some(step);
        state.busy = state.count;
        state.steps += 1;
        self.steps.store(state.steps, Ordering::Relaxed);
        drop(state);
        self.news.notify_all();
        let _all_done = AllDone(self);
        step(0);
    }

    /// The life of a helper.
    fn help(&self, number: usize) {
        let mut seen = 0;
        loop {
            for _ in 0..LOOKS {
                if self.steps.load(Ordering::Relaxed) != seen {
                    break;
                }
                std::hint::spin_loop();
            }
            let step = {
                let mut state = self.lock();
                while state.steps == seen && !state.over {
                    state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.over {
                    return;
                }
                seen = state.steps;
                state.step
            };
            let _done = Done(self);
            if let Some(step) = step {
                step(number);
            }
        }
    }
}

/// Says that a helper is done with a step; when it panicked, that it will not come to the next one.
struct Done<'h>(&'h Helpers);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        if thread::panicking() {
            state.count -= 1;
        }
        if state.busy == 0 {
            self.0.done.notify_one();
        }
    }
}

/// Waits until all helpers are done with a step.
struct AllDone<'h>(&'h Helpers);

impl Drop for AllDone<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        while state.busy > 0 {
            state = self.0.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.step = None;
    }
}

/// Sends the helpers home.
struct Dismissal<'h>(&'h Helpers);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.news.notify_all();
    }
}

/// How many items make a task, so that `threads` threads end at about the same time.
pub(crate) fn share(items: usize, threads: usize) -> usize {
    if threads <= 1 { items } else { items.div_ceil(8 * threads) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team<R>(threads: usize, body: impl FnOnce(&mut Team<'_, u64>) -> R) -> R {
        Team::with(NonZeroUsize::new(threads).unwrap(), || 0, body)
    }

    #[test]
    fn every_task_of_every_step_is_run_once_and_the_first_failure_ends_it() {
        for threads in [1, 2, 5] {
            let workers = team(threads, |team| {
                for _ in 0..50 {
                    // What a step works on may live no longer than the step.
                    let mut tasks = [0; 100];
                    let run = |sum: &mut u64, task: &mut u64| {
                        *sum += 1;
                        *task += 1;
                        Ok::<(), ()>(())
                    };
                    assert_eq!(team.run_all(tasks.iter_mut(), run), Ok(()));
                    assert_eq!(tasks, [1; 100]);
                }
                let fail = |_: &mut u64, task: usize| if task == 50 { Err(task) } else { Ok(()) };
                assert_eq!(team.run_all(0..100, fail), Err(50));
                team.workers.iter().map(|worker| *worker.lock().unwrap()).sum::<u64>()
            });
            assert_eq!(workers, 50 * 100);
        }
    }

    #[test]
    fn panic_of_a_task_ends_the_call_on_whichever_thread_it_is() {
        for threads in [1, 2, 5] {
            for bad in [0, 1, 63] {
                let call = || {
                    team(threads, |team| {
                        for _ in 0..3 {
                            let run = |_: &mut u64, task: usize| {
                                assert_ne!(task, bad);
                                thread::yield_now();
                                Ok::<(), ()>(())
                            };
                            let _ = team.run_all(0..64, run);
                        }
                    });
                };
                assert!(std::panic::catch_unwind(call).is_err());
            }
        }
    }
}
