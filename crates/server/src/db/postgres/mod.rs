//! The store that many instances share: a PostgreSQL database.
//!
//! Commits go in groups through a few committers (`commit`), all other writes in transactions of their own, reads are single
//! statements. Instances know nothing of each other but what stands in the database: a lock is a row's lock, a notice belongs to the
//! instance that wrote it until that one is gone (`outbox`, `instance`). No statement relies on anything that a connection remembers
//! from one transaction to the next, so a pooler may stand in between.

mod accounts;
mod bundles;
mod changes;
mod cluster;
mod commit;
mod instance;
pub(in crate::db) mod link;
pub(in crate::db) mod migrate;
mod outbox;
mod place;
pub(in crate::db) mod rows;
mod secrets;
mod tls;
mod workspaces;

#[cfg(test)]
mod tests;

pub(in crate::db) use cluster::look;
pub use place::{PlaceError, PostgresPlace, PostgresTls, Statements};

use super::columns::signed;
use super::request::RequestKey;
use super::stats::Counters;
use super::store::{Answer, NoticeSource, Store};
use super::{
    Access, ChangedItem, Changes, Commit, CommitResult, DbError, DbStats, Device, DeviceSeen, Membership, NewDevice, NewUser,
    OpenError, RedeemError, TreeItem, UnixMs, User, UserKey, WorkspaceView,
};
use commit::{Committers, Tools};
use futures_util::future::BoxFuture;
use instance::Instance;
use link::{Links, Params, Query, query};
use outbox::{Outbox, Waiting};
use stacksync_core::values::{DeviceId, ItemId, Name, Revision, UserId, WorkspaceId};
use std::sync::Arc;
use uuid::Uuid;
use workspaces::NewWorkspace;
use zeroize::Zeroizing;

/// A database that is open.
pub(super) struct Postgres {
    links: Links,
    committers: Committers,
    waiting: Arc<Waiting>,
    instance: Arc<Instance>,
    counters: Arc<Counters>,
    epoch: Uuid,
}

impl Postgres {
    /// Connects; creates the tables, or brings them to this program's format, as needed.
    pub(super) async fn open(place: &PostgresPlace) -> Result<Self, OpenError> {
        let unreachable = |reason: String| OpenError::Unreachable { place: place.to_string(), reason };
        let links = migrate::enter(place).await?;
        let epoch = migrate::migrate(&links, &place.to_string()).await?;
        let first = (0..place.connections_first.saturating_sub(1).min(place.connections_max)).map(|_| links.link());
        futures_util::future::try_join_all(first).await.map_err(|error| unreachable(error.to_string()))?;
        let (waiting, instance, counters) =
            (Arc::new(Waiting::default()), Arc::new(Instance::new()), Arc::new(Counters::default()));
        let tools = Tools {
            links: links.clone(),
            waiting: Arc::clone(&waiting),
            instance: Arc::clone(&instance),
            counters: Arc::clone(&counters),
        };
        Ok(Self { links, committers: Committers::start(&tools), waiting, instance, counters, epoch })
    }

    /// One statement that changes the row of a user.
    async fn set(&self, query: &Query, user: UserId, value: &(dyn tokio_postgres::types::ToSql + Sync)) -> Result<(), DbError> {
        self.change(query, &[&user.0, value], DbError::NoSuchUser).await
    }

    /// One statement that changes one row, whose number it returns.
    async fn change(&self, query: &Query, params: Params<'_>, missing: DbError) -> Result<(), DbError> {
        // Run again it changes nothing more.
        match self.links.read(query, params).await?.is_empty() {
            true => Err(missing),
            false => Ok(()),
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.waiting.close();
    }
}

/// A transaction as the future that the store's callers wait for. It may be run again, so it works on copies of what is in brackets.
macro_rules! write {
    ($self:ident, $link:ident [$($kept:ident),*] => $run:expr) => {
        Box::pin(async move {
            let run = $self.links.write(|$link| {
                $(let $kept = $kept.clone();)*
                Box::pin(async move { $run.await })
            });
            run.await
        })
    };
}

impl Store for Postgres {
    fn epoch(&self) -> Uuid {
        self.epoch
    }

    fn stats(&self) -> DbStats {
        let (depth, limit) = self.committers.depth();
        DbStats { clock_ahead_ms: self.instance.clock_ahead_ms(), ..self.counters.snapshot(depth, limit) }
    }

    fn clock_ahead_ms(&self) -> i64 {
        self.instance.clock_ahead_ms()
    }

    fn announce(&self, address: &str) {
        self.instance.announce(address);
    }

    fn is_alone(&self) -> bool {
        self.instance.is_alone()
    }

    fn told_elsewhere(&self, workspace: WorkspaceId, up_to: Revision) {
        self.waiting.told_elsewhere(workspace, up_to);
    }

    fn shared_secret(&self, name: String, first: Zeroizing<Vec<u8>>) -> Answer<'_, Option<Zeroizing<Vec<u8>>>> {
        Box::pin(async move {
            let shared = self.links.write(|link| {
                let (name, first) = (name.clone(), first.clone());
                Box::pin(async move { secrets::shared(link, &name, &first).await })
            });
            shared.await.map(Some)
        })
    }

    fn heads(&self, workspaces: Vec<WorkspaceId>) -> Answer<'_, Vec<(WorkspaceId, Revision)>> {
        Box::pin(workspaces::heads(&self.links, workspaces))
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let rows = self.links.read(&query!("SELECT pg_is_in_recovery() FROM meta"), &[]).await?;
            match rows.first().map(|row| rows::column(row, 0)).transpose()? {
                Some(false) => Ok(()),
                Some(true) => {
                    self.links.forget_idle();
                    Err(DbError::Unavailable("it is a standby and takes no writes".into()))
                }
                None => Err(DbError::Damaged("the table meta is empty".into())),
            }
        })
    }

    fn commit(&self, commit: Commit, key: RequestKey) -> BoxFuture<'_, CommitResult> {
        Box::pin(self.committers.commit(commit, key))
    }

    fn changes(&self, workspace: WorkspaceId, since: Revision, limit: u32) -> Answer<'_, Changes> {
        Box::pin(changes::changes(&self.links, workspace, since, limit))
    }

    fn tree(&self, workspace: WorkspaceId) -> Answer<'_, Vec<TreeItem>> {
        Box::pin(changes::tree(&self.links, workspace))
    }

    fn bodies(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Vec<u8>>> {
        Box::pin(changes::bodies(&self.links, workspace))
    }

    fn item(&self, workspace: WorkspaceId, id: ItemId) -> Answer<'_, Option<ChangedItem>> {
        Box::pin(changes::item(&self.links, workspace, id))
    }

    fn outbox(&self) -> Option<Box<dyn NoticeSource>> {
        self.instance.publish().then(|| -> Box<dyn NoticeSource> {
            Box::new(Outbox::new(self.links.clone(), Arc::clone(&self.waiting), Arc::clone(&self.instance)))
        })
    }

    fn outbox_done(&self, up_to: u64) -> Answer<'_, ()> {
        Box::pin(self.waiting.told(&self.links, up_to))
    }

    fn add_user(&self, new: NewUser) -> Answer<'_, User> {
        write!(self, link [new] => accounts::add_user(link, &new))
    }

    fn user(&self, key: UserKey) -> Answer<'_, Option<User>> {
        Box::pin(async move { accounts::user(&self.links, &key).await })
    }

    fn users(&self) -> Answer<'_, Vec<User>> {
        Box::pin(accounts::users(&self.links))
    }

    fn set_quota(&self, user: UserId, quota_limit: u64) -> Answer<'_, ()> {
        let sql = query!("UPDATE users SET quota_limit = $2 WHERE id = $1 RETURNING number", UUID, INT8);
        Box::pin(async move { self.set(&sql, user, &signed(quota_limit)).await })
    }

    fn set_password(&self, user: UserId, phc: Option<String>) -> Answer<'_, ()> {
        let sql = query!("UPDATE users SET password = $2 WHERE id = $1 RETURNING number", UUID, TEXT);
        Box::pin(async move { self.set(&sql, user, &phc).await })
    }

    fn set_access(&self, user: UserId, access: Access) -> Answer<'_, ()> {
        let sql = query!("UPDATE users SET disabled = $2 WHERE id = $1 RETURNING number", UUID, BOOL);
        Box::pin(async move { self.set(&sql, user, &(access == Access::Disabled)).await })
    }

    fn remove_user(&self, user: UserId) -> Answer<'_, Vec<WorkspaceId>> {
        write!(self, link [] => accounts::remove_user(link, user))
    }

    fn add_join_code(&self, user: UserId, code_hash: [u8; 32], expires_at: UnixMs) -> Answer<'_, ()> {
        write!(self, link [] => accounts::add_join_code(link, user, &code_hash, expires_at))
    }

    fn redeem_join_code(
        &self,
        code_hash: [u8; 32],
        device: NewDevice,
        token_hash: [u8; 32],
    ) -> BoxFuture<'_, Result<(User, Device), RedeemError>> {
        write!(self, link [device] => accounts::redeem(link, &code_hash, &device, &token_hash))
    }

    fn device_by_token(&self, token_hash: [u8; 32]) -> Answer<'_, Option<(User, Device)>> {
        Box::pin(async move { accounts::device_by_token(&self.links, &token_hash).await })
    }

    fn device(&self, device: DeviceId) -> Answer<'_, Option<(User, Device)>> {
        Box::pin(accounts::device(&self.links, device))
    }

    fn turned_away(&self, devices: Vec<DeviceId>) -> Answer<'_, Vec<DeviceId>> {
        Box::pin(async move { accounts::turned_away(&self.links, &devices).await })
    }

    fn devices(&self, user: UserId) -> Answer<'_, Vec<Device>> {
        Box::pin(accounts::devices(&self.links, user))
    }

    fn revoke_device(&self, device: DeviceId) -> Answer<'_, ()> {
        let sql = query!("UPDATE devices SET revoked = true WHERE id = $1 RETURNING number", UUID);
        Box::pin(async move { self.change(&sql, &[&device.0], DbError::NoSuchDevice).await })
    }

    fn touch_device(&self, device: DeviceId, seen: DeviceSeen) -> Answer<'_, ()> {
        write!(self, link [seen] => accounts::touch(link, device, &seen))
    }

    fn membership(&self, user: UserId, workspace: WorkspaceId) -> Answer<'_, Option<Membership>> {
        Box::pin(workspaces::membership(&self.links, user, workspace))
    }

    fn members(&self, workspace: WorkspaceId) -> Answer<'_, Vec<UserId>> {
        Box::pin(workspaces::members(&self.links, workspace))
    }

    fn workspaces_of(&self, user: UserId) -> Answer<'_, Vec<WorkspaceView>> {
        Box::pin(workspaces::views(&self.links, user))
    }

    fn add_workspace(&self, user: UserId, name: Name, parent: Option<ItemId>) -> Answer<'_, WorkspaceView> {
        let new = NewWorkspace::Further { name, parent };
        write!(self, link [new] => workspaces::add(link, user, &new))
    }

    fn update_membership(
        &self,
        user: UserId,
        workspace: WorkspaceId,
        name: Name,
        parent: Option<ItemId>,
        request_id: Option<String>,
    ) -> Answer<'_, WorkspaceView> {
        write!(self, link [name, request_id] => workspaces::update(link, user, workspace, (&name, parent), request_id))
    }
}
