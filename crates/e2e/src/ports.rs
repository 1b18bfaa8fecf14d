//! Ports for what is ended and started again under the same address.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// The first of so many free ports (40 at most) that the system gives to nobody by itself, other ones for each process and call.
///
/// # Panics
/// If there are none.
pub fn below_ephemeral(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..500 {
        let number = std::process::id().wrapping_mul(7).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 275;
        let port = 20_000 + number as u16 * 40;
        if (port..port + count).all(is_free) {
            return port;
        }
    }
    panic!("there are no free ports");
}
