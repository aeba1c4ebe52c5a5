//! Identity profiles: in which ways the members of a tenant sign in.

use std::sync::Arc;

use jeton_contract::{reason::Reason, validate::Violation};
use jeton_core::{IdentityProfileId, Position, TenantId, entry::Entry};

use super::{
    Directory,
    caller::require_unconfined,
    commit::{Edit, MAX_RACES, Repeat, refused},
    filters::any,
    load::key,
    page::{Page, PageRequest},
    permit::Act,
    provider::{DEFAULT_SCOPES, OidcPatch, change_provider, check_provider, leaves_secret_behind, seal},
    record::{
        IdentityProfile, MAX_IDENTITY_PROFILES, OidcProfile, PasswordProfile, ProfileKind, State, Stored as _,
        UsernameFormat, check_etag,
    },
    tally::Tally,
};
use crate::{
    ambient::Fresh as _,
    error::{Error, Result},
    keys::ring::Keyring,
    notation::filter::{Field, Filter, TEXT_OPS, Value},
    store::{Change, Index, Kind, Put, Refusal, Written},
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

/// The fields that identity profiles can be filtered by.
pub const FIELDS: &[Field] = &[Field { name: "display_name", ops: TEXT_OPS, value: any }];

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

fn other_kind(field: &str) -> Error {
    let message = "the kind of an identity profile never changes";
    Error::new(Reason::FieldImmutable, message).with_violation(format!("identity_profile.{field}"), message)
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

pub(super) fn all(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::IdentityProfile, parent: None }
}

/// The identities of a profile.
pub(super) fn identities_of(tenant: &TenantId, profile: &IdentityProfileId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Identity, parent: Some(profile.to_string()) }
}
