//! The claims of our JWTs (RFC 9068) and their strict reading.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    access::{AccessToken, Format},
    actor::{Acting, Actor, MAX_ACTORS},
    audience::Audience,
    authentication::{Authentication, Method},
    id::{ClientId, TenantId},
    scope::Scopes,
    source::Source,
    subject::{Lineage, Subject},
    text::{Json, KeyId},
};
use crate::time::Time;

/// The media type of RFC 9068 §2.1, so that no other JWT can stand in for an access token.
pub const TYP: &str = "at+jwt";
/// The longest token that is made or read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 7 * 1024;

/// The header of our JWTs. Any other member, `crit` above all, makes a token not ours (RFC 7515 §4.1.11).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub alg: String,
    pub kid: String,
    pub typ: String,
}

/// The claims as they stand in the token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    aud: Aud,
    /// Seconds since the epoch. Required: a JWT always expires.
    exp: u64,
    iat: u64,
    jti: String,
    client_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Act>,
    pub ten: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acc: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    anc: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fam: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    src: Vec<String>,
    rev: String,
    /// How the member signed in; always with `auth_time`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amr: Vec<String>,
    /// When, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opt: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ext: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Aud {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    sub: String,
    client_id: String,
    /// Who acted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Box<Act>>,
}

// === impl Claims ===

impl Claims {
    /// The claims of a token that `issuer` signs.
    pub fn new(token: &AccessToken, issuer: &str) -> Option<Self> {
        let mut audience: Vec<String> = token.audience.absolute(issuer).collect();
        let aud = if audience.len() == 1 { Aud::One(audience.remove(0)) } else { Aud::Many(audience) };
        let raw = |json: &Option<Json>| match json {
            Some(json) => RawValue::from_string(json.as_str().to_owned()).ok().map(Some),
            None => Some(None),
        };
        let lineage = token.subject.lineage();
        let ancestors = lineage.map_or(&[][..], |lineage| &lineage.ancestors);
        Some(Self {
            iss: issuer.to_owned(),
            sub: token.sub(),
            aud,
            exp: token.issued.as_secs().checked_add(token.ttl?.as_secs())?,
            iat: token.issued.as_secs(),
            jti: token.id.to_string(),
            client_id: token.client.to_string(),
            scope: token.scopes.to_claim(),
            sid: token.session.as_ref().map(ToString::to_string),
            act: Act::new(token.actors()),
            ten: token.tenant.to_string(),
            acc: lineage.map(|lineage| lineage.account.to_string()),
            anc: ancestors.iter().map(ToString::to_string).collect(),
            mem: token.subject.member().map(ToString::to_string),
            grp: token.subject.group().map(ToString::to_string),
            fam: token.family.as_ref().map(ToString::to_string),
            src: token.sources.iter().map(ToString::to_string).collect(),
            rev: token.rev.to_string(),
            amr: token.authentication.iter().map(|own| own.method.name().to_owned()).collect(),
            auth_time: token.authentication.map(|own| own.at.as_secs()),
            opt: raw(&token.options)?,
            ext: raw(&token.claims)?,
        })
    }

    /// The token that the claims describe, or `None` if they contradict themselves or the issuer.
    pub fn into_token(self, issuer: &str, signing_key: KeyId) -> Option<AccessToken> {
        if self.iss != issuer {
            return None;
        }
        let ttl = self.exp.checked_sub(self.iat).filter(|ttl| *ttl > 0)?;
        if self.exp > Time::NEVER.as_secs() {
            return None;
        }
        let subject = self.subject()?;
        let client: ClientId = self.client_id.parse().ok()?;
        let actor = Actor::new(self.act.map_or_else(|| Some(Vec::new()), Act::into_chain)?, &client);
        let audience = match &self.aud {
            Aud::One(one) => Audience::new([one], issuer),
            Aud::Many(many) => Audience::new(many, issuer),
        };
        let authentication = match (self.amr.as_slice(), self.auth_time) {
            ([], None) => None,
            ([name], Some(secs)) => Some(Authentication { method: Method::of(name)?, at: Time::from_secs(secs) }),
            _ => return None,
        };
        let tenant: TenantId = self.ten.parse().ok()?;
        let sources = self.src.iter().map(|text| Source::parse(text, &tenant)).collect::<Option<_>>()?;
        let json = |raw: Option<Box<RawValue>>| raw.map(|raw| Json::new(raw.get()));
        let token = AccessToken {
            id: self.jti.parse().ok()?,
            tenant,
            client,
            subject,
            scopes: Scopes::from_claim(&self.scope),
            audience,
            format: Format::Jwt,
            actor,
            sources,
            session: self.sid.map(|sid| sid.parse()).transpose().ok()?,
            home: None,
            options: json(self.opt),
            claims: json(self.ext),
            issued: Time::from_secs(self.iat),
            ttl: Some(Duration::from_secs(ttl)),
            rev: self.rev.parse().ok()?,
            signing_key: Some(signing_key),
            family: self.fam.map(|id| id.parse()).transpose().ok()?,
            request: None,
            authentication,
        };
        (token.sub() == self.sub).then_some(token)
    }

    /// What the token acts as.
    fn subject(&self) -> Option<Subject> {
        let member = self.mem.as_ref().map(|member| member.parse()).transpose().ok()?;
        let group = self.grp.as_ref().map(|group| group.parse()).transpose().ok()?;
        let lineage = match &self.acc {
            Some(account) => {
                let ancestors = self.anc.iter().map(|id| id.parse()).collect::<Result<_, _>>().ok()?;
                Some(Lineage { account: account.parse().ok()?, ancestors })
            }
            None if self.anc.is_empty() => None,
            None => return None,
        };
        Some(match (group, lineage, member) {
            (Some(group), None, member) => Subject::Group(group, member),
            (None, Some(lineage), Some(member)) => Subject::Member(lineage, member),
            (Some(_), Some(_), _) | (None, None, Some(_)) => return None,
            (None, lineage, None) if self.sub == self.client_id => Subject::Client(lineage),
            (None, Some(lineage), None) if self.sub == lineage.account.to_string() => Subject::Account(lineage),
            (None, lineage, None) => Subject::OtherClient(self.sub.parse().ok()?, lineage),
        })
    }
}

// === impl Act ===

impl Act {
    /// The claim that names `chain`, the present actor first.
    fn new(chain: Vec<Acting>) -> Option<Self> {
        let nest = |inner: Option<Self>, acting: Acting| {
            Some(Self { sub: acting.sub, client_id: acting.client.to_string(), act: inner.map(Box::new) })
        };
        chain.into_iter().rev().fold(None, nest)
    }

    fn into_chain(self) -> Option<Vec<Acting>> {
        let mut chain = Vec::new();
        let mut next = Some(self);
        while let Some(act) = next {
            if chain.len() == MAX_ACTORS {
                return None;
            }
            chain.push(Acting { sub: act.sub, client: act.client_id.parse().ok()? });
            next = act.act.map(|inner| *inner);
        }
        Some(chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u8) -> Vec<Acting> {
        (0..length).map(|n| Acting { sub: format!("s{n}"), client: ClientId::from_bytes([n; 16]) }).collect()
    }

    #[test]
    fn the_present_actor_is_outermost_and_four_is_the_most() {
        assert!(Act::new(Vec::new()).is_none());
        for length in 1..=4 {
            let act = Act::new(chain(length)).unwrap();
            assert_eq!(act.sub, "s0");
            assert_eq!(act.into_chain(), Some(chain(length)));
        }
        assert_eq!(Act::new(chain(5)).unwrap().into_chain(), None);
    }
}
