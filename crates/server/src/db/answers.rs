//! Stored answers to commits, so that a retry gets the first answer.
use super::Commit;

/// What identifies a commit of a device.
pub(super) struct RequestKey;

impl RequestKey {
    pub(super) fn of(_commit: &Commit) -> Self {
        Self
    }
}
