//! Five commercial token services, whose documented flows work here: each is replayed with its own words, as
//! docs/migrating.md translates them, together with every error that it documents and that has a meaning here.

use jeton::api::wire::{self, issue_token_request::Lifetime};

use super::{
    calls::{IssueExt as _, seconds},
    harness::Service,
};

mod elastic_path;
mod mercoa;
mod monite;
mod sage;
mod space_invoices;

/// The claims of a JWT.
fn claims(jwt: &str) -> serde_json::Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A token with its lifetime in seconds, as most vendors take it.
fn ttl(request: wire::IssueTokenRequest, ttl: u64) -> wire::IssueTokenRequest {
    wire::IssueTokenRequest { lifetime: Some(Lifetime::Ttl(seconds(ttl))), ..request }
}

/// A request for a token that jeton itself takes, too.
fn at_jeton(request: wire::IssueTokenRequest) -> wire::IssueTokenRequest {
    request.audience(&[&format!("{}/t/default", super::harness::PUBLIC_URL)])
}

/// An account with a foreign id.
async fn account(service: &Service, foreign: &str, parent: &str) -> String {
    let account = wire::Account {
        display_name: format!("Account {foreign}"),
        foreign_id: foreign.to_owned(),
        parent_id: parent.to_owned(),
        ..Default::default()
    };
    let request =
        wire::CreateAccountRequest { tenant_id: "default".into(), account: Some(account), ..Default::default() };
    service.admin().await.create_account(request).await.unwrap().account.unwrap().account_id
}
