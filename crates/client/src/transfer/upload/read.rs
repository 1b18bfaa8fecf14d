//! Reads one file, cuts it, and queues its chunks. Blocks; proves that the file held still.

use super::super::gather::Arrival;
use super::super::retry::Failure;
use super::super::shared::Shared;
use super::put::Waiting;
use stacksync_chunks::pack::Headed;
use stacksync_core::cut::{Cutter, Total};
use stacksync_core::engine::{CallError, Stat, UploadError};
use stacksync_core::values::{ChunkName, ChunkRef};
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// Two writes within so short a time may leave the same modification time: file systems take it from a clock that ticks.
const TICK_MAX: Duration = Duration::from_millis(20);

/// All that a reader needs.
pub(super) struct Reading {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: mpsc::Sender<Waiting>,
    pub(super) runtime: Handle,
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) stored: mpsc::UnboundedSender<Result<(), Failure>>,
    /// Announces this file's chunks.
    pub(super) arrival: Option<Arrival>,
    /// Its place among those who read.
    pub(super) _place: OwnedSemaphorePermit,
}

/// What was read, while the file was as `expect` says.
pub(super) struct WasRead {
    pub(super) file: File,
    pub(super) expect: Stat,
    pub(super) chunks: Vec<ChunkRef>,
    pub(super) adler32: u32,
}

impl Reading {
    /// Reads to the end; every chunk is queued when it returns.
    pub(super) fn run(mut self, mut file: File, expect: Stat) -> Result<WasRead, UploadError> {
        still(&file, &expect)?;
        let arrival = self.arrival.take();
        let mut chunks = Chunks { reading: &self, chunks: Vec::new(), queued: HashSet::new(), failed: None };
        let total = chunks.cut(&mut file, expect.size, arrival)?;
        let Chunks { chunks, failed, .. } = chunks;
        if let Some(failure) = failed {
            return Err(CallError::from(failure).into());
        }
        if total.size != expect.size {
            return Err(UploadError::Changed);
        }
        still(&file, &expect)?;
        Ok(WasRead { file, expect, chunks, adler32: total.adler32 })
    }
}

struct Chunks<'a> {
    reading: &'a Reading,
    chunks: Vec<ChunkRef>,
    /// A file may hold a chunk many times (long runs of zeros): it is sent once.
    queued: HashSet<ChunkName>,
    failed: Option<Failure>,
}

impl Chunks<'_> {
    fn cut(&mut self, file: &mut File, size: u64, arrival: Option<Arrival>) -> Result<Total, UploadError> {
        let mut cutter = Cutter::new();
        // One byte more than there should be shows a file that grew.
        let room = size.saturating_add(1).min(READ_BYTES as u64) as usize;
        let mut buffer = vec![0; room];
        let mut read = 0_u64;
        loop {
            let count = match file.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count.map_err(|error| UploadError::Unreadable(format!("cannot read the file: {error}")))?,
            };
            read += count as u64;
            if read > size {
                return Err(UploadError::Changed);
            }
            if count == 0 || self.failed.is_some() || self.reading.cancelled.load(Ordering::Relaxed) {
                // Before the last chunk leaves: nobody shall wait for more of this file.
                drop(arrival);
                return Ok(cutter.finish(|chunk, plain| self.queue(chunk, plain)));
            }
            self.reading.shared.meter.add_read(count);
            cutter.feed(&buffer[..count], |chunk, plain| self.queue(chunk, plain));
        }
    }

    fn queue(&mut self, chunk: ChunkRef, plain: &[u8]) {
        self.chunks.push(chunk);
        if self.failed.is_some() || !self.queued.insert(chunk.name) {
            return;
        }
        let Reading { shared, queue, runtime, stored, .. } = self.reading;
        // Not before there is room is the chunk copied out of the cutter.
        let queued = shared.room_blocking(runtime, plain.len()).and_then(|room| {
            // The cutter gives no chunk that is none.
            let plain = Headed::copy_of(plain).map_err(|error| Failure::Refused(error.to_string()))?;
            let waiting = Waiting { chunk, plain, stored: stored.clone(), room };
            queue.blocking_send(waiting).map_err(|_| Failure::NotNow("uploads are over".to_owned()))
        });
        self.failed = queued.err();
    }
}

/// Whether the open file is what was seen.
pub(super) fn still(file: &File, expect: &Stat) -> Result<(), UploadError> {
    let now = file.metadata().map_err(|error| UploadError::Unreadable(format!("cannot look at the file: {error}")))?;
    let same = now.is_file()
        && now.ino() == expect.file.inode
        && now.len() == expect.size
        && modified_ns(&now) == expect.modified.0
        && (expect.changed_ns == 0 || changed_ns(&now) == expect.changed_ns);
    if same { Ok(()) } else { Err(UploadError::Changed) }
}

/// How long until a further write would show in the modification time, if it does not yet.
pub(super) fn settling(stat: &Stat) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
    let age = now - i128::from(stat.modified.0);
    match u64::try_from(age) {
        Ok(age) => TICK_MAX.saturating_sub(Duration::from_nanos(age)),
        // From the future: the clock was moved, which says nothing of the file's age.
        Err(_) => TICK_MAX,
    }
}

fn modified_ns(metadata: &Metadata) -> i64 {
    nanoseconds(metadata.mtime(), metadata.mtime_nsec())
}

fn changed_ns(metadata: &Metadata) -> i64 {
    nanoseconds(metadata.ctime(), metadata.ctime_nsec())
}

const fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
