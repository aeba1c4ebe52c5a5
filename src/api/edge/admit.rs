//! Who calls, and what a handler gets to know of its call.

use jeton_contract::validate::{self, Validate};
use tokio::time::Instant;

use super::record::RequestId;
use crate::{
    api::policy::Method,
    error::{Error, Result},
    serve::tls::Identities,
};

/// Finds the bearer of a token.
pub trait Authenticate: Send + Sync + 'static {
    /// What is known of the bearer of a token.
    type Caller: Clone + Send + Sync + 'static;

    /// The bearer of `bearer`, or TOKEN_INVALID.
    fn authenticate(&self, bearer: &str) -> impl Future<Output = Result<Self::Caller>> + Send;

    /// Whether the caller's scopes contain `scope`.
    fn has_scope(caller: &Self::Caller, scope: &str) -> bool;
}

/// What the edge found out about a call before its handler runs: an extension of the request, taken by [`open`].
#[derive(Clone, Debug)]
pub struct Admitted<C> {
    /// The bearer. `None`: there was no bearer token, and the method is public or takes client authentication.
    pub caller: Option<C>,
    /// What the contract says of the method.
    pub method: &'static Method,
    /// When the caller stops to wait. The edge answers for the handler then; this is for what must give up earlier.
    pub deadline: Instant,
    pub request_id: RequestId,
    /// The names of the client certificate that the peer has proved to hold.
    pub identities: Option<Identities>,
}

/// A handler's first step: the caller, and the message, held against its declared rules.
///
/// # Errors
/// INVALID_FIELD, with all violations.
pub fn open<C: Send + Sync + 'static, T: Validate>(mut request: tonic::Request<T>) -> Result<(Admitted<C>, T)> {
    let admitted = request.extensions_mut().remove().ok_or_else(|| Error::internal("the call was not admitted"))?;
    let message = request.into_inner();
    validate::check(&message).map_err(Error::fields)?;
    Ok((admitted, message))
}
