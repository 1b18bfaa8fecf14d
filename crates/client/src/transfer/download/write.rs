//! Writes verified chunks into the file. Blocks.
//!
//! Runs of zeros are not written: the file has its length from the start, and what nobody wrote reads as zeros and takes no room.

use super::super::shared::Shared;
use super::damaged;
use super::plan::Piece;
use bytes::Bytes;
use rustix::fs::Advice;
use stacksync_chunks::pack::{self, Damage};
use stacksync_core::cut::CHUNK_BYTES_MAX;
use stacksync_core::engine::ApplyError;
use stacksync_core::values::ChunkName;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Of longer files the disk gets each chunk to write at once: who makes the file durable in the end then has little to wait for.
const EARLY_WRITEBACK_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// An aligned block of so many zeros is left out.
const HOLE_BYTES: usize = 32 * 1024;
static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];

/// Whether a file of this size can have holes, and so must be given its length.
pub(super) const fn may_have_holes(size: u64) -> bool {
    size >= HOLE_BYTES as u64
}

/// The file that is being written. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sink {
    target: Arc<File>,
    shared: Arc<Shared>,
    size: u64,
}

/// Why a chunk was not written.
pub(super) enum WriteError {
    /// It is not what its name promises.
    Damage(Damage),
    /// The disk did not take it.
    Disk(ApplyError),
}

impl WriteError {
    pub(super) fn into_apply(self, chunk: ChunkName) -> ApplyError {
        match self {
            Self::Damage(damage) => damaged(chunk, &damage),
            Self::Disk(error) => error,
        }
    }
}

impl Sink {
    pub(super) fn new(target: Arc<File>, shared: Arc<Shared>, size: u64) -> Self {
        Self { target, shared, size }
    }

    /// Gives the file its length.
    pub(super) fn set_len(&self) -> Result<(), ApplyError> {
        self.target.set_len(self.size).map_err(disk_error)
    }

    /// Verifies a packed chunk and writes it everywhere it goes.
    pub(super) fn write(&self, piece: &Piece, packed: &Bytes) -> Result<(), WriteError> {
        let plain = pack::unpack(&piece.chunk.name, packed).map_err(WriteError::Damage)?;
        if plain.len() != piece.chunk.len as usize {
            return Err(WriteError::Damage(Damage::WrongLength { claimed: piece.chunk.len }));
        }
        self.write_plain(piece, &plain).map_err(WriteError::Disk)
    }

    /// Copies these from where another file may hold them; answers those that it does not hold (any more).
    pub(super) fn copy(&self, pieces: Vec<(Piece, u64)>, source: &File) -> Result<Vec<Piece>, ApplyError> {
        let mut left = Vec::new();
        let mut buffer = vec![0; CHUNK_BYTES_MAX];
        for (piece, offset) in pieces {
            // The plan has no longer ones.
            let plain = &mut buffer[..piece.chunk.len as usize];
            let read = source.read_exact_at(plain, offset);
            if read.is_ok() && pack::proves(&piece.chunk.name, plain) {
                self.write_plain(&piece, plain)?;
            } else {
                left.push(piece);
            }
        }
        Ok(left)
    }

    fn write_plain(&self, piece: &Piece, plain: &[u8]) -> Result<(), ApplyError> {
        for offset in &piece.offsets {
            write_around_zeros(&self.target, plain, *offset).map_err(disk_error)?;
            if self.size >= EARLY_WRITEBACK_BYTES_MIN {
                // Only a hint, so its failure means nothing.
                let _ = rustix::fs::fadvise(&self.target, *offset, NonZeroU64::new(plain.len() as u64), Advice::DontNeed);
            }
            self.shared.meter.add_written(plain.len());
        }
        Ok(())
    }
}

/// Writes the runs between blocks of zeros, in one step each.
fn write_around_zeros(target: &File, plain: &[u8], offset: u64) -> io::Result<()> {
    let mut run_start = 0;
    let mut at = 0;
    while at < plain.len() {
        // Up to the next multiple of the block in the file.
        let into_block = ((offset + at as u64) % HOLE_BYTES as u64) as usize;
        let end = plain.len().min(at + HOLE_BYTES - into_block);
        if end - at == HOLE_BYTES && plain[at..end] == ZEROS {
            target.write_all_at(&plain[run_start..at], offset + run_start as u64)?;
            run_start = end;
        }
        at = end;
    }
    target.write_all_at(&plain[run_start..], offset + run_start as u64)
}

fn disk_error(error: io::Error) -> ApplyError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ApplyError::NoSpace,
        _ => ApplyError::Failed(format!("cannot write the file: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn holes_do_not_change_what_is_read(
            parts in proptest::collection::vec((any::<bool>(), 1_usize..90_000), 1..8),
            offset in 0_u64..100_000,
        ) {
            let plain: Vec<u8> = parts.iter().flat_map(|(zeros, len)| std::iter::repeat_n(u8::from(!*zeros), *len)).collect();
            let target = tempfile::tempfile().unwrap();
            target.set_len(offset + plain.len() as u64).unwrap();
            write_around_zeros(&target, &plain, offset).unwrap();
            let mut read = vec![9; plain.len()];
            target.read_exact_at(&mut read, offset).unwrap();
            prop_assert!(read == plain);
        }
    }

    #[test]
    fn zeros_take_no_room() {
        let target = tempfile::tempfile().unwrap();
        target.set_len(2 << 20).unwrap();
        write_around_zeros(&target, &vec![0; 2 << 20], 0).unwrap();
        assert_eq!(target.metadata().unwrap().blocks(), 0);
    }
}
