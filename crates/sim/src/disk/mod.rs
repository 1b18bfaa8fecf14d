//! The simulated file system of one workspace's folder on one laptop: what a program sees of it, what survives a loss of power, and
//! what goes wrong.
//!
//! Two sides: people's (`person`) and the client's. The client's side has the semantics of the real `stacksync::disk`, call for call
//! (a test in `crates/e2e` runs both side by side), and is cut into steps: between any two of its calls people may edit, the
//! power may fail, the client may die. Steps are futures without a runtime: each poll makes one call of the simulated system.

mod batch;
mod calls;
mod errno;
mod flavour;
mod fs;
mod journal;
mod leftovers;
mod look;
mod machine;
mod node;
mod pen;
mod person;
mod put;
mod read;
mod rules;
mod scan;
mod shown;
mod spelling;
mod stage;
mod trash;
mod watch;

pub use errno::Errno;
pub use flavour::{Births, Case, Flavour, FlavourError, Forms, Home, Inodes, Journal, Refuses, Renames, Times};
pub use person::RootLoss;
pub use read::Upload;
pub use shown::Shift;
pub use watch::Event;

use crate::scenario::{Fault, Rates};
use calls::Calls;
use machine::{Machine, Outcome};
use stacksync_core::engine::{Applied, ApplyError, DiskAction, FileId, Listing, ScanError, Stat, UploadError};
use stacksync_core::values::{FileBody, ItemPath, Kind, Name};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What a person sees at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// File, folder or link.
    pub kind: Kind,
    /// The bytes of a file, the target of a link.
    pub bytes: Arc<Vec<u8>>,
    /// The executable bit of a file.
    pub executable: bool,
    /// The modification time of a file; 0 for the others.
    pub modified_ns: i64,
    /// Which file, as far as the file system tells; `None` for the others.
    pub file: Option<FileId>,
}

/// A file's content that an action of the engine took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// From where.
    pub path: ItemPath,
    /// What it held.
    pub bytes: Vec<u8>,
    /// Whether it is in the trash now; else it is nowhere.
    pub trashed: bool,
    /// Whether it went with a folder that held nothing but ignored files and their rules.
    pub in_folder: bool,
    /// Whether an ignore rule matched it.
    pub ignored: bool,
    /// Whether the client wanted to put it back, and the disk refused.
    pub refused: bool,
}

/// Whether something that takes several steps is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// Not yet.
    Going,
    /// With this.
    Done(T),
}

/// An action on the disk under way: every step of it is one call of [`Disk::step`]. Dead after the client or the machine died; it
/// is dropped then.
pub struct Job {
    future: Pin<Box<dyn Future<Output = Outcome>>>,
    generation: u64,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// One workspace's folder on one laptop.
#[derive(Debug)]
pub struct Disk {
    machine: Rc<RefCell<Machine>>,
}

impl Disk {
    /// An empty folder. What goes wrong is drawn from a stream of its own.
    pub fn new(flavour: Flavour, seed: u64) -> Self {
        Self { machine: Rc::new(RefCell::new(Machine::new(flavour, seed))) }
    }

    fn with<T>(&self, what: impl FnOnce(&mut Machine) -> T) -> T {
        what(&mut self.machine.borrow_mut())
    }

    /// The laptop's clock, in nanoseconds since 1970; it may jump. Who is in the middle of writing goes on when it is time.
    pub fn set_clock(&mut self, unix_ns: i64) {
        self.with(|machine| {
            machine.fs.set_clock(unix_ns);
            let now = machine.fs.clock;
            machine.fs.journal.write_back(now, &mut machine.fs.nodes);
            machine.write_due();
        });
    }

    /// What goes wrong from now on, and how often. When nothing goes wrong any more, nothing stays broken.
    pub fn set_rates(&mut self, rates: &Rates) {
        self.with(|machine| {
            machine.rates = *rates;
            if *rates == Rates::NONE {
                machine.heal();
            }
        });
    }

    /// The faults that happened since this was asked last.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        self.with(|machine| std::mem::take(&mut machine.faults))
    }

    /// What a look at a folder, or at some names in it, tells.
    ///
    /// # Errors
    /// As the real disk.
    pub fn scan(&mut self, path: &ItemPath, names: Option<&[Name]>) -> Result<Listing, ScanError> {
        self.with(|machine| machine.scan(path, names))
    }

    /// Opens a file to be uploaded, if it is as expected.
    ///
    /// # Errors
    /// As the real disk.
    pub fn begin_upload(&mut self, path: &ItemPath, expect: &Stat) -> Result<Upload, UploadError> {
        self.with(|machine| machine.begin_upload(path, expect))
    }

    /// Reads on; `Done` at the end of the file.
    pub fn continue_upload(&mut self, upload: &mut Upload) -> Progress<Result<(), UploadError>> {
        self.with(|machine| machine.continue_upload(upload))
    }

    /// After all chunks are stored: the look for which the bytes hold, if the file did not change meanwhile.
    ///
    /// # Errors
    /// As the real disk.
    pub fn finish_upload(&mut self, upload: Upload) -> Result<Stat, UploadError> {
        self.with(|machine| machine.finish_upload(&upload))
    }

    /// The bytes of a file that may hold some of the wanted ones; they are verified by whoever uses them.
    pub fn read_source(&mut self, path: &ItemPath, _body: &FileBody) -> Option<Vec<u8>> {
        self.with(|machine| {
            let file = machine.open_to_read(path).ok()?;
            Some(machine.fs.node(file.id).ok()?.bytes()?.to_vec())
        })
    }

    /// Begins an action; of a `Write` with the complete, verified bytes.
    pub fn begin(&mut self, action: DiskAction, contents: Option<Vec<u8>>) -> Job {
        let calls = Calls::new(self.machine.clone());
        let generation = self.with(|machine| machine.generation);
        Job { future: Box::pin(stage::carry_out(calls, action, contents)), generation }
    }

    /// One step of an action: stage, write, fsync, look, rename, fsync of the folder, each on its own. Actions that are staged
    /// share batches, as in the client: a step of one may be a step of another's.
    pub fn step(&mut self, job: &mut Job) -> Progress<Result<Applied, ApplyError>> {
        if self.with(|machine| machine.generation) != job.generation {
            return Progress::Going;
        }
        match job.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Progress::Done(outcome),
            Poll::Pending => Progress::Going,
        }
    }

    /// Actions that are staged, if they are to be, and wait for the batch that takes them.
    pub fn waiting(&self) -> usize {
        self.with(|machine| machine.queue.len())
    }

    /// Power loss: what was not synced is torn or gone. Then the client starts.
    pub fn crash(&mut self) {
        self.with(Machine::lose_power);
    }

    /// The client died, not the machine, and starts again: nothing is lost, and what it had staged is cleared away.
    pub fn restart_process(&mut self) {
        self.with(Machine::start);
    }

    /// What the files hold into which somebody wrote another piece since this was asked last, after each piece.
    pub fn take_written(&mut self) -> Vec<Arc<Vec<u8>>> {
        self.with(|machine| std::mem::take(&mut machine.written))
    }

    /// What the watcher says since it was asked last.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.with(|machine| {
            if machine.happens(Fault::EventOverflow) {
                machine.fs.watch.overflow();
            }
            let mut hints = machine.fs.watch.take(&machine.fs.nodes);
            hints.paths.append(&mut machine.late);
            let mut events = Vec::new();
            if hints.all || std::mem::take(&mut machine.rules_changed) {
                events.push(Event::Overflow);
            }
            for path in hints.paths {
                if machine.happens(Fault::EventLate) {
                    machine.late.insert(path);
                } else if !machine.happens(Fault::EventLost) {
                    events.push(Event::Touched(path));
                }
            }
            events
        })
    }

    /// Another number after every change of what [`Disk::visible`] shows.
    pub fn changes(&self) -> u64 {
        self.with(|machine| machine.fs.changes)
    }

    /// Another number after every piece that somebody wrote who writes slowly.
    pub fn pieces(&self) -> u64 {
        self.with(|machine| machine.pieces)
    }

    /// Whether an ignore rule matches what is at this path.
    pub fn is_ignored(&self, path: &str) -> bool {
        self.with(|machine| machine.is_ignored(path))
    }

    /// A path as this file system shows it.
    pub fn spelling(&self, path: &str) -> String {
        self.with(|machine| machine.fs.flavour.spelling(path))
    }

    /// Whether this file system can hold a path, and show it as another one only by case or Unicode form.
    pub fn holds(&self, path: &str) -> bool {
        let held = |name: &str| {
            let name: Option<Name> = name.parse().ok();
            name.is_some_and(|name| self.with(|machine| machine.fs.flavour.stored(&name)).is_ok())
        };
        path.split('/').all(held)
    }

    /// Whether two changes within a second may bear the same times.
    pub fn has_coarse_times(&self) -> bool {
        self.with(|machine| matches!(machine.fs.flavour.times, Times::Second | Times::TwoSeconds))
    }

    /// What becomes of an executable bit here.
    pub const fn kept_mode(&self, executable: bool) -> bool {
        executable
    }

    /// What becomes of a modification time here, in nanoseconds.
    pub fn kept_time(&self, modified_ns: i64) -> i64 {
        self.with(|machine| machine.fs.flavour.times.kept(modified_ns))
    }

    /// Everything that a person sees, by path; without the client's own temporary names.
    pub fn visible(&self) -> BTreeMap<String, Seen> {
        self.with(|machine| machine.visible())
    }

    /// The paths that show something else than when this was asked last. Costs what changed, whatever else is there.
    pub fn take_shifts(&self) -> Vec<Shift> {
        self.with(|machine| {
            machine.follow();
            machine.shown.take_shifts()
        })
    }

    /// Whether some visible path has this in it.
    pub fn shows(&self, part: &str) -> bool {
        self.with(|machine| {
            machine.follow();
            machine.shown.paths().any(|path| path.contains(part))
        })
    }

    /// Whether what is followed change by change is what [`Disk::visible`] finds.
    pub fn is_followed(&self) -> bool {
        self.with(|machine| {
            machine.follow();
            machine.shown.all() == machine.visible()
        })
    }

    /// Whether an action has a file with these bytes aside, to look at it once more: then it stays taken away, or goes back.
    pub fn is_aside(&self, bytes: &[u8]) -> bool {
        self.with(|machine| {
            let hidden =
                machine.walk().into_iter().filter(|(path, _)| path.names().last().is_some_and(|name| rules::is_own(name.as_str())));
            let aside = machine.set_aside.iter().map(|(id, path)| (path.clone(), *id)).chain(hidden);
            aside.flat_map(|(path, id)| machine.contents(id, &path)).any(|one| one.bytes == bytes)
        })
    }

    /// Contents that actions of the engine took away since this was asked last.
    pub fn removed(&mut self) -> Vec<Removed> {
        self.with(|machine| std::mem::take(&mut machine.removed))
    }
}

#[cfg(test)]
mod tests;
