//! Pages of lists (AIP-158).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton_contract::reason::Reason;

use super::caller::Caller;
use crate::{
    error::{Error, Result},
    keys::ring::{Keyring, Sealed, digest128},
};

/// Which page of which query is wanted.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// The most items wanted.
    pub size: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// What the page token is bound to.
    query: [u8; 16],
}

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Opens the next page; empty: this was the last one.
    pub next: String,
}

/// Items of a page if none are asked for.
pub const DEFAULT_SIZE: usize = 50;
/// The most items of a page; also the most rows that one page examines.
pub const MAX_SIZE: usize = 1000;

// === impl PageRequest ===

impl PageRequest {
    /// Reads a page token, which must come from the same query (`parts`) of the same caller.
    pub fn new(size: i32, token: &str, caller: &Caller, parts: &[&[u8]], ring: &Keyring) -> Result<Self> {
        let size = match usize::try_from(size) {
            Ok(0) | Err(_) => DEFAULT_SIZE,
            Ok(size) => size.min(MAX_SIZE),
        };
        let tenant = caller.tenant.to_string();
        let query = digest128(&[&[tenant.as_bytes(), caller.sub.as_bytes()], parts].concat());
        let cursor = if token.is_empty() { None } else { Some(open(token, &query, ring)?) };
        Ok(Self { size, cursor, query })
    }

    /// The token of the page that begins after `cursor`.
    pub fn next(&self, cursor: &str, ring: &Keyring) -> Result<String> {
        let sealed = ring
            .seal(Sealed::PageToken, &self.query, cursor.as_bytes())
            .map_err(|source| Error::internal("seal a page token").with_source(source))?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }
}

fn open(token: &str, query: &[u8], ring: &Keyring) -> Result<String> {
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|sealed| ring.open(Sealed::PageToken, query, &sealed))
        .and_then(|cursor| String::from_utf8(cursor).ok())
        .ok_or_else(|| {
            Error::new(Reason::PageTokenInvalid, "the page token is damaged or belongs to another query")
                .with_violation("page_token", "must be the next_page_token of the same query by the same caller")
        })
}
