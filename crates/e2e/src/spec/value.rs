//! Contents that tell which one they are: a file that holds anything else was torn, mixed or made up by the tool.

use crate::random::Random;

/// Which content. Each is written once in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u32);

const BYTES_MAX: usize = 4_000;

impl Value {
    /// The bytes.
    pub fn bytes(self) -> Vec<u8> {
        let mut random = Random::new(u64::from(self.0));
        let mut bytes = format!("value {}\n", self.0).into_bytes();
        let len = random.below(BYTES_MAX);
        bytes.extend(random.bytes(len));
        bytes
    }

    /// The value with exactly these bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let line = bytes.split(|byte| *byte == b'\n').next()?;
        let number = std::str::from_utf8(line).ok()?.strip_prefix("value ")?.parse().ok()?;
        Some(Self(number)).filter(|value| value.bytes() == bytes)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_contents_are_values() {
        let bytes = Value(7).bytes();
        assert_eq!(Value::of(&bytes), Some(Value(7)));
        assert_eq!(Value::of(&bytes[..bytes.len() - 1]), None, "torn");
        assert_eq!(Value::of(&[bytes, Value(8).bytes()].concat()), None, "mixed");
        assert_eq!(Value::of(b"something else"), None);
    }
}
