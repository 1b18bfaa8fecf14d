//! Replays kept inputs in ordinary tests: the same checks that the fuzzer runs, without the fuzzer. Included by the crates' tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Beginnings of each input that are tried as well.
const BEGINNINGS: usize = 64;

/// Runs a check on every input in these folders of `testdata/`, and on beginnings of it. A check fails by panicking.
pub fn replay(folders: &[&str], check: impl Fn(&[u8])) {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    for folder in folders {
        let entries = fs::read_dir(testdata.join(folder)).unwrap_or_else(|error| panic!("testdata/{folder}: {error}"));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        // What captured messages say stands beside them.
        files.retain(|file| file.extension().is_none_or(|extension| extension != "json"));
        files.sort();
        assert!(!files.is_empty(), "testdata/{folder} is empty");
        for file in files {
            // Shown only if the check fails.
            println!("replaying {}", file.display());
            let bytes = fs::read(&file).unwrap();
            check(&bytes);
            (0..BEGINNINGS).for_each(|part| check(&bytes[..bytes.len() * part / BEGINNINGS]));
        }
    }
}

/// Keeps these inputs to begin with, in `testdata/hostile/TARGET`: with `STACKSYNC_BLESS=1` it writes them, without it compares.
#[allow(dead_code)]
pub fn seeds(target: &str, seeds: &[(&str, Vec<u8>)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/hostile").join(target);
    for (name, bytes) in seeds {
        let file = folder.join(name);
        if std::env::var_os("STACKSYNC_BLESS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, bytes).unwrap();
        }
        let kept = fs::read(&file).unwrap_or_default();
        assert!(kept == *bytes, "with STACKSYNC_BLESS=1 this test writes {}", file.display());
    }
}
