//! Where calls may go: https, and addresses that are public or that the operator listed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use super::{
    address,
    allow::Allow,
    error::{Error, Result},
};

/// Resolves names to the addresses that may be called. The connection goes to what it returns, so a name that
/// answers differently the next time (DNS rebinding) gains nothing.
pub(super) struct Resolver(pub(super) Arc<[Allow]>);

/// Refuses URLs that may not be called, as far as can be said before their name is resolved.
pub(super) fn check(url: &Url, allow: &[Allow]) -> Result<()> {
    let host = host(url);
    let forbidden = |why| Err(Error::Forbidden { host: host.to_owned(), why });
    if !url.username().is_empty() || url.password().is_some() {
        return forbidden("credentials stand in the URL");
    }
    // The resolver is not asked for a literal address.
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let is_listed = match literal {
        Some(address) => is_listed(allow, address),
        None => names(allow, host),
    };
    match url.scheme() {
        "https" => {}
        // In the clear only where the operator allows it: anyone between could answer with other keys.
        "http" if is_listed => {}
        _ => return forbidden("the URL does not begin with https://"),
    }
    match literal {
        Some(address) if !is_listed && !address::is_global(address) => forbidden(address::NOT_PUBLIC),
        Some(_) | None => Ok(()),
    }
}

/// The host as errors name it; the rest of a URL may hold secrets.
pub(super) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

// === impl Resolver ===

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted = permitted(&allow, name.as_str(), found);
            if permitted.is_empty() { Err(address::NotPublic.into()) } else { Ok(addresses(permitted)) }
        })
    }
}

fn addresses(found: Vec<SocketAddr>) -> Addrs {
    Box::new(found.into_iter())
}

/// Those of the addresses of `name` that may be connected to.
fn permitted(allow: &[Allow], name: &str, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let is_named = names(allow, name);
    found.filter(|at| is_named || address::is_global(at.ip()) || is_listed(allow, at.ip())).collect()
}

fn names(allow: &[Allow], host: &str) -> bool {
    allow.iter().any(|allow| allow.names(host))
}

fn is_listed(allow: &[Allow], address: IpAddr) -> bool {
    allow.iter().any(|allow| allow.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(texts: &[&str]) -> Vec<Allow> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn why(allow: &[Allow], url: &str) -> Option<&'static str> {
        match check(&url.parse().unwrap(), allow) {
            Ok(()) => None,
            Err(Error::Forbidden { why, .. }) => Some(why),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn literal_addresses_are_judged_in_every_notation() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "169.254.169.254",
            "10.0.0.1:8443",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::7f00:1]",
            "[fd00:ec2::254]",
            "0",
        ] {
            assert_eq!(why(&[], &format!("https://{host}/keys")), Some(address::NOT_PUBLIC), "{host}");
        }
        for host in ["1.1.1.1", "[2606:4700:4700::1111]", "example.com", "localhost"] {
            assert_eq!(why(&[], &format!("https://{host}/keys")), None, "{host}");
        }
    }

    #[test]
    fn only_https_is_called_except_where_the_operator_allowed_the_host() {
        for url in ["http://example.com", "http://1.1.1.1", "ftp://example.com", "file:///etc/passwd", "data:,x"] {
            assert_eq!(why(&[], url), Some("the URL does not begin with https://"), "{url}");
        }
        let some = allow(&["127.0.0.0/8", "provider.internal"]);
        for url in ["http://127.0.0.1:1", "http://[::ffff:127.0.0.1]", "http://provider.internal", "https://127.0.0.1"]
        {
            assert_eq!(why(&some, url), None, "{url}");
        }
        for url in ["http://10.0.0.1", "http://other.internal", "http://a.provider.internal", "ftp://127.0.0.1"] {
            assert!(why(&some, url).is_some(), "{url}");
        }
        assert_eq!(why(&some, "https://user:secret@example.com"), Some("credentials stand in the URL"));
    }

    #[test]
    fn of_a_names_addresses_only_those_remain_that_may_be_called() {
        let both = || ["1.1.1.1:0", "127.0.0.1:0", "[::1]:0"].map(|text| text.parse().unwrap()).into_iter();
        let left = |texts: &[&str], name| permitted(&allow(texts), name, both()).len();
        assert_eq!(left(&[], "example.com"), 1);
        assert_eq!(left(&["127.0.0.1"], "example.com"), 2);
        assert_eq!(left(&["example.com"], "example.com"), 3);
        assert_eq!(left(&["example.com"], "other.example.com"), 1);
    }
}
