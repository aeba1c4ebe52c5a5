//! How people become members by signing up.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::Position;

use super::{
    Directory, accounts,
    caller::Caller,
    commit::Repeat,
    identities::put_identity,
    member_patch::{self, MemberPatch, new_member, with_email},
    names::rename,
    new_memberships,
    profiles::identities_of,
    record::{Identity, IdentityProfile, Member, Tenant},
    settings::DuplicateEmails,
};
use crate::{
    error::{Error, Result},
    store::{Change, Kind, Refusal},
};

/// Somebody who becomes a member.
#[derive(Clone, Debug)]
pub struct Newcomer {
    pub display_name: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    /// May be empty.
    pub email: String,
    /// Whether they proved that the address is theirs.
    pub email_verified: bool,
    pub identity: Identity,
}

/// What it means that an address is known, in a tenant where each is one member's.
const EMAIL_TAKEN: Refusal = Refusal::new(Reason::EmailTaken, "a member has this e-mail address");

// === impl Directory ===

impl Directory {
    /// Makes somebody a member by their own wish: the one who stands for their address if they were invited by it; else a
    /// new one.
    pub async fn sign_up(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        profile: &IdentityProfile,
        new: Newcomer,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<Member>, Position)> {
        if new.email_verified
            && let Some(invited) = self.invited_member(&tenant.id, &new.email).await?
        {
            return match (self.join(caller, &invited, profile, &new, repeat).await?, repeat) {
                (Ok(joined), _) => Ok(joined),
                (Err(remembered), Some(repeat)) => self.made(&tenant.id, repeat, remembered).await,
                (Err(_), None) => Err(Error::internal("handle a repeat that was not asked for")),
            };
        }
        self.enroll(caller, tenant, profile, new, repeat).await
    }

    /// Makes somebody a new member, with an account of their own if the tenant wants that.
    pub(super) async fn enroll(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        profile: &IdentityProfile,
        new: Newcomer,
        repeat: Option<Repeat>,
    ) -> Result<(Arc<Member>, Position)> {
        let mut change = Change::new(tenant.id.clone(), self.now());
        if !new.email.is_empty() && tenant.settings.duplicate_email_policy() == DuplicateEmails::Disallowed {
            change.require_empty.push((with_email(&tenant.id, &new.email), EMAIL_TAKEN));
        }
        let name = new.display_name.clone();
        let patch = MemberPatch {
            display_name: Some(new.display_name),
            first_name: new.first_name,
            last_name: new.last_name,
            email: Some(new.email),
            email_verified: new.email_verified.then_some(true),
            ..MemberPatch::default()
        };
        let mut member = new_member(patch, &mut change)?;
        let id = member.id.clone();
        let before = member_patch::names(&member);
        put_identity(&mut member, new.identity);
        rename(&mut change, &id.to_string(), before, member_patch::names(&member));
        change.index.push((identities_of(&tenant.id, &profile.id), id.to_string()));
        change.require.push((Kind::IdentityProfile, profile.id.to_string(), profile.version));
        if tenant.settings.auto_create_account() {
            let account = accounts::put_new(&tenant.id, name, &mut change)?;
            new_memberships::put_first(&tenant.id, &account, &id, &mut change);
        }
        self.create(caller, member, id.to_string(), change, repeat).await
    }
}
