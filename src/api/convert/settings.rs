//! A tenant's settings on the wire.

use jeton_core::public_key::Algorithm;

use super::{Mask, duration, given, positive};
use crate::{
    api::wire,
    directory::settings::{DuplicateEmails, SelfManagement, Settings, SettingsPatch},
    error::Result,
};

/// The changes that a message makes to a tenant's settings.
pub fn patch(settings: &wire::TenantSettings, mask: &Mask<'_>) -> Result<SettingsPatch> {
    let ttl = |name: &str, ttl: Option<prost_types::Duration>| {
        if !mask.changes(&format!("settings.{name}"), ttl.is_some()) {
            return Ok(None);
        }
        ttl.map(|ttl| positive(&format!("tenant.settings.{name}"), ttl)).transpose().map(Some)
    };
    // Validated: not negative. 0 is the default.
    let limit = |name: &str, limit: i32| {
        let limit = u32::try_from(limit).ok().filter(|limit| *limit > 0);
        mask.changes(&format!("settings.{name}"), limit.is_some()).then_some(limit)
    };
    let flag =
        |name: &str, flag: Option<bool>| mask.changes(&format!("settings.{name}"), flag.is_some()).then_some(flag);
    let algorithm = chosen_algorithm(settings.signing_algorithm());
    let self_management = self_management(settings.member_self_management());
    let duplicate_emails = duplicate_emails(settings.duplicate_email_policy());
    let audience = given(&settings.default_audience).map(str::to_owned);
    let eternal = settings.eternal_tokens;
    Ok(SettingsPatch {
        client_token_ttl: ttl("client_token_ttl", settings.client_token_ttl)?,
        account_token_ttl: ttl("account_token_ttl", settings.account_token_ttl)?,
        member_token_ttl: ttl("member_token_ttl", settings.member_token_ttl)?,
        max_token_ttl: ttl("max_token_ttl", settings.max_token_ttl)?,
        refresh_idle_ttl: ttl("refresh_idle_ttl", settings.refresh_idle_ttl)?,
        refresh_absolute_ttl: ttl("refresh_absolute_ttl", settings.refresh_absolute_ttl)?,
        replay_window: ttl("replay_window", settings.replay_window)?,
        session_idle_ttl: ttl("session_idle_ttl", settings.session_idle_ttl)?,
        eternal_tokens: mask
            .changes("settings.eternal_tokens", eternal.is_some())
            .then_some(eternal.unwrap_or_default()),
        default_audience: mask.changes("settings.default_audience", audience.is_some()).then_some(audience),
        signing_algorithm: mask.changes("settings.signing_algorithm", algorithm.is_some()).then_some(algorithm),
        key_rotation_period: ttl("key_rotation_period", settings.key_rotation_period)?,
        key_announcement: ttl("key_announcement", settings.key_announcement)?,
        account_member_limit: limit("account_member_limit", settings.account_member_limit),
        membership_limit: limit("membership_limit", settings.membership_limit),
        self_signup: flag("self_signup", settings.self_signup),
        auto_create_account: flag("auto_create_account", settings.auto_create_account),
        member_self_management: mask
            .changes("settings.member_self_management", self_management.is_some())
            .then_some(self_management),
        duplicate_email_policy: mask
            .changes("settings.duplicate_email_policy", duplicate_emails.is_some())
            .then_some(duplicate_emails),
        authenticated_member_token_ttl: ttl("authenticated_member_token_ttl", settings.authenticated_member_token_ttl)?,
        group_token_ttl: ttl("group_token_ttl", settings.group_token_ttl)?,
        max_management_token_ttl: ttl("max_management_token_ttl", settings.max_management_token_ttl)?,
    })
}

/// The settings with their defaults; `issuer` is the tenant's.
pub fn to_wire(settings: &Settings, issuer: &str) -> wire::TenantSettings {
    wire::TenantSettings {
        client_token_ttl: Some(duration(settings.client_token_ttl())),
        account_token_ttl: Some(duration(settings.account_token_ttl())),
        member_token_ttl: Some(duration(settings.member_token_ttl())),
        max_token_ttl: Some(duration(settings.max_token_ttl())),
        refresh_idle_ttl: Some(duration(settings.refresh_idle_ttl())),
        refresh_absolute_ttl: Some(duration(settings.refresh_absolute_ttl())),
        replay_window: Some(duration(settings.replay_window())),
        session_idle_ttl: Some(duration(settings.session_idle_ttl())),
        eternal_tokens: Some(settings.eternal_tokens),
        default_audience: settings.default_audience(issuer),
        signing_algorithm: algorithm(settings.signing_algorithm()).into(),
        key_rotation_period: Some(duration(settings.key_rotation_period())),
        key_announcement: Some(duration(settings.key_announcement())),
        account_member_limit: i32::try_from(settings.account_member_limit()).unwrap_or(i32::MAX),
        membership_limit: i32::try_from(settings.membership_limit()).unwrap_or(i32::MAX),
        self_signup: Some(settings.self_signup()),
        auto_create_account: Some(settings.auto_create_account()),
        member_self_management: match settings.member_self_management() {
            SelfManagement::Disabled => wire::MemberSelfManagement::Disabled.into(),
            SelfManagement::UpdateOnly => wire::MemberSelfManagement::UpdateOnly.into(),
        },
        duplicate_email_policy: match settings.duplicate_email_policy() {
            DuplicateEmails::Allowed => wire::DuplicateEmailPolicy::Allowed.into(),
            DuplicateEmails::Disallowed => wire::DuplicateEmailPolicy::Disallowed.into(),
            DuplicateEmails::LinkVerified => wire::DuplicateEmailPolicy::LinkVerified.into(),
        },
        authenticated_member_token_ttl: Some(duration(settings.authenticated_member_token_ttl())),
        group_token_ttl: Some(duration(settings.group_token_ttl())),
        max_management_token_ttl: Some(duration(settings.max_management_token_ttl())),
    }
}

pub const fn algorithm(algorithm: Algorithm) -> wire::SigningAlgorithm {
    match algorithm {
        Algorithm::EdDsa => wire::SigningAlgorithm::Eddsa,
        Algorithm::Es256 => wire::SigningAlgorithm::Es256,
        Algorithm::Rs256 => wire::SigningAlgorithm::Rs256,
        Algorithm::Ps256 => wire::SigningAlgorithm::Ps256,
    }
}

const fn chosen_algorithm(algorithm: wire::SigningAlgorithm) -> Option<Algorithm> {
    match algorithm {
        wire::SigningAlgorithm::Unspecified => None,
        wire::SigningAlgorithm::Eddsa => Some(Algorithm::EdDsa),
        wire::SigningAlgorithm::Es256 => Some(Algorithm::Es256),
        wire::SigningAlgorithm::Rs256 => Some(Algorithm::Rs256),
        wire::SigningAlgorithm::Ps256 => Some(Algorithm::Ps256),
    }
}

const fn self_management(own: wire::MemberSelfManagement) -> Option<SelfManagement> {
    match own {
        wire::MemberSelfManagement::Unspecified => None,
        wire::MemberSelfManagement::Disabled => Some(SelfManagement::Disabled),
        wire::MemberSelfManagement::UpdateOnly => Some(SelfManagement::UpdateOnly),
    }
}

const fn duplicate_emails(policy: wire::DuplicateEmailPolicy) -> Option<DuplicateEmails> {
    match policy {
        wire::DuplicateEmailPolicy::Unspecified => None,
        wire::DuplicateEmailPolicy::Allowed => Some(DuplicateEmails::Allowed),
        wire::DuplicateEmailPolicy::Disallowed => Some(DuplicateEmails::Disallowed),
        wire::DuplicateEmailPolicy::LinkVerified => Some(DuplicateEmails::LinkVerified),
    }
}
