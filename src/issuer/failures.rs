//! How often members fail to sign in through a client: who tries many usernames is not stopped by the limit of each.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

use crate::{
    ambient::Time,
    token::{ClientId, Error, Reason, Result},
};

/// The failures of each client in the current minute, as this replica saw them.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<ClientId, Minute>>);

#[derive(Clone, Copy, Debug)]
struct Minute {
    began: Time,
    failures: u32,
}

/// How many sign-ins through one client may fail in a minute, on each replica.
const MAX_CLIENT_FAILURES: u32 = 600;
/// How many clients are remembered; what is older than a minute goes first.
const MAX_CLIENTS: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

// === impl Failures ===

impl Failures {
    /// Refuses a client through which too many sign-ins failed of late.
    pub(super) fn check(&self, client: &ClientId, now: Time) -> Result<()> {
        let minutes = self.0.lock();
        match minutes.get(client) {
            Some(minute) if minute.failures >= MAX_CLIENT_FAILURES && now.since(minute.began) < MINUTE => {
                let left = minute.began.plus(MINUTE).since(now);
                Err(Error::new(Reason::AttemptLimit, "too many attempts to sign in failed through this client; wait")
                    .with_retry_after(left))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn note(&self, client: &ClientId, now: Time) {
        let mut minutes = self.0.lock();
        if minutes.len() >= MAX_CLIENTS && !minutes.contains_key(client) {
            minutes.retain(|_, minute| now.since(minute.began) < MINUTE);
            if minutes.len() >= MAX_CLIENTS {
                return;
            }
        }
        let minute = minutes.entry(client.clone()).or_insert(Minute { began: now, failures: 0 });
        if now.since(minute.began) >= MINUTE {
            *minute = Minute { began: now, failures: 0 };
        }
        minute.failures = minute.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_for_the_end_of_its_minute_and_others_do_not() {
        let (failures, client, other) =
            (Failures::default(), ClientId::from_bytes([1; 16]), ClientId::from_bytes([2; 16]));
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
        let failures = Failures::default();
        let client = |n: u32| ClientId::from_bytes(u128::from(n).to_be_bytes());
        for n in 0..10_010 {
            failures.note(&client(n), Time::from_secs(0));
        }
        assert_eq!(failures.0.lock().len(), MAX_CLIENTS);
        failures.note(&client(20_000), Time::from_secs(60));
        assert_eq!(failures.0.lock().len(), 1);
    }
}
