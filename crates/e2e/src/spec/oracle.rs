//! Judges a history: whether some order of hidden uploads and downloads explains what people found and what is left when all is settled.

use super::cell::{Cell, Family, Moves, Outcome};
use super::value::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// So many ways in which things may stand, for one file; histories that need more are longer than they should be.
const WAYS_MAX: usize = 200_000;

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file with a content that somebody wrote.
    File(Value),
    /// Anything else: a torn file, a content that nobody wrote, something that is no file.
    Strange,
}

/// What a device's folder holds, by path.
pub type Picture = BTreeMap<String, Node>;

/// What somebody did, with what he found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new file.
    Created {
        /// Where.
        path: String,
        /// What it holds.
        new: Value,
    },
    /// A file got another content.
    Wrote {
        /// What it held until then.
        old: Value,
        /// What it holds now.
        new: Value,
    },
    /// A file got another place.
    Moved {
        /// What it holds.
        value: Value,
        /// Where it is now.
        to: String,
    },
    /// A file went.
    Deleted {
        /// What it held.
        value: Value,
    },
    /// A folder got another place, with these files in it.
    FolderMoved {
        /// What they hold.
        values: Vec<Value>,
        /// Where the folder is now.
        to: String,
    },
    /// A new folder.
    FolderMade {
        /// Where.
        path: String,
    },
    /// A folder went; the files that went with it have events of their own.
    FolderDeleted {
        /// Where it was.
        path: String,
    },
}

/// Why a history cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Two devices differ when all is settled.
    Different(Vec<String>),
    /// A file holds what nobody wrote: it is torn, mixed or made up.
    Strange(String),
    /// A device showed a value that it cannot have had then, or had no more.
    Impossible {
        /// Which device.
        device: usize,
        /// What it showed.
        value: Value,
    },
    /// What is left of a file is none of the outcomes that could be.
    Wrong {
        /// What was left.
        left: BTreeSet<Value>,
        /// What could have been.
        possible: Vec<BTreeSet<Value>>,
    },
    /// One file became two.
    Twice(Value, Vec<String>),
    /// One person alone did something, and found something else than what he made.
    Meddled(Vec<String>),
    /// A file is where nobody put it.
    Misplaced(Value, String),
    /// Too much may have happened to follow it.
    TooMany,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = |values: &BTreeSet<Value>| {
            let names: Vec<String> = values.iter().map(ToString::to_string).collect();
            format!("{{{}}}", names.join(" "))
        };
        match self {
            Self::Different(lines) => write!(f, "devices differ when all is settled:\n{}", lines.join("\n")),
            Self::Strange(path) => write!(f, "{path:?} holds what nobody wrote"),
            Self::Impossible { device, value } => write!(f, "device {device} showed {value}, which it cannot have had"),
            Self::Wrong { left, possible } => {
                let possible: Vec<String> = possible.iter().map(set).collect();
                write!(f, "{} is left, possible is {}", set(left), possible.join(" or "))
            }
            Self::Twice(value, paths) => write!(f, "{value} is there more than once: {paths:?}"),
            Self::Meddled(lines) => write!(f, "one person alone worked, and is left with something else:\n{}", lines.join("\n")),
            Self::Misplaced(value, path) => write!(f, "{value} is at {path:?}, where nobody put it"),
            Self::TooMany => write!(f, "too much may have happened to follow it"),
        }
    }
}

/// One file and all ways in which it may stand.
#[derive(Clone, Debug)]
struct Line {
    ways: HashSet<Family>,
    /// Every value that it, or a copy that came of it, ever had.
    values: BTreeSet<Value>,
    /// Names that people gave it.
    names: BTreeSet<String>,
}

/// What is known so far of a history.
#[derive(Clone, Debug)]
pub struct Oracle {
    devices: usize,
    moves: Moves,
    lines: Vec<Line>,
    of_value: BTreeMap<Value, usize>,
    settled: Picture,
    actors: BTreeSet<usize>,
}

impl Oracle {
    /// Devices with empty folders.
    pub fn new(devices: usize, moves: Moves) -> Self {
        Self { devices, moves, lines: Vec::new(), of_value: BTreeMap::new(), settled: Picture::new(), actors: BTreeSet::new() }
    }

    /// Somebody did something on a device.
    ///
    /// # Errors
    /// When what he found there cannot have been there.
    pub fn happened(&mut self, device: usize, event: &Event) -> Result<(), Violation> {
        self.actors.insert(device);
        match event {
            Event::Created { path, new } => {
                self.begin(Cell::created(self.devices, device, *new), *new, path);
                Ok(())
            }
            Event::Wrote { old, new } => {
                let line = self.step(device, *old, |cell| vec![(cell.write(device, *new), None)])?;
                self.lines[line].values.insert(*new);
                self.of_value.insert(*new, line);
                Ok(())
            }
            Event::Moved { value, to } => {
                let line = self.step(device, *value, |cell| cell.moved(device))?;
                self.lines[line].names.insert(name(to).to_owned());
                Ok(())
            }
            Event::Deleted { value } => self.step(device, *value, |cell| vec![(cell.delete(device), None)]).map(|_| ()),
            Event::FolderMoved { values, .. } => {
                for value in values {
                    // For a tool that follows moves, the files in it are as they were.
                    let follows = self.moves == Moves::Followed;
                    self.step(device, *value, |cell| if follows { vec![(cell, None)] } else { cell.moved(device) })?;
                }
                Ok(())
            }
            Event::FolderMade { .. } | Event::FolderDeleted { .. } => Ok(()),
        }
    }

    fn begin(&mut self, cell: Cell, value: Value, path: &str) {
        self.of_value.insert(value, self.lines.len());
        let names = BTreeSet::from([name(path).to_owned()]);
        self.lines.push(Line { ways: HashSet::from([Family::of(cell)]), values: BTreeSet::from([value]), names });
    }

    /// All ways in which hidden events and then this step can have gone. The line of the value.
    fn step(&mut self, device: usize, value: Value, step: impl Fn(Cell) -> Vec<Outcome>) -> Result<usize, Violation> {
        let impossible = Violation::Impossible { device, value };
        let Some(&line) = self.of_value.get(&value) else { return Err(impossible) };
        let before = closure(&self.lines[line].ways, self.moves)?;
        let after: HashSet<Family> = before.iter().flat_map(|family| family.after(device, value, &step)).collect();
        if after.is_empty() {
            return Err(impossible);
        }
        self.lines[line].ways = after;
        Ok(line)
    }

    /// All is settled: judges what the devices hold. `before` is what each of them held when the last person had ended.
    ///
    /// # Errors
    /// What cannot be explained.
    pub fn settled(&mut self, before: &[Picture], after: &[Picture]) -> Result<(), Violation> {
        let end = &after[0];
        for (device, picture) in after.iter().enumerate() {
            let lines = difference(end, picture);
            if !lines.is_empty() {
                return Err(Violation::Different(lines.into_iter().map(|line| format!("0 | {device}: {line}")).collect()));
            }
        }
        let found = places(end)?;
        self.judge_lines(&found)?;
        self.judge_places(&found)?;
        if let [actor] = self.actors.iter().copied().collect::<Vec<_>>()[..] {
            let lines = difference(&before[actor], end);
            if !lines.is_empty() {
                return Err(Violation::Meddled(lines));
            }
        }
        self.start_over(end, &found);
        Ok(())
    }

    fn judge_lines(&self, found: &BTreeMap<Value, Vec<String>>) -> Result<(), Violation> {
        if let Some((&value, paths)) = found.iter().find(|(value, _)| !self.of_value.contains_key(value)) {
            return Err(Violation::Strange(format!("{value} at {}", paths.join(", "))));
        }
        for line in &self.lines {
            let left: BTreeSet<Value> = line.values.iter().copied().filter(|value| found.contains_key(value)).collect();
            let ends: BTreeSet<BTreeSet<Value>> = closure(&line.ways, self.moves)?.iter().filter_map(Family::settled).collect();
            if !ends.contains(&left) {
                return Err(Violation::Wrong { left, possible: ends.into_iter().collect() });
            }
        }
        Ok(())
    }

    /// Each value is at one place only, under a name that somebody gave to the file, or under one made of it.
    fn judge_places(&self, found: &BTreeMap<Value, Vec<String>>) -> Result<(), Violation> {
        for (&value, paths) in found {
            if paths.len() > 1 && self.moves == Moves::Followed {
                return Err(Violation::Twice(value, paths.clone()));
            }
            let names = &self.lines[self.of_value[&value]].names;
            for path in paths {
                let stem = |given: &String| given.split('.').next().unwrap_or("").to_owned();
                if !names.iter().any(|given| name(path) == given || name(path).starts_with(&stem(given))) {
                    return Err(Violation::Misplaced(value, path.clone()));
                }
            }
            let untouched = self.actors.is_empty() && self.settled.get(&paths[0]) != Some(&Node::File(value));
            if untouched {
                return Err(Violation::Misplaced(value, paths[0].clone()));
            }
        }
        Ok(())
    }

    /// From here on every file that is left has a history of its own, and what is not left must never come back.
    fn start_over(&mut self, end: &Picture, found: &BTreeMap<Value, Vec<String>>) {
        self.lines.clear();
        for value in std::mem::take(&mut self.of_value).into_keys() {
            match found.get(&value) {
                Some(paths) => self.begin(Cell::settled(self.devices, value), value, &paths[0]),
                None => {
                    let gone = Cell::settled(self.devices, value).delete(0);
                    self.begin(gone, value, "");
                    self.forget(value);
                }
            }
        }
        self.settled = end.clone();
        self.actors.clear();
    }

    /// The deletion has reached everybody.
    fn forget(&mut self, value: Value) {
        let line = &mut self.lines[self.of_value[&value]];
        let all = closure(&line.ways, self.moves).unwrap_or_default();
        line.ways = all.into_iter().filter(|family| family.settled().is_some_and(|left| left.is_empty())).collect();
    }
}

/// All that may be after any number of hidden events.
fn closure(from: &HashSet<Family>, moves: Moves) -> Result<HashSet<Family>, Violation> {
    let mut all = from.clone();
    let mut next: Vec<Family> = from.iter().cloned().collect();
    while let Some(family) = next.pop() {
        for following in family.hidden(moves) {
            if all.len() > WAYS_MAX {
                return Err(Violation::TooMany);
            }
            if all.insert(following.clone()) {
                next.push(following);
            }
        }
    }
    Ok(all)
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn places(picture: &Picture) -> Result<BTreeMap<Value, Vec<String>>, Violation> {
    let mut found: BTreeMap<Value, Vec<String>> = BTreeMap::new();
    for (path, node) in picture {
        match node {
            Node::Folder => {}
            Node::File(value) => found.entry(*value).or_default().push(path.clone()),
            Node::Strange => return Err(Violation::Strange(path.clone())),
        }
    }
    Ok(found)
}

fn difference(left: &Picture, right: &Picture) -> Vec<String> {
    let paths: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let line = |path: &&String| {
        let (here, there) = (left.get(*path), right.get(*path));
        (here != there).then(|| format!("{path:?}: {} | {}", brief(here), brief(there)))
    };
    paths.iter().filter_map(line).collect()
}

fn brief(node: Option<&Node>) -> String {
    match node {
        None => "nothing".to_owned(),
        Some(Node::Folder) => "a folder".to_owned(),
        Some(Node::File(value)) => value.to_string(),
        Some(Node::Strange) => "something that nobody wrote".to_owned(),
    }
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
