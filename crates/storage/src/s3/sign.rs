//! Signatures of S3, version 4 (`AWS4-HMAC-SHA256`), in headers and in addresses.
//!
//! The form is described in Amazon's "Signature Version 4 signing process"; the tests have the examples of that description.

use crate::digest::{hex, hmac_sha256, sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The hash of a body that is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// Longest life of a signed address, in seconds.
pub const LIFETIME_MAX: u64 = 7 * 24 * 3600;

/// Who signs.
#[derive(Clone)]
pub struct Keys {
    /// Access key: a name.
    pub access: String,
    /// Secret key.
    pub secret: Zeroizing<String>,
    /// Session token, with keys for a limited time.
    pub token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.access)
    }
}

/// What is signed. Queries and headers in any order, header names in lower case; `host` is among the headers.
pub struct Subject<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path, not encoded.
    pub path: &'a str,
    /// Query, not encoded.
    pub query: Vec<(String, String)>,
    /// Headers that are part of the signature.
    pub headers: Vec<(String, String)>,
}

/// Signs for one region.
#[derive(Clone, Debug)]
pub struct Signer {
    /// With these.
    pub keys: Keys,
    /// For this region.
    pub region: String,
}

/// A time as signatures write it.
struct Moment {
    day: String,
    time: String,
}

impl Moment {
    fn new(seconds: i64) -> Self {
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let day = format!("{:04}{:02}{:02}", at.year(), u8::from(at.month()), at.day());
        let time = format!("{day}T{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second());
        Self { day, time }
    }
}

impl Signer {
    /// The headers to send besides those of the subject; `now` in seconds since 1970.
    pub fn headers(&self, mut subject: Subject<'_>, body_hash: &str, now: i64) -> Vec<(String, String)> {
        let moment = Moment::new(now);
        let mut added =
            vec![("x-amz-content-sha256".to_owned(), body_hash.to_owned()), ("x-amz-date".to_owned(), moment.time.clone())];
        if let Some(token) = &self.keys.token {
            added.push(("x-amz-security-token".to_owned(), token.to_string()));
        }
        subject.headers.extend(added.iter().cloned());
        let (signed, signature) = self.signature(&mut subject, body_hash, &moment);
        let credential = format!("{}/{}", self.keys.access, self.scope(&moment));
        let value = format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={signed},Signature={signature}");
        added.push(("authorization".to_owned(), value));
        added
    }

    /// The query that makes an address valid for so many seconds; the body is not signed.
    pub fn query(&self, mut subject: Subject<'_>, lifetime: u64, now: i64) -> String {
        let moment = Moment::new(now);
        sort(&mut subject.headers);
        let mut add = |name: &str, value: String| subject.query.push((name.to_owned(), value));
        add("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned());
        add("X-Amz-Credential", format!("{}/{}", self.keys.access, self.scope(&moment)));
        add("X-Amz-Date", moment.time.clone());
        add("X-Amz-Expires", lifetime.clamp(1, LIFETIME_MAX).to_string());
        if let Some(token) = &self.keys.token {
            add("X-Amz-Security-Token", token.to_string());
        }
        let signed = names(&subject.headers);
        subject.query.push(("X-Amz-SignedHeaders".to_owned(), signed));
        let (_, signature) = self.signature(&mut subject, UNSIGNED, &moment);
        format!("{}&X-Amz-Signature={signature}", query(&mut subject.query))
    }

    fn scope(&self, moment: &Moment) -> String {
        format!("{}/{}/s3/aws4_request", moment.day, self.region)
    }

    /// The names of the signed headers, and the signature.
    fn signature(&self, subject: &mut Subject<'_>, body_hash: &str, moment: &Moment) -> (String, String) {
        sort(&mut subject.headers);
        let signed = names(&subject.headers);
        let headers: String = subject.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let (path, query) = (encode(subject.path, Slash::Kept), query(&mut subject.query));
        let request = format!("{}\n{path}\n{query}\n{headers}\n{signed}\n{body_hash}", subject.method);
        let digest = hex(sha256(request.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{}\n{}\n{digest}", moment.time, self.scope(moment));
        let secret = Zeroizing::new(format!("AWS4{}", *self.keys.secret));
        let mut key = hmac_sha256(secret.as_bytes(), moment.day.as_bytes());
        for part in [&self.region, "s3", "aws4_request"] {
            key = hmac_sha256(key.as_ref(), part.as_bytes());
        }
        (signed, hex(hmac_sha256(key.as_ref(), text.as_bytes()).as_ref()))
    }
}

fn sort(headers: &mut [(String, String)]) {
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
}

fn names(headers: &[(String, String)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

/// The query of an address, in the order and form that is signed.
pub fn query(parts: &mut [(String, String)]) -> String {
    parts.sort();
    let encoded = parts.iter().map(|(name, value)| format!("{}={}", encode(name, Slash::Encoded), encode(value, Slash::Encoded)));
    encoded.collect::<Vec<_>>().join("&")
}

/// What becomes of a slash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Slash {
    /// In paths.
    Kept,
    /// In queries.
    Encoded,
}

/// Percent-encoding of everything but letters, digits and `-._~`.
pub fn encode(text: &str, slash: Slash) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            b'/' if slash == Slash::Kept => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2013-05-24T00:00:00Z, as in the examples.
    const NOW: i64 = 1_369_353_600;
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signer() -> Signer {
        let secret = Zeroizing::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let keys = Keys { access: "AKIAIOSFODNN7EXAMPLE".to_owned(), secret, token: None };
        Signer { keys, region: "us-east-1".to_owned() }
    }

    fn subject<'a>(path: &'a str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Subject<'a> {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        let mut headers = owned(headers);
        headers.push(("host".to_owned(), "examplebucket.s3.amazonaws.com".to_owned()));
        Subject { method: "GET", path, query: owned(query), headers }
    }

    fn signature(headers: &[(String, String)]) -> &str {
        headers.last().unwrap().1.split_once("Signature=").unwrap().1
    }

    #[test]
    fn an_object_as_in_the_description() {
        let headers = signer().headers(subject("/test.txt", &[], &[("range", "bytes=0-9")]), EMPTY, NOW);
        assert_eq!(signature(&headers), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn a_listing_as_in_the_description() {
        let headers = signer().headers(subject("/", &[("max-keys", "2"), ("prefix", "J")], &[]), EMPTY, NOW);
        assert_eq!(signature(&headers), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn an_address_as_in_the_description() {
        let query = signer().query(subject("/test.txt", &[], &[]), 86_400, NOW);
        assert!(query.ends_with("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"), "{query}");
    }

    #[test]
    fn what_is_not_plain_is_encoded() {
        assert_eq!(encode("a b/ä~", Slash::Kept), "a%20b/%C3%A4~");
        assert_eq!(encode("a/b", Slash::Encoded), "a%2Fb");
    }
}
