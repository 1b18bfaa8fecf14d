//! Commits as the devices of this instance are told of them where many instances work on one database: each revision of a workspace in
//! its order, whichever instance tells of it, on whatever way it comes, and whether it comes at all.
//!
//! What comes early waits for what is before it. What does not come in time is replaced by a notice without items, which makes the
//! device ask; what got lost at the end, with the broker or with an instance, is found by looking at the database. Only workspaces that
//! somebody follows here are watched over.

use super::elsewhere::NOTIFY_COMMIT;
use crate::db::{Db, DbError};
use crate::metrics::Metrics;
use objectmq::Broker;
use objectmq::local::Hub;
use stacksync_core::values::WorkspaceId;
use stacksync_protocol::sync_service::CommitNotification;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How long a notice waits for those before it.
const GAP_WAIT: Duration = Duration::from_secs(1);
/// How often it is looked whether one has waited so long.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Notices of one workspace that wait; with one more nobody waits any longer.
const HELD_MAX: usize = 256;
/// How often the database is asked where the workspaces stand. A revision that nobody told of by the second time got lost.
const HEADS_INTERVAL: Duration = Duration::from_secs(5);

/// Whose notice it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// This instance's: somebody here may wait for it, even if the revision was told before.
    Own,
    /// Another instance's.
    Other,
}

/// Tells the devices of this instance.
pub struct InOrder {
    hub: Hub,
    broker: Broker,
    metrics: Arc<Metrics>,
    lines: Mutex<HashMap<WorkspaceId, Line>>,
}

/// What the followers of a workspace know.
struct Line {
    /// Everything up to here.
    told: u64,
    /// What waits, by the revision that it begins after.
    held: BTreeMap<u64, CommitNotification>,
    /// Since when something waits.
    since: Instant,
    born: Instant,
    /// Where the workspace stood when it was looked at last.
    head: u64,
}

impl Line {
    fn at(told: u64) -> Self {
        Self { told, held: BTreeMap::new(), since: Instant::now(), born: Instant::now(), head: told }
    }

    /// Takes a notice of new revisions; what can be told now, in order.
    fn take(&mut self, from: u64, notification: CommitNotification) -> Vec<CommitNotification> {
        if self.held.is_empty() {
            self.since = Instant::now();
        }
        self.held.insert(from, notification);
        if self.held.len() > HELD_MAX { self.give_up() } else { self.release() }
    }

    /// What follows on what was told.
    fn release(&mut self) -> Vec<CommitNotification> {
        let mut ready = Vec::new();
        while let Some((from, next)) = self.held.pop_first() {
            if from > self.told {
                self.held.insert(from, next);
                break;
            }
            self.since = Instant::now();
            self.told = self.told.max(next.to_revision.unwrap_or(from));
            ready.push(next);
        }
        ready
    }

    /// Replaces what is missing before the first that waits, and what follows on that.
    fn give_up(&mut self) -> Vec<CommitNotification> {
        let Some((&from, first)) = self.held.first_key_value() else { return Vec::new() };
        let mut ready = vec![without_items(first.workspace_id, self.told, from)];
        self.told = from;
        ready.extend(self.release());
        ready
    }
}

impl InOrder {
    /// Tells by this broker whoever follows at this hub.
    pub fn new(hub: Hub, metrics: Arc<Metrics>) -> Self {
        Self { broker: Broker::new(Arc::new(hub.clone())), hub, metrics, lines: Mutex::default() }
    }

    /// Tells whoever follows something else than commits.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Tells whoever follows the workspace here, in order.
    pub async fn tell(&self, workspace: WorkspaceId, notification: CommitNotification, teller: Teller) {
        let (Some(from), Some(to)) = (notification.from_revision, notification.to_revision) else {
            return self.publish(workspace, &notification).await;
        };
        let mut lines = self.lines.lock().await;
        let line = match lines.entry(workspace) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if !self.hub.is_followed(&workspace.to_string()) => return,
            Entry::Vacant(unknown) => unknown.insert(Line::at(from)),
        };
        match (to > line.told, teller) {
            (true, _) => {
                for ready in line.take(from, notification) {
                    self.publish(workspace, &ready).await;
                }
            }
            (false, Teller::Own) => self.publish(workspace, &notification).await,
            (false, Teller::Other) => {}
        }
    }

    /// Whether anybody here may want to hear of the workspace.
    pub async fn concerns(&self, workspace: WorkspaceId) -> bool {
        self.hub.is_followed(&workspace.to_string()) || self.lines.lock().await.contains_key(&workspace)
    }

    /// Somebody is about to follow the workspace here. What it has by now he finds by asking; he is told of what comes from now on.
    pub async fn begin(&self, db: &Db, workspace: WorkspaceId) -> Result<(), DbError> {
        if self.lines.lock().await.contains_key(&workspace) {
            return Ok(());
        }
        for (workspace, head) in db.heads(vec![workspace]).await? {
            self.lines.lock().await.entry(workspace).or_insert_with(|| Line::at(head.0));
        }
        Ok(())
    }

    async fn publish(&self, workspace: WorkspaceId, notification: &CommitNotification) {
        match self.broker.lookup(&workspace.to_string()).multi_cast(NOTIFY_COMMIT, notification).await {
            Ok(()) => self.metrics.notices.one(),
            Err(error) => {
                self.metrics.notices_failed.one();
                tracing::warn!(%error, %workspace, "a notice was not published; devices find the change by asking");
            }
        }
    }

    /// Watches over what waits and what got lost, until it is told to stop.
    pub async fn watch(&self, db: &Db, stop: &CancellationToken) {
        let mut heads_at = Instant::now() + HEADS_INTERVAL;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
            self.give_up_late_ones().await;
            if Instant::now() >= heads_at {
                heads_at = Instant::now() + HEADS_INTERVAL;
                if let Err(error) = self.look_at_heads(db).await {
                    tracing::debug!(%error, "where the workspaces stand cannot be asked");
                }
            }
        }
    }

    async fn give_up_late_ones(&self) {
        let mut lines = self.lines.lock().await;
        for (workspace, line) in lines.iter_mut().filter(|(_, line)| !line.held.is_empty() && line.since.elapsed() > GAP_WAIT) {
            for ready in line.give_up() {
                self.publish(*workspace, &ready).await;
            }
        }
    }

    /// Tells of what nobody told of in time.
    async fn look_at_heads(&self, db: &Db) -> Result<(), DbError> {
        let followed: HashSet<WorkspaceId> = self.hub.followed().iter().filter_map(|reference| reference.parse().ok()).collect();
        let heads = if followed.is_empty() { Vec::new() } else { db.heads(followed.iter().copied().collect()).await? };
        let mut lines = self.lines.lock().await;
        lines.retain(|workspace, line| line.born.elapsed() < HEADS_INTERVAL || followed.contains(workspace));
        for (workspace, head) in heads {
            let line = lines.entry(workspace).or_insert_with(|| Line::at(head.0));
            if line.told < line.head {
                self.metrics.notices_lost.one();
                let ready = without_items(Some(workspace.0), line.told, line.head);
                line.told = line.head;
                self.publish(workspace, &ready).await;
                for ready in line.release() {
                    self.publish(workspace, &ready).await;
                }
            }
            line.head = head.0;
        }
        Ok(())
    }
}

fn without_items(workspace: Option<uuid::Uuid>, from: u64, to: u64) -> CommitNotification {
    CommitNotification {
        workspace_id: workspace,
        from_revision: Some(from),
        to_revision: Some(to),
        items_omitted: true,
        ..CommitNotification::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stacksync_core::values::Revision;

    fn notice(from: u64, to: u64) -> CommitNotification {
        CommitNotification { request_id: Some(format!("{from}-{to}")), ..without_items(Some(uuid::Uuid::nil()), from, to) }
    }

    fn spans(ready: &[CommitNotification]) -> Vec<(u64, u64)> {
        ready.iter().map(|notice| (notice.from_revision.unwrap(), notice.to_revision.unwrap())).collect()
    }

    #[test]
    fn what_comes_early_waits_for_what_is_before_it() {
        let mut line = Line::at(3);
        assert_eq!(spans(&line.take(5, notice(5, 6))), []);
        assert_eq!(spans(&line.take(4, notice(4, 5))), []);
        assert_eq!(spans(&line.take(3, notice(3, 4))), [(3, 4), (4, 5), (5, 6)]);
        assert_eq!(spans(&line.take(6, notice(6, 9))), [(6, 9)]);
    }

    #[test]
    fn what_does_not_come_is_replaced() {
        let mut line = Line::at(0);
        assert_eq!(spans(&line.take(2, notice(2, 3))), []);
        let ready = line.give_up();
        assert_eq!(spans(&ready), [(0, 2), (2, 3)]);
        assert!(ready[0].items_omitted && ready[0].request_id.is_none() && ready[1].request_id.is_some());
        assert!(line.give_up().is_empty());
        for from in 0..=HELD_MAX as u64 {
            let ready = line.take(4 + 2 * from, notice(4 + 2 * from, 5 + 2 * from));
            assert_eq!(ready.is_empty(), from < HELD_MAX as u64);
        }
        assert_eq!(line.held.len(), HELD_MAX);
    }

    #[tokio::test]
    async fn nobody_is_told_of_what_he_does_not_follow_and_nothing_is_remembered_of_it() {
        let order = InOrder::new(Hub::new(objectmq::local::HubLimits::default()), Arc::default());
        order.tell(WorkspaceId(uuid::Uuid::nil()), notice(0, Revision(1).0), Teller::Own).await;
        assert!(order.lines.lock().await.is_empty());
        assert_eq!(order.metrics.notices.get(), 0);
    }
}
