//! Users, their devices and the codes with which devices join.
//!
//! Of tokens and codes only hashes come here. Everything is read fresh: a user disabled or a device revoked by another process is
//! turned away from the next look on.

use super::super::columns::signed;
use super::rows::{all, first, unsigned, uuid};
use super::workspaces::{self, NewWorkspace};
use super::{Access, DbError, Device, DeviceSeen, NewDevice, NewUser, RedeemError, UnixMs, User, UserKey};
use rusqlite::{Connection, Row, params};
use stacksync_core::values::{DeviceId, UserId, WorkspaceId};
use uuid::Uuid;

const USER: &str = "SELECT id, name, email, quota_limit, quota_used, password, disabled, created_at, number FROM users";
const DEVICE: &str = "SELECT d.id, u.id, d.name, d.os, d.app_version, d.ip, d.created_at, d.seen_at, d.revoked \
                      FROM devices d JOIN users u ON u.number = d.user";

/// All accounts by name.
pub(super) fn users(connection: &Connection) -> Result<Vec<User>, DbError> {
    all(connection, &format!("{USER} ORDER BY name_key"), [], read_user)
}

/// Changes one column of an account.
pub(super) fn set(connection: &Connection, user: UserId, sql: &str, value: &dyn rusqlite::ToSql) -> Result<(), DbError> {
    match connection.execute(sql, params![user.0.as_bytes(), value])? {
        0 => Err(DbError::NoSuchUser),
        _ => Ok(()),
    }
}

/// Whose token this is, unless its device is revoked.
pub(super) fn device_by_token(connection: &Connection, token_hash: &[u8; 32]) -> Result<Option<(User, Device)>, DbError> {
    let sql = format!("{DEVICE} WHERE d.token_hash = ?1 AND d.revoked = 0");
    with_user(connection, first(connection, &sql, [token_hash.as_slice()], read_device)?)
}

/// A device and its user.
pub(super) fn device(connection: &Connection, device: DeviceId) -> Result<Option<(User, Device)>, DbError> {
    let sql = format!("{DEVICE} WHERE d.id = ?1");
    with_user(connection, first(connection, &sql, [device.0.as_bytes()], read_device)?)
}

/// Which of these devices may not come in any more.
pub(super) fn turned_away(connection: &Connection, devices: Vec<DeviceId>) -> Result<Vec<DeviceId>, DbError> {
    let sql = "SELECT 1 FROM devices d JOIN users u ON u.number = d.user WHERE d.id = ?1 AND d.revoked = 0 AND u.disabled = 0";
    let mut away = Vec::new();
    for device in devices {
        if first(connection, sql, [device.0.as_bytes()], |_| Ok(()))?.is_none() {
            away.push(device);
        }
    }
    Ok(away)
}

/// A user's devices in the order they joined.
pub(super) fn devices(connection: &Connection, user: UserId) -> Result<Vec<Device>, DbError> {
    let sql = format!("{DEVICE} WHERE u.id = ?1 ORDER BY d.number");
    all(connection, &sql, [user.0.as_bytes()], read_device)
}

/// Turns a device away for good.
pub(super) fn revoke(connection: &Connection, device: DeviceId) -> Result<(), DbError> {
    match connection.execute("UPDATE devices SET revoked = 1 WHERE id = ?1", [device.0.as_bytes()])? {
        0 => Err(DbError::NoSuchDevice),
        _ => Ok(()),
    }
}

fn read_user(row: &Row<'_>) -> rusqlite::Result<User> {
    let disabled: bool = row.get(6)?;
    Ok(User {
        id: UserId(uuid(row, 0)?),
        name: row.get(1)?,
        email: row.get(2)?,
        quota_limit: unsigned(row, 3)?,
        quota_used: unsigned(row, 4)?,
        password_phc: row.get(5)?,
        access: if disabled { Access::Disabled } else { Access::Allowed },
        created_at: UnixMs(row.get(7)?),
    })
}

fn read_device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        id: DeviceId(uuid(row, 0)?),
        user: UserId(uuid(row, 1)?),
        name: row.get(2)?,
        os: row.get(3)?,
        app_version: row.get(4)?,
        ip: row.get(5)?,
        created_at: UnixMs(row.get(6)?),
        seen_at: UnixMs(row.get(7)?),
        revoked: row.get(8)?,
    })
}

/// Looks an account up.
pub(super) fn user(connection: &Connection, key: &UserKey) -> Result<Option<User>, DbError> {
    let look =
        |column: &str, value: &dyn rusqlite::ToSql| first(connection, &format!("{USER} WHERE {column} = ?1"), [value], read_user);
    match key {
        UserKey::Id(id) => look("id", &id.0.as_bytes()),
        UserKey::Name(name) => look("name_key", &name.to_lowercase()),
        UserKey::Email(email) => look("email", &email.to_lowercase()),
    }
}

fn with_user(connection: &Connection, device: Option<Device>) -> Result<Option<(User, Device)>, DbError> {
    let Some(device) = device else { return Ok(None) };
    Ok(user(connection, &UserKey::Id(device.user))?.map(|user| (user, device)))
}

/// The number by which rows point to a user.
pub(super) fn user_number(connection: &Connection, user: UserId) -> Result<i64, DbError> {
    let sql = "SELECT number FROM users WHERE id = ?1";
    first(connection, sql, [user.0.as_bytes()], |row| row.get(0))?.ok_or(DbError::NoSuchUser)
}

/// Makes an account with its default workspace.
pub(super) fn add_user(connection: &Connection, new: &NewUser) -> Result<User, DbError> {
    if user(connection, &UserKey::Name(new.name.clone()))?.is_some() {
        return Err(DbError::NameTaken);
    }
    if user(connection, &UserKey::Email(new.email.clone()))?.is_some() {
        return Err(DbError::EmailTaken);
    }
    let made = User {
        id: UserId(Uuid::new_v4()),
        name: new.name.clone(),
        email: new.email.to_lowercase(),
        quota_limit: new.quota_limit.min(i64::MAX as u64),
        quota_used: 0,
        password_phc: new.password_phc.clone(),
        access: Access::Allowed,
        created_at: UnixMs::now(),
    };
    connection.execute(
        "INSERT INTO users (id, name, name_key, email, quota_limit, password, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            made.id.0.as_bytes(),
            made.name,
            made.name.to_lowercase(),
            made.email,
            signed(made.quota_limit),
            made.password_phc,
            made.created_at.0
        ],
    )?;
    workspaces::add(connection, made.id, &NewWorkspace::Default)?;
    Ok(made)
}

/// Removes a user with all that is his.
pub(super) fn remove_user(connection: &Connection, user: UserId) -> Result<Vec<WorkspaceId>, DbError> {
    let number = user_number(connection, user)?;
    let sql = "SELECT number, id FROM workspaces WHERE owner = ?1";
    let owned = all(connection, sql, [number], |row| Ok((row.get::<_, i64>(0)?, WorkspaceId(uuid(row, 1)?))))?;
    for (workspace, _) in &owned {
        workspaces::remove(connection, *workspace)?;
    }
    for sql in [
        "DELETE FROM answers WHERE device IN (SELECT id FROM devices WHERE user = ?1)",
        "DELETE FROM memberships WHERE user = ?1",
        "DELETE FROM devices WHERE user = ?1",
        "DELETE FROM join_codes WHERE user = ?1",
        "DELETE FROM users WHERE number = ?1",
    ] {
        connection.execute(sql, [number])?;
    }
    Ok(owned.into_iter().map(|(_, id)| id).collect())
}

/// Keeps a code.
pub(super) fn add_join_code(
    connection: &Connection,
    user: UserId,
    code_hash: &[u8; 32],
    expires_at: UnixMs,
) -> Result<(), DbError> {
    let number = user_number(connection, user)?;
    connection.execute("DELETE FROM join_codes WHERE expires_at <= ?1", [UnixMs::now().0])?;
    connection.execute(
        "INSERT INTO join_codes (code_hash, user, expires_at) VALUES (?1, ?2, ?3)",
        params![code_hash.as_slice(), number, expires_at.0],
    )?;
    Ok(())
}

/// Uses a code up.
pub(super) fn redeem(
    connection: &Connection,
    code_hash: &[u8; 32],
    new: &NewDevice,
    token_hash: &[u8; 32],
) -> Result<(User, Device), RedeemError> {
    let sql = "SELECT user, expires_at FROM join_codes WHERE code_hash = ?1";
    let code = first(connection, sql, [code_hash.as_slice()], |row| Ok((row.get::<_, i64>(0)?, UnixMs(row.get(1)?))))?;
    let (number, expires_at) = code.ok_or(RedeemError::Unknown)?;
    let now = UnixMs::now();
    if expires_at <= now {
        return Err(RedeemError::Expired);
    }
    let sql = format!("{USER} WHERE number = ?1");
    let user = first(connection, &sql, [number], read_user)?.ok_or(RedeemError::Unknown)?;
    if user.access == Access::Disabled {
        return Err(RedeemError::Disabled);
    }
    connection.execute("DELETE FROM join_codes WHERE code_hash = ?1", [code_hash.as_slice()]).map_err(DbError::from)?;
    Ok((user.clone(), add_device(connection, (number, user.id), new, token_hash, now)?))
}

fn add_device(
    connection: &Connection,
    (number, user): (i64, UserId),
    new: &NewDevice,
    token_hash: &[u8; 32],
    now: UnixMs,
) -> Result<Device, DbError> {
    let device = Device {
        id: DeviceId(Uuid::new_v4()),
        user,
        name: new.name.clone(),
        os: new.os.clone(),
        app_version: new.app_version.clone(),
        ip: new.ip.clone(),
        created_at: now,
        seen_at: now,
        revoked: false,
    };
    connection.execute(
        "INSERT INTO devices (id, user, token_hash, name, os, app_version, ip, created_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        params![
            device.id.0.as_bytes(),
            number,
            token_hash.as_slice(),
            device.name,
            device.os,
            device.app_version,
            device.ip,
            now.0
        ],
    )?;
    Ok(device)
}

/// Notes that a device was seen.
pub(super) fn touch(connection: &Connection, device: DeviceId, seen: &DeviceSeen) -> Result<(), DbError> {
    let changed = connection.execute(
        "UPDATE devices SET seen_at = ?2, name = coalesce(?3, name), os = coalesce(?4, os), \
         app_version = coalesce(?5, app_version), ip = coalesce(?6, ip) WHERE id = ?1",
        params![device.0.as_bytes(), UnixMs::now().0, seen.name, seen.os, seen.app_version, seen.ip],
    )?;
    if changed == 0 { Err(DbError::NoSuchDevice) } else { Ok(()) }
}
