//! MemberService.

use tonic::{Request, Response, Status, async_trait};

use super::{
    Services,
    call::Call,
    convert::{self, Mask, answer},
    person,
    wire::{self, member_service_server::MemberService},
};
use crate::{
    directory::{
        identities::NewIdentity,
        invitations::Invitee,
        members::{self, MemberQuery},
        memberships::{self, Event, ListMemberships, NewMembership},
        record::{State, etag},
        roster::{Membership, MembershipState},
    },
    issuer::credentials::SetPassword,
    token::{Error, Result, filter::Filter, secret::SecretText},
};

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl MemberService for Services {
    async fn create_member(&self, request: Request<wire::CreateMemberRequest>) -> Reply<wire::CreateMemberResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateMember", &message)?;
            let member = message.member.unwrap_or_default();
            let patch = person::patch(&member, &Mask::new(None, "Member", &[])?);
            let created =
                call.act(move |issuer, act| async move { issuer.directory.create_member(&act, patch, repeat).await });
            let (member, position) = created.await?;
            Ok(wire::CreateMemberResponse {
                member: Some(person::to_wire(&member)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn get_member(&self, request: Request<wire::GetMemberRequest>) -> Reply<wire::GetMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let member = call
                .act(move |issuer, act| async move { issuer.directory.readable_member(&act, &message.member_id).await })
                .await?;
            Ok(wire::GetMemberResponse { member: Some(person::to_wire(&member)) })
        })
        .await
    }

    async fn update_member(&self, request: Request<wire::UpdateMemberRequest>) -> Reply<wire::UpdateMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let member = message.member.unwrap_or_default();
            let mask = Mask::new(message.update_mask.as_ref(), "Member", person::CHANGEABLE)?;
            if member.member_id.is_empty() {
                return Err(Error::field("member.member_id", "must be set"));
            }
            let patch = person::patch(&member, &mask);
            let updated = call.act(move |issuer, act| async move {
                issuer.directory.update_member(&act, &member.member_id, &member.etag, patch).await
            });
            let (member, position) = updated.await?;
            Ok(wire::UpdateMemberResponse {
                member: Some(person::to_wire(&member)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn delete_member(&self, request: Request<wire::DeleteMemberRequest>) -> Reply<wire::DeleteMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = call.act(move |issuer, act| async move {
                issuer.directory.delete_member(&act, &message.member_id, &message.etag).await
            });
            let (member, position) = deleted.await?;
            Ok(wire::DeleteMemberResponse {
                member: Some(person::to_wire(&member)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn list_members(&self, request: Request<wire::ListMembersRequest>) -> Reply<wire::ListMembersResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = if message.show_deleted { "deleted" } else { "" };
            let wanted = MemberQuery {
                filter: Filter::parse(&message.filter, members::FIELDS)?,
                show_deleted: message.show_deleted,
            };
            let listed = call.act(move |issuer, act| async move {
                let query = ["ListMembers", &message.filter, deleted];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_members(&act, &wanted, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListMembersResponse {
                members: page.items.iter().map(|member| person::to_wire(member)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn enable_member(&self, request: Request<wire::EnableMemberRequest>) -> Reply<wire::EnableMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let enabled = call.act(move |issuer, act| async move {
                issuer.directory.set_member_state(&act, &message.member_id, State::Enabled).await
            });
            let (member, position) = enabled.await?;
            Ok(wire::EnableMemberResponse {
                member: Some(person::to_wire(&member)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn disable_member(&self, request: Request<wire::DisableMemberRequest>) -> Reply<wire::DisableMemberResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let disabled = call.act(move |issuer, act| async move {
                issuer.directory.set_member_state(&act, &message.member_id, State::Disabled).await
            });
            let (member, position) = disabled.await?;
            Ok(wire::DisableMemberResponse {
                member: Some(person::to_wire(&member)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn create_membership(
        &self,
        request: Request<wire::CreateMembershipRequest>,
    ) -> Reply<wire::CreateMembershipResponse> {
        answer(async {
            let (call, mut message) = self.enter(request)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateMembership", &message)?;
            let confirmed = !message.require_confirmation.unwrap_or(true);
            let (new, _) = new_membership(message.membership, message.email, confirmed)?;
            let created = call
                .act(move |issuer, act| async move { issuer.directory.create_membership(&act, &new, repeat).await });
            let (membership, position) = created.await?;
            let position = convert::position(position);
            Ok(wire::CreateMembershipResponse { membership: Some(membership_to_wire(&membership)), position })
        })
        .await
    }

    async fn get_membership(&self, request: Request<wire::GetMembershipRequest>) -> Reply<wire::GetMembershipResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let found = call.act(move |issuer, act| async move {
                issuer.directory.reachable_membership(&act, &message.account_id, &message.member_id).await
            });
            Ok(wire::GetMembershipResponse { membership: Some(membership_to_wire(&*found.await?)) })
        })
        .await
    }

    async fn update_membership(
        &self,
        request: Request<wire::UpdateMembershipRequest>,
    ) -> Reply<wire::UpdateMembershipResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let (new, etag) = new_membership(message.membership, String::new(), false)?;
            let updated = call
                .act(move |issuer, act| async move { issuer.directory.set_membership_roles(&act, &new, &etag).await });
            let (membership, position) = updated.await?;
            let position = convert::position(position);
            Ok(wire::UpdateMembershipResponse { membership: Some(membership_to_wire(&membership)), position })
        })
        .await
    }

    async fn delete_membership(
        &self,
        request: Request<wire::DeleteMembershipRequest>,
    ) -> Reply<wire::DeleteMembershipResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let deleted = call.act(move |issuer, act| async move {
                let wire::DeleteMembershipRequest { account_id, member_id, etag, .. } = &message;
                issuer.directory.delete_membership(&act, account_id, member_id, etag).await
            });
            Ok(wire::DeleteMembershipResponse { position: convert::position(deleted.await?) })
        })
        .await
    }

    async fn list_memberships(
        &self,
        request: Request<wire::ListMembershipsRequest>,
    ) -> Reply<wire::ListMembershipsResponse> {
        answer(async {
            use wire::list_memberships_request::Of;
            let (call, message) = self.enter(request)?;
            let (kind, of) = match message.of {
                Some(Of::AccountId(slot)) => ("account", ListMemberships::Account(slot)),
                Some(Of::MemberId(slot)) => ("member", ListMemberships::Member(slot)),
                None => return Err(Error::field("of", "must be set")),
            };
            let filter = Filter::parse(&message.filter, memberships::FIELDS)?;
            let listed = call.act(move |issuer, act| async move {
                let (ListMemberships::Account(slot) | ListMemberships::Member(slot)) = &of;
                let query = ["ListMemberships", kind, slot, &message.filter];
                let page = issuer.directory.page(&act, message.page_size, &message.page_token, &query)?;
                issuer.directory.list_memberships(&act, &of, &filter, &page).await
            });
            let page = listed.await?;
            Ok(wire::ListMembershipsResponse {
                memberships: page.items.iter().map(|membership| membership_to_wire(membership)).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn accept_membership(
        &self,
        request: Request<wire::AcceptMembershipRequest>,
    ) -> Reply<wire::AcceptMembershipResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let wire::AcceptMembershipRequest { account_id, member_id, .. } = message;
            let (membership, position) = move_membership(call, account_id, member_id, Event::Accept).await?;
            Ok(wire::AcceptMembershipResponse { membership: Some(membership), position })
        })
        .await
    }

    async fn reject_membership(
        &self,
        request: Request<wire::RejectMembershipRequest>,
    ) -> Reply<wire::RejectMembershipResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let wire::RejectMembershipRequest { account_id, member_id, .. } = message;
            let (membership, position) = move_membership(call, account_id, member_id, Event::Reject).await?;
            Ok(wire::RejectMembershipResponse { membership: Some(membership), position })
        })
        .await
    }

    async fn enable_membership(
        &self,
        request: Request<wire::EnableMembershipRequest>,
    ) -> Reply<wire::EnableMembershipResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let wire::EnableMembershipRequest { account_id, member_id, .. } = message;
            let (membership, position) = move_membership(call, account_id, member_id, Event::Enable).await?;
            Ok(wire::EnableMembershipResponse { membership: Some(membership), position })
        })
        .await
    }

    async fn set_password(&self, request: Request<wire::SetPasswordRequest>) -> Reply<wire::SetPasswordResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let request = set_password(message);
            let set = call.act(move |issuer, act| async move { issuer.set_password(&act, &request).await });
            let (member, position) = set.await?;
            Ok(wire::SetPasswordResponse {
                member: Some(person::to_wire(&member)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn link_identity(&self, request: Request<wire::LinkIdentityRequest>) -> Reply<wire::LinkIdentityResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let wire::LinkIdentityRequest { member_id, identity_profile_id, identity, .. } = message;
            let identity = new_identity(identity)?;
            let linked = call.act(move |issuer, act| async move {
                issuer.directory.link_identity(&act, &member_id, &identity_profile_id, &identity).await
            });
            let (member, position) = linked.await?;
            Ok(wire::LinkIdentityResponse {
                member: Some(person::to_wire(&member)),
                position: convert::position(position),
            })
        })
        .await
    }

    async fn unlink_identity(
        &self,
        request: Request<wire::UnlinkIdentityRequest>,
    ) -> Reply<wire::UnlinkIdentityResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let wire::UnlinkIdentityRequest { member_id, identity_profile_id, .. } = message;
            let unlinked = call.act(move |issuer, act| async move {
                issuer.directory.unlink_identity(&act, &member_id, &identity_profile_id).await
            });
            let (member, position) = unlinked.await?;
            let position = convert::position(position);
            Ok(wire::UnlinkIdentityResponse { member: Some(person::to_wire(&member)), position })
        })
        .await
    }

    async fn disable_membership(
        &self,
        request: Request<wire::DisableMembershipRequest>,
    ) -> Reply<wire::DisableMembershipResponse> {
        answer(async {
            let (call, message) = self.enter(request)?;
            let wire::DisableMembershipRequest { account_id, member_id, .. } = message;
            let (membership, position) = move_membership(call, account_id, member_id, Event::Disable).await?;
            Ok(wire::DisableMembershipResponse { membership: Some(membership), position })
        })
        .await
    }
}

async fn move_membership(
    call: Call,
    account_id: String,
    member_id: String,
    event: Event,
) -> Result<(wire::Membership, String)> {
    let moved = call.act(move |issuer, act| async move {
        issuer.directory.move_membership(&act, &account_id, &member_id, event).await
    });
    let (membership, position) = moved.await?;
    Ok((membership_to_wire(&membership), convert::position(position)))
}

fn set_password(message: wire::SetPasswordRequest) -> SetPassword {
    let secret = |text: String| SecretText::new(text);
    SetPassword {
        member: message.member_id,
        profile: message.identity_profile_id,
        username: Some(message.username).filter(|username| !username.is_empty()),
        password: secret(message.password),
        current: Some(message.current_password).filter(|current| !current.is_empty()).map(secret),
    }
}

fn new_identity(identity: Option<wire::link_identity_request::Identity>) -> Result<NewIdentity> {
    use wire::link_identity_request::Identity as Wire;
    match identity {
        Some(Wire::Username(username)) => Ok(NewIdentity::Username(username)),
        Some(Wire::Subject(subject)) => Ok(NewIdentity::Subject(subject)),
        None => Err(Error::field("identity", "must be set")),
    }
}

/// The membership that a request describes, and its etag. An e-mail address may stand in the member's place.
fn new_membership(
    membership: Option<wire::Membership>,
    email: String,
    confirmed: bool,
) -> Result<(NewMembership, String)> {
    let wire::Membership { account_id, member_id, role_ids, etag, .. } = membership.unwrap_or_default();
    let member = match (member_id.is_empty(), email.is_empty()) {
        (false, true) => Invitee::Member(member_id),
        (true, false) => Invitee::Email(email),
        (false, false) => return Err(Error::field("email", "must not be set with membership.member_id")),
        (true, true) => return Err(Error::field("membership.member_id", "must be set")),
    };
    Ok((NewMembership { account: account_id, member, roles: role_ids, confirmed }, etag))
}

fn membership_to_wire(membership: &Membership) -> wire::Membership {
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
        create_time: Some(convert::timestamp(membership.created)),
        update_time: Some(convert::timestamp(membership.updated)),
        etag: etag(membership.version),
    }
}
