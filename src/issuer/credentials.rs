//! What members prove who they are by: passwords, how they are checked, and how they change.

use std::{sync::Arc, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{ClientId, IdentityProfileId, Position, TenantId, authentication::Method, secret::SecretText};

use super::{
    Issuer,
    passwords::{Place, Verdict},
};
use crate::{
    directory::{
        caller::Right,
        identities::NewPassword,
        permit::Act,
        record::{
            IdentityKind, IdentityProfile, Member, PasswordHash, PasswordIdentity, ProfileKind, Stored as _, normalized,
        },
    },
    error::{Error, Result},
};

/// A password to set.
#[derive(Clone, Debug)]
pub struct SetPassword {
    /// The member, by id or foreign id.
    pub member: String,
    pub profile: String,
    pub username: Option<String>,
    pub password: SecretText,
    /// The password that it replaces.
    pub current: Option<SecretText>,
}

/// A member that proved who it is by a password.
#[derive(Debug)]
pub(super) struct Proven {
    pub member: Arc<Member>,
    pub hash: PasswordHash,
}

/// How long a sign-in by one-time password stands in for the current password.
const FRESH: Duration = Duration::from_secs(600);

// === impl Issuer ===

impl Issuer {
    /// Sets a member's password: by scope, or the member itself, if it proves once more who it is.
    pub async fn set_password(&self, act: &Act, request: &SetPassword) -> Result<(Arc<Member>, Position)> {
        let caller = act.caller();
        let tenant = act.tenant();
        let (member, right) = act.manageable_member(&request.member).await?;
        let profile = self.password_profile(tenant, &request.profile, "identity_profile_id").await?;
        let place = self.passwords.place()?;
        let (replaces, except) = match right {
            Right::Scope => (None, None),
            Right::OwnOnly => {
                let known = self.prove_again(act, request, &member, &profile, &place).await?;
                (known, caller.token.as_ref().map(|token| token.except()))
            }
        };
        let hash = self.passwords.hash(&place, request.password.clone()).await?;
        let new = NewPassword { username: request.username.clone(), hash, replaces, except };
        let (member, position) = self.directory.set_password(&member, &profile, &new).await?;
        tracing::info!(
            target: "audit", event = "member.password", tenant = %tenant, member = %member.id, profile = %profile.id,
            caller = caller.sub, client = %caller.standing.client.id, "set a member's password"
        );
        Ok((member, position))
    }

    /// A member that changes its own password proves that it is not somebody who found its token: by the password that it
    /// replaces, or by having signed in by a one-time password just now. Returns what the password was.
    async fn prove_again(
        &self,
        act: &Act,
        request: &SetPassword,
        member: &Member,
        profile: &Arc<IdentityProfile>,
        place: &Place,
    ) -> Result<Option<PasswordHash>> {
        let own = match member.identity(&profile.id).map(|own| &own.kind) {
            Some(IdentityKind::Password(own)) => own,
            Some(IdentityKind::Oidc(_)) | None => {
                return Err(Error::not_found(IdentityProfile::NAME, profile.id.to_string()));
            }
        };
        if request.username.as_ref().is_some_and(|username| normalized(username) != normalized(&own.username)) {
            return Err(Error::new(Reason::ScopeInsufficient, "members do not change their usernames"));
        }
        let authentication = act.caller().token.as_ref().and_then(|token| token.authentication);
        let is_fresh =
            authentication.is_some_and(|own| own.method == Method::OneTimePassword && self.now() < own.at.plus(FRESH));
        if is_fresh {
            return Ok(own.hash.clone());
        }
        let current = request.current.clone();
        let current = current.ok_or_else(|| Error::field("current_password", "must be set"))?;
        let client = &act.caller().standing.client.id;
        let proven = self.prove_password(client, place, profile, &own.username, current).await?;
        Ok(Some(proven.hash))
    }

    /// The member that a username and a password prove. All that can be wrong looks the same, and takes as long.
    pub(super) async fn prove_password(
        &self,
        client: &ClientId,
        place: &Place,
        profile: &Arc<IdentityProfile>,
        username: &str,
        password: SecretText,
    ) -> Result<Proven> {
        let tenant = &profile.tenant;
        self.failures.check(client, self.now())?;
        // Before the password is looked at: of attempts that come at once no more than the limit must be.
        self.directory.count_attempt(tenant, &profile.id, username).await?;
        let found = self.directory.member_by_username(tenant, &profile.id, username).await?;
        let known = found.as_ref().and_then(|(_, own): &(_, PasswordIdentity)| own.hash.clone());
        let verdict = self.passwords.verify(place, password.clone(), known.clone()).await?;
        let (Some((member, _)), Some(hash), Verdict::Right | Verdict::Outdated) = (found, known, verdict) else {
            self.refuse(client, tenant, &profile.id);
            return Err(invalid_credentials());
        };
        self.directory.forget_attempts(tenant, &profile.id, username).await?;
        if verdict == Verdict::Outdated {
            self.rehash_later(&member, profile, &hash, password);
        }
        Ok(Proven { member, hash })
    }

    /// The profile with passwords of an id that stands in `field`.
    pub(super) async fn password_profile(
        &self,
        tenant: &TenantId,
        id: &str,
        field: &str,
    ) -> Result<Arc<IdentityProfile>> {
        let profile = self.identity_profile(tenant, id).await?;
        match &profile.kind {
            ProfileKind::Password(_) => Ok(profile),
            ProfileKind::Oidc(_) => Err(Error::field(field, "must be an identity profile with passwords")),
        }
    }

    /// The profile of an id, of whatever kind.
    pub(super) async fn identity_profile(&self, tenant: &TenantId, id: &str) -> Result<Arc<IdentityProfile>> {
        let not_found = || Error::not_found(IdentityProfile::NAME, id);
        let profile_id: IdentityProfileId = id.parse().map_err(|_| not_found())?;
        self.directory.profile(tenant, &profile_id).await?.ok_or_else(not_found)
    }

    /// Notes a sign-in that was refused. Usernames are not logged: people type passwords in their place.
    pub(super) fn refuse(&self, client: &ClientId, tenant: &TenantId, profile: &IdentityProfileId) {
        self.failures.note(client, self.now());
        tracing::info!(
            target: "audit", event = "member.signin.refused", tenant = %tenant, profile = %profile, client = %client,
            "refused a member's sign-in"
        );
    }

    /// Hashes a password anew, after the reply. If that fails, the next sign-in does it.
    fn rehash_later(
        &self,
        member: &Arc<Member>,
        profile: &Arc<IdentityProfile>,
        old: &PasswordHash,
        password: SecretText,
    ) {
        let (directory, passwords) = (Arc::clone(&self.directory), Arc::clone(&self.passwords));
        let (member, profile, old) = (Arc::clone(member), Arc::clone(profile), old.clone());
        self.core.tasks.spawn(async move {
            let rehashed = async {
                let new = passwords.hash(&passwords.place()?, password).await?;
                directory.rehash(&member, &profile, &old, &new).await
            };
            if let Err(error) = rehashed.await {
                tracing::debug!(error = %crate::error::chain(&error), "hashing a password anew failed");
            }
        });
    }
}

/// The same for whatever is wrong.
pub(super) fn invalid_credentials() -> Error {
    Error::new(Reason::InvalidCredentials, "the member is unknown or disabled, or what it brought does not prove it")
}
