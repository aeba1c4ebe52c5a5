//! Failures on the wire: the only place that makes a `google.rpc.Status`.
//!
//! Invariant: every status that leaves has an `ErrorInfo` with domain "jeton" and a reason of the contract, and no
//! status carries internal text.

use std::{borrow::Cow, sync::Arc};

use jeton_contract::reason::{Class, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::policy::Method;
use crate::error::Error;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "jeton";

/// What callers see of a fault of ours.
const INTERNAL: &str = "internal error";

/// Details travel in a trailer, in base64. Clients refuse header lists of more than 8 KiB by default, and with the
/// trailer they would lose the status; so the details are cut to stay far below.
const MAX_VIOLATION_BYTES: usize = 3 * 1024;
const MAX_NAME_CHARS: usize = 256;
/// Non-ASCII characters take up to 12 bytes each once they are percent-encoded.
const MAX_MESSAGE_CHARS: usize = 200;

/// The status for `error`. The error itself stays attached as the source, for the log: it is not
/// sent.
pub fn of(error: Error) -> Status {
    let mut status = written(code(error.reason().class()), &error);
    // The source keeps the error for the edge, which logs a failure once and with its causes.
    status.set_source(Arc::new(error));
    status
}

/// The error that a handler attached to its status.
pub fn cause(status: &Status) -> Option<&Error> {
    std::error::Error::source(status)?.downcast_ref()
}

/// The name of the status's reason, for the log.
pub fn reason(status: &Status) -> Cow<'static, str> {
    match cause(status) {
        Some(error) => error.reason().name().into(),
        None => status.get_details_error_info().map_or_else(String::new, |info| info.reason).into(),
    }
}

/// The status to send in place of one that tonic made by itself, which has no details.
///
/// `method` is the method that was called, if it exists, and `path` what was asked for.
pub fn enrich(status: &Status, method: Option<&Method>, path: &str) -> Status {
    let text = status.message().to_owned();
    match status.code() {
        // tonic's decoder blames itself for what it cannot read. Our own failures never come without details.
        Code::OutOfRange | Code::Internal | Code::InvalidArgument | Code::ResourceExhausted => {
            of(Error::new(Reason::InvalidMessage, text))
        }
        Code::Unimplemented if method.is_none() => method_unknown(path),
        // The protocol demands this code for an encoding that is not supported. What is wrong is a metadata entry,
        // unless a service of the contract is not served.
        Code::Unimplemented if text.is_empty() => method_unknown(path),
        Code::Unimplemented => {
            let error = Error::new(Reason::InvalidMetadata, text);
            written(Code::Unimplemented, &error)
        }
        Code::NotFound => of(Error::new(Reason::NotFound, text)),
        Code::Cancelled => of(Error::new(Reason::Cancelled, "the call was cancelled")),
        Code::DeadlineExceeded => of(Error::new(Reason::DeadlineExceeded, "the deadline passed")),
        Code::Unavailable => of(Error::new(Reason::NotServing, "the server is not serving")),
        Code::Ok
        | Code::Unknown
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::DataLoss
        | Code::Unauthenticated => of(Error::internal(format!("unexpected status: {status}"))),
    }
}

/// UNIMPLEMENTED for a path that is not a method.
pub fn method_unknown(path: &str) -> Status {
    of(Error::new(Reason::MethodUnknown, "no such method").with_resource("Method", path))
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        of(error)
    }
}

fn written(code: Code, error: &Error) -> Status {
    let is_ours = error.reason().class() == Class::Internal;
    let message = if is_ours { INTERNAL.to_owned() } else { cut(error.message(), MAX_MESSAGE_CHARS) };
    let details = details(error, &message);
    Status::with_error_details(code, message, details)
}

fn details(error: &Error, message: &str) -> ErrorDetails {
    let reason = error.reason();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason.name(), DOMAIN, []);
    if !error.violations().is_empty() {
        details.set_bad_request(violations(error));
    }
    if let Some(resource) = error.resource() {
        // The holder of a taken name stays secret, so owner and description stay empty.
        details.set_resource_info(resource.kind, cut(&resource.name, MAX_NAME_CHARS), "", "");
    }
    if error.retry_after().is_some() {
        details.set_retry_info(error.retry_after());
    }
    match reason.class() {
        Class::FailedPrecondition => {
            let subject = error.resource().map(|resource| cut(&resource.name, MAX_NAME_CHARS)).unwrap_or_default();
            details.add_precondition_failure_violation(reason.name(), subject, message);
        }
        Class::ResourceExhausted => {
            details.add_quota_failure_violation("server", message);
        }
        Class::InvalidArgument
        | Class::Unauthenticated
        | Class::PermissionDenied
        | Class::NotFound
        | Class::AlreadyExists
        | Class::Aborted
        | Class::Unavailable
        | Class::DeadlineExceeded
        | Class::Unimplemented
        | Class::Cancelled
        | Class::Internal => {}
    }
    details
}

/// As many violations as fit, and how many were left out.
fn violations(error: &Error) -> Vec<FieldViolation> {
    let mut left = MAX_VIOLATION_BYTES;
    let mut shown = Vec::new();
    for violation in error.violations() {
        let size = violation.field.len() + violation.description.len();
        if size > left {
            break;
        }
        left -= size;
        shown.push(FieldViolation::new(&violation.field, &violation.description));
    }
    let hidden = error.violations().len() - shown.len();
    if hidden > 0 {
        shown.push(FieldViolation::new("", format!("and {hidden} more")));
    }
    shown
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

fn code(class: Class) -> Code {
    match class {
        Class::InvalidArgument => Code::InvalidArgument,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::PermissionDenied => Code::PermissionDenied,
        Class::NotFound => Code::NotFound,
        Class::AlreadyExists => Code::AlreadyExists,
        Class::FailedPrecondition => Code::FailedPrecondition,
        Class::Aborted => Code::Aborted,
        Class::ResourceExhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::DeadlineExceeded => Code::DeadlineExceeded,
        Class::Unimplemented => Code::Unimplemented,
        Class::Cancelled => Code::Cancelled,
        Class::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use jeton_contract::validate::Violation;
    use prost_reflect::DescriptorPool;

    use super::*;

    fn info(status: &Status) -> (String, String) {
        let info = status.get_details_error_info().expect("every status has an ErrorInfo");
        (info.reason, info.domain)
    }

    #[test]
    fn reasons_are_those_of_the_contract_and_the_other_way_round() {
        let pool = DescriptorPool::decode(crate::api::DESCRIPTORS).unwrap();
        let contract: BTreeSet<String> = pool
            .get_enum_by_name("jeton.v1.ErrorReason")
            .unwrap()
            .values()
            .map(|value| value.name().strip_prefix("ERROR_REASON_").unwrap().to_owned())
            .filter(|name| name != "UNSPECIFIED")
            .collect();
        let ours: BTreeSet<String> = Reason::ALL.iter().map(|reason| reason.name().to_owned()).collect();
        assert_eq!(ours, contract);
    }

    #[test]
    fn the_contract_names_the_code_of_each_reason() {
        let pool = DescriptorPool::decode(crate::api::DESCRIPTORS).unwrap();
        let reasons = pool.get_enum_by_name("jeton.v1.ErrorReason").unwrap();
        let file = reasons.parent_file().file_descriptor_proto().clone();
        for reason in Reason::ALL {
            let value = reasons.get_value_by_name(&format!("ERROR_REASON_{}", reason.name())).unwrap();
            let comment = file
                .source_code_info
                .iter()
                .flat_map(|info| &info.location)
                .find(|location| location.path == value.path())
                .and_then(|location| location.leading_comments.clone())
                .unwrap_or_default();
            let declared = comment.trim().split('.').next().unwrap_or_default().replace('_', "").to_lowercase();
            let code = format!("{:?}", code(reason.class())).to_lowercase();
            assert_eq!(declared, code, "{}", reason.name());
        }
    }

    #[test]
    fn every_reason_leaves_with_its_name_and_the_domain() {
        for reason in Reason::ALL {
            let status = of(Error::new(*reason, "text"));
            assert_eq!(info(&status), (reason.name().to_owned(), "jeton".to_owned()));
            assert_eq!(cause(&status).map(Error::reason), Some(*reason));
        }
    }

    #[test]
    fn internal_text_does_not_leave() {
        let status = of(Error::internal("open /secret/path").with_source("disk on fire"));
        assert_eq!(status.message(), "internal error");
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let sent = format!("{headers:?} {:?}", String::from_utf8_lossy(status.details()));
        assert!(!sent.contains("secret") && !sent.contains("fire"), "{sent}");
    }

    #[test]
    fn all_violations_are_reported_at_once() {
        let status = of(Error::field("a", "must be b").with_violation("c[1]", "must be d"));
        let fields = status.get_details_bad_request().unwrap().field_violations;
        let shown: Vec<_> = fields.iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
        assert_eq!(shown, [("a", "must be b"), ("c[1]", "must be d")]);
    }

    #[test]
    fn the_largest_status_fits_into_the_header_list_of_any_client() {
        let violations = vec![Violation { field: "é".repeat(100), description: "é".repeat(100) }; 100];
        let status = of(Error::fields(violations).with_resource("Account", "ü".repeat(5000)));
        let last = status.get_details_bad_request().unwrap().field_violations.pop().unwrap();
        assert_eq!(last.description, "and 93 more");
        let long = of(Error::new(Reason::Disabled, "ü".repeat(5000)).with_resource("Account", "ü".repeat(5000)));
        for status in [status, long] {
            let mut headers = http::HeaderMap::new();
            status.add_header(&mut headers).unwrap();
            let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(size < 8 * 1024, "{size} bytes");
        }
    }

    #[test]
    fn unavailable_and_overloaded_say_when_to_come_back() {
        for reason in [Reason::StoreUnavailable, Reason::Overloaded] {
            let retry = of(Error::new(reason, "later")).get_details_retry_info().unwrap();
            assert_eq!(retry.retry_delay, Some(Duration::from_secs(1)));
        }
        assert!(of(Error::new(Reason::NotFound, "no")).get_details_retry_info().is_none());
    }

    #[test]
    fn what_is_missing_or_in_the_way_is_named() {
        let missing = of(Error::not_found("Account", "acc_1")).get_details_resource_info().unwrap();
        assert_eq!((missing.resource_type.as_str(), missing.resource_name.as_str()), ("Account", "acc_1"));
        let status = of(Error::new(Reason::AccountHasChildren, "has children").with_resource("Account", "acc_1"));
        let failure = status.get_details_precondition_failure().unwrap().violations.remove(0);
        assert_eq!((failure.r#type.as_str(), failure.subject.as_str()), ("ACCOUNT_HAS_CHILDREN", "acc_1"));
        let quota = of(Error::new(Reason::Overloaded, "too many calls")).get_details_quota_failure().unwrap();
        assert_eq!(quota.violations[0].description, "too many calls");
    }

    #[test]
    fn statuses_of_the_framework_get_a_reason() {
        let enriched = |status: Status| enrich(&status, None, "/a.B/C");
        let unreadable = enriched(Status::internal("failed to decode Protobuf message"));
        assert_eq!(unreadable.code(), Code::InvalidArgument);
        assert_eq!(info(&unreadable).0, "INVALID_MESSAGE");
        let large = enriched(Status::out_of_range("too large"));
        assert_eq!((large.code(), info(&large).0.as_str()), (Code::InvalidArgument, "INVALID_MESSAGE"));
        let unknown = enriched(Status::unimplemented(""));
        assert_eq!((unknown.code(), info(&unknown).0.as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"));
        assert_eq!(unknown.get_details_resource_info().unwrap().resource_name, "/a.B/C");
        let odd = enriched(Status::data_loss("/secret"));
        assert_eq!((odd.code(), odd.message()), (Code::Internal, "internal error"));
    }
}
