//! A small world that is crashed round after round: a server, a few devices, people who edit, and the ledger of what must be kept.
//!
//! One round: everybody edits; one program dies, at a random moment or at a crash point, while all sync; it starts again; all settle; all
//! is checked. Processes that did not die go on, so that a round is cheap.

use super::checks;
use super::ledger::Ledger;
use super::points::{self, Point, Side};
use crate::device::Device;
use crate::edit::Editor;
use crate::process::{self, Running};
use crate::random::Random;
use crate::server::Server;
use crate::tree::Tree;
use crate::{programs, seed, wait};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Files that the first device begins with.
const FILES: usize = 24;
const FILE_BYTES: usize = 600;
/// Longest time until a random crash; most syncs are over by then.
const MOMENT_MAX: Duration = Duration::from_millis(120);
/// Crash points are passed so often at most before the process dies.
const COUNT_MAX: usize = 5;
/// Rounds of syncs until all must agree.
const SETTLE_MAX: usize = 6;
/// Longest wait for one program in a round.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a program dies.
#[derive(Clone, Debug)]
pub enum Death {
    /// At a random moment.
    Moment(Duration),
    /// When it passes a crash point for the so-manieth time; it may end well before that.
    Point(String, usize),
}

/// The world.
#[derive(Debug)]
pub struct Play {
    /// Running between two rounds.
    pub server: Server,
    /// Joined; none runs between two rounds.
    pub devices: Vec<Device>,
    /// What must be kept.
    pub ledger: Ledger,
    editors: Vec<Editor>,
    random: Random,
    points: Vec<Point>,
    /// What happened in this round.
    story: Vec<String>,
    /// Crash points at which a program died so far.
    pub visited: Vec<String>,
}

impl Play {
    /// A world below `dir` with so many devices, settled.
    ///
    /// # Panics
    /// If it does not come to life.
    pub fn new(dir: &Path, devices: usize, seed: u64) -> Self {
        let names = (b'a'..).take(devices).map(|name| char::from(name).to_string());
        Self::with(dir, names.map(|name| Device::new(dir, &name)).collect(), seed)
    }

    /// The same with these devices, which have not joined yet.
    ///
    /// # Panics
    /// As [`Play::new`].
    pub fn with(dir: &Path, devices: Vec<Device>, seed: u64) -> Self {
        Self::on(Server::new(dir).with_database(None), devices, seed)
    }

    /// The same with this server, which does not run yet.
    ///
    /// # Panics
    /// As [`Play::new`].
    pub fn on(server: Server, devices: Vec<Device>, seed: u64) -> Self {
        let [client, service] = programs::crashing();
        let mut random = Random::new(seed);
        let mut server = server.with_program(service.clone());
        server.start();
        server.add_user("ada");
        let joined: Vec<Device> = devices.into_iter().map(|device| device.with_program(client.clone())).collect();
        joined.iter().for_each(|device| device.join(&server.invite("ada")));
        seed::grow_flat(joined[0].root(), FILES, FILE_BYTES, &mut random);
        let editors = joined.iter().map(|device| {
            let random = Random::new(seed ^ u64::from(device.name().as_bytes()[0]) << 32);
            Editor::new(device.root(), device.name(), random).small()
        });
        let editors = editors.collect();
        let points = points::all();
        let ledger = Ledger::default();
        let mut play = Self { server, devices: joined, ledger, editors, random, points, story: Vec::new(), visited: Vec::new() };
        play.look();
        play.settle();
        play
    }

    /// Plays one round with a random victim and death.
    ///
    /// # Panics
    /// If anything does not hold. [`Play::story`] has told what happened.
    pub fn round(&mut self) {
        self.work();
        if self.random.below(3) == 0 {
            let death = self.death(Side::Server);
            self.crash_server(&death);
        } else {
            let victim = self.random.below(self.devices.len());
            let death = self.death(Side::Device);
            self.crash_device(victim, &death);
        }
        self.settle();
    }

    /// A new round begins: everybody edits.
    pub fn work(&mut self) {
        self.story.clear();
        for editor in &mut self.editors {
            let operations = self.random.below(7);
            self.story.extend(editor.work(operations));
        }
        self.look();
    }

    /// Tells something in the story of the round.
    pub fn tell(&mut self, line: String) {
        self.story.push(line);
    }

    /// What happened in the last round, line by line.
    pub fn story(&self) -> String {
        self.story.join("\n")
    }

    fn death(&mut self, side: Side) -> Death {
        if self.random.below(2) == 0 {
            return Death::Moment(Duration::from_micros(self.random.below(MOMENT_MAX.as_micros() as usize) as u64));
        }
        let of_side: Vec<&Point> = self.points.iter().filter(|point| point.side == side).collect();
        let name = self.random.pick(&of_side).name.clone();
        Death::Point(name, 1 + self.random.below(COUNT_MAX))
    }

    /// One device syncs, undisturbed.
    ///
    /// # Panics
    /// If that fails.
    pub fn sync(&self, device: usize) {
        sync_with_approval(&self.devices[device]);
    }

    /// People wrote what is there now.
    pub fn look(&mut self) {
        for device in &self.devices {
            self.ledger.note_written(&device.tree());
        }
    }

    /// One device syncs and dies; the others sync meanwhile. Whether it died.
    pub fn crash_device(&mut self, victim: usize, death: &Death) -> bool {
        self.story.push(format!("device {} dies: {death:?}", self.devices[victim].name()));
        let others: Vec<Running> =
            self.devices.iter().enumerate().filter(|(index, _)| *index != victim).map(|(_, device)| sync(device, None)).collect();
        let died = die(sync(&self.devices[victim], Some(death)), death);
        others.into_iter().for_each(finish);
        self.note_visit(death, died);
        died
    }

    /// All devices sync and the server dies; it is started again while they try. Whether it died.
    pub fn crash_server(&mut self, death: &Death) -> bool {
        self.story.push(format!("the server dies: {death:?}"));
        let mut died = false;
        if let Death::Point(..) = death {
            // Some points are only passed at the start or at the stop.
            self.server.kill();
            self.server.spawn(with(self.server.command(), death));
        }
        let syncing: Vec<Running> = self.devices.iter().map(|device| sync(device, None)).collect();
        let start = Instant::now();
        let mut waiting: Vec<Running> = syncing;
        while !waiting.is_empty() && start.elapsed() < PATIENCE {
            let now = matches!(death, Death::Moment(moment) if start.elapsed() >= *moment);
            if !died && (now || self.server.ended()) {
                died = true;
                self.server.start();
            }
            waiting.retain_mut(|running| running.ended().is_none());
            std::thread::sleep(Duration::from_millis(2));
        }
        if !died {
            // It may pass the point at its end.
            self.server.stop();
            self.server.start();
        }
        self.note_visit(death, died);
        died
    }

    fn note_visit(&mut self, death: &Death, died: bool) {
        self.story.push(if died { "it died" } else { "it lived" }.to_owned());
        if let (Death::Point(name, _), true) = (death, died) {
            self.visited.push(name.clone());
        }
    }

    /// After a death: no torn file, also before anything starts again; then all sync until they agree; then everything is checked.
    ///
    /// # Panics
    /// If anything does not hold.
    pub fn settle(&mut self) {
        for device in &self.devices {
            checks::no_file_is_torn(&device.tree(), &self.ledger.written, device.name());
        }
        let mut before: Vec<Tree> = Vec::new();
        for _ in 0..SETTLE_MAX {
            for device in &self.devices {
                sync_with_approval(device);
                self.ledger.acknowledged.extend(device.tree().contents());
            }
            let after: Vec<Tree> = self.devices.iter().map(Device::tree).collect();
            if after == before || after.windows(2).all(|pair| pair[0] == pair[1]) {
                before = after;
                break;
            }
            before = after;
        }
        for (device, tree) in self.devices.iter().zip(&before) {
            let lines = before[0].difference(tree);
            assert!(
                lines.is_empty(),
                "{} | {} differ after they settled:\n{}",
                self.devices[0].name(),
                device.name(),
                lines.join("\n")
            );
            checks::no_file_is_torn(tree, &self.ledger.written, device.name());
            checks::device_is_tidy(device, tree);
        }
        checks::server_is_tidy(&self.server);
        self.ledger.must_be_kept(&self.server);
    }
}

/// `sync --once`. Where a person deleted most of a small tree, the deletions are held until he says that he meant it.
fn sync_with_approval(device: &Device) {
    let output = device.run(&["sync", "--once"]);
    if output.status.code() == Some(2) && process::printed(&output).contains("deletions are held") {
        device.must(&["approve"]);
        device.sync_once();
        return;
    }
    let printed = process::printed(&output);
    assert!(output.status.success(), "{}: sync --once failed ({}):\n{printed}", device.name(), output.status);
}

/// `sync --once` beside the harness.
fn sync(device: &Device, death: Option<&Death>) -> Running {
    let command = device.command(&["sync", "--once"]);
    Running::start(death.into_iter().fold(command, with), device.log())
}

/// The command dies at the point, if the death is at one.
pub fn with(mut command: Command, death: &Death) -> Command {
    if let Death::Point(name, count) = death {
        command.env(points::VARIABLE, format!("{name}:{count}"));
    }
    command
}

/// Waits until it died, or lived to its end.
fn die(mut running: Running, death: &Death) -> bool {
    if let Death::Moment(moment) = death {
        std::thread::sleep(*moment);
        let died = running.ended().is_none();
        running.kill();
        return died;
    }
    use std::os::unix::process::ExitStatusExt;
    let status = wait::try_until(PATIENCE, || running.ended().ok_or_else(|| "a sync does not end".to_owned()));
    match status {
        Ok(status) => status.signal() == Some(9),
        Err(said) => panic!("{said}:\n{}", running.log_tail()),
    }
}

fn finish(mut running: Running) {
    let ended = wait::try_until(PATIENCE, || running.ended().ok_or_else(|| "a sync does not end".to_owned()));
    assert!(ended.is_ok(), "{ended:?}:\n{}", running.log_tail());
}

/// Runs a command that is to die at a point. Whether it did.
///
/// # Panics
/// If it cannot be run.
pub fn dies(command: Command, name: &str, count: usize) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let output = process::run(with(command, &Death::Point(name.to_owned(), count)), PATIENCE);
    output.status.signal() == Some(9)
}
