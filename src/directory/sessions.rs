//! Until when sessions are alive. Memory may prove a session alive, never lapsed: only the store knows that.

use jeton_core::Time;

use super::Directory;
use crate::{
    error::Result,
    revocation::cache::MAX_AGE,
    store::{Session, SessionKey},
};

// === impl Directory ===

impl Directory {
    /// Until when a session is alive, as far as memory knows; it may be longer.
    pub fn known_alive(&self, session: &SessionKey) -> Option<Time> {
        self.shelves.sessions.get(session)
    }

    /// Until when sessions are alive, from the store.
    pub async fn read_sessions(&self, sessions: &[SessionKey]) -> Result<()> {
        let (ticket, began) = self.core.log.ticket();
        let now = self.now();
        let known = self.core.store.sessions(sessions).await?;
        let state = self.core.log.state();
        for (session, known) in sessions.iter().zip(known) {
            if let Some(known) = known {
                // For no longer than a copy is believed: with a shorter idle time since, a mint may have brought it nearer.
                let alive_until = known.alive_until.min(now.plus(MAX_AGE));
                self.shelves.sessions.fill(&state, ticket, began, session.clone(), alive_until);
            }
        }
        Ok(())
    }

    /// What is known of a session, from the store.
    pub async fn session(&self, session: &SessionKey) -> Result<Option<Session>> {
        Ok(self.core.store.sessions(std::slice::from_ref(session)).await?.pop().flatten())
    }
}
