//! A model that knows of each revocation only that it was made, and after which tokens, judges every introspection: whatever
//! the settings become, however often the service restarts, over more than a year.
//!
//! A failure names its seed and what was done. To see it again: `JETON_MODEL_SEED=<seed> JETON_MODEL_RUNS=1`.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use jeton::api::wire::{
    self, TokenFormat,
    revoke_all_tokens_request::{AccountTarget, SessionsTarget, Target, TenantTarget},
};

use super::{
    calls::{Credentials, IssueExt as _, for_group, for_member, owned, revoke, revoke_id, seconds},
    groups,
    harness::{Backend, Service, plain},
    memberships,
};
use crate::simulation::chance::Chance;

/// The fewest steps of one run; about one in six moves the time. It goes on until 400 days have passed.
const STEPS: usize = 260;
/// Runs on each store, unless `JETON_MODEL_RUNS` says otherwise.
const RUNS: u64 = 2;
const LIVES: [&str; 7] = ["5m", "50m", "20h", "6d", "40d", "90d", "300d"];
/// One for each of whom tokens are issued for.
const SESSIONS: [&str; 7] = ["c0", "c1", "c2", "a", "d", "m", "g"];
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// A mint sees a session lapsed so much earlier than introspection does.
const MARGIN: u64 = 5;

#[tokio::test]
async fn on_the_embedded_store_every_introspection_agrees_with_the_model() {
    run_all(Backend::Embedded).await;
}

#[tokio::test]
async fn on_redis_every_introspection_agrees_with_the_model() {
    run_all(Backend::Redis).await;
}

async fn run_all(backend: Backend) {
    let setting = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let first = setting("JETON_MODEL_SEED").unwrap_or(1);
    for seed in first..first + setting("JETON_MODEL_RUNS").unwrap_or(RUNS) {
        let mut world = World::new(seed, Service::start(backend).await).await;
        let mut steps = 0;
        while steps < STEPS || world.days() <= 400 {
            world.step().await;
            world.judge().await;
            steps += 1;
        }
        assert!(world.dead > STEPS && world.alive > STEPS / 4, "too little was seen: {} {}", world.dead, world.alive);
    }
}

/// A token, and all that a revocation may name it by.
struct Token {
    text: String,
    id: String,
    expires: Option<u64>,
    /// How many revocations had been made when it was issued.
    order: usize,
    session: Option<&'static str>,
    names: Vec<String>,
    what: String,
}

/// A refresh token.
struct Refresh {
    text: String,
    of: Lineage,
}

/// What a token has in common with those that are renewed from it.
#[derive(Clone)]
struct Lineage {
    client: usize,
    /// How many revocations had been made when it was granted.
    order: usize,
    session: Option<&'static str>,
    names: Vec<String>,
    what: String,
}

struct World {
    chance: Chance,
    service: Option<Service>,
    started: u64,
    /// The last may never end its tokens, and lives elsewhere: it is admitted.
    clients: Vec<Credentials>,
    root: String,
    child: String,
    member: String,
    group: String,
    tokens: Vec<Token>,
    refresh: Vec<Refresh>,
    families: usize,
    /// How many revocations had been made, this one included, when something was last revoked.
    revoked: HashMap<String, usize>,
    revocations: usize,
    /// Until when sessions live, as of their last mint; with the idle time of now.
    sessions: HashMap<&'static str, u64>,
    idle: u64,
    alive: usize,
    dead: usize,
    history: String,
}

// === impl World ===

impl World {
    async fn new(seed: u64, service: Service) -> Self {
        let longest = wire::TenantSettings { key_rotation_period: Some(seconds(300 * DAY)), ..Default::default() };
        service.set(longest).await;
        service.tenant("guests", Default::default()).await;
        let scopes = owned(&["invoices.read", "jeton.tokens.issue", "jeton.tokens.eternal"]);
        let client = || wire::Client { allowed_scopes: scopes.clone(), ..plain() };
        let clients = vec![
            service.client_in("default", client()).await,
            service.client_in("default", client()).await,
            service.client_in("guests", client()).await,
        ];
        let root = service.account("").await;
        let child = service.account(&root).await;
        let manager = memberships::caller(&service).await;
        let member = memberships::member(&manager, "ada").await;
        memberships::join(&manager, memberships::place(&root, &member, &[])).await.unwrap();
        let group = groups::create(&manager, groups::named("g"), &[&root]).await.unwrap().entity_group_id;
        let world = Self {
            chance: Chance::new(seed),
            started: service.clock.now().as_secs(),
            service: Some(service),
            clients,
            root,
            child,
            member,
            group,
            tokens: Vec::new(),
            refresh: Vec::new(),
            families: 0,
            revoked: HashMap::new(),
            revocations: 0,
            sessions: HashMap::new(),
            idle: DAY,
            alive: 0,
            dead: 0,
            history: format!("seed {seed}"),
        };
        world.admit().await;
        world
    }

    fn service(&self) -> &Service {
        self.service.as_ref().unwrap()
    }

    fn now(&self) -> u64 {
        self.service().clock.now().as_secs()
    }

    fn days(&self) -> u64 {
        (self.now() - self.started) / DAY
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        let at = (self.now() - self.started) / 60;
        write!(self.history, "\n{:>3} d {:>4} min  {what}", at / 1440, at % 1440).unwrap();
    }

    async fn step(&mut self) {
        match self.chance.below(36) {
            0..=9 => self.issue().await,
            10..=13 => self.renew().await,
            14..=15 => self.revoke_token().await,
            16..=17 => self.revoke_refresh().await,
            18..=20 => self.revoke_all().await,
            21..=22 => self.end_principal().await,
            23 => self.rotate_key().await,
            24 => self.revoke_key().await,
            25..=28 => self.change_settings().await,
            29 => {
                self.note("restarts");
                let service = self.service.take().unwrap().forgetting().await;
                self.service = Some(service);
            }
            _ => {
                let steps = [60, 20 * 60, 2 * HOUR, 20 * HOUR, 3 * DAY, 20 * DAY, 41 * DAY];
                // Never right at an end: what is given in whole seconds may be a second off.
                let by = *self.chance.pick(&steps) + 17;
                self.service().advance(Duration::from_secs(by));
                self.note(format_args!("{by} s pass"));
            }
        }
    }

    // === issuing ===

    async fn issue(&mut self) {
        let client = self.chance.below(self.clients.len());
        let format = *self.chance.pick(&[TokenFormat::Jwt, TokenFormat::Opaque]);
        let refresh = self.chance.one_in(2);
        let (kind, mut names) = match if client == 2 { 0 } else { self.chance.below(5) } {
            0 => ("client", Vec::new()),
            1 => ("account", vec![format!("account {}", self.root), format!("subtree {}", self.root)]),
            2 => {
                let [root, child] = [&self.root, &self.child];
                ("child", vec![format!("account {child}"), format!("subtree {child}"), format!("subtree {root}")])
            }
            3 => (
                "member",
                vec![
                    "member".into(),
                    "membership".into(),
                    format!("account {}", self.root),
                    format!("subtree {}", self.root),
                ],
            ),
            _ => ("group", vec!["group".into()]),
        };
        // A session is of whom it was first minted for.
        let session = match kind {
            "client" => SESSIONS[client],
            "account" => SESSIONS[3],
            "child" => SESSIONS[4],
            "member" => SESSIONS[5],
            _ => SESSIONS[6],
        };
        let session = Some(session).filter(|_| !self.chance.one_in(3));
        names.extend([format!("client {client}"), "tenant".into()]);
        let credentials = &self.clients[client];
        let request = match kind {
            "client" => credentials.client_credentials().tenant("default"),
            "account" => credentials.account(&self.root),
            "child" => credentials.account(&self.child),
            "member" => credentials.with(for_member(&self.member, &self.root)),
            _ => credentials.with(for_group(&self.group, "")),
        };
        let mut request = request.format(format).scopes(&["invoices.read"]);
        request.include_refresh_token = refresh;
        match self.chance.below(8) {
            0 if !refresh && format == TokenFormat::Opaque && kind == "account" => request = request.never(),
            1..=5 => request = request.expires_in(LIVES[self.chance.below(LIVES.len())]),
            _ => {}
        }
        if let Some(session) = session {
            request = request.session(session);
        }
        // Some lives are too long for the settings of the day.
        let Ok(reply) = self.service().anonymous().issue_token(request).await else { return };
        let issued = reply.token.unwrap();
        self.mint(session);
        names.extend(session.map(|session| format!("session {session}")));
        if refresh {
            self.families += 1;
            names.push(format!("family {}", self.families));
        }
        let what = format!("{kind} {format:?} of {client} in {session:?}, family {}", self.families);
        let order = self.revocations;
        self.took(&issued, Lineage { client, order, session, names, what });
    }

    /// A session that has lapsed takes all along that was minted for it before.
    fn mint(&mut self, session: Option<&'static str>) {
        let Some(session) = session else { return };
        let now = self.now();
        if self.sessions.get(session).is_some_and(|until| until - MARGIN <= now) {
            self.revoke(format!("session {session}"));
        }
        self.sessions.insert(session, now + self.idle);
    }

    fn took(&mut self, issued: &wire::IssuedToken, of: Lineage) {
        self.note(format_args!("issued {}: {}", issued.token_id, of.what));
        let mut names = of.names.clone();
        names.push(format!("token {}", issued.token_id));
        if let Ok(header) = jsonwebtoken::decode_header(&issued.access_token) {
            names.push(format!("key {}", header.kid.unwrap()));
        }
        self.tokens.push(Token {
            text: issued.access_token.clone(),
            id: issued.token_id.clone(),
            expires: issued.expire_time.map(|time| u64::try_from(time.seconds).unwrap()),
            order: self.revocations,
            session: of.session,
            names,
            what: of.what.clone(),
        });
        if !issued.refresh_token.is_empty() {
            self.refresh.push(Refresh { text: issued.refresh_token.clone(), of });
        }
    }

    async fn renew(&mut self) {
        if self.refresh.is_empty() {
            return;
        }
        let at = self.chance.below(self.refresh.len());
        let Refresh { text, of } = &self.refresh[at];
        let reply = self.service().anonymous().renew_token(self.clients[of.client].renew(text)).await;
        // Settings, or an idle time that is over, may forbid it.
        let Ok(reply) = reply else { return };
        let dead = self.is_revoked(&of.names, of.order) || self.has_lapsed(of.session);
        assert!(!dead, "renewed, though it was revoked: {}\n{}", of.what, self.history);
        let of = self.refresh.swap_remove(at).of;
        self.mint(of.session);
        self.took(&reply.token.unwrap(), of);
    }

    // === revoking ===

    fn revoke(&mut self, name: String) {
        self.revocations += 1;
        self.note(format_args!("revoked: {name}"));
        self.revoked.insert(name, self.revocations);
    }

    async fn revoke_token(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        let at = self.chance.below(self.tokens.len());
        let (token, by_id) = (&self.tokens[at], self.chance.one_in(3));
        let name = format!("token {}", token.id);
        let is_stored = token.expires.is_none_or(|expires| self.now() < expires);
        if by_id {
            let request = wire::RevokeTokenRequest { tenant_id: "default".into(), ..revoke_id(&token.id) };
            self.service().admin().await.revoke_token(request).await.unwrap();
        } else {
            self.service().anonymous().revoke(&token.text).await;
        }
        if is_stored {
            self.revoke(name);
        }
    }

    async fn revoke_refresh(&mut self) {
        if self.refresh.is_empty() {
            return;
        }
        let at = self.chance.below(self.refresh.len());
        let refresh = if self.chance.one_in(2) { self.refresh.swap_remove(at) } else { return };
        self.service().anonymous().revoke_token(revoke(&refresh.text)).await.unwrap();
        let name = refresh.of.names.iter().find(|name| name.starts_with("family ")).unwrap();
        self.revoke(name.clone());
    }

    async fn revoke_all(&mut self) {
        let client = self.chance.below(self.clients.len());
        let (target, name) = match self.chance.below(7) {
            0 => {
                let target = AccountTarget { account_id: self.root.clone(), include_descendants: true };
                (Target::Account(target), format!("subtree {}", self.root))
            }
            1 => {
                let target = AccountTarget { account_id: self.child.clone(), include_descendants: false };
                (Target::Account(target), format!("account {}", self.child))
            }
            2 => (Target::ClientId(self.clients[client].client_id.clone()), format!("client {client}")),
            3 => (Target::MemberId(self.member.clone()), "member".to_owned()),
            4 => (Target::EntityGroupId(self.group.clone()), "group".to_owned()),
            5 if self.chance.one_in(4) => (Target::Tenant(TenantTarget {}), "tenant".to_owned()),
            _ => {
                let session = SESSIONS[self.chance.below(SESSIONS.len())];
                let target = SessionsTarget { session_ids: vec![session.to_owned()] };
                (Target::Sessions(target), format!("session {session}"))
            }
        };
        let request =
            wire::RevokeAllTokensRequest { tenant_id: "default".into(), target: Some(target), ..Default::default() };
        self.service().admin().await.revoke_all_tokens(request).await.unwrap();
        self.revoke(name);
    }

    /// Disables or expels something, and takes it back: what was issued before stays dead.
    async fn end_principal(&mut self) {
        let admin = self.service().admin().await;
        let tenant = || "default".to_owned();
        let name = match self.chance.below(5) {
            0 => {
                let id = self.clients[0].client_id.clone();
                let disable = wire::DisableClientRequest { tenant_id: tenant(), client_id: id.clone() };
                admin.disable_client(disable).await.unwrap();
                admin.enable_client(wire::EnableClientRequest { tenant_id: tenant(), client_id: id }).await.unwrap();
                "client 0".to_owned()
            }
            1 => {
                let id = self.child.clone();
                let disable = wire::DisableAccountRequest { tenant_id: tenant(), account_id: id.clone() };
                admin.disable_account(disable).await.unwrap();
                admin.enable_account(wire::EnableAccountRequest { tenant_id: tenant(), account_id: id }).await.unwrap();
                format!("subtree {}", self.child)
            }
            2 => {
                let id = self.member.clone();
                let disable = wire::DisableMemberRequest { tenant_id: tenant(), member_id: id.clone() };
                admin.disable_member(disable).await.unwrap();
                admin.enable_member(wire::EnableMemberRequest { tenant_id: tenant(), member_id: id }).await.unwrap();
                "member".to_owned()
            }
            3 => {
                let (account_id, member_id) = (self.root.clone(), self.member.clone());
                let disable = wire::DisableMembershipRequest {
                    tenant_id: tenant(),
                    account_id: account_id.clone(),
                    member_id: member_id.clone(),
                };
                admin.disable_membership(disable).await.unwrap();
                let enable = wire::EnableMembershipRequest { tenant_id: tenant(), account_id, member_id };
                admin.enable_membership(enable).await.unwrap();
                "membership".to_owned()
            }
            _ => {
                let client_id = self.clients[2].client_id.clone();
                admin.expel_client(wire::ExpelClientRequest { tenant_id: tenant(), client_id }).await.unwrap();
                self.admit().await;
                "client 2".to_owned()
            }
        };
        self.revoke(name);
    }

    async fn admit(&self) {
        let admission = wire::Admission { client_id: self.clients[2].client_id.clone(), ..Default::default() };
        let request = wire::AdmitClientRequest { tenant_id: "default".into(), admission: Some(admission) };
        self.service().admin().await.admit_client(request).await.unwrap();
    }

    async fn rotate_key(&mut self) {
        let request = wire::RotateSigningKeyRequest { tenant_id: "default".into() };
        self.service().admin().await.rotate_signing_key(request).await.unwrap();
        self.note("rotates the key");
    }

    async fn revoke_key(&mut self) {
        let kids: Vec<_> = self
            .tokens
            .iter()
            .flat_map(|token| token.names.iter())
            .filter_map(|name| name.strip_prefix("key "))
            .collect();
        if kids.is_empty() || !self.chance.one_in(3) {
            return;
        }
        let kid = (*self.chance.pick(&kids)).to_owned();
        let request = wire::RevokeSigningKeyRequest { tenant_id: "default".into(), key_id: kid.clone() };
        if self.service().admin().await.revoke_signing_key(request).await.is_ok() {
            self.revoke(format!("key {kid}"));
        }
    }

    // === settings ===

    async fn change_settings(&mut self) {
        let mut settings = wire::TenantSettings::default();
        let some = |days: &[u64]| Some(seconds(*self.chance.pick(days)));
        match self.chance.below(6) {
            0 | 1 => settings.max_token_ttl = some(&[HOUR, DAY, 30 * DAY, 90 * DAY, 300 * DAY]),
            2 => {
                let absolute = some(&[HOUR, DAY, 30 * DAY, 300 * DAY]);
                (settings.refresh_absolute_ttl, settings.refresh_idle_ttl) = (absolute, absolute);
            }
            3 => {
                self.idle = *self.chance.pick(&[HOUR, DAY, 30 * DAY, 300 * DAY]);
                settings.session_idle_ttl = Some(seconds(self.idle));
            }
            4 => settings.eternal_tokens = Some(self.chance.one_in(2)),
            _ => settings.key_announcement = some(&[1, 60, 600, DAY]),
        }
        let answer = format!("{settings:?}");
        let answer: Vec<_> = answer.split(", ").filter(|part| part.contains("Some")).collect();
        let answer = answer.join(", ");
        self.service().set(settings).await;
        self.note(answer);
        if self.chance.one_in(3) {
            let client = wire::Client {
                client_id: self.clients[1].client_id.clone(),
                refresh_absolute_ttl: Some(seconds(*self.chance.pick(&[HOUR, 10 * DAY, 300 * DAY]))),
                token_ttl: Some(seconds(*self.chance.pick(&[HOUR, 10 * DAY, 300 * DAY]))),
                ..Default::default()
            };
            let request =
                wire::UpdateClientRequest { tenant_id: "default".into(), client: Some(client), ..Default::default() };
            self.service().admin().await.update_client(request).await.unwrap();
        }
    }

    // === judging ===

    /// Whether something that was issued after `order` revocations was revoked since. A token, a family and a key are so once
    /// and for ever.
    fn is_revoked(&self, names: &[String], order: usize) -> bool {
        names.iter().any(|name| {
            let once = ["token ", "key ", "family "].iter().any(|kind| name.starts_with(kind));
            self.revoked.get(name).is_some_and(|revoked| once || *revoked > order)
        })
    }

    fn has_lapsed(&self, session: Option<&'static str>) -> bool {
        session.is_some_and(|session| self.sessions[session] <= self.now())
    }

    async fn judge(&mut self) {
        let now = self.now();
        // What has expired long ago must be dead as well, but need not be introspected for ever.
        self.tokens.retain(|token| token.expires.is_none_or(|expires| now < expires + DAY));
        let texts: Vec<_> = self.tokens.iter().map(|token| token.text.as_str()).collect();
        if texts.is_empty() {
            return;
        }
        let answers = self.service().active(&texts).await;
        for (token, active) in self.tokens.iter().zip(answers) {
            let expected = token.expires.is_none_or(|expires| now < expires)
                && !self.is_revoked(&token.names, token.order)
                && !self.has_lapsed(token.session);
            assert_eq!(active, expected, "{} {}\n{}", token.id, token.what, self.history);
            if active { self.alive += 1 } else { self.dead += 1 }
        }
    }
}
