//! Stored answers to commits: a retry gets the first answer, whatever happened since.
//!
//! The answer is written in the commit's own transaction. It is found by device and request id and belongs to one content: the same
//! id with other items is an error, not a surprise. Old answers are trimmed; a retry that comes after that is judged anew, and
//! the rule finds that its versions exist.

use super::super::answer_codec::{decode, encode};
use super::super::request::{ANSWER_KEPT_MS, ANSWERS_PER_DEVICE_MAX, RequestKey};
use super::rows::{first, run};
use super::{Commit, CommitOutcome, DbError, UnixMs};
use rusqlite::{Connection, params};
use stacksync_core::planted;
use stacksync_core::values::DeviceId;
use std::collections::HashMap;

/// Answers of a device after which its older ones are trimmed.
const TRIM_EVERY: u32 = ANSWERS_PER_DEVICE_MAX / 2;
/// Old answers that one trim by age looks at.
const TRIM_ROWS_MAX: i64 = 1_024;
/// Devices whose answers are counted.
const COUNTED_DEVICES_MAX: usize = 65_536;

/// What is stored under a request id.
pub(super) enum Stored {
    Nothing,
    Answer(CommitOutcome),
    OtherCommit,
}

pub(super) fn stored(connection: &Connection, commit: &Commit, key: &RequestKey) -> Result<Stored, DbError> {
    let sql = "SELECT fingerprint = ?3, answer FROM answers WHERE device = ?1 AND request = ?2";
    let params = params![commit.device.0.as_bytes(), key.request, key.fingerprint.as_slice()];
    if planted!(RetryForgotten) {
        run(
            connection,
            "DELETE FROM answers WHERE device = ?1 AND request = ?2",
            params![commit.device.0.as_bytes(), key.request],
        )?;
    }
    Ok(match first(connection, sql, params, |row| Ok((row.get::<_, bool>(0)?, row.get::<_, Vec<u8>>(1)?)))? {
        None => Stored::Nothing,
        Some((false, _)) => Stored::OtherCommit,
        Some((true, answer)) => {
            Stored::Answer(decode(&answer, commit).ok_or_else(|| DbError::Damaged("a stored answer cannot be read".into()))?)
        }
    })
}

pub(super) fn store(connection: &Connection, commit: &Commit, key: &RequestKey, outcome: &CommitOutcome) -> Result<(), DbError> {
    let sql = "INSERT INTO answers (device, request, fingerprint, answered_at, answer) VALUES (?1, ?2, ?3, ?4, ?5)";
    let answer = encode(outcome, commit);
    let params = params![commit.device.0.as_bytes(), key.request, key.fingerprint.as_slice(), UnixMs::now().0, answer];
    run(connection, sql, params)?;
    Ok(())
}

/// Counts answers, so that old ones are trimmed now and then. What it forgets (restart, rollback) only makes a trim come later.
#[derive(Default)]
pub(super) struct Trim {
    counts: HashMap<DeviceId, u32>,
}

impl Trim {
    /// An answer to this device was stored.
    pub(super) fn stored(&mut self, connection: &Connection, device: DeviceId) -> Result<(), DbError> {
        if self.counts.len() >= COUNTED_DEVICES_MAX {
            self.counts.clear();
        }
        let count = self.counts.entry(device).or_default();
        *count += 1;
        if *count >= TRIM_EVERY {
            *count = 0;
            trim_device(connection, device)?;
            trim_older(connection, UnixMs(UnixMs::now().0 - ANSWER_KEPT_MS))?;
        }
        Ok(())
    }
}

fn trim_device(connection: &Connection, device: DeviceId) -> Result<(), DbError> {
    let sql = "DELETE FROM answers WHERE device = ?1 AND number <= \
               (SELECT number FROM answers WHERE device = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)";
    run(connection, sql, params![device.0.as_bytes(), ANSWERS_PER_DEVICE_MAX])?;
    Ok(())
}

/// Answers are numbered in the order of time, so the oldest are looked at first, and only some of them.
fn trim_older(connection: &Connection, than: UnixMs) -> Result<(), DbError> {
    let sql = "DELETE FROM answers WHERE number IN (SELECT number FROM \
               (SELECT number, answered_at FROM answers ORDER BY number LIMIT ?2) WHERE answered_at < ?1)";
    run(connection, sql, params![than.0, TRIM_ROWS_MAX])?;
    Ok(())
}
