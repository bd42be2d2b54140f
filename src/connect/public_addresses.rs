//! The policy that allows public addresses only: pure functions of an address.
//!
//! The tables are IANA's registries of special-purpose addresses, as of 2025. An address that contains one of IPv4 (IPv4-mapped, NAT64,
//! ISATAP) leads to that: the contained address is checked too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8` or a single address. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| format!("{text:?} is not a network such as 10.0.0.0/8"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => {
                let length = prefix.parse().ok().filter(|length| *length <= longest);
                length.ok_or_else(|| format!("{text:?} has no prefix length from 0 to {longest}"))?
            }
        };
        let network = Self { address, prefix };
        let rest = bits(address) & !mask(prefix, longest);
        if rest == 0 { Ok(network) } else { Err(format!("{text:?} has bits of a host behind its prefix")) }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        address.is_ipv4() == self.address.is_ipv4() && bits(address) & mask(self.prefix, longest) == bits(self.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(prefix: u8, longest: u8) -> u128 {
    let all = if longest == 32 { u128::from(u32::MAX) } else { u128::MAX };
    all & !all.checked_shr(prefix.into()).unwrap_or(0)
}

/// Public addresses, and those of some other networks.
#[derive(Clone, Debug, Default)]
pub struct PublicAddresses {
    pub allow: Vec<Network>,
}

impl PublicAddresses {
    /// Returns what an address is that is not allowed: "a private address", for example.
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        let is_allowed = |address| self.allow.iter().any(|network| network.contains(address));
        // An IPv4-mapped address is another form of the same address.
        let canonical = address.to_canonical();
        if is_allowed(address) || is_allowed(canonical) {
            return None;
        }
        match canonical {
            IpAddr::V4(address) => special_v4(address),
            IpAddr::V6(address) => special_v6(address),
        }
    }
}

/// In the form in which Python makes it.
impl fmt::Display for PublicAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allow: Vec<_> = self.allow.iter().map(|network| format!("'{network}'")).collect();
        let allow = if allow.is_empty() { String::new() } else { format!("allow=[{}]", allow.join(", ")) };
        write!(f, "PublicAddressesOnly({allow})")
    }
}

/// Addresses of IPv4 that are not public: the network as bits, the length of its prefix, and what they are.
const SPECIAL_V4: [(u32, u32, &str); 17] = [
    (0x0000_0000, 8, "an unspecified address"),
    (0x0a00_0000, 8, "a private address"),
    (0x6440_0000, 10, "an address of a provider's shared address space"),
    (0x7f00_0000, 8, "a loopback address"),
    // The metadata services of most clouds are at 169.254.169.254.
    (0xa9fe_0000, 16, "a link-local address"),
    // Azure's platform, as each of its virtual machines sees it.
    (0xa83f_8110, 32, "an address of a cloud's platform"),
    (0xac10_0000, 12, "a private address"),
    // Oracle's metadata service is at 192.0.0.192.
    (0xc000_0000, 24, "a reserved address"),
    (0xc000_0200, 24, "a reserved address"),
    (0xc058_6300, 24, "a reserved address"),
    (0xc0a8_0000, 16, "a private address"),
    (0xc612_0000, 15, "a reserved address"),
    (0xc633_6400, 24, "a reserved address"),
    (0xcb00_7100, 24, "a reserved address"),
    (0xe000_0000, 4, "a multicast address"),
    (0xffff_ffff, 32, "the broadcast address"),
    (0xf000_0000, 4, "a reserved address"),
];

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let found = SPECIAL_V4.iter().find(|(network, prefix, _)| (bits ^ network) >> (32 - prefix) == 0);
    found.map(|(_, _, what)| *what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    let embedded = || {
        let [.., a, b, c, d] = address.octets();
        special_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("the loopback address"),
        [0, 0, 0, 0, 0, 0, ..] => Some("an IPv4-compatible address"),
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfec0..=0xfeff, ..] => Some("a site-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0x2001, 0, ..] => Some("a Teredo address"),
        [0x2001, ..=0x01ff | 0x0db8, ..] | [0x3ffe, ..] | [0x3fff, ..=0x0fff, ..] => Some("a reserved address"),
        [0x2002, ..] => Some("a 6to4 address"),
        // NAT64 (RFC 6052): a gateway connects to the IPv4 address. ISATAP (RFC 5214): a tunnel leads to it.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x2000..=0x3fff, _, _, _, 0 | 0x0200, 0x5efe, ..] => embedded(),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str) -> Option<&'static str> {
        PublicAddresses::default().refusal(address.parse().expect("an address"))
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2a00::5efe:808:808",
        ] {
            assert_eq!(refusal(address), None, "{address}");
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for (what, addresses) in [
            ("an unspecified address", ["0.0.0.0", "0.255.255.255"].as_slice()),
            (
                "a private address",
                &["10.0.0.1", "172.16.0.0", "172.31.255.255", "192.168.0.1", "fc00::1", "fd00:ec2::254"],
            ),
            ("an address of a provider's shared address space", &["100.64.0.0", "100.100.100.200", "100.127.255.255"]),
            ("a loopback address", &["127.0.0.1", "127.255.255.255", "::ffff:127.0.0.1", "::ffff:7f00:1"]),
            ("a link-local address", &["169.254.169.254", "::ffff:a9fe:a9fe", "fe80::1", "febf::1"]),
            ("an address of a cloud's platform", &["168.63.129.16"]),
            (
                "a reserved address",
                &["192.0.0.192", "192.0.2.1", "192.88.99.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"],
            ),
            (
                "a reserved address",
                &["240.0.0.1", "2001:2::1", "2001:db8::1", "3fff::1", "3ffe::1", "4000::1", "100::1", "64:ff9b:1::1"],
            ),
            ("a multicast address", &["224.0.0.1", "239.255.255.255", "ff02::1"]),
            ("the broadcast address", &["255.255.255.255"]),
            ("the unspecified address", &["::"]),
            ("the loopback address", &["::1"]),
            ("an IPv4-compatible address", &["::127.0.0.1", "::8.8.8.8"]),
            ("a Teredo address", &["2001:0:4136:e378:8000:63bf:3fff:fdd2"]),
            ("a 6to4 address", &["2002:7f00:1::", "2002:808:808::"]),
            ("a site-local address", &["fec0::1"]),
        ] {
            for address in addresses {
                assert_eq!(refusal(address), Some(what), "{address}");
            }
        }
    }

    #[test]
    fn contained_addresses_are_checked() {
        assert_eq!(refusal("64:ff9b::10.0.0.1"), Some("a private address"));
        assert_eq!(refusal("64:ff9b::a9fe:a9fe"), Some("a link-local address"));
        assert_eq!(refusal("2a00::5efe:7f00:1"), Some("a loopback address"));
        assert_eq!(refusal("2a00::200:5efe:7f00:1"), Some("a loopback address"));
    }

    #[test]
    fn networks_are_allowed() {
        let allow = ["10.1.0.0/16", "127.0.0.1", "fd00::/8"];
        let policy = PublicAddresses { allow: allow.map(|text| Network::parse(text).expect("a network")).into() };
        for (address, is_allowed) in [
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.2", false),
            ("fdff::1", true),
            ("fc00::1", false),
            ("64:ff9b::10.1.0.1", false),
        ] {
            assert_eq!(policy.refusal(address.parse().expect("an address")).is_none(), is_allowed, "{address}");
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        for text in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "10.0.0.1/32", "fe80::/10"] {
            assert_eq!(Network::parse(text).expect("a network").to_string(), text);
        }
        assert!(Network::parse("0.0.0.0/0").expect("a network").contains(Ipv4Addr::BROADCAST.into()));
        assert!(!Network::parse("0.0.0.0/0").expect("a network").contains(Ipv6Addr::LOCALHOST.into()));
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.1/8", "example.com", "10/8", "10.0.0.0/8/8"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }
}
