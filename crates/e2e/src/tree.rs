//! What a folder holds, byte by byte, and how two of them differ.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder; its times are not compared.
    Folder,
    /// A file.
    File {
        /// Bytes.
        len: u64,
        /// Of the bytes.
        hash: blake3::Hash,
        /// The owner may execute it.
        executable: bool,
        /// Modification time in nanoseconds since 1970.
        modified_ns: i128,
    },
    /// A symbolic link, and where it points.
    Link(String),
    /// A socket, device or pipe.
    Other,
}

/// Everything below a folder, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Entry>);

impl Tree {
    /// Looks at everything below `root`. What vanishes meanwhile is left out.
    pub fn of(root: &Path) -> Self {
        let mut tree = Self::default();
        walk(root, "", &mut tree.0);
        tree
    }

    /// Number of files.
    pub fn files(&self) -> usize {
        self.0.values().filter(|entry| matches!(entry, Entry::File { .. })).count()
    }

    /// Its folders, each with the number of entries directly in it.
    pub fn folders(&self) -> Vec<String> {
        let folders = self.0.iter().filter(|(_, entry)| **entry == Entry::Folder).map(|(path, _)| path);
        let inside =
            |folder: &String| self.0.keys().filter(|path| path.rsplit_once('/').is_some_and(|(above, _)| above == folder)).count();
        folders.map(|folder| format!("{folder} ({})", inside(folder))).collect()
    }

    /// The contents that it holds, wherever they are. Empty files say nothing and are left out.
    pub fn contents(&self) -> BTreeSet<[u8; 32]> {
        self.0
            .values()
            .filter_map(|entry| match entry {
                Entry::File { hash, len, .. } if *len > 0 => Some(*hash.as_bytes()),
                Entry::File { .. } | Entry::Folder | Entry::Link(_) | Entry::Other => None,
            })
            .collect()
    }

    /// Paths that contain `part`.
    pub fn paths_with(&self, part: &str) -> Vec<&str> {
        self.0.keys().filter(|path| path.contains(part)).map(String::as_str).collect()
    }

    /// Without what is at and below a path.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let below = format!("{path}/");
        self.0.retain(|key, _| key != path && !key.starts_with(&below));
        self
    }

    /// What is different in `other`, one line each; at most twenty lines. Empty if nothing is.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for path in self.0.keys().chain(other.0.keys()).collect::<BTreeSet<_>>() {
            match (self.0.get(path), other.0.get(path)) {
                (Some(here), Some(there)) if here == there => {}
                (here, there) => lines.push(format!("{path:?}: {} | {}", brief(here), brief(there))),
            }
        }
        if lines.len() > 20 {
            let more = lines.len() - 20;
            lines.truncate(20);
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

fn brief(entry: Option<&Entry>) -> String {
    match entry {
        None => "nothing".to_owned(),
        Some(Entry::Folder) => "a folder".to_owned(),
        Some(Entry::Link(target)) => format!("a link to {target:?}"),
        Some(Entry::Other) => "something else".to_owned(),
        Some(Entry::File { len, hash, executable, modified_ns }) => {
            format!("{len} bytes {} {}at {modified_ns}", &hash.to_hex()[..8], if *executable { "+x " } else { "" })
        }
    }
}

fn walk(folder: &Path, prefix: &str, into: &mut BTreeMap<String, Entry>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let Some(found) = look(&entry.path()) else { continue };
        if found == Entry::Folder {
            walk(&entry.path(), &format!("{path}/"), into);
        }
        into.insert(path, found);
    }
}

fn look(path: &Path) -> Option<Entry> {
    let metadata = path.symlink_metadata().ok()?;
    if metadata.is_dir() {
        return Some(Entry::Folder);
    }
    if metadata.is_symlink() {
        return Some(Entry::Link(std::fs::read_link(path).ok()?.to_string_lossy().into_owned()));
    }
    if !metadata.is_file() {
        return Some(Entry::Other);
    }
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path).ok()?, &mut hasher).ok()?;
    Some(Entry::File {
        len: metadata.len(),
        hash: hasher.finalize(),
        executable: metadata.mode() & 0o100 != 0,
        modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
    })
}

/// Asserts that two folders hold the same.
///
/// # Panics
/// With the differences, if they do not.
#[track_caller]
pub fn assert_same(left: &Path, right: &Path) {
    let lines = Tree::of(left).difference(&Tree::of(right));
    assert!(lines.is_empty(), "{} | {} differ:\n{}", left.display(), right.display(), lines.join("\n"));
}

/// Asserts that nothing of what was `wanted` is missing in `tree`.
///
/// # Panics
/// With the number of contents that are missing.
#[track_caller]
pub fn assert_holds(tree: &Tree, wanted: &BTreeSet<[u8; 32]>, whose: &str) {
    let missing = wanted.difference(&tree.contents()).count();
    assert_eq!(missing, 0, "{missing} of {} contents of {whose} are lost", wanted.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = (&'static str, fn(&Path));

    /// The comparison that every story rests on must see each kind of difference.
    #[test]
    fn every_kind_of_difference_is_seen() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let root = dir.path().join(name);
            std::fs::create_dir_all(root.join("folder")).unwrap();
            std::fs::write(root.join("file"), b"content").unwrap();
            symlink("target", root.join("link")).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5);
            std::fs::File::options().write(true).open(root.join("file")).unwrap().set_modified(time).unwrap();
            root
        };
        let left = make("left");
        assert_same(&left, &make("same"));
        let changes: [Change; 7] = [
            ("bytes", |root| {
                let time = root.join("file").metadata().unwrap().modified().unwrap();
                std::fs::write(root.join("file"), b"CONTENT").unwrap();
                std::fs::File::options().write(true).open(root.join("file")).unwrap().set_modified(time).unwrap();
            }),
            ("time", |root| {
                let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 6);
                std::fs::File::options().write(true).open(root.join("file")).unwrap().set_modified(time).unwrap();
            }),
            ("mode", |root| std::fs::set_permissions(root.join("file"), PermissionsExt::from_mode(0o744)).unwrap()),
            ("target", |root| {
                std::fs::remove_file(root.join("link")).unwrap();
                symlink("elsewhere", root.join("link")).unwrap();
            }),
            ("missing folder", |root| std::fs::remove_dir(root.join("folder")).unwrap()),
            ("extra file", |root| std::fs::write(root.join("folder/more"), b"").unwrap()),
            ("kind", |root| {
                std::fs::remove_dir(root.join("folder")).unwrap();
                std::fs::write(root.join("folder"), b"").unwrap();
            }),
        ];
        for (name, change) in changes {
            let right = make(name);
            change(&right);
            assert_eq!(Tree::of(&left).difference(&Tree::of(&right)).len(), 1, "{name}");
        }
    }
}
