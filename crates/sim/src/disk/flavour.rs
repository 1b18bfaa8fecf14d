//! What kind of file system a laptop has: names, times, identities, renames, and what survives a loss of power.

use crate::random::Random;
use std::fmt;
use std::str::FromStr;

/// Which of two names are one and the same, as to case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// `a` and `A` are two names.
    #[default]
    Exact,
    /// `a` and `A` are one name; it is shown as it was written first.
    Folding,
}

/// The same, as to Unicode composition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forms {
    /// Composed and decomposed are two names.
    #[default]
    Exact,
    /// One name; it is shown as it was written first.
    Blind,
    /// One name; it is stored, and shown, decomposed.
    Decomposing,
}

/// How fine the times of files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// A clock that ticks every 4 ms; times that are set are kept to the nanosecond.
    #[default]
    Tick,
    /// Each change has a time of its own.
    Fine,
    /// Whole seconds.
    Second,
    /// Even seconds.
    TwoSeconds,
}

impl Times {
    /// What a time that is set becomes, in nanoseconds.
    pub const fn kept(self, ns: i64) -> i64 {
        match self {
            Self::Tick | Self::Fine => ns,
            Self::Second => ns - ns.rem_euclid(1_000_000_000),
            Self::TwoSeconds => ns - ns.rem_euclid(2_000_000_000),
        }
    }

    /// What a change at this moment is stamped with.
    pub const fn stamp(self, ns: i64) -> i64 {
        match self {
            Self::Fine => ns,
            Self::Tick => ns - ns.rem_euclid(4_000_000),
            Self::Second | Self::TwoSeconds => self.kept(ns),
        }
    }
}

/// Whether the file system tells when a file was born.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Births {
    /// It does.
    #[default]
    Known,
    /// It does not.
    Unknown,
}

/// What becomes of the inode number of a deleted file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inodes {
    /// The next new file gets it.
    #[default]
    Reused,
    /// Nothing.
    Fresh,
}

/// What renames the file system can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renames {
    /// Renames that do not replace, and exchanges.
    #[default]
    Flagged,
    /// Only plain ones.
    Plain,
}

/// Where the client's own folders are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Home {
    /// On the file system of the synced folder.
    #[default]
    Same,
    /// On another one.
    Other,
}

/// In which order changes of names reach the medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Journal {
    /// All in the order in which they were made; one `fsync` takes all earlier ones along.
    #[default]
    Ordered,
    /// Each folder on its own, as POSIX has it; only a rename is whole.
    Loose,
}

/// Names that the file system does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refuses {
    /// It takes all.
    #[default]
    Nothing,
    /// Those that Windows reserves.
    Reserved,
    /// Those of more than 143 bytes, as encrypting file systems.
    Long,
}

/// One file system. The default is an ordinary one of Linux.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flavour {
    /// Case of names.
    pub case: Case,
    /// Composition of names.
    pub forms: Forms,
    /// Times.
    pub times: Times,
    /// Birth times.
    pub births: Births,
    /// Inode numbers.
    pub inodes: Inodes,
    /// Renames.
    pub renames: Renames,
    /// The client's own folders.
    pub home: Home,
    /// Durability of names.
    pub journal: Journal,
    /// Names that it refuses.
    pub refuses: Refuses,
}

impl Flavour {
    /// Half of all are ordinary; in the others each property is unusual at times.
    pub fn draw(random: &mut Random) -> Self {
        let mut flavour = Self::default();
        if random.one_in(2) {
            return flavour;
        }
        let all: Vec<&str> = WORDS.iter().map(|(word, _)| *word).filter(|_| random.one_in(4)).collect();
        for word in all {
            flavour.set(word);
        }
        flavour
    }

    fn set(&mut self, word: &str) -> bool {
        let found = WORDS.iter().find(|(known, _)| *known == word);
        if let Some((_, apply)) = found {
            apply(self);
        }
        found.is_some()
    }
}

type Word = (&'static str, fn(&mut Flavour));

/// The unusual properties by name; later ones overrule earlier ones of the same kind.
const WORDS: [Word; 13] = [
    ("fold", |flavour| flavour.case = Case::Folding),
    ("blind", |flavour| flavour.forms = Forms::Blind),
    ("nfd", |flavour| flavour.forms = Forms::Decomposing),
    ("fine", |flavour| flavour.times = Times::Fine),
    ("1s", |flavour| flavour.times = Times::Second),
    ("2s", |flavour| flavour.times = Times::TwoSeconds),
    ("unborn", |flavour| flavour.births = Births::Unknown),
    ("fresh", |flavour| flavour.inodes = Inodes::Fresh),
    ("plain", |flavour| flavour.renames = Renames::Plain),
    ("away", |flavour| flavour.home = Home::Other),
    ("loose", |flavour| flavour.journal = Journal::Loose),
    ("reserved", |flavour| flavour.refuses = Refuses::Reserved),
    ("short", |flavour| flavour.refuses = Refuses::Long),
];

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = |apply: fn(&mut Self)| {
            let mut with = *self;
            apply(&mut with);
            with == *self
        };
        let words: Vec<&str> = WORDS.iter().filter(|(_, apply)| holds(*apply)).map(|(word, _)| *word).collect();
        f.write_str(&if words.is_empty() { "ordinary".to_owned() } else { words.join("+") })
    }
}

/// No such property of a file system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no property of a file system")]
pub struct FlavourError(String);

impl FromStr for Flavour {
    type Err = FlavourError;

    fn from_str(text: &str) -> Result<Self, FlavourError> {
        let mut flavour = Self::default();
        for word in text.split('+').filter(|word| *word != "ordinary") {
            if !flavour.set(word) {
                return Err(FlavourError(word.to_owned()));
            }
        }
        Ok(flavour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flavour_is_read_back_as_it_was_shown() {
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..500 {
            let flavour = Flavour::draw(&mut Random::stream(1, "flavour", index));
            let text = flavour.to_string();
            assert_eq!(text.parse(), Ok(flavour), "{text}");
            seen.extend(text.split('+').map(str::to_owned));
        }
        assert_eq!(seen.len(), WORDS.len() + 1, "{seen:?}");
        assert_eq!("ordinary".parse(), Ok(Flavour::default()));
        assert!("fat".parse::<Flavour>().is_err());
    }
}
