//! Looks at one folder, or at some names in it: the disk's side of `Effect::Scan`.
//!
//! Reads no file but the rules files. What cannot be looked at is reported as skipped or unreadable, never as gone.

use super::folder::{OpenFolderError, open_folder};
use super::ignore_rules::FolderRules;
use super::look::{Look, look};
use super::{Disk, ignore_rules};
use rustix::fs::Dir;
use rustix::io::{Errno, dup};
use stacksync_core::engine::{Entry, Listing, ScanError, Skipped};
use stacksync_core::values::{ItemPath, Name};
use std::os::fd::OwnedFd;

/// What a scan found.
#[derive(Debug)]
pub struct Scan {
    /// For the engine.
    pub result: Result<Listing, ScanError>,
    /// A rules file that an earlier scan used has changed or is gone: anything may be ignored, or not any more.
    pub rules_changed: bool,
}

impl Disk {
    /// Looks at the entries of a folder, or only at `names` in it. Blocks; costs one system call per entry.
    pub fn scan(&self, folder: &ItemPath, names: Option<&[Name]>) -> Scan {
        let root = match self.parts.root.open() {
            Ok(root) => root,
            Err(lost) => return Scan { result: Err(ScanError::RootLost(lost)), rules_changed: false },
        };
        let handle = match open_folder(&root, folder) {
            Ok(handle) => handle,
            Err(OpenFolderError::Gone) => return Scan { result: Err(self.gone(folder)), rules_changed: false },
            Err(OpenFolderError::Refused(errno)) => {
                return Scan { result: Err(unreadable(folder, errno)), rules_changed: false };
            }
        };
        let rules = self.parts.rules.gather(&root, folder);
        let mut listing = Listing::default();
        let result = match names {
            Some(names) => {
                for name in names {
                    add(&handle, name, &rules, &mut listing);
                }
                Ok(())
            }
            None => list(&handle, &rules, &mut listing),
        };
        for entry in &listing.entries {
            self.note_leftover(folder, &entry.name);
        }
        let result = result.map(|()| listing).map_err(|errno| unreadable(folder, errno));
        Scan { result, rules_changed: self.parts.rules.take_changed() }
    }

    /// The top cannot be gone: the root was there a moment ago, so it is being replaced.
    fn gone(&self, folder: &ItemPath) -> ScanError {
        if folder.is_top() {
            return ScanError::RootLost(format!("the folder {} is missing", self.parts.root.path.display()));
        }
        ScanError::Gone
    }

    fn note_leftover(&self, folder: &ItemPath, name: &Name) {
        if ignore_rules::is_own(name.as_str()) && !self.parts.own.shared.is_of_this_run(name.as_str()) {
            self.parts.leftovers.note(folder.join(name));
        }
    }
}

fn unreadable(folder: &ItemPath, errno: Errno) -> ScanError {
    let shown = if folder.is_top() { "the top folder".to_owned() } else { format!("the folder {folder}") };
    ScanError::Unreadable(format!("{shown} cannot be read: {errno}"))
}

fn list(handle: &OwnedFd, rules: &FolderRules, listing: &mut Listing) -> Result<(), Errno> {
    // Not `read_from`: opening `.` anew takes the right to enter the folder, listing it does not.
    for entry in Dir::new(dup(handle)?)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if matches!(bytes, b"." | b"..") {
            continue;
        }
        match std::str::from_utf8(bytes).ok().and_then(|text| Name::new(text).ok()) {
            Some(name) => add(handle, &name, rules, listing),
            None => listing
                .skipped
                .push(Skipped { name: String::from_utf8_lossy(bytes).into_owned(), reason: "the name is not UTF-8".to_owned() }),
        }
    }
    Ok(())
}

fn add(handle: &OwnedFd, name: &Name, rules: &FolderRules, listing: &mut Listing) {
    let skipped = |reason: String| Skipped { name: name.as_str().to_owned(), reason };
    match look(handle, name.as_str()) {
        Ok(Look::Absent) => {}
        Ok(Look::Here(seen)) => {
            let ignored = rules.ignores(name, seen.stat.kind);
            listing.entries.push(Entry { name: name.clone(), stat: seen.stat, ignored });
        }
        Ok(Look::Odd(reason)) => listing.skipped.push(skipped(reason.to_owned())),
        Err(errno) => listing.skipped.push(skipped(format!("it cannot be looked at: {errno}"))),
    }
}
