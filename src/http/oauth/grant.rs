//! Grants: requests to the token endpoint, as messages of the contract.

use jeton_contract::{
    reason::Reason,
    validate::{Validate, Violation, check},
};

use super::form::{Credentials, Form};
use crate::{
    api::{wire, wire::issue_token_request::Grant},
    error::{Error, Result},
};

/// A request to the token endpoint.
pub(super) enum TokenRequest {
    /// With the type that the reply gives to the token (RFC 8693 §2.2.1).
    Issue(Box<wire::IssueTokenRequest>, Option<&'static str>),
    Renew(wire::RenewTokenRequest),
}

const CLIENT_CREDENTIALS: &str = "client_credentials";
const REFRESH_TOKEN: &str = "refresh_token";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The grants that can be requested.
pub(super) const ALL: [&str; 4] = [CLIENT_CREDENTIALS, REFRESH_TOKEN, TOKEN_EXCHANGE, JWT_BEARER];

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What a form asks for in the tenant at whose endpoint it was sent.
///
/// # Errors
/// METHOD_UNKNOWN for a grant that the contract does not have; INVALID_FIELD for what cannot be said in the contract.
pub(super) fn parse(tenant: &str, form: &mut Form<'_>, credentials: Credentials) -> Result<TokenRequest> {
    match form.take("grant_type").as_str() {
        "" => Err(Error::field("grant_type", "is required")),
        CLIENT_CREDENTIALS => {
            let grant = Grant::ClientCredentials(wire::ClientCredentialsGrant {});
            issue(tenant, form, credentials, grant, Vec::new())
        }
        JWT_BEARER => {
            let grant = Grant::Workload(wire::WorkloadGrant { jwt: form.take("assertion") });
            issue(tenant, form, credentials, grant, Vec::new())
        }
        TOKEN_EXCHANGE => exchange(tenant, form, credentials),
        REFRESH_TOKEN => renew(form, credentials),
        _ => Err(Error::new(Reason::MethodUnknown, format!("grant_type must be one of {}", ALL.join(", ")))),
    }
}

fn issue(
    tenant: &str,
    form: &mut Form<'_>,
    credentials: Credentials,
    grant: Grant,
    mut wrong: Vec<Violation>,
) -> Result<TokenRequest> {
    let Credentials { client_id, client_secret, client_assertion } = credentials;
    let message = wire::IssueTokenRequest {
        tenant_id: tenant.to_owned(),
        client_id,
        client_secret,
        client_assertion,
        grant: Some(grant),
        scopes: form.take_words("scope"),
        audience: audience(form, &mut wrong),
        ..Default::default()
    };
    Ok(TokenRequest::Issue(Box::new(complete(message, wrong)?), None))
}

/// RFC 8693 §2.1.
fn exchange(tenant: &str, form: &mut Form<'_>, credentials: Credentials) -> Result<TokenRequest> {
    let mut wrong = Vec::new();
    let (subject_token, actor_token) = (form.take("subject_token"), form.take("actor_token"));
    let is_ours = |kind: &str| matches!(kind, ACCESS_TOKEN | JWT);
    if !is_ours(&form.take("subject_token_type")) {
        wrong.push(violation("subject_token_type", format!("must be {ACCESS_TOKEN} or {JWT}")));
    }
    match (actor_token.is_empty(), form.take("actor_token_type").as_str()) {
        (true, "") => {}
        (true, _) => wrong.push(violation("actor_token_type", "must not be given without actor_token")),
        (false, kind) if is_ours(kind) => {}
        (false, _) => wrong.push(violation("actor_token_type", format!("must be {ACCESS_TOKEN} or {JWT}"))),
    }
    let (format, kind) = match form.take("requested_token_type").as_str() {
        "" | ACCESS_TOKEN => (wire::TokenFormat::Unspecified, ACCESS_TOKEN),
        JWT => (wire::TokenFormat::Jwt, JWT),
        _ => {
            wrong.push(violation("requested_token_type", format!("must be {ACCESS_TOKEN} or {JWT}")));
            (wire::TokenFormat::Unspecified, ACCESS_TOKEN)
        }
    };
    let grant = Grant::TokenExchange(wire::TokenExchangeGrant { subject_token, actor_token });
    Ok(match issue(tenant, form, credentials, grant, wrong)? {
        TokenRequest::Issue(message, _) => {
            TokenRequest::Issue(Box::new(wire::IssueTokenRequest { format: format.into(), ..*message }), Some(kind))
        }
        renew @ TokenRequest::Renew(_) => renew,
    })
}

/// RFC 6749 §6.
fn renew(form: &mut Form<'_>, credentials: Credentials) -> Result<TokenRequest> {
    let mut wrong = Vec::new();
    for name in ["audience", "resource"] {
        if !form.take_all(name).is_empty() {
            wrong.push(violation(name, "must be left out: a renewed token keeps its audience"));
        }
    }
    let Credentials { client_id, client_secret, client_assertion } = credentials;
    let message = wire::RenewTokenRequest {
        client_id,
        client_secret,
        client_assertion,
        refresh_token: form.take("refresh_token"),
        scopes: form.take_words("scope"),
    };
    Ok(TokenRequest::Renew(complete(message, wrong)?))
}

/// For whom the token is: logical names (RFC 8693 §2.1) and URIs (RFC 8707 §2), which are the same thing here.
fn audience(form: &mut Form<'_>, wrong: &mut Vec<Violation>) -> Vec<String> {
    let mut audience = form.take_all("audience");
    for resource in form.take_all("resource") {
        if !is_absolute(&resource) {
            wrong.push(violation("resource", "must be an absolute URI without a fragment"));
        }
        if !audience.contains(&resource) {
            audience.push(resource);
        }
    }
    audience
}

fn is_absolute(uri: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    !uri.contains('#') && uri.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
}

/// The message, unless something is wrong already: then all that is, its own rules included.
pub(super) fn complete<M: Validate>(message: M, mut wrong: Vec<Violation>) -> Result<M> {
    if wrong.is_empty() {
        // The handler looks at the rules.
        return Ok(message);
    }
    if let Err(violations) = check(&message) {
        wrong.extend(violations);
    }
    Err(Error::fields(wrong))
}

pub(super) fn violation(field: &str, description: impl Into<String>) -> Violation {
    Violation { field: field.to_owned(), description: description.into() }
}

#[cfg(test)]
mod tests {
    use super::is_absolute;

    #[test]
    fn a_resource_is_an_absolute_uri() {
        for good in ["https://api.example.com/x?y", "urn:example:api", "a+b-c.d:x"] {
            assert!(is_absolute(good), "{good}");
        }
        for bad in ["", "api", "/api", ":x", "1a:x", "https:", "https://x/#y", "a b:x"] {
            assert!(!is_absolute(bad), "{bad}");
        }
    }
}
