//! Both sides: every operation is done on each, and everything that can be compared is.

use super::real::{Picture, Real};
use rustix::fs::RenameFlags;
use stacksync_core::engine::{Applied, ApplyError, DiskAction, FileId, Listing, ScanError, Stat, UploadError};
use stacksync_core::values::{ChunkName, ChunkRef, FileBody, ItemPath, Kind, ModifiedAt, Name};
use stacksync_e2e::random::Random;
use stacksync_sim::disk::{Disk, Flavour, Progress};
use std::collections::BTreeMap;
use std::path::Path;

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e.o", "notes.swp", ".syncignore", "Notes"];
/// Times from here on are those of a clock, and differ.
const NOW_FROM: i64 = 1_300_000_000_000_000_000;

/// What must have happened in some sequence.
pub const OUTCOMES: &[&str] = &[
    "Write done",
    "Write Changed",
    "Write over done",
    "Write over Changed",
    "MakeFolder done",
    "MakeFolder Changed",
    "MakeLink done",
    "MakeLink over done",
    "Move done",
    "Move Changed",
    "Move Failed",
    "SetMeta done",
    "SetMeta Changed",
    "Trash done",
    "Trash Changed",
    "RemoveFolder done",
    "RemoveFolder Changed",
    "upload done",
    "upload Changed",
];

/// A look at one thing on both sides.
#[derive(Clone, Debug)]
struct Pair {
    path: ItemPath,
    real: Stat,
    sim: Stat,
}

pub struct Twins {
    real: Real,
    sim: Disk,
    /// Looks taken so far; old ones are as good as new ones.
    looks: Vec<Pair>,
    files: BTreeMap<FileId, FileId>,
    files_back: BTreeMap<FileId, FileId>,
    made: usize,
}

impl Twins {
    pub fn new(flavour: Flavour, home: Option<&Path>, seed: u64) -> Self {
        let (real, sim) = (Real::new(home), Disk::new(flavour, seed));
        Self { real, sim, looks: Vec::new(), files: BTreeMap::new(), files_back: BTreeMap::new(), made: 0 }
    }

    /// Does one thing and says what kind; `Err` says what differs.
    pub fn operate(&mut self, random: &mut Random) -> Result<String, String> {
        let what = match random.below(20) {
            0..=8 => self.edit(random)?,
            9..=11 => self.look(random)?,
            12 => self.upload(random)?,
            _ => self.act(random)?,
        };
        self.sim.set_clock(self.sim.clock_ns() + 20_000_000);
        let (real, sim) = (shown(self.real.picture()), shown(sim_picture(&self.sim)));
        let mut trashed = self.sim.trashed();
        trashed.sort();
        let hidden = self.real.leftovers();
        if real != sim {
            return Err(format!("after {what}: the real one shows {real:#?}, the simulated one {sim:#?}"));
        }
        if self.real.trashed() != trashed {
            return Err(format!("after {what}: the trash differs: {:?} {trashed:?}", self.real.trashed()));
        }
        if hidden > 0 {
            return Err(format!("after {what}: something of the client is left over"));
        }
        Ok(what)
    }

    /// A path, mostly one where something is.
    fn path(&self, random: &mut Random) -> ItemPath {
        let paths = self.sim.paths();
        if !paths.is_empty() && random.below(3) > 0 {
            return random.pick(&paths).0.clone();
        }
        let folders: Vec<ItemPath> =
            paths.into_iter().filter(|(_, kind)| *kind == Kind::Folder).map(|(path, _)| path).chain([ItemPath::top()]).collect();
        random.pick(&folders).join(&random.pick(&NAMES).parse().unwrap())
    }

    /// Bytes of a length that no other has, so that nobody needs a clock to see that they differ.
    fn content(&mut self, path: &ItemPath, random: &mut Random) -> Vec<u8> {
        self.made += 1;
        let mut bytes = if path.names().last().is_some_and(|name| name.as_str() == ".syncignore") {
            random.pick(&["*.o\n", "b\n", "/c\n", "d/\n!e.o\n", "# nothing\n", "!notes.swp\n"]).as_bytes().to_vec()
        } else {
            Vec::new()
        };
        bytes.extend(std::iter::repeat_n(b'#', self.made));
        bytes
    }

    fn edit(&mut self, random: &mut Random) -> Result<String, String> {
        let (path, other) = (self.path(random), self.path(random));
        let bytes = self.content(&path, random);
        let file = self.real.is_file(&path);
        let (real, sim) = (&self.real, &mut self.sim);
        let plain = RenameFlags::empty();
        let (what, outcomes) = match random.below(12) {
            0 | 1 => ("make file", (real.make_file(&path, &bytes), sim.make_file(&path, bytes).map_err(drop))),
            2 | 3 => ("make folder", (real.make_folder(&path), sim.make_folder(&path).map_err(drop))),
            4 => ("make link", (real.make_link(&path, "target"), sim.make_link(&path, "target").map_err(drop))),
            5 if file => ("rewrite", (real.rewrite(&path, &bytes), sim.rewrite(&path, &bytes).map_err(drop))),
            6 if file => {
                let len = sim.read(&path).map_or(0, |bytes| bytes.len());
                ("append", (real.append(&path, &bytes), sim.write_at(&path, len, &bytes).map_err(drop)))
            }
            7 => ("rename", (real.rename(&path, &other, plain), sim.rename(&path, &other).map_err(drop))),
            8 => ("exchange", (real.rename(&path, &other, RenameFlags::EXCHANGE), sim.exchange(&path, &other).map_err(drop))),
            9 => ("remove", (real.remove(&path), sim.remove(&path).map_err(drop))),
            10 if file => {
                let time = 1_200_000_000_000_000_000 + self.made as i64;
                ("touch", (real.touch(&path, time), sim.touch(&path, time).map_err(drop)))
            }
            11 if file => {
                let mode = *random.pick(&[0o644, 0o755, 0o600, 0o700]);
                ("chmod", (real.chmod(&path, mode), sim.chmod(&path, mode).map_err(drop)))
            }
            _ => ("hard link", (real.hard_link(&path, &other), sim.hard_link(&path, &other).map_err(drop))),
        };
        if outcomes.0 == outcomes.1 { Ok(what.to_owned()) } else { Err(format!("{what} {path} {other}: {outcomes:?}")) }
    }

    fn look(&mut self, random: &mut Random) -> Result<String, String> {
        let path = self.path(random);
        let names: Option<Vec<Name>> = (random.below(2) == 0)
            .then(|| NAMES.iter().filter(|_| random.below(2) == 0).map(|name| name.parse().unwrap()).collect());
        let (path, names) = match (random.below(3), path.split()) {
            (0, Some((folder, name))) => (folder, Some(vec![name.clone()])),
            (1, _) => (ItemPath::top(), names),
            _ => (path, names),
        };
        let (real, sim) = (self.real.disk.scan(&path, names.as_deref()).result, self.sim.scan(&path, names.as_deref()));
        match (real, sim) {
            (Ok(real), Ok(sim)) => self.compare(&path, real, sim)?,
            (Err(ScanError::Gone), Err(ScanError::Gone)) => {}
            (Err(ScanError::RootLost(_)), Err(ScanError::RootLost(_))) => {}
            (Err(ScanError::Unreadable(_)), Err(ScanError::Unreadable(_))) => {}
            (real, sim) => return Err(format!("look at {path} {names:?}: {real:?} {sim:?}")),
        }
        Ok("look".to_owned())
    }

    fn compare(&mut self, path: &ItemPath, mut real: Listing, mut sim: Listing) -> Result<(), String> {
        real.entries.sort_by(|a, b| a.name.cmp(&b.name));
        sim.entries.sort_by(|a, b| a.name.cmp(&b.name));
        let brief = |listing: &Listing| -> Vec<(Name, bool)> {
            listing.entries.iter().map(|entry| (entry.name.clone(), entry.ignored)).collect()
        };
        if brief(&real) != brief(&sim) {
            return Err(format!("a look at \"{path}\" differs: {:?} {:?}", brief(&real), brief(&sim)));
        }
        for (real, sim) in real.entries.into_iter().zip(sim.entries) {
            self.same(&real.stat, &sim.stat).map_err(|why| format!("{path}/{}: {why}", real.name))?;
            self.looks.push(Pair { path: path.join(&real.name), real: real.stat, sim: sim.stat });
        }
        Ok(())
    }

    /// Two looks at the same thing, apart from what cannot be equal.
    fn same(&mut self, real: &Stat, sim: &Stat) -> Result<(), String> {
        let there = *self.files.entry(real.file).or_insert(sim.file);
        let back = *self.files_back.entry(sim.file).or_insert(real.file);
        let brief = |stat: &Stat| {
            let modified = if stat.kind == Kind::File { time(stat.modified.0) } else { None };
            (stat.kind, stat.size, modified, stat.executable, stat.target.clone())
        };
        if there != sim.file || back != real.file {
            return Err(format!("not the same file: {:?} was {there:?}, {:?} was {back:?}", real.file, sim.file));
        }
        if brief(real) == brief(sim) { Ok(()) } else { Err(format!("{real:?} {sim:?}")) }
    }

    /// A look, fresh or old, at what is there or was there.
    fn some_look(&mut self, random: &mut Random) -> Result<Option<Pair>, String> {
        if random.below(3) > 0 {
            let path = self.path(random);
            if let Some((folder, name)) = path.split() {
                let names = [name.clone()];
                if let (Ok(real), Ok(sim)) =
                    (self.real.disk.scan(&folder, Some(&names)).result, self.sim.scan(&folder, Some(&names)))
                {
                    let before = self.looks.len();
                    self.compare(&folder, real, sim)?;
                    return Ok(self.looks.get(before).cloned());
                }
            }
        }
        let recent = self.looks.len().saturating_sub(30);
        Ok(if self.looks.is_empty() { None } else { Some(random.pick(&self.looks[recent..]).clone()) })
    }

    fn act(&mut self, random: &mut Random) -> Result<String, String> {
        let Some(look) = self.some_look(random)? else { return Ok("nothing".to_owned()) };
        let (target, other) = (self.path(random), self.path(random));
        let path = if random.below(4) == 0 { target.clone() } else { look.path.clone() };
        let over = random.below(2) == 0;
        let path = if over { path } else { target };
        let bytes = self.content(&ItemPath::top(), random);
        let time = ModifiedAt(1_100_000_000_000_000_000 + self.made as i64);
        let executable = random.below(2) == 0;
        let parent = self.folder_of(&path, random);
        let which = random.below(7);
        let action = |stat: &Stat, into: Option<FileId>| {
            let replaces = over.then(|| stat.clone());
            match which {
                0 | 1 => {
                    let body = FileBody { executable, ..body(&bytes) };
                    DiskAction::Write { path: path.clone(), into, body, modified: time, replaces, sources: vec![] }
                }
                2 => DiskAction::MakeLink { path: path.clone(), into, target: "new target".into(), replaces },
                3 if !over => DiskAction::MakeFolder { path: path.clone(), into },
                3 => DiskAction::SetMeta { path: path.clone(), expect: stat.clone(), modified: time, executable },
                4 => DiskAction::Move { from: look.path.clone(), expect: stat.clone(), to: other.clone(), into: None },
                5 => DiskAction::Trash { path: path.clone(), expect: stat.clone() },
                _ => DiskAction::RemoveFolder { path: path.clone(), expect: stat.clone(), rules: None },
            }
        };
        let (real, sim) = (action(&look.real, parent.map(|pair| pair.0)), action(&look.sim, parent.map(|pair| pair.1)));
        // A folder is removed with whatever its name is then: its expectation is a folder's, or it is refused.
        let edit = (random.below(3) == 0).then(|| (path.clone(), self.content(&path, random)));
        let what = verb(&real);
        let outcomes = self.apply_both(real, sim, &bytes, edit);
        self.judge(&what, outcomes).map_err(|why| format!("{what} {path} {other} with {look:?}: {why}"))
    }

    /// The folder that shall hold a path, on both sides, or no wish.
    fn folder_of(&mut self, path: &ItemPath, random: &mut Random) -> Option<(FileId, FileId)> {
        let (folder, _) = path.split()?;
        let seen = self.looks.iter().rev().find(|pair| pair.path == folder)?;
        (random.below(2) == 0).then_some((seen.real.file, seen.sim.file))
    }

    fn apply_both(&mut self, real: DiskAction, sim: DiskAction, bytes: &[u8], edit: Option<(ItemPath, Vec<u8>)>) -> Outcomes {
        let staged = matches!(real, DiskAction::Write { .. });
        let real = self.real.apply(real, bytes, || {
            if let Some((path, edited)) = &edit
                && self.real.is_file(path)
            {
                self.real.rewrite(path, edited).unwrap();
            }
        });
        let mut job = self.sim.begin(sim, Some(bytes.to_vec()));
        let mut edit = edit.filter(|_| staged);
        let sim = loop {
            if self.sim.waiting() > 0
                && let Some((path, edited)) = edit.take()
            {
                self.sim.rewrite(&path, &edited).ok();
            }
            if let Progress::Done(outcome) = self.sim.step(&mut job) {
                break outcome;
            }
        };
        (real, sim)
    }

    fn judge(&mut self, what: &str, outcomes: Outcomes) -> Result<String, String> {
        let word = match &outcomes {
            (Ok(Applied::Present(real)), Ok(Applied::Present(sim))) => self.same(real, sim).map(|()| "done")?,
            (Ok(Applied::Absent), Ok(Applied::Absent)) => "done",
            (Err(ApplyError::Changed), Err(ApplyError::Changed)) => "Changed",
            (Err(ApplyError::NoSpace), Err(ApplyError::NoSpace)) => "NoSpace",
            (Err(ApplyError::Failed(_)), Err(ApplyError::Failed(_))) => "Failed",
            _ => return Err(format!("{outcomes:?}")),
        };
        Ok(format!("{what} {word}"))
    }

    fn upload(&mut self, random: &mut Random) -> Result<String, String> {
        let Some(look) = self.some_look(random)? else { return Ok("nothing".to_owned()) };
        let edited = self.content(&look.path, random);
        let edit = random.below(3) == 0;
        let real = self.real.upload(&look.path, &look.real, || {
            if edit {
                self.real.rewrite(&look.path, &edited).unwrap();
            }
        });
        let sim = sim_upload(&mut self.sim, &look, edit.then_some(edited.as_slice()));
        match (real, sim) {
            (Ok(real), Ok(sim)) if real == sim => Ok("upload done".to_owned()),
            (Err(UploadError::Changed), Err(UploadError::Changed)) => Ok("upload Changed".to_owned()),
            (Err(UploadError::Unreadable(_)), Err(UploadError::Unreadable(_))) => Ok("upload Unreadable".to_owned()),
            (real, sim) => Err(format!("upload {}: {real:?} {sim:?}", look.path)),
        }
    }
}

type Outcomes = (Result<Applied, ApplyError>, Result<Applied, ApplyError>);

fn sim_upload(sim: &mut Disk, look: &Pair, edit: Option<&[u8]>) -> Result<Vec<u8>, UploadError> {
    let mut upload = sim.begin_upload(&look.path, &look.sim)?;
    let mut read = loop {
        if let Progress::Done(read) = sim.continue_upload(&mut upload) {
            break read;
        }
    };
    if let (Ok(()), Some(edited)) = (&read, edit) {
        sim.rewrite(&look.path, edited).map_err(|_| UploadError::Changed)?;
        read = Ok(());
    }
    read?;
    let bytes = upload.bytes.clone();
    sim.finish_upload(upload)?;
    Ok(bytes)
}

fn verb(action: &DiskAction) -> String {
    let (verb, over) = match action {
        DiskAction::Write { replaces, .. } => ("Write", replaces.is_some()),
        DiskAction::MakeLink { replaces, .. } => ("MakeLink", replaces.is_some()),
        DiskAction::MakeFolder { .. } => ("MakeFolder", false),
        DiskAction::Move { .. } => ("Move", false),
        DiskAction::SetMeta { .. } => ("SetMeta", false),
        DiskAction::Trash { .. } => ("Trash", false),
        DiskAction::RemoveFolder { .. } => ("RemoveFolder", false),
    };
    if over { format!("{verb} over") } else { verb.to_owned() }
}

fn body(bytes: &[u8]) -> FileBody {
    let chunk = ChunkRef { name: ChunkName::of(bytes), len: bytes.len() as u32 };
    FileBody { size: bytes.len() as u64, chunks: [chunk].into(), adler32: 1, executable: false }
}

/// A time that somebody set; of those that a clock set nothing can be said.
fn time(ns: i64) -> Option<i64> {
    (ns < NOW_FROM).then_some(ns)
}

type Shown = BTreeMap<String, (Kind, String, bool, Option<i64>)>;

fn shown(picture: Picture) -> Shown {
    let one = |(path, (kind, bytes, executable, modified)): (String, (Kind, Vec<u8>, bool, i64))| {
        let modified = if kind == Kind::File { time(modified) } else { None };
        (path, (kind, String::from_utf8_lossy(&bytes).into_owned(), executable, modified))
    };
    picture.into_iter().map(one).collect()
}

fn sim_picture(disk: &Disk) -> Picture {
    disk.visible()
        .into_iter()
        .map(|(path, seen)| (path, (seen.kind, seen.bytes.to_vec(), seen.executable, seen.modified_ns)))
        .collect()
}
