//! What must hold after a crash and a new start: whole files only, nothing left over, databases in order.

use super::ledger::Contents;
use crate::device::Device;
use crate::server::Server;
use crate::tree::{Entry, Tree};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

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
    let odd: Vec<String> = names(server.data()).into_iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(odd.is_empty(), "left over in the data directory: {odd:?}");
    let temporary = server.data().join("chunks/tmp");
    let owned: Vec<String> = names(&temporary);
    assert!(owned.len() <= 1, "left over among the chunks: {owned:?}");
    for folder in owned {
        let left = names(&temporary.join(folder));
        assert!(left.is_empty(), "left over among the chunks: {left:?}");
    }
    database_is_in_order(&server.data().join("stacksync.db"));
}

/// `PRAGMA integrity_check` and `foreign_key_check`.
///
/// # Panics
/// With what they say.
pub fn database_is_in_order(file: &Path) {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a database opens");
    connection.busy_timeout(std::time::Duration::from_secs(20)).expect("a timeout can be set");
    let said: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap_or_else(|error| error.to_string());
    assert_eq!(said, "ok", "{}", file.display());
    let strays = connection.prepare("PRAGMA foreign_key_check").and_then(|mut check| check.exists([]));
    assert_eq!(strays.ok(), Some(false), "{}: rows without what they refer to", file.display());
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
