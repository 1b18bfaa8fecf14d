//! `status`: where the device stands, also while it does not run.

use super::exit::{Exit, Failure};
use super::log::moment;
use super::out::Out;
use crate::driver::Snapshot;
use crate::home::{Config, Home};
use crate::state::{Flag, StateReader, WorkspaceEntry};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use uuid::Uuid;

/// Something that cannot be synced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem<'a> {
    path: &'a str,
    text: &'a str,
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Many texts name the file themselves.
        if self.path.is_empty() || self.text.contains(self.path) {
            f.write_str(self.text)
        } else {
            write!(f, "{}: {}", self.path, self.text)
        }
    }
}

/// What is wrong in these workspaces.
pub fn problems<'a>(snapshots: impl Iterator<Item = &'a Snapshot>) -> impl Iterator<Item = Problem<'a>> {
    snapshots.flat_map(|snapshot| &snapshot.problems).map(|problem| Problem { path: &problem.path, text: &problem.text })
}

#[derive(Serialize)]
struct Answer<'a> {
    device_id: Uuid,
    device: &'a str,
    user: &'a str,
    server: &'a str,
    folder: &'a Path,
    /// Process id, if it runs.
    running: Option<&'a str>,
    paused: bool,
    /// One word: `in sync`, `syncing`, `not in sync`, `offline`, `paused`, `not running`, `never ran`.
    state: &'static str,
    held_deletions: usize,
    problems: Vec<Problem<'a>>,
    workspaces: Vec<Workspace<'a>>,
}

#[derive(Serialize)]
struct Workspace<'a> {
    id: Uuid,
    name: &'a str,
    folder: &'a str,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

/// Prints where the device stands. Succeeds whenever that can be told, whatever it is.
pub fn status(home: &Home, out: Out) -> Result<Exit, Failure> {
    let config = home.config()?;
    let state = StateReader::open(&home.state_file())?;
    let (entries, paused) = match &state {
        Some(state) => (state.workspaces()?, state.flag(Flag::Paused)?.is_some()),
        None => (Vec::new(), false),
    };
    let snapshots: Vec<Snapshot> = entries.iter().map(|entry| Snapshot::parse(&entry.status)).collect();
    let running = home.running();
    let answer = answer(&config, &entries, &snapshots, running.as_deref(), paused);
    out.answer(&answer, || text(&answer, &snapshots));
    Ok(Exit::Done)
}

fn answer<'a>(
    config: &'a Config,
    entries: &'a [WorkspaceEntry],
    snapshots: &'a [Snapshot],
    running: Option<&'a str>,
    paused: bool,
) -> Answer<'a> {
    let workspaces = entries.iter().zip(snapshots);
    Answer {
        device_id: config.device_id,
        device: &config.device_name,
        user: &config.user_name,
        server: &config.server,
        folder: &config.root,
        running,
        paused,
        state: word(snapshots, running.is_some(), paused),
        held_deletions: snapshots.iter().map(|snapshot| snapshot.held).sum(),
        problems: problems(snapshots.iter()).collect(),
        workspaces: workspaces
            .map(|(entry, snapshot)| Workspace { id: entry.id.0, name: &entry.name, folder: &entry.folder, snapshot })
            .collect(),
    }
}

fn word(snapshots: &[Snapshot], running: bool, paused: bool) -> &'static str {
    if paused {
        "paused"
    } else if snapshots.iter().all(|snapshot| snapshot.at_ns == 0) {
        if running { "syncing" } else { "never ran" }
    } else if !running {
        "not running"
    } else if snapshots.iter().any(|snapshot| !snapshot.online) {
        "offline"
    } else if snapshots.iter().all(Snapshot::in_sync) {
        "in sync"
    } else if snapshots.iter().all(|snapshot| snapshot.settled) {
        "not in sync"
    } else {
        "syncing"
    }
}

fn text(answer: &Answer<'_>, snapshots: &[Snapshot]) -> String {
    let mut lines = vec![
        format!("{}: {}", answer.folder.display(), answer.state),
        format!("device '{}' of {} at {}", answer.device, answer.user, answer.server),
    ];
    if let Some(pid) = answer.running {
        lines.push(format!("running as process {pid}"));
    }
    for (workspace, snapshot) in answer.workspaces.iter().zip(snapshots) {
        lines.push(workspace_text(workspace, snapshot, answer.running.is_some()));
    }
    if answer.held_deletions > 0 {
        lines.push(format!(
            "{} deletions are held, because so much vanished at once: `stacksync approve` lets them pass, `stacksync restore` undoes them",
            answer.held_deletions
        ));
    }
    if !answer.problems.is_empty() {
        lines.push(format!("{} problems:", answer.problems.len()));
        lines.extend(answer.problems.iter().map(|problem| format!("  {problem}")));
    }
    lines.join("\n")
}

fn workspace_text(workspace: &Workspace<'_>, snapshot: &Snapshot, running: bool) -> String {
    let mut text = format!("workspace '{}': ", workspace.name);
    if snapshot.at_ns == 0 {
        return text + "not looked at yet";
    }
    text += &format!("{} items at revision {}", snapshot.items, snapshot.revision);
    if running && snapshot.online && snapshot.open + snapshot.uploads + snapshot.applies > 0 {
        text += &format!(", {} to do, {} going up, {} coming down", snapshot.open, snapshot.uploads, snapshot.applies);
    }
    if running && !snapshot.online && !snapshot.trouble.is_empty() {
        text += &format!("; not connected: {}", snapshot.trouble);
    }
    if !running {
        let agreed = if snapshot.in_sync() { "both sides agreed" } else { "both sides did not agree" };
        text += &format!("; {agreed} when it last ran, until {}", moment(snapshot.at_ns));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_says_where_the_device_stands() {
        let good = Snapshot { at_ns: 1, online: true, settled: true, ..Snapshot::default() };
        let held = Snapshot { held: 3, ..good.clone() };
        let busy = Snapshot { settled: false, ..good.clone() };
        let away = Snapshot { online: false, ..good.clone() };
        for (snapshots, running, paused, expected) in [
            (vec![], false, false, "never ran"),
            (vec![], true, false, "syncing"),
            (vec![good.clone()], true, false, "in sync"),
            (vec![good.clone()], false, false, "not running"),
            (vec![good.clone()], true, true, "paused"),
            (vec![good.clone(), held], true, false, "not in sync"),
            (vec![good.clone(), busy], true, false, "syncing"),
            (vec![good, away], true, false, "offline"),
        ] {
            assert_eq!(word(&snapshots, running, paused), expected, "{snapshots:?}");
        }
    }

    #[test]
    fn a_problem_names_its_file_once() {
        let shown = |path, text| Problem { path, text }.to_string();
        assert_eq!(shown("a/b", "over quota"), "a/b: over quota");
        assert_eq!(shown("a/b", "a/b cannot be read"), "a/b cannot be read");
        assert_eq!(shown("", "the folder is missing"), "the folder is missing");
    }
}
