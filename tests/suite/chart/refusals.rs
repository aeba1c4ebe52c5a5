//! Values that are wrong, and what helm says against them.

use super::helm::template;

/// What the schema refuses: values as JSON by `--set-json`, and what must be said.
const MALFORMED: [(&str, &str); 25] = [
    ("replicas=3", "additional properties 'replicas' not allowed"),
    ("config.wokers=3", "at '/config': additional properties 'wokers' not allowed"),
    ("config.drain.timeuot=\"5s\"", "at '/config/drain': additional properties 'timeuot' not allowed"),
    ("config.data_dir=\"/data\"", "at '/config': additional properties 'data_dir' not allowed"),
    // A secret in the ConfigMap.
    ("config.master_key=\"abc\"", "at '/config': additional properties 'master_key' not allowed"),
    ("config.redis.url=\"redis://redis\"", "at '/config/redis': additional properties 'url' not allowed"),
    ("config.workers=\"two\"", "at '/config/workers': got string, want integer"),
    ("config.workers=2.5", "at '/config/workers': got number, want integer"),
    ("config.workers=-1", "at '/config/workers': minimum: got -1, want 0"),
    ("config.limits.max_in_flight=0", "at '/config/limits/max_in_flight': minimum: got 0, want 1"),
    ("config.store=\"postgres\"", "at '/config/store': value must be one of 'embedded', 'redis'"),
    ("config.store=null", "at '/config': missing property 'store'"),
    ("config.listen=null", "at '/config': missing property 'listen'"),
    ("config.listen=\"0.0.0.0:7443\"", "at '/config/listen': got string, want array"),
    ("config.listen=[\"7443\"]", "at '/config/listen/0': '7443' does not match pattern"),
    ("config.listen=[]", "at '/config/listen': minItems: got 0, want 1"),
    ("config.drain.delay=5", "at '/config/drain/delay': got number, want string"),
    ("config.drain.delay=\"5 s\"", "at '/config/drain/delay': '5 s' does not match pattern"),
    ("config.reflection=\"no\"", "at '/config/reflection': got string, want boolean"),
    ("config.public_url=\"\"", "at '/config/public_url': minLength: got 0, want 1"),
    ("secrets.master_key=\"abc\"", "at '/secrets/master_key': got string, want object"),
    ("secrets.master_kye={\"existingSecret\": \"a\"}", "at '/secrets': additional properties 'master_kye' not allowed"),
    ("image.digest=\"latest\"", "at '/image/digest': 'latest' does not match pattern"),
    ("persistence.size=\"much\"", "at '/persistence/size': 'much' does not match pattern"),
    (
        "networkPolicy.ingress.admin=[{\"labels\": {}}]",
        "at '/networkPolicy/ingress/admin/0': additional properties 'labels'",
    ),
];

/// What the chart itself refuses, because it lies between values.
const CONTRADICTORY: [(&[&str], &str); 33] = [
    (&["replicaCount=2"], "replicaCount: the embedded store serves one pod"),
    (&["autoscaling.enabled=true"], "autoscaling.enabled: the embedded store serves one pod"),
    (&["secrets.redis.url={\"existingSecret\": \"a\"}"], "secrets.redis.url: has no effect with the embedded store"),
    (&["config.store=\"redis\""], "secrets.redis.url: config.store redis requires it"),
    (&["config.store=\"redis\""], "secrets.master_key: config.store redis requires it"),
    (
        &["secrets.master_key={\"existingSecret\": \"a\", \"value\": \"b\"}"],
        "secrets.master_key: has existingSecret and value",
    ),
    (&["secrets.master_key={\"key\": \"b\"}"], "secrets.master_key: give existingSecret, or value"),
    (&["secrets.master_key={\"key\": \"a\", \"value\": \"b\"}"], "secrets.master_key.key: belongs to existingSecret"),
    (&["config.bootstrap.client_id=\"root\""], "config.bootstrap.client_id, secrets.bootstrap.client_secret"),
    (
        &["secrets.bootstrap.client_secret={\"value\": \"a\"}"],
        "config.bootstrap.client_id, secrets.bootstrap.client_secret",
    ),
    (&["config.webhook.url=\"https://a.example\""], "config.webhook.url, secrets.webhook.secret"),
    (
        &["config.webhook.url=\"log:\"", "secrets.webhook.secret={\"value\": \"a\"}"],
        "config.webhook.url, secrets.webhook.secret",
    ),
    (&["secrets.otlp.headers={\"value\": \"a=b\"}"], "secrets.otlp.headers: requires config.otlp.endpoint"),
    (&["config.listen=[\"127.0.0.1:7443\"]"], "config.listen: its first host:port is what the pod is reached at"),
    (
        &["config.admin.listen=[\"[::1]:7090\"]"],
        "config.admin.listen: its first host:port is what the pod is reached at",
    ),
    (&["config.listen=[\"unix:/run/jeton.sock\"]"], "config.listen: its first host:port is what the pod is reached at"),
    (&["config.http.listen=[\"0.0.0.0:0\"]"], "config.http.listen: 0.0.0.0:0 has no port"),
    (&["config.http.listen=[\"0.0.0.0:7443\"]"], "each requires a port of its own"),
    (
        &["certificate.existingSecret=\"a\"", "certificate.certManager.enabled=true"],
        "certificate: has existingSecret and certManager",
    ),
    (&["certificate.certManager.enabled=true"], "certificate.certManager.issuerRef.name: names no issuer"),
    (
        &["certificate.existingSecret=\"a\"", "config.tls.cert_file=\"/a\"", "config.tls.key_file=\"/b\""],
        "config.tls.cert_file, config.tls.key_file: the chart sets them",
    ),
    (&["config.tls.key_file=\"/b\""], "config.tls.cert_file, config.tls.key_file: set both or neither"),
    (
        &["config.tls.client_auth=\"required\""],
        "config.tls.client_auth: callers show certificates only to a service that has one",
    ),
    (&["config.redis.cert_file=\"/b\""], "config.redis.cert_file, config.redis.key_file: set both or neither"),
    (
        &["config.tls.client_ca_file=\"/b\""],
        "config.tls.client_ca_file: has no effect while config.tls.client_auth is off",
    ),
    (
        &["config.tls={\"cert_file\": \"/a\", \"key_file\": \"/b\", \"client_auth\": \"optional\"}"],
        "config.tls.client_ca_file: config.tls.client_auth requires it",
    ),
    (&["config.admin.tls=true"], "config.admin.tls: requires a certificate"),
    (&["certificate.existingSecret=\"a\"", "config.admin=null"], "config.admin.listen: with TLS, probes"),
    (&["files.jwks={}"], "files.jwks: give secret or configMap"),
    (
        &["extraEnv=[{\"name\": \"JETON_WORKERS\", \"value\": \"3\"}]"],
        "extraEnv: JETON_WORKERS would beat the configuration",
    ),
    (&["podDisruptionBudget.minAvailable=1"], "podDisruptionBudget: give one of"),
    (&["serviceMonitor.enabled=true"], "serviceMonitor.enabled: name Prometheus in networkPolicy.ingress.admin"),
    (&["ingress.enabled=true", "config.http=null"], "ingress.enabled: requires config.http.listen"),
];

#[test]
fn a_malformed_value_is_refused_by_the_schema_with_its_place() {
    for (value, wanted) in MALFORMED {
        let said = refused(&[value]);
        assert!(said.contains(wanted), "{value}: {said}");
        assert!(said.contains("don't meet the specifications of the schema"), "{value}: {said}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused_with_a_way_out() {
    for (values, wanted) in CONTRADICTORY {
        let said = refused(values);
        assert!(said.contains(wanted), "{values:?}: {said}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let said = refused(&["config.workers=-1", "replicas=3", "image.digest=\"latest\""]);
    for wanted in ["/config/workers", "'replicas'", "/image/digest"] {
        assert!(said.contains(wanted), "{said}");
    }
    let said = refused(&["replicaCount=2", "secrets.master_key={\"key\": \"a\"}", "ingress.enabled=true"]);
    for wanted in ["replicaCount", "secrets.master_key", "ingress.hosts"] {
        assert!(said.contains(wanted), "{said}");
    }
}

fn refused(values: &[&str]) -> String {
    let args: Vec<_> = values.iter().flat_map(|value| ["--set-json", value]).collect();
    template(&args).map_or_else(|wrong| wrong, |_| panic!("{values:?} was taken"))
}
