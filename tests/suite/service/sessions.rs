//! Sessions die of not being minted for.

use std::time::Duration;

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{IssueExt as _, exchange, for_account, for_member, list_account, refused, refused_fields, seconds, uuid},
    harness::{PUBLIC_URL, Service, plain},
    people::{PASSWORD, People},
};

on_both_stores! {
    a_session_without_a_mint_dies_although_its_tokens_have_not_expired
    a_mint_in_time_keeps_the_session
    a_renewal_counts_as_a_mint
    a_refresh_token_of_a_lapsed_session_is_refused
    minting_into_a_lapsed_session_leaves_its_old_tokens_dead
    the_idle_time_is_a_setting_of_the_tenant
    sessions_of_two_tenants_with_one_name_are_two
    a_session_belongs_to_whom_it_was_first_minted_for
    a_session_of_a_member_holds_its_tokens_of_all_accounts
    what_comes_from_a_token_of_a_session_stays_in_it
}

const HOUR: u64 = 3600;
const ALMOST: Duration = Duration::from_secs(24 * HOUR - 60);
const DAY: Duration = Duration::from_secs(24 * HOUR);
const MINUTE: Duration = Duration::from_secs(60);

async fn a_session_without_a_mint_dies_although_its_tokens_have_not_expired(service: Service) {
    let client = service.client().await;
    for (format, session) in [(TokenFormat::Jwt, "jwt"), (TokenFormat::Opaque, "opaque")] {
        let request = client.client_credentials().expires_in("7d").format(format);
        let token = service.anonymous().issue(request.clone().session(session)).await.access_token;
        let free = service.anonymous().issue(request).await.access_token;
        service.advance(ALMOST);
        assert_eq!(service.active(&[&token, &free]).await, [true, true], "{format:?}");
        service.advance(MINUTE);
        assert_eq!(service.active(&[&token, &free]).await, [false, true], "{format:?}");
    }
}

async fn a_mint_in_time_keeps_the_session(service: Service) {
    let client = service.client().await;
    let request = client.client_credentials().expires_in("30d").session("s");
    let first = service.anonymous().issue(request.clone()).await.access_token;
    for _ in 0..3 {
        service.advance(ALMOST);
        service.anonymous().issue(request.clone()).await;
        assert!(service.is_active(&first).await);
    }
    service.advance(DAY);
    assert!(!service.is_active(&first).await);
}

async fn a_renewal_counts_as_a_mint(service: Service) {
    let client = wire::Client { refresh_idle_ttl: Some(seconds(48 * HOUR)), ..plain() };
    let client = service.client_in("default", client).await;
    let first = service.anonymous().issue(client.client_credentials().expires_in("30d").session("s").refresh()).await;
    service.advance(ALMOST);
    service.anonymous().renew(client.renew(&first.refresh_token)).await;
    service.advance(ALMOST);
    assert!(service.is_active(&first.access_token).await);
}

async fn a_refresh_token_of_a_lapsed_session_is_refused(service: Service) {
    let client = wire::Client { refresh_idle_ttl: Some(seconds(48 * HOUR)), ..plain() };
    let client = service.client_in("default", client).await;
    let first = service.anonymous().issue(client.client_credentials().session("s").refresh()).await;
    service.advance(DAY);
    for _ in 0..2 {
        let result = service.anonymous().renew_token(client.renew(&first.refresh_token)).await;
        refused(result, Reason::SessionExpired);
    }
    let introspection = service.anonymous().introspect(client.introspect(&first.refresh_token)).await;
    assert_eq!(introspection.active, Some(false));
}

async fn minting_into_a_lapsed_session_leaves_its_old_tokens_dead(service: Service) {
    let client = wire::Client { refresh_idle_ttl: Some(seconds(48 * HOUR)), ..plain() };
    let client = service.client_in("default", client).await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let request = client.client_credentials().expires_in("30d").session("s").refresh().format(format);
        let old = service.anonymous().issue(request.clone()).await;
        service.advance(DAY);
        let new = service.anonymous().issue(request).await;
        assert_eq!(service.active(&[&old.access_token, &new.access_token]).await, [false, true], "{format:?}");
        refused(service.anonymous().renew_token(client.renew(&old.refresh_token)).await, Reason::RefreshInvalid);
        let renewed = service.anonymous().renew(client.renew(&new.refresh_token)).await;
        assert!(service.is_active(&renewed.access_token).await);
        service.advance(DAY);
    }
}

async fn the_idle_time_is_a_setting_of_the_tenant(service: Service) {
    service.set(wire::TenantSettings { session_idle_ttl: Some(seconds(120)), ..Default::default() }).await;
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials().session("s")).await.access_token;
    service.advance(Duration::from_secs(119));
    assert!(service.is_active(&token).await);
    service.advance(Duration::from_secs(1));
    assert!(!service.is_active(&token).await);
}

async fn sessions_of_two_tenants_with_one_name_are_two(service: Service) {
    service.tenant("other", Default::default()).await;
    let (client, foreign) = (service.client().await, service.client_in("other", plain()).await);
    let issue = async |request: wire::IssueTokenRequest| {
        service.anonymous().issue(request.expires_in("7d").session("s")).await.access_token
    };
    let (own, theirs) = (issue(client.client_credentials()).await, issue(foreign.client_credentials()).await);
    service.advance(ALMOST);
    issue(client.client_credentials()).await;
    service.advance(MINUTE);
    assert_eq!(service.active(&[&own, &theirs]).await, [true, false]);
}

async fn a_session_belongs_to_whom_it_was_first_minted_for(service: Service) {
    let (client, stranger) = (service.client().await, service.client().await);
    let (account, other) = (service.account("").await, service.account("").await);
    let issue = async |request: wire::IssueTokenRequest| {
        service.anonymous().issue_token(request.expires_in("30d")).await.map(|reply| reply.token.unwrap())
    };
    let of_account = issue(client.account(&account).session("a")).await.unwrap();
    let of_client = issue(client.client_credentials().session("c")).await.unwrap();
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        for request in [
            client.account(&other).session("a"),
            client.client_credentials().session("a"),
            stranger.client_credentials().session("a"),
            client.account(&account).session("c"),
            stranger.client_credentials().session("c"),
            stranger.client_credentials().session("c").refresh(),
            stranger.client_credentials().session("c").request_id(&uuid(1)),
            stranger.client_credentials().session("c").request_id(&uuid(1)),
        ] {
            refused_fields(issue(request.format(format)).await, Reason::InvalidField, &["session_id"]);
        }
    }
    let listed = wire::ListTokensRequest { tenant_id: "default".into(), ..list_account(&other) };
    let listed = service.admin().await.list_tokens(listed).await.unwrap().tokens;
    assert!(listed.is_empty(), "what nobody got is not listed: {listed:?}");
    // Another client that obtains a token for the same subject may.
    issue(stranger.account(&account).session("a")).await.unwrap();
    // Strangers have not kept it alive, and cannot take it over once it has ended.
    service.advance(ALMOST);
    refused_fields(issue(client.account(&other).session("a")).await, Reason::InvalidField, &["session_id"]);
    service.advance(MINUTE);
    assert_eq!(service.active(&[&of_account.access_token, &of_client.access_token]).await, [false, false]);
    refused_fields(issue(client.account(&other).session("a")).await, Reason::InvalidField, &["session_id"]);
    let anew = issue(client.account(&account).session("a")).await.unwrap();
    assert_eq!(service.active(&[&of_account.access_token, &anew.access_token]).await, [false, true]);
}

async fn a_session_of_a_member_holds_its_tokens_of_all_accounts(service: Service) {
    let people = People::new(&service).await;
    let accounts = [service.account("").await, service.account("").await];
    let ada = people.person("ada", &accounts).await;
    let bob = people.person("bob", &accounts).await;
    let by =
        |name: &str| wire::AuthenticateMemberRequest { session_id: "s".into(), ..people.by_password(name, PASSWORD) };
    let tokens = people.tokens(&service, by("ada")).await;
    assert_eq!(service.active(&[&tokens[0], &tokens[1]]).await, [true, true]);
    refused_fields(service.anonymous().authenticate_member(by("bob")).await, Reason::InvalidField, &["session_id"]);
    // By switching and by the grant it is the same member.
    assert_eq!(people.tokens(&service, people.by_token(&tokens[0])).await.len(), 2);
    service.anonymous().issue(people.desk.with(for_member(&ada, &accounts[0])).session("s")).await;
    let stranger = people.desk.with(for_member(&bob, &accounts[0])).session("s");
    refused_fields(service.anonymous().issue_token(stranger).await, Reason::InvalidField, &["session_id"]);
}

async fn what_comes_from_a_token_of_a_session_stays_in_it(service: Service) {
    let grants = plain().allowed_grants.into_iter().chain([wire::GrantType::TokenExchange.into()]).collect();
    let client = service.client_in("default", wire::Client { allowed_grants: grants, ..plain() }).await;
    let account = service.account("").await;
    let below = service.account(&account).await;
    let issuer = format!("{PUBLIC_URL}/t/default");
    let ask = client.account(&account).scopes(&["pay"]).audience(&[&issuer]).expires_in("50h").session("s").refresh();
    let bearer = service.anonymous().issue(ask).await;
    let exchanged = service.anonymous().issue(client.with(exchange(&bearer.access_token, ""))).await;
    assert_eq!(exchanged.session_id, "s");
    service.advance(ALMOST);
    // A descendant's token that the account issues is in the account's session, and keeps it.
    let child = service.bearer(&bearer.access_token).issue(for_account(&below)).await;
    assert_eq!(child.session_id, "s");
    service.advance(ALMOST);
    assert_eq!(service.active(&[&bearer.access_token, &child.access_token]).await, [true, true]);
    let direct = service.anonymous().issue_token(client.account(&below).session("s")).await;
    refused_fields(direct, Reason::InvalidField, &["session_id"]);
}
