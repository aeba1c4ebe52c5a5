//! Members sign in: who it is, then a token for each account in which the member may act, page by page.
//!
//! What proved the member on the first page is not looked at again: it may have been good for one time. The page token
//! says who it is and where the log stood then, and is bound to the caller and to the whole request, so also to what proved
//! the member. It dies with the member's tokens.

use std::{sync::Arc, time::Duration};

use jeton_contract::reason::Reason;
use jeton_core::{
    AccessToken, Authentication, GrantType, Ident, MemberId, Position, Time, authentication::Method, ident::Idents,
    secret::SecretText,
};

use super::{
    Issuer,
    credentials::invalid_credentials,
    grant::require_allowed,
    issue::Issued,
    signin_request::{Mechanism, SignIn, WantedTokens},
    signin_tokens::Common,
};
use crate::{
    directory::{
        caller::require_unconfined,
        page::PageRequest,
        permit::Act,
        record::{Account, Member, State},
        standing::Standing,
    },
    error::{Error, Result},
};

/// One page of a member's tokens.
#[derive(Debug)]
pub struct SignedIn {
    pub member: Arc<Member>,
    /// By the accounts' ids.
    pub tokens: Vec<(Arc<Account>, Issued)>,
    /// Opens the next page; empty: this was the last one.
    pub next: String,
    /// How many memberships the member has, in whatever state.
    pub memberships: u32,
    pub position: Position,
}

/// A sign-in that goes on from page to page.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub member: MemberId,
    pub authentication: Authentication,
    /// When the first page was asked for.
    pub at: Time,
    /// Where the log stood then. What revokes the member above it ends the pages.
    pub rev: Position,
    /// The last membership that was looked at.
    pub after: Option<String>,
}

/// Accounts on a page if nothing is said.
pub const DEFAULT_PAGE: usize = 25;

/// The most accounts on a page: each costs a token.
pub const MAX_PAGE: usize = 100;

/// How long the pages of one sign-in may be opened.
const PAGES_LIVE: Duration = Duration::from_secs(600);

// === impl Issuer ===

impl Issuer {
    /// Proves a member, or goes on where a page ended, and gives it a token for each account of the page.
    pub async fn sign_in(self: &Arc<Self>, act: &Act, request: &SignIn) -> Result<SignedIn> {
        let standing = self.standing_for_sign_in(act).await?;
        let tenant = standing.tenant.id.clone();
        let client = &standing.client.id;
        self.failures.check(client, self.now())?;
        let size = match request.page_size {
            0 => DEFAULT_PAGE,
            size => size.min(MAX_PAGE),
        };
        let parts: [&[u8]; 2] = [b"AuthenticateMember", &request.query];
        let ring = &self.core.ring;
        let page = PageRequest::new(0, &request.page_token, act.caller(), &parts, ring);
        let page = page.inspect_err(|_| self.failures.note(client, self.now()))?;
        let parent = match &request.mechanism {
            Mechanism::Switch { token } => Some(self.switchable(act, &standing, token).await?),
            Mechanism::Password { .. }
            | Mechanism::OneTimePassword { .. }
            | Mechanism::Oidc(_)
            | Mechanism::SelfSignup { .. } => None,
        };
        let opened = match page.cursor.as_deref() {
            Some(cursor) => self.reopen(cursor, &standing)?,
            None => self.open(act, &standing, request, parent.as_deref()).await?,
        };
        let member = self.directory.member(&tenant, &opened.member).await?;
        let member = member.filter(|member| member.state == State::Enabled).ok_or_else(invalid_credentials)?;

        let (accounts, last) = self.directory.accounts_of(&tenant, &member.id, opened.after.as_deref(), size).await?;
        let wanted = self.wanted(&request.wanted, parent.as_deref(), &standing)?;
        let common = Common { act: act.clone(), standing: Arc::clone(&standing), wanted, opened, parent };
        let common = Arc::new(common);
        let tokens = self.mint_all(&common, accounts).await?;
        let next = match last {
            Some(last) => page.next(&Opened { after: Some(last), ..common.opened.clone() }.to_cursor(), ring)?,
            None => String::new(),
        };
        let position = tokens.iter().map(|(_, issued)| issued.position).max().unwrap_or(act.head()).max(act.head());
        let memberships = self.directory.membership_count(&tenant, &member.id).await?;
        tracing::info!(
            target: "audit", event = "member.signin", tenant = %tenant, member = %member.id, client = %client,
            mechanism = request.mechanism.name(), tokens = tokens.len(), "issued tokens to a member that signed in"
        );
        Ok(SignedIn { member, tokens, next, memberships, position })
    }

    /// What the caller may do, if it may let members sign in.
    pub(super) async fn standing_for_sign_in(&self, act: &Act) -> Result<Arc<Standing>> {
        // A member belongs to the tenant, and so does who signs in through the client.
        require_unconfined(act.caller())?;
        let standing = self.standing_in(act).await?;
        require_allowed(&standing, GrantType::AuthenticatedMember)?;
        if standing.tenant.state != State::Enabled {
            return Err(Error::new(Reason::Disabled, "the tenant is disabled"));
        }
        Ok(standing)
    }

    /// Proves the member of a first page.
    async fn open(
        &self,
        act: &Act,
        standing: &Standing,
        request: &SignIn,
        parent: Option<&AccessToken>,
    ) -> Result<Opened> {
        let now = self.now();
        let by_password = Authentication { method: Method::Password, at: now.whole_secs() };
        let (member, authentication) = match &request.mechanism {
            Mechanism::Password { profile, username, password } => {
                let field = "password.identity_profile_id";
                let profile = self.password_profile(&standing.tenant.id, profile, field).await?;
                let place = self.passwords.place()?;
                let client = &standing.client.id;
                let proven = self.prove_password(client, &place, &profile, username, password.clone()).await?;
                (proven.member.id.clone(), by_password)
            }
            Mechanism::OneTimePassword { profile, username, code } => {
                let field = "one_time_password.identity_profile_id";
                let profile = self.password_profile(&standing.tenant.id, profile, field).await?;
                let member = self.prove_code(&standing.client.id, &profile, username, code.expose()).await?;
                (member, Authentication { method: Method::OneTimePassword, ..by_password })
            }
            Mechanism::Oidc(brought) => {
                let proven = self.prove_subject(act.caller(), standing, brought, request.deadline);
                let member = Box::pin(proven).await?;
                (member, Authentication { method: Method::Federated, ..by_password })
            }
            Mechanism::SelfSignup { .. } => (self.sign_up(act, standing, request).await?.id.clone(), by_password),
            Mechanism::Switch { .. } => {
                let member = parent.and_then(|parent| parent.subject.member().cloned().zip(parent.authentication));
                member.ok_or_else(invalid_credentials)?
            }
        };
        Ok(Opened { member, authentication, at: now, rev: act.head(), after: None })
    }

    /// Goes on where a page ended.
    fn reopen(&self, cursor: &str, standing: &Standing) -> Result<Opened> {
        let dead = || {
            Error::new(
                Reason::PageTokenInvalid,
                "the page token has expired, or the member's tokens were revoked since",
            )
            .with_violation("page_token", "must be used within 10 minutes, and before the member is revoked")
        };
        let opened = Opened::from_cursor(cursor).ok_or_else(dead)?;
        if self.is_over(&opened, standing) || self.now() >= opened.at.plus(PAGES_LIVE) {
            return Err(dead());
        }
        Ok(opened)
    }

    /// Whether the member, or what it signed in through, was revoked since its first page.
    pub(super) fn is_over(&self, opened: &Opened, standing: &Standing) -> bool {
        let (tenant, client) = (&standing.tenant.id, &standing.client.id);
        let named = vec![
            Ident::Member(tenant.clone(), opened.member.clone()),
            Ident::Tenant(tenant.clone()),
            Ident::Client(client.clone()),
            Ident::Admission(tenant.clone(), client.clone()),
        ];
        // Nothing is spared: a change of password spares one token, and not who else signed in with the old one.
        self.core.log.revokes(&Idents::new(named, 0), opened.rev)
    }

    /// The token of an earlier sign-in through the same client, if it is active and rests on nothing but that.
    async fn switchable(&self, act: &Act, standing: &Standing, text: &SecretText) -> Result<Arc<AccessToken>> {
        let verified = self.resolve(text.expose()).await?.filter(|verified| {
            let token = &verified.token;
            token.tenant == standing.tenant.id
                && token.client == standing.client.id
                && token.authentication.is_some()
                // What was narrowed or handed on must not become whole again.
                && token.actor.is_none()
                && token.sources.is_empty()
                && token.rev <= act.head()
        });
        match verified {
            Some(verified) if self.is_active(&verified).await? => Ok(Arc::clone(&verified.token)),
            Some(_) | None => {
                self.failures.note(&standing.client.id, self.now());
                Err(invalid_credentials())
            }
        }
    }

    /// Which tokens are wanted; what comes from another token is as that one is, unless something else is wanted.
    fn wanted(&self, wanted: &WantedTokens, parent: Option<&AccessToken>, standing: &Standing) -> Result<WantedTokens> {
        let Some(parent) = parent else { return Ok(wanted.clone()) };
        let issuer = self.directory.issuer(&standing.tenant.id);
        let session = match (&wanted.session, &parent.session) {
            (Some(named), own) if Some(named) != own.as_ref() => {
                return Err(Error::field("session_id", "must be the session of the access token or left out"));
            }
            (_, own) => own.clone(),
        };
        let audience = if wanted.audience.is_empty() {
            parent.audience.absolute(&issuer).collect()
        } else {
            wanted.audience.clone()
        };
        Ok(WantedTokens {
            session,
            audience,
            options: wanted.options.clone().or_else(|| parent.options.clone()),
            claims: wanted.claims.clone().or_else(|| parent.claims.clone()),
            format: wanted.format.or(Some(parent.format)),
            ..wanted.clone()
        })
    }
}

// === impl Opened ===

impl Opened {
    /// What a page token says. It is sealed: nobody reads or makes one.
    fn to_cursor(&self) -> String {
        let Self { member, authentication, at, rev, after } = self;
        let (method, secs, at) = (authentication.method.name(), authentication.at.as_secs(), at.as_millis());
        format!("{member} {method} {secs} {at} {rev} {}", after.as_deref().unwrap_or_default())
    }

    fn from_cursor(cursor: &str) -> Option<Self> {
        let mut parts = cursor.split(' ');
        let member = parts.next()?.parse().ok()?;
        let authentication =
            Authentication { method: Method::of(parts.next()?)?, at: Time::from_secs(parts.next()?.parse().ok()?) };
        let at = Time::from_millis(parts.next()?.parse().ok()?);
        let rev = parts.next()?.parse().ok()?;
        let after = Some(parts.next()?).filter(|after| !after.is_empty()).map(str::to_owned);
        Some(Self { member, authentication, at, rev, after })
    }
}
