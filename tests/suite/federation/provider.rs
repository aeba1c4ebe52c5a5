//! A real OpenID provider in a process of its own. One serves all tests, and ends with them.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::LazyLock,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{
    Certificate, Client, Url,
    header::{COOKIE, LOCATION, SET_COOKIE},
    redirect,
};

use crate::{remote::AUTHORITY, servers::installed};

/// Where codes are sent to; both are registered.
pub const CALLBACK: &str = "https://app.example.com/callback";
pub const OTHER_CALLBACK: &str = "https://app.example.com/other";
/// Of the clients that have one.
pub const SECRET: &str = "secret: with % and +";
/// The verifier of RFC 7636 appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const NONCE: &str = "n-0S6_WzA2Mj";

static PROVIDER: LazyLock<OpenIdProvider> = LazyLock::new(OpenIdProvider::start);

struct OpenIdProvider {
    issuer: String,
    /// It ends when its standard input does, or when it writes to an output that nobody has open.
    _process: Child,
    _output: BufReader<ChildStdout>,
}

/// How a code is asked for.
pub struct Ask<'a> {
    pub client_id: &'a str,
    pub challenge: &'a str,
    pub method: &'a str,
}

pub fn issuer() -> &'static str {
    &PROVIDER.issuer
}

/// BASE64URL(SHA256(verifier)) (RFC 7636 §4.2).
pub fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()))
}

/// A code for the client, or the error that the provider sends back instead.
pub async fn code(client_id: &str) -> String {
    let challenge = s256(VERIFIER);
    ask(&Ask { client_id, challenge: &challenge, method: "S256" }).await.unwrap()
}

/// Goes through the provider's pages as a browser does, to the callback.
pub async fn ask(ask: &Ask<'_>) -> Result<String, String> {
    let authority = Certificate::from_pem_bundle(AUTHORITY).unwrap();
    let browser = Client::builder().no_proxy().redirect(redirect::Policy::none()).tls_certs_only(authority);
    let browser = browser.build().unwrap();
    let parameters = [
        ("client_id", ask.client_id),
        ("response_type", "code"),
        ("scope", "openid email profile"),
        ("redirect_uri", CALLBACK),
        ("nonce", NONCE),
        ("code_challenge", ask.challenge),
        ("code_challenge_method", ask.method),
    ];
    let mut url = Url::parse_with_params(&format!("{}/auth", issuer()), parameters).unwrap();
    let mut cookies: Vec<String> = Vec::new();
    for _ in 0..5 {
        let page = browser.get(url.clone()).header(COOKIE, cookies.join("; ")).send().await.unwrap();
        let set = page.headers().get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap());
        cookies.extend(set.map(|cookie| cookie.split(';').next().unwrap().to_owned()));
        url = url.join(page.headers()[LOCATION].to_str().unwrap()).unwrap();
        if url.as_str().starts_with(CALLBACK) {
            let value = |name| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
            return value("code").ok_or_else(|| value("error").unwrap());
        }
    }
    panic!("the provider leads nowhere: {url}")
}

// === impl OpenIdProvider ===

impl OpenIdProvider {
    fn start() -> Self {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
        let mut process = Command::new("node")
            .arg(format!("{tests}/openid-provider/server.mjs"))
            .arg(installed("JETON_TEST_OPENID_PROVIDER", "openid-provider"))
            .args(["key", "pem"].map(|kind| format!("{tests}/suite/outbound/server.{kind}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs: tests/run installs it");
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut issuer = String::new();
        output.read_line(&mut issuer).unwrap();
        assert!(!issuer.is_empty(), "the provider starts: tests/run installs it");
        Self { issuer: issuer.trim().to_owned(), _process: process, _output: output }
    }
}
