//! Revocation: of one token, of exactly what is given, and of everything of a target.

use super::{
    Issuer, MAX_RACES,
    issue::{SLOT_MARGIN, decode_family, family_mint, session_slot_until},
    verify::decode_token,
};
use crate::{
    ambient::Time,
    directory::{
        caller::{Right, require_unconfined},
        permit::{Act, Visit},
    },
    revocation::entry::{Effect, Entry},
    store::{FamilyConflict, Mint},
    token::{
        AccessToken, Error, Family, Ident, Position, Reason, Result, Subject, TokenId,
        secret::{RefreshContent, SecretKind},
    },
};

/// What to revoke everything of.
#[derive(Clone, Debug)]
pub enum Target {
    /// An account, by id or foreign id.
    Account {
        slot: String,
        descendants: bool,
    },
    /// What a client obtained in the tenant.
    Client(String),
    /// A member, in whatever account, by id or foreign id.
    Member(String),
    /// An entity group with its members in it, by id or foreign id.
    Group(String),
    Sessions(Vec<String>),
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
            return match self.family_of(text).await? {
                Some((family, _)) => self.append(&[family_entry(&family)]).await,
                None => Ok(head),
            };
        }
        match self.resolve(text).await? {
            Some(verified) => self.append(&[token_entry(&verified.token)]).await,
            None => Ok(head),
        }
    }

    /// Revokes an access token by its id: one's own, or any within reach. Unknown ids are fine.
    pub async fn revoke_by_id(&self, act: &Act, id: &str) -> Result<Position> {
        let token = self.token_in_reach(act, id).await?;
        match token {
            Some(token) => self.append(&[token_entry(&token)]).await,
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
                    entries.push(token_entry(&verified.token));
                    Outcome::Invalidated
                }
                None => self.dead_or_unknown(text),
            }),
        };
        let refresh = match refresh {
            None => None,
            Some(text) => Some(match RefreshContent::from_text(text, &*self.directory.ring) {
                Some((content, _)) => {
                    if let Some((family, _)) = self.family_of(text).await? {
                        self.close(&family).await?;
                    }
                    entries.push(Entry::changed(Ident::Family(content.tenant, content.family)));
                    Outcome::Invalidated
                }
                None => Outcome::Unrecognized,
            }),
        };
        if !entries.is_empty() {
            position = self.append(&entries).await?;
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
        let (idents, until) = self.targets(act, target).await?;
        let entries: Vec<_> = idents
            .into_iter()
            .map(|ident| Entry { ident, effect: Effect::Revoke { except: except.clone(), until }, effective: None })
            .collect();
        self.append(&entries).await
    }

    /// The token record of an id, if the caller may act on it: by scope within reach, or as its own.
    pub(super) async fn token_in_reach(&self, act: &Act, id: &str) -> Result<Option<AccessToken>> {
        let Ok(id) = id.parse::<TokenId>() else { return Ok(None) };
        let Some(record) = self.directory.store.token(&id).await? else { return Ok(None) };
        let token = decode_token(&record, &id)?;
        let within = token.tenant == *act.tenant() && may_touch(act, &token);
        Ok(within.then_some(token))
    }

    async fn targets(&self, act: &Act, target: &Target) -> Result<(Vec<Ident>, Time)> {
        let (caller, tenant) = (act.caller(), act.tenant());
        match target {
            Target::Account { slot, descendants } => {
                let account = self.directory.reachable_account(act, slot).await?;
                let id = account.id.clone();
                let ident =
                    if *descendants { Ident::Subtree(tenant.clone(), id) } else { Ident::Account(tenant.clone(), id) };
                Ok((vec![ident], Time::NEVER))
            }
            Target::Client(slot) => {
                let own =
                    matches!(caller.subject, Subject::Client(_)) && caller.sub == *slot && *tenant == caller.tenant;
                if !own {
                    act.require_scope()?;
                    self.client_in_reach(act, slot).await?;
                }
                let client = slot.parse().map_err(|_| Error::not_found("Client", slot))?;
                Ok((vec![Ident::Admission(tenant.clone(), client)], Time::NEVER))
            }
            Target::Member(slot) => {
                act.require_scope()?;
                let member = self.directory.reachable_member(act, slot).await?;
                Ok((vec![Ident::Member(tenant.clone(), member.id.clone())], Time::NEVER))
            }
            Target::Group(slot) => {
                act.require_scope()?;
                let group = self.directory.reachable_group(act, slot).await?;
                Ok((vec![Ident::Group(tenant.clone(), group.id.clone())], Time::NEVER))
            }
            Target::Sessions(sessions) => {
                act.require_scope()?;
                require_unconfined(caller)?;
                let record = self.directory.existing_tenant(tenant).await?;
                let idents = sessions.iter().map(|session| Ident::Session(tenant.clone(), session.as_str().into()));
                Ok((idents.collect(), session_slot_until(&record, self.now())))
            }
            Target::Tenant => {
                act.require_scope()?;
                require_unconfined(caller)?;
                self.directory.existing_tenant(tenant).await?;
                Ok((vec![Ident::Tenant(tenant.clone())], Time::NEVER))
            }
        }
    }

    /// Refuses a client that is neither at home in the tenant, within the caller's reach, nor admitted to it.
    pub(super) async fn client_in_reach(&self, act: &Act, slot: &str) -> Result<()> {
        let (caller, tenant) = (act.caller(), act.tenant());
        match self.directory.reachable_client(act, slot).await {
            Err(error) if error.reason() == Reason::NotFound => {
                let Ok(client) = slot.parse() else { return Err(error) };
                let admitted = self.directory.admission(tenant, &client).await?.is_some();
                if admitted && caller.confinement(tenant).is_none() { Ok(()) } else { Err(error) }
            }
            other => other.map(|_| ()),
        }
    }

    /// The family of a genuine refresh token, if it is stored.
    async fn family_of(&self, text: &str) -> Result<Option<(Family, u32)>> {
        let Some((content, _)) = RefreshContent::from_text(text, &*self.directory.ring) else {
            return Ok(None);
        };
        let Some(record) = self.directory.store.family(&content.family).await? else {
            return Ok(None);
        };
        let family = decode_family(&record)?;
        let same = family.id == content.family && family.tenant == content.tenant;
        Ok(same.then_some((family, record.revision)))
    }

    /// Ends the renewal of a family while its access tokens live on.
    async fn close(&self, family: &Family) -> Result<()> {
        for _ in 0..MAX_RACES {
            let Some(record) = self.directory.store.family(&family.id).await? else { return Ok(()) };
            let current = decode_family(&record)?;
            let closed = Family { closed: true, ..current };
            let mint = Mint {
                now: self.now(),
                token: None,
                family: Some(family_mint(&closed, record.revision.wrapping_add(1), Some(record.revision))),
                session: None,
            };
            match self.directory.store.mint(&mint).await?.family {
                Some(FamilyConflict::Other(_)) => {}
                Some(FamilyConflict::Gone) | None => return Ok(()),
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent renewals"))
    }

    /// An access token that is genuine but not stored any more is dead; anything else is none.
    fn dead_or_unknown(&self, text: &str) -> Outcome {
        use crate::token::secret::OpaqueContent;
        match OpaqueContent::from_text(text, &*self.directory.ring) {
            Some(_) => Outcome::Invalidated,
            None => Outcome::Unrecognized,
        }
    }

    async fn append(&self, entries: &[Entry]) -> Result<Position> {
        self.directory.follower.append(entries).await
    }
}

/// Whether a caller may see or revoke a token: by scope within reach, or as its own.
pub(super) fn may_touch(act: &Act, token: &AccessToken) -> bool {
    let caller = act.caller();
    let own = caller.token.as_ref().is_some_and(|bearer| bearer.id == token.id);
    if own {
        return true;
    }
    match act.right() {
        Right::Scope => caller.reaches_subject(&token.tenant, token.account(), &token.ancestors),
        Right::OwnOnly => match (&caller.subject, &token.subject) {
            (Subject::Client(_), Subject::Client(_)) => {
                caller.tenant == token.tenant && caller.standing.client.id == token.client
            }
            (Subject::Account(own), Subject::Account(account)) => account == own || token.ancestors.contains(own),
            // What another client obtained in its name is the client's own.
            (Subject::Client(_), Subject::OtherClient(client, _)) => {
                caller.tenant == token.tenant && caller.standing.client.id == *client
            }
            // A member or a group has the token that it acts with, no more; so has whoever acts for a client.
            (Subject::OtherClient(..) | Subject::Member(..) | Subject::Group(..), _)
            | (Subject::Client(_), Subject::Account(_) | Subject::Member(..) | Subject::Group(..))
            | (
                Subject::Account(_),
                Subject::Client(_) | Subject::Member(..) | Subject::Group(..) | Subject::OtherClient(..),
            ) => false,
        },
    }
}

fn token_entry(token: &AccessToken) -> Entry {
    Entry::revoke_until(Ident::Token(token.tenant.clone(), token.id.clone()), token.expires().plus(SLOT_MARGIN))
}

fn family_entry(family: &Family) -> Entry {
    Entry::revoke_until(
        Ident::Family(family.tenant.clone(), family.id.clone()),
        family.absolute_expiry.plus(SLOT_MARGIN),
    )
}
