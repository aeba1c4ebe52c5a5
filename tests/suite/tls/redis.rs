//! Redis under TLS, as a user who may do only what the service needs.

use std::{
    env, fs,
    io::{self, Write as _},
};

use jeton::api::wire;

use crate::{
    certificates::{Authority, Certified},
    faults::{
        calls::{FULL, Wanted, bearing},
        process::Setup,
    },
    servers::{Aof, Server},
};

/// What `docs/OPERATIONS.md` has operators write into the ACL of their server, with a password.
fn user() -> String {
    let page = include_str!("../../../docs/OPERATIONS.md");
    let line = page.lines().find(|line| line.starts_with("user jeton ")).expect("an ACL line in docs/OPERATIONS.md");
    line.replace("PASSWORD", PASSWORD)
}

const PASSWORD: &str = "correct-horse-battery-staple";

/// A server under TLS that wants client certificates, and a user.
struct Secured {
    server: Server,
    setup: Setup,
    files: Certified,
    authority: Authority,
}

impl Secured {
    /// `None`: there is no server with TLS to be tested with, and that was said.
    fn start() -> Option<Self> {
        if !Server::has_tls() {
            assert!(env::var_os("CI").is_none(), "no redis-server or valkey-server with TLS on PATH (see tests/run)");
            let skipped =
                "SKIPPED: no redis-server or valkey-server on PATH has TLS, so TLS towards Redis was not tested";
            let _ = writeln!(io::stdout(), "{skipped}");
            return None;
        }
        let authority = Authority::new("servers");
        let setup = Setup::bare();
        let (cert, key) = authority.server().write(setup.dir(), "redis");
        let ca = setup.dir().join("redis-ca.pem").display().to_string();
        fs::write(&ca, &authority.pem).unwrap();
        let acl = setup.dir().join("users.acl").display().to_string();
        fs::write(&acl, format!("user default off\n{}\n", user())).unwrap();
        let server = Server::secured(
            Aof::On,
            &["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca, "--aclfile", &acl],
        );
        let files = authority.client(&["dns:jeton"]);
        Some(Self { server, setup, files, authority })
    }

    /// A service on it, as `user`.
    fn service(&self, url: &str) -> Setup {
        let (cert, key) = self.files.write(self.setup.dir(), "client");
        let ca = self.setup.dir().join("redis-ca.pem").display().to_string();
        Setup::redis_at(url)
            .env("JETON_REDIS_CA_FILE", &ca)
            .env("JETON_REDIS_CERT_FILE", &cert)
            .env("JETON_REDIS_KEY_FILE", &key)
    }

    fn url(&self, login: &str) -> String {
        format!("rediss://{login}@localhost:{}/", self.server.port())
    }
}

#[tokio::test]
async fn the_documented_user_under_tls_is_enough_for_everything() {
    let Some(secured) = Secured::start() else { return };
    let jeton = secured.service(&secured.url(&format!("jeton:{PASSWORD}"))).start();
    let link = jeton.link();
    let admin = link.admin().await;
    let client = link.new_client(&admin, std::time::Duration::from_secs(10)).await;
    let account = link.new_account(&admin).await;
    let wanted = Wanted { account: account.clone(), refresh: true, ..Default::default() };
    let issued = link.issue(&client, &wanted).await.unwrap();
    let renewed = link.renew(&client, &issued.refresh_token).await.unwrap();
    assert!(link.is_active(&client, &renewed.access_token, FULL).await.unwrap());
    let subject = Some(wire::list_tokens_request::Subject::AccountId(account.clone()));
    let list = wire::ListTokensRequest { tenant_id: "default".into(), subject, ..Default::default() };
    let list = bearing(&admin, list);
    assert_eq!(link.tokens().list_tokens(list).await.unwrap().into_inner().tokens.len(), 2);
    link.revoke_all_of_account(&admin, &account).await.unwrap();
    assert!(!link.is_active(&client, &renewed.access_token, FULL).await.unwrap());
    // Nobody said a word of a right that is missing, and the setup was looked at in full.
    let log = jeton.err();
    assert!(!log.contains("NOPERM") && !log.contains(PASSWORD), "{log}");
    // Another replica reads the whole map of revocations.
    let other = secured.service(&secured.url(&format!("jeton:{PASSWORD}"))).start();
    let link = other.link();
    assert!(!link.is_active(&client, &renewed.access_token, FULL).await.unwrap());
    assert!(!other.err().contains("NOPERM"), "{}", other.err());
}

#[test]
fn a_server_that_is_not_trusted_is_not_used() {
    let Some(mut secured) = Secured::start() else { return };
    let url = secured.url(&format!("jeton:{PASSWORD}"));
    let waits = |setup: Setup, answer: &str| {
        let jeton = setup.start_unwatched();
        crate::servers::until(answer, || jeton.err().contains(answer));
        assert!(!jeton.err().contains(PASSWORD), "{}", jeton.err());
    };
    // A server that somebody else certified.
    let stranger = secured.setup.dir().join("stranger.pem").display().to_string();
    fs::write(&stranger, Authority::new("servers").pem).unwrap();
    waits(secured.service(&url).env("JETON_REDIS_CA_FILE", &stranger), "the store is not reached yet");
    // A user that is not there, and a certificate that the server does not know.
    waits(secured.service(&secured.url("jeton:wrong")), "the store is not reached yet");
    secured.files = Authority::new("clients").client(&["dns:jeton"]);
    waits(secured.service(&url), "the store is not reached yet");
    // Files that are none.
    secured.files = Certified { cert: "nonsense".into(), key: "nonsense".into() };
    let ended = secured.service(&url).run();
    assert!(ended.err.contains("the files for TLS to Redis cannot be used"), "{}", ended.err);
    let ended = secured.service(&format!("{url}#insecure")).run();
    assert!(ended.err.contains("says not to check its certificate"), "{}", ended.err);
    drop(secured.authority);
}
