//! What a commit is answered with, and what everybody else is told of it: `CommitNotification`s out of an outcome.
//!
//! Pure. The order is that of the request; what could not be understood is refused item by item, beside what the store judged.

use super::border::Items;
use crate::db::{ChangedItem, CommitOutcome, Made};
use stacksync_core::commit::{ItemCommit, Refusal, Verdict};
use stacksync_core::values::{RemoteItem, Status, WorkspaceId};
use stacksync_protocol::item::{BadItem, ItemMetadata};
use stacksync_protocol::sync_service::{CommitInfo, CommitNotification, NOTICE_ITEMS_MAX, refusal_word};
use std::sync::Arc;

/// Chunks that the items of a notice may name together.
const NOTICE_CHUNKS_MAX: usize = 4_000;

/// A commit as it was asked for.
pub struct Asked {
    /// Where to.
    pub workspace: WorkspaceId,
    /// Its id, if the request had one.
    pub request_id: Option<String>,
    /// The items as they were sent.
    pub sent: Vec<ItemMetadata>,
    /// The same, understood.
    pub understood: Items,
}

/// The answer to whoever committed.
pub fn to_committer(asked: &Asked, outcome: &CommitOutcome) -> CommitNotification {
    let good: Vec<ItemCommit> = asked.understood.items.iter().flatten().cloned().collect();
    let statuses: Vec<Status> =
        outcome.made.iter().zip(&good).map(|(made, item)| made.map_or(item.status, |made| made.status)).collect();
    let mut notification = CommitNotification::from_answer(&good, &outcome.answer, &statuses);
    let mut judged = std::mem::take(&mut notification.items).into_iter().zip(&outcome.made);
    for (sent, understood) in asked.sent.iter().zip(&asked.understood.items) {
        let info = match understood {
            Ok(_) => judged.next().map(|(info, made)| finish(info, *made, sent.temp_id, asked.workspace)),
            Err(bad) => Some(refused(sent, bad)),
        };
        notification.items.extend(info);
    }
    stamp(&mut notification, asked.workspace, asked.request_id.clone(), outcome);
    notification
}

/// The notice to everyone who follows the workspace, where nobody waits for more: the accepted versions.
pub fn to_followers(workspace: WorkspaceId, request_id: &str, outcome: &Arc<CommitOutcome>) -> CommitNotification {
    let accepted = outcome.answer.verdicts.iter().zip(&outcome.made).filter_map(|(verdict, made)| match verdict {
        Verdict::Accepted(item) => Some(told(item, *made, workspace)),
        Verdict::Existing(_) | Verdict::Refused { .. } => None,
    });
    let mut notification = CommitNotification {
        items: accepted.collect(),
        from_revision: Some(outcome.answer.from.0),
        to_revision: Some(outcome.answer.to.0),
        ..CommitNotification::default()
    };
    stamp(&mut notification, workspace, Some(request_id.to_owned()), outcome);
    notification
}

/// The same of changes that were found later; who made them, and that others were refused, is not known any more.
pub fn of_changes(workspace: WorkspaceId, request_id: &str, changes: &[ChangedItem]) -> CommitNotification {
    let of_change =
        |change: &ChangedItem| told(&change.item, Some(Made { status: change.status, device: change.device }), workspace);
    CommitNotification {
        items: changes.iter().map(of_change).collect(),
        request_id: Some(request_id.to_owned()),
        workspace_id: Some(workspace.0),
        ..CommitNotification::default()
    }
}

/// Leaves the items out where they are too much for a notice.
pub fn shorten(notification: &mut CommitNotification) {
    let chunks: usize = notification.items.iter().filter_map(|info| info.metadata.as_ref()).map(|item| item.chunks.len()).sum();
    if notification.items.len() > NOTICE_ITEMS_MAX || chunks > NOTICE_CHUNKS_MAX {
        notification.items.clear();
        notification.items_omitted = true;
    }
}

fn stamp(notification: &mut CommitNotification, workspace: WorkspaceId, request_id: Option<String>, outcome: &CommitOutcome) {
    notification.workspace_id = Some(workspace.0);
    notification.request_id = request_id;
    notification.limit_quota = i64::try_from(outcome.quota_limit).ok();
    notification.used_quota = i64::try_from(outcome.quota_used).ok();
}

fn told(item: &RemoteItem, made: Option<Made>, workspace: WorkspaceId) -> CommitInfo {
    let status = made.map_or(if item.deleted { Status::Deleted } else { Status::Changed }, |made| made.status);
    let info = CommitInfo {
        committed_version: i64::try_from(item.version.get()).unwrap_or(i64::MAX),
        commit_succeed: true,
        metadata: Some(ItemMetadata::from_remote(item, status)),
        ..CommitInfo::default()
    };
    finish(info, made, None, workspace)
}

/// Says whose version it is, and echoes the temporary id of what succeeded.
fn finish(mut info: CommitInfo, made: Option<Made>, temp_id: Option<i64>, workspace: WorkspaceId) -> CommitInfo {
    if let Some(metadata) = &mut info.metadata {
        metadata.device_id = made.map(|made| made.device.0);
        metadata.workspace_id = Some(workspace.0);
        metadata.temp_id = temp_id.filter(|_| info.commit_succeed);
    }
    info
}

fn refused(sent: &ItemMetadata, bad: &BadItem) -> CommitInfo {
    CommitInfo {
        committed_version: sent.version,
        commit_succeed: false,
        reason: Some(refusal_word(&Refusal::Invalid(String::new())).to_owned()),
        message: Some(bad.to_string()),
        ..CommitInfo::default()
    }
}
