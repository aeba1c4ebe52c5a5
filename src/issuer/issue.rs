//! Issuing.

use std::{sync::Arc, time::Duration};

use super::{Call, Issuer, exchange};
use crate::{
    ambient::Time,
    directory::{
        caller::{Caller, Right},
        commit::{REQUEST_MEMORY, Repeat},
        record::{GrantType, State, Tenant},
        standing::Standing,
        tenants::Rotation,
    },
    keys::{jwt, ring::digest128, signing::SigningKey},
    revocation::entry::Entry,
    store::{Existing, FamilyConflict, FamilyMint, FamilyRecord, Mint, SessionKey, SessionMint, SubjectKey, TokenMint},
    token::{
        AccessToken, AccountId, Actor, Error, Family, FamilyId, Format, Ident, Position, Reason, Result, Scopes,
        Subject, TokenId,
        access::{Audience, Json, MAX_SOURCES, RequestDigest, SessionId, Source},
        claims::MAX_TOKEN_BYTES,
        family::Minted,
        scope::management,
        secret::{Mac as _, OpaqueContent, RefreshContent, SecretText},
    },
};

/// What to issue.
#[derive(Clone, Debug)]
pub struct Request {
    pub tenant: Option<String>,
    pub grant: Grant,
    pub scopes: Vec<String>,
    pub audience: Vec<String>,
    pub lifetime: Lifetime,
    pub session: Option<SessionId>,
    pub options: Option<Json>,
    pub claims: Option<Json>,
    pub format: Option<Format>,
    pub refresh: bool,
    pub repeat: Option<Repeat>,
}

/// A way to obtain a token.
#[derive(Clone, Debug)]
pub enum Grant {
    /// For the authenticated client itself.
    ClientCredentials,
    /// For an account, by id or foreign id.
    Account(String),
    /// For a member in one account; both by id or foreign id.
    Member { member: String, account: Option<String> },
    /// For the subject of a token; `actor`: the token of who is to act on its behalf.
    TokenExchange { subject: String, actor: Option<String> },
}

/// How long the token is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    Default,
    For(Duration),
    Never,
}

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

/// The most bytes of all scopes of a token together.
const MAX_SCOPE_BYTES: usize = 1024;
/// The most bytes of options, and of claims, as JSON.
const MAX_JSON_BYTES: usize = 2048;
/// Slots of tokens and families outlive them by this.
pub(super) const SLOT_MARGIN: Duration = Duration::from_secs(3600);
/// A family's record outlives it by this, so that a late renewal is told why it fails.
const FAMILY_RETENTION: Duration = Duration::from_secs(3600);

/// What was decided about a token before it is stored.
struct Decided {
    token: AccessToken,
    family: Option<Family>,
    tenant: Arc<Tenant>,
    issuer: String,
    key: Option<Arc<SigningKey>>,
}

/// Whom the grant is for, and by which right.
pub(super) struct Granted {
    pub standing: Arc<Standing>,
    pub grant: GrantType,
    pub subject: Subject,
    pub ancestors: Vec<AccountId>,
    pub actor: Option<Actor>,
    /// What the caller may hand on at most, and what it hands on if not asked.
    pub allowed: Scopes,
    pub default: Scopes,
    /// The tokens that the new one must not outlive. It belongs to the session of the first.
    pub parents: Vec<Arc<AccessToken>>,
}

// === impl Issuer ===

impl Issuer {
    /// Issues a token.
    pub async fn issue(&self, call: &Call, request: &Request) -> Result<Issued> {
        let granted = match &request.grant {
            Grant::ClientCredentials => self.grant_client(&call.caller, request).await?,
            Grant::Account(slot) => Box::pin(self.grant_account(&call.caller, request, slot)).await?,
            Grant::Member { member, account } => {
                Box::pin(self.grant_member(&call.caller, request, member, account.as_deref())).await?
            }
            Grant::TokenExchange { subject, actor } => {
                Box::pin(self.grant_exchange(call, request, subject, actor.as_deref())).await?
            }
        };
        let decided = self.decide(call, request, granted).await?;
        // Signed before it is stored: a token that cannot be written must not be listed.
        let text = self.text(&decided).await?;
        let issued = self.store(call, request, decided, text).await?;
        if let Grant::TokenExchange { .. } = &request.grant {
            tracing::info!(
                target: "audit", event = "token.exchange", tenant = %issued.token.tenant, token = %issued.token.id,
                subject = issued.token.sub(), actor = issued.token.creator(), caller = call.caller.sub,
                client = %issued.token.client, "issued a token in exchange for another one"
            );
        } else if issued.token.actor.is_some() {
            tracing::info!(
                target: "audit", event = "token.impersonate", tenant = %issued.token.tenant, token = %issued.token.id,
                subject = issued.token.sub(), actor = call.caller.sub, client = %issued.token.client,
                "issued a token on behalf of another principal"
            );
        }
        Ok(issued)
    }

    async fn grant_client(&self, caller: &Caller, request: &Request) -> Result<Granted> {
        if caller.token.is_some() {
            return Err(Error::new(
                Reason::InvalidClient,
                "this grant wants client authentication, not a bearer token",
            ));
        }
        let client = &caller.standing.client;
        let not_granted =
            || Error::new(Reason::TenantNotGranted, "the tenant is unknown or has not admitted the client");
        let standing = match request.tenant.as_deref().filter(|tenant| !tenant.is_empty()) {
            None => Arc::clone(&caller.standing),
            Some(tenant) => {
                let tenant = tenant.parse().map_err(|_| not_granted())?;
                let standing = Box::pin(self.directory.standing(&tenant, &client.tenant, &client.id)).await?;
                standing.filter(|standing| standing.is_enabled()).ok_or_else(not_granted)?
            }
        };
        if !standing.allows_grant(GrantType::ClientCredentials) {
            return Err(Error::new(Reason::GrantNotAllowed, "the client may not use the client_credentials grant"));
        }
        let confinement = standing.confinement().cloned();
        if let Some(confinement) = &confinement
            && !self.directory.is_alive(&standing.tenant.id, confinement).await?
        {
            return Err(Error::new(Reason::Disabled, "the account that confines the client is disabled"));
        }
        let (account, ancestors) = match confinement {
            Some(confinement) => (Some(confinement.account), confinement.ancestors),
            None => (None, Vec::new()),
        };
        Ok(Granted {
            grant: GrantType::ClientCredentials,
            subject: Subject::Client(account),
            ancestors,
            actor: None,
            allowed: standing.allowed_scopes(),
            default: standing.default_scopes(),
            parents: Vec::new(),
            standing,
        })
    }

    async fn grant_account(&self, caller: &Caller, request: &Request, slot: &str) -> Result<Granted> {
        let tenant = self.directory.tenant_of(caller, request.tenant.as_deref()).await?;
        let right = caller.account_right(management::TOKENS_ISSUE)?;
        let account = self.directory.reachable_account(caller, &tenant, slot, right).await?;
        if account.state == State::Deleted {
            return Err(Error::not_found("Account", slot));
        }
        let tenant_record =
            self.directory.tenant(&tenant).await?.ok_or_else(|| Error::not_found("Tenant", tenant.to_string()))?;
        if tenant_record.state != State::Enabled || !self.directory.is_alive(&tenant, &account.confinement()).await? {
            return Err(Error::new(Reason::Disabled, "the account, one of its ancestors, or the tenant is disabled"));
        }
        let standing = Arc::new(Standing { tenant: tenant_record, ..(*caller.standing).clone() });
        if right == Right::Scope && !standing.allows_grant(GrantType::Account) {
            return Err(Error::new(Reason::GrantNotAllowed, "the client may not use the account grant"));
        }
        let default =
            Scopes::new(standing.default_scopes().iter().filter(|scope| !crate::token::scope::is_management(scope)));
        let (allowed, default, parents) = match right {
            Right::Scope => (standing.allowed_scopes(), default, Vec::new()),
            Right::OwnOnly => {
                let parents = caller.token.iter().cloned().collect();
                (caller.scopes.clone(), default.intersection(&caller.scopes), parents)
            }
        };
        let actor = if caller.sub == account.id.to_string() {
            None
        } else if caller.sub == standing.client.id.to_string() {
            Some(Actor::Client)
        } else {
            Some(Actor::Other(caller.sub.clone()))
        };
        Ok(Granted {
            grant: GrantType::Account,
            subject: Subject::Account(account.id.clone()),
            ancestors: account.ancestors.clone(),
            actor,
            allowed,
            default,
            parents,
            standing,
        })
    }

    async fn grant_member(
        &self,
        caller: &Caller,
        request: &Request,
        member: &str,
        account: Option<&str>,
    ) -> Result<Granted> {
        let tenant = self.directory.tenant_of(caller, request.tenant.as_deref()).await?;
        caller.require(management::TOKENS_ISSUE)?;
        let missing = || Error::not_found("Tenant", tenant.to_string());
        let record = self.directory.tenant(&tenant).await?.ok_or_else(missing)?;
        let standing = Arc::new(Standing { tenant: record, ..(*caller.standing).clone() });
        if !standing.allows_grant(GrantType::Member) {
            return Err(Error::new(Reason::GrantNotAllowed, "the client may not use the member grant"));
        }
        let (account, member) = self.directory.place_of(caller, &tenant, member, account).await?;
        let line = account.confinement();
        if standing.tenant.state != State::Enabled || !self.directory.is_alive(&tenant, &line).await? {
            return Err(Error::new(Reason::Disabled, "the account, one of its ancestors, or the tenant is disabled"));
        }
        // What a member may do at jeton itself is not decided by its client's scopes.
        let own =
            |scopes: Scopes| Scopes::new(scopes.iter().filter(|scope| !crate::token::scope::is_management(scope)));
        Ok(Granted {
            grant: GrantType::Member,
            subject: Subject::Member(account.id.clone(), member),
            ancestors: account.ancestors.clone(),
            actor: None,
            allowed: own(standing.allowed_scopes()),
            default: own(standing.default_scopes()),
            parents: Vec::new(),
            standing,
        })
    }

    /// Decides everything about the token, or refuses.
    async fn decide(&self, call: &Call, request: &Request, granted: Granted) -> Result<Decided> {
        let Granted { standing, grant, subject, ancestors, actor, allowed, default, parents } = granted;
        let tenant = Arc::clone(&standing.tenant);
        let issuer = self.directory.issuer(&tenant.id);
        let now = self.now();
        let scopes = decide_scopes(request, &allowed, default, &call.caller)?;
        let audience = decide_audience(request, &scopes, &standing, &issuer)?;
        let format = request.format.unwrap_or(match grant {
            GrantType::ClientCredentials | GrantType::Member | GrantType::TokenExchange => Format::Jwt,
            GrantType::Account => Format::Opaque,
        });
        let ttl = decide_ttl(request, &standing, grant, &parents, &call.caller, now)?;
        if ttl.is_none() {
            refuse_eternal_with(format, request.refresh)?;
        }
        let session = decide_session(request, parents.first())?;
        check_json(request)?;

        let request_key = request.repeat.map(|repeat| repeat.key(&tenant.id, &call.caller));
        let derived = |label: &[u8]| request_key.map(|key| digest128(&[label, &key]));
        let id = match derived(b"issued token") {
            Some(bytes) => TokenId::from_bytes(bytes),
            None => TokenId::made_at(now)?,
        };
        let family_id = match (request.refresh, derived(b"issued family")) {
            (false, _) => None,
            (true, Some(bytes)) => Some(FamilyId::from_bytes(bytes)),
            (true, None) => Some(FamilyId::made_at(now)?),
        };
        let key = match format {
            Format::Jwt => Some(self.signing_key(&tenant).await?),
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
            issued_secs: now.as_secs(),
            ttl_secs: ttl.map(|ttl| ttl.as_secs()),
            rev: call.head,
            signing_key: key.as_ref().map(|key| key.stored.id.clone()),
            actor,
            ancestors,
            session,
            family: family_id,
            sources: Vec::new(),
            options: request.options.clone(),
            claims: request.claims.clone(),
            request: request.repeat.map(|repeat| RequestDigest(repeat.body)),
            home: Some(client.tenant.clone()).filter(|home| *home != tenant.id),
        };
        token.sources = sources_of(&token, &parents)?;
        let family = self.new_family(&token, &standing, &parents, now);
        Ok(Decided { token, family, tenant, issuer, key })
    }

    /// The family that the token names, if it names one.
    fn new_family(
        &self,
        token: &AccessToken,
        standing: &Standing,
        parents: &[Arc<AccessToken>],
        now: Time,
    ) -> Option<Family> {
        let (id, ttl_secs) = (token.family.clone()?, token.ttl_secs?);
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
            token_ttl_secs: ttl_secs,
            absolute_expiry,
            idle_expiry: now.plus(standing.refresh_idle_ttl()),
            generation: 0,
            rotated: now,
            minted: Minted {
                issued_secs: token.issued_secs,
                ttl_secs,
                rev: token.rev,
                scopes: None,
                signing_key: token.signing_key.clone(),
                requested: None,
                kept: None,
            },
            derivation_key: self.directory.ring.current(),
            closed: false,
            actor: token.actor.clone(),
            ancestors: token.ancestors.clone(),
            session: token.session.clone(),
            sources: token.sources.clone(),
            options: token.options.clone(),
            claims: token.claims.clone(),
            request: token.request,
        })
    }

    /// Stores what was decided, and answers. A session that has lapsed is revoked first, so that its old tokens stay
    /// dead.
    async fn store(&self, call: &Call, request: &Request, mut decided: Decided, mut text: String) -> Result<Issued> {
        let now = self.now();
        let family_end = decided.family.as_ref().map(|family| family.absolute_expiry);
        if let Some(until) = family_end.max((decided.token.format == Format::Opaque).then(|| decided.token.expires())) {
            self.directory.note_derived(until).await?;
        }
        let existing = if request.repeat.is_some() { Existing::Keep } else { Existing::Replace };
        let minted = self.directory.store.mint(&mint(&decided, existing, false, now)).await?;
        if let (Some(record), Some(repeat)) = (&minted.token, request.repeat) {
            return Box::pin(self.repeated(call, record, repeat, decided, minted.family)).await;
        }
        if minted.session_lapsed
            && let Some(session) = decided.token.session.clone()
        {
            if let Grant::TokenExchange { .. } = &request.grant {
                return Err(exchange::lapsed());
            }
            text = Box::pin(self.revive(&session, &mut decided, now)).await?;
        }
        self.answer(decided, text)
    }

    /// Revokes what was minted in a session before it lapsed, and stores the token once more, with a `rev` behind that.
    /// Returns its new text.
    async fn revive(&self, session: &SessionId, decided: &mut Decided, now: Time) -> Result<String> {
        let ident = Ident::Session(decided.tenant.id.clone(), session.shared());
        let until = session_slot_until(&decided.tenant, now);
        decided.token.rev = self.directory.follower.append(&[Entry::revoke_until(ident, until)]).await?;
        if let Some(family) = &mut decided.family {
            family.rev = decided.token.rev;
            family.minted.rev = decided.token.rev;
        }
        let text = self.text(decided).await?;
        // The first write left a record, and a family, with the old `rev`.
        let mut again = mint(decided, Existing::Replace, true, now);
        if let Some(family) = &mut again.family {
            family.expected = Some(0);
        }
        self.directory.store.mint(&again).await?;
        Ok(text)
    }

    /// The reply to a request id that was used before: the same token, if it still lives.
    async fn repeated(
        &self,
        call: &Call,
        record: &[u8],
        repeat: Repeat,
        mut decided: Decided,
        family: Option<FamilyConflict>,
    ) -> Result<Issued> {
        let stored = super::verify::decode_token(record, &decided.token.id)?;
        repeat.check(stored.request.map(|digest| digest.0).unwrap_or_default())?;
        if let Some(FamilyConflict::Other(record)) = family {
            decided.family = Some(decode_family(&record)?);
        }
        // Options and claims of a JWT are not stored; the body that asks again is the same.
        decided.token =
            AccessToken { options: decided.token.options.take(), claims: decided.token.claims.take(), ..stored };
        let now = self.now();
        let revoked = self.directory.follower.revokes(&decided.token.idents(), decided.token.rev);
        if revoked || decided.token.expires() <= now {
            return Err(Error::new(Reason::TokenDied, "the token that this request id issued has died meanwhile"));
        }
        if decided.token.format == Format::Jwt {
            decided.key = self.key_of(&decided.token).await?;
        }
        let _: &Call = call;
        let text = self.text(&decided).await?;
        self.answer(decided, text)
    }

    fn answer(&self, decided: Decided, text: String) -> Result<Issued> {
        let refresh = match &decided.family {
            // A repeat is told the refresh token that it was told first, whatever became of it.
            Some(family) => Some((self.refresh_text(family, 0)?, family.expires())),
            None => None,
        };
        let position = decided.token.rev;
        Ok(Issued {
            token: Arc::new(decided.token),
            text,
            refresh,
            tenant: decided.tenant,
            issuer: decided.issuer,
            position,
        })
    }

    pub(super) fn refresh_text(&self, family: &Family, generation: u32) -> Result<SecretText> {
        RefreshContent { tenant: family.tenant.clone(), family: family.id.clone(), generation }
            .to_text(&*self.directory.ring, family.derivation_key)
            .ok_or_else(|| Error::internal("derive a refresh token: is its master key still configured?"))
    }

    async fn text(&self, decided: &Decided) -> Result<String> {
        self.token_text(&decided.token, &decided.issuer, decided.key.clone()).await
    }

    /// Writes an access token as its holder receives it.
    pub(super) async fn token_text(
        &self,
        token: &AccessToken,
        issuer: &str,
        key: Option<Arc<SigningKey>>,
    ) -> Result<String> {
        let Some(key) = key else {
            let ring = &self.directory.ring;
            let content = OpaqueContent { tenant: token.tenant.clone(), token: token.id.clone() };
            let text =
                content.to_text(&**ring, ring.current()).ok_or_else(|| Error::internal("derive an opaque token"))?;
            return Ok(text.expose().to_owned());
        };
        let input = jwt::signing_input(token, issuer, &key)?;
        let text = if key.signs_slowly() {
            // About a millisecond of CPU: off the worker threads.
            let signed = tokio::task::spawn_blocking(move || jwt::sign(input, &key)).await;
            signed.map_err(|source| Error::internal("sign a token").with_source(source))??
        } else {
            jwt::sign(input, &key)?
        };
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Error::new(
                Reason::TokenTooLarge,
                format!("the token would be longer than {MAX_TOKEN_BYTES} bytes"),
            ));
        }
        Ok(text)
    }

    /// The key that signs for a tenant now. Announces the next one when that is due.
    pub(super) async fn signing_key(&self, tenant: &Arc<Tenant>) -> Result<Arc<SigningKey>> {
        let now = self.now();
        let keys =
            self.directory.key_set(&tenant.id).await?.ok_or_else(|| Error::internal("find a tenant's signing keys"))?;
        let settings = &tenant.settings;
        let due = keys.is_due(now, settings.key_rotation_period(), settings.key_announcement());
        if let Some(key) = keys.active(now) {
            if due {
                self.rotate_later(tenant);
            }
            return Ok(Arc::clone(key));
        }
        // Nothing signs: announced keys that were never used may have been revoked.
        Box::pin(self.directory.rotate_key(tenant, Rotation::Due)).await?;
        let keys = self.directory.key_set(&tenant.id).await?;
        let key = keys.and_then(|keys| keys.active(now).cloned());
        key.ok_or_else(|| Error::internal("find a tenant's active signing key"))
    }

    /// The key that signed a token, if it still verifies.
    pub(super) async fn key_of(&self, token: &AccessToken) -> Result<Option<Arc<SigningKey>>> {
        let Some(id) = &token.signing_key else { return Ok(None) };
        let keys = self.directory.key_set(&token.tenant).await?;
        let key = keys.and_then(|keys| keys.verifying(id.as_str(), self.now()).cloned());
        key.map(Some).ok_or_else(|| Error::new(Reason::TokenDied, "the key that signed the token is gone"))
    }

    fn rotate_later(&self, tenant: &Arc<Tenant>) {
        let (directory, tenant) = (Arc::clone(&self.directory), Arc::clone(tenant));
        self.directory.tasks.spawn(async move {
            match directory.rotate_key(&tenant, Rotation::Due).await {
                Ok((key, _)) => tracing::info!(tenant = %tenant.id, key = %key.id, "announced the next signing key"),
                Err(error) => {
                    tracing::warn!(tenant = %tenant.id, error = %crate::token::error::chain(&error), "announcing the next signing key failed");
                }
            }
        });
    }
}

fn decide_scopes(request: &Request, allowed: &Scopes, default: Scopes, caller: &Caller) -> Result<Scopes> {
    let scopes = if request.scopes.is_empty() { default } else { Scopes::new(&request.scopes) };
    if let Some(beyond) = scopes.beyond(allowed) {
        return Err(Error::new(Reason::ScopeNotAllowed, format!("the scope {beyond} is not allowed")));
    }
    if scopes.to_claim().len() > MAX_SCOPE_BYTES {
        return Err(Error::field("scopes", format!("must be at most {MAX_SCOPE_BYTES} bytes in all")));
    }
    caller.may_grant(&scopes)?;
    Ok(scopes)
}

fn decide_audience(request: &Request, scopes: &Scopes, standing: &Standing, issuer: &str) -> Result<Audience> {
    let refuse = |message: String| Error::new(Reason::AudienceNotAllowed, message);
    // A resource server must not be able to replay at jeton what it was sent.
    let for_jeton = request.audience.iter().any(|audience| audience == issuer);
    if (for_jeton || scopes.has_management()) && request.audience.iter().any(|audience| audience != issuer) {
        return Err(refuse("a token for jeton itself has no other audience than the issuer".to_owned()));
    }
    if request.audience.is_empty() {
        return Ok(if scopes.has_management() {
            Audience::new([issuer], issuer)
        } else {
            Audience::new([standing.tenant.settings.default_audience(issuer)], issuer)
        });
    }
    let beyond =
        request.audience.iter().find(|audience| *audience != issuer && !standing.allows_audience(audience, issuer));
    match beyond {
        Some(beyond) => Err(refuse(format!("the audience {beyond} is not allowed"))),
        None => Ok(Audience::new(&request.audience, issuer)),
    }
}

/// How long the token lives, in whole seconds; `None`: for ever.
fn decide_ttl(
    request: &Request,
    standing: &Standing,
    grant: GrantType,
    parents: &[Arc<AccessToken>],
    caller: &Caller,
    now: Time,
) -> Result<Option<Duration>> {
    let max = standing.tenant.settings.max_token_ttl();
    let left = end_of(parents).since(now.whole_secs());
    let out_of_range = |message: String| {
        let field = "lifetime";
        Error::new(Reason::TtlOutOfRange, message.clone()).with_violation(field, message)
    };
    match request.lifetime {
        Lifetime::Never => {
            let allowed = standing.tenant.settings.eternal_tokens && caller.has(management::TOKENS_ETERNAL);
            if grant == GrantType::TokenExchange {
                return Err(Error::new(Reason::EternalNotAllowed, "a token that is exchanged always expires"));
            }
            if !allowed || !end_of(parents).is_never() {
                return Err(Error::new(
                    Reason::EternalNotAllowed,
                    "eternal tokens want jeton.tokens.eternal and a tenant that allows them",
                ));
            }
            Ok(None)
        }
        Lifetime::Default => Ok(Some(standing.token_ttl(grant).min(left).max(Duration::from_secs(1)))),
        Lifetime::For(ttl) => {
            let ttl = Duration::from_secs(ttl.as_secs());
            if ttl.is_zero() {
                return Err(out_of_range("must be at least 1s".to_owned()));
            }
            if ttl > max {
                return Err(out_of_range(format!("must be at most {}s, the tenant's max_token_ttl", max.as_secs())));
            }
            if ttl > left {
                return Err(out_of_range(format!(
                    "must be at most {}s, what is left of the life of the token that it comes from",
                    left.as_secs()
                )));
            }
            Ok(Some(ttl))
        }
    }
}

fn refuse_eternal_with(format: Format, refresh: bool) -> Result<()> {
    if format == Format::Jwt {
        // Its signing key could never retire.
        return Err(Error::field("format", "must be TOKEN_FORMAT_OPAQUE for a token that never expires"));
    }
    if refresh {
        return Err(Error::field("include_refresh_token", "must not be set for a token that never expires"));
    }
    Ok(())
}

/// A token that dies with its bearer also dies with the bearer's session.
fn decide_session(request: &Request, bearer: Option<&Arc<AccessToken>>) -> Result<Option<SessionId>> {
    let own = bearer.and_then(|bearer| bearer.session.clone());
    match (&request.session, own) {
        (Some(asked), Some(own)) if *asked != own => {
            Err(Error::field("session_id", "must be the bearer's own session or left out"))
        }
        (Some(asked), _) => Ok(Some(asked.clone())),
        (None, own) => Ok(own),
    }
}

fn check_json(request: &Request) -> Result<()> {
    for (name, json) in [("options", &request.options), ("claims", &request.claims)] {
        if json.as_ref().is_some_and(|json| json.as_str().len() > MAX_JSON_BYTES) {
            let message = format!("{name} must be at most {MAX_JSON_BYTES} bytes as JSON");
            return Err(Error::new(Reason::TokenTooLarge, message.clone()).with_violation(name, message));
        }
    }
    Ok(())
}

/// When the first of some tokens expires.
fn end_of(parents: &[Arc<AccessToken>]) -> Time {
    parents.iter().map(|parent| parent.expires()).min().unwrap_or(Time::NEVER)
}

/// What the new token dies with besides what it names itself: all that its parents die with.
fn sources_of(token: &AccessToken, parents: &[Arc<AccessToken>]) -> Result<Vec<Source>> {
    let own = token.idents();
    let mut sources = Vec::new();
    for ident in parents.iter().flat_map(|parent| parent.idents().iter().cloned().collect::<Vec<_>>()) {
        if let Some(source) = Source::of(&ident)
            && !own.iter().any(|own| *own == ident)
            && !sources.contains(&source)
        {
            sources.push(source);
        }
    }
    if sources.len() > MAX_SOURCES {
        return Err(Error::new(
            Reason::GrantNotAllowed,
            format!("the token would depend on too much; at most {MAX_SOURCES} tokens and other things are recorded"),
        ));
    }
    Ok(sources)
}

fn mint(decided: &Decided, exists: Existing, revive: bool, now: Time) -> Mint {
    let token = &decided.token;
    let expires = token.expires();
    let remembered = if token.request.is_some() { now.plus(REQUEST_MEMORY) } else { now };
    let family_end = decided.family.as_ref().map(|family| family.absolute_expiry);
    Mint {
        now,
        token: Some(token_mint(token, expires.max(remembered), exists)),
        family: decided.family.as_ref().map(|family| family_mint(family, 0, None)),
        session: session_mint(token, &decided.tenant, family_end, revive, now),
    }
}

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

pub(super) fn session_mint(
    token: &AccessToken,
    tenant: &Tenant,
    family_end: Option<Time>,
    revive: bool,
    now: Time,
) -> Option<SessionMint> {
    let session = token.session.clone()?;
    Some(SessionMint {
        key: SessionKey { tenant: token.tenant.clone(), session },
        now,
        idle: tenant.settings.session_idle_ttl(),
        until: token.expires().max(family_end.unwrap_or(now)).plus(SLOT_MARGIN),
        revive,
    })
}

/// Until when the revocation of a session must be remembered: nothing that was minted in it lives longer.
pub(super) fn session_slot_until(tenant: &Tenant, now: Time) -> Time {
    let settings = &tenant.settings;
    if settings.eternal_tokens {
        return Time::NEVER;
    }
    now.plus(settings.max_token_ttl().max(settings.refresh_absolute_ttl())).plus(SLOT_MARGIN)
}

/// In whose list a token stands.
pub(super) fn subject_key(token: &AccessToken) -> SubjectKey {
    match &token.subject {
        Subject::Client(_) => SubjectKey::Client(token.tenant.clone(), token.client.clone()),
        Subject::Account(account) => SubjectKey::Account(account.clone()),
        Subject::Member(_, member) => SubjectKey::Member(member.clone()),
        Subject::OtherClient(client, _) => SubjectKey::Client(token.tenant.clone(), client.clone()),
    }
}

pub(super) fn decode_family(record: &FamilyRecord) -> Result<Family> {
    minicbor::decode(&record.body).map_err(|source| Error::internal("decode a family").with_source(source))
}
