//! What a caller says of a member, and what it makes of the record.

use std::collections::BTreeMap;

use jeton_core::{MemberId, TenantId};

use super::{
    members::all,
    names::{change_data, foreign_id, read_foreign_id, rename},
    record::{Identity, Member, Profile, State, invited, normalized},
};
use crate::{
    ambient::Fresh as _,
    error::{Error, Result},
    store::{Change, Index, Kind, Unique},
};

/// What a caller says of a member; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct MemberPatch {
    /// Empty: none.
    pub foreign_id: Option<String>,
    pub display_name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    /// Whether the address is known to be the member's. A new address is not, unless this says so.
    pub email_verified: Option<bool>,
    pub phone: Option<String>,
    pub title: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    pub metadata: Option<BTreeMap<String, String>>,
    /// Single keys of the metadata to set, or to remove.
    pub metadata_keys: Vec<(String, Option<String>)>,
}

// === impl MemberPatch ===

impl MemberPatch {
    /// Whether it changes what members do not decide about themselves.
    pub(super) fn is_beyond_the_member(&self) -> bool {
        let Self { foreign_id, email_verified, labels, metadata, metadata_keys, .. } = self;
        foreign_id.is_some()
            || email_verified.is_some()
            || labels.is_some()
            || metadata.is_some()
            || !metadata_keys.is_empty()
    }
}

/// A new member, with what `change` has to write of it besides its record.
pub(super) fn new_member(patch: MemberPatch, change: &mut Change) -> Result<Member> {
    let mut member = Member {
        id: MemberId::random()?,
        tenant: change.tenant.clone(),
        state: State::Enabled,
        profile: Profile::default(),
        created: change.now,
        updated: change.now,
        deleted: None,
        identities: None,
        email_verified: None,
        invited: None,
        version: 1,
    };
    apply(&mut member, patch, change)?;
    if member.profile.display_name.is_empty() {
        return Err(Error::field("member.display_name", "must be set"));
    }
    change.index.push((all(&member.tenant), member.id.to_string()));
    Ok(member)
}

pub(super) fn apply(member: &mut Member, patch: MemberPatch, change: &mut Change) -> Result<()> {
    let before = names(member);
    let email_before = with_email_of(member);
    let profile = &mut member.profile;
    if let Some(name) = patch.display_name {
        if name.is_empty() {
            return Err(Error::field("member.display_name", "must be set"));
        }
        profile.display_name = name;
    }
    if let Some(foreign) = patch.foreign_id {
        profile.foreign_id = read_foreign_id("member.foreign_id", foreign)?;
    }
    let texts = [
        (&mut profile.first_name, patch.first_name),
        (&mut profile.last_name, patch.last_name),
        (&mut profile.email, patch.email),
        (&mut profile.phone, patch.phone),
        (&mut profile.title, patch.title),
    ];
    for (own, new) in texts {
        if let Some(new) = new {
            *own = new;
        }
    }
    if let Some(labels) = patch.labels {
        profile.labels = labels;
    }
    change_data(&mut profile.metadata, patch.metadata, patch.metadata_keys);
    let id = member.id.to_string();
    rename(change, &id, before, names(member));
    let email = with_email_of(member);
    if email != email_before {
        // Nobody has shown that the new one is the member's.
        member.email_verified = None;
        change.unindex.extend(email_before.map(|index| (index, id.clone())));
        change.index.extend(email.map(|index| (index, id)));
    }
    if let Some(verified) = patch.email_verified {
        if verified && member.profile.email.is_empty() {
            return Err(Error::field("member.email_verified", "must not be set without an e-mail address"));
        }
        member.email_verified = Some(verified);
    }
    Ok(())
}

pub(super) fn names(member: &Member) -> Vec<Unique> {
    let foreign = member.profile.foreign_id.iter().map(|id| foreign_id(Member::FOREIGN_IDS, id));
    let invitation = Some(&member.profile.email).filter(|email| member.invited == Some(true) && !email.is_empty());
    let invitation = invitation.map(|email| invited(email));
    foreign.chain(member.identities().iter().map(Identity::unique)).chain(invitation).collect()
}

/// The members with an e-mail address, in whatever case.
pub(super) fn with_email(tenant: &TenantId, email: &str) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Member, parent: Some(format!("email:{}", normalized(email))) }
}

/// The list of a member's e-mail address, if it has one.
pub(super) fn with_email_of(member: &Member) -> Option<Index> {
    let email = Some(&member.profile.email).filter(|email| !email.is_empty());
    email.map(|email| with_email(&member.tenant, email))
}
