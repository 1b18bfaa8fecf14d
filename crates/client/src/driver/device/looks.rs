//! What the device shows of itself, and whether it is done.

use super::{Device, End, Stay};
use crate::driver::clock;
use crate::driver::ending::{self, Known, Standing};
use crate::driver::member::Member;
use crate::driver::overview::Overview;
use crate::driver::snapshot::Snapshot;
use tokio::time::Instant;

impl Device {
    pub(super) async fn keep_snapshots(&mut self) {
        let now = clock::unix_ns();
        for (&id, member) in &mut self.members {
            let snapshot = Snapshot::of(&member.status.borrow(), &self.trouble, now);
            if !snapshot.says_the_same(&member.kept) {
                self.around.shared.state.status(id, snapshot.to_json()).await;
                member.kept = snapshot;
            }
        }
    }

    /// What whoever watches is shown.
    pub(super) fn look(&self) -> Overview {
        let meter = self.around.transfer.meter();
        let now = clock::unix_ns();
        let snapshot = |member: &Member| (member.entry.name.clone(), Snapshot::of(&member.status.borrow(), &self.trouble, now));
        Overview {
            connected: self.connected,
            trouble: self.trouble.clone(),
            paused: self.wishes.paused,
            sent_bytes: meter.sent_bytes(),
            received_bytes: meter.received_bytes(),
            workspaces: self.members.values().map(snapshot).collect(),
        }
    }

    pub(super) fn once(&mut self) -> Option<End> {
        if self.stay == Stay::ForGood {
            return None;
        }
        let look = self.look();
        let progress = look.progress() + self.around.transfer.meter().read_bytes() + self.around.transfer.meter().written_bytes();
        if progress != self.moved_on.1 || !self.connected {
            self.moved_on = (Instant::now(), progress);
        }
        let standing = |member: &Member| {
            let status = member.status.borrow();
            let in_sync = Snapshot::of(&status, "", 0).in_sync();
            // The engine has to have heard of it too, so that its reason is told.
            let root_lost = member.root_lost() && status.problems.iter().any(|problem| problem.path.is_top());
            Standing { settled: status.settled, in_sync, root_lost }
        };
        let workspaces: Vec<Standing> = self.members.values().map(standing).collect();
        let snapshots = || look.workspaces.iter().map(|(_, snapshot)| snapshot);
        let known = Known {
            listed: self.listed && !workspaces.is_empty(),
            workspaces: &workspaces,
            paused: self.wishes.paused,
            offline: (!self.connected).then(|| self.offline_since.elapsed()),
            untrusted: self.link.is_untrusted(),
            still: self.moved_on.0.elapsed(),
            problems: !self.trouble.is_empty() || snapshots().any(|snapshot| !snapshot.problems.is_empty()),
            busy: snapshots().any(|snapshot| snapshot.uploads + snapshot.applies > 0),
        };
        ending::ending(&known).map(End::Once)
    }
}
