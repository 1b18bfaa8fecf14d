//! A store with one user, his default workspace and a device, and short ways to say what he commits.

use super::home::{Home, Kind};
use crate::db::{Commit, CommitOutcome, Db, DbError, Device, NewDevice, NewUser, PlaceRule, UnixMs, User, UserKey};
use stacksync_core::commit::{ItemCommit, Refusal, Verdict};
use stacksync_core::values::{
    Body, ChunkName, ChunkRef, FileBody, ItemId, ModifiedAt, Name, Place, RemoteItem, Revision, Status, Version, WorkspaceId,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const MIB: u64 = 1 << 20;

pub struct World {
    pub db: Db,
    pub user: User,
    pub device: Device,
    pub workspace: WorkspaceId,
    pub home: Home,
    requests: AtomicU64,
}

impl World {
    pub async fn new(kind: Kind) -> Self {
        let home = Home::new(kind).await;
        let db = home.open().await;
        let user = add_user(&db, "ann", 1_000 * MIB).await;
        let device = add_device(&db, &user, 1).await;
        let workspace = db.workspaces_of(user.id).await.unwrap()[0].id;
        Self { db, user, device, workspace, home, requests: AtomicU64::new(1) }
    }

    /// Another process on the same store.
    pub async fn beside(&self) -> Db {
        self.home.open().await
    }

    /// The same world after its store was closed and opened.
    pub async fn reopened(self) -> Self {
        let Self { db, user, device, workspace, home, requests } = self;
        drop(db);
        let db = home.open().await;
        Self { db, user, device, workspace, home, requests }
    }

    /// A commit of these items with all their chunks present.
    pub fn commit_of(&self, items: Vec<ItemCommit>) -> Commit {
        let id = format!("request {}", self.requests.fetch_add(1, Ordering::Relaxed));
        let present = items.iter().flat_map(|item| item.body.chunks()).map(|chunk| chunk.name).collect();
        Commit {
            workspace: self.workspace,
            user: self.user.id,
            device: self.device.id,
            id,
            items,
            present,
            place_rule: PlaceRule::Full,
        }
    }

    pub async fn commit(&self, items: Vec<ItemCommit>) -> Arc<CommitOutcome> {
        self.db.commit(self.commit_of(items)).await.unwrap()
    }

    /// Commits one item that must be saved.
    pub async fn saved(&self, item: ItemCommit) -> RemoteItem {
        match self.commit(vec![item]).await.answer.verdicts.remove_first() {
            Verdict::Accepted(item) => item,
            other => panic!("{other:?}"),
        }
    }

    /// Commits one item that must be refused.
    pub async fn refused(&self, item: ItemCommit) -> Refusal {
        match self.commit(vec![item]).await.answer.verdicts.remove_first() {
            Verdict::Refused { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    pub async fn quota_used(&self) -> u64 {
        self.db.user(UserKey::Id(self.user.id)).await.unwrap().unwrap().quota_used
    }

    /// All changes since the beginning, in one page.
    pub async fn items(&self) -> Vec<RemoteItem> {
        let page = self.db.changes(self.workspace, Revision::ZERO, u32::MAX).await.unwrap();
        page.items.into_iter().map(|changed| changed.item).collect()
    }
}

trait First<T> {
    fn remove_first(&self) -> T;
}

impl<T: Clone> First<T> for Vec<T> {
    fn remove_first(&self) -> T {
        assert_eq!(self.len(), 1);
        self[0].clone()
    }
}

pub async fn add_user(db: &Db, name: &str, quota_limit: u64) -> User {
    let email = format!("{name}@example.org");
    db.add_user(NewUser { name: name.into(), email, quota_limit, password_phc: None }).await.unwrap()
}

pub async fn add_device(db: &Db, user: &User, secret: u8) -> Device {
    db.add_join_code(user.id, [secret; 32], UnixMs(i64::MAX)).await.unwrap();
    db.redeem_join_code([secret; 32], NewDevice { name: "laptop".into(), ..NewDevice::default() }, [secret; 32]).await.unwrap().1
}

pub fn id(number: i64) -> ItemId {
    ItemId::new(number).unwrap()
}

pub fn place(parent: Option<ItemId>, name: &str) -> Place {
    Place { parent, name: Name::new(name).unwrap() }
}

/// A file of one chunk; its size and content follow from `content`.
pub fn bytes(content: &str) -> Body {
    let name = ChunkName::of(content.as_bytes());
    let len = content.len() as u32;
    let chunks: Vec<_> = (len > 0).then_some(ChunkRef { name, len }).into_iter().collect();
    Body::File(FileBody { size: u64::from(len), chunks: chunks.into(), adler32: 1, executable: false })
}

/// A file of so many bytes in one chunk.
pub fn sized(size: u32) -> Body {
    let chunk = ChunkRef { name: ChunkName::of(&size.to_be_bytes()), len: size };
    Body::File(FileBody { size: u64::from(size), chunks: [chunk].into(), adler32: 7, executable: true })
}

pub fn new_item(number: i64, parent: Option<ItemId>, name: &str, body: Body) -> ItemCommit {
    ItemCommit {
        id: id(number),
        version: Version::FIRST,
        status: Status::New,
        place: place(parent, name),
        body,
        modified: ModifiedAt(1_700_000_000_123_456_789),
    }
}

/// The next version of an item: as it was, but for the status.
pub fn next(item: &RemoteItem, status: Status) -> ItemCommit {
    ItemCommit {
        id: item.id,
        version: item.version.next(),
        status,
        place: item.place.clone(),
        body: item.body.clone(),
        modified: item.modified,
    }
}

pub fn no_chunks() -> HashSet<ChunkName> {
    HashSet::new()
}

pub fn error<T: std::fmt::Debug>(result: Result<T, DbError>) -> DbError {
    result.unwrap_err()
}
