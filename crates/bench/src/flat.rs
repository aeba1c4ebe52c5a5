//! Whether the cost of a call depends on how many tokens an account has: two stores, one with few and one with many.

use std::{sync::Arc, time::Duration};

use jeton::{
    ambient::{Clock, Fresh as _},
    api::{
        wire,
        wire::{ConsistencyLevel, TokenFormat},
    },
    store,
    store::{Existing, Mint, SubjectKey, TokenMint, embedded::Embedded},
};
use jeton_core::{
    AccessToken, AccountId, Actor, Audience, ClientId, Format, Lineage, Position, Scopes, Subject, TenantId, TokenId,
    secret::SecretText,
};
use tokio::task::JoinSet;

use super::{
    Plan, Result,
    load::{self, Shape, Side, Until, Work},
    message::{Client, Message},
    number,
    process::{Extra, PUBLIC_URL, Redis, Store},
    report::{Flat, Report},
    world::{SCOPES, World},
};

/// The smaller number of tokens.
const FEW: usize = 1000;
/// How many records are written at a time while a store is filled. They share commits and flights.
const FILLERS: usize = 1024;
/// Calls in each block of those that add tokens, so that few stay few.
const ADDING: usize = 300;
const READING: usize = 4000;
const ROUNDS: usize = 4;
const WARM: usize = 200;
/// The client's own tokens that are introspected in turn.
const OWN: usize = 1000;

/// A service on a store that was filled.
pub(super) struct Place {
    pub(super) world: World,
    clients: Vec<Client>,
    // Ends behind the world.
    _redis: Option<Redis>,
}

/// Measures both, block by block in turns.
pub(super) async fn run(plan: &Plan, redis: Option<&std::path::Path>, report: &mut Report) -> Result<()> {
    if plan.flat == 0 || !plan.wants("flat") {
        return Ok(());
    }
    let few = Place::make(plan, redis, FEW).await?;
    let many = Place::make(plan, redis, plan.flat).await?;
    for (name, calls) in [
        ("introspect", READING),
        ("list-page", READING / 4),
        ("issue", ADDING),
        ("renew", ADDING),
        ("revoke-all", ADDING),
    ] {
        let (less, more) = (few.work(name).await?, many.work(name).await?);
        let (cpu_us, store_us) = compare(plan, [(&few, &less), (&many, &more)], calls).await?;
        report.add_flat(Flat {
            name,
            few: FEW,
            many: plan.flat,
            cpu_us,
            redis_us: redis.map(|_| store_us),
            wanted: if redis.is_some() { 1.2 } else { 1.6 },
        });
    }
    Ok(())
}

/// CPU time for a call, of the service and of its Redis, in microseconds: of few and of many, block by block in turns.
pub(super) async fn compare(
    plan: &Plan,
    works: [(&Place, &Arc<Work>); 2],
    calls: usize,
) -> Result<([f64; 2], [f64; 2])> {
    let mut cpu = [Duration::ZERO; 2];
    let mut store_cpu = [Duration::ZERO; 2];
    let rounds = if plan.quick { ROUNDS / 2 } else { ROUNDS };
    // The first round is not counted.
    for round in 0..=rounds {
        for (i, (place, work)) in works.into_iter().enumerate() {
            let (own, stored) = place.block(work, calls).await?;
            if round > 0 {
                cpu[i] += own;
                store_cpu[i] += stored;
            }
        }
    }
    let calls = number(u64::try_from(calls * rounds)?);
    let micros = |cpu: Duration| cpu.as_secs_f64() * 1e6 / calls;
    Ok((cpu.map(micros), store_cpu.map(micros)))
}

// === impl Place ===

impl Place {
    async fn make(plan: &Plan, redis: Option<&std::path::Path>, tokens: usize) -> Result<Self> {
        plan.say(&format!("filling one account with {tokens} tokens"));
        Self::filled(plan, redis, async |world| fill(world, tokens).await).await
    }

    /// A service whose store `fill` has written to past it.
    pub(super) async fn filled(
        plan: &Plan,
        redis: Option<&std::path::Path>,
        fill: impl AsyncFnOnce(&World) -> Result<()>,
    ) -> Result<Self> {
        let mut place = Self::with(plan, redis, Extra::None).await?;
        place.world.restart(fill).await?;
        place.clients = Shape::WIDE.connect(&place.world.service.address).await?;
        Ok(place)
    }

    /// A service on a store of its own.
    pub(super) async fn with(plan: &Plan, redis: Option<&std::path::Path>, extra: Extra) -> Result<Self> {
        let redis = redis.map(|program| Redis::start(program, plan.dir.as_deref())).transpose()?;
        let store = redis.as_ref().map_or(Store::Embedded, |redis| Store::Redis(redis.address.clone()));
        let world = World::make(plan, store, extra).await?;
        let clients = Shape::WIDE.connect(&world.service.address).await?;
        Ok(Self { world, clients, _redis: redis })
    }

    /// Issues of the client's own JWTs, or introspections of some.
    pub(super) async fn own(&self, introspects: bool) -> Result<Arc<Work>> {
        let issue = self.world.issue_own(TokenFormat::Jwt);
        if introspects {
            self.world.introspections(&issue, OWN, ConsistencyLevel::Full, "").await
        } else {
            Ok(Work::cycle(None, vec![Message::Issue(issue.into())]))
        }
    }

    async fn work(&self, name: &str) -> Result<Arc<Work>> {
        let world = &self.world;
        let bearer = Some(world.bearer.clone());
        let issue = world.issue_for(&world.account_id, TokenFormat::Opaque);
        Ok(match name {
            "introspect" => world.introspections(&issue, WARM, ConsistencyLevel::Full, "").await?,
            "list-page" => {
                let subject = wire::list_tokens_request::Subject::AccountId(world.account_id.clone());
                let list = wire::ListTokensRequest { subject: Some(subject), page_size: 50, ..Default::default() };
                Work::cycle(bearer, vec![Message::List(list)])
            }
            "issue" => Work::cycle(bearer, vec![Message::Issue(issue.into())]),
            "renew" => world.renewals(issue, WARM).await?,
            _ => {
                use wire::revoke_all_tokens_request::{AccountTarget, Target};
                let account_id = world.account_id.clone();
                let target = Target::Account(AccountTarget { account_id, include_descendants: false });
                let revoke = wire::RevokeAllTokensRequest { target: Some(target), ..Default::default() };
                Work::cycle(bearer, vec![Message::RevokeAll(revoke)])
            }
        })
    }

    /// CPU of the service and of its Redis.
    async fn block(&self, work: &Arc<Work>, calls: usize) -> Result<(Duration, Duration)> {
        let stored = || match &self.world.store {
            Store::Redis(address) => address.cpu(),
            Store::Embedded => Ok(Duration::ZERO),
        };
        let process = &self.world.service.process;
        let (own, store) = (process.cpu()?, stored()?);
        load::block(&self.clients, Shape::WIDE.in_flight, work, Side::Service, Until::Calls(calls)).await?;
        Ok((process.cpu()?.saturating_sub(own), stored()?.saturating_sub(store)))
    }
}

/// The store of a service that does not run.
pub(super) async fn open(world: &World) -> Result<Arc<dyn store::Store>> {
    Ok(match &world.store {
        Store::Embedded => {
            let file = world.dir.path().join("data").join("jeton.redb");
            Embedded::open(&file, Clock::default(), store::embedded::Options::default())?
        }
        Store::Redis(address) => {
            let options = store::redis::Options {
                tls: store::redis::Tls::default(),
                url: SecretText::new(address.url.clone()),
                workers: 1,
                wait_replicas: 0,
                wait_timeout: Duration::ZERO,
            };
            store::redis::Redis::connect(&options).await?
        }
    })
}

/// Writes tokens for the world's account past the service, as the service would write them.
async fn fill(world: &World, tokens: usize) -> Result<()> {
    let store = open(world).await?;
    let (client, account) = (world.client_id.parse()?, world.account_id.parse()?);
    let mut writes = JoinSet::new();
    for _ in 0..tokens {
        if writes.len() >= FILLERS
            && let Some(written) = writes.join_next().await
        {
            written??;
        }
        let (store, mint) = (Arc::clone(&store), mint(&client, &account)?);
        writes.spawn(async move { store.mint(&mint).await.map(|_| ()) });
    }
    while let Some(written) = writes.join_next().await {
        written??;
    }
    Ok(())
}

/// An opaque token of an account that the client has obtained.
pub(super) fn mint(client: &ClientId, account: &AccountId) -> Result<Mint> {
    let now = Clock::default().now();
    let tenant: TenantId = "default".parse()?;
    let issuer = format!("{PUBLIC_URL}/t/{tenant}");
    let token = AccessToken {
        id: TokenId::made_at(now)?,
        tenant,
        client: client.clone(),
        subject: Subject::Account(Lineage { account: account.clone(), ancestors: Vec::new() }),
        scopes: Scopes::new(SCOPES),
        audience: Audience::new([format!("{issuer}/api")], &issuer),
        format: Format::Opaque,
        issued: now.whole_secs(),
        ttl: Some(Duration::from_secs(14 * 86_400)),
        rev: Position::new(0, Clock::default().now_micros()).unwrap_or(Position::START),
        signing_key: None,
        actor: Some(Actor::Client),
        session: None,
        family: None,
        sources: Vec::new(),
        options: None,
        claims: None,
        request: None,
        home: None,
        authentication: None,
    };
    let part = TokenMint {
        id: token.id.clone(),
        record: token.to_record().into(),
        expires: token.expires(),
        keep_until: token.expires(),
        subject: SubjectKey::Account(account.clone()),
        exists: Existing::Replace,
    };
    Ok(Mint { now, token: Some(part), family: None, session: None })
}
