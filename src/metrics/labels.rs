//! The labels of metrics: closed sets only, so that their number is bounded whatever callers send.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $name {
                $($variant,)*
            }

            impl $name {
                pub const ALL: &[Self] = &[$(Self::$variant,)*];

                /// The label's value.
                pub const fn name(self) -> &'static str {
                    match self {
                        $(Self::$variant => $text,)*
                    }
                }

                /// Its place in [`Self::ALL`].
                #[expect(clippy::as_conversions, reason = "the number of a variant without fields fits")]
                pub(super) const fn index(self) -> usize {
                    self as usize
                }
            }
        )*
    };
}

labels! {
    /// By which right a token was issued.
    Grant {
        ClientCredentials "client_credentials",
        Account "account",
        Member "member",
        EntityGroup "entity_group",
        TokenExchange "token_exchange",
        Workload "workload",
        AuthenticatedMember "authenticated_member",
    }

    /// What a revocation names.
    Revoked {
        Token "token",
        Family "family",
        Session "session",
        Client "client",
        Admission "admission",
        Account "account",
        Subtree "account_with_descendants",
        Member "member",
        Membership "membership",
        Group "entity_group",
        Entity "entity",
        GroupMember "group_member",
        Role "role",
        IdentityProfile "identity_profile",
        Tenant "tenant",
        SigningKey "signing_key",
    }

    /// What introspection found.
    Activity {
        Active "true",
        Inactive "false",
    }

    /// What a call competes with for a place.
    Lane {
        Ordinary "ordinary",
        Revocation "revocation",
        Probe "probe",
    }

    /// What is kept in memory.
    Cache {
        Verified "verified_tokens",
        Tenants "tenants",
        Clients "clients",
        Accounts "accounts",
        Groups "entity_groups",
        Entities "entities",
        GroupMembers "group_members",
        Admissions "admissions",
        Members "members",
        Memberships "memberships",
        Roles "roles",
        Profiles "identity_profiles",
        KeySets "key_sets",
        Sessions "sessions",
    }

    /// An operation of the store's port.
    Operation {
        Tail "tail",
        Append "append",
        StatePage "state_page",
        Read "read",
        Holders "holders",
        Write "write",
        Remembered "remembered",
        Settle "settle",
        List "list",
        Rows "rows",
        Mint "mint",
        Token "token",
        Tokens "tokens",
        Family "family",
        Sessions "sessions",
        EndSessions "end_sessions",
        SubjectPage "subject_page",
        Ping "ping",
    }

    /// How an attempt to deliver an event ended.
    Delivery {
        Delivered "delivered",
        Failed "failed",
        Expired "expired",
    }

    /// What is exported by OTLP.
    Signal {
        Traces "traces",
        Metrics "metrics",
    }

    /// gRPC's status codes, in the order of their numbers.
    Code {
        Ok "OK",
        Cancelled "CANCELLED",
        Unknown "UNKNOWN",
        InvalidArgument "INVALID_ARGUMENT",
        DeadlineExceeded "DEADLINE_EXCEEDED",
        NotFound "NOT_FOUND",
        AlreadyExists "ALREADY_EXISTS",
        PermissionDenied "PERMISSION_DENIED",
        ResourceExhausted "RESOURCE_EXHAUSTED",
        FailedPrecondition "FAILED_PRECONDITION",
        Aborted "ABORTED",
        OutOfRange "OUT_OF_RANGE",
        Unimplemented "UNIMPLEMENTED",
        Internal "INTERNAL",
        Unavailable "UNAVAILABLE",
        DataLoss "DATA_LOSS",
        Unauthenticated "UNAUTHENTICATED",
    }
}

/// A method of the contract, as metrics name it. Its place in the list that [`Metrics::new`](super::Metrics::new) takes is its index.
#[derive(Clone, Debug)]
pub struct Method {
    /// `jeton.v1.TokenService`.
    pub service: String,
    /// `IssueToken`.
    pub name: String,
    /// `unary`, `client_stream`, `server_stream` or `bidi_stream`, as gRPC dashboards know them.
    pub kind: &'static str,
    pub lane: Lane,
}

// === impl Code ===

impl Code {
    /// The code with this number.
    pub fn from_number(number: i32) -> Self {
        let known = usize::try_from(number).ok().and_then(|number| Self::ALL.get(number));
        known.copied().unwrap_or(Self::Unknown)
    }

    /// As `grpc_code` says it, after grpc-go, whose names dashboards know.
    pub const fn go_name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "Canceled",
            Self::Unknown => "Unknown",
            Self::InvalidArgument => "InvalidArgument",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PermissionDenied => "PermissionDenied",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::Aborted => "Aborted",
            Self::OutOfRange => "OutOfRange",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
            Self::Unavailable => "Unavailable",
            Self::DataLoss => "DataLoss",
            Self::Unauthenticated => "Unauthenticated",
        }
    }

    /// Whether the failure is the server's, as OpenTelemetry counts it for servers.
    pub const fn is_fault(self) -> bool {
        match self {
            Self::Unknown
            | Self::DeadlineExceeded
            | Self::Unimplemented
            | Self::Internal
            | Self::Unavailable
            | Self::DataLoss => true,
            Self::Ok
            | Self::Cancelled
            | Self::InvalidArgument
            | Self::NotFound
            | Self::AlreadyExists
            | Self::PermissionDenied
            | Self::ResourceExhausted
            | Self::FailedPrecondition
            | Self::Aborted
            | Self::OutOfRange
            | Self::Unauthenticated => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_at_their_numbers() {
        for (number, code) in
            [(0, Code::Ok), (1, Code::Cancelled), (14, Code::Unavailable), (16, Code::Unauthenticated)]
        {
            assert_eq!(Code::from_number(number), code);
        }
        assert_eq!(Code::from_number(17), Code::Unknown);
        assert_eq!(Code::from_number(-1), Code::Unknown);
    }
}
