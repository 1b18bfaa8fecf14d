//! What a running device says about itself, kept in the state so that `status` can show it at any time.

use serde::{Deserialize, Serialize};
use stacksync_core::engine::Status;

/// Problems that are told one by one; of further ones only the number.
const PROBLEMS_MAX: usize = 1_000;

/// Where one workspace stood when it was told last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// When, in nanoseconds since 1970.
    pub at_ns: i64,
    /// Connected to the service.
    pub online: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trouble: String,
    /// The service's changes are all here and the disk was looked at.
    pub current: bool,
    /// Nothing to do and nothing under way.
    pub settled: bool,
    /// How far the service is followed.
    pub revision: u64,
    /// Items in the folder.
    pub items: usize,
    /// Items still to be decided about.
    pub open: usize,
    /// Files being uploaded.
    pub uploads: usize,
    /// Files and folders being changed here, downloads included.
    pub applies: usize,
    /// Items that wait for others.
    pub waiting: usize,
    /// Deletions that are held.
    pub held: usize,
    /// What cannot be synced, and why.
    pub problems: Vec<ShownProblem>,
    /// Problems that are not among `problems`.
    pub more_problems: usize,
}

/// Something that cannot be synced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownProblem {
    /// Which file or folder; empty: the whole folder.
    pub path: String,
    /// What is wrong.
    pub text: String,
}

impl Snapshot {
    /// The engine's status at this moment; `trouble` is why there is no connection.
    pub fn of(status: &Status, trouble: &str, at_ns: i64) -> Self {
        let shown =
            |problem: &stacksync_core::engine::Problem| ShownProblem { path: problem.path.to_string(), text: problem.text.clone() };
        Self {
            at_ns,
            online: status.online,
            trouble: if status.online { String::new() } else { trouble.to_owned() },
            current: status.current,
            settled: status.settled,
            revision: status.cursor.revision.0,
            items: status.items,
            open: status.dirty,
            uploads: status.uploads,
            applies: status.applies,
            waiting: status.waiting,
            held: status.held,
            problems: status.problems.iter().take(PROBLEMS_MAX).map(shown).collect(),
            more_problems: status.problems.len().saturating_sub(PROBLEMS_MAX),
        }
    }

    /// From what the state keeps; a text of another version says nothing.
    pub fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    /// For the state.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether both sides agreed, without anything left out.
    pub fn in_sync(&self) -> bool {
        self.settled && self.held == 0 && self.waiting == 0 && self.problems.is_empty()
    }

    /// The same but for the time it was told.
    pub fn says_the_same(&self, other: &Self) -> bool {
        Self { at_ns: 0, ..self.clone() } == Self { at_ns: 0, ..other.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stacksync_core::engine::Problem;
    use stacksync_core::values::ItemPath;

    #[test]
    fn a_snapshot_survives_the_state_and_bounds_its_problems() {
        let problem = Problem { path: ItemPath::parse("a/b").unwrap(), text: "unreadable".into() };
        let status = Status { settled: true, problems: vec![problem; PROBLEMS_MAX + 5], ..Status::default() };
        let snapshot = Snapshot::of(&status, "no line", 7);
        assert_eq!((snapshot.problems.len(), snapshot.more_problems), (PROBLEMS_MAX, 5));
        assert_eq!(Snapshot::parse(&snapshot.to_json()), snapshot);
        assert_eq!(snapshot.trouble, "no line");
        assert!(!snapshot.in_sync());
        assert!(snapshot.says_the_same(&Snapshot::of(&status, "no line", 8)));
        assert_eq!(Snapshot::parse(""), Snapshot::default());
        assert_eq!(Snapshot::parse("{\"of another\": \"time\"}"), Snapshot::default());
    }
}
