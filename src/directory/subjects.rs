//! Subjects of OpenID providers: which member one is, and how one that is new becomes a member.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{TenantId, entry::Entry};

use super::{
    Directory,
    caller::Caller,
    enrolment::Newcomer,
    identities::put_identity,
    invitations::is_known_by,
    load::key,
    record::{Identity, IdentityProfile, Member, Stored as _, Tenant},
    settings::DuplicateEmails,
};
use crate::error::{Error, Result};

/// How a subject is the member that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was before.
    Known,
    /// The member was invited by the e-mail address that the provider has verified.
    Invited,
    /// The address is known to be the member's.
    Linked,
    /// The member is new.
    New,
}

/// How often a subject is looked for again when somebody else was faster.
const MAX_ROUNDS: usize = 3;

// === impl Directory ===

impl Directory {
    /// The member that a subject of a profile's provider is, in whatever state; one that is new becomes a member, if the
    /// tenant has a way for it. `None`: it has none.
    ///
    /// # Errors
    /// EMAIL_TAKEN if the tenant allows no other member of the address; CONCURRENT_UPDATE if too much changed meanwhile.
    pub async fn admit_subject(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        profile: &IdentityProfile,
        new: &Newcomer,
    ) -> Result<Option<(Arc<Member>, Arrival)>> {
        for round in 1.. {
            if let Some(known) = self.member_of(&tenant.id, &new.identity).await? {
                return Ok(Some((known, Arrival::Known)));
            }
            match self.admit_new(caller, tenant, profile, new).await {
                // Perhaps by the same subject at the same time, which then is a member now; or somebody else joined by the
                // same invitation, which then is gone.
                Err(error) if is_lost_race(&error) && round < MAX_ROUNDS => {}
                done => return done,
            }
        }
        Err(Error::internal("count rounds"))
    }

    /// The member with an identity. Read past the caches: they may not know who has just become a member.
    async fn member_of(&self, tenant: &TenantId, identity: &Identity) -> Result<Option<Arc<Member>>> {
        let Some(id) = self.holder_id(tenant, &identity.unique()).await? else { return Ok(None) };
        let member: Option<Member> = self.fresh(&key::<Member>(tenant, &id)).await?;
        Ok(member.filter(|member| member.identity(&identity.profile) == Some(identity)).map(Arc::new))
    }

    /// Finds a member for a subject that nobody is.
    async fn admit_new(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        profile: &IdentityProfile,
        new: &Newcomer,
    ) -> Result<Option<(Arc<Member>, Arrival)>> {
        // Anybody can tell a provider any address: only one that it has verified makes somebody else of a stranger.
        if new.email_verified {
            if let Some(invited) = self.invited_member(&tenant.id, &new.email).await? {
                let joined = self.join(caller, &invited, profile, new, None).await?;
                let (member, _) = joined.map_err(|_| Error::internal("handle a repeat that was not asked for"))?;
                return Ok(Some((member, Arrival::Invited)));
            }
            if tenant.settings.duplicate_email_policy() == DuplicateEmails::LinkVerified
                && let Some(known) = self.member_known_by(&tenant.id, &new.email).await?
                && is_linkable(&known, profile, new)
            {
                return Ok(Some((self.link_known(&known, profile, new).await?, Arrival::Linked)));
            }
        }
        if !tenant.settings.self_signup() {
            return Ok(None);
        }
        let (member, _) = self.enroll(caller, tenant, profile, new.clone(), None).await?;
        Ok(Some((member, Arrival::New)))
    }

    /// Makes a subject one more way in of the member of its address.
    async fn link_known(&self, known: &Member, profile: &IdentityProfile, new: &Newcomer) -> Result<Arc<Member>> {
        let linked = self.edit_identities(known, profile, |member, _| {
            if !is_linkable(member, profile, new) {
                return Err(Error::new(Reason::ConcurrentUpdate, "the member of the e-mail address changed meanwhile"));
            }
            put_identity(member, new.identity.clone());
            Ok(Entry::changed(member.ident()))
        });
        let (member, _) = linked.await?;
        // As after joining.
        self.core.log.head().await?;
        Ok(member)
    }
}

/// Whether a subject may become one more way in of the member. Another subject in the same profile is another person: an
/// address may get another owner, a subject never does (OpenID Connect Core 1.0 §5.7).
fn is_linkable(member: &Member, profile: &IdentityProfile, new: &Newcomer) -> bool {
    is_known_by(member, &new.email) && member.identity(&profile.id).is_none()
}

fn is_lost_race(error: &Error) -> bool {
    // The address of a subject that was faster is taken by that subject.
    matches!(error.reason(), Reason::IdentityTaken | Reason::EmailTaken | Reason::ConcurrentUpdate)
}
