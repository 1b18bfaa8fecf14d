//! A private PostgreSQL that this program starts and that ends with it. With `E2E_DATASOURCE=postgresql` every server under test keeps
//! its metadata in a database of its own, in one that all stories share.

use crate::programs::checkout;
use crate::{ports, process};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Environment variable that chooses the store of the servers under test.
pub const DATASOURCE_ENV: &str = "E2E_DATASOURCE";

/// A database for one server.
#[derive(Clone, Debug)]
pub struct Database {
    port: u16,
    name: String,
}

/// A PostgreSQL.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    dir: PathBuf,
    _script: Child,
}

impl Database {
    /// A fresh one if servers are to use PostgreSQL; `None` if they use SQLite.
    ///
    /// # Panics
    /// If PostgreSQL cannot be started, or the variable says something else.
    pub fn wanted() -> Option<Self> {
        match std::env::var(DATASOURCE_ENV).unwrap_or_default().as_str() {
            "" | "sqlite" => None,
            "postgresql" => Some(Self::fresh()),
            other => panic!("{DATASOURCE_ENV} is '{other}'; it may be sqlite or postgresql"),
        }
    }

    /// A fresh one, whatever servers are to use.
    ///
    /// # Panics
    /// If PostgreSQL cannot be started.
    pub fn fresh() -> Self {
        Postgres::shared().database()
    }

    /// A fresh one in the PostgreSQL that listens there.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn fresh_at(port: u16) -> Self {
        Self::create(port, None)
    }

    fn create(port: u16, like: Option<&Self>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("story_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut words = vec!["database".to_owned(), port.to_string(), name.clone()];
        words.extend(like.map(|like| like.name.clone()));
        let status = Command::new(script()).args(words).status().expect("scripts/backends/postgres can be started");
        assert!(status.success(), "the database {name} cannot be made; see what scripts/backends/postgres says above");
        Self { port, name }
    }

    /// Another one with the same content; no server may be using this one.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self::create(self.port, Some(self))
    }

    /// Where it is, with the password.
    pub fn url(&self) -> String {
        format!("postgres://stacksync:stacksync@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// What a query finds, a line for each row.
    ///
    /// # Panics
    /// If it fails.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let output = Command::new(script()).args(["query", &self.port.to_string(), &self.name, sql]).output();
        let output = output.expect("scripts/backends/postgres can be started");
        assert!(output.status.success(), "{sql}: {}", process::printed(&output));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Postgres {
    /// The one that all stories share; none of them may disturb it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same with TLS; the folder has `ca.pem`, `cert.pem`, `key.pem`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(tls: Option<&Path>) -> Self {
        let port = ports::below_ephemeral(1);
        let dir = std::env::temp_dir().join(format!("stacksync-story-postgres-{}-{port}", std::process::id()));
        let mut command = Command::new(script());
        command
            .args(["run".as_ref(), dir.as_os_str(), port.to_string().as_ref()])
            .env("FSYNC", std::env::var_os("FSYNC").unwrap_or_else(|| "off".into()));
        if let Some(tls) = tls {
            command.env("TLS", tls);
        }
        let mut script =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("scripts/backends/postgres can be started");
        let mut said = String::new();
        let output = script.stdout.take().expect("it is a pipe");
        BufReader::new(output).read_line(&mut said).expect("the script can be read");
        assert_eq!(said, "ready\n", "PostgreSQL did not start; install postgresql-15, or see what the script says above");
        Self { port, dir, _script: script }
    }

    /// An empty database.
    pub fn database(&self) -> Database {
        Database::create(self.port, None)
    }

    /// Ends it like a crash: all its processes are killed.
    ///
    /// # Panics
    /// If the script fails.
    pub fn kill(&self) {
        self.run(&["kill"], None);
    }

    /// Ends it properly.
    ///
    /// # Panics
    /// If the script fails.
    pub fn pause(&self) {
        self.run(&["pause"], None);
    }

    /// Starts it again after it was ended.
    ///
    /// # Panics
    /// If it does not start.
    pub fn again(&self) {
        self.run(&["start", &self.port.to_string()], None);
    }

    /// The same with room for so many connections only.
    ///
    /// # Panics
    /// If it does not start.
    pub fn again_with_connections(&self, connections: u32) {
        self.run(&["start", &self.port.to_string()], Some(connections));
    }

    fn run(&self, arguments: &[&str], connections: Option<u32>) {
        let mut command = Command::new(script());
        if let Some(connections) = connections {
            command.env("MAX_CONNECTIONS", connections.to_string());
        }
        command.arg(arguments[0]).arg(&self.dir).args(&arguments[1..]).env("FSYNC", "off").stdout(Stdio::null());
        let status = command.status().expect("scripts/backends/postgres can be started");
        assert!(status.success(), "scripts/backends/postgres {arguments:?} failed; it said above why");
    }
}

pub(crate) fn script() -> PathBuf {
    checkout().join("scripts/backends/postgres")
}
