//! E-mail addresses.

/// Whether a text is an e-mail address: as HTML checks them (WHATWG HTML, "valid e-mail address"), and not longer than
/// SMTP carries (RFC 5321 §4.5.3.1).
pub fn is_email(text: &str) -> bool {
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len()) && local.bytes().all(is_atom) && domain.split('.').all(is_label)
        })
}
