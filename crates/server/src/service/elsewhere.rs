//! Notices beyond this process, over the message broker: to the other instances of the service, whose devices follow the same
//! workspaces, and to clients of the original, in their own form.
//!
//! Notices of one workspace go out in order; those of many go out at the same time, and to the other instances together. While there is
//! no broker they wait, up to a limit: a notice is a hint, and a device that misses one asks.

use super::OriginalDoor;
use super::answer::{of_changes, shorten};
use super::order::{InOrder, Teller};
use crate::db::{Db, DbError};
use crate::metrics::Metrics;
use objectmq::{BoxFuture, Broker, CallError, Incoming, RawValue, RemoteError, RemoteObject, encode_result};
use serde::{Deserialize, Serialize};
use stacksync_core::values::{Revision, UserId, WorkspaceId};
use stacksync_protocol::sync_service::{CHANGES_PAGE_MAX, CommitNotification, UpdateWorkspaceNotification};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// The method that tells of a commit.
pub const NOTIFY_COMMIT: &str = "notifyCommit";
/// The method that tells of a changed name or place of a workspace.
pub const NOTIFY_UPDATE_WORKSPACE: &str = "notifyUpdateWorkspace";
/// What all instances of the service listen to.
const INSTANCES: &str = "stacksync.notices";
/// The method of it.
const RELAY: &str = "relay";
/// Notices that go out at the same time.
const LANES: usize = 32;
/// Notices that wait for one of these to go out.
const WAITING_MAX: usize = 512;
/// Notices that travel to the other instances in one message.
const RELAYED_TOGETHER_MAX: usize = 64;
/// Length of such a message that is not exceeded by more than one notice, in bytes.
const RELAYED_BYTES_MAX: usize = 1 << 20;
/// Pause before a notice that the broker did not take is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A notice.
#[derive(Clone, Debug)]
pub enum Told {
    /// To everyone who follows the workspace.
    Commit {
        /// Which workspace.
        workspace: WorkspaceId,
        /// All that is known of it.
        notification: Box<CommitNotification>,
        /// Revisions whose items are not known any more.
        unsaid: Option<(Revision, Revision)>,
    },
    /// To the devices of a user.
    Workspace {
        /// Whose devices.
        user: UserId,
        /// What they are told.
        notification: UpdateWorkspaceNotification,
    },
}

/// Sends notices out. Dropping it ends that.
pub struct Elsewhere {
    lanes: Vec<mpsc::Sender<Told>>,
    hasher: std::hash::RandomState,
}

/// The other instances of the service.
#[derive(Clone)]
pub struct Instances {
    /// A broker that speaks JSON.
    pub broker: Broker,
    /// This instance.
    pub own: Uuid,
}

/// Where notices go.
struct Beyond {
    /// What goes to the other instances.
    relayed: mpsc::Sender<Relayed>,
    original: Option<(Broker, Arc<OriginalDoor>)>,
    db: Db,
    metrics: Arc<Metrics>,
}

impl Elsewhere {
    /// Sends to the other instances, and to clients of the original, as far as the door is open.
    pub fn start(instances: Instances, original: Option<(Broker, Arc<OriginalDoor>)>, db: Db, metrics: Arc<Metrics>) -> Elsewhere {
        let (relayed, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(relay(instances, waiting, Arc::clone(&metrics)));
        let beyond = Arc::new(Beyond { relayed, original, db, metrics });
        let lane = |_| {
            let (told, mut waiting) = mpsc::channel(WAITING_MAX);
            let beyond = Arc::clone(&beyond);
            tokio::spawn(async move {
                while let Some(told) = waiting.recv().await {
                    beyond.tell(told).await;
                }
            });
            told
        };
        Elsewhere { lanes: (0..LANES).map(lane).collect(), hasher: Default::default() }
    }

    /// Sends a notice as soon as those before it are sent. Never waits.
    pub(super) fn tell(&self, metrics: &Metrics, told: Told) {
        let of = match &told {
            Told::Commit { workspace, .. } => workspace.0,
            Told::Workspace { user, .. } => user.0,
        };
        let lane = self.hasher.hash_one(of) as usize % self.lanes.len();
        let sent = self.lanes.get(lane).is_some_and(|lane| lane.try_send(told).is_ok());
        if !sent {
            metrics.notices_failed.one();
        }
    }
}

impl Beyond {
    async fn tell(&self, told: Told) {
        match told {
            Told::Commit { workspace, notification, unsaid } => {
                // Of what an earlier run or another instance left it is not known who was there.
                let alone = unsaid.is_none() && self.db.is_alone();
                let relayed = (!alone).then(|| {
                    let mut short = (*notification).clone();
                    shorten(&mut short);
                    short
                });
                if let Some((broker, door)) = &self.original
                    && door.opens(workspace).await
                {
                    let whole = self.whole(workspace, *notification, unsaid).await;
                    self.send(broker, &workspace.to_string(), NOTIFY_COMMIT, &whole).await;
                }
                // After that: what other instances tell next is told after this one.
                if let Some(short) = relayed {
                    self.relay(&workspace.to_string(), NOTIFY_COMMIT, short.to_revision, &short).await;
                }
            }
            Told::Workspace { user, notification } => {
                self.relay(&user.to_string(), NOTIFY_UPDATE_WORKSPACE, None, &notification).await;
                if let Some((broker, door)) = &self.original
                    && door.knows(user).await
                {
                    self.send(broker, &user.to_string(), NOTIFY_UPDATE_WORKSPACE, &notification).await;
                }
            }
        }
    }

    /// The notification with its items: a client of the original does not ask for what it was not told.
    async fn whole(
        &self,
        workspace: WorkspaceId,
        notification: CommitNotification,
        unsaid: Option<(Revision, Revision)>,
    ) -> CommitNotification {
        let Some((from, to)) = unsaid else { return notification };
        match self.changes(workspace, from, to).await {
            Ok(changes) => of_changes(workspace, notification.request_id.as_deref().unwrap_or_default(), &changes),
            Err(error) => {
                tracing::warn!(%error, %workspace, "the items of an earlier commit could not be read");
                notification
            }
        }
    }

    async fn changes(&self, workspace: WorkspaceId, from: Revision, to: Revision) -> Result<Vec<crate::db::ChangedItem>, DbError> {
        let (mut since, mut items) = (from, Vec::new());
        while since < to {
            let page = self.db.changes(workspace, since, CHANGES_PAGE_MAX).await?;
            if page.to <= since {
                break;
            }
            since = page.to;
            items.extend(page.items.into_iter().filter(|change| change.item.revision <= to));
        }
        Ok(items)
    }

    async fn relay(&self, reference: &str, method: &str, up_to: Option<u64>, notification: &(impl Serialize + Sync)) {
        let Ok(notification) = serde_json::value::to_raw_value(notification) else { return };
        let relayed = Relayed { reference: reference.into(), method: method.into(), up_to, notification };
        // The other end lives as long as this one.
        let _ = self.relayed.send(relayed).await;
    }

    async fn send(&self, broker: &Broker, reference: &str, method: &str, param: &(impl Serialize + Sync)) {
        send(broker, &self.metrics, reference, method, param).await;
    }
}

/// Sends notices to the other instances, in order: all that wait as one message.
async fn relay(instances: Instances, mut waiting: mpsc::Receiver<Relayed>, metrics: Arc<Metrics>) {
    while let Some(first) = waiting.recv().await {
        let mut bytes = first.notification.get().len();
        let mut notices = vec![first];
        while notices.len() < RELAYED_TOGETHER_MAX
            && bytes < RELAYED_BYTES_MAX
            && let Ok(next) = waiting.try_recv()
        {
            bytes += next.notification.get().len();
            notices.push(next);
        }
        send(&instances.broker, &metrics, INSTANCES, RELAY, &Together { from: instances.own, notices }).await;
    }
}

/// Sends, again and again while the broker cannot be reached or takes nothing.
async fn send(broker: &Broker, metrics: &Metrics, reference: &str, method: &str, param: &(impl Serialize + Sync)) {
    loop {
        match broker.lookup(reference).multi_cast(method, param).await {
            Ok(()) | Err(CallError::Closed) => return,
            Err(CallError::Disconnected(_) | CallError::Busy(_)) => tokio::time::sleep(RETRY_PAUSE).await,
            Err(error) => {
                metrics.notices_failed.one();
                tracing::warn!(%error, reference, method, "a notice was not sent out");
                return;
            }
        }
    }
}

/// A notice on its way to the other instances.
#[derive(Serialize, Deserialize)]
struct Relayed {
    reference: String,
    method: String,
    /// The revision that a workspace has come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    up_to: Option<u64>,
    notification: Box<RawValue>,
}

/// Notices of one instance on their way, in order.
#[derive(Serialize, Deserialize)]
struct Together {
    from: Uuid,
    notices: Vec<Relayed>,
}

/// Takes the notices of the other instances, and tells those who are connected here.
pub struct Relay {
    /// This instance.
    pub own: Uuid,
    /// Tells those who are connected here.
    pub here: Arc<InOrder>,
    /// Hears how far the others have told.
    pub db: Db,
}

impl Relay {
    /// What it listens to.
    pub const REFERENCE: &str = INSTANCES;
}

impl Relay {
    async fn tell(&self, relayed: &Relayed) {
        if relayed.method == NOTIFY_COMMIT
            && let Ok(workspace) = relayed.reference.parse()
        {
            if let Some(up_to) = relayed.up_to {
                self.db.told_elsewhere(workspace, Revision(up_to));
            }
            // Most are for nobody here.
            if !self.here.concerns(workspace).await {
                return;
            }
            if let Ok(notification) = serde_json::from_str(relayed.notification.get()) {
                return self.here.tell(workspace, notification, Teller::Other).await;
            }
        }
        // Nobody may follow it here, or his queue is full: he asks.
        let _ = self.here.broker().lookup(&relayed.reference).multi_cast(&relayed.method, &relayed.notification).await;
    }
}

impl RemoteObject for Relay {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        Box::pin(async move {
            let together: Together = incoming.param()?;
            let others = (together.from != self.own).then_some(together.notices);
            for relayed in others.into_iter().flatten() {
                self.tell(&relayed).await;
            }
            encode_result(&())
        })
    }
}
