//! A laptop: on or off, connected or not, with a clock of its own and one thread that saves the state.

use stacksync_core::engine::StateDelta;
use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub(super) struct Laptop {
    /// When the client starts again, in milliseconds; `None` while it runs.
    pub down_until: Option<u64>,
    pub online: bool,
    /// When it tries to connect (again).
    pub connect_at: u64,
    /// What its clock differs from the world's, in nanoseconds.
    pub clock_ns: i64,
    /// How often its client started.
    pub boots: u64,
    /// Steps of the state that are not durable yet, with the member's number, in order over all workspaces.
    pub saves: VecDeque<(usize, StateDelta)>,
    /// Notices on their way, in order: number of the member, and what it is told.
    pub notices: VecDeque<(usize, stacksync_core::engine::Notice)>,
}

impl Laptop {
    pub fn new() -> Self {
        Self {
            down_until: Some(0),
            online: false,
            connect_at: 0,
            clock_ns: 0,
            boots: 0,
            saves: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    pub const fn is_up(&self) -> bool {
        self.down_until.is_none()
    }
}
