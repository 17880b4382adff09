//! Jars from Maven Central, fetched with Maven and checked.

use crate::process::tail;
use crate::{Error, Result};
use aws_lc_rs::digest;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Jars in a folder of the cache.
pub(crate) struct Jars {
    /// What is fetched, for messages.
    pub(crate) name: String,
    /// The folder, which exists; the jars lie in `libs`.
    pub(crate) dir: PathBuf,
    /// `<dependency>` elements.
    pub(crate) dependencies: String,
    /// SHA-256 of the jars that matter, by file name.
    pub(crate) pins: Vec<(&'static str, &'static str)>,
}

impl Jars {
    /// The folder with all of them, fetched if they are not there. The caller holds [`lock`].
    pub(crate) fn ready(&self) -> Result<PathBuf> {
        let libs = self.dir.join("libs");
        if self.check(&libs).is_err() {
            self.fetch(&libs)?;
            self.check(&libs)?;
        }
        Ok(libs)
    }

    /// Fetches into a fresh folder that takes its final name last, so that an interrupted fetch leaves
    /// nothing that looks complete. Maven checks each file against the repository's checksum (`-C`).
    fn fetch(&self, libs: &Path) -> Result<()> {
        let fresh = self.dir.join("fetching");
        for old in [&fresh, libs] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(Error::io(format!("remove {}", old.display())))?;
            }
        }
        let pom = self.dir.join("pom.xml");
        fs::write(&pom, self.pom()).map_err(Error::io(format!("write {}", pom.display())))?;
        let output = Command::new("mvn")
            .args(["-B", "-q", "-C", "-f"])
            .arg(&pom)
            .arg(COPY_DEPENDENCIES)
            .arg("-DincludeScope=runtime")
            .arg(format!("-DoutputDirectory={}", fresh.display()))
            .output()
            .map_err(|error| Error::Missing {
                program: "mvn",
                problem: format!("Apache Maven could not be started ({error})"),
            })?;
        if !output.status.success() {
            return Err(Error::Exit {
                program: format!("mvn (fetching {})", self.name),
                status: output.status.code().unwrap_or(-1),
                output: tail(&String::from_utf8_lossy(&output.stdout), 30),
            });
        }
        fs::rename(&fresh, libs).map_err(Error::io(format!("rename {}", fresh.display())))
    }

    fn pom(&self) -> String {
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n\
             <modelVersion>4.0.0</modelVersion>\n\
             <groupId>sluicegate</groupId><artifactId>testkit-kafka</artifactId><version>1</version>\n\
             <dependencies>\n{}</dependencies>\n</project>\n",
            self.dependencies
        )
    }

    fn check(&self, libs: &Path) -> Result<()> {
        for (name, pinned) in &self.pins {
            let path = libs.join(name);
            let bytes = fs::read(&path).map_err(Error::io(format!("read {}", path.display())))?;
            let found = hex(digest::digest(&digest::SHA256, &bytes).as_ref());
            if found != *pinned {
                return Err(Error::Checksum {
                    path,
                    found,
                    pinned,
                });
            }
        }
        Ok(())
    }
}

/// Held while jars are fetched into a folder: of two processes one does it.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let lock = File::create(&path).map_err(Error::io(format!("create {}", path.display())))?;
    lock.lock()
        .map_err(Error::io(format!("lock {}", path.display())))?;
    Ok(lock)
}

const COPY_DEPENDENCIES: &str =
    "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
