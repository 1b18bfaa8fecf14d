//! The order in which the original lists a workspace.

use super::{ChangedItem, TreeItem};
use stacksync_core::values::ItemId;
use std::collections::HashMap;

/// The items of a workspace, given by descending id: each folder before what is in it, siblings by id.
pub(super) fn depth_first(items: impl IntoIterator<Item = ChangedItem>) -> Vec<TreeItem> {
    let mut children: HashMap<Option<ItemId>, Vec<ChangedItem>> = HashMap::new();
    for entry in items {
        children.entry(entry.item.place.parent).or_default().push(entry);
    }
    // Siblings come by descending id, so that the stack gives them back by ascending id.
    let mut ordered = Vec::new();
    let mut stack: Vec<_> = children.remove(&None).into_iter().flatten().map(|entry| (1, entry)).collect();
    while let Some((level, entry)) = stack.pop() {
        let below = children.remove(&Some(entry.item.id)).into_iter().flatten();
        stack.extend(below.map(|child| (level + 1, child)));
        ordered.push(TreeItem { entry, level });
    }
    ordered
}
