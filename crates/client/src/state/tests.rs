//! The state, written and read back; damaged, newer, deleted.

use super::codec::tests::row;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stacksync_core::engine::{Cursor, LogEntry, Row, StateDelta};
use stacksync_core::values::{ItemId, ItemPath, Revision, WorkspaceId};
use std::collections::BTreeMap;
use std::path::Path;
use uuid::Uuid;

const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(7));

fn entry() -> WorkspaceEntry {
    WorkspaceEntry {
        id: WORKSPACE,
        name: "default".into(),
        is_default: true,
        folder: String::new(),
        identity: String::new(),
        cursor: Cursor::default(),
        status: String::new(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn write(file: &Path, deltas: Vec<StateDelta>) {
    let state = StateWriter::open(file).unwrap().writer;
    runtime().block_on(async {
        state.workspace(entry()).await;
        for delta in deltas {
            state.remember(WORKSPACE, delta).await;
        }
    });
    state.close();
}

fn owned(id: i64, mut row: Row) -> (ItemId, Option<Row>) {
    let id = ItemId::new(id).unwrap();
    if let Some(remote) = &mut row.remote {
        remote.id = id;
    }
    (id, Some(row))
}

#[test]
fn what_was_remembered_last_is_what_comes_back() {
    let deltas =
        vec((vec((1..6i64, proptest::option::weighted(0.8, row())), 0..6), proptest::option::of(any::<(u128, u32)>())), 0..5);
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&deltas, |deltas| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.db");
        let mut model = BTreeMap::new();
        let mut cursor = Cursor::default();
        let mut steps = Vec::new();
        for (changes, moved) in deltas {
            let rows: Vec<_> =
                changes.into_iter().map(|(id, row)| row.map_or((ItemId::new(id).unwrap(), None), |row| owned(id, row))).collect();
            for (id, row) in &rows {
                match row {
                    Some(row) => model.insert(*id, row.clone()),
                    None => model.remove(id),
                };
            }
            let moved = moved.map(|(epoch, revision)| Cursor { epoch, revision: Revision(u64::from(revision)) });
            cursor = moved.unwrap_or(cursor);
            steps.push(StateDelta { rows, cursor: moved });
        }
        write(&file, steps);
        let loaded = StateReader::open(&file).unwrap().unwrap().load(WORKSPACE).unwrap();
        prop_assert_eq!(loaded.cursor, cursor);
        prop_assert_eq!(loaded.rows.into_iter().collect::<BTreeMap<_, _>>(), model);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_damaged_state_is_put_aside_and_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    std::fs::write(&file, "this is no database, but it is long enough to be looked at as one".repeat(100)).unwrap();
    let OpenState { writer: state, opened, workspaces: everything } = StateWriter::open(&file).unwrap();
    assert!(matches!(&opened, Opened::PutAside(aside) if aside.exists()), "{opened:?}");
    assert!(everything.is_empty());
    state.close();
}

#[test]
fn a_state_with_a_row_that_makes_no_sense_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    write(&file, Vec::new());
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute("INSERT INTO item VALUES (1, 5, x'0101ff')", []).unwrap();
    drop(connection);
    let OpenState { writer: state, opened, workspaces: everything } = StateWriter::open(&file).unwrap();
    assert!(matches!(opened, Opened::PutAside(_)));
    assert!(everything.is_empty());
    state.close();
}

#[test]
fn a_newer_state_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    write(&file, Vec::new());
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(StateWriter::open(&file), Err(StateError::Newer { found: 99, .. })));
    assert!(matches!(StateReader::open(&file), Err(StateError::Newer { found: 99, .. })));
}

#[test]
fn a_deleted_state_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    assert!(StateReader::open(&file).unwrap().is_none());
    let OpenState { writer: state, opened, .. } = StateWriter::open(&file).unwrap();
    assert_eq!(opened, Opened::Begun);
    state.close();
    let OpenState { writer: state, opened, .. } = StateWriter::open(&file).unwrap();
    assert_eq!(opened, Opened::Kept);
    state.close();
}

#[test]
fn flags_log_and_status_pass_between_processes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let state = StateWriter::open(&file).unwrap().writer;
    let reader = StateReader::open(&file).unwrap().unwrap();
    runtime().block_on(async {
        state.workspace(entry()).await;
        for path in ["a", "a/b", "ab"] {
            let path = ItemPath::parse(path).unwrap();
            state.log(WORKSPACE, 5, LogEntry { path, verb: "uploaded", detail: String::new() }).await;
        }
        state.status(WORKSPACE, "{}".into()).await;
        state.flag(Flag::Approve, Some(3)).await;
        state.flush().await;
    });
    assert_eq!(reader.flags().unwrap(), [(Flag::Approve, 3)]);
    reader.set_flag(Flag::Approve, None).unwrap();
    reader.set_flag(Flag::Paused, Some(1)).unwrap();
    assert_eq!(reader.flags().unwrap(), [(Flag::Paused, 1)]);
    assert_eq!(reader.workspaces().unwrap()[0].status, "{}");
    let paths = |path: &str, max| reader.log(path, max).unwrap().into_iter().map(|line| line.path).collect::<Vec<_>>();
    assert_eq!(paths("", 10), ["a", "a/b", "ab"]);
    assert_eq!(paths("", 2), ["a/b", "ab"]);
    assert_eq!(paths("a", 10), ["a", "a/b"]);
    state.close();
}

#[test]
fn a_forgotten_workspace_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    write(&file, Vec::new());
    let OpenState { writer: state, workspaces: everything, .. } = StateWriter::open(&file).unwrap();
    assert_eq!(everything.iter().map(|(entry, _)| entry.clone()).collect::<Vec<_>>(), [entry()]);
    runtime().block_on(state.forget(WORKSPACE));
    state.close();
    let OpenState { writer: state, workspaces: everything, .. } = StateWriter::open(&file).unwrap();
    assert!(everything.is_empty());
    state.close();
}
