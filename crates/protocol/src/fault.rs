//! Kinds of the errors that the service's objects answer calls with: class names, as the original had them.
//!
//! What has a kind of this package is an answer: asking again does not help. A failure of the service, which may pass, has the kind
//! that the middleware itself uses. The text that comes with a kind is for people.

/// No such user (original).
pub const USER_NOT_FOUND: &str = "com.stacksync.commons.exceptions.UserNotFoundException";
/// The device is not the caller's (original).
pub const DEVICE_NOT_VALID: &str = "com.stacksync.commons.exceptions.DeviceNotValidException";
/// The device was not updated (original).
pub const DEVICE_NOT_UPDATED: &str = "com.stacksync.commons.exceptions.DeviceNotUpdatedException";
/// The user has no workspaces (original).
pub const NO_WORKSPACES_FOUND: &str = "com.stacksync.commons.exceptions.NoWorkspacesFoundException";
/// The folder was not shared (original).
pub const SHARE_PROPOSAL_NOT_CREATED: &str = "com.stacksync.commons.exceptions.ShareProposalNotCreatedException";
/// The workspace's name or place was not changed (original).
pub const WORKSPACE_NOT_UPDATED: &str = "com.stacksync.commons.exceptions.WorkspaceNotUpdatedException";
/// Ours: there is no such workspace for the caller, or the request names somebody else.
pub const ACCESS_DENIED: &str = "com.stacksync.commons.exceptions.AccessDeniedException";
/// Ours: the request breaks a limit or makes no sense.
pub const INVALID_REQUEST: &str = "com.stacksync.commons.exceptions.InvalidRequestException";
