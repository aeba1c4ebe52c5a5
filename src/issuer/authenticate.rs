//! Who calls: the bearer of a token of ours, or a client that proves itself in the request.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use jeton_contract::reason::Reason;
use jeton_core::{ClientId, Position, Subject, TenantId, scope::management, secret::SecretText};

use super::{
    Issuer,
    foreign::invalid_client,
    freshness::Freshness,
    verified::{KnownCaller, Verified},
};
use crate::{
    directory::{
        Directory,
        caller::{About, Caller},
        permit::{Act, Rule},
        record::{Client, State},
        standing::Standing,
    },
    error::{Error, Result},
    revocation::cache::MAX_AGE,
};

/// A bearer that was recognized from memory, before any head was read.
#[derive(Clone, Debug)]
pub struct Recognized {
    verified: Arc<Verified>,
    pub caller: Arc<Caller>,
}

/// What a call brings as proof of who calls.
#[derive(Clone, Debug)]
pub enum Proof {
    Bearer(Recognized),
    /// A client's secret in the request.
    Client {
        id: String,
        secret: SecretText,
    },
    /// A client assertion in the request (RFC 7523), with the client that it is said to be of.
    Assertion {
        id: Option<String>,
        assertion: SecretText,
    },
    /// The names of the verified client certificate of the call's connection (RFC 8705 §2), with the client that it is said
    /// to be of.
    Certificate {
        id: String,
        identities: Arc<[String]>,
    },
    /// A workload's own token, with the tenant that it is for.
    Workload {
        tenant: Option<String>,
        jwt: SecretText,
    },
}

/// What a call brings to be permitted.
#[derive(Clone, Copy, Debug)]
pub struct PermitRequest<'a> {
    pub rule: &'static Rule,
    pub proof: &'a Proof,
    pub about: &'a About,
    pub freshness: Freshness,
}

// === impl Proof ===

impl Proof {
    /// Whether a client proves itself in the request, or by the connection's certificate. A workload's own token is
    /// declared by its grant.
    const fn is_client_authentication(&self) -> bool {
        match self {
            Self::Client { .. } | Self::Assertion { .. } | Self::Certificate { .. } => true,
            Self::Bearer(_) | Self::Workload { .. } => false,
        }
    }
}

// === impl Issuer ===

impl Issuer {
    /// The bearer of a token that is active and meant for jeton itself, as memory knows it now.
    pub async fn recognize(&self, bearer: &str) -> Result<Recognized> {
        let verified = self.resolve(bearer).await?.ok_or_else(invalid_token)?;
        let caller = self.judge(&verified).await?;
        Ok(Recognized { verified, caller })
    }

    /// Reaches a head, judges who calls, and gives the permit to act.
    ///
    /// # Errors
    /// TOKEN_INVALID or INVALID_CLIENT; TOKEN_MISSING for client authentication that the rule does not take;
    /// SCOPE_INSUFFICIENT; NOT_FOUND or INVALID_FIELD of the tenant.
    pub async fn permit(&self, request: &PermitRequest<'_>) -> Result<Act> {
        let PermitRequest { rule, proof, about, freshness } = request;
        if proof.is_client_authentication() && !rule.client_authentication {
            return Err(rule.missing());
        }
        let head = self.reach(*freshness).await?;
        let caller = self.prove(proof, *freshness, head).await?;
        self.directory.permit(rule, caller, about, head).await
    }

    /// Who calls, as of `head`.
    async fn prove(&self, proof: &Proof, freshness: Freshness, head: Position) -> Result<Arc<Caller>> {
        match proof {
            Proof::Bearer(recognized) if !freshness.has_seen(recognized.verified.token.rev, head) => {
                Err(invalid_token())
            }
            Proof::Bearer(recognized) => self.judge(&recognized.verified).await,
            Proof::Client { id, secret } => self.recognize_client(id, secret.expose()).await,
            Proof::Assertion { id, assertion } => {
                Box::pin(self.recognize_assertion(id.as_deref(), assertion.expose())).await
            }
            Proof::Certificate { id, identities } => Box::pin(self.recognize_certificate(id, identities)).await,
            Proof::Workload { tenant, jwt } => Box::pin(self.recognize_workload(tenant.as_deref(), jwt.expose())).await,
        }
    }

    async fn judge(&self, verified: &Arc<Verified>) -> Result<Arc<Caller>> {
        if !verified.token.audience.is_issuer() || !self.is_active(verified).await? {
            return Err(invalid_token());
        }
        self.caller_of(verified).await?.ok_or_else(invalid_token)
    }

    /// The client that proves itself by its secret. Unknown clients, wrong secrets and disabled clients look the same.
    async fn recognize_client(&self, client_id: &str, secret: &str) -> Result<Arc<Caller>> {
        let client = match self.configured_client(client_id, secret).await? {
            Some(client) => client,
            None => {
                let (client, used) =
                    self.directory.client_of_secret(client_id, secret).await?.ok_or_else(invalid_client)?;
                self.note_use(&client, used);
                client
            }
        };
        self.client_as_caller(&client).await?.ok_or_else(invalid_client)
    }

    /// The client that a certificate proves. Everything that is wrong looks as a wrong secret does.
    async fn recognize_certificate(&self, client_id: &str, identities: &[String]) -> Result<Arc<Caller>> {
        let refused = |reason: &'static str| {
            tracing::debug!(reason, "a client certificate was refused");
            invalid_client()
        };
        let id = client_id.parse().map_err(|_| refused("client_id is no client's id"))?;
        let client = self.directory.client_of_certificate(&id, identities).await?;
        let client = client.ok_or_else(|| refused("none of its names is one of the client's"))?;
        let caller = self.client_as_caller(&client).await?;
        caller.ok_or_else(|| refused("the client or its tenant is disabled"))
    }

    /// A client that has proved itself, as a caller; `None` if it or its tenant is disabled.
    pub(super) async fn client_as_caller(&self, client: &Client) -> Result<Option<Arc<Caller>>> {
        let standing = self.directory.standing(&client.tenant, &client.tenant, &client.id).await?;
        let Some(standing) = standing.filter(|standing| standing.is_enabled()) else { return Ok(None) };
        Ok(Some(Arc::new(Caller {
            tenant: client.tenant.clone(),
            subject: Subject::Client(standing.confinement().cloned()),
            sub: client.id.to_string(),
            scopes: standing.allowed_scopes(),
            standing,
            token: None,
        })))
    }

    /// The client whose credentials stand in the configuration, if these are they.
    async fn configured_client(&self, client_id: &str, secret: &str) -> Result<Option<Arc<Client>>> {
        let Some(bootstrap) = &self.bootstrap else { return Ok(None) };
        let same = constant_time::verify_slices_are_equal(bootstrap.secret.expose().as_bytes(), secret.as_bytes());
        if same.is_err() || bootstrap.client.to_string() != client_id {
            return Ok(None);
        }
        let client = self.directory.client(&TenantId::system(), &bootstrap.client).await?;
        Ok(client.filter(|client| client.state == State::Enabled))
    }

    /// Who a verified, active token is as a bearer. Of its rights over jeton itself only those count that its client still
    /// has: a demotion is in the log, and makes what was known here one of the past.
    async fn caller_of(&self, verified: &Arc<Verified>) -> Result<Option<Arc<Caller>>> {
        let version = self.core.log.version();
        let now = self.now();
        if let Some(known) = verified.caller.load().as_ref()
            && known.version == version
            && now < known.until
        {
            return Ok(Some(Arc::clone(&known.caller)));
        }
        let token = &verified.token;
        let Some(standing) = Box::pin(self.standing_of(verified)).await? else {
            return Ok(None);
        };
        let caller = Arc::new(Caller {
            tenant: token.tenant.clone(),
            subject: token.subject.clone(),
            sub: token.sub(),
            scopes: token.scopes.kept_by(&standing.allowed_scopes()),
            standing,
            token: Some(Arc::clone(token)),
        });
        let known = KnownCaller { version, until: now.plus(MAX_AGE), caller: Arc::clone(&caller) };
        verified.caller.store(Some(Arc::new(known)));
        Ok(Some(caller))
    }

    /// What a token's client may do in the token's tenant.
    async fn standing_of(&self, verified: &Verified) -> Result<Option<Arc<Standing>>> {
        let token = &verified.token;
        if let Some(standing) = self.directory.standing(&token.tenant, &token.tenant, &token.client).await? {
            return Ok(Some(standing));
        }
        // A JWT does not say where its client is at home; the token's record does.
        let home = match &token.home {
            Some(home) => Some(home.clone()),
            None => match self.core.store.token(&token.id).await? {
                Some(record) => super::records::decode_token(&record, &token.id)?.home,
                None => None,
            },
        };
        let Some(home) = home else { return Ok(None) };
        self.standing_anywhere(&token.tenant, &home, &token.client).await
    }

    /// What a client may do in a tenant: as at home, as its admission says, or as an administrator of `system`, who stands in
    /// every tenant.
    pub(super) async fn standing_anywhere(
        &self,
        tenant: &TenantId,
        home: &TenantId,
        client: &ClientId,
    ) -> Result<Option<Arc<Standing>>> {
        if let Some(standing) = self.directory.standing(tenant, home, client).await? {
            return Ok(Some(standing));
        }
        if *home != TenantId::system() {
            return Ok(None);
        }
        let (tenant, client) = (self.directory.tenant(tenant).await?, self.directory.client(home, client).await?);
        let client = client.filter(|client| client.allowed_scopes.contains(management::ADMIN));
        Ok(tenant.zip(client).map(|(tenant, client)| Arc::new(Standing { tenant, client, admission: None })))
    }

    /// Notes that a secret was used; written at most once a minute, after the reply.
    fn note_use(&self, client: &Arc<Client>, secret: [u8; 8]) {
        let now = self.now();
        let mut uses = self.uses.lock();
        if uses.get(&secret).is_some_and(|last| now.since(*last) < Directory::use_resolution()) {
            return;
        }
        // What was written long ago need not be remembered.
        if uses.len() > MAX_REMEMBERED_USES {
            uses.retain(|_, last| now.since(*last) < Directory::use_resolution());
        }
        uses.insert(secret, now);
        drop(uses);
        let (directory, client) = (Arc::clone(&self.directory), Arc::clone(client));
        self.core.tasks.spawn(async move {
            if let Err(error) = directory.note_use(&client, secret, now).await {
                tracing::debug!(error = %crate::error::chain(&error), "writing the last use of a client secret failed");
            }
        });
    }
}

const MAX_REMEMBERED_USES: usize = 10_000;

fn invalid_token() -> Error {
    Error::new(Reason::TokenInvalid, "the bearer token is not an active token for this service")
}
