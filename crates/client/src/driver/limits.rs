//! Keeps the transfers at the pace that this device's settings give for the time of day, also when they change while it runs.

use crate::home::{Home, Limits, LocalTime, Schedule};
use crate::transfer::Transfer;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Limits for one run, instead of those of the settings.
#[derive(Clone, Debug, Default)]
pub struct GivenLimits {
    /// To the storage.
    pub up: Option<Schedule>,
    /// From the storage.
    pub down: Option<Schedule>,
}

/// See the module.
pub struct LimitKeeper {
    home: Home,
    given: GivenLimits,
    limits: Limits,
    /// Which file the limits are of: it is replaced as a whole.
    seen: Option<(u64, i64)>,
    transfer: Transfer,
}

impl LimitKeeper {
    /// Nothing is limited before the first look.
    pub fn new(home: Home, given: GivenLimits, transfer: Transfer) -> Self {
        Self { home, given, limits: Limits::default(), seen: None, transfer }
    }

    /// Looks at the settings, if they changed, and at the clock.
    pub fn look(&mut self, now: LocalTime) {
        let seen = fs::metadata(self.home.config_file()).ok().map(|file| (file.ino(), file.mtime_nsec()));
        if seen.is_some() && seen != self.seen {
            self.seen = seen;
            match self.home.config() {
                Ok(config) => self.take(config.limits),
                Err(error) => tracing::warn!("the limits stay as they are: {error}"),
            }
        }
        self.transfer.limit(self.limits.at(now));
    }

    fn take(&mut self, limits: Limits) {
        let GivenLimits { up, down } = &self.given;
        let limits = Limits { up: up.clone().unwrap_or(limits.up), down: down.clone().unwrap_or(limits.down) };
        if limits != self.limits {
            tracing::info!("limits: up {}, down {}", limits.up, limits.down);
        }
        self.limits = limits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Config, Token};
    use crate::session::Connector;
    use crate::transfer::{Rate, Rates, TransferLimits};

    #[test]
    fn settings_are_followed_while_it_runs_and_what_was_given_for_the_run_counts_first() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        let mut config = Config::example(dir.path());
        home.create(&config, &Token::new("x".into())).unwrap();
        let connector = Connector::new("http://127.0.0.1:1".parse().unwrap(), None).unwrap();
        let transfer = Transfer::new(connector, TransferLimits::default());
        let given = GivenLimits { down: Some("2MiB/s".parse().unwrap()), ..GivenLimits::default() };
        let mut keeper = LimitKeeper::new(home.clone(), given, transfer.clone());
        let (night, noon) = (LocalTime { day: 0, minute: 60 }, LocalTime { day: 0, minute: 720 });
        let rates = |up: Option<u64>| Rates { up: up.and_then(Rate::new), down: Rate::new(2 << 20) };
        keeper.look(noon);
        assert_eq!(transfer.rates(), rates(None));
        config.limits.up = "22:00-06:00=off, 1MiB/s".parse().unwrap();
        config.limits.down = "1MiB/s".parse().unwrap();
        home.save(&config).unwrap();
        keeper.look(noon);
        assert_eq!(transfer.rates(), rates(Some(1 << 20)));
        keeper.look(night);
        assert_eq!(transfer.rates(), rates(None));
        std::fs::write(home.config_file(), "{").unwrap();
        keeper.look(noon);
        assert_eq!(transfer.rates(), rates(Some(1 << 20)));
    }
}
