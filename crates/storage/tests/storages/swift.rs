//! OpenStack Swift: with its own users, and with Keystone's.

use crate::servers::{Server, server};
use crate::tickets;
use bytes::Bytes;
use stacksync_chunks::store::conformance::chunk;
use stacksync_chunks::store::{ChunkStore, StoreError, conformance};
use stacksync_core::values::WorkspaceId;
use stacksync_storage::backend::{Backend, Trouble, When};
use stacksync_storage::swift::{Login, LoginVersion, Swift, SwiftPlace};
use stacksync_storage::{HttpSetup, RemoteStore};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use uuid::Uuid;

fn tempauth(user: &str, password: &str) -> Login {
    static SWIFT: OnceLock<Server> = OnceLock::new();
    Login {
        version: LoginVersion::V1,
        address: format!("http://127.0.0.1:{}", server("swift", &SWIFT).port),
        user: user.to_owned(),
        password: password.to_owned().into(),
        project: String::new(),
        domain: String::new(),
        storage: None,
    }
}

fn keystone() -> Login {
    static KEYSTONE: OnceLock<Server> = OnceLock::new();
    Login {
        version: LoginVersion::V3,
        address: format!("http://127.0.0.1:{}", server("keystone", &KEYSTONE).port + 5),
        user: "tester".to_owned(),
        password: "testing".to_owned().into(),
        project: "test".to_owned(),
        domain: "Default".to_owned(),
        storage: None,
    }
}

fn swift(login: Login) -> Arc<Swift> {
    let prefix = format!("t{}-", Uuid::new_v4().simple());
    Arc::new(Swift::new(SwiftPlace { login, public_address: None, prefix }, &HttpSetup::default()).unwrap())
}

async fn conform(login: Login) {
    let plant = swift(login);
    let store = Arc::new(RemoteStore::open(plant.clone()).await.unwrap());
    let runtime = tokio::runtime::Handle::current();
    conformance::check(store.clone(), &move |container, name, packed: Bytes| {
        let (plant, runtime) = (plant.clone(), runtime.clone());
        tokio::task::block_in_place(move || runtime.block_on(plant.put(container, name, packed, When::Always))).unwrap();
    })
    .await;
    tickets::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_with_users_of_its_own() {
    conform(tempauth("test:tester", "testing")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_with_users_of_keystone() {
    conform(keystone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_with_a_sentence() {
    for login in [tempauth("test:tester", "wrong"), Login { password: "wrong".to_owned().into(), ..keystone() }] {
        let Err(error) = RemoteStore::open(swift(login)).await else { panic!("let in") };
        assert!(matches!(error, StoreError::Denied { .. }), "{error}");
        assert!(error.to_string().contains("logging in as"), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_granted_a_container_can_use_it_until_it_is_revoked() {
    let home = WorkspaceId(Uuid::from_u128(77));
    let (name, packed) = chunk("shared");
    let owner = swift(tempauth("test:tester", "testing"));
    RemoteStore::open(owner.clone()).await.unwrap().put_batch(home, vec![(name, packed.clone())]).await.unwrap();
    // The other one looks into the owner's account.
    let address =
        owner.direct(home, stacksync_chunks::store::DirectOp::Get, name, Duration::from_secs(60)).await.unwrap().unwrap().url;
    let path = address.split('?').next().unwrap().to_owned();
    let other = tempauth("test2:tester2", "testing2");
    let look = async || {
        let answer = curl(&other, &path).await;
        answer.status
    };
    assert_eq!(look().await, 403);
    owner.grant(home, &["test2:tester2".to_owned()]).await.unwrap();
    assert_eq!(owner.granted(home).await.unwrap(), ["test2:tester2"]);
    assert_eq!(look().await, 200);
    owner.grant(home, &[]).await.unwrap();
    assert_eq!(owner.granted(home).await.unwrap(), [] as [String; 0]);
    assert_eq!(look().await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_wrote_is_found_and_read() {
    let (home, chunk) = (WorkspaceId(Uuid::new_v4()), chunk("of others"));
    let place = SwiftPlace { login: tempauth("test:tester", "testing"), public_address: None, prefix: "others-".to_owned() };
    let swift = Arc::new(Swift::new(place, &HttpSetup::default()).unwrap());
    RemoteStore::open(swift.clone()).await.unwrap().put_batch(home, vec![chunk.clone()]).await.unwrap();
    let (container, object) = (format!("others-{home}"), chunk.0.to_string());
    assert_eq!(swift.foreign_object(&container, &object).await.unwrap(), Some(chunk.1));
    assert_eq!(swift.foreign_object(&container, "chk-0").await.unwrap(), None);
    assert_eq!(swift.foreign_objects("nowhere", "chk-").await.unwrap(), [] as [String; 0]);
    assert!(matches!(swift.foreign_object("..", "../x").await, Err(Trouble::Failed(_))));
    let deadline = Instant::now() + Duration::from_secs(20);
    // A listing follows a moment later.
    while swift.foreign_objects(&container, &object[..8]).await.unwrap() != [object.clone()] {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_container_is_full_and_not_broken() {
    let home = WorkspaceId(Uuid::from_u128(78));
    let backend = swift(tempauth("test:tester", "testing"));
    let store = RemoteStore::open(backend.clone()).await.unwrap();
    let (first, second) = (chunk("fits"), chunk(&"does not fit ".repeat(20)));
    store.put_batch(home, vec![first.clone()]).await.unwrap();
    backend.limit(home, Some(first.1.len() as u64 + 1)).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // Swift knows a container's size and limit a moment later.
    loop {
        match backend.put(home, second.0, second.1.clone(), When::Always).await {
            Err(Trouble::Full(reason)) => {
                assert!(reason.contains("413"), "{reason}");
                break;
            }
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let full = store.put_batch(home, vec![chunk("neither does this, whatever it is")]).await;
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    assert_eq!(store.get(home, first.0).await.unwrap(), Some(first.1));
}

/// A request with somebody else's token.
async fn curl(login: &Login, url: &str) -> crate::plain::Answer {
    let token = crate::plain::get(
        &format!("{}/auth/v1.0", login.address),
        &[("x-auth-user", &login.user), ("x-auth-key", login.password.as_str())],
    )
    .await
    .header("x-auth-token");
    crate::plain::get(url, &[("x-auth-token", &token)]).await
}
