//! The border for items as they arrive: temporary ids of original clients become item ids, and what makes no sense is told apart from
//! what does, item by item.
//!
//! The item id of a temporary id is a hash of the device and the temporary id, so that a repeated commit speaks of the same item.

use crate::db::PlaceRule;
use stacksync_core::commit::{COMMIT_CHUNKS_MAX, COMMIT_ITEMS_MAX, ItemCommit};
use stacksync_core::values::{DeviceId, ItemId, Kind};
use stacksync_protocol::item::{BadItem, ItemMetadata};
use std::collections::HashMap;

/// Adler-32 of nothing.
const EMPTY_CHECKSUM: i64 = 1;

/// The items of a commit, each understood or not, in order.
pub struct Items {
    /// One per item of the request.
    pub items: Vec<Result<ItemCommit, BadItem>>,
    /// What the places mean.
    pub place_rule: PlaceRule,
}

/// Why the items cannot even be looked at one by one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// More than [`COMMIT_ITEMS_MAX`].
    #[error("A commit has at most {COMMIT_ITEMS_MAX} items, this one has {0}.")]
    Items(usize),
    /// More than [`COMMIT_CHUNKS_MAX`].
    #[error("A commit names at most {COMMIT_CHUNKS_MAX} chunks, this one names {0}.")]
    Chunks(usize),
}

/// Who sends items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Whoever has a token: one of our own clients, or one that does as the original did, which is seen by its items.
    Device,
    /// A client of the original, which came by its own door.
    Original,
}

/// Understands the items that this device sent.
///
/// # Errors
/// [`TooMuch`].
pub fn understand(device: DeviceId, sent: &[ItemMetadata], sender: Sender) -> Result<Items, TooMuch> {
    if sent.len() > COMMIT_ITEMS_MAX {
        return Err(TooMuch::Items(sent.len()));
    }
    let chunks = sent.iter().map(|item| item.chunks.len()).sum();
    if chunks > COMMIT_CHUNKS_MAX {
        return Err(TooMuch::Chunks(chunks));
    }
    if sender == Sender::Device && sent.iter().all(is_ours) {
        let items = sent.iter().map(ItemMetadata::to_commit).collect();
        return Ok(Items { items, place_rule: PlaceRule::Full });
    }
    let mut minted = HashMap::new();
    let items = sent.iter().map(|item| resolve(device, item, &mut minted).to_commit()).collect();
    Ok(Items { items, place_rule: PlaceRule::AsOriginal })
}

/// Our own clients always send real ids, and the lengths of chunks.
fn is_ours(item: &ItemMetadata) -> bool {
    item.id.is_some() && item.temp_id.is_none() && (item.kind() != Kind::File || item.chunk_sizes.is_some())
}

/// The item with real ids, as far as they are known from earlier items of the same commit.
fn resolve(device: DeviceId, sent: &ItemMetadata, minted: &mut HashMap<i64, i64>) -> ItemMetadata {
    let mut item = sent.clone();
    if let Some(real) = item.parent_id.and_then(|parent| minted.get(&parent)) {
        item.parent_id = Some(*real);
    }
    if let Some(temporary) = item.temp_id {
        let id = item.id.unwrap_or_else(|| *minted.entry(temporary).or_insert_with(|| item_id(device, temporary).get()));
        minted.insert(temporary, id);
        item.id = Some(id);
    }
    if item.checksum == -1 && item.size == 0 {
        // What the original's desktop client says of an empty file.
        item.checksum = EMPTY_CHECKSUM;
    }
    if item.status == "DELETED" && item.chunk_sizes.is_none() {
        // What a deleted item held is known here; the names alone say nothing.
        item.chunks.clear();
    }
    item
}

/// The item that this device calls by this temporary id.
fn item_id(device: DeviceId, temporary: i64) -> ItemId {
    let mut hasher = blake3::Hasher::new_derive_key("StackSync 2026 item of a temporary id");
    hasher.update(device.0.as_bytes()).update(&temporary.to_be_bytes());
    let mut bits = [0; 8];
    hasher.finalize_xof().fill(&mut bits);
    ItemId::from_random(u64::from_be_bytes(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stacksync_protocol::date::Date;
    use uuid::Uuid;

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(1));

    fn folder(name: &str) -> ItemMetadata {
        ItemMetadata {
            version: 1,
            status: "NEW".into(),
            modified_at: Some(Date::from_unix_ns(0)),
            is_folder: true,
            filename: name.into(),
            ..ItemMetadata::default()
        }
    }

    #[test]
    fn temporary_ids_become_the_same_ids_each_time() {
        let sent = [
            ItemMetadata { temp_id: Some(-5), ..folder("a") },
            ItemMetadata { temp_id: Some(7), parent_id: Some(-5), ..folder("b") },
            ItemMetadata { temp_id: Some(-5), version: 2, status: "RENAMED".into(), ..folder("c") },
        ];
        let ids = |device| {
            let understood = understand(device, &sent, Sender::Device).unwrap();
            assert_eq!(understood.place_rule, PlaceRule::AsOriginal);
            let items: Vec<_> = understood.items.into_iter().map(Result::unwrap).collect();
            assert_eq!(items[1].place.parent, Some(items[0].id));
            assert_eq!(items[2].id, items[0].id);
            items[0].id
        };
        assert_eq!(ids(DEVICE), ids(DEVICE));
        assert_ne!(ids(DEVICE), ids(DeviceId(Uuid::from_u128(2))));
    }

    #[test]
    fn a_temporary_parent_must_come_first() {
        let sent = [ItemMetadata { temp_id: Some(7), parent_id: Some(-5), ..folder("b") }];
        let understood = understand(DEVICE, &sent, Sender::Device).unwrap();
        assert_eq!(understood.items[0].as_ref().unwrap_err().field, "parentId");
    }

    #[test]
    fn our_own_items_pass_as_they_are() {
        let file = ItemMetadata { is_folder: false, chunk_sizes: Some(Vec::new()), ..folder("f") };
        let sent = [ItemMetadata { id: Some(9), ..folder("a") }, ItemMetadata { id: Some(10), parent_id: Some(9), ..file }];
        let understood = understand(DEVICE, &sent, Sender::Device).unwrap();
        assert_eq!(understood.place_rule, PlaceRule::Full);
        assert!(understood.items.iter().all(Result::is_ok));
    }

    #[test]
    fn foreign_chunks_are_refused_item_by_item() {
        let file = ItemMetadata { is_folder: false, id: Some(9), ..folder("f") };
        let sent = [
            ItemMetadata { chunks: vec!["chk-da39a3ee5e6b4b0d3255bfef95601890afd80709".into()], size: 5, ..file.clone() },
            ItemMetadata { chunks: vec!["chk-00".into()], size: 5, version: 2, status: "DELETED".into(), ..file.clone() },
            file,
        ];
        let understood = understand(DEVICE, &sent, Sender::Device).unwrap();
        assert_eq!(understood.items[0].as_ref().unwrap_err().field, "chunkSizes");
        assert!(understood.items[1].is_ok() && understood.items[2].is_ok());
    }

    #[test]
    fn a_commit_is_bounded() {
        assert_eq!(understand(DEVICE, &vec![folder("a"); 1_001], Sender::Device).err(), Some(TooMuch::Items(1_001)));
    }
}
