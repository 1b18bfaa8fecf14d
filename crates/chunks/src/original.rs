//! Names of chunks that the original StackSync wrote, as names of ours.
//!
//! The original named a chunk by the SHA-1 of its plain bytes and, later, a number of the item: `chk-<40 digits>[-<number>]`. A name of
//! ours has room for all of that, behind a mark. What is stored under such a name is packed as any chunk, and proven by that SHA-1.

use sha1::{Digest, Sha1};
use stacksync_core::values::ChunkName;

/// What a name begins with that stands for one of the original: without a number, and with one of 32 bits.
const MARKS: [[u8; 8]; 2] = [*b"ss-sha1\0", *b"ss-sha1\x01"];
/// The same with a number of 64 bits, which leaves less room for a mark: signed, and of those that only an unsigned one holds.
const LONG_MARKS: [[u8; 4]; 2] = [*b"ssA\x02", *b"ssA\x03"];

/// A name of the original, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    digest: [u8; 20],
    number: Option<i128>,
}

impl Parts {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("chk-").unwrap_or(text);
        let (hex, number) = digits.split_at_checked(40)?;
        let number = match number.strip_prefix('-') {
            None if number.is_empty() => None,
            None => return None,
            Some(number) => Some(number.parse::<i128>().ok()?),
        };
        let mut digest = [0; 20];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self { digest, number })
    }

    fn of(name: &ChunkName) -> Option<Self> {
        let bytes = name.as_bytes();
        let (mark, rest) = bytes.split_first_chunk::<8>()?;
        if let Some(kind) = MARKS.iter().position(|known| known == mark) {
            let (digest, number) = rest.split_first_chunk::<20>()?;
            let number = i128::from(i32::from_be_bytes(*number.first_chunk()?));
            return Some(Self { digest: *digest, number: (kind == 1).then_some(number) });
        }
        let (mark, rest) = bytes.split_first_chunk::<4>()?;
        let (digest, number) = rest.split_first_chunk::<20>()?;
        let number = u64::from_be_bytes(*number.first_chunk()?);
        let number = match LONG_MARKS.iter().position(|known| known == mark)? {
            0 => i128::from(number.cast_signed()),
            _ => i128::from(number),
        };
        Some(Self { digest: *digest, number: Some(number) })
    }

    fn name(self) -> Option<ChunkName> {
        let short = |mark: usize, number: i32| [&MARKS[mark][..], &self.digest, &number.to_be_bytes()].concat();
        let long = |mark: usize, number: u64| [&LONG_MARKS[mark][..], &self.digest, &number.to_be_bytes()].concat();
        let bytes = match self.number {
            None => short(0, 0),
            Some(number) => match (i32::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => short(1, number),
                (_, Ok(number)) => long(0, number.cast_unsigned()),
                _ => long(1, u64::try_from(number).ok()?),
            },
        };
        bytes.try_into().ok().map(ChunkName::from_bytes)
    }
}

/// The name under which a chunk of the original is known here: of `chk-<40 digits>`, `chk-<40 digits>-<number>`, or bare digits.
pub fn chunk_name(text: &str) -> Option<ChunkName> {
    Parts::parse(text)?.name()
}

/// The object that held such a chunk; `None` of any other name.
pub fn object_name(name: &ChunkName) -> Option<String> {
    let Parts { digest, number } = Parts::of(name)?;
    let digits: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Some(match number {
        None => format!("chk-{digits}"),
        Some(number) => format!("chk-{digits}-{number}"),
    })
}

/// Whether these are the plain bytes that the original gave this name. It is no weaker than it ever was: SHA-1.
pub fn proves(name: &ChunkName, plain: &[u8]) -> bool {
    Parts::of(name).is_some_and(|parts| Sha1::digest(plain)[..] == parts.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{Damage, pack, unpack};

    const DIGITS: &str = "22596363B3DE40B06F981FB85D82312E8C0ED511";

    #[test]
    fn names_come_back_whatever_their_number() {
        for number in ["", "-0", "-7", "--123", "--2147483648", "-2147483648", "--9223372036854775808", "-18446744073709551615"] {
            let text = format!("chk-{DIGITS}{number}");
            assert_eq!(object_name(&chunk_name(&text).unwrap()).unwrap(), text);
        }
        assert_eq!(object_name(&chunk_name(&DIGITS.to_lowercase()).unwrap()).unwrap(), format!("chk-{DIGITS}"));
        let wrong = [String::new(), "chk-".into(), format!("{DIGITS}x"), format!("chk-{DIGITS}-"), format!("chk-{DIGITS}-1e9")];
        for text in [&wrong[..], &[format!("chk-{DIGITS}-99999999999999999999"), DIGITS.replace('2', "x")]].concat() {
            assert_eq!(chunk_name(&text), None, "{text}");
        }
        assert_eq!(object_name(&ChunkName::of(b"anything")), None);
    }

    #[test]
    fn what_has_such_a_name_is_proven_by_it() {
        let packed = pack(b"hello world\n").unwrap();
        for text in [DIGITS.to_owned(), format!("chk-{DIGITS}-1"), format!("chk-{DIGITS}--9223372036854775808")] {
            let name = chunk_name(&text).unwrap();
            assert_eq!(unpack(&name, &packed).unwrap(), "hello world\n");
            assert_eq!(unpack(&name, &pack(b"hello world").unwrap()), Err(Damage::WrongHash));
        }
    }
}
