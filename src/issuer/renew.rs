//! Renewal: exact and lossless.
//!
//! Checks come before the rotation, so that a refused renewal consumes nothing. The rotation is one atomic step on the
//! family's record; what that record says after the race is what all callers receive.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{
    Family, FamilyId, Format, Scopes, Subject, Time, TokenId,
    family::{Minted, Renewal, Terms},
    retention,
    secret::{Mac as _, RefreshContent},
};

use super::{
    Issuer,
    grant::require_allowed,
    issue::Issued,
    living::Dead,
    records::{decode_family, family_mint, session_mint, token_mint},
    terms,
};
use crate::{
    ambient::Fresh as _,
    directory::{permit::Act, record::Tenant, standing::Standing},
    error::{Error, Result},
    keys::ring::digest128,
    metrics::Event,
    store,
    store::{Existing, FamilyConflict, Mint},
};

/// What is presented.
#[derive(Clone, Debug)]
pub struct Request {
    pub refresh_token: String,
    /// Narrows the access token; empty: all that are still allowed.
    pub scopes: Vec<String>,
}

/// How often one call may lose the race for a rotation. The loser of a race is the winner's twin and is answered as such,
/// so twice is already more than can happen without a third renewal in between.
const MAX_RACES: usize = 4;

/// A family that passed all checks but the rule of renewal.
struct Renewable {
    family: Family,
    revision: u32,
    standing: Arc<Standing>,
}

// === impl Issuer ===

impl Issuer {
    /// REFRESH_INVALID for a genuine refresh token of another tenant than the one to whose issuer it was presented.
    pub fn check_tenant(&self, refresh_token: &str, tenant: &str) -> Result<()> {
        let content = RefreshContent::from_text(refresh_token, &*self.core.ring);
        let is_foreign = content.is_some_and(|(content, _)| content.tenant.to_string() != tenant);
        if is_foreign { Err(invalid()) } else { Ok(()) }
    }

    /// Exchanges a refresh token for its successor.
    pub async fn renew(&self, act: &Act, request: &Request) -> Result<Issued> {
        let Some((content, _)) = RefreshContent::from_text(&request.refresh_token, &*self.core.ring) else {
            return Err(invalid());
        };
        if let Some(bearer) = &act.caller().token
            && !(matches!(bearer.subject, Subject::Client(_))
                && !bearer.is_derived()
                && bearer.tenant == content.tenant)
        {
            // Only a client's own, first-hand token proves the client: what is renewed is not within another one.
            return Err(invalid());
        }
        let record = self.core.store.family(&content.family).await?.ok_or_else(invalid)?;
        let mut renewable = self.check(act, &content, decode_family(&record)?, record.revision).await?;
        for _ in 0..MAX_RACES {
            let Renewable { family, revision, standing } = renewable;
            let now = self.now();
            let terms = Terms {
                policy: standing.client.renewal_policy,
                replay_window: standing.replay_window(),
                idle_ttl: standing.refresh_idle_ttl(),
            };
            let (next, id, written) = match family.renewal(content.generation, &terms, now) {
                Renewal::Rotate => {
                    let next = self.rotate(act, request, &family, &standing, now)?;
                    let next = self.with_key(next, &standing.tenant).await?;
                    let written = self.write_rotation(&next, revision, &standing.tenant).await?;
                    (next, None, written)
                }
                Renewal::Keep => {
                    let next = self.extend(act, request, &family, &standing, now)?;
                    let next = self.with_key(next, &standing.tenant).await?;
                    let id = TokenId::made_at(now)?;
                    let written = self.write_kept(&next, &id, revision, &standing.tenant).await?;
                    (next, Some(id), written)
                }
                Renewal::Replay => return self.replay(request, &family, &standing).await,
                Renewal::RefuseOlder => return Err(reused()),
                Renewal::Theft => return Err(self.end(&family).await?),
                Renewal::LostData => return Err(lost_data(&family)),
            };
            match written {
                Written::Won => {
                    self.metrics.count(Event::Renewed);
                    let id = id.unwrap_or_else(|| renewed_id(&next.id, next.generation));
                    return self.issued(&next, id, &standing).await;
                }
                Written::Gone => return Err(invalid()),
                // A twin was faster: its decision is everybody's.
                Written::Lost(record) => {
                    renewable = self.check(act, &content, decode_family(&record)?, record.revision).await?;
                }
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent renewals"))
    }

    /// Everything that must hold whatever the generation: client, tenant, expiry, the log, and all that is looked up.
    async fn check(&self, act: &Act, content: &RefreshContent, family: Family, revision: u32) -> Result<Renewable> {
        if family.id != content.family {
            return Err(Error::internal("read a family's record: it names another family"));
        }
        let client = &act.caller().standing.client;
        if family.tenant != content.tenant || family.client != client.id || family.closed {
            return Err(invalid());
        }
        if family.rev > act.head() {
            return Err(lost_data(&family));
        }
        let standing = match self.living_family(&family).await? {
            Ok(standing) => standing,
            Err(Dead::Over) => return Err(invalid()),
            Err(Dead::Expired) => return Err(Error::new(Reason::RefreshExpired, "the refresh token has expired")),
            Err(Dead::Lapsed) => return Err(session_over()),
        };
        // What was granted once is asked for again.
        if let Some(grant) = family.grant {
            require_allowed(&standing, grant)?;
        }
        let issuer = self.directory.issuer(&family.tenant);
        terms::require_audience(family.audience.absolute(&issuer), &standing, &issuer)?;
        Ok(Renewable { family, revision, standing })
    }

    /// The family after its rotation.
    fn rotate(&self, act: &Act, request: &Request, family: &Family, standing: &Standing, now: Time) -> Result<Family> {
        let extended = self.extend(act, request, family, standing, now)?;
        let generation = family
            .generation
            .checked_add(1)
            .ok_or_else(|| Error::new(Reason::RefreshExpired, "the family was renewed too often"))?;
        let minted = Minted { kept: None, ..extended.minted };
        Ok(Family { generation, rotated: now, minted, derivation_key: self.core.ring.current(), ..extended })
    }

    /// The family with a next access token and a new idle expiry, and the same refresh token.
    fn extend(&self, act: &Act, request: &Request, family: &Family, standing: &Standing, now: Time) -> Result<Family> {
        let scopes = decide_scopes(request, family, standing)?;
        let left = standing.renewable_until(family).since(now.whole_secs());
        let max = standing.tenant.settings.max_ttl_of(&scopes);
        Ok(Family {
            idle_expiry: now.plus(standing.refresh_idle_ttl()),
            minted: Minted {
                issued: now.whole_secs(),
                ttl: terms::whole_secs(family.token_ttl.min(max).min(left)),
                rev: act.head(),
                scopes: Some(scopes).filter(|scopes| *scopes != family.scopes),
                signing_key: None,
                requested: requested(request),
                kept: Some(now),
            },
            ..family.clone()
        })
    }

    /// Writes the rotation together with its access token.
    async fn write_rotation(&self, next: &Family, revision: u32, tenant: &Tenant) -> Result<Written> {
        // The refresh token is made under the current master key from now on.
        self.directory.note_derived(next.absolute_expiry).await?;
        let mint = self.mint(next, renewed_id(&next.id, next.generation), Some(revision), Existing::Keep, tenant);
        let minted = self.core.store.mint(&mint).await?;
        match minted.family {
            Some(FamilyConflict::Other(record)) => return Ok(Written::Lost(record)),
            Some(FamilyConflict::Gone) => return Ok(Written::Gone),
            None => {}
        }
        refuse_ended(&minted)?;
        if minted.token.is_some() {
            // A twin that lost wrote its own idea of the access token first. The family's record decides.
            self.write_decided(next, tenant).await?;
        }
        Ok(Written::Won)
    }

    /// Writes the access token that a family's record describes, whatever stands in its place.
    async fn write_decided(&self, family: &Family, tenant: &Tenant) -> Result<()> {
        let mint = self.mint(family, renewed_id(&family.id, family.generation), None, Existing::Replace, tenant);
        let mint = Mint { family: None, ..mint };
        refuse_ended(&self.core.store.mint(&mint).await?)
    }

    /// The same successor again.
    async fn replay(&self, request: &Request, family: &Family, standing: &Standing) -> Result<Issued> {
        if family.minted.requested != requested(request) {
            return Err(Error::new(
                Reason::ReplayMismatch,
                "the first renewal of this refresh token asked for other scopes",
            ));
        }
        // Written and waited for once more: finding the work done does not make it durable.
        self.write_decided(family, &standing.tenant).await?;
        self.metrics.count(Event::Replayed);
        self.issued(family, renewed_id(&family.id, family.generation), standing).await
    }

    /// Writes a new access token for the same refresh token.
    async fn write_kept(&self, next: &Family, id: &TokenId, revision: u32, tenant: &Tenant) -> Result<Written> {
        let mint = self.mint(next, id.clone(), Some(revision), Existing::Replace, tenant);
        let minted = self.core.store.mint(&mint).await?;
        refuse_ended(&minted)?;
        Ok(match minted.family {
            None => Written::Won,
            Some(FamilyConflict::Gone) => Written::Gone,
            Some(FamilyConflict::Other(record)) => {
                let now = decode_family(&record)?;
                // A concurrent renewal that kept it, too, has moved the idle expiry just as well. One that replaced it
                // has not: all of them must receive the same refresh token.
                if !now.closed && now.generation == next.generation { Written::Won } else { Written::Lost(record) }
            }
        })
    }

    async fn issued(&self, family: &Family, id: TokenId, standing: &Standing) -> Result<Issued> {
        let token = family.access_token(id, &family.minted);
        let issuer = self.directory.issuer(&family.tenant);
        let key = self.key_of(&token).await?;
        let text = self.token_text(&token, &issuer, key).await?;
        let refresh = self.refresh_text(family, family.generation)?;
        Ok(Issued {
            position: token.rev,
            token: Arc::new(token),
            text,
            refresh: Some((refresh, family.expires())),
            tenant: Arc::clone(&standing.tenant),
            issuer,
        })
    }

    /// The family with the key that signs its access token: decided before it is written, so that a repeat has the same.
    async fn with_key(&self, mut family: Family, tenant: &Arc<Tenant>) -> Result<Family> {
        if family.format == Format::Jwt {
            let expires = family.minted.issued.plus(family.minted.ttl);
            family.minted.signing_key = Some(self.signing_key(tenant, expires).await?.stored.id.clone());
        }
        Ok(family)
    }

    fn mint(&self, family: &Family, id: TokenId, expected: Option<u32>, exists: Existing, tenant: &Tenant) -> Mint {
        let now = self.now();
        let token = family.access_token(id, &family.minted);
        let revision = expected.map_or(0, |revision| revision.wrapping_add(1));
        Mint {
            now,
            token: Some(token_mint(&token, token.expires(), exists)),
            family: Some(family_mint(family, revision, expected)),
            session: session_mint(&token, tenant, Some(family.ends), now),
        }
    }

    /// Revokes a family whose refresh token was stolen, and tells the caller so.
    async fn end(&self, family: &Family) -> Result<Error> {
        let entry = retention::of_family(&family.tenant, &family.id, family.ends);
        self.core.log.append_new(vec![entry]).await?;
        self.metrics.count(Event::ReuseDetected);
        tracing::warn!(
            target: "audit", event = "refresh.reused", tenant = %family.tenant, family = %family.id, client = %family.client,
            "a refresh token was presented again after its replay window; its family is revoked"
        );
        Ok(reused())
    }
}

/// What became of the write of a renewal.
enum Written {
    Won,
    Lost(store::FamilyRecord),
    Gone,
}

/// The scopes of the next access token: what was granted, is still allowed, and is asked for.
fn decide_scopes(request: &Request, family: &Family, standing: &Standing) -> Result<Scopes> {
    let refuse = |message: String| Error::new(Reason::ScopeNotAllowed, message);
    let allowed = family.scopes.intersection(&standing.allowed_scopes());
    let asked = Scopes::new(&request.scopes);
    if let Some(beyond) = asked.beyond(&allowed) {
        return Err(refuse(format!("the scope {beyond} was not granted or is not allowed any more")));
    }
    if allowed.is_empty() && !family.scopes.is_empty() {
        return Err(refuse("none of the granted scopes is allowed any more".to_owned()));
    }
    Ok(if asked.is_empty() { allowed } else { asked })
}

/// Refuses a token that its session did not take in: it is over, and so is the family. Nobody has seen the token.
fn refuse_ended(minted: &store::Minted) -> Result<()> {
    if minted.session.is_none() { Ok(()) } else { Err(session_over()) }
}

fn session_over() -> Error {
    Error::new(Reason::SessionExpired, "the session of the refresh token has ended")
}

fn requested(request: &Request) -> Option<Scopes> {
    let mut scopes = request.scopes.clone();
    scopes.sort_unstable();
    (!scopes.is_empty()).then(|| Scopes::new(scopes))
}

/// The id of the access token that comes with a generation, so that every replica derives the same.
fn renewed_id(family: &FamilyId, generation: u32) -> TokenId {
    let family = family.random_bytes().copied().unwrap_or_default();
    TokenId::from_bytes(digest128(&[b"renewed token", &family, &generation.to_be_bytes()]))
}

fn invalid() -> Error {
    Error::new(Reason::RefreshInvalid, "the refresh token is not valid for this client")
}

fn reused() -> Error {
    Error::new(Reason::RefreshReused, "the refresh token was renewed before")
}

fn lost_data(family: &Family) -> Error {
    tracing::error!(
        tenant = %family.tenant, family = %family.id,
        "a genuine refresh token is newer than its stored family: the store has lost acknowledged data"
    );
    Error::new(Reason::StoreLostData, "the store has lost data that this refresh token proves existed")
}
