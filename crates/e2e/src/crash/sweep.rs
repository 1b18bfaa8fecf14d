//! Power loss at every moment: the log of one piece of work is replayed to its every prefix, each a disk as a power cut there could have
//! left it, and the real program is started on it.

use super::checks;
use super::ledger::Ledger;
use super::play::Play;
use super::power::device_on;
use super::visit::every_kind_of_change;
use crate::device::Device;
use stacksync_powerfs::{Dice, Model, Op, PowerFs, Renames, Snapshot};
use std::path::Path;

/// Which of the prefixes are looked at, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Density {
    /// Every so-manieth prefix.
    pub step: usize,
    /// Disks of each prefix.
    pub seeds: u64,
    /// The server is started on every so-manieth disk; all others are only read.
    pub start_every: usize,
}

/// What happened: a log, the disk that it began with, and at which places of it something was acknowledged.
pub(super) struct Recorded {
    pub(super) began: Snapshot,
    pub(super) log: Vec<Op>,
    pub(super) marks: Vec<(usize, Ledger)>,
}

impl Recorded {
    /// A device's first sync and some changes of every kind, on a disk that the server writes to; `after` is called after each of them
    /// with its number. The server is dead in the end.
    pub(super) fn of_changes(play: &mut Play, disk: &PowerFs, after: impl Fn(usize)) -> Self {
        disk.begin();
        let began = disk.snapshot();
        let mut marks = vec![(0, play.ledger.clone())];
        for number in 0..4 {
            every_kind_of_change(play.devices[0].root(), number);
            play.look();
            play.sync(0);
            play.ledger.acknowledged.extend(play.devices[0].tree().contents());
            marks.push((disk.written(), play.ledger.clone()));
            after(number);
        }
        play.server.kill();
        Self { began, log: disk.log(), marks }
    }

    pub(super) fn prefixes(&self, density: Density) -> impl Iterator<Item = (usize, u64)> + use<> {
        // The last is always among them.
        let last = self.log.len();
        (0..=last).rev().step_by(density.step).flat_map(move |length| (0..density.seeds).map(move |seed| (length, seed)))
    }

    pub(super) fn ledger_at(&self, length: usize) -> Ledger {
        let mut known = self.marks.iter().filter(|(at, _)| *at <= length);
        known.next_back().map(|(_, ledger)| ledger.clone()).unwrap_or_default()
    }
}

/// The server loses its power at every moment of a device's first sync and of some changes of every kind. Answers how many disks were
/// looked at.
///
/// # Panics
/// If anything that was acknowledged is missing, or the server does not start.
pub fn server(dir: &Path, model: &Model, density: Density) -> usize {
    let disk = PowerFs::mount(&dir.join("data"), Renames::Flagged);
    let mut play = Play::new(dir, 1, 11);
    let recorded = Recorded::of_changes(&mut play, &disk, |_| ());
    let mut looked = 0;
    for (length, seed) in recorded.prefixes(density) {
        let mut dice = Dice::new(seed ^ (length as u64) << 20);
        disk.restart_at(&recorded.began, &recorded.log, length, model, &mut dice);
        let mut ledger = recorded.ledger_at(length);
        println!("server: after {length} of {} changes, disk {seed}", recorded.log.len());
        if looked % density.start_every == 0 {
            play.server.start();
            checks::server_is_tidy(&play.server);
            ledger.must_be_kept(&play.server);
            play.server.kill();
        } else {
            checks::database_is_in_order(&play.server.data().join("stacksync.db"));
            ledger.must_be_kept(&play.server);
        }
        looked += 1;
    }
    looked
}

/// A device loses its power at every moment of a sync that receives and sends changes of every kind. Answers how many disks were looked
/// at.
///
/// # Panics
/// If a file is torn, or the next sync does not bring the device to what everybody else has.
pub fn device(dir: &Path, model: &Model, density: Density) -> usize {
    let at = dir.join("b-disk");
    let disk = PowerFs::mount(&at, Renames::Flagged);
    let mut play = Play::with(dir, vec![Device::new(dir, "a"), device_on(dir, "b", &at)], 12);
    for number in 0..2 {
        every_kind_of_change(play.devices[0].root(), number);
        play.look();
        play.settle();
    }
    every_kind_of_change(play.devices[0].root(), 2);
    std::fs::write(play.devices[1].path("from b"), "from b").expect("a file can be written");
    std::fs::write(play.devices[1].path("folder-0/file-1"), "changed by b").expect("a file can be written");
    play.look();
    play.sync(0);
    disk.begin();
    let began = disk.snapshot();
    play.sync(1);
    play.sync(0);
    let wanted = play.devices[0].tree();
    let recorded = Recorded { began, log: disk.log(), marks: Vec::new() };
    let b = &play.devices[1];
    let mut looked = 0;
    for (length, seed) in recorded.prefixes(density) {
        let mut dice = Dice::new(seed ^ (length as u64) << 20);
        disk.restart_at(&recorded.began, &recorded.log, length, model, &mut dice);
        println!("device: after {length} of {} changes, disk {seed}", recorded.log.len());
        checks::no_file_is_torn(&b.tree(), &play.ledger.written, "b");
        b.sync_once();
        let lines = wanted.difference(&b.tree());
        assert!(lines.is_empty(), "b does not get to what a has:\n{}", lines.join("\n"));
        checks::device_is_tidy(b, &b.tree());
        looked += 1;
    }
    looked
}
