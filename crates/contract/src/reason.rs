//! Why calls fail, by the names that the contract gives.

/// The class of a reason: the part of gRPC's status codes that this service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    Aborted,
    ResourceExhausted,
    Unavailable,
    DeadlineExceeded,
    Unimplemented,
    Cancelled,
    Internal,
}

macro_rules! reasons {
    ($($class:ident { $($reason:ident $name:literal,)* })*) => {
        /// Why a call failed: `ErrorReason` of the contract, which documents each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($($reason,)*)*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$($(Self::$reason,)*)*];

            /// The reason of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.name() == name)
            }

            /// The name in the contract, without its prefix.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$reason => $name,)*)*
                }
            }

            pub const fn class(self) -> Class {
                match self {
                    $($(Self::$reason)|* => Class::$class,)*
                }
            }
        }
    };
}

reasons! {
    InvalidArgument {
        InvalidField "INVALID_FIELD",
        InvalidMessage "INVALID_MESSAGE",
        InvalidMetadata "INVALID_METADATA",
        AmbiguousCredentials "AMBIGUOUS_CREDENTIALS",
        TtlOutOfRange "TTL_OUT_OF_RANGE",
        FilterInvalid "FILTER_INVALID",
        PageTokenInvalid "PAGE_TOKEN_INVALID",
        RequestIdReused "REQUEST_ID_REUSED",
        TokenTooLarge "TOKEN_TOO_LARGE",
        TokenRequired "TOKEN_REQUIRED",
        FieldImmutable "FIELD_IMMUTABLE",
        ReplayMismatch "REPLAY_MISMATCH",
    }
    Unauthenticated {
        TokenMissing "TOKEN_MISSING",
        TokenInvalid "TOKEN_INVALID",
        InvalidClient "INVALID_CLIENT",
        RefreshInvalid "REFRESH_INVALID",
        RefreshExpired "REFRESH_EXPIRED",
        RefreshReused "REFRESH_REUSED",
        SessionExpired "SESSION_EXPIRED",
        InvalidCredentials "INVALID_CREDENTIALS",
    }
    PermissionDenied {
        ScopeInsufficient "SCOPE_INSUFFICIENT",
        ScopeNotAllowed "SCOPE_NOT_ALLOWED",
        AudienceNotAllowed "AUDIENCE_NOT_ALLOWED",
        GrantNotAllowed "GRANT_NOT_ALLOWED",
        TenantNotGranted "TENANT_NOT_GRANTED",
        EternalNotAllowed "ETERNAL_NOT_ALLOWED",
    }
    NotFound {
        NotFound "NOT_FOUND",
    }
    AlreadyExists {
        ForeignIdTaken "FOREIGN_ID_TAKEN",
        RegistrationIdTaken "REGISTRATION_ID_TAKEN",
        TenantIdTaken "TENANT_ID_TAKEN",
        RoleNameTaken "ROLE_NAME_TAKEN",
        MembershipExists "MEMBERSHIP_EXISTS",
        IdentityTaken "IDENTITY_TAKEN",
        WorkloadTaken "WORKLOAD_TAKEN",
        EmailTaken "EMAIL_TAKEN",
    }
    FailedPrecondition {
        AccountHasChildren "ACCOUNT_HAS_CHILDREN",
        ChildrenDisabled "CHILDREN_DISABLED",
        AccountTooDeep "ACCOUNT_TOO_DEEP",
        Disabled "DISABLED",
        SecretLimit "SECRET_LIMIT",
        BuiltIn "BUILT_IN",
        RoleInUse "ROLE_IN_USE",
        MemberLimit "MEMBER_LIMIT",
        MembershipLimit "MEMBERSHIP_LIMIT",
        MembershipState "MEMBERSHIP_STATE",
        IdentityProfileInUse "IDENTITY_PROFILE_IN_USE",
        SelfSignupDisabled "SELF_SIGNUP_DISABLED",
        IdentityProfileLimit "IDENTITY_PROFILE_LIMIT",
        OneTimePasswordsDisabled "ONE_TIME_PASSWORDS_DISABLED",
    }
    Aborted {
        ConcurrentUpdate "CONCURRENT_UPDATE",
        TokenDied "TOKEN_DIED",
    }
    ResourceExhausted {
        Overloaded "OVERLOADED",
        AttemptLimit "ATTEMPT_LIMIT",
    }
    Unavailable {
        StoreUnavailable "STORE_UNAVAILABLE",
        Stale "STALE",
        StoreLostData "STORE_LOST_DATA",
        NotServing "NOT_SERVING",
        IdentityProviderUnavailable "IDENTITY_PROVIDER_UNAVAILABLE",
    }
    DeadlineExceeded {
        DeadlineExceeded "DEADLINE_EXCEEDED",
    }
    Unimplemented {
        MethodUnknown "METHOD_UNKNOWN",
    }
    Cancelled {
        Cancelled "CANCELLED",
    }
    Internal {
        Internal "INTERNAL",
    }
}
