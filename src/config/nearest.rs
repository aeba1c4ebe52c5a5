//! Names that were probably meant, for messages about unknown ones.

/// The message about a name that no setting has.
pub(super) fn unknown(what: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("is no known {what}; did you mean `{name}`?"),
        None => format!("is no known {what}"),
    }
}

/// The known name that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        // A name that differs in more than half of its letters was not meant.
        .filter(|(distance, candidate)| *distance <= candidate.len() / 2)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be changed, added or taken away (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = changed.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_or_none() {
        let known = ["listen", "data_dir", "drain.timeout"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("drain.timout", known), Some("drain.timeout"));
        assert_eq!(nearest("zzzzzzzz", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
