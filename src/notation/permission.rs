//! What roles allow: `object.action`, such as `invoice.approve`.
//!
//! An object may have parts of its own (`invoice.line.read`), any part may be `*`, and `:own` at the end confines it to what
//! is the member's own. jeton tells resource servers what a member may do; they decide what it means.

/// Whether a text is a permission.
pub fn is_permission(text: &str) -> bool {
    let parts = text.strip_suffix(":own").unwrap_or(text);
    let is_part = |part: &str| {
        part == "*" || !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    text.len() <= MAX_LEN && parts.contains('.') && parts.split('.').all(is_part)
}

/// The most bytes of a permission.
pub const MAX_LEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_objects_with_an_action() {
        for good in ["invoice.read", "invoice.*", "*.read", "*.*", "paymentMethod.all:own", "a.b.c-d_e"] {
            assert!(is_permission(good), "{good}");
        }
        let long = format!("{}.read", "x".repeat(MAX_LEN));
        for bad in [
            "",
            "invoice",
            "*",
            ".read",
            "invoice.",
            "a..b",
            "a.b:all",
            "a.b:own:own",
            "a.in*",
            "é.read",
            "a b.c",
            &long,
        ] {
            assert!(!is_permission(bad), "{bad}");
        }
    }
}
