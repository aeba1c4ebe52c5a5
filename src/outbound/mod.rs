//! Calls to other services over HTTPS: identity providers, key sets, webhooks.
//!
//! Promises: a URL that a tenant chose reaches only the public internet and what the operator listed: each address is
//! checked as it is connected to, so a name cannot resolve differently in between; redirects are not followed;
//! every call ends by its deadline; no more of a body is read than its limit.
//!
//! Invariant: knows nothing of tokens and tenants, and takes nothing from the environment, so no proxy either. Start
//! reading at [`Outbound`], then [`jwks::JwksCache`].

mod address;
pub mod allow;
mod destination;
pub mod documents;
mod error;
pub mod jwks;
pub mod key_set;
pub mod published;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
};
pub use reqwest::Url;
use reqwest::{Certificate, Client, Method, Request, redirect, retry};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use allow::Allow;
use destination::{Resolver, host};
pub use error::{Error, Result};

/// How calls go out.
#[derive(Clone, Debug)]
pub struct Options {
    /// What may be called although it is not public.
    pub allow: Vec<Allow>,
    /// PEM certificates of authorities that are trusted besides the system's.
    pub authorities: Option<Vec<u8>>,
    /// The longest that a call may take, from the name's resolution to the last byte.
    pub timeout: Duration,
}

/// Calls other services. One for each process: its connections are shared.
pub struct Outbound {
    allow: Arc<[Allow]>,
    authorities: Vec<Certificate>,
    timeout: Duration,
    /// Made at the first call: reading the system's certificates takes time and memory, which a service without outbound
    /// calls should not spend, and such a service also runs in an image without certificates.
    client: OnceLock<Client>,
}

/// The content of a JSON resource, and for how long it is fresh.
#[derive(Debug)]
pub struct Document<T> {
    pub value: T,
    /// `max-age` of Cache-Control (RFC 9111 §5.2.2.1), zero for `no-cache` and `no-store`. `None`: there was no such header.
    pub max_age: Option<Duration>,
}

/// The most that is read of a document or a reply: metadata and key sets are a few KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a connection is kept for the next call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to one host that are kept.
const MAX_IDLE: usize = 4;
/// The most headers of a reply that are read in HTTP/2, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

// === impl Outbound ===

impl Outbound {
    /// Prepares calls.
    ///
    /// # Errors
    /// [`Error::Unusable`] if the authorities are no certificates.
    pub fn new(options: Options) -> Result<Self> {
        let Options { allow, authorities, timeout } = options;
        let authorities = authorities.map(|pem| Certificate::from_pem_bundle(&pem)).transpose();
        let outbound = Self {
            allow: allow.into(),
            authorities: authorities.map_err(Error::unusable)?.unwrap_or_default(),
            timeout,
            client: OnceLock::new(),
        };
        if !outbound.authorities.is_empty() {
            // A wrong file should stop the start and not the first call.
            outbound.client()?;
        }
        Ok(outbound)
    }

    /// The deadline of a call that begins now and has no other.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Reads a JSON resource of up to `limit` bytes.
    ///
    /// # Errors
    /// As [`Self::send`]; [`Error::Refused`] for every status but 200, and [`Error::Unreadable`] for what is no JSON by
    /// its content type or does not read as `T`.
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        url: &Url,
        limit: usize,
        deadline: Instant,
    ) -> Result<Document<T>> {
        let mut request = Request::new(Method::GET, url.clone());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let host = host(url).to_owned();
        let response = self.call(request, limit, deadline).await?;
        if response.status() != StatusCode::OK {
            return Err(Error::Refused { host, status: response.status().as_u16() });
        }
        if !is_json(response.headers()) {
            return Err(Error::Unreadable { host, why: "its content type is not JSON", source: None });
        }
        let max_age = max_age(response.headers());
        match serde_json::from_slice(response.body()) {
            Ok(value) => Ok(Document { value, max_age }),
            Err(error) => {
                Err(Error::Unreadable { host, why: "it is not the JSON that was asked for", source: Some(error) })
            }
        }
    }

    /// Posts `body` and reads up to [`MAX_BODY_BYTES`] of the reply, whatever its status.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<Response<Vec<u8>>> {
        let mut request = Request::new(Method::POST, url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        self.call(request, MAX_BODY_BYTES, deadline).await
    }

    /// Sends a request and reads up to `limit` bytes of the reply, whatever its status. A redirect is a reply.
    ///
    /// It ends by `deadline`, and never takes longer than the configured timeout.
    ///
    /// # Errors
    /// [`Error::Forbidden`] before anything is sent; [`Error::Unreachable`], [`Error::TimedOut`], [`Error::TooLarge`].
    pub async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Response<Vec<u8>>> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let request = Request::try_from(request).map_err(|_| Error::Forbidden { host, why: "it is no URL" })?;
        self.call(request, limit, deadline).await
    }

    async fn call(&self, request: Request, limit: usize, deadline: Instant) -> Result<Response<Vec<u8>>> {
        destination::check(request.url(), &self.allow)?;
        let host = host(request.url()).to_owned();
        let exchange = self.exchange(request, limit, &host);
        match timeout_at(deadline.min(self.deadline()), exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::TimedOut { host }),
        }
    }

    async fn exchange(&self, request: Request, limit: usize, host: &str) -> Result<Response<Vec<u8>>> {
        let failed = |error| Error::of(error, host);
        let too_large = || Error::TooLarge { host: host.to_owned(), limit };
        let mut answer = self.client()?.execute(request).await.map_err(failed)?;
        if answer.content_length().is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > limit)) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if chunk.len() > limit - body.len() {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }

    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            // A code may be used once. What was not sent at all is sent again by the pool below.
            .retry(retry::never())
            .dns_resolver(Resolver(Arc::clone(&self.allow)))
            .connect_timeout(self.timeout)
            .timeout(self.timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .user_agent("jeton")
            .tls_certs_merge(self.authorities.iter().cloned())
            .build()
            .map_err(Error::unusable)?;
        // Two first calls may both make one; the second is dropped.
        Ok(self.client.get_or_init(|| made))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("allow", &self.allow).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { allow: Vec::new(), authorities: None, timeout: Duration::from_secs(3) }
    }
}

// === replies ===

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // RFC 6839 §3.1: `application/jwk-set+json` is JSON, too.
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(|text| text.trim().to_ascii_lowercase());
    directives.find_map(|directive| match directive.as_str() {
        "no-cache" | "no-store" => Some(Duration::ZERO),
        other => other.strip_prefix("max-age=")?.trim_matches('"').parse().ok().map(Duration::from_secs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_document_is_read_from_its_headers() {
        let age =
            |text: &'static str| max_age(&HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(text))]));
        assert_eq!(age("public, max-age=60, must-revalidate"), Some(Duration::from_secs(60)));
        assert_eq!(age("Max-Age=\"5\""), Some(Duration::from_secs(5)));
        assert_eq!(age("no-store"), Some(Duration::ZERO));
        for nothing in ["public", "max-age=-1", "max-age=x", "s-maxage=5", "max-age=99999999999999999999999"] {
            assert_eq!(age(nothing), None, "{nothing}");
        }
        assert_eq!(max_age(&HeaderMap::new()), None);
    }

    #[test]
    fn authorities_that_are_no_certificates_stop_the_start() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        for authorities in [pem, b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_vec()] {
            let options = Options { authorities: Some(authorities), ..Options::default() };
            assert!(matches!(Outbound::new(options), Err(Error::Unusable { .. })));
        }
    }
}
