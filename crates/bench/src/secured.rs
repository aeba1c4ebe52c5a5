//! What TLS costs a call on connections that are kept: two services that differ in nothing else, block by block in turns.

use std::path::Path;

use super::{
    Plan, Result,
    flat::{Place, compare},
    process::Extra,
    report::{Fact, Report, Wanted},
};

/// Calls in each block.
const READING: usize = 8000;
const ISSUING: usize = 2000;
/// The most that a call under TLS may cost, as a multiple of one without.
const WANTED: f64 = 1.25;

/// Measures both.
pub(super) async fn run(plan: &Plan, redis: Option<&Path>, report: &mut Report) -> Result<()> {
    if !plan.wants("tls") {
        return Ok(());
    }
    let plain = Place::with(plan, redis, Extra::None).await?;
    let secured = Place::with(plan, redis, Extra::Tls).await?;
    for (names, introspects, calls) in [
        (["introspect, plain", "introspect, TLS", "introspect, TLS / plain"], true, READING),
        (["issue, plain", "issue, TLS", "issue, TLS / plain"], false, ISSUING),
    ] {
        let (less, more) = (plain.own(introspects).await?, secured.own(introspects).await?);
        let ([without, with], _) = compare(plan, [(&plain, &less), (&secured, &more)], calls).await?;
        let [plain_name, tls_name, ratio_name] = names;
        report.add_fact(Fact::new(plain_name, without, "CPU µs", None));
        report.add_fact(Fact::new(tls_name, with, "CPU µs", None));
        report.add_fact(Fact::new(ratio_name, with / without, "×", Some(Wanted::AtMost(WANTED))));
    }
    Ok(())
}
