//! The revocation log: a stream of entries whose ids are their positions, a hash of slots, and what is known about both.

use async_trait::async_trait;
use jeton_core::{
    Position, Time,
    entry::{Entry, LogEntry, Slot},
};
use redis::{Cmd, Value};

use super::{
    Redis,
    answer::{self, unreadable},
    connection::Confirm,
    keys::{LOG_EXPIRY, LOG_MAP, LOG_META, LOG_STREAM},
    scripts,
};
use crate::{
    revocation::log::{LOG_RETENTION, Log, StatePage, TAIL_LIMIT, Tail},
    storage::{Error, Result},
};

/// Slots that one step of the map's scan is asked for.
const PAGE: usize = 1000;

#[async_trait]
impl Log for Redis {
    async fn tail(&self, after: Position) -> Result<Tail> {
        let mut call = scripts::TAIL.on(&[LOG_META, LOG_STREAM]);
        call.arg(after.to_string()).arg(format!("({}-{}", after.line(), after.micros())).arg(TAIL_LIMIT);
        let answer = self.connections.ask("read the revocation log", call, Confirm::Yes).await?;
        if matches!(answer, Value::BulkString(_)) {
            return Ok(Tail { head: position(answer)?, entries: Vec::new(), more: false, gap: false });
        }
        let [head, more, gap, entries] = answer::parts(answer)?;
        Ok(Tail {
            head: position(head)?,
            more: answer::int(&more)? == 1,
            gap: answer::int(&gap)? == 1,
            entries: answer::list(entries)?.into_iter().map(log_entry).collect::<Result<_>>()?,
        })
    }

    async fn append(&self, entries: &[Entry]) -> Result<Position> {
        let mut call = scripts::APPEND.on(&[LOG_META, LOG_STREAM, LOG_MAP, LOG_EXPIRY]);
        call.arg(u64::try_from(LOG_RETENTION.as_micros()).unwrap_or(u64::MAX)).arg(Time::NEVER.as_millis());
        for entry in entries {
            call.arg(entry.to_text());
        }
        position(self.connections.ask("append to the revocation log", call, Confirm::Yes).await?)
    }

    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage> {
        let mut scan = Cmd::new();
        scan.arg("HSCAN").arg(LOG_MAP).arg(cursor.as_deref().unwrap_or("0")).arg("COUNT").arg(PAGE);
        let [next, fields] =
            answer::parts(self.connections.ask("read the revocation state", scan, Confirm::Yes).await?)?;
        let next = Some(answer::text(next)?).filter(|next| next != "0");
        let mut slots = Vec::new();
        let mut fields = answer::list(fields)?.into_iter();
        while let (Some(ident), Some(slot)) = (fields.next(), fields.next()) {
            let ident =
                answer::text(ident)?.parse().map_err(|_| Error::corrupt("a slot's name in the revocation state"))?;
            let slot = Slot::from_text(&answer::text(slot)?)
                .ok_or_else(|| Error::corrupt(format!("the slot of {ident} in the revocation state")))?;
            slots.push((ident, slot));
        }
        Ok(StatePage { slots, next })
    }
}

fn position(answer: Value) -> Result<Position> {
    answer::text(answer)?.parse().map_err(|_| unreadable())
}

/// `[id, [field, text]]`.
fn log_entry(answer: Value) -> Result<LogEntry> {
    let [id, fields] = answer::parts(answer)?;
    let [_, entry] = answer::parts(fields)?;
    let id = answer::text(id)?;
    let position = id
        .split_once('-')
        .and_then(|(line, micros)| Position::new(line.parse().ok()?, micros.parse().ok()?))
        .ok_or_else(unreadable)?;
    let entry = Entry::from_text(&answer::text(entry)?)
        .ok_or_else(|| Error::corrupt(format!("the entry at {position} of the revocation log")))?;
    Ok(LogEntry { position, entry })
}
