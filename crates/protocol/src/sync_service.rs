//! Requests, results and notices of the remote object `ISyncService`.

use crate::item::ItemMetadata;
use serde::{Deserialize, Serialize};
use stacksync_core::commit::Refusal;
use uuid::Uuid;

/// Changes that one answer may carry; more are asked for page by page.
pub const CHANGES_PAGE_MAX: u32 = 2_000;
/// Items that a notice carries itself; of larger commits it only says that they happened.
pub const NOTICE_ITEMS_MAX: usize = 100;

/// `getChanges`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetChangesRequest {
    /// The workspace.
    pub workspace_id: Uuid,
    /// Ours: only what changed after this revision, oldest change first; the result is then a [`Changes`]. Without it the result
    /// is what the original answered: a list of all items, deleted ones included, parents before children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Ours: at most so many items, up to [`CHANGES_PAGE_MAX`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// For the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Must be the caller, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
}

/// Result of `getChanges` with `since`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// The service's epoch: another one means that its metadata was replaced.
    pub epoch: Uuid,
    /// As asked.
    pub since: u64,
    /// Every change in `since + 1 ..= to` is in `items`. If it is below `head`, ask again from here.
    pub to: u64,
    /// The workspace's revision.
    pub head: u64,
    /// Latest version of each changed item, by ascending revision.
    pub items: Vec<ItemMetadata>,
}

/// `commit`. Sent asynchronously it is answered by the notice only, as in the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitRequest {
    /// The workspace.
    pub workspace_id: Uuid,
    /// Must be the calling device, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<Uuid>,
    /// In order: a folder before what is in it.
    pub items: Vec<ItemMetadata>,
    /// The same for every retry of one commit; the answer to a retry is the first answer. At most [`REQUEST_ID_BYTES_MAX`] bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Must be the caller, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
}

/// Longest request id, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// What became of one item of a commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommitInfo {
    /// The version that was sent.
    pub committed_version: i64,
    /// Whether it is saved (now, or was before).
    pub commit_succeed: bool,
    /// The item: as saved, or, if it was refused, as the service has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ItemMetadata>,
    /// Ours: why it was refused, one of the stable words of [`refusal_word`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ours: the same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ours: chunks that the storage lacks (perhaps not all of them).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_chunks: Option<Vec<String>>,
    /// Ours: the item that has the name, where the reason is `nameTaken`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<i64>,
    /// Ours: limit, use and need in bytes, where the reason is `quotaExceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<[u64; 3]>,
}

/// Result of a synchronous `commit`, and the notice `notifyCommit` to everyone who follows the workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommitNotification {
    /// One per item in the request's order. Left empty in a notice of more than [`NOTICE_ITEMS_MAX`] items.
    pub items: Vec<CommitInfo>,
    /// The owner's quota in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_quota: Option<i64>,
    /// What the owner uses of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_quota: Option<i64>,
    /// Of the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Ours: the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<Uuid>,
    /// Ours: the workspace's revision before this commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_revision: Option<u64>,
    /// Ours: and after it. The accepted versions took the revisions between, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_revision: Option<u64>,
    /// Ours: `items` is empty because there are too many; ask for the changes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub items_omitted: bool,
}

/// The stable word for a refusal.
pub const fn refusal_word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::WrongVersion => "wrongVersion",
        Refusal::UnknownItem => "unknownItem",
        Refusal::Foreign => "foreignItem",
        Refusal::KindChanged => "kindChanged",
        Refusal::ParentUnknown => "parentUnknown",
        Refusal::ParentDeleted => "parentDeleted",
        Refusal::ParentNotFolder => "parentNotFolder",
        Refusal::Cycle => "cycle",
        Refusal::TooDeep => "tooDeep",
        Refusal::NameTaken { .. } => "nameTaken",
        Refusal::NotEmpty => "notEmpty",
        Refusal::ChunksMissing(_) => "chunksMissing",
        Refusal::QuotaExceeded { .. } => "quotaExceeded",
        Refusal::Invalid(_) => "invalid",
    }
}

/// `getWorkspaces`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetWorkspacesRequest {
    /// For the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Must be the caller, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
}

/// A workspace as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Which workspace.
    pub id: Uuid,
    /// The member's name for it; `default` for the default workspace.
    pub name: String,
    /// Where the member keeps it: a folder of the default workspace; `id` is absent for the top.
    pub parent_item: ParentItem,
    /// Revision (the original always said 0).
    pub latest_revision: u64,
    /// Only the id is set.
    pub owner: Owner,
    /// Name of the storage container.
    pub swift_container: String,
    /// Base address of the storage; empty when bytes travel by ticket only.
    #[serde(rename = "swiftUrl")]
    pub swift_url: String,
    /// False for the default workspace.
    pub is_shared: bool,
    /// Whether chunks are encrypted by the clients.
    pub is_encrypted: bool,
    /// Ours: whether this is the member's default workspace.
    #[serde(default)]
    pub is_default: bool,
    /// Ours: the service's epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Uuid>,
}

/// See [`Workspace::parent_item`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ParentItem {
    /// The folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
}

/// See [`Workspace::owner`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub id: Uuid,
}

/// `updateDevice`; the result is the device's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateDeviceRequest {
    /// Absent: the calling device (the original registered a new one; ours does that when it joins).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<Uuid>,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// Operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Address, as the device sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Version of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// For the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Must be the caller, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
}

/// `updateWorkspace`: the member's own name and place for a workspace. No result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateWorkspaceRequest {
    /// Which workspace.
    pub workspace_id: Uuid,
    /// The member's name for it.
    pub workspace_name: String,
    /// A folder of the member's default workspace; absent: the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_item_id: Option<i64>,
    /// Comes back in the notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Must be the caller, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
}

/// `notifyUpdateWorkspace` to the member's devices. Also sent (with our own fields) when a workspace is added for a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateWorkspaceNotification {
    /// Which workspace.
    pub workspace_id: Uuid,
    /// The member's name for it.
    pub folder_name: String,
    /// Its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_item_id: Option<i64>,
    /// Of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// `getAccountInfo`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetAccountRequest {
    /// Must be the caller's, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// For the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Must be the caller, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
}

/// Result of `getAccountInfo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountInfo {
    /// The account.
    pub user_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its e-mail address.
    pub email: String,
    /// Bytes it may use.
    pub quota_limit: i64,
    /// Bytes it uses.
    pub quota_used: i64,
    /// Storage account; empty when bytes travel by ticket only.
    pub swift_tenant: String,
    /// Storage user; likewise.
    pub swift_user: String,
    /// Where to log in for the storage; likewise.
    pub swift_auth_url: String,
}

/// `createShareProposal`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareProposalRequest {
    /// With whom.
    pub emails: Vec<String>,
    /// Which folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<i64>,
    /// Whether the chunks shall be encrypted.
    #[serde(default)]
    pub is_encrypted: bool,
    /// Comes back in the notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Must be the caller, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
}
