//! Tokens and families as the store keeps them.

use std::time::Duration;

use jeton_core::{AccessToken, Family, Format, Subject, Time, TokenId};

use crate::{
    directory::record::Tenant,
    error::{Error, Result},
    store::{Existing, FamilyMint, FamilyRecord, SessionKey, SessionMint, SubjectKey, TokenMint},
};

/// A family's record outlives it by this, so that a late renewal is refused with the reason.
pub(super) const FAMILY_RETENTION: Duration = Duration::from_secs(3600);

/// A token's record as it is stored and listed.
pub(super) fn token_mint(token: &AccessToken, keep_until: Time, exists: Existing) -> TokenMint {
    let record = match token.format {
        // JWTs carry these themselves.
        Format::Jwt if token.options.is_some() || token.claims.is_some() => {
            AccessToken { options: None, claims: None, ..token.clone() }.to_record()
        }
        Format::Jwt | Format::Opaque => token.to_record(),
    };
    TokenMint {
        id: token.id.clone(),
        record: record.into(),
        expires: token.expires(),
        keep_until,
        subject: subject_key(token),
        exists,
    }
}

pub(super) fn family_mint(family: &Family, revision: u32, expected: Option<u32>) -> FamilyMint {
    FamilyMint {
        id: family.id.clone(),
        record: FamilyRecord { revision, body: family.to_record().into() },
        expires: family.expires().plus(FAMILY_RETENTION),
        expected,
    }
}

/// A mint in a session that the token is known to belong to.
pub(super) fn session_mint(
    token: &AccessToken,
    tenant: &Tenant,
    family_end: Option<Time>,
    now: Time,
) -> Option<SessionMint> {
    let session = token.session.clone()?;
    Some(SessionMint {
        key: SessionKey { tenant: token.tenant.clone(), session },
        now,
        idle: tenant.settings.session_idle_ttl(),
        until: token.expires().max(family_end.unwrap_or(now)),
        rev: token.rev,
        owner: None,
        revive: false,
    })
}

pub(super) fn decode_family(record: &FamilyRecord) -> Result<Family> {
    minicbor::decode(&record.body).map_err(|source| Error::internal("decode a family").with_source(source))
}

/// Reads the record that stands under `id`.
pub(super) fn decode_token(record: &[u8], id: &TokenId) -> Result<AccessToken> {
    AccessToken::from_record(record, id)
        .map_err(|source| Error::internal(format!("decode the record of {id}")).with_source(source))
}

/// In whose list a token stands: that of its `sub`.
pub(super) fn subject_key(token: &AccessToken) -> SubjectKey {
    match &token.subject {
        Subject::Client(_) => SubjectKey::Client(token.tenant.clone(), token.client.clone()),
        Subject::Account(lineage) => SubjectKey::Account(lineage.account.clone()),
        Subject::Member(_, member) | Subject::Group(_, Some(member)) => SubjectKey::Member(member.clone()),
        Subject::Group(group, None) => SubjectKey::Group(group.clone()),
        Subject::OtherClient(client, _) => SubjectKey::Client(token.tenant.clone(), client.clone()),
    }
}
