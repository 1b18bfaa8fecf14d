//! With `E2E_DATASOURCE=postgresql` every server under test keeps its metadata in a database of its own, in a private PostgreSQL that
//! this program starts and that ends with it.

use crate::process;
use crate::programs::checkout;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
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

struct Instance {
    port: u16,
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
        Self::create(instance().port, None)
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
}

pub(crate) fn script() -> std::path::PathBuf {
    checkout().join("scripts/backends/postgres")
}

fn instance() -> &'static Instance {
    static INSTANCE: OnceLock<Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let dir = std::env::temp_dir().join(format!("stacksync-story-postgres-{}-{port}", std::process::id()));
        let mut script = Command::new(script())
            .args(["run".as_ref(), dir.as_os_str(), port.to_string().as_ref()])
            .env("FSYNC", std::env::var_os("FSYNC").unwrap_or_else(|| "off".into()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/backends/postgres can be started");
        let mut said = String::new();
        let output = script.stdout.take().expect("it is a pipe");
        BufReader::new(output).read_line(&mut said).expect("the script can be read");
        assert_eq!(said, "ready\n", "PostgreSQL did not start; install postgresql-15, or see what the script says above");
        Instance { port, _script: script }
    })
}
