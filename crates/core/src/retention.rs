//! How long revocations are remembered.
//!
//! A slot of the state map must outlive everything that it names. How long that may live follows from what was issued,
//! never from what settings say today: each mint leaves a mark, and what a mark ends with is what a slot ends with.
//!
//! | slot | outlives | where the mark stands |
//! |---|---|---|
//! | token | its `exp` | in the token |
//! | family | the last `exp` of what carries it, and its own end | in the family and in each of its refresh tokens: it never moves |
//! | session | the last `exp` of what was minted for it | in the session's record, raised by each mint |
//! | signing key | everything: who has stolen a key can forge any `exp` | none |
//! | client, admission, account, subtree, member, membership, group, member of a group, tenant | everything | none |
//!
//! What outlives everything is unbounded by design: there is one slot at most for each record of the directory, whose
//! tombstone stays as well, and one for each key that was revoked. They are counted: [`crate::state::State::permanent`].

use std::time::Duration;

use crate::{
    AccessToken, FamilyId, Ident, Position, TenantId, Time,
    entry::{Effect, Entry},
};

/// Slots outlive what they name by this: clocks differ.
pub const MARGIN: Duration = Duration::from_secs(3600);

/// The end of a token.
pub fn of_token(token: &AccessToken) -> Entry {
    Entry::revoke_until(Ident::Token(token.tenant.clone(), token.id.clone()), token.expires().plus(MARGIN))
}

/// The end of a family whose last access token, and last refresh token, expire at `ends`.
pub fn of_family(tenant: &TenantId, family: &FamilyId, ends: Time) -> Entry {
    Entry::revoke_until(Ident::Family(tenant.clone(), family.clone()), ends.plus(MARGIN))
}

/// The end of what was minted for a session with a `rev` below `floor`, and does not live beyond `until`. It kills what was
/// noted in the session's record, and nothing that was minted since, however long the log takes: so the mark covers all that
/// it kills.
pub fn of_session(session: Ident, floor: Position, until: Time) -> Entry {
    Entry { effective: Some(floor), ..of_open_session(session, until, None) }
}

/// The end of what was minted for a session, whose last token expires at `until`, except for one holder.
pub fn of_open_session(session: Ident, until: Time, except: Option<Ident>) -> Entry {
    Entry { ident: session, effect: Effect::Revoke { except, until: until.plus(MARGIN) }, effective: None }
}

/// The position from which on nothing is killed any more by an entry, if that is known before it is appended: for a
/// token and a family any will do, because nothing is minted under them once they are dead.
pub(crate) fn position_wanted(entry: &Entry) -> Option<Position> {
    let any = matches!(entry.ident, Ident::Token(..) | Ident::Family(..)).then_some(Position::START);
    entry.effective.or(any)
}
