//! Exchange of tokens for narrower and delegated ones.

use std::time::Duration;

use jeton::api::{
    wire,
    wire::{GrantType, TokenFormat},
};
use jeton_contract::reason::Reason;

use super::{
    calls::{
        Credentials, IssueExt as _, client_credentials, exchange, for_account, list_account, list_client, owned,
        refused, refused_fields, revoke_id, seconds, seen, uuid,
    },
    harness::{PUBLIC_URL, Service, manager, plain},
};

on_both_stores! {
    an_exchanged_token_is_its_subjects_and_narrower
    what_is_left_out_is_the_clients_default_within_the_subject_token
    scopes_audience_and_lifetime_do_not_grow
    what_an_exchange_cannot_give_is_refused
    the_grant_must_be_declared_and_allowed
    it_dies_at_once_with_its_subject_token
    it_dies_at_once_with_what_ends_its_subject_token
    it_dies_at_once_with_its_actor_token_and_what_ends_that
    it_belongs_to_the_session_of_its_subject_token
    actors_are_nested_and_limited
    an_actor_is_somebody_else
    what_is_no_active_token_within_reach_looks_like_garbage
    a_token_of_another_tenant_looks_like_garbage
    a_repeat_gives_the_same_token
    an_exchanged_token_is_read_listed_and_revoked_as_any_other
    a_bearer_exchanges_as_its_client_may
}

const FORMATS: [TokenFormat; 2] = [TokenFormat::Jwt, TokenFormat::Opaque];

fn issuer() -> String {
    format!("{PUBLIC_URL}/t/default")
}

/// A client that may exchange.
fn broker() -> wire::Client {
    let grants = [GrantType::ClientCredentials, GrantType::Account, GrantType::TokenExchange];
    wire::Client { allowed_grants: grants.map(Into::into).into(), audiences: owned(&["https://pay"]), ..plain() }
}

async fn new_broker(service: &Service) -> Credentials {
    service.client_in("default", broker()).await
}

fn acting(client: &Credentials) -> wire::Actor {
    wire::Actor { subject: client.client_id.clone(), client_id: client.client_id.clone(), prior_actor: None }
}

/// The token of a client that acts for itself.
async fn own(service: &Service, client: &Credentials, format: TokenFormat) -> wire::IssuedToken {
    service.anonymous().issue(client.client_credentials().format(format)).await
}

async fn an_exchanged_token_is_its_subjects_and_narrower(service: Service) {
    let (client, broker) = (service.client().await, new_broker(&service).await);
    let (parent, child) = {
        let parent = service.account("").await;
        (parent.clone(), service.account(&parent).await)
    };
    for from in FORMATS {
        for to in FORMATS {
            let ask = client.account(&child).format(from).scopes(&["pay", "invoices.read"]).expires_in("10m");
            let subject = service.anonymous().issue(ask.session("s").refresh()).await;
            let ask = broker.with(exchange(&subject.access_token, "")).format(to).scopes(&["pay"]);
            let token = service.anonymous().issue(ask.audience(&["https://pay"]).expires_in("5m")).await;
            assert_eq!((token.refresh_token.as_str(), token.expires_in), ("", Some(300)));
            assert_eq!(token.access_token.starts_with("jta_"), to == TokenFormat::Opaque);
            let introspection = service.introspect(&token.access_token).await;
            assert_eq!(
                (introspection.active, introspection.client_id.as_str()),
                (Some(true), broker.client_id.as_str())
            );
            assert_eq!(
                (introspection.subject, introspection.subject_kind),
                (child.clone(), wire::SubjectKind::Account.into())
            );
            assert_eq!((introspection.account_id, introspection.ancestor_ids), (child.clone(), vec![parent.clone()]));
            assert_eq!((introspection.scopes, introspection.audience), (owned(&["pay"]), owned(&["https://pay"])));
            assert_eq!((introspection.session_id.as_str(), introspection.family_id.as_str()), ("s", ""));
            assert_eq!(introspection.actor, Some(acting(&client)), "who acted through the subject token acts on");

            let subject = own(&service, &client, from).await;
            let token = service.anonymous().issue(broker.with(exchange(&subject.access_token, "")).format(to)).await;
            let introspection = service.introspect(&token.access_token).await;
            assert_eq!(
                (introspection.subject, introspection.client_id),
                (client.client_id.clone(), broker.client_id.clone())
            );
            assert_eq!((introspection.subject_kind, introspection.actor), (wire::SubjectKind::Client.into(), None));
        }
    }
}

async fn what_is_left_out_is_the_clients_default_within_the_subject_token(service: Service) {
    let client = service.client().await;
    let defaults = owned(&["invoices.read", "pay", "jeton.tokens.introspect"]);
    let broker = service.client_in("default", wire::Client { default_scopes: defaults, ..broker() }).await;
    let scopes = ["pay", "invoices.write", "jeton.tokens.introspect"];
    let subject = service.anonymous().issue(client.client_credentials().scopes(&scopes).expires_in("5m")).await;
    let options =
        wire::TokenOptions { style: Some(wire::StyleOptions { primary_color: "red".into() }), ..Default::default() };
    let with_options = wire::IssueTokenRequest { options: Some(options), ..client.client_credentials() };
    let token = service.anonymous().issue(broker.with(exchange(&subject.access_token, ""))).await;
    assert_eq!((token.scopes, token.audience), (owned(&["pay"]), vec![format!("{}/api", issuer())]));
    assert_eq!(token.expire_time, subject.expire_time, "the shorter");
    let long = service.anonymous().issue(client.client_credentials().expires_in("1h")).await;
    let token = service.anonymous().issue(broker.with(exchange(&long.access_token, ""))).await;
    assert_eq!(token.expires_in, Some(900));
    assert!(token.access_token.starts_with("ey"), "a JWT");
    let subject = service.anonymous().issue(with_options).await;
    let token = service.anonymous().issue(broker.with(exchange(&subject.access_token, ""))).await;
    assert_eq!(service.introspect(&token.access_token).await.options, None);
}

async fn scopes_audience_and_lifetime_do_not_grow(service: Service) {
    let client = service.client().await;
    let broker = wire::Client { allowed_scopes: owned(&["pay", "invoices.write", "jeton.tokens.issue"]), ..broker() };
    let broker = service.client_in("default", wire::Client { default_scopes: Vec::new(), ..broker }).await;
    let scopes = ["pay", "invoices.read", "jeton.tokens.introspect"];
    let subject = service.anonymous().issue(client.client_credentials().scopes(&scopes).expires_in("10m")).await;
    let ask = || broker.with(exchange(&subject.access_token, ""));
    let issue = async |request| service.anonymous().issue_token(request).await;
    for beyond in ["invoices.write", "invoices.read", "jeton.tokens.introspect", "jeton.tokens.issue"] {
        refused(issue(ask().scopes(&["pay", beyond])).await, Reason::ScopeNotAllowed);
    }
    refused(issue(ask().audience(&["https://other"])).await, Reason::AudienceNotAllowed);
    refused(issue(ask().expires_in("601")).await, Reason::TtlOutOfRange);
    assert!(issue(ask().scopes(&["pay"]).audience(&["https://pay"]).expires_in("600")).await.is_ok());
    service.advance(Duration::from_secs(300));
    refused(issue(ask().expires_in("301")).await, Reason::TtlOutOfRange);
    // The actor's end is one, too.
    let other = service.client().await;
    let actor = service.anonymous().issue(other.client_credentials().expires_in("60")).await;
    let ask = || broker.with(exchange(&subject.access_token, &actor.access_token));
    refused(issue(ask().expires_in("61")).await, Reason::TtlOutOfRange);
    assert_eq!(issue(ask()).await.unwrap().token.unwrap().expires_in, Some(60));
}

async fn what_an_exchange_cannot_give_is_refused(service: Service) {
    service.set(wire::TenantSettings { eternal_tokens: Some(true), ..Default::default() }).await;
    let grants = broker().allowed_grants;
    let broker = service.client_in("default", wire::Client { allowed_grants: grants, ..manager() }).await;
    let eternal = broker.client_credentials().scopes(&["pay"]).format(TokenFormat::Opaque).never();
    let subject = service.anonymous().issue(eternal).await;
    let ask = || broker.with(exchange(&subject.access_token, "")).format(TokenFormat::Opaque);
    refused(service.anonymous().issue_token(ask().never()).await, Reason::EternalNotAllowed);
    let refresh = service.anonymous().issue_token(ask().refresh()).await;
    refused_fields(refresh, Reason::InvalidField, &["include_refresh_token"]);
    let session = service.anonymous().issue_token(ask().session("s")).await;
    refused_fields(session, Reason::InvalidField, &["session_id"]);
    let token = service.anonymous().issue(ask()).await;
    assert_eq!(token.expires_in, Some(900), "even of an eternal one");
    let empty = service.anonymous().issue_token(broker.with(exchange("", ""))).await;
    refused_fields(empty, Reason::InvalidField, &["token_exchange.subject_token"]);
    let both = service.caller(&broker).await.issue_token(ask()).await;
    refused(both, Reason::AmbiguousCredentials);
    refused(service.anonymous().issue_token(exchange(&subject.access_token, "")).await, Reason::TokenMissing);
}

async fn the_grant_must_be_declared_and_allowed(service: Service) {
    let client = service.client().await;
    let subject = own(&service, &client, TokenFormat::Jwt).await;
    let ask = || exchange(&subject.access_token, "");
    refused(service.anonymous().issue_token(client.with(ask())).await, Reason::GrantNotAllowed);
    let without = wire::Client { allowed_scopes: owned(&["invoices.read"]), ..broker() };
    let without = service.client_in("default", without).await;
    refused(service.anonymous().issue_token(without.with(ask())).await, Reason::ScopeInsufficient);
    // A bearer without the scope has no own tokens to exchange either.
    let token = service.anonymous().issue(client.client_credentials().audience(&[&issuer()])).await;
    let bearer = service.bearer(&token.access_token);
    refused(bearer.issue_token(exchange(&token.access_token, "")).await, Reason::ScopeInsufficient);
}

/// Exchanged tokens of both formats, and one obtained in exchange for one of these.
async fn descendants(service: &Service, broker: &Credentials, subject: &str, actor: &str) -> [String; 3] {
    let issue = async |subject: &str, actor: &str, format| {
        service.anonymous().issue(broker.with(exchange(subject, actor)).format(format)).await.access_token
    };
    let (jwt, opaque) =
        (issue(subject, actor, TokenFormat::Jwt).await, issue(subject, actor, TokenFormat::Opaque).await);
    let further = issue(&opaque, "", TokenFormat::Jwt).await;
    let all = [jwt, opaque, further];
    assert_eq!(states(service, &all).await, [true; 3]);
    all
}

async fn states(service: &Service, tokens: &[String; 3]) -> Vec<bool> {
    service.active(&tokens.each_ref().map(String::as_str)).await
}

async fn it_dies_at_once_with_its_subject_token(service: Service) {
    let (client, broker, account) = (service.client().await, new_broker(&service).await, service.account("").await);
    for format in FORMATS {
        for by_family in [false, true] {
            let subject = service.anonymous().issue(client.account(&account).format(format).refresh()).await;
            let all = descendants(&service, &broker, &subject.access_token, "").await;
            let revoked = if by_family { &subject.refresh_token } else { &subject.access_token };
            service.anonymous().revoke(revoked).await;
            assert_eq!(states(&service, &all).await, [false; 3], "{format:?} {by_family}");
            let again = service.anonymous().issue_token(broker.with(exchange(&all[1], ""))).await;
            refused_fields(again, Reason::InvalidField, &["token_exchange.subject_token"]);
        }
    }
    // One in the middle takes what came from it, and nothing else.
    let subject = own(&service, &client, TokenFormat::Jwt).await;
    let all = descendants(&service, &broker, &subject.access_token, "").await;
    service.anonymous().revoke(&all[1]).await;
    assert_eq!(states(&service, &all).await, [true, false, false]);
    assert!(service.is_active(&subject.access_token).await);
}

/// What an administrator does to somebody in tenant `default`.
async fn end(service: &Service, how: &str, client: &Credentials, account: &str, jwt: &str) {
    let admin = service.admin().await;
    let (tenant_id, client_id) = ("default".to_owned(), client.client_id.clone());
    match how {
        "account" => {
            let request = wire::DisableAccountRequest { tenant_id, account_id: account.to_owned() };
            admin.disable_account(request).await.unwrap();
        }
        "client" => {
            admin.disable_client(wire::DisableClientRequest { tenant_id, client_id }).await.unwrap();
        }
        "tokens of the client" => {
            let target = Some(wire::revoke_all_tokens_request::Target::ClientId(client_id));
            let request = wire::RevokeAllTokensRequest { tenant_id, target, ..Default::default() };
            admin.revoke_all_tokens(request).await.unwrap();
        }
        "tokens of the account" => {
            let account = wire::revoke_all_tokens_request::AccountTarget {
                account_id: account.to_owned(),
                include_descendants: false,
            };
            let target = Some(wire::revoke_all_tokens_request::Target::Account(account));
            let request = wire::RevokeAllTokensRequest { tenant_id, target, ..Default::default() };
            admin.revoke_all_tokens(request).await.unwrap();
        }
        "signing key" => {
            let key_id = jsonwebtoken::decode_header(jwt).unwrap().kid.unwrap();
            admin.revoke_signing_key(wire::RevokeSigningKeyRequest { tenant_id, key_id }).await.unwrap();
        }
        other => panic!("{other}"),
    }
}

const ENDS: [&str; 5] = ["account", "client", "tokens of the client", "tokens of the account", "signing key"];

async fn it_dies_at_once_with_what_ends_its_subject_token(service: Service) {
    let broker = new_broker(&service).await;
    for how in ENDS {
        let (client, account) = (service.client().await, service.account("").await);
        let subject = service.anonymous().issue(client.account(&account).format(TokenFormat::Jwt)).await.access_token;
        let all = descendants(&service, &broker, &subject, "").await;
        end(&service, how, &client, &account, &subject).await;
        assert_eq!(states(&service, &all).await, [false; 3], "{how}");
    }
    // The subject is a client, whose own end is another's.
    for how in ["client", "tokens of the client"] {
        let client = service.client().await;
        let subject = own(&service, &client, TokenFormat::Opaque).await.access_token;
        let all = descendants(&service, &broker, &subject, "").await;
        end(&service, how, &client, "", "").await;
        assert_eq!(states(&service, &all).await, [false; 3], "{how}");
    }
}

async fn it_dies_at_once_with_its_actor_token_and_what_ends_that(service: Service) {
    let (broker, client) = (new_broker(&service).await, service.client().await);
    let subject = own(&service, &client, TokenFormat::Opaque).await.access_token;
    for how in ENDS.into_iter().chain(["token", "family"]) {
        let (other, account) = (service.client().await, service.account("").await);
        let actor = service.anonymous().issue(other.account(&account).format(TokenFormat::Jwt).refresh()).await;
        let all = descendants(&service, &broker, &subject, &actor.access_token).await;
        match how {
            "token" => service.anonymous().revoke(&actor.access_token).await,
            "family" => service.anonymous().revoke(&actor.refresh_token).await,
            how => end(&service, how, &other, &account, &actor.access_token).await,
        }
        assert_eq!(states(&service, &all).await, [false; 3], "{how}");
        assert!(service.is_active(&subject).await);
    }
}

async fn it_belongs_to_the_session_of_its_subject_token(service: Service) {
    let (broker, client) = (new_broker(&service).await, service.client().await);
    service.set(wire::TenantSettings { session_idle_ttl: Some(seconds(600)), ..Default::default() }).await;
    let subject = async |session| {
        service.anonymous().issue(client.client_credentials().session(session).expires_in("2h")).await.access_token
    };
    let ask = |subject: &str, actor: &str| broker.with(exchange(subject, actor)).expires_in("1h");
    let (one, other) = (subject("one").await, subject("other").await);
    let token = service.anonymous().issue(ask(&one, "").session("one")).await;
    assert_eq!(token.session_id, "one");
    let refusal = service.anonymous().issue_token(ask(&one, "").session("other")).await;
    refused_fields(refusal, Reason::InvalidField, &["session_id"]);
    let elsewhere = service.client().await;
    let actor = service.anonymous().issue(elsewhere.client_credentials().session("elsewhere")).await;
    let refusal = service.anonymous().issue_token(ask(&one, &actor.access_token)).await;
    refused_fields(refusal, Reason::InvalidField, &["token_exchange.actor_token"]);
    let sessions = wire::revoke_all_tokens_request::SessionsTarget { session_ids: owned(&["one"]) };
    let target = Some(wire::revoke_all_tokens_request::Target::Sessions(sessions));
    let request = wire::RevokeAllTokensRequest { tenant_id: "default".into(), target, ..Default::default() };
    service.admin().await.revoke_all_tokens(request).await.unwrap();
    assert_eq!(service.active(&[&one, &token.access_token, &other]).await, [false, false, true]);

    let idle = service.anonymous().issue(ask(&other, "")).await.access_token;
    service.advance(Duration::from_secs(300));
    let minted = service.anonymous().issue(ask(&idle, "").expires_in("50m")).await.access_token;
    service.advance(Duration::from_secs(597));
    // Minting takes a session for lapsed a moment earlier. It must not outlive its subject token by a new beginning.
    assert_eq!(service.active(&[&other, &idle, &minted]).await, [true; 3], "exchange is minting");
    let refusal = service.anonymous().issue_token(ask(&other, "")).await;
    refused_fields(refusal, Reason::InvalidField, &["token_exchange.subject_token"]);
    service.advance(Duration::from_secs(3));
    assert_eq!(service.active(&[&other, &idle, &minted]).await, [false; 3]);
}

async fn actors_are_nested_and_limited(service: Service) {
    let user = service.client().await;
    for format in FORMATS {
        let mut token = own(&service, &user, format).await;
        let mut expected = None;
        for _ in 0..4 {
            let broker = new_broker(&service).await;
            let actor = own(&service, &broker, format).await;
            let ask = broker.with(exchange(&token.access_token, &actor.access_token)).format(format);
            token = service.anonymous().issue(ask).await;
            expected = Some(wire::Actor { prior_actor: expected.map(Box::new), ..acting(&broker) });
            let introspection = service.introspect(&token.access_token).await;
            assert_eq!((introspection.active, introspection.subject.as_str()), (Some(true), user.client_id.as_str()));
            assert_eq!(
                (&introspection.actor, introspection.client_id.as_str()),
                (&expected, broker.client_id.as_str())
            );
            let get = wire::GetTokenRequest { tenant_id: "default".into(), token_id: token.token_id.clone() };
            let introspection = service.admin().await.get_token(get).await.unwrap().token.unwrap();
            assert_eq!((&introspection.actor, introspection.creator), (&expected, broker.client_id));
        }
        let broker = new_broker(&service).await;
        let actor = own(&service, &broker, format).await;
        let fifth = broker.with(exchange(&token.access_token, &actor.access_token));
        refused_fields(
            service.anonymous().issue_token(fifth).await,
            Reason::InvalidField,
            &["token_exchange.actor_token"],
        );
        // Without another actor it goes on, and the chain with it.
        let same = service.anonymous().issue(broker.with(exchange(&token.access_token, ""))).await;
        let introspection = service.introspect(&same.access_token).await;
        assert_eq!((introspection.actor, introspection.client_id), (expected, broker.client_id));
    }
}

async fn an_actor_is_somebody_else(service: Service) {
    let (broker, client, account) = (new_broker(&service).await, service.client().await, service.account("").await);
    let (one, two) =
        (own(&service, &client, TokenFormat::Jwt).await, own(&service, &client, TokenFormat::Opaque).await);
    for actor in [&one, &two] {
        let ask = broker.with(exchange(&one.access_token, &actor.access_token));
        let refusal = service.anonymous().issue_token(ask).await;
        refused_fields(refusal, Reason::InvalidField, &["token_exchange.actor_token"]);
    }
    // An account that acts through a client is the account.
    let actor = service.anonymous().issue(client.account(&account)).await;
    let token = service.anonymous().issue(broker.with(exchange(&one.access_token, &actor.access_token))).await;
    let introspection = service.introspect(&token.access_token).await;
    let acting = wire::Actor { subject: account, client_id: client.client_id.clone(), prior_actor: None };
    assert_eq!((introspection.actor, introspection.subject), (Some(acting), client.client_id));
}

async fn what_is_no_active_token_within_reach_looks_like_garbage(service: Service) {
    let root = service.account("").await;
    let home = service.account(&root).await;
    let confined = service.client_in("default", wire::Client { account_id: home.clone(), ..broker() }).await;
    let client = service.client().await;
    let inside = service.anonymous().issue(client.account(&home)).await.access_token;
    let issue = async |request| service.anonymous().issue(client.with(request)).await;
    let gone = issue(for_account(&home)).await.access_token;
    service.anonymous().revoke(&gone).await;
    let expired = issue(for_account(&home).expires_in("1")).await.access_token;
    service.advance(Duration::from_secs(2));
    let refresh = issue(for_account(&home).refresh()).await.refresh_token;
    let outside = issue(for_account(&root)).await.access_token;
    let unconfined = issue(client_credentials()).await.access_token;
    let last = if inside.ends_with('0') { '1' } else { '0' };
    let damaged = format!("{}{last}", &inside[..inside.len() - 1]);
    let all = [&gone, &expired, &refresh, &outside, &unconfined, &damaged, &confined.client_secret, "x"];
    for (field, other) in [("token_exchange.subject_token", false), ("token_exchange.actor_token", true)] {
        let mut statuses = Vec::new();
        for text in all {
            let ask = if other { exchange(&inside, text) } else { exchange(text, "") };
            let result = service.anonymous().issue_token(confined.with(ask)).await;
            statuses.push(seen(&refused_fields(result, Reason::InvalidField, &[field]), "no id is in it"));
        }
        statuses.dedup();
        assert_eq!(statuses.len(), 1, "{statuses:?}");
    }
    let token = service.anonymous().issue(confined.with(exchange(&inside, ""))).await;
    assert!(service.is_active(&token.access_token).await);
}

async fn a_token_of_another_tenant_looks_like_garbage(service: Service) {
    service.tenant("other", Default::default()).await;
    let broker = new_broker(&service).await;
    let foreign = service.client_in("other", plain()).await;
    let own = own(&service, &service.client().await, TokenFormat::Jwt).await.access_token;
    for format in FORMATS {
        let theirs = service.anonymous().issue(foreign.client_credentials().format(format)).await.access_token;
        for ask in [|text: &str, _: &str| exchange(text, ""), |text: &str, own: &str| exchange(own, text)] {
            let status = async |text: &str| {
                let result = service.anonymous().issue_token(broker.with(ask(text, &own))).await;
                seen(&refused(result, Reason::InvalidField), "no id is in it")
            };
            assert_eq!(status(&theirs).await, status("x").await);
        }
    }
    refused(service.anonymous().issue_token(broker.with(exchange(&own, "")).tenant("other")).await, Reason::NotFound);
}

async fn a_repeat_gives_the_same_token(service: Service) {
    let (broker, client) = (new_broker(&service).await, service.client().await);
    for (n, format) in (0..).zip(FORMATS) {
        let (subject, other) = (own(&service, &client, format).await, own(&service, &client, format).await);
        let ask = |subject: &wire::IssuedToken| {
            broker.with(exchange(&subject.access_token, "")).format(format).request_id(&uuid(n))
        };
        let first = service.anonymous().issue_token(ask(&subject)).await.unwrap();
        service.advance(Duration::from_secs(60));
        let again = service.anonymous().issue_token(ask(&subject)).await.unwrap();
        let (one, two) = (first.token.unwrap(), again.token.unwrap());
        assert_eq!((&one.access_token, one.expire_time), (&two.access_token, two.expire_time));
        assert_eq!(first.position, again.position);
        refused(service.anonymous().issue_token(ask(&other)).await, Reason::RequestIdReused);
        service.anonymous().revoke(&one.access_token).await;
        refused(service.anonymous().issue_token(ask(&subject)).await, Reason::TokenDied);
        service.anonymous().revoke(&subject.access_token).await;
        refused(service.anonymous().issue_token(ask(&subject)).await, Reason::InvalidField);
    }
}

async fn an_exchanged_token_is_read_listed_and_revoked_as_any_other(service: Service) {
    let (broker, client, account) =
        (new_broker(&service).await, service.client_in("default", manager()).await, service.account("").await);
    let keeper = service.caller(&client).await;
    let subject = service.anonymous().issue(client.account(&account).scopes(&["pay"])).await;
    let of_account = service.anonymous().issue(broker.with(exchange(&subject.access_token, ""))).await;
    let listed = keeper.list_tokens(list_account(&account)).await.unwrap().tokens;
    assert!(listed.iter().any(|token| token.token_id == of_account.token_id), "under its subject");
    let subject = service.anonymous().issue(client.client_credentials().scopes(&["pay"])).await;
    let of_client = service.anonymous().issue(broker.with(exchange(&subject.access_token, ""))).await;
    // The subject sees what is done in its name, without any scope.
    let own = service.anonymous().issue(client.client_credentials().scopes(&["jeton.tokens.introspect"])).await;
    let own = service.bearer(&own.access_token);
    let listed = own.list_tokens(list_client(&client.client_id)).await.unwrap().tokens;
    assert!(listed.iter().any(|token| token.token_id == of_client.token_id));
    own.revoke_token(revoke_id(&of_client.token_id)).await.unwrap();
    keeper.revoke_token(revoke_id(&of_account.token_id)).await.unwrap();
    assert_eq!(service.active(&[&of_client.access_token, &of_account.access_token]).await, [false, false]);
}

async fn a_bearer_exchanges_as_its_client_may(service: Service) {
    let (broker, client) = (new_broker(&service).await, service.client().await);
    let token = service.anonymous().issue(broker.client_credentials().scopes(&["jeton.tokens.issue"])).await;
    let bearer = service.bearer(&token.access_token);
    let ask = client.client_credentials().scopes(&["jeton.tokens.introspect"]);
    let subject = service.anonymous().issue(ask).await.access_token;
    // The broker's client may have that scope, but its bearer has not.
    let granted = bearer.issue_token(exchange(&subject, "").scopes(&["jeton.tokens.introspect"])).await;
    refused(granted, Reason::ScopeNotAllowed);
    let delegated = bearer.issue(exchange(&subject, &token.access_token)).await;
    let introspection = service.introspect(&delegated.access_token).await;
    assert_eq!((introspection.subject, introspection.actor), (client.client_id.clone(), Some(acting(&broker))));

    // A token in another client's name proves neither client, and gives no more than its scopes.
    let ask = broker.with(exchange(&subject, "")).scopes(&["jeton.tokens.introspect"]);
    let delegated = service.anonymous().issue(ask).await.access_token;
    let delegate = service.bearer(&delegated);
    assert_eq!(delegate.get_caller(Default::default()).await.unwrap().caller.unwrap().subject, client.client_id);
    let request = wire::IntrospectTokenRequest { token: subject.clone(), ..Default::default() };
    assert_eq!(delegate.introspect(request).await.active, Some(true));
    for own in [&client, &broker] {
        let family = service.anonymous().issue(own.client_credentials().refresh()).await;
        let request = wire::RenewTokenRequest { refresh_token: family.refresh_token, ..Default::default() };
        refused(delegate.renew_token(request).await, Reason::RefreshInvalid);
        refused(delegate.list_tokens(list_client(&own.client_id)).await, Reason::ScopeInsufficient);
    }
    let account = service.account("").await;
    refused(delegate.issue_token(for_account(&account)).await, Reason::ScopeInsufficient);
}
