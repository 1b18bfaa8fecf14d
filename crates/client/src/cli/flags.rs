//! `pause`, `resume`, `approve`, `restore`: what a person wants of the running process, or of the next one.

use super::exit::{Exit, Failure};
use super::out::Out;
use crate::home::Home;
use crate::state::{Flag, OpenState, StateReader, StateWriter};
use serde_json::json;

/// Changes nothing on either side from now on.
pub fn pause(home: &Home, out: Out) -> Result<Exit, Failure> {
    home.config()?;
    state(home)?.set_flag(Flag::Paused, Some(1))?;
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
        assert_eq!(paused(), Some(1));
        resume(&home, Out::Text).unwrap();
        assert_eq!(paused(), None);
    }
}
