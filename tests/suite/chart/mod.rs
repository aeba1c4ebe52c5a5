//! The Helm chart and the Dockerfile, judged by the programs that will read them: helm, the schemas of Kubernetes,
//! checkov, hadolint, and jeton itself, which must take every configuration that the chart writes.
//!
//! [`helm`] renders the cases of `values/` once; [`schema`] holds the values to the registry of settings.

mod helm;
mod refusals;
mod schema;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use jeton::config::registry::Key;
use serde_json::{Value, json};

use self::helm::{cases, pods, rendered, template};
use crate::{
    certificates::Authority,
    faults::process::{MASTER_KEY, Setup},
    tools,
};

/// What checkov may say: the rule, the kind of object that it is about, and why it is not kept.
const EXCUSED: [(&str, &str, &str); 9] = [
    ("CKV_K8S_8", "Pod", "the pod of `helm test` ends by itself"),
    ("CKV_K8S_9", "Pod", "the pod of `helm test` ends by itself"),
    ("CKV2_K8S_6", "Pod", "the pod of `helm test` listens nowhere"),
    ("CKV_K8S_43", "Pod", "only who installs the chart knows the digest"),
    ("CKV_K8S_43", "Deployment", "only who installs the chart knows the digest"),
    ("CKV_K8S_43", "StatefulSet", "only who installs the chart knows the digest"),
    ("CKV_K8S_15", "Pod", "a version does not change; asking the registry at each start would make it a dependency"),
    ("CKV_K8S_15", "Deployment", "as above"),
    ("CKV_K8S_15", "StatefulSet", "as above"),
];

/// Where the chart mounts secrets, and a text for each that jeton takes.
const SECRETS: &str = "/etc/jeton/secrets";
const SAMPLES: [(&str, &str); 5] = [
    ("master_key", MASTER_KEY),
    ("redis.url", "rediss://redis:6379"),
    ("bootstrap.client_secret", "correct-horse-battery-staple-4711"),
    ("webhook.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("otlp.headers", "authorization=Bearer abc"),
];

#[test]
fn helm_finds_no_fault_with_any_case() {
    for (case, values) in cases() {
        let output = helm::helm(&["lint", "--strict"], &["--values", values.to_str().unwrap()]);
        assert!(output.status.success(), "{case}: {}", said(&output));
    }
}

#[test]
fn every_version_of_kubernetes_takes_every_document() {
    let rendered = rendered();
    assert!(rendered.wrong.is_empty(), "{}", rendered.wrong.join("\n"));
    assert!(rendered.checked > 300, "only {} were looked at", rendered.checked);
}

#[test]
fn no_rule_of_security_is_broken_but_for_a_reason() {
    let checkov = &rendered().checkov;
    let mut needed = BTreeSet::new();
    for finding in &checkov.failed {
        let kind = finding.resource.split('.').next().unwrap();
        let excuse = EXCUSED.iter().find(|(check, of, _)| finding.check_id == *check && kind == *of);
        assert!(excuse.is_some(), "{finding}");
        needed.extend(excuse.map(|(check, of, _)| (*check, *of)));
    }
    assert_eq!(needed.len(), EXCUSED.len(), "an excuse that nothing needs");
    assert!(checkov.passed > 500, "only {} rules were looked at", checkov.passed);
}

#[test]
fn jeton_takes_every_configuration_that_the_chart_writes() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in SAMPLES {
        fs::write(dir.path().join(name), text).unwrap();
    }
    for (case, _) in rendered().cases() {
        let toml = rendered().toml(case).replace(SECRETS, dir.path().to_str().unwrap());
        let path = dir.path().join("jeton.toml");
        fs::write(&path, &toml).unwrap();
        let mut jeton = Command::new(env!("CARGO_BIN_EXE_jeton"));
        jeton.args(["serve", "--check-config"]).env_clear();
        // As in the pod, but for the place of the file.
        for variable in rendered().pod(case)["spec"]["containers"][0]["env"].as_array().unwrap() {
            jeton.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
        }
        let output = jeton.env("JETON_CONFIG", &path).output().unwrap();
        assert!(output.status.success(), "{case}: {}\n{toml}", said(&output));
    }
}

#[test]
fn the_case_everything_gives_every_key() {
    let tables: toml::Table = rendered().toml("everything").parse().unwrap();
    let has = |path: &str| path.split('.').try_fold(&tables.clone().into(), toml::Value::get).is_some();
    let missing: Vec<_> = schema::plain()
        .map(|key| key.path.to_owned())
        .chain(schema::secret().filter_map(Key::file_path))
        .filter(|path| !has(path))
        .collect();
    assert!(missing.is_empty(), "not in values/everything.yaml, or not written: {missing:?}");
}

#[test]
fn the_embedded_store_is_one_pod_with_a_volume() {
    let set = rendered().one("defaults", "StatefulSet");
    assert_eq!(set["spec"]["replicas"], 1);
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "8Gi");
    let toml: toml::Table = rendered().toml("defaults").parse().unwrap();
    let mounts = rendered().pod("defaults")["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    let data = mounts.iter().find(|mount| mount["name"] == "data").unwrap();
    assert_eq!(data["mountPath"].as_str(), toml["data_dir"].as_str());

    let volume = |case| {
        let volumes = rendered().pod(case)["spec"]["volumes"].as_array().unwrap();
        volumes.iter().find(|volume| volume["name"] == "data")
    };
    assert_eq!(volume("embedded").unwrap()["persistentVolumeClaim"]["claimName"], "tokens");
    assert_eq!(volume("trial").unwrap()["emptyDir"], json!({}));
    assert_eq!(volume("redis"), None, "Redis needs no volume");
}

#[test]
fn redis_is_a_deployment_of_any_size() {
    assert_eq!(rendered().one("redis", "Deployment")["spec"]["replicas"], 3);
    let scaled = &rendered().one("everything", "Deployment")["spec"];
    assert_eq!(scaled["replicas"], Value::Null, "the autoscaler says how many");
    let autoscaler = &rendered().one("everything", "HorizontalPodAutoscaler")["spec"];
    assert_eq!(autoscaler["scaleTargetRef"]["name"], rendered().one("everything", "Deployment")["metadata"]["name"]);
    for (case, documents) in rendered().cases() {
        let kinds =
            documents.iter().filter(|document| document["kind"] == "Deployment" || document["kind"] == "StatefulSet");
        assert_eq!(kinds.count(), 1, "{case}");
    }
}

#[test]
fn probes_ask_what_answers_them() {
    let container = |case| &rendered().pod(case)["spec"]["containers"][0];
    let plain = container("embedded");
    assert_eq!(plain["livenessProbe"]["grpc"], json!({"port": 17443, "service": "liveness"}), "not the store");
    assert_eq!(plain["startupProbe"]["grpc"], plain["livenessProbe"]["grpc"]);
    assert_eq!(plain["readinessProbe"]["grpc"], json!({"port": 17443, "service": ""}));
    // The kubelet does not use TLS for gRPC.
    let tls = container("certificate");
    assert_eq!(tls["livenessProbe"]["httpGet"], json!({"port": "admin", "path": "/livez"}));
    assert_eq!(tls["startupProbe"]["httpGet"], tls["livenessProbe"]["httpGet"]);
    assert_eq!(tls["readinessProbe"]["httpGet"], json!({"port": "admin", "path": "/readyz"}));
    assert_eq!(container("everything")["livenessProbe"]["httpGet"]["scheme"], "HTTPS", "admin.tls");
}

#[test]
fn a_pod_has_time_for_its_drain() {
    let seconds = |case| &rendered().pod(case)["spec"]["terminationGracePeriodSeconds"];
    assert_eq!(*seconds("defaults"), 5 + 25 + 10);
    assert_eq!(*seconds("trial"), 61 + 10, "1m500ms and no delay");
    assert_eq!(*seconds("everything"), 7 + 30 + 10);
}

#[test]
fn secrets_stand_in_secrets_only() {
    let texts = SAMPLES.map(|(_, text)| text);
    for (case, documents) in rendered().cases() {
        for document in documents {
            let text = document.to_string();
            assert!(!texts.iter().any(|secret| text.contains(secret)), "{case}: {}", document["kind"]);
        }
    }
    // Those of a trial, once each and encoded.
    let secret = rendered().one("trial", "Secret");
    let names: Vec<_> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["bootstrap.client_secret", "master_key"]);
    for case in ["defaults", "embedded", "redis", "everything", "certificate"] {
        assert_eq!(rendered().all(case, "Secret").count(), 0, "{case}");
    }
    let sources = rendered().pod("everything")["spec"]["volumes"][1]["projected"]["sources"].as_array().unwrap();
    let redis = sources.iter().find(|source| source["secret"]["name"] == "redis").unwrap();
    assert_eq!(redis["secret"]["items"], json!([{"key": "uri", "path": "redis.url"}]));
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>
#[test]
fn every_pod_keeps_the_restricted_standard() {
    let mut seen = 0;
    for (case, documents) in rendered().cases() {
        for (name, pod) in pods(documents) {
            seen += 1;
            let spec = &pod["spec"];
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{case}: {name}");
            assert_eq!(spec["securityContext"]["runAsUser"], 65532, "{case}: {name}");
            assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{case}: {name}");
            assert_eq!(spec["automountServiceAccountToken"], false, "{case}: {name}");
            assert_eq!(spec["enableServiceLinks"], false, "{case}: {name}");
            for of_host in ["hostNetwork", "hostPID", "hostIPC"] {
                assert_eq!(spec[of_host], Value::Null, "{case}: {name}");
            }
            for container in spec["containers"].as_array().unwrap() {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{case}: {name}");
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{case}: {name}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{case}: {name}");
            }
        }
    }
    assert!(seen > 8, "only {seen} pods were looked at");
}

#[test]
fn selectors_find_the_pods_of_the_service_and_no_others() {
    const PLACES: [(&str, &str); 6] = [
        ("Service", "/spec/selector"),
        ("Deployment", "/spec/selector/matchLabels"),
        ("StatefulSet", "/spec/selector/matchLabels"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("Pod", ""),
    ];
    let mut seen = 0;
    for (case, documents) in rendered().cases() {
        let server = &rendered().pod(case)["metadata"]["labels"];
        let test = rendered().all(case, "Pod").next().map_or(&Value::Null, |pod| &pod["metadata"]["labels"]);
        for (document, place) in documents
            .iter()
            .flat_map(|one| PLACES.map(|(kind, place)| (one, kind, place)))
            .filter_map(|(one, kind, place)| (one["kind"] == kind && !place.is_empty()).then_some((one, place)))
        {
            seen += 1;
            let selector = document.pointer(place).unwrap().as_object().unwrap();
            let finds = |labels: &Value| selector.iter().all(|(name, value)| labels[name] == *value);
            assert!(finds(server), "{case}: {}", document["kind"]);
            assert!(!finds(test), "{case}: {} finds the pod of the test", document["kind"]);
        }
        for monitor in rendered().all(case, "ServiceMonitor") {
            let selector = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
            let found: Vec<_> = rendered()
                .all(case, "Service")
                .filter(|service| selector.iter().all(|(name, value)| service["metadata"]["labels"][name] == *value))
                .collect();
            assert_eq!(found.len(), 1, "each pod is scraped once");
            let job = &found[0]["metadata"]["labels"][monitor["spec"]["jobLabel"].as_str().unwrap()];
            assert_eq!(job, "jeton", "what the rules ask for");
            let ports = found[0]["spec"]["ports"].as_array().unwrap();
            assert!(ports.iter().any(|port| port["name"] == monitor["spec"]["endpoints"][0]["port"]));
        }
    }
    assert!(seen > 20, "only {seen} selectors were looked at");
}

#[test]
fn the_network_lets_in_who_is_named() {
    let ports = |rule: &Value| rule["ports"][0]["port"].as_u64().unwrap();
    let rules = |case, way: &str| rendered().one(case, "NetworkPolicy")["spec"][way].as_array().unwrap().clone();
    // Nobody is named: everybody may call, and nobody reach the admin listener.
    let open: Vec<_> = rules("defaults", "ingress").iter().map(|rule| (ports(rule), rule["from"].is_null())).collect();
    assert_eq!(open, [(7443, true), (7080, true)]);
    let named: Vec<_> =
        rules("everything", "ingress").iter().map(|rule| (ports(rule), rule["from"].is_null())).collect();
    assert_eq!(named, [(7443, false), (7080, false), (7090, false), (15008, true)]);
    let out: Vec<_> = rules("everything", "egress").iter().map(ports).collect();
    assert_eq!(out, [53, 6379, 4317, 443, 8080]);
    let out: Vec<_> = rules("certificate", "egress").iter().map(ports).collect();
    assert_eq!(out, [53, 6379, 80], "the port of a URL without one is that of its scheme");
    let out: Vec<_> = rules("embedded", "egress").iter().map(ports).collect();
    assert_eq!(out, [53, 443], "neither Redis nor OTLP");
}

#[test]
fn rules_and_dashboards_are_handed_on_as_they_are() {
    let files = |dir: &str| fs::read_dir(helm::chart().join("files").join(dir)).unwrap().count();
    assert_eq!(rendered().all("everything", "PrometheusRule").count(), files("prometheus"));
    let dashboards = rendered().all("everything", "ConfigMap");
    let dashboards = dashboards.filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1");
    assert_eq!(dashboards.count(), files("grafana"));
    for rule in rendered().all("everything", "PrometheusRule") {
        assert!(rule["spec"]["groups"].as_array().is_some_and(|groups| !groups.is_empty()));
    }
}

#[test]
fn a_changed_configuration_makes_new_pods() {
    let checksum = |more: &[&str]| {
        let text = template(more).unwrap();
        text.lines().find(|line| line.contains("checksum/config")).unwrap().to_owned()
    };
    assert_eq!(checksum(&[]), checksum(&["--set", "service.type=LoadBalancer"]));
    assert_ne!(checksum(&[]), checksum(&["--set", "config.workers=3"]));
}

#[test]
fn what_helm_test_runs_passes_on_a_service_that_works_and_fails_without() {
    let call = |case: &str, replaced: &[(&str, &str)]| {
        let args = rendered().one(case, "Pod")["spec"]["containers"][0]["args"].as_array().unwrap();
        let args = args.iter().map(|arg| {
            replaced.iter().fold(arg.as_str().unwrap().to_owned(), |arg, (from, to)| {
                assert!(args.iter().any(|arg| arg.as_str().unwrap().contains(from)), "{case}: nothing says {from}");
                arg.replace(from, to)
            })
        });
        Command::new(env!("CARGO_BIN_EXE_jeton")).args(args).env_clear().output().unwrap()
    };
    let mut jeton = Setup::embedded().start();
    let here = [("jeton.auth.svc:7443", jeton.address())];
    let output = call("defaults", &here);
    assert!(output.status.success(), "{}", said(&output));

    // The same under TLS.
    let (authority, setup) = (Authority::new("servers"), Setup::embedded());
    let ca = setup.dir().join("ca.crt");
    fs::write(&ca, &authority.pem).unwrap();
    let (cert, key) = authority.server().write(setup.dir(), "tls");
    let secured = setup.env("JETON_TLS_CERT_FILE", &cert).env("JETON_TLS_KEY_FILE", &key).start();
    let there = [("jeton-tokens.auth.svc:443", secured.address()), ("/etc/jeton/tls/ca.crt", ca.to_str().unwrap())];
    let output = call("everything", &there);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(rendered().all("certificate", "Pod").count(), 0, "callers must show a certificate there");

    let address = jeton.address().to_owned();
    jeton.kill9();
    assert_eq!(call("defaults", &[("jeton.auth.svc:7443", &address)]).status.code(), Some(1));
}

#[test]
fn notes_tell_what_is_next_and_no_secret() {
    let notes = |case: &str| {
        let output =
            helm::helm(&["install", "jeton"], &["--dry-run=client", "--values", cases()[case].to_str().unwrap()]);
        let text = said(&output);
        text.split_once("\nNOTES:\n").unwrap_or_else(|| panic!("{text}")).1.to_owned()
    };
    assert!(notes("defaults").contains("kubectl exec --namespace auth jeton-0 -- jeton token whoami"));
    assert!(notes("redis").contains("An empty Redis wants a first administrator"));
    assert!(notes("certificate").contains("https://jeton.auth.svc:7080/t/TENANT"));
    let trial = notes("trial");
    assert!(trial.contains("Secrets were given as values"), "{trial}");
    assert!(!SAMPLES.iter().any(|(_, secret)| trial.contains(secret)), "{trial}");
}

#[test]
fn the_examples_of_the_page_are_values_that_go_together() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kubernetes.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for example in page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        seen += 1;
        let path = dir.path().join("example.yaml");
        fs::write(&path, example.replace('…', &"0".repeat(64))).unwrap();
        let rendered = template(&["--values", path.to_str().unwrap()]);
        assert!(rendered.is_ok(), "{example}{}", rendered.unwrap_err());
    }
    assert!(seen > 3, "only {seen} were read");
}

#[test]
fn the_chart_installs_the_version_that_it_lies_beside() {
    let chart = fs::read_to_string(helm::chart().join("Chart.yaml")).unwrap();
    let version = concat!("appVersion: \"", env!("CARGO_PKG_VERSION"), "\"\n");
    assert!(chart.contains(version), "{chart}");
}

#[test]
fn hadolint_finds_no_fault_with_the_dockerfile() {
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/Dockerfile");
    let mut hadolint = Command::new(tools::program("hadolint"));
    let output = hadolint.arg("--failure-threshold=style").arg(dockerfile).env_clear().output();
    let output = output.expect("hadolint runs: tests/run installs it");
    assert!(output.status.success(), "{}", said(&output));
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
