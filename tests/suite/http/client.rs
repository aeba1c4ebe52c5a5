//! A client that sends exactly what it is given: HTTP/1.1 on a connection of its own.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::service::{calls::Credentials, harness::Service};

/// A reply.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Their names in small letters.
    headers: Vec<(String, String)>,
    pub body: String,
}

pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Sends bytes as they are, and reads until the server closes.
pub async fn send(service: &Service, request: &[u8]) -> Answer {
    send_to(service.http, request).await
}

async fn send_to(server: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    Answer::read(&String::from_utf8(reply).unwrap())
}

pub async fn ask(service: &Service, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    ask_at(service.http, method, path, headers, body).await
}

/// The same of another server.
pub async fn ask_at(server: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: auth.example.com\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    send_to(server, request.as_bytes()).await
}

pub async fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(service, "GET", path, headers, "").await
}

/// A form for an endpoint of tenant `default`.
pub async fn post(service: &Service, endpoint: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
    post_in(service, "default", endpoint, headers, form).await
}

pub async fn post_in(
    service: &Service,
    tenant: &str,
    endpoint: &str,
    headers: &[(&str, &str)],
    form: &[(&str, &str)],
) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([FORM]).collect();
    ask(service, "POST", &format!("/t/{tenant}/oauth2/{endpoint}"), &headers, &encoded(form)).await
}

pub fn encoded(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// The value of `authorization`.
pub fn basic(client: &Credentials) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(&client.client_id), encode(&client.client_secret))))
}

/// The chunks of a body.
fn joined(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let (chunk, next) = after.split_at(usize::from_str_radix(size, 16).unwrap());
        whole += chunk;
        rest = next.strip_prefix("\r\n").unwrap_or_default();
    }
    whole
}

// === impl Answer ===

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let mut answer = Self { status, headers: lines.map(header).collect(), body: body.to_owned() };
        if answer.header("transfer-encoding") == "chunked" {
            answer.body = joined(body);
        }
        answer
    }

    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The JSON of a reply that must have succeeded and that nobody may keep.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.assert_private();
        self.json()
    }

    /// That a request was refused so, and that the description has all of `words`.
    #[track_caller]
    pub fn refused(&self, status: u16, error: &str, words: &[&str]) {
        let answer = self.json();
        assert_eq!((self.status, answer["error"].as_str()), (status, Some(error)), "{self:?}");
        let description = answer["error_description"].as_str().unwrap();
        for word in words {
            assert!(description.contains(word), "{word} is not in: {description}");
        }
        let is_allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
        assert!(description.chars().all(is_allowed), "RFC 6749 §5.2: {description}");
        assert_eq!(self.header("www-authenticate").is_empty(), !matches!(status, 401 | 403), "{self:?}");
        self.assert_private();
    }

    /// What a caller can tell apart.
    pub fn seen(&self) -> (u16, String) {
        (self.status, self.body.clone())
    }

    #[track_caller]
    fn assert_private(&self) {
        assert_eq!((self.header("cache-control"), self.header("pragma")), ("no-store", "no-cache"), "{self:?}");
        assert!(!self.header("x-request-id").is_empty(), "{self:?}");
    }
}
