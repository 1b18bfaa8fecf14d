//! What the service tells without being asked: that a workspace moved on, that the user has another one.
//!
//! A notice is a hint. One that cannot be understood is dropped: asking for the changes brings the same, and more.

use objectmq::{BindError, Binding, BoxFuture, Broker, Incoming, RawValue, RemoteError, RemoteObject, encode_result};
use stacksync_core::engine::Notice;
use stacksync_core::values::{UserId, WorkspaceId};
use stacksync_protocol::sync_service::CommitNotification;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What was told.
#[derive(Clone, Debug)]
pub enum News {
    /// A workspace moved on.
    Moved(WorkspaceId, Notice),
    /// Something about the user's list of workspaces changed.
    Workspaces,
}

/// Follows one workspace: its notices go to `news`, in order, until the binding is dropped.
///
/// # Errors
/// When the service does not let us, or there is no connection.
pub async fn follow_workspace(broker: &Broker, id: WorkspaceId, news: mpsc::Sender<News>) -> Result<Binding, BindError> {
    broker.listen(&id.to_string(), Arc::new(Follower { about: About::Workspace(id), news })).await
}

/// Follows the user: what changes about the list of workspaces goes to `news`.
///
/// # Errors
/// As of [`follow_workspace`].
pub async fn follow_user(broker: &Broker, id: UserId, news: mpsc::Sender<News>) -> Result<Binding, BindError> {
    broker.listen(&id.to_string(), Arc::new(Follower { about: About::User, news })).await
}

#[derive(Clone, Copy)]
enum About {
    Workspace(WorkspaceId),
    User,
}

struct Follower {
    about: About,
    news: mpsc::Sender<News>,
}

impl Follower {
    fn understand(&self, incoming: &Incoming) -> Result<News, RemoteError> {
        match (self.about, incoming.method.as_str()) {
            (About::Workspace(id), "notifyCommit") => {
                let notification: CommitNotification = incoming.param()?;
                let notice = notification.to_notice().map_err(|error| RemoteError::bad_params(&incoming.method, error))?;
                Ok(News::Moved(id, notice))
            }
            (About::User, "notifyUpdateWorkspace" | "notifyShareProposal") => Ok(News::Workspaces),
            (_, method) => Err(RemoteError::unknown_method(method)),
        }
    }
}

impl RemoteObject for Follower {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        Box::pin(async move {
            let news = self.understand(&incoming)?;
            // Nobody listens any more: the device is stopping.
            let _ = self.news.send(news).await;
            encode_result(&())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use objectmq::local::{Hub, HubLimits};
    use stacksync_core::values::Revision;
    use stacksync_protocol::sync_service::UpdateWorkspaceNotification;
    use uuid::Uuid;

    const WORKSPACE: WorkspaceId = WorkspaceId(Uuid::from_u128(1));
    const USER: UserId = UserId(Uuid::from_u128(2));

    #[tokio::test]
    async fn notices_arrive_in_order_and_nonsense_is_dropped() {
        let broker = Broker::new(Arc::new(Hub::new(HubLimits::default())));
        let (news, mut heard) = mpsc::channel(8);
        let _workspace = follow_workspace(&broker, WORKSPACE, news.clone()).await.unwrap();
        let _user = follow_user(&broker, USER, news).await.unwrap();
        let workspace = broker.lookup(&WORKSPACE.to_string());
        for to in 1..=2 {
            let notification = CommitNotification {
                from_revision: Some(to - 1),
                to_revision: Some(to),
                items_omitted: true,
                ..CommitNotification::default()
            };
            workspace.multi_cast("notifyCommit", &notification).await.unwrap();
            workspace.multi_cast("notifyCommit", &"nonsense").await.unwrap();
            workspace.multi_cast("notifyMoon", &()).await.unwrap();
        }
        for to in 1..=2 {
            let Some(News::Moved(WORKSPACE, notice)) = heard.recv().await else { panic!("no notice") };
            assert_eq!(notice.to, Revision(to));
        }
        let notification = UpdateWorkspaceNotification {
            workspace_id: WORKSPACE.0,
            folder_name: "x".into(),
            parent_item_id: None,
            request_id: None,
        };
        broker.lookup(&USER.to_string()).multi_cast("notifyUpdateWorkspace", &notification).await.unwrap();
        assert!(matches!(heard.recv().await, Some(News::Workspaces)));
    }
}
