//! The metadata store: who has which version of which item.
//!
//! [`Db`] is what the service works with; behind it is one of two stores, an SQLite file of its own or a PostgreSQL database that
//! many instances share (`store` is the seam between them). Whether a version may be saved is core's rule `decide`, handed into the
//! store's transaction, not a matter of this module; SQL stands nowhere outside it.

mod answer_codec;
mod bundles;
mod cluster;
mod columns;
mod error;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
pub mod import;
mod outbox;
mod postgres;
mod request;
mod sqlite;
mod stats;
mod store;
pub mod transfer;
mod tree;
mod types;

#[cfg(test)]
pub(in crate::db) mod tests;

pub use bundles::BundleRows;
pub use cluster::{Cluster, GONE_AFTER_MS, InstanceView, Standby};
pub use error::{DbError, OpenError, RedeemError};
pub use outbox::Outbox;
pub use postgres::{PlaceError, PostgresPlace, PostgresTls, Statements};
pub use sqlite::inline;
pub use stats::{DbStats, LATENCY_BUCKETS_US};
pub use types::{
    Access, ChangedItem, Changes, Commit, CommitOutcome, Device, DeviceSeen, Made, Membership, NewDevice, NewUser, Notice,
    NoticeContent, PlaceRule, Role, TreeItem, UnixMs, User, UserKey, WorkspaceView,
};

use postgres::Postgres;
use request::RequestKey;
use sqlite::Sqlite;
use stacksync_core::commit::COMMIT_ITEMS_MAX;
use stacksync_core::values::{ChunkName, DeviceId, ItemId, Name, Revision, UserId, WorkspaceId};
use stacksync_protocol::sync_service::{CHANGES_PAGE_MAX, REQUEST_ID_BYTES_MAX};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What becomes of a commit.
type CommitResult = Result<Arc<CommitOutcome>, DbError>;

/// The store. Clones share it; when the last one goes, what was accepted is written and the store is closed.
///
/// All operations are for a tokio runtime. They are atomic; those that write are durable when they return `Ok`. Everything is read
/// fresh: what another process changed counts from the next operation on.
#[derive(Clone)]
pub struct Db {
    store: Arc<dyn Store>,
}

impl Db {
    /// Opens an SQLite file; creates it, or brings it to this program's format, as needed.
    ///
    /// # Errors
    /// See [`OpenError`]. A file of a newer format is left as it is.
    pub fn open(file: &Path) -> Result<Self, OpenError> {
        Ok(Self { store: Arc::new(Sqlite::open(file)?) })
    }

    /// Opens a PostgreSQL database that other instances may use, too; makes its tables, or brings them to this program's format, as
    /// needed.
    ///
    /// # Errors
    /// See [`OpenError`]. A database of a newer format is left as it is.
    pub async fn connect(place: &PostgresPlace) -> Result<Self, OpenError> {
        Ok(Self { store: Arc::new(Postgres::open(place).await?) })
    }

    /// A store in memory that begins with this content and works on its caller's thread; see [`inline`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn inline(copy: inline::Copy) -> Result<Self, OpenError> {
        Ok(Self { store: Arc::new(Sqlite::inline(copy)?) })
    }

    /// Everything that a store in memory holds now; `None` of any other store.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn copy(&self) -> Result<Option<inline::Copy>, inline::CopyError> {
        self.store.copy()
    }

    /// Another one means that the metadata was replaced by other metadata.
    pub fn epoch(&self) -> Uuid {
        self.store.epoch()
    }

    /// Judges the items by core's rule and saves what passes, in one transaction with the answer and the notice. The answer to a
    /// repeated `(device, id)` is the first answer.
    ///
    /// # Errors
    /// [`DbError::NoAccess`], [`DbError::RequestReused`], [`DbError::TooMuch`], or the store failed; nothing was saved then, and the
    /// same commit may be sent again. Refusals of items are no errors.
    pub async fn commit(&self, commit: Commit) -> Result<Arc<CommitOutcome>, DbError> {
        if commit.items.len() > COMMIT_ITEMS_MAX {
            return Err(DbError::TooMuch { what: "items of one commit", limit: COMMIT_ITEMS_MAX });
        }
        if commit.id.len() > REQUEST_ID_BYTES_MAX {
            return Err(DbError::TooMuch { what: "bytes of a request id", limit: REQUEST_ID_BYTES_MAX });
        }
        let key = RequestKey::of(&commit);
        self.store.commit(commit, key).await
    }

    /// The notices to publish: first those that an earlier run left, then each new one right after its transaction. There is one
    /// publisher: `None` from the second call on.
    pub fn outbox(&self) -> Option<Outbox> {
        self.store.outbox().map(Outbox::new)
    }

    /// Says that the notices up to this one were published. They are forgotten now or a while later; until then a crash brings them
    /// back.
    ///
    /// # Errors
    /// If the store failed or is closed; they may be published again then.
    pub async fn outbox_done(&self, up_to: u64) -> Result<(), DbError> {
        self.store.outbox_done(up_to).await
    }

    /// Whether no other process that publishes notices was there when commits were saved last: whoever enters later than that, and lets
    /// devices in afterwards, finds those commits in the store. Of notices of commits of this process.
    pub fn is_alone(&self) -> bool {
        self.store.is_alone()
    }

    /// Says that another process on this store has told of this workspace up to here, so that notices of this one which come after need
    /// not wait until the store shows it.
    pub fn told_elsewhere(&self, workspace: WorkspaceId, up_to: Revision) {
        self.store.told_elsewhere(workspace, up_to);
    }

    /// Says where devices reach this process. Where many instances share the store, others learn of it when this one begins to publish.
    pub fn announce(&self, address: &str) {
        self.store.announce(address);
    }

    /// The secret of this name that all instances on this store share. `first` becomes it, if there is none yet. `None` if the store is
    /// a file: its secrets are files beside it.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn shared_secret(&self, name: &str, first: Zeroizing<Vec<u8>>) -> Result<Option<Zeroizing<Vec<u8>>>, DbError> {
        self.store.shared_secret(name.to_owned(), first).await
    }

    /// A look at the instances on a database, without opening it as a store.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn cluster(place: &PostgresPlace) -> Result<Cluster, OpenError> {
        postgres::look(place).await
    }

    /// How far this process's clock is ahead of the store's, in milliseconds, as found out last; 0 where there is no other clock.
    pub fn clock_ahead_ms(&self) -> i64 {
        self.store.clock_ahead_ms()
    }

    /// Counters since the store was opened.
    pub fn stats(&self) -> DbStats {
        self.store.stats()
    }

    /// Whether the store answers and can be written.
    ///
    /// # Errors
    /// If not.
    pub async fn check(&self) -> Result<(), DbError> {
        self.store.check().await
    }

    /// Where these workspaces stand, as far as they exist; of a store that many instances share only, others answer nothing.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn heads(&self, workspaces: Vec<WorkspaceId>) -> Result<Vec<(WorkspaceId, Revision)>, DbError> {
        self.store.heads(workspaces).await
    }

    /// The latest version of every item that changed after `since`, oldest change first, at most `limit` of them (and at most
    /// [`CHANGES_PAGE_MAX`]). The cost grows with the page, not with the workspace.
    ///
    /// # Errors
    /// [`DbError::NoAccess`] if there is no such workspace, or the store failed.
    pub async fn changes(&self, workspace: WorkspaceId, since: Revision, limit: u32) -> Result<Changes, DbError> {
        self.store.changes(workspace, since, limit.clamp(1, CHANGES_PAGE_MAX)).await
    }

    /// Every item at its latest version, deleted ones too, in the order of the original: each folder before what is in it, siblings
    /// by id.
    ///
    /// # Errors
    /// [`DbError::NoAccess`] if there is no such workspace, or the store failed.
    pub async fn tree(&self, workspace: WorkspaceId) -> Result<Vec<TreeItem>, DbError> {
        self.store.tree(workspace).await
    }

    /// Every chunk that any version of any file in this workspace names, past ones too, all of one moment. None if there is no such
    /// workspace.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn chunks(&self, workspace: WorkspaceId) -> Result<HashSet<ChunkName>, DbError> {
        let bodies = self.store.bodies(workspace).await?;
        let mut named = HashSet::new();
        for body in &bodies {
            let names = columns::chunk_names(body).ok_or_else(|| DbError::Damaged("a chunk list is damaged".to_owned()))?;
            named.extend(names);
        }
        Ok(named)
    }

    /// The latest version of one item of a workspace.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn item(&self, workspace: WorkspaceId, id: ItemId) -> Result<Option<ChangedItem>, DbError> {
        self.store.item(workspace, id).await
    }

    /// Makes an account with its default workspace.
    ///
    /// # Errors
    /// [`DbError::NameTaken`], [`DbError::EmailTaken`], or the store failed.
    pub async fn add_user(&self, new: NewUser) -> Result<User, DbError> {
        self.store.add_user(new).await
    }

    /// Looks an account up.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn user(&self, key: UserKey) -> Result<Option<User>, DbError> {
        self.store.user(key).await
    }

    /// All accounts by name.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn users(&self) -> Result<Vec<User>, DbError> {
        self.store.users().await
    }

    /// Sets the bytes that a user may use; less than he uses is allowed, he can then only shrink.
    ///
    /// # Errors
    /// [`DbError::NoSuchUser`], or the store failed.
    pub async fn set_quota(&self, user: UserId, quota_limit: u64) -> Result<(), DbError> {
        self.store.set_quota(user, quota_limit).await
    }

    /// Sets or takes away a password (its Argon2 hash in PHC form).
    ///
    /// # Errors
    /// [`DbError::NoSuchUser`], or the store failed.
    pub async fn set_password(&self, user: UserId, phc: Option<String>) -> Result<(), DbError> {
        self.store.set_password(user, phc).await
    }

    /// Turns a user's devices away, or lets them in again.
    ///
    /// # Errors
    /// [`DbError::NoSuchUser`], or the store failed.
    pub async fn set_access(&self, user: UserId, access: Access) -> Result<(), DbError> {
        self.store.set_access(user, access).await
    }

    /// Removes a user with his devices, codes, memberships and the workspaces that he owns, for all their members. Returns those
    /// workspaces: their chunk containers are of no use any more.
    ///
    /// # Errors
    /// [`DbError::NoSuchUser`], or the store failed.
    pub async fn remove_user(&self, user: UserId) -> Result<Vec<WorkspaceId>, DbError> {
        self.store.remove_user(user).await
    }

    /// Keeps a code with which one device may join the user's until `expires_at`.
    ///
    /// # Errors
    /// [`DbError::NoSuchUser`], or the store failed.
    pub async fn add_join_code(&self, user: UserId, code_hash: [u8; 32], expires_at: UnixMs) -> Result<(), DbError> {
        self.store.add_join_code(user, code_hash, expires_at).await
    }

    /// Uses a code up and registers the device that brought it. Of two that bring the same code one succeeds.
    ///
    /// # Errors
    /// See [`RedeemError`].
    pub async fn redeem_join_code(
        &self,
        code_hash: [u8; 32],
        device: NewDevice,
        token_hash: [u8; 32],
    ) -> Result<(User, Device), RedeemError> {
        self.store.redeem_join_code(code_hash, device, token_hash).await
    }

    /// Whose token this is: the device, unless it is revoked, and its user, who may be disabled.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn device_by_token(&self, token_hash: [u8; 32]) -> Result<Option<(User, Device)>, DbError> {
        self.store.device_by_token(token_hash).await
    }

    /// A device, revoked or not, and its user.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn device(&self, device: DeviceId) -> Result<Option<(User, Device)>, DbError> {
        self.store.device(device).await
    }

    /// Which of these devices may not come in any more: revoked, unknown, or of a user who is disabled.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn turned_away(&self, devices: Vec<DeviceId>) -> Result<Vec<DeviceId>, DbError> {
        self.store.turned_away(devices).await
    }

    /// A user's devices, revoked ones too, in the order they joined.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn devices(&self, user: UserId) -> Result<Vec<Device>, DbError> {
        self.store.devices(user).await
    }

    /// Turns a device away for good.
    ///
    /// # Errors
    /// [`DbError::NoSuchDevice`], or the store failed.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), DbError> {
        self.store.revoke_device(device).await
    }

    /// Notes that a device was seen now, and what it says of itself.
    ///
    /// # Errors
    /// [`DbError::NoSuchDevice`], or the store failed.
    pub async fn touch_device(&self, device: DeviceId, seen: DeviceSeen) -> Result<(), DbError> {
        self.store.touch_device(device, seen).await
    }

    /// A user's place in a workspace; `None` if he has none there.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn membership(&self, user: UserId, workspace: WorkspaceId) -> Result<Option<Membership>, DbError> {
        self.store.membership(user, workspace).await
    }

    /// The members of a workspace, its owner first.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn members(&self, workspace: WorkspaceId) -> Result<Vec<UserId>, DbError> {
        self.store.members(workspace).await
    }

    /// The workspaces of a user, the default one first, then by age.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn workspaces_of(&self, user: UserId) -> Result<Vec<WorkspaceView>, DbError> {
        self.store.workspaces_of(user).await
    }

    /// Makes a workspace that the user owns; his devices get a notice.
    ///
    /// # Errors
    /// [`DbError::NoSuchUser`], [`DbError::WorkspaceNameTaken`], or the store failed.
    pub async fn add_workspace(&self, user: UserId, name: Name, parent: Option<ItemId>) -> Result<WorkspaceView, DbError> {
        self.store.add_workspace(user, name, parent).await
    }

    /// Changes a member's own name and place for a workspace; his devices get a notice with this request id.
    ///
    /// # Errors
    /// [`DbError::NoAccess`], [`DbError::DefaultWorkspace`], [`DbError::WorkspaceNameTaken`], or the store failed.
    pub async fn update_membership(
        &self,
        user: UserId,
        workspace: WorkspaceId,
        name: Name,
        parent: Option<ItemId>,
        request_id: Option<String>,
    ) -> Result<WorkspaceView, DbError> {
        self.store.update_membership(user, workspace, name, parent, request_id).await
    }
}
