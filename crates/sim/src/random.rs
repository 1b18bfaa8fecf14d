//! Random numbers out of a seed: SplitMix64 (Steele, Lea and Flood 2014), in independent streams, so that what one part of the world
//! draws does not change what another one draws.

/// A deterministic source of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The numbers of one part of a world: independent of those of any other name or index.
    pub fn stream(seed: u64, name: &str, index: u64) -> Self {
        let mut state = Self(seed ^ 0x5353_6d64_0000_0000);
        for byte in name.bytes() {
            state.0 = state.next() ^ u64::from(byte);
        }
        state.0 = state.next() ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self(state.next())
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "a number, never the end of an iteration")]
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub const fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True once in `n` times; never if `n` is 0.
    pub const fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.next().is_multiple_of(n)
    }

    /// True with a chance of so many in 10,000.
    pub const fn chance(&mut self, per_ten_thousand: u16) -> bool {
        per_ten_thousand > 0 && self.next() % 10_000 < per_ten_thousand as u64
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ() {
        let first = |name, index| Random::stream(7, name, index).next();
        let all = std::collections::BTreeSet::from([first("a", 0), first("a", 1), first("b", 0), Random::new(7).next()]);
        assert_eq!((all.len(), first("a", 1)), (4, first("a", 1)));
    }
}
