//! What a service needs before it can be measured: a client, its bearer token, an account, tokens; all made by calls.

use std::{path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jeton::api::wire::{
    self, account_service_client::AccountServiceClient, client_service_client::ClientServiceClient,
    entity_group_service_client::EntityGroupServiceClient, issue_token_request::Grant,
    member_service_client::MemberServiceClient, tenant_service_client::TenantServiceClient,
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};

use super::{
    Plan, Result,
    load::{self, Client, Message, Shape, Work},
    process::{ADMIN, Extra, Scratch, Service, Store},
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
    client_secret: String,
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
const NAMED: &str = "bench";
/// Longer than any run, because the bearer is never renewed.
const TOKEN_TTL_SECS: i64 = 86_400;
/// Calls in flight while tokens are made.
const MAKERS: usize = 32;

// === impl World ===

impl World {
    /// Starts a service on an empty store.
    pub(super) async fn make(plan: &Plan, store: Store, extra: Extra) -> Result<Self> {
        let dir = Scratch::new(plan.dir.as_deref())?;
        let program = plan.service.clone();
        let service = Service::start(&program, dir.path(), &store, &extra)?;
        let channel = load::channel(&service.address).await?;
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
        let channel = load::channel(&self.service.address).await?;
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
        load::channel(&self.service.address).await?;
        Ok(())
    }

    async fn create_account(&self, bearer: &MetadataValue<Ascii>) -> Result<String> {
        let mut request = Request::new(wire::CreateAccountRequest {
            tenant_id: TENANT.into(),
            account: Some(wire::Account { display_name: "bench".into(), ..wire::Account::default() }),
            ..wire::CreateAccountRequest::default()
        });
        request.metadata_mut().insert("authorization", bearer.clone());
        let channel = load::channel(&self.service.address).await?;
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
        let channel = load::channel(&self.service.address).await?;
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

    /// The client's own token.
    pub(super) fn issue_own(&self, format: wire::TokenFormat) -> wire::IssueTokenRequest {
        let request = credentials(&self.client_id, &self.client_secret, &[]);
        wire::IssueTokenRequest { format: format.into(), ..request }
    }

    /// The same as a form and the header that goes with it.
    pub(super) fn issue_own_over_http(&self) -> (&'static str, String) {
        let pair = format!("{}:{}", self.client_id, self.client_secret);
        ("grant_type=client_credentials", format!("Basic {}", STANDARD.encode(pair)))
    }

    /// A token for an account.
    pub(super) fn issue_for(&self, account: &str, format: wire::TokenFormat) -> wire::IssueTokenRequest {
        let grant = Grant::Account(wire::AccountGrant { account_id: account.to_owned() });
        wire::IssueTokenRequest {
            tenant_id: TENANT.into(),
            grant: Some(grant),
            scopes: SCOPES.map(str::to_owned).into(),
            format: format.into(),
            ..wire::IssueTokenRequest::default()
        }
    }

    /// A token for the member in the account.
    pub(super) fn issue_for_member(&self) -> wire::IssueTokenRequest {
        let member = wire::MemberGrant { member_id: NAMED.into(), account_id: self.account_id.clone() };
        wire::IssueTokenRequest { grant: Some(Grant::Member(member)), ..self.issue_for("", wire::TokenFormat::Jwt) }
    }

    /// A token for the member in the group.
    pub(super) fn issue_for_group_member(&self) -> wire::IssueTokenRequest {
        let group = wire::EntityGroupGrant { entity_group_id: NAMED.into(), member_id: NAMED.into() };
        wire::IssueTokenRequest { grant: Some(Grant::EntityGroup(group)), ..self.issue_for("", wire::TokenFormat::Jwt) }
    }

    /// Issues `count` tokens and returns them with their refresh tokens, if any.
    pub(super) async fn tokens(
        &self,
        request: &wire::IssueTokenRequest,
        count: usize,
    ) -> Result<Vec<(String, String)>> {
        let own = matches!(request.grant, Some(Grant::ClientCredentials(_)));
        let bearer = (!own).then_some(&self.bearer);
        let mut made = Vec::with_capacity(count);
        let mut lanes = tokio::task::JoinSet::new();
        let clients = Shape::WIDE.connect(&self.service.address).await?;
        for lane in 0..MAKERS {
            let mut client: Client = clients[lane % clients.len()].clone();
            let (request, bearer) = (request.clone(), bearer.cloned());
            let share = count / MAKERS + usize::from(lane < count % MAKERS);
            lanes.spawn(async move {
                let mut made = Vec::with_capacity(share);
                for _ in 0..share {
                    let reply = Message::Issue(request.clone().into()).send(&mut client, bearer.as_ref()).await?;
                    made.push((reply.access_token, reply.refresh_token));
                }
                Ok::<_, super::Failure>(made)
            });
        }
        while let Some(lane) = lanes.join_next().await {
            made.extend(lane??);
        }
        Ok(made)
    }

    /// Introspections of tokens that the service has seen once, and of an account besides unless that is empty.
    pub(super) async fn introspections(
        &self,
        request: &wire::IssueTokenRequest,
        count: usize,
        consistency: wire::ConsistencyLevel,
        account: &str,
    ) -> Result<Arc<Work>> {
        let tokens = self.tokens(request, count).await?;
        let messages: Vec<Message> = tokens
            .into_iter()
            .map(|(token, _)| {
                Message::Introspect(wire::IntrospectTokenRequest {
                    token,
                    consistency: consistency.into(),
                    account_id: account.to_owned(),
                    ..wire::IntrospectTokenRequest::default()
                })
            })
            .collect();
        let mut client = load::connect(&self.service.address).await?;
        for message in &messages {
            message.clone().send(&mut client, Some(&self.bearer)).await?;
        }
        Ok(Work::cycle(Some(self.bearer.clone()), messages))
    }

    /// Renewals of so many families.
    pub(super) async fn renewals(&self, request: wire::IssueTokenRequest, count: usize) -> Result<Arc<Work>> {
        let request = wire::IssueTokenRequest { include_refresh_token: true, ..request };
        let tokens = self.tokens(&request, count).await?.into_iter().map(|(_, refresh)| refresh).collect();
        let client = (self.client_id.clone(), self.client_secret.clone());
        Ok(Work::renewals(client, tokens))
    }
}

async fn admin(service: &Service) -> Result<MetadataValue<Ascii>> {
    bearer(&send(service, Message::Issue(credentials(ADMIN.0, ADMIN.1, &[]).into()), None).await?)
}

async fn send(service: &Service, message: Message, bearer: Option<&MetadataValue<Ascii>>) -> Result<String> {
    let mut client = load::connect(&service.address).await?;
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

fn credentials(client: &str, secret: &str, scopes: &[&str]) -> wire::IssueTokenRequest {
    wire::IssueTokenRequest {
        client_id: client.into(),
        client_secret: secret.into(),
        grant: Some(Grant::ClientCredentials(wire::ClientCredentialsGrant {})),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..wire::IssueTokenRequest::default()
    }
}
