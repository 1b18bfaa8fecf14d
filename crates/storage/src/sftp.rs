//! SFTP: `FOLDER/WORKSPACE/aa/NAME`, where `aa` are the first two digits of the name. One SSH connection, many requests at once on it.
//!
//! A chunk is written under a passing name in `FOLDER/WORKSPACE/tmp`, made durable where the server can (OpenSSH does), and renamed. A
//! rename onto a name that is taken fails in SFTP, which is what "only if absent" asks for. The server must prove with its host key
//! that it is the one that the operator knows. Devices do not come here.

use crate::backend::{Backend, Put, Trouble, When, Work};
use bytes::Bytes;
use russh::client::{self, AuthResult, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, check_known_hosts_path, load_secret_key};
use russh_sftp::client::SftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{OpenFlags, StatusCode};
use stacksync_chunks::pack::PACKED_BYTES_MAX;
use stacksync_chunks::store::{Direct, DirectOp, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

/// How long connecting and logging in may take.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// One request on the line.
const REQUEST_SECONDS_MAX: u64 = 30;
/// The folder for what is being written.
const PASSING: &str = "tmp";

/// Where the chunks are, and who the service is there.
#[derive(Clone)]
pub struct SftpPlace {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// What proves that.
    pub secret: SftpSecret,
    /// File of the host keys that are known, in the form of OpenSSH.
    pub known_hosts: PathBuf,
    /// Folder for everything; empty: where one is after logging in.
    pub folder: String,
    /// Requests at once.
    pub requests: usize,
}

/// What proves who the service is.
#[derive(Clone)]
pub enum SftpSecret {
    /// A password.
    Password(Zeroizing<String>),
    /// A private key.
    Key {
        /// Its file, in the form of OpenSSH.
        file: PathBuf,
        /// What it is encrypted with.
        passphrase: Option<Zeroizing<String>>,
    },
}

impl std::fmt::Debug for SftpPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SftpPlace({}@{}:{}/{})", self.user, self.host, self.port, self.folder)
    }
}

/// Chunks on an SFTP server.
pub struct Sftp {
    place: SftpPlace,
    line: Mutex<Option<Arc<Line>>>,
    requests: Semaphore,
}

/// A connection.
struct Line {
    sftp: SftpSession,
    handle: Handle<Known>,
}

/// Believes the host keys of a file.
struct Known {
    host: String,
    port: u16,
    file: PathBuf,
}

impl client::Handler for Known {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        // A key that differs from the one that is known is an error of its own there, and no less a refusal.
        Ok(check_known_hosts_path(&self.host, self.port, &key.public_key(), &self.file).unwrap_or(false))
    }
}

impl Sftp {
    /// Nothing is connected yet.
    pub fn new(place: SftpPlace) -> Self {
        let requests = Semaphore::new(place.requests.max(1));
        Self { place, line: Mutex::default(), requests }
    }

    fn container(&self, container: WorkspaceId) -> String {
        if self.place.folder.is_empty() { container.to_string() } else { format!("{}/{container}", self.place.folder) }
    }

    fn file(&self, container: WorkspaceId, name: ChunkName) -> String {
        let name = name.to_string();
        format!("{}/{}/{name}", self.container(container), &name[..2])
    }

    /// Does something on the line; a line that broke is not used again.
    async fn on<T>(&self, verb: impl AsyncFnOnce(&SftpSession) -> Result<T, SftpError>) -> Result<T, Trouble> {
        let _place = self.requests.acquire().await.map_err(|closed| Trouble::later(closed.to_string()))?;
        let line = self.line().await?;
        let outcome = verb(&line.sftp).await;
        if outcome.as_ref().err().is_some_and(|error| !answered(error)) {
            let mut current = self.line.lock().await;
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &line)) {
                *current = None;
            }
        }
        outcome.map_err(|error| self.trouble(&error))
    }

    async fn line(&self) -> Result<Arc<Line>, Trouble> {
        let mut line = self.line.lock().await;
        if let Some(line) = line.as_ref().filter(|line| !line.handle.is_closed()) {
            return Ok(line.clone());
        }
        // Whoever else needs one waits for this one.
        let fresh = match tokio::time::timeout(CONNECT_MAX, self.connect()).await {
            Ok(fresh) => Arc::new(fresh?),
            Err(_) => return Err(Trouble::later(format!("{} does not answer", self.place.host))),
        };
        *line = Some(fresh.clone());
        Ok(fresh)
    }

    async fn connect(&self) -> Result<Line, Trouble> {
        let place = &self.place;
        let known = Known { host: place.host.clone(), port: place.port, file: place.known_hosts.clone() };
        let config =
            client::Config { keepalive_interval: Some(Duration::from_secs(15)), nodelay: true, ..client::Config::default() };
        let connected = client::connect(Arc::new(config), (place.host.as_str(), place.port), known).await;
        let mut handle = connected.map_err(|error| match error {
            russh::Error::UnknownKey => {
                Trouble::Denied(format!("the host key of {} is not the one in {}", place.host, place.known_hosts.display()))
            }
            error => Trouble::later(format!("cannot reach {}: {error}", place.host)),
        })?;
        if !self.log_in(&mut handle).await?.success() {
            return Err(Trouble::Denied(format!("{} does not let {} in", place.host, place.user)));
        }
        let opening = async {
            let channel = handle.channel_open_session().await?;
            channel.request_subsystem(true, "sftp").await?;
            Ok::<_, russh::Error>(channel.into_stream())
        };
        let stream = opening.await.map_err(|error| Trouble::later(format!("{}: {error}", place.host)))?;
        let sftp = SftpSession::new(stream).await.map_err(|error| self.trouble(&error))?;
        sftp.set_timeout(REQUEST_SECONDS_MAX);
        Ok(Line { sftp, handle })
    }

    async fn log_in(&self, handle: &mut Handle<Known>) -> Result<AuthResult, Trouble> {
        let user = self.place.user.as_str();
        let outcome = match &self.place.secret {
            SftpSecret::Password(password) => handle.authenticate_password(user, password.as_str()).await,
            SftpSecret::Key { file, passphrase } => {
                let key = load_secret_key(file, passphrase.as_ref().map(|text| text.as_str()))
                    .map_err(|error| Trouble::Failed(format!("cannot use the key {}: {error}", file.display())))?;
                let hash = handle.best_supported_rsa_hash().await.ok().flatten().flatten();
                handle.authenticate_publickey(user, PrivateKeyWithHashAlg::new(Arc::new(key), hash)).await
            }
        };
        outcome.map_err(|error| Trouble::later(format!("{}: {error}", self.place.host)))
    }

    fn trouble(&self, error: &SftpError) -> Trouble {
        let reason = format!("{}: {error}", self.place.host);
        match (error, code(error)) {
            (_, Some(StatusCode::PermissionDenied)) => Trouble::Denied(reason),
            (_, Some(StatusCode::NoSuchFile)) => Trouble::NoContainer,
            // The protocol has no word for it; servers put it into the text.
            (_, Some(_)) if ["space", "quota"].iter().any(|word| reason.to_lowercase().contains(word)) => Trouble::Full(reason),
            (_, Some(StatusCode::NoConnection | StatusCode::ConnectionLost) | None) => Trouble::later(reason),
            (_, Some(_)) => Trouble::Failed(reason),
        }
    }

    async fn size(&self, path: String) -> Result<Option<u64>, Trouble> {
        self.on(async |sftp| absent_is_none(sftp.metadata(path).await).map(|found| found.map(|found| found.size.unwrap_or(0))))
            .await
    }

    async fn make(&self, path: String) -> Result<(), Trouble> {
        // Whether it failed because it is there shows when something is put into it.
        self.on(async |sftp| answered_is_fine(sftp.create_dir(path).await)).await
    }

    async fn write(&self, container: WorkspaceId, name: ChunkName, packed: &Bytes, when: When) -> Result<Put, Trouble> {
        let passing = format!("{}/{PASSING}/{}", self.container(container), uuid::Uuid::new_v4().simple());
        let path = self.file(container, name);
        self.on(async |sftp| {
            let stored = store(sftp, &passing, &path, packed, when).await;
            if !matches!(stored, Ok(Put::Stored)) {
                // Nobody misses it; if it stays it is found by its place.
                let _ = sftp.remove_file(&passing).await;
            }
            stored
        })
        .await
    }

    /// What a folder holds; nothing if there is none.
    async fn entries(&self, path: String) -> Result<Vec<Entry>, Trouble> {
        self.on(async |sftp| {
            let found = absent_is_none(sftp.read_dir(if path.is_empty() { ".".to_owned() } else { path }).await)?;
            Ok(found.into_iter().flatten().map(Entry::from).collect())
        })
        .await
    }

    async fn names(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        let folder = self.container(container);
        let from = after.map(|after| after.to_string());
        let from = from.as_deref().map_or("", |name| &name[..2]);
        let mut parts: Vec<String> = self.entries(folder.clone()).await?.into_iter().map(|entry| entry.name).collect();
        parts.retain(|part| part.len() == 2 && part != ".." && part.as_str() >= from);
        parts.sort();
        let mut found = Vec::new();
        for part in parts {
            let mut there: Vec<Stored> = self.entries(format!("{folder}/{part}")).await?.iter().filter_map(Entry::stored).collect();
            there.retain(|stored| after.is_none_or(|after| stored.name > after));
            there.sort_by_key(|stored| stored.name);
            found.extend(there);
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn remove_folders(&self, container: WorkspaceId) -> Result<(), Trouble> {
        let folder = self.container(container);
        for entry in self.entries(folder.clone()).await?.iter().filter(|entry| !entry.is_special()) {
            let part = format!("{folder}/{}", entry.name);
            if entry.name == PASSING {
                for left in self.entries(part.clone()).await?.iter().filter(|left| !left.is_special()) {
                    let left = format!("{part}/{}", left.name);
                    self.on(async |sftp| absent_is_none(sftp.remove_file(left).await).map(drop)).await?;
                }
            }
            self.on(async |sftp| answered_is_fine(sftp.remove_dir(part).await)).await?;
        }
        self.on(async |sftp| answered_is_fine(sftp.remove_dir(folder).await)).await
    }
}

struct Entry {
    name: String,
    bytes: u64,
    modified: SystemTime,
}

impl From<russh_sftp::client::fs::DirEntry> for Entry {
    fn from(entry: russh_sftp::client::fs::DirEntry) -> Self {
        let found = entry.metadata();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(found.mtime.unwrap_or(0)));
        Self { name: entry.file_name(), bytes: found.size.unwrap_or(0), modified }
    }
}

impl Entry {
    fn is_special(&self) -> bool {
        matches!(self.name.as_str(), "." | "..")
    }

    fn stored(&self) -> Option<Stored> {
        Some(Stored { name: self.name.parse().ok()?, bytes: self.bytes, modified: self.modified })
    }
}

/// Whole and durable under a passing name, then under its own.
async fn store(sftp: &SftpSession, passing: &str, path: &str, packed: &Bytes, when: When) -> Result<Put, SftpError> {
    let flags = OpenFlags::CREATE | OpenFlags::WRITE | OpenFlags::EXCLUDE;
    let mut file = sftp.open_with_flags(passing, flags).await?;
    file.write_all(packed).await.map_err(|error| SftpError::IO(error.to_string()))?;
    file.flush().await.map_err(|error| SftpError::IO(error.to_string()))?;
    file.sync_all().await?;
    file.close().await.map_err(|error| SftpError::IO(error.to_string()))?;
    match sftp.rename(passing, path).await {
        Ok(()) => return Ok(Put::Stored),
        Err(error) if answered(&error) => {}
        Err(error) => return Err(error),
    }
    // It is the first chunk in its folder, or the name is taken.
    if sftp.try_exists(path).await? {
        if when == When::Absent {
            return Ok(Put::WasThere);
        }
        absent_is_none(sftp.remove_file(path).await)?;
    } else if let Some((folder, _)) = path.rsplit_once('/') {
        answered_is_fine(sftp.create_dir(folder).await)?;
    }
    match sftp.rename(passing, path).await {
        // Somebody else was faster.
        Err(error) if answered(&error) && sftp.try_exists(path).await? => Ok(Put::WasThere),
        renamed => renamed.map(|()| Put::Stored),
    }
}

/// Nothing of what is longer than any chunk.
async fn fetch(sftp: &SftpSession, path: String) -> Result<Option<Bytes>, SftpError> {
    let Some(file) = absent_is_none(sftp.open(path).await)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let mut limited = file.take(PACKED_BYTES_MAX as u64 + 1);
    limited.read_to_end(&mut bytes).await.map_err(|error| SftpError::IO(error.to_string()))?;
    if bytes.len() > PACKED_BYTES_MAX {
        bytes.clear();
    }
    Ok(Some(bytes.into()))
}

const fn code(error: &SftpError) -> Option<StatusCode> {
    match error {
        SftpError::Status(status) => Some(status.status_code),
        _ => None,
    }
}

/// The server answered, so the line is good.
const fn answered(error: &SftpError) -> bool {
    matches!(code(error), Some(code) if !matches!(code, StatusCode::NoConnection | StatusCode::ConnectionLost))
}

fn absent_is_none<T>(answer: Result<T, SftpError>) -> Result<Option<T>, SftpError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if code(&error) == Some(StatusCode::NoSuchFile) => Ok(None),
        Err(error) => Err(error),
    }
}

fn answered_is_fine(answer: Result<(), SftpError>) -> Result<(), SftpError> {
    answer.or_else(|error| if answered(&error) { Ok(()) } else { Err(error) })
}

impl Backend for Sftp {
    fn name(&self) -> String {
        format!("SFTP server {}:{}", self.place.host, self.place.port)
    }

    fn prepare(&self) -> Work<'_, ()> {
        Box::pin(async move {
            let mut path = String::new();
            for part in self.place.folder.split('/') {
                path.push_str(part);
                if !part.is_empty() {
                    self.make(path.clone()).await?;
                }
                path.push('/');
            }
            self.entries(self.place.folder.clone()).await.map(drop)
        })
    }

    fn make_container(&self, container: WorkspaceId) -> Work<'_, ()> {
        Box::pin(async move {
            let folder = self.container(container);
            self.make(folder.clone()).await?;
            self.make(format!("{folder}/{PASSING}")).await
        })
    }

    fn remove_container(&self, container: WorkspaceId) -> Work<'_, ()> {
        Box::pin(self.remove_folders(container))
    }

    fn containers(&self) -> Work<'_, Vec<WorkspaceId>> {
        Box::pin(async move {
            let entries = self.entries(self.place.folder.clone()).await?;
            Ok(entries.iter().filter_map(|entry| entry.name.parse::<WorkspaceId>().ok()).collect())
        })
    }

    fn length(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<u64>> {
        Box::pin(self.size(self.file(container, name)))
    }

    fn put(&self, container: WorkspaceId, name: ChunkName, packed: Bytes, when: When) -> Work<'_, Put> {
        Box::pin(async move {
            if when == When::Absent && self.size(self.file(container, name)).await?.is_some() {
                return Ok(Put::WasThere);
            }
            self.write(container, name, &packed, when).await
        })
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<Bytes>> {
        Box::pin(async move {
            let path = self.file(container, name);
            self.on(async |sftp| fetch(sftp, path).await).await
        })
    }

    fn remove(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, ()> {
        Box::pin(async move {
            let path = self.file(container, name);
            self.on(async |sftp| absent_is_none(sftp.remove_file(path).await).map(drop)).await
        })
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Work<'_, Vec<Stored>> {
        Box::pin(self.names(container, after, limit))
    }

    fn direct(&self, _: WorkspaceId, _: DirectOp, _: ChunkName, _: Duration) -> Work<'_, Option<Direct>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
