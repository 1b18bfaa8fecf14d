//! Names that people give: a few that all share, so that they meet, and some that make trouble.

use crate::random::Random;
use stacksync_core::values::Name;
use unicode_normalization::UnicodeNormalization;

/// Names that everybody uses.
const SHARED: [&str; 12] =
    ["a", "b", "c", "d", "docs", "photos", "notes.txt", "report.txt", "run.sh", "x.tar.gz", "caf\u{e9}", ".config"];
/// Names that some file systems refuse, or change, or that programs make for themselves.
const ODD: [&str; 12] = [
    "CON",
    "aux.txt",
    "what?",
    "a:b",
    "trailing.",
    "trailing ",
    "-rf",
    "line\nbreak",
    "back\\slash",
    "\u{1f600} \u{212b}ngstr\u{f6}m",
    "\u{130}stanbul \u{df}",
    "...",
];
/// What the built-in rules ignore.
const IGNORED: [&str; 4] = [".DS_Store", "notes.txt.swp", "~$report.txt", "desktop.ini"];

/// Mostly a shared name, at times one of its own.
pub(super) fn usual(random: &mut Random, step: u64) -> Option<Name> {
    match random.below(8) {
        0..=5 => random.pick(&SHARED)?.parse().ok(),
        _ => format!("new-{}", step % 10_000).parse().ok(),
    }
}

pub(super) fn odd(random: &mut Random) -> Option<Name> {
    match random.below(ODD.len() + 2) {
        0 => "n".repeat(255).parse().ok(),
        1 => "\u{fc}".repeat(100).parse().ok(),
        other => ODD.get(other - 2)?.parse().ok(),
    }
}

pub(super) fn ignored(random: &mut Random) -> Option<Name> {
    random.pick(&IGNORED)?.parse().ok()
}

/// The same name in other case; `None` if it has none.
pub(super) fn other_case(name: &Name) -> Option<Name> {
    let text = name.as_str();
    let upper = text.to_uppercase();
    let other = if upper == text { text.to_lowercase() } else { upper };
    Name::new(&other).ok().filter(|other| other != name)
}

/// The same name in the other Unicode form; `None` if both are the same.
pub(super) fn other_form(name: &Name) -> Option<Name> {
    let text = name.as_str();
    let decomposed: String = text.nfd().collect();
    let other = if decomposed == text { text.nfc().collect() } else { decomposed };
    Name::new(&other).ok().filter(|other| other != name)
}
