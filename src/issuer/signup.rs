//! How somebody becomes a member by their own wish.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{ClientId, secret::SecretText};

use super::{
    Issuer,
    passwords::Place,
    signin_request::{Mechanism, SignIn},
};
use crate::{
    directory::{
        enrolment::Newcomer,
        identities::check_username,
        permit::Act,
        record::{Identity, IdentityKind, IdentityProfile, Member, PasswordIdentity},
        standing::Standing,
    },
    error::{Error, Result},
};

// === impl Issuer ===

impl Issuer {
    /// Makes somebody a member. A repeat receives the member that the first request made, if it knows the password.
    pub(super) async fn sign_up(&self, act: &Act, standing: &Standing, request: &SignIn) -> Result<Arc<Member>> {
        let Mechanism::SelfSignup { profile, username, password, display_name, email, code } = &request.mechanism
        else {
            return Err(Error::internal("sign somebody up who does not want it"));
        };
        let tenant = &standing.tenant;
        if !tenant.settings.self_signup() {
            return Err(self_signup_disabled());
        }
        let profile = self.password_profile(&tenant.id, profile, "self_signup.identity_profile_id").await?;
        let username = check_username("self_signup.username", &profile, username)?;
        let client = &standing.client.id;
        let place = self.passwords.place()?;
        if let Some(repeat) = request.repeat
            && let Some((body, _)) =
                self.core.store.remembered(&tenant.id, repeat.key(&tenant.id, act.caller()), self.now()).await?
        {
            repeat.check(body)?;
            return self.known(client, &place, &profile, &username, password).await;
        }
        if let Some(code) = code {
            self.prove_address(client, &profile, &username, email, code.expose()).await?;
        }
        let hash = self.passwords.hash(&place, password.clone()).await?;
        let own =
            PasswordIdentity { username: username.clone(), hash: Some(hash.clone()), password_set: Some(self.now()) };
        let newcomer = Newcomer {
            display_name: display_name.clone(),
            first_name: None,
            last_name: None,
            email: email.clone(),
            email_verified: code.is_some(),
            identity: Identity { profile: profile.id.clone(), kind: IdentityKind::Password(own) },
        };
        let made = self.directory.sign_up(act.caller(), tenant, &profile, newcomer, request.repeat).await;
        let (member, _) = made.inspect_err(|error| {
            // What is taken tells who is a member: nobody may ask that often.
            if matches!(error.reason(), Reason::IdentityTaken | Reason::EmailTaken) {
                self.refuse(client, &tenant.id, &profile.id);
            }
        })?;
        let is_own = member.identity(&profile.id).is_some_and(|identity| match &identity.kind {
            IdentityKind::Password(own) => own.hash.as_ref() == Some(&hash),
            IdentityKind::Oidc(_) => false,
        });
        if !is_own {
            // A repeat that came at the same time was faster.
            return self.known(client, &place, &profile, &username, password).await;
        }
        tracing::info!(
            target: "audit", event = "member.signup", tenant = %tenant.id, member = %member.id, profile = %profile.id,
            client = %client, "somebody became a member"
        );
        Ok(member)
    }

    /// The member that an earlier sign-up with the same request id made. Its password is no part of what is remembered.
    async fn known(
        &self,
        client: &ClientId,
        place: &Place,
        profile: &Arc<IdentityProfile>,
        username: &str,
        password: &SecretText,
    ) -> Result<Arc<Member>> {
        match self.prove_password(client, place, profile, username, password.clone()).await {
            Ok(proven) => Ok(proven.member),
            Err(error) if error.reason() == Reason::InvalidCredentials => {
                Err(Error::new(Reason::RequestIdReused, "the request id was used with another password"))
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) fn self_signup_disabled() -> Error {
    Error::new(Reason::SelfSignupDisabled, "in this tenant nobody becomes a member by themselves")
}
