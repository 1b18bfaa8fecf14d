//! Where the suite's stores are: SQLite files in temporary directories, and databases of a private PostgreSQL that one test program
//! starts for itself.

use crate::db::{Db, PostgresPlace};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which store a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A place for one store, which nobody else uses.
pub enum Home {
    Sqlite(tempfile::TempDir),
    Postgres(Box<PostgresPlace>),
}

impl Home {
    pub async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::Sqlite(tempfile::tempdir().unwrap()),
            Kind::Postgres => Self::Postgres(Box::new(database().await)),
        }
    }

    /// Opens the store; again and again it is the same one.
    pub async fn open(&self) -> Db {
        match self {
            Self::Sqlite(_) => Db::open(&self.file()).unwrap(),
            Self::Postgres(place) => Db::connect(place).await.unwrap(),
        }
    }

    /// The SQLite file.
    pub fn file(&self) -> PathBuf {
        self.dir().join("stacksync.db")
    }

    /// Where the SQLite file is.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Sqlite(dir) => dir.path(),
            Self::Postgres(_) => panic!("a database has no directory"),
        }
    }

    /// The database, whether it takes writes or not.
    pub fn postgres_any(&self) -> Box<PostgresPlace> {
        Box::new(self.postgres().clone().read_only())
    }

    /// The database.
    pub fn postgres(&self) -> &PostgresPlace {
        match self {
            Self::Sqlite(_) => panic!("an SQLite file is no database of PostgreSQL"),
            Self::Postgres(place) => place,
        }
    }
}

/// A PostgreSQL of this process: it ends when the process does, because its standard input does.
pub struct Server {
    pub port: u16,
    _script: Child,
}

impl Server {
    /// Starts one; what it forgets in a power cut is no matter.
    fn start() -> Self {
        Self::run("postgres", &[])
    }

    /// Starts a pooler in transaction mode before the PostgreSQL of this port.
    pub fn pooler(behind: u16) -> Self {
        Self::run("pgbouncer", &[behind.to_string()])
    }

    fn run(what: &str, more: &[String]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/backends").join(what);
        let dir = std::env::temp_dir().join(format!("stacksync-test-{what}-{}-{port}", std::process::id()));
        let mut child = Command::new(&script)
            .args(["run".as_ref(), dir.as_os_str(), port.to_string().as_ref()])
            .args(more)
            .env("FSYNC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", script.display()));
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "{what} did not start; install postgresql-15 and pgbouncer, or see what {script:?} says above");
        Self { port, _script: child }
    }

    fn place(&self, database: &str) -> PostgresPlace {
        PostgresPlace::new("127.0.0.1", self.port, database, "stacksync", "stacksync")
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// An empty database.
pub async fn database() -> PostgresPlace {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = tokio::task::spawn_blocking(server).await.unwrap();
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    execute(&server.place("postgres"), &format!("CREATE DATABASE {name}")).await;
    let mut place = server.place(&name);
    place.connections_max = 6;
    place
}

/// Runs SQL on a connection of its own.
pub async fn execute(place: &PostgresPlace, sql: &str) {
    let (client, connection) = place.config.connect(tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// One number that SQL computes.
pub async fn number(place: &PostgresPlace, sql: &str) -> i64 {
    let (client, connection) = place.config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}
