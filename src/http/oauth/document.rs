//! What anybody may read of a tenant: its keys (RFC 7517) and where its endpoints are (RFC 8414).

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, ETAG, IF_NONE_MATCH},
    },
    response::Response,
};
use serde::Serialize;

use super::{grant, reply};
use crate::api::{direct::assertion_algorithms, wire};

/// A JSON Web Key Set.
#[derive(Serialize)]
struct KeySet<'a> {
    keys: Vec<Key<'a>>,
}

/// A key, with the members of its type only.
#[derive(Serialize)]
struct Key<'a> {
    kty: &'a str,
    #[serde(rename = "use")]
    purpose: &'a str,
    alg: &'a str,
    kid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    crv: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    x: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    y: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    n: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    e: &'a str,
}

/// RFC 8414 §2.
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    /// There is no authorization endpoint. The member is required all the same, and must not be empty (§3.2).
    response_types_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 4],
    token_endpoint_auth_methods_supported: &'a [&'static str],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 5],
    introspection_endpoint_auth_methods_supported: &'a [&'static str],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 5],
    /// Possession of a token suffices to revoke it.
    revocation_endpoint_auth_methods_supported: &'a [&'static str],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 5],
}

/// Pages of any origin may read what is public.
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");

/// The keys that verify a tenant's JWTs.
pub(super) fn keys(listed: &wire::ListSigningKeysResponse, headers: &HeaderMap) -> Response {
    // A key never changes under its id, so the ids are the version.
    let ids: Vec<&str> = listed.keys.iter().map(|key| key.kid.as_str()).collect();
    let tag = format!("\"{}\"", ids.join("."));
    let mut response = if is_known(headers, &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        reply::json(StatusCode::OK, &KeySet { keys: listed.keys.iter().map(Key::new).collect() })
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    public(response, listed)
}

/// Where the endpoints of `issuer` are, and what they understand.
pub(super) fn metadata(issuer: &str, listed: &wire::ListSigningKeysResponse, certificates: bool) -> Response {
    let mut methods = vec!["client_secret_basic", "client_secret_post", "private_key_jwt"];
    // RFC 8705 §2.1.1.
    methods.extend(certificates.then_some("tls_client_auth"));
    let or_none = [methods.as_slice(), &["none"]].concat();
    let algorithms = assertion_algorithms();
    let metadata = Metadata {
        issuer,
        token_endpoint: format!("{issuer}/oauth2/token"),
        introspection_endpoint: format!("{issuer}/oauth2/introspect"),
        revocation_endpoint: format!("{issuer}/oauth2/revoke"),
        jwks_uri: format!("{issuer}/oauth2/jwks"),
        response_types_supported: ["none"],
        grant_types_supported: grant::ALL,
        token_endpoint_auth_methods_supported: &methods,
        token_endpoint_auth_signing_alg_values_supported: algorithms,
        introspection_endpoint_auth_methods_supported: &methods,
        introspection_endpoint_auth_signing_alg_values_supported: algorithms,
        revocation_endpoint_auth_methods_supported: &or_none,
        revocation_endpoint_auth_signing_alg_values_supported: algorithms,
    };
    public(reply::json(StatusCode::OK, &metadata), listed)
}

/// A reply that may be kept for as long as keys are announced before they sign.
fn public(mut response: Response, listed: &wire::ListSigningKeysResponse) -> Response {
    let seconds = listed.max_age.as_ref().map_or(0, |age| age.seconds);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={seconds}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    response
}

/// Whether the asker has this version (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = |name: HeaderName| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    known(IF_NONE_MATCH).flat_map(|tags| tags.split(',')).map(str::trim).any(|known| {
        // Comparison is weak: what a proxy has compressed is the same set of keys.
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

// === impl Key ===

impl<'a> Key<'a> {
    fn new(key: &'a wire::JsonWebKey) -> Self {
        let wire::JsonWebKey { kty, r#use, alg, kid, crv, x, y, n, e } = key;
        Self { kty, purpose: r#use, alg, kid, crv, x, y, n, e }
    }
}
