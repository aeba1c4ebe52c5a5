//! Lists: filters, pages, and whose pages they are.

use std::{collections::BTreeSet, time::Duration};

use jeton::api::{
    wire,
    wire::{TokenFormat, TokenState},
};
use jeton_contract::reason::Reason;

use super::{
    calls::{IssueExt as _, list_account, list_client, refused},
    harness::{Service, manager},
};

on_both_stores! {
    listed_tokens_tell_all_but_the_secret
    tokens_are_filtered_by_state_scope_session_creator_and_expiry
    pages_together_hold_every_token_once
    a_page_token_belongs_to_its_query_tenant_and_caller
    a_malformed_filter_is_refused
    clients_and_accounts_and_tenants_are_filtered_and_paged
    ones_own_tokens_are_listed_without_a_scope
}

async fn listed_tokens_tell_all_but_the_secret(service: Service) {
    let client = service.client_in("default", manager()).await;
    let caller = service.caller(&client).await;
    let account = service.account("").await;
    let mut secrets = Vec::new();
    for format in [TokenFormat::Jwt, TokenFormat::Opaque] {
        let request = client.account(&account).format(format).scopes(&["pay"]).session("s").refresh();
        let token = service.anonymous().issue(request).await;
        let get = wire::GetTokenRequest { token_id: token.token_id.clone(), ..Default::default() };
        let answer = caller.get_token(get).await.unwrap().token.unwrap();
        let expected = wire::Token {
            member_id: String::new(),
            entity_group_id: String::new(),
            token_id: token.token_id.clone(),
            tenant_id: "default".into(),
            client_id: client.client_id.clone(),
            subject_kind: wire::SubjectKind::Account.into(),
            account_id: account.clone(),
            scopes: vec!["pay".into()],
            audience: token.audience.clone(),
            session_id: "s".into(),
            creator: client.client_id.clone(),
            format: format.into(),
            state: TokenState::Active.into(),
            create_time: answer.create_time,
            expire_time: token.expire_time,
            family_id: answer.family_id.clone(),
            actor: Some(wire::Actor {
                subject: client.client_id.clone(),
                client_id: client.client_id.clone(),
                prior_actor: None,
            }),
        };
        assert_eq!(answer, expected);
        secrets.extend([token.access_token, token.refresh_token]);
    }
    let listed = caller.list_tokens(list_account(&account)).await.unwrap();
    assert_eq!(listed.tokens.len(), 2);
    let text = format!("{listed:?}");
    assert!(secrets.iter().all(|secret| !text.contains(&secret[secret.len() / 2..])));
    let unknown = wire::GetTokenRequest { token_id: "tok_0000000000000000000000".into(), ..Default::default() };
    refused(caller.get_token(unknown).await, Reason::NotFound);
}

async fn tokens_are_filtered_by_state_scope_session_creator_and_expiry(service: Service) {
    let client = service.client_in("default", manager()).await;
    let account = service.account("").await;
    let issue = async |request: wire::IssueTokenRequest| service.anonymous().issue(request).await;
    let short = issue(client.account(&account).expires_in("10").scopes(&["pay"])).await;
    let hour = issue(client.account(&account).expires_in("1h").scopes(&["invoices.read"])).await;
    let day = issue(client.account(&account).expires_in("1d").scopes(&["pay", "invoices.read"]).session("s")).await;
    let dead = issue(client.account(&account).expires_in("2d").scopes(&["pay"])).await;
    service.anonymous().revoke(&dead.access_token).await;
    service.advance(Duration::from_secs(11));
    let caller = service.caller(&client).await;
    let noon = jeton_time(&hour);
    for (filter, expected) in [
        (String::new(), vec![&hour, &day, &dead]),
        ("state = ACTIVE".into(), vec![&hour, &day]),
        ("state = REVOKED".into(), vec![&dead]),
        ("state != ACTIVE".into(), vec![&dead]),
        ("scope:\"pay\"".into(), vec![&day, &dead]),
        ("scope:\"pay\" AND state = ACTIVE".into(), vec![&day]),
        ("session_id = \"s\"".into(), vec![&day]),
        (format!("creator = \"{}\"", client.client_id), vec![&hour, &day, &dead]),
        ("creator = \"cli_x\"".into(), vec![]),
        (format!("expire_time > \"{noon}\""), vec![&day, &dead]),
        (format!("expire_time <= \"{noon}\""), vec![&hour]),
    ] {
        let list = wire::ListTokensRequest { filter: filter.clone(), ..list_account(&account) };
        let answer: Vec<_> =
            caller.list_tokens(list).await.unwrap().tokens.into_iter().map(|token| token.token_id).collect();
        let expected: Vec<_> = expected.iter().map(|token| token.token_id.clone()).collect();
        assert_eq!(answer, expected, "{filter}");
    }
    assert!(!service.is_active(&short.access_token).await);
}

/// When a token expires, as a filter writes it.
fn jeton_time(token: &wire::IssuedToken) -> String {
    jeton::notation::moment::format(jeton_core::Time::from_secs(token.expire_time.unwrap().seconds.try_into().unwrap()))
}

async fn pages_together_hold_every_token_once(service: Service) {
    let client = service.client_in("default", manager()).await;
    let account = service.account("").await;
    let mut issued = BTreeSet::new();
    for n in 0..7 {
        let request = client.account(&account).expires_in(if n % 2 == 0 { "1h" } else { "2h" });
        let request = if n % 3 == 0 { request.session("s") } else { request };
        issued.insert(service.anonymous().issue(request).await.token_id);
    }
    let caller = service.caller(&client).await;
    for (filter, size, expected) in [
        ("", 1, 7),
        ("", 2, 7),
        ("", 3, 7),
        ("", 7, 7),
        ("", 0, 7),
        ("session_id = \"s\"", 1, 3),
        ("state = REVOKED", 2, 0),
    ] {
        let mut seen = Vec::new();
        let mut page_token = String::new();
        for _ in 0..20 {
            let list = wire::ListTokensRequest {
                page_size: size,
                page_token: page_token.clone(),
                filter: filter.into(),
                ..list_account(&account)
            };
            let page = caller.list_tokens(list).await.unwrap();
            assert!(size == 0 || page.tokens.len() <= usize::try_from(size).unwrap());
            seen.extend(page.tokens.into_iter().map(|token| token.token_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!((seen.len(), page_token.as_str()), (expected, ""), "{filter} {size}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), expected);
        assert!(seen.iter().all(|id| issued.contains(id)));
    }
    let negative = wire::ListTokensRequest { page_size: -1, ..list_account(&account) };
    refused(caller.list_tokens(negative).await, Reason::InvalidField);
    let huge = wire::ListTokensRequest { page_size: i32::MAX, ..list_account(&account) };
    assert_eq!(caller.list_tokens(huge).await.unwrap().tokens.len(), 7);
}

async fn a_page_token_belongs_to_its_query_tenant_and_caller(service: Service) {
    let (client, other) =
        (service.client_in("default", manager()).await, service.client_in("default", manager()).await);
    let (account, second) = (service.account("").await, service.account("").await);
    for id in [&account, &account, &second, &second] {
        service.anonymous().issue(client.account(id)).await;
    }
    let caller = service.caller(&client).await;
    let page = wire::ListTokensRequest { page_size: 1, ..list_account(&account) };
    let token = caller.list_tokens(page.clone()).await.unwrap().next_page_token;
    let next = wire::ListTokensRequest { page_token: token.clone(), ..page.clone() };
    assert_eq!(caller.list_tokens(next.clone()).await.unwrap().tokens.len(), 1);
    // The page size is no part of the query.
    caller.list_tokens(wire::ListTokensRequest { page_size: 9, ..next.clone() }).await.unwrap();

    let reason = Reason::PageTokenInvalid;
    let filtered = wire::ListTokensRequest { filter: "state = ACTIVE".into(), ..next.clone() };
    refused(caller.list_tokens(filtered).await, reason);
    let elsewhere = wire::ListTokensRequest { page_token: token.clone(), ..list_account(&second) };
    refused(caller.list_tokens(elsewhere).await, reason);
    let kind = wire::ListTokensRequest { page_token: token.clone(), ..list_client(&client.client_id) };
    refused(caller.list_tokens(kind).await, reason);
    refused(service.caller(&other).await.list_tokens(next.clone()).await, reason);
    let tenant = wire::ListTokensRequest { tenant_id: "default".into(), ..next.clone() };
    refused(service.admin().await.list_tokens(tenant).await, reason);
    let clients = wire::ListClientsRequest { page_token: token.clone(), ..Default::default() };
    refused(caller.list_clients(clients).await, reason);
    for damaged in ["x", &token[1..], &format!("{token}A")] {
        let damaged = wire::ListTokensRequest { page_token: damaged.to_owned(), ..page.clone() };
        refused(caller.list_tokens(damaged).await, reason);
    }
    let accounts =
        caller.list_accounts(wire::ListAccountsRequest { page_size: 1, ..Default::default() }).await.unwrap();
    let other =
        wire::ListAccountsRequest { page_token: accounts.next_page_token, show_deleted: true, ..Default::default() };
    refused(caller.list_accounts(other).await, reason);
}

async fn a_malformed_filter_is_refused(service: Service) {
    let caller = service.caller(&service.client_in("default", manager()).await).await;
    let account = service.account("").await;
    for filter in [
        "state",
        "state =",
        "nonsense = 1",
        "state = NONSENSE",
        "state = ACTIVE OR",
        "(state = ACTIVE)",
        "expire_time < \"yesterday\"",
        "scope > \"a\"",
        "AND",
        "session_id = \"s",
    ] {
        let list = wire::ListTokensRequest { filter: filter.into(), ..list_account(&account) };
        refused(caller.list_tokens(list).await, Reason::FilterInvalid);
    }
    let clients = wire::ListClientsRequest { filter: "scope:\"x\"".into(), ..Default::default() };
    refused(caller.list_clients(clients).await, Reason::FilterInvalid);
    let accounts = wire::ListAccountsRequest { filter: "labels. = 1".into(), ..Default::default() };
    refused(caller.list_accounts(accounts).await, Reason::FilterInvalid);
    let tenants = wire::ListTenantsRequest { filter: "tenant_id = 1".into(), ..Default::default() };
    refused(service.admin().await.list_tenants(tenants).await, Reason::FilterInvalid);
}

async fn clients_and_accounts_and_tenants_are_filtered_and_paged(service: Service) {
    let caller = service.caller(&service.client_in("default", manager()).await).await;
    for n in 0..5 {
        let labels = [("parity".to_owned(), if n % 2 == 0 { "even" } else { "odd" }.to_owned())];
        let account =
            wire::Account { display_name: format!("acc {n}"), labels: labels.clone().into(), ..Default::default() };
        caller
            .create_account(wire::CreateAccountRequest { account: Some(account), ..Default::default() })
            .await
            .unwrap();
        let client = wire::Client { display_name: format!("cli {n}"), labels: labels.into(), ..Default::default() };
        caller.create_client(wire::CreateClientRequest { client: Some(client), ..Default::default() }).await.unwrap();
        service.tenant(&format!("t{n}"), Default::default()).await;
    }
    for (filter, expected) in [("labels.parity = \"odd\"", 2), ("display_name = \"* 3\"", 1), ("state = DISABLED", 0)] {
        let list = wire::ListAccountsRequest { filter: filter.into(), ..Default::default() };
        assert_eq!(caller.list_accounts(list).await.unwrap().accounts.len(), expected, "{filter}");
        let list = wire::ListClientsRequest { filter: filter.into(), ..Default::default() };
        assert_eq!(caller.list_clients(list).await.unwrap().clients.len(), expected, "{filter}");
    }
    let (mut seen, mut page_token) = (BTreeSet::new(), String::new());
    for _ in 0..10 {
        let list = wire::ListAccountsRequest { page_size: 2, page_token, ..Default::default() };
        let page = caller.list_accounts(list).await.unwrap();
        seen.extend(page.accounts.into_iter().map(|account| account.account_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    let (mut seen, mut page_token) = (BTreeSet::new(), String::new());
    for _ in 0..10 {
        let page = service
            .admin()
            .await
            .list_tenants(wire::ListTenantsRequest { page_size: 3, page_token, ..Default::default() })
            .await
            .unwrap();
        seen.extend(page.tenants.into_iter().map(|tenant| tenant.tenant_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 7);
    let own = caller.list_tenants(Default::default()).await.unwrap().tenants;
    assert_eq!(own.iter().map(|tenant| tenant.tenant_id.as_str()).collect::<Vec<_>>(), ["default"]);
}

async fn ones_own_tokens_are_listed_without_a_scope(service: Service) {
    let client = service.client().await;
    let issuer = format!("{}/t/default", super::harness::PUBLIC_URL);
    let root = service.account("").await;
    let (child, other) = (service.account(&root).await, service.account("").await);
    let request = client.account(&root).scopes(&["pay"]).audience(&[&issuer]);
    let bearer = service.anonymous().issue(request).await;
    let below = service.anonymous().issue(client.account(&child)).await;
    let own = service.bearer(&bearer.access_token);
    assert_eq!(own.list_tokens(list_account(&root)).await.unwrap().tokens.len(), 1);
    assert_eq!(own.list_tokens(list_account(&child)).await.unwrap().tokens[0].token_id, below.token_id);
    refused(own.list_tokens(list_account(&other)).await, Reason::NotFound);
    refused(own.list_tokens(list_client(&client.client_id)).await, Reason::ScopeInsufficient);
    let get = |id: &str| wire::GetTokenRequest { token_id: id.to_owned(), ..Default::default() };
    own.get_token(get(&bearer.token_id)).await.unwrap();
    let theirs = service.anonymous().issue(client.account(&other)).await;
    refused(own.get_token(get(&theirs.token_id)).await, Reason::NotFound);
}
