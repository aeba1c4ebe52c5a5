//! MemberService.

use tonic::{Request, Response, Status, async_trait};

use super::{
    Services,
    convert::{self, Mask, answer, given},
    edge::{Admitted, open, run_to_end},
    person,
    wire::{self, member_service_server::MemberService},
};
use crate::{
    directory::{
        identities::NewIdentity,
        invitations::Invitee,
        members::{self, MemberQuery},
        memberships::{self, Event, ListMemberships, NewMembership},
        page::PageRequest,
        record::{State, etag},
        roster::{Membership, MembershipState},
    },
    issuer::{
        authenticate::{FULL, Recognized},
        credentials::SetPassword,
    },
    token::{Error, Result, filter::Filter, secret::SecretText},
};

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl MemberService for Services {
    async fn create_member(&self, request: Request<wire::CreateMemberRequest>) -> Reply<wire::CreateMemberResponse> {
        answer(async {
            let (admitted, mut message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateMember", &message)?;
            let member = message.member.unwrap_or_default();
            let patch = person::patch(&member, &Mask::new(None, "Member", &[])?);
            let issuer = self.issuer();
            let created = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.create_member(&call.caller, &tenant, patch, repeat).await
            });
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
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let tenant = self.issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
            let member = self.issuer.directory.readable_member(&call.caller, &tenant, &message.member_id).await?;
            Ok(wire::GetMemberResponse { member: Some(person::to_wire(&member)) })
        })
        .await
    }

    async fn update_member(&self, request: Request<wire::UpdateMemberRequest>) -> Reply<wire::UpdateMemberResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let member = message.member.unwrap_or_default();
            let mask = Mask::new(message.update_mask.as_ref(), "Member", person::CHANGEABLE)?;
            if member.member_id.is_empty() {
                return Err(Error::field("member.member_id", "must be set"));
            }
            let patch = person::patch(&member, &mask);
            let issuer = self.issuer();
            let updated = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.update_member(&call.caller, &tenant, &member.member_id, &member.etag, patch).await
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
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let issuer = self.issuer();
            let deleted = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.delete_member(&call.caller, &tenant, &message.member_id, &message.etag).await
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
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let directory = &self.issuer.directory;
            let tenant = self.issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
            let name = tenant.to_string();
            let deleted = if message.show_deleted { "deleted" } else { "" };
            let query = ["ListMembers", &name, &message.filter, deleted].map(str::as_bytes);
            let page = PageRequest::new(message.page_size, &message.page_token, &call.caller, &query, &directory.ring)?;
            let query = MemberQuery {
                filter: Filter::parse(&message.filter, members::FIELDS)?,
                show_deleted: message.show_deleted,
            };
            let page = directory.list_members(&call.caller, &tenant, &query, &page).await?;
            Ok(wire::ListMembersResponse {
                members: page.items.iter().map(person::to_wire).collect(),
                next_page_token: page.next,
            })
        })
        .await
    }

    async fn enable_member(&self, request: Request<wire::EnableMemberRequest>) -> Reply<wire::EnableMemberResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let issuer = self.issuer();
            let enabled = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.set_member_state(&call.caller, &tenant, &message.member_id, State::Enabled).await
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
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let issuer = self.issuer();
            let disabled = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.set_member_state(&call.caller, &tenant, &message.member_id, State::Disabled).await
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
            let (admitted, mut message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let request_id = std::mem::take(&mut message.request_id);
            let repeat = convert::repeat(&request_id, "CreateMembership", &message)?;
            let confirmed = !message.require_confirmation.unwrap_or(true);
            let (new, _) = new_membership(message.membership, message.email, confirmed)?;
            let issuer = self.issuer();
            let created = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.create_membership(&call.caller, &tenant, &new, repeat).await
            });
            let (membership, position) = created.await?;
            let position = convert::position(position);
            Ok(wire::CreateMembershipResponse { membership: Some(membership_to_wire(&membership)), position })
        })
        .await
    }

    async fn get_membership(&self, request: Request<wire::GetMembershipRequest>) -> Reply<wire::GetMembershipResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let directory = &self.issuer.directory;
            let tenant = directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
            let wire::GetMembershipRequest { account_id, member_id, .. } = &message;
            let membership = directory.reachable_membership(&call.caller, &tenant, account_id, member_id).await?;
            Ok(wire::GetMembershipResponse { membership: Some(membership_to_wire(&membership)) })
        })
        .await
    }

    async fn update_membership(
        &self,
        request: Request<wire::UpdateMembershipRequest>,
    ) -> Reply<wire::UpdateMembershipResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let (new, etag) = new_membership(message.membership, String::new(), false)?;
            let issuer = self.issuer();
            let updated = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                issuer.directory.set_membership_roles(&call.caller, &tenant, &new, &etag).await
            });
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
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let issuer = self.issuer();
            let deleted = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
                let wire::DeleteMembershipRequest { account_id, member_id, etag, .. } = &message;
                issuer.directory.delete_membership(&call.caller, &tenant, account_id, member_id, etag).await
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
            let (admitted, message) = open(request)?;
            let call = self.issuer.prove(&convert::bearer(&admitted)?, FULL).await?;
            let directory = &self.issuer.directory;
            let tenant = directory.tenant_of(&call.caller, given(&message.tenant_id)).await?;
            let (kind, of) = match message.of {
                Some(Of::AccountId(slot)) => ("account", ListMemberships::Account(slot)),
                Some(Of::MemberId(slot)) => ("member", ListMemberships::Member(slot)),
                None => return Err(Error::field("of", "must be set")),
            };
            let (ListMemberships::Account(slot) | ListMemberships::Member(slot)) = &of;
            let name = tenant.to_string();
            let query = ["ListMemberships", &name, kind, slot, &message.filter].map(str::as_bytes);
            let page = PageRequest::new(message.page_size, &message.page_token, &call.caller, &query, &directory.ring)?;
            let filter = Filter::parse(&message.filter, memberships::FIELDS)?;
            let page = directory.list_memberships(&call.caller, &tenant, &of, &filter, &page).await?;
            Ok(wire::ListMembershipsResponse {
                memberships: page.items.iter().map(membership_to_wire).collect(),
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
            let (admitted, message) = open(request)?;
            let wire::AcceptMembershipRequest { tenant_id, account_id, member_id } = message;
            let (membership, position) =
                self.move_membership(&admitted, tenant_id, account_id, member_id, Event::Accept).await?;
            Ok(wire::AcceptMembershipResponse { membership: Some(membership), position })
        })
        .await
    }

    async fn reject_membership(
        &self,
        request: Request<wire::RejectMembershipRequest>,
    ) -> Reply<wire::RejectMembershipResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let wire::RejectMembershipRequest { tenant_id, account_id, member_id } = message;
            let (membership, position) =
                self.move_membership(&admitted, tenant_id, account_id, member_id, Event::Reject).await?;
            Ok(wire::RejectMembershipResponse { membership: Some(membership), position })
        })
        .await
    }

    async fn enable_membership(
        &self,
        request: Request<wire::EnableMembershipRequest>,
    ) -> Reply<wire::EnableMembershipResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let wire::EnableMembershipRequest { tenant_id, account_id, member_id } = message;
            let (membership, position) =
                self.move_membership(&admitted, tenant_id, account_id, member_id, Event::Enable).await?;
            Ok(wire::EnableMembershipResponse { membership: Some(membership), position })
        })
        .await
    }

    async fn set_password(&self, request: Request<wire::SetPasswordRequest>) -> Reply<wire::SetPasswordResponse> {
        answer(async {
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let request = set_password(message);
            let issuer = self.issuer();
            let set = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                issuer.set_password(&call, &request).await
            });
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
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let wire::LinkIdentityRequest { tenant_id, member_id, identity_profile_id, identity } = message;
            let identity = new_identity(identity)?;
            let issuer = self.issuer();
            let linked = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&tenant_id)).await?;
                let directory = &issuer.directory;
                directory.link_identity(&call.caller, &tenant, &member_id, &identity_profile_id, &identity).await
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
            let (admitted, message) = open(request)?;
            let proof = convert::bearer(&admitted)?;
            let wire::UnlinkIdentityRequest { tenant_id, member_id, identity_profile_id } = message;
            let issuer = self.issuer();
            let unlinked = run_to_end(async move {
                let call = issuer.prove(&proof, FULL).await?;
                let tenant = issuer.directory.tenant_of(&call.caller, given(&tenant_id)).await?;
                let directory = &issuer.directory;
                directory.unlink_identity(&call.caller, &tenant, &member_id, &identity_profile_id).await
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
            let (admitted, message) = open(request)?;
            let wire::DisableMembershipRequest { tenant_id, account_id, member_id } = message;
            let (membership, position) =
                self.move_membership(&admitted, tenant_id, account_id, member_id, Event::Disable).await?;
            Ok(wire::DisableMembershipResponse { membership: Some(membership), position })
        })
        .await
    }
}

impl Services {
    async fn move_membership(
        &self,
        admitted: &Admitted<Recognized>,
        tenant_id: String,
        account_id: String,
        member_id: String,
        event: Event,
    ) -> Result<(wire::Membership, String)> {
        let proof = convert::bearer(admitted)?;
        let issuer = self.issuer();
        let moved = run_to_end(async move {
            let call = issuer.prove(&proof, FULL).await?;
            let tenant = issuer.directory.tenant_of(&call.caller, given(&tenant_id)).await?;
            issuer.directory.move_membership(&call.caller, &tenant, &account_id, &member_id, event).await
        });
        let (membership, position) = moved.await?;
        Ok((membership_to_wire(&membership), convert::position(position)))
    }
}

fn set_password(message: wire::SetPasswordRequest) -> SetPassword {
    let secret = |text: String| SecretText::new(text);
    SetPassword {
        tenant: given(&message.tenant_id).map(str::to_owned),
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
