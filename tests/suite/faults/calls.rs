//! Calls of the service with the generated clients.

use std::time::Duration;

use jeton::api::wire::{
    self, account_service_client::AccountServiceClient, client_service_client::ClientServiceClient,
    issue_token_request::Grant, revoke_all_tokens_request as revoke_all, revoke_token_request::Target,
    token_service_client::TokenServiceClient,
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use super::process::{ADMIN, ADMIN_SECRET, SOON};

pub type Reply<T> = Result<T, Status>;

/// A connection to one process, which is made again when it breaks.
#[derive(Clone, Debug)]
pub struct Link(pub Channel);

/// A machine client of tenant `default`.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

/// What is asked for when a token is issued.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// For this account; empty: for the client itself.
    pub account: String,
    pub refresh: bool,
    pub opaque: bool,
    pub request_id: String,
}

pub const FULL: wire::ConsistencyLevel = wire::ConsistencyLevel::Full;
pub const BOUNDED: wire::ConsistencyLevel = wire::ConsistencyLevel::Bounded;

// === impl Link ===

impl Link {
    pub fn new(address: &str) -> Self {
        let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
        Self(endpoint.connect_timeout(SOON).timeout(SOON).connect_lazy())
    }

    pub fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.0.clone())
    }

    pub async fn issue(&self, client: &Client, wanted: &Wanted) -> Reply<wire::IssuedToken> {
        let request = issue_request(client, wanted);
        Ok(self.tokens().issue_token(request).await?.into_inner().token.unwrap())
    }

    pub async fn renew(&self, client: &Client, refresh_token: &str) -> Reply<wire::IssuedToken> {
        Ok(self.tokens().renew_token(renew_request(client, refresh_token)).await?.into_inner().token.unwrap())
    }

    /// By possession.
    pub async fn revoke(&self, token: &str) -> Reply<String> {
        let target = Some(Target::Token(token.to_owned()));
        let request = wire::RevokeTokenRequest { target, ..Default::default() };
        Ok(self.tokens().revoke_token(request).await?.into_inner().position)
    }

    pub async fn revoke_all_of_account(&self, bearer: &str, account: &str) -> Reply<String> {
        let target = revoke_all::AccountTarget { account_id: account.to_owned(), include_descendants: false };
        let request = wire::RevokeAllTokensRequest {
            tenant_id: "default".to_owned(),
            target: Some(revoke_all::Target::Account(target)),
            ..Default::default()
        };
        Ok(self.tokens().revoke_all_tokens(bearing(bearer, request)).await?.into_inner().position)
    }

    /// Whether a token is active.
    pub async fn is_active(&self, client: &Client, token: &str, level: wire::ConsistencyLevel) -> Reply<bool> {
        let request = wire::IntrospectTokenRequest {
            client_id: client.id.clone(),
            client_secret: client.secret.clone(),
            token: token.to_owned(),
            consistency: level.into(),
            ..Default::default()
        };
        let reply = self.tokens().introspect_token(request).await?.into_inner();
        Ok(reply.introspection.unwrap().active())
    }

    /// Which tokens are active under FULL, in their order.
    pub async fn are_active(&self, client: &Client, tokens: &[String]) -> Reply<Vec<bool>> {
        let mut active = Vec::new();
        for tokens in tokens.chunks(1000) {
            let request = wire::BatchIntrospectTokensRequest {
                client_id: client.id.clone(),
                client_secret: client.secret.clone(),
                tokens: tokens.to_vec(),
                ..Default::default()
            };
            let reply = self.tokens().batch_introspect_tokens(request).await?.into_inner();
            active.extend(reply.introspections.iter().map(wire::Introspection::active));
        }
        Ok(active)
    }

    /// A bearer token of the administrator.
    pub async fn admin(&self) -> String {
        let admin = Client { id: ADMIN.to_owned(), secret: ADMIN_SECRET.to_owned() };
        let mut request = issue_request(&admin, &Wanted::default());
        // All of its default scopes.
        request.scopes.clear();
        self.tokens().issue_token(request).await.unwrap().into_inner().token.unwrap().access_token
    }

    /// A new client of tenant `default` with everything that these tests do.
    pub async fn new_client(&self, admin: &str, replay_window: Duration) -> Client {
        let client = wire::Client {
            display_name: "load".to_owned(),
            allowed_grants: vec![wire::GrantType::ClientCredentials.into(), wire::GrantType::Account.into()],
            allowed_scopes: ["read", "jeton.tokens.issue", "jeton.tokens.introspect"].map(str::to_owned).into(),
            introspects: vec!["*".to_owned()],
            replay_window: Some(replay_window.try_into().unwrap()),
            ..Default::default()
        };
        let request =
            wire::CreateClientRequest { tenant_id: "default".to_owned(), client: Some(client), ..Default::default() };
        let mut clients = ClientServiceClient::new(self.0.clone());
        let reply = clients.create_client(bearing(admin, request)).await.unwrap().into_inner();
        Client { id: reply.client.unwrap().client_id, secret: reply.client_secret }
    }

    pub async fn new_account(&self, admin: &str) -> String {
        let account = wire::Account { display_name: "an account".to_owned(), ..Default::default() };
        let request = wire::CreateAccountRequest {
            tenant_id: "default".to_owned(),
            account: Some(account),
            ..Default::default()
        };
        let reply = self.accounts().create_account(bearing(admin, request)).await.unwrap().into_inner();
        reply.account.unwrap().account_id
    }

    pub fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.0.clone())
    }

    /// Whether health says SERVING; `None` without an answer.
    pub async fn serves(&self) -> Option<bool> {
        let reply = HealthClient::new(self.0.clone()).check(HealthCheckRequest::default()).await.ok()?;
        Some(reply.into_inner().status == 1)
    }
}

// === requests ===

pub fn issue_request(client: &Client, wanted: &Wanted) -> wire::IssueTokenRequest {
    let grant = match wanted.account.as_str() {
        "" => Grant::ClientCredentials(wire::ClientCredentialsGrant {}),
        account => Grant::Account(wire::AccountGrant { account_id: account.to_owned() }),
    };
    let format = if wanted.opaque { wire::TokenFormat::Opaque } else { wire::TokenFormat::Jwt };
    wire::IssueTokenRequest {
        client_id: client.id.clone(),
        client_secret: client.secret.clone(),
        grant: Some(grant),
        scopes: vec!["read".to_owned()],
        format: format.into(),
        include_refresh_token: wanted.refresh,
        request_id: wanted.request_id.clone(),
        ..Default::default()
    }
}

pub fn renew_request(client: &Client, refresh_token: &str) -> wire::RenewTokenRequest {
    wire::RenewTokenRequest {
        client_id: client.id.clone(),
        client_secret: client.secret.clone(),
        refresh_token: refresh_token.to_owned(),
        ..Default::default()
    }
}

pub fn bearing<T>(bearer: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
    request
}

// === replies ===

/// The reason of a failure that the service answered; `None`: the connection failed.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| {
        assert_eq!(info.domain, "jeton", "{status:?}");
        info.reason
    })
}

/// Whether nobody knows what became of the call: no answer, or one that says so.
pub fn is_unknown(status: &Status) -> bool {
    match reason(status) {
        Some(_) => matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled),
        None => true,
    }
}

#[track_caller]
pub fn assert_reason(status: &Status, code: Code, wanted: &str) {
    assert_eq!((status.code(), reason(status).as_deref()), (code, Some(wanted)), "{status:?}");
}

/// A random UUID4.
pub fn request_id() -> String {
    let mut bytes: [u8; 16] = jeton::ambient::random().unwrap();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// Makes calls at the same time; their answers in order.
pub async fn all<T: Send + 'static>(
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

/// Waits until an answer is `Some`, asking again and again.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
