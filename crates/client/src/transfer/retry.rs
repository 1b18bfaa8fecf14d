//! How a request to the storage fails, and when it is worth another try here. Longer waits are the engine's.

use stacksync_core::engine::CallError;
use std::time::Duration;

/// A request is made so many times at most before its failure is reported.
const TRIES_MAX: u32 = 3;
/// A storage that wants to be left alone for longer is tried again by the engine.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Why a request brought no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The storage does not have what was asked for.
    Missing,
    /// The ticket is not accepted (any more): a new one may help.
    Ticket,
    /// Not now: no connection, an overloaded or broken storage.
    NotNow(String),
    /// Not before so long, says the storage.
    Later(String, Duration),
    /// Whenever it is asked, the answer will be no.
    Refused(String),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing => Self::Refused("the storage does not know what was asked for".to_owned()),
            Failure::Ticket => Self::NotNow("the storage did not accept the ticket that the service gave".to_owned()),
            Failure::NotNow(reason) | Failure::Later(reason, _) => Self::NotNow(reason),
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
        if self.left == 0 {
            return Err(failure);
        }
        match failure {
            Failure::Missing | Failure::Refused(_) => Err(failure),
            Failure::Later(_, wait) if wait > WAIT_MAX => Err(failure),
            Failure::Later(_, wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            // With a new ticket, at once.
            Failure::Ticket => Ok(()),
            Failure::NotNow(_) => {
                tokio::time::sleep(jittered(self.delay)).await;
                self.delay *= 4;
                Ok(())
            }
        }
    }
}

/// Between half and all of it, so that those who failed together do not come back together.
fn jittered(delay: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    delay.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}
