//! Whom we believe: the one certificate that the join code named, or else the platform's authorities.

use super::address::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Why there is no way to encrypt.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Neither a fingerprint nor authorities.
    #[error("this computer has no certificate authorities (on Debian: the package ca-certificates)")]
    NoAuthorities,
    /// The library refuses its own defaults.
    #[error(transparent)]
    Library(#[from] Error),
}

/// How to open encrypted connections.
pub fn config(fingerprint: Option<Fingerprint>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    Ok(match fingerprint {
        Some(fingerprint) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { fingerprint, provider })).with_no_client_auth()
        }
        None => builder.with_root_certificates(authorities()?).with_no_client_auth(),
    })
}

fn authorities() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let (known, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if known == 0 { Err(TlsError::NoAuthorities) } else { Ok(store) }
}

/// Believes one certificate and no other, whatever names and dates it bears.
///
/// The fingerprint stands for the certificate and so for its key; that the other side has the key is what the signature of the
/// handshake shows, which is checked as usual.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Fingerprint::of(end_entity) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    /// A handshake in memory between a client that pins `fingerprint` and a server with `certificate`, which signs with `key`.
    fn handshake(
        fingerprint: Fingerprint,
        certificate: &CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let resolver = {
            let signer = provider.key_provider.load_private_key(key)?;
            rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![certificate.clone()], signer))
        };
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let mut server = ServerConnection::new(Arc::new(server))?;
        let client = Arc::new(config(Some(fingerprint)).unwrap());
        let mut client = ClientConnection::new(client, ServerName::try_from("anything").unwrap())?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    fn made() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let made = rcgen::generate_simple_self_signed(vec!["stacksync".into()]).unwrap();
        (made.cert.der().clone(), PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()))
    }

    #[test]
    fn the_pinned_certificate_is_believed_and_no_other() {
        let (certificate, key) = made();
        handshake(Fingerprint::of(&certificate), &certificate, key.clone_key()).unwrap();
        let refused = handshake(Fingerprint::of(b"another"), &certificate, key).unwrap_err();
        assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused}");
    }

    /// A certificate is public: who shows it must also have its key.
    #[test]
    fn the_pinned_certificate_without_its_key_is_not_believed() {
        let (certificate, _) = made();
        let (_, another_key) = made();
        assert!(handshake(Fingerprint::of(&certificate), &certificate, another_key).is_err());
    }
}
