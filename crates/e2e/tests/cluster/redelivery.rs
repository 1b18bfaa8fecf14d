//! A call of a client of the original whose instance dies between saving it and saying so: the broker hands it out again.

use crate::backends;
use objectmq::amqp::{Amqp, AmqpConfig};
use objectmq::envelope::{Encoding, Encodings};
use objectmq::{BoxFuture, Broker, CallOptions, Incoming, RawValue, RemoteError, RemoteObject, encode_result};
use serde_json::{Value, json};
use stacksync_e2e::crash::points;
use stacksync_e2e::device_line::join;
use stacksync_e2e::programs;
use stacksync_e2e::server::Server;
use stacksync_e2e::wait::until_true;
use stacksync_protocol::SYNC_SERVICE;
use stacksync_server::legacy;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// How long an answer or a notice may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hears notices.
struct Ear(mpsc::UnboundedSender<Value>);

impl RemoteObject for Ear {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        let _ = self.0.send(incoming.param().unwrap());
        Box::pin(std::future::ready(encode_result(&())))
    }
}

async fn client(host: &str, vhost: &str) -> Broker {
    let (host, port) = host.split_once(':').unwrap();
    let config = AmqpConfig {
        hosts: vec![(host.to_owned(), port.parse().unwrap())],
        vhost: vhost.to_owned(),
        rpc_exchange: "rpc_global_exchange".to_owned(),
        ..AmqpConfig::default()
    };
    let encodings = Encodings::original(Encoding::JAVA, Arc::new(legacy::catalog()));
    Broker::with_encodings(Arc::new(Amqp::connect(config).await.unwrap()), encodings)
}

#[test]
fn a_call_whose_instance_dies_takes_effect_once_and_is_told() {
    let backends = backends();
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(dir.path())
        .with_program(programs::crashing()[1].clone())
        .with_database(Some(backends.postgres.database()))
        .with_broker(Some(backends.rabbit.virtual_host()));
    server.set("STACKSYNC_LEGACY_CLIENTS", "on");
    server.set("STACKSYNC_LEGACY_USERS", "anna");
    server.start();
    let invitation = server.add_user("anna");
    let joined = join(server.address(), &invitation, "desk");
    server.stop();
    server.set(points::VARIABLE, "commit.after-save");
    server.start();

    let runtime = Runtime::new().unwrap();
    let broker = server.broker().unwrap().clone();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let (desktop, _following) = runtime.block_on(async {
        let desktop = client(broker.hosts(), broker.name()).await;
        let param = json!({ "userId": joined.user_id, "requestId": "who" });
        let options = CallOptions::new(PATIENCE, 1);
        let workspaces: Vec<Value> = desktop.lookup(SYNC_SERVICE).call("getWorkspaces", &param, options).await.unwrap();
        let workspace = workspaces[0]["id"].as_str().unwrap();
        let following = desktop.listen(workspace, Arc::new(Ear(sender))).await.unwrap();
        let item = json!({
            "tempId": -1, "version": 1, "deviceId": joined.device_id, "status": "NEW", "modifiedAt": "2026-11-23T10:00:00Z",
            "checksum": 0, "size": 4096, "isFolder": true, "filename": "Docs", "mimetype": "inode/directory", "chunks": [],
        });
        let commit = json!({
            "userId": joined.user_id, "workspaceId": workspace, "deviceId": joined.device_id, "requestId": "once", "items": [item],
        });
        desktop.lookup(SYNC_SERVICE).cast("commit", &commit).await.unwrap();
        (desktop, following)
    });
    until_true("the instance dies", || server.ended());
    let database = server.database().unwrap().clone();
    let items = || database.query("SELECT count(*), max(version) FROM items");
    assert_eq!(items(), ["1|1"], "it died before it had saved anything");

    server.set(points::VARIABLE, "");
    server.start();
    let notice = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let notice = heard.recv().await.unwrap();
                if notice["requestId"] == "once" {
                    return notice;
                }
            }
        })
        .await
    });
    let notice = notice.expect("the committer is told");
    assert_eq!(notice["items"][0]["commitSucceed"], true, "{notice}");
    until_true("the broker has nothing left to hand out", || {
        let queues: Value = serde_json::from_str(&backends.rabbit.ask("GET", &format!("queues/{}", broker.name()), "")).unwrap();
        queues.as_array().unwrap().iter().all(|queue| queue["messages"] == 0)
    });
    assert_eq!(items(), ["1|1"], "it took effect twice");
    drop(desktop);
}
