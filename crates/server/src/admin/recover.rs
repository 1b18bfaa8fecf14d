//! The bytes of what the original wrote: read where its containers are, unpacked, proven by their SHA-1, and stored as chunks of ours
//! under the names that the imported versions have.
//!
//! What is there already is left out, so it can be run again. Nothing is written where the original's chunks are.

use super::storage::hurt_files;
use super::{Failure, Report};
use crate::config::{self, Sources, StoragePlace};
use crate::db::Db;
use crate::legacy::chunks;
use futures_util::{StreamExt, stream};
use serde_json::json;
use stacksync_chunks::store::{ChunkStore, Health};
use stacksync_chunks::{original, pack};
use stacksync_core::values::{ChunkName, WorkspaceId};
use stacksync_storage::swift::Swift;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Chunks on their way at once.
const CHUNKS_MAX: usize = 8;

/// Where the original's containers are.
pub enum OldPlace {
    /// A directory with a directory for each container, as `swift download` or rclone make it.
    Folder(PathBuf),
    /// Where they always were.
    Swift(Box<Swift>),
}

/// What could not be brought.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    /// The chunk.
    pub name: ChunkName,
    /// Why not, of the object that the original gave it.
    pub reason: String,
}

/// What became of the chunks of one workspace.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Chunks that are here now.
    pub brought: u64,
    /// Chunks that were here before.
    pub there: u64,
    /// The others.
    pub lost: Vec<Lost>,
}

impl OldPlace {
    /// A directory, or a configuration file that names Swift.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(place: &Path) -> Result<Self, Failure> {
        if place.is_dir() {
            return Ok(Self::Folder(place.to_owned()));
        }
        let sources = Sources { file: Some(place.to_owned()), environment: Vec::new(), options: Vec::new() };
        let config = config::load(&sources).map_err(Failure::command)?;
        let StoragePlace::Swift(swift) = &config.storage.place else {
            return Err(Failure::command("--chunks: give a directory of containers, or a configuration with storage=swift"));
        };
        let swift = Swift::new((**swift).clone(), &config.storage.setup).map_err(Failure::command)?;
        Ok(Self::Swift(Box::new(swift)))
    }

    async fn object(&self, container: &str, object: &str) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Folder(dir) => match std::fs::read(dir.join(container).join(object)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.to_string()),
            },
            Self::Swift(swift) => {
                let found = swift.foreign_object(container, object).await.map_err(|trouble| trouble.to_string())?;
                Ok(found.map(|bytes| bytes.to_vec()))
            }
        }
    }

    /// Objects of this container whose names begin like this.
    async fn objects(&self, container: &str, prefix: &str) -> Result<Vec<String>, String> {
        match self {
            Self::Folder(dir) => {
                let Ok(entries) = std::fs::read_dir(dir.join(container)) else { return Ok(Vec::new()) };
                let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
                Ok(names.filter(|name| name.starts_with(prefix)).collect())
            }
            Self::Swift(swift) => swift.foreign_objects(container, prefix).await.map_err(|trouble| trouble.to_string()),
        }
    }

    /// The plain bytes of a chunk. The original did not always upload a chunk under every name that it gave it: any object with the same
    /// hash will do.
    async fn plain(&self, container: &str, name: &ChunkName, password: Option<&str>) -> Result<Vec<u8>, String> {
        let Some(wanted) = original::object_name(name) else { return Err("it is not the original's".to_owned()) };
        let mut failure = format!("there is no object {wanted} in the container {container}");
        let mut tried = HashSet::new();
        let bare = wanted.get(..44).unwrap_or(&wanted);
        for round in 0..2 {
            let names = match round {
                0 => vec![wanted.clone()],
                _ => self.objects(container, bare).await?,
            };
            for object in names {
                if !tried.insert(object.clone()) {
                    continue;
                }
                match self.object(container, &object).await?.map(|bytes| chunks::unpack(name, &bytes, password)) {
                    Some(Ok(plain)) => return Ok(plain),
                    Some(Err(unreadable)) => failure = format!("the object {object} in the container {container}: {unreadable}"),
                    None => {}
                }
            }
        }
        Err(failure)
    }
}

/// Passwords of encrypted workspaces: lines `WORKSPACE=PASSWORD`; the original kept them on its clients only.
///
/// # Errors
/// A file that cannot be read, or a line that is none.
pub fn passwords(file: &Path) -> Result<HashMap<WorkspaceId, String>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::command(format!("{}: {error}", file.display())))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let parsed = line.split_once('=').and_then(|(id, password)| Some((id.trim().parse().ok()?, password.to_owned())));
            parsed.ok_or_else(|| Failure::command(format!("{}, line {}: not WORKSPACE=PASSWORD", file.display(), number + 1)))
        })
        .collect()
}

/// Brings those of these chunks that are the original's and are not in the store yet.
pub async fn bring(
    store: &dyn ChunkStore,
    from: &OldPlace,
    (workspace, container): (WorkspaceId, &str),
    names: HashSet<ChunkName>,
    password: Option<&str>,
) -> Result<Brought, Failure> {
    let names = names.into_iter().filter(|name| original::object_name(name).is_some());
    let works = names.map(|name| async move {
        if store.check(workspace, name).await.map_err(Failure::command)? == Health::Good {
            return Ok(None);
        }
        let packed = match from.plain(container, &name, password).await {
            Ok(plain) => pack::pack(&plain).map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        match packed {
            Ok(packed) => store.put_batch(workspace, vec![(name, packed)]).await.map(|()| Some(Ok(()))).map_err(Failure::command),
            Err(reason) => Ok(Some(Err(Lost { name, reason }))),
        }
    });
    let mut works = stream::iter(works).buffer_unordered(CHUNKS_MAX);
    let mut sum = Brought::default();
    while let Some(done) = works.next().await {
        match done? {
            None => sum.there += 1,
            Some(Ok(())) => sum.brought += 1,
            Some(Err(lost)) => sum.lost.push(lost),
        }
    }
    sum.lost.sort_by_key(|lost| lost.name);
    Ok(sum)
}

/// Brings the chunks of all these workspaces, and tells what is lost, and which files it hurts.
pub async fn run(
    db: &Db,
    store: &dyn ChunkStore,
    from: &OldPlace,
    containers: &[(WorkspaceId, String)],
    passwords: &HashMap<WorkspaceId, String>,
) -> Result<Report, Failure> {
    let (mut brought, mut there, mut lines, mut rows) = (0, 0, Vec::new(), Vec::new());
    for (workspace, container) in containers {
        let names = db.chunks(*workspace).await?;
        let password = passwords.get(workspace).map(String::as_str);
        let done = bring(store, from, (*workspace, container), names, password).await?;
        (brought, there) = (brought + done.brought, there + done.there);
        let bad: Vec<_> = done.lost.iter().map(|lost| (lost.name, Health::Missing)).collect();
        let hurt = hurt_files(db, *workspace, &bad).await?;
        for lost in done.lost {
            let files: Vec<_> =
                hurt.iter().filter(|(chunks, _)| chunks.contains(&lost.name)).map(|(_, file)| file.clone()).collect();
            let shown = if files.is_empty() { "past versions only".to_owned() } else { files.join(", ") };
            lines.push(format!("  {} (hurts: {shown})", lost.reason));
            rows.push(json!({ "workspace_id": workspace.to_string(), "reason": lost.reason, "files": files }));
        }
    }
    let mut text = format!("\nChunks of the original: {brought} brought, {there} were here already, {} are lost.\n", lines.len());
    if !lines.is_empty() {
        text.push_str(&format!("Lost, whatever is tried:\n{}\n", lines.join("\n")));
    }
    Ok(Report { text, json: json!({ "brought": brought, "there": there, "lost": rows }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::chunks::tests::{DIGITS, PLAIN, encrypted, gzipped};
    use stacksync_chunks::store::MemoryStore;
    use uuid::Uuid;

    const HOME: WorkspaceId = WorkspaceId(Uuid::from_u128(9));

    /// An old container with these objects.
    fn old(objects: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, OldPlace) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("box")).unwrap();
        for (name, bytes) in objects {
            std::fs::write(dir.path().join("box").join(name), bytes).unwrap();
        }
        let place = OldPlace::open(dir.path()).unwrap();
        (dir, place)
    }

    async fn brought(objects: &[(&str, Vec<u8>)], wanted: &str, password: Option<&str>) -> (MemoryStore, ChunkName, Brought) {
        let (_dir, place) = old(objects);
        let (store, name) = (MemoryStore::new(), original::chunk_name(wanted).unwrap());
        let names = HashSet::from([name, ChunkName::of(b"one of ours")]);
        let done = bring(&store, &place, (HOME, "box"), names, password).await.unwrap();
        (store, name, done)
    }

    #[tokio::test]
    async fn a_chunk_is_brought_under_whatever_name_its_bytes_are() {
        let wanted = format!("chk-{DIGITS}--1234567890123456789");
        for (object, bytes, password) in [
            (wanted.clone(), gzipped(), None),
            (wanted.clone(), encrypted(), Some("stacksync")),
            // The original lists it under another number than it was uploaded with, or from before there were numbers.
            (format!("chk-{DIGITS}-77"), gzipped(), None),
            (format!("chk-{DIGITS}"), encrypted(), Some("stacksync")),
        ] {
            let (store, name, done) = brought(&[(&object, bytes)], &wanted, password).await;
            assert_eq!((done.brought, done.lost.len()), (1, 0), "{object}: {done:?}");
            let packed = store.get(HOME, name).await.unwrap().unwrap();
            assert_eq!(pack::unpack(&name, &packed).unwrap(), PLAIN);
        }
    }

    #[tokio::test]
    async fn what_is_lost_is_told_with_its_reason_and_what_is_there_is_left_alone() {
        let wanted = format!("chk-{DIGITS}-5");
        for (objects, password, word) in [
            (vec![], None, "there is no object chk-"),
            (vec![(wanted.as_str(), encrypted())], None, "no password is given"),
            (vec![(wanted.as_str(), encrypted())], Some("wrong"), "the password is another one"),
            (vec![(wanted.as_str(), gzipped()[..20].to_vec())], None, "it is damaged"),
        ] {
            let (_, _, done) = brought(&objects, &wanted, password).await;
            assert_eq!(done.brought, 0);
            assert!(done.lost[0].reason.contains(word), "{done:?}");
        }
        // A damaged one and a whole one of the same hash.
        let objects = [(wanted.as_str(), b"rubbish".to_vec()), (&*format!("chk-{DIGITS}-6"), gzipped())];
        let (_dir, place) = old(&objects);
        let (store, name) = (MemoryStore::new(), original::chunk_name(&wanted).unwrap());
        for expected in [(1, 0), (0, 1)] {
            let done = bring(&store, &place, (HOME, "box"), HashSet::from([name]), None).await.unwrap();
            assert_eq!((done.brought, done.there), expected, "{done:?}");
        }
    }

    #[test]
    fn passwords_are_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{HOME}=with = in it\n\n")).unwrap();
        assert_eq!(passwords(file.path()).unwrap()[&HOME], "with = in it");
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let error = passwords(file.path()).unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
    }
}
