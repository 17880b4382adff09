//! Time stamps in Java's date patterns.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// As `2026-01-31T12:34:56.789+0000`.
pub(crate) const DEFAULT: &str = "yyyy-MM-dd'T'HH:mm:ss.SSSZ";

/// A parsed date pattern. Times are in UTC.
///
/// Letters: `yyyy` (or `uuuu`) and `yy`, `MM`, `dd`, `HH`, `mm`, `ss` (each also as a single letter without padding), `S` to `SSSSSSSSS`
/// (fraction of a second), `Z` (`+0000`), `X` (`Z`), `XX` and `XXX` (`Z`). Text in `'quotes'` and everything that is not a
/// letter stands for itself; `''` is one quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat {
    parts: Vec<Part>,
}

/// A pattern letter that is not supported, or an open quote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeFormatError {
    /// Not one of the letters of [`TimeFormat`].
    #[error("yyyy, MM, dd, HH, mm, ss, SSS, Z, X and quoted text (found {0})")]
    Letters(String),
    /// A quote without its partner.
    #[error("a closing quote")]
    OpenQuote,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Year { digits: usize },
    Month { digits: usize },
    Day { digits: usize },
    Hour { digits: usize },
    Minute { digits: usize },
    Second { digits: usize },
    Fraction { digits: usize },
    Offset,
    Utc,
}

impl TimeFormat {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse(pattern: &str) -> Result<Self, TimeFormatError> {
        let mut parts = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                parts.push(Part::Literal(quoted(&mut chars)?));
            } else if c.is_ascii_alphabetic() {
                let mut digits = 1;
                while chars.next_if_eq(&c).is_some() {
                    digits += 1;
                }
                parts.push(letters(c, digits)?);
            } else if c.is_control() {
                return Err(TimeFormatError::Letters(c.escape_default().to_string()));
            } else {
                parts.push(Part::Literal(c.to_string()));
            }
        }
        Ok(Self { parts })
    }

    /// Writes the current time.
    pub(crate) fn write_now(&self, out: &mut dyn Write) -> fmt::Result {
        self.write(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            out,
        )
    }

    fn write(&self, since_epoch: Duration, out: &mut dyn Write) -> fmt::Result {
        let seconds = since_epoch.as_secs();
        let (year, month, day) = civil(seconds / 86_400);
        let of_day = seconds % 86_400;
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.write_str(text)?,
                Part::Year { digits: 2 } => write!(out, "{:02}", year % 100)?,
                Part::Year { digits } => write!(out, "{year:0digits$}")?,
                Part::Month { digits } => write!(out, "{month:0digits$}")?,
                Part::Day { digits } => write!(out, "{day:0digits$}")?,
                Part::Hour { digits } => write!(out, "{:0digits$}", of_day / 3600)?,
                Part::Minute { digits } => write!(out, "{:0digits$}", of_day / 60 % 60)?,
                Part::Second { digits } => write!(out, "{:0digits$}", of_day % 60)?,
                Part::Fraction { digits } => {
                    let nanos = format!("{:09}", since_epoch.subsec_nanos());
                    out.write_str(nanos.get(..*digits).unwrap_or(&nanos))?;
                }
                Part::Offset => out.write_str("+0000")?,
                Part::Utc => out.write_char('Z')?,
            }
        }
        Ok(())
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, TimeFormatError> {
    if chars.next_if_eq(&'\'').is_some() {
        return Ok("'".to_owned());
    }
    let mut text = String::new();
    loop {
        match chars.next() {
            Some('\'') if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            Some('\'') => return Ok(text),
            Some(c) if c.is_control() => {
                return Err(TimeFormatError::Letters(c.escape_default().to_string()));
            }
            Some(c) => text.push(c),
            None => return Err(TimeFormatError::OpenQuote),
        }
    }
}

fn letters(letter: char, digits: usize) -> Result<Part, TimeFormatError> {
    match (letter, digits) {
        ('y' | 'u', 1 | 2 | 4) => Ok(Part::Year { digits }),
        ('M', 1 | 2) => Ok(Part::Month { digits }),
        ('d', 1 | 2) => Ok(Part::Day { digits }),
        ('H', 1 | 2) => Ok(Part::Hour { digits }),
        ('m', 1 | 2) => Ok(Part::Minute { digits }),
        ('s', 1 | 2) => Ok(Part::Second { digits }),
        ('S', 1..=9) => Ok(Part::Fraction { digits }),
        ('Z', 1..=3) => Ok(Part::Offset),
        ('X', 1..=3) => Ok(Part::Utc),
        _ => Err(TimeFormatError::Letters(
            letter.to_string().repeat(digits.min(20)),
        )),
    }
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar. Years are counted from March inside, so that the leap
/// day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970_MARCH_BASED: u64 = 719_468;
    const DAYS_PER_400_YEARS: u64 = 146_097;
    let days = days + DAYS_TO_1970_MARCH_BASED;
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pattern: &str, seconds: u64, nanos: u32) -> String {
        let mut out = String::new();
        let format = TimeFormat::parse(pattern).expect(pattern);
        format
            .write(Duration::new(seconds, nanos), &mut out)
            .expect("write");
        out
    }

    #[test]
    fn the_default_pattern() {
        assert_eq!(shown(DEFAULT, 0, 0), "1970-01-01T00:00:00.000+0000");
        assert_eq!(
            shown(DEFAULT, 951_782_400, 1_999_999),
            "2000-02-29T00:00:00.001+0000"
        );
        assert_eq!(
            shown(DEFAULT, 951_868_799, 0),
            "2000-02-29T23:59:59.000+0000"
        );
        assert_eq!(
            shown(DEFAULT, 4_107_542_400, 0),
            "2100-03-01T00:00:00.000+0000"
        );
        assert_eq!(
            shown(DEFAULT, 1_735_689_599, 0),
            "2024-12-31T23:59:59.000+0000"
        );
    }

    #[test]
    fn other_patterns() {
        assert_eq!(
            shown("yy/M/d H:m:s,SSSSSS XXX", 951_782_461, 123_456_789),
            "00/2/29 0:1:1,123456 Z"
        );
        assert_eq!(shown("'it''s' ''HH''", 0, 0), "it's '00'");
        assert_eq!(shown("", 0, 0), "");
    }

    #[test]
    fn wrong_patterns() {
        for pattern in ["EEE", "yyy", "hh", "SSSSSSSSSS", "\n", "'\n'"] {
            assert!(
                matches!(TimeFormat::parse(pattern), Err(TimeFormatError::Letters(_))),
                "{pattern}"
            );
        }
        assert_eq!(TimeFormat::parse("'open"), Err(TimeFormatError::OpenQuote));
    }
}
