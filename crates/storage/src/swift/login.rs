//! Who the service is to Swift: a token and the storage's address, from Keystone (v3, v2) or from Swift's own tempauth (v1).
//!
//! A token is asked for once, used by all, and replaced a little before it ends or when it is refused.

use crate::backend::Trouble;
use crate::clock;
use crate::http::Http;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// A token is not used in the last part of its life.
const MARGIN: Duration = Duration::from_secs(60);
/// Of a token whose end is not told.
const LIFE_ASSUMED: Duration = Duration::from_secs(3_600);
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How to log in.
#[derive(Clone)]
pub struct Login {
    /// Which of the three.
    pub version: LoginVersion,
    /// `http(s)://host:port`, without a path.
    pub address: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Zeroizing<String>,
    /// Project, in Keystone.
    pub project: String,
    /// Domain of user and project, in Keystone v3.
    pub domain: String,
    /// Address of the storage, where that of the catalogue cannot be used.
    pub storage: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({} at {})", self.user, self.address)
    }
}

/// How one logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginVersion {
    /// Tempauth: `/auth/v1.0`.
    V1,
    /// Keystone v2.0, as the original did.
    V2,
    /// Keystone v3.
    V3,
}

/// What one has then.
#[derive(Clone, Debug)]
pub struct Access {
    /// Token.
    pub token: Zeroizing<String>,
    /// `http(s)://host[:port]/v1/ACCOUNT`.
    pub storage: String,
    ends: SystemTime,
}

/// The access that all share.
pub struct Session {
    login: Login,
    http: Http,
    access: Mutex<Option<Arc<Access>>>,
}

impl Session {
    /// Does not log in yet.
    pub fn new(login: Login, http: Http) -> Self {
        Self { login, http, access: Mutex::default() }
    }

    /// Where one logs in.
    pub fn address(&self) -> &str {
        &self.login.address
    }

    /// Good for a while; logs in if need be.
    pub async fn access(&self) -> Result<Arc<Access>, Trouble> {
        let mut access = self.access.lock().await;
        if let Some(known) = access.as_ref().filter(|access| access.ends > SystemTime::now() + MARGIN) {
            return Ok(known.clone());
        }
        // Whoever else needs one waits for this one.
        let fresh = Arc::new(self.log_in().await?);
        *access = Some(fresh.clone());
        Ok(fresh)
    }

    /// The storage did not take this one.
    pub async fn refused(&self, refused: &Access) {
        let mut access = self.access.lock().await;
        if access.as_ref().is_some_and(|known| known.token == refused.token) {
            *access = None;
        }
    }

    async fn log_in(&self) -> Result<Access, Trouble> {
        let mut access = match self.login.version {
            LoginVersion::V1 => self.tempauth().await?,
            LoginVersion::V2 => self.keystone2().await?,
            LoginVersion::V3 => self.keystone3().await?,
        };
        if let Some(storage) = &self.login.storage {
            access.storage = at_host(storage, &access.storage);
        }
        access.storage = access.storage.trim_end_matches('/').to_owned();
        Ok(access)
    }

    async fn tempauth(&self) -> Result<Access, Trouble> {
        let request = Request::get(format!("{}/auth/v1.0", self.login.address))
            .header("x-auth-user", &self.login.user)
            .header("x-auth-key", self.login.password.as_str())
            .body(Full::default());
        let reply = self.send(request).await?;
        let life =
            reply.header("x-auth-token-expires").and_then(|life| life.parse().ok()).map_or(LIFE_ASSUMED, Duration::from_secs);
        Ok(Access {
            token: Zeroizing::new(reply.header("x-auth-token").ok_or_else(unclear)?.to_owned()),
            storage: reply.header("x-storage-url").ok_or_else(unclear)?.to_owned(),
            ends: SystemTime::now() + life,
        })
    }

    async fn keystone2(&self) -> Result<Access, Trouble> {
        let credentials = json!({ "username": self.login.user, "password": self.login.password.as_str() });
        let body = json!({ "auth": { "passwordCredentials": credentials, "tenantName": self.login.project } });
        let reply = self.send(post(format!("{}/v2.0/tokens", self.login.address), &body)).await?;
        let answer: Value = serde_json::from_slice(&reply.body).map_err(|_| unclear())?;
        let access = &answer["access"];
        let service = find(&access["serviceCatalog"], "type", "object-store").ok_or_else(no_storage)?;
        Ok(Access {
            token: text(&access["token"]["id"])?,
            storage: text(&service["endpoints"][0]["publicURL"])?.to_string(),
            ends: ends(&access["token"]["expires"]),
        })
    }

    async fn keystone3(&self) -> Result<Access, Trouble> {
        let domain = json!({ "name": self.login.domain });
        let user = json!({ "name": self.login.user, "domain": domain, "password": self.login.password.as_str() });
        let body = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "name": self.login.project, "domain": domain } },
        } });
        let reply = self.send(post(format!("{}/v3/auth/tokens", self.login.address), &body)).await?;
        let token = reply.header("x-subject-token").ok_or_else(unclear)?.to_owned();
        let answer: Value = serde_json::from_slice(&reply.body).map_err(|_| unclear())?;
        let service = find(&answer["token"]["catalog"], "type", "object-store").ok_or_else(no_storage)?;
        let endpoint = find(&service["endpoints"], "interface", "public").ok_or_else(no_storage)?;
        Ok(Access {
            token: Zeroizing::new(token),
            storage: text(&endpoint["url"])?.to_string(),
            ends: ends(&answer["token"]["expires_at"]),
        })
    }

    async fn send(&self, request: hyper::http::Result<Request<Full<Bytes>>>) -> Result<crate::http::Reply, Trouble> {
        let request = request.map_err(|error| Trouble::Failed(error.to_string()))?;
        let reply = self.http.send(request, ANSWER_BYTES_MAX).await?;
        let what = format!("logging in as {}", self.login.user);
        if reply.status.is_success() { Ok(reply) } else { Err(reply.trouble(&what)) }
    }
}

fn post(address: String, body: &Value) -> hyper::http::Result<Request<Full<Bytes>>> {
    Request::post(address).header("content-type", "application/json").body(Full::new(body.to_string().into()))
}

fn find<'a>(list: &'a Value, field: &str, value: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry[field] == value)
}

fn text(value: &Value) -> Result<Zeroizing<String>, Trouble> {
    value.as_str().map(|text| Zeroizing::new(text.to_owned())).ok_or_else(unclear)
}

fn ends(value: &Value) -> SystemTime {
    let told = clock::listed(value.as_str().unwrap_or_default());
    if told == SystemTime::UNIX_EPOCH { SystemTime::now() + LIFE_ASSUMED } else { told }
}

fn unclear() -> Trouble {
    Trouble::Failed("logging in: the answer is none that is known".to_owned())
}

fn no_storage() -> Trouble {
    Trouble::Failed("logging in: there is no object storage in the catalogue of this project".to_owned())
}

/// The account of `told`, at another host.
fn at_host(host: &str, told: &str) -> String {
    let path = told.find("://").and_then(|at| told[at + 3..].find('/').map(|slash| at + 3 + slash)).map_or("", |at| &told[at..]);
    format!("{}{path}", host.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_stays_when_the_host_is_another_one() {
        assert_eq!(at_host("http://127.0.0.1:8080", "http://proxy.internal/v1/AUTH_1"), "http://127.0.0.1:8080/v1/AUTH_1");
        assert_eq!(at_host("https://s/", "https://t"), "https://s");
    }
}
