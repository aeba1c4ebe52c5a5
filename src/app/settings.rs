//! What the configuration says, in the words of the parts that it is for.

use std::{fs, path::Path, sync::Arc};

use jeton_core::secret::SecretText;

use crate::{
    api::edge::Limits,
    config,
    config::Config,
    failure::{Failure, failed},
    outbound,
    outbound::Outbound,
    outbox::Sink,
    serve::Options,
    store::redis,
};

pub(super) fn outbound(config: &Config) -> Result<Outbound, Failure> {
    let config::Outbound { allow, ca_file, timeout } = &config.outbound;
    let authorities = ca_file.as_deref().map(read).transpose()?;
    let options = outbound::Options { allow: allow.clone(), authorities, timeout: *timeout };
    Outbound::new(options).map_err(failed("use the certificates of outbound.ca_file"))
}

/// Where the configuration sends events.
pub(super) fn sink(config: &Config, outbound: &Arc<Outbound>) -> Sink {
    match &config.webhook {
        None => Sink::Closed,
        Some(config::Webhook::Log) => Sink::Log,
        Some(config::Webhook::Post { url, secrets }) => {
            Sink::Webhook { to: Arc::clone(outbound), url: url.clone(), secrets: secrets.clone() }
        }
    }
}

pub(super) fn options(config: &Config, workers: usize) -> Options {
    let shipped = Options::default();
    Options {
        workers,
        connections: config.limits.max_connections.map_or(shipped.connections, usize::from),
        connection_age: config.connection_age,
        drain_delay: config.drain.delay,
        drain_timeout: config.drain.timeout,
        ..shipped
    }
}

pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        calls: config.limits.max_in_flight,
        revocations: config.limits.max_in_flight_revocations,
        calls_per_connection: config.limits.max_in_flight_per_connection,
        call_timeout: config.limits.request_deadline,
        ..Limits::default()
    }
}

pub(super) fn redis_tls(files: &config::RedisTls) -> Result<redis::Tls, Failure> {
    let identity = files.identity.as_ref().map(|(cert, key)| {
        let key = String::from_utf8(read(key)?).map_err(|_| failed("read redis.key_file")("it is not PEM"))?;
        Ok((read(cert)?, SecretText::new(key)))
    });
    let authorities = files.ca_file.as_deref().map(read).transpose()?;
    Ok(redis::Tls { authorities, identity: identity.transpose()? })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(failed(&format!("read {}", path.display())))
}
