//! Measures a store: how long its operations take, which fail, and a span for each that a sampled call waits for.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use jeton_core::{
    FamilyId, Ident, Position, TenantId, Time, TokenId,
    entry::{Effect, Entry},
};
use tokio::time::Instant;

use super::{
    Change, Ended, FamilyRecord, Health, Index, IndexEntry, Kind, Mint, Minted, Record, RecordKey, Records, Row,
    Session, SessionKey, Store, SubjectKey, Tokens, Unique, Written,
};
use crate::{
    metrics::{
        Event, Metrics,
        labels::{Operation, Revoked},
    },
    revocation::log::{Log, StatePage, Tail},
    storage::{Error, Result},
    trace,
};

/// `inner`, which is a `system`, with its operations measured.
pub fn observe(inner: Arc<dyn Store>, metrics: Arc<Metrics>, system: &'static str) -> Arc<dyn Store> {
    Arc::new(Observed { inner, metrics, system })
}

/// A store whose operations are measured.
#[derive(Debug)]
struct Observed {
    inner: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// `db.system.name` of its spans.
    system: &'static str,
}

// === impl Observed ===

impl Observed {
    async fn observe<T>(&self, operation: Operation, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        // All that is known of it already: a call that is cut short says it, too.
        let known = [("db.system.name", self.system), ("db.operation.name", operation.name())];
        let span = trace::current().map(|current| current.call(operation.name(), known));
        let started = Instant::now();
        let outcome = call.await;
        self.metrics.stored(operation, started.elapsed());
        let failure = outcome.as_ref().err().map(kind);
        if failure.is_some() {
            self.metrics.count(Event::StoreFailed(operation));
        }
        if let Some(span) = span {
            span.end(failure.map(|kind| ("error.type", kind)), failure.is_some());
        }
        outcome
    }
}

#[async_trait]
impl Log for Observed {
    async fn tail(&self, after: Position) -> Result<Tail> {
        self.observe(Operation::Tail, self.inner.tail(after)).await
    }

    async fn append(&self, entries: &[Entry]) -> Result<Position> {
        let position = self.observe(Operation::Append, self.inner.append(entries)).await?;
        for entry in entries {
            match entry.effect {
                Effect::Revoke { .. } => self.metrics.count(Event::Revoked(revoked(&entry.ident))),
                Effect::Changed => {}
            }
        }
        Ok(position)
    }

    async fn state_page(&self, cursor: Option<String>) -> Result<StatePage> {
        self.observe(Operation::StatePage, self.inner.state_page(cursor)).await
    }
}

#[async_trait]
impl Records for Observed {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>> {
        self.observe(Operation::Read, self.inner.read(keys)).await
    }

    async fn holders(&self, tenant: &TenantId, names: &[Unique]) -> Result<Vec<Option<String>>> {
        self.observe(Operation::Holders, self.inner.holders(tenant, names)).await
    }

    async fn write(&self, change: &Change) -> Result<Written> {
        self.observe(Operation::Write, self.inner.write(change)).await
    }

    async fn remembered(&self, tenant: &TenantId, request: [u8; 16], now: Time) -> Result<Option<([u8; 16], String)>> {
        self.observe(Operation::Remembered, self.inner.remembered(tenant, request, now)).await
    }

    async fn settle(&self, key: &RecordKey, version: u64) -> Result<()> {
        self.observe(Operation::Settle, self.inner.settle(key, version)).await
    }

    async fn list(&self, index: &Index, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.observe(Operation::List, self.inner.list(index, after, limit)).await
    }

    async fn rows(&self, index: &Index, kind: Kind, after: Option<&str>, limit: usize) -> Result<Vec<Row>> {
        self.observe(Operation::Rows, self.inner.rows(index, kind, after, limit)).await
    }
}

#[async_trait]
impl Tokens for Observed {
    async fn mint(&self, mint: &Mint) -> Result<Minted> {
        self.observe(Operation::Mint, self.inner.mint(mint)).await
    }

    async fn token(&self, id: &TokenId) -> Result<Option<Bytes>> {
        self.observe(Operation::Token, self.inner.token(id)).await
    }

    async fn tokens(&self, ids: &[TokenId]) -> Result<Vec<Option<Bytes>>> {
        self.observe(Operation::Tokens, self.inner.tokens(ids)).await
    }

    async fn family(&self, id: &FamilyId) -> Result<Option<FamilyRecord>> {
        self.observe(Operation::Family, self.inner.family(id)).await
    }

    async fn sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Session>>> {
        self.observe(Operation::Sessions, self.inner.sessions(sessions)).await
    }

    async fn end_sessions(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Ended>>> {
        self.observe(Operation::EndSessions, self.inner.end_sessions(sessions)).await
    }

    async fn subject_page(
        &self,
        subject: &SubjectKey,
        after: Option<&IndexEntry>,
        now: Time,
        limit: usize,
    ) -> Result<Vec<IndexEntry>> {
        self.observe(Operation::SubjectPage, self.inner.subject_page(subject, after, now, limit)).await
    }
}

#[async_trait]
impl Health for Observed {
    async fn ping(&self) -> Result<()> {
        self.observe(Operation::Ping, self.inner.ping()).await
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }
}

const fn kind(error: &Error) -> &'static str {
    match error {
        Error::Unavailable { .. } => "unavailable",
        Error::Corrupt { .. } => "corrupt",
        Error::Unsuitable { .. } => "unsuitable",
    }
}

const fn revoked(ident: &Ident) -> Revoked {
    match ident {
        Ident::Token(..) => Revoked::Token,
        Ident::Family(..) => Revoked::Family,
        Ident::Session(..) => Revoked::Session,
        Ident::Client(_) => Revoked::Client,
        Ident::Admission(..) => Revoked::Admission,
        Ident::Account(..) => Revoked::Account,
        Ident::Subtree(..) => Revoked::Subtree,
        Ident::Member(..) => Revoked::Member,
        Ident::Membership(..) => Revoked::Membership,
        Ident::Group(..) => Revoked::Group,
        Ident::Entity(..) => Revoked::Entity,
        Ident::GroupMember(..) => Revoked::GroupMember,
        Ident::Role(..) => Revoked::Role,
        Ident::IdentityProfile(..) => Revoked::IdentityProfile,
        Ident::Tenant(_) => Revoked::Tenant,
        Ident::SigningKey(..) => Revoked::SigningKey,
    }
}
