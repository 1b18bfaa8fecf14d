//! How a run ends: the exit codes of the original, and one message for people.

use crate::config::ConfigError;
use crate::data_dir::DataDirError;
use std::fmt;

/// Exit codes; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Wrong options, or a command that could not be carried out.
    Usage = 1,
    /// The configuration file does not exist.
    NoConfigFile = 2,
    /// The metadata store is configured wrongly.
    DatabaseConfig = 3,
    /// The metadata store cannot be opened.
    Database = 4,
    /// ObjectMQ cannot be started.
    ObjectMq = 5,
    /// The HTTP door cannot be opened.
    Http = 6,
    /// The configuration or the data directory cannot be used.
    Config = 7,
    /// What was looked at is not as it should be.
    Unwell = 8,
}

/// Why a run failed: what happened, to what, what to do.
#[derive(Debug)]
pub struct Failure {
    /// For the shell.
    pub exit: Exit,
    /// For people.
    pub message: String,
    /// For standard output, all the same.
    pub printed: String,
}

impl Failure {
    /// A failure with this code.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), printed: String::new() }
    }

    /// The same, with something to be printed all the same.
    #[must_use]
    pub fn printing(self, printed: String) -> Self {
        Self { printed, ..self }
    }

    /// A command that could not be carried out.
    pub fn command(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.message.lines().enumerate() {
            write!(f, "{}ERROR: {line}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let exit = match error {
            ConfigError::NoFile(_) => Exit::NoConfigFile,
            ConfigError::Datasource(_) => Exit::DatabaseConfig,
            ConfigError::Unreadable { .. } | ConfigError::Wrong(_) => Exit::Config,
        };
        Self::new(exit, error)
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        Self::new(Exit::Config, error)
    }
}
