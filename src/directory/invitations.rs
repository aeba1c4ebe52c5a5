//! Invitations by e-mail address: a member stands for an address until somebody proves at sign-up to have it.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{MemberId, Position, TenantId, entry::Entry};

use super::{
    Directory,
    caller::Caller,
    commit::{Edit, MAX_RACES, Remembered, Repeat},
    enrolment::Newcomer,
    identities::put_identity,
    load::key,
    member_patch::{self, MemberPatch, new_member, with_email},
    names::rename,
    page::MAX_SIZE,
    permit::Act,
    profiles::identities_of,
    record::{IdentityProfile, Member, State, Stored as _, invited, normalized},
};
use crate::{
    error::{Error, Result},
    store::{Change, Kind},
};

// === impl Act ===

impl Act {
    /// The member to invite by an e-mail address: the only one who is known to have it, else the one who stands for it.
    pub(super) async fn member_to_invite(&self, email: &str) -> Result<MemberId> {
        let (caller, tenant) = (self.caller(), self.tenant());
        if let Some(known) = self.directory.member_known_by(tenant, email).await? {
            return Ok(known.id.clone());
        }
        for _ in 0..MAX_RACES {
            if let Some(invited) = self.directory.invited_member(tenant, email).await? {
                return Ok(invited.id.clone());
            }
            let mut change = Change::new(tenant.clone(), self.directory.now());
            let patch = MemberPatch {
                display_name: Some(email.to_owned()),
                email: Some(email.to_owned()),
                ..MemberPatch::default()
            };
            let mut member = new_member(patch, &mut change)?;
            let id = member.id.to_string();
            member.invited = Some(true);
            rename(&mut change, &id, Vec::new(), member_patch::names(&member));
            match self.directory.create(caller, member, id, change, None).await {
                Ok((member, _)) => return Ok(member.id.clone()),
                // Somebody else invited the same address at the same time.
                Err(error) if error.reason() == Reason::IdentityTaken => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "the address is invited and joins too often at a time"))
    }
}

// === impl Directory ===

impl Directory {
    /// The only enabled member whose own an e-mail address is known to be.
    pub async fn member_known_by(&self, tenant: &TenantId, email: &str) -> Result<Option<Arc<Member>>> {
        let ids = self.core.store.list(&with_email(tenant, email), None, MAX_SIZE).await?;
        let keys: Vec<_> = ids.iter().map(|id| key::<Member>(tenant, id)).collect();
        let found = self.read_records::<Member>(&keys).await?;
        let mut known = found.into_iter().flatten().filter(|member| is_known_by(member, email));
        Ok(match (known.next(), known.next()) {
            (Some(only), None) => Some(Arc::new(only)),
            _ => None,
        })
    }

    /// The member who stands for an e-mail address.
    pub(super) async fn invited_member(&self, tenant: &TenantId, email: &str) -> Result<Option<Arc<Member>>> {
        let Some(id) = self.holder_id(tenant, &invited(email)).await? else { return Ok(None) };
        self.member(tenant, &id).await
    }

    /// Makes somebody the member who stands for their address.
    pub(super) async fn join(
        &self,
        caller: &Caller,
        invited: &Member,
        profile: &IdentityProfile,
        new: &Newcomer,
        repeat: Option<Repeat>,
    ) -> Result<Result<(Arc<Member>, Position), Remembered>> {
        let tenant = &invited.tenant;
        let key = key::<Member>(tenant, &invited.id);
        let joined = self.edit_repeatable(&key, None, |mut member: Member| {
            if member.state != State::Enabled {
                return Err(Error::new(Reason::Disabled, "the member who was invited is disabled"));
            }
            // Another address may stand here by now, and nobody has proved that.
            let is_same = normalized(&member.profile.email) == normalized(&new.email);
            if member.invited != Some(true) || !is_same {
                return Err(Error::new(
                    Reason::ConcurrentUpdate,
                    "somebody else joins by the same invitation, or it changed",
                ));
            }
            let mut change = Change::new(tenant.clone(), self.now());
            let id = member.id.to_string();
            let before = member_patch::names(&member);
            put_identity(&mut member, new.identity.clone());
            rename(&mut change, &id, before, member_patch::names(&member));
            let person = &mut member.profile;
            // Until somebody gives the member a name, it is called by the address.
            if person.display_name == person.email {
                person.display_name.clone_from(&new.display_name);
            }
            for (own, new) in [(&mut person.first_name, &new.first_name), (&mut person.last_name, &new.last_name)] {
                if let Some(new) = new {
                    own.clone_from(new);
                }
            }
            member.email_verified = Some(true);
            member.updated = change.now;
            change.index.push((identities_of(tenant, &profile.id), id.clone()));
            change.require.push((Kind::IdentityProfile, profile.id.to_string(), profile.version));
            change.request = repeat.map(|repeat| repeat.request(tenant, caller, id, change.now));
            let entries = vec![Entry::changed(member.ident())];
            Ok(Edit { record: member, change, entries })
        });
        let joined = joined.await?;
        // The call goes on as this member: the caches must know who that is by now.
        self.core.log.head().await?;
        Ok(joined)
    }
}

/// Whether an e-mail address is known to be the member's, who is enabled.
pub(super) fn is_known_by(member: &Member, email: &str) -> bool {
    member.state == State::Enabled
        && member.email_verified == Some(true)
        && normalized(&member.profile.email) == normalized(email)
}
