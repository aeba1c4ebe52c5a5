//! The revocation log and its state map.

use std::{collections::HashMap, sync::Arc};

use jeton::{ambient::Fresh as _, revocation::log::TAIL_LIMIT, store::Store};
use jeton_core::{
    AccountId, ClientId, FamilyId, GroupId, Ident, MemberId, Position, Time, TokenId,
    entry::{Effect, Entry, LogEntry, Slot},
};

use super::{HOUR, MINUTE, now, tenant};

pub fn client() -> Ident {
    Ident::Client(ClientId::random().unwrap())
}

pub fn family() -> Ident {
    Ident::Family(tenant(), FamilyId::random().unwrap())
}

pub fn revoke_except(ident: &Ident, except: &Ident) -> Entry {
    let effect = Effect::Revoke { except: Some(except.clone()), until: Time::NEVER };
    Entry { ident: ident.clone(), effect, effective: None }
}

/// The log's head.
pub async fn head(store: &Arc<dyn Store>) -> Position {
    store.tail(Position::START).await.unwrap().head
}

/// Everything after a position, as a follower reads it.
pub async fn follow(store: &Arc<dyn Store>, mut after: Position) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    loop {
        let tail = store.tail(after).await.unwrap();
        assert!(!tail.gap);
        assert!(tail.entries.len() <= TAIL_LIMIT);
        entries.extend(tail.entries);
        assert!(entries.is_sorted_by(|a, b| a.position < b.position));
        let Some(last) = entries.last() else { return entries };
        after = last.position;
        if !tail.more {
            assert_eq!(after, tail.head, "the last entry stands at the head");
            return entries;
        }
    }
}

/// The whole state map, read page by page.
pub async fn slots(store: &Arc<dyn Store>) -> HashMap<Ident, Slot> {
    let mut slots = HashMap::new();
    let mut cursor = None;
    loop {
        let page = store.state_page(cursor).await.unwrap();
        for (ident, slot) in page.slots {
            assert!(slots.insert(ident, slot).is_none(), "a slot stands on one page only");
        }
        cursor = page.next;
        if cursor.is_none() {
            return slots;
        }
    }
}

pub async fn an_append_stands_above_every_earlier_head(store: &Arc<dyn Store>) {
    for _ in 0..20 {
        let before = head(store).await;
        let position = store.append(&[Entry::revoke(client())]).await.unwrap();
        assert!(position > before, "{position} > {before}");
    }
}

pub async fn an_acknowledged_append_is_never_above_a_later_head(store: &Arc<dyn Store>) {
    for _ in 0..20 {
        let position = store.append(&[Entry::changed(client())]).await.unwrap();
        assert!(head(store).await >= position);
        assert!(store.tail(position).await.unwrap().head >= position);
    }
}

pub async fn the_entries_of_one_append_stand_in_its_order(store: &Arc<dyn Store>) {
    let before = head(store).await;
    let appended: Vec<_> = (0..5).map(|_| Entry::revoke(client())).collect();
    let last = store.append(&appended).await.unwrap();
    let entries = follow(store, before).await;
    assert!(entries.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(entries.last().unwrap().position, last);
    assert_eq!(entries.into_iter().map(|at| at.entry).collect::<Vec<_>>(), appended);
}

pub async fn the_tail_holds_what_stands_after_a_position_oldest_first(store: &Arc<dyn Store>) {
    let before = head(store).await;
    let (first, second, third) = (Entry::revoke(client()), Entry::changed(client()), Entry::revoke(family()));
    let mut positions = Vec::new();
    for entry in [&first, &second, &third] {
        positions.push(store.append(std::slice::from_ref(entry)).await.unwrap());
    }
    let placed = |n: usize, entry: &Entry| LogEntry { position: positions[n], entry: entry.clone() };
    let all = [placed(0, &first), placed(1, &second), placed(2, &third)];
    let tail = store.tail(before).await.unwrap();
    assert_eq!(tail.entries, all);
    assert_eq!((tail.head, tail.more, tail.gap), (positions[2], false, false));
    assert_eq!(store.tail(positions[0]).await.unwrap().entries, all[1..]);
}

pub async fn the_tail_after_the_head_is_empty(store: &Arc<dyn Store>) {
    let position = store.append(&[Entry::revoke(client())]).await.unwrap();
    let tail = store.tail(position).await.unwrap();
    assert_eq!((tail.head, tail.entries, tail.more, tail.gap), (position, vec![], false, false));
}

pub async fn a_long_tail_is_cut_and_goes_on_from_its_last_entry(store: &Arc<dyn Store>) {
    let before = head(store).await;
    let appended: Vec<_> = (0..TAIL_LIMIT * 2 + 300).map(|_| Entry::changed(client())).collect();
    for entries in appended.chunks(100) {
        store.append(entries).await.unwrap();
    }
    let first = store.tail(before).await.unwrap();
    assert_eq!(first.entries.len(), TAIL_LIMIT);
    assert!(first.more);
    assert!(first.head > first.entries.last().unwrap().position);
    let entries = follow(store, before).await;
    assert!(entries.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(entries.into_iter().map(|at| at.entry).collect::<Vec<_>>(), appended);
    // Exactly as many as one tail holds is not more.
    let after = follow(store, before).await[appended.len() - TAIL_LIMIT - 1].position;
    let exact = store.tail(after).await.unwrap();
    assert_eq!((exact.entries.len(), exact.more), (TAIL_LIMIT, false));
}

pub async fn every_entry_reads_back_in_all_its_parts(store: &Arc<dyn Store>) {
    let before = head(store).await;
    let (tenant, account, member) = (tenant(), AccountId::random().unwrap(), MemberId::random().unwrap());
    let token = Ident::Token(tenant.clone(), TokenId::random().unwrap());
    let idents = [
        token.clone(),
        family(),
        Ident::Session(tenant.clone(), "a:b{c}/%00".parse().unwrap()),
        client(),
        Ident::Client("admin".parse().unwrap()),
        Ident::Admission(tenant.clone(), ClientId::random().unwrap()),
        Ident::Account(tenant.clone(), account.clone()),
        Ident::Subtree(tenant.clone(), account.clone()),
        Ident::Member(tenant.clone(), member.clone()),
        Ident::Membership(tenant.clone(), account.clone(), member.clone()),
        Ident::Group(tenant.clone(), GroupId::random().unwrap()),
        Ident::Entity(tenant.clone(), GroupId::random().unwrap(), account),
        Ident::GroupMember(tenant.clone(), GroupId::random().unwrap(), member),
        Ident::Tenant("default".parse().unwrap()),
        Ident::SigningKey(tenant, "k1".parse().unwrap()),
    ];
    let mut entries = Vec::new();
    for ident in idents {
        entries.push(Entry::changed(ident.clone()));
        for except in [None, Some(token.clone())] {
            for effective in [None, Position::new((1 << 24) - 1, (1 << 56) - 1)] {
                for until in [now().plus(HOUR), Time::NEVER] {
                    let effect = Effect::Revoke { except: except.clone(), until };
                    entries.push(Entry { ident: ident.clone(), effect, effective });
                }
            }
        }
    }
    store.append(&entries).await.unwrap();
    let read: Vec<_> = follow(store, before).await.into_iter().map(|at| at.entry).collect();
    assert_eq!(read, entries);
}

pub async fn changed_entries_enter_no_map(store: &Arc<dyn Store>) {
    let (changed, revoked) = (client(), client());
    store.append(&[Entry::changed(changed.clone()), Entry::revoke(revoked.clone())]).await.unwrap();
    store.append(&[Entry::changed(revoked.clone())]).await.unwrap();
    let slots = slots(store).await;
    assert!(!slots.contains_key(&changed));
    assert!(slots.contains_key(&revoked));
}

pub async fn a_slot_has_the_position_of_its_entry(store: &Arc<dyn Store>) {
    let (ident, until) = (client(), now().plus(HOUR));
    let position = store.append(&[Entry::revoke_until(ident.clone(), until)]).await.unwrap();
    let slot = slots(store).await.remove(&ident).unwrap();
    assert_eq!(slot.position_for(&[]), Some(position));
    assert_eq!(slot.until, until);
}

pub async fn a_later_entry_raises_the_slot(store: &Arc<dyn Store>) {
    let ident = client();
    store.append(&[Entry::revoke(ident.clone())]).await.unwrap();
    let later = store.append(&[Entry::revoke(ident.clone())]).await.unwrap();
    assert_eq!(slots(store).await[&ident].position_for(&[]), Some(later));
}

pub async fn an_exception_does_not_forget_the_entry_before_it(store: &Arc<dyn Store>) {
    let (ident, mine) = (client(), family());
    let all = store.append(&[Entry::revoke(ident.clone())]).await.unwrap();
    let but_mine = store.append(&[revoke_except(&ident, &mine)]).await.unwrap();
    let slot = slots(store).await.remove(&ident).unwrap();
    assert_eq!(slot.position_for(&[]), Some(but_mine));
    assert_eq!(slot.position_for(&[mine]), Some(all));
}

pub async fn an_entry_without_exception_does_not_forget_the_exception_before_it(store: &Arc<dyn Store>) {
    let (ident, mine, yours) = (client(), family(), family());
    let but_mine = store.append(&[revoke_except(&ident, &mine)]).await.unwrap();
    let slot = slots(store).await.remove(&ident).unwrap();
    assert_eq!((slot.position_for(std::slice::from_ref(&mine)), slot.position_for(&[])), (None, Some(but_mine)));
    let but_yours = store.append(&[revoke_except(&ident, &yours)]).await.unwrap();
    let slot = slots(store).await.remove(&ident).unwrap();
    assert_eq!(slot.position_for(&[mine]), Some(but_yours));
    assert_eq!(slot.position_for(std::slice::from_ref(&yours)), Some(but_mine));
    let all = store.append(&[Entry::revoke(ident.clone())]).await.unwrap();
    assert_eq!(slots(store).await[&ident].position_for(&[yours]), Some(all));
}

pub async fn entries_of_one_append_that_name_the_same_merge(store: &Arc<dyn Store>) {
    let (ident, mine) = (client(), family());
    let before = head(store).await;
    let last = store.append(&[Entry::revoke(ident.clone()), revoke_except(&ident, &mine)]).await.unwrap();
    let entries = follow(store, before).await;
    let slot = slots(store).await.remove(&ident).unwrap();
    assert_eq!(slot.position_for(&[]), Some(last));
    assert_eq!(slot.position_for(&[mine]), Some(entries[0].position));
}

pub async fn an_entry_that_is_appended_again_keeps_its_effective_position(store: &Arc<dyn Store>) {
    let ident = client();
    let first = store.append(&[Entry::revoke(ident.clone())]).await.unwrap();
    let again = Entry { effective: Some(first), ..Entry::revoke(ident.clone()) };
    let second = store.append(std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(slots(store).await[&ident].position_for(&[]), Some(first));
    assert_eq!(follow(store, first).await, [LogEntry { position: second, entry: again }]);
}

pub async fn a_slot_is_kept_as_long_as_any_of_its_entries_says(store: &Arc<dyn Store>) {
    let (ident, late, soon) = (family(), now().plus(HOUR), now().plus(MINUTE));
    for until in [soon, late, soon] {
        store.append(&[Entry::revoke_until(ident.clone(), until)]).await.unwrap();
    }
    assert_eq!(slots(store).await[&ident].until, late);
    store.append(&[Entry::revoke(ident.clone())]).await.unwrap();
    assert_eq!(slots(store).await[&ident].until, Time::NEVER);
}

pub async fn the_state_map_is_read_in_pages_each_slot_once(store: &Arc<dyn Store>) {
    let idents: Vec<_> = (0..2500).map(|_| client()).collect();
    for idents in idents.chunks(100) {
        let entries: Vec<_> = idents.iter().cloned().map(Entry::revoke).collect();
        store.append(&entries).await.unwrap();
    }
    assert!(store.state_page(None).await.unwrap().next.is_some(), "so many slots do not come in one page");
    let slots = slots(store).await;
    assert!(idents.iter().all(|ident| slots.contains_key(ident)));
}
