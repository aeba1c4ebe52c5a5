//! What stands in certificate files, and what a verified client certificate says of its holder.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs as cryptography},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};
use zeroize::Zeroizing;

use super::Error;
use crate::ambient::Time;

/// The files that listeners are secured with, all of them PEM, and what clients must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and behind it those that lead to an authority, each certifying the one before.
    pub cert: PathBuf,
    /// Its private key: PKCS #8, SEC 1 or PKCS #1.
    pub key: PathBuf,
    /// The authorities of client certificates. [`ClientAuth::Off`] wants none.
    pub client_ca: Option<PathBuf>,
    pub client_auth: ClientAuth,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked to.
    Off,
    /// Whoever shows one must show one that holds.
    Optional,
    /// Nobody connects without.
    Required,
}

/// Files that cannot be used. It names the file, and quotes nothing of it.
#[derive(Debug)]
pub struct CertificateError {
    attempted: &'static str,
    path: PathBuf,
    source: Error,
}

/// What the files held when they were read.
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// What listeners are secured with until the files change.
pub(super) struct Loaded {
    /// For those whom the service is for.
    pub(super) callers: ServerConfig,
    /// For those who run it: their probes have no certificates.
    pub(super) operators: ServerConfig,
    /// When the first certificate of the chain expires.
    pub(super) not_after: Time,
}

/// What a verified client certificate says.
pub(super) struct Shown {
    /// `None`: it has no name that a client could register.
    pub(super) identities: Option<Identities>,
    pub(super) not_after: Time,
}

/// Tells one state of the files from another.
pub(super) type Digest = [u8; 32];

/// The names of a verified client certificate as clients register them: `spiffe://…` and `dns:…`. Never empty.
pub type Identities = Arc<[String]>;

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

    /// Makes something of what was read, if it holds together at `now`.
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

/// Refuses a chain that no client would take. Returns when its first certificate expires.
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

fn time(seconds: i64) -> Time {
    // What is before 1970 has passed, whenever it was.
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
            // A session that is resumed brings its client certificate along unseen: one that has expired, or whose
            // authority was taken away, would go on.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    })
}

// === impl Shown ===

impl Shown {
    /// Reads a certificate that was verified; `None`: there is nothing in it to be read.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let not_after = time(parsed.validity().not_after.timestamp());
        Some(Self { identities: identities(&parsed), not_after })
    }
}

/// Only alternative names count (RFC 9525 §2), and of a SPIFFE certificate only those of one that has a single URI among
/// them (X509-SVID §2, §5.2): which one would be meant is anybody's guess.
fn identities(parsed: &X509Certificate<'_>) -> Option<Identities> {
    let names = &parsed.subject_alternative_name().ok()??.value.general_names;
    let uris: Vec<&str> =
        names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
    let spiffe: Vec<&str> = uris.iter().copied().filter(|uri| uri.starts_with("spiffe:")).collect();
    if !spiffe.is_empty() && uris.len() > 1 {
        return None;
    }
    let dns = names.iter().filter_map(|name| {
        let GeneralName::DNSName(name) = name else { return None };
        // Names compare without regard to case (RFC 4343); registered ones are in lower case.
        Some(format!("dns:{}", name.to_ascii_lowercase()))
    });
    let identities: Vec<String> = spiffe.into_iter().map(str::to_owned).chain(dns).collect();
    (!identities.is_empty()).then(|| identities.into())
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
    /// The same for the same fault.
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
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType, date_time_ymd};

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
    fn what_does_not_hold_together_is_refused_by_name() {
        let (authority, issuer) = issuer("authority");
        let (cert, key) = leaf(&issuer, |_| {});
        let loaded = load(&cert, &key, Some(&authority)).unwrap();
        assert!(loaded.not_after > crate::ambient::Clock::default().now());
        load(&format!("{cert}{authority}"), &key, None).unwrap();
        let (expired, old_key) = leaf(&issuer, |params| params.not_after = date_time_ymd(2020, 1, 1));
        let (early, early_key) = leaf(&issuer, |params| params.not_before = date_time_ymd(2999, 1, 1));
        for (cert, key, client_ca, told) in [
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
            assert!(refused.starts_with(told), "{refused}");
            assert!(!refused.contains("PRIVATE"), "{refused}");
        }
    }

    #[test]
    fn a_client_is_what_its_alternative_names_say() {
        let (_, issuer) = issuer("authority");
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
        for (names, told) in [
            (vec![], vec![]),
            (vec![uri("spiffe://example.org/billing")], vec!["spiffe://example.org/billing"]),
            (vec![dns("Billing.Example.org")], vec!["dns:billing.example.org"]),
            (
                vec![dns("a.example"), uri("spiffe://example.org/a"), dns("b.example")],
                vec!["spiffe://example.org/a", "dns:a.example", "dns:b.example"],
            ),
            (vec![uri("https://a.example")], vec![]),
            (vec![uri("https://a.example"), dns("a.example")], vec!["dns:a.example"]),
            // Which of the two is meant?
            (vec![uri("spiffe://example.org/a"), uri("spiffe://example.org/b"), dns("a.example")], vec![]),
            (vec![uri("spiffe://example.org/a"), uri("https://a.example")], vec![]),
        ] {
            let (pem, _) = leaf(&issuer, |params| {
                params.subject_alt_names = names;
                params.distinguished_name.push(rcgen::DnType::CommonName, "dns:not.me");
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
            });
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let found = Shown::read(&certificate).unwrap().identities;
            assert_eq!(found.map_or(Vec::new(), |found| found.to_vec()), told);
        }
    }
}
