//! Tokens, their lists, families and sessions: each under a tag of its own, so that load spreads and what one call stores
//! is sent together.

use async_trait::async_trait;
use bytes::Bytes;
use jeton_core::{FamilyId, Time, TokenId, base62};
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::{
    Redis,
    answer::{self, Answers, unreadable},
    connection::{self, Confirm, pipeline},
    expiry, keys, scripts,
};
use crate::{
    storage::{Error, Result},
    store::{
        Ended, Existing, FamilyConflict, FamilyMint, FamilyRecord, IndexEntry, Mint, Minted, PRUNE_MARGIN,
        SESSION_MARGIN, Session, SessionConflict, SessionKey, SessionMint, SubjectKey, TokenMint, Tokens,
    },
};

/// The script's answer for a session that is another's.
const OWNED: i64 = 2;
/// What storing a token is called in errors.
const STORE: &str = "store a token";
/// Bytes of the revision that a family begins with.
const REVISION: usize = 4;
/// Bytes of the expiry that a token begins with: where it stands in its subject's list.
const EXPIRY: usize = 6;

#[async_trait]
impl Tokens for Redis {
    async fn mint(&self, mint: &Mint) -> Result<Minted> {
        let mut commands = pipeline([]);
        if let Some(token) = &mint.token {
            commands.add_command(set_token(token, token.exists));
            commands.add_command(index_call(token, token.expires, None));
        }
        if let Some(family) = &mint.family {
            commands.add_command(family_call(family, mint.now));
        }
        if let Some(session) = &mint.session {
            commands.add_command(session_call(session));
        }
        let mut minted = Minted { token: None, family: None, session: None };
        if commands.is_empty() {
            return Ok(minted);
        }

        let deadline = connection::deadline();
        let sent = self.connections.send_by(deadline, STORE, commands, Confirm::Yes);
        let mut answers = Answers::new(sent.await?);
        if let Some(token) = &mint.token {
            let [before, _listed] = [answers.take()?, answers.take()?];
            if let Some(before) = answer::bytes(before)? {
                minted.token = self.settle_token(deadline, token, before, mint.now).await?;
            }
        }
        if let Some(family) = &mint.family {
            minted.family = family_conflict(family, answers.take()?)?;
        }
        if mint.session.is_some() {
            let answer = answers.take()?;
            let owned = answer == Value::Int(OWNED);
            let ended = ended(answer)?.map(SessionConflict::Ended);
            minted.session = if owned { Some(SessionConflict::Owned) } else { ended };
        }
        Ok(minted)
    }

    async fn token(&self, id: &TokenId) -> Result<Option<Bytes>> {
        Ok(self.bodies(std::slice::from_ref(id)).await?.pop().flatten())
    }

    async fn tokens(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        self.bodies(ids).await
    }

    async fn family(&self, id: &FamilyId) -> Result<Option<FamilyRecord>> {
        let mut get = Cmd::new();
        get.arg("GET").arg(keys::family(id));
        let value = answer::bytes(self.connections.ask("read a family", get, Confirm::Yes).await?)?;
        value.map(|value| family_from(&value).ok_or_else(|| Error::corrupt(format!("family {id}")))).transpose()
    }

    async fn sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Session>>> {
        let values = self.values("read sessions", sessions.iter().map(keys::session)).await?;
        let known = values.into_iter().map(|value| {
            value.map(|value| session_from(&value).ok_or_else(|| Error::corrupt("a session's record"))).transpose()
        });
        known.collect()
    }

    async fn end_sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Ended>>> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let calls = pipeline(sessions.iter().map(|session| scripts::SESSION.on(&[keys::session(session)])));
        let sent = self.connections.send_by(connection::deadline(), "end sessions", calls, Confirm::Yes).await?;
        sent.into_iter().map(ended).collect()
    }

    async fn subject_page(
        &self,
        subject: &SubjectKey,
        after: Option<&IndexEntry>,
        now: Time,
        limit: usize,
    ) -> Result<Vec<IndexEntry>> {
        // What expires up to now is over; members are ordered by expiry first.
        let alive = IndexEntry { expires: now, token: TokenId::from_bytes([u8::MAX; 16]) };
        let after = after.map_or(&alive, |after| after.max(&alive));
        let from = [b"(".as_slice(), &after.to_bytes()].concat();
        let mut range = Cmd::new();
        range.arg("ZRANGEBYLEX").arg(keys::subject(subject)).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit);
        let members = answer::list(self.connections.ask("list tokens", range, Confirm::No).await?)?;
        let entries = members.into_iter().map(|member| {
            let member = answer::bytes(member)?.ok_or_else(unreadable)?;
            IndexEntry::from_bytes(&member).ok_or_else(|| Error::corrupt(format!("the list of tokens of {subject}")))
        });
        entries.collect()
    }
}

impl Redis {
    /// Reads tokens' records, in the order of `ids`.
    async fn bodies(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        let values = self.values("read tokens", ids.iter().map(keys::token)).await?;
        let records = ids.iter().zip(values).map(|(id, value)| {
            let unreadable = || Error::corrupt(format!("token {id}"));
            value.map(|value| token_from(&value).map(|(_, body)| body).ok_or_else(unreadable)).transpose()
        });
        records.collect()
    }

    /// Finishes the storing of a token whose value was `before`; returns the record that was kept. Rare: two replicas made
    /// the same token at once, or a call is repeated.
    async fn settle_token(
        &self,
        deadline: Instant,
        token: &TokenMint,
        before: Bytes,
        now: Time,
    ) -> Result<Option<Bytes>> {
        let (listed, body) = token_from(&before).ok_or_else(|| Error::corrupt(format!("token {}", token.id)))?;
        let kept = token.exists == Existing::Keep && self.is_kept(deadline, token, now).await?;
        let mut commands = pipeline([]);
        let (right, wrong) = if kept { (listed, token.expires) } else { (token.expires, listed) };
        if token.exists == Existing::Keep && !kept {
            commands.add_command(set_token(token, Existing::Replace));
        }
        if right != wrong {
            // One token has one place in its subject's list.
            commands.add_command(index_call(token, right, Some(wrong)));
        }
        if !commands.is_empty() {
            self.connections.send_by(deadline, STORE, commands, Confirm::Yes).await?;
        }
        Ok(kept.then_some(body))
    }

    /// Whether a record that is there is not past its time: the server's clock may be behind the caller's.
    async fn is_kept(&self, deadline: Instant, token: &TokenMint, now: Time) -> Result<bool> {
        let sent = self.connections.send_by(deadline, STORE, pipeline([expiry_of(&token.id)]), Confirm::No).await?;
        Ok(expiry_from(&Answers::new(sent).take()?)?.is_some_and(|until| until > now))
    }
}

fn expiry_of(token: &TokenId) -> Cmd {
    let mut command = Cmd::new();
    command.arg("PEXPIRETIME").arg(keys::token(token));
    command
}

/// The answer to [`expiry_of`]; `None`: there was no such token.
fn expiry_from(answer: &Value) -> Result<Option<Time>> {
    Ok(match answer::int(answer)? {
        -2 => None,
        -1 => Some(Time::NEVER),
        millis => Some(Time::from_millis(u64::try_from(millis).map_err(|_| unreadable())?)),
    })
}

fn set_token(token: &TokenMint, exists: Existing) -> Cmd {
    let place = IndexEntry { expires: token.expires, token: token.id.clone() }.to_bytes();
    let mut command = Cmd::new();
    command.arg("SET").arg(keys::token(&token.id)).arg([&place[..EXPIRY], &*token.record].concat());
    if !token.keep_until.is_never() {
        command.arg("PXAT").arg(token.keep_until.as_millis());
    }
    if exists == Existing::Keep {
        command.arg("NX");
    }
    // Answers the value that was there before.
    command.arg("GET");
    command
}

/// The expiry and record of a token's value.
fn token_from(value: &Bytes) -> Option<(Time, Bytes)> {
    let mut millis = [0; 8];
    millis[8 - EXPIRY..].copy_from_slice(value.get(..EXPIRY)?);
    Some((Time::from_millis(u64::from_be_bytes(millis)), value.slice(EXPIRY..)))
}

/// Lists a token with its expiry, instead of with a wrong one.
fn index_call(token: &TokenMint, expires: Time, wrong: Option<Time>) -> Cmd {
    let member = |expires| IndexEntry { expires, token: token.id.clone() }.to_bytes().to_vec();
    let mut call = scripts::INDEX.on(&[keys::subject(&token.subject)]);
    call.arg(member(expires))
        .arg(expiry(expires))
        .arg(u64::try_from(PRUNE_MARGIN.as_millis()).unwrap_or(u64::MAX))
        .arg(wrong.map_or(Vec::new(), member));
    call
}

fn family_call(family: &FamilyMint, now: Time) -> Cmd {
    let mut call = scripts::FAMILY.on(&[keys::family(&family.id)]);
    call.arg(family.expected.map_or(Vec::new(), |revision| revision.to_be_bytes().to_vec()))
        .arg([family.record.revision.to_be_bytes().as_slice(), &family.record.body].concat())
        .arg(expiry(family.expires))
        .arg(now.as_millis());
    call
}

fn session_call(session: &SessionMint) -> Cmd {
    let mut call = scripts::SESSION.on(&[keys::session(&session.key)]);
    call.arg(session.now.as_millis())
        .arg(session.now.plus(session.idle).as_millis())
        .arg(u64::try_from(SESSION_MARGIN.as_millis()).unwrap_or(u64::MAX))
        .arg(session.until.as_millis())
        .arg(Time::NEVER.as_millis())
        .arg(session.rev.to_string())
        .arg(u8::from(session.revive))
        .arg(session.owner.map_or_else(|| "-".to_owned(), owner_text));
    call
}

fn family_conflict(family: &FamilyMint, answer: Value) -> Result<Option<FamilyConflict>> {
    if let Value::Int(done) = answer {
        return Ok((done == 0).then_some(FamilyConflict::Gone));
    }
    let other = answer::bytes(answer)?.and_then(|value| family_from(&value));
    let other = other.ok_or_else(|| Error::corrupt(format!("family {}", family.id)))?;
    Ok(Some(FamilyConflict::Other(other)))
}

fn family_from(value: &Bytes) -> Option<FamilyRecord> {
    let revision = u32::from_be_bytes(*value.first_chunk::<REVISION>()?);
    Some(FamilyRecord { revision, body: value.slice(REVISION..) })
}

fn owner_text(owner: [u8; 16]) -> String {
    let mut text = String::new();
    base62::encode_into(&owner, &mut text);
    text
}

/// What the script of sessions says of one that has ended.
fn ended(answer: Value) -> Result<Option<Ended>> {
    if let Value::Int(_) = answer {
        return Ok(None);
    }
    let text = answer::text(answer)?;
    let parts = text.split_once(' ').ok_or_else(unreadable)?;
    let floor = parts.0.parse().map_err(|_| unreadable())?;
    Ok(Some(Ended { floor, until: Time::from_millis(parts.1.parse().map_err(|_| unreadable())?) }))
}

/// A session's record: see the script.
fn session_from(value: &[u8]) -> Option<Session> {
    let mut times = std::str::from_utf8(value).ok()?.split(' ').skip(1);
    let mut time = || times.next()?.parse().ok().map(Time::from_millis);
    Some(Session { alive_until: time()?, until: time()? })
}
