//! What all transfers of this process share, and its limits.

use super::download::Downloader;
use super::http::Http;
use super::pace::Rates;
use super::upload::Uploader;
use super::{Tickets, retry::Failure};
use crate::session::Connector;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Plain bytes of chunks in memory at once, over all transfers of the process: enough to keep all connections busy, and little
/// enough to stay in the processor's cache from cutting to sending. Packed copies of those being sent come on top.
const CHUNK_BYTES_IN_FLIGHT_MAX: usize = 24 * 1024 * 1024;
/// The room for chunk bytes is counted in steps of this many bytes.
const ROOM_STEP_BYTES: usize = 1024;
/// Files longer than this are read by `LARGE_READERS_MAX`, so that they do not hold up the small ones.
pub(super) const LARGE_FILE_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Long files being read at once. Each holds up to 4 MiB beside the chunks in flight.
const LARGE_READERS_MAX: usize = 3;
/// Other files being read at once.
const SMALL_READERS_MAX: usize = 4;
/// Jobs that compress at once.
const PACKERS_MAX: usize = 4;
/// Jobs that verify and write at once.
const WRITERS_MAX: usize = 4;

/// What may differ from one use to another.
#[derive(Clone, Copy, Debug)]
pub struct TransferLimits {
    /// Connections to the storage at once.
    pub connections: usize,
    /// A request during which nothing moves for so long has failed.
    pub patience: Duration,
    /// The first wait before a failed request is repeated; each further one is four times as long.
    pub retry_delay: Duration,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self { connections: 8, patience: Duration::from_secs(30), retry_delay: Duration::from_millis(150) }
    }
}

/// Bytes that went through so far, headers not counted; for progress and statistics.
#[derive(Debug, Default)]
pub struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    read: AtomicU64,
    written: AtomicU64,
}

impl Meter {
    /// Bodies sent to the storage.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bodies received from the storage.
    pub fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Plain bytes read from the user's files for uploading.
    pub fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Plain bytes of files that were fetched, zeros included.
    pub fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// All transfers of this process to one service. Cheap to clone.
#[derive(Clone)]
pub struct Transfer {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) http: Http,
    pub(super) meter: Arc<Meter>,
    pub(super) limits: TransferLimits,
    pub(super) large_readers: Arc<Semaphore>,
    pub(super) small_readers: Arc<Semaphore>,
    pub(super) packers: Arc<Semaphore>,
    pub(super) writers: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

impl Transfer {
    /// Transfers over connections that this makes.
    pub fn new(connector: Connector, limits: TransferLimits) -> Self {
        let meter = Arc::new(Meter::default());
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits));
        Self {
            shared: Arc::new(Shared {
                http: Http::new(connector, limits, meter.clone()),
                meter,
                limits,
                large_readers: semaphore(LARGE_READERS_MAX),
                small_readers: semaphore(SMALL_READERS_MAX),
                packers: semaphore(PACKERS_MAX),
                writers: semaphore(WRITERS_MAX),
                room: semaphore(CHUNK_BYTES_IN_FLIGHT_MAX / ROOM_STEP_BYTES),
            }),
        }
    }

    /// Uploads files of one workspace. Must be called within the runtime.
    pub fn uploader(&self, tickets: Arc<dyn Tickets>) -> Uploader {
        Uploader::new(self.shared.clone(), tickets)
    }

    /// Downloads files of one workspace. Must be called within the runtime.
    pub fn downloader(&self, tickets: Arc<dyn Tickets>) -> Downloader {
        Downloader::new(self.shared.clone(), tickets)
    }

    /// How fast bytes may go from now on, over all transfers.
    pub fn limit(&self, rates: Rates) {
        self.shared.http.limit(rates);
    }

    /// What went through so far.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }
}

#[cfg(test)]
impl Transfer {
    /// How fast bytes may go now.
    pub(crate) fn rates(&self) -> Rates {
        self.shared.http.rates()
    }

    pub(super) fn room_left(&self) -> usize {
        self.shared.room.available_permits()
    }

    pub(super) fn room_max(&self) -> usize {
        CHUNK_BYTES_IN_FLIGHT_MAX / ROOM_STEP_BYTES
    }
}

impl Shared {
    /// Room for so many chunk bytes; given back when dropped. Waits for it, first come first served.
    pub(super) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        // A chunk is at most 2 MiB long, so it fits.
        take(&self.room, bytes.div_ceil(ROOM_STEP_BYTES) as u32).await
    }

    /// The same for a thread that may block.
    pub(super) fn room_blocking(&self, runtime: &Handle, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let at_once = self.room.clone().try_acquire_many_owned(bytes.div_ceil(ROOM_STEP_BYTES) as u32);
        at_once.or_else(|_| runtime.block_on(self.room(bytes)))
    }
}

/// A place among those who do a limited thing.
pub(super) async fn place(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    take(semaphore, 1).await
}

/// So many places at once, first come first served.
pub(super) async fn take(semaphore: &Arc<Semaphore>, permits: u32) -> Result<OwnedSemaphorePermit, Failure> {
    let permit = semaphore.clone().acquire_many_owned(permits).await;
    // Never closed; if it were, transfers would be over.
    permit.map_err(|closed| Failure::NotNow(closed.to_string()))
}

/// Runs blocking work on a thread for it, within a limit. The place is taken until the work ends, even if nobody waits for it.
pub(super) async fn work<T: Send + 'static>(
    semaphore: &Arc<Semaphore>,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let permit = place(semaphore).await?;
    let job = move || {
        let result = job();
        drop(permit);
        result
    };
    tokio::task::spawn_blocking(job).await.map_err(|error| Failure::NotNow(format!("a worker stopped: {error}")))
}
