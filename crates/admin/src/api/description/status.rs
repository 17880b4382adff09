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
    let call = OperationBuilder::new()
        .operation_id(Some("status-history"))
        .tag("Status")
        .summary(Some("Tell what charts of the last five minutes show"))
        .description(Some(
            "A point every five seconds since the start, oldest first, 60 of them at most. Numbers of events count from the start of the process.",
        ))
        .response("200", found(list("Moments.", point())));
    paths.add_path_operation(
        format!("{ROOT}/status/history"),
        vec![HttpMethod::Get],
        finished(call),
    );
}

fn point() -> ObjectBuilder {
    let pair = |meaning: &str| list(meaning, amount("A number."));
    object(
        "One moment.",
        [
            needed("time", amount("Seconds since 1970.")),
            needed("bytes", pair("Bytes from clients, and to clients.")),
            needed(
                "gateway",
                pair("Requests, and seconds that the gateway has added to them."),
            ),
            needed(
                "kafka",
                pair("Requests, and seconds that brokers have taken."),
            ),
            needed(
                "connections",
                pair("Connections now: of clients, and to brokers."),
            ),
            needed("errors", pair("Errors of the gateway, and of Kafka.")),
            optional("lag", amount("The greatest consumer lag, in records.")),
        ],
    )
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
            needed(
                "recentSeconds",
                amount("How long `recent`, `topics` and `users` look back: about a minute."),
            ),
            needed("topics", list("Those with most bytes lately.", topic())),
            needed("users", list("Those with most requests lately.", user())),
            optional("lag", lag()),
        ],
    )
}

fn topic() -> ObjectBuilder {
    object(
        "A topic.",
        [
            needed("topic", text("Its name there.")),
            needed("vcluster", text("Its virtual cluster.")),
            needed("bytesFromClients", count("Bytes of records, lately.")),
            needed("bytesToClients", count("Bytes of records, lately.")),
        ],
    )
}

fn user() -> ObjectBuilder {
    object(
        "A user.",
        [
            needed("user", text("Its name.")),
            needed("vcluster", text("Its virtual cluster.")),
            needed("requests", count("Requests lately.")),
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
            optional("name", text("What Kafka calls that code.")),
            needed("origin", text("Who said so.")),
            needed("count", count("How many.")),
            needed("recent", count("How many lately.")),
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
