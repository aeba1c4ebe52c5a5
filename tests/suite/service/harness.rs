//! A server like the real one, on a store of its own.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::{
    ambient::Clock,
    api::{
        DESCRIPTORS,
        edge::{Edge, Limits, Watch},
        health::Health,
        policy::Policy,
        protocol::Grpc,
        wire,
    },
    app,
    app::{App, Bearer, Setup},
    directory::{
        identities::NewPassword,
        record::{IdentityKind, IdentityProfile, Member, PasswordHash},
    },
    issuer::{passwords::Place, workloads::Workloads},
    keys::{master::MasterKey, ring::Keyring, signing::KeySet, stored::StoredKeySet},
    outbound::{Outbound, published::Location},
    outbox::Sink,
    serve::{
        Options, Protocol, Shutdown, listen,
        listen::{Address, Listener},
        serve,
        tls::Security,
    },
    store,
    store::{Store, embedded::Embedded, redis::Redis},
};
use jeton_core::{Position, secret::SecretText};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint};

use super::calls::{Caller, Credentials};
use crate::{
    certificates::{Authority, Certified},
    remote::{self, Remote, Reply},
    servers::{Aof, Server as RedisServer},
};

/// Which store a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Embedded,
    Redis,
}

/// A running service with an administrator.
pub struct Service {
    pub clock: Clock,
    pub admin: Credentials,
    channel: Channel,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where it serves OAuth 2.
    pub http: SocketAddr,
    app: App,
    /// What lies behind it. Replicas share it.
    backing: Arc<Backing>,
    masters: Vec<MasterKey>,
    others: Others,
    /// Where its events go.
    receiver: Remote,
    _stop: DropGuard,
}

/// The services of others that it has to do with.
#[derive(Clone)]
struct Others {
    /// The issuers of workloads that it trusts.
    issuers: Vec<(String, Location)>,
    /// How it calls out.
    outbound: Arc<Outbound>,
    /// How it is called; `None`: not under TLS.
    security: Option<(Security, Arc<Authority>)>,
    /// Whether issuers are URLs that lead to it.
    reachable: bool,
    /// The contract that it enforces.
    contract: Vec<u8>,
}

enum Backing {
    Embedded(TempDir),
    Redis(RedisServer),
}

/// The `{base}` of issuers.
pub const PUBLIC_URL: &str = "https://auth.example.com";
/// Worker threads of one service.
const WORKERS: usize = 1;
/// Longer than anything here takes, unless it hangs.
const SOON: Duration = Duration::from_secs(30);

/// A master key; equal numbers are equal keys.
pub fn master(number: u8) -> MasterKey {
    let mut bytes = [number; 32];
    bytes[0] = 0xa5;
    MasterKey::new(bytes)
}

// === impl Service ===

impl Service {
    /// A service on an empty store.
    pub async fn start(backend: Backend) -> Self {
        let backing = match backend {
            Backend::Embedded => Backing::Embedded(tempfile::tempdir().unwrap()),
            Backend::Redis => Backing::Redis(RedisServer::start(Aof::Off)),
        };
        // It begins at the real time, because Redis tells its own.
        let clock = Clock::manual(Clock::default().now());
        let others = Others {
            issuers: Vec::new(),
            outbound: remote::outbound(),
            security: None,
            reachable: false,
            contract: DESCRIPTORS.to_vec(),
        };
        Self::on(Arc::new(backing), clock, vec![master(1)], others, None).await
    }

    pub fn backend(&self) -> Backend {
        match &*self.backing {
            Backing::Embedded(_) => Backend::Embedded,
            Backing::Redis(_) => Backend::Redis,
        }
    }

    /// Another replica on the same store and clock. Redis only.
    pub async fn replica(&self) -> Self {
        assert_eq!(self.backend(), Backend::Redis, "the embedded store serves one process");
        let admin = Some(self.admin.clone());
        let (masters, others) = (self.masters.clone(), self.others.clone());
        Self::on(Arc::clone(&self.backing), self.clock.clone(), masters, others, admin).await
    }

    /// Ends this service and starts another one on its store, with these master keys.
    pub async fn restart(self, masters: Vec<MasterKey>) -> Self {
        let Self { clock, admin, backing, app, _stop, channel, others, .. } = self;
        drop(_stop);
        drop(channel);
        app.tasks.close();
        app.tasks.wait().await;
        let store = Arc::downgrade(&app.store);
        drop(app);
        // The file of the embedded store can be opened once nobody has it open.
        let ended = tokio::time::timeout(SOON, async {
            while store.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        });
        ended.await.expect("the store is let go");
        Self::on(backing, clock, masters, others, Some(admin)).await
    }

    /// Ends this service and starts another one on its store that trusts these issuers of workloads.
    pub async fn trusting(mut self, issuers: Vec<(String, Location)>) -> Self {
        self.others.issuers = issuers;
        let masters = self.masters.clone();
        self.restart(masters).await
    }

    /// Ends this service and starts another one on its store that calls services under TLS on this machine.
    pub async fn calling_out(mut self) -> Self {
        self.others.outbound = remote::trusting();
        let masters = self.masters.clone();
        self.restart(masters).await
    }

    /// Ends this service and starts another one on its store that is under TLS, certified by `authority`.
    pub async fn secured(mut self, by: Security, authority: Arc<Authority>) -> Self {
        self.others.security = Some((by, authority));
        let masters = self.masters.clone();
        self.restart(masters).await
    }

    /// Ends this service and starts another one on its store, which remembers nothing.
    pub async fn forgetting(self) -> Self {
        let masters = self.masters.clone();
        self.restart(masters).await
    }

    /// Ends this service and starts another one on its store whose issuers lead to it.
    pub async fn reachable(mut self) -> Self {
        self.others.reachable = true;
        let masters = self.masters.clone();
        self.restart(masters).await
    }

    /// Ends this service and starts another one on its store that enforces another contract.
    pub async fn declaring(mut self, contract: Vec<u8>) -> Self {
        self.others.contract = contract;
        self.forgetting().await
    }

    /// The Redis server, to be killed or frozen.
    pub fn redis(&self) -> &RedisServer {
        let Backing::Redis(server) = &*self.backing else { panic!("not on Redis") };
        server
    }

    async fn on(
        backing: Arc<Backing>,
        clock: Clock,
        masters: Vec<MasterKey>,
        others: Others,
        admin: Option<Credentials>,
    ) -> Self {
        app::install_crypto();
        let store = open(&backing, &clock).await;
        let ring = Arc::new(Keyring::new(&masters).unwrap());
        let receiver = Remote::start(|_| Reply::status(204)).await;
        let any: Address = "127.0.0.1:0".parse().unwrap();
        let listeners = listen::bind(&[any.clone(), any]).unwrap();
        let [grpc, http] = [0, 1].map(|i: usize| listeners[i].local_addr().unwrap());
        let setup = Setup {
            ring,
            clock: clock.clone(),
            places: WORKERS + 1,
            public_url: if others.reachable { format!("http://{http}") } else { PUBLIC_URL.to_owned() },
            bootstrap: None,
            workloads: Workloads::new(others.issuers.clone()),
            outbound: Arc::clone(&others.outbound),
            sink: Sink::Webhook { to: remote::outbound(), url: receiver.url("/events"), secrets: Vec::new() },
            metrics: Arc::default(),
        };
        let app = App::new(store, setup);
        let made = app.directory.bootstrap(None).await.unwrap();
        let admin = admin.unwrap_or_else(|| {
            let (client, shown) = made.expect("an empty store gets an administrator");
            Credentials::new(&client.id.to_string(), shown.text.expose())
        });

        let policy = Policy::read(&others.contract).unwrap();
        let health = Health::new(&policy).await;
        let secured = |listener: Listener| match &others.security {
            Some((security, _)) => listener.secured(security),
            None => listener,
        };
        let routes = app::routes(&app, &health, true).unwrap();
        let options = Options {
            workers: WORKERS,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            ..Options::default()
        };
        let limits = Limits { call_timeout: SOON, ..Limits::default() };
        let authenticate = Bearer(Arc::clone(&app.issuer));
        let edge = Arc::new(Edge::new(policy, authenticate, limits, WORKERS, Watch::default()));
        let oauth = app::oauth(&app, Arc::clone(&edge), others.security.is_some());
        let grpc_protocol: Arc<dyn Protocol> = Arc::new(Grpc::new(edge, routes, WORKERS));
        let protocols = listeners.into_iter().map(secured).zip([grpc_protocol, oauth]).collect();
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&app.follower).heartbeat(stop.clone()));
        let (shutdown, asked) = (Shutdown::new(), stop.clone());
        let stopping = shutdown.clone();
        tokio::spawn(async move {
            asked.cancelled().await;
            stopping.request();
            stopping.request();
        });
        tokio::spawn(serve(options, protocols, shutdown, std::future::ready(())));
        health.ready().await;
        let endpoint = match &others.security {
            Some((_, authority)) => authority.endpoint(grpc.port(), None),
            None => Endpoint::try_from(format!("http://{grpc}")).unwrap(),
        };
        let channel = endpoint.connect().await.unwrap();
        Self { clock, admin, channel, grpc, http, app, backing, masters, others, receiver, _stop: stop.drop_guard() }
    }

    /// The data of all events so far, in the order of their delivery.
    pub async fn events(&self) -> Vec<serde_json::Value> {
        while self.app.outbox.deliver_due().await.unwrap() {}
        let data =
            |asked: remote::Received| serde_json::from_str::<serde_json::Value>(&asked.body).unwrap()["data"].take();
        self.receiver.requests().into_iter().map(data).collect()
    }

    // === callers ===

    /// A caller without a bearer token.
    pub fn anonymous(&self) -> Caller {
        Caller { channel: self.channel.clone(), authorization: Vec::new() }
    }

    /// The same on a connection of its own, on which a client certificate is shown, if any.
    pub async fn showing(&self, shown: Option<&Certified>) -> Caller {
        self.try_showing(shown).await.unwrap()
    }

    /// The same where the service may refuse the connection.
    pub async fn try_showing(&self, shown: Option<&Certified>) -> Result<Caller, tonic::transport::Error> {
        let (_, authority) = self.others.security.as_ref().expect("a service under TLS");
        let channel = authority.endpoint(self.grpc.port(), shown).connect().await?;
        Ok(Caller { channel, authorization: Vec::new() })
    }

    pub fn port(&self) -> u16 {
        self.grpc.port()
    }

    /// The bearer of a token.
    pub fn bearer(&self, token: &str) -> Caller {
        Caller { channel: self.channel.clone(), authorization: vec![format!("Bearer {token}")] }
    }

    /// The administrator, with a fresh token.
    pub async fn admin(&self) -> Caller {
        self.caller(&self.admin).await
    }

    /// A client, with a fresh token of its default scopes.
    pub async fn caller(&self, credentials: &Credentials) -> Caller {
        self.bearer(&self.anonymous().issue(credentials.client_credentials()).await.access_token)
    }

    // === what tests need first ===

    /// A tenant with the given settings.
    pub async fn tenant(&self, id: &str, settings: wire::TenantSettings) -> wire::Tenant {
        let tenant = wire::Tenant { tenant_id: id.to_owned(), settings: Some(settings), ..Default::default() };
        let request = wire::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        self.admin().await.create_tenant(request).await.unwrap().tenant.unwrap()
    }

    /// A client of a tenant.
    pub async fn client_in(&self, tenant: &str, client: wire::Client) -> Credentials {
        let request =
            wire::CreateClientRequest { tenant_id: tenant.to_owned(), client: Some(client), ..Default::default() };
        let made = self.admin().await.create_client(request).await.unwrap();
        Credentials::new(&made.client.unwrap().client_id, &made.client_secret)
    }

    /// A client of tenant `default` that may do what most clients may.
    pub async fn client(&self) -> Credentials {
        self.client_in("default", plain()).await
    }

    /// Changes settings of tenant `default`.
    pub async fn set(&self, settings: wire::TenantSettings) {
        self.set_in("default", settings).await;
    }

    pub async fn set_in(&self, tenant: &str, settings: wire::TenantSettings) {
        let tenant = wire::Tenant { tenant_id: tenant.to_owned(), settings: Some(settings), ..Default::default() };
        let request = wire::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
        self.admin().await.update_tenant(request).await.unwrap();
    }

    /// An account of tenant `default`; `parent` may be empty.
    pub async fn account(&self, parent: &str) -> String {
        self.account_in("default", parent).await
    }

    pub async fn account_in(&self, tenant: &str, parent: &str) -> String {
        let account =
            wire::Account { display_name: "an account".into(), parent_id: parent.to_owned(), ..Default::default() };
        let request =
            wire::CreateAccountRequest { tenant_id: tenant.to_owned(), account: Some(account), ..Default::default() };
        self.admin().await.create_account(request).await.unwrap().account.unwrap().account_id
    }

    /// Whether an account is in a group of tenant `default`, as this replica knows at the head.
    pub async fn is_entity(&self, group: &str, account: &str) -> bool {
        self.app.follower.head().await.unwrap();
        let directory = &self.app.directory;
        let group = directory.group(&"default".parse().unwrap(), &group.parse().unwrap()).await.unwrap().unwrap();
        directory.is_entity(&group, &account.parse().unwrap()).await.unwrap()
    }

    /// The secret at the provider of an identity profile of tenant `default`.
    pub async fn provider_secret(&self, profile: &str) -> Option<String> {
        self.app.follower.head().await.unwrap();
        let directory = &self.app.directory;
        let profile = directory.profile(&"default".parse().unwrap(), &profile.parse().unwrap()).await.unwrap().unwrap();
        directory.provider_secret(&profile).unwrap().map(|secret| secret.expose().to_owned())
    }

    /// The head of the revocation log.
    pub async fn head(&self) -> Position {
        self.app.follower.head().await.unwrap()
    }

    /// Whether a text stands in the file of the embedded store.
    pub fn is_stored(&self, text: &str) -> bool {
        let Backing::Embedded(dir) = &*self.backing else { panic!("not on the embedded store") };
        let file = std::fs::read(dir.path().join("jeton.redb")).unwrap();
        file.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// Every place for a password to be hashed, until they are dropped.
    pub fn all_places_to_hash(&self) -> Vec<Place> {
        let passwords = &self.app.passwords;
        std::iter::from_fn(|| passwords.place().ok()).collect()
    }

    /// The hash of a member's password in a profile of tenant `default`.
    pub async fn hash(&self, member: &str, profile: &str) -> String {
        let (member, profile) = self.identity(member, profile).await;
        match &member.identity(&profile.id).unwrap().kind {
            IdentityKind::Password(own) => own.hash.clone().unwrap().0,
            IdentityKind::Oidc(own) => panic!("{own:?}"),
        }
    }

    pub async fn set_hash(&self, member: &str, profile: &str, hash: &str) {
        let (member, profile) = self.identity(member, profile).await;
        let hash = PasswordHash(hash.to_owned());
        let new = NewPassword { username: None, hash, replaces: None, except: None };
        self.app.directory.set_password(&member, &profile, &new).await.unwrap();
    }

    async fn identity(&self, member: &str, profile: &str) -> (Arc<Member>, Arc<IdentityProfile>) {
        self.app.follower.head().await.unwrap();
        let (directory, tenant) = (&self.app.directory, "default".parse().unwrap());
        let member = directory.member(&tenant, &member.parse().unwrap()).await.unwrap().unwrap();
        (member, directory.profile(&tenant, &profile.parse().unwrap()).await.unwrap().unwrap())
    }

    /// Moves what is sealed under old master keys to the current one, as a start does.
    pub async fn retire_master_keys(&self) {
        Arc::clone(&self.app.directory).retire_master_keys().await.unwrap();
    }

    /// What introspection by the administrator says of a token.
    pub async fn introspect(&self, token: &str) -> wire::Introspection {
        self.anonymous().introspect(self.admin.introspect(token)).await
    }

    pub async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await.active.unwrap()
    }

    /// Which of some tokens are active.
    pub async fn active(&self, tokens: &[&str]) -> Vec<bool> {
        let request = wire::BatchIntrospectTokensRequest {
            client_id: self.admin.client_id.clone(),
            client_secret: self.admin.client_secret.clone(),
            tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
            ..Default::default()
        };
        let answers = self.anonymous().batch_introspect_tokens(request).await.unwrap().introspections;
        answers.into_iter().map(|answer| answer.active.unwrap()).collect()
    }

    /// A JWT with any header and claims, signed by the genuine key of tenant `default`.
    pub async fn sign(&self, header: &str, claims: &str) -> String {
        let tenant = "default".parse().unwrap();
        let keys = self.app.directory.listed_keys(&tenant).await.unwrap();
        let ring = Arc::new(Keyring::new(&self.masters).unwrap());
        let keys =
            KeySet::read(&StoredKeySet { keys, ..Default::default() }, &tenant, &ring, self.clock.now()).unwrap();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = keys.active(self.clock.now()).unwrap().sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Waits for the work that goes on after replies.
    pub async fn settle(&self) {
        self.app.tasks.close();
        self.app.tasks.wait().await;
        self.app.tasks.reopen();
    }
}

/// A client that may use most grants, ask for some scopes, and introspect everything.
pub fn plain() -> wire::Client {
    wire::Client {
        display_name: "a client".into(),
        allowed_scopes: ["invoices.read", "invoices.write", "pay", "jeton.tokens.issue", "jeton.tokens.introspect"]
            .map(str::to_owned)
            .into(),
        default_scopes: vec!["invoices.read".into()],
        introspects: vec!["*".into()],
        allowed_grants: [
            wire::GrantType::ClientCredentials,
            wire::GrantType::Account,
            wire::GrantType::Member,
            wire::GrantType::AuthenticatedMember,
            wire::GrantType::EntityGroup,
        ]
        .map(Into::into)
        .into(),
        ..Default::default()
    }
}

/// A client that may do everything in its tenant, and hand it on.
pub fn manager() -> wire::Client {
    let management = jeton_core::scope::ALL_MANAGEMENT.iter().filter(|scope| **scope != "jeton.admin");
    let scopes: Vec<String> = management.map(|scope| (*scope).to_owned()).collect();
    let allowed_scopes = scopes.iter().cloned().chain(super::calls::owned(&["pay", "invoices.read"])).collect();
    let all = || vec!["*".to_owned()];
    let grants = (1..=7).map(|grant| wire::GrantType::try_from(grant).unwrap().into());
    let grantable = wire::Grantable {
        scopes: all(),
        audiences: all(),
        introspects: all(),
        grants: grants.collect(),
        ..Default::default()
    };
    wire::Client { allowed_scopes, default_scopes: scopes, grantable: Some(grantable), ..plain() }
}

async fn open(backing: &Backing, clock: &Clock) -> Arc<dyn Store> {
    match backing {
        Backing::Embedded(dir) => {
            let path: PathBuf = dir.path().join("jeton.redb");
            Embedded::open(&path, clock.clone(), store::embedded::Options::default()).unwrap()
        }
        Backing::Redis(server) => {
            let options = store::redis::Options {
                tls: store::redis::Tls::default(),
                url: SecretText::new(server.url()),
                workers: WORKERS + 1,
                wait_replicas: 0,
                wait_timeout: Duration::from_millis(500),
            };
            Redis::connect(&options).await.unwrap()
        }
    }
}
