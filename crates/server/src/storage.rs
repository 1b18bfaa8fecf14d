//! Opens the chunk storage that is configured.

use crate::cli::exit::{Exit, Failure};
use crate::config::storage::S3Choice;
use crate::config::{Config, StoragePlace};
use crate::data_dir::DataDir;
use crate::db::{BundleRows, Db};
use crate::process::chunks_folder;
use stacksync_chunks::gc;
use stacksync_chunks::store::{ChunkStore, FolderStore, StoreError};
use stacksync_core::values::WorkspaceId;
use stacksync_storage::bundled::Making;
use stacksync_storage::ftp::Ftp;
use stacksync_storage::s3::{self, Keys, S3};
use stacksync_storage::sftp::Sftp;
use stacksync_storage::swift::Swift;
use stacksync_storage::{Backend, BundledStore, RemoteStore};
use std::path::PathBuf;
use std::sync::Arc;

/// The chunks, wherever they are.
pub struct Storage {
    /// All of them.
    pub store: Arc<dyn ChunkStore>,
    /// The same storage, if small chunks may lie in bundles there.
    pub bundles: Option<BundledStore>,
}

impl Storage {
    /// The chunks that have an object of their own.
    pub fn alone(&self) -> &dyn ChunkStore {
        match &self.bundles {
            Some(bundles) => bundles.alone(),
            None => &*self.store,
        }
    }

    /// Removes all that is kept for a workspace.
    ///
    /// # Errors
    /// The storage's.
    pub async fn remove(&self, workspace: WorkspaceId) -> Result<(), StoreError> {
        for container in [workspace, gc::aside_of(workspace)] {
            self.store.remove_container(container).await?;
        }
        Ok(())
    }
}

/// The storage of this configuration, usable, with the bundles that the metadata knows of.
///
/// # Errors
/// Why it is not.
pub async fn open(config: &Config, data: &DataDir, db: &Db) -> Result<Storage, Failure> {
    let remote = match open_plain(config, data).await? {
        Plain::Folder(store) => return Ok(Storage { store, bundles: None }),
        Plain::Elsewhere(remote) => remote,
    };
    let Some(making) = config.storage.bundles else { return Ok(Storage { store: Arc::new(remote), bundles: None }) };
    // Clients of the original know chunks by their own names only.
    let making = if config.lets_originals_in() { Making::Off } else { making };
    let bundled = BundledStore::new(remote, Arc::new(BundleRows(db.clone())), making);
    Ok(Storage { store: Arc::new(bundled.clone()), bundles: Some(bundled) })
}

/// A storage without the metadata.
pub enum Plain {
    /// In a directory.
    Folder(Arc<FolderStore>),
    /// On another server.
    Elsewhere(RemoteStore),
}

impl Plain {
    /// Its chunks.
    pub fn store(&self) -> &dyn ChunkStore {
        match self {
            Self::Folder(store) => &**store,
            Self::Elsewhere(store) => store,
        }
    }
}

/// The storage of this configuration, usable, of which nothing is known.
///
/// # Errors
/// Why it is not.
pub async fn open_plain(config: &Config, data: &DataDir) -> Result<Plain, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Config, error.to_string());
    let Some(backend) = backend(config)? else {
        let store = FolderStore::open(&chunks_folder(config, data)).map_err(|error| failed(&error))?;
        return Ok(Plain::Folder(Arc::new(store)));
    };
    let store = RemoteStore::open(backend).await.map_err(|error| failed(&error))?;
    tracing::info!(storage = store.name(), "chunks are kept there");
    Ok(Plain::Elsewhere(store))
}

/// The storage elsewhere that is configured, `None` if chunks are kept in the data directory. Asks it nothing yet.
fn backend(config: &Config) -> Result<Option<Arc<dyn Backend>>, Failure> {
    let failed = |error: String| Failure::new(Exit::Config, error);
    let setup = &config.storage.setup;
    match &config.storage.place {
        StoragePlace::Folder => Ok(None),
        StoragePlace::S3(choice) => {
            let keys = s3_keys(choice).map_err(failed)?;
            Ok(Some(Arc::new(S3::new(choice.place.clone(), keys, setup).map_err(failed)?)))
        }
        StoragePlace::Ftp(place) => Ok(Some(Arc::new(Ftp::new((**place).clone(), setup).map_err(failed)?))),
        StoragePlace::Sftp(place) => Ok(Some(Arc::new(Sftp::new((**place).clone())))),
        StoragePlace::Swift(place) => Ok(Some(Arc::new(Swift::new((**place).clone(), setup).map_err(failed)?))),
    }
}

/// As configured, else of the environment, else of the file of profiles.
fn s3_keys(choice: &S3Choice) -> Result<Keys, String> {
    if let Some(keys) = choice.keys.clone().or_else(|| s3::from_environment(|name| std::env::var(name).ok())) {
        return Ok(keys);
    }
    let given = std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let file = given.or_else(|| Some(directories::BaseDirs::new()?.home_dir().join(".aws/credentials")));
    let file = file.ok_or("s3.access_key and s3.secret_key are not set, and this user has no home directory")?;
    s3::from_profile(&file, &choice.profile).map_err(|error| {
        format!("s3.access_key and s3.secret_key are not set, nor is AWS_ACCESS_KEY_ID in the environment, and {error}")
    })
}
