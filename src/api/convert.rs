//! Between wire and domain: the conversions that several services share.

use std::{
    mem,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use tonic::{Response, Status};

use super::{DESCRIPTORS, edge::Admitted, status, wire};
use crate::{
    ambient::Time,
    directory::{authority::Authority, commit::Repeat},
    issuer::{
        authenticate::{Proof, Recognized},
        introspect::Introspection,
        issue::Issued,
        list::{Listed, TokenState},
    },
    keys::{ring::digest128, signing::StoredKey},
    token::{AccessToken, Error, Format, Position, Reason, Result, Subject, access::Json, secret::SecretText},
};

static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());

/// Turns what a handler did into its reply.
pub async fn answer<T>(work: impl Future<Output = Result<T>>) -> Result<Response<T>, Status> {
    work.await.map(Response::new).map_err(status::of)
}

// === who calls ===

/// Client authentication as it stands in a message.
#[derive(Debug)]
pub struct Credentials {
    client_id: String,
    client_secret: SecretText,
    client_assertion: SecretText,
}

/// A message that may carry client authentication.
pub trait CarriesCredentials {
    /// Takes the credentials out, so that the same request under others is the same request.
    fn take_credentials(&mut self) -> Credentials;
}

macro_rules! carries_credentials {
    ($($message:ident)*) => {$(
        impl CarriesCredentials for wire::$message {
            fn take_credentials(&mut self) -> Credentials {
                Credentials {
                    client_id: mem::take(&mut self.client_id),
                    client_secret: SecretText::new(mem::take(&mut self.client_secret)),
                    client_assertion: SecretText::new(mem::take(&mut self.client_assertion)),
                }
            }
        }
    )*};
}

carries_credentials! {
    IssueTokenRequest RenewTokenRequest RevokeTokenRequest InvalidateTokensRequest IntrospectTokenRequest
    BatchIntrospectTokensRequest AuthenticateMemberRequest RequestOneTimePasswordRequest
}

impl Credentials {
    pub fn is_empty(&self) -> bool {
        let Self { client_id, client_secret, client_assertion } = self;
        [client_id, client_secret.expose(), client_assertion.expose()].iter().all(|text| text.is_empty())
    }

    /// What they prove, if there are any. A client that is named alone is proved by the names of the connection's certificate.
    fn proof(self, identities: Option<&Arc<[String]>>) -> Result<Option<Proof>> {
        if self.is_empty() {
            return Ok(None);
        }
        let Self { client_id, client_secret, client_assertion } = self;
        match (client_secret.expose().is_empty(), client_assertion.expose().is_empty()) {
            (false, false) => {
                Err(ambiguous("client_assertion", "a client's secret and an assertion of it exclude each other"))
            }
            (true, false) => {
                Ok(Some(Proof::Assertion { id: given(&client_id).map(str::to_owned), assertion: client_assertion }))
            }
            (_, true) if client_id.is_empty() => Err(Error::field("client_id", "must be set with client_secret")),
            (false, true) => Ok(Some(Proof::Client { id: client_id, secret: client_secret })),
            (true, true) => Ok(Some(match identities {
                Some(identities) => Proof::Certificate { id: client_id, identities: Arc::clone(identities) },
                // Wrong, as every other secret that is.
                None => Proof::Client { id: client_id, secret: client_secret },
            })),
        }
    }
}

/// The proof that a call brings, if any: its bearer, or the credentials of its message.
pub fn proof(admitted: &Admitted<Recognized>, credentials: Credentials) -> Result<Option<Proof>> {
    match bearer(admitted) {
        Some(_) if !credentials.is_empty() => {
            Err(ambiguous("client_id", "a bearer token and client authentication exclude each other"))
        }
        Some(bearer) => Ok(Some(bearer)),
        None => credentials.proof(admitted.identities.as_ref()),
    }
}

/// The proof that an IssueToken brings: a workload's own token is one, and the only one.
pub fn proof_of_issue(admitted: &Admitted<Recognized>, message: &mut wire::IssueTokenRequest) -> Result<Option<Proof>> {
    let credentials = message.take_credentials();
    let Some(wire::issue_token_request::Grant::Workload(workload)) = &mut message.grant else {
        return proof(admitted, credentials);
    };
    if admitted.caller.is_some() || !credentials.is_empty() {
        return Err(ambiguous("workload", "a workload's own token excludes a bearer token and client authentication"));
    }
    // Taken out: a token that was replaced meanwhile asks for the same.
    let jwt = SecretText::new(mem::take(&mut workload.jwt));
    Ok(Some(Proof::Workload { tenant: given(&message.tenant_id).map(str::to_owned), jwt }))
}

/// The bearer of a call, if it brings one.
pub fn bearer(admitted: &Admitted<Recognized>) -> Option<Proof> {
    admitted.caller.clone().map(Proof::Bearer)
}

fn ambiguous(field: &str, message: &'static str) -> Error {
    Error::new(Reason::AmbiguousCredentials, message).with_violation(field, message)
}

/// What makes a call repeatable, if it has a request id. `body` is the request without its id and credentials.
pub fn repeat(request_id: &str, method: &'static str, body: &impl Message) -> Result<Option<Repeat>> {
    if request_id.is_empty() {
        return Ok(None);
    }
    let request_id = request_id.parse().map_err(|_| Error::field("request_id", "must be a UUID"))?;
    Ok(Some(Repeat { request_id, method, body: digest128(&[&body.encode_to_vec()]) }))
}

/// `None` for an empty string: proto3 does not tell unset from empty.
pub fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

// === time ===

pub fn timestamp(time: Time) -> prost_types::Timestamp {
    let millis = time.as_millis();
    prost_types::Timestamp {
        seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1000).unwrap_or(0) * 1_000_000,
    }
}

/// A moment; `None`: never.
pub fn moment(time: Time) -> Option<prost_types::Timestamp> {
    (!time.is_never()).then(|| timestamp(time))
}

pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A duration that is not negative.
pub fn positive(field: &str, duration: prost_types::Duration) -> Result<Duration> {
    duration.try_into().map_err(|_| Error::field(field, "must be a duration that is not negative"))
}

pub fn position(position: Position) -> String {
    position.to_string()
}

// === JSON ===

/// A message as proto JSON, unset fields absent.
pub fn to_json(name: &str, message: &impl Message) -> Result<Json> {
    let failed = |what: &'static str| Error::internal(what);
    let pool = POOL.as_ref().ok_or_else(|| failed("read the descriptors"))?;
    let descriptor = pool.get_message_by_name(name).ok_or_else(|| failed("find a message's descriptor"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|source| failed("read a message by its descriptor").with_source(source))?;
    let mut text = serde_json::Serializer::new(Vec::new());
    dynamic
        .serialize_with_options(&mut text, &SerializeOptions::new())
        .map_err(|_| Error::field("claims", "must be representable as JSON: numbers must be finite"))?;
    let text = String::from_utf8(text.into_inner()).map_err(|source| failed("write JSON").with_source(source))?;
    Ok(Json::new(text))
}

/// The message of a proto JSON text that [`to_json`] wrote.
pub fn from_json<M: Message + Default>(name: &str, json: &Json) -> Result<M> {
    let failed = |what: &'static str| Error::internal(what);
    let pool = POOL.as_ref().ok_or_else(|| failed("read the descriptors"))?;
    let descriptor = pool.get_message_by_name(name).ok_or_else(|| failed("find a message's descriptor"))?;
    let mut text = serde_json::Deserializer::from_str(json.as_str());
    let dynamic = DynamicMessage::deserialize(descriptor, &mut text)
        .map_err(|source| failed("read frozen JSON").with_source(source))?;
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(|source| failed("read a message").with_source(source))
}

pub const OPTIONS: &str = "jeton.v1.TokenOptions";
pub const CLAIMS: &str = "google.protobuf.Struct";

// === tokens ===

pub const fn format(format: Format) -> wire::TokenFormat {
    match format {
        Format::Jwt => wire::TokenFormat::Jwt,
        Format::Opaque => wire::TokenFormat::Opaque,
    }
}

const fn subject_kind(subject: &Subject) -> wire::SubjectKind {
    match subject {
        Subject::Client(_) | Subject::OtherClient(..) => wire::SubjectKind::Client,
        Subject::Account(_) => wire::SubjectKind::Account,
        Subject::Member(..) | Subject::Group(_, Some(_)) => wire::SubjectKind::Member,
        Subject::Group(_, None) => wire::SubjectKind::EntityGroup,
    }
}

fn actor(token: &AccessToken) -> Option<wire::Actor> {
    token.actors().into_iter().rev().fold(None, |before, acting| {
        let prior_actor = before.map(Box::new);
        Some(wire::Actor { subject: acting.sub, client_id: acting.client.to_string(), prior_actor })
    })
}

pub fn issued(issued: Issued, now: Time) -> (wire::IssuedToken, String) {
    let token = &issued.token;
    let expires = token.expires();
    let (refresh_token, refresh_expire_time) = match &issued.refresh {
        Some((text, expires)) => (text.expose().to_owned(), moment(*expires)),
        None => (String::new(), None),
    };
    let service_urls = match token.subject {
        Subject::Client(_) => issued.tenant.service_urls.clone(),
        Subject::Account(_) | Subject::Member(..) | Subject::Group(..) | Subject::OtherClient(..) => Default::default(),
    };
    let wire = wire::IssuedToken {
        token_id: token.id.to_string(),
        access_token: issued.text,
        token_type: "Bearer".to_owned(),
        expire_time: moment(expires),
        // Both are whole seconds, so they agree to the second.
        expires_in: token
            .ttl_secs
            .map(|_| i64::try_from(expires.since(now.whole_secs()).as_secs()).unwrap_or(i64::MAX)),
        refresh_token,
        refresh_expire_time,
        scopes: token.scopes.to_vec(),
        audience: token.audience.absolute(&issued.issuer).collect(),
        tenant_id: token.tenant.to_string(),
        service_urls,
        session_id: token.session.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    (wire, position(issued.position))
}

pub fn listed(listed: &Listed) -> wire::Token {
    let token = &listed.token;
    let state = match listed.state {
        TokenState::Active => wire::TokenState::Active,
        TokenState::Revoked => wire::TokenState::Revoked,
        TokenState::Expired => wire::TokenState::Expired,
    };
    wire::Token {
        token_id: token.id.to_string(),
        tenant_id: token.tenant.to_string(),
        client_id: token.client.to_string(),
        subject_kind: subject_kind(&token.subject).into(),
        account_id: token.account().map(ToString::to_string).unwrap_or_default(),
        scopes: token.scopes.to_vec(),
        audience: token.audience.absolute(&listed.issuer).collect(),
        session_id: token.session.as_ref().map(ToString::to_string).unwrap_or_default(),
        creator: token.creator(),
        format: format(token.format).into(),
        state: state.into(),
        create_time: Some(timestamp(token.issued())),
        expire_time: moment(token.expires()),
        family_id: token.family.as_ref().map(ToString::to_string).unwrap_or_default(),
        actor: actor(token),
        member_id: token.subject.member().map(ToString::to_string).unwrap_or_default(),
        entity_group_id: token.subject.group().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Whether an answer includes the frozen options and claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    Include,
    LeaveOut,
}

pub fn introspection(introspection: &Introspection, frozen: Frozen) -> Result<wire::Introspection> {
    match introspection {
        Introspection::Inactive => Ok(wire::Introspection { active: Some(false), ..Default::default() }),
        Introspection::Access(verified, None) => {
            active(&verified.token, &verified.issuer, verified.authority().as_deref(), frozen)
        }
        Introspection::Access(verified, Some(reach)) => Ok(wire::Introspection {
            account_reached: Some(reach.reached),
            ..active(&verified.token, &verified.issuer, Some(&reach.authority), frozen)?
        }),
        Introspection::Refresh { family, issuer } => {
            let id = crate::token::TokenId::from_bytes([0; 16]);
            let token = family.access_token(id, &family.minted);
            Ok(wire::Introspection {
                token_use: wire::TokenUse::Refresh.into(),
                token_id: family.id.to_string(),
                scopes: family.scopes.to_vec(),
                issue_time: Some(timestamp(family.rotated)),
                expire_time: moment(family.expires()),
                format: wire::TokenFormat::Opaque.into(),
                ..active(&token, issuer, None, frozen)?
            })
        }
    }
}

/// The same, encoded.
pub fn encoded_introspection(answer: &Introspection, frozen: Frozen) -> Result<Bytes> {
    let encode = || introspection(answer, frozen).map(|answer| Bytes::from(answer.encode_to_vec()));
    match (answer, frozen) {
        // What is said of an active token without its options is frozen in the token, so it is encoded once. Only what
        // a member may do is not.
        (Introspection::Access(verified, None), Frozen::LeaveOut) if verified.token.subject.member().is_none() => {
            if let Some(encoded) = verified.encoded.get() {
                return Ok(encoded.clone());
            }
            let encoded = encode()?;
            Ok(verified.encoded.get_or_init(|| encoded).clone())
        }
        (Introspection::Access(..) | Introspection::Inactive | Introspection::Refresh { .. }, _) => encode(),
    }
}

/// What an active access token stands for; `authority` is that of its member.
pub fn active(
    token: &AccessToken,
    issuer: &str,
    authority: Option<&Authority>,
    frozen: Frozen,
) -> Result<wire::Introspection> {
    let shown = |json: &Option<Json>| json.clone().filter(|_| frozen == Frozen::Include);
    Ok(wire::Introspection {
        active: Some(true),
        token_use: wire::TokenUse::Access.into(),
        token_id: token.id.to_string(),
        tenant_id: token.tenant.to_string(),
        issuer: issuer.to_owned(),
        client_id: token.client.to_string(),
        subject: token.sub(),
        subject_kind: subject_kind(&token.subject).into(),
        account_id: token.account().map(ToString::to_string).unwrap_or_default(),
        ancestor_ids: token.ancestors.iter().map(ToString::to_string).collect(),
        scopes: token.scopes.to_vec(),
        audience: token.audience.absolute(issuer).collect(),
        issue_time: Some(timestamp(token.issued())),
        expire_time: moment(token.expires()),
        session_id: token.session.as_ref().map(ToString::to_string).unwrap_or_default(),
        family_id: token.family.as_ref().map(ToString::to_string).unwrap_or_default(),
        actor: actor(token),
        format: format(token.format).into(),
        options: shown(&token.options).map(|json| from_json(OPTIONS, &json)).transpose()?,
        claims: shown(&token.claims).map(|json| from_json(CLAIMS, &json)).transpose()?,
        member_id: token.subject.member().map(ToString::to_string).unwrap_or_default(),
        roles: authority.map(|authority| authority.roles.clone()).unwrap_or_default(),
        permissions: authority.map(|authority| authority.permissions.clone()).unwrap_or_default(),
        entity_group_id: token.subject.group().map(ToString::to_string).unwrap_or_default(),
        account_reached: None,
        authentication_methods: token.authentication.iter().map(|own| own.method.name().to_owned()).collect(),
        authentication_time: token.authentication.map(|own| timestamp(own.at())),
    })
}

pub fn jwk(key: &StoredKey) -> Result<wire::JsonWebKey> {
    let value =
        serde_json::to_value(key.jwk()?).map_err(|source| Error::internal("write a public key").with_source(source))?;
    let text = |name: &str| value.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    Ok(wire::JsonWebKey {
        kty: text("kty"),
        r#use: text("use"),
        alg: text("alg"),
        kid: text("kid"),
        crv: text("crv"),
        x: text("x"),
        y: text("y"),
        n: text("n"),
        e: text("e"),
    })
}

// === update masks ===

/// Which fields an update changes (AIP-134).
#[derive(Debug)]
pub struct Mask<'a>(Option<Vec<&'a str>>);

impl<'a> Mask<'a> {
    /// Reads a mask that may name `changeable` fields; one that ends with "." takes a key behind it.
    pub fn new(mask: Option<&'a prost_types::FieldMask>, resource: &str, changeable: &[&str]) -> Result<Self> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Ok(Self(None));
        };
        let known = |path: &str| {
            changeable.iter().any(|field| match field.strip_suffix('.') {
                Some(map) => path.strip_prefix(map).is_some_and(|key| key.len() > 1 && key.starts_with('.')),
                None => *field == path,
            })
        };
        let mut error: Option<Error> = None;
        for (i, path) in mask.paths.iter().enumerate().filter(|(_, path)| *path != "*" && !known(path)) {
            let field = format!("update_mask.paths[{i}]");
            let description = format!("{path} is no field of {resource} that can be changed");
            let first = || Error::new(Reason::FieldImmutable, format!("update_mask: {description}"));
            error = Some(error.take().unwrap_or_else(first).with_violation(field, description));
        }
        match error {
            Some(error) => Err(error),
            None => Ok(Self(Some(mask.paths.iter().map(String::as_str).collect()))),
        }
    }

    /// Whether `field` is changed; without a mask those that are set.
    pub fn changes(&self, field: &str, is_set: bool) -> bool {
        let Some(paths) = &self.0 else { return is_set };
        let parent = field.split_once('.').map(|(parent, _)| parent);
        paths.iter().any(|path| *path == "*" || *path == field || Some(*path) == parent)
    }

    /// Whether it names the field itself.
    pub fn names(&self, field: &str) -> bool {
        self.0.as_ref().is_some_and(|paths| paths.contains(&field))
    }

    /// The keys of `map` that are named one by one.
    pub fn keys(&self, map: &str) -> impl Iterator<Item = &'a str> {
        let paths = self.0.clone().unwrap_or_default();
        let prefix = format!("{map}.");
        paths.into_iter().filter_map(move |path| path.strip_prefix(&prefix))
    }
}
