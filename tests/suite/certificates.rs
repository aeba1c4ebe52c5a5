//! Certificates for tests, made when they are needed.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jeton::ambient::Clock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// An authority of nobody's.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    pub cert: String,
    pub key: String,
}

/// Where Kubernetes mounts a secret: the files are links into `..data`, which is a link to the directory that holds them.
pub struct Mount {
    dir: PathBuf,
    swaps: u32,
}

// === impl Authority ===

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Of a server on this machine.
    pub fn server(&self) -> Certified {
        self.certify(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("localhost".try_into().unwrap()),
                SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ];
        })
    }

    /// Of a client with these alternative names: URIs, and host names behind `dns:`.
    pub fn client(&self, names: &[&str]) -> Certified {
        self.certify(|params| as_client(params, names))
    }

    pub fn expired_client(&self, names: &[&str]) -> Certified {
        self.certify(|params| {
            as_client(params, names);
            params.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    /// Good for so long from now on.
    pub fn brief_client(&self, names: &[&str], good_for: Duration) -> Certified {
        self.certify(|params| {
            as_client(params, names);
            params.not_after =
                date_time_ymd(1970, 1, 1) + Duration::from_secs(Clock::default().now().as_secs()) + good_for;
        })
    }

    fn certify(&self, change: impl FnOnce(&mut CertificateParams)) -> Certified {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Certified { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// How a server that it certified is reached, and what it is shown.
    pub fn endpoint(&self, port: u16, shown: Option<&Certified>) -> Endpoint {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.pem));
        let tls = match shown {
            Some(own) => tls.identity(Identity::from_pem(&own.cert, &own.key)),
            None => tls,
        };
        Endpoint::try_from(format!("https://localhost:{port}")).unwrap().tls_config(tls).unwrap()
    }

    /// A connection to a server that it certified.
    pub async fn connect(&self, port: u16, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(config).connect(name, stream).await
    }

    /// How such connections are secured. It remembers their sessions.
    pub fn config(&self, shown: Option<&Certified>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![own.der()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// The certificate that a server shows to a new connection.
    pub async fn shown_by(&self, port: u16) -> CertificateDer<'static> {
        let stream = self.connect(port, self.config(None)).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// As nobody certified it.
pub fn self_signed(names: &[&str]) -> Certified {
    let mut params = CertificateParams::default();
    as_client(&mut params, names);
    let key = KeyPair::generate().unwrap();
    Certified { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn as_client(params: &mut CertificateParams, names: &[&str]) {
    let name = |text: &&str| match text.strip_prefix("dns:") {
        Some(host) => SanType::DnsName(host.try_into().unwrap()),
        None => SanType::URI((*text).try_into().unwrap()),
    };
    params.subject_alt_names = names.iter().map(name).collect();
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
}

// === impl Certified ===

impl Certified {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    /// Writes both into files of that name; their paths.
    pub fn write(&self, dir: &Path, name: &str) -> (String, String) {
        let path = |extension: &str| dir.join(format!("{name}.{extension}")).display().to_string();
        let (cert, key) = (path("crt"), path("key"));
        fs::write(&cert, &self.cert).unwrap();
        fs::write(&key, &self.key).unwrap();
        (cert, key)
    }
}

// === impl Mount ===

impl Mount {
    pub fn new(dir: &Path, own: &Certified) -> Self {
        let mut mount = Self { dir: dir.to_owned(), swaps: 0 };
        fs::create_dir_all(dir).unwrap();
        mount.swap(&own.cert, &own.key);
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), dir.join(file)).unwrap();
        }
        mount
    }

    pub fn cert(&self) -> PathBuf {
        self.dir.join("tls.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.join("tls.key")
    }

    /// Replaces both files at once.
    pub fn swap(&mut self, cert: &str, key: &str) {
        let old = format!("..{}", self.swaps);
        self.swaps += 1;
        let new = format!("..{}", self.swaps);
        fs::create_dir(self.dir.join(&new)).unwrap();
        fs::write(self.dir.join(&new).join("tls.crt"), cert).unwrap();
        fs::write(self.dir.join(&new).join("tls.key"), key).unwrap();
        symlink(&new, self.dir.join("..data_tmp")).unwrap();
        fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data")).unwrap();
        // There is none before the first.
        let _ = fs::remove_dir_all(self.dir.join(old));
    }
}
