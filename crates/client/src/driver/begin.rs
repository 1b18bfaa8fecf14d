//! From a home on disk to a device that runs.

use super::carrier::{STAGED_MAX, Shared, UPLOADS_OPEN_MAX};
use super::clock::Clock;
use super::device::{Device, Stay};
use super::limits::{GivenLimits, LimitKeeper};
use super::member::Surroundings;
use super::overview::Overview;
use crate::disk;
use crate::home::{Config, Home, HomeError, LocalTime};
use crate::session::{AddressError, Connector, JoinCodeError, Link, TlsError};
use crate::state::{OpenState, Opened, StateError, StateReader, StateWriter};
use crate::transfer::{Transfer, TransferLimits};
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore, watch};

/// Why a device cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Its home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The folders in its home.
    #[error(transparent)]
    Folders(#[from] disk::OwnFoldersError),
    /// Its state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Encryption.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A device that is ready to run.
pub struct Begun {
    /// Runs it.
    pub device: Device,
    /// To be flushed at the end.
    pub state: Arc<StateWriter>,
    /// To be closed at the end.
    pub link: Link,
    /// What was found of an earlier run.
    pub opened: Opened,
    /// What happens, for whoever watches.
    pub overview: watch::Receiver<Overview>,
}

/// How to reach the service that this device joined.
///
/// # Errors
/// When the configuration is damaged, or there is no way to encrypt.
pub fn connector(home: &Home, config: &Config) -> Result<Connector, BeginError> {
    let damaged = |problem: String| HomeError::Damaged { file: home.config_file(), problem };
    let address = config.server.parse().map_err(|error: AddressError| damaged(error.to_string()))?;
    let fingerprint = config.fingerprint.as_deref().map(str::parse).transpose();
    let fingerprint = fingerprint.map_err(|error: JoinCodeError| damaged(error.to_string()))?;
    Ok(Connector::new(address, fingerprint)?)
}

/// Opens everything. The caller holds the home's lock, and is inside a tokio runtime.
///
/// # Errors
/// Names what cannot be opened.
pub fn begin(home: &Home, stay: Stay, given: GivenLimits) -> Result<Begun, BeginError> {
    let config = home.config()?;
    let token = home.token()?;
    let connector = connector(home, &config)?;
    let folders = disk::OwnFolders::open(home.dir())?;
    let OpenState { writer, opened, workspaces } = StateWriter::open(&home.state_file())?;
    let flags = StateReader::open(&home.state_file())?
        .ok_or_else(|| StateError::Damaged { file: home.state_file(), problem: "it vanished".into() })?;
    let state = Arc::new(writer);
    let link = Link::open(connector.clone(), token);
    let shared = Shared {
        service: link.service().clone(),
        state: state.clone(),
        uploads: Arc::new(Semaphore::new(UPLOADS_OPEN_MAX)),
        staged: Arc::new(Semaphore::new(STAGED_MAX)),
    };
    let transfer = Transfer::new(connector, TransferLimits::default());
    let mut limits = LimitKeeper::new(home.clone(), given, transfer.clone());
    limits.look(LocalTime::now());
    let around = Surroundings { config, folders, shared, transfer, clock: Clock::start(), changed: Arc::new(Notify::new()) };
    let (tell, overview) = watch::channel(Overview::default());
    let device = Device::new(around, link.clone(), flags, limits, stay, workspaces, tell);
    Ok(Begun { device, state, link, opened, overview })
}
