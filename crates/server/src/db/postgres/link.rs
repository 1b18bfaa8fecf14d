//! Connections to the database, and transactions on them.
//!
//! A transaction that met another one (deadlock, serialization, a row that came first) is run again, which nobody notices; one whose
//! connection broke before it was to be committed, too. What broke while it was being committed may have happened: only commits, which
//! know themselves again, are repeated then. A connection never goes back to the pool with an open transaction.

use super::place::{PostgresPlace, PostgresTls, Statements};
use super::tls;
use crate::db::DbError;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::future::{BoxFuture, join_all};
use stacksync_chunks::crash_point;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, Row};

/// The driver's error.
pub(in crate::db) type SqlError = tokio_postgres::Error;
/// Arguments of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How long a caller waits for a free connection.
const FREE_WAIT: Duration = Duration::from_secs(5);
/// How long a connection may take to be made, all hosts of the place together.
const CREATE_WAIT: Duration = Duration::from_secs(10);
/// How long one transaction may take.
const WORK_WAIT: Duration = Duration::from_secs(60);
/// Times that a transaction is tried which meets others.
pub(super) const TRIES_MAX: u32 = 12;
/// Times that one is tried whose connection breaks.
pub(super) const TRIES_BROKEN_MAX: u32 = 3;
/// Connections that reads and small writes may use at the same time; more would only wait for each other in the database.
const CONNECTIONS_USEFUL: usize = 24;

/// A statement and the types of its arguments.
pub(super) struct Query {
    pub sql: &'static str,
    pub types: &'static [Type],
}

/// A statement: its text, then the names of its arguments' types.
macro_rules! query {
    ($sql:expr $(, $kind:ident)* $(,)?) => {
        $crate::db::postgres::link::Query { sql: $sql, types: const { &[$(tokio_postgres::types::Type::$kind),*] } }
    };
}
pub(super) use query;

const BEGIN: Query = query!("BEGIN");
const COMMIT: Query = query!("COMMIT");

/// Why a transaction came to no good end.
#[derive(Debug)]
pub(super) enum Stop<E> {
    /// It has an answer, and nothing of it may stay.
    Answer(E),
    /// The database said so.
    Sql(SqlError),
}

impl<E> From<SqlError> for Stop<E> {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<DbError> for Stop<DbError> {
    fn from(error: DbError) -> Self {
        Self::Answer(error)
    }
}

/// Whether an error stays, however long one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Somebody has to change something.
    Yes,
    /// It may pass by itself.
    No,
}

/// Judges why there is no connection.
fn lasting(error: &SqlError) -> Lasting {
    // 28: who one is; 3D: there is no such database; 42501: may not connect.
    let refused = |code: &SqlState| ["28", "3D", "42501"].iter().any(|prefix| code.code().starts_with(prefix));
    if error.code().is_some_and(refused) {
        return Lasting::Yes;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(deeper) = cause {
        let inner = deeper.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).or_else(|| deeper.downcast_ref());
        // Nobody speaks TLS there, or somebody else does.
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) || deeper.to_string().contains("does not support TLS") {
            return Lasting::Yes;
        }
        cause = deeper.source();
    }
    Lasting::No
}

/// What an error of the database means for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It met another one; the next try may go well.
    Again,
    /// The database or the way to it is gone, for now.
    Gone,
    /// It will fail again.
    Final,
}

/// Judges an error.
pub(super) fn class(error: &SqlError) -> Class {
    let Some(code) = error.code() else { return Class::Gone };
    let again = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::UNIQUE_VIOLATION,
        SqlState::FOREIGN_KEY_VIOLATION,
    ];
    if again.contains(code) {
        return Class::Again;
    }
    // 08: connections, 57P: the operator intervenes, 53: resources, 28: who one is, 3D: the database is not there.
    let gone = ["08", "57P", "28", "3D"].iter().any(|prefix| code.code().starts_with(prefix));
    let busy = code.code().starts_with("53") && *code != SqlState::DISK_FULL;
    match gone || busy || *code == SqlState::READ_ONLY_SQL_TRANSACTION || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT {
        true => Class::Gone,
        false => Class::Final,
    }
}

/// An error as the store tells it.
pub(in crate::db) fn told(error: &SqlError) -> DbError {
    let code = error.code().map_or("", SqlState::code);
    match class(error) {
        Class::Gone => DbError::Unavailable(described(error)),
        Class::Again => DbError::Busy,
        Class::Final if code == SqlState::DISK_FULL.code() => DbError::NoSpace,
        Class::Final if code.starts_with("XX") => DbError::Damaged(described(error)),
        Class::Final => DbError::Failed(described(error)),
    }
}

/// An error with its causes, in one line.
pub(super) fn described(error: &SqlError) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}

/// A pause before the next try, longer each time, and not the same for everybody.
pub(super) async fn pause(tries: u32) {
    let longest_ms = 4_u64 << tries.min(6);
    let mut random = [0; 1];
    // Without randomness they wait equally long.
    let _ = getrandom::fill(&mut random);
    tokio::time::sleep(Duration::from_millis(1 + longest_ms * u64::from(random[0]) / 255)).await;
}

/// The connections.
#[derive(Clone)]
pub(in crate::db) struct Links {
    pool: Pool,
    statements: Statements,
}

impl Links {
    /// Connects to nothing yet.
    pub(in crate::db) fn new(place: &PostgresPlace) -> Result<Self, String> {
        let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match place.tls {
            PostgresTls::Off => Manager::from_config(place.config.clone(), NoTls, settings),
            PostgresTls::Unverified | PostgresTls::Verified { .. } => {
                Manager::from_config(place.config.clone(), tls::connector(place)?, settings)
            }
        };
        let pool = Pool::builder(manager)
            .max_size(place.connections_max.clamp(2, CONNECTIONS_USEFUL))
            .wait_timeout(Some(FREE_WAIT))
            .create_timeout(Some(CREATE_WAIT))
            .recycle_timeout(Some(FREE_WAIT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { pool, statements: place.statements })
    }

    /// Makes a connection, and says whether it would help to wait if there is none.
    pub(super) async fn enter(&self) -> Result<(), (Lasting, String)> {
        match self.pool.get().await {
            Ok(_) => Ok(()),
            Err(PoolError::Backend(error)) => Err((lasting(&error), described(&error))),
            Err(error) => Err((Lasting::No, error.to_string())),
        }
    }

    /// A connection.
    pub(in crate::db) async fn link(&self) -> Result<Link, DbError> {
        match self.pool.get().await {
            Ok(client) => Ok(Link { client: Some(client), statements: self.statements, open: AtomicBool::new(false) }),
            Err(PoolError::Backend(error)) => Err(DbError::Unavailable(described(&error))),
            Err(PoolError::Timeout(_)) => Err(DbError::Unavailable("no connection to it became free in time".into())),
            Err(error) => Err(DbError::Unavailable(error.to_string())),
        }
    }

    /// Lets go of idle connections: they lead to a database that does not serve any more.
    pub(super) fn forget_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    /// One statement that only reads, in a transaction of its own.
    pub(super) async fn read(&self, query: &Query, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        let [rows] = self.read_all([(query, params)]).await?;
        Ok(rows)
    }

    /// Several of them, each in a transaction of its own, at once.
    pub(super) async fn read_all<const N: usize>(&self, calls: [(&Query, Params<'_>); N]) -> Result<[Vec<Row>; N], DbError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let link = self.link().await?;
            let rows = tokio::time::timeout(WORK_WAIT, link.pipeline(&calls)).await;
            match rows {
                Ok(Ok(rows)) => {
                    let mut rows = rows.into_iter();
                    return Ok(std::array::from_fn(|_| rows.next().unwrap_or_default()));
                }
                Ok(Err(error)) => {
                    self.note(&error);
                    if class(&error) == Class::Final || tries >= TRIES_BROKEN_MAX {
                        return Err(told(&error));
                    }
                }
                Err(_) => return Err(link.late()),
            }
        }
    }

    /// A transaction.
    pub(super) async fn write<T, E: From<DbError>>(
        &self,
        run: impl for<'a> Fn(&'a Link) -> BoxFuture<'a, Result<T, Stop<E>>>,
    ) -> Result<T, E> {
        let mut tries = 0;
        loop {
            tries += 1;
            let link = self.link().await?;
            let ended = match tokio::time::timeout(WORK_WAIT, transact(&link, &run)).await {
                Ok(ended) => ended,
                Err(_) => return Err(link.late().into()),
            };
            let (error, committing) = match ended {
                Ok(answer) => return Ok(answer),
                Err((Stop::Answer(error), _)) => return Err(error),
                Err((Stop::Sql(error), committing)) => (error, committing),
            };
            self.note(&error);
            let more = match class(&error) {
                Class::Again => tries < TRIES_MAX,
                Class::Gone => !committing && tries < TRIES_BROKEN_MAX,
                Class::Final => false,
            };
            if !more {
                return Err(told(&error).into());
            }
            drop(link);
            pause(tries).await;
        }
    }

    /// Draws conclusions from an error.
    pub(super) fn note(&self, error: &SqlError) {
        if class(error) == Class::Gone {
            self.forget_idle();
        }
    }
}

/// Runs and commits; says with an error whether it came while the transaction was being committed.
async fn transact<T, E>(
    link: &Link,
    run: &impl for<'a> Fn(&'a Link) -> BoxFuture<'a, Result<T, Stop<E>>>,
) -> Result<T, (Stop<E>, bool)> {
    link.begin().await.map_err(|error| (Stop::Sql(error), false))?;
    match run(link).await {
        Ok(answer) => match link.commit().await {
            Ok(()) => Ok(answer),
            Err(error) => Err((Stop::Sql(error), true)),
        },
        Err(stop) => {
            link.roll_back().await;
            Err((stop, false))
        }
    }
}

/// One connection, for a while.
pub(in crate::db) struct Link {
    /// `None` only while it is being dropped.
    client: Option<Object>,
    statements: Statements,
    /// A transaction is open.
    open: AtomicBool,
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.open.load(Ordering::Relaxed)
            && let Some(client) = self.client.take()
        {
            // Without its connection the database rolls the transaction back.
            drop(Object::take(client));
        }
    }
}

impl Link {
    /// `BEGIN` and `COMMIT` for a [`Self::pipeline`]; the caller says so with [`Self::opened`] and [`Self::closed`].
    pub(super) const fn border() -> (&'static Query, &'static Query) {
        (&BEGIN, &COMMIT)
    }

    pub(in crate::db) fn opened(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    pub(in crate::db) fn closed(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    async fn begin(&self) -> Result<(), SqlError> {
        self.opened();
        self.rows(&BEGIN, &[]).await.map(|_| ())
    }

    async fn commit(&self) -> Result<(), SqlError> {
        crash_point!("pg-write.before-commit");
        self.rows(&COMMIT, &[]).await?;
        crash_point!("pg-write.after-commit");
        self.closed();
        Ok(())
    }

    /// If it does not work the connection is of no use any more, and is not used any more.
    pub(super) async fn roll_back(&self) {
        if self.rows(&query!("ROLLBACK"), &[]).await.is_ok() {
            self.closed();
        }
    }

    /// It took too long; the connection is given up.
    fn late(&self) -> DbError {
        self.opened();
        DbError::Unavailable(format!("it did not answer within {} s", WORK_WAIT.as_secs()))
    }

    /// The rows of a statement.
    pub(super) async fn rows(&self, query: &Query, params: Params<'_>) -> Result<Vec<Row>, SqlError> {
        let Some(client) = &self.client else { return Ok(Vec::new()) };
        match self.statements {
            Statements::Kept => {
                let statement = client.prepare_typed_cached(query.sql, query.types).await?;
                client.query(&statement, params).await
            }
            Statements::Whole => {
                let typed: Vec<_> = params.iter().copied().zip(query.types.iter().cloned()).collect();
                client.query_typed(query.sql, &typed).await
            }
        }
    }

    /// The first row of a statement.
    pub(super) async fn first(&self, query: &Query, params: Params<'_>) -> Result<Option<Row>, SqlError> {
        Ok(self.rows(query, params).await?.into_iter().next())
    }

    /// Runs a statement that changes rows; returns how many.
    pub(super) async fn run(&self, query: &Query, params: Params<'_>) -> Result<u64, SqlError> {
        let Some(client) = &self.client else { return Ok(0) };
        match self.statements {
            Statements::Kept => {
                let statement = client.prepare_typed_cached(query.sql, query.types).await?;
                client.execute(&statement, params).await
            }
            Statements::Whole => {
                let typed: Vec<_> = params.iter().copied().zip(query.types.iter().cloned()).collect();
                client.execute_typed(query.sql, &typed).await
            }
        }
    }

    /// The rows of a statement that is made up on the spot.
    pub(in crate::db) async fn ask(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, SqlError> {
        match &self.client {
            Some(client) => client.query_typed(sql, params).await,
            None => Ok(Vec::new()),
        }
    }

    /// Runs several commands that take no arguments.
    pub(in crate::db) async fn script(&self, sql: &str) -> Result<(), SqlError> {
        match &self.client {
            Some(client) => client.batch_execute(sql).await,
            None => Ok(()),
        }
    }

    /// Sends all statements at once, in order, and waits for all of them. In a transaction that fails everything after an error fails
    /// too, a COMMIT included: the first error is the one that counts.
    pub(super) async fn pipeline(&self, calls: &[(&Query, Params<'_>)]) -> Result<Vec<Vec<Row>>, SqlError> {
        self.prepare(calls.iter().map(|(query, _)| *query)).await?;
        self.send(calls).await
    }

    /// As [`Self::pipeline`], with a last statement, whose rows are of no interest; `between` is called when only that is waited for.
    pub(super) async fn pipeline_and(
        &self,
        calls: &[(&Query, Params<'_>)],
        last: &Query,
        between: impl FnOnce(),
    ) -> Result<Vec<Vec<Row>>, SqlError> {
        self.prepare(calls.iter().map(|(query, _)| *query).chain([last])).await?;
        let first = async {
            let rows = self.send(calls).await;
            between();
            rows
        };
        // Polled in this order.
        let (rows, ended) = tokio::join!(biased; first, self.rows(last, &[]));
        let rows = rows?;
        ended.map(|_| rows)
    }

    /// So that whatever is sent later is sent without waiting.
    async fn prepare(&self, queries: impl Iterator<Item = &Query>) -> Result<(), SqlError> {
        if let (Some(client), Statements::Kept) = (&self.client, self.statements) {
            for query in queries {
                client.prepare_typed_cached(query.sql, query.types).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, calls: &[(&Query, Params<'_>)]) -> Result<Vec<Vec<Row>>, SqlError> {
        // Each is sent when it is polled first, and they are polled in order.
        let sent = calls.iter().map(|(query, params)| self.rows(query, params));
        join_all(sent).await.into_iter().collect()
    }
}
