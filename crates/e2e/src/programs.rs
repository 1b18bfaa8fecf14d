//! Finds the programs under test, and builds them first unless someone did.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Environment variable with the folder that holds built programs; it is then taken as it is.
pub const BIN_DIR_ENV: &str = "E2E_BIN_DIR";
/// The same for the programs with crash points; without it they are built when they are first needed, which is quick if nothing changed.
pub const CRASH_BIN_DIR_ENV: &str = "E2E_CRASH_BIN_DIR";

/// Path of `stacksync-server`.
pub fn server() -> PathBuf {
    bin_dir().join("stacksync-server")
}

/// Path of `stacksync`.
pub fn client() -> PathBuf {
    bin_dir().join("stacksync")
}

/// The checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/e2e is two levels down").to_path_buf()
}

/// The folder that holds the programs.
///
/// # Panics
/// If they cannot be built: a story that cannot run is a story that fails.
pub fn bin_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = std::env::var_os(BIN_DIR_ENV).map_or_else(build, PathBuf::from);
        for name in ["stacksync", "stacksync-server"] {
            assert!(dir.join(name).is_file(), "there is no {} (see {BIN_DIR_ENV})", dir.join(name).display());
        }
        dir
    })
}

/// Paths of the client and the server with their crash points: programs of their own names, so that the ordinary ones stay as they are.
///
/// # Panics
/// If they cannot be built.
pub fn crashing() -> &'static [PathBuf; 2] {
    static PROGRAMS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let names = ["stacksync-crashing", "stacksync-server-crashing"];
        if let Some(dir) = std::env::var_os(CRASH_BIN_DIR_ENV) {
            return names.map(|name| PathBuf::from(&dir).join(name));
        }
        let features = "stacksync/crash-points,stacksync-server/crash-points";
        // The whole workspace, so that cargo takes the same builds of all libraries as ever.
        let packages = ["build", "--workspace", "--features", features];
        let dir = cargo(&[&packages[..], &["--bin", names[0], "--bin", names[1]]].concat());
        names.map(|name| dir.join(name))
    })
}

fn build() -> PathBuf {
    cargo(&["build", "--workspace", "--bins"])
}

/// Runs cargo in the profile of this program; answers where that puts programs.
fn cargo(arguments: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(checkout());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // What `cargo test` sets for us would make cargo build some libraries again.
    let set_for_us = |name: &str| name.starts_with("CARGO_") && !matches!(name, "CARGO_HOME" | "CARGO_TARGET_DIR");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(set_for_us)) {
        command.env_remove(name);
    }
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "the programs cannot be built");
    // <target>/<profile>/deps/<test> or <target>/<profile>/<program>
    let mut dir = std::env::current_exe().expect("the path of this program");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir
}
