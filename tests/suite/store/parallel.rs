//! What holds when many callers want the same at once.

use std::{collections::HashSet, sync::Arc};

use jeton::{
    ambient::Fresh as _,
    store::{Change, FamilyConflict, FamilyRecord, Store, Written},
};
use jeton_core::{FamilyId, entry::Entry};

use super::{
    HOUR, account, body, change, entry,
    log::{self, client, follow, head, revoke_except, slots},
    name, now, put, request, session, session_key, tenant, token,
    tokens::CLEAN,
};

const CALLERS: u32 = 48;

/// Runs a call as each of many callers at once.
async fn all<F, T>(call: impl Fn(u32) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let calls: Vec<_> = (0..CALLERS).map(|caller| tokio::spawn(call(caller))).collect();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    outcomes
}

/// Has each caller make its own change, and gives what became of them.
async fn write_all(store: &Arc<dyn Store>, change: impl Fn(u32) -> Change) -> Vec<Written> {
    all(|caller| {
        let (store, change) = (Arc::clone(store), change(caller));
        async move { store.write(&change).await.unwrap() }
    })
    .await
}

/// Has each caller write the family with its own body; exactly one must do so, and all others must see its record.
async fn one_family_wins(store: &Arc<dyn Store>, id: &FamilyId, expected: Option<u32>, revision: u32) {
    let outcomes = all(|caller| {
        let (store, mint) = (Arc::clone(store), super::family(id, expected, revision, &caller.to_string()));
        async move { store.mint(&mint).await.unwrap().family }
    })
    .await;
    let winners: Vec<_> = (0..CALLERS).zip(&outcomes).filter(|(_, conflict)| conflict.is_none()).collect();
    let [(winner, _)] = winners[..] else { panic!("{} winners", winners.len()) };
    let record = FamilyRecord { revision, body: body(&winner.to_string()) };
    assert_eq!(store.family(id).await.unwrap().as_ref(), Some(&record));
    let others = outcomes.into_iter().flatten();
    assert!(others.into_iter().all(|conflict| conflict == FamilyConflict::Other(record.clone())));
}

pub async fn of_many_renewals_of_one_family_exactly_one_wins(store: &Arc<dyn Store>) {
    let id = FamilyId::random().unwrap();
    store.mint(&super::family(&id, None, 1, "first")).await.unwrap();
    for revision in 1..4 {
        one_family_wins(store, &id, Some(revision), revision + 1).await;
    }
}

pub async fn of_many_creations_of_one_family_exactly_one_wins(store: &Arc<dyn Store>) {
    one_family_wins(store, &FamilyId::random().unwrap(), None, 1).await;
}

pub async fn of_many_takers_of_one_name_exactly_one_wins(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let outcomes = write_all(store, |caller| {
        let id = caller.to_string();
        Change { puts: vec![put(&id, Some(0), "x")], take: vec![(name("n"), id)], ..change(&tenant) }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Written::Done).count(), 1);
    let holder = store.holder(&tenant, &name("n")).await.unwrap().unwrap();
    for (caller, outcome) in (0..CALLERS).zip(outcomes) {
        let won = caller.to_string() == holder;
        assert_eq!(outcome, if won { Written::Done } else { Written::Taken(name("n")) });
        let record = store.read(&[super::key(&tenant, &caller.to_string())]).await.unwrap().pop().unwrap();
        assert_eq!(record.is_some(), won, "a loser leaves nothing behind");
    }
}

pub async fn of_many_creations_of_one_record_exactly_one_wins(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let outcomes = write_all(store, |_| Change { puts: vec![put("a", Some(0), "x")], ..change(&tenant) }).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Written::Done).count(), 1);
    let record = store.read(&[super::key(&tenant, "a")]).await.unwrap().pop().unwrap();
    assert_eq!(record.unwrap().version, 1);
}

pub async fn of_many_mints_of_one_token_all_see_the_same_record(store: &Arc<dyn Store>) {
    let (at, subject) = (entry(now().plus(HOUR), 1), account());
    let outcomes = all(|caller| {
        let (store, mint) = (Arc::clone(store), token(&at, &subject, &caller.to_string()));
        async move { store.mint(&mint).await.unwrap().token }
    })
    .await;
    let stored = store.token(&at.token).await.unwrap().unwrap();
    let winners: Vec<_> = (0..CALLERS).zip(&outcomes).filter(|(_, kept)| kept.is_none()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(body(&winners[0].0.to_string()), stored);
    assert!(outcomes.into_iter().flatten().all(|kept| kept == stored));
    assert_eq!(store.subject_page(&subject, None, now(), 10).await.unwrap(), [at]);
}

pub async fn of_many_repeats_of_one_request_exactly_one_is_done(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let outcomes = write_all(store, |caller| {
        let id = caller.to_string();
        Change { puts: vec![put(&id, Some(0), "x")], request: Some(request(1, &id)), ..change(&tenant) }
    })
    .await;
    let winners: Vec<_> = (0..CALLERS).zip(&outcomes).filter(|(_, outcome)| **outcome == Written::Done).collect();
    let [(winner, _)] = winners[..] else { panic!("{} winners", winners.len()) };
    let repeated = Written::Repeated { body: [2; 16], result: winner.to_string() };
    assert!(outcomes.iter().all(|outcome| *outcome == Written::Done || *outcome == repeated));
    for caller in 0..CALLERS {
        let record = store.read(&[super::key(&tenant, &caller.to_string())]).await.unwrap().pop().unwrap();
        assert_eq!(record.is_some(), caller == winner);
    }
}

pub async fn no_write_of_many_is_lost(store: &Arc<dyn Store>) {
    let tenant = tenant();
    let outcomes = write_all(store, |_| Change { puts: vec![put("a", None, "x")], ..change(&tenant) }).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Written::Done));
    let record = store.read(&[super::key(&tenant, "a")]).await.unwrap().pop().unwrap();
    assert_eq!(record.unwrap().version, u64::from(CALLERS));
}

pub async fn no_mint_of_many_moves_a_session_back(store: &Arc<dyn Store>) {
    let (key, first) = (session_key("s"), now());
    let at = |caller| super::Time::from_millis(first.as_millis() + u64::from(caller));
    let outcomes = all(|caller| {
        let (store, mint) = (Arc::clone(store), session(&key, at(caller)));
        async move { store.mint(&mint).await.unwrap() }
    })
    .await;
    assert!(outcomes.into_iter().all(|minted| minted == CLEAN));
    assert_eq!(store.sessions(&[key]).await.unwrap()[0].unwrap().alive_until, at(CALLERS - 1).plus(super::MINUTE));
}

pub async fn appends_of_many_stand_at_growing_positions_and_none_is_missing(store: &Arc<dyn Store>) {
    let before = head(store).await;
    let appended = all(|_| {
        let store = Arc::clone(store);
        async move {
            let mut appended = Vec::new();
            for _ in 0..5 {
                let entries = [Entry::revoke(client()), Entry::changed(client())];
                let position = store.append(&entries).await.unwrap();
                assert!(
                    appended.last().is_none_or(|(last, _)| position > *last),
                    "a caller's own appends are in order"
                );
                appended.push((position, entries));
            }
            appended
        }
    })
    .await;
    let entries = follow(store, before).await;
    assert!(entries.is_sorted_by(|a, b| a.position < b.position));
    let appended: Vec<_> = appended.into_iter().flatten().collect();
    let positions: HashSet<_> = appended.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions.len(), appended.len(), "no two stand at one position");
    assert_eq!(entries.len(), 2 * appended.len());
    for (position, [first, second]) in appended {
        let at = entries.iter().position(|at| at.position == position).unwrap();
        assert_eq!(entries[at].entry, second, "the position is that of the last entry");
        assert!(entries[..at].iter().any(|at| at.entry == first), "the first one stands before it");
    }
}

pub async fn exceptions_of_many_appends_all_merge(store: &Arc<dyn Store>) {
    let ident = client();
    let mut appended = all(|_| {
        let (store, mine) = (Arc::clone(store), log::family());
        let entry = revoke_except(&ident, &mine);
        async move { (store.append(&[entry]).await.unwrap(), mine) }
    })
    .await;
    appended.sort_by_key(|(position, _)| *position);
    let slot = slots(store).await.remove(&ident).unwrap();
    let [.., (second, _), (highest, spared)] = &appended[..] else { panic!("two callers at least") };
    assert_eq!(slot.position_for(&[]), Some(*highest));
    assert_eq!(slot.position_for(std::slice::from_ref(spared)), Some(*second));
    assert!(
        appended.iter().rev().skip(1).all(|(_, mine)| slot.position_for(std::slice::from_ref(mine)) == Some(*highest))
    );
}

pub async fn a_head_read_after_an_append_has_reached_it(store: &Arc<dyn Store>) {
    all(|_| {
        let store = Arc::clone(store);
        async move {
            for _ in 0..5 {
                let before = head(&store).await;
                let position = store.append(&[Entry::revoke(client())]).await.unwrap();
                assert!(position > before);
                let tail = store.tail(before).await.unwrap();
                assert!(tail.head >= position);
                assert!(tail.entries.iter().any(|at| at.position == position));
            }
        }
    })
    .await;
}
