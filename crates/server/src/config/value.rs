//! Values of the configuration: sizes, times, addresses, read from text. Knows no keys.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// The largest size: what a signed 64-bit column holds. `unlimited` means it.
pub const SIZE_MAX: u64 = i64::MAX as u64;

const SIZE_UNITS: &[(&str, u64)] = &[
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("", 1),
];

const TIME_UNITS: &[(&str, u64)] = &[("s", 1), ("min", 60), ("h", 3_600), ("d", 86_400), ("", 1)];

/// Reads a number of bytes: `500000`, `64 MiB`, `10GB`, `5G` (of 1024s), `unlimited`.
///
/// # Errors
/// Says what a size looks like.
pub fn size(text: &str) -> Result<u64, String> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(SIZE_MAX);
    }
    scaled(text, SIZE_UNITS)
        .filter(|&bytes| bytes <= SIZE_MAX)
        .ok_or_else(|| format!("'{text}' is not a size; write e.g. 500000, 64 MiB, 10 GB or unlimited"))
}

/// Reads a time of at least one second: `30s`, `15min`, `24h`, `7d`, or bare seconds.
///
/// # Errors
/// Says what a time looks like.
pub fn time(text: &str) -> Result<Duration, String> {
    let seconds = scaled(text, TIME_UNITS).filter(|&seconds| (1..=10 * 366 * 86_400).contains(&seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("'{text}' is not a time; write e.g. 30s, 15min, 24h or 7d"))
}

/// Reads `address:port`, where the address may also be a name.
///
/// # Errors
/// Says what an address looks like.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .ok()
        .or_else(|| text.to_socket_addrs().ok()?.next())
        .ok_or_else(|| format!("'{text}' is not an address and port; write e.g. 127.0.0.1:8181, 0.0.0.0:8181 or [::]:8181"))
}

/// A number of bytes for people.
pub fn show_size(bytes: u64) -> String {
    if bytes == SIZE_MAX {
        return "unlimited".to_owned();
    }
    let (unit, scale) = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|&(_, scale)| bytes >= scale)
        .unwrap_or(("bytes", 1));
    if bytes.is_multiple_of(scale) {
        format!("{} {unit}", bytes / scale)
    } else {
        format!("{:.1} {unit}", bytes as f64 / scale as f64)
    }
}

/// A time for people.
pub fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (unit, scale) = [("day", 86_400), ("hour", 3_600), ("minute", 60)]
        .into_iter()
        .find(|&(_, scale)| seconds > scale && seconds.is_multiple_of(scale))
        .unwrap_or(("second", 1));
    let count = seconds / scale;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("500000", Some(500_000)),
            ("64 MiB", Some(64 << 20)),
            ("10gb", Some(10_000_000_000)),
            ("5G", Some(5 << 30)),
            ("unlimited", Some(SIZE_MAX)),
            ("", None),
            ("-1", None),
            ("1.5 GB", None),
            ("5 X", None),
            ("99999999999 TiB", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
        for (bytes, text) in [(0, "0 bytes"), (1 << 30, "1 GiB"), (1_500, "1.5 KiB"), (SIZE_MAX, "unlimited")] {
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [
            ("5", Some(5)),
            ("30s", Some(30)),
            ("15 min", Some(900)),
            ("24h", Some(86_400)),
            ("0s", None),
            ("1y", None),
            ("é", None),
        ] {
            assert_eq!(time(text).ok().map(|time| time.as_secs()), seconds, "{text}");
        }
        for (seconds, text) in [(86_400, "24 hours"), (3_600, "60 minutes"), (604_800, "7 days"), (1, "1 second")] {
            assert_eq!(show_time(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn addresses() {
        assert!(listen("127.0.0.1:0").is_ok());
        assert!(listen("[::1]:8181").is_ok());
        for text in ["", "8181", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
