//! What brokers say when a policy of theirs refuses something: it may hold any name.

use std::sync::PoisonError;

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::ask::{self, code};
use crate::island::Island;
use crate::way::error_codes;
use crate::world::fresh_name;

const UNKNOWN_SERVER_ERROR: i64 = -1;

#[test]
fn refusals_of_policies_hold_logical_names_only() -> Result<()> {
    let island = Island::get()?;
    let _there = island.there.read().unwrap_or_else(PoisonError::into_inner);
    let own = island.front.tenant(&fresh_name("policed"), json!({}))?;
    let other = island.front.tenant(&fresh_name("policing"), json!({}))?;
    // The policy has seen a topic of somebody else, of nobody, and none of ours yet.
    ask::topic(&mut other.root()?, "secret", 1)?;
    let common = fresh_name("common");
    ask::topic(&mut island.brokers(), &common, 1)?;
    let mut root = own.root()?;
    let hidden = |answer: &Value| {
        let answer = answer.to_string();
        for word in [&own.name, &other.name, &common, "_conduktor", "secret"] {
            assert!(!answer.contains(word), "{word}: {answer}");
        }
    };

    for (name, expected, text) in [
        (
            "refused-plainly",
            code::POLICY_VIOLATION,
            Some("creation of refused-plainly is against the policy"),
        ),
        (
            "refused-often",
            code::POLICY_VIOLATION,
            Some("creation of 'refused-often' (refused-often, refused-often): no"),
        ),
        ("refused-with-kin", code::POLICY_VIOLATION, None),
        ("refused-with-all", code::POLICY_VIOLATION, None),
        ("refused-by-mistake", UNKNOWN_SERVER_ERROR, None),
    ] {
        for version in [2, 5, 7] {
            for only in [true, false] {
                let mut body = ask::creation(name, 1);
                body["validateOnly"] = only.into();
                let answer = root.ask(1, ApiKey::CREATE_TOPICS, version, &body)?;
                let topic = &answer["Topics"][0];
                assert_eq!(topic["Name"], name, "{answer}");
                assert_eq!(topic["ErrorCode"], expected, "v{version}: {answer}");
                assert_eq!(topic["ErrorMessage"].as_str(), text, "v{version}: {answer}");
                hidden(&answer);
            }
        }
        // Where brokers create what is asked for.
        let wanting = json!({ "Topics": [{ "Name": name }], "AllowAutoTopicCreation": true });
        hidden(&root.ask(1, ApiKey::METADATA, 12, &wanting)?["Topics"]);
    }
    assert_eq!(ask::topics(&mut root)?, Vec::<String>::new());

    ask::topic(&mut root, "orders", 1)?;
    let setting = |value: &str| {
        json!({ "Resources": [{
            "ResourceType": 2,
            "ResourceName": "orders",
            "Configs": [{ "Name": "retention.ms", "ConfigOperation": 0, "Value": value }],
        }] })
    };
    for (value, expected, text) in [
        (
            "1001",
            code::POLICY_VIOLATION,
            Some("setting [retention.ms] of orders is against the policy"),
        ),
        (
            "1002",
            code::POLICY_VIOLATION,
            Some("setting [retention.ms] of 'orders' (orders, orders): no"),
        ),
        ("1003", code::POLICY_VIOLATION, None),
        ("1004", code::POLICY_VIOLATION, None),
        ("1005", UNKNOWN_SERVER_ERROR, None),
    ] {
        for (api, version) in [
            (ApiKey::INCREMENTAL_ALTER_CONFIGS, 1),
            (ApiKey::ALTER_CONFIGS, 2),
        ] {
            let mut body = setting(value);
            if api == ApiKey::ALTER_CONFIGS {
                body["Resources"][0]["Configs"] =
                    json!([{ "Name": "retention.ms", "Value": value }]);
            }
            let answer = root.ask(1, api, version, &body)?;
            assert_eq!(error_codes(api, &answer), [expected], "{api}: {answer}");
            let said = &answer["Responses"][0];
            assert_eq!(said["ResourceName"], "orders", "{answer}");
            assert_eq!(said["ErrorMessage"].as_str(), text, "{api}: {answer}");
            hidden(&answer);
        }
    }
    root.must(1, ApiKey::INCREMENTAL_ALTER_CONFIGS, 1, &setting("3600000"))
        .map(drop)
}
