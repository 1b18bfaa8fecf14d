//! Crashes of PostgreSQL itself under a service that goes on: its processes are killed, or its disk loses power.
//!
//! Live: at a random moment of a sync. Replayed: after every so-many-th change of its disk it starts on a disk as a power cut there could
//! have left it, recovers, and must still name everything that was acknowledged by then. The chunks are on an ordinary disk.

use super::checks;
use super::play::Play;
use super::power::{end, start, wait};
use super::sweep::{Density, Recorded};
use crate::device::Device;
use crate::postgres::{Database, script};
use crate::process::Running;
use crate::random::Random;
use crate::server::Server;
use stacksync_powerfs::{Dice, Model, PowerFs, Renames};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Changes and `fsync`s of the database's disk in one sync that changes something, roughly.
const CHANGES: usize = 60;

/// A temporary directory that the user of the database can reach.
///
/// # Panics
/// If there is no room.
pub fn open_dir() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let all_may_enter = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("stacksync-power-").permissions(all_may_enter).tempdir().expect("a temporary directory")
}

/// A PostgreSQL of its own whose data are on a disk that can lose its power. It is killed when this goes away.
#[derive(Debug)]
pub struct FragileDatabase {
    disk: PowerFs,
    dir: PathBuf,
    port: u16,
}

impl FragileDatabase {
    /// One below `dir`, running.
    ///
    /// # Panics
    /// If it does not start.
    pub fn new(dir: &Path) -> Self {
        let dir = dir.join("postgres");
        let disk = PowerFs::mount(&dir.join("data"), Renames::Flagged);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let made = Self { disk, dir, port };
        made.start();
        made
    }

    /// Starts it, after recovery if that is needed.
    ///
    /// # Panics
    /// If it does not start: a database that cannot recover has lost everything.
    pub fn start(&self) {
        assert!(self.run("start", &[&self.port.to_string()]), "PostgreSQL does not start");
    }

    /// Kills all of its processes at once.
    ///
    /// # Panics
    /// If they do not end.
    pub fn kill(&self) {
        assert!(self.run("kill", &[]), "PostgreSQL cannot be killed");
    }

    fn run(&self, verb: &str, more: &[&str]) -> bool {
        // Small pieces of its log: a new one begins in the middle of a test too.
        let mut command = Command::new(script());
        command.arg(verb).arg(&self.dir).args(more).env("FSYNC", "on").env("WAL_SEGMENT_MIB", "1");
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for FragileDatabase {
    fn drop(&mut self) {
        // A test that fails already is not to fail twice.
        let _ = self.run("kill", &[]);
    }
}

/// A world whose database crashes.
#[derive(Debug)]
pub struct DatabasePlay {
    /// The world.
    pub play: Play,
    database: FragileDatabase,
    random: Random,
}

impl DatabasePlay {
    /// A world below `dir`, which the user of the database must be able to reach.
    ///
    /// # Panics
    /// If it does not come to life.
    pub fn new(dir: &Path, seed: u64) -> Self {
        let database = FragileDatabase::new(dir);
        let server = Server::new(dir).with_database(Some(Database::fresh_at(database.port)));
        let devices = ["a", "b"].map(|name| Device::new(dir, name));
        let play = Play::on(server, devices.into(), seed);
        Self { play, database, random: Random::new(seed ^ 0x6461_7461) }
    }

    /// One round: everybody edits; while all sync the database is killed, or its disk loses power; it starts again; all settle.
    ///
    /// # Panics
    /// If anything does not hold.
    pub fn round(&mut self) {
        self.play.work();
        self.database.disk.begin();
        let count = 1 + self.random.below(CHANGES);
        let powerless = self.random.below(3) > 0;
        let how = if powerless { "its power fails" } else { "it is killed" };
        self.play.tell(format!("the database crashes after {count} changes: {how}"));
        let mut syncing: Vec<Running> = self.play.devices.iter().map(start).collect();
        if powerless {
            self.database.disk.cut_after(count);
        }
        let disk = &self.database.disk;
        wait(|| disk.written() >= count || syncing.iter_mut().all(|running| running.ended().is_some()));
        // Whoever was told by now that all is in sync relies on it.
        for (running, device) in syncing.iter_mut().zip(&self.play.devices) {
            if running.ended().is_some_and(|status| status.success()) {
                self.play.ledger.acknowledged.extend(device.tree().contents());
            }
        }
        self.database.kill();
        if powerless {
            self.database.disk.restart(&Model::default(), &mut Dice::new(self.random.next()));
        }
        self.database.start();
        syncing.into_iter().for_each(end);
        self.play.settle();
    }
}

/// The database's power fails at every so-many-th moment of a device's first sync and of some changes of every kind, two checkpoints among
/// them. Answers how many disks were looked at.
///
/// # Panics
/// If anything that was acknowledged is missing, or the database does not recover.
pub fn sweep(dir: &Path, model: &Model, density: Density) -> usize {
    let DatabasePlay { mut play, database, .. } = DatabasePlay::new(dir, 13);
    let named = play.server.database().expect("it has one").clone();
    // What it has in memory goes to its files.
    let checkpoint = || drop(named.query("CHECKPOINT"));
    checkpoint();
    let recorded = Recorded::of_changes(&mut play, &database.disk, |number| {
        if number % 2 == 0 {
            checkpoint();
        }
    });
    let mut looked = 0;
    for (length, seed) in recorded.prefixes(density) {
        database.kill();
        let mut dice = Dice::new(seed ^ (length as u64) << 20);
        database.disk.restart_at(&recorded.began, &recorded.log, length, model, &mut dice);
        println!("database: after {length} of {} changes, disk {seed}", recorded.log.len());
        database.start();
        recorded.ledger_at(length).must_be_kept(&play.server);
        if looked % density.start_every == 0 {
            play.server.start();
            checks::server_is_tidy(&play.server);
            play.server.kill();
        }
        looked += 1;
    }
    looked
}
