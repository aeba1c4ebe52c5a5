//! The registration at an OpenID provider: what is accepted of it, and how its secret is kept.

use jeton_core::{
    TenantId,
    entry::Entry,
    secret::{DerivationKeyId, Mac as _, SecretText},
};

use super::{
    Directory,
    commit::Edit,
    load::key,
    profiles::all,
    record::{IdentityProfile, OidcProfile, ProfileKind, Stored as _},
};
use crate::{
    error::{Error, Result},
    keys::ring::{Keyring, Sealed},
    store::Change,
};

#[derive(Clone, Debug, Default)]
pub struct OidcPatch {
    pub issuer: Option<String>,
    pub client_id: Option<String>,
    /// The inner `None`: none any more.
    pub client_secret: Option<Option<SecretText>>,
    pub redirect_uris: Option<Vec<String>>,
    /// Empty: the default.
    pub scopes: Option<Vec<String>>,
}

/// What is asked of a provider if nothing else is said (OpenID Connect Core 1.0 §5.4).
pub(super) const DEFAULT_SCOPES: [&str; 3] = ["openid", "email", "profile"];

/// The scope that makes a request one of OpenID Connect.
const OPENID: &str = "openid";

// === impl Directory ===

impl Directory {
    /// The secret of this service at a profile's provider; `None`: it is a public client there.
    pub fn provider_secret(&self, profile: &IdentityProfile) -> Result<Option<SecretText>> {
        open(profile, &self.core.ring)
    }

    /// Seals the secrets of a tenant's profiles again that are sealed under an old master key.
    pub(super) async fn reseal_profiles(&self, tenant: &TenantId) -> Result<()> {
        for id in self.all_ids(&all(tenant)).await? {
            let Some(profile) = self.fresh::<IdentityProfile>(&key::<IdentityProfile>(tenant, &id)).await? else {
                continue;
            };
            if sealed_by(&profile).is_none_or(|key| key == self.core.ring.current()) {
                continue;
            }
            self.edit(&key::<IdentityProfile>(tenant, &id), None, |mut profile: IdentityProfile| {
                if let Some(secret) = self.provider_secret(&profile)? {
                    seal(&mut profile, Some(&secret), &self.core.ring)?;
                }
                let entries = vec![Entry::changed(profile.ident())];
                Ok(Edit { record: profile, change: Change::new(tenant.clone(), self.now()), entries })
            })
            .await?;
        }
        Ok(())
    }
}

/// Whether a patch points a profile elsewhere and says nothing of its secret. A caller that may write the profile would
/// otherwise have the secret, which nobody is shown, sent to a host of their own.
pub(super) fn leaves_secret_behind(oidc: &OidcProfile, patch: &OidcPatch) -> bool {
    let moves = |patch: &Option<String>, now: &String| patch.as_ref().is_some_and(|new| new != now);
    let is_elsewhere = moves(&patch.issuer, &oidc.issuer) || moves(&patch.client_id, &oidc.client_id);
    is_elsewhere && oidc.sealed_secret.is_some() && patch.client_secret.is_none()
}

/// Changes what the patch names. Returns the secret to seal, if it changes.
pub(super) fn change_provider(oidc: &mut OidcProfile, patch: OidcPatch) -> Option<Option<SecretText>> {
    if let Some(issuer) = patch.issuer {
        oidc.issuer = issuer;
    }
    if let Some(client_id) = patch.client_id {
        oidc.client_id = client_id;
    }
    if let Some(uris) = patch.redirect_uris {
        oidc.redirect_uris = uris;
    }
    match patch.scopes {
        Some(scopes) if scopes.is_empty() => oidc.scopes = DEFAULT_SCOPES.map(str::to_owned).to_vec(),
        Some(scopes) => oidc.scopes = scopes,
        None => {}
    }
    patch.client_secret
}

pub(super) fn check_provider(oidc: &OidcProfile, violate: &mut impl FnMut(String, &str)) {
    if !is_issuer(&oidc.issuer) {
        violate("oidc.issuer".to_owned(), "must be an https URL without query, fragment and user");
    }
    if oidc.client_id.is_empty() {
        violate("oidc.client_id".to_owned(), "must be set");
    }
    if oidc.redirect_uris.is_empty() {
        violate("oidc.redirect_uris".to_owned(), "must have at least 1 item");
    }
    for (i, _) in oidc.redirect_uris.iter().enumerate().filter(|(_, uri)| !is_redirect_uri(uri)) {
        let description = "must be an https URL, or an http one on the local host, without fragment and user";
        violate(format!("oidc.redirect_uris[{i}]"), description);
    }
    if !oidc.scopes.iter().any(|scope| scope == OPENID) {
        violate("oidc.scopes".to_owned(), "must contain openid");
    }
}

/// OpenID Connect Discovery 1.0 §3: https, with neither query nor fragment.
pub(super) fn is_issuer(text: &str) -> bool {
    parse(text).is_some_and(|uri| uri.scheme_str() == Some("https") && uri.query().is_none() && !text.contains('?'))
}

/// RFC 6749 §3.1.2: absolute, without fragment. Plain http only to the machine itself (RFC 8252 §7.3).
pub(super) fn is_redirect_uri(text: &str) -> bool {
    parse(text).is_some_and(|uri| match uri.scheme_str() {
        Some("https") => true,
        Some("http") => uri.host().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host)),
        _ => false,
    })
}

/// An absolute URL with a host, without fragment and user.
pub(super) fn parse(text: &str) -> Option<http::Uri> {
    // The parser drops fragments.
    let uri: http::Uri = text.parse().ok().filter(|_| !text.contains('#'))?;
    let authority = uri.authority()?.as_str();
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    (has_host && !authority.contains('@') && !authority.ends_with(':')).then_some(uri)
}

/// Seals the secret at a profile's provider.
pub(super) fn seal(profile: &mut IdentityProfile, secret: Option<&SecretText>, ring: &Keyring) -> Result<()> {
    let context = context(profile);
    let ProfileKind::Oidc(oidc) = &mut profile.kind else { return Ok(()) };
    let purpose = Sealed::ProviderSecret(oidc.destination());
    let sealed = secret.map(|secret| ring.seal(purpose, &context, secret.expose().as_bytes()));
    let sealed =
        sealed.transpose().map_err(|source| Error::internal("seal a provider's secret").with_source(source))?;
    oidc.sealed_secret = sealed.map(Into::into);
    Ok(())
}

pub(super) fn open(profile: &IdentityProfile, ring: &Keyring) -> Result<Option<SecretText>> {
    let ProfileKind::Oidc(oidc) = &profile.kind else { return Ok(None) };
    let Some(sealed) = &oidc.sealed_secret else { return Ok(None) };
    let plain = ring.open(Sealed::ProviderSecret(oidc.destination()), &context(profile), sealed);
    let text = plain.and_then(|plain| String::from_utf8(plain).ok());
    let failed = || {
        let attempted = "open a provider's sealed secret: is its master key still configured, and was it sealed for \
                         this issuer and client id?";
        Error::internal(attempted)
    };
    text.map(|text| Some(SecretText::new(text))).ok_or_else(failed)
}

pub(super) fn sealed_by(profile: &IdentityProfile) -> Option<DerivationKeyId> {
    match &profile.kind {
        ProfileKind::Oidc(oidc) => oidc.sealed_secret.as_ref().and_then(|sealed| Keyring::sealed_by(sealed)),
        ProfileKind::Password(_) => None,
    }
}

/// The record that a sealed secret belongs to.
fn context(profile: &IdentityProfile) -> Vec<u8> {
    format!("{}/{}", profile.tenant, profile.id).into_bytes()
}

#[cfg(test)]
mod tests {
    use jeton_core::{IdentityProfileId, Time};

    use super::*;
    use crate::{ambient::Fresh as _, directory::record::State, keys::master::MasterKey};

    #[test]
    fn an_issuer_is_an_https_url_that_discovery_can_begin_with() {
        for good in ["https://idp.example.com", "https://idp.example.com/realms/a", "https://idp:8443/"] {
            assert!(is_issuer(good), "{good}");
        }
        for bad in [
            "",
            "idp.example.com",
            "/realms",
            "http://idp.example.com",
            "https://",
            "https://u@idp.example.com",
            "https://idp.example.com?",
            "https://idp.example.com?a=b",
            "https://idp.example.com#a",
            "https://idp.example.com:",
            "https://idp example.com",
        ] {
            assert!(!is_issuer(bad), "{bad}");
        }
    }

    /// Whatever else changes a record, the store's backup included: the secret goes only where it was meant to.
    #[test]
    fn a_secret_does_not_open_for_another_destination_or_profile() {
        let ring = Keyring::new(&[MasterKey::new([7; 32])]).unwrap();
        let oidc = OidcProfile { issuer: "https://a".into(), client_id: "jeton".into(), ..OidcProfile::default() };
        let mut profile = IdentityProfile {
            id: IdentityProfileId::random().unwrap(),
            tenant: "default".parse().unwrap(),
            display_name: String::new(),
            kind: ProfileKind::Oidc(oidc),
            state: State::Enabled,
            created: Time::from_secs(0),
            updated: Time::from_secs(0),
            version: 1,
        };
        seal(&mut profile, Some(&SecretText::new("secret".to_owned())), &ring).unwrap();
        let with = |change: &dyn Fn(&mut IdentityProfile)| {
            let mut changed = profile.clone();
            change(&mut changed);
            open(&changed, &ring).map(|secret| secret.unwrap().expose().to_owned())
        };
        let change = |change: &dyn Fn(&mut OidcProfile)| {
            with(&|profile| {
                let ProfileKind::Oidc(oidc) = &mut profile.kind else { panic!("not one of OpenID") };
                change(oidc);
            })
        };
        assert_eq!(change(&|_| {}).unwrap(), "secret");
        assert_eq!(change(&|oidc| oidc.scopes.push("email".into())).unwrap(), "secret");
        change(&|oidc| oidc.issuer = "https://b".into()).unwrap_err();
        change(&|oidc| oidc.client_id = "another".into()).unwrap_err();
        with(&|profile| profile.id = IdentityProfileId::random().unwrap()).unwrap_err();
        with(&|profile| profile.tenant = "other".parse().unwrap()).unwrap_err();
    }

    #[test]
    fn a_redirect_uri_is_encrypted_or_local() {
        for good in [
            "https://app.example.com/cb?x=y",
            "http://localhost/cb",
            "http://localhost:3000/cb",
            "http://127.0.0.1:8080",
            "http://[::1]:8080/cb",
        ] {
            assert!(is_redirect_uri(good), "{good}");
        }
        for bad in [
            "http://app.example.com/cb",
            "http://localhost.example.com",
            "http://u@localhost",
            "myapp://cb",
            "/cb",
            "https://app.example.com/cb#a",
        ] {
            assert!(!is_redirect_uri(bad), "{bad}");
        }
    }
}
