//! The first minute of a new user: `scripts/up`, in a home of its own.

use crate::{read, write};
use stacksync_e2e::device::Device;
use stacksync_e2e::process::{printed, run};
use stacksync_e2e::programs;
use stacksync_e2e::wait::{PATIENCE, until_true};
use std::path::Path;
use std::process::Command;

/// `scripts/up` with everything of the person's below `home`; in the background, without a service manager.
fn up(home: &Path, port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(programs::checkout().join("scripts/up"));
    command.args(arguments).env("HOME", home).env("UP_BIN_DIR", programs::bin_dir());
    command.env("UP_PORT", port.to_string()).env("UP_SERVICE", "background");
    for name in ["XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "STACKSYNC_HOME"] {
        command.env_remove(name);
    }
    command
}

#[test]
fn one_command_starts_everything_and_its_last_line_joins_a_second_device() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let folder = dir.path().join("My Folder");
    std::fs::create_dir_all(&home).unwrap();
    write(&folder.join("already here"), "from before");
    let port = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let folder_text = folder.display().to_string();

    let first = run(up(&home, port, &[&folder_text]), PATIENCE);
    let said = printed(&first);
    let end = scopeguard(|| {
        run(up(&home, port, &["--down"]), PATIENCE);
    });
    assert!(first.status.success(), "{said}");
    let line = join_line(&said);
    let second = Device::new(dir.path(), "second");
    std::fs::create_dir_all(second.root()).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    second.must(&["join", words[2], words[3], &second.root().display().to_string()]);
    second.sync_once();
    assert_eq!(read(&second.path("already here")), "from before");
    write(&second.path("from the second"), "hello");
    second.sync_once();
    until_true("the first device follows by itself", || folder.join("from the second").exists());

    // Again: nothing breaks, everything stays, another line is printed.
    let again = run(up(&home, port, &[&folder_text]), PATIENCE);
    assert!(again.status.success(), "{}", printed(&again));
    assert_ne!(join_line(&printed(&again)), line, "a join code works only once");
    write(&folder.join("later"), "still syncing");
    until_true("it still syncs", || {
        second.sync_once();
        second.path("later").exists()
    });
    drop(end);
    until_true("it is down", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(read(&folder.join("later")), "still syncing", "going down touches no file");
}

/// The line that joins a second device: `stacksync join URL CODE DIR ...`.
fn join_line(said: &str) -> String {
    said.lines()
        .map(str::trim)
        .find(|line| line.starts_with("stacksync join "))
        .unwrap_or_else(|| panic!("no line to join:\n{said}"))
        .to_owned()
}

struct Scopeguard<F: FnMut()>(F);

impl<F: FnMut()> Drop for Scopeguard<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Does something when it goes away, also when the test fails.
fn scopeguard<F: FnMut()>(end: F) -> Scopeguard<F> {
    Scopeguard(end)
}
