//! Tokens for accounts: by another principal, and by the account itself.

use std::time::Duration;

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{IssueExt as _, client_credentials, for_account, owned, refused, seen},
    harness::{PUBLIC_URL, Service, plain},
};

on_both_stores! {
    another_principal_is_recorded_as_the_actor
    a_bearer_issues_as_its_client_may
    an_account_issues_for_itself_and_its_descendants_within_its_own_token
    what_an_account_issued_for_itself_dies_with_the_bearer
    out_of_reach_is_as_if_it_had_never_existed
    a_confined_client_reaches_its_own_subtree_only
    the_grant_must_be_allowed_to_the_client
    a_foreign_id_names_the_account
}

fn issuer() -> String {
    format!("{PUBLIC_URL}/t/default")
}

async fn another_principal_is_recorded_as_the_actor(service: Service) {
    let (client, account) = (service.client().await, service.account("").await);
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let token = service.anonymous().issue(client.account(&account).format(format)).await;
        let introspection = service.introspect(&token.access_token).await;
        let id = || client.client_id.clone();
        let actor = wire::Actor { subject: id(), client_id: id(), ..Default::default() };
        assert_eq!((introspection.actor, introspection.subject), (Some(actor), account.clone()));
    }
    let own = service.anonymous().issue(client.client_credentials()).await;
    assert_eq!(service.introspect(&own.access_token).await.actor, None);
}

async fn a_bearer_issues_as_its_client_may(service: Service) {
    let (client, account) = (service.client().await, service.account("").await);
    let bearer = service.anonymous().issue(client.client_credentials().scopes(&["jeton.tokens.issue"])).await;
    let bearer = service.bearer(&bearer.access_token);
    let token = bearer.issue(for_account(&account).scopes(&["pay"])).await;
    let introspection = service.introspect(&token.access_token).await;
    assert_eq!((introspection.active, introspection.subject.as_str()), (Some(true), account.as_str()));
    assert_eq!(introspection.actor.unwrap().subject, client.client_id);
    refused(bearer.issue_token(client_credentials()).await, Reason::InvalidClient);
    // The token does not hang on the bearer.
    service.advance(Duration::from_secs(901));
    assert!(service.is_active(&token.access_token).await);
}

async fn an_account_issues_for_itself_and_its_descendants_within_its_own_token(service: Service) {
    let (client, account) = (service.client().await, service.account("").await);
    let (child, parentless) = (service.account(&account).await, service.account("").await);
    let request = client.account(&account).scopes(&["pay", "invoices.read"]).audience(&[&issuer()]).expires_in("1h");
    let bearer = service.anonymous().issue(request).await;
    let own = service.bearer(&bearer.access_token);

    let same = own.issue(for_account(&account).scopes(&["pay"])).await;
    let introspection = service.introspect(&same.access_token).await;
    assert_eq!(
        (introspection.subject.as_str(), introspection.scopes, introspection.actor),
        (account.as_str(), owned(&["pay"]), None)
    );
    let below = own.issue(for_account(&child)).await;
    let introspection = service.introspect(&below.access_token).await;
    assert_eq!(introspection.subject, child);
    assert_eq!(introspection.actor.unwrap().subject, account, "the parent acts");
    assert!(below.expire_time.unwrap().seconds <= bearer.expire_time.unwrap().seconds, "no longer than the bearer");

    refused(own.issue_token(for_account(&account).scopes(&["invoices.write"])).await, Reason::ScopeNotAllowed);
    refused(own.issue_token(for_account(&account).expires_in("61m")).await, Reason::TtlOutOfRange);
    refused(own.issue_token(for_account(&account).never()).await, Reason::EternalNotAllowed);
    refused(own.issue_token(for_account(&parentless)).await, Reason::NotFound);
    // A child does not reach its parent.
    let down = service.anonymous().issue(client.account(&child).scopes(&["pay"]).audience(&[&issuer()])).await;
    refused(service.bearer(&down.access_token).issue_token(for_account(&account)).await, Reason::NotFound);
    // A client token without the scope has no account of its own.
    let machine = service.anonymous().issue(client.client_credentials().audience(&[&issuer()])).await;
    refused(service.bearer(&machine.access_token).issue_token(for_account(&account)).await, Reason::ScopeInsufficient);
}

async fn what_an_account_issued_for_itself_dies_with_the_bearer(service: Service) {
    let (client, account) = (service.client().await, service.account("").await);
    let parent = || client.account(&account).scopes(&["pay"]).audience(&[&issuer()]).expires_in("1h").refresh();
    for by_family in [false, true] {
        for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
            let bearer = service.anonymous().issue(parent().format(format)).await;
            let own = service.bearer(&bearer.access_token);
            let request = for_account(&account).audience(&[&issuer()]).format(format);
            let child = own.issue(request.clone().refresh()).await;
            let grandchild = service.bearer(&child.access_token).issue(request).await;
            let renewed = service.anonymous().renew(client.renew(&child.refresh_token)).await;
            assert!(renewed.refresh_expire_time.unwrap().seconds <= bearer.expire_time.unwrap().seconds);
            let all = [&child, &grandchild, &renewed].map(|token| token.access_token.as_str());
            assert_eq!(service.active(&all).await, [true; 3]);
            let revoked = if by_family { &bearer.refresh_token } else { &bearer.access_token };
            service.anonymous().revoke(revoked).await;
            assert_eq!(service.active(&all).await, [false; 3], "{format:?} {by_family}");
            let result = service.anonymous().renew_token(client.renew(&renewed.refresh_token)).await;
            refused(result, Reason::RefreshInvalid);
        }
    }
}

async fn out_of_reach_is_as_if_it_had_never_existed(service: Service) {
    service.tenant("other", Default::default()).await;
    let client = service.client().await;
    let (foreign, deleted) = (service.account_in("other", "").await, service.account("").await);
    let delete =
        wire::DeleteAccountRequest { tenant_id: "default".into(), account_id: deleted.clone(), ..Default::default() };
    service.admin().await.delete_account(delete).await.unwrap();
    let never = "acc_0000000000000000000000";
    let status = async |id: &str| {
        seen(&refused(service.anonymous().issue_token(client.account(id)).await, Reason::NotFound), id)
    };
    let expected = status(never).await;
    assert_eq!(status(&foreign).await, expected);
    assert_eq!(status(&deleted).await, expected);
}

async fn a_confined_client_reaches_its_own_subtree_only(service: Service) {
    let root = service.account("").await;
    let home = service.account(&root).await;
    let (below, beside) = (service.account(&home).await, service.account(&root).await);
    let client = service.client_in("default", wire::Client { account_id: home.clone(), ..plain() }).await;
    for id in [&home, &below] {
        let token = service.anonymous().issue(client.account(id)).await;
        assert!(service.is_active(&token.access_token).await);
    }
    for id in [&root, &beside] {
        refused(service.anonymous().issue_token(client.account(id)).await, Reason::NotFound);
    }
    let own = service.anonymous().issue(client.client_credentials()).await;
    let introspection = service.introspect(&own.access_token).await;
    assert_eq!(introspection.subject_kind(), wire::SubjectKind::Client);
    assert_eq!((introspection.account_id, introspection.ancestor_ids), (home.clone(), vec![root.clone()]));
    // What confines it takes it along.
    let disable = wire::DisableAccountRequest { tenant_id: "default".into(), account_id: root };
    service.admin().await.disable_account(disable).await.unwrap();
    assert!(!service.is_active(&own.access_token).await);
    refused(service.anonymous().issue_token(client.client_credentials()).await, Reason::Disabled);
}

async fn the_grant_must_be_allowed_to_the_client(service: Service) {
    let grants = |grant: wire::GrantType| wire::Client { allowed_grants: vec![grant.into()], ..plain() };
    let machine = service.client_in("default", grants(wire::GrantType::ClientCredentials)).await;
    let broker = service.client_in("default", grants(wire::GrantType::Account)).await;
    let account = service.account("").await;
    refused(service.anonymous().issue_token(machine.account(&account)).await, Reason::GrantNotAllowed);
    refused(service.anonymous().issue_token(broker.client_credentials()).await, Reason::GrantNotAllowed);
    service.anonymous().issue(machine.client_credentials()).await;
    service.anonymous().issue(broker.account(&account)).await;
}

async fn a_foreign_id_names_the_account(service: Service) {
    let account = wire::Account { display_name: "n".into(), foreign_id: "crm/42".into(), ..Default::default() };
    let request =
        wire::CreateAccountRequest { tenant_id: "default".into(), account: Some(account), ..Default::default() };
    let account = service.admin().await.create_account(request).await.unwrap().account.unwrap();
    let client = service.client().await;
    let token = service.anonymous().issue(client.account("crm/42")).await;
    assert_eq!(service.introspect(&token.access_token).await.subject, account.account_id);
}
