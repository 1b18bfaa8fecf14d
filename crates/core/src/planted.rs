//! Bugs that are there on purpose, to see whether the simulator finds them.
//!
//! Only with the feature `planted-bugs`, which nothing turns on but the simulator's own `--planted`. Without it [`planted!`](crate::planted!)
//! is the constant `false`, and neither the switch nor any bug is in the program.

/// Whether this bug is switched on: `planted!(StaleBase)`. A constant `false` without the feature.
#[cfg(feature = "planted-bugs")]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}

/// Whether this bug is switched on: `planted!(StaleBase)`. A constant `false` without the feature.
#[cfg(not(feature = "planted-bugs"))]
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

#[cfg(feature = "planted-bugs")]
pub use switch::{Bug, is, switch};

#[cfg(feature = "planted-bugs")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    macro_rules! bugs {
        ($($bug:ident: $part:literal, $text:literal;)*) => {
            /// A bug that can be switched on.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(u8)]
            pub enum Bug {
                $(#[doc = $text] $bug,)*
            }

            impl Bug {
                /// All of them, by part.
                pub const ALL: &[Self] = &[$(Self::$bug),*];

                /// Its name, as in the source.
                pub const fn name(self) -> &'static str {
                    match self { $(Self::$bug => stringify!($bug),)* }
                }

                /// The part of the system that it is in.
                pub const fn part(self) -> &'static str {
                    match self { $(Self::$bug => $part,)* }
                }

                /// What it does.
                pub const fn text(self) -> &'static str {
                    match self { $(Self::$bug => $text,)* }
                }
            }
        };
    }

    bugs! {
        StaleBase: "planner", "what changed on both sides is replaced by the service's content, without a conflict copy";
        DeleteBeatsEdit: "planner", "a deletion here is committed although the service has a newer content";
        DeleteBeatsLocalEdit: "planner", "a deletion on the service takes a file away that was edited here";
        UnreadIsUnchanged: "planner", "a file whose bytes were not read since it changed counts as unchanged";
        TimeIsAgreed: "planner", "a time that changed here counts as agreed on when the service has a newer version";
        ModeFromService: "planner", "a new executable bit here gives way to the old one on the service";
        MoveUndoesMove: "planner", "an item that moved on the service stays where it is here";
        WantedForgotten: "planner", "a folder that something new lives in is deleted all the same";
        MoveIsNew: "engine", "a file that moved becomes a deletion and a new item";
        SyncedBeforeDisk: "engine", "what is agreed on is saved before the disk has it";
        CursorBeforeRows: "engine", "the cursor is saved before the changes that it stands for";
        NoticeIsChanges: "engine", "a notice without items moves the cursor as if they had been in it";
        GapIgnored: "engine", "a notice moves the cursor over changes that were never seen";
        FreshServiceDeletes: "engine", "what a replaced service lacks counts as deleted there";
        OlderServiceWins: "engine", "what a service from a backup has older replaces what is newer here";
        EpochIgnored: "engine", "a service that was replaced is not noticed";
        UnreadableIsGone: "engine", "what cannot be looked at counts as deleted";
        LostRootIsEmpty: "engine", "a root folder that is gone counts as emptied";
        GuardForgets: "engine", "the guard counts only what vanished in one look";
        GuardLetsRestPass: "engine", "the guard holds the last look's deletions, not those that wait beside them";
        CopyStaysHere: "engine", "a conflict copy is never told to the service";
        SameSizeIsSame: "engine", "another file of the same size and time counts as the same content";
        UploadTorn: "apply", "a file that changed while it was uploaded passes for what it was";
        NoLastLook: "apply", "a file is replaced without a last look at it";
        MoveOnto: "apply", "a move does not look whether something is at its target";
        WriteInPlace: "apply", "a file is written under its own name instead of renamed when complete";
        NoFsync: "apply", "a file is renamed before its bytes are durable";
        RemoveFull: "apply", "a folder is removed with whatever is in it";
        VersionIgnored: "service", "a commit on an old version is saved as the next one";
        ParentIgnored: "service", "an item may be put into a deleted folder";
        CycleIgnored: "service", "a folder may be moved into itself";
        NotEmptyIgnored: "service", "a folder may be deleted with live items in it";
        ChunksIgnored: "service", "a version may name chunks that are not in the storage";
        QuotaKept: "service", "a deletion does not give the quota back";
        RetryForgotten: "service", "a repeated commit is refused instead of recognised";
        NameCaseIgnored: "store", "names that differ only by case may live side by side";
        TombstoneForgotten: "store", "deletions are left out of the changes";
        PageSkips: "store", "a full page of changes claims to reach the end";
        HistoryDropped: "store", "the version before is overwritten instead of kept";
        ModeDropped: "store", "the executable bit is not saved";
        AnsweredBeforeCommit: "store", "an answer is given for a transaction that is rolled back";
        NoticeFromZero: "outbox", "a notice claims to start at the first revision";
        NoticeUnsaved: "outbox", "a notice is told for a commit that was not saved";
        UnverifiedChunk: "chunks", "the bytes of a chunk are not compared with its name";
        DamagedIsPresent: "chunks", "a chunk that was found damaged is not replaced";
    }

    /// 0: none.
    static ON: AtomicU8 = AtomicU8::new(0);

    /// Switches one bug on, for the whole process, and every other one off.
    pub fn switch(bug: Option<Bug>) {
        ON.store(bug.map_or(0, |bug| bug as u8 + 1), Ordering::Relaxed);
    }

    /// Whether this one is on.
    pub fn is(bug: Bug) -> bool {
        ON.load(Ordering::Relaxed) == bug as u8 + 1
    }
}
