//! Reading connections: a few, each used by one thread at a time, on the runtime's blocking threads.
//!
//! Every read sees the state after some whole transaction; what another process wrote is seen at once.

use super::inline::Inline;
use super::{DbError, OpenError, open};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Reads that run at the same time.
const READERS: usize = 3;

#[derive(Clone)]
pub(super) enum Readers {
    Pool { idle: Arc<Mutex<Vec<Connection>>>, free: Arc<Semaphore> },
    Inline(Arc<Inline>),
}

impl Readers {
    pub(super) fn open(file: &Path) -> Result<Self, OpenError> {
        let idle = (0..READERS).map(|_| open::open_reader(file)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::Pool { idle: Arc::new(Mutex::new(idle)), free: Arc::new(Semaphore::new(READERS)) })
    }

    pub(super) const fn inline(inline: Arc<Inline>) -> Self {
        Self::Inline(inline)
    }

    /// Runs `read` in one read transaction.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let (idle, free) = match self {
            Self::Inline(inline) => return inline.read(read),
            Self::Pool { idle, free } => (Arc::clone(idle), Arc::clone(free)),
        };
        let permit = free.acquire_owned().await.map_err(|_| DbError::Unknown)?;
        let work = move || {
            let _permit = permit;
            let mut connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or(DbError::Unknown)?;
            let result = snapshot(&mut connection, read);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| DbError::Unknown)?
    }
}

pub(super) fn snapshot<T>(connection: &mut Connection, read: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, DbError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    read(&transaction)
}
