//! Watches a workspace's folder: hints that something may have changed somewhere, nothing more.
//!
//! Whatever is reported here is looked at by a scan; whatever is missed here is found by the periodic rescan. So hints may be too
//! many, late or wrong, but a folder that appears is reported after its watch is in place, so that nothing falls between.
//! Must never read what files hold, and never wait for whoever takes the hints.

mod folders;
mod pending;

use folders::{Folders, Limit};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind};
use pending::Pending;
use stacksync_core::values::{ItemPath, Name};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Hints waiting to be taken; more are merged into the next one.
const HINTS_MAX: usize = 16;
/// How often everything is reported as touched while not all folders can be watched.
const RESCAN_EVERY: Duration = Duration::from_secs(60);
/// How often it is tried to watch a root folder that was lost.
const ROOT_EVERY: Duration = Duration::from_secs(5);
/// Folders watched at most by one workspace.
const FOLDERS_MAX: usize = 1_000_000;

/// Something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// At these paths, or directly in the folders at these paths.
    Touched(Vec<ItemPath>),
    /// Anywhere: changes were missed, the ignore rules changed, or not everything can be watched.
    All,
    /// Not everything is watched from now on; a sentence for people. Changes are found by a rescan every minute.
    Limited(String),
    /// Everything is watched (again).
    Complete,
}

/// Which folders need no watch. Asked once for each folder that is found.
pub type Skip = Arc<dyn Fn(&ItemPath) -> bool + Send + Sync>;

/// Keeps a watch on a folder; dropping it ends the watch.
#[derive(Debug)]
pub struct Watcher {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) enum Message {
    /// From the operating system, with the generation of the watch that it is from.
    Event(u64, notify::Result<Event>),
    Follow(ItemPath),
    Stop,
}

/// Watches everything below `root` (absolute), but for what `skip` names. Blocks until all watches are in place: what changes
/// after it returned is reported. A watch that cannot be had is reported as a hint, not as an error.
pub fn watch(root: &Path, skip: Skip) -> (Watcher, mpsc::Receiver<Hint>) {
    watch_at_most(root, skip, FOLDERS_MAX)
}

fn watch_at_most(root: &Path, skip: Skip, folders_max: usize) -> (Watcher, mpsc::Receiver<Hint>) {
    let (messages, inbox) = channel();
    let (hints, taken) = mpsc::channel(HINTS_MAX);
    let folders = Folders::new(root.to_owned(), skip, folders_max, messages.clone());
    let mut watching =
        Watching { root: root.to_owned(), folders, pending: Pending::default(), limited: false, walk_again: false, tick: None };
    watching.begin(Instant::now());
    let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || watching.run(&inbox, &hints));
    (Watcher { messages, thread: thread.ok() }, taken)
}

impl Watcher {
    /// Watches the folder at this path and all below, if they are not watched yet; reports each as touched. To be called when
    /// a folder was found or put there. Does not wait.
    pub fn follow(&self, path: ItemPath) {
        // The thread only ends when it is told to.
        self.messages.send(Message::Follow(path)).ok();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.messages.send(Message::Stop).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Watching {
    root: PathBuf,
    folders: Folders,
    pending: Pending,
    limited: bool,
    /// The rules changed: folders that were ignored may need a watch before the hint goes out.
    walk_again: bool,
    tick: Option<Instant>,
}

impl Watching {
    fn run(mut self, inbox: &Receiver<Message>, hints: &mpsc::Sender<Hint>) {
        loop {
            let due = [self.pending.due(), self.tick].into_iter().flatten().min();
            let message = match due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            let now = Instant::now();
            match message {
                Ok(Message::Event(generation, event)) => self.event(generation, event, now),
                Ok(Message::Follow(path)) => self.follow(&path, now),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.tick.is_some_and(|tick| tick <= now) {
                self.tick(now);
            }
            if self.pending.due().is_some_and(|due| due <= now) {
                if std::mem::take(&mut self.walk_again) {
                    self.begin(now);
                }
                if !self.pending.send(hints, now) {
                    return;
                }
            }
        }
    }

    fn begin(&mut self, now: Instant) {
        let limit = self.folders.walk(&ItemPath::top(), |_| {});
        self.note_limit(limit, now);
    }

    fn event(&mut self, generation: u64, event: notify::Result<Event>, now: Instant) {
        if generation != self.folders.generation() {
            return;
        }
        self.folders.taken();
        match event {
            Ok(event) if event.need_rescan() => self.start_over(now),
            Ok(event) => self.changed(&event, now),
            Err(error) => {
                tracing::warn!("watching {}: {error}", self.root.display());
                self.start_over(now);
            }
        }
    }

    fn changed(&mut self, event: &Event, now: Instant) {
        let structure = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Structure::Same,
            // Reading changes nothing; the two halves of a rename come on their own, too.
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
            EventKind::Create(CreateKind::File) => Structure::Same,
            EventKind::Create(_) => Structure::Appeared,
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Structure::Changed,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => Structure::Same,
        };
        for path in &event.paths {
            let Some(path) = item_path(&self.root, path) else { continue };
            if path.names().last().is_some_and(|name| crate::disk::is_own_name(name.as_str())) {
                continue;
            }
            if structure == Structure::Changed {
                self.folders.forget(&path);
            }
            self.pending.touch(path.clone(), now);
            if structure != Structure::Same {
                self.follow(&path, now);
            }
            if path.names().last().is_some_and(|name| name.as_str() == crate::disk::RULES_FILE) {
                self.walk_again = true;
                self.pending.touch_all(now);
            }
        }
    }

    /// Watches what is not watched yet at the path and below.
    fn follow(&mut self, path: &ItemPath, now: Instant) {
        if self.folders.contains(path) {
            return;
        }
        let pending = &mut self.pending;
        let limit = self.folders.walk(path, |found| pending.touch(found.clone(), now));
        self.note_limit(limit, now);
    }

    /// Changes were missed, so it is not known any more which watch is where.
    fn start_over(&mut self, now: Instant) {
        self.folders.clear();
        self.begin(now);
        self.pending.touch_all(now);
    }

    fn tick(&mut self, now: Instant) {
        self.tick = None;
        let lost = !self.folders.contains(&ItemPath::top());
        let limit = self.folders.walk(&ItemPath::top(), |_| {});
        if lost || self.limited {
            self.pending.touch_all(now);
        }
        self.note_limit(limit, now);
    }

    fn note_limit(&mut self, limit: Option<Limit>, now: Instant) {
        match limit {
            None if self.limited => {
                self.limited = false;
                self.pending.say(Hint::Complete, now);
            }
            Some(Limit(text)) if !self.limited => {
                self.limited = true;
                self.pending.say(Hint::Limited(text), now);
            }
            None | Some(_) => {}
        }
        let every = if !self.folders.contains(&ItemPath::top()) { Some(ROOT_EVERY) } else { self.limited.then_some(RESCAN_EVERY) };
        self.tick = every.map(|every| self.tick.unwrap_or(now + every));
    }
}

/// What an event says about the tree of folders.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Structure {
    Same,
    Appeared,
    Changed,
}

/// The path below the root; up to the last name that an item can have, so that its folder is looked at. `None`: not below the root.
fn item_path(root: &Path, path: &Path) -> Option<ItemPath> {
    let below = path.strip_prefix(root).ok()?;
    let names = below.iter().map_while(|part| part.to_str().and_then(|text| Name::new(text).ok()));
    Some(ItemPath::from_names(names.collect()))
}

#[cfg(test)]
mod tests;
