//! Whether keys can rotate under load: tokens are issued at a steady rate while the signing key changes again and again,
//! and each is verified at once with every set of keys that a cache may still hold.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jeton::api::wire::{self, TokenFormat, tenant_service_client::TenantServiceClient};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::Jwk};
use parking_lot::Mutex;
use prost_types::Duration as Seconds;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::Request;

use super::{
    Plan, Result,
    load::Shape,
    message::{self, Message},
    number,
    process::{Extra, PUBLIC_URL, Redis, Store},
    report::{Fact, Report, Wanted},
    world::{TENANT, World},
};

/// Between two rotations.
const ROTATION: Duration = Duration::from_secs(10);
/// How long a key is announced, and how long sets of keys may be cached. Shorter than `ROTATION`, so that each key has
/// taken over when the next is announced.
const ANNOUNCEMENT: Duration = Duration::from_secs(9);
/// Between two looks at the set of keys.
const FETCH: Duration = Duration::from_secs(1);
/// Tokens a second.
const RATE: u32 = 500;
/// How long it goes on.
const LENGTH: Duration = Duration::from_secs(120);

/// A set of keys, by key id, and when it was asked for.
type Fetched = (Instant, HashMap<String, DecodingKey>);

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    tokens: u64,
    /// Checks of one token with one set.
    checks: u64,
    failures: u64,
    signed_by: BTreeSet<String>,
}

/// Issues, rotates and verifies, on the embedded store or a Redis of its own.
pub(super) async fn run(plan: &Plan, redis: Option<&std::path::Path>, report: &mut Report) -> Result<()> {
    if !plan.wants("rotation") {
        return Ok(());
    }
    let redis = redis.map(|program| Redis::start(program, plan.dir.as_deref())).transpose()?;
    let store = redis.as_ref().map_or(Store::Embedded, |redis| Store::Redis(redis.address.clone()));
    let length = if plan.quick { LENGTH / 4 } else { LENGTH };
    plan.say(&format!("rotating keys for {} s", length.as_secs()));
    let world = World::make(plan, store, Extra::None).await?;
    let seen = rotate(&world, length).await?;
    let keys = u64::try_from(seen.signed_by.len())?;
    report.add_fact(Fact::new("tokens issued while keys rotate", number(seen.tokens), "", None));
    report.add_fact(Fact::new("keys that signed them", number(keys), "", None));
    report.add_fact(Fact::new("verifications with sets of any age", number(seen.checks), "", None));
    report.add_fact(Fact::new(
        "calls or verifications that failed",
        number(seen.failures),
        "",
        Some(Wanted::AtMost(0.0)),
    ));
    Ok(())
}

async fn rotate(world: &World, length: Duration) -> Result<Seen> {
    let mut keeper = TenantServiceClient::new(message::channel(&world.service.address).await?);
    announce(world, &mut keeper).await?;
    let sets = Arc::new(Mutex::new(VecDeque::new()));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut reader = message::connect(&world.service.address).await?;
    let issuers = Shape::WIDE.connect(&world.service.address).await?;
    let request = world.issue_own(TokenFormat::Jwt);

    let (started, mut rotated, mut fetched) = (Instant::now(), None::<Instant>, None::<Instant>);
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    let due = |last: Option<Instant>, period| last.is_none_or(|last| last.elapsed() >= period);
    for turn in 0.. {
        ticks.tick().await;
        if started.elapsed() >= length {
            break;
        }
        // Both are awaited here: a set that is on its way must not be older than it looks.
        if due(fetched, FETCH) {
            let asked = Instant::now();
            let keys = fetch(&mut reader).await?;
            sets.lock().push_back((asked, keys));
            fetched = Some(asked);
        }
        if due(rotated, ROTATION) {
            rotated = Some(Instant::now());
            let request = wire::RotateSigningKeyRequest { tenant_id: TENANT.into() };
            keeper.rotate_signing_key(with_admin(world, request).await?).await?;
        }
        let mut issuer = issuers.get(turn % issuers.len().max(1)).cloned().ok_or("there is no connection")?;
        let (request, sets, seen) = (request.clone(), Arc::clone(&sets), Arc::clone(&seen));
        calls.spawn(async move {
            match Message::Issue(request.into()).send(&mut issuer, None).await {
                Ok(reply) => verify(&reply.access_token, &mut sets.lock(), &mut seen.lock()),
                Err(_) => seen.lock().failures += 1,
            }
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    Ok(std::mem::take(&mut seen.lock()))
}

/// Checks a token that has just come with every set that a cache may hold now.
fn verify(token: &str, sets: &mut VecDeque<Fetched>, seen: &mut Seen) {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[format!("{PUBLIC_URL}/t/{TENANT}")]);
    validation.set_audience(&[format!("{PUBLIC_URL}/t/{TENANT}/api")]);
    let kid = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid).unwrap_or_default();
    sets.retain(|(asked, _)| asked.elapsed() <= ANNOUNCEMENT);
    seen.tokens += 1;
    for (_, keys) in &*sets {
        seen.checks += 1;
        let verified = keys
            .get(&kid)
            .is_some_and(|key| jsonwebtoken::decode::<serde_json::Value>(token, key, &validation).is_ok());
        seen.failures += u64::from(!verified);
    }
    seen.signed_by.insert(kid);
}

async fn fetch(client: &mut message::Client) -> Result<HashMap<String, DecodingKey>> {
    let reply = client.tokens.list_signing_keys(wire::ListSigningKeysRequest::default()).await?.into_inner();
    let key = |key: wire::JsonWebKey| -> Result<(String, DecodingKey)> {
        let jwk = serde_json::json!({"kty": key.kty, "crv": key.crv, "x": key.x, "kid": key.kid});
        Ok((key.kid, DecodingKey::from_jwk(&serde_json::from_value::<Jwk>(jwk)?)?))
    };
    reply.keys.into_iter().map(key).collect()
}

async fn announce(world: &World, keeper: &mut TenantServiceClient<tonic::transport::Channel>) -> Result<()> {
    let period = Seconds { seconds: i64::try_from(ANNOUNCEMENT.as_secs())?, nanos: 0 };
    let settings = wire::TenantSettings { key_announcement: Some(period), ..Default::default() };
    let tenant = wire::Tenant { tenant_id: TENANT.into(), settings: Some(settings), ..Default::default() };
    let request = wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
    keeper.update_tenant(with_admin(world, request).await?).await?;
    Ok(())
}

async fn with_admin<T>(world: &World, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", world.admin().await?);
    Ok(request)
}
