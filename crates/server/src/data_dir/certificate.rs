//! The certificate of the HTTP door: one that the service makes for itself, once, or one from files.
//!
//! A self-made certificate is trusted by its fingerprint, which travels in join codes; its names do not matter. It never
//! changes while the data directory lives, or every device would have to join again.

use super::{DataDir, DataDirError, on, write_private};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustix::fs::{FlockOperation, flock};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The data directory does not let it be kept.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// It cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file is none.
    #[error("'{}' is not {what} in PEM form: {problem}", .path.display())]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not fit, or are of a kind that cannot be used.
    #[error("the certificate '{}' cannot be used: {source}", .path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// The files of the self-made certificate and key; made if they are not there.
///
/// # Errors
/// When they can be neither read nor made.
pub fn self_made(data: &DataDir) -> Result<(PathBuf, PathBuf), CertificateError> {
    let folder = data.path().join("tls");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(on("create", &folder))?;
    // A command beside the server may want it at the same moment: only one makes it.
    let lock = fs::File::open(&folder).map_err(on("open", &folder))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| on("lock", &folder)(error.into()))?;
    super::remove_leftovers(&folder);
    if !certificate.exists() {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "StackSync");
        // The key first: a certificate without its key would be kept for ever.
        write_private(&key, pair.serialize_pem().as_bytes())?;
        write_private(&certificate, params.self_signed(&pair)?.pem().as_bytes())?;
    }
    Ok((certificate, key))
}

/// SHA-256 of the first certificate of this file, in lower-case hexadecimal.
///
/// # Errors
/// When the file holds none.
pub fn fingerprint(certificate: &Path) -> Result<String, CertificateError> {
    let chain = read_chain(certificate)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, chain.first().map(|first| &**first).unwrap_or_default());
    Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let not_pem = |problem: String| CertificateError::NotPem { path: path.to_owned(), what: "a certificate", problem };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<_, _>>())
        .map_err(|error| not_pem(error.to_string()))?;
    if chain.is_empty() { Err(not_pem("it holds no certificate".to_owned())) } else { Ok(chain) }
}

/// The server side of TLS with these files.
///
/// # Errors
/// When they are unreadable or do not fit each other.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let unusable = |source| CertificateError::Unusable { path: certificate.to_owned(), source };
    let chain = read_chain(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| CertificateError::NotPem {
        path: key.to_owned(),
        what: "a private key",
        problem: error.to_string(),
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open_or_create(folder.path()).unwrap();
        let (certificate, key) = self_made(&data).unwrap();
        let first = fingerprint(&certificate).unwrap();
        assert_eq!(first.len(), 64);
        self_made(&data).unwrap();
        assert_eq!(fingerprint(&certificate).unwrap(), first);
        server_config(&certificate, &key).unwrap();
        let swapped = server_config(&key, &certificate).unwrap_err().to_string();
        assert!(swapped.contains("is not a certificate in PEM form"), "{swapped}");
    }
}
