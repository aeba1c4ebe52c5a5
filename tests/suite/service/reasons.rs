//! Every reason of the contract has a row here: how it is provoked, or where else it is tested and why not here.

use std::time::Duration;

use jeton::api::wire;
use jeton_contract::reason::Reason;
use tonic::Status;

use super::{
    calls::{IssueExt as _, owned, refused, uuid},
    harness::{Backend, Service, plain},
    memberships::{self, place},
    people::{PASSWORD, People, set_password},
};

on_both_stores! {
    every_reason_is_provoked_or_accounted_for
}

#[tokio::test]
async fn a_refresh_token_newer_than_its_stored_family_is_lost_data() {
    let service = Service::start(Backend::Redis).await;
    let client = service.client().await;
    let zero = service.anonymous().issue(client.client_credentials().refresh()).await;
    // What a restore of an old copy does.
    let keys = service.redis().command(&["KEYS", "j:f:*"]);
    let family = keys.lines().find(|line| line.starts_with("j:f:")).unwrap().trim().to_owned();
    assert_eq!(service.redis().number(&["COPY", &family, "copy"]), 1);
    let one = service.anonymous().renew(client.renew(&zero.refresh_token)).await;
    assert_eq!(service.redis().number(&["COPY", "copy", &family, "REPLACE"]), 1);
    refused(service.anonymous().renew_token(client.renew(&one.refresh_token)).await, Reason::StoreLostData);
    assert_eq!(service.active(&[&zero.access_token, &one.access_token]).await, [true, true], "nothing was changed");
    service.anonymous().renew(client.renew(&zero.refresh_token)).await;
}

#[tokio::test]
async fn while_the_store_does_not_answer_calls_are_unavailable_within_a_second_and_never_inactive() {
    let service = Service::start(Backend::Redis).await;
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials().refresh()).await;
    let nobody = service.anonymous();
    service.redis().stop();
    let began = std::time::Instant::now();
    let (issue, renew, revoke, introspect) = tokio::join!(
        nobody.issue_token(client.client_credentials()),
        nobody.renew_token(client.renew(&token.refresh_token)),
        nobody.revoke_token(super::calls::revoke(&token.access_token)),
        nobody.introspect_token(service.admin.introspect(&token.access_token)),
    );
    let took = began.elapsed();
    service.redis().cont();
    for status in [issue.unwrap_err(), renew.unwrap_err(), revoke.unwrap_err(), introspect.unwrap_err()] {
        let status = refused::<()>(Err(status), Reason::StoreUnavailable);
        assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    }
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

/// How a reason comes about.
enum Row {
    Here(Status),
    Elsewhere(#[expect(dead_code, reason = "read by people")] &'static str),
}

async fn every_reason_is_provoked_or_accounted_for(service: Service) {
    for reason in Reason::ALL {
        match provoke(&service, *reason).await {
            Row::Here(status) => {
                refused::<()>(Err(status), *reason);
            }
            Row::Elsewhere(_) => {}
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a table: one row per reason")]
async fn provoke(service: &Service, reason: Reason) -> Row {
    let (nobody, admin) = (service.anonymous(), service.admin().await);
    let client = service.client().await;
    let tenant = || "default".to_owned();
    let issue = async |request: wire::IssueTokenRequest| nobody.issue_token(request).await.unwrap_err();
    let renew = async |refresh: &str| nobody.renew_token(client.renew(refresh)).await.unwrap_err();
    let create = async |account: wire::Account| {
        let account = wire::Account { display_name: "n".into(), ..account };
        let request = wire::CreateAccountRequest { tenant_id: tenant(), account: Some(account), ..Default::default() };
        admin.create_account(request).await.map(|reply| reply.account.unwrap())
    };
    let delete = async |id: &str| {
        let request = wire::DeleteAccountRequest { tenant_id: tenant(), account_id: id.into(), ..Default::default() };
        admin.delete_account(request).await
    };
    let own = client.client_credentials();
    let status = match reason {
        Reason::InvalidField => issue(wire::IssueTokenRequest { grant: None, ..own }).await,
        Reason::InvalidMessage => issue(own.session(&"x".repeat(1 << 20))).await,
        Reason::InvalidMetadata => {
            let mut twice = admin.clone();
            twice.authorization.extend(admin.authorization.clone());
            twice.get_caller(Default::default()).await.unwrap_err()
        }
        Reason::AmbiguousCredentials => admin.issue_token(own).await.unwrap_err(),
        Reason::TtlOutOfRange => issue(own.expires_in("0")).await,
        Reason::FilterInvalid => {
            let request = wire::ListClientsRequest { tenant_id: tenant(), filter: "x".into(), ..Default::default() };
            admin.list_clients(request).await.unwrap_err()
        }
        Reason::PageTokenInvalid => {
            let request =
                wire::ListClientsRequest { tenant_id: tenant(), page_token: "x".into(), ..Default::default() };
            admin.list_clients(request).await.unwrap_err()
        }
        Reason::RequestIdReused => {
            nobody.issue(own.clone().request_id(&uuid(1))).await;
            issue(own.request_id(&uuid(1)).session("s")).await
        }
        Reason::TokenTooLarge => {
            let text = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("x".repeat(2048))) };
            let claims = Some(prost_types::Struct { fields: [("k".to_owned(), text)].into() });
            issue(wire::IssueTokenRequest { claims, ..own }).await
        }
        Reason::TokenRequired => nobody.invalidate_tokens(Default::default()).await.unwrap_err(),
        Reason::FieldImmutable => {
            let request = wire::UpdateClientRequest {
                client: Some(wire::Client { client_id: client.client_id.clone(), ..Default::default() }),
                update_mask: Some(prost_types::FieldMask { paths: owned(&["client_id"]) }),
                tenant_id: tenant(),
            };
            admin.update_client(request).await.unwrap_err()
        }
        Reason::ReplayMismatch => {
            let token = nobody.issue(own.scopes(&["pay", "invoices.read"]).refresh()).await;
            nobody.renew(client.renew(&token.refresh_token)).await;
            let other = wire::RenewTokenRequest { scopes: owned(&["pay"]), ..client.renew(&token.refresh_token) };
            nobody.renew_token(other).await.unwrap_err()
        }
        Reason::TokenMissing => nobody.get_caller(Default::default()).await.unwrap_err(),
        Reason::TokenInvalid => service.bearer("x").get_caller(Default::default()).await.unwrap_err(),
        Reason::InvalidClient => issue(wire::IssueTokenRequest { client_secret: "x".into(), ..own }).await,
        Reason::RefreshInvalid => renew("jtr_x").await,
        Reason::RefreshExpired => {
            let token = nobody.issue(own.refresh()).await;
            service.advance(Duration::from_secs(3600));
            renew(&token.refresh_token).await
        }
        Reason::RefreshReused => {
            let token = nobody.issue(own.refresh()).await;
            nobody.renew(client.renew(&token.refresh_token)).await;
            service.advance(Duration::from_secs(10));
            renew(&token.refresh_token).await
        }
        Reason::SessionExpired => {
            let patient = wire::Client { refresh_idle_ttl: Some(super::calls::seconds(200_000)), ..plain() };
            let patient = service.client_in("default", patient).await;
            let token = nobody.issue(patient.client_credentials().session("patient").refresh()).await;
            service.advance(Duration::from_secs(86_400));
            nobody.renew_token(patient.renew(&token.refresh_token)).await.unwrap_err()
        }
        Reason::ScopeInsufficient => {
            let caller = service.bearer(&nobody.issue(own.scopes(&["jeton.tokens.issue"])).await.access_token);
            caller.list_clients(Default::default()).await.unwrap_err()
        }
        Reason::ScopeNotAllowed => issue(own.scopes(&["x"])).await,
        Reason::AudienceNotAllowed => issue(own.audience(&["x"])).await,
        Reason::GrantNotAllowed => {
            let grants = vec![wire::GrantType::Account.into()];
            let broker = service.client_in("default", wire::Client { allowed_grants: grants, ..plain() }).await;
            issue(broker.client_credentials()).await
        }
        Reason::TenantNotGranted => issue(own.tenant("nowhere")).await,
        Reason::EternalNotAllowed => issue(own.never()).await,
        Reason::NotFound => issue(client.account("nobody")).await,
        Reason::ForeignIdTaken => {
            let account = wire::Account { foreign_id: "f".into(), ..Default::default() };
            create(account.clone()).await.unwrap();
            create(account).await.unwrap_err()
        }
        Reason::RegistrationIdTaken => {
            let account = wire::Account { registration_id: "r".into(), ..Default::default() };
            create(account.clone()).await.unwrap();
            create(account).await.unwrap_err()
        }
        Reason::TenantIdTaken => {
            let tenant = wire::Tenant { tenant_id: "system".into(), ..Default::default() };
            let request = wire::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
            admin.create_tenant(request).await.unwrap_err()
        }
        Reason::RoleNameTaken => {
            let manager = memberships::caller(service).await;
            memberships::role(&manager, "twice", "").await;
            let role = wire::Role { name: "twice".into(), ..Default::default() };
            let request = wire::CreateRoleRequest { role: Some(role), ..Default::default() };
            manager.create_role(request).await.unwrap_err()
        }
        Reason::WorkloadTaken => {
            let identity = wire::WorkloadIdentity { issuer: "https://i".into(), subject: "s".into() };
            let stands_for = wire::Client { workload_identities: vec![identity], ..plain() };
            service.client_in("default", stands_for.clone()).await;
            let request =
                wire::CreateClientRequest { tenant_id: tenant(), client: Some(stands_for), ..Default::default() };
            admin.create_client(request).await.unwrap_err()
        }
        Reason::MembershipExists => {
            let manager = memberships::caller(service).await;
            let (account, member) = (service.account("").await, memberships::member(&manager, "").await);
            memberships::join(&manager, place(&account, &member, &[])).await.unwrap();
            memberships::join(&manager, place(&account, &member, &[])).await.unwrap_err()
        }
        Reason::RoleInUse => {
            let manager = memberships::caller(service).await;
            let role_id = memberships::role(&manager, "in use", "").await;
            let (account, member) = (service.account("").await, memberships::member(&manager, "").await);
            memberships::join(&manager, place(&account, &member, &[&role_id])).await.unwrap();
            let request = wire::DeleteRoleRequest { role_id, ..Default::default() };
            manager.delete_role(request).await.unwrap_err()
        }
        Reason::MembershipState => {
            let manager = memberships::caller(service).await;
            let (account, member) = (service.account("").await, memberships::member(&manager, "").await);
            memberships::join(&manager, place(&account, &member, &[])).await.unwrap();
            memberships::reject(&manager, &account, &member).await.unwrap_err()
        }
        Reason::MemberLimit => return Row::Elsewhere("`memberships`: a thousand members take their time"),
        Reason::MembershipLimit => {
            return Row::Elsewhere("`memberships`: with a limit of the tenant");
        }
        Reason::IdentityProfileLimit => return Row::Elsewhere("`identity_profiles`: fifty profiles take their time"),
        Reason::IdentityProfileInUse => {
            let people = People::new(service).await;
            people.person("in use", &[]).await;
            super::identity_profiles::delete(&people.manager, &people.profile).await.unwrap_err()
        }
        Reason::InvalidCredentials => {
            let people = People::new(service).await;
            nobody.authenticate_member(people.by_password("unknown", PASSWORD)).await.unwrap_err()
        }
        Reason::OneTimePasswordsDisabled => {
            let people = People::new(service).await;
            nobody.request_one_time_password(people.code_for("anybody")).await.unwrap_err()
        }
        Reason::SelfSignupDisabled => {
            let people = People::new(service).await;
            nobody.authenticate_member(people.by_signup(people.signup("new", ""))).await.unwrap_err()
        }
        Reason::IdentityTaken => {
            let people = People::new(service).await;
            people.person("taken", &[]).await;
            let other = memberships::member(&people.manager, "").await;
            set_password(&people.manager, people.password(&other, "taken", PASSWORD)).await.unwrap_err()
        }
        Reason::EmailTaken => return Row::Elsewhere("`authenticate`: wants two settings of the tenant"),
        Reason::AttemptLimit => {
            let people = People::new(service).await;
            for _ in 0..10 {
                nobody.authenticate_member(people.by_password("unknown", PASSWORD)).await.unwrap_err();
            }
            nobody.authenticate_member(people.by_password("unknown", PASSWORD)).await.unwrap_err()
        }
        Reason::AccountHasChildren => {
            let parent = service.account("").await;
            service.account(&parent).await;
            delete(&parent).await.unwrap_err()
        }
        Reason::ChildrenDisabled => {
            let parent = create(wire::Account { children_disabled: true, ..Default::default() }).await.unwrap();
            create(wire::Account { parent_id: parent.account_id, ..Default::default() }).await.unwrap_err()
        }
        Reason::AccountTooDeep => {
            let mut parent_id = String::new();
            for _ in 0..8 {
                parent_id = service.account(&parent_id).await;
            }
            create(wire::Account { parent_id, ..Default::default() }).await.unwrap_err()
        }
        Reason::Disabled => {
            let account = service.account("").await;
            let request = wire::DisableAccountRequest { tenant_id: tenant(), account_id: account.clone() };
            admin.disable_account(request).await.unwrap();
            issue(client.account(&account)).await
        }
        Reason::SecretLimit => {
            let request = wire::CreateClientSecretRequest {
                tenant_id: tenant(),
                client_id: client.client_id.clone(),
                ..Default::default()
            };
            for _ in 0..4 {
                admin.create_client_secret(request.clone()).await.unwrap();
            }
            admin.create_client_secret(request).await.unwrap_err()
        }
        Reason::BuiltIn => {
            let request = wire::DeleteTenantRequest { tenant_id: "system".into(), ..Default::default() };
            admin.delete_tenant(request).await.unwrap_err()
        }
        Reason::ConcurrentUpdate => {
            let request = wire::DeleteClientRequest {
                tenant_id: tenant(),
                client_id: client.client_id.clone(),
                etag: "x".into(),
            };
            admin.delete_client(request).await.unwrap_err()
        }
        Reason::TokenDied => {
            let request = own.request_id(&uuid(2));
            nobody.revoke(&nobody.issue(request.clone()).await.access_token).await;
            issue(request).await
        }
        Reason::Stale => {
            let request =
                wire::IntrospectTokenRequest { min_position: "f".repeat(20), ..service.admin.introspect("x") };
            nobody.introspect_token(request).await.unwrap_err()
        }
        Reason::MethodUnknown => {
            let mut grpc = tonic::client::Grpc::new(nobody.channel.clone());
            grpc.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static("/jeton.v1.TokenService/Nothing");
            let codec = tonic_prost::ProstCodec::<wire::GetCallerRequest, wire::GetCallerResponse>::default();
            grpc.unary(tonic::Request::new(Default::default()), path, codec).await.unwrap_err()
        }
        Reason::IdentityProviderUnavailable => {
            let people = People::new(service).await;
            let nowhere = super::people::provider(&people.manager, "https://127.0.0.1:1", "client").await;
            nobody.authenticate_member(people.by_redirect(&nowhere, "code")).await.unwrap_err()
        }
        Reason::Overloaded => return Row::Elsewhere("suite `edge`: needs handlers that stand still"),
        Reason::DeadlineExceeded => return Row::Elsewhere("suite `edge`: needs a handler that never ends"),
        Reason::Cancelled => return Row::Elsewhere("nobody is there to receive it; `api::status` tests its form"),
        Reason::NotServing => return Row::Elsewhere("suite `edge`: only in the instant when a drain has ended"),
        Reason::Internal => return Row::Elsewhere("a fault of ours; suite `edge` and `api::status` test its form"),
        Reason::StoreUnavailable => return Row::Elsewhere("on Redis only: the test of a frozen server in this file"),
        Reason::StoreLostData => return Row::Elsewhere("on Redis only: the test of a restored copy in this file"),
    };
    Row::Here(status)
}
