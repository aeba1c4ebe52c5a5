//! Revocation: of one token, of exactly what is given, and of everything of a target.

use jeton_contract::reason::Reason;
use jeton_core::{
    AccessToken, ClientId, Family, Ident, Position, SessionId, Subject, Time, TokenId,
    entry::{Effect, Entry},
    retention,
    secret::{RefreshContent, SecretKind},
};

use super::{
    Issuer, MAX_RACES,
    records::{decode_family, decode_token, family_mint},
};
use crate::{
    directory::{
        caller::require_unconfined,
        permit::{Act, Visit},
    },
    error::{Error, Result},
    store::{FamilyConflict, Mint, SessionKey},
};

/// What to revoke everything of.
#[derive(Clone, Debug)]
pub enum Target {
    /// An account, by id or foreign id.
    Account {
        reference: String,
        descendants: bool,
    },
    /// What a client obtained in the tenant.
    Client(String),
    /// A member, in whatever account, by id or foreign id.
    Member(String),
    /// An entity group with its members in it, by id or foreign id.
    Group(String),
    Sessions(Vec<SessionId>),
    Tenant,
}

/// What became of one token that was given to be invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is dead now.
    Invalidated,
    /// It is no token of ours of that use.
    Unrecognized,
}

// === impl Issuer ===

impl Issuer {
    /// Revokes a token that the caller possesses; a refresh token takes its family along. Unknown tokens are fine.
    pub async fn revoke(&self, visit: &Visit, text: &str) -> Result<Position> {
        let head = visit.head();
        if SecretKind::of(text) == Some(SecretKind::Refresh) {
            // Its text says how long to remember it: the family's record may be gone, and access tokens still live.
            return match RefreshContent::from_text(text, &*self.core.ring) {
                Some((content, _)) => {
                    self.append(vec![retention::of_family(&content.tenant, &content.family, content.ends)]).await
                }
                None => Ok(head),
            };
        }
        match self.resolve(text).await? {
            Some(verified) => self.append(vec![retention::of_token(&verified.token)]).await,
            None => Ok(head),
        }
    }

    /// Revokes an access token by its id: one's own, or any within reach. Unknown ids are fine.
    pub async fn revoke_by_id(&self, act: &Act, id: &str) -> Result<Position> {
        let token = self.token_in_reach(act, id).await?;
        match token {
            Some(token) => self.append(vec![retention::of_token(&token)]).await,
            None => {
                act.require_scope()?;
                Ok(act.head())
            }
        }
    }

    /// Invalidates exactly what is given.
    pub async fn invalidate(
        &self,
        visit: &Visit,
        access: Option<&str>,
        refresh: Option<&str>,
    ) -> Result<(Option<Outcome>, Option<Outcome>, Position)> {
        if access.is_none() && refresh.is_none() {
            let message = "access_token or refresh_token must be given";
            return Err(Error::new(Reason::TokenRequired, message).with_violation("access_token", message));
        }
        let mut position = visit.head();
        let mut entries = Vec::new();
        let access = match access {
            None => None,
            Some(text) => Some(match self.resolve(text).await? {
                Some(verified) => {
                    entries.push(retention::of_token(&verified.token));
                    Outcome::Invalidated
                }
                None => self.dead_or_unknown(text),
            }),
        };
        let refresh = match refresh {
            None => None,
            Some(text) => Some(match RefreshContent::from_text(text, &*self.core.ring) {
                Some((content, _)) => {
                    if self.close(&content).await? {
                        entries.push(Entry::changed(Ident::Family(content.tenant, content.family)));
                    }
                    Outcome::Invalidated
                }
                None => Outcome::Unrecognized,
            }),
        };
        if !entries.is_empty() {
            position = self.append(entries).await?;
        }
        Ok((access, refresh, position))
    }

    /// Revokes every token of a target at the cost of one entry.
    pub async fn revoke_all(&self, act: &Act, target: &Target, keep_current: bool) -> Result<Position> {
        let except = match (keep_current, &act.caller().token) {
            (false, _) => None,
            (true, Some(token)) => Some(token.except()),
            (true, None) => return Err(Error::field("keep_current", "must not be set without a bearer token")),
        };
        if let Target::Sessions(sessions) = target {
            act.require_scope()?;
            require_unconfined(act.caller())?;
            return self.end_sessions(act, sessions, except).await;
        }
        let ident = self.principal(act, target).await?;
        let effect = Effect::Revoke { except, until: Time::NEVER };
        self.append(vec![Entry { ident, effect, effective: None }]).await
    }

    /// Revokes what was minted for sessions so far. Of one for which nothing was, there is nothing to remember.
    async fn end_sessions(&self, act: &Act, sessions: &[SessionId], except: Option<Ident>) -> Result<Position> {
        let tenant = act.tenant();
        let key = |session: &SessionId| SessionKey { tenant: tenant.clone(), session: session.clone() };
        let keys: Vec<_> = sessions.iter().map(key).collect();
        let ident = |key: &SessionKey| Ident::Session(tenant.clone(), key.session.clone());
        let store = &self.core.store;
        let Some(except) = except else {
            let ended = store.end_sessions(&keys).await?;
            let entries = keys.iter().zip(ended).filter_map(|(key, ended)| {
                let ended = ended?;
                Some(retention::of_session(ident(key), ended.floor, ended.until))
            });
            return self.append(entries.collect()).await;
        };
        // A session in which somebody goes on takes in what is minted meanwhile. If that lives longer, so does the entry.
        let mut known = vec![None; keys.len()];
        let mut position = act.head();
        for _ in 0..MAX_RACES {
            let now = store.sessions(&keys).await?.into_iter().map(|session| session.map(|session| session.until));
            let now: Vec<_> = now.collect();
            if now.iter().zip(&known).all(|(now, known)| now <= known) {
                return Ok(position);
            }
            let entries = keys.iter().zip(&now).filter_map(|(key, until)| {
                Some(retention::of_open_session(ident(key), (*until)?, Some(except.clone())))
            });
            position = self.append(entries.collect()).await?;
            known = now;
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent mints for the sessions"))
    }

    /// The token record of an id, if the caller may act on it: by scope within reach, or as its own.
    pub(super) async fn token_in_reach(&self, act: &Act, id: &str) -> Result<Option<AccessToken>> {
        let Ok(id) = id.parse::<TokenId>() else { return Ok(None) };
        let Some(record) = self.core.store.token(&id).await? else { return Ok(None) };
        let token = decode_token(&record, &id)?;
        let within = token.tenant == *act.tenant() && act.may_touch(&token);
        Ok(within.then_some(token))
    }

    /// What the log calls a target that is not a list of sessions, if the caller may revoke everything of it.
    async fn principal(&self, act: &Act, target: &Target) -> Result<Ident> {
        let (caller, tenant) = (act.caller(), act.tenant());
        match target {
            Target::Account { reference, descendants } => {
                let account = act.reachable_account(reference).await?;
                let id = account.id.clone();
                let tenant = tenant.clone();
                Ok(if *descendants { Ident::Subtree(tenant, id) } else { Ident::Account(tenant, id) })
            }
            Target::Client(id) => Ok(Ident::Admission(tenant.clone(), self.client_in_reach(act, id).await?)),
            Target::Member(reference) => {
                act.require_scope()?;
                let member = act.reachable_member(reference).await?;
                Ok(Ident::Member(tenant.clone(), member.id.clone()))
            }
            Target::Group(reference) => {
                act.require_scope()?;
                let group = act.reachable_group(reference).await?;
                Ok(Ident::Group(tenant.clone(), group.id.clone()))
            }
            Target::Sessions(_) => Err(Error::internal("name one target of many")),
            Target::Tenant => {
                act.require_scope()?;
                require_unconfined(caller)?;
                self.directory.existing_tenant(tenant).await?;
                Ok(Ident::Tenant(tenant.clone()))
            }
        }
    }

    /// The client whose tokens the caller may list and revoke: itself, or by scope one that is at home in the tenant within
    /// the caller's reach, or admitted to it.
    pub(super) async fn client_in_reach(&self, act: &Act, id: &str) -> Result<ClientId> {
        let (caller, tenant) = (act.caller(), act.tenant());
        let own = matches!(caller.subject, Subject::Client(_)) && caller.sub == id && *tenant == caller.tenant;
        if !own {
            act.require_scope()?;
        }
        let client: ClientId = id.parse().map_err(|_| Error::not_found("Client", id))?;
        if own {
            return Ok(client);
        }
        match act.reachable_client(id).await {
            Err(error) if error.reason() == Reason::NotFound => {
                let admitted = self.directory.admission(tenant, &client).await?.is_some();
                if admitted && caller.confinement(tenant).is_none() { Ok(client) } else { Err(error) }
            }
            other => other.map(|_| client),
        }
    }

    /// Ends the renewal of a family while its access tokens live on. False if it had ended before.
    async fn close(&self, content: &RefreshContent) -> Result<bool> {
        for _ in 0..MAX_RACES {
            let Some(record) = self.core.store.family(&content.family).await? else { return Ok(false) };
            let current = decode_family(&record)?;
            let was_closed = current.closed;
            // Written once more if it is closed: finding the work done does not make it durable.
            let closed = Family { closed: true, ..current };
            let mint = Mint {
                now: self.now(),
                token: None,
                family: Some(family_mint(&closed, record.revision.wrapping_add(1), Some(record.revision))),
                session: None,
            };
            match self.core.store.mint(&mint).await?.family {
                Some(FamilyConflict::Other(_)) => {}
                Some(FamilyConflict::Gone) | None => return Ok(!was_closed),
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent renewals"))
    }

    /// An access token that is genuine but not stored any more is dead; anything else is none.
    fn dead_or_unknown(&self, text: &str) -> Outcome {
        use jeton_core::secret::OpaqueContent;
        match OpaqueContent::from_text(text, &*self.core.ring) {
            Some(_) => Outcome::Invalidated,
            None => Outcome::Unrecognized,
        }
    }

    /// Appends entries that revoke something that still lives; the position is at or above the one that revokes it.
    async fn append(&self, entries: Vec<Entry>) -> Result<Position> {
        self.core.log.append_new(entries).await
    }
}
