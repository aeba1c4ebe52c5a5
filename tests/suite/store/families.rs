//! Families.

use std::sync::Arc;

use jeton::{
    ambient::Fresh as _,
    store::{FamilyConflict, FamilyRecord, Mint, Minted, Store},
};
use jeton_core::{FamilyId, Time};

use super::{HOUR, account, body, entry, family, now, session, session_key, token, tokens::CLEAN};

fn record(revision: u32, text: &str) -> FamilyRecord {
    FamilyRecord { revision, body: body(text) }
}

fn conflict(conflict: FamilyConflict) -> Minted {
    Minted { family: Some(conflict), ..CLEAN }
}

async fn fresh(store: &Arc<dyn Store>) -> FamilyId {
    let id = FamilyId::random().unwrap();
    assert_eq!(store.mint(&family(&id, None, 1, "first")).await.unwrap(), CLEAN);
    id
}

pub async fn an_unknown_family_is_none(store: &Arc<dyn Store>) {
    assert_eq!(store.family(&FamilyId::random().unwrap()).await.unwrap(), None);
}

pub async fn a_family_is_created_and_moves_on_by_its_revision(store: &Arc<dyn Store>) {
    let id = fresh(store).await;
    assert_eq!(store.family(&id).await.unwrap(), Some(record(1, "first")));
    for revision in 2..5 {
        let next = family(&id, Some(revision - 1), revision, "next");
        assert_eq!(store.mint(&next).await.unwrap(), CLEAN);
        assert_eq!(store.family(&id).await.unwrap(), Some(record(revision, "next")));
    }
}

pub async fn a_family_that_must_not_exist_is_not_replaced(store: &Arc<dyn Store>) {
    let id = fresh(store).await;
    let minted = store.mint(&family(&id, None, 1, "second")).await.unwrap();
    assert_eq!(minted, conflict(FamilyConflict::Other(record(1, "first"))));
    assert_eq!(store.family(&id).await.unwrap(), Some(record(1, "first")));
}

pub async fn a_family_of_another_revision_is_returned_and_stays(store: &Arc<dyn Store>) {
    let id = fresh(store).await;
    assert_eq!(store.mint(&family(&id, Some(1), 2, "second")).await.unwrap(), CLEAN);
    for other in [0, 1, 3, u32::MAX] {
        let minted = store.mint(&family(&id, Some(other), 9, "third")).await.unwrap();
        assert_eq!(minted, conflict(FamilyConflict::Other(record(2, "second"))));
    }
    assert_eq!(store.family(&id).await.unwrap(), Some(record(2, "second")));
}

pub async fn a_family_that_is_gone_is_not_moved_on(store: &Arc<dyn Store>) {
    let id = FamilyId::random().unwrap();
    let minted = store.mint(&family(&id, Some(1), 2, "second")).await.unwrap();
    assert_eq!(minted, conflict(FamilyConflict::Gone));
    assert_eq!(store.family(&id).await.unwrap(), None);
}

pub async fn a_family_that_has_expired_by_now_is_gone(store: &Arc<dyn Store>) {
    let id = FamilyId::random().unwrap();
    let first = family(&id, None, 1, "first");
    let expires = first.family.as_ref().unwrap().expires;
    store.mint(&first).await.unwrap();
    let late = Mint { now: expires, ..family(&id, Some(1), 2, "second") };
    assert_eq!(store.mint(&late).await.unwrap(), conflict(FamilyConflict::Gone));
    let last_moment = Time::from_millis(expires.as_millis() - 1);
    let minted = store.mint(&Mint { now: last_moment, ..family(&id, None, 1, "third") }).await.unwrap();
    assert_eq!(minted, conflict(FamilyConflict::Other(record(1, "first"))));
    let anew = Mint { now: expires, ..family(&id, None, 1, "third") };
    assert_eq!(store.mint(&anew).await.unwrap(), CLEAN);
    assert_eq!(store.family(&id).await.unwrap(), Some(record(1, "third")));
}

pub async fn a_family_of_extreme_values_reads_back(store: &Arc<dyn Store>) {
    for id in [FamilyId::from_bytes([0; 16]), FamilyId::from_bytes([u8::MAX; 16])] {
        for (expected, revision) in [(None, 0), (Some(0), u32::MAX), (Some(u32::MAX), 0)] {
            let mut extreme = family(&id, expected, revision, "");
            extreme.family.as_mut().unwrap().expires = Time::NEVER;
            assert_eq!(store.mint(&extreme).await.unwrap(), CLEAN);
            assert_eq!(store.family(&id).await.unwrap(), Some(record(revision, "")));
        }
    }
}

pub async fn a_family_conflict_does_not_stop_the_other_parts(store: &Arc<dyn Store>) {
    let (id, subject, key) = (fresh(store).await, account(), session_key("s"));
    let at = entry(now().plus(HOUR), 1);
    let moment = now();
    let mint = Mint {
        token: token(&at, &subject, "text").token,
        session: session(&key, moment).session,
        ..family(&id, Some(7), 8, "next")
    };
    let minted = store.mint(&mint).await.unwrap();
    assert_eq!(minted, conflict(FamilyConflict::Other(record(1, "first"))));
    assert_eq!(store.token(&at.token).await.unwrap(), Some(body("text")));
    assert_eq!(store.subject_page(&subject, None, moment, 10).await.unwrap(), [at]);
    assert_eq!(store.sessions(&[key]).await.unwrap()[0].unwrap().alive_until, moment.plus(super::MINUTE));
}
