//! Access tokens on the wire: as they are issued, listed and introspected.

use bytes::Bytes;
use jeton_core::{AccessToken, Format, Json, Position, Subject, Time, TokenId};
use prost::Message as _;

use super::{CLAIMS, OPTIONS, from_json, given, moment, position, timestamp};
use crate::{
    api::wire,
    directory::authority::Authority,
    error::{Error, Result},
    issuer::{
        freshness::Freshness,
        introspect::Introspection,
        issue::Issued,
        list::{ListSubject, Listed, TokenState},
    },
};

/// Whose tokens to list.
pub fn owner(subject: Option<wire::list_tokens_request::Subject>) -> Result<ListSubject> {
    use wire::list_tokens_request::Subject;
    match subject {
        Some(Subject::AccountId(account)) => Ok(ListSubject::Account(account)),
        Some(Subject::ClientId(client)) => Ok(ListSubject::Client(client)),
        Some(Subject::MemberId(member)) => Ok(ListSubject::Member(member)),
        Some(Subject::EntityGroupId(group)) => Ok(ListSubject::Group(group)),
        None => Err(Error::field("subject", "must be set")),
    }
}

/// How fresh what is judged by must be.
pub fn freshness(level: wire::ConsistencyLevel, min_position: &str) -> Result<Freshness> {
    let parse =
        |text: &str| text.parse::<Position>().map_err(|_| Error::field("min_position", "must be 20 hex digits"));
    let min = given(min_position).map(parse).transpose()?;
    Ok(match level {
        wire::ConsistencyLevel::Unspecified | wire::ConsistencyLevel::Full => Freshness::Full { min },
        wire::ConsistencyLevel::Bounded => Freshness::Bounded { min },
    })
}

const fn format(format: Format) -> wire::TokenFormat {
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

pub fn issue_response(issued: Issued, now: Time) -> wire::IssueTokenResponse {
    let (token, position) = self::issued(issued, now);
    wire::IssueTokenResponse { token: Some(token), position }
}

pub fn renew_response(issued: Issued, now: Time) -> wire::RenewTokenResponse {
    let (token, position) = self::issued(issued, now);
    wire::RenewTokenResponse { token: Some(token), position }
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
        expires_in: token.ttl.map(|_| i64::try_from(expires.since(now.whole_secs()).as_secs()).unwrap_or(i64::MAX)),
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
        create_time: Some(timestamp(token.issued)),
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

/// The answer about one token.
pub fn introspect_response(answers: &[Introspection]) -> Result<wire::IntrospectTokenResponse> {
    let answer = answers.first().ok_or_else(|| Error::internal("answer about one token"))?;
    Ok(wire::IntrospectTokenResponse { introspection: Some(introspection(answer, Frozen::Include)?) })
}

fn introspection(introspection: &Introspection, frozen: Frozen) -> Result<wire::Introspection> {
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
            let id = TokenId::from_bytes([0; 16]);
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
        ancestor_ids: ancestors(&token.subject),
        scopes: token.scopes.to_vec(),
        audience: token.audience.absolute(issuer).collect(),
        issue_time: Some(timestamp(token.issued)),
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
        authentication_time: token.authentication.map(|own| timestamp(own.at)),
    })
}

fn ancestors(subject: &Subject) -> Vec<String> {
    let ancestors = subject.lineage().map_or(&[][..], |lineage| &lineage.ancestors);
    ancestors.iter().map(ToString::to_string).collect()
}
