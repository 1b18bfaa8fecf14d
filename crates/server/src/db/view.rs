//! The commit rule's view over a transaction.
