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
use zeroize::Zeroizing;

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
    let (certificate, key) = places(data);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(on("create", &folder))?;
    // A command beside the server may want it at the same moment: only one makes it.
    let lock = fs::File::open(&folder).map_err(on("open", &folder))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| on("lock", &folder)(error.into()))?;
    super::remove_leftovers(&folder);
    if !certificate.exists() {
        let made = Made::new()?;
        // The key first: a certificate without its key would be kept for ever.
        write_private(&key, made.key.as_bytes())?;
        write_private(&certificate, made.certificate.as_bytes())?;
    }
    Ok((certificate, key))
}

/// A certificate and its key, in PEM form.
struct Made {
    certificate: String,
    key: Zeroizing<String>,
}

impl Made {
    fn new() -> Result<Self, CertificateError> {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "StackSync");
        Ok(Self { certificate: params.self_signed(&pair)?.pem(), key: Zeroizing::new(pair.serialize_pem()) })
    }
}

/// A new certificate and its key, in PEM form, one after the other.
///
/// # Errors
/// When they cannot be made.
pub fn make() -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let made = Made::new()?;
    Ok(Zeroizing::new([made.certificate.as_bytes(), b"\n", made.key.as_bytes()].concat()))
}

/// The self-made certificate and key that a data directory has, in PEM form, one after the other.
///
/// # Errors
/// When they are there and cannot be read.
pub fn kept(data: &DataDir) -> Result<Option<Zeroizing<Vec<u8>>>, CertificateError> {
    let (certificate, key) = places(data);
    if !certificate.exists() {
        return Ok(None);
    }
    let mut pem = Zeroizing::new(fs::read(&certificate).map_err(on("read", &certificate))?);
    pem.push(b'\n');
    pem.extend_from_slice(&Zeroizing::new(fs::read(&key).map_err(on("read", &key))?));
    Ok(Some(pem))
}

/// Makes these the self-made certificate and key of a data directory.
///
/// # Errors
/// When they cannot be written.
pub fn keep(data: &DataDir, pem: &[u8]) -> Result<(), CertificateError> {
    let (certificate, key) = places(data);
    let folder = data.path().join("tls");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(on("create", &folder))?;
    // Each is read by what it begins with, so both may stand in both files.
    write_private(&key, pem)?;
    write_private(&certificate, pem)?;
    Ok(())
}

fn places(data: &DataDir) -> (PathBuf, PathBuf) {
    let folder = data.path().join("tls");
    (folder.join("cert.pem"), folder.join("key.pem"))
}

/// A certificate chain and its private key, ready for use.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Where they are from, for messages.
    place: PathBuf,
}

impl Credentials {
    /// From two files.
    ///
    /// # Errors
    /// When they are unreadable.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain = chain_of(CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect), certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| not_pem(key, "a private key", error.to_string()))?;
        Ok(Self { chain, key, place: certificate.to_owned() })
    }

    /// From one text that has both.
    ///
    /// # Errors
    /// When it has not.
    pub fn parse(pem: &[u8], place: &Path) -> Result<Self, CertificateError> {
        let chain = chain_of(CertificateDer::pem_slice_iter(pem).collect(), place)?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| not_pem(place, "a private key", error.to_string()))?;
        Ok(Self { chain, key, place: place.to_owned() })
    }

    /// SHA-256 of the first certificate, in lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        let first = self.chain.first().map(|first| &**first).unwrap_or_default();
        let digest = ring::digest::digest(&ring::digest::SHA256, first);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The server side of TLS with them.
    ///
    /// # Errors
    /// When they do not fit each other.
    pub fn server_config(self) -> Result<Arc<ServerConfig>, CertificateError> {
        let place = self.place;
        let unusable = |source| CertificateError::Unusable { path: place.clone(), source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn not_pem(path: &Path, what: &'static str, problem: String) -> CertificateError {
    CertificateError::NotPem { path: path.to_owned(), what, problem }
}

fn chain_of(
    read: Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error>,
    place: &Path,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    match read {
        Ok(chain) if chain.is_empty() => Err(not_pem(place, "a certificate", "it holds no certificate".to_owned())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(not_pem(place, "a certificate", error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open_or_create(folder.path()).unwrap();
        let (certificate, key) = self_made(&data).unwrap();
        let read = || Credentials::read(&certificate, &key).unwrap();
        let first = read().fingerprint();
        assert_eq!(first.len(), 64);
        self_made(&data).unwrap();
        assert_eq!(read().fingerprint(), first);
        read().server_config().unwrap();
        let swapped = Credentials::read(&key, &certificate).err().unwrap().to_string();
        assert!(swapped.contains("is not a certificate in PEM form"), "{swapped}");
    }

    #[test]
    fn it_travels_as_one_text_and_comes_back() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [data, other] = folders.each_ref().map(|folder| DataDir::open_or_create(folder.path()).unwrap());
        assert!(kept(&data).unwrap().is_none());
        self_made(&data).unwrap();
        let pem = kept(&data).unwrap().unwrap();
        let place = Path::new("somewhere");
        let first = Credentials::parse(&pem, place).unwrap();
        keep(&other, &pem).unwrap();
        let (certificate, key) = self_made(&other).unwrap();
        let again = Credentials::read(&certificate, &key).unwrap();
        assert_eq!(again.fingerprint(), first.fingerprint());
        again.server_config().unwrap();
        first.server_config().unwrap();
        Credentials::parse(&make().unwrap(), place).unwrap().server_config().unwrap();
        let error = Credentials::parse(b"nothing", place).err().unwrap().to_string();
        assert!(error.contains("somewhere"), "{error}");
    }
}
