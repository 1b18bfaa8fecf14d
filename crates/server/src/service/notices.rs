//! What devices are told without asking: commits to everyone who follows the workspace, changes of workspaces to their member.
//!
//! Notices come out of the store's outbox, so that a crash between a commit and its notice loses none. A notice is a hint: a device
//! that misses one asks for the changes.

use super::answer::{Asked, shorten, to_committer, to_followers};
use super::elsewhere::{Elsewhere, NOTIFY_COMMIT, NOTIFY_UPDATE_WORKSPACE, Told};
use super::order::{InOrder, Teller};
use crate::db::{CommitOutcome, Db, DbError, Notice, NoticeContent, Outbox};
use crate::metrics::Metrics;
use objectmq::Broker;
use serde::Serialize;
use stacksync_chunks::crash_point;
use stacksync_core::planted;
use stacksync_core::values::{DeviceId, Revision, WorkspaceId};
use stacksync_protocol::sync_service::{CommitNotification, UpdateWorkspaceNotification};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Notices that are published before the store hears of it.
const BATCH_MAX: usize = 256;
/// Pause between two rounds in which the store forgets what was published.
const FORGET_PAUSE: Duration = Duration::from_millis(100);
/// Pause after the outbox could not be read.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Silence after which the outbox counts as empty when the service stops.
const FLUSH_SILENCE: Duration = Duration::from_millis(100);

type Key = (DeviceId, String);

/// Tells devices.
pub struct Notices {
    broker: Broker,
    metrics: Arc<Metrics>,
    /// Others than those who are connected here.
    elsewhere: Option<Elsewhere>,
    /// Those who are connected here, if others tell them, too.
    in_order: Option<Arc<InOrder>>,
    /// Commits whose committer waits for the notice: he is told of every item, not only of what was saved.
    expected: Mutex<HashMap<Key, Arc<Asked>>>,
}

/// A commit whose notice shall be complete. Dropping it takes that back.
pub struct Expected<'a> {
    notices: &'a Notices,
    key: Option<Key>,
}

impl Expected<'_> {
    /// The outbox has the notice.
    pub fn leave(mut self) {
        self.key = None;
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.notices.expected().remove(&key);
        }
    }
}

impl Notices {
    /// Publishes through this broker.
    pub fn new(broker: Broker, metrics: Arc<Metrics>) -> Self {
        Self { broker, metrics, elsewhere: None, in_order: None, expected: Mutex::default() }
    }

    /// The same, but that others are told, too, and tell those who are connected here.
    pub fn and(self, elsewhere: Elsewhere, in_order: Arc<InOrder>) -> Self {
        Self { elsewhere: Some(elsewhere), in_order: Some(in_order), ..self }
    }

    /// Somebody is about to follow the workspace here.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn begin(&self, db: &Db, workspace: WorkspaceId) -> Result<(), DbError> {
        match &self.in_order {
            Some(in_order) => in_order.begin(db, workspace).await,
            None => Ok(()),
        }
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<Key, Arc<Asked>>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The committer of this commit, which is about to be saved, waits for its notice.
    pub fn expect(&self, device: DeviceId, id: &str, asked: &Arc<Asked>) -> Expected<'_> {
        let key = (device, id.to_owned());
        self.expected().insert(key.clone(), Arc::clone(asked));
        Expected { notices: self, key: Some(key) }
    }

    /// Tells of a commit of which the outbox does not: a repeated one, or one of which nothing was saved.
    pub async fn publish_commit(&self, asked: &Asked, outcome: &CommitOutcome) {
        self.tell_commit(asked.workspace, to_committer(asked, outcome), None).await;
    }

    /// Tells of a commit, here and elsewhere. `unsaid` are the revisions of which the notification does not have the items any more.
    async fn tell_commit(
        &self,
        workspace: WorkspaceId,
        mut notification: CommitNotification,
        unsaid: Option<(Revision, Revision)>,
    ) {
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.tell(&self.metrics, Told::Commit { workspace, notification: Box::new(notification.clone()), unsaid });
        }
        shorten(&mut notification);
        match &self.in_order {
            None => self.publish(&workspace.to_string(), NOTIFY_COMMIT, &notification).await,
            Some(in_order) => in_order.tell(workspace, notification, Teller::Own).await,
        }
    }

    /// Publishes what the outbox brings, until the store is closed or it is told to stop and nothing is left.
    pub async fn run(&self, db: &Db, mut outbox: Outbox, stop: &CancellationToken) {
        let (published, forget) = watch::channel(0);
        let forgetting = forget_published(db, forget);
        let publishing = async {
            let published = published;
            while let Some(batch) = self.next_batch(&mut outbox, stop).await {
                let last = batch.last().map_or(0, |notice| notice.id);
                for notice in batch {
                    self.tell(notice).await;
                }
                published.send_replace(last);
            }
        };
        tokio::join!(publishing, forgetting);
    }

    /// `None` when there is nothing to be published any more.
    async fn next_batch(&self, outbox: &mut Outbox, stop: &CancellationToken) -> Option<Vec<Notice>> {
        loop {
            let next = tokio::select! {
                biased;
                next = outbox.next_many(BATCH_MAX) => next,
                () = flushed(stop) => return None,
            };
            match next {
                Ok(batch) => return Some(batch).filter(|batch| !batch.is_empty()),
                Err(error) => {
                    self.metrics.errors.one();
                    tracing::error!(%error, "the outbox cannot be read; trying again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Publishes one notice of the outbox. That it cannot be published is logged and counted: devices find the change by asking.
    pub async fn tell(&self, notice: Notice) {
        crash_point!("notice.before-publish");
        match notice.content {
            NoticeContent::Commit { workspace, from, to, device, request_id, outcome } => {
                let asked = self.expected().remove(&(device, request_id.clone()));
                let (mut notification, unsaid) = match (outcome, asked) {
                    (Some(outcome), Some(asked)) => (to_committer(&asked, &outcome), None),
                    (Some(outcome), None) => (to_followers(workspace, &request_id, &outcome), None),
                    (None, _) => (left_over(workspace, from.0, to.0, request_id), Some((from, to))),
                };
                if planted!(NoticeFromZero) {
                    notification.from_revision = Some(0);
                }
                self.tell_commit(workspace, notification, unsaid).await;
            }
            NoticeContent::Workspace { user, workspace, name, parent, request_id } => {
                let notification = UpdateWorkspaceNotification {
                    workspace_id: workspace.0,
                    folder_name: name.as_str().to_owned(),
                    parent_item_id: parent.map(|parent| parent.get()),
                    request_id,
                };
                if let Some(elsewhere) = &self.elsewhere {
                    elsewhere.tell(&self.metrics, Told::Workspace { user, notification: notification.clone() });
                }
                self.publish(&user.to_string(), NOTIFY_UPDATE_WORKSPACE, &notification).await;
            }
        }
        crash_point!("notice.after-publish");
    }

    async fn publish(&self, reference: &str, method: &str, notification: &(impl Serialize + Sync)) {
        match self.broker.lookup(reference).multi_cast(method, notification).await {
            Ok(()) => self.metrics.notices.one(),
            Err(error) => {
                self.metrics.notices_failed.one();
                tracing::warn!(%error, reference, method, "a notice was not published; devices find the change by asking");
            }
        }
    }
}

/// A while after it was told to stop.
async fn flushed(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(FLUSH_SILENCE).await;
}

/// Has the store forget what was published, in rounds, until the publisher is gone.
async fn forget_published(db: &Db, mut published: watch::Receiver<u64>) {
    let mut forgotten = 0;
    loop {
        let more = published.changed().await.is_ok();
        let last = *published.borrow_and_update();
        if last > forgotten {
            match db.outbox_done(last).await {
                Ok(()) => forgotten = last,
                // They are published once more after the next start, which does no harm.
                Err(error) => tracing::warn!(%error, "published notices were not forgotten"),
            }
        }
        if !more {
            return;
        }
        tokio::time::sleep(FORGET_PAUSE).await;
    }
}

/// A notice from before a restart: what it was about is not in memory any more.
fn left_over(workspace: WorkspaceId, from: u64, to: u64, request_id: String) -> CommitNotification {
    CommitNotification {
        workspace_id: Some(workspace.0),
        request_id: Some(request_id),
        from_revision: Some(from),
        to_revision: Some(to),
        items_omitted: true,
        ..CommitNotification::default()
    }
}
