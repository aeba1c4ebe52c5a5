//! Certificates of the other side.

use jeton::outbound::{Error, Options, Outbound};
use serde_json::Value;

use super::LIMIT;
use crate::remote::{AUTHORITY, Remote, Reply};

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
    let server = Remote::secure(|_| Reply::json("{}")).await;
    assert!(call(&server, "localhost", Some(AUTHORITY)).await.is_ok());
    for (host, authorities) in [("localhost", None), ("127.0.0.1", Some(AUTHORITY))] {
        let answer = call(&server, host, authorities).await;
        assert!(matches!(answer, Err(Error::Unreachable { .. })), "{host}: {answer:?}");
    }
    assert_eq!(server.requests().len(), 1, "nothing is sent to strangers");
}
