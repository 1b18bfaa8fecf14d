//! `.syncignore`: what it names stays where it is, the file itself is synced, and one can ask which rule it was.

use crate::write;
use stacksync_e2e::world::World;

#[test]
fn ignored_files_stay_on_their_device() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path(".syncignore"), "*.log\n!keep.log\nbuild/\n");
    for path in ["note.txt", "noise.log", "keep.log", "build/output", "deep/build/output", "deep/noise.log", "deep/note.txt"] {
        write(&a.path(path), path);
    }
    write(&a.path("nested/.syncignore"), "local-*\n");
    write(&a.path("nested/local-thing"), "local");
    write(&a.path("nested/other"), "other");
    world.settle(&[&a, &b]);
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
fn temporary_files_of_editors_are_never_synced() {
    let (_world, [a, b]) = World::with_devices();
    for path in [".doc.txt.swp", ".~lock.doc.odt#", "~$report.docx", ".~stacksync-1.tmp", "doc.txt"] {
        write(&a.path(path), path);
    }
    a.sync_once();
    b.sync_once();
    assert_eq!(b.tree().0.into_keys().collect::<Vec<_>>(), ["doc.txt"]);
}
