//! `.syncignore`: what it names stays where it is, the file itself is synced, and one can ask which rule it was.

use crate::write;
use stacksync_e2e::world::World;

#[test]
fn ignored_files_stay_on_their_device() {
    let (_world, [a, b]) = World::with_devices();
    write(&a.path(".syncignore"), "*.log\n!keep.log\nbuild/\n");
    for path in ["note.txt", "noise.log", "keep.log", "build/output", "deep/build/output", "deep/noise.log", "deep/note.txt"] {
        write(&a.path(path), path);
    }
    write(&a.path("nested/.syncignore"), "local-*\n");
    write(&a.path("nested/local-thing"), "local");
    write(&a.path("nested/other"), "other");
    a.sync_once();
    b.sync_once();
    write(&b.path("noise.log"), "b's own noise");
    b.sync_once();
    a.sync_once();
    let found: Vec<String> = b.tree().0.into_keys().collect();
    assert_eq!(
        found,
        [
            ".syncignore",
            "deep",
            "deep/note.txt",
            "keep.log",
            "nested",
            "nested/.syncignore",
            "nested/other",
            "noise.log",
            "note.txt"
        ]
    );
    assert_eq!(crate::read(&a.path("noise.log")), "noise.log", "an ignored file was taken from elsewhere");
    let said = a.must(&["check-ignore", &a.path("noise.log").display().to_string()]);
    assert!(said.contains("*.log"), "it does not name the rule: {said}");
}

#[test]
fn a_file_that_is_ignored_here_stays_when_another_device_has_one_of_its_name() {
    let (_world, [a, b]) = World::with_devices();
    write(&a.path(".syncignore"), "*.log\n");
    write(&a.path("noise.log"), "noise of a");
    // b does not know the rule yet when it sends its file.
    write(&b.path("noise.log"), "noise of b");
    b.sync_once();
    a.sync_once();
    b.sync_once();
    a.sync_once();
    let contents = a.tree().contents();
    assert!(contents.contains(blake3::hash(b"noise of a").as_bytes()), "{:?}", a.tree().0.keys());
    assert_eq!(crate::read(&b.path("noise.log")), "noise of b");
}

#[test]
fn temporary_files_of_editors_are_never_synced() {
    let (_world, [a, b]) = World::with_devices();
    for path in [".doc.txt.swp", ".~lock.doc.odt#", "~$report.docx", ".~stacksync-1.tmp", "doc.txt"] {
        write(&a.path(path), path);
    }
    a.sync_once();
    b.sync_once();
    assert_eq!(b.tree().0.into_keys().collect::<Vec<_>>(), ["doc.txt"]);
}

#[test]
fn a_deleted_folder_goes_with_its_rules_and_what_they_ignore() {
    let (_world, [a, b]) = World::with_devices();
    write(&a.path("project/.syncignore"), "*.o\n");
    write(&a.path("project/main.c"), "source");
    a.sync_once();
    b.sync_once();
    write(&b.path("project/main.o"), "object");
    b.sync_once();
    std::fs::remove_dir_all(a.path("project")).unwrap();
    write(&a.path("other"), "so that the folder is not empty");
    a.sync_once();
    b.sync_once();
    a.sync_once();
    assert!(!a.path("project").exists() && !b.path("project").exists(), "the folder came back");
}
