//! Which crate of ours may depend on which. Server and client never meet; the middleware knows nothing of StackSync.

use serde_json::Value;
use stacksync_e2e::programs::checkout;
use std::collections::BTreeMap;
use std::process::Command;

const ALLOWED: [(&str, &[&str]); 10] = [
    ("stacksync-core", &[]),
    ("objectmq", &[]),
    ("stacksync-protocol", &["stacksync-core"]),
    ("stacksync-chunks", &["stacksync-core"]),
    // The operator's storages: of our crates only the server's.
    ("stacksync-storage", &["stacksync-core", "stacksync-chunks"]),
    ("stacksync-server", &["stacksync-core", "objectmq", "stacksync-protocol", "stacksync-chunks", "stacksync-storage"]),
    ("stacksync", &["stacksync-core", "objectmq", "stacksync-protocol", "stacksync-chunks"]),
    ("stacksync-sim", &["stacksync-core", "objectmq", "stacksync-protocol", "stacksync-chunks", "stacksync-server"]),
    ("stacksync-powerfs", &[]),
    // It runs the simulated disk beside the real one, looks behind the scenes of storages, and speaks as clients of the original do, by the
    // classes that the server knows; its library knows none of them.
    (
        "stacksync-e2e",
        &[
            "stacksync-core",
            "objectmq",
            "stacksync-protocol",
            "stacksync-chunks",
            "stacksync-powerfs",
            "stacksync-storage",
            "stacksync",
            "stacksync-server",
            "stacksync-sim",
        ],
    ),
];

/// The core does no I/O: nothing that could is among its libraries.
const CORE_LIBRARIES: [&str; 6] = ["blake3", "fastcdc", "simd-adler32", "thiserror", "unicode-normalization", "uuid"];

fn dependencies() -> BTreeMap<String, Vec<(String, bool)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"])
        .current_dir(checkout())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let needs = package["dependencies"].as_array().unwrap();
            (text(&package["name"]), needs.iter().map(|need| (text(&need["name"]), need["kind"] == "dev")).collect())
        })
        .collect()
}

#[test]
fn crates_depend_only_along_the_allowed_edges() {
    let found = dependencies();
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    for (name, needs) in &found {
        let may =
            allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is a crate without a place: say what it may depend on"));
        for (need, _) in needs.iter().filter(|(need, _)| found.contains_key(need)) {
            assert!(may.contains(&need.as_str()), "{name} must not depend on {need}");
        }
    }
    assert_eq!(found.len(), ALLOWED.len(), "a crate is gone");
}

#[test]
fn the_core_can_do_no_io() {
    for (need, for_tests) in &dependencies()["stacksync-core"] {
        assert!(*for_tests || CORE_LIBRARIES.contains(&need.as_str()), "the core must not depend on {need}");
    }
}
