//! The names in a client's certificate.

use jeton_core::Time;
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use super::{certificates::time, peer::Identities};

/// A client certificate that the handshake has verified.
pub(super) struct PeerCertificate {
    /// `None`: it has no name that a client could register.
    pub(super) identities: Option<Identities>,
    pub(super) not_after: Time,
}

// === impl PeerCertificate ===

impl PeerCertificate {
    /// Parses a certificate that was verified; `None`: it is not X.509.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let not_after = time(parsed.validity().not_after.timestamp());
        Some(Self { identities: identities(&parsed), not_after })
    }
}

/// Only alternative names count (RFC 9525 §2), and of a SPIFFE certificate only those of one that has a single URI among
/// them (X509-SVID §2, §5.2): with several, it is not known which one is meant.
fn identities(parsed: &X509Certificate<'_>) -> Option<Identities> {
    let names = &parsed.subject_alternative_name().ok()??.value.general_names;
    let uris: Vec<&str> =
        names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
    let spiffe: Vec<&str> = uris.iter().copied().filter(|uri| uri.starts_with("spiffe:")).collect();
    if !spiffe.is_empty() && uris.len() > 1 {
        return None;
    }
    let dns = names.iter().filter_map(|name| {
        let GeneralName::DNSName(name) = name else { return None };
        // Names compare without regard to case (RFC 4343); registered ones are in lower case.
        Some(format!("dns:{}", name.to_ascii_lowercase()))
    });
    let identities: Vec<String> = spiffe.into_iter().map(str::to_owned).chain(dns).collect();
    (!identities.is_empty()).then(|| identities.into())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_client_is_what_its_alternative_names_say() {
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
        for (names, expected) in [
            (vec![], vec![]),
            (vec![uri("spiffe://example.org/billing")], vec!["spiffe://example.org/billing"]),
            (vec![dns("Billing.Example.org")], vec!["dns:billing.example.org"]),
            (
                vec![dns("a.example"), uri("spiffe://example.org/a"), dns("b.example")],
                vec!["spiffe://example.org/a", "dns:a.example", "dns:b.example"],
            ),
            (vec![uri("https://a.example")], vec![]),
            (vec![uri("https://a.example"), dns("a.example")], vec!["dns:a.example"]),
            // Which of the two is meant?
            (vec![uri("spiffe://example.org/a"), uri("spiffe://example.org/b"), dns("a.example")], vec![]),
            (vec![uri("spiffe://example.org/a"), uri("https://a.example")], vec![]),
        ] {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.subject_alt_names = names;
            params.distinguished_name.push(rcgen::DnType::CommonName, "dns:not.me");
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let found = PeerCertificate::read(certificate.der()).unwrap().identities;
            assert_eq!(found.map_or(Vec::new(), |found| found.to_vec()), expected);
        }
    }
}
