//! Many small packed chunks in one object.
//!
//! ```text
//! "SSBN" | format u8 = 1 | reserved 3 bytes = 0 | count u32 BE | count times: name (32 bytes), length u32 BE | packed chunks
//! ```
//!
//! The chunks lie one after the other in the order of the table, so that no table can claim overlapping places. A bundle is named by
//! the BLAKE3 hash of all that stands before its chunks: whoever reads the table knows that it is the one that the name promises, and
//! each chunk is checked against its own name as ever. An index of bundles can be made of nothing but the bundles.

use crate::batch::RECORD_HEADER_BYTES;
use crate::pack::PACKED_BYTES_MAX;
use bytes::Bytes;
use stacksync_core::values::ChunkName;
use std::collections::HashSet;

/// Longest bundle.
pub const BUNDLE_BYTES_MAX: usize = 8 << 20;
/// Chunks of a bundle.
pub const BUNDLE_CHUNKS_MAX: usize = 4_096;
/// Whoever makes bundles begins another one beyond so many bytes.
pub const BUNDLE_BYTES_FULL: usize = 4 << 20;
/// Two wanted parts of a bundle are read together with what lies between them, if that is no more than this: about what a storage
/// sends in the time that one more request takes.
pub const GAP_BYTES_MAX: u64 = 32 << 10;
/// Where the table begins.
pub const HEAD_BYTES: usize = 12;

const MAGIC: &[u8; 4] = b"SSBN";
const FORMAT: u8 = 1;
const ENTRY_BYTES: usize = RECORD_HEADER_BYTES;

/// A chunk in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// Which.
    pub name: ChunkName,
    /// Where it begins, from the beginning of the bundle.
    pub start: u32,
    /// Its packed length.
    pub length: u32,
}

/// What is in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The bundle's name.
    pub name: ChunkName,
    /// Its length.
    pub bytes: u64,
    /// Its chunks, in their order.
    pub parts: Vec<Part>,
}

/// These bytes are no table of a bundle of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It does not begin like one, or in a later format.
    #[error("not a bundle, or one of a later format")]
    NoHead,
    /// The table ends too early.
    #[error("the table is cut off")]
    CutOff,
    /// The limits are exceeded, or there is nothing in it.
    #[error("a bundle has 1 to {BUNDLE_CHUNKS_MAX} chunks of 1 to {PACKED_BYTES_MAX} bytes, and {BUNDLE_BYTES_MAX} bytes at most")]
    Limits,
    /// A chunk is in it twice.
    #[error("a chunk is in the bundle twice")]
    Twice,
    /// The table is that of another bundle.
    #[error("the table does not have this name")]
    WrongName,
}

/// Puts packed chunks into one bundle. The caller keeps to the limits, and names each chunk once.
pub fn encode(chunks: &[(ChunkName, Bytes)]) -> (Table, Bytes) {
    let head_bytes = HEAD_BYTES + chunks.len() * ENTRY_BYTES;
    let bytes = head_bytes + chunks.iter().map(|(_, packed)| packed.len()).sum::<usize>();
    let mut bundle = Vec::with_capacity(bytes);
    bundle.extend_from_slice(MAGIC);
    bundle.extend_from_slice(&[FORMAT, 0, 0, 0]);
    bundle.extend_from_slice(&(chunks.len() as u32).to_be_bytes());
    let mut parts = Vec::with_capacity(chunks.len());
    let mut start = head_bytes;
    for (name, packed) in chunks {
        bundle.extend_from_slice(name.as_bytes());
        bundle.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        parts.push(Part { name: *name, start: start as u32, length: packed.len() as u32 });
        start += packed.len();
    }
    let name = ChunkName::of(&bundle);
    chunks.iter().for_each(|(_, packed)| bundle.extend_from_slice(packed));
    (Table { name, bytes: bytes as u64, parts }, bundle.into())
}

/// The length of head and table together, by the first [`HEAD_BYTES`] of a bundle.
///
/// # Errors
/// See [`BundleError`].
pub fn table_end(head: &[u8]) -> Result<usize, BundleError> {
    let (head, _) = head.split_first_chunk::<HEAD_BYTES>().ok_or(BundleError::CutOff)?;
    if head[..4] != *MAGIC || head[4] != FORMAT {
        return Err(BundleError::NoHead);
    }
    let count = u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
    if count == 0 || count > BUNDLE_CHUNKS_MAX {
        return Err(BundleError::Limits);
    }
    Ok(HEAD_BYTES + count * ENTRY_BYTES)
}

/// Reads the table of the bundle of this name; `begin` has at least as many of its first bytes as [`table_end`] says.
///
/// # Errors
/// See [`BundleError`].
pub fn read_table(name: ChunkName, begin: &[u8]) -> Result<Table, BundleError> {
    let end = table_end(begin)?;
    let head = begin.get(..end).ok_or(BundleError::CutOff)?;
    if ChunkName::of(head) != name {
        return Err(BundleError::WrongName);
    }
    let (entries, _) = head[HEAD_BYTES..].as_chunks::<ENTRY_BYTES>();
    let mut parts = Vec::with_capacity(entries.len());
    let mut seen = HashSet::with_capacity(entries.len());
    let mut start = end;
    for entry in entries {
        let (mut name, mut length) = ([0; 32], [0; 4]);
        name.copy_from_slice(&entry[..32]);
        length.copy_from_slice(&entry[32..]);
        let (name, length) = (ChunkName::from_bytes(name), u32::from_be_bytes(length));
        let long = length as usize;
        if long == 0 || long > PACKED_BYTES_MAX || start + long > BUNDLE_BYTES_MAX {
            return Err(BundleError::Limits);
        }
        if !seen.insert(name) {
            return Err(BundleError::Twice);
        }
        parts.push(Part { name, start: start as u32, length });
        start += long;
    }
    Ok(Table { name, bytes: start as u64, parts })
}

/// Bytes of a bundle that are read in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub start: u64,
    /// How long it is; at least 1.
    pub length: u64,
    /// The wanted parts in it.
    pub parts: Vec<Part>,
}

impl Span {
    /// A part out of what was read: `None` if it is not whole in there.
    pub fn part(&self, part: &Part, read: &Bytes) -> Option<Bytes> {
        let start = usize::try_from(u64::from(part.start).checked_sub(self.start)?).ok()?;
        let end = start.checked_add(part.length as usize)?;
        (end <= read.len()).then(|| read.slice(start..end))
    }
}

/// How to read these parts of one bundle with few requests: neighbours together, and so all of it if most of it is wanted.
pub fn spans(mut parts: Vec<Part>) -> Vec<Span> {
    parts.sort_by_key(|part| (part.start, part.length));
    let mut spans: Vec<Span> = Vec::new();
    for part in parts {
        let (start, end) = (u64::from(part.start), u64::from(part.start) + u64::from(part.length));
        match spans.last_mut() {
            Some(span) if start <= span.start + span.length + GAP_BYTES_MAX => {
                span.length = span.length.max(end - span.start);
                span.parts.push(part);
            }
            _ => spans.push(Span { start, length: end - start, parts: vec![part] }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bundle(texts: &[&[u8]]) -> (Table, Bytes) {
        let chunks: Vec<_> = texts.iter().map(|text| (ChunkName::of(text), Bytes::copy_from_slice(text))).collect();
        encode(&chunks)
    }

    #[test]
    fn what_was_put_in_is_found_by_the_table_alone() {
        let texts: [&[u8]; 3] = [b"one", b"two!", b"3"];
        let (table, bytes) = bundle(&texts);
        assert_eq!(read_table(table.name, &bytes), Ok(table.clone()));
        assert_eq!(table.bytes, bytes.len() as u64);
        assert_eq!(table_end(&bytes), Ok(table.parts[0].start as usize));
        for (part, text) in table.parts.iter().zip(texts) {
            assert_eq!(&bytes[part.start as usize..][..part.length as usize], text);
        }
        // The chunks themselves are not needed for it.
        assert_eq!(read_table(table.name, &bytes[..table.parts[0].start as usize]), Ok(table));
    }

    #[test]
    fn another_table_is_refused() {
        let (table, bytes) = bundle(&[b"one", b"two"]);
        let changed = |at: usize, byte: u8| {
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            let end = table_end(&changed).unwrap_or(0).min(changed.len());
            let name = ChunkName::of(&changed[..end]);
            (read_table(table.name, &changed), read_table(name, &changed))
        };
        assert_eq!(changed(0, b'X').0, Err(BundleError::NoHead));
        assert_eq!(changed(4, 2).0, Err(BundleError::NoHead));
        assert_eq!(changed(11, 0).0, Err(BundleError::Limits));
        assert_eq!(changed(10, 255).0, Err(BundleError::Limits));
        assert_eq!(changed(11, 9).0, Err(BundleError::CutOff));
        assert_eq!(changed(HEAD_BYTES, 1).0, Err(BundleError::WrongName));
        assert_eq!(changed(HEAD_BYTES + 32, 255).1, Err(BundleError::Limits));
        assert_eq!(read_table(table.name, &bytes[..40]), Err(BundleError::CutOff));
        assert_eq!(read_table(table.name, b""), Err(BundleError::CutOff));
        let (twice, bytes) = bundle(&[b"one", b"one"]);
        assert_eq!(read_table(twice.name, &bytes), Err(BundleError::Twice));
    }

    #[test]
    fn neighbours_are_read_together_and_what_is_far_apart_is_not() {
        let part = |start: u32, length: u32| Part { name: ChunkName::of(b"x"), start, length };
        let gap = GAP_BYTES_MAX as u32;
        let found = spans(vec![part(200 + 2 * gap, 7), part(10, 5), part(15, 5), part(20 + gap, 1)]);
        let seen: Vec<_> = found.iter().map(|span| (span.start, span.length, span.parts.len())).collect();
        assert_eq!(seen, [(10, u64::from(gap) + 11, 3), (u64::from(200 + 2 * gap), 7, 1)]);
        let read = Bytes::from(vec![1; 7]);
        assert_eq!(found[1].part(&part(200 + 2 * gap, 7), &read), Some(read.clone()));
        assert_eq!(found[1].part(&part(200 + 2 * gap, 8), &read), None);
        assert_eq!(found[1].part(&part(10, 1), &read), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0_u32..6) {
            let _ = read_table(ChunkName::of(b""), &bytes);
            let mut framed = [MAGIC.as_slice(), &[FORMAT, 0, 0, 0], &count.to_be_bytes()].concat();
            framed.extend(bytes);
            let end = table_end(&framed).unwrap_or(0).min(framed.len());
            let _ = read_table(ChunkName::of(&framed[..end]), &framed);
        }

        #[test]
        fn every_wanted_part_is_in_one_span(wanted in proptest::collection::vec((0_u32..400_000, 1_u32..9_000), 0..40)) {
            let parts: Vec<Part> =
                wanted.iter().map(|(start, length)| Part { name: ChunkName::of(b"x"), start: *start, length: *length }).collect();
            let found = spans(parts.clone());
            prop_assert_eq!(found.iter().map(|span| span.parts.len()).sum::<usize>(), parts.len());
            for span in &found {
                let read = Bytes::from(vec![0; span.length as usize]);
                prop_assert!(span.parts.iter().all(|part| span.part(part, &read).is_some()));
            }
        }
    }
}
