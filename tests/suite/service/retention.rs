//! What is revoked stays dead for as long as anything that it covers could live, whatever the settings say since.

use std::time::Duration;

use jeton::api::{wire, wire::TokenFormat};
use jeton_contract::reason::Reason;

use super::{
    calls::{Credentials, IssueExt as _, owned, refused, revoke, revoke_id, seconds},
    harness::{Service, manager, plain},
};

on_both_stores! {
    a_revoked_family_outlives_its_longest_access_token
    a_stolen_family_outlives_its_longest_access_token
    signing_out_by_a_refresh_token_that_idled_out_works
    a_revoked_session_stays_dead_whatever_the_settings_say
    a_session_is_remembered_as_long_as_a_client_may_renew_in_it
    a_revoked_session_stays_dead_when_eternal_tokens_are_forbidden
    a_session_that_is_minted_for_anew_leaves_its_old_tokens_dead
    a_session_that_lapsed_stays_lapsed_whatever_the_settings_say
    everything_but_mine_is_remembered_as_well
    a_lowered_maximum_ends_no_token_early
    a_key_signs_only_when_every_set_without_it_is_too_old
    revoking_what_is_dead_makes_the_log_no_longer
    a_client_cannot_renew_for_longer_than_its_tenant_lets
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const FORMATS: [TokenFormat; 2] = [TokenFormat::Jwt, TokenFormat::Opaque];

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * HOUR)
}

/// Makes the log longer by entries that have to do with nothing: each sweeps what memory need not remember.
async fn unrelated(service: &Service) {
    let client = service.client().await;
    for _ in 0..8 {
        let token = service.anonymous().issue(client.client_credentials().format(TokenFormat::Opaque)).await;
        service.anonymous().revoke(&token.access_token).await;
    }
}

/// Asserts that tokens are dead until they expire, over some time, also for a replica that knows nothing yet.
async fn assert_dead(service: Service, tokens: &[&str], for_hours: u64) -> Service {
    let mut service = service;
    let mut passed = 0;
    for step in [0, 2, 7, 40, 200].into_iter().cycle() {
        service.advance(hours(step));
        unrelated(&service).await;
        assert_eq!(service.active(tokens).await, vec![false; tokens.len()], "{passed} h later");
        passed += step;
        if step == 200 {
            service = service.forgetting().await;
        }
        if passed > for_hours {
            return service;
        }
    }
    service
}

async fn a_revoked_family_outlives_its_longest_access_token(service: Service) {
    let client = service.client().await;
    let mut texts = Vec::new();
    for format in FORMATS {
        let request = client.client_credentials().expires_in("90d").format(format).refresh();
        let token = service.anonymous().issue(request).await;
        service.anonymous().revoke(&token.refresh_token).await;
        texts.push(token.access_token);
    }
    service.advance(hours(30 * 24 + 2));
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    assert_dead(service, &texts, 60 * 24).await;
}

async fn a_stolen_family_outlives_its_longest_access_token(service: Service) {
    let client = service.client().await;
    let mut texts = Vec::new();
    for format in FORMATS {
        let request = client.client_credentials().expires_in("90d").format(format).refresh();
        let first = service.anonymous().issue(request).await;
        let second = service.anonymous().renew(client.renew(&first.refresh_token)).await;
        service.advance(Duration::from_secs(60));
        let stolen = service.anonymous().renew_token(client.renew(&first.refresh_token)).await;
        refused(stolen, Reason::RefreshReused);
        texts.extend([first.access_token, second.access_token]);
    }
    service.advance(hours(30 * 24 + 2));
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    assert_dead(service, &texts, 60 * 24).await;
}

async fn signing_out_by_a_refresh_token_that_idled_out_works(service: Service) {
    let client = service.client().await;
    let account = service.account("").await;
    let mut texts = Vec::new();
    for format in FORMATS {
        let token = service.anonymous().issue(client.account(&account).format(format).refresh()).await;
        service.advance(hours(3));
        // Whatever the store removes by itself is removed now.
        unrelated(&service).await;
        assert!(service.is_active(&token.access_token).await);
        service.anonymous().revoke(&token.refresh_token).await;
        texts.push(token.access_token);
    }
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    assert_dead(service, &texts, 14 * 24).await;
}

async fn revoke_sessions(service: &Service, sessions: &[&str]) {
    let sessions = wire::revoke_all_tokens_request::SessionsTarget { session_ids: owned(sessions) };
    let target = wire::revoke_all_tokens_request::Target::Sessions(sessions);
    let request =
        wire::RevokeAllTokensRequest { tenant_id: "default".into(), target: Some(target), ..Default::default() };
    service.admin().await.revoke_all_tokens(request).await.unwrap();
}

async fn lower_maxima(service: &Service) {
    let hour = || Some(seconds(HOUR));
    let settings = wire::TenantSettings {
        max_token_ttl: hour(),
        account_token_ttl: hour(),
        refresh_absolute_ttl: hour(),
        refresh_idle_ttl: hour(),
        ..Default::default()
    };
    service.set(settings).await;
}

async fn a_revoked_session_stays_dead_whatever_the_settings_say(service: Service) {
    let client = service.client().await;
    let mut texts = Vec::new();
    for (format, session) in FORMATS.into_iter().zip(["jwt", "opaque"]) {
        let request = client.client_credentials().expires_in("60d").format(format).session(session);
        texts.push(service.anonymous().issue(request).await.access_token);
    }
    lower_maxima(&service).await;
    revoke_sessions(&service, &["jwt", "opaque"]).await;
    for _ in 0..3 {
        for session in ["jwt", "opaque"] {
            service.anonymous().issue(client.client_credentials().session(session)).await;
        }
        service.advance(hours(14));
    }
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    // Until it expires the session is kept alive.
    let mut service = service;
    for _ in 0..6 {
        service = assert_dead(service, &texts, 1).await;
        for session in ["jwt", "opaque"] {
            let new = service.anonymous().issue(client.client_credentials().session(session)).await;
            assert!(service.is_active(&new.access_token).await);
        }
        service.advance(hours(20));
    }
}

async fn a_session_is_remembered_as_long_as_a_client_may_renew_in_it(service: Service) {
    let settings = wire::TenantSettings {
        refresh_absolute_ttl: Some(seconds(100 * DAY)),
        refresh_idle_ttl: Some(seconds(90 * DAY)),
        session_idle_ttl: Some(seconds(200 * DAY)),
        ..Default::default()
    };
    service.set(settings).await;
    let client = service.client().await;
    let token = service.anonymous().issue(client.client_credentials().session("s").refresh()).await;
    lower_maxima(&service).await;
    revoke_sessions(&service, &["s"]).await;
    service.advance(hours(60 * 24));
    unrelated(&service).await;
    let back = wire::TenantSettings { refresh_absolute_ttl: Some(seconds(100 * DAY)), ..Default::default() };
    service.set(back).await;
    refused(service.anonymous().renew_token(client.renew(&token.refresh_token)).await, Reason::RefreshInvalid);
}

async fn a_revoked_session_stays_dead_when_eternal_tokens_are_forbidden(service: Service) {
    let settings = wire::TenantSettings {
        eternal_tokens: Some(true),
        session_idle_ttl: Some(seconds(300 * DAY)),
        ..Default::default()
    };
    service.set(settings).await;
    let scopes = owned(&["jeton.tokens.eternal", "jeton.tokens.issue", "invoices.read"]);
    let client = wire::Client { allowed_scopes: scopes, ..plain() };
    let client = service.client_in("default", client).await;
    let account = service.account("").await;
    let request = client.account(&account).never().session("s");
    let eternal = service.anonymous().issue(request).await.access_token;
    service.set(wire::TenantSettings { eternal_tokens: Some(false), ..Default::default() }).await;
    revoke_sessions(&service, &["s"]).await;
    assert_dead(service, &[&eternal], 200 * 24).await;
}

async fn a_session_that_is_minted_for_anew_leaves_its_old_tokens_dead(service: Service) {
    let client = service.client().await;
    for format in FORMATS {
        let request = client.client_credentials().format(format).session("s");
        let old = service.anonymous().issue(request.clone().expires_in("60d")).await.access_token;
        service.advance(hours(25));
        lower_maxima(&service).await;
        for _ in 0..3 {
            let new = service.anonymous().issue(request.clone()).await.access_token;
            assert_eq!(service.active(&[&old, &new]).await, [false, true]);
            service.advance(hours(20));
            unrelated(&service).await;
        }
        let back = wire::TenantSettings { max_token_ttl: Some(seconds(90 * DAY)), ..Default::default() };
        service.set(back).await;
    }
}

async fn a_session_that_lapsed_stays_lapsed_whatever_the_settings_say(service: Service) {
    let client = service.client().await;
    let request = client.client_credentials().expires_in("60d").session("s");
    let token = service.anonymous().issue(request).await.access_token;
    service.advance(hours(25));
    assert!(!service.is_active(&token).await);
    let settings = wire::TenantSettings { session_idle_ttl: Some(seconds(90 * DAY)), ..Default::default() };
    service.set(settings).await;
    assert!(!service.is_active(&token).await);
}

async fn everything_but_mine_is_remembered_as_well(service: Service) {
    service.set(wire::TenantSettings { session_idle_ttl: Some(seconds(90 * DAY)), ..Default::default() }).await;
    let client = service.client_in("default", manager()).await;
    let request = client.client_credentials().expires_in("60d").session("s");
    let other = service.anonymous().issue(request.clone().scopes(&["pay"])).await.access_token;
    let mine = service.anonymous().issue(client.client_credentials().session("s")).await.access_token;
    lower_maxima(&service).await;
    let target = wire::revoke_all_tokens_request::Target::Sessions(wire::revoke_all_tokens_request::SessionsTarget {
        session_ids: owned(&["s"]),
    });
    let all = wire::RevokeAllTokensRequest { target: Some(target), keep_current: true, ..Default::default() };
    service.bearer(&mine).revoke_all_tokens(all).await.unwrap();
    assert_eq!(service.active(&[&other, &mine]).await, [false, true]);
    assert_dead(service, &[&other], 50 * 24).await;
}

async fn a_lowered_maximum_ends_no_token_early(service: Service) {
    let (client, admin) = (service.client().await, service.admin().await);
    let token = service.anonymous().issue(client.client_credentials().expires_in("20h")).await;
    lower_maxima(&service).await;
    let rotate = wire::RotateSigningKeyRequest { tenant_id: "default".into() };
    admin.rotate_signing_key(rotate).await.unwrap();
    let kid = jsonwebtoken::decode_header(&token.access_token).unwrap().kid.unwrap();
    for step in [150, 17 * 60, 29] {
        service.advance(Duration::from_secs(step * 60));
        assert!(service.is_active(&token.access_token).await);
        let keys = service.anonymous().list_signing_keys(Default::default()).await.unwrap().keys;
        assert!(keys.iter().any(|key| key.kid == kid), "listed");
    }
    let service = service.forgetting().await;
    assert!(service.is_active(&token.access_token).await);
    // It goes, a day and an hour after its last token at the latest.
    service.advance(hours(26));
    let keys = service.anonymous().list_signing_keys(Default::default()).await.unwrap().keys;
    assert!(!keys.iter().any(|key| key.kid == kid));
}

async fn a_key_signs_only_when_every_set_without_it_is_too_old(service: Service) {
    let (client, admin) = (service.client().await, service.admin().await);
    let issue = async || {
        let token = service.anonymous().issue(client.client_credentials()).await.access_token;
        jsonwebtoken::decode_header(&token).unwrap().kid.unwrap()
    };
    let answer = async || service.anonymous().list_signing_keys(Default::default()).await.unwrap().max_age.unwrap();
    let first = issue().await;
    assert_eq!(answer().await, seconds(600));
    service.set(wire::TenantSettings { key_announcement: Some(seconds(1)), ..Default::default() }).await;
    let rotate = || wire::RotateSigningKeyRequest { tenant_id: "default".into() };
    admin.rotate_signing_key(rotate()).await.unwrap();
    assert_eq!(answer().await, seconds(1));
    service.advance(Duration::from_millis(1200));
    assert_eq!(issue().await, first);
    service.advance(Duration::from_secs(597));
    assert_eq!(issue().await, first);
    service.advance(Duration::from_secs(2));
    let second = issue().await;
    assert_ne!(second, first);
    // What was served since is over in a second.
    let next = service.admin().await.rotate_signing_key(rotate()).await.unwrap().key.unwrap().key_id;
    service.advance(Duration::from_millis(999));
    assert_eq!(issue().await, second);
    service.advance(Duration::from_millis(1));
    assert_eq!(issue().await, next);
    // A longer age counts once it was served.
    service.set(wire::TenantSettings { key_announcement: Some(seconds(900)), ..Default::default() }).await;
    assert_eq!(answer().await, seconds(900));
    service.set(wire::TenantSettings { key_announcement: Some(seconds(1)), ..Default::default() }).await;
    service.admin().await.rotate_signing_key(rotate()).await.unwrap();
    service.advance(Duration::from_secs(899));
    assert_eq!(issue().await, next);
    service.advance(Duration::from_secs(2));
    assert_ne!(issue().await, next);
}

async fn revoking_what_is_dead_makes_the_log_no_longer(service: Service) {
    let client = service.client().await;
    let anybody = service.anonymous();
    let issue = async |format| anybody.issue(client.client_credentials().format(format).session("s").refresh()).await;
    let [jwt, opaque] = [issue(TokenFormat::Jwt).await, issue(TokenFormat::Opaque).await];
    let invalidate =
        |refresh: &str| wire::InvalidateTokensRequest { refresh_token: refresh.to_owned(), ..Default::default() };
    // Each once: that is news.
    anybody.invalidate_tokens(invalidate(&jwt.refresh_token)).await.unwrap();
    let mut last = String::new();
    for text in [&jwt.access_token, &jwt.refresh_token, &opaque.access_token, &opaque.refresh_token] {
        let position = anybody.revoke_token(revoke(text)).await.unwrap().position;
        assert!(position > last);
        last = position;
    }
    revoke_sessions(&service, &["s"]).await;
    let before = service.head().await;
    for passed in [0, 2, 24 * 40] {
        service.advance(hours(passed));
        for _ in 0..3 {
            for text in [&jwt.access_token, &jwt.refresh_token, &opaque.access_token, &opaque.refresh_token] {
                let position = anybody.revoke_token(revoke(text)).await.unwrap().position;
                assert!(position >= last);
            }
            anybody.invalidate_tokens(invalidate(&jwt.refresh_token)).await.unwrap();
        }
    }
    assert_eq!(service.head().await, before, "the log is as long as it was");
    // A new token notes for how long its signing key is needed.
    let admin = service.admin().await;
    service.settle().await;
    let before = service.head().await;
    admin
        .revoke_token(wire::RevokeTokenRequest { tenant_id: "default".into(), ..revoke_id(&jwt.token_id) })
        .await
        .unwrap();
    revoke_sessions(&service, &["s", "never-used"]).await;
    assert_eq!(service.head().await, before, "the log is as long as it was");
}

async fn a_client_cannot_renew_for_longer_than_its_tenant_lets(service: Service) {
    let greedy = wire::Client {
        refresh_absolute_ttl: Some(seconds(300 * DAY)),
        refresh_idle_ttl: Some(seconds(300 * DAY)),
        ..plain()
    };
    let client: Credentials = service.client_in("default", greedy).await;
    let token = service.anonymous().issue(client.client_credentials().refresh()).await;
    let end = u64::try_from(token.refresh_expire_time.unwrap().seconds).unwrap();
    assert_eq!(end, service.clock.now().plus(hours(30 * 24)).as_secs(), "the tenant's refresh_absolute_ttl");
}
