//! What can be said of the instances that share a database.

use super::UnixMs;
use std::time::Duration;
use uuid::Uuid;

/// Silence after which an instance counts as gone, in milliseconds: others take its notices over.
pub const GONE_AFTER_MS: i64 = 5_000;

/// A look at all instances.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Those that are registered, the oldest first; also some that are gone without a word.
    pub instances: Vec<InstanceView>,
    /// Notices that no registered instance has taken on yet.
    pub notices_of_nobody: u64,
    /// Age of the oldest notice that was not told yet, in milliseconds.
    pub oldest_notice_ms: Option<i64>,
    /// The database's clock.
    pub now: UnixMs,
    /// How long the database took to answer.
    pub round_trip: Duration,
    /// Its standbys, as far as we may see them.
    pub standbys: Vec<Standby>,
}

/// An instance as the others know it.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// Another one at each start.
    pub id: Uuid,
    /// Its computer and process.
    pub name: String,
    /// Where devices reach it.
    pub address: String,
    /// Of its program.
    pub version: String,
    /// Since when it serves.
    pub started_at: UnixMs,
    /// Milliseconds since its last sign of life.
    pub silent_ms: i64,
    /// How far its clock is ahead of the database's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// Notices that it has taken on and not told yet.
    pub notices: u64,
}

impl InstanceView {
    /// Whether it gave a sign of life lately.
    pub const fn lives(&self) -> bool {
        self.silent_ms < GONE_AFTER_MS
    }
}

/// A standby of the database.
#[derive(Clone, Debug)]
pub struct Standby {
    /// As it calls itself.
    pub name: String,
    /// How far it is behind, in milliseconds, if it says.
    pub lag_ms: Option<i64>,
}
