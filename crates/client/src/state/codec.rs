//! A row as bytes: what the service has of an item and what both sides agreed on, compact, with the chunk lists packed.
//!
//! Format 1: the byte 1, a byte of flags, then the parts that the flags name. Numbers are LEB128 where they are small and
//! little-endian where they are not. What *synced* shares with *remote* (nearly always all of it) is written once.

use stacksync_core::engine::{FileId, Row, Stat, Synced};
use stacksync_core::values::{
    Body, ChunkName, ChunkRef, FileBody, ItemId, Kind, ModifiedAt, Name, Place, RemoteItem, Revision, Version,
};
use std::sync::Arc;

const FORMAT: u8 = 1;

const REMOTE: u8 = 1;
const SYNCED: u8 = 2;
const SAME_PLACE: u8 = 4;
const SAME_BODY: u8 = 8;
const STAT: u8 = 16;

/// The bytes are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of the state database is damaged")]
pub struct BadRow;

/// The row as bytes.
pub fn encode(row: &Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut flags = 0;
    if row.remote.is_some() {
        flags |= REMOTE;
    }
    if let Some(synced) = &row.synced {
        flags |= SYNCED;
        if let Some(remote) = &row.remote {
            flags |= if remote.place == synced.place { SAME_PLACE } else { 0 };
            flags |= if remote.body == synced.body { SAME_BODY } else { 0 };
        }
        flags |= if synced.stat.is_some() { STAT } else { 0 };
    }
    out.push(FORMAT);
    out.push(flags);
    if let Some(remote) = &row.remote {
        put_remote(&mut out, remote);
    }
    if let Some(synced) = &row.synced {
        put_synced(&mut out, synced, flags);
    }
    out
}

/// The row that these bytes are, for the item that they are kept under.
///
/// # Errors
/// When the bytes are anything but what [`encode`] wrote.
pub fn decode(id: ItemId, bytes: &[u8]) -> Result<Row, BadRow> {
    let mut input = Reader(bytes);
    if input.u8()? != FORMAT {
        return Err(BadRow);
    }
    let flags = input.u8()?;
    let remote = if flags & REMOTE != 0 { Some(input.remote(id)?) } else { None };
    let synced = if flags & SYNCED != 0 { Some(input.synced(remote.as_ref(), flags)?) } else { None };
    if input.0.is_empty() { Ok(Row { remote, synced }) } else { Err(BadRow) }
}

fn put_remote(out: &mut Vec<u8>, remote: &RemoteItem) {
    put_number(out, remote.version.get());
    put_number(out, remote.revision.0);
    out.push(u8::from(remote.deleted));
    put_fixed(out, remote.modified.0);
    put_place(out, &remote.place);
    put_body(out, &remote.body);
}

fn put_synced(out: &mut Vec<u8>, synced: &Synced, flags: u8) {
    put_number(out, synced.version.get());
    put_fixed(out, synced.modified.0);
    if flags & SAME_PLACE == 0 {
        put_place(out, &synced.place);
    }
    if flags & SAME_BODY == 0 {
        put_body(out, &synced.body);
    }
    if let Some(stat) = &synced.stat {
        put_stat(out, stat);
    }
}

fn put_place(out: &mut Vec<u8>, place: &Place) {
    put_number(out, place.parent.map_or(0, |parent| parent.get() as u64));
    put_text(out, place.name.as_str());
}

fn put_body(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::Folder => out.push(0),
        Body::File(file) => {
            out.push(if file.executable { 2 } else { 1 });
            out.extend_from_slice(&file.adler32.to_le_bytes());
            put_number(out, file.chunks.len() as u64);
            for chunk in file.chunks.iter() {
                out.extend_from_slice(chunk.name.as_bytes());
                out.extend_from_slice(&chunk.len.to_le_bytes());
            }
        }
        Body::Link(target) => {
            out.push(3);
            put_text(out, target);
        }
    }
}

fn put_stat(out: &mut Vec<u8>, stat: &Stat) {
    out.push(match stat.kind {
        Kind::File if stat.executable => 2,
        Kind::File => 1,
        Kind::Folder => 0,
        Kind::Link => 3,
    });
    put_number(out, stat.file.inode);
    put_fixed(out, stat.file.born_ns);
    put_number(out, stat.size);
    put_fixed(out, stat.modified.0);
    put_fixed(out, stat.changed_ns);
    match &stat.target {
        None => out.push(0),
        Some(target) => {
            out.push(1);
            put_text(out, target);
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_fixed(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], BadRow> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(BadRow)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRow> {
        self.bytes(N)?.try_into().map_err(|_| BadRow)
    }

    fn u8(&mut self) -> Result<u8, BadRow> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, BadRow> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadRow)
    }

    fn fixed(&mut self) -> Result<i64, BadRow> {
        self.array().map(i64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, BadRow> {
        let count = usize::try_from(self.number()?).map_err(|_| BadRow)?;
        std::str::from_utf8(self.bytes(count)?).map_err(|_| BadRow)
    }

    fn version(&mut self) -> Result<Version, BadRow> {
        Version::new(self.number()?).ok_or(BadRow)
    }

    fn remote(&mut self, id: ItemId) -> Result<RemoteItem, BadRow> {
        Ok(RemoteItem {
            id,
            version: self.version()?,
            revision: Revision(self.number()?),
            deleted: self.u8()? != 0,
            modified: ModifiedAt(self.fixed()?),
            place: self.place()?,
            body: self.body()?,
        })
    }

    fn synced(&mut self, remote: Option<&RemoteItem>, flags: u8) -> Result<Synced, BadRow> {
        let version = self.version()?;
        let modified = ModifiedAt(self.fixed()?);
        let place = if flags & SAME_PLACE != 0 { remote.ok_or(BadRow)?.place.clone() } else { self.place()? };
        let body = if flags & SAME_BODY != 0 { remote.ok_or(BadRow)?.body.clone() } else { self.body()? };
        let stat = if flags & STAT != 0 { Some(self.stat()?) } else { None };
        Ok(Synced { version, place, body, modified, stat })
    }

    fn place(&mut self) -> Result<Place, BadRow> {
        let parent = match self.number()? {
            0 => None,
            id => Some(i64::try_from(id).ok().and_then(ItemId::new).ok_or(BadRow)?),
        };
        Ok(Place { parent, name: Name::new(self.text()?).map_err(|_| BadRow)? })
    }

    fn body(&mut self) -> Result<Body, BadRow> {
        match self.u8()? {
            0 => Ok(Body::Folder),
            1 => self.file(false),
            2 => self.file(true),
            3 => Ok(Body::Link(self.text()?.into())),
            _ => Err(BadRow),
        }
    }

    fn file(&mut self, executable: bool) -> Result<Body, BadRow> {
        let adler32 = u32::from_le_bytes(self.array()?);
        let count = usize::try_from(self.number()?).map_err(|_| BadRow)?;
        let packed = self.bytes(count.checked_mul(36).ok_or(BadRow)?)?;
        let (records, _) = packed.as_chunks::<36>();
        let chunks: Arc<[ChunkRef]> = records.iter().map(chunk).collect();
        let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        Ok(Body::File(FileBody { size, chunks, adler32, executable }))
    }

    fn stat(&mut self) -> Result<Stat, BadRow> {
        let (kind, executable) = match self.u8()? {
            0 => (Kind::Folder, false),
            1 => (Kind::File, false),
            2 => (Kind::File, true),
            3 => (Kind::Link, false),
            _ => return Err(BadRow),
        };
        Ok(Stat {
            kind,
            executable,
            file: FileId { inode: self.number()?, born_ns: self.fixed()? },
            size: self.number()?,
            modified: ModifiedAt(self.fixed()?),
            changed_ns: self.fixed()?,
            target: match self.u8()? {
                0 => None,
                _ => Some(self.text()?.into()),
            },
        })
    }
}

fn chunk(record: &[u8; 36]) -> ChunkRef {
    let mut name = [0; 32];
    name.copy_from_slice(&record[..32]);
    let mut len = [0; 4];
    len.copy_from_slice(&record[32..]);
    ChunkRef { name: ChunkName::from_bytes(name), len: u32::from_le_bytes(len) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    fn body() -> impl Strategy<Value = Body> {
        let chunk =
            (any::<[u8; 32]>(), 1..2_000_000u32).prop_map(|(name, len)| ChunkRef { name: ChunkName::from_bytes(name), len });
        let file = (vec(chunk, 0..4), any::<u32>(), any::<bool>()).prop_map(|(chunks, adler32, executable)| {
            let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
            Body::File(FileBody { size, chunks: chunks.into(), adler32, executable })
        });
        prop_oneof![Just(Body::Folder), file, "[^\0]{1,20}".prop_map(|target| Body::Link(target.as_str().into()))]
    }

    fn place() -> impl Strategy<Value = Place> {
        (of(1..=i64::MAX), "[^/\0]{3,30}")
            .prop_map(|(parent, name)| Place { parent: parent.and_then(ItemId::new), name: Name::new(&name).unwrap() })
    }

    fn stat() -> impl Strategy<Value = Stat> {
        let kind = prop_oneof![
            Just((Kind::File, true)),
            Just((Kind::File, false)),
            Just((Kind::Folder, false)),
            Just((Kind::Link, false))
        ];
        (kind, any::<(u64, i64, u64, i64, i64)>(), of("[a-z/]{1,9}")).prop_map(
            |((kind, executable), (inode, born_ns, size, modified, changed_ns), target)| Stat {
                kind,
                executable,
                file: FileId { inode, born_ns },
                size,
                modified: ModifiedAt(modified),
                changed_ns,
                target: target.map(|target| target.as_str().into()),
            },
        )
    }

    fn version() -> impl Strategy<Value = Version> {
        (1..=i64::MAX as u64).prop_map(|version| Version::new(version).unwrap())
    }

    fn remote() -> impl Strategy<Value = RemoteItem> {
        (version(), any::<(u64, bool, i64)>(), place(), body()).prop_map(|(version, (revision, deleted, modified), place, body)| {
            RemoteItem { id: ITEM, version, revision: Revision(revision), deleted, place, body, modified: ModifiedAt(modified) }
        })
    }

    fn synced() -> impl Strategy<Value = Synced> {
        (version(), place(), body(), any::<i64>(), of(stat())).prop_map(|(version, place, body, modified, stat)| Synced {
            version,
            place,
            body,
            modified: ModifiedAt(modified),
            stat,
        })
    }

    pub const ITEM: ItemId = ItemId::from_random(0x1234_5678_9abc_def0);

    /// Rows in which both halves are unlike, and rows in which they share place and body, as they nearly always do.
    pub fn row() -> impl Strategy<Value = Row> {
        (of(remote()), of(synced()), any::<bool>()).prop_map(|(remote, mut synced, shared)| {
            if let (Some(remote), Some(synced), true) = (&remote, &mut synced, shared) {
                synced.place = remote.place.clone();
                synced.body = remote.body.clone();
            }
            Row { remote, synced }
        })
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(row in row()) {
            prop_assert_eq!(decode(ITEM, &encode(&row)), Ok(row));
        }

        #[test]
        fn damage_is_an_error_or_another_row_but_never_a_panic(row in row(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = encode(&row);
            let _ = decode(ITEM, &bytes[..at.index(bytes.len())]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(ITEM, &bytes);
        }
    }

    #[test]
    fn what_both_trees_share_is_kept_once() {
        let chunk = ChunkRef { name: ChunkName::of(b"x"), len: 1 };
        let body = Body::File(FileBody { size: 1, chunks: [chunk].into(), adler32: 1, executable: false });
        let place = Place { parent: None, name: Name::new("a").unwrap() };
        let synced =
            Synced { version: Version::FIRST, place: place.clone(), body: body.clone(), modified: ModifiedAt(0), stat: None };
        let remote = RemoteItem {
            id: ITEM,
            version: Version::FIRST,
            revision: Revision(1),
            deleted: false,
            place,
            body,
            modified: ModifiedAt(0),
        };
        let row = Row { remote: Some(remote), synced: Some(synced) };
        let bytes = encode(&row);
        assert!(bytes.len() < 80, "{}", bytes.len());
        let back = decode(ITEM, &bytes).unwrap();
        let (Some(Body::File(remote)), Some(Body::File(synced))) = (back.remote.map(|it| it.body), back.synced.map(|it| it.body))
        else {
            panic!("not files");
        };
        assert!(Arc::ptr_eq(&remote.chunks, &synced.chunks));
    }
}
