//! Which chunks a file needs, and where each goes.

use stacksync_core::cut::CHUNK_BYTES_MAX;
use stacksync_core::engine::ApplyError;
use stacksync_core::values::{ChunkName, ChunkRef, FileBody};
use std::collections::HashMap;

/// A chunk and everywhere that it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) chunk: ChunkRef,
    /// Offsets in the file; at least one.
    pub(super) offsets: Vec<u64>,
}

/// The chunks that are still to come, by their first offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
}

impl Plan {
    /// Each chunk once, whatever number of times the file holds it.
    pub(super) fn new(body: &FileBody) -> Result<Self, ApplyError> {
        let mut places: HashMap<ChunkName, usize> = HashMap::with_capacity(body.chunks.len());
        let mut pieces: Vec<Piece> = Vec::with_capacity(body.chunks.len());
        let mut offset = 0_u64;
        for chunk in body.chunks.iter() {
            if chunk.len == 0 || chunk.len as usize > CHUNK_BYTES_MAX {
                let reason = format!("no chunk has {} bytes", chunk.len);
                return Err(ApplyError::ChunkUnavailable { chunk: chunk.name, reason });
            }
            let place = *places.entry(chunk.name).or_insert(pieces.len());
            match pieces.get_mut(place) {
                Some(piece) => piece.offsets.push(offset),
                None => pieces.push(Piece { chunk: *chunk, offsets: vec![offset] }),
            }
            offset += u64::from(chunk.len);
        }
        Ok(Self { pieces })
    }

    /// Takes out the pieces that this one holds too, each with an offset there.
    pub(super) fn split_off(self, source: &FileBody) -> (Vec<(Piece, u64)>, Self) {
        let mut held = HashMap::with_capacity(source.chunks.len());
        let mut offset = 0_u64;
        for chunk in source.chunks.iter() {
            held.entry(chunk.name).or_insert(offset);
            offset += u64::from(chunk.len);
        }
        let (mut there, mut rest) = (Vec::new(), Vec::new());
        for piece in self.pieces {
            match held.get(&piece.chunk.name) {
                Some(offset) => there.push((piece, *offset)),
                None => rest.push(piece),
            }
        }
        (there, Self { pieces: rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(texts: &[&str]) -> FileBody {
        let chunks: Vec<_> =
            texts.iter().map(|text| ChunkRef { name: ChunkName::of(text.as_bytes()), len: text.len() as u32 }).collect();
        let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        FileBody { size, chunks: chunks.into(), adler32: 1, executable: false }
    }

    #[test]
    fn each_chunk_is_planned_once_for_all_its_places() {
        let plan = Plan::new(&body(&["aa", "b", "aa"])).unwrap();
        let seen: Vec<_> = plan.pieces.iter().map(|piece| (piece.chunk.len, piece.offsets.clone())).collect();
        assert_eq!(seen, [(2, vec![0, 3]), (1, vec![2])]);
        let (there, rest) = plan.split_off(&body(&["zz", "z", "b"]));
        assert_eq!(there.iter().map(|(piece, at)| (piece.offsets.clone(), *at)).collect::<Vec<_>>(), [(vec![2], 3)]);
        assert_eq!(rest.pieces.len(), 1);
    }

    #[test]
    fn a_chunk_that_no_cutter_gives_is_refused() {
        let mut bad = body(&["a"]);
        bad.chunks = [ChunkRef { len: CHUNK_BYTES_MAX as u32 + 1, ..bad.chunks[0] }].into();
        assert!(matches!(Plan::new(&bad), Err(ApplyError::ChunkUnavailable { .. })));
    }
}
