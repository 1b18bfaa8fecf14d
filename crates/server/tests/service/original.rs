//! Clients of the original, over a real RabbitMQ, with Java serialization and without credentials, beside our own.

use crate::device::{Device, below, file, folder, next, version};
use crate::house::House;
use crate::rabbit::Rabbit;
use objectmq::amqp::{Amqp, AmqpConfig};
use objectmq::envelope::{Compression, Encoding, Encodings, Serializer};
use objectmq::{Binding, BoxFuture, Broker, CallError, CallOptions, Incoming, RawValue, RemoteError, RemoteObject, encode_result};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stacksync_core::values::ChunkName;
use stacksync_protocol::SYNC_SERVICE;
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::CommitNotification;
use stacksync_server::legacy;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

const USER_NOT_FOUND: &str = "com.stacksync.commons.exceptions.UserNotFoundException";
const DEVICE_NOT_UPDATED: &str = "com.stacksync.commons.exceptions.DeviceNotUpdatedException";
const ACCESS_DENIED: &str = "com.stacksync.commons.exceptions.AccessDeniedException";

/// A house on a virtual host of its own.
async fn house(vhost: &str, keys: &[(&'static str, &str)]) -> House {
    house_on(Rabbit::shared(), vhost, keys).await
}

async fn house_on(rabbit: &Rabbit, vhost: &str, keys: &[(&'static str, &str)]) -> House {
    let port = rabbit.port.to_string();
    let broker = [("omq.transport", "amqp"), ("omq.host", "127.0.0.1"), ("omq.port", &*port), ("omq.vhost", vhost)];
    House::with(&[&broker, keys].concat()).await
}

/// A desktop client of the original.
struct Desktop {
    broker: Broker,
    user: Uuid,
}

struct Ear(mpsc::UnboundedSender<Value>);

impl RemoteObject for Ear {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        assert_eq!(incoming.method, "notifyCommit");
        let _ = self.0.send(incoming.param().unwrap());
        Box::pin(std::future::ready(encode_result(&())))
    }
}

impl Desktop {
    async fn connect(vhost: &str, user: Uuid, encoding: Encoding) -> Desktop {
        Desktop::connect_to(Rabbit::shared(), vhost, user, encoding).await
    }

    async fn connect_to(rabbit: &Rabbit, vhost: &str, user: Uuid, encoding: Encoding) -> Desktop {
        let config = AmqpConfig {
            hosts: vec![("127.0.0.1".to_owned(), rabbit.port)],
            retry_pause: Duration::from_millis(300),
            vhost: vhost.to_owned(),
            rpc_exchange: "rpc_global_exchange".to_owned(),
            ..AmqpConfig::default()
        };
        let encodings = Encodings::original(encoding, Arc::new(legacy::catalog()));
        let broker = Broker::with_encodings(Arc::new(Amqp::connect(config).await.unwrap()), encodings);
        Desktop { broker, user }
    }

    async fn call<R: DeserializeOwned>(&self, method: &str, mut param: Value) -> Result<R, CallError> {
        let request = param.as_object_mut().unwrap();
        request.entry("userId").or_insert(json!(self.user));
        request.entry("requestId").or_insert(json!(Uuid::new_v4()));
        self.broker.lookup(SYNC_SERVICE).call(method, &param, CallOptions::new(Duration::from_secs(20), 1)).await
    }

    async fn refusal(&self, method: &str, param: Value) -> String {
        match self.call::<Value>(method, param).await {
            Err(CallError::Remote(error)) => error.kind,
            other => panic!("{method} was answered with {other:?}"),
        }
    }

    async fn register(&self) -> Uuid {
        let about = json!({"deviceId": null, "deviceName": "desk", "os": "Windows 7", "ip": "10.0.0.7", "appVersion": "2.0"});
        self.call("updateDevice", about).await.unwrap()
    }

    /// Commits as the original does: nobody answers but the notice.
    async fn commit(&self, workspace: Uuid, device: Uuid, id: &str, items: &[ItemMetadata]) {
        let param = json!({
            "userId": self.user, "workspaceId": workspace, "deviceId": device, "requestId": id, "items": items,
        });
        self.broker.lookup(SYNC_SERVICE).cast("commit", &param).await.unwrap();
    }

    async fn follow(&self, workspace: Uuid) -> (Binding, mpsc::UnboundedReceiver<Value>) {
        let (sender, heard) = mpsc::unbounded_channel();
        (self.broker.listen(&workspace.to_string(), Arc::new(Ear(sender))).await.unwrap(), heard)
    }
}

async fn told(heard: &mut mpsc::UnboundedReceiver<Value>, id: Option<&str>) -> CommitNotification {
    loop {
        let notice = tokio::time::timeout(Duration::from_secs(20), heard.recv()).await.expect("a notice comes").unwrap();
        let notice: CommitNotification = serde_json::from_value(notice).unwrap();
        if id.is_none_or(|id| notice.request_id.as_deref() == Some(id)) {
            return notice;
        }
    }
}

/// An item as the original sends it: no lengths of chunks, a temporary id, a size for folders.
fn original(temp: i64, item: ItemMetadata) -> ItemMetadata {
    let mimetype = Some(if item.is_folder { "inode/directory" } else { "text/plain" }.to_owned());
    ItemMetadata { id: None, temp_id: Some(temp), chunk_sizes: None, mimetype, size: if item.is_folder { 4096 } else { 0 }, ..item }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_original_and_our_own_work_on_one_workspace() {
    let vhost = Rabbit::shared().vhost();
    let house = house(&vhost, &[("legacy.clients", "on"), ("legacy.users", "anna, nobody@example.org")]).await;
    let anna: Device = house.user("anna").await;
    let workspace = anna.workspace;
    let desktop = Desktop::connect(&vhost, anna.user, Encoding::JAVA).await;

    // It asks who it is and what there is.
    let device = desktop.register().await;
    let again: Uuid = desktop.call("updateDevice", json!({"deviceId": device, "ip": "10.0.0.8"})).await.unwrap();
    assert_eq!(again, device);
    let account: Value = desktop.call("getAccountInfo", json!({"email": "anna@example.org", "userId": null})).await.unwrap();
    assert_eq!((account["userId"].clone(), account["name"].clone()), (json!(anna.user), json!("anna")));
    let workspaces: Vec<Value> = desktop.call("getWorkspaces", json!({})).await.unwrap();
    assert_eq!((workspaces.len(), &workspaces[0]["id"], &workspaces[0]["latestRevision"]), (1, &json!(workspace), &json!(0)));
    assert_eq!((&workspaces[0]["isShared"], &workspaces[0]["items"]), (&json!(false), &json!([])));
    let nothing: Vec<Value> = desktop.call("getChanges", json!({"workspaceId": workspace})).await.unwrap();
    assert_eq!(nothing.len(), 0);

    // It commits: new items with temporary ids, one below the other, and an empty file.
    let (_following, mut desktop_heard) = desktop.follow(workspace).await;
    let (_listening, mut anna_heard) = anna.follow(&workspace.to_string()).await;
    let empty = ItemMetadata { checksum: -1, ..file(1, "empty 😀.txt", &[]) };
    let items = [original(-7, folder(1, "Docs")), below(-7, original(-8, folder(1, "sub"))), below(-7, original(-9, empty))];
    desktop.commit(workspace, device, "desk-1", &items).await;
    let notice = told(&mut desktop_heard, Some("desk-1")).await;
    let metadata = |index: usize| notice.items[index].metadata.clone().unwrap();
    assert!(notice.items.iter().all(|info| info.commit_succeed && info.committed_version == 1), "{notice:?}");
    assert_eq!([metadata(0), metadata(1), metadata(2)].map(|item| item.temp_id), [Some(-7), Some(-8), Some(-9)]);
    assert_eq!((metadata(1).parent_id, metadata(2).parent_id), (metadata(0).id, metadata(0).id));
    assert_eq!((metadata(0).device_id, metadata(0).workspace_id), (Some(device), Some(workspace)));
    assert!(notice.limit_quota.is_some());
    let docs = metadata(0).id.unwrap();

    // Our own client hears of the same, with what only it understands, and has the items.
    let (_, heard) = next(&mut anna_heard).await;
    let heard: CommitNotification = serde_json::from_value(heard).unwrap();
    assert_eq!((heard.from_revision, heard.to_revision), (Some(0), Some(3)));
    assert_eq!(anna.item_ids().await.len(), 3);

    // A repeated commit is answered with the same items, under another id, too.
    for id in ["desk-1", "desk-2"] {
        desktop.commit(workspace, device, id, &items).await;
        let again = told(&mut desktop_heard, Some(id)).await;
        assert!(again.items.iter().all(|info| info.commit_succeed));
        assert_eq!(again.items[0].metadata.as_ref().unwrap().id, Some(docs));
    }
    assert_eq!(anna.item_ids().await.len(), 3);

    // Our own client renames the folder and adds a file; the other hears of it in its own words.
    anna.put(&[b"content"]).await;
    let renamed = version(2, "RENAMED", folder(docs, "Papers"));
    let answer = anna.commit(vec![renamed, below(docs, file(77, "new.txt", &[b"content"]))]).await;
    assert!(answer.items.iter().all(|info| info.commit_succeed), "{answer:?}");
    let notice = told(&mut desktop_heard, answer.request_id.as_deref()).await;
    let said = |index: usize| notice.items[index].metadata.clone().unwrap();
    assert_eq!((&*said(0).status, &*said(0).filename, said(0).version), ("RENAMED", "Papers", 2));
    assert_eq!((&*said(1).status, said(1).size, said(1).id), ("NEW", 7, Some(77)));
    assert_eq!(said(1).chunks, [ChunkName::of(b"content").to_string()]);
    assert_eq!((said(1).chunk_sizes, said(1).revision, notice.to_revision), (None, None, None), "only what its classes have");

    // It is behind, and is told what is there.
    let behind = version(2, "RENAMED", ItemMetadata { id: Some(docs), temp_id: None, ..original(0, folder(docs, "Files")) });
    desktop.commit(workspace, device, "desk-3", &[behind]).await;
    let refused = told(&mut desktop_heard, Some("desk-3")).await;
    assert_eq!((refused.items[0].commit_succeed, refused.items[0].committed_version), (false, 2));
    assert_eq!(refused.items[0].metadata.as_ref().unwrap().filename, "Papers");

    // The whole tree, parents first, deleted items included.
    desktop
        .commit(
            workspace,
            device,
            "desk-4",
            &[version(
                2,
                "DELETED",
                below(docs, ItemMetadata { id: metadata(1).id, temp_id: None, ..original(0, folder(1, "sub")) }),
            )],
        )
        .await;
    assert!(told(&mut desktop_heard, Some("desk-4")).await.items[0].commit_succeed);
    let tree: Vec<ItemMetadata> = desktop.call("getChanges", json!({"workspaceId": workspace})).await.unwrap();
    let listed: Vec<_> = tree.iter().map(|item| (&*item.filename, item.level, &*item.status)).collect();
    assert_eq!(listed[0], ("Papers", Some(1), "RENAMED"));
    assert_eq!(listed.len(), 4);
    for expected in [("sub", Some(2), "DELETED"), ("empty 😀.txt", Some(2), "NEW"), ("new.txt", Some(2), "NEW")] {
        assert!(listed.contains(&expected), "{listed:?}");
    }
    assert!(house.metrics().await.contains("stacksync_broker_connected 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_speak_json_or_compressed_java() {
    let vhost = Rabbit::shared().vhost();
    let house = house(&vhost, &[("legacy.clients", "on"), ("legacy.users", "*"), ("omq.serializer", "gson")]).await;
    let anna = house.user("anna").await;
    for serializer in [Serializer::Json, Serializer::Java] {
        let encoding = Encoding { serializer, compression: Compression::Gzip };
        let desktop = Desktop::connect(&vhost, anna.user, encoding).await;
        let device = desktop.register().await;
        let (_following, mut heard) = desktop.follow(anna.workspace).await;
        let name = format!("{serializer:?}");
        desktop.commit(anna.workspace, device, &name, &[original(-1, folder(1, &name))]).await;
        assert!(told(&mut heard, Some(&name)).await.items[0].commit_succeed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_is_shut_unless_it_is_opened() {
    let vhost = Rabbit::shared().vhost();
    let house = house(&vhost, &[]).await;
    let anna = house.user("anna").await;
    let desktop = Desktop::connect(&vhost, anna.user, Encoding::JAVA).await;
    let shut = desktop.call::<Value>("getWorkspaces", json!({})).await;
    assert_eq!(shut, Err(CallError::NotBound(SYNC_SERVICE.to_owned())));
    // What happens inside is not told outside.
    let (_following, mut heard) = desktop.follow(anna.workspace).await;
    anna.commit(vec![folder(1, "secret")]).await;
    assert!(tokio::time::timeout(Duration::from_millis(700), heard.recv()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_is_open_only_for_those_who_are_named() {
    let vhost = Rabbit::shared().vhost();
    let house = house(&vhost, &[("legacy.clients", "on"), ("legacy.users", "anna")]).await;
    let (anna, ben) = (house.user("anna").await, house.user("ben").await);
    let as_ben = Desktop::connect(&vhost, ben.user, Encoding::JAVA).await;
    let as_anna = Desktop::connect(&vhost, anna.user, Encoding::JAVA).await;
    let of_ben = json!({"workspaceId": ben.workspace});
    for (method, param) in [
        ("getWorkspaces", json!({})),
        ("getChanges", of_ben.clone()),
        ("updateDevice", json!({"deviceId": null})),
        ("getAccountInfo", json!({"email": "ben@example.org"})),
        ("commit", json!({"workspaceId": ben.workspace, "deviceId": ben.id, "items": []})),
    ] {
        assert_eq!(as_ben.refusal(method, param).await, USER_NOT_FOUND, "{method}");
    }
    let nobody = Desktop { broker: as_anna.broker.clone(), user: Uuid::from_u128(5) };
    assert_eq!(nobody.refusal("getWorkspaces", json!({})).await, USER_NOT_FOUND);
    // In the name of one who may come in: what he may do, and no more.
    assert_eq!(as_anna.refusal("getChanges", of_ben.clone()).await, ACCESS_DENIED);
    assert_eq!(as_anna.refusal("updateDevice", json!({"deviceId": ben.id})).await, DEVICE_NOT_UPDATED);
    let with_his_device = json!({"workspaceId": anna.workspace, "deviceId": ben.id, "items": []});
    assert_eq!(as_anna.refusal("commit", with_his_device).await, ACCESS_DENIED);
    assert_eq!(as_anna.refusal("getAccountInfo", json!({"email": "ben@example.org"})).await, USER_NOT_FOUND);
    assert_eq!(as_anna.refusal("noSuchMethod", json!({})).await, "omq.exception.RemoteException");
    // What happens in a workspace of others is not told.
    let (_following, mut heard) = as_anna.follow(ben.workspace).await;
    ben.commit(vec![folder(1, "secret")]).await;
    assert!(tokio::time::timeout(Duration::from_millis(700), heard.recv()).await.is_err());
    // Who is disabled is turned away here as well, as soon as nobody believes any more that he may come in.
    house.admin(&["user", "disable", "anna"]);
    let turned_away = async {
        while as_anna.call::<Value>("getWorkspaces", json!({})).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), turned_away).await.expect("he is turned away");
    assert_eq!(as_anna.refusal("getWorkspaces", json!({})).await, USER_NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_may_lead_to_some_workspaces_only() {
    let vhost = Rabbit::shared().vhost();
    let other = Uuid::from_u128(7).to_string();
    let house = house(&vhost, &[("legacy.clients", "on"), ("legacy.users", "anna"), ("legacy.workspaces", &other)]).await;
    let anna = house.user("anna").await;
    let desktop = Desktop::connect(&vhost, anna.user, Encoding::JAVA).await;
    assert_eq!(desktop.refusal("getChanges", json!({"workspaceId": anna.workspace})).await, ACCESS_DENIED);
    assert_eq!(desktop.refusal("getWorkspaces", json!({})).await, "com.stacksync.commons.exceptions.NoWorkspacesFoundException");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_goes_on_without_its_broker_and_finds_it_again() {
    let rabbit = Rabbit::alone();
    let keys = [("legacy.clients", "on"), ("legacy.users", "anna"), ("omq.retry_connection", "300")];
    let house = house_on(&rabbit, "/", &keys).await;
    let anna = house.user("anna").await;
    let desktop = Desktop::connect_to(&rabbit, "/", anna.user, Encoding::JAVA).await;
    let device = desktop.register().await;
    let (_following, mut heard) = desktop.follow(anna.workspace).await;
    let (_listening, mut anna_heard) = anna.follow(&anna.workspace.to_string()).await;
    let kill = move || {
        rabbit.kill();
        rabbit
    };
    let rabbit = tokio::task::spawn_blocking(kill).await.unwrap();
    // Our own devices do not notice.
    assert!(anna.commit(vec![folder(1, "meanwhile")]).await.items[0].commit_succeed);
    assert_eq!(next(&mut anna_heard).await.0, "notifyCommit");
    let start = move || {
        rabbit.start();
        rabbit
    };
    let rabbit = tokio::task::spawn_blocking(start).await.unwrap();
    // The other side is there again before the service, or after it.
    let items = [original(-1, folder(1, "afterwards"))];
    let mut confirmed = false;
    for attempt in 0..40 {
        let id = format!("desk-{attempt}");
        let param =
            json!({"userId": anna.user, "workspaceId": anna.workspace, "deviceId": device, "requestId": id, "items": items});
        // As the original does: again, until it hears of it. What our own device did meanwhile it may hear of before.
        let _ = desktop.broker.lookup(SYNC_SERVICE).cast("commit", &param).await;
        while let Ok(Some(heard)) = tokio::time::timeout(Duration::from_secs(1), heard.recv()).await {
            confirmed |= heard["requestId"].as_str().is_some_and(|id| id.starts_with("desk-"));
        }
        if confirmed {
            break;
        }
    }
    assert!(confirmed, "it never heard of its commit");
    let tree: Vec<ItemMetadata> = desktop.call("getChanges", json!({"workspaceId": anna.workspace})).await.unwrap();
    let mut names: Vec<&str> = tree.iter().map(|item| &*item.filename).collect();
    names.sort_unstable();
    assert_eq!(names, ["afterwards", "meanwhile"], "once each, however often it was sent");
    tokio::task::spawn_blocking(move || drop(rabbit)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_broker_says_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let port = Rabbit::shared().port.to_string();
    let start = |password: &'static str, port: String| {
        let keys = [("omq.transport", "amqp"), ("omq.host", "127.0.0.1"), ("omq.port", &*port), ("omq.pass", password)];
        let config = crate::house::config(data.path(), &keys);
        async move { stacksync_server::process::start(&config).await.err().map(|failure| (failure.exit as i32, failure.to_string())) }
    };
    let (code, said) = start("wrong-7", port).await.unwrap();
    assert_eq!(code, 5);
    assert!(said.contains("does not accept the user \"guest\"") && !said.contains("wrong-7"), "{said}");
    // One that nobody answers at may still come up: that is waited for.
    let waits = tokio::time::timeout(Duration::from_secs(3), start("guest", "1".to_owned())).await;
    assert!(waits.is_err(), "{waits:?}");
}

/// As large as a workspace may have become with clients that always ask for all of it: more than one message to a device may have.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_tree_is_told_in_one_piece() {
    let vhost = Rabbit::shared().vhost();
    let house = house(&vhost, &[("legacy.clients", "on"), ("legacy.users", "anna")]).await;
    let anna: Device = house.user("anna").await;
    anna.put(&[b"content"]).await;
    for ids in (0..500).collect::<Vec<_>>().chunks(50) {
        let items = ids.iter().map(|id| file(1 + id, &format!("file {id}"), &[&b"content"[..]; 400])).collect();
        let answer = anna.commit(items).await;
        assert!(answer.items.iter().all(|info| info.commit_succeed), "{answer:?}");
    }
    let refused = anna.call::<Value>(SYNC_SERVICE, "getChanges", &json!({"workspaceId": anna.workspace})).await;
    assert!(matches!(refused, Err(CallError::Remote(_))), "it fits");
    let desktop = Desktop::connect(&vhost, anna.user, Encoding::JSON).await;
    let items: Vec<ItemMetadata> = desktop.call("getChanges", json!({"workspaceId": anna.workspace})).await.unwrap();
    assert_eq!(items.len(), 500);
    assert!(items.iter().all(|item| item.chunks.len() == 400));
}
