//! What must hold: DESIGN §5, judged from outside, by what was called and answered when.
//!
//! What overlaps may come out either way, and "unavailable" is always allowed. So the oracle only judges where an
//! acknowledgement came before the question.

use std::{sync::Arc, time::Duration};

use jeton_core::{
    AccessToken, Ident, Position,
    entry::{Effect, Entry},
    ident::Idents,
};

use super::{
    service::{Consistency, Verdict},
    sim::{Moment, Sim},
};

/// Everything that was issued and revoked.
#[derive(Debug, Default)]
pub struct Oracle {
    issued: Vec<Issued>,
    revocations: Vec<Revocation>,
    /// When a store last lost what it had acknowledged, on purpose.
    restored: Option<Moment>,
}

/// A token that was handed out.
#[derive(Debug)]
struct Issued {
    token: Arc<AccessToken>,
    idents: Idents,
    began: Moment,
    done: Moment,
    /// When its family was granted; `done`, if it has none.
    granted: Moment,
    /// When introspection first called it revoked.
    dead: Option<Moment>,
}

/// A revocation that was tried once.
#[derive(Debug)]
struct Revocation {
    entry: Entry,
    began: Moment,
    acknowledged: Option<Moment>,
    position: Option<Position>,
    /// Not acknowledged: from when on it cannot hit anything new.
    over: Option<Duration>,
    /// A caller got OK; a repair by the way has no caller.
    promised: bool,
    /// Given up at that time, with a record that may or may not have changed.
    unsettled: Option<Moment>,
}

/// Which revocation.
#[derive(Clone, Copy, Debug)]
pub struct Tried(usize);

/// Which token.
#[derive(Clone, Copy, Debug)]
pub struct Which(pub usize);

/// How long after a caller gave up its commands may still reach the store.
const LATE: Duration = Duration::from_secs(2);
/// How long a call takes at most, commands that arrive late included.
const CALL: Duration = Duration::from_secs(8);
/// How old the truth of a bounded answer may be.
const BOUND: Duration = Duration::from_secs(1);

// === impl Oracle ===

impl Oracle {
    // --- what was issued ---

    pub fn issued(&mut self, token: AccessToken, began: Moment, done: Moment, family_of: Option<Which>) -> Which {
        let granted = family_of.map_or(done, |first| self.issued[first.0].granted);
        let idents = token.idents();
        self.issued.push(Issued { token: Arc::new(token), idents, began, done, granted, dead: None });
        Which(self.issued.len() - 1)
    }

    pub fn tokens(&self) -> usize {
        self.issued.len()
    }

    pub fn token(&self, which: Which) -> Arc<AccessToken> {
        Arc::clone(&self.issued[which.0].token)
    }

    /// Tokens that an entry names and that nobody found dead yet.
    pub fn dying(&self, entry: &Entry) -> Vec<Which> {
        let named = |issued: &Issued| issued.dead.is_none() && spares(entry, issued) == Some(false);
        (0..self.issued.len()).filter(|index| named(&self.issued[*index])).map(Which).collect()
    }

    /// Tokens that were found dead.
    pub fn dead(&self) -> Vec<Which> {
        (0..self.issued.len()).filter(|index| self.issued[*index].dead.is_some()).map(Which).collect()
    }

    // --- what was revoked ---

    pub fn begins(&mut self, entry: Entry, began: Moment) -> Tried {
        self.revocations.push(Revocation {
            entry,
            began,
            acknowledged: None,
            position: None,
            over: None,
            promised: true,
            unsettled: None,
        });
        Tried(self.revocations.len() - 1)
    }

    /// Somebody found a revocation that a record owes the log, and appends it. That promises nothing, but may hit what is
    /// issued meanwhile.
    pub fn repair_begins(&mut self, ident: Ident, began: Moment) -> Tried {
        let tried = self.begins(Entry::revoke(ident), began);
        let repair = &mut self.revocations[tried.0];
        repair.promised = false;
        repair.over = Some(began.at + CALL);
        tried
    }

    pub fn acknowledged(&mut self, tried: Tried, at: Moment, position: Option<Position>) {
        let revocation = &mut self.revocations[tried.0];
        revocation.acknowledged = Some(at);
        revocation.position = position;
    }

    /// A caller gave up on an append.
    pub fn given_up(&mut self, tried: Tried, at: Moment) {
        self.revocations[tried.0].over = Some(at.at + LATE);
    }

    /// A caller gave up on disabling: as long as nobody changes the record again, its entry may come at any time.
    pub fn unsettled(&mut self, tried: Tried, at: Moment) {
        self.revocations[tried.0].unsettled = Some(at);
    }

    /// A later change of a client's record was acknowledged: nothing is owed any more.
    pub fn settled(&mut self, ident: &Ident, began: Moment, at: Moment) {
        for revocation in &mut self.revocations {
            if let Some(given_up) = revocation.unsettled.filter(|given_up| *given_up < began)
                && revocation.entry.ident == *ident
            {
                revocation.over = revocation.over.or(Some(at.at.max(given_up.at + LATE)));
            }
        }
    }

    /// Acknowledged revocations and where they stand.
    pub fn acknowledged_entries(&self) -> Vec<(Entry, Position)> {
        let acknowledged = self.revocations.iter().filter(|revocation| revocation.promised);
        acknowledged.filter_map(|revocation| Some((revocation.entry.clone(), revocation.position?))).collect()
    }

    /// The store went back to what it was at `copied`: what it acknowledged since is void, and so is what was judged.
    pub fn restored(&mut self, copied: Moment, now: Moment) {
        self.restored = Some(now);
        for revocation in &mut self.revocations {
            revocation.promised &= revocation.acknowledged.is_some_and(|at| at < copied);
        }
        for issued in &mut self.issued {
            issued.dead = None;
        }
    }

    // --- judgement ---

    /// Judges one introspection that was sent at `began` and answered at `ended`.
    pub fn judge(&mut self, sim: &Sim, which: Which, asked: (Consistency, Moment), ended: Moment, verdict: Verdict) {
        let (consistency, began) = asked;
        // What overlaps a restore is as undefined as the restore.
        if self.restored.is_some_and(|restored| began < restored) {
            return;
        }
        let issued = &self.issued[which.0];
        let revoked = self.must_be_dead(issued, consistency, began);
        let full = consistency == Consistency::Full;
        let untouched = full && verdict != Verdict::Expired && self.must_be_alive(issued, ended);
        if let Some(revocation) = revoked {
            sim.saw(if full { "revoked tokens judged, full" } else { "revoked tokens judged, bounded" });
            if verdict == Verdict::Active {
                sim.violate(|| format!("{which:?} is alive after {revocation:?} ({consistency:?}): {issued:?}"));
            }
        }
        if untouched {
            sim.saw("untouched tokens judged");
            if verdict != Verdict::Active {
                sim.violate(|| format!("{which:?} is {verdict:?}, but nothing revoked it: {issued:?}"));
            }
        }
        if full && verdict == Verdict::Active && issued.dead.is_some_and(|dead| dead < began) {
            sim.violate(|| format!("{which:?} came back to life: {issued:?}"));
        }
        // A token from before a restore may be dead for a reason that was undone in the history that is now lost.
        let lasting = match verdict {
            Verdict::Revoked => true,
            Verdict::Disabled | Verdict::Missing => self.restored.is_none_or(|restored| restored < issued.began),
            Verdict::Active | Verdict::Expired => false,
        };
        if full && lasting {
            let issued = &mut self.issued[which.0];
            issued.dead = issued.dead.or(Some(ended));
        }
    }

    /// The revocation that was acknowledged before the question and began after the token was there.
    fn must_be_dead(&self, issued: &Issued, consistency: Consistency, asked: Moment) -> Option<&Revocation> {
        self.revocations.iter().find(|revocation| {
            let Some(acknowledged) = revocation.acknowledged.filter(|_| revocation.promised) else { return false };
            let known = match consistency {
                Consistency::Full => acknowledged < asked,
                Consistency::Bounded => acknowledged.at + BOUND <= asked.at,
            };
            // Its family was there before: then no renewal that returns later may yield a live token.
            let renewed_later = issued.granted < revocation.began && issued.done > acknowledged;
            known && (issued.done < revocation.began || renewed_later) && revocation.names(issued)
        })
    }

    /// Everything that names the token was over before its issue began, or it spares it.
    fn must_be_alive(&self, issued: &Issued, ended: Moment) -> bool {
        if self.restored.is_some_and(|restored| issued.began < restored) {
            return false;
        }
        let mut naming =
            self.revocations.iter().filter(|revocation| revocation.began < ended && revocation.names(issued));
        naming.all(|revocation| revocation.over_before(issued.began))
    }
}

/// Whether an entry that names the token spares it; `None`: it does not name it.
fn spares(entry: &Entry, issued: &Issued) -> Option<bool> {
    let except = match &entry.effect {
        Effect::Revoke { except, .. } => except.as_ref(),
        Effect::Changed => None,
    };
    let named = issued.idents.iter().any(|ident| *ident == entry.ident);
    named.then(|| except.is_some_and(|except| issued.idents.own().contains(except)))
}

// === impl Revocation ===

impl Revocation {
    /// Whether it names the token and does not spare it.
    fn names(&self, issued: &Issued) -> bool {
        spares(&self.entry, issued) == Some(false)
    }

    fn over_before(&self, moment: Moment) -> bool {
        match self.acknowledged {
            Some(acknowledged) => acknowledged < moment,
            None => self.over.is_some_and(|over| over < moment.at),
        }
    }
}
