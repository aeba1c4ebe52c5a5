//! How often something happens through a client in a minute: who tries many usernames is not stopped by the limit of each.

use std::{collections::HashMap, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{ClientId, Time};
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// What is counted for each client in the current minute, as this replica saw it.
#[derive(Debug)]
pub(super) struct PerClient {
    minutes: Mutex<HashMap<ClientId, Minute>>,
    /// The most of it in a minute.
    limit: u32,
    /// The refusal beyond the limit.
    refusal: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    began: Time,
    count: u32,
}

/// How many sign-ins through one client may fail in a minute, on each replica.
const MAX_CLIENT_FAILURES: u32 = 600;
/// How many one-time passwords may be asked for through one client in a minute, on each replica.
const MAX_CLIENT_CODES: u32 = 600;
/// How many clients are remembered; what is older than a minute goes first.
const MAX_CLIENTS: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

// === impl PerClient ===

impl PerClient {
    /// Of sign-ins that fail.
    pub(super) fn failures() -> Self {
        Self::new(MAX_CLIENT_FAILURES, "too many attempts to sign in failed through this client; wait")
    }

    /// Of one-time passwords that are asked for.
    pub(super) fn codes() -> Self {
        Self::new(MAX_CLIENT_CODES, "too many one-time passwords were asked for through this client; wait")
    }

    fn new(limit: u32, refusal: &'static str) -> Self {
        Self { minutes: Mutex::default(), limit, refusal }
    }

    /// Refuses a client that is beyond the limit.
    pub(super) fn check(&self, client: &ClientId, now: Time) -> Result<()> {
        let minutes = self.minutes.lock();
        match minutes.get(client) {
            Some(minute) if minute.count >= self.limit && now.since(minute.began) < MINUTE => {
                let left = minute.began.plus(MINUTE).since(now);
                Err(Error::new(Reason::AttemptLimit, self.refusal).with_retry_after(left))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn note(&self, client: &ClientId, now: Time) {
        let mut minutes = self.minutes.lock();
        if minutes.len() >= MAX_CLIENTS && !minutes.contains_key(client) {
            minutes.retain(|_, minute| now.since(minute.began) < MINUTE);
            if minutes.len() >= MAX_CLIENTS {
                return;
            }
        }
        let minute = minutes.entry(client.clone()).or_insert(Minute { began: now, count: 0 });
        if now.since(minute.began) >= MINUTE {
            *minute = Minute { began: now, count: 0 };
        }
        minute.count = minute.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_for_the_end_of_its_minute_and_others_do_not() {
        let (failures, client, other) =
            (PerClient::failures(), ClientId::from_bytes([1; 16]), ClientId::from_bytes([2; 16]));
        let began = Time::from_secs(1000);
        for _ in 0..MAX_CLIENT_FAILURES {
            failures.check(&client, began).unwrap();
            failures.note(&client, began);
        }
        let refused = failures.check(&client, began.plus(Duration::from_secs(20))).unwrap_err();
        assert_eq!((refused.reason(), refused.retry_after()), (Reason::AttemptLimit, Some(Duration::from_secs(40))));
        failures.check(&other, began).unwrap();
        failures.check(&client, began.plus(MINUTE)).unwrap();
        failures.note(&client, began.plus(MINUTE));
        failures.check(&client, began.plus(MINUTE)).unwrap();
    }

    #[test]
    fn a_flood_of_clients_is_not_remembered_for_ever() {
        let failures = PerClient::failures();
        let client = |n: u32| ClientId::from_bytes(u128::from(n).to_be_bytes());
        for n in 0..10_010 {
            failures.note(&client(n), Time::from_secs(0));
        }
        assert_eq!(failures.minutes.lock().len(), MAX_CLIENTS);
        failures.note(&client(20_000), Time::from_secs(60));
        assert_eq!(failures.minutes.lock().len(), 1);
    }
}
