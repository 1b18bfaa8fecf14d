//! A person who does one thing: what is there, and what comes to mind.

use super::names;
use crate::disk::Disk;
use crate::random::Random;
use stacksync_core::values::{ItemPath, Kind, Name};

/// One file in so many is long.
const LONG_ONE_IN: u64 = 150;

pub(super) struct Person<'a> {
    pub disk: &'a mut Disk,
    pub random: &'a mut Random,
    pub step: u64,
    /// Contents made so far in this step.
    made: u64,
    paths: Vec<(ItemPath, Kind)>,
}

impl<'a> Person<'a> {
    pub fn new(disk: &'a mut Disk, random: &'a mut Random, step: u64) -> Self {
        let paths = disk.paths();
        Self { disk, random, step, made: 0, paths }
    }

    /// Bytes that no other step makes. (Contents of the beginning are alike where their streams are.)
    pub fn content(&mut self) -> Vec<u8> {
        self.made += 1;
        let mut bytes = format!("{}.{} {:x}\n", self.step % 1_000_000, self.made, self.random.next()).into_bytes();
        match self.random.below(24) {
            0 => return Vec::new(),
            1 | 2 => bytes.extend(std::iter::repeat_n(b'.', self.random.below(4_000))),
            _ => {}
        }
        if self.random.one_in(LONG_ONE_IN) {
            let len = 100_000 + self.random.below(500_000);
            let mut noise = Random::new(self.random.next());
            bytes.extend(std::iter::repeat_with(|| noise.next().to_le_bytes()).take(len / 8).flatten());
        }
        bytes
    }

    pub fn items(&self) -> &[(ItemPath, Kind)] {
        &self.paths
    }

    fn one_of(&mut self, wanted: impl Fn(Kind) -> bool) -> Option<ItemPath> {
        let found: Vec<&ItemPath> = self.paths.iter().filter(|(_, kind)| wanted(*kind)).map(|(path, _)| path).collect();
        self.random.pick(&found).map(|path| (*path).clone())
    }

    pub fn anything(&mut self) -> Option<ItemPath> {
        self.one_of(|_| true)
    }

    pub fn file(&mut self) -> Option<ItemPath> {
        self.one_of(|kind| kind == Kind::File)
    }

    pub fn leaf(&mut self) -> Option<ItemPath> {
        self.one_of(|kind| kind != Kind::Folder)
    }

    /// A folder below the top.
    pub fn folder(&mut self) -> Option<ItemPath> {
        self.one_of(|kind| kind == Kind::Folder)
    }

    /// A folder or the top.
    pub fn place(&mut self) -> ItemPath {
        if self.random.one_in(3) { ItemPath::top() } else { self.folder().unwrap_or_default() }
    }

    pub fn name(&mut self) -> Option<Name> {
        names::usual(self.random, self.step)
    }

    /// A path where nothing is.
    pub fn free(&mut self) -> Option<ItemPath> {
        let (place, name) = (self.place(), self.name()?);
        let path = place.join(&name);
        self.disk.kind_at(&path).is_none().then_some(path)
    }

    /// A path that nothing else ever has, beside another one.
    pub fn beside(&self, path: &ItemPath, what: &str) -> Option<ItemPath> {
        let (folder, name) = path.split()?;
        Some(folder.join(&Name::new(&format!("{what}-{}-{name}", self.step % 10_000)).ok()?))
    }
}
