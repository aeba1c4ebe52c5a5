//! Reading what is known of tokens.

use std::sync::Arc;

use jeton_core::{AccessToken, TokenId};

use super::{Issuer, records::decode_token, verified::Verified};
use crate::{
    directory::{
        page::{MAX_SIZE, Page, PageRequest},
        permit::Act,
    },
    error::{Error, Result},
    notation::filter::{Field, Filter, MOMENT_OPS, NAME_OPS, SET_OPS, TEXT_OPS, Value},
    store::{IndexEntry, SubjectKey},
};

/// A token with where it stands in its life.
#[derive(Clone, Debug)]
pub struct Listed {
    pub token: Arc<AccessToken>,
    pub state: TokenState,
    pub issuer: Arc<str>,
}

/// Where a token stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    Active,
    Revoked,
    Expired,
}

/// Whose tokens to list.
#[derive(Clone, Debug)]
pub enum ListSubject {
    /// An account, by id or foreign id.
    Account(String),
    Client(String),
    /// A member, by id or foreign id.
    Member(String),
    /// An entity group, by id or foreign id.
    Group(String),
}

/// The fields that tokens can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { name: "state", ops: NAME_OPS, value: state },
    Field { name: "scope", ops: SET_OPS, value: any },
    Field { name: "session_id", ops: TEXT_OPS, value: any },
    Field { name: "creator", ops: TEXT_OPS, value: any },
    Field { name: "expire_time", ops: MOMENT_OPS, value: crate::notation::moment::canonical },
];

// === impl Issuer ===

impl Issuer {
    /// What is known of a token by its id.
    pub async fn token(&self, act: &Act, id: &str) -> Result<Listed> {
        let token = self.token_in_reach(act, id).await?;
        let token = token.ok_or_else(|| Error::not_found("Token", id))?;
        let mut listed = self.judge_records(vec![token]).await?;
        listed.pop().ok_or_else(|| Error::internal("judge one token"))
    }

    /// Lists the tokens of a subject, by expiry. A page examines at most [`MAX_SIZE`] rows.
    pub async fn list(
        &self,
        act: &Act,
        subject: &ListSubject,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Listed>> {
        let tenant = act.tenant();
        let key = self.list_of(act, subject).await?;
        let now = self.now();
        let after = page.cursor.as_deref().map(parse_cursor).transpose()?;
        // Without a filter every row is shown, so no more need be examined.
        let rows = if filter.is_empty() { page.size + 1 } else { MAX_SIZE };
        let entries = self.core.store.subject_page(&key, after.as_ref(), now, rows.min(MAX_SIZE)).await?;
        let ids: Vec<TokenId> = entries.iter().map(|entry| entry.token.clone()).collect();
        let records = self.core.store.tokens(&ids).await?;
        let mut tokens = Vec::new();
        for (entry, record) in entries.iter().zip(records) {
            // The list is a hint, the record is the truth.
            let Some(record) = record else { continue };
            let token = decode_token(&record, &entry.token)?;
            if token.tenant == *tenant && act.may_touch(&token) {
                tokens.push(token);
            }
        }
        let mut judged = self.judge_records(tokens).await?.into_iter().peekable();
        let mut items = Vec::new();
        for (row, entry) in entries.iter().enumerate() {
            if let Some(listed) = judged.next_if(|listed| listed.token.id == entry.token)
                && listed.state != TokenState::Expired
                && matches(filter, &listed)
            {
                items.push(listed);
            }
            if items.len() == page.size && row + 1 < entries.len() {
                return Ok(Page { items, next: page.next(&cursor(entry), &self.core.ring)? });
            }
        }
        let next = match entries.last() {
            Some(last) if entries.len() >= rows.min(MAX_SIZE) => page.next(&cursor(last), &self.core.ring)?,
            _ => String::new(),
        };
        Ok(Page { items, next })
    }

    /// The list of a subject's tokens, if the caller may see it.
    async fn list_of(&self, act: &Act, subject: &ListSubject) -> Result<SubjectKey> {
        Ok(match subject {
            ListSubject::Account(reference) => {
                let account = act.reachable_account(reference).await?;
                SubjectKey::Account(account.id.clone())
            }
            ListSubject::Member(reference) => {
                act.require_scope()?;
                SubjectKey::Member(act.reachable_member(reference).await?.id.clone())
            }
            ListSubject::Group(reference) => {
                act.require_scope()?;
                SubjectKey::Group(act.reachable_group(reference).await?.id.clone())
            }
            ListSubject::Client(id) => SubjectKey::Client(act.tenant().clone(), self.client_in_reach(act, id).await?),
        })
    }

    async fn judge_records(&self, tokens: Vec<AccessToken>) -> Result<Vec<Listed>> {
        let now = self.now();
        let verified: Vec<_> = tokens
            .into_iter()
            .map(|token| {
                let issuer = self.directory.issuer(&token.tenant);
                Verified::new(token, &issuer)
            })
            .collect();
        let active = self.are_active(&verified).await?;
        let judge = |(verified, active): (Arc<Verified>, bool)| Listed {
            state: match active {
                true => TokenState::Active,
                false if verified.token.expires() <= now => TokenState::Expired,
                false => TokenState::Revoked,
            },
            token: Arc::clone(&verified.token),
            issuer: Arc::clone(&verified.issuer),
        };
        Ok(verified.into_iter().zip(active).map(judge).collect())
    }
}

impl ListSubject {
    /// The id or foreign id.
    pub fn reference(&self) -> &str {
        let (Self::Account(reference) | Self::Client(reference) | Self::Member(reference) | Self::Group(reference)) =
            self;
        reference
    }
}

impl TokenState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Revoked => "REVOKED",
            Self::Expired => "EXPIRED",
        }
    }
}

fn matches(filter: &Filter, listed: &Listed) -> bool {
    let token = &listed.token;
    let creator = token.creator();
    filter.matches(|field, _| match field {
        "state" => Value::Name(listed.state.name()),
        "scope" => Value::Set(token.scopes.iter().collect()),
        "session_id" => Value::Text(token.session.as_ref().map(|session| session.as_str())),
        "creator" => Value::Text(Some(&creator)),
        _ => Value::Moment(crate::notation::moment::format(token.expires())),
    })
}

fn state(value: &str) -> Option<String> {
    let known = [TokenState::Active, TokenState::Revoked, TokenState::Expired];
    known.into_iter().map(TokenState::name).find(|name| *name == value).map(str::to_owned)
}

#[expect(clippy::unnecessary_wraps, reason = "a filter field's value function may refuse; this one takes any text")]
fn any(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn cursor(entry: &IndexEntry) -> String {
    format!("{} {}", entry.expires.as_millis(), entry.token)
}

fn parse_cursor(cursor: &str) -> Result<IndexEntry> {
    let lost = || Error::internal("read the cursor of a page token");
    let (expires, token) = cursor.split_once(' ').ok_or_else(lost)?;
    Ok(IndexEntry {
        expires: jeton_core::Time::from_millis(expires.parse().map_err(|_| lost())?),
        token: token.parse().map_err(|_| lost())?,
    })
}
