//! The disk: looks at a workspace's folder and changes it, for the engine.
//!
//! On the path of a commit: `scan` and `read` at its start, `apply` at its end. Every path is opened from a handle of the
//! workspace's own folder, name by name, and links are never followed: nothing outside the folder is ever read or changed.
//! Whatever an action removes or replaces goes to the trash. All calls block; run them off the async threads.

mod apply;
mod copy;
mod folder;
mod ignore_rules;
mod leftovers;
mod look;
mod own_folders;
mod put;
mod read;
mod remove;
mod scan;
mod stage;
mod trash;

pub use apply::Job;
pub use folder::RootIdentity;
#[cfg(any(test, feature = "hostile"))]
pub(crate) use ignore_rules::hostile;
pub(crate) use ignore_rules::is_own as is_own_name;
pub use ignore_rules::{BUILT_IN, RULES_FILE, RuleMatch};
pub use own_folders::{OwnFolders, OwnFoldersError};
pub use read::{ReadError, stat_open};
pub use scan::Scan;
pub use stage::{Staged, WriteTarget};
pub use trash::{Swept, Trash, TrashLimits};

use folder::Root;
use ignore_rules::IgnoreRules;
use leftovers::Leftovers;
use stacksync_core::values::{ItemPath, Kind, Name};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of one workspace on this device. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Disk {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    own: OwnFolders,
    root: Root,
    place: ItemPath,
    rules: IgnoreRules,
    leftovers: Leftovers,
    renames: put::Renames,
}

impl Disk {
    /// A workspace's folder at `root` (absolute), which was `identity` when it was joined. `place` is where things of this
    /// workspace go in the trash: empty for the default workspace, else the name of the workspace's folder.
    ///
    /// Does not look at the disk: a folder that is missing now is reported by each scan.
    pub fn new(own: &OwnFolders, root: PathBuf, identity: RootIdentity, place: ItemPath) -> Self {
        Self::with_renames(own, root, identity, place, put::Renames::Flagged)
    }

    fn with_renames(own: &OwnFolders, root: PathBuf, identity: RootIdentity, place: ItemPath, renames: put::Renames) -> Self {
        let root = Root { path: root, identity };
        let (rules, leftovers) = (IgnoreRules::default(), Leftovers::default());
        Self { parts: Arc::new(Parts { own: own.clone(), root, place, rules, leftovers, renames }) }
    }

    /// Where the workspace's folder is.
    pub fn root(&self) -> &Path {
        &self.parts.root.path
    }

    /// Names at the top that belong to other workspaces: reported as ignored from now on. Replaces the earlier set.
    pub fn reserve(&self, names: HashSet<Name>) {
        self.parts.rules.reserve(names);
    }

    /// The rule that decides whether `path`, as this kind of item, is ignored; `None`: no rule speaks of it, it is synced.
    ///
    /// # Errors
    /// A sentence for people, when the workspace's folder is lost.
    pub fn check(&self, path: &ItemPath, kind: Kind) -> Result<Option<RuleMatch>, String> {
        let root = self.parts.root.open()?;
        let Some((folder, name)) = path.split() else { return Ok(None) };
        Ok(self.parts.rules.gather(&root, &folder).rule(name, kind))
    }

    /// Whether this folder is ignored, so that nothing in it needs to be watched. `false` if that cannot be told.
    pub fn ignores_folder(&self, path: &ItemPath) -> bool {
        self.check(path, Kind::Folder).ok().flatten().is_some_and(|rule| rule.ignored)
    }
}

#[cfg(test)]
mod tests;
