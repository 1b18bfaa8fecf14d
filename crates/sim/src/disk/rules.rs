//! Ignore rules as observations carry them: the client's temporary names, a few built-in ones, and rules files.
//!
//! Of git's syntax only what people of this world write: `name`, `*ending`, a leading or trailing slash, `!` and comments.

use super::fs::Fs;
use super::machine::Machine;
use super::node::Id;
use super::spelling::RULES_FILE;
use stacksync_core::values::{ItemPath, Kind, Name};

/// What the names of the client's own temporary files start and end with.
pub(super) const OWN_PREFIX: &str = ".~stacksync-";
pub(super) const OWN_SUFFIX: &str = ".tmp";

/// Whether this is a name of one of the client's own temporary files.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with(OWN_PREFIX) && name.ends_with(OWN_SUFFIX)
}

fn is_built_in(name: &str) -> bool {
    name.ends_with(".swp")
        || name.ends_with(".swx")
        || name.starts_with("~$")
        || matches!(name, ".DS_Store" | "Thumbs.db" | "desktop.ini")
}

/// The rules that hold in one folder.
#[derive(Clone, Debug, Default)]
pub(super) struct FolderRules {
    /// From the top down: how deep the file is, and what it says.
    files: Vec<String>,
    ignored_above: bool,
    depth: usize,
}

impl FolderRules {
    /// The rules for the folder at this path below `top`, as far as they can be read.
    pub fn gather(fs: &Fs, top: Id, folder: &ItemPath) -> Self {
        let mut rules = Self::default();
        let mut at = Some(top);
        rules.add_file(fs, at);
        for name in folder.names() {
            at = at.and_then(|at| fs.lookup(at, name).ok());
            rules.enter(fs, name, at);
        }
        rules
    }

    /// The rules for a folder of this name in it.
    pub fn below(&self, fs: &Fs, name: &Name, folder: Id) -> Self {
        let mut rules = self.clone();
        rules.enter(fs, name, Some(folder));
        rules
    }

    fn enter(&mut self, fs: &Fs, name: &Name, folder: Option<Id>) {
        self.ignored_above = self.ignored_above || self.ignores(name, Kind::Folder);
        self.depth += 1;
        self.add_file(fs, folder);
    }

    fn add_file(&mut self, fs: &Fs, folder: Option<Id>) {
        let text = folder.and_then(|folder| {
            let id = fs.lookup(folder, &RULES_FILE.parse().ok()?).ok()?;
            Some(String::from_utf8_lossy(fs.node(id).ok()?.bytes()?).into_owned())
        });
        self.files.push(text.unwrap_or_default());
    }

    pub fn ignores(&self, name: &Name, kind: Kind) -> bool {
        let name = name.as_str();
        if self.ignored_above || is_own(name) {
            return true;
        }
        let said = self.files.iter().enumerate().rev().find_map(|(depth, text)| verdict(text, name, kind, depth == self.depth));
        said.unwrap_or_else(|| is_built_in(name))
    }
}

impl Machine {
    pub fn is_ignored(&self, path: &str) -> bool {
        let Some((folder, name)) = ItemPath::parse(path).ok().and_then(|path| path.split().map(|(f, n)| (f, n.clone()))) else {
            return false;
        };
        let at = folder.names().iter().chain([&name]).try_fold(self.top, |at, name| self.fs.lookup(at, name));
        let is_folder = at.is_ok_and(|id| self.fs.children(id).is_ok());
        let kind = if is_folder { Kind::Folder } else { Kind::File };
        FolderRules::gather(&self.fs, self.top, &folder).ignores(&name, kind)
    }
}

/// What the last matching line says.
fn verdict(text: &str, name: &str, kind: Kind, here: bool) -> Option<bool> {
    text.lines().rev().find_map(|line| {
        let (pattern, ignored) = line.strip_prefix('!').map_or((line, true), |rest| (rest, false));
        let (pattern, only_folders) = pattern.strip_suffix('/').map_or((pattern, false), |rest| (rest, true));
        let (pattern, only_here) = pattern.strip_prefix('/').map_or((pattern, false), |rest| (rest, true));
        if pattern.is_empty() || pattern.starts_with('#') || (only_here && !here) || (only_folders && kind != Kind::Folder) {
            return None;
        }
        let matches = pattern.strip_prefix('*').map_or(pattern == name, |ending| name.ends_with(ending));
        matches.then_some(ignored)
    })
}
