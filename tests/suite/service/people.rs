//! Members that sign in: what several tests need first.

use jeton::api::wire::{self, authenticate_member_request::Mechanism, link_identity_request::Identity};
use tonic::Status;

use super::{
    calls::{Caller, Credentials, owned},
    harness::{Service, plain},
    identity_profiles,
    memberships::{self, join, place},
};
use crate::federation::provider::{CALLBACK, NONCE, OTHER_CALLBACK, SECRET, VERIFIER};

/// Who manages people in tenant `default`, a client through which they sign in, and an identity profile.
pub struct People {
    pub manager: Caller,
    pub desk: Credentials,
    pub profile: String,
}

/// What `person` sets.
pub const PASSWORD: &str = "correct horse";

// === impl People ===

impl People {
    pub async fn new(service: &Service) -> Self {
        let manager = memberships::caller(service).await;
        let profile = identity_profiles::create(&manager, identity_profiles::password("p")).await.unwrap();
        let desk = service.client_in("default", plain()).await;
        Self { manager, desk, profile: profile.identity_profile_id }
    }

    /// A member with a username and the password, in accounts.
    pub async fn person(&self, username: &str, accounts: &[String]) -> String {
        let member = memberships::member(&self.manager, "").await;
        set_password(&self.manager, self.password(&member, username, PASSWORD)).await.unwrap();
        for account in accounts {
            join(&self.manager, place(account, &member, &[])).await.unwrap();
        }
        member
    }

    pub fn password(&self, member: &str, username: &str, password: &str) -> wire::SetPasswordRequest {
        wire::SetPasswordRequest {
            member_id: member.to_owned(),
            identity_profile_id: self.profile.clone(),
            username: username.to_owned(),
            password: password.to_owned(),
            ..Default::default()
        }
    }

    pub fn by_password(&self, username: &str, password: &str) -> wire::AuthenticateMemberRequest {
        self.by(Mechanism::Password(wire::PasswordMechanism {
            identity_profile_id: self.profile.clone(),
            username: username.to_owned(),
            password: password.to_owned(),
        }))
    }

    pub fn code_for(&self, username: &str) -> wire::RequestOneTimePasswordRequest {
        wire::RequestOneTimePasswordRequest {
            client_id: self.desk.client_id.clone(),
            client_secret: self.desk.client_secret.clone(),
            identity_profile_id: self.profile.clone(),
            username: username.to_owned(),
            ..Default::default()
        }
    }

    pub fn signup(&self, username: &str, email: &str) -> wire::SelfSignupMechanism {
        wire::SelfSignupMechanism {
            identity_profile_id: self.profile.clone(),
            username: username.to_owned(),
            password: PASSWORD.to_owned(),
            display_name: "A. Newcomer".to_owned(),
            email: email.to_owned(),
            ..Default::default()
        }
    }

    pub fn by_code(&self, username: &str, code: &str) -> wire::AuthenticateMemberRequest {
        self.by(Mechanism::OneTimePassword(wire::OneTimePasswordMechanism {
            identity_profile_id: self.profile.clone(),
            username: username.to_owned(),
            code: code.to_owned(),
        }))
    }

    pub fn by_signup(&self, signup: wire::SelfSignupMechanism) -> wire::AuthenticateMemberRequest {
        self.by(Mechanism::SelfSignup(signup))
    }

    pub fn by_token(&self, token: &str) -> wire::AuthenticateMemberRequest {
        self.by(Mechanism::Switch(wire::SwitchMechanism { access_token: token.to_owned() }))
    }

    /// What somebody brings from a provider of `provider`.
    pub fn by_redirect(&self, profile: &str, code: &str) -> wire::AuthenticateMemberRequest {
        self.by(Mechanism::Oidc(brought(profile, code)))
    }

    pub fn by(&self, mechanism: Mechanism) -> wire::AuthenticateMemberRequest {
        wire::AuthenticateMemberRequest {
            client_id: self.desk.client_id.clone(),
            client_secret: self.desk.client_secret.clone(),
            mechanism: Some(mechanism),
            ..Default::default()
        }
    }

    /// The tokens of a first page.
    pub async fn tokens(&self, service: &Service, request: wire::AuthenticateMemberRequest) -> Vec<String> {
        texts(&service.anonymous().authenticate_member(request).await.unwrap())
    }

    /// A member as the bearer of a token by which it manages itself.
    pub async fn itself(&self, service: &Service, username: &str) -> Caller {
        let request = wire::AuthenticateMemberRequest {
            audience: vec!["https://auth.example.com/t/default".to_owned()],
            ..self.by_password(username, PASSWORD)
        };
        service.bearer(&self.tokens(service, request).await[0])
    }
}

/// An identity profile of a provider that knows this service as `client_id`.
pub async fn provider(caller: &Caller, issuer: &str, client_id: &str) -> String {
    let oidc = wire::OidcProfile {
        issuer: issuer.to_owned(),
        client_id: client_id.to_owned(),
        client_secret: SECRET.to_owned(),
        redirect_uris: owned(&[CALLBACK, OTHER_CALLBACK]),
        ..Default::default()
    };
    let kind = Some(wire::identity_profile::Kind::Oidc(oidc));
    let profile = wire::IdentityProfile { kind, ..identity_profiles::password("a provider") };
    identity_profiles::create(caller, profile).await.unwrap().identity_profile_id
}

pub fn brought(profile: &str, code: &str) -> wire::OidcMechanism {
    wire::OidcMechanism {
        identity_profile_id: profile.to_owned(),
        code: code.to_owned(),
        redirect_uri: CALLBACK.to_owned(),
        code_verifier: VERIFIER.to_owned(),
        nonce: NONCE.to_owned(),
    }
}

pub fn texts(page: &wire::AuthenticateMemberResponse) -> Vec<String> {
    page.tokens.iter().map(|token| token.token.as_ref().unwrap().access_token.clone()).collect()
}

pub async fn set_password(caller: &Caller, request: wire::SetPasswordRequest) -> Result<wire::Member, Status> {
    caller.set_password(request).await.map(|reply| reply.member.unwrap())
}

pub async fn link(caller: &Caller, member: &str, profile: &str, identity: Identity) -> Result<wire::Member, Status> {
    let request = wire::LinkIdentityRequest {
        member_id: member.to_owned(),
        identity_profile_id: profile.to_owned(),
        identity: Some(identity),
        ..Default::default()
    };
    caller.link_identity(request).await.map(|reply| reply.member.unwrap())
}

pub async fn unlink(caller: &Caller, member: &str, profile: &str) -> Result<wire::Member, Status> {
    let request = wire::UnlinkIdentityRequest {
        member_id: member.to_owned(),
        identity_profile_id: profile.to_owned(),
        ..Default::default()
    };
    caller.unlink_identity(request).await.map(|reply| reply.member.unwrap())
}

pub async fn get(caller: &Caller, member: &str) -> Result<wire::Member, Status> {
    let request = wire::GetMemberRequest { member_id: member.to_owned(), ..Default::default() };
    caller.get_member(request).await.map(|reply| reply.member.unwrap())
}

pub async fn update(caller: &Caller, member: wire::Member, paths: &[&str]) -> Result<wire::Member, Status> {
    let request = wire::UpdateMemberRequest {
        member: Some(member),
        update_mask: (!paths.is_empty()).then(|| prost_types::FieldMask { paths: owned(paths) }),
        ..Default::default()
    };
    caller.update_member(request).await.map(|reply| reply.member.unwrap())
}

/// What the settings of self-service say from now on.
pub async fn let_members_manage_themselves(service: &Service) {
    let policy = wire::MemberSelfManagement::UpdateOnly.into();
    service.set(wire::TenantSettings { member_self_management: policy, ..Default::default() }).await;
}
