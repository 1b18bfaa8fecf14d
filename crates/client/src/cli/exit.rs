//! How a command ends: a code for scripts, and for people what happened, to what, and what to do.

use crate::driver::BeginError;
use crate::home::HomeError;
use crate::session::{AddressError, ConnectError, HttpError, JoinCodeError, JoinError, TlsError};
use crate::state::StateError;
use std::process::ExitCode;

/// The codes of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; both sides agree.
    Done = 0,
    /// Wrong usage, or anything else.
    Other = 1,
    /// Problems remain, deletions are held, or the device is paused.
    NotInSync = 2,
    /// The service cannot be reached.
    Unreachable = 3,
    /// One side does not accept the other.
    Refused = 4,
    /// Another process has the home.
    Busy = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What happened, to what.
    pub message: String,
    /// What the person can do; empty where nothing is to be said.
    pub advice: String,
}

impl Failure {
    /// Any failure.
    pub fn new(exit: Exit, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: advice.into() }
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let (exit, advice) = match &error {
            HomeError::NoPlace => (Exit::Other, "Name a directory with --home or STACKSYNC_HOME."),
            HomeError::NotJoined(_) => (
                Exit::Other,
                "Join first: `stacksync join URL CODE DIR`; the code comes from `stacksync-server device invite USER`.",
            ),
            HomeError::AlreadyJoined { .. } => {
                (Exit::Other, "To keep another folder, use another --home; to start over here, `stacksync leave` first.")
            }
            HomeError::Locked { .. } => (Exit::Busy, "Stop it first, or use another --home for another device."),
            HomeError::Damaged { .. } => (
                Exit::Other,
                "`stacksync leave`, then join again with a new code: the folder is merged by content, nothing is lost.",
            ),
            HomeError::Newer { .. } => (Exit::Other, "Use the newer program, or another --home."),
            HomeError::Io { .. } => {
                (Exit::Other, "Check the permissions and the space there, or choose another place with --home.")
            }
        };
        Self::new(exit, error.to_string(), advice)
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let advice = match &error {
            StateError::Newer { .. } => "Use the newer program, or another --home.",
            StateError::Damaged { .. } => "The next `stacksync sync` puts it aside and starts afresh; no file is lost by that.",
            StateError::Failed { .. } => "Check the permissions and the space there.",
        };
        Self::new(Exit::Other, error.to_string(), advice)
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        Self::new(Exit::Other, error.to_string(), "The server prints its address when it starts, e.g. http://127.0.0.1:8181.")
    }
}

impl From<JoinCodeError> for Failure {
    fn from(error: JoinCodeError) -> Self {
        Self::new(Exit::Other, error.to_string(), "`stacksync-server device invite USER` prints a new one.")
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::new(Exit::Other, format!("cannot open encrypted connections: {error}"), "")
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let (exit, advice) = match &error {
            ConnectError::Unreachable { .. } => (Exit::Unreachable, "Is the server running, and the address right?"),
            ConnectError::Untrusted { .. } => (
                Exit::Refused,
                "Someone else may answer there, or the server has a new certificate: then leave and join again with a new code.",
            ),
        };
        Self::new(exit, error.to_string(), advice)
    }
}

impl From<BeginError> for Failure {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Home(error) => error.into(),
            BeginError::State(error) => error.into(),
            BeginError::Tls(error) => error.into(),
            BeginError::Folders(error) => Self::new(Exit::Other, error.to_string(), "Check the permissions and the space there."),
        }
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        let invite = "A code works once and for a limited time: `stacksync-server device invite USER` prints a new one.";
        let (exit, advice) = match error {
            JoinError::Http(HttpError::Connect(error)) => return error.into(),
            JoinError::Http(HttpError::Broken(_)) => {
                (Exit::Other, "Is this the address of a StackSync server, with the right scheme?")
            }
            JoinError::Http(HttpError::TooSlow) => (Exit::Unreachable, "Try again later."),
            JoinError::Code(_) => (Exit::Refused, invite),
            JoinError::Refused(_) => (Exit::Other, ""),
            JoinError::Incompatible(_) => (Exit::Other, "Check the address, and that both programs are of the same time."),
        };
        Self::new(exit, error.to_string(), advice)
    }
}
