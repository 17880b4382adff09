//! The description of the API in the terms of OpenAPI 3.1.
//!
//! The public command line makes its commands from it: it finds kinds by tags of the form
//! `cli_<kind>_gateway_v2_<order>`, wants to know of every parameter whether it is required, and takes parameters of one
//! plain type only. The tests below hold the document to that.

mod kinds;
mod schema;
mod status;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{
    Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::ComponentsBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    HttpMethod, OpenApi, OpenApiBuilder, Paths, Required, Response as Described, ResponseBuilder,
};

use kinds::{Identity, KindDoc};
use schema::{
    Member, Shape, any_object, count, flag, int32, list, named, needed, object, optional, text,
    word,
};

const ROOT: &str = "/gateway/v2";
const JSON: &str = "application/json";
const ERROR: &str = "Error";
const LOGIN: &str = "basic";

/// The document, ready to be answered.
pub(super) fn document() -> Option<Bytes> {
    serde_json::to_vec(&describe()).ok().map(Bytes::from)
}

/// The description of the management API: OpenAPI 3.1 in JSON, as a gateway of this version answers `GET /gateway/v2/docs`.
/// `None` if it cannot be written, which is a defect.
pub fn description() -> Option<String> {
    serde_json::to_string(&describe()).ok()
}

/// `GET /gateway/v2/docs`.
pub(super) fn answer(document: Bytes) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, JSON)], document).into_response()
}

fn describe() -> OpenApi {
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new()
        .schema(ERROR, error())
        .security_scheme(
            LOGIN,
            SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)),
        );
    for kind in kinds::all() {
        add(&mut paths, &kind);
        components = components.schema(kind.kind, resource(kind));
    }
    concentrated_topics(&mut paths);
    token(&mut paths);
    resolve(&mut paths);
    dry_run(&mut paths);
    plugins(&mut paths);
    lived(&mut paths);
    status::describe(&mut paths);
    itself(&mut paths);
    let licence = LicenseBuilder::new()
        .name(env!("CARGO_PKG_LICENSE"))
        .identifier(Some(env!("CARGO_PKG_LICENSE")));
    let info = InfoBuilder::new()
        .title("Sluicegate management API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Virtual clusters, alias topics, service accounts, groups and interceptors of a Kafka gateway. Every call needs \
             the credentials of a user of the API; users who are no admins may only read.",
        ))
        .license(Some(licence.build()));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new(LOGIN, NO_SCOPES)]))
        .build()
}

const NO_SCOPES: [&str; 0] = [];

/// The calls of one kind.
fn add(paths: &mut Paths, kind: &KindDoc) {
    let path = format!("{ROOT}/{}", kind.path);
    let by_name = format!("{path}/{{name}}");
    let name = kind.kind;
    let filters = kind
        .filters
        .iter()
        .map(|(name, is_flag, meaning)| query(name, *is_flag, meaning));
    let all = operation(kind, "list", format!("List {name} resources"))
        .description(Some(kind.about))
        .parameters(Some(filters))
        .response("200", found(list("All that match.", named(name))))
        .response("400", refused("A parameter is not valid."));
    let all = match kind.filters.iter().any(|(name, ..)| *name == "vcluster")
        && kind.identity == Identity::NameAndVcluster
    {
        true => all.response("404", refused("The virtual cluster does not exist.")),
        false => all,
    };
    paths.add_path_operation(&path, vec![HttpMethod::Get], finished(all));

    let dry_run = query(
        "dryMode",
        true,
        "Whether to check everything and store nothing.",
    );
    let tag = format!("cli_{}_gateway_v2_{}", kind.tag, kind.order);
    let upsert = object(
        "What is stored now, and what was done.",
        [
            needed("resource", named(name)),
            needed(
                "upsertResult",
                word("What was done.", ["Created", "Updated", "NotChanged"]),
            ),
        ],
    );
    let put = operation(kind, "put", format!("Create or replace a {name}"))
        .tag(tag)
        .parameter(dry_run)
        .request_body(Some(body(named(name), true, Some(kind.example.clone()))))
        .response("200", found(upsert))
        .response(
            "400",
            refused("The resource is not valid, or not available with these settings."),
        )
        .response("404", refused("Something it refers to does not exist."))
        .response("409", refused("It contradicts what is stored."));
    paths.add_path_operation(&path, vec![HttpMethod::Put], finished(put));

    let delete = operation(kind, "delete", format!("Delete a {name}"))
        .response("204", Described::new("It is deleted."))
        .response("400", refused("The call is not valid."))
        .response("404", refused("There is none."))
        .response("409", refused("Something refers to it."));
    match kind.identity {
        Identity::Name => {
            let one = operation(kind, "get", format!("Read a {name}"))
                .parameter(path_name())
                .parameters(Some(
                    kind.filters
                        .iter()
                        .map(|(name, is_flag, meaning)| query(name, *is_flag, meaning)),
                ))
                .response("200", found(named(name)))
                .response("400", refused("A parameter is not valid."))
                .response("404", refused("There is none."));
            paths.add_path_operation(&by_name, vec![HttpMethod::Get], finished(one));
            let delete = delete.parameter(path_name());
            paths.add_path_operation(&by_name, vec![HttpMethod::Delete], finished(delete));
        }
        Identity::NameAndVcluster => {
            let which = object(
                "Which one.",
                [
                    needed("name", text("Its name.")),
                    optional(
                        "vCluster",
                        text("Its virtual cluster; `passthrough` if it is left out."),
                    ),
                ],
            );
            let delete = delete.request_body(Some(body(which, true, None)));
            paths.add_path_operation(&path, vec![HttpMethod::Delete], finished(delete));
        }
        Identity::NameAndScope => {
            let delete =
                delete
                    .parameter(path_name())
                    .request_body(Some(body(kinds::scope(), false, None)));
            paths.add_path_operation(&by_name, vec![HttpMethod::Delete], finished(delete));
        }
    }
}

fn resource(kind: KindDoc) -> Shape {
    let members: [Member; 4] = [
        needed("kind", word("What it is.", [kind.kind])),
        needed(
            "apiVersion",
            word("The version of its form.", ["gateway/v2"]),
        ),
        needed("metadata", kind.metadata),
        needed("spec", kind.spec),
    ];
    object(kind.about, members).into()
}

fn concentrated_topics(paths: &mut Paths) {
    let topic = object(
        "A topic that shares a physical topic with others.",
        [
            needed("kind", text("ConcentratedTopic.")),
            needed("apiVersion", text("gateway/v2.")),
            needed("metadata", any_object("Its name and its virtual cluster.")),
            needed("spec", any_object("The physical topic.")),
        ],
    );
    let all = OperationBuilder::new()
        .operation_id(Some("concentrated-topic-list"))
        .tag("ConcentratedTopic")
        .summary(Some("List ConcentratedTopic resources"))
        .parameter(query(
            "vcluster",
            false,
            "Only those of this virtual cluster.",
        ))
        .parameter(query("name", false, "Only those of this name."))
        .parameter(query(
            "showDefaults",
            true,
            "Whether members are shown that have their default.",
        ))
        .response("200", found(list("All that match.", topic)))
        .response("400", refused("A parameter is not valid."))
        .response("404", refused("The virtual cluster does not exist."));
    let path = format!("{ROOT}/concentrated-topic");
    paths.add_path_operation(path, vec![HttpMethod::Get], finished(all));
}

fn token(paths: &mut Paths) {
    let wanted = object(
        "Whose token, and for how long.",
        [
            optional(
                "vCluster",
                text("The virtual cluster; `passthrough` if it is left out."),
            ),
            needed("username", text("The name of a LOCAL service account.")),
            needed("lifeTimeSeconds", int32("How long it is good.", 1)),
        ],
    );
    let given = object(
        "A token.",
        [needed("token", text("The password of the account."))],
    );
    let example = json!({"vCluster": "billing", "username": "invoicer", "lifeTimeSeconds": 3600});
    let extensions = [
        ("x-cdk-run-version", "1"),
        ("x-cdk-run-name", "generateServiceAccountToken"),
        (
            "x-cdk-run-doc",
            "Print a token, the password of a local service account of the gateway",
        ),
    ];
    let call = OperationBuilder::new()
        .operation_id(Some("token"))
        .tag("Token")
        .summary(Some("Make a password for a local service account"))
        .request_body(Some(body(wanted, true, Some(example))))
        .response("200", found(given))
        .response("400", refused("The request is not valid."))
        .response("404", refused("There is no such account."))
        .response(
            "409",
            refused("The account is EXTERNAL, or tokens cannot be used with these settings."),
        )
        .extensions(Some(extensions.into_iter().collect::<Extensions>()));
    paths.add_path_operation(
        format!("{ROOT}/token"),
        vec![HttpMethod::Post],
        finished(call),
    );
}

fn resolve(paths: &mut Paths) {
    let wanted = object(
        "Who it is about. Nothing of it has to exist.",
        [
            optional(
                "vCluster",
                text("A virtual cluster; `passthrough` if it is left out."),
            ),
            optional("groups", list("Groups.", text("A name."))),
            optional("username", text("A user.")),
        ],
    );
    let call = OperationBuilder::new()
        .operation_id(Some("interceptor-resolve"))
        .tag("Interceptor")
        .summary(Some(
            "List the interceptors that apply to somebody, in the order in which they run",
        ))
        .request_body(Some(body(
            wanted,
            true,
            Some(json!({"vCluster": "billing", "username": "invoicer"})),
        )))
        .response(
            "200",
            found(list("Those that apply.", named("Interceptor"))),
        )
        .response("400", refused("The request is not valid."));
    paths.add_path_operation(
        format!("{ROOT}/interceptor/resolve"),
        vec![HttpMethod::Post],
        finished(call),
    );
}

fn dry_run(paths: &mut Paths) {
    let wanted = object(
        "Resources in the order in which they would be put.",
        [needed(
            "resources",
            list(
                "At most 1,000 of any kinds.",
                any_object("A resource as PUT takes it."),
            ),
        )],
    );
    let result = object(
        "What a PUT would answer: `resource` and `upsertResult`, or `status` and `error`.",
        [
            optional("resource", any_object("The resource.")),
            optional(
                "upsertResult",
                word("What would be done.", ["Created", "Updated", "NotChanged"]),
            ),
            optional("status", count("The HTTP status of a refusal.")),
            optional("error", named(ERROR)),
        ],
    );
    let results = object(
        "What would come of it.",
        [needed(
            "results",
            list("One for each resource, in the same order.", result),
        )],
    );
    let call = OperationBuilder::new()
        .operation_id(Some("dry-run"))
        .tag("Dry run")
        .summary(Some(
            "Check resources that depend on each other: each as if those before it had been stored. Stores nothing",
        ))
        .request_body(Some(body(wanted, true, None)))
        .response("200", found(results))
        .response("400", refused("The request is not valid."));
    paths.add_path_operation(
        format!("{ROOT}/dry-run"),
        vec![HttpMethod::Post],
        finished(call),
    );
}

fn plugins(paths: &mut Paths) {
    let plugin = object(
        "A plugin.",
        [
            needed("plugin", text("The same as `pluginId`.")),
            needed(
                "pluginId",
                text("What `pluginClass` of an interceptor can be."),
            ),
            needed(
                "readme",
                text("What it does, and the members of its configuration; Markdown."),
            ),
            optional("title", text("A few words.")),
            optional("description", text("A sentence or two.")),
            optional("license", text("Its licence.")),
            optional("version", text("Its version.")),
        ],
    );
    let call = OperationBuilder::new()
        .operation_id(Some("plugin-list"))
        .tag("Plugin")
        .summary(Some("List the plugins that interceptors can be made of"))
        .response("200", found(list("All of them.", plugin)));
    paths.add_path_operation(
        format!("{ROOT}/plugin"),
        vec![HttpMethod::Get],
        finished(call),
    );
}

fn lived(paths: &mut Paths) {
    let of_class = object(
        "Interceptors of one plugin.",
        [
            needed("className", text("The plugin.")),
            needed("instanceCount", count("How many.")),
            needed("topicsCovered", count("How many topics they work on.")),
        ],
    );
    let totals = [
        "totalInterceptorTypes",
        "totalInterceptorInstances",
        "uniqueTopicsCovered",
        "totalGatewayServiceAccounts",
        "totalGatewayGroups",
        "totalAliasTopics",
        "totalConcentratedTopics",
        "totalVirtualClusters",
    ];
    let totals = totals.map(|name| needed(name, count("How many there are.")));
    let others = [
        needed("interceptors", list("By plugin.", of_class)),
        optional("os", text("The operating system.")),
        optional("gatewayVersion", text("The version of the gateway.")),
        optional("gatewayCommit", text("The commit that it was built of.")),
        optional(
            "deploymentMethod",
            text("How it was deployed, as `DEPLOYED_BY` says."),
        ),
        optional(
            "gatewaySecurityProtocol",
            text("Security protocols of the listeners."),
        ),
        optional(
            "gatewaySaslMechanism",
            text("SASL mechanisms that clients are offered."),
        ),
        optional(
            "kafkaSecurityProtocol",
            text("Security protocol towards Kafka."),
        ),
        optional("kafkaSaslMechanism", text("SASL mechanism towards Kafka.")),
    ];
    let counters = object(
        "Counters; nothing of it leaves the machine.",
        others.into_iter().chain(totals),
    );
    let call = OperationBuilder::new()
        .operation_id(Some("analytics-lived"))
        .tag("Analytics")
        .summary(Some("Count what is configured"))
        .response("200", found(counters));
    paths.add_path_operation(
        format!("{ROOT}/analytics/lived"),
        vec![HttpMethod::Get],
        finished(call),
    );
}

fn itself(paths: &mut Paths) {
    let call = OperationBuilder::new()
        .operation_id(Some("docs"))
        .tag("Docs")
        .summary(Some("This description"))
        .response("200", found(any_object("An OpenAPI document.")));
    paths.add_path_operation(
        format!("{ROOT}/docs"),
        vec![HttpMethod::Get],
        finished(call),
    );
}

fn error() -> Shape {
    object(
        "Why a call was refused.",
        [
            needed("title", text("What kind of error it is; stable.")),
            needed("msg", text("What is wrong, for a person.")),
            optional("cause", text("More about it; makes sense alone.")),
        ],
    )
    .into()
}

fn operation(kind: &KindDoc, action: &str, summary: String) -> OperationBuilder {
    OperationBuilder::new()
        .operation_id(Some(format!("{}-{action}", kind.path)))
        .tag(kind.kind)
        .summary(Some(summary))
}

/// With what every call can be answered.
fn finished(operation: OperationBuilder) -> Operation {
    operation
        .response("401", refused("No credentials, or wrong ones."))
        .response("429", refused("Too many attempts after wrong credentials."))
        .response("403", refused("The user may only read."))
        .response(
            "500",
            refused("It failed; the store cannot be written, perhaps."),
        )
        .response("503", refused("The gateway is starting."))
        .build()
}

fn query(name: &str, is_flag: bool, meaning: &str) -> Parameter {
    let shape: Shape = match is_flag {
        true => flag("True or false.").into(),
        false => text("A name.").into(),
    };
    parameter(name, ParameterIn::Query, Required::False, meaning, shape)
}

fn path_name() -> Parameter {
    let shape: Shape = text("A name.").into();
    parameter(
        "name",
        ParameterIn::Path,
        Required::True,
        "Its name.",
        shape,
    )
}

fn parameter(
    name: &str,
    place: ParameterIn,
    required: Required,
    meaning: &str,
    shape: Shape,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(meaning))
        .schema(Some(shape))
        .build()
}

fn body(shape: impl Into<Shape>, required: bool, example: Option<Value>) -> RequestBody {
    let content = ContentBuilder::new()
        .schema(Some(shape.into()))
        .example(example)
        .build();
    let required = match required {
        true => Required::True,
        false => Required::False,
    };
    RequestBodyBuilder::new()
        .content(JSON, content)
        .required(Some(required))
        .build()
}

fn found(shape: impl Into<Shape>) -> Described {
    let content = ContentBuilder::new().schema(Some(shape.into())).build();
    ResponseBuilder::new()
        .description("Done.")
        .content(JSON, content)
        .build()
}

fn refused(when: &str) -> Described {
    let content = ContentBuilder::new().schema(Some(named(ERROR))).build();
    ResponseBuilder::new()
        .description(when)
        .content(JSON, content)
        .build()
}
