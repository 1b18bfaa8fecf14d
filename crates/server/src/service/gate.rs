//! The one place that decides who may do what with a workspace.
//!
//! Every operation on a workspace takes an [`Authorized`], and only [`Gate::workspace`] makes one. What a request says about its
//! sender is never believed, only compared ([`Principal::check`]).

use super::Fault;
use super::belief::Beliefs;
use crate::db::{Access, Db, Membership, Role};
use stacksync_core::values::{DeviceId, UserId, WorkspaceId};
use std::time::Duration;
use uuid::Uuid;

/// How long a membership that was looked up is believed. A commit looks again, in its own transaction.
const BELIEF: Duration = Duration::from_secs(1);

/// Who calls, as the door found out by the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
}

impl Principal {
    /// Compares what a request says about its sender with who he is.
    ///
    /// # Errors
    /// [`Fault::NotYou`].
    pub fn check(&self, user: Option<Uuid>, device: Option<Uuid>) -> Result<(), Fault> {
        if user.is_some_and(|user| user != self.user.0) {
            return Err(Fault::NotYou("user"));
        }
        if device.is_some_and(|device| device != self.device.0) {
            return Err(Fault::NotYou("device"));
        }
        Ok(())
    }
}

/// Proof that a caller may read and write a workspace.
#[derive(Clone, Copy, Debug)]
pub struct Authorized<'a> {
    caller: &'a Principal,
    workspace: WorkspaceId,
}

impl Authorized<'_> {
    /// The workspace.
    pub const fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Who may.
    pub const fn caller(&self) -> &Principal {
        self.caller
    }
}

/// Decides.
pub struct Gate {
    db: Db,
    members: Beliefs<(UserId, WorkspaceId), ()>,
}

impl Gate {
    /// A gate that looks memberships up here.
    pub fn new(db: Db) -> Self {
        Self { db, members: Beliefs::new(BELIEF) }
    }

    /// Lets the caller work with the workspace if he is a member of it.
    ///
    /// # Errors
    /// [`Fault::NoAccess`], also where there is no such workspace; or the store failed.
    pub async fn workspace<'a>(&self, caller: &'a Principal, workspace: WorkspaceId) -> Result<Authorized<'a>, Fault> {
        let key = (caller.user, workspace);
        if self.members.of(&key).is_none() {
            // Owners and members may do the same, so far.
            let Membership { role: Role::Owner | Role::Member, .. } =
                self.db.membership(caller.user, workspace).await?.ok_or(Fault::NoAccess)?;
            self.members.note(key, ());
        }
        Ok(Authorized { caller, workspace })
    }

    /// Whether the device may come in now, with whatever it was given before: it is not revoked, and its user is neither disabled
    /// nor gone.
    ///
    /// # Errors
    /// [`Fault::NoAccess`], or the store failed.
    pub async fn device(&self, device: DeviceId) -> Result<Principal, Fault> {
        let (user, device) = self.db.device(device).await?.ok_or(Fault::NoAccess)?;
        if device.revoked || user.access == Access::Disabled {
            return Err(Fault::NoAccess);
        }
        Ok(Principal { user: user.id, device: device.id })
    }
}
