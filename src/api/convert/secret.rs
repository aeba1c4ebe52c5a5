//! Client secrets on the wire: all but their texts.

use std::time::Duration;

use jeton_core::Time;

use super::{positive, timestamp};
use crate::{
    api::wire,
    directory::{
        credentials::SecretUse,
        record::{Client, Secret},
    },
    error::Result,
};

/// How long a secret that is revoked goes on to be accepted; left out: not at all.
pub fn delay(delay: Option<prost_types::Duration>) -> Result<Duration> {
    delay.map_or(Ok(Duration::ZERO), |delay| positive("delay", delay))
}

/// All secrets of a client, and when each was last used.
pub fn all_to_wire(client: &Client, uses: &SecretUse, now: Time) -> Vec<wire::ClientSecret> {
    client.secrets.iter().map(|secret| to_wire(secret, uses, now)).collect()
}

pub fn to_wire(secret: &Secret, uses: &SecretUse, now: Time) -> wire::ClientSecret {
    use wire::client_secret::State as Wire;
    let state = match secret.revokes {
        None => Wire::Active,
        Some(_) if secret.is_live(now) => Wire::ScheduledToRevoke,
        Some(_) => Wire::Revoked,
    };
    let id = secret.id_text();
    let used = uses.last.iter().find(|(used, _)| used.as_slice() == secret.id);
    wire::ClientSecret {
        mask: format!("jcs_…{}", id.get(id.len().saturating_sub(4)..).unwrap_or_default()),
        secret_id: id,
        state: state.into(),
        create_time: Some(timestamp(secret.created)),
        revoke_time: secret.revokes.map(timestamp),
        last_used_time: used.map(|(_, at)| timestamp(*at)),
    }
}
