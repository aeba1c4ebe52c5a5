//! A method, as far as the edge must know it before its handler runs.

use crate::{directory::permit::Rule, metrics::labels};

/// What the edge has to know of a method before it reads the message.
#[derive(Debug)]
pub struct Method {
    /// As in a URI: `/jeton.v1.TokenService/IssueToken`.
    pub path: String,
    /// The declared rule. `None`: health or reflection, which anyone may call; credentials are not looked at.
    pub(super) rule: Option<Rule>,
    /// Which way messages stream.
    pub flow: Flow,
    /// Its place in [`Policy::measured`](super::Policy::measured).
    pub index: usize,
    /// Whether the contract says NO_SIDE_EFFECTS.
    pub reads_only: bool,
    pub lane: Lane,
    /// The largest request message in bytes.
    pub max_message: usize,
    /// The rules that stand in place of its own, by the names of the fields that choose them: those of the grants of
    /// IssueToken, and of what RevokeToken names.
    pub(super) choices: Vec<(String, Rule)>,
}

/// Which side sends a stream of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Unary,
    ClientStream,
    ServerStream,
    BidiStream,
}

/// What a call competes with for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Ordinary,
    /// Revocations have places of their own: a flood of other calls must not keep a stolen token alive.
    Revocation,
    /// Health and reflection: an overloaded replica is not a dead one, and must be able to say so.
    Probe,
}

/// A thousand tokens of 4 KiB; larger ones go in smaller batches.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The largest well-formed request is far below: 8 KiB of token, 2 KiB each of options and claims, 256 scopes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

// === impl Method ===

impl Method {
    /// The rule, if the method is the contract's.
    pub fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }

    /// The rule of a member of the request's oneof that declares its rules one by one, by the name of its field.
    pub fn choice(&self, name: &str) -> Option<&Rule> {
        self.choices.iter().find(|(choice, _)| choice == name).map(|(_, rule)| rule)
    }

    /// `jeton.v1.TokenService`, as health names it.
    pub fn service(&self) -> Option<&str> {
        self.name().split_once('/').map(|(service, _)| service)
    }

    /// `jeton.v1.TokenService/IssueToken`, as spans and metrics name it.
    pub fn name(&self) -> &str {
        self.path.trim_start_matches('/')
    }
}

// === impl Flow ===

impl Flow {
    /// Whether either side sends a stream, which has no deadline of ours.
    pub const fn is_streaming(self) -> bool {
        match self {
            Self::Unary => false,
            Self::ClientStream | Self::ServerStream | Self::BidiStream => true,
        }
    }

    /// As gRPC dashboards know it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStream => "client_stream",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

// === impl Lane ===

impl Lane {
    /// As a label of metrics.
    pub const fn label(self) -> labels::Lane {
        match self {
            Self::Ordinary => labels::Lane::Ordinary,
            Self::Revocation => labels::Lane::Revocation,
            Self::Probe => labels::Lane::Probe,
        }
    }
}
