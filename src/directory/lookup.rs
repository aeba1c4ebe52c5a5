//! Finding records by their ids. What belongs to another tenant looks as if it did not exist.

use std::sync::Arc;

use jeton_core::{AccountId, ClientId, GroupId, MemberId, RoleId, TenantId};

use super::{
    Directory,
    record::{
        Account, Admission, Client, Entity, EntityGroup, GroupMember, Member, Membership, Role, State, Stored as _,
        Tenant,
    },
    shelf::Shelved as _,
    standing::Standing,
};
use crate::error::{Error, Result};

// === impl Directory ===

impl Directory {
    /// The tenant, which must exist.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub async fn existing_tenant(&self, id: &TenantId) -> Result<Arc<Tenant>> {
        self.tenant(id).await?.ok_or_else(|| Error::not_found(Tenant::NAME, id.to_string()))
    }

    /// The tenant, unless it is deleted.
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<Arc<Tenant>>> {
        Ok(self.find::<Tenant>(id, id).await?.filter(|tenant| tenant.state != State::Deleted))
    }

    /// The client, if `tenant` is its home. Deleted ones are `None`.
    pub async fn client(&self, tenant: &TenantId, id: &ClientId) -> Result<Option<Arc<Client>>> {
        Ok(self.find::<Client>(tenant, id).await?.filter(|client| client.state != State::Deleted))
    }

    /// The client wherever it is at home, if memory knows it. Deleted ones are `None`.
    pub(super) fn cached_client(&self, id: &ClientId) -> Option<Arc<Client>> {
        Client::shelf(&self.shelves).get(id).flatten().filter(|client| client.state != State::Deleted)
    }

    /// The account, deleted ones included.
    pub async fn account(&self, tenant: &TenantId, id: &AccountId) -> Result<Option<Arc<Account>>> {
        self.find(tenant, id).await
    }

    /// The entity group, deleted ones included.
    pub async fn group(&self, tenant: &TenantId, id: &GroupId) -> Result<Option<Arc<EntityGroup>>> {
        self.find(tenant, id).await
    }

    /// Whether an account has a place in a group now. Whether the account itself lives stands in its own record.
    pub async fn is_entity(&self, group: &EntityGroup, account: &AccountId) -> Result<bool> {
        // The places of a deleted group are left in the store.
        if group.state == State::Deleted {
            return Ok(false);
        }
        let entity = self.find::<Entity>(&group.tenant, &(group.id.clone(), account.clone())).await?;
        Ok(entity.is_some_and(|entity| entity.state == State::Enabled))
    }

    /// A member's place in a group, if it has one now. Whether the member itself may act stands in its own record.
    pub async fn group_member(&self, group: &EntityGroup, member: &MemberId) -> Result<Option<Arc<GroupMember>>> {
        // The places of a deleted group end after it.
        if group.state == State::Deleted {
            return Ok(None);
        }
        let place = self.find::<GroupMember>(&group.tenant, &(group.id.clone(), member.clone())).await?;
        Ok(place.filter(|place| place.state == State::Enabled))
    }

    /// The member, deleted ones included.
    pub async fn member(&self, tenant: &TenantId, id: &MemberId) -> Result<Option<Arc<Member>>> {
        self.find(tenant, id).await
    }

    /// A member's place in an account, deleted ones included.
    pub async fn membership(
        &self,
        tenant: &TenantId,
        account: &AccountId,
        member: &MemberId,
    ) -> Result<Option<Arc<Membership>>> {
        self.find(tenant, &(account.clone(), member.clone())).await
    }

    /// The role, deleted ones included.
    pub async fn role(&self, tenant: &TenantId, id: &RoleId) -> Result<Option<Arc<Role>>> {
        self.find(tenant, id).await
    }

    /// The admission of a client, unless it was expelled.
    pub async fn admission(&self, tenant: &TenantId, client: &ClientId) -> Result<Option<Arc<Admission>>> {
        let admission = self.find::<Admission>(tenant, &(tenant.clone(), client.clone())).await?;
        Ok(admission.filter(|admission| admission.state == State::Enabled))
    }

    /// What a client of tenant `home` may do in `tenant`; `None`: it is neither at home nor admitted there.
    pub async fn standing(
        &self,
        tenant: &TenantId,
        home: &TenantId,
        client: &ClientId,
    ) -> Result<Option<Arc<Standing>>> {
        let abroad = home != tenant;
        let mut missing = self.missing();
        missing.want::<Tenant>(tenant, tenant);
        missing.want::<Client>(home, client);
        if abroad {
            missing.want::<Admission>(tenant, &(tenant.clone(), client.clone()));
        }
        missing.load().await?;
        let (Some(tenant_record), Some(client_record)) = (self.tenant(tenant).await?, self.client(home, client).await?)
        else {
            return Ok(None);
        };
        let admission = if abroad { self.admission(tenant, client).await? } else { None };
        if abroad && admission.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Standing { tenant: tenant_record, client: client_record, admission })))
    }
}
