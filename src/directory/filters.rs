//! What the filters of lists have in common.

use super::record::State;

/// A state as filters call it.
pub(super) const fn name_of(state: State) -> &'static str {
    match state {
        State::Enabled => "ENABLED",
        State::Disabled => "DISABLED",
        State::Deleted => "DELETED",
    }
}

pub(super) fn state_name(value: &str) -> Option<String> {
    [State::Enabled, State::Disabled, State::Deleted]
        .into_iter()
        .map(name_of)
        .find(|name| *name == value)
        .map(str::to_owned)
}

#[expect(clippy::unnecessary_wraps, reason = "a filter field's value function may refuse; this one takes any text")]
pub(super) fn any(value: &str) -> Option<String> {
    Some(value.to_owned())
}
