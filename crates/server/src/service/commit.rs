//! `commit`: authorise, understand, look the chunks up, hand it to the metadata store, answer.
//!
//! A synchronous commit is answered with the same notification that its notice carries; of an asynchronous one the notice is the only
//! answer, as in the original.

use super::answer::{Asked, to_committer};
use super::border::{Sender, understand};
use super::{Authorized, Context, Fault, Principal};
use crate::db::{Commit, CommitOutcome};
use stacksync_chunks::crash_point;
use stacksync_core::commit::ItemCommit;
use stacksync_core::values::{ChunkName, Status, WorkspaceId};
use stacksync_protocol::sync_service::{CommitNotification, CommitRequest, REQUEST_ID_BYTES_MAX};
use std::collections::HashSet;
use std::sync::Arc;

/// Whether the committer waits for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// With the result of the call.
    Directly,
    /// With the notice only.
    ByNotice,
}

/// Carries a commit out.
pub async fn commit(
    context: &Context,
    caller: &Principal,
    request: CommitRequest,
    sender: Sender,
    how: Answered,
) -> Result<CommitNotification, Fault> {
    caller.check(request.user_id, request.device_id)?;
    if request.request_id.as_ref().is_some_and(|id| id.len() > REQUEST_ID_BYTES_MAX) {
        return Err(Fault::Invalid(format!("A request id has at most {REQUEST_ID_BYTES_MAX} bytes.")));
    }
    let place = context.gate.workspace(caller, WorkspaceId(request.workspace_id)).await?;
    let understood = understand(caller.device, &request.items, sender).map_err(|error| Fault::Invalid(error.to_string()))?;
    // Without an id of its own no retry can be recognised.
    let id = request.request_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let asked = Arc::new(Asked { workspace: place.workspace(), request_id: request.request_id, sent: request.items, understood });
    let outcome = hand_over(context, &place, id, &asked, how).await?;
    for verdict in &outcome.answer.verdicts {
        context.metrics.verdict(verdict);
    }
    Ok(to_committer(&asked, &outcome))
}

/// Saves what passes, and sees to it that the committer's notice is complete.
async fn hand_over(
    context: &Context,
    place: &Authorized<'_>,
    id: String,
    asked: &Arc<Asked>,
    how: Answered,
) -> Result<Arc<CommitOutcome>, Fault> {
    let items: Vec<ItemCommit> = asked.understood.items.iter().flatten().cloned().collect();
    let present = chunks_present(context, place, &items).await?;
    let caller = place.caller();
    let waiting = (how == Answered::ByNotice).then(|| context.notices.expect(caller.device, &id, asked));
    let commit = Commit {
        workspace: place.workspace(),
        user: caller.user,
        device: caller.device,
        id,
        items,
        present,
        place_rule: asked.understood.place_rule,
    };
    crash_point!("commit.before-save");
    let outcome = context.db.commit(commit).await?;
    crash_point!("commit.after-save");
    // The outbox tells what was saved now; of anything else nobody else would tell the committer.
    if let Some(waiting) = waiting {
        if outcome.replay || outcome.answer.from == outcome.answer.to {
            drop(waiting);
            context.notices.publish_commit(asked, &outcome).await;
        } else {
            waiting.leave();
        }
    }
    Ok(outcome)
}

/// Which of the chunks that these items name the storage holds.
async fn chunks_present(context: &Context, place: &Authorized<'_>, items: &[ItemCommit]) -> Result<HashSet<ChunkName>, Fault> {
    let live = items.iter().filter(|item| item.status != Status::Deleted);
    let named: HashSet<ChunkName> = live.flat_map(|item| item.body.chunks()).map(|chunk| chunk.name).collect();
    if named.is_empty() {
        return Ok(named);
    }
    let workspace = place.workspace();
    let (present, asked): (Vec<_>, Vec<_>) = named.into_iter().partition(|name| context.chunks_there.has(workspace, *name));
    let mut present = HashSet::from_iter(present);
    if asked.is_empty() {
        return Ok(present);
    }
    let there = context.store.present(workspace, asked.clone()).await?;
    for name in asked.into_iter().zip(there).filter_map(|(name, there)| there.then_some(name)) {
        context.chunks_there.note(workspace, name);
        present.insert(name);
    }
    Ok(present)
}
