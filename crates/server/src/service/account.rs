//! `getAccountInfo`, `updateDevice`, `updateWorkspace`: what a device reads and says about itself and its user.

use super::{Context, Fault, Principal};
use crate::db::{DbError, DeviceSeen, UserKey};
use stacksync_core::values::{ItemId, Kind, Name, WorkspaceId};
use stacksync_protocol::sync_service::{
    AccountInfo, GetAccountRequest, REQUEST_ID_BYTES_MAX, UpdateDeviceRequest, UpdateWorkspaceRequest,
};
use std::net::IpAddr;
use uuid::Uuid;

/// Longest text that a device may say about itself, in bytes.
pub const DEVICE_TEXT_BYTES_MAX: usize = 255;

/// The caller's account.
pub async fn get_account_info(context: &Context, caller: &Principal, request: GetAccountRequest) -> Result<AccountInfo, Fault> {
    caller.check(request.user_id, None)?;
    let user = context.db.user(UserKey::Id(caller.user)).await?.ok_or(Fault::NoUser)?;
    if request.email.is_some_and(|email| !email.eq_ignore_ascii_case(&user.email)) {
        return Err(Fault::NotYou("user"));
    }
    let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    Ok(AccountInfo {
        user_id: user.id.0,
        name: user.name,
        email: user.email,
        quota_limit: signed(user.quota_limit),
        quota_used: signed(user.quota_used),
        swift_tenant: String::new(),
        swift_user: String::new(),
        swift_auth_url: String::new(),
    })
}

/// Notes what the calling device says about itself. Devices are registered when they join.
pub async fn update_device(context: &Context, caller: &Principal, request: UpdateDeviceRequest) -> Result<Uuid, Fault> {
    caller.check(request.user_id, None)?;
    if request.device_id.is_some_and(|device| device != caller.device.0) {
        return Err(Fault::DeviceNotUpdated("A device updates itself only.".into()));
    }
    for (what, text) in [("deviceName", &request.device_name), ("os", &request.os), ("appVersion", &request.app_version)] {
        if text.as_ref().is_some_and(|text| text.len() > DEVICE_TEXT_BYTES_MAX) {
            return Err(Fault::Invalid(format!("{what} has more than {DEVICE_TEXT_BYTES_MAX} bytes.")));
        }
    }
    let ip = request.ip.filter(|ip| !ip.is_empty());
    if ip.as_ref().is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
        return Err(Fault::Invalid("ip is not an address.".into()));
    }
    let seen = DeviceSeen { name: request.device_name, os: request.os, app_version: request.app_version, ip };
    match context.db.touch_device(caller.device, seen).await {
        Ok(()) => Ok(caller.device.0),
        Err(DbError::NoSuchDevice) => Err(Fault::DeviceNotUpdated("There is no such device.".into())),
        Err(error) => Err(error.into()),
    }
}

/// Changes the caller's own name and place for a workspace; the store has his devices told.
pub async fn update_workspace(context: &Context, caller: &Principal, request: UpdateWorkspaceRequest) -> Result<(), Fault> {
    caller.check(request.user_id, None)?;
    if request.request_id.as_ref().is_some_and(|id| id.len() > REQUEST_ID_BYTES_MAX) {
        return Err(Fault::Invalid(format!("A request id has at most {REQUEST_ID_BYTES_MAX} bytes.")));
    }
    let place = context.gate.workspace(caller, WorkspaceId(request.workspace_id)).await?;
    let name = Name::new(&request.workspace_name).map_err(|error| Fault::Invalid(format!("workspaceName: {error}.")))?;
    let parent = match request.parent_item_id {
        None => None,
        Some(id) => Some(folder_of_default(context, caller, id).await?),
    };
    let updated = context.db.update_membership(caller.user, place.workspace(), name, parent, request.request_id).await;
    updated.map(|_| ()).map_err(|error| match error {
        DbError::WorkspaceNameTaken | DbError::DefaultWorkspace => Fault::WorkspaceNotUpdated(format!("Not changed: {error}.")),
        other => other.into(),
    })
}

/// A live folder of the caller's default workspace.
async fn folder_of_default(context: &Context, caller: &Principal, id: i64) -> Result<ItemId, Fault> {
    let no_folder = || Fault::WorkspaceNotUpdated("parentItemId is not a folder of your default workspace.".into());
    let id = ItemId::new(id).ok_or_else(no_folder)?;
    let workspaces = context.db.workspaces_of(caller.user).await?;
    let default = workspaces.iter().find(|workspace| workspace.is_default).ok_or_else(no_folder)?;
    let found = context.db.item(default.id, id).await?.ok_or_else(no_folder)?;
    if found.item.deleted || found.item.body.kind() != Kind::Folder { Err(no_folder()) } else { Ok(id) }
}
