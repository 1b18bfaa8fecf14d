//! What PostgreSQL does with one commit per transaction, by its own program: the rows of a commit in one prepared statement.

use super::backends::Postgres;
use crate::measure::undisturbed;
use crate::process;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A workspace for each client; an item, its version, two chunks, the workspace's next revision, and a notice to be told.
const SCHEMA: &str = "
CREATE TABLE workspace (id bigint PRIMARY KEY, revision bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO workspace SELECT number, 0 FROM generate_series(0, 255) number;
CREATE TABLE item (id bigint PRIMARY KEY, workspace bigint NOT NULL REFERENCES workspace, latest_version bigint NOT NULL,
    parent bigint, name text NOT NULL, kind smallint NOT NULL);
CREATE INDEX item_workspace ON item (workspace);
CREATE TABLE version (id bigint PRIMARY KEY, item bigint NOT NULL REFERENCES item, version bigint NOT NULL, device uuid NOT NULL,
    modified bigint NOT NULL, adler32 bigint NOT NULL, status smallint NOT NULL, size bigint NOT NULL, UNIQUE (item, version));
CREATE TABLE chunk (version bigint NOT NULL REFERENCES version, number integer NOT NULL, name bytea NOT NULL,
    PRIMARY KEY (version, number));
CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, workspace bigint NOT NULL, revision bigint NOT NULL,
    device uuid NOT NULL, request text NOT NULL);
";

const COMMIT: &str = r"\set item random(1, 9223372036854775807)
WITH revised AS (UPDATE workspace SET revision = revision + 1 WHERE id = :client_id RETURNING id, revision), saved AS (INSERT INTO item VALUES (:item, :client_id, 1, NULL, 'file ' || :item, 0)), made AS (INSERT INTO version VALUES (:item, :item, 1, '11111111-2222-3333-4444-555555555555', 1700000000000000000, 1, 0, 59)), chunks AS (INSERT INTO chunk VALUES (:item, 1, '\x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'), (:item, 2, '\xfedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210')) INSERT INTO outbox (workspace, revision, device, request) SELECT id, revision, '11111111-2222-3333-4444-555555555555', 'request ' || :item FROM revised;
";

/// Tables of its own beside those of the service, and the script that fills them.
#[derive(Debug)]
pub struct PgBench<'a> {
    postgres: &'a Postgres,
    database: String,
    script: PathBuf,
}

impl<'a> PgBench<'a> {
    /// Makes the tables in a database of their own.
    ///
    /// # Panics
    /// If that fails.
    pub fn new(postgres: &'a Postgres, dir: &Path) -> Self {
        let script = dir.join("commit.sql");
        std::fs::write(&script, COMMIT).expect("a file can be written");
        let database = postgres.database();
        postgres.sql(&database, SCHEMA);
        Self { postgres, database, script }
    }

    /// Transactions per second, of so many clients on two threads.
    ///
    /// # Panics
    /// If `pgbench` is missing or fails.
    pub fn run(&self, clients: usize, seconds: usize) -> f64 {
        let mut pgbench = undisturbed(&self.postgres.program("pgbench", &self.database));
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-T", &seconds.to_string(), "-f"]);
        pgbench.arg(&self.script);
        let output = process::run(pgbench, Duration::from_secs(seconds as u64 + 60));
        let said = process::printed(&output);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench told no rate:\n{said}"))
    }
}
