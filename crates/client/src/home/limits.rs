//! How fast bytes may go, by the time of day: `1 MiB/s`, `off`, `22:00-06:00=off, 1MiB/s`, `Mon-Fri 08:00-18:00=200KiB/s`.
//!
//! The first window that fits counts, what is given without one counts at all other times, and without any there is no limit.

use crate::transfer::{Rate, Rates};
use chrono::{Datelike, Local, Timelike};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Windows of one schedule.
const WINDOWS_MAX: usize = 32;
const DAY_MINUTES: u16 = 24 * 60;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Bytes of each unit. Decimal ones are those of line rates.
const UNITS: [(&str, f64); 14] = [
    ("", 1.0),
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("kib", 1_024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("k", 1_024.0),
    ("m", 1_048_576.0),
    ("g", 1_073_741_824.0),
    ("kbit", 125.0),
    ("mbit", 125e3),
    ("gbit", 125e6),
];

/// The limits of both ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// To the storage.
    pub up: Schedule,
    /// From the storage.
    pub down: Schedule,
}

impl Limits {
    /// Whether there is none at any time.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What counts at a time.
    pub fn at(&self, now: LocalTime) -> Rates {
        Rates { up: self.up.at(now), down: self.down.at(now) }
    }
}

/// A time of the week on this computer's clock, in its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// 0 is Monday.
    pub day: u8,
    /// Of the day.
    pub minute: u16,
}

impl LocalTime {
    /// Now.
    pub fn now() -> Self {
        let now = Local::now();
        Self { day: now.weekday().num_days_from_monday() as u8, minute: (now.hour() * 60 + now.minute()) as u16 }
    }
}

/// What counts when, for one way. Written as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    windows: Vec<(Window, Option<Rate>)>,
    otherwise: Option<Rate>,
    text: String,
}

/// Some hours of some days; those after midnight belong to the day on which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    days: [bool; 7],
    from: u16,
    to: u16,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not a number of bytes.
    #[error("'{0}' is no limit: give bytes per second with a unit, like 500KiB/s or 10Mbit/s, or off")]
    Rate(String),
    /// Too slow.
    #[error("'{0}' is slower than {min} bytes/s; `stacksync pause` stops everything", min = Rate::BYTES_MIN)]
    Slow(String),
    /// Not some hours.
    #[error("'{0}' is no time: give it like 22:00-06:00 or Mon-Fri 08:00-18:00")]
    Window(String),
    /// More than one limit for the rest of the time.
    #[error("'{0}' is a second limit without hours")]
    Twice(String),
    /// Too many.
    #[error("more than {WINDOWS_MAX} times are given")]
    Many,
}

impl Schedule {
    fn at(&self, now: LocalTime) -> Option<Rate> {
        let window = self.windows.iter().find(|(window, _)| window.has(now));
        window.map_or(self.otherwise, |(_, rate)| *rate)
    }
}

impl Window {
    fn has(&self, now: LocalTime) -> bool {
        let on = |day: u8| self.days.get(usize::from(day)).copied().unwrap_or(false);
        let yesterday = (now.day + 6) % 7;
        if self.from < self.to {
            on(now.day) && (self.from..self.to).contains(&now.minute)
        } else {
            (on(now.day) && now.minute >= self.from) || (on(yesterday) && now.minute < self.to)
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "off" } else { &self.text })
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleError;

    fn try_from(text: String) -> Result<Self, ScheduleError> {
        text.parse()
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let mut windows = Vec::new();
        let mut otherwise = None;
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((window, limit)) => windows.push((window.trim().parse()?, rate(limit.trim())?)),
                None if otherwise.is_some() => return Err(ScheduleError::Twice(part.to_owned())),
                None => otherwise = Some(rate(part)?),
            }
        }
        if windows.len() > WINDOWS_MAX {
            return Err(ScheduleError::Many);
        }
        let otherwise = otherwise.flatten();
        let text = if windows.is_empty() && otherwise.is_none() { String::new() } else { text.trim().to_owned() };
        Ok(Self { windows, otherwise, text })
    }
}

fn rate(text: &str) -> Result<Option<Rate>, ScheduleError> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let bad = || ScheduleError::Rate(text.to_owned());
    let amount = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let unit_at = amount.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(amount.len());
    let (number, unit) = amount.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let bytes = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| number * bytes).ok_or_else(bad)?;
    Rate::new(bytes as u64).map(Some).ok_or_else(|| ScheduleError::Slow(text.to_owned()))
}

impl FromStr for Window {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let bad = || ScheduleError::Window(text.to_owned());
        let (days, hours) = match text.split_once(char::is_whitespace) {
            Some((days, hours)) => (days_of(days).ok_or_else(bad)?, hours.trim_start()),
            None => ([true; 7], text),
        };
        let (from, to) = hours.split_once('-').ok_or_else(bad)?;
        let (from, to) = (minute(from).ok_or_else(bad)?, minute(to).ok_or_else(bad)?);
        if from == DAY_MINUTES || from == to {
            return Err(bad());
        }
        Ok(Self { days, from, to })
    }
}

/// `Mon`, `Mon-Fri`, `Sat-Mon`.
fn days_of(text: &str) -> Option<[bool; 7]> {
    let day = |text: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let mut days = [false; 7];
    (0..=(last + 7 - first) % 7).for_each(|step| days[(first + step) % 7] = true);
    Some(days)
}

/// `00:00` to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let digits = |text: &str, len: std::ops::RangeInclusive<usize>| {
        let all = len.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (digits(hours, 1..=2)?, digits(minutes, 2..=2)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY_MINUTES).then_some(minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, day: u8, hour: u16, minute: u16) -> Option<u64> {
        let schedule: Schedule = text.parse().unwrap();
        schedule.at(LocalTime { day, minute: hour * 60 + minute }).map(Rate::bytes)
    }

    #[test]
    fn rates_have_units() {
        for (text, bytes) in [
            ("5000", 5_000),
            ("1MiB/s", 1 << 20),
            ("1.5 MiB/s", 3 << 19),
            ("512K", 512 << 10),
            ("10Mbit/s", 1_250_000),
            ("800 kbit/s", 100_000),
            ("500 kB/s", 500_000),
            ("2GiB/s", 2 << 30),
        ] {
            assert_eq!(at(text, 0, 0, 0), Some(bytes), "{text}");
        }
        assert_eq!(at("off", 0, 0, 0), None);
    }

    #[test]
    fn the_first_window_that_fits_counts() {
        const NIGHT: &str = "22:00-06:00=off, 1MiB/s";
        for (hour, minute, bytes) in
            [(21, 59, Some(1 << 20)), (22, 0, None), (0, 0, None), (5, 59, None), (6, 0, Some(1 << 20)), (12, 0, Some(1 << 20))]
        {
            assert_eq!(at(NIGHT, 3, hour, minute), bytes, "{hour}:{minute}");
        }
        // Nothing said of the other hours: no limit.
        const OFFICE: &str = "Mon-Fri 12:00-13:00=off, Mon-Fri 08:00-18:00=100KiB/s";
        for (day, hour, bytes) in [(0, 9, Some(100 << 10)), (4, 17, Some(100 << 10)), (2, 12, None), (5, 9, None), (0, 7, None)] {
            assert_eq!(at(OFFICE, day, hour, 30), bytes, "{day} {hour}");
        }
        // From Friday evening to the morning after.
        const LATE: &str = "Fri 20:00-04:00=10KiB/s";
        for (day, hour, limited) in [(4, 21, true), (5, 3, true), (5, 4, false), (5, 21, false), (4, 3, false)] {
            assert_eq!(at(LATE, day, hour, 0).is_some(), limited, "{day} {hour}");
        }
        assert_eq!(at("Sat-Mon 00:00-24:00=1MiB/s", 6, 23, 59), Some(1 << 20));
        assert_eq!(at("Sat-Mon 00:00-24:00=1MiB/s", 1, 0, 0), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_advice() {
        for (text, says) in [
            ("", "is no limit"),
            ("fast", "is no limit"),
            ("1 parsec/s", "is no limit"),
            ("-1", "is no limit"),
            ("0", "stacksync pause"),
            ("100", "stacksync pause"),
            ("22-6=off", "is no time"),
            ("25:00-06:00=off", "is no time"),
            ("06:00-06:00=off", "is no time"),
            ("24:00-06:00=off", "is no time"),
            ("Someday 06:00-07:00=off", "is no time"),
            ("1MiB/s, 2MiB/s", "second limit"),
            (&["01:00-02:00=off"; WINDOWS_MAX + 1].join(","), "more than 32"),
        ] {
            let error = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn limits_are_kept_as_they_were_given() {
        let limits = Limits { up: "22:00-06:00=off, 1MiB/s".parse().unwrap(), down: "off".parse().unwrap() };
        let text = serde_json::to_string(&limits).unwrap();
        assert_eq!(text, r#"{"up":"22:00-06:00=off, 1MiB/s","down":"off"}"#);
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
        assert!(serde_json::from_str::<Limits>("{}").unwrap().is_none());
        assert!(serde_json::from_str::<Limits>(r#"{"up":"fast"}"#).is_err());
    }
}
