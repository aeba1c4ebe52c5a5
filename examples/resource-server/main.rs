//! A server that takes tokens of jeton, verified with the tenant's JWKS: no call to jeton for a call to it.
//!
//! `cargo run --example resource-server`. Environment: `ISSUER` (the tenant's issuer URL), `SERVICE` (host:port to listen
//! at), `AUDIENCE` (this server's name in `aud`; `{ISSUER}/api` if it is left out), `SCOPE` (`greet` if it is left out).
//!
//! What it serves is the standard health service, in the place of yours.

use std::{collections::HashMap, env, error::Error, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use serde::Deserialize;
use tonic::{Request, Status, service::InterceptorLayer, transport::Server};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What the verified token says of the caller; handlers find it among the extensions of the request.
#[derive(Clone, Debug, Deserialize)]
struct Caller {
    sub: String,
    #[serde(default)]
    scope: String,
}

/// A tenant's keys by key id, each with the checks that go with it.
type Keys = HashMap<String, (DecodingKey, Validation)>;

/// Verifies tokens of one issuer for one audience.
#[derive(Clone)]
struct Verifier {
    keys: Arc<ArcSwap<Keys>>,
    scope: String,
}

/// Where a tenant's things are (RFC 8414).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The shortest and the longest time between two looks at the keys, whatever the server says.
const REFRESH: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);
/// After a look that failed.
const RETRY: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    // jsonwebtoken wants one before its first use.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let issuer = env::var("ISSUER")?;
    let audience = env::var("AUDIENCE").unwrap_or_else(|_| format!("{issuer}/api"));
    let verifier = Verifier::start(issuer, audience).await?;
    let (health, service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    Server::builder()
        .layer(InterceptorLayer::new(move |request| verifier.admit(request)))
        .add_service(service)
        .serve(env::var("SERVICE")?.parse()?)
        .await?;
    Ok(())
}

impl Verifier {
    /// Gets the keys, and goes on getting them for as long as the process lives.
    async fn start(issuer: String, audience: String) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let metadata: Metadata = serde_json::from_str(&http.get(well_known(&issuer)?).send().await?.text().await?)?;
        // RFC 8414 §3.3: or somebody else's keys would be taken for the issuer's.
        if metadata.issuer != issuer {
            return Err(format!("{issuer} calls itself {}", metadata.issuer).into());
        }
        let (keys, mut pause) = fetch(&http, &metadata, &audience).await?;
        let keys = Arc::new(ArcSwap::from_pointee(keys));
        let kept = Arc::clone(&keys);
        tokio::spawn(async move {
            // A key is announced for longer than the old set may be kept, so no token arrives before its key.
            loop {
                tokio::time::sleep(pause).await;
                pause = match fetch(&http, &metadata, &audience).await {
                    Ok((keys, max_age)) => {
                        kept.store(Arc::new(keys));
                        max_age
                    }
                    // The old ones are as good as ever.
                    Err(_) => RETRY,
                };
            }
        });
        Ok(Self { keys, scope: env::var("SCOPE").unwrap_or_else(|_| "greet".to_owned()) })
    }

    /// Lets a call in, or tells what it lacks.
    fn admit(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|text| text.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| Status::unauthenticated("a bearer token is needed"))?;
        let caller = self.verify(token).ok_or_else(|| Status::unauthenticated("the token is not valid"))?;
        if !caller.scope.split(' ').any(|scope| scope == self.scope) {
            return Err(Status::permission_denied(format!("{} lacks the scope {}", caller.sub, self.scope)));
        }
        request.extensions_mut().insert(caller);
        Ok(request)
    }

    fn verify(&self, token: &str) -> Option<Caller> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // RFC 9068 §4: nothing else that the issuer signs is an access token.
        if header.typ.as_deref() != Some("at+jwt") {
            return None;
        }
        let keys = self.keys.load();
        let (key, validation) = keys.get(&header.kid?)?;
        Some(jsonwebtoken::decode(token, key, validation).ok()?.claims)
    }
}

/// RFC 8414 §3.1: the well-known part stands between host and path.
fn well_known(issuer: &str) -> Result<String> {
    let url: http::Uri = issuer.parse()?;
    let host = url.authority().ok_or("ISSUER must be a URL")?;
    let scheme = url.scheme_str().ok_or("ISSUER must be a URL")?;
    Ok(format!("{scheme}://{host}/.well-known/oauth-authorization-server{}", url.path()))
}

/// The keys, and how long they may be kept.
async fn fetch(http: &reqwest::Client, metadata: &Metadata, audience: &str) -> Result<(Keys, Duration)> {
    let response = http.get(&metadata.jwks_uri).send().await?.error_for_status()?;
    let control = response.headers().get("cache-control").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let seconds = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    let max_age = Duration::from_secs(seconds.unwrap_or_default()).clamp(*REFRESH.start(), *REFRESH.end());
    let set: JwkSet = serde_json::from_str(&response.text().await?)?;
    let mut keys = Keys::new();
    for jwk in set.keys {
        // The algorithm is the key's, never the token's (RFC 8725 §3.1). A key of a kind that is not known here is for others.
        let algorithm = jwk.common.key_algorithm.and_then(|algorithm| algorithm.to_string().parse().ok());
        let (Some(algorithm), Some(id), Ok(key)) = (algorithm, jwk.common.key_id.clone(), DecodingKey::from_jwk(&jwk))
        else {
            continue;
        };
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&metadata.issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 5;
        keys.insert(id, (key, validation));
    }
    Ok((keys, max_age))
}
