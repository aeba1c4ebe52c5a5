//! Identity profiles: the ways in which members sign in, and the secrets at their providers.

use jeton::api::{wire, wire::identity_profile::Kind};
use jeton_contract::reason::Reason;

use super::{
    calls::{Caller, owned, refused, refused_fields, uuid},
    harness::{Service, manager, master},
};

on_both_stores! {
    a_profile_is_created_changed_and_deleted
    every_field_of_a_provider_is_checked
    a_kind_never_changes
    a_secret_is_never_shown_and_survives_its_master_key
    a_tenant_has_fifty_profiles
    profiles_are_listed_page_by_page
    a_confined_caller_sees_no_profiles
    a_repeated_create_makes_one_profile
    settings_of_sign_in_are_shown_and_changed
}

pub async fn caller(service: &Service) -> Caller {
    service.caller(&service.client_in("default", manager()).await).await
}

pub fn password(name: &str) -> wire::IdentityProfile {
    let kind = Some(Kind::Password(wire::PasswordProfile::default()));
    wire::IdentityProfile { display_name: name.to_owned(), kind, ..Default::default() }
}

fn provider() -> wire::OidcProfile {
    wire::OidcProfile {
        issuer: "https://idp.example.com/a".into(),
        client_id: "jeton".into(),
        client_secret: "kept to ourselves".into(),
        redirect_uris: owned(&["https://app.example.com/cb", "http://localhost:3000/cb"]),
        ..Default::default()
    }
}

pub fn oidc(name: &str) -> wire::IdentityProfile {
    wire::IdentityProfile { kind: Some(Kind::Oidc(provider())), ..password(name) }
}

pub async fn create(caller: &Caller, profile: wire::IdentityProfile) -> Result<wire::IdentityProfile, tonic::Status> {
    let request = wire::CreateIdentityProfileRequest { identity_profile: Some(profile), ..Default::default() };
    caller.create_identity_profile(request).await.map(|reply| reply.identity_profile.unwrap())
}

async fn get(caller: &Caller, id: &str) -> Result<wire::IdentityProfile, tonic::Status> {
    let request = wire::GetIdentityProfileRequest { identity_profile_id: id.to_owned(), ..Default::default() };
    caller.get_identity_profile(request).await.map(|reply| reply.identity_profile.unwrap())
}

pub async fn update(
    caller: &Caller,
    profile: wire::IdentityProfile,
    paths: &[&str],
) -> Result<wire::IdentityProfile, tonic::Status> {
    let request = wire::UpdateIdentityProfileRequest {
        identity_profile: Some(profile),
        update_mask: (!paths.is_empty()).then(|| prost_types::FieldMask { paths: owned(paths) }),
        ..Default::default()
    };
    caller.update_identity_profile(request).await.map(|reply| reply.identity_profile.unwrap())
}

pub async fn delete(caller: &Caller, id: &str) -> Result<String, tonic::Status> {
    let request = wire::DeleteIdentityProfileRequest { identity_profile_id: id.to_owned(), ..Default::default() };
    caller.delete_identity_profile(request).await.map(|reply| reply.position)
}

async fn names(caller: &Caller, filter: &str) -> Vec<String> {
    let request = wire::ListIdentityProfilesRequest { filter: filter.into(), ..Default::default() };
    let listed = caller.list_identity_profiles(request).await.unwrap().identity_profiles;
    let mut names: Vec<_> = listed.into_iter().map(|profile| profile.display_name).collect();
    names.sort_unstable();
    names
}

async fn a_profile_is_created_changed_and_deleted(service: Service) {
    let caller = caller(&service).await;
    let made = create(&caller, password("staff")).await.unwrap();
    assert!(made.identity_profile_id.starts_with("idp_"));
    let any =
        wire::PasswordProfile { username_format: wire::UsernameFormat::Any.into(), one_time_passwords: Some(false) };
    assert_eq!((made.tenant_id.as_str(), &made.kind), ("default", &Some(Kind::Password(any))));
    assert_eq!(get(&caller, &made.identity_profile_id).await.unwrap(), made);
    let id = |kind: Option<Kind>| wire::IdentityProfile {
        identity_profile_id: made.identity_profile_id.clone(),
        kind,
        ..Default::default()
    };
    let email = wire::PasswordProfile { username_format: wire::UsernameFormat::Email.into(), ..Default::default() };
    let now = update(&caller, id(Some(Kind::Password(email))), &[]).await.unwrap();
    assert_eq!(now.display_name, "staff");
    let codes = wire::PasswordProfile { one_time_passwords: Some(true), ..Default::default() };
    let now = update(&caller, id(Some(Kind::Password(codes))), &["password.one_time_passwords"]).await.unwrap();
    let both =
        wire::PasswordProfile { username_format: wire::UsernameFormat::Email.into(), one_time_passwords: Some(true) };
    assert_eq!(now.kind, Some(Kind::Password(both)));
    // What a mask names and the message leaves out takes its default.
    let now = update(&caller, id(None), &["password.username_format"]).await.unwrap();
    let codes =
        wire::PasswordProfile { username_format: wire::UsernameFormat::Any.into(), one_time_passwords: Some(true) };
    assert_eq!(now.kind, Some(Kind::Password(codes)));
    let renamed = wire::IdentityProfile { display_name: "people".into(), ..made.clone() };
    refused(update(&caller, renamed, &["display_name"]).await, Reason::ConcurrentUpdate);
    for path in ["tenant_id", "identity_profile_id", "kind", "oidc.nonsense"] {
        refused_fields(update(&caller, id(None), &[path]).await, Reason::FieldImmutable, &["update_mask.paths[0]"]);
    }
    let nameless = update(&caller, id(None), &["display_name"]).await;
    refused_fields(nameless, Reason::InvalidField, &["identity_profile.display_name"]);
    let nobody = wire::IdentityProfile { identity_profile_id: String::new(), ..id(None) };
    refused_fields(update(&caller, nobody, &[]).await, Reason::InvalidField, &["identity_profile.identity_profile_id"]);
    assert_eq!(delete(&caller, &made.identity_profile_id).await.unwrap().len(), 20);
    refused(get(&caller, &made.identity_profile_id).await, Reason::NotFound);
    refused(delete(&caller, &made.identity_profile_id).await, Reason::NotFound);
    refused(update(&caller, id(None), &[]).await, Reason::NotFound);
}

async fn every_field_of_a_provider_is_checked(service: Service) {
    let caller = caller(&service).await;
    let made = create(&caller, oidc("idp")).await.unwrap();
    let Some(Kind::Oidc(shown)) = made.kind else { panic!("{made:?}") };
    assert_eq!(shown.scopes, owned(&["openid", "email", "profile"]));
    let with = |oidc: wire::OidcProfile| wire::IdentityProfile { kind: Some(Kind::Oidc(oidc)), ..password("idp") };
    let bad = wire::OidcProfile {
        issuer: "http://idp.example.com".into(),
        client_id: String::new(),
        redirect_uris: owned(&["https://a", "http://b", "x"]),
        scopes: owned(&["email"]),
        ..Default::default()
    };
    let fields = ["issuer", "client_id", "redirect_uris[1]", "redirect_uris[2]", "scopes"];
    let fields = fields.map(|field| format!("identity_profile.oidc.{field}"));
    let nameless = wire::IdentityProfile { display_name: String::new(), ..with(bad) };
    let mut all = vec!["identity_profile.display_name"];
    all.extend(fields.iter().map(String::as_str));
    refused_fields(create(&caller, nameless).await, Reason::InvalidField, &all);
    for (oidc, field) in [
        (wire::OidcProfile { issuer: "é".into(), ..provider() }, "issuer"),
        (wire::OidcProfile { client_secret: "\u{7}".into(), ..provider() }, "client_secret"),
        (wire::OidcProfile { redirect_uris: Vec::new(), ..provider() }, "redirect_uris"),
        (wire::OidcProfile { redirect_uris: vec!["https://a".into(); 2], ..provider() }, "redirect_uris"),
        (
            wire::OidcProfile { redirect_uris: (0..21).map(|i| format!("https://a/{i}")).collect(), ..provider() },
            "redirect_uris",
        ),
        (wire::OidcProfile { scopes: owned(&["a b"]), ..provider() }, "scopes[0]"),
    ] {
        let field = format!("identity_profile.oidc.{field}");
        refused_fields(create(&caller, with(oidc)).await, Reason::InvalidField, &[&field]);
    }
    let neither = wire::IdentityProfile { kind: None, ..password("x") };
    refused_fields(create(&caller, neither).await, Reason::InvalidField, &["identity_profile.kind"]);
    let unknown = wire::PasswordProfile { username_format: 9, ..Default::default() };
    let unknown = wire::IdentityProfile { kind: Some(Kind::Password(unknown)), ..password("x") };
    refused_fields(
        create(&caller, unknown).await,
        Reason::InvalidField,
        &["identity_profile.password.username_format"],
    );
}

async fn a_kind_never_changes(service: Service) {
    let caller = caller(&service).await;
    for (made, other, field) in [(password("a"), oidc("a"), "oidc"), (oidc("b"), password("b"), "password")] {
        let made = create(&caller, made).await.unwrap();
        let other = wire::IdentityProfile { identity_profile_id: made.identity_profile_id.clone(), ..other };
        let field = format!("identity_profile.{field}");
        refused_fields(update(&caller, other, &[]).await, Reason::FieldImmutable, &[&field]);
        assert_eq!(get(&caller, &made.identity_profile_id).await.unwrap(), made);
    }
}

async fn a_secret_is_never_shown_and_survives_its_master_key(service: Service) {
    let manager = caller(&service).await;
    let made = create(&manager, oidc("idp")).await.unwrap();
    let id = made.identity_profile_id.clone();
    let shown = |profile: &wire::IdentityProfile| match &profile.kind {
        Some(Kind::Oidc(oidc)) => oidc.client_secret.clone(),
        _ => panic!("{profile:?}"),
    };
    assert_eq!(shown(&made), "");
    assert_eq!(shown(&get(&manager, &id).await.unwrap()), "");
    assert_eq!(service.provider_secret(&id).await.as_deref(), Some("kept to ourselves"));
    let with = |secret: &str| {
        let oidc = wire::OidcProfile { client_secret: secret.into(), ..Default::default() };
        wire::IdentityProfile { identity_profile_id: id.clone(), kind: Some(Kind::Oidc(oidc)), ..Default::default() }
    };
    update(&manager, wire::IdentityProfile { kind: None, display_name: "n".into(), ..with("") }, &[]).await.unwrap();
    assert_eq!(service.provider_secret(&id).await.as_deref(), Some("kept to ourselves"), "what is left out stays");
    update(&manager, with("another"), &[]).await.unwrap();
    assert_eq!(service.provider_secret(&id).await.as_deref(), Some("another"));
    update(&manager, with(""), &["oidc.client_secret"]).await.unwrap();
    assert_eq!(service.provider_secret(&id).await, None, "what is named and left out goes");
    update(&manager, with("another"), &[]).await.unwrap();
    // The new master key seals it again, and the old one can go.
    let service = service.restart([2, 1].into_iter().map(master).collect()).await;
    service.retire_master_keys().await;
    let service = service.restart(vec![master(2)]).await;
    assert_eq!(service.provider_secret(&id).await.as_deref(), Some("another"));
}

async fn a_tenant_has_fifty_profiles(service: Service) {
    let caller = caller(&service).await;
    let one = create(&caller, password("0")).await.unwrap();
    // At once: the limit holds, in whichever order they come.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 1..53 {
        let caller = caller.clone();
        tasks.spawn(async move {
            loop {
                match create(&caller, password("n")).await {
                    Err(status) if status.code() == tonic::Code::Aborted => {}
                    done => return done,
                }
            }
        });
    }
    let done = tasks.join_all().await;
    let refusals: Vec<_> = done.into_iter().filter_map(Result::err).collect();
    assert_eq!(refusals.len(), 3);
    for status in refusals {
        refused::<()>(Err(status), Reason::IdentityProfileLimit);
    }
    delete(&caller, &one.identity_profile_id).await.unwrap();
    create(&caller, password("again")).await.unwrap();
    refused(create(&caller, password("too many")).await, Reason::IdentityProfileLimit);
}

async fn profiles_are_listed_page_by_page(service: Service) {
    let caller = caller(&service).await;
    for name in ["a1", "a2", "b1"] {
        create(&caller, password(name)).await.unwrap();
    }
    assert_eq!(names(&caller, "").await, ["a1", "a2", "b1"]);
    assert_eq!(names(&caller, "display_name = \"a*\"").await, ["a1", "a2"]);
    let page = wire::ListIdentityProfilesRequest { page_size: 2, ..Default::default() };
    let first = caller.list_identity_profiles(page.clone()).await.unwrap();
    assert_eq!(first.identity_profiles.len(), 2);
    let next = wire::ListIdentityProfilesRequest { page_token: first.next_page_token, ..page };
    let other = wire::ListIdentityProfilesRequest { filter: "display_name = \"a*\"".into(), ..next.clone() };
    refused(caller.list_identity_profiles(other).await, Reason::PageTokenInvalid);
    let second = caller.list_identity_profiles(next).await.unwrap();
    assert_eq!((second.identity_profiles.len(), second.next_page_token.as_str()), (1, ""));
}

async fn a_confined_caller_sees_no_profiles(service: Service) {
    let free = caller(&service).await;
    let made = create(&free, password("p")).await.unwrap();
    let confined = wire::Client { account_id: service.account("").await, ..manager() };
    let confined = service.caller(&service.client_in("default", confined).await).await;
    refused(create(&confined, password("x")).await, Reason::ScopeInsufficient);
    refused(get(&confined, &made.identity_profile_id).await, Reason::ScopeInsufficient);
    refused(update(&confined, made.clone(), &[]).await, Reason::ScopeInsufficient);
    refused(delete(&confined, &made.identity_profile_id).await, Reason::ScopeInsufficient);
    refused(confined.list_identity_profiles(Default::default()).await, Reason::ScopeInsufficient);
}

async fn a_repeated_create_makes_one_profile(service: Service) {
    let caller = caller(&service).await;
    let request = |name: &str| wire::CreateIdentityProfileRequest {
        identity_profile: Some(password(name)),
        request_id: uuid(1),
        ..Default::default()
    };
    let once = caller.create_identity_profile(request("n")).await.unwrap().identity_profile;
    assert_eq!(once, caller.create_identity_profile(request("n")).await.unwrap().identity_profile);
    refused(caller.create_identity_profile(request("m")).await, Reason::RequestIdReused);
    assert_eq!(names(&caller, "").await, ["n"]);
}

async fn settings_of_sign_in_are_shown_and_changed(service: Service) {
    let admin = service.admin().await;
    let settings = async || {
        let request = wire::GetTenantRequest { tenant_id: "default".into() };
        admin.get_tenant(request).await.unwrap().tenant.unwrap().settings.unwrap()
    };
    let first = settings().await;
    assert_eq!((first.self_signup, first.auto_create_account), (Some(false), Some(false)));
    assert_eq!(first.member_self_management(), wire::MemberSelfManagement::Disabled);
    assert_eq!(first.duplicate_email_policy(), wire::DuplicateEmailPolicy::Allowed);
    assert_eq!(first.authenticated_member_token_ttl, Some(super::calls::seconds(86_400)));
    service
        .set(wire::TenantSettings {
            self_signup: Some(true),
            auto_create_account: Some(true),
            member_self_management: wire::MemberSelfManagement::UpdateOnly.into(),
            duplicate_email_policy: wire::DuplicateEmailPolicy::LinkVerified.into(),
            authenticated_member_token_ttl: Some(super::calls::seconds(60)),
            ..Default::default()
        })
        .await;
    let now = settings().await;
    assert_eq!((now.self_signup, now.auto_create_account), (Some(true), Some(true)));
    assert_eq!(now.member_self_management(), wire::MemberSelfManagement::UpdateOnly);
    assert_eq!(now.duplicate_email_policy(), wire::DuplicateEmailPolicy::LinkVerified);
    assert_eq!(now.authenticated_member_token_ttl, Some(super::calls::seconds(60)));
    let long = wire::TenantSettings {
        authenticated_member_token_ttl: Some(super::calls::seconds(90 * 86_400 + 1)),
        ..Default::default()
    };
    let long = wire::Tenant { tenant_id: "default".into(), settings: Some(long), ..Default::default() };
    let long = wire::UpdateTenantRequest { tenant: Some(long), update_mask: None };
    let field = "tenant.settings.authenticated_member_token_ttl";
    refused_fields(admin.update_tenant(long).await, Reason::InvalidField, &[field]);
}
