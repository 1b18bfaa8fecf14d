//! What a metadata store offers: whole transactions, not tables. [`super::Db`] says what each of them means and who may rely on it;
//! a store is what passes the suite in `tests`, which is the same for all of them.

use super::bundles::Bundles;
use super::inline::{Copy, CopyError};
use super::request::RequestKey;
use super::{
    Access, ChangedItem, Changes, Commit, CommitResult, DbError, DbStats, Device, DeviceSeen, Membership, NewDevice, NewUser,
    Notice, RedeemError, TreeItem, UnixMs, User, UserKey, WorkspaceView,
};
use futures_util::future::BoxFuture;
use stacksync_core::values::{DeviceId, ItemId, Name, Revision, UserId, WorkspaceId};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The answer of a store.
pub(super) type Answer<'a, T> = BoxFuture<'a, Result<T, DbError>>;

/// A metadata store. Each operation is the one of the same name of [`super::Db`], where it is described.
pub(super) trait Store: Bundles + Send + Sync {
    fn epoch(&self) -> Uuid;
    fn stats(&self) -> DbStats;
    /// Of a store in memory only.
    fn copy(&self) -> Result<Option<Copy>, CopyError> {
        Ok(None)
    }
    /// Of a store that many instances share only.
    fn clock_ahead_ms(&self) -> i64 {
        0
    }
    /// Of a store that many instances share only.
    fn announce(&self, _address: &str) {}
    /// Of a store that many instances share only.
    fn is_alone(&self) -> bool {
        false
    }
    /// Of a store that many instances share only.
    fn told_elsewhere(&self, _workspace: WorkspaceId, _up_to: Revision) {}
    /// Of a store that many instances share only.
    fn shared_secret(&self, _name: String, _first: Zeroizing<Vec<u8>>) -> Answer<'_, Option<Zeroizing<Vec<u8>>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// Of a store that many instances share only.
    fn heads(&self, _workspaces: Vec<WorkspaceId>) -> Answer<'_, Vec<(WorkspaceId, Revision)>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    fn check(&self) -> Answer<'_, ()>;

    /// Within the limits, which the caller has checked.
    fn commit(&self, commit: Commit, key: RequestKey) -> BoxFuture<'_, CommitResult>;
    /// `limit` is at least 1.
    fn changes(&self, workspace: WorkspaceId, since: Revision, limit: u32) -> Answer<'_, Changes>;
    fn tree(&self, workspace: WorkspaceId) -> Answer<'_, Vec<TreeItem>>;
    fn bodies(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Vec<u8>>>;
    fn item(&self, workspace: WorkspaceId, id: ItemId) -> Answer<'_, Option<ChangedItem>>;

    /// `None` from the second call on.
    fn outbox(&self) -> Option<Box<dyn NoticeSource>>;
    fn outbox_done(&self, up_to: u64) -> Answer<'_, ()>;

    fn add_user(&self, new: NewUser) -> Answer<'_, User>;
    fn user(&self, key: UserKey) -> Answer<'_, Option<User>>;
    fn users(&self) -> Answer<'_, Vec<User>>;
    fn set_quota(&self, user: UserId, quota_limit: u64) -> Answer<'_, ()>;
    fn set_password(&self, user: UserId, phc: Option<String>) -> Answer<'_, ()>;
    fn set_access(&self, user: UserId, access: Access) -> Answer<'_, ()>;
    fn remove_user(&self, user: UserId) -> Answer<'_, Vec<WorkspaceId>>;

    fn add_join_code(&self, user: UserId, code_hash: [u8; 32], expires_at: UnixMs) -> Answer<'_, ()>;
    fn redeem_join_code(
        &self,
        code_hash: [u8; 32],
        device: NewDevice,
        token_hash: [u8; 32],
    ) -> BoxFuture<'_, Result<(User, Device), RedeemError>>;
    fn device_by_token(&self, token_hash: [u8; 32]) -> Answer<'_, Option<(User, Device)>>;
    fn device(&self, device: DeviceId) -> Answer<'_, Option<(User, Device)>>;
    fn turned_away(&self, devices: Vec<DeviceId>) -> Answer<'_, Vec<DeviceId>>;
    fn devices(&self, user: UserId) -> Answer<'_, Vec<Device>>;
    fn revoke_device(&self, device: DeviceId) -> Answer<'_, ()>;
    fn touch_device(&self, device: DeviceId, seen: DeviceSeen) -> Answer<'_, ()>;

    fn membership(&self, user: UserId, workspace: WorkspaceId) -> Answer<'_, Option<Membership>>;
    fn members(&self, workspace: WorkspaceId) -> Answer<'_, Vec<UserId>>;
    fn workspaces_of(&self, user: UserId) -> Answer<'_, Vec<WorkspaceView>>;
    fn add_workspace(&self, user: UserId, name: Name, parent: Option<ItemId>) -> Answer<'_, WorkspaceView>;
    fn update_membership(
        &self,
        user: UserId,
        workspace: WorkspaceId,
        name: Name,
        parent: Option<ItemId>,
        request_id: Option<String>,
    ) -> Answer<'_, WorkspaceView>;
}

/// Where an [`super::Outbox`] has its notices from.
pub(super) trait NoticeSource: Send {
    /// Makes the publisher known to others, where there may be any.
    fn enter(&mut self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// Waits for one notice and adds those that need no waiting, at most `limit` in all. Empty once the store is closed. May be
    /// dropped while it waits; nothing is lost by that.
    fn next_many(&mut self, limit: usize) -> Answer<'_, Vec<Notice>>;
    /// The next notice if there is one now.
    fn next_now(&mut self) -> Answer<'_, Option<Notice>>;
}
