use std::{collections::BTreeSet, io, path::Path};

use clap::Command;

use super::{registry::KEYS, *};
use crate::serve::tls::ClientAuth;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Loads from flags, variables and files, all made up.
fn load_from(args: &[&str], variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<(Config, Values), Mistakes> {
    let matches = Command::new("serve").args(flags()).get_matches_from([&["serve"], args].concat());
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or(io::Error::from(io::ErrorKind::NotFound))
    };
    load(&matches, &environment, &read)
}

fn config(args: &[&str], variables: &[(&str, &str)], files: &[(&str, &str)]) -> Config {
    load_from(args, variables, files).map(|(config, _)| config).unwrap()
}

fn mistakes(args: &[&str], variables: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<String> {
    let Mistakes(mistakes) = load_from(args, variables, files).map(|(config, _)| config).unwrap_err();
    mistakes.iter().map(Mistake::to_string).collect()
}

#[test]
fn nothing_given_gives_the_defaults() {
    let config = config(&[], &[], &[]);
    assert_eq!(config.listen, [Listen::Tcp { host: "127.0.0.1".to_owned(), port: 7443 }]);
    assert_eq!(config.public_url, "http://localhost:7443");
    assert_eq!(config.workers, None);
    assert!(matches!(config.store, Store::Embedded));
    assert!(config.master_keys.is_empty() && config.bootstrap.is_none());
    assert_eq!(config.limits.max_in_flight, 1024);
    assert_eq!(config.drain.timeout, Duration::from_secs(25));
    assert_eq!(config.connection_age, Duration::from_secs(1800));
    assert!(config.reflection);
    assert_eq!((config.log.level.as_str(), config.log.format), ("info", LogFormat::Text));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = ("c.toml", "[drain]\ntimeout = \"1s\"\ndelay = \"1s\"\n[limits]\nmax_in_flight = 1\n");
    let variables = [("JETON_CONFIG", "c.toml"), ("JETON_DRAIN_TIMEOUT", "2s"), ("JETON_DRAIN_DELAY", "2s")];
    let config = config(&["--drain-timeout", "3s"], &variables, &[file]);
    assert_eq!(config.drain.timeout, Duration::from_secs(3));
    assert_eq!(config.drain.delay, Duration::from_secs(2));
    assert_eq!(config.limits.max_in_flight, 1);
    assert_eq!(config.limits.max_in_flight_revocations, 256);
}

#[test]
fn workload_issuers_are_named_once_each_with_the_place_of_their_keys() {
    let list = "https://kubernetes.default.svc=file:/etc/jwks.json, https://oidc.example=https://oidc.example/keys?v=1";
    let found = config(&[], &[("JETON_WORKLOAD_ISSUERS", list)], &[]).workload_issuers;
    let of = |issuer: &str, location: &str| (issuer.to_owned(), location.parse().unwrap());
    let wanted = [
        of("https://kubernetes.default.svc", "file:/etc/jwks.json"),
        of("https://oidc.example", "https://oidc.example/keys?v=1"),
    ];
    assert_eq!(found, wanted);
    let wrong =
        "https://a, =file:/a, a b=file:/a, https://b=/a, https://b=file:a, https://b=ftp://a, c=file:/a, c=file:/b";
    let answer = mistakes(&[], &[("JETON_WORKLOAD_ISSUERS", wrong)], &[]);
    assert_eq!(answer.len(), 7, "{answer:?}");
    for (answer, wanted) in answer.iter().zip([
        "is not ISSUER=LOCATION",
        "1 to 256 visible ASCII characters",
        "1 to 256 visible ASCII characters",
        "`/a` is neither file:/path nor an https URL",
        "`file:a` is neither",
        "`ftp://a` is neither",
        "names c twice",
    ]) {
        assert!(answer.contains(wanted), "{answer}");
    }
}

#[test]
fn tls_is_named_as_a_whole() {
    let pair = [("JETON_TLS_CERT_FILE", "/c"), ("JETON_TLS_KEY_FILE", "/k")];
    assert_eq!(config(&[], &[], &[]).tls, None);
    let files = config(&[], &pair, &[]).tls.unwrap();
    assert_eq!(files, Files { cert: "/c".into(), key: "/k".into(), client_ca: None, client_auth: ClientAuth::Off });
    let mutual = [&pair[..], &[("JETON_TLS_CLIENT_CA_FILE", "/a"), ("JETON_TLS_CLIENT_AUTH", "required")]].concat();
    let files = config(&[], &mutual, &[]).tls.unwrap();
    assert_eq!((files.client_ca, files.client_auth), (Some("/a".into()), ClientAuth::Required));
    let admin = [&pair[..], &[("JETON_ADMIN_TLS", "true"), ("JETON_ADMIN_LISTEN", "127.0.0.1:0")]].concat();
    assert!(config(&[], &admin, &[]).admin_tls);
    for (given, answer) in [
        (
            &[("JETON_TLS_CERT_FILE", "/c")][..],
            &["`tls.cert_file` requires `tls.key_file`; set JETON_TLS_KEY_FILE"][..],
        ),
        (&[("JETON_TLS_KEY_FILE", "/k")], &["`tls.key_file` requires `tls.cert_file`; set JETON_TLS_CERT_FILE"]),
        (
            &[("JETON_TLS_CLIENT_AUTH", "optional")],
            &[
                "`tls.client_auth` requires `tls.client_ca_file`; set JETON_TLS_CLIENT_CA_FILE",
                "`tls.client_auth` requires `tls.cert_file`; set JETON_TLS_CERT_FILE",
            ],
        ),
        (&[("JETON_TLS_CLIENT_AUTH", "yes")], &["JETON_TLS_CLIENT_AUTH: `yes` is not one of off, optional, required"]),
        (
            &[("JETON_TLS_CLIENT_CA_FILE", "/a")],
            &["JETON_TLS_CLIENT_CA_FILE: `tls.client_ca_file` has no effect while `tls.client_auth` is off"],
        ),
        (
            &[("JETON_ADMIN_TLS", "true")],
            &[
                "`admin.tls` requires `tls.cert_file`; set JETON_TLS_CERT_FILE",
                "`admin.tls` requires `admin.listen`; set JETON_ADMIN_LISTEN",
            ],
        ),
    ] {
        assert_eq!(mistakes(&[], given, &[]), answer);
    }
}

#[test]
fn files_for_redis_want_its_tls_scheme() {
    let redis = |url| [("JETON_STORE", "redis"), ("JETON_MASTER_KEY", KEY), ("JETON_REDIS_URL", url)];
    let files = [("JETON_REDIS_CA_FILE", "/a"), ("JETON_REDIS_CERT_FILE", "/c"), ("JETON_REDIS_KEY_FILE", "/k")];
    let given = [&redis("rediss://u:p@r")[..], &files].concat();
    let Store::Redis(found) = config(&[], &given, &[]).store else { panic!("not on Redis") };
    assert_eq!(found.tls.ca_file, Some("/a".into()));
    assert_eq!(found.tls.identity, Some(("/c".into(), "/k".into())));
    let given = [&redis("redis://r")[..], &files].concat();
    let answer = mistakes(&[], &given, &[]);
    assert_eq!(answer.len(), 3, "{answer:?}");
    assert!(
        answer.iter().all(|answer| answer.ends_with("requires a `redis.url` that begins with rediss://")),
        "{answer:?}"
    );
    let given = [&redis("rediss://r")[..], &files[..2]].concat();
    assert_eq!(mistakes(&[], &given, &[]), ["`redis.cert_file` requires `redis.key_file`; set JETON_REDIS_KEY_FILE"]);
}

#[test]
fn the_flag_for_the_file_beats_its_variable() {
    let files = [("a.toml", "workers = 1"), ("b.toml", "workers = 2")];
    let config = config(&["--config", "a.toml"], &[("JETON_CONFIG", "b.toml")], &files);
    assert_eq!(config.workers, NonZeroUsize::new(1));
}

#[test]
fn every_key_can_be_set_in_every_source() {
    let sample = |key: &registry::Key| match key.path {
        "listen" => "unix:/run/jeton.sock",
        "http.listen" => "127.0.0.1:7480",
        "admin.listen" => "127.0.0.1:7090",
        "store" => "redis",
        "master_key" => KEY,
        "tls.cert_file" | "redis.cert_file" => "/etc/tls.crt",
        "tls.key_file" | "redis.key_file" => "/etc/tls.key",
        "tls.client_ca_file" | "redis.ca_file" => "/etc/ca.pem",
        "tls.client_auth" => "optional",
        "redis.url" => "rediss://localhost",
        "bootstrap.client_id" => "root",
        "bootstrap.client_secret" => "s3cret",
        "workload.issuers" => "https://kubernetes.default.svc=file:/etc/jeton/jwks.json",
        "outbound.allow" => "10.0.0.0/8",
        "outbound.ca_file" => "/etc/ca.pem",
        "otlp.endpoint" => "https://collector:4317",
        "otlp.headers" => "x-api-key=s3cret",
        "otlp.ca_file" => "/etc/collector.pem",
        "webhook.url" => "https://example.com/events",
        "webhook.secret" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        _ => key.default.unwrap(),
    };
    let variables: Vec<(String, &str)> = KEYS.iter().map(|key| (key.variable(), sample(key))).collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let (_, from_variables) = load_from(&[], &variables, &[]).unwrap();

    let args: Vec<String> = KEYS
        .iter()
        .map(|key| format!("--{}={}", key.flag(), if key.is_secret() { key.path } else { sample(key) }))
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let files: Vec<(&str, &str)> =
        KEYS.iter().filter(|key| key.is_secret()).map(|key| (key.path, sample(key))).collect();
    let (_, from_flags) = load_from(&args, &[], &files).unwrap();

    let quoted = |key: &registry::Key| match key.setting_type {
        registry::SettingType::Bool | registry::SettingType::Integer { .. } | registry::SettingType::Number { .. } => {
            format!("{} = {}\n", key.path, sample(key))
        }
        registry::SettingType::Text(_)
        | registry::SettingType::List(_)
        | registry::SettingType::Duration { .. }
        | registry::SettingType::Choice(_)
        | registry::SettingType::Secret => format!("{} = {:?}\n", key.path, sample(key)),
    };
    let text: String = KEYS.iter().map(quoted).collect();
    let (_, from_file) = load_from(&["--config", "c.toml"], &[], &[("c.toml", &text)]).unwrap();

    for key in KEYS {
        for values in [&from_variables, &from_flags, &from_file] {
            assert_eq!(values[key.path].values[0].as_str(), sample(key), "{}", key.path);
            assert_ne!(values[key.path].origin, Origin::Default, "{}", key.path);
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_places() {
    let text = "lisen = [\"x\"]\nworkers = \"2\"\n[log]\nformat = \"xml\"\n[drain]\ndelay = 5\n[radis]\nurl = 1\n";
    let variables = [("JETON_DRAIN_TIMOUT", "1s"), ("JETON_PUBLIC_URL", ""), ("JETON_CONFIG", "c.toml")];
    let args = ["--connection-age", "30", "--listen", "nowhere", "--limits-max-in-flight", "0"];
    let found: BTreeSet<String> = mistakes(&args, &variables, &[("c.toml", text)]).into_iter().collect();
    let wanted = [
        "--connection-age: `30` is no duration; write a number with a unit, such as 200ms, 10s or 15m",
        "--limits-max-in-flight: 0 is out of range; it must be 1 to 1000000",
        "--listen: `nowhere` is neither host:port nor unix:/path",
        "JETON_DRAIN_TIMOUT: is no known variable; did you mean `JETON_DRAIN_TIMEOUT`?",
        "JETON_PUBLIC_URL: is empty; leave it out instead",
        "c.toml:1: `lisen` is no known key; did you mean `listen`?",
        "c.toml:2: `workers` must be a whole number without quotes",
        "c.toml:4: `xml` is not one of text, json",
        "c.toml:6: `drain.delay` must be a text with a unit, such as \"10s\"",
        "c.toml:7: `radis` is no known key",
    ];
    assert_eq!(found, wanted.map(str::to_owned).into_iter().collect());
}

#[test]
fn a_broken_or_absent_file_is_a_mistake_that_does_not_quote_it() {
    let broken = mistakes(&["--config", "c.toml"], &[], &[("c.toml", "workers = 1\nmaster_key = \"s3cret\n")]);
    assert!(
        broken.iter().all(|line| line.starts_with("c.toml:2: is not TOML: ") && !line.contains("s3cret")),
        "{broken:?}"
    );
    let absent = mistakes(&[], &[("JETON_CONFIG", "c.toml")], &[]);
    assert_eq!(absent, ["JETON_CONFIG: cannot read `c.toml`: entity not found"]);
}

#[test]
fn empty_values_are_mistakes_wherever_they_stand() {
    for (args, variables, text) in [
        (vec!["--data-dir", ""], vec![], ""),
        (vec![], vec![("JETON_DATA_DIR", " ")], ""),
        (vec![], vec![], "data_dir = \"\""),
        (vec![], vec![("JETON_LISTEN", "127.0.0.1:1,")], ""),
        (vec![], vec![("JETON_MASTER_KEY_FILE", "")], ""),
        (vec![], vec![("JETON_BOOTSTRAP_CLIENT_SECRET", ""), ("JETON_BOOTSTRAP_CLIENT_ID", "")], ""),
    ] {
        let args = [args.as_slice(), &["--config", "c.toml"]].concat();
        let found = mistakes(&args, &variables, &[("c.toml", text)]);
        assert!(found.iter().all(|line| line.ends_with("is empty; leave it out instead")), "{found:?}");
    }
}

#[test]
fn a_secret_comes_from_a_file_without_its_line_break() {
    let id = ("JETON_BOOTSTRAP_CLIENT_ID", "root");
    let files = [("/s", "s3cret\n"), ("c.toml", "bootstrap.client_secret_file = \"/s\"")];
    for (args, variables) in [
        (vec!["--bootstrap-client-secret-file", "/s"], vec![id]),
        (vec![], vec![id, ("JETON_BOOTSTRAP_CLIENT_SECRET_FILE", "/s")]),
        (vec!["--config", "c.toml"], vec![id]),
        (vec![], vec![id, ("JETON_BOOTSTRAP_CLIENT_SECRET", "s3cret")]),
    ] {
        let bootstrap = config(&args, &variables, &files).bootstrap.unwrap();
        assert_eq!(bootstrap.client_secret.expose(), "s3cret");
        assert_eq!(bootstrap.client_id.to_string(), "root");
    }
}

#[test]
fn a_secret_and_its_file_in_one_source_contradict_each_other() {
    let variables = [("JETON_MASTER_KEY", KEY), ("JETON_MASTER_KEY_FILE", "/k")];
    let found = mistakes(&[], &variables, &[("/k", KEY)]);
    assert_eq!(found, ["JETON_MASTER_KEY_FILE: is set besides JETON_MASTER_KEY; set one of the two"]);
    let text = format!("master_key = {KEY:?}\nmaster_key_file = \"/k\"\n");
    assert_eq!(mistakes(&["--config", "c.toml"], &[], &[("c.toml", &text), ("/k", KEY)]).len(), 1);
    // In sources of different strength the stronger one wins, as for every other key.
    let keys = config(&["--master-key-file", "/k"], &[("JETON_MASTER_KEY", &KEY.replace('0', "f"))], &[("/k", KEY)]);
    assert_eq!(keys.master_keys[0].expose()[31], 0x1f);
}

#[test]
fn an_unreadable_secret_is_one_mistake_and_never_falls_back() {
    let variables = [("JETON_MASTER_KEY", KEY), ("JETON_STORE", "redis"), ("JETON_REDIS_URL", "redis://r")];
    let found = mistakes(&["--master-key-file", "/none"], &variables, &[]);
    assert_eq!(found, ["--master-key-file: cannot read `/none`: entity not found"]);
}

#[test]
fn no_flag_takes_a_secret_itself() {
    for key in KEYS.iter().filter(|key| key.is_secret()) {
        let flag = format!("--{}", key.path.replace(['.', '_'], "-"));
        let command = Command::new("serve").args(flags());
        assert!(command.try_get_matches_from(["serve", &flag, "s3cret"]).is_err(), "{flag}");
    }
}

#[test]
fn master_keys_are_read_in_every_notation_newest_first() {
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for text in [KEY, &KEY.to_uppercase(), base64, base64.trim_end_matches('=')] {
        let keys = config(&[], &[("JETON_MASTER_KEY", text)], &[]).master_keys;
        assert_eq!(keys[0].expose()[..3], [0, 1, 2], "{text}");
    }
    let url_safe = "-_8CAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for separator in [",", "\n", "\r\n", " ,\n"] {
        let keys = config(&[], &[("JETON_MASTER_KEY", &format!("{KEY}{separator}{url_safe}\n"))], &[]).master_keys;
        let first_bytes: Vec<u8> = keys.iter().map(|key| key.expose()[0]).collect();
        assert_eq!(first_bytes, [0, 0xfb]);
    }
}

#[test]
fn bad_master_keys_are_named_by_number_and_never_quoted() {
    let short = &KEY[2..];
    let same = "00".repeat(32);
    for (text, wanted) in [
        (short.to_owned(), "key 1 is not 32 bytes as hex or base64"),
        (format!("{KEY},{short}"), "key 2 is not 32 bytes as hex or base64"),
        (format!("{KEY},{KEY}"), "key 2 stands there twice"),
        (KEY.replace('0', "g"), "key 1 is not 32 bytes as hex or base64"),
        (same, "key 1 is one byte over and over; make one with `openssl rand -hex 32`"),
        (",".to_owned(), "holds no key"),
    ] {
        assert_eq!(mistakes(&[], &[("JETON_MASTER_KEY", &text)], &[]), [format!("JETON_MASTER_KEY: {wanted}")]);
    }
}

#[test]
fn settings_that_belong_together_are_checked_together() {
    assert_eq!(
        mistakes(&["--store", "redis"], &[], &[]),
        [
            "the store `redis` requires `redis.url`; set JETON_REDIS_URL or JETON_REDIS_URL_FILE",
            "the store `redis` requires `master_key`; set JETON_MASTER_KEY or JETON_MASTER_KEY_FILE",
        ]
    );
    assert_eq!(
        mistakes(&[], &[("JETON_REDIS_URL", "redis://r")], &[]),
        ["JETON_REDIS_URL: `redis.url` has no effect with the store `embedded`; set store to `redis`, too"]
    );
    assert_eq!(
        mistakes(&["--bootstrap-client-id", "root"], &[], &[]),
        [
            "the bootstrap client requires `bootstrap.client_secret`; set JETON_BOOTSTRAP_CLIENT_SECRET or JETON_BOOTSTRAP_CLIENT_SECRET_FILE"
        ]
    );
}

#[test]
fn addresses_are_read_and_written_back() {
    let listen = |text: &str| config(&["--listen", text], &[], &[]).listen[0].to_string();
    for text in ["127.0.0.1:0", "localhost:7443", "[::1]:7443", "unix:/run/jeton.sock"] {
        assert_eq!(listen(text), text);
    }
    assert_eq!(listen("unix:///run/jeton.sock"), "unix:/run/jeton.sock");
    let both = config(&["--listen", "[::]:1", "--listen", "a:1,unix:b"], &[], &[]);
    assert_eq!(both.listen.len(), 3);
    for text in
        ["", ":7443", "host", "host:", "host:99999", "::1:7443", "[::1:7443", "unix:", "http://host:1", "a:1,a:1"]
    {
        assert_eq!(mistakes(&["--listen", text], &[], &[]).len(), 1, "{text}");
    }
}

#[test]
fn what_may_be_called_is_ranges_addresses_and_names() {
    let outbound =
        config(&["--outbound-allow", "10.1.2.3/8,::1", "--outbound-allow", "Keycloak.svc"], &[], &[]).outbound;
    let allow: Vec<Allow> = ["10.0.0.0/8", "::1/128", "keycloak.svc"].map(|text| text.parse().unwrap()).into();
    assert_eq!(outbound.allow, allow);
    assert_eq!((outbound.ca_file, outbound.timeout), (None, Duration::from_secs(3)));
    for text in ["10.0.0.0/33", "http://a", "a:1", "*.svc", "a,a"] {
        assert_eq!(mistakes(&["--outbound-allow", text], &[], &[]).len(), 1, "{text}");
    }
}

#[test]
fn a_public_url_is_a_bare_http_url() {
    for text in ["https://id.example.com", "http://[::1]:7443", "https://example.com/auth"] {
        assert_eq!(config(&["--public-url", text], &[], &[]).public_url, text);
    }
    for text in [
        "example.com",
        "ftp://a",
        "https://a/",
        "https://a?b",
        "https://a#b",
        "https://u:p@a",
        "https://",
        "http://a b",
    ] {
        assert_eq!(mistakes(&["--public-url", text], &[], &[]).len(), 1, "{text}");
    }
}

#[test]
fn variables_that_kubernetes_or_the_operator_commands_use_are_no_mistakes() {
    config(
        &[],
        &[
            ("JETON_SERVICE_HOST", "10.0.0.1"),
            ("JETON_SERVICE_PORT", "7443"),
            ("JETON_SERVICE_PORT_GRPC", "7443"),
            ("JETON_PORT", "tcp://10.0.0.1:7443"),
            ("JETON_PORT_7443_TCP", "tcp://10.0.0.1:7443"),
            ("JETON_REDIS_PORT_6379_TCP_ADDR", "10.0.0.2"),
            ("JETON_TOKEN", ""),
            ("JETON_SERVER", "http://localhost:1"),
            ("OTHER", ""),
        ],
        &[],
    );
    assert_eq!(mistakes(&[], &[("JETON_PORT", "7443")], &[]).len(), 1);
}

#[test]
fn no_secret_is_printed() {
    let variables = [
        ("JETON_STORE", "redis"),
        ("JETON_REDIS_URL", "redis://:s3cret@r"),
        ("JETON_MASTER_KEY", KEY),
        ("JETON_BOOTSTRAP_CLIENT_ID", "root"),
        ("JETON_BOOTSTRAP_CLIENT_SECRET", "s3cret"),
    ];
    let (config, values) = load_from(&[], &variables, &[]).unwrap();
    let printed = to_toml(&values);
    for text in [&printed, &format!("{config:?}"), &format!("{values:?}")] {
        assert!(!text.contains("s3cret") && !text.contains(KEY), "{text}");
    }
    assert!(printed.contains("client_secret = \"[redacted]\" # JETON_BOOTSTRAP_CLIENT_SECRET\n"));

    // Nor by a mistake about it.
    for name in ["JETON_REDIS_URL", "JETON_BOOTSTRAP_CLIENT_SECRET", "JETON_MASTER_KEY"] {
        let found = mistakes(&[], &[(name, "s3cret wrong")], &[]);
        assert!(found.iter().all(|line| !line.contains("s3cret")), "{found:?}");
    }
}

#[test]
fn the_printed_configuration_is_a_file_that_gives_the_same() {
    let args = ["--listen", "a:1,b:2", "--log-format", "json", "--drain-timeout", "5s"];
    let (_, values) = load_from(&args, &[], &[]).unwrap();
    let printed = to_toml(&values);
    assert!(printed.contains("timeout = \"5s\" # --drain-timeout\n"), "{printed}");
    let (_, again) = load_from(&["--config", "c.toml"], &[], &[("c.toml", &printed)]).unwrap();
    for (path, found) in &values {
        assert_eq!(again[path].values, found.values, "{path}");
    }
}

#[test]
fn the_reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIGURATION.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == reference(), "run `UPDATE=1 cargo test --lib config::`");
}

#[test]
fn otlp_is_described_by_the_standard_variables_and_shows_no_secret() {
    let variables = [
        ("JETON_OTLP_ENDPOINT", "https://collector:4317/"),
        ("JETON_OTLP_HEADERS", "X-Api-Key=s3%20cret, tenant=a"),
        ("JETON_OTLP_SAMPLE_RATIO", "0.25"),
        ("OTEL_SERVICE_NAME", "tokens"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%2Cb"),
    ];
    let otlp = config(&[], &variables, &[]).otlp.unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.sample_ratio), ("https://collector:4317", 0.25));
    assert_eq!(otlp.headers["x-api-key"], "s3 cret");
    assert!(!format!("{otlp:?}").contains("cret"), "{otlp:?}");
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let described =
        [of("service.name", "other"), of("deployment.environment.name", "a,b"), of("service.name", "tokens")];
    assert_eq!(otlp.resource, described);
    // Without an endpoint these have no meaning.
    assert!(config(&[], &[("OTEL_RESOURCE_ATTRIBUTES", "broken")], &[]).otlp.is_none());
}

#[test]
fn what_is_wrong_with_otlp_is_reported_without_its_secret() {
    let answer = |variables: &[(&str, &str)]| mistakes(&[], variables, &[]);
    let endpoint = ("JETON_OTLP_ENDPOINT", "http://collector:4317");
    for (variables, wanted) in [
        (&[("JETON_OTLP_ENDPOINT", "collector:4317")][..], "must begin with http:// or https://"),
        (&[("JETON_OTLP_ENDPOINT", "http://collector/v1/traces")], "must have no path"),
        (&[endpoint, ("JETON_OTLP_SAMPLE_RATIO", "1.5")], "1.5 is out of range; it must be 0 to 1"),
        (&[endpoint, ("JETON_OTLP_SAMPLE_RATIO", "NaN")], "NaN is out of range"),
        (&[endpoint, ("JETON_OTLP_SAMPLE_RATIO", "much")], "`much` is no number"),
        (&[endpoint, ("JETON_OTLP_HEADERS", "s3cret")], "is not `name=value`"),
        (&[endpoint, ("JETON_OTLP_HEADERS", "a b=s3cret")], "is not `name=value`"),
        (&[endpoint, ("JETON_OTLP_HEADERS", "key-bin=s3cret")], "ends with `-bin`"),
        (&[endpoint, ("JETON_OTLP_CA_FILE", "/ca.pem")], "has no effect with an http:// URL"),
        (&[("JETON_OTLP_HEADERS", "a=s3cret")], "has no effect without `otlp.endpoint`"),
        (&[endpoint, ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz")], "OTEL_RESOURCE_ATTRIBUTES: is not `name=value`"),
    ] {
        let answer = answer(variables);
        assert!(answer.len() == 1 && answer[0].contains(wanted) && !answer[0].contains("s3cret"), "{answer:?}");
    }
}
