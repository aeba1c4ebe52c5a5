//! Whom a token is meant for.

/// Audiences. Those that begin with the tenant's issuer are stored without it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Audience(#[n(0)] Vec<String>);

// === impl Audience ===

impl Audience {
    /// What an audience that begins with the issuer begins with in the store.
    const ISSUER: char = '~';

    /// Takes absolute audiences; `issuer` is the tenant's.
    pub fn new(audiences: impl IntoIterator<Item = impl AsRef<str>>, issuer: &str) -> Self {
        let relative = audiences.into_iter().map(|audience| {
            let audience = audience.as_ref();
            match audience.strip_prefix(issuer) {
                // Not "{issuer}~x", which would read back as the literal "~x".
                Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{}{rest}", Self::ISSUER),
                // A literal "~" doubles, so that it reads back as itself.
                _ if audience.starts_with(Self::ISSUER) => format!("{}{audience}", Self::ISSUER),
                _ => audience.to_owned(),
            }
        });
        Self(relative.collect())
    }

    /// The absolute audiences.
    pub fn absolute<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = String> + 'a {
        self.0.iter().map(move |audience| match audience.strip_prefix(Self::ISSUER) {
            Some(literal) if literal.starts_with(Self::ISSUER) => literal.to_owned(),
            Some(rest) => format!("{issuer}{rest}"),
            None => audience.clone(),
        })
    }

    /// Whether jeton itself is meant.
    pub fn is_issuer(&self) -> bool {
        self.0.iter().any(|audience| audience.len() == 1 && audience.starts_with(Self::ISSUER))
    }

    /// Whether any of `wanted` (absolute, or "*") is meant.
    pub fn meets(&self, wanted: &[String], issuer: &str) -> bool {
        wanted.iter().any(|wanted| wanted == "*" || self.absolute(issuer).any(|own| own == *wanted))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_read_back_whatever_they_begin_with() {
        let issuer = "https://id.example/t/default";
        let absolute = [
            issuer.to_owned(),
            format!("{issuer}/api"),
            "~".into(),
            "~~x".into(),
            format!("{issuer}~y"),
            "https://other".into(),
        ];
        let audience = Audience::new(&absolute, issuer);
        assert!(audience.absolute(issuer).eq(absolute.iter().cloned()));
        assert!(audience.is_issuer());
        assert!(!Audience::new(["~"], issuer).is_issuer());
        assert!(audience.meets(&["https://other".into()], issuer));
        assert!(!audience.meets(&["https://third".into()], issuer));
    }
}
