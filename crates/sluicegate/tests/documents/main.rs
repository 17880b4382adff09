//! What documents say of the repository is true: its crates, and who depends on whom. What comments cite is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Members of the workspace that are not under `crates`.
const BESIDE: [&str; 1] = ["bench"];

#[test]
fn maps_show_every_crate() {
    let crates = crates();
    let folders: BTreeSet<String> = crates.iter().map(|name| folder(name)).collect();
    for page in ["README.md", "docs/develop.md"] {
        let listed: BTreeSet<String> = rows(page)
            .filter_map(|row| row.first().cloned())
            .filter(|path| path.starts_with("crates/") || BESIDE.contains(&path.as_str()))
            .collect();
        assert_eq!(listed, folders, "{page}");
    }
    let rooms: BTreeSet<String> = rows("ARCHITECTURE.md")
        .filter(|row| row.len() == 3)
        .filter_map(|row| row.first().cloned())
        .filter(|name| crates.contains(name))
        .collect();
    assert_eq!(rooms, crates, "ARCHITECTURE.md");
}

#[test]
fn the_table_of_dependencies_is_that_of_the_manifests() {
    let crates = crates();
    let text = read(Path::new("ARCHITECTURE.md"));
    let (_, table) = text
        .split_once("| crate | depends on |")
        .expect("the table is there");
    let told: BTreeMap<String, BTreeSet<String>> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut names = quoted(line).into_iter();
            (names.next().expect("a crate"), names.collect())
        })
        .collect();
    let real: BTreeMap<String, BTreeSet<String>> = crates
        .iter()
        .map(|name| (name.clone(), dependencies(name, &crates)))
        .filter(|(_, dependencies)| !dependencies.is_empty())
        .collect();
    assert_eq!(told, real);
}

/// Every page that a comment names is one of the repository, by its path from the root or from the folder of its crate. Readers have
/// nothing else.
#[test]
fn comments_cite_pages_that_are_there() {
    let mut missing = Vec::new();
    for path in sources() {
        let text = read(&path);
        let crate_folder: PathBuf = path.components().take(2).collect();
        let pages = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c)))
            .map(|word| word.trim_end_matches('.'))
            .filter(|word| word.ends_with(".md") && *word != ".md");
        for page in pages {
            // In addresses of the repository what comes before is not a folder.
            let page = page.rsplit_once("/main/").map_or(page, |(_, page)| page);
            let page = page.trim_start_matches(['.', '/']);
            let there = |folder: &Path| root().join(folder).join(page).is_file();
            if !there(Path::new("")) && !there(&crate_folder) {
                missing.push(format!("{}: {page}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// The crates, as documents call them.
fn crates() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("crates")).expect("a folder");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.chain(BESIDE.map(str::to_owned)).collect()
}

fn folder(name: &str) -> String {
    match BESIDE.contains(&name) {
        true => name.to_owned(),
        false => format!("crates/{name}"),
    }
}

/// The crates that a crate's manifest names, those for its tests left out.
fn dependencies(name: &str, crates: &BTreeSet<String>) -> BTreeSet<String> {
    let manifest = read(&Path::new(&folder(name)).join("Cargo.toml"));
    let lines = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|dependency| crates.contains(*dependency))
        .map(str::to_owned)
        .collect()
}

/// The rows of all tables of a page, cell by cell, without back quotes.
fn rows(page: &str) -> impl Iterator<Item = Vec<String>> {
    let text = read(Path::new(page));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.into_iter().filter_map(|line| {
        let inner = line.strip_prefix('|')?.strip_suffix('|')?;
        let cells = inner.split('|').map(|cell| cell.trim().replace('`', ""));
        // Of a crate or a folder the first cell may say more.
        let mut cells: Vec<String> = cells.collect();
        let first = cells.first_mut()?;
        *first = first.split(' ').next().unwrap_or_default().to_owned();
        Some(cells)
    })
}

/// What stands between back quotes.
fn quoted(line: &str) -> Vec<String> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The files with code of the repository, by their path from its root.
fn sources() -> Vec<PathBuf> {
    const KINDS: [&str; 5] = ["rs", "toml", "yml", "sh", "py"];
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["crates", "bench", "fuzz", "deploy"]
        .iter()
        .map(PathBuf::from)
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            let is_kept = !["target", "corpus", "artifacts"]
                .iter()
                .any(|name| path.ends_with(name));
            if entry.path().is_dir() {
                folders.extend(is_kept.then_some(path));
            } else if path
                .extension()
                .is_some_and(|kind| KINDS.iter().any(|known| kind == *known))
            {
                found.push(path);
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
