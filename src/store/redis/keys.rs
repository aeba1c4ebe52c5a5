//! The names of keys. What one script touches has one hash tag; keys of tokens are short because there are many.
//!
//! Tags are made of ids, which hold no braces. Names that tenants choose stand after the tag, where braces mean nothing.

use aws_lc_rs::digest;
use jeton_core::{FamilyId, TenantId, TokenId, base62};

use crate::store::{Index, Kind, SessionKey, SubjectKey, Unique};

/// The log's head, floor, and the history that it was written in.
pub const LOG_META: &str = "j:{log}:meta";
/// The log's entries.
pub const LOG_STREAM: &str = "j:{log}:stream";
/// The state map.
pub const LOG_MAP: &str = "j:{log}:map";
/// When the map's slots may be forgotten.
pub const LOG_EXPIRY: &str = "j:{log}:expiry";

pub fn token(id: &TokenId) -> String {
    tagged("j:t:{", id.random_bytes())
}

pub fn family(id: &FamilyId) -> String {
    tagged("j:f:{", id.random_bytes())
}

/// Named by a digest: what platforms call their sessions can be long.
pub fn session(key: &SessionKey) -> String {
    let mut name = digest::Context::new(&digest::SHA256);
    name.update(key.tenant.to_string().as_bytes());
    name.update(&[0]);
    name.update(key.session.as_str().as_bytes());
    tagged("j:s:{", name.finish().as_ref().first_chunk())
}

pub fn subject(key: &SubjectKey) -> String {
    format!("j:x:{{{key}}}")
}

pub fn record(tenant: &TenantId, kind: Kind, id: &str) -> String {
    format!("j:{{{tenant}}}:{}:{id}", kind.name())
}

pub fn index(index: &Index) -> String {
    let Index { tenant, kind, parent } = index;
    match parent {
        None => format!("j:{{{tenant}}}:x:{}", kind.name()),
        Some(parent) => format!("j:{{{tenant}}}:x:{}:{parent}", kind.name()),
    }
}

pub fn unique(tenant: &TenantId, Unique { name, value }: &Unique) -> String {
    format!("j:{{{tenant}}}:u:{}:{}:{value}", name.kind.name(), name.field)
}

pub fn request(tenant: &TenantId, key: &[u8; 16]) -> String {
    format!("j:{{{tenant}}}:q:{:032x}", u128::from_be_bytes(*key))
}

fn tagged(begin: &str, bytes: Option<&[u8; 16]>) -> String {
    let mut key = String::with_capacity(begin.len() + 23);
    key.push_str(begin);
    // These ids are never literals.
    base62::encode_into(bytes.unwrap_or(&[0; 16]), &mut key);
    key.push('}');
    key
}

#[cfg(test)]
mod tests {
    use super::{index as index_key, session as session_key, *};

    #[test]
    fn keys_of_tokens_are_short_and_sessions_are_distinct() {
        let token = token(&TokenId::from_bytes([255; 16]));
        assert!(token.len() <= 30, "{token}");
        let session = |tenant: &str, session: &str| {
            session_key(&SessionKey { tenant: tenant.parse().unwrap(), session: session.parse().unwrap() })
        };
        assert!(session("default", "x").len() <= 30);
        assert_ne!(session("default", "x"), session("default", "y"));
        assert_ne!(session("default", "x"), session("system", "x"));
    }

    #[test]
    fn an_index_of_all_is_distinct_from_one_with_a_parent() {
        let index = |parent: Option<&str>| {
            index_key(&Index {
                tenant: "default".parse().unwrap(),
                kind: Kind::Account,
                parent: parent.map(Into::into),
            })
        };
        assert_ne!(index(None), index(Some("")));
        assert_eq!(index(Some("acc_1")), "j:{default}:x:account:acc_1");
    }
}
