//! Changes of the disk, many at a time: whoever waits is taken together, so that one wait for the disk serves all.
//!
//! An outcome is delivered only when it is durable: what the state remembers is never ahead of the disk.

use crate::disk::{Disk, Job};
use stacksync_core::engine::{Applied, ApplyError};
use tokio::sync::{mpsc, oneshot};

/// Jobs that one wait serves.
const BATCH_MAX: usize = 256;
/// Jobs that wait for their turn.
const QUEUE_MAX: usize = 2 * BATCH_MAX;

struct Waiting {
    job: Job,
    done: oneshot::Sender<Result<Applied, ApplyError>>,
}

/// Applies jobs to one workspace's folder, on a thread of its own. Cheap to clone; the thread ends with the last one.
#[derive(Clone)]
pub struct Applier {
    queue: mpsc::Sender<Waiting>,
}

impl Applier {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system has no thread for us.
    pub fn start(disk: Disk) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        std::thread::Builder::new().name("apply".into()).spawn(move || apply_all(&disk, waiting))?;
        Ok(Self { queue })
    }

    /// Carries a job out; its outcome is durable.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn apply(&self, job: Job) -> Result<Applied, ApplyError> {
        let (done, outcome) = oneshot::channel();
        // The thread is gone only if it panicked: nothing is known then, so the disk has to be looked at again.
        if self.queue.send(Waiting { job, done }).await.is_err() {
            return Err(ApplyError::Changed);
        }
        outcome.await.unwrap_or(Err(ApplyError::Changed))
    }
}

fn apply_all(disk: &Disk, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        let (jobs, done): (Vec<_>, Vec<_>) = batch.drain(..).map(|waiting| (waiting.job, waiting.done)).unzip();
        for (done, outcome) in done.into_iter().zip(disk.apply(jobs)) {
            let _ = done.send(outcome);
        }
    }
}
