//! The tokens of one page of a sign-in: one for each account in which the member may act.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{AccessToken, GrantType, Position, Subject};

use super::{
    Issuer,
    credentials::invalid_credentials,
    freshness::FULL,
    granted::{Granted, Life},
    issue::Issued,
    request::{Grant, Request},
    session::Lapsed,
    signin::Opened,
    signin_request::WantedTokens,
};
use crate::{
    directory::{permit::Act, record::Account, standing::Standing},
    error::{Error, Result},
};

/// What all tokens of a page have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub act: Act,
    pub standing: Arc<Standing>,
    pub wanted: WantedTokens,
    pub opened: Opened,
    /// The token that they come from.
    pub parent: Option<Arc<AccessToken>>,
}

// === impl Issuer ===

impl Issuer {
    /// Mints a token for each account, in their order and all at once.
    pub(super) async fn mint_all(
        self: &Arc<Self>,
        page: &Arc<Common>,
        accounts: Vec<Arc<Account>>,
    ) -> Result<Vec<(Arc<Account>, Issued)>> {
        let mint = |account: Arc<Account>, head: Position| {
            let (issuer, page) = (Arc::clone(self), Arc::clone(page));
            async move {
                let issued = issuer.mint_one(&page, head, &account).await?;
                Ok::<_, Error>((account, issued))
            }
        };
        let mut tokens = Vec::with_capacity(accounts.len());
        let mut accounts = accounts.into_iter();
        let mut head = page.act.head();
        // The first one begins the session anew if it has lapsed. Of many at once each would end what the others began.
        if let Some(first) = accounts.next() {
            let (first, issued) = mint(first, head).await?;
            if issued.position > head {
                // The others must stand behind the end of the old session as well, but not behind the member's own end.
                head = self.reach(FULL).await?;
                if self.is_over(&page.opened, &page.standing) {
                    return Err(invalid_credentials());
                }
            }
            tokens.push((first, issued));
        }
        // Tasks of this thread: what is dropped with the set is not gone on with.
        let mut rest = tokio::task::JoinSet::new();
        for (i, account) in accounts.enumerate() {
            let minting = mint(account, head);
            rest.spawn(async move { (i, minting.await) });
        }
        let mut minted = Vec::with_capacity(rest.len());
        while let Some(done) = rest.join_next().await {
            let (i, token) = done.map_err(|source| Error::internal("mint tokens for a member").with_source(source))?;
            minted.push((i, token?));
        }
        minted.sort_unstable_by_key(|(i, _)| *i);
        tokens.extend(minted.into_iter().map(|(_, token)| token));
        Ok(tokens)
    }

    /// Mints a token for one account, with `head` as its `rev`.
    async fn mint_one(&self, page: &Common, head: Position, account: &Account) -> Result<Issued> {
        let Common { act, standing, wanted, opened, parent } = page;
        let mut allowed = standing.allowed_scopes().without_management();
        let mut default = standing.default_scopes().without_management();
        if let Some(parent) = parent {
            allowed = parent.scopes.intersection(&allowed);
            default = allowed.clone();
            // As for renewal: scopes that are not allowed any more are left out; if none is left, the call is refused.
            if allowed.is_empty() && !parent.scopes.is_empty() {
                return Err(Error::new(Reason::ScopeNotAllowed, "none of the token's scopes is allowed any more"));
            }
        }
        let request = Request {
            grant: Grant::Member { member: opened.member.to_string(), account: Some(account.id.to_string()) },
            scopes: wanted.scopes.clone(),
            audience: wanted.audience.clone(),
            lifetime: wanted.lifetime,
            session: wanted.session.clone(),
            options: wanted.options.clone(),
            claims: wanted.claims.clone(),
            format: wanted.format,
            refresh: false,
            repeat: None,
        };
        let granted = Granted {
            grant: GrantType::AuthenticatedMember,
            subject: Subject::Member(account.lineage(), opened.member.clone()),
            actor: None,
            allowed,
            default,
            // What is switched outlives the token that it comes from: that is what switching is for.
            parents: Vec::new(),
            life: parent.as_ref().map_or(Life::UNBOUNDED, |parent| life_of_switched(parent, standing)),
            authentication: Some(opened.authentication),
            standing: Arc::clone(standing),
        };
        let decided = self.decide(&act.at(head), &request, granted).await?;
        let lapsed = if parent.is_some() { Lapsed::Refuse(invalid_credentials) } else { decided.lapsed() };
        let text = self.text(&decided).await?;
        self.store(&request, lapsed, decided, text).await
    }
}

/// A sign-in goes on by switching no longer than a family can be renewed, in steps no longer than its first.
fn life_of_switched(parent: &AccessToken, standing: &Standing) -> Life {
    let signed_in = parent.authentication.map_or(parent.issued, |own| own.at);
    let end = signed_in.plus(standing.tenant.settings.refresh_absolute_ttl());
    Life { until: end.max(parent.expires()), longest: parent.ttl }
}
