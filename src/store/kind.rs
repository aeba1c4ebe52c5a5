//! What kinds of records there are.

/// What kind of record in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A tenant; all stand in the directory of `system`.
    Tenant,
    /// A client.
    Client,
    /// When a client's secrets were last used; approximate, so apart from the client's record.
    SecretUse,
    /// An account.
    Account,
    /// An entity group.
    Group,
    /// An account's place in an entity group; its id is the ids of both.
    Entity,
    /// A member's place in an entity group; its id is the ids of both.
    GroupMember,
    /// A client's admission.
    Admission,
    /// A member.
    Member,
    /// A role.
    Role,
    /// A member's place in an account; its id is the ids of both.
    Membership,
    /// How many memberships an account or a member has, or how many identity profiles a tenant.
    Tally,
    /// An identity profile.
    IdentityProfile,
    /// A member's way in through an identity profile: only its name and lists, the rest is in the member's record.
    Identity,
    /// An event that is to be delivered, in the directory of `system`.
    Event,
    /// A one-time password that was asked for, in the directory of `system`.
    OneTimePassword,
    /// How often it was attempted of late to sign in as somebody.
    Attempts,
    /// A tenant's signing keys, all in one record.
    KeySet,
    /// Until when the master keys are needed, in the directory of `system`.
    MasterKeys,
}

// === impl Kind ===

impl Kind {
    /// The kind's name in stored keys. Never change one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Client => "client",
            Self::SecretUse => "secretuse",
            Self::Account => "account",
            Self::Group => "group",
            Self::Entity => "entity",
            Self::GroupMember => "groupmember",
            Self::Admission => "admission",
            Self::Member => "member",
            Self::Role => "role",
            Self::Membership => "membership",
            Self::Tally => "tally",
            Self::IdentityProfile => "identityprofile",
            Self::Identity => "identity",
            Self::Event => "event",
            Self::OneTimePassword => "otp",
            Self::Attempts => "attempts",
            Self::KeySet => "keyset",
            Self::MasterKeys => "masterkeys",
        }
    }
}
