//! `device invite|list|revoke`.

use super::print::{moment, table};
use super::{Admin, Failure, Need, Report};
use crate::cli::DeviceCommand;
use crate::config::Config;
use crate::db::Device;
use serde_json::{Value, json};
use stacksync_core::values::DeviceId;

pub async fn run(config: &Config, command: &DeviceCommand) -> Result<String, Failure> {
    let admin = Admin::open(config, Need::Data).await?;
    match command {
        DeviceCommand::Invite { user, output } => invite(&admin, user).await.map(|report| report.print(*output)),
        DeviceCommand::List { user, output } => list(&admin, user.as_deref()).await.map(|report| report.print(*output)),
        DeviceCommand::Revoke { device, output } => revoke(&admin, device).await.map(|report| report.print(*output)),
    }
}

async fn invite(admin: &Admin<'_>, user: &str) -> Result<Report, Failure> {
    let user = admin.user(user).await?;
    let invitation = admin.invite(&user).await?;
    let mut json = json!({ "user_id": user.id.to_string(), "name": user.name });
    invitation.add_to(&mut json);
    Ok(Report { text: invitation.text(), json })
}

async fn list(admin: &Admin<'_>, user: Option<&str>) -> Result<Report, Failure> {
    let users = match user {
        Some(text) => vec![admin.user(text).await?],
        None => admin.db.users().await?,
    };
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for user in users {
        for device in admin.db.devices(user.id).await? {
            let [name, os, seen, access, id] = row(&device);
            rows.push([user.name.clone(), name, os, seen, access, id]);
            let mut described = describe(&device);
            described["user"] = json!(user.name);
            json.push(described);
        }
    }
    let text = table(["USER", "NAME", "SYSTEM", "LAST SEEN", "ACCESS", "ID"], &rows, "There are no devices.");
    Ok(Report { text, json: json.into() })
}

async fn revoke(admin: &Admin<'_>, text: &str) -> Result<Report, Failure> {
    let unknown = || Failure::command(format!("there is no device '{text}'; 'stacksync-server device list' shows all"));
    let id: DeviceId = text.parse().map_err(|_| unknown())?;
    let (_, device) = admin.db.device(id).await?.ok_or_else(unknown)?;
    admin.db.revoke_device(id).await?;
    let revoked = Device { revoked: true, ..device };
    let text = format!("Device {} ({id}) is locked out; if it is connected, it is turned away within seconds.\n", revoked.name);
    Ok(Report { text, json: describe(&revoked) })
}

/// The devices of one user, for people.
pub fn listed(devices: &[Device]) -> String {
    let rows: Vec<_> = devices.iter().map(row).collect();
    table(["DEVICE", "SYSTEM", "LAST SEEN", "ACCESS", "ID"], &rows, "There are no devices.")
}

fn row(device: &Device) -> [String; 5] {
    let access = if device.revoked { "revoked" } else { "yes" };
    // A device chooses its name and system itself.
    let plain = |text: &str| text.escape_debug().to_string();
    [plain(&device.name), plain(&device.os), moment(device.seen_at), access.to_owned(), device.id.to_string()]
}

/// A device, for programs.
pub fn describe(device: &Device) -> Value {
    json!({
        "device_id": device.id.to_string(),
        "user_id": device.user.to_string(),
        "name": device.name,
        "os": device.os,
        "app_version": device.app_version,
        "ip": device.ip,
        "created_at": moment(device.created_at),
        "seen_at": moment(device.seen_at),
        "revoked": device.revoked,
    })
}
