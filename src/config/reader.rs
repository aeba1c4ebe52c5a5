//! Reads values by the path of their setting, and collects what is wrong with them.

use std::{num::NonZeroUsize, time::Duration};

use super::{
    duration,
    given::{Found, Values},
    mistake::Mistake,
    registry::{SettingType, find},
};

/// Reads values by the path of their key and collects mistakes.
///
/// After a mistake it continues with a placeholder, so that all mistakes are found; a configuration with placeholders is
/// never returned.
pub(super) struct Reader<'a> {
    pub(super) values: &'a Values,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

// === impl Reader ===

impl Reader<'_> {
    /// Whether there is a value, including defaults.
    pub(super) fn has(&self, path: &str) -> bool {
        self.values.contains_key(path)
    }

    /// Reports that `path` is not set although `who` requires it.
    pub(super) fn require(&mut self, path: &str, who: &str) {
        let Some(key) = find(path).filter(|_| !self.has(path)) else { return };
        let variables = match key.file_variable() {
            Some(file) => format!("{} or {file}", key.variable()),
            None => key.variable(),
        };
        self.mistakes.push(Mistake::missing(format!("{who} requires `{path}`; set {variables}")));
    }

    /// Reports that `path` is set, and why it must not be.
    pub(super) fn refuse_given(&mut self, path: &str, why: &str) {
        if let Some(found) = self.values.get(path) {
            self.mistakes.push(Mistake::new(&found.origin, format!("`{path}` {why}")));
        }
    }

    /// The value after `parse`, or `None` if there is none or it is not valid.
    pub(super) fn parse<T>(&mut self, path: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let found = self.values.get(path)?;
        match parse(found.values.first()?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.mistakes.push(Mistake::new(&found.origin, wrong));
                None
            }
        }
    }

    pub(super) fn bool(&mut self, path: &str) -> bool {
        let parse = |text: &str| text.parse().map_err(|_| format!("`{text}` is neither true nor false"));
        self.parse(path, parse).unwrap_or_default()
    }

    pub(super) fn duration(&mut self, path: &str) -> Duration {
        let setting_type = find(path).map(|key| key.setting_type);
        self.parse(path, |text| {
            let value = duration::parse(text).ok_or_else(|| {
                format!("`{text}` is no duration; write a number with a unit, such as 200ms, 10s or 15m")
            })?;
            match setting_type {
                Some(SettingType::Duration { min, max }) if !(min..=max).contains(&value) => Err(format!(
                    "{text} is out of range; it must be {} to {}",
                    duration::format(min),
                    duration::format(max)
                )),
                _ => Ok(value),
            }
        })
        .unwrap_or_default()
    }

    pub(super) fn integer(&mut self, path: &str) -> usize {
        let setting_type = find(path).map(|key| key.setting_type);
        self.parse(path, |text| {
            let value: i128 = text.parse().map_err(|_| format!("`{text}` is no whole number"))?;
            match setting_type {
                Some(SettingType::Integer { min, max }) if value < i128::from(min) || value > i128::from(max) => {
                    Err(format!("{text} is out of range; it must be {min} to {max}"))
                }
                _ => usize::try_from(value).map_err(|_| format!("{text} is out of range")),
            }
        })
        .unwrap_or_default()
    }

    pub(super) fn number(&mut self, path: &str) -> f64 {
        let setting_type = find(path).map(|key| key.setting_type);
        self.parse(path, |text| {
            let value: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
            match setting_type {
                // NaN is within no range.
                Some(SettingType::Number { min, max }) if !(min..=max).contains(&value) => {
                    Err(format!("{text} is out of range; it must be {min} to {max}"))
                }
                _ => Ok(value),
            }
        })
        .unwrap_or_default()
    }

    /// An integer of which zero means: let the service choose.
    pub(super) fn integer_or_auto(&mut self, path: &str) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.integer(path))
    }

    /// The word after `choose`, which knows the words of the registry.
    pub(super) fn choice<T>(&mut self, path: &str, choose: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let setting_type = find(path).map(|key| key.setting_type);
        self.parse(path, |text| {
            choose(text).ok_or_else(|| match setting_type {
                Some(SettingType::Choice(words)) => format!("`{text}` is not one of {}", words.join(", ")),
                _ => format!("`{text}` is unknown"),
            })
        })
    }

    /// The values after `parse`, none of them twice.
    pub(super) fn list<T: PartialEq>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(Found { values, origin }) = self.values.get(path) else { return Vec::new() };
        let mut all = Vec::new();
        for text in values {
            match parse(text) {
                Ok(one) if all.contains(&one) => {
                    self.mistakes.push(Mistake::new(origin, format!("`{}` is listed twice", text.as_str())));
                }
                Ok(one) => all.push(one),
                Err(wrong) => self.mistakes.push(Mistake::new(origin, wrong)),
            }
        }
        all
    }
}
