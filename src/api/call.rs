//! What all handlers share, said once: who calls, by which rule, in which tenant, and how the verb runs.
//!
//! A handler says [`Services::enter`], converts the message, hands its verb to [`Call::act`] or [`Call::visit`], and
//! converts what came back. The verb gets an [`Act`]: proven, permitted, in a tenant that exists, at the log's head. A
//! mutation runs to its end; which methods mutate stands in the contract.

use std::sync::Arc;

use jeton_contract::validate::Validate;
use tokio::time::Instant;
use tonic::Request;

use super::{
    Services,
    edge::{Admitted, open, run_to_end},
    policy::{Method, Rule},
    proof::{self, CarriesCredentials as _},
    wire,
};
use crate::{
    directory::permit::{About, Act, Visit},
    issuer::{
        Issuer,
        authenticate::{Asking, FULL, Freshness, Proof, Recognized},
    },
    token::{Error, Result},
};

/// A call whose message was read and whose verb has not begun.
#[derive(Debug)]
pub(super) struct Call {
    issuer: Arc<Issuer>,
    method: &'static Method,
    /// The method's; of IssueToken the grant's.
    rule: &'static Rule,
    proof: Option<Proof>,
    about: About,
    /// When the caller stops to wait.
    pub deadline: Instant,
}

/// A request message of the contract, as far as it tells who calls and about what. Both are taken out of it: the same
/// request under other credentials is the same request.
pub(super) trait Asks: Validate {
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

// === impl Services ===

impl Services {
    /// A handler's first step: what the edge found out, and the message, held against its declared rules.
    ///
    /// # Errors
    /// INVALID_FIELD, with all violations; AMBIGUOUS_CREDENTIALS.
    pub(super) fn enter<T: Asks>(&self, request: Request<T>) -> Result<(Call, T)> {
        let (admitted, mut message): (Admitted<Recognized>, T) = open(request)?;
        let proof = message.proof(&admitted)?;
        let rule = message.rule(admitted.method)?;
        let about = message.about();
        let (issuer, method, deadline) = (Arc::clone(&self.issuer), admitted.method, admitted.deadline);
        Ok((Call { issuer, method, rule, proof, about, deadline }, message))
    }
}

// === impl Call ===

impl Call {
    /// Runs a verb for a caller that proves itself and is permitted to.
    ///
    /// # Errors
    /// TOKEN_MISSING, TOKEN_INVALID, INVALID_CLIENT, SCOPE_INSUFFICIENT, NOT_FOUND of the tenant; else those of the verb.
    pub(super) async fn act<T, F>(self, verb: impl FnOnce(Arc<Issuer>, Act) -> F + Send + 'static) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.act_at(FULL, verb).await
    }

    /// The same at a head of this freshness.
    pub(super) async fn act_at<T, F>(
        self,
        freshness: Freshness,
        verb: impl FnOnce(Arc<Issuer>, Act) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let Self { issuer, method, rule, proof, about, .. } = self;
        let work = async move {
            let proof = proof.ok_or_else(|| rule.missing())?;
            let act = issuer.permit(&Asking { rule, proof: &proof, about: &about, freshness }).await?;
            verb(issuer, act).await
        };
        if method.reads_only { work.await } else { run_to_end(work).await }
    }

    /// Runs a verb that is open to anyone. Credentials that are shown must be right nevertheless.
    ///
    /// # Errors
    /// TOKEN_INVALID, INVALID_CLIENT; else those of the verb.
    pub(super) async fn visit<T, F>(self, verb: impl FnOnce(Arc<Issuer>, Visit) -> F + Send + 'static) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let Self { issuer, method, rule, proof, about, .. } = self;
        let work = async move {
            let visit = match &proof {
                Some(proof) => {
                    Visit::of(&issuer.permit(&Asking { rule, proof, about: &about, freshness: FULL }).await?)
                }
                None => Visit::new(rule, issuer.reach(FULL).await?)?,
            };
            verb(issuer, visit).await
        };
        if method.reads_only { work.await } else { run_to_end(work).await }
    }
}

// === messages ===

macro_rules! about_a_tenant {
    ($($message:ident)*) => {$(
        impl Asks for wire::$message {
            fn about(&mut self) -> About {
                About::Tenant(std::mem::take(&mut self.tenant_id))
            }
        }
    )*};
}

macro_rules! with_credentials {
    ($($message:ident: $about:expr;)*) => {$(
        impl Asks for wire::$message {
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
        impl Asks for wire::$message {
            fn about(&mut self) -> About {
                About::Caller
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
    AuthenticateMemberRequest: |message| About::Tenant(std::mem::take(&mut message.tenant_id));
    RequestOneTimePasswordRequest: |message| About::Tenant(std::mem::take(&mut message.tenant_id));
}

impl Asks for wire::UpdateTenantRequest {
    fn about(&mut self) -> About {
        About::Tenant(self.tenant.as_mut().map(|tenant| std::mem::take(&mut tenant.tenant_id)).unwrap_or_default())
    }
}

impl Asks for wire::ListSigningKeysRequest {
    fn about(&mut self) -> About {
        // Whose keys are public need not be one that the caller can name.
        if self.tenant_id.is_empty() { About::Tenant(String::new()) } else { About::Caller }
    }
}

impl Asks for wire::RevokeTokenRequest {
    fn about(&mut self) -> About {
        use wire::revoke_token_request::Target;
        match &self.target {
            // Its text names its tenant.
            Some(Target::Token(_)) => About::Caller,
            Some(Target::TokenId(_)) | None => About::Tenant(std::mem::take(&mut self.tenant_id)),
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

impl Asks for wire::IssueTokenRequest {
    fn about(&mut self) -> About {
        use wire::issue_token_request::Grant;
        match &self.grant {
            // For the client itself: the tenant need not be one that the client can name as a caller.
            Some(Grant::ClientCredentials(_) | Grant::Workload(_)) => About::Caller,
            Some(Grant::Account(_) | Grant::Member(_) | Grant::EntityGroup(_) | Grant::TokenExchange(_)) | None => {
                About::Tenant(std::mem::take(&mut self.tenant_id))
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
