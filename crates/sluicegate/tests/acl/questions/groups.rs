//! Groups of all kinds and their offsets.

use serde_json::{Value, json};

use super::{Asking, Question, all_names, question};
use crate::fixtures::{LEADER, MEMBER, busy};
use crate::principals::{
    BARRED, GONE, HIDDEN, LITERAL, LOCAL, NAMES, PREFIXED, PREFIXED_GONE, PUBLIC, REMOTE, SEEN,
};

/// The same request for each group.
fn each(asking: &Asking<'_>, body: Value) -> Vec<Question> {
    let ask = |group: &str| {
        let mut body = body.clone();
        body["GroupId"] = group.into();
        question(asking.state.groups, format!("group {group}"), body)
    };
    all_names().into_iter().map(ask).collect()
}

pub(crate) fn offset_commit(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "Partitions": [
        { "PartitionIndex": 0, "CommittedOffset": 1, "CommittedMetadata": "" },
    ] });
    let topics = asking.topics_with_ids("Name", &all_names(), fields);
    let body = json!({
        "GenerationIdOrMemberEpoch": 3,
        "MemberId": "nobody",
        "Topics": topics,
    });
    let mut questions = each(asking, body);
    let nothing = json!({ "GenerationIdOrMemberEpoch": 3, "MemberId": "nobody" });
    questions.extend(each(asking, nothing));
    questions
}

pub(crate) fn offset_fetch(asking: &Asking<'_>) -> Vec<Question> {
    let some = asking.topics_with_ids("Name", &all_names(), json!({ "PartitionIndexes": [0, 4] }));
    let plain = asking.topics("Name", &all_names(), json!({ "PartitionIndexes": [0, 4] }));
    if asking.version < 8 {
        let mut questions = each(asking, json!({ "Topics": plain, "RequireStable": true }));
        if asking.version >= 2 {
            questions.extend(each(asking, json!({ "Topics": null })));
        }
        return questions;
    }
    let groups = |topics: Value| -> Vec<Value> {
        let group = |id: &&str| json!({ "GroupId": id, "MemberEpoch": -1, "Topics": topics });
        all_names().iter().map(group).collect()
    };
    let (some, all) = (groups(json!(some)), groups(Value::Null));
    let node = asking.state.groups;
    vec![
        question(
            node,
            "some topics",
            json!({ "Groups": some, "RequireStable": true }),
        ),
        question(node, "all topics", json!({ "Groups": all })),
        question(node, "both", json!({ "Groups": [all[0], some[1], all[7]] })),
    ]
}

pub(crate) fn offset_delete(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "Partitions": [{ "PartitionIndex": 7 }] });
    let topics = asking.topics("Name", &all_names(), fields);
    each(asking, json!({ "Topics": topics }))
}

pub(crate) fn find_coordinator(asking: &Asking<'_>) -> Vec<Question> {
    const KINDS: [i8; 3] = [0, 1, 9];
    const SHARE: i8 = 2;
    let kinds = KINDS
        .into_iter()
        .filter(|kind| asking.version >= 1 || *kind == 0);
    if asking.version < 4 {
        let ask = |kind: i8| {
            let key = move |name| {
                let body = json!({ "KeyType": kind, "Key": name });
                question(1, format!("kind {kind}, {name}"), body)
            };
            all_names().into_iter().map(key)
        };
        return kinds.flat_map(ask).collect();
    }
    let mut questions: Vec<Question> = kinds
        .map(|kind| {
            let body = json!({ "KeyType": kind, "CoordinatorKeys": all_names() });
            question(2, format!("kind {kind}"), body)
        })
        .collect();
    if asking.version >= 6 {
        // Group, topic id, partition.
        let key = format!("{LITERAL}:QkJCQkJCQkJCQkJCQkJCQg:0");
        let body = json!({ "KeyType": SHARE, "CoordinatorKeys": [key] });
        questions.push(question(3, "share", body));
    }
    questions
}

pub(crate) fn join(asking: &Asking<'_>) -> Vec<Question> {
    each(
        asking,
        json!({
            "SessionTimeoutMs": 30_000,
            "RebalanceTimeoutMs": 30_000,
            "MemberId": "nobody",
            "ProtocolType": "consumer",
            "Protocols": [{ "Name": "range", "Metadata": "00" }],
        }),
    )
}

pub(crate) fn sync(asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({
        "GenerationId": 3,
        "MemberId": "nobody",
        "ProtocolType": "consumer",
        "ProtocolName": "range",
    });
    each(asking, body)
}

pub(crate) fn heartbeat(asking: &Asking<'_>) -> Vec<Question> {
    each(asking, json!({ "GenerationId": 3, "MemberId": "nobody" }))
}

pub(crate) fn leave(asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({ "MemberId": "nobody", "Members": [{ "MemberId": "nobody" }] });
    each(asking, body)
}

pub(crate) fn list(asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({ "StatesFilter": [], "TypesFilter": [] });
    vec![question(asking.state.groups, "all", body)]
}

/// Groups that are there are not asked about: there would be one less the second time.
pub(crate) fn delete(asking: &Asking<'_>) -> Vec<Question> {
    let names = [PREFIXED, PUBLIC, BARRED, LOCAL, REMOTE, PREFIXED_GONE, GONE];
    let node = asking.state.groups;
    vec![question(node, "not there", json!({ "GroupsNames": names }))]
}

pub(crate) fn describe_classic(asking: &Asking<'_>) -> Vec<Question> {
    let body = |operations: bool| json!({ "Groups": all_names(), "IncludeAuthorizedOperations": operations });
    let node = asking.state.groups;
    vec![
        question(node, "with operations", body(true)),
        question(node, "without", body(false)),
    ]
}

pub(crate) fn describe(asking: &Asking<'_>) -> Vec<Question> {
    let mut ids: Vec<String> = all_names().into_iter().map(str::to_owned).collect();
    ids.extend(["consumer", "share", "streams"].map(busy));
    let body =
        |operations: bool| json!({ "GroupIds": ids, "IncludeAuthorizedOperations": operations });
    let node = asking.state.groups;
    vec![
        question(node, "with operations", body(true)),
        question(node, "without", body(false)),
    ]
}

/// Subscriptions: none, to what some may see, to what few may see.
const SUBSCRIPTIONS: [&[&str]; 4] = [&[], &[PREFIXED], &[LITERAL, HIDDEN], &[GONE]];

pub(crate) fn consumer_heartbeat(asking: &Asking<'_>) -> Vec<Question> {
    subscribed(asking)
}

pub(crate) fn share_heartbeat(asking: &Asking<'_>) -> Vec<Question> {
    subscribed(asking)
}

fn subscribed(asking: &Asking<'_>) -> Vec<Question> {
    let mut questions = Vec::new();
    for topics in SUBSCRIPTIONS {
        let body = json!({
            "MemberId": MEMBER,
            "MemberEpoch": 5,
            "SubscribedTopicNames": topics,
        });
        let mut each = each(asking, body);
        // For the groups of a kind that there are none of yet.
        each.retain(|question| question.body["GroupId"] != LITERAL);
        for question in &mut each {
            question.what = format!("{}, topics {topics:?}", question.what);
        }
        questions.extend(each);
    }
    questions
}

pub(crate) fn streams_heartbeat(asking: &Asking<'_>) -> Vec<Question> {
    let named = |name: &str| json!([{ "Name": name, "Partitions": 1 }]);
    let topologies = [
        ("allowed", json!({ "SourceTopics": [PREFIXED] })),
        ("denied", json!({ "SourceTopics": [PREFIXED, HIDDEN] })),
        (
            "allowed sink",
            json!({ "SourceTopics": [PREFIXED], "RepartitionSinkTopics": [LITERAL] }),
        ),
        (
            "denied sink",
            json!({ "SourceTopics": [PREFIXED], "RepartitionSinkTopics": [HIDDEN] }),
        ),
        (
            "allowed changelog",
            json!({ "SourceTopics": [PREFIXED], "StateChangelogTopics": named(PREFIXED_GONE) }),
        ),
        (
            "visible changelog",
            json!({ "SourceTopics": [PREFIXED], "StateChangelogTopics": named(SEEN) }),
        ),
        (
            "denied changelog",
            json!({ "SourceTopics": [PREFIXED], "StateChangelogTopics": named(GONE) }),
        ),
        (
            "denied repartition",
            json!({ "SourceTopics": [PREFIXED], "RepartitionSourceTopics": named(SEEN) }),
        ),
    ];
    let mut questions = Vec::new();
    for (what, mut subtopology) in topologies {
        subtopology["SubtopologyId"] = "0".into();
        let body = json!({
            "MemberId": MEMBER,
            "MemberEpoch": 0,
            "RebalanceTimeoutMs": 30_000,
            "Topology": { "Epoch": 0, "Subtopologies": [subtopology] },
            "ActiveTasks": [],
            "StandbyTasks": [],
            "WarmupTasks": [],
            "ProcessId": "process",
        });
        // A classic group is no streams group; so nobody comes to be a member.
        for group in [LITERAL, SEEN, HIDDEN] {
            let mut body = body.clone();
            body["GroupId"] = group.into();
            questions.push(question(
                asking.state.groups,
                format!("group {group}, {what}"),
                body,
            ));
        }
    }
    for group in NAMES.into_iter().chain([GONE]) {
        let body = json!({ "GroupId": group, "MemberId": MEMBER, "MemberEpoch": 5 });
        questions.push(question(
            asking.state.groups,
            format!("group {group}"),
            body,
        ));
    }
    questions
}

/// Sessions that do not exist: only the group is looked at. New ones: the topics too.
pub(crate) fn share_fetch(asking: &Asking<'_>) -> Vec<Question> {
    share_session(
        asking,
        json!({
            "MaxWaitMs": 0,
            "MinBytes": 0,
            "MaxBytes": 1 << 20,
            "MaxRecords": 10,
            "BatchSize": 10,
        }),
    )
}

pub(crate) fn share_acknowledge(asking: &Asking<'_>) -> Vec<Question> {
    share_session(asking, json!({}))
}

fn share_session(asking: &Asking<'_>, mut body: Value) -> Vec<Question> {
    let names = [LITERAL, PREFIXED, PUBLIC, BARRED, SEEN, HIDDEN, GONE];
    let fields = json!({ "Partitions": [{ "PartitionIndex": 0 }] });
    let mut topics = asking.topics_with_ids("TopicId", &names, fields);
    for (topic, name) in topics.iter_mut().zip(names) {
        topic["TopicId"] = asking.id(name);
    }
    body["MemberId"] = MEMBER.into();
    body["Topics"] = topics.into();
    let mut questions = Vec::new();
    for group in all_names() {
        body["GroupId"] = group.into();
        body["ShareSessionEpoch"] = 5.into();
        questions.push(question(
            LEADER,
            format!("group {group}, no session"),
            body.clone(),
        ));
    }
    questions
}

fn share_groups(topics: Value) -> Vec<Value> {
    let group = |id: String| json!({ "GroupId": id, "Topics": topics });
    let names = all_names().into_iter().map(str::to_owned);
    names.chain([busy("share")]).map(group).collect()
}

pub(crate) fn describe_share_offsets(asking: &Asking<'_>) -> Vec<Question> {
    let some = asking.topics("TopicName", &all_names(), json!({ "Partitions": [0] }));
    let node = asking.state.groups;
    vec![
        question(node, "some", json!({ "Groups": share_groups(json!(some)) })),
        question(node, "all", json!({ "Groups": share_groups(Value::Null) })),
    ]
}

pub(crate) fn alter_share_offsets(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "Partitions": [{ "PartitionIndex": 0, "StartOffset": 1 }] });
    share_changes(asking, fields)
}

pub(crate) fn delete_share_offsets(asking: &Asking<'_>) -> Vec<Question> {
    share_changes(asking, json!({}))
}

/// The group that has a member, and classic ones.
fn share_changes(asking: &Asking<'_>, fields: Value) -> Vec<Question> {
    let topics = asking.topics("TopicName", &all_names(), fields);
    [LITERAL, SEEN, HIDDEN, &busy("share")]
        .into_iter()
        .map(|group| {
            let body = json!({ "GroupId": group, "Topics": topics });
            question(asking.state.groups, format!("group {group}"), body)
        })
        .collect()
}
