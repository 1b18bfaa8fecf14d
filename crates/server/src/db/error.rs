//! What can go wrong with the metadata store, told by what the caller can do about it.

use rusqlite::ErrorCode;
use std::path::PathBuf;

/// Why a metadata store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer program has written it.
    #[error("{file}: has format {found}, this program knows formats up to {supported}; use a newer version of StackSync")]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        supported: i64,
    },
    /// It is not a metadata file, or its contents are damaged.
    #[error("{file}: is damaged or is not a StackSync metadata file ({reason}); restore it from a backup")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The file cannot be read, written or locked.
    #[error("{file}: cannot be opened: {reason}")]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A newer program has written the database.
    #[error("{place}: has format {found}, this program knows formats up to {supported}; use a newer version of StackSync")]
    NewerDatabase {
        /// The database, without its password.
        place: String,
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        supported: i64,
    },
    /// The database has not been brought to this program's format yet.
    #[error("{place}: has format {found}, this program needs format {supported}; start an instance of this version first")]
    OlderDatabase {
        /// The database, without its password.
        place: String,
        /// Its format.
        found: i64,
        /// The format that this program knows.
        supported: i64,
    },
    /// The database cannot take the tables, or holds others.
    #[error("{place}: is no database for StackSync ({reason}); give it an empty one")]
    ForeignDatabase {
        /// The database, without its password.
        place: String,
        /// What it says.
        reason: String,
    },
    /// The database does not let us in, or is not the one that it should be; waiting does not help.
    #[error("{place}: cannot be used: {reason}")]
    Refused {
        /// The database, without its password.
        place: String,
        /// Why.
        reason: String,
    },
    /// The database does not answer, or cannot serve now.
    #[error("{place}: cannot be used: {reason}")]
    Unreachable {
        /// The database, without its password.
        place: String,
        /// Why.
        reason: String,
    },
}

/// Why an operation was not carried out. Nothing of it was written, unless it is [`DbError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// Another account has this name.
    #[error("there is a user of that name already")]
    NameTaken,
    /// Another account has this e-mail address.
    #[error("there is a user with that e-mail address already")]
    EmailTaken,
    /// There is no such account.
    #[error("there is no such user")]
    NoSuchUser,
    /// There is no such device.
    #[error("there is no such device")]
    NoSuchDevice,
    /// There is no such workspace, or the user is not a member of it, or is disabled.
    #[error("there is no such workspace for this user")]
    NoAccess,
    /// Another workspace of the user has this name.
    #[error("the user has a workspace of that name already")]
    WorkspaceNameTaken,
    /// The default workspace keeps its name and place.
    #[error("the default workspace keeps its name and place")]
    DefaultWorkspace,
    /// The device used this request id for another commit.
    #[error("the request id was used for another commit")]
    RequestReused,
    /// A limit of the interface is exceeded.
    #[error("{what}: more than {limit}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// Another program holds the file for too long; try again.
    #[error("the metadata file is locked by another program")]
    Busy,
    /// No room on the disk; nothing was written.
    #[error("no space left for the metadata")]
    NoSpace,
    /// The metadata file is damaged.
    #[error("the metadata file is damaged: {0}")]
    Damaged(String),
    /// The database does not answer, or takes no writes now; try again later. Of a change it may not be known whether it was made.
    #[error("the metadata database cannot be used now: {0}")]
    Unavailable(String),
    /// Anything else that the store says.
    #[error("the metadata store failed: {0}")]
    Failed(String),
    /// The store was closed before the answer came: the operation may or may not have been carried out.
    #[error("the metadata store was closed")]
    Unknown,
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::NoSpace,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Why a join code was not honoured. To the outside all but `Db` are one and the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    /// Nobody made such a code, or it was used before.
    #[error("the join code is unknown or was used before")]
    Unknown,
    /// It is too old.
    #[error("the join code has expired")]
    Expired,
    /// The account is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// The store failed.
    #[error(transparent)]
    Db(#[from] DbError),
}
