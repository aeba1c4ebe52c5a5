//! Who acts through a token.

use crate::id::ClientId;

/// Who acts on behalf of the subject (RFC 8693 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
pub enum Actor {
    /// The client that obtained the token, as itself. By far the most common, so it costs nothing more to store.
    #[n(0)]
    Client,
    /// Somebody else, through that client.
    #[n(1)]
    Other(#[n(0)] String),
    /// Whoever acts now, then whoever acted before; at most 4, and never what the others can say.
    #[n(2)]
    Chain(#[n(0)] Vec<Acting>),
}

/// One who acts on behalf of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Acting {
    #[n(0)]
    pub sub: String,
    /// The client through which it acts.
    #[n(1)]
    pub client: ClientId,
}

/// The most actors of a token.
pub const MAX_ACTORS: usize = 4;

// === impl Actor ===

impl Actor {
    /// Whoever acts now, then whoever acted before, through a token that `client` obtained.
    pub fn new(chain: Vec<Acting>, client: &ClientId) -> Option<Self> {
        match chain.as_slice() {
            [] => None,
            [only] if only.client == *client && only.sub == client.to_string() => Some(Self::Client),
            [only] if only.client == *client => Some(Self::Other(only.sub.clone())),
            _ => Some(Self::Chain(chain)),
        }
    }
}
