//! Users, devices, join codes, memberships.

use super::home::Kind;
use super::world::{MIB, World, add_device, add_user, error, id, new_item, sized};
use crate::db::{Access, Commit, DbError, DeviceSeen, NewDevice, NewUser, RedeemError, Role, UnixMs, UserKey};
use stacksync_core::values::{Body, DeviceId, Name, Revision, UserId, WorkspaceId};
use std::sync::Arc;
use uuid::Uuid;

pub async fn names_and_addresses_are_unique_whatever_their_case(kind: Kind) {
    let world = World::new(kind).await;
    let add = |name: &str, email: &str| {
        world.db.add_user(NewUser { name: name.into(), email: email.into(), quota_limit: 1, password_phc: None })
    };
    assert_eq!(error(add("ANN", "other@example.org").await), DbError::NameTaken);
    assert_eq!(error(add("other", "Ann@Example.org").await), DbError::EmailTaken);
    assert_eq!(add("Bob", "Bob@Example.org").await.unwrap().email, "bob@example.org");
    for key in [UserKey::Id(world.user.id), UserKey::Name("Ann".into()), UserKey::Email("ANN@example.org".into())] {
        assert_eq!(world.db.user(key).await.unwrap(), Some(world.user.clone()));
    }
    assert_eq!(world.db.user(UserKey::Name("nobody".into())).await.unwrap(), None);
    let names: Vec<_> = world.db.users().await.unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["ann", "Bob"]);
}

pub async fn an_account_can_be_changed_and_nobody_elses(kind: Kind) {
    let world = World::new(kind).await;
    let bob = add_user(&world.db, "bob", MIB).await;
    world.db.set_quota(bob.id, 7).await.unwrap();
    world.db.set_password(bob.id, Some("$argon2id$...".into())).await.unwrap();
    world.db.set_access(bob.id, Access::Disabled).await.unwrap();
    let changed = world.db.user(UserKey::Id(bob.id)).await.unwrap().unwrap();
    assert_eq!((changed.quota_limit, changed.access), (7, Access::Disabled));
    assert_eq!(changed.password_phc.as_deref(), Some("$argon2id$..."));
    assert_eq!(world.db.user(UserKey::Id(world.user.id)).await.unwrap(), Some(world.user.clone()));
    let nobody = UserId(Uuid::new_v4());
    assert_eq!(error(world.db.set_quota(nobody, 1).await), DbError::NoSuchUser);
    assert_eq!(error(world.db.remove_user(nobody).await), DbError::NoSuchUser);
    assert_eq!(error(world.db.add_join_code(nobody, [1; 32], UnixMs(0)).await), DbError::NoSuchUser);
}

pub async fn a_join_code_works_once_and_in_time(kind: Kind) {
    let world = World::new(kind).await;
    let redeem = |code: u8| world.db.redeem_join_code([code; 32], NewDevice::default(), [code; 32]);
    assert_eq!(redeem(9).await.unwrap_err(), RedeemError::Unknown);
    world.db.add_join_code(world.user.id, [9; 32], UnixMs(UnixMs::now().0 - 1)).await.unwrap();
    assert_eq!(redeem(9).await.unwrap_err(), RedeemError::Expired);
    world.db.add_join_code(world.user.id, [10; 32], UnixMs(i64::MAX)).await.unwrap();
    world.db.set_access(world.user.id, Access::Disabled).await.unwrap();
    assert_eq!(redeem(10).await.unwrap_err(), RedeemError::Disabled);
    world.db.set_access(world.user.id, Access::Allowed).await.unwrap();
    let (user, device) = redeem(10).await.unwrap();
    assert_eq!((user, device.user), (world.user.clone(), world.user.id));
    assert_eq!(redeem(10).await.unwrap_err(), RedeemError::Unknown);
}

pub async fn of_many_that_bring_one_code_one_gets_in(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    world.db.add_join_code(world.user.id, [10; 32], UnixMs(i64::MAX)).await.unwrap();
    let tasks: Vec<_> = (100..130_u8)
        .map(|token| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.db.redeem_join_code([10; 32], NewDevice::default(), [token; 32]).await.is_ok() })
        })
        .collect();
    let mut joined = 0;
    for task in tasks {
        joined += usize::from(task.await.unwrap());
    }
    assert_eq!((joined, world.db.devices(world.user.id).await.unwrap().len()), (1, 2));
}

pub async fn a_revoked_device_is_known_but_its_token_is_not(kind: Kind) {
    let world = World::new(kind).await;
    let (user, device) = world.db.device_by_token([1; 32]).await.unwrap().unwrap();
    assert_eq!((user, device), (world.user.clone(), world.device.clone()));
    assert_eq!(world.db.device_by_token([2; 32]).await.unwrap(), None);
    let seen = DeviceSeen { app_version: Some("2.0".into()), ..DeviceSeen::default() };
    world.db.touch_device(world.device.id, seen).await.unwrap();
    // Another process revokes it.
    world.beside().await.revoke_device(world.device.id).await.unwrap();
    assert_eq!(world.db.device_by_token([1; 32]).await.unwrap(), None);
    let device = world.db.device(world.device.id).await.unwrap().unwrap().1;
    assert!(device.revoked && device.seen_at >= world.device.seen_at);
    assert_eq!((device.app_version.as_str(), device.name.as_str()), ("2.0", "laptop"));
    let nothing = DeviceId(Uuid::new_v4());
    assert_eq!(error(world.db.revoke_device(nothing).await), DbError::NoSuchDevice);
    assert_eq!(error(world.db.touch_device(nothing, DeviceSeen::default()).await), DbError::NoSuchDevice);
}

pub async fn workspaces_belong_to_their_members(kind: Kind) {
    let world = World::new(kind).await;
    let bob = add_user(&world.db, "bob", MIB).await;
    let name = |text: &str| Name::new(text).unwrap();
    let photos = world.db.add_workspace(world.user.id, name("Photos"), Some(id(5))).await.unwrap();
    assert_eq!((photos.role, photos.is_default, photos.is_shared, photos.parent), (Role::Owner, false, false, Some(id(5))));
    assert_eq!(error(world.db.add_workspace(world.user.id, name("PHOTOS"), None).await), DbError::WorkspaceNameTaken);
    world.db.add_workspace(bob.id, name("Photos"), None).await.unwrap();
    let mine: Vec<_> = world.db.workspaces_of(world.user.id).await.unwrap();
    assert_eq!(mine.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["default", "Photos"]);
    assert!(mine[0].is_default);
    let membership = world.db.membership(world.user.id, photos.id).await.unwrap().unwrap();
    assert_eq!((membership.role, membership.owner), (Role::Owner, world.user.id));
    assert_eq!(world.db.membership(bob.id, photos.id).await.unwrap(), None);
    assert_eq!(world.db.members(photos.id).await.unwrap(), [world.user.id]);

    let update = |workspace, text: &str| world.db.update_membership(world.user.id, workspace, name(text), None, None);
    assert_eq!(update(photos.id, "Pictures").await.unwrap().name, name("Pictures"));
    assert_eq!(update(photos.id, "pictures").await.unwrap().parent, None);
    assert_eq!(error(update(photos.id, "Default").await), DbError::WorkspaceNameTaken);
    assert_eq!(error(update(world.workspace, "x").await), DbError::DefaultWorkspace);
    assert_eq!(error(update(WorkspaceId(Uuid::new_v4()), "x").await), DbError::NoAccess);
}

pub async fn removing_a_user_removes_all_that_is_his_and_nothing_else(kind: Kind) {
    let world = World::new(kind).await;
    let bob = add_user(&world.db, "bob", MIB).await;
    let tablet = add_device(&world.db, &bob, 2).await;
    let his = world.db.workspaces_of(bob.id).await.unwrap()[0].id;
    let extra = world.db.add_workspace(bob.id, Name::new("extra").unwrap(), None).await.unwrap().id;
    world.saved(new_item(1, None, "mine", sized(5))).await;
    for (n, workspace) in [(2, his), (3, extra)] {
        let items = vec![new_item(n, None, "his", sized(5))];
        let commit = Commit { workspace, user: bob.id, device: tablet.id, ..world.commit_of(items) };
        world.db.commit(commit).await.unwrap();
    }
    let mut removed = world.db.remove_user(bob.id).await.unwrap();
    removed.sort_unstable();
    let mut expected = vec![his, extra];
    expected.sort_unstable();
    assert_eq!(removed, expected);
    assert_eq!(world.db.user(UserKey::Id(bob.id)).await.unwrap(), None);
    assert_eq!(world.db.device_by_token([2; 32]).await.unwrap(), None);
    assert_eq!(error(world.db.changes(his, Revision::ZERO, 10).await), DbError::NoAccess);
    assert_eq!(world.items().await.len(), 1);
    assert_eq!(world.quota_used().await, 5);
    // The ids are free again, and so are the name and the address.
    world.saved(new_item(2, None, "mine too", Body::Folder)).await;
    add_user(&world.db, "bob", MIB).await;
}

pub async fn the_quota_is_one_for_all_workspaces_of_an_owner(kind: Kind) {
    let world = World::new(kind).await;
    world.db.set_quota(world.user.id, 10).await.unwrap();
    let extra = world.db.add_workspace(world.user.id, Name::new("extra").unwrap(), None).await.unwrap().id;
    world.saved(new_item(1, None, "a", sized(6))).await;
    let commit = Commit { workspace: extra, ..world.commit_of(vec![new_item(2, None, "b", sized(6))]) };
    let outcome = world.db.commit(commit).await.unwrap();
    assert_eq!((outcome.answer.to, outcome.quota_used), (Revision::ZERO, 6));
    let commit = Commit { workspace: extra, ..world.commit_of(vec![new_item(2, None, "b", sized(4))]) };
    let outcome = world.db.commit(commit).await.unwrap();
    assert_eq!((outcome.answer.to, outcome.quota_used), (Revision(1), 10));
}
