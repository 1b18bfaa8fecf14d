//! FTP: ProFTPD, with TLS and without.

use crate::servers::{Server, server};
use bytes::Bytes;
use stacksync_chunks::store::conformance::chunk;
use stacksync_chunks::store::{ChunkStore, DirectOp, StoreError, conformance};
use stacksync_core::values::WorkspaceId;
use stacksync_storage::backend::{Backend, When};
use stacksync_storage::ftp::{Ftp, FtpPlace, FtpTls};
use stacksync_storage::{HttpSetup, RemoteStore};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use uuid::Uuid;

fn running() -> &'static Server {
    static FTP: OnceLock<Server> = OnceLock::new();
    server("ftp", &FTP)
}

fn place(tls: FtpTls, password: &str) -> FtpPlace {
    FtpPlace {
        host: "localhost".to_owned(),
        port: running().port,
        user: "alice".to_owned(),
        password: password.to_owned().into(),
        folder: format!("tests/{}", Uuid::new_v4()),
        tls,
        connections: 6,
    }
}

fn trusting() -> HttpSetup {
    HttpSetup { authorities: Some(running().dir.join("ca.pem")) }
}

async fn conform(tls: FtpTls) {
    let plant = Arc::new(Ftp::new(place(tls, "alicepw"), &trusting()).unwrap());
    let store = Arc::new(RemoteStore::open(plant.clone()).await.unwrap());
    let runtime = tokio::runtime::Handle::current();
    conformance::check(store.clone(), &move |container, name, packed: Bytes| {
        let (plant, runtime) = (plant.clone(), runtime.clone());
        tokio::task::block_in_place(move || runtime.block_on(plant.put(container, name, packed, When::Always))).unwrap();
    })
    .await;
    let nowhere = store.direct(WorkspaceId(Uuid::nil()), DirectOp::Put, vec![chunk("x").0], Duration::from_secs(1)).await.unwrap();
    assert_eq!(nowhere, None, "devices do not go there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_with_tls() {
    conform(FtpTls::Explicit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_without_tls() {
    conform(FtpTls::Off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_an_unknown_certificate_are_refused_with_a_sentence() {
    let denied = Ftp::new(place(FtpTls::Explicit, "wrong-one"), &trusting()).unwrap();
    let Err(error) = RemoteStore::open(Arc::new(denied)).await else { panic!("let in") };
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert!(!error.to_string().contains("wrong-one"), "{error}");
    let unknown = Ftp::new(place(FtpTls::Explicit, "alicepw"), &HttpSetup::default()).unwrap();
    let Err(error) = RemoteStore::open(Arc::new(unknown)).await else { panic!("trusted") };
    assert!(error.to_string().contains("certificate"), "{error}");
}
