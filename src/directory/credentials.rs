//! What clients prove themselves with: their secrets, the keys that check their assertions, the workloads that stand for
//! them, and the names of their certificates.

use std::{sync::Arc, time::Duration};

use jeton_contract::{reason::Reason, validate::Violation};
use jeton_core::{ClientId, TenantId, Time, secret::ClientSecretContent};

use super::{
    Directory, provider,
    record::{Client, State, WorkloadIdentity},
};
use crate::{
    error::{Error, Result},
    keys::{jwk::PublicKey, ring::digest128},
    store::{Change, Kind, Name, Put, RecordKey, Refusal, Request, Unique, Written},
};

/// When a client's secrets were last used: approximate, written at most once a minute.
#[derive(Clone, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct SecretUse {
    #[n(0)]
    pub last: Vec<(minicbor::bytes::ByteVec, Time)>,
}

/// How many live secrets a client may have.
pub const MAX_SECRETS: usize = 5;

/// How often at most a secret's last use is written.
const USE_RESOLUTION: Duration = Duration::from_secs(60);
/// An assertion is remembered this much longer than it lives: the clocks of replicas and of the store differ.
const USED_MARGIN: Duration = Duration::from_secs(60);
/// The longest trust domain of a SPIFFE ID (SPIFFE-ID §2.3).
const MAX_TRUST_DOMAIN_LEN: usize = 255;
/// The longest host name and the longest of its labels (RFC 1035 §2.3.4, in text).
const MAX_HOST_NAME_LEN: usize = 253;
const MAX_LABEL_LEN: usize = 63;
/// Where clients are at home, in the directory of `system`: their ids, each held by its tenant.
static HOMES: Name = Name {
    kind: Kind::Client,
    field: "home",
    taken: Refusal::new(Reason::Internal, "write down where a client is at home"),
};

// === impl Directory ===

impl Directory {
    /// The live client of a genuine secret, with the secret's id. Everything that is wrong looks the same.
    pub async fn client_of_secret(&self, client_id: &str, secret: &str) -> Result<Option<(Arc<Client>, [u8; 8])>> {
        let Some(content) = ClientSecretContent::from_text(secret, client_id, &*self.core.ring) else {
            return Ok(None);
        };
        let Ok(id) = client_id.parse() else { return Ok(None) };
        let now = self.now();
        let client = self.client(&content.home, &id).await?;
        let live = |client: &Arc<Client>| {
            client.state == State::Enabled
                && client.secrets.iter().any(|own| own.id == content.secret && own.is_live(now))
        };
        Ok(client.filter(live).map(|client| (client, content.secret)))
    }

    /// The client of a tenant that a workload stands for. It may be disabled.
    pub async fn client_of_workload(
        &self,
        tenant: &TenantId,
        identity: &WorkloadIdentity,
    ) -> Result<Option<Arc<Client>>> {
        let Some(holder) = self.core.store.holder(tenant, &identity.unique()).await? else { return Ok(None) };
        let id = holder.parse().map_err(|_| Error::internal("read the holder of a workload identity"))?;
        let client = self.client(tenant, &id).await?;
        // The name and the copy of the record may be of different moments.
        Ok(client.filter(|client| client.workload_identities.contains(identity)))
    }

    /// The client that a certificate with these names proves; it may be disabled.
    pub async fn client_of_certificate(&self, id: &ClientId, identities: &[String]) -> Result<Option<Arc<Client>>> {
        let client = match self.cached_client(id) {
            Some(client) => Some(client),
            // Neither the request nor the certificate says where the client is at home.
            None => match self.core.store.holder(&TenantId::system(), &home(id)).await? {
                Some(tenant) => {
                    let tenant = tenant.parse().map_err(|_| Error::internal("read the home of a client"))?;
                    self.client(&tenant, id).await?
                }
                None => None,
            },
        };
        let proved = |client: &Arc<Client>| identities.iter().any(|own| client.certificate_identities.contains(own));
        Ok(client.filter(proved))
    }

    /// Writes down where a client is at home, in the directory of `system`, before its record names certificates. It says
    /// nothing about the client, never changes, and stays: ids are not used again.
    pub(super) async fn note_home(&self, tenant: &TenantId, id: &ClientId) -> Result<()> {
        let mut change = Change::new(TenantId::system(), self.now());
        change.take.push((home(id), tenant.to_string()));
        match self.core.store.write(&change).await? {
            Written::Done => Ok(()),
            Written::Repeated { .. } | Written::Conflict(..) | Written::Taken(_) | Written::NotEmpty(_) => {
                Err(Error::internal("write down where a client is at home"))
            }
        }
    }

    /// Uses up an assertion of a client until `expires`, on all replicas; `false`: it was used before.
    pub async fn use_up(&self, client: &Client, jti: &str, expires: Time) -> Result<bool> {
        let (tenant, id) = (client.tenant.to_string(), client.id.to_string());
        let parts = ["client assertion", &tenant, &id, jti].map(str::as_bytes);
        let mut change = Change::new(client.tenant.clone(), self.now());
        change.request = Some(Request {
            key: digest128(&parts),
            body: [0; 16],
            result: String::new(),
            until: expires.plus(USED_MARGIN),
        });
        match self.core.store.write(&change).await? {
            Written::Done => Ok(true),
            Written::Repeated { .. } => Ok(false),
            Written::Conflict(..) | Written::Taken(_) | Written::NotEmpty(_) => {
                Err(Error::internal("remember a client assertion"))
            }
        }
    }

    /// When a client's secrets were last used.
    pub async fn secret_use(&self, client: &Client) -> Result<SecretUse> {
        let record = self.core.store.read(&[use_key(client)]).await?.pop().flatten();
        match record {
            Some(record) => minicbor::decode(&record.body)
                .map_err(|source| Error::internal("decode the last use of secrets").with_source(source)),
            None => Ok(SecretUse::default()),
        }
    }

    /// Writes when a secret was last used. Approximate: lost races and failures are left alone.
    pub async fn note_use(&self, client: &Client, secret: [u8; 8], at: Time) -> Result<()> {
        let mut uses = self.secret_use(client).await?;
        uses.last.retain(|(id, _)| client.secrets.iter().any(|own| id.as_slice() == own.id && own.id != secret));
        uses.last.push((secret.to_vec().into(), at));
        let mut body = Vec::new();
        minicbor::encode(&uses, &mut body)
            .map_err(|source| Error::internal("encode the last use of secrets").with_source(source))?;
        let mut change = Change::new(client.tenant.clone(), at);
        let key = use_key(client);
        change.puts.push(Put::new(key.kind, key.id, None, body.into()));
        self.core.store.write(&change).await?;
        Ok(())
    }

    /// How often at most [`Self::note_use`] is worth calling for one secret.
    pub const fn use_resolution() -> Duration {
        USE_RESOLUTION
    }
}

/// The names that a client holds.
pub(super) fn names(client: &Client) -> Vec<Unique> {
    if client.state == State::Deleted {
        return Vec::new();
    }
    client.workload_identities.iter().map(WorkloadIdentity::unique).collect()
}

/// Refuses keys and identities that could not be used; all that is wrong at once.
pub(super) fn check(client: &Client) -> Result<()> {
    let mut violations = Vec::new();
    let mut add = |field: String, description: &str| {
        violations.push(Violation { field, description: description.to_owned() });
    };
    for (i, jwk) in client.jwks.iter().enumerate() {
        if let Err(flaw) = PublicKey::new(jwk) {
            add(format!("client.jwks[{i}].{}", flaw.member), flaw.description);
        }
        // Else the one that stands behind would never be tried.
        if !jwk.kid.is_empty() && client.jwks.iter().take(i).any(|other| other.kid == jwk.kid) {
            add(format!("client.jwks[{i}].kid"), "must differ from those of the other keys");
        }
    }
    if !client.jwks.is_empty() && client.jwks_uri.is_some() {
        add("client.jwks_uri".to_owned(), "must not be set together with jwks");
    }
    // Whether it may be called is judged when it is: plain http only where the operator allows the host.
    let is_url =
        |uri: &String| provider::parse(uri).is_some_and(|parsed| matches!(parsed.scheme_str(), Some("https" | "http")));
    if !client.jwks_uri.iter().all(is_url) {
        add("client.jwks_uri".to_owned(), "must be an https URL without fragment and user");
    }
    for (i, identity) in client.workload_identities.iter().enumerate() {
        if client.workload_identities.iter().take(i).any(|other| other == identity) {
            add(format!("client.workload_identities[{i}]"), "must not stand there twice");
        }
    }
    for (i, identity) in client.certificate_identities.iter().enumerate() {
        if !is_certificate_identity(identity) {
            let wanted = "must be a SPIFFE ID (spiffe://…) or dns: and a host name in lower case";
            add(format!("client.certificate_identities[{i}]"), wanted);
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(Error::fields(violations)) }
}

/// Whether a text has the form of a name of a certificate.
fn is_certificate_identity(text: &str) -> bool {
    text.strip_prefix("spiffe://").map_or_else(|| text.strip_prefix("dns:").is_some_and(is_host_name), is_spiffe_path)
}

/// What stands behind `spiffe://` (SPIFFE-ID §2): the trust domain, and perhaps a path.
fn is_spiffe_path(text: &str) -> bool {
    let mut parts = text.split('/');
    let trust_domain = parts.next().unwrap_or_default();
    let symbol = |byte: u8| matches!(byte, b'.' | b'-' | b'_');
    (1..=MAX_TRUST_DOMAIN_LEN).contains(&trust_domain.len())
        && trust_domain.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || symbol(byte))
        && parts.all(|part| {
            !matches!(part, "" | "." | "..") && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || symbol(byte))
        })
}

/// Labels of letters, digits, `-` and `_` (RFC 1123 §2.1; the last one stands in names of services).
fn is_host_name(text: &str) -> bool {
    text.len() <= MAX_HOST_NAME_LEN
        && text.split('.').all(|label| {
            (1..=MAX_LABEL_LEN).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
        })
}

fn home(id: &ClientId) -> Unique {
    Unique { name: &HOMES, value: id.to_string() }
}

fn use_key(client: &Client) -> RecordKey {
    RecordKey { tenant: client.tenant.clone(), kind: Kind::SecretUse, id: client.id.to_string() }
}

#[cfg(test)]
mod tests {
    use super::is_certificate_identity;

    #[test]
    fn certificates_are_known_by_spiffe_ids_and_host_names() {
        for good in [
            "spiffe://example.org",
            "spiffe://example.org/ns/shop/sa/billing",
            "spiffe://a_b-c.1/A.b_C-9",
            "dns:billing",
            "dns:billing.example.org",
            "dns:_grpc.xn--bcher-kva.example",
        ] {
            assert!(is_certificate_identity(good), "{good}");
        }
        let long = format!("dns:{}", "a.".repeat(127) + "a");
        for bad in [
            "",
            "billing.example.org",
            "spiffe://",
            "spiffe:///billing",
            "spiffe://Example.org/billing",
            "spiffe://example.org/",
            "spiffe://example.org//billing",
            "spiffe://example.org/../billing",
            "spiffe://example.org/billing?x=1",
            "spiffe://example.org:80/billing",
            "SPIFFE://example.org/billing",
            "dns:",
            "dns:*.example.org",
            "dns:Billing.example.org",
            "dns:billing.example.org.",
            "dns:-billing",
            "dns:a b",
            "https://example.org",
            &long,
        ] {
            assert!(!is_certificate_identity(bad), "{bad}");
        }
    }
}
