//! One server, one account and its devices, in a temporary directory that stays for a look when the story fails.

use crate::device::{self, Device};
use crate::server::{Invitation, Server};
use std::path::{Path, PathBuf};

/// A world.
#[derive(Debug)]
pub struct World {
    /// The server, running.
    pub server: Server,
    dir: Option<tempfile::TempDir>,
}

/// The account that worlds have.
pub const USER: &str = "ada";

impl World {
    /// A running server with the account [`USER`].
    ///
    /// # Panics
    /// If the server does not start.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("stacksync-story-").tempdir().expect("a temporary directory");
        let mut server = Server::new(dir.path());
        server.start();
        server.add_user(USER);
        Self { server, dir: Some(dir) }
    }

    /// A world with so many joined devices: a, b, c, ...
    pub fn with_devices<const N: usize>() -> (Self, [Device; N]) {
        let world = Self::new();
        let devices = std::array::from_fn(|number| world.device(&char::from(b'a' + number as u8).to_string()));
        (world, devices)
    }

    /// Where everything is.
    ///
    /// # Panics
    /// Never while it lives.
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("it lives").path()
    }

    /// A path for something of the story's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A device that has joined with an empty folder.
    pub fn device(&self, name: &str) -> Device {
        let device = self.stranger(name);
        device.join(&self.invite());
        device
    }

    /// A device that has not joined.
    pub fn stranger(&self, name: &str) -> Device {
        Device::new(self.dir(), name)
    }

    /// A fresh join code.
    pub fn invite(&self) -> Invitation {
        self.server.invite(USER)
    }

    /// [`device::settle`].
    #[track_caller]
    pub fn settle(&self, devices: &[&Device]) {
        device::settle(devices);
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.kill();
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            println!("the story failed; its files are kept in {}", dir.keep().display());
        }
    }
}
