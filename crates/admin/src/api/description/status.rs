//! What `GET /gateway/v2/status` answers.

use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{HttpMethod, Paths};

use super::schema::{Member, amount, count, flag, list, needed, object, optional, text};
use super::{ROOT, finished, found};

pub(super) fn describe(paths: &mut Paths) {
    let call = OperationBuilder::new()
        .operation_id(Some("status"))
        .tag("Status")
        .summary(Some("Tell what this gateway does, in a few numbers"))
        .description(Some(
            "What the status page shows. It is about the one process that answers, and is answered while it starts, too. Numbers \
             of events count from the start of the process; it is made once a second at most.",
        ))
        .response("200", found(status()));
    paths.add_path_operation(
        format!("{ROOT}/status"),
        vec![HttpMethod::Get],
        finished(call),
    );
}

fn status() -> ObjectBuilder {
    let check = object(
        "A condition of readiness.",
        [
            needed("id", text("Which.")),
            needed("up", flag("Whether it holds.")),
        ],
    );
    object(
        "The state of the gateway.",
        [
            needed("time", amount("Seconds since 1970.")),
            needed("uptimeSeconds", amount("Since the start.")),
            needed("build", build()),
            needed("live", flag("Whether all workers work.")),
            needed("ready", flag("Whether all checks are up.")),
            needed("checks", list("As in `/health/ready`.", check)),
            needed("traffic", traffic()),
            needed("latency", latency()),
            needed("connections", connections()),
            needed("brokers", count("Brokers in the cluster.")),
            needed("errors", errors()),
            optional("lag", lag()),
        ],
    )
}

fn build() -> ObjectBuilder {
    let names = ["version", "time", "commit", "product", "productVersion"];
    object(
        "What is running, as in `/health`.",
        names.map(|name| needed(name, text("A text."))),
    )
}

fn traffic() -> ObjectBuilder {
    let members: [Member; 5] = [
        needed("requests", count("Requests of clients.")),
        needed("inFlight", count("Requests now that have no answer yet.")),
        needed("waiting", count("Requests now that cannot be begun yet.")),
        needed("bytesFromClients", count("Bytes read from clients.")),
        needed("bytesToClients", count("Bytes written to clients.")),
    ];
    object("What clients send and get.", members)
}

fn latency() -> ObjectBuilder {
    let times = |meaning: &str| {
        object(
            meaning,
            [
                needed("count", count("How many.")),
                needed("seconds", amount("Their sum.")),
                needed(
                    "below",
                    list(
                        "How many are not above each bound, and how many there are.",
                        count("How many."),
                    ),
                ),
            ],
        )
    };
    object(
        "How long requests take.",
        [
            needed(
                "bounds",
                list("Upper bounds in seconds.", amount("Seconds.")),
            ),
            needed("gateway", times("What the gateway adds to a request.")),
            needed("kafka", times("What brokers take, without fetches.")),
            needed(
                "fetches",
                times("What brokers take for fetches, which wait for records."),
            ),
        ],
    )
}

fn connections() -> ObjectBuilder {
    let of_vcluster = object(
        "Clients of one virtual cluster.",
        [
            needed("name", text("Its name.")),
            needed("connections", count("Authenticated connections now.")),
        ],
    );
    object(
        "Connections of this process.",
        [
            needed("clients", count("Of clients now.")),
            needed("toBrokers", count("To brokers now.")),
            needed("opened", count("Of clients that came.")),
            needed("closed", count("Of clients that went.")),
            needed(
                "vclusters",
                list("Those with most connections.", of_vcluster),
            ),
            needed(
                "others",
                count("Connections now of virtual clusters that are not named."),
            ),
        ],
    )
}

fn errors() -> ObjectBuilder {
    let of_kind = object(
        "Errors of one kind.",
        [
            needed("request", text("The request, as `PRODUCE`.")),
            needed("code", text("Kafka's error code; `<none>` for no answer.")),
            needed("origin", text("Who said so.")),
            needed("count", count("How many.")),
        ],
    );
    object(
        "What failed, by who said so.",
        [
            needed("broker", count("Errors of Kafka.")),
            needed("gateway", count("Errors of the gateway.")),
            needed("authorization", count("Denials of access control.")),
            needed("authentication", count("Failed logins.")),
            needed("most", list("The most frequent ones.", of_kind)),
        ],
    )
}

fn lag() -> ObjectBuilder {
    let of_group = object(
        "A group on a topic.",
        [
            needed("vcluster", text("Its virtual cluster.")),
            needed("group", text("The group.")),
            needed("topic", text("The topic.")),
            needed("records", count("Records it has not read.")),
            optional("seconds", amount("Age of the oldest of them.")),
        ],
    );
    object(
        "How far consumers are behind; left out if that is not known.",
        [
            needed("records", count("The greatest.")),
            optional("seconds", amount("The greatest.")),
            needed("groups", list("Those furthest behind.", of_group)),
        ],
    )
}
