//! The network policy.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks whose addresses may connect; all other addresses are denied. Without a network, all are.
///
/// ```
/// use edgesentry_serve::policy::NetworkPolicy;
/// let policy = NetworkPolicy::new(["10.1.0.0/16".parse()?]);
/// assert!(policy.allows("10.1.2.3".parse()?));
/// assert!(policy.allows("::ffff:10.1.2.3".parse()?)); // the same host, as a dual-stack socket sees it
/// assert!(!policy.allows("10.2.0.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct NetworkPolicy {
    allowed: Vec<IpNet>,
}

impl NetworkPolicy {
    /// Creates a policy that allows these networks. A network of IPv4-mapped addresses means the IPv4 network.
    pub fn new(allowed: impl IntoIterator<Item = IpNet>) -> NetworkPolicy {
        NetworkPolicy { allowed: allowed.into_iter().map(canonical).collect() }
    }

    /// Returns true if this address may connect.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address))
    }
}

fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) if network.prefix_len() >= 96 => network.addr().to_ipv4_mapped(),
        _ => None,
    };
    let mapped = mapped.and_then(|address| ipnet::Ipv4Net::new(address, network.prefix_len() - 96).ok());
    mapped.map_or(network, IpNet::from)
}

/// Returns the part of an address that belongs to one caller: an IPv4 address, or the /64 of an IPv6 one.
pub(super) fn caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(prefix.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn allows(networks: &[&str], address: &str) -> bool {
        NetworkPolicy::new(networks.iter().map(|network| network.parse().unwrap()))
            .allows(address.parse().unwrap())
    }

    #[test]
    fn nothing_is_allowed_that_is_not_named() {
        assert!(!allows(&[], "127.0.0.1"));
        assert!(!allows(&["127.0.0.0/8"], "::1"));
        assert!(!allows(&["10.0.0.0/8"], "11.0.0.0"));
        assert!(allows(&["10.0.0.0/8", "::1/128"], "::1"));
        assert!(allows(&["0.0.0.0/0"], "203.0.113.9"));
        assert!(!allows(&["0.0.0.0/0"], "2001:db8::1"));
    }

    #[test]
    fn a_mapped_address_is_the_address_that_it_maps() {
        assert!(allows(&["10.0.0.0/8"], "::ffff:10.9.8.7"));
        assert!(!allows(&["10.0.0.0/8"], "::ffff:11.0.0.1"));
        assert!(allows(&["::ffff:10.0.0.0/104"], "10.9.8.7"));
        // All of IPv6 does not include IPv4.
        assert!(!allows(&["::/0"], "::ffff:10.0.0.1"));
    }

    #[test]
    fn a_caller_has_one_address_or_64_bits_of_one() {
        let caller = |address: &str| caller(address.parse().unwrap()).to_string();
        assert_eq!(caller("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(caller("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
