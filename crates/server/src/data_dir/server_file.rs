//! `server.json`: what a running server tells the commands that work beside it. Holds no secrets; gone after a clean stop.

use super::{DataDir, DataDirError, write_private};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a running server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFile {
    /// Where devices reach it.
    pub url: String,
    /// Its process.
    pub pid: u32,
    /// SHA-256 of its certificate, if it made that itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

impl ServerFile {
    fn path(data: &DataDir) -> PathBuf {
        data.path().join("server.json")
    }

    /// What the server of this directory says, if one runs.
    pub fn read(data: &DataDir) -> Option<Self> {
        // One that died left its file behind, but not its lock.
        let file = std::fs::read(Self::path(data)).ok()?;
        if data.in_use() { serde_json::from_slice(&file).ok() } else { None }
    }

    /// Tells it.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, data: &DataDir) -> Result<(), DataDirError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_private(&Self::path(data), &text)
    }

    /// Takes it back.
    pub fn remove(data: &DataDir) {
        // Whoever reads it looks at the lock too.
        let _ = std::fs::remove_file(Self::path(data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_server_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open_or_create(folder.path()).unwrap();
        let file = ServerFile { url: "http://127.0.0.1:1".into(), pid: 7, fingerprint: None };
        file.write(&data).unwrap();
        assert_eq!(ServerFile::read(&data), None);
        let _lock = data.lock().unwrap();
        assert_eq!(ServerFile::read(&data), Some(file));
        ServerFile::remove(&data);
        assert_eq!(ServerFile::read(&data), None);
    }
}
