//! The deletion guard: much that vanishes at once is more likely a lost disk than a wish.
//!
//! Only local deletions are held, nothing else stops. What is held passes by `approve` or comes back by `restore`.

use super::Now;
use crate::planted;
use std::collections::VecDeque;

/// Deletions within this time count as one event, in milliseconds.
const AT_ONCE_MS: u64 = 60_000;
/// Fewer deletions than this are never held, unless nothing at all is left.
const ITEMS_MIN: usize = 20;
/// An emptied tree is held if it had at least this many items.
const EMPTIED_MIN: usize = 3;

/// Counts deletions over a sliding window.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    recent: VecDeque<(u64, usize)>,
}

impl Guard {
    /// Notes that synced items vanished from the disk; `left` are still there. Says whether they are to be held: when more than half
    /// of the tree is gone at once, or all of it.
    pub fn holds(&mut self, vanished: usize, left: usize, now: Now) -> bool {
        while self.recent.front().is_some_and(|&(at, _)| at + AT_ONCE_MS < now.ms) {
            self.recent.pop_front();
        }
        if planted!(GuardForgets) {
            self.recent.clear();
        }
        if vanished > 0 {
            self.recent.push_back((now.ms, vanished));
        }
        vanished > 0 && self.still_holds(left)
    }

    /// Whether what vanished lately is more than half of the tree, or all of it.
    pub fn still_holds(&self, left: usize) -> bool {
        let gone: usize = self.recent.iter().map(|&(_, count)| count).sum();
        (gone >= ITEMS_MIN && gone > left) || (left == 0 && gone >= EMPTIED_MIN)
    }

    /// One of those that vanished turned up again: it had only moved.
    pub fn returned(&mut self) {
        if let Some((_, count)) = self.recent.back_mut() {
            *count -= 1;
            if *count == 0 {
                self.recent.pop_back();
            }
        }
    }

    /// Starts counting afresh, after the user decided.
    pub fn reset(&mut self) {
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mass_deletion_is_held() {
        for (vanished, left, held) in
            [(1, 0, false), (2, 0, false), (3, 0, true), (19, 1, false), (20, 20, false), (21, 20, true), (500, 501, false)]
        {
            assert_eq!(
                Guard::default().holds(vanished, left, Now { ms: 0, unix_ns: 0 }),
                held,
                "{vanished} of {}",
                vanished + left
            );
        }
    }

    #[test]
    fn what_only_moved_is_not_gone() {
        let mut guard = Guard::default();
        assert!(guard.holds(30, 10, Now { ms: 0, unix_ns: 0 }));
        assert!(!guard.holds(0, 10, Now { ms: 1, unix_ns: 0 }), "nothing is no deletion");
        for back in 1..=11 {
            guard.returned();
            assert_eq!(guard.still_holds(10 + back), 30 - back > 10 + back && 30 - back >= ITEMS_MIN);
        }
    }

    #[test]
    fn deletions_in_small_portions_add_up() {
        let mut guard = Guard::default();
        let held = (0..30).any(|round| guard.holds(2, 50 - 2 * round.min(24), Now { ms: round as u64 * 100, unix_ns: 0 }));
        assert!(held);
        let mut guard = Guard::default();
        let held = (0..24).any(|round| guard.holds(2, 50 - 2 * round, Now { ms: round as u64 * 100_000, unix_ns: 0 }));
        assert!(!held, "over hours they do not");
    }
    #[test]
    fn what_vanishes_within_a_minute_is_one_event() {
        let apart = |ms| {
            let mut guard = Guard::default();
            guard.holds(10, 15, Now { ms: 0, unix_ns: 0 });
            guard.holds(10, 5, Now { ms, unix_ns: 0 })
        };
        assert!(apart(AT_ONCE_MS));
        assert!(!apart(AT_ONCE_MS + 1));
    }
}
