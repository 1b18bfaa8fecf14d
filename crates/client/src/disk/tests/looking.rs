//! What scans and reads tell.

use super::*;

#[test]
fn a_scan_tells_kinds_and_skips_what_cannot_be_synced() {
    let world = World::new(Variant::Same);
    world.write("file", "12345");
    world.write("run", "");
    fs::set_permissions(world.at("run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(world.at("folder")).unwrap();
    symlink("target", world.at("link")).unwrap();
    symlink(std::ffi::OsStr::new("ok"), world.at("link2")).unwrap();
    rustix::fs::mkfifoat(CWD, world.at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"bad\xff");
    fs::write(world.at("").join::<&std::ffi::OsStr>(odd), "x").unwrap();
    symlink::<&std::ffi::OsStr, _>(odd, world.at("link-bad")).unwrap();

    let listing = world.disk.scan(&ItemPath::top(), None).result.unwrap();
    let mut found: Vec<_> = listing
        .entries
        .iter()
        .map(|entry| {
            let stat = &entry.stat;
            (entry.name.as_str(), stat.kind, stat.size, stat.executable, stat.target.as_deref())
        })
        .collect();
    found.sort_unstable();
    let expected = [
        ("file", Kind::File, 5, false, None),
        ("folder", Kind::Folder, 0, false, None),
        ("link", Kind::Link, 0, false, Some("target")),
        ("link2", Kind::Link, 0, false, Some("ok")),
        ("run", Kind::File, 0, true, None),
    ];
    assert_eq!(found, expected);
    let mut skipped: Vec<_> = listing.skipped.iter().map(|skipped| (skipped.name.as_str(), skipped.reason.as_str())).collect();
    skipped.sort_unstable();
    let expected = [
        ("bad\u{fffd}", "the name is not UTF-8"),
        ("link-bad", "the link's target is not UTF-8"),
        ("pipe", "a pipe cannot be synced"),
    ];
    assert_eq!(skipped, expected);

    let names = ["file", "none", "pipe"].map(|name| name.parse().unwrap());
    let some = world.disk.scan(&ItemPath::top(), Some(&names)).result.unwrap();
    assert_eq!((some.entries.len(), some.skipped.len()), (1, 1));
    assert_eq!(world.disk.scan(&path("file"), None).result, Err(ScanError::Gone));
    assert_eq!(world.disk.scan(&path("none"), None).result, Err(ScanError::Gone));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let world = World::new(Variant::Same);
    world.write("file", "before");
    let expect = world.stat("file");
    let file = world.disk.open_expected(&path("file"), &expect).unwrap();
    world.write("file", "after!");
    assert_eq!(world.disk.finish_read(&path("file"), &file, &expect), Err(ReadError::Changed));
    assert_eq!(world.disk.open_expected(&path("file"), &expect).unwrap_err(), ReadError::Changed);
    let expect = world.stat("file");
    let file = world.disk.open_expected(&path("file"), &expect).unwrap();
    world.write("other", "after!");
    fs::rename(world.at("other"), world.at("file")).unwrap();
    assert_eq!(world.disk.finish_read(&path("file"), &file, &expect), Err(ReadError::Changed));
    rustix::fs::mkfifoat(CWD, world.at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(world.disk.open_file(&path("pipe")).unwrap_err(), ReadError::Changed);
}

#[test]
fn one_path_is_looked_at_on_its_own() {
    let world = World::new(Variant::Same);
    world.write("d/file", "x");
    let kind = |text: &str| world.disk.look(&path(text)).map(|found| found.map(|stat| stat.kind));
    for (text, expected) in [
        ("d", Some(Kind::Folder)),
        ("d/file", Some(Kind::File)),
        ("d/none", None),
        ("none/x", None),
        ("d/file/x", None),
        ("", None),
    ] {
        assert_eq!(kind(text), Ok(expected), "{text}");
    }
    fs::rename(world.at(""), world.temp.path().join("away")).unwrap();
    assert!(matches!(kind("d"), Err(ReadError::Unreadable(_))));
}
