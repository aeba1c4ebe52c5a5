//! Tokens, families and sessions.
//!
//! The three parts of a mint share a transaction here, but as far as anyone can tell they are independent, as they are
//! where they stand on different nodes: what one part refuses does not stop the others.

use std::{
    borrow::Borrow,
    ops::Bound::{Excluded, Unbounded},
};

use async_trait::async_trait;
use bytes::Bytes;
use jeton_core::{FamilyId, Position, Time, TokenId};
use redb::{Key, ReadTransaction, ReadableTable, TableDefinition};

use super::{
    super::{
        Ended, Existing, FamilyConflict, FamilyMint, FamilyRecord, IndexEntry, Mint, Minted, SESSION_MARGIN, Session,
        SessionConflict, SessionKey, SessionMint, SubjectKey, TokenMint, Tokens,
    },
    Embedded,
    expiring::Expiring,
    failure::Failure,
    tables::{self, SUBJECTS, StoredFamily, StoredSession, StoredToken, Tables},
};
use crate::storage::{Error, Result};

/// What to do about a token.
enum TokenPlan {
    Keep(Bytes),
    /// Write it, in place of the one that stands there.
    Write(Option<Replaced>),
}

/// The token that another one replaces: where it is listed, and when it would have been forgotten.
struct Replaced {
    expires: Time,
    keep_until: Time,
    subject: String,
}

/// What to do about a family.
enum FamilyPlan {
    Refuse(FamilyConflict),
    /// Write it, in place of the one that stands there with this expiry.
    Write(Option<Time>),
}

/// What to do about a session.
enum SessionPlan {
    /// It is somebody else's.
    Refuse,
    /// It has ended: write that, in place of what stands there.
    End(StoredSession),
    /// Write it, in place of what stands there.
    Write(Option<StoredSession>),
}

#[async_trait]
impl Tokens for Embedded {
    async fn mint(&self, mint: &Mint) -> Result<Minted> {
        let mint = mint.clone();
        self.writer.submit("store a token", move |tables| tables.mint(&mint)).await
    }

    async fn token(&self, id: &TokenId) -> Result<Option<Bytes>> {
        Ok(self.bodies(std::slice::from_ref(id))?.pop().flatten())
    }

    async fn tokens(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        self.bodies(ids)
    }

    async fn family(&self, id: &FamilyId) -> Result<Option<FamilyRecord>> {
        let record = |stored: &[u8]| {
            let stored: StoredFamily<'_> = tables::decode(stored)?;
            Ok(stored.record())
        };
        self.read_committed("read a family", |snapshot| {
            Ok(read(snapshot, tables::FAMILIES, [tables::id_bytes(id)], record)?.pop().flatten())
        })
    }

    async fn sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Session>>> {
        let session = |stored: &[u8]| {
            let stored: StoredSession = tables::decode(stored)?;
            Ok(Session { alive_until: stored.alive_until, until: stored.until })
        };
        let keys: Vec<_> = sessions.iter().map(tables::session_key).collect();
        self.read_committed("read sessions", |snapshot| {
            read(snapshot, tables::SESSIONS, keys.iter().map(String::as_str), session)
        })
    }

    async fn end_sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Ended>>> {
        let sessions = sessions.to_vec();
        let end = move |tables: &mut Tables<'_>| sessions.iter().map(|session| tables.end_session(session)).collect();
        self.writer.submit("end sessions", end).await
    }

    async fn subject_page(
        &self,
        subject: &SubjectKey,
        after: Option<&IndexEntry>,
        now: Time,
        limit: usize,
    ) -> Result<Vec<IndexEntry>> {
        self.read_committed("list tokens", |snapshot| subject_page(snapshot, subject, after, now, limit))
    }
}

impl Embedded {
    /// Reads tokens' records, in the order of `ids`.
    fn bodies(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        let body = |stored: &[u8]| {
            let stored: StoredToken<'_> = tables::decode(stored)?;
            Ok(Bytes::copy_from_slice(stored.body))
        };
        let keys = ids.iter().map(tables::id_bytes);
        self.read_committed("read tokens", |snapshot| read(snapshot, tables::TOKENS, keys, body))
    }
}

/// Reads values in the order of `keys`.
fn read<'k, K, Q, T>(
    snapshot: &ReadTransaction,
    table: TableDefinition<'_, K, &'static [u8]>,
    keys: impl IntoIterator<Item = Q>,
    value: impl Fn(&[u8]) -> Result<T, Error>,
) -> Result<Vec<Option<T>>, Failure>
where
    K: Key + 'static,
    Q: Borrow<K::SelfType<'k>>,
{
    let table = snapshot.open_table(table)?;
    let mut values = Vec::new();
    for key in keys {
        values.push(table.get(key)?.map(|stored| value(stored.value())).transpose()?);
    }
    Ok(values)
}

/// Up to `limit` tokens of a subject after `after` that expire after `now`.
fn subject_page(
    snapshot: &ReadTransaction,
    subject: &SubjectKey,
    after: Option<&IndexEntry>,
    now: Time,
    limit: usize,
) -> Result<Vec<IndexEntry>, Failure> {
    let subjects = snapshot.open_table(SUBJECTS)?;
    let subject = subject.to_string();
    // What has expired stands first, so the page can begin behind it instead of looking at it.
    let expired = IndexEntry { expires: now, token: TokenId::from_bytes([u8::MAX; 16]) };
    let start = after.filter(|after| **after > expired).unwrap_or(&expired).to_bytes();
    let mut entries = Vec::new();
    for row in subjects.range::<(&str, &[u8; 22])>((Excluded((subject.as_str(), &start)), Unbounded))?.take(limit) {
        let (row, _) = row?;
        let (of, entry) = row.value();
        if of != subject {
            break;
        }
        entries.push(IndexEntry::from_bytes(entry).ok_or_else(|| Error::corrupt(format!("the list of {subject}")))?);
    }
    Ok(entries)
}

// === impl Tables ===

impl Tables<'_> {
    /// Stores a token, a family and a session's mint, each if it can be.
    pub fn mint(&mut self, mint: &Mint) -> Result<Minted, Failure> {
        // All checks come before the first write.
        let token = match &mint.token {
            Some(part) => Some((part, self.plan_token(part, mint.now)?)),
            None => None,
        };
        let family = match &mint.family {
            Some(part) => Some((part, self.plan_family(part, mint.now)?)),
            None => None,
        };
        let session = match &mint.session {
            Some(part) => Some((part, self.plan_session(part)?)),
            None => None,
        };

        let mut minted = Minted { token: None, family: None, session: None };
        match token {
            Some((_, TokenPlan::Keep(record))) => minted.token = Some(record),
            Some((part, TokenPlan::Write(replaced))) => self.write_token(part, replaced)?,
            None => {}
        }
        match family {
            Some((_, FamilyPlan::Refuse(conflict))) => minted.family = Some(conflict),
            Some((part, FamilyPlan::Write(filed))) => self.write_family(part, filed)?,
            None => {}
        }
        match session {
            Some((_, SessionPlan::Refuse)) => minted.session = Some(SessionConflict::Owned),
            Some((part, SessionPlan::End(known))) => {
                minted.session = Some(SessionConflict::Ended(self.write_end(&part.key, known)?));
            }
            Some((part, SessionPlan::Write(known))) => self.write_session(part, known)?,
            None => {}
        }
        Ok(minted)
    }

    fn plan_token(&self, part: &TokenMint, now: Time) -> Result<TokenPlan, Failure> {
        let Some(stored) = self.tokens.get(tables::id_bytes(&part.id))? else { return Ok(TokenPlan::Write(None)) };
        let stored: StoredToken<'_> = tables::decode(stored.value())?;
        if part.exists == Existing::Keep && stored.keep_until > now {
            return Ok(TokenPlan::Keep(Bytes::copy_from_slice(stored.body)));
        }
        let replaced =
            Replaced { expires: stored.expires, keep_until: stored.keep_until, subject: stored.subject.to_owned() };
        Ok(TokenPlan::Write(Some(replaced)))
    }

    fn write_token(&mut self, part: &TokenMint, replaced: Option<Replaced>) -> Result<(), Failure> {
        let key = tables::id_bytes(&part.id);
        let subject = part.subject.to_string();
        let stored = tables::encode(&StoredToken {
            expires: part.expires,
            subject: &subject,
            body: &part.record,
            keep_until: part.keep_until,
        })?;
        if let Some(replaced) = &replaced {
            let entry = IndexEntry { expires: replaced.expires, token: part.id.clone() };
            self.subjects.remove((replaced.subject.as_str(), &entry.to_bytes()))?;
        }
        self.tokens.insert(key, stored.as_slice())?;
        let entry = IndexEntry { expires: part.expires, token: part.id.clone() };
        self.subjects.insert((subject.as_str(), &entry.to_bytes()), ())?;
        self.file(Expiring::Token, key, replaced.map(|replaced| replaced.keep_until), part.keep_until)?;
        Ok(())
    }

    fn plan_family(&self, part: &FamilyMint, now: Time) -> Result<FamilyPlan, Failure> {
        let stored = self.families.get(tables::id_bytes(&part.id))?;
        let stored: Option<StoredFamily<'_>> = match &stored {
            Some(stored) => Some(tables::decode(stored.value())?),
            None => None,
        };
        let filed = stored.as_ref().map(|stored| stored.expires);
        let alive = stored.filter(|stored| stored.expires > now);
        Ok(match (alive, part.expected) {
            (None, None) => FamilyPlan::Write(filed),
            (None, Some(_)) => FamilyPlan::Refuse(FamilyConflict::Gone),
            (Some(stored), Some(expected)) if stored.revision == expected => FamilyPlan::Write(filed),
            (Some(stored), _) => FamilyPlan::Refuse(FamilyConflict::Other(stored.record())),
        })
    }

    fn write_family(&mut self, part: &FamilyMint, filed: Option<Time>) -> Result<(), Failure> {
        let key = tables::id_bytes(&part.id);
        let record = &part.record;
        let stored = StoredFamily { expires: part.expires, revision: record.revision, body: &record.body };
        self.families.insert(key, tables::encode(&stored)?.as_slice())?;
        self.file(Expiring::Family, key, filed, part.expires)?;
        Ok(())
    }

    fn plan_session(&self, part: &SessionMint) -> Result<SessionPlan, Failure> {
        let key = tables::session_key(&part.key);
        let Some(stored) = self.sessions.get(key.as_str())? else { return Ok(SessionPlan::Write(None)) };
        let stored: StoredSession = tables::decode(stored.value())?;
        if part.owner.is_some() && stored.owner.is_some() && part.owner != stored.owner {
            return Ok(SessionPlan::Refuse);
        }
        let lapsed = stored.alive_until.minus(SESSION_MARGIN) <= part.now && !part.revive;
        Ok(match lapsed || part.rev < stored.floor {
            true => {
                SessionPlan::End(StoredSession { floor: if lapsed { stored.end() } else { stored.floor }, ..stored })
            }
            false => SessionPlan::Write(Some(stored)),
        })
    }

    /// Ends what was minted for a session so far.
    pub fn end_session(&mut self, key: &SessionKey) -> Result<Option<Ended>, Failure> {
        let stored = match self.sessions.get(tables::session_key(key).as_str())? {
            Some(stored) => tables::decode::<StoredSession>(stored.value())?,
            None => return Ok(None),
        };
        self.write_end(key, StoredSession { floor: stored.end(), ..stored }).map(Some)
    }

    fn write_end(&mut self, key: &SessionKey, ended: StoredSession) -> Result<Ended, Failure> {
        self.sessions.insert(tables::session_key(key).as_str(), tables::encode(&ended)?.as_slice())?;
        Ok(Ended { floor: ended.floor, until: ended.until })
    }

    fn write_session(&mut self, part: &SessionMint, known: Option<StoredSession>) -> Result<(), Failure> {
        let key = tables::session_key(&part.key);
        let mut session = StoredSession {
            last_mint: part.now,
            alive_until: part.now.plus(part.idle),
            until: part.until,
            newest: part.rev,
            floor: Position::START,
            owner: part.owner,
        };
        if let Some(known) = known {
            // Mints may arrive in another order than they were made in.
            if session.last_mint < known.last_mint {
                (session.last_mint, session.alive_until) = (known.last_mint, known.alive_until);
            }
            session.until = session.until.max(known.until);
            session.newest = session.newest.max(known.newest);
            session.floor = known.floor;
            session.owner = known.owner.or(session.owner);
        }
        self.sessions.insert(key.as_str(), tables::encode(&session)?.as_slice())?;
        self.file(Expiring::Session, key.as_bytes(), known.map(|known| known.until), session.until)?;
        Ok(())
    }
}
