//! Tenants' directories.

use std::sync::Arc;

use jeton::store::{Change, Index, Kind, Name, Put, Record, RecordKey, Request, Row, Store, Unique, Written};
use jeton_core::{TenantId, entry::Entry};

use super::{HOUR, IN_USE, TAKEN, body, change, done, index, key, log::client, name, now, put, request, tenant};

pub async fn record(store: &Arc<dyn Store>, key: &RecordKey) -> Option<Record> {
    store.read(std::slice::from_ref(key)).await.unwrap().pop().unwrap()
}

async fn list(store: &Arc<dyn Store>, index: &Index) -> Vec<String> {
    store.list(index, None, 1000).await.unwrap()
}

async fn holder(store: &Arc<dyn Store>, tenant: &TenantId, value: &str) -> Option<String> {
    store.holder(tenant, &name(value)).await.unwrap()
}

fn take(tenant: &TenantId, value: &str, id: &str) -> Change {
    Change { take: vec![(name(value), id.into())], ..change(tenant) }
}

fn free(tenant: &TenantId, value: &str, id: &str) -> Change {
    Change { free: vec![(name(value), id.into())], ..change(tenant) }
}

// --- records ---

pub async fn an_unknown_record_is_none(store: &Arc<dyn Store>) {
    let tenant = tenant();
    assert_eq!(record(store, &key(&tenant, "a")).await, None);
    assert_eq!(holder(store, &tenant, "a").await, None);
    assert!(list(store, &index(&tenant, None)).await.is_empty());
}

pub async fn records_are_read_in_the_order_of_their_keys(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let puts = vec![put("a", Some(0), "first"), put("b", Some(0), "second")];
    done(store, &Change { puts, ..change(&tenant) }).await;
    let keys = ["b", "x", "a", "b"].map(|id| key(&tenant, id));
    let bodies: Vec<_> = store.read(&keys).await.unwrap().into_iter().map(|found| found.map(|r| r.body)).collect();
    assert_eq!(bodies, [Some(body("second")), None, Some(body("first")), Some(body("second"))]);
    assert_eq!(store.read(&[]).await.unwrap(), []);
}

pub async fn the_version_grows_by_one_with_each_write(store: &Arc<dyn Store>) {
    let tenant = tenant();
    for version in 1..=3 {
        let text = version.to_string();
        done(store, &Change { puts: vec![put("a", Some(version - 1), &text)], ..change(&tenant) }).await;
        let expected = Record { version, pending: vec![], body: body(&text) };
        assert_eq!(record(store, &key(&tenant, "a")).await, Some(expected));
    }
}

pub async fn the_expected_version_is_compared(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let write = |expected| Change { puts: vec![put("a", expected, "x")], ..change(&tenant) };
    let conflict = Written::Conflict(Kind::Client, "a".into());
    assert_eq!(store.write(&write(Some(1))).await.unwrap(), conflict, "there is no record");
    assert_eq!(record(store, &key(&tenant, "a")).await, None);
    done(store, &write(Some(0))).await;
    done(store, &write(Some(1))).await;
    for other in [1, 3, u64::from(u32::MAX)] {
        assert_eq!(store.write(&write(Some(other))).await.unwrap(), conflict);
    }
    assert_eq!(record(store, &key(&tenant, "a")).await.unwrap().version, 2);
}

pub async fn a_record_that_must_not_exist_is_not_replaced(store: &Arc<dyn Store>) {
    let tenant = tenant();
    done(store, &Change { puts: vec![put("a", Some(0), "first")], ..change(&tenant) }).await;
    let again = Change { puts: vec![put("a", Some(0), "second")], ..change(&tenant) };
    assert_eq!(store.write(&again).await.unwrap(), Written::Conflict(Kind::Client, "a".into()));
    assert_eq!(record(store, &key(&tenant, "a")).await.unwrap().body, body("first"));
}

pub async fn a_write_that_expects_no_version_replaces_any(store: &Arc<dyn Store>) {
    let tenant = tenant();
    for version in 1..=3 {
        done(store, &Change { puts: vec![put("a", None, "x")], ..change(&tenant) }).await;
        assert_eq!(record(store, &key(&tenant, "a")).await.unwrap().version, version);
    }
}

pub async fn tenants_and_kinds_have_records_of_their_own(store: &Arc<dyn Store>) {
    let (ours, theirs) = (tenant(), tenant());
    let kinds = [
        Kind::Tenant,
        Kind::Client,
        Kind::SecretUse,
        Kind::Account,
        Kind::Group,
        Kind::Entity,
        Kind::GroupMember,
        Kind::Admission,
        Kind::KeySet,
    ];
    for kind in kinds {
        let put = Put { kind, ..put("a", Some(0), kind.name()) };
        done(store, &Change { puts: vec![put], ..change(&ours) }).await;
    }
    for kind in kinds {
        let at = |tenant: &TenantId| RecordKey { tenant: tenant.clone(), kind, id: "a".into() };
        assert_eq!(record(store, &at(&ours)).await.unwrap().body, body(kind.name()));
        assert_eq!(record(store, &at(&theirs)).await, None);
    }
}

pub async fn bodies_and_ids_are_any_bytes_and_text(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let all_bytes: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    for (id, bytes) in [("a:b", vec![]), ("{a}:b", vec![0]), ("ü \"'\\\r\n", all_bytes)] {
        let put = Put { body: bytes.clone().into(), ..put(id, Some(0), "") };
        let names = vec![(name(id), id.to_owned())];
        let indexes = vec![(index(&tenant, Some(id)), id.to_owned())];
        done(store, &Change { puts: vec![put], take: names, index: indexes, ..change(&tenant) }).await;
        assert_eq!(record(store, &key(&tenant, id)).await.unwrap().body, bytes);
        assert_eq!(holder(store, &tenant, id).await.as_deref(), Some(id));
        assert_eq!(list(store, &index(&tenant, Some(id))).await, [id]);
    }
    assert_eq!(record(store, &key(&tenant, "a")).await, None);
}

pub async fn pending_entries_read_back_and_the_next_write_replaces_them(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let owed = vec![Entry::revoke(client()), Entry::changed(client())];
    let put_owing = Put { pending: owed.clone(), ..put("a", Some(0), "first") };
    done(store, &Change { puts: vec![put_owing], ..change(&tenant) }).await;
    let expected = Record { version: 1, pending: owed, body: body("first") };
    assert_eq!(record(store, &key(&tenant, "a")).await, Some(expected));
    done(store, &Change { puts: vec![put("a", Some(1), "second")], ..change(&tenant) }).await;
    assert_eq!(record(store, &key(&tenant, "a")).await.unwrap().pending, []);
}

pub async fn settling_clears_what_is_pending_and_leaves_the_version(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let puts = vec![Put { pending: vec![Entry::revoke(client())], ..put("a", Some(0), "text") }];
    done(store, &Change { puts, ..change(&tenant) }).await;
    for _ in 0..2 {
        store.settle(&key(&tenant, "a"), 1).await.unwrap();
        let expected = Record { version: 1, pending: vec![], body: body("text") };
        assert_eq!(record(store, &key(&tenant, "a")).await, Some(expected));
    }
    done(store, &Change { puts: vec![put("a", Some(1), "next")], ..change(&tenant) }).await;
}

pub async fn settling_another_version_or_no_record_changes_nothing(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let owing = |expected| Put { pending: vec![Entry::revoke(client())], ..put("a", Some(expected), "text") };
    done(store, &Change { puts: vec![owing(0)], ..change(&tenant) }).await;
    done(store, &Change { puts: vec![owing(1)], ..change(&tenant) }).await;
    let before = record(store, &key(&tenant, "a")).await;
    for version in [0, 1, 3] {
        store.settle(&key(&tenant, "a"), version).await.unwrap();
        assert_eq!(record(store, &key(&tenant, "a")).await, before);
    }
    store.settle(&key(&tenant, "b"), 1).await.unwrap();
    assert_eq!(record(store, &key(&tenant, "b")).await, None);
}

// --- atomicity ---

/// A directory with a record, names and an index, and a change that touches all of it in every way there is.
struct Touching {
    tenant: TenantId,
    change: Change,
}

impl Touching {
    async fn new(store: &Arc<dyn Store>) -> Self {
        let tenant = tenant();
        let setup = Change {
            puts: vec![put("old", Some(0), "before")],
            take: vec![(name("old's"), "old".into()), (name("other's"), "other".into())],
            index: vec![(index(&tenant, None), "old".into())],
            request: Some(request(1, "old")),
            ..change(&tenant)
        };
        done(store, &setup).await;
        let touching = Change {
            puts: vec![
                Put { pending: vec![Entry::revoke(client())], ..put("old", Some(1), "after") },
                put("new", Some(0), "after"),
            ],
            take: vec![(name("new's"), "new".into())],
            free: vec![(name("old's"), "old".into())],
            index: vec![(index(&tenant, None), "new".into()), (index(&tenant, Some("p")), "new".into())],
            unindex: vec![(index(&tenant, None), "old".into())],
            request: Some(request(2, "new")),
            ..change(&tenant)
        };
        Self { tenant, change: touching }
    }

    /// Asks for the change with something in it that must be refused, and looks at everything that it must not touch.
    async fn refused(&self, store: &Arc<dyn Store>, bad: Change, expected: Written) {
        let tenant = &self.tenant;
        assert_eq!(store.write(&bad).await.unwrap(), expected);
        let before = Record { version: 1, pending: vec![], body: body("before") };
        assert_eq!(record(store, &key(tenant, "old")).await, Some(before));
        assert_eq!(record(store, &key(tenant, "new")).await, None);
        assert_eq!(holder(store, tenant, "old's").await.as_deref(), Some("old"));
        assert_eq!(holder(store, tenant, "other's").await.as_deref(), Some("other"));
        assert_eq!(holder(store, tenant, "new's").await, None);
        assert_eq!(list(store, &index(tenant, None)).await, ["old"]);
        assert!(list(store, &index(tenant, Some("p"))).await.is_empty());
        // Nor was its request remembered: the same change without the fault goes through, to the last part.
        done(store, &self.change).await;
        assert_eq!(record(store, &key(tenant, "old")).await.unwrap().version, 2);
        assert_eq!(record(store, &key(tenant, "new")).await.unwrap().version, 1);
        assert_eq!(holder(store, tenant, "old's").await, None);
        assert_eq!(holder(store, tenant, "new's").await.as_deref(), Some("new"));
        assert_eq!(list(store, &index(tenant, None)).await, ["new"]);
        assert_eq!(list(store, &index(tenant, Some("p"))).await, ["new"]);
        assert!(matches!(store.write(&self.change).await.unwrap(), Written::Repeated { .. }));
    }
}

pub async fn a_conflict_writes_nothing(store: &Arc<dyn Store>) {
    let touching = Touching::new(store).await;
    let mut bad = touching.change.clone();
    bad.puts.push(put("third", Some(7), "after"));
    touching.refused(store, bad, Written::Conflict(Kind::Client, "third".into())).await;
}

pub async fn a_taken_name_writes_nothing(store: &Arc<dyn Store>) {
    let touching = Touching::new(store).await;
    let mut bad = touching.change.clone();
    bad.take.push((name("other's"), "new".into()));
    touching.refused(store, bad, Written::Taken(name("other's"))).await;
}

pub async fn an_index_that_is_not_empty_writes_nothing(store: &Arc<dyn Store>) {
    let touching = Touching::new(store).await;
    let index = index(&touching.tenant, None);
    let bad = Change { require_empty: vec![(index, IN_USE)], ..touching.change.clone() };
    touching.refused(store, bad, Written::NotEmpty(IN_USE)).await;
}

pub async fn a_repeated_request_writes_nothing(store: &Arc<dyn Store>) {
    let touching = Touching::new(store).await;
    let bad = Change { request: Some(request(1, "new")), ..touching.change.clone() };
    touching.refused(store, bad, Written::Repeated { body: [2; 16], result: "old".into() }).await;
}

// --- unique names ---

pub async fn a_name_has_one_holder(store: &Arc<dyn Store>) {
    let tenant = tenant();
    done(store, &take(&tenant, "n", "a")).await;
    assert_eq!(store.write(&take(&tenant, "n", "b")).await.unwrap(), Written::Taken(name("n")));
    assert_eq!(holder(store, &tenant, "n").await.as_deref(), Some("a"));
}

pub async fn a_holder_may_take_its_name_again(store: &Arc<dyn Store>) {
    let tenant = tenant();
    done(store, &take(&tenant, "n", "a")).await;
    done(store, &take(&tenant, "n", "a")).await;
    let renewed = Change { free: vec![(name("n"), "a".into())], ..take(&tenant, "n", "a") };
    done(store, &renewed).await;
    assert_eq!(holder(store, &tenant, "n").await.as_deref(), Some("a"), "names are freed before they are taken");
}

pub async fn a_freed_name_can_be_taken_by_another(store: &Arc<dyn Store>) {
    let tenant = tenant();
    done(store, &take(&tenant, "n", "a")).await;
    done(store, &free(&tenant, "n", "a")).await;
    assert_eq!(holder(store, &tenant, "n").await, None);
    done(store, &take(&tenant, "n", "b")).await;
    assert_eq!(holder(store, &tenant, "n").await.as_deref(), Some("b"));
}

pub async fn only_the_holder_frees_a_name(store: &Arc<dyn Store>) {
    let tenant = tenant();
    done(store, &take(&tenant, "n", "a")).await;
    done(store, &free(&tenant, "n", "b")).await;
    done(store, &free(&tenant, "unknown", "b")).await;
    assert_eq!(holder(store, &tenant, "n").await.as_deref(), Some("a"));
}

pub async fn names_are_apart_by_tenant_kind_and_field(store: &Arc<dyn Store>) {
    static CLIENTS: Name = Name { kind: Kind::Client, field: "foreign_id", taken: TAKEN };
    static REGISTRATION_IDS: Name = Name { kind: Kind::Account, field: "registration_id", taken: TAKEN };
    let (ours, theirs) = (tenant(), tenant());
    let names = [
        name("n"),
        Unique { name: &CLIENTS, ..name("n") },
        Unique { name: &REGISTRATION_IDS, ..name("n") },
        name("N"),
        name("n "),
    ];
    for (at, name) in names.iter().enumerate() {
        done(store, &Change { take: vec![(name.clone(), at.to_string())], ..change(&ours) }).await;
    }
    for (at, name) in names.iter().enumerate() {
        assert_eq!(store.holder(&ours, name).await.unwrap(), Some(at.to_string()));
        assert_eq!(store.holder(&theirs, name).await.unwrap(), None);
    }
}

pub async fn holders_are_returned_in_the_order_of_their_names(store: &Arc<dyn Store>) {
    let tenant = tenant();
    for (value, id) in [("n", "a"), ("m", "b")] {
        done(store, &take(&tenant, value, id)).await;
    }
    let names = ["m", "x", "n", "m"].map(name);
    let holders = [Some("b"), None, Some("a"), Some("b")].map(|id| id.map(str::to_owned));
    assert_eq!(store.holders(&tenant, &names).await.unwrap(), holders);
    assert!(store.holders(&tenant, &[]).await.unwrap().is_empty());
}

// --- indexes ---

pub async fn an_index_lists_ids_in_order_page_by_page(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let index = index(&tenant, Some("p"));
    let mut ids: Vec<_> = (0..25).map(|n| format!("id{}", (n * 7) % 25)).collect();
    ids.extend(["A", "a", "_", "é", "0"].map(String::from));
    let entries = ids.iter().map(|id| (index.clone(), id.clone())).collect();
    done(store, &Change { index: entries, ..change(&tenant) }).await;
    ids.sort();
    assert_eq!(list(store, &index).await, ids);
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = store.list(&index, paged.last().map(String::as_str), 7).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 7);
        paged.extend(page);
        assert!(paged.is_sorted_by(|a, b| a < b), "a page stands after the one before");
    }
    assert_eq!(paged, ids);
    // What a page stopped at may be gone when the next one is asked for.
    assert_eq!(store.list(&index, Some("id1x"), 2).await.unwrap(), ["id2", "id20"]);
    assert!(store.list(&index, Some("\u{10ffff}"), 2).await.unwrap().is_empty());
}

pub async fn rows_of_an_index_come_with_the_records_that_they_name(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let index = index(&tenant, Some("p"));
    // An index may name records of another kind, and records that are not there.
    let entries = ["a", "b", "c", "d"].map(|id| (index.clone(), id.to_owned()));
    let other = Put { kind: Kind::Account, ..put("b", Some(0), "of another kind") };
    let owed = Put { pending: vec![Entry::changed(client())], ..put("d", Some(0), "owes") };
    let puts = vec![put("a", Some(0), "first"), other, put("c", Some(0), ""), owed];
    done(store, &Change { puts, index: entries.into(), ..change(&tenant) }).await;
    for kind in [Kind::Client, Kind::Account, Kind::Role] {
        let rows = store.rows(&index, kind, None, 1000).await.unwrap();
        let ids = store.list(&index, None, 1000).await.unwrap();
        let keys: Vec<_> = ids.iter().map(|id| RecordKey { kind, ..key(&tenant, id) }).collect();
        let records = store.read(&keys).await.unwrap();
        let expected: Vec<_> = ids.into_iter().zip(records).map(|(id, record)| Row { id, record }).collect();
        assert_eq!(rows, expected, "{kind:?}");
    }
    let ids = |rows: Vec<Row>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(store.rows(&index, Kind::Client, Some("a"), 2).await.unwrap()), ["b", "c"]);
    assert_eq!(ids(store.rows(&index, Kind::Client, Some("c"), 2).await.unwrap()), ["d"]);
    assert!(store.rows(&index, Kind::Client, Some("d"), 2).await.unwrap().is_empty());
}

pub async fn an_index_holds_an_id_once(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let all = index(&tenant, None);
    for _ in 0..2 {
        done(store, &Change { index: vec![(all.clone(), "a".into())], ..change(&tenant) }).await;
    }
    assert_eq!(list(store, &all).await, ["a"]);
    done(store, &Change { unindex: vec![(all.clone(), "a".into())], ..change(&tenant) }).await;
    assert!(list(store, &all).await.is_empty());
}

pub async fn indexes_are_apart_by_tenant_kind_and_parent(store: &Arc<dyn Store>) {
    let (ours, theirs) = (tenant(), tenant());
    let indexes = [
        index(&ours, None),
        index(&ours, Some("p")),
        index(&ours, Some("p:q")),
        index(&ours, Some("q")),
        Index { kind: Kind::Client, ..index(&ours, None) },
        Index { kind: Kind::Client, ..index(&ours, Some("p")) },
    ];
    for (at, index) in indexes.iter().enumerate() {
        let entry = (index.clone(), format!("q:{at}"));
        done(store, &Change { index: vec![entry], ..change(&ours) }).await;
    }
    for (at, index) in indexes.iter().enumerate() {
        assert_eq!(list(store, index).await, [format!("q:{at}")]);
    }
    assert!(list(store, &index(&theirs, None)).await.is_empty());
    assert!(list(store, &index(&ours, Some("unknown"))).await.is_empty());
}

pub async fn an_unindexed_id_is_listed_no_more(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let (all, under) = (index(&tenant, None), index(&tenant, Some("p")));
    let entries = |id: &str| vec![(all.clone(), id.to_owned()), (under.clone(), id.to_owned())];
    for id in ["a", "b"] {
        done(store, &Change { index: entries(id), ..change(&tenant) }).await;
    }
    let unindex = vec![(under.clone(), "a".to_owned()), (under.clone(), "unknown".to_owned())];
    done(store, &Change { unindex, ..change(&tenant) }).await;
    assert_eq!(list(store, &under).await, ["b"]);
    assert_eq!(list(store, &all).await, ["a", "b"]);
}

pub async fn an_index_that_must_be_empty_and_is_lets_the_change_pass(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let under = index(&tenant, Some("p"));
    done(store, &Change { index: vec![(under.clone(), "a".into())], ..change(&tenant) }).await;
    let delete = Change {
        puts: vec![put("p", None, "deleted")],
        require_empty: vec![(index(&tenant, Some("empty")), TAKEN), (under.clone(), IN_USE)],
        ..change(&tenant)
    };
    assert_eq!(store.write(&delete).await.unwrap(), Written::NotEmpty(IN_USE));
    done(store, &Change { unindex: vec![(under, "a".into())], ..change(&tenant) }).await;
    done(store, &delete).await;
}

// --- repeated requests ---

pub async fn a_repeated_request_gets_what_the_first_one_did(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let first = Change { puts: vec![put("a", None, "x")], request: Some(request(1, "a")), ..change(&tenant) };
    done(store, &first).await;
    let repeated = Written::Repeated { body: [2; 16], result: "a".into() };
    assert_eq!(store.write(&first).await.unwrap(), repeated);
    // With another body it is the caller's mistake, which only the domain can tell apart.
    let other = Request { body: [9; 16], ..request(1, "b") };
    let other = Change { puts: vec![put("b", Some(0), "x")], request: Some(other), ..change(&tenant) };
    assert_eq!(store.write(&other).await.unwrap(), repeated);
    assert_eq!(record(store, &key(&tenant, "a")).await.unwrap().version, 1);
    assert_eq!(record(store, &key(&tenant, "b")).await, None);
    done(store, &Change { request: Some(request(3, "b")), ..change(&tenant) }).await;
}

pub async fn a_repeated_request_is_answered_before_any_conflict(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let create = Change {
        puts: vec![put("a", Some(0), "x")],
        index: vec![(index(&tenant, None), "a".into())],
        require_empty: vec![(index(&tenant, None), IN_USE)],
        request: Some(request(1, "a")),
        ..take(&tenant, "n", "a")
    };
    done(store, &create).await;
    // A retry may have drawn another id before it learned that it is one.
    let again = Change { take: vec![(name("n"), "b".into())], ..create };
    let repeated = Written::Repeated { body: [2; 16], result: "a".into() };
    assert_eq!(store.write(&again).await.unwrap(), repeated);
}

pub async fn a_request_is_forgotten_when_its_time_has_passed(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let request = Request { until: now().plus(HOUR), ..request(1, "a") };
    let first = Change { request: Some(request.clone()), ..change(&tenant) };
    done(store, &first).await;
    let last_moment = Change { now: super::Time::from_millis(request.until.as_millis() - 1), ..first.clone() };
    assert!(matches!(store.write(&last_moment).await.unwrap(), Written::Repeated { .. }));
    let renewed = Request { until: now().plus(HOUR * 2), result: "b".into(), ..request.clone() };
    done(store, &Change { now: request.until, request: Some(renewed), ..first.clone() }).await;
    let repeated = Written::Repeated { body: request.body, result: "b".into() };
    assert_eq!(store.write(&first).await.unwrap(), repeated);
}
