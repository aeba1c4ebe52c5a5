//! Changing a tenant's settings.

use std::time::Duration;

use super::record::{MAX_ACCOUNTS, MAX_MEMBERS, Settings};
use crate::{
    keys::signing::Algorithm,
    token::{Error, Result, error::Violation},
};

/// Settings to change; the inner `None` returns to the default.
#[derive(Clone, Debug, Default)]
pub struct SettingsPatch {
    pub client_token_ttl: Option<Option<Duration>>,
    pub account_token_ttl: Option<Option<Duration>>,
    pub member_token_ttl: Option<Option<Duration>>,
    pub max_token_ttl: Option<Option<Duration>>,
    pub refresh_idle_ttl: Option<Option<Duration>>,
    pub refresh_absolute_ttl: Option<Option<Duration>>,
    pub replay_window: Option<Option<Duration>>,
    pub session_idle_ttl: Option<Option<Duration>>,
    pub eternal_tokens: Option<bool>,
    pub default_audience: Option<Option<String>>,
    pub signing_algorithm: Option<Option<Algorithm>>,
    pub key_rotation_period: Option<Option<Duration>>,
    pub key_announcement: Option<Option<Duration>>,
    pub account_member_limit: Option<Option<u32>>,
    pub membership_limit: Option<Option<u32>>,
    pub group_token_ttl: Option<Option<Duration>>,
}

/// Changes what the patch names. All that does not fit together then is told at once.
pub(super) fn apply(settings: &mut Settings, patch: SettingsPatch) -> Result<()> {
    macro_rules! set {
        ($($field:ident)*) => {$(
            if let Some(value) = patch.$field {
                settings.$field = value;
            }
        )*};
    }
    set!(client_token_ttl account_token_ttl member_token_ttl max_token_ttl refresh_idle_ttl refresh_absolute_ttl replay_window);
    set!(session_idle_ttl eternal_tokens default_audience signing_algorithm key_rotation_period key_announcement);
    set!(account_member_limit membership_limit group_token_ttl);
    let mut violations = Vec::new();
    for (name, limit, max) in [
        ("account_member_limit", settings.account_member_limit(), MAX_MEMBERS),
        ("membership_limit", settings.membership_limit(), MAX_ACCOUNTS),
    ] {
        if limit > max {
            violations.push(Violation {
                field: format!("tenant.settings.{name}"),
                description: format!("must be at most {max}"),
            });
        }
    }
    let max = settings.max_token_ttl();
    let mut at_most = |name: &str, ttl: Option<Duration>, bound: Duration, what: &str| {
        if ttl.is_some_and(|ttl| ttl > bound) {
            violations.push(Violation {
                field: format!("tenant.settings.{name}"),
                description: format!("must not be longer than {what}"),
            });
        }
    };
    at_most("client_token_ttl", settings.client_token_ttl, max, "max_token_ttl");
    at_most("account_token_ttl", settings.account_token_ttl, max, "max_token_ttl");
    at_most("member_token_ttl", settings.member_token_ttl, max, "max_token_ttl");
    at_most("group_token_ttl", settings.group_token_ttl, max, "max_token_ttl");
    at_most("refresh_idle_ttl", settings.refresh_idle_ttl, settings.refresh_absolute_ttl(), "refresh_absolute_ttl");
    at_most(
        "key_announcement",
        Some(settings.key_announcement()),
        settings.key_rotation_period(),
        "key_rotation_period",
    );
    if violations.is_empty() { Ok(()) } else { Err(Error::fields(violations)) }
}
