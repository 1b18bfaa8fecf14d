//! `pause`, `resume`, `approve`, `restore`: what a person wants of the running process, or of the next one.

use super::exit::{Exit, Failure};
use super::out::Out;
use crate::driver::Snapshot;
use crate::home::Home;
use crate::state::{Flag, OpenState, StateReader, StateWriter};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a running process may take to see a flag.
const SEEN_MAX: Duration = Duration::from_secs(5);

/// Changes nothing on either side from now on.
pub fn pause(home: &Home, out: Out) -> Result<Exit, Failure> {
    home.config()?;
    let state = state(home)?;
    if state.flag(Flag::Paused)?.is_none() {
        state.set_flag(Flag::Paused, Some(Flag::WANTED))?;
    }
    // Whoever changes a file after this command must not see it travel.
    let deadline = Instant::now() + SEEN_MAX;
    while home.running().is_some() && state.flag(Flag::Paused)? == Some(Flag::WANTED) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    out.answer(&json!({ "paused": true }), || "Paused. `stacksync resume` goes on.".into());
    Ok(Exit::Done)
}

/// Takes `pause` back.
pub fn resume(home: &Home, out: Out) -> Result<Exit, Failure> {
    home.config()?;
    state(home)?.set_flag(Flag::Paused, None)?;
    out.answer(&json!({ "paused": false }), || match home.running() {
        Some(_) => "Going on.".into(),
        None => "No longer paused. `stacksync sync` is not running.".into(),
    });
    Ok(Exit::Done)
}

/// Lets the deletions pass that are held now, and only as many as these.
pub fn approve(home: &Home, out: Out) -> Result<Exit, Failure> {
    decide(home, out, Flag::Approve, "may pass")
}

/// Undoes the deletions that are held now.
pub fn restore(home: &Home, out: Out) -> Result<Exit, Failure> {
    decide(home, out, Flag::Restore, "will be undone")
}

fn decide(home: &Home, out: Out, flag: Flag, fate: &str) -> Result<Exit, Failure> {
    home.config()?;
    let state = state(home)?;
    let held: usize = state.workspaces()?.iter().map(|entry| Snapshot::parse(&entry.status).held).sum();
    if held > 0 {
        state.set_flag(flag, Some(i64::try_from(held).unwrap_or(i64::MAX)))?;
    }
    out.answer(&json!({ "held_deletions": held, "decided": held > 0 }), || match (held, home.running()) {
        (0, _) => "No deletions are held.".into(),
        (_, Some(_)) => format!("{held} held deletions {fate}."),
        (_, None) => format!("{held} held deletions {fate} with the next sync."),
    });
    Ok(Exit::Done)
}

/// The state, begun if this device has never run.
fn state(home: &Home) -> Result<StateReader, Failure> {
    let file = home.state_file();
    if let Some(state) = StateReader::open(&file)? {
        return Ok(state);
    }
    let _lock = home.lock()?;
    let OpenState { writer, .. } = StateWriter::open(&file)?;
    writer.close();
    StateReader::open(&file)?.ok_or_else(|| Failure::new(Exit::Other, format!("cannot create {}", file.display()), ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Config, Token};

    #[test]
    fn pausing_works_before_the_first_run_and_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        assert!(pause(&home, Out::Text).is_err());
        home.create(&Config::example(dir.path()), &Token::new("x".into())).unwrap();
        let paused = || StateReader::open(&home.state_file()).unwrap().unwrap().flag(Flag::Paused).unwrap();
        pause(&home, Out::Text).unwrap();
        assert_eq!(paused(), Some(Flag::WANTED));
        resume(&home, Out::Text).unwrap();
        assert_eq!(paused(), None);
    }
}
