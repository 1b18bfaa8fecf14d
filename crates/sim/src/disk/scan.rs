//! Looks at one folder, or at some names in it.

use super::calls::OpenFolderError;
use super::errno::Errno;
use super::look::Look;
use super::machine::Machine;
use super::rules::{FolderRules, is_own};
use super::spelling::RULES_FILE;
use stacksync_core::engine::{Entry, Listing, ScanError, Skipped};
use stacksync_core::values::{ItemPath, Name};

impl Machine {
    pub fn scan(&mut self, folder: &ItemPath, names: Option<&[Name]>) -> Result<Listing, ScanError> {
        let root = self.open_root().map_err(ScanError::RootLost)?;
        let handle = match self.open_folder(root.id, folder) {
            Ok(handle) => handle,
            Err(OpenFolderError::Gone) if folder.is_top() => return Err(ScanError::RootLost("the folder is missing".into())),
            Err(OpenFolderError::Gone) => return Err(ScanError::Gone),
            Err(OpenFolderError::Refused(errno)) => return Err(unreadable(folder, errno)),
        };
        self.note_rules(root.id, folder);
        let rules = FolderRules::gather(&self.fs, root.id, folder);
        let names = match names {
            Some(names) => names.to_vec(),
            None => {
                let children = self.fs.children(handle.id).map_err(|errno| unreadable(folder, errno))?;
                children.values().map(|(name, _)| name.clone()).collect()
            }
        };
        let mut listing = Listing::default();
        for name in names {
            self.write_on();
            self.add(handle.id, folder, &name, &rules, &mut listing);
        }
        Ok(listing)
    }

    fn add(&mut self, handle: super::node::Id, folder: &ItemPath, name: &Name, rules: &FolderRules, listing: &mut Listing) {
        let skipped = |reason: String| Skipped { name: name.as_str().to_owned(), reason };
        match self.look(handle, name) {
            Ok(Look::Absent) => {}
            Ok(Look::Here(found)) => {
                if is_own(name.as_str()) && !self.is_of_this_run(name.as_str()) {
                    self.leftovers.insert(folder.join(name));
                }
                let ignored = rules.ignores(name, found.stat.kind);
                listing.entries.push(Entry { name: name.clone(), stat: found.stat, ignored });
            }
            Ok(Look::Odd(reason)) => listing.skipped.push(skipped(reason.to_owned())),
            Err(errno) => listing.skipped.push(skipped(format!("it cannot be looked at: {errno}"))),
        }
    }

    /// Notes the rules files on the way; one that changed since it was used means that anything may be ignored now, or not.
    fn note_rules(&mut self, root: super::node::Id, folder: &ItemPath) {
        let Ok(rules_name) = Name::new(RULES_FILE) else { return };
        let mut at = Some(root);
        let mut path = ItemPath::top();
        for depth in 0..=folder.names().len() {
            let id = at.and_then(|at| self.fs.lookup(at, &rules_name).ok());
            let now = id.and_then(|id| match self.fs.look_at(id) {
                Look::Here(found) if found.stat.kind == stacksync_core::values::Kind::File => Some(found.stat),
                Look::Here(_) | Look::Absent | Look::Odd(_) => None,
            });
            let known = match now.clone() {
                Some(now) => self.rules_seen.insert(path.clone(), now),
                None => self.rules_seen.remove(&path),
            };
            if known.is_some() && known != now {
                self.rules_changed = true;
            }
            if let Some(name) = folder.names().get(depth) {
                at = at.and_then(|at| self.fs.lookup(at, name).ok());
                path = path.join(name);
            }
        }
    }
}

fn unreadable(folder: &ItemPath, errno: Errno) -> ScanError {
    let shown = if folder.is_top() { "the top folder".to_owned() } else { format!("the folder {folder}") };
    ScanError::Unreadable(format!("{shown} cannot be read: {errno}"))
}
