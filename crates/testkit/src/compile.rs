//! Java programs of the kit, compiled once and kept in the cache.

use crate::dirs::{self, Scratch};
use crate::process::tail;
use crate::{Error, Result};
use aws_lc_rs::digest;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where the classes of `files` (name and text) lie; files that are no Java lie beside them. Takes its name last, so that an
/// interrupted or concurrent call does no harm.
///
/// # Errors
/// There is no JDK, or the program is none.
pub(crate) fn compiled(label: &str, class_path: &str, files: &[(&str, &str)]) -> Result<PathBuf> {
    let all: String = files.iter().map(|(_, text)| *text).collect();
    let sum = digest::digest(&digest::SHA256, all.as_bytes());
    let sum: String = sum.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let cache = dirs::cache()?
        .canonicalize()
        .map_err(Error::io("find the cache"))?;
    let classes = cache.join(format!("{label}-{sum}"));
    if classes.exists() {
        return Ok(classes);
    }
    let scratch = Scratch::new("javac")?;
    let fresh = scratch.join("classes");
    let mut sources = Vec::new();
    for (name, text) in files {
        let is_source = name.ends_with(".java");
        let file = match is_source {
            true => scratch.join(name),
            false => fresh.join(name),
        };
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir).map_err(Error::io(format!("create {}", dir.display())))?;
        }
        fs::write(&file, text).map_err(Error::io(format!("write {name}")))?;
        sources.extend(is_source.then_some(file));
    }
    let output = Command::new("javac")
        .args(["-nowarn", "-proc:none", "-cp", class_path, "-d"])
        .arg(&fresh)
        .args(&sources)
        .output()
        .map_err(|error| Error::Missing {
            program: "javac",
            problem: format!("a JDK, 17 or newer, could not be started ({error})"),
        })?;
    if !output.status.success() {
        return Err(Error::Exit {
            program: format!("javac of {label}"),
            status: output.status.code().unwrap_or(-1),
            output: tail(&String::from_utf8_lossy(&output.stderr), 30),
        });
    }
    match fs::rename(&fresh, &classes) {
        Ok(()) => Ok(classes),
        // Somebody else was faster.
        Err(_) if classes.exists() => Ok(classes),
        Err(error) => Err(Error::io(format!("rename {}", fresh.display()))(error)),
    }
}
