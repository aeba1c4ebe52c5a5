//! Storing what was decided about a token, and answering the caller or a repeated request.

use std::sync::Arc;

use jeton_contract::reason::Reason;
use jeton_core::{Format, Ident, Time, retention};

use super::{
    Issuer, MAX_RACES,
    issue::{Decided, Issued},
    records::{family_mint, session_mint, token_mint},
    request::Request,
    session::Lapsed,
    terms,
};
use crate::{
    directory::commit::REQUEST_MEMORY,
    error::{Error, Result},
    metrics::Event,
    store::{Ended, Existing, Mint, SessionConflict, SessionMint, TokenMint},
};

// === impl Issuer ===

impl Issuer {
    /// Stores what was decided, and answers. A session that has lapsed is revoked first, so that its old tokens stay
    /// dead.
    pub(super) async fn store(
        &self,
        request: &Request,
        lapsed: Lapsed,
        mut decided: Decided,
        mut text: String,
    ) -> Result<Issued> {
        let now = self.now();
        let family_end = decided.family.as_ref().map(|family| family.absolute_expiry);
        if let Some(until) = family_end.max((decided.token.format == Format::Opaque).then(|| decided.token.expires())) {
            self.directory.note_derived(until).await?;
        }
        let existing = if request.repeat.is_some() { Existing::Keep } else { Existing::Replace };
        let first = mint(&decided, existing, lapsed.owner(&decided.token), false, now);
        let minted = self.core.store.mint(&first).await?;
        if minted.session == Some(SessionConflict::Owned) {
            self.withdraw(&decided, now).await?;
            return Err(Error::field("session_id", "must not be the session of another subject"));
        }
        if let (Some(record), Some(repeat)) = (&minted.token, request.repeat) {
            return Box::pin(self.repeated(record, repeat, decided, minted.family)).await;
        }
        if let Some(SessionConflict::Ended(ended)) = minted.session {
            if let Lapsed::Refuse(refusal) = lapsed {
                self.withdraw(&decided, now).await?;
                return Err(refusal());
            }
            text = Box::pin(self.revive(ended, lapsed, &mut decided, now)).await?;
        }
        self.metrics.count(Event::Issued(terms::label(decided.grant)));
        self.answer(decided, text)
    }

    /// Revokes what was minted in a session before it ended, and stores the token once more, with a `rev` behind that.
    /// Returns its new text.
    async fn revive(&self, mut ended: Ended, lapsed: Lapsed, decided: &mut Decided, now: Time) -> Result<String> {
        for _ in 0..MAX_RACES {
            let Some(session) = &decided.token.session else { break };
            let session = Ident::Session(decided.tenant.id.clone(), session.clone());
            decided.token.rev =
                self.core.log.append(&[retention::of_session(session, ended.floor, ended.until)]).await?;
            if let Some(family) = &mut decided.family {
                family.rev = decided.token.rev;
                family.minted.rev = decided.token.rev;
            }
            let text = self.text(decided).await?;
            // The first write left a record, and a family, with the old `rev`.
            let mut again = mint(decided, Existing::Replace, lapsed.owner(&decided.token), true, now);
            if let Some(family) = &mut again.family {
                family.expected = Some(0);
            }
            match self.core.store.mint(&again).await?.session {
                // It was ended once more meanwhile.
                Some(SessionConflict::Ended(more)) => ended = more,
                Some(SessionConflict::Owned) => break,
                None => return Ok(text),
            }
        }
        Err(Error::new(Reason::ConcurrentUpdate, "the session is being revoked"))
    }

    /// Removes the record of a token that was not handed out: its session was refused, and the store keeps the parts of a mint
    /// apart. A family that was written with it expires by itself.
    async fn withdraw(&self, decided: &Decided, now: Time) -> Result<()> {
        let token = TokenMint { expires: now, ..token_mint(&decided.token, now, Existing::Replace) };
        self.core.store.mint(&Mint { now, token: Some(token), family: None, session: None }).await?;
        Ok(())
    }

    pub(super) fn answer(&self, decided: Decided, text: String) -> Result<Issued> {
        let refresh = match &decided.family {
            // A repeat receives the refresh token that the first request received, also after it was used.
            Some(family) => Some((self.refresh_text(family, 0)?, family.expires())),
            None => None,
        };
        let position = decided.token.rev;
        Ok(Issued {
            token: Arc::new(decided.token),
            text,
            refresh,
            tenant: decided.tenant,
            issuer: decided.issuer,
            position,
        })
    }
}

fn mint(decided: &Decided, exists: Existing, owner: Option<[u8; 16]>, revive: bool, now: Time) -> Mint {
    let token = &decided.token;
    let expires = token.expires();
    let remembered = if token.request.is_some() { now.plus(REQUEST_MEMORY) } else { now };
    let family_end = decided.family.as_ref().map(|family| family.ends);
    Mint {
        now,
        token: Some(token_mint(token, expires.max(remembered), exists)),
        family: decided.family.as_ref().map(|family| family_mint(family, 0, None)),
        session: session_mint(token, &decided.tenant, family_end, now).map(|part| SessionMint {
            owner,
            revive,
            ..part
        }),
    }
}
