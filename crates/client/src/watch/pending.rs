//! Collects what was touched until it is quiet for a moment, so that a thousand events become one hint.

use super::Hint;
use stacksync_core::values::ItemPath;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// A hint goes out when nothing was touched for this long ...
const QUIET: Duration = Duration::from_millis(10);
/// ... or this long after the first touch.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// More paths become their folders; more folders become "everything".
const PATHS_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Pending {
    paths: BTreeSet<ItemPath>,
    all: bool,
    said: VecDeque<Hint>,
    first: Option<Instant>,
    due: Option<Instant>,
}

impl Pending {
    pub fn touch(&mut self, path: ItemPath, now: Instant) {
        self.later(now);
        if self.all {
            return;
        }
        self.paths.insert(path);
        if self.paths.len() > PATHS_MAX {
            let folders: BTreeSet<_> =
                self.paths.iter().map(|path| path.split().map_or(ItemPath::top(), |(folder, _)| folder)).collect();
            self.paths = folders;
            if self.paths.len() > PATHS_MAX / 2 {
                self.touch_all(now);
            }
        }
    }

    pub fn touch_all(&mut self, now: Instant) {
        self.all = true;
        self.paths.clear();
        self.later(now);
    }

    /// Something that is told as it is.
    pub fn say(&mut self, hint: Hint, now: Instant) {
        self.said.push_back(hint);
        self.later(now);
    }

    /// When [`Self::send`] is to be called; `None`: nothing is pending.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    fn later(&mut self, now: Instant) {
        let first = *self.first.get_or_insert(now);
        self.due = Some((now + QUIET).min(first + WAIT_MAX));
    }

    /// Sends what is pending, or as much as there is room for; the rest is due a moment later. `false`: nobody listens any more.
    pub fn send(&mut self, hints: &Sender<Hint>, now: Instant) -> bool {
        self.first = None;
        self.due = None;
        while let Some(hint) = self.next() {
            match hints.try_send(hint) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(hint)) => {
                    self.put_back(hint);
                    self.due = Some(now + WAIT_MAX);
                    return true;
                }
            }
        }
        true
    }

    fn next(&mut self) -> Option<Hint> {
        if let Some(hint) = self.said.pop_front() {
            return Some(hint);
        }
        if std::mem::take(&mut self.all) {
            return Some(Hint::All);
        }
        let paths = std::mem::take(&mut self.paths);
        if paths.is_empty() { None } else { Some(Hint::Touched(paths.into_iter().collect())) }
    }

    fn put_back(&mut self, hint: Hint) {
        match hint {
            Hint::All => self.all = true,
            Hint::Touched(paths) => self.paths.extend(paths),
            Hint::Limited(_) | Hint::Complete => self.said.push_front(hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::channel;

    fn path(text: &str) -> ItemPath {
        ItemPath::parse(text).unwrap()
    }

    #[test]
    fn a_hint_waits_for_a_quiet_moment_but_not_for_ever() {
        let start = Instant::now();
        let mut pending = Pending::default();
        assert_eq!(pending.due(), None);
        pending.touch(path("a"), start);
        assert_eq!(pending.due(), Some(start + QUIET));
        for step in 1..50 {
            pending.touch(path("a"), start + Duration::from_millis(5 * step));
        }
        assert_eq!(pending.due(), Some(start + WAIT_MAX));
    }

    #[test]
    fn what_finds_no_room_is_merged_and_sent_later() {
        let now = Instant::now();
        let (sender, mut receiver) = channel(1);
        let mut pending = Pending::default();
        for name in ["a", "b", "a", "c"] {
            pending.touch(path(name), now);
            assert!(pending.send(&sender, now));
        }
        assert!(pending.due().is_some());
        assert_eq!(receiver.try_recv().unwrap(), Hint::Touched(vec![path("a")]));
        assert!(pending.send(&sender, now));
        assert_eq!(receiver.try_recv().unwrap(), Hint::Touched(vec![path("a"), path("b"), path("c")]));
        assert_eq!(pending.due(), None);
        drop(receiver);
        pending.touch_all(now);
        assert!(!pending.send(&sender, now));
    }

    #[test]
    fn very_many_paths_become_folders_then_everything() {
        let now = Instant::now();
        let (sender, mut receiver) = channel(4);
        let mut pending = Pending::default();
        for number in 0..=PATHS_MAX {
            pending.touch(path(&format!("folder/{number}")), now);
        }
        pending.send(&sender, now);
        assert_eq!(receiver.try_recv().unwrap(), Hint::Touched(vec![path("folder")]));
        for number in 0..=PATHS_MAX {
            pending.touch(path(&format!("{number}/file")), now);
        }
        pending.send(&sender, now);
        assert_eq!(receiver.try_recv().unwrap(), Hint::All);
    }
}
