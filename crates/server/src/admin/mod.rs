//! The commands for users, workspaces and devices. They work on the data directory itself, beside a running server or without one; a
//! running server hears of their changes by itself, within seconds.

mod cluster;
mod copy;
mod device;
mod import;
mod invite;
mod migrate;
mod print;
mod recover;
mod storage;
mod user;
mod workspace;

use crate::cli::exit::Failure;
use crate::cli::{ClusterCommand, Command};
use crate::config::{Config, Datasource};
use crate::data_dir::DataDir;
use crate::db::import::Told;
use crate::db::{Db, DbError, User, UserKey};
use crate::process;
use print::Report;
use uuid::Uuid;

/// What a command works with.
struct Admin<'a> {
    config: &'a Config,
    data: DataDir,
    db: Db,
}

/// Whether the data directory may be made by this command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// There must be one.
    Data,
    /// It is made if it is not there.
    Place,
}

/// Carries a command out. The result is what it prints.
///
/// # Errors
/// What could not be done, and what to do.
pub fn run(config: &Config, command: &Command) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::command(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::User(command) => user::run(config, command).await,
            Command::Workspace(command) => workspace::run(config, command).await,
            Command::Device(command) => device::run(config, command).await,
            Command::Cluster(ClusterCommand::Status { expect, output }) => cluster::status(config, *expect, *output).await,
            Command::Storage(command) => storage::run(config, command).await,
            Command::Copy { to, output } => copy::run(config, to).await.map(|report| report.print(*output)),
            Command::Import { from, time_zone, quota_unit, chunks, passwords, output } => {
                let told = Told { time_zone: time_zone.clone(), quota_unit: *quota_unit };
                let old = import::Old { chunks: chunks.as_deref(), passwords: passwords.as_deref() };
                import::run(config, from, &told, &old).await.map(|report| report.print(*output))
            }
            Command::Completions { .. } => Ok(String::new()),
        }
    })
}

impl<'a> Admin<'a> {
    async fn open(config: &'a Config, need: Need) -> Result<Self, Failure> {
        let data = match (need, &config.datasource) {
            (Need::Data, Datasource::Sqlite) => DataDir::open(&config.data)?,
            // What the command is about is elsewhere.
            (Need::Data, Datasource::Postgresql(_)) | (Need::Place, _) => DataDir::open_or_create(&config.data)?,
        };
        let db = process::open_db(config, &data).await?;
        Ok(Self { config, data, db })
    }

    /// The user whom somebody means: by id, e-mail address or name.
    async fn user(&self, text: &str) -> Result<User, Failure> {
        let key = match Uuid::parse_str(text) {
            Ok(id) => UserKey::Id(stacksync_core::values::UserId(id)),
            Err(_) if text.contains('@') => UserKey::Email(text.to_owned()),
            Err(_) => UserKey::Name(text.to_owned()),
        };
        let found = self.db.user(key).await?;
        found.ok_or_else(|| Failure::command(format!("there is no user '{text}'; 'stacksync-server user list' shows all")))
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::command(error)
    }
}
