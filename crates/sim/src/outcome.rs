//! What a run gives.

use crate::Coverage;
use std::fmt;

/// What became of one world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// BLAKE3 of the whole trace: two runs of one scenario have the same. All zero of a run that kept none.
    pub digest: [u8; 32],
    /// Steps of the scheduler.
    pub steps: u64,
    /// What happened in it.
    pub coverage: Coverage,
    /// The first thing that was wrong.
    pub failure: Option<Failure>,
    /// The last lines of the trace, for people; only kept when something failed.
    pub trace: Vec<String>,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub check: Check,
    /// At which step of the scheduler.
    pub step: u64,
    /// What was seen, for people.
    pub text: String,
}

/// Everything that is checked, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// No content that a device saw as synced, or that was acknowledged, is gone: current, history or conflict copy.
    NothingLost,
    /// At rest all disks and the service are equal.
    AllEqual,
    /// No content is there twice because of a fault or a race that nobody asked for.
    NoDuplicateSubtree,
    /// No folder is inside itself.
    NoCycle,
    /// Whatever is live has a live folder.
    NoOrphan,
    /// No two live items have one name.
    OneNameOnce,
    /// What was deleted stays deleted.
    NoResurrection,
    /// An edit is stronger than a deletion.
    EditBeatsDelete,
    /// Nobody ever sees a part of a file.
    NoPartialFile,
    /// A plan that was carried out has nothing left to do.
    PlanTwiceDoesNothing,
    /// Some steps after faults stop, everybody rests.
    ComesToRest,
    /// Many deletions at once wait for approval.
    GuardHolds,
    /// The log says nothing that the answer contradicts.
    LogAgrees,
    /// Memory and messages are bounded.
    Bounded,
    /// No item keeps a passing name.
    NoPassingName,
    /// Nothing of a problem is left when its cause is gone.
    NoProblemLeft,
    /// What the engine believes of its trees holds.
    EngineSound,
    /// A version follows what its maker had on its disk, and nothing is skipped.
    NoStaleOverwrite,
    /// A version names only chunks that the storage has when it is saved.
    ChunksThere,
    /// A commit that comes again is answered as it was the first time.
    AnsweredAlike,
    /// An executable bit that one person changed, and nobody else, stays as he left it.
    ModeKept,
    /// Only members of a workspace change it.
    OnlyMembersWrite,
    /// What a user uses is what his live files have.
    QuotaAgrees,
    /// No code of the product panics.
    NoPanic,
    /// The same seed gives the same run.
    SameAgain,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::NothingLost,
        Self::AllEqual,
        Self::NoDuplicateSubtree,
        Self::NoCycle,
        Self::NoOrphan,
        Self::OneNameOnce,
        Self::NoResurrection,
        Self::EditBeatsDelete,
        Self::NoPartialFile,
        Self::PlanTwiceDoesNothing,
        Self::ComesToRest,
        Self::GuardHolds,
        Self::LogAgrees,
        Self::Bounded,
        Self::NoPassingName,
        Self::NoProblemLeft,
        Self::EngineSound,
        Self::NoStaleOverwrite,
        Self::ChunksThere,
        Self::AnsweredAlike,
        Self::ModeKept,
        Self::OnlyMembersWrite,
        Self::QuotaAgrees,
        Self::NoPanic,
        Self::SameAgain,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at step {}: {}", self.check, self.step, self.text)
    }
}
