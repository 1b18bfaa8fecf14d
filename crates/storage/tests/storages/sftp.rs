//! SFTP: OpenSSH's server.

use crate::servers::{Server, server};
use bytes::Bytes;
use stacksync_chunks::store::conformance;
use stacksync_chunks::store::{ChunkStore, StoreError};
use stacksync_storage::RemoteStore;
use stacksync_storage::backend::{Backend, When};
use stacksync_storage::sftp::{Sftp, SftpPlace, SftpSecret};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

fn place() -> SftpPlace {
    static SFTP: OnceLock<Server> = OnceLock::new();
    let running = server("sftp", &SFTP);
    SftpPlace {
        host: "127.0.0.1".to_owned(),
        port: running.port,
        user: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
        secret: SftpSecret::Key { file: running.dir.join("key"), passphrase: None },
        known_hosts: running.dir.join("known_hosts"),
        folder: format!("tests/{}", Uuid::new_v4()),
        requests: 16,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let plant = Arc::new(Sftp::new(place()));
    let store = Arc::new(RemoteStore::open(plant.clone()).await.unwrap());
    let runtime = tokio::runtime::Handle::current();
    conformance::check(store.clone(), &move |container, name, packed: Bytes| {
        let (plant, runtime) = (plant.clone(), runtime.clone());
        tokio::task::block_in_place(move || runtime.block_on(plant.put(container, name, packed, When::Always))).unwrap();
    })
    .await;
    for container in store.containers().await.unwrap() {
        store.remove_container(container).await.unwrap();
    }
    assert_eq!(store.containers().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_host_key_and_a_wrong_password_are_refused_with_a_sentence() {
    let stranger = tempfile::NamedTempFile::new().unwrap();
    let unknown = SftpPlace { known_hosts: stranger.path().to_owned(), ..place() };
    let Err(error) = RemoteStore::open(Arc::new(Sftp::new(unknown))).await else { panic!("trusted") };
    assert!(matches!(error, StoreError::Denied { .. }) && error.to_string().contains("host key"), "{error}");
    let wrong = SftpPlace { secret: SftpSecret::Password("wrong-one".to_owned().into()), ..place() };
    let Err(error) = RemoteStore::open(Arc::new(Sftp::new(wrong))).await else { panic!("let in") };
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert!(!error.to_string().contains("wrong-one"), "{error}");
}
