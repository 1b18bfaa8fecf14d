//! FTP, with or without TLS: `FOLDER/WORKSPACE/aa/NAME`, where `aa` are the first two digits of the name.
//!
//! A chunk is written under a passing name in `FOLDER/WORKSPACE/tmp` and renamed when it is there as a whole, so a name never stands for
//! part of a chunk. FTP has no "only if absent": two who store the same chunk at once bring the same bytes. Devices do not come here.

use crate::backend::{Backend, Put, Trouble, When, Work};
use crate::clock;
use crate::http::{HttpSetup, tls};
use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use stacksync_chunks::pack::PACKED_BYTES_MAX;
use stacksync_chunks::store::{Direct, DirectOp, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use suppaftp::FtpError;
use suppaftp::list::{File, ListParser};
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::types::{FileType, Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// How long opening a connection and logging in may take.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// A verb with its transfer.
const VERB_MAX: Duration = Duration::from_secs(90);
/// A connection that was idle for so long is not used again: servers close them, and it costs a failed try to find out.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// The folder for what is being written.
const PASSING: &str = "tmp";

/// Where the chunks are, and who the service is there.
#[derive(Clone)]
pub struct FtpPlace {
    /// Host, also the name that its certificate must bear.
    pub host: String,
    /// Port of the control connection.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: Zeroizing<String>,
    /// Folder for everything; empty: where one is after logging in.
    pub folder: String,
    /// Whether and how the line is encrypted.
    pub tls: FtpTls,
    /// Connections at once.
    pub connections: usize,
}

impl std::fmt::Debug for FtpPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FtpPlace({}@{}:{}/{})", self.user, self.host, self.port, self.folder)
    }
}

/// Whether the line is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FtpTls {
    /// By `AUTH TLS`, commands and data; the certificate is verified.
    Explicit,
    /// Not at all.
    Off,
}

/// Chunks on an FTP server.
pub struct Ftp {
    place: FtpPlace,
    tls: Arc<ClientConfig>,
    idle: Mutex<Vec<(AsyncRustlsFtpStream, Instant)>>,
    connections: Semaphore,
}

/// What one verb came to, and whether the connection is good for another.
type Outcome<T> = Result<T, FtpError>;

impl Ftp {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the authorities for TLS cannot be read.
    pub fn new(place: FtpPlace, setup: &HttpSetup) -> Result<Self, String> {
        let connections = Semaphore::new(place.connections.max(1));
        Ok(Self { place, tls: Arc::new(tls(setup)?), idle: Mutex::default(), connections })
    }

    fn container(&self, container: WorkspaceId) -> String {
        if self.place.folder.is_empty() { container.to_string() } else { format!("{}/{container}", self.place.folder) }
    }

    fn file(&self, container: WorkspaceId, name: ChunkName) -> String {
        let name = name.to_string();
        format!("{}/{}/{name}", self.container(container), &name[..2])
    }

    /// Does something on a connection; it is kept unless it broke.
    async fn on<T, F>(&self, verb: impl FnOnce(AsyncRustlsFtpStream) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = (AsyncRustlsFtpStream, Outcome<T>)>,
    {
        let _place = self.connections.acquire().await.map_err(|closed| Trouble::later(closed.to_string()))?;
        let line = match self.kept() {
            Some(line) => line,
            None => self.connect().await?,
        };
        let (line, outcome) = tokio::time::timeout(VERB_MAX, verb(line)).await.map_err(|_| self.silent())?;
        if outcome.as_ref().err().is_none_or(answered) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((line, Instant::now()));
        }
        outcome.map_err(|error| self.trouble(&error))
    }

    fn kept(&self) -> Option<AsyncRustlsFtpStream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < IDLE_MAX);
        idle.pop().map(|(line, _)| line)
    }

    async fn connect(&self) -> Result<AsyncRustlsFtpStream, Trouble> {
        let opening = async {
            let mut line = AsyncRustlsFtpStream::connect((self.place.host.as_str(), self.place.port)).await?;
            if self.place.tls == FtpTls::Explicit {
                let connector = AsyncRustlsConnector::from(tokio_rustls::TlsConnector::from(self.tls.clone()));
                line = line.into_secure(connector, &self.place.host).await?;
            }
            // A server behind a translated address names one that nobody reaches; the control connection's is right.
            line.set_mode(Mode::Passive);
            line.set_passive_nat_workaround(true);
            line.login(self.place.user.as_str(), self.place.password.as_str()).await?;
            line.transfer_type(FileType::Binary).await?;
            Ok(line)
        };
        match tokio::time::timeout(CONNECT_MAX, opening).await {
            Ok(line) => line.map_err(|error| self.trouble(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Trouble {
        Trouble::later(format!("{} does not answer", self.place.host))
    }

    fn trouble(&self, error: &FtpError) -> Trouble {
        let reason = format!("{}: {error}", self.place.host);
        match (error, code(error)) {
            (_, Some(421 | 425 | 426 | 450 | 451)) | (FtpError::ConnectionError(_) | FtpError::BadResponse, _) => {
                Trouble::later(reason)
            }
            (_, Some(452 | 552)) => Trouble::Full(reason),
            (_, Some(530 | 532)) => Trouble::Denied(reason),
            (_, Some(553)) => Trouble::NoContainer,
            _ => Trouble::Failed(reason),
        }
    }

    async fn size(&self, path: String) -> Result<Option<u64>, Trouble> {
        self.on(async |mut line| {
            let size = match line.size(&path).await {
                Ok(size) => Ok(Some(size as u64)),
                Err(error) if code(&error) == Some(550) => Ok(None),
                Err(error) => Err(error),
            };
            (line, size)
        })
        .await
    }

    async fn make(&self, path: &str) -> Result<(), Trouble> {
        self.on(async |mut line| {
            // Whether it failed because it is there shows when something is put into it.
            let made = line.mkdir(path).await;
            (line, made.or_else(|error| if answered(&error) { Ok(()) } else { Err(error) }))
        })
        .await
    }

    async fn write(&self, container: WorkspaceId, name: ChunkName, packed: Bytes) -> Result<(), Trouble> {
        let passing = format!("{}/{PASSING}/{}", self.container(container), uuid::Uuid::new_v4().simple());
        let path = self.file(container, name);
        self.on(async |mut line| {
            let written = store(&mut line, &passing, &path, &packed).await;
            if written.as_ref().err().is_some_and(answered) {
                // Nobody misses it; if it stays it is found by its place.
                let _ = line.rm(&passing).await;
            }
            (line, written)
        })
        .await
    }

    async fn read(&self, path: String) -> Result<Option<Bytes>, Trouble> {
        self.on(async |mut line| {
            let read = match fetch(&mut line, &path).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if code(&error) == Some(550) => Ok(None),
                Err(error) => Err(error),
            };
            (line, read)
        })
        .await
    }

    async fn erase(&self, path: String) -> Result<(), Trouble> {
        let refused = self
            .on(async |mut line| {
                let erased = match line.rm(&path).await {
                    Ok(()) => Ok(false),
                    Err(error) if code(&error) == Some(550) => Ok(true),
                    Err(error) => Err(error),
                };
                (line, erased)
            })
            .await?;
        // It was not there, or it may not be erased: the same word for both.
        if refused && self.size(path).await?.is_some() {
            return Err(Trouble::Denied(format!("{} does not let a chunk be removed", self.place.host)));
        }
        Ok(())
    }

    /// What a folder holds; nothing if there is none.
    async fn entries(&self, path: &str) -> Result<Vec<File>, Trouble> {
        self.on(async |mut line| {
            let lines = match line.mlsd(Some(path).filter(|path| !path.is_empty())).await {
                Ok(lines) => Ok(lines),
                Err(error) if code(&error) == Some(550) => Ok(Vec::new()),
                Err(error) => Err(error),
            };
            (line, lines.map(|lines| lines.iter().filter_map(|line| ListParser::parse_mlsd(line).ok()).collect()))
        })
        .await
    }

    async fn names(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        let folder = self.container(container);
        let from = after.map(|after| after.to_string());
        let from = from.as_deref().map_or("", |name| &name[..2]);
        let mut parts: Vec<String> = self
            .entries(&folder)
            .await?
            .iter()
            .filter(|entry| entry.name().len() == 2)
            .map(|entry| entry.name().to_owned())
            .collect();
        parts.sort();
        let mut found = Vec::new();
        for part in parts.into_iter().filter(|part| part.as_str() >= from) {
            let mut there: Vec<Stored> = self.entries(&format!("{folder}/{part}")).await?.iter().filter_map(stored).collect();
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
        for entry in self.entries(&folder).await?.iter().filter(|entry| entry.name().len() == 2 || entry.name() == PASSING) {
            let part = format!("{folder}/{}", entry.name());
            if entry.name() == PASSING {
                for left in self.entries(&part).await?.iter().filter(|left| !left.name().starts_with('.')) {
                    self.erase(format!("{part}/{}", left.name())).await?;
                }
            }
            self.remove_folder(&part).await?;
        }
        self.remove_folder(&folder).await
    }

    async fn remove_folder(&self, path: &str) -> Result<(), Trouble> {
        self.on(async |mut line| {
            let removed = match line.rmdir(path).await {
                // Gone already, or something came into it meanwhile.
                Err(error) if code(&error) == Some(550) => Ok(()),
                removed => removed,
            };
            (line, removed)
        })
        .await
    }
}

/// Whole under a passing name, then under its own.
async fn store(line: &mut AsyncRustlsFtpStream, passing: &str, path: &str, packed: &Bytes) -> Outcome<()> {
    let mut upload = match line.put_with_stream(passing).await {
        Ok(upload) => upload,
        // No such folder.
        Err(FtpError::UnexpectedResponse(mut response)) if response.status.code() == 550 => {
            response.status = suppaftp::Status::BadFilename;
            return Err(FtpError::UnexpectedResponse(response));
        }
        Err(error) => return Err(error),
    };
    upload.write_all(packed).await.map_err(FtpError::ConnectionError)?;
    upload.finish().await?;
    if line.size(passing).await? != packed.len() {
        return Err(FtpError::BadResponse);
    }
    match line.rename(passing, path).await {
        Err(error) if answered(&error) => {}
        renamed => return renamed,
    }
    // The first chunk in its folder; or this server does not replace files.
    if let Some((folder, _)) = path.rsplit_once('/') {
        let _ = line.mkdir(folder).await;
    }
    match line.rename(passing, path).await {
        Err(error) if answered(&error) => {
            let _ = line.rm(path).await;
            line.rename(passing, path).await
        }
        renamed => renamed,
    }
}

/// Nothing of what is longer than any chunk.
async fn fetch(line: &mut AsyncRustlsFtpStream, path: &str) -> Outcome<Bytes> {
    let mut download = line.retr_as_stream(path).await?;
    let mut bytes = BytesMut::new();
    loop {
        if download.read_buf(&mut bytes).await.map_err(FtpError::ConnectionError)? == 0 {
            break;
        }
        if bytes.len() > PACKED_BYTES_MAX {
            line.abort(download).await?;
            return Ok(Bytes::new());
        }
    }
    download.finish().await?;
    Ok(bytes.freeze())
}

/// The number of an answer.
fn code(error: &FtpError) -> Option<u32> {
    match error {
        FtpError::UnexpectedResponse(response) => Some(response.status.code()),
        _ => None,
    }
}

/// The server answered, so the connection is good.
fn answered(error: &FtpError) -> bool {
    code(error).is_some_and(|code| code != 421)
}

fn stored(entry: &File) -> Option<Stored> {
    let modified = Some(entry.modified()).filter(|at| *at > SystemTime::UNIX_EPOCH).unwrap_or_else(|| clock::listed(""));
    Some(Stored { name: entry.name().parse().ok()?, bytes: entry.size() as u64, modified })
}

impl Backend for Ftp {
    fn name(&self) -> String {
        format!("FTP server {}:{}", self.place.host, self.place.port)
    }

    fn prepare(&self) -> Work<'_, ()> {
        Box::pin(async move {
            let mut path = String::new();
            for part in self.place.folder.split('/') {
                path.push_str(part);
                if !part.is_empty() {
                    self.make(&path).await?;
                }
                path.push('/');
            }
            self.entries(&self.place.folder).await.map(drop)
        })
    }

    fn make_container(&self, container: WorkspaceId) -> Work<'_, ()> {
        Box::pin(async move {
            let folder = self.container(container);
            self.make(&folder).await?;
            self.make(&format!("{folder}/{PASSING}")).await
        })
    }

    fn remove_container(&self, container: WorkspaceId) -> Work<'_, ()> {
        Box::pin(self.remove_folders(container))
    }

    fn containers(&self) -> Work<'_, Vec<WorkspaceId>> {
        Box::pin(async move {
            let entries = self.entries(&self.place.folder).await?;
            Ok(entries.iter().filter_map(|entry| entry.name().parse::<WorkspaceId>().ok()).collect())
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
            self.write(container, name, packed).await.map(|()| Put::Stored)
        })
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<Bytes>> {
        Box::pin(self.read(self.file(container, name)))
    }

    fn remove(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, ()> {
        Box::pin(self.erase(self.file(container, name)))
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Work<'_, Vec<Stored>> {
        Box::pin(self.names(container, after, limit))
    }

    fn direct(&self, _: WorkspaceId, _: DirectOp, _: ChunkName, _: Duration) -> Work<'_, Option<Direct>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
