//! One server and two devices that sync, undisturbed, on the disk that is measured.

use crate::device::Device;
use crate::measure::{seconds_until, undisturbed};
use crate::server::Server;
use crate::storage::Storage;
use std::path::Path;
use std::time::{Duration, Instant};

/// A server with one account and two joined devices.
#[derive(Debug)]
pub struct BenchWorld {
    /// Running.
    pub server: Server,
    /// Where changes are made.
    pub a: Device,
    /// Where they arrive.
    pub b: Device,
}

impl BenchWorld {
    /// Everything below `dir`; the devices are joined and do not sync yet.
    ///
    /// # Panics
    /// If something does not start.
    pub fn new(dir: &Path) -> Self {
        Self::with(dir, Server::new(dir))
    }

    /// The same with its chunks there, or in the data directory.
    ///
    /// # Panics
    /// If something does not start.
    pub fn on(dir: &Path, storage: Option<Storage>) -> Self {
        Self::with(dir, Server::new(dir).with_storage(storage))
    }

    fn with(dir: &Path, mut server: Server) -> Self {
        std::fs::create_dir_all(dir).expect("a directory can be made");
        server.start_with(undisturbed(&server.command()));
        let (a, b) = (Device::new(dir, "a"), Device::new(dir, "b"));
        a.join(&server.add_user("bench"));
        b.join(&server.invite("bench"));
        Self { server, a, b }
    }

    /// Starts both devices and waits until they agree.
    pub fn start_both(&mut self) {
        self.start_a();
        self.start_b();
        self.agree();
    }

    /// Starts the first device.
    pub fn start_a(&mut self) {
        self.a.start_with(undisturbed(&self.a.command(&["sync"])));
    }

    /// Starts the second device.
    pub fn start_b(&mut self) {
        self.b.start_with(undisturbed(&self.b.command(&["sync"])));
    }

    /// Waits until both devices say that they agree with the service.
    pub fn agree(&self) {
        for device in [&self.a, &self.b] {
            seconds_until(Instant::now(), Duration::from_millis(100), || in_sync(device));
        }
    }

    /// Bytes of everything that the server received, and of chunks among them.
    pub fn received(&self) -> (f64, f64) {
        let page = self.server.metrics();
        let bytes = |name: &str| crate::http::metric(&page, name);
        (bytes("stacksync_network_received_bytes_total"), bytes("stacksync_chunk_received_bytes_total"))
    }

    /// Prints the most memory that each process ever had.
    pub fn print_memory(&self) {
        for (name, usage) in [("server", self.server.usage()), ("device a", self.a.usage()), ("device b", self.b.usage())] {
            crate::measure::row(&format!("memory, most, {name}"), format!("{:.1} MiB (limit 150)", mib(usage.memory_peak)));
        }
    }
}

/// Whether a device that runs says that it agrees with the service.
pub fn in_sync(device: &Device) -> bool {
    device.json(&["status"])["state"] == "in sync"
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
