//! S3, of Amazon or of any other: one bucket, in it a prefix for each workspace, chunks by name: `PREFIX/WORKSPACE/NAME`.
//!
//! A chunk is put with `If-None-Match: *` where the storage honours it, so that nothing is ever overwritten, neither by the service
//! nor with an address that a device was given. Storages that answer 501 to it are asked first instead.

mod credentials;
mod sign;
mod xml;

pub use credentials::{CredentialsError, from_environment, from_profile};
pub use sign::Keys;

use crate::backend::{Backend, PartRead, Put, Trouble, When, Work};
use crate::clock::{self, Clock};
use crate::digest::{hex, md5_base64, sha256};
use crate::http::{Http, HttpSetup, Reply, range};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use sign::{Signer, Slash, Subject, encode, query};
use stacksync_chunks::bundle::BUNDLE_BYTES_MAX;
use stacksync_chunks::pack::PACKED_BYTES_MAX;
use stacksync_chunks::store::{BodyChecksum, Direct, DirectOp, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest listing that is read.
const LISTING_BYTES_MAX: usize = 4 << 20;
/// The hash of an empty body.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Where the chunks are.
#[derive(Clone, Debug)]
pub struct S3Place {
    /// `https://host[:port]` as the service reaches it.
    pub endpoint: String,
    /// The same as devices reach it.
    pub public_endpoint: String,
    /// Region, part of every signature.
    pub region: String,
    /// The bucket; made if it is not there and the keys allow it.
    pub bucket: String,
    /// What all keys begin with; empty or ending with `/`.
    pub prefix: String,
    /// Where the bucket is in an address.
    pub style: Style,
}

/// Where the bucket is in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `https://host/bucket/key`.
    Path,
    /// `https://bucket.host/key`.
    Host,
}

/// Chunks in a bucket.
pub struct S3 {
    place: S3Place,
    signer: Signer,
    http: Http,
    clock: Clock,
    /// Until the storage says that it knows no conditional put.
    conditional: AtomicBool,
}

/// One request.
struct Ask<'a> {
    method: &'a str,
    key: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Bytes,
    answer_max: usize,
}

impl<'a> Ask<'a> {
    const fn new(method: &'a str, key: String) -> Self {
        Self { method, key, query: Vec::new(), headers: Vec::new(), body: Bytes::new(), answer_max: LISTING_BYTES_MAX }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }
}

impl S3 {
    /// The requests will be signed with these keys. Nothing is asked yet.
    ///
    /// # Errors
    /// When the authorities for TLS cannot be read.
    pub fn new(place: S3Place, keys: Keys, setup: &HttpSetup) -> Result<Self, String> {
        let signer = Signer { keys, region: place.region.clone() };
        Ok(Self { place, signer, http: Http::new(setup)?, clock: Clock::default(), conditional: AtomicBool::new(true) })
    }

    fn folder(&self, container: WorkspaceId) -> String {
        format!("{}{container}/", self.place.prefix)
    }

    fn key(&self, container: WorkspaceId, name: ChunkName) -> String {
        format!("{}{name}", self.folder(container))
    }

    /// Scheme, host and path of a key; an empty key is the bucket.
    fn address(&self, endpoint: &str, key: &str) -> (String, String, String) {
        let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
        let bucket = &self.place.bucket;
        match self.place.style {
            Style::Path if key.is_empty() => (scheme.to_owned(), host.to_owned(), format!("/{bucket}")),
            Style::Path => (scheme.to_owned(), host.to_owned(), format!("/{bucket}/{key}")),
            Style::Host => (scheme.to_owned(), format!("{bucket}.{host}"), format!("/{key}")),
        }
    }

    /// One attempt; a second one if the storage's clock is another than ours.
    async fn ask(&self, ask: Ask<'_>) -> Result<Reply, Trouble> {
        let reply = self.ask_once(&ask).await?;
        if reply.status == 403
            && code(&reply).as_deref() == Some("RequestTimeTooSkewed")
            && reply.header("date").is_some_and(|date| self.clock.learn(date))
        {
            tracing::warn!(
                storage = self.name(),
                "the storage's clock differs from this computer's; signatures follow the storage's"
            );
            return self.ask_once(&ask).await;
        }
        Ok(reply)
    }

    async fn ask_once(&self, ask: &Ask<'_>) -> Result<Reply, Trouble> {
        let (scheme, host, path) = self.address(&self.place.endpoint, &ask.key);
        let mut headers = ask.headers.clone();
        headers.push(("host".to_owned(), host.clone()));
        let subject = Subject { method: ask.method, path: &path, query: ask.query.clone(), headers: headers.clone() };
        let hash = if ask.body.is_empty() { EMPTY_SHA256.to_owned() } else { hex(sha256(&ask.body).as_ref()) };
        headers.extend(self.signer.headers(subject, &hash, self.clock.now()));
        let mut parts = ask.query.clone();
        let query = query(&mut parts);
        let address = format!("{scheme}://{host}{}{}{query}", encode(&path, Slash::Kept), if query.is_empty() { "" } else { "?" });
        let mut request = Request::builder().method(ask.method).uri(address);
        if ask.method == "PUT" {
            // Of an empty body, too: without it, it is refused.
            request = request.header("content-length", ask.body.len());
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(ask.body.clone())).map_err(|error| Trouble::Failed(error.to_string()))?;
        self.http.send(request, ask.answer_max).await
    }

    async fn put_once(&self, container: WorkspaceId, name: ChunkName, packed: &Bytes, when: When) -> Result<Put, Trouble> {
        let mut ask = Ask::new("PUT", self.key(container, name));
        ask.headers.push(("content-md5".to_owned(), md5_base64(packed)));
        ask.body = packed.clone();
        let conditional = when == When::Absent && self.conditional.load(Ordering::Relaxed);
        if conditional {
            ask.headers.push(("if-none-match".to_owned(), "*".to_owned()));
        } else if when == When::Absent && self.look(container, name).await?.is_some() {
            return Ok(Put::WasThere);
        }
        let reply = self.ask(ask).await?;
        match reply.status.as_u16() {
            200..=299 => Ok(Put::Stored),
            412 if conditional => Ok(Put::WasThere),
            501 if conditional => {
                tracing::info!(storage = self.name(), "the storage has no conditional put; it is asked before each one");
                self.conditional.store(false, Ordering::Relaxed);
                Box::pin(self.put_once(container, name, packed, when)).await
            }
            _ => Err(trouble(&reply, "storing a chunk")),
        }
    }

    async fn look(&self, container: WorkspaceId, name: ChunkName) -> Result<Option<u64>, Trouble> {
        let reply = self.ask(Ask::new("HEAD", self.key(container, name))).await?;
        match reply.status.as_u16() {
            200 => Ok(Some(reply.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0))),
            404 => Ok(None),
            _ => Err(trouble(&reply, "looking for a chunk")),
        }
    }

    async fn read(&self, container: WorkspaceId, name: ChunkName) -> Result<Option<Bytes>, Trouble> {
        let mut ask = Ask::new("GET", self.key(container, name));
        ask.answer_max = PACKED_BYTES_MAX;
        let reply = self.ask(ask).await?;
        match reply.status.as_u16() {
            200 => Ok(Some(reply.body)),
            404 => Ok(None),
            _ => Err(trouble(&reply, "reading a chunk")),
        }
    }

    async fn read_part(
        &self,
        container: WorkspaceId,
        name: ChunkName,
        start: u64,
        length: u64,
    ) -> Result<Option<PartRead>, Trouble> {
        let mut ask = Ask::new("GET", self.key(container, name));
        ask.headers.push(("range".to_owned(), range(start, length)));
        ask.answer_max = BUNDLE_BYTES_MAX;
        let reply = self.ask(ask).await?;
        if matches!(reply.status.as_u16(), 200 | 206 | 404 | 416) {
            reply.part(start, length)
        } else {
            Err(trouble(&reply, "reading a part of a bundle"))
        }
    }

    async fn names(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Result<Vec<Stored>, Trouble> {
        let folder = self.folder(container);
        let mut ask = Ask::new("GET", String::new()).with("list-type", "2").with("prefix", &folder);
        ask = ask.with("max-keys", limit.clamp(1, 1_000).to_string());
        if let Some(after) = after {
            ask = ask.with("start-after", format!("{folder}{after}"));
        }
        let reply = self.ask(ask).await?;
        if !reply.status.is_success() {
            return Err(trouble(&reply, "listing chunks"));
        }
        Ok(listed(&reply.body, &folder))
    }

    async fn folders(&self) -> Result<Vec<WorkspaceId>, Trouble> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let mut ask =
                Ask::new("GET", String::new()).with("list-type", "2").with("delimiter", "/").with("prefix", &self.place.prefix);
            if let Some(next) = next.take() {
                ask = ask.with("continuation-token", next);
            }
            let reply = self.ask(ask).await?;
            if !reply.status.is_success() {
                return Err(trouble(&reply, "listing workspaces"));
            }
            xml::walk(&reply.body, |path, text| match path {
                [_, common, prefix] if common == "CommonPrefixes" && prefix == "Prefix" => {
                    let own = text.strip_prefix(&self.place.prefix).and_then(|rest| rest.strip_suffix('/'));
                    found.extend(own.and_then(|name| name.parse::<WorkspaceId>().ok()));
                }
                [_, token] if token == "NextContinuationToken" => next = Some(text.to_owned()),
                _ => {}
            });
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    async fn bucket(&self) -> Result<(), Trouble> {
        let ask = Ask::new("GET", String::new()).with("list-type", "2").with("max-keys", "1").with("prefix", &self.place.prefix);
        let reply = self.ask(ask).await?;
        match reply.status.as_u16() {
            200 => return Ok(()),
            404 => {}
            _ => return Err(trouble(&reply, "looking at the bucket")),
        }
        let mut ask = Ask::new("PUT", String::new());
        if !matches!(&*self.place.region, "us-east-1" | "") && self.place.endpoint.contains(".amazonaws.com") {
            let region = &self.place.region;
            ask.body =
                format!("<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>")
                    .into();
        }
        let reply = self.ask(ask).await?;
        if reply.status.is_success() || matches!(code(&reply).as_deref(), Some("BucketAlreadyOwnedByYou")) {
            return Ok(());
        }
        Err(trouble(&reply, "making the bucket"))
    }

    fn sign(&self, container: WorkspaceId, op: DirectOp, name: ChunkName, lifetime: Duration) -> Direct {
        let method = if op == DirectOp::Put { "PUT" } else { "GET" };
        let (scheme, host, path) = self.address(&self.place.public_endpoint, &self.key(container, name));
        let mut headers = vec![("host".to_owned(), host.clone())];
        let mut sent = Vec::new();
        if op == DirectOp::Put && self.conditional.load(Ordering::Relaxed) {
            sent.push(("if-none-match".to_owned(), "*".to_owned()));
        }
        headers.extend(sent.iter().cloned());
        let query =
            self.signer.query(Subject { method, path: &path, query: Vec::new(), headers }, lifetime.as_secs(), self.clock.now());
        Direct {
            method,
            url: format!("{scheme}://{host}{}?{query}", encode(&path, Slash::Kept)),
            headers: sent,
            checksum: (op == DirectOp::Put).then_some(BodyChecksum::ContentMd5),
        }
    }
}

fn listed(document: &[u8], folder: &str) -> Vec<Stored> {
    let mut found = Vec::new();
    let (mut name, mut bytes, mut modified) = (None, 0, clock::listed(""));
    xml::walk(document, |path, text| {
        let [_, contents, rest @ ..] = path else { return };
        if contents != "Contents" {
            return;
        }
        match rest {
            [] => found.extend(name.take().map(|name| Stored { name, bytes, modified })),
            [field] if field == "Key" => name = text.strip_prefix(folder).and_then(|name| name.parse().ok()),
            [field] if field == "Size" => bytes = text.parse().unwrap_or(0),
            [field] if field == "LastModified" => modified = clock::listed(text),
            _ => {}
        }
    });
    found
}

/// The stable word of an error.
fn code(reply: &Reply) -> Option<String> {
    xml::text(&reply.body, &["Error", "Code"])
}

fn trouble(reply: &Reply, what: &str) -> Trouble {
    let code = code(reply);
    let message = xml::text(&reply.body, &["Error", "Message"]).unwrap_or_default();
    let reason = format!("{what}: {} {} {message}", reply.status, code.as_deref().unwrap_or_default());
    match code.as_deref() {
        Some("QuotaExceeded" | "InsufficientCapacity" | "XMinioStorageFull") => Trouble::Full(reason),
        Some("SlowDown" | "OperationAborted" | "ConditionalRequestConflict" | "RequestTimeout" | "InternalError" | "BadDigest") => {
            Trouble::later(reason)
        }
        Some("NoSuchBucket") => Trouble::Failed(format!("{what}: the bucket is not there (any more)")),
        Some("RequestTimeTooSkewed") => {
            Trouble::Denied(format!("{what}: the clocks of this computer and of the storage differ too much"))
        }
        Some(_) if reply.status == 403 => Trouble::Denied(reason),
        _ => reply.trouble(what),
    }
}

impl Backend for S3 {
    fn name(&self) -> String {
        format!("S3 bucket {} at {}", self.place.bucket, self.place.endpoint)
    }

    fn prepare(&self) -> Work<'_, ()> {
        Box::pin(self.bucket())
    }

    fn make_container(&self, _: WorkspaceId) -> Work<'_, ()> {
        // A prefix needs no making.
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove_container(&self, _: WorkspaceId) -> Work<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn containers(&self) -> Work<'_, Vec<WorkspaceId>> {
        Box::pin(self.folders())
    }

    fn length(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<u64>> {
        Box::pin(self.look(container, name))
    }

    fn put(&self, container: WorkspaceId, name: ChunkName, packed: Bytes, when: When) -> Work<'_, Put> {
        Box::pin(async move { self.put_once(container, name, &packed, when).await })
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<Bytes>> {
        Box::pin(self.read(container, name))
    }

    fn get_part(&self, container: WorkspaceId, name: ChunkName, start: u64, length: u64) -> Work<'_, Option<PartRead>> {
        Box::pin(self.read_part(container, name, start, length))
    }

    fn remove(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, ()> {
        Box::pin(async move {
            let reply = self.ask(Ask::new("DELETE", self.key(container, name))).await?;
            if reply.status.is_success() || reply.status == 404 { Ok(()) } else { Err(trouble(&reply, "removing a chunk")) }
        })
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Work<'_, Vec<Stored>> {
        Box::pin(self.names(container, after, limit))
    }

    fn direct(&self, container: WorkspaceId, op: DirectOp, name: ChunkName, lifetime: Duration) -> Work<'_, Option<Direct>> {
        Box::pin(std::future::ready(Ok(Some(self.sign(container, op, name, lifetime)))))
    }
}
