//! Filters of lists: a subset of AIP-160. Comparisons joined by AND and OR, of which OR binds tighter; no parentheses, NOT,
//! or functions.

use jeton_contract::reason::Reason;

use crate::error::{Error, Result};

/// A parsed filter: of each group of comparisons one must hold.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filter(Vec<Vec<Comparison>>);

/// `field op value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    field: String,
    op: Op,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// `:`, the value is contained: an element of a set, or a part of a text in whatever case.
    Has,
}

/// What a field of the listed thing is, for comparing.
#[derive(Debug)]
pub enum Value<'a> {
    /// Text; `=` and `!=` understand "*" as any text. `None`: not set, equal to "".
    Text(Option<&'a str>),
    /// One of a closed set of names, compared exactly.
    Name(&'static str),
    /// A set of texts.
    Set(Vec<&'a str>),
    /// RFC 3339 moments, written so that they compare as text.
    Moment(String),
}

/// A field that a list can be filtered by.
#[derive(Debug)]
pub struct Field {
    /// Its name; one that ends with "." takes a key behind it (`labels.KEY`).
    pub name: &'static str,
    pub ops: &'static [Op],
    /// Rewrites the value once, at parsing, or refuses it.
    pub value: fn(&str) -> Option<String>,
}

/// Comparisons that texts allow.
pub const TEXT_OPS: &[Op] = &[Op::Eq, Op::Ne, Op::Has];
/// Comparisons that ids and names of a closed set allow.
pub const NAME_OPS: &[Op] = &[Op::Eq, Op::Ne];
/// Comparisons that moments allow.
pub const MOMENT_OPS: &[Op] = &[Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge];
/// Comparisons that sets allow.
pub const SET_OPS: &[Op] = &[Op::Has, Op::Eq];

/// The most comparisons of one filter.
const MAX_COMPARISONS: usize = 16;

// === impl Filter ===

impl Filter {
    /// Parses `text`, in which only `fields` may be named.
    pub fn parse(text: &str, fields: &[Field]) -> Result<Self> {
        let mut rest = text.trim_start();
        let mut groups: Vec<Vec<Comparison>> = Vec::new();
        let mut count = 0;
        while !rest.is_empty() {
            let is_or = !groups.is_empty() && {
                let (is_or, after) = joint(rest).ok_or_else(|| refuse(text, rest, "expected AND or OR"))?;
                rest = after;
                is_or
            };
            let (comparison, after) = comparison(text, rest, fields)?;
            match groups.last_mut() {
                Some(group) if is_or => group.push(comparison),
                _ => groups.push(vec![comparison]),
            }
            count += 1;
            if count > MAX_COMPARISONS {
                return Err(refuse(text, rest, &format!("more than {MAX_COMPARISONS} comparisons")));
            }
            rest = after.trim_start();
        }
        Ok(Self(groups))
    }

    /// Whether it holds; `value` gives the value of a field, with the key of a keyed one.
    pub fn matches<'a>(&self, mut value: impl FnMut(&str, &str) -> Value<'a>) -> bool {
        let mut holds = |comparison: &Comparison| {
            let (name, key) = comparison.field.split_once('.').unwrap_or((&comparison.field, ""));
            comparison.holds(value(name, key))
        };
        self.0.iter().all(|group| group.iter().any(&mut holds))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Comparison {
    fn holds(&self, value: Value<'_>) -> bool {
        let ordering = |own: &str| match self.op {
            Op::Eq => own == self.value,
            Op::Ne => own != self.value,
            Op::Lt => own < self.value.as_str(),
            Op::Le => own <= self.value.as_str(),
            Op::Gt => own > self.value.as_str(),
            Op::Ge => own >= self.value.as_str(),
            Op::Has => own.contains(&self.value),
        };
        match value {
            Value::Text(text) if self.op == Op::Has => {
                text.unwrap_or_default().to_lowercase().contains(&self.value.to_lowercase())
            }
            Value::Text(text) => {
                let matches = glob(&self.value, text.unwrap_or_default());
                if self.op == Op::Ne { !matches } else { matches }
            }
            Value::Name(name) => ordering(name),
            Value::Set(set) => set.contains(&self.value.as_str()),
            Value::Moment(moment) => ordering(&moment),
        }
    }
}

/// Whether the next comparison is joined by OR, and what follows the word.
fn joint(rest: &str) -> Option<(bool, &str)> {
    let (is_or, after) = match rest.strip_prefix("OR") {
        Some(after) => (true, after),
        None => (false, rest.strip_prefix("AND")?),
    };
    after.starts_with(char::is_whitespace).then(|| (is_or, after.trim_start()))
}

fn comparison<'t>(text: &str, rest: &'t str, fields: &[Field]) -> Result<(Comparison, &'t str)> {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    let field = fields
        .iter()
        .find(|field| match field.name.strip_suffix('.') {
            Some(map) => name.strip_prefix(map).is_some_and(|key| key.len() > 1 && key.starts_with('.')),
            None => field.name == name,
        })
        .ok_or_else(|| {
            let known: Vec<_> = fields.iter().map(|field| field.name).collect();
            refuse(text, rest, &format!("expected one of the fields {}", known.join(", ")))
        })?;
    let after = after.trim_start();
    let (op, after) =
        [("!=", Op::Ne), ("<=", Op::Le), (">=", Op::Ge), ("=", Op::Eq), ("<", Op::Lt), (">", Op::Gt), (":", Op::Has)]
            .into_iter()
            .find_map(|(sign, op)| Some((op, after.strip_prefix(sign)?)))
            .filter(|(op, _)| field.ops.contains(op))
            .ok_or_else(|| refuse(text, after, "expected a comparison that the field allows"))?;
    let (value, after) = literal(after.trim_start()).ok_or_else(|| refuse(text, after, "expected a value"))?;
    let value =
        (field.value)(&value).ok_or_else(|| refuse(text, after, &format!("{} has no value {value:?}", field.name)))?;
    Ok((Comparison { field: name.to_owned(), op, value }, after))
}

/// A bare word or a quoted string with `\"` and `\\`.
fn literal(rest: &str) -> Option<(String, &str)> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let plain = !word.is_empty() && !word.contains(['"', '(', ')', '=', '<', '>']);
        return plain.then(|| (word.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next().filter(|(_, c)| matches!(c, '"' | '\\'))?.1),
            c => value.push(c),
        }
    }
    None
}

/// Whether `text` matches `pattern`, in which "*" stands for any text. Linear in `text` for each "*".
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

fn refuse(text: &str, rest: &str, expected: &str) -> Error {
    let at = text.len() - rest.len().min(text.len());
    let description = format!("at character {at}: {expected}");
    Error::new(Reason::FilterInvalid, format!("filter: {description}")).with_violation("filter", description)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field { name: "state", ops: NAME_OPS, value: |value| (value == "ACTIVE").then(|| value.to_owned()) },
        Field { name: "name", ops: TEXT_OPS, value: |value| Some(value.to_owned()) },
        Field { name: "scope", ops: SET_OPS, value: |value| Some(value.to_owned()) },
        Field { name: "labels.", ops: TEXT_OPS, value: |value| Some(value.to_owned()) },
    ];

    fn matches(filter: &str) -> bool {
        Filter::parse(filter, FIELDS).unwrap().matches(|name, key| match (name, key) {
            ("state", _) => Value::Name("ACTIVE"),
            ("name", _) => Value::Text(Some("Blue Sky Ltd")),
            ("scope", _) => Value::Set(vec!["a", "b"]),
            (_, "env") => Value::Text(Some("prod")),
            _ => Value::Text(None),
        })
    }

    #[test]
    fn all_comparisons_must_hold() {
        for filter in [
            "",
            "state = ACTIVE",
            "scope:a AND scope : \"b\"",
            r#"name="Blue*" AND name="*Sky*" AND name != "Red*""#,
            "labels.env=prod AND labels.none = \"\"",
            "name : sky AND name:\"BLUE s\"",
            "name = Red OR name = \"Blue*\"",
            // OR binds tighter than AND, unlike in most languages.
            "name = Red OR name = \"Blue*\" AND scope:a OR scope:c",
        ] {
            assert!(matches(filter), "{filter}");
        }
        for filter in [
            "name = Blue",
            "scope:c",
            "state = ACTIVE AND labels.env = test",
            "state != ACTIVE",
            "name:grey",
            "scope:a OR scope:b AND scope:c",
            "scope:c OR scope:d",
        ] {
            assert!(!matches(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for filter in [
            "x = 1",
            "state",
            "state =",
            "state = GONE",
            "state < ACTIVE",
            "name = a OR",
            "name = a ORname = b",
            "state : ACTIVE",
            "name = \"open",
            "labels. = x",
            "name = a name = b",
            "(name = a)",
        ] {
            let error = Filter::parse(filter, FIELDS).unwrap_err();
            assert_eq!(error.reason(), Reason::FilterInvalid, "{filter}");
        }
    }
}
