//! Refusals: what the contract calls a reason, in the words of OAuth 2.

use std::time::Duration;

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::Response,
};
use serde::Serialize;

use super::{form::Scheme, reply};
use crate::{
    api::edge::Refusal,
    token::error::{Reason, Violation},
};

/// How a request was to be allowed, which decides how its refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// Client authentication or nothing.
    Client,
    /// A bearer token.
    Bearer,
    /// A grant that is its own proof (RFC 7521 §4.1).
    Grant,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
    /// The contract's own word, which says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The reply to a call that was refused.
pub(super) fn reply(refusal: &Refusal, presented: Presented) -> Response {
    let (code, status) = told(refusal.reason(), refusal.violations(), presented);
    let description = described(refusal);
    let body = Body { error: code, error_description: &description, reason: Some(refusal.reason().name()) };
    let mut response = reply::private(status, &body);
    let headers = response.headers_mut();
    if let Some(challenge) = challenge(status, code, presented) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(after) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds(after)));
    }
    response
}

/// The reply to a request that is no call.
pub(super) fn no_call(status: StatusCode, code: &str, description: &str) -> Response {
    reply::private(status, &Body { error: code, error_description: description, reason: None })
}

/// The table of reasons: RFC 6749 §5.2, RFC 6750 §3.1, RFC 8707 §2.
fn told(reason: Reason, violations: &[Violation], presented: Presented) -> (&'static str, StatusCode) {
    match (reason, presented) {
        (Reason::InvalidField, _) => (wrong_field(violations), StatusCode::BAD_REQUEST),
        (Reason::InvalidMessage, _) => ("invalid_request", StatusCode::PAYLOAD_TOO_LARGE),
        (Reason::InvalidClient, Presented::Grant) => ("invalid_grant", StatusCode::BAD_REQUEST),
        (Reason::InvalidClient | Reason::TokenMissing, _) => ("invalid_client", StatusCode::UNAUTHORIZED),
        (Reason::TokenInvalid, _) => ("invalid_token", StatusCode::UNAUTHORIZED),
        (Reason::ScopeInsufficient, Presented::Bearer) => ("insufficient_scope", StatusCode::FORBIDDEN),
        (Reason::ScopeInsufficient | Reason::GrantNotAllowed | Reason::TenantNotGranted | Reason::Disabled, _) => {
            ("unauthorized_client", StatusCode::BAD_REQUEST)
        }
        (
            Reason::RefreshInvalid
            | Reason::RefreshExpired
            | Reason::RefreshReused
            | Reason::SessionExpired
            | Reason::InvalidCredentials
            | Reason::TokenDied,
            _,
        ) => ("invalid_grant", StatusCode::BAD_REQUEST),
        (Reason::ScopeNotAllowed, _) => ("invalid_scope", StatusCode::BAD_REQUEST),
        (Reason::AudienceNotAllowed, _) => ("invalid_target", StatusCode::BAD_REQUEST),
        // The grant is what a method is elsewhere.
        (Reason::MethodUnknown, _) => ("unsupported_grant_type", StatusCode::BAD_REQUEST),
        (Reason::NotFound, _) => ("not_found", StatusCode::NOT_FOUND),
        (Reason::AttemptLimit, _) => ("temporarily_unavailable", StatusCode::TOO_MANY_REQUESTS),
        (
            Reason::Overloaded
            | Reason::ConcurrentUpdate
            | Reason::StoreUnavailable
            | Reason::Stale
            | Reason::StoreLostData
            | Reason::NotServing
            | Reason::IdentityProviderUnavailable
            | Reason::DeadlineExceeded,
            _,
        ) => ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE),
        (Reason::Internal, _) => ("server_error", StatusCode::INTERNAL_SERVER_ERROR),
        (
            Reason::InvalidMetadata
            | Reason::AmbiguousCredentials
            | Reason::TtlOutOfRange
            | Reason::TokenTooLarge
            | Reason::TokenRequired
            | Reason::ReplayMismatch
            | Reason::EternalNotAllowed
            | Reason::Cancelled,
            _,
        )
        // What no call of this side meets.
        | (
            Reason::FilterInvalid
            | Reason::PageTokenInvalid
            | Reason::RequestIdReused
            | Reason::FieldImmutable
            | Reason::ForeignIdTaken
            | Reason::RegistrationIdTaken
            | Reason::TenantIdTaken
            | Reason::RoleNameTaken
            | Reason::MembershipExists
            | Reason::IdentityTaken
            | Reason::WorkloadTaken
            | Reason::EmailTaken
            | Reason::AccountHasChildren
            | Reason::ChildrenDisabled
            | Reason::AccountTooDeep
            | Reason::SecretLimit
            | Reason::BuiltIn
            | Reason::RoleInUse
            | Reason::MemberLimit
            | Reason::MembershipLimit
            | Reason::MembershipState
            | Reason::IdentityProfileInUse
            | Reason::SelfSignupDisabled
            | Reason::IdentityProfileLimit
            | Reason::OneTimePasswordsDisabled,
            _,
        ) => ("invalid_request", StatusCode::BAD_REQUEST),
    }
}

/// Scopes and audiences have codes of their own, if nothing else is wrong.
fn wrong_field(violations: &[Violation]) -> &'static str {
    let all = |wanted: &[&str]| {
        !violations.is_empty() && violations.iter().all(|own| wanted.contains(&parameter(&own.field)))
    };
    if all(&["scope"]) {
        "invalid_scope"
    } else if all(&["audience", "resource"]) {
        "invalid_target"
    } else {
        "invalid_request"
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

/// Every parameter that breaks its rule, or what else is wrong, in the characters that RFC 6749 §5.2 allows.
fn described(refusal: &Refusal) -> String {
    let told = refusal.violations().iter().map(|own| format!("{}: {}", parameter(&own.field), own.description));
    let told = told.collect::<Vec<_>>().join("; ");
    let told = if told.is_empty() { refusal.message() } else { &told };
    let allowed = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    told.chars().map(allowed).collect()
}

/// What a caller that is not known, or a bearer that may not, is told to bring (RFC 9110 §11.6.1).
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

/// Whole seconds, never too early.
fn seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
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
