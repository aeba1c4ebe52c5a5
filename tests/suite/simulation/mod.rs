#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a simulation that cannot go on must stop, and tells what it saw"
)]
//! A seeded simulation of the revocation log: the production follower, state and cache over a store that fails.
//!
//! A run is a few service replicas ([`service`]) over shards with primaries and replicas ([`cluster`], [`data`]), reached
//! through the store port ([`store`]). Calls ([`world`]) and faults ([`faults`]) come at random, all from one seed, on
//! paused time. The [`oracle`] judges every introspection by DESIGN §5. Each of the [`rules`] can be taken out, and
//! [`mutants`] shows that the oracle notices.
//!
//! A failure names its seed. To see the schedule again:
//! `JETON_SIM_SEED=<seed> JETON_SIM_RUNS=1 cargo test --test suite simulation::the_guarantees_hold`.
//!
//! Not simulated: sessions that lapse, copies that reach their age, calls with several records, and stores that break their
//! own promises about atomic scripts.

pub mod chance;
mod cluster;
mod data;
mod faults;
mod mutants;
mod oracle;
mod rules;
mod service;
mod sim;
mod store;
mod world;

use sim::Counts;
use world::run;

/// Seeds of one test, unless `JETON_SIM_RUNS` says otherwise.
const RUNS: u64 = 800;

#[test]
fn the_guarantees_hold_whatever_fails() {
    let first = setting("JETON_SIM_SEED").unwrap_or(1);
    let runs = setting("JETON_SIM_RUNS").unwrap_or(RUNS);
    let mut seen = Counts::new();
    for seed in first..first + runs {
        let report = run(seed, None, false);
        for (what, times) in report.seen {
            *seen.entry(what).or_default() += times;
        }
        if report.violation.is_some() {
            panic!("{}", replayed(seed));
        }
    }
    println!("{runs} runs: {seen:#?}");
    // A few runs may well see little.
    if runs >= RUNS {
        check_coverage(&seen, runs);
    }
}

#[test]
fn the_same_seed_makes_the_same_run() {
    for seed in 1..20 {
        let (first, second) = (run(seed, None, true).schedule, run(seed, None, true).schedule);
        let differ = first.iter().zip(&second).find(|(first, second)| first != second);
        assert_eq!((differ, first.len()), (None, second.len()), "seed {seed}");
    }
}

/// A check that never gets an answer passes, too; so a good part of the calls must be answered and every fault must occur.
/// Not most: a read of the head that fails slowly fails for all who wait, and in a simulated second more fails than in a
/// real year.
fn check_coverage(seen: &Counts, runs: u64) {
    let times = |what| seen.get(what).copied().unwrap_or_default();
    for (answered, unavailable) in [
        ("full introspections answered", "full introspections unavailable"),
        ("bounded introspections answered", "bounded introspections unavailable"),
        ("issues answered", "issues unavailable"),
        ("mutations answered", "mutations unavailable"),
    ] {
        assert!(2 * times(answered) > times(unavailable), "too few {answered}: {seen:#?}");
    }
    for what in ["revoked tokens judged, full", "revoked tokens judged, bounded", "untouched tokens judged"] {
        assert!(times(what) > 3 * runs, "too few {what}: {seen:#?}");
    }
    for what in [
        "cached records used",
        "gaps",
        "lines raised",
        "pending entries repaired",
        "primaries crashed",
        "primaries isolated",
        "replicas restarted",
        "stores restored",
    ] {
        assert!(times(what) > runs / 20, "too few {what}: {seen:#?}");
    }
}

/// The schedule of a run that broke a guarantee, and how to see it again.
fn replayed(seed: u64) -> String {
    let report = run(seed, None, true);
    let schedule = report.schedule.join("\n");
    let violation = report.violation.unwrap_or_else(|| "nothing, the second time: the run is not deterministic".into());
    format!(
        "{schedule}\n\nseed {seed} broke a guarantee: {violation}\nrerun: JETON_SIM_SEED={seed} JETON_SIM_RUNS=1 cargo test \
         --test suite simulation::the_guarantees_hold -- --nocapture"
    )
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}
