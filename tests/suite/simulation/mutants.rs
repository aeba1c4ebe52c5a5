//! Each rule taken out by itself: the oracle must notice.
//!
//! Rules inside the production code have no switch. Taken out by hand, each of these was noticed within 400 seeds: the
//! load of the map on a new line and on a gap, dropping all copies on a load, dropping the copy that an entry names, the
//! fill rule, one read of the head per waiting call, the head before the pages of the map, "above `rev`" (not at it),
//! `except`, the slot's second position, the merge in memory, the effective position, following `more` to its end.

use super::{rules::Rule, setting, world::run};

/// So many seeds at most until a broken rule is noticed.
const PATIENCE: u64 = 3000;

/// Runs seeds without the rule until a guarantee breaks.
fn is_noticed(rule: Rule) {
    let first = setting("JETON_SIM_SEED").unwrap_or(1);
    let noticed = (first..first + PATIENCE).find_map(|seed| Some((seed, run(seed, Some(rule), false).violation?)));
    match noticed {
        Some((seed, violation)) => println!("{rule:?} taken out: seed {seed} notices: {violation}"),
        None => panic!("{rule:?} was taken out, and nobody noticed in {PATIENCE} runs"),
    }
}

macro_rules! taking_out {
    ($($test:ident: $rule:ident,)*) => {$(
        #[test]
        fn $test() {
            is_noticed(Rule::$rule);
        }
    )*};
}

taking_out! {
    taking_out_confirmed_heads_is_noticed: HeadsConfirmed,
    taking_out_confirmed_pages_is_noticed: PagesConfirmed,
    taking_out_confirmed_records_is_noticed: RecordsConfirmed,
    taking_out_the_wait_of_appends_is_noticed: AppendsWait,
    taking_out_the_wait_of_mints_is_noticed: MintsWait,
    taking_out_the_wait_for_every_replica_is_noticed: EveryReplicaAwaited,
    taking_out_the_wait_of_repeats_is_noticed: RepeatsWait,
    taking_out_the_line_is_noticed: LineRaised,
    taking_out_new_lines_is_noticed: LineNew,
    taking_out_gaps_is_noticed: GapsSignalled,
    taking_out_the_merge_of_slots_is_noticed: SlotsMerge,
    taking_out_the_margin_of_slots_is_noticed: SlotsOutlive,
    taking_out_records_first_is_noticed: RecordFirst,
    taking_out_the_repair_of_pending_is_noticed: PendingRepaired,
    taking_out_the_drop_of_slow_loads_is_noticed: SlowLoadsDropped,
    taking_out_the_drop_of_copies_is_noticed: CopiesOutdated,
    taking_out_head_first_is_noticed: HeadFirst,
    taking_out_the_rev_of_grants_is_noticed: FamilyKeepsRev,
    taking_out_effective_positions_is_noticed: EffectiveKept,
    taking_out_acknowledged_effective_positions_is_noticed: EffectiveAcknowledged,
    taking_out_the_asking_of_bounds_is_noticed: BoundFromAsking,
}
