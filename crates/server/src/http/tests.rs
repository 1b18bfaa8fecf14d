//! The door in front of a storage that misbehaves.

use super::*;
use crate::config::{self, Config, Sources};
use crate::data_dir::DataDir;
use crate::db::{Db, NewDevice, NewUser, UnixMs};
use crate::service::{Gate, Notices};
use ::objectmq::Broker;
use ::objectmq::local::{Hub, HubLimits};
use ::objectmq::websocket::DoorOptions;
use axum::body::Body;
use stacksync_chunks::pack;
use stacksync_chunks::store::{Fault, MemoryStore};
use stacksync_chunks::ticket::{Grant, Op, Subject, TicketKey};
use stacksync_core::values::{ChunkName, DeviceId, WorkspaceId};
use stacksync_protocol::chunk_service::CHECK_HEADER;
use std::time::Duration;
use tempfile::TempDir;
use tower::ServiceExt;

const KEY: [u8; 32] = [7; 32];

struct World {
    store: Arc<MemoryStore>,
    context: Arc<Context>,
    router: Router,
    device: DeviceId,
    workspace: WorkspaceId,
    folder: TempDir,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let options = vec![("data", folder.path().join("data").display().to_string())];
    let config: Config = config::load(&Sources { options, ..Sources::default() }).unwrap();
    let data = DataDir::open_or_create(&config.data).unwrap();
    let db = Db::open(&data.database()).unwrap();
    let new = NewUser { name: "anna".into(), email: "a@b".into(), quota_limit: 1_000, password_phc: None };
    let user = db.add_user(new).await.unwrap();
    db.add_join_code(user.id, [1; 32], UnixMs(i64::MAX)).await.unwrap();
    let (_, device) = db.redeem_join_code([1; 32], NewDevice::default(), [2; 32]).await.unwrap();
    let workspace = db.workspaces_of(user.id).await.unwrap()[0].id;
    let hub = Hub::new(HubLimits::default());
    let (store, metrics) = (Arc::new(MemoryStore::new()), Arc::new(Metrics::default()));
    let context = Arc::new(Context {
        gate: Gate::new(db.clone()),
        db,
        data,
        store: Arc::clone(&store) as Arc<dyn stacksync_chunks::store::ChunkStore>,
        bundles: None,
        chunks_there: Default::default(),
        tickets: TicketKey::from_bytes(KEY),
        ticket_lifetime: Duration::from_secs(60),
        way: crate::service::ByteWay::Relay,
        notices: Notices::new(Broker::new(Arc::new(hub.clone())), Arc::clone(&metrics)),
        metrics,
    });
    let sessions = websocket::Door::new(hub.clone(), DoorOptions::default());
    let door = Door::new(Arc::clone(&context), Arc::clone(hub.stats()), sessions, Arc::default(), &config.http);
    World { store, context, router: router(Arc::new(door)), device: device.id, workspace, folder }
}

impl World {
    fn address(&self, op: Op, chunk: Option<ChunkName>, last: &str) -> String {
        let subject = Subject { op, container: self.workspace, chunk };
        let ticket = TicketKey::from_bytes(KEY).sign(&subject, &Grant { device: self.device, expires: u64::from(u32::MAX) });
        format!("/v1/chunks/{}/{last}?ticket={ticket}", self.workspace)
    }

    async fn status(&self, method: &str, uri: &str, body: impl Into<Body>) -> u16 {
        let request = Request::builder().method(method).uri(uri).body(body.into()).unwrap();
        self.router.clone().oneshot(request).await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_works_again_when_there_is_room() {
    let world = world().await;
    let name = ChunkName::of(b"one");
    let packed = pack::pack(b"one").unwrap();
    let put = world.address(Op::Put, Some(name), &name.to_string());
    world.store.set_fault(Fault::Full);
    assert_eq!(world.status("PUT", &put, packed.clone()).await, 507);
    assert_eq!(world.context.metrics.errors.get(), 1);
    world.store.set_fault(Fault::None);
    assert_eq!(world.status("PUT", &put, packed).await, 204);
}

#[tokio::test]
async fn a_storage_that_does_not_answer_is_told_and_devices_try_again() {
    let world = world().await;
    let name = ChunkName::of(b"one");
    world.store.set_fault(Fault::Unavailable);
    let get = world.address(Op::Get, Some(name), &name.to_string());
    assert_eq!(world.status("GET", &get, Body::empty()).await, 503);
    assert_eq!(world.status("GET", "/readyz", Body::empty()).await, 503);
    assert_eq!(world.status("GET", "/healthz", Body::empty()).await, 200);
    assert_eq!(world.context.metrics.errors.get(), 1);
}

#[tokio::test]
async fn a_damaged_chunk_is_set_aside_when_a_device_says_so() {
    let world = world().await;
    let name = ChunkName::of(b"one");
    world.store.plant(world.workspace, name, bytes::Bytes::from_static(b"damaged"));
    let get = world.address(Op::Get, Some(name), &name.to_string());
    assert_eq!(world.status("GET", &get, Body::empty()).await, 200);
    let check = Request::builder().uri(&get).header(CHECK_HEADER, "1").body(Body::empty()).unwrap();
    assert_eq!(world.router.clone().oneshot(check).await.unwrap().status().as_u16(), 404);
    let put = world.address(Op::Put, Some(name), &name.to_string());
    assert_eq!(world.status("PUT", &put, pack::pack(b"one").unwrap()).await, 204);
    assert_eq!(world.status("GET", &get, Body::empty()).await, 200);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_not_ready() {
    let world = world().await;
    assert_eq!(world.status("GET", "/readyz", Body::empty()).await, 200);
    let data = world.folder.path().join("data");
    std::fs::rename(&data, world.folder.path().join("elsewhere")).unwrap();
    assert_eq!(world.status("GET", "/readyz", Body::empty()).await, 503);
}
