//! Two devices did something about the same item.

use crate::conflicts::{named, pair};
use crate::{read, write};

#[test]
fn stale_base_overwrite() {
    let (world, a, b) = pair();
    write(&a.path("doc.txt"), "edited on a");
    write(&b.path("doc.txt"), "edited on b");
    world.settle(&[&a, &b]);
    let files = named(&a, "doc");
    assert_eq!(files.len(), 2, "{files:?}");
    let mut texts: Vec<String> = files.iter().map(|file| read(&a.path(file))).collect();
    texts.sort();
    assert_eq!(texts, ["edited on a", "edited on b"]);
    assert_eq!(read(&b.path("doc.txt")), "edited on a", "the first to commit keeps the name");
}

#[test]
fn delete_vs_edit() {
    for editor_first in [true, false] {
        let (world, a, b) = pair();
        std::fs::remove_file(a.path("doc.txt")).unwrap();
        write(&b.path("doc.txt"), "edited while it was deleted");
        let order = if editor_first { [&b, &a] } else { [&a, &b] };
        world.settle(&order);
        assert_eq!(named(&a, "doc"), ["doc.txt"], "editor first: {editor_first}");
        assert_eq!(read(&a.path("doc.txt")), "edited while it was deleted");
    }
}

#[test]
fn move_vs_move_duplicate() {
    let (world, a, b) = pair();
    std::fs::rename(a.path("doc.txt"), a.path("by-a.txt")).unwrap();
    std::fs::rename(b.path("doc.txt"), b.path("by-b.txt")).unwrap();
    world.settle(&[&a, &b]);
    assert_eq!(named(&a, "by-").len(), 1, "{:?}", a.tree().0.keys());
    assert_eq!(a.tree().files(), 3);
}

#[test]
fn move_vs_move_cycle() {
    let (world, a, b) = pair();
    write(&a.path("other/thing.txt"), "thing");
    world.settle(&[&a, &b]);
    std::fs::rename(a.path("folder"), a.path("other/folder")).unwrap();
    std::fs::rename(b.path("other"), b.path("folder/other")).unwrap();
    let before = a.tree();
    world.settle(&[&a, &b]);
    assert_eq!(a.tree().contents(), before.contents());
    assert_eq!(a.tree().files(), before.files(), "{:?}", a.tree().0.keys());
}

/// The file or folder moved lives on, wherever; the folder's deletion stays for the rest.
#[test]
fn move_into_a_deleted_folder() {
    for mover_first in [true, false] {
        let (world, a, b) = pair();
        std::fs::remove_dir_all(a.path("folder")).unwrap();
        std::fs::rename(b.path("doc.txt"), b.path("folder/deep/doc.txt")).unwrap();
        write(&b.path("bag/content.txt"), "in a bag");
        std::fs::rename(b.path("bag"), b.path("folder/bag")).unwrap();
        let order = if mover_first { [&b, &a] } else { [&a, &b] };
        world.settle(&order);
        let tree = a.tree();
        for text in ["the first text", "in a bag"] {
            assert!(tree.contents().contains(blake3::hash(text.as_bytes()).as_bytes()), "{text} is lost: {:?}", tree.0.keys());
        }
        assert_eq!(tree.files(), 2, "a copy, or a deletion undone: {:?}", tree.0.keys());
    }
}
