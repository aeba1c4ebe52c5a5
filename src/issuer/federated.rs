//! Members who sign in by the word of an OpenID provider.
//!
//! The provider tells who a subject is, and the directory which member that is. A code that is wrong, a subject that nobody
//! is and one whose member is disabled look the same.

use jeton_contract::{email::is_email, reason::Reason};
use jeton_core::{MemberId, secret::SecretText};
use tokio::time::Instant;

use super::{Issuer, credentials::invalid_credentials};
use crate::{
    directory::{
        caller::Caller,
        enrolment::Newcomer,
        record::{Identity, IdentityKind, IdentityProfile, Member, OidcIdentity, ProfileKind, State},
        standing::Standing,
        subjects::Arrival,
    },
    error::{Error, Result, chain},
    federation::{Login, Provider, VerifiedIdentity},
};

/// What the platform got when the provider sent somebody back.
#[derive(Clone, Debug)]
pub struct Redirected {
    /// The profile of the provider.
    pub profile: String,
    pub code: SecretText,
    pub redirect_uri: String,
    pub code_verifier: SecretText,
    pub nonce: Option<String>,
}

/// Where a name that a provider tells is cut off; as long as the contract lets names be.
const MAX_NAME_CHARS: usize = 255;

// === impl Issuer ===

impl Issuer {
    /// The member for whom a provider vouches. A subject that is not known yet becomes a member if the tenant allows it.
    pub(super) async fn prove_subject(
        &self,
        caller: &Caller,
        standing: &Standing,
        brought: &Redirected,
        deadline: Instant,
    ) -> Result<MemberId> {
        let tenant = &standing.tenant;
        let profile = self.identity_profile(&tenant.id, &brought.profile).await?;
        let identity = match self.ask_provider(&profile, brought, deadline).await {
            Err(error) if error.reason() == Reason::InvalidCredentials => {
                // For the operator who sets a provider up; callers do not receive it.
                tracing::debug!(profile = %profile.id, error = chain(&error), "a provider's word was not taken");
                self.refuse(&standing.client.id, &tenant.id, &profile.id);
                return Err(invalid_credentials());
            }
            answer => answer?,
        };
        let newcomer = newcomer(&profile, identity);
        let admitted = match self.directory.admit_subject(caller, tenant, &profile, &newcomer).await {
            // What is taken tells who is a member: nobody may ask that often.
            Err(error) if error.reason() == Reason::EmailTaken => {
                self.refuse(&standing.client.id, &tenant.id, &profile.id);
                return Err(error);
            }
            admitted => admitted?,
        };
        let Some((member, arrival)) = admitted.filter(|(member, _)| member.state == State::Enabled) else {
            tracing::debug!(profile = %profile.id, "a provider's subject is a disabled member's, or nobody's and stays so");
            self.refuse(&standing.client.id, &tenant.id, &profile.id);
            return Err(invalid_credentials());
        };
        note_arrival(standing, &profile, &member, arrival);
        Ok(member.id.clone())
    }

    /// Whom the provider vouches for.
    async fn ask_provider(
        &self,
        profile: &IdentityProfile,
        brought: &Redirected,
        deadline: Instant,
    ) -> Result<VerifiedIdentity> {
        let ProfileKind::Oidc(oidc) = &profile.kind else {
            let description = "must be an identity profile of an OpenID provider";
            return Err(Error::field("oidc.identity_profile_id", description));
        };
        let provider = Provider {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            client_secret: self.directory.provider_secret(profile)?,
            redirect_uris: oidc.redirect_uris.clone(),
            scopes: oidc.scopes.clone(),
        };
        let login = Login {
            code: brought.code.expose(),
            redirect_uri: &brought.redirect_uri,
            code_verifier: brought.code_verifier.expose(),
            nonce: brought.nonce.as_deref(),
        };
        let _turn = self.waiting.enter(&profile.tenant)?;
        self.relying_party.authenticate(&provider, &login, deadline).await
    }
}

// === what a provider tells ===

/// Who somebody will be that is no member yet.
fn newcomer(profile: &IdentityProfile, identity: VerifiedIdentity) -> Newcomer {
    let VerifiedIdentity { issuer, subject, email, email_verified, name, given_name, family_name } = identity;
    // A provider may take for an address what is none to us; then nobody can have been invited by it either.
    let email = email.filter(|email| is_email(email));
    let (first_name, last_name) =
        (given_name.as_deref().and_then(told_name), family_name.as_deref().and_then(told_name));
    let full_name = [first_name.as_deref(), last_name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let names = [name, Some(full_name), email.clone(), Some(subject.clone())];
    let display_name = names.iter().flatten().find_map(|name| told_name(name));
    Newcomer {
        // A subject of nothing but control characters names nobody.
        display_name: display_name.unwrap_or_else(|| profile.display_name.clone()),
        first_name,
        last_name,
        email_verified: email.is_some() && email_verified,
        email: email.unwrap_or_default(),
        identity: Identity { profile: profile.id.clone(), kind: IdentityKind::Oidc(OidcIdentity { issuer, subject }) },
    }
}

/// A name as it is stored, if anything of it is left.
fn told_name(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    Some(text).filter(|text| !text.trim().is_empty())
}

fn note_arrival(standing: &Standing, profile: &IdentityProfile, member: &Member, arrival: Arrival) {
    let (tenant, client) = (&profile.tenant, &standing.client.id);
    match arrival {
        Arrival::Known => {}
        Arrival::Invited | Arrival::New => tracing::info!(
            target: "audit", event = "member.signup", tenant = %tenant, member = %member.id, profile = %profile.id,
            client = %client, "somebody became a member"
        ),
        Arrival::Linked => tracing::info!(
            target: "audit", event = "member.linked", tenant = %tenant, member = %member.id, profile = %profile.id,
            client = %client, "linked a provider's subject to the member of its e-mail address"
        ),
    }
}

#[cfg(test)]
mod tests {
    use jeton_core::{IdentityProfileId, Time};

    use super::*;
    use crate::{ambient::Fresh as _, directory::record::OidcProfile};

    fn ada() -> VerifiedIdentity {
        VerifiedIdentity {
            issuer: "https://idp.example".to_owned(),
            subject: "s".to_owned(),
            email: Some("ada@example.com".to_owned()),
            email_verified: true,
            name: Some("Ada Lovelace".to_owned()),
            given_name: Some("Ada".to_owned()),
            family_name: None,
        }
    }

    fn of(identity: VerifiedIdentity) -> Newcomer {
        let profile = IdentityProfile {
            id: IdentityProfileId::random().unwrap(),
            tenant: "default".parse().unwrap(),
            display_name: "the provider".to_owned(),
            kind: ProfileKind::Oidc(OidcProfile::default()),
            state: State::Enabled,
            created: Time::from_secs(0),
            updated: Time::from_secs(0),
            version: 1,
        };
        newcomer(&profile, identity)
    }

    #[test]
    fn only_an_address_that_is_one_to_us_counts_as_verified() {
        let new = of(ada());
        assert_eq!((new.email.as_str(), new.email_verified), ("ada@example.com", true));
        // The last one would be another person's in lower case.
        for email in ["", "nobody", "Ada <ada@example.com>", "ada@example.com\n", "\u{212a}ate@example.com"] {
            let new = of(VerifiedIdentity { email: Some(email.to_owned()), ..ada() });
            assert_eq!((new.email.as_str(), new.email_verified), ("", false), "{email}");
        }
        let new = of(VerifiedIdentity { email: None, ..ada() });
        assert!(!new.email_verified && new.email.is_empty());
        assert!(!of(VerifiedIdentity { email_verified: false, ..ada() }).email_verified);
    }

    #[test]
    fn a_newcomer_is_called_what_the_provider_has() {
        let name = |identity: VerifiedIdentity| of(identity).display_name;
        assert_eq!(name(ada()), "Ada Lovelace");
        let unnamed = || VerifiedIdentity { name: Some(" \u{7} ".to_owned()), ..ada() };
        let family_name = Some("L.".to_owned());
        assert_eq!(name(VerifiedIdentity { family_name, ..unnamed() }), "Ada L.");
        let nameless = || VerifiedIdentity { given_name: None, ..unnamed() };
        assert_eq!(name(nameless()), "ada@example.com");
        assert_eq!(name(VerifiedIdentity { email: None, ..nameless() }), "s");
        let nothing = VerifiedIdentity { email: None, subject: "\u{7}".to_owned(), ..nameless() };
        assert_eq!(name(nothing), "the provider");
        let long = VerifiedIdentity { name: Some("ä".repeat(300)), ..ada() };
        assert_eq!(name(long), "ä".repeat(MAX_NAME_CHARS));
        assert_eq!(of(ada()).first_name.as_deref(), Some("Ada"));
    }
}
