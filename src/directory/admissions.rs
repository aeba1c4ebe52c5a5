//! Admissions: clients of other tenants that may work in this one.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{ClientId, Ident, Position, Scopes, TenantId, entry::Entry};

use super::{
    caller::require_unconfined,
    commit::{Edit, refused},
    load::key,
    page::{Page, PageRequest},
    permit::Act,
    record::{Admission, State, Stored as _},
};
use crate::{
    error::{Error, Result},
    store::{Change, Index, Kind, Put, Written},
};

// === impl Act ===

impl Act {
    /// Admits a client, or changes what an admitted one may do.
    pub async fn admit_client(
        &self,
        client: &str,
        ceiling: (Scopes, Vec<String>),
        account: Option<&str>,
    ) -> Result<(Arc<Admission>, Position)> {
        let tenant = self.tenant();
        let client: ClientId =
            client.parse().map_err(|_| Error::field("admission.client_id", "must be a client id"))?;
        let (scopes, audiences) = ceiling;
        let limits = self.limits().await?;
        let confinement = self.confinement_for(account).await?;
        let now = self.directory.now();
        let admission = Admission {
            tenant: tenant.clone(),
            client: client.clone(),
            scopes,
            audiences,
            confinement,
            state: State::Enabled,
            created: now,
            updated: now,
            version: 1,
        };
        limits.check_admission(&admission)?;
        let id = client.to_string();
        let mut change = Change::new(tenant.clone(), now);
        change.index.push((all(tenant), id.clone()));
        change.puts.push(Put::new(Kind::Admission, id.clone(), Some(0), admission.to_bytes()));
        let (written, position) = self.directory.commit(change, &[Entry::changed(admission.ident())]).await?;
        match written {
            Written::Done => return Ok((Arc::new(admission), position)),
            Written::Conflict(..) => {}
            other @ (Written::Taken(_) | Written::NotEmpty(_) | Written::Repeated { .. }) => {
                return Err(refused(other));
            }
        }
        self.directory
            .edit(&key::<Admission>(tenant, &client), None, |old: Admission| {
                if old.state == State::Enabled {
                    limits.check_admission(&old)?;
                }
                let created = if old.state == State::Enabled { old.created } else { now };
                let mut change = Change::new(tenant.clone(), now);
                change.index.push((all(tenant), id.clone()));
                let record = Admission { created, version: old.version, ..admission.clone() };
                Ok(Edit { entries: vec![Entry::changed(record.ident())], record, change })
            })
            .await
    }

    /// Ends an admission. Its tokens die even if there was none.
    pub async fn expel_client(&self, client: &str) -> Result<Position> {
        let (caller, tenant) = (self.caller(), self.tenant());
        require_unconfined(caller)?;
        let client: ClientId = client.parse().map_err(|_| Error::field("client_id", "must be a client id"))?;
        let limits = self.limits().await?;
        let expelled = self
            .directory
            .edit(&key::<Admission>(tenant, &client), None, |mut admission: Admission| {
                if admission.state == State::Enabled {
                    limits.check_admission(&admission)?;
                }
                admission.state = State::Deleted;
                admission.updated = self.directory.now();
                let mut change = Change::new(tenant.clone(), self.directory.now());
                change.unindex.push((all(tenant), client.to_string()));
                Ok(Edit { entries: vec![Entry::revoke(admission.ident())], record: admission, change })
            })
            .await;
        match expelled {
            Ok((_, position)) => Ok(position),
            Err(error) if error.reason() == Reason::NotFound => {
                self.directory.core.log.append(&[Entry::revoke(Ident::Admission(tenant.clone(), client))]).await
            }
            Err(error) => Err(error),
        }
    }

    /// Lists the admissions of a tenant, by client id.
    pub async fn list_admissions(&self, page: &PageRequest) -> Result<Page<Arc<Admission>>> {
        require_unconfined(self.caller())?;
        self.directory
            .list_records(&all(self.tenant()), page, |admission: &Admission| admission.state == State::Enabled)
            .await
    }
}

fn all(tenant: &TenantId) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Admission, parent: None }
}
