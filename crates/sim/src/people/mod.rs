//! What people do with the files in a folder.

use crate::disk::Disk;
use crate::random::Random;

/// Something that a person can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Makes a file.
    Create,
}

/// What a person did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What kind of thing.
    pub operation: Operation,
    /// With what, for the trace; the paths in it are those before it was done.
    pub text: String,
}

/// What a person may do in a world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// Number of the step in the whole world; makes contents unique.
    pub step: u64,
}

/// A person does one thing in a folder; `None` if there was nothing to do it with.
pub fn act(_disk: &mut Disk, _random: &mut Random, _habits: &Habits) -> Option<Done> {
    None
}

/// Fills an empty folder with about so many items before anything is synced.
pub fn start(_disk: &mut Disk, _random: &mut Random, _items: usize) {}

impl Operation {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Create];
}
