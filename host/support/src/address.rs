//! Which addresses are not the public internet.
//!
//! A name that an attacker owns can resolve to any of them, and then a request made from here reaches what only this
//! machine can: its own services, its network, the metadata service that hands out a cloud machine's credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What is special about an address, as a noun for messages; none for an ordinary public address.
pub fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

/// Whether `address` may be dialled: it is public, or in one of `networks`. An IPv6 address that stands for an IPv4 one is in
/// a network when that one is.
pub fn is_allowed(address: IpAddr, networks: &[IpNet]) -> bool {
    let named = |address: IpAddr| networks.iter().any(|network| network.contains(&address));
    special(address).is_none() || named(address) || embedded(address).is_some_and(|inner| named(inner.into()))
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    // RFC 6890 and its updates; IANA's special-purpose address registry.
    let kind = match address.octets() {
        [0, ..] => "an unspecified",
        [10, ..] | [192, 168, ..] => "a private",
        [172, second, ..] if second & 0xf0 == 16 => "a private",
        [100, second, ..] if second & 0xc0 == 64 => "a shared (carrier-grade NAT)",
        [127, ..] => "a loopback",
        [169, 254, 169, 254] | [169, 254, 170, 2] | [169, 254, 170, 23] => "a cloud metadata",
        [169, 254, ..] => "a link-local",
        [192, 0, 0, _] => "a protocol assignment",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "a documentation",
        [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] | [192, 88, 99, _] => "a special-purpose",
        [198, 18 | 19, ..] => "a benchmarking",
        [224..=239, ..] => "a multicast",
        [255, 255, 255, 255] => "a broadcast",
        [240..=255, ..] => "a reserved",
        _ => return None,
    };
    Some(kind)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = embedded(address.into()) {
        // Mapped addresses are IPv4, and behind NAT64 every IPv4 server looks so: as good as the address inside. The others
        // reach nothing today; that they carry another address is reason enough.
        let [a, b, c, d, e, f, ..] = address.segments();
        let transparent = matches!([a, b, c, d, e, f], [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0]);
        return special_v4(inner).or((!transparent).then_some("a translated"));
    }
    let kind = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "an unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback",
        // AWS: inside the unique-local range, and worth its own name.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => "a cloud metadata",
        [first, ..] if first & 0xfe00 == 0xfc00 => "a unique-local",
        [first, ..] if first & 0xffc0 == 0xfe80 => "a link-local",
        [first, ..] if first & 0xffc0 == 0xfec0 => "a site-local",
        [first, ..] if first & 0xff00 == 0xff00 => "a multicast",
        [0x0100, 0, 0, _, ..] => "a discard-only",
        [0x2001, second, ..] if second < 0x0200 => "a protocol assignment",
        [0x2001, 0x0db8, ..] => "a documentation",
        [0x3fff, second, ..] if second < 0x1000 => "a documentation",
        [0x5f00, ..] => "a segment-routing",
        // Global unicast is 2000::/3; nothing outside of it is routed on the internet.
        [first, ..] if first & 0xe000 == 0x2000 => return None,
        _ => "a reserved",
    };
    Some(kind)
}

/// The IPv4 address that an IPv6 address stands for or carries: mapped, compatible, NAT64 (RFC 6052, 8215), 6to4, Teredo.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(join(g, h)),
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0] if g != 0 || h > 1 => Some(join(g, h)),
        // ::ffff:0:a.b.c.d, IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0xffff, 0] => Some(join(g, h)),
        [0x64, 0xff9b, 1, ..] => Some(join(g, h)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        [0x2001, 0, ..] => Some(join(!g, !h)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_ordinary() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "35.186.228.49",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(special(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn special_addresses_are_known_in_every_spelling() {
        let cases = [
            ("0.0.0.0", "an unspecified"),
            ("0.1.2.3", "an unspecified"),
            ("10.0.0.1", "a private"),
            ("172.16.0.1", "a private"),
            ("172.31.255.255", "a private"),
            ("192.168.1.1", "a private"),
            ("100.64.0.1", "a shared (carrier-grade NAT)"),
            ("100.100.100.200", "a shared (carrier-grade NAT)"),
            ("127.0.0.1", "a loopback"),
            ("127.255.255.254", "a loopback"),
            ("169.254.169.254", "a cloud metadata"),
            ("169.254.170.2", "a cloud metadata"),
            ("169.254.0.1", "a link-local"),
            ("192.0.0.192", "a protocol assignment"),
            ("192.0.2.1", "a documentation"),
            ("198.51.100.7", "a documentation"),
            ("203.0.113.7", "a documentation"),
            ("192.88.99.1", "a special-purpose"),
            ("198.18.0.1", "a benchmarking"),
            ("198.19.255.255", "a benchmarking"),
            ("224.0.0.1", "a multicast"),
            ("239.255.255.255", "a multicast"),
            ("240.0.0.1", "a reserved"),
            ("255.255.255.255", "a broadcast"),
            ("::", "an unspecified"),
            ("::1", "a loopback"),
            ("::ffff:127.0.0.1", "a loopback"),
            ("::ffff:169.254.169.254", "a cloud metadata"),
            ("::127.0.0.1", "a loopback"),
            ("::ffff:0:10.0.0.1", "a private"),
            ("64:ff9b::a9fe:a9fe", "a cloud metadata"),
            ("2002:808:808::", "a translated"),
            ("::8.8.8.8", "a translated"),
            ("64:ff9b:1::10.0.0.1", "a private"),
            ("2002:7f00:1::", "a loopback"),
            ("2002:a9fe:a9fe::1", "a cloud metadata"),
            ("2001:0:4136:e378:8000:63bf:5601:5601", "a cloud metadata"),
            ("2001:2::1", "a protocol assignment"),
            ("2001:db8::1", "a documentation"),
            ("3fff::1", "a documentation"),
            ("fc00::1", "a unique-local"),
            ("fd12:3456::1", "a unique-local"),
            ("fd00:ec2::254", "a cloud metadata"),
            ("fe80::1", "a link-local"),
            ("febf::1", "a link-local"),
            ("fec0::1", "a site-local"),
            ("ff02::1", "a multicast"),
            ("100::1", "a discard-only"),
            ("4000::1", "a reserved"),
        ];
        for (address, kind) in cases {
            assert_eq!(special(address.parse().unwrap()), Some(kind), "{address}");
        }
    }

    #[test]
    fn a_named_network_allows_what_lies_in_it() {
        let networks: Vec<IpNet> = vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()];
        let allowed = |address: &str| is_allowed(address.parse().unwrap(), &networks);
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5", "1.1.1.1"] {
            assert!(allowed(address), "{address}");
        }
        for address in ["10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1", "fd00:2::5", "169.254.169.254"] {
            assert!(!allowed(address), "{address}");
        }
    }
}
