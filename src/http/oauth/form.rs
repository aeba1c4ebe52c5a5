//! What a request brings: a form of parameters, and perhaps a client's credentials beside it.

use std::borrow::Cow;

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{AUTHORIZATION, CONTENT_TYPE},
        request::Parts,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jeton_contract::{reason::Reason, validate::Violation};
use tokio_stream::StreamExt as _;

use crate::{
    api::policy::MAX_MESSAGE_BYTES,
    error::{Error, Result},
};

/// The parameters of a request. Their names and values may be secrets.
pub(super) struct Form<'a>(Vec<Parameter<'a>>);

type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

/// How the header `authorization` says who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// There is none.
    Nothing,
    /// A client's id and secret (RFC 6749 §2.3.1).
    Basic,
    /// A token of ours (RFC 6750 §2.1).
    Bearer,
    /// A scheme that is not supported.
    Unknown,
}

/// A client's id and secret out of the header.
pub(super) struct Basic {
    client_id: String,
    client_secret: String,
}

/// Client authentication as messages of the contract carry it.
pub(super) struct Credentials {
    pub client_id: String,
    pub client_secret: String,
    pub client_assertion: String,
}

/// Requests of OAuth 2 have about ten.
const MAX_PARAMETERS: usize = 64;
/// Those that may be given several times (RFC 8693 §2.1, RFC 8707 §2).
const REPEATABLE: [&str; 2] = ["audience", "resource"];
/// How much of a parameter's name is repeated in a refusal.
const MAX_NAME_LEN: usize = 64;

const FORM: &str = "application/x-www-form-urlencoded";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The body of a request, which must be a form.
///
/// # Errors
/// INVALID_METADATA if it is something else, or if parameters stand in the URL; INVALID_MESSAGE if it is too long.
pub(super) async fn read(parts: &Parts, body: Body) -> Result<Bytes> {
    // What stands in an URL stands in the logs of everything on the way.
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Error::new(Reason::InvalidMetadata, "parameters stand in the body, never in the URL"));
    }
    let declared = only(&parts.headers, CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = declared.and_then(|text| text.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(FORM)) {
        return Err(Error::new(Reason::InvalidMetadata, format!("`content-type` must be {FORM}")));
    }
    let length = http_body::Body::size_hint(&body).lower();
    if length > u64::try_from(MAX_MESSAGE_BYTES).unwrap_or(u64::MAX) {
        return Err(too_long());
    }
    let mut chunks = body.into_data_stream();
    let mut whole = Bytes::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::new(Reason::Cancelled, "the request ended before its time"))?;
        if whole.len() + chunk.len() > MAX_MESSAGE_BYTES {
            return Err(too_long());
        }
        // Most bodies are one chunk.
        whole = if whole.is_empty() { chunk } else { [whole, chunk].concat().into() };
    }
    Ok(whole)
}

fn too_long() -> Error {
    Error::new(Reason::InvalidMessage, format!("the body must have at most {MAX_MESSAGE_BYTES} bytes"))
}

// === impl Form ===

impl<'a> Form<'a> {
    /// Reads the parameters of a body. Those without a value count as left out (RFC 6749 §3.2).
    ///
    /// # Errors
    /// INVALID_FIELD, with all parameters that are given twice.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self> {
        let mut parameters: Vec<Parameter<'a>> = Vec::new();
        let mut repeated = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if parameters.len() == MAX_PARAMETERS {
                return Err(Error::new(
                    Reason::InvalidMessage,
                    format!("the body must have at most {MAX_PARAMETERS} parameters"),
                ));
            }
            if !REPEATABLE.contains(&&*name) && parameters.iter().any(|(earlier, _)| *earlier == name) {
                // What looks like no name may be a secret in the wrong place.
                let is_name = name.len() <= MAX_NAME_LEN && name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
                let field = if is_name { name.clone().into_owned() } else { "a parameter".to_owned() };
                repeated.push(Violation { field, description: "must not be given twice".to_owned() });
            }
            parameters.push((name, value));
        }
        if repeated.is_empty() { Ok(Self(parameters)) } else { Err(Error::fields(repeated)) }
    }

    /// The value of a parameter; empty if it is left out.
    pub(super) fn take(&mut self, name: &str) -> String {
        let found = self.0.iter_mut().find(|(own, _)| own == name);
        found.map(|(_, value)| std::mem::take(value).into_owned()).unwrap_or_default()
    }

    /// The values of a parameter that may be repeated.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<String> {
        let found = self.0.iter_mut().filter(|(own, value)| own == name && !value.is_empty());
        found.map(|(_, value)| std::mem::take(value).into_owned()).collect()
    }

    /// The words of a parameter, separated by spaces.
    pub(super) fn take_words(&mut self, name: &str) -> Vec<String> {
        self.take(name).split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// Client authentication, from the form or from the header.
    ///
    /// # Errors
    /// AMBIGUOUS_CREDENTIALS if there is more than one (RFC 6749 §2.3), INVALID_FIELD for an assertion of another type.
    pub(super) fn take_credentials(&mut self, basic: Option<Basic>) -> Result<Credentials> {
        let own = Credentials {
            client_id: self.take("client_id"),
            client_secret: self.take("client_secret"),
            client_assertion: self.take("client_assertion"),
        };
        match (own.client_assertion.is_empty(), self.take("client_assertion_type").as_str()) {
            (true, "") | (false, JWT_BEARER) => {}
            (true, _) => return Err(Error::field("client_assertion", "must be given with client_assertion_type")),
            (false, _) => return Err(Error::field("client_assertion_type", format!("must be {JWT_BEARER}"))),
        }
        let Some(Basic { client_id, client_secret }) = basic else { return Ok(own) };
        if !own.client_secret.is_empty() || !own.client_assertion.is_empty() {
            return Err(Error::new(
                Reason::AmbiguousCredentials,
                "a client proves itself in the header `authorization` or in the body, not in both",
            ));
        }
        if !own.client_id.is_empty() && own.client_id != client_id {
            return Err(Error::field("client_id", "must be that of the header `authorization`, or be left out"));
        }
        Ok(Credentials { client_id, client_secret, ..own })
    }
}

// === impl Scheme ===

impl Scheme {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(AUTHORIZATION) else { return Self::Nothing };
        match value.as_bytes().split(|byte| *byte == b' ').next() {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"basic") => Self::Basic,
            Some(scheme) if scheme.eq_ignore_ascii_case(b"bearer") => Self::Bearer,
            Some(_) | None => Self::Unknown,
        }
    }
}

// === impl Basic ===

impl Basic {
    /// Takes a client's id and secret out of the headers, so that only a bearer is left there.
    ///
    /// # Errors
    /// INVALID_CLIENT for what cannot be understood (RFC 6749 §5.2).
    pub(super) fn take(headers: &mut HeaderMap) -> Result<Option<Self>> {
        let unreadable = || Error::new(Reason::InvalidClient, "`authorization` must be Basic, with an id and a secret");
        match (Scheme::of(headers), only(headers, AUTHORIZATION)) {
            (Scheme::Nothing | Scheme::Bearer, _) => Ok(None),
            (Scheme::Unknown, _) => Err(Error::new(Reason::InvalidClient, "`authorization` must be Basic or Bearer")),
            (Scheme::Basic, None) => Err(Error::new(Reason::InvalidMetadata, "`authorization` is given twice")),
            (Scheme::Basic, Some(value)) => {
                let basic = Self::read(value).ok_or_else(unreadable)?;
                headers.remove(AUTHORIZATION);
                Ok(Some(basic))
            }
        }
    }

    fn read(value: &HeaderValue) -> Option<Self> {
        let (_, encoded) = value.to_str().ok()?.split_once(' ')?;
        let pair = STANDARD.decode(encoded.trim_start_matches(' ')).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        let (client_id, client_secret) = pair.split_at(colon);
        Some(Self { client_id: decoded(client_id)?, client_secret: decoded(client_secret.get(1..)?)? })
    }
}

/// Id and secret are encoded as in a form, so that neither can hold the colon between them (RFC 6749 §2.3.1). Unlike in a
/// form, `&` and `=` mean nothing.
fn decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..)?;
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    fn basic(pair: &str) -> Option<(String, String)> {
        let mut headers = headers(&format!("Basic {}", STANDARD.encode(pair)));
        let read = Basic::take(&mut headers).ok().flatten();
        assert!(read.is_none() || headers.is_empty(), "a secret is left in the headers");
        read.map(|basic| (basic.client_id, basic.client_secret))
    }

    #[test]
    fn id_and_secret_are_decoded_as_in_a_form() {
        let pair = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(basic("me:s3cret"), pair("me", "s3cret"));
        assert_eq!(basic("me:a%3Ab+c%26%3d=&"), pair("me", "a:b c&==&"));
        assert_eq!(basic("me:100%"), pair("me", "100%"));
        assert_eq!(basic("me:a:b"), pair("me", "a:b"));
        assert_eq!(basic("me:"), pair("me", ""));
        assert_eq!(basic("me"), None);
        assert_eq!(basic("me:%ff"), None);
    }

    #[test]
    fn only_basic_and_bearer_are_understood() {
        assert!(Basic::take(&mut headers("Bearer x")).unwrap().is_none());
        assert!(Basic::take(&mut HeaderMap::new()).unwrap().is_none());
        for wrong in ["Digest x", "Basic", "Basic ", "Basic !", "x"] {
            let error = Basic::take(&mut headers(wrong)).err().unwrap();
            assert_eq!(error.reason(), Reason::InvalidClient, "{wrong}");
        }
    }

    #[test]
    fn a_parameter_stands_once_in_a_form() {
        let mut form = Form::parse(b"a=1&b=&audience=x&audience=y+z&audience=&scope=p++q").unwrap();
        assert_eq!((form.take("a"), form.take("b"), form.take("c")), ("1".into(), String::new(), String::new()));
        assert_eq!(form.take_all("audience"), ["x", "y z"]);
        assert_eq!(form.take_words("scope"), ["p", "q"]);
        let error = Form::parse(b"a=1&b=2&a=3&b=").err().unwrap();
        let fields: Vec<&str> = error.violations().iter().map(|own| own.field.as_str()).collect();
        assert_eq!(fields, ["a", "b"]);
    }

    #[test]
    fn a_form_has_an_end() {
        let many: Vec<String> = (0..=MAX_PARAMETERS).map(|i| format!("p{i}=")).collect();
        assert_eq!(Form::parse(many.join("&").as_bytes()).err().unwrap().reason(), Reason::InvalidMessage);
        assert!(Form::parse(many[1..].join("&").as_bytes()).is_ok());
    }
}
