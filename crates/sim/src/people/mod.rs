//! What people, and their programs, do with the files in a folder.
//!
//! Each deed draws from a stream of its own and takes its paths from what is there at the moment, so that leaving one out leaves the
//! others as they are, as far as that makes sense. What cannot be done is left undone.

mod deeds;
mod names;
mod person;
mod trees;

use crate::disk::Disk;
use crate::random::Random;
use person::Person;

/// Declares the operations once: name, how often, and the function.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $weight:literal $deed:path,)*) => {
        /// Something that a person can do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How often it is done, compared with the others.
            const fn weight(self) -> usize {
                match self {
                    $(Self::$name => $weight,)*
                }
            }

            fn carry_out(self, person: &mut Person<'_>) -> Option<String> {
                match self {
                    $(Self::$name => $deed(person),)*
                }
            }
        }
    };
}

operations! {
    /// Makes a file.
    Create 14 deeds::create,
    /// Makes a folder.
    MakeFolder 6 deeds::make_folder,
    /// Writes a file anew, in place.
    Edit 12 deeds::edit,
    /// Changes some bytes of a file; its size stays.
    EditInPlace 4 deeds::edit_in_place,
    /// Adds to a file.
    Append 4 deeds::append,
    /// Cuts a file.
    Truncate 3 deeds::truncate,
    /// Writes a file anew piece by piece, while it is synced.
    WriteSlowly 3 deeds::write_slowly,
    /// Saves as most editors do: a new file renamed over the old one.
    SaveByRename 5 deeds::save_by_rename,
    /// Saves as others do: the old file becomes the backup, a new one takes its name.
    SaveWithBackup 2 deeds::save_with_backup,
    /// Renames something where it is.
    Rename 6 deeds::rename,
    /// Moves something to another folder.
    Move 7 deeds::move_elsewhere,
    /// Moves a folder into another one.
    Nest 4 deeds::nest,
    /// Two things exchange their names.
    Swap 4 deeds::swap,
    /// Three things exchange their names in a circle.
    Circle 2 deeds::circle,
    /// `b` becomes `c`, then `a` becomes `b`.
    Chain 2 deeds::chain,
    /// Only the case of a name changes.
    CaseRename 2 deeds::case_rename,
    /// A name's other Unicode form, beside it or instead of it.
    Twin 2 deeds::twin,
    /// Names that some file systems do not take, or that programs hide.
    OddName 1 deeds::odd_name,
    /// Deletes a file or a link.
    Delete 8 deeds::delete,
    /// Deletes a folder with all that is in it.
    DeleteFolder 3 deeds::delete_folder,
    /// Deletes what is in a folder, perhaps in all of it.
    EmptyFolder 1 deeds::empty_folder,
    /// Deletes something and makes it anew, in one go.
    Recreate 3 deeds::recreate,
    /// A file or link becomes a folder.
    ToFolder 2 deeds::to_folder,
    /// A folder or link becomes a file.
    ToFile 2 deeds::to_file,
    /// Anything becomes a link.
    ToLink 1 deeds::to_link,
    /// Makes a link.
    Link 2 deeds::link,
    /// A second name for a file.
    HardLink 1 deeds::hard_link,
    /// Only the time of a file changes.
    Touch 3 deeds::touch,
    /// Only the executable bit changes.
    Chmod 3 deeds::chmod,
    /// Copies a file.
    Copy 3 deeds::copy,
    /// Copies a folder with all that is in it.
    CopyFolder 1 trees::copy_folder,
    /// Makes a folder in a folder in a folder, with files.
    DeepTree 1 trees::deep_tree,
    /// Unpacks many files at once.
    Unpack 1 trees::unpack,
    /// Moves the fullest folder.
    MoveMany 1 trees::move_many,
    /// Changes the ignore rules, or makes what they ignore.
    Ignore 1 deeds::ignore,
    /// Makes everything safe against a loss of power.
    Sync 1 deeds::sync,
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
pub fn act(disk: &mut Disk, random: &mut Random, habits: &Habits) -> Option<Done> {
    let all: usize = Operation::ALL.iter().map(|operation| operation.weight()).sum();
    let mut left = random.below(all);
    let drawn = Operation::ALL.iter().find(|operation| {
        let here = left < operation.weight();
        left = left.saturating_sub(operation.weight());
        here
    });
    let operation = *drawn?;
    let before = disk.changes();
    let text = operation.carry_out(&mut Person::new(disk, random, habits.step));
    // Who gave up half way did something all the same.
    let text = text.or_else(|| (disk.changes() != before).then(|| "half way".to_owned()))?;
    Some(Done { operation, text })
}

/// Fills an empty folder with about so many items before anything is synced.
pub fn start(disk: &mut Disk, random: &mut Random, items: usize) {
    trees::grow(&mut Person::new(disk, random, u64::MAX), items);
}

#[cfg(test)]
mod tests;
