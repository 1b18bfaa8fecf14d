//! Generated trees: files of every size that matters, folders full and empty, links of every sort, odd names, modes, times.

use crate::random::Random;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Sizes around the borders of chunks, and the extremes.
const SIZES: [usize; 12] =
    [0, 1, 2, 4095, 4096, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 12_345];

/// Names that are easy to get wrong.
const ODD_NAMES: [&str; 18] = [
    "with space",
    " leading space",
    "trailing space ",
    ".hidden",
    "-rf",
    "#hash",
    "!bang",
    "*star?[x]",
    "back\\slash",
    "quote\"'`",
    "new\nline",
    "tab\there",
    "umlaut-äöü-ß",
    "combined-e\u{301}",
    "日本語",
    "emoji-🦀",
    "con.nul.",
    "\u{202e}right-to-left",
];

/// Fills `root` with about `files` small files and one of everything special (about 35 MiB). Prints nothing; the generator decides.
///
/// # Panics
/// If the disk does not take it.
pub fn grow(root: &Path, files: usize, random: &mut Random) {
    std::fs::create_dir_all(root).expect("a folder can be made");
    grow_special(&root.join("special"), random);
    let folders = grow_folders(root, files / 20 + 1, random);
    for number in 0..files {
        let folder = random.pick(&folders).clone();
        let len = random.below(6 * KIB);
        let bytes = if random.below(2) == 0 { random.text(len) } else { random.bytes(len) };
        write(&folder.join(format!("file-{number}.txt")), &bytes, random);
    }
}

/// Only the small files: `files` of them with `len` bytes each, a hundred to a folder, none like another.
///
/// # Panics
/// If the disk does not take it.
pub fn grow_flat(root: &Path, files: usize, len: usize, random: &mut Random) {
    for number in 0..files {
        let folder = root.join(format!("folder-{}", number / 100));
        if number % 100 == 0 {
            std::fs::create_dir_all(&folder).expect("a folder can be made");
        }
        std::fs::write(folder.join(format!("file-{number}")), random.bytes(len)).expect("a file can be written");
    }
}

fn grow_folders(root: &Path, count: usize, random: &mut Random) -> Vec<PathBuf> {
    let mut folders = vec![root.to_path_buf()];
    for number in 0..count {
        let folder = random.pick(&folders).join(format!("folder-{number}"));
        std::fs::create_dir(&folder).expect("a folder can be made");
        folders.push(folder);
    }
    folders
}

fn grow_special(root: &Path, random: &mut Random) {
    std::fs::create_dir_all(root.join("empty/emptier/emptiest")).expect("folders can be made");
    for len in SIZES {
        let bytes = random.bytes(len);
        write(&root.join(format!("size-{len}")), &bytes, random);
    }
    write(&root.join("zeros"), &vec![0; 3 * MIB], random);
    sparse(&root.join("sparse"), 9 * MIB as u64, random);
    for (number, name) in ODD_NAMES.iter().enumerate() {
        let text = random.text(100 + number);
        write(&root.join("names").join(name), &text, random);
        std::fs::create_dir_all(root.join("folder names").join(name)).expect("folders can be made");
    }
    let long: String = std::iter::repeat_n('n', 255).collect();
    write(&root.join("names").join(long), b"a name of 255 bytes", random);
    let deep: PathBuf = (0..40).map(|level| format!("level-{level}")).collect();
    write(&root.join(deep).join("bottom"), b"deep down", random);
    let program = root.join("program");
    write(&program, b"#!/bin/sh\nexit 0\n", random);
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("modes can be set");
    for (name, target) in [
        ("link to file", "program"),
        ("link to folder", "empty"),
        ("link to nothing", "no/such/file"),
        ("link outside", "/etc/hostname"),
        ("link upwards", "../.."),
        ("link to itself", "link to itself"),
    ] {
        symlink(target, root.join(name)).expect("a link can be made");
    }
}

/// Writes a file with a modification time of its own, nanoseconds included.
fn write(path: &Path, bytes: &[u8], random: &mut Random) {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("a folder can be made");
    }
    let mut file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all(bytes).expect("a file can be written");
    set_random_time(&file, random);
}

fn set_random_time(file: &File, random: &mut Random) {
    let age = Duration::new(1_000_000_000 + random.below(700_000_000) as u64, random.below(1_000_000_000) as u32);
    file.set_modified(UNIX_EPOCH + age).expect("times can be set");
}

fn sparse(path: &Path, len: u64, random: &mut Random) {
    let mut file = File::create(path).expect("a file can be made");
    file.write_all(b"start").expect("a file can be written");
    file.seek(SeekFrom::Start(len / 2)).expect("a file can be sought in");
    file.write_all(b"middle").expect("a file can be written");
    file.set_len(len).expect("a file can be made longer");
    set_random_time(&file, random);
}
