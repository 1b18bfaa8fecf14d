//! SFTP, as a server of files for [`crate::fanned`]. One SSH connection, many requests at once on it.
//!
//! A chunk is made durable under its passing name where the server can (OpenSSH does). A rename onto a name that is taken fails in SFTP,
//! which is what "only if absent" asks for. The server must prove with its host key that it is the one that the operator knows.

use crate::backend::{Put, Trouble, When, Work};
use crate::fanned::{Entry, FileServer};
use bytes::Bytes;
use russh::client::{self, AuthResult, Handle};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, check_known_hosts_path, load_secret_key};
use russh_sftp::client::SftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{OpenFlags, StatusCode};
use stacksync_chunks::pack::PACKED_BYTES_MAX;
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
}

fn entry(found: &russh_sftp::client::fs::DirEntry) -> Entry {
    let about = found.metadata();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(about.mtime.unwrap_or(0)));
    Entry { name: found.file_name(), bytes: about.size.unwrap_or(0), modified }
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

impl FileServer for Sftp {
    fn title(&self) -> String {
        format!("SFTP server {}:{}", self.place.host, self.place.port)
    }

    fn root(&self) -> &str {
        &self.place.folder
    }

    fn entries(&self, folder: String) -> Work<'_, Vec<Entry>> {
        Box::pin(self.on(async move |sftp| {
            let found = absent_is_none(sftp.read_dir(if folder.is_empty() { ".".to_owned() } else { folder }).await)?;
            let entries = found.into_iter().flatten().map(|found| entry(&found));
            Ok(entries.filter(|entry| !matches!(entry.name.as_str(), "." | "..")).collect())
        }))
    }

    fn make_folder(&self, path: String) -> Work<'_, ()> {
        Box::pin(self.on(async move |sftp| answered_is_fine(sftp.create_dir(path).await)))
    }

    fn remove_folder(&self, path: String) -> Work<'_, ()> {
        Box::pin(self.on(async move |sftp| answered_is_fine(sftp.remove_dir(path).await)))
    }

    fn size(&self, path: String) -> Work<'_, Option<u64>> {
        Box::pin(self.on(async move |sftp| {
            absent_is_none(sftp.metadata(path).await).map(|found| found.map(|found| found.size.unwrap_or(0)))
        }))
    }

    fn write(&self, passing: String, path: String, bytes: Bytes, when: When) -> Work<'_, Put> {
        Box::pin(self.on(async move |sftp| {
            let stored = store(sftp, &passing, &path, &bytes, when).await;
            if !matches!(stored, Ok(Put::Stored)) {
                // Nobody misses it; if it stays it is found by its place.
                let _ = sftp.remove_file(&passing).await;
            }
            stored
        }))
    }

    fn read(&self, path: String) -> Work<'_, Option<Bytes>> {
        Box::pin(self.on(async move |sftp| fetch(sftp, path).await))
    }

    fn erase(&self, path: String) -> Work<'_, ()> {
        Box::pin(self.on(async move |sftp| absent_is_none(sftp.remove_file(path).await).map(drop)))
    }
}
