//! One-time passwords as they are stored.

use std::time::Duration;

use jeton_core::{IdentityProfileId, MemberId, TenantId, Time};

use super::Issuer;
use crate::{
    directory::record::normalized,
    error::{Error, Result},
    keys::{code::OneTimeCode, ring::digest_text},
    store::{Kind, Put, RecordKey},
};

/// What a code is to be used for. The first two differ in nothing but what the receiver writes around the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Authenticate,
    ResetPassword,
    /// To prove that somebody who is no member yet reads an e-mail address, which stands in the username's place.
    SignUp,
}

/// Which code: the last one that was asked for with the same name and for the same use.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodeName<'a> {
    pub tenant: &'a TenantId,
    pub profile: &'a IdentityProfileId,
    pub name: &'a str,
    pub sign_up: bool,
}

/// A code that was asked for.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub(super) struct StoredCode {
    #[n(0)]
    pub code: OneTimeCode,
    /// The member of that name; `None`: there is none.
    #[n(1)]
    pub member: Option<MemberId>,
    #[n(2)]
    pub expires: Time,
    #[n(3)]
    pub attempts_left: u8,
    /// How many codes were asked for since `since`, this one included.
    #[n(4)]
    pub count: u8,
    #[n(5)]
    pub since: Time,
}

/// How long a code is good.
pub const CODE_TTL: Duration = Duration::from_secs(600);

// === impl Issuer ===

impl Issuer {
    pub(super) async fn last_code(&self, key: &RecordKey) -> Result<(Option<StoredCode>, u64)> {
        let Some(record) = self.core.store.read(std::slice::from_ref(key)).await?.pop().flatten() else {
            return Ok((None, 0));
        };
        let asked = minicbor::decode(&record.body)
            .map_err(|source| Error::internal("decode a one-time password").with_source(source))?;
        Ok((Some(asked), record.version))
    }
}

// === impl Purpose ===

impl Purpose {
    /// What the event calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::ResetPassword => "reset_password",
            Self::SignUp => "sign_up",
        }
    }
}

// === impl CodeName ===

impl CodeName<'_> {
    /// Where the code is kept. The name is digested: people type passwords where usernames belong.
    pub(super) fn key(&self) -> RecordKey {
        let tenant = self.tenant.to_string();
        let profile = self.profile.to_string();
        let name = normalized(self.name);
        let parts = [tenant.as_bytes(), profile.as_bytes(), &[u8::from(self.sign_up)], name.as_bytes()];
        let id = digest_text(&parts);
        RecordKey { tenant: TenantId::system(), kind: Kind::OneTimePassword, id }
    }
}

// === impl StoredCode ===

impl StoredCode {
    pub(super) fn put(&self, key: &RecordKey, version: u64) -> Put {
        Put {
            kind: key.kind,
            id: key.id.clone(),
            expected: Some(version),
            pending: Vec::new(),
            body: minicbor::to_vec(self).unwrap_or_default().into(),
            keep_until: self.expires.max(self.since.plus(CODE_TTL)),
        }
    }
}
