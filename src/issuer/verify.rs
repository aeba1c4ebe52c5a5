//! What makes a token active: its text is genuine, and it lives (see [`super::living`]).

use std::sync::Arc;

use aws_lc_rs::digest;
use jeton_core::{
    Time, TokenId,
    claims::MAX_TOKEN_BYTES,
    jwt::Unverified,
    secret::{OpaqueContent, SecretKind},
};

use super::{
    Issuer,
    living::{Alive, Dependent},
    records::decode_token,
    verified::{Judged, Verified},
};
use crate::{
    error::{Error, Result},
    metrics::{Event, labels::Cache},
};

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
                    if let Some((content, _)) = OpaqueContent::from_text(text, &*self.core.ring) {
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
        let records = self.core.store.tokens(&ids).await?;
        for ((i, digest, content), record) in stored.into_iter().zip(records) {
            let Some(record) = record else { continue };
            let token = decode_token(&record, &content.token)?;
            if token.tenant != content.tenant {
                return Err(Error::internal("read a token's record: it names another tenant"));
            }
            let verified = Verified::new(token, &self.directory.issuer(&content.tenant));
            self.verified.insert(digest, Arc::clone(&verified));
            if let Some(found) = resolved.get_mut(i) {
                *found = Some(verified);
            }
        }
        Ok(resolved)
    }

    /// Whether a token is active, judged by the log as applied now.
    pub async fn is_active(&self, verified: &Arc<Verified>) -> Result<bool> {
        if verified.is_known_active(self.core.log.version(), self.now()) {
            return Ok(true);
        }
        Ok(Box::pin(self.are_active(std::slice::from_ref(verified))).await?.pop().unwrap_or(false))
    }

    /// Which tokens are active, in their order; at most one read of records and one of sessions, sent together.
    pub async fn are_active(&self, tokens: &[Arc<Verified>]) -> Result<Vec<bool>> {
        // Before anything is read: what is applied meanwhile makes the judgement one of the past.
        let version = self.core.log.version();
        let now = self.now();
        let mut active = vec![false; tokens.len()];
        let mut cold = Vec::new();
        for (i, verified) in tokens.iter().enumerate() {
            if verified.is_known_active(version, now) {
                active[i] = true;
            } else if self.dead(&Dependent::of_token(&verified.token, &verified.idents), now).is_none() {
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
        let mut missing = self.directory.missing();
        for i in cold {
            tokens[*i].want(&mut missing);
        }
        missing.load().await?;
        for i in cold {
            let verified = &tokens[*i];
            let life = Dependent::of_token(&verified.token, &verified.idents);
            if let Ok(Alive { until, authority }) = self.supported(&life, now).await? {
                verified.judged.store(Some(Arc::new(Judged { version, until, authority })));
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

fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}
