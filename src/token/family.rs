//! Families of refresh tokens, and the rule of renewal.

use std::time::Duration;

use super::{
    access::{self, AccessToken, Actor, Audience, Format, Json, KeyId, RequestDigest, SessionId, Source, Subject},
    id::{AccountId, ClientId, FamilyId, TenantId},
    ident::{Ident, Idents},
    position::Position,
    scope::Scopes,
    secret::DerivationKeyId,
};
use crate::ambient::Time;

/// One lineage of refresh tokens: what was granted once, and where its renewal stands.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Family {
    #[n(0)]
    pub id: FamilyId,
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub client: ClientId,
    /// The client's tenant, if another.
    #[n(3)]
    pub home: Option<TenantId>,
    #[n(4)]
    pub subject: Subject,
    /// What was granted; an access token may get less, never more.
    #[n(5)]
    pub scopes: Scopes,
    #[n(6)]
    pub audience: Audience,
    #[n(7)]
    pub format: Format,
    /// The `rev` of the grant. It never moves: a rotation must not step past a revocation that its own checks would find.
    #[n(8)]
    pub rev: Position,
    /// Life of each access token, in seconds.
    #[n(9)]
    pub token_ttl_secs: u64,
    /// When the family ends, however often it is renewed.
    #[n(10)]
    pub absolute_expiry: Time,
    /// When the current refresh token ends unless it is renewed.
    #[n(11)]
    pub idle_expiry: Time,
    /// Number of the current refresh token, from 0.
    #[n(12)]
    pub generation: u32,
    /// When the current refresh token was made.
    #[n(13)]
    pub rotated: Time,
    /// The access token that came with the current refresh token, so that a repeat gives the same.
    #[n(14)]
    pub minted: Minted,
    /// The derivation key of the current refresh token.
    #[n(15)]
    pub derivation_key: DerivationKeyId,
    /// The refresh token was invalidated on its own: no renewal any more, but its access tokens live.
    #[n(16)]
    pub closed: bool,
    #[n(17)]
    pub actor: Option<Actor>,
    #[n(18)]
    pub ancestors: Vec<AccountId>,
    #[n(19)]
    pub session: Option<SessionId>,
    #[n(20)]
    pub sources: Vec<Source>,
    #[n(21)]
    pub options: Option<Json>,
    #[n(22)]
    pub claims: Option<Json>,
    /// Digest of the request body, when issued under a `request_id`.
    #[n(23)]
    pub request: Option<RequestDigest>,
}

/// What a renewal decided about its access token; the id derives from family and generation.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Minted {
    #[n(0)]
    pub issued_secs: u64,
    #[n(1)]
    pub ttl_secs: u64,
    #[n(2)]
    pub rev: Position,
    /// Only if fewer than the family's.
    #[n(3)]
    pub scopes: Option<Scopes>,
    #[n(4)]
    pub signing_key: Option<KeyId>,
    /// The scopes that the renewal asked for, so that a repeat can be told from another question.
    #[n(5)]
    pub requested: Option<Scopes>,
}

/// What renewal does with the presented refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum RenewalPolicy {
    /// Each renewal replaces it.
    #[n(0)]
    Always,
    /// It stays the same for its whole life (FAPI 2.0 §5.3.2.1).
    #[n(1)]
    Never,
}

/// What to do about a genuine refresh token of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The current one: make its successor.
    Rotate,
    /// The current one under [`RenewalPolicy::Never`]: a new access token, the same refresh token.
    Keep,
    /// The direct predecessor inside the replay window: the same successor again.
    Replay,
    /// An older one inside the window: refuse, change nothing. A late retry of an honest client may look like this.
    RefuseOlder,
    /// An earlier one after the window: only a thief or a thief's victim still has it. Revoke the family.
    Theft,
    /// Above the current one: the store has lost a renewal that it had acknowledged.
    LostData,
}

// === impl Family ===

impl Family {
    /// What the store keeps of it.
    pub fn to_record(&self) -> Vec<u8> {
        super::to_record(self)
    }

    /// The rule of renewal for a genuine refresh token with number `presented`.
    pub fn renewal(&self, presented: u32, policy: RenewalPolicy, replay_window: Duration, now: Time) -> Renewal {
        if presented > self.generation {
            return Renewal::LostData;
        }
        if presented == self.generation {
            return match policy {
                RenewalPolicy::Always => Renewal::Rotate,
                RenewalPolicy::Never => Renewal::Keep,
            };
        }
        let in_window = now.since(self.rotated) < replay_window;
        match (in_window, self.generation - presented) {
            (true, 1) => Renewal::Replay,
            (true, _) => Renewal::RefuseOlder,
            (false, _) => Renewal::Theft,
        }
    }

    /// When the current refresh token ends.
    pub fn expires(&self) -> Time {
        self.idle_expiry.min(self.absolute_expiry)
    }

    /// Every identifier by which the revocation log can name it.
    pub fn idents(&self) -> Idents {
        let mut idents = vec![
            Ident::Family(self.id.clone()),
            Ident::Client(self.client.clone()),
            Ident::Admission(self.tenant.clone(), self.client.clone()),
            Ident::Tenant(self.tenant.clone()),
        ];
        access::lineage(
            &mut idents,
            &self.tenant,
            self.session.as_ref(),
            self.account(),
            &self.ancestors,
            &self.sources,
        );
        Idents::new(idents, 1)
    }

    pub const fn account(&self) -> Option<&AccountId> {
        match &self.subject {
            Subject::Client(account) => account.as_ref(),
            Subject::Account(account) => Some(account),
        }
    }

    /// The access token that `minted` describes.
    pub fn access_token(&self, id: super::id::TokenId, minted: &Minted) -> AccessToken {
        AccessToken {
            id,
            tenant: self.tenant.clone(),
            client: self.client.clone(),
            subject: self.subject.clone(),
            scopes: minted.scopes.clone().unwrap_or_else(|| self.scopes.clone()),
            audience: self.audience.clone(),
            format: self.format,
            issued_secs: minted.issued_secs,
            ttl_secs: Some(minted.ttl_secs),
            rev: minted.rev,
            signing_key: minted.signing_key.clone(),
            actor: self.actor.clone(),
            ancestors: self.ancestors.clone(),
            session: self.session.clone(),
            family: Some(self.id.clone()),
            sources: self.sources.clone(),
            options: self.options.clone(),
            claims: self.claims.clone(),
            request: None,
            home: self.home.clone(),
        }
    }
}
