//! Why a call is answered with an error: for the caller a kind and a sentence, for the log the cause.

use crate::db::DbError;
use objectmq::RemoteError;
use stacksync_chunks::store::StoreError;
use stacksync_protocol::fault;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The caller did not come through a door that knows him.
    #[error("the caller is not known")]
    NotAuthenticated,
    /// No such workspace, or the caller is not a member of it: he is not told which.
    #[error("There is no such workspace for you.")]
    NoAccess,
    /// The request names another user or device than the one that calls.
    #[error("The request names another {0} than the one that calls.")]
    NotYou(&'static str),
    /// The request makes no sense or breaks a limit.
    #[error("{0}")]
    Invalid(String),
    /// The account is gone.
    #[error("There is no such user.")]
    NoUser,
    /// The user has no workspaces.
    #[error("No workspaces found for the user.")]
    NoWorkspaces,
    /// The device could not be updated.
    #[error("{0}")]
    DeviceNotUpdated(String),
    /// The workspace's name or place could not be changed.
    #[error("{0}")]
    WorkspaceNotUpdated(String),
    /// Part of the interface, but not of this version.
    #[error("{0}")]
    Later(&'static str),
    /// The message was undecodable, or the method unknown.
    #[error("{0}")]
    Remote(#[from] RemoteError),
    /// The metadata store failed.
    #[error("metadata: {0}")]
    Db(DbError),
    /// The chunk storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else failed.
    #[error("{0}")]
    Failed(String),
}

impl Fault {
    /// Whether it is a failure of the service, and not an answer to what was asked.
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Db(_) | Self::Store(_) | Self::Failed(_))
    }
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Self {
        match error {
            DbError::NoAccess => Self::NoAccess,
            DbError::NoSuchUser => Self::NoUser,
            DbError::RequestReused | DbError::TooMuch { .. } => Self::Invalid(format!("{error}.")),
            DbError::NameTaken
            | DbError::EmailTaken
            | DbError::NoSuchDevice
            | DbError::WorkspaceNameTaken
            | DbError::DefaultWorkspace
            | DbError::Busy
            | DbError::NoSpace
            | DbError::Damaged(_)
            | DbError::Unavailable(_)
            | DbError::Failed(_)
            | DbError::Unknown => Self::Db(error),
        }
    }
}

impl From<Fault> for RemoteError {
    fn from(fault: Fault) -> Self {
        let kind = match &fault {
            Fault::NotAuthenticated | Fault::NoAccess | Fault::NotYou(_) => fault::ACCESS_DENIED,
            Fault::Invalid(_) => fault::INVALID_REQUEST,
            Fault::NoUser => fault::USER_NOT_FOUND,
            Fault::NoWorkspaces => fault::NO_WORKSPACES_FOUND,
            Fault::DeviceNotUpdated(_) => fault::DEVICE_NOT_UPDATED,
            Fault::WorkspaceNotUpdated(_) => fault::WORKSPACE_NOT_UPDATED,
            Fault::Later(_) => fault::SHARE_PROPOSAL_NOT_CREATED,
            Fault::Remote(error) => return error.clone(),
            Fault::Db(DbError::NoSpace) | Fault::Store(StoreError::Full { .. }) => {
                return Self::failed("The service's disk is full. Free some space there; nothing was lost.");
            }
            Fault::Store(StoreError::Unavailable(_) | StoreError::Denied { .. }) => {
                return Self::failed("The chunk storage does not answer the service. Nothing is lost; it is tried again.");
            }
            Fault::Db(DbError::Unavailable(_)) => {
                return Self::failed("The service's database does not answer at the moment. Nothing is lost; try again later.");
            }
            // The cause is for the log only.
            Fault::Db(_) | Fault::Store(_) | Fault::Failed(_) => {
                return Self::failed("The service failed; its log says why. Try again.");
            }
        };
        Self::new(kind, fault.to_string())
    }
}
