//! Work spread over threads that live as long as the call.
//!
//! Tasks are handed out one by one, so a thread that the machine holds up holds up nothing else, and one
//! that cannot be started only leaves its share to the others.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Runs `run` on every task, each time with one of the `workers`, of which every thread has its own. The
/// caller's thread is one of them.
///
/// # Errors
/// The first one of any task. Tasks that were not begun then are not run.
pub(crate) fn run_all<W: Send, T: Send, E: Send>(
    workers: &mut [W],
    tasks: impl Iterator<Item = T> + Send,
    run: impl Fn(&mut W, T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let Some((own, others)) = workers.split_first_mut() else {
        return Ok(());
    };
    if others.is_empty() {
        let mut tasks = tasks;
        return tasks.try_for_each(|task| run(own, task));
    }
    // `None` once a task has failed.
    let tasks = Mutex::new(Some(tasks));
    let failure = Mutex::new(None);
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(Iterator::next);
    let work = |worker: &mut W| {
        while let Some(task) = next() {
            if let Err(error) = run(worker, task) {
                *tasks.lock().unwrap_or_else(PoisonError::into_inner) = None;
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for worker in others {
            // Without the thread its worker stays idle.
            if thread::Builder::new().spawn_scoped(scope, || work(worker)).is_err() {
                break;
            }
        }
        work(own);
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// How many items make a task, so that `threads` threads end at about the same time.
pub(crate) fn share(items: usize, threads: usize) -> usize {
    if threads <= 1 { items } else { items.div_ceil(4 * threads) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_run_once_and_the_first_failure_ends_it() {
        for threads in [1, 2, 5] {
            let mut workers = vec![0; threads];
            let mut tasks = [0; 100];
            let run = |sum: &mut u64, task: &mut u64| {
                *sum += 1;
                *task += 1;
                Ok::<(), ()>(())
            };
            assert_eq!(run_all(&mut workers, tasks.iter_mut(), run), Ok(()));
            assert_eq!(tasks, [1; 100]);
            assert_eq!(workers.iter().sum::<u64>(), 100);
            let fail = |_: &mut u64, task: usize| if task == 50 { Err(task) } else { Ok(()) };
            assert_eq!(run_all(&mut workers, 0..100, fail), Err(50));
        }
    }
}
