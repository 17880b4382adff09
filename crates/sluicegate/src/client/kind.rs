//! The kinds of resources that the admin API stores.

/// A kind. Declared in the order in which resources have to be created, as each refers to those before it only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    VirtualCluster,
    AliasTopic,
    ConcentrationRule,
    GatewayServiceAccount,
    GatewayGroup,
    Interceptor,
}

impl Kind {
    /// All, in the order in which they are applied.
    pub(crate) const ALL: [Kind; 6] = [
        Kind::VirtualCluster,
        Kind::AliasTopic,
        Kind::ConcentrationRule,
        Kind::GatewayServiceAccount,
        Kind::GatewayGroup,
        Kind::Interceptor,
    ];

    /// The kind of that name, in any letter case. Interceptors have a second name in files of other tools.
    pub(crate) fn of(name: &str) -> Option<Kind> {
        let of_name = Kind::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name));
        of_name.or_else(|| {
            name.eq_ignore_ascii_case("GatewayInterceptor")
                .then_some(Kind::Interceptor)
        })
    }

    /// The kind that a person means: also plurals, short names, and the names of paths in the admin API.
    pub(crate) fn meant(word: &str) -> Option<Kind> {
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        Kind::of(word).or_else(|| {
            Kind::ALL
                .into_iter()
                .find(|kind| is(kind.plural()) || is(kind.path()) || kind.short().any(is))
        })
    }

    /// Its plural.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Kind::VirtualCluster => "VirtualClusters",
            Kind::AliasTopic => "AliasTopics",
            Kind::ConcentrationRule => "ConcentrationRules",
            Kind::GatewayServiceAccount => "GatewayServiceAccounts",
            Kind::GatewayGroup => "GatewayGroups",
            Kind::Interceptor => "Interceptors",
        }
    }

    /// What else it can be called on the command line.
    pub(crate) fn short(self) -> impl Iterator<Item = &'static str> {
        let names: &[&str] = match self {
            Kind::VirtualCluster => &["vc", "vcluster", "vclusters", "virtual-clusters"],
            Kind::AliasTopic => &["at", "alias", "aliases", "alias-topics"],
            Kind::ConcentrationRule => &["cr", "rule", "rules", "concentration-rules"],
            Kind::GatewayServiceAccount => &[
                "sa",
                "account",
                "accounts",
                "serviceaccount",
                "serviceaccounts",
                "service-accounts",
            ],
            Kind::GatewayGroup => &["gg", "groups"],
            Kind::Interceptor => &["ic", "GatewayInterceptors"],
        };
        names.iter().copied()
    }

    /// The kinds with their short names, one a line, for help texts.
    pub(crate) fn table() -> String {
        let mut table = String::from("Kinds, in any letter case, also as plurals:");
        for kind in Kind::ALL {
            let short = kind.short().take(3).collect::<Vec<_>>().join(", ");
            table.push_str(&format!("\n  {:<23}{short}", kind.name()));
        }
        table
    }

    /// As it stands in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::VirtualCluster => "VirtualCluster",
            Kind::AliasTopic => "AliasTopic",
            Kind::ConcentrationRule => "ConcentrationRule",
            Kind::GatewayServiceAccount => "GatewayServiceAccount",
            Kind::GatewayGroup => "GatewayGroup",
            Kind::Interceptor => "Interceptor",
        }
    }

    /// Its part of the path in the admin API.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::VirtualCluster => "virtual-cluster",
            Kind::AliasTopic => "alias-topic",
            Kind::ConcentrationRule => "concentration-rule",
            Kind::GatewayServiceAccount => "service-account",
            Kind::GatewayGroup => "group",
            Kind::Interceptor => "interceptor",
        }
    }

    /// Whether the name alone says which resource is meant, wherever in the gateway it is.
    pub(crate) fn is_global(self) -> bool {
        matches!(self, Kind::VirtualCluster | Kind::GatewayGroup)
    }

    /// All names, for a sentence.
    pub(crate) fn names() -> String {
        Kind::ALL.map(Kind::name).join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.name()), Some(kind));
            assert_eq!(Kind::of(&kind.name().to_uppercase()), Some(kind));
        }
        assert_eq!(Kind::of("GatewayInterceptor"), Some(Kind::Interceptor));
        assert_eq!(Kind::of("Topic"), None);
        for name in ["vc", "aliases", "VirtualClusters", "service-account"] {
            assert_eq!(Kind::of(name), None, "{name}");
        }
    }

    #[test]
    fn what_people_call_them() {
        for kind in Kind::ALL {
            let names = [kind.name(), kind.plural(), kind.path()];
            for name in names.into_iter().chain(kind.short()) {
                assert_eq!(Kind::meant(name), Some(kind), "{name}");
                assert_eq!(Kind::meant(&name.to_uppercase()), Some(kind), "{name}");
            }
            assert!(Kind::table().contains(kind.name()));
        }
        for name in ["Topic", "v", "", "all"] {
            assert_eq!(Kind::meant(name), None, "{name}");
        }
    }

    #[test]
    fn in_the_order_in_which_they_are_applied() {
        assert!(Kind::ALL.is_sorted());
    }
}
