//! Workloads that obtain tokens by their own: Kubernetes ServiceAccount tokens and SPIFFE JWT-SVIDs.

use std::{fs, sync::LazyLock, time::Duration};

use jeton::{
    api::{wire, wire::GrantType},
    outbound::published::Location,
};
use jeton_contract::reason::Reason;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Status;

use super::{
    calls::{Credentials, IssueExt as _, owned, refused, refused_fields, seen, uuid},
    harness::{Backend, PUBLIC_URL, Service, plain},
    signers::{ALGORITHMS, Signer, and_a_half, key_set, part, with},
};
use crate::remote::{Remote, Reply};

on_both_stores! {
    a_workload_obtains_what_its_client_would
    a_token_of_each_algorithm_is_a_proof
    what_is_wrong_with_a_workload_looks_like_a_wrong_secret
    the_tenant_is_the_one_that_the_token_is_meant_for
    keys_that_are_rotated_in_the_file_count_within_seconds
    an_identity_stands_for_one_client_of_a_tenant
    an_identity_that_is_taken_away_stands_for_nobody
    the_grant_must_be_allowed_and_nothing_else_proves_anything
    a_workload_presents_its_token_again_and_again
    keys_are_fetched_where_an_issuer_or_a_client_publishes_them
}

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const SUBJECT: &str = "system:serviceaccount:shop:billing";

static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::new("cluster-1", Algorithm::RS256));
static NEXT: LazyLock<Signer> = LazyLock::new(|| Signer::new("cluster-2", Algorithm::ES256));

/// A service that trusts a cluster, whose keys stand in a file.
struct World {
    service: Service,
    published: TempDir,
}

impl World {
    async fn new(service: Service, signers: &[&Signer]) -> Self {
        let published = tempfile::tempdir().unwrap();
        let file = published.path().join("jwks.json");
        fs::write(&file, key_set(signers)).unwrap();
        let service = service.trusting(vec![(CLUSTER.to_owned(), Location::File(file))]).await;
        Self { service, published }
    }

    fn publish(&self, text: &str) {
        fs::write(self.published.path().join("jwks.json"), text).unwrap();
    }

    /// The claims of a projected token.
    fn claims(&self) -> Value {
        let now = self.service.clock.now().as_secs();
        json!({
            "iss": CLUSTER,
            "sub": SUBJECT,
            "aud": [issuer("default")],
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "jti": "6c1b2f0e-0000-4000-8000-000000000000",
            "kubernetes.io": {"namespace": "shop", "pod": {"name": "billing-0"}},
        })
    }

    async fn issue(&self, request: wire::IssueTokenRequest) -> Result<wire::IssuedToken, Status> {
        self.service.anonymous().issue_token(request).await.map(|reply| reply.token.unwrap())
    }
}

fn issuer(tenant: &str) -> String {
    format!("{PUBLIC_URL}/t/{tenant}")
}

fn identity(issuer: &str, subject: &str) -> wire::WorkloadIdentity {
    wire::WorkloadIdentity { issuer: issuer.to_owned(), subject: subject.to_owned() }
}

/// A client that [`SUBJECT`] of [`CLUSTER`] stands for.
fn stood_for() -> wire::Client {
    wire::Client {
        allowed_grants: [GrantType::ClientCredentials, GrantType::Workload].map(Into::into).into(),
        workload_identities: vec![identity(CLUSTER, SUBJECT)],
        ..plain()
    }
}

fn workload(jwt: &str) -> wire::IssueTokenRequest {
    let grant = wire::issue_token_request::Grant::Workload(wire::WorkloadGrant { jwt: jwt.to_owned() });
    wire::IssueTokenRequest { grant: Some(grant), ..Default::default() }
}

async fn update(service: &Service, client: wire::Client, fields: &[&str]) -> Result<wire::Client, Status> {
    let request = wire::UpdateClientRequest {
        tenant_id: "default".into(),
        client: Some(client),
        update_mask: Some(prost_types::FieldMask { paths: owned(fields) }),
    };
    service.admin().await.update_client(request).await.map(|reply| reply.client.unwrap())
}

async fn a_workload_obtains_what_its_client_would(service: Service) {
    let world = World::new(service, &[&KEY]).await;
    let client = world.service.client_in("default", stood_for()).await;
    let token = world.issue(workload(&KEY.sign(&world.claims()))).await.unwrap();
    let own = world.service.anonymous().issue(client.client_credentials()).await;
    let introspection = world.service.introspect(&token.access_token).await;
    assert_eq!(
        (introspection.subject, introspection.subject_kind),
        (client.client_id.clone(), wire::SubjectKind::Client.into())
    );
    assert_eq!((introspection.client_id, introspection.actor), (client.client_id.clone(), None));
    assert_eq!((&token.scopes, &token.audience, token.expires_in), (&own.scopes, &own.audience, own.expires_in));
    assert_eq!((&token.tenant_id, &token.service_urls), (&own.tenant_id, &own.service_urls));
    // All that an issue can ask for, its own life among it: longer than that of the workload's token.
    let request = workload(&KEY.sign(&world.claims())).scopes(&["pay"]).expires_in("2h").refresh().session("s");
    let asked = world.issue(request).await.unwrap();
    assert_eq!((asked.scopes, asked.expires_in, asked.session_id.as_str()), (owned(&["pay"]), Some(7200), "s"));
    world.service.anonymous().renew(client.renew(&asked.refresh_token)).await;
    let beyond = world.issue(workload(&KEY.sign(&world.claims())).scopes(&["jeton.admin"])).await;
    refused(beyond, Reason::ScopeNotAllowed);
}

async fn a_token_of_each_algorithm_is_a_proof(service: Service) {
    let signers: Vec<Signer> =
        ALGORITHMS.iter().map(|algorithm| Signer::new(&format!("{algorithm:?}"), *algorithm)).collect();
    let world = World::new(service, &signers.iter().collect::<Vec<_>>()).await;
    let spiffe = identity(CLUSTER, "spiffe://example.org/ns/shop/sa/billing");
    let both = wire::Client { workload_identities: vec![identity(CLUSTER, SUBJECT), spiffe.clone()], ..stood_for() };
    let client = world.service.client_in("default", both).await;
    for signer in &signers {
        let token = world.issue(workload(&signer.sign(&world.claims()))).await.unwrap();
        assert_eq!(world.service.introspect(&token.access_token).await.client_id, client.client_id);
        // A JWT-SVID: `sub` is the SPIFFE ID, `typ` is JWT or JOSE or left out, `iat` may be missing.
        let svid = with(&with(&world.claims(), "sub", json!(spiffe.subject)), "iat", Value::Null);
        let header = json!({"alg": signer.alg(), "kid": signer.kid, "typ": "JOSE"});
        world.issue(workload(&signer.sign_under(&header, &svid))).await.unwrap();
        // One key fits its algorithm.
        world.issue(workload(&signer.sign_under(&json!({"alg": signer.alg()}), &svid))).await.unwrap();
    }
}

async fn what_is_wrong_with_a_workload_looks_like_a_wrong_secret(service: Service) {
    let world = World::new(service, &[&KEY, &NEXT]).await;
    let client = world.service.client_in("default", stood_for()).await;
    let disabled = wire::Client { workload_identities: vec![identity(CLUSTER, "disabled")], ..stood_for() };
    let disabled = world.service.client_in("default", disabled).await;
    let request = wire::DisableClientRequest { tenant_id: "default".into(), client_id: disabled.client_id };
    world.service.admin().await.disable_client(request).await.unwrap();
    let good = world.claims();
    let now = world.service.clock.now().as_secs();
    let stranger = Signer::new("cluster-1", Algorithm::RS256);
    let mut wrong = vec![
        ("garbage", "x".to_owned()),
        ("another's signature", stranger.sign(&good)),
        ("none", format!("{}.{}.", part(&json!({"alg": "none"})), part(&good))),
        ("HS256", KEY.sign_under(&json!({"alg": "HS256", "kid": "cluster-1"}), &good)),
        ("RS512", KEY.sign_under(&json!({"alg": "RS512", "kid": "cluster-1"}), &good)),
        ("PS256 by a key of RS256", KEY.sign_under(&json!({"alg": "PS256", "kid": "cluster-1"}), &good)),
        ("the kid of another key", KEY.sign_under(&json!({"alg": "RS256", "kid": "cluster-2"}), &good)),
        ("an unknown kid", KEY.sign_under(&json!({"alg": "RS256", "kid": "cluster-3"}), &good)),
        ("an access token", KEY.sign_under(&json!({"alg": "RS256", "kid": "cluster-1", "typ": "at+jwt"}), &good)),
        ("an assertion", KEY.sign_under(&json!({"alg": "RS256", "typ": "client-authentication+jwt"}), &good)),
        ("a key of its own", KEY.sign_under(&with(&KEY.header(), "jwk", KEY.public()), &good)),
    ];
    for (name, value) in [
        ("iss", json!("https://unknown.example")),
        ("iss", json!(format!("{CLUSTER}/"))),
        ("iss", Value::Null),
        ("sub", json!("system:serviceaccount:shop:other")),
        ("sub", json!("System:serviceaccount:shop:billing")),
        ("sub", json!("disabled")),
        ("sub", json!("")),
        ("sub", Value::Null),
        ("aud", json!([CLUSTER])),
        ("aud", json!([issuer("nowhere")])),
        ("aud", json!("https://auth.example.com")),
        ("aud", Value::Null),
        ("exp", json!(now)),
        ("exp", json!((now + 60).to_string())),
        ("exp", and_a_half(now + 60)),
        ("exp", Value::Null),
        ("nbf", json!(now + 6)),
        ("nbf", json!(now.to_string())),
        ("iat", json!(now + 6)),
        ("iat", and_a_half(now)),
    ] {
        wrong.push((name, KEY.sign(&with(&good, name, value))));
    }
    let nobody = world.service.anonymous();
    let issue =
        async |request| seen(&refused(nobody.issue_token(request).await, Reason::InvalidClient), "no id is in it");
    let secret = issue(wire::IssueTokenRequest { client_secret: "jcs_x".into(), ..client.client_credentials() }).await;
    for (what, jwt) in wrong {
        assert_eq!(issue(workload(&jwt)).await, secret, "{what}");
        assert_eq!(issue(workload(&jwt).tenant("default")).await, secret, "{what}");
    }
    assert_eq!(issue(workload(&KEY.sign(&good)).tenant("nowhere")).await, secret);
    assert_eq!(issue(workload(&KEY.sign(&good)).tenant("No Tenant")).await, secret);
    world.issue(workload(&KEY.sign(&good))).await.unwrap();
    world.issue(workload(&KEY.sign(&with(&good, "aud", json!(issuer("default")))))).await.unwrap();
    refused_fields(world.issue(workload("")).await, Reason::InvalidField, &["workload.jwt"]);
    refused_fields(world.issue(workload(&"x".repeat(8193))).await, Reason::InvalidField, &["workload.jwt"]);
    world.service.advance(Duration::from_secs(3599));
    world.issue(workload(&KEY.sign(&good))).await.unwrap();
    world.service.advance(Duration::from_secs(1));
    assert_eq!(issue(workload(&KEY.sign(&good))).await, secret);
}

async fn the_tenant_is_the_one_that_the_token_is_meant_for(service: Service) {
    let world = World::new(service, &[&KEY]).await;
    for tenant in ["other", "third"] {
        world.service.tenant(tenant, Default::default()).await;
    }
    let mut clients = Vec::new();
    for tenant in ["default", "other", "third"] {
        // One workload may stand for a client in each tenant.
        clients.push(world.service.client_in(tenant, stood_for()).await);
    }
    let aud = |tenants: &[&str]| {
        let audience: Vec<String> = tenants.iter().map(|tenant| issuer(tenant)).collect();
        KEY.sign(&with(&world.claims(), "aud", json!(audience)))
    };
    assert_eq!(world.issue(workload(&aud(&["other"]))).await.unwrap().tenant_id, "other");
    assert_eq!(world.issue(workload(&aud(&["other", "other"]))).await.unwrap().tenant_id, "other");
    assert_eq!(world.issue(workload(&aud(&["default", "other"])).tenant("other")).await.unwrap().tenant_id, "other");
    // Not that of another tenant, and not just any of several.
    refused(world.issue(workload(&aud(&["default"])).tenant("other")).await, Reason::InvalidClient);
    refused(world.issue(workload(&aud(&["default", "other"]))).await, Reason::InvalidClient);
    refused(world.issue(workload(&aud(&["default", "other"])).tenant("third")).await, Reason::InvalidClient);
    // Not even where the client is admitted: it stands for a client at home.
    let admission = wire::Admission { client_id: clients[0].client_id.clone(), ..Default::default() };
    let request = wire::AdmitClientRequest { tenant_id: "third".into(), admission: Some(admission) };
    world.service.admin().await.admit_client(request).await.unwrap();
    refused(world.issue(workload(&aud(&["default"])).tenant("third")).await, Reason::InvalidClient);
    let request = wire::DisableTenantRequest { tenant_id: "other".into() };
    world.service.admin().await.disable_tenant(request).await.unwrap();
    refused(world.issue(workload(&aud(&["other"]))).await, Reason::InvalidClient);
}

async fn keys_that_are_rotated_in_the_file_count_within_seconds(service: Service) {
    let world = World::new(service, &[&KEY]).await;
    world.service.client_in("default", stood_for()).await;
    let issue = async |signer: &Signer| world.issue(workload(&signer.sign(&world.claims()))).await;
    issue(&KEY).await.unwrap();
    refused(issue(&NEXT).await, Reason::InvalidClient);
    world.publish(&key_set(&[&KEY, &NEXT]));
    world.service.advance(Duration::from_secs(5));
    issue(&NEXT).await.unwrap();
    issue(&KEY).await.unwrap();
    world.publish(&key_set(&[&NEXT]));
    world.service.advance(Duration::from_secs(5));
    refused(issue(&KEY).await, Reason::InvalidClient);
    // A file that is being written, or gone, takes nothing away.
    for broken in ["", "{\"keys\": [", "{\"keys\": []}"] {
        world.publish(broken);
        world.service.advance(Duration::from_secs(5));
        issue(&NEXT).await.unwrap();
    }
    fs::remove_file(world.published.path().join("jwks.json")).unwrap();
    world.service.advance(Duration::from_secs(5));
    issue(&NEXT).await.unwrap();
}

async fn an_identity_stands_for_one_client_of_a_tenant(service: Service) {
    let world = World::new(service, &[&KEY]).await;
    let first = world.service.client_in("default", stood_for()).await;
    let admin = world.service.admin().await;
    let create = async |tenant: &str, client| {
        let request =
            wire::CreateClientRequest { tenant_id: tenant.to_owned(), client: Some(client), ..Default::default() };
        admin.create_client(request).await
    };
    let status = refused(create("default", stood_for()).await, Reason::WorkloadTaken);
    assert!(!format!("{status:?}").contains(&first.client_id), "the holder stays secret");
    let second = world.service.client().await;
    let fields = ["workload_identities"];
    let patch = |client: &Credentials, identities: Vec<wire::WorkloadIdentity>| wire::Client {
        client_id: client.client_id.clone(),
        workload_identities: identities,
        ..Default::default()
    };
    refused(
        update(&world.service, patch(&second, vec![identity(CLUSTER, SUBJECT)]), &fields).await,
        Reason::WorkloadTaken,
    );
    // The pair is what is taken, byte by byte.
    let near = vec![identity(CLUSTER, "system:serviceaccount:shop:Billing"), identity("https://other", SUBJECT)];
    let answer = update(&world.service, patch(&second, near.clone()), &fields).await.unwrap();
    assert_eq!(answer.workload_identities, near);
    // Its holder may claim it again.
    update(&world.service, patch(&first, vec![identity(CLUSTER, SUBJECT)]), &fields).await.unwrap();
    let twice = wire::Client { workload_identities: vec![identity("https://i", "s"); 2], ..plain() };
    let field = "client.workload_identities[1]";
    refused_fields(create("default", twice).await, Reason::InvalidField, &[field]);
    let many = (0..11).map(|i| identity("https://i", &i.to_string())).collect();
    let many = wire::Client { workload_identities: many, ..plain() };
    refused_fields(create("default", many).await, Reason::InvalidField, &["client.workload_identities"]);
    let malformed = wire::Client { workload_identities: vec![identity("", "a b")], ..plain() };
    let fields = ["client.workload_identities[0].issuer", "client.workload_identities[0].subject"];
    refused_fields(create("default", malformed).await, Reason::InvalidField, &fields);
    world.service.tenant("other", Default::default()).await;
    create("other", stood_for()).await.unwrap();
}

async fn an_identity_that_is_taken_away_stands_for_nobody(service: Service) {
    let world = World::new(service, &[&KEY]).await;
    let first = world.service.client_in("default", stood_for()).await;
    let jwt = KEY.sign(&world.claims());
    world.issue(workload(&jwt)).await.unwrap();
    let none = wire::Client { client_id: first.client_id.clone(), ..Default::default() };
    update(&world.service, none, &["workload_identities"]).await.unwrap();
    refused(world.issue(workload(&jwt)).await, Reason::InvalidClient);
    let second = world.service.client_in("default", stood_for()).await;
    let token = world.issue(workload(&jwt)).await.unwrap();
    assert_eq!(world.service.introspect(&token.access_token).await.client_id, second.client_id);
    // A client's end frees its identities, and its tokens end with it.
    let request =
        wire::DeleteClientRequest { tenant_id: "default".into(), client_id: second.client_id, ..Default::default() };
    world.service.admin().await.delete_client(request).await.unwrap();
    refused(world.issue(workload(&jwt)).await, Reason::InvalidClient);
    assert!(!world.service.is_active(&token.access_token).await);
    world.service.client_in("default", stood_for()).await;
    world.issue(workload(&jwt)).await.unwrap();
}

async fn the_grant_must_be_allowed_and_nothing_else_proves_anything(service: Service) {
    let world = World::new(service, &[&KEY]).await;
    let client = world.service.client_in("default", wire::Client { allowed_grants: Vec::new(), ..stood_for() }).await;
    let jwt = KEY.sign(&world.claims());
    refused(world.issue(workload(&jwt)).await, Reason::GrantNotAllowed);
    let only = wire::Client {
        client_id: client.client_id.clone(),
        allowed_grants: vec![GrantType::Workload.into()],
        ..Default::default()
    };
    update(&world.service, only, &["allowed_grants"]).await.unwrap();
    world.issue(workload(&jwt)).await.unwrap();
    refused(world.issue(client.client_credentials()).await, Reason::GrantNotAllowed);
    let reason = Reason::AmbiguousCredentials;
    refused_fields(world.issue(client.with(workload(&jwt))).await, reason, &["workload"]);
    let asserted = wire::IssueTokenRequest { client_assertion: "x".into(), ..workload(&jwt) };
    refused_fields(world.issue(asserted).await, reason, &["workload"]);
    refused_fields(world.service.admin().await.issue_token(workload(&jwt)).await, reason, &["workload"]);
    // It is a proof of nothing but its grant.
    let bearer = world.service.bearer(&jwt);
    refused(bearer.get_caller(wire::GetCallerRequest {}).await, Reason::TokenInvalid);
}

async fn a_workload_presents_its_token_again_and_again(service: Service) {
    let world = World::new(service, &[&KEY]).await;
    world.service.client_in("default", stood_for()).await;
    let jwt = KEY.sign(&world.claims());
    let first = world.issue(workload(&jwt)).await.unwrap();
    assert_ne!(world.issue(workload(&jwt)).await.unwrap().token_id, first.token_id);
    // The same request with a token that was replaced meanwhile is the same request.
    let once = world.issue(workload(&jwt).request_id(&uuid(1))).await.unwrap();
    let replaced = KEY.sign(&with(&world.claims(), "jti", json!("another")));
    let again = world.issue(workload(&replaced).request_id(&uuid(1))).await.unwrap();
    assert_eq!(once.token_id, again.token_id);
}

async fn keys_are_fetched_where_an_issuer_or_a_client_publishes_them(service: Service) {
    let others = Remote::start(|asked| match asked.path.as_str() {
        "/cluster" => Reply::json(key_set(&[&KEY])),
        "/client" => Reply::json(key_set(&[&NEXT])),
        _ => Reply::status(500),
    })
    .await;
    let down = "https://down.example".to_owned();
    let issuers = vec![
        (CLUSTER.to_owned(), Location::Url(others.url("/cluster"))),
        (down.clone(), Location::Url(others.url("/x"))),
    ];
    let world = World { service: service.trusting(issuers).await, published: tempfile::tempdir().unwrap() };
    let identities = vec![identity(CLUSTER, SUBJECT), identity(&down, SUBJECT)];
    let both =
        wire::Client { workload_identities: identities, jwks_uri: others.url("/client").to_string(), ..stood_for() };
    let client = world.service.client_in("default", both).await;
    for _ in 0..3 {
        world.issue(workload(&KEY.sign(&world.claims()))).await.unwrap();
    }
    assert_eq!(others.count("/cluster"), 1, "kept for a while");
    refused(world.issue(workload(&NEXT.sign(&world.claims()))).await, Reason::InvalidClient);
    let unknown = with(&world.claims(), "iss", json!(down));
    refused(world.issue(workload(&KEY.sign(&unknown))).await, Reason::InvalidClient);
    // The client's own keys, for its assertions.
    let now = world.service.clock.now().as_secs();
    let id = client.client_id.as_str();
    let claims = json!({"iss": id, "sub": id, "aud": issuer("default"), "exp": now + 60, "jti": "1"});
    let asserted = |signer: &Signer, claims: &Value| wire::IssueTokenRequest {
        client_assertion: signer.sign(claims),
        ..super::calls::client_credentials()
    };
    refused(world.issue(asserted(&KEY, &claims)).await, Reason::InvalidClient);
    world.issue(asserted(&NEXT, &claims)).await.unwrap();
    refused(world.issue(asserted(&NEXT, &claims)).await, Reason::InvalidClient);
    let both = wire::Client { client_id: id.to_owned(), jwks: vec![NEXT.jwk()], ..Default::default() };
    refused_fields(update(&world.service, both, &["jwks"]).await, Reason::InvalidField, &["client.jwks_uri"]);
    for wrong in ["keys", "ftp://keys", "https://", "https://user@keys", "https://keys/#1"] {
        let wrong = wire::Client { client_id: id.to_owned(), jwks_uri: wrong.into(), ..Default::default() };
        refused_fields(update(&world.service, wrong, &["jwks_uri"]).await, Reason::InvalidField, &["client.jwks_uri"]);
    }
    let inline = wire::Client { client_id: id.to_owned(), jwks: vec![KEY.jwk()], ..Default::default() };
    let answer = update(&world.service, inline, &["jwks", "jwks_uri"]).await.unwrap();
    assert_eq!((answer.jwks, answer.jwks_uri.as_str()), (vec![KEY.jwk()], ""));
    world.issue(asserted(&KEY, &with(&claims, "jti", json!("2")))).await.unwrap();
}

#[tokio::test]
async fn an_identity_that_one_replica_takes_away_counts_on_none() {
    let world = World::new(Service::start(Backend::Redis).await, &[&KEY]).await;
    let client = world.service.client_in("default", stood_for()).await;
    let replica = world.service.replica().await;
    let jwt = KEY.sign(&world.claims());
    replica.anonymous().issue(workload(&jwt)).await;
    let none = wire::Client { client_id: client.client_id.clone(), ..Default::default() };
    update(&world.service, none, &["workload_identities"]).await.unwrap();
    refused(replica.anonymous().issue_token(workload(&jwt)).await, Reason::InvalidClient);
}
