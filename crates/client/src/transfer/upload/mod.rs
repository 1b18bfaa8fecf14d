//! Files of one workspace into its storage.
//!
//! A blocking reader cuts the file and queues each chunk; groups of chunks, of one long file or of many small ones, are asked for
//! and put while it reads on. A chunk takes part in the room for chunk bytes from the moment it is cut until it is stored.

mod bundle;
mod put;
mod read;

use super::Tickets;
use super::gather::{Arrivals, Gatherer};
use super::shared::{LARGE_FILE_BYTES_MIN, Shared, place, work};
use read::Reading;
use stacksync_core::engine::{CallError, Stat, UploadError, Uploaded};
use stacksync_core::values::FileBody;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Uploads files of one workspace. Cheap to clone; many uploads may run at once, each holds its file open.
#[derive(Clone)]
pub struct Uploader {
    shared: Arc<Shared>,
    queue: mpsc::Sender<put::Waiting>,
    arrivals: Arrivals,
}

/// Stops the reader when nobody waits for the upload any more.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Uploader {
    pub(super) fn new(shared: Arc<Shared>, tickets: Arc<dyn Tickets>) -> Self {
        let arrivals = Arrivals::default();
        let (queue, gatherer) = Gatherer::new(arrivals.clone(), |waiting: &put::Waiting| waiting.plain.plain_len());
        tokio::spawn(put_groups(shared.clone(), tickets, gatherer));
        Self { shared, queue, arrivals }
    }

    /// Reads the file to its end and puts the chunks that the storage lacks. They are durable when it returns.
    ///
    /// `file` must be open at its start and be what `expect` describes; what it holds is reported only if that still holds after
    /// the last byte was read. Repeating an upload sends only what the storage lacks by then.
    ///
    /// # Errors
    /// [`UploadError::Changed`] if the file is not, or not any more, as described.
    pub async fn upload(&self, file: File, expect: Stat) -> Result<Uploaded, UploadError> {
        let arrival = self.arrivals.announce();
        let readers = if expect.size >= LARGE_FILE_BYTES_MIN { &self.shared.large_readers } else { &self.shared.small_readers };
        let place = place(readers).await.map_err(CallError::from)?;
        let cancelled = Cancel(Arc::default());
        let (stored, mut outcomes) = mpsc::unbounded_channel();
        let reading = Reading {
            shared: self.shared.clone(),
            queue: self.queue.clone(),
            runtime: tokio::runtime::Handle::current(),
            cancelled: cancelled.0.clone(),
            stored,
            arrival: Some(arrival),
            _place: place,
        };
        let size = expect.size;
        let reader = tokio::task::spawn_blocking(move || reading.run(file, expect));
        // The reader and the chunks on their way hold the other end, so this ends when all of them have.
        while let Some(outcome) = outcomes.recv().await {
            outcome.map_err(CallError::from)?;
        }
        let read = reader.await.map_err(|error| UploadError::Unreadable(format!("the reader stopped: {error}")))??;
        let (file, stat) = (read.file, read.expect);
        let settle = read::settling(&stat);
        if !settle.is_zero() {
            tokio::time::sleep(settle).await;
            let expect = stat.clone();
            let same = work(&self.shared.small_readers, move || read::still(&file, &expect)).await.map_err(CallError::from)?;
            same?;
        }
        let body = FileBody { size, chunks: read.chunks.into(), adler32: read.adler32, executable: stat.executable };
        Ok(Uploaded { body, stat })
    }
}

/// Puts group after group, a few at once, until the uploader is gone.
async fn put_groups(shared: Arc<Shared>, tickets: Arc<dyn Tickets>, mut gatherer: Gatherer<put::Waiting>) {
    while let Some((members, place)) = gatherer.gather().await {
        let group = put::Group::new(shared.clone(), tickets.clone(), members);
        tokio::spawn(async move {
            group.put().await;
            drop(place);
        });
    }
}
