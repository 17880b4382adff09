//! Every metric of the gateway: field, instrument, name, labels, help. The only place that knows a metric's name.

use super::family::{Declaration, Domain, Domains, Exposed, Family};
use super::instrument::{Counter, Gauge, Instrument, Kind};
use super::{MetricsSettings, NONE, UNKNOWN};

metrics! {
    failed_authentications: Counter, 1 = "gateway_failed_authentications_total", ["username" in Users],
        "Failed attempts of Kafka clients to authenticate, one per attempt, by the offered name if such an account exists; \
         <unknown> if none does, <none> if no name was offered (refused certificates)";
    failed_authentications_detail: Counter, 2 = "gateway_failed_authentications_detail_total", ["mechanism", "reason"],
        "The same attempts as in gateway_failed_authentications_total by SASL mechanism (SSL for client certificates) and reason";
    expired_connections_killed: Counter, 0 = "gateway_expired_connections_killed_total", [],
        "Client connections closed because they were used after their session had expired without re-authentication";
    authorization_denied: Counter, 2 = "gateway_authorization_denied_total", ["resource_type", "operation"],
        "Denials by the access control of the gateway, one per resource and request";
    certificate_expiry: Gauge, 1 = "gateway_certificate_expiry_seconds", ["use"],
        "When the certificate chain in use expires (the earliest of its certificates), in seconds since 1970; \
         subtract time() for the time that is left";
    certificate_reload_failures: Counter, 1 = "gateway_certificate_reload_failures_total", ["use"],
        "Changed key or trust stores that could not be used; the one before stays in use";
    build_info: Gauge, 3 = "gateway_build_info", ["version", "commit", "rustc"],
        "Always 1; the labels tell what is running";
}

impl Catalogue {
    /// The series that exist from the start.
    fn bear(&self) {
        for username in [UNKNOWN, NONE] {
            self.failed_authentications.with([username]);
        }
        self.expired_connections_killed.with([]);
    }
}

/// Makes the struct of families, their declarations and the walk over all of them from one list. `label in Domain` puts the
/// values of a label under the cap of a [`Domain`].
macro_rules! metrics {
    ($($field:ident: $instrument:ty, $count:literal = $name:literal, [$($label:literal $(in $domain:ident)?),*], $help:literal;)+) => {
        /// What the catalogue declares, in the order of the exposition.
        pub const DECLARATIONS: &[Declaration] = &[
            $(metrics!(@declare $instrument, $name, [$($label $(in $domain)?),*], $help),)+
            FOLDED,
        ];

        /// The families, by what they count.
        #[derive(Debug)]
        pub struct Catalogue {
            $(#[doc = $help] pub $field: Family<$instrument, $count>,)+
            folded: Family<Counter, 1>,
        }

        impl Catalogue {
            pub(super) fn new(settings: &MetricsSettings) -> Self {
                let domains = Domains::new(settings);
                let folded = Family::new(&FOLDED, &domains, Counter::default());
                $(let $field = {
                    const DECLARED: Declaration = metrics!(@declare $instrument, $name, [$($label $(in $domain)?),*], $help);
                    Family::new(&DECLARED, &domains, folded.with([$name]))
                };)+
                let catalogue = Self { $($field,)+ folded };
                catalogue.bear();
                catalogue
            }

            /// The families, in the order of [`DECLARATIONS`].
            pub(super) fn families(&self) -> Vec<&dyn Exposed> {
                vec![$(&self.$field,)+ &self.folded]
            }
        }
    };
    (@declare $instrument:ty, $name:literal, [$($label:literal $(in $domain:ident)?),*], $help:literal) => {
        Declaration {
            name: $name,
            kind: <$instrument as Instrument>::KIND,
            labels: &[$($label),*],
            domains: &[$(metrics!(@domain $($domain)?)),*],
            help: $help,
        }
    };
    (@domain) => { None };
    (@domain $domain:ident) => { Some(Domain::$domain) };
}
use metrics;

const FOLDED: Declaration = Declaration {
    name: "gateway_metrics_series_folded_total",
    kind: Kind::Counter,
    labels: &["family"],
    domains: &[None],
    help: "Look-ups of series that did not fit under a cap: counters went to <other>, gauges were dropped",
};
