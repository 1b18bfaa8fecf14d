//! Random numbers that a seed repeats (SplitMix64). For test data only.

/// A generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator from `E2E_SEED`, or from the operating system; the seed is printed so that the run can be repeated.
    pub fn from_environment(story: &str) -> Self {
        let seed = std::env::var("E2E_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
            u64::from_le_bytes(bytes)
        });
        println!("{story}: E2E_SEED={seed}");
        Self::new(seed)
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub const fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// So many bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// So many bytes of text, which compresses. The first ones make it unlike any other.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        const WORDS: [&str; 8] = ["folder ", "device ", "chunk ", "version\n", "notice ", "commit ", "head ", "plan\n"];
        let mut bytes = format!("{:016x}\n", self.next()).into_bytes();
        while bytes.len() < len {
            bytes.extend_from_slice(self.pick(&WORDS).as_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}
