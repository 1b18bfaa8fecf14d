//! What must hold of commits whatever items they bring.

use super::border::{Sender, understand};
use stacksync_core::commit::{COMMIT_CHUNKS_MAX, COMMIT_ITEMS_MAX};
use stacksync_core::values::DeviceId;
use stacksync_protocol::sync_service::CommitRequest;
use uuid::Uuid;

/// A commit as JSON. Each item is understood or told apart, in order, and the same each time; what is understood is within the limits.
///
/// # Panics
/// When that does not hold.
pub fn commit(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<CommitRequest>(bytes) else { return };
    for sender in [Sender::Device, Sender::Original] {
        commit_of(&request, sender);
    }
}

fn commit_of(request: &CommitRequest, sender: Sender) {
    let device = DeviceId(Uuid::from_u128(1));
    let Ok(understood) = understand(device, &request.items, sender) else {
        let chunks: usize = request.items.iter().map(|item| item.chunks.len()).sum();
        return assert!(request.items.len() > COMMIT_ITEMS_MAX || chunks > COMMIT_CHUNKS_MAX);
    };
    assert_eq!(understood.items.len(), request.items.len());
    for (sent, item) in request.items.iter().zip(&understood.items) {
        let Ok(item) = item else { continue };
        assert_eq!(item.place.name.as_str(), sent.filename);
        assert!(sent.id.is_none_or(|id| id == item.id.get()));
    }
    assert!(understand(device, &request.items, sender).is_ok_and(|again| again.items == understood.items));
}
