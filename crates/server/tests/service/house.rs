//! A service under test: its data in a directory of its own, in this process, on a free port.

use crate::device::Device;
use crate::http::{self, Answer};
use serde_json::Value;
use stacksync_server::config::{self, Config, Sources};
use stacksync_server::db::Db;
use stacksync_server::process::{self, Running};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

pub struct House {
    pub running: Running,
    data: TempDir,
}

/// The configuration with these keys set besides the data directory and a free port.
pub fn config(data: &Path, keys: &[(&'static str, &str)]) -> Config {
    let mut options = vec![("data", data.display().to_string()), ("http.listen", "127.0.0.1:0".to_owned())];
    options.extend(keys.iter().map(|(name, value)| (*name, (*value).to_owned())));
    config::load(&Sources { options, ..Sources::default() }).unwrap()
}

/// A command of the program on this data directory.
pub fn program(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stacksync-server"));
    command.args(arguments).arg("--data").arg(data).env("STACKSYNC_HTTP_LISTEN", "127.0.0.1:0");
    command
}

/// Runs a command that must succeed, with `--json`.
pub fn admin(data: &Path, arguments: &[&str]) -> Value {
    let output = program(data, &[arguments, &["--json"]].concat()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

impl House {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(keys: &[(&'static str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let running = process::start(&config(data.path(), keys)).await.map_err(|failure| failure.to_string()).unwrap();
        Self { running, data }
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// The metadata, as another process has it.
    pub fn db(&self) -> Db {
        Db::open(&self.data().join("stacksync.db")).unwrap()
    }

    pub fn admin(&self, arguments: &[&str]) -> Value {
        admin(self.data(), arguments)
    }

    /// A new user's first device, connected.
    pub async fn user(&self, name: &str) -> Device {
        let code = self.admin(&["user", "add", name, "--email", &format!("{name}@example.org")])["join_code"].clone();
        self.join(code.as_str().unwrap()).await
    }

    /// One more device of a user.
    pub async fn device_of(&self, name: &str) -> Device {
        let code = self.admin(&["device", "invite", name])["join_code"].clone();
        self.join(code.as_str().unwrap()).await
    }

    async fn join(&self, code: &str) -> Device {
        let answer = self.try_join(code).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Device::connect(self.address(), &answer.json()).await
    }

    pub async fn try_join(&self, code: &str) -> Answer {
        let body = serde_json::json!({ "code": code, "deviceName": "laptop", "os": "linux" }).to_string();
        http::send(self.address(), "POST", "/v1/join", &[], body.as_bytes()).await
    }

    pub async fn metrics(&self) -> String {
        http::send(self.address(), "GET", "/metrics", &[], b"").await.text()
    }
}
