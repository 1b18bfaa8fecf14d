//! This process among those that share the database: while it publishes notices it says every second that it lives, where it is
//! reached, and how far its clock is from the database's.

use super::link::{Link, Links, Stop, query};
use super::rows::column;
use crate::db::{DbError, UnixMs};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use uuid::Uuid;

/// How often it says that it lives; others take its notices over after five seconds of silence.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A clock that is off by more than this is worth a word, in milliseconds: join codes and tickets live by clocks.
const CLOCK_OFF_MS: i64 = 30_000;

/// See the module.
pub(super) struct Instance {
    id: Uuid,
    /// It has a publisher.
    publishes: AtomicBool,
    /// The others know of it.
    registered: AtomicBool,
    /// Where devices reach it.
    address: OnceLock<String>,
    /// How far its clock is ahead of the database's.
    clock_ahead_ms: AtomicI64,
    /// The last transaction that wrote commits saw no other instance.
    alone: AtomicBool,
}

impl Instance {
    pub(super) fn new() -> Self {
        Self {
            id: Uuid::new_v4(),
            publishes: AtomicBool::new(false),
            registered: AtomicBool::new(false),
            address: OnceLock::new(),
            clock_ahead_ms: AtomicI64::new(0),
            alone: AtomicBool::new(false),
        }
    }

    pub(super) fn announce(&self, address: &str) {
        // A process does not move.
        let _ = self.address.set(address.to_owned());
    }

    pub(super) fn clock_ahead_ms(&self) -> i64 {
        self.clock_ahead_ms.load(Ordering::Relaxed)
    }

    /// Whether the transaction that wrote commits last saw no other instance.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// What such a transaction saw.
    pub(super) fn note_alone(&self, alone: bool) {
        self.alone.store(alone, Ordering::Relaxed);
    }

    /// Says that it lives, and looks at the clocks.
    async fn live(&self, links: &Links) -> Result<(), DbError> {
        let (id, address, ahead) = (self.id, self.address.get().cloned().unwrap_or_default(), self.clock_ahead_ms());
        let theirs = links.write(|link| {
            let address = address.clone();
            Box::pin(async move { say(link, id, &address, ahead).await })
        });
        let now_ahead = UnixMs::now().0 - theirs.await?;
        if self.owner().is_none() {
            // It left while it said so.
            links.write::<_, DbError>(|link| Box::pin(go(link, id))).await?;
        }
        self.clock_ahead_ms.store(now_ahead, Ordering::Relaxed);
        if now_ahead.abs() > CLOCK_OFF_MS && ahead.abs() <= CLOCK_OFF_MS {
            tracing::warn!(
                seconds = now_ahead / 1000,
                "this computer's clock is ahead of the database's (or behind, if less than 0)"
            );
        }
        Ok(())
    }

    pub(super) const fn id(&self) -> Uuid {
        self.id
    }

    /// Whose the notices of commits are: this instance's, if it publishes.
    pub(super) fn owner(&self) -> Option<Uuid> {
        self.publishes.load(Ordering::Relaxed).then_some(self.id)
    }

    /// It has a publisher from now on; `false` if it had one before.
    pub(super) fn publish(&self) -> bool {
        !self.publishes.swap(true, Ordering::Relaxed)
    }

    /// Makes it known, once.
    pub(super) async fn register(self: &Arc<Self>, links: &Links) -> Result<(), DbError> {
        if self.registered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (instance, links) = (Arc::clone(self), links.clone());
        // A task of its own: whoever waits for the first notice may stop waiting, again and again.
        let registering = tokio::spawn(async move {
            instance.live(&links).await?;
            if !instance.registered.swap(true, Ordering::Relaxed) {
                tokio::spawn(beat(Arc::downgrade(&instance), links));
            }
            Ok(())
        });
        registering.await.unwrap_or(Err(DbError::Unknown))
    }

    /// Its notices are for others from now on.
    pub(super) fn leave(self: &Arc<Self>, links: Links) {
        self.publishes.store(false, Ordering::Relaxed);
        let id = self.id;
        // Without a runtime, or if it fails, the others find out by its silence.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = links.write::<_, DbError>(|link| Box::pin(go(link, id))).await {
                    tracing::debug!(%error, "the instance could not say that it ends");
                }
            });
        }
    }
}

/// Returns the database's clock.
async fn say(link: &Link, id: Uuid, address: &str, clock_ahead_ms: i64) -> Result<i64, Stop<DbError>> {
    let sql = query!(
        "INSERT INTO instances (id, name, version, address, clock_ahead_ms) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE \
         SET seen_at = clock_timestamp(), clock_ahead_ms = $5 RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        UUID,
        TEXT,
        TEXT,
        TEXT,
        INT8
    );
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = format!("{name}:{}", std::process::id());
    let row = link.first(&sql, &[&id, &name, &env!("CARGO_PKG_VERSION"), &address, &clock_ahead_ms]).await?;
    // Whoever listened here before is gone.
    let sql = query!(
        "DELETE FROM instances WHERE seen_at < clock_timestamp() - interval '1 hour' \
         OR (address = $2 AND address <> '' AND id <> $1 AND seen_at < clock_timestamp() - interval '5 s')",
        UUID,
        TEXT
    );
    link.run(&sql, &[&id, &address]).await?;
    Ok(row.map(|row| column(&row, 0)).transpose()?.unwrap_or_default())
}

async fn go(link: &Link, id: Uuid) -> Result<(), Stop<DbError>> {
    link.run(&query!("DELETE FROM instances WHERE id = $1", UUID), &[&id]).await?;
    Ok(())
}

async fn beat(instance: Weak<Instance>, links: Links) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let Some(instance) = instance.upgrade().filter(|instance| instance.owner().is_some()) else { return };
        if let Err(error) = instance.live(&links).await {
            tracing::debug!(%error, "the instance could not say that it lives");
        }
    }
}
