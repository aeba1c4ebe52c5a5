//! Which key signs, and which one signed.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{
    AccessToken, Family, Time,
    claims::MAX_TOKEN_BYTES,
    secret::{Mac as _, OpaqueContent, RefreshContent, SecretText},
};

use super::{Issuer, MAX_RACES, issue::Decided};
use crate::{
    directory::{record::Tenant, signing_keys::Rotation},
    error::{Error, Result},
    keys::{jwt, signing::SigningKey},
};

// === impl Issuer ===

impl Issuer {
    /// The key that signs a tenant's token which expires at `expires`. Announces the next one when that is due.
    pub(super) async fn signing_key(&self, tenant: &Arc<Tenant>, expires: Time) -> Result<Arc<SigningKey>> {
        for _ in 0..MAX_RACES {
            let key = self.active_key(tenant).await?;
            if expires <= key.stored.signed_until {
                return Ok(key);
            }
            // Once a day, before it signs what it would not be kept for.
            if Box::pin(self.directory.cover_key(&tenant.id, &key.stored.id, expires)).await? {
                return Ok(key);
            }
            // It was revoked, or another one took over, since memory learnt of it.
            self.core.log.head().await?;
        }
        Err(Error::new(Reason::ConcurrentUpdate, "too many concurrent changes of the signing keys"))
    }

    async fn active_key(&self, tenant: &Arc<Tenant>) -> Result<Arc<SigningKey>> {
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
        self.core.tasks.spawn(async move {
            match directory.rotate_key(&tenant, Rotation::Due).await {
                Ok((key, _)) => tracing::info!(tenant = %tenant.id, key = %key.id, "announced the next signing key"),
                Err(error) => {
                    tracing::warn!(tenant = %tenant.id, error = %crate::error::chain(&error), "announcing the next signing key failed");
                }
            }
        });
    }
}

// === impl Issuer ===

impl Issuer {
    pub(super) fn refresh_text(&self, family: &Family, generation: u32) -> Result<SecretText> {
        RefreshContent { tenant: family.tenant.clone(), family: family.id.clone(), generation, ends: family.ends }
            .to_text(&*self.core.ring, family.derivation_key)
            .ok_or_else(|| Error::internal("derive a refresh token: is its master key still configured?"))
    }

    pub(super) async fn text(&self, decided: &Decided) -> Result<String> {
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
            let ring = &self.core.ring;
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
}
