//! FTP, with or without TLS, as a server of files for [`crate::fanned`].
//!
//! FTP has no "only if absent": two who store the same chunk at once bring the same bytes.

use crate::backend::{Put, Trouble, When, Work};
use crate::clock;
use crate::fanned::{Entry, FileServer};
use crate::http::{HttpSetup, tls};
use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use stacksync_chunks::pack::PACKED_BYTES_MAX;
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

/// The word for what is not there, and for much else.
fn absent_is_none<T>(answer: Outcome<T>) -> Outcome<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if code(&error) == Some(550) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The server answered, so the connection is good.
fn answered(error: &FtpError) -> bool {
    code(error).is_some_and(|code| code != 421)
}

fn entry(file: &File) -> Entry {
    let modified = Some(file.modified()).filter(|at| *at > SystemTime::UNIX_EPOCH).unwrap_or_else(|| clock::listed(""));
    Entry { name: file.name().to_owned(), bytes: file.size() as u64, modified }
}

impl FileServer for Ftp {
    fn title(&self) -> String {
        format!("FTP server {}:{}", self.place.host, self.place.port)
    }

    fn root(&self) -> &str {
        &self.place.folder
    }

    fn entries(&self, folder: String) -> Work<'_, Vec<Entry>> {
        Box::pin(self.on(async move |mut line| {
            let lines = line.mlsd(Some(folder.as_str()).filter(|folder| !folder.is_empty())).await;
            let listed = absent_is_none(lines).map(Option::unwrap_or_default);
            let files = |lines: Vec<String>| lines.iter().filter_map(|line| ListParser::parse_mlsd(line).ok()).collect::<Vec<_>>();
            let entries =
                |lines| files(lines).iter().map(entry).filter(|entry| !matches!(entry.name.as_str(), "." | "..")).collect();
            (line, listed.map(entries))
        }))
    }

    fn make_folder(&self, path: String) -> Work<'_, ()> {
        Box::pin(self.on(async move |mut line| {
            let made = line.mkdir(&path).await;
            (line, made.or_else(|error| if answered(&error) { Ok(()) } else { Err(error) }))
        }))
    }

    fn remove_folder(&self, path: String) -> Work<'_, ()> {
        Box::pin(self.on(async move |mut line| {
            let removed = absent_is_none(line.rmdir(&path).await);
            (line, removed.map(drop))
        }))
    }

    fn size(&self, path: String) -> Work<'_, Option<u64>> {
        Box::pin(self.on(async move |mut line| {
            let size = absent_is_none(line.size(&path).await);
            (line, size.map(|size| size.map(|bytes| bytes as u64)))
        }))
    }

    fn write(&self, passing: String, path: String, bytes: Bytes, _: When) -> Work<'_, Put> {
        Box::pin(self.on(async move |mut line| {
            let written = store(&mut line, &passing, &path, &bytes).await;
            if written.as_ref().err().is_some_and(answered) {
                // Nobody misses it; if it stays it is found by its place.
                let _ = line.rm(&passing).await;
            }
            (line, written.map(|()| Put::Stored))
        }))
    }

    fn read(&self, path: String) -> Work<'_, Option<Bytes>> {
        Box::pin(self.on(async move |mut line| {
            let read = absent_is_none(fetch(&mut line, &path).await);
            (line, read)
        }))
    }

    fn erase(&self, path: String) -> Work<'_, ()> {
        Box::pin(async move {
            let refused = self
                .on(async |mut line| {
                    let erased = absent_is_none(line.rm(&path).await);
                    (line, erased.map(|erased| erased.is_none()))
                })
                .await?;
            // It was not there, or it may not be erased: the same word for both.
            if refused && self.size(path).await?.is_some() {
                return Err(Trouble::Denied(format!("{} does not let a chunk be removed", self.place.host)));
            }
            Ok(())
        })
    }
}
