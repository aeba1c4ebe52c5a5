//! TLS: how listeners are secured, and what becomes of connections when certificates are replaced.

mod binary;
mod handshakes;
mod redis;
mod reload;

use std::{path::Path, time::Duration};

use jeton::serve::tls::{ClientAuth, Files};

use crate::certificates::{Authority, Mount};

/// Longer than anything here takes, unless it hangs.
const SOON: Duration = Duration::from_secs(30);

/// The files of a mounted secret, with clients' certificates from `clients`, if any.
fn files(mount: &Mount, dir: &Path, clients: Option<(&Authority, ClientAuth)>) -> Files {
    let path = dir.join("clients.pem");
    let client_auth = clients.map_or(ClientAuth::Off, |(authority, auth)| {
        std::fs::write(&path, &authority.pem).unwrap();
        auth
    });
    Files { cert: mount.cert(), key: mount.key(), client_ca: clients.map(|_| path), client_auth }
}

/// Waits until `reached`, asking again and again.
async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !reached() {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
