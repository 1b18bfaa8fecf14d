//! Rules against paths, as git would judge them.

use super::*;
use crate::disk::{Disk, OwnFolders, RootIdentity};
use std::fs;

struct World {
    temp: tempfile::TempDir,
    disk: Disk,
}

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        fs::create_dir(&root).unwrap();
        let own = OwnFolders::open(&temp.path().join("home")).unwrap();
        let world = Self { disk: Disk::new(&own, root.clone(), RootIdentity::of(&root).unwrap(), ItemPath::top()), temp };
        files.iter().for_each(|(path, content)| world.write(path, content));
        world
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.temp.path().join("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The rule for a path; a `/` at its end makes it a folder.
    fn rule(&self, text: &str) -> Option<RuleMatch> {
        let kind = if text.ends_with('/') { Kind::Folder } else { Kind::File };
        self.disk.check(&ItemPath::parse(text.trim_end_matches('/')).unwrap(), kind).unwrap()
    }

    fn ignored(&self, text: &str) -> bool {
        self.rule(text).is_some_and(|rule| rule.ignored)
    }
}

#[test]
fn rules_mean_what_they_mean_to_git() {
    for (rules, path, ignored) in [
        ("*.log", "a.log", true),
        ("*.log", "d/a.log", true),
        ("*.log", "a.logs", false),
        ("/a", "a", true),
        ("/a", "d/a", false),
        ("d/a", "d/a", true),
        ("d/a", "x/d/a", false),
        ("build/", "build/", true),
        ("build/", "build", false),
        ("build/", "x/build/deep/file", true),
        ("**/tmp", "a/b/tmp", true),
        ("a/**/z", "a/z", true),
        ("a/**/z", "a/b/c/z", true),
        ("a/**", "a/b", true),
        ("a/**", "a/", false),
        ("a/*", "a/b/c", true),
        ("*\n!keep", "keep", false),
        ("*\n!keep", "other", true),
        ("!keep\n*", "keep", true),
        ("d/\n!d/keep", "d/keep", true),
        ("d/*\n!d/keep", "d/keep", false),
        ("# comment", "# comment", false),
        ("\\#name", "#name", true),
        ("\\!name", "!name", true),
        ("name   ", "name", true),
        ("name\\ ", "name ", true),
        ("", "", false),
        ("\r\n*.o\r\n", "a.o", true),
        ("\u{feff}*.o", "a.o", true),
        ("[ab]c", "bc", true),
        ("[!a]c", "ac", false),
        ("?", "\u{e9}", false),
        ("{a,b}", "a", false),
        ("{a,b}", "{a,b}", true),
        ("x{1}.txt", "x{1}.txt", true),
        ("*.txt", "odd\nname.txt", true),
        ("A", "a", false),
        ("[", "anything", false),
    ] {
        let world = World::new(&[(".syncignore", rules)]);
        assert_eq!(world.ignored(path), ignored, "{rules:?} {path:?}");
    }
}

#[test]
fn nested_rules_decide_first_but_never_below_an_ignored_folder() {
    let world = World::new(&[
        (".syncignore", "*.o\nout/\n"),
        ("lib/.syncignore", "!*.o\n/local\n"),
        ("lib/deep/.syncignore", "special.o\n"),
        ("out/.syncignore", "!*\n"),
    ]);
    for (path, ignored) in [
        ("a.o", true),
        ("lib/a.o", false),
        ("lib/deep/a.o", false),
        ("lib/deep/special.o", true),
        ("lib/special.o", false),
        ("lib/local", true),
        ("lib/deep/local", false),
        ("local", false),
        ("out/file", true),
        ("lib/out/file", true),
    ] {
        assert_eq!(world.ignored(path), ignored, "{path}");
    }
}

#[test]
fn the_rule_is_named_with_its_file_and_line() {
    let world = World::new(&[("d/.syncignore", "# comment\n*.o\n\n!keep.o\nbuild/\n")]);
    let parse = |text: &str| ItemPath::parse(text).unwrap();
    let expected = |line: usize, pattern: &str, matched: &str, ignored: bool| {
        let (pattern, matched) = (pattern.to_owned(), parse(matched));
        Some(RuleMatch { file: Some(parse("d/.syncignore")), line, pattern, matched, ignored })
    };
    assert_eq!(world.rule("d/a.o"), expected(2, "*.o", "d/a.o", true));
    assert_eq!(world.rule("d/keep.o"), expected(4, "!keep.o", "d/keep.o", false));
    assert_eq!(world.rule("d/build/x/y"), expected(5, "build/", "d/build", true));
    assert_eq!(world.rule("a.o"), None);
    assert_eq!(world.rule("d/.DS_Store").map(|rule| (rule.file, rule.pattern)), Some((None, ".DS_Store".to_owned())));
}

#[test]
fn built_in_rules_spare_ordinary_files() {
    let world = World::new(&[]);
    for ignored in [
        ".#notes.txt",
        "#notes.txt#",
        ".notes.txt.swp",
        ".notes.txt.swo",
        ".swp",
        "x.swx",
        ".a.kate-swp",
        ".goutputstream-AB12CD",
        "~$report.docx",
        ".~lock.report.odt#",
        "a.txt___jb_tmp___",
        ".fuse_hidden0000000100000001",
        ".nfs0000000000b1c2d300000001",
        "deep/.DS_Store",
        "Thumbs.db",
        "desktop.ini",
        ".~stacksync-new-1-2.tmp",
        "deep/.~stacksync-old-1-2.tmp",
    ] {
        assert!(world.ignored(ignored), "{ignored}");
    }
    for spared in [
        "notes~",
        "notes.bak",
        "4913",
        "a.tmp",
        "a.part",
        "#notes",
        "swp",
        ".swap",
        "~notes",
        "a.swf",
        ".nfs",
        ".nfsrc",
        "thumbs",
        ".syncignore",
        ".git/",
        ".stacksync",
        "~stacksync.tmp",
        "desktop.init",
        "lock#",
        "._photo.jpg",
    ] {
        assert!(!world.ignored(spared), "{spared}");
    }
}

#[test]
fn a_user_may_sync_what_is_built_in_but_never_our_own_temporaries() {
    let world = World::new(&[(".syncignore", "!desktop.ini\n!.~stacksync-*\n")]);
    assert!(!world.ignored("desktop.ini"));
    assert!(world.ignored(".~stacksync-new-1.tmp"));
}

#[test]
fn folders_of_other_workspaces_are_left_alone() {
    let world = World::new(&[]);
    assert!(!world.ignored("Team/"));
    world.disk.reserve(HashSet::from(["Team".parse().unwrap()]));
    assert!(world.ignored("Team/") && world.ignored("Team/file"));
    assert!(!world.ignored("d/Team/"));
}

#[test]
fn a_scan_tells_when_known_rules_changed() {
    let world = World::new(&[("d/.syncignore", "*.o\n"), ("d/a.o", "x"), ("d/e/b.o", "x")]);
    let scan = |path: &str| {
        let scan = world.disk.scan(&ItemPath::parse(path).unwrap(), None);
        let ignored: Vec<bool> = scan.result.unwrap().entries.iter().map(|entry| entry.ignored).collect();
        (scan.rules_changed, ignored)
    };
    assert_eq!(scan("d/e"), (false, vec![true]));
    assert_eq!(scan("d/e"), (false, vec![true]));
    world.write("d/.syncignore", "*.obj\n");
    // Whoever sees it first, a scan tells.
    assert!(!world.ignored("d/e/b.o"));
    assert_eq!(scan("d/e"), (true, vec![false]));
    assert_eq!(scan("d/e"), (false, vec![false]));
    fs::remove_file(world.temp.path().join("root/d/.syncignore")).unwrap();
    assert_eq!(scan("d/e"), (true, vec![false]));
    assert_eq!(scan("d/e"), (false, vec![false]));
}

#[test]
fn rules_that_cannot_be_used_ignore_nothing() {
    let world = World::new(&[("huge/.syncignore", &"*\n".repeat(600_000)), ("folder/.syncignore/x", "*"), ("outside", "*\n")]);
    std::os::unix::fs::symlink("../outside", world.temp.path().join("root/link")).unwrap();
    fs::create_dir(world.temp.path().join("root/d")).unwrap();
    std::os::unix::fs::symlink("../outside", world.temp.path().join("root/d/.syncignore")).unwrap();
    for path in ["huge/a", "folder/a", "d/a"] {
        assert!(!world.ignored(path), "{path}");
    }
}

#[test]
fn every_built_in_rule_is_valid() {
    let (_, bad) = parse(BUILT_IN.iter().map(|(pattern, _)| built_in_line(pattern)));
    assert_eq!(bad, []);
}
