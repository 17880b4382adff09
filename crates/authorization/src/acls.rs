//! DescribeAcls, CreateAcls, DeleteAcls (KIP-140): answered by the gateway, never forwarded.

use auth::acl::{
    Binding, Filter, Operation, PatternFilter, PatternType, Permission, ResourceType, VclusterAcls,
};
use bytes::Bytes;
use wire::api::{ApiKey, Direction};
use wire::error_code::{
    CLUSTER_AUTHORIZATION_FAILED, INVALID_REQUEST, POLICY_VIOLATION, SECURITY_DISABLED,
};

use crate::refusal::{refuse, refuse_decoded};
use crate::request::{Request, error_record};
use crate::ruling::{Error, Ruling};
use wire::tree::{self as message, Node, Record};

/// Bindings that one request makes or removes; the controller of Kafka takes no more, either.
const MAX_CHANGED: usize = 10_000;

/// Bindings of one virtual cluster beyond which clients make no more.
const MAX_BINDINGS: usize = 100_000;

/// Comparisons of a filter with a binding in one request.
const MAX_COMPARISONS: usize = 10_000_000;

/// A change of the access control lists that a client asks for and may ask for. Write [`AclRequest::change`], then send
/// [`AclRequest::answer`].
#[derive(Debug)]
pub struct AclRequest {
    version: i16,
    parts: Parts,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclChange {
    /// Bindings to be there, each valid; some may be there already.
    Add(Vec<Binding>),
    /// Bindings to be gone.
    Remove(Vec<Binding>),
}

#[derive(Debug)]
enum Parts {
    /// In the order of the request: a binding, or why it is refused.
    Create(Vec<Result<Binding, String>>),
    /// In the order of the request: what the filter selects, or why it is refused.
    Delete(Vec<Result<Vec<Binding>, String>>),
}

impl AclRequest {
    /// What is to be written. Never empty.
    pub fn change(&self) -> AclChange {
        match &self.parts {
            Parts::Create(parts) => AclChange::Add(parts.iter().flatten().cloned().collect()),
            Parts::Delete(parts) => {
                let mut bindings: Vec<Binding> =
                    parts.iter().flatten().flatten().cloned().collect();
                bindings.sort_unstable();
                bindings.dedup();
                AclChange::Remove(bindings)
            }
        }
    }

    /// The body of the answer after the change was written, or could not be: then with the error code and the text for the client.
    pub fn answer(&self, written: Result<(), (i16, &str)>) -> Bytes {
        let (api, array) = match self.parts {
            Parts::Create(_) => (ApiKey::CREATE_ACLS, "Results"),
            Parts::Delete(_) => (ApiKey::DELETE_ACLS, "FilterResults"),
        };
        let fields = message::message(api, Direction::Response);
        let element = message::element(fields, array);
        let result = |refused: Option<&String>| {
            let (code, text) = match (refused, written) {
                (Some(reason), _) => (INVALID_REQUEST, Some(reason.as_str())),
                (None, Err((code, text))) => (code, Some(text)),
                (None, Ok(())) => (0, None),
            };
            let mut told = error_record(element, code);
            told.set("ErrorMessage", text.map_or(Node::Null, Node::text));
            told
        };
        let told: Vec<Node<'static>> = match &self.parts {
            Parts::Create(parts) => parts
                .iter()
                .map(|part| Node::Record(result(part.as_ref().err())))
                .collect(),
            Parts::Delete(parts) => {
                let matching = message::element(element, "MatchingAcls");
                let told = parts.iter().map(|part| {
                    let mut told = result(part.as_ref().err());
                    if let (Ok(bindings), Ok(())) = (part, written) {
                        let list = bindings
                            .iter()
                            .map(|binding| Node::Record(deleted(matching, binding)));
                        told.set("MatchingAcls", Node::List(list.collect()));
                    }
                    Node::Record(told)
                });
                told.collect()
            }
        };
        let mut answer = Record::new(fields);
        answer.set(array, Node::List(told));
        message::encode(api, self.version, Direction::Response, &answer).into()
    }
}

/// DESCRIBE on the cluster to see the bindings, ALTER to change them.
pub(crate) fn judge(request: &Request<'_>) -> Result<Ruling, Error> {
    if !request.access.enabled() {
        return refuse(request, SECURITY_DISABLED);
    }
    let operation = match request.api {
        ApiKey::DESCRIBE_ACLS => Operation::Describe,
        _ => Operation::Alter,
    };
    let root = request.decode()?;
    if operation == Operation::Alter && request.access.is_declared() {
        return refuse_decoded(request, &root, CLUSTER_AUTHORIZATION_FAILED);
    }
    if !request.access.allowed_cluster(operation) {
        return refuse_decoded(request, &root, CLUSTER_AUTHORIZATION_FAILED);
    }
    let there = request
        .access
        .acls()
        .map_or(0, |acls| acls.bindings().len());
    let is_excessive = match request.api {
        ApiKey::CREATE_ACLS => {
            let asked = root.list("Creations").len();
            asked > MAX_CHANGED || there.saturating_add(asked) > MAX_BINDINGS
        }
        ApiKey::DELETE_ACLS => {
            let asked = root.list("Filters").len();
            asked > MAX_CHANGED || there.saturating_mul(asked) > MAX_COMPARISONS
        }
        _ => false,
    };
    if is_excessive {
        return refuse_decoded(request, &root, POLICY_VIOLATION);
    }
    let parts = match request.api {
        ApiKey::DESCRIBE_ACLS => return describe(request, &root),
        ApiKey::CREATE_ACLS => {
            let parts = root
                .records("Creations")
                .map(binding)
                .collect::<Result<_, _>>()?;
            Parts::Create(parts)
        }
        _ => {
            let selected = |asked: &Record<'_>| {
                let selected = filter(asked)?.map(|filter| match request.access.acls() {
                    Some(acls) => acls.select(&filter).cloned().collect(),
                    None => Vec::new(),
                });
                Ok::<_, Error>(selected)
            };
            let mut parts: Vec<Result<Vec<Binding>, String>> = Vec::new();
            let mut found = 0;
            for asked in root.records("Filters") {
                let part = selected(asked)?;
                found += part.as_ref().map_or(0, Vec::len);
                if found > MAX_CHANGED {
                    return refuse_decoded(request, &root, POLICY_VIOLATION);
                }
                parts.push(part);
            }
            Parts::Delete(parts)
        }
    };
    let request = AclRequest {
        version: request.version,
        parts,
    };
    Ok(match request.change() {
        AclChange::Add(bindings) | AclChange::Remove(bindings) if bindings.is_empty() => {
            Ruling::Answer(request.answer(Ok(())))
        }
        _ => Ruling::Acls(request),
    })
}

/// The answer where there are no access control lists; `None` for other APIs.
pub(crate) fn disabled(api: ApiKey, version: i16, body: &[u8]) -> Result<Option<Bytes>, Error> {
    if ![
        ApiKey::DESCRIBE_ACLS,
        ApiKey::CREATE_ACLS,
        ApiKey::DELETE_ACLS,
    ]
    .contains(&api)
    {
        return Ok(None);
    }
    let request = Request {
        api,
        version,
        body,
        access: &auth::acl::AclView::disabled(),
        topics: &(),
    };
    match refuse(&request, SECURITY_DISABLED)? {
        Ruling::Answer(body) => Ok(Some(body)),
        _ => Ok(None),
    }
}

fn describe(request: &Request<'_>, root: &Record<'_>) -> Result<Ruling, Error> {
    let filter = match filter(root)? {
        Ok(filter) => filter,
        Err(reason) => {
            let mut answer = error_record(request.answer().fields(), INVALID_REQUEST);
            answer.set("ErrorMessage", Node::text(&reason));
            return Ok(request.answered(&answer));
        }
    };
    let mut answer = request.answer();
    answer.set("ErrorMessage", Node::Null);
    if let Some(acls) = request.access.acls() {
        answer.set("Resources", resources(request, acls, &filter));
    }
    Ok(request.answered(&answer))
}

/// Selected bindings, put together by pattern: they come sorted by it.
fn resources(request: &Request<'_>, acls: &VclusterAcls, filter: &Filter) -> Node<'static> {
    let element = request.element("Resources");
    let entry = message::element(element, "Acls");
    let selected: Vec<&Binding> = acls.select(filter).collect();
    let same = |a: &&Binding, b: &&Binding| {
        (a.resource_type, a.pattern_type, &a.resource_name)
            == (b.resource_type, b.pattern_type, &b.resource_name)
    };
    let told = selected.chunk_by(same).filter_map(|bindings| {
        let first = bindings.first()?;
        let mut told = Record::new(element);
        told.set("ResourceType", Node::Int(first.resource_type.code().into()));
        told.set("ResourceName", Node::text(&first.resource_name));
        told.set("PatternType", Node::Int(first.pattern_type.code().into()));
        let entries = bindings.iter().map(|binding| {
            let mut told = Record::new(entry);
            tell_entry(&mut told, binding);
            Node::Record(told)
        });
        told.set("Acls", Node::List(entries.collect()));
        Some(Node::Record(told))
    });
    Node::List(told.collect())
}

fn deleted(element: &'static [wire::schema::FieldSpec], binding: &Binding) -> Record<'static> {
    let mut told = Record::new(element);
    told.set("ErrorMessage", Node::Null);
    told.set(
        "ResourceType",
        Node::Int(binding.resource_type.code().into()),
    );
    told.set("ResourceName", Node::text(&binding.resource_name));
    told.set("PatternType", Node::Int(binding.pattern_type.code().into()));
    tell_entry(&mut told, binding);
    told
}

fn tell_entry(told: &mut Record<'static>, binding: &Binding) {
    told.set("Principal", Node::text(&binding.principal));
    told.set("Host", Node::text(&binding.host));
    told.set("Operation", Node::Int(binding.operation.code().into()));
    told.set(
        "PermissionType",
        Node::Int(binding.permission.code().into()),
    );
}

/// A binding of a request, or why it is none.
fn binding(asked: &Record<'_>) -> Result<Result<Binding, String>, Error> {
    let text = |field: &str| {
        asked
            .get(field)
            .as_text()
            .map(|text| text.unwrap_or_default().into())
    };
    let (resource_name, principal, host) =
        (text("ResourceName")?, text("Principal")?, text("Host")?);
    let code = |field: &str| asked.int(field) as i8;
    let parsed = || {
        let binding = Binding {
            resource_type: ResourceType::from_code(code("ResourceType"))
                .ok_or("Unknown resource type")?,
            pattern_type: PatternType::from_code(code("ResourcePatternType"))
                .ok_or("The pattern type must be LITERAL or PREFIXED")?,
            resource_name,
            principal,
            host,
            operation: Operation::from_code(code("Operation")).ok_or("Unknown operation")?,
            permission: Permission::from_code(code("PermissionType"))
                .ok_or("The permission must be ALLOW or DENY")?,
        };
        match binding.validate() {
            Ok(()) => Ok(binding),
            Err(reason) => Err(reason.to_string()),
        }
    };
    Ok(parsed())
}

/// A filter of a request, or why it is none.
fn filter(asked: &Record<'_>) -> Result<Result<Filter, String>, Error> {
    const ANY: i8 = 1;
    let text = |field: &str| {
        asked
            .get(field)
            .as_text()
            .map(|text| text.map(str::to_owned))
    };
    let (resource_name, principal, host) = (
        text("ResourceNameFilter")?,
        text("PrincipalFilter")?,
        text("HostFilter")?,
    );
    let code = |field: &str| asked.int(field) as i8;
    fn any_or<T>(code: i8, from: fn(i8) -> Option<T>, what: &str) -> Result<Option<T>, String> {
        match code {
            ANY => Ok(None),
            code => from(code)
                .map(Some)
                .ok_or_else(|| format!("Unknown {what}")),
        }
    }
    let parsed = || {
        Ok(Filter {
            resource_type: any_or(
                code("ResourceTypeFilter"),
                ResourceType::from_code,
                "resource type",
            )?,
            pattern: PatternFilter::from_code(code("PatternTypeFilter"))
                .ok_or("Unknown pattern type")?,
            resource_name,
            principal,
            host,
            operation: any_or(code("Operation"), Operation::from_code, "operation")?,
            permission: any_or(code("PermissionType"), Permission::from_code, "permission")?,
        })
    };
    Ok(parsed())
}
