//! Threads of their own for work that blocks: disk, hashing, coding. Bounded in threads and in what waits.
//!
//! Who has work waits for a place, so that a slow disk slows down those who use it and nobody else. A job that panics ends
//! the process, as any panic does.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Workers {
    jobs: SyncSender<Job>,
    places: Arc<Semaphore>,
}

/// The pool is gone: the node is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopping;

impl Workers {
    /// Starts `threads` threads called `name`, for which at most `waiting_max` jobs wait at a time; more wait with whoever
    /// has them.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str, threads: usize, waiting_max: usize) -> io::Result<Workers> {
        let places = threads.max(1) + waiting_max;
        let (jobs, queue) = sync_channel::<Job>(places);
        let queue = Arc::new(Mutex::new(queue));
        for at in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("{name}-{at}")).spawn(move || work(&queue))?;
        }
        Ok(Workers { jobs, places: Arc::new(Semaphore::new(places)) })
    }

    /// Runs `job` on one of the threads. When the caller leaves meanwhile, the job still ends, and its result is dropped.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Stopping> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Stopping)?;
        let (sender, result) = oneshot::channel();
        let job = Box::new(move || {
            // The caller may have left.
            let _ = sender.send(job());
            drop(place);
        });
        // There are as many places in the queue as there are permits.
        self.jobs.try_send(job).map_err(|_| Stopping)?;
        result.await.map_err(|_| Stopping)
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn never_more_jobs_run_than_there_are_threads_and_all_end() {
        let workers = Workers::start("test", 2, 1).unwrap();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let job = |value: usize| {
            let (running, most, workers) = (running.clone(), most.clone(), workers.clone());
            async move {
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                    value
                };
                workers.run(work).await
            }
        };
        let results = futures::future::join_all((0..20).map(job)).await;
        assert_eq!(results, (0..20).map(Ok).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 2);
    }
}
