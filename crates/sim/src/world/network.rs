//! Calls on their way: requests to the service, answers back. What is lost is found out by its caller after a while, as by the real
//! client; a request whose caller is gone may still arrive.

use objectmq::{RawValue, RemoteError};
use stacksync_core::commit::ItemCommit;
use stacksync_core::values::CommitId;
use std::sync::Arc;

/// The longest wait for an answer, in milliseconds, as of the real client.
pub(super) const ANSWER_MAX_MS: u64 = 60_000;

/// A call of a laptop.
#[derive(Debug)]
pub(super) struct Call {
    pub laptop: usize,
    /// Number of the member.
    pub member: usize,
    pub about: About,
    pub stage: Stage,
    /// From when on it goes on.
    pub ready_at: u64,
    /// When its caller gives up; `None`: nobody waits for it any more.
    pub gives_up_at: Option<u64>,
}

/// What a call asks.
#[derive(Clone, Debug)]
pub(super) enum About {
    Commit { id: CommitId, items: Arc<[ItemCommit]> },
    Changes,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// On its way to the service: the method and its encoded parameter.
    Request(&'static str, Box<RawValue>),
    /// On its way back.
    Answer(Result<Box<RawValue>, RemoteError>),
    /// Nowhere any more.
    Lost,
}
