//! Replies: messages of the contract in the words of OAuth 2.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA},
    },
    response::Response,
};
use jeton_core::Json;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    api::{convert, wire},
    error::{Error, Result, chain},
};

/// RFC 6749 §5.1, RFC 8693 §2.2.1.
#[derive(Serialize)]
pub(super) struct Token<'a> {
    access_token: &'a str,
    token_type: &'a str,
    /// Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    refresh_token: &'a str,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    /// Where a client uses its token.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    service_urls: &'a BTreeMap<String, String>,
}

/// RFC 7662 §2.2. What stands in our JWTs has the same name here.
#[derive(Default, Serialize)]
struct Introspection<'a> {
    active: bool,
    #[serde(flatten)]
    token: Option<Active<'a>>,
}

#[derive(Serialize)]
struct Active<'a> {
    /// "access" or "refresh".
    token_use: &'static str,
    /// Of access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    scope: String,
    client_id: &'a str,
    sub: &'a str,
    aud: &'a [String],
    iss: &'a str,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    ten: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    acc: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    anc: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    mem: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    grp: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    fam: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Box<Act<'a>>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    permissions: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    opt: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Act<'a> {
    sub: &'a str,
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Box<Act<'a>>>,
}

/// A reply in JSON that must not be cached.
pub(super) fn private(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = json(status, body);
    keep_private(&mut response);
    response
}

/// A reply in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = match serde_json::to_vec(body) {
        Ok(body) => Response::new(Body::from(body)),
        Err(error) => return unwritable(&error),
    };
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A reply whose status says it all.
pub(super) fn empty() -> Response {
    let mut response = Response::new(Body::empty());
    keep_private(&mut response);
    response
}

/// The reply about a token at the endpoint of `tenant`. Tokens of others are inactive.
pub(super) fn introspection(tenant: &str, found: &wire::Introspection) -> Response {
    match Introspection::new(tenant, found) {
        Ok(introspection) => private(StatusCode::OK, &introspection),
        Err(error) => unwritable(&error),
    }
}

fn keep_private(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

fn unwritable(error: &dyn std::error::Error) -> Response {
    tracing::error!(error = chain(error), "a reply cannot be written");
    let mut response = Response::new(Body::from(r#"{"error":"server_error"}"#));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

// === impl Token ===

impl<'a> Token<'a> {
    pub(super) fn new(issued: &'a wire::IssuedToken, issued_token_type: Option<&'static str>) -> Self {
        Self {
            access_token: &issued.access_token,
            token_type: &issued.token_type,
            expires_in: issued.expires_in,
            refresh_token: &issued.refresh_token,
            scope: issued.scopes.join(" "),
            issued_token_type,
            service_urls: &issued.service_urls,
        }
    }
}

// === impl Introspection ===

impl<'a> Introspection<'a> {
    fn new(tenant: &str, found: &'a wire::Introspection) -> Result<Self> {
        if found.active != Some(true) || found.tenant_id != tenant {
            return Ok(Self::default());
        }
        let (token_use, token_type) = match found.token_use() {
            wire::TokenUse::Refresh => ("refresh", None),
            wire::TokenUse::Access | wire::TokenUse::Unspecified => ("access", Some("Bearer")),
        };
        let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| time.seconds);
        let options = found.options.as_ref().map(|own| convert::to_json(convert::OPTIONS, own)).transpose()?;
        let claims = found.claims.as_ref().map(|own| convert::to_json(convert::CLAIMS, own)).transpose()?;
        let raw = |json: Option<Json>| {
            let raw = json.map(|json| RawValue::from_string(json.as_str().to_owned())).transpose();
            raw.map_err(|source| Error::internal("write frozen JSON").with_source(source))
        };
        Ok(Self {
            active: true,
            token: Some(Active {
                token_use,
                token_type,
                scope: found.scopes.join(" "),
                client_id: &found.client_id,
                sub: &found.subject,
                aud: &found.audience,
                iss: &found.issuer,
                jti: &found.token_id,
                iat: seconds(&found.issue_time),
                exp: seconds(&found.expire_time),
                ten: &found.tenant_id,
                acc: &found.account_id,
                anc: &found.ancestor_ids,
                mem: &found.member_id,
                grp: &found.entity_group_id,
                fam: &found.family_id,
                sid: &found.session_id,
                act: found.actor.as_ref().map(Act::new),
                amr: &found.authentication_methods,
                auth_time: seconds(&found.authentication_time),
                roles: &found.roles,
                permissions: &found.permissions,
                opt: raw(options)?,
                ext: raw(claims)?,
            }),
        })
    }
}

impl<'a> Act<'a> {
    fn new(actor: &'a wire::Actor) -> Box<Self> {
        let act = actor.prior_actor.as_deref().map(Act::new);
        Box::new(Self { sub: &actor.subject, client_id: &actor.client_id, act })
    }
}
