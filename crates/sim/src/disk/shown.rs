//! What a person sees of a disk, kept up to date by what changed: a look at it costs what changed since the last one, not what is there.
//!
//! The file system notes which names and which files changed; from that, and from how things stand when somebody asks, the picture
//! follows. [`Disk::visible`](super::Disk::visible) is the same made from nothing; the checks compare the two when all rests.

use super::Seen;
use super::fs::Fs;
use super::node::{Id, Node};
use super::person::seen_of;
use super::rules::is_own;
use stacksync_core::values::Name;
use std::collections::{BTreeMap, HashMap};

/// What changed on a file system since it was asked last.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// Names that were given, taken away or spelled anew, by folder.
    pub names: Vec<(Id, Name)>,
    /// Files whose bytes, time or mode changed.
    pub files: Vec<Id>,
    /// Anything may have changed.
    pub all: bool,
}

/// A path that shows something else than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Where.
    pub path: String,
    /// What was there; `None`: nothing.
    pub before: Option<Seen>,
    /// What is there.
    pub now: Option<Seen>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shown {
    entries: BTreeMap<String, (Id, Seen)>,
    /// Where each file is shown.
    places: HashMap<Id, Vec<String>>,
    /// What paths showed when the shifts were taken last, if they were looked at since.
    before: BTreeMap<String, Option<Seen>>,
}

impl Shown {
    /// Paths that are shown.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What is shown.
    pub fn all(&self) -> BTreeMap<String, Seen> {
        self.entries.iter().map(|(path, (_, seen))| (path.clone(), seen.clone())).collect()
    }

    /// Looks at what changed below `top`.
    pub fn follow(&mut self, fs: &mut Fs, top: Id) {
        let touched = std::mem::take(&mut fs.touched);
        if touched.all {
            let paths: Vec<String> = self.entries.keys().cloned().collect();
            paths.iter().for_each(|path| self.hide(path));
            return self.show_below(fs, "", top);
        }
        for (folder, name) in touched.names {
            if is_own(name.as_str()) {
                continue;
            }
            let Some(above) = path_of(fs, folder, top) else { continue };
            let path = below(&above, &name);
            self.hide_all(&path);
            let entry = fs.children(folder).ok().and_then(|children| children.get(&fs.flavour.key(&name)));
            if let Some(&(_, id)) = entry.filter(|(shown, _)| *shown == name) {
                self.show(fs, path, id);
            }
        }
        for id in touched.files {
            for path in self.places.get(&id).cloned().unwrap_or_default() {
                self.hide(&path);
                self.show(fs, path, id);
            }
        }
    }

    /// The shifts since this was asked last, by path.
    pub fn take_shifts(&mut self) -> Vec<Shift> {
        let before = std::mem::take(&mut self.before);
        let shift = |(path, before): (String, Option<Seen>)| {
            let now = self.entries.get(&path).map(|(_, seen)| seen.clone());
            (before != now).then_some(Shift { path, before, now })
        };
        before.into_iter().filter_map(shift).collect()
    }

    fn show(&mut self, fs: &Fs, path: String, id: Id) {
        let Some(node) = fs.nodes.get(id) else { return };
        if node.is_folder() {
            self.show_below(fs, &path, id);
        }
        let Some(seen) = seen_of(fs, id) else { return };
        if node.bytes().is_some() {
            self.places.entry(id).or_default().push(path.clone());
        }
        self.before.entry(path.clone()).or_insert(None);
        self.entries.insert(path, (id, seen));
    }

    fn show_below(&mut self, fs: &Fs, path: &str, folder: Id) {
        for (name, id) in fs.nodes.get(folder).and_then(Node::children).into_iter().flat_map(BTreeMap::values) {
            if !is_own(name.as_str()) {
                self.show(fs, below(path, name), *id);
            }
        }
    }

    /// A path and all below it.
    fn hide_all(&mut self, path: &str) {
        let inside = format!("{path}/");
        let range = self.entries.range(inside.clone()..).map(|(path, _)| path);
        let paths: Vec<String> = range.take_while(|path| path.starts_with(&inside)).cloned().collect();
        paths.iter().for_each(|path| self.hide(path));
        self.hide(path);
    }

    fn hide(&mut self, path: &str) {
        let Some((id, seen)) = self.entries.remove(path) else { return };
        if let Some(places) = self.places.get_mut(&id) {
            places.retain(|place| place != path);
            if places.is_empty() {
                self.places.remove(&id);
            }
        }
        self.before.entry(path.to_owned()).or_insert(Some(seen));
    }
}

fn below(folder: &str, name: &Name) -> String {
    if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
}

/// Where a folder is shown; `None` if it is not, or inside something of the client's own.
fn path_of(fs: &Fs, folder: Id, top: Id) -> Option<String> {
    let mut names = Vec::new();
    let mut at = folder;
    while at != top {
        let (parent, name) = fs.nodes.get(at)?.at.as_ref()?;
        // Of something that was removed, the last place is still remembered.
        let here = fs.children(*parent).ok()?.get(&fs.flavour.key(name)).is_some_and(|(_, id)| *id == at);
        if !here || is_own(name.as_str()) {
            return None;
        }
        names.push(name.as_str());
        at = *parent;
    }
    names.reverse();
    Some(names.join("/"))
}
