//! Which versions of a request are compared.

/// With `SLUICEGATE_TEST_VERSIONS=all` all of them; on ordinary days the lowest, the highest, and one from the middle.
pub(crate) fn compared(versions: Vec<i16>) -> Vec<i16> {
    let all = std::env::var("SLUICEGATE_TEST_VERSIONS").is_ok_and(|text| text == "all");
    let chosen = [0, versions.len() / 2, versions.len().saturating_sub(1)];
    let versions = versions.into_iter().enumerate();
    versions
        .filter(|(at, _)| all || chosen.contains(at))
        .map(|(_, version)| version)
        .collect()
}
