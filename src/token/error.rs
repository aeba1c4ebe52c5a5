//! What can go wrong, in the words of the contract.
//!
//! An [`Error`] is made where the rule is broken and travels unchanged to the edge, which writes it as a
//! `google.rpc.Status`. Its message is written for the caller; what only operators may know travels as `source` and is
//! logged, never sent.

use std::{borrow::Cow, fmt, time::Duration};

pub type Result<T, E = Error> = std::result::Result<T, E>;

pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A refused or failed call.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    reason: Reason,
    message: Cow<'static, str>,
    violations: Vec<Violation>,
    resource: Option<Resource>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

/// One field that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, for example `client.default_scopes[2]`.
    pub field: String,
    /// What the field must be.
    pub description: String,
}

/// What a NOT_FOUND or ALREADY_EXISTS is about. The holder of a taken name is never told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Kind, as the message is called in the contract: "Account".
    pub kind: &'static str,
    /// The name that the caller gave.
    pub name: String,
}

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

// === impl Error ===

impl Error {
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        // Whoever meets an unavailable or overloaded server is told when to come back.
        let retry_after =
            matches!(reason.class(), Class::Unavailable | Class::ResourceExhausted).then_some(Duration::from_secs(1));
        Self(Box::new(Parts {
            reason,
            message: message.into(),
            violations: Vec::new(),
            resource: None,
            retry_after,
            source: None,
        }))
    }

    /// INVALID_FIELD about one field.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::fields(vec![Violation { field: field.into(), description: description.into() }])
    }

    /// INVALID_FIELD about all fields that break their rules.
    pub fn fields(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [only] => format!("{}: {}", only.field, only.description),
            many => format!("{} fields break their rules", many.len()),
        };
        let mut error = Self::new(Reason::InvalidField, message);
        error.0.violations = violations;
        error
    }

    /// NOT_FOUND of something that does not exist within reach.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        let name = name.into();
        let mut error = Self::new(Reason::NotFound, format!("{kind} not found"));
        error.0.resource = Some(Resource { kind, name });
        error
    }

    /// INTERNAL: the message says what was attempted, for the log; callers see a fixed text.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::Internal, message)
    }

    #[must_use]
    pub fn with_violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.violations.push(Violation { field: field.into(), description: description.into() });
        self
    }

    #[must_use]
    pub fn with_resource(mut self, kind: &'static str, name: impl Into<String>) -> Self {
        self.0.resource = Some(Resource { kind, name: name.into() });
        self
    }

    /// When the caller should come back.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// The cause, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    pub fn resource(&self) -> Option<&Resource> {
        self.0.resource.as_ref()
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source: &(dyn std::error::Error + 'static) = self.0.source.as_deref()?;
        Some(source)
    }
}

impl From<crate::ambient::NoEntropy> for Error {
    fn from(source: crate::ambient::NoEntropy) -> Self {
        Self::internal("make an id or key").with_source(source)
    }
}

/// An error with its causes, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
