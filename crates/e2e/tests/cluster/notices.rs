//! Who hears of what, and in which order.

use crate::backends;
use serde_json::json;
use stacksync_e2e::cluster::Cluster;
use stacksync_e2e::device_line::{DeviceLine, join};
use stacksync_e2e::load::Load;
use stacksync_e2e::world::USER;
use stacksync_protocol::SYNC_SERVICE;
use std::time::Duration;
use uuid::Uuid;

/// Longest wait for a notice.
const NOTICE_WAIT: Duration = Duration::from_secs(60);

/// A device on one instance that hears of everything in the workspace of the account.
async fn follower(cluster: &Cluster, instance: usize) -> (DeviceLine, Uuid) {
    let address = cluster.instances[instance].address();
    let token = join(address, &cluster.instances[instance].invite(USER), "ear").token;
    let mut line = DeviceLine::open(address, &token).await;
    let found = line.call(SYNC_SERVICE, "getWorkspaces", &json!({})).await;
    let workspace = found[0]["id"].as_str().unwrap().to_owned();
    line.follow(1, &workspace).await;
    (line, workspace.parse().unwrap())
}

/// The revisions that are told, one after the other, up to the last one.
async fn heard(mut line: DeviceLine, last: u64) -> Vec<(u64, u64)> {
    let mut spans = Vec::new();
    while spans.last().is_none_or(|(_, to)| *to < last) {
        let frame = tokio::time::timeout(NOTICE_WAIT, line.next()).await.expect("a notice comes").expect("the line stays");
        assert_eq!(frame["op"], "notice", "{frame}");
        let notice = &frame["body"]["params"][0];
        let number = |name: &str| notice[name].as_u64().unwrap_or_else(|| panic!("no {name} in {frame}"));
        let span = (number("fromRevision"), number("toRevision"));
        if span.0 != span.1 {
            spans.push(span);
        }
    }
    spans
}

#[test]
fn devices_on_every_instance_hear_of_every_revision_in_order() {
    let cluster = Cluster::start(&backends(), 3, &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ears: Vec<_> = (0..3).map(|instance| runtime.block_on(follower(&cluster, instance)).0).collect();
    let invitations: Vec<_> = (0..6).map(|n| cluster.instances[n % 3].invite(USER)).collect();
    let load = Load::start(cluster.address(), &invitations);
    load.wait_for_more(300);
    let last = load.end().acknowledged;
    for (instance, ear) in ears.into_iter().enumerate() {
        let spans = runtime.block_on(heard(ear, last));
        let gap = spans.windows(2).find(|pair| pair[0].1 != pair[1].0);
        assert_eq!((gap, spans[0].0), (None, 0), "instance {instance}: {spans:?}");
    }
}
