//! An instance of the service that is measured.

use super::backends::{Postgres, Rabbit};
use crate::measure::undisturbed;
use crate::process;
use crate::server::{Invitation, Server};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Longest run of an administrative command.
const PATIENCE: Duration = Duration::from_secs(60);

/// An instance that runs undisturbed.
#[derive(Debug)]
pub struct Service {
    /// Its process.
    pub server: Server,
    settings: Vec<(&'static str, String)>,
    runs: bool,
}

impl Service {
    /// Starts one with these settings besides the usual ones, as environment variables, and everything else in this directory.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(dir: &Path, settings: Vec<(&'static str, String)>) -> Self {
        std::fs::create_dir_all(dir).expect("a directory can be made");
        let mut service = Self { server: Server::new(dir).with_database(None), settings, runs: false };
        service.start_again();
        service
    }

    /// Starts it once more after [`Service::stop`].
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.server.start_with(undisturbed(&self.command()));
        self.runs = true;
    }

    /// Stops it properly.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(&mut self) {
        assert!(self.server.stop().success(), "it stopped with an error");
        self.runs = false;
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.runs.then(|| self.server.pid())
    }

    fn command(&self) -> Command {
        let mut command = self.server.command();
        command.env("STACKSYNC_LOG_LEVEL", "warn");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Makes an account.
    ///
    /// # Panics
    /// If that fails.
    pub fn add_user(&self, name: &str) -> Invitation {
        self.invitation(&["user", "add", name, "--email", &format!("{name}@example.org")])
    }

    /// Another join code.
    ///
    /// # Panics
    /// If that fails.
    pub fn invite(&self, name: &str) -> Invitation {
        self.invitation(&["device", "invite", name])
    }

    fn invitation(&self, arguments: &[&str]) -> Invitation {
        let mut command = self.command();
        command.args(arguments).arg("--json");
        let output = process::run(undisturbed(&command), PATIENCE);
        assert!(output.status.success(), "{arguments:?}: {}", process::printed(&output));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned();
        Invitation { url: text("url"), code: text("join_code") }
    }
}

/// Settings for metadata in this database.
pub fn on_postgresql(postgres: &Postgres, database: &str) -> Vec<(&'static str, String)> {
    vec![("STACKSYNC_DATASOURCE", "postgresql".to_owned()), ("STACKSYNC_POSTGRESQL_URL", postgres.url(database))]
}

/// Settings for a message broker, through which clients of the original come.
pub fn with_broker(rabbit: &Rabbit) -> Vec<(&'static str, String)> {
    let settings = [
        ("STACKSYNC_OMQ_TRANSPORT", "amqp"),
        ("STACKSYNC_OMQ_HOST", "127.0.0.1"),
        ("STACKSYNC_LEGACY_CLIENTS", "on"),
        ("STACKSYNC_LEGACY_USERS", "*"),
    ];
    let port = ("STACKSYNC_OMQ_PORT", rabbit.port().to_string());
    settings.into_iter().map(|(name, value)| (name, value.to_owned())).chain([port]).collect()
}
