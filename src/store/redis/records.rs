//! A tenant's directory: records with versions, unique names, indexes and request ids, all under the tenant's tag, so that
//! one script can change them together.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use jeton_core::{TenantId, Time, entry::Entry};
use redis::Cmd;

use super::{
    Redis,
    answer::{self, Answers, unreadable},
    connection::{Confirm, pipeline},
    expiry, keys, scripts,
};
use crate::{
    storage::{Error, Result},
    store::{Change, Index, Kind, Put, Record, RecordKey, Records, Request, Row, Unique, Written},
};

/// Bytes of the version that a record begins with.
const VERSION: usize = 8;
/// Bytes of the length of what is pending, which follows.
const LENGTH: usize = 4;

#[async_trait]
impl Records for Redis {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        let names = keys.iter().map(|key| keys::record(&key.tenant, key.kind, &key.id));
        let values = self.values("read records", names).await?;
        let records = keys
            .iter()
            .zip(values)
            .map(|(key, value)| value.map(|value| record_of(value, &key.tenant, key.kind, &key.id)).transpose());
        records.collect()
    }

    async fn holders(&self, tenant: &TenantId, names: &[Unique]) -> Result<Vec<Option<String>>> {
        let keys = names.iter().map(|name| keys::unique(tenant, name));
        let holders = self.values("look up unique names", keys).await?.into_iter();
        let text = |id: Bytes| String::from_utf8(id.into()).map_err(|_| unreadable());
        holders.map(|holder| holder.map(text).transpose()).collect()
    }

    async fn write(&self, change: &Change) -> Result<Written> {
        let answer = self.connections.ask("write records", write_call(change)?, Confirm::Yes).await?;
        let [what, which] = answer::parts(answer)?;
        let what = answer::text(what)?;
        if what == "repeated" {
            let seen = answer::bytes(which)?.ok_or_else(unreadable)?;
            let (body, result) = seen.split_first_chunk().ok_or_else(unreadable)?;
            let result = String::from_utf8(result.to_vec()).map_err(|_| unreadable())?;
            return Ok(Written::Repeated { body: *body, result });
        }
        // Lua counts from 1.
        let which = usize::try_from(answer::int(&which)?).map_err(|_| unreadable())?.saturating_sub(1);
        let refused = match what.as_str() {
            "done" => Some(Written::Done),
            "required" => change.require.get(which).map(|(kind, id, _)| Written::Conflict(*kind, id.clone())),
            "conflict" => change.puts.get(which).map(|put| Written::Conflict(put.kind, put.id.clone())),
            "taken" => change.take.get(which).map(|(name, _)| Written::Taken(name.clone())),
            "not_empty" => change.require_empty.get(which).map(|(_, refusal)| Written::NotEmpty(*refusal)),
            _ => None,
        };
        refused.ok_or_else(unreadable)
    }

    async fn remembered(&self, tenant: &TenantId, request: [u8; 16], now: Time) -> Result<Option<([u8; 16], String)>> {
        let key = keys::request(tenant, &request);
        let (mut get, mut expiry) = (Cmd::new(), Cmd::new());
        get.arg("GET").arg(&key);
        expiry.arg("PEXPIRETIME").arg(&key);
        let sent = self.connections.send("look up a request", pipeline([get, expiry]), Confirm::Yes).await?;
        let mut answers = Answers::new(sent);
        let seen = answer::bytes(answers.take()?)?;
        let until = answer::int(&answers.take()?)?;
        // The server's clock may be behind the caller's.
        let forgotten = u64::try_from(until).is_ok_and(|until| until <= now.as_millis());
        let Some(seen) = seen.filter(|_| !forgotten) else { return Ok(None) };
        let (body, result) = seen.split_first_chunk().ok_or_else(unreadable)?;
        Ok(Some((*body, String::from_utf8(result.to_vec()).map_err(|_| unreadable())?)))
    }

    async fn settle(&self, key: &RecordKey, version: u64) -> Result<()> {
        let mut call = scripts::SETTLE.on(&[keys::record(&key.tenant, key.kind, &key.id)]);
        call.arg(&version.to_be_bytes());
        self.connections.ask("settle a record", call, Confirm::Yes).await?;
        Ok(())
    }

    async fn list(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let mut range = Cmd::new();
        range.arg("ZRANGEBYLEX").arg(keys::index(index)).arg(from(after)).arg("+").arg("LIMIT").arg(0).arg(limit);
        let ids = self.connections.ask("list records", range, Confirm::No).await?;
        answer::list(ids)?.into_iter().map(answer::text).collect()
    }

    async fn rows(&self, index: &Index, kind: Kind, after: Option<&str>, limit: usize) -> Result<Vec<Row>> {
        let mut call = scripts::ROWS.on(&[keys::index(index)]);
        call.arg(from(after)).arg(limit).arg(keys::record(&index.tenant, kind, ""));
        let answer = self.connections.ask("list records with their bodies", call, Confirm::Yes).await?;
        let mut values = answer::list(answer)?.into_iter();
        let mut rows = Vec::with_capacity(values.len() / 2);
        while let (Some(id), Some(record)) = (values.next(), values.next()) {
            let id = answer::text(id)?;
            let record = answer::bytes(record)?.map(|value| record_of(value, &index.tenant, kind, &id)).transpose()?;
            rows.push(Row { id, record });
        }
        Ok(rows)
    }
}

impl Redis {
    /// Reads the values of keys, in their order.
    pub(super) async fn values(
        &self,
        attempted: &'static str,
        keys: impl Iterator<Item = String>,
    ) -> Result<Vec<Option<Bytes>>> {
        let commands = pipeline(keys.map(|key| {
            let mut get = Cmd::new();
            get.arg("GET").arg(key);
            get
        }));
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let count = commands.len();
        let mut answers = Answers::new(self.connections.send(attempted, commands, Confirm::Yes).await?);
        (0..count).map(|_| answer::bytes(answers.take()?)).collect()
    }
}

/// The call of the script `write`; its parameters are described there.
fn write_call(change: &Change) -> Result<Cmd> {
    let Change { tenant, now, puts, require, take, free, index, unindex, require_empty, request } = change;
    let mut keys: Vec<String> = puts.iter().map(|put| keys::record(tenant, put.kind, &put.id)).collect();
    keys.extend(take.iter().chain(free).map(|(name, _)| keys::unique(tenant, name)));
    keys.extend(index.iter().chain(unindex).map(|(index, _)| keys::index(index)));
    keys.extend(require_empty.iter().map(|(index, _)| keys::index(index)));
    keys.extend(require.iter().map(|(kind, id, _)| keys::record(tenant, *kind, id)));
    keys.extend(request.iter().map(|request| keys::request(tenant, &request.key)));

    let mut call = scripts::WRITE.on(&keys);
    for count in [puts.len(), take.len(), free.len(), index.len(), unindex.len(), require_empty.len(), require.len()] {
        call.arg(count);
    }
    call.arg(now.as_millis());
    match request {
        Some(Request { body, result, until, .. }) => {
            call.arg([body.as_slice(), result.as_bytes()].concat()).arg(expiry(*until))
        }
        None => call.arg("").arg(""),
    };
    for put in puts {
        let expected = put.expected.map_or(Vec::new(), |version| version.to_be_bytes().to_vec());
        call.arg(expected).arg(expiry(put.keep_until)).arg(unversioned(put)?);
    }
    for (_, id) in take.iter().chain(free) {
        call.arg(id);
    }
    for (_, id) in index.iter().chain(unindex) {
        call.arg(id);
    }
    for (_, _, version) in require {
        call.arg(&version.to_be_bytes());
    }
    Ok(call)
}

/// A record's value after its version.
fn unversioned(put: &Put) -> Result<Vec<u8>> {
    let pending = put.pending.iter().map(Entry::to_text).collect::<Vec<_>>().join("\n");
    let length = u32::try_from(pending.len()).map_err(|_| Error::corrupt("more is pending than fits into a record"))?;
    Ok([length.to_be_bytes().as_slice(), pending.as_bytes(), &put.body].concat())
}

/// Where a range of an index begins.
fn from(after: Option<&str>) -> String {
    after.map_or("-".to_owned(), |after| format!("({after}"))
}

fn record_of(value: Bytes, tenant: &TenantId, kind: Kind, id: &str) -> Result<Record> {
    record_from(value).ok_or_else(|| Error::corrupt(format!("{} {id} of tenant {tenant}", kind.name())))
}

fn record_from(value: Bytes) -> Option<Record> {
    let mut value = BytesMut::from(value);
    let version = u64::from_be_bytes(*value.first_chunk::<VERSION>()?);
    let length = u32::from_be_bytes(*value.get(VERSION..)?.first_chunk::<LENGTH>()?);
    let body = (VERSION + LENGTH).checked_add(usize::try_from(length).ok()?)?;
    if body > value.len() {
        return None;
    }
    let body = value.split_off(body).freeze();
    let pending = std::str::from_utf8(value.get(VERSION + LENGTH..)?).ok()?;
    let pending = pending.split_terminator('\n').map(Entry::from_text).collect::<Option<_>>()?;
    Some(Record { version, pending, body })
}
