//! Identity profiles: in which ways the members of a tenant sign in.

use std::sync::Arc;

use super::{
    Directory,
    accounts::any,
    caller::require_unconfined,
    commit::{Edit, MAX_RACES, Repeat, refused},
    load::key,
    page::{Page, PageRequest},
    permit::Act,
    record::{
        IdentityProfile, MAX_IDENTITY_PROFILES, OidcProfile, PasswordProfile, ProfileKind, State, Stored as _,
        UsernameFormat, check_etag,
    },
    tally::Tally,
};
use crate::{
    ambient::Fresh as _,
    keys::ring::{Keyring, Sealed},
    revocation::entry::Entry,
    store::{Change, Index, Kind, Put, Refusal, Written},
    token::{
        Error, IdentityProfileId, Position, Reason, Result, TenantId,
        error::Violation,
        filter::{Field, Filter, TEXT_OPS, Value},
        secret::{DerivationKeyId, Mac as _, SecretText},
    },
};

/// What a caller says of an identity profile; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    pub display_name: Option<String>,
    pub kind: Option<KindPatch>,
}

/// What a caller says of the kind of a profile, which is fixed by its creation.
#[derive(Clone, Debug)]
pub enum KindPatch {
    Password(PasswordPatch),
    Oidc(OidcPatch),
}

#[derive(Clone, Debug, Default)]
pub struct PasswordPatch {
    pub username_format: Option<UsernameFormat>,
    pub one_time_passwords: Option<bool>,
}

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

/// The fields that identity profiles can be filtered by.
pub const FIELDS: &[Field] = &[Field { name: "display_name", ops: TEXT_OPS, value: any }];

/// What is asked of a provider if nothing else is said (OpenID Connect Core 1.0 §5.4).
const DEFAULT_SCOPES: [&str; 3] = ["openid", "email", "profile"];
/// The scope that makes a request one of OpenID Connect.
const OPENID: &str = "openid";
/// What it means that there are identities of a profile that is to go.
const IN_USE: Refusal =
    Refusal::new(Reason::IdentityProfileInUse, "members still sign in through the identity profile");
/// What the tally of a tenant's profiles is called.
const TALLY: &str = "identity_profiles";

// === impl Act ===

impl Act {
    /// The identity profile of an id, if the caller reaches it. Confined callers reach none: members are the tenant's.
    pub async fn reachable_profile(&self, id: &str) -> Result<Arc<IdentityProfile>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        require_unconfined(caller)?;
        let not_found = || Error::not_found(IdentityProfile::NAME, id);
        let profile_id: IdentityProfileId = id.parse().map_err(|_| not_found())?;
        self.directory.profile(tenant, &profile_id).await?.ok_or_else(not_found)
    }

    pub async fn create_profile(
        &self,
        patch: ProfilePatch,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<IdentityProfile>, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        require_unconfined(caller)?;
        self.directory.existing_tenant(tenant).await?;
        let now = self.directory.now();
        let kind = match &patch.kind {
            Some(KindPatch::Password(_)) => ProfileKind::Password(PasswordProfile {
                username_format: UsernameFormat::default(),
                one_time_passwords: false,
            }),
            Some(KindPatch::Oidc(_)) => {
                let scopes = DEFAULT_SCOPES.map(str::to_owned).to_vec();
                ProfileKind::Oidc(OidcProfile { scopes, ..OidcProfile::default() })
            }
            None => return Err(Error::field("identity_profile.kind", "must be set")),
        };
        let mut profile = IdentityProfile {
            id: IdentityProfileId::random()?,
            tenant: tenant.clone(),
            display_name: String::new(),
            kind,
            state: State::Enabled,
            created: now,
            updated: now,
            version: 1,
        };
        apply(&mut profile, patch, &self.directory.core.ring)?;
        for _ in 0..MAX_RACES {
            let mut change = Change::new(tenant.clone(), now);
            let tally = self.directory.profile_tally(tenant).await?;
            let is_repeat = match repeat {
                Some(repeat) => {
                    self.directory.core.store.remembered(tenant, repeat.key(tenant, caller), now).await?.is_some()
                }
                None => false,
            };
            if tally.count >= MAX_IDENTITY_PROFILES && !is_repeat {
                let message = format!("a tenant has at most {MAX_IDENTITY_PROFILES} identity profiles");
                return Err(Error::new(Reason::IdentityProfileLimit, message));
            }
            change.puts.push(tally.put(tally.count + 1));
            let id = profile.id.to_string();
            change.index.push((all(tenant), id.clone()));
            match self.directory.create(caller, profile.clone(), id, change, repeat).await {
                // Another profile of the tenant came or went: the tally is another one.
                Err(error) if error.reason() == Reason::ConcurrentUpdate => {}
                // A repeat may come after the profile's end.
                Ok((made, _)) if made.state == State::Deleted => {
                    return Err(Error::not_found(IdentityProfile::NAME, made.id.to_string()));
                }
                done => return done,
            }
        }
        Err(outraced())
    }

    pub async fn update_profile(
        &self,
        id: &str,
        etag: &str,
        patch: ProfilePatch,
    ) -> Result<(Arc<IdentityProfile>, Position)> {
        let tenant = self.tenant();
        let found = self.reachable_profile(id).await?;
        self.directory
            .edit(&key::<IdentityProfile>(tenant, &found.id), Some(etag), |mut profile: IdentityProfile| {
                require_not_deleted(&profile)?;
                apply(&mut profile, patch.clone(), &self.directory.core.ring)?;
                profile.updated = self.directory.now();
                let entries = vec![Entry::changed(profile.ident())];
                Ok(Edit { record: profile, change: Change::new(tenant.clone(), self.directory.now()), entries })
            })
            .await
    }

    /// Deletes a profile through which no member signs in.
    pub async fn delete_profile(&self, id: &str, etag: &str) -> Result<Position> {
        let tenant = self.tenant();
        let found = self.reachable_profile(id).await?;
        for _ in 0..MAX_RACES {
            let tally = self.directory.profile_tally(tenant).await?;
            let key = key::<IdentityProfile>(tenant, &found.id);
            let profile: Option<IdentityProfile> = self.directory.fresh(&key).await?;
            let mut profile = profile.ok_or_else(|| Error::not_found(IdentityProfile::NAME, id))?;
            require_not_deleted(&profile)?;
            check_etag(Some(etag), profile.version)?;
            let version = profile.version;
            let mut change = Change::new(tenant.clone(), self.directory.now());
            change.require_empty.push((identities_of(tenant, &profile.id), IN_USE));
            change.unindex.push((all(tenant), profile.id.to_string()));
            change.puts.push(tally.put(tally.count.saturating_sub(1)));
            profile.state = State::Deleted;
            profile.updated = change.now;
            if let ProfileKind::Oidc(oidc) = &mut profile.kind {
                oidc.sealed_secret = None;
            }
            change.puts.push(Put::new(key.kind, key.id, Some(version), profile.to_bytes()));
            let (written, position) = self.directory.commit(change, &[Entry::changed(profile.ident())]).await?;
            match written {
                Written::Done => return Ok(position),
                Written::Conflict(..) => {}
                other @ (Written::Taken(_) | Written::NotEmpty(_) | Written::Repeated { .. }) => {
                    return Err(refused(other));
                }
            }
        }
        Err(outraced())
    }

    /// Lists a tenant's identity profiles, by id.
    pub async fn list_profiles(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Arc<IdentityProfile>>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        require_unconfined(caller)?;
        self.directory
            .list_records(&all(tenant), page, |profile: &IdentityProfile| {
                profile.state != State::Deleted && filter.matches(|_, _| Value::Text(Some(&profile.display_name)))
            })
            .await
    }
}

// === impl Directory ===

impl Directory {
    /// The identity profile. Deleted ones are `None`.
    pub async fn profile(&self, tenant: &TenantId, id: &IdentityProfileId) -> Result<Option<Arc<IdentityProfile>>> {
        Ok(self.find::<IdentityProfile>(tenant, id).await?.filter(|profile| profile.state != State::Deleted))
    }

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

    async fn profile_tally(&self, tenant: &TenantId) -> Result<Tally> {
        let tally = self.read_tallies(tenant, vec![TALLY.to_owned()]).await?.pop();
        tally.ok_or_else(|| Error::internal("read the tally of identity profiles"))
    }
}

fn apply(profile: &mut IdentityProfile, patch: ProfilePatch, ring: &Keyring) -> Result<()> {
    let mut violations = Vec::new();
    let mut violate = |field: String, description: &str| {
        violations.push(Violation { field: format!("identity_profile.{field}"), description: description.to_owned() });
    };
    if let Some(name) = patch.display_name {
        profile.display_name = name;
    }
    if profile.display_name.is_empty() {
        violate("display_name".to_owned(), "must be set");
    }
    let mut new_secret = None;
    match (&mut profile.kind, patch.kind) {
        (_, None) => {}
        (ProfileKind::Password(password), Some(KindPatch::Password(patch))) => {
            password.username_format = patch.username_format.unwrap_or(password.username_format);
            password.one_time_passwords = patch.one_time_passwords.unwrap_or(password.one_time_passwords);
        }
        (ProfileKind::Oidc(oidc), Some(KindPatch::Oidc(patch))) => {
            if leaves_secret_behind(oidc, &patch) {
                let description = "must be given again: it was given for another issuer or client_id";
                violate("oidc.client_secret".to_owned(), description);
            }
            new_secret = change_provider(oidc, patch);
            check_provider(oidc, &mut violate);
        }
        (ProfileKind::Password(_), Some(KindPatch::Oidc(_))) => return Err(other_kind("oidc")),
        (ProfileKind::Oidc(_), Some(KindPatch::Password(_))) => return Err(other_kind("password")),
    }
    if !violations.is_empty() {
        return Err(Error::fields(violations));
    }
    if let Some(secret) = new_secret {
        seal(profile, secret.as_ref(), ring)?;
    }
    Ok(())
}

/// Whether a patch points a profile elsewhere and says nothing of its secret. Whoever may write the profile would
/// otherwise have the secret, which nobody is shown, sent to a host of their own.
fn leaves_secret_behind(oidc: &OidcProfile, patch: &OidcPatch) -> bool {
    let moves = |patch: &Option<String>, now: &String| patch.as_ref().is_some_and(|new| new != now);
    let is_elsewhere = moves(&patch.issuer, &oidc.issuer) || moves(&patch.client_id, &oidc.client_id);
    is_elsewhere && oidc.sealed_secret.is_some() && patch.client_secret.is_none()
}

/// Changes what the patch names. Returns the secret to seal, if it changes.
fn change_provider(oidc: &mut OidcProfile, patch: OidcPatch) -> Option<Option<SecretText>> {
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

fn check_provider(oidc: &OidcProfile, violate: &mut impl FnMut(String, &str)) {
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
fn is_issuer(text: &str) -> bool {
    parse(text).is_some_and(|uri| uri.scheme_str() == Some("https") && uri.query().is_none() && !text.contains('?'))
}

/// RFC 6749 §3.1.2: absolute, without fragment. Plain http only to the machine itself (RFC 8252 §7.3).
fn is_redirect_uri(text: &str) -> bool {
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

fn other_kind(field: &str) -> Error {
    let message = "the kind of an identity profile never changes";
    Error::new(Reason::FieldImmutable, message).with_violation(format!("identity_profile.{field}"), message)
}

/// Seals the secret at a profile's provider.
fn seal(profile: &mut IdentityProfile, secret: Option<&SecretText>, ring: &Keyring) -> Result<()> {
    let context = context(profile);
    let ProfileKind::Oidc(oidc) = &mut profile.kind else { return Ok(()) };
    let purpose = Sealed::ProviderSecret(oidc.destination());
    let sealed = secret.map(|secret| ring.seal(purpose, &context, secret.expose().as_bytes()));
    let sealed =
        sealed.transpose().map_err(|source| Error::internal("seal a provider's secret").with_source(source))?;
    oidc.sealed_secret = sealed.map(Into::into);
    Ok(())
}

fn open(profile: &IdentityProfile, ring: &Keyring) -> Result<Option<SecretText>> {
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

fn sealed_by(profile: &IdentityProfile) -> Option<DerivationKeyId> {
    match &profile.kind {
        ProfileKind::Oidc(oidc) => oidc.sealed_secret.as_ref().and_then(|sealed| Keyring::sealed_by(sealed)),
        ProfileKind::Password(_) => None,
    }
}

/// The record that a sealed secret belongs to.
fn context(profile: &IdentityProfile) -> Vec<u8> {
    format!("{}/{}", profile.tenant, profile.id).into_bytes()
}

fn require_not_deleted(profile: &IdentityProfile) -> Result<()> {
    if profile.state == State::Deleted {
        return Err(Error::not_found(IdentityProfile::NAME, profile.id.to_string()));
    }
    Ok(())
}

fn outraced() -> Error {
    Error::new(Reason::ConcurrentUpdate, "too many concurrent changes of the tenant's identity profiles")
}

fn all(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::IdentityProfile, parent: None }
}

/// The identities of a profile.
pub(super) fn identities_of(tenant: &TenantId, profile: &IdentityProfileId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Identity, parent: Some(profile.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ambient::Time, keys::master::MasterKey};

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
