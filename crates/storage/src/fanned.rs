//! Chunks as files in folders: `FOLDER/WORKSPACE/aa/NAME`, where `aa` are the first two digits of the name.
//!
//! What FTP and SFTP have in common. A chunk is written under a passing name in `FOLDER/WORKSPACE/tmp` and renamed when it is there as a
//! whole, so a name never stands for part of a chunk. Devices do not come here.

use crate::backend::{Backend, Put, Trouble, When, Work};
use bytes::Bytes;
use stacksync_chunks::store::{Direct, DirectOp, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::time::{Duration, SystemTime};

/// The folder for what is being written.
const PASSING: &str = "tmp";
/// Digits of a name that its folder is called by.
const DIGITS: usize = 2;

/// The verbs of a file server. Each is one attempt.
pub(crate) trait FileServer: Send + Sync + 'static {
    /// Which server this is, for people. No secrets.
    fn title(&self) -> String;

    /// The folder for everything; empty: where one is after logging in.
    fn root(&self) -> &str;

    /// What a folder holds, without itself and its parent; nothing if there is none.
    fn entries(&self, folder: String) -> Work<'_, Vec<Entry>>;

    /// Makes a folder. Where it fails because it is there, or cannot be, that is no error: it shows when something is put into it.
    fn make_folder(&self, path: String) -> Work<'_, ()>;

    /// Removes a folder; no error if it is gone, or something came into it meanwhile.
    fn remove_folder(&self, path: String) -> Work<'_, ()>;

    /// The length of a file, `None` if it is not there.
    fn size(&self, path: String) -> Work<'_, Option<u64>>;

    /// Writes a file under a passing name and renames it; makes the folder that it comes into if need be.
    fn write(&self, passing: String, path: String, bytes: Bytes, when: When) -> Work<'_, Put>;

    /// Reads a file, `None` if it is not there. Empty instead of what is longer than any chunk.
    fn read(&self, path: String) -> Work<'_, Option<Bytes>>;

    /// Removes a file; no error if it is not there.
    fn erase(&self, path: String) -> Work<'_, ()>;
}

/// What a folder holds.
pub(crate) struct Entry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

impl Entry {
    fn stored(&self) -> Option<Stored> {
        Some(Stored { name: self.name.parse().ok()?, bytes: self.bytes, modified: self.modified })
    }
}

fn container_path(root: &str, container: WorkspaceId) -> String {
    if root.is_empty() { container.to_string() } else { format!("{root}/{container}") }
}

fn file_path(root: &str, container: WorkspaceId, name: ChunkName) -> String {
    let name = name.to_string();
    format!("{}/{}/{name}", container_path(root, container), &name[..DIGITS])
}

async fn names(
    server: &impl FileServer,
    container: WorkspaceId,
    after: Option<ChunkName>,
    limit: usize,
) -> Result<Vec<Stored>, Trouble> {
    let folder = container_path(server.root(), container);
    let from = after.map(|after| after.to_string());
    let from = from.as_deref().map_or("", |name| &name[..DIGITS]);
    let mut parts: Vec<String> = server.entries(folder.clone()).await?.into_iter().map(|entry| entry.name).collect();
    parts.retain(|part| part.len() == DIGITS && part.as_str() >= from);
    parts.sort();
    let mut found = Vec::new();
    for part in parts {
        let mut there: Vec<Stored> = server.entries(format!("{folder}/{part}")).await?.iter().filter_map(Entry::stored).collect();
        there.retain(|stored| after.is_none_or(|after| stored.name > after));
        there.sort_by_key(|stored| stored.name);
        found.extend(there);
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

async fn remove_folders(server: &impl FileServer, container: WorkspaceId) -> Result<(), Trouble> {
    let folder = container_path(server.root(), container);
    for entry in server.entries(folder.clone()).await? {
        let part = format!("{folder}/{}", entry.name);
        if entry.name == PASSING {
            for left in server.entries(part.clone()).await? {
                server.erase(format!("{part}/{}", left.name)).await?;
            }
        }
        server.remove_folder(part).await?;
    }
    server.remove_folder(folder).await
}

impl<S: FileServer> Backend for S {
    fn name(&self) -> String {
        self.title()
    }

    fn prepare(&self) -> Work<'_, ()> {
        Box::pin(async move {
            let mut path = String::new();
            for part in self.root().split('/') {
                path.push_str(part);
                if !part.is_empty() {
                    self.make_folder(path.clone()).await?;
                }
                path.push('/');
            }
            self.entries(self.root().to_owned()).await.map(drop)
        })
    }

    fn make_container(&self, container: WorkspaceId) -> Work<'_, ()> {
        Box::pin(async move {
            let folder = container_path(self.root(), container);
            self.make_folder(folder.clone()).await?;
            self.make_folder(format!("{folder}/{PASSING}")).await
        })
    }

    fn remove_container(&self, container: WorkspaceId) -> Work<'_, ()> {
        Box::pin(remove_folders(self, container))
    }

    fn containers(&self) -> Work<'_, Vec<WorkspaceId>> {
        Box::pin(async move {
            let entries = self.entries(self.root().to_owned()).await?;
            Ok(entries.iter().filter_map(|entry| entry.name.parse().ok()).collect())
        })
    }

    fn length(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<u64>> {
        self.size(file_path(self.root(), container, name))
    }

    fn put(&self, container: WorkspaceId, name: ChunkName, packed: Bytes, when: When) -> Work<'_, Put> {
        Box::pin(async move {
            let path = file_path(self.root(), container, name);
            if when == When::Absent && self.size(path.clone()).await?.is_some() {
                return Ok(Put::WasThere);
            }
            let passing = format!("{}/{PASSING}/{}", container_path(self.root(), container), uuid::Uuid::new_v4().simple());
            self.write(passing, path, packed, when).await
        })
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<Bytes>> {
        self.read(file_path(self.root(), container, name))
    }

    fn remove(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, ()> {
        self.erase(file_path(self.root(), container, name))
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Work<'_, Vec<Stored>> {
        Box::pin(names(self, container, after, limit))
    }

    fn direct(&self, _: WorkspaceId, _: DirectOp, _: ChunkName, _: Duration) -> Work<'_, Option<Direct>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
