//! Many packed chunks in one body: records of name (32 bytes), packed length (u32, big endian), packed bytes.
//!
//! A length of 0 says that the storage lacks the chunk. The decoder takes a body as it arrives and never holds more than one
//! record, or what was pushed at once; whether a record is what its name promises is not its business.

use crate::pack::PACKED_BYTES_MAX;
use bytes::{Buf, Bytes, BytesMut};
use stacksync_core::values::ChunkName;

/// Length of what stands before the packed bytes of each record.
pub const RECORD_HEADER_BYTES: usize = 36;

/// The body is not a sequence of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A record claims more bytes than any packed chunk has.
    #[error("a record of {claimed} bytes is longer than any chunk")]
    TooLong {
        /// What it claims.
        claimed: u32,
    },
    /// The body ends within a record.
    #[error("the batch ends within a record")]
    CutOff,
}

/// Appends a record to a body.
pub fn append(body: &mut Vec<u8>, name: &ChunkName, packed: &[u8]) {
    body.extend_from_slice(name.as_bytes());
    // A packed chunk is at most PACKED_BYTES_MAX long, so it fits.
    body.extend_from_slice(&(packed.len() as u32).to_be_bytes());
    body.extend_from_slice(packed);
}

/// Appends the record of a chunk that the storage lacks.
pub fn append_missing(body: &mut Vec<u8>, name: &ChunkName) {
    append(body, name, &[]);
}

/// Reads records out of a body that arrives in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    waiting: BytesMut,
}

impl Decoder {
    /// At the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of the body. Ask for the records after each.
    pub fn push(&mut self, piece: &[u8]) {
        self.waiting.extend_from_slice(piece);
    }

    /// The next complete record, `None` if more of the body is needed. Empty bytes: the storage lacks the chunk.
    pub fn next_record(&mut self) -> Result<Option<(ChunkName, Bytes)>, BatchError> {
        let Some((header, _)) = self.waiting.split_first_chunk::<RECORD_HEADER_BYTES>() else {
            return Ok(None);
        };
        let (mut name, mut len) = ([0; 32], [0; 4]);
        name.copy_from_slice(&header[..32]);
        len.copy_from_slice(&header[32..]);
        let claimed = u32::from_be_bytes(len);
        let len = claimed as usize;
        if len > PACKED_BYTES_MAX {
            return Err(BatchError::TooLong { claimed });
        }
        if self.waiting.len() < RECORD_HEADER_BYTES + len {
            self.waiting.reserve(RECORD_HEADER_BYTES + len - self.waiting.len());
            return Ok(None);
        }
        self.waiting.advance(RECORD_HEADER_BYTES);
        Ok(Some((ChunkName::from_bytes(name), self.waiting.split_to(len).freeze())))
    }

    /// The body ended: it must have ended with a record.
    pub fn finish(self) -> Result<(), BatchError> {
        if self.waiting.is_empty() { Ok(()) } else { Err(BatchError::CutOff) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_that_claims_too_much_is_refused_before_its_bytes_arrive() {
        let mut decoder = Decoder::new();
        decoder.push(&[7; 32]);
        decoder.push(&(PACKED_BYTES_MAX as u32 + 1).to_be_bytes());
        assert!(matches!(decoder.next_record(), Err(BatchError::TooLong { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn records_survive_any_pieces(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
            piece in 1_usize..300,
            lost in 0_usize..40,
        ) {
            let mut body = Vec::new();
            for bytes in &chunks {
                append(&mut body, &ChunkName::of(bytes), bytes);
            }
            let kept = body.len().saturating_sub(lost);
            let (mut decoder, mut seen) = (Decoder::new(), Vec::new());
            for piece in body[..kept].chunks(piece) {
                decoder.push(piece);
                while let Some((name, bytes)) = decoder.next_record().unwrap() {
                    prop_assert_eq!(name, ChunkName::of(&bytes));
                    seen.push(bytes.to_vec());
                }
            }
            prop_assert!(chunks.starts_with(&seen));
            if lost == 0 {
                prop_assert_eq!(&seen, &chunks);
            }
            let whole: usize = seen.iter().map(|bytes| bytes.len() + RECORD_HEADER_BYTES).sum();
            prop_assert_eq!(decoder.finish().is_ok(), whole == kept);
        }
    }
}
