//! Locking the workspaces of a batch and loading what the rule will ask for, in one round trip.
//!
//! A prepared statement keeps the plan that it was given when its tables were empty until the database counts them again, which is a
//! minute later or more. So what looks up rows of tables that grow does it row by row (`LATERAL`, with an `OFFSET` that keeps it so): the
//! database may not choose to read a whole table, however small it takes it to be. And arrays stand in `(SELECT $1)`, so that a plan for
//! the arrays at hand looks no better than one for any: else short ones have the database plan each time, which takes longer than all
//! that the statement does.

use super::judge::{Answered, Batch, Workspace};
use super::picture::{Facts, Known, Lacking, Spot, numbers};
use super::{Failed, Job};
use crate::db::columns::parent_number;
use crate::db::postgres::link::{Link, Params, Query, query};
use crate::db::postgres::rows::{self, ITEM_COLUMNS, column, damaged, item_columns, unsigned};
use stacksync_core::commit::FOLDER_DEPTH_MAX;
use stacksync_core::decide::Quota;
use stacksync_core::values::{DeviceId, ItemId, Kind, Revision, Status, UserId, Version, WorkspaceId};
use std::collections::{HashMap, HashSet};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Commits of one workspace come one after the other from here on. Says beside whether no other instance lives, or did a moment ago.
const LOCK_WORKSPACES: Query = query!(
    "SELECT id, number, owner, revision, CASE WHEN notice_by IS DISTINCT FROM $2 THEN notice END, NOT EXISTS (SELECT 1 FROM instances \
     WHERE id IS DISTINCT FROM $2 AND seen_at > clock_timestamp() - interval '10 s') FROM workspaces \
     WHERE id = ANY((SELECT $1)::uuid[]) ORDER BY number FOR NO KEY UPDATE",
    UUID_ARRAY,
    UUID
);

/// Owners and items, and whatever else, as rows of one shape: those of items. The first column says what a row is about; see [`About`].
macro_rules! look {
    ($more:expr) => {
        concat!(
            "WITH owners AS MATERIALIZED (SELECT number, quota_limit, quota_used, CASE WHEN NOT disabled THEN id END active FROM users \
             WHERE number = ANY(ARRAY(SELECT owner FROM workspaces WHERE id = ANY((SELECT $1)::uuid[]))) \
             ORDER BY number FOR NO KEY UPDATE) \
             SELECT 0::smallint, number, quota_limit, quota_used, 0::smallint, 0::smallint, 0::bigint, NULL::text, 0::bigint, 0::bigint, \
             false, active, NULL::bytea, 0::bigint, NULL::uuid, NULL::bytea FROM owners \
             UNION ALL SELECT 3::smallint, ",
            item_columns!("i"),
            ", i.workspace, NULL, NULL FROM unnest((SELECT $2)) q (id), LATERAL (SELECT * FROM items WHERE id = q.id OFFSET 0) i",
            $more
        )
    };
}

const BRIEF: Query = query!(look!(""), UUID_ARRAY, INT8_ARRAY);
const THOROUGH: Query = query!(
    look!(
        " UNION ALL SELECT 1::smallint, 0, 0, 0, 0::smallint, 0::smallint, 0, NULL, 0, 0, false, w.id, NULL, 0, u.id, NULL \
         FROM unnest((SELECT $3), (SELECT $4)) q (workspace, member) JOIN users u ON u.id = q.member AND NOT u.disabled \
         JOIN workspaces w ON w.id = q.workspace JOIN memberships m ON m.member = u.number AND m.workspace = w.number \
         UNION ALL SELECT 2::smallint, q.request, 0, 0, 0::smallint, 0::smallint, 0, NULL, 0, 0, false, q.device, a.answer, 0, NULL, \
         a.fingerprint FROM unnest((SELECT $5), (SELECT $6)) q (device, request), \
         LATERAL (SELECT * FROM answers WHERE device = q.device AND request = q.request OFFSET 0) a \
         UNION ALL SELECT 4::smallint, i.id, 0, 0, 0::smallint, 0::smallint, q.parent, q.name_key, 0, 0, false, q.workspace, NULL, 0, \
         NULL, NULL FROM unnest((SELECT $7), (SELECT $8), (SELECT $9)) q (workspace, parent, name_key) \
         JOIN workspaces w ON w.id = q.workspace, \
         LATERAL (SELECT id FROM items WHERE workspace = w.number AND parent = q.parent AND name_key = q.name_key OFFSET 0) i"
    ),
    UUID_ARRAY,
    INT8_ARRAY,
    UUID_ARRAY,
    UUID_ARRAY,
    UUID_ARRAY,
    INT8_ARRAY,
    UUID_ARRAY,
    INT8_ARRAY,
    TEXT_ARRAY
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
/// Of each folder whether a live item is in it that the batch does not name.
const CHILDREN: Query = query!(
    "SELECT q.id, coalesce((SELECT true FROM items c WHERE c.workspace = f.workspace AND c.parent = q.id AND c.name_key IS NOT NULL \
     AND c.id <> ALL($2) LIMIT 1), false) FROM unnest($1) q (id), LATERAL (SELECT workspace FROM items WHERE id = q.id OFFSET 0) f",
    INT8_ARRAY,
    INT8_ARRAY
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

/// How much is looked up before the judging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// What nearly always is the case is taken for granted: a new item's id and its name belong to nobody, no commit was answered before,
    /// and who commits owns the workspace, or may not commit there. What is saved on that belief violates a key of a table if it is wrong, and the transaction is tried again, thoroughly;
    /// nothing may be refused on it.
    Brief,
    /// Everything that the rule asks for.
    Thorough,
}

/// What a batch asks for, as arguments of the statements.
#[derive(Default)]
struct Wanted {
    workspaces: Vec<Uuid>,
    member_of: Vec<Uuid>,
    members: Vec<Uuid>,
    devices: Vec<Uuid>,
    requests: Vec<i64>,
    items: HashSet<ItemId>,
    /// Those among them that nobody has, if they are what they say.
    new_items: HashSet<ItemId>,
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
        if item.version == Version::FIRST {
            self.new_items.insert(item.id);
        }
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

/// What a row of [`BRIEF`] or [`THOROUGH`] is about, by its first column.
struct About;

impl About {
    /// An owner: his number, quota and use in the first three columns of an item; in the place of its device he himself, unless he is
    /// disabled.
    const OWNER: i16 = 0;
    /// Somebody who may commit: the workspace in the place of an item's device, he himself after the item.
    const MEMBER: i16 = 1;
    /// A stored answer: request and device of an item's id and device, the answer as its body, the fingerprint at the end.
    const ANSWER: i16 = 2;
    /// An item.
    const ITEM: i16 = 3;
    /// A name that is taken: item, folder and key in an item's places, the workspace in that of its device.
    const NAME: i16 = 4;
}

/// Where an item begins in such a row.
const ITEM_AT: usize = 1;

/// Begins the transaction, locks, and loads. The statements go out together; each sees what was committed before it began, and those
/// after the locks begin after them.
pub(super) async fn load(link: &Link, jobs: &[Job], owner: Option<Uuid>, look: Look) -> Result<Batch, Failed> {
    let (begin, _) = Link::border();
    load_after(link, Some(begin), jobs, owner, look).await
}

/// Loads everything in a transaction that has begun with a brief look.
pub(super) async fn load_thoroughly(link: &Link, jobs: &[Job], owner: Option<Uuid>) -> Result<Batch, Failed> {
    load_after(link, None, jobs, owner, Look::Thorough).await
}

async fn load_after(link: &Link, first: Option<&Query>, jobs: &[Job], owner: Option<Uuid>, look: Look) -> Result<Batch, Failed> {
    let wanted = Wanted::of(jobs);
    let named = numbers(&wanted.items);
    let asked = |id: &&ItemId| look == Look::Thorough || !wanted.new_items.contains(id);
    let items = numbers(wanted.items.iter().filter(asked).chain(&wanted.folders));
    let above = numbers(&wanted.folders_of_folders);
    let deleted = numbers(&wanted.deleted_folders);
    let depth = FOLDER_DEPTH_MAX as i32 + 1;
    let all: [&(dyn ToSql + Sync); 9] = [
        &wanted.workspaces,
        &items,
        &wanted.member_of,
        &wanted.members,
        &wanted.devices,
        &wanted.requests,
        &wanted.name_workspaces,
        &wanted.name_parents,
        &wanted.name_keys,
    ];
    let lock: [&(dyn ToSql + Sync); 2] = [&wanted.workspaces, &owner];
    let usual: (&Query, Params<'_>) = match look {
        Look::Brief => (&BRIEF, &all[..BRIEF.types.len()]),
        Look::Thorough => (&THOROUGH, &all),
    };
    let always: [(&Query, Params<'_>); 2] = [(&LOCK_WORKSPACES, &lock), usual];
    let of_folders: [(bool, &Query, Params<'_>); 2] =
        [(!above.is_empty(), &FOLDERS_ABOVE, &[&above, &depth]), (!deleted.is_empty(), &CHILDREN, &[&deleted, &named])];
    let needed = of_folders.iter().filter(|(needed, ..)| *needed).map(|&(_, query, params)| (query, params));
    let calls: Vec<_> = first.map(|first| (first, &[][..])).into_iter().chain(always).chain(needed).collect();
    let mut found = link.pipeline(&calls).await?.into_iter().skip(usize::from(first.is_some()));
    let mut batch = Batch::default();
    let mut next = || found.next().unwrap_or_default();
    let [locked, usual] = std::array::from_fn(|_| next());
    let above = if above.is_empty() { Vec::new() } else { next() };
    let children = if deleted.is_empty() { Vec::new() } else { next() };
    read_workspaces(&mut batch, &locked)?;
    batch.alone = locked.first().map(|row| column(row, 5)).transpose()?.unwrap_or(false);
    expect_names(&mut batch, &wanted);
    let mut active = HashMap::new();
    for row in &usual {
        read_usual(&mut batch, &mut active, row)?;
    }
    let owners = wanted.member_of.iter().zip(&wanted.members).map(|(workspace, user)| (WorkspaceId(*workspace), UserId(*user)));
    for (workspace, user) in owners {
        if batch.workspaces.get(&workspace).is_some_and(|of| active.get(&of.owner) == Some(&user)) {
            batch.members.insert((workspace, user));
        }
    }
    read_items(&mut batch.facts, &above)?;
    conclude(&mut batch.facts, &wanted);
    for row in children {
        batch.facts.children.extend(ItemId::new(column(&row, 0)?).zip(Some(column::<bool>(&row, 1)?)));
    }
    Ok(batch)
}

fn read_workspaces(batch: &mut Batch, locked: &[Row]) -> Result<(), Failed> {
    for row in locked {
        let workspace = Workspace {
            number: column(row, 1)?,
            owner: column(row, 2)?,
            revision: Revision(unsigned(row, 3)?),
            notice: column(row, 4)?,
        };
        batch.workspaces.insert(WorkspaceId(column(row, 0)?), workspace);
    }
    Ok(())
}

/// Nobody has a name that is not found.
fn expect_names(batch: &mut Batch, wanted: &Wanted) {
    for ((workspace, parent), key) in wanted.name_workspaces.iter().zip(&wanted.name_parents).zip(&wanted.name_keys) {
        if let Some(workspace) = batch.workspaces.get(&WorkspaceId(*workspace)) {
            batch.facts.names.insert((workspace.number, *parent, key.clone()), None);
        }
    }
}

/// Notes owners who are not disabled by their numbers.
fn read_usual(batch: &mut Batch, active: &mut HashMap<i64, UserId>, row: &Row) -> Result<(), Failed> {
    let device = ITEM_AT + 10;
    match column::<i16>(row, 0)? {
        About::OWNER => {
            let quota = Quota { limit: unsigned(row, ITEM_AT + 1)?, used: unsigned(row, ITEM_AT + 2)? };
            let owner = column(row, ITEM_AT)?;
            batch.quotas.insert(owner, quota);
            active.extend(column::<Option<Uuid>>(row, device)?.map(|id| (owner, UserId(id))));
        }
        About::MEMBER => {
            let member = UserId(column(row, ITEM_AT + ITEM_COLUMNS + 1)?);
            batch.members.insert((WorkspaceId(column(row, device)?), member));
        }
        About::ANSWER => {
            let fingerprint = column(row, ITEM_AT + ITEM_COLUMNS + 2)?;
            let answered = Answered { fingerprint, answer: column(row, device + 1)? };
            batch.answers.insert((DeviceId(column(row, device)?), column(row, ITEM_AT)?), answered);
        }
        About::ITEM => read_item(&mut batch.facts, row, ITEM_AT)?,
        About::NAME => {
            if let Some(workspace) = batch.workspaces.get(&WorkspaceId(column(row, device)?)) {
                let spot = (workspace.number, column(row, ITEM_AT + 5)?, column(row, ITEM_AT + 6)?);
                batch.facts.names.insert(spot, ItemId::new(column(row, ITEM_AT)?));
            }
        }
        _ => return Err(damaged("an answer that was not asked for").into()),
    }
    Ok(())
}

/// What the found items say about those that were not found, and about the folders that they are in.
fn conclude(facts: &mut Facts, wanted: &Wanted) {
    for id in wanted.items.iter().chain(&wanted.folders).chain(&wanted.folders_of_folders) {
        facts.items.entry(*id).or_insert(None);
    }
    for id in &wanted.items {
        let live = facts.items.get(id).and_then(Option::as_ref).filter(|known| !known.entry.item.deleted);
        if let Some(folder) = live.and_then(|known| known.entry.item.place.parent) {
            facts.inside.entry(folder).or_default().push(*id);
        }
    }
}

fn read_items(facts: &mut Facts, found: &[Row]) -> Result<(), Failed> {
    found.iter().try_for_each(|row| read_item(facts, row, 0))
}

/// The columns of [`item_columns`], which begin at `from`, and the number of the workspace.
fn read_item(facts: &mut Facts, row: &Row, from: usize) -> Result<(), Failed> {
    let known = Known { entry: rows::item(row, from)?, workspace: column(row, from + ITEM_COLUMNS)? };
    facts.items.insert(known.entry.item.id, Some(known));
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
