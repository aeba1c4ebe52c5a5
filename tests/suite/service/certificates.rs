//! Clients that prove themselves by the certificate of their connection (RFC 8705 §2).

use std::sync::Arc;

use jeton::{
    ambient::Clock,
    api::wire,
    serve::tls::{ClientAuth, Files, Tls},
};
use jeton_contract::reason::Reason;
use tempfile::TempDir;

use super::{
    assertions::{ED, asserted, assertion},
    calls::{
        Caller, Credentials, IssueExt as _, client_credentials, for_account, owned, refused, refused_fields, revoke,
        revoke_id, seen,
    },
    harness::{Backend, Service, plain},
};
use crate::certificates::Authority;

on_both_stores! {
    a_certificate_proves_the_client_that_names_it
    wherever_a_client_is_at_home_its_certificate_proves_it
    whatever_is_wrong_with_a_certificate_looks_like_a_wrong_secret
    identities_that_are_taken_away_and_clients_that_are_disabled_prove_nothing
    every_other_proof_goes_before_the_certificate
    a_certificate_allows_no_more_than_a_secret_does
    only_names_that_certificates_can_have_are_taken
    without_a_certificate_nothing_is_different
}

const BILLING: &str = "spiffe://example.org/ns/shop/sa/billing";
const HOST: &str = "dns:billing.example.org";

/// A service that takes client certificates of an authority.
struct Secured {
    service: Service,
    authority: Arc<Authority>,
    _files: TempDir,
}

impl Secured {
    async fn start(service: Service) -> Self {
        let authority = Arc::new(Authority::new("authority"));
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = authority.server().write(dir.path(), "server");
        let client_ca = dir.path().join("clients.pem");
        std::fs::write(&client_ca, &authority.pem).unwrap();
        let files =
            Files { cert: cert.into(), key: key.into(), client_ca: Some(client_ca), client_auth: ClientAuth::Optional };
        let tls = Tls::load(files, Clock::default()).unwrap();
        let service = service.secured(tls.for_callers(), Arc::clone(&authority)).await;
        Self { service, authority, _files: dir }
    }

    /// A client of a tenant that certificates of these names prove.
    async fn client_in(&self, tenant: &str, identities: &[&str]) -> Credentials {
        let client = wire::Client { certificate_identities: owned(identities), ..plain() };
        self.service.client_in(tenant, client).await
    }

    /// A connection that shows a certificate with these names.
    async fn showing(&self, names: &[&str]) -> Caller {
        self.service.showing(Some(&self.authority.client(names))).await
    }

    async fn set(&self, client: &str, identities: &[&str]) {
        let client = wire::Client {
            client_id: client.to_owned(),
            certificate_identities: owned(identities),
            ..Default::default()
        };
        let update_mask = Some(prost_types::FieldMask { paths: owned(&["certificate_identities"]) });
        let request = wire::UpdateClientRequest { tenant_id: "default".into(), client: Some(client), update_mask };
        self.service.admin().await.update_client(request).await.unwrap();
    }
}

/// The client's own token, by nothing but its id.
fn named(client: &str) -> wire::IssueTokenRequest {
    wire::IssueTokenRequest { client_id: client.to_owned(), ..client_credentials() }
}

async fn a_certificate_proves_the_client_that_names_it(service: Service) {
    let secured = Secured::start(service).await;
    let client = secured.client_in("default", &[HOST, BILLING]).await;
    let client_id = || client.client_id.clone();
    for name in [BILLING, HOST, "dns:Billing.Example.ORG"] {
        let token = secured.showing(&["dns:else.example.org", name]).await.issue(named(&client.client_id)).await;
        assert_eq!(secured.service.introspect(&token.access_token).await.client_id, client.client_id);
    }
    // Wherever a secret is taken.
    let caller = secured.showing(&[BILLING]).await;
    let issued = caller.issue(named(&client.client_id).refresh()).await;
    let introspect = wire::IntrospectTokenRequest {
        client_id: client_id(),
        token: issued.access_token.clone(),
        ..Default::default()
    };
    assert_eq!(caller.introspect(introspect.clone()).await.active, Some(true));
    let tokens = vec![issued.access_token.clone()];
    let batch = wire::BatchIntrospectTokensRequest { client_id: client_id(), tokens, ..Default::default() };
    let answers = caller.batch_introspect_tokens(batch).await.unwrap().introspections;
    assert_eq!(answers[0].active, Some(true));
    let renew = wire::RenewTokenRequest {
        client_id: client_id(),
        refresh_token: issued.refresh_token.clone(),
        ..Default::default()
    };
    let renewed = caller.renew(renew).await;
    let by_id = wire::RevokeTokenRequest { client_id: client_id(), ..revoke_id(&renewed.token_id) };
    caller.revoke_token(by_id).await.unwrap();
    assert!(!secured.service.is_active(&renewed.access_token).await);
    let invalidate = wire::InvalidateTokensRequest {
        client_id: client_id(),
        access_token: issued.access_token.clone(),
        ..Default::default()
    };
    caller.invalidate_tokens(invalidate).await.unwrap();
    assert_eq!(caller.introspect(introspect).await.active, Some(false));
    // What needs a member says so, and not that nobody calls.
    let sign_in = wire::AuthenticateMemberRequest { client_id: client_id(), ..Default::default() };
    refused(caller.authenticate_member(sign_in).await, Reason::InvalidField);
}

async fn wherever_a_client_is_at_home_its_certificate_proves_it(service: Service) {
    let secured = Secured::start(service).await;
    secured.service.tenant("acme", Default::default()).await;
    let made = secured.client_in("acme", &[BILLING]).await;
    let later = secured.service.client_in("acme", plain()).await;
    let updated = wire::Client {
        client_id: later.client_id.clone(),
        certificate_identities: owned(&[BILLING]),
        ..Default::default()
    };
    let request = wire::UpdateClientRequest { tenant_id: "acme".into(), client: Some(updated), ..Default::default() };
    secured.service.admin().await.update_client(request).await.unwrap();
    let admission =
        wire::Admission { client_id: made.client_id.clone(), scopes: owned(&["invoices.read"]), ..Default::default() };
    let request = wire::AdmitClientRequest { tenant_id: "default".into(), admission: Some(admission) };
    secured.service.admin().await.admit_client(request).await.unwrap();
    // Nothing of it is in memory, and neither the request nor the certificate tells the tenant.
    let Secured { service, authority, _files } = secured;
    let secured = Secured { service: service.forgetting().await, authority, _files };
    let caller = secured.showing(&[BILLING]).await;
    for client in [&made, &later] {
        assert_eq!(caller.issue(named(&client.client_id)).await.tenant_id, "acme");
    }
    let abroad = caller.issue(named(&made.client_id).tenant("default")).await;
    assert_eq!(abroad.tenant_id, "default");
    refused(caller.issue_token(named(&later.client_id).tenant("default")).await, Reason::TenantNotGranted);
}

async fn whatever_is_wrong_with_a_certificate_looks_like_a_wrong_secret(service: Service) {
    let secured = Secured::start(service).await;
    secured.service.tenant("acme", Default::default()).await;
    let own = secured.client_in("default", &[BILLING]).await;
    let none = secured.service.client().await;
    let abroad = secured.client_in("acme", &["spiffe://example.org/acme"]).await;
    let caller = secured.showing(&[BILLING]).await;
    let wrong_secret = wire::IssueTokenRequest { client_secret: "jcs_x".into(), ..own.client_credentials() };
    let answer = |status: &tonic::Status, id: &str| seen(status, id);
    let wanted = answer(&refused(caller.issue_token(wrong_secret).await, Reason::InvalidClient), &own.client_id);
    let other = secured.showing(&["spiffe://example.org/ns/shop/sa/other"]).await;
    let longer = secured.showing(&["spiffe://example.org/ns/shop/sa/billing/x"]).await;
    let two = secured.showing(&[BILLING, "spiffe://example.org/ns/shop/sa/other"]).await;
    let mute = secured.showing(&[]).await;
    let unshown = secured.service.showing(None).await;
    for (caller, id) in [
        (&caller, "cli_0000000000000000000000"),
        (&caller, "no id at all"),
        (&caller, &none.client_id),
        (&caller, &abroad.client_id),
        (&other, &own.client_id),
        (&longer, &own.client_id),
        (&two, &own.client_id),
        (&mute, &own.client_id),
        (&unshown, &own.client_id),
    ] {
        let status = refused(caller.issue_token(named(id)).await, Reason::InvalidClient);
        assert_eq!(answer(&status, id), wanted, "{id}");
    }
    caller.issue(named(&own.client_id)).await;
}

async fn identities_that_are_taken_away_and_clients_that_are_disabled_prove_nothing(service: Service) {
    let secured = Secured::start(service).await;
    let client = secured.client_in("default", &[BILLING, HOST]).await;
    let id = client.client_id.as_str();
    let (by_id, by_host) = (secured.showing(&[BILLING]).await, secured.showing(&[HOST]).await);
    by_id.issue(named(id)).await;
    by_host.issue(named(id)).await;
    secured.set(id, &[HOST]).await;
    // On the connection that was open before.
    refused(by_id.issue_token(named(id)).await, Reason::InvalidClient);
    by_host.issue(named(id)).await;
    secured.set(id, &[]).await;
    refused(by_host.issue_token(named(id)).await, Reason::InvalidClient);
    secured.set(id, &[BILLING]).await;
    by_id.issue(named(id)).await;
    if secured.service.backend() == Backend::Redis {
        let replica = secured.service.replica().await;
        let elsewhere = replica.showing(Some(&secured.authority.client(&[BILLING]))).await;
        elsewhere.issue(named(id)).await;
        secured.set(id, &[HOST]).await;
        refused(elsewhere.issue_token(named(id)).await, Reason::InvalidClient);
        secured.set(id, &[BILLING]).await;
    }
    let admin = secured.service.admin().await;
    let disable = wire::DisableClientRequest { tenant_id: "default".into(), client_id: id.to_owned() };
    admin.disable_client(disable).await.unwrap();
    refused(by_id.issue_token(named(id)).await, Reason::InvalidClient);
    let enable = wire::EnableClientRequest { tenant_id: "default".into(), client_id: id.to_owned() };
    admin.enable_client(enable).await.unwrap();
    by_id.issue(named(id)).await;
    let delete =
        wire::DeleteClientRequest { tenant_id: "default".into(), client_id: id.to_owned(), ..Default::default() };
    admin.delete_client(delete).await.unwrap();
    refused(by_id.issue_token(named(id)).await, Reason::InvalidClient);
}

async fn every_other_proof_goes_before_the_certificate(service: Service) {
    let secured = Secured::start(service).await;
    let client = wire::Client { certificate_identities: owned(&[BILLING]), jwks: vec![ED.jwk()], ..plain() };
    let own = secured.service.client_in("default", client).await;
    let other = secured.service.client().await;
    let caller = secured.showing(&[BILLING]).await;
    // The bearer is the caller.
    let token = caller.issue(other.client_credentials().scopes(&["jeton.tokens.introspect"])).await;
    let bearer = caller.bearing(&token.access_token);
    let caller_id = bearer.get_caller(wire::GetCallerRequest {}).await.unwrap().caller.unwrap().client_id;
    assert_eq!(caller_id, other.client_id);
    refused(bearer.issue_token(named(&own.client_id)).await, Reason::AmbiguousCredentials);
    // A secret is the proof, be it right or wrong.
    assert_eq!(caller.issue(other.client_credentials()).await.scopes, owned(&["invoices.read"]));
    let wrong = wire::IssueTokenRequest { client_secret: other.client_secret.clone(), ..named(&own.client_id) };
    refused(caller.issue_token(wrong).await, Reason::InvalidClient);
    let made = assertion(&secured.service, &own.client_id, &ED);
    let by_assertion = wire::IssueTokenRequest { client_id: own.client_id.clone(), ..asserted(&made) };
    caller.issue(by_assertion.clone()).await;
    refused(caller.issue_token(by_assertion).await, Reason::InvalidClient);
    // Nobody is named: nobody calls.
    refused(caller.issue_token(client_credentials()).await, Reason::TokenMissing);
    caller.revoke_token(revoke(&token.access_token)).await.unwrap();
}

async fn a_certificate_allows_no_more_than_a_secret_does(service: Service) {
    let secured = Secured::start(service).await;
    let client = wire::Client {
        certificate_identities: owned(&[BILLING]),
        allowed_grants: vec![wire::GrantType::Account.into()],
        ..plain()
    };
    let own = secured.service.client_in("default", client).await;
    let account = secured.service.account("").await;
    let caller = secured.showing(&[BILLING]).await;
    refused(caller.issue_token(named(&own.client_id)).await, Reason::GrantNotAllowed);
    let named = |request| wire::IssueTokenRequest { client_id: own.client_id.clone(), ..request };
    caller.issue(named(for_account(&account)).scopes(&["pay"])).await;
    let beyond = named(for_account(&account)).scopes(&["orders.read"]);
    refused(caller.issue_token(beyond).await, Reason::ScopeNotAllowed);
    // By its secret it is the same request of the same client.
    let once = caller.issue(named(for_account(&account)).scopes(&["pay"]).request_id(&super::calls::uuid(1))).await;
    let again = own.account(&account).scopes(&["pay"]).request_id(&super::calls::uuid(1));
    assert_eq!(caller.issue(again).await.access_token, once.access_token);
}

async fn only_names_that_certificates_can_have_are_taken(service: Service) {
    let admin = service.admin().await;
    let create = async |identities: &[&str]| {
        let client = wire::Client { certificate_identities: owned(identities), ..plain() };
        let request =
            wire::CreateClientRequest { tenant_id: "default".into(), client: Some(client), ..Default::default() };
        admin.create_client(request).await
    };
    let field = |i: usize| format!("client.certificate_identities[{i}]");
    let wrong = create(&[BILLING, "billing.example.org", HOST, "spiffe://example.org/"]).await;
    refused_fields(wrong, Reason::InvalidField, &[&field(1), &field(3)]);
    refused_fields(create(&["a b"]).await, Reason::InvalidField, &[&field(0)]);
    refused_fields(create(&[HOST, HOST]).await, Reason::InvalidField, &["client.certificate_identities"]);
    let many: Vec<String> = (0..11).map(|i| format!("dns:host-{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused_fields(create(&many).await, Reason::InvalidField, &["client.certificate_identities"]);
    let made = create(&many[..10]).await.unwrap().client.unwrap();
    assert_eq!(made.certificate_identities, many[..10]);
    let get = wire::GetClientRequest { tenant_id: "default".into(), client_id: made.client_id };
    assert_eq!(admin.get_client(get).await.unwrap().client.unwrap().certificate_identities, many[..10]);
}

async fn without_a_certificate_nothing_is_different(service: Service) {
    let secured = Secured::start(service).await;
    let client = secured.service.client().await;
    let caller = secured.service.showing(None).await;
    let token = caller.issue(client.client_credentials()).await;
    assert!(secured.service.is_active(&token.access_token).await);
    refused(caller.issue_token(named(&client.client_id)).await, Reason::InvalidClient);
}
