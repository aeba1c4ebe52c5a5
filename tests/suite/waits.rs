//! How often a call waits for the store, besides the head of the log, whose read all calls share; and how often it reads the
//! head.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use jeton::{
    ambient::{Clock, Fresh as _},
    app::{App, Setup, install_crypto},
    directory::{
        accounts::AccountPatch,
        caller::About,
        group_members::NewGroupMember,
        group_sync::{CopyFrom, CopyMembers, SyncOptions},
        groups::GroupPatch,
        member_patch::MemberPatch,
        page::PageRequest,
        permit::{Access, Act, Rule, Visit},
        record::{Account, State, Stored as _},
        roles::RolePatch,
    },
    issuer::{
        authenticate::{PermitRequest, Proof},
        freshness::FULL,
        introspect::Introspection,
        issue::Issued,
        renew, request,
        request::{Grant, Lifetime},
    },
    keys::{master::MasterKey, ring::Keyring},
    outbox::Sink,
    revocation::log::{Log, StatePage, Tail},
    storage::Result,
    store::{
        Change, Ended, FamilyRecord, Health, Index, IndexEntry, Kind, Mint, Minted, Put, Record, RecordKey, Records,
        Row, Session, SessionKey, Store, SubjectKey, Tokens, Unique, Written,
        embedded::{Embedded, Options},
    },
};
use jeton_core::{AccountId, FamilyId, Format, Position, TenantId, Time, TokenId, entry::Entry};

mod heads;
mod pages;

/// Counts how often somebody began to wait while nobody else did: calls that are sent together are one wait. And it counts
/// the rows that are read: records, names, and ids in indexes.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Store>,
    waits: AtomicUsize,
    heads: AtomicUsize,
    rows: AtomicUsize,
    in_flight: AtomicUsize,
}

/// What methods that any client may call declare.
static RULE: Rule = Rule { access: Access::Authenticated, self_allowed: false, client_authentication: true };

/// A service and the credentials of its administrator.
struct Service {
    app: App,
    store: Arc<Counting>,
    proof: Proof,
}

// === impl Counting ===

impl Counting {
    async fn counted<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if self.in_flight.fetch_add(1, Ordering::SeqCst) == 0 {
            self.waits.fetch_add(1, Ordering::SeqCst);
        }
        // What is sent together begins before the first of it ends.
        tokio::task::yield_now().await;
        let done = call.await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        done
    }
}

#[async_trait]
impl Log for Counting {
    /// The head, which is counted apart.
    async fn tail(&self, after: Position) -> Result<Tail> {
        self.heads.fetch_add(1, Ordering::SeqCst);
        self.inner.tail(after).await
    }
    async fn append(&self, entries: &[Entry]) -> Result<Position> {
        self.counted(self.inner.append(entries)).await
    }
    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage> {
        self.counted(self.inner.state_page(cursor)).await
    }
}

#[async_trait]
impl Records for Counting {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        self.rows.fetch_add(keys.len(), Ordering::SeqCst);
        self.counted(self.inner.read(keys)).await
    }
    async fn holders(&self, tenant: &TenantId, names: &[Unique]) -> Result<Vec<Option<String>>> {
        self.rows.fetch_add(names.len(), Ordering::SeqCst);
        self.counted(self.inner.holders(tenant, names)).await
    }
    async fn write(&self, change: &Change) -> Result<Written> {
        self.counted(self.inner.write(change)).await
    }
    async fn remembered(&self, tenant: &TenantId, request: [u8; 16], now: Time) -> Result<Option<([u8; 16], String)>> {
        self.counted(self.inner.remembered(tenant, request, now)).await
    }
    async fn settle(&self, key: &RecordKey, version: u64) -> Result<()> {
        self.counted(self.inner.settle(key, version)).await
    }
    async fn list(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let ids = self.counted(self.inner.list(index, after, limit)).await?;
        self.rows.fetch_add(ids.len(), Ordering::SeqCst);
        Ok(ids)
    }
    async fn rows(&self, index: &Index, kind: Kind, after: Option<&str>, limit: usize) -> Result<Vec<Row>> {
        let rows = self.counted(self.inner.rows(index, kind, after, limit)).await?;
        self.rows.fetch_add(rows.len(), Ordering::SeqCst);
        Ok(rows)
    }
}

#[async_trait]
impl Tokens for Counting {
    async fn mint(&self, mint: &Mint) -> Result<Minted> {
        self.counted(self.inner.mint(mint)).await
    }
    async fn token(&self, id: &TokenId) -> Result<Option<Bytes>> {
        self.counted(self.inner.token(id)).await
    }
    async fn tokens(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        self.counted(self.inner.tokens(ids)).await
    }
    async fn family(&self, id: &FamilyId) -> Result<Option<FamilyRecord>> {
        self.counted(self.inner.family(id)).await
    }
    async fn sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Session>>> {
        self.counted(self.inner.sessions(sessions)).await
    }
    async fn end_sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Ended>>> {
        self.counted(self.inner.end_sessions(sessions)).await
    }
    async fn subject_page(
        &self,
        subject: &SubjectKey,
        after: Option<&IndexEntry>,
        now: Time,
        limit: usize,
    ) -> Result<Vec<IndexEntry>> {
        self.counted(self.inner.subject_page(subject, after, now, limit)).await
    }
}

#[async_trait]
impl Health for Counting {
    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }
}

// === impl Service ===

impl Service {
    /// A replica on a store, and another one with empty caches for each call of this.
    async fn on(inner: Arc<dyn Store>, proof: Option<Proof>) -> Self {
        install_crypto();
        let store = Arc::new(Counting {
            inner,
            waits: AtomicUsize::new(0),
            heads: AtomicUsize::new(0),
            rows: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
        });
        let ring = Arc::new(Keyring::new(&[MasterKey::new([7; 32])]).unwrap());
        let setup = Setup {
            ring,
            clock: Clock::default(),
            places: 1,
            public_url: "http://localhost:7443".to_owned(),
            bootstrap: None,
            workloads: Default::default(),
            outbound: crate::remote::outbound(),
            sink: Sink::Closed,
            metrics: Arc::default(),
        };
        let app = App::new(store.clone(), setup);
        let proof = match proof {
            Some(proof) => proof,
            None => {
                let (client, shown) = app.directory.bootstrap(None).await.unwrap().unwrap();
                Proof::Client { id: client.id.to_string(), secret: shown.text }
            }
        };
        let service = Self { app, store, proof };
        service.rest().await;
        service
    }

    /// Waits for what goes on behind replies: until then records owe entries to the log, and are not cached.
    async fn rest(&self) {
        while !self.app.tasks.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    async fn issue(&self, format: Format) -> Issued {
        self.grant(Grant::ClientCredentials { tenant: None }, format).await
    }

    async fn grant(&self, grant: Grant, format: Format) -> Issued {
        let refresh = !matches!(grant, Grant::TokenExchange { .. });
        let own = !matches!(grant, Grant::EntityGroup { .. });
        let request = request::Request {
            grant,
            scopes: own.then(|| "jeton.tokens.introspect".to_owned()).into_iter().collect(),
            audience: Vec::new(),
            lifetime: Lifetime::Default,
            session: None,
            options: None,
            claims: None,
            format: Some(format),
            refresh,
            repeat: None,
        };
        let act = self.act().await;
        self.app.issuer.issue(&act, &request).await.unwrap()
    }

    async fn renew(&self, refresh_token: String) {
        let act = self.act().await;
        self.app.issuer.renew(&act, &renew::Request { refresh_token, scopes: Vec::new() }).await.unwrap();
    }

    async fn revoke(&self, text: &str) {
        let visit = Visit::of(&self.act().await);
        self.app.issuer.revoke(&visit, text).await.unwrap();
    }

    async fn introspect(&self, texts: &[String]) {
        let act = self.act().await;
        let answers = self.app.issuer.introspect(&act, FULL, texts, None).await.unwrap();
        assert!(answers.iter().all(|answer| matches!(answer, Introspection::Access { .. })));
    }

    /// Asks about a token and an account, which it reaches.
    async fn reaches(&self, text: &str, account: &str) {
        let text = [text.to_owned()];
        let act = self.act().await;
        let answers = self.app.issuer.introspect(&act, FULL, &text, Some(account)).await.unwrap();
        let [Introspection::Access(_, Some(reach))] = answers.as_slice() else { panic!("{answers:?}") };
        assert!(reach.reached);
    }

    /// How often `call` waits.
    async fn waits(&self, call: impl Future) -> usize {
        // The last use of a secret is written beside the call.
        self.rest().await;
        let before = self.store.waits.load(Ordering::SeqCst);
        call.await;
        self.store.waits.load(Ordering::SeqCst) - before
    }

    /// The administrator, about to act in `system`.
    async fn act(&self) -> Act {
        let about = About::Tenant("system".to_owned());
        let request = PermitRequest { rule: &RULE, proof: &self.proof, about: &about, freshness: FULL };
        self.app.issuer.permit(&request).await.unwrap()
    }

    /// How often `call` reads the head.
    async fn heads(&self, call: impl Future) -> usize {
        self.rest().await;
        let before = self.store.heads.load(Ordering::SeqCst);
        call.await;
        self.store.heads.load(Ordering::SeqCst) - before
    }

    /// The ids of new accounts, made together.
    async fn accounts(&self, count: usize) -> Vec<String> {
        let act = self.act().await;
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..count {
            let act = act.clone();
            calls.spawn(async move {
                let patch = AccountPatch { display_name: Some("n".into()), ..Default::default() };
                let made = act.create_account(None, patch, None).await;
                made.unwrap().0.id.to_string()
            });
        }
        calls.join_all().await
    }

    /// What the first page of a group reads, and what it reads and writes to put one more account in, by a replica that
    /// knows its caller only: waits and rows.
    async fn costs_of_a_group(&self, of: usize) -> [(usize, usize); 2] {
        let act = self.act().await;
        let patch = GroupPatch { display_name: Some("n".into()), ..Default::default() };
        let (group, _) = act.create_group(patch, &[], None).await.unwrap();
        let (group, accounts, more) = (group.id.to_string(), self.accounts(of).await, self.accounts(1).await);
        for accounts in accounts.chunks(1000) {
            act.add_entities(&group, accounts, None).await.unwrap();
        }
        self.rest().await;
        let cold = Self::on(Arc::clone(&self.store.inner), Some(self.proof.clone())).await;
        let act = cold.act().await;
        let ring = Keyring::new(&[MasterKey::new([7; 32])]).unwrap();
        let page = PageRequest::new(50, "", act.caller(), &[], &ring).unwrap();
        let rows = || cold.store.rows.swap(0, Ordering::SeqCst);
        rows();
        let listed = async {
            let page = act.list_group_entities(&group, &page).await.unwrap();
            assert_eq!((page.items.len(), page.next.is_empty()), (50, false));
        };
        let listed = (cold.waits(listed).await, rows());
        let added = async {
            assert_eq!(act.add_entities(&group, &more, None).await.unwrap().0.changed, 1);
        };
        [listed, (cold.waits(added).await, rows())]
    }
}

/// Accounts, written straight into the store: there are to be very many.
async fn stored_accounts(service: &Service, count: usize) -> Vec<String> {
    let tenant = service.act().await.tenant().clone();
    let accounts: Vec<_> = (0..count).map(|_| an_account(&tenant)).collect();
    let record = |account: &Account| (put(Kind::Account, account.id.to_string(), account.to_bytes()), Vec::new());
    write_all(service, accounts.iter().map(record)).await;
    accounts.iter().map(|account| account.id.to_string()).collect()
}

fn an_account(tenant: &TenantId) -> Account {
    let now = Clock::default().now();
    Account {
        id: AccountId::random().unwrap(),
        tenant: tenant.clone(),
        display_name: "n".into(),
        legal_name: String::new(),
        registration_id: None,
        foreign_id: None,
        ancestors: Vec::new(),
        state: State::Enabled,
        children_disabled: false,
        labels: Default::default(),
        metadata: Default::default(),
        created: now,
        updated: now,
        deleted: None,
        version: 0,
    }
}

/// A record that is new.
const fn put(kind: Kind, id: String, body: Bytes) -> Put {
    Put { kind, id, expected: Some(0), pending: Vec::new(), body, keep_until: Time::NEVER }
}

/// Writes new records with their rows in lists straight into the store, in few steps.
async fn write_all(service: &Service, records: impl IntoIterator<Item = (Put, Vec<(Index, String)>)>) {
    let tenant = service.act().await.tenant().clone();
    let mut records = records.into_iter().peekable();
    while records.peek().is_some() {
        let mut change = Change::new(tenant.clone(), Clock::default().now());
        for (put, rows) in records.by_ref().take(5000) {
            change.puts.push(put);
            change.index.extend(rows);
        }
        assert_eq!(service.store.write(&change).await.unwrap(), Written::Done);
    }
}

/// What it costs a replica that knows nothing yet to introspect the token of a member of a group of so many accounts, about one
/// of them; and to look for the account with the most members: waits and rows of each. From memory the first costs nothing.
async fn costs_of_a_group_token(service: &Service, of: usize) -> [(usize, usize); 2] {
    let act = service.act().await;
    let patch = GroupPatch { display_name: Some("n".into()), ..Default::default() };
    let (group, _) = act.create_group(patch, &[], None).await.unwrap();
    let group = group.id.to_string();
    let accounts = stored_accounts(service, of).await;
    for accounts in accounts.chunks(1000) {
        act.add_entities(&group, accounts, None).await.unwrap();
    }
    let role = RolePatch { name: Some(group.clone()), permissions: Some(vec!["invoice.read".into()]) };
    act.create_role(None, role, None).await.unwrap();
    let new = NewGroupMember {
        group: group.clone(),
        member: format!("m-{group}"),
        roles: vec![group.clone()],
        overrides: vec![(accounts[0].clone(), vec![group.clone()])],
        create: Some(MemberPatch { display_name: Some("n".into()), ..Default::default() }),
    };
    let (placed, _) = act.upsert_group_member(&new, "").await.unwrap();
    let grant = Grant::EntityGroup { group: group.clone(), member: Some(placed.member.id.to_string()) };
    let text = service.grant(grant, Format::Jwt).await.text;
    service.rest().await;
    let cold = Service::on(Arc::clone(&service.store.inner), Some(service.proof.clone())).await;
    // The caller is warm, what the call is about is not.
    cold.introspect(&[]).await;
    cold.issue(Format::Jwt).await;
    let rows = || cold.store.rows.swap(0, Ordering::SeqCst);
    rows();
    let introspected = (cold.waits(cold.reaches(&text, &accounts[0])).await, rows());
    for account in &accounts[..2] {
        cold.reaches(&text, account).await;
        assert_eq!(cold.waits(cold.reaches(&text, account)).await, 0, "warm");
    }
    let act = cold.act().await;
    rows();
    let copy = CopyMembers { from: CopyFrom::Auto, roles: Vec::new() };
    let sync = SyncOptions { add: true, remove: true };
    let synced = async { act.sync_group_members(&group, &copy, sync).await.unwrap() };
    [introspected, (cold.waits(synced).await, rows())]
}

fn embedded(dir: &tempfile::TempDir) -> Arc<dyn Store> {
    Embedded::open(&dir.path().join("store.redb"), Clock::default(), Options::default()).unwrap()
}

#[tokio::test]
async fn a_call_waits_for_the_store_as_rarely_as_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    for format in [Format::Jwt, Format::Opaque] {
        // The first one finds records that still owe their entries to the log, which are not cached.
        service.issue(format).await;
        let issued = service.issue(format).await;
        let refresh = issued.refresh.unwrap().0.expose().to_owned();
        assert!(service.waits(service.issue(format)).await <= 1, "issue {format:?}");
        assert!(service.waits(service.renew(refresh)).await <= 2, "renew {format:?}");

        let texts = [issued.text];
        service.introspect(&texts).await;
        assert_eq!(service.waits(service.introspect(&texts)).await, 0, "introspect warm");
        assert!(service.waits(service.revoke(&texts[0])).await <= 2, "revoke");
    }
}

#[tokio::test]
async fn an_exchange_waits_once_more_at_most_for_the_tokens_that_it_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    // A cold load of principals is counted apart; an opaque token must be read before it is known whose it is.
    for (format, cold_waits) in [(Format::Jwt, 2), (Format::Opaque, 3)] {
        let shown = service.issue(format).await.text;
        let exchange = || Grant::TokenExchange { subject: shown.clone(), actor: None };
        service.grant(exchange(), format).await;
        assert_eq!(service.waits(service.grant(exchange(), format)).await, 1, "{format:?} warm");
        let cold = Service::on(Arc::clone(&service.store.inner), Some(service.proof.clone())).await;
        // Who asks is warm, what is shown is not.
        cold.issue(format).await;
        cold.issue(Format::Jwt).await;
        assert!(cold.waits(cold.grant(exchange(), format)).await <= cold_waits, "{format:?} cold");
    }
}

#[tokio::test]
async fn a_batch_of_cold_tokens_waits_no_more_often_than_one_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    for format in [Format::Jwt, Format::Opaque] {
        let mut texts = Vec::new();
        for _ in 0..100 {
            texts.push(service.issue(format).await.text);
        }
        for texts in [&texts[..1], &texts] {
            let cold = Service::on(Arc::clone(&service.store.inner), Some(service.proof.clone())).await;
            // The caller is warm, what the call is about is not.
            cold.introspect(&[]).await;
            assert!(cold.waits(cold.introspect(texts)).await <= 2, "{format:?} {}", texts.len());
        }
    }
}

#[tokio::test]
async fn a_page_of_a_group_costs_the_same_whatever_stands_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    let few = service.costs_of_a_group(60).await;
    let many = service.costs_of_a_group(1500).await;
    assert_eq!(few, many, "waits and rows of a page, and of one more account");
    let [(waits, rows), _] = few;
    assert!(waits <= 3 && rows <= 102, "the group, 51 places, 50 accounts: {waits} {rows}");
}

#[tokio::test]
async fn a_group_token_costs_the_same_whatever_stands_in_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::on(embedded(&dir), None).await;
    let few = costs_of_a_group_token(&service, 1_000).await;
    let many = costs_of_a_group_token(&service, 20_000).await;
    assert_eq!(few, many, "waits and rows of an introspection, and of finding the account with the most members");
    let [(waits, rows), (_, looked_at)] = few;
    assert!(waits <= 5 && rows <= 10, "group, member, place, entity, account, role: {waits} {rows}");
    assert!(looked_at <= 2_100, "1,000 places and as many tallies: {looked_at}");
}
