//! The secrets of clients: made, shown once, listed, and revoked.

use std::{sync::Arc, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{
    ClientId, Position, TenantId, Time,
    entry::Entry,
    secret::{ClientSecretContent, Mac as _, SecretText},
};

use super::{
    Directory,
    commit::{Edit, Remembered, Repeat},
    credentials::{MAX_SECRETS, SecretUse},
    grantable::Limits,
    load::key,
    permit::Act,
    record::{Client, Secret, Stored as _},
};
use crate::{
    ambient,
    error::{Error, Result},
    store::Change,
};

/// A secret as it is shown, once.
#[derive(Debug)]
pub struct ShownSecret {
    pub secret: Secret,
    pub text: SecretText,
}

/// How many revoked secrets are still listed.
const REMEMBERED_SECRETS: usize = 20;

// === impl Act ===

impl Act {
    pub async fn create_client_secret(
        &self,
        reference: &str,
        repeat: Option<Repeat>,
    ) -> Result<(ShownSecret, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let found = self.reachable_client(reference).await?;
        let limits = self.limits().await?;
        limits.check_client(&found)?;
        if let Some(repeat) = repeat {
            // Before the limit is checked: the repeat of the request that reached it is no new secret.
            let remembered =
                self.directory.core.store.remembered(tenant, repeat.key(tenant, caller), self.directory.now()).await?;
            if let Some((body, result)) = remembered {
                return self.directory.repeat_secret(&limits, tenant, repeat, (body, result)).await;
            }
        }
        let secret = self.directory.new_secret()?;
        let edited = self
            .directory
            .edit_repeatable(&key::<Client>(tenant, &found.id), None, |mut client: Client| {
                limits.check_client(&client)?;
                let now = self.directory.now();
                if client.secrets.iter().filter(|secret| secret.is_live(now)).count() >= MAX_SECRETS {
                    return Err(Error::new(
                        Reason::SecretLimit,
                        format!("the client has its {MAX_SECRETS} live secrets"),
                    ));
                }
                forget_old(&mut client.secrets, now);
                client.secrets.push(secret.clone());
                client.updated = now;
                let mut change = Change::new(tenant.clone(), now);
                change.request =
                    repeat.map(|repeat| repeat.request(tenant, caller, remember(&client.id, &secret), now));
                Ok(Edit { entries: vec![Entry::changed(client.ident())], record: client, change })
            })
            .await?;
        match (edited, repeat) {
            (Ok((client, position)), _) => {
                Ok((ShownSecret { text: self.directory.secret_text(&client, &secret)?, secret }, position))
            }
            (Err(remembered), Some(repeat)) => self.directory.repeat_secret(&limits, tenant, repeat, remembered).await,
            (Err(_), None) => Err(Error::internal("handle a repeat that was not asked for")),
        }
    }

    /// Revokes a secret at `now + delay`, unless it stops earlier already.
    /// The client whose secrets are listed, and when they were last used.
    pub async fn client_secrets(&self, reference: &str) -> Result<(Arc<Client>, SecretUse)> {
        let client = self.reachable_client(reference).await?;
        let uses = self.directory.secret_use(&client).await?;
        Ok((client, uses))
    }

    pub async fn revoke_client_secret(
        &self,
        reference: &str,
        secret: &str,
        delay: Duration,
    ) -> Result<(Secret, Position)> {
        let (client, position) = self
            .edit_client(reference, None, |mut client| {
                let now = self.directory.now();
                let found = client.secrets.iter_mut().find(|own| own.id_text() == secret);
                let found = found.ok_or_else(|| Error::not_found("ClientSecret", secret))?;
                let revokes = now.plus(delay);
                found.revokes = Some(found.revokes.map_or(revokes, |earlier| earlier.min(revokes)));
                client.updated = now;
                Ok((vec![Entry::changed(client.ident())], client))
            })
            .await?;
        let found = client.secrets.iter().find(|own| own.id_text() == secret).cloned();
        Ok((found.ok_or_else(|| Error::internal("find the secret that was revoked"))?, position))
    }
}

// === impl Directory ===

impl Directory {
    /// Gives a new client its first secret.
    pub(super) fn with_first_secret(&self, mut client: Client) -> Result<(Client, ShownSecret)> {
        let secret = self.new_secret()?;
        let text = self.secret_text(&client, &secret)?;
        client.secrets.push(secret.clone());
        Ok((client, ShownSecret { secret, text }))
    }

    pub(super) fn secret_text(&self, client: &Client, secret: &Secret) -> Result<SecretText> {
        ClientSecretContent { home: client.tenant.clone(), secret: secret.id }
            .to_text(&client.id.to_string(), &*self.core.ring, secret.key)
            .ok_or_else(|| Error::internal("derive a client secret: is its master key still configured?"))
    }

    fn new_secret(&self) -> Result<Secret> {
        Ok(Secret { id: ambient::random()?, key: self.core.ring.current(), created: self.now(), revokes: None })
    }

    async fn repeat_secret(
        &self,
        limits: &Limits,
        tenant: &TenantId,
        repeat: Repeat,
        (body, result): Remembered,
    ) -> Result<(ShownSecret, Position)> {
        repeat.check(body)?;
        let (client, shown) = self.remembered(limits, tenant, &result).await?;
        let position = self.core.log.append(&[Entry::changed(client.ident())]).await?;
        Ok((shown, position))
    }

    /// The client and secret that an earlier request made. The client may have become what the caller may not touch.
    pub(super) async fn remembered(
        &self,
        limits: &Limits,
        tenant: &TenantId,
        result: &str,
    ) -> Result<(Arc<Client>, ShownSecret)> {
        let lost = || Error::internal("find what a remembered request made");
        let (client, secret) = result.split_once(' ').ok_or_else(lost)?;
        let client: ClientId = client.parse().map_err(|_| lost())?;
        let client: Client = self.fresh(&key::<Client>(tenant, &client)).await?.ok_or_else(lost)?;
        limits.check_client(&client)?;
        let secret = client.secrets.iter().find(|own| own.id_text() == secret).cloned().ok_or_else(lost)?;
        let text = self.secret_text(&client, &secret)?;
        Ok((Arc::new(client), ShownSecret { secret, text }))
    }
}

fn forget_old(secrets: &mut Vec<Secret>, now: Time) {
    while secrets.len() >= REMEMBERED_SECRETS + MAX_SECRETS {
        let Some(oldest) = secrets.iter().position(|secret| !secret.is_live(now)) else { return };
        secrets.remove(oldest);
    }
}

pub(super) fn remember(client: &ClientId, secret: &Secret) -> String {
    format!("{client} {}", secret.id_text())
}
