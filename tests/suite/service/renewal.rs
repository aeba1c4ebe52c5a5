//! Renewing: what the successor carries, and what ends a family. Who presents which refresh token is in `theft`.

use std::time::Duration;

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{Credentials, IssueExt as _, owned, refused, seconds},
    harness::{PUBLIC_URL, Service, plain},
};

on_both_stores! {
    a_renewal_gives_new_tokens_and_leaves_the_access_token_in_use_alive
    a_bearer_of_the_client_itself_may_renew
    scopes_can_be_narrowed_for_one_access_token_and_never_grow
    scopes_that_are_not_allowed_any_more_are_left_out
    without_any_allowed_scope_nothing_is_rotated
    the_absolute_expiry_never_moves
    a_refresh_token_that_idles_expires
    under_policy_never_the_refresh_token_stays_the_same
    under_policy_near_expiry_a_refresh_token_is_replaced_near_its_end
    under_policy_near_expiry_nothing_lives_longer_than_the_family
    a_refresh_token_of_a_disabled_client_account_or_tenant_is_dead_for_ever
}

const HOUR: u64 = 3600;

async fn issue(service: &Service, request: wire::IssueTokenRequest) -> wire::IssuedToken {
    service.anonymous().issue(request.refresh()).await
}

async fn renew(service: &Service, who: &Credentials, token: &wire::IssuedToken) -> wire::IssuedToken {
    service.anonymous().renew(who.renew(&token.refresh_token)).await
}

async fn a_renewal_gives_new_tokens_and_leaves_the_access_token_in_use_alive(service: Service) {
    let (client, account) = (service.client().await, service.account("").await);
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        for (session, request) in [("client", client.client_credentials()), ("account", client.account(&account))] {
            let request = request.format(format).expires_in("1h").scopes(&["pay"]).session(session);
            let first = issue(&service, request).await;
            let second = renew(&service, &client, &first).await;
            assert_ne!(first.refresh_token, second.refresh_token);
            assert_ne!(first.access_token, second.access_token);
            assert_ne!(first.token_id, second.token_id);
            assert_eq!(service.active(&[&first.access_token, &second.access_token]).await, [true, true]);
            let (one, two) =
                (service.introspect(&first.access_token).await, service.introspect(&second.access_token).await);
            let same = wire::Introspection { token_id: one.token_id.clone(), ..two };
            assert_eq!(same, one);
            assert_eq!((second.expires_in, second.scopes), (Some(3600), owned(&["pay"])));
            let third = service.anonymous().renew(client.renew(&second.refresh_token)).await;
            assert!(service.is_active(&third.access_token).await);
        }
    }
}

async fn a_bearer_of_the_client_itself_may_renew(service: Service) {
    let (client, other) = (service.client().await, service.client().await);
    let issuer = format!("{PUBLIC_URL}/t/default");
    let first = issue(&service, client.client_credentials()).await;
    let bearer = async |who: &Credentials| {
        let token = service.anonymous().issue(who.client_credentials().audience(&[&issuer])).await;
        service.bearer(&token.access_token)
    };
    let request = || wire::RenewTokenRequest { refresh_token: first.refresh_token.clone(), ..Default::default() };
    refused(bearer(&other).await.renew_token(request()).await, Reason::RefreshInvalid);
    // An account token that the client obtained does not prove the client.
    let account = service.account("").await;
    let token = service.anonymous().issue(client.account(&account).audience(&[&issuer])).await;
    refused(service.bearer(&token.access_token).renew_token(request()).await, Reason::RefreshInvalid);
    bearer(&client).await.renew(request()).await;
}

async fn scopes_can_be_narrowed_for_one_access_token_and_never_grow(service: Service) {
    let client = service.client().await;
    let first = issue(&service, client.client_credentials().scopes(&["pay", "invoices.read"])).await;
    let ask =
        |refresh: &str, scopes: &[&str]| wire::RenewTokenRequest { scopes: owned(scopes), ..client.renew(refresh) };
    let grown = service.anonymous().renew_token(ask(&first.refresh_token, &["pay", "invoices.write"])).await;
    refused(grown, Reason::ScopeNotAllowed);
    let narrow = service.anonymous().renew(ask(&first.refresh_token, &["pay"])).await;
    assert_eq!(narrow.scopes, ["pay"]);
    assert_eq!(service.introspect(&narrow.access_token).await.scopes, ["pay"]);
    let whole = renew(&service, &client, &narrow).await;
    assert_eq!(whole.scopes, ["pay", "invoices.read"], "the family keeps what was granted");
}

async fn scopes_that_are_not_allowed_any_more_are_left_out(service: Service) {
    let client = service.client().await;
    let first = issue(&service, client.client_credentials().scopes(&["pay", "invoices.read"])).await;
    allow(&service, &client, &["pay"]).await;
    let second = renew(&service, &client, &first).await;
    assert_eq!(second.scopes, ["pay"]);
    let asked = wire::RenewTokenRequest { scopes: owned(&["invoices.read"]), ..client.renew(&second.refresh_token) };
    refused(service.anonymous().renew_token(asked).await, Reason::ScopeNotAllowed);
    allow(&service, &client, &["pay", "invoices.read"]).await;
    assert_eq!(renew(&service, &client, &second).await.scopes, ["pay", "invoices.read"]);
}

async fn without_any_allowed_scope_nothing_is_rotated(service: Service) {
    let client = service.client().await;
    let first = issue(&service, client.client_credentials().scopes(&["pay"])).await;
    allow(&service, &client, &["invoices.read"]).await;
    refused(service.anonymous().renew_token(client.renew(&first.refresh_token)).await, Reason::ScopeNotAllowed);
    allow(&service, &client, &["pay"]).await;
    // Long after any replay window: had it rotated, this would be theft.
    service.advance(Duration::from_secs(600));
    assert_eq!(renew(&service, &client, &first).await.scopes, ["pay"]);
}

async fn the_absolute_expiry_never_moves(service: Service) {
    let hours = wire::Client { refresh_absolute_ttl: Some(seconds(3 * HOUR)), ..plain() };
    let client = service.client_in("default", hours).await;
    let mut token = issue(&service, client.client_credentials().expires_in("1h")).await;
    let end = service.clock.now().plus(Duration::from_secs(3 * HOUR));
    for _ in 0..4 {
        service.advance(Duration::from_secs(40 * 60));
        token = renew(&service, &client, &token).await;
        assert!(u64::try_from(token.refresh_expire_time.unwrap().seconds).unwrap() <= end.as_secs());
        assert!(u64::try_from(token.expire_time.unwrap().seconds).unwrap() <= end.as_secs() + 1, "{token:?}");
    }
    assert_eq!(u64::try_from(token.refresh_expire_time.unwrap().seconds).unwrap(), end.as_secs());
    assert!(token.expires_in.unwrap() <= 20 * 60, "an access token does not outlive its family");
    service.advance(Duration::from_secs(20 * 60));
    refused(service.anonymous().renew_token(client.renew(&token.refresh_token)).await, Reason::RefreshExpired);
    service.advance(Duration::from_secs(1));
    assert!(!service.is_active(&token.access_token).await);
}

async fn a_refresh_token_that_idles_expires(service: Service) {
    let client = service.client().await;
    let first = issue(&service, client.client_credentials().expires_in("3h")).await;
    service.advance(Duration::from_secs(HOUR - 1));
    let second = renew(&service, &client, &first).await;
    service.advance(Duration::from_secs(HOUR));
    refused(service.anonymous().renew_token(client.renew(&second.refresh_token)).await, Reason::RefreshExpired);
    assert_eq!(service.active(&[&first.access_token, &second.access_token]).await, [true, true]);
}

async fn under_policy_never_the_refresh_token_stays_the_same(service: Service) {
    let never = wire::Client { renewal_policy: wire::RenewalPolicy::Never.into(), ..plain() };
    let client = service.client_in("default", never).await;
    let first = issue(&service, client.client_credentials()).await;
    let mut access = vec![first.access_token.clone()];
    for _ in 0..3 {
        service.advance(Duration::from_secs(50));
        let next = renew(&service, &client, &first).await;
        assert_eq!(next.refresh_token, first.refresh_token);
        assert!(next.refresh_expire_time.unwrap().seconds > first.refresh_expire_time.unwrap().seconds);
        access.push(next.access_token);
    }
    let texts: Vec<&str> = access.iter().map(String::as_str).collect();
    assert_eq!(service.active(&texts).await, [true; 4]);
    access.dedup();
    assert_eq!(access.len(), 4);
    service.anonymous().revoke(&first.refresh_token).await;
    refused(service.anonymous().renew_token(client.renew(&first.refresh_token)).await, Reason::RefreshInvalid);
}

fn near_expiry() -> wire::Client {
    wire::Client { renewal_policy: wire::RenewalPolicy::NearExpiry.into(), ..plain() }
}

async fn under_policy_near_expiry_a_refresh_token_is_replaced_near_its_end(service: Service) {
    let client = service.client_in("default", near_expiry()).await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let first = issue(&service, client.client_credentials().format(format)).await;
        for _ in 0..3 {
            service.advance(Duration::from_secs(13 * 60));
            let next = renew(&service, &client, &first).await;
            assert_eq!(next.refresh_token, first.refresh_token);
            assert_ne!(next.access_token, first.access_token);
            // Used or not, there is an hour from now on.
            assert_eq!(next.refresh_expire_time.unwrap().seconds, next.expire_time.unwrap().seconds - 900 + 3600);
            assert!(service.is_active(&next.access_token).await);
        }
        // 62 min after it was made, and 23 min after it was used.
        service.advance(Duration::from_secs(23 * 60));
        let replaced = renew(&service, &client, &first).await;
        assert_ne!(replaced.refresh_token, first.refresh_token);
        service.advance(Duration::from_secs(9));
        let again = renew(&service, &client, &first).await;
        assert_eq!((&again.refresh_token, &again.access_token), (&replaced.refresh_token, &replaced.access_token));
        let kept = renew(&service, &client, &replaced).await;
        assert_eq!(kept.refresh_token, replaced.refresh_token);
        // The successor has arrived, so nobody needs the predecessor any more.
        let result = service.anonymous().renew_token(client.renew(&first.refresh_token)).await;
        refused(result, Reason::RefreshReused);
        assert!(service.is_active(&kept.access_token).await);
        service.advance(Duration::from_secs(1));
        let result = service.anonymous().renew_token(client.renew(&first.refresh_token)).await;
        refused(result, Reason::RefreshReused);
        assert_eq!(service.active(&[&replaced.access_token, &kept.access_token]).await, [false, false], "theft");
        let result = service.anonymous().renew_token(client.renew(&kept.refresh_token)).await;
        refused(result, Reason::RefreshInvalid);
    }
}

async fn under_policy_near_expiry_nothing_lives_longer_than_the_family(service: Service) {
    let client =
        service.client_in("default", wire::Client { refresh_absolute_ttl: Some(seconds(2 * HOUR)), ..near_expiry() });
    let client = client.await;
    let mut token = issue(&service, client.client_credentials()).await;
    let end = service.clock.now().plus(Duration::from_secs(2 * HOUR)).as_secs();
    let mut texts = vec![token.refresh_token.clone()];
    for _ in 0..7 {
        service.advance(Duration::from_secs(16 * 60));
        token = renew(&service, &client, &token).await;
        assert!(u64::try_from(token.refresh_expire_time.unwrap().seconds).unwrap() <= end);
        assert!(u64::try_from(token.expire_time.unwrap().seconds).unwrap() <= end + 1);
        texts.push(token.refresh_token.clone());
    }
    texts.dedup();
    assert_eq!(texts.len(), 3, "made at 0, 48 and 96 min");
    service.advance(Duration::from_secs(8 * 60));
    refused(service.anonymous().renew_token(client.renew(&token.refresh_token)).await, Reason::RefreshExpired);

    let idle = issue(&service, client.client_credentials()).await;
    service.advance(Duration::from_secs(HOUR));
    refused(service.anonymous().renew_token(client.renew(&idle.refresh_token)).await, Reason::RefreshExpired);
}

async fn a_refresh_token_of_a_disabled_client_account_or_tenant_is_dead_for_ever(service: Service) {
    service.tenant("shop", Default::default()).await;
    let admin = service.admin().await;
    let tenant = || "shop".to_owned();
    let client = service.client_in("shop", plain()).await;
    let account = service.account_in("shop", "").await;
    let renew =
        async |token: &wire::IssuedToken| service.anonymous().renew_token(client.renew(&token.refresh_token)).await;

    let token = issue(&service, client.account(&account)).await;
    let disable = wire::DisableAccountRequest { tenant_id: tenant(), account_id: account.clone() };
    admin.disable_account(disable).await.unwrap();
    refused(renew(&token).await, Reason::RefreshInvalid);
    refused(service.anonymous().issue_token(client.account(&account)).await, Reason::Disabled);
    let enable = wire::EnableAccountRequest { tenant_id: tenant(), account_id: account.clone() };
    admin.enable_account(enable).await.unwrap();
    refused(renew(&token).await, Reason::RefreshInvalid);
    assert!(!service.is_active(&token.access_token).await);

    let token = issue(&service, client.client_credentials()).await;
    let id = || client.client_id.clone();
    let disable = wire::DisableClientRequest { tenant_id: tenant(), client_id: id() };
    admin.disable_client(disable).await.unwrap();
    refused(renew(&token).await, Reason::InvalidClient);
    admin.enable_client(wire::EnableClientRequest { tenant_id: tenant(), client_id: id() }).await.unwrap();
    refused(renew(&token).await, Reason::RefreshInvalid);
    assert!(!service.is_active(&token.access_token).await);

    let token = issue(&service, client.client_credentials()).await;
    admin.disable_tenant(wire::DisableTenantRequest { tenant_id: tenant() }).await.unwrap();
    refused(renew(&token).await, Reason::InvalidClient);
    admin.enable_tenant(wire::EnableTenantRequest { tenant_id: tenant() }).await.unwrap();
    refused(renew(&token).await, Reason::RefreshInvalid);
    assert!(!service.is_active(&token.access_token).await);
    assert!(service.is_active(&issue(&service, client.client_credentials()).await.access_token).await);
}

async fn allow(service: &Service, client: &Credentials, scopes: &[&str]) {
    let client = wire::Client {
        client_id: client.client_id.clone(),
        allowed_scopes: owned(scopes),
        default_scopes: owned(scopes),
        ..Default::default()
    };
    let request = wire::UpdateClientRequest { tenant_id: "default".into(), client: Some(client), ..Default::default() };
    service.admin().await.update_client(request).await.unwrap();
}
