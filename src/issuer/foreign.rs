//! Callers that prove themselves by JWTs of others: client assertions (RFC 7523 §3), which a client signs with its own key,
//! and workloads' own tokens, which a cluster or a SPIFFE trust domain signs.
//!
//! Whatever is wrong with them looks as a wrong secret does.

use std::{sync::Arc, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{ClientId, TenantId};

use super::{Issuer, workloads::KeySource};
use crate::{
    directory::{
        caller::Caller,
        record::{Client, WorkloadIdentity},
    },
    error::{Error, Result},
    keys::{
        foreign::{Claims, LEEWAY, MAX_CANDIDATES, Refusal, Unverified},
        jwk::{Jwk, PublicKey},
    },
    outbound::key_set::KeySet,
};

/// The proof does not hold, or it could not be found out whether it does.
enum Unproven {
    /// Callers do not learn why.
    Refused(Refusal),
    Failed(Error),
}

/// How far ahead an assertion may expire: until then it must be remembered.
const MAX_ASSERTION_LIFE: Duration = Duration::from_secs(300);
/// The longest `jti` of an assertion, in characters.
const MAX_JTI_CHARS: usize = 128;
/// The `typ` of assertions, if they have one.
const ASSERTION_TYPES: &[&str] = &["JWT", "client-authentication+jwt"];
/// The `typ` of workloads' tokens, if they have one (JWT-SVID §2.3).
const WORKLOAD_TYPES: &[&str] = &["JWT", "JOSE"];

/// The same for everything that is wrong with what a client brings.
pub(super) fn invalid_client() -> Error {
    Error::new(Reason::InvalidClient, "unknown or disabled client, or wrong credentials")
}

// === impl Issuer ===

impl Issuer {
    /// The client that signed an assertion, which is used up by this. `client_id`: whose it is said to be.
    pub(super) async fn recognize_assertion(&self, client_id: Option<&str>, assertion: &str) -> Result<Arc<Caller>> {
        let caller = self.client_of_assertion(client_id, assertion).await;
        caller.map_err(|unproven| unproven.into_error("a client assertion"))
    }

    /// The client that a workload stands for, in the tenant that it names or else is meant for.
    pub(super) async fn recognize_workload(&self, tenant: Option<&str>, jwt: &str) -> Result<Arc<Caller>> {
        let caller = self.client_of_workload(tenant, jwt).await;
        caller.map_err(|unproven| unproven.into_error("a workload's token"))
    }

    async fn client_of_assertion(&self, client_id: Option<&str>, text: &str) -> Result<Arc<Caller>, Unproven> {
        let unverified = Unverified::parse(text, ASSERTION_TYPES)?;
        let (tenant, id) = self.assertion_subject(unverified.unverified_claims(), client_id)?;
        let client = self.directory.client(&tenant, &id).await?.ok_or(Refusal("there is no such client"))?;
        let keys = match &client.jwks_uri {
            Some(uri) => {
                let url = uri.parse().map_err(|_| Error::internal("read the URL of a client's keys"))?;
                fitting(self.key_sets.keys(&url, unverified.key_id()).await.ok().as_deref(), &unverified)?
            }
            None => client.jwks.iter().filter_map(|jwk| PublicKey::new(jwk).ok()).collect(),
        };
        let claims = unverified.verify(&keys)?;
        self.check_life(&claims)?;
        let jti = claims.jti.as_deref().filter(|jti| (1..=MAX_JTI_CHARS).contains(&jti.chars().count()));
        let jti = jti.ok_or(Refusal("jti is missing or too long"))?;
        let caller = self.client_as_caller(&client).await?.ok_or(Refusal("the client or its tenant is disabled"))?;
        // Last: only what would be accepted costs a write, and nothing is done before it.
        if !self.directory.use_up(&client, jti, claims.expires()).await? {
            return Err(Refusal("it was used before").into());
        }
        Ok(caller)
    }

    /// Who an assertion says that it is from: where the client is at home tells the audience, which is that tenant's issuer
    /// and nobody else. Somebody else could use what was meant for both.
    fn assertion_subject(&self, claims: &Claims, client_id: Option<&str>) -> Result<(TenantId, ClientId), Refusal> {
        if claims.iss != claims.sub || client_id.is_some_and(|id| id != claims.sub) {
            return Err(Refusal("iss and sub are not both the client's id"));
        }
        let [audience] = claims.audience() else { return Err(Refusal("aud is not one issuer")) };
        let tenant = self.directory.tenant_of_issuer(audience).ok_or(Refusal("aud is not a tenant's issuer"))?;
        let id = claims.sub.parse().map_err(|_| Refusal("sub is no client's id"))?;
        Ok((tenant, id))
    }

    fn check_life(&self, claims: &Claims) -> Result<(), Refusal> {
        let now = self.now();
        claims.check_time(now)?;
        if claims.expires() > now.plus(MAX_ASSERTION_LIFE + LEEWAY) {
            return Err(Refusal("it lives for too long"));
        }
        Ok(())
    }

    async fn client_of_workload(&self, tenant: Option<&str>, text: &str) -> Result<Arc<Caller>, Unproven> {
        let now = self.now();
        let unverified = Unverified::parse(text, WORKLOAD_TYPES)?;
        let issuer = self.workloads.get(&unverified.unverified_claims().iss);
        let published = match issuer.ok_or(Refusal("its issuer is not configured"))? {
            KeySource::Url(url) => self.key_sets.keys(url, unverified.key_id()).await.ok(),
            KeySource::File(file) => file.keys(now).await,
        };
        let keys = fitting(published.as_deref(), &unverified)?;
        let claims = unverified.verify(&keys)?;
        claims.check_time(now)?;
        let tenant = self.audience_tenant(&claims, tenant)?;
        // It is presented again and again until it expires, as its issuer means it to be, so nothing is used up.
        let identity = WorkloadIdentity { issuer: claims.iss, subject: claims.sub };
        let client = self.directory.client_of_workload(&tenant, &identity).await?;
        let client: Arc<Client> = client.ok_or(Refusal("it stands for no client of the tenant"))?;
        Ok(self.client_as_caller(&client).await?.ok_or(Refusal("the client or its tenant is disabled"))?)
    }

    /// The tenant that a workload's token is meant for: the one that is asked for, else the only one of its audience.
    fn audience_tenant(&self, claims: &Claims, requested: Option<&str>) -> Result<TenantId, Refusal> {
        let mut meant = claims.audience().iter().filter_map(|audience| self.directory.tenant_of_issuer(audience));
        let unmeant = Refusal("aud does not name the tenant's issuer");
        if let Some(requested) = requested {
            return meant.find(|tenant| tenant.to_string() == requested).ok_or(unmeant);
        }
        let tenant = meant.next().ok_or(unmeant)?;
        if meant.any(|other| other != tenant) {
            return Err(Refusal("aud names several tenants, and none is asked for"));
        }
        Ok(tenant)
    }
}

/// Those of a published set that may have signed a JWT. Why there is none at all is logged where it is fetched.
fn fitting(published: Option<&KeySet>, unverified: &Unverified<'_>) -> Result<Vec<PublicKey>, Refusal> {
    let published = published.ok_or(Refusal("its issuer's keys are not known"))?;
    let found = published.find(unverified.key_id(), unverified.algorithm().jsonwebtoken());
    // One more than will be tried: the refusal of too many is made there.
    Ok(found.take(MAX_CANDIDATES + 1).filter_map(|key| PublicKey::new(&Jwk::of(key)?).ok()).collect())
}

// === impl Unproven ===

impl Unproven {
    fn into_error(self, what: &'static str) -> Error {
        match self {
            Self::Refused(refusal) => {
                tracing::debug!(reason = %refusal, "{what} was refused");
                invalid_client()
            }
            Self::Failed(error) => error,
        }
    }
}

impl From<Refusal> for Unproven {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Unproven {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
