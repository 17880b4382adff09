//! What would be done, what was not understood, and what came out of the environment, against fixed answers.

use testkit::Result;
use testkit::http::Received;

use crate::scripted::{created, scripted, targets};

const ACCOUNT: &str = r#"{"kind":"GatewayServiceAccount","apiVersion":"gateway/v2","metadata":{"name":"alice"},"spec":{"type":"LOCAL"}}"#;

fn changed(resource: &str, result: &str) -> String {
    format!(r#"{{"resource":{resource},"upsertResult":"{result}"}}"#)
}

#[test]
fn variables_come_from_the_environment() -> Result<()> {
    let (server, program) = scripted(created)?;
    let file = "\
kind: Interceptor
metadata: {name: \"${TEAM:-nobody}-cap\", scope: {username: ${USER_NAME}}}
spec:
  priority: ${PRIORITY}
  # ${NOT_NEEDED}
  config:
    text: '${PRIORITY}'
    list: [${TRICKY}]
    later: $${AT_THE_GATEWAY}
    empty: \"${EMPTY:-d}${EMPTY}\"
";
    let variables = [
        ("USER_NAME", "alice"),
        ("PRIORITY", "70"),
        ("TRICKY", "a: b, \"c\" # {d}\ne"),
        ("EMPTY", ""),
    ];
    let run = program.run_in(&["apply", "-f", "-"], &variables, file)?;
    assert_eq!((run.status, run.err.as_str()), (0, ""), "{run:?}");
    assert_eq!(
        run.out,
        "Interceptor/nobody-cap (username alice): Created\n"
    );
    assert_eq!(
        server.received()[0].body,
        r#"{"kind":"Interceptor","metadata":{"name":"nobody-cap","scope":{"username":"alice"}},"spec":{"priority":70,"config":{"text":"70","list":["a: b, \"c\" # {d}\ne"],"later":"${AT_THE_GATEWAY}","empty":"d"}}}"#
    );
    for command in ["apply", "diff", "delete"] {
        let run = program.run_in(&[command, "-f", "-"], &variables[..1], file)?;
        assert_eq!((run.status, run.out.as_str()), (2, ""));
        let lines: Vec<&str> = run.err.lines().collect();
        assert_eq!(lines.len(), 4, "{}", run.err);
        for (line, expected) in lines.iter().zip([
            "line 4, column 13: the environment variable PRIORITY is not set",
            "line 7, column 11: the environment variable PRIORITY is not set",
            "line 8, column 12: the environment variable TRICKY is not set",
            "line 10, column 12: the environment variable EMPTY is not set",
        ]) {
            assert!(
                line.starts_with(&format!("error: standard input: {expected}")),
                "{line}"
            );
        }
    }
    assert!(server.received().is_empty());
    Ok(())
}

#[test]
fn references_that_nobody_expands_are_told() -> Result<()> {
    let (_server, program) = scripted(created)?;
    let file = "kind: AliasTopic\nmetadata: {name: a}\nspec: {physicalName: \"x-$${TOPIC}\"}\n";
    let run = program.run_with(&["apply", "-f", "-"], file)?;
    assert_eq!(run.status, 0);
    assert!(
        run.err
            .starts_with("warning: AliasTopic/a: 'spec.physicalName' has a reference"),
        "{}",
        run.err
    );
    Ok(())
}

#[test]
fn members_that_were_ignored_are_told() -> Result<()> {
    let (_server, program) = scripted(|_| (200, changed(ACCOUNT, "Created")))?;
    let file = "\
kind: GatewayServiceAccount
apiVersion: gateway/v2
metadata: {name: alice, vCluster: passthrough, labels: {team: x}}
spec: {type: local, externalnames: [a], externalNames: [], comment: null}
";
    for (args, result) in [
        (
            &["apply", "-f", "-"][..],
            "GatewayServiceAccount/alice: Created\n",
        ),
        (
            &["apply", "--dry-run", "-f", "-"],
            "GatewayServiceAccount/alice: Created\n",
        ),
    ] {
        let run = program.run_with(args, file)?;
        assert_eq!((run.status, run.out.as_str()), (0, result));
        let expected = "\
warning: GatewayServiceAccount/alice: the gateway ignored 'metadata.labels'
warning: GatewayServiceAccount/alice: the gateway ignored 'spec.externalnames'; did you mean 'externalNames'?
";
        assert!(run.err.starts_with(expected), "{}", run.err);
    }
    Ok(())
}

#[test]
fn what_is_shown_names_its_virtual_cluster() -> Result<()> {
    let (_server, program) = scripted(|request: &Received| {
        let found = match request.target.contains("service-account") {
            true => ACCOUNT.replace("LOCAL", "${LOCAL}"),
            false => r#"{"kind":"AliasTopic","metadata":{"name":"a","vCluster":"v"}}"#.to_owned(),
        };
        (200, format!("[{found}]"))
    })?;
    let shown = program.output(&["get", "accounts"], "")?;
    assert!(
        shown.contains("metadata:\n  name: alice\n  vCluster: passthrough\n"),
        "{shown}"
    );
    // What apply reads as the text that is stored.
    assert!(shown.contains("type: \"$${LOCAL}\""), "{shown}");
    let shown = program.output(&["get", "sa", "alice", "-o", "json"], "")?;
    assert!(shown.contains(r#""vCluster": "passthrough""#), "{shown}");
    let shown = program.output(&["get", "ALIASES"], "")?;
    assert!(shown.contains("  vCluster: v\n"), "{shown}");
    assert_eq!(
        program.output(&["get", "aliases", "-o", "name"], "")?,
        "AliasTopic/a\n"
    );
    Ok(())
}

const TWO: &str = "\
kind: VirtualCluster
metadata: {name: v}
spec: {}
---
kind: AliasTopic
metadata: {name: a, vCluster: v}
spec: {physicalName: p}
";

#[test]
fn a_dry_run_takes_all_together() -> Result<()> {
    let (server, program) = scripted(|request: &Received| {
        assert_eq!(request.target, "POST /gateway/v2/dry-run");
        let refused = r#"{"status":404,"error":{"title":"t","msg":"There is no topic 'p'."}}"#;
        let answer = changed(
            r#"{"kind":"VirtualCluster","metadata":{"name":"v"},"spec":{}}"#,
            "Created",
        );
        (200, format!(r#"{{"results":[{answer},{refused}]}}"#))
    })?;
    let run = program.run_with(&["apply", "--dry-run", "-f", "-"], TWO)?;
    assert_eq!(
        (run.status, run.out.as_str()),
        (1, "VirtualCluster/v: Created\n")
    );
    assert_eq!(
        run.err,
        "AliasTopic/a (vCluster v): not applied: There is no topic 'p'.\n1 of 2 were not applied.\nDry run: nothing was stored.\n"
    );
    assert_eq!(
        server.received()[0].body,
        r#"{"resources":[{"kind":"VirtualCluster","metadata":{"name":"v"},"spec":{}},{"kind":"AliasTopic","metadata":{"name":"a","vCluster":"v"},"spec":{"physicalName":"p"}}]}"#
    );
    Ok(())
}

#[test]
fn each_has_its_own_result_whatever_fails_before_it() -> Result<()> {
    let (_server, program) = scripted(|request: &Received| {
        let vcluster = r#"{"kind":"VirtualCluster","metadata":{"name":"v"},"spec":{}}"#;
        let alias = r#"{"kind":"AliasTopic","metadata":{"name":"a","vCluster":"v"},"spec":{"physicalName":"p"}}"#;
        match request.target.as_str() {
            "GET /gateway/v2/virtual-cluster" => {
                (500, r#"{"title":"t","msg":"It failed."}"#.to_owned())
            }
            "GET /gateway/v2/alias-topic" => (200, "[]".to_owned()),
            _ => {
                let results = [changed(vcluster, "NotChanged"), changed(alias, "Created")];
                (200, format!(r#"{{"results":[{}]}}"#, results.join(",")))
            }
        }
    })?;
    let run = program.run_with(&["diff", "-f", "-"], TWO)?;
    assert_eq!(run.status, 2);
    assert!(run.out.contains("+  physicalName: p\n"), "{}", run.out);
    assert!(
        run.err
            .starts_with("VirtualCluster/v: not compared: It failed.\n"),
        "{}",
        run.err
    );
    Ok(())
}

#[test]
fn a_gateway_that_cannot_is_asked_for_each() -> Result<()> {
    let (server, program) =
        scripted(
            |request: &Received| match request.target.starts_with("POST") {
                true => (
                    404,
                    r#"{"title":"No such path","msg":"There is nothing."}"#.to_owned(),
                ),
                false => created(request),
            },
        )?;
    let run = program.run_with(&["apply", "--dry-run", "-f", "-"], TWO)?;
    assert_eq!(run.status, 0);
    assert!(run.err.contains("is checked by itself"), "{}", run.err);
    assert_eq!(
        targets(&server),
        [
            "POST /gateway/v2/dry-run",
            "PUT /gateway/v2/virtual-cluster?dryMode=true",
            "PUT /gateway/v2/alias-topic?dryMode=true"
        ]
    );
    Ok(())
}

/// A stored interceptor with this password and user.
fn interceptor(password: &str, user: &str) -> String {
    format!(
        r#"{{"kind":"Interceptor","apiVersion":"gateway/v2","metadata":{{"name":"i","scope":{{"vCluster":"passthrough","username":"{user}"}}}},"spec":{{"pluginClass":"P","priority":1,"config":{{"password":"{password}"}}}}}}"#
    )
}

#[test]
fn differences() -> Result<()> {
    let answer = |result: &'static str| {
        move |request: &Received| match request.target.starts_with("GET") {
            true => (
                200,
                format!(
                    "[{},{}]",
                    interceptor("other", "bob"),
                    interceptor("hunter2", "alice")
                ),
            ),
            false => (
                200,
                changed(
                    &interceptor("hunter3", "alice").replace(":1,", ":2,"),
                    result,
                ),
            ),
        }
    };
    let file = "{kind: Interceptor, metadata: {name: i, scope: {username: alice}}, spec: {pluginClass: P, priority: 2, config: {password: hunter3}}}";
    let (server, program) = scripted(answer("Updated"))?;
    let run = program.run_with(&["diff", "-f", "-"], file)?;
    assert_eq!((run.status, run.err.as_str()), (1, ""));
    let expected = "\
--- Interceptor/i (username alice) (stored)
+++ Interceptor/i (username alice) (new)
@@ -7,6 +7,6 @@
     username: alice
 spec:
   pluginClass: P
-  priority: 1
+  priority: 2
   config:
-    password: \"********\"
+    password: \"******** (changed)\"
";
    assert_eq!(run.out, expected);
    assert_eq!(
        targets(&server),
        [
            "GET /gateway/v2/interceptor",
            "PUT /gateway/v2/interceptor?dryMode=true"
        ]
    );
    let run = program.run_with(&["apply", "--print-diff", "-f", "-"], file)?;
    assert_eq!((run.status, run.err.as_str()), (0, ""));
    assert_eq!(
        run.out,
        format!("Interceptor/i (username alice): Updated\n{expected}")
    );
    assert_eq!(
        targets(&server),
        ["GET /gateway/v2/interceptor", "PUT /gateway/v2/interceptor"]
    );

    let (_server, program) = scripted(answer("NotChanged"))?;
    let run = program.run_with(&["diff", "-f", "-"], file)?;
    assert_eq!(
        (run.status, run.out.as_str(), run.err.as_str()),
        (0, "", "")
    );
    let (_server, program) = scripted(|_| (500, String::new()))?;
    assert_eq!(program.run_with(&["diff", "-f", "-"], file)?.status, 2);
    Ok(())
}

#[test]
fn deleting_can_be_tried() -> Result<()> {
    let (server, program) = scripted(|request: &Received| {
        let stored = match request.target.as_str() {
            "GET /gateway/v2/virtual-cluster" => {
                r#"{"metadata":{"name":"v"}},{"metadata":{"name":"w"}}"#
            }
            "GET /gateway/v2/alias-topic" => {
                r#"{"metadata":{"name":"a","vCluster":"v"}},{"metadata":{"name":"b","vCluster":"w"}}"#
            }
            "GET /gateway/v2/interceptor" => {
                r#"{"metadata":{"name":"i","scope":{"vCluster":"w","username":"u"}}}"#
            }
            "GET /gateway/v2/group" => {
                r#"{"metadata":{"name":"g"},"spec":{"members":[{"name":"alice"}]}}"#
            }
            "GET /gateway/v2/service-account" => {
                r#"{"metadata":{"name":"alice"}},{"metadata":{"name":"alice","vCluster":"v2"}}"#
            }
            "GET /gateway/v2/concentration-rule" => "",
            other => panic!("{other}"),
        };
        (200, format!("[{stored}]"))
    })?;
    let run = program.run_with(&["delete", "--dry-run", "-f", "-"], TWO)?;
    assert_eq!(
        (run.status, run.out.as_str(), run.err.as_str()),
        (
            0,
            "AliasTopic/a (vCluster v): Deleted\nVirtualCluster/v: Deleted\n",
            "Dry run: nothing was deleted.\n"
        )
    );
    for (line, problem) in [
        ("vc v", "It is still used by AliasTopic/a (vCluster v)."),
        (
            "vc w",
            "It is still used by AliasTopic/b (vCluster w), Interceptor/i (vCluster w, username u).",
        ),
        ("sa alice", "It is still used by GatewayGroup/g."),
        ("sa alice --vcluster v2", ""),
        ("vc x", "There is no VirtualCluster/x."),
        ("alias b", "There is no AliasTopic/b."),
        (
            "Interceptor i --username u",
            "There is no Interceptor/i (username u).",
        ),
    ] {
        let args: Vec<&str> = ["delete", "--dry-run"]
            .into_iter()
            .chain(line.split(' '))
            .collect();
        let run = program.run(&args)?;
        assert_eq!(
            run.status,
            i32::from(!problem.is_empty()),
            "{line}: {run:?}"
        );
        assert!(run.err.contains(problem), "{line}: {}", run.err);
        let ignored = program.run(&[&args[..], &["--ignore-not-found"]].concat())?;
        let expected = i32::from(problem.starts_with("It is"));
        assert_eq!(ignored.status, expected, "{line}: {ignored:?}");
    }
    let asked = targets(&server);
    assert!(
        asked.iter().all(|target| target.starts_with("GET ")),
        "{asked:?}"
    );
    Ok(())
}

#[test]
fn what_is_not_there_may_be_ignored() -> Result<()> {
    let (_server, program) = scripted(|request: &Received| match request.target.as_str() {
        "DELETE /gateway/v2/group/g" => (
            404,
            r#"{"title":"Group not found","msg":"There is no GatewayGroup 'g'."}"#.to_owned(),
        ),
        "DELETE /gateway/v2/group/h" => (
            404,
            r#"{"title":"No such path","msg":"There is nothing."}"#.to_owned(),
        ),
        "DELETE /gateway/v2/group/i" => (
            409,
            r#"{"title":"Still referenced","msg":"It is used."}"#.to_owned(),
        ),
        _ => (404, "<html>not found".to_owned()),
    })?;
    let delete = |name: &str| program.run(&["delete", "group", name, "--ignore-not-found"]);
    assert_eq!(program.run(&["delete", "groups", "g"])?.status, 1);
    let run = delete("g")?;
    assert_eq!((run.status, run.out.as_str()), (0, ""));
    assert!(
        run.err.contains("There is no GatewayGroup 'g'."),
        "{}",
        run.err
    );
    for name in ["h", "i", "j"] {
        assert_eq!(delete(name)?.status, 1, "{name}");
    }
    Ok(())
}
