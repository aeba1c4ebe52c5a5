//! Tokens and the lists that they stand in.

use std::sync::Arc;

use bytes::Bytes;
use jeton::{
    ambient::Fresh as _,
    store::{Existing, IndexEntry, Mint, Minted, Store, SubjectKey, TokenMint},
};
use jeton_core::{AccountId, ClientId, Time, TokenId};

use super::{HOUR, MINUTE, account, body, entry, nothing, now, tenant, token};

pub const CLEAN: Minted = Minted { token: None, family: None, session: None };

async fn mint(store: &Arc<dyn Store>, mint: &Mint) {
    assert_eq!(store.mint(mint).await.unwrap(), CLEAN);
}

/// A subject's whole list, read in pages of `limit`.
async fn pages(store: &Arc<dyn Store>, subject: &SubjectKey, now: Time, limit: usize) -> Vec<IndexEntry> {
    let mut entries: Vec<IndexEntry> = Vec::new();
    loop {
        let page = store.subject_page(subject, entries.last(), now, limit).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
        assert!(entries.is_sorted_by(|a, b| a < b), "a page stands after the one before");
    }
}

/// Eight tokens of a subject, stored in another order than theirs: two for each of four expiries, one of them NEVER.
async fn list_of_eight(store: &Arc<dyn Store>, subject: &SubjectKey) -> Vec<IndexEntry> {
    let soon = now().plus(MINUTE);
    let expiries = [Time::NEVER, soon, soon.plus(HOUR), soon.plus(MINUTE)];
    let mut entries = Vec::new();
    for (at, expires) in (0_u8..).zip(expiries) {
        entries.push(entry(expires, 0xf0 - at));
        entries.push(entry(expires, at));
    }
    for entry in &entries {
        mint(store, &token(entry, subject, "t")).await;
    }
    entries.sort();
    entries
}

pub async fn an_unknown_token_is_none(store: &Arc<dyn Store>) {
    assert_eq!(store.token(&TokenId::random().unwrap()).await.unwrap(), None);
    assert!(store.subject_page(&account(), None, now(), 10).await.unwrap().is_empty());
}

pub async fn a_token_reads_back(store: &Arc<dyn Store>) {
    let (entry, subject) = (entry(now().plus(HOUR), 1), account());
    mint(store, &token(&entry, &subject, "text")).await;
    assert_eq!(store.token(&entry.token).await.unwrap(), Some(body("text")));
    assert_eq!(pages(store, &subject, now(), 10).await, [entry]);
}

pub async fn tokens_are_read_in_the_order_of_their_ids(store: &Arc<dyn Store>) {
    let subject = account();
    for (id, text) in [(1, "first"), (2, "second")] {
        mint(store, &token(&entry(now().plus(HOUR), id), &subject, text)).await;
    }
    let ids = [2, 9, 1, 2].map(|id| TokenId::from_bytes([id; 16]));
    let expected = [Some(body("second")), None, Some(body("first")), Some(body("second"))];
    assert_eq!(store.tokens(&ids).await.unwrap(), expected);
    assert!(store.tokens(&[]).await.unwrap().is_empty());
}

pub async fn a_kept_token_is_returned_and_stays(store: &Arc<dyn Store>) {
    let (first, subject) = (entry(now().plus(HOUR), 1), account());
    mint(store, &token(&first, &subject, "first")).await;
    let again = entry(now().plus(HOUR * 2), 1);
    let minted = store.mint(&token(&again, &subject, "second")).await.unwrap();
    assert_eq!(minted, Minted { token: Some(body("first")), ..CLEAN });
    assert_eq!(store.token(&first.token).await.unwrap(), Some(body("first")));
    assert_eq!(pages(store, &subject, now(), 10).await, [first]);
}

pub async fn a_token_that_has_expired_by_now_is_not_kept(store: &Arc<dyn Store>) {
    let (first, second, subject) = (entry(now().plus(HOUR), 1), entry(now().plus(HOUR * 3), 1), account());
    mint(store, &token(&first, &subject, "first")).await;
    mint(store, &Mint { now: first.expires, ..token(&second, &subject, "second") }).await;
    assert_eq!(store.token(&first.token).await.unwrap(), Some(body("second")));
    assert_eq!(pages(store, &subject, first.expires, 10).await, [second]);
}

pub async fn a_replaced_token_is_overwritten_and_listed_once(store: &Arc<dyn Store>) {
    let subject = account();
    for (text, expires) in [("first", now().plus(HOUR)), ("later", Time::NEVER), ("sooner", now().plus(MINUTE))] {
        let at = entry(expires, 1);
        let replace = TokenMint { exists: Existing::Replace, ..token(&at, &subject, text).token.unwrap() };
        mint(store, &Mint { token: Some(replace), ..nothing() }).await;
        assert_eq!(store.token(&at.token).await.unwrap(), Some(body(text)));
        assert_eq!(pages(store, &subject, now(), 10).await, [at]);
    }
}

pub async fn a_subject_lists_its_tokens_by_expiry_and_then_by_id(store: &Arc<dyn Store>) {
    let subject = account();
    let entries = list_of_eight(store, &subject).await;
    assert_eq!(store.subject_page(&subject, None, now(), 100).await.unwrap(), entries);
}

pub async fn a_subject_is_listed_page_by_page(store: &Arc<dyn Store>) {
    let subject = account();
    let entries = list_of_eight(store, &subject).await;
    for limit in 1..=9 {
        assert_eq!(pages(store, &subject, now(), limit).await, entries, "in pages of {limit}");
    }
}

pub async fn a_page_goes_on_after_a_token_that_is_gone(store: &Arc<dyn Store>) {
    let subject = account();
    let entries = list_of_eight(store, &subject).await;
    let between = IndexEntry { expires: entries[2].expires, token: TokenId::from_bytes([0x80; 16]) };
    assert_eq!(store.subject_page(&subject, Some(&between), now(), 2).await.unwrap(), entries[3..5]);
    let last = entry(Time::NEVER, 0xff);
    assert!(store.subject_page(&subject, Some(&last), now(), 2).await.unwrap().is_empty());
}

pub async fn eternal_tokens_stand_last_and_are_paged_by_id(store: &Arc<dyn Store>) {
    let subject = account();
    let mut entries: Vec<_> = [0xff, 0x7f, 0x00, 0x80, 0x0a].map(|id| entry(Time::NEVER, id)).into();
    entries.push(entry(now().plus(HOUR), 0xfe));
    for entry in &entries {
        mint(store, &token(entry, &subject, "t")).await;
    }
    entries.sort();
    for limit in [1, 2, 5] {
        assert_eq!(pages(store, &subject, now(), limit).await, entries);
    }
    let long_after = Time::from_millis(Time::NEVER.as_millis() - 1);
    assert_eq!(pages(store, &subject, long_after, 2).await, entries[1..]);
}

pub async fn what_has_expired_by_now_is_not_listed(store: &Arc<dyn Store>) {
    let subject = account();
    let entries = list_of_eight(store, &subject).await;
    let before = Time::from_millis(entries[2].expires.as_millis() - 1);
    assert_eq!(pages(store, &subject, before, 3).await, entries[2..]);
    assert_eq!(pages(store, &subject, entries[2].expires, 3).await, entries[4..], "the last moment does not count");
    let page = store.subject_page(&subject, Some(&entries[0]), entries[2].expires, 3).await.unwrap();
    assert_eq!(page, entries[4..7], "nor does what a page began with");
}

pub async fn subjects_have_lists_of_their_own(store: &Arc<dyn Store>) {
    let client = ClientId::random().unwrap();
    let subjects = [
        SubjectKey::Client(tenant(), client.clone()),
        SubjectKey::Client(tenant(), client),
        SubjectKey::Client("default".parse().unwrap(), "admin".parse().unwrap()),
        SubjectKey::Account(AccountId::from_bytes([0; 16])),
        SubjectKey::Account(AccountId::from_bytes([u8::MAX; 16])),
    ];
    let entries: Vec<_> = (1..).map(|id| entry(now().plus(HOUR), id)).take(subjects.len()).collect();
    for (subject, entry) in subjects.iter().zip(&entries) {
        mint(store, &token(entry, subject, "t")).await;
    }
    for (subject, entry) in subjects.iter().zip(&entries) {
        assert_eq!(pages(store, subject, now(), 10).await, std::slice::from_ref(entry));
    }
}

pub async fn a_token_of_any_size_reads_back(store: &Arc<dyn Store>) {
    let all_bytes: Bytes = (0..=u8::MAX).cycle().take(1 << 16).collect();
    for (id, record) in [(0, Bytes::new()), (u8::MAX, all_bytes)] {
        let mut large = token(&entry(Time::NEVER, id), &account(), "");
        large.token.as_mut().unwrap().record = record.clone();
        mint(store, &large).await;
        assert_eq!(store.token(&TokenId::from_bytes([id; 16])).await.unwrap(), Some(record));
    }
}

pub async fn a_mint_of_nothing_does_nothing(store: &Arc<dyn Store>) {
    mint(store, &nothing()).await;
}
