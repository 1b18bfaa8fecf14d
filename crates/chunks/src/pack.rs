//! A chunk at rest: a header that says how to read it, then its bytes, compressed where that helps.
//!
//! ```text
//! "SSCK" | format u8 = 1 | compression u8 (0 none, 1 zstd) | encryption u8 = 0 | reserved u8 = 0 | plain length u32 BE | payload
//! ```
//!
//! What is unpacked is checked against the chunk's name before anyone sees it. Nothing that a header or a payload claims may make
//! us allocate or write more than [`CHUNK_BYTES_MAX`], or panic.

use crate::original;
use bytes::Bytes;
use stacksync_core::cut::CHUNK_BYTES_MAX;
use stacksync_core::planted;
use stacksync_core::values::ChunkName;
use std::cell::RefCell;

/// Length of the header.
pub const HEADER_BYTES: usize = 12;
/// A packed chunk is never longer than this: packing never makes a payload longer than the plain bytes.
pub const PACKED_BYTES_MAX: usize = HEADER_BYTES + CHUNK_BYTES_MAX;

const MAGIC: &[u8; 4] = b"SSCK";
const FORMAT: u8 = 1;
const COMPRESSION_NONE: u8 = 0;
const COMPRESSION_ZSTD: u8 = 1;
const ENCRYPTION_NONE: u8 = 0;
/// Level 1 packs text at 0.9 GB/s on one core; level 3 is a sixth slower for a few per cent.
const ZSTD_LEVEL: i32 = 1;
/// So much is tried before a long chunk is compressed whole.
const PROBE_BYTES: usize = 4096;
/// Compression must save at least this part (one in so many bytes), else reading it again is not worth it.
const SAVING_PART_MIN: usize = 32;

/// These bytes cannot be a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk has 1 to {CHUNK_BYTES_MAX} bytes, not {len}")]
pub struct PackError {
    /// How many there were.
    pub len: usize,
}

/// A packed chunk that does not give the bytes that its name promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The header is cut off, or is no header of ours.
    #[error("not a packed chunk")]
    NoHeader,
    /// Written by a later StackSync, or damaged.
    #[error("packed in an unknown way (format {format}, compression {compression}, encryption {encryption})")]
    UnknownFormat {
        /// As the header says.
        format: u8,
        /// As the header says.
        compression: u8,
        /// As the header says.
        encryption: u8,
    },
    /// The length is outside the limits, or not what the payload gives.
    #[error("the length is not the one that the header claims ({claimed})")]
    WrongLength {
        /// As the header says.
        claimed: u32,
    },
    /// The payload is not what the compressor wrote.
    #[error("the compressed bytes are damaged")]
    Undecodable,
    /// The bytes are those of another chunk, or of none.
    #[error("the bytes do not have this name")]
    WrongHash,
}

struct Header {
    compression: u8,
    plain_len: u32,
}

thread_local! {
    // Contexts cost more than packing a small chunk does: each worker keeps one of a kind.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Packs the plain bytes of one chunk, compressed if that saves at least one part in 32.
pub fn pack(plain: &[u8]) -> Result<Bytes, PackError> {
    check_len(plain)?;
    Ok(compressed(plain).unwrap_or_else(|| uncompressed(plain)))
}

/// The plain bytes of one chunk behind a header: where compression does not help, packing copies nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Headed(Bytes);

impl Headed {
    /// Copies the plain bytes of one chunk.
    pub fn copy_of(plain: &[u8]) -> Result<Self, PackError> {
        check_len(plain)?;
        Ok(Self(uncompressed(plain)))
    }

    /// Number of the plain bytes.
    pub const fn plain_len(&self) -> usize {
        self.0.len() - HEADER_BYTES
    }

    /// Packs as [`pack`] does.
    pub fn pack(self) -> Bytes {
        compressed(&self.0[HEADER_BYTES..]).unwrap_or(self.0)
    }
}

/// The plain bytes of a packed chunk, proven to have this name. Uncompressed payloads are not copied.
pub fn unpack(name: &ChunkName, packed: &Bytes) -> Result<Bytes, Damage> {
    let header = Header::read(packed)?;
    let payload = packed.slice(HEADER_BYTES..);
    let plain = if header.compression == COMPRESSION_ZSTD { header.decompress(&payload)?.into() } else { payload };
    if plain.len() != header.plain_len as usize {
        return Err(Damage::WrongLength { claimed: header.plain_len });
    }
    if !proves(name, &plain) && !planted!(UnverifiedChunk) {
        return Err(Damage::WrongHash);
    }
    Ok(plain)
}

/// Whether these are the plain bytes that have this name: ours, or one that stands for a name of the original.
pub fn proves(name: &ChunkName, plain: &[u8]) -> bool {
    ChunkName::of(plain) == *name || original::proves(name, plain)
}

/// The length of the plain bytes as the header claims it, within the limits of a chunk. Proves nothing about the payload.
pub fn claimed_len(packed: &[u8]) -> Result<u32, Damage> {
    Header::read(packed).map(|header| header.plain_len)
}

const fn check_len(plain: &[u8]) -> Result<(), PackError> {
    if plain.is_empty() || plain.len() > CHUNK_BYTES_MAX { Err(PackError { len: plain.len() }) } else { Ok(()) }
}

/// `None` if it would not save enough.
fn compressed(plain: &[u8]) -> Option<Bytes> {
    if !looks_compressible(plain) {
        return None;
    }
    let mut packed = header(COMPRESSION_ZSTD, plain.len());
    compress(plain, &mut packed).then(|| {
        // It may wait in a queue for long: give the unused room back.
        packed.shrink_to_fit();
        packed.into()
    })
}

fn uncompressed(plain: &[u8]) -> Bytes {
    let mut packed = header(COMPRESSION_NONE, plain.len());
    packed.extend_from_slice(plain);
    packed.into()
}

fn header(compression: u8, plain_len: usize) -> Vec<u8> {
    let mut packed = Vec::with_capacity(HEADER_BYTES + plain_len);
    packed.extend_from_slice(MAGIC);
    packed.extend_from_slice(&[FORMAT, compression, ENCRYPTION_NONE, 0]);
    // At most CHUNK_BYTES_MAX, so it fits.
    packed.extend_from_slice(&(plain_len as u32).to_be_bytes());
    packed
}

/// The middle tells more than the start: many formats begin with a compressible header and go on compressed.
fn looks_compressible(plain: &[u8]) -> bool {
    if plain.len() <= 4 * PROBE_BYTES {
        return true;
    }
    let start = (plain.len() - PROBE_BYTES) / 2;
    compress(&plain[start..start + PROBE_BYTES], &mut Vec::new())
}

/// Appends the compressed bytes; false, and nothing of use appended, if they do not save enough.
fn compress(plain: &[u8], packed: &mut Vec<u8>) -> bool {
    let room = plain.len() - plain.len().div_ceil(SAVING_PART_MIN);
    COMPRESSOR.with_borrow_mut(|slot| {
        let Some(compressor) = slot.take().or_else(|| zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()) else {
            return false;
        };
        let compressor = slot.insert(compressor);
        let start = packed.len();
        packed.resize(start + room, 0);
        // Too little room is an error of the compressor: then it would not have saved enough.
        match compressor.compress_to_buffer(plain, &mut packed[start..]) {
            Ok(written) => {
                packed.truncate(start + written);
                true
            }
            Err(_) => false,
        }
    })
}

impl Header {
    fn read(packed: &[u8]) -> Result<Self, Damage> {
        let Some((header, _)) = packed.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Damage::NoHeader);
        };
        let [m0, m1, m2, m3, format, compression, encryption, reserved, l0, l1, l2, l3] = *header;
        if [m0, m1, m2, m3] != *MAGIC {
            return Err(Damage::NoHeader);
        }
        if format != FORMAT || compression > COMPRESSION_ZSTD || encryption != ENCRYPTION_NONE || reserved != 0 {
            return Err(Damage::UnknownFormat { format, compression, encryption });
        }
        let plain_len = u32::from_be_bytes([l0, l1, l2, l3]);
        if plain_len == 0 || plain_len as usize > CHUNK_BYTES_MAX || packed.len() > PACKED_BYTES_MAX {
            return Err(Damage::WrongLength { claimed: plain_len });
        }
        Ok(Self { compression, plain_len })
    }

    /// Writes into a buffer of the claimed length: whatever the payload claims, it cannot grow past that.
    fn decompress(&self, payload: &[u8]) -> Result<Vec<u8>, Damage> {
        DECOMPRESSOR.with_borrow_mut(|slot| {
            let decompressor = match slot.take() {
                Some(decompressor) => decompressor,
                None => zstd::bulk::Decompressor::new().map_err(|_| Damage::Undecodable)?,
            };
            let decompressor = slot.insert(decompressor);
            let mut plain = vec![0; self.plain_len as usize];
            let written = decompressor.decompress_to_buffer(payload, plain.as_mut_slice()).map_err(|_| Damage::Undecodable)?;
            plain.truncate(written);
            Ok(plain)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn repacked(header: [u8; HEADER_BYTES], payload: &[u8]) -> Bytes {
        [&header, payload].concat().into()
    }

    #[test]
    fn what_repeats_is_compressed_and_noise_is_not() {
        for len in [100, 4096, 100_000, CHUNK_BYTES_MAX] {
            let text = b"StackSync ".iter().copied().cycle().take(len).collect::<Vec<_>>();
            assert!(pack(&text).unwrap().len() < len / 2 + 30, "{len}");
            assert_eq!(pack(&noise(len)).unwrap().len(), len + HEADER_BYTES, "{len}");
        }
    }

    #[test]
    fn a_compressible_start_does_not_mislead_the_probe() {
        let mut plain = noise(1 << 20);
        plain[..16 * 1024].fill(0);
        assert_eq!(pack(&plain).unwrap().len(), plain.len() + HEADER_BYTES);
    }

    #[test]
    fn nothing_and_too_much_are_no_chunks() {
        assert_eq!(pack(&[]), Err(PackError { len: 0 }));
        assert!(Headed::copy_of(&[]).is_err());
        let len = CHUNK_BYTES_MAX + 1;
        assert_eq!(pack(&vec![0; len]), Err(PackError { len }));
    }

    #[test]
    fn the_bytes_of_another_chunk_are_refused() {
        let packed = pack(b"one").unwrap();
        assert_eq!(unpack(&ChunkName::of(b"two"), &packed), Err(Damage::WrongHash));
        assert_eq!(unpack(&ChunkName::of(b"one"), &packed).unwrap(), "one");
    }

    #[test]
    fn hostile_headers_are_refused() {
        let name = ChunkName::of(b"x");
        let good = [b'S', b'S', b'C', b'K', 1, 0, 0, 0, 0, 0, 0, 1];
        assert!(unpack(&name, &repacked(good, b"x")).is_ok());
        let with = |at: usize, byte: u8| {
            let mut header = good;
            header[at] = byte;
            unpack(&name, &repacked(header, b"x"))
        };
        assert_eq!(with(0, b'X'), Err(Damage::NoHeader));
        assert_eq!(with(4, 2), Err(Damage::UnknownFormat { format: 2, compression: 0, encryption: 0 }));
        assert_eq!(with(5, 2), Err(Damage::UnknownFormat { format: 1, compression: 2, encryption: 0 }));
        assert_eq!(with(5, 1), Err(Damage::Undecodable));
        assert_eq!(with(6, 1), Err(Damage::UnknownFormat { format: 1, compression: 0, encryption: 1 }));
        assert_eq!(with(7, 1), Err(Damage::UnknownFormat { format: 1, compression: 0, encryption: 0 }));
        assert_eq!(with(8, 0xff), Err(Damage::WrongLength { claimed: 0xff00_0001 }));
        assert_eq!(with(11, 0), Err(Damage::WrongLength { claimed: 0 }));
        assert_eq!(with(11, 2), Err(Damage::WrongLength { claimed: 2 }));
        assert_eq!(unpack(&name, &Bytes::from_static(b"SSCK")), Err(Damage::NoHeader));
        assert_eq!(unpack(&name, &Bytes::new()), Err(Damage::NoHeader));
    }

    #[test]
    fn a_bomb_does_not_grow_past_what_its_header_claims() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        let name = ChunkName::of(&[0]);
        let claims_one = repacked([b'S', b'S', b'C', b'K', 1, 1, 0, 0, 0, 0, 0, 1], &bomb);
        assert_eq!(unpack(&name, &claims_one), Err(Damage::Undecodable));
        let claims_most = repacked([b'S', b'S', b'C', b'K', 1, 1, 0, 0, 0, 0x20, 0, 0], &bomb);
        assert_eq!(unpack(&name, &claims_most), Err(Damage::Undecodable));
    }

    #[test]
    fn more_bytes_than_any_chunk_has_are_refused_before_hashing() {
        let mut packed = pack(&noise(CHUNK_BYTES_MAX)).unwrap().to_vec();
        packed.push(0);
        assert!(matches!(unpack(&ChunkName::of(b""), &packed.into()), Err(Damage::WrongLength { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn unpacking_gives_back_what_was_packed(len in 1_usize..40_000, zeros in 0_usize..40_000) {
            let mut plain = noise(len);
            plain[..zeros.min(len)].fill(0);
            let packed = pack(&plain).unwrap();
            prop_assert!(packed.len() <= plain.len() + HEADER_BYTES);
            prop_assert!(Headed::copy_of(&plain).unwrap().pack() == packed);
            prop_assert_eq!(claimed_len(&packed), Ok(len as u32));
            prop_assert!(unpack(&ChunkName::of(&plain), &packed).unwrap() == plain);
        }

        #[test]
        fn a_damaged_byte_never_passes(text in "[a-d]{1,400}", at in any::<proptest::sample::Index>(), flip in 1_u8..) {
            let mut packed = pack(text.as_bytes()).unwrap().to_vec();
            let at = at.index(packed.len());
            packed[at] ^= flip;
            // A flip in the payload may still decompress to the same bytes (zstd's own header has spare bits): then it does no
            // harm.
            if let Ok(plain) = unpack(&ChunkName::of(text.as_bytes()), &packed.into()) {
                prop_assert_eq!(plain, text.as_bytes());
            }
        }

        #[test]
        fn a_truncated_chunk_never_passes(text in "[a-d]{1,400}", keep in any::<proptest::sample::Index>()) {
            let packed = pack(text.as_bytes()).unwrap();
            let keep = keep.index(packed.len());
            prop_assert!(unpack(&ChunkName::of(text.as_bytes()), &packed.slice(..keep)).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), compression in 0_u8..2) {
            let mut packed = vec![b'S', b'S', b'C', b'K', 1, compression, 0, 0];
            packed.extend(bytes);
            prop_assert!(unpack(&ChunkName::of(b"never"), &packed.into()).is_err());
        }
    }
}
