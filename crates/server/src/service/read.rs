//! `getChanges` and `getWorkspaces`.

use super::{Answer, Authorized, Context, Fault, Principal, encoded};
use crate::db::{ChangedItem, TreeItem, WorkspaceView};
use serde::{Serialize, Serializer};
use stacksync_core::values::{Revision, WorkspaceId};
use stacksync_protocol::item::ItemMetadata;
use stacksync_protocol::sync_service::{
    CHANGES_PAGE_MAX, Changes, GetChangesRequest, GetWorkspacesRequest, Owner, ParentItem, Workspace,
};

/// Encoded length of an answer that is never exceeded by more than one item, in bytes.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// The same for a whole tree, which cannot be paged.
const TREE_BYTES_MAX: usize = 12 << 20;
/// The same through the message broker.
const BROKER_TREE_BYTES_MAX: usize = 80 << 20;
/// Encoded length of an item without its name and chunks, and of a chunk, in bytes.
const ITEM_BYTES: usize = 400;
const CHUNK_BYTES: usize = 75;

/// The changes since a revision, page by page; without a revision the whole tree, as in the original.
pub async fn get_changes(context: &Context, caller: &Principal, request: GetChangesRequest) -> Answer {
    caller.check(request.user_id, None)?;
    let place = context.gate.workspace(caller, WorkspaceId(request.workspace_id)).await?;
    match request.since {
        Some(since) => encoded(&changes_since(context, &place, since, request.limit).await?),
        None => tree(context, &place, TREE_BYTES_MAX).await,
    }
}

/// The whole tree for a client of the original, which cannot ask for pages: as long as a message through the broker may be.
pub async fn get_whole_tree(context: &Context, caller: &Principal, request: GetChangesRequest) -> Answer {
    caller.check(request.user_id, None)?;
    let place = context.gate.workspace(caller, WorkspaceId(request.workspace_id)).await?;
    tree(context, &place, BROKER_TREE_BYTES_MAX).await
}

async fn changes_since(context: &Context, place: &Authorized<'_>, since: u64, limit: Option<u32>) -> Result<Changes, Fault> {
    let limit = limit.unwrap_or(CHANGES_PAGE_MAX).clamp(1, CHANGES_PAGE_MAX);
    let changes = context.db.changes(place.workspace(), Revision(since), limit).await?;
    let (kept, to) = fitting(&changes, PAGE_BYTES_MAX);
    let items = kept.iter().map(|change| metadata(change, place.workspace())).collect();
    Ok(Changes { epoch: changes.epoch, since, to: to.0, head: changes.head.0, items })
}

/// The first changes, as many as fit in so many bytes, and the revision that they reach. The first one always fits, or nobody would
/// get past it.
fn fitting(changes: &crate::db::Changes, bytes_max: usize) -> (&[ChangedItem], Revision) {
    let mut bytes = 0;
    let too_much = changes.items.iter().position(|change| {
        let full = bytes > bytes_max;
        bytes += encoded_bytes(change);
        full
    });
    let kept = too_much.and_then(|count| changes.items.get(..count));
    match kept.and_then(|kept| Some((kept, kept.last()?.item.revision))) {
        Some(cut) => cut,
        None => (&changes.items, changes.to),
    }
}

async fn tree(context: &Context, place: &Authorized<'_>, bytes_max: usize) -> Answer {
    let items = context.db.tree(place.workspace()).await?;
    if items.iter().map(|item| encoded_bytes(&item.entry)).sum::<usize>() > bytes_max {
        return Err(Fault::Invalid(
            "The workspace has too many items for one answer; ask for its changes since revision 0.".into(),
        ));
    }
    encoded(&Listed { items, workspace: place.workspace() })
}

/// A tree as a list on the wire; each item becomes what it is there only when it is written.
struct Listed {
    items: Vec<TreeItem>,
    workspace: WorkspaceId,
}

impl Serialize for Listed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let on_wire =
            |item: &TreeItem| ItemMetadata { level: i32::try_from(item.level).ok(), ..metadata(&item.entry, self.workspace) };
        serializer.collect_seq(self.items.iter().map(on_wire))
    }
}

fn metadata(change: &ChangedItem, workspace: WorkspaceId) -> ItemMetadata {
    ItemMetadata {
        device_id: Some(change.device.0),
        workspace_id: Some(workspace.0),
        ..ItemMetadata::from_remote(&change.item, change.status)
    }
}

/// About how long this item is on the wire: an upper bound but for names full of characters that JSON escapes.
fn encoded_bytes(change: &ChangedItem) -> usize {
    ITEM_BYTES + change.item.place.name.as_str().len() + CHUNK_BYTES * change.item.body.chunks().len()
}

/// The workspaces of the caller.
pub async fn get_workspaces(context: &Context, caller: &Principal, request: GetWorkspacesRequest) -> Result<Vec<Workspace>, Fault> {
    caller.check(request.user_id, None)?;
    let views = context.db.workspaces_of(caller.user).await?;
    if views.is_empty() {
        return Err(Fault::NoWorkspaces);
    }
    Ok(views.iter().map(|view| workspace(context, view)).collect())
}

fn workspace(context: &Context, view: &WorkspaceView) -> Workspace {
    Workspace {
        id: view.id.0,
        name: view.name.as_str().to_owned(),
        parent_item: ParentItem { id: view.parent.map(|parent| parent.get()) },
        latest_revision: view.revision.0,
        owner: Owner { id: view.owner.0 },
        swift_container: view.id.to_string(),
        // Bytes travel by ticket.
        swift_url: String::new(),
        is_shared: view.is_shared,
        is_encrypted: view.is_encrypted,
        is_default: view.is_default,
        epoch: Some(context.db.epoch()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stacksync_core::values::{Body, DeviceId, ItemId, ModifiedAt, Name, Place, RemoteItem, Status, Version};
    use uuid::Uuid;

    fn change(revision: u64) -> ChangedItem {
        let item = RemoteItem {
            id: ItemId::new(revision as i64).unwrap(),
            version: Version::FIRST,
            revision: Revision(revision),
            deleted: false,
            place: Place { parent: None, name: Name::new("a").unwrap() },
            body: Body::Folder,
            modified: ModifiedAt(0),
        };
        ChangedItem { item, status: Status::New, device: DeviceId(Uuid::nil()) }
    }

    #[test]
    fn a_page_that_is_too_long_reaches_as_far_as_its_last_item() {
        let items: Vec<_> = [3, 5, 6].into_iter().map(change).collect();
        let changes = crate::db::Changes { epoch: Uuid::nil(), to: Revision(9), head: Revision(9), items };
        for (bytes_max, count, to) in [(0, 1, 3), (ITEM_BYTES + 1, 2, 5), (10_000, 3, 9)] {
            let (kept, reached) = fitting(&changes, bytes_max);
            assert_eq!((kept.len(), reached), (count, Revision(to)), "{bytes_max}");
        }
        let nothing = crate::db::Changes { items: Vec::new(), ..changes };
        assert_eq!(fitting(&nothing, 0).1, Revision(9));
    }
}
