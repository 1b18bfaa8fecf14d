//! Requests to the storage with a ticket, over a few connections that are kept.
//!
//! A request has failed when nothing moves for the time named in the limits, not when it takes long. Each is made once here.

use super::body::Outgoing;
use super::retry::Failure;
use super::shared::{Meter, TransferLimits, place};
use crate::session::Connector;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use stacksync_protocol::chunk_service::{CHECK_HEADER, Ticket};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Of an answer that tells why not, so much is read.
const REASON_BYTES_MAX: usize = 2_000;

type Idle = Arc<Mutex<Vec<SendRequest<Outgoing>>>>;

/// The way to the storage.
pub(super) struct Http {
    connector: Connector,
    idle: Idle,
    connections: Arc<Semaphore>,
    limits: TransferLimits,
    meter: Arc<Meter>,
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
        let connections = Arc::new(Semaphore::new(limits.connections));
        Self { connector, idle: Idle::default(), connections, limits, meter }
    }

    /// Makes the request of a ticket. Answers when the storage does, with success only.
    pub(super) async fn send(&self, ticket: &Ticket, body: Bytes, care: Care) -> Result<Answer, Failure> {
        let permit = place(&self.connections).await?;
        let moved = Arc::new(AtomicU64::new(0));
        let request = self.request(ticket, Outgoing::new(body, moved.clone(), self.meter.clone()), care)?;
        let mut connection = self.connection().await?;
        let sending = connection.send_request(request);
        let response = self.while_moving(&moved, sending).await?.map_err(broken)?;
        let status = response.status();
        let answer = Answer {
            body: Some(response.into_body()),
            connection: Some(connection),
            idle: self.idle.clone(),
            _permit: permit,
            limits: self.limits,
            meter: self.meter.clone(),
        };
        if status.is_success() { Ok(answer) } else { Err(answer.refusal(status).await) }
    }

    fn request(&self, ticket: &Ticket, body: Outgoing, care: Care) -> Result<Request<Outgoing>, Failure> {
        let path = self.path(&ticket.url)?;
        let mut request = Request::builder().method(ticket.method.as_str()).uri(path);
        for (name, value) in &ticket.headers {
            request = request.header(name, value);
        }
        if care == Care::Check {
            request = request.header(CHECK_HEADER, "1");
        }
        let request = request.header(header::HOST, self.connector.address().authority()).body(body);
        request.map_err(|error| Failure::Refused(format!("the service gave an address that cannot be used: {error}")))
    }

    /// Bytes go to the service that this device knows, and nowhere else.
    fn path<'a>(&self, url: &'a str) -> Result<&'a str, Failure> {
        let own = self.connector.address().to_string();
        match url.strip_prefix(&own).unwrap_or(url) {
            path if path.starts_with('/') => Ok(path),
            _ => Err(Failure::Refused(
                "the chunks are on another storage than the service itself, which this version cannot reach".to_owned(),
            )),
        }
    }

    /// One that is open, else a new one.
    async fn connection(&self) -> Result<SendRequest<Outgoing>, Failure> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = idle else { return self.connect().await };
            // The other side may have closed it meanwhile.
            if timeout(self.limits.patience, connection.ready()).await.is_ok_and(|ready| ready.is_ok()) {
                return Ok(connection);
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Outgoing>, Failure> {
        let stream = self.connector.connect().await.map_err(|error| Failure::NotNow(error.to_string()))?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the connection; what fails there fails the request too.
        tokio::spawn(driver);
        Ok(sender)
    }

    async fn while_moving<T>(&self, moved: &AtomicU64, sending: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::pin!(sending);
        let mut before = moved.load(Ordering::Relaxed);
        loop {
            if let Ok(done) = timeout(self.limits.patience, &mut sending).await {
                return Ok(done);
            }
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                return Err(too_slow());
            }
            before = now;
        }
    }
}

/// A successful answer whose body is still to be read. Read to its end, it gives the connection back.
pub(super) struct Answer {
    body: Option<Incoming>,
    connection: Option<SendRequest<Outgoing>>,
    idle: Idle,
    _permit: OwnedSemaphorePermit,
    limits: TransferLimits,
    meter: Arc<Meter>,
}

impl Answer {
    /// The next bytes, `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(body) = &mut self.body {
            match timeout(self.limits.patience, body.frame()).await.map_err(|_| too_slow())? {
                Some(frame) => {
                    if let Ok(bytes) = frame.map_err(broken)?.into_data() {
                        self.meter.add_received(bytes.len());
                        return Ok(Some(bytes));
                    }
                }
                None => self.end(),
            }
        }
        Ok(None)
    }

    /// All of it, unless it is longer than this.
    pub(super) async fn whole(mut self, bytes_max: usize) -> Result<Bytes, Failure> {
        let announced = self.body.as_ref().map_or(0, |body| body.size_hint().lower());
        let mut whole = BytesMut::with_capacity(bytes_max.min(announced as usize));
        while let Some(bytes) = self.next().await? {
            if whole.len() + bytes.len() > bytes_max {
                return Err(Failure::NotNow("the storage sent more than was asked for".to_owned()));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    fn end(&mut self) {
        self.body = None;
        if let Some(connection) = self.connection.take() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }

    async fn refusal(self, status: StatusCode) -> Failure {
        let text = self.whole(REASON_BYTES_MAX).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let reason = format!("the storage answered {status}: {}", text.trim());
        match status {
            StatusCode::NOT_FOUND => Failure::Missing,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Ticket,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Failure::NotNow(reason),
            StatusCode::INSUFFICIENT_STORAGE => Failure::NotNow("the storage is full".to_owned()),
            status if status.is_server_error() => Failure::NotNow(reason),
            _ => Failure::Refused(reason),
        }
    }
}

fn broken(error: hyper::Error) -> Failure {
    Failure::NotNow(format!("the connection to the storage broke: {error}"))
}

fn too_slow() -> Failure {
    Failure::NotNow("the storage does not answer".to_owned())
}
