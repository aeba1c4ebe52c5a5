//! What a request message says of its call: who calls, about what, and by which rule. A message of a new method stands
//! in one of these lists.

use std::mem;

use jeton_contract::validate::Validate;

use super::{
    edge::Admitted,
    policy::{Method, Rule},
    proof::{self, CarriesCredentials as _},
    wire,
};
use crate::{
    directory::caller::About,
    error::{Error, Result},
    issuer::authenticate::{Proof, Recognized},
};

/// A request message of the contract. Who calls and about what are taken out of it: the same request under other
/// credentials is the same request.
pub(super) trait RequestMessage: Validate {
    /// What it is about.
    fn about(&mut self) -> About;

    /// What proves who calls, if anything does.
    fn proof(&mut self, admitted: &Admitted<Recognized>) -> Result<Option<Proof>> {
        Ok(proof::bearer(admitted))
    }

    /// The rule that it falls under.
    fn rule(&self, method: &'static Method) -> Result<&'static Rule> {
        method.rule().ok_or_else(|| Error::internal("find the rule of a method"))
    }
}

/// A request that may be sent again under the same request id, for the same answer.
pub(super) trait Repeatable: RequestMessage + prost::Message {
    /// Taken out, so that it does not count in the comparison.
    fn take_request_id(&mut self) -> String;
}

/// A request for a page of a list.
pub(super) trait List: RequestMessage + prost::Message {
    /// The size and token of the page. Taken out, so that what is left is the same for all pages of one list.
    fn take_page(&mut self) -> (i32, String);
}

macro_rules! about_a_tenant {
    ($($message:ident)*) => {$(
        impl RequestMessage for wire::$message {
            fn about(&mut self) -> About {
                About::Tenant(mem::take(&mut self.tenant_id))
            }
        }
    )*};
}

macro_rules! with_credentials {
    ($($message:ident: $about:expr;)*) => {$(
        impl RequestMessage for wire::$message {
            fn about(&mut self) -> About {
                let about: fn(&mut Self) -> About = $about;
                about(self)
            }

            fn proof(&mut self, admitted: &Admitted<Recognized>) -> Result<Option<Proof>> {
                proof::of(admitted, self.take_credentials())
            }
        }
    )*};
}

macro_rules! about_the_caller {
    ($($message:ident)*) => {$(
        impl RequestMessage for wire::$message {
            fn about(&mut self) -> About {
                About::Caller
            }
        }
    )*};
}

macro_rules! repeatable {
    ($($message:ident)*) => {$(
        impl Repeatable for wire::$message {
            fn take_request_id(&mut self) -> String {
                mem::take(&mut self.request_id)
            }
        }
    )*};
}

macro_rules! lists {
    ($($message:ident)*) => {$(
        impl List for wire::$message {
            fn take_page(&mut self) -> (i32, String) {
                (mem::take(&mut self.page_size), mem::take(&mut self.page_token))
            }
        }
    )*};
}

about_a_tenant! {
    CreateAccountRequest GetAccountRequest UpdateAccountRequest DeleteAccountRequest UndeleteAccountRequest
    ListAccountsRequest EnableAccountRequest DisableAccountRequest
    CreateMemberRequest GetMemberRequest UpdateMemberRequest DeleteMemberRequest ListMembersRequest
    EnableMemberRequest DisableMemberRequest SetPasswordRequest LinkIdentityRequest UnlinkIdentityRequest
    CreateMembershipRequest GetMembershipRequest UpdateMembershipRequest DeleteMembershipRequest
    ListMembershipsRequest AcceptMembershipRequest RejectMembershipRequest EnableMembershipRequest
    DisableMembershipRequest
    GetTenantRequest DeleteTenantRequest EnableTenantRequest DisableTenantRequest
    AdmitClientRequest ExpelClientRequest ListAdmittedClientsRequest RotateSigningKeyRequest RevokeSigningKeyRequest
    CreateRoleRequest GetRoleRequest UpdateRoleRequest DeleteRoleRequest ListRolesRequest
    CreateIdentityProfileRequest GetIdentityProfileRequest UpdateIdentityProfileRequest DeleteIdentityProfileRequest
    ListIdentityProfilesRequest
    RevokeAllTokensRequest GetTokenRequest ListTokensRequest
    CreateEntityGroupRequest GetEntityGroupRequest UpdateEntityGroupRequest DeleteEntityGroupRequest
    ListEntityGroupsRequest AddEntitiesRequest RemoveEntitiesRequest ListGroupEntitiesRequest UpsertGroupMemberRequest
    GetGroupMemberRequest DeleteGroupMemberRequest ListGroupMembersRequest SyncGroupMembersRequest
    CreateClientRequest GetClientRequest UpdateClientRequest DeleteClientRequest ListClientsRequest
    EnableClientRequest DisableClientRequest CreateClientSecretRequest ListClientSecretsRequest
    RevokeClientSecretRequest
}

about_the_caller! { CreateTenantRequest ListTenantsRequest GetCallerRequest }

with_credentials! {
    RenewTokenRequest: |_| About::Caller;
    InvalidateTokensRequest: |_| About::Caller;
    IntrospectTokenRequest: |_| About::Caller;
    BatchIntrospectTokensRequest: |_| About::Caller;
    AuthenticateMemberRequest: |message| About::Tenant(mem::take(&mut message.tenant_id));
    RequestOneTimePasswordRequest: |message| About::Tenant(mem::take(&mut message.tenant_id));
}

repeatable! {
    CreateAccountRequest CreateMemberRequest CreateMembershipRequest CreateTenantRequest CreateRoleRequest
    CreateIdentityProfileRequest CreateEntityGroupRequest CreateClientRequest CreateClientSecretRequest
    IssueTokenRequest
}

lists! {
    ListAccountsRequest ListMembersRequest ListMembershipsRequest ListTenantsRequest ListAdmittedClientsRequest
    ListRolesRequest ListIdentityProfilesRequest ListTokensRequest ListEntityGroupsRequest ListGroupEntitiesRequest
    ListGroupMembersRequest ListClientsRequest
}

impl RequestMessage for wire::UpdateTenantRequest {
    fn about(&mut self) -> About {
        About::Tenant(self.tenant.as_mut().map(|tenant| mem::take(&mut tenant.tenant_id)).unwrap_or_default())
    }
}

impl RequestMessage for wire::ListSigningKeysRequest {
    fn about(&mut self) -> About {
        // Whose keys are public need not be one that the caller can name.
        if self.tenant_id.is_empty() { About::Tenant(String::new()) } else { About::Caller }
    }
}

impl RequestMessage for wire::RevokeTokenRequest {
    fn about(&mut self) -> About {
        use wire::revoke_token_request::Target;
        match &self.target {
            // Its text names its tenant.
            Some(Target::Token(_)) => About::Caller,
            Some(Target::TokenId(_)) | None => About::Tenant(mem::take(&mut self.tenant_id)),
        }
    }

    fn proof(&mut self, admitted: &Admitted<Recognized>) -> Result<Option<Proof>> {
        proof::of(admitted, self.take_credentials())
    }

    fn rule(&self, method: &'static Method) -> Result<&'static Rule> {
        use wire::revoke_token_request::Target;
        match &self.target {
            Some(Target::Token(_)) => chosen(method, "token"),
            Some(Target::TokenId(_)) => chosen(method, "token_id"),
            None => Err(Error::field("target", "must be set")),
        }
    }
}

impl RequestMessage for wire::IssueTokenRequest {
    fn about(&mut self) -> About {
        use wire::issue_token_request::Grant;
        match &self.grant {
            // For the client itself: the tenant need not be one that the client can name as a caller.
            Some(Grant::ClientCredentials(_) | Grant::Workload(_)) => About::Caller,
            Some(Grant::Account(_) | Grant::Member(_) | Grant::EntityGroup(_) | Grant::TokenExchange(_)) | None => {
                About::Tenant(mem::take(&mut self.tenant_id))
            }
        }
    }

    fn proof(&mut self, admitted: &Admitted<Recognized>) -> Result<Option<Proof>> {
        proof::of_issue(admitted, self)
    }

    fn rule(&self, method: &'static Method) -> Result<&'static Rule> {
        use wire::issue_token_request::Grant;
        match &self.grant {
            Some(Grant::ClientCredentials(_)) => chosen(method, "client_credentials"),
            Some(Grant::Account(_)) => chosen(method, "account"),
            Some(Grant::Member(_)) => chosen(method, "member"),
            Some(Grant::EntityGroup(_)) => chosen(method, "entity_group"),
            Some(Grant::TokenExchange(_)) => chosen(method, "token_exchange"),
            Some(Grant::Workload(_)) => chosen(method, "workload"),
            None => Err(Error::field("grant", "must be set")),
        }
    }
}

/// The rule that the field of this name declares.
fn chosen(method: &'static Method, name: &'static str) -> Result<&'static Rule> {
    method.choice(name).ok_or_else(|| Error::internal(format!("find the rule of {name} of {}", method.path)))
}
