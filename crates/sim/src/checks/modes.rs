//! Executable bits: what one person changed, and nobody else, stays as he left it.
//!
//! Told by content, so only where one content is in one place: where nobody made it twice, copied it or lost power over it.

use super::pictures::{At, By, Change, Entry, Key, key_of_body};
use super::{Facts, fail};
use crate::outcome::{Check, Failure};
use crate::scenario::Fault;
use crate::world::World;
use stacksync_core::values::{Body, FileBody};
use std::collections::HashMap;

/// What people did with the executable bit of one content.
#[derive(Clone, Debug, Default)]
struct Life {
    path: String,
    made: u32,
    changed: u32,
    executable: bool,
    /// Who set it so.
    by: Option<usize>,
    /// Nobody can say what is right.
    doubtful: bool,
}

/// See the module. One per workspace.
#[derive(Debug, Default)]
pub struct Modes {
    lives: HashMap<Key, Life>,
    /// Where a person moved a content away from, by member and path.
    left: HashMap<(usize, String), Key>,
}

impl Modes {
    /// A disk changed.
    pub fn changed(&mut self, change: &Change) {
        for (path, at) in &change.paths {
            match change.by {
                By::Person => self.by_person(change, path, at),
                By::Power => self.by_power(at),
                By::Client => {}
            }
        }
    }

    fn by_person(&mut self, change: &Change, path: &str, at: &At) {
        if let Some(key) = at.before.as_ref().and_then(|before| before.key) {
            match change.counts(key).1 {
                // Of what he deleted he wants no mode, if it lives on because somebody else moved or edited it.
                0 => self.doubt(key, change.member),
                _ if at.now.as_ref().is_none_or(|now| now.key != Some(key)) => {
                    self.left.insert((change.member, path.to_owned()), key);
                }
                _ => {}
            }
        }
        let Some((now, key)) = at.now.as_ref().and_then(|now| Some((now, now.key?))) else { return };
        // What he moved away is a backup of what is there now, as editors make them: the one or the other may count as what it was.
        if let Some(left) = self.left.get(&(change.member, path.to_owned())).copied().filter(|left| *left != key) {
            self.doubt(left, change.member);
        }
        let before = at.before.as_ref().filter(|before| before.key == Some(key));
        let (count, left) = change.counts(key);
        let life = self.lives.entry(key).or_default();
        life.doubtful |= left > 1;
        match before {
            Some(before) if before.seen.executable != now.seen.executable => life.changed += 1,
            Some(_) => return,
            None if count == 0 => life.made += 1,
            // It only moved, with the bit that it has on this disk by now.
            None => return,
        }
        life.executable = now.seen.executable;
        life.by = Some(change.member);
        path.clone_into(&mut life.path);
    }

    /// The person does not care any more for the mode that he gave to this content; that of anybody else is still owed.
    fn doubt(&mut self, key: Key, member: usize) {
        let life = self.lives.entry(key).or_default();
        life.doubtful |= life.by == Some(member);
    }

    fn by_power(&mut self, at: &At) {
        let mode = |entry: &Option<Entry>| entry.as_ref().map(|entry| (entry.key, entry.seen.executable));
        if mode(&at.before) == mode(&at.now) {
            return;
        }
        for key in [&at.before, &at.now].into_iter().flatten().filter_map(|entry| entry.key) {
            self.lives.entry(key).or_default().doubtful = true;
        }
    }

    /// What was changed once is so everywhere.
    pub fn at_rest(&self, world: &World, workspace: usize, facts: &Facts) -> Result<(), Failure> {
        // Without what was agreed on, or with a copy, nobody knows which side changed it.
        if facts.went_back || facts.conflicts || facts.saw(Fault::StateLost) {
            return Ok(());
        }
        let mut live: HashMap<Key, (bool, u32)> = HashMap::new();
        for item in world.service(workspace).items.values().filter(|item| !item.deleted) {
            if let (Some(key), Body::File(FileBody { executable, .. })) = (key_of_body(&item.body), &item.body) {
                let (now, count) = live.entry(key).or_default();
                (*now, *count) = (*executable, *count + 1);
            }
        }
        let wrong = |(key, life): &(&Key, &Life)| {
            (life.made, life.changed, life.doubtful) == (1, 1, false) && live.get(*key) == Some(&(!life.executable, 1))
        };
        let mut wrong: Vec<&Life> = self.lives.iter().filter(wrong).map(|(_, life)| life).collect();
        wrong.sort_by_key(|life| &life.path);
        wrong.first().map_or(Ok(()), |life| {
            let text = format!("the executable bit of {} was set to {} by one person, and is not so", life.path, life.executable);
            fail(world, Check::ModeKept, text)
        })
    }
}
