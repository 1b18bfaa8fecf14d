//! This process among those that share the database: while it publishes notices it says every second that it lives.

use super::link::{Link, Links, Stop, query};
use crate::db::DbError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use uuid::Uuid;

/// How often it says that it lives; others take its notices over after five seconds of silence.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Instance {
    id: Uuid,
    /// It has a publisher.
    publishes: AtomicBool,
    /// The others know of it.
    registered: AtomicBool,
}

impl Instance {
    pub(super) fn new() -> Self {
        Self { id: Uuid::new_v4(), publishes: AtomicBool::new(false), registered: AtomicBool::new(false) }
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
        let id = self.id;
        links.write(|link| Box::pin(say(link, id))).await?;
        self.registered.store(true, Ordering::Relaxed);
        tokio::spawn(beat(Arc::downgrade(self), links.clone()));
        Ok(())
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

async fn say(link: &Link, id: Uuid) -> Result<(), Stop<DbError>> {
    let sql = query!(
        "INSERT INTO instances (id, name, version) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp()",
        UUID,
        TEXT,
        TEXT
    );
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    link.run(&sql, &[&id, &format!("{name}:{}", std::process::id()), &env!("CARGO_PKG_VERSION")]).await?;
    link.run(&query!("DELETE FROM instances WHERE seen_at < clock_timestamp() - interval '1 day'"), &[]).await?;
    Ok(())
}

async fn go(link: &Link, id: Uuid) -> Result<(), Stop<DbError>> {
    link.run(&query!("DELETE FROM instances WHERE id = $1", UUID), &[&id]).await?;
    Ok(())
}

async fn beat(instance: Weak<Instance>, links: Links) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let Some(id) = instance.upgrade().and_then(|instance| instance.owner()) else { return };
        if let Err(error) = links.write::<_, DbError>(|link| Box::pin(say(link, id))).await {
            tracing::debug!(%error, "the instance could not say that it lives");
        }
    }
}
