//! Power loss: the server's data and one device's home and folder are on disks that lose their power in the middle of everything.
//!
//! Live: the power fails after a random number of changes and `fsync`s while all sync; the program on that disk is killed, the disk is what
//! the model of [`stacksync_powerfs`] leaves of it, and everything goes on from there.

use super::checks;
use super::play::Play;
use crate::device::Device;
use crate::process::Running;
use crate::random::Random;
use stacksync_powerfs::{Dice, Model, PowerFs, Renames};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for one program in a round.
const PATIENCE: Duration = Duration::from_secs(60);
/// Changes and `fsync`s of one sync that changes something, roughly; the power fails somewhere within.
const CHANGES: usize = 160;

/// A world whose power fails.
#[derive(Debug)]
pub struct PowerPlay {
    /// The world; device 0 is on an ordinary disk.
    pub play: Play,
    /// The server's disk.
    server_disk: PowerFs,
    /// The disk of device 1, home and folder.
    device_disk: PowerFs,
    random: Random,
}

/// Device `name` with home and folder on a disk at `disk`.
pub fn device_on(dir: &Path, name: &str, disk: &Path) -> Device {
    Device::new(dir, name).with_places(&disk.join("home"), &disk.join("folder"))
}

impl PowerPlay {
    /// A world below `dir`.
    ///
    /// # Panics
    /// If it does not come to life.
    pub fn new(dir: &Path, seed: u64) -> Self {
        let server_disk = PowerFs::mount(&dir.join("data"), Renames::Flagged);
        let at = dir.join("b-disk");
        let device_disk = PowerFs::mount(&at, Renames::Flagged);
        let devices = vec![Device::new(dir, "a"), device_on(dir, "b", &at)];
        let play = Play::with(dir, devices, seed);
        Self { play, server_disk, device_disk, random: Random::new(seed ^ 0x706f_7765) }
    }

    /// One round: everybody edits, and what they wrote becomes durable; all sync, and the power of one disk fails; all settle.
    ///
    /// # Panics
    /// If anything does not hold.
    pub fn round(&mut self) {
        self.play.work();
        self.server_disk.begin();
        self.device_disk.begin();
        let count = 1 + self.random.below(CHANGES);
        let mut dice = Dice::new(self.random.next());
        if self.random.below(2) == 0 {
            self.play.tell(format!("the server's power fails after {count} changes"));
            self.fail_server(count, &mut dice);
        } else {
            self.play.tell(format!("the power of device b fails after {count} changes"));
            self.fail_device(count, &mut dice);
        }
        self.play.settle();
    }

    fn fail_device(&mut self, count: usize, dice: &mut Dice) {
        self.device_disk.cut_after(count);
        let other = start(&self.play.devices[0]);
        let mut victim = start(&self.play.devices[1]);
        wait(|| victim.ended().is_some() || self.device_disk.is_cut());
        victim.kill();
        self.device_disk.restart(&Model::default(), dice);
        checks::no_file_is_torn(&self.play.devices[1].tree(), &self.play.ledger.written, "b");
        end(other);
    }

    fn fail_server(&mut self, count: usize, dice: &mut Dice) {
        self.server_disk.cut_after(count);
        let mut syncing: Vec<Running> = self.play.devices.iter().map(start).collect();
        wait(|| self.server_disk.is_cut() || syncing.iter_mut().all(|running| running.ended().is_some()));
        // Whoever was told that all is in sync before the power failed relies on it.
        for (running, device) in syncing.iter_mut().zip(&self.play.devices) {
            if running.ended().is_some_and(|status| status.success()) {
                self.play.ledger.acknowledged.extend(device.tree().contents());
            }
        }
        self.play.server.kill();
        self.server_disk.restart(&Model::default(), dice);
        // The kernel keeps the failures of the disk that had no power for whoever syncs it next; they are not of this disk.
        let _ = std::fs::File::open(self.play.server.data()).map(|folder| rustix::fs::syncfs(&folder));
        self.play.server.start();
        syncing.into_iter().for_each(end);
    }
}

pub(super) fn start(device: &Device) -> Running {
    Running::start(device.command(&["sync", "--once"]), device.log())
}

pub(super) fn end(mut running: Running) {
    wait(|| running.ended().is_some());
}

pub(super) fn wait(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "a sync does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}
