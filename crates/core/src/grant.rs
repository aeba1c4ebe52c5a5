//! Ways to obtain a token.

/// A way to obtain a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum GrantType {
    #[n(0)]
    ClientCredentials,
    #[n(1)]
    Account,
    #[n(2)]
    Member,
    #[n(3)]
    EntityGroup,
    #[n(4)]
    TokenExchange,
    #[n(5)]
    Workload,
    /// Members sign in through the client.
    #[n(6)]
    AuthenticatedMember,
}

// === impl GrantType ===

impl GrantType {
    /// What the contract calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Account => "account",
            Self::Member => "member",
            Self::EntityGroup => "entity_group",
            Self::TokenExchange => "token_exchange",
            Self::Workload => "workload",
            Self::AuthenticatedMember => "authenticated_member",
        }
    }
}
