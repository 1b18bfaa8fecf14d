//! PostgreSQL and RabbitMQ for one benchmark, by the scripts of the repository. They end with it.

use crate::process::{self, pid_in};
use crate::programs::checkout;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// RabbitMQ needs this many ports in a row.
const PORTS: u16 = 10;
/// Longest run of a program of PostgreSQL.
const PATIENCE: Duration = Duration::from_secs(60);

/// A back-end that runs.
#[derive(Debug)]
struct Backend {
    port: u16,
    dir: PathBuf,
    script: Child,
}

impl Backend {
    fn start(script: &str, dir: &Path) -> Self {
        let port = free_ports();
        let mut command = Command::new(checkout().join("scripts/backends").join(script));
        command.args(["run".as_ref(), dir.as_os_str(), port.to_string().as_ref()]).env_remove("FSYNC");
        let mut script =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut said = String::new();
        BufReader::new(script.stdout.take().expect("it is a pipe")).read_line(&mut said).expect("the script can be read");
        assert_eq!(said, "ready\n", "{command:?} did not start it; it says above why");
        Self { port, dir: dir.to_path_buf(), script }
    }

    /// The process whose number the script left in this file.
    fn pid(&self, file: &str) -> u32 {
        pid_in(&self.dir.join(file))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // The script ends it when its input ends.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// The first of so many ports in a row that nobody has.
fn free_ports() -> u16 {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let first = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        if first < u16::MAX - PORTS && (first..first + PORTS).all(free) {
            return first;
        }
    }
}

/// A RabbitMQ.
#[derive(Debug)]
pub struct Rabbit(Backend);

impl Rabbit {
    /// Starts one, with everything in this directory.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(dir: &Path) -> Self {
        Self(Backend::start("rabbitmq", dir))
    }

    /// Where it listens, on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.0.port
    }

    /// The process of its only node.
    pub fn pid(&self) -> u32 {
        self.0.pid("0/pid")
    }
}

/// A PostgreSQL that makes durable what it commits.
#[derive(Debug)]
pub struct Postgres {
    backend: Backend,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts one, with everything in this directory.
    ///
    /// # Panics
    /// If it does not start, or does not make durable what it commits.
    pub fn start(dir: &Path) -> Self {
        let postgres = Self { backend: Backend::start("postgres", dir), databases: AtomicU32::new(0) };
        let settings = postgres.sql("postgres", "SELECT current_setting('fsync') || current_setting('synchronous_commit')");
        assert_eq!(settings, "onon", "PostgreSQL does not write to the disk what it commits");
        postgres
    }

    /// Makes another database; its name.
    ///
    /// # Panics
    /// If that fails.
    pub fn database(&self) -> String {
        let name = format!("bench_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Where a database is, with the password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://stacksync:stacksync@127.0.0.1:{}/{database}", self.backend.port)
    }

    /// The process whose children do the work.
    pub fn pid(&self) -> u32 {
        self.backend.pid("pid")
    }

    /// A program of PostgreSQL that is to work in a database.
    pub fn program(&self, name: &str, database: &str) -> Command {
        let mut command = Command::new(name);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.backend.port.to_string());
        command.env("PGUSER", "stacksync").env("PGPASSWORD", "stacksync").env("PGDATABASE", database);
        command
    }

    /// Runs statements in a database; what they say.
    ///
    /// # Panics
    /// If they fail.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut command = self.program("psql", database);
        command.args(["-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let output = process::run(command, PATIENCE);
        assert!(output.status.success(), "{}", process::printed(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
