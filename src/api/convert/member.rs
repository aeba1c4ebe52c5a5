//! Members on the wire, and their ways to sign in.

use jeton_core::secret::SecretText;

use super::{Mask, required, set, timestamp};
use crate::{
    api::wire,
    directory::{
        identities::NewIdentity,
        member_patch::MemberPatch,
        members::{FIELDS, MemberQuery},
        record::{Identity, IdentityKind, Member, Profile, State, etag},
    },
    error::{Error, Result},
    issuer::credentials::SetPassword,
    notation::filter::Filter,
};

pub fn create(message: wire::CreateMemberRequest) -> MemberPatch {
    patch(&message.member.unwrap_or_default(), &Mask::CREATION)
}

/// Which member changes, from which etag, and what of it.
pub fn update(message: wire::UpdateMemberRequest) -> Result<(String, String, MemberPatch)> {
    let member = message.member.unwrap_or_default();
    let patch = patch(&member, &Mask::new(message.update_mask.as_ref(), "Member", CHANGEABLE)?);
    Ok((required("member.member_id", member.member_id)?, member.etag, patch))
}

pub fn query(message: &wire::ListMembersRequest) -> Result<MemberQuery> {
    Ok(MemberQuery { filter: Filter::parse(&message.filter, FIELDS)?, show_deleted: message.show_deleted })
}

pub fn password(message: wire::SetPasswordRequest) -> SetPassword {
    SetPassword {
        member: message.member_id,
        profile: message.identity_profile_id,
        username: set(message.username),
        password: SecretText::new(message.password),
        current: set(message.current_password).map(SecretText::new),
    }
}

/// Which member, by which profile, and the identity that is linked.
pub fn link(message: wire::LinkIdentityRequest) -> Result<(String, String, NewIdentity)> {
    Ok((message.member_id, message.identity_profile_id, new_identity(message.identity)?))
}

fn new_identity(identity: Option<wire::link_identity_request::Identity>) -> Result<NewIdentity> {
    use wire::link_identity_request::Identity as Wire;
    match identity {
        Some(Wire::Username(username)) => Ok(NewIdentity::Username(username)),
        Some(Wire::Subject(subject)) => Ok(NewIdentity::Subject(subject)),
        None => Err(Error::field("identity", "must be set")),
    }
}

/// The fields that an update mask can name.
const CHANGEABLE: &[&str] = &[
    "foreign_id",
    "display_name",
    "first_name",
    "last_name",
    "email",
    "email_verified",
    "phone",
    "title",
    "labels",
    "metadata",
    "metadata.",
];

pub fn patch(member: &wire::Member, mask: &Mask<'_>) -> MemberPatch {
    let text = |name: &str, text: &String| mask.changes(name, !text.is_empty()).then(|| text.clone());
    MemberPatch {
        foreign_id: text("foreign_id", &member.foreign_id),
        display_name: text("display_name", &member.display_name),
        first_name: text("first_name", &member.first_name),
        last_name: text("last_name", &member.last_name),
        email: text("email", &member.email),
        email_verified: mask
            .changes("email_verified", member.email_verified.is_some())
            .then_some(member.email_verified.unwrap_or_default()),
        phone: text("phone", &member.phone),
        title: text("title", &member.title),
        labels: mask.changes("labels", !member.labels.is_empty()).then(|| member.labels.clone()),
        metadata: mask.changes("metadata", !member.metadata.is_empty()).then(|| member.metadata.clone()),
        metadata_keys: mask.keys("metadata").map(|key| (key.to_owned(), member.metadata.get(key).cloned())).collect(),
    }
}

/// The member, without what proves that it is itself.
pub fn to_wire(member: &Member) -> wire::Member {
    let state = match member.state {
        State::Enabled => wire::MemberState::Enabled,
        State::Disabled => wire::MemberState::Disabled,
        State::Deleted => wire::MemberState::Deleted,
    };
    let Profile { foreign_id, display_name, first_name, last_name, email, phone, title, labels, metadata } =
        member.profile.clone();
    wire::Member {
        member_id: member.id.to_string(),
        tenant_id: member.tenant.to_string(),
        foreign_id: foreign_id.unwrap_or_default(),
        display_name,
        first_name,
        last_name,
        email,
        phone,
        title,
        state: state.into(),
        labels,
        metadata,
        create_time: Some(timestamp(member.created)),
        update_time: Some(timestamp(member.updated)),
        delete_time: member.deleted.map(timestamp),
        etag: etag(member.version),
        identities: member.identities().iter().map(identity).collect(),
        email_verified: Some(member.email_verified.unwrap_or_default()),
        invited: member.invited.unwrap_or_default(),
    }
}

fn identity(identity: &Identity) -> wire::Identity {
    let identity_profile_id = identity.profile.to_string();
    match &identity.kind {
        IdentityKind::Password(own) => wire::Identity {
            identity_profile_id,
            username: own.username.clone(),
            password_set_time: own.password_set.map(timestamp),
            ..Default::default()
        },
        IdentityKind::Oidc(own) => wire::Identity {
            identity_profile_id,
            subject: own.subject.clone(),
            issuer: own.issuer.clone(),
            ..Default::default()
        },
    }
}
