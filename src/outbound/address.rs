//! Which addresses are public.

use std::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The text of the refusal of an address that is not.
pub(super) const NOT_PUBLIC: &str = "its address is not public";

/// A name has no address that may be called.
#[derive(Debug)]
pub(super) struct NotPublic;

/// What lies in 2000::/3, the only public space of IPv6, and is not public all the same.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0], 23),     // protocol assignments: Teredo, benchmarking, ORCHID (RFC 2928)
    v6([0x2001, 0xdb8, 0], 32), // documentation (RFC 3849)
    v6([0x2002, 0, 0], 16),     // 6to4, which wraps any IPv4 address (RFC 3056)
    v6([0x3fff, 0, 0], 20),     // documentation (RFC 9637)
];

/// The public space of IPv6: everything else is special or unassigned (RFC 4291 §2.4, IANA's registry). So are loopback,
/// ULA, link-local, multicast, and NAT64 (64:ff9b::/96), which wraps any IPv4 address.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// What is not public in IPv4: IANA's registry of special-purpose addresses (RFC 6890), and one more.
const SPECIAL_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),        // this network; Linux connects 0.0.0.0 to itself
    v4([10, 0, 0, 0], 8),       // private (RFC 1918)
    v4([100, 64, 0, 0], 10),    // carrier-grade NAT (RFC 6598)
    v4([127, 0, 0, 0], 8),      // loopback
    v4([168, 63, 129, 16], 32), // a cloud's metadata in the middle of public space (Azure)
    v4([169, 254, 0, 0], 16),   // link-local, where clouds keep the machine's credentials
    v4([172, 16, 0, 0], 12),    // private
    v4([192, 0, 0, 0], 24),     // protocol assignments
    v4([192, 0, 2, 0], 24),     // documentation (RFC 5737)
    v4([192, 88, 99, 0], 24),   // 6to4 relays, gone (RFC 7526)
    v4([192, 168, 0, 0], 16),   // private
    v4([198, 18, 0, 0], 15),    // benchmarking (RFC 2544)
    v4([198, 51, 100, 0], 24),  // documentation
    v4([203, 0, 113, 0], 24),   // documentation
    v4([224, 0, 0, 0], 4),      // multicast
    v4([240, 0, 0, 0], 4),      // reserved, broadcast
];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(begin: [u16; 3], prefix: u8) -> Ipv6Net {
    let [a, b, c] = begin;
    Ipv6Net::new_assert(std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Whether the address is routed on the public internet. An IPv4 address within IPv6 (::ffff:0:0/96) counts as itself.
pub(super) fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) => GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|range| range.contains(&address)),
    }
}

/// Whether `range` holds the address, in whichever of its two notations.
pub(super) fn contains(range: &IpNet, address: IpAddr) -> bool {
    range.contains(&address) || range.contains(&address.to_canonical())
}

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_PUBLIC)
    }
}

impl std::error::Error for NotPublic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_distinguished_from_all_others() {
        for (public, addresses) in [
            (true, ["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"].as_slice()),
            (true, &["126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"]),
            (true, &["192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"]),
            (true, &["168.63.129.15", "2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "2001:200::"]),
            (true, &["::ffff:1.1.1.1", "2003::1", "3ffe::1"]),
            // This network, private, carrier-grade NAT, loopback.
            (false, &["0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255"]),
            (false, &["100.100.100.200", "127.0.0.1", "127.255.255.255", "172.16.0.0", "172.31.255.255"]),
            (false, &["192.168.0.1", "192.168.255.255"]),
            // Link-local and metadata of clouds.
            (false, &["169.254.0.1", "169.254.169.254", "168.63.129.16", "192.0.0.192"]),
            // Assignments, documentation, benchmarking, multicast, reserved, broadcast.
            (false, &["192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"]),
            (false, &["203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"]),
            // IPv6: unspecified, loopback, IPv4 within, NAT64, discard.
            (false, &["::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"]),
            (false, &["64:ff9b::1.1.1.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1"]),
            // Teredo, benchmarking, ORCHID, documentation, 6to4.
            (false, &["2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1"]),
            // Segment routing, ULA, link-local, site-local, multicast, unassigned.
            (false, &["5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "4000::1", "1fff::1"]),
        ] {
            for address in addresses {
                assert_eq!(is_global(address.parse().unwrap()), public, "{address}");
            }
        }
    }
}
