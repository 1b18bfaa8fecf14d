//! When `sync --once` is over, and how: a pure rule over what the device knows.

use std::time::Duration;

/// How long `--once` waits for a connection, the first one or another one.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long it tries again what fails, while nothing else gets on.
pub const STALL_MAX: Duration = Duration::from_secs(15);
/// How long it waits for a connected service that does not answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(90);

/// What is known of one workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Nothing to do and nothing under way.
    pub settled: bool,
    /// Without anything left out.
    pub in_sync: bool,
    /// Its folder is missing or is another one.
    pub root_lost: bool,
}

/// What is known of the device.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// The user's workspaces were asked for since the program started, and each of them runs.
    pub listed: bool,
    /// The workspaces.
    pub workspaces: &'a [Standing],
    /// A person paused it.
    pub paused: bool,
    /// How long there has been no connection; `None`: there is one.
    pub offline: Option<Duration>,
    /// Who answers there is not the service that this device knows.
    pub untrusted: bool,
    /// How long nothing has got on: no item, no byte, no revision.
    pub still: Duration,
    /// Something is told to be wrong.
    pub problems: bool,
    /// Something is under way.
    pub busy: bool,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides agree.
    InSync,
    /// What can be done is done; the rest is told.
    NotInSync,
    /// A person paused the device.
    Paused,
    /// There is no connection.
    Unreachable,
    /// Who answers there is not the service that this device knows.
    Untrusted,
    /// There is a connection, but no answer.
    Silent,
}

/// `None`: it goes on.
pub fn ending(known: &Known<'_>) -> Option<Ending> {
    let over = |standing: &Standing| standing.settled || standing.root_lost;
    if known.paused {
        return Some(Ending::Paused);
    }
    // Without its folder a workspace has nothing to do, connected or not.
    if known.workspaces.iter().any(|standing| standing.root_lost) && known.workspaces.iter().all(over) {
        return Some(Ending::NotInSync);
    }
    if let Some(offline) = known.offline {
        if known.untrusted {
            return Some(Ending::Untrusted);
        }
        return (offline >= CONNECT_MAX).then_some(Ending::Unreachable);
    }
    if !known.listed || !known.workspaces.iter().all(over) {
        let stalled = known.problems && known.still >= STALL_MAX;
        let silent = !known.busy && known.still >= ANSWER_MAX;
        return if stalled { Some(Ending::NotInSync) } else { silent.then_some(Ending::Silent) };
    }
    let in_sync = known.workspaces.iter().all(|standing| standing.in_sync);
    Some(if in_sync { Ending::InSync } else { Ending::NotInSync })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Standing = Standing { settled: false, in_sync: false, root_lost: false };
    const DONE: Standing = Standing { settled: true, in_sync: true, root_lost: false };
    const LEFT: Standing = Standing { settled: true, in_sync: false, root_lost: false };
    const LOST: Standing = Standing { settled: false, in_sync: false, root_lost: true };

    #[test]
    fn once_is_over_when_nothing_more_can_be_done() {
        let s = Duration::from_secs;
        let known = |workspaces, offline, still| Known { listed: true, workspaces, offline, still, ..Known::default() };
        for (known, expected) in [
            (known(&[BUSY], None, s(0)), None),
            (known(&[DONE], None, s(0)), Some(Ending::InSync)),
            (known(&[DONE, BUSY], None, s(0)), None),
            (known(&[DONE, LEFT], None, s(0)), Some(Ending::NotInSync)),
            (known(&[LOST], None, s(0)), Some(Ending::NotInSync)),
            (known(&[LOST], Some(s(1)), s(0)), Some(Ending::NotInSync)),
            (known(&[LOST, BUSY], None, s(0)), None),
            (known(&[BUSY], Some(s(1)), s(0)), None),
            (known(&[BUSY], Some(CONNECT_MAX), s(0)), Some(Ending::Unreachable)),
            (Known { untrusted: true, ..known(&[BUSY], Some(s(0)), s(0)) }, Some(Ending::Untrusted)),
            // What was in sync before the line broke may not be any more.
            (known(&[DONE], Some(s(1)), s(0)), None),
            (known(&[BUSY], None, ANSWER_MAX), Some(Ending::Silent)),
            (Known { busy: true, ..known(&[BUSY], None, ANSWER_MAX) }, None),
            (Known { busy: true, problems: true, ..known(&[BUSY], None, s(1)) }, None),
            (Known { busy: true, problems: true, ..known(&[BUSY], None, STALL_MAX) }, Some(Ending::NotInSync)),
            (Known { listed: false, ..known(&[DONE], None, s(0)) }, None),
            (Known { listed: false, ..known(&[], None, s(0)) }, None),
            (Known { paused: true, ..known(&[DONE], None, s(0)) }, Some(Ending::Paused)),
        ] {
            assert_eq!(ending(&known), expected, "{known:?}");
        }
    }
}
