//! Writing what a batch comes to, and committing, in one round trip: a few statements over arrays, whatever the number of commits.

use super::judge::{Batch, Judged};
use super::picture::Known;
use super::{Failed, Job};
use crate::db::answer_codec::encode;
use crate::db::columns::{kind_number, pack_body, parent_number, signed, status_number};
use crate::db::postgres::link::{Link, Params, Query, query};
use crate::db::postgres::outbox::{self, RowKey, Stored, StoredRow};
use crate::db::postgres::rows::{column, text};
use crate::db::{NoticeContent, UnixMs};
use stacksync_chunks::crash_point;
use stacksync_core::values::{Body, ItemId};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const TO_HISTORY: Query = query!(
    "WITH old AS (DELETE FROM items WHERE id = ANY($1) RETURNING id, version, revision, status, kind, parent, name, modified, adler32, \
     executable, device, body) INSERT INTO past_versions (id, version, revision, status, kind, parent, name, modified, adler32, \
     executable, device, body) SELECT id, version, revision, status, kind, parent, name, modified, adler32, executable, device, body FROM old",
    INT8_ARRAY
);
const HISTORY: Query = query!(
    "INSERT INTO past_versions (id, version, revision, status, kind, parent, name, modified, adler32, executable, device, body) \
     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    INT8_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY,
    INT2_ARRAY,
    INT2_ARRAY,
    INT8_ARRAY,
    TEXT_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY,
    BOOL_ARRAY,
    UUID_ARRAY,
    BYTEA_ARRAY
);
/// What nearly every batch writes. The notices of all of its commits are one row, in the order of the commits, which their workspaces name.
const USUAL: Query = query!(
    "WITH told AS (INSERT INTO commit_notices (instance, workspaces, devices, from_revisions, to_revisions, request_ids) \
     SELECT $1, $2, $3, $4, $5, $6 WHERE cardinality($2) > 0 RETURNING id), \
     saved AS (INSERT INTO items (id, version, revision, status, kind, parent, name, modified, adler32, executable, device, body, \
     workspace, name_key) SELECT * FROM unnest($7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)), \
     answered AS (INSERT INTO answers (device, request, fingerprint, answer, answered_at) SELECT *, $25 FROM unnest($21, $22, $23, $24)), \
     revised AS (UPDATE workspaces w SET revision = q.revision, notice = (SELECT id FROM told), notice_by = $1 \
     FROM unnest($26, $27) q (number, revision) WHERE w.number = q.number), \
     used AS (UPDATE users u SET quota_used = q.used FROM unnest($28, $29) q (number, used) WHERE u.number = q.number) \
     SELECT id FROM told",
    UUID,
    UUID_ARRAY,
    UUID_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY,
    TEXT_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY,
    INT2_ARRAY,
    INT2_ARRAY,
    INT8_ARRAY,
    TEXT_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY,
    BOOL_ARRAY,
    UUID_ARRAY,
    BYTEA_ARRAY,
    INT8_ARRAY,
    TEXT_ARRAY,
    UUID_ARRAY,
    INT8_ARRAY,
    BYTEA_ARRAY,
    BYTEA_ARRAY,
    INT8,
    INT8_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY,
    INT8_ARRAY
);

/// Versions as columns.
#[derive(Default)]
struct Columns {
    ids: Vec<i64>,
    versions: Vec<i64>,
    revisions: Vec<i64>,
    statuses: Vec<i16>,
    kinds: Vec<i16>,
    parents: Vec<i64>,
    names: Vec<String>,
    modified: Vec<i64>,
    adler32: Vec<i64>,
    executable: Vec<bool>,
    devices: Vec<Uuid>,
    bodies: Vec<Vec<u8>>,
    workspaces: Vec<i64>,
    name_keys: Vec<Option<String>>,
}

impl Columns {
    fn add(&mut self, known: &Known) {
        let item = &known.entry.item;
        let (adler32, executable) = match &item.body {
            Body::File(file) => (file.adler32, file.executable),
            Body::Folder | Body::Link(_) => (0, false),
        };
        self.ids.push(item.id.get());
        self.versions.push(signed(item.version.get()));
        self.revisions.push(signed(item.revision.0));
        self.statuses.push(status_number(known.entry.status).into());
        self.kinds.push(kind_number(item.body.kind()).into());
        self.parents.push(parent_number(item.place.parent));
        self.names.push(item.place.name.as_str().to_owned());
        self.modified.push(item.modified.0);
        self.adler32.push(adler32.into());
        self.executable.push(executable);
        self.devices.push(known.entry.device.0);
        self.bodies.push(pack_body(&item.body));
        self.workspaces.push(known.workspace);
        self.name_keys.push((!item.deleted).then(|| item.place.name.key().as_str().to_owned()));
    }
}

/// The versions of a batch by where they go.
struct Versions {
    /// Items whose stored version goes to the history.
    replaced: Vec<i64>,
    /// Versions that the batch itself replaced again.
    history: Columns,
    /// The latest ones.
    items: Columns,
}

impl Versions {
    fn of(batch: &Batch) -> Self {
        let last: HashMap<ItemId, usize> = batch.saved.iter().enumerate().map(|(at, known)| (known.entry.item.id, at)).collect();
        let (mut history, mut items) = (Columns::default(), Columns::default());
        for (at, known) in batch.saved.iter().enumerate() {
            let latest = last.get(&known.entry.item.id) == Some(&at);
            if latest { &mut items } else { &mut history }.add(known);
        }
        let stored = |id: &&ItemId| batch.facts.items.get(id).is_some_and(Option::is_some);
        let replaced = last.keys().filter(stored).map(|id| id.get()).collect();
        Self { replaced, history, items }
    }
}

/// Answers to be stored.
#[derive(Default)]
struct Answers {
    devices: Vec<Uuid>,
    requests: Vec<i64>,
    fingerprints: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
}

/// Notices to be stored.
#[derive(Default)]
struct Notices {
    workspaces: Vec<Uuid>,
    devices: Vec<Uuid>,
    from: Vec<i64>,
    to: Vec<i64>,
    requests: Vec<String>,
    contents: Vec<Stored>,
}

fn answers_and_notices(jobs: &[Job], batch: &Batch, judged: &[Judged]) -> (Answers, Notices) {
    let (mut answers, mut notices) = (Answers::default(), Notices::default());
    for (job, judged) in jobs.iter().zip(judged) {
        let Judged::Done(outcome) = judged else { continue };
        let commit = &job.commit;
        answers.devices.push(commit.device.0);
        answers.requests.push(job.key.request);
        answers.fingerprints.push(job.key.fingerprint.to_vec());
        answers.answers.push(encode(outcome, commit));
        let (from, to) = (outcome.answer.from, outcome.answer.to);
        if from == to {
            continue;
        }
        let span = outbox::span(from, to);
        notices.workspaces.push(commit.workspace.0);
        notices.devices.push(commit.device.0);
        notices.from.push(span.0);
        notices.to.push(span.1);
        notices.requests.push(text(&commit.id));
        let content = NoticeContent::Commit {
            workspace: commit.workspace,
            from,
            to,
            device: commit.device,
            request_id: commit.id.clone(),
            outcome: Some(Arc::clone(outcome)),
        };
        let after = batch.workspaces.get(&commit.workspace).and_then(|workspace| workspace.notice);
        notices.contents.push(Stored { after, content });
    }
    (answers, notices)
}

/// Writes and commits; returns the notices, which are durable then. `written` is called when nothing but the disk is waited for.
pub(super) async fn save(
    link: &Link,
    jobs: &[Job],
    batch: &Batch,
    judged: &[Judged],
    owner: Option<Uuid>,
    written: impl FnOnce(),
) -> Result<Vec<StoredRow>, Failed> {
    let Versions { replaced, history: h, items: i } = Versions::of(batch);
    let (answers, notices) = answers_and_notices(jobs, batch, judged);
    let now = UnixMs::now().0;
    let (workspaces, revisions): (Vec<i64>, Vec<i64>) =
        batch.revisions.iter().map(|(number, revision)| (*number, signed(revision.0))).unzip();
    let (owners, used): (Vec<i64>, Vec<i64>) = batch.used.iter().map(|(number, used)| (*number, signed(*used))).unzip();
    let (_, commit) = Link::border();
    let to_history: [&(dyn ToSql + Sync); 1] = [&replaced];
    let history: [&(dyn ToSql + Sync); 12] = [
        &h.ids,
        &h.versions,
        &h.revisions,
        &h.statuses,
        &h.kinds,
        &h.parents,
        &h.names,
        &h.modified,
        &h.adler32,
        &h.executable,
        &h.devices,
        &h.bodies,
    ];
    let usual: [&(dyn ToSql + Sync); 29] = [
        &owner,
        &notices.workspaces,
        &notices.devices,
        &notices.from,
        &notices.to,
        &notices.requests,
        &i.ids,
        &i.versions,
        &i.revisions,
        &i.statuses,
        &i.kinds,
        &i.parents,
        &i.names,
        &i.modified,
        &i.adler32,
        &i.executable,
        &i.devices,
        &i.bodies,
        &i.workspaces,
        &i.name_keys,
        &answers.devices,
        &answers.requests,
        &answers.fingerprints,
        &answers.answers,
        &now,
        &workspaces,
        &revisions,
        &owners,
        &used,
    ];
    let mut calls: Vec<(&Query, Params<'_>)> = Vec::with_capacity(3);
    let mut add = |needed: bool, query: &'static Query, params| {
        if needed {
            calls.push((query, params));
        }
    };
    add(!replaced.is_empty(), &TO_HISTORY, &to_history[..]);
    add(!h.ids.is_empty(), &HISTORY, &history[..]);
    // Of a batch that has nothing but answers that were given before nothing is left.
    add(!answers.devices.is_empty(), &USUAL, &usual[..]);
    crash_point!("pg.before-commit");
    let rows = link.pipeline_and(&calls, commit, written).await?;
    crash_point!("pg.after-commit");
    let row = rows.last().and_then(|rows| rows.first()).map(|row| column::<i64>(row, 0)).transpose()?;
    Ok(row.map(|row| StoredRow { row: RowKey::Commits(row), notices: notices.contents }).into_iter().collect())
}
