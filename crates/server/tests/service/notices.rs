//! Notices: who hears what, also of what another process did.

use crate::device::{below, folder, next, version};
use crate::house::House;
use serde_json::json;
use stacksync_core::commit::ItemCommit;
use stacksync_core::values::{DeviceId, UserId, WorkspaceId};
use stacksync_protocol::SYNC_SERVICE;
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::CommitNotification;
use stacksync_server::db::{Commit, PlaceRule};

#[tokio::test(flavor = "multi_thread")]
async fn every_follower_hears_of_a_commit_what_was_saved() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let phone = house.device_of("anna").await;
    let (_following, mut heard) = phone.follow(&phone.workspace.to_string()).await;
    let request = anna.request(vec![folder(1, "a"), folder(2, "A")]);
    let _: CommitNotification = anna.call(SYNC_SERVICE, "commit", &request).await.unwrap();
    let (method, notice) = next(&mut heard).await;
    let notice: CommitNotification = serde_json::from_value(notice).unwrap();
    assert_eq!(method, "notifyCommit");
    assert_eq!((notice.from_revision, notice.to_revision, notice.request_id), (Some(0), Some(1), request.request_id));
    assert_eq!(notice.items.len(), 1);
    assert_eq!(notice.items[0].metadata.as_ref().unwrap().device_id, Some(anna.id));
    assert!(notice.limit_quota.is_some() && notice.used_quota == Some(0));

    anna.commit((10..=110).map(|id| folder(id, &format!("n{id}"))).collect()).await;
    let (_, notice) = next(&mut heard).await;
    assert_eq!((notice["itemsOmitted"].clone(), notice["items"].clone()), (json!(true), json!([])));
    assert_eq!(notice["toRevision"], 102);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_client_s_commit_is_answered_by_its_notice() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let (_following, mut heard) = anna.follow(&anna.workspace.to_string()).await;
    let original = |temp: i64, name: &str| ItemMetadata { id: None, temp_id: Some(temp), ..folder(1, name) };
    let foreign = ItemMetadata { is_folder: false, chunks: vec!["chk-1".into()], size: 3, ..original(-9, "f") };
    let items = vec![original(-7, "Docs"), below(-7, original(-8, "sub")), foreign];
    let param =
        json!({ "workspaceId": anna.workspace, "deviceId": anna.id, "userId": anna.user, "requestId": "desk-1", "items": items });
    anna.broker.lookup(SYNC_SERVICE).cast("commit", &param).await.unwrap();
    let (_, notice) = next(&mut heard).await;
    let first: CommitNotification = serde_json::from_value(notice).unwrap();
    let temp_ids: Vec<_> = first.items.iter().map(|info| info.metadata.as_ref().and_then(|item| item.temp_id)).collect();
    assert_eq!(temp_ids, [Some(-7), Some(-8), None]);
    let docs = first.items[0].metadata.as_ref().unwrap().id;
    assert_eq!(first.items[1].metadata.as_ref().unwrap().parent_id, docs);
    assert!(!first.items[2].commit_succeed && first.items[2].message.as_ref().unwrap().starts_with("chunkSizes:"));

    // It does not hear the notice, and asks again: the same items, not further ones.
    anna.broker.lookup(SYNC_SERVICE).cast("commit", &param).await.unwrap();
    let (_, again) = next(&mut heard).await;
    assert_eq!(serde_json::from_value::<CommitNotification>(again).unwrap().items, first.items);
    let mut anew = param.clone();
    anew["requestId"] = json!("desk-2");
    anna.broker.lookup(SYNC_SERVICE).cast("commit", &anew).await.unwrap();
    let (_, anew) = next(&mut heard).await;
    let anew: CommitNotification = serde_json::from_value(anew).unwrap();
    assert_eq!(anew.items[0].metadata.as_ref().unwrap().id, docs);
    assert!(anew.items[0].commit_succeed);
    assert_eq!(anna.changes(0).await.head, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_change_leaves_the_item_where_it_is() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let empty = ItemMetadata { is_folder: false, ..folder(5, "old name") };
    anna.commit(vec![folder(1, "Docs"), below(1, ItemMetadata { chunk_sizes: Some(Vec::new()), ..empty.clone() })]).await;
    anna.commit(vec![version(2, "CHANGED", empty)]).await;
    let changed = anna.changes(2).await.items.remove(0);
    assert_eq!((changed.version, changed.parent_id), (2, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_did_is_told_too() {
    let house = House::new().await;
    let anna = house.user("anna").await;
    let (_workspace, mut heard) = anna.follow(&anna.workspace.to_string()).await;
    let (_user, mut told) = anna.follow(&anna.user.to_string()).await;
    let item: ItemCommit = folder(1, "elsewhere").to_commit().unwrap();
    let commit = Commit {
        workspace: WorkspaceId(anna.workspace),
        user: UserId(anna.user),
        device: DeviceId(anna.id),
        id: "left over".into(),
        items: vec![item],
        present: Default::default(),
        place_rule: PlaceRule::Full,
    };
    house.db().commit(commit).await.unwrap();
    let (_, notice) = next(&mut heard).await;
    assert_eq!((notice["fromRevision"].clone(), notice["toRevision"].clone()), (json!(0), json!(1)));
    assert_eq!((notice["requestId"].clone(), notice["itemsOmitted"].clone()), (json!("left over"), json!(true)));

    let added = house.admin(&["workspace", "add", "--user", "anna", "--path", "Photos"]);
    let (method, notice) = next(&mut told).await;
    assert_eq!((method.as_str(), notice["folderName"].clone()), ("notifyUpdateWorkspace", json!("Photos")));
    assert_eq!(notice["workspaceId"], added["workspace_id"]);
    let place = json!({ "workspaceId": added["workspace_id"], "workspaceName": "Pictures", "parentItemId": 1, "requestId": "r1" });
    anna.call::<()>(SYNC_SERVICE, "updateWorkspace", &place).await.unwrap();
    let (_, notice) = next(&mut told).await;
    assert_eq!(
        (notice["folderName"].clone(), notice["parentItemId"].clone(), notice["requestId"].clone()),
        (json!("Pictures"), json!(1), json!("r1"))
    );
    let names: Vec<_> = anna.workspaces().await.into_iter().map(|workspace| workspace.name).collect();
    assert_eq!(names, ["default", "Pictures"]);
}
