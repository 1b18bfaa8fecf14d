//! Whole bundles, kept for a moment: who gets many files gets the neighbours of what he asks for soon.
//!
//! A bundle is read whole where several of its chunks are asked for at once, as long as what was read whole before was of use.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// With fewer wanted chunks of a bundle only these are read.
const WANTED_MIN: usize = 4;
/// What is kept, in bytes; the oldest goes first.
const KEPT_BYTES_MAX: usize = 24 << 20;
/// How long.
const KEPT: Duration = Duration::from_secs(5);
/// So much may be read in vain before what is read whole has to be of use: at least one byte in so many.
const CREDIT_BYTES: u64 = 16 << 20;
/// See [`CREDIT_BYTES`].
const READ_PER_USED: u64 = 3;
/// Bundles that are read whole at once are told apart by so many places.
const PLACES: usize = 4;

/// See the module.
#[derive(Default)]
pub(super) struct Shelf {
    state: Mutex<State>,
    /// Of two who want the same bundle the second one finds it here.
    reading: [tokio::sync::Mutex<()>; PLACES],
}

#[derive(Default)]
struct State {
    kept: VecDeque<(String, Bytes, Instant)>,
    read: u64,
    used: u64,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this bundle should be read whole, of which so many chunks are wanted.
    pub(super) fn wants(&self, bundle: &str, wanted: usize) -> bool {
        let state = self.lock();
        let has_it = state.kept.iter().any(|(kept, ..)| kept == bundle);
        has_it || (wanted >= WANTED_MIN && state.read <= CREDIT_BYTES + READ_PER_USED * state.used)
    }

    /// Alone with others of this bundle.
    pub(super) async fn turn(&self, bundle: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let sum = bundle.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.reading[sum % PLACES].lock().await
    }

    /// The bundle, if it is here.
    pub(super) fn get(&self, bundle: &str) -> Option<Bytes> {
        self.lock().kept.iter().find(|(kept, ..)| kept == bundle).map(|(_, bytes, _)| bytes.clone())
    }

    /// So many bytes of what was read whole were of use.
    pub(super) fn used(&self, bytes: u64) {
        self.lock().used += bytes;
    }

    /// Keeps a bundle that was read whole.
    pub(super) fn put(self: &Arc<Self>, bundle: String, bytes: Bytes) {
        {
            let mut state = self.lock();
            state.read += bytes.len() as u64;
            state.kept.push_back((bundle, bytes, Instant::now()));
            while state.kept.iter().map(|(_, bytes, _)| bytes.len()).sum::<usize>() > KEPT_BYTES_MAX {
                state.kept.pop_front();
            }
        }
        let shelf = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            if let Some(shelf) = shelf.upgrade() {
                shelf.lock().kept.retain(|(_, _, since)| since.elapsed() < KEPT);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_of_no_use_is_not_read_for_long() {
        let shelf = Arc::new(Shelf::default());
        assert!(!shelf.wants("a", WANTED_MIN - 1));
        for number in 0..5 {
            assert!(shelf.wants("new", WANTED_MIN), "{number}");
            shelf.put(number.to_string(), Bytes::from(vec![0; 4 << 20]));
        }
        assert!(!shelf.wants("new", WANTED_MIN), "nothing of it was of use");
        assert!(shelf.wants("4", 1) && shelf.get("4").is_some(), "it is here");
        shelf.used(4 << 20);
        assert!(shelf.wants("new", WANTED_MIN));
        tokio::time::sleep(KEPT * 2).await;
        assert!(shelf.get("4").is_none(), "kept for a moment only");
    }

    #[tokio::test(start_paused = true)]
    async fn it_has_its_limit() {
        let shelf = Arc::new(Shelf::default());
        for number in 0..20 {
            shelf.put(number.to_string(), Bytes::from(vec![0; 4 << 20]));
        }
        assert_eq!((0..20).filter(|number| shelf.get(&number.to_string()).is_some()).count(), KEPT_BYTES_MAX >> 22);
    }
}
