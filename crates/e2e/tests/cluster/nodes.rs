//! A broker of three nodes loses one, under the calls of clients of the original, which the queue spreads over the instances.

use serde_json::{Value, json};
use stacksync_core::commit::ItemCommit;
use stacksync_core::values::{Body, ItemId, ModifiedAt, Name, Place, Status, Version};
use stacksync_e2e::cluster::{Backends, Cluster};
use stacksync_e2e::http;
use stacksync_e2e::load::Load;
use stacksync_e2e::rabbit::Rabbit;
use stacksync_e2e::wait::until;
use stacksync_protocol::item::ItemMetadata;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The account of the client of the original.
const NAME: &str = "olga";
/// Where its answers go.
const REPLIES: &str = "replies.of.olga";
/// Calls before the loss, and after it.
const CALLS: usize = 30;
/// After that a call is made again.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Nodes of the broker. All instances are connected to the first one.
const NODES: u16 = 3;

/// A client of the original, which speaks over the management API of a node.
struct Original<'a> {
    rabbit: &'a Rabbit,
    node: u16,
    vhost: String,
    user: String,
    answers: BTreeMap<String, Value>,
    asked_again: usize,
}

impl<'a> Original<'a> {
    fn new(rabbit: &'a Rabbit, node: u16, cluster: &Cluster) -> Self {
        let vhost = cluster.virtual_host().name().to_owned();
        let user = cluster.instances[0].admin(&["user", "show", NAME])["user_id"].as_str().unwrap().to_owned();
        rabbit.ask_node(node, "PUT", &format!("queues/{vhost}/{REPLIES}"), r#"{"durable":true}"#).unwrap();
        Self { rabbit, node, vhost, user, answers: BTreeMap::new(), asked_again: 0 }
    }

    /// Sends until the broker has it: under the same id it is the same call.
    fn send(&self, id: &str, method: &str, asynchronous: bool, mut param: Value) {
        param["userId"] = json!(self.user);
        param["requestId"] = json!(id);
        let payload = json!({ "method": method, "params": [param], "id": id, "async": asynchronous }).to_string();
        let mut properties = json!({ "app_id": "ISyncService", "correlation_id": id, "type": "gson", "delivery_mode": 2 });
        if !asynchronous {
            properties["reply_to"] = json!(REPLIES);
        }
        let message = json!({
            "properties": properties, "routing_key": "ISyncService", "payload": payload, "payload_encoding": "string",
        });
        let path = format!("exchanges/{}/rpc_global_exchange/publish", self.vhost);
        until("the broker takes a call", || match self.rabbit.ask_node(self.node, "POST", &path, &message.to_string()) {
            Ok(said) if said.contains("true") => Ok(()),
            Ok(said) | Err(said) => Err(said),
        });
    }

    fn collect(&mut self) {
        let path = format!("queues/{}/{REPLIES}/get", self.vhost);
        let wanted = r#"{"count":1000,"ackmode":"ack_requeue_false","encoding":"auto"}"#;
        let Ok(found) = self.rabbit.ask_node(self.node, "POST", &path, wanted) else { return };
        for message in serde_json::from_str::<Vec<Value>>(&found).unwrap() {
            let id = message["properties"]["correlation_id"].as_str().unwrap().to_owned();
            self.answers.insert(id, serde_json::from_str(message["payload"].as_str().unwrap()).unwrap());
        }
    }

    /// Waits for the answer to a call, and asks again under the same id after a while, as the original does.
    fn answer(&mut self, id: &str, method: &str, param: &Value) -> Value {
        let mut asked = Instant::now();
        until(&format!("the call {id} is answered"), || {
            self.collect();
            if let Some(answer) = self.answers.get(id) {
                return Ok(answer["result"].clone());
            }
            if asked.elapsed() > ASK_AGAIN {
                asked = Instant::now();
                self.asked_again += 1;
                self.send(id, method, false, param.clone());
            }
            Err("no answer".to_owned())
        })
    }

    fn call(&mut self, id: &str, method: &str, param: Value) -> Value {
        self.send(id, method, false, param.clone());
        self.answer(id, method, &param)
    }
}

fn folder(number: usize) -> ItemCommit {
    ItemCommit {
        id: ItemId::new(1 + number as i64).unwrap(),
        version: Version::FIRST,
        status: Status::New,
        place: Place { parent: None, name: Name::new(&format!("folder {number}")).unwrap() },
        body: Body::Folder,
        modified: ModifiedAt(1_700_000_000_000_000_000),
    }
}

#[test]
fn a_node_of_three_is_lost_and_no_call_is() {
    let backends = Backends::start(NODES);
    let settings = [
        ("STACKSYNC_OMQ_QUEUE_TYPE", "quorum"),
        ("STACKSYNC_OMQ_DELIVERY_MODE", "2"),
        ("STACKSYNC_LEGACY_CLIENTS", "on"),
        ("STACKSYNC_LEGACY_USERS", NAME),
    ];
    let cluster = Cluster::start(&backends, 3, &settings);
    cluster.instances[0].add_user(NAME);
    let mut olga = Original::new(&backends.rabbit, 1, &cluster);
    let about = json!({ "deviceId": null, "deviceName": "desk", "os": "Windows 7", "ip": "10.0.0.7", "appVersion": "2.0" });
    let device = olga.call("register", "updateDevice", about);
    let workspace = olga.call("workspaces", "getWorkspaces", json!({}))[0]["id"].clone();
    let load = Load::start(cluster.address(), &[cluster.invite(), cluster.invite()]);

    for number in 0..2 * CALLS {
        if number == CALLS {
            backends.rabbit.kill(Some(0));
        }
        let item =
            ItemMetadata { id: None, temp_id: Some(-1 - number as i64), size: 4_096, ..ItemMetadata::from_commit(&folder(number)) };
        let commit = json!({ "workspaceId": workspace, "deviceId": device, "items": [item] });
        olga.send(&format!("commit-{number}"), "commit", true, commit);
        olga.send(&format!("ask-{number}"), "getChanges", false, json!({ "workspaceId": workspace }));
    }
    for number in 0..2 * CALLS {
        olga.answer(&format!("ask-{number}"), "getChanges", &json!({ "workspaceId": workspace }));
    }
    let mut asked = 0;
    let names = until("every commit took effect", || {
        asked += 1;
        let found = olga.call(&format!("look-{asked}"), "getChanges", json!({ "workspaceId": workspace }));
        let names: Vec<String> =
            found.as_array().unwrap().iter().filter_map(|item| item["filename"].as_str()).map(str::to_owned).collect();
        let missing: Vec<_> = (0..2 * CALLS).filter(|number| !names.contains(&format!("folder {number}"))).collect();
        if missing.is_empty() { Ok(names) } else { Err(format!("not there: {missing:?}")) }
    });
    let different: BTreeSet<_> = names.iter().filter(|name| name.starts_with("folder ")).collect();
    assert_eq!(
        different.len(),
        names.iter().filter(|name| name.starts_with("folder ")).count(),
        "a commit took effect twice: {names:?}"
    );
    let shares: Vec<f64> =
        cluster.instances.iter().map(|server| http::metric(&server.metrics(), "stacksync_call_seconds_count")).collect();
    assert!(shares.iter().all(|calls| *calls > CALLS as f64 / 4.0), "the calls are not spread: {shares:?}");
    let ledger = load.end();
    println!(
        "calls per instance {shares:?}, {} asked again; {} commits of devices beside them",
        olga.asked_again, ledger.acknowledged
    );

    backends.rabbit.again(Some(0));
    cluster.wait_until_well(3);
}
