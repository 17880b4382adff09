//! Names of plugins that published configurations use, so that one that is spelt wrong can be told from one that is not built in.

use config::catalogue::nearest;

/// What every one of [`BY_PACKAGE`] begins with.
const ROOT: &str = "io.conduktor.gateway.interceptor.";

/// Packages below [`ROOT`], each with its end or empty, and their classes.
const BY_PACKAGE: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "AuditPlugin",
            "CacheInterceptorPlugin",
            "CelTopicPlugin",
            "DecryptPlugin",
            "DynamicHeaderInjectionPlugin",
            "EncryptPlugin",
            "EncryptSchemaBasedPlugin",
            "FetchEncryptPlugin",
            "FetchEncryptSchemaBasedPlugin",
            "FieldLevelDataMaskingPlugin",
            "LargeBatchHandlingPlugin",
            "LargeMessageHandlingPlugin",
            "VirtualSqlTopicPlugin",
        ],
    ),
    (
        "chaos.",
        &[
            "DuplicateMessagesPlugin",
            "FetchSimulateMessageCorruptionPlugin",
            "ProduceSimulateMessageCorruptionPlugin",
            "SimulateBrokenBrokersPlugin",
            "SimulateInvalidSchemaIdPlugin",
            "SimulateLatencyPlugin",
            "SimulateLeaderElectionsErrorsPlugin",
            "SimulateSlowBrokerPlugin",
            "SimulateSlowProducersConsumersPlugin",
        ],
    ),
    ("dataquality.", &["DataQualityPlugin"]),
    ("observability.", &["ObservabilityPlugin"]),
    (
        "safeguard.",
        &[
            "AlterBrokerConfigPolicyPlugin",
            "AlterTopicConfigPolicyPlugin",
            "ClientIdRequiredPolicyPlugin",
            "ConsumerGroupPolicyPlugin",
            "CreateTopicPolicyPlugin",
            "DataQualityProducerPlugin",
            "FetchPolicyPlugin",
            "LimitCommitOffsetPolicyPlugin",
            "LimitConnectionPolicyPlugin",
            "LimitJoinGroupPolicyPlugin",
            "MessageHeaderRemovalPlugin",
            "ProducePolicyPlugin",
            "ProducerRateLimitingPolicyPlugin",
            "ReadOnlyTopicPolicyPlugin",
            "SchemaPayloadValidationPolicyPlugin",
            "TopicRequiredSchemaIdPolicyPlugin",
        ],
    ),
];

/// Removed long ago; access control lists do its work.
const ACLS: &str = "io.conduktor.gateway.interceptor.AclsInterceptorPlugin";

/// Longest name for which a similar one is sought, bytes.
const MAX_NAME: usize = 200;

/// Why there is no plugin of this name, a sentence or more. `built_in` are those that there are.
pub(super) fn why_unknown(id: &str, built_in: &[String]) -> String {
    let shown = super::body::shown(id);
    if id == ACLS {
        return format!(
            "'spec.pluginClass': '{shown}' is no plugin any more. Access control lists are part of virtual clusters \
             (spec.aclEnabled) and of the gateway (GATEWAY_ACL_ENABLED)."
        );
    }
    if published().any(|known| known == id) {
        return format!(
            "'spec.pluginClass': the name '{shown}' is right, but this version of the gateway does not have that plugin. {}",
            those(built_in)
        );
    }
    match meant(id, built_in) {
        Some(meant) if built_in.contains(&meant) => {
            format!(
                "'spec.pluginClass' names no plugin: there is no '{shown}'. Did you mean '{meant}'?"
            )
        }
        Some(meant) => format!(
            "'spec.pluginClass' names no plugin: there is no '{shown}'. Did you mean '{meant}'? This version of the gateway \
             does not have that plugin either. {}",
            those(built_in)
        ),
        None => format!(
            "'spec.pluginClass' names no plugin: there is no '{shown}'. {}",
            those(built_in)
        ),
    }
}

fn published() -> impl Iterator<Item = String> {
    BY_PACKAGE.iter().flat_map(|(package, classes)| {
        classes
            .iter()
            .map(move |class| format!("{ROOT}{package}{class}"))
    })
}

/// The known name that is most like this one: as a whole, or by its class when the package is missing or another.
fn meant(id: &str, built_in: &[String]) -> Option<String> {
    if id.len() > MAX_NAME {
        return None;
    }
    // Those that can be used come first.
    let known: Vec<String> = built_in.iter().cloned().chain(published()).collect();
    let class = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let classes: Vec<String> = known.iter().map(|name| class(name)).collect();
    let near = |name: &str| nearest(name, classes.iter().map(String::as_str));
    let sought = class(id);
    let of_class = near(&sought).or_else(|| near(&format!("{sought}Plugin")));
    let found = match of_class.and_then(|near| classes.iter().position(|class| class == near)) {
        Some(at) => known.get(at).cloned(),
        None => None,
    };
    found.or_else(|| nearest(id, known.iter().map(String::as_str)).map(str::to_owned))
}

/// A sentence with those that there are.
fn those(built_in: &[String]) -> String {
    match built_in {
        [] => "It has no plugins yet.".to_owned(),
        built_in => format!("It has {}.", built_in.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(id: &str, built_in: &[&str], expected: &str) {
        let built_in: Vec<String> = built_in.iter().map(|&id| id.to_owned()).collect();
        let said = why_unknown(id, &built_in);
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn a_name_that_is_right() {
        let id = "io.conduktor.gateway.interceptor.chaos.SimulateLatencyPlugin";
        says(
            id,
            &[],
            "this version of the gateway does not have that plugin. It has no plugins yet.",
        );
        says(id, &["a.B", "c.D"], "It has a.B, c.D.");
    }

    #[test]
    fn a_name_that_is_not() {
        let meant =
            |class: &str| format!("Did you mean 'io.conduktor.gateway.interceptor.{class}'?");
        for (id, class) in [
            (
                "io.conduktor.gateway.interceptor.safeguard.CreateTopicPolicyPlugni",
                "safeguard.CreateTopicPolicyPlugin",
            ),
            (
                "io.conduktor.gateway.interceptor.CreateTopicPolicyPlugin",
                "safeguard.CreateTopicPolicyPlugin",
            ),
            ("EncryptPlugin", "EncryptPlugin"),
            ("ReadOnlyTopicPolicy", "safeguard.ReadOnlyTopicPolicyPlugin"),
        ] {
            says(id, &[], &meant(class));
            says(id, &[], "does not have that plugin either");
        }
        says(
            "org.example.Anythign",
            &["org.example.Anything"],
            "there is no 'org.example.Anythign'. Did you mean 'org.example.Anything'?",
        );
        says(
            "org.example.Other",
            &["a.B"],
            "there is no 'org.example.Other'. It has a.B.",
        );
        says("org.example.Other", &["a.B"], "names no plugin");
    }

    #[test]
    fn what_was_removed() {
        says(ACLS, &[], "spec.aclEnabled");
    }

    #[test]
    fn names_are_bounded() {
        let long = "EncryptPlugin".repeat(100_000);
        assert!(why_unknown(&long, &[]).len() < 300);
    }
}
