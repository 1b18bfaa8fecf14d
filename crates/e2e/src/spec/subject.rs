//! The seam to the tool under test, and two tools: StackSync, and any tool that is started by a command.

use super::cell::Moves;
use crate::device::Device;
use crate::process::printed;
use crate::tree::Tree;
use crate::world::World;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A tool that keeps the folders of some devices in sync.
pub trait Subject {
    /// The folders, one per device.
    fn roots(&self) -> Vec<PathBuf>;

    /// How it takes a move.
    fn moves(&self) -> Moves;

    /// Lets a device be off from now on, if the tool knows of that.
    fn stop(&mut self, _device: usize) {}

    /// Lets a device be on.
    fn start(&mut self, _device: usize) {}

    /// Waits until nothing is left to do on any device.
    ///
    /// # Errors
    /// That the tool gave up, with what it said. That it is settled and devices differ is for the oracle to find.
    fn settle(&mut self) -> Result<(), String>;
}

/// The real StackSync: a server and devices of one account. A device that is off does not run; all that are on run live.
#[derive(Debug)]
pub struct StackSync {
    world: World,
    devices: Vec<Device>,
    running: Vec<bool>,
}

/// Longest wait for devices that run to agree. Then the oracle looks at what there is.
const AGREE_MAX: Duration = Duration::from_secs(40);
const ROUNDS_MAX: usize = 8;

impl StackSync {
    /// A server with so many joined devices, all off.
    pub fn new(devices: usize) -> Self {
        let world = World::new();
        let devices: Vec<Device> = (0..devices).map(|number| world.device(&format!("device-{number}"))).collect();
        Self { running: vec![false; devices.len()], world, devices }
    }

    fn agree(&self) -> bool {
        let first = self.devices[0].tree();
        let agrees = |device: &Device| {
            let status = device.json(&["status"]);
            approve_if_held(device, &status);
            status["state"] == "in sync" && device.tree() == first
        };
        // Everybody is asked: one who holds deletions back may be what the others wait for.
        self.devices.iter().filter(|device| !agrees(device)).count() == 0
    }

    /// Everybody goes on, until they agree twice.
    fn settle_live(&mut self) {
        for device in 0..self.devices.len() {
            self.start(device);
        }
        let start = Instant::now();
        let mut agreed = 0;
        while agreed < 2 && start.elapsed() < AGREE_MAX {
            std::thread::sleep(Duration::from_millis(60));
            agreed = if self.agree() { agreed + 1 } else { 0 };
        }
    }

    /// Everybody syncs once, one after the other, until nothing changes any more.
    fn settle_in_turns(&self) -> Result<(), String> {
        let mut before: Vec<Tree> = Vec::new();
        for _ in 0..ROUNDS_MAX {
            for device in &self.devices {
                let mut output = device.run(&["sync", "--once"]);
                if !output.status.success() && approve_if_held(device, &device.json(&["status"])) {
                    output = device.run(&["sync", "--once"]);
                }
                if !output.status.success() {
                    return Err(format!("{}: sync --once: {}", device.name(), printed(&output)));
                }
            }
            let after: Vec<Tree> = self.devices.iter().map(Device::tree).collect();
            if after == before {
                break;
            }
            before = after;
        }
        Ok(())
    }
}

/// What was deleted in a history was meant to be.
fn approve_if_held(device: &Device, status: &serde_json::Value) -> bool {
    let held = status["held_deletions"].as_u64().is_some_and(|count| count > 0);
    if held {
        device.must(&["approve"]);
    }
    held
}

impl Subject for StackSync {
    fn roots(&self) -> Vec<PathBuf> {
        self.devices.iter().map(|device| device.root().to_path_buf()).collect()
    }

    fn moves(&self) -> Moves {
        Moves::Followed
    }

    fn stop(&mut self, device: usize) {
        if std::mem::take(&mut self.running[device]) {
            self.devices[device].stop();
        }
    }

    fn start(&mut self, device: usize) {
        if !std::mem::replace(&mut self.running[device], true) {
            self.devices[device].start();
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        if self.running.contains(&true) {
            self.settle_live();
            for device in 0..self.devices.len() {
                self.stop(device);
            }
            return Ok(());
        }
        self.settle_in_turns()
    }
}

impl StackSync {
    /// Where everything of it is.
    pub fn dir(&self) -> &Path {
        self.world.dir()
    }
}

/// A tool that one command drives: `sh -c COMMAND sh FOLDER...` brings the folders together and ends.
#[derive(Debug)]
pub struct Shell {
    command: String,
    roots: Vec<PathBuf>,
    moves: Moves,
    _dir: tempfile::TempDir,
}

impl Shell {
    /// Empty folders for so many devices.
    ///
    /// # Panics
    /// If the disk does not take them.
    pub fn new(devices: usize, command: &str, moves: Moves) -> Self {
        let dir = tempfile::Builder::new().prefix("stacksync-subject-").tempdir().expect("a temporary directory");
        let roots: Vec<PathBuf> = (0..devices).map(|number| dir.path().join(format!("device-{number}/folder"))).collect();
        for root in &roots {
            std::fs::create_dir_all(root).expect("a folder can be made");
        }
        Self { command: command.to_owned(), roots, moves, _dir: dir }
    }
}

impl Subject for Shell {
    fn roots(&self) -> Vec<PathBuf> {
        self.roots.clone()
    }

    fn moves(&self) -> Moves {
        self.moves
    }

    fn settle(&mut self) -> Result<(), String> {
        let output = Command::new("sh").arg("-c").arg(&self.command).arg("sh").args(&self.roots).output();
        let output = output.map_err(|error| format!("{}: {error}", self.command))?;
        if output.status.success() { Ok(()) } else { Err(format!("{}: {}", self.command, printed(&output))) }
    }
}
