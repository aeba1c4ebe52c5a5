//! What can go wrong, in the words of the contract.
//!
//! An [`Error`] is made where the rule is broken and travels unchanged to the edge, which writes it as a
//! `google.rpc.Status`. Its message is written for the caller; what only operators may know travels as `source` and is
//! logged, never sent.

use std::{borrow::Cow, fmt, time::Duration};

use jeton_contract::{
    reason::{Class, Reason},
    validate::Violation,
};

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

/// What a NOT_FOUND or ALREADY_EXISTS is about. The holder of a taken name stays secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Kind, as the message is called in the contract: "Account".
    pub kind: &'static str,
    /// The name that the caller gave.
    pub name: String,
}

// === impl Error ===

impl Error {
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        // A caller of an unavailable or overloaded server is to come back after this time.
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
