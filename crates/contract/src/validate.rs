//! Field validation: the subset of `buf.validate` that the contract uses.
//!
//! `build.rs` writes one [`Validate`] per message out of the options in the `.proto`; this module has the rules that
//! the generated code calls. All violations of a message are reported at once. A valid message costs no allocation
//! (except for the uniqueness of long lists): paths are put together on the way out, once something is wrong.

use std::{collections::HashSet, fmt::Write as _, hash::Hash};

use crate::email::is_email;

/// A message that can be held against the rules it declares.
pub trait Validate {
    /// Adds what is wrong with the message to `violations`.
    fn validate(&self, violations: &mut Violations);
}

/// Messages that hold their own kind are boxed.
impl<M: Validate> Validate for Box<M> {
    fn validate(&self, violations: &mut Violations) {
        (**self).validate(violations);
    }
}

/// One field that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, for example `client.default_scopes[2]`.
    pub field: String,
    /// What the field must be.
    pub description: String,
}

/// What is wrong with a message, as far as it was looked at.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

/// Holds a message against its declared rules; the error names all that it breaks.
pub fn check<M: Validate>(message: &M) -> Result<(), Vec<Violation>> {
    let mut violations = Violations::default();
    message.validate(&mut violations);
    if violations.0.is_empty() { Ok(()) } else { Err(violations.0) }
}

/// Nobody corrects more mistakes than this at once, and the reply must stay small.
const MAX_VIOLATIONS: usize = 100;

/// Below this, comparing all pairs is cheaper than hashing.
const SHORT_LIST: usize = 16;

/// How much of a map's key is repeated in a path.
const MAX_KEY_CHARS: usize = 63;

/// The longest duration that protobuf allows, in seconds: ± 10,000 years.
const MAX_DURATION_SECS: u64 = 315_576_000_000;

/// A string of `min` to `max` characters of one class.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// The class as a set of ASCII bytes.
    pub allowed: [u64; 2],
    pub min: usize,
    pub max: usize,
    /// The same as a regular expression.
    pub text: &'static str,
}

// === impl Violations ===

// Called by generated code, in the order in which the rules stand there.
impl Violations {
    pub fn required(&mut self, field: &str, is_set: bool) {
        if !is_set {
            self.add(field, || "is required".to_owned());
        }
    }

    pub fn min_items(&mut self, field: &str, len: usize, min: usize) {
        if len < min {
            self.add(field, || format!("must have at least {}", count(min, "item")));
        }
    }

    /// Whether the list is short enough to look at its items.
    pub fn max_items(&mut self, field: &str, len: usize, max: usize) -> bool {
        let fits = len <= max;
        if !fits {
            self.add(field, || format!("must have at most {}", count(max, "item")));
        }
        fits
    }

    pub fn unique<T: Eq + Hash>(&mut self, field: &str, items: &[T]) {
        let repeated = if items.len() <= SHORT_LIST {
            items.iter().enumerate().any(|(i, item)| items.iter().take(i).any(|earlier| earlier == item))
        } else {
            let mut seen = HashSet::with_capacity(items.len());
            !items.iter().all(|item| seen.insert(item))
        };
        if repeated {
            self.add(field, || "must not contain an item twice".to_owned());
        }
    }

    /// Checks item `i` of a list.
    pub fn item(&mut self, field: &str, i: usize, check: impl FnOnce(&mut Self)) {
        self.within(check, |path| {
            let _ = write!(path, "{field}[{i}]");
        });
    }

    /// Checks the entry `key` of a map.
    pub fn key(&mut self, field: &str, key: &str, check: impl FnOnce(&mut Self)) {
        self.within(check, |path| {
            let shown: String = key.chars().take(MAX_KEY_CHARS).collect();
            let _ = write!(path, "{field}[{shown:?}]");
        });
    }

    pub fn nested<M: Validate>(&mut self, field: &str, message: &M) {
        self.within(|violations| message.validate(violations), |path| path.push_str(field));
    }

    /// `min` and `max` are inclusive and in seconds.
    pub fn duration(&mut self, field: &str, value: &prost_types::Duration, min: Option<i64>, max: Option<i64>) {
        let prost_types::Duration { seconds, nanos } = *value;
        let is_valid = seconds.unsigned_abs() <= MAX_DURATION_SECS
            && nanos.unsigned_abs() < 1_000_000_000
            // The parts of one duration point in the same direction.
            && (seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0));
        if !is_valid {
            self.add(field, || "must be a valid duration".to_owned());
        } else if min.is_some_and(|min| (seconds, nanos) < (min, 0))
            || max.is_some_and(|max| (seconds, nanos) > (max, 0))
        {
            self.add(field, || match (min, max) {
                (Some(min), Some(max)) => format!("must be between {min}s and {max}s"),
                (Some(min), None) => format!("must be at least {min}s"),
                (None, Some(max)) => format!("must be at most {max}s"),
                (None, None) => "must be a valid duration".to_owned(),
            });
        }
    }

    /// `min` counts characters.
    pub fn min_len(&mut self, field: &str, value: &str, min: usize) {
        // Counting stops as soon as the answer is known.
        if value.chars().take(min).count() < min {
            self.add(field, || match min {
                1 => "must not be empty".to_owned(),
                min => format!("must have at least {}", count(min, "character")),
            });
        }
    }

    /// `max` counts characters.
    pub fn max_len(&mut self, field: &str, value: &str, max: usize) {
        // A character has at least one byte, so most strings need no counting.
        if value.len() > max && value.chars().nth(max).is_some() {
            self.add(field, || format!("must have at most {}", count(max, "character")));
        }
    }

    /// Only the canonical text is accepted, so that one id has one spelling; and only version 4 (AIP-155).
    pub fn uuid(&mut self, field: &str, value: &str) {
        let is_canonical = value.len() == uuid::fmt::Hyphenated::LENGTH;
        if !is_canonical || !uuid::Uuid::try_parse(value).is_ok_and(|uuid| uuid.get_version_num() == 4) {
            self.add(field, || "must be a version 4 UUID, such as 7d2c9d2e-30e1-4f6b-a4b1-0d9f6c2f8a51".to_owned());
        }
    }

    pub fn email(&mut self, field: &str, value: &str) {
        if !is_email(value) {
            self.add(field, || "must be an e-mail address".to_owned());
        }
    }

    pub fn pattern(&mut self, field: &str, value: &str, pattern: &Pattern) {
        let Pattern { allowed: [low, high], min, max, text } = *pattern;
        let in_class = |byte: u8| match byte {
            0..64 => low >> byte & 1 == 1,
            64..128 => high >> (byte - 64) & 1 == 1,
            128.. => false,
        };
        // All characters of the class are ASCII, so bytes are characters in every string that passes.
        if !(min..=max).contains(&value.len()) || !value.bytes().all(in_class) {
            self.add(field, || format!("must match {text}"));
        }
    }

    pub fn at_least(&mut self, field: &str, value: i32, min: i32) {
        if value < min {
            self.add(field, || format!("must be at least {min}"));
        }
    }

    pub fn is_true(&mut self, field: &str, value: bool) {
        if !value {
            self.add(field, || "must be true if it is set".to_owned());
        }
    }

    /// `allowed` are the numbers of the enum's values.
    pub fn one_of(&mut self, field: &str, value: i32, allowed: &[i32]) {
        if !allowed.contains(&value) {
            self.add(field, || format!("must be a defined value of the enum, one of {allowed:?}"));
        }
    }

    fn add(&mut self, field: &str, description: impl FnOnce() -> String) {
        if self.0.len() < MAX_VIOLATIONS {
            self.0.push(Violation { field: field.to_owned(), description: description() });
        }
    }

    /// Runs `check` and puts what `prefix` writes before the paths of the violations it found.
    fn within(&mut self, check: impl FnOnce(&mut Self), prefix: impl Fn(&mut String)) {
        let before = self.0.len();
        check(self);
        for violation in self.0.iter_mut().skip(before) {
            let inner = std::mem::take(&mut violation.field);
            prefix(&mut violation.field);
            // The rules of an item or an entry have no field of their own.
            if !inner.is_empty() && !inner.starts_with('[') {
                violation.field.push('.');
            }
            violation.field.push_str(&inner);
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, issue_token_request, list_tokens_request, revoke_all_tokens_request};

    /// The violations of `message` as "field: description".
    fn violations<M: Validate>(message: &M) -> Vec<String> {
        match check(message) {
            Ok(()) => Vec::new(),
            Err(violations) => violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect(),
        }
    }

    fn create_client(client: wire::Client) -> wire::CreateClientRequest {
        wire::CreateClientRequest { client: Some(client), ..Default::default() }
    }

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn a_missing_message_is_required() {
        assert_eq!(violations(&wire::CreateClientRequest::default()), ["client: is required"]);
        assert!(violations(&create_client(wire::Client::default())).is_empty());
    }

    #[test]
    fn a_missing_oneof_is_required() {
        assert_eq!(violations(&wire::RevokeAllTokensRequest::default()), ["target: is required"]);
    }

    #[test]
    fn lists_are_counted() {
        let none = wire::BatchIntrospectTokensRequest::default();
        assert_eq!(violations(&none), ["tokens: must have at least 1 item"]);
        let many = wire::BatchIntrospectTokensRequest { tokens: vec![String::new(); 1001], ..Default::default() };
        assert_eq!(violations(&many), ["tokens: must have at most 1000 items"]);
    }

    #[test]
    fn items_of_a_list_that_is_too_long_are_not_looked_at() {
        let scopes = vec![" ".to_owned(); 65];
        let request = wire::RenewTokenRequest { refresh_token: "x".into(), scopes, ..Default::default() };
        assert_eq!(violations(&request), ["scopes: must have at most 64 items"]);
    }

    #[test]
    fn items_must_differ_in_short_and_in_long_lists() {
        for len in [2, 40] {
            let mut allowed_scopes: Vec<String> = (0..len).map(|i| format!("s{i}")).collect();
            assert!(
                violations(&create_client(wire::Client {
                    allowed_scopes: allowed_scopes.clone(),
                    ..Default::default()
                }))
                .is_empty()
            );
            allowed_scopes.push("s0".into());
            let request = create_client(wire::Client { allowed_scopes, ..Default::default() });
            assert_eq!(violations(&request), ["client.allowed_scopes: must not contain an item twice"]);
        }
    }

    #[test]
    fn a_pattern_is_matched_item_by_item() {
        let default_scopes =
            vec!["fine".into(), "not fine".into(), "b\"d".into(), "naïve".into(), String::new(), "x".repeat(129)];
        let request = create_client(wire::Client { default_scopes, ..Default::default() });
        let pattern = r"must match ^[!#-\[\]-~]{1,128}$";
        let expected: Vec<String> = (1..6).map(|i| format!("client.default_scopes[{i}]: {pattern}")).collect();
        assert_eq!(violations(&request), expected);
    }

    #[test]
    fn an_email_address_is_one_of_html() {
        let violations = |email: &str| {
            let member = wire::Member { email: email.to_owned(), ..Default::default() };
            let mut violations = Violations::default();
            wire::CreateMemberRequest { member: Some(member), ..Default::default() }.validate(&mut violations);
            violations.0.len()
        };
        for good in ["", "a@b", "o'neil+x@mail.example.com", "A.b@1-2.org"] {
            assert_eq!(violations(good), 0, "{good}");
        }
        let long = format!("{}@b", "a".repeat(65));
        for bad in ["a", "@b", "a@", "a@b@c", "a b@c", "a@-b", "a@b-", "a@b..c", "é@b", "a@é", &long] {
            assert_eq!(violations(bad), 1, "{bad}");
        }
    }

    #[test]
    fn keys_and_values_of_maps_are_named() {
        let labels = [("x".to_owned(), "é".repeat(256))].into();
        let request = create_client(wire::Client { labels, ..Default::default() });
        assert_eq!(violations(&request), ["client.labels[\"x\"]: must have at most 255 characters"]);
        let labels = [(String::new(), "v".to_owned())].into();
        let request = create_client(wire::Client { labels, ..Default::default() });
        assert_eq!(violations(&request), ["client.labels[\"\"]: must not be empty"]);
    }

    #[test]
    fn a_long_key_is_cut_in_the_path() {
        let labels = [("k".repeat(10_000), String::new())].into();
        let request = create_client(wire::Client { labels, ..Default::default() });
        assert_eq!(
            violations(&request),
            [format!("client.labels[\"{}\"]: must have at most 63 characters", "k".repeat(63))]
        );
    }

    #[test]
    fn lengths_count_characters() {
        let fits = wire::GetClientRequest { client_id: "é".repeat(64), ..Default::default() };
        assert!(violations(&fits).is_empty());
        let long = wire::GetClientRequest { client_id: "é".repeat(65), ..Default::default() };
        assert_eq!(violations(&long), ["client_id: must have at most 64 characters"]);
        let empty = wire::GetClientRequest::default();
        assert_eq!(violations(&empty), ["client_id: must not be empty"]);
    }

    #[test]
    fn durations_have_inclusive_bounds() {
        let window = |seconds, nanos| {
            create_client(wire::Client {
                replay_window: Some(prost_types::Duration { seconds, nanos }),
                ..Default::default()
            })
        };
        for (seconds, nanos) in [(0, 0), (0, 1), (300, 0), (299, 999_999_999)] {
            assert!(violations(&window(seconds, nanos)).is_empty(), "{seconds} s {nanos} ns");
        }
        for (seconds, nanos) in [(0, -1), (-1, 0), (300, 1), (301, 0)] {
            assert_eq!(
                violations(&window(seconds, nanos)),
                ["client.replay_window: must be between 0s and 300s"],
                "{seconds} s {nanos} ns"
            );
        }
        let open = create_client(wire::Client { token_ttl: seconds(0), ..Default::default() });
        assert_eq!(violations(&open), ["client.token_ttl: must be at least 1s"]);
    }

    #[test]
    fn durations_must_be_well_formed() {
        for (seconds, nanos) in [(1, -1), (-1, 1), (1, 1_000_000_000), (1, i32::MIN), (i64::MAX, 0), (i64::MIN, 0)] {
            let token_ttl = Some(prost_types::Duration { seconds, nanos });
            let request = create_client(wire::Client { token_ttl, ..Default::default() });
            assert_eq!(violations(&request), ["client.token_ttl: must be a valid duration"], "{seconds} s {nanos} ns");
        }
    }

    #[test]
    fn request_ids_are_canonical_uuids_of_version_4() {
        let request = |request_id: &str| wire::CreateClientRequest {
            client: Some(wire::Client::default()),
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        assert!(violations(&request("")).is_empty(), "left out");
        assert!(violations(&request("7d2c9d2e-30e1-4f6b-a4b1-0d9f6c2f8a51")).is_empty());
        for wrong in [
            "7d2c9d2e-30e1-1f6b-a4b1-0d9f6c2f8a51",
            "7d2c9d2e30e14f6ba4b10d9f6c2f8a51",
            "{7d2c9d2e-30e1-4f6b-a4b1-0d9f6c2f8a51}",
            "urn:uuid:7d2c9d2e-30e1-4f6b-a4b1-0d9f6c2f8a51",
            "7d2c9d2e-30e1-4f6b-a4b1-0d9f6c2f8a5g",
        ] {
            assert_eq!(violations(&request(wrong)).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn numbers_have_a_least_value() {
        let request = wire::ListTokensRequest {
            subject: Some(list_tokens_request::Subject::ClientId("c".into())),
            page_size: -1,
            ..Default::default()
        };
        assert_eq!(violations(&request), ["page_size: must be at least 0"]);
    }

    #[test]
    fn enums_are_defined() {
        let request =
            create_client(wire::Client { renewal_policy: 7, allowed_grants: vec![0, 1], ..Default::default() });
        assert_eq!(
            violations(&request),
            [
                "client.allowed_grants[0]: must be a defined value of the enum, one of [1, 2, 3, 4, 5, 6, 7]",
                "client.renewal_policy: must be a defined value of the enum, one of [0, 1, 2, 3]",
            ]
        );
    }

    #[test]
    fn a_flag_can_have_to_be_true() {
        let request = wire::IssueTokenRequest {
            grant: Some(issue_token_request::Grant::ClientCredentials(wire::ClientCredentialsGrant {})),
            lifetime: Some(issue_token_request::Lifetime::Never(false)),
            ..Default::default()
        };
        assert_eq!(violations(&request), ["never: must be true if it is set"]);
    }

    #[test]
    fn a_message_in_a_oneof_is_checked() {
        let sessions = revoke_all_tokens_request::SessionsTarget { session_ids: vec!["ok".into(), "nót".into()] };
        let request = wire::RevokeAllTokensRequest {
            target: Some(revoke_all_tokens_request::Target::Sessions(sessions)),
            ..Default::default()
        };
        assert_eq!(violations(&request), ["sessions.session_ids[1]: must match ^[!-~]{1,128}$"]);
    }

    #[test]
    fn all_violations_are_reported_but_not_without_end() {
        let introspects = vec![String::new(); 64];
        let audiences = introspects.clone();
        let request = create_client(wire::Client { audiences, introspects, ..Default::default() });
        assert_eq!(violations(&request).len(), MAX_VIOLATIONS);
    }
}
