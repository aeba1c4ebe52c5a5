//! How the server is reached: its URL, and TLS for `rediss://`.

use std::fmt;

use jeton_core::secret::SecretText;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
    io::tcp::TcpSettings,
};

use crate::storage::{Error, Result};

/// What a server under TLS is checked and answered with, in PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The authorities that are trusted in place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The client certificate with its chain, and its private key.
    pub identity: Option<(Vec<u8>, SecretText)>,
}

/// A client of the server at `url`. Nothing is connected yet.
pub(super) fn client(url: &SecretText, tls: &Tls) -> Result<Client> {
    let info = info(url)?;
    let ConnectionAddr::TcpTls { insecure, .. } = info.addr() else {
        return Client::open(info).map_err(|_| unusable_url());
    };
    if *insecure {
        return Err(Error::Unsuitable { why: "the URL of the Redis server says not to check its certificate".into() });
    }
    let certificates = TlsCertificates {
        client_tls: tls.identity.as_ref().map(|(cert, key)| ClientTlsConfig {
            client_cert: cert.clone(),
            client_key: key.expose().as_bytes().to_vec(),
        }),
        root_cert: tls.authorities.clone(),
    };
    Client::build_with_tls(info, certificates)
        .map_err(|error| Error::Unsuitable { why: format!("the files for TLS to Redis cannot be used: {error}") })
}

fn info(url: &SecretText) -> Result<ConnectionInfo> {
    let info = url.expose().into_connection_info().map_err(|_| unusable_url())?;
    // RESP3 notices a broken connection at once, even while nobody uses it. The library's announcement of its
    // name is left out, because it needs a right that nothing else needs.
    let login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    Ok(info.set_redis_settings(login).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// Says nothing of the URL: it may hold a password.
fn unusable_url() -> Error {
    Error::Unsuitable {
        why: "the URL of the Redis server is not of the form redis[s]://[user:password@]host:port[/db]".into(),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
