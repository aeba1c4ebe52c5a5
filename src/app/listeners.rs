//! The listeners: bound first, announced when the service is ready, and served each by its protocol.

use std::{
    env,
    fmt::Write as _,
    io::{self, Write as _},
    iter,
    sync::Arc,
};

use super::start;
use crate::{
    ambient::Clock,
    config::{self, Config},
    failure::{Failure, failed},
    serve::{
        Protocol,
        listen::{self, Address, Listener},
        tls::{Security, Tls},
    },
};

/// All listeners of the service, and the certificates of those that are secured.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) tls: Option<Arc<Tls>>,
    grpc: Vec<Listener>,
    http: Vec<Listener>,
    admin: Vec<Listener>,
}

/// The protocols of the listeners.
#[derive(Debug)]
pub(super) struct Protocols {
    pub(super) grpc: Arc<dyn Protocol>,
    /// OAuth 2 over HTTP.
    pub(super) http: Arc<dyn Protocol>,
    pub(super) admin: Arc<dyn Protocol>,
}

// === impl Listeners ===

impl Listeners {
    /// Loads the certificates and binds all addresses.
    pub(super) fn bind(config: &Config) -> Result<Self, Failure> {
        let tls = config.tls.clone().map(|files| Tls::load(files, Clock::default())).transpose();
        let tls = tls.map_err(failed("secure the listeners by the files of `tls`"))?;
        let for_operators = tls.as_ref().filter(|_| config.admin_tls).map(Tls::for_operators);
        Ok(Self {
            grpc: bind(&config.listen, tls.as_ref().map(Tls::for_callers))?,
            http: bind(&config.http_listen, tls.as_ref().map(Tls::for_callers))?,
            admin: bind(&config.admin_listen, for_operators)?,
            tls,
        })
    }

    /// Prints where the service listens and how to try it.
    pub(super) fn announce(&self, config: &Config) {
        let mut text = String::new();
        for listener in &self.grpc {
            let _ = writeln!(text, "jeton listens on {}", listener.address());
        }
        for listener in &self.http {
            let _ = writeln!(text, "OAuth 2 listens on {}", listener.address());
        }
        for listener in &self.admin {
            let _ = writeln!(text, "admin listens on {}", listener.address());
        }
        if let Some(listener) = self.grpc.first() {
            text += &first_steps(listener, config).unwrap_or_default();
        }
        // A closed standard output is no reason not to serve.
        let _ = io::stdout().write_all(text.as_bytes());
        tracing::info!(listeners = self.grpc.len(), "serving");
    }

    /// The listeners, each with its protocol.
    pub(super) fn with(self, protocols: &Protocols) -> Vec<(Listener, Arc<dyn Protocol>)> {
        let serving = |listeners: Vec<Listener>, protocol: &Arc<dyn Protocol>| {
            listeners.into_iter().zip(iter::repeat(Arc::clone(protocol))).collect::<Vec<_>>()
        };
        let all = [
            serving(self.grpc, &protocols.grpc),
            serving(self.http, &protocols.http),
            serving(self.admin, &protocols.admin),
        ];
        all.into_iter().flatten().collect()
    }
}

fn bind(addresses: &[config::Listen], security: Option<Security>) -> Result<Vec<Listener>, Failure> {
    let address = |listen: &config::Listen| {
        let text = listen.to_string();
        text.parse::<Address>().map_err(failed(&format!("read the address {text}")))
    };
    let addresses: Vec<Address> = addresses.iter().map(address).collect::<Result<_, _>>()?;
    let listeners = listen::bind(&addresses).map_err(failed("bind the listeners"))?;
    Ok(match security {
        Some(security) => listeners.into_iter().map(|listener| listener.secured(&security)).collect(),
        None => listeners,
    })
}

/// How to get a first token; `None` unless the embedded store has made the administrator's credentials.
fn first_steps(listener: &Listener, config: &Config) -> Option<String> {
    let credentials = config.data_dir.join(start::BOOTSTRAP_FILE);
    let made = config.bootstrap.is_none() && matches!(config.store, config::Store::Embedded) && credentials.exists();
    if !made {
        return None;
    }
    let (server, credentials) = (listener.address().to_string(), credentials.display().to_string());
    // grpcurl needs the path of a socket without `unix:`, and would use it as the authority, which HTTP/2 does not allow.
    let (target, how) = match server.strip_prefix("unix:") {
        Some(path) => (path, "-plaintext -unix -authority localhost"),
        None if listener.is_secured() => (server.as_str(), "-cacert \"$CA_FILE\""),
        None => (server.as_str(), "-plaintext"),
    };
    // Only the operator knows which authority certified the server.
    let (hint, scheme, trust) = match &config.tls {
        Some(files) if listener.is_secured() => (
            format!(" CA_FILE is the certificate of the authority of {}.", files.cert.display()),
            "https://",
            " --ca-file \"$CA_FILE\"",
        ),
        Some(_) | None => (String::new(), "", ""),
    };
    // As it was called: with `cargo run` it is not in the path.
    let program = env::args().next().unwrap_or_else(|| "jeton".to_owned());
    Some(format!(
        "\nThe administrator's credentials are in {credentials}. Get a token, and see who you are.{hint}\n\n  \
         export TOKEN=$(grpcurl {how} -d @ {target} jeton.v1.TokenService/IssueToken < {credentials} | sed -n 's/.*\"accessToken\": \"\\(.*\\)\".*/\\1/p')\n  \
         grpcurl {how} -expand-headers -H 'authorization: Bearer ${{TOKEN}}' {target} jeton.v1.TokenService/GetCaller\n\n\
         Or: {program} token whoami --server {scheme}{server} --credentials {credentials}{trust}\n"
    ))
}
