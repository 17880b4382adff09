//! What is asked of a gateway, and what is made of its answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use testkit::dirs::Scratch;
use testkit::http::{Received, Server};
use testkit::{Error, Result, ports};

use crate::program::{self, Program};

/// One of each kind, in an order in which they could not be created.
const ONE_OF_EACH: &str = r#"
kind: GatewayInterceptor
apiVersion: gateway/v2
metadata: {name: cap, scope: {username: alice}}
spec: {pluginClass: P, priority: 5, config: {big: 123456789012345678901, one: 1.0, no: "no"}}
---
kind: GatewayGroup
apiVersion: gateway/v2
metadata: {name: group}
spec: {members: [{name: alice, vCluster: billing}]}
---
kind: GatewayServiceAccount
apiVersion: gateway/v2
metadata: {name: alice, vCluster: billing}
spec: {type: LOCAL}
---
kind: concentrationrule
apiVersion: gateway/v2
metadata: {name: rule}
spec: {pattern: "small-.*", physicalTopics: {delete: small}}
---
kind: AliasTopic
apiVersion: gateway/v2
metadata: {name: b, vCluster: billing}
spec: {physicalName: shared.b}
---
kind: AliasTopic
apiVersion: gateway/v2
metadata: {name: a, vCluster: null}
spec: {physicalName: shared.a}
---
kind: VirtualCluster
apiVersion: gateway/v2
metadata: {name: billing}
spec: {}
"#;

const PASSWORD: &str = "correct horse";

/// A server with fixed answers.
pub(crate) struct Scripted {
    /// Every request, there before it is answered.
    requests: Arc<Mutex<Vec<Received>>>,
    server: Server,
}

impl Scripted {
    /// All requests since the last call.
    pub(crate) fn received(&self) -> Vec<Received> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *requests)
    }
}

pub(crate) fn scripted(
    answer: impl Fn(&Received) -> (u16, String) + Send + 'static,
) -> Result<(Scripted, Program)> {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let server = Server::start(move |request| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(request.clone());
        answer(request)
    })?;
    let program = Program::new(&server.url("/"), "admin", PASSWORD);
    Ok((Scripted { requests, server }, program))
}

pub(crate) fn created(_: &Received) -> (u16, String) {
    (
        200,
        r#"{"resource":{},"upsertResult":"Created"}"#.to_owned(),
    )
}

pub(crate) fn targets(server: &Scripted) -> Vec<String> {
    let received = server.received().into_iter();
    received.map(|request| request.target).collect()
}

#[test]
fn resources_are_applied_in_the_order_they_need() -> Result<()> {
    let (server, program) = scripted(created)?;
    let out = program.output(&["apply", "-f", "-"], ONE_OF_EACH)?;
    assert_eq!(
        out,
        "\
VirtualCluster/billing: Created
AliasTopic/b (vCluster billing): Created
AliasTopic/a: Created
ConcentrationRule/rule: Created
GatewayServiceAccount/alice (vCluster billing): Created
GatewayGroup/group: Created
Interceptor/cap (username alice): Created
"
    );
    let received = server.received();
    let asked: Vec<_> = received
        .iter()
        .map(|r| (r.target.as_str(), r.body.as_str()))
        .collect();
    assert_eq!(
        asked,
        [
            (
                "PUT /gateway/v2/virtual-cluster",
                r#"{"kind":"VirtualCluster","apiVersion":"gateway/v2","metadata":{"name":"billing"},"spec":{}}"#
            ),
            (
                "PUT /gateway/v2/alias-topic",
                r#"{"kind":"AliasTopic","apiVersion":"gateway/v2","metadata":{"name":"b","vCluster":"billing"},"spec":{"physicalName":"shared.b"}}"#
            ),
            (
                "PUT /gateway/v2/alias-topic",
                r#"{"kind":"AliasTopic","apiVersion":"gateway/v2","metadata":{"name":"a","vCluster":null},"spec":{"physicalName":"shared.a"}}"#
            ),
            (
                "PUT /gateway/v2/concentration-rule",
                r#"{"kind":"concentrationrule","apiVersion":"gateway/v2","metadata":{"name":"rule"},"spec":{"pattern":"small-.*","physicalTopics":{"delete":"small"}}}"#
            ),
            (
                "PUT /gateway/v2/service-account",
                r#"{"kind":"GatewayServiceAccount","apiVersion":"gateway/v2","metadata":{"name":"alice","vCluster":"billing"},"spec":{"type":"LOCAL"}}"#
            ),
            (
                "PUT /gateway/v2/group",
                r#"{"kind":"GatewayGroup","apiVersion":"gateway/v2","metadata":{"name":"group"},"spec":{"members":[{"name":"alice","vCluster":"billing"}]}}"#
            ),
            (
                "PUT /gateway/v2/interceptor",
                r#"{"kind":"GatewayInterceptor","apiVersion":"gateway/v2","metadata":{"name":"cap","scope":{"username":"alice"}},"spec":{"pluginClass":"P","priority":5,"config":{"big":123456789012345678901,"one":1.0,"no":"no"}}}"#
            ),
        ]
    );
    for request in &received {
        let has = |line: &str| {
            request
                .headers
                .iter()
                .any(|header| header.eq_ignore_ascii_case(line))
        };
        assert!(
            has("authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZQ=="),
            "{request:?}"
        );
        assert!(
            has(concat!(
                "x-cdk-client: sluicegate/",
                env!("CARGO_PKG_VERSION")
            )),
            "{request:?}"
        );
    }
    Ok(())
}

#[test]
fn a_dry_run_says_so() -> Result<()> {
    let (server, program) = scripted(created)?;
    let file = "{kind: GatewayGroup, metadata: {name: g}}";
    let run = program.run_with(&["apply", "--dry-run", "-f", "-"], file)?;
    assert_eq!(
        (run.status, run.out.as_str()),
        (0, "GatewayGroup/g: Created\n")
    );
    assert_eq!(run.err, "Dry run: nothing was stored.\n");
    assert_eq!(targets(&server), ["PUT /gateway/v2/group?dryMode=true"]);
    Ok(())
}

#[test]
fn files_are_deleted_in_reverse() -> Result<()> {
    let (server, program) = scripted(|_| (204, String::new()))?;
    let out = program.output(&["delete", "-f", "-"], ONE_OF_EACH)?;
    assert!(
        out.starts_with("Interceptor/cap (username alice): Deleted\n"),
        "{out}"
    );
    assert!(out.ends_with("VirtualCluster/billing: Deleted\n"), "{out}");
    let received = server.received();
    let asked: Vec<_> = received
        .iter()
        .map(|r| (r.target.as_str(), r.body.as_str()))
        .collect();
    assert_eq!(
        asked,
        [
            (
                "DELETE /gateway/v2/interceptor/cap",
                r#"{"username":"alice"}"#
            ),
            ("DELETE /gateway/v2/group/group", ""),
            (
                "DELETE /gateway/v2/service-account",
                r#"{"name":"alice","vCluster":"billing"}"#
            ),
            (
                "DELETE /gateway/v2/concentration-rule",
                r#"{"name":"rule"}"#
            ),
            (
                "DELETE /gateway/v2/alias-topic",
                r#"{"name":"a","vCluster":null}"#
            ),
            (
                "DELETE /gateway/v2/alias-topic",
                r#"{"name":"b","vCluster":"billing"}"#
            ),
            ("DELETE /gateway/v2/virtual-cluster/billing", ""),
        ]
    );
    Ok(())
}

#[test]
fn one_is_deleted_by_its_name() -> Result<()> {
    let (server, program) = scripted(|_| (204, String::new()))?;
    for (line, target, body) in [
        ("VirtualCluster x", "/virtual-cluster/x", ""),
        ("vclusters x", "/virtual-cluster/x", ""),
        ("sa x", "/service-account", r#"{"name":"x"}"#),
        ("gatewaygroup x", "/group/x", ""),
        ("AliasTopic x", "/alias-topic", r#"{"name":"x"}"#),
        (
            "AliasTopic x --vcluster v",
            "/alias-topic",
            r#"{"name":"x","vCluster":"v"}"#,
        ),
        ("Interceptor a/ü", "/interceptor/a%2F%C3%BC", "{}"),
        (
            "Interceptor x --vcluster v --group g",
            "/interceptor/x",
            r#"{"vCluster":"v","group":"g"}"#,
        ),
        (
            "Interceptor x --global",
            "/interceptor/x",
            r#"{"vCluster":null,"group":null,"username":null}"#,
        ),
    ] {
        let args: Vec<&str> = std::iter::once("delete").chain(line.split(' ')).collect();
        assert!(
            program.output(&args, "")?.ends_with(": Deleted\n"),
            "{line}"
        );
        let received = server.received();
        let asked: Vec<_> = received
            .iter()
            .map(|r| (r.target.clone(), r.body.as_str()))
            .collect();
        assert_eq!(
            asked,
            [(format!("DELETE /gateway/v2{target}"), body)],
            "{line}"
        );
    }
    let run = program.run(&["delete", "VirtualCluster", "x", "--vcluster", "v"])?;
    assert_eq!(run.status, 2, "{run:?}");
    assert!(server.received().is_empty());
    Ok(())
}

#[test]
fn what_fails_does_not_stop_the_rest() -> Result<()> {
    let (_server, program) = scripted(|request| {
        if request.target.ends_with("alias-topic") {
            let body = r#"{"title":"Virtual cluster not found","msg":"There is no virtual cluster 'biling'.","cause":"metadata.vCluster of AliasTopic 'a' refers to it."}"#;
            return (404, body.to_owned());
        }
        (200, r#"{"upsertResult":"NotChanged"}"#.to_owned())
    })?;
    let run = program.run_with(&["apply", "-f", "-"], ONE_OF_EACH)?;
    assert_eq!(run.status, 1);
    assert_eq!(run.out.matches(": NotChanged\n").count(), 5, "{}", run.out);
    let failed = |name| {
        format!(
            "AliasTopic/{name}: not applied: There is no virtual cluster 'biling'.\n    metadata.vCluster of AliasTopic 'a' refers to it.\n"
        )
    };
    assert_eq!(
        run.err,
        failed("b (vCluster billing)") + &failed("a") + "2 of 7 were not applied.\n"
    );
    Ok(())
}

#[test]
fn what_fails_for_all_is_told_once() -> Result<()> {
    let (server, program) = scripted(|_| {
        let body = r#"{"title":"Not authenticated","msg":"The given credentials are not valid."}"#;
        (401, body.to_owned())
    })?;
    let run = program.run_with(&["apply", "-f", "-"], ONE_OF_EACH)?;
    assert_eq!((run.status, run.out.as_str()), (1, ""));
    assert_eq!(
        run.err,
        "VirtualCluster/billing: not applied: The given credentials are not valid.\nThe other 6 were not tried.\n7 of 7 were not applied.\n"
    );
    assert_eq!(server.received().len(), 1);

    let (server, program) = scripted(|_| {
        let body = r#"{"title":"Not allowed","msg":"User 'admin' may only read."}"#;
        (403, body.to_owned())
    })?;
    for command in ["apply", "delete"] {
        let run = program.run_with(&[command, "-f", "-"], ONE_OF_EACH)?;
        assert_eq!((run.status, run.out.as_str()), (1, ""));
        assert_eq!(run.err.matches("may only read").count(), 1, "{}", run.err);
        assert_eq!(server.received().len(), 1);
    }
    let run = program.run_with(&["apply", "--dry-run", "-f", "-"], ONE_OF_EACH)?;
    assert_eq!(run.err.matches("may only read").count(), 1, "{}", run.err);
    assert_eq!(targets(&server), ["POST /gateway/v2/dry-run"]);

    let port = ports::free();
    let nowhere = Program::new(&format!("http://127.0.0.1:{port}"), "admin", PASSWORD);
    let run = nowhere.run_with(&["apply", "-f", "-"], ONE_OF_EACH)?;
    assert_eq!(run.status, 1);
    let expected =
        format!("VirtualCluster/billing: not applied: no answer from 127.0.0.1:{port}: ");
    assert!(run.err.starts_with(&expected), "{}", run.err);
    let run = nowhere.run(&["get", "all"])?;
    assert_eq!((run.status, run.err.lines().count()), (1, 1), "{run:?}");
    Ok(())
}

#[test]
fn nothing_is_sent_if_a_file_is_wrong() -> Result<()> {
    let (server, program) = scripted(created)?;
    let good = "kind: GatewayGroup\nmetadata: {name: g}\n---\n";
    for (text, problem) in [
        (
            "kind: Topic\nmetadata: {name: t}\n",
            "error: standard input, document at line 4: there is no kind 'Topic' in the gateway; kinds are VirtualCluster, AliasTopic, ConcentrationRule, GatewayServiceAccount, GatewayGroup, Interceptor\n",
        ),
        ("kind: [\n", "error: standard input: line 4, column 7: "),
        (
            "kind: AliasTopic\n",
            "error: standard input, document at line 4: 'metadata.name' is missing\n",
        ),
    ] {
        for command in ["apply", "delete"] {
            let run = program.run_with(&[command, "-f", "-"], &format!("{good}{text}"))?;
            assert_eq!((run.status, run.out.as_str()), (2, ""));
            assert!(run.err.starts_with(problem), "{}", run.err);
        }
    }
    let run = program.run(&["apply", "-f", "/nowhere/x.yaml"])?;
    assert_eq!(run.status, 2);
    assert!(run.err.contains("/nowhere/x.yaml"), "{}", run.err);
    assert!(server.received().is_empty());
    Ok(())
}

#[test]
fn directories_and_several_files() -> Result<()> {
    let (server, program) = scripted(created)?;
    let scratch = Scratch::new("cli")?;
    let group = |name: &str| {
        format!("{{\"kind\": \"GatewayGroup\", \"metadata\": {{\"name\": \"{name}\"}}}}")
    };
    for (file, name) in [
        ("2.yaml", "second"),
        ("1.yml", "first"),
        ("3.json", "third"),
        (".4.yaml", "hidden"),
        ("5.txt", "other"),
        ("sub/6.yaml", "below"),
    ] {
        let path = scratch.join(file);
        let parent = path.parent().map(std::fs::create_dir_all).transpose();
        parent
            .and_then(|_| std::fs::write(&path, group(name)))
            .map_err(Error::io("write"))?;
    }
    let directory = scratch.path().display().to_string();
    let below = scratch.join("sub/6.yaml").display().to_string();
    let out = program.output(&["apply", "-f", &directory, "-f", &below], "")?;
    let names: Vec<_> = out.lines().collect();
    assert_eq!(
        names,
        ["first", "second", "third", "below"].map(|name| format!("GatewayGroup/{name}: Created"))
    );
    assert_eq!(server.received().len(), 4);
    Ok(())
}

/// Lists as the gateway gives them, by path.
fn stored() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        (
            "alias-topic",
            r#"[{"kind":"AliasTopic","apiVersion":"gateway/v2","metadata":{"name":"1.0","vCluster":"yes"},"spec":{"physicalName":"null"}}]"#,
        ),
        (
            "interceptor",
            r#"[{"kind":"Interceptor","apiVersion":"gateway/v2","metadata":{"name":"i","scope":{"vCluster":null,"group":null,"username":null}},"spec":{"pluginClass":"P","priority":0,"config":{"n":[5,5.0,1e3,-0.10,123456789012345678901234567890],"t":["5","5.0","1e3","yes","null","~","on","","a: b","0x1f","2001-12-14","😀"],"schema":"{\n  \"a\": 1\n}\n","none":null,"empty":{},"list":[[],[{}]]}}}]"#,
        ),
    ])
}

#[test]
fn what_is_shown_can_be_applied() -> Result<()> {
    let (server, program) = scripted(|request| {
        let kind = request.target.rsplit('/').next().unwrap_or_default();
        match request.target.starts_with("GET") {
            true => (200, stored().get(kind).copied().unwrap_or("[]").to_owned()),
            false => (200, r#"{"upsertResult":"NotChanged"}"#.to_owned()),
        }
    })?;
    for format in ["yaml", "json"] {
        let shown = program.output(&["get", "all", "-o", format], "")?;
        assert_eq!(server.received().len(), 6);
        let out = program.output(&["apply", "-f", "-"], &shown)?;
        assert_eq!(
            out,
            "AliasTopic/1.0 (vCluster yes): NotChanged\nInterceptor/i (all virtual clusters): NotChanged\n"
        );
        let sent: Vec<String> = server
            .received()
            .into_iter()
            .map(|r| format!("[{}]", r.body))
            .collect();
        assert_eq!(sent, stored().into_values().collect::<Vec<_>>(), "{shown}");
    }
    Ok(())
}

#[test]
fn all_kinds_are_shown_whichever_fail() -> Result<()> {
    let (server, program) = scripted(|request| {
        let kind = request.target.rsplit('/').next().unwrap_or_default();
        match kind {
            "virtual-cluster" => (
                400,
                r#"{"title":"Not available with this security configuration","msg":"No listener authenticates."}"#.to_owned(),
            ),
            "group" => (500, r#"{"title":"Internal error","msg":"Kafka is gone."}"#.to_owned()),
            "alias-topic" => (200, stored()["alias-topic"].to_owned()),
            _ => (200, "[]".to_owned()),
        }
    })?;
    let run = program.run(&["get", "all", "-o", "table"])?;
    assert_eq!(run.status, 1);
    assert_eq!(
        run.out,
        "AliasTopic  VCLUSTER  PHYSICAL\n1.0         yes       null\n"
    );
    assert_eq!(
        run.err,
        "VirtualCluster: No listener authenticates.\nGatewayGroup: Kafka is gone.\n"
    );
    assert_eq!(
        targets(&server),
        [
            "virtual-cluster",
            "alias-topic",
            "concentration-rule",
            "service-account",
            "group",
            "interceptor"
        ]
        .map(|kind| format!("GET /gateway/v2/{kind}"))
    );
    // What cannot be there is not missed, unless it was asked for.
    assert_eq!(program.run(&["get", "VirtualCluster"])?.status, 1);
    Ok(())
}

#[test]
fn one_kind_or_one_resource() -> Result<()> {
    let (server, program) = scripted(|request| {
        let one = r#"{"kind":"GatewayGroup","metadata":{"name":"g"},"spec":{}}"#;
        match request.target.as_str() {
            "GET /gateway/v2/group/g" => (200, one.to_owned()),
            "GET /gateway/v2/group/h" => (
                404,
                r#"{"title":"t","msg":"There is no group 'h'."}"#.to_owned(),
            ),
            "GET /gateway/v2/alias-topic?name=a%20b&vcluster=v" => (200, format!("[{one}]")),
            _ => (200, "[]".to_owned()),
        }
    })?;
    let pretty = "{\n  \"kind\": \"GatewayGroup\",\n  \"metadata\": {\n    \"name\": \"g\"\n  },\n  \"spec\": {}\n}\n";
    assert_eq!(
        program.output(&["get", "GatewayGroup", "g", "-o", "json"], "")?,
        pretty
    );
    let found = program.output(
        &["get", "AliasTopic", "a b", "--vcluster", "v", "-o", "json"],
        "",
    )?;
    let in_full = pretty.replace(
        "\"name\": \"g\"\n",
        "\"name\": \"g\",\n    \"vCluster\": \"passthrough\"\n",
    );
    assert_eq!(found, in_full);
    let run = program.run(&["get", "GatewayGroup", "h"])?;
    assert_eq!(
        (run.status, run.err.as_str()),
        (1, "GatewayGroup/h: There is no group 'h'.\n")
    );
    let run = program.run(&["get", "AliasTopic", "x"])?;
    assert_eq!(
        (run.status, run.err.as_str()),
        (1, "There is no such AliasTopic 'x'.\n")
    );
    let run = program.run(&["get", "AliasTopic", "-o", "json"])?;
    assert_eq!(
        (run.status, run.out.as_str(), run.err.as_str()),
        (0, "[]\n", "Nothing found.\n")
    );
    server.received();
    program.run(&[
        "get",
        "Interceptor",
        "i",
        "--username",
        "u&v",
        "--group",
        "g",
    ])?;
    program.run(&["get", "Interceptor", "--global"])?;
    assert_eq!(
        targets(&server),
        [
            "GET /gateway/v2/interceptor?name=i&group=g&username=u%26v",
            "GET /gateway/v2/interceptor?global=true"
        ]
    );
    Ok(())
}

#[test]
fn tokens() -> Result<()> {
    let (server, program) = scripted(|_| (200, r#"{"token":"a.b.c"}"#.to_owned()))?;
    let line = [
        "token",
        "--username",
        "alice",
        "--vcluster",
        "v",
        "--lifetime",
        "1h",
    ];
    assert_eq!(program.output(&line, "")?, "a.b.c\n");
    assert_eq!(
        program.output(&["token", "--username", "a", "--lifetime", "90"], "")?,
        "a.b.c\n"
    );
    let bodies: Vec<String> = server
        .received()
        .into_iter()
        .map(|r| r.target + " " + &r.body)
        .collect();
    assert_eq!(
        bodies,
        [
            r#"POST /gateway/v2/token {"username":"alice","lifeTimeSeconds":3600,"vCluster":"v"}"#,
            r#"POST /gateway/v2/token {"username":"a","lifeTimeSeconds":90}"#,
        ]
    );
    Ok(())
}

#[test]
fn the_password_comes_from_where_it_is_safe_and_is_never_shown() -> Result<()> {
    let (server, _) = scripted(created)?;
    let scratch = Scratch::new("cli-password")?;
    let file = scratch.join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).map_err(Error::io("write"))?;
    let file = file.display().to_string();
    let url = server.server.url("/behind/a/proxy/gateway/v2/");
    let group = scratch.join("group.yaml");
    std::fs::write(&group, "{kind: GatewayGroup, metadata: {name: g}}")
        .map_err(Error::io("write"))?;
    let group = group.display().to_string();
    let common = ["apply", "-f", &group, "--url", &url, "--user", "admin"];
    for (more, input) in [
        (["--password", PASSWORD], ""),
        (["--password-file", &file], ""),
        (["--password-file", "-"], "correct horse\nmore\n"),
    ] {
        let args = [&common[..], &more[..]].concat();
        let run = program::run(&args, &[("CDK_GATEWAY_PASSWORD", "wrong")], input)?;
        assert_eq!((run.status, run.err.as_str()), (0, ""), "{args:?}");
        let received = server.received();
        let header = "authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZQ==";
        assert!(
            received[0]
                .headers
                .iter()
                .any(|line| line.eq_ignore_ascii_case(header)),
            "{received:?}"
        );
        assert_eq!(received[0].target, "PUT /behind/a/proxy/gateway/v2/group");
    }
    let run = program::run(&common, &[], "")?;
    assert_eq!(run.status, 2);
    assert!(run.err.contains("CDK_GATEWAY_PASSWORD"), "{}", run.err);
    let args = [&common[..], &["--password-file", "-", "-f", "-"]].concat();
    assert_eq!(program::run(&args, &[], "")?.status, 2);
    for url in ["ftp://x", "nonsense", "http://u:p@x", "http://x/?q=1"] {
        let run = Program::new(url, "admin", PASSWORD).run(&["get", "all"])?;
        assert_eq!(run.status, 2, "{run:?}");
        assert!(!run.err.contains(PASSWORD), "{run:?}");
    }
    Ok(())
}

#[test]
fn answers_of_something_else_are_told_as_such() -> Result<()> {
    let (_server, program) = scripted(|request| {
        if request.target.starts_with("GET") {
            return (200, "<html>".to_owned());
        }
        (200, "{}".to_owned())
    })?;
    let run = program.run(&["get", "AliasTopic"])?;
    assert_eq!(run.status, 1);
    assert!(run.err.contains("not that of a gateway"), "{}", run.err);
    let run = program.run_with(
        &["apply", "-f", "-"],
        "{kind: GatewayGroup, metadata: {name: g}}",
    )?;
    assert_eq!(run.status, 1);
    assert!(run.err.contains("has no 'upsertResult'"), "{}", run.err);
    Ok(())
}
