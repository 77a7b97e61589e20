//! Checks if a server is on this machine.

use std::net::IpAddr;

use url::Url;

/// Returns true if a URL names this machine by an address or a name that never leaves it.
pub fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

/// Returns true if the host of a URL is this machine, so that requests to it cross no network.
pub fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_name_and_address() {
        for host in ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.9", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in ["audit.example", "10.0.0.1", "localhost.example", "[2001:db8::1]", "0.0.0.0"] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
