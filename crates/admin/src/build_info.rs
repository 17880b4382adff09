//! What this program is.

use serde::Serialize;

/// The level of the management interface this program is compatible with. Clients compare it, so it is no product version.
const API_LEVEL: &str = "3.15.0";
const PRODUCT: &str = "Sluicegate";

/// Version, time and commit of a build, as `/health` shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInfo {
    /// Level of the management interface, a semantic version.
    pub version: String,
    /// As `2026-01-31T12:00:00+0000`.
    pub time: String,
    /// 40 hex digits; zeros when the sources did not come from a clone.
    pub commit: String,
    /// The program's name.
    pub product: String,
    /// The program's version.
    pub product_version: String,
}

impl BuildInfo {
    /// As [`BuildInfo::commit`].
    pub const COMMIT: &str = env!("SLUICEGATE_COMMIT");

    /// The compiler's version, as `1.95.0`; `unknown` if it did not tell.
    pub const COMPILER: &str = env!("SLUICEGATE_RUSTC");

    /// What was baked in when this program was compiled, with the program's own version.
    pub fn of_this_build(product_version: &str) -> Self {
        Self {
            version: API_LEVEL.to_owned(),
            time: utc(env!("SLUICEGATE_BUILD_SECONDS").parse().unwrap_or(0)),
            commit: Self::COMMIT.to_owned(),
            product: PRODUCT.to_owned(),
            product_version: product_version.to_owned(),
        }
    }
}

/// Seconds since 1970 as `yyyy-MM-ddTHH:mm:ss+0000`.
fn utc(seconds: u64) -> String {
    let (mut year, mut days) = (1970, seconds / 86_400);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [
        31,
        28 + u64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}+0000",
        days + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00+0000"),
            (951_782_400, "2000-02-29T00:00:00+0000"),
            (1_735_689_599, "2024-12-31T23:59:59+0000"),
            (1_735_689_600, "2025-01-01T00:00:00+0000"),
            (4_107_542_399, "2100-02-28T23:59:59+0000"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }

    #[test]
    fn nothing_is_empty() {
        let info = BuildInfo::of_this_build("0.1.0");
        assert!(info.commit.len() == 40 && info.commit.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(!BuildInfo::COMPILER.is_empty());
        assert!(!info.time.starts_with("1970"), "{}", info.time);
    }
}
