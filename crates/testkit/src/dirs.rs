//! Folders: the cache of fetched programs, and scratch folders that vanish with the test.

use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

/// Where fetched programs are kept between runs: `SLUICEGATE_TEST_CACHE`, or `testkit-cache` in
/// Cargo's target folder.
///
/// # Errors
/// The folder cannot be created.
pub fn cache() -> Result<PathBuf> {
    let dir = match env::var_os("SLUICEGATE_TEST_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => target().join("testkit-cache"),
    };
    fs::create_dir_all(&dir).map_err(Error::io(format!("create {}", dir.display())))?;
    Ok(dir)
}

/// Cargo's target folder.
fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    }
}

/// A folder that is removed when it is dropped, or when the test process dies in whatever way.
/// `SLUICEGATE_TEST_KEEP=1` keeps all of them.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    janitor: Option<Child>,
}

impl Scratch {
    /// A new empty folder whose name begins with `label`.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn new(label: &str) -> Result<Scratch> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{label}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = target().join("testkit-run").join(name);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(Error::io(format!("remove {}", path.display())))?;
        }
        fs::create_dir_all(&path).map_err(Error::io(format!("create {}", path.display())))?;
        let path = path
            .canonicalize()
            .map_err(Error::io(format!("find {}", path.display())))?;
        let janitor = if env::var_os("SLUICEGATE_TEST_KEEP").is_some() {
            None
        } else {
            Some(hire_janitor(&path)?)
        };
        Ok(Scratch { path, janitor })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            let _ = janitor.wait();
        }
    }
}

/// A shell that waits for the end of its standard input, then removes the folder; it tries again while
/// processes that are being killed still write there.
fn hire_janitor(path: &Path) -> Result<Child> {
    const SCRIPT: &str = r#"
trap '' INT TERM HUP
while read -r _; do :; done
n=0
while ! rm -rf "$1" && [ "$n" -lt 50 ]; do n=$((n + 1)); sleep 0.1; done
"#;
    Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::io("start the janitor of a scratch folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_vanishes() {
        let scratch = Scratch::new("vanish").unwrap();
        let path = scratch.path().to_owned();
        fs::write(scratch.join("file"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
