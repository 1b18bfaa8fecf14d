//! Workspaces and who is a member of them.

use super::accounts::user_number;
use super::rows::{all, first, name, parent, unsigned, uuid};
use super::{DbError, Membership, NoticeContent, Role, WorkspaceView, outbox};
use rusqlite::{Connection, Row, params};
use stacksync_core::values::{ItemId, Name, Revision, UserId, WorkspaceId};
use uuid::Uuid;

/// The member's name for the default workspace, as in the original.
const DEFAULT_NAME: &str = "default";

/// Reads the columns of [`read_view`]; `?1` is the user's id.
const VIEW: &str = "SELECT w.id, m.name, m.parent, w.revision, o.id, w.is_default, w.is_encrypted, \
                    EXISTS (SELECT 1 FROM memberships x WHERE x.workspace = w.number AND x.user <> w.owner) \
                    FROM users u JOIN memberships m ON m.user = u.number JOIN workspaces w ON w.number = m.workspace \
                    JOIN users o ON o.number = w.owner WHERE u.id = ?1";

/// A user's place in a workspace.
pub(super) fn membership(connection: &Connection, user: UserId, workspace: WorkspaceId) -> Result<Option<Membership>, DbError> {
    let sql = "SELECT o.id FROM memberships m JOIN users u ON u.number = m.user JOIN workspaces w ON w.number = m.workspace \
               JOIN users o ON o.number = w.owner WHERE u.id = ?1 AND w.id = ?2";
    let params = params![user.0.as_bytes(), workspace.0.as_bytes()];
    let owner = first(connection, sql, params, |row| uuid(row, 0).map(UserId))?;
    Ok(owner.map(|owner| Membership { role: role(user, owner), owner }))
}

/// The members of a workspace, its owner first.
pub(super) fn members(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<UserId>, DbError> {
    let sql = "SELECT u.id FROM workspaces w JOIN memberships m ON m.workspace = w.number JOIN users u ON u.number = m.user \
               WHERE w.id = ?1 ORDER BY u.number <> w.owner, u.number";
    all(connection, sql, [workspace.0.as_bytes()], |row| uuid(row, 0).map(UserId))
}

/// What [`add`] makes.
pub(super) enum NewWorkspace {
    Default,
    Further { name: Name, parent: Option<ItemId> },
}

fn role(user: UserId, owner: UserId) -> Role {
    if user == owner { Role::Owner } else { Role::Member }
}

/// The workspaces of a user, the default one first, then by age.
pub(super) fn views(connection: &Connection, user: UserId) -> Result<Vec<WorkspaceView>, DbError> {
    let sql = format!("{VIEW} ORDER BY w.is_default DESC, w.number");
    all(connection, &sql, [user.0.as_bytes()], |row| read_view(row, user))
}

fn view(connection: &Connection, user: UserId, workspace: WorkspaceId) -> Result<Option<WorkspaceView>, DbError> {
    let sql = format!("{VIEW} AND w.id = ?2");
    first(connection, &sql, params![user.0.as_bytes(), workspace.0.as_bytes()], |row| read_view(row, user))
}

fn read_view(row: &Row<'_>, user: UserId) -> rusqlite::Result<WorkspaceView> {
    let owner = UserId(uuid(row, 4)?);
    Ok(WorkspaceView {
        id: WorkspaceId(uuid(row, 0)?),
        name: name(row, 1)?,
        parent: parent(row, 2)?,
        revision: Revision(unsigned(row, 3)?),
        owner,
        role: role(user, owner),
        is_default: row.get(5)?,
        is_encrypted: row.get(6)?,
        is_shared: row.get(7)?,
    })
}

/// Makes a workspace with its owner's membership.
pub(super) fn add(connection: &Connection, owner: UserId, new: &NewWorkspace) -> Result<WorkspaceView, DbError> {
    let user = user_number(connection, owner)?;
    let (is_default, name, parent) = match new {
        NewWorkspace::Default => (true, Name::new(DEFAULT_NAME).map_err(|error| DbError::Failed(error.to_string()))?, None),
        NewWorkspace::Further { name, parent } => (false, name.clone(), *parent),
    };
    let id = WorkspaceId(Uuid::new_v4());
    check_name(connection, user, id, &name)?;
    connection.execute(
        "INSERT INTO workspaces (id, owner, is_default) VALUES (?1, ?2, ?3)",
        params![id.0.as_bytes(), user, is_default],
    )?;
    connection.execute(
        "INSERT INTO memberships (user, workspace, name, name_key, parent) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![user, connection.last_insert_rowid(), name.as_str(), name.key().as_str(), parent.map(ItemId::get)],
    )?;
    if !is_default {
        outbox::add(connection, NoticeContent::Workspace { user: owner, workspace: id, name, parent, request_id: None })?;
    }
    view(connection, owner, id)?.ok_or(DbError::NoAccess)
}

fn check_name(connection: &Connection, user: i64, workspace: WorkspaceId, name: &Name) -> Result<(), DbError> {
    let sql = "SELECT 1 FROM memberships m JOIN workspaces w ON w.number = m.workspace WHERE m.user = ?1 AND m.name_key = ?2 AND w.id <> ?3";
    match first(connection, sql, params![user, name.key().as_str(), workspace.0.as_bytes()], |_| Ok(()))? {
        Some(()) => Err(DbError::WorkspaceNameTaken),
        None => Ok(()),
    }
}

/// Changes a member's own name and place for a workspace.
pub(super) fn update(
    connection: &Connection,
    user: UserId,
    workspace: WorkspaceId,
    (name, parent): (&Name, Option<ItemId>),
    request_id: Option<String>,
) -> Result<WorkspaceView, DbError> {
    let before = view(connection, user, workspace)?.ok_or(DbError::NoAccess)?;
    if before.is_default {
        return Err(DbError::DefaultWorkspace);
    }
    let number = user_number(connection, user)?;
    check_name(connection, number, workspace, name)?;
    connection.execute(
        "UPDATE memberships SET name = ?3, name_key = ?4, parent = ?5 \
         WHERE user = ?1 AND workspace = (SELECT number FROM workspaces WHERE id = ?2)",
        params![number, workspace.0.as_bytes(), name.as_str(), name.key().as_str(), parent.map(ItemId::get)],
    )?;
    outbox::add(connection, NoticeContent::Workspace { user, workspace, name: name.clone(), parent, request_id })?;
    view(connection, user, workspace)?.ok_or(DbError::NoAccess)
}

/// Removes a workspace with its items and their history, for all members.
pub(super) fn remove(connection: &Connection, workspace: i64) -> Result<(), DbError> {
    for sql in [
        "DELETE FROM past_versions WHERE id IN (SELECT id FROM items WHERE workspace = ?1)",
        "DELETE FROM items WHERE workspace = ?1",
        "DELETE FROM bundled WHERE workspace = ?1",
        "DELETE FROM bundles WHERE workspace = ?1",
        "DELETE FROM memberships WHERE workspace = ?1",
        "DELETE FROM notices WHERE workspace = (SELECT id FROM workspaces WHERE number = ?1)",
        "DELETE FROM workspaces WHERE number = ?1",
    ] {
        connection.execute(sql, [workspace])?;
    }
    Ok(())
}
