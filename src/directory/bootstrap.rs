//! What a service needs at its first start: the tenants `system` and `default`, and an administrator.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{ClientId, GrantType, Scopes, TenantId, id::SYSTEM, scope::ALL_MANAGEMENT};

use super::{
    DEFAULT, Directory,
    client_secrets::ShownSecret,
    clients::new_client,
    commit::refused,
    record::Client,
    tenants::{client_index, new_tenant},
};
use crate::{
    ambient::Fresh as _,
    error::{Error, Result},
    store::Written,
};

// === impl Directory ===

impl Directory {
    /// Makes what every start needs: the tenants `system` and `default`, and the bootstrap client if there is none yet.
    /// Returns the client's secret if one was made here.
    pub async fn bootstrap(&self, client: Option<ClientId>) -> Result<Option<(Arc<Client>, ShownSecret)>> {
        let Some((client, shown)) = self.prepare_bootstrap(client).await? else { return Ok(None) };
        Ok(self.insert_bootstrap(client).await?.map(|client| (client, shown)))
    }

    /// The same up to the client, which is returned and not stored yet: its secret is handed out first, because
    /// after a crash nobody could be.
    pub async fn prepare_bootstrap(&self, client: Option<ClientId>) -> Result<Option<(Client, ShownSecret)>> {
        self.core.log.head().await?;
        for id in [SYSTEM, DEFAULT] {
            let id: TenantId = id.parse().map_err(|_| Error::internal("parse a built-in tenant's id"))?;
            if self.tenant(&id).await?.is_none() {
                let tenant = new_tenant(id.clone(), self.now());
                match self.insert_tenant(tenant, None).await {
                    Ok(_) => {}
                    // Another replica was faster.
                    Err(error) if error.reason() == Reason::TenantIdTaken => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let system = TenantId::system();
        let id = match client {
            Some(id) if self.client(&system, &id).await?.is_some() => return Ok(None),
            Some(id) => id,
            None if !self.core.store.list(&client_index(&system), None, 1).await?.is_empty() => return Ok(None),
            None => ClientId::random()?,
        };
        let all = Scopes::new(ALL_MANAGEMENT);
        let admin = Client {
            display_name: "bootstrap administrator".to_owned(),
            allowed_grants: vec![
                GrantType::ClientCredentials,
                GrantType::Account,
                GrantType::Member,
                GrantType::EntityGroup,
                GrantType::TokenExchange,
                GrantType::AuthenticatedMember,
            ],
            allowed_scopes: all.clone(),
            default_scopes: all,
            introspects: vec!["*".to_owned()],
            ..new_client(id, &system, None, self.now())
        };
        self.with_first_secret(admin).map(Some)
    }

    /// Stores the bootstrap client; `None` if another replica was faster.
    pub async fn insert_bootstrap(&self, client: Client) -> Result<Option<Arc<Client>>> {
        let (written, client, _) = self.insert_client(client, None).await?;
        match written {
            Written::Done => Ok(Some(client)),
            Written::Conflict(..) => Ok(None),
            other @ (Written::Taken(_) | Written::NotEmpty(_) | Written::Repeated { .. }) => Err(refused(other)),
        }
    }
}
