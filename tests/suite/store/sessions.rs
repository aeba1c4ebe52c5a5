//! Sessions.

use std::{sync::Arc, time::Duration};

use jeton::{
    ambient::Fresh as _,
    store::{Ended, Mint, Minted, SESSION_MARGIN, Session, SessionConflict, SessionKey, Store},
};
use jeton_core::{FamilyId, Time};

use super::{
    HOUR, MINUTE, account, body, entry, family, now, position, session, session_key, tenant, token, tokens::CLEAN,
};

const MILLI: Duration = Duration::from_millis(1);

async fn last_mint(store: &Arc<dyn Store>, key: &SessionKey) -> Option<Time> {
    let known = store.sessions(std::slice::from_ref(key)).await.unwrap().pop().unwrap();
    known.map(|session| session.alive_until.minus(MINUTE))
}

fn ended(ended: Ended) -> Minted {
    Minted { session: Some(SessionConflict::Ended(ended)), ..CLEAN }
}

/// The answer to a mint that comes too late for a session whose tokens expire an hour after `last`.
fn lapsed(last: Time) -> Minted {
    ended(Ended { floor: position(101), until: last.plus(HOUR) })
}

fn revive(mint: Mint) -> Mint {
    let mut mint = with_rev(mint, 200);
    mint.session.as_mut().unwrap().revive = true;
    mint
}

fn with_rev(mut mint: Mint, micros: u64) -> Mint {
    mint.session.as_mut().unwrap().rev = position(micros);
    mint
}

pub async fn an_unknown_session_is_none(store: &Arc<dyn Store>) {
    assert_eq!(last_mint(store, &session_key("s")).await, None);
}

pub async fn the_first_mint_of_a_session_creates_it(store: &Arc<dyn Store>) {
    for (text, reviving) in [("s", false), ("r", true)] {
        let (key, moment) = (session_key(text), now());
        let mint = session(&key, moment);
        let mint = if reviving { revive(mint) } else { mint };
        assert_eq!(store.mint(&mint).await.unwrap(), CLEAN);
        assert_eq!(last_mint(store, &key).await, Some(moment));
    }
}

pub async fn a_mint_moves_the_last_mint_and_never_back(store: &Arc<dyn Store>) {
    let (key, first) = (session_key("s"), now());
    let second = first.plus(MINUTE / 2);
    for (moment, expected) in [(first, first), (second, second), (first, second), (second, second)] {
        assert_eq!(store.mint(&session(&key, moment)).await.unwrap(), CLEAN);
        assert_eq!(last_mint(store, &key).await, Some(expected));
    }
}

pub async fn a_session_lapses_a_margin_before_its_idle_time_is_over(store: &Arc<dyn Store>) {
    let (key, first) = (session_key("s"), now());
    store.mint(&session(&key, first)).await.unwrap();
    let in_time = first.plus(MINUTE - SESSION_MARGIN - MILLI);
    assert_eq!(store.mint(&session(&key, in_time)).await.unwrap(), CLEAN);
    let late = in_time.plus(MINUTE - SESSION_MARGIN);
    assert_eq!(store.mint(&session(&key, late)).await.unwrap(), lapsed(in_time));
    assert_eq!(last_mint(store, &key).await, Some(in_time));
}

pub async fn a_lapsed_session_is_not_touched_until_it_is_revived(store: &Arc<dyn Store>) {
    let (key, first) = (session_key("s"), now());
    store.mint(&session(&key, first)).await.unwrap();
    let late = first.plus(MINUTE * 2);
    for _ in 0..2 {
        assert_eq!(store.mint(&session(&key, late)).await.unwrap(), lapsed(first));
        assert_eq!(last_mint(store, &key).await, Some(first));
    }
    assert_eq!(store.mint(&revive(session(&key, late))).await.unwrap(), CLEAN);
    assert_eq!(last_mint(store, &key).await, Some(late));
    assert_eq!(store.mint(&with_rev(session(&key, late.plus(MILLI)), 101)).await.unwrap(), CLEAN);
    // One that is slow, and began before the session lapsed.
    let slow = store.mint(&session(&key, late.plus(MILLI))).await.unwrap();
    assert_eq!(slow, lapsed(late.plus(MILLI)));
}

pub async fn what_ended_takes_in_nothing_from_before(store: &Arc<dyn Store>) {
    let keys = [session_key("s"), session_key("r")];
    assert_eq!(store.end_sessions(&keys).await.unwrap(), [None, None]);
    assert!(store.end_sessions(&[]).await.unwrap().is_empty());
    let (key, first) = (&keys[0], now());
    store.mint(&session(key, first)).await.unwrap();
    store.mint(&with_rev(session(key, first), 90)).await.unwrap();
    let ended = Ended { floor: position(101), until: first.plus(HOUR) };
    for _ in 0..2 {
        assert_eq!(store.end_sessions(&keys).await.unwrap(), [Some(ended), None]);
    }
    for revived in [false, true] {
        let mut late = with_rev(session(key, first.plus(MILLI)), 100);
        late.session.as_mut().unwrap().revive = revived;
        assert_eq!(store.mint(&late).await.unwrap(), self::ended(ended));
    }
    assert_eq!(store.mint(&with_rev(session(key, first.plus(MILLI)), 101)).await.unwrap(), CLEAN);
    assert_eq!(last_mint(store, key).await, Some(first.plus(MILLI)));
    let again = store.end_sessions(&keys[..1]).await.unwrap();
    assert_eq!(again, [Some(Ended { floor: position(102), until: first.plus(MILLI).plus(HOUR) })]);
}

pub async fn a_session_keeps_the_latest_end_of_what_was_minted(store: &Arc<dyn Store>) {
    let (key, first) = (session_key("s"), now());
    for (hours, expected) in [(1, 1), (5, 5), (2, 5)] {
        let mut mint = session(&key, first);
        mint.session.as_mut().unwrap().until = first.plus(HOUR * hours);
        store.mint(&mint).await.unwrap();
        let known = store.sessions(std::slice::from_ref(&key)).await.unwrap();
        assert_eq!(known[0].unwrap().until, first.plus(HOUR * expected));
    }
    let mut eternal = session(&key, first);
    eternal.session.as_mut().unwrap().until = Time::NEVER;
    store.mint(&eternal).await.unwrap();
    assert_eq!(store.end_sessions(&[key]).await.unwrap()[0].unwrap().until, Time::NEVER);
}

pub async fn reviving_a_session_that_is_alive_is_a_mint(store: &Arc<dyn Store>) {
    let (key, first) = (session_key("s"), now());
    store.mint(&session(&key, first)).await.unwrap();
    let second = first.plus(MINUTE / 2);
    assert_eq!(store.mint(&revive(session(&key, second))).await.unwrap(), CLEAN);
    assert_eq!(store.mint(&revive(session(&key, first))).await.unwrap(), CLEAN);
    assert_eq!(last_mint(store, &key).await, Some(second));
}

pub async fn sessions_are_read_in_order_and_apart_by_tenant(store: &Arc<dyn Store>) {
    let first = now();
    let ours = session_key("a:b");
    let theirs = SessionKey { tenant: tenant(), ..ours.clone() };
    let odd = SessionKey { session: "{a}\"\\%00".parse().unwrap(), ..ours.clone() };
    store.mint(&session(&ours, first)).await.unwrap();
    store.mint(&session(&odd, first.plus(MILLI))).await.unwrap();
    let keys = [odd, theirs, ours];
    let known = |mint: Time| Some(Session { alive_until: mint.plus(MINUTE), until: mint.plus(HOUR) });
    assert_eq!(store.sessions(&keys).await.unwrap(), [known(first.plus(MILLI)), None, known(first)]);
    assert!(store.sessions(&[]).await.unwrap().is_empty());
}

pub async fn a_session_belongs_to_its_first_owner(store: &Arc<dyn Store>) {
    const OWNED: Minted = Minted { session: Some(SessionConflict::Owned), ..CLEAN };
    let (key, first) = (session_key("s"), now());
    let mint = |owner: Option<u8>, moment: Time| {
        let mut mint = session(&key, moment);
        mint.session.as_mut().unwrap().owner = owner.map(|owner| [owner; 16]);
        mint
    };
    // Who is not known is known once somebody is named.
    assert_eq!(store.mint(&mint(None, first)).await.unwrap(), CLEAN);
    for owner in [Some(1), None, Some(1)] {
        assert_eq!(store.mint(&mint(owner, first)).await.unwrap(), CLEAN);
        assert_eq!(store.mint(&mint(Some(2), first.plus(MILLI))).await.unwrap(), OWNED);
        assert_eq!(last_mint(store, &key).await, Some(first), "not touched");
    }
    // Lapsed or not, revived or not.
    let late = first.plus(MINUTE * 2);
    assert_eq!(store.mint(&mint(Some(2), late)).await.unwrap(), OWNED);
    assert_eq!(store.mint(&revive(mint(Some(2), late))).await.unwrap(), OWNED);
    assert_eq!(store.mint(&mint(Some(1), late)).await.unwrap(), lapsed(first));
    assert_eq!(store.mint(&revive(mint(None, late))).await.unwrap(), CLEAN);
    assert_eq!(store.mint(&mint(Some(2), late)).await.unwrap(), OWNED);
    assert_eq!(store.mint(&with_rev(mint(Some(1), late), 101)).await.unwrap(), CLEAN);
}

pub async fn a_lapsed_session_does_not_stop_the_other_parts(store: &Arc<dyn Store>) {
    let (key, first) = (session_key("s"), now());
    store.mint(&session(&key, first)).await.unwrap();
    let (at, subject, id) = (entry(first.plus(HOUR), 1), account(), FamilyId::random().unwrap());
    let late = Mint {
        token: token(&at, &subject, "text").token,
        family: family(&id, None, 1, "first").family,
        ..session(&key, first.plus(MINUTE * 2))
    };
    assert_eq!(store.mint(&late).await.unwrap(), lapsed(first));
    assert_eq!(store.token(&at.token).await.unwrap(), Some(body("text")));
    assert_eq!(store.subject_page(&subject, None, first, 10).await.unwrap(), [at]);
    assert_eq!(store.family(&id).await.unwrap().unwrap().revision, 1);
    assert_eq!(last_mint(store, &key).await, Some(first));
}

pub async fn a_kept_token_does_not_stop_the_other_parts(store: &Arc<dyn Store>) {
    let (at, subject) = (entry(now().plus(HOUR), 1), account());
    store.mint(&token(&at, &subject, "first")).await.unwrap();
    let (key, moment, id) = (session_key("s"), now(), FamilyId::random().unwrap());
    let again = Mint {
        token: token(&at, &subject, "second").token,
        family: family(&id, None, 1, "first").family,
        ..session(&key, moment)
    };
    assert_eq!(store.mint(&again).await.unwrap(), Minted { token: Some(body("first")), ..CLEAN });
    assert_eq!(store.family(&id).await.unwrap().unwrap().revision, 1);
    assert_eq!(last_mint(store, &key).await, Some(moment));
}
