//! A setting: its names in each source, and the type of its values.

use std::time::Duration;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its place in the TOML file, for example `drain.timeout`. Flag and variable derive from it.
    pub path: &'static str,
    pub setting_type: SettingType,
    /// As a variable would have it. `None`: unset.
    pub default: Option<&'static str>,
    /// Whole sentences, for users.
    pub help: &'static str,
}

/// The type of a setting's values.
#[derive(Clone, Copy, Debug)]
pub enum SettingType {
    /// One text; the value's name in help texts.
    Text(&'static str),
    /// Texts, separated by commas outside of the file.
    List(&'static str),
    /// A number with a unit, for example `15m`.
    Duration {
        min: Duration,
        max: Duration,
    },
    Integer {
        min: u64,
        max: u64,
    },
    /// A number that need not be whole.
    Number {
        min: f64,
        max: f64,
    },
    Bool,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A text that must not be shown. It may be in a file of its own, but not on a command line, which every process of the
    /// machine can read.
    Secret,
}

/// The prefix of all variables of the service.
pub const PREFIX: &str = "JETON_";

// === impl Key ===

impl Key {
    pub const fn is_secret(&self) -> bool {
        matches!(self.setting_type, SettingType::Secret)
    }

    /// The flag without its dashes. A secret's flag names a file.
    pub fn flag(&self) -> String {
        let flag = self.path.replace(['.', '_'], "-");
        if self.is_secret() { flag + "-file" } else { flag }
    }

    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// The variable that names the file of a secret.
    pub fn file_variable(&self) -> Option<String> {
        self.is_secret().then(|| self.variable() + "_FILE")
    }

    /// The path that names the file of a secret.
    pub fn file_path(&self) -> Option<String> {
        self.is_secret().then(|| format!("{}_file", self.path))
    }

    /// The name of the flag's value in help texts.
    pub const fn placeholder(&self) -> &'static str {
        match self.setting_type {
            SettingType::Text(name) | SettingType::List(name) => name,
            SettingType::Duration { .. } => "DURATION",
            SettingType::Integer { .. } | SettingType::Number { .. } => "NUMBER",
            SettingType::Bool => "BOOL",
            SettingType::Choice(_) => "WORD",
            SettingType::Secret => "PATH",
        }
    }
}
