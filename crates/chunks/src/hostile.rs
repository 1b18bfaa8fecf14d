//! What must hold of packed chunks, batches and tickets whatever bytes come. The tests below check it with kept inputs, `fuzz/` with
//! inputs that it searches for. Not part of what others use: only tests and the feature `hostile` compile it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a check fails by panicking")]

use crate::batch::{self, BatchError, Decoder, RECORD_HEADER_BYTES};
use crate::bundle::{self, BundleError};
use crate::pack::{self, HEADER_BYTES, PACKED_BYTES_MAX};
use crate::ticket::{Grant, Op, Subject, TicketError, TicketKey};
use bytes::Bytes;
use stacksync_core::cut::CHUNK_BYTES_MAX;
use stacksync_core::values::{ChunkName, DeviceId, WorkspaceId};
use uuid::Uuid;

#[cfg(test)]
#[path = "../../../fuzz/kept.rs"]
mod kept;

/// A packed chunk. It gives bytes only under their own name, and exactly as many as it claims; and these bytes, packed by us, come back.
pub fn chunk(bytes: &[u8]) {
    let packed = Bytes::copy_from_slice(bytes);
    assert!(pack::unpack(&ChunkName::of(b"another chunk"), &packed).is_err());
    if let Ok(claimed) = pack::claimed_len(&packed) {
        let claimed = claimed as usize;
        assert!((1..=CHUNK_BYTES_MAX).contains(&claimed));
        // The bytes that the chunk would give, by the library alone.
        let payload = &packed[HEADER_BYTES..];
        let plain = if packed[5] == 0 { Some(payload.to_vec()) } else { zstd::bulk::decompress(payload, claimed).ok() };
        if let Some(plain) = plain {
            let unpacked = pack::unpack(&ChunkName::of(&plain), &packed);
            assert_eq!(unpacked.is_ok(), plain.len() == claimed, "{unpacked:?}");
            assert!(unpacked.is_err() || unpacked == Ok(plain.into()));
        }
    }
    if let Ok(packed) = pack::pack(bytes) {
        assert!(packed.len() <= bytes.len() + HEADER_BYTES);
        assert!(pack::unpack(&ChunkName::of(bytes), &packed).is_ok_and(|plain| plain == bytes));
    }
}

/// A body of many chunks, whose first byte says in what pieces it arrives. What is read does not depend on the pieces, holds no more
/// than what came, and, written again, is what came.
pub fn batch(bytes: &[u8]) {
    let Some((&piece, body)) = bytes.split_first() else { return };
    let (whole, whole_end) = records(body, body.len().max(1));
    let (parts, parts_end) = records(body, usize::from(piece) + 1);
    assert_eq!((&whole, whole_end), (&parts, parts_end));
    let mut written = Vec::new();
    for (name, packed) in &whole {
        assert!(packed.len() <= PACKED_BYTES_MAX);
        batch::append(&mut written, name, packed);
    }
    assert!(body.starts_with(&written));
    match whole_end {
        Ok(()) => assert_eq!(written, body),
        Err(BatchError::CutOff) => assert!(body.len() - written.len() < RECORD_HEADER_BYTES + PACKED_BYTES_MAX),
        Err(BatchError::TooLong { claimed }) => assert!(claimed as usize > PACKED_BYTES_MAX),
    }
}

fn records(body: &[u8], piece: usize) -> (Vec<(ChunkName, Bytes)>, Result<(), BatchError>) {
    let mut decoder = Decoder::new();
    let mut records = Vec::new();
    for piece in body.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(error) => return (records, Err(error)),
            }
        }
    }
    (records, decoder.finish())
}

/// The beginning of a bundle, by itself and behind a head that says how many chunks there are. What is read lies within the limits, one
/// after the other without a gap, each name once; and only under the name that the table has.
pub fn bundle(bytes: &[u8]) {
    let framed = [b"SSBN\x01\0\0\0", &(bytes.len() as u32 / 36).to_be_bytes()[..], bytes].concat();
    for begin in [bytes, &framed] {
        let Ok(end) = bundle::table_end(begin) else { continue };
        assert!(end <= bundle::HEAD_BYTES + bundle::BUNDLE_CHUNKS_MAX * RECORD_HEADER_BYTES);
        let Some(head) = begin.get(..end) else {
            assert_eq!(bundle::read_table(ChunkName::of(begin), begin), Err(BundleError::CutOff));
            continue;
        };
        assert_eq!(bundle::read_table(ChunkName::of(b"another"), begin), Err(BundleError::WrongName));
        let Ok(table) = bundle::read_table(ChunkName::of(head), begin) else { continue };
        let mut next = end as u64;
        for part in &table.parts {
            assert_eq!(u64::from(part.start), next);
            next += u64::from(part.length);
        }
        assert!(next == table.bytes && next <= bundle::BUNDLE_BYTES_MAX as u64);
        let spans = bundle::spans(table.parts.clone());
        assert_eq!(spans.iter().map(|span| span.parts.len()).sum::<usize>(), table.parts.len());
    }
}

/// The text of a ticket. The bytes are also taken for who signs what, followed by a change to the signed text: a ticket is valid as it was
/// made, and for that only.
pub fn ticket(bytes: &[u8]) {
    let key = TicketKey::from_bytes([7; 32]);
    let subject = Subject { op: Op::Get, container: WorkspaceId(Uuid::nil()), chunk: None };
    let text = String::from_utf8_lossy(bytes);
    assert!(matches!(key.verify(&text, &subject, 0), Err(TicketError::Malformed | TicketError::Invalid)));
    let Some((head, change)) = bytes.split_first_chunk::<26>() else { return };
    let subject = Subject {
        op: [Op::Get, Op::Put, Op::GetBatch, Op::PutBatch][usize::from(head[0] % 4)],
        container: WorkspaceId(Uuid::from_u128(u128::from(head[1]))),
        chunk: (head[0] >= 128).then(|| ChunkName::of(&head[1..9])),
    };
    let [expires, device] = [9, 18].map(|at| u64::from_be_bytes(head[at..at + 8].try_into().unwrap()));
    let grant = Grant { device: DeviceId(Uuid::from_u64_pair(device, expires)), expires };
    let signed = key.sign(&subject, &grant);
    assert_eq!(key.verify(&signed, &subject, expires), Ok(grant));
    if expires < u64::MAX {
        assert_eq!(key.verify(&signed, &subject, expires + 1), Err(TicketError::Expired));
    }
    let elsewhere = Subject { container: WorkspaceId(Uuid::from_u128(1 << 64)), ..subject };
    assert_eq!(key.verify(&signed, &elsewhere, 0), Err(TicketError::Invalid));
    let mut changed = signed.clone().into_bytes();
    for pair in change.chunks_exact(2) {
        let at = usize::from(pair[0]) % changed.len();
        changed[at] = pair[1];
    }
    let changed = String::from_utf8_lossy(&changed);
    // Another spelling of the same ticket is the same ticket.
    if let Ok(read) = key.verify(&changed, &subject, 0) {
        assert_eq!((read, key.sign(&subject, &read)), (grant, signed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(compression: u8, len: u32) -> Vec<u8> {
        [&b"SSCK\x01"[..], &[compression, 0, 0], &len.to_be_bytes()].concat()
    }

    #[test]
    fn kept_chunks_are_harmless() {
        let text = b"StackSync ".repeat(30);
        let bomb = zstd::bulk::compress(&vec![0; CHUNK_BYTES_MAX], 19).unwrap();
        kept::seeds(
            "chunk",
            &[
                ("compressed", pack::pack(&text).unwrap().to_vec()),
                ("plain", pack::pack(b"x").unwrap().to_vec()),
                ("longest", [header(1, CHUNK_BYTES_MAX as u32), bomb.clone()].concat()),
                ("bomb", [header(1, 1), bomb].concat()),
                ("claims-more", [header(0, 9), b"x".to_vec()].concat()),
            ],
        );
        kept::replay(&["hostile/chunk"], chunk);
    }

    #[test]
    fn kept_batches_are_harmless() {
        let mut body = vec![3];
        for plain in [&b"one"[..], b"two"] {
            batch::append(&mut body, &ChunkName::of(plain), &pack::pack(plain).unwrap());
        }
        batch::append_missing(&mut body, &ChunkName::of(b"three"));
        let mut long = vec![0; 33];
        long.extend_from_slice(&(PACKED_BYTES_MAX as u32 + 1).to_be_bytes());
        kept::seeds("batch", &[("three", body), ("too-long", long)]);
        kept::replay(&["hostile/batch"], batch);
    }

    #[test]
    fn kept_bundles_are_harmless() {
        let chunk = |text: &'static [u8]| (ChunkName::of(text), Bytes::from_static(text));
        let (_, two) = bundle::encode(&[chunk(b"one"), chunk(b"two")]);
        let (_, twice) = bundle::encode(&[chunk(b"one"), chunk(b"one")]);
        let mut many = two.to_vec();
        many[8..12].fill(255);
        kept::seeds("bundle", &[("two", two.to_vec()), ("twice", twice.to_vec()), ("too-many", many)]);
        kept::replay(&["hostile/bundle"], super::bundle);
    }

    #[test]
    fn kept_tickets_are_harmless() {
        let key = TicketKey::from_bytes([7; 32]);
        let subject = Subject { op: Op::PutBatch, container: WorkspaceId(Uuid::from_u128(9)), chunk: None };
        let grant = Grant { device: DeviceId(Uuid::from_u128(5)), expires: 1000 };
        let signed = key.sign(&subject, &grant).into_bytes();
        kept::seeds("ticket", &[("signed", signed), ("spelled-otherwise", (0..60).collect())]);
        kept::replay(&["hostile/ticket"], ticket);
    }
}
