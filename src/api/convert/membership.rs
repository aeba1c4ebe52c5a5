//! Memberships on the wire.

use super::{required, timestamp};
use crate::{
    api::wire,
    directory::{
        memberships::ListMemberships,
        new_memberships::{Invitee, NewMembership},
        record::{Membership, MembershipState, etag},
    },
    error::{Error, Result},
};

/// The membership that a request describes. An e-mail address may stand in the member's place.
pub fn create(message: wire::CreateMembershipRequest) -> Result<NewMembership> {
    let confirmed = !message.require_confirmation.unwrap_or(true);
    let wire::Membership { account_id, member_id, role_ids, .. } = message.membership.unwrap_or_default();
    let member = match (member_id.is_empty(), message.email.is_empty()) {
        (true, false) => Invitee::Email(message.email),
        (false, false) => return Err(Error::field("email", "must not be set with membership.member_id")),
        (_, true) => Invitee::Member(required("membership.member_id", member_id)?),
    };
    Ok(NewMembership { account: account_id, member, roles: role_ids, confirmed })
}

/// The membership with its new roles, and the etag that it changes from.
pub fn update(message: wire::UpdateMembershipRequest) -> Result<(NewMembership, String)> {
    let wire::Membership { account_id, member_id, role_ids, etag, .. } = message.membership.unwrap_or_default();
    let member = Invitee::Member(required("membership.member_id", member_id)?);
    Ok((NewMembership { account: account_id, member, roles: role_ids, confirmed: false }, etag))
}

/// Whose memberships.
pub fn of(of: Option<wire::list_memberships_request::Of>) -> Result<ListMemberships> {
    use wire::list_memberships_request::Of;
    match of {
        Some(Of::AccountId(account)) => Ok(ListMemberships::Account(account)),
        Some(Of::MemberId(member)) => Ok(ListMemberships::Member(member)),
        None => Err(Error::field("of", "must be set")),
    }
}

pub fn to_wire(membership: &Membership) -> wire::Membership {
    let state = match membership.state {
        MembershipState::Invited => wire::MembershipState::Invited,
        MembershipState::Active => wire::MembershipState::Active,
        MembershipState::Disabled => wire::MembershipState::Disabled,
        MembershipState::Rejected => wire::MembershipState::Rejected,
        MembershipState::Deleted => wire::MembershipState::Unspecified,
    };
    wire::Membership {
        account_id: membership.account.to_string(),
        member_id: membership.member.to_string(),
        tenant_id: membership.tenant.to_string(),
        role_ids: membership.roles.iter().map(ToString::to_string).collect(),
        state: state.into(),
        create_time: Some(timestamp(membership.created)),
        update_time: Some(timestamp(membership.updated)),
        etag: etag(membership.version),
    }
}
