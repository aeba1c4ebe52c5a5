//! Reach: whether the bearer of a token gets to an account now, and what its member may do there.

use std::sync::Arc;

use jeton_core::{AccessToken, Subject, TenantId};

use super::{
    Issuer,
    verified::{KnownReach, Reach, Verified},
};
use crate::{
    directory::{Directory, authority::Authority, record::Account},
    error::Result,
    revocation::cache::MAX_AGE,
};

/// An account that a caller asks about, in any of the tenants that tokens belong to.
pub(super) struct AccountLookup<'a> {
    /// Its id or foreign id.
    reference: &'a str,
    /// What it names in the tenants that were looked at. A call is about very few.
    found: Vec<(TenantId, Option<Arc<Account>>)>,
}

// === impl AccountLookup ===

impl<'a> AccountLookup<'a> {
    pub(super) const fn new(reference: &'a str) -> Self {
        Self { reference, found: Vec::new() }
    }

    async fn in_tenant(&mut self, directory: &Directory, tenant: &TenantId) -> Result<Option<Arc<Account>>> {
        if let Some((_, found)) = self.found.iter().find(|(known, _)| known == tenant) {
            return Ok(found.clone());
        }
        let found = directory.find_account(tenant, self.reference).await?;
        self.found.push((tenant.clone(), found.clone()));
        Ok(found)
    }
}

// === impl Issuer ===

impl Issuer {
    /// What an active token gives in the account that is asked about. One that the tenant does not have is not reached.
    pub(super) async fn reach_in(&self, verified: &Verified, asked: &mut AccountLookup<'_>) -> Result<Arc<Reach>> {
        // Before anything is read: what is applied meanwhile makes the answer one of the past.
        let version = self.core.log.version();
        let now = self.now();
        let Some(account) = asked.in_tenant(&self.directory, &verified.token.tenant).await? else {
            return Ok(Arc::new(Reach { reached: false, authority: Authority::none() }));
        };
        if let Some(known) = verified.reach.load().as_ref()
            && known.version == version
            && now < known.until
            && known.account == account.id
        {
            return Ok(Arc::clone(&known.reach));
        }
        let reach = Arc::new(Box::pin(self.find_reach(&verified.token, &account)).await?);
        let (until, account) = (now.plus(MAX_AGE), account.id.clone());
        verified.reach.store(Some(Arc::new(KnownReach { version, until, account, reach: Arc::clone(&reach) })));
        Ok(reach)
    }

    async fn find_reach(&self, token: &AccessToken, account: &Account) -> Result<Reach> {
        let directory = &self.directory;
        let tenant = &token.tenant;
        let within = match &token.subject {
            Subject::Client(None) | Subject::OtherClient(_, None) => true,
            Subject::Client(Some(own)) | Subject::OtherClient(_, Some(own)) | Subject::Account(own) => {
                account.is_within(&own.account)
            }
            Subject::Member(own, _) => account.id == own.account,
            Subject::Group(group, _) => match directory.group(tenant, group).await? {
                Some(group) => directory.is_entity(&group, &account.id).await?,
                None => false,
            },
        };
        let alive = within && directory.is_alive(tenant, &account.lineage()).await?;
        let authority =
            if alive { directory.authority_of(tenant, &token.subject, Some(&account.id)).await? } else { None };
        Ok(Reach { reached: authority.is_some(), authority: authority.unwrap_or_else(Authority::none) })
    }
}
