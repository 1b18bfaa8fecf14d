//! Requests of the service itself to a storage: HTTP/1.1 over connections that are kept, TLS verified, redirects not followed.

use crate::backend::{PartRead, Trouble};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// How long opening a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A request with its answer: 2 MiB at least at 35 KiB/s.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// An idle connection is kept so long.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Idle connections that are kept.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// Of an answer that tells why not, so much is quoted.
const REASON_BYTES_MAX: usize = 300;

/// How to reach storages.
#[derive(Clone, Debug, Default)]
pub struct HttpSetup {
    /// Authorities (PEM) to trust besides those of the system.
    pub authorities: Option<PathBuf>,
}

/// The way to a storage. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; nothing of one that was longer than asked for.
    pub body: Bytes,
}

impl Http {
    /// No connection is made yet.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(setup: &HttpSetup) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls(setup)?).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(https);
        Ok(Self { client })
    }

    /// Makes the request once. Any status is an answer.
    pub async fn send(&self, request: Request<Full<Bytes>>, body_max: usize) -> Result<Reply, Trouble> {
        let host = request.uri().authority().map_or_else(String::new, ToString::to_string);
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(&host, &error))?;
            whole(response, body_max).await
        };
        match tokio::time::timeout(REQUEST_MAX, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(Trouble::later(format!("{host} does not answer"))),
        }
    }
}

/// TLS that believes the system's authorities and these.
pub fn tls(setup: &HttpSetup) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = &setup.authorities {
        let known = roots.len();
        roots.add_parsable_certificates(certificates(file)?);
        if roots.len() == known {
            return Err(format!("there is no certificate in {}", file.display()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: rustls::pki_types::pem::Error| format!("cannot read {}: {error}", file.display());
    CertificateDer::pem_file_iter(file).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}

async fn whole(response: Response<Incoming>, body_max: usize) -> Result<Reply, Trouble> {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Trouble::later(format!("the answer broke off: {error}")))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > body_max {
                return Ok(Reply { status: head.status, headers: head.headers, body: Bytes::new() });
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Reply { status: head.status, headers: head.headers, body: bytes.freeze() })
}

/// With its causes: the outermost says nothing of use.
fn unreachable(host: &str, error: &dyn std::error::Error) -> Trouble {
    let mut reason = format!("cannot reach {host}");
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    Trouble::later(reason)
}

/// The header that asks for a part.
pub fn range(start: u64, length: u64) -> String {
    format!("bytes={start}-{}", start + length.max(1) - 1)
}

impl Reply {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What it brought of an object of which a part was asked for; a storage may send the whole.
    pub fn part(self, start: u64, length: u64) -> Result<Option<PartRead>, Trouble> {
        let whole = self.body.len() as u64;
        match self.status.as_u16() {
            206 => {
                let total = self.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok());
                let total = total.ok_or_else(|| Trouble::later("the storage does not say which part it sent"))?;
                Ok(Some(PartRead { bytes: self.body, total }))
            }
            200 => {
                let (from, to) = (start.min(whole) as usize, start.saturating_add(length).min(whole) as usize);
                Ok(Some(PartRead { bytes: self.body.slice(from..to), total: whole }))
            }
            404 => Ok(None),
            // It ends before.
            416 => Ok(Some(PartRead { bytes: Bytes::new(), total: 0 })),
            _ => Err(self.trouble("reading a part of an object")),
        }
    }

    /// The trouble that its status stands for, with a word from its body.
    pub fn trouble(&self, what: &str) -> Trouble {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(REASON_BYTES_MAX)]);
        let reason = format!("{what}: {} {}", self.status, text.trim());
        match self.status.as_u16() {
            401 | 403 => Trouble::Denied(reason),
            413 | 507 => Trouble::Full(reason),
            408 | 409 | 429 | 500 | 502 | 503 | 504 => Trouble::Later { reason, after: self.retry_after() },
            _ => Trouble::Failed(reason),
        }
    }

    /// Seconds, or a date by the storage's own clock where it shows that.
    fn retry_after(&self) -> Option<Duration> {
        let wanted = self.header("retry-after")?.trim();
        if let Ok(seconds) = wanted.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
        let now = self.header("date").and_then(date).unwrap_or_else(|| SystemTime::now().into());
        Some((date(wanted)? - now).try_into().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_may_say_when_it_wants_to_be_asked_again_in_two_ways() {
        for (wanted, seconds) in [
            ("30", Some(30)),
            ("Sun, 06 Nov 1994 12:00:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 11:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", wanted.parse().unwrap());
            headers.insert("date", "Sun, 06 Nov 1994 12:00:00 GMT".parse().unwrap());
            let reply = Reply { status: StatusCode::SERVICE_UNAVAILABLE, headers, body: Bytes::new() };
            let Trouble::Later { after, .. } = reply.trouble("storing") else { panic!("not later") };
            assert_eq!(after.map(|after| after.as_secs()), seconds, "{wanted}");
        }
    }
}
