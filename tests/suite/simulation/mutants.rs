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
fn is_noticed(rule: Rule, first: u64) {
    let first = setting("JETON_SIM_SEED").unwrap_or(first);
    let noticed = (first..first + PATIENCE).find_map(|seed| Some((seed, run(seed, Some(rule), false).violation?)));
    match noticed {
        Some((seed, violation)) => println!("{rule:?} taken out: seed {seed} notices: {violation}"),
        None => panic!("{rule:?} was taken out, and nobody noticed in {PATIENCE} runs"),
    }
}

macro_rules! taking_out {
    ($($test:ident: $rule:ident from $first:literal,)*) => {$(
        #[test]
        fn $test() {
            is_noticed(Rule::$rule, $first);
        }
    )*};
}

// `from` only saves time: where the first seed that notices came late, the search begins shortly before it.
taking_out! {
    taking_out_confirmed_heads_is_noticed: HeadsConfirmed from 1,
    taking_out_confirmed_pages_is_noticed: PagesConfirmed from 1,
    taking_out_confirmed_records_is_noticed: RecordsConfirmed from 300,
    taking_out_the_wait_of_appends_is_noticed: AppendsWait from 360,
    taking_out_the_wait_of_mints_is_noticed: MintsWait from 145,
    taking_out_the_wait_for_every_replica_is_noticed: EveryReplicaAwaited from 1,
    taking_out_the_wait_of_repeats_is_noticed: RepeatsWait from 1,
    taking_out_the_line_is_noticed: LineRaised from 1,
    taking_out_gaps_is_noticed: GapsSignalled from 1,
    taking_out_the_merge_of_slots_is_noticed: SlotsMerge from 1,
    taking_out_the_margin_of_slots_is_noticed: SlotsOutlive from 1,
    taking_out_records_first_is_noticed: RecordFirst from 1,
    taking_out_the_repair_of_pending_is_noticed: PendingRepaired from 1,
    taking_out_the_drop_of_slow_loads_is_noticed: SlowLoadsDropped from 165,
    taking_out_the_drop_of_copies_is_noticed: CopiesOutdated from 1,
    taking_out_head_first_is_noticed: HeadFirst from 1,
    taking_out_the_rev_of_grants_is_noticed: FamilyKeepsRev from 1,
    taking_out_effective_positions_is_noticed: EffectiveKept from 1,
    taking_out_acknowledged_effective_positions_is_noticed: EffectiveAcknowledged from 885,
    taking_out_the_start_of_bounds_is_noticed: BoundFromRequest from 1,
}
