//! What must never get lost: every content that a device had when it said that it agrees with the service.
//!
//! The files of crash tests are small: each is one chunk, whose name is the hash of the content. So a content is safe when the service's
//! database names that chunk (now or in its history) and the storage holds it unharmed.

use crate::server::Server;
use crate::tree::{Entry, Tree};
use crate::{process, wait};
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

    /// Nothing that was acknowledged is missing in the service. Metadata in PostgreSQL is looked at by [`Self::must_be_copied`] only.
    ///
    /// # Panics
    /// With what is missing.
    pub fn must_be_kept(&mut self, server: &Server) {
        if server.database().is_none() {
            self.must_be_named(&server.data().join("stacksync.db"));
        }
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

    /// The same for the metadata of a server that runs on PostgreSQL: it is stopped, and its own means copy them to a file.
    ///
    /// # Panics
    /// With what is missing.
    pub fn must_be_copied(&self, server: &mut Server) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let to = dir.path().join("copy");
        server.stop();
        // Services that were killed count as running for some seconds.
        wait::until("the metadata can be copied", || {
            let output = server.admin_output(&["copy", "--to", &to.display().to_string()]);
            if output.status.success() { Ok(()) } else { Err(process::printed(&output)) }
        });
        server.start();
        self.must_be_named(&to.join("stacksync.db"));
    }

    fn must_be_named(&self, metadata: &Path) {
        let named = named(metadata);
        let missing = self.acknowledged.iter().find(|content| !named.contains(*content));
        assert_eq!(missing, None, "the service forgot a content that it had acknowledged");
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

/// Everything that the bodies of present and past versions could name: all their stretches of a hash's length.
fn named(database: &Path) -> HashSet<[u8; 32]> {
    let (connection, _copy) = super::checks::open_database(database);
    let sql = "SELECT body FROM items WHERE kind != 1 UNION ALL SELECT body FROM past_versions WHERE kind != 1";
    let mut statement = connection.prepare(sql).expect("the tables are known");
    let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("bodies can be read");
    let mut named = HashSet::new();
    for body in bodies {
        let body = body.expect("a body can be read");
        named.extend(body.windows(32).filter_map(|window| <[u8; 32]>::try_from(window).ok()));
    }
    named
}
