//! What all handlers share, said once: who calls, by which rule, in which tenant, and how the verb runs.
//!
//! A handler has four statements. It enters with its request ([`Services::enter`]), converts the message, runs its verb
//! ([`Call::act`]), and converts what came back ([`reply`]). The verb gets an [`Act`]: proven, permitted, in a tenant that
//! exists, at the log's head. A mutation runs to its end; which methods mutate stands in the contract.

use std::sync::Arc;

use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{
    Services, convert,
    edge::{Admitted, open, run_to_end},
    message::{List, Repeatable, RequestMessage},
    policy::{Method, Rule},
};
use crate::{
    directory::{
        Directory,
        caller::About,
        commit::Repeat,
        page::PageRequest,
        permit::{Act, Visit},
    },
    error::Result,
    issuer::{
        Issuer,
        authenticate::{PermitRequest, Proof, Recognized},
        freshness::{FULL, Freshness},
    },
};

/// A call whose message was read and whose verb has not begun.
#[derive(Debug)]
pub(super) struct Call {
    directory: Arc<Directory>,
    issuer: Arc<Issuer>,
    method: &'static Method,
    /// The method's; of IssueToken the grant's.
    rule: &'static Rule,
    proof: Option<Proof>,
    about: About,
    /// When the caller stops to wait.
    pub deadline: Instant,
}

/// The page of a list that a request wants.
#[derive(Debug)]
pub(super) struct Paging {
    size: i32,
    token: String,
    /// The request without the page: what its page tokens are bound to.
    query: Vec<u8>,
}

/// What a handler returns.
pub(super) type Reply<T> = Result<Response<T>, Status>;

pub(super) fn reply<T>(message: T) -> Reply<T> {
    Ok(Response::new(message))
}

// === impl Services ===

impl Services {
    /// A handler's first step: what the edge found out, and the message, held against its declared rules.
    ///
    /// # Errors
    /// INVALID_FIELD, with all violations; AMBIGUOUS_CREDENTIALS.
    pub(super) fn enter<T: RequestMessage>(&self, request: Request<T>) -> Result<(Call, T)> {
        let (admitted, mut message): (Admitted<Recognized>, T) = open(request)?;
        let proof = message.proof(&admitted)?;
        let rule = message.rule(admitted.method)?;
        let about = message.about();
        let Admitted { method, deadline, .. } = admitted;
        let (directory, issuer) = (Arc::clone(&self.directory), Arc::clone(&self.issuer));
        Ok((Call { directory, issuer, method, rule, proof, about, deadline }, message))
    }

    /// The same for a request that may be repeated.
    ///
    /// # Errors
    /// INVALID_FIELD for a request id that is not a UUID; else those of [`Self::enter`].
    pub(super) fn enter_repeatable<T: Repeatable>(&self, request: Request<T>) -> Result<(Call, T, Option<Repeat>)> {
        let (call, mut message) = self.enter(request)?;
        let request_id = message.take_request_id();
        let repeat = convert::repeat(&request_id, call.method.name(), &message)?;
        Ok((call, message, repeat))
    }

    /// The same for a list.
    ///
    /// # Errors
    /// Those of [`Self::enter`].
    pub(super) fn enter_list<T: List>(&self, request: Request<T>) -> Result<(Call, T, Paging)> {
        let (call, mut message) = self.enter(request)?;
        let (size, token) = message.take_page();
        let query = message.encode_to_vec();
        Ok((call, message, Paging { size, token, query }))
    }
}

// === impl Call ===

impl Call {
    /// Runs a verb of the directory for a caller that proves itself and is permitted to.
    ///
    /// # Errors
    /// TOKEN_MISSING, TOKEN_INVALID, INVALID_CLIENT, SCOPE_INSUFFICIENT, NOT_FOUND of the tenant; else those of the verb.
    pub(super) async fn act<T, F>(self, verb: impl FnOnce(Act) -> F + Send + 'static) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.with_issuer_at(FULL, |_, act| verb(act)).await
    }

    /// The same for a verb of the issuer.
    pub(super) async fn with_issuer<T, F>(self, verb: impl FnOnce(Arc<Issuer>, Act) -> F + Send + 'static) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.with_issuer_at(FULL, verb).await
    }

    /// The same at a head of this freshness.
    pub(super) async fn with_issuer_at<T, F>(
        self,
        freshness: Freshness,
        verb: impl FnOnce(Arc<Issuer>, Act) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let Self { issuer, method, rule, proof, about, .. } = self;
        let work = async move {
            let proof = proof.ok_or_else(|| rule.missing())?;
            let act = issuer.permit(&PermitRequest { rule, proof: &proof, about: &about, freshness }).await?;
            verb(issuer, act).await
        };
        if method.reads_only { work.await } else { run_to_end(work).await }
    }

    /// Runs a verb of the directory that gives a page of a list.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID; else those of [`Self::act`].
    pub(super) async fn list<T, F>(
        self,
        paging: Paging,
        verb: impl FnOnce(Act, PageRequest) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.list_with_issuer(paging, |_, act, page| verb(act, page)).await
    }

    /// The same for a verb of the issuer.
    pub(super) async fn list_with_issuer<T, F>(
        self,
        paging: Paging,
        verb: impl FnOnce(Arc<Issuer>, Act, PageRequest) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let method = self.method;
        let listed = self.with_issuer(move |issuer, act| async move {
            let query = [method.name().as_bytes(), &paging.query];
            let page = act.page(paging.size, &paging.token, &query)?;
            verb(issuer, act, page).await
        });
        listed.await
    }

    /// Runs a verb that is open to anyone. Credentials that are shown must be right nevertheless.
    ///
    /// # Errors
    /// TOKEN_INVALID, INVALID_CLIENT; else those of the verb.
    pub(super) async fn visit<T, F>(self, verb: impl FnOnce(Arc<Issuer>, Visit) -> F + Send + 'static) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let Self { directory, issuer, method, rule, proof, about, .. } = self;
        let work = async move {
            let visit = match &proof {
                Some(proof) => {
                    Visit::of(&issuer.permit(&PermitRequest { rule, proof, about: &about, freshness: FULL }).await?)
                }
                None => directory.visit(rule, issuer.reach(FULL).await?)?,
            };
            verb(issuer, visit).await
        };
        if method.reads_only { work.await } else { run_to_end(work).await }
    }
}
