//! Signing keys and master keys over their lives.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use jeton::api::{
    wire,
    wire::{TokenFormat, signing_key::State},
};
use jeton_contract::reason::Reason;
use jsonwebtoken::Algorithm;

use super::{
    calls::{Caller, IssueExt as _, refused, seconds},
    formats::verify,
    harness::{PUBLIC_URL, Service, manager, master, plain},
};

on_both_stores! {
    a_rotated_key_is_announced_then_signs_and_the_old_one_verifies_on
    a_revoked_key_kills_its_tokens_at_once_and_a_new_one_signs
    keys_rotate_by_themselves_when_due
    a_set_of_keys_of_any_age_within_its_max_age_verifies_what_was_just_issued
    another_algorithm_takes_over_after_the_announcement
    everything_survives_a_restart
    everything_survives_a_new_master_key_in_front_of_the_old_one
}

const ANNOUNCED: Duration = Duration::from_secs(600);

async fn kids(service: &Service) -> Vec<String> {
    let keys = service.anonymous().list_signing_keys(Default::default()).await.unwrap().keys;
    keys.into_iter().map(|key| key.kid).collect()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

async fn keeper(service: &Service) -> Caller {
    service.caller(&service.client_in("default", manager()).await).await
}

async fn a_rotated_key_is_announced_then_signs_and_the_old_one_verifies_on(service: Service) {
    let (client, keeper) = (service.client().await, keeper(&service).await);
    let issue = async || service.anonymous().issue(client.client_credentials().expires_in("90d")).await.access_token;
    let old = issue().await;
    let rotated = keeper.rotate_signing_key(Default::default()).await.unwrap().key.unwrap();
    assert_eq!(rotated.state(), State::Announced);
    assert_eq!(keeper.rotate_signing_key(Default::default()).await.unwrap().key.unwrap().key_id, rotated.key_id);
    assert_eq!(kids(&service).await, [kid(&old), rotated.key_id.clone()], "listed before it signs");
    service.advance(ANNOUNCED - Duration::from_secs(1));
    assert_eq!(kid(&issue().await), kid(&old));
    service.advance(Duration::from_secs(1));
    let new = issue().await;
    assert_eq!(kid(&new), rotated.key_id);
    assert_eq!(service.active(&[&old, &new]).await, [true, true]);
    // The last token of the old key lives for 90 days; the key goes an hour and at most a day later.
    service.advance(Duration::from_secs(89 * 86_400));
    assert_eq!(service.active(&[&old, &new]).await, [true, true]);
    assert_eq!(kids(&service).await.first(), Some(&kid(&old)));
    service.advance(Duration::from_secs(2 * 86_400 + 3_600));
    assert!(!kids(&service).await.contains(&kid(&old)));
}

async fn a_revoked_key_kills_its_tokens_at_once_and_a_new_one_signs(service: Service) {
    let (client, keeper) = (service.client().await, keeper(&service).await);
    let other = service.tenant("other", Default::default()).await.tenant_id;
    let foreign = service.client_in(&other, plain()).await;
    let foreign = service.anonymous().issue(foreign.client_credentials()).await.access_token;
    let issue = async |format| service.anonymous().issue(client.client_credentials().format(format).refresh()).await;
    let (jwt, opaque) = (issue(TokenFormat::Jwt).await, issue(TokenFormat::Opaque).await);
    let active = [&*jwt.access_token, &opaque.access_token, &foreign];
    assert_eq!(service.active(&active).await, [true; 3]);

    let admin = service.admin().await;
    let revoke = |key: &str| wire::RevokeSigningKeyRequest { tenant_id: "default".into(), key_id: key.to_owned() };
    let revoked = admin.revoke_signing_key(revoke(&kid(&jwt.access_token))).await.unwrap().key.unwrap();
    assert_eq!(revoked.state(), State::Revoked);
    assert_eq!(service.active(&active).await, [false, true, true]);
    let new = issue(TokenFormat::Jwt).await.access_token;
    assert_ne!(kid(&new), kid(&jwt.access_token));
    assert!(service.is_active(&new).await);
    assert_eq!(kids(&service).await, [kid(&new)]);
    admin.revoke_signing_key(revoke(&kid(&jwt.access_token))).await.unwrap();
    refused(admin.revoke_signing_key(revoke("nonsense")).await, Reason::NotFound);
    // The bearer of the keeper was signed by it, too. A family is not.
    refused(keeper.get_caller(Default::default()).await, Reason::TokenInvalid);
    let renewed = service.anonymous().renew(client.renew(&jwt.refresh_token)).await;
    assert!(service.is_active(&renewed.access_token).await);
}

async fn keys_rotate_by_themselves_when_due(service: Service) {
    let settings = wire::TenantSettings {
        key_rotation_period: Some(seconds(3600)),
        key_announcement: Some(seconds(60)),
        ..Default::default()
    };
    service.set(settings).await;
    let client = service.client().await;
    let issue = async || service.anonymous().issue(client.client_credentials()).await.access_token;
    let first = issue().await;
    service.advance(Duration::from_secs(3600 - 60));
    assert_eq!(kid(&issue().await), kid(&first));
    service.settle().await;
    let listed = kids(&service).await;
    assert_eq!(listed.len(), 2, "the next one is announced by a use of the old one");
    service.advance(Duration::from_secs(59));
    assert_eq!(kid(&issue().await), kid(&first));
    service.advance(Duration::from_secs(1));
    assert_eq!(kid(&issue().await), listed[1]);
    // Nobody came for long: the old key signs until the next was announced.
    service.advance(Duration::from_secs(36_000));
    assert_eq!(kid(&issue().await), listed[1]);
    service.settle().await;
    service.advance(Duration::from_secs(60));
    assert!(!listed.contains(&kid(&issue().await)));
}

/// Two minutes of the service's clock in steps of a second, with a rotation as soon as the one before has taken over.
async fn a_set_of_keys_of_any_age_within_its_max_age_verifies_what_was_just_issued(service: Service) {
    const ANNOUNCEMENT: u64 = 10;
    service.set(wire::TenantSettings { key_announcement: Some(seconds(ANNOUNCEMENT)), ..Default::default() }).await;
    // Until then somebody may believe a set that was read before.
    service.advance(ANNOUNCED);
    let (client, admin) = (service.client().await, service.admin().await);
    let mut fetched = VecDeque::new();
    let mut signed_by = BTreeSet::new();
    for second in 0..120_u64 {
        if second % ANNOUNCEMENT == 0 {
            let request = wire::RotateSigningKeyRequest { tenant_id: "default".into() };
            admin.rotate_signing_key(request).await.unwrap();
        }
        let reply = service.anonymous().list_signing_keys(Default::default()).await.unwrap();
        assert_eq!(reply.max_age, Some(seconds(ANNOUNCEMENT)));
        // A cache may use it until its last second, so the one from `max_age` ago counts.
        fetched.push_back(reply.keys);
        if fetched.len() > usize::try_from(ANNOUNCEMENT).unwrap() + 1 {
            fetched.pop_front();
        }
        let token = service.anonymous().issue(client.client_credentials()).await.access_token;
        signed_by.insert(kid(&token));
        for (age, keys) in fetched.iter().rev().enumerate() {
            let key = keys.iter().find(|key| key.kid == kid(&token));
            let key =
                key.unwrap_or_else(|| panic!("second {second}: the keys of {age} s ago do not know {}", kid(&token)));
            verify(key, Algorithm::EdDSA, &token, &format!("{PUBLIC_URL}/t/default"));
        }
        service.advance(Duration::from_secs(1));
    }
    assert_eq!(signed_by.len(), 12, "one key after another signed");
}

async fn another_algorithm_takes_over_after_the_announcement(service: Service) {
    let client = service.client().await;
    let issue = async || service.anonymous().issue(client.client_credentials()).await.access_token;
    let old = issue().await;
    let es256 = wire::SigningAlgorithm::Es256.into();
    service.set(wire::TenantSettings { signing_algorithm: es256, ..Default::default() }).await;
    assert_eq!(kid(&issue().await), kid(&old));
    service.advance(ANNOUNCED);
    let new = issue().await;
    assert_eq!(jsonwebtoken::decode_header(&new).unwrap().alg, Algorithm::ES256);
    service.set(wire::TenantSettings { signing_algorithm: es256, ..Default::default() }).await;
    assert_eq!(kids(&service).await.len(), 2, "what is so already is no change");
    assert!(service.is_active(&new).await);
}

async fn survives(service: Service, masters: Vec<u8>) {
    let client = service.client().await;
    let issue = async |service: &Service, format| {
        service.anonymous().issue(client.client_credentials().format(format).expires_in("1h").refresh()).await
    };
    let (jwt, opaque) = (issue(&service, TokenFormat::Jwt).await, issue(&service, TokenFormat::Opaque).await);
    let dead = issue(&service, TokenFormat::Opaque).await;
    service.anonymous().revoke(&dead.refresh_token).await;
    let renewed = service.anonymous().renew(client.renew(&opaque.refresh_token)).await;
    let request = client.client_credentials().format(TokenFormat::Opaque).request_id(&super::calls::uuid(1));
    let repeatable = service.anonymous().issue(request.clone()).await;

    let service = service.restart(masters.into_iter().map(master).collect()).await;
    let all = [&jwt, &opaque, &renewed, &dead].map(|token| token.access_token.as_str());
    assert_eq!(service.active(&all).await, [true, true, true, false]);
    // The window is still open: the same successor again, whichever key derives new ones.
    let again = service.anonymous().renew(client.renew(&opaque.refresh_token)).await;
    assert_eq!(again.refresh_token, renewed.refresh_token);
    let next = service.anonymous().renew(client.renew(&again.refresh_token)).await;
    let next = service.anonymous().renew(client.renew(&next.refresh_token)).await;
    refused(service.anonymous().renew_token(client.renew(&dead.refresh_token)).await, Reason::RefreshInvalid);
    let repeat = service.anonymous().issue(request).await;
    assert_eq!(repeat.token_id, repeatable.token_id);
    let new = issue(&service, TokenFormat::Jwt).await;
    let all = [&next, &new, &repeat, &repeatable].map(|token| token.access_token.as_str());
    assert_eq!(service.active(&all).await, [true; 4]);
}

async fn everything_survives_a_restart(service: Service) {
    survives(service, vec![1]).await;
}

async fn everything_survives_a_new_master_key_in_front_of_the_old_one(service: Service) {
    survives(service, vec![2, 1]).await;
}
