//! Attempts to guess: how many may fail, per address and together. Successful attempts are not counted.
//!
//! Holds a bounded number of addresses and no clock: time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Attempts that one address may have open or failed before it must wait.
const ADDRESS_BURST: f64 = 100.0;
/// Failed attempts that one address is forgiven per minute.
const ADDRESS_PER_MINUTE: f64 = 20.0;
/// The same for all addresses together.
const ALL_BURST: f64 = 1_000.0;
const ALL_PER_MINUTE: f64 = 500.0;
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// A bucket that fills with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    seen: Instant,
}

impl Bucket {
    const fn full(burst: f64, now: Instant) -> Self {
        Self { left: burst, seen: now }
    }

    fn fill(&mut self, burst: f64, per_minute: f64, now: Instant) {
        let minutes = now.saturating_duration_since(self.seen).as_secs_f64() / 60.0;
        self.left = (self.left + minutes * per_minute).min(burst);
        self.seen = now;
    }
}

/// Who has failed how often lately.
#[derive(Debug)]
pub struct Attempts {
    all: Bucket,
    addresses: HashMap<IpAddr, Bucket>,
}

/// Too many attempts failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// When one more may be made.
    pub retry_after: Duration,
}

impl Attempts {
    /// Nobody has failed yet.
    pub fn new(now: Instant) -> Self {
        Self { all: Bucket::full(ALL_BURST, now), addresses: HashMap::new() }
    }

    /// Counts an attempt from this address, which is taken to fail until [`Attempts::succeeded`] is called.
    ///
    /// # Errors
    /// [`TooMany`]: the attempt must not be made.
    pub fn begin(&mut self, from: IpAddr, now: Instant) -> Result<(), TooMany> {
        self.all.fill(ALL_BURST, ALL_PER_MINUTE, now);
        if self.addresses.len() >= ADDRESSES_MAX {
            self.forget(now);
        }
        let address = self.addresses.entry(site(from)).or_insert(Bucket::full(ADDRESS_BURST, now));
        address.fill(ADDRESS_BURST, ADDRESS_PER_MINUTE, now);
        if address.left < 1.0 || self.all.left < 1.0 {
            return Err(TooMany { retry_after: Duration::from_secs_f64(60.0 / ADDRESS_PER_MINUTE) });
        }
        address.left -= 1.0;
        self.all.left -= 1.0;
        Ok(())
    }

    /// The attempt was none to guess.
    pub fn succeeded(&mut self, from: IpAddr) {
        self.all.left = (self.all.left + 1.0).min(ALL_BURST);
        if let Some(address) = self.addresses.get_mut(&site(from)) {
            address.left = (address.left + 1.0).min(ADDRESS_BURST);
        }
    }

    /// Forgets whoever has been forgiven everything; if that frees nothing, everybody: the common limit holds.
    fn forget(&mut self, now: Instant) {
        self.addresses.retain(|_, bucket| {
            bucket.fill(ADDRESS_BURST, ADDRESS_PER_MINUTE, now);
            bucket.left < ADDRESS_BURST
        });
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.clear();
        }
    }
}

/// An IPv6 customer owns a whole /64.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const BERT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn whoever_fails_too_often_waits_and_nobody_else() {
        let start = Instant::now();
        let mut attempts = Attempts::new(start);
        for _ in 0..100 {
            attempts.begin(ANNA, start).unwrap();
        }
        let refused = attempts.begin(ANNA, start).unwrap_err();
        attempts.begin(BERT, start).unwrap();
        attempts.begin(ANNA, start + refused.retry_after).unwrap();
        assert!(attempts.begin(ANNA, start + refused.retry_after).is_err());
    }

    #[test]
    fn success_costs_nothing() {
        let start = Instant::now();
        let mut attempts = Attempts::new(start);
        for _ in 0..5_000 {
            attempts.begin(ANNA, start).unwrap();
            attempts.succeeded(ANNA);
        }
    }

    #[test]
    fn many_addresses_share_a_limit_and_a_bounded_memory() {
        let start = Instant::now();
        let mut attempts = Attempts::new(start);
        let passed = (0..50_000_u32).filter(|&n| attempts.begin(IpAddr::V4(n.into()), start).is_ok()).count();
        assert_eq!(passed, 1_000);
        assert!(attempts.addresses.len() <= ADDRESSES_MAX);
        let network = |n: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | n).into());
        assert_eq!(site(network(1)), site(network(2)));
    }
}
