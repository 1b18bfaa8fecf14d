//! What must never get lost: every content that a device had when it said that it agrees with the service.
//!
//! The files of crash tests are small: each is one chunk, whose name is the hash of the content. So a content is safe when the service's
//! database names that chunk (now or in its history) and the storage holds it unharmed.

use crate::postgres::Database;
use crate::server::Server;
use crate::tree::{Entry, Tree};
use stacksync_chunks::pack;
use stacksync_core::values::ChunkName;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

/// Contents by their hash.
pub type Contents = BTreeSet<[u8; 32]>;

/// What is known of contents.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Everything that a person ever had in a folder: nothing else may ever be there.
    pub written: Contents,
    /// What must be there from now on.
    pub acknowledged: Contents,
    /// Chunks that were proven; only their being there is looked at again.
    proven: HashSet<[u8; 32]>,
}

impl Ledger {
    /// People have written this.
    pub fn note_written(&mut self, tree: &Tree) {
        self.written.extend(tree.0.values().filter_map(|entry| match entry {
            Entry::File { hash, .. } => Some(*hash.as_bytes()),
            Entry::Folder | Entry::Link(_) | Entry::Other => None,
        }));
    }

    /// Nothing that was acknowledged is missing in the service. Its database, wherever it is, must be there to be read.
    ///
    /// # Panics
    /// With what is missing.
    pub fn must_be_kept(&mut self, server: &Server) {
        let bodies = match server.database() {
            Some(database) => bodies_in(database),
            None => bodies_in_file(&server.data().join("stacksync.db")),
        };
        let named = named(&bodies);
        let missing = self.acknowledged.iter().find(|content| !named.contains(*content));
        assert_eq!(missing, None, "the service forgot a content that it had acknowledged");
        let files: HashSet<String> =
            server.chunk_files().iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect();
        for content in &self.acknowledged {
            let name = ChunkName::from_bytes(*content).to_string();
            assert!(files.contains(&name), "the storage lost a content that the service had acknowledged: {name}");
        }
        for file in server.chunk_files() {
            prove(&file, &mut self.proven);
        }
    }
}

/// A chunk with a name is whole.
fn prove(file: &Path, proven: &mut HashSet<[u8; 32]>) {
    let name: ChunkName = file.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a chunk's name");
    if !proven.contains(name.as_bytes()) {
        let packed = std::fs::read(file).expect("a chunk can be read").into();
        assert!(pack::unpack(&name, &packed).is_ok(), "a damaged chunk under its name: {}", file.display());
        proven.insert(*name.as_bytes());
    }
}

/// Everything that bodies of versions could name: all their stretches of a hash's length.
fn named(bodies: &[Vec<u8>]) -> HashSet<[u8; 32]> {
    bodies.iter().flat_map(|body| body.windows(32)).filter_map(|window| <[u8; 32]>::try_from(window).ok()).collect()
}

/// Bodies of present and past versions that are no folders.
fn bodies_in_file(database: &Path) -> Vec<Vec<u8>> {
    let (connection, _copy) = super::checks::open_database(database);
    let sql = "SELECT body FROM items WHERE kind != 1 UNION ALL SELECT body FROM past_versions WHERE kind != 1";
    let mut statement = connection.prepare(sql).expect("the tables are known");
    let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("bodies can be read");
    bodies.map(|body| body.expect("a body can be read")).collect()
}

/// The same from PostgreSQL.
fn bodies_in(database: &Database) -> Vec<Vec<u8>> {
    let sql = "SELECT encode(body, 'hex') FROM (SELECT body, kind FROM items UNION ALL SELECT body, kind FROM past_versions) \
               AS versions WHERE kind != 1";
    database.query(sql).iter().map(|line| bytes_of(line)).collect()
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()));
    pairs.map(|byte| byte.expect("the query answers in hexadecimal digits")).collect()
}
