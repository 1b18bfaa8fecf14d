//! Checkpoints: the write-ahead log is copied back into the file beside the writer, by a thread with a connection of its own.
//!
//! A log that grows all the time is never copied whole that way, and only a log that was copied whole starts over. So the thread
//! copies again and again what came meanwhile, until that is little; that little the writer copies himself, between two
//! transactions. Nothing here decides what is durable: a transaction is on the disk, in the log, before anybody is answered.

use super::{OpenError, open};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use stacksync_chunks::crash_point;
use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Pages in the log after which it is copied. Crash tests, whose worlds are small, want it to happen.
const LOG_PAGES: u32 = if cfg!(feature = "crash-points") { 40 } else { 12_000 };
/// Pages that the writer may copy while others wait for him.
const REST_PAGES: i64 = 500;
/// Rounds in which the thread tries to leave the writer no more than that.
const ROUNDS_MAX: usize = 8;
/// Pages in the log after which the writer copies it in any case.
const LOG_PAGES_MAX: u32 = 32_000;

/// The writer's side.
pub(super) struct Checkpoints {
    /// Pages in the log after the last transaction.
    log: Arc<AtomicU32>,
    /// The thread has left little to be copied.
    nearly: Arc<AtomicBool>,
    /// `None` only while it is being dropped.
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Takes the checkpoints of this connection over, which has the file open for writing.
    pub(super) fn start(file: &Path, writer: &mut Connection) -> Result<Self, OpenError> {
        let log = Arc::new(AtomicU32::new(0));
        let reported = Arc::clone(&log);
        let report = move |_: &mut Wal, pages: c_int| {
            reported.store(u32::try_from(pages).unwrap_or(0), Relaxed);
            Ok(())
        };
        // It takes the place of SQLite's own hook, which would copy the log within the transaction's COMMIT.
        let io = |reason: String| OpenError::Io { file: file.to_owned(), reason };
        writer.wal_hook(Some(report)).map_err(|error| io(error.to_string()))?;
        let connection = open::open_reader(file)?;
        let nearly = Arc::new(AtomicBool::new(false));
        // One request is enough, however often it is made.
        let (ask, asked) = sync_channel(1);
        let flag = Arc::clone(&nearly);
        let thread = std::thread::Builder::new()
            .name("db-checkpoint".into())
            .spawn(move || run(&connection, &asked, &flag))
            .map_err(|error| io(error.to_string()))?;
        Ok(Self { log, nearly, ask: Some(ask), thread: Some(thread) })
    }

    /// Between two transactions of the writer.
    pub(super) fn between(&self, writer: &Connection) {
        let log = self.log.load(Relaxed);
        if log >= LOG_PAGES_MAX || (self.nearly.load(Relaxed) && self.nearly.swap(false, Relaxed)) {
            // What cannot be copied now is copied another time.
            let _ = copy(writer);
            self.log.store(0, Relaxed);
        } else if log >= LOG_PAGES
            && let Some(ask) = &self.ask
        {
            // If one waits already, that is enough.
            let _ = ask.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread leaves the log to the writer and to the next start.
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, asked: &Receiver<()>, nearly: &AtomicBool) {
    while asked.recv().is_ok() {
        if nearly.load(Relaxed) {
            continue;
        }
        copy_nearly_all(connection);
        nearly.store(true, Relaxed);
    }
}

/// Copies until little comes meanwhile.
fn copy_nearly_all(connection: &Connection) {
    let mut copied = 0;
    for _ in 0..ROUNDS_MAX {
        match copy(connection) {
            Ok(now) if now - copied > REST_PAGES => copied = now,
            // The next round would find about as little.
            Ok(_) | Err(_) => return,
        }
    }
}

/// Copies what no reader forbids; returns the pages of the log that were ever copied.
fn copy(connection: &Connection) -> rusqlite::Result<i64> {
    crash_point!("db.before-checkpoint");
    let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2));
    crash_point!("db.after-checkpoint");
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(connection: &Connection, pages: u32) {
        let sql = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                   INSERT INTO filler SELECT zeroblob(4000) FROM n";
        connection.execute(sql, [pages]).unwrap();
    }

    #[test]
    fn a_long_log_is_copied_beside_the_writer_and_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.db");
        let mut writer = open::open_writer(&file).unwrap();
        let checkpoints = Checkpoints::start(&file, &mut writer).unwrap();
        writer.execute_batch("CREATE TABLE filler (bytes BLOB)").unwrap();
        checkpoints.between(&writer);
        write(&writer, LOG_PAGES);
        assert!(checkpoints.log.load(Relaxed) >= LOG_PAGES);
        checkpoints.between(&writer);
        while !checkpoints.nearly.load(Relaxed) {
            std::thread::yield_now();
        }
        // It came while the thread was copying.
        write(&writer, 10);
        checkpoints.between(&writer);
        write(&writer, 1);
        assert!(checkpoints.log.load(Relaxed) < 100, "{}", checkpoints.log.load(Relaxed));
    }

    #[test]
    fn a_log_that_nobody_copies_is_copied_by_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.db");
        let mut writer = open::open_writer(&file).unwrap();
        let mut checkpoints = Checkpoints::start(&file, &mut writer).unwrap();
        checkpoints.ask = None;
        writer.execute_batch("CREATE TABLE filler (bytes BLOB)").unwrap();
        write(&writer, LOG_PAGES_MAX);
        checkpoints.between(&writer);
        write(&writer, 1);
        assert!(checkpoints.log.load(Relaxed) < 100, "{}", checkpoints.log.load(Relaxed));
    }
}
