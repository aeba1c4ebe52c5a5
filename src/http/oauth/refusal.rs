//! Refusals: the reasons of the contract as error codes of OAuth 2.

use std::time::Duration;

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::Response,
};
use jeton_contract::{reason::Reason, validate::Violation};
use serde::Serialize;

use super::{form::Scheme, reply};
use crate::api::edge::direct::Refusal;

/// How a request was authenticated, which decides the form of its refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// Client authentication or nothing.
    Client,
    /// A bearer token.
    Bearer,
    /// A grant that authenticates itself (RFC 7521 §4.1).
    Grant,
}

/// An error code of OAuth 2 with its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    InvalidRequest,
    /// `invalid_request`, because the body is too large.
    MessageTooLarge,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    InsufficientScope,
    UnauthorizedClient,
    UnsupportedGrantType,
    NotFound,
    /// `temporarily_unavailable`, because of the caller's failed attempts.
    TooManyAttempts,
    TemporarilyUnavailable,
    ServerError,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
    /// The contract's reason, which is more precise.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The reply to a call that was refused.
pub(super) fn reply(refusal: &Refusal, presented: Presented) -> Response {
    let code = code(refusal.reason(), refusal.violations(), presented);
    let (error, status) = (code.name(), code.status());
    let description = described(refusal);
    let body = Body { error, error_description: &description, reason: Some(refusal.reason().name()) };
    let mut response = reply::private(status, &body);
    let headers = response.headers_mut();
    if let Some(challenge) = challenge(status, error, presented) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(after) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds(after)));
    }
    response
}

/// The reply to a request that was not routed to a call.
pub(super) fn no_call(status: StatusCode, code: &str, description: &str) -> Response {
    reply::private(status, &Body { error: code, error_description: description, reason: None })
}

/// The table of reasons: RFC 6749 §5.2, RFC 6750 §3.1, RFC 8707 §2.
// Reasons of one code stand side by side, and so the table fits on a page.
#[rustfmt::skip]
fn code(reason: Reason, violations: &[Violation], presented: Presented) -> Code {
    match (reason, presented) {
        (Reason::InvalidField, _) => wrong_field(violations),
        (Reason::InvalidMessage, _) => Code::MessageTooLarge,
        (Reason::InvalidClient, Presented::Grant) => Code::InvalidGrant,
        (Reason::InvalidClient | Reason::TokenMissing, _) => Code::InvalidClient,
        (Reason::TokenInvalid, _) => Code::InvalidToken,
        (Reason::ScopeInsufficient, Presented::Bearer) => Code::InsufficientScope,
        (Reason::ScopeInsufficient | Reason::GrantNotAllowed | Reason::TenantNotGranted | Reason::Disabled, _) =>
            Code::UnauthorizedClient,
        (Reason::RefreshInvalid | Reason::RefreshExpired | Reason::RefreshReused | Reason::SessionExpired
            | Reason::InvalidCredentials | Reason::TokenDied, _) => Code::InvalidGrant,
        (Reason::ScopeNotAllowed, _) => Code::InvalidScope,
        (Reason::AudienceNotAllowed, _) => Code::InvalidTarget,
        // A grant over HTTP is what a method is over gRPC.
        (Reason::MethodUnknown, _) => Code::UnsupportedGrantType,
        (Reason::NotFound, _) => Code::NotFound,
        (Reason::AttemptLimit, _) => Code::TooManyAttempts,
        (Reason::Overloaded | Reason::ConcurrentUpdate | Reason::StoreUnavailable | Reason::Stale
            | Reason::StoreLostData | Reason::NotServing | Reason::IdentityProviderUnavailable
            | Reason::DeadlineExceeded, _) => Code::TemporarilyUnavailable,
        (Reason::Internal, _) => Code::ServerError,
        (Reason::InvalidMetadata | Reason::AmbiguousCredentials | Reason::TtlOutOfRange | Reason::TokenTooLarge
            | Reason::TokenRequired | Reason::ReplayMismatch | Reason::EternalNotAllowed | Reason::Cancelled, _)
        // No call over HTTP is refused with these.
        | (Reason::FilterInvalid | Reason::PageTokenInvalid | Reason::RequestIdReused | Reason::FieldImmutable
            | Reason::ForeignIdTaken | Reason::RegistrationIdTaken | Reason::TenantIdTaken | Reason::RoleNameTaken
            | Reason::MembershipExists | Reason::IdentityTaken | Reason::WorkloadTaken | Reason::EmailTaken
            | Reason::AccountHasChildren | Reason::ChildrenDisabled | Reason::AccountTooDeep | Reason::SecretLimit
            | Reason::BuiltIn | Reason::RoleInUse | Reason::MemberLimit | Reason::MembershipLimit
            | Reason::MembershipState | Reason::IdentityProfileInUse | Reason::SelfSignupDisabled
            | Reason::IdentityProfileLimit | Reason::OneTimePasswordsDisabled, _) => Code::InvalidRequest,
    }
}

/// Wrong scopes and audiences have codes of their own, if no other field is wrong.
fn wrong_field(violations: &[Violation]) -> Code {
    let all = |wanted: &[&str]| {
        !violations.is_empty() && violations.iter().all(|own| wanted.contains(&parameter(&own.field)))
    };
    if all(&["scope"]) {
        Code::InvalidScope
    } else if all(&["audience", "resource"]) {
        Code::InvalidTarget
    } else {
        Code::InvalidRequest
    }
}

/// The parameter that a field of a message came from.
fn parameter(field: &str) -> &str {
    let field = field.split('[').next().unwrap_or(field);
    match field {
        "scopes" => "scope",
        "token_exchange.subject_token" => "subject_token",
        "token_exchange.actor_token" => "actor_token",
        "workload" | "workload.jwt" => "assertion",
        "target" => "token",
        other => other,
    }
}

/// Every parameter that breaks its rule, or else the refusal's message, in the characters that RFC 6749 §5.2 allows.
fn described(refusal: &Refusal) -> String {
    let broken = refusal.violations().iter().map(|own| format!("{}: {}", parameter(&own.field), own.description));
    let broken = broken.collect::<Vec<_>>().join("; ");
    let text = if broken.is_empty() { refusal.message() } else { &broken };
    let allowed = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(allowed).collect()
}

/// The challenge for a caller that is not authenticated or a bearer that is not allowed (RFC 9110 §11.6.1).
fn challenge(status: StatusCode, code: &str, presented: Presented) -> Option<HeaderValue> {
    let challenge = match (status, presented) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Presented::Bearer) => {
            format!("Bearer realm=\"jeton\", error=\"{code}\"")
        }
        (StatusCode::UNAUTHORIZED, Presented::Client | Presented::Grant) => {
            "Basic realm=\"jeton\", charset=\"UTF-8\"".to_owned()
        }
        _ => return None,
    };
    HeaderValue::try_from(challenge).ok()
}

/// Whole seconds, rounded up.
fn seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

// === impl Code ===

impl Code {
    /// The code on the wire.
    const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::MessageTooLarge => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::NotFound => "not_found",
            Self::TooManyAttempts | Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::InvalidGrant
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType => StatusCode::BAD_REQUEST,
            Self::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidClient | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

// === impl Presented ===

impl From<Scheme> for Presented {
    fn from(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Bearer => Self::Bearer,
            Scheme::Nothing | Scheme::Basic | Scheme::Unknown => Self::Client,
        }
    }
}
