//! The publisher's end of the outbox: notices of what is durable, in order.

use super::store::NoticeSource;
use super::{DbError, Notice};

/// Notices to be published: first those that an earlier run left, then each new one right after its transaction.
pub struct Outbox {
    source: Box<dyn NoticeSource>,
}

impl Outbox {
    pub(super) const fn new(source: Box<dyn NoticeSource>) -> Self {
        Self { source }
    }

    /// Makes this publisher known to others on the same store, before devices are let in.
    ///
    /// # Errors
    /// If the store failed; it becomes known later then.
    pub async fn enter(&mut self) -> Result<(), DbError> {
        self.source.enter().await
    }

    /// The next notice, in order; waits for it. `None` once the store is closed.
    ///
    /// May be dropped while it waits; nothing is lost by that.
    ///
    /// # Errors
    /// If the store cannot be read; call again.
    pub async fn next(&mut self) -> Result<Option<Notice>, DbError> {
        Ok(self.source.next_many(1).await?.pop())
    }

    /// The next notice, in order, if there is one now.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_now(&mut self) -> Result<Option<Notice>, DbError> {
        self.source.next_now().await
    }

    /// Waits for the next notice and adds those that need no waiting, at most `limit` in all. Empty once the store is closed.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_many(&mut self, limit: usize) -> Result<Vec<Notice>, DbError> {
        self.source.next_many(limit).await
    }
}
