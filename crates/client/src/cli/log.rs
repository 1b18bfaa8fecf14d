//! `log`: what was done, oldest first.

use super::exit::{Exit, Failure};
use super::out::Out;
use super::place::item_path;
use crate::home::Home;
use crate::state::{LogLine, StateReader};
use serde::Serialize;
use std::path::Path;
use time::OffsetDateTime;
use time::macros::format_description;

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    path: &'a str,
    verb: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
}

/// Prints the newest `lines` lines about `path`, or about everything.
pub fn log(home: &Home, path: Option<&Path>, lines: u32, out: Out) -> Result<Exit, Failure> {
    let config = home.config()?;
    let here = std::env::current_dir().unwrap_or_default();
    let path = path.map(|path| item_path(&config.root, &here, path)).transpose()?;
    let path = path.map_or_else(String::new, |path| path.to_string());
    let found = match StateReader::open(&home.state_file())? {
        Some(state) => state.log(&path, lines)?,
        None => Vec::new(),
    };
    let lines: Vec<Line> = found.iter().map(line).collect();
    out.answer(&lines, || lines.iter().map(text).collect::<Vec<_>>().join("\n"));
    Ok(Exit::Done)
}

fn line(line: &LogLine) -> Line<'_> {
    Line { at: moment(line.at_ns), path: &line.path, verb: &line.verb, detail: &line.detail }
}

fn text(line: &Line) -> String {
    let detail = if line.detail.is_empty() { String::new() } else { format!("  ({})", line.detail) };
    format!("{}  {:<12}  {}{detail}", line.at, line.verb, line.path)
}

/// Nanoseconds since 1970 as a date and time of UTC.
pub fn moment(at_ns: i64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ns));
    moment.ok().and_then(|moment| moment.format(format).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_what_and_to_which_file() {
        let entry = LogLine {
            workspace: stacksync_core::values::WorkspaceId(uuid::Uuid::nil()),
            at_ns: 1_420_167_845_123_456_789,
            path: "a/b".into(),
            verb: "conflict".into(),
            detail: "kept as x".into(),
        };
        assert_eq!(text(&line(&entry)), "2015-01-02T03:04:05.123Z  conflict      a/b  (kept as x)");
    }
}
