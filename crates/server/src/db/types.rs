//! What goes in and out of the metadata store: plain records, no behaviour.

use stacksync_core::commit::{CommitAnswer, ItemCommit};
pub use stacksync_core::decide::PlaceRule;
use stacksync_core::values::{ChunkName, DeviceId, ItemId, Name, RemoteItem, Revision, Status, UserId, WorkspaceId};
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

/// A moment of the service's wall clock: milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// The service's clock, now.
    pub fn now() -> Self {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As usual.
    Allowed,
    /// Its devices are turned away, its data stays.
    Disabled,
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique, whatever its case.
    pub name: String,
    /// Unique; kept in lower case.
    pub email: String,
    /// Bytes that the account may use.
    pub quota_limit: u64,
    /// Argon2 hash in PHC form.
    pub password_phc: Option<String>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Which account.
    pub id: UserId,
    /// Its name.
    pub name: String,
    /// Its e-mail address, in lower case.
    pub email: String,
    /// Bytes that it may use.
    pub quota_limit: u64,
    /// Bytes that the live items of its workspaces hold.
    pub quota_used: u64,
    /// Argon2 hash of its password in PHC form. Never to be shown or logged.
    pub password_phc: Option<String>,
    /// Whether it may be used.
    pub access: Access,
    /// When it was made.
    pub created_at: UnixMs,
}

/// How an account is looked up.
#[derive(Clone, Debug)]
pub enum UserKey {
    /// By its id.
    Id(UserId),
    /// By its name, whatever the case.
    Name(String),
    /// By its e-mail address, whatever the case.
    Email(String),
}

/// A device that joins.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    /// Name for people.
    pub name: String,
    /// Operating system.
    pub os: String,
    /// Version of the program.
    pub app_version: String,
    /// Address that it was last seen at.
    pub ip: String,
}

/// One installation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Which device.
    pub id: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// Name for people.
    pub name: String,
    /// Operating system.
    pub os: String,
    /// Version of the program.
    pub app_version: String,
    /// Address that it was last seen at.
    pub ip: String,
    /// When it joined.
    pub created_at: UnixMs,
    /// When it was last seen.
    pub seen_at: UnixMs,
    /// Turned away for good.
    pub revoked: bool,
}

/// What a device says of itself when it is seen; `None` keeps what is known.
#[derive(Clone, Debug, Default)]
pub struct DeviceSeen {
    /// Name for people.
    pub name: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Version of the program.
    pub app_version: Option<String>,
    /// Its address.
    pub ip: Option<String>,
}

/// What a member may do in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads, writes, and pays with his quota.
    Owner,
    /// Reads and writes.
    Member,
}

/// A user's place in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// What he may do.
    pub role: Role,
    /// Whose workspace it is.
    pub owner: UserId,
}

/// A workspace as one of its members has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceView {
    /// Which workspace; also the name of its chunk container.
    pub id: WorkspaceId,
    /// The member's name for it.
    pub name: Name,
    /// The member's place for it: a folder of his default workspace, `None` for the top.
    pub parent: Option<ItemId>,
    /// How many versions it has accepted.
    pub revision: Revision,
    /// Whose it is.
    pub owner: UserId,
    /// What the member may do.
    pub role: Role,
    /// Whether it is the member's default workspace.
    pub is_default: bool,
    /// Whether it has other members than its owner.
    pub is_shared: bool,
    /// Whether its chunks are encrypted by the clients.
    pub is_encrypted: bool,
}

/// A commit as the service hands it to the store.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Where to.
    pub workspace: WorkspaceId,
    /// Who: must be a member and not disabled, which is checked in the commit's own transaction.
    pub user: UserId,
    /// The device that made the versions.
    pub device: DeviceId,
    /// The same for every retry, another one for every other commit of the device; at most `REQUEST_ID_BYTES_MAX` bytes. A commit
    /// that was refused and is tried again *because something changed* needs another one: the answer to this one stays.
    pub id: String,
    /// In order; at most `COMMIT_ITEMS_MAX`.
    pub items: Vec<ItemCommit>,
    /// Chunks that the storage is known to hold.
    pub present: HashSet<ChunkName>,
    /// What the places of the items mean.
    pub place_rule: PlaceRule,
}

/// What made the version that a verdict shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// What the version did.
    pub status: Status,
    /// The device that made it.
    pub device: DeviceId,
}

/// What became of a commit; durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOutcome {
    /// One verdict per item, and the revisions.
    pub answer: CommitAnswer,
    /// Per verdict: what made the version that it shows (`None` where it shows none).
    pub made: Vec<Option<Made>>,
    /// Bytes that the workspace's owner may use.
    pub quota_limit: u64,
    /// Bytes that he uses after this commit.
    pub quota_used: u64,
    /// This is the stored answer to an earlier try; nothing was written now.
    pub replay: bool,
}

/// The latest version of an item and what made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedItem {
    /// The item.
    pub item: RemoteItem,
    /// What its latest version did.
    pub status: Status,
    /// The device that made that version.
    pub device: DeviceId,
}

/// A page of changes of one workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The store's epoch.
    pub epoch: Uuid,
    /// Every change in `since + 1 ..= to` is in `items`, as the latest version of each item.
    pub to: Revision,
    /// The workspace's revision, seen at the same moment as the items.
    pub head: Revision,
    /// By ascending revision.
    pub items: Vec<ChangedItem>,
}

/// An item of a whole tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeItem {
    /// The item and what made its latest version.
    pub entry: ChangedItem,
    /// Depth from 1.
    pub level: u32,
}

/// Something that members' devices are to be told; stays stored until [`super::Db::outbox_done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Ascending without gaps.
    pub id: u64,
    /// What to tell, and to whom.
    pub content: NoticeContent,
}

/// See [`Notice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeContent {
    /// To everyone who follows the workspace.
    Commit {
        /// Which workspace.
        workspace: WorkspaceId,
        /// Its revision before the commit.
        from: Revision,
        /// And after it.
        to: Revision,
        /// The device that committed.
        device: DeviceId,
        /// The commit's id.
        request_id: String,
        /// The whole outcome. `None` when the service was started again since: ask `changes(workspace, from, ..)` if you want items.
        outcome: Option<Arc<CommitOutcome>>,
    },
    /// To one user's devices: a workspace was added, or its name or place for him changed.
    Workspace {
        /// Whose devices.
        user: UserId,
        /// Which workspace.
        workspace: WorkspaceId,
        /// The user's name for it.
        name: Name,
        /// The user's place for it.
        parent: Option<ItemId>,
        /// Of the request, if there was one.
        request_id: Option<String>,
    },
}
