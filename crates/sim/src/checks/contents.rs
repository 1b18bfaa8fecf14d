//! Contents: nobody ever sees a part of one, and none that a person left is lost.
//!
//! Every content that a person leaves on a disk is *owed*, until a person who sees it changes or deletes it: until then it must be on
//! some disk or live on the service when everything rests. And a client may only take a content off a disk that the service has.

use super::pictures::{By, Change, Entry, Key, key_of_body, key_of_bytes};
use super::{Facts, fail};
use crate::outcome::{Check, Failure};
use crate::world::{Happened, Member, World};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug)]
struct Owed {
    path: String,
    member: usize,
    bytes: Arc<Vec<u8>>,
}

fn bytes_of(entry: Option<&Entry>) -> Arc<Vec<u8>> {
    entry.map(|entry| Arc::clone(&entry.seen.bytes)).unwrap_or_default()
}

/// See the module. One per workspace.
#[derive(Debug, Default)]
pub struct Contents {
    /// Every content that was whole on some disk.
    whole: HashSet<Key>,
    owed: HashMap<Key, Owed>,
    /// Contents of versions that were saved, with one body of each.
    saved: BTreeMap<Key, stacksync_core::values::Body>,
    /// Contents that a person left, by member: after a loss of power parts of them may be left.
    left_by_person: HashMap<usize, Vec<Arc<Vec<u8>>>>,
    /// What people who write slowly wrote into a file that was aside, or anywhere else: it may be put back and show up.
    written: HashMap<Key, Arc<Vec<u8>>>,
    /// Contents that no look can tell from what was there before: nothing is promised about them.
    invisible: HashSet<Key>,
    /// What was seen on each disk first with the same path, length, time and mode.
    looks: HashMap<Look, Key>,
}

/// Member, path, length, time, executable bit.
type Look = (usize, String, usize, i64, bool);

impl Contents {
    /// Whether a content is one that no look can tell from what was there before.
    pub fn is_invisible(&self, key: Option<Key>) -> bool {
        key.is_some_and(|key| self.invisible.contains(&key))
    }

    /// The service saved a version.
    pub fn saved(&mut self, body: &stacksync_core::values::Body) {
        if let Some(key) = key_of_body(body) {
            self.saved.entry(key).or_insert_with(|| body.clone());
        }
    }

    fn bytes_now(change: &Change, path: &str) -> Arc<Vec<u8>> {
        bytes_of(change.paths.get(path).and_then(|at| at.now.as_ref()))
    }

    fn bytes_before(change: &Change, path: &str) -> Arc<Vec<u8>> {
        bytes_of(change.paths.get(path).and_then(|at| at.before.as_ref()))
    }

    /// Contents that look like another one that was at the same path before, though perhaps not right before.
    fn note_looks(&mut self, change: &Change) {
        for (path, at) in &change.paths {
            let Some(entry) = &at.now else { continue };
            let Some(key) = entry.key.filter(|key| at.before.as_ref().and_then(|old| old.key) != Some(*key)) else { continue };
            let seen = &entry.seen;
            let look = (change.member, path.clone(), seen.bytes.len(), seen.modified_ns, seen.executable);
            if *self.looks.entry(look).or_insert(key) != key && change.by == By::Person {
                self.invisible.insert(key);
            }
        }
    }

    /// A disk changed.
    pub fn changed(&mut self, world: &World, change: &Change, facts: &Facts) -> Result<(), Failure> {
        self.note_looks(change);
        match change.by {
            By::Person => {
                // Also where times are fine: within one tick of a clock a new file may get the number of the one before.
                self.invisible.extend(change.invisible().map(|(_, new)| new));
                self.by_person(change);
            }
            By::Client => return self.by_client(world, change, facts),
            By::Power => return self.by_power(world, change),
        }
        Ok(())
    }

    /// Somebody who writes piece by piece wrote into a file, wherever that is now; this is what it holds.
    pub fn wrote(&mut self, member: usize, bytes: &Arc<Vec<u8>>) {
        self.left_by_person.entry(member).or_default().push(Arc::clone(bytes));
        // The piece comes after what was there.
        let goes_on = |owed: &Owed| owed.member == member && bytes.len() > owed.bytes.len() && bytes.starts_with(&owed.bytes);
        self.owed.retain(|_, owed| !goes_on(owed));
        if let Some(key) = key_of_bytes(bytes) {
            self.written.insert(key, Arc::clone(bytes));
        }
    }

    fn by_person(&mut self, change: &Change) {
        // A copy may be torn as well as what is new.
        let put = change.paths.values().filter_map(|at| {
            let now = at.now.as_ref().filter(|now| now.key.is_some())?;
            (at.before.as_ref().and_then(|old| old.key) != now.key).then(|| bytes_of(Some(now)))
        });
        self.left_by_person.entry(change.member).or_default().extend(put);
        for (key, path) in change.came() {
            let bytes = Self::bytes_now(change, path);
            if self.whole.insert(key) && !self.invisible.contains(&key) {
                self.owed.insert(key, Owed { path: path.to_owned(), member: change.member, bytes });
            }
        }
        // Of a content with copies, the others may be on their way to becoming something else.
        for key in change.fewer() {
            self.owed.remove(&key);
        }
    }

    fn by_client(&mut self, world: &World, change: &Change, facts: &Facts) -> Result<(), Failure> {
        let name = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        for (key, path) in change.came() {
            if self.whole.contains(&key) {
                continue;
            }
            if let Some(bytes) = self.written.remove(&key) {
                self.whole.insert(key);
                self.owed.insert(key, Owed { path: path.to_owned(), member: change.member, bytes });
            } else {
                let bytes = Self::bytes_now(change, path);
                let text =
                    format!("{} shows {path} with bytes that nobody wrote: {:?}", facts.who(world, change.member), name(&bytes));
                return fail(world, Check::NoPartialFile, text);
            }
        }
        for (key, path) in change.gone() {
            let bytes = Self::bytes_before(change, path);
            let &Member { workspace, ref disk, .. } = &world.members()[change.member];
            // What is aside goes back if a second look shows an edit; if it stays, `removed` has it.
            let known = self.invisible.contains(&key)
                || world.service_has_content(workspace, &key)
                || (facts.storage_failed && self.saved.contains_key(&key))
                || disk.is_aside(&bytes);
            if !known {
                let who = facts.who(world, change.member);
                let text = format!("{who} took {path} away ({:?}), which the service does not have", name(&bytes));
                return fail(world, Check::NothingLost, text);
            }
        }
        Ok(())
    }

    /// An action took a content away for good: as it was when the client looked at it last.
    pub fn removed(&mut self, world: &World, happened: &Happened, facts: &Facts) -> Result<(), Failure> {
        let Happened::Removed { workspace, removed, .. } = happened else { return Ok(()) };
        let Some(key) = key_of_bytes(&removed.bytes) else { return Ok(()) };
        if removed.in_folder && removed.ignored && removed.trashed {
            // Nobody but this disk ever had it; with its folder it went to where its owner finds it.
            self.owed.remove(&key);
            return Ok(());
        }
        if removed.refused && removed.trashed {
            // The disk did not let the client put it back: that is told, and it is where its owner finds it.
            self.owed.remove(&key);
            return Ok(());
        }
        let known = self.invisible.contains(&key)
            || world.service_has_content(*workspace, &key)
            || (facts.storage_failed && self.saved.contains_key(&key));
        if known {
            return Ok(());
        }
        let bytes = String::from_utf8_lossy(&removed.bytes[..removed.bytes.len().min(60)]);
        let text = format!("{} was taken away for good ({bytes:?}), and the service does not have it", removed.path);
        fail(world, Check::NothingLost, text)
    }

    /// What people left and did not sync may be torn; what the client put there may not.
    fn by_power(&mut self, world: &World, change: &Change) -> Result<(), Failure> {
        let left = self.left_by_person.get(&change.member).map_or(&[][..], Vec::as_slice);
        let mut torn = Vec::new();
        for (key, path) in change.came() {
            if self.whole.contains(&key) {
                continue;
            }
            let bytes = Self::bytes_now(change, path);
            if !left.iter().any(|whole| whole.starts_with(&bytes)) {
                let text =
                    format!("after a loss of power, {path} holds a part of what the client put there ({} bytes)", bytes.len());
                return fail(world, Check::NoPartialFile, text);
            }
            torn.push(key);
        }
        self.whole.extend(torn);
        for (key, _) in change.gone() {
            self.owed.remove(&key);
        }
        Ok(())
    }

    /// What is owed is there.
    pub fn at_rest(&self, world: &World, workspace: usize, facts: &Facts, on_disks: &HashSet<Key>) -> Result<(), Failure> {
        let view = world.service(workspace);
        let live: HashSet<Key> =
            view.items.values().filter(|item| !item.deleted).filter_map(|item| key_of_body(&item.body)).collect();
        let mut missing: Vec<(&Key, &Owed)> =
            self.owed.iter().filter(|(key, _)| !live.contains(*key) && !on_disks.contains(*key)).collect();
        missing.sort_by_key(|(_, owed)| (&owed.path, owed.member));
        if let Some((_, owed)) = missing.first() {
            let in_history = world.service_has(workspace, &owed.bytes);
            let check = if in_history { Check::EditBeatsDelete } else { Check::NothingLost };
            let who = facts.who(world, owed.member);
            let text = format!(
                "{who} left {} ({:?}); nobody deleted it, but it is nowhere",
                owed.path,
                String::from_utf8_lossy(&owed.bytes)
            );
            return fail(world, check, if in_history { text + " but in the history" } else { text });
        }
        if facts.went_back {
            return Ok(());
        }
        // What the storage lost came back from a copy, so nothing is excused by that.
        for body in self.saved.values() {
            let bytes = world.bytes_of(workspace, body);
            if !bytes.is_some_and(|bytes| world.service_has(workspace, &bytes)) {
                return fail(world, Check::NothingLost, format!("a version that was saved cannot be read any more: {body:?}"));
            }
        }
        Ok(())
    }

    /// Acknowledged versions that the service does not have.
    pub fn acknowledged(world: &World, happened: &Happened, facts: &Facts) -> Result<(), Failure> {
        let Happened::Acknowledged { workspace, answer, .. } = happened else { return Ok(()) };
        if facts.went_back {
            return Ok(());
        }
        let view = world.service(*workspace);
        for verdict in &answer.verdicts {
            let (stacksync_core::commit::Verdict::Accepted(item) | stacksync_core::commit::Verdict::Existing(item)) = verdict
            else {
                continue;
            };
            if view.items.get(&item.id).is_none_or(|have| have.version < item.version) {
                let text =
                    format!("version {} of {} was acknowledged, and the service does not have it", item.version, item.place.name);
                return fail(world, Check::NothingLost, text);
            }
        }
        Ok(())
    }
}
