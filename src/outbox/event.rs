//! An event, as it is stored and as it is sent.

use std::{collections::BTreeMap, time::Duration};

use jeton_core::{TenantId, Time, base62, secret::Mac};
use serde::Serialize;

use crate::{
    ambient,
    keys::code::OneTimeCode,
    notation::moment,
    store::{Change, Index, Kind, Put},
};

/// Something that is delivered to the platform once it is committed.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct Event {
    #[cbor(n(0), with = "minicbor::bytes")]
    id: [u8; 16],
    #[n(1)]
    pub tenant: TenantId,
    #[n(2)]
    pub what: What,
    #[n(3)]
    created: Time,
    /// When nobody wants to know any more.
    #[n(4)]
    pub until: Time,
    /// What the event says, by the names that receivers know.
    #[n(5)]
    data: BTreeMap<String, String>,
    /// A code that it carries. Made when it is sent.
    #[n(6)]
    code: Option<OneTimeCode>,
    /// How often its delivery was begun.
    #[n(7)]
    pub attempts: u32,
    /// When to try next.
    #[n(8)]
    pub due: Time,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum What {
    #[n(0)]
    OneTimePasswordRequested,
}

/// The body of a webhook.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    what: &'static str,
    timestamp: String,
    data: BTreeMap<&'a str, &'a str>,
}

/// The first pause between two attempts; each one is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

// === impl Event ===

impl Event {
    /// An event that is due at once.
    pub fn new(
        tenant: TenantId,
        what: What,
        now: Time,
        until: Time,
        data: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, ambient::NoEntropy> {
        let data = data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let id = ambient::random()?;
        Ok(Self { id, tenant, what, created: now, until, data, code: None, attempts: 0, due: now })
    }

    /// With a code that is made when the event is sent.
    #[must_use]
    pub fn with_code(self, code: OneTimeCode) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Its id, the same in each attempt (`webhook-id`).
    pub fn id(&self) -> String {
        let mut text = "evt_".to_owned();
        base62::encode_into(&self.id, &mut text);
        text
    }

    /// Adds the event to a change of the directory of `system`: it is delivered if, and only if, the change is made.
    pub fn add_to(&self, change: &mut Change) {
        change.puts.push(self.put(Some(0), self.until));
        change.index.push((index(), self.row()));
    }

    /// Adds what costs as much as an event, is not delivered, and is forgotten at once: whether an event was written shows
    /// in no reply's time.
    pub fn add_unsent_to(&self, change: &mut Change) {
        change.puts.push(self.put(Some(0), change.now));
        change.unindex.push((index(), self.row()));
    }

    /// The event with one attempt more.
    pub(super) fn attempted(self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self }
    }

    /// Writes the event with another time to try it next.
    pub(super) fn postpone(&self, version: u64, to: Time, change: &mut Change) -> Self {
        let moved = Self { due: to, ..self.clone() };
        change.puts.push(moved.put(Some(version), self.until));
        change.unindex.push((index(), self.row()));
        change.index.push((index(), moved.row()));
        moved
    }

    /// Forgets the event.
    pub(super) fn remove(&self, version: u64, change: &mut Change) {
        change.puts.push(self.put(Some(version), change.now));
        change.unindex.push((index(), self.row()));
    }

    /// How long to wait after a failed attempt.
    pub(super) fn pause(&self) -> Duration {
        let doubled = self.attempts.saturating_sub(1).min(16);
        FIRST_PAUSE.saturating_mul(1 << doubled).min(LONGEST_PAUSE)
    }

    /// The JSON that receivers get; `None` if the key that made its code is gone.
    pub(super) fn body(&self, mac: &impl Mac) -> Option<Vec<u8>> {
        let code = match &self.code {
            Some(code) => Some(code.text(mac)?),
            None => None,
        };
        let tenant = self.tenant.to_string();
        let mut data: BTreeMap<_, _> = self.data.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        data.insert("tenant_id", &tenant);
        data.extend(code.as_ref().map(|code| ("code", code.expose())));
        let body = Body { what: self.what.name(), timestamp: moment::format(self.created), data };
        serde_json::to_vec(&body).ok()
    }

    /// Its row in the list of what is to be delivered: in the order of `due`.
    fn row(&self) -> String {
        format!("{:012x}:{}", self.due.as_millis(), self.id())
    }

    fn put(&self, expected: Option<u64>, keep_until: Time) -> Put {
        // Writing to memory cannot fail.
        let body = minicbor::to_vec(self).unwrap_or_default().into();
        Put { kind: Kind::Event, id: self.id(), expected, pending: Vec::new(), body, keep_until }
    }
}

/// The list of what is to be delivered.
pub(super) fn index() -> Index {
    Index { tenant: TenantId::system(), kind: Kind::Event, parent: None }
}

/// When a row of the list is due, and its event's id.
pub(super) fn read_row(row: &str) -> Option<(Time, &str)> {
    let (due, id) = row.split_once(':')?;
    Some((Time::from_millis(u64::from_str_radix(due, 16).ok()?), id))
}

// === impl What ===

impl What {
    /// The event's type as receivers know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneTimePasswordRequested => "one_time_password.requested",
        }
    }
}
