//! What a device may do with the requests that it is given, and what it may not: the same for every storage that gives them.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use stacksync_chunks::store::conformance::chunk;
use stacksync_chunks::store::{ChunkStore, Direct, DirectOp};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::time::Duration;
use uuid::Uuid;

const HOME: WorkspaceId = WorkspaceId(Uuid::from_u128(0x71c6e7));
const LIFETIME: Duration = Duration::from_secs(60);

async fn signed(store: &dyn ChunkStore, op: DirectOp, name: ChunkName, lifetime: Duration) -> Direct {
    let requests = store.direct(HOME, op, vec![name], lifetime).await.unwrap();
    requests.expect("devices can go there").remove(0)
}

/// Makes it as a device does, with nothing but what it was given.
async fn make(direct: &Direct, method: &str, body: &Bytes) -> (StatusCode, Bytes) {
    let mut request = Request::builder().method(method).uri(&direct.url);
    for (name, value) in &direct.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body.clone())).unwrap();
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

/// Uploading once, downloading, and everything that must be refused.
pub async fn check(store: &dyn ChunkStore) {
    store.remove_container(HOME).await.unwrap();
    let (name, packed) = chunk("travels by itself");
    let other = chunk("another one");
    let put = signed(store, DirectOp::Put, name, LIFETIME).await;
    assert!(make(&put, "PUT", &packed).await.0.is_success());
    assert_eq!(store.present(HOME, vec![name]).await.unwrap(), [true]);
    let get = signed(store, DirectOp::Get, name, LIFETIME).await;
    assert_eq!(make(&get, "GET", &Bytes::new()).await, (StatusCode::OK, packed.clone()));

    // The same address stores nothing else, whether it is still valid or not.
    assert!(!make(&put, "PUT", &other.1).await.0.is_success(), "what is there was replaced");
    assert_eq!(store.get(HOME, name).await.unwrap(), Some(packed.clone()));
    // Nor does it do anything else, or for another chunk.
    assert!(!make(&put, "DELETE", &Bytes::new()).await.0.is_success(), "an address for storing deleted");
    assert!(!make(&get, "PUT", &other.1).await.0.is_success(), "an address for reading stored");
    let elsewhere = Direct { url: put.url.replace(&name.to_string(), &other.0.to_string()), ..put.clone() };
    assert!(!make(&elsewhere, "PUT", &other.1).await.0.is_success(), "an address was good for another chunk");
    let read_elsewhere = Direct { url: get.url.replace(&HOME.to_string(), &Uuid::from_u128(7).to_string()), ..get.clone() };
    assert!(!make(&read_elsewhere, "GET", &Bytes::new()).await.0.is_success(), "an address was good for another workspace");
    assert_eq!(store.present(HOME, vec![other.0]).await.unwrap(), [false]);

    // A missing chunk is missing, and an address has an end.
    let missing = signed(store, DirectOp::Get, other.0, LIFETIME).await;
    assert_eq!(make(&missing, "GET", &Bytes::new()).await.0, StatusCode::NOT_FOUND);
    let short = signed(store, DirectOp::Get, name, Duration::from_secs(1)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(matches!(make(&short, "GET", &Bytes::new()).await.0, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED));
    store.remove_container(HOME).await.unwrap();
}
