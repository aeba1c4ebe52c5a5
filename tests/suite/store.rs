//! The conformance suite of the store port: what every adapter promises, one function for each sentence.
//!
//! An adapter takes part with one line, `conformance!(fresh);`, in a module of its own, where `async fn fresh() -> Fresh`
//! gives a store that nobody else uses. Each function becomes a test of that module, so that a failure names both.
//!
//! Stores may remove what has expired by their own clock. So expiries lie in the real future here, and what is to count
//! as expired is looked at with a `now` that lies behind them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{any::Any, sync::Arc, time::Duration};

use bytes::Bytes;
use jeton::{
    ambient::{Clock, Fresh as _},
    store::{
        Change, Existing, FamilyMint, FamilyRecord, Index, IndexEntry, Kind, Mint, Name, Put, RecordKey, Refusal,
        Request, SessionKey, SessionMint, Store, SubjectKey, TokenMint, Unique, Written,
    },
};
use jeton_contract::reason::Reason;
use jeton_core::{AccountId, FamilyId, Position, TenantId, Time, TokenId};

mod directory;
mod embedded;
mod families;
mod log;
mod parallel;
mod redis;
mod sessions;
mod tokens;

/// A store of its own for one test.
pub struct Fresh {
    pub store: Arc<dyn Store>,
    /// What must outlive the store: a directory, a server.
    pub keep: Box<dyn Any + Send>,
}

/// Makes a test of every function of the suite, with stores made by an `async fn() -> Fresh`.
macro_rules! conformance {
    ($fresh:path) => {
        $crate::store::conformance! { $fresh;
            log:
                an_append_stands_above_every_earlier_head
                an_acknowledged_append_is_never_above_a_later_head
                the_entries_of_one_append_stand_in_its_order
                the_tail_holds_what_stands_after_a_position_oldest_first
                the_tail_after_the_head_is_empty
                a_long_tail_is_cut_and_goes_on_from_its_last_entry
                every_entry_reads_back_in_all_its_parts
                changed_entries_enter_no_map
                a_slot_has_the_position_of_its_entry
                a_later_entry_raises_the_slot
                an_exception_does_not_forget_the_entry_before_it
                an_entry_without_exception_does_not_forget_the_exception_before_it
                entries_of_one_append_that_name_the_same_merge
                an_entry_that_is_appended_again_keeps_its_effective_position
                a_slot_is_kept_as_long_as_any_of_its_entries_says
                the_state_map_is_read_in_pages_each_slot_once;
            directory:
                an_unknown_record_is_none
                records_are_read_in_the_order_of_their_keys
                the_version_grows_by_one_with_each_write
                the_expected_version_is_compared
                a_record_that_must_not_exist_is_not_replaced
                a_write_that_expects_no_version_replaces_any
                tenants_and_kinds_have_records_of_their_own
                bodies_and_ids_are_any_bytes_and_text
                pending_entries_read_back_and_the_next_write_replaces_them
                settling_clears_what_is_pending_and_leaves_the_version
                settling_another_version_or_no_record_changes_nothing
                a_conflict_writes_nothing
                a_taken_name_writes_nothing
                an_index_that_is_not_empty_writes_nothing
                a_repeated_request_writes_nothing
                a_name_has_one_holder
                a_holder_may_take_its_name_again
                a_freed_name_can_be_taken_by_another
                only_the_holder_frees_a_name
                names_are_apart_by_tenant_kind_and_field
                holders_are_returned_in_the_order_of_their_names
                an_index_lists_ids_in_order_page_by_page
                rows_of_an_index_come_with_the_records_that_they_name
                an_index_holds_an_id_once
                indexes_are_apart_by_tenant_kind_and_parent
                an_unindexed_id_is_listed_no_more
                an_index_that_must_be_empty_and_is_lets_the_change_pass
                a_repeated_request_gets_what_the_first_one_did
                a_repeated_request_is_answered_before_any_conflict
                a_request_is_forgotten_when_its_time_has_passed;
            tokens:
                an_unknown_token_is_none
                a_token_reads_back
                tokens_are_read_in_the_order_of_their_ids
                a_kept_token_is_returned_and_stays
                a_token_that_has_expired_by_now_is_not_kept
                a_replaced_token_is_overwritten_and_listed_once
                a_subject_lists_its_tokens_by_expiry_and_then_by_id
                a_subject_is_listed_page_by_page
                a_page_goes_on_after_a_token_that_is_gone
                eternal_tokens_stand_last_and_are_paged_by_id
                what_has_expired_by_now_is_not_listed
                subjects_have_lists_of_their_own
                a_token_of_any_size_reads_back
                a_mint_of_nothing_does_nothing;
            families:
                an_unknown_family_is_none
                a_family_is_created_and_moves_on_by_its_revision
                a_family_that_must_not_exist_is_not_replaced
                a_family_of_another_revision_is_returned_and_stays
                a_family_that_is_gone_is_not_moved_on
                a_family_that_has_expired_by_now_is_gone
                a_family_of_extreme_values_reads_back
                a_family_conflict_does_not_stop_the_other_parts;
            sessions:
                an_unknown_session_is_none
                the_first_mint_of_a_session_creates_it
                a_mint_moves_the_last_mint_and_never_back
                what_ended_takes_in_nothing_from_before
                a_session_keeps_the_latest_end_of_what_was_minted
                a_session_lapses_a_margin_before_its_idle_time_is_over
                a_lapsed_session_is_not_touched_until_it_is_revived
                reviving_a_session_that_is_alive_is_a_mint
                sessions_are_read_in_order_and_apart_by_tenant
                a_session_belongs_to_its_first_owner
                a_lapsed_session_does_not_stop_the_other_parts
                a_kept_token_does_not_stop_the_other_parts;
            parallel:
                of_many_renewals_of_one_family_exactly_one_wins
                of_many_creations_of_one_family_exactly_one_wins
                of_many_takers_of_one_name_exactly_one_wins
                of_many_creations_of_one_record_exactly_one_wins
                of_many_mints_of_one_token_all_see_the_same_record
                of_many_repeats_of_one_request_exactly_one_is_done
                no_write_of_many_is_lost
                no_mint_of_many_moves_a_session_back
                appends_of_many_stand_at_growing_positions_and_none_is_missing
                exceptions_of_many_appends_all_merge
                a_head_read_after_an_append_has_reached_it;
            itself:
                a_store_that_works_can_be_reached;
        }
    };
    ($fresh:path; $($group:ident: $($name:ident)+;)+) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let fresh = $fresh().await;
            $crate::store::$group::$name(&fresh.store).await;
            drop(fresh.store);
            drop(fresh.keep);
        }
    )+)+};
}
use conformance;

mod itself {
    use super::*;

    pub async fn a_store_that_works_can_be_reached(store: &Arc<dyn Store>) {
        store.ping().await.unwrap();
    }
}

// === what the functions of the suite are written with ===

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Time {
    Clock::default().now()
}

fn tenant() -> TenantId {
    TenantId::random().unwrap()
}

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A change of nothing, to be filled in.
fn change(tenant: &TenantId) -> Change {
    Change {
        tenant: tenant.clone(),
        now: now(),
        puts: Vec::new(),
        require: Vec::new(),
        take: Vec::new(),
        free: Vec::new(),
        index: Vec::new(),
        unindex: Vec::new(),
        require_empty: Vec::new(),
        request: None,
    }
}

fn put(id: &str, expected: Option<u64>, text: &str) -> Put {
    Put { kind: Kind::Client, id: id.into(), expected, pending: Vec::new(), body: body(text), keep_until: Time::NEVER }
}

fn key(tenant: &TenantId, id: &str) -> RecordKey {
    RecordKey { tenant: tenant.clone(), kind: Kind::Client, id: id.into() }
}

const TAKEN: Refusal = Refusal::new(Reason::ForeignIdTaken, "the name is taken");
const IN_USE: Refusal = Refusal::new(Reason::RoleInUse, "there are some");
static FOREIGN_IDS: Name = Name { kind: Kind::Account, field: "foreign_id", taken: TAKEN };

fn name(value: &str) -> Unique {
    Unique { name: &FOREIGN_IDS, value: value.into() }
}

fn index(tenant: &TenantId, parent: Option<&str>) -> Index {
    Index { tenant: tenant.clone(), kind: Kind::Account, parent: parent.map(Into::into) }
}

fn request(key: u8, result: &str) -> Request {
    Request { key: [key; 16], body: [key + 1; 16], result: result.into(), until: now().plus(HOUR) }
}

/// Makes a change that must not be refused.
async fn done(store: &Arc<dyn Store>, change: &Change) {
    assert_eq!(store.write(change).await.unwrap(), Written::Done);
}

fn account() -> SubjectKey {
    SubjectKey::Account(AccountId::random().unwrap())
}

fn entry(expires: Time, id: u8) -> IndexEntry {
    IndexEntry { expires, token: TokenId::from_bytes([id; 16]) }
}

/// A mint of nothing, to be filled in.
fn nothing() -> Mint {
    Mint { now: now(), token: None, family: None, session: None }
}

fn token(entry: &IndexEntry, subject: &SubjectKey, text: &str) -> Mint {
    let token = TokenMint {
        id: entry.token.clone(),
        record: body(text),
        expires: entry.expires,
        keep_until: entry.expires,
        subject: subject.clone(),
        exists: Existing::Keep,
    };
    Mint { token: Some(token), ..nothing() }
}

fn family(id: &FamilyId, expected: Option<u32>, revision: u32, text: &str) -> Mint {
    let family = FamilyMint {
        id: id.clone(),
        record: FamilyRecord { revision, body: body(text) },
        expires: now().plus(HOUR),
        expected,
    };
    Mint { family: Some(family), ..nothing() }
}

fn session_key(session: &str) -> SessionKey {
    SessionKey { tenant: tenant(), session: session.parse().unwrap() }
}

fn position(micros: u64) -> Position {
    Position::new(0, micros).unwrap()
}

/// A mint at `now` into a session that may be idle for a minute.
fn session(key: &SessionKey, now: Time) -> Mint {
    let (until, rev) = (now.plus(HOUR), position(100));
    let session = SessionMint { key: key.clone(), now, idle: MINUTE, until, rev, owner: None, revive: false };
    Mint { now, session: Some(session), ..nothing() }
}
