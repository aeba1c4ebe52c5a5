//! Identity profiles on the wire.

use jeton_core::secret::SecretText;

use super::{Mask, required, set, timestamp};
use crate::{
    api::wire,
    directory::{
        profiles::{KindPatch, PasswordPatch, ProfilePatch},
        provider::OidcPatch,
        record::{IdentityProfile, ProfileKind, UsernameFormat, etag},
    },
    error::Result,
};

/// The fields of a new profile.
pub fn create(message: wire::CreateIdentityProfileRequest) -> ProfilePatch {
    patch(message.identity_profile.unwrap_or_default(), &Mask::CREATION)
}

/// Which profile changes, from which etag, and what of it.
pub fn update(message: wire::UpdateIdentityProfileRequest) -> Result<(String, String, ProfilePatch)> {
    let mut profile = message.identity_profile.unwrap_or_default();
    let id = required("identity_profile.identity_profile_id", std::mem::take(&mut profile.identity_profile_id))?;
    let etag = std::mem::take(&mut profile.etag);
    let mask = Mask::new(message.update_mask.as_ref(), "IdentityProfile", CHANGEABLE)?;
    Ok((id, etag, patch(profile, &mask)))
}

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

fn patch(profile: wire::IdentityProfile, mask: &Mask<'_>) -> ProfilePatch {
    use wire::identity_profile::Kind;
    let kind = match profile.kind {
        Some(Kind::Password(password)) => Some(KindPatch::Password(password_patch(password, mask))),
        Some(Kind::Oidc(oidc)) => Some(KindPatch::Oidc(oidc_patch(oidc, mask))),
        // What is named and not there takes its default.
        None if names(mask, "password.") => Some(KindPatch::Password(password_patch(Default::default(), mask))),
        None if names(mask, "oidc.") => Some(KindPatch::Oidc(oidc_patch(Default::default(), mask))),
        None => None,
    };
    let display_name = mask.changes("display_name", !profile.display_name.is_empty()).then_some(profile.display_name);
    ProfilePatch { display_name, kind }
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
    let secret = set(oidc.client_secret).map(SecretText::new);
    OidcPatch {
        issuer: mask.changes("oidc.issuer", !oidc.issuer.is_empty()).then_some(oidc.issuer),
        client_id: mask.changes("oidc.client_id", !oidc.client_id.is_empty()).then_some(oidc.client_id),
        client_secret: mask.changes("oidc.client_secret", secret.is_some()).then_some(secret),
        redirect_uris: mask.changes("oidc.redirect_uris", !oidc.redirect_uris.is_empty()).then_some(oidc.redirect_uris),
        scopes: mask.changes("oidc.scopes", !oidc.scopes.is_empty()).then_some(oidc.scopes),
    }
}

/// The profile without its secret.
pub fn to_wire(profile: &IdentityProfile) -> wire::IdentityProfile {
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
        create_time: Some(timestamp(profile.created)),
        update_time: Some(timestamp(profile.updated)),
        etag: etag(profile.version),
    }
}
