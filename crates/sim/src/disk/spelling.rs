//! Names as a file system takes them: which are the same, how they are shown, and which it refuses.

use super::errno::Errno;
use super::flavour::{Case, Flavour, Forms, Refuses};
use stacksync_core::values::Name;
use unicode_normalization::UnicodeNormalization;

/// Name of the files that hold ignore rules.
pub(super) const RULES_FILE: &str = ".syncignore";

/// Longest name that an encrypting file system takes, in bytes.
const LONG_BYTES_MAX: usize = 143;

impl Flavour {
    /// What two names share exactly if they are one to this file system.
    pub(super) fn key(&self, name: &Name) -> Name {
        let text = name.as_str();
        if (self.case, self.forms) == (Case::Exact, Forms::Exact) {
            return name.clone();
        }
        if text.is_ascii() {
            let same = self.case == Case::Exact || !text.bytes().any(|byte| byte.is_ascii_uppercase());
            return if same { name.clone() } else { or(&text.to_ascii_lowercase(), name) };
        }
        let folded: String = match self.case {
            Case::Exact => text.to_owned(),
            Case::Folding => text.chars().flat_map(char::to_lowercase).collect(),
        };
        match self.forms {
            Forms::Exact => or(&folded, name),
            // Composed, a name is never longer than its file system took it.
            Forms::Blind | Forms::Decomposing => or(&folded.nfc().collect::<String>(), name),
        }
    }

    /// How a new name is stored.
    pub(super) fn stored(&self, name: &Name) -> Result<Name, Errno> {
        self.accepts(name)?;
        match self.forms {
            Forms::Decomposing if !name.as_str().is_ascii() => {
                Name::new(&name.as_str().nfd().collect::<String>()).map_err(|_| Errno::NameTooLong)
            }
            Forms::Decomposing | Forms::Exact | Forms::Blind => Ok(name.clone()),
        }
    }

    /// How a path is shown whose names were made here.
    pub(super) fn spelling(&self, path: &str) -> String {
        match self.forms {
            Forms::Decomposing => path.nfd().collect(),
            Forms::Exact | Forms::Blind => path.to_owned(),
        }
    }

    fn accepts(&self, name: &Name) -> Result<(), Errno> {
        let text = name.as_str();
        match self.refuses {
            Refuses::Nothing => Ok(()),
            Refuses::Long if text.len() > LONG_BYTES_MAX => Err(Errno::NameTooLong),
            Refuses::Long => Ok(()),
            Refuses::Reserved if is_reserved(text) => Err(Errno::Inval),
            Refuses::Reserved => Ok(()),
        }
    }
}

fn or(text: &str, name: &Name) -> Name {
    Name::new(text).unwrap_or_else(|_| name.clone())
}

/// Characters, endings and device names that Windows does not take.
fn is_reserved(text: &str) -> bool {
    let stem = text.split('.').next().unwrap_or(text).trim_end().to_ascii_lowercase();
    let device = matches!(stem.as_str(), "con" | "prn" | "aux" | "nul")
        || (stem.len() == 4 && (stem.starts_with("com") || stem.starts_with("lpt")) && stem.as_bytes()[3].is_ascii_digit());
    device
        || text.ends_with(['.', ' '])
        || text.chars().any(|c| matches!(c, '<' | '>' | ':' | '"' | '\\' | '|' | '?' | '*') || c < ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_file_system_says_which_names_are_one() {
        let same = |flavour: &str, a: &str, b: &str| {
            let flavour: Flavour = flavour.parse().unwrap();
            flavour.key(&name(a)) == flavour.key(&name(b))
        };
        for (flavour, a, b, expected) in [
            ("ordinary", "a", "A", false),
            ("ordinary", "\u{e9}", "e\u{301}", false),
            ("fold", "aB", "Ab", true),
            ("fold", "\u{c9}", "\u{e9}", true),
            ("fold", "\u{e9}", "e\u{301}", false),
            ("nfd", "\u{e9}", "e\u{301}", true),
            ("nfd", "a", "A", false),
            ("blind+fold", "\u{c9}", "e\u{301}", true),
        ] {
            assert_eq!(same(flavour, a, b), expected, "{flavour} {a} {b}");
        }
        let stored = |flavour: &str, text: &str| flavour.parse::<Flavour>().unwrap().stored(&name(text)).map(|n| n.to_string());
        assert_eq!(stored("nfd", "\u{e9}"), Ok("e\u{301}".to_owned()));
        assert_eq!(stored("blind", "\u{e9}"), Ok("\u{e9}".to_owned()));
        assert_eq!(stored("reserved", "con.txt"), Err(Errno::Inval));
        assert_eq!(stored("reserved", "a?"), Err(Errno::Inval));
        assert_eq!(stored("short", &"n".repeat(144)), Err(Errno::NameTooLong));
        assert_eq!(stored("nfd", &"\u{e9}".repeat(127)), Err(Errno::NameTooLong));
    }
}
