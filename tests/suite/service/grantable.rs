//! What a caller creates, changes and admits stays within what it may hand on, in every field.

use jeton::api::{DESCRIPTORS, wire};
use jeton_contract::reason::{
    Reason,
    Reason::{AudienceNotAllowed, GrantNotAllowed, NotFound, ScopeInsufficient, ScopeNotAllowed, TtlOutOfRange},
};
use prost_reflect::DescriptorPool;

use super::{
    calls::{Caller, Credentials, IssueExt as _, exchange, owned, refused, seconds},
    harness::{Service, manager},
};

on_both_stores! {
    every_field_of_a_client_that_gives_something_is_within_what_the_caller_may_hand_on
    every_field_of_an_admission_is_within_what_the_caller_may_hand_on
    by_default_a_client_hands_on_what_it_holds
    limits_count_and_not_what_the_client_holds
    a_client_does_not_change_its_own_powers
    a_client_that_holds_more_is_not_touched
    an_admitted_client_does_not_lift_its_own_admission
    an_admitted_client_hands_on_no_more_than_its_admission
    a_star_is_a_wildcard_only_in_limits
    the_right_to_administer_all_tenants_is_in_no_wildcard
    a_bearer_hands_on_no_right_over_jeton_that_it_lacks
    a_default_audience_is_one_that_the_caller_may_hand_on
    what_a_repeat_tells_is_within_what_the_caller_may_hand_on
}

const DAY: u64 = 86_400;

/// What a field of a message means to the one that it is handed to.
enum Field {
    /// Only in answers.
    OutputOnly,
    /// It gives nothing.
    Free,
    /// It gives something beyond what [`weak`] may hand on.
    Power(fn(&mut wire::Client), Reason),
    /// The same beyond what anybody in the tenant may hand on.
    Beyond(fn(&mut wire::Client), Reason),
    /// It proves the client, and so gives all that the client holds.
    Proof(fn(&mut wire::Client)),
    /// The account that confines the client.
    Confinement,
    /// Its own fields are looked at one by one.
    Message,
}

use Field::{Beyond, Confinement, Free, Message, OutputOnly, Power, Proof};

/// Every field of `Client` and of `Grantable`.
fn fields() -> Vec<(&'static str, Field)> {
    fn limits(client: &mut wire::Client) -> &mut wire::Grantable {
        client.grantable.get_or_insert_default()
    }
    vec![
        ("client_id", OutputOnly),
        ("tenant_id", OutputOnly),
        ("display_name", Free),
        ("state", OutputOnly),
        ("allowed_grants", Power(|c| c.allowed_grants = vec![wire::GrantType::Account.into()], GrantNotAllowed)),
        (
            "allowed_scopes",
            Power(|c| (c.allowed_scopes, c.default_scopes) = (owned(&["payments.write"]), vec![]), ScopeNotAllowed),
        ),
        // A subset of `allowed_scopes`, which is looked at first.
        (
            "default_scopes",
            Power(
                |c| (c.allowed_scopes, c.default_scopes) = (owned(&["payments.write"]), owned(&["payments.write"])),
                ScopeNotAllowed,
            ),
        ),
        ("audiences", Power(|c| c.audiences = owned(&["*"]), AudienceNotAllowed)),
        ("introspects", Power(|c| c.introspects = owned(&["*"]), AudienceNotAllowed)),
        ("account_id", Confinement),
        ("token_ttl", Beyond(|c| c.token_ttl = Some(seconds(91 * DAY)), TtlOutOfRange)),
        ("refresh_idle_ttl", Power(|c| c.refresh_idle_ttl = Some(seconds(7200)), TtlOutOfRange)),
        ("refresh_absolute_ttl", Power(|c| c.refresh_absolute_ttl = Some(seconds(20 * DAY)), TtlOutOfRange)),
        ("replay_window", Free),
        ("renewal_policy", Free),
        ("labels", Free),
        ("create_time", OutputOnly),
        ("update_time", OutputOnly),
        ("etag", OutputOnly),
        ("jwks", Proof(|c| c.jwks = vec![key()])),
        ("jwks_uri", Proof(|c| c.jwks_uri = "https://keys.example/jwks".into())),
        (
            "workload_identities",
            Proof(|c| {
                c.workload_identities =
                    vec![wire::WorkloadIdentity { issuer: "https://issuer.example".into(), subject: "a".into() }];
            }),
        ),
        ("certificate_identities", Proof(|c| c.certificate_identities = owned(&["dns:a.example"]))),
        ("grantable", Message),
        ("grantable.scopes", Power(|c| limits(c).scopes = owned(&["*"]), ScopeNotAllowed)),
        ("grantable.audiences", Power(|c| limits(c).audiences = owned(&["*"]), AudienceNotAllowed)),
        ("grantable.introspects", Power(|c| limits(c).introspects = owned(&["https://b"]), AudienceNotAllowed)),
        ("grantable.grants", Power(|c| limits(c).grants = vec![wire::GrantType::Member.into()], GrantNotAllowed)),
        ("grantable.token_ttl", Beyond(|c| limits(c).token_ttl = Some(seconds(91 * DAY)), TtlOutOfRange)),
        (
            "grantable.refresh_idle_ttl",
            Power(
                |c| {
                    *limits(c) = within();
                    limits(c).refresh_idle_ttl = Some(seconds(7200));
                },
                TtlOutOfRange,
            ),
        ),
        (
            "grantable.refresh_absolute_ttl",
            Power(
                |c| {
                    *limits(c) = within();
                    limits(c).refresh_absolute_ttl = Some(seconds(20 * DAY));
                },
                TtlOutOfRange,
            ),
        ),
    ]
}

fn key() -> wire::JsonWebKey {
    wire::JsonWebKey {
        kty: "OKP".into(),
        crv: "Ed25519".into(),
        x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
        ..Default::default()
    }
}

/// Limits that [`weak`] may hand on.
fn within() -> wire::Grantable {
    wire::Grantable {
        refresh_idle_ttl: Some(seconds(60)),
        refresh_absolute_ttl: Some(seconds(60)),
        ..Default::default()
    }
}

/// A client that manages clients and holds little else.
fn weak() -> wire::Client {
    wire::Client {
        display_name: "weak".into(),
        allowed_scopes: owned(&["jeton.clients.write", "jeton.clients.read", "pay"]),
        default_scopes: owned(&["jeton.clients.write", "jeton.clients.read"]),
        audiences: owned(&["https://a"]),
        introspects: owned(&["https://a"]),
        refresh_absolute_ttl: Some(seconds(10 * DAY)),
        ..Default::default()
    }
}

fn names(message: &str) -> Vec<String> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let message = pool.get_message_by_name(message).unwrap();
    message.fields().map(|field| field.name().to_owned()).collect()
}

async fn create(caller: &Caller, client: wire::Client) -> Result<Credentials, tonic::Status> {
    create_in(caller, "", client).await
}

/// The same in a tenant that an administrator of all names.
async fn create_in(caller: &Caller, tenant: &str, client: wire::Client) -> Result<Credentials, tonic::Status> {
    let request =
        wire::CreateClientRequest { tenant_id: tenant.to_owned(), client: Some(client), ..Default::default() };
    let made = caller.create_client(request).await?;
    Ok(Credentials::new(&made.client.unwrap().client_id, &made.client_secret))
}

/// Changes the field of a client that `path` names; `default_scopes` go with the scopes that they are a part of.
async fn update(caller: &Caller, id: &str, client: wire::Client, path: &str) -> Result<(), tonic::Status> {
    update_in(caller, "", wire::Client { client_id: id.to_owned(), ..client }, path).await
}

async fn update_in(caller: &Caller, tenant: &str, client: wire::Client, path: &str) -> Result<(), tonic::Status> {
    let mut paths = vec![path.split('.').next().unwrap().to_owned()];
    if path == "default_scopes" || path == "allowed_scopes" {
        paths = owned(&["allowed_scopes", "default_scopes"]);
    }
    let request = wire::UpdateClientRequest {
        tenant_id: tenant.to_owned(),
        client: Some(client),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    caller.update_client(request).await.map(drop)
}

async fn every_field_of_a_client_that_gives_something_is_within_what_the_caller_may_hand_on(service: Service) {
    let rules = fields();
    let answer = names("jeton.v1.Client").into_iter();
    let inside = names("jeton.v1.Grantable").into_iter().map(|name| format!("grantable.{name}"));
    for name in answer.chain(inside) {
        assert!(rules.iter().any(|(ruled, _)| *ruled == name), "{name} is new: say what it is");
    }
    let (own, beside) = (service.account("").await, service.account("").await);
    let confined = service.client_in("default", wire::Client { account_id: own, ..weak() }).await;
    let confined = service.caller(&confined).await;
    let caller = service.caller(&service.client_in("default", weak()).await).await;
    let administrator = service.caller(&service.client_in("default", manager()).await).await;
    let child = create(&caller, weak()).await.unwrap().client_id;
    let strong = service.client_in(
        "default",
        wire::Client { allowed_scopes: owned(&["payments.write"]), default_scopes: vec![], ..weak() },
    );
    let strong = strong.await.client_id;
    for (path, rule) in rules {
        match rule {
            Power(set, reason) | Beyond(set, reason) => {
                let mut client = weak();
                set(&mut client);
                refused(create(&caller, client.clone()).await, reason);
                refused(update(&caller, &child, client.clone(), path).await, reason);
                if matches!(rule, Power(..)) {
                    // Who administers the tenant may.
                    let made = create(&administrator, client.clone()).await.unwrap().client_id;
                    update(&administrator, &made, client, path).await.unwrap();
                } else {
                    refused(create(&administrator, client).await, reason);
                }
            }
            Proof(set) => {
                let mut client = weak();
                set(&mut client);
                refused(update(&caller, &strong, client.clone(), path).await, ScopeNotAllowed);
                update(&caller, &child, client, path).await.unwrap();
                update(&caller, &child, weak(), path).await.unwrap();
            }
            Free => {
                update(&caller, &child, weak(), path).await.unwrap();
                refused(update(&caller, &strong, weak(), path).await, ScopeNotAllowed);
            }
            Confinement => {
                let client = wire::Client { account_id: beside.clone(), ..weak() };
                refused(create(&confined, client).await, NotFound);
            }
            OutputOnly | Message => {}
        }
    }
}

fn admission(scopes: &[&str], audiences: &[&str], account: &str) -> wire::Admission {
    wire::Admission {
        client_id: "cli_0000000000000000000001".into(),
        scopes: owned(scopes),
        audiences: owned(audiences),
        account_id: account.to_owned(),
        ..Default::default()
    }
}

async fn admit(caller: &Caller, admission: wire::Admission) -> Result<(), tonic::Status> {
    let request = wire::AdmitClientRequest { admission: Some(admission), ..Default::default() };
    caller.admit_client(request).await.map(drop)
}

async fn expel(caller: &Caller, client: &str) -> Result<(), tonic::Status> {
    let request = wire::ExpelClientRequest { client_id: client.to_owned(), ..Default::default() };
    caller.expel_client(request).await.map(drop)
}

async fn every_field_of_an_admission_is_within_what_the_caller_may_hand_on(service: Service) {
    let ruled = ["client_id", "scopes", "audiences", "account_id", "create_time", "update_time"];
    assert_eq!(names("jeton.v1.Admission"), ruled, "one is new: say what it is");
    let asks = wire::Client { introspects: Vec::new(), ..weak() };
    let asks = service.caller(&service.client_in("default", asks).await).await;
    let caller = service.caller(&service.client_in("default", weak()).await).await;
    let administrator = service.caller(&service.client_in("default", manager()).await).await;
    let beyond = [
        (admission(&["payments.write"], &[], ""), ScopeNotAllowed),
        (admission(&["pay", "jeton.keys.write"], &[], ""), ScopeNotAllowed),
        // Without scopes it gives all that are not jeton's.
        (admission(&[], &[], ""), ScopeNotAllowed),
        (admission(&["pay"], &["*"], ""), AudienceNotAllowed),
        (admission(&["pay"], &["https://a", "https://b"], ""), AudienceNotAllowed),
    ];
    for (beyond, reason) in beyond.clone() {
        refused(admit(&caller, beyond).await, reason);
    }
    admit(&caller, admission(&["pay"], &["https://a"], "")).await.unwrap();
    // An audience lets its guest introspect.
    refused(admit(&asks, admission(&["pay"], &["https://a"], "")).await, AudienceNotAllowed);
    for (beyond, reason) in beyond {
        admit(&administrator, beyond.clone()).await.unwrap();
        // What is beyond already is not touched, not even to have less.
        refused(admit(&caller, admission(&["pay"], &[], "")).await, reason);
        refused(expel(&caller, &beyond.client_id).await, reason);
    }
    expel(&administrator, &admission(&[], &[], "").client_id).await.unwrap();
    admit(&caller, admission(&["pay"], &[], "")).await.unwrap();
    expel(&caller, &admission(&[], &[], "").client_id).await.unwrap();
}

async fn by_default_a_client_hands_on_what_it_holds(service: Service) {
    let caller = service.caller(&service.client_in("default", weak()).await).await;
    let made = create(&caller, weak()).await.unwrap();
    // And so on, without growing.
    let made = create(&service.caller(&made).await, weak()).await.unwrap();
    let token = service.anonymous().issue(made.client_credentials().scopes(&["pay"]).audience(&["https://a"])).await;
    assert!(service.is_active(&token.access_token).await);
    // What the tenant gives where nothing is said counts, too.
    let silent = wire::Client { refresh_absolute_ttl: None, ..weak() };
    refused(create(&caller, silent).await, TtlOutOfRange);
    // The tenant's default audience anybody may ask for.
    let default = wire::Client { audiences: owned(&["https://auth.example.com/t/default/api"]), ..weak() };
    create(&caller, default).await.unwrap();
}

async fn limits_count_and_not_what_the_client_holds(service: Service) {
    let limits = wire::Grantable { scopes: owned(&["payments.write"]), ..Default::default() };
    let limited = wire::Client { grantable: Some(limits), ..weak() };
    let caller = service.caller(&service.client_in("default", limited).await).await;
    let client = |scopes: &[&str]| wire::Client {
        allowed_scopes: owned(scopes),
        allowed_grants: vec![wire::GrantType::ClientCredentials.into()],
        ..Default::default()
    };
    // Left out, the grant that a client gets is client credentials; these limits name none.
    refused(create(&caller, client(&["payments.write"])).await, GrantNotAllowed);
    let grants = vec![wire::GrantType::ClientCredentials.into()];
    let limits = wire::Grantable { scopes: owned(&["payments.write"]), grants, ..Default::default() };
    let limited = wire::Client { grantable: Some(limits.clone()), ..weak() };
    let caller = service.client_in("default", limited).await;
    let answer = wire::GetClientRequest { client_id: caller.client_id.clone(), tenant_id: "default".into() };
    let answer = service.admin().await.get_client(answer).await.unwrap().client.unwrap();
    assert_eq!(answer.grantable, Some(limits));
    let caller = service.caller(&caller).await;
    create(&caller, client(&["payments.write"])).await.unwrap();
    refused(create(&caller, client(&["pay"])).await, ScopeNotAllowed);
    refused(create(&caller, client(&["jeton.clients.read"])).await, ScopeNotAllowed);
    refused(
        create(&caller, wire::Client { audiences: owned(&["https://a"]), ..client(&[]) }).await,
        AudienceNotAllowed,
    );
}

async fn a_client_does_not_change_its_own_powers(service: Service) {
    for (tenant, client) in [("", service.client_in("default", manager()).await), ("system", service.admin.clone())] {
        let caller = service.caller(&client).await;
        let get = wire::GetClientRequest { client_id: client.client_id.clone(), tenant_id: tenant.to_owned() };
        let own = || wire::Client { client_id: client.client_id.clone(), ..Default::default() };
        let before = caller.get_client(get.clone()).await.unwrap().client.unwrap();
        for (path, rule) in fields() {
            let Power(set, _) = rule else { continue };
            let mut changed = before.clone();
            set(&mut changed);
            // Some it has already.
            if changed == before {
                continue;
            }
            refused(update_in(&caller, tenant, changed, path).await, ScopeInsufficient);
        }
        // Not even to have less, for which there is always somebody else.
        for path in ["allowed_scopes", "introspects", "allowed_grants"] {
            refused(update_in(&caller, tenant, own(), path).await, ScopeInsufficient);
        }
        let renamed = wire::Client { display_name: "another".into(), ..own() };
        update_in(&caller, tenant, renamed, "display_name").await.unwrap();
        // The same again is no change, and a new secret gives nothing new.
        let same = wire::Client { etag: String::new(), ..before.clone() };
        update_in(&caller, tenant, same, "allowed_scopes").await.unwrap();
        let secret = wire::CreateClientSecretRequest {
            client_id: client.client_id.clone(),
            tenant_id: tenant.to_owned(),
            ..Default::default()
        };
        caller.create_client_secret(secret).await.unwrap();
        let after = caller.get_client(get).await.unwrap().client.unwrap();
        assert_eq!((after.allowed_scopes, after.grantable), (before.allowed_scopes, before.grantable));
    }
}

async fn a_client_that_holds_more_is_not_touched(service: Service) {
    let caller = service.caller(&service.client_in("default", weak()).await).await;
    for (path, rule) in fields() {
        let Power(set, reason) = rule else { continue };
        let mut client = weak();
        set(&mut client);
        let strong = service.client_in("default", client).await;
        let id = || strong.client_id.clone();
        let secrets = wire::ListClientSecretsRequest { client_id: id(), ..Default::default() };
        let secret = caller.list_client_secrets(secrets).await.unwrap().secrets[0].secret_id.clone();
        let renamed = wire::Client { display_name: "mine".into(), ..Default::default() };
        refused(update(&caller, &strong.client_id, renamed, "display_name").await, reason);
        refused(update(&caller, &strong.client_id, weak(), path).await, reason);
        let new = wire::CreateClientSecretRequest { client_id: id(), ..Default::default() };
        refused(caller.create_client_secret(new).await, reason);
        let revoke = wire::RevokeClientSecretRequest { client_id: id(), secret_id: secret, ..Default::default() };
        refused(caller.revoke_client_secret(revoke).await, reason);
        refused(
            caller.disable_client(wire::DisableClientRequest { client_id: id(), ..Default::default() }).await,
            reason,
        );
        refused(
            caller.enable_client(wire::EnableClientRequest { client_id: id(), ..Default::default() }).await,
            reason,
        );
        refused(
            caller.delete_client(wire::DeleteClientRequest { client_id: id(), ..Default::default() }).await,
            reason,
        );
        // It is read as before, and is as it was.
        let get = wire::GetClientRequest { client_id: id(), ..Default::default() };
        assert_eq!(caller.get_client(get).await.unwrap().client.unwrap().display_name, "weak");
        if path != "allowed_grants" {
            service.anonymous().issue(strong.client_credentials()).await;
        }
    }
}

/// A client of tenant `other` that is admitted to `default`, and its bearer there.
async fn guest(service: &Service, client: wire::Client, scopes: &[&str]) -> (Credentials, Caller) {
    service.tenant("other", Default::default()).await;
    let guest = service.client_in("other", client).await;
    let admission = wire::Admission {
        client_id: guest.client_id.clone(),
        scopes: owned(scopes),
        audiences: owned(&["https://a"]),
        ..Default::default()
    };
    let request = wire::AdmitClientRequest { tenant_id: "default".into(), admission: Some(admission) };
    service.admin().await.admit_client(request).await.unwrap();
    let ask = guest.client_credentials().tenant("default").scopes(scopes);
    let bearer = service.bearer(&service.anonymous().issue(ask).await.access_token);
    (guest, bearer)
}

async fn an_admitted_client_does_not_lift_its_own_admission(service: Service) {
    let (guest, bearer) = guest(&service, manager(), &["jeton.clients.write", "pay"]).await;
    for (scopes, audiences) in
        [(vec!["anything"], vec!["*"]), (vec![], vec![]), (vec!["pay"], vec!["https://a"]), (vec!["pay"], vec![])]
    {
        let own = wire::Admission { client_id: guest.client_id.clone(), ..admission(&scopes, &audiences, "") };
        refused(admit(&bearer, own).await, ScopeInsufficient);
    }
    refused(expel(&bearer, &guest.client_id).await, ScopeInsufficient);
}

async fn an_admitted_client_hands_on_no_more_than_its_admission(service: Service) {
    // At home it may hand on everything.
    let (_, bearer) = guest(&service, manager(), &["jeton.clients.write", "pay"]).await;
    let client = |scopes: &[&str], audiences: &[&str]| wire::Client {
        allowed_scopes: owned(scopes),
        audiences: owned(audiences),
        ..Default::default()
    };
    create(&bearer, client(&["pay", "jeton.clients.write"], &["https://a"])).await.unwrap();
    refused(create(&bearer, client(&["payments.write"], &[])).await, ScopeNotAllowed);
    refused(create(&bearer, client(&["jeton.keys.write"], &[])).await, ScopeNotAllowed);
    refused(create(&bearer, client(&["pay"], &["https://b"])).await, AudienceNotAllowed);
    refused(create(&bearer, client(&["pay"], &["*"])).await, AudienceNotAllowed);
    let introspects = wire::Client { introspects: owned(&["*"]), ..client(&["pay"], &[]) };
    refused(create(&bearer, introspects).await, AudienceNotAllowed);
    refused(admit(&bearer, admission(&["payments.write"], &[], "")).await, ScopeNotAllowed);
    refused(admit(&bearer, admission(&[], &[], "")).await, ScopeNotAllowed);
    admit(&bearer, admission(&["pay"], &["https://a"], "")).await.unwrap();
}

async fn a_star_is_a_wildcard_only_in_limits(service: Service) {
    // A scope of that name, which is held, is not everything.
    let scopes = weak().allowed_scopes.into_iter().chain(owned(&["*"])).collect();
    let caller = service.client_in("default", wire::Client { allowed_scopes: scopes, ..weak() }).await;
    let caller = service.caller(&caller).await;
    refused(
        create(&caller, wire::Client { allowed_scopes: owned(&["payments.write"]), default_scopes: vec![], ..weak() })
            .await,
        ScopeNotAllowed,
    );
    create(&caller, wire::Client { allowed_scopes: owned(&["*"]), default_scopes: vec![], ..weak() }).await.unwrap();
    let grantable = Some(wire::Grantable { scopes: owned(&["*"]), ..within() });
    refused(create(&caller, wire::Client { grantable, ..weak() }).await, ScopeNotAllowed);
}

async fn the_right_to_administer_all_tenants_is_in_no_wildcard(service: Service) {
    let scopes = jeton_core::scope::ALL_MANAGEMENT;
    let everything = wire::Client { allowed_scopes: owned(&scopes), default_scopes: owned(&scopes), ..manager() };
    for tenant in ["default", "system"] {
        let caller = wire::Client { allowed_scopes: owned(&scopes), ..everything.clone() };
        let caller = service.caller(&service.client_in(tenant, caller).await).await;
        let client = wire::Client { allowed_scopes: owned(&["jeton.admin"]), ..plainest() };
        let made = create_in(&caller, tenant, client).await;
        match tenant {
            "system" => drop(made.unwrap()),
            _ => drop(refused(made, ScopeNotAllowed)),
        }
    }
}

fn plainest() -> wire::Client {
    wire::Client { display_name: "plainest".into(), ..Default::default() }
}

async fn a_bearer_hands_on_no_right_over_jeton_that_it_lacks(service: Service) {
    let mut client = manager();
    client.allowed_grants.push(wire::GrantType::TokenExchange.into());
    let client = service.client_in("default", client).await;
    let narrow = service.anonymous().issue(client.client_credentials().scopes(&["jeton.clients.write"])).await;
    let grant = |scope: &str| wire::Client { allowed_scopes: owned(&[scope]), ..plainest() };
    let limit = |scope: &str| {
        let grantable = Some(wire::Grantable { scopes: owned(&[scope]), ..Default::default() });
        wire::Client { grantable, ..plainest() }
    };
    let ask = client.with(exchange(&narrow.access_token, "")).scopes(&["jeton.clients.write"]);
    let exchanged = service.anonymous().issue(ask).await;
    for token in [narrow, exchanged] {
        let bearer = service.bearer(&token.access_token);
        create(&bearer, grant("jeton.clients.write")).await.unwrap();
        create(&bearer, limit("jeton.clients.write")).await.unwrap();
        refused(create(&bearer, grant("jeton.keys.write")).await, ScopeNotAllowed);
        refused(create(&bearer, limit("jeton.keys.write")).await, ScopeNotAllowed);
        // Nor does it become its own client by a new secret.
        let secret = wire::CreateClientSecretRequest { client_id: client.client_id.clone(), ..Default::default() };
        refused(bearer.create_client_secret(secret).await, ScopeNotAllowed);
    }
}

async fn a_default_audience_is_one_that_the_caller_may_hand_on(service: Service) {
    let scopes = owned(&["jeton.tenants.write", "jeton.tenants.read"]);
    let client = wire::Client { allowed_scopes: scopes.clone(), default_scopes: scopes, ..weak() };
    let caller = service.caller(&service.client_in("default", client).await).await;
    let set = async |caller: &Caller, audience: &str| {
        let settings = wire::TenantSettings { default_audience: audience.to_owned(), ..Default::default() };
        let tenant = wire::Tenant { tenant_id: "default".into(), settings: Some(settings), ..Default::default() };
        caller.update_tenant(wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() }).await
    };
    refused(set(&caller, "https://payments.example").await, AudienceNotAllowed);
    set(&caller, "https://a").await.unwrap();
    let administrator = service.caller(&service.client_in("default", manager()).await).await;
    set(&administrator, "https://payments.example").await.unwrap();
}

async fn what_a_repeat_tells_is_within_what_the_caller_may_hand_on(service: Service) {
    let caller = service.caller(&service.client_in("default", weak()).await).await;
    let child = create(&caller, weak()).await.unwrap();
    let request = wire::CreateClientSecretRequest {
        client_id: child.client_id.clone(),
        request_id: super::calls::uuid(1),
        ..Default::default()
    };
    caller.create_client_secret(request.clone()).await.unwrap();
    let stronger = wire::Client { audiences: owned(&["*"]), client_id: child.client_id, ..Default::default() };
    let stronger =
        wire::UpdateClientRequest { tenant_id: "default".into(), client: Some(stronger), ..Default::default() };
    service.admin().await.update_client(stronger).await.unwrap();
    refused(caller.create_client_secret(request).await, AudienceNotAllowed);
}
