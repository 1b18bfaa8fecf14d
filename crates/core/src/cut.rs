//! Cuts a stream of bytes into content-defined chunks. No I/O: bytes are pushed in, named chunks come out.
//!
//! The algorithm is FastCDC (Xia et al., 2020: gear hash, two bytes per step, normalisation level 1, unseeded gear table) with the
//! limits below; [`CUT_VERSION`] names this combination. Equal bytes must give equal chunk lists on every device and for ever, so
//! whoever changes an algorithm or a limit makes another version of it. It must never depend on how the bytes were pushed: a cut is
//! only taken from a window that holds [`CHUNK_BYTES_MAX`] bytes or ends with the file, for then it is the cut over the whole.
//!
//! Step 5 of the path of a commit.

use crate::values::{ChunkName, ChunkRef};
use fastcdc::v2020::FastCDC;
use simd_adler32::Adler32;

/// Names algorithm, gear table and limits of this module.
pub const CUT_VERSION: u8 = 1;
/// A chunk is at least this long, unless it is the last one of its file. A file of up to this size is one chunk.
pub const CHUNK_BYTES_MIN: usize = 128 * 1024;
/// Where the normalisation turns from hardly to readily cutting. (The mean chunk of random bytes is about 640 KiB.)
pub const CHUNK_BYTES_AVG: usize = 512 * 1024;
/// A chunk is never longer than this.
pub const CHUNK_BYTES_MAX: usize = 2 * 1024 * 1024;

// The algorithm looks at bytes in pairs; odd limits would shift the cuts.
const _: () = assert!(CHUNK_BYTES_MIN.is_multiple_of(2) && CHUNK_BYTES_AVG.is_multiple_of(2) && CHUNK_BYTES_MAX.is_multiple_of(2));

/// The window is moved to the front of its buffer when this much before it is used up: fewer copies for a bounded buffer.
const BUFFER_BYTES_MAX: usize = 2 * CHUNK_BYTES_MAX;

/// Cuts one file. Holds at most 4 MiB, and not more than the file is long.
///
/// Each chunk is handed out once, in order, as soon as its end is certain.
#[derive(Debug)]
pub struct Cutter {
    buffer: Vec<u8>,
    window_start: usize,
    size: u64,
    adler: Adler32Debug,
}

/// What the whole file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Bytes.
    pub size: u64,
    /// Adler-32 of all bytes; 1 for none.
    pub adler32: u32,
}

impl Default for Cutter {
    fn default() -> Self {
        Self::new()
    }
}

impl Cutter {
    /// At the start of a file.
    pub fn new() -> Self {
        Self { buffer: Vec::new(), window_start: 0, size: 0, adler: Adler32Debug(Adler32::new()) }
    }

    /// Takes the next bytes of the file, any number of them, and hands out the chunks that are complete now.
    pub fn feed(&mut self, mut bytes: &[u8], mut out: impl FnMut(ChunkRef, &[u8])) {
        self.size += bytes.len() as u64;
        self.adler.0.write(bytes);
        while !bytes.is_empty() {
            self.make_room();
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER_BYTES_MAX - self.buffer.len()));
            self.grow_for(now.len());
            self.buffer.extend_from_slice(now);
            bytes = later;
            while self.buffer.len() - self.window_start >= CHUNK_BYTES_MAX {
                self.cut_one(&mut out);
            }
        }
    }

    /// The file ends here: hands out the rest.
    pub fn finish(mut self, mut out: impl FnMut(ChunkRef, &[u8])) -> Total {
        while self.window_start < self.buffer.len() {
            self.cut_one(&mut out);
        }
        Total { size: self.size, adler32: self.adler.0.finish() }
    }

    /// Less than one longest chunk is waiting here, so that at least one longest chunk of room follows.
    fn make_room(&mut self) {
        if self.buffer.len() == BUFFER_BYTES_MAX {
            self.buffer.drain(..self.window_start);
            self.window_start = 0;
        }
    }

    /// Doubles like a `Vec` does, but never past the limit.
    fn grow_for(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed > self.buffer.capacity() {
            let capacity = needed.max(2 * self.buffer.capacity()).min(BUFFER_BYTES_MAX);
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
    }

    fn cut_one(&mut self, out: &mut impl FnMut(ChunkRef, &[u8])) {
        let window = &self.buffer[self.window_start..];
        let chunk = &window[..first_cut(window)];
        // At most CHUNK_BYTES_MAX, so it fits.
        out(ChunkRef { name: ChunkName::of(chunk), len: chunk.len() as u32 }, chunk);
        self.window_start += chunk.len();
    }
}

/// Length of the first chunk of these bytes: at least 1 for a window that is not empty.
fn first_cut(window: &[u8]) -> usize {
    FastCDC::new(window, CHUNK_BYTES_MIN, CHUNK_BYTES_AVG, CHUNK_BYTES_MAX).cut(0, window.len()).1
}

/// The checksum's state, which says nothing of itself.
struct Adler32Debug(Adler32);

impl std::fmt::Debug for Adler32Debug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Adler32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that look random and are the same everywhere.
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn cut_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<ChunkRef>, Vec<u8>, Total) {
        let (mut chunks, mut bytes) = (Vec::new(), Vec::new());
        let mut cutter = Cutter::new();
        let mut take = |chunk: ChunkRef, plain: &[u8]| {
            assert_eq!(ChunkName::of(plain), chunk.name);
            assert_eq!(plain.len(), chunk.len as usize);
            chunks.push(chunk);
            bytes.extend_from_slice(plain);
        };
        for piece in pieces {
            cutter.feed(piece, &mut take);
        }
        let total = cutter.finish(&mut take);
        (chunks, bytes, total)
    }

    fn lengths_over_the_whole(bytes: &[u8]) -> Vec<usize> {
        FastCDC::new(bytes, CHUNK_BYTES_MIN, CHUNK_BYTES_AVG, CHUNK_BYTES_MAX).map(|chunk| chunk.length).collect()
    }

    #[test]
    fn the_cuts_of_version_1_are_these_for_ever() {
        let (chunks, _, total) = cut_in_pieces([noise(5_000_001, 1).as_slice()]);
        let seen: Vec<_> = chunks.iter().map(|chunk| (chunk.len, chunk.name.to_string()[..16].to_owned())).collect();
        let fixed: Vec<_> = FIXED_CUTS.iter().map(|(len, name)| (*len, (*name).to_owned())).collect();
        assert_eq!(seen, fixed);
        assert_eq!(total, Total { size: 5_000_001, adler32: FIXED_ADLER32 });
    }

    const FIXED_CUTS: &[(u32, &str)] = &[
        (491_952, "38e55b68ce94ea8c"),
        (1_049_634, "22faa5026d0a2956"),
        (651_579, "f7a541c38b84dc74"),
        (532_654, "027e4707c1b5b20c"),
        (538_320, "ea241ef242073ed1"),
        (914_574, "c2d6b38243c98a6d"),
        (606_811, "b57ee9ab61b4a4ca"),
        (214_477, "2fdc7679a71ea404"),
    ];
    const FIXED_ADLER32: u32 = 2_302_953_643;

    #[test]
    fn an_empty_file_has_no_chunks() {
        assert_eq!(cut_in_pieces([]), (vec![], vec![], Total { size: 0, adler32: 1 }));
    }

    #[test]
    fn a_small_file_is_one_chunk() {
        for len in [1, 2, 4095, CHUNK_BYTES_MIN - 1, CHUNK_BYTES_MIN] {
            let (chunks, _, _) = cut_in_pieces([noise(len, 2).as_slice()]);
            assert_eq!(chunks.len(), 1, "{len}");
        }
    }

    #[test]
    fn zeros_are_cut_at_the_limit() {
        let zeros = vec![0; 2 * CHUNK_BYTES_MAX + 5];
        let (chunks, bytes, _) = cut_in_pieces([zeros.as_slice()]);
        assert_eq!(chunks.iter().map(|chunk| chunk.len as usize).collect::<Vec<_>>(), [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 5]);
        assert_eq!(bytes, zeros);
    }

    #[test]
    fn the_buffer_stays_within_its_limit() {
        let bytes = noise(9 * CHUNK_BYTES_MAX, 3);
        let mut cutter = Cutter::new();
        for piece in bytes.chunks(1_000_003) {
            cutter.feed(piece, |_, _| {});
            assert!(cutter.buffer.capacity() <= BUFFER_BYTES_MAX, "{}", cutter.buffer.capacity());
        }
    }

    #[test]
    fn one_inserted_byte_changes_few_chunks() {
        let before = noise(24 << 20, 4);
        for at in [0, 1, 7 << 20, (24 << 20) - 1] {
            let mut after = before.clone();
            after.insert(at, 7);
            let (old, _, _) = cut_in_pieces([before.as_slice()]);
            let (new, _, _) = cut_in_pieces([after.as_slice()]);
            let fresh = new.iter().filter(|chunk| !old.contains(chunk)).count();
            assert!(fresh <= 2, "{fresh} of {} chunks are new after an insertion at {at}", new.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn cuts_do_not_depend_on_the_pieces(
            len in 0_usize..(7 << 20),
            seed in 0_u64..1000,
            zeros in any::<bool>(),
            sizes in proptest::collection::vec(prop_oneof![1_usize..9000, 100_000_usize..5_000_000], 1..20),
        ) {
            let mut bytes = noise(len, seed);
            if zeros {
                let third = len / 3;
                bytes[third..2 * third].fill(0);
            }
            let mut pieces = Vec::new();
            let mut rest = bytes.as_slice();
            let mut sizes = sizes.iter().cycle();
            while !rest.is_empty() {
                let size = sizes.next().copied().unwrap_or(1).min(rest.len());
                let (piece, after) = rest.split_at(size);
                pieces.push(piece);
                rest = after;
            }
            let (chunks, joined, total) = cut_in_pieces(pieces);
            prop_assert_eq!(total.size, len as u64);
            prop_assert_eq!(total.adler32, simd_adler32::adler32(&bytes.as_slice()));
            prop_assert!(joined == bytes);
            let lengths: Vec<_> = chunks.iter().map(|chunk| chunk.len as usize).collect();
            prop_assert_eq!(&lengths, &lengths_over_the_whole(&bytes));
            let (last, others) = lengths.split_last().unwrap_or((&1, &[]));
            prop_assert!(others.iter().all(|len| (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(len)));
            prop_assert!((1..=CHUNK_BYTES_MAX).contains(last));
        }
    }
}
