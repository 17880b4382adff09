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
        assert!(Kind::ALL.is_sorted());
    }
}
