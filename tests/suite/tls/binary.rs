//! The real binary under TLS, called by programs that nobody here wrote.

use std::{
    env, fs,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    certificates::{Authority, Certified, Mount},
    faults::process::{Jeton, Setup},
    servers::until,
};

/// A process under TLS, with what is needed to call it.
struct Secured {
    jeton: Jeton,
    setup: Setup,
    authority: Authority,
    clients: Authority,
    mount: Mount,
}

impl Secured {
    fn start(with: impl FnOnce(Setup) -> Setup) -> Self {
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let setup = Setup::bare();
        let mount = Mount::new(&setup.dir().join("mount"), &authority.server());
        fs::write(setup.dir().join("ca.pem"), &authority.pem).unwrap();
        fs::write(setup.dir().join("clients.pem"), &clients.pem).unwrap();
        let clients_file = setup.dir().join("clients.pem").display().to_string();
        let setup = setup
            .env("JETON_TLS_CERT_FILE", &mount.cert().display().to_string())
            .env("JETON_TLS_KEY_FILE", &mount.key().display().to_string())
            .env("JETON_TLS_CLIENT_CA_FILE", &clients_file)
            .env("JETON_TLS_CLIENT_AUTH", "optional");
        let setup = with(setup);
        Self { jeton: setup.start(), setup, authority, clients, mount }
    }

    fn path(&self, name: &str) -> String {
        self.setup.dir().join(name).display().to_string()
    }

    /// What a shell prints with the binary as `jeton` and the files of this test.
    fn shell(&self, script: &str) -> Output {
        Command::new("sh")
            .args(["-euc", script])
            .env_clear()
            .env("PATH", env::var("PATH").unwrap())
            .env("CA_FILE", self.path("ca.pem"))
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, script: &str) -> String {
        let output = self.shell(script);
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `https://localhost:port`.
    fn server(&self) -> String {
        self.jeton.address().replace("127.0.0.1", "https://localhost")
    }

    /// A command of the binary as the administrator.
    #[track_caller]
    fn command(&self, command: &str) -> String {
        let (program, server) = (env!("CARGO_BIN_EXE_jeton"), self.server());
        let credentials = self.setup.data_dir().join("bootstrap.json");
        let credentials = credentials.display();
        self.ok(&format!("{program} {command} --server {server} --ca-file $CA_FILE --credentials {credentials} --json"))
    }

    fn write(&self, own: &Certified, name: &str) -> (String, String) {
        own.write(self.setup.dir(), name)
    }
}

/// Whether there is grpcurl, without which these tests show little.
fn has_grpcurl() -> bool {
    let path = env::var_os("PATH").unwrap();
    let found = env::split_paths(&path).any(|dir| dir.join("grpcurl").is_file());
    assert!(found || env::var_os("CI").is_none(), "grpcurl is not on PATH (see tests/run)");
    found
}

#[test]
fn what_a_start_prints_works_as_it_stands() {
    let secured = Secured::start(|setup| setup);
    let printed = secured.jeton.out_with("Or: ");
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    let find = |begin: &str| *lines.iter().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{printed}"));
    assert!(printed.contains("CA_FILE is the certificate of the authority of ") && !printed.contains("plaintext"));
    let whoami = secured.ok(find("Or: ").strip_prefix("Or: ").unwrap());
    assert!(whoami.contains("system"), "{whoami}");
    if has_grpcurl() {
        let caller = secured.ok(&format!("{}\n{}", find("export TOKEN="), find("grpcurl ")));
        let caller: Value = serde_json::from_str(&caller).unwrap();
        assert_eq!(caller["caller"]["tenantId"], "system");
    }
    // Who does not know the authority does not talk.
    let output = secured.shell(&format!("{} token whoami --server {}", env!("CARGO_BIN_EXE_jeton"), secured.server()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_certificate_is_all_that_a_client_needs() {
    let secured = Secured::start(|setup| setup.env("JETON_HTTP_LISTEN", "127.0.0.1:0"));
    let create = "client create --tenant default --display-name billing --allowed-scopes read --default-scopes read \
                  --certificate-identities spiffe://example.org/billing";
    let created: Value = serde_json::from_str(&secured.command(create)).unwrap();
    let id = created["client"]["clientId"].as_str().unwrap();
    let (cert, key) = secured.write(&secured.clients.client(&["spiffe://example.org/billing"]), "billing");
    let (other, other_key) = secured.write(&secured.clients.client(&["spiffe://example.org/other"]), "other");
    let (program, server) = (env!("CARGO_BIN_EXE_jeton"), secured.server());
    let issue = |cert: &str, key: &str| {
        secured.shell(&format!(
            "{program} token issue --client-credentials --client-id {id} --server {server} --ca-file $CA_FILE \
             --cert-file {cert} --key-file {key} --json"
        ))
    };
    let issued = issue(&cert, &key);
    let issued: Value = serde_json::from_slice(&issued.stdout).unwrap_or_else(|_| panic!("{issued:?}"));
    assert_eq!(issued["token"]["scopes"], serde_json::json!(["read"]));
    let refused = issue(&other, &other_key);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("(INVALID_CLIENT)"), "{refused:?}");
    let http = secured.jeton.http();
    let curl = |arguments: &str| -> Value {
        serde_json::from_str(&secured.ok(&format!("curl -s --cacert $CA_FILE https://{http}/{arguments}"))).unwrap()
    };
    let methods = &curl("t/default/.well-known/openid-configuration")["token_endpoint_auth_methods_supported"];
    assert!(methods.as_array().unwrap().contains(&"tls_client_auth".into()), "{methods}");
    let asked = format!("t/default/oauth2/token -d grant_type=client_credentials -d client_id={id}");
    let shown = |cert: &str, key: &str| curl(&format!("{asked} --cert {cert} --key {key}"));
    assert_eq!(shown(&cert, &key)["scope"], "read");
    assert_eq!(shown(&other, &other_key)["error"], "invalid_client");
    if has_grpcurl() {
        let target = secured.jeton.address();
        let call = format!(
            "grpcurl -cacert $CA_FILE -cert {cert} -key {key} -d '{{\"clientId\": \"{id}\", \"clientCredentials\": {{}}}}' \
             {target} jeton.v1.TokenService/IssueToken"
        );
        let issued: Value = serde_json::from_str(&secured.ok(&call)).unwrap();
        assert_eq!(issued["token"]["scopes"], serde_json::json!(["read"]));
    }
}

#[test]
fn every_listener_is_secured_but_sockets_of_this_machine() {
    let secured = Secured::start(|setup| {
        let socket = setup.dir().join("socket").display().to_string();
        setup
            .env("JETON_LISTEN", &format!("127.0.0.1:0,unix:{socket}"))
            .env("JETON_ADMIN_LISTEN", "127.0.0.1:0")
            .env("JETON_ADMIN_TLS", "true")
    });
    const BEGIN: &str = "admin listens on ";
    let out = secured.jeton.out_with(BEGIN);
    let admin = out.lines().find_map(|line| line.strip_prefix(BEGIN)).unwrap();
    let status = |scheme: &str, arguments: &str| {
        let curl = format!("curl -s -o /dev/null -w '%{{http_code}}' {arguments} {scheme}://{admin}/livez || true");
        secured.ok(&curl)
    };
    assert_eq!(status("https", "--cacert $CA_FILE"), "200");
    assert_eq!(status("https", ""), "000");
    assert_eq!(status("http", ""), "000");
    let credentials = secured.setup.data_dir().join("bootstrap.json");
    let whoami = format!(
        "{} token whoami --server unix:{} --credentials {}",
        env!("CARGO_BIN_EXE_jeton"),
        secured.path("socket"),
        credentials.display()
    );
    assert!(secured.ok(&whoami).contains("system"));
}

#[test]
fn a_mounted_secret_that_changes_is_followed() {
    let mut secured = Secured::start(|setup| setup);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let port = secured.jeton.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let next = secured.authority.server();
    secured.mount.swap("nonsense", &next.key);
    let answer = "new certificates cannot be used, the old ones stay";
    until("the log tells of the bad one", || secured.jeton.err().contains(answer));
    assert!(secured.command("token whoami").contains("system"));
    secured.mount.swap(&next.cert, &next.key);
    let shown = || runtime.block_on(secured.authority.shown_by(port));
    until("the new one is shown", || shown() == next.der());
    assert!(secured.command("token whoami").contains("system"));
    assert!(!secured.jeton.err().contains("PRIVATE"));
}

#[test]
fn files_that_cannot_be_used_end_the_start() {
    let setup = Setup::bare();
    let authority = Authority::new("servers");
    let (cert, key) = authority.server().write(setup.dir(), "server");
    let (_, other_key) = authority.server().write(setup.dir(), "other");
    let missing = setup.dir().join("missing").display().to_string();
    for (cert, key, answer) in [
        (&missing, &key, "read "),
        (&key, &key, "it holds no certificate in PEM"),
        (&cert, &cert, "it holds no private key in PEM"),
        (&cert, &other_key, "use the private key "),
    ] {
        let ended = setup.clone().env("JETON_TLS_CERT_FILE", cert).env("JETON_TLS_KEY_FILE", key).run();
        assert!(!ended.status.success());
        assert!(ended.err.contains(answer) && !ended.err.contains("PRIVATE"), "{}", ended.err);
    }
}
