//! How a request to the storage fails, and when it is worth another try here. Longer waits are the engine's.

use hyper::{HeaderMap, header};
use stacksync_core::engine::CallError;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// A request is made so many times at most before its failure is reported.
const TRIES_MAX: u32 = 3;
/// A storage that wants to be left alone for longer is tried again by the engine.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);
/// Nobody is left alone for longer, whatever it says.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Why a request brought no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The storage does not have what was asked for.
    Missing,
    /// The ticket is not accepted (any more): a new one may help.
    Ticket(String),
    /// Not now: no connection, an overloaded or broken storage.
    NotNow(String),
    /// Not before so long, says the storage.
    Later(String, Duration),
    /// Whenever it is asked, the answer will be no.
    Refused(String),
}

impl Failure {
    /// Whether the same request may succeed soon.
    pub(super) fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Missing | Self::Refused(_) => false,
            Self::Later(_, wait) => *wait <= WAIT_MAX,
            Self::Ticket(_) | Self::NotNow(_) => true,
        }
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing => Self::Refused("the storage does not know what was asked for".to_owned()),
            Failure::NotNow(reason) | Failure::Later(reason, _) | Failure::Ticket(reason) => Self::NotNow(reason),
            Failure::Refused(reason) => Self::Refused(reason),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Offline => Self::NotNow(CallError::Offline.to_string()),
            CallError::NotNow(reason) => Self::NotNow(reason),
            CallError::Refused(reason) => Self::Refused(reason),
        }
    }
}

/// The tries of one request.
#[derive(Debug)]
pub(super) struct Tries {
    left: u32,
    delay: Duration,
}

impl Tries {
    /// None made yet.
    pub(super) fn new(first_delay: Duration) -> Self {
        Self { left: TRIES_MAX, delay: first_delay }
    }

    /// One failed: waits and returns if another one is worth it, else gives the failure back.
    pub(super) async fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        self.left -= 1;
        if self.left == 0 || !failure.is_worth_another_try() {
            return Err(failure);
        }
        match failure {
            Failure::Missing | Failure::Refused(_) => Err(failure),
            // The wait is the host's: another one may be asked meanwhile.
            Failure::Later(..) => Ok(()),
            // With a new ticket, at once.
            Failure::Ticket(_) => Ok(()),
            Failure::NotNow(_) => {
                tokio::time::sleep(jittered(self.delay)).await;
                self.delay *= 4;
                Ok(())
            }
        }
    }
}

/// How long the other side wants to be left alone: seconds, or a date, by its own clock where it shows that.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let wanted = text(header::RETRY_AFTER)?;
    let wait = match wanted.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = |text| OffsetDateTime::parse(text, &Rfc2822).ok();
            let now = text(header::DATE).and_then(date).unwrap_or_else(|| SystemTime::now().into());
            (date(wanted)? - now).try_into().unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// Between half and all of it, so that those who failed together do not come back together.
fn jittered(delay: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    delay.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(wanted: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, wanted.parse().unwrap());
        if let Some(date) = date {
            headers.insert(header::DATE, date.parse().unwrap());
        }
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn both_forms_of_retry_after_are_understood() {
        const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
        for (wanted, date, wait) in [
            ("0", None, Some(0)),
            ("120", None, Some(120)),
            (" 7 ", None, Some(7)),
            ("99999999999", None, Some(3_600)),
            ("Sun, 06 Nov 1994 12:00:37 GMT", Some(NOON), Some(37)),
            ("Sun, 06 Nov 1994 11:59:00 GMT", Some(NOON), Some(0)),
            ("Mon, 07 Nov 1994 12:00:00 GMT", Some(NOON), Some(3_600)),
            // By our own clock that is long ago.
            ("Sun, 06 Nov 1994 12:00:37 GMT", None, Some(0)),
            ("soon", Some(NOON), None),
            ("-3", None, None),
        ] {
            assert_eq!(asked(wanted, date), wait, "{wanted} {date:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
