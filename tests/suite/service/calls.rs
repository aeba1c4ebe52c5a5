//! Callers, the calls that tests make most, and what they assert of refusals.

use std::fmt::Debug;

use jeton::api::{
    wire,
    wire::{
        account_service_client::AccountServiceClient, client_service_client::ClientServiceClient,
        entity_group_service_client::EntityGroupServiceClient, member_service_client::MemberServiceClient,
        tenant_service_client::TenantServiceClient, token_service_client::TokenServiceClient,
    },
};
use jeton_contract::reason::{Class, Reason};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

/// Somebody with a connection and perhaps a bearer token.
#[derive(Clone)]
pub struct Caller {
    pub channel: Channel,
    /// Values of `authorization`, one entry each.
    pub authorization: Vec<String>,
}

/// A client's id and secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub client_id: String,
    pub client_secret: String,
}

macro_rules! methods {
    ($($client:ident { $($method:ident $request:ident $response:ident)* })*) => {
        impl Caller {
            $($(pub async fn $method(&self, message: wire::$request) -> Result<wire::$response, Status> {
                let request = self.request(message);
                $client::new(self.channel.clone()).$method(request).await.map(Response::into_inner)
            })*)*
        }
    };
}

methods! {
    TokenServiceClient {
        issue_token IssueTokenRequest IssueTokenResponse
        renew_token RenewTokenRequest RenewTokenResponse
        revoke_token RevokeTokenRequest RevokeTokenResponse
        invalidate_tokens InvalidateTokensRequest InvalidateTokensResponse
        revoke_all_tokens RevokeAllTokensRequest RevokeAllTokensResponse
        introspect_token IntrospectTokenRequest IntrospectTokenResponse
        batch_introspect_tokens BatchIntrospectTokensRequest BatchIntrospectTokensResponse
        get_token GetTokenRequest GetTokenResponse
        list_tokens ListTokensRequest ListTokensResponse
        get_caller GetCallerRequest GetCallerResponse
        list_signing_keys ListSigningKeysRequest ListSigningKeysResponse
        authenticate_member AuthenticateMemberRequest AuthenticateMemberResponse
        request_one_time_password RequestOneTimePasswordRequest RequestOneTimePasswordResponse
    }
    ClientServiceClient {
        create_client CreateClientRequest CreateClientResponse
        get_client GetClientRequest GetClientResponse
        update_client UpdateClientRequest UpdateClientResponse
        delete_client DeleteClientRequest DeleteClientResponse
        list_clients ListClientsRequest ListClientsResponse
        enable_client EnableClientRequest EnableClientResponse
        disable_client DisableClientRequest DisableClientResponse
        create_client_secret CreateClientSecretRequest CreateClientSecretResponse
        list_client_secrets ListClientSecretsRequest ListClientSecretsResponse
        revoke_client_secret RevokeClientSecretRequest RevokeClientSecretResponse
    }
    TenantServiceClient {
        create_tenant CreateTenantRequest CreateTenantResponse
        get_tenant GetTenantRequest GetTenantResponse
        update_tenant UpdateTenantRequest UpdateTenantResponse
        list_tenants ListTenantsRequest ListTenantsResponse
        delete_tenant DeleteTenantRequest DeleteTenantResponse
        enable_tenant EnableTenantRequest EnableTenantResponse
        disable_tenant DisableTenantRequest DisableTenantResponse
        admit_client AdmitClientRequest AdmitClientResponse
        expel_client ExpelClientRequest ExpelClientResponse
        list_admitted_clients ListAdmittedClientsRequest ListAdmittedClientsResponse
        rotate_signing_key RotateSigningKeyRequest RotateSigningKeyResponse
        revoke_signing_key RevokeSigningKeyRequest RevokeSigningKeyResponse
        create_role CreateRoleRequest CreateRoleResponse
        get_role GetRoleRequest GetRoleResponse
        update_role UpdateRoleRequest UpdateRoleResponse
        delete_role DeleteRoleRequest DeleteRoleResponse
        list_roles ListRolesRequest ListRolesResponse
        create_identity_profile CreateIdentityProfileRequest CreateIdentityProfileResponse
        get_identity_profile GetIdentityProfileRequest GetIdentityProfileResponse
        update_identity_profile UpdateIdentityProfileRequest UpdateIdentityProfileResponse
        delete_identity_profile DeleteIdentityProfileRequest DeleteIdentityProfileResponse
        list_identity_profiles ListIdentityProfilesRequest ListIdentityProfilesResponse
    }
    AccountServiceClient {
        create_account CreateAccountRequest CreateAccountResponse
        get_account GetAccountRequest GetAccountResponse
        update_account UpdateAccountRequest UpdateAccountResponse
        delete_account DeleteAccountRequest DeleteAccountResponse
        undelete_account UndeleteAccountRequest UndeleteAccountResponse
        list_accounts ListAccountsRequest ListAccountsResponse
        enable_account EnableAccountRequest EnableAccountResponse
        disable_account DisableAccountRequest DisableAccountResponse
    }
    MemberServiceClient {
        create_member CreateMemberRequest CreateMemberResponse
        get_member GetMemberRequest GetMemberResponse
        update_member UpdateMemberRequest UpdateMemberResponse
        delete_member DeleteMemberRequest DeleteMemberResponse
        list_members ListMembersRequest ListMembersResponse
        enable_member EnableMemberRequest EnableMemberResponse
        disable_member DisableMemberRequest DisableMemberResponse
        set_password SetPasswordRequest SetPasswordResponse
        link_identity LinkIdentityRequest LinkIdentityResponse
        unlink_identity UnlinkIdentityRequest UnlinkIdentityResponse
        create_membership CreateMembershipRequest CreateMembershipResponse
        get_membership GetMembershipRequest GetMembershipResponse
        update_membership UpdateMembershipRequest UpdateMembershipResponse
        delete_membership DeleteMembershipRequest DeleteMembershipResponse
        list_memberships ListMembershipsRequest ListMembershipsResponse
        accept_membership AcceptMembershipRequest AcceptMembershipResponse
        reject_membership RejectMembershipRequest RejectMembershipResponse
        enable_membership EnableMembershipRequest EnableMembershipResponse
        disable_membership DisableMembershipRequest DisableMembershipResponse
    }
    EntityGroupServiceClient {
        create_entity_group CreateEntityGroupRequest CreateEntityGroupResponse
        get_entity_group GetEntityGroupRequest GetEntityGroupResponse
        update_entity_group UpdateEntityGroupRequest UpdateEntityGroupResponse
        delete_entity_group DeleteEntityGroupRequest DeleteEntityGroupResponse
        list_entity_groups ListEntityGroupsRequest ListEntityGroupsResponse
        add_entities AddEntitiesRequest AddEntitiesResponse
        remove_entities RemoveEntitiesRequest RemoveEntitiesResponse
        list_group_entities ListGroupEntitiesRequest ListGroupEntitiesResponse
        upsert_group_member UpsertGroupMemberRequest UpsertGroupMemberResponse
        get_group_member GetGroupMemberRequest GetGroupMemberResponse
        delete_group_member DeleteGroupMemberRequest DeleteGroupMemberResponse
        list_group_members ListGroupMembersRequest ListGroupMembersResponse
        sync_group_members SyncGroupMembersRequest SyncGroupMembersResponse
    }
}

// === impl Caller ===

impl Caller {
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for value in &self.authorization {
            request.metadata_mut().append("authorization", value.parse().unwrap());
        }
        request
    }

    /// The same connection with the bearer of a token.
    pub fn bearing(&self, token: &str) -> Self {
        Self { channel: self.channel.clone(), authorization: vec![format!("Bearer {token}")] }
    }

    /// The token of an IssueToken that must succeed.
    pub async fn issue(&self, request: wire::IssueTokenRequest) -> wire::IssuedToken {
        self.issue_token(request).await.unwrap().token.unwrap()
    }

    /// The token of a RenewToken that must succeed.
    pub async fn renew(&self, request: wire::RenewTokenRequest) -> wire::IssuedToken {
        self.renew_token(request).await.unwrap().token.unwrap()
    }

    pub async fn introspect(&self, request: wire::IntrospectTokenRequest) -> wire::Introspection {
        self.introspect_token(request).await.unwrap().introspection.unwrap()
    }

    /// Revokes what the caller holds.
    pub async fn revoke(&self, token: &str) {
        self.revoke_token(revoke(token)).await.unwrap();
    }
}

// === impl Credentials ===

impl Credentials {
    pub fn new(client_id: &str, client_secret: &str) -> Self {
        Self { client_id: client_id.to_owned(), client_secret: client_secret.to_owned() }
    }

    pub fn client_credentials(&self) -> wire::IssueTokenRequest {
        self.with(client_credentials())
    }

    pub fn account(&self, account: &str) -> wire::IssueTokenRequest {
        self.with(for_account(account))
    }

    pub fn with(&self, request: wire::IssueTokenRequest) -> wire::IssueTokenRequest {
        wire::IssueTokenRequest {
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            ..request
        }
    }

    pub fn introspect(&self, token: &str) -> wire::IntrospectTokenRequest {
        wire::IntrospectTokenRequest {
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            token: token.to_owned(),
            ..Default::default()
        }
    }

    pub fn renew(&self, refresh_token: &str) -> wire::RenewTokenRequest {
        wire::RenewTokenRequest {
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            refresh_token: refresh_token.to_owned(),
            ..Default::default()
        }
    }
}

// === requests ===

pub fn client_credentials() -> wire::IssueTokenRequest {
    let grant = wire::issue_token_request::Grant::ClientCredentials(wire::ClientCredentialsGrant {});
    wire::IssueTokenRequest { grant: Some(grant), ..Default::default() }
}

pub fn for_account(account: &str) -> wire::IssueTokenRequest {
    let grant = wire::issue_token_request::Grant::Account(wire::AccountGrant { account_id: account.to_owned() });
    wire::IssueTokenRequest { grant: Some(grant), ..Default::default() }
}

/// `account` may be empty.
pub fn for_member(member: &str, account: &str) -> wire::IssueTokenRequest {
    let member = wire::MemberGrant { member_id: member.to_owned(), account_id: account.to_owned() };
    wire::IssueTokenRequest { grant: Some(wire::issue_token_request::Grant::Member(member)), ..Default::default() }
}

/// `member` may be empty.
pub fn for_group(group: &str, member: &str) -> wire::IssueTokenRequest {
    let group = wire::EntityGroupGrant { entity_group_id: group.to_owned(), member_id: member.to_owned() };
    wire::IssueTokenRequest { grant: Some(wire::issue_token_request::Grant::EntityGroup(group)), ..Default::default() }
}

/// `actor` may be empty.
pub fn exchange(subject: &str, actor: &str) -> wire::IssueTokenRequest {
    let exchange = wire::TokenExchangeGrant { subject_token: subject.to_owned(), actor_token: actor.to_owned() };
    let grant = wire::issue_token_request::Grant::TokenExchange(exchange);
    wire::IssueTokenRequest { grant: Some(grant), ..Default::default() }
}

pub fn revoke(token: &str) -> wire::RevokeTokenRequest {
    let target = wire::revoke_token_request::Target::Token(token.to_owned());
    wire::RevokeTokenRequest { target: Some(target), ..Default::default() }
}

pub fn revoke_id(id: &str) -> wire::RevokeTokenRequest {
    let target = wire::revoke_token_request::Target::TokenId(id.to_owned());
    wire::RevokeTokenRequest { target: Some(target), ..Default::default() }
}

pub fn list_account(account: &str) -> wire::ListTokensRequest {
    let subject = wire::list_tokens_request::Subject::AccountId(account.to_owned());
    wire::ListTokensRequest { subject: Some(subject), ..Default::default() }
}

pub fn list_client(client: &str) -> wire::ListTokensRequest {
    let subject = wire::list_tokens_request::Subject::ClientId(client.to_owned());
    wire::ListTokensRequest { subject: Some(subject), ..Default::default() }
}

/// Lets tests write requests as sentences.
pub trait IssueExt: Sized {
    fn scopes(self, scopes: &[&str]) -> Self;
    fn audience(self, audience: &[&str]) -> Self;
    fn expires_in(self, text: &str) -> Self;
    fn session(self, session: &str) -> Self;
    fn format(self, format: wire::TokenFormat) -> Self;
    fn refresh(self) -> Self;
    fn never(self) -> Self;
    fn tenant(self, tenant: &str) -> Self;
    fn request_id(self, id: &str) -> Self;
}

impl IssueExt for wire::IssueTokenRequest {
    fn scopes(self, scopes: &[&str]) -> Self {
        Self { scopes: owned(scopes), ..self }
    }

    fn audience(self, audience: &[&str]) -> Self {
        Self { audience: owned(audience), ..self }
    }

    fn expires_in(self, text: &str) -> Self {
        Self { lifetime: Some(wire::issue_token_request::Lifetime::ExpiresIn(text.to_owned())), ..self }
    }

    fn session(self, session: &str) -> Self {
        Self { session_id: session.to_owned(), ..self }
    }

    fn format(self, format: wire::TokenFormat) -> Self {
        Self { format: format.into(), ..self }
    }

    fn refresh(self) -> Self {
        Self { include_refresh_token: true, ..self }
    }

    fn never(self) -> Self {
        Self { lifetime: Some(wire::issue_token_request::Lifetime::Never(true)), ..self }
    }

    fn tenant(self, tenant: &str) -> Self {
        Self { tenant_id: tenant.to_owned(), ..self }
    }

    fn request_id(self, id: &str) -> Self {
        Self { request_id: id.to_owned(), ..self }
    }
}

pub fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub fn seconds(seconds: u64) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(seconds).unwrap(), nanos: 0 }
}

/// A UUID4 that differs for each number.
pub fn uuid(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

// === refusals ===

/// The status of a call that must be refused for `reason`.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T, Status>, reason: Reason) -> Status {
    let status = match result {
        Ok(reply) => panic!("not refused with {}: {reply:?}", reason.name()),
        Err(status) => status,
    };
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.name(), "jeton"), "{status:?}");
    assert_eq!(status.code(), code(reason.class()), "{status:?}");
    status
}

/// The status of a call that must be refused for `reason` with violations of exactly these fields.
#[track_caller]
pub fn refused_fields<T: Debug>(result: Result<T, Status>, reason: Reason, fields: &[&str]) -> Status {
    let status = refused(result, reason);
    let request = status.get_details_bad_request().unwrap_or_else(|| panic!("no BadRequest in {status:?}"));
    let shown: Vec<&str> = request.field_violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(shown, fields, "{status:?}");
    status
}

/// An answer that says inactive and nothing else.
#[track_caller]
pub fn assert_inactive(answer: &wire::Introspection) {
    assert_eq!(*answer, wire::Introspection { active: Some(false), ..Default::default() });
}

/// What of a refusal a caller can tell apart, with `id` blotted out.
pub fn seen(status: &Status, id: &str) -> (Code, String, Vec<u8>) {
    assert!(!id.is_empty());
    let blot = "\u{1}".repeat(id.len());
    let details: Vec<u8> = status.details().to_vec();
    (status.code(), status.message().replace(id, &blot), replace(&details, id.as_bytes(), blot.as_bytes()))
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if rest.starts_with(from) {
            out.extend_from_slice(to);
            rest = &rest[from.len()..];
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    out
}

fn code(class: Class) -> Code {
    match class {
        Class::InvalidArgument => Code::InvalidArgument,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::PermissionDenied => Code::PermissionDenied,
        Class::NotFound => Code::NotFound,
        Class::AlreadyExists => Code::AlreadyExists,
        Class::FailedPrecondition => Code::FailedPrecondition,
        Class::Aborted => Code::Aborted,
        Class::ResourceExhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::DeadlineExceeded => Code::DeadlineExceeded,
        Class::Unimplemented => Code::Unimplemented,
        Class::Cancelled => Code::Cancelled,
        Class::Internal => Code::Internal,
    }
}
