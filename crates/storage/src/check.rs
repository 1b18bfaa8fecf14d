//! What a storage can do, found out by trying: for operators, with their own account, beside live traffic.
//!
//! Everything happens in a container of its own that is removed in the end. A finding is one sentence and how it came out.

use crate::digest::{md5_base64, md5_hex};
use crate::http::{Http, HttpSetup, Reply};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use stacksync_chunks::pack;
use stacksync_chunks::store::{BodyChecksum, ChunkStore, Direct, DirectOp, Health, StoreError};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::time::Duration;
use uuid::Uuid;

/// Life of the tickets that are tried.
const LIFETIME: Duration = Duration::from_secs(60);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was tried, as a sentence that is true if it came out well.
    pub what: &'static str,
    /// How it came out.
    pub outcome: Outcome,
}

/// How something came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Good,
    /// Not, but the service can live with that.
    Lacks(String),
    /// Not, and the storage cannot be used like that.
    Bad(String),
}

/// Whether the service can use a storage with these findings.
pub fn usable(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| !matches!(finding.outcome, Outcome::Bad(_)))
}

struct Trial<'a> {
    store: &'a dyn ChunkStore,
    home: WorkspaceId,
    findings: Vec<Finding>,
}

/// Tries everything. Takes some seconds.
pub async fn check(store: &dyn ChunkStore, setup: &HttpSetup) -> Vec<Finding> {
    let mut trial = Trial { store, home: WorkspaceId(Uuid::new_v4()), findings: Vec::new() };
    trial.keeps().await;
    if usable(&trial.findings) {
        trial.serves_devices(setup).await;
    }
    trial.cleans_up().await;
    trial.findings
}

/// Bytes that nobody else stores.
fn chunk(length: usize) -> (ChunkName, Bytes) {
    let plain: Vec<u8> = std::iter::repeat_with(|| *Uuid::new_v4().as_bytes()).flatten().take(length).collect();
    let packed = pack::pack(&plain).unwrap_or_default();
    (ChunkName::of(&plain), packed)
}

fn expect(condition: bool, or: &str) -> Outcome {
    if condition { Outcome::Good } else { Outcome::Bad(or.to_owned()) }
}

fn told<T: PartialEq>(answer: Result<T, StoreError>, expected: &T) -> Outcome {
    match answer {
        Ok(answer) => expect(answer == *expected, "it answers something else"),
        Err(error) => Outcome::Bad(error.to_string()),
    }
}

impl Trial<'_> {
    fn note(&mut self, what: &'static str, outcome: Outcome) {
        self.findings.push(Finding { what, outcome });
    }

    async fn keeps(&mut self) {
        let (store, home) = (self.store, self.home);
        let (small, large, absent) = (chunk(100), chunk(1 << 20), chunk(10));
        let stored = store.put_batch(home, vec![small.clone(), large.clone()]).await;
        self.note("chunks can be stored", told(stored, &()));
        let again = store.put_batch(home, vec![small.clone()]).await;
        self.note("storing one again is no error", told(again, &()));
        let there = store.present(home, vec![small.0, absent.0, large.0]).await;
        self.note("it tells what is there and what is not", told(there, &vec![true, false, true]));
        let read = store.get_batch(home, vec![large.0, absent.0, small.0]).await;
        self.note("what was stored is read, byte for byte", told(read, &vec![Some(large.1.clone()), None, Some(small.1.clone())]));
        let mut names = vec![small.0, large.0];
        names.sort();
        let listed = store.list(home, None, 10).await.map(|listed| listed.iter().map(|stored| stored.name).collect::<Vec<_>>());
        // Some listings follow a moment later.
        let outcome = match told(listed, &names) {
            Outcome::Bad(reason) => Outcome::Lacks(format!("{reason}; gc and scrub see what is listed")),
            good => good,
        };
        self.note("what was stored is listed, in order and at once", outcome);
        let checked = store.check(home, large.0).await;
        self.note("a chunk is found whole when it is checked", told(checked, &Health::Good));
        let removed = store.remove(home, vec![small.0, absent.0]).await;
        self.note("chunks can be removed", told(removed, &()));
        let gone = store.present(home, vec![small.0]).await;
        self.note("what was removed is gone at once", told(gone, &vec![false]));
    }

    async fn serves_devices(&mut self, setup: &HttpSetup) {
        let (name, packed) = chunk(5_000);
        let Ok(http) = Http::new(setup) else { return };
        let put = match self.signed(DirectOp::Put, name, LIFETIME).await {
            Ok(Some(put)) => put,
            Ok(None) => {
                let reason = "their bytes pass through the service".to_owned();
                return self.note("devices can go there themselves", Outcome::Lacks(reason));
            }
            Err(error) => return self.note("devices can go there themselves", Outcome::Bad(error.to_string())),
        };
        let damaged = make(&http, &put, put.method, &packed, &chunk(20).1).await;
        let found = damaged.as_ref().is_ok_and(|reply| reply.status.is_client_error());
        let lacks = || Outcome::Lacks("readers find it, and scrub".to_owned());
        self.note("it refuses what was damaged on the way from a device", if found { Outcome::Good } else { lacks() });
        if !found {
            let _ = self.store.remove(self.home, vec![name]).await;
        }
        let stored = make(&http, &put, put.method, &packed, &packed).await;
        self.note("a device can store a chunk with its ticket", answered(&stored, |reply| reply.status.is_success()));
        let other = chunk(300).1;
        // Whatever it answers: what counts is what is there afterwards.
        let _ = make(&http, &put, put.method, &other, &other).await;
        let kept = self.store.get(self.home, name).await.is_ok_and(|there| there.as_ref() == Some(&packed));
        let lacks = || Outcome::Lacks("a device could replace a chunk until its ticket ends; readers find it".to_owned());
        self.note("what is there is not replaced with a device's ticket", if kept { Outcome::Good } else { lacks() });
        let _ = self.store.put_batch(self.home, vec![(name, packed.clone())]).await;
        let Ok(Some(get)) = self.signed(DirectOp::Get, name, LIFETIME).await else { return };
        let read = make(&http, &get, get.method, &Bytes::new(), &Bytes::new()).await;
        self.note("a device can read a chunk with its ticket", answered(&read, |reply| reply.body == packed));
        let misused = make(&http, &get, "PUT", &other, &other).await;
        self.note("a ticket for reading stores nothing", answered(&misused, |reply| reply.status.is_client_error()));
        let elsewhere = Direct { url: get.url.replace(&name.to_string(), &chunk(1).0.to_string()), ..get };
        let misused = make(&http, &elsewhere, "GET", &Bytes::new(), &Bytes::new()).await;
        let refused = |reply: &Reply| matches!(reply.status.as_u16(), 401 | 403);
        self.note("a ticket is good for one chunk only", answered(&misused, refused));
        let Ok(Some(short)) = self.signed(DirectOp::Get, name, Duration::from_secs(1)).await else { return };
        tokio::time::sleep(Duration::from_secs(3)).await;
        let late = make(&http, &short, short.method, &Bytes::new(), &Bytes::new()).await;
        self.note("a ticket ends when it should", answered(&late, refused));
    }

    async fn signed(&self, op: DirectOp, name: ChunkName, lifetime: Duration) -> Result<Option<Direct>, StoreError> {
        Ok(self.store.direct(self.home, op, vec![name], lifetime).await?.and_then(|mut requests| requests.pop()))
    }

    async fn cleans_up(&mut self) {
        let removed = self.store.remove_container(self.home).await;
        self.note("a workspace can be removed with all its chunks", told(removed, &()));
    }
}

fn answered(reply: &Result<Reply, String>, good: impl Fn(&Reply) -> bool) -> Outcome {
    match reply {
        Ok(reply) if good(reply) => Outcome::Good,
        Ok(reply) => Outcome::Bad(format!("it answers {}", reply.status)),
        Err(error) => Outcome::Bad(error.clone()),
    }
}

/// Makes a request as a device does, with the checksum of `announced` and the bytes of `body`.
async fn make(http: &Http, direct: &Direct, method: &str, announced: &Bytes, body: &Bytes) -> Result<Reply, String> {
    let mut request = Request::builder().method(method).uri(&direct.url);
    for (name, value) in &direct.headers {
        request = request.header(name, value);
    }
    match direct.checksum {
        Some(BodyChecksum::ContentMd5) => request = request.header("content-md5", md5_base64(announced)),
        Some(BodyChecksum::EtagMd5) => request = request.header("etag", md5_hex(announced)),
        None => {}
    }
    let request = request.body(Full::new(body.clone())).map_err(|error| error.to_string())?;
    http.send(request, ANSWER_BYTES_MAX).await.map_err(|trouble| trouble.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stacksync_chunks::store::MemoryStore;

    #[tokio::test]
    async fn a_storage_without_tickets_is_usable_and_left_as_it_was() {
        let store = MemoryStore::new();
        let findings = check(&store, &HttpSetup::default()).await;
        assert!(usable(&findings), "{findings:?}");
        let lacking: Vec<_> = findings.iter().filter(|finding| finding.outcome != Outcome::Good).collect();
        assert_eq!(lacking.len(), 1, "{lacking:?}");
        assert_eq!(store.containers().await.unwrap(), []);
    }
}
