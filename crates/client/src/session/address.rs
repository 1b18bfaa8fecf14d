//! Where the service is, and how a join code is written.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Address of a service: `http://HOST[:PORT]` or `https://HOST[:PORT]`, nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    encrypted: bool,
    host: String,
    port: u16,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("'{0}' is not an address: it must begin with http:// or https://")]
    Scheme(String),
    /// A host or port that cannot be.
    #[error("'{0}' names no host, or a port that is not a number between 1 and 65535")]
    Host(String),
    /// A path, a user, a question.
    #[error("'{0}' has something behind host and port; the service's address ends there")]
    Extra(String),
}

impl Address {
    /// Whether the connection is encrypted.
    pub const fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// Name or number of the host; numbers of IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether what is sent there never leaves this computer.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Host and port as they stand in an address and in the `Host` header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.encrypted { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.encrypted { "https" } else { "http" }, self.authority())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (encrypted, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) | None => return Err(AddressError::Scheme(text.to_owned())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(AddressError::Extra(text.to_owned()));
        }
        let bad = || AddressError::Host(text.to_owned());
        let (host, port) = split_port(rest).ok_or_else(bad)?;
        let port = match port {
            Some(port) => port.parse::<u16>().ok().filter(|&port| port > 0).ok_or_else(bad)?,
            None if encrypted => 443,
            None => 80,
        };
        Ok(Self { encrypted, host: host.to_ascii_lowercase(), port })
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        match behind {
            "" => (host, None),
            _ => (host, Some(behind.strip_prefix(':')?)),
        }
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !host.bytes().all(plain) {
            return None;
        }
        (host, port)
    };
    (!host.is_empty()).then_some((host, port))
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = JoinCodeError;

    fn from_str(text: &str) -> Result<Self, JoinCodeError> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return Err(JoinCodeError::Fingerprint);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(JoinCodeError::Fingerprint);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}

/// `CODE` or `CODE.FINGERPRINT`, as the service's commands print it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinCode {
    /// The one-time code.
    pub code: String,
    /// The service's own certificate, where it made one.
    pub fingerprint: Option<Fingerprint>,
}

/// Why a text is not a join code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinCodeError {
    /// Nothing, or characters that no code has.
    #[error("this is not a join code")]
    Code,
    /// What stands behind the point is not a fingerprint.
    #[error("the part of the join code behind the point must be 64 hexadecimal digits; was it copied whole?")]
    Fingerprint,
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;

    fn from_str(text: &str) -> Result<Self, JoinCodeError> {
        let text = text.trim();
        let (code, fingerprint) = match text.split_once('.') {
            Some((code, fingerprint)) => (code, Some(fingerprint.parse()?)),
            None => (text, None),
        };
        if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(JoinCodeError::Code);
        }
        Ok(Self { code: code.to_owned(), fingerprint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown, loopback) in [
            ("http://localhost:8181", "http://localhost:8181", true),
            ("HTTP://127.0.0.1", "http://127.0.0.1", true),
            ("https://Cloud.Example.ORG/", "https://cloud.example.org", false),
            ("https://cloud.example.org:443", "https://cloud.example.org", false),
            ("https://192.168.0.3:8181", "https://192.168.0.3:8181", false),
            ("http://[::1]:81", "http://[::1]:81", true),
            ("https://[fe80::1]", "https://[fe80::1]", false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_loopback()), (shown, loopback), "{text}");
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for text in ["", "localhost:8181", "ftp://a"] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Scheme(_))), "{text}");
        }
        for text in
            ["http://", "http://:80", "http://a:0", "http://a:99999", "http://a:b", "http://[::1", "http://[x]", "http://a b"]
        {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Host(_))), "{text}");
        }
        for text in ["http://a/b", "http://a?b", "http://user@a", "http://a//"] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Extra(_))), "{text}");
        }
    }

    #[test]
    fn join_codes_may_carry_a_fingerprint() {
        let print = Fingerprint::of(b"certificate");
        let code: JoinCode = " ABCD-EFGH\n".parse().unwrap();
        assert_eq!((code.code.as_str(), code.fingerprint), ("ABCD-EFGH", None));
        let code: JoinCode = format!("ABCD.{print}").parse().unwrap();
        assert_eq!((code.code.as_str(), code.fingerprint), ("ABCD", Some(print)));
        assert_eq!("".parse::<JoinCode>().err(), Some(JoinCodeError::Code));
        assert_eq!("A B".parse::<JoinCode>().err(), Some(JoinCodeError::Code));
        assert_eq!("ABCD.12".parse::<JoinCode>().err(), Some(JoinCodeError::Fingerprint));
        assert_eq!(format!("ABCD.{}", "é".repeat(32)).parse::<JoinCode>().err(), Some(JoinCodeError::Fingerprint));
    }

    #[test]
    fn a_fingerprint_is_the_sha_256_of_the_certificate() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Fingerprint::of(b"abc").to_string(), text);
        assert_eq!(text.parse(), Ok(Fingerprint::of(b"abc")));
    }
}
