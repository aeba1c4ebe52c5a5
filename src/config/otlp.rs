//! Where traces and metrics go, and the attributes that describe this process.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    given::Environment,
    mistake::{Mistake, Origin},
    reader::Reader,
    values,
};

/// How to export by OTLP over gRPC.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// Metadata of every export; values are marked as sensitive, so that nothing shows them.
    pub headers: HeaderMap,
    /// PEM certificates of authorities besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The fraction of calls that is traced unless their callers decide, 0 to 1.
    pub sample_ratio: f64,
    /// How often metrics are exported.
    pub interval: Duration,
    /// How long an export may take.
    pub timeout: Duration,
    /// The attributes in `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, in this order.
    pub resource: Vec<(String, String)>,
}

const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

pub(super) fn read(reader: &mut Reader<'_>, environment: &Environment) -> Option<Otlp> {
    let endpoint = reader.parse("otlp.endpoint", endpoint);
    let headers = reader.parse("otlp.headers", headers);
    let ca_file = reader.parse("otlp.ca_file", values::path);
    let sample_ratio = reader.number("otlp.sample_ratio");
    let (interval, timeout) = (reader.duration("otlp.interval"), reader.duration("otlp.timeout"));
    let Some(endpoint) = endpoint else {
        if !reader.has("otlp.endpoint") {
            for path in ["otlp.headers", "otlp.ca_file"] {
                reader.refuse_given(path, "has no effect without `otlp.endpoint`");
            }
        }
        return None;
    };
    if ca_file.is_some() && endpoint.starts_with("http:") {
        reader.refuse_given("otlp.ca_file", "has no effect with an http:// URL");
    }
    let resource = resource(reader, environment);
    Some(Otlp { endpoint, headers: headers.unwrap_or_default(), ca_file, sample_ratio, interval, timeout, resource })
}

/// Those of the standard variables of OpenTelemetry that describe a process.
fn resource(reader: &mut Reader<'_>, environment: &Environment) -> Vec<(String, String)> {
    let mut text = |name: &str| {
        let value = environment.get(&OsString::from(name)).filter(|value| !value.is_empty())?;
        let text = value.to_str().map(str::to_owned);
        if text.is_none() {
            reader.mistakes.push(Mistake::new(&Origin::Variable(name.to_owned()), "is not UTF-8"));
        }
        text
    };
    let (attributes, service) = (text(ATTRIBUTES), text(SERVICE_NAME));
    let mut resource = Vec::new();
    if let Some(attributes) = attributes {
        match pairs(&attributes) {
            Some(pairs) => resource = pairs,
            None => {
                let wrong = "is not `name=value`, several of them separated by commas, with %xx for special characters";
                reader.mistakes.push(Mistake::new(&Origin::Variable(ATTRIBUTES.to_owned()), wrong));
            }
        }
    }
    resource.extend(service.map(|name| ("service.name".to_owned(), name)));
    resource
}

fn endpoint(text: &str) -> Result<String, String> {
    let url = values::public_url(text.strip_suffix('/').unwrap_or(text))?;
    match url.parse::<http::Uri>() {
        Ok(uri) if matches!(uri.path(), "" | "/") => Ok(url),
        _ => Err(format!("`{text}` must have no path: OTLP over gRPC has none")),
    }
}

/// Messages quote nothing of the text, which is a secret.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let wrong = || "is not `name=value`, several of them separated by commas".to_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(text).ok_or_else(wrong)? {
        let name = HeaderName::try_from(name.to_ascii_lowercase()).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        // gRPC reserves the former, and the latter have binary values.
        if name.as_str().starts_with("grpc-") || name.as_str().ends_with("-bin") || !value.as_bytes().is_ascii() {
            return Err(
                "holds a name that begins with `grpc-` or ends with `-bin`, or a value that is not ASCII".into()
            );
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// `name=value,…` with percent-encoded values (W3C Baggage §3.3.1).
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let name = name.trim();
            (!name.is_empty()).then_some(())?;
            Some((name.to_owned(), decode(value.trim())?))
        })
        .collect()
}

/// Decodes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}
