//! What must hold of rows whatever the state database holds.

use super::codec::{decode, encode};
use stacksync_core::values::ItemId;
#[cfg(test)]
use stacksync_core::{
    engine::{FileId, Row, Stat, Synced},
    values::{Body, ChunkName, ChunkRef, FileBody, Kind, ModifiedAt, Name, Place, RemoteItem, Revision, Version},
};

const ITEM: ItemId = ItemId::from_random(2);

/// A row. One that is read is written and read again the same, in no more bytes than it came in, and holds no more than was there.
///
/// # Panics
/// When that does not hold.
pub fn row(bytes: &[u8]) {
    let Ok(row) = decode(ITEM, bytes) else { return };
    let written = encode(&row);
    assert!(written.len() <= bytes.len(), "{} bytes became {}", bytes.len(), written.len());
    assert_eq!(decode(ITEM, &written), Ok(row));
}

/// Rows as they are stored.
#[cfg(test)]
pub fn some_rows() -> Vec<(&'static str, Vec<u8>)> {
    let chunks = [ChunkRef { name: ChunkName::of(b"x"), len: 300 }];
    let file = Body::File(FileBody { size: 300, chunks: chunks.into(), adler32: 7, executable: true });
    let place = |name: &str| Place { parent: ItemId::new(900), name: Name::new(name).unwrap() };
    let modified = ModifiedAt(5);
    let remote = |body: &Body| RemoteItem {
        id: ITEM,
        version: Version::new(300).unwrap(),
        revision: Revision(70_000),
        deleted: false,
        place: place("remote"),
        body: body.clone(),
        modified,
    };
    let stat = Stat {
        kind: Kind::File,
        file: FileId { inode: 12, born_ns: 13 },
        size: 300,
        modified,
        changed_ns: 6,
        executable: true,
        target: None,
    };
    let synced = |body: &Body, name: &str| Synced {
        version: Version::FIRST,
        place: place(name),
        body: body.clone(),
        modified,
        stat: Some(stat.clone()),
    };
    let link = Body::Link("a/b".into());
    [
        ("shared", Row { remote: Some(remote(&file)), synced: Some(synced(&file, "remote")) }),
        ("unlike", Row { remote: Some(remote(&Body::Folder)), synced: Some(synced(&link, "synced")) }),
        ("remote-only", Row { remote: Some(remote(&link)), synced: None }),
        ("nothing", Row { remote: None, synced: None }),
    ]
    .map(|(name, row)| (name, encode(&row)))
    .into()
}
