//! S3: Ceph's gateway.

use crate::servers::{Server, server};
use crate::tickets;
use bytes::Bytes;
use stacksync_chunks::store::{ChunkStore, StoreError, conformance};
use stacksync_storage::backend::{Backend, When};
use stacksync_storage::s3::{Keys, S3, S3Place, Style};
use stacksync_storage::{HttpSetup, RemoteStore};
use std::sync::{Arc, OnceLock};

fn reached(bucket: &str, secret: &str) -> S3 {
    static GATEWAY: OnceLock<Server> = OnceLock::new();
    let endpoint = format!("http://127.0.0.1:{}", server("s3", &GATEWAY).port);
    let keys = Keys { access: "stacksync".to_owned(), secret: secret.to_owned().into(), token: None };
    let place = S3Place {
        public_endpoint: endpoint.clone(),
        endpoint,
        region: "us-east-1".to_owned(),
        bucket: bucket.to_owned(),
        prefix: "chunks/".to_owned(),
        style: Style::Path,
    };
    S3::new(place, keys, &HttpSetup::default()).unwrap()
}

fn backend(bucket: &str) -> Arc<S3> {
    Arc::new(reached(bucket, "stacksync-secret"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let bucket = format!("conforms-{}", uuid::Uuid::new_v4());
    let plant = backend(&bucket);
    let store = Arc::new(RemoteStore::open(plant.clone()).await.unwrap());
    let runtime = tokio::runtime::Handle::current();
    conformance::check(store, &move |container, name, packed: Bytes| {
        let (plant, runtime) = (plant.clone(), runtime.clone());
        tokio::task::block_in_place(move || runtime.block_on(plant.put(container, name, packed, When::Always))).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_are_good_for_one_thing() {
    let bucket = format!("tickets-{}", uuid::Uuid::new_v4());
    tickets::check(&RemoteStore::open(backend(&bucket)).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_are_refused_with_a_sentence() {
    let backend = reached("denied", "not-the-secret");
    let Err(error) = RemoteStore::open(Arc::new(backend)).await else { panic!("let in") };
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_is_made_once_and_found_again() {
    let bucket = format!("found-{}", uuid::Uuid::new_v4());
    for _ in 0..2 {
        let store = RemoteStore::open(backend(&bucket)).await.unwrap();
        assert!(store.name().contains(&bucket));
        assert_eq!(store.containers().await.unwrap(), []);
    }
}
