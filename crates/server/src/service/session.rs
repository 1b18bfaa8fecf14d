//! The sessions of devices: what one may send and follow, and which end because access was taken away.

use super::{Context, Fault, OBJECTS, Principal};
use crate::db::DbError;
use objectmq::transport::Address;
use objectmq::websocket::{CloseReason, Door, Gate, Refusal};
use objectmq::{BoxFuture, Caller};
use stacksync_core::values::{DeviceId, WorkspaceId};
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is checked whether the connected devices may still be connected.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What one device may do through its session: call the service, and follow its user and his workspaces.
pub struct SessionGate {
    context: Arc<Context>,
    caller: Principal,
}

impl SessionGate {
    /// The gate of this device's session.
    pub const fn new(context: Arc<Context>, caller: Principal) -> Self {
        Self { context, caller }
    }

    async fn may_follow(&self, reference: &str) -> Result<(), Refusal> {
        if reference == self.caller.user.to_string() {
            return Ok(());
        }
        let refused = || Refusal("You can follow yourself and the workspaces that you are a member of.".to_owned());
        let workspace: WorkspaceId = reference.parse().map_err(|_| refused())?;
        // One spelling only: another would be another reference.
        if workspace.to_string() != reference {
            return Err(refused());
        }
        let begun = match self.context.gate.workspace(&self.caller, workspace).await {
            Ok(_) => self.context.notices.begin(&self.context.db, workspace).await.map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        match begun {
            Ok(()) => Ok(()),
            Err(Fault::NoAccess) => Err(refused()),
            Err(fault) => {
                self.context.metrics.errors.one();
                tracing::error!(%fault, "a workspace to be followed could not be looked up");
                Err(Refusal("The service failed; try again.".to_owned()))
            }
        }
    }
}

impl Gate for SessionGate {
    fn caller(&self) -> Caller {
        Caller::new(&self.caller.device.to_string(), self.caller)
    }

    fn admit_publish(&self, to: Address<'_>) -> Result<(), Refusal> {
        match to {
            Address::Unicast(object) if OBJECTS.iter().any(|(reference, _)| *reference == object) => Ok(()),
            Address::Unicast(_) | Address::Multi(_) | Address::Reply(_) => {
                Err(Refusal(format!("You can call {SYNC_SERVICE} and {CHUNK_SERVICE} only.")))
            }
        }
    }

    fn admit_follow<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.may_follow(reference))
    }
}

/// Which devices are connected, and with how many sessions.
#[derive(Default)]
pub struct Connected(Mutex<HashMap<DeviceId, usize>>);

/// A session of a device, while it lives.
pub struct Presence<'a> {
    connected: &'a Connected,
    device: DeviceId,
}

impl Connected {
    fn devices(&self) -> MutexGuard<'_, HashMap<DeviceId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of this device begins.
    pub fn enter(&self, device: DeviceId) -> Presence<'_> {
        *self.devices().entry(device).or_insert(0) += 1;
        Presence { connected: self, device }
    }

    /// Ends the sessions of devices that may not be connected any more, again and again until it is told to stop.
    pub async fn watch(&self, context: &Context, door: &Door, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL)).await.is_some() {
            if let Err(error) = self.check(context, door).await {
                context.metrics.errors.one();
                tracing::error!(%error, "cannot check whether the connected devices may be connected");
            }
        }
    }

    async fn check(&self, context: &Context, door: &Door) -> Result<(), DbError> {
        let devices: Vec<DeviceId> = self.devices().keys().copied().collect();
        if devices.is_empty() {
            return Ok(());
        }
        let away = context.db.turned_away(devices).await?;
        if away.is_empty() {
            return Ok(());
        }
        let reason = CloseReason::new(CloseReason::POLICY, "This device was revoked, or its user disabled.");
        door.end_sessions(&reason, |caller| caller.get::<Principal>().is_some_and(|caller| away.contains(&caller.device)));
        for device in away {
            context.metrics.sessions_revoked.one();
            tracing::info!(%device, "sessions ended: the device was revoked, or its user disabled");
        }
        Ok(())
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let mut devices = self.connected.devices();
        if let Some(sessions) = devices.get_mut(&self.device) {
            *sessions -= 1;
            if *sessions == 0 {
                devices.remove(&self.device);
            }
        }
    }
}
