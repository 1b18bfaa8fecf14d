//! Workspaces and who is a member of them.

use super::accounts::user_number;
use super::link::{Link, Links, Query, Stop, query};
use super::outbox;
use super::rows::{self, column, unsigned};
use crate::db::{DbError, Membership, NoticeContent, Role, WorkspaceView};
use stacksync_core::values::{ItemId, Name, Revision, UserId, WorkspaceId};
use tokio_postgres::Row;
use uuid::Uuid;

/// The member's name for the default workspace, as in the original.
const DEFAULT_NAME: &str = "default";

macro_rules! view {
    ($rest:literal) => {
        concat!(
            "SELECT w.id, m.name, m.parent, w.revision, o.id, w.is_default, w.is_encrypted, \
             EXISTS (SELECT 1 FROM memberships x WHERE x.workspace = w.number AND x.member <> w.owner) \
             FROM users u JOIN memberships m ON m.member = u.number JOIN workspaces w ON w.number = m.workspace \
             JOIN users o ON o.number = w.owner WHERE u.id = $1 ",
            $rest
        )
    };
}

const VIEWS: Query = query!(view!("ORDER BY w.is_default DESC, w.number"), UUID);
const VIEW: Query = query!(view!("AND w.id = $2"), UUID, UUID);

/// What [`add`] makes.
#[derive(Clone)]
pub(super) enum NewWorkspace {
    Default,
    Further { name: Name, parent: Option<ItemId> },
}

/// A user's place in a workspace.
pub(super) async fn membership(links: &Links, user: UserId, workspace: WorkspaceId) -> Result<Option<Membership>, DbError> {
    let sql = query!(
        "SELECT o.id FROM memberships m JOIN users u ON u.number = m.member JOIN workspaces w ON w.number = m.workspace \
         JOIN users o ON o.number = w.owner WHERE u.id = $1 AND w.id = $2",
        UUID,
        UUID
    );
    let rows = links.read(&sql, &[&user.0, &workspace.0]).await?;
    let owner = rows.first().map(|row| column(row, 0).map(UserId)).transpose()?;
    Ok(owner.map(|owner| Membership { role: role(user, owner), owner }))
}

/// The members of a workspace, its owner first.
pub(super) async fn members(links: &Links, workspace: WorkspaceId) -> Result<Vec<UserId>, DbError> {
    let sql = query!(
        "SELECT u.id FROM workspaces w JOIN memberships m ON m.workspace = w.number JOIN users u ON u.number = m.member \
         WHERE w.id = $1 ORDER BY u.number <> w.owner, u.number",
        UUID
    );
    links.read(&sql, &[&workspace.0]).await?.iter().map(|row| column(row, 0).map(UserId)).collect()
}

/// The workspaces of a user, the default one first, then by age.
pub(super) async fn views(links: &Links, user: UserId) -> Result<Vec<WorkspaceView>, DbError> {
    links.read(&VIEWS, &[&user.0]).await?.iter().map(|row| read_view(row, user)).collect()
}

/// Where these workspaces stand.
pub(super) async fn heads(links: &Links, workspaces: Vec<WorkspaceId>) -> Result<Vec<(WorkspaceId, Revision)>, DbError> {
    let ids: Vec<Uuid> = workspaces.into_iter().map(|workspace| workspace.0).collect();
    let sql = query!("SELECT id, revision FROM workspaces WHERE id = ANY($1)", UUID_ARRAY);
    let rows = links.read(&sql, &[&ids]).await?;
    rows.iter().map(|row| Ok((WorkspaceId(column(row, 0)?), Revision(unsigned(row, 1)?)))).collect()
}

fn role(user: UserId, owner: UserId) -> Role {
    if user == owner { Role::Owner } else { Role::Member }
}

async fn view(link: &Link, user: UserId, workspace: WorkspaceId) -> Result<WorkspaceView, Stop<DbError>> {
    let row = link.first(&VIEW, &[&user.0, &workspace.0]).await?.ok_or(DbError::NoAccess)?;
    Ok(read_view(&row, user)?)
}

fn read_view(row: &Row, user: UserId) -> Result<WorkspaceView, DbError> {
    let owner = UserId(column(row, 4)?);
    Ok(WorkspaceView {
        id: WorkspaceId(column(row, 0)?),
        name: rows::name(row, 1)?,
        parent: rows::parent(row, 2)?,
        revision: Revision(unsigned(row, 3)?),
        owner,
        role: role(user, owner),
        is_default: column(row, 5)?,
        is_encrypted: column(row, 6)?,
        is_shared: column(row, 7)?,
    })
}

/// Makes a workspace with its owner's membership.
pub(super) async fn add(link: &Link, owner: UserId, new: &NewWorkspace) -> Result<WorkspaceView, Stop<DbError>> {
    let user = user_number(link, owner).await?;
    let (is_default, name, parent) = match new {
        NewWorkspace::Default => (true, Name::new(DEFAULT_NAME).map_err(|error| DbError::Failed(error.to_string()))?, None),
        NewWorkspace::Further { name, parent } => (false, name.clone(), *parent),
    };
    let id = WorkspaceId(Uuid::new_v4());
    check_name(link, user, id, &name).await?;
    let sql = query!("INSERT INTO workspaces (id, owner, is_default) VALUES ($1, $2, $3) RETURNING number", UUID, INT8, BOOL);
    let row = link.first(&sql, &[&id.0, &user, &is_default]).await?.ok_or(DbError::NoAccess)?;
    let number: i64 = column(&row, 0)?;
    let sql = query!(
        "INSERT INTO memberships (member, workspace, name, name_key, parent) VALUES ($1, $2, $3, $4, $5)",
        INT8,
        INT8,
        TEXT,
        TEXT,
        INT8
    );
    link.run(&sql, &[&user, &number, &name.as_str(), &name.key().as_str(), &parent.map(ItemId::get)]).await?;
    if !is_default {
        outbox::add(link, &NoticeContent::Workspace { user: owner, workspace: id, name, parent, request_id: None }).await?;
    }
    view(link, owner, id).await
}

async fn check_name(link: &Link, user: i64, workspace: WorkspaceId, name: &Name) -> Result<(), Stop<DbError>> {
    let sql = query!(
        "SELECT 1 FROM memberships m JOIN workspaces w ON w.number = m.workspace WHERE m.member = $1 AND m.name_key = $2 AND w.id <> $3",
        INT8,
        TEXT,
        UUID
    );
    match link.first(&sql, &[&user, &name.key().as_str(), &workspace.0]).await? {
        Some(_) => Err(DbError::WorkspaceNameTaken.into()),
        None => Ok(()),
    }
}

/// Changes a member's own name and place for a workspace.
pub(super) async fn update(
    link: &Link,
    user: UserId,
    workspace: WorkspaceId,
    (name, parent): (&Name, Option<ItemId>),
    request_id: Option<String>,
) -> Result<WorkspaceView, Stop<DbError>> {
    if view(link, user, workspace).await?.is_default {
        return Err(DbError::DefaultWorkspace.into());
    }
    let number = user_number(link, user).await?;
    check_name(link, number, workspace, name).await?;
    let sql = query!(
        "UPDATE memberships SET name = $3, name_key = $4, parent = $5 \
         WHERE member = $1 AND workspace = (SELECT number FROM workspaces WHERE id = $2)",
        INT8,
        UUID,
        TEXT,
        TEXT,
        INT8
    );
    link.run(&sql, &[&number, &workspace.0, &name.as_str(), &name.key().as_str(), &parent.map(ItemId::get)]).await?;
    outbox::add(link, &NoticeContent::Workspace { user, workspace, name: name.clone(), parent, request_id }).await?;
    view(link, user, workspace).await
}

/// Removes a workspace with its items and their history, for all members.
pub(super) async fn remove(link: &Link, number: i64, id: Uuid) -> Result<(), Stop<DbError>> {
    for sql in [
        query!("DELETE FROM past_versions WHERE id IN (SELECT id FROM items WHERE workspace = $1)", INT8),
        query!("DELETE FROM items WHERE workspace = $1", INT8),
        query!("DELETE FROM bundled WHERE workspace = $1", INT8),
        query!("DELETE FROM bundles WHERE workspace = $1", INT8),
        query!("DELETE FROM memberships WHERE workspace = $1", INT8),
        query!("DELETE FROM workspaces WHERE number = $1", INT8),
    ] {
        link.run(&sql, &[&number]).await?;
    }
    // What `commit_notices` has of it may still be told, to nobody: those who followed it do not any more.
    link.run(&query!("DELETE FROM notices WHERE workspace = $1", UUID), &[&id]).await?;
    Ok(())
}
