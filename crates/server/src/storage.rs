//! Opens the chunk storage that is configured.

use crate::cli::exit::{Exit, Failure};
use crate::config::storage::S3Choice;
use crate::config::{Config, StoragePlace};
use crate::data_dir::DataDir;
use crate::process::chunks_folder;
use stacksync_chunks::store::{ChunkStore, FolderStore};
use stacksync_storage::ftp::Ftp;
use stacksync_storage::s3::{self, Keys, S3};
use stacksync_storage::sftp::Sftp;
use stacksync_storage::swift::Swift;
use stacksync_storage::{Backend, RemoteStore};
use std::path::PathBuf;
use std::sync::Arc;

/// The storage of this configuration, usable.
///
/// # Errors
/// Why it is not.
pub async fn open(config: &Config, data: &DataDir) -> Result<Arc<dyn ChunkStore>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Config, error.to_string());
    let Some(backend) = backend(config)? else {
        let store = FolderStore::open(&chunks_folder(config, data)).map_err(|error| failed(&error))?;
        return Ok(Arc::new(store));
    };
    let store = RemoteStore::open(backend).await.map_err(|error| failed(&error))?;
    tracing::info!(storage = store.name(), "chunks are kept there");
    Ok(Arc::new(store))
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
