//! OAuth 2 over HTTP: the token endpoint (RFC 6749, 8693, 7523), introspection (RFC 7662), revocation (RFC 7009), and a
//! tenant's keys and metadata (RFC 7517, 8414).
//!
//! Promises: a request becomes a message of the contract and passes the same limits, proof, access rules and handler as a
//! gRPC call; every reply is JSON with an `x-request-id`, and replies that are not public have `no-store`. Invariant: adds no
//! rule of its own; requests that the contract cannot express are refused.
//!
//! Start reading at [`routes`].

mod document;
mod form;
mod grant;
mod refusal;
mod reply;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRequest, FromRequestParts as _, Path, Request, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts},
    response::Response,
    routing::{get, post},
};
use jeton_contract::validate::Violation;

use self::{
    form::{Basic, Credentials, Form, Scheme},
    grant::{TokenRequest, violation},
    refusal::Presented,
};
use crate::{
    api::{
        Services,
        direct::Bearers,
        edge::{
            REQUEST_ID, RequestId,
            direct::{Direct, Refusal},
        },
        policy::Lane,
        wire,
    },
    error::Result,
};

/// A request at an endpoint of a tenant.
struct TenantRequest<A> {
    connection: Arc<Direct<A>>,
    /// As in the path; it need not exist.
    tenant: String,
    id: RequestId,
    parts: Parts,
    body: Body,
}

/// How long a `token_type_hint` may be, in characters.
const MAX_HINT_CHARS: usize = 64;

/// All endpoints. Requests carry their connection's [`Direct`] as an extension. `certificates`: whether clients
/// may authenticate with that of their connection.
pub fn routes<A: Bearers>(services: Services, certificates: bool) -> Router {
    let metadata = move |services, request| metadata::<A>(services, request, certificates);
    Router::new()
        .route("/t/{tenant}/oauth2/token", post(token::<A>))
        .route("/t/{tenant}/oauth2/introspect", post(introspect::<A>))
        .route("/t/{tenant}/oauth2/revoke", post(revoke::<A>))
        .route("/t/{tenant}/oauth2/jwks", get(jwks::<A>))
        // The path of RFC 8414, and those where clients of OpenID Connect look.
        .route("/.well-known/oauth-authorization-server/t/{tenant}", get(metadata))
        .route("/.well-known/openid-configuration/t/{tenant}", get(metadata))
        .route("/t/{tenant}/.well-known/openid-configuration", get(metadata))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(services)
}

// === endpoints ===

/// RFC 6749 §3.2.
async fn token<A: Bearers>(State(services): State<Services>, request: TenantRequest<A>) -> Response {
    let TenantRequest { connection, tenant, id, mut parts, body } = request;
    let mut presented = Presented::from(Scheme::of(&parts.headers));
    let answer = async {
        let call = connection.begin(Lane::Ordinary, "oauth2/token", id.clone())?;
        let message = with_form(&mut parts, body, |form, own| grant::parse(&tenant, form, own));
        let (call, message) = call.read(message).await?;
        let (token, kind) = match message {
            TokenRequest::Issue(message, kind) => {
                if matches!(message.grant, Some(wire::issue_token_request::Grant::Workload(_))) {
                    presented = Presented::Grant;
                }
                (services.issue(call, &parts.headers, *message).await?.token, kind)
            }
            TokenRequest::Renew(message) => (services.renew(call, &parts.headers, &tenant, message).await?.token, None),
        };
        Ok(reply::private(StatusCode::OK, &reply::Token::new(&token.unwrap_or_default(), kind)))
    };
    let answer = answer.await;
    respond(answer, presented, &id)
}

/// RFC 7662 §2.
async fn introspect<A: Bearers>(State(services): State<Services>, request: TenantRequest<A>) -> Response {
    let TenantRequest { connection, tenant, id, mut parts, body } = request;
    let presented = Scheme::of(&parts.headers).into();
    let answer = async {
        let call = connection.begin(Lane::Ordinary, "oauth2/introspect", id.clone())?;
        let (call, message) = call.read(with_form(&mut parts, body, introspection)).await?;
        let found = services.introspect(call, &parts.headers, message).await?.introspection.unwrap_or_default();
        Ok(reply::introspection(&tenant, &found))
    };
    let answer = answer.await;
    respond(answer, presented, &id)
}

fn introspection(form: &mut Form<'_>, own: Credentials) -> Result<wire::IntrospectTokenRequest> {
    let Credentials { client_id, client_secret, client_assertion } = own;
    let token = form.take("token");
    let mut wrong = wrong_hint(form);
    // Over gRPC an empty token is inactive; RFC 7662 §2.1 requires one.
    if token.is_empty() {
        wrong.push(violation("token", "is required"));
    }
    let message =
        wire::IntrospectTokenRequest { client_id, client_secret, client_assertion, token, ..Default::default() };
    grant::complete(message, wrong)
}

/// RFC 7009 §2.
async fn revoke<A: Bearers>(State(services): State<Services>, request: TenantRequest<A>) -> Response {
    let TenantRequest { connection, tenant, id, mut parts, body } = request;
    let presented = Scheme::of(&parts.headers).into();
    let answer = async {
        let call = connection.begin(Lane::Revocation, "oauth2/revoke", id.clone())?;
        let (call, message) = call.read(with_form(&mut parts, body, |form, own| revocation(tenant, form, own))).await?;
        services.revoke(call, &parts.headers, message).await?;
        Ok(reply::empty())
    };
    let answer = answer.await;
    respond(answer, presented, &id)
}

fn revocation(tenant: String, form: &mut Form<'_>, own: Credentials) -> Result<wire::RevokeTokenRequest> {
    let Credentials { client_id, client_secret, client_assertion } = own;
    let target = Some(wire::revoke_token_request::Target::Token(form.take("token")));
    let message = wire::RevokeTokenRequest { tenant_id: tenant, client_id, client_secret, client_assertion, target };
    grant::complete(message, wrong_hint(form))
}

/// The message that `make` makes of a request's form and of the credentials in it.
async fn with_form<T>(
    parts: &mut Parts,
    body: Body,
    make: impl FnOnce(&mut Form<'_>, Credentials) -> Result<T>,
) -> Result<T> {
    let basic = Basic::take(&mut parts.headers)?;
    let body = form::read(parts, body).await?;
    let mut form = Form::parse(&body)?;
    let own = form.take_credentials(basic)?;
    make(&mut form, own)
}

/// A hint is not used, because the type of a token is part of its text. An unknown one is valid (RFC 7009 §2.1).
fn wrong_hint(form: &mut Form<'_>) -> Vec<Violation> {
    let hint = form.take("token_type_hint");
    let is_word = hint.len() <= MAX_HINT_CHARS && hint.bytes().all(|byte| byte.is_ascii_graphic());
    let description = || format!("must be a word of at most {MAX_HINT_CHARS} characters");
    if is_word { Vec::new() } else { vec![violation("token_type_hint", description())] }
}

// === documents ===

/// RFC 7517 §5.
async fn jwks<A: Bearers>(State(services): State<Services>, request: TenantRequest<A>) -> Response {
    let id = request.id.clone();
    let answer = listed(&services, request, "oauth2/jwks").await;
    respond(answer.map(|(listed, headers)| document::keys(&listed, &headers)), Presented::Client, &id)
}

/// RFC 8414 §3.
async fn metadata<A: Bearers>(
    State(services): State<Services>,
    request: TenantRequest<A>,
    certificates: bool,
) -> Response {
    let id = request.id.clone();
    let issuer = services.issuer_of(&request.tenant).unwrap_or_default();
    // The keys are requested because they show whether the tenant exists, and for how long the reply may be cached.
    let answer = listed(&services, request, "metadata").await;
    respond(answer.map(|(listed, _)| document::metadata(&issuer, &listed, certificates)), Presented::Client, &id)
}

/// A tenant's keys, with the headers of the request.
async fn listed<A: Bearers>(
    services: &Services,
    request: TenantRequest<A>,
    name: &str,
) -> Result<(wire::ListSigningKeysResponse, HeaderMap), Refusal> {
    let TenantRequest { connection, tenant, id, mut parts, body: _ } = request;
    let call = connection.begin(Lane::Ordinary, name, id)?;
    // A public reply that proxies may cache must not depend on the caller.
    parts.headers.remove(AUTHORIZATION);
    let message = wire::ListSigningKeysRequest { tenant_id: tenant };
    Ok((services.signing_keys(call, &parts.headers, message).await?, parts.headers))
}

// === replies ===

fn respond(answer: Result<Response, Refusal>, presented: Presented, id: &RequestId) -> Response {
    let mut response = answer.unwrap_or_else(|refusal| refusal::reply(&refusal, presented));
    response.headers_mut().insert(REQUEST_ID, id.value());
    response
}

async fn not_found(headers: HeaderMap) -> Response {
    let response = refusal::no_call(StatusCode::NOT_FOUND, "not_found", "there is no endpoint at this path");
    respond(Ok(response), Presented::Client, &RequestId::of(&headers))
}

async fn method_not_allowed(headers: HeaderMap) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let response = refusal::no_call(
        status,
        "invalid_request",
        "this path does not support the method; use one of those in `allow`",
    );
    respond(Ok(response), Presented::Client, &RequestId::of(&headers))
}

// === impl TenantRequest ===

impl<A: Bearers> FromRequest<Services> for TenantRequest<A> {
    type Rejection = Response;

    async fn from_request(request: Request, services: &Services) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let tenant = Path::<String>::from_request_parts(&mut parts, services).await;
        // An empty name would mean the default tenant elsewhere.
        let tenant = tenant.ok().map(|Path(tenant)| tenant).filter(|tenant| !tenant.is_empty());
        let (Some(tenant), Some(connection)) = (tenant, parts.extensions.remove()) else {
            return Err(not_found(parts.headers).await);
        };
        Ok(Self { connection, tenant, id: RequestId::of(&parts.headers), parts, body })
    }
}
