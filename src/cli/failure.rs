//! Why a command failed, as its user reads it.

use std::{fmt, process::ExitCode};

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

use super::printable::printable;
use crate::{config::duration, error::chain};

/// A command that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The arguments are wrong; nothing was sent.
    Usage(String),
    /// The call failed.
    Call(String),
}

// === impl Failure ===

impl Failure {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(super) fn call(message: impl Into<String>) -> Self {
        Self::Call(message.into())
    }

    /// 1: the call failed; 2: it was not made.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Call(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => write!(f, "error: {message}\n\nFor more information, try '--help'."),
            Self::Call(message) => write!(f, "error: {message}"),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let reason = match details.error_info() {
            Some(info) => printable(&info.reason),
            None => name(status.code()).to_owned(),
        };
        let source = std::error::Error::source(&status);
        if source.is_some_and(is_timeout) {
            return Self::call("no reply in time; see --timeout (DEADLINE_EXCEEDED)");
        }
        let mut message = match (status.message(), source) {
            // Made on this side, because the connection failed.
            (_, Some(source)) => chain(source),
            ("", None) => status.code().description().to_owned(),
            (message, None) => printable(message),
        };
        message += &format!(" ({reason})");
        for violation in details.bad_request().map_or(&[][..], |request| &request.field_violations) {
            message += &format!("\n  {}: {}", printable(&violation.field), printable(&violation.description));
        }
        if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
            message += &format!("\n  try again in {}", duration::format(delay));
        }
        Self::Call(message)
    }
}

/// Whether an error is, or was caused by, a deadline that passed on this side.
fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<TimeoutExpired>() || error.source().is_some_and(is_timeout)
}

/// The name in the specification of gRPC.
const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_status_is_shown_with_its_reason_and_fields() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_FIELD", "jeton", HashMap::new())
            .add_bad_request_violation("client.scopes[1]", "must be short")
            .set_retry_info(Some(Duration::from_secs(1)));
        let status = Status::with_error_details(Code::InvalidArgument, "one field is wrong", details);
        assert_eq!(
            Failure::from(status).to_string(),
            "error: one field is wrong (INVALID_FIELD)\n  client.scopes[1]: must be short\n  try again in 1s"
        );
    }

    #[test]
    fn a_deadline_that_passed_on_this_side_is_shown_as_such() {
        let status = Status::from_error(Box::new(TimeoutExpired(())));
        assert!(Failure::from(status).to_string().ends_with("(DEADLINE_EXCEEDED)"));
    }

    #[test]
    fn a_status_without_details_is_shown_with_its_code() {
        assert_eq!(Failure::from(Status::unavailable("no")).to_string(), "error: no (UNAVAILABLE)");
        assert!(Failure::from(Status::new(Code::Internal, "")).to_string().ends_with("(INTERNAL)"));
    }
}
