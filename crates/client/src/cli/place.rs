//! Paths as people type them -> paths in the synced folder.

use super::exit::{Exit, Failure};
use stacksync_core::values::ItemPath;
use std::path::{Component, Path, PathBuf};

/// What `typed` means in the folder `root` for someone in the directory `here`: absolute, or relative to `here` when that is in the
/// folder, or else relative to the folder. Links on the way are not followed: the last name may be one that is synced as a link.
///
/// # Errors
/// When the path leads out of the folder, or has a part that cannot be synced.
pub fn item_path(root: &Path, here: &Path, typed: &Path) -> Result<ItemPath, Failure> {
    let whole = if here.starts_with(root) { here.join(typed) } else { root.join(typed) };
    let plain = normal(&whole);
    // The folder may have been typed through a link to it.
    let inside = plain.strip_prefix(root).map(Path::to_owned).ok().or_else(|| {
        let parent = plain.parent()?.canonicalize().ok()?;
        parent.join(plain.file_name()?).strip_prefix(root).map(Path::to_owned).ok()
    });
    let outside = || Failure::new(Exit::Other, format!("{} is not in the folder {}", typed.display(), root.display()), "");
    let inside = inside.ok_or_else(outside)?;
    let text = inside.to_str().ok_or_else(|| {
        Failure::new(Exit::Other, format!("the name {} is not UTF-8", typed.display()), "Such names cannot be synced.")
    })?;
    ItemPath::parse(text).map_err(|error| Failure::new(Exit::Other, format!("{}: {error}", typed.display()), ""))
}

/// Without `.` and `..`, by the text alone.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_meant_from_where_the_person_is() {
        let root = Path::new("/home/ana/cloud");
        for (here, typed, expected) in [
            ("/", "a/b", Some("a/b")),
            ("/home/ana/cloud", "a", Some("a")),
            ("/home/ana/cloud/x", "a", Some("x/a")),
            ("/home/ana/cloud/x", "../a/./b/", Some("a/b")),
            ("/home/ana/cloud/x", "..", Some("")),
            ("/tmp", "/home/ana/cloud/q", Some("q")),
            ("/home/ana/cloud", "../other", None),
            ("/", "/etc/passwd", None),
        ] {
            let found = item_path(root, Path::new(here), Path::new(typed)).map(|path| path.to_string());
            assert_eq!(found.ok().as_deref(), expected, "{here} {typed}");
        }
    }
}
