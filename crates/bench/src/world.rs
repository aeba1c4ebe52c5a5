//! What a service needs before it can be measured: a client, its bearer token, an account, tokens; all made by calls.

use std::path::PathBuf;

use jeton::api::wire::{
    self, account_service_client::AccountServiceClient, client_service_client::ClientServiceClient,
    entity_group_service_client::EntityGroupServiceClient, member_service_client::MemberServiceClient,
    tenant_service_client::TenantServiceClient,
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};

use super::{
    Plan, Result,
    message::{self, Message},
    process::{ADMIN, Extra, Scratch, Service, Store},
    supply::credentials,
};

/// A service with a client, an account, and a group with a member in both, in the tenant `default`.
#[derive(Debug)]
pub(super) struct World {
    pub(super) service: Service,
    pub(super) store: Store,
    extra: Extra,
    program: PathBuf,
    pub(super) dir: Scratch,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    /// Of the client, with the scopes that issue, read, introspect and revoke.
    pub(super) bearer: MetadataValue<Ascii>,
    pub(super) account_id: String,
}

/// What tokens are issued with.
pub(super) const SCOPES: [&str; 3] = ["invoices.read", "invoices.write", "orders.read"];
const MANAGEMENT: [&str; 4] =
    ["jeton.tokens.issue", "jeton.tokens.introspect", "jeton.tokens.read", "jeton.tokens.revoke"];
pub(super) const TENANT: &str = "default";
/// The foreign id of the group and of the member, and the name of their role.
pub(super) const NAMED: &str = "bench";
/// Longer than any run, because the bearer is never renewed.
const TOKEN_TTL_SECS: i64 = 86_400;
// === impl World ===

impl World {
    /// Starts a service on an empty store.
    pub(super) async fn make(plan: &Plan, store: Store, extra: Extra) -> Result<Self> {
        let dir = Scratch::new(plan.dir.as_deref())?;
        let program = plan.service.clone();
        let service = Service::start(&program, dir.path(), &store, &extra)?;
        let channel = message::channel(&service.address).await?;
        let admin = admin(&service).await?;

        let client = wire::Client {
            display_name: "bench".into(),
            allowed_grants: [
                wire::GrantType::ClientCredentials,
                wire::GrantType::Account,
                wire::GrantType::Member,
                wire::GrantType::EntityGroup,
            ]
            .map(Into::into)
            .into(),
            allowed_scopes: SCOPES.iter().chain(&MANAGEMENT).map(ToString::to_string).collect(),
            default_scopes: SCOPES.map(str::to_owned).into(),
            introspects: vec!["*".into()],
            token_ttl: Some(prost_types::Duration { seconds: TOKEN_TTL_SECS, nanos: 0 }),
            renewal_policy: wire::RenewalPolicy::Always.into(),
            ..wire::Client::default()
        };
        let mut request = Request::new(wire::CreateClientRequest {
            tenant_id: TENANT.into(),
            client: Some(client),
            ..wire::CreateClientRequest::default()
        });
        request.metadata_mut().insert("authorization", admin.clone());
        let made = ClientServiceClient::new(channel.clone()).create_client(request).await?.into_inner();
        let client_id = made.client.unwrap_or_default().client_id;
        let client_secret = made.client_secret;

        let own = Message::Issue(credentials(&client_id, &client_secret, &MANAGEMENT).into());
        let bearer = bearer(&send(&service, own, None).await?)?;
        let mut world =
            Self { service, store, extra, program, dir, client_id, client_secret, bearer, account_id: String::new() };
        world.account_id = world.create_account(&admin).await?;
        world.create_member(&admin).await?;
        Ok(world)
    }

    /// A member with a role in the account, and in a group that the account is in.
    async fn create_member(&self, bearer: &MetadataValue<Ascii>) -> Result<()> {
        let channel = message::channel(&self.service.address).await?;
        let (tenant_id, account_id) = (|| TENANT.to_owned(), self.account_id.clone());
        let role =
            wire::Role { name: NAMED.into(), permissions: SCOPES.map(str::to_owned).into(), ..wire::Role::default() };
        let role = wire::CreateRoleRequest { tenant_id: tenant_id(), role: Some(role), ..Default::default() };
        TenantServiceClient::new(channel.clone()).create_role(with(role, bearer)).await?;
        let group = wire::EntityGroup { display_name: NAMED.into(), foreign_id: NAMED.into(), ..Default::default() };
        let group = wire::CreateEntityGroupRequest {
            tenant_id: tenant_id(),
            entity_group: Some(group),
            entity_ids: vec![account_id.clone()],
            ..Default::default()
        };
        let mut groups = EntityGroupServiceClient::new(channel.clone());
        groups.create_entity_group(with(group, bearer)).await?;
        let group_member = wire::GroupMember {
            entity_group_id: NAMED.into(),
            member_id: NAMED.into(),
            role_ids: vec![NAMED.into()],
            ..Default::default()
        };
        let place = wire::UpsertGroupMemberRequest {
            tenant_id: tenant_id(),
            group_member: Some(group_member),
            member: Some(wire::Member { display_name: NAMED.into(), ..Default::default() }),
        };
        groups.upsert_group_member(with(place, bearer)).await?;
        let membership = wire::Membership {
            account_id,
            member_id: NAMED.into(),
            role_ids: vec![NAMED.into()],
            ..Default::default()
        };
        let membership = wire::CreateMembershipRequest {
            tenant_id: tenant_id(),
            membership: Some(membership),
            require_confirmation: Some(false),
            ..Default::default()
        };
        MemberServiceClient::new(channel).create_membership(with(membership, bearer)).await?;
        Ok(())
    }

    /// Ends the service, lets `between` work on its store, and starts it again.
    pub(super) async fn restart(&mut self, between: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        self.service.process.end();
        between(self).await?;
        self.service = Service::start(&self.program, self.dir.path(), &self.store, &self.extra)?;
        message::channel(&self.service.address).await?;
        Ok(())
    }

    async fn create_account(&self, bearer: &MetadataValue<Ascii>) -> Result<String> {
        let mut request = Request::new(wire::CreateAccountRequest {
            tenant_id: TENANT.into(),
            account: Some(wire::Account { display_name: "bench".into(), ..wire::Account::default() }),
            ..wire::CreateAccountRequest::default()
        });
        request.metadata_mut().insert("authorization", bearer.clone());
        let channel = message::channel(&self.service.address).await?;
        let made = AccountServiceClient::new(channel).create_account(request).await?.into_inner();
        Ok(made.account.unwrap_or_default().account_id)
    }

    /// The administrator's bearer token, good for a quarter of an hour.
    pub(super) async fn admin(&self) -> Result<MetadataValue<Ascii>> {
        admin(&self.service).await
    }

    /// An identity profile with passwords.
    pub(super) async fn create_profile(&self, bearer: &MetadataValue<Ascii>) -> Result<String> {
        let kind = Some(wire::identity_profile::Kind::Password(wire::PasswordProfile::default()));
        let profile = wire::IdentityProfile { display_name: NAMED.into(), kind, ..Default::default() };
        let profile = wire::CreateIdentityProfileRequest {
            tenant_id: TENANT.into(),
            identity_profile: Some(profile),
            ..Default::default()
        };
        let channel = message::channel(&self.service.address).await?;
        let made = TenantServiceClient::new(channel).create_identity_profile(with(profile, bearer)).await?;
        Ok(made.into_inner().identity_profile.unwrap_or_default().identity_profile_id)
    }

    /// More accounts.
    pub(super) async fn accounts(&self, count: usize) -> Result<Vec<String>> {
        let admin = self.admin().await?;
        let mut accounts = Vec::new();
        for _ in 0..count {
            accounts.push(self.create_account(&admin).await?);
        }
        Ok(accounts)
    }
}

async fn admin(service: &Service) -> Result<MetadataValue<Ascii>> {
    bearer(&send(service, Message::Issue(credentials(ADMIN.0, ADMIN.1, &[]).into()), None).await?)
}

async fn send(service: &Service, message: Message, bearer: Option<&MetadataValue<Ascii>>) -> Result<String> {
    let mut client = message::connect(&service.address).await?;
    Ok(message.send(&mut client, bearer).await?.access_token)
}

fn with<T>(message: T, bearer: &MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer.clone());
    request
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>> {
    Ok(format!("Bearer {token}").parse()?)
}
