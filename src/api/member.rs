//! MemberService.

use tonic::{Request, async_trait};

use super::{
    Services,
    call::{Reply, reply},
    convert::{self, member, membership},
    wire::{self, member_service_server::MemberService},
};
use crate::{
    directory::{memberships, memberships::Event, record::State},
    notation::filter::Filter,
};

#[async_trait]
impl MemberService for Services {
    async fn create_member(&self, request: Request<wire::CreateMemberRequest>) -> Reply<wire::CreateMemberResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let patch = member::create(message);
        let (member, position) = call.act(move |act| async move { act.create_member(patch, repeat).await }).await?;
        reply(wire::CreateMemberResponse {
            member: Some(member::to_wire(&member)),
            position: convert::position(position),
        })
    }

    async fn get_member(&self, request: Request<wire::GetMemberRequest>) -> Reply<wire::GetMemberResponse> {
        let (call, message) = self.enter(request)?;
        let member = call.act(move |act| async move { act.readable_member(&message.member_id).await }).await?;
        reply(wire::GetMemberResponse { member: Some(member::to_wire(&member)) })
    }

    async fn update_member(&self, request: Request<wire::UpdateMemberRequest>) -> Reply<wire::UpdateMemberResponse> {
        let (call, message) = self.enter(request)?;
        let (reference, etag, patch) = member::update(message)?;
        let (member, position) =
            call.act(move |act| async move { act.update_member(&reference, &etag, patch).await }).await?;
        reply(wire::UpdateMemberResponse {
            member: Some(member::to_wire(&member)),
            position: convert::position(position),
        })
    }

    async fn delete_member(&self, request: Request<wire::DeleteMemberRequest>) -> Reply<wire::DeleteMemberResponse> {
        let (call, message) = self.enter(request)?;
        let (member, position) =
            call.act(move |act| async move { act.delete_member(&message.member_id, &message.etag).await }).await?;
        reply(wire::DeleteMemberResponse {
            member: Some(member::to_wire(&member)),
            position: convert::position(position),
        })
    }

    async fn list_members(&self, request: Request<wire::ListMembersRequest>) -> Reply<wire::ListMembersResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let query = member::query(&message)?;
        let page = call.list(paging, move |act, page| async move { act.list_members(&query, &page).await }).await?;
        reply(wire::ListMembersResponse {
            members: page.items.iter().map(|member| member::to_wire(member)).collect(),
            next_page_token: page.next,
        })
    }

    async fn enable_member(&self, request: Request<wire::EnableMemberRequest>) -> Reply<wire::EnableMemberResponse> {
        let (call, message) = self.enter(request)?;
        let (member, position) =
            call.act(move |act| async move { act.set_member_state(&message.member_id, State::Enabled).await }).await?;
        reply(wire::EnableMemberResponse {
            member: Some(member::to_wire(&member)),
            position: convert::position(position),
        })
    }

    async fn disable_member(&self, request: Request<wire::DisableMemberRequest>) -> Reply<wire::DisableMemberResponse> {
        let (call, message) = self.enter(request)?;
        let (member, position) =
            call.act(move |act| async move { act.set_member_state(&message.member_id, State::Disabled).await }).await?;
        reply(wire::DisableMemberResponse {
            member: Some(member::to_wire(&member)),
            position: convert::position(position),
        })
    }

    async fn create_membership(
        &self,
        request: Request<wire::CreateMembershipRequest>,
    ) -> Reply<wire::CreateMembershipResponse> {
        let (call, message, repeat) = self.enter_repeatable(request)?;
        let new = membership::create(message)?;
        let (membership, position) =
            call.act(move |act| async move { act.create_membership(&new, repeat).await }).await?;
        reply(wire::CreateMembershipResponse {
            membership: Some(membership::to_wire(&membership)),
            position: convert::position(position),
        })
    }

    async fn get_membership(&self, request: Request<wire::GetMembershipRequest>) -> Reply<wire::GetMembershipResponse> {
        let (call, message) = self.enter(request)?;
        let membership = call
            .act(move |act| async move { act.reachable_membership(&message.account_id, &message.member_id).await })
            .await?;
        reply(wire::GetMembershipResponse { membership: Some(membership::to_wire(&membership)) })
    }

    async fn update_membership(
        &self,
        request: Request<wire::UpdateMembershipRequest>,
    ) -> Reply<wire::UpdateMembershipResponse> {
        let (call, message) = self.enter(request)?;
        let (new, etag) = membership::update(message)?;
        let (membership, position) =
            call.act(move |act| async move { act.set_membership_roles(&new, &etag).await }).await?;
        reply(wire::UpdateMembershipResponse {
            membership: Some(membership::to_wire(&membership)),
            position: convert::position(position),
        })
    }

    async fn delete_membership(
        &self,
        request: Request<wire::DeleteMembershipRequest>,
    ) -> Reply<wire::DeleteMembershipResponse> {
        let (call, message) = self.enter(request)?;
        let wire::DeleteMembershipRequest { account_id, member_id, etag, .. } = message;
        let position =
            call.act(move |act| async move { act.delete_membership(&account_id, &member_id, &etag).await }).await?;
        reply(wire::DeleteMembershipResponse { position: convert::position(position) })
    }

    async fn list_memberships(
        &self,
        request: Request<wire::ListMembershipsRequest>,
    ) -> Reply<wire::ListMembershipsResponse> {
        let (call, message, paging) = self.enter_list(request)?;
        let (of, filter) = (membership::of(message.of)?, Filter::parse(&message.filter, memberships::FIELDS)?);
        let page =
            call.list(paging, move |act, page| async move { act.list_memberships(&of, &filter, &page).await }).await?;
        reply(wire::ListMembershipsResponse {
            memberships: page.items.iter().map(|membership| membership::to_wire(membership)).collect(),
            next_page_token: page.next,
        })
    }

    async fn accept_membership(
        &self,
        request: Request<wire::AcceptMembershipRequest>,
    ) -> Reply<wire::AcceptMembershipResponse> {
        let (call, message) = self.enter(request)?;
        let (membership, position) =
            call.act(move |act| async move {
                act.move_membership(&message.account_id, &message.member_id, Event::Accept).await
            })
            .await?;
        reply(wire::AcceptMembershipResponse {
            membership: Some(membership::to_wire(&membership)),
            position: convert::position(position),
        })
    }

    async fn reject_membership(
        &self,
        request: Request<wire::RejectMembershipRequest>,
    ) -> Reply<wire::RejectMembershipResponse> {
        let (call, message) = self.enter(request)?;
        let (membership, position) =
            call.act(move |act| async move {
                act.move_membership(&message.account_id, &message.member_id, Event::Reject).await
            })
            .await?;
        reply(wire::RejectMembershipResponse {
            membership: Some(membership::to_wire(&membership)),
            position: convert::position(position),
        })
    }

    async fn enable_membership(
        &self,
        request: Request<wire::EnableMembershipRequest>,
    ) -> Reply<wire::EnableMembershipResponse> {
        let (call, message) = self.enter(request)?;
        let (membership, position) =
            call.act(move |act| async move {
                act.move_membership(&message.account_id, &message.member_id, Event::Enable).await
            })
            .await?;
        reply(wire::EnableMembershipResponse {
            membership: Some(membership::to_wire(&membership)),
            position: convert::position(position),
        })
    }

    async fn disable_membership(
        &self,
        request: Request<wire::DisableMembershipRequest>,
    ) -> Reply<wire::DisableMembershipResponse> {
        let (call, message) = self.enter(request)?;
        let (membership, position) = call
            .act(move |act| async move {
                act.move_membership(&message.account_id, &message.member_id, Event::Disable).await
            })
            .await?;
        reply(wire::DisableMembershipResponse {
            membership: Some(membership::to_wire(&membership)),
            position: convert::position(position),
        })
    }

    async fn set_password(&self, request: Request<wire::SetPasswordRequest>) -> Reply<wire::SetPasswordResponse> {
        let (call, message) = self.enter(request)?;
        let password = member::password(message);
        let (member, position) =
            call.with_issuer(move |issuer, act| async move { issuer.set_password(&act, &password).await }).await?;
        reply(wire::SetPasswordResponse {
            member: Some(member::to_wire(&member)),
            position: convert::position(position),
        })
    }

    async fn link_identity(&self, request: Request<wire::LinkIdentityRequest>) -> Reply<wire::LinkIdentityResponse> {
        let (call, message) = self.enter(request)?;
        let (member, profile, identity) = member::link(message)?;
        let (member, position) =
            call.act(move |act| async move { act.link_identity(&member, &profile, &identity).await }).await?;
        reply(wire::LinkIdentityResponse {
            member: Some(member::to_wire(&member)),
            position: convert::position(position),
        })
    }

    async fn unlink_identity(
        &self,
        request: Request<wire::UnlinkIdentityRequest>,
    ) -> Reply<wire::UnlinkIdentityResponse> {
        let (call, message) = self.enter(request)?;
        let (member, position) = call
            .act(move |act| async move { act.unlink_identity(&message.member_id, &message.identity_profile_id).await })
            .await?;
        reply(wire::UnlinkIdentityResponse {
            member: Some(member::to_wire(&member)),
            position: convert::position(position),
        })
    }
}
