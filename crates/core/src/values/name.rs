//! Names of items and paths made of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

/// Longest name, in bytes of UTF-8 (NAME_MAX of the common file systems).
pub const NAME_BYTES_MAX: usize = 255;

/// The name of an item in its folder: 1 to 255 bytes of UTF-8, without `/` and NUL, neither `.` nor `..`.
///
/// Kept byte for byte as the user wrote it; two names clash when their [`NameKey`]s are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The text has more than [`NAME_BYTES_MAX`] bytes.
    #[error("a name cannot be longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// The text holds `/` or NUL.
    #[error("a name cannot contain '/' or NUL")]
    BadCharacter,
    /// The text is `.` or `..`.
    #[error("a name cannot be '.' or '..'")]
    Reserved,
}

impl Name {
    /// Checks the text.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match text {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Reserved),
            _ if text.len() > NAME_BYTES_MAX => Err(NameError::TooLong),
            _ if text.bytes().any(|byte| byte == b'/' || byte == 0) => Err(NameError::BadCharacter),
            _ => Ok(Self(text.into())),
        }
    }

    /// A name that sorts before all others: the start of a range.
    pub(crate) fn smallest() -> Self {
        Self("\u{1}".into())
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What decides whether two names are one and the same on some file system.
    pub fn key(&self) -> NameKey {
        if self.0.is_ascii() {
            let folded = self.0.bytes().all(|byte| !byte.is_ascii_uppercase());
            return NameKey(if folded { Arc::clone(&self.0) } else { self.0.to_ascii_lowercase().into() });
        }
        let folded: String = self.0.nfc().flat_map(char::to_lowercase).nfc().collect();
        NameKey(folded.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// A name with case and Unicode composition folded away: NFC, each character in lower case, NFC again.
///
/// Siblings must differ in it, so that a tree fits on file systems that fold case or composition. The rule is
/// ours and the same on every platform; it never changes a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameKey(Arc<str>);

impl NameKey {
    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The way from the top of a workspace to an item; empty for the top itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemPath(Vec<Name>);

impl ItemPath {
    /// The top of the workspace.
    pub const fn top() -> Self {
        Self(Vec::new())
    }

    /// A path from its names, top first.
    pub const fn from_names(names: Vec<Name>) -> Self {
        Self(names)
    }

    /// Parses `a/b/c`; the empty text is the top.
    ///
    /// # Errors
    /// When one of its parts is not a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Ok(Self::top());
        }
        text.split('/').map(Name::new).collect::<Result<_, _>>().map(Self)
    }

    /// The names, top first.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// Whether this is the top of the workspace.
    pub const fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    /// This path, one name longer.
    #[must_use]
    pub fn join(&self, name: &Name) -> Self {
        let mut names = Vec::with_capacity(self.0.len() + 1);
        names.extend_from_slice(&self.0);
        names.push(name.clone());
        Self(names)
    }

    /// The folder that holds the item and the item's name; `None` for the top.
    pub fn split(&self) -> Option<(Self, &Name)> {
        let (name, folder) = self.0.split_last()?;
        Some((Self(folder.to_vec()), name))
    }
}

impl fmt::Display for ItemPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_every_file_system_here_can_hold() {
        for (text, expected) in [
            ("", Err(NameError::Empty)),
            (".", Err(NameError::Reserved)),
            ("..", Err(NameError::Reserved)),
            ("a/b", Err(NameError::BadCharacter)),
            ("a\0", Err(NameError::BadCharacter)),
            ("...", Ok(())),
            (" ", Ok(())),
            ("é", Ok(())),
        ] {
            assert_eq!(Name::new(text).map(|_| ()), expected, "{text:?}");
        }
        assert!(Name::new(&"x".repeat(255)).is_ok());
        assert_eq!(Name::new(&"x".repeat(256)), Err(NameError::TooLong));
    }

    #[test]
    fn keys_fold_case_and_composition() {
        let key = |text: &str| Name::new(text).unwrap().key();
        assert_eq!(key("README"), key("readme"));
        assert_eq!(key("\u{e9}"), key("e\u{301}"));
        assert_eq!(key("\u{c9}"), key("e\u{301}"));
        assert_ne!(key("a"), key("b"));
    }
}
