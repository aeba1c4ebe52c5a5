//! A tenant's settings, and how they change.

use std::time::Duration;

use jeton_contract::validate::Violation;
use jeton_core::{Scopes, public_key::Algorithm};

use crate::error::{Error, Result};

/// A tenant's lifetimes and rules; `None` is the default, which the accessors give.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Settings {
    #[n(0)]
    pub client_token_ttl: Option<Duration>,
    #[n(1)]
    pub account_token_ttl: Option<Duration>,
    #[n(2)]
    pub max_token_ttl: Option<Duration>,
    #[n(3)]
    pub refresh_idle_ttl: Option<Duration>,
    #[n(4)]
    pub refresh_absolute_ttl: Option<Duration>,
    #[n(5)]
    pub replay_window: Option<Duration>,
    #[n(6)]
    pub session_idle_ttl: Option<Duration>,
    #[n(7)]
    pub eternal_tokens: bool,
    #[n(8)]
    pub default_audience: Option<String>,
    #[n(9)]
    pub signing_algorithm: Option<Algorithm>,
    #[n(10)]
    pub key_rotation_period: Option<Duration>,
    #[n(11)]
    pub key_announcement: Option<Duration>,
    #[n(12)]
    pub member_token_ttl: Option<Duration>,
    #[n(13)]
    pub account_member_limit: Option<u32>,
    #[n(14)]
    pub membership_limit: Option<u32>,
    #[n(15)]
    pub group_token_ttl: Option<Duration>,
    #[n(16)]
    pub self_signup: Option<bool>,
    #[n(17)]
    pub auto_create_account: Option<bool>,
    #[n(18)]
    pub member_self_management: Option<SelfManagement>,
    #[n(19)]
    pub duplicate_email_policy: Option<DuplicateEmails>,
    #[n(20)]
    pub authenticated_member_token_ttl: Option<Duration>,
    #[n(21)]
    pub max_management_token_ttl: Option<Duration>,
}

/// What members may change of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum SelfManagement {
    /// Nothing.
    #[n(0)]
    Disabled,
    /// What is said of them, and their passwords.
    #[n(1)]
    UpdateOnly,
}

/// What becomes of a sign-up with an e-mail address that another member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum DuplicateEmails {
    /// Another member of the same address.
    #[n(0)]
    Allowed,
    /// It is refused.
    #[n(1)]
    Disallowed,
    /// A provider's subject joins the one member whose address is verified as its own is.
    #[n(2)]
    LinkVerified,
}

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
    pub self_signup: Option<Option<bool>>,
    pub auto_create_account: Option<Option<bool>>,
    pub member_self_management: Option<Option<SelfManagement>>,
    pub duplicate_email_policy: Option<Option<DuplicateEmails>>,
    pub authenticated_member_token_ttl: Option<Option<Duration>>,
    pub group_token_ttl: Option<Option<Duration>>,
    pub max_management_token_ttl: Option<Option<Duration>>,
}

/// The most members that a tenant may allow an account.
pub const MAX_MEMBERS: u32 = 1000;
/// The most accounts that a tenant may allow a member.
pub const MAX_ACCOUNTS: u32 = 10_000;

// === impl Settings ===

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

impl Settings {
    pub fn client_token_ttl(&self) -> Duration {
        self.client_token_ttl.unwrap_or(15 * MINUTE)
    }

    pub fn account_token_ttl(&self) -> Duration {
        self.account_token_ttl.unwrap_or(14 * DAY)
    }

    pub fn member_token_ttl(&self) -> Duration {
        self.member_token_ttl.unwrap_or(HOUR)
    }

    pub fn group_token_ttl(&self) -> Duration {
        self.group_token_ttl.unwrap_or(HOUR)
    }

    /// The most members of an account.
    pub fn account_member_limit(&self) -> u32 {
        self.account_member_limit.unwrap_or(MAX_MEMBERS)
    }

    /// The most accounts of a member.
    pub fn membership_limit(&self) -> u32 {
        self.membership_limit.unwrap_or(MAX_ACCOUNTS)
    }

    /// Of tokens that members obtain by signing in.
    pub fn authenticated_member_token_ttl(&self) -> Duration {
        self.authenticated_member_token_ttl.unwrap_or(DAY)
    }

    /// Whether people may become members by themselves.
    pub fn self_signup(&self) -> bool {
        self.self_signup.unwrap_or(false)
    }

    /// Whether somebody who signs up gets an account.
    pub fn auto_create_account(&self) -> bool {
        self.auto_create_account.unwrap_or(false)
    }

    pub fn member_self_management(&self) -> SelfManagement {
        self.member_self_management.unwrap_or(SelfManagement::Disabled)
    }

    pub fn duplicate_email_policy(&self) -> DuplicateEmails {
        self.duplicate_email_policy.unwrap_or(DuplicateEmails::Allowed)
    }

    pub fn max_token_ttl(&self) -> Duration {
        self.max_token_ttl.unwrap_or(90 * DAY)
    }

    /// Of tokens that give rights over jeton itself.
    pub fn max_management_token_ttl(&self) -> Duration {
        self.max_management_token_ttl.unwrap_or(HOUR).min(self.max_token_ttl())
    }

    /// The longest life of a token with these scopes.
    pub fn max_ttl_of(&self, scopes: &Scopes) -> Duration {
        if scopes.has_management() { self.max_management_token_ttl() } else { self.max_token_ttl() }
    }

    pub fn refresh_idle_ttl(&self) -> Duration {
        self.refresh_idle_ttl.unwrap_or(HOUR)
    }

    pub fn refresh_absolute_ttl(&self) -> Duration {
        self.refresh_absolute_ttl.unwrap_or(30 * DAY)
    }

    pub fn replay_window(&self) -> Duration {
        self.replay_window.unwrap_or(Duration::from_secs(10))
    }

    pub fn session_idle_ttl(&self) -> Duration {
        self.session_idle_ttl.unwrap_or(DAY)
    }

    /// The audience of tokens that ask for none.
    pub fn default_audience(&self, issuer: &str) -> String {
        self.default_audience.clone().unwrap_or_else(|| format!("{issuer}/api"))
    }

    pub fn signing_algorithm(&self) -> Algorithm {
        self.signing_algorithm.unwrap_or(Algorithm::EdDsa)
    }

    pub fn key_rotation_period(&self) -> Duration {
        self.key_rotation_period.unwrap_or(90 * DAY)
    }

    pub fn key_announcement(&self) -> Duration {
        self.key_announcement.unwrap_or(10 * MINUTE)
    }
}

/// Changes what the patch names. All that does not fit together then is refused at once.
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
    set!(account_member_limit membership_limit group_token_ttl max_management_token_ttl);
    set!(self_signup auto_create_account member_self_management duplicate_email_policy authenticated_member_token_ttl);
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
    let authenticated = settings.authenticated_member_token_ttl;
    at_most("authenticated_member_token_ttl", authenticated, max, "max_token_ttl");
    at_most("group_token_ttl", settings.group_token_ttl, max, "max_token_ttl");
    at_most("max_management_token_ttl", settings.max_management_token_ttl, max, "max_token_ttl");
    at_most("refresh_idle_ttl", settings.refresh_idle_ttl, settings.refresh_absolute_ttl(), "refresh_absolute_ttl");
    at_most(
        "key_announcement",
        Some(settings.key_announcement()),
        settings.key_rotation_period(),
        "key_rotation_period",
    );
    if violations.is_empty() { Ok(()) } else { Err(Error::fields(violations)) }
}
