//! A device under test: a home of its own, a folder that is synced, and the `stacksync` program on it.

use crate::server::Invitation;
use crate::tree::Tree;
use crate::{process, programs, wait};
use process::Running;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A device, joined or not, syncing or not.
#[derive(Debug)]
pub struct Device {
    name: String,
    program: PathBuf,
    home: PathBuf,
    root: PathBuf,
    log: PathBuf,
    running: Option<Running>,
}

impl Device {
    /// A device with everything below `dir`. The synced folder is made by whoever needs it.
    ///
    /// # Panics
    /// If the disk does not take it.
    pub fn new(dir: &Path, name: &str) -> Self {
        let base = dir.join(name);
        std::fs::create_dir_all(&base).expect("a folder can be made");
        Self {
            name: name.to_owned(),
            program: programs::client(),
            home: base.join("home"),
            root: base.join("folder"),
            log: base.join("sync.log"),
            running: None,
        }
    }

    /// The same with another build of the program.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// The same with its home and its folder elsewhere.
    #[must_use]
    pub fn with_places(mut self, home: &Path, root: &Path) -> Self {
        (self.home, self.root) = (home.to_path_buf(), root.to_path_buf());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The synced folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the synced folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The home of the program.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The file with what the running sync printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What the synced folder holds.
    pub fn tree(&self) -> Tree {
        Tree::of(&self.root)
    }

    /// The command line, before it is run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("STACKSYNC_HOME", &self.home).env_remove("XDG_DATA_HOME");
        command
    }

    /// Runs a command to its end, whatever the end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        process::run(self.command(arguments), wait::PATIENCE)
    }

    /// Runs a command that must succeed; what it printed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let printed = process::printed(&output);
        assert!(output.status.success(), "{}: stacksync {arguments:?} failed ({}):\n{printed}", self.name, output.status);
        printed
    }

    /// Asks something; that the two sides do not agree (exit code 2) is an answer too.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let printed = process::printed(&output);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{}: stacksync {arguments:?} failed:\n{printed}", self.name);
        printed
    }

    /// Runs a command that must fail; what it printed.
    ///
    /// # Panics
    /// If it succeeds, or dies of a signal or a panic.
    #[track_caller]
    pub fn must_fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let printed = process::printed(&output);
        assert!(
            output.status.code().is_some_and(|code| code != 0 && code != 101),
            "{}: stacksync {arguments:?} should fail, but: {}\n{printed}",
            self.name,
            output.status
        );
        printed
    }

    /// Asks something, with `--json`, and reads what it prints. That the two sides do not agree (exit code 2) is an answer too.
    ///
    /// # Panics
    /// If it fails or prints something else.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let printed = process::printed(&output);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{}: stacksync {arguments:?} --json failed:\n{printed}", self.name);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("stacksync {arguments:?} --json printed no JSON ({error}):\n{printed}"))
    }

    /// Joins with the folder as it is; it is made if it is missing.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn join(&self, invitation: &Invitation) {
        std::fs::create_dir_all(&self.root).expect("a folder can be made");
        let root = self.root.display().to_string();
        self.must(&["join", &invitation.url, &invitation.code, &root]);
    }

    /// `sync --once`, which must succeed.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn sync_once(&self) -> String {
        self.must(&["sync", "--once"])
    }

    /// Starts syncing for good.
    pub fn start(&mut self) {
        self.start_with(self.command(&["sync"]));
    }

    /// As [`Device::start`], by a command of the caller's.
    pub fn start_with(&mut self, command: Command) {
        self.kill();
        self.running = Some(Running::start(command, &self.log));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    /// SIGTERM; waits until it ended.
    ///
    /// # Panics
    /// If it was not running.
    pub fn stop(&mut self) {
        self.running.take().expect("the device syncs").terminate();
    }

    /// Whether the running sync ended by itself.
    pub fn ended(&mut self) -> bool {
        self.running.as_mut().is_none_or(|running| running.ended().is_some())
    }

    /// What the running sync has used.
    pub fn usage(&self) -> process::Usage {
        self.running.as_ref().map(Running::usage).unwrap_or_default()
    }

    /// The problems that `status --json` tells, as text.
    pub fn problems(&self) -> String {
        let status = self.json(&["status"]);
        status.get("problems").map(Value::to_string).unwrap_or_default()
    }
}

/// Waits until all these folders hold the same, while their devices sync.
///
/// # Panics
/// With the differences, if they do not come together.
#[track_caller]
pub fn wait_until_same(devices: &[&Device]) {
    wait::until("the folders become the same", || {
        let first = devices[0].tree();
        for other in &devices[1..] {
            let lines = first.difference(&other.tree());
            if !lines.is_empty() {
                return Err(format!(
                    "{} | {} differ:\n{}\nlast words of {}:\n{}",
                    devices[0].name,
                    other.name,
                    lines.join("\n"),
                    other.name,
                    process::tail(&other.log)
                ));
            }
        }
        Ok(())
    });
}

/// Lets every device sync once, round after round, until a round changes no folder; then all must hold the same.
///
/// # Panics
/// If they do not come to rest, or rest with different folders.
#[track_caller]
pub fn settle(devices: &[&Device]) {
    let mut before: Vec<Tree> = Vec::new();
    for _ in 0..5 {
        for device in devices {
            device.sync_once();
        }
        let after: Vec<Tree> = devices.iter().map(|device| device.tree()).collect();
        if after == before {
            break;
        }
        before = after;
    }
    for device in &devices[1..] {
        let lines = devices[0].tree().difference(&device.tree());
        assert!(lines.is_empty(), "{} | {} differ after they settled:\n{}", devices[0].name, device.name, lines.join("\n"));
    }
}
