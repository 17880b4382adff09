//! What the description says of each kind of resource.

use serde_json::{Value, json};
use state::{
    AclPattern, AclPermission, AliasTopic, GatewayGroup, Interceptor, ServiceAccount,
    VirtualCluster,
};
use utoipa::openapi::schema::ObjectBuilder;

use super::schema::{
    any_object, flag_or, int32, list, map, name, needed, nullable_text, object, optional, text,
    word,
};
use crate::api::envelope::NameRule;
use crate::api::kind::Kind;
use crate::api::{concentration, declared_acl};

/// One kind.
pub(super) struct KindDoc {
    /// Below `/gateway/v2/`.
    pub(super) path: &'static str,
    /// `kind`.
    pub(super) kind: &'static str,
    /// The last part of the tag by which the command line finds the kind: its order among all.
    pub(super) order: u32,
    /// Name in kebab case, as the same tag has it.
    pub(super) tag: &'static str,
    /// What it is.
    pub(super) about: &'static str,
    /// Query parameters of the list.
    pub(super) filters: &'static [Filter],
    /// How one of them is meant.
    pub(super) identity: Identity,
    pub(super) metadata: ObjectBuilder,
    pub(super) spec: ObjectBuilder,
    /// A resource to begin with.
    pub(super) example: Value,
}

/// A query parameter: name, whether it is a flag, meaning.
pub(super) type Filter = (&'static str, bool, &'static str);

/// How one of a kind is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// By a name in the path; it can be read so, too.
    Name,
    /// By a name and a virtual cluster in the body.
    NameAndVcluster,
    /// By a name in the path and a scope in the body.
    NameAndScope,
}

const BY_VCLUSTER: Filter = ("vcluster", false, "Only those of this virtual cluster.");
const BY_NAME: Filter = ("name", false, "Only those of this name.");
const DEFAULTS: Filter = (
    "showDefaults",
    true,
    "Whether members are shown that have their default.",
);

/// In the order in which they can be applied.
pub(super) fn all() -> [KindDoc; 6] {
    [
        virtual_cluster(),
        alias_topic(),
        concentration_rule(),
        service_account(),
        group(),
        interceptor(),
    ]
}

fn virtual_cluster() -> KindDoc {
    let words = |words: &[&'static str]| words.to_vec();
    let pattern = object(
        "Which resources it is about.",
        [
            needed(
                "resourceType",
                word(
                    "What kind of resources.",
                    declared_acl::RESOURCES.iter().map(|r| r.as_str()),
                ),
            ),
            needed(
                "name",
                text(
                    "A name as clients of the virtual cluster know it, or `*`; `kafka-cluster` for a CLUSTER.",
                ),
            ),
            needed(
                "patternType",
                word(
                    "Whether names equal it or begin with it.",
                    AclPattern::ALL.iter().map(|p| p.as_str()),
                ),
            ),
        ],
    );
    let acl = object(
        "An access control list entry.",
        [
            needed("resourcePattern", pattern),
            needed(
                "principal",
                text("`User:` and the name of a service account, or `User:*`."),
            ),
            needed("host", text("An IP address of clients, or `*`.")),
            needed(
                "operation",
                word(
                    "What is decided.",
                    declared_acl::OPERATIONS.iter().map(|o| o.as_str()),
                ),
            ),
            needed(
                "permissionType",
                word("Which way.", AclPermission::ALL.iter().map(|p| p.as_str())),
            ),
        ],
    );
    let properties = map(
        "Settings of a Kafka client.",
        text("A value, perhaps with placeholders."),
    );
    KindDoc {
        path: "virtual-cluster",
        kind: VirtualCluster::NAME,
        order: 7,
        tag: "virtual-cluster",
        about: "A logical Kafka cluster of its own: its clients see nothing of others'.",
        filters: &[],
        identity: Identity::Name,
        metadata: object(
            "What tells it apart.",
            [needed(
                "name",
                name(
                    "Its name, with which its physical topics and groups begin.",
                    VirtualCluster::NAME_RULE,
                ),
            )],
        ),
        spec: object(
            "What it is like.",
            [
                optional(
                    "aclEnabled",
                    flag_or(false, "Whether access control applies in it."),
                ),
                optional(
                    "aclMode",
                    word(
                        "Who makes the entries of its access control list: its super users over the Kafka protocol, or \
                          whoever writes this resource. Cannot be changed.",
                        words(&["KAFKA_API", "REST_API"]),
                    ),
                ),
                optional(
                    "superUsers",
                    list(
                        "Users to whom access control does not apply; not with REST_API.",
                        text("A name."),
                    ),
                ),
                optional(
                    "acls",
                    list("Its whole access control list; with REST_API only.", acl),
                ),
                optional(
                    "type",
                    word(
                        "Partner is not available yet.",
                        words(&["Standard", "Partner"]),
                    ),
                ),
                optional(
                    "bootstrapServers",
                    text("Where its clients connect; made by the gateway.").read_only(true),
                ),
                optional(
                    "clientProperties",
                    map(
                        "For each way of authenticating, what clients need; made by the gateway.",
                        properties,
                    )
                    .read_only(true),
                ),
            ],
        ),
        example: json!({
            "kind": VirtualCluster::NAME, "apiVersion": "gateway/v2", "metadata": {"name": "billing"},
            "spec": {"aclEnabled": true, "superUsers": ["billing-admin"]},
        }),
    }
}

fn alias_topic() -> KindDoc {
    KindDoc {
        path: "alias-topic",
        kind: AliasTopic::NAME,
        order: 8,
        tag: "alias-topic",
        about: "Another name for a topic of the Kafka cluster.",
        filters: &[BY_VCLUSTER, BY_NAME, DEFAULTS],
        identity: Identity::NameAndVcluster,
        metadata: in_vcluster(AliasTopic::NAME_RULE),
        spec: object(
            "What it stands for.",
            [
                needed(
                    "physicalName",
                    name("The topic as the Kafka cluster knows it.", NameRule::Topic),
                ),
                optional(
                    "physicalCluster",
                    text("The Kafka cluster; `main` is the only one yet."),
                ),
            ],
        ),
        example: json!({
            "kind": AliasTopic::NAME, "apiVersion": "gateway/v2",
            "metadata": {"name": "orders", "vCluster": "billing"}, "spec": {"physicalName": "shared.orders"},
        }),
    }
}

fn concentration_rule() -> KindDoc {
    let topic = |meaning: &str| name(meaning, NameRule::Topic);
    KindDoc {
        path: "concentration-rule",
        kind: concentration::RULE,
        order: 9,
        tag: "concentration-rule",
        about: "Says which topics share physical topics. None can be stored yet.",
        filters: &[BY_VCLUSTER, BY_NAME, DEFAULTS],
        identity: Identity::NameAndVcluster,
        metadata: in_vcluster(NameRule::Topic),
        spec: object(
            "Which topics, and where they go.",
            [
                needed(
                    "pattern",
                    text("A regular expression for whole names of topics."),
                ),
                needed(
                    "physicalTopics",
                    object(
                        "The physical topic for each cleanup policy.",
                        [
                            needed("delete", topic("For `delete`.")),
                            optional("compact", topic("For `compact`.")),
                            optional("deleteCompact", topic("For both.")),
                        ],
                    ),
                ),
                optional(
                    "autoManaged",
                    flag_or(false, "Whether the gateway makes the physical topics."),
                ),
                optional(
                    "offsetCorrectness",
                    flag_or(false, "Whether offsets are those of the topic alone."),
                ),
            ],
        ),
        example: json!({
            "kind": concentration::RULE, "apiVersion": "gateway/v2",
            "metadata": {"name": "small-topics", "vCluster": "billing"},
            "spec": {"pattern": "small\\..*", "physicalTopics": {"delete": "shared.small"}},
        }),
    }
}

fn service_account() -> KindDoc {
    KindDoc {
        path: "service-account",
        kind: ServiceAccount::NAME,
        order: 10,
        tag: "gateway-service-account",
        about: "Who a client can be.",
        filters: &[
            BY_VCLUSTER,
            BY_NAME,
            ("type", false, "Only LOCAL or only EXTERNAL ones."),
            DEFAULTS,
        ],
        identity: Identity::NameAndVcluster,
        metadata: in_vcluster(ServiceAccount::NAME_RULE),
        spec: object(
            "How its clients authenticate.",
            [
                needed(
                    "type",
                    word(
                        "With a token of the gateway, or as somebody whom another authority knows.",
                        ["LOCAL", "EXTERNAL"],
                    ),
                ),
                optional(
                    "externalNames",
                    list(
                        "The one name by which the other authority knows an EXTERNAL account.",
                        text("A name."),
                    ),
                ),
            ],
        ),
        example: json!({
            "kind": ServiceAccount::NAME, "apiVersion": "gateway/v2",
            "metadata": {"name": "invoicer", "vCluster": "billing"}, "spec": {"type": "LOCAL"},
        }),
    }
}

fn group() -> KindDoc {
    let member = object(
        "A service account.",
        [
            optional(
                "vCluster",
                text("Its virtual cluster; `passthrough` if it is left out."),
            ),
            needed("name", text("Its name.")),
        ],
    );
    KindDoc {
        path: "group",
        kind: GatewayGroup::NAME,
        order: 11,
        tag: "gateway-group",
        about: "Service accounts at which interceptors can be aimed together.",
        filters: &[DEFAULTS],
        identity: Identity::Name,
        metadata: object(
            "What tells it apart.",
            [needed("name", name("Its name.", GatewayGroup::NAME_RULE))],
        ),
        spec: object(
            "Who belongs to it.",
            [
                optional("members", list("Its service accounts.", member)),
                optional(
                    "externalGroups",
                    list(
                        "Groups of an identity provider that belong to it.",
                        text("A name."),
                    ),
                ),
            ],
        ),
        example: json!({
            "kind": GatewayGroup::NAME, "apiVersion": "gateway/v2", "metadata": {"name": "auditors"},
            "spec": {"members": [{"vCluster": "billing", "name": "invoicer"}]},
        }),
    }
}

fn interceptor() -> KindDoc {
    KindDoc {
        path: "interceptor",
        kind: Interceptor::NAME,
        order: 12,
        tag: "interceptor",
        about: "A plugin with its configuration, and whose traffic it works on.",
        filters: &[
            BY_NAME,
            (
                "global",
                true,
                "Only those that apply to everybody; false asks for nothing.",
            ),
            (
                "vcluster",
                false,
                "Only those aimed at this virtual cluster.",
            ),
            ("group", false, "Only those aimed at this group."),
            ("username", false, "Only those aimed at this user."),
        ],
        identity: Identity::NameAndScope,
        metadata: object(
            "What tells it apart.",
            [
                needed(
                    "name",
                    name(
                        "Its name; together with the scope it is unique.",
                        Interceptor::NAME_RULE,
                    ),
                ),
                optional("scope", scope()),
            ],
        ),
        spec: object(
            "What it does.",
            [
                optional("comment", text("Anything.")),
                needed("pluginClass", text("The `pluginId` of a plugin.")),
                needed("priority", int32("Lower ones run first.", 0)),
                needed(
                    "config",
                    any_object("The plugin's configuration; answered as it was sent."),
                ),
            ],
        ),
        example: json!({
            "kind": Interceptor::NAME, "apiVersion": "gateway/v2",
            "metadata": {"name": "cap-partitions", "scope": {"vCluster": "billing"}},
            "spec": {"pluginClass": "io.conduktor.gateway.interceptor.safeguard.CreateTopicPolicyPlugin", "priority": 10,
                "config": {"topic": ".*", "numPartition": {"min": 1, "max": 12, "action": "BLOCK"}}},
        }),
    }
}

/// Whose traffic.
pub(super) fn scope() -> ObjectBuilder {
    object(
        "Whose traffic it works on. Without it: everybody's outside of virtual clusters. A group and a user cannot be given \
         together.",
        [
            optional(
                "vCluster",
                nullable_text(
                    "Left out: `passthrough`. `null`, with neither group nor user: everybody's, everywhere.",
                ),
            ),
            optional("group", nullable_text("A group.")),
            optional("username", nullable_text("A user.")),
        ],
    )
}

fn in_vcluster(rule: NameRule) -> ObjectBuilder {
    object(
        "What tells it apart.",
        [
            needed("name", name("Its name.", rule)),
            optional(
                "vCluster",
                text("Its virtual cluster; `passthrough` if it is left out."),
            ),
        ],
    )
}
