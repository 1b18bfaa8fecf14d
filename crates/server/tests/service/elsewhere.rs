//! What is told beyond this process: to other instances, and to clients of the original. A hub stands for the message broker.

use crate::device::folder;
use crate::house::{House, config};
use objectmq::envelope::{Encoding, Encodings};
use objectmq::local::{Hub, HubLimits};
use objectmq::{Binding, BoxFuture, Broker, Incoming, RawValue, RemoteError, RemoteObject, encode_result};
use serde_json::Value;
use stacksync_core::values::{DeviceId, Revision, WorkspaceId};
use stacksync_protocol::sync_service::CommitNotification;
use stacksync_server::config::MessageTransport;
use stacksync_server::db::{Notice, NoticeContent};
use stacksync_server::legacy;
use stacksync_server::metrics::Metrics;
use stacksync_server::service::{Elsewhere, InOrder, Instances, Notices, OriginalDoor, Relay};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

struct Ear(mpsc::UnboundedSender<Value>);

impl RemoteObject for Ear {
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>> {
        let _ = self.0.send(incoming.param().unwrap());
        Box::pin(std::future::ready(encode_result(&())))
    }
}

async fn listen(broker: &Broker, reference: Uuid) -> (Binding, mpsc::UnboundedReceiver<Value>) {
    let (sender, heard) = mpsc::unbounded_channel();
    (broker.listen(&reference.to_string(), Arc::new(Ear(sender))).await.unwrap(), heard)
}

async fn next(heard: &mut mpsc::UnboundedReceiver<Value>) -> CommitNotification {
    let notice = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.expect("a notice comes").unwrap();
    serde_json::from_value(notice).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_tells_its_devices_once_and_clients_of_the_original_get_the_items() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    anna.commit(vec![folder(1, "a"), folder(2, "b")]).await;
    let workspace = WorkspaceId(anna.workspace);

    let between = Hub::new(HubLimits::default());
    let over = || Broker::new(Arc::new(between.clone()));
    let metrics = Arc::new(Metrics::default());
    let [in_order_here, in_order_there] =
        [(); 2].map(|()| Arc::new(InOrder::new(Hub::new(HubLimits::default()), Arc::clone(&metrics))));
    let (here, there) = (in_order_here.broker().clone(), in_order_there.broker().clone());
    let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (first, second) = (over(), over());
    let _relays = [
        first.listen(Relay::REFERENCE, Arc::new(Relay { own, here: Arc::clone(&in_order_here), db: house.db() })).await.unwrap(),
        second
            .listen(Relay::REFERENCE, Arc::new(Relay { own: other, here: Arc::clone(&in_order_there), db: house.db() }))
            .await
            .unwrap(),
    ];
    let keys = [("omq.transport", "amqp"), ("legacy.clients", "on"), ("legacy.users", "anna")];
    let MessageTransport::Amqp(amqp) = config(house.data(), &keys).messages else { panic!() };
    let java = || Encodings::original(Encoding::JAVA, Arc::new(legacy::catalog()));
    let original = Broker::with_encodings(Arc::new(between.clone()), java());
    let door = Arc::new(OriginalDoor::new(amqp.original.clone().unwrap(), house.db()));
    let instances = Instances { broker: first.clone(), own };
    let elsewhere = Elsewhere::start(instances, Some((original, door)), house.db(), Arc::clone(&metrics));
    let notices = Notices::new(here.clone(), metrics).and(elsewhere, in_order_here);

    let desktop = Broker::with_encodings(Arc::new(between.clone()), java());
    let (_a, mut heard_here) = listen(&here, anna.workspace).await;
    let (_b, mut heard_there) = listen(&there, anna.workspace).await;
    let (_c, mut heard_by_original) = listen(&desktop, anna.workspace).await;
    // Of a service that was started again since: it does not remember what it saved.
    for (id, from, to) in [(1, 0, 2), (2, 1, 2)] {
        let content = NoticeContent::Commit {
            workspace,
            from: Revision(from),
            to: Revision(to),
            device: DeviceId(anna.id),
            request_id: format!("request {id}"),
            outcome: None,
        };
        notices.tell(Notice { id, content }).await;
    }
    // Of what they were told before, others are not told again; where it was committed somebody may wait for it.
    let about = |notice: CommitNotification| (notice.request_id.unwrap(), notice.to_revision, notice.items_omitted);
    assert_eq!(about(next(&mut heard_here).await), ("request 1".to_owned(), Some(2), true));
    assert_eq!(about(next(&mut heard_there).await), ("request 1".to_owned(), Some(2), true));
    assert_eq!(about(next(&mut heard_here).await), ("request 2".to_owned(), Some(2), true));
    let whole = next(&mut heard_by_original).await;
    let names = |notice: &CommitNotification| -> Vec<String> {
        notice.items.iter().map(|info| info.metadata.as_ref().unwrap().filename.clone()).collect()
    };
    assert_eq!((names(&whole), whole.request_id.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("request 1")));
    assert!(whole.items.iter().all(|info| info.commit_succeed && info.committed_version == 1));
    assert_eq!(names(&next(&mut heard_by_original).await), ["b"]);
    assert!(heard_here.try_recv().is_err() && heard_there.try_recv().is_err());
}
