//! What tokens may do: never more than was allowed, and never less than was asked for.

use jeton::api::wire;
use jeton_contract::reason::Reason;
use tonic::Code;

use super::{
    calls::{IssueExt as _, owned, refused, refused_fields},
    harness::{Service, manager, plain},
};

on_both_stores! {
    scopes_left_out_are_the_clients_default
    scopes_beyond_the_allowed_are_refused_and_never_narrowed
    scopes_are_limited_in_number_and_size
    a_large_message_is_refused_whatever_is_in_it
    no_call_grants_a_management_scope_that_its_caller_lacks
    default_scopes_are_a_subset_of_the_allowed
}

async fn scopes_left_out_are_the_clients_default(service: Service) {
    let client =
        service.client_in("default", wire::Client { default_scopes: owned(&["pay", "invoices.read"]), ..plain() });
    let client = client.await;
    let token = service.anonymous().issue(client.client_credentials()).await;
    assert_eq!(token.scopes, ["pay", "invoices.read"]);
    assert_eq!(service.introspect(&token.access_token).await.scopes, token.scopes);
    let none = service.client_in("default", wire::Client { default_scopes: vec![], ..plain() }).await;
    assert_eq!(service.anonymous().issue(none.client_credentials()).await.scopes, [""; 0]);
    // An account token has no management scope unless it is requested.
    let manager = service
        .client_in("default", wire::Client { default_scopes: owned(&["pay", "jeton.tokens.issue"]), ..plain() })
        .await;
    let account = service.account("").await;
    assert_eq!(service.anonymous().issue(manager.account(&account)).await.scopes, ["pay"]);
}

async fn scopes_beyond_the_allowed_are_refused_and_never_narrowed(service: Service) {
    let client = service.client().await;
    let account = service.account("").await;
    for scopes in [
        vec!["unknown"],
        vec!["invoices.read", "unknown"],
        vec!["PAY"],
        vec!["jeton.admin"],
        vec!["pay", "jeton.keys.write"],
    ] {
        for request in [client.client_credentials(), client.account(&account)] {
            refused(service.anonymous().issue_token(request.scopes(&scopes)).await, Reason::ScopeNotAllowed);
        }
    }
}

async fn scopes_are_limited_in_number_and_size(service: Service) {
    let many: Vec<String> = (0..200).map(|i| format!("s{i}")).collect();
    let long: Vec<String> = (0..10).map(|i| format!("{i}{}", "x".repeat(120))).collect();
    let allowed = many.iter().chain(&long).cloned().collect();
    let client = wire::Client { allowed_scopes: allowed, default_scopes: vec![], ..plain() };
    let client = service.client_in("default", client).await;
    let ask = async |scopes: &[String]| {
        let request = wire::IssueTokenRequest { scopes: scopes.to_vec(), ..client.client_credentials() };
        service.anonymous().issue_token(request).await
    };
    assert_eq!(ask(&many[..64]).await.unwrap().token.unwrap().scopes, many[..64]);
    refused_fields(ask(&many[..65]).await, Reason::InvalidField, &["scopes"]);
    ask(&long[..8]).await.unwrap();
    refused_fields(ask(&long[..9]).await, Reason::InvalidField, &["scopes"]);
    refused_fields(ask(&owned(&["s1", "s1"])).await, Reason::InvalidField, &["scopes"]);
    for malformed in ["", " ", "a b", "a\"b", "a\\b", "é", "\u{7f}", &"x".repeat(129)] {
        refused_fields(ask(&owned(&[malformed])).await, Reason::InvalidField, &["scopes[0]"]);
    }
    let bomb: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
    refused_fields(ask(&bomb[..5000]).await, Reason::InvalidField, &["scopes"]);
    refused(ask(&bomb).await, Reason::InvalidMessage);
}

async fn a_large_message_is_refused_whatever_is_in_it(service: Service) {
    let client = service.client().await;
    let megabyte = "x".repeat(1 << 20);
    for request in [
        client.client_credentials().scopes(&[&megabyte]),
        client.client_credentials().session(&megabyte),
        client.client_credentials().tenant(&megabyte),
        wire::IssueTokenRequest { client_secret: megabyte.clone(), ..client.client_credentials() },
    ] {
        refused(service.anonymous().issue_token(request).await, Reason::InvalidMessage);
    }
    let request = wire::IssueTokenRequest { request_id: "x".repeat(60_000), ..client.client_credentials() };
    let status = refused_fields(service.anonymous().issue_token(request).await, Reason::InvalidField, &["request_id"]);
    assert!(status.code() == Code::InvalidArgument && status.details().len() < 4096);
    service.anonymous().issue(client.client_credentials()).await;
}

async fn no_call_grants_a_management_scope_that_its_caller_lacks(service: Service) {
    let few = owned(&["jeton.clients.write", "jeton.clients.read", "jeton.tokens.issue", "pay"]);
    let caller = wire::Client { allowed_scopes: few.clone(), default_scopes: few.clone(), ..plain() };
    let caller = service.client_in("default", caller).await;
    let strong = service.client_in("default", manager()).await;
    let bearer = service.caller(&caller).await;
    let beyond = owned(&["jeton.keys.write"]);

    let client = |scopes: &[String]| wire::Client { allowed_scopes: scopes.to_vec(), ..Default::default() };
    let create = |scopes: &[String]| wire::CreateClientRequest { client: Some(client(scopes)), ..Default::default() };
    refused(bearer.create_client(create(&beyond)).await, Reason::ScopeNotAllowed);
    let made = bearer.create_client(create(&few)).await.unwrap().client.unwrap();
    let update = |id: &str, scopes: &[String]| wire::UpdateClientRequest {
        client: Some(wire::Client { client_id: id.to_owned(), ..client(scopes) }),
        ..Default::default()
    };
    refused(bearer.update_client(update(&made.client_id, &beyond)).await, Reason::ScopeNotAllowed);
    let admit = |scopes: &[String]| {
        let admission = wire::Admission {
            client_id: "cli_0000000000000000000000".into(),
            scopes: scopes.to_vec(),
            ..Default::default()
        };
        wire::AdmitClientRequest { admission: Some(admission), ..Default::default() }
    };
    refused(bearer.admit_client(admit(&beyond)).await, Reason::ScopeNotAllowed);
    bearer.admit_client(admit(&few)).await.unwrap();
    let account = service.account("").await;
    refused(
        bearer.issue_token(super::calls::for_account(&account).scopes(&["jeton.keys.write"])).await,
        Reason::ScopeNotAllowed,
    );

    // Taking over a stronger client by a new secret, or by an edit that leaves its scopes alone, is no way either.
    let secret = wire::CreateClientSecretRequest { client_id: strong.client_id.clone(), ..Default::default() };
    refused(bearer.create_client_secret(secret).await, Reason::ScopeNotAllowed);
    let rename = wire::UpdateClientRequest {
        client: Some(wire::Client {
            client_id: strong.client_id.clone(),
            display_name: "mine".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    refused(bearer.update_client(rename).await, Reason::ScopeNotAllowed);
    // A bearer whose token is narrower than its client has only what the token says.
    let narrow = service.anonymous().issue(strong.client_credentials().scopes(&["jeton.clients.write"])).await;
    let narrow = service.bearer(&narrow.access_token);
    refused(narrow.create_client(create(&beyond)).await, Reason::ScopeNotAllowed);
}

async fn default_scopes_are_a_subset_of_the_allowed(service: Service) {
    let client = wire::Client { default_scopes: owned(&["pay", "beyond"]), ..plain() };
    let request = wire::CreateClientRequest { tenant_id: "default".into(), client: Some(client), ..Default::default() };
    refused_fields(
        service.admin().await.create_client(request).await,
        Reason::InvalidField,
        &["client.default_scopes"],
    );
}
