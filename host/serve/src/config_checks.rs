//! Whether a tenant's configuration fits its component: what only the component's specification tells.

use std::net::{IpAddr, Ipv4Addr};

use super::tenant::Tenant;
use elt_host::{ConfigurationProblem, Spec};
use elt_support::address::{is_allowed, special};
use elt_support::origin::{Host, Origin};

/// Everything that is wrong with the configuration as far as the host can tell; the rest is the component's to say.
pub fn problems(tenant: &Tenant, spec: &Spec) -> Vec<ConfigurationProblem> {
    let mut problems = Vec::new();
    let mut report = |key: &str, message: String| {
        problems.push(ConfigurationProblem { key: Some(key.to_owned()), message });
    };
    for key in spec.secrets().iter().filter(|key| tenant.config.contains_key(*key)) {
        let message = "is a secret and must not stand in the file; write where it is: `{ env = \"NAME\" }`, \
                       `{ file = \"PATH\" }` or `{ command = [\"PROGRAM\"] }`";
        report(key, message.into());
    }
    for key in tenant.secrets.keys().filter(|key| !spec.secrets().contains(key)) {
        report(key, "is given as a secret, but is none to the component, which could show or store it".into());
    }
    for (key, url) in spec.origins(&tenant.config) {
        if let Ok(origin) = Origin::parse(url)
            && let Some(what) = inside(&origin, tenant)
        {
            let message = format!("names {what}; allow it with `allow_networks`, if the tenant may reach it");
            report(key, message);
        }
    }
    problems
}

/// What the origin leads to, if that is no public address and the policy does not name it. A person may sync from a server on their own
/// machine without saying so twice; a tenant could reach what only the host can.
fn inside(origin: &Origin, tenant: &Tenant) -> Option<String> {
    let networks = &tenant.policy.networks;
    match origin.host() {
        Host::Address(address) if !is_allowed(*address, networks) => {
            special(*address).map(|kind| format!("{kind} address"))
        }
        host if host.names_loopback() && !is_allowed(IpAddr::V4(Ipv4Addr::LOCALHOST), networks) => {
            Some("this machine".into())
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::file;
    use elt_host::Policy;

    const SPEC: &str = r#"{"properties": {
        "api_key": {"writeOnly": true},
        "base_url": {"x-elt-origin": true, "default": "https://api.example"},
        "entity": {}
    }}"#;

    fn found(config: &str, policy: &str) -> Vec<String> {
        let text = format!("[[tenant]]\nid = \"a\"\ndestination = \"null:\"\n{policy}\n[tenant.config]\n{config}");
        let reading = file::read("t.toml".as_ref(), "/".as_ref(), &text, &Policy::default());
        assert_eq!(reading.problems, []);
        let problems = problems(&reading.entries[0].tenant, &Spec::parse(SPEC).unwrap());
        problems.into_iter().map(|problem| format!("{} {}", problem.key.unwrap(), problem.message)).collect()
    }

    #[test]
    fn a_secret_is_named_and_never_written_out() {
        assert_eq!(found("api_key = { env = \"KEY\" }\nentity = \"e\"", ""), [""; 0]);
        let plain = found("api_key = \"0123456789\"", "");
        assert!(plain[0].starts_with("api_key is a secret and must not stand in the file"), "{plain:?}");
        assert!(!plain[0].contains("0123456789"));
        let shown = found("entity = { env = \"KEY\" }", "");
        assert!(shown[0].starts_with("entity is given as a secret, but is none"), "{shown:?}");
    }

    #[test]
    fn what_only_the_host_can_reach_has_to_be_allowed() {
        for (url, what) in [
            ("http://127.0.0.1:9090", "a loopback address"),
            ("http://localhost:9090", "this machine"),
            ("http://LOCALHOST.", "this machine"),
            ("http://[::1]", "a loopback address"),
            ("http://169.254.169.254", "a cloud metadata address"),
            ("https://10.1.2.3", "a private address"),
            ("http://[::ffff:10.1.2.3]", "a private address"),
        ] {
            let found = found(&format!("base_url = {url:?}"), "");
            assert!(found.len() == 1 && found[0].starts_with(&format!("base_url names {what}")), "{url}: {found:?}");
        }
        let allowed = "policy.allow_networks = [\"127.0.0.0/8\"]";
        assert_eq!(found("base_url = \"http://127.0.0.1:1\"", allowed), [""; 0]);
        assert_eq!(found("base_url = \"http://localhost:1\"", allowed), [""; 0]);
        assert_eq!(found("base_url = \"https://api.acme.example\"", ""), [""; 0]);
    }
}
