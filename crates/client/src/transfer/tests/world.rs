//! A service in memory: a desk that gives tickets, and a storage behind HTTP that can be told to misbehave.

use super::super::{Tickets, Transfer, TransferLimits, Via};
use crate::session::Connector;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use stacksync_chunks::batch::{self, Decoder};
use stacksync_chunks::bundle::{self, Part};
use stacksync_chunks::store::{ChunkStore, MemoryStore, StoreError};
use stacksync_core::engine::{CallError, FileId, Stat};
use stacksync_core::values::{ChunkName, Kind, ModifiedAt, WorkspaceId};
use stacksync_protocol::chunk_service::{
    AddedBundles, BundlePart, BundlePlace, BundleTickets, CHECK_HEADER, GetTickets, PutTickets, Ticket,
};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

pub(super) const HOME: WorkspaceId = WorkspaceId(Uuid::from_u128(1));

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// This answer, without doing anything.
    Status(u16),
    /// The body of the answer ends early.
    CutOff,
    /// A byte of the body of the answer is another one.
    Flip,
    /// This answer, with a word on when to come again.
    RetryAfter(u16, &'static str),
    /// No answer.
    Silence,
}

/// The storage's side.
pub(super) struct Site {
    pub(super) store: MemoryStore,
    /// Bundles, each with what its table says once the service has heard of it.
    pub(super) bundles: Mutex<HashMap<ChunkName, (Bytes, Vec<Part>)>>,
    faults: Mutex<Vec<(&'static str, usize, Fault)>>,
    requests: Mutex<Vec<String>>,
}

/// The service's side.
pub(super) struct Desk {
    site: Arc<Site>,
    pub(super) batches: Mutex<bool>,
    /// Whether small chunks go into bundles, and whether the service relies on them.
    pub(super) bundles: Mutex<Option<bool>>,
    pub(super) calls: Mutex<Vec<usize>>,
}

pub(super) struct World {
    pub(super) site: Arc<Site>,
    pub(super) desk: Arc<Desk>,
    pub(super) transfer: Transfer,
    pub(super) folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_patience(Duration::from_millis(250)).await
    }

    /// A request during which nothing moves for so long has failed.
    pub(super) async fn with_patience(patience: Duration) -> Self {
        let site = Arc::new(Site {
            store: MemoryStore::new(),
            bundles: Mutex::default(),
            faults: Mutex::default(),
            requests: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(serve(listener, site.clone()));
        let limits = TransferLimits { patience, retry_delay: Duration::from_millis(1), ..TransferLimits::default() };
        Self {
            desk: Arc::new(Desk {
                site: site.clone(),
                batches: Mutex::new(true),
                bundles: Mutex::default(),
                calls: Mutex::default(),
            }),
            site,
            transfer: Transfer::new(Connector::new(address, None).unwrap(), limits),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A file with these bytes, last modified long ago.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(bytes).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
        path
    }

    pub(super) fn target(&self) -> Arc<File> {
        Arc::new(tempfile::tempfile_in(self.folder.path()).unwrap())
    }
}

pub(super) fn look(path: &Path) -> Stat {
    let seen = std::fs::metadata(path).unwrap();
    Stat {
        kind: Kind::File,
        file: FileId { inode: seen.ino(), born_ns: 0 },
        size: seen.len(),
        modified: ModifiedAt(seen.mtime() * 1_000_000_000 + seen.mtime_nsec()),
        changed_ns: seen.ctime() * 1_000_000_000 + seen.ctime_nsec(),
        executable: false,
        target: None,
    }
}

impl Site {
    /// The next `times` requests whose method and path begin like this go wrong.
    pub(super) fn misbehave(&self, request: &'static str, times: usize, fault: Fault) {
        self.faults.lock().unwrap().push((request, times, fault));
    }

    pub(super) fn behave(&self) {
        self.faults.lock().unwrap().clear();
    }

    pub(super) fn count(&self, request: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|seen| seen.starts_with(request)).count()
    }

    fn fault(&self, request: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let found = faults.iter_mut().find(|(start, times, _)| request.starts_with(start) && *times > 0)?;
        found.1 -= 1;
        Some(found.2)
    }

    async fn answer(&self, request: Request<Incoming>) -> (StatusCode, Vec<u8>) {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path().to_owned();
        if let Some(name) = path.strip_prefix("/bundle/") {
            return self.bundle(&parts.method, name.parse().unwrap(), parts.headers.get("range"), body);
        }
        match (parts.method.as_str(), path.strip_prefix("/chunk/")) {
            ("PUT", Some(name)) => self.put(vec![(name.parse().unwrap(), body)]).await,
            ("GET", Some(name)) => {
                let name = name.parse().unwrap();
                if parts.headers.contains_key(CHECK_HEADER) {
                    self.store.check(HOME, name).await.unwrap();
                }
                match self.store.get(HOME, name).await.unwrap() {
                    Some(packed) => (StatusCode::OK, packed.to_vec()),
                    None => (StatusCode::NOT_FOUND, Vec::new()),
                }
            }
            ("POST", None) if path == "/put" => {
                let mut decoder = Decoder::new();
                decoder.push(&body);
                let mut chunks = Vec::new();
                while let Some(record) = decoder.next_record().unwrap() {
                    chunks.push(record);
                }
                decoder.finish().unwrap();
                self.put(chunks).await
            }
            ("POST", None) if path == "/get" => {
                let mut answer = Vec::new();
                for name in body.as_chunks::<32>().0 {
                    let name = ChunkName::from_bytes(*name);
                    let packed = self.store.get(HOME, name).await.unwrap();
                    batch::append(&mut answer, &name, packed.as_deref().unwrap_or_default());
                }
                (StatusCode::OK, answer)
            }
            _ => (StatusCode::BAD_REQUEST, b"what?".to_vec()),
        }
    }

    fn bundle(&self, method: &Method, name: ChunkName, range: Option<&HeaderValue>, body: Bytes) -> (StatusCode, Vec<u8>) {
        let mut bundles = self.bundles.lock().unwrap();
        if method == Method::PUT {
            bundles.insert(name, (body, Vec::new()));
            return (StatusCode::CREATED, Vec::new());
        }
        let Some((bytes, _)) = bundles.get(&name) else { return (StatusCode::NOT_FOUND, Vec::new()) };
        let (start, end) = range.unwrap().to_str().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        (StatusCode::PARTIAL_CONTENT, bytes[start..bytes.len().min(end + 1)].to_vec())
    }

    /// Where the chunks are that lie in bundles.
    fn places(&self, chunks: &[ChunkName]) -> Vec<BundlePlace> {
        let bundles = self.bundles.lock().unwrap();
        let place = |(name, (_, parts)): (&ChunkName, &(Bytes, Vec<Part>))| BundlePlace {
            ticket: ticket(None, "GET", format!("/bundle/{name}")),
            parts: (0_u32..)
                .zip(chunks)
                .filter_map(|(chunk, name)| Some((chunk, parts.iter().find(|part| part.name == *name)?)))
                .map(|(chunk, part)| BundlePart { chunk, start: part.start, length: part.length })
                .collect(),
        };
        bundles.iter().map(place).collect()
    }

    async fn put(&self, chunks: Vec<(ChunkName, Bytes)>) -> (StatusCode, Vec<u8>) {
        match self.store.put_batch(HOME, chunks).await {
            Ok(()) => (StatusCode::NO_CONTENT, Vec::new()),
            Err(StoreError::Full { .. }) => (StatusCode::INSUFFICIENT_STORAGE, Vec::new()),
            Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string().into_bytes()),
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, site: Arc<Site>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let site = site.clone();
        let service = service_fn(move |request| respond(site.clone(), request));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond(site: Arc<Site>, request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, std::io::Error>>, std::io::Error> {
    let line = format!("{} {}", request.method(), request.uri().path());
    site.requests.lock().unwrap().push(line.clone());
    let fault = site.fault(&line);
    if let Some(Fault::Status(status) | Fault::RetryAfter(status, _)) = fault {
        // Read first, so that the client is not in the middle of sending.
        let _ = request.into_body().collect().await;
        let body = Full::new(Bytes::from_static(b"told to fail")).map_err(|never| match never {}).boxed();
        let mut response = Response::builder().status(status);
        if let Some(Fault::RetryAfter(_, when)) = fault {
            response = response.header("retry-after", when);
        }
        return Ok(response.body(body).unwrap());
    }
    if fault == Some(Fault::Silence) {
        std::future::pending::<()>().await;
    }
    let (status, mut body) = site.answer(request).await;
    if fault == Some(Fault::Flip) {
        *body.last_mut().unwrap() ^= 1;
    }
    let body = if fault == Some(Fault::CutOff) {
        let half = Bytes::copy_from_slice(&body[..body.len() / 2]);
        let parts = [Ok(Frame::data(half)), Err(std::io::Error::other("cut off"))];
        http_body_util::StreamBody::new(futures_util::stream::iter(parts)).boxed()
    } else {
        Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
    };
    Ok(Response::builder().status(status).body(body).unwrap())
}

fn ticket(chunk: Option<u32>, method: &str, url: String) -> Ticket {
    Ticket { chunk, method: method.to_owned(), url, headers: vec![], checksum: None, expires: u64::MAX }
}

impl Desk {
    fn singles(&self, method: &str, chunks: &[ChunkName], batched: &[u32], wanted: &[u32]) -> Vec<Ticket> {
        let batches = *self.batches.lock().unwrap();
        let alone = wanted.iter().filter(|index| !batches || !batched.contains(index));
        alone.map(|&index| ticket(Some(index), method, format!("/chunk/{}", chunks[index as usize]))).collect()
    }

    fn batch(&self, url: &str) -> Option<Ticket> {
        self.batches.lock().unwrap().then(|| ticket(None, "POST", url.to_owned()))
    }
}

impl Tickets for Desk {
    fn put(&self, chunks: Vec<ChunkName>, batched: Vec<u32>, _: Via) -> BoxFuture<'_, Result<PutTickets, CallError>> {
        Box::pin(async move {
            self.calls.lock().unwrap().push(chunks.len());
            let present =
                self.site.store.present(HOME, chunks.clone()).await.map_err(|error| CallError::NotNow(error.to_string()))?;
            let bundled: HashSet<u32> =
                self.site.places(&chunks).iter().flat_map(|place| &place.parts).map(|part| part.chunk).collect();
            let lacks = |index: &u32| !present[*index as usize] && !bundled.contains(index);
            let missing: Vec<u32> = (0..chunks.len() as u32).filter(lacks).collect();
            if self.bundles.lock().unwrap().is_some() && !batched.is_empty() {
                let alone: Vec<u32> = missing.iter().copied().filter(|index| !batched.contains(index)).collect();
                let tickets = self.singles("PUT", &chunks, &[], &alone);
                return Ok(PutTickets { missing, tickets, batch: None, bundles: true });
            }
            let tickets = self.singles("PUT", &chunks, &batched, &missing);
            Ok(PutTickets { missing, tickets, batch: self.batch("/put"), bundles: false })
        })
    }

    fn put_bundles(&self, bundles: Vec<ChunkName>) -> BoxFuture<'_, Result<BundleTickets, CallError>> {
        let tickets = (0_u32..).zip(bundles).map(|(index, name)| ticket(Some(index), "PUT", format!("/bundle/{name}"))).collect();
        Box::pin(std::future::ready(Ok(BundleTickets { tickets })))
    }

    fn add_bundles(&self, bundles: Vec<ChunkName>) -> BoxFuture<'_, Result<AddedBundles, CallError>> {
        let relied_on = self.bundles.lock().unwrap().unwrap_or(false);
        let mut there = self.site.bundles.lock().unwrap();
        let added = bundles.iter().map(|name| {
            let (bytes, parts) = there.get_mut(name).unwrap();
            if relied_on {
                *parts = bundle::read_table(*name, bytes).unwrap().parts;
            }
            relied_on
        });
        let added = added.collect();
        Box::pin(std::future::ready(Ok(AddedBundles { added })))
    }

    fn get(&self, chunks: Vec<ChunkName>, batched: Vec<u32>, _: Via) -> BoxFuture<'_, Result<GetTickets, CallError>> {
        Box::pin(async move {
            self.calls.lock().unwrap().push(chunks.len());
            let mut all: Vec<u32> = (0..chunks.len() as u32).collect();
            if self.bundles.lock().unwrap().is_some() && !batched.is_empty() {
                let bundles = self.site.places(&chunks);
                let held: HashSet<u32> = bundles.iter().flat_map(|place| &place.parts).map(|part| part.chunk).collect();
                all.retain(|index| !held.contains(index));
                return Ok(GetTickets { tickets: self.singles("GET", &chunks, &[], &all), batch: None, bundles });
            }
            Ok(GetTickets { tickets: self.singles("GET", &chunks, &batched, &all), batch: self.batch("/get"), bundles: vec![] })
        })
    }
}
