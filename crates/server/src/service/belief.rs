//! What was looked up in the store a moment ago and is believed for a moment, so that not every call asks again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many are remembered; when there are more, all are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Facts, each believed for a while.
pub struct Beliefs<K, V> {
    lasting: Duration,
    known: Mutex<HashMap<K, (V, Instant)>>,
}

impl<K: Eq + Hash, V: Copy> Beliefs<K, V> {
    /// Nothing is known yet.
    pub fn new(lasting: Duration) -> Self {
        Self { lasting, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<K, (V, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fact, if it is still believed.
    pub fn of(&self, key: &K) -> Option<V> {
        self.known().get(key).filter(|(_, since)| since.elapsed() < self.lasting).map(|(fact, _)| *fact)
    }

    /// Notes what was looked up now, and returns it.
    pub fn note(&self, key: K, fact: V) -> V {
        let mut known = self.known();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, (fact, Instant::now()));
        fact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_believed_for_its_time_only() {
        let (lasting, over) = (Beliefs::new(Duration::from_secs(60)), Beliefs::new(Duration::ZERO));
        assert_eq!((lasting.of(&1), lasting.note(1, 'a'), lasting.of(&1), lasting.of(&2)), (None, 'a', Some('a'), None));
        assert_eq!((over.note(1, 'a'), over.of(&1)), ('a', None));
    }

    #[test]
    fn it_is_bounded() {
        let beliefs = Beliefs::new(Duration::from_secs(60));
        for key in 0..=REMEMBERED_MAX {
            beliefs.note(key, ());
        }
        assert_eq!((beliefs.of(&0), beliefs.of(&REMEMBERED_MAX)), (None, Some(())));
    }
}
