//! Requests with a ticket, to the service or to the storage itself, over a few connections that are kept.
//!
//! A request has failed when nothing moves for the time named in the limits, not when it takes long. Each is made once here.

use super::Via;
use super::body::Outgoing;
use super::hosts::{Host, HostKind, Hosts, Idle};
use super::pace::{Pace, Rates};
use super::retry::{Failure, retry_after};
use super::shared::{Meter, TransferLimits, place};
use crate::session::{ConnectError, Connector};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use md5::{Digest as _, Md5};
use stacksync_protocol::chunk_service::{CHECK_HEADER, CONTENT_MD5, ETAG_MD5, Ticket};
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

/// Of an answer that tells why not, so much is read.
const REASON_BYTES_MAX: usize = 2_000;

/// Characters of it that people are told.
const GIST_MAX: usize = 200;
/// Where a limit is on what comes, so many bytes are on their way beyond it, on each connection.
const RECEIVED_AHEAD_MAX: usize = 16 * 1024;

/// So many requests in a row that a storage did not answer, and bytes make a detour. Fewer than the tries of a request.
const SILENCES_MAX: u32 = 2;
/// After a storage could not be reached, bytes go through the service for so long, if it relays.
const DETOUR: Duration = Duration::from_secs(60);

/// The way to the service and to storages.
pub(super) struct Http {
    hosts: Hosts,
    limits: TransferLimits,
    meter: Arc<Meter>,
    up: Arc<Pace>,
    down: Arc<Pace>,
    /// Grows when connections must be made in another way than before.
    era: AtomicU32,
    /// Until then the storage is not tried.
    detour: Mutex<Option<Instant>>,
    /// Requests in a row that the storage did not answer.
    silences: AtomicU32,
}

/// Where most bytes of a request go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the storage.
    Up,
    /// From the storage.
    Down,
}

/// Whether the storage shall verify what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// We verify it anyway.
    Usual,
    /// It came damaged before.
    Check,
}

impl Http {
    /// No connection is made yet.
    pub(super) fn new(connector: Connector, limits: TransferLimits, meter: Arc<Meter>) -> Self {
        Self {
            hosts: Hosts::new(connector, limits),
            limits,
            meter,
            up: Arc::new(Pace::new()),
            down: Arc::new(Pace::new()),
            era: AtomicU32::new(0),
            detour: Mutex::default(),
            silences: AtomicU32::new(0),
        }
    }

    /// How fast bytes may go from now on.
    pub(super) fn limit(&self, rates: Rates) {
        self.up.set(rates.up);
        if self.down.set(rates.down) {
            // Those that are kept have room for what the other side sends ahead.
            self.era.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn rates(&self) -> Rates {
        Rates { up: self.up.rate(), down: self.down.rate() }
    }

    /// Which way to ask tickets for.
    pub(super) fn via(&self) -> Via {
        let until = *self.detour.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| Instant::now() < until) { Via::Service } else { Via::Storage }
    }

    /// Makes the request of a ticket. Answers when the storage does, with success only.
    pub(super) async fn send(&self, ticket: &Ticket, body: Bytes, way: Way, care: Care) -> Result<Answer, Failure> {
        let (host, path) = self.hosts.find(&ticket.url)?;
        host.until_welcome().await?;
        let pace = if way == Way::Up { &self.up } else { &self.down };
        let permits = (pace.lane().await?, place(&host.connections).await?);
        let moved = Arc::new(AtomicU64::new(0));
        let body = Outgoing::new(body, moved.clone(), self.meter.clone(), self.up.clone());
        let request = request(&host, path, ticket, body, care)?;
        let puts = request.method() == Method::PUT;
        let mut connection = self.connection(&host).await?;
        let sending = connection.connection.send_request(request);
        let response = self.while_moving(&moved, sending).await.ok_or_else(|| too_slow(&host));
        let response = response.and_then(|sent| sent.map_err(|error| broken(&host, &error)));
        let response = response.inspect_err(|_| self.silent(&host, 1))?;
        if host.kind == HostKind::Storage {
            self.silences.store(0, Ordering::Relaxed);
        }
        let status = response.status();
        let wait = retry_after(response.headers());
        let answer = Answer {
            is_part: status == StatusCode::PARTIAL_CONTENT,
            body: Some(response.into_body()),
            connection: Some(connection),
            host: host.clone(),
            _permits: permits,
            limits: self.limits,
            meter: self.meter.clone(),
            pace: self.down.clone(),
        };
        // Somebody else has put it meanwhile; whoever reads it looks whether it is good.
        let was_there = puts && host.kind == HostKind::Storage && status == StatusCode::PRECONDITION_FAILED;
        if status.is_success() || was_there {
            return Ok(answer);
        }
        Err(match (answer.refusal(status).await, wait) {
            // Its container is not there (any more): the service makes it when it is asked again.
            (Failure::Missing, _) if puts && host.kind == HostKind::Storage => {
                Failure::Ticket(host.failed("has no container for this folder"))
            }
            (Failure::NotNow(reason), Some(wait)) => {
                host.leave_alone(wait);
                Failure::Later(reason, wait)
            }
            (failure, _) => failure,
        })
    }

    /// No answer, which counts so often.
    fn silent(&self, host: &Host, times: u32) {
        if host.kind == HostKind::Storage && self.silences.fetch_add(times, Ordering::Relaxed) + times >= SILENCES_MAX {
            *self.detour.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + DETOUR);
        }
    }

    /// One that is open, else a new one.
    async fn connection(&self, host: &Host) -> Result<Idle, Failure> {
        let era = self.era.load(Ordering::Relaxed);
        loop {
            let idle = host.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut idle) = idle else { return Ok(Idle { era, connection: self.connect(host).await? }) };
            // The other side may have closed it meanwhile.
            let ready = timeout(self.limits.patience, idle.connection.ready());
            if idle.era == era && ready.await.is_ok_and(|ready| ready.is_ok()) {
                return Ok(idle);
            }
        }
    }

    async fn connect(&self, host: &Host) -> Result<SendRequest<Outgoing>, Failure> {
        let stream = host.connector.connect().await.map_err(|error| match (host.kind, &error) {
            (HostKind::Service, _) => Failure::NotNow(error.to_string()),
            (HostKind::Storage, ConnectError::Unreachable { source, .. }) => {
                self.silent(host, SILENCES_MAX);
                Failure::NotNow(host.failed(format_args!("cannot be reached ({source})")))
            }
            (HostKind::Storage, ConnectError::Untrusted { source, .. }) => {
                self.silent(host, SILENCES_MAX);
                Failure::NotNow(host.failed(format_args!("does not prove who it is ({source})")))
            }
        })?;
        let mut builder = http1::Builder::new();
        if self.down.rate().is_some() {
            // Else the other side sends far ahead of what is taken, in bursts, and then waits for long.
            if let Err(error) = stream.receive_little(RECEIVED_AHEAD_MAX) {
                tracing::debug!("the system's room for what is received stays as it is: {error}");
            }
            builder.max_buf_size(RECEIVED_AHEAD_MAX);
        }
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(host, &error))?;
        // Ends with the connection; what fails there fails the request too.
        tokio::spawn(driver);
        Ok(sender)
    }

    /// `None` if nothing moved for too long.
    async fn while_moving<T>(&self, moved: &AtomicU64, sending: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(sending);
        let mut before = moved.load(Ordering::Relaxed);
        loop {
            if let Ok(done) = timeout(self.limits.patience, &mut sending).await {
                return Some(done);
            }
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                return None;
            }
            before = now;
        }
    }
}

fn request(host: &Host, path: &str, ticket: &Ticket, body: Outgoing, care: Care) -> Result<Request<Outgoing>, Failure> {
    let mut request = Request::builder().method(ticket.method.as_str()).uri(path);
    for (name, value) in &ticket.headers {
        request = request.header(name, value);
    }
    if care == Care::Check && host.kind == HostKind::Service {
        request = request.header(CHECK_HEADER, "1");
    }
    let request = request.header(header::HOST, host.connector.address().authority()).body(body);
    request.map_err(|error| Failure::Refused(format!("the service gave an address that cannot be used: {error}")))
}

/// The ticket with the hash of this body, where the storage wants one.
pub(super) fn with_checksum(mut ticket: Ticket, body: &[u8]) -> Result<Ticket, Failure> {
    let header = match ticket.checksum.as_deref() {
        None => return Ok(ticket),
        Some(CONTENT_MD5) => ("content-md5", BASE64.encode(Md5::digest(body))),
        Some(ETAG_MD5) => ("etag", Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()),
        Some(other) => {
            return Err(Failure::Refused(format!("the storage wants a checksum that this version does not know ({other})")));
        }
    };
    ticket.headers.push((header.0.to_owned(), header.1));
    Ok(ticket)
}

/// A successful answer whose body is still to be read. Read to its end, it gives the connection back.
pub(super) struct Answer {
    /// It is the part that was asked for, not the whole.
    is_part: bool,
    body: Option<Incoming>,
    connection: Option<Idle>,
    host: Arc<Host>,
    /// On the line, and at the host.
    _permits: (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit),
    limits: TransferLimits,
    meter: Arc<Meter>,
    pace: Arc<Pace>,
}

impl Answer {
    /// The next bytes, `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(body) = &mut self.body {
            match timeout(self.limits.patience, body.frame()).await.map_err(|_| too_slow(&self.host))? {
                Some(frame) => {
                    if let Ok(bytes) = frame.map_err(|error| broken(&self.host, &error))?.into_data() {
                        self.meter.add_received(bytes.len());
                        self.pace.arrived(bytes.len()).await;
                        return Ok(Some(bytes));
                    }
                }
                None => self.end(),
            }
        }
        Ok(None)
    }

    /// Whether this is the part that was asked for, and not the whole.
    pub(super) const fn is_part(&self) -> bool {
        self.is_part
    }

    /// All of it, unless it is longer than this.
    pub(super) async fn whole(mut self, bytes_max: usize) -> Result<Bytes, Failure> {
        let announced = self.body.as_ref().map_or(0, |body| body.size_hint().lower());
        let mut whole = BytesMut::with_capacity(bytes_max.min(announced as usize));
        while let Some(bytes) = self.next().await? {
            if whole.len() + bytes.len() > bytes_max {
                return Err(Failure::NotNow(self.host.failed("sent more than was asked for")));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    fn end(&mut self) {
        self.body = None;
        if let Some(connection) = self.connection.take() {
            self.host.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }

    async fn refusal(self, status: StatusCode) -> Failure {
        let host = self.host.clone();
        let text = self.whole(REASON_BYTES_MAX).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let not_now = || Failure::NotNow(host.failed(format_args!("answered {status}{}", gist(&text))));
        let full = || match host.kind {
            HostKind::Service => Failure::NotNow("the service's storage is full, nothing is lost; it is tried again".to_owned()),
            HostKind::Storage => Failure::NotNow(host.failed("is full, nothing is lost")),
        };
        match (host.kind, status) {
            (_, StatusCode::NOT_FOUND) => Failure::Missing,
            // How S3 says it, where there are quotas.
            (HostKind::Storage, StatusCode::FORBIDDEN) if text.contains("QuotaExceeded") => full(),
            (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Failure::Ticket(host.failed(format_args!("did not accept the ticket: {status}{}", gist(&text))))
            }
            (_, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => not_now(),
            (_, StatusCode::INSUFFICIENT_STORAGE) | (HostKind::Storage, StatusCode::PAYLOAD_TOO_LARGE) => full(),
            // Damaged on the way, or two at once: the same request may succeed.
            (HostKind::Storage, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT | StatusCode::BAD_REQUEST) => not_now(),
            (_, status) if status.is_redirection() => {
                Failure::Refused(host.failed("sends this device elsewhere, where it does not go"))
            }
            (_, status) if status.is_server_error() => not_now(),
            _ => Failure::Refused(host.failed(format_args!("refuses it: {status}{}", gist(&text)))),
        }
    }
}

/// What an answer says for people, of JSON or XML the message alone: in brackets, on one line, empty if it says nothing.
fn gist(text: &str) -> String {
    let between = |from: &str, to: &str| {
        let rest = text.split_once(from)?.1;
        rest.split_once(to).map(|(inner, _)| inner)
    };
    let message = between("<Message>", "</Message>")
        .or_else(|| between("<Code>", "</Code>"))
        .or_else(|| between("\"message\":\"", "\""))
        .or_else(|| between("<p>", "</p>"))
        .unwrap_or(text);
    let line: String = message.split_whitespace().flat_map(|word| [" ", word]).collect::<String>().chars().take(GIST_MAX).collect();
    if line.is_empty() { line } else { format!(" ({})", line.trim()) }
}

fn broken(host: &Host, error: &hyper::Error) -> Failure {
    Failure::NotNow(host.failed(format_args!("broke the connection ({error})")))
}

fn too_slow(host: &Host) -> Failure {
    Failure::NotNow(host.failed("does not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_answer_the_message_is_told() {
        const S3: &str = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce\n your rate</Message></Error>";
        for (text, told) in [
            ("", String::new()),
            (" \n", String::new()),
            ("busy\n", " (busy)".to_owned()),
            (S3, " (Please reduce your rate)".to_owned()),
            ("<Error><Code>AccessDenied</Code></Error>", " (AccessDenied)".to_owned()),
            (r#"{"code":"full","message":"There is no room."}"#, " (There is no room.)".to_owned()),
            ("<html><h1>Forbidden</h1><p>Access was denied.</p></html>", " (Access was denied.)".to_owned()),
            (&"x".repeat(5_000), format!(" ({})", "x".repeat(GIST_MAX - 1))),
        ] {
            assert_eq!(gist(text), told, "{text}");
        }
    }
}
