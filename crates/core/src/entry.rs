//! Entries of the log, and the slots of the state map that they merge into.

use crate::{Ident, Position, Time};

/// One invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is named.
    pub ident: Ident,
    pub effect: Effect,
    /// The position that tokens' `rev` is compared with, if another than the entry's own place: an entry that is appended
    /// again after a failover keeps its first position, so that tokens issued legitimately since do not die.
    pub effective: Option<Position>,
}

/// An entry at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    pub position: Position,
    pub entry: Entry,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Kills every token with `rev` below that the identifier names.
    Revoke {
        /// The one identifier that is spared: the caller's family, else its token.
        except: Option<Ident>,
        /// When the slot may be forgotten: an hour after everything that it names has expired. NEVER for principals.
        until: Time,
    },
    /// Drops cached copies of the record that the identifier names; enters no map.
    Changed,
}

/// What the state map knows of one identifier. It merges and never overwrites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The highest position that revoked it.
    highest: Position,
    /// What the entry at `highest` spares.
    except: Option<Ident>,
    /// The highest position of an entry that spared something else: what counts for the one that `except` spares.
    highest_other: Option<Position>,
    /// When the slot may be forgotten.
    pub until: Time,
}

// === impl Entry ===

impl Entry {
    pub const fn changed(ident: Ident) -> Self {
        Self { ident, effect: Effect::Changed, effective: None }
    }

    /// A revocation of something that never expires by itself.
    pub const fn revoke(ident: Ident) -> Self {
        Self::revoke_until(ident, Time::NEVER)
    }

    /// A revocation that can be forgotten at `until`.
    pub const fn revoke_until(ident: Ident, until: Time) -> Self {
        Self { ident, effect: Effect::Revoke { except: None, until }, effective: None }
    }

    /// Whether it is a revocation that need not be remembered any more.
    pub fn is_over(&self, now: Time) -> bool {
        matches!(self.effect, Effect::Revoke { until, .. } if until <= now)
    }

    /// The slot that a revoke entry at `position` makes of nothing.
    pub fn slot(&self, position: Position) -> Option<Slot> {
        match &self.effect {
            Effect::Revoke { except, until } => Some(Slot {
                highest: self.effective.unwrap_or(position),
                except: except.clone(),
                highest_other: None,
                until: *until,
            }),
            Effect::Changed => None,
        }
    }

    /// The stored text: `r|c`, effective position or `-`, until, identifier, except or nothing; separated by spaces,
    /// which no identifier contains.
    pub fn to_text(&self) -> String {
        let effective = self.effective.map_or("-".to_owned(), |position| position.to_string());
        match &self.effect {
            Effect::Revoke { except, until } => {
                let except = except.as_ref().map_or(String::new(), |except| format!(" {except}"));
                format!("r {effective} {} {}{except}", until.as_millis(), self.ident)
            }
            Effect::Changed => format!("c {effective} 0 {}", self.ident),
        }
    }

    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let kind = parts.next()?;
        let effective = match parts.next()? {
            "-" => None,
            position => Some(position.parse().ok()?),
        };
        let until = Time::from_millis(parts.next()?.parse().ok()?);
        let ident = parts.next()?.parse().ok()?;
        let except = parts.next().map(|except| except.parse()).transpose().ok()?;
        let effect = match kind {
            "r" => Effect::Revoke { except, until },
            "c" => Effect::Changed,
            _ => return None,
        };
        Some(Self { ident, effect, effective })
    }
}

// === impl Slot ===

impl Slot {
    /// What counts for a holder whose own exceptions are `own` (its family and token identifiers).
    pub fn position_for(&self, own: &[Ident]) -> Option<Position> {
        match &self.except {
            Some(except) if own.contains(except) => self.highest_other,
            _ => Some(self.highest),
        }
    }

    /// What counts for everybody but the holder of `except`.
    pub fn position_except(&self, except: Option<&Ident>) -> Option<Position> {
        if self.except.is_none() || self.except.as_ref() == except { Some(self.highest) } else { self.highest_other }
    }

    /// Takes in what another slot of the same identifier knows. Commutative and idempotent, so order and repeats of
    /// entries do not matter.
    pub fn merge(&mut self, other: &Self) {
        self.until = self.until.max(other.until);
        if self.except == other.except {
            self.highest = self.highest.max(other.highest);
            self.highest_other = self.highest_other.max(other.highest_other);
            return;
        }
        let (upper, lower) = if (other.highest, &other.except) > (self.highest, &self.except) {
            (other, &*self)
        } else {
            (&*self, other)
        };
        // `lower.highest` spares something else than the winner does; `upper.highest_other` does so by definition. What
        // `lower.highest_other` spares is unknown, but it is not above `lower.highest`.
        let highest_other = upper.highest_other.max(Some(lower.highest));
        (self.highest, self.except) = (upper.highest, upper.except.clone());
        self.highest_other = highest_other;
    }

    /// The stored text: highest, other or `-`, until, except or nothing; separated by spaces.
    pub fn to_text(&self) -> String {
        let other = self.highest_other.map_or("-".to_owned(), |position| position.to_string());
        let except = self.except.as_ref().map_or(String::new(), |except| format!(" {except}"));
        format!("{} {other} {}{except}", self.highest, self.until.as_millis())
    }

    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let highest = parts.next()?.parse().ok()?;
        let highest_other = match parts.next()? {
            "-" => None,
            position => Some(position.parse().ok()?),
        };
        let until = Time::from_millis(parts.next()?.parse().ok()?);
        let except = parts.next().map(|except| except.parse()).transpose().ok()?;
        Some(Self { highest, except, highest_other, until })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{FamilyId, TenantId, TokenId};

    fn position(micros: u64) -> Position {
        Position::new(0, micros).unwrap()
    }

    fn family(n: u8) -> Ident {
        Ident::Family(TenantId::system(), FamilyId::from_bytes([n; 16]))
    }

    fn slot(micros: u64, except: Option<u8>) -> Slot {
        let effect = Effect::Revoke { except: except.map(family), until: Time::NEVER };
        Entry { ident: family(0), effect, effective: None }.slot(position(micros)).unwrap()
    }

    proptest! {
        /// The slot's answer is that of the whole list of entries: the highest position that does not spare the asker.
        #[test]
        fn a_slot_answers_as_the_list_of_its_entries(
            entries in proptest::collection::vec((1_u64..50, proptest::option::of(1_u8..4)), 1..8),
            asker in 1_u8..5,
        ) {
            let mut unique = std::collections::BTreeMap::new();
            for (micros, except) in entries {
                unique.insert(micros, except);
            }
            let mut list: Vec<_> = unique.into_iter().collect();
            // Entries arrive in order of position; that they may also arrive again is checked below.
            let mut merged = slot(list[0].0, list[0].1);
            for (micros, except) in &list[1..] {
                merged.merge(&slot(*micros, *except));
            }
            let again = merged.clone();
            for (micros, except) in &list {
                merged.merge(&slot(*micros, *except));
            }
            prop_assert_eq!(&merged, &again);
            list.retain(|(_, except)| *except != Some(asker));
            let expected = list.last().map(|(micros, _)| position(*micros));
            let got = merged.position_for(&[family(asker)]);
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn entries_and_slots_read_back() {
        let ident = Ident::Session("default".parse().unwrap(), "a:b".parse().unwrap());
        let token = Ident::Token(TenantId::system(), TokenId::from_bytes([9; 16]));
        for except in [None, Some(token)] {
            let effect = Effect::Revoke { except, until: Time::from_secs(5) };
            for effective in [None, Some(position(7))] {
                let entry = Entry { ident: ident.clone(), effect: effect.clone(), effective };
                assert_eq!(Entry::from_text(&entry.to_text()), Some(entry.clone()));
                let mut merged = entry.slot(position(8)).unwrap();
                merged.merge(&slot(9, None));
                assert_eq!(Slot::from_text(&merged.to_text()), Some(merged));
            }
        }
        let changed = Entry::changed(ident);
        assert_eq!(Entry::from_text(&changed.to_text()), Some(changed));
    }
}
