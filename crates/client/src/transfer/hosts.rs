//! Where bytes go: to the service that this device knows, or with a whole address to a storage that the service names.
//!
//! A storage is reached by TLS that the platform's authorities vouch for. Without TLS only on this computer, or where the service
//! itself is reached without. It gets nothing but what stands in the ticket: no token, nothing of the service's.

use super::body::Outgoing;
use super::retry::{Failure, WAIT_MAX};
use super::shared::TransferLimits;
use crate::session::{Address, Connector};
use hyper::client::conn::http1::SendRequest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// Storages that are known at once; with more, those that are known are forgotten.
const STORAGES_MAX: usize = 16;

/// One of them, with its connections.
pub(super) struct Host {
    pub(super) connector: Connector,
    pub(super) idle: Mutex<Vec<Idle>>,
    pub(super) connections: Arc<Semaphore>,
    pub(super) kind: HostKind,
    /// Until then it wants to be left alone.
    quiet: Mutex<Option<Instant>>,
}

/// A connection that nobody uses.
pub(super) struct Idle {
    /// When it was made: those of another era are not used again.
    pub(super) era: u32,
    pub(super) connection: SendRequest<Outgoing>,
}

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostKind {
    Service,
    Storage,
}

/// All that are known.
pub(super) struct Hosts {
    service: Arc<Host>,
    storages: Mutex<HashMap<String, Arc<Host>>>,
    limits: TransferLimits,
}

impl Host {
    fn new(connector: Connector, limits: TransferLimits, kind: HostKind) -> Arc<Self> {
        let connections = Arc::new(Semaphore::new(limits.connections));
        Arc::new(Self { connector, idle: Mutex::default(), connections, kind, quiet: Mutex::default() })
    }

    /// How people call it.
    pub(super) fn name(&self) -> String {
        match self.kind {
            HostKind::Service => "the service".to_owned(),
            HostKind::Storage => format!("the storage at {}", self.connector.address().authority()),
        }
    }

    /// What went wrong there, and what happens next: one sentence.
    pub(super) fn failed(&self, what: impl std::fmt::Display) -> String {
        format!("{} {what}; it is tried again", self.name())
    }

    /// It said when it wants to be asked again: that counts for all requests of this process.
    pub(super) fn leave_alone(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = Some(quiet.map_or(until, |known| known.max(until)));
    }

    /// Waits until the host may be asked. If that takes long, it fails at once, and the engine tries again.
    pub(super) async fn until_welcome(&self) -> Result<(), Failure> {
        loop {
            let until = *self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(until) = until.filter(|until| *until > Instant::now()) else { return Ok(()) };
            let wait = until - Instant::now();
            if wait > WAIT_MAX {
                let minutes = wait.as_secs().div_ceil(60);
                let reason = format!("{} wants to be left alone for {minutes} more minute(s)", self.name());
                return Err(Failure::Later(reason, wait));
            }
            sleep_until(until).await;
        }
    }
}

impl Hosts {
    pub(super) fn new(service: Connector, limits: TransferLimits) -> Self {
        Self { service: Host::new(service, limits, HostKind::Service), storages: Mutex::default(), limits }
    }

    /// Whose address this is, and the path there.
    pub(super) fn find<'a>(&self, url: &'a str) -> Result<(Arc<Host>, &'a str), Failure> {
        let own = self.service.connector.address().to_string();
        if let Some(path) = url.strip_prefix(&own).or(Some(url)).filter(|path| path.starts_with('/')) {
            return Ok((self.service.clone(), path));
        }
        let unusable = || Failure::Refused("the service gave an address of the storage that cannot be used".to_owned());
        let host = url.find("://").map(|at| at + 3).ok_or_else(unusable)?;
        let path = url[host..].find('/').map(|at| host + at).ok_or_else(unusable)?;
        let (origin, path) = url.split_at(path);
        Ok((self.storage(origin)?, path))
    }

    fn storage(&self, origin: &str) -> Result<Arc<Host>, Failure> {
        let mut storages = self.storages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = storages.get(origin) {
            return Ok(known.clone());
        }
        let address: Address = origin.parse().map_err(|error| Failure::Refused(format!("the storage's address: {error}")))?;
        if !address.encrypted() && !address.is_loopback() && self.service.connector.address().encrypted() {
            return Err(Failure::Refused(format!("the storage at {address} is not encrypted, so this device does not go there")));
        }
        let connector = Connector::new(address, None).map_err(|error| Failure::Refused(error.to_string()))?;
        if storages.len() >= STORAGES_MAX {
            storages.clear();
        }
        let host = Host::new(connector, self.limits, HostKind::Storage);
        storages.insert(origin.to_owned(), host.clone());
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(service: &str) -> Hosts {
        // Of a fingerprint: the machine may have no authorities.
        let known = Some(crate::session::Fingerprint([7; 32]));
        Hosts::new(Connector::new(service.parse().unwrap(), known).unwrap(), TransferLimits::default())
    }

    #[test]
    fn the_service_is_known_by_both_its_addresses() {
        let hosts = hosts("https://sync.example.org");
        for url in ["/v1/x?ticket=1", "https://sync.example.org/v1/x?ticket=1"] {
            let (host, path) = hosts.find(url).unwrap();
            assert_eq!((host.kind, path), (HostKind::Service, "/v1/x?ticket=1"));
        }
    }

    #[test]
    fn a_storage_is_gone_to_without_tls_only_where_nothing_is_lost_by_it() {
        for (service, storage, good) in [
            ("https://sync.example.org", "http://127.0.0.1:9/b/c?s", true),
            ("https://sync.example.org", "http://store.example.org/b/c?s", false),
            ("http://sync.local", "http://store.local:8080/b/c?s", true),
        ] {
            let hosts = hosts(service);
            match hosts.find(storage) {
                Ok((host, path)) => assert!(good && host.kind == HostKind::Storage && path == "/b/c?s", "{storage}"),
                Err(failure) => assert!(!good && matches!(failure, Failure::Refused(_)), "{storage}: {failure:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let hosts = hosts("http://127.0.0.1:1");
        for url in ["", "x", "ftp://h/x", "http://h", "http://u:p@h/x", "https:///x", "http://127.0.0.1:12/../x y"] {
            if let Ok((host, _)) = hosts.find(url) {
                assert_eq!(host.kind, HostKind::Storage, "{url}");
            }
        }
        // Not the service, although it begins like it.
        assert_eq!(hosts.find("http://127.0.0.1:12/x").unwrap().0.kind, HostKind::Storage);
    }

    #[test]
    fn a_storage_keeps_its_connections() {
        let hosts = hosts("http://127.0.0.1:1");
        let first = hosts.find("http://127.0.0.1:2/a").unwrap().0;
        assert!(Arc::ptr_eq(&first, &hosts.find("http://127.0.0.1:2/b").unwrap().0));
    }
}
