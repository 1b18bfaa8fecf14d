//! Nobody in who does not belong: tokens, other people's workspaces and chunks, and access that is taken away.

use crate::device::{Device, folder, session};
use crate::house::House;
use crate::http::{self, Answer};
use objectmq::transport::Trouble;
use objectmq::{Broker, CallError, CallOptions, ConnectionState, Transport};
use serde_json::{Value, json};
use stacksync_protocol::fault::ACCESS_DENIED;
use stacksync_protocol::{CHUNK_SERVICE, SYNC_SERVICE};
use std::sync::Arc;
use std::time::Duration;

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

async fn knock(house: &House, authorization: Option<&str>) -> Answer {
    let mut head = String::from("GET /v1/objectmq HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in UPGRADE.into_iter().chain(authorization.map(|value| ("authorization", value))) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    http::raw(house.address(), format!("{head}connection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_token_opens_a_session() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    for authorization in [None, Some("Bearer"), Some("Bearer x"), Some(&*format!("Bearer {}", "0".repeat(64))), Some("Basic YTpi")]
    {
        let answer = knock(&house, authorization).await;
        assert_eq!((answer.status, &*answer.code()), (401, "unauthorized"), "{authorization:?}");
    }
    let authorization = format!("Bearer {}", anna.token);
    let plain = http::send(house.address(), "GET", "/v1/objectmq", &[("authorization", &authorization)], b"").await;
    assert_eq!((plain.status, &*plain.code()), (426, "upgradeRequired"));
    assert!(house.metrics().await.contains("stacksync_sessions_refused_total 5"));
}

async fn rejected(house: &House, device: &Device) {
    let client = session(house.address(), &device.token).await;
    let mut state = client.state();
    let refused =
        state.wait_for(|state| matches!(state, ConnectionState::Waiting { trouble: Trouble::Rejected { status: 401, .. }, .. }));
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("the token is refused").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_turned_away_while_it_is_connected_and_ever_after() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let phone = house.device_of("anna").await;
    let tickets = phone.put_tickets(&["0".repeat(64)]).await;
    house.admin(&["device", "revoke", &phone.id.to_string()]);
    phone.disconnected().await;
    rejected(&house, &phone).await;
    assert_eq!(phone.use_ticket(&tickets.tickets[0], b"x").await.code(), "accessDenied");
    assert_eq!(anna.workspaces().await.len(), 1);
    assert!(house.metrics().await.contains("stacksync_sessions_revoked_total 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_turned_away_until_he_is_enabled() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let bert = house.user("bert").await;
    let code = house.admin(&["device", "invite", "anna"])["join_code"].as_str().unwrap().to_owned();
    house.admin(&["user", "disable", "anna"]);
    anna.disconnected().await;
    rejected(&house, &anna).await;
    assert_eq!(house.try_join(&code).await.code(), "badJoinCode");
    assert_eq!(bert.workspaces().await.len(), 1);
    house.admin(&["user", "enable", "anna"]);
    assert_eq!(house.try_join(&code).await.status, 200);
    anna.client.retry_now();
    assert_eq!(anna.workspaces().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_user_leaves_nothing_behind() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    anna.put(&[b"hers"]).await;
    let container = house.data().join("chunks").join(anna.workspace.to_string());
    assert!(container.exists());
    house.admin(&["user", "remove", "anna"]);
    anna.disconnected().await;
    rejected(&house, &anna).await;
    assert!(!container.exists());
    assert_eq!(house.admin(&["user", "list"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_s_workspace_does_not_exist() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let bert = house.user("bert").await;
    anna.commit(vec![folder(1, "hers")]).await;
    for workspace in [anna.workspace, uuid::Uuid::new_v4()] {
        let chunks = ["0".repeat(64)];
        for (object, method, param) in [
            (SYNC_SERVICE, "getChanges", json!({ "workspaceId": workspace })),
            (SYNC_SERVICE, "getChanges", json!({ "workspaceId": workspace, "since": 0 })),
            (SYNC_SERVICE, "commit", json!({ "workspaceId": workspace, "items": [folder(2, "his")] })),
            (SYNC_SERVICE, "updateWorkspace", json!({ "workspaceId": workspace, "workspaceName": "mine" })),
            (CHUNK_SERVICE, "putTickets", json!({ "workspaceId": workspace, "chunks": chunks })),
            (CHUNK_SERVICE, "getTickets", json!({ "workspaceId": workspace, "chunks": chunks })),
        ] {
            assert_eq!(bert.refusal(object, method, param).await, ACCESS_DENIED, "{method}");
        }
    }
    assert_eq!(anna.changes(0).await.head, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cannot_speak_for_somebody_else() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let bert = house.user("bert").await;
    let mine = json!({ "workspaceId": bert.workspace, "items": [folder(1, "x")] });
    for (method, mut param, member, value) in [
        ("commit", mine.clone(), "userId", anna.user),
        ("commit", mine, "deviceId", anna.id),
        ("getChanges", json!({ "workspaceId": bert.workspace }), "userId", anna.user),
        ("getWorkspaces", json!({}), "userId", anna.user),
        ("getAccountInfo", json!({}), "userId", anna.user),
        ("updateDevice", json!({}), "userId", anna.user),
    ] {
        param[member] = json!(value);
        assert_eq!(bert.refusal(SYNC_SERVICE, method, param).await, ACCESS_DENIED, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_calls_the_service_only_and_follows_its_own_only() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let bert = house.user("bert").await;
    let (_hers, mut heard) = anna.follow(&anna.workspace.to_string()).await;
    let shout = bert.broker.lookup(&anna.workspace.to_string());
    let forged = json!({ "items": [], "fromRevision": 0, "toRevision": 9 });
    let _ = shout.multi_cast("notifyCommit", &forged).await;
    let called = shout.call::<Value>("notifyCommit", &forged, CallOptions::new(Duration::from_secs(5), 1)).await;
    assert!(matches!(called, Err(CallError::Refused(_))), "{called:?}");

    struct Deaf;
    impl objectmq::RemoteObject for Deaf {
        fn call(&self, _: objectmq::Incoming) -> objectmq::BoxFuture<'_, Result<Box<objectmq::RawValue>, objectmq::RemoteError>> {
            Box::pin(std::future::ready(objectmq::encode_result(&())))
        }
    }
    let spy = Broker::new(Arc::new(session(house.address(), &bert.token).await));
    for reference in
        [anna.workspace.to_string(), anna.user.to_string(), anna.workspace.to_string().to_uppercase(), SYNC_SERVICE.into()]
    {
        let listening = spy.listen(&reference, Arc::new(Deaf)).await;
        if let Ok(binding) = listening {
            tokio::time::timeout(Duration::from_secs(5), binding.ended()).await.expect("the gate refuses");
        }
    }
    let posing = spy.bind(SYNC_SERVICE, Arc::new(Deaf), objectmq::BindOptions::default()).await;
    if let Ok(binding) = posing {
        tokio::time::timeout(Duration::from_secs(5), binding.ended()).await.expect("the gate refuses");
    }
    assert!(heard.try_recv().is_err());
}
