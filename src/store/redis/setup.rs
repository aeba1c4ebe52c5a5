//! Whether a server is set up so that it can keep the store's promises.

use crate::storage::{Error, Result};

/// The first version with all that the scripts need.
const VERSION: (u32, u32) = (7, 0);

/// Reads the text of INFO, and `appendfsync` if that is known. Refuses what breaks promises; returns what the operator
/// should know.
pub fn check(info: &str, appendfsync: Option<&str>, wait_replicas: u32) -> Result<Vec<String>> {
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim_end)).unwrap_or("")
    };
    let unsuitable = |why: String| Err(Error::Unsuitable { why });

    let version = field("redis_version");
    if !at_least(version, VERSION) {
        return unsuitable(format!("Redis {version} is too old: 7.0 or newer, or Valkey, is needed"));
    }
    // Valkey calls it otherwise.
    let mode = [field("redis_mode"), field("server_mode")].concat();
    if mode != "standalone" {
        return unsuitable(format!("the Redis server runs in {mode} mode: only a standalone server is supported"));
    }
    if field("role") != "master" {
        return unsuitable("the Redis server is a replica: name the primary".into());
    }
    let policy = field("maxmemory_policy");
    if policy != "noeviction" {
        return unsuitable(format!(
            "maxmemory-policy is {policy:?}: under memory pressure Redis would throw away revocations and tokens; \
             set it to noeviction"
        ));
    }

    let mut warnings = Vec::new();
    if field("aof_enabled") != "1" {
        warnings.push(
            "Redis runs without an append-only file: a restart loses tokens and revocations that were \
                       acknowledged; set appendonly yes"
                .to_owned(),
        );
    }
    if let Some(sync) = appendfsync.filter(|sync| *sync != "always")
        && field("aof_enabled") == "1"
        && wait_replicas == 0
    {
        // Measured with `everysec` and a busy disk: while a sync runs, Redis holds writes back, for up to two seconds, and
        // answers them all the same.
        warnings.push(format!(
            "Redis runs with appendfsync {sync}: a crash may lose what was acknowledged in the last seconds; set \
             appendfsync always, or let replicas hold it, too"
        ));
    }
    let replicas: u32 = field("connected_slaves").parse().unwrap_or(0);
    if replicas < wait_replicas {
        warnings.push(format!(
            "{replicas} replicas are connected to Redis and {wait_replicas} are to be waited for: calls are answered \
             UNAVAILABLE until they are"
        ));
    }
    if replicas > wait_replicas {
        warnings.push(format!(
            "{replicas} replicas are connected to Redis and {wait_replicas} are waited for: a failover to another one \
             may lose what was acknowledged"
        ));
    }
    Ok(warnings)
}

fn at_least(version: &str, wanted: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\n\
                        maxmemory_policy:noeviction\r\naof_enabled:1\r\nconnected_slaves:1\r\n";

    #[test]
    fn a_server_that_would_break_a_promise_is_refused() {
        assert!(check(GOOD, Some("always"), 1).unwrap().is_empty());
        for (good, bad) in [
            ("7.0.15", "6.2.14"),
            ("standalone", "cluster"),
            ("role:master", "role:slave"),
            ("noeviction", "volatile-ttl"),
        ] {
            let refused = check(&GOOD.replace(good, bad), None, 1);
            assert!(matches!(refused, Err(Error::Unsuitable { .. })), "{bad}");
        }
        assert!(check("", None, 0).is_err());
    }

    #[test]
    fn what_weakens_a_promise_is_reported() {
        let warnings = |info: &str, wait| check(info, None, wait).unwrap().len();
        assert_eq!(warnings(&GOOD.replace("aof_enabled:1", "aof_enabled:0"), 1), 1);
        assert_eq!(warnings(GOOD, 2), 1);
        assert_eq!(warnings(GOOD, 0), 1);
        let alone = GOOD.replace("connected_slaves:1", "connected_slaves:0");
        let synced = |sync: Option<&str>| check(&alone, sync, 0).unwrap().len();
        assert_eq!([None, Some("always"), Some("everysec"), Some("no")].map(synced), [0, 0, 1, 1]);
    }
}
