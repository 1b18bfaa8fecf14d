//! Names that the engine gives to files, and the ids it mints.

use crate::values::{CommitId, ItemId, NAME_BYTES_MAX, Name};

/// Longest device name inside a conflict name, in bytes.
const DEVICE_BYTES_MAX: usize = 60;

/// Random numbers out of a seed: BLAKE3 as an extendable-output function. The seed comes from outside.
#[derive(Clone, Debug)]
pub struct Mint {
    seed: [u8; 32],
    count: u64,
}

impl Mint {
    /// Equal seeds give equal sequences.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, count: 0 }
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.count += 1;
        *blake3::keyed_hash(&self.seed, &self.count.to_le_bytes()).as_bytes()
    }

    /// A fresh item id.
    pub fn item_id(&mut self) -> ItemId {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        ItemId::from_random(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// A fresh commit id.
    pub fn commit_id(&mut self) -> CommitId {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.bytes()[..16]);
        CommitId(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

/// `report.txt` -> `report (laptop's conflicting copy, 2015-01-02 03-04-05).txt`, the form of the original; `attempt` above 1 adds a number.
pub fn conflict_name(name: &Name, device: &str, unix_ns: i64, attempt: u32) -> Name {
    let device: String = device.chars().map(|c| if c == '/' || c == '\0' { '_' } else { c }).collect();
    let device = cut_to(&device, DEVICE_BYTES_MAX);
    let number = if attempt > 1 { format!(" {attempt}") } else { String::new() };
    marked(name, &format!(" ({device}'s conflicting copy, {}{number})", date_text(unix_ns)))
}

/// `report.txt` -> `report (set aside).txt`: for what was taken away for a moment and finds its name taken; `attempt` above 1 adds a number.
pub fn set_aside_name(name: &Name, attempt: u32) -> Name {
    let number = if attempt > 1 { format!(" {attempt}") } else { String::new() };
    marked(name, &format!(" (set aside{number})"))
}

/// The name with a mark in front of its extension, cut where it is too long.
fn marked(name: &Name, mark: &str) -> Name {
    let (base, extension) = match name.as_str().rfind('.') {
        Some(dot) if dot > 0 && name.as_str().len() - dot <= 32 => name.as_str().split_at(dot),
        _ => (name.as_str(), ""),
    };
    let base = cut_to(base, NAME_BYTES_MAX - mark.len() - extension.len());
    Name::new(&format!("{base}{mark}{extension}")).unwrap_or_else(|_| name.clone())
}

/// What every passing name begins with; the item's id follows, 16 hexadecimal digits.
const PASSING: &str = "stacksync-renaming-";
const ID_DIGITS: usize = 16;

/// A name that an item has only while two or more items exchange their names. It says which name the item is to get, so that whoever finds
/// the item under it, for whatever reason, can give it that.
pub fn passing_name(id: ItemId, wanted: &Name) -> Name {
    let wanted = wanted_name(wanted).unwrap_or_else(|| wanted.clone());
    let text = format!("{PASSING}{:0ID_DIGITS$x}-{wanted}", id.get());
    Name::new(cut_to(&text, NAME_BYTES_MAX)).unwrap_or_else(|_| Name::smallest())
}

/// Whether this is a passing name, of whichever item.
pub fn is_passing(name: &Name) -> bool {
    after_id(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The name that an item under this passing name is to get. `None`: this is no passing name, or it does not say.
pub fn wanted_name(passing: &Name) -> Option<Name> {
    Name::new(after_id(passing)?.strip_prefix('-')?).ok()
}

/// What follows the id in a name that begins as passing names do.
fn after_id(name: &Name) -> Option<&str> {
    let (id, rest) = name.as_str().strip_prefix(PASSING)?.split_at_checked(ID_DIGITS)?;
    id.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(rest)
}

fn cut_to(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `2015-01-02 03-04-05` in UTC; the civil calendar after Howard Hinnant, "chrono-compatible low-level date algorithms".
fn date_text(unix_ns: i64) -> String {
    let seconds = unix_ns.div_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}-{:02}-{:02}", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflict_names_keep_the_extension_and_fit() {
        let name = |text: &str| Name::new(text).unwrap();
        let at = 1_420_167_845_123_456_789;
        assert_eq!(conflict_name(&name("a.txt"), "pc", at, 1).as_str(), "a (pc's conflicting copy, 2015-01-02 03-04-05).txt");
        assert_eq!(
            conflict_name(&name(".bashrc"), "p/c", at, 2).as_str(),
            ".bashrc (p_c's conflicting copy, 2015-01-02 03-04-05 2)"
        );
        let long = conflict_name(&name(&"é".repeat(127)), &"ü".repeat(200), at, 1);
        assert!(long.as_str().len() <= NAME_BYTES_MAX && long.as_str().contains("conflicting copy"));
        assert_eq!(set_aside_name(&name("a.txt"), 1).as_str(), "a (set aside).txt");
        assert_eq!(set_aside_name(&name("a"), 2).as_str(), "a (set aside 2)");
    }

    #[test]
    fn a_passing_name_says_what_the_item_is_to_be_called() {
        let name = |text: &str| Name::new(text).unwrap();
        let id = ItemId::new(10).unwrap();
        let passing = passing_name(id, &name("café.txt"));
        assert_eq!(passing.as_str(), "stacksync-renaming-000000000000000a-café.txt");
        assert!(is_passing(&passing) && !is_passing(&name("café.txt")));
        assert_eq!(wanted_name(&passing), Some(name("café.txt")));
        assert_eq!(passing_name(id, &passing), passing, "a circle within a circle");
        // Of an earlier version: a conflict name that is made of it is not a passing one.
        let bare = name("stacksync-renaming-000000000000000a");
        assert!(is_passing(&bare) && !is_passing(&conflict_name(&bare, "pc", 0, 1)));
        assert_eq!(wanted_name(&bare), None);
        assert_eq!(wanted_name(&name("stacksync-renaming-é")), None);
        let long = passing_name(id, &name(&"é".repeat(127)));
        assert!(long.as_str().len() <= NAME_BYTES_MAX && wanted_name(&long).is_some());
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(date_text(0), "1970-01-01 00-00-00");
        assert_eq!(date_text(951_782_400_000_000_000), "2000-02-29 00-00-00");
        assert_eq!(date_text(-1), "1969-12-31 23-59-59");
    }

    #[test]
    fn equal_seeds_mint_equal_ids() {
        let (mut a, mut b, mut c) = (Mint::new([7; 32]), Mint::new([7; 32]), Mint::new([8; 32]));
        assert_eq!(a.item_id(), b.item_id());
        assert_ne!(a.item_id(), c.item_id());
        assert_ne!(a.commit_id(), a.commit_id());
    }
}
