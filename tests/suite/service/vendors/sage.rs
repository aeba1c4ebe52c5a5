//! Sage: an application in a tenant that admitted it; a short access token, and a refresh token that is good once.

use std::{collections::BTreeMap, time::Duration};

use jeton::api::{wire, wire::invalidate_tokens_response::Outcome};
use jeton_contract::reason::Reason;

use crate::service::{
    calls::{Credentials, IssueExt as _, owned, refused, refused_fields, revoke},
    harness::{Service, plain},
};

on_both_stores! {
    an_application_gets_two_tokens_and_the_urls_of_the_tenant
    a_refresh_token_is_replaced_on_every_renewal
    tokens_are_invalidated_one_by_one_or_together
    a_tenant_that_takes_its_consent_back_ends_its_tokens
    every_documented_error_has_its_reason
}

/// The tenant `customer`, which has admitted an application of another tenant.
async fn application(service: &Service) -> Credentials {
    service.tenant("customer", Default::default()).await;
    let service_urls = urls();
    let tenant = wire::Tenant { tenant_id: "customer".into(), service_urls, ..Default::default() };
    let request = wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
    service.admin().await.update_tenant(request).await.unwrap();
    let application = service.client_in("default", plain()).await;
    let admission = wire::Admission {
        client_id: application.client_id.clone(),
        scopes: owned(&["invoices.read"]),
        ..Default::default()
    };
    let admit = wire::AdmitClientRequest { tenant_id: "customer".into(), admission: Some(admission) };
    service.admin().await.admit_client(admit).await.unwrap();
    application
}

fn urls() -> BTreeMap<String, String> {
    ["graphQl", "asyncContextUploadUrl", "asyncContextErrorUrl", "websocketUrl", "refreshToken", "invalidateToken"]
        .map(|name| (name.to_owned(), format!("https://eu.example.com/{name}")))
        .into()
}

fn token(application: &Credentials) -> wire::IssueTokenRequest {
    application.client_credentials().tenant("customer").refresh()
}

fn invalidate(access: &str, refresh: &str) -> wire::InvalidateTokensRequest {
    wire::InvalidateTokensRequest {
        access_token: access.to_owned(),
        refresh_token: refresh.to_owned(),
        ..Default::default()
    }
}

async fn an_application_gets_two_tokens_and_the_urls_of_the_tenant(service: Service) {
    let application = application(&service).await;
    let issued = service.anonymous().issue(token(&application)).await;
    let now = i64::try_from(service.clock.now().as_secs()).unwrap();
    assert_eq!((issued.token_type.as_str(), issued.tenant_id.as_str()), ("Bearer", "customer"));
    assert_eq!((issued.expires_in, issued.expire_time.unwrap().seconds), (Some(900), now + 900));
    assert_eq!(issued.refresh_expire_time.unwrap().seconds, now + 3600);
    assert_eq!(issued.service_urls, urls());
    let introspection = service.introspect(&issued.access_token).await;
    assert_eq!((introspection.client_id, introspection.tenant_id.as_str()), (application.client_id, "customer"));
    service.advance(Duration::from_secs(899));
    assert!(service.is_active(&issued.access_token).await);
    service.advance(Duration::from_secs(1));
    assert!(!service.is_active(&issued.access_token).await);
}

async fn a_refresh_token_is_replaced_on_every_renewal(service: Service) {
    let application = application(&service).await;
    let nobody = service.anonymous();
    let mut last = nobody.issue(token(&application)).await;
    let first = last.clone();
    // For longer than any of them lives.
    for _ in 0..4 {
        service.advance(Duration::from_secs(1800));
        let next = nobody.renew(application.renew(&last.refresh_token)).await;
        assert_ne!((&next.access_token, &next.refresh_token), (&last.access_token, &last.refresh_token));
        assert_eq!((next.expires_in, &next.tenant_id), (Some(900), &last.tenant_id));
        assert_eq!(next.service_urls, first.service_urls, "the same shape as the first reply");
        assert!(service.is_active(&next.access_token).await);
        last = next;
    }
    // Once consumed it is no good, and past the window for lost replies somebody has kept it: all that came of it ends.
    service.advance(Duration::from_secs(10));
    refused(nobody.renew_token(application.renew(&first.refresh_token)).await, Reason::RefreshReused);
    refused(nobody.renew_token(application.renew(&last.refresh_token)).await, Reason::RefreshInvalid);
    assert!(!service.is_active(&last.access_token).await);
}

async fn tokens_are_invalidated_one_by_one_or_together(service: Service) {
    let application = application(&service).await;
    let nobody = service.anonymous();
    for (access, refresh) in [(true, false), (false, true), (true, true)] {
        let issued = nobody.issue(token(&application)).await;
        let pick = |wanted: bool, text: &str| if wanted { text.to_owned() } else { String::new() };
        let request = invalidate(&pick(access, &issued.access_token), &pick(refresh, &issued.refresh_token));
        // Their holder may; no credentials are needed.
        let reply = nobody.invalidate_tokens(request.clone()).await.unwrap();
        let outcome = |asked: bool| if asked { Outcome::Invalidated } else { Outcome::Unspecified };
        assert_eq!((reply.access_token(), reply.refresh_token()), (outcome(access), outcome(refresh)));
        assert_eq!(service.is_active(&issued.access_token).await, !access);
        let renewed = nobody.renew_token(application.renew(&issued.refresh_token)).await;
        assert_eq!(renewed.is_ok(), !refresh);
        nobody.invalidate_tokens(request).await.unwrap();
    }
}

async fn a_tenant_that_takes_its_consent_back_ends_its_tokens(service: Service) {
    let application = application(&service).await;
    let nobody = service.anonymous();
    let there = nobody.issue(token(&application)).await;
    let home = nobody.issue(application.client_credentials()).await;
    let expel = wire::ExpelClientRequest { tenant_id: "customer".into(), client_id: application.client_id.clone() };
    service.admin().await.expel_client(expel).await.unwrap();
    assert_eq!(service.active(&[&there.access_token, &home.access_token]).await, [false, true]);
    refused(nobody.renew_token(application.renew(&there.refresh_token)).await, Reason::RefreshInvalid);
    refused(nobody.issue_token(token(&application)).await, Reason::TenantNotGranted);
}

async fn every_documented_error_has_its_reason(service: Service) {
    let application = application(&service).await;
    service.tenant("stranger", Default::default()).await;
    let nobody = service.anonymous();
    // Unknown client and wrong secret look the same.
    let wrong = Credentials::new(&application.client_id, "jcs_wrong");
    let unknown = Credentials::new("cli_1111111111111111111111", &application.client_secret);
    let refusals = [
        refused(nobody.issue_token(token(&wrong)).await, Reason::InvalidClient),
        refused(nobody.issue_token(token(&unknown)).await, Reason::InvalidClient),
    ];
    assert_eq!(refusals[0].message(), refusals[1].message());
    assert_eq!(refusals[0].details(), refusals[1].details());
    // So do a tenant without consent and one that is not.
    for tenant in ["stranger", "nowhere"] {
        refused(nobody.issue_token(token(&application).tenant(tenant)).await, Reason::TenantNotGranted);
    }
    refused(nobody.invalidate_tokens(invalidate("", "")).await, Reason::TokenRequired);
    let none = wire::RenewTokenRequest { refresh_token: String::new(), ..application.renew("") };
    refused_fields(nobody.renew_token(none).await, Reason::InvalidField, &["refresh_token"]);

    let issued = nobody.issue(token(&application)).await;
    // A stolen refresh token is of no use without the credentials of its application.
    let bare = wire::RenewTokenRequest { refresh_token: issued.refresh_token.clone(), ..Default::default() };
    refused(nobody.renew_token(bare).await, Reason::TokenMissing);
    let other = service.client().await;
    refused(nobody.renew_token(other.renew(&issued.refresh_token)).await, Reason::RefreshInvalid);
    refused(nobody.renew_token(application.renew(&issued.access_token)).await, Reason::RefreshInvalid);
    service.advance(Duration::from_secs(3600));
    refused(nobody.renew_token(application.renew(&issued.refresh_token)).await, Reason::RefreshExpired);
    // Revoking a refresh token takes its access tokens along, unlike invalidating it.
    let issued = nobody.issue(token(&application)).await;
    nobody.revoke_token(revoke(&issued.refresh_token)).await.unwrap();
    assert!(!service.is_active(&issued.access_token).await);
    refused(nobody.renew_token(application.renew(&issued.refresh_token)).await, Reason::RefreshInvalid);
}
