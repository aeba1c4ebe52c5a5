//! What makes a token active: its text is genuine, and it lives (see [`super::living`]).

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use bytes::Bytes;
use jeton_core::jwt::Unverified;

use super::{
    Issuer,
    living::{Alive, Dependent},
    reach::Reach,
};
use crate::{
    ambient::Time,
    directory::{authority::Authority, caller::Caller, load::Wanted},
    metrics::{Event, labels::Cache},
    store::SessionKey,
    token::{
        AccessToken, AccountId, Error, Result, Subject, TokenId,
        claims::MAX_TOKEN_BYTES,
        ident::Idents,
        secret::{OpaqueContent, SecretKind},
    },
};

/// A token whose text is genuine. Whether it is active is another question.
#[derive(Debug)]
pub struct Verified {
    pub token: Arc<AccessToken>,
    /// The tenant's `iss`.
    pub issuer: Arc<str>,
    /// The edge's own: what it says of the token when it is active, encoded.
    pub encoded: OnceLock<Bytes>,
    pub(super) idents: Idents,
    /// The last judgement that found it active.
    judged: ArcSwapOption<Judged>,
    /// What was last found out of an account that somebody asked about.
    pub(super) reach: ArcSwapOption<KnownReach>,
    /// Who it is as a bearer, as of that judgement.
    pub(super) caller: ArcSwapOption<KnownCaller>,
}

/// A bearer as of a version of the log.
#[derive(Debug)]
pub(super) struct KnownCaller {
    pub version: u64,
    pub until: Time,
    pub caller: Arc<Caller>,
}

/// What the bearer may do in an account as of a version of the log.
#[derive(Debug)]
pub(super) struct KnownReach {
    pub version: u64,
    pub until: Time,
    pub account: AccountId,
    pub reach: Arc<Reach>,
}

/// A judgement holds while the log has not grown and nothing that it rests on has aged out.
#[derive(Debug)]
struct Judged {
    version: u64,
    until: Time,
    authority: Arc<Authority>,
}

// === impl Verified ===

impl Verified {
    pub(super) fn new(token: AccessToken, issuer: &str) -> Arc<Self> {
        Arc::new(Self {
            idents: token.idents(),
            token: Arc::new(token),
            issuer: issuer.into(),
            encoded: OnceLock::new(),
            judged: ArcSwapOption::empty(),
            reach: ArcSwapOption::empty(),
            caller: ArcSwapOption::empty(),
        })
    }

    /// Whether the last judgement still holds.
    fn is_known_active(&self, version: u64, now: Time) -> bool {
        self.judged.load().as_ref().is_some_and(|judged| judged.version == version && now < judged.until)
            && now < self.token.expires()
    }

    /// What the member may do, as of the last judgement that found the token active.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.judged.load().as_ref().map(|judged| Arc::clone(&judged.authority))
    }

    fn life(&self) -> Dependent<'_> {
        Dependent::of_token(&self.token, &self.idents)
    }

    fn session(&self) -> Option<SessionKey> {
        let session = self.token.session.clone()?;
        Some(SessionKey { tenant: self.token.tenant.clone(), session })
    }

    fn wanted(&self) -> Wanted {
        let token = &self.token;
        let tenant = || token.tenant.clone();
        let place = (tenant(), token.client.clone());
        let (group, member) = (token.subject.group(), token.subject.member());
        Wanted {
            tenant: Some(token.tenant.clone()),
            clients: vec![place.clone()],
            admissions: vec![place],
            accounts: token
                .account()
                .into_iter()
                .chain(&token.ancestors)
                .map(|id| (token.tenant.clone(), id.clone()))
                .collect(),
            members: match &token.subject {
                Subject::Member(account, member) => vec![(token.tenant.clone(), account.clone(), member.clone())],
                Subject::Client(_) | Subject::Account(_) | Subject::Group(..) | Subject::OtherClient(..) => Vec::new(),
            },
            people: group.and(member).map(|member| (tenant(), member.clone())).into_iter().collect(),
            groups: group.map(|group| (tenant(), group.clone())).into_iter().collect(),
            entities: Vec::new(),
            group_members: group
                .zip(member)
                .map(|(group, member)| (tenant(), group.clone(), member.clone()))
                .into_iter()
                .collect(),
            roles: Vec::new(),
            sessions: self.session().into_iter().collect(),
        }
    }
}

// === impl Issuer ===

impl Issuer {
    /// The token of a text, if it is genuine. Garbage costs no store call.
    pub async fn resolve(&self, text: &str) -> Result<Option<Arc<Verified>>> {
        if text.len() <= MAX_TOKEN_BYTES
            && let Some(verified) = self.verified.get(&sha256(text))
        {
            self.metrics.count(Event::CacheHit(Cache::Verified));
            return Ok(Some(verified));
        }
        // Boxed: what is in memory should not pay for the state of what is not.
        Ok(Box::pin(self.resolve_all(&[text])).await?.pop().flatten())
    }

    /// The tokens of texts, in their order; at most one read of token records.
    pub async fn resolve_all(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Option<Arc<Verified>>>> {
        let mut resolved = Vec::with_capacity(texts.len());
        let mut stored: Vec<(usize, [u8; 32], OpaqueContent)> = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            if text.len() > MAX_TOKEN_BYTES {
                resolved.push(None);
                continue;
            }
            let digest = sha256(text);
            if let Some(verified) = self.verified.get(&digest) {
                self.metrics.count(Event::CacheHit(Cache::Verified));
                resolved.push(Some(verified));
                continue;
            }
            self.metrics.count(Event::CacheMissed(Cache::Verified));
            match SecretKind::of(text) {
                Some(SecretKind::Opaque) => {
                    if let Some((content, _)) = OpaqueContent::from_text(text, &*self.directory.ring) {
                        stored.push((i, digest, content));
                    }
                    resolved.push(None);
                }
                Some(SecretKind::Refresh | SecretKind::Client | SecretKind::Code) => resolved.push(None),
                None => resolved.push(Box::pin(self.verify_jwt(text, digest)).await?),
            }
        }
        if stored.is_empty() {
            return Ok(resolved);
        }
        let ids: Vec<TokenId> = stored.iter().map(|(_, _, content)| content.token.clone()).collect();
        let records = self.directory.store.tokens(&ids).await?;
        for ((i, digest, content), record) in stored.into_iter().zip(records) {
            let Some(record) = record else { continue };
            let token = decode_token(&record, &content.token)?;
            if token.tenant != content.tenant {
                return Err(Error::internal("read a token's record: it names another tenant"));
            }
            let verified = Verified::new(token, &self.directory.issuer(&content.tenant));
            self.verified.insert(digest, Arc::clone(&verified));
            if let Some(slot) = resolved.get_mut(i) {
                *slot = Some(verified);
            }
        }
        Ok(resolved)
    }

    /// Whether a token is active, judged by the log as applied now.
    pub async fn is_active(&self, verified: &Arc<Verified>) -> Result<bool> {
        if verified.is_known_active(self.directory.follower.version(), self.now()) {
            return Ok(true);
        }
        Ok(Box::pin(self.are_active(std::slice::from_ref(verified))).await?.pop().unwrap_or(false))
    }

    /// Which tokens are active, in their order; at most one read of records and one of sessions, sent together.
    pub async fn are_active(&self, tokens: &[Arc<Verified>]) -> Result<Vec<bool>> {
        // Before anything is read: what is applied meanwhile makes the judgement one of the past.
        let version = self.directory.follower.version();
        let now = self.now();
        let mut active = vec![false; tokens.len()];
        let mut cold = Vec::new();
        for (i, verified) in tokens.iter().enumerate() {
            if verified.is_known_active(version, now) {
                active[i] = true;
            } else if self.dead(&verified.life(), now).is_none() {
                cold.push(i);
            }
        }
        if cold.is_empty() {
            return Ok(active);
        }
        Box::pin(self.judge_cold(tokens, &cold, &mut active, version, now)).await?;
        Ok(active)
    }

    /// Judges the tokens at the indexes `cold` by records, as of `version` of the log.
    async fn judge_cold(
        &self,
        tokens: &[Arc<Verified>],
        cold: &[usize],
        active: &mut [bool],
        version: u64,
        now: Time,
    ) -> Result<()> {
        let wanted: Vec<_> = cold.iter().map(|i| tokens[*i].wanted()).collect();
        self.directory.preload(&wanted).await?;
        for i in cold {
            if let Ok(Alive { until, authority }) = self.supported(&tokens[*i].life(), now).await? {
                tokens[*i].judged.store(Some(Arc::new(Judged { version, until, authority })));
                active[*i] = true;
            }
        }
        Ok(())
    }

    async fn verify_jwt(&self, text: &str, digest: [u8; 32]) -> Result<Option<Arc<Verified>>> {
        let Some(unverified) = Unverified::parse(text) else { return Ok(None) };
        let Some(tenant) = unverified.tenant() else { return Ok(None) };
        let Some(keys) = self.directory.key_set(&tenant).await? else { return Ok(None) };
        let Some(key) = keys.verifying(unverified.key_id(), self.now()) else { return Ok(None) };
        let issuer = self.directory.issuer(&tenant);
        let Some(token) = unverified.verify(&key.public, &issuer) else { return Ok(None) };
        if token.tenant != tenant {
            return Ok(None);
        }
        let verified = Verified::new(token, &issuer);
        self.verified.insert(digest, Arc::clone(&verified));
        Ok(Some(verified))
    }
}

/// Reads the record that stands under `id`.
pub(super) fn decode_token(record: &[u8], id: &TokenId) -> Result<AccessToken> {
    AccessToken::from_record(record, id)
        .map_err(|source| Error::internal(format!("decode the record of {id}")).with_source(source))
}

fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}
