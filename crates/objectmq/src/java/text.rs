//! Java's "modified UTF-8": UTF-16 units encoded one by one, so that a character beyond U+FFFF is two times three bytes and NUL is two.

use std::fmt::Write;

/// Reads it. Half a character (a lone surrogate, which Java strings may hold and text may not) becomes U+FFFD. `None` if the bytes are
/// not modified UTF-8.
pub fn decode(bytes: &[u8]) -> Option<String> {
    if bytes.is_ascii() {
        // NUL as a single byte is read by Java, too.
        return std::str::from_utf8(bytes).ok().map(str::to_owned);
    }
    let mut text = String::with_capacity(bytes.len());
    for character in char::decode_utf16(Units(bytes)) {
        text.write_char(character.unwrap_or(char::REPLACEMENT_CHARACTER)).ok()?;
    }
    // What could not be read ended the units early: then the lengths cannot agree.
    let mut units = Units(bytes);
    units.by_ref().for_each(drop);
    units.0.is_empty().then_some(text)
}

/// The UTF-16 units of modified UTF-8; ends at the first error, with the rest left.
struct Units<'a>(&'a [u8]);

impl Iterator for Units<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let follows = |byte: u8| byte & 0xc0 == 0x80;
        let bits = |byte: u8, mask: u8| u16::from(byte & mask);
        let (unit, rest) = match *self.0 {
            [one, ref rest @ ..] if one < 0x80 => (u16::from(one), rest),
            [one, two, ref rest @ ..] if one & 0xe0 == 0xc0 && follows(two) => (bits(one, 0x1f) << 6 | bits(two, 0x3f), rest),
            [one, two, three, ref rest @ ..] if one & 0xf0 == 0xe0 && follows(two) && follows(three) => {
                (bits(one, 0x0f) << 12 | bits(two, 0x3f) << 6 | bits(three, 0x3f), rest)
            }
            _ => return None,
        };
        self.0 = rest;
        Some(unit)
    }
}

/// Writes it.
pub fn encode(text: &str) -> Vec<u8> {
    if text.bytes().all(|byte| (1..0x80).contains(&byte)) {
        return text.as_bytes().to_vec();
    }
    let mut bytes = Vec::with_capacity(text.len() + text.len() / 2);
    for unit in text.encode_utf16() {
        let low = 0x80 | (unit & 0x3f) as u8;
        match unit {
            1..0x80 => bytes.push(unit as u8),
            0 | 0x80..0x800 => bytes.extend([0xc0 | (unit >> 6) as u8, low]),
            0x800.. => bytes.extend([0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, low]),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_written_as_java_writes_it() {
        let table: &[(&str, &[u8])] = &[
            ("", b""),
            ("plain", b"plain"),
            ("a\0b", b"a\xc0\x80b"),
            ("é", b"\xc3\xa9"),
            ("中", b"\xe4\xb8\xad"),
            ("😀", b"\xed\xa0\xbd\xed\xb8\x80"),
        ];
        for (text, bytes) in table {
            assert_eq!(encode(text), *bytes, "{text:?}");
            assert_eq!(decode(bytes).as_deref(), Some(*text), "{text:?}");
        }
        assert_eq!(decode(b"a\0b").as_deref(), Some("a\0b"));
        assert_eq!(decode(b"a\xed\xa0\xbdb").as_deref(), Some("a\u{fffd}b"), "half a character");
        for wrong in [&b"\x80"[..], b"\xc3", b"\xc3a", b"\xe4\xb8", b"\xff", b"\xf0\x9f\x98\x80", b"good\xc3"] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_survives(text: String) {
            proptest::prop_assert_eq!(decode(&encode(&text)), Some(text));
        }
    }
}
