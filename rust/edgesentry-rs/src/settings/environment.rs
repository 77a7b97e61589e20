//! Environment variables that begin with `EDS_`.
//!
//! Kubernetes sets some for each Service of a namespace. Those of a Service named `eds`, or `eds-…`, look like ours and
//! are ignored: `EDS_SERVICE_HOST`, `EDS_SERVICE_PORT`, `EDS_SERVICE_PORT_HTTP`, `EDS_PORT`, `EDS_PORT_8080_TCP`,
//! `EDS_PORT_8080_TCP_PROTO`, `…_PORT`, `…_ADDR`, see
//! <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>. Names with two underscores
//! in a row are settings and never ignored.

use std::net::IpAddr;

const PREFIX: &str = "EDS_";
/// Variables of commands that are not settings: the token for a service, and the PIN of a token with keys.
const NOT_SETTINGS: [&str; 2] = ["EDS_TOKEN", "EDS_PKCS11_PIN"];

/// Returns the variables that begin with `EDS_` and are not those of a Kubernetes Service, by name. Ignores values that
/// are not UTF-8.
pub fn variables() -> Vec<(String, String)> {
    let all = std::env::vars_os();
    ours(all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))))
}

fn ours(all: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut ours: Vec<(String, String)> =
        all.filter(|(name, _)| name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str())).collect();
    ours.sort();
    let services = services(&ours);
    ours.retain(|(name, value)| !services.iter().any(|service| is_of(service, name, value)));
    ours
}

/// Returns the prefixes of the Services: Kubernetes sets the host of each, and it is an address.
fn services(variables: &[(String, String)]) -> Vec<String> {
    let host = |(name, value): &(String, String)| {
        let service = name.strip_suffix("_SERVICE_HOST")?;
        (value.parse::<IpAddr>().is_ok() && !name.contains("__")).then(|| service.to_owned())
    };
    variables.iter().filter_map(host).collect()
}

fn is_of(service: &str, name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix(service) else { return false };
    let is_url = |value: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_port = |value: &str| value.parse::<u16>().is_ok();
    if rest.contains("__") {
        return false;
    }
    match rest {
        "_SERVICE_HOST" => true,
        "_SERVICE_PORT" => is_port(value),
        "_PORT" => is_url(value),
        _ => {
            if rest.strip_prefix("_SERVICE_PORT_").is_some_and(|port| !port.is_empty()) {
                return is_port(value);
            }
            let mut parts = rest.strip_prefix("_PORT_").unwrap_or_default().split('_');
            let (port, protocol, what) = (parts.next(), parts.next(), parts.next());
            let is_link = port.is_some_and(is_port)
                && protocol.is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
                && parts.next().is_none();
            is_link
                && match what {
                    None => is_url(value),
                    Some("PROTO") => ["tcp", "udp", "sctp"].contains(&value),
                    Some("PORT") => is_port(value),
                    Some("ADDR") => value.parse::<IpAddr>().is_ok(),
                    Some(_) => false,
                }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(variables: &[(&str, &str)]) -> Vec<String> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ours(owned).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn those_of_a_kubernetes_service_are_left_out() {
        let service = [
            ("EDS_SERVICE_HOST", "10.96.0.10"),
            ("EDS_SERVICE_PORT", "7321"),
            ("EDS_SERVICE_PORT_HTTP", "7321"),
            ("EDS_PORT", "tcp://10.96.0.10:7321"),
            ("EDS_PORT_7321_TCP", "tcp://10.96.0.10:7321"),
            ("EDS_PORT_7321_TCP_PROTO", "tcp"),
            ("EDS_PORT_7321_TCP_PORT", "7321"),
            ("EDS_PORT_7321_TCP_ADDR", "fd00::10"),
            ("EDS_DB_SERVICE_HOST", "10.96.0.11"),
            ("EDS_DB_PORT", "udp://10.96.0.11:53"),
            ("EDS_TOKEN", "eds_0"),
            ("EDS_PKCS11_PIN", "4711"),
        ];
        assert_eq!(left(&service), Vec::<String>::new());
    }

    #[test]
    fn a_mistyped_setting_is_not() {
        // Without its host variable there is no such Service.
        let alone = [("EDS_PORT", "tcp://10.96.0.10:7321"), ("EDS_SERVICE_PORT", "7321")];
        assert_eq!(left(&alone), ["EDS_PORT", "EDS_SERVICE_PORT"]);
        for other in [
            ("EDS_SERVICE_HOTS", "10.96.0.10"),
            ("EDS_SERVE_LISTEN", "0.0.0.0:1"),
            ("EDS_PORT", "7321"),
            ("EDS_PORT_7321", "7321"),
            ("EDS_PORT_7321_TCP_NAME", "x"),
            ("EDS_SERVICE_PORT", "many"),
            ("EDS_S3__SERVICE_HOST", "10.0.0.1"),
            ("EDS_LEDGER", "a.db"),
        ] {
            assert_eq!(left(&[("EDS_SERVICE_HOST", "10.96.0.10"), other]), [other.0]);
        }
        assert_eq!(left(&[("EDS_SERVICE_HOST", "db")]), ["EDS_SERVICE_HOST"]);
    }
}
