//! What is kept: by one gateway, by two at once, and when Kafka is not as it should be.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Listener, Result, wait};
use wire::api::ApiKey;

use crate::api::resource;
use crate::ask;
use crate::scale;
use crate::world::{Front, LIMIT, ROOT, World, fresh_name};

/// Another node of the same gateway cluster.
fn second_node(world: &World) -> Result<Front> {
    Front::start(world.gateway_options(Listener::Plaintext))
}

#[test]
fn nodes_see_what_others_store() -> Result<()> {
    let world = World::get()?;
    let other = second_node(world)?;
    let name = fresh_name("stored");
    let path = format!("/gateway/v2/virtual-cluster/{name}");
    let nodes = [&world.front, &other];
    for front in nodes {
        assert_eq!(front.api.call("GET", &path, &Value::Null)?.0, 404);
    }
    let tenant = world.front.tenant(&name, json!({}))?;
    for front in nodes {
        assert_eq!(
            front.api.must("GET", &path, &Value::Null)?["metadata"]["name"],
            *name
        );
    }
    // What is in the answer of one node is in force at the other soon after.
    let elsewhere = tenant.at(&other);
    let mut root = wait::until("the account to be known", LIMIT, || {
        let mut root = elsewhere.root()?;
        root.client(1)?;
        Ok(Some(root))
    })?;
    ask::topic(&mut tenant.root()?, "orders", 1)?;
    assert_eq!(ask::topics(&mut root)?, ["orders"]);
    other
        .api
        .alias(&name, "alias", &tenant.physical("orders"))?;
    wait::until_true("the alias", LIMIT, || {
        let topics = tenant.root().and_then(|mut root| ask::topics(&mut root));
        topics.is_ok_and(|topics| topics == ["alias", "orders"])
    })?;
    other.api.delete_account(&name, ROOT)?;
    wait::until_true("the connection to end", LIMIT, || {
        let answer = root.ask(1, ApiKey::METADATA, 12, &ask::named(&[]));
        answer.map_or(true, |answer| answer.is_null())
    })
}

/// Accounts and aliases come and go through two nodes, one of which starts again in between.
#[test]
fn nodes_agree_in_the_end() -> Result<()> {
    let world = World::get()?;
    let mut other = second_node(world)?;
    let name = fresh_name("mixed");
    let tenant = world.front.tenant(&name, json!({}))?;
    ask::topic(&mut tenant.root()?, "target", 1)?;
    let target = tenant.physical("target");
    let count = scale(60);
    for number in 0..count {
        if number == count / 2 {
            drop(other);
            other = second_node(world)?;
        }
        let api = [&world.front.api, &other.api][(number % 2) as usize];
        let user = format!("user-{}", number % 7);
        match number % 5 {
            0 | 1 => api.account(&name, &user)?,
            2 => drop(api.call(
                "DELETE",
                "/gateway/v2/service-account",
                &json!({ "vCluster": name, "name": user }),
            )?),
            3 => api.alias(&name, &format!("alias-{}", number % 9), &target)?,
            _ => drop(api.call(
                "DELETE",
                "/gateway/v2/alias-topic",
                &json!({ "vCluster": name, "name": format!("alias-{}", number % 8) }),
            )?),
        }
    }
    let fresh = second_node(world)?;
    for kind in ["service-account", "alias-topic"] {
        let path = format!("/gateway/v2/{kind}?vcluster={name}");
        let first = world.front.api.must("GET", &path, &Value::Null)?;
        assert!(
            first.as_array().is_some_and(|list| !list.is_empty()),
            "{kind}: {first}"
        );
        for front in [&other, &fresh] {
            assert_eq!(front.api.must("GET", &path, &Value::Null)?, first, "{kind}");
        }
    }
    Ok(())
}

/// Two nodes are asked for what only one of two requests can have.
#[test]
fn one_of_two_conflicting_writes_wins() -> Result<()> {
    let world = World::get()?;
    let other = second_node(world)?;
    let nodes = [&world.front, &other];
    let tenants = [fresh_name("left"), fresh_name("right")];
    for tenant in &tenants {
        world.front.api.virtual_cluster(tenant, json!({}))?;
    }
    for _ in 0..scale(5) {
        let external = fresh_name("subject");
        let dotted = fresh_name("dotted");
        let stored = both(nodes, |at, front| {
            let metadata = json!({ "vCluster": tenants[at], "name": external });
            let spec = json!({ "type": "EXTERNAL", "externalNames": [external] });
            front.api.put("GatewayServiceAccount", metadata, spec)
        })?;
        assert_eq!(stored, [200, 409], "an external name");
        let stored = both(nodes, |at, front| {
            let name = [format!("{dotted}a.b"), format!("{dotted}a_b")][at].clone();
            front
                .api
                .put("VirtualCluster", json!({ "name": name }), json!({}))
        })?;
        assert_eq!(stored, [200, 409], "names that differ in a dot");
    }
    Ok(())
}

/// Where tenants do not trust each other, no name is the beginning of another one, whoever asks where and when.
#[test]
fn strict_gateways_let_no_names_overlap() -> Result<()> {
    let world = World::get()?;
    let id = testkit::shared::unique("strict");
    let node = || {
        let options = world.gateway_options(Listener::Plaintext);
        let options = options.env("GATEWAY_CLUSTER_ID", &id);
        Front::start(options.env("GATEWAY_VIRTUAL_CLUSTERS_STRICT", "true"))
    };
    let (first, other) = (node()?, node()?);
    let put = |front: &Front, name: &str, dry: bool| -> Result<(u16, Value)> {
        let (path, body) = resource("VirtualCluster", json!({ "name": name }), json!({}));
        let path = format!("{path}?dryMode={dry}");
        front.api.call("PUT", &path, &body)
    };
    let name = format!("{}a_b", fresh_name("strict"));
    assert_eq!(put(&first, &name, false)?.0, 200);
    assert_eq!(put(&other, &name, false)?.0, 200, "the same once more");
    let shorter = &name[..name.len() - 2];
    let longer = format!("{name}x");
    let overlapping = [&longer, shorter, &longer.replace('_', "."), "s"];
    let refuses_all = || -> Result<()> {
        for name in overlapping {
            for (front, dry) in [(&first, true), (&first, false), (&other, false)] {
                let (status, answer) = put(front, name, dry)?;
                assert_eq!(status, 409, "{name}: {answer}");
                assert!(answer.to_string().contains("STRICT"), "{name}: {answer}");
            }
        }
        Ok(())
    };
    refuses_all()?;
    // Its topics are still there.
    let path = format!("/gateway/v2/virtual-cluster/{name}");
    first.api.must("DELETE", &path, &Value::Null)?;
    refuses_all()?;

    let mut kept = Vec::new();
    for _ in 0..scale(5) {
        let short = fresh_name("pair");
        let pair = [short.clone(), format!("{short}longer")];
        // Whoever has to wait too long for the other is told to try again.
        let stored = both([&first, &other], |at, front| {
            wait::until("a decision", LIMIT, || {
                let decided = put(front, &pair[at], false)?;
                Ok((decided.0 != 503).then_some(decided))
            })
        })?;
        assert_eq!(stored, [200, 409], "{pair:?}");
        let there = |front: &Front| -> Result<Vec<String>> {
            let listed = front
                .api
                .must("GET", "/gateway/v2/virtual-cluster", &Value::Null)?;
            let names = listed.as_array().into_iter().flatten();
            let names = names.filter_map(|one| one["metadata"]["name"].as_str());
            let of_pair = |name: &&str| pair.iter().any(|one| one == name);
            Ok(names.filter(of_pair).map(str::to_owned).collect())
        };
        let (seen, elsewhere) = (there(&first)?, there(&other)?);
        assert_eq!(seen, elsewhere);
        assert_eq!(seen.len(), 1, "{seen:?}");
        kept.extend(seen);
    }
    println!("kept: {kept:?}");
    Ok(())
}

/// Calls for both nodes at once; gives both statuses, the lower first.
fn both(
    nodes: [&Front; 2],
    call: impl Fn(usize, &Front) -> Result<(u16, Value)> + Sync,
) -> Result<[u16; 2]> {
    let [first, second] = nodes;
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| call(0, first));
        let two = call(1, second);
        (one.join(), two)
    });
    let one = one.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let mut statuses = [one.0, two?.0];
    statuses.sort_unstable();
    Ok(statuses)
}

#[test]
fn a_state_topic_of_the_wrong_policy_stops_the_start() -> Result<()> {
    let world = World::get()?;
    let mut brokers = world.brokers();
    let policy = |cluster: &str, suffix: &str| format!("_conduktor_{cluster}_{suffix}");
    let wrong = "wrongly";
    let mut body = ask::creation(&policy(wrong, "vclusters"), 1);
    body["Topics"][0]["Configs"] = json!([{ "Name": "cleanup.policy", "Value": "delete" }]);
    brokers.must(1, ApiKey::CREATE_TOPICS, 7, &body)?;
    let options = |cluster: &str| {
        world
            .gateway_options(Listener::Plaintext)
            .env("GATEWAY_CLUSTER_ID", cluster)
    };
    let mut refused = options(wrong).launch()?;
    assert_ne!(refused.wait_exit()?, 0);
    let log = refused.log();
    assert!(
        log.contains(&policy(wrong, "vclusters")) && log.contains("compact"),
        "{log}"
    );

    // What is missing is made.
    let _running = Front::start(options("rightly"))?;
    for suffix in [
        "vclusters",
        "usermappings",
        "acls",
        "topicmappings",
        "groups",
        "interceptor_configs",
    ] {
        let describe = json!({ "Resources": [{
            "ResourceType": 2,
            "ResourceName": policy("rightly", suffix),
            "ConfigurationKeys": ["cleanup.policy"],
        }] });
        wait::until("a state topic", Duration::from_secs(20), || {
            let answer = brokers.must(1, ApiKey::DESCRIBE_CONFIGS, 4, &describe)?;
            let value = answer["Results"][0]["Configs"][0]["Value"].clone();
            assert_eq!(value, "compact", "{suffix}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}
