//! TLS 1.3 with one Ed25519 key: shown by the server, pinned by the client.

use asl_auth::{PublicKey, SigningKey};
use asl_core::{Error, Kind, Result};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{ring, verify_tls13_signature, CryptoProvider};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, PeerIncompatible,
    ServerConfig, SignatureScheme,
};
use zeroize::Zeroizing;

/// An Ed25519 private key in PKCS#8 version 1, up to the seed (RFC 8410, section 7).
const PKCS8_HEAD: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// An Ed25519 SubjectPublicKeyInfo, up to the key (RFC 8410, section 4).
const SPKI_HEAD: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// The name in the certificate, and the one dialled; nobody looks at it.
const NAME: &str = "asl-host";

fn failed(e: impl std::fmt::Display) -> Error {
    Error::new(Kind::Io, "prepare", "TLS", e)
}

/// The server's side: the host's key under a self-signed certificate.
pub(crate) fn server_config(identity: &SigningKey) -> Result<ServerConfig> {
    let seed = identity.to_seed();
    let pkcs8 = Zeroizing::new([PKCS8_HEAD, seed.as_slice()].concat());
    let key = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let signer = rcgen::KeyPair::try_from(&key).map_err(failed)?;
    let cert = rcgen::CertificateParams::new(vec![NAME.to_string()])
        .and_then(|params| params.self_signed(&signer))
        .map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(key.clone_key());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .map_err(failed)?;
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The key a server showed, kept so that an error can say it in words.
pub(crate) type Seen = Arc<Mutex<Option<PublicKey>>>;

/// The client's side: TLS with whoever holds the pinned key, and nobody else.
pub(crate) fn client_config(pinned: PublicKey, seen: Seen) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned {
        pinned,
        seen,
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

pub(crate) fn server_name() -> Result<ServerName<'static>> {
    ServerName::try_from(NAME).map_err(failed)
}

#[derive(Debug)]
struct Pinned {
    pinned: PublicKey,
    seen: Seen,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        let refuse = TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let spki = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let raw = spki.strip_prefix(SPKI_HEAD).ok_or_else(|| refuse.clone())?;
        let key = PublicKey::from_bytes(raw).map_err(|_| refuse.clone())?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        if key == self.pinned {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refuse)
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        // Anyone can copy the certificate; only this proves that the peer holds its key.
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
