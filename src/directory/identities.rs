//! Identities: how members sign in, and how people become members.

use std::sync::Arc;

use jeton_contract::{email::is_email, reason::Reason};
use jeton_core::{
    Ident, IdentityProfileId, MemberId, Position, TenantId, Time,
    entry::{Effect, Entry},
};

use super::{
    Directory,
    commit::Edit,
    load::key,
    member_patch::{self},
    members::require_not_deleted,
    names::rename,
    permit::Act,
    profiles::identities_of,
    record::{
        self, Identity, IdentityKind, IdentityProfile, Member, OidcIdentity, PasswordHash, PasswordIdentity,
        ProfileKind, State, Stored as _, UsernameFormat, normalized,
    },
};
use crate::{
    error::{Error, Result},
    store::{Change, Kind, Unique},
};

/// A password to set.
#[derive(Clone, Debug)]
pub struct NewPassword {
    /// The username, if it is the first one or another.
    pub username: Option<String>,
    pub hash: PasswordHash,
    /// What the password must still be when this one takes its place, if the member proved that it knows it.
    pub replaces: Option<PasswordHash>,
    /// The one token of the member that stays alive.
    pub except: Option<Ident>,
}

/// As whom a profile is to know a member.
#[derive(Clone, Debug)]
pub enum NewIdentity {
    Username(String),
    /// A subject of the profile's provider.
    Subject(String),
}

// === impl Act ===

impl Act {
    /// Makes a profile know a member. It may do so already, but not as somebody else.
    pub async fn link_identity(
        &self,
        reference: &str,
        profile: &str,
        new: &NewIdentity,
    ) -> Result<(Arc<Member>, Position)> {
        let member = self.reachable_member(reference).await?;
        let profile = self.reachable_profile(profile).await?;
        let kind = match (new, &profile.kind) {
            (NewIdentity::Username(username), ProfileKind::Password(_)) => {
                let username = check_username("username", &profile, username)?;
                IdentityKind::Password(PasswordIdentity { username, hash: None, password_set: None })
            }
            (NewIdentity::Subject(subject), ProfileKind::Oidc(oidc)) => {
                IdentityKind::Oidc(OidcIdentity { issuer: oidc.issuer.clone(), subject: subject.clone() })
            }
            (NewIdentity::Username(_), ProfileKind::Oidc(_)) => {
                return Err(Error::field("username", "must not be set for an identity profile of an OpenID provider"));
            }
            (NewIdentity::Subject(_), ProfileKind::Password(_)) => {
                return Err(Error::field("subject", "must not be set for an identity profile with passwords"));
            }
        };
        let identity = Identity { profile: profile.id.clone(), kind };
        self.directory
            .edit_identities(&member, &profile, |member, _| {
                match member.identity(&profile.id) {
                    None => put_identity(member, identity.clone()),
                    Some(own) if own.unique() == identity.unique() => {}
                    Some(_) => {
                        let message = "the member has another identity in the identity profile; unlink it first";
                        return Err(Error::new(Reason::IdentityTaken, message));
                    }
                }
                Ok(Entry::changed(member.ident()))
            })
            .await
    }

    /// Takes a member's way in through a profile. What it obtained is dead, whichever way it came.
    pub async fn unlink_identity(&self, reference: &str, profile: &str) -> Result<(Arc<Member>, Position)> {
        let member = self.reachable_member(reference).await?;
        let profile = self.reachable_profile(profile).await?;
        self.directory
            .edit_identities(&member, &profile, |member, _| {
                let Some(identities) = member.identities.as_mut() else { return Ok(Entry::changed(member.ident())) };
                let before = identities.len();
                identities.retain(|own| own.profile != profile.id);
                let is_gone = identities.len() < before;
                Ok(if is_gone { Entry::revoke(member.ident()) } else { Entry::changed(member.ident()) })
            })
            .await
    }
}

// === impl Directory ===

impl Directory {
    /// The enabled member that has a username in a profile.
    pub async fn member_by_username(
        &self,
        tenant: &TenantId,
        profile: &IdentityProfileId,
        username: &str,
    ) -> Result<Option<(Arc<Member>, PasswordIdentity)>> {
        let Some(member) = self.holder_of(tenant, &record::username(profile, username)).await? else {
            return Ok(None);
        };
        let own = member.identity(profile).and_then(|identity| match &identity.kind {
            IdentityKind::Password(own) if normalized(&own.username) == normalized(username) => Some(own.clone()),
            IdentityKind::Password(_) | IdentityKind::Oidc(_) => None,
        });
        Ok(own.map(|own| (member, own)))
    }

    async fn holder_of(&self, tenant: &TenantId, name: &Unique) -> Result<Option<Arc<Member>>> {
        let Some(id) = self.holder_id(tenant, name).await? else { return Ok(None) };
        Ok(self.member(tenant, &id).await?.filter(|member| member.state == State::Enabled))
    }

    /// The member that has a name among identities.
    pub(super) async fn holder_id(&self, tenant: &TenantId, name: &Unique) -> Result<Option<MemberId>> {
        let Some(holder) = self.core.store.holder(tenant, name).await? else { return Ok(None) };
        holder.parse().map(Some).map_err(|_| Error::internal("read the holder of an identity"))
    }

    /// Sets the password of a member in a profile. One that replaces another ends all of the member's tokens but
    /// `new.except`.
    pub async fn set_password(
        &self,
        member: &Member,
        profile: &IdentityProfile,
        new: &NewPassword,
    ) -> Result<(Arc<Member>, Position)> {
        let username = new.username.as_deref().map(|username| check_username("username", profile, username));
        let username = username.transpose()?;
        self.edit_identities(member, profile, |member, now| {
            let before = match member.identity(&profile.id).map(|own| &own.kind) {
                Some(IdentityKind::Password(own)) => Some(own.clone()),
                Some(IdentityKind::Oidc(_)) | None => None,
            };
            let old_hash = before.as_ref().and_then(|before| before.hash.clone());
            if new.replaces.is_some() && new.replaces != old_hash {
                return Err(Error::new(Reason::ConcurrentUpdate, "the password was changed meanwhile"));
            }
            let username = username.clone().or_else(|| before.map(|before| before.username));
            let username = username.ok_or_else(|| {
                Error::field("username", "must be set: the member has no username in the identity profile yet")
            })?;
            let own = PasswordIdentity { username, hash: Some(new.hash.clone()), password_set: Some(now) };
            put_identity(member, Identity { profile: profile.id.clone(), kind: IdentityKind::Password(own) });
            Ok(match old_hash {
                Some(_) => revoke_but(member, new.except.clone()),
                None => Entry::changed(member.ident()),
            })
        })
        .await
    }

    /// Writes the same password under other parameters; nothing else changes. `old` must still be the stored hash.
    pub async fn rehash(
        &self,
        member: &Member,
        profile: &IdentityProfile,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<()> {
        self.edit_identities(member, profile, |member, _| {
            let own = member.identities.iter_mut().flatten().find(|own| own.profile == profile.id);
            match own.map(|own| &mut own.kind) {
                Some(IdentityKind::Password(own)) if own.hash.as_ref() == Some(old) => own.hash = Some(new.clone()),
                Some(IdentityKind::Password(_) | IdentityKind::Oidc(_)) | None => {}
            }
            Ok(Entry::changed(member.ident()))
        })
        .await
        .map(|_| ())
    }

    /// Edits a member's identity in a profile, with its name and its place in the profile's list.
    pub(super) async fn edit_identities(
        &self,
        member: &Member,
        profile: &IdentityProfile,
        edit: impl Fn(&mut Member, Time) -> Result<Entry>,
    ) -> Result<(Arc<Member>, Position)> {
        let tenant = &member.tenant;
        self.edit(&key::<Member>(tenant, &member.id), None, |mut member: Member| {
            require_not_deleted(&member)?;
            let mut change = Change::new(tenant.clone(), self.now());
            let before = member_patch::names(&member);
            let entry = edit(&mut member, change.now)?;
            let id = member.id.to_string();
            rename(&mut change, &id, before, member_patch::names(&member));
            let place = (identities_of(tenant, &profile.id), id);
            if member.identity(&profile.id).is_some() {
                change.index.push(place);
                // A profile that is deleted meanwhile gets no identity.
                change.require.push((Kind::IdentityProfile, profile.id.to_string(), profile.version));
            } else {
                change.unindex.push(place);
            }
            member.updated = change.now;
            Ok(Edit { record: member, change, entries: vec![entry] })
        })
        .await
    }
}

/// The username as it is kept, if the profile allows it.
pub fn check_username(field: &str, profile: &IdentityProfile, username: &str) -> Result<String> {
    let username = username.trim();
    let is_email_wanted = match &profile.kind {
        ProfileKind::Password(password) => password.username_format == UsernameFormat::Email,
        ProfileKind::Oidc(_) => false,
    };
    if username.is_empty() || username.chars().any(char::is_control) {
        return Err(Error::field(field, "must be a text without control characters"));
    }
    if is_email_wanted && !is_email(username) {
        return Err(Error::field(field, "must be an e-mail address in this identity profile"));
    }
    Ok(username.to_owned())
}

/// Puts an identity in the place of the member's own in its profile. Whoever can sign in stands for no address any more.
pub(super) fn put_identity(member: &mut Member, identity: Identity) {
    member.invited = None;
    let identities = member.identities.get_or_insert_default();
    match identities.iter_mut().find(|own| own.profile == identity.profile) {
        Some(own) => *own = identity,
        None => identities.push(identity),
    }
}

/// Ends all of a member's tokens but one.
fn revoke_but(member: &Member, except: Option<Ident>) -> Entry {
    Entry { ident: member.ident(), effect: Effect::Revoke { except, until: Time::NEVER }, effective: None }
}
