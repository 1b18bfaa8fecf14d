//! A server under test: its data in a directory of its own, on a free port of this machine.

use crate::postgres::Database;
use crate::rabbit::VirtualHost;
use crate::storage::Storage;
use crate::{http, process, programs, wait};
use process::Running;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

/// Longest run of an administrative command.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// A server, running or not.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    /// Where its metadata is, if it is not in its data directory.
    database: Option<Database>,
    /// Where its chunks are, if they are not in its data directory.
    storage: Option<Storage>,
    /// The message broker that it uses, if any.
    broker: Option<VirtualHost>,
    /// Further settings, as environment variables.
    settings: BTreeMap<String, String>,
    running: Option<Running>,
}

/// What a device needs to join.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Address of the server.
    pub url: String,
    /// One-time code, with the certificate's fingerprint if there is one.
    pub code: String,
}

impl Server {
    /// A server that is not started yet, with everything below `dir`.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn new(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (data, log) = (dir.join("data"), dir.join("server.log"));
        Self {
            program: programs::server(),
            data,
            log,
            address,
            database: Database::wanted(),
            storage: Storage::wanted(),
            broker: VirtualHost::wanted(),
            settings: BTreeMap::new(),
            running: None,
        }
    }

    /// The same with its metadata in a database of PostgreSQL, or in its data directory.
    #[must_use]
    pub fn with_database(mut self, database: Option<Database>) -> Self {
        self.database = database;
        self
    }

    /// The same with its chunks there, or in its data directory.
    #[must_use]
    pub fn with_storage(mut self, storage: Option<Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Makes it keep its chunks there, or in its data directory, from the next start on.
    pub fn keep_chunks_in(&mut self, storage: Option<Storage>) {
        self.storage = storage;
    }

    /// Where its chunks are, if not in its data directory.
    pub const fn storage(&self) -> Option<&Storage> {
        self.storage.as_ref()
    }

    /// The same with a message broker, or without.
    #[must_use]
    pub fn with_broker(mut self, broker: Option<VirtualHost>) -> Self {
        self.broker = broker;
        self
    }

    /// The message broker that it uses.
    pub fn broker(&self) -> Option<&VirtualHost> {
        self.broker.as_ref()
    }

    /// Sets an environment variable of its configuration from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Where its metadata is, if not in its data directory.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The same with another build of the program.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes it listen elsewhere from the next start on.
    pub fn listen(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The file with what it printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it is not running.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").pid()
    }

    /// The command line of the server itself, before it is run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data).env("STACKSYNC_HTTP_LISTEN", self.address.to_string());
        if let Some(database) = &self.database {
            command.env("STACKSYNC_DATASOURCE", "postgresql").env("STACKSYNC_POSTGRESQL_URL", database.url());
        }
        if let Some(storage) = &self.storage {
            storage.configure(&mut command);
        }
        if let Some(broker) = &self.broker {
            command.envs(broker.environment());
        }
        command.envs(&self.settings);
        command
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start(&mut self) {
        self.start_with(self.command());
    }

    /// As [`Server::start`], by a command of the caller's.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn start_with(&mut self, command: Command) {
        self.spawn(command);
        self.wait_until_ready();
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready, or does not run.
    pub fn wait_until_ready(&mut self) {
        let address = self.address;
        let log = self.log.clone();
        let running = self.running.as_mut().expect("it was started");
        wait::until("the server is ready", || {
            assert!(running.ended().is_none(), "the server ended:\n{}", process::tail(&log));
            match http::get(address, "/readyz") {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("/readyz says {status} {body}")),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self, command: Command) {
        self.kill();
        self.running = Some(Running::start(command, &self.log));
    }

    /// Waits until it has told its address in the data directory: what to wait for where `/readyz` cannot be asked without TLS.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for_address(&mut self) {
        let file = self.data.join("server.json");
        let running = self.running.as_mut().expect("the server was started");
        wait::until("the server tells its address", || {
            assert!(running.ended().is_none(), "the server ended:\n{}", running.log_tail());
            if file.exists() { Ok(()) } else { Err(running.log_tail()) }
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    /// Whether it has ended by itself, or was never started.
    pub fn ended(&mut self) -> bool {
        self.running.as_mut().is_none_or(|running| running.ended().is_some())
    }

    /// SIGTERM; waits until it ended.
    ///
    /// # Panics
    /// If it was not running.
    pub fn stop(&mut self) -> ExitStatus {
        self.running.take().expect("the server runs").terminate()
    }

    /// What the process has used.
    pub fn usage(&self) -> process::Usage {
        self.running.as_ref().map(Running::usage).unwrap_or_default()
    }

    /// Its metrics page.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn metrics(&self) -> String {
        http::get(self.address, "/metrics").expect("the server answers").1
    }

    /// Makes it keep its metadata there from the next start on.
    pub fn keep_metadata_in(&mut self, database: Database) {
        self.database = Some(database);
    }

    /// A copy of everything that it keeps; it must not run.
    ///
    /// # Panics
    /// If there is no room.
    pub fn back_up(&self, to: &Path) -> Backup {
        copy(&self.data, to);
        Backup { data: to.to_path_buf(), database: self.database.as_ref().map(Database::copied) }
    }

    /// Puts a copy in the place of everything that it keeps; it must not run.
    ///
    /// # Panics
    /// If there is no room.
    pub fn restore(&mut self, backup: &Backup) {
        copy(&backup.data, &self.data);
        self.database = backup.database.as_ref().map(Database::copied);
    }

    /// Runs a command of `stacksync-server` beside it.
    pub fn admin_output(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments);
        process::run(command, COMMAND_PATIENCE)
    }

    /// Runs a command that must succeed, with `--json`, and reads what it prints.
    ///
    /// # Panics
    /// If it fails or prints something else.
    pub fn admin(&self, arguments: &[&str]) -> Value {
        let output = self.admin_output(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "stacksync-server {arguments:?} failed:\n{}", process::printed(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("stacksync-server {arguments:?} printed no JSON ({error}):\n{}", process::printed(&output))
        })
    }

    /// Makes an account with room for everything.
    pub fn add_user(&self, name: &str) -> Invitation {
        invitation(&self.admin(&["user", "add", name, "--email", &format!("{name}@example.org")]))
    }

    /// Makes an account with a limit, e.g. `10MiB`.
    pub fn add_user_with_quota(&self, name: &str, quota: &str) -> Invitation {
        invitation(&self.admin(&["user", "add", name, "--email", &format!("{name}@example.org"), "--quota", quota]))
    }

    /// Another join code.
    pub fn invite(&self, name: &str) -> Invitation {
        invitation(&self.admin(&["device", "invite", name]))
    }

    /// The stored chunks.
    pub fn chunk_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.data.join("chunks")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(_) if name.len() == 64 => found.push(entry.path()),
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }
}

/// What [`Server::back_up`] made.
#[derive(Debug)]
pub struct Backup {
    data: PathBuf,
    database: Option<Database>,
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "{} cannot be copied to {}", from.display(), to.display());
}

fn invitation(answer: &Value) -> Invitation {
    let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned();
    Invitation { url: text("url"), code: text("join_code") }
}
