#![expect(clippy::unwrap_used, reason = "a simulation that cannot go on must stop")]
//! A seeded simulation of the revocation log: the production follower, state and cache, over a store that fails.

mod chance;
mod cluster;
mod data;
mod faults;
mod oracle;
mod rules;
mod service;
mod sim;
mod store;
mod world;

#[test]
fn first() {
    let from: u64 = std::env::var("JETON_SIM_SEED").map_or(1, |s| s.parse().unwrap());
    let runs: u64 = std::env::var("JETON_SIM_RUNS").map_or(20, |s| s.parse().unwrap());
    let mut all = sim::Counts::new();
    for seed in from..from + runs {
        let report = world::run(seed, None, false);
        for (k, v) in report.seen {
            *all.entry(k).or_default() += v;
        }
        if let Some(v) = report.violation {
            let told = world::run(seed, None, true);
            for l in told.schedule {
                println!("{l}");
            }
            println!("seed {seed}: {v}");
            panic!();
        }
    }
    println!("{all:#?}");
}
