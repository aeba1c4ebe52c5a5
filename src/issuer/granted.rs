//! What a grant gives at most.

use std::{sync::Arc, time::Duration};

use jeton_core::{AccessToken, Actor, Authentication, GrantType, Scopes, Subject, Time};

use crate::directory::{caller::Caller, standing::Standing};

/// Whom the grant is for, and by which right.
pub(super) struct Granted {
    pub standing: Arc<Standing>,
    pub grant: GrantType,
    pub subject: Subject,
    pub actor: Option<Actor>,
    /// What the caller may hand on at most, and what it hands on if not asked.
    pub allowed: Scopes,
    pub default: Scopes,
    /// The tokens that the new one must not outlive, and to whose session it belongs.
    pub parents: Vec<Arc<AccessToken>>,
    /// How long it may live besides.
    pub life: Life,
    /// How the member that it is for signed in.
    pub authentication: Option<Authentication>,
}

/// What bounds the life of a token besides the tenant's maxima.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// When it ends at the latest.
    pub until: Time,
    /// How long it lasts at most.
    pub longest: Option<Duration>,
}

// === impl Granted ===

impl Granted {
    /// What `caller` may be given of it. A bearer through which somebody acts, or that came from other tokens, is a parent of
    /// all that it mints: else what was handed on for a while could be kept.
    pub fn within(mut self, caller: &Caller) -> Self {
        if let Some(bearer) = caller.token.as_ref().filter(|bearer| bearer.is_derived()) {
            self.allowed = self.allowed.intersection(&caller.scopes);
            self.default = self.default.intersection(&caller.scopes);
            if self.parents.iter().all(|parent| parent.id != bearer.id) {
                self.parents.push(Arc::clone(bearer));
            }
        }
        self.life.until = self.life.until.min(end_of(&self.parents));
        self
    }
}

// === impl Life ===

impl Life {
    pub(super) const UNBOUNDED: Self = Self { until: Time::NEVER, longest: None };
}

/// When the first of some tokens expires.
pub(super) fn end_of(parents: &[Arc<AccessToken>]) -> Time {
    parents.iter().map(|parent| parent.expires()).min().unwrap_or(Time::NEVER)
}
