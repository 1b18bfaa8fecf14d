//! Names that come and go, clash, or that not every file system takes.

use crate::{read, write};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use stacksync_e2e::device::Device;
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::world::World;
use std::io::Write;
use std::os::fd::OwnedFd;

#[test]
fn rename_chains_and_swaps() {
    let (world, [a, b]) = World::with_devices();
    for name in ["one", "two", "three"] {
        write(&a.path(&format!("{name}/file")), name);
        write(&a.path(&format!("{name}.txt")), name);
    }
    world.settle(&[&a, &b]);
    for ends in [["", "/"], [".txt", ".txt"]] {
        let at = |name: &str| a.path(&format!("{name}{}", ends[0]));
        std::fs::rename(at("one"), at("aside")).unwrap();
        std::fs::rename(at("two"), at("one")).unwrap();
        std::fs::rename(at("three"), at("two")).unwrap();
        std::fs::rename(at("aside"), at("three")).unwrap();
    }
    let wanted = a.tree();
    world.settle(&[&a, &b]);
    assert!(wanted.difference(&b.tree()).is_empty(), "{:?}", wanted.difference(&b.tree()));
}

#[test]
fn case_only_rename() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("readme/file"), "text");
    world.settle(&[&a, &b]);
    std::fs::rename(a.path("readme"), a.path("README")).unwrap();
    world.settle(&[&a, &b]);
    assert_eq!(b.tree().paths_with("readme").len() + b.tree().paths_with("README").len(), 2);
    assert!(b.path("README/file").exists());
}

#[test]
fn folder_file_swap() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("thing"), "a file");
    write(&a.path("bag/inside"), "inside a folder");
    std::os::unix::fs::symlink("thing", a.path("pointer")).unwrap();
    world.settle(&[&a, &b]);

    std::fs::remove_file(a.path("thing")).unwrap();
    write(&a.path("thing/now/a folder"), "with a file");
    std::fs::remove_dir_all(a.path("bag")).unwrap();
    std::os::unix::fs::symlink("elsewhere", a.path("bag")).unwrap();
    std::fs::remove_file(a.path("pointer")).unwrap();
    write(&a.path("pointer"), "a file now");
    let wanted = a.tree();
    world.settle(&[&a, &b]);
    assert!(wanted.difference(&b.tree()).is_empty(), "{:?}", wanted.difference(&b.tree()));

    std::fs::remove_dir_all(b.path("thing")).unwrap();
    write(&b.path("thing"), "a file again");
    let wanted = b.tree();
    world.settle(&[&b, &a]);
    assert!(wanted.difference(&a.tree()).is_empty(), "{:?}", wanted.difference(&a.tree()));
}

const COMPOSED: &str = "caf\u{e9}";
const DECOMPOSED: &str = "cafe\u{301}";

#[test]
fn nfc_nfd_clash() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path(COMPOSED).join("file"), "composed");
    write(&b.path(DECOMPOSED).join("file"), "decomposed");
    write(&a.path("one"), "one");
    world.settle(&[&a, &b]);
    let contents = a.tree().contents();
    for text in ["composed", "decomposed"] {
        assert!(contents.contains(blake3::hash(text.as_bytes()).as_bytes()), "{text} is lost: {:?}", a.tree().0.keys());
    }
    assert!(
        !(a.path(COMPOSED).exists() && a.path(DECOMPOSED).exists()),
        "two names that are one elsewhere: {:?}",
        a.tree().0.keys()
    );

    // The form of a name may change; the file stays the one it is.
    for (from, to) in [("one", COMPOSED.to_owned() + "-1"), (&format!("{COMPOSED}-1"), DECOMPOSED.to_owned() + "-1")] {
        std::fs::rename(a.path(from), a.path(&to)).unwrap();
        world.settle(&[&a, &b]);
        assert_eq!(read(&b.path(&to)), "one");
        assert!(!b.path(from).exists());
    }
}

#[test]
fn reserved_and_over_long_names() {
    let (world, [a, b]) = World::with_devices();
    let longest = "x".repeat(255);
    let longest_wide = "\u{fc}".repeat(127);
    let names = ["CON", "aux.txt", "nul", "ends with a dot.", "a:b", "<what>?", "com1.tar.gz", &longest, &longest_wide];
    for name in names {
        write(&a.path(name), name);
        write(&a.path("folders").join(name).join("inside"), name);
    }
    world.settle(&[&a, &b]);
    for name in names {
        assert_eq!(read(&b.path(name)), name);
        assert_eq!(read(&b.path("folders").join(name).join("inside")), name);
    }
    // A conflict copy needs a name of its own, and there is no room for more.
    for name in [&longest, &longest_wide] {
        write(&a.path(name), "changed on a");
        write(&b.path(name), format!("changed on b {name}"));
    }
    world.settle(&[&a, &b]);
    assert_eq!(a.tree().files(), 2 * names.len() + 2);
    assert_same(a.root(), b.root());
}

/// A path that no system call takes in one piece: twenty folders with the longest names, and a file in the last one.
#[test]
fn over_long_paths() {
    let (world, [a, b]) = World::with_devices();
    let name = "deep".repeat(60);
    write(&a.path("beside"), "beside");
    let mut file = std::fs::File::from(open_deep(&a, &name, OFlags::CREATE | OFlags::WRONLY));
    file.write_all(b"at the end of a long way").unwrap();
    drop(file);
    world.settle(&[&a, &b]);
    assert_eq!(read(&b.path("beside")), "beside");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(open_deep(&b, &name, OFlags::RDONLY)), &mut text).unwrap();
    assert_eq!(text, "at the end of a long way");
}

/// Opens `file` below twenty folders of this name; they are made if it is to be made.
fn open_deep(device: &Device, name: &str, how: OFlags) -> OwnedFd {
    let mut folder = openat(CWD, device.root(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..20 {
        if how.contains(OFlags::CREATE) {
            mkdirat(&folder, name, Mode::from(0o755)).unwrap();
        }
        folder =
            openat(&folder, name, OFlags::DIRECTORY, Mode::empty()).unwrap_or_else(|error| panic!("{}: {error}", device.name()));
    }
    openat(&folder, "file", how, Mode::from(0o644)).unwrap()
}
