//! Passwords: argon2id, kept in PHC form. They are never logged.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};

/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Memory of one hash in KiB, and passes: OWASP's recommendation for argon2id.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Nothing was given.
    #[error("the password is empty")]
    Empty,
    /// Longer than [`PASSWORD_BYTES_MAX`].
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// The hash function failed.
    #[error("cannot hash the password: {0}")]
    Hash(String),
}

/// The argon2id hash of a password with a random salt, in PHC form. Takes tens of milliseconds and 19 MiB.
///
/// # Errors
/// See [`PasswordError`].
pub fn hash(password: &str) -> Result<String, PasswordError> {
    match password.len() {
        0 => return Err(PasswordError::Empty),
        length if length > PASSWORD_BYTES_MAX => return Err(PasswordError::TooLong),
        _ => {}
    }
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| PasswordError::Hash(error.to_string()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|error| PasswordError::Hash(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier;

    #[test]
    fn a_hash_fits_its_password_only() {
        let phc = hash("correct horse").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, hash("correct horse").unwrap());
        let parsed = argon2::password_hash::phc::PasswordHash::new(&phc).unwrap();
        assert!(Argon2::default().verify_password(b"correct horse", &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"battery staple", &parsed).is_err());
    }

    #[test]
    fn limits() {
        assert!(matches!(hash(""), Err(PasswordError::Empty)));
        assert!(matches!(hash(&"x".repeat(1_025)), Err(PasswordError::TooLong)));
    }
}
