//! The certificate files of TLS: how they are read, checked and made into configurations.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use jeton_core::Time;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs as cryptography},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};
use zeroize::Zeroizing;

use super::error::Error;

/// The PEM files that listeners are secured with, and whether clients must present certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and behind it those that lead to an authority, each certifying the one before.
    pub cert: PathBuf,
    /// Its private key: PKCS #8, SEC 1 or PKCS #1.
    pub key: PathBuf,
    /// The authorities of client certificates. Not needed with [`ClientAuth::Off`].
    pub client_ca: Option<PathBuf>,
    pub client_auth: ClientAuth,
}

/// Whether clients present certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    Off,
    /// A client may present one, which must then verify.
    Optional,
    /// A client without one cannot connect.
    Required,
}

/// Why files cannot be used. Its text names the file and quotes nothing of it.
#[derive(Debug)]
pub struct CertificateError {
    attempted: &'static str,
    path: PathBuf,
    source: Error,
}

/// The bytes of the files, read together.
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// The TLS configurations that were made of one state of the files.
pub(super) struct Loaded {
    /// For the service's callers.
    pub(super) callers: ServerConfig,
    /// For the operators' listener, whose probes have no certificates.
    pub(super) operators: ServerConfig,
    /// When the first certificate of the chain expires.
    pub(super) not_after: Time,
}

/// Tells one state of the files from another.
pub(super) type Digest = [u8; 32];

/// How much of a file is read: bundles of authorities are long, device files have no end.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

// === impl Files ===

impl Files {
    /// Reads all of them.
    pub(super) fn read(&self) -> Result<Contents, CertificateError> {
        Ok(Contents {
            cert: read(&self.cert)?,
            key: Zeroizing::new(read(&self.key)?),
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }

    /// Makes configurations of `contents`, if certificate, key and authorities fit together and are valid at `now`.
    pub(super) fn load(&self, contents: &Contents, now: Time) -> Result<Loaded, CertificateError> {
        let of = |attempted, path: &Path| {
            let path = path.to_owned();
            move |source: Error| CertificateError { attempted, path, source }
        };
        let provider = Arc::new(cryptography::default_provider());
        let cert_failed = || of("use the certificate", &self.cert);
        let chain = certificates(&contents.cert).map_err(cert_failed())?;
        let not_after = check_chain(&chain, now).map_err(cert_failed())?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| "it holds no private key in PEM".into());
        let key_failed = || of("use the private key", &self.key);
        let key = key.map_err(key_failed())?;
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|error| key_failed()(error.into()))?;
        let pair = Arc::new(pair);
        let verifier = match (self.client_auth, &self.client_ca, &contents.client_ca) {
            (ClientAuth::Off, _, _) | (_, None, _) | (_, _, None) => None,
            (auth @ (ClientAuth::Optional | ClientAuth::Required), Some(path), Some(pem)) => {
                let verifier = verifier(pem, auth, &provider);
                Some(verifier.map_err(of("use the client authorities", path))?)
            }
        };
        let configure = |verifier| configure(&provider, &pair, verifier).map_err(cert_failed());
        Ok(Loaded { callers: configure(verifier)?, operators: configure(None)?, not_after })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let read = || {
        let mut bytes = Vec::new();
        let length = File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if u64::try_from(length).is_ok_and(|length| length <= MAX_FILE_BYTES) {
            Ok(bytes)
        } else {
            Err(io::Error::from(io::ErrorKind::FileTooLarge))
        }
    };
    read().map_err(|error| CertificateError { attempted: "read", path: path.to_owned(), source: error.into() })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| "it is not PEM throughout")?;
    if found.is_empty() { Err("it holds no certificate in PEM".into()) } else { Ok(found) }
}

/// Refuses a chain that no client would accept. Returns when its first certificate expires.
fn check_chain(chain: &[CertificateDer<'_>], now: Time) -> Result<Time, Error> {
    let parse = |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|_| "it holds no X.509");
    let parsed = chain.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    if parsed.windows(2).any(|pair| matches!(pair, [one, next] if one.issuer().as_raw() != next.subject().as_raw())) {
        return Err("its certificates are out of order: each must certify the one before".into());
    }
    let mut first = Time::NEVER;
    for certificate in &parsed {
        let validity = certificate.validity();
        let (begins, ends) = (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()));
        if ends <= now {
            return Err(format!("it expired at {}", validity.not_after).into());
        }
        if begins > now {
            return Err(format!("it is not valid before {}", validity.not_before).into());
        }
        first = first.min(ends);
    }
    Ok(first)
}

pub(super) fn time(seconds: i64) -> Time {
    // Times before 1970 are in the past all the same.
    Time::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn verifier(
    pem: &[u8],
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(pem)? {
        authorities.add(certificate)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    let builder = match auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Off | ClientAuth::Required => builder,
    };
    Ok(builder.build()?)
}

/// TLS 1.2 and 1.3 with the library's own choice of ciphers, which leaves the weak ones out.
fn configure(
    provider: &Arc<CryptoProvider>,
    pair: &Arc<CertifiedKey>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::clone(pair)));
    Ok(match verifier {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some(verifier) => {
            let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
            // A resumed session is not verified again: its client certificate would be accepted after it has expired, or
            // after its authority was removed.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    })
}

// === impl Contents ===

impl Contents {
    pub(super) fn digest(&self) -> Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [Some(&self.cert), Some(&*self.key), self.client_ca.as_ref()] {
            let part = part.map_or(&[][..], Vec::as_slice);
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        finish(context)
    }
}

// === impl CertificateError ===

impl CertificateError {
    /// Equal for equal faults.
    pub(super) fn digest(&self) -> Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(format!("{self}: {}", self.source).as_bytes());
        finish(context)
    }
}

fn finish(context: digest::Context) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.attempted, self.path.display())
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};

    use super::*;

    fn issuer(name: &str) -> (String, Issuer<'static, KeyPair>) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    }

    fn leaf(issuer: &Issuer<'_, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
    }

    fn load(cert: &str, key: &str, client_ca: Option<&str>) -> Result<Loaded, String> {
        let client_auth = if client_ca.is_some() { ClientAuth::Required } else { ClientAuth::Off };
        let files = Files { cert: "c".into(), key: "k".into(), client_ca: client_ca.map(|_| "a".into()), client_auth };
        let contents = Contents {
            cert: cert.into(),
            key: Zeroizing::new(key.into()),
            client_ca: client_ca.map(|pem| pem.as_bytes().to_vec()),
        };
        let now = crate::ambient::Clock::default().now();
        files.load(&contents, now).map_err(|error| format!("{error}: {}", error.source))
    }

    #[test]
    fn files_that_do_not_fit_together_are_refused_by_name() {
        let (authority, issuer) = issuer("authority");
        let (cert, key) = leaf(&issuer, |_| {});
        let loaded = load(&cert, &key, Some(&authority)).unwrap();
        assert!(loaded.not_after > crate::ambient::Clock::default().now());
        load(&format!("{cert}{authority}"), &key, None).unwrap();
        let (expired, old_key) = leaf(&issuer, |params| params.not_after = date_time_ymd(2020, 1, 1));
        let (early, early_key) = leaf(&issuer, |params| params.not_before = date_time_ymd(2999, 1, 1));
        for (cert, key, client_ca, expected) in [
            ("", key.as_str(), None, "use the certificate c: it holds no certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\n!", &key, None, "use the certificate c: it is not PEM throughout"),
            (&key, &key, None, "use the certificate c: it holds no certificate in PEM"),
            (&cert, "", None, "use the private key k: it holds no private key in PEM"),
            (&cert, &old_key, None, "use the private key k: "),
            (&expired, &old_key, None, "use the certificate c: it expired at "),
            (&early, &early_key, None, "use the certificate c: it is not valid before "),
            (&format!("{cert}{expired}"), &key, None, "use the certificate c: its certificates are out of order"),
            (&cert, &key, Some(""), "use the client authorities a: it holds no certificate in PEM"),
        ] {
            let refused = load(cert, key, client_ca).err().unwrap();
            assert!(refused.starts_with(expected), "{refused}");
            assert!(!refused.contains("PRIVATE"), "{refused}");
        }
    }
}
