//! What must hold after a crash and a new start: whole files only, nothing left over, databases in order.

use super::ledger::Contents;
use crate::device::Device;
use crate::server::Server;
use crate::tree::{Entry, Tree};
use crate::wait;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Part of every temporary name that the client uses beside a person's files.
const OWN: &str = ".~stacksync-";

/// Every file under a person's name holds something that a person wrote, whole.
///
/// # Panics
/// With the file that does not.
pub fn no_file_is_torn(tree: &Tree, written: &Contents, whose: &str) {
    for (path, entry) in &tree.0 {
        if let Entry::File { len, hash, .. } = entry {
            assert!(
                written.contains(hash.as_bytes()) || path.contains(OWN),
                "{whose}: {path:?} holds {len} bytes that nobody ever wrote"
            );
        }
    }
}

/// After a sync nothing temporary is left, in the folder or in the home, and the state is in order.
///
/// # Panics
/// With what is left over.
pub fn device_is_tidy(device: &Device, tree: &Tree) {
    let left = tree.paths_with(OWN);
    assert!(left.is_empty(), "{}: left over in the folder: {left:?}", device.name());
    let staged = names(&device.home().join("staging"));
    assert!(staged.is_empty(), "{}: left over in the staging folder: {staged:?}", device.name());
    let known =
        ["config.json", "lock", "staging", "state.db", "state.db-shm", "state.db-wal", "state.db.damaged", "token", "trash"];
    let odd: Vec<String> = names(device.home()).into_iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(odd.is_empty(), "{}: left over in the home: {odd:?}", device.name());
    database_is_in_order(&device.home().join("state.db"));
}

/// Nothing temporary is left in the data directory of a server that runs, and its database is in order.
///
/// # Panics
/// With what is left over.
pub fn server_is_tidy(server: &Server) {
    let known = [
        "chunks",
        "format",
        "server.json",
        "server.lock",
        "stacksync.db",
        "stacksync.db-shm",
        "stacksync.db-wal",
        "ticket.key",
        "tls",
    ];
    // A server that is ready may still be writing where it is.
    let odd = || names(server.data()).into_iter().filter(|name| !known.contains(&name.as_str())).collect::<Vec<String>>();
    let gone = wait::try_until(Duration::from_secs(10), || if odd().is_empty() { Ok(()) } else { Err(format!("{:?}", odd())) });
    assert_eq!(gone, Ok(()), "left over in the data directory");
    let temporary = server.data().join("chunks/tmp");
    let owned: Vec<String> = names(&temporary);
    assert!(owned.len() <= 1, "left over among the chunks: {owned:?}");
    for folder in owned {
        // It holds the lock that says whose it is, which nobody but its owner holds.
        let left: Vec<String> = names(&temporary.join(folder)).into_iter().filter(|name| name != "lock").collect();
        assert!(left.is_empty(), "left over among the chunks: {left:?}");
    }
    if server.database().is_none() {
        database_is_in_order(&server.data().join("stacksync.db"));
    }
}

/// `PRAGMA integrity_check` and `foreign_key_check`.
///
/// # Panics
/// With what they say.
pub fn database_is_in_order(file: &Path) {
    let (connection, _copy) = open_database(file);
    let said: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap_or_else(|error| error.to_string());
    assert_eq!(said, "ok", "{}", file.display());
    let strays = connection.prepare("PRAGMA foreign_key_check").and_then(|mut check| check.exists([]));
    assert_eq!(strays.ok(), Some(false), "{}: rows without what they refer to", file.display());
}

/// Opens a database to read it, the log of its last changes included. One on a disk that this process serves (FUSE) is copied first:
/// SQLite would map a part of it into memory, and a process that serves what it maps waits for itself.
///
/// # Panics
/// If it cannot be opened.
pub fn open_database(file: &Path) -> (Connection, Option<tempfile::TempDir>) {
    /// What `statfs` calls FUSE.
    const FUSE: i128 = 0x6573_5546;
    let served = rustix::fs::statfs(file).is_ok_and(|found| i128::from(found.f_type) == FUSE);
    let copy = served.then(|| copied(file));
    let at = copy.as_ref().map_or_else(|| file.to_path_buf(), |copy| copy.path().join("copy"));
    let connection = Connection::open_with_flags(&at, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    connection.busy_timeout(Duration::from_secs(20)).expect("a timeout can be set");
    (connection, copy)
}

fn copied(file: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = file.with_extension("db-wal");
    // The log first: what is copied back from it meanwhile is in both then.
    if log.exists() {
        std::fs::copy(&log, dir.path().join("copy-wal")).expect("a log can be copied");
    }
    std::fs::copy(file, dir.path().join("copy")).expect("a database can be copied");
    dir
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
