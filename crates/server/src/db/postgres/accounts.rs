//! Users, their devices and the codes with which devices join. Of tokens and codes only hashes come here.

use super::super::columns::signed;
use super::link::{Link, Links, Query, Stop, query};
use super::rows::{self, USER_COLUMNS, column};
use super::workspaces::{self, NewWorkspace};
use crate::db::{Access, DbError, Device, DeviceSeen, NewDevice, NewUser, RedeemError, UnixMs, User, UserKey};
use stacksync_core::values::{DeviceId, UserId, WorkspaceId};
use tokio_postgres::Row;
use uuid::Uuid;

macro_rules! user_columns {
    () => {
        "u.id, u.name, u.email, u.quota_limit, u.quota_used, u.password, u.disabled, u.created_at"
    };
}
macro_rules! device_columns {
    () => {
        "d.id, d.name, d.os, d.app_version, d.ip, d.created_at, d.seen_at, d.revoked"
    };
}

const BY_ID: Query = query!(concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1"), UUID);
const BY_NAME: Query = query!(concat!("SELECT ", user_columns!(), " FROM users u WHERE u.name_key = $1"), TEXT);
const BY_EMAIL: Query = query!(concat!("SELECT ", user_columns!(), " FROM users u WHERE u.email = $1"), TEXT);
const USERS: Query = query!(concat!("SELECT ", user_columns!(), " FROM users u ORDER BY u.name_key COLLATE \"C\""));
const BY_TOKEN: Query = query!(
    concat!(
        "SELECT ",
        user_columns!(),
        ", ",
        device_columns!(),
        " FROM devices d JOIN users u ON u.number = d.owner WHERE d.token_hash = $1 AND NOT d.revoked"
    ),
    BYTEA
);
const DEVICE: Query = query!(
    concat!(
        "SELECT ",
        user_columns!(),
        ", ",
        device_columns!(),
        " FROM devices d JOIN users u ON u.number = d.owner WHERE d.id = $1"
    ),
    UUID
);
const DEVICES: Query = query!(
    concat!(
        "SELECT ",
        user_columns!(),
        ", ",
        device_columns!(),
        " FROM devices d JOIN users u ON u.number = d.owner WHERE u.id = $1 ORDER BY d.number"
    ),
    UUID
);

/// Looks an account up.
pub(super) async fn user(links: &Links, key: &UserKey) -> Result<Option<User>, DbError> {
    let found = match key {
        UserKey::Id(id) => links.read(&BY_ID, &[&id.0]).await?,
        UserKey::Name(name) => links.read(&BY_NAME, &[&rows::text(&name.to_lowercase())]).await?,
        UserKey::Email(email) => links.read(&BY_EMAIL, &[&rows::text(&email.to_lowercase())]).await?,
    };
    found.first().map(rows::user).transpose()
}

/// All accounts by name.
pub(super) async fn users(links: &Links) -> Result<Vec<User>, DbError> {
    links.read(&USERS, &[]).await?.iter().map(rows::user).collect()
}

fn with_device(row: &Row) -> Result<(User, Device), DbError> {
    let user = rows::user(row)?;
    let device = rows::device(row, USER_COLUMNS, user.id)?;
    Ok((user, device))
}

/// Whose token this is, unless its device is revoked.
pub(super) async fn device_by_token(links: &Links, token_hash: &[u8; 32]) -> Result<Option<(User, Device)>, DbError> {
    links.read(&BY_TOKEN, &[&token_hash.as_slice()]).await?.first().map(with_device).transpose()
}

/// A device and its user.
pub(super) async fn device(links: &Links, device: DeviceId) -> Result<Option<(User, Device)>, DbError> {
    links.read(&DEVICE, &[&device.0]).await?.first().map(with_device).transpose()
}

/// A user's devices in the order they joined.
pub(super) async fn devices(links: &Links, user: UserId) -> Result<Vec<Device>, DbError> {
    links.read(&DEVICES, &[&user.0]).await?.iter().map(|row| with_device(row).map(|(_, device)| device)).collect()
}

/// Which of these devices may not come in any more.
pub(super) async fn turned_away(links: &Links, devices: &[DeviceId]) -> Result<Vec<DeviceId>, DbError> {
    let ids: Vec<Uuid> = devices.iter().map(|device| device.0).collect();
    let sql = query!(
        "SELECT q.id FROM unnest($1) q (id) WHERE NOT EXISTS (SELECT 1 FROM devices d JOIN users u ON u.number = d.owner \
         WHERE d.id = q.id AND NOT d.revoked AND NOT u.disabled)",
        UUID_ARRAY
    );
    links.read(&sql, &[&ids]).await?.iter().map(|row| column(row, 0).map(DeviceId)).collect()
}

/// The number by which rows point to a user.
pub(super) async fn user_number(link: &Link, user: UserId) -> Result<i64, Stop<DbError>> {
    let row = link.first(&query!("SELECT number FROM users WHERE id = $1", UUID), &[&user.0]).await?;
    Ok(column(&row.ok_or(DbError::NoSuchUser)?, 0)?)
}

/// Makes an account with its default workspace.
pub(super) async fn add_user(link: &Link, new: &NewUser) -> Result<User, Stop<DbError>> {
    let made = User {
        id: UserId(Uuid::new_v4()),
        name: rows::text(&new.name),
        email: rows::text(&new.email.to_lowercase()),
        quota_limit: new.quota_limit.min(i64::MAX as u64),
        quota_used: 0,
        password_phc: new.password_phc.clone(),
        access: Access::Allowed,
        created_at: UnixMs::now(),
    };
    let key = made.name.to_lowercase();
    if link.first(&BY_NAME, &[&key]).await?.is_some() {
        return Err(DbError::NameTaken.into());
    }
    if link.first(&BY_EMAIL, &[&made.email]).await?.is_some() {
        return Err(DbError::EmailTaken.into());
    }
    let sql = query!(
        "INSERT INTO users (id, name, name_key, email, quota_limit, password, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        UUID,
        TEXT,
        TEXT,
        TEXT,
        INT8,
        TEXT,
        INT8
    );
    link.run(&sql, &[&made.id.0, &made.name, &key, &made.email, &signed(made.quota_limit), &made.password_phc, &made.created_at.0])
        .await?;
    workspaces::add(link, made.id, &NewWorkspace::Default).await?;
    Ok(made)
}

/// Removes a user with all that is his. Workspaces are locked before users, as commits do.
pub(super) async fn remove_user(link: &Link, user: UserId) -> Result<Vec<WorkspaceId>, Stop<DbError>> {
    let number = user_number(link, user).await?;
    let sql = query!("SELECT number, id FROM workspaces WHERE owner = $1 ORDER BY number FOR UPDATE", INT8);
    let mut owned = Vec::new();
    for row in link.rows(&sql, &[&number]).await? {
        workspaces::remove(link, column(&row, 0)?, column(&row, 1)?).await?;
        owned.push(WorkspaceId(column(&row, 1)?));
    }
    link.run(&query!("SELECT 1 FROM users WHERE number = $1 FOR UPDATE", INT8), &[&number]).await?;
    for sql in [
        query!("DELETE FROM answers WHERE device IN (SELECT id FROM devices WHERE owner = $1)", INT8),
        query!("DELETE FROM memberships WHERE member = $1", INT8),
        query!("DELETE FROM devices WHERE owner = $1", INT8),
        query!("DELETE FROM join_codes WHERE owner = $1", INT8),
        query!("DELETE FROM users WHERE number = $1", INT8),
    ] {
        link.run(&sql, &[&number]).await?;
    }
    Ok(owned)
}

/// Keeps a code.
pub(super) async fn add_join_code(
    link: &Link,
    user: UserId,
    code_hash: &[u8; 32],
    expires_at: UnixMs,
) -> Result<(), Stop<DbError>> {
    let number = user_number(link, user).await?;
    link.run(&query!("DELETE FROM join_codes WHERE expires_at <= $1", INT8), &[&UnixMs::now().0]).await?;
    let sql = query!("INSERT INTO join_codes (code_hash, owner, expires_at) VALUES ($1, $2, $3)", BYTEA, INT8, INT8);
    link.run(&sql, &[&code_hash.as_slice(), &number, &expires_at.0]).await?;
    Ok(())
}

/// Uses a code up and registers the device that brought it.
pub(super) async fn redeem(
    link: &Link,
    code_hash: &[u8; 32],
    new: &NewDevice,
    token_hash: &[u8; 32],
) -> Result<(User, Device), Stop<RedeemError>> {
    let sql = query!("SELECT owner, expires_at FROM join_codes WHERE code_hash = $1 FOR UPDATE", BYTEA);
    let code = link.first(&sql, &[&code_hash.as_slice()]).await?.ok_or(Stop::Answer(RedeemError::Unknown))?;
    let failed = |error: DbError| Stop::Answer(RedeemError::Db(error));
    let (number, expires_at): (i64, i64) = (column(&code, 0).map_err(failed)?, column(&code, 1).map_err(failed)?);
    let now = UnixMs::now();
    if expires_at <= now.0 {
        return Err(Stop::Answer(RedeemError::Expired));
    }
    let sql = query!(concat!("SELECT ", user_columns!(), " FROM users u WHERE u.number = $1"), INT8);
    let row = link.first(&sql, &[&number]).await?.ok_or(Stop::Answer(RedeemError::Unknown))?;
    let user = rows::user(&row).map_err(failed)?;
    if user.access == Access::Disabled {
        return Err(Stop::Answer(RedeemError::Disabled));
    }
    link.run(&query!("DELETE FROM join_codes WHERE code_hash = $1", BYTEA), &[&code_hash.as_slice()]).await?;
    let device = add_device(link, (number, user.id), new, token_hash, now).await?;
    Ok((user, device))
}

async fn add_device(
    link: &Link,
    (number, user): (i64, UserId),
    new: &NewDevice,
    token_hash: &[u8; 32],
    now: UnixMs,
) -> Result<Device, Stop<RedeemError>> {
    let device = Device {
        id: DeviceId(Uuid::new_v4()),
        user,
        name: rows::text(&new.name),
        os: rows::text(&new.os),
        app_version: rows::text(&new.app_version),
        ip: rows::text(&new.ip),
        created_at: now,
        seen_at: now,
        revoked: false,
    };
    let sql = query!(
        "INSERT INTO devices (id, owner, token_hash, name, os, app_version, ip, created_at, seen_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        UUID,
        INT8,
        BYTEA,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        INT8
    );
    let token = token_hash.as_slice();
    link.run(&sql, &[&device.id.0, &number, &token, &device.name, &device.os, &device.app_version, &device.ip, &now.0]).await?;
    Ok(device)
}

/// Notes that a device was seen.
pub(super) async fn touch(link: &Link, device: DeviceId, seen: &DeviceSeen) -> Result<(), Stop<DbError>> {
    let sql = query!(
        "UPDATE devices SET seen_at = $2, name = coalesce($3, name), os = coalesce($4, os), \
         app_version = coalesce($5, app_version), ip = coalesce($6, ip) WHERE id = $1",
        UUID,
        INT8,
        TEXT,
        TEXT,
        TEXT,
        TEXT
    );
    let text = |said: &Option<String>| said.as_deref().map(rows::text);
    let said = [text(&seen.name), text(&seen.os), text(&seen.app_version), text(&seen.ip)];
    match link.run(&sql, &[&device.0, &UnixMs::now().0, &said[0], &said[1], &said[2], &said[3]]).await? {
        0 => Err(DbError::NoSuchDevice.into()),
        _ => Ok(()),
    }
}
