//! Commits, end to end: what passes, each reason to refuse, repeats, and what can be read afterwards.

use crate::device::{below, file, folder, version};
use crate::house::House;
use serde_json::{Value, json};
use stacksync_protocol::SYNC_SERVICE;
use stacksync_protocol::fault;
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::{AccountInfo, CommitNotification};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_saved_answered_and_read_by_another_device() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let phone = house.device_of("anna").await;
    anna.put(&[b"hello ", b"world"]).await;
    let answer = anna.commit(vec![folder(1, "Docs"), below(1, file(2, "a.txt", &[b"hello ", b"world"]))]).await;
    assert_eq!((answer.from_revision, answer.to_revision), (Some(0), Some(2)));
    assert!(answer.items.iter().all(|info| info.commit_succeed), "{answer:?}");
    let saved = answer.items[1].metadata.as_ref().unwrap();
    assert_eq!((saved.device_id, saved.workspace_id, saved.size), (Some(anna.id), Some(anna.workspace), 11));

    let changes = phone.changes(0).await;
    assert_eq!((changes.to, changes.head, changes.items.len()), (2, 2, 2));
    assert_eq!(changes.items[1].modified_at, folder(1, "x").modified_at);
    assert_eq!(changes.items[1].chunk_sizes, Some(vec![6, 5]));
    assert_eq!(phone.changes(2).await.items, Vec::new());

    let listed: Vec<ItemMetadata> =
        phone.call(SYNC_SERVICE, "getChanges", &json!({ "workspaceId": phone.workspace })).await.unwrap();
    let order: Vec<_> = listed.iter().map(|item| (item.filename.as_str(), item.level)).collect();
    assert_eq!(order, [("Docs", Some(1)), ("a.txt", Some(2))]);
    house.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_to_refuse_is_told_item_by_item() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    house.admin(&["user", "quota", "anna", "1000"]);
    let bert = house.user("bert").await;
    bert.commit(vec![folder(90_000, "his")]).await;
    anna.put(&[b"x"]).await;
    let base = vec![
        folder(1, "a"),
        below(1, folder(2, "b")),
        below(2, file(3, "f", &[b"x"])),
        folder(4, "gone"),
        version(2, "DELETED", folder(4, "gone")),
    ];
    assert!(anna.commit(base).await.items.iter().all(|info| info.commit_succeed));
    let link = ItemMetadata { is_folder: false, link_target: Some("t".into()), ..folder(1, "a") };
    let missing: &[u8] = b"nobody has uploaded this";
    let big = vec![b'b'; 1_000];
    anna.put(&[&big]).await;
    let deep: Vec<_> = (10..1_010).map(|id| if id == 10 { folder(id, "d") } else { below(id - 1, folder(id, "d")) }).collect();
    let dug = anna.commit(deep).await;
    assert_eq!(dug.items.iter().find(|info| !info.commit_succeed), None);
    for (items, expected) in [
        (vec![version(5, "CHANGED", file(3, "f", &[b"x"]))], "wrongVersion"),
        (vec![version(2, "CHANGED", file(7700, "f", &[b"x"]))], "unknownItem"),
        (vec![folder(90_000, "mine")], "foreignItem"),
        (vec![version(2, "CHANGED", link)], "kindChanged"),
        (vec![below(12_345, folder(5050, "x"))], "parentUnknown"),
        (vec![below(90_000, folder(5050, "x"))], "parentUnknown"),
        (vec![below(4, folder(5051, "x"))], "parentDeleted"),
        (vec![below(3, folder(5052, "x"))], "parentNotFolder"),
        (vec![below(2, version(2, "RENAMED", folder(1, "a")))], "cycle"),
        (vec![below(1_009, folder(5053, "x"))], "tooDeep"),
        (vec![folder(5054, "A")], "nameTaken"),
        (vec![version(2, "DELETED", folder(1, "a"))], "notEmpty"),
        (vec![file(5055, "m", &[missing])], "chunksMissing"),
        (vec![file(5056, "big", &[&big])], "quotaExceeded"),
        (vec![version(1, "DELETED", folder(5057, "x"))], "invalid"),
        (vec![folder(5058, &"n".repeat(256))], "invalid"),
        (vec![folder(5059, "a/b")], "invalid"),
        (vec![version(0, "NEW", folder(5060, "x"))], "invalid"),
        (vec![ItemMetadata { size: 5, ..file(5061, "x", &[b"x"]) }], "invalid"),
        (vec![ItemMetadata { chunks: vec!["chk-00".into()], chunk_sizes: None, size: 1, ..file(5062, "x", &[]) }], "invalid"),
        (vec![folder(5070, "fine"), folder(5071, "FINE")], "nameTaken"),
    ] {
        let text = format!("{items:?}");
        assert_eq!(anna.reason(items).await, expected, "{text}");
    }
    let page = house.metrics().await;
    for line in ["verdict=\"nameTaken\"} 2", "verdict=\"cycle\"} 1", "verdict=\"accepted\"}"] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_shows_what_the_service_has() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    anna.put(&[b"x", b"y"]).await;
    anna.commit(vec![file(1, "f", &[b"x"]), version(2, "CHANGED", file(1, "f", &[b"y"]))]).await;
    let late = anna.commit(vec![version(2, "CHANGED", file(1, "f", &[b"x"]))]).await;
    let info = &late.items[0];
    assert_eq!((info.commit_succeed, info.committed_version), (false, 2));
    assert_eq!(info.metadata.as_ref().unwrap().chunks, file(1, "f", &[b"y"]).chunks);
    let again = anna.commit(vec![file(1, "f", &[b"x"])]).await;
    let info = &again.items[0];
    assert_eq!((info.commit_succeed, info.committed_version, info.metadata.as_ref().unwrap().version), (true, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_with_the_first_answer() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let request = anna.request(vec![folder(1, "a")]);
    let first: CommitNotification = anna.call(SYNC_SERVICE, "commit", &request).await.unwrap();
    anna.commit(vec![version(2, "RENAMED", folder(1, "b"))]).await;
    let again: CommitNotification = anna.call(SYNC_SERVICE, "commit", &request).await.unwrap();
    assert_eq!(first.items, again.items);
    assert_eq!((again.from_revision, again.to_revision), (Some(0), Some(1)));
    assert_eq!(anna.changes(0).await.head, 2);
    let mut other = request.clone();
    other.items[0].filename = "c".into();
    assert_eq!(anna.refusal(SYNC_SERVICE, "commit", json!(other)).await, fault::INVALID_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_as_a_whole() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let many = anna.request((1..=1_001).map(|id| folder(id, &format!("n{id}"))).collect());
    let long_id = stacksync_protocol::sync_service::CommitRequest { request_id: Some("r".repeat(129)), ..anna.request(Vec::new()) };
    for request in [json!(many), json!(long_id)] {
        assert_eq!(anna.refusal(SYNC_SERVICE, "commit", request).await, fault::INVALID_REQUEST);
    }
    assert_eq!(anna.changes(0).await.head, 0);
    assert_eq!(anna.refusal(SYNC_SERVICE, "commit", json!({ "items": "none" })).await, objectmq_serializer_exception());
    assert_eq!(anna.refusal(SYNC_SERVICE, "selfDestruct", json!({})).await, "omq.exception.RemoteException");
}

fn objectmq_serializer_exception() -> &'static str {
    "omq.exception.SerializerException"
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_page_by_page() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    anna.commit((1..=25).map(|id| folder(id, &format!("n{id}"))).collect()).await;
    let (mut since, mut seen) = (0, Vec::new());
    loop {
        let param = json!({ "workspaceId": anna.workspace, "since": since, "limit": 10 });
        let page: stacksync_protocol::sync_service::Changes = anna.call(SYNC_SERVICE, "getChanges", &param).await.unwrap();
        assert!(page.items.len() <= 10 && page.head == 25);
        seen.extend(page.items.iter().map(|item| item.id.unwrap()));
        since = page.to;
        if page.to == page.head {
            break;
        }
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_reads_and_tells_about_itself() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    house.admin(&["user", "quota", "anna", "1 MiB"]);
    anna.put(&[b"12345"]).await;
    anna.commit(vec![file(1, "f", &[b"12345"])]).await;
    let account: AccountInfo = anna.call(SYNC_SERVICE, "getAccountInfo", &json!({ "email": "ANNA@example.org" })).await.unwrap();
    assert_eq!((account.user_id, account.quota_limit, account.quota_used), (anna.user, 1 << 20, 5));
    let device: uuid::Uuid =
        anna.call(SYNC_SERVICE, "updateDevice", &json!({ "deviceName": "desk", "ip": "192.0.2.7" })).await.unwrap();
    assert_eq!(device, anna.id);
    assert_eq!(house.admin(&["device", "list", "anna"])[0]["name"], "desk");
    for (method, param, kind) in [
        ("getAccountInfo", json!({ "email": "bert@example.org" }), fault::ACCESS_DENIED),
        ("updateDevice", json!({ "deviceId": uuid::Uuid::nil() }), fault::DEVICE_NOT_UPDATED),
        ("updateDevice", json!({ "ip": "nowhere" }), fault::INVALID_REQUEST),
        ("updateDevice", json!({ "deviceName": "n".repeat(256) }), fault::INVALID_REQUEST),
        ("updateWorkspace", json!({ "workspaceId": anna.workspace, "workspaceName": "x" }), fault::WORKSPACE_NOT_UPDATED),
        ("updateWorkspace", json!({ "workspaceId": anna.workspace, "workspaceName": "a/b" }), fault::INVALID_REQUEST),
        ("createShareProposal", json!({ "emails": ["bert@example.org"], "itemId": 1 }), fault::SHARE_PROPOSAL_NOT_CREATED),
    ] {
        assert_eq!(anna.refusal(SYNC_SERVICE, method, param).await, kind, "{method}");
    }
    let nothing: Value = anna.call(SYNC_SERVICE, "getWorkspaces", &json!({ "userId": anna.user })).await.unwrap();
    assert_eq!(nothing[0]["name"], "default");
}
