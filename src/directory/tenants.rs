//! Tenants and their signing keys.

use std::{collections::BTreeMap, sync::Arc};

use jeton_contract::reason::Reason;
use jeton_core::{Ident, Position, TenantId, Time, entry::Entry, id::SYSTEM};

use super::{
    DEFAULT, Directory,
    caller::require_unconfined,
    commit::{Edit, Repeat, refused},
    filters::{any, name_of, state_name},
    page::{Page, PageRequest},
    permit::Act,
    record::{Kept as _, KeySetRecord, State, Stored as _, Tenant},
    settings::{Settings, SettingsPatch},
    signing_keys::Rotation,
};
use crate::{
    ambient::Fresh as _,
    error::{Error, Result},
    keys::stored::StoredKeySet,
    notation::filter::{Field, Filter, NAME_OPS, TEXT_OPS, Value},
    store::{Change, Index, Kind, Put, Written},
};

/// What a caller says of a tenant; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct TenantPatch {
    pub display_name: Option<String>,
    pub service_urls: Option<BTreeMap<String, String>>,
    pub settings: SettingsPatch,
}

/// The fields that tenants can be filtered by.
pub const FIELDS: &[Field] = &[
    Field { name: "display_name", ops: TEXT_OPS, value: any },
    Field { name: "state", ops: NAME_OPS, value: state_name },
];

// === impl Directory: tenants ===

impl Act {
    pub async fn create_tenant(
        &self,
        id: Option<TenantId>,
        patch: TenantPatch,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<Tenant>, Position)> {
        let id = match id {
            Some(id) => id,
            None => TenantId::random()?,
        };
        let mut tenant = new_tenant(id, self.directory.now());
        apply(&mut tenant, patch)?;
        let system = TenantId::system();
        let request =
            repeat.map(|repeat| repeat.request(&system, self.caller(), tenant.id.to_string(), self.directory.now()));
        match (self.directory.insert_tenant(tenant, request).await?, repeat) {
            (Inserted::New(tenant, position), _) => Ok((tenant, position)),
            (Inserted::Repeated(body, id), Some(repeat)) => {
                repeat.check(body)?;
                let id: TenantId = id.parse().map_err(|_| Error::internal("read a remembered request"))?;
                let tenant: Tenant = self
                    .directory
                    .fresh(&Tenant::place(&id, &id))
                    .await?
                    .ok_or_else(|| Error::internal("find what a remembered request made"))?;
                let position = self.directory.core.log.append(&[Entry::changed(tenant.ident())]).await?;
                Ok((Arc::new(tenant), position))
            }
            (Inserted::Repeated(..), None) => Err(Error::internal("handle a repeat that was not asked for")),
        }
    }

    /// The tenant that the call is about.
    pub async fn tenant_of(&self) -> Result<Arc<Tenant>> {
        self.directory.existing_tenant(self.tenant()).await
    }

    pub async fn update_tenant(&self, etag: &str, patch: TenantPatch) -> Result<(Arc<Tenant>, Position)> {
        let caller = self.caller();
        let found = self.tenant_of().await?;
        require_unconfined(caller)?;
        if patch.settings.eternal_tokens == Some(true) {
            caller.require(jeton_core::scope::management::TOKENS_ETERNAL)?;
        }
        if let Some(Some(audience)) = &patch.settings.default_audience {
            // Every client may ask for it from then on.
            self.limits().await?.check_audiences(std::slice::from_ref(audience))?;
        }
        let before = found.settings.clone();
        let (tenant, position) = self
            .directory
            .edit_tenant(&found.id, Some(etag), |tenant| {
                apply(tenant, patch.clone())?;
                Ok(Entry::changed(Ident::Tenant(tenant.id.clone())))
            })
            .await?;
        if tenant.settings.signing_algorithm() != before.signing_algorithm() {
            let (_, position) = self.directory.rotate_key(&tenant, Rotation::NewAlgorithm).await?;
            return Ok((tenant, position));
        }
        if tenant.settings.key_announcement() != before.key_announcement() {
            let tell = |set: &mut StoredKeySet, now| {
                set.tell(tenant.settings.key_announcement(), now);
                Ok(Entry::changed(Ident::Tenant(tenant.id.clone())))
            };
            let (_, position) = self.directory.edit_keys(&tenant, tell).await?;
            return Ok((tenant, position));
        }
        Ok((tenant, position))
    }

    pub async fn set_tenant_state(&self, etag: Option<&str>, state: State) -> Result<(Arc<Tenant>, Position)> {
        let id = self.tenant();
        let requested = self.tenant_of().await?.id.to_string();
        if state != State::Enabled && (requested == SYSTEM || (requested == DEFAULT && state == State::Deleted)) {
            return Err(Error::new(Reason::BuiltIn, format!("the tenant {requested} is built in")));
        }
        self.directory
            .edit_tenant(id, etag, |tenant| {
                tenant.state = state;
                let ident = Ident::Tenant(tenant.id.clone());
                Ok(match state {
                    State::Enabled => Entry::changed(ident),
                    State::Disabled | State::Deleted => Entry::revoke(ident),
                })
            })
            .await
    }

    /// Lists the tenants within reach, by id.
    pub async fn list_tenants(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Arc<Tenant>>> {
        let caller = self.caller();
        let matches = |tenant: &Tenant| {
            filter.matches(|field, _| match field {
                "display_name" => Value::Text(Some(&tenant.display_name)),
                _ => Value::Name(name_of(tenant.state)),
            })
        };
        if !caller.is_admin() {
            let own = self.directory.tenant(&caller.tenant).await?.filter(|tenant| matches(tenant));
            return Ok(Page { items: own.into_iter().collect(), next: String::new() });
        }
        let shown = |tenant: &Tenant| tenant.state != State::Deleted && matches(tenant);
        self.directory.list_records(&tenant_index(), page, shown).await
    }
}

// === impl Directory ===

impl Directory {
    /// Writes the keys, then the tenant: a tenant that can be seen has keys.
    pub(super) async fn insert_tenant(
        &self,
        tenant: Tenant,
        request: Option<crate::store::Request>,
    ) -> Result<Inserted> {
        let now = self.now();
        let taken = || {
            Error::new(Reason::TenantIdTaken, "the tenant id is taken").with_resource("Tenant", tenant.id.to_string())
        };
        let key = self.generate_key(&tenant.id, tenant.settings.signing_algorithm()).await?;
        let keys = KeySetRecord {
            tenant: tenant.id.clone(),
            set: StoredKeySet::new(key, tenant.settings.key_announcement()),
            version: 1,
        };
        let mut change = Change::new(tenant.id.clone(), now);
        change.puts.push(put_new(Kind::KeySet, tenant.id.to_string(), keys.to_bytes()));
        // A key set that is there already belongs to a start or create that died here; its tenant may be written now.
        let _ = self.core.store.write(&change).await?;

        let place = Tenant::place(&tenant.id, &tenant.id);
        let mut change = Change::new(place.tenant, now);
        change.puts.push(put_new(Kind::Tenant, place.id.clone(), tenant.to_bytes()));
        change.index.push((tenant_index(), place.id));
        change.request = request;
        let (written, position) = self.commit(change, &[Entry::changed(tenant.ident())]).await?;
        match written {
            Written::Done => Ok(Inserted::New(Arc::new(tenant), position)),
            Written::Repeated { body, result } => Ok(Inserted::Repeated(body, result)),
            Written::Conflict(..) => Err(taken()),
            other @ (Written::Taken(_) | Written::NotEmpty(_)) => Err(refused(other)),
        }
    }

    async fn edit_tenant(
        &self,
        id: &TenantId,
        etag: Option<&str>,
        edit: impl Fn(&mut Tenant) -> Result<Entry>,
    ) -> Result<(Arc<Tenant>, Position)> {
        let place = Tenant::place(id, id);
        self.edit(&place, etag, |mut tenant: Tenant| {
            if tenant.state == State::Deleted {
                return Err(Error::not_found("Tenant", id.to_string()));
            }
            let entry = edit(&mut tenant)?;
            tenant.updated = self.now();
            Ok(Edit { record: tenant, change: Change::new(place.tenant.clone(), self.now()), entries: vec![entry] })
        })
        .await
    }
}

pub(super) enum Inserted {
    New(Arc<Tenant>, Position),
    Repeated([u8; 16], String),
}

pub(super) fn new_tenant(id: TenantId, now: Time) -> Tenant {
    Tenant {
        id,
        display_name: String::new(),
        state: State::Enabled,
        service_urls: BTreeMap::new(),
        settings: Settings::default(),
        created: now,
        updated: now,
        version: 1,
    }
}

fn apply(tenant: &mut Tenant, patch: TenantPatch) -> Result<()> {
    if let Some(name) = patch.display_name {
        tenant.display_name = name;
    }
    if let Some(urls) = patch.service_urls {
        tenant.service_urls = urls;
    }
    super::settings::apply(&mut tenant.settings, patch.settings)
}

pub(super) fn put_new(kind: Kind, id: String, body: bytes::Bytes) -> Put {
    Put::new(kind, id, Some(0), body)
}

pub(super) fn tenant_index() -> Index {
    Index { tenant: TenantId::system(), kind: Kind::Tenant, parent: None }
}

pub(super) fn client_index(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Client, parent: None }
}
