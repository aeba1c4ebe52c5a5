//! What callers ask for when they want a token.

use std::time::Duration;

use jeton_core::{Format, Json, SessionId};

use crate::directory::commit::Repeat;

/// What to issue.
#[derive(Clone, Debug)]
pub struct Request {
    pub grant: Grant,
    pub scopes: Vec<String>,
    pub audience: Vec<String>,
    pub lifetime: Lifetime,
    pub session: Option<SessionId>,
    pub options: Option<Json>,
    pub claims: Option<Json>,
    pub format: Option<Format>,
    pub refresh: bool,
    pub repeat: Option<Repeat>,
}

/// A way to obtain a token.
#[derive(Clone, Debug)]
pub enum Grant {
    /// For the authenticated client itself, in a tenant that admitted it; left out: at home.
    ClientCredentials { tenant: Option<String> },
    /// For the client that the workload which calls stands for.
    Workload { tenant: Option<String> },
    /// For an account, by id or foreign id.
    Account(String),
    /// For a member in one account; both by id or foreign id.
    Member { member: String, account: Option<String> },
    /// For an entity group, or for a member of it; both by id or foreign id.
    EntityGroup { group: String, member: Option<String> },
    /// For the subject of a token; `actor`: the token of who is to act on its behalf.
    TokenExchange { subject: String, actor: Option<String> },
}

/// How long the token is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    Default,
    For(Duration),
    Never,
}
