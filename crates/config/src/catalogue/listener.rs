//! The settings of one listener block: `GATEWAY_LISTENER_<NAME>_<setting>`.

use super::{Kind, Setting, settings};
use crate::model::ClientAuth;

settings! {
    /// Settings of a listener block, by what follows the listener's name.
    pub LISTENER_SETTINGS:
    SECURITY_PROTOCOL = Setting::new("SECURITY_PROTOCOL", Kind::PROTOCOL,
        "Protocol spoken with clients.").required();
    ROUTING = Setting::new("ROUTING", Kind::Word(&["port", "sni", "host"]),
        "How a connection finds its broker; `host` is another word for `sni`.").required();
    PORTS = Setting::new("PORTS", Kind::Ports,
        "Advertised and local ports, see the grammar below. Local ports must not overlap with other listeners or the admin port.").required();
    BIND_ADDRESS = Setting::new("BIND_ADDRESS", Kind::Host, "Address to bind.").default("0.0.0.0");
    ADVERTISED_HOST = Setting::new("ADVERTISED_HOST", Kind::Host,
        "Host name handed to clients. A warning when it falls back to the default or is a loop-back name.")
        .computed("host name of the machine");
    ADVERTISED_HOST_PATTERN = Setting::new("ADVERTISED_HOST_PATTERN", Kind::Text,
        "Needed for `sni`: a host name with `{{nodeId}}` exactly once, perhaps `{{clusterId}}`.");
    BOOTSTRAP_HOST_PATTERN = Setting::new("BOOTSTRAP_HOST_PATTERN", Kind::Text,
        "For `sni`: the name that reaches any broker; without `{{nodeId}}`.")
        .computed("the pattern with `bootstrap` in place of the label that holds `{{nodeId}}`");
    SSL_CLIENT_AUTH = Setting::new("SSL_CLIENT_AUTH", Kind::Word(ClientAuth::WORDS),
        "Whether TLS clients are asked for a certificate.").default("NONE");
}
