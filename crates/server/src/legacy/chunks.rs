//! How the original packed a chunk: gzip, and over it, where a workspace has a password, AES-128 in ECB mode.
//!
//! There is no mark that tells the two apart, except that what is not encrypted begins as gzip does. What comes out is believed only when
//! it has the hash that its name promises. Only read, never written.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, KeyInit};
use flate2::read::GzDecoder;
use ring::digest::{SHA256, digest};
use stacksync_chunks::original;
use stacksync_core::cut::CHUNK_BYTES_MAX;
use stacksync_core::values::ChunkName;
use std::io::Read;

/// How gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes of a block and of a key.
const BLOCK: usize = 16;

/// Why an object does not give the chunk that its name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not gzip, and there is no password to try.
    #[error("it is encrypted or damaged, and no password is given for its workspace")]
    NoPassword,
    /// The password gives nothing.
    #[error("it is damaged, or the password is another one")]
    WrongPassword,
    /// Not what was compressed.
    #[error("it is damaged")]
    Damaged,
    /// Whole, but other bytes.
    #[error("it holds other bytes than its name says")]
    WrongHash,
    /// Longer than any chunk.
    #[error("it is longer than a chunk can be")]
    TooLong,
}

/// The plain bytes of an object, proven to be those of this name.
///
/// # Errors
/// See [`Unreadable`].
pub fn unpack(name: &ChunkName, object: &[u8], password: Option<&str>) -> Result<Vec<u8>, Unreadable> {
    let plain = match (object.starts_with(&GZIP), password) {
        (true, None) => gunzip(object)?,
        // One in 65,536 that are encrypted begins like this, too.
        (true, Some(password)) => gunzip(object).or_else(|_| gunzip(&decrypt(object, password)?))?,
        (false, Some(password)) => gunzip(&decrypt(object, password)?).map_err(|_| Unreadable::WrongPassword)?,
        (false, None) => return Err(Unreadable::NoPassword),
    };
    if original::proves(name, &plain) { Ok(plain) } else { Err(Unreadable::WrongHash) }
}

fn gunzip(packed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut plain = Vec::new();
    let read = GzDecoder::new(packed).take(CHUNK_BYTES_MAX as u64 + 1).read_to_end(&mut plain);
    match read {
        Err(_) => Err(Unreadable::Damaged),
        Ok(len) if len > CHUNK_BYTES_MAX => Err(Unreadable::TooLong),
        Ok(_) => Ok(plain),
    }
}

/// Without the padding (PKCS #7), which is checked.
fn decrypt(object: &[u8], password: &str) -> Result<Vec<u8>, Unreadable> {
    let key = digest(&SHA256, password.as_bytes());
    let cipher = Aes128::new_from_slice(&key.as_ref()[..BLOCK]).map_err(|_| Unreadable::WrongPassword)?;
    let (blocks, rest) = object.as_chunks::<BLOCK>();
    if !rest.is_empty() || blocks.is_empty() {
        return Err(Unreadable::Damaged);
    }
    let mut plain = Vec::with_capacity(object.len());
    for block in blocks {
        let mut block = Array::from(*block);
        cipher.decrypt_block(&mut block);
        plain.extend_from_slice(&block);
    }
    let padding = usize::from(plain.last().copied().unwrap_or_default());
    let end = plain.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding)).ok_or(Unreadable::WrongPassword)?;
    if plain[end..].iter().any(|byte| usize::from(*byte) != padding) {
        return Err(Unreadable::WrongPassword);
    }
    plain.truncate(end);
    Ok(plain)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `hello world\n`, and how the original's clients stored it, without and with the password `stacksync`.
    pub const DIGITS: &str = "22596363B3DE40B06F981FB85D82312E8C0ED511";
    pub const PLAIN: &[u8] = b"hello world\n";
    const GZIPPED: &str = "1f8b0800000000000000cb48cdc9c95728cf2fca49e102002d3b08af0c000000";
    const ENCRYPTED: &str = "e68787ddc43a08ba6d2aecdee6da403ce0f75823c582ef1098b575518469a889713e08ad0fff43e381a76f0f9c2e044c";

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    pub fn gzipped() -> Vec<u8> {
        bytes(GZIPPED)
    }

    pub fn encrypted() -> Vec<u8> {
        bytes(ENCRYPTED)
    }

    #[test]
    fn what_the_original_stored_is_read() {
        let name = original::chunk_name(&format!("chk-{DIGITS}--5")).unwrap();
        assert_eq!(unpack(&name, &gzipped(), None).unwrap(), PLAIN);
        assert_eq!(unpack(&name, &gzipped(), Some("stacksync")).unwrap(), PLAIN);
        assert_eq!(unpack(&name, &encrypted(), Some("stacksync")).unwrap(), PLAIN);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let name = original::chunk_name(DIGITS).unwrap();
        let other = original::chunk_name(&DIGITS.replace('2', "3")).unwrap();
        let gz = gzipped();
        let mut flipped = gz.clone();
        flipped[14] ^= 1;
        let long = {
            use std::io::Write;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&vec![0; CHUNK_BYTES_MAX + 1]).unwrap();
            encoder.finish().unwrap()
        };
        for (name, object, password, expected) in [
            (&name, encrypted(), None, Unreadable::NoPassword),
            (&name, encrypted(), Some("another"), Unreadable::WrongPassword),
            (&name, encrypted()[..33].to_vec(), Some("stacksync"), Unreadable::Damaged),
            (&name, gz[..gz.len() - 9].to_vec(), None, Unreadable::Damaged),
            (&name, flipped, None, Unreadable::Damaged),
            (&other, gz, None, Unreadable::WrongHash),
            (&name, long, None, Unreadable::TooLong),
            (&name, Vec::new(), None, Unreadable::NoPassword),
            (&name, Vec::new(), Some("x"), Unreadable::Damaged),
        ] {
            assert_eq!(unpack(name, &object, password), Err(expected), "{} bytes, {password:?}", object.len());
        }
    }
}
