//! The door for clients of the original StackSync. They bring no credentials: a request says who sends it, and that is believed. So
//! the door is shut unless the configuration opens it, and then only for the users and workspaces that it names; within that, a
//! request may do what the user whom it names may do.

use super::account::{get_account_info, update_device, update_workspace};
use super::belief::Beliefs;
use super::border::Sender;
use super::commit::{Answered, commit};
use super::read::{get_whole_tree, get_workspaces};
use super::{Answer, Context, Fault, Principal, encoded, finished};
use crate::accounts::secret::{JoinCode, Token};
use crate::config::OriginalClients;
use crate::db::{Access, Db, NewDevice, UnixMs, User, UserKey};
use objectmq::{BoxFuture, Incoming, RawValue, RemoteError, RemoteObject};
use serde::Deserialize;
use stacksync_core::values::{DeviceId, UserId, WorkspaceId};
use stacksync_protocol::sync_service::UpdateDeviceRequest;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// How long it is believed that something is told to a workspace or user, or not.
const BELIEF: Duration = Duration::from_secs(2);
/// How long it is believed that a user and his device may come in: as long as a session of a device of ours may outlive that. A commit
/// looks again at the user, in its own transaction.
const ADMITTED: Duration = Duration::from_secs(1);
/// Life of the code by which a device is registered, in milliseconds: it never leaves this process.
const CODE_LIFETIME_MS: i64 = 60_000;

/// Who may come in, and where to.
pub struct OriginalDoor {
    allowed: OriginalClients,
    db: Db,
    users: Beliefs<UserId, bool>,
    workspaces: Beliefs<WorkspaceId, bool>,
    admitted: Beliefs<UserId, ()>,
    devices: Beliefs<DeviceId, Principal>,
    /// One at a time: such an answer is held as a whole.
    whole_trees: Semaphore,
}

impl OriginalDoor {
    /// A door that is open as far as this says.
    pub fn new(allowed: OriginalClients, db: Db) -> Self {
        Self {
            allowed,
            db,
            users: Beliefs::new(BELIEF),
            workspaces: Beliefs::new(BELIEF),
            admitted: Beliefs::new(ADMITTED),
            devices: Beliefs::new(ADMITTED),
            whole_trees: Semaphore::new(1),
        }
    }

    /// The user, if he may come in.
    async fn user(&self, key: UserKey) -> Result<User, Fault> {
        let user = self.db.user(key).await?.ok_or(Fault::NoUser)?;
        let open = user.access == Access::Allowed && self.allowed.names(&user.id.to_string(), &user.name, &user.email);
        if open { Ok(user) } else { Err(Fault::NoUser) }
    }

    /// Lets the user in, or turns him away.
    async fn admit(&self, user: UserId) -> Result<(), Fault> {
        if self.admitted.of(&user).is_none() {
            self.user(UserKey::Id(user)).await?;
            self.admitted.note(user, ());
        }
        Ok(())
    }

    /// Whether the user may come in. A failure counts as no.
    pub async fn knows(&self, user: UserId) -> bool {
        match self.users.of(&user) {
            Some(known) => known,
            None => {
                let known = self.user(UserKey::Id(user)).await.is_ok();
                self.users.note(user, known)
            }
        }
    }

    /// Whether what happens in the workspace may be told out there: it is one of the named ones, if there are any, and somebody who
    /// may come in is a member of it. A failure counts as no.
    pub async fn opens(&self, workspace: WorkspaceId) -> bool {
        if !self.allowed.includes(workspace) {
            return false;
        }
        if let Some(known) = self.workspaces.of(&workspace) {
            return known;
        }
        let mut open = false;
        for member in self.db.members(workspace).await.unwrap_or_default() {
            open = open || self.knows(member).await;
        }
        self.workspaces.note(workspace, open)
    }
}

/// What a request says about its sender.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Claim {
    user_id: Option<Uuid>,
    device_id: Option<Uuid>,
    workspace_id: Option<Uuid>,
    email: Option<String>,
}

/// `ISyncService` as clients of the original know it.
pub struct OriginalService {
    /// What it works with.
    pub context: Arc<Context>,
    /// Who may come in.
    pub door: Arc<OriginalDoor>,
}

impl RemoteObject for OriginalService {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        Box::pin(async move {
            let started = Instant::now();
            let answer = self.answer(&incoming).await;
            finished(&self.context.metrics, &incoming, started, answer)
        })
    }
}

impl OriginalService {
    async fn answer(&self, incoming: &Incoming) -> Answer {
        let context = &*self.context;
        let claim: Claim = incoming.param()?;
        match &*incoming.method {
            "commit" => {
                let caller = self.caller(&claim).await?;
                self.check_workspace(&claim)?;
                let how = if incoming.asynchronous { Answered::ByNotice } else { Answered::Directly };
                encoded(&commit(context, &caller, incoming.param()?, Sender::Original, how).await?)
            }
            "getChanges" => {
                let caller = self.caller(&claim).await?;
                self.check_workspace(&claim)?;
                // Never closed; without it the answer is only not spared.
                let _turn = self.door.whole_trees.acquire().await;
                get_whole_tree(context, &caller, incoming.param()?).await
            }
            "getWorkspaces" => {
                let caller = self.caller(&claim).await?;
                let mut workspaces = get_workspaces(context, &caller, incoming.param()?).await?;
                workspaces.retain(|workspace| self.door.allowed.includes(WorkspaceId(workspace.id)));
                // The original never counted; its field has 32 bits.
                workspaces.iter_mut().for_each(|workspace| workspace.latest_revision = 0);
                if workspaces.is_empty() { Err(Fault::NoWorkspaces) } else { encoded(&workspaces) }
            }
            "getAccountInfo" => {
                let email = claim.email.ok_or_else(|| Fault::Invalid("email is missing.".to_owned()))?;
                let user = self.door.user(UserKey::Email(email)).await?;
                encoded(&get_account_info(context, &without_device(user.id), incoming.param()?).await?)
            }
            "updateDevice" => encoded(&self.update_device(&claim, incoming.param()?).await?),
            "updateWorkspace" => {
                let caller = self.caller(&claim).await?;
                self.check_workspace(&claim)?;
                encoded(&update_workspace(context, &caller, incoming.param()?).await?)
            }
            "createShareProposal" => Err(Fault::Later("Sharing is not part of this version of the service.")),
            method => Err(Fault::Remote(RemoteError::unknown_method(method))),
        }
    }

    /// The user whom the request names, with his device, if it names one.
    async fn caller(&self, claim: &Claim) -> Result<Principal, Fault> {
        let user = claim.user_id.ok_or_else(|| Fault::Invalid("userId is missing.".to_owned()))?;
        let user = UserId(user);
        self.door.admit(user).await?;
        let Some(device) = claim.device_id else { return Ok(without_device(user)) };
        let device = DeviceId(device);
        let known = match self.door.devices.of(&device) {
            Some(known) => known,
            None => self.door.devices.note(device, self.context.gate.device(device).await?),
        };
        if known.user == user { Ok(known) } else { Err(Fault::NoAccess) }
    }

    fn check_workspace(&self, claim: &Claim) -> Result<(), Fault> {
        let open = claim.workspace_id.is_some_and(|workspace| self.door.allowed.includes(WorkspaceId(workspace)));
        if open { Ok(()) } else { Err(Fault::NoAccess) }
    }

    /// Notes what a device says about itself; one without an id is registered.
    async fn update_device(&self, claim: &Claim, request: UpdateDeviceRequest) -> Result<Uuid, Fault> {
        if claim.device_id.is_some() {
            let caller = self.caller(claim).await.map_err(|fault| match fault {
                Fault::NoAccess => Fault::DeviceNotUpdated("There is no such device of this user.".to_owned()),
                other => other,
            })?;
            return update_device(&self.context, &caller, request).await;
        }
        let user = self.caller(claim).await?.user;
        let device = self.register(user, &request).await?;
        tracing::info!(%user, %device, "a client of the original registered a device");
        update_device(&self.context, &Principal { user, device }, request).await
    }

    async fn register(&self, user: UserId, request: &UpdateDeviceRequest) -> Result<DeviceId, Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::Failed(error.to_string());
        // It gets the token of a device that joined, and nobody ever learns it.
        let token = Token::random().map_err(|error| failed(&error))?;
        let code = JoinCode::random().map_err(|error| failed(&error))?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default().chars().take(100).collect();
        let device = NewDevice {
            name: text(&request.device_name),
            os: text(&request.os),
            app_version: text(&request.app_version),
            ip: String::new(),
        };
        let db = &self.context.db;
        db.add_join_code(user, code.hash(), UnixMs(UnixMs::now().0 + CODE_LIFETIME_MS)).await?;
        let (_, device) = db.redeem_join_code(code.hash(), device, token.hash()).await.map_err(|error| failed(&error))?;
        Ok(device.id)
    }
}

/// The user with the device that the original used for what had none.
fn without_device(user: UserId) -> Principal {
    Principal { user, device: DeviceId(Uuid::from_u64_pair(1, 1)) }
}
