//! Clients and their secrets.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{
    AccountId, ClientId, GrantType, Lineage, Position, Scopes, TenantId, Time, entry::Entry, family::RenewalPolicy,
};

use super::{
    Directory,
    client_secrets::{ShownSecret, remember},
    commit::{Edit, Repeat, refused},
    credentials::{self},
    filters::{any, name_of, state_name},
    load::key,
    names::rename,
    page::{Page, PageRequest},
    permit::Act,
    record::{Client, Grantable, State, Stored as _, WorkloadIdentity},
};
use crate::{
    ambient::Fresh as _,
    error::{Error, Result},
    keys::jwk::Jwk,
    notation::filter::{Field, Filter, NAME_OPS, TEXT_OPS, Value},
    store::{Change, Index, Kind, Put, Written},
};

/// What a caller says of a client; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct ClientPatch {
    pub display_name: Option<String>,
    pub allowed_grants: Option<Vec<GrantType>>,
    pub allowed_scopes: Option<Scopes>,
    pub default_scopes: Option<Scopes>,
    pub audiences: Option<Vec<String>>,
    pub introspects: Option<Vec<String>>,
    pub token_ttl: Option<Option<Duration>>,
    pub refresh_idle_ttl: Option<Option<Duration>>,
    pub refresh_absolute_ttl: Option<Option<Duration>>,
    pub replay_window: Option<Option<Duration>>,
    pub renewal_policy: Option<RenewalPolicy>,
    pub labels: Option<BTreeMap<String, String>>,
    pub jwks: Option<Vec<Jwk>>,
    pub jwks_uri: Option<Option<String>>,
    pub workload_identities: Option<Vec<WorkloadIdentity>>,
    pub certificate_identities: Option<Vec<String>>,
    pub grantable: Option<Option<Grantable>>,
}

/// The fields that clients can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { name: "display_name", ops: TEXT_OPS, value: any },
    Field { name: "state", ops: NAME_OPS, value: state_name },
    Field { name: "account_id", ops: TEXT_OPS, value: any },
    Field { name: "labels.", ops: TEXT_OPS, value: any },
];

// === impl Act ===

impl Act {
    pub async fn create_client(
        &self,
        account: Option<&str>,
        patch: ClientPatch,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<Client>, ShownSecret, Position)> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let limits = self.limits().await?;
        let confinement = self.confinement_for(account).await?;
        let client = apply(new_client(ClientId::random()?, tenant, confinement, self.directory.now()), patch)?;
        limits.check_client(&client)?;
        let (client, shown) = self.directory.with_first_secret(client)?;
        if !client.certificate_identities.is_empty() {
            self.directory.note_home(tenant, &client.id).await?;
        }
        let result = remember(&client.id, &shown.secret);
        let request = repeat.map(|repeat| repeat.request(tenant, caller, result, self.directory.now()));
        let (written, client, position) = self.directory.insert_client(client, request).await?;
        match (written, repeat) {
            (Written::Done, _) => Ok((client, shown, position)),
            (Written::Repeated { body, result }, Some(repeat)) => {
                repeat.check(body)?;
                let (client, shown) = self.directory.remembered(&limits, tenant, &result).await?;
                let position = self.directory.core.log.append(&[Entry::changed(client.ident())]).await?;
                Ok((client, shown, position))
            }
            (other, _) => Err(refused(other)),
        }
    }

    /// The client that a reference names, if the caller reaches it.
    pub async fn reachable_client(&self, reference: &str) -> Result<Arc<Client>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        let not_found = || Error::not_found("Client", reference);
        let id: ClientId = reference.parse().map_err(|_| not_found())?;
        let client = self.directory.client(tenant, &id).await?.ok_or_else(not_found)?;
        if is_within(&client, caller.confinement(tenant)) { Ok(client) } else { Err(not_found()) }
    }

    pub async fn update_client(
        &self,
        reference: &str,
        etag: &str,
        patch: ClientPatch,
    ) -> Result<(Arc<Client>, Position)> {
        if patch.certificate_identities.as_ref().is_some_and(|identities| !identities.is_empty()) {
            let client = self.reachable_client(reference).await?;
            self.limits().await?.check_client(&client)?;
            self.directory.note_home(self.tenant(), &client.id).await?;
        }
        self.edit_client(reference, Some(etag), |client| {
            let mut client = apply(client, patch.clone())?;
            client.updated = self.directory.now();
            Ok((vec![Entry::changed(client.ident())], client))
        })
        .await
    }

    /// Enables, disables or deletes a client.
    pub async fn set_client_state(
        &self,
        reference: &str,
        etag: Option<&str>,
        state: State,
    ) -> Result<(Arc<Client>, Position)> {
        let caller = self.caller();
        if state != State::Enabled && caller.standing.client.id.to_string() == reference {
            // The last administrator would lock everybody out.
            return Err(Error::new(Reason::BuiltIn, "a client cannot disable or delete itself"));
        }
        self.edit_client(reference, etag, |mut client| {
            client.state = state;
            client.updated = self.directory.now();
            let entry = match state {
                State::Enabled => Entry::changed(client.ident()),
                State::Disabled | State::Deleted => Entry::revoke(client.ident()),
            };
            Ok((vec![entry], client))
        })
        .await
    }

    /// Lists the clients within reach, by id.
    pub async fn list_clients(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Arc<Client>>> {
        let root = self.caller().confinement(self.tenant());
        self.directory
            .list_records(&all(self.tenant()), page, |client: &Client| {
                client.state != State::Deleted && is_within(client, root) && matches(filter, client)
            })
            .await
    }

    /// The account that confines a client that `caller` creates or admits.
    pub(super) async fn confinement_for(&self, account: Option<&str>) -> Result<Option<Lineage>> {
        let (caller, tenant) = (self.caller(), self.tenant());
        match account {
            Some(reference) => {
                let account = self.reachable_account(reference).await?;
                if account.state == State::Deleted {
                    return Err(Error::not_found("Account", reference));
                }
                Ok(Some(account.lineage()))
            }
            // What a confined caller makes stays within its confinement.
            None => match caller.confinement(tenant) {
                Some(own) => Ok(self.directory.account(tenant, own).await?.map(|account| account.lineage())),
                None => Ok(None),
            },
        }
    }

    pub(super) async fn edit_client(
        &self,
        reference: &str,
        etag: Option<&str>,
        edit: impl Fn(Client) -> Result<(Vec<Entry>, Client)>,
    ) -> Result<(Arc<Client>, Position)> {
        let tenant = self.tenant();
        let found = self.reachable_client(reference).await?;
        let limits = self.limits().await?;
        limits.check_client(&found)?;
        self.directory
            .edit(&key::<Client>(tenant, &found.id), etag, |client: Client| {
                if client.state == State::Deleted {
                    return Err(Error::not_found("Client", reference));
                }
                limits.check_client(&client)?;
                let (entries, record) = edit(client.clone())?;
                limits.check_client(&record)?;
                limits.check_own(&client, &record)?;
                let mut change = Change::new(tenant.clone(), self.directory.now());
                let (before, after) = (credentials::names(&client), credentials::names(&record));
                rename(&mut change, &record.id.to_string(), before, after);
                Ok(Edit { record, change, entries })
            })
            .await
    }
}

// === impl Directory ===

impl Directory {
    /// Stores a new client.
    pub(super) async fn insert_client(
        &self,
        mut client: Client,
        request: Option<crate::store::Request>,
    ) -> Result<(Written, Arc<Client>, Position)> {
        let id = client.id.to_string();
        let mut change = Change::new(client.tenant.clone(), self.now());
        change.index.push((all(&client.tenant), id.clone()));
        rename(&mut change, &id, Vec::new(), credentials::names(&client));
        change.request = request;
        change.puts.push(Put::new(Kind::Client, id, Some(0), client.to_bytes()));
        let (written, position) = self.commit(change, &[Entry::changed(client.ident())]).await?;
        client.version = 1;
        Ok((written, Arc::new(client), position))
    }
}

pub(super) fn new_client(id: ClientId, tenant: &TenantId, confinement: Option<Lineage>, now: Time) -> Client {
    Client {
        id,
        tenant: tenant.clone(),
        display_name: String::new(),
        state: State::Enabled,
        allowed_grants: vec![GrantType::ClientCredentials],
        allowed_scopes: Scopes::default(),
        default_scopes: Scopes::default(),
        audiences: Vec::new(),
        introspects: Vec::new(),
        confinement,
        token_ttl: None,
        refresh_idle_ttl: None,
        refresh_absolute_ttl: None,
        replay_window: None,
        renewal_policy: RenewalPolicy::Always,
        labels: BTreeMap::new(),
        secrets: Vec::new(),
        created: now,
        updated: now,
        jwks: Vec::new(),
        jwks_uri: None,
        workload_identities: Vec::new(),
        certificate_identities: Vec::new(),
        grantable: None,
        version: 1,
    }
}

fn apply(mut client: Client, patch: ClientPatch) -> Result<Client> {
    macro_rules! set {
        ($($field:ident)*) => {$(
            if let Some(value) = patch.$field {
                client.$field = value;
            }
        )*};
    }
    set!(display_name allowed_grants allowed_scopes default_scopes audiences introspects token_ttl);
    set!(refresh_idle_ttl refresh_absolute_ttl replay_window renewal_policy labels jwks jwks_uri workload_identities);
    set!(certificate_identities grantable);
    credentials::check(&client)?;
    if let Some(beyond) = client.default_scopes.beyond(&client.allowed_scopes) {
        let description = format!("must be a subset of allowed_scopes; {beyond} is not among them");
        return Err(Error::field("client.default_scopes", description));
    }
    if client.allowed_grants.is_empty() {
        client.allowed_grants.push(GrantType::ClientCredentials);
    }
    Ok(client)
}

/// Whether a client is confined to `root` or to an account below it; everything is within no confinement.
fn is_within(client: &Client, root: Option<&AccountId>) -> bool {
    root.is_none_or(|root| client.confinement.as_ref().is_some_and(|own| own.is_within(root)))
}

fn matches(filter: &Filter, client: &Client) -> bool {
    let account = client.confinement.as_ref().map(|confinement| confinement.account.to_string());
    filter.matches(|field, key| match field {
        "display_name" => Value::Text(Some(&client.display_name)),
        "state" => Value::Name(name_of(client.state)),
        "account_id" => Value::Text(account.as_deref()),
        _ => Value::Text(client.labels.get(key).map(String::as_str)),
    })
}

fn all(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Client, parent: None }
}
