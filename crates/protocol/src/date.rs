//! Dates as text.
//!
//! Between our own peers: RFC 3339 in UTC with up to nine digits of fraction, e.g. `2015-01-02T03:04:05.123456789Z`, so that a
//! modification time arrives as it left. Read as well: what the original's JSON encoder writes in an English locale
//! (`Jan 2, 2015 3:04:05 AM`, with a comma after the year on newer Javas and a narrow no-break space before AM/PM on the
//! newest), taken as UTC since it does not say its zone.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stacksync_core::values::ModifiedAt;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// A point in time on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub ModifiedAt);

impl Date {
    /// From nanoseconds since 1970.
    pub const fn from_unix_ns(ns: i64) -> Self {
        Self(ModifiedAt(ns))
    }

    fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| parse_gson(text))?;
        i64::try_from(moment.unix_timestamp_nanos()).ok().map(Self::from_unix_ns)
    }
}

fn parse_gson(text: &str) -> Option<OffsetDateTime> {
    let plain = text.replace('\u{202f}', " ").replace(", ", " ");
    let format = format_description!(
        "[month repr:short] [day padding:none] [year] [hour repr:12 padding:none]:[minute]:[second] [period case:upper]"
    );
    PrimitiveDateTime::parse(&plain, format).ok().map(PrimitiveDateTime::assume_utc)
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0.0)).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&moment.format(&Rfc3339).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a date"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_form_is_read() {
        for (text, ns) in [
            ("2015-01-02T03:04:05Z", 1_420_167_845_000_000_000),
            ("2015-01-02T03:04:05.123456789Z", 1_420_167_845_123_456_789),
            ("2015-01-02T05:04:05.5+02:00", 1_420_167_845_500_000_000),
            ("1969-12-31T23:59:59.999999999Z", -1),
            ("Jan 2, 2015 3:04:05 AM", 1_420_167_845_000_000_000),
            ("Jan 2, 2015, 3:04:05 AM", 1_420_167_845_000_000_000),
            ("Jan 2, 2015, 3:04:05\u{202f}AM", 1_420_167_845_000_000_000),
            ("Jul 1, 2015 12:00:00 AM", 1_435_708_800_000_000_000),
        ] {
            assert_eq!(Date::parse(text), Some(Date::from_unix_ns(ns)), "{text}");
        }
        for text in ["", "yesterday", "2015-13-02T03:04:05Z", "99999-01-01T00:00:00Z", "2400-01-01T00:00:00Z"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for ns in [0, 1, -1, 1_420_167_845_123_456_789, i64::MIN, i64::MAX] {
            let text = serde_json::to_string(&Date::from_unix_ns(ns)).unwrap();
            assert_eq!(serde_json::from_str::<Date>(&text).unwrap(), Date::from_unix_ns(ns), "{text}");
        }
    }
}
