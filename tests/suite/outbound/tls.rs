//! Certificates of the other side. Those here are for `localhost`, by an authority of nobody's, good for a hundred years.

use std::sync::Arc;

use jeton::outbound::{Error, Options, Outbound};
use serde_json::Value;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::LIMIT;
use crate::remote::{Remote, Reply};

async fn server() -> Remote {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Remote::over(
        |_| Reply::json("{}"),
        move |stream| {
            let accept = acceptor.accept(stream);
            async { accept.await.ok() }
        },
    )
    .await
}

/// What comes of calling `host` on that server.
async fn call(server: &Remote, host: &str, authorities: Option<&[u8]>) -> Result<(), Error> {
    let allow = vec!["127.0.0.1".parse().unwrap()];
    let authorities = authorities.map(<[u8]>::to_vec);
    let outbound = Outbound::new(Options { allow, authorities, ..Options::default() }).unwrap();
    let url = format!("https://{host}:{}/", server.port()).parse().unwrap();
    outbound.get_json::<Value>(&url, LIMIT, outbound.deadline()).await.map(|_| ())
}

#[tokio::test]
async fn only_certificates_of_known_authorities_for_that_host_are_taken() {
    let server = server().await;
    let authority: &[u8] = include_bytes!("authority.pem");
    assert!(call(&server, "localhost", Some(authority)).await.is_ok());
    for (host, authorities) in [("localhost", None), ("127.0.0.1", Some(authority))] {
        let answer = call(&server, host, authorities).await;
        assert!(matches!(answer, Err(Error::Unreachable { .. })), "{host}: {answer:?}");
    }
    assert_eq!(server.requests().len(), 1, "nothing is sent to strangers");
}
