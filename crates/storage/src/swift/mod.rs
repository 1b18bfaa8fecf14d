//! OpenStack Swift: a container for each workspace, chunks by name in it.
//!
//! Devices come with TempURLs, signed by a key of the account with SHA-256. A put carries `If-None-Match: *` and the MD5 of what it
//! brings, and a TempURL is for one method and one object.

mod login;

pub use login::{Login, LoginVersion};

use crate::backend::{Backend, PartRead, Put, Trouble, When, Work};
use crate::clock::{self, Clock};
use crate::digest::{hex, hmac_sha256, md5_hex};
use crate::http::{Http, HttpSetup, Reply, range};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use login::{Access, Session};
use serde_json::Value;
use stacksync_chunks::bundle::BUNDLE_BYTES_MAX;
use stacksync_chunks::pack::PACKED_BYTES_MAX;
use stacksync_chunks::store::{BodyChecksum, Direct, DirectOp, Stored};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Longest listing that is read.
const LISTING_BYTES_MAX: usize = 4 << 20;
/// Entries of a listing.
const PAGE: usize = 1_000;
/// Length of a key that is made.
const KEY_BYTES: usize = 32;
/// The key is looked at again after so long: another instance may have made it at the same time, or an operator a new one.
const KEY_TRUSTED: Duration = Duration::from_secs(60);
/// Header of the account with the key that signs TempURLs; beside the first one, which may be somebody else's.
const KEY_HEADER: &str = "x-account-meta-temp-url-key-2";

/// Where the chunks are, and who the service is there.
#[derive(Clone, Debug)]
pub struct SwiftPlace {
    /// How to log in.
    pub login: Login,
    /// The storage as devices reach it: `http(s)://host[:port]`; `None`: as the service does.
    pub public_address: Option<String>,
    /// What the names of containers begin with.
    pub prefix: String,
}

/// Chunks in Swift.
pub struct Swift {
    place: SwiftPlace,
    session: Session,
    http: Http,
    clock: Clock,
    /// The key that signs TempURLs, once it is known.
    key: Mutex<Option<(Arc<Zeroizing<String>>, Instant)>>,
}

/// One request below the account.
struct Ask<'a> {
    method: &'a str,
    path: String,
    headers: Vec<(&'a str, String)>,
    body: Bytes,
    answer_max: usize,
}

impl<'a> Ask<'a> {
    const fn new(method: &'a str, path: String) -> Self {
        Self { method, path, headers: Vec::new(), body: Bytes::new(), answer_max: LISTING_BYTES_MAX }
    }

    fn with(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Swift {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When the authorities for TLS cannot be read.
    pub fn new(place: SwiftPlace, setup: &HttpSetup) -> Result<Self, String> {
        let http = Http::new(setup)?;
        let session = Session::new(place.login.clone(), http.clone());
        Ok(Self { place, session, http, clock: Clock::default(), key: Mutex::default() })
    }

    fn container(&self, container: WorkspaceId) -> String {
        format!("/{}{container}", self.place.prefix)
    }

    fn object(&self, container: WorkspaceId, name: ChunkName) -> String {
        format!("{}/{name}", self.container(container))
    }

    /// One attempt; a second one with a fresh token if this one is refused.
    async fn ask(&self, ask: Ask<'_>) -> Result<Reply, Trouble> {
        let access = self.session.access().await?;
        let reply = self.ask_as(&access, &ask).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        self.session.refused(&access).await;
        let access = self.session.access().await?;
        self.ask_as(&access, &ask).await
    }

    async fn ask_as(&self, access: &Access, ask: &Ask<'_>) -> Result<Reply, Trouble> {
        let mut request = Request::builder().method(ask.method).uri(format!("{}{}", access.storage, ask.path));
        request = request.header("x-auth-token", access.token.as_str());
        if matches!(ask.method, "PUT" | "POST") {
            request = request.header("content-length", ask.body.len());
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(ask.body.clone())).map_err(|error| Trouble::Failed(error.to_string()))?;
        let reply = self.http.send(request, ask.answer_max).await?;
        if let Some(date) = reply.header("date") {
            // TempURLs end by the storage's clock.
            self.clock.learn(date);
        }
        Ok(reply)
    }

    /// An account that can be used has a key that signs; makes one if there is none.
    async fn signing_key(&self) -> Result<Arc<Zeroizing<String>>, Trouble> {
        let mut key = self.key.lock().await;
        if let Some((key, _)) = key.as_ref().filter(|(_, seen)| seen.elapsed() < KEY_TRUSTED) {
            return Ok(key.clone());
        }
        let reply = self.ask(Ask::new("HEAD", String::new())).await?;
        if !reply.status.is_success() {
            return Err(reply.trouble("looking at the account"));
        }
        let there = reply.header(KEY_HEADER).filter(|key| key.len() >= KEY_BYTES).map(|key| Zeroizing::new(key.to_owned()));
        let found = match there {
            Some(key) => key,
            None => self.make_key().await?,
        };
        let found = Arc::new(found);
        *key = Some((found.clone(), Instant::now()));
        Ok(found)
    }

    async fn make_key(&self) -> Result<Zeroizing<String>, Trouble> {
        let mut random = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *random).map_err(|error| Trouble::Failed(format!("the system gives no random bytes: {error}")))?;
        let key = Zeroizing::new(hex(&*random));
        let reply = self.ask(Ask::new("POST", String::new()).with(KEY_HEADER, key.as_str())).await?;
        if reply.status.is_success() { Ok(key) } else { Err(reply.trouble("setting the key that signs addresses")) }
    }

    async fn put_once(&self, container: WorkspaceId, name: ChunkName, packed: Bytes, when: When) -> Result<Put, Trouble> {
        let mut ask = Ask::new("PUT", self.object(container, name)).with("etag", md5_hex(&packed));
        if when == When::Absent {
            ask = ask.with("if-none-match", "*");
        }
        ask.body = packed;
        let reply = self.ask(ask).await?;
        match reply.status.as_u16() {
            200..=299 => Ok(Put::Stored),
            412 if when == When::Absent => Ok(Put::WasThere),
            404 => Err(Trouble::NoContainer),
            422 => Err(Trouble::later("a chunk was damaged on its way to the storage")),
            _ => Err(reply.trouble("storing a chunk")),
        }
    }

    async fn listing(&self, path: String) -> Result<Option<Vec<Value>>, Trouble> {
        let reply = self.ask(Ask::new("GET", path)).await?;
        match reply.status.as_u16() {
            204 => Ok(Some(Vec::new())),
            404 => Ok(None),
            200..=299 => match serde_json::from_slice(&reply.body) {
                Ok(Value::Array(entries)) => Ok(Some(entries)),
                Ok(_) | Err(_) => Err(Trouble::later("a listing is not JSON")),
            },
            _ => Err(reply.trouble("listing")),
        }
    }

    /// An object of any container of the account, `None` if it is not there. Not one of our chunks: for what others wrote.
    ///
    /// # Errors
    /// The storage's.
    pub async fn foreign_object(&self, container: &str, object: &str) -> Result<Option<Bytes>, Trouble> {
        let mut ask = Ask::new("GET", format!("/{}/{}", plain(container)?, plain(object)?));
        ask.answer_max = 2 * PACKED_BYTES_MAX;
        let reply = self.ask(ask).await?;
        match reply.status.as_u16() {
            200..=299 => Ok(Some(reply.body)),
            404 => Ok(None),
            _ => Err(reply.trouble("reading an object")),
        }
    }

    /// Up to a thousand objects of any container whose names begin like this.
    ///
    /// # Errors
    /// The storage's.
    pub async fn foreign_objects(&self, container: &str, prefix: &str) -> Result<Vec<String>, Trouble> {
        let path = format!("/{}?format=json&limit={PAGE}&prefix={}", plain(container)?, plain(prefix)?);
        let page = self.listing(path).await?.unwrap_or_default();
        Ok(page.iter().filter_map(|entry| entry["name"].as_str().map(str::to_owned)).collect())
    }

    async fn all_containers(&self) -> Result<Vec<WorkspaceId>, Trouble> {
        let (mut found, mut marker) = (Vec::new(), String::new());
        let prefix = &self.place.prefix;
        loop {
            let path = format!("?format=json&limit={PAGE}&prefix={prefix}&marker={marker}");
            let page = self.listing(path).await?.unwrap_or_default();
            let names: Vec<&str> = page.iter().filter_map(|entry| entry["name"].as_str()).collect();
            let Some(last) = names.last() else { return Ok(found) };
            marker = (*last).to_owned();
            found.extend(names.iter().filter_map(|name| name.strip_prefix(prefix.as_str())?.parse::<WorkspaceId>().ok()));
        }
    }

    async fn sign(&self, container: WorkspaceId, op: DirectOp, name: ChunkName, lifetime: Duration) -> Result<Direct, Trouble> {
        let method = if op == DirectOp::Put { "PUT" } else { "GET" };
        let key = self.signing_key().await?;
        let access = self.session.access().await?;
        let (origin, account) = split(&access.storage);
        let path = format!("{account}{}", self.object(container, name));
        let ends = self.clock.now().saturating_add_unsigned(lifetime.as_secs());
        let signature = hex(hmac_sha256(key.as_bytes(), format!("{method}\n{ends}\n{path}").as_bytes()).as_ref());
        let origin = self.place.public_address.as_deref().unwrap_or(origin).trim_end_matches('/');
        Ok(Direct {
            method,
            url: format!("{origin}{path}?temp_url_sig={signature}&temp_url_expires={ends}"),
            headers: if op == DirectOp::Put { vec![("if-none-match".to_owned(), "*".to_owned())] } else { Vec::new() },
            checksum: (op == DirectOp::Put).then_some(BodyChecksum::EtagMd5),
        })
    }

    /// Lets others read and write a workspace's container: `PROJECT:USER` or `*:USER`, names or ids. Replaces what was granted before,
    /// so that whoever is left out has no access any more; an empty list revokes everything.
    ///
    /// # Errors
    /// The storage's.
    pub async fn grant(&self, container: WorkspaceId, who: &[String]) -> Result<(), Trouble> {
        let list = who.join(",");
        let ask =
            Ask::new("POST", self.container(container)).with("x-container-read", list.clone()).with("x-container-write", list);
        let reply = self.ask(ask).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Err(Trouble::NoContainer),
            status if status.is_success() => Ok(()),
            _ => Err(reply.trouble("granting access to a container")),
        }
    }

    /// Who can write a workspace's container, besides its owner.
    ///
    /// # Errors
    /// The storage's.
    pub async fn granted(&self, container: WorkspaceId) -> Result<Vec<String>, Trouble> {
        let reply = self.ask(Ask::new("HEAD", self.container(container))).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Err(Trouble::NoContainer);
        }
        let list = reply.header("x-container-write").unwrap_or_default();
        Ok(list.split(',').filter(|who| !who.is_empty()).map(str::to_owned).collect())
    }

    /// Limits what a workspace's container may hold, in bytes; `None`: no limit.
    ///
    /// # Errors
    /// The storage's.
    pub async fn limit(&self, container: WorkspaceId, bytes: Option<u64>) -> Result<(), Trouble> {
        let value = bytes.map_or_else(String::new, |bytes| bytes.to_string());
        let reply = self.ask(Ask::new("POST", self.container(container)).with("x-container-meta-quota-bytes", value)).await?;
        if reply.status.is_success() { Ok(()) } else { Err(reply.trouble("limiting a container")) }
    }
}

/// A name that can stand in an address as it is; those of the original can.
fn plain(name: &str) -> Result<&str, Trouble> {
    let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if good { Ok(name) } else { Err(Trouble::Failed(format!("'{}' is not a name of the original", name.escape_debug()))) }
}

/// Scheme with host, and path.
fn split(address: &str) -> (&str, &str) {
    let host = address.find("://").map_or(0, |at| at + 3);
    address[host..].find('/').map_or((address, ""), |at| address.split_at(host + at))
}

fn stored(entry: &Value) -> Option<Stored> {
    Some(Stored {
        name: entry["name"].as_str()?.parse().ok()?,
        bytes: entry["bytes"].as_u64()?,
        modified: clock::listed(entry["last_modified"].as_str().unwrap_or_default()),
    })
}

impl Backend for Swift {
    fn name(&self) -> String {
        format!("Swift (by {})", self.session.address())
    }

    fn prepare(&self) -> Work<'_, ()> {
        Box::pin(async move { self.signing_key().await.map(drop) })
    }

    fn make_container(&self, container: WorkspaceId) -> Work<'_, ()> {
        Box::pin(async move {
            let reply = self.ask(Ask::new("PUT", self.container(container))).await?;
            if reply.status.is_success() { Ok(()) } else { Err(reply.trouble("making a container")) }
        })
    }

    fn remove_container(&self, container: WorkspaceId) -> Work<'_, ()> {
        Box::pin(async move {
            let reply = self.ask(Ask::new("DELETE", self.container(container))).await?;
            match reply.status {
                StatusCode::NOT_FOUND => Ok(()),
                status if status.is_success() => Ok(()),
                // Its listing lags behind what was removed.
                StatusCode::CONFLICT => Err(Trouble::later("the container is not empty yet")),
                _ => Err(reply.trouble("removing a container")),
            }
        })
    }

    fn containers(&self) -> Work<'_, Vec<WorkspaceId>> {
        Box::pin(self.all_containers())
    }

    fn length(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<u64>> {
        Box::pin(async move {
            let reply = self.ask(Ask::new("HEAD", self.object(container, name))).await?;
            match reply.status.as_u16() {
                200..=299 => Ok(Some(reply.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0))),
                404 => Ok(None),
                _ => Err(reply.trouble("looking for a chunk")),
            }
        })
    }

    fn put(&self, container: WorkspaceId, name: ChunkName, packed: Bytes, when: When) -> Work<'_, Put> {
        Box::pin(self.put_once(container, name, packed, when))
    }

    fn get(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, Option<Bytes>> {
        Box::pin(async move {
            let mut ask = Ask::new("GET", self.object(container, name));
            ask.answer_max = PACKED_BYTES_MAX;
            let reply = self.ask(ask).await?;
            match reply.status.as_u16() {
                200..=299 => Ok(Some(reply.body)),
                404 => Ok(None),
                _ => Err(reply.trouble("reading a chunk")),
            }
        })
    }

    fn get_part(&self, container: WorkspaceId, name: ChunkName, start: u64, length: u64) -> Work<'_, Option<PartRead>> {
        Box::pin(async move {
            let mut ask = Ask::new("GET", self.object(container, name)).with("range", range(start, length));
            ask.answer_max = BUNDLE_BYTES_MAX;
            self.ask(ask).await?.part(start, length)
        })
    }

    fn remove(&self, container: WorkspaceId, name: ChunkName) -> Work<'_, ()> {
        Box::pin(async move {
            let reply = self.ask(Ask::new("DELETE", self.object(container, name))).await?;
            let gone = reply.status.is_success() || reply.status == StatusCode::NOT_FOUND;
            if gone { Ok(()) } else { Err(reply.trouble("removing a chunk")) }
        })
    }

    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Work<'_, Vec<Stored>> {
        Box::pin(async move {
            let marker = after.map(|after| format!("&marker={after}")).unwrap_or_default();
            let path = format!("{}?format=json&limit={}{marker}", self.container(container), limit.clamp(1, PAGE));
            let entries = self.listing(path).await?.unwrap_or_default();
            Ok(entries.iter().filter_map(stored).collect())
        })
    }

    fn direct(&self, container: WorkspaceId, op: DirectOp, name: ChunkName, lifetime: Duration) -> Work<'_, Option<Direct>> {
        Box::pin(async move { self.sign(container, op, name, lifetime).await.map(Some) })
    }
}
