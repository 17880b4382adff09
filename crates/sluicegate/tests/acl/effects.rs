//! Changes of the lists act on what is open, and last.

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::fixtures::LEADER;
use crate::principals::{HIDDEN, ROOT, binding, code};
use crate::world::{Clients, READER, Way, World, any_binding};

const TOPIC_AUTHORIZATION_FAILED: i64 = 29;
const FETCH_SESSION_ID_NOT_FOUND: i64 = 70;

#[test]
fn a_revoked_right_ends_what_an_open_fetch_session_gives() -> Result<()> {
    let world = World::get()?;
    let mut root = world.changing.clients(ROOT);
    for version in [7, 12, 17] {
        let mut reader = world.changing.clients(READER);
        root.must(1, ApiKey::CREATE_ACLS, 3, &json!({ "Creations": [read()] }))?;
        let id = &world.state.ids[HIDDEN];
        let first = fetch(&mut reader, version, 0, 0, Some(id))?;
        let session = first["SessionId"].as_i64().unwrap_or(0);
        assert!(session != 0 && has_records(&first), "v{version}: {first}");
        let next = fetch(&mut reader, version, session, 1, None)?;
        assert!(has_records(&next), "v{version}: {next}");

        root.must(
            1,
            ApiKey::DELETE_ACLS,
            3,
            &json!({ "Filters": [of_reader()] }),
        )?;
        let after = fetch(&mut reader, version, session, 2, None)?;
        assert!(!has_records(&after), "v{version}: {after}");
        assert_eq!(after["ErrorCode"], FETCH_SESSION_ID_NOT_FOUND, "v{version}");
        let whole = fetch(&mut reader, version, 0, 0, Some(id))?;
        let code = &whole["Responses"][0]["Partitions"][0]["ErrorCode"];
        assert_eq!(*code, TOPIC_AUTHORIZATION_FAILED, "v{version}: {whole}");
    }
    Ok(())
}

#[test]
fn lists_survive_a_restart() -> Result<()> {
    let world = World::get()?;
    let options = world.another_gateway();
    let mut process = options.clone().start()?;
    let way = Way::through(&process, [ROOT, READER].map(str::to_owned))?;
    let id = &world.state.ids[HIDDEN];
    let code = |way: &Way| -> Result<Value> {
        let answer = fetch(&mut way.clients(READER), 12, 0, -1, Some(id))?;
        Ok(answer["Responses"][0]["Partitions"][0]["ErrorCode"].clone())
    };
    let all = |way: &Way| {
        way.clients(ROOT)
            .must(1, ApiKey::DESCRIBE_ACLS, 3, &any_binding())
    };
    assert_eq!(code(&way)?, TOPIC_AUTHORIZATION_FAILED);
    let write = binding(
        code::TOPIC,
        code::PREFIXED,
        "kept-",
        "User:somebody",
        "192.0.2.9",
        code::WRITE,
        code::DENY,
    );
    let made = json!({ "Creations": [read(), write] });
    way.clients(ROOT).must(1, ApiKey::CREATE_ACLS, 3, &made)?;
    assert_eq!(code(&way)?, 0);
    let before = all(&way)?;
    assert_eq!(crate::world::count(&before), 2, "{before}");

    process.stop()?;
    let mut process = options.clone().start()?;
    assert_eq!(all(&way)?, before);
    assert_eq!(code(&way)?, 0);
    let gone = json!({ "Filters": [of_reader()] });
    way.clients(ROOT).must(1, ApiKey::DELETE_ACLS, 3, &gone)?;

    process.stop()?;
    let _process = options.start()?;
    assert_eq!(crate::world::count(&all(&way)?), 1);
    assert_eq!(code(&way)?, TOPIC_AUTHORIZATION_FAILED);
    Ok(())
}

/// READ on [`HIDDEN`] for [`READER`].
fn read() -> Value {
    let user = format!("User:{READER}");
    binding(
        code::TOPIC,
        code::LITERAL,
        HIDDEN,
        &user,
        "*",
        code::READ,
        code::ALLOW,
    )
}

fn of_reader() -> Value {
    let mut filter = any_binding();
    filter["PrincipalFilter"] = format!("User:{READER}").into();
    filter
}

/// Fetches in a session; `id` if the request names [`HIDDEN`].
fn fetch(
    reader: &mut Clients<'_>,
    version: i16,
    session: i64,
    epoch: i64,
    id: Option<&String>,
) -> Result<Value> {
    let topic = |id| {
        json!({
            "Topic": HIDDEN,
            "TopicId": id,
            "Partitions": [{
                "Partition": 0,
                "CurrentLeaderEpoch": -1,
                "FetchOffset": 0,
                "LastFetchedEpoch": -1,
                "LogStartOffset": -1,
                "PartitionMaxBytes": 1 << 20,
            }],
        })
    };
    let topics: Vec<Value> = id.into_iter().map(topic).collect();
    let body = json!({
        "ReplicaId": -1,
        "MaxWaitMs": 0,
        "MinBytes": 0,
        "MaxBytes": 1 << 20,
        "SessionId": session,
        "SessionEpoch": epoch,
        "Topics": topics,
    });
    reader.ask(LEADER, ApiKey::FETCH, version, &body)
}

fn has_records(answer: &Value) -> bool {
    let topics = answer["Responses"].as_array().into_iter().flatten();
    topics
        .flat_map(|topic| topic["Partitions"].as_array().into_iter().flatten())
        .any(|partition| {
            partition["Records"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        })
}
