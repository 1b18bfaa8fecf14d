//! Several instances of the service on one PostgreSQL and one RabbitMQ, with accidents to each of them under load: nothing that was
//! acknowledged is lost, nothing happens twice, devices end with the same folder.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accidents;
mod away;
mod clocks;
mod nodes;
mod notices;
mod redelivery;
mod tls;

use stacksync_e2e::cluster::Backends;
use stacksync_e2e::server::Invitation;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The database and the broker of the stories, which disturb them: one story at a time.
fn backends() -> MutexGuard<'static, Backends> {
    static SHARED: OnceLock<Mutex<Backends>> = OnceLock::new();
    // A story that failed may have left them ended; the next one finds out.
    SHARED.get_or_init(|| Mutex::new(Backends::start(1))).lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many join codes.
fn invitations(count: usize, invite: impl Fn() -> Invitation) -> Vec<Invitation> {
    (0..count).map(|_| invite()).collect()
}
