//! What a provider publishes about itself (OpenID Connect Discovery 1.0).

use std::time::Duration;

use openidconnect::{
    AuthType, IssuerUrl, TokenUrl, UserInfoUrl,
    core::{CoreClientAuthMethod, CoreProviderMetadata},
};
use serde_json::Value;

use crate::outbound::{Url, documents::DocumentType};

/// The part of the discovery document that is used.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) issuer: IssuerUrl,
    pub(super) token: TokenUrl,
    pub(super) keys: Url,
    pub(super) user_info: Option<UserInfoUrl>,
    /// How the provider recognizes clients; `None`: in no way that we know.
    pub(super) auth_type: Option<AuthType>,
}

/// Discovery documents, as they are kept.
pub(super) const DISCOVERY: DocumentType<Endpoints> =
    DocumentType { name: "a discovery document", fresh: FRESH, parse: Endpoints::parse };

/// How long a discovery document is fresh if its source does not say.
pub const FRESH: Duration = Duration::from_secs(3600);

/// Where the issuer's document is (OpenID Connect Discovery §4.1).
pub(super) fn url(issuer: &str) -> Option<Url> {
    let url: Url = issuer.parse().ok()?;
    // An issuer has neither (OpenID Connect Core §2), and would hide the path that is appended.
    if url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')).parse().ok()
}

// === impl Endpoints ===

impl Endpoints {
    fn parse(document: Value) -> Result<Self, &'static str> {
        let methods = document.get("code_challenge_methods_supported").and_then(Value::as_array);
        // Who offers other methods and not this one would take any verifier (a downgrade of PKCE).
        if methods.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err("the provider does not support S256");
        }
        let metadata: CoreProviderMetadata =
            serde_json::from_value(document).map_err(|_| "it is no discovery document")?;
        let token = metadata.token_endpoint().cloned().ok_or("it names no token endpoint")?;
        let endpoints = Self {
            issuer: metadata.issuer().clone(),
            token,
            keys: metadata.jwks_uri().url().clone(),
            user_info: metadata.userinfo_endpoint().cloned(),
            auth_type: auth_type(metadata.token_endpoint_auth_methods_supported().map(Vec::as_slice)),
        };
        if endpoints.leave_tls() { Err("it leads from https to http") } else { Ok(endpoints) }
    }

    /// Whether the provider is under TLS and an endpoint of it is not. Endpoints may stand at other hosts than the issuer
    /// (as Google's and Microsoft's do): the document came from the issuer under TLS, and the issuer has the secret anyway.
    /// But nobody in between may read the secret and the code, or answer with keys of their own, though the operator
    /// allowed calls in the clear to that host for something else.
    fn leave_tls(&self) -> bool {
        let endpoints = [Some(self.token.url()), Some(&self.keys), self.user_info.as_ref().map(|url| url.url())];
        self.issuer.url().scheme() == "https" && endpoints.into_iter().flatten().any(|url| url.scheme() != "https")
    }
}

/// client_secret_basic, which is also what who says nothing means (RFC 8414 §2), or else client_secret_post.
fn auth_type(methods: Option<&[CoreClientAuthMethod]>) -> Option<AuthType> {
    let Some(methods) = methods else { return Some(AuthType::BasicAuth) };
    if methods.contains(&CoreClientAuthMethod::ClientSecretBasic) {
        Some(AuthType::BasicAuth)
    } else if methods.contains(&CoreClientAuthMethod::ClientSecretPost) {
        Some(AuthType::RequestBody)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_document_lies_below_the_issuer() {
        let at = |issuer| url(issuer).map(|url| url.to_string());
        let document = "https://a.example/x/.well-known/openid-configuration";
        assert_eq!(at("https://a.example/x").as_deref(), Some(document));
        assert_eq!(at("https://a.example/x/").as_deref(), Some(document));
        for wrong in ["", "a.example", "https://a.example/?x", "https://a.example/#x"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_document_without_what_is_needed_is_none() {
        let document = json!({
            "issuer": "https://a.example", "authorization_endpoint": "https://a.example/a",
            "token_endpoint": "https://a.example/t", "jwks_uri": "https://a.example/k",
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "of the future"],
        });
        let with = |name: &str, value: Value| {
            let mut changed = document.clone();
            changed[name] = value;
            Endpoints::parse(changed)
        };
        let auth_type = |methods: Value| with("token_endpoint_auth_methods_supported", methods).unwrap().auth_type;
        assert!(matches!(Endpoints::parse(document.clone()).unwrap().auth_type, Some(AuthType::BasicAuth)));
        assert!(matches!(auth_type(json!(["client_secret_post", "x"])), Some(AuthType::RequestBody)));
        assert!(matches!(auth_type(json!(["client_secret_post", "client_secret_basic"])), Some(AuthType::BasicAuth)));
        assert!(auth_type(json!(["private_key_jwt"])).is_none());
        assert!(with("code_challenge_methods_supported", json!(["plain", "S256"])).is_ok());
        assert!(with("token_endpoint", json!("https://elsewhere.example/t")).is_ok());
        for (name, value) in [
            ("code_challenge_methods_supported", json!(["plain"])),
            ("token_endpoint", Value::Null),
            ("token_endpoint", json!("nowhere")),
            ("jwks_uri", Value::Null),
            ("issuer", json!(5)),
            ("token_endpoint", json!("http://a.example/t")),
            ("jwks_uri", json!("http://a.example/k")),
            ("userinfo_endpoint", json!("http://a.example/u")),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name}: {value}");
        }
        assert!(Endpoints::parse(Value::Null).is_err());
    }
}
