//! Does one step in a real folder, and says what it found there. Each step is one system call on the folder, so that what it found is
//! what was there in that moment, however busy the tool is: a new content changes places with the old one, which is then looked at
//! outside; a file is deleted by moving it out.

use super::history::Verb;
use super::oracle::{Event, Node, Picture};
use super::value::Value;
use crate::random::Random;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Files that a folder may hold that somebody deletes: much at once is held back by tools that are careful.
const DELETED_AT_ONCE: usize = 4;
const NAMES: usize = 8;

/// Somebody who works in a folder.
#[derive(Debug)]
pub struct Person {
    root: PathBuf,
    /// On the same file system as the folder.
    aside: PathBuf,
    aside_count: usize,
    /// Paths that took part in a step since all was settled. What takes the place of something that went is the same file to some tools
    /// and another one to others, so that nothing does.
    used: BTreeSet<String>,
}

impl Person {
    /// A person who works below `root`.
    ///
    /// # Errors
    /// If there cannot be a folder beside it.
    pub fn new(root: &Path, aside: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&aside)?;
        Ok(Self { root: root.to_path_buf(), aside, aside_count: 0, used: BTreeSet::new() })
    }

    /// All is settled: every path may be used again.
    pub fn rest(&mut self) {
        self.used.clear();
    }

    /// What the folder holds. Names that begin with a dot are the tool's own.
    pub fn look(&self) -> Picture {
        look(&self.root)
    }

    /// Does something, if there is anything to do it with; several events if it concerns several files.
    ///
    /// # Errors
    /// If something was not there any more when it was about to happen: then nothing did. Or what was found is no whole value.
    pub fn act(&mut self, verb: Verb, dice: u64, new: Value) -> io::Result<Vec<Event>> {
        let mut random = Random::new(dice);
        match verb {
            Verb::Create => self.create(&mut random, new),
            Verb::Edit => self.edit(&mut random, new),
            Verb::Move => self.move_file(&mut random),
            Verb::Delete => self.delete(&mut random),
            Verb::MakeFolder => self.make_folder(&mut random),
            Verb::MoveFolder => self.move_folder(&mut random),
            Verb::DeleteFolder => self.delete_folder(&mut random),
        }
    }

    fn create(&mut self, random: &mut Random, new: Value) -> io::Result<Vec<Event>> {
        let path = self.free(random, "doc")?;
        let made = self.beside(new)?;
        self.rename(&made, &self.root.join(&path), RenameFlags::NOREPLACE)?;
        Ok(vec![Event::Created { path, new }])
    }

    fn edit(&mut self, random: &mut Random, new: Value) -> io::Result<Vec<Event>> {
        let path = self.file(random)?;
        let made = self.beside(new)?;
        self.rename(&made, &self.root.join(&path), RenameFlags::EXCHANGE)?;
        Ok(vec![Event::Wrote { old: value_in(&made)?, new }])
    }

    fn move_file(&mut self, random: &mut Random) -> io::Result<Vec<Event>> {
        let from = self.file(random)?;
        let to = self.free(random, "doc")?;
        self.rename(&self.root.join(&from), &self.root.join(&to), RenameFlags::NOREPLACE)?;
        self.used.insert(from);
        Ok(vec![Event::Moved { value: value_in(&self.root.join(&to))?, to }])
    }

    fn delete(&mut self, random: &mut Random) -> io::Result<Vec<Event>> {
        let path = self.file(random)?;
        let grave = self.grave();
        self.rename(&self.root.join(&path), &grave, RenameFlags::NOREPLACE)?;
        self.used.insert(path);
        Ok(vec![Event::Deleted { value: value_in(&grave)? }])
    }

    fn make_folder(&mut self, random: &mut Random) -> io::Result<Vec<Event>> {
        let path = self.free(random, "dir")?;
        std::fs::create_dir(self.root.join(&path))?;
        Ok(vec![Event::FolderMade { path }])
    }

    fn move_folder(&mut self, random: &mut Random) -> io::Result<Vec<Event>> {
        let from = self.folder(random)?;
        let to = self.free(random, "dir")?;
        self.rename(&self.root.join(&from), &self.root.join(&to), RenameFlags::NOREPLACE)?;
        self.used.insert(from);
        Ok(vec![Event::FolderMoved { values: values_in(&self.root.join(&to))?, to }])
    }

    fn delete_folder(&mut self, random: &mut Random) -> io::Result<Vec<Event>> {
        let path = self.folder(random)?;
        if values_in(&self.root.join(&path))?.len() > DELETED_AT_ONCE {
            return Err(io::Error::other("too much to delete"));
        }
        let grave = self.grave();
        self.rename(&self.root.join(&path), &grave, RenameFlags::NOREPLACE)?;
        self.used.insert(path.clone());
        let files = values_in(&grave)?.into_iter().map(|value| Event::Deleted { value });
        Ok(files.chain([Event::FolderDeleted { path }]).collect())
    }

    fn rename(&self, from: &Path, to: &Path, how: RenameFlags) -> io::Result<()> {
        Ok(renameat_with(CWD, from, CWD, to, how)?)
    }

    fn grave(&mut self) -> PathBuf {
        self.aside_count += 1;
        self.aside.join(self.aside_count.to_string())
    }

    fn beside(&mut self, value: Value) -> io::Result<PathBuf> {
        let path = self.grave();
        std::fs::write(&path, value.bytes())?;
        Ok(path)
    }

    fn of_kind(&self, folders: bool) -> Vec<String> {
        let wanted = |node: &Node| matches!(node, Node::Folder) == folders;
        self.look().into_iter().filter(|(_, node)| wanted(node)).map(|(path, _)| path).collect()
    }

    fn file(&self, random: &mut Random) -> io::Result<String> {
        pick(random, &self.of_kind(false))
    }

    fn folder(&self, random: &mut Random) -> io::Result<String> {
        pick(random, &self.of_kind(true))
    }

    /// A path where nothing is and nothing was. All devices take from the same few names.
    fn free(&mut self, random: &mut Random, stem: &str) -> io::Result<String> {
        let folders: Vec<String> = self.of_kind(true).into_iter().filter(|path| path.matches('/').count() < 2).collect();
        let folder = if folders.is_empty() || random.below(3) == 0 { String::new() } else { pick(random, &folders)? + "/" };
        let start = random.below(NAMES);
        let names = (0..NAMES).map(|number| format!("{folder}{stem}-{}", (start + number) % NAMES));
        let free = names.into_iter().find(|path| !self.used.contains(path) && self.root.join(path).symlink_metadata().is_err());
        let free = free.ok_or_else(|| io::Error::other("no free name"))?;
        self.used.insert(free.clone());
        Ok(free)
    }
}

fn pick(random: &mut Random, of: &[String]) -> io::Result<String> {
    if of.is_empty() { Err(io::Error::other("nothing there")) } else { Ok(random.pick(of).clone()) }
}

fn value_in(path: &Path) -> io::Result<Value> {
    let bytes = std::fs::read(path)?;
    Value::of(&bytes)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{} holds what nobody wrote", path.display())))
}

fn values_in(folder: &Path) -> io::Result<Vec<Value>> {
    let mut found = Vec::new();
    for (path, node) in look(folder) {
        match node {
            Node::Folder => {}
            Node::File(value) => found.push(value),
            Node::Strange => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} holds what nobody wrote"))),
        }
    }
    Ok(found)
}

/// What a folder holds.
pub fn look(root: &Path) -> Picture {
    let mut picture = Picture::new();
    walk(root, "", &mut picture);
    picture
}

fn walk(folder: &Path, prefix: &str, into: &mut Picture) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = format!("{prefix}{name}");
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), into);
            into.insert(path, Node::Folder);
        } else if let Ok(bytes) = std::fs::read(entry.path()) {
            let value = Value::of(&bytes).filter(|_| kind.is_file());
            into.insert(path, value.map_or(Node::Strange, Node::File));
        }
    }
}
