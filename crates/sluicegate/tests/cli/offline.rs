//! What needs no gateway: help, descriptions of kinds, completions, and files that are wrong.

use testkit::dirs::Scratch;
use testkit::{Error, Result};

use crate::program::{self, Program, Run};
use crate::scripted::{created, scripted};

/// A run without any settings.
fn run(args: &[&str]) -> Result<Run> {
    program::run(args, &[], "")
}

/// What it prints if it ends well.
fn output(args: &[&str]) -> Result<String> {
    let run = run(args)?;
    if run.status == 0 && run.err.is_empty() {
        return Ok(run.out);
    }
    Err(Error::Violated(format!("{args:?}: {run:?}")))
}

#[test]
fn versions() -> Result<()> {
    let version = output(&["--version"])?;
    assert_eq!(version, output(&["version"])?);
    assert_eq!(version, output(&["-V"])?);
    let expected = concat!("sluicegate ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(version.starts_with(expected), "{version}");
    Ok(())
}

#[test]
fn help_names_kinds_and_has_examples() -> Result<()> {
    for command in ["apply", "diff", "get", "delete", "template", "explain"] {
        let help = output(&[command, "--help"])?;
        for part in [
            "GatewayServiceAccount",
            "  sa, account, accounts",
            "Examples:",
            "sluicegate ",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
    let run = run(&["get", "Topic"])?;
    assert_eq!(run.status, 2);
    assert!(
        run.err.contains("VirtualCluster, AliasTopic"),
        "{}",
        run.err
    );
    Ok(())
}

#[test]
fn a_typo_never_suggests_to_delete() -> Result<()> {
    let typo = run(&["delte", "vc", "x"])?;
    assert_eq!(typo.status, 2);
    assert!(!typo.err.contains("delete"), "{}", typo.err);
    assert!(run(&["aply"])?.err.contains("'apply'"));
    Ok(())
}

#[test]
fn a_template_can_be_applied() -> Result<()> {
    let (server, gateway) = scripted(created)?;
    for kind in ["vc", "aliases", "rule", "sa", "groups", "Interceptor"] {
        let template = output(&["template", kind])?;
        gateway.output(&["apply", "-f", "-"], &template)?;
        let json = output(&["template", kind, "-o", "json"])?;
        gateway.output(&["apply", "-f", "-"], &json)?;
        let [yaml, json] = <[_; 2]>::try_from(server.received())
            .map_err(|received| Error::Violated(format!("{received:?}")))?;
        assert_eq!(yaml.body, json.body);
    }
    let told = output(&["explain", "alias-topic"])?;
    assert!(
        told.contains("physicalName") && told.contains("text, needed"),
        "{told}"
    );
    Ok(())
}

#[test]
fn completions_and_manual_pages() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let script = output(&["completion", shell])?;
        assert!(script.contains("sluicegate"), "{shell}");
        // Fish completes options only.
        assert!(
            shell == "fish" || script.contains("VirtualCluster"),
            "{shell}"
        );
        assert!(script.contains("dry-run"), "{shell}");
    }
    assert!(output(&["man"])?.contains(".TH sluicegate 1"));
    let scratch = Scratch::new("cli-man")?;
    output(&["man", &scratch.path().display().to_string()])?;
    for page in ["sluicegate.1", "sluicegate-apply.1", "sluicegate-diff.1"] {
        let text = std::fs::read_to_string(scratch.join(page)).map_err(Error::io("read a page"))?;
        assert!(text.contains(".TH"), "{page}");
    }
    assert_eq!(run(&["man", "/nowhere/man"])?.status, 1);
    Ok(())
}

/// Every one of them ends with status 2, names the file and a line, and nothing is sent.
#[test]
fn hostile_files() -> Result<()> {
    let (server, gateway) = scripted(created)?;
    let good = "kind: GatewayGroup\nmetadata: {name: g}\n---\n";
    let bomb = {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let copies = vec![format!("*a{}", n - 1); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{copies}]\n"));
        }
        text
    };
    let scratch = Scratch::new("cli-hostile")?;
    for (name, text, line) in [
        ("deep.yaml", "[".repeat(100_000).into_bytes(), 4),
        (
            "deep.json",
            format!("{{\"a\":{}1{}}}", "[".repeat(9999), "]".repeat(9999)).into_bytes(),
            4,
        ),
        ("bomb.yaml", bomb.into_bytes(), 9),
        ("binary.yaml", b"kind: x\n\xff\xfe\x00\x01".to_vec(), 5),
        ("nul.yaml", b"kind: x\nmetadata: \0\n".to_vec(), 5),
        ("escape.yaml", b"kind: \"\\ud800\"\n".to_vec(), 4),
        (
            "twice.json",
            b"{\"kind\": \"AliasTopic\",\n\"kind\": 1}".to_vec(),
            5,
        ),
        (
            "open.json",
            b"{\"kind\": \"AliasTopic\",\n\"metadata\": {\n".to_vec(),
            0,
        ),
        ("tag.yaml", b"kind: !!binary aGk=\n".to_vec(), 4),
        ("merge.yaml", b"a: &a {b: c}\nd:\n  <<: *a\n".to_vec(), 6),
        (
            "kind.yaml",
            b"\n\nkind: \x1b[31mred\nmetadata: {name: a}\n".to_vec(),
            6,
        ),
        (
            "second.json",
            b"[{\"kind\": \"AliasTopic\", \"metadata\": {\"name\": \"a\"}},\n{\"kind\": 5}]"
                .to_vec(),
            5,
        ),
        (
            "name.yaml",
            b"kind: AliasTopic\nmetadata: [name]\n".to_vec(),
            4,
        ),
        (
            "number.yaml",
            b"kind: AliasTopic\nmetadata: {name: .inf}\n".to_vec(),
            5,
        ),
        (
            "variable.yaml",
            b"kind: AliasTopic\nmetadata: {name: \"${NOT SET}\"}\n".to_vec(),
            5,
        ),
    ] {
        let file = scratch.join(name);
        std::fs::write(&file, [good.as_bytes(), &text].concat()).map_err(Error::io("write"))?;
        let file = file.display().to_string();
        for command in ["apply", "diff", "delete"] {
            let run = gateway.run(&[command, "-f", &file])?;
            assert_eq!((run.status, run.out.as_str()), (2, ""), "{name}: {run:?}");
            assert!(run.err.contains(&file), "{name}: {}", run.err);
            let told = match line {
                0 => run.err.contains("line "),
                line => run.err.contains(&format!("line {line}")),
            };
            assert!(told, "{name}: {}", run.err);
            assert!(
                run.err.len() < 1000 && !run.err.contains('\x1b'),
                "{name}: {}",
                run.err
            );
        }
    }
    assert!(server.received().is_empty());
    let nowhere = Program::new("http://127.0.0.1:1", "u", "p");
    let directory = scratch.join("none");
    std::fs::create_dir(&directory).map_err(Error::io("make a directory"))?;
    let run = nowhere.run(&["diff", "-f", &directory.display().to_string()])?;
    assert_eq!(run.status, 2, "{run:?}");
    assert!(run.err.contains("no .yaml"), "{}", run.err);
    Ok(())
}
