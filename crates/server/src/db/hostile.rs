//! What must hold of stored answers whatever the database holds.

use super::answer_codec::{decode, encode};
use super::{Commit, PlaceRule};
#[cfg(test)]
use super::{CommitOutcome, Made};
use stacksync_core::commit::ItemCommit;
#[cfg(test)]
use stacksync_core::commit::{CommitAnswer, Refusal, Verdict};
use stacksync_core::values::{
    Body, ChunkName, ChunkRef, DeviceId, FileBody, ItemId, ModifiedAt, Name, Place, Status, UserId, Version, WorkspaceId,
};
#[cfg(test)]
use stacksync_core::values::{RemoteItem, Revision};
use uuid::Uuid;

/// A stored answer to a commit of so many items as the first byte says. One that is read is written and read again the same.
///
/// # Panics
/// When that does not hold.
pub fn answer(bytes: &[u8]) {
    let Some((&count, bytes)) = bytes.split_first() else { return };
    let commit = commit(usize::from(count % 8));
    let Some(outcome) = decode(bytes, &commit) else { return };
    assert_eq!(outcome.answer.verdicts.len(), commit.items.len());
    assert_eq!(outcome.made.len(), commit.items.len());
    assert_eq!(decode(&encode(&outcome, &commit), &commit), Some(outcome));
}

fn commit(count: usize) -> Commit {
    Commit {
        workspace: WorkspaceId(Uuid::from_u128(1)),
        user: UserId(Uuid::from_u128(2)),
        device: DeviceId(Uuid::from_u128(3)),
        id: "c".into(),
        items: (1..).take(count).filter_map(item).collect(),
        present: Default::default(),
        place_rule: PlaceRule::Full,
    }
}

fn item(id: i64) -> Option<ItemCommit> {
    let chunks = [ChunkRef { name: ChunkName::of(b"x"), len: 5 }];
    let body = match id % 3 {
        0 => Body::Folder,
        1 => Body::File(FileBody { size: 5, chunks: chunks.into(), adler32: 7, executable: false }),
        _ => Body::Link("a".into()),
    };
    Some(ItemCommit {
        id: ItemId::new(id)?,
        version: Version::new(2)?,
        status: Status::Changed,
        place: Place { parent: ItemId::new(9), name: Name::new("n").ok()? },
        body,
        modified: ModifiedAt(5),
    })
}

/// Answers as they are stored, in the form that [`answer`] takes.
#[cfg(test)]
pub fn some_answers() -> Vec<(&'static str, Vec<u8>)> {
    let remote = |item: &ItemCommit, revision: u64| RemoteItem {
        id: item.id,
        version: item.version,
        revision: Revision(revision),
        deleted: false,
        place: item.place.clone(),
        body: item.body.clone(),
        modified: item.modified,
    };
    let commit = commit(7);
    let made = Some(Made { status: Status::Changed, device: commit.device });
    let named = |mut item: RemoteItem| {
        item.place.name = Name::new("other").unwrap();
        item
    };
    let [a, b, c, d, ..] = commit.items.as_slice() else { panic!("too few") };
    let refused = |reason| (Verdict::Refused { reason, current: None }, None);
    let (verdicts, made) = [
        (Verdict::Accepted(remote(a, 4)), made),
        (Verdict::Accepted(named(remote(b, 5))), made),
        (Verdict::Existing(remote(c, 2)), made),
        (Verdict::Refused { reason: Refusal::NameTaken { by: d.id }, current: Some(remote(d, 3)) }, made),
        refused(Refusal::ChunksMissing(vec![ChunkName::of(b"y")])),
        refused(Refusal::QuotaExceeded { limit: 3, used: 2, needed: 9 }),
        refused(Refusal::Invalid("so".into())),
    ]
    .into_iter()
    .unzip();
    let answer = CommitAnswer { verdicts, from: Revision(3), to: Revision(5) };
    let outcome = CommitOutcome { answer, made, quota_limit: 10, quota_used: 5, replay: true };
    let bytes = encode(&outcome, &commit);
    assert_eq!(decode(&bytes, &commit), Some(outcome));
    vec![("all-verdicts", [&[7][..], &bytes].concat())]
}
