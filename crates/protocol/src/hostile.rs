//! What must hold of this crate whatever messages come. The tests below check it with kept inputs, `fuzz/` with inputs that it
//! searches for. Not part of what others use: only tests and the feature `hostile` compile it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a check fails by panicking")]

use crate::chunk_service::{GetTickets, GetTicketsRequest, PutTickets, PutTicketsRequest};
use crate::date::Date;
use crate::item::ItemMetadata;
use crate::join::{HttpProblem, JoinAnswer, JoinRequest};
use crate::sync_service::{
    AccountInfo, Changes, CommitNotification, CommitRequest, GetAccountRequest, GetChangesRequest, GetWorkspacesRequest,
    ShareProposalRequest, UpdateDeviceRequest, UpdateWorkspaceNotification, UpdateWorkspaceRequest, Workspace,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stacksync_core::commit::Verdict;
use stacksync_core::values::{Body, FILE_CHUNKS_MAX, LINK_TARGET_BYTES_MAX, RemoteItem, Status};

#[cfg(test)]
#[path = "../../../fuzz/kept.rs"]
mod kept;

/// What a device may send, taken for every kind of request. A request that is read is written and read again the same; items that make
/// sense keep their meaning on the way, and are within the limits.
pub fn request(bytes: &[u8]) {
    if let Some(commit) = stable::<CommitRequest>(bytes) {
        commit.items.iter().for_each(item);
    }
    stable::<GetChangesRequest>(bytes);
    stable::<GetWorkspacesRequest>(bytes);
    stable::<GetAccountRequest>(bytes);
    stable::<UpdateDeviceRequest>(bytes);
    stable::<UpdateWorkspaceRequest>(bytes);
    stable::<ShareProposalRequest>(bytes);
    stable::<PutTicketsRequest>(bytes);
    stable::<GetTicketsRequest>(bytes);
    // It holds a secret, and so cannot be compared or shown.
    let _ = serde_json::from_slice::<JoinRequest>(bytes);
}

/// What a service may say, taken for every kind of answer and notice; checked as [`request`] checks requests. An answer to a commit that
/// makes sense means the same after it was passed on, and a notice tells nothing that the answer does not.
pub fn answer(bytes: &[u8]) {
    if let Some(changes) = stable::<Changes>(bytes) {
        changes.items.iter().for_each(item);
    }
    if let Some(tree) = stable::<Vec<ItemMetadata>>(bytes) {
        tree.iter().for_each(item);
    }
    if let Some(notification) = stable::<CommitNotification>(bytes) {
        commit_answer(&notification);
    }
    stable::<Vec<Workspace>>(bytes);
    stable::<UpdateWorkspaceNotification>(bytes);
    stable::<AccountInfo>(bytes);
    stable::<PutTickets>(bytes);
    stable::<GetTickets>(bytes);
    stable::<HttpProblem>(bytes);
    let _ = serde_json::from_slice::<JoinAnswer>(bytes);
}

/// A date as text. One that is read is written and read again as the same moment.
pub fn date(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let quoted = serde_json::to_string(text).unwrap();
    if let Ok(date) = serde_json::from_str::<Date>(&quoted) {
        let written = serde_json::to_string(&date).expect("every moment can be written");
        assert!(written.len() <= "\"2015-01-02T03:04:05.123456789Z\"".len(), "{written}");
        assert_eq!(serde_json::from_str::<Date>(&written).ok(), Some(date), "{written}");
    }
}

fn stable<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_string(&read).expect("what was read can be written");
    let again: T = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again, read);
    Some(read)
}

fn item(metadata: &ItemMetadata) {
    if let Ok(commit) = metadata.to_commit() {
        bounded(&commit.body);
        let again = ItemMetadata::from_commit(&commit);
        assert_eq!(again.to_commit().as_ref(), Ok(&commit));
    }
    if let Ok(remote) = metadata.to_remote() {
        bounded(&remote.body);
        let status = if remote.deleted { Status::Deleted } else { Status::New };
        assert_eq!(ItemMetadata::from_remote(&remote, status).to_remote(), Ok(remote));
    }
}

fn bounded(body: &Body) {
    match body {
        Body::Folder => {}
        Body::Link(target) => assert!((1..=LINK_TARGET_BYTES_MAX).contains(&target.len())),
        Body::File(file) => {
            assert!(file.chunks.len() <= FILE_CHUNKS_MAX);
            assert_eq!(file.size, file.chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>());
            assert!(file.chunks.iter().all(|chunk| chunk.len > 0));
        }
    }
}

fn commit_answer(notification: &CommitNotification) {
    let count = notification.items.len();
    assert!(notification.to_answer(count + 1).is_err(), "an answer about another commit");
    let answer = notification.to_answer(count);
    let notice = notification.to_notice();
    let Ok(answer) = answer else { return };
    let taken: Vec<&RemoteItem> = answer
        .verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Accepted(item) => Some(item),
            Verdict::Existing(_) | Verdict::Refused { .. } => None,
        })
        .collect();
    assert!(taken.iter().all(|item| answer.from < item.revision && item.revision <= answer.to));
    let notice = notice.expect("a notice is no more than an answer");
    assert_eq!((notice.from, notice.to), (answer.from, answer.to));
    if let Some(items) = notice.items {
        assert!(items.iter().all(|item| taken.contains(&item)));
        assert!(items.is_sorted_by_key(|item| item.revision));
        assert!(taken.iter().all(|item| items.iter().any(|told| told.id == item.id)));
    }
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn kept_requests_are_harmless() {
        kept::replay(&["hostile/sync-request"], super::request);
    }

    #[test]
    fn kept_answers_are_harmless() {
        kept::replay(&["hostile/sync-answer"], super::answer);
    }

    #[test]
    fn kept_dates_are_harmless() {
        kept::replay(&["hostile/date"], super::date);
    }
}
