//! Identity profiles on the wire.

use super::{
    convert::{self, Mask, given},
    wire,
};
use crate::{
    directory::{
        identity::{IdentityProfile, ProfileKind, UsernameFormat},
        profiles::{KindPatch, OidcPatch, PasswordPatch, ProfilePatch},
        record::etag,
    },
    token::{Error, Result, secret::SecretText},
};

/// The fields that an update mask can name.
const CHANGEABLE: &[&str] = &[
    "display_name",
    "password",
    "password.username_format",
    "password.one_time_passwords",
    "oidc",
    "oidc.issuer",
    "oidc.client_id",
    "oidc.client_secret",
    "oidc.redirect_uris",
    "oidc.scopes",
];

/// The id and etag of the profile that an update names.
pub(super) fn named(profile: &wire::IdentityProfile) -> Result<(String, String)> {
    if profile.identity_profile_id.is_empty() {
        return Err(Error::field("identity_profile.identity_profile_id", "must be set"));
    }
    Ok((profile.identity_profile_id.clone(), profile.etag.clone()))
}

/// What a message changes; without a mask: all that is set.
pub(super) fn patch(profile: wire::IdentityProfile, mask: Option<&prost_types::FieldMask>) -> Result<ProfilePatch> {
    use wire::identity_profile::Kind;
    let mask = Mask::new(mask, "IdentityProfile", CHANGEABLE)?;
    let kind = match profile.kind {
        Some(Kind::Password(password)) => Some(KindPatch::Password(password_patch(password, &mask))),
        Some(Kind::Oidc(oidc)) => Some(KindPatch::Oidc(oidc_patch(oidc, &mask))),
        // What is named and not there takes its default.
        None if names(&mask, "password.") => Some(KindPatch::Password(password_patch(Default::default(), &mask))),
        None if names(&mask, "oidc.") => Some(KindPatch::Oidc(oidc_patch(Default::default(), &mask))),
        None => None,
    };
    let display_name = mask.changes("display_name", !profile.display_name.is_empty()).then_some(profile.display_name);
    Ok(ProfilePatch { display_name, kind })
}

/// Whether a mask names single fields of a kind.
fn names(mask: &Mask<'_>, prefix: &str) -> bool {
    CHANGEABLE.iter().any(|field| field.starts_with(prefix) && mask.names(field))
}

fn password_patch(password: wire::PasswordProfile, mask: &Mask<'_>) -> PasswordPatch {
    let format = match password.username_format() {
        wire::UsernameFormat::Unspecified => None,
        wire::UsernameFormat::Any => Some(UsernameFormat::Any),
        wire::UsernameFormat::Email => Some(UsernameFormat::Email),
    };
    let one_time = password.one_time_passwords;
    PasswordPatch {
        username_format: mask
            .changes("password.username_format", format.is_some())
            .then_some(format.unwrap_or_default()),
        one_time_passwords: mask
            .changes("password.one_time_passwords", one_time.is_some())
            .then_some(one_time.unwrap_or_default()),
    }
}

fn oidc_patch(oidc: wire::OidcProfile, mask: &Mask<'_>) -> OidcPatch {
    let secret = given(&oidc.client_secret).map(|secret| SecretText::new(secret.to_owned()));
    OidcPatch {
        issuer: mask.changes("oidc.issuer", !oidc.issuer.is_empty()).then_some(oidc.issuer),
        client_id: mask.changes("oidc.client_id", !oidc.client_id.is_empty()).then_some(oidc.client_id),
        client_secret: mask.changes("oidc.client_secret", secret.is_some()).then_some(secret),
        redirect_uris: mask.changes("oidc.redirect_uris", !oidc.redirect_uris.is_empty()).then_some(oidc.redirect_uris),
        scopes: mask.changes("oidc.scopes", !oidc.scopes.is_empty()).then_some(oidc.scopes),
    }
}

/// The profile without its secret.
pub(super) fn to_wire(profile: &IdentityProfile) -> wire::IdentityProfile {
    use wire::identity_profile::Kind;
    let kind = match &profile.kind {
        ProfileKind::Password(password) => Kind::Password(wire::PasswordProfile {
            username_format: match password.username_format {
                UsernameFormat::Any => wire::UsernameFormat::Any.into(),
                UsernameFormat::Email => wire::UsernameFormat::Email.into(),
            },
            one_time_passwords: Some(password.one_time_passwords),
        }),
        ProfileKind::Oidc(oidc) => Kind::Oidc(wire::OidcProfile {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            client_secret: String::new(),
            redirect_uris: oidc.redirect_uris.clone(),
            scopes: oidc.scopes.clone(),
        }),
    };
    wire::IdentityProfile {
        identity_profile_id: profile.id.to_string(),
        tenant_id: profile.tenant.to_string(),
        display_name: profile.display_name.clone(),
        kind: Some(kind),
        create_time: Some(convert::timestamp(profile.created)),
        update_time: Some(convert::timestamp(profile.updated)),
        etag: etag(profile.version),
    }
}
