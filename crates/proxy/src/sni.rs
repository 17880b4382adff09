//! SNI routing: which server name stands for which broker, and which name a client is given for it.
//!
//! All names are made of one pattern with `{{nodeId}}` in it (the older scheme
//! `<prefix><clusterId><nodeId><separator><host>` is such a pattern too). Names are compared without case, and a
//! trailing dot is ignored.

const NODE_ID: &str = "{{nodeId}}";
const CLUSTER_ID: &str = "{{clusterId}}";

/// The id of the primary cluster in names.
const MAIN: &str = "main";

/// What a server name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Any broker.
    Bootstrap,
    /// This broker, whether or not it exists.
    Broker(i32),
    /// Neither; served like [`Named::Bootstrap`], because load balancers may have names of their own.
    Unknown,
}

/// The names of one listener.
#[derive(Clone, Debug)]
pub struct NameMap {
    /// What comes before and after the node id, in lower case.
    prefix: String,
    suffix: String,
    bootstrap: Vec<String>,
    port: u16,
}

impl NameMap {
    /// Names after `pattern`, which holds `{{nodeId}}` once; each of `bootstrap` leads to any broker. `port` is told to
    /// clients.
    pub fn new<'n>(
        pattern: &str,
        bootstrap: impl IntoIterator<Item = &'n str>,
        port: u16,
    ) -> NameMap {
        let pattern = normal(&pattern.replace(CLUSTER_ID, MAIN), false);
        let node_id = NODE_ID.to_ascii_lowercase();
        let (prefix, suffix) = pattern.split_once(&node_id).unwrap_or((&pattern, ""));
        let mut names: Vec<String> = Vec::new();
        for name in bootstrap {
            let name = normal(&name.replace(CLUSTER_ID, MAIN), true);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        NameMap {
            prefix: prefix.to_owned(),
            suffix: suffix.strip_suffix('.').unwrap_or(suffix).to_owned(),
            bootstrap: names,
            port,
        }
    }

    /// What the server name of a handshake means.
    pub fn find(&self, name: &str) -> Named {
        let name = normal(name, true);
        if self.bootstrap.contains(&name) {
            return Named::Bootstrap;
        }
        name.strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_suffix(self.suffix.as_str()))
            .filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|id| id.parse().ok())
            .map_or(Named::Unknown, Named::Broker)
    }

    /// The name of broker `node`.
    pub fn name(&self, node: i32) -> String {
        format!("{}{node}{}", self.prefix, self.suffix)
    }

    /// The names that lead to any broker.
    pub fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    /// The port told to clients.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn normal(name: &str, complete: bool) -> String {
    let name = match name.strip_suffix('.') {
        Some(relative) if complete => relative,
        _ => name,
    };
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legacy(prefix: &str, separator: &str, host: &str) -> NameMap {
        let pattern = format!("{prefix}{CLUSTER_ID}{NODE_ID}{separator}{host}");
        NameMap::new(&pattern, [host], 6969)
    }

    #[test]
    fn the_documented_names_of_the_older_scheme() {
        let map = legacy("broker", "-", "gateway.example.com");
        assert_eq!(map.name(1), "brokermain1-gateway.example.com");
        assert_eq!(
            map.find("brokermain1-gateway.example.com"),
            Named::Broker(1)
        );
        assert_eq!(map.find("gateway.example.com"), Named::Bootstrap);
        let map = legacy("broker", ".", "gateway.example.com");
        assert_eq!(map.name(0), "brokermain0.gateway.example.com");
    }

    #[test]
    fn separators_may_occur_elsewhere() {
        let map = legacy("my-broker-", "-", "a-b.example.com");
        assert_eq!(map.find(&map.name(11)), Named::Broker(11));
        assert_eq!(map.find(&map.name(1)), Named::Broker(1));
        assert_eq!(map.find("my-broker-main1-b.example.com"), Named::Unknown);
    }

    #[test]
    fn patterns_with_and_without_a_cluster() {
        let map = NameMap::new(
            "B{{nodeId}}.{{clusterId}}.Example.com.",
            ["Bootstrap.example.com.", "gw"],
            443,
        );
        assert_eq!(map.name(3), "b3.main.example.com");
        assert_eq!(map.find("B3.MAIN.example.COM."), Named::Broker(3));
        assert_eq!(map.find("bootstrap.Example.com"), Named::Bootstrap);
        assert_eq!(map.find("gw"), Named::Bootstrap);
        assert_eq!(map.port(), 443);
    }

    #[test]
    fn what_is_no_number_is_no_broker() {
        let map = NameMap::new("b{{nodeId}}.example.com", [], 1);
        for name in [
            "b.example.com",
            "b-1.example.com",
            "b+1.example.com",
            "b1x.example.com",
            "b99999999999.example.com",
            "b1.example.com.evil.org",
            "",
        ] {
            assert_eq!(map.find(name), Named::Unknown, "{name}");
        }
    }
}
