//! Join codes and device tokens: random texts of which only a hash is kept. They are never logged.
//!
//! Both hold enough random bits (100 and 256) that a fast hash protects them. The two are hashed under different contexts, so
//! that one is never taken for the other.

use std::fmt;

/// Characters of a join code without the dashes, 5 bits each.
const CODE_CHARACTERS: usize = 20;
/// Crockford's base 32: no letter looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TOKEN_BYTES: usize = 32;

/// The system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct NoRandomness(String);

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
    Ok(bytes)
}

/// A one-time code, in the form in which it is hashed: twenty characters of Crockford's alphabet.
pub struct JoinCode(String);

impl JoinCode {
    /// A random one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random() -> Result<Self, NoRandomness> {
        let bytes = random::<CODE_CHARACTERS>()?;
        Ok(Self(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()))
    }

    /// What somebody typed: case, dashes and blanks do not matter, `O`, `I` and `L` are digits. `None` if it is no code.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 4 * CODE_CHARACTERS {
            return None;
        }
        let plain = text.chars().filter(|letter| !matches!(letter, '-' | ' '));
        let code: String = plain.map(|letter| letter.to_ascii_uppercase()).map(unmistaken).collect();
        let good = code.len() == CODE_CHARACTERS && code.bytes().all(|letter| ALPHABET.contains(&letter));
        good.then_some(Self(code))
    }

    /// What is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key("StackSync 2026 join code", self.0.as_bytes())
    }
}

impl fmt::Display for JoinCode {
    /// For people: four groups of five.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in self.0.chars().enumerate() {
            if index > 0 && index % 5 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

const fn unmistaken(letter: char) -> char {
    match letter {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    }
}

/// What a device shows to be let in: 64 hexadecimal digits.
pub struct Token(String);

impl Token {
    /// A random one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random() -> Result<Self, NoRandomness> {
        let bytes = random::<TOKEN_BYTES>()?;
        Ok(Self(blake3::Hash::from_bytes(bytes).to_hex().to_string()))
    }

    /// What a device sent. `None` if it is no token.
    pub fn parse(text: &str) -> Option<Self> {
        let good = text.len() == 2 * TOKEN_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Self(text.to_owned()))
    }

    /// What is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key("StackSync 2026 device token", self.0.as_bytes())
    }

    /// The text for the device. Goes nowhere else.
    pub fn reveal(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_being_typed() {
        let code = JoinCode::random().unwrap();
        let shown = code.to_string();
        assert_eq!(shown.len(), 23);
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', " "),
            shown.replace('-', "").replace('0', "o").replace('1', "l"),
        ] {
            assert_eq!(JoinCode::parse(&typed).unwrap().hash(), code.hash(), "{typed}");
        }
        for wrong in ["", "ABCDE", "UUUUU-UUUUU-UUUUU-UUUUU", &"A".repeat(1_000_000), "ÄÄÄÄÄÄÄÄÄÄ"] {
            assert!(JoinCode::parse(wrong).is_none());
        }
    }

    #[test]
    fn tokens_and_codes_differ_each_time() {
        assert_ne!(JoinCode::random().unwrap().hash(), JoinCode::random().unwrap().hash());
        let token = Token::random().unwrap();
        assert_ne!(token.hash(), Token::random().unwrap().hash());
        let hash = token.hash();
        assert_eq!(Token::parse(&token.reveal()).unwrap().hash(), hash);
        for wrong in ["", "abc", &"A".repeat(64), &"g".repeat(64)] {
            assert!(Token::parse(wrong).is_none());
        }
    }
}
