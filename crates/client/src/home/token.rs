//! The device's token: the only secret of a device. In a file that only its owner can read, wiped from memory when dropped, never logged.

use super::{HomeError, failed};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the device shows to the service with every connection.
#[derive(Clone)]
pub struct Token(Arc<Zeroizing<String>>);

impl Token {
    /// Takes the text over.
    pub fn new(secret: String) -> Self {
        Self(Arc::new(Zeroizing::new(secret)))
    }

    /// The text, to be sent and not to be kept.
    pub fn secret(&self) -> &str {
        &self.0
    }

    pub(super) fn read(file: &Path) -> Result<Self, HomeError> {
        let text = Zeroizing::new(std::fs::read_to_string(file).map_err(failed("read", file))?);
        let secret = text.trim();
        // It goes into a header line as it is.
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HomeError::Damaged { file: file.to_owned(), problem: "no token in it".into() });
        }
        Ok(Self::new(secret.to_owned()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(...)")
    }
}
