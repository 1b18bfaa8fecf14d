//! What this device asks of its service: the remote objects `ISyncService` and `IChunkService`, in core's words.

use objectmq::{Broker, CallError as MqError, CallOptions, ConnectionState, Proxy, RemoteError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stacksync_chunks::crash_point;
use stacksync_core::commit::{CommitAnswer, ItemCommit};
use stacksync_core::engine::{CallError, ChangesPage};
use stacksync_core::values::{CommitId, Revision, WorkspaceId};
use stacksync_protocol::chunk_service::{
    AddBundlesRequest, AddedBundles, BundleTickets, BundleTicketsRequest, GetTickets, GetTicketsRequest, PutTickets,
    PutTicketsRequest,
};
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::{
    AccountInfo, CHANGES_PAGE_MAX, Changes, CommitNotification, CommitRequest, GetAccountRequest, GetChangesRequest,
    GetWorkspacesRequest, UpdateDeviceRequest, Workspace,
};
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::time::Duration;

/// Longest wait for one answer. A lost connection ends the wait at once.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The service, as this device may call it. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    broker: Broker,
    sync: Proxy,
    chunks: Proxy,
}

/// A workspace that this device's user is a member of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceInfo {
    /// Which.
    pub id: WorkspaceId,
    /// The user's name for it.
    pub name: String,
    /// Whether it is the user's default workspace.
    pub is_default: bool,
}

impl Service {
    /// The service at the other end of the broker's transport.
    pub fn new(broker: Broker) -> Self {
        Self { sync: broker.lookup(SYNC_SERVICE), chunks: broker.lookup(CHUNK_SERVICE), broker }
    }

    /// The broker that this speaks through.
    pub const fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The user's workspaces.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceInfo>, CallError> {
        let found: Vec<Workspace> = self.call(&self.sync, "getWorkspaces", &GetWorkspacesRequest::default()).await?;
        Ok(found.into_iter().map(workspace).collect())
    }

    /// The changes after a revision, at most [`CHANGES_PAGE_MAX`] of them.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn changes(&self, workspace: WorkspaceId, since: Revision) -> Result<ChangesPage, CallError> {
        let request = GetChangesRequest {
            workspace_id: workspace.0,
            since: Some(since.0),
            limit: Some(CHANGES_PAGE_MAX),
            request_id: None,
            user_id: None,
        };
        let changes: Changes = self.call(&self.sync, "getChanges", &request).await?;
        page(&changes).map_err(|error| incomprehensible("getChanges", &error))
    }

    /// Commits; worth repeating with the same id until there is an answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn commit(&self, workspace: WorkspaceId, id: CommitId, items: &[ItemCommit]) -> Result<CommitAnswer, CallError> {
        let request = CommitRequest {
            workspace_id: workspace.0,
            device_id: None,
            items: items.iter().map(ItemMetadata::from_commit).collect(),
            request_id: Some(id.to_string()),
            user_id: None,
        };
        crash_point!("commit.before-send");
        let answer: CommitNotification = self.call(&self.sync, "commit", &request).await?;
        crash_point!("commit.after-answer");
        answer.to_answer(items.len()).map_err(|error| incomprehensible("commit", &error))
    }

    /// Which of these chunks the storage lacks, and where they go.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn put_tickets(&self, request: &PutTicketsRequest) -> Result<PutTickets, CallError> {
        self.call(&self.chunks, "putTickets", request).await
    }

    /// Where these bundles go.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn bundle_tickets(&self, request: &BundleTicketsRequest) -> Result<BundleTickets, CallError> {
        self.call(&self.chunks, "bundleTickets", request).await
    }

    /// Says that these bundles are at the storage.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn add_bundles(&self, request: &AddBundlesRequest) -> Result<AddedBundles, CallError> {
        self.call(&self.chunks, "addBundles", request).await
    }

    /// Where to get these chunks.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get_tickets(&self, request: &GetTicketsRequest) -> Result<GetTickets, CallError> {
        self.call(&self.chunks, "getTickets", request).await
    }

    /// The account: its name, its quota and how much of it is used.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn account(&self) -> Result<AccountInfo, CallError> {
        self.call(&self.sync, "getAccountInfo", &GetAccountRequest::default()).await
    }

    /// Tells the service what this device is today.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn update_device(&self, name: &str) -> Result<(), CallError> {
        let request = UpdateDeviceRequest {
            device_name: Some(name.to_owned()),
            os: Some(std::env::consts::OS.to_owned()),
            app_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..UpdateDeviceRequest::default()
        };
        self.call::<serde_json::Value>(&self.sync, "updateDevice", &request).await.map(|_| ())
    }

    /// Does not wait for a connection: whoever asks is told when there is one again.
    async fn call<R: DeserializeOwned>(
        &self,
        object: &Proxy,
        method: &str,
        param: &(impl Serialize + Sync),
    ) -> Result<R, CallError> {
        if *self.broker.state().borrow() != ConnectionState::Connected {
            return Err(CallError::Offline);
        }
        object.call(method, param, CallOptions::new(ANSWER_MAX, 1)).await.map_err(call_error)
    }
}

fn workspace(found: Workspace) -> WorkspaceInfo {
    WorkspaceInfo { id: WorkspaceId(found.id), name: found.name, is_default: found.is_default }
}

pub(super) fn page(changes: &Changes) -> Result<ChangesPage, stacksync_protocol::item::BadItem> {
    Ok(ChangesPage {
        epoch: changes.epoch.as_u128(),
        since: Revision(changes.since),
        to: Revision(changes.to),
        head: Revision(changes.head),
        items: changes.items.iter().map(ItemMetadata::to_remote).collect::<Result<_, _>>()?,
    })
}

/// The answer breaks the protocol. Perhaps the service is being replaced: worth another try, later.
fn incomprehensible(method: &str, error: &dyn std::fmt::Display) -> CallError {
    CallError::NotNow(format!("the service's answer to {method} makes no sense: {error}"))
}

/// What the engine can do about a call that brought nothing: wait for a connection, try again, or give up.
fn call_error(error: MqError) -> CallError {
    match error {
        // Whether there is a connection by now is told separately; this call is worth another try in any case.
        MqError::Disconnected(why) => CallError::NotNow(format!("the connection was lost: {why}")),
        MqError::Closed => CallError::Offline,
        MqError::Timeout { .. } => CallError::NotNow("the service does not answer".into()),
        MqError::Busy(why) => CallError::NotNow(format!("too much is under way: {why}")),
        MqError::NotBound(_) => CallError::NotNow("the service is starting or stopping".into()),
        MqError::Malformed(why) => CallError::NotNow(format!("the service's answer makes no sense: {why}")),
        MqError::Refused(why) => CallError::Refused(why),
        MqError::TooLarge { bytes, limit } => {
            CallError::Refused(format!("a message of {bytes} bytes is over the limit of {limit}"))
        }
        MqError::Remote(error) => remote_error(error),
    }
}

/// An error that the middleware or the service has no class for is its own failure, which may pass; one with a class is an answer.
fn remote_error(RemoteError { kind, message }: RemoteError) -> CallError {
    if kind.starts_with("com.stacksync.commons.exceptions.") { CallError::Refused(message) } else { CallError::NotNow(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_a_call_says_what_can_be_done_about_it() {
        #[derive(Debug, PartialEq)]
        enum Then {
            Wait,
            Retry,
            GiveUp,
        }
        let method = || "commit".to_owned();
        let remote = |kind: &str| MqError::Remote(RemoteError::new(kind, "text"));
        for (error, expected) in [
            (MqError::Timeout { method: method(), tries: 1, timeout: ANSWER_MAX }, Then::Retry),
            (MqError::Disconnected("cut".into()), Then::Retry),
            (MqError::Closed, Then::Wait),
            (MqError::Busy("full".into()), Then::Retry),
            (MqError::NotBound("x".into()), Then::Retry),
            (MqError::Malformed("x".into()), Then::Retry),
            (MqError::Refused("x".into()), Then::GiveUp),
            (MqError::TooLarge { bytes: 2, limit: 1 }, Then::GiveUp),
            (remote(objectmq::RemoteError::failed("x").kind.as_str()), Then::Retry),
            (remote("com.stacksync.commons.exceptions.UserNotFoundException"), Then::GiveUp),
        ] {
            let text = format!("{error:?}");
            let then = match call_error(error) {
                CallError::Offline => Then::Wait,
                CallError::NotNow(_) => Then::Retry,
                CallError::Refused(_) => Then::GiveUp,
            };
            assert_eq!(then, expected, "{text}");
        }
    }
}
