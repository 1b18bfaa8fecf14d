//! Which folders are watched. The one place that speaks to the operating system's watcher.
//!
//! On Linux each folder has its own watch: the library's recursive mode misses folders that are made at once with what is in
//! them, and goes on to report a moved folder under its old path. Elsewhere the whole tree is one watch.

use super::{Message, Skip};
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use stacksync_core::values::{ItemPath, Name};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

const ONE_EACH: bool = cfg!(target_os = "linux");
/// Events on their way from the library to us; beyond it they are dropped and all is looked at again.
const EVENTS_MAX: usize = 100_000;

/// Not everything can be watched, for this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit(pub String);

pub(super) struct Folders {
    root: PathBuf,
    skip: Skip,
    folders_max: usize,
    messages: Sender<Message>,
    generation: u64,
    system: Result<System, Limit>,
    watched: BTreeSet<ItemPath>,
}

struct System {
    watcher: RecommendedWatcher,
    waiting: Arc<AtomicUsize>,
}

impl Folders {
    pub fn new(root: PathBuf, skip: Skip, folders_max: usize, messages: Sender<Message>) -> Self {
        let system = System::new(0, &messages);
        Self { root, skip, folders_max, messages, generation: 0, system, watched: BTreeSet::new() }
    }

    /// Number of the present watch; events of an earlier one mean nothing.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// An event was taken from the inbox.
    pub fn taken(&self) {
        if let Ok(system) = &self.system {
            system.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub fn contains(&self, path: &ItemPath) -> bool {
        if ONE_EACH { self.watched.contains(path) } else { self.watched.contains(&ItemPath::top()) }
    }

    /// Ends all watches.
    pub fn clear(&mut self) {
        self.watched.clear();
        self.generation += 1;
        self.system = System::new(self.generation, &self.messages);
    }

    /// The folder at this path is gone or elsewhere, with all below.
    pub fn forget(&mut self, path: &ItemPath) {
        if !ONE_EACH && !path.is_top() {
            return;
        }
        let below = (Bound::Included(path.clone()), Bound::Unbounded);
        let gone: Vec<ItemPath> =
            self.watched.range(below).take_while(|other| other.names().starts_with(path.names())).cloned().collect();
        for path in gone {
            self.watched.remove(&path);
            let full = self.full(&path);
            if let Ok(system) = &mut self.system {
                // An error says that the system has forgotten it already.
                system.watcher.unwatch(&full).ok();
            }
        }
    }

    /// Watches the folder at this path and all below that are not yet watched; tells `found` of each after its watch is in place.
    /// Links are not followed.
    pub fn walk(&mut self, path: &ItemPath, mut found: impl FnMut(&ItemPath)) -> Option<Limit> {
        let is_folder = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
        // The root may be reached through a link; below it links are only links.
        let there = if path.is_top() { self.root.is_dir() } else { is_folder(&self.full(path)) };
        if !there {
            return None;
        }
        let mut next = vec![path.clone()];
        while let Some(path) = next.pop() {
            if !path.is_top() && (self.skip)(&path) {
                continue;
            }
            if !self.watched.contains(&path) {
                match self.add(&path) {
                    Ok(true) => found(&path),
                    Ok(false) => continue,
                    Err(limit) => return Some(limit),
                }
            }
            if ONE_EACH {
                self.push_folders(&path, &mut next);
            }
        }
        None
    }

    fn push_folders(&self, path: &ItemPath, next: &mut Vec<ItemPath>) {
        for entry in std::fs::read_dir(self.full(path)).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Some(name) = entry.file_name().to_str().and_then(|text| Name::new(text).ok())
            {
                next.push(path.join(&name));
            }
        }
    }

    /// `Ok(false)`: this folder alone cannot be watched, for it is gone or cannot be read.
    fn add(&mut self, path: &ItemPath) -> Result<bool, Limit> {
        if self.watched.len() >= self.folders_max {
            return Err(Limit(format!("not more than {} folders are watched{FOUND_LATER}", self.folders_max)));
        }
        let full = self.full(path);
        let mode = if ONE_EACH { RecursiveMode::NonRecursive } else { RecursiveMode::Recursive };
        let system = self.system.as_mut().map_err(|limit| limit.clone())?;
        match system.watcher.watch(&full, mode) {
            Ok(()) => {
                self.watched.insert(path.clone());
                Ok(true)
            }
            Err(error) => match &error.kind {
                ErrorKind::MaxFilesWatch => Err(Limit(format!(
                    "the system does not watch more than {} folders{FOUND_LATER}; to watch all, raise fs.inotify.max_user_watches",
                    self.watched.len()
                ))),
                ErrorKind::Generic(_)
                | ErrorKind::Io(_)
                | ErrorKind::PathNotFound
                | ErrorKind::WatchNotFound
                | ErrorKind::InvalidConfig(_) => {
                    tracing::debug!("not watched: {}: {error}", full.display());
                    Ok(false)
                }
            },
        }
    }

    fn full(&self, path: &ItemPath) -> PathBuf {
        let mut full = self.root.clone();
        full.extend(path.names().iter().map(Name::as_str));
        full
    }
}

const FOUND_LATER: &str = "; changes elsewhere are found by a look at everything each minute";

impl System {
    fn new(generation: u64, messages: &Sender<Message>) -> Result<Self, Limit> {
        let messages = messages.clone();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = waiting.clone();
        let dropped = AtomicU64::new(0);
        let handler = move |event: notify::Result<notify::Event>| {
            if matches!(&event, Ok(event) if is_noise(event)) {
                return;
            }
            let before = counted.fetch_add(1, Ordering::Relaxed);
            if before < EVENTS_MAX {
                messages.send(Message::Event(generation, event)).ok();
            } else {
                counted.fetch_sub(1, Ordering::Relaxed);
                // One message stands for all that are dropped.
                if dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                    let rescan = notify::Event::new(notify::EventKind::Other).set_flag(notify::event::Flag::Rescan);
                    messages.send(Message::Event(generation, Ok(rescan))).ok();
                }
            }
        };
        let config = Config::default().with_follow_symlinks(false);
        let watcher = RecommendedWatcher::new(handler, config)
            .map_err(|error| Limit(format!("the system does not watch folders ({error}){FOUND_LATER}")))?;
        Ok(Self { watcher, waiting })
    }
}

/// Opening and reading, which our own scans do all the time.
fn is_noise(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write)) && !event.need_rescan()
}
