//! Issuing.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{
    AccessToken, Family, FamilyId, Format, GrantType, Position, Time, TokenId,
    access::RequestDigest,
    family::Minted,
    secret::{Mac as _, SecretText},
};

use super::{
    Issuer, exchange,
    granted::{Granted, end_of},
    request::{Grant, Request},
    session::Lapsed,
    terms,
};
use crate::{
    ambient::Fresh as _,
    directory::{caller::Right, permit::Act, record::Tenant, standing::Standing},
    error::{Error, Result},
    keys::{ring::digest128, signing::SigningKey},
};

/// A token as its holder receives it.
#[derive(Debug)]
pub struct Issued {
    pub token: Arc<AccessToken>,
    pub text: String,
    pub refresh: Option<(SecretText, Time)>,
    pub tenant: Arc<Tenant>,
    /// The tenant's `iss`.
    pub issuer: String,
    pub position: Position,
}

/// What was decided about a token before it is stored.
pub(super) struct Decided {
    pub grant: GrantType,
    pub token: AccessToken,
    pub family: Option<Family>,
    pub tenant: Arc<Tenant>,
    pub issuer: String,
    pub key: Option<Arc<SigningKey>>,
    /// Whether the session is that of a token that it comes from.
    pub(super) inherits_session: bool,
}

// === impl Decided ===

impl Decided {
    /// What becomes of it if its session has lapsed.
    pub(super) fn lapsed(&self) -> Lapsed {
        let ended = || Error::new(Reason::SessionExpired, "the session of the bearer has idled out");
        if self.inherits_session { Lapsed::Refuse(ended) } else { Lapsed::Revive }
    }
}

// === impl Issuer ===

impl Issuer {
    /// Issues a token.
    pub async fn issue(&self, act: &Act, request: &Request) -> Result<Issued> {
        let granted = match &request.grant {
            Grant::ClientCredentials { tenant } => {
                self.grant_client(act, tenant.as_deref(), GrantType::ClientCredentials).await?
            }
            Grant::Workload { tenant } => self.grant_client(act, tenant.as_deref(), GrantType::Workload).await?,
            Grant::Account(reference) => Box::pin(self.grant_account(act, reference)).await?,
            Grant::Member { member, account } => Box::pin(self.grant_member(act, member, account.as_deref())).await?,
            Grant::EntityGroup { group, member } => Box::pin(self.grant_group(act, group, member.as_deref())).await?,
            Grant::TokenExchange { subject, actor } => {
                Box::pin(self.grant_exchange(act, request, subject, actor.as_deref())).await?
            }
        };
        let decided = self.decide(act, request, granted).await?;
        // Signed before it is stored: a token that cannot be written must not be listed.
        let text = self.text(&decided).await?;
        let lapsed = match &request.grant {
            Grant::TokenExchange { .. } => Lapsed::Refuse(exchange::lapsed),
            Grant::ClientCredentials { .. }
            | Grant::Workload { .. }
            | Grant::Account(_)
            | Grant::Member { .. }
            | Grant::EntityGroup { .. } => decided.lapsed(),
        };
        let issued = self.store(request, lapsed, decided, text).await?;
        if let Grant::TokenExchange { .. } = &request.grant {
            tracing::info!(
                target: "audit", event = "token.exchange", tenant = %issued.token.tenant, token = %issued.token.id,
                subject = issued.token.sub(), actor = issued.token.creator(), caller = act.caller().sub,
                client = %issued.token.client, "issued a token in exchange for another one"
            );
        } else if issued.token.actor.is_some() {
            tracing::info!(
                target: "audit", event = "token.impersonate", tenant = %issued.token.tenant, token = %issued.token.id,
                subject = issued.token.sub(), actor = act.caller().sub, client = %issued.token.client,
                "issued a token on behalf of another principal"
            );
        }
        Ok(issued)
    }

    /// Decides everything about the token, or refuses.
    pub(super) async fn decide(&self, act: &Act, request: &Request, granted: Granted) -> Result<Decided> {
        let granted = granted.within(act.caller());
        let now = self.now();
        let scopes = terms::decide_scopes(request, &granted, act.caller())?;
        let ttl = terms::decide_ttl(request, &granted, &scopes, act.caller(), now)?;
        let Granted { standing, grant, subject, actor, parents, authentication, .. } = granted;
        let tenant = Arc::clone(&standing.tenant);
        let issuer = self.directory.issuer(&tenant.id);
        let audience = terms::decide_audience(request, &scopes, &standing, &issuer)?;
        let format = request.format.unwrap_or(terms::default_format(grant));
        if ttl.is_none() {
            terms::refuse_eternal_with(format, request.refresh)?;
        }
        let session = terms::decide_session(request, &parents)?;
        terms::check_json(request)?;

        let request_key = request.repeat.map(|repeat| repeat.key(&tenant.id, act.caller()));
        let (id, family_id) = new_ids(request_key, request.refresh, now)?;
        let expires = ttl.map_or(Time::NEVER, |ttl| now.whole_secs().plus(ttl));
        let key = match format {
            Format::Jwt => Some(self.signing_key(&tenant, expires).await?),
            Format::Opaque => None,
        };
        let client = &standing.client;
        let mut token = AccessToken {
            id,
            tenant: tenant.id.clone(),
            client: client.id.clone(),
            subject,
            scopes,
            audience,
            format,
            issued: now.whole_secs(),
            ttl,
            rev: act.head(),
            signing_key: key.as_ref().map(|key| key.stored.id.clone()),
            actor,
            session,
            family: family_id,
            sources: Vec::new(),
            options: request.options.clone(),
            claims: request.claims.clone(),
            request: request.repeat.map(|repeat| RequestDigest(repeat.body)),
            home: Some(client.tenant.clone()).filter(|home| *home != tenant.id),
            authentication,
        };
        token.sources = terms::sources_of(&token, &parents)?;
        let by_itself = grant == GrantType::Account && act.right() == Right::OwnOnly;
        let needed = Some(grant).filter(|_| !by_itself);
        let family = self.new_family(&token, needed, &standing, &parents, now);
        let inherits_session = terms::session_of(&parents).is_some();
        Ok(Decided { grant, token, family, tenant, issuer, key, inherits_session })
    }

    /// The family that the token names, if it names one.
    fn new_family(
        &self,
        token: &AccessToken,
        grant: Option<GrantType>,
        standing: &Standing,
        parents: &[Arc<AccessToken>],
        now: Time,
    ) -> Option<Family> {
        let (id, ttl) = (token.family.clone()?, token.ttl?);
        let end = now.plus(standing.refresh_absolute_ttl());
        let absolute_expiry = end.min(end_of(parents));
        Some(Family {
            id,
            tenant: token.tenant.clone(),
            client: token.client.clone(),
            home: token.home.clone(),
            subject: token.subject.clone(),
            scopes: token.scopes.clone(),
            audience: token.audience.clone(),
            format: token.format,
            rev: token.rev,
            token_ttl: ttl,
            absolute_expiry,
            idle_expiry: now.plus(standing.refresh_idle_ttl()),
            generation: 0,
            rotated: now,
            minted: Minted {
                issued: token.issued,
                ttl,
                rev: token.rev,
                scopes: None,
                signing_key: token.signing_key.clone(),
                requested: None,
                kept: None,
            },
            derivation_key: self.core.ring.current(),
            closed: false,
            actor: token.actor.clone(),
            session: token.session.clone(),
            sources: token.sources.clone(),
            options: token.options.clone(),
            claims: token.claims.clone(),
            request: token.request,
            ends: Family::end(token, absolute_expiry),
            granted: now,
            grant,
        })
    }
}

/// The ids of a token and, if it is wanted, of its family: of a repeat the same as of the first request.
fn new_ids(request_key: Option<[u8; 16]>, refresh: bool, now: Time) -> Result<(TokenId, Option<FamilyId>)> {
    let derived = |label: &[u8]| request_key.map(|key| digest128(&[label, &key]));
    let token = match derived(b"issued token") {
        Some(bytes) => TokenId::from_bytes(bytes),
        None => TokenId::made_at(now)?,
    };
    let family = match (refresh, derived(b"issued family")) {
        (false, _) => None,
        (true, Some(bytes)) => Some(FamilyId::from_bytes(bytes)),
        (true, None) => Some(FamilyId::made_at(now)?),
    };
    Ok((token, family))
}
