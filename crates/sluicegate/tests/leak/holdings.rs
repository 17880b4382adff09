//! What Kafka says about everybody but the attacker.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::fixtures::LEADER;
use crate::line::Client;
use crate::names::{CLASSIC, CONSUMER, GROUPS, Owner, SHARE, STREAMS, TOPIC, TRANSACTION};
use crate::world::World;

/// Answers by what was asked.
pub(crate) type Holdings = BTreeMap<String, Value>;

/// Asks Kafka.
pub(crate) fn read(world: &World) -> Result<Holdings> {
    let mut reader = Reader {
        world,
        direct: world.direct(),
        holdings: Holdings::new(),
    };
    reader.lists()?;
    reader.brokers()?;
    for owner in world.names.others() {
        for word in owner.words() {
            reader.topic(&owner.physical(word, TOPIC))?;
            reader.groups(owner, word)?;
            let id = json!([owner.physical(word, TRANSACTION)]);
            let node = world.coordinators.transactions;
            let body = json!({ "TransactionalIds": id });
            reader.note(node, ApiKey::DESCRIBE_TRANSACTIONS, 0, &body)?;
        }
    }
    reader.victims_lists()?;
    Ok(reader.holdings)
}

/// What has changed, for people; empty if nothing has.
pub(crate) fn differences(before: &Holdings, after: &Holdings) -> Vec<String> {
    let keys = before
        .keys()
        .chain(after.keys().filter(|key| !before.contains_key(*key)));
    keys.filter(|key| before.get(*key) != after.get(*key))
        .map(|key| {
            let said = |holdings: &Holdings| {
                holdings
                    .get(key)
                    .map_or("nothing".to_owned(), Value::to_string)
            };
            format!(
                "{key}\n    before {}\n    after  {}",
                said(before),
                said(after)
            )
        })
        .collect()
}

struct Reader<'w> {
    world: &'w World,
    direct: Client,
    holdings: Holdings,
}

impl Reader<'_> {
    /// Asks, and keeps the answer.
    fn note(&mut self, node: i32, api: ApiKey, version: i16, body: &Value) -> Result<()> {
        let mut answer = self.direct.once(node, api, version, body)?;
        normalise(&mut answer);
        self.holdings
            .insert(format!("{api} of broker {node}: {body}"), answer);
        Ok(())
    }

    /// All topics, groups and transactional ids that are neither the attacker's nor the gateway's.
    fn lists(&mut self) -> Result<()> {
        let all = json!({ "Topics": null, "AllowAutoTopicCreation": false });
        self.list(LEADER, ApiKey::METADATA, 12, &all, "Topics", "Name")?;
        for node in 1..=3 {
            self.list(
                node,
                ApiKey::LIST_GROUPS,
                5,
                &json!({}),
                "Groups",
                "GroupId",
            )?;
            let (list, name) = ("TransactionStates", "TransactionalId");
            self.list(node, ApiKey::LIST_TRANSACTIONS, 1, &json!({}), list, name)?;
        }
        Ok(())
    }

    fn list(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: &Value,
        list: &str,
        name: &str,
    ) -> Result<()> {
        let mut answer = self.direct.once(node, api, version, body)?;
        normalise(&mut answer);
        let names = &self.world.names;
        let elements = answer[list].as_array().into_iter().flatten();
        let others: BTreeMap<String, Value> = elements
            .filter_map(|element| Some((element[name].as_str()?.to_owned(), element.clone())))
            .filter(|(name, _)| !names.is_attackers(name) && !name.contains(&names.gateway))
            .collect();
        self.holdings
            .insert(format!("{api} of broker {node}"), json!(others));
        Ok(())
    }

    /// What belongs to the cluster as a whole.
    fn brokers(&mut self) -> Result<()> {
        for name in ["", "1", "2", "3"] {
            let resources = json!([{ "ResourceType": 4, "ResourceName": name }]);
            let node = name.parse().unwrap_or(LEADER);
            self.note(
                node,
                ApiKey::DESCRIBE_CONFIGS,
                4,
                &json!({ "Resources": resources }),
            )?;
        }
        for (api, version, body) in [
            (
                ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS,
                0,
                json!({ "Users": null }),
            ),
            (
                ApiKey::DESCRIBE_CLIENT_QUOTAS,
                1,
                json!({ "Components": [] }),
            ),
            (
                ApiKey::LIST_PARTITION_REASSIGNMENTS,
                0,
                json!({ "TimeoutMs": 30_000, "Topics": null }),
            ),
            (
                ApiKey::LIST_CONFIG_RESOURCES,
                1,
                json!({ "ResourceTypes": [16] }),
            ),
        ] {
            self.note(LEADER, api, version, &body)?;
        }
        Ok(())
    }

    fn topic(&mut self, name: &str) -> Result<()> {
        let resources = json!([{ "ResourceType": 2, "ResourceName": name }]);
        self.note(
            LEADER,
            ApiKey::DESCRIBE_CONFIGS,
            4,
            &json!({ "Resources": resources }),
        )?;
        for timestamp in [-1, -2] {
            let partitions: Vec<Value> = (0..2)
                .map(|index| json!({ "PartitionIndex": index, "Timestamp": timestamp }))
                .collect();
            let body = json!({
                "ReplicaId": -1, "Topics": [{ "Name": name, "Partitions": partitions }],
            });
            self.note(LEADER, ApiKey::LIST_OFFSETS, 7, &body)?;
        }
        let body = json!({ "Topics": [{ "Name": name, "PartitionIndexes": [0, 1] }] });
        self.note(LEADER, ApiKey::DESCRIBE_PRODUCERS, 0, &body)
    }

    fn groups(&mut self, owner: &Owner, word: &str) -> Result<()> {
        let node = self.world.coordinators.groups;
        for kind in GROUPS {
            let group = owner.physical(word, kind);
            let body = json!({ "Groups": [{ "GroupId": group, "Topics": null }] });
            self.note(node, ApiKey::OFFSET_FETCH, 8, &body)?;
            let resources = json!([{ "ResourceType": 32, "ResourceName": group }]);
            self.note(
                node,
                ApiKey::DESCRIBE_CONFIGS,
                4,
                &json!({ "Resources": resources }),
            )?;
        }
        for (kind, api, version) in [
            (CLASSIC, ApiKey::DESCRIBE_GROUPS, 5),
            (CONSUMER, ApiKey::CONSUMER_GROUP_DESCRIBE, 1),
            (SHARE, ApiKey::SHARE_GROUP_DESCRIBE, 1),
            (STREAMS, ApiKey::STREAMS_GROUP_DESCRIBE, 0),
        ] {
            let field = if kind == CLASSIC {
                "Groups"
            } else {
                "GroupIds"
            };
            let mut body = json!({});
            body[field] = json!([owner.physical(word, kind)]);
            self.note(node, api, version, &body)?;
        }
        let body =
            json!({ "Groups": [{ "GroupId": owner.physical(word, SHARE), "Topics": null }] });
        self.note(node, ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS, 0, &body)
    }

    /// Access control lists of the victim, which the gateway keeps.
    fn victims_lists(&mut self) -> Result<()> {
        let any = json!({
            "ResourceTypeFilter": 1,
            "ResourceNameFilter": null,
            "PatternTypeFilter": 1,
            "PrincipalFilter": null,
            "HostFilter": null,
            "Operation": 1,
            "PermissionType": 1,
        });
        let mut answer = self
            .world
            .victim()
            .once(LEADER, ApiKey::DESCRIBE_ACLS, 3, &any)?;
        normalise(&mut answer);
        self.holdings
            .insert("access control lists of the victim".to_owned(), answer);
        Ok(())
    }
}

/// Takes out what changes by itself, and the order of what has none.
fn normalise(value: &mut Value) {
    /// Replicas in sync, clocks.
    const BY_THEMSELVES: [&str; 5] = [
        "ThrottleTimeMs",
        "IsrNodes",
        "ControllerId",
        "TransactionStartTimeMs",
        "LeaderEpoch",
    ];
    match value {
        Value::Object(object) => {
            for name in BY_THEMSELVES {
                object.remove(name);
            }
            object.values_mut().for_each(normalise);
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(normalise);
            elements.sort_by_key(Value::to_string);
        }
        _ => {}
    }
}
