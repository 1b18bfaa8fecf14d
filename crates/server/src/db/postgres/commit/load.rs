//! Locking the workspaces of a batch and loading what the rule will ask for, in one round trip.
//!
//! A prepared statement keeps the plan that it was given when its tables were empty until the database counts them again, which is a
//! minute later or more. So what looks up rows of tables that grow does it row by row (`LATERAL`, with an `OFFSET` that keeps it so): the
//! database may not choose to read a whole table, however small it takes it to be.

use super::judge::{Answered, Batch, Workspace};
use super::picture::{Facts, Known, Lacking, Spot, numbers};
use super::{Failed, Job};
use crate::db::columns::parent_number;
use crate::db::postgres::link::{Link, Params, Query, query};
use crate::db::postgres::rows::{self, ITEM_COLUMNS, column, item_columns, unsigned};
use stacksync_core::commit::FOLDER_DEPTH_MAX;
use stacksync_core::decide::Quota;
use stacksync_core::values::{DeviceId, ItemId, Kind, Revision, Status, UserId, Version, WorkspaceId};
use std::collections::HashSet;
use tokio_postgres::Row;
use uuid::Uuid;

/// Commits of one workspace come one after the other from here on.
const LOCK_WORKSPACES: Query =
    query!("SELECT id, number, owner, revision FROM workspaces WHERE id = ANY($1) ORDER BY number FOR NO KEY UPDATE", UUID_ARRAY);
const LOCK_OWNERS: Query = query!(
    "SELECT number, quota_limit, quota_used FROM users WHERE number = ANY(ARRAY(SELECT owner FROM workspaces WHERE id = ANY($1))) \
     ORDER BY number FOR NO KEY UPDATE",
    UUID_ARRAY
);
const MEMBERS: Query = query!(
    "SELECT w.id, u.id FROM unnest($1, $2) q (workspace, member) JOIN users u ON u.id = q.member AND NOT u.disabled \
     JOIN workspaces w ON w.id = q.workspace JOIN memberships m ON m.member = u.number AND m.workspace = w.number",
    UUID_ARRAY,
    UUID_ARRAY
);
const ANSWERS: Query = query!(
    "SELECT q.device, q.request, a.fingerprint, a.answer FROM unnest($1, $2) q (device, request), \
     LATERAL (SELECT * FROM answers WHERE device = q.device AND request = q.request OFFSET 0) a",
    UUID_ARRAY,
    INT8_ARRAY
);
const ITEMS: Query = query!(
    concat!(
        "SELECT ",
        item_columns!("i"),
        ", i.workspace FROM unnest($1) q (id), LATERAL (SELECT * FROM items WHERE id = q.id OFFSET 0) i"
    ),
    INT8_ARRAY
);
const FOLDERS_ABOVE: Query = query!(
    concat!(
        "WITH RECURSIVE above (id, parent, depth) AS (SELECT i.id, i.parent, 0 FROM unnest($1) q (id), \
         LATERAL (SELECT * FROM items WHERE id = q.id OFFSET 0) i UNION ALL \
         SELECT i.id, i.parent, a.depth + 1 FROM above a, LATERAL (SELECT * FROM items WHERE id = a.parent OFFSET 0) i \
         WHERE a.depth <= $2) SELECT ",
        item_columns!("i"),
        ", i.workspace FROM (SELECT DISTINCT id FROM above) a, LATERAL (SELECT * FROM items WHERE id = a.id OFFSET 0) i"
    ),
    INT8_ARRAY,
    INT4
);
const NAMES: Query = query!(
    "SELECT w.id, q.parent, q.name_key, i.id FROM unnest($1, $2, $3) q (workspace, parent, name_key) \
     JOIN workspaces w ON w.id = q.workspace, \
     LATERAL (SELECT id FROM items WHERE workspace = w.number AND parent = q.parent AND name_key = q.name_key OFFSET 0) i",
    UUID_ARRAY,
    INT8_ARRAY,
    TEXT_ARRAY
);
/// Of each folder whether a live item is in it that the batch does not name.
const CHILDREN: Query = query!(
    "SELECT q.id, coalesce((SELECT true FROM items c WHERE c.workspace = f.workspace AND c.parent = q.id AND c.name_key IS NOT NULL \
     AND c.id <> ALL($2) LIMIT 1), false) FROM unnest($1) q (id), LATERAL (SELECT workspace FROM items WHERE id = q.id OFFSET 0) f",
    INT8_ARRAY,
    INT8_ARRAY
);
/// Of each workspace the last one. In the order of the index: the rows of the past, of which there are many until they are cleared away,
/// are passed over there.
const FOREIGN_NOTICES: Query = query!(
    "SELECT q.workspace, n.id FROM unnest($1) q (workspace), LATERAL (SELECT id FROM notices \
     WHERE workspace = q.workspace AND instance IS DISTINCT FROM $2 ORDER BY id DESC LIMIT 1) n",
    UUID_ARRAY,
    UUID
);
const FOLDERS_BELOW: Query = query!(
    "WITH RECURSIVE below (id, parent, depth) AS (SELECT i.id, i.parent, 1 FROM items i WHERE i.parent = $1 AND i.kind = 1 \
     AND i.name_key IS NOT NULL UNION ALL SELECT i.id, i.parent, b.depth + 1 FROM below b, LATERAL (SELECT * FROM items \
     WHERE parent = b.id AND kind = 1 AND name_key IS NOT NULL OFFSET 0) i WHERE b.depth <= $2) SELECT id, parent FROM below",
    INT8,
    INT4
);
const PAST: Query =
    query!(concat!("SELECT ", item_columns!("p"), " FROM past_versions p WHERE p.id = $1 AND p.version = $2"), INT8, INT8);

/// What a batch asks for, as arguments of the statements.
#[derive(Default)]
struct Wanted {
    workspaces: Vec<Uuid>,
    member_of: Vec<Uuid>,
    members: Vec<Uuid>,
    devices: Vec<Uuid>,
    requests: Vec<i64>,
    items: HashSet<ItemId>,
    /// Folders of files.
    folders: HashSet<ItemId>,
    /// Folders of folders: those above them are wanted too.
    folders_of_folders: HashSet<ItemId>,
    name_workspaces: Vec<Uuid>,
    name_parents: Vec<i64>,
    name_keys: Vec<String>,
    deleted_folders: HashSet<ItemId>,
}

impl Wanted {
    fn of(jobs: &[Job]) -> Self {
        let mut wanted = Self::default();
        let mut workspaces = HashSet::new();
        let mut members = HashSet::new();
        for job in jobs {
            let commit = &job.commit;
            if workspaces.insert(commit.workspace) {
                wanted.workspaces.push(commit.workspace.0);
            }
            if members.insert((commit.workspace, commit.user)) {
                wanted.member_of.push(commit.workspace.0);
                wanted.members.push(commit.user.0);
            }
            wanted.devices.push(commit.device.0);
            wanted.requests.push(job.key.request);
            for item in &commit.items {
                wanted.item(commit.workspace, item);
            }
        }
        wanted
    }

    fn item(&mut self, workspace: WorkspaceId, item: &stacksync_core::commit::ItemCommit) {
        self.items.insert(item.id);
        let is_folder = item.body.kind() == Kind::Folder;
        if item.status == Status::Deleted {
            if is_folder {
                self.deleted_folders.insert(item.id);
            }
            return;
        }
        if let Some(folder) = item.place.parent {
            if is_folder { &mut self.folders_of_folders } else { &mut self.folders }.insert(folder);
        }
        self.name_workspaces.push(workspace.0);
        self.name_parents.push(parent_number(item.place.parent));
        self.name_keys.push(item.place.name.key().as_str().to_owned());
    }
}

/// Begins the transaction, locks, and loads. The statements go out together; each sees what was committed before it began, and those
/// after the locks begin after them.
pub(super) async fn load(link: &Link, jobs: &[Job], owner: Option<Uuid>) -> Result<Batch, Failed> {
    let wanted = Wanted::of(jobs);
    let named = numbers(&wanted.items);
    let items = numbers(wanted.items.iter().chain(&wanted.folders));
    let above = numbers(&wanted.folders_of_folders);
    let deleted = numbers(&wanted.deleted_folders);
    let depth = FOLDER_DEPTH_MAX as i32 + 1;
    let (begin, _) = Link::border();
    let always: [(&Query, Params<'_>); 8] = [
        (begin, &[]),
        (&LOCK_WORKSPACES, &[&wanted.workspaces]),
        (&LOCK_OWNERS, &[&wanted.workspaces]),
        (&MEMBERS, &[&wanted.member_of, &wanted.members]),
        (&ANSWERS, &[&wanted.devices, &wanted.requests]),
        (&ITEMS, &[&items]),
        (&NAMES, &[&wanted.name_workspaces, &wanted.name_parents, &wanted.name_keys]),
        (&FOREIGN_NOTICES, &[&wanted.workspaces, &owner]),
    ];
    let of_folders: [(bool, &Query, Params<'_>); 2] =
        [(!above.is_empty(), &FOLDERS_ABOVE, &[&above, &depth]), (!deleted.is_empty(), &CHILDREN, &[&deleted, &named])];
    let needed = of_folders.iter().filter(|(needed, ..)| *needed).map(|&(_, query, params)| (query, params));
    let calls: Vec<_> = always.into_iter().chain(needed).collect();
    let mut found = link.pipeline(&calls).await?.into_iter();
    let mut batch = Batch::default();
    let mut next = || found.next().unwrap_or_default();
    let [_, locked, owners, members, answers, items, names, notices] = std::array::from_fn(|_| next());
    let above = if above.is_empty() { Vec::new() } else { next() };
    let children = if deleted.is_empty() { Vec::new() } else { next() };
    read_workspaces(&mut batch, &locked, &notices)?;
    for row in &owners {
        batch.quotas.insert(column(row, 0)?, Quota { limit: unsigned(row, 1)?, used: unsigned(row, 2)? });
    }
    for row in &members {
        batch.members.insert((WorkspaceId(column(row, 0)?), UserId(column(row, 1)?)));
    }
    for row in &answers {
        let answered = Answered { fingerprint: column(row, 2)?, answer: column(row, 3)? };
        batch.answers.insert((DeviceId(column(row, 0)?), column(row, 1)?), answered);
    }
    read_facts(&mut batch, &wanted, [&items, &above, &names, &children])?;
    Ok(batch)
}

fn read_workspaces(batch: &mut Batch, locked: &[Row], notices: &[Row]) -> Result<(), Failed> {
    for row in locked {
        let workspace =
            Workspace { number: column(row, 1)?, owner: column(row, 2)?, revision: rows_revision(row, 3)?, notice: None };
        batch.workspaces.insert(WorkspaceId(column(row, 0)?), workspace);
    }
    for row in notices {
        if let Some(workspace) = batch.workspaces.get_mut(&WorkspaceId(column(row, 0)?)) {
            workspace.notice = column(row, 1)?;
        }
    }
    Ok(())
}

fn rows_revision(row: &Row, at: usize) -> Result<Revision, Failed> {
    Ok(Revision(unsigned(row, at)?))
}

fn read_facts(batch: &mut Batch, wanted: &Wanted, [items, above, names, children]: [&Vec<Row>; 4]) -> Result<(), Failed> {
    let facts = &mut batch.facts;
    read_items(facts, items)?;
    read_items(facts, above)?;
    // Whatever was asked for and not found is nowhere.
    for id in wanted.items.iter().chain(&wanted.folders).chain(&wanted.folders_of_folders) {
        facts.items.entry(*id).or_insert(None);
    }
    for id in &wanted.items {
        let live = facts.items.get(id).and_then(Option::as_ref).filter(|known| !known.entry.item.deleted);
        if let Some(folder) = live.and_then(|known| known.entry.item.place.parent) {
            facts.inside.entry(folder).or_default().push(*id);
        }
    }
    for ((workspace, parent), key) in wanted.name_workspaces.iter().zip(&wanted.name_parents).zip(&wanted.name_keys) {
        if let Some(workspace) = batch.workspaces.get(&WorkspaceId(*workspace)) {
            facts.names.insert((workspace.number, *parent, key.clone()), None);
        }
    }
    for row in names {
        if let Some(workspace) = batch.workspaces.get(&WorkspaceId(column(row, 0)?)) {
            facts.names.insert((workspace.number, column(row, 1)?, column(row, 2)?), ItemId::new(column(row, 3)?));
        }
    }
    for row in children {
        facts.children.extend(ItemId::new(column(row, 0)?).zip(Some(column::<bool>(row, 1)?)));
    }
    Ok(())
}

fn read_items(facts: &mut Facts, found: &[Row]) -> Result<(), Failed> {
    for row in found {
        let known = Known { entry: rows::item(row, 0)?, workspace: column(row, ITEM_COLUMNS)? };
        facts.items.insert(known.entry.item.id, Some(known));
    }
    Ok(())
}

/// Loads what the rule asked for beyond that.
pub(super) async fn more(link: &Link, batch: &mut Batch, lacking: Vec<Lacking>) -> Result<(), Failed> {
    for what in lacking {
        match what {
            Lacking::Item(id) => item(link, &mut batch.facts, id).await?,
            Lacking::Name(spot) => name(link, &mut batch.facts, spot).await?,
            Lacking::Child(id) => child(link, &mut batch.facts, id).await?,
            Lacking::Below(id) => below(link, &mut batch.facts, id).await?,
            Lacking::Past(id, version) => past(link, &mut batch.facts, id, version).await?,
        }
    }
    Ok(())
}

async fn item(link: &Link, facts: &mut Facts, id: ItemId) -> Result<(), Failed> {
    let found = link.rows(&FOLDERS_ABOVE, &[&vec![id.get()], &(FOLDER_DEPTH_MAX as i32 + 1)]).await?;
    read_items(facts, &found)?;
    facts.items.entry(id).or_insert(None);
    Ok(())
}

async fn name(link: &Link, facts: &mut Facts, spot: Spot) -> Result<(), Failed> {
    let sql = query!("SELECT id FROM items WHERE workspace = $1 AND parent = $2 AND name_key = $3", INT8, INT8, TEXT);
    let row = link.first(&sql, &[&spot.0, &spot.1, &spot.2]).await?;
    let id = row.map(|row| column(&row, 0)).transpose()?.and_then(ItemId::new);
    facts.names.insert(spot, id);
    Ok(())
}

/// The batch's own items may count here: they are looked at as they are now, and this is about the others.
async fn child(link: &Link, facts: &mut Facts, id: ItemId) -> Result<(), Failed> {
    let named: Vec<i64> = facts.items.keys().map(|id| id.get()).collect();
    for row in link.rows(&CHILDREN, &[&vec![id.get()], &named]).await? {
        facts.children.insert(id, column(&row, 1)?);
    }
    facts.children.entry(id).or_insert(false);
    // What is known now but not one of the batch's own has to be counted as well.
    let inside: Vec<ItemId> = facts
        .items
        .values()
        .flatten()
        .filter(|known| !known.entry.item.deleted && known.entry.item.place.parent == Some(id))
        .map(|known| known.entry.item.id)
        .collect();
    facts.inside.insert(id, inside);
    Ok(())
}

async fn below(link: &Link, facts: &mut Facts, id: ItemId) -> Result<(), Failed> {
    facts.folders.entry(id).or_default();
    for row in link.rows(&FOLDERS_BELOW, &[&id.get(), &(FOLDER_DEPTH_MAX as i32 + 1)]).await? {
        let (Some(child), Some(parent)) = (ItemId::new(column(&row, 0)?), ItemId::new(column(&row, 1)?)) else { continue };
        facts.folders.entry(child).or_default();
        let children = facts.folders.entry(parent).or_default();
        if !children.contains(&child) {
            children.push(child);
        }
    }
    Ok(())
}

async fn past(link: &Link, facts: &mut Facts, id: ItemId, version: Version) -> Result<(), Failed> {
    let number = i64::try_from(version.get()).unwrap_or(i64::MAX);
    let row = link.first(&PAST, &[&id.get(), &number]).await?;
    let item = row.map(|row| rows::item(&row, 0)).transpose()?.map(|entry| entry.item);
    facts.past.insert((id, version), item);
    Ok(())
}
