//! Bakes the build's time, commit and compiler into the program.
//!
//! The commit comes from `SLUICEGATE_BUILD_COMMIT`, else from git if this is the root of a clone, else it is 40 zeros (a
//! tarball). The time comes from `SOURCE_DATE_EPOCH`, else it is now.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SLUICEGATE_BUILD_COMMIT");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let given = std::env::var("SLUICEGATE_BUILD_COMMIT").ok();
    let commit = given
        .or_else(|| from_git(&root))
        .filter(|commit| is_commit(commit))
        .unwrap_or_else(|| "0".repeat(40));
    println!(
        "cargo:rustc-env=SLUICEGATE_COMMIT={}",
        commit.to_ascii_lowercase()
    );
    let given = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|seconds| seconds.trim().parse::<u64>().ok());
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs())
    };
    println!(
        "cargo:rustc-env=SLUICEGATE_BUILD_SECONDS={}",
        given.unwrap_or_else(now)
    );
    println!(
        "cargo:rustc-env=SLUICEGATE_RUSTC={}",
        compiler().unwrap_or_else(|| "unknown".to_owned())
    );
}

/// The second word of `rustc 1.95.0 (...)`.
fn compiler() -> Option<String> {
    let output = Command::new(std::env::var_os("RUSTC")?)
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

fn from_git(root: &Path) -> Option<String> {
    let root = root.canonicalize().ok()?;
    let top = git(&root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root {
        return None;
    }
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&root, &["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={}", root.join(path).display());
        }
    }
    git(&root, &["rev-parse", "HEAD"])
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

fn is_commit(commit: &str) -> bool {
    commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit())
}
