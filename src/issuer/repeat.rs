//! Repeats: the answer to a request id that was used before.

use jeton_contract::reason::Reason;
use jeton_core::{AccessToken, Family, Format, Time};

use super::{
    Issuer,
    issue::{Decided, Issued},
    records::{FAMILY_RETENTION, decode_family, decode_token, family_mint},
    terms,
    verified::Verified,
};
use crate::{
    directory::commit::Repeat,
    error::{Error, Result},
    store::{FamilyConflict, FamilyMint, Mint},
};

// === impl Issuer ===

impl Issuer {
    /// The reply to a request id that was used before: the same token, if it still lives.
    pub(super) async fn repeated(
        &self,
        record: &[u8],
        repeat: Repeat,
        mut decided: Decided,
        family: Option<FamilyConflict>,
    ) -> Result<Issued> {
        let stored = decode_token(record, &decided.token.id)?;
        repeat.check(stored.request.map(|digest| digest.0).unwrap_or_default())?;
        let now = self.now();
        terms::require_within(&stored, &decided.token, &decided.issuer)?;
        match (family, &stored.family) {
            (Some(FamilyConflict::Other(record)), _) => {
                let family = decode_family(&record)?;
                if decided.family.as_ref().is_none_or(|now| family.lives_longer_than(now)) {
                    let message =
                        "the refresh token of this request id lives longer than what the caller may obtain now";
                    return Err(Error::new(Reason::TtlOutOfRange, message));
                }
                decided.family = Some(family);
            }
            // The first try was cut short: its family is there only now. Or its record was forgotten, and must not come back.
            (Some(FamilyConflict::Gone) | None, Some(_)) if stored.issued.plus(FAMILY_RETENTION) <= now => {
                self.forget_family(decided.family, now).await?;
                return Err(died());
            }
            (Some(FamilyConflict::Gone) | None, _) => {}
        }
        // Options and claims of a JWT are not stored; the body that asks again is the same.
        decided.token =
            AccessToken { options: decided.token.options.take(), claims: decided.token.claims.take(), ..stored };
        let verified = Verified::new(decided.token.clone(), &decided.issuer);
        if !self.is_active(&verified).await? {
            return Err(died());
        }
        if decided.token.format == Format::Jwt {
            decided.key = self.key_of(&decided.token).await?;
        }
        let text = self.text(&decided).await?;
        self.answer(decided, text)
    }

    /// Takes back a family that came into being in place of one that is long over.
    async fn forget_family(&self, family: Option<Family>, now: Time) -> Result<()> {
        let Some(family) = family else { return Ok(()) };
        let over = family_mint(&Family { closed: true, ..family }, 1, Some(0));
        let mint = Mint { now, token: None, family: Some(FamilyMint { expires: now, ..over }), session: None };
        self.core.store.mint(&mint).await?;
        Ok(())
    }
}

fn died() -> Error {
    Error::new(Reason::TokenDied, "the token that this request id issued has died meanwhile")
}
